//! What a run came to, as one JSON document for programs: [`outcome`] is what `run --json` prints. A pure function
//! of the journal. Must not know how a run is carried out.
//!
//! ```text
//! run_id · scenario · run_type · folder · status · exit_code · interrupted · counts
//! functional_report   {summary: {total, passed, failed, skipped, inconclusive},
//!                      results: [{id, ok, error, payload, skipped, seconds}]}; ok is null where nothing was decided
//! accuracy            {task, score, correct, total, ok} of the first accuracy case, or null
//! accuracy_all        the same of every accuracy case, with its trial's id
//! perf                [{id, status, figures: {"ttft.p99[s]": 0.1, …}}]
//! gates               [{gate, trial_id, verdict, reasons, numbers}]
//! ```
//!
//! 运行结果的 JSON 汇总（functional_report、accuracy 等）。

use camino::Utf8Path;
use serde_json::{Map, Value, json};
use st_harness::{
    journal::{Event, RunRecord, Status, TrialRecord},
    report::text,
};

/// The document; `folder` is where the run's files lie.
pub fn outcome(run: &RunRecord, folder: &Utf8Path) -> Value {
    let accuracy = accuracy(run);
    json!({
        "run_id": run.started.run_id,
        "scenario": run.started.scenario,
        "run_type": run.started.run_type,
        "folder": folder,
        "status": run.status(),
        "exit_code": run.finished.as_ref().map(|finished| finished.exit_code),
        "interrupted": run.finished.as_ref().is_none_or(|finished| finished.interrupted),
        "counts": run.counts(),
        "functional_report": functional_report(of_kind(run, "functional")),
        "accuracy": accuracy.first().map(|one| without(one, "id")),
        "accuracy_all": accuracy,
        "perf": of_kind(run, "perf").map(perf).collect::<Vec<_>>(),
        "gates": run.gates.iter().filter_map(gate).collect::<Vec<_>>(),
    })
}

/// What functional trials came to.
pub fn functional_report<'a>(trials: impl Iterator<Item = &'a TrialRecord>) -> Value {
    let results: Vec<Value> = trials.map(result).collect();
    let count = |of: fn(&Value) -> bool| results.iter().filter(|one| of(one)).count();
    let skipped = count(|one| one["ok"].is_null() && one["skipped"] == true);
    let decided = |ok: bool| results.iter().filter(|one| one["ok"] == ok).count();
    json!({
        "summary": {
            "total": results.len(),
            "passed": decided(true),
            "failed": decided(false),
            "skipped": skipped,
            "inconclusive": results.len() - decided(true) - decided(false) - skipped,
        },
        "results": results,
    })
}

fn of_kind<'a>(run: &'a RunRecord, kind: &'a str) -> impl Iterator<Item = &'a TrialRecord> {
    run.trials.iter().filter(move |trial| trial.planned.kind == kind)
}

/// A functional trial. What it sent is only known where it ran.
fn result(trial: &TrialRecord) -> Value {
    let status = trial.status();
    let ok = match status {
        Status::Passed => Some(true),
        Status::Failed | Status::Errored | Status::Invalid | Status::Interrupted => Some(false),
        Status::Inconclusive | Status::Skipped | Status::Blocked | Status::NotRun => None,
    };
    let details = trial.finished().and_then(|finished| finished.details.as_ref());
    let payload = details.filter(|details| details.schema == "functional/1").map(|one| &one.value["payload"]);
    let told = text::reasons(trial);
    json!({
        "id": trial.id(),
        "ok": ok,
        "error": (ok != Some(true) && !told.is_empty()).then_some(told),
        "payload": payload,
        "skipped": matches!(status, Status::Skipped | Status::Blocked | Status::NotRun),
        "seconds": trial.duration_ns().map(text::seconds),
    })
}

/// What each accuracy trial says of itself, with its id.
fn accuracy(run: &RunRecord) -> Vec<Value> {
    let of = |trial: &TrialRecord| {
        let details = trial.finished()?.details.as_ref()?;
        let mut told = details.value.get("accuracy")?.as_object()?.clone();
        told.insert("id".to_owned(), json!(trial.id()));
        Some(Value::Object(told))
    };
    of_kind(run, "accuracy").filter_map(of).collect()
}

fn without(value: &Value, key: &str) -> Value {
    let mut value = value.clone();
    if let Value::Object(members) = &mut value {
        members.shift_remove(key);
    }
    value
}

fn perf(trial: &TrialRecord) -> Value {
    let figures: Map<String, Value> =
        trial.measurements().iter().map(|one| (text::figure_key(one), json!(one.value))).collect();
    json!({"id": trial.id(), "status": trial.status(), "figures": figures})
}

fn gate(event: &Event) -> Option<Value> {
    let Event::GateDecided { gate, trial_id, verdict, reasons, numbers } = event else { return None };
    Some(
        json!({"gate": gate, "trial_id": trial_id, "verdict": verdict, "reasons": reasons, "numbers": numbers}),
    )
}
