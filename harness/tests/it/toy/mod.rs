//! A thing under test that needs no network: a calculator, its suite, and a run of it in a folder of its own.
//!
//! 玩具被测对象：计算器。

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use st_harness::{
    args::{Args, Filter},
    capability::{Capabilities, CapabilityId, Catalogue, Finding, Source, State},
    diag::{Place, Problem},
    exit::Exit,
    fixture::{Fixture, Ready, StartCx},
    gate::Gates,
    host::{Host, Runner},
    journal::{RunRecord, Tool, TrialState},
    lane::Lane,
    redact::Redactor,
    session::{Plan, Session, Stages},
    suite::{Cx, Mistakes, Suite},
    verdict::{Note, Observation, Outcome, Reason, Reasons, Verdict},
};
use tokio_util::sync::CancellationToken;

/// A flag that a test can look at after the thing it belongs to has moved away.
#[derive(Clone, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[derive(Default)]
pub struct Calculator {
    /// How many trials are in it.
    inside: AtomicUsize,
}

#[derive(Clone, Default)]
struct CalculatorFixture {
    declared: Capabilities,
    broken: Option<String>,
    leaves: Option<String>,
    started: Flag,
    stopped: Flag,
}

impl Fixture for CalculatorFixture {
    type World = Calculator;

    fn requested(&self) -> Value {
        json!({"what": "a calculator"})
    }

    fn declared(&self) -> Capabilities {
        self.declared.clone()
    }

    async fn start(&self, _cx: &StartCx) -> Result<Ready<Calculator>, Reason> {
        self.started.set();
        match &self.broken {
            Some(why) => Err(Reason::new("not-ready", why)),
            None => Ok(Ready {
                world: Calculator::default(),
                effective: json!({"version": 1}),
                capabilities: self.declared.clone(),
                notes: Vec::new(),
            }),
        }
    }

    async fn stop(&self, _cx: &StartCx) -> Vec<Note> {
        self.stopped.set();
        let note = |text: &String| Note { kind: "left-behind".to_owned(), text: text.clone() };
        self.leaves.iter().map(note).collect()
    }
}

struct Sums;

/// `expect` is a number, or a word for how the trial shall misbehave.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sum {
    of: Vec<i64>,
    expect: Value,
}

impl Suite<Calculator> for Sums {
    type Spec = Sum;

    fn kind(&self) -> &'static str {
        "sum"
    }

    fn lane(&self) -> Lane {
        Lane::Shared
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn check(&self, sum: &Sum, mistakes: &mut Mistakes<'_>) {
        if sum.of.len() > 9 {
            mistakes.at("/of", format!("expected at most 9 numbers, found {}", sum.of.len()));
        }
        if sum.expect.as_str().is_some_and(|word| word.contains(' ')) {
            mistakes.at("/expect", "expected one word");
        }
    }

    async fn run(&self, sum: &Sum, cx: &Cx<Calculator>) -> Observation {
        let company = cx.world.inside.fetch_add(1, Ordering::SeqCst);
        let outcome = outcome(sum, company, &cx.cancel).await;
        cx.world.inside.fetch_sub(1, Ordering::SeqCst);
        Observation::new(outcome)
    }
}

async fn outcome(sum: &Sum, company: usize, cancel: &CancellationToken) -> Outcome {
    let total: i64 = sum.of.iter().sum();
    let failed = |summary: String| Outcome::Failed(Reasons::one(Reason::new("sum", summary)));
    match &sum.expect {
        Value::String(word) => match word.as_str() {
            "panic" => panic!("the calculator is on fire"),
            "hang" => {
                cancel.cancelled().await;
                Outcome::Passed
            }
            "company" => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Outcome::Passed
            }
            "solitude" => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if company == 0 { Outcome::Passed } else { failed(format!("{company} others are here")) }
            }
            _ => Outcome::Passed,
        },
        expected if *expected == json!(total) => Outcome::Passed,
        expected => failed(format!("expected {expected}, found {total}")),
    }
}

/// A run to be.
pub struct Toy {
    root: tempfile::TempDir,
    fixture: CalculatorFixture,
    gates: Gates,
    stages: Stages,
}

/// A run that was.
pub struct Ran {
    pub exit: Exit,
    pub record: RunRecord,
    pub console: String,
    root: tempfile::TempDir,
}

