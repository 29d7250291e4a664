//! The shipped cases, end to end against the simulator: all of them pass on a right server, and each of them fails
//! on a wrong one.
//!
//! 随附用例的端到端测试：正确的服务全部通过，错误的服务必被发现。

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::{StreamExt as _, stream};
use st_harness::{
    capability::{Capabilities, CapabilityId, Finding, Source as Evidence, State},
    case::{CASE_KEYS, ExpandedCase, read_cases},
    expand::{Limits, expand_all},
    folder::RunFolder,
    read::{self, Source},
    redact::Redactor,
    suite::{Cx, Mistakes, Suite},
    verdict::{Observation, Outcome, Reason},
};
use tokio_util::sync::CancellationToken;

use vllm_cibench::{
    client::{Client, Engine, Target},
    functional::{FunctionalSuite, Spec, capability, implicit},
    sim::{self, Fault, FaultRule, Features, Options, Sim, Timing},
};

mod again;
mod effects;
mod examples;

/// The key that the simulators here want: no report shows it.
const KEY: &str = "sk-functional-tests";

struct Trial {
    case: Arc<ExpandedCase>,
    spec: Spec,
}

impl Trial {
    /// Whether it looks at the server's counters.
    fn counts(&self) -> bool {
        self.spec.leg_names().iter().any(|leg| leg == "metrics_before")
    }
}

/// The files of a folder, in the order of their names.
fn files(root: &Utf8Path, folder: &str) -> Vec<String> {
    let mut files: Vec<String> = root
        .join(folder)
        .read_dir_utf8()
        .unwrap()
        .map(|entry| format!("{folder}/{}", entry.unwrap().file_name()))
        .filter(|file| file.ends_with(".yaml"))
        .collect();
    files.sort();
    files
}

/// All trials of the files that run by default.
fn shipped() -> Vec<Trial> {
    trials("cases/functional")
}

/// All trials of the files that run only where somebody names them.
fn optin() -> Vec<Trial> {
    trials("cases/functional/optin")
}

/// All trials of a folder; a mistake in a file is told as its author would see it.
fn trials(folder: &str) -> Vec<Trial> {
    let root = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut mistakes = Vec::new();
    let mut cases = Vec::new();
    for file in files(&root, folder) {
        let source = Source::load(&root, file.as_str().into());
        let read =
            source.and_then(|source| read_cases(&Arc::new(source), "functional", &capability::catalogue()));
        read.map_or_else(|told| mistakes.extend(told), |read| cases.extend(read));
    }
    let expanded = expand_all(&cases, Limits::default()).unwrap_or_else(|told| {
        mistakes.extend(told);
        Vec::new()
    });
    let mut trials = Vec::new();
    for case in expanded {
        match read::typed::<Spec>(case.spec(), &case.origin, CASE_KEYS) {
            Err(told) => mistakes.extend(told),
            Ok(spec) => {
                let mut found = Mistakes::new(&case);
                Suite::<Target>::check(&FunctionalSuite::default(), &spec, &mut found);
                mistakes.extend(found.into_problems());
                trials.push(Trial { case: Arc::new(case), spec });
            }
        }
    }
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    trials
}

/// What the simulator can do with all of its features switched on: everything.
fn capabilities() -> Capabilities {
    let found = capability::CATALOGUE.iter().map(|(id, _)| {
        let evidence = "switched on".to_owned();
        let finding = Finding { state: State::Supported, source: Evidence::Declared, evidence };
        (CapabilityId((*id).to_owned()), finding)
    });
    Capabilities(found.collect::<BTreeMap<_, _>>())
}

struct Bench {
    target: Arc<Target>,
    /// The same server with a model that thinks first, for the cases that are about thoughts.
    thinking: Arc<Target>,
    capabilities: Arc<Capabilities>,
    folder: RunFolder,
    /// What is wrong with it, first of all.
    fault: Option<Fault>,
    _held: (Vec<Sim>, tempfile::TempDir),
}

