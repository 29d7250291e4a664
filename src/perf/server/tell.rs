//! From readings and records to what is told of the server: [`tell`]. Pure. Must not know how the server is read.
//!
//! 由读数与请求记录得出服务端指标，并核对两侧 token 数。

use serde::Serialize;
use st_harness::verdict::Measurement;

use super::{Moment, Reading, reading::Histogram};
use crate::{
    client::Stamp,
    perf::{
        definitions::{self as define, Definition},
        quantile::{Sorted, TOLD},
        record::Record,
        summary::measurement,
    },
};

/// What the server's metrics come to.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSide {
    /// Every figure; one without a value says why.
    pub measurements: Vec<Measurement>,
    /// Its token counts beside the client's.
    pub compared: Compared,
    /// What a person should know: counts that differ, a server that was not idle.
    pub notes: Vec<(&'static str, String)>,
}

/// Token counts of both sides over the window. The server's are the differences of its counters between idle before
/// the warm-up and idle after the last response, less what the client counts of the warm-up: nothing is drained
/// between the two, so that no reading there could tell them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Prompt tokens.
    pub prompt: Pair,
    /// Output tokens.
    pub output: Pair,
    /// Of the warm-up, as the client counts them: prompt and output tokens.
    pub warmup: (u64, u64),
    /// Requests that did not end well: of them the client cannot know everything.
    pub unsure: u64,
    /// Why the server's are missing.
    pub missing: Option<String>,
}

/// The same thing counted twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// By the client, from usage.
    pub client: u64,
    /// By the server's counter.
    pub server: Option<u64>,
}

impl Pair {
    /// Whether both are known and equal.
    pub fn agrees(self) -> bool {
        self.server == Some(self.client)
    }

    fn differs(self) -> bool {
        self.server.is_some() && !self.agrees()
    }
}

/// The readings that matter: idle before, after the warm-up, idle after.
struct Ends<'a> {
    before: &'a Reading,
    warm: &'a Reading,
    after: &'a Reading,
}

/// What `readings` say of the server that answered `records`.
pub fn tell(readings: &[Reading], records: &[Record]) -> ServerSide {
    let ends = Ends::of(readings);
    let mut told = Teller { measurements: Vec::new(), missing: ends.as_ref().err().cloned() };
    let ends = ends.ok();
    for (of, name) in HISTOGRAMS {
        told.histogram(&of, ends.as_ref().and_then(|ends| ends.histogram(name)).as_ref());
    }
    let compared = compare(ends.as_ref(), records, told.missing.clone());
    told.push(&define::SERVER_PROMPT_TOKENS, "value", compared.prompt.server.map(|n| n as f64), 1);
    told.push(&define::SERVER_GENERATION_TOKENS, "value", compared.output.server.map(|n| n as f64), 1);
    let moved = |name| ends.as_ref().and_then(|ends| moved(ends.warm, ends.after, name));
    told.push(&define::SERVER_PREEMPTIONS, "value", moved("preemptions"), 1);
    let hits = ratio(moved("prefix_hits"), moved("prefix_queries"));
    told.push(&define::SERVER_PREFIX_HIT_RATIO, "value", hits, 1);
    let within = within(readings, records);
    for (of, name) in GAUGES {
        told.sample(&of, within.iter().filter_map(|reading| reading.value(name)).collect());
    }
    told.accepted(ratio(moved("accepted_tokens"), moved("drafted_tokens")), readings);
    let notes = notes(&compared, ends.as_ref());
    ServerSide { measurements: told.measurements, compared, notes }
}

const HISTOGRAMS: [(Definition, &str); 7] = [
    (define::SERVER_TTFT, "ttft"),
    (define::SERVER_ITL, "itl"),
    (define::SERVER_TPOT, "tpot"),
    (define::SERVER_E2E, "e2e"),
    (define::SERVER_QUEUE_TIME, "queue_time"),
    (define::SERVER_PREFILL_TIME, "prefill_time"),
    (define::SERVER_DECODE_TIME, "decode_time"),
];

const GAUGES: [(Definition, &str); 3] = [
    (define::SERVER_RUNNING, "running"),
    (define::SERVER_WAITING, "waiting"),
    (define::SERVER_KV_USAGE, "kv_usage"),
];

