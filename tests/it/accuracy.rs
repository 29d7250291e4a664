//! Accuracy from end to end: a simulator in a process of its own that answers 70 % rightly, never ends 10 % and
//! fails 5 %; a run that is killed and taken up; its answers marked again offline.
//!
//! 精度端到端：已知准确率、杀死后续跑、离线重评。

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::crate_root::CrateRoot;

const ITEMS: usize = 40;
const WORKERS: usize = 2;

const CASES: &str = "
cases:
  - id: known
    evaluator: gpqa
    data: items/known.csv
    redact: REDACT
    repeats: 1
    max_tokens: 64
    workers: 2
    min_score: 0.7
    max_failed_ratio: 1
    max_truncated_ratio: 1
";

/// A simulator in a process of its own; gone with the test.
pub(crate) struct Simulator {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulator {
    fn start(root: &CrateRoot) -> Self {
        Self::of(root, "exam.json", &["--ttft-ms", "60"])
    }

    /// One that sits the exam in the file `exam`.
    pub(crate) fn of(root: &CrateRoot, exam: &str, more: &[&str]) -> Self {
        let mut child = root
            .command(&[&["sim", "--exam", exam], more].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the simulator starts");
        let mut url = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut url).expect("its address");
        Self { child, url: url.trim().to_owned() }
    }

    /// How many questions it was asked.
    fn asked(&self) -> usize {
        use std::io::{Read as _, Write as _};
        let host =
            self.url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/v1")).expect("an address");
        let mut stream = std::net::TcpStream::connect(host).expect("it listens");
        write!(stream, "GET /sim/log HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let begin = body.find('[').expect("a list");
        let mut values = serde_json::Deserializer::from_str(&body[begin..]).into_iter::<Value>();
        let log = values.next().expect("a list").expect("JSON");
        let asked =
            |sent: &&Value| sent["path"].as_str().is_some_and(|path| path.ends_with("/chat/completions"));
        log.as_array().expect("a list").iter().filter(asked).count()
    }
}

/// Forty questions of GPQA's layout, and what the simulator knows of them.
fn root(redact: bool) -> CrateRoot {
    let mut csv =
        "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
            .to_owned();
    let mut items = Vec::new();
    for n in 0..ITEMS {
        writeln!(csv, "q{n},What follows on {}?,{},{},{},{}", 100 + n, 101 + n, 300 + n, 400 + n, 500 + n)
            .expect("text");
        items.push(json!({"question": format!("What follows on {}?", 100 + n), "right": (101 + n).to_string(), "choice": true}));
    }
    let exam = json!({"items": items, "right": 0.7, "truncate": 0.1, "fail": 0.05, "dealt": true});
    CrateRoot::new()
        .file("cases/accuracy/smoke.yaml", &CASES.replace("REDACT", &redact.to_string()))
        .file("cases/accuracy/items/known.csv", &csv)
        .file("exam.json", &exam.to_string())
}

/// A file of the newest run's only accuracy trial, by its ending.
fn left(root: &CrateRoot, ending: &str) -> String {
    let folder = root.run_folder().join("trials/accuracy.smoke.known");
    let names =
        std::fs::read_dir(&folder).expect("the trial's folder").map(|entry| entry.expect("a file").path());
    let path = names.into_iter().find(|path| path.to_string_lossy().ends_with(ending)).expect("the file");
    std::fs::read_to_string(path).expect("text")
}

fn check(results: &Value) {
    assert_eq!(
        results["accuracy"],
        json!({"task": "gpqa", "score": 0.7, "correct": 28, "total": 40, "ok": true})
    );
    assert_eq!(results["score"], 0.7);
    assert_eq!(results["tally"]["statuses"], json!({"answered": 34, "failed": 2, "truncated": 4}));
    assert_eq!(results["gate"]["interval_verdict"], "inconclusive");
}

fn answers_kept(root: &Path) -> usize {
    let Ok(folder) = std::fs::read_dir(root.join("target/st/answers")) else { return 0 };
    let text = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    folder.map(|entry| text(entry.expect("a file").path()).lines().count()).sum()
}

#[test]
fn a_killed_run_is_taken_up_asks_nothing_twice_and_measures_just_what_the_simulator_knows() {
    let root = root(false);
    let sim = Simulator::start(&root);
    let args = ["run", "--base-url", sim.url.as_str(), "accuracy"];
    let mut first = root.command(&args).stderr(Stdio::null()).spawn().expect("it starts");
    for _ in 0..600 {
        if answers_kept(&root.path()) >= 10 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill().expect("it is killed");
    first.wait().expect("it is gone");
    let kept = answers_kept(&root.path());
    assert!((10..ITEMS).contains(&kept), "{kept} answers were kept when it was killed");

    let second = root.run(&args);
    assert_eq!(second.code, Some(0), "{}{}", second.out, second.err);
    // What was in flight when it was killed had no answer, and is asked again.
    let asked = sim.asked();
    assert!((ITEMS..=ITEMS + WORKERS).contains(&asked), "{asked} requests for {ITEMS} questions");
    check(&serde_json::from_str(&left(&root, ".json")).expect("JSON"));
    assert!(root.left("journal.jsonl").contains("of an earlier run that was killed"));

    let third = root.run(&args);
    assert_eq!(third.code, Some(0), "{}", third.err);
    assert_eq!(sim.asked(), asked + ITEMS, "a run that came to its end is not taken up");
    check(&serde_json::from_str(&left(&root, ".json")).expect("JSON"));
}

#[test]
fn what_is_gated_stays_out_of_every_file_of_the_run_and_can_be_marked_again_from_the_cache() {
    let root = root(true);
    let sim = Simulator::start(&root);
    let ran = root.run(&["run", "--base-url", sim.url.as_str(), "accuracy", "--record", "tape"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for folder in [root.run_folder(), root.path().join("tape")] {
        holds_no_question(&folder);
    }
    assert!(left(&root, ".html").contains("is gated"));

    let items = root.run_folder().join("trials/accuracy.smoke.known/items.jsonl");
    let items = items.to_str().expect("UTF-8");
    let blind = root.run(&["rescore", items]);
    assert_eq!(blind.code, Some(4), "{}", blind.err);
    assert!(blind.err.contains("38 of 40 answers are not in the record"), "{}", blind.err);
    let seeing = root.run(&["rescore", items, "--answers", "target/st/answers"]);
    assert_eq!(seeing.code, Some(0), "{}", seeing.err);
    let again: Value = serde_json::from_str(&seeing.out).expect("JSON");
    assert_eq!((&again["tally"]["score"], &again["changed"]), (&json!(0.7), &json!([])));
}

/// No file below `folder` has a word of a question.
fn holds_no_question(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            holds_no_question(&path);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
            assert!(!text.contains("What follows on"), "{}", path.display());
        }
    }
}
