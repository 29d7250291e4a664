//! What a run says: [`conclude`] makes an observation of its records. Must not know how they came to be.
//!
//! 由记录得出结论。

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use st_harness::{
    case::ExpandedCase,
    verdict::{Details, Note, Observation, Outcome as Ending, Reason, Reasons},
};

use crate::{
    arrival,
    client::{Direct, Stamp},
    perf::{
        ceiling::Ceiling,
        conversations,
        corpus::{Corpus, Origin},
        drive::{Driven, Stopped, Transport as _},
        expect::judge,
        phases::phases,
        prompt::{Counted, CountedBy, CountingFile},
        record::{Connection, Record},
        schedule::Schedule,
        server::{self, Reading},
        signals::{Seen, Taken},
        spec::Spec,
        steps::{below_ceiling, steps},
        summary::Summary,
        validity::{Client, Validity},
    },
    workload::{sha256_hex, workload},
};

/// A run, beside its records.
pub(super) struct Run<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) driven: &'a Driven,
    pub(super) corpus: &'a Corpus,
    pub(super) readings: &'a [Reading],
    /// What the client can take on this machine, or why that is not known.
    pub(super) ceiling: &'a Result<Ceiling, String>,
    /// One moment on both clocks: with it every stamp of this process has its place in the day.
    pub(super) clock: (jiff::Timestamp, Stamp),
}

