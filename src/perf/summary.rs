//! From the records of a trial to its figures: [`Summary`]. Latencies are taken of successful requests, and how many
//! others there were stands beside them; where a name ends in `_all`, those count as slower than every other. Must
//! not know what is expected of the figures.
//!
//! 由请求记录汇总指标；失败请求单独计数。

use std::collections::BTreeMap;

use serde_json::Map;
use st_harness::verdict::Measurement;

use crate::perf::{
    definitions::{self as define, Definition},
    quantile::{Sorted, TOLD, enough},
    record::{Outcome, Record},
};

/// What one request has at most one value of.
type PerRequest = (Definition, fn(&Record) -> Option<f64>);

/// What every request has exactly one value of.
type PerSent = (Definition, fn(&Record) -> f64);

/// Of successful requests, in the units of their definitions.
const PER_REQUEST: [PerRequest; 15] = [
    (define::TTFT, |r| r.ttft().map(seconds)),
    (define::TTFA, |r| r.ttfa().map(seconds)),
    (define::TTST, |r| r.ttst().map(seconds)),
    (define::TPOT, |r| r.tpot().map(|ns| ns / 1e9)),
    (define::E2E, |r| r.e2e().map(seconds)),
    (define::RESPONSE_TIME, |r| Some(seconds(r.response_time()))),
    (define::TTFT_FROM_DUE, |r| Some(seconds(r.first_token?.0.saturating_sub(r.scheduled.0)))),
    (define::E2E_FROM_DUE, |r| Some(seconds(r.last_token?.0.saturating_sub(r.scheduled.0)))),
    (define::NORMALIZED_LATENCY, |r| r.normalized_latency().map(|ns| ns / 1e9)),
    (define::WRITE_TIME, |r| Some(seconds(r.sent?.0.saturating_sub(r.started.0)))),
    (define::OUTPUT_TOKENS, |r| Some(r.output_tokens as f64)),
    (define::REASONING_TOKENS, |r| r.reasoning_tokens.map(|n| n as f64)),
    (define::CONTENT_TOKENS, |r| r.content_tokens.map(|n| n as f64)),
    (define::PROMPT_TOKENS, |r| r.prompt_tokens.map(|n| n as f64)),
    (define::CACHED_TOKENS, |r| r.cached_tokens.map(|n| n as f64)),
];

/// Of every measured request, however it ended.
const PER_SENT: [PerSent; 2] = [
    (define::ADMISSION_WAIT, |r| seconds(r.admitted.0.saturating_sub(r.scheduled.0))),
    (define::SEND_LAG, |r| seconds(r.started.0.saturating_sub(r.admitted.0))),
];

/// Nanoseconds as seconds, the only place where they cease to be integers.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The figures of a trial, over its measured requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Every figure, in the order of [`define::ALL`]; one without a value says why.
    pub measurements: Vec<Measurement>,
    /// How many measured requests ended how; those that did not occur are absent.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// How many warm-up requests ended how.
    pub warmup_outcomes: BTreeMap<&'static str, u64>,
    /// From the first measured start to the last measured end of each epoch, added up, in nanoseconds; nothing
    /// where nothing was sent.
    pub window_ns: Option<u64>,
    /// How many turns were not sent because an earlier one of their conversation had failed.
    pub unsent: u64,
    /// `ttft p99 (12 of 299)`: quantiles told of fewer samples than they need for an upper bound.
    pub thin_quantiles: Vec<String>,
}

impl Summary {
    /// Computes all of it.
    pub fn of(records: &[Record]) -> Self {
        let silenced = records.iter().filter(|record| !record.warmup).map(Record::silenced).sum();
        Self::of_asked(records, silenced)
    }

    /// Of requests of which so many more were asked for, and never sent because an earlier turn had failed.
    pub fn of_asked(records: &[Record], unsent: u64) -> Self {
        let measured: Vec<&Record> = records.iter().filter(|record| !record.warmup).collect();
        let window_ns = window(&measured);
        let mut summary = Self {
            measurements: Vec::new(),
            outcomes: count(measured.iter().copied()),
            warmup_outcomes: count(records.iter().filter(|record| record.warmup)),
            window_ns,
            unsent,
            thin_quantiles: Vec::new(),
        };
        let good: Vec<&Record> = measured.iter().copied().filter(|record| record.is_ok()).collect();
        summary.samples(&measured, &good);
        summary.rates(&measured, &good, window_ns);
        let place = |figure: &Measurement| define::ALL.iter().position(|of| of.id == figure.definition);
        summary.measurements.sort_by_key(place);
        summary
    }