impl<'a> Ends<'a> {
    /// The error says why there is nothing to compute from.
    fn of(readings: &'a [Reading]) -> Result<Self, String> {
        let at = |moment| readings.iter().rfind(|reading| reading.moment == moment);
        let good = |moment| match at(moment) {
            Some(Reading { error: Some(error), .. }) => Err(error.clone()),
            Some(reading) => Ok(reading),
            None => Err("the server was not read".to_owned()),
        };
        let (before, after) = (good(Moment::Before)?, good(Moment::After)?);
        Ok(Self { before, warm: good(Moment::Warm).unwrap_or(before), after })
    }

    fn histogram(&self, name: &str) -> Option<Histogram> {
        self.after.histograms.get(name)?.since(self.warm.histograms.get(name)?)
    }
}

/// By how much a counter moved; nothing where it is not told, or began anew.
fn moved(from: &Reading, to: &Reading, name: &str) -> Option<f64> {
    let difference = to.value(name)? - from.value(name)?;
    (difference >= 0.0).then_some(difference)
}

fn ratio(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|whole| *whole > 0.0)?)
}

/// The readings taken while measured requests were in flight.
fn within<'a>(readings: &'a [Reading], records: &[Record]) -> Vec<&'a Reading> {
    let measured = || records.iter().filter(|record| !record.warmup);
    let from = measured().map(|record| record.started).min().unwrap_or(Stamp(u64::MAX));
    let to = measured().map(|record| record.ended).max().unwrap_or(Stamp(0));
    let meanwhile =
        |reading: &&Reading| reading.moment == Moment::During && (from..=to).contains(&reading.at);
    readings.iter().filter(meanwhile).collect()
}

fn compare(ends: Option<&Ends<'_>>, records: &[Record], missing: Option<String>) -> Compared {
    let tokens = |warmup: bool| {
        let of = records.iter().filter(move |record| record.warmup == warmup);
        of.fold((0, 0), |(prompt, output), record| {
            (prompt + record.prompt_tokens.unwrap_or(0), output + record.output_tokens)
        })
    };
    let (warmup, measured) = (tokens(true), tokens(false));
    let server = |name: &str, warmup: u64| {
        let whole = ends.and_then(|ends| moved(ends.before, ends.after, name))?;
        // Counters are whole numbers; less than the warm-up alone would be another server's.
        (whole.round() as u64).checked_sub(warmup)
    };
    Compared {
        prompt: Pair { client: measured.0, server: server("prompt_tokens", warmup.0) },
        output: Pair { client: measured.1, server: server("generation_tokens", warmup.1) },
        warmup,
        unsure: records.iter().filter(|record| !record.is_ok()).count() as u64,
        missing,
    }
}

fn notes(compared: &Compared, ends: Option<&Ends<'_>>) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    for (what, pair) in [("read", compared.prompt), ("generated", compared.output)] {
        if let (true, Some(server)) = (pair.differs(), pair.server) {
            let unsure = match compared.unsure {
                0 => "another client may have asked it too".to_owned(),
                n => format!("{n} requests did not end well, and of those the client cannot know everything"),
            };
            let client = pair.client;
            notes.push((
                "token-mismatch",
                format!(
                    "over the window the server {what} {server} tokens, the client counted {client}: {unsure}"
                ),
            ));
        }
    }
    for (when, reading) in ends.into_iter().flat_map(|ends| [("before", ends.before), ("after", ends.after)])
    {
        if let Some(running) = reading.value("running").filter(|running| *running > 0.0) {
            notes.push((
                "server-busy",
                format!("the server shows {running} requests {when} the load: it was not ours alone"),
            ));
        }
    }
    notes
}

/// Collects measurements, each with the reason where it has no value.
struct Teller {
    measurements: Vec<Measurement>,
    missing: Option<String>,
}

impl Teller {
    fn push(&mut self, of: &Definition, stat: &str, value: Option<f64>, n: u64) {
        let mut figure = measurement(of, stat, value, if value.is_some() { n } else { 0 });
        if let (None, Some(why)) = (value, &self.missing) {
            figure.null_reason = Some(why.clone());
        }
        self.measurements.push(figure);
    }