impl Bench {
    fn new(faults: Vec<FaultRule>) -> Self {
        // What is held back shows only in an answer that takes its time.
        let holds_back = |rule: &FaultRule| matches!(rule.fault, Fault::Buffered | Fault::LateHeaders);
        let tpot_ms = if faults.iter().any(holds_back) { 10.0 } else { 1.0 };
        let timing = Timing { ttft_ms: 2.0, tpot_ms, ..Default::default() };
        let sims = [false, true].map(|reasoning| {
            let mut capabilities = Features { reasoning, ..Features::default() };
            for name in Features::NAMES.iter().filter(|name| **name != "reasoning") {
                assert!(capabilities.set(name, true));
            }
            let (faults, api_key) = (faults.clone(), Some(KEY.to_owned().into()));
            Sim::start(Options { faults, timing, capabilities, api_key, ..Options::default() }).unwrap()
        });
        let urls = sims.each_ref().map(Sim::base_url);
        let fault = faults.into_iter().next().map(|rule| rule.fault);
        Self { fault, ..Self::of(&urls[0], &urls[1], sims.into()) }
    }

    fn of(url: &str, thinking: &str, sims: Vec<Sim>) -> Self {
        // The simulator stands in for this version, with what is odd about it.
        let engine = Engine { name: Some("vllm".to_owned()), version: Some("0.32.0".to_owned()) };
        let at = |url: &str| {
            let client = Client::new(url, Some(KEY.to_owned().into())).unwrap();
            Arc::new(Target::new(client, "sim").with_engine(engine.clone()))
        };
        let (target, thinking) = (at(url), at(thinking));
        let place = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(place.path().to_owned()).unwrap();
        let folder = RunFolder::open(path, Arc::new(Redactor::default())).unwrap();
        let (capabilities, fault) = (Arc::new(capabilities()), None);
        Self { target, thinking, capabilities, folder, fault, _held: (sims, place) }
    }

    async fn run(&self, trial: &Trial) -> Observation {
        let about_thoughts = |id: &CapabilityId| id.0.starts_with("chat.reasoning");
        let thinks = trial.case.head.required_capabilities.iter().any(about_thoughts);
        let cx = Cx {
            world: Arc::clone(if thinks { &self.thinking } else { &self.target }),
            case: Arc::clone(&trial.case),
            capabilities: Arc::clone(&self.capabilities),
            cancel: CancellationToken::new(),
            folder: self.folder.trial(&trial.case.id),
            run_type: "smoke".to_owned(),
            run_id: "r".to_owned(),
        };
        FunctionalSuite::default().run(&trial.spec, &cx).await
    }

    /// Whether one of `trials` breaks what it asks for itself.
    async fn makes_any_red(&self, trials: impl Iterator<Item = &Trial>) -> bool {
        let red = async |trial: &Trial| breaks_its_own(self.run(trial).await.outcome);
        let mut seen = stream::iter(trials).map(red).buffer_unordered(AT_ONCE);
        while let Some(red) = seen.next().await {
            if red {
                return true;
            }
        }
        false
    }

    fn admits(&self, trial: &Trial) -> bool {
        trial.case.head.required_capabilities.iter().all(|id| self.capabilities.get(id).state.runs())
    }
}

fn why(outcome: Outcome) -> Vec<Reason> {
    outcome.into_verdict().1
}

fn one(id: &str) -> Trial {
    let found = shipped().into_iter().find(|trial| trial.case.id.as_str() == id);
    found.unwrap_or_else(|| panic!("no trial {id}"))
}

#[test]
fn the_ids_are_those_that_histories_know() {
    let ids: Vec<String> = shipped().iter().map(|trial| trial.case.id.to_string()).collect();
    assert!(ids.len() >= 60, "{} trials", ids.len());
    snapbox::assert_data_eq!(ids.join("\n") + "\n", snapbox::file!["functional/ids.txt"]);
    let ids: Vec<String> = optin().iter().map(|trial| trial.case.id.to_string()).collect();
    snapbox::assert_data_eq!(ids.join("\n") + "\n", snapbox::file!["functional/ids_optin.txt"]);
}

