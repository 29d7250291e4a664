//! A real Pushgateway and a real Prometheus on loopback, ended with the test: [`Monitor`].
//!
//! 测试用的真实 Prometheus 与 Pushgateway。

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

use super::told::Series;

const TOOLS: [&str; 3] = ["prometheus", "prometheus-pushgateway", "promtool"];

/// Whether all that is needed is installed.
pub(super) fn tools() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !there(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("{} not installed: apt-get install prometheus prometheus-pushgateway", missing.join(", ")))
}

/// Runs promtool in `folder`.
pub(super) fn promtool(args: &[&str], folder: &str) {
    let output = Command::new("promtool").args(args).current_dir(folder).output().expect("promtool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "promtool {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// Both servers.
pub(super) struct Monitor {
    folder: TempDir,
    gateway: Server,
    prometheus: Option<Server>,
}

struct Server {
    port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `program` on a free port and waits until it says that it is ready.
    fn start(program: &str, args: impl Fn(u16) -> Vec<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        let quiet = || Stdio::null();
        let child = Command::new(program).args(args(port)).stdout(quiet()).stderr(quiet()).spawn();
        let server = Self { port, child: child.expect("it starts") };
        until(&format!("{program} is ready"), || {
            get(port, "/-/ready").is_some_and(|(status, _)| status == 200)
        });
        server
    }
}

impl Monitor {
    pub(super) fn start_gateway() -> Self {
        let gateway = Server::start("prometheus-pushgateway", |port| {
            vec![format!("--web.listen-address=127.0.0.1:{port}")]
        });
        Self { folder: tempfile::tempdir().expect("a folder"), gateway, prometheus: None }
    }

    /// Where figures are pushed to.
    pub(super) fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("tsdb")
    }

    /// Makes blocks of `openmetrics`, as a person would of `metrics.om`.
    pub(super) fn backfill(&self, openmetrics: &str) {
        let file = self.folder.path().join("past.om");
        std::fs::write(&file, openmetrics).expect("a file");
        let paths = [file.to_str().expect("a path"), &self.data().to_string_lossy()].map(str::to_owned);
        promtool(&["tsdb", "create-blocks-from", "openmetrics", &paths[0], &paths[1]], ".");
    }

    /// Starts Prometheus with the configuration that is shipped, on the gateway of this test.
    pub(super) fn start_prometheus(&mut self) {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/grafana");
        for file in ["prometheus.yml", "alerts.yml"] {
            let text = std::fs::read_to_string(format!("{shipped}/{file}")).expect("a shipped file");
            let text = text.replace("127.0.0.1:9091", &format!("127.0.0.1:{}", self.gateway.port));
            let text = text.replace("scrape_interval: 30s", "scrape_interval: 1s");
            std::fs::write(self.folder.path().join(file), text).expect("a file");
        }
        let config = self.folder.path().join("prometheus.yml");
        let (config, data) = (config.to_string_lossy().into_owned(), self.data());
        self.prometheus = Some(Server::start("prometheus", |port| {
            vec![
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={}", data.display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ]
        }));
    }

    fn port(&self) -> u16 {
        self.prometheus.as_ref().expect("Prometheus was started").port
    }

    /// Waits until `expr` gives something now.
    pub(super) fn wait_for(&self, expr: &str) {
        until(expr, || {
            let found = self.ask("/api/v1/query", &[("query", expr)]);
            !found["result"].as_array().expect("a vector").is_empty()
        });
    }

    /// What `expr` gives at the next full five minutes: that is when a subquery of five minutes sees what was pushed a
    /// moment ago.
    pub(super) fn query(&self, expr: &str) -> BTreeMap<Series, f64> {
        let found = self.ask("/api/v1/query", &[("query", expr), ("time", &next_five_minutes().to_string())]);
        let one = |sample: &Value| {
            let labels = sample["metric"].as_object().expect("labels").iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()));
            let value = sample["value"][1].as_str().expect("a value").parse().expect("a number");
            (Series { name: String::new(), labels: labels.collect() }, value)
        };
        found["result"].as_array().expect("a vector").iter().map(one).collect()
    }

    /// The values of `label`, asked as Grafana asks.
    pub(super) fn label_values(&self, selector: &str, label: &str) -> BTreeSet<String> {
        let end = next_five_minutes();
        let (start, end) = ((end - 7 * super::DAY).to_string(), end.to_string());
        let asked = [("match[]", selector), ("start", &start), ("end", &end)];
        let found = self.ask(&format!("/api/v1/label/{label}/values"), &asked);
        found
            .as_array()
            .expect("values")
            .iter()
            .map(|value| value.as_str().expect("text").to_owned())
            .collect()
    }

    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let (status, body) = get(self.port(), &format!("{path}?{query}")).expect("an answer");
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!((status, answer["status"].as_str()), (200, Some("success")), "{query}: {body}");
        answer["data"].clone()
    }
}

fn next_five_minutes() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    now.div_ceil(300) * 300
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Status and body; nothing where nobody answers.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // HTTP/1.0: the body ends with the connection, and comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
