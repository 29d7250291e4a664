//! A run for tests: one trial of every status, with hostile text, measurements, notes and artifacts.
//! Must not know any format.
//!
//! 测试用的样例运行。

use serde_json::json;

use crate::{
    capability::{Capabilities, CapabilityId, Finding, Source, State},
    case::TrialId,
    diag::Place,
    journal::{
        Envelope, Environment, Event, Git, Planned, RunFinished, RunRecord, RunStarted, Schema, Tool,
        TrialFinished,
    },
    verdict::{Artifact, Details, Measurement, Note, Reason, Verdict, Workload},
};

pub(crate) fn id(text: &str) -> TrialId {
    TrialId::new(text).expect("an id")
}

pub(crate) fn place(file: &str, line: u32) -> Place {
    Place { file: file.into(), line, column: 9, length: 1 }
}

pub(crate) fn started() -> RunStarted {
    RunStarted {
        run_id: "0192f0c1-0000-7000-8000-000000000001".to_owned(),
        parent_run: None,
        scenario: "sim".to_owned(),
        run_type: "pr".to_owned(),
        git: Some(Git {
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            branch: Some("main".to_owned()),
            dirty: false,
        }),
        tool: Tool { name: "vllm-cibench".to_owned(), version: "0.1.0".to_owned(), optimised: true },
        argv: vec!["st".to_owned(), "chat_core".to_owned()],
        environment: Environment {
            observed: [("host".to_owned(), json!("bench-1")), ("cpus".to_owned(), json!(2))].into(),
            hash: "e0".to_owned(),
        },
        requested: json!({ "model": "tiny" }),
        variables: Default::default(),
        terms: Default::default(),
    }
}

pub(crate) fn planned(trial: &str, line: u32) -> Event {
    let segments: Vec<_> = trial.split("::").collect();
    let (kind, suite) = (segments[0], segments[1]);
    let values = match segments.get(3) {
        Some(value) => json!({ "t": value }).as_object().cloned().unwrap_or_default(),
        None => serde_json::Map::new(),
    };
    Event::TrialPlanned(Planned {
        trial_id: id(trial),
        case_id: segments.iter().take(3).copied().collect::<Vec<_>>().join("::"),
        kind: kind.to_owned(),
        suite: suite.to_owned(),
        about: Some(format!("about {trial}")),
        tags: vec!["core".to_owned()],
        required_capabilities: vec![CapabilityId("chat.tools".to_owned())],
        place: Some(place(&format!("cases/{kind}/{suite}.yaml"), line)),
        values,
        case_hash: Some("c0".to_owned()),
    })
}

pub(crate) fn begun(trial: &str) -> Event {
    let sidecar = Some(format!("trials/{}/requests.jsonl", trial.replace("::", ".")));
    Event::TrialStarted { trial_id: id(trial), sidecar }
}

pub(crate) fn finished(trial: &str, verdict: Verdict, reasons: Vec<Reason>) -> TrialFinished {
    let ran = !matches!(verdict, Verdict::Skipped | Verdict::Blocked);
    TrialFinished {
        trial_id: id(trial),
        attempt: 1,
        verdict,
        reasons,
        duration_ns: ran.then_some(120_500_000),
        workload: None,
        seed: None,
        measurements: Vec::new(),
        details: None,
        artifacts: Vec::new(),
    }
}

pub(crate) fn over(trial: &str, verdict: Verdict, reasons: Vec<Reason>) -> Event {
    Event::TrialFinished(Box::new(finished(trial, verdict, reasons)))
}

pub(crate) fn note(trial: Option<&str>, kind: &str, text: &str) -> Event {
    Event::Note { trial_id: trial.map(id), note: Note { kind: kind.to_owned(), text: text.to_owned() } }
}

pub(crate) fn measurement(stat: &str, value: Option<f64>) -> Measurement {
    Measurement {
        name: "ttft".to_owned(),
        stat: stat.to_owned(),
        unit: "s".to_owned(),
        value,
        null_reason: value.is_none().then(|| "fewer than 2 samples".to_owned()),
        n: 16,
        definition: "ttft/1".to_owned(),
        source: "client".to_owned(),
        labels: json!({ "concurrency": 4 }).as_object().cloned().unwrap_or_default(),
    }
}