/// The files that say at their top why they ask for more than 32 tokens, and for how many.
const LONGER: [(&str, u64); 3] = [("function_call", 96), ("guided", 48), ("reasoning", 96)];

/// By what a case says that its bound is not what it costs, or that it is the one that pays.
const EXCUSES: [&str; 3] = ["the stop text sees to that", "pays for all", "leaves long before"];

#[test]
fn every_case_says_what_it_is_about_and_asks_for_few_tokens() {
    for trial in shipped() {
        let id = &trial.case.id;
        assert!(trial.case.head.about.is_some(), "{id} says nothing about itself");
        let body = trial.spec.body("m").unwrap_or_default();
        let bound = body.get("max_tokens").and_then(serde_json::Value::as_u64);
        let refused = id.as_str().contains("errors");
        let about = trial.case.head.about.as_deref().unwrap_or_default();
        let excused = refused || EXCUSES.iter().any(|excuse| about.contains(excuse));
        let most = LONGER.iter().find(|(file, _)| *file == &*trial.case.file).map_or(32, |(_, most)| *most);
        assert!(excused || bound.is_none_or(|bound| bound <= most), "{id} asks for {bound:?} tokens");
    }
}

#[test]
fn a_case_that_reads_counters_runs_alone() {
    for trial in shipped().iter().filter(|trial| trial.counts()) {
        assert!(trial.case.head.exclusive, "{} compares counters and is not exclusive", trial.case.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pass_on_a_right_server() {
    let bench = Bench::new(Vec::new());
    let mut red = String::new();
    for trial in
        shipped().into_iter().chain(optin()).collect::<Vec<_>>().iter().filter(|trial| bench.admits(trial))
    {
        for reason in why(bench.run(trial).await.outcome) {
            red += &format!("{}: {}\n{}\n", trial.case.id, reason.summary, reason.detail);
        }
    }
    assert!(red.is_empty(), "{red}");
}

/// Faults that keep to HTTP and time limits: the ones that would make every trial red say nothing about its
/// expectations, and the slow ones say it late. Beside them, every field of a shipped request that a server may ignore.
fn telling_faults(trials: &[Trial]) -> Vec<FaultRule> {
    let too_plain =
        ["status", "slow_headers", "html_body", "malformed_body", "wrong_content_type", "ignore_field"];
    let breaks_off = ["stall", "reset", "cut", "end_early"];
    let tells =
        |name: &str| !too_plain.contains(&name) && !breaks_off.iter().any(|prefix| name.starts_with(prefix));
    let named = Fault::ALL.iter().filter(|(name, _)| tells(name)).filter_map(|(name, _)| Fault::named(name));
    let fields: BTreeSet<String> = trials
        .iter()
        .flat_map(|trial| trial.spec.body("m").unwrap_or_default())
        .map(|(key, _)| key)
        .collect();
    let fields =
        fields.into_iter().filter(|field| !["model", "messages", "prompt"].contains(&field.as_str()));
    named.chain(fields.map(|name| Fault::IgnoreField(sim::Field { name }))).map(FaultRule::from).collect()
}

/// Whether something is broken that the case itself asks for, beyond what is asked of every answer.
fn breaks_its_own(outcome: Outcome) -> bool {
    let failed = matches!(outcome, Outcome::Failed(_));
    failed && why(outcome).iter().any(|reason| !implicit::KINDS.contains(&reason.kind.as_str()))
}

/// How many trials are run at once: they wait for answers more than they compute.
const AT_ONCE: usize = 16;

/// Servers that are each wrong in one way, and how many trials each has made red.
struct Wrong {
    benches: Vec<(Bench, AtomicUsize)>,
    /// For each case, the server that made another point of its matrix red.
    known: Mutex<HashMap<Arc<str>, usize>>,
}

impl Wrong {
    fn new(faults: Vec<FaultRule>) -> Self {
        let benches = faults.into_iter().map(|rule| (Bench::new(vec![rule]), AtomicUsize::new(0))).collect();
        Self { benches, known: Mutex::default() }
    }

    /// The likeliest server first: the one that a sibling fell to, then those that most have fallen to.
    fn order(&self, trial: &Trial) -> Vec<usize> {
        let known = self.known.lock().unwrap().get(&trial.case.case_id).copied();
        let mut order: Vec<usize> = (0..self.benches.len()).collect();
        order.sort_by_key(|at| (Some(*at) != known, Reverse(self.benches[*at].1.load(Ordering::Relaxed))));
        order
    }

    async fn makes_red(&self, trial: &Trial) -> bool {
        for at in self.order(trial) {
            let (bench, fell) = &self.benches[at];
            if bench.admits(trial) && breaks_its_own(bench.run(trial).await.outcome) {
                fell.fetch_add(1, Ordering::Relaxed);
                self.known.lock().unwrap().insert(Arc::clone(&trial.case.case_id), at);
                return true;
            }
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fails_on_a_server_that_is_wrong_in_what_it_asks_about() {
    let mut trials = shipped();
    trials.extend(optin());
    let wrong = Wrong::new(telling_faults(&trials));
    let run = async |trial: &Trial| (!wrong.makes_red(trial).await).then(|| trial.case.id.to_string());
    // Counters move for whoever asks; on the simulator nothing else depends on who asks beside.
    let (counting, others): (Vec<&Trial>, Vec<&Trial>) = trials.iter().partition(|trial| trial.counts());
    let mut never: Vec<String> = Vec::new();
    for (group, at_once) in [(others, AT_ONCE), (counting, 1)] {
        never.extend(
            stream::iter(group)
                .map(run)
                .buffer_unordered(at_once)
                .collect::<Vec<_>>()
                .await
                .into_iter()
                .flatten(),
        );
    }
    // A route without a body can be wrong in little but its status and its words.
    let plain = ["status", "malformed_body", "html_body"].iter().filter_map(|name| Fault::named(name));
    let plain = Wrong::new(plain.map(FaultRule::from).collect());
    for trial in trials.iter().filter(|trial| trial.spec.body("m").is_none()) {
        if plain.makes_red(trial).await {
            never.retain(|id| id != trial.case.id.as_str());
        }
    }
    assert!(never.is_empty(), "no fault makes these red: {never:#?}");
    // And the other way about: no fault of the catalogue goes unnoticed, but those that no server is wrong by.
    let mut unnoticed = Vec::new();
    for (bench, fell) in &wrong.benches {
        let named = bench.fault.as_ref().filter(|fault| !matches!(fault, Fault::IgnoreField(_)));
        let Some(fault) = named.filter(|fault| !LEGAL.contains(&fault.name())) else { continue };
        let mut firsts = BTreeSet::new();
        let some = trials.iter().filter(|trial| firsts.insert(Arc::clone(&trial.case.case_id)));
        if fell.load(Ordering::Relaxed) == 0 && !bench.makes_any_red(some).await {
            unnoticed.push(fault.name());
        }
    }
    assert!(unnoticed.is_empty(), "no trial notices these: {unnoticed:#?}");
}

/// Faults that are none: HTTP and SSE allow what they do.
const LEGAL: [&str; 3] = ["torn_utf8", "fragmented", "crlf"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_legal_makes_no_trial_red() {
    let streams = |trial: &&Trial| matches!(&*trial.case.file, "streaming" | "unicode" | "function_call");
    let trials = shipped();
    for name in LEGAL {
        let bench = &Bench::new(vec![FaultRule::from(Fault::named(name).unwrap())]);
        // Inconclusive is not red: so many at once may keep this machine from looking in time.
        let run = async |trial: &Trial| match bench.run(trial).await.outcome {
            Outcome::Inconclusive(_) => (trial.case.id.to_string(), Vec::new()),
            outcome => (trial.case.id.to_string(), why(outcome)),
        };
        let counts = |trial: &&Trial| !trial.counts();
        let seen =
            stream::iter(trials.iter().filter(streams).filter(counts)).map(run).buffer_unordered(AT_ONCE);
        let red: Vec<_> = seen.filter(|(_, red)| std::future::ready(!red.is_empty())).collect().await;
        assert!(red.is_empty(), "{name}: {red:#?}");
    }
}

/// Everything that differs from run to run, made the same: ids, times, ports.
fn steady(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, instead) in
        [(r"chatcmpl-[0-9a-f]+", "chatcmpl-ID"), (r#""created":[0-9]+"#, r#""created":0"#)]
    {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

#[tokio::test]
async fn a_broken_expectation_tells_line_answer_and_how_to_repeat_it() {
    let bench = Bench::new(vec![FaultRule::from(Fault::named("wrong_finish").unwrap())]);
    let seen = bench.run(&one("functional::chat_core::finish_length::max_2")).await;
    let saved: Vec<&str> = seen.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(saved, ["trials/functional.chat_core.finish_length.max_2/main.json"]);
    let reasons = why(seen.outcome);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let place = reasons[0].place.as_ref().expect("the line that asked for it");
    assert_eq!(place.file, "cases/functional/chat_core.yaml");
    let told = format!("{}: {}\n\n{}", reasons[0].kind, reasons[0].summary, steady(&reasons[0].detail));
    snapbox::assert_data_eq!(told, snapbox::file!["functional/red.txt"].raw());
}

#[tokio::test]
async fn a_difference_between_two_requests_shows_both() {
    let bench = Bench::new(vec!["{when: {nth: 2}, fault: foreign_text}".parse().unwrap()]);
    let seen = bench.run(&one("functional::completions_core::prompt_list_single")).await;
    assert_eq!(seen.artifacts.len(), 3, "{:?}", seen.artifacts);
    let reasons = why(seen.outcome);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert_eq!(reasons[0].kind, "same-up-to-ties");
    for leg in ["answer (main:", "answer (first:", "answer (second:"] {
        assert!(reasons[0].detail.contains(leg), "no {leg:?} in:\n{}", reasons[0].detail);
    }
    assert_eq!(reasons[0].detail.matches("again: curl").count(), 3);
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_no_verdict_on_the_case() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::of(&format!("http://{gone}/v1"), &format!("http://{gone}/v1"), Vec::new());
    let mut trial = one("functional::chat_core::basic");
    trial.spec.retries = Some(1);
    let seen = bench.run(&trial).await;
    assert!(seen.notes.iter().any(|note| note.kind == "retried"), "{:?}", seen.notes);
    let Outcome::Errored(reasons) = seen.outcome else { panic!("{:?}", seen.outcome) };
    assert_eq!(reasons.first().kind, "transport");
    assert!(reasons.first().summary.contains("2 times"), "{}", reasons.first().summary);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_the_note_says_so() {
    let rule = r#"{when: {nth: 1}, fault: {status: {code: 503, retry_after: 0}}}"#.parse().unwrap();
    let seen = Bench::new(vec![rule]).run(&one("functional::chat_core::basic")).await;
    assert_eq!(seen.outcome, Outcome::Passed);
    let notes: Vec<&str> = seen.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes, ["main: 2 attempts, of which status 503"]);
}

#[tokio::test]
async fn a_failure_over_an_unknown_capability_decides_nothing() {
    let mut bench = Bench::new(vec![FaultRule::from(Fault::named("choice_missing").unwrap())]);
    bench.capabilities = Arc::new(Capabilities::default());
    let outcome = bench.run(&one("functional::chat_core::n_2")).await.outcome;
    let Outcome::Inconclusive(reasons) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reasons.first().kind, "capability-unknown");
    assert!(reasons.into_vec().len() > 1, "what is broken is told all the same");
}