impl<'a> Run<'a> {
    fn seen(&self, spec: &Spec, records: &'a [Record]) -> Seen<'a> {
        Seen {
            schedule: self.schedule,
            driven: self.driven,
            backend: spec.concurrency_backend,
            limited: spec.phase_limits().is_some(),
            records,
            ceiling: self.ceiling,
            warm: self.corpus.shares_prefixes().then_some("the trace says which prompts begin alike"),
        }
    }
}

/// From records to an observation.
pub(super) fn conclude(spec: &Spec, case: &ExpandedCase, run: &Run<'_>, records: &[Record]) -> Observation {
    let summary = Summary::of(records);
    let validity = Validity::of(&run.seen(spec, records), Client::this_build());
    let judged = judge(spec, case, &summary, records);
    let failures = Failures::of(records);
    let steps = steps(run.schedule, records);
    let server = server::tell(run.readings, records);
    let details = json!({
        "spec": {
            "requests": spec.requests(),
            "num_conversations": spec.conversation.and_then(|asked| asked.num_conversations),
            "warmup": spec.warmup,
            "epochs": spec.epochs,
            "request_timeout_s": spec.request_timeout_s,
            "bucket_interval_ns": spec.bucket_interval_ns(),
            "slo": spec.slo,
            "profile": spec.profile,
            "trace": spec.trace,
            "stop_duration_s": spec.stop.duration.map(|limit| limit.as_secs_f64()),
            "stop_failures": spec.stop.failures,
        },
        "concurrency_backend": spec.concurrency_backend,
        "transport": run.driven.transport,
        "arrivals": arrivals(run.driven),
        "connections": connections(records),
        "schedule_sha256": sha256_hex(json!(run.schedule).to_string().as_bytes()),
        "epochs": epochs(run.driven),
        "machine": run.driven.machine,
        "workers": run.driven.workers,
        "ceiling": ceiling(run.ceiling, records),
        "steps": steps,
        "phases": spec.phase_limits().map(|limits| phases(limits, records)),
        "quantile_method": "linear",
        "clock": {"wall": run.clock.0, "stamp_ns": run.clock.1.0},
        "null_stamps": {
            "sent": "the last byte was not written, or the general transport carried it, which cannot tell when it was",
            "connection": "the request never had a connection, or broke off before the transport could tell",
            "connect_ns": "no connection was made for the request: one stood already, or none came to be",
        },
        "server": {"tokens": server.compared},
        "window_ns": summary.window_ns,
        "outcomes": summary.outcomes,
        "warmup_outcomes": summary.warmup_outcomes,
        "failures": failures.0,
        "token_sources": token_sources(records),
        "unshown_answers": unshown(records),
        "prompts": {
            "counted": run.corpus.counted,
            "by": run.corpus.by,
            "sha256": run.corpus.sha256(),
            "lengths": run.corpus.lengths(None),
            "output_lens_sha256": output_lens(run.corpus),
        },
        "sources": by_source(spec, run.corpus, records),
        "conversations": conversations::tell(records),
        "validity": validity,
        "thin_quantiles": summary.thin_quantiles,
    });
    let mut notes: Vec<Note> = validity.degraded.iter().map(|why| note("degraded", why.clone())).collect();
    notes.extend(prompt_note(&run.corpus.counted));
    notes.extend(file_note(&run.corpus.by));
    notes.extend(unshown_note(records));
    notes.extend(below_ceiling(&steps).map(|text| note("below-ceiling", text)));
    notes.extend(failures.line().map(|line| note("failed-requests", line)));
    notes.extend(server.notes.into_iter().map(|(kind, text)| note(kind, text)));
    let mut measurements = summary.measurements.clone();
    measurements.extend(judged.measurements);
    measurements.extend(server.measurements);
    let broken = stopped(run.driven, case).into_iter().chain(judged.broken).collect();
    Observation {
        outcome: ending(&validity, &summary, broken, &failures),
        notes,
        measurements,
        details: Some(Details { schema: "perf/1".to_owned(), value: details }),
        artifacts: Vec::new(),
        workload: Some(workload(key(spec, run.corpus))),
        seed: Some(spec.seed),
    }
}

/// What identifies how many tokens are asked for, request by request.
fn output_lens(corpus: &Corpus) -> String {
    let lengths: Vec<u32> = corpus.items.iter().map(|item| item.output_len).collect();
    sha256_hex(json!(lengths).to_string().as_bytes())
}

/// What runs must share to be comparable, what lies in the files of the data set included.
fn key(spec: &Spec, corpus: &Corpus) -> Map<String, Value> {
    let mut key = spec.workload_key();
    let files: Vec<&str> = corpus.sources.iter().filter_map(|source| source.sha256.as_deref()).collect();
    if !files.is_empty() {
        key.insert("dataset_sha256".to_owned(), json!(files));
    }
    // Prompts of as many tokens by another count are others.
    if let CountedBy::File(CountingFile { sha256, .. }) = &corpus.by {
        key.insert("tokenizer".to_owned(), json!(sha256));
    }
    key
}

/// What each source of a data set gave, and the figures of its requests alone; nothing where there is only random text.
fn by_source(spec: &Spec, corpus: &Corpus, records: &[Record]) -> Option<Value> {
    if spec.dataset.is_empty() {
        return None;
    }
    let of = |(index, origin): (usize, &Origin)| {
        let asked = |record: &&Record| {
            let place = usize::try_from(record.index).ok();
            place.and_then(|place| corpus.items.get(place)).is_some_and(|item| item.source == index)
        };
        let own: Vec<Record> = records.iter().filter(asked).cloned().collect();
        let summary = Summary::of(&own);
        json!({
            "source": origin,
            "lengths": corpus.lengths(Some(index)),
            "outcomes": summary.outcomes,
            "figures": summary.measurements.into_iter().filter(|figure| figure.value.is_some()).collect::<Vec<_>>(),
        })
    };
    Some(corpus.sources.iter().enumerate().map(of).collect())
}

/// The window of each epoch, from the first measured request to the end of the last, and who carried it.
fn epochs(driven: &Driven) -> Value {
    let epochs = driven.epochs.iter().map(|epoch| {
        json!({
            "begin_ns": epoch.begin.0,
            "opened_ns": epoch.opened.map(|stamp| stamp.0),
            "ended_ns": epoch.ended.0,
            "stopped": match epoch.stopped {
                Stopped::Exhausted => "exhausted",
                Stopped::Duration => "duration",
                Stopped::Failures { .. } => "failures",
                Stopped::Cancelled => "cancelled",
            },
            "shifted_ns": u64::try_from(epoch.shifted.as_nanos()).unwrap_or(u64::MAX),
            "threads": epoch.threads,
            "wakeups": epoch.wakeups,
        })
    });
    Value::Array(epochs.collect())
}

/// Sending ended early because too much failed: whatever else holds, the trial has not passed.
fn stopped(driven: &Driven, case: &ExpandedCase) -> Option<Reason> {
    let Stopped::Failures { failed, ended } = driven.stopped() else { return None };
    let summary = format!("sending was stopped: {failed} of {ended} measured requests had failed");
    let reason = Reason::new("too-many-failures", summary);
    Some(match case.origin.place("/stop/failures") {
        Some(place) => reason.at(place),
        None => reason,
    })
}

/// An invalid measurement decides nothing; a run without one success is red whatever was expected.
fn ending(validity: &Validity, summary: &Summary, broken: Vec<Reason>, failures: &Failures) -> Ending {
    let invalid =
        validity.invalid.iter().map(|why| Reason::new("invalid-measurement", why.clone())).collect();
    if let Some(reasons) = Reasons::from_vec(invalid) {
        return Ending::Invalid(reasons);
    }
    let told = failures.line().unwrap_or_default();
    if summary.ended("ok") == 0 {
        let none =
            Reason::new("no-success", format!("none of {} requests succeeded: {told}", summary.judged()));
        return if summary.ended("transport") == summary.judged() {
            Ending::Errored(Reasons::one(none))
        } else {
            Ending::Failed(Reasons::one(none))
        };
    }
    let broken = broken.into_iter().map(|reason| with_failures(reason, &told)).collect();
    Reasons::from_vec(broken).map_or(Ending::Passed, Ending::Failed)
}

fn with_failures(mut reason: Reason, told: &str) -> Reason {
    if !told.is_empty() {
        if !reason.detail.is_empty() {
            reason.detail.push_str("\n\n");
        }
        reason.detail.push_str(told);
    }
    reason
}

/// The measured requests that failed, by what was told of them.
#[derive(Debug, Serialize)]
struct Failure {
    outcome: &'static str,
    message: String,
    count: u64,
}

struct Failures(Vec<Failure>);

impl Failures {
    fn of(records: &[Record]) -> Self {
        let mut counts: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
        for record in records.iter().filter(|r| !r.warmup && !r.is_ok()) {
            *counts.entry((record.outcome.name(), record.outcome.describe())).or_default() += 1;
        }
        let mut failures: Vec<_> = counts
            .into_iter()
            .map(|((outcome, message), count)| Failure { outcome, message, count })
            .collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        Self(failures)
    }

