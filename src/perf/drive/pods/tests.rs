//! Workers of this very process, which read their files and write their logs as those of a cluster do.

use std::{
    io::Write,
    path::PathBuf,
    sync::{Mutex, atomic::AtomicU32},
    thread::JoinHandle,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::{
    client::{Limits, Request, Route, Target},
    perf::{
        drive::Turned,
        schedule::Pace,
        spec::{ConcurrencyBackend, Stop},
    },
    sim::{Options, Sim, Timing},
};

/// What is changed on the way.
#[derive(Default)]
struct Wrong {
    /// Of the second worker: the line of this number is lost.
    lost: Option<usize>,
    /// The second one never comes.
    absent: bool,
    /// The second one has a share that is not whole.
    cut: bool,
    /// Orders come late.
    late: Option<Duration>,
}

struct Local {
    folder: tempfile::TempDir,
    parts: u32,
    threads: Vec<JoinHandle<()>>,
    tell: UnboundedSender<Heard>,
    heard: UnboundedReceiver<Heard>,
    wrong: Wrong,
}

impl Local {
    fn new(parts: u32, wrong: Wrong) -> Self {
        let (tell, heard) = unbounded_channel();
        Self { folder: tempfile::tempdir().unwrap(), parts, threads: Vec::new(), tell, heard, wrong }
    }

    fn place(&self, part: u32) -> PathBuf {
        self.folder.path().join(format!("worker-{part}"))
    }
}

/// A log, line by line.
struct Log {
    worker: String,
    begun: Vec<u8>,
    lines: usize,
    lost: Option<usize>,
    tell: UnboundedSender<Heard>,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(self.begun.drain(..=end).collect()).unwrap().trim_end().to_owned();
            self.lines += 1;
            if self.lost != Some(self.lines) {
                let _ = self.tell.send(Heard::Line { worker: self.worker.clone(), line });
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Fleet for Local {
    async fn start(&mut self, cargo: Cargo) -> Result<(), String> {
        for part in 0..self.parts {
            let (folder, second) = (self.place(part), part == 1);
            std::fs::create_dir(&folder).unwrap();
            for (name, bytes) in &cargo.files {
                let whole = bytes.len() - usize::from(second && self.wrong.cut) * 9;
                std::fs::write(folder.join(name), &bytes[..whole]).unwrap();
            }
            if let Some(key) = &cargo.key {
                std::fs::write(folder.join(KEY), key.expose_secret()).unwrap();
            }
            if second && self.wrong.absent {
                continue;
            }
            std::fs::write(folder.join(INDEX), part.to_string()).unwrap();
            let worker = format!("worker-{part}");
            let tell = self.tell.clone();
            let lost = self.wrong.lost.filter(|_| second);
            self.threads.push(std::thread::spawn(move || {
                let _ = tell.send(Heard::Opened { worker: worker.clone() });
                let log =
                    Log { worker: worker.clone(), begun: Vec::new(), lines: 0, lost, tell: tell.clone() };
                let how = match work(&folder, log) {
                    Ok(()) => "exit code 0".to_owned(),
                    Err(message) => {
                        let line = format!("error: {message}");
                        let _ = tell.send(Heard::Line { worker: worker.clone(), line });
                        "exit code 6".to_owned()
                    }
                };
                let _ = tell.send(Heard::Closed { worker, how });
            }));
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        Ok(self.heard.recv().await.expect("we hold a sender"))
    }

    async fn tell(&mut self, worker: &str, order: &str) -> Result<(), String> {
        if let Some(late) = self.wrong.late {
            tokio::time::sleep(late).await;
        }
        let (whole, shown) =
            (self.folder.path().join("order.new"), self.folder.path().join(worker).join(ORDER));
        std::fs::write(&whole, order).unwrap();
        std::fs::rename(whole, shown).unwrap();
        Ok(())
    }

    async fn end(self, failed: bool) -> Vec<String> {
        // Whoever still waits for an order is told that all is off.
        for part in 0..self.parts {
            let _ = std::fs::write(self.place(part).join(ORDER), "\"cancel\"");
        }
        for thread in self.threads {
            thread.join().unwrap();
        }
        let _ = failed;
        Vec::new()
    }
}

fn job() -> Job {
    serde_json::from_str(
        r#"{"image":"none","start_timeout_s":5,"head_start_s":1,"base_url":"http://127.0.0.1:1/v1"}"#,
    )
    .unwrap()
}

fn plan(target: &Target, sizes: &[usize], pace: Pace) -> Plan {
    let request = |n: usize| -> Request {
        let body = serde_json::json!({"model": "m", "max_tokens": 4, "stream": true, "ignore_eos": true,
            "stream_options": {"include_usage": true, "continuous_usage_stats": true},
            "messages": [{"role": "user", "content": format!("request {n}")}]});
        target.chat(&body)
    };
    let epoch = |size: &usize| Epoch {
        requests: (0..*size).map(request).collect(),
        warmup: 3,
        pace: pace.clone(),
        conversations: Vec::new(),
    };
    Plan {
        epochs: sizes.iter().map(epoch).collect(),
        backend: ConcurrencyBackend::K8sJob,
        processes: 2,
        begin: None,
        elsewhere: None,
        phases: None,
        limits: Limits::within(Duration::from_secs(20)),
        stop: Stop::default(),
    }
}

struct Ran {
    driven: Result<Driven, String>,
    records: Vec<Record>,
}

async fn run(sim: &Sim, sizes: &[usize], wrong: Wrong, cancel: CancellationToken) -> Ran {
    let target = Target::at(&sim.base_url(), "m").unwrap();
    let plan = plan(&target, sizes, Pace::Closed { starts_ns: vec![0; 4] });
    let job = Job { base_url: Some(sim.base_url()), ..job() };
    let in_flight = AtomicU32::new(0);
    let asked = Asked { client: &target.client, cancel: &cancel, in_flight: &in_flight };
    let kept = Mutex::new(Vec::new());
    let keep = |record: Record| kept.lock().unwrap().push(record);
    let driven = spread_over(Local::new(2, wrong), &asked, plan, &job, &keep).await;
    let mut records = kept.into_inner().unwrap();
    records.sort_by_key(|record: &Record| record.index);
    Ran { driven, records }
}

fn sim(ttft_ms: f64) -> Sim {
    let timing = Timing { ttft_ms, tpot_ms: 2.0, ..Timing::default() };
    Sim::start(Options { timing, model: "m".to_owned(), ..Options::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_saw_is_one_record_on_our_clock() {
    let before = crate::client::Stamp::now();
    let Ran { driven, records } = run(&sim(10.0), &[21, 8], Wrong::default(), CancellationToken::new()).await;
    let driven = driven.unwrap();
    assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), (0..29).collect::<Vec<_>>());
    assert!(records.iter().all(Record::is_ok), "{:?}", records[0].outcome);
    assert_eq!(records.iter().filter(|r| r.warmup).count(), 6);
    assert_eq!(records.iter().filter(|r| r.epoch == 1).count(), 8);
    assert_eq!(records.iter().map(|r| r.worker).max(), Some(3));
    assert!(records.iter().all(|r| r.output_tokens == 4));
    // Both live in this process: their clocks are ours, and so are their stamps.
    let now = crate::client::Stamp::now();
    let slack = 50_000_000;
    assert!(records.iter().all(|r| r.started.0 + slack > before.0 && r.ended.0 < now.0 + slack));
    assert!(records.iter().all(|r| r.ttft().is_some_and(|ns| ns >= 10_000_000)));
    assert_eq!((driven.transport, driven.epochs.len(), driven.stopped()), ("direct", 2, Stopped::Exhausted));
    let Turned { begin, ended, threads, .. } = &driven.epochs[0];
    assert!(begin < ended && threads.len() == 2);
    let first: Vec<u64> = records.iter().filter(|r| r.epoch == 0).map(|r| r.started.0).collect();
    assert!(
        first.iter().all(|started| *started >= begin.0),
        "nobody begins before the moment that was agreed on"
    );
    let workers = driven.workers.unwrap();
    assert_eq!(
        workers.workers.iter().map(|w| (w.name.as_str(), w.part)).collect::<Vec<_>>(),
        [("worker-0", 0), ("worker-1", 1)]
    );
    for worker in &workers.workers {
        let (least, most) = worker.ahead_bounds_ns;
        assert!(least <= 0 && 0 <= most && worker.ahead_ns == 0, "{worker:?}");
        assert!(worker.machine.as_ref().is_some_and(|machine| machine.cpus > 0));
    }
    assert!(workers.unsure_ns < 5_000_000_000, "{}", workers.unsure_ns);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_with_the_worker_and_its_last_lines() {
    let sim = sim(5.0);
    for (wrong, told) in [
        (Wrong { lost: Some(2), ..Wrong::default() }, "worker worker-1: frame 1 of its log is missing"),
        (
            Wrong { absent: true, ..Wrong::default() },
            "waited 5 s in vain for all workers to be ready: 1 of 2 were heard of: worker-0 is ready",
        ),
        (
            Wrong { cut: true, ..Wrong::default() },
            "worker worker-1: it ended before all was told: exit code 6\nlast lines of worker-1:\nerror: the share of the \
             load is not whole",
        ),
        (
            Wrong { late: Some(Duration::from_millis(1500)), ..Wrong::default() },
            "the order to begin was read",
        ),
    ] {
        let Ran { driven, .. } = run(&sim, &[8], wrong, CancellationToken::new()).await;
        let error = driven.unwrap_err();
        assert!(error.contains(told), "{told}\n{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_cuts_off_what_is_in_flight_and_keeps_what_was_seen() {
    let sim = sim(20.0);
    let cancel = CancellationToken::new();
    let load = run(&sim, &[4000], Wrong::default(), cancel.clone());
    let stop = async {
        while sim.log().len() < 40 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The first second's rows are on their way.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cancel.cancel();
    };
    let (Ran { driven, records }, ()) = tokio::join!(load, stop);
    assert_eq!(driven.unwrap().stopped(), Stopped::Cancelled);
    assert!(records.len() > 20 && records.len() < 4000, "{}", records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_before_the_beginning_begins_nothing() {
    let sim = sim(5.0);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let Ran { driven, records } = run(&sim, &[8], Wrong::default(), cancel).await;
    let driven = driven.unwrap();
    assert_eq!((driven.stopped(), driven.epochs.len(), records.len()), (Stopped::Cancelled, 0, 0));
    assert_eq!(sim.log().len(), 0);
}

#[test]
fn the_key_goes_apart_and_shares_go_in_pieces() {
    let key = SecretString::from("sk-very-secret");
    let client = Client::new("http://vllm:8000/v1", Some(key)).unwrap();
    let target = Target::new(client.clone(), "m");
    let mut plan = plan(&target, &[6], Pace::Closed { starts_ns: vec![0; 2] });
    // What does not compress, and is more than one piece.
    let noise: String = (0..24_000_u32).map(|n| crate::workload::sha256_hex(&n.to_le_bytes())).collect();
    plan.epochs[0].requests[0] =
        Request::post_json(Route::Api("/chat/completions".to_owned()), &serde_json::json!({"x": noise}));
    let cargo = cargo(&client, &mut plan, &Job { base_url: None, ..job() }).unwrap();
    assert_eq!(cargo.key.unwrap().expose_secret(), "sk-very-secret");
    let names: Vec<&str> = cargo.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["part-0.000", "part-0.001", "part-1.000"]);
    assert!(cargo.files.iter().all(|(_, bytes)| bytes.len() <= PIECE));
    let whole: Vec<u8> = cargo.files[..2].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let parcel = wire::unpacked(&whole).unwrap();
    let text = serde_json::to_string(&parcel).unwrap();
    assert!(text.contains("http://vllm:8000/v1") && !text.contains("very-secret"));
}

#[test]
fn a_server_on_this_machine_is_no_address_for_a_pod() {
    for here in ["http://127.0.0.1:8000/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"] {
        let client = Client::new(here, None).unwrap();
        let error = reached(&client, &Job { base_url: None, ..job() }).unwrap_err();
        assert!(error.contains("--worker-base-url"), "{error}");
        assert_eq!(reached(&client, &job()).unwrap(), "http://127.0.0.1:1/v1");
    }
    let client = Client::new("http://10.0.0.7:8000/v1", None).unwrap();
    assert_eq!(reached(&client, &Job { base_url: None, ..job() }).unwrap(), "http://10.0.0.7:8000/v1");
}

#[test]
fn whoever_is_another_version_or_carries_a_share_twice_is_told() {
    let mut crowd = Crowd::new(2, unix_ns());
    let mut log = |worker: &str, hello: wire::Said| {
        let mut out = Vec::new();
        let mut writer = frames::Writer::new(&mut out);
        writer.say(&hello).unwrap();
        writer.finish().unwrap();
        let line = String::from_utf8(out).unwrap().trim_end().to_owned();
        let heard = Heard::Line { worker: worker.to_owned(), line };
        crowd.take(heard, &Kept { off: false }, |_, _, _| {})
    };
    let hello = |wire: u32, part: u32| wire::Said::Hello {
        maker: wire::Maker { wire, version: "0.9.0".to_owned() },
        part,
        clock: wire::Moment::now(),
    };
    log("a", hello(wire::WIRE, 0)).unwrap();
    let error = log("b", hello(wire::WIRE + 1, 1)).unwrap_err();
    assert!(error.starts_with("worker b: it is vllm-cibench 0.9.0 (wire 2), this is"), "{error}");
    assert!(error.ends_with("take an image of the same version"), "{error}");
    assert_eq!(log("c", hello(wire::WIRE, 0)).unwrap_err(), "worker c: it carries share 0, and so does a");
    assert_eq!(log("d", hello(wire::WIRE, 2)).unwrap_err(), "worker d: it says that it carries share 2 of 2");
}
