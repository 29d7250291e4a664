//! The requests of a trial as a Chrome trace, for chrome://tracing or ui.perfetto.dev: [`PerfTrace`] writes it where the
//! case asks for it (`trace: true`). A row is a worker; a request lies in it with its wait, its prefill and its decode,
//! and above them how many were in flight. Must not know how a request was sent.
//!
//! Chrome trace 格式的请求时间线。

use serde_json::{Value, json};
use st_harness::{
    journal::{RunRecord, TrialState},
    report::{Document, Files, Report},
};

use crate::{client::Stamp, perf::record::Record, report::perf_csv::records};

/// Writes `perf/<trial id with . for ::>.trace.json`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerfTrace;

impl Report for PerfTrace {
    fn name(&self) -> &'static str {
        "perf_trace"
    }

    fn render(&self, run: &RunRecord, files: &Files) -> Result<Vec<Document>, String> {
        let mut documents = Vec::new();
        for trial in run.trials.iter().filter(|trial| trial.planned.kind == "perf") {
            let TrialState::Finished(finished) = &trial.state else { continue };
            let details = finished.details.as_ref();
            let wanted =
                details.is_some_and(|details| details.value.pointer("/spec/trace") == Some(&json!(true)));
            let requests = finished.artifacts.iter().find(|artifact| artifact.role == "requests");
            let Some(artifact) = requests.filter(|_| wanted) else { continue };
            let told = |error: &dyn std::fmt::Display| format!("{}: {error}", trial.id());
            let lines = files.lines(artifact).map_err(|error| told(&error))?;
            let mut requests = records(lines).collect::<Result<Vec<_>, _>>().map_err(|error| told(&error))?;
            requests.sort_by_key(|record| record.index);
            let events = events(&requests);
            let path = format!("perf/{}.trace.json", trial.id().as_str().replace("::", "."));
            let whole = json!({"traceEvents": events, "displayTimeUnit": "ms"});
            documents.push(Document::new(path, whole.to_string() + "\n"));
        }
        Ok(documents)
    }
}

/// One phase of a request: its name, its beginning and its end.
type Phase = (&'static str, Stamp, Option<Stamp>);

fn events(records: &[Record]) -> Vec<Value> {
    let Some(zero) = records.iter().map(|record| record.scheduled).min() else { return Vec::new() };
    let mut events: Vec<Value> = records.iter().flat_map(|record| of_request(record, zero)).collect();
    events.extend(in_flight(records, zero));
    events
}

fn of_request(record: &Record, zero: Stamp) -> Vec<Value> {
    let name =
        if record.warmup { format!("warm-up {}", record.index) } else { format!("request {}", record.index) };
    let phases: [Phase; 3] = [
        ("wait", record.scheduled, Some(record.started)),
        ("prefill", record.started, record.first_token),
        ("decode", record.first_token.unwrap_or(record.ended), record.last_token),
    ];
    let whole = json!({
        "ph": "X",
        "name": name,
        "cat": record.outcome.name(),
        "pid": 0,
        "tid": record.worker,
        "ts": micros(record.scheduled, zero),
        "dur": micros(record.ended, record.scheduled),
        "args": {
            "outcome": record.outcome.describe(),
            "id": record.request_id,
            "epoch": record.epoch,
            "prompt_tokens": record.prompt_tokens,
            "output_tokens": record.output_tokens,
        },
    });
    let parts = phases.into_iter().filter_map(|(name, from, to)| {
        let to = to.filter(|to| *to > from)?;
        Some(json!({
            "ph": "X", "name": name, "pid": 0, "tid": record.worker, "ts": micros(from, zero), "dur": micros(to, from),
        }))
    });
    std::iter::once(whole).chain(parts).collect()
}

/// How many requests were on their way, wherever that changes.
fn in_flight(records: &[Record], zero: Stamp) -> impl Iterator<Item = Value> {
    let mut changes: Vec<(Stamp, i64)> =
        records.iter().flat_map(|record| [(record.started, 1), (record.ended, -1)]).collect();
    changes.sort();
    changes.into_iter().scan(0, move |now, (at, change)| {
        *now += change;
        Some(json!({"ph": "C", "name": "in flight", "pid": 0, "ts": micros(at, zero), "args": {"requests": *now}}))
    })
}

fn micros(at: Stamp, from: Stamp) -> f64 {
    at.0.saturating_sub(from.0) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    #[test]
    fn a_request_lies_in_the_row_of_its_worker_with_its_phases() {
        let mut late = Record { worker: 3, ..record(1, 100, Outcome::Ok) };
        late.started = Stamp(late.scheduled.0 + 5_000_000);
        let events = events(&[record(0, 0, Outcome::Ok), late]);
        let of_late: Vec<&Value> = events.iter().filter(|event| event["tid"] == 3).collect();
        let named: Vec<(&str, f64, f64)> = of_late
            .iter()
            .map(|event| {
                (
                    event["name"].as_str().unwrap(),
                    event["ts"].as_f64().unwrap(),
                    event["dur"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                ("request 1", 100_000.0, 170_000.0),
                ("wait", 100_000.0, 5_000.0),
                ("prefill", 105_000.0, 95_000.0),
                ("decode", 200_000.0, 60_000.0),
            ]
        );
        let most = events.iter().filter_map(|event| event["args"]["requests"].as_i64()).max();
        assert_eq!(most, Some(2));
    }

    #[test]
    fn a_request_without_a_token_has_no_phase_of_tokens() {
        let mut refused = record(0, 0, Outcome::Status { status: 503, message: "busy".to_owned() });
        (refused.first_token, refused.last_token) = (None, None);
        let names: Vec<Value> = events(&[refused]).into_iter().map(|event| event["name"].clone()).collect();
        assert_eq!(names, ["request 0", "in flight", "in flight"]);
    }
}