    /// The three commonest in one line; nothing where there is none.
    fn line(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let shown: Vec<_> =
            self.0.iter().take(3).map(|failure| format!("{} × {}", failure.count, failure.message)).collect();
        let rest = self.0.len().saturating_sub(3);
        let more = if rest > 0 { format!("; {rest} other kinds") } else { String::new() };
        Some(format!("{}{more}", shown.join("; ")))
    }
}

fn token_sources(records: &[Record]) -> BTreeMap<String, u64> {
    let mut sources = BTreeMap::new();
    for record in records.iter().filter(|r| !r.warmup && r.is_ok()) {
        let name = match json!(record.token_source) {
            Value::String(name) => name,
            other => other.to_string(),
        };
        *sources.entry(name).or_default() += 1;
    }
    sources
}

/// How many successful answers hold tokens and show none of them.
fn unshown(records: &[Record]) -> usize {
    records.iter().filter(|record| !record.warmup && record.is_ok() && record.shows_nothing()).count()
}

fn unshown_note(records: &[Record]) -> Option<Note> {
    let (unshown, measured) = (unshown(records), records.iter().filter(|record| !record.warmup).count());
    let text = format!(
        "{unshown} of {measured} answers show no text: the server counts their tokens (one that decodes to nothing, or \
         whose text is held back), and so do we"
    );
    (unshown > 0).then(|| note("unshown-tokens", text))
}

/// Who says when bytes came: the kernel, or the return of the read, which is that much later as we were late.
fn arrivals(driven: &Driven) -> Value {
    let unstamped: u64 = driven.epochs.iter().map(|epoch| epoch.unstamped_reads).sum();
    let kernel = driven.transport == Direct::NAME && arrival::BY_KERNEL;
    json!({
        "stamped_by": if kernel { "kernel" } else { "read" },
        "unstamped_reads": kernel.then_some(unstamped),
    })
}

/// Where the connections of the measured requests came from.
fn connections(records: &[Record]) -> BTreeMap<&'static str, u64> {
    let mut connections = BTreeMap::new();
    for record in records.iter().filter(|record| !record.warmup) {
        *connections.entry(record.connection.map_or("unknown", Connection::name)).or_default() += 1;
    }
    connections
}

