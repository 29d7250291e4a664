//! A score that somebody else's tool found: [`observe`] runs the tool and judges what it says as a score of ours is
//! judged. Must not know the tool, nor how its result is read.
//!
//! 外部工具给出的得分：同样的门禁与报告。

use serde_json::{Map, Value, json};
use st_harness::{
    case::ExpandedCase,
    suite::Cx,
    verdict::{Details, Measurement, Observation, Outcome, Reason, Reasons},
};

use crate::{
    accuracy::{
        gate::{Power, Sureness, judge_score, one_sided_level},
        item::{self, Item},
        results,
        spec::Spec,
        statistics::{Interval, differ, wilson},
        suite::{LEVEL, note},
        tally::Tally,
        verdict::{at, ending},
    },
    client::Target,
    tools::{Done, Figure, Samples, Settings, Stopped, Tools, Unit, Use, Wanted},
    workload::workload,
};

/// Where a tool rounds its scores, that of so many answers is this near to a whole number of right ones.
const ROUNDING: f64 = 5e-5;
/// Of Student's t with so many degrees of freedom the normal distribution is what is left.
const MANY: f64 = 1e4;

pub(super) async fn observe(tools: &Tools, spec: &Spec, used: &Use, cx: &Cx<Target>) -> Observation {
    let settings = settings(spec);
    let wanted = Wanted { used, settings: &settings, required: spec.required, redact: spec.redacts() };
    match tools.run(wanted, cx).await {
        Ok(done) => {
            let (mut observation, items) = conclude(spec, &cx.case, used, &done);
            write(spec, cx, &items, &mut observation);
            observation.artifacts.extend(done.artifacts);
            observation.notes.extend(done.notes);
            observation
        }
        Err(Stopped { outcome, artifacts, mut notes }) => {
            if matches!(outcome, Outcome::Skipped(_)) && spec.min_score > 0.0 {
                let told = format!(
                    "the gate over {} (score at least {}) was not evaluated",
                    spec.dataset(),
                    spec.min_score
                );
                notes.push(note("not-evaluated", told));
            }
            Observation { artifacts, notes, ..Observation::new(outcome) }
        }
    }
}

/// What the case says, by the names that tools use.
fn settings(spec: &Spec) -> Settings {
    let mut settings = Settings::from([
        ("dataset", spec.dataset().to_owned()),
        ("max_tokens", spec.max_tokens.to_string()),
        ("temperature", spec.temperature.to_string()),
        ("workers", spec.workers.to_string()),
        ("request_timeout_s", spec.request_timeout_s.to_string()),
    ]);
    settings.extend(spec.limit.map(|limit| ("limit", limit.to_string())));
    settings
}

/// From what a tool says to an observation, and to the items that later runs are compared with.
fn conclude(spec: &Spec, case: &ExpandedCase, used: &Use, done: &Done) -> (Observation, Vec<Item>) {
    let refuse = |told: String| {
        let reason = at(case, "/tool", Reason::new("tool-result", told));
        let details = Details { schema: SCHEMA.to_owned(), value: json!({"tool": done.told(used)}) };
        Observation { details: Some(details), ..Observation::new(Outcome::Errored(Reasons::one(reason))) }
    };
    let figure = match done.record.find(used.task.as_deref(), used.metric.as_deref()) {
        Ok(figure) if figure.unit == Unit::Ratio => figure,
        Ok(other) => {
            let told = format!(
                "expected `{}` to be a ratio from 0 to 1, more of which is better, found {}",
                other.name(),
                other.raw
            );
            return (refuse(told), Vec::new());
        }
        Err(told) => return (refuse(told), Vec::new()),
    };
    let (items, unpaired) = match done.samples(figure) {
        Ok(Samples::Each(samples)) => (Item::of_samples(samples), None),
        Ok(Samples::Unmarked(why)) => (Vec::new(), Some(why)),
        Err(told) => return (refuse(told), Vec::new()),
    };
    let correct = correct(figure);
    let tally = Tally {
        correct: correct.unwrap_or(0),
        total: figure.n.unwrap_or(0),
        score: Some(figure.value),
        ..Tally::of(&[], spec.compat)
    };
    let refused = no_measurement(spec, case, done);
    let sure = sureness(figure, correct, LEVEL);
    let one_sided = sureness(figure, correct, one_sided_level(spec));
    let power = Power::of_items(figure.n.unwrap_or(0), spec.min_score, spec.gate.alpha);
    let judgement = judge_score(spec, Some(figure.value), one_sided, power, refused.is_none());
    let details = json!({
        "accuracy": {
            "task": spec.dataset(),
            "score": figure.value,
            "correct": correct,
            "total": figure.n,
            "ok": judgement.ok,
        },
        "figure": figure,
        "standard_error": figure.stderr,
        "interval": sure,
        "gate": judgement,
        "tool": done.told(used),
        "items": items.len(),
        "no_items": unpaired,
    });
    let observation = Observation {
        outcome: ending(spec, case, &tally, &judgement, &sure, refused),
        notes: Vec::new(),
        measurements: measurements(spec, used, figure, &sure),
        details: Some(Details { schema: SCHEMA.to_owned(), value: details }),
        artifacts: Vec::new(),
        workload: Some(workload(workload_key(spec, used, done, figure))),
        seed: None,
    };
    (observation, items)
}

const SCHEMA: &str = "accuracy_tool/1";