    /// The measurement of a figure.
    pub fn find(&self, name: &str, stat: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|figure| figure.name == name && figure.stat == stat)
    }

    /// How many measured requests ended with `outcome`.
    pub fn ended(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }

    /// How many ended by themselves, well or not.
    pub fn judged(&self) -> u64 {
        self.outcomes.values().sum::<u64>() - self.ended("cancelled")
    }

    fn samples(&mut self, measured: &[&Record], good: &[&Record]) {
        for (of, value) in PER_REQUEST {
            self.sample(&of, good.iter().filter_map(|record| value(record)).collect());
        }
        self.sample(&define::ITL, good.iter().flat_map(|r| r.itl()).map(|ns| ns / 1e9).collect());
        self.sample(&define::ICL, good.iter().flat_map(|r| r.icl()).map(seconds).collect());
        for (of, value) in PER_SENT {
            self.sample(&of, measured.iter().map(|record| value(record)).collect());
        }
        self.of_all(&define::TTFT_ALL, measured, Record::ttft);
        self.of_all(&define::E2E_ALL, measured, Record::e2e);
    }

    /// Quantiles over all that ended by themselves, the failed ones above all others, and so are the turns that were never
    /// sent after one.
    fn of_all(&mut self, of: &Definition, measured: &[&Record], value: fn(&Record) -> Option<u64>) {
        let judged = measured.iter().filter(|record| record.outcome != Outcome::Cancelled);
        let slow = |r: &&&Record| if r.is_ok() { value(r).map(seconds) } else { Some(f64::INFINITY) };
        let unsent = std::iter::repeat_n(f64::INFINITY, usize::try_from(self.unsent).unwrap_or(usize::MAX));
        let sample = Sorted::new(judged.filter_map(|record| slow(&record)).chain(unsent).collect());
        for (stat, q) in TOLD {
            let finite = sample.quantile(q).filter(|value| value.is_finite());
            self.push(of, stat, finite, sample.len() as u64);
        }
    }

    /// Every figure of one sample.
    fn sample(&mut self, of: &Definition, values: Vec<f64>) {
        let sample = Sorted::new(values);
        let n = sample.len() as u64;
        for (stat, q) in TOLD {
            if n > 0 && n < enough(q) {
                self.thin_quantiles.push(format!("{} {stat} ({n} of {})", of.name, enough(q)));
            }
            self.push(of, stat, sample.quantile(q), n);
        }
        self.push(of, "max", sample.max(), n);
        self.push(of, "min", sample.min(), n);
        self.push(of, "mean", sample.mean(), n);
        self.push(of, "sum", sample.sum(), n);
    }

    fn rates(&mut self, measured: &[&Record], good: &[&Record], window_ns: Option<u64>) {
        let n = good.len() as u64;
        let window_s = window_ns.filter(|&ns| ns > 0).map(seconds);
        let per_second = |amount: f64| window_s.map(|window| amount / window);
        let output: u64 = good.iter().map(|r| r.output_tokens).sum();
        let prompt: Option<u64> = good.iter().map(|r| r.prompt_tokens).sum();
        let some = (n > 0).then_some(());
        self.push(&define::OUTPUT_THROUGHPUT, "value", some.and_then(|()| per_second(output as f64)), n);
        let total = some.and(prompt).map(|prompt| (prompt + output) as f64);
        self.push(&define::TOTAL_THROUGHPUT, "value", total.and_then(per_second), n);
        self.push(&define::QPS, "value", per_second(n as f64), n);
        let judged = self.judged();
        let failed = (judged > 0).then(|| (judged - n) as f64 / judged as f64);
        self.push(&define::FAILURE_RATIO, "value", failed, judged);
        if measured.iter().any(|record| record.conversation.is_some()) {
            self.conversations(measured);
        }
        self.push(&define::TOTAL_TIME, "value", window_ns.map(seconds), measured.len() as u64);
        let busy: f64 = measured.iter().map(|r| seconds(r.response_time())).sum();
        self.push(&define::ACHIEVED_CONCURRENCY, "value", per_second(busy), measured.len() as u64);
    }

    /// Of conversations, which come to their end or break off with a turn that fails.
    fn conversations(&mut self, measured: &[&Record]) {
        let ended = |record: &&&Record| record.closes() && record.outcome != Outcome::Cancelled;
        let all = measured.iter().filter(ended).count() as u64;
        let failed = measured.iter().filter(ended).filter(|record| !record.is_ok()).count() as f64;
        let ratio = (all > 0).then(|| failed / all as f64);
        self.push(&define::CONVERSATION_FAILURE_RATIO, "value", ratio, all);
        let turns = measured.len() as u64 + self.unsent;
        self.push(&define::UNSENT_TURNS, "value", Some(self.unsent as f64), turns);
    }

    fn push(&mut self, of: &Definition, stat: &str, value: Option<f64>, n: u64) {
        self.measurements.push(measurement(of, stat, value, n));
    }
}

