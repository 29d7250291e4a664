//! Pushing to a gateway that listens on loopback and answers as it is told.
//!
//! 推送、落盘与重试的测试。

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use camino::Utf8PathBuf;

use super::*;

/// What a gateway was told: path, body, authorisation.
type Told = Vec<(String, String, Option<String>)>;

/// A stand-in gateway.
#[derive(Clone)]
struct Fake {
    answers: Arc<Mutex<Vec<(u16, &'static str)>>>,
    told: Arc<Mutex<Told>>,
    delay: Duration,
}

impl Fake {
    /// Gives `answers`, the last one for ever, each after `delay`. Gives its address, too.
    async fn serve(answers: &[(u16, &'static str)], delay: Duration) -> (Self, String) {
        let answers = Arc::new(Mutex::new(answers.iter().rev().copied().collect()));
        let fake = Self { answers, told: Arc::default(), delay };
        let app = Router::new().fallback(Self::answer).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (fake, url)
    }

    async fn answer(
        State(fake): State<Self>,
        uri: Uri,
        headers: HeaderMap,
        body: String,
    ) -> (StatusCode, &'static str) {
        let key = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        fake.told.lock().unwrap().push((uri.path().to_owned(), body, key));
        tokio::time::sleep(fake.delay).await;
        let mut answers = fake.answers.lock().unwrap();
        let (status, text) = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0] };
        (StatusCode::from_u16(status).unwrap(), text)
    }

    fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }
}

fn unit(scenario: &str, at: i64) -> Unit {
    let text = format!("# HELP x X.\n# TYPE x gauge\nx {at}\n");
    Unit {
        key: GroupingKey { instance: "lab".into(), scenario: scenario.into() },
        exposition: Exposition { openmetrics: format!("{text}# EOF\n"), text },
        at: Timestamp::from_second(at).unwrap(),
    }
}

struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.0.path().join("spool")).unwrap()
    }

    fn pusher(&self, url: &str, timeout_ms: u64) -> Pusher {
        let gateway = Gateway::parse(&url.into()).unwrap();
        Pusher::new(gateway, Spool::at(self.folder()), Duration::from_millis(timeout_ms))
    }

    fn waiting(&self) -> usize {
        Spool::at(self.folder()).entries().unwrap().len()
    }
}

#[tokio::test]
async fn a_unit_is_put_whole_at_its_grouping_key() {
    let (fake, url) = Fake::serve(&[(200, "")], Duration::ZERO).await;
    let disk = Disk::new();
    let url = url.replace("http://", "http://me:s3cret@");
    let sent = disk.pusher(&url, 5000).push(&unit("sim", 1)).await.unwrap();
    assert!(matches!(sent, Sent::Pushed { put_aside: 0 }));
    let told = fake.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "/metrics/job/vllm_cibench/instance/lab/scenario/sim");
    assert_eq!(told[0].1, unit("sim", 1).exposition.text);
    assert_eq!(told[0].2.as_deref(), Some("Basic bWU6czNjcmV0"));
    assert_eq!(disk.waiting(), 0);
}

#[tokio::test]
async fn a_gateway_that_is_down_loses_nothing() {
    let disk = Disk::new();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sent = disk.pusher(&format!("http://me:s3cret@{free}"), 5000).push(&unit("sim", 1)).await.unwrap();
    let Sent::Kept { file, trouble } = sent else { panic!("{sent:?}") };
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(trouble.to_string().contains("connection refused"), "{trouble}");
    assert!(trouble.advice().contains("runs and can be reached"));
    assert!(!kept.contains("s3cret") && !trouble.to_string().contains("s3cret"));

    let (fake, url) = Fake::serve(&[(200, "")], Duration::ZERO).await;
    let done = disk.pusher(&url, 5000).retry().await.unwrap();
    assert!(matches!(done[..], [(_, Sent::Pushed { .. })]), "{done:?}");
    assert_eq!(fake.told()[0].1, unit("sim", 1).exposition.text);
    assert_eq!(disk.waiting(), 0);
}