/// A trial of every status, in two kinds.
pub(crate) fn events() -> Vec<Event> {
    let capability = Reason::new("capability", "chat.tools is unsupported (probe)");
    let status = Reason::new("status", "expected status 200, got 500 | <b>bad</b>")
        .with_detail("body: a | b\n```\nfence ]]> \u{1b}[31mred\u{1b}[0m \u{0}end\n```")
        .at(place("cases/functional/chat_core.yaml", 12));
    let second = Reason::new("finish_reason", "expected stop, got length");
    let perf = TrialFinished {
        workload: Some(Workload {
            key: json!({ "concurrency": 4 }).as_object().cloned().unwrap_or_default(),
            hash: "w0".to_owned(),
        }),
        seed: Some(42),
        measurements: vec![measurement("p99", Some(0.012_5)), measurement("max", None)],
        details: Some(Details { schema: "perf/1".to_owned(), value: json!({ "steps": [1, 2, 4] }) }),
        artifacts: vec![Artifact {
            role: "requests".to_owned(),
            path: "trials/perf.smoke.chat/requests.jsonl".into(),
            sha256: "a0".to_owned(),
            media: "application/jsonl".to_owned(),
        }],
        duration_ns: Some(2_000_000_000),
        ..finished("perf::smoke::chat", Verdict::Passed, Vec::new())
    };
    let core = "functional::chat_core";
    vec![
        Event::RunStarted(Box::new(started())),
        planned(&format!("{core}::hello"), 3),
        planned(&format!("{core}::top_p::t_0_6"), 10),
        planned(&format!("{core}::timeout"), 20),
        planned("functional::tools::auto", 3),
        planned("functional::tools::late", 9),
        planned("perf::smoke::chat", 4),
        planned("perf::smoke::slow", 14),
        planned("perf::smoke::unsure", 24),
        planned("perf::smoke::killed", 34),
        planned("perf::smoke::never", 44),
        Event::ServerReady {
            effective: json!({ "version": "0.32.0" }),
            capabilities: Capabilities(
                [(
                    CapabilityId("chat.tools".to_owned()),
                    Finding {
                        state: State::Unsupported,
                        source: Source::Probe,
                        evidence: "400: no such field".to_owned(),
                    },
                )]
                .into(),
            ),
        },
        over("functional::tools::auto", Verdict::Skipped, vec![capability]),
        over(
            "functional::tools::late",
            Verdict::Blocked,
            vec![Reason::new("blocked", "the server was never ready")],
        ),
        begun(&format!("{core}::hello")),
        note(Some(&format!("{core}::hello")), "deviation", "usage is missing"),
        over(&format!("{core}::hello"), Verdict::Passed, Vec::new()),
        begun(&format!("{core}::top_p::t_0_6")),
        over(&format!("{core}::top_p::t_0_6"), Verdict::Failed, vec![status, second]),
        begun(&format!("{core}::timeout")),
        over(
            &format!("{core}::timeout"),
            Verdict::Errored,
            vec![Reason::new("timeout", "no answer within 30 s")],
        ),
        begun("perf::smoke::chat"),
        Event::TrialFinished(Box::new(perf)),
        over(
            "perf::smoke::slow",
            Verdict::Invalid,
            vec![Reason::new("client-lag", "the client did not keep up")],
        ),
        over(
            "perf::smoke::unsure",
            Verdict::Inconclusive,
            vec![Reason::new("few-samples", "3 samples decide nothing")],
        ),
        Event::GateDecided {
            gate: "max_skipped".to_owned(),
            trial_id: None,
            verdict: Verdict::Passed,
            reasons: Vec::new(),
            numbers: json!({ "skipped": 1, "allowed": 5 }),
        },
        begun("perf::smoke::killed"),
        note(None, "clean-up", "the server was stopped"),
        Event::RunFinished(RunFinished { exit_code: 1, interrupted: true }),
    ]
}

/// `events`, one each hundred milliseconds.
pub(crate) fn envelopes(events: Vec<Event>) -> Vec<Envelope> {
    let start: jiff::Timestamp = "2026-11-22T08:00:00Z".parse().expect("a time");
    let envelope = |(seq, event)| {
        let t_ns = seq * 100_000_000;
        let at = start + std::time::Duration::from_nanos(t_ns);
        Envelope { schema: Schema::CURRENT, seq, at, t_ns, event }
    };
    (0..).zip(events).map(envelope).collect()
}

pub(crate) fn run() -> RunRecord {
    RunRecord::fold(envelopes(events())).expect("it begins with RunStarted")
}

/// A run of one trial that ended so.
pub(crate) fn run_of(verdict: Verdict, reasons: Vec<Reason>) -> RunRecord {
    let trial = "functional::hostile::answer";
    let events = vec![
        Event::RunStarted(Box::new(started())),
        planned(trial, 1),
        over(trial, verdict, reasons),
        Event::RunFinished(RunFinished { exit_code: 0, interrupted: false }),
    ];
    RunRecord::fold(envelopes(events)).expect("it begins with RunStarted")
}