/// What the client can take, and what it took; null where that is not known, which the signal explains.
fn ceiling(ceiling: &Result<Ceiling, String>, records: &[Record]) -> Value {
    let (Ok(ceiling), Some(taken)) = (ceiling, Taken::of(records)) else { return Value::Null };
    json!({
        "measured": ceiling,
        "event_bytes": taken.event_bytes,
        "events_per_s": ceiling.events_per_s(taken.event_bytes),
        "busiest_events_per_s": taken.busiest_per_s,
    })
}

fn prompt_note(counted: &Counted) -> Option<Note> {
    let text = match counted {
        Counted::Exact | Counted::Recorded => return None,
        Counted::Near { prompts, short_by } => {
            format!("{prompts} prompts are up to {short_by} tokens shorter than asked")
        }
        Counted::Estimated { reason } => format!("prompt lengths are estimates: {reason}"),
    };
    Some(note("prompt-length", text))
}

/// What counted is no less sure for it, but another count than the server's.
fn file_note(by: &CountedBy) -> Option<Note> {
    let CountedBy::File(CountingFile { file, special_tokens, .. }) = by else { return None };
    let what = if *special_tokens {
        "the text and its special tokens"
    } else {
        "the text alone, without a template"
    };
    Some(note("prompt-length", format!("the server does not count: prompts are counted by `{file}`, {what}")))
}

