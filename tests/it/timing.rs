//! What a performance trial measures is what the simulator really sent: it runs in a process of its own and logs the
//! time of every write, and each request's row is held against its line. Only an optimised build makes claims
//! (`cargo test --profile st --test it timing -- --nocapture`, on a quiet machine); any build pairs the two.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use st_harness::{
    case::{ExpandedCase, TrialId},
    folder::RunFolder,
    suite::{Cx, Suite as _},
    verdict::Observation,
};
use tokio_util::sync::CancellationToken;
use vllm_cibench::{
    client::Target,
    perf::{Perf, Spec, record::Record},
    sim::Sent,
};

const OPTIMISED: bool = !cfg!(debug_assertions);
/// How far our means may be from those of the log, in milliseconds: of the time to first token, and per output token.
/// Both sides take the kernel's word for when bytes came, so that waiting for a processor is in neither.
const LIMITS_MS: (f64, f64) = (0.5, 0.05);
/// A simulator that sends its first token after 50 ms and one every 10 ms.
struct Simulator {
    child: Child,
    base_url: String,
    log: Utf8PathBuf,
}

impl Simulator {
    fn start(folder: &Utf8Path) -> Self {
        let log = folder.join("sent.jsonl");
        let mut child = Command::new(env!("CARGO_BIN_EXE_vllm-cibench"))
            .args(["sim", "--ttft-ms", "50", "--tpot-ms", "10", "--timing-log", log.as_str()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut base_url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut base_url).unwrap();
        Self { child, base_url: base_url.trim().to_owned(), log }
    }

    /// What it sent to trial `id`, by the id of the answer, once `n` of its answers are in the log.
    fn sent(&self, id: &str, n: usize) -> HashMap<String, Sent> {
        let of_trial = format!("chatcmpl-{id}-");
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let sent: Vec<Sent> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let sent: HashMap<_, _> =
                sent.into_iter().filter(|s| s.id.starts_with(&of_trial)).map(|s| (s.id.clone(), s)).collect();
            if sent.len() >= n {
                return sent;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{} of {n} answers are in {}",
                sent.len(),
                self.log
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One trial through the suite, as a session runs it; and the rows of its requests.
async fn trial(folder: &Utf8Path, base_url: &str, id: &str, spec: &Spec) -> (Observation, Vec<Record>) {
    let run = RunFolder::open(folder, Arc::default()).unwrap();
    let case = ExpandedCase::of(TrialId::new(id).unwrap(), serde_json::Value::Null);
    let cx = Cx {
        world: Arc::new(Target::at(base_url, "sim").unwrap()),
        folder: run.trial(&case.id),
        case: Arc::new(case),
        capabilities: Arc::default(),
        cancel: CancellationToken::new(),
        run_type: "smoke".to_owned(),
        run_id: "r".to_owned(),
    };
    let observation = Perf::default().run(spec, &cx).await;
    let rows = observation.artifacts.iter().find(|artifact| artifact.role == "requests").unwrap();
    let text = std::fs::read_to_string(folder.join(&rows.path)).unwrap();
    (observation, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Means of ours and of the log, in milliseconds: time to first token, time per output token.
fn compare(id: &str, rows: &[Record], sent: &HashMap<String, Sent>) -> [(f64, f64); 2] {
    let measured: Vec<&Record> = rows.iter().filter(|row| !row.warmup).collect();
    assert!(measured.iter().all(|row| row.is_ok()), "{:?}", measured.iter().find(|row| !row.is_ok()));
    let lines: Vec<&Sent> =
        measured.iter().map(|row| &sent[&format!("chatcmpl-{id}-{}", row.index)]).collect();
    for (row, line) in measured.iter().zip(&lines) {
        assert_eq!(row.output_tokens, line.tokens.len() as u64);
    }
    let per_token = |line: &&Sent| {
        let (first, last) = (line.tokens[0], *line.tokens.last().unwrap());
        (last - first) as f64 / (line.tokens.len() - 1) as f64 / 1e6
    };
    [
        (
            mean(measured.iter().map(|row| row.ttft().unwrap() as f64 / 1e6)),
            mean(lines.iter().map(|line| (line.tokens[0] - line.received) as f64 / 1e6)),
        ),
        (mean(measured.iter().map(|row| row.tpot().unwrap() / 1e6)), mean(lines.iter().map(per_token))),
    ]
}

/// How the workers of a level begin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    /// All at once. Since all answers take equally long here, they stay in step for ever: `concurrency` requests leave,
    /// and as many tokens come, in the same millisecond.
    Together,
    /// One after another, spread over the length of one answer: the load of users who know nothing of each other.
    Spread,
}

/// A level of load: concurrency, requests, and how it begins.
type Level = (u32, u32, Start);

fn spec(backend: &str, (concurrency, requests, start): Level) -> Spec {
    let control = match start {
        Start::Together => json!("fixed"),
        Start::Spread => {
            json!({"climb": {"growth_rate": concurrency, "growth_interval_ms": 680, "mode": "linear"}})
        }
    };
    let spec = json!({
        "concurrency": concurrency, "requests": requests, "warmup": if start == Start::Together { concurrency } else { 1 },
        "control_method": control, "concurrency_backend": backend,
        "input_len": 32, "output_len": 64, "seed": 1,
    });
    serde_json::from_value(spec).unwrap()
}

#[tokio::test]
async fn what_is_measured_is_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let simulator = Simulator::start(folder);
    // Enough for every level to be kept up a while, and few enough for a test.
    let levels: &[Level] = if OPTIMISED {
        &[
            (1, 24, Start::Together),
            (16, 128, Start::Together),
            (128, 768, Start::Spread),
            (128, 768, Start::Together),
        ]
    } else {
        &[(2, 6, Start::Together)]
    };
    let mut beyond = Vec::new();
    for backend in ["threading-pool", "asyncio"] {
        for &level in levels {
            let (concurrency, _, start) = level;
            let id = format!(
                "perf::timing::{}::c_{concurrency}::{}",
                backend.replace('-', "_"),
                format!("{start:?}").to_lowercase()
            );
            let (observation, rows) = trial(folder, &simulator.base_url, &id, &spec(backend, level)).await;
            let sent = simulator.sent(&id, rows.len());
            let [ttft, tpot] = compare(&id, &rows, &sent).map(|(ours, log)| (ours, log, ours - log));
            let validity = &observation.details.unwrap().value["validity"];
            let told = format!(
                "{backend:>14} c {concurrency:>3} {start:<8?}: TTFT {:.3} ms, sent {:.3} ms, off {:+.3} ms; \
                 TPOT {:.4} ms, sent {:.4} ms, off {:+.4} ms; {} {}",
                ttft.0, ttft.1, ttft.2, tpot.0, tpot.1, tpot.2, validity["level"], validity["degraded"]
            );
            eprintln!("{told}");
            if ttft.2.abs() > LIMITS_MS.0 || tpot.2.abs() > LIMITS_MS.1 {
                beyond.push(told);
            }
        }
    }
    assert!(!OPTIMISED || beyond.is_empty(), "beyond {LIMITS_MS:?} ms:\n{}", beyond.join("\n"));
}