impl Toy {
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("cases/sum")).expect("a folder for cases");
        let (gates, stages) = (Gates::default(), Stages::default());
        Self { root, fixture: CalculatorFixture::default(), gates, stages }
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.root.path().join(format!("cases/sum/{name}.yaml")), text).expect("a case file");
        self
    }

    pub fn gates(mut self, gates: Gates) -> Self {
        self.gates = gates;
        self
    }

    pub fn stages(mut self, stages: Stages) -> Self {
        self.stages = stages;
        self
    }

    pub fn without(mut self, capability: &str) -> Self {
        let finding = Finding {
            state: State::Unsupported,
            source: Source::Declared,
            evidence: "a calculator without roots".to_owned(),
        };
        self.fixture.declared.0.insert(CapabilityId(capability.to_owned()), finding);
        self
    }

    pub fn broken(mut self, why: &str) -> Self {
        self.fixture.broken = Some(why.to_owned());
        self
    }

    pub fn leaves(mut self, what: &str) -> Self {
        self.fixture.leaves = Some(what.to_owned());
        self
    }

    pub fn started(&self) -> Flag {
        self.fixture.started.clone()
    }

    pub fn stopped(&self) -> Flag {
        self.fixture.stopped.clone()
    }

    /// Runs it and reads the journal back.
    pub fn run(self, args: &Args) -> Ran {
        let (exit, console) = self.go(args);
        let journal = folder(&self.root).join("run/journal.jsonl");
        let record = RunRecord::read(&journal).expect("a journal");
        Ran { exit, record, console, root: self.root }
    }

    /// Runs it where nothing is to be run.
    pub fn refused(self, args: &Args) -> Exit {
        let (exit, console) = self.go(args);
        assert_eq!(console, "", "nothing may stand on standard output");
        exit
    }

    /// Lists it.
    pub fn listed(self, args: &Args) -> (Exit, String) {
        self.go(args)
    }

    /// What is wrong with its files: `file:line:column message`, one a mistake.
    pub fn mistakes(self) -> Vec<String> {
        let told = self.session().foresee(&Filter::default()).expect_err("there are mistakes");
        let tell = |problem: &Problem| match &problem.place {
            Some(place) => {
                format!("{}:{}:{} {}", file_name(place), place.line, place.column, problem.message)
            }
            None => problem.message.clone(),
        };
        told.iter().map(tell).collect()
    }

    fn go(&self, args: &Args) -> (Exit, String) {
        let log = folder(&self.root).join("console.log");
        let args = Args { log: Some(log.clone()), ..args.clone() };
        let exit = self.session().run(&args);
        (exit, std::fs::read_to_string(log).unwrap_or_default())
    }

    fn session(&self) -> Session<CalculatorFixture> {
        let root = folder(&self.root);
        let catalogue = Catalogue(vec![CapabilityId("toy.roots".to_owned())]);
        Session::new(&root, self.plan(&root), self.fixture.clone(), catalogue).suite(Sums, "cases/sum", None)
    }

    fn plan(&self, root: &Utf8Path) -> Plan {
        let host = Host { runner: Runner::Whole, github: None };
        Plan {
            tool: Tool { name: "toy".to_owned(), version: "0".to_owned(), optimised: false },
            run_id: Plan::run_id(&host),
            parent_run: None,
            scenario: "toy".to_owned(),
            run_type: "pr".to_owned(),
            selects: "smoke".to_owned(),
            folder: root.join("run"),
            latest_in: None,
            threads: 4,
            gates: self.gates.clone(),
            stages: self.stages.clone(),
            host,
            redactor: Arc::new(Redactor::default()),
            argv: vec!["toy".to_owned()],
            variables: Default::default(),
            terms: Default::default(),
        }
    }
}

impl Ran {
    /// A file of the run's folder.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(folder(&self.root).join("run").join(name)).expect("a file of the run")
    }
}

fn file_name(place: &Place) -> &str {
    place.file.file_name().unwrap_or_default()
}

fn folder(root: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(root.path().to_owned()).expect("utf-8")
}

/// The verdict of a trial that is over.
pub fn verdict_of(record: &RunRecord, id: &str) -> Verdict {
    finished(record, id).verdict
}

/// The first reason of a trial that is over.
pub fn reason_of(record: &RunRecord, id: &str) -> Reason {
    finished(record, id).reasons.first().cloned().unwrap_or_else(|| panic!("{id} has no reason"))
}

fn finished<'a>(record: &'a RunRecord, id: &str) -> &'a st_harness::journal::TrialFinished {
    let trial =
        record.trials.iter().find(|trial| trial.id().as_str() == id).unwrap_or_else(|| panic!("no {id}"));
    match &trial.state {
        TrialState::Finished(finished) => finished,
        other => panic!("{id} is {other:?}"),
    }
}