/// A figure as the journal keeps it.
pub fn measurement(of: &Definition, stat: &str, value: Option<f64>, n: u64) -> Measurement {
    Measurement {
        name: of.name.to_owned(),
        stat: stat.to_owned(),
        unit: of.unit.to_owned(),
        value,
        null_reason: value.is_none().then(|| of.null.to_owned()),
        n,
        definition: of.id.to_owned(),
        source: of.source.to_owned(),
        labels: Map::new(),
    }
}

/// The windows of all epochs together: what lies between two of them is no load.
fn window(measured: &[&Record]) -> Option<u64> {
    let mut windows: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for record in measured {
        let (first, last) = windows.entry(record.epoch).or_insert((u64::MAX, 0));
        *first = record.started.0.min(*first);
        *last = record.ended.0.max(*last);
    }
    (!windows.is_empty()).then(|| windows.values().map(|(first, last)| last.saturating_sub(*first)).sum())
}

fn count<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(record.outcome.name()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        client::Stamp,
        perf::record::{Channel, TokenEvent, TokenSource, Turn},
    };

    const MS: u64 = 1_000_000;

    /// A request started at `start` ms: 4 tokens, the first after 100 ms, then one every 20 ms; over 10 ms later.
    pub(crate) fn record(index: u64, start: u64, outcome: Outcome) -> Record {
        let at = |ms: u64| Stamp((start + ms) * MS);
        let tokens =
            [100, 120, 140, 160].map(|ms| TokenEvent { at: at(ms), tokens: 1, channel: Channel::Answer });
        Record {
            index,
            warmup: false,
            epoch: 0,
            conversation: None,
            worker: 0,
            in_flight: 1,
            scheduled: at(0),
            admitted: at(0),
            started: at(0),
            connection: None,
            connect_ns: None,
            sent: None,
            headers: Some(at(50)),
            first_event: Some(at(60)),
            first_token: Some(at(100)),
            first_answer: Some(at(100)),
            last_token: Some(at(160)),
            finish: Some(at(160)),
            done: Some(at(165)),
            ended: at(170),
            status: Some(200),
            request_id: Some(format!("chatcmpl-{index}")),
            finish_reason: Some("length".to_owned()),
            prompt_tokens: Some(10),
            cached_tokens: None,
            output_tokens: 4,
            reasoning_tokens: Some(0),
            content_tokens: Some(4),
            token_source: TokenSource::UsagePerEvent,
            events: tokens.to_vec(),
            bytes: 100,
            outcome,
        }
    }

    fn value(summary: &Summary, name: &str, stat: &str) -> Option<f64> {
        summary.find(name, stat).unwrap_or_else(|| panic!("{name} {stat} is told")).value
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("a value");
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn the_figures_of_known_requests_are_known() {
        let summary = Summary::of(&[record(0, 0, Outcome::Ok), record(1, 170, Outcome::Ok)]);
        near(value(&summary, "ttft", "p99"), 0.1);
        near(value(&summary, "ttst", "mean"), 0.02);
        near(value(&summary, "tpot", "mean"), 0.02);
        near(value(&summary, "itl", "max"), 0.02);
        near(value(&summary, "e2e", "p50"), 0.16);
        near(value(&summary, "output_token_throughput", "value"), 8.0 / 0.34);
        near(value(&summary, "total_token_throughput", "value"), 28.0 / 0.34);
        near(value(&summary, "requests_per_second", "value"), 2.0 / 0.34);
        near(value(&summary, "achieved_concurrency", "value"), 1.0);
        near(value(&summary, "failure_ratio", "value"), 0.0);
        assert_eq!(summary.find("itl", "p50").unwrap().n, 6);
    }

    #[test]
    fn a_server_that_refuses_looks_no_faster_and_no_smaller() {
        let refused = Outcome::Status { status: 503, message: "busy".to_owned() };
        let mut fast = record(1, 0, refused);
        fast.ended = Stamp(MS);
        let summary = Summary::of(&[record(0, 0, Outcome::Ok), fast]);
        near(value(&summary, "ttft", "min"), 0.1);
        near(value(&summary, "failure_ratio", "value"), 0.5);
        near(value(&summary, "requests_per_second", "value"), 1.0 / 0.17);
        assert_eq!(summary.find("ttft", "mean").unwrap().n, 1);
        assert_eq!((summary.ended("ok"), summary.ended("status")), (1, 1));
    }

    #[test]
    fn failed_requests_count_as_slower_than_all_others_where_the_name_says_all() {
        let refused = |index| record(index, 0, Outcome::Status { status: 503, message: "busy".to_owned() });
        let records: Vec<Record> =
            (0..8).map(|index| record(index, 0, Outcome::Ok)).chain((8..10).map(refused)).collect();
        let summary = Summary::of(&records);
        near(value(&summary, "ttft_all", "p75"), 0.1);
        let p90 = summary.find("ttft_all", "p90").unwrap();
        assert_eq!((p90.value, p90.n), (None, 10), "a fifth failed: there is no 90 % that were served");
        assert!(p90.null_reason.as_deref().unwrap().contains("among the requests that failed"));
        near(value(&summary, "ttft", "p99"), 0.1);
    }

    #[test]
    fn turns_that_were_not_sent_after_a_failure_count_as_slower_than_all_others_and_are_counted() {
        let turn = |number, turn, outcome| Record {
            conversation: Some(Turn { number, turn, turns: 3 }),
            ..record(u64::from(number * 3 + turn), 0, outcome)
        };
        let refused = Outcome::Status { status: 503, message: "busy".to_owned() };
        let records = [
            turn(0, 0, Outcome::Ok),
            turn(0, 1, Outcome::Ok),
            turn(0, 2, Outcome::Ok),
            turn(1, 0, refused),
            // Sending was over before its second turn.
            turn(2, 0, Outcome::Ok),
            turn(3, 0, Outcome::Cancelled),
        ];
        let summary = Summary::of(&records);
        assert_eq!(summary.find("ttft_all", "p75").map(|figure| (figure.value, figure.n)), Some((None, 7)));
        near(value(&summary, "ttft_all", "p50"), 0.1);
        near(value(&summary, "failure_ratio", "value"), 0.2);
        near(value(&summary, "conversation_failure_ratio", "value"), 0.5);
        near(value(&summary, "unsent_turns", "value"), 2.0);
        assert_eq!(summary.find("unsent_turns", "value").unwrap().n, 8);
        assert!(Summary::of(&[record(0, 0, Outcome::Ok)]).find("unsent_turns", "value").is_none());
    }

    #[test]
    fn a_mean_that_cold_requests_distort_stands_beside_its_quantiles() {
        let slow = |index| {
            let mut cold = record(index, 0, Outcome::Ok);
            cold.first_token = cold.first_token.map(|at| Stamp(at.0 + 40_000 * MS));
            cold
        };
        let few: Vec<Record> =
            (0..10).map(|n| if n == 0 { slow(n) } else { record(n, 0, Outcome::Ok) }).collect();
        let many: Vec<Record> =
            (0..100).map(|n| if n == 0 { slow(n) } else { record(n, 0, Outcome::Ok) }).collect();
        let (few, many) = (Summary::of(&few), Summary::of(&many));
        assert!(
            value(&few, "ttft", "mean") > value(&many, "ttft", "mean"),
            "the mean is diluted by load alone"
        );
        assert_eq!(value(&few, "ttft", "p50"), value(&many, "ttft", "p50"));
        let warm = Record { warmup: true, ..slow(0) };
        near(value(&Summary::of(&[warm, record(1, 0, Outcome::Ok)]), "ttft", "mean"), 0.1);
    }

    #[test]
    fn nothing_is_rounded_before_it_is_added_up() {
        let mut odd = record(0, 0, Outcome::Ok);
        odd.first_token = Some(Stamp(100_000_001));
        let records: Vec<Record> = vec![odd; 3];
        near(value(&Summary::of(&records), "ttft", "sum"), 0.300_000_003);
    }

    #[test]
    fn waits_before_the_sending_are_figures_of_their_own() {
        let mut late = record(0, 0, Outcome::Ok);
        (late.admitted, late.started) = (Stamp(30 * MS), Stamp(40 * MS));
        let summary = Summary::of(&[late]);
        near(value(&summary, "admission_wait", "max"), 0.03);
        near(value(&summary, "send_lag", "max"), 0.01);
        near(value(&summary, "ttft", "max"), 0.06);
        near(value(&summary, "ttft_from_due", "max"), 0.1);
        near(value(&summary, "e2e_from_due", "max"), 0.16);
        near(value(&summary, "response_time", "max"), 0.13);
        near(value(&summary, "normalized_latency", "mean"), 0.04);
        near(value(&summary, "total_time", "value"), 0.13);
        let written = summary.find("write_time", "p50").unwrap();
        assert_eq!(written.value, None);
        assert!(
            written.null_reason.as_deref().unwrap().ends_with("cannot tell when the last byte was written")
        );
    }

    #[test]
    fn nothing_measured_is_null_with_a_reason_and_never_zero() {
        let summary = Summary::of(&[record(0, 0, Outcome::Truncated)]);
        let ttft = summary.find("ttft", "p99").unwrap();
        assert_eq!((ttft.value, ttft.null_reason.as_deref()), (None, Some("no successful request")));
        near(value(&summary, "failure_ratio", "value"), 1.0);
        for figure in Summary::of(&[]).measurements {
            assert_eq!(figure.value, None, "{} {}", figure.name, figure.stat);
            assert!(figure.null_reason.is_some());
        }
    }

    #[test]
    fn the_warm_up_is_counted_apart_and_in_no_figure() {
        let warm = Record { warmup: true, ..record(0, 0, Outcome::Ok) };
        let summary = Summary::of(&[warm, record(1, 1000, Outcome::Ok)]);
        assert_eq!(summary.find("ttft", "p50").unwrap().n, 1);
        assert_eq!((summary.window_ns, summary.warmup_outcomes["ok"]), (Some(170 * MS), 1));
    }

    #[test]
    fn what_lies_between_two_epochs_is_in_no_window() {
        let second = Record { epoch: 1, ..record(1, 60_000, Outcome::Ok) };
        let summary = Summary::of(&[record(0, 0, Outcome::Ok), second]);
        assert_eq!(summary.window_ns, Some(2 * 170 * MS));
        near(value(&summary, "requests_per_second", "value"), 2.0 / 0.34);
    }

    #[test]
    fn what_we_cut_off_is_neither_success_nor_failure() {
        let summary = Summary::of(&[record(0, 0, Outcome::Ok), record(1, 0, Outcome::Cancelled)]);
        near(value(&summary, "failure_ratio", "value"), 0.0);
        assert_eq!(summary.judged(), 1);
    }

    #[test]
    fn unknown_prompt_tokens_leave_no_total() {
        let unknown = Record { prompt_tokens: None, ..record(0, 0, Outcome::Ok) };
        let summary = Summary::of(&[unknown, record(1, 0, Outcome::Ok)]);
        assert_eq!(value(&summary, "total_token_throughput", "value"), None);
        assert!(value(&summary, "output_token_throughput", "value").is_some());
    }

    #[test]
    fn a_quantile_of_too_few_samples_says_so() {
        let summary = Summary::of(&[record(0, 0, Outcome::Ok)]);
        assert!(summary.thin_quantiles.contains(&"ttft p99 (1 of 299)".to_owned()));
    }

    #[test]
    fn every_figure_is_told_under_a_known_definition() {
        let summary = Summary::of(&[record(0, 0, Outcome::Ok)]);
        for figure in &summary.measurements {
            let of = define::ALL.iter().find(|d| d.id == figure.definition).expect("defined");
            assert_eq!((of.name, of.unit), (figure.name.as_str(), figure.unit.as_str()));
        }
    }
}