/// How many were right, where the score is that of right or wrong answers.
fn correct(figure: &Figure) -> Option<u64> {
    let n = figure.n? as f64;
    let right = figure.value * n;
    ((right - right.round()).abs() <= ROUNDING * n + 1e-9).then_some(right.round() as u64)
}

/// Wilson's interval where answers can be counted, else by the tool's own standard error, where it tells one.
fn sureness(figure: &Figure, correct: Option<u64>, level: f64) -> Sureness {
    if let (Some(correct), Some(n)) = (correct, figure.n) {
        return Sureness { method: "wilson", level, bounds: wilson(correct, n, level) };
    }
    // An interval without width would be believed.
    let bounds = figure.stderr.filter(|error| *error > 0.0).map(|error| {
        let (_, reach) = differ(0.0, error, MANY, level);
        Interval { low: (figure.value - reach).max(0.0), high: (figure.value + reach).min(1.0) }
    });
    Sureness { method: "standard_error", level, bounds }
}

/// Why the score is none: a tool that counts its failed requests may have scored them as wrong answers.
fn no_measurement(spec: &Spec, case: &ExpandedCase, done: &Done) -> Option<Outcome> {
    let requests = done.record.requests?;
    let failed = requests.failed as f64 / requests.total.max(1) as f64;
    (failed > spec.max_failed_ratio).then(|| {
        let told = format!("{} of {} requests of the tool failed", requests.failed, requests.total);
        let reasons = Reasons::one(at(case, "/max_failed_ratio", Reason::new("failed-requests", told)));
        if failed < 1.0 { Outcome::Invalid(reasons) } else { Outcome::Errored(reasons) }
    })
}

fn measurements(spec: &Spec, used: &Use, figure: &Figure, sure: &Sureness) -> Vec<Measurement> {
    let told = |stat: &str, value: Option<f64>| Measurement {
        name: "score".to_owned(),
        stat: stat.to_owned(),
        unit: Unit::Ratio.word().to_owned(),
        value,
        null_reason: value.is_none().then(|| "the tool does not tell how many answers there were".to_owned()),
        n: figure.n.unwrap_or(0),
        definition: format!("{}:{}", used.name, figure.key()),
        source: format!("tool:{}", used.name),
        labels: Map::from_iter([("dataset".to_owned(), spec.dataset().into())]),
    };
    vec![
        told("value", Some(figure.value)),
        told("low", sure.bounds.map(|bounds| bounds.low)),
        told("high", sure.bounds.map(|bounds| bounds.high)),
    ]
}

/// Scores of another tool, release, task or figure are other scores.
fn workload_key(spec: &Spec, used: &Use, done: &Done, figure: &Figure) -> Map<String, Value> {
    let key = json!({
        "endpoint": "chat",
        "backend": "openai-chat",
        "dataset": spec.dataset(),
        "tool": used.name,
        "tool_version": done.version,
        "tool_with": used.with,
        "figure": figure.name(),
        "questions": figure.n,
        "limit": spec.limit,
        "sampling": {"temperature": spec.temperature, "max_tokens": spec.max_tokens},
    });
    match key {
        Value::Object(map) => map,
        _ => unreachable!("json! of braces is an object"),
    }
}

/// `{dataset}_{model}_{time}.json`, as of an evaluator of ours, and `items.jsonl`, where there are items: names, hashes
/// and scores, no text.
fn write(spec: &Spec, cx: &Cx<Target>, items: &[Item], observation: &mut Observation) {
    let Some(details) = &observation.details else { return };
    let time = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S").to_string();
    let name = format!("{}.json", results::stem(spec.dataset(), &cx.world.model, &time));
    let score = details.value["accuracy"]["score"].as_f64();
    let flat = score.map(|score| ("score".to_owned(), score)).into_iter().collect();
    let mut files = vec![("results", name, "application/json", results::json(&flat, &details.value))];
    if !items.is_empty() {
        files.push((item::TOOL_ROLE, "items.jsonl".to_owned(), "application/jsonl", Item::lines(items)));
    }
    for (role, name, media, text) in files {
        match cx.folder.write(role, &name, media, &text) {
            Ok(artifact) => observation.artifacts.push(artifact),
            Err(error) => observation.notes.push(note("files", error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, n: Option<u64>, stderr: Option<f64>) -> Figure {
        Figure { n, stderr, ..Figure::ratio("t", "acc", value) }
    }

    #[test]
    fn right_answers_are_counted_only_where_a_score_is_a_share_of_them() {
        assert_eq!(correct(&figure(0.8333, Some(6), None)), Some(5), "rounded to four places");
        assert_eq!(correct(&figure(139.0 / 198.0, Some(198), None)), Some(139));
        assert_eq!(correct(&figure(0.7312, Some(10), None)), None, "an F1");
        assert_eq!(correct(&figure(0.5, None, None)), None);
    }

    #[test]
    fn a_score_is_as_sure_as_its_tool_lets_it_be() {
        let sure = |figure: &Figure| sureness(figure, correct(figure), 0.95);
        assert_eq!(sure(&figure(0.5, Some(6), Some(0.1))).method, "wilson");
        let by_error = sure(&figure(0.5, None, Some(0.1)));
        let bounds = by_error.bounds.unwrap();
        assert!((bounds.low - 0.304).abs() < 1e-3 && (bounds.high - 0.696).abs() < 1e-3, "{bounds:?}");
        assert_eq!(sure(&figure(0.5, None, None)).bounds, None);
        assert_eq!(
            sure(&figure(0.0, None, Some(0.0))).bounds,
            None,
            "no answer was right: that is no certainty"
        );
    }
}