pub(super) fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{
        record::{Channel, Outcome},
        suite::tests::case,
        summary::tests::record,
        validity::tests::driven,
    };

    fn spec(extra: &str) -> Spec {
        let text = format!(r#"{{"concurrency":1,"input_len":8,"output_len":4,"requests":2{extra}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn observe(spec: &Spec, records: &[Record]) -> Observation {
        observe_stopped(spec, records, Stopped::Exhausted)
    }

    fn observe_stopped(spec: &Spec, records: &[Record], stopped: Stopped) -> Observation {
        let (items, sources) = (Vec::new(), Vec::new());
        let corpus = Corpus { items, counted: Counted::Exact, by: CountedBy::Server, sources };
        let run = Run {
            schedule: &Schedule::of(spec),
            driven: &driven(stopped),
            corpus: &corpus,
            readings: &[],
            ceiling: &Err("not calibrated".to_owned()),
            clock: (jiff::Timestamp::UNIX_EPOCH, Stamp(0)),
        };
        conclude(spec, &case(), &run, records)
    }

    fn refused(index: u64) -> Record {
        record(index, 0, Outcome::Status { status: 503, message: "busy".to_owned() })
    }

    fn first_reason(ending: Ending) -> (st_harness::verdict::Verdict, Reason) {
        let (verdict, reasons) = ending.into_verdict();
        (verdict, reasons.into_iter().next().expect("a reason"))
    }

    #[test]
    fn a_trial_passes_when_its_requests_do_and_nothing_more_is_expected() {
        let observation = observe(&spec(""), &[record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]);
        assert_eq!(observation.outcome, Ending::Passed);
        assert_eq!(observation.seed, Some(0));
        let key = observation.workload.unwrap().key;
        assert_eq!((&key["concurrency"], &key["backend"]), (&json!(1), &json!("openai-chat")));
    }

    #[test]
    fn counts_and_seed_leave_the_workload_as_it_is() {
        let hash = |extra: &str| workload(spec(extra).workload_key()).hash;
        assert_eq!(hash(""), hash(r#","warmup":3,"seed":9,"request_timeout_s":5"#));
        assert_ne!(hash(""), hash(r#","sampling":{"temperature":0}"#));
        assert_ne!(hash(""), hash(r#","endpoint":"completions""#));
    }

    #[test]
    fn no_success_is_red_even_where_nothing_is_expected() {
        let (verdict, reason) = first_reason(observe(&spec(""), &[refused(0), refused(1)]).outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Failed);
        assert_eq!(reason.summary, "none of 2 requests succeeded: 2 × status 503: busy");
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_an_error_and_no_failure() {
        let lost = |index| record(index, 0, Outcome::Transport { message: "connection refused".to_owned() });
        let (verdict, reason) = first_reason(observe(&spec(""), &[lost(0), lost(1)]).outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Errored);
        assert!(reason.summary.ends_with("2 × connection refused"), "{}", reason.summary);
    }

    #[test]
    fn a_run_cut_short_is_no_measurement() {
        let records = [record(0, 0, Outcome::Ok), record(1, 0, Outcome::Cancelled)];
        let observation = observe_stopped(&spec(""), &records, Stopped::Cancelled);
        let (verdict, reason) = first_reason(observation.outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Invalid);
        assert!(reason.summary.starts_with("cut short: 1 of 2 requests"), "{}", reason.summary);
    }

    #[test]
    fn a_broken_threshold_tells_which_requests_failed_and_how() {
        let spec = spec(r#","expect":[{"failure_ratio":{"at_most":0.1}}]"#);
        let (_, reason) = first_reason(observe(&spec, &[record(0, 0, Outcome::Ok), refused(1)]).outcome);
        assert_eq!(reason.summary, "expected failure_ratio at most 0.1, found 0.500000 (n = 2)");
        assert_eq!(reason.detail, "1 × status 503: busy");
    }

    #[test]
    fn the_record_keeps_what_later_readers_need() {
        let details = observe(&spec(""), &[record(0, 0, Outcome::Ok), refused(1)]).details.unwrap();
        assert_eq!(details.schema, "perf/1");
        assert_eq!(details.value["outcomes"], json!({"ok": 1, "status": 1}));
        assert_eq!(details.value["failures"][0]["message"], "status 503: busy");
        assert_eq!(details.value["transport"], "direct");
        assert_eq!(details.value["arrivals"], json!({"stamped_by": "kernel", "unstamped_reads": 0}));
        assert_eq!(details.value["connections"], json!({"unknown": 2}));
        assert_eq!(details.value["token_sources"], json!({"usage_per_event": 1}));
        assert_eq!(details.value["window_ns"], 170_000_000);
    }

    #[test]
    fn answers_whose_tokens_show_nothing_are_counted_and_told() {
        let mut silent = record(1, 170, Outcome::Ok);
        silent.events.iter_mut().for_each(|event| event.channel = Channel::Unshown);
        let observation = observe(&spec(""), &[record(0, 0, Outcome::Ok), silent]);
        let told = observation.notes.iter().find(|note| note.kind == "unshown-tokens").expect("a note");
        assert!(told.text.starts_with("1 of 2 answers show no text"), "{}", told.text);
        assert_eq!(observation.details.unwrap().value["unshown_answers"], 1);
        let shown = observe(&spec(""), &[record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]);
        assert!(shown.notes.iter().all(|note| note.kind != "unshown-tokens"));
    }

    #[test]
    fn this_build_tells_that_it_is_not_optimised_where_it_is_not() {
        let notes = observe(&spec(""), &[record(0, 0, Outcome::Ok), record(1, 0, Outcome::Ok)]).notes;
        assert_eq!(notes.iter().any(|note| note.text.contains("unoptimised")), cfg!(debug_assertions));
    }

    #[test]
    fn a_run_that_was_stopped_for_its_failures_is_red() {
        let stopped = Stopped::Failures { failed: 6, ended: 10 };
        let records = [record(0, 0, Outcome::Ok), refused(1)];
        let (verdict, reason) = first_reason(observe_stopped(&spec(""), &records, stopped).outcome);
        assert_eq!(verdict, st_harness::verdict::Verdict::Failed);
        assert_eq!(reason.summary, "sending was stopped: 6 of 10 measured requests had failed");
    }

    #[test]
    fn a_climb_whose_requests_ran_out_says_so() {
        let climb = r#","control_method":{"climb":{"growth_rate":1,"growth_interval_ms":60000}}"#;
        let mut spec = spec(climb);
        spec.concurrency = Some(2);
        let observation = observe(&spec, &[record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]);
        assert!(observation.notes.iter().any(|note| note.kind == "below-ceiling"), "{:?}", observation.notes);
        let details = observation.details.unwrap().value;
        assert_eq!(details["steps"][0]["target"], 1);
        assert_eq!(details["steps"][1]["achieved"], Value::Null);
    }
}