    fn histogram(&mut self, of: &Definition, told: Option<&Histogram>) {
        let n = told.map_or(0, |told| told.count.round() as u64);
        for (stat, q) in TOLD {
            self.push(of, stat, told.and_then(|told| told.quantile(q)), n);
            if let Some(figure) = self.measurements.last_mut() {
                figure.labels.insert("estimated".to_owned(), true.into());
            }
        }
        for stat in ["max", "min"] {
            self.push(of, stat, None, n);
            if let (Some(figure), true) = (self.measurements.last_mut(), told.is_some()) {
                figure.null_reason = Some("a histogram keeps no minimum and no maximum".to_owned());
            }
        }
        self.push(of, "mean", told.and_then(Histogram::mean), n);
        self.push(of, "sum", told.filter(|told| told.count > 0.0).map(|told| told.sum), n);
    }

    fn sample(&mut self, of: &Definition, values: Vec<f64>) {
        let sample = Sorted::new(values);
        let n = sample.len() as u64;
        self.push(of, "mean", sample.mean(), n);
        self.push(of, "max", sample.max(), n);
        self.push(of, "min", sample.min(), n);
    }

    /// The whole ratio as mean, and what single intervals between two readings had.
    fn accepted(&mut self, whole: Option<f64>, readings: &[Reading]) {
        let of = &define::SPEC_ACCEPT_RATE;
        let good: Vec<&Reading> = readings.iter().filter(|reading| reading.error.is_none()).collect();
        let each = good.windows(2).filter_map(|pair| {
            ratio(moved(pair[0], pair[1], "accepted_tokens"), moved(pair[0], pair[1], "drafted_tokens"))
        });
        let sample = Sorted::new(each.collect());
        let n = sample.len() as u64;
        for (stat, q) in TOLD {
            self.push(of, stat, sample.quantile(q), n);
        }
        self.push(of, "max", sample.max(), n);
        self.push(of, "min", sample.min(), n);
        self.push(of, "mean", whole, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    const MS: u64 = 1_000_000;

    fn reading(moment: Moment, ms: u64, values: &[(&str, f64)]) -> Reading {
        Reading {
            moment,
            at: Stamp(ms * MS),
            values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            histograms: std::collections::BTreeMap::new(),
            error: None,
        }
    }

    /// A warm-up and two measured requests, each of 10 prompt and 4 output tokens, from 0, 200 and 400 ms.
    fn records() -> Vec<Record> {
        let warm = Record { warmup: true, ..record(0, 0, Outcome::Ok) };
        vec![warm, record(1, 200, Outcome::Ok), record(2, 400, Outcome::Ok)]
    }

    fn told(prompt: f64, output: f64) -> ServerSide {
        let at = |moment, ms, p, g| reading(moment, ms, &[("prompt_tokens", p), ("generation_tokens", g)]);
        tell(
            &[at(Moment::Before, 0, 100.0, 50.0), at(Moment::After, 600, 100.0 + prompt, 50.0 + output)],
            &records(),
        )
    }

    fn value(told: &ServerSide, id: &str, stat: &str) -> Option<f64> {
        let found = told.measurements.iter().find(|m| m.definition == id && m.stat == stat);
        found.unwrap_or_else(|| panic!("{id} {stat} is told")).value
    }

    #[test]
    fn counts_that_agree_say_nothing_and_the_warm_up_is_outside() {
        let told = told(30.0, 12.0);
        assert!(told.compared.prompt.agrees() && told.compared.output.agrees());
        assert_eq!((told.compared.prompt.client, told.compared.warmup), (20, (10, 4)));
        assert_eq!(value(&told, "server_generation_tokens/1", "value"), Some(8.0));
        assert_eq!(told.notes, []);
    }

    #[test]
    fn counts_that_differ_are_told_with_both_numbers() {
        let told = told(30.0, 13.0);
        let (kind, text) = &told.notes[0];
        assert_eq!(*kind, "token-mismatch");
        assert!(
            text.starts_with("over the window the server generated 9 tokens, the client counted 8:"),
            "{text}"
        );
        assert_eq!(told.notes.len(), 1);
    }

    #[test]
    fn a_server_without_metrics_leaves_null_and_the_reason() {
        let failed = Reading::failed(Moment::Before, Stamp(0), "GET /metrics answered 404".to_owned());
        let told = tell(&[failed], &records());
        assert_eq!(told.compared.missing.as_deref(), Some("GET /metrics answered 404"));
        assert_eq!(told.notes, [], "nothing to compare is nothing to note");
        for figure in &told.measurements {
            assert_eq!((figure.value, figure.n), (None, 0), "{} {}", figure.name, figure.stat);
            assert_eq!(figure.source, "server");
            if !["running", "waiting", "kv_usage"].contains(&figure.name.as_str()) {
                assert_eq!(figure.null_reason.as_deref(), Some("GET /metrics answered 404"));
            }
        }
    }

    #[test]
    fn gauges_are_those_of_the_window_alone() {
        let during = |ms, n| reading(Moment::During, ms, &[("running", n), ("kv_usage", n / 100.0)]);
        let readings = [during(100, 90.0), during(250, 1.0), during(450, 2.0), during(900, 90.0)];
        let told = tell(&readings, &records());
        assert_eq!(value(&told, "server_running/1", "mean"), Some(1.5));
        assert_eq!(value(&told, "server_running/1", "max"), Some(2.0));
        assert_eq!(value(&told, "server_kv_usage/1", "max"), Some(0.02));
        assert_eq!(value(&told, "server_waiting/1", "mean"), None);
    }

    #[test]
    fn latencies_are_differences_from_the_end_of_the_warm_up() {
        let with = |moment, ms, below: [f64; 2], sum, count| {
            let mut reading = reading(moment, ms, &[]);
            let below = [0.1, 0.2].into_iter().zip(below).collect();
            reading.histograms.insert("ttft".to_owned(), Histogram { below, sum, count });
            reading
        };
        let readings = [
            with(Moment::Before, 0, [0.0, 0.0], 0.0, 0.0),
            with(Moment::Warm, 190, [0.0, 0.0], 5.0, 1.0),
            with(Moment::After, 600, [1.0, 2.0], 5.3, 3.0),
        ];
        let told = tell(&readings, &records());
        assert!((value(&told, "server_ttft/1", "mean").unwrap() - 0.15).abs() < 1e-9);
        assert!((value(&told, "server_ttft/1", "p75").unwrap() - 0.15).abs() < 1e-9);
        let p99 =
            told.measurements.iter().find(|m| m.definition == "server_ttft/1" && m.stat == "p99").unwrap();
        assert_eq!((p99.n, &p99.labels["estimated"]), (2, &serde_json::Value::Bool(true)));
        assert_eq!(value(&told, "server_ttft/1", "max"), None);
        assert_eq!(value(&told, "server_e2e/1", "mean"), None);
    }

    #[test]
    fn the_accept_rate_is_that_of_the_whole_and_its_spread_that_of_intervals() {
        let at = |moment, ms, accepted, drafted| {
            reading(moment, ms, &[("accepted_tokens", accepted), ("drafted_tokens", drafted)])
        };
        let readings = [
            at(Moment::Before, 0, 0.0, 0.0),
            at(Moment::During, 300, 8.0, 10.0),
            at(Moment::During, 450, 8.0, 10.0),
            at(Moment::After, 600, 12.0, 20.0),
        ];
        let told = tell(&readings, &records());
        assert_eq!(value(&told, "server_spec_accept_rate/1", "mean"), Some(0.6));
        assert_eq!(value(&told, "server_spec_accept_rate/1", "max"), Some(0.8));
        assert_eq!(value(&told, "server_spec_accept_rate/1", "min"), Some(0.4));
    }

    #[test]
    fn a_server_that_is_not_ours_alone_is_told() {
        let busy = |moment, ms| reading(moment, ms, &[("running", 3.0)]);
        let told = tell(&[busy(Moment::Before, 0), busy(Moment::After, 600)], &records());
        assert_eq!(told.notes.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["server-busy"; 2]);
    }
}