#[tokio::test]
async fn a_slow_gateway_is_not_waited_for_for_ever() {
    let (_fake, url) = Fake::serve(&[(200, "")], Duration::from_secs(30)).await;
    let disk = Disk::new();
    let begun = std::time::Instant::now();
    let sent = disk.pusher(&url, 300).push(&unit("sim", 1)).await.unwrap();
    let Sent::Kept { trouble, .. } = sent else { panic!("{sent:?}") };
    assert!(trouble.to_string().contains("nothing came within 300 ms"), "{trouble}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(disk.waiting(), 1);
}

#[tokio::test]
async fn a_400_is_told_kept_and_not_repeated_at_once() {
    let said = "text format parsing error in line 3\nmore";
    let (fake, url) = Fake::serve(&[(400, said)], Duration::ZERO).await;
    let disk = Disk::new();
    let sent = disk.pusher(&url, 5000).push(&unit("sim", 1)).await.unwrap();
    let Sent::Kept { trouble, .. } = sent else { panic!("{sent:?}") };
    assert_eq!(trouble.to_string(), format!("{url} answered 400: text format parsing error in line 3"));
    assert!(trouble.advice().contains("metric_prefix"));
    assert_eq!((fake.told().len(), disk.waiting()), (1, 1));
}

#[tokio::test]
async fn a_busy_gateway_is_asked_again() {
    let (fake, url) = Fake::serve(&[(503, ""), (200, "")], Duration::ZERO).await;
    let disk = Disk::new();
    let sent = disk.pusher(&url, 5000).push(&unit("sim", 1)).await.unwrap();
    assert!(matches!(sent, Sent::Pushed { .. }));
    assert_eq!((fake.told().len(), disk.waiting()), (2, 0));
}

#[tokio::test]
async fn yesterdays_figures_never_replace_todays() {
    let disk = Disk::new();
    let spool = Spool::at(disk.folder());
    for (scenario, at) in [("a", 1), ("a", 2), ("b", 1)] {
        spool.keep(&unit(scenario, at), "down").unwrap();
    }
    let (fake, url) = Fake::serve(&[(200, "")], Duration::ZERO).await;
    // Today's of `a` goes straight through, and what waited for it is history.
    let sent = disk.pusher(&url, 5000).push(&unit("a", 3)).await.unwrap();
    assert!(matches!(sent, Sent::Pushed { put_aside: 2 }), "{sent:?}");
    let done = disk.pusher(&url, 5000).retry().await.unwrap();
    assert!(matches!(done[..], [(_, Sent::Pushed { .. })]), "{done:?}");
    let bodies: Vec<_> = fake.told().into_iter().map(|(path, body, _)| (path, body)).collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].1.contains("x 3") && bodies[1].0.ends_with("/scenario/b"));
    // Nothing is lost: it waits for back-filling, with its time.
    let aside: Vec<_> = std::fs::read_dir(disk.folder().join("put-aside")).unwrap().collect();
    assert_eq!((aside.len(), disk.waiting()), (2, 0));
}

#[tokio::test]
async fn of_several_that_wait_for_one_key_the_latest_is_sent() {
    let disk = Disk::new();
    let spool = Spool::at(disk.folder());
    for at in [2, 1, 3] {
        spool.keep(&unit("a", at), "down").unwrap();
    }
    let (fake, url) = Fake::serve(&[(200, "")], Duration::ZERO).await;
    let done = disk.pusher(&url, 5000).retry().await.unwrap();
    let pushed = done.iter().filter(|(_, sent)| matches!(sent, Sent::Pushed { .. })).count();
    assert_eq!((done.len(), pushed, fake.told().len()), (3, 1, 1));
    assert!(fake.told()[0].1.contains("x 3"));
}

#[tokio::test]
async fn a_refused_unit_does_not_stand_in_the_way_of_the_next() {
    let disk = Disk::new();
    let spool = Spool::at(disk.folder());
    spool.keep(&unit("a", 1), "down").unwrap();
    spool.keep(&unit("b", 2), "down").unwrap();
    let (_fake, url) = Fake::serve(&[(400, "no"), (200, "")], Duration::ZERO).await;
    let done = disk.pusher(&url, 5000).retry().await.unwrap();
    assert!(matches!(done[..], [(_, Sent::Kept { .. }), (_, Sent::Pushed { .. })]), "{done:?}");
    assert_eq!(disk.waiting(), 1);
}

#[test]
fn a_file_that_cannot_be_sent_is_seen() {
    let disk = Disk::new();
    std::fs::create_dir_all(disk.folder()).unwrap();
    std::fs::write(disk.folder().join("x.json"), "{").unwrap();
    let said = Spool::at(disk.folder()).entries().unwrap_err().to_string();
    assert!(said.contains("x.json") && said.contains("mend it or move it away"), "{said}");
}
