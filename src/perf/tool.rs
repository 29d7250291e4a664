//! Figures that somebody else's tool measured: [`observe`] runs the tool and holds what it says against the case. They
//! keep the tool as their source and definition: what bears our name there is only as near to ours as its adapter says.
//! Must not know the tool, nor how its result is read.
//!
//! 外部工具给出的性能指标：同样的期望、门禁与报告。

use serde_json::{Map, Value, json};
use st_harness::{
    case::ExpandedCase,
    suite::Cx,
    verdict::{Details, Measurement, Observation, Outcome, Reasons},
};

use crate::{
    client::Target,
    perf::{
        expect::judge,
        spec::{Expectation, Spec},
        summary::Summary,
    },
    tools::{Done, Figure, Settings, Stopped, Tools, Unit, Use, Wanted},
    workload::workload,
};

pub(super) async fn observe(tools: &Tools, spec: &Spec, used: &Use, cx: &Cx<Target>) -> Observation {
    let settings = settings(spec);
    let wanted = Wanted { used, settings: &settings, required: false, redact: false };
    match tools.run(wanted, cx).await {
        Ok(done) => {
            let observation = conclude(spec, &cx.case, used, &done);
            Observation { artifacts: done.artifacts, notes: done.notes, ..observation }
        }
        Err(Stopped { outcome, artifacts, notes }) => {
            Observation { artifacts, notes, ..Observation::new(outcome) }
        }
    }
}

/// What the case says, by the names that tools use.
fn settings(spec: &Spec) -> Settings {
    let mut settings = Settings::from([
        ("endpoint", spec.endpoint.backend().to_owned()),
        // The check has seen that both are there.
        ("input_len", spec.input_len.unwrap_or(1).to_string()),
        ("output_len", spec.output_len.unwrap_or(1).to_string()),
        ("requests", spec.requests().unwrap_or(1).to_string()),
        ("temperature", spec.sampling.temperature.to_string()),
        ("seed", spec.seed.to_string()),
        ("warmup", spec.warmup.to_string()),
    ]);
    settings.extend(spec.concurrency.map(|concurrency| ("concurrency", concurrency.to_string())));
    settings
}

fn conclude(spec: &Spec, case: &ExpandedCase, used: &Use, done: &Done) -> Observation {
    let mut measurements: Vec<Measurement> =
        done.record.figures.iter().filter_map(|figure| measurement(used, figure)).collect();
    let asked: Vec<(&str, &str)> = spec.expect.iter().filter_map(wanted).collect();
    for (name, stat) in asked {
        if !measurements.iter().any(|one| one.name == name && one.stat == stat) {
            measurements.push(missing(used, name, stat));
        }
    }
    let mut summary = Summary::of(&[]);
    summary.measurements = measurements;
    let broken = judge(spec, case, &summary, &[]).broken;
    Observation {
        outcome: Reasons::from_vec(broken).map_or(Outcome::Passed, Outcome::Failed),
        notes: Vec::new(),
        measurements: summary.measurements,
        details: Some(Details { schema: "perf_tool/1".to_owned(), value: json!({"tool": done.told(used)}) }),
        artifacts: Vec::new(),
        workload: Some(workload(workload_key(spec, used, done))),
        seed: Some(spec.seed),
    }
}

fn measurement(used: &Use, figure: &Figure) -> Option<Measurement> {
    let (name, stat) = figure.stands_for?;
    Some(Measurement {
        name: name.to_owned(),
        stat: stat.to_owned(),
        unit: figure.unit.word().to_owned(),
        value: Some(figure.value),
        null_reason: None,
        n: figure.n.unwrap_or(0),
        definition: format!("{}:{}", used.name, figure.key()),
        source: source(used),
        labels: Map::new(),
    })
}

/// Whoever measured is told by this word and the tool's name.
fn source(used: &Use) -> String {
    format!("tool:{}", used.name)
}

/// What an expectation asks for and the tool does not tell.
fn missing(used: &Use, name: &str, stat: &str) -> Measurement {
    Measurement {
        name: name.to_owned(),
        stat: stat.to_owned(),
        unit: Unit::Seconds.word().to_owned(),
        value: None,
        null_reason: Some(format!("{} does not tell it", used.name)),
        n: 0,
        definition: format!("{}:", used.name),
        source: source(used),
        labels: Map::new(),
    }
}

/// The figure that an expectation is about.
fn wanted(expectation: &Expectation) -> Option<(&'static str, &'static str)> {
    Some(match expectation {
        Expectation::Ttft(at) => ("ttft", at.stat.name()),
        Expectation::Ttst(at) => ("ttst", at.stat.name()),
        Expectation::Tpot(at) => ("tpot", at.stat.name()),
        Expectation::Itl(at) => ("itl", at.stat.name()),
        Expectation::E2e(at) => ("e2e", at.stat.name()),
        Expectation::FailureRatio(_) => ("failure_ratio", "value"),
        Expectation::ConversationFailureRatio(_) => ("conversation_failure_ratio", "value"),
        Expectation::RequestsPerSecond(_) => ("requests_per_second", "value"),
        Expectation::OutputTokenThroughput(_) => ("output_token_throughput", "value"),
        Expectation::TotalTokenThroughput(_) => ("total_token_throughput", "value"),
        Expectation::Goodput(_) => return None,
    })
}

/// Figures of another tool, release or setting are other figures.
fn workload_key(spec: &Spec, used: &Use, done: &Done) -> Map<String, Value> {
    let tool = [
        ("dataset", json!("tool")),
        ("concurrency_backend", json!("tool")),
        ("control_method", json!("tool")),
        ("tool", json!(used.name)),
        ("tool_version", json!(done.version)),
        ("tool_with", json!(used.with)),
    ];
    let tool = tool.into_iter().map(|(name, value)| (name.to_owned(), value));
    spec.workload_key().into_iter().chain(tool).collect()
}
