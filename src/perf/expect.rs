//! Whether the figures are as a case expects: [`judge`]. Must not know how they were measured.
//!
//! 性能期望的判定与解释。

use st_harness::{
    case::ExpandedCase,
    verdict::{Measurement, Reason},
};

use crate::perf::{
    definitions::{GOODPUT, GOODPUT_RATIO},
    record::{Outcome, Record},
    spec::{AtStat, Bound, Expectation, Slo, Spec},
    summary::{Summary, measurement},
};

/// What came of the expectations.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// One for each that does not hold.
    pub broken: Vec<Reason>,
    /// Figures that only an expectation asks for.
    pub measurements: Vec<Measurement>,
}

/// Holds the figures against every expectation of `spec`. A figure without a value breaks what is expected of it.
pub(super) fn judge(spec: &Spec, case: &ExpandedCase, summary: &Summary, records: &[Record]) -> Judged {
    let mut judged = Judged::default();
    judged.measurements.extend(spec.slo.iter().flat_map(|slo| goodput(*slo, summary, records)));
    for (index, expectation) in spec.expect.iter().enumerate() {
        let broken = match expectation {
            Expectation::Ttft(at) => at_stat("ttft", *at, summary),
            Expectation::Ttst(at) => at_stat("ttst", *at, summary),
            Expectation::Tpot(at) => at_stat("tpot", *at, summary),
            Expectation::Itl(at) => at_stat("itl", *at, summary),
            Expectation::E2e(at) => at_stat("e2e", *at, summary),
            Expectation::FailureRatio(bound) => bounded("failure_ratio", *bound, summary),
            Expectation::ConversationFailureRatio(bound) => {
                bounded("conversation_failure_ratio", *bound, summary)
            }
            Expectation::RequestsPerSecond(bound) => bounded("requests_per_second", *bound, summary),
            Expectation::OutputTokenThroughput(bound) => bounded("output_token_throughput", *bound, summary),
            Expectation::TotalTokenThroughput(bound) => bounded("total_token_throughput", *bound, summary),
            Expectation::Goodput(goodput) => {
                let ratio = goodput_ratio(goodput.slo(), summary, records);
                let broken = within(&ratio, Some(goodput.at_least), None);
                judged.measurements.push(ratio);
                broken
            }
        };
        if let Some(summary) = broken {
            judged.broken.push(reason(case, &format!("/expect/{index}"), summary));
        }
    }
    judged
}

fn reason(case: &ExpandedCase, pointer: &str, summary: String) -> Reason {
    let snippet = case.origin.snippet(pointer, &summary).unwrap_or_default();
    let reason = Reason::new("threshold", summary).with_detail(snippet);
    match case.origin.place(pointer) {
        Some(place) => reason.at(place),
        None => reason,
    }
}

fn at_stat(name: &str, at: AtStat, summary: &Summary) -> Option<String> {
    within(summary.find(name, at.stat.name())?, None, Some(at.at_most))
}

fn bounded(name: &str, bound: Bound, summary: &Summary) -> Option<String> {
    within(summary.find(name, "value")?, bound.at_least, bound.at_most)
}

/// Why `figure` is not within the bounds.
fn within(figure: &Measurement, at_least: Option<f64>, at_most: Option<f64>) -> Option<String> {
    let name = match figure.stat.as_str() {
        "value" => figure.name.clone(),
        stat => format!("{} {stat}", figure.name),
    };
    let bound = match (at_least, at_most) {
        (Some(low), Some(high)) => format!("from {low} to {high}"),
        (Some(low), None) => format!("at least {low}"),
        (None, Some(high)) => format!("at most {high}"),
        (None, None) => return None,
    };
    let unit = if figure.unit == "ratio" { String::new() } else { format!(" {}", figure.unit) };
    match figure.value {
        None => {
            let why = figure.null_reason.as_deref().unwrap_or("no reason was given");
            Some(format!("expected {name} {bound}{unit}, found no value: {why}"))
        }
        Some(value)
            if at_least.is_some_and(|low| value < low) || at_most.is_some_and(|high| value > high) =>
        {
            Some(format!("expected {name} {bound}{unit}, found {value:.6}{unit} (n = {})", figure.n))
        }
        Some(_) => None,
    }
}

/// Whether one request kept every limit; nothing where that cannot be said of it.
pub(super) fn keeps(slo: Slo, record: &Record) -> Option<bool> {
    if record.outcome == Outcome::Cancelled {
        return None;
    }
    if !record.is_ok() {
        return Some(false);
    }
    let seconds = |ns: f64| ns / 1e9;
    let limits = [
        (slo.ttft, record.ttft().map(|ns| ns as f64)),
        (slo.tpot, record.tpot()),
        (slo.e2e, record.e2e().map(|ns| ns as f64)),
    ];
    limits.into_iter().try_fold(true, |kept, (limit, value)| match limit {
        None => Some(kept),
        Some(limit) => Some(kept && seconds(value?) <= limit),
    })
}

/// The share of requests that kept every limit, and how many did a second.
fn goodput(slo: Slo, summary: &Summary, records: &[Record]) -> [Measurement; 2] {
    let kept = records.iter().filter(|r| !r.warmup && keeps(slo, r) == Some(true)).count() as u64;
    let window_s = summary.window_ns.filter(|ns| *ns > 0).map(|ns| ns as f64 / 1e9);
    let rate = measurement(&GOODPUT, "value", window_s.map(|window| kept as f64 / window), kept);
    [goodput_ratio(slo, summary, records), labelled(rate, slo)]
}

/// A turn that was not sent after a failed one is a miss like that one.
fn goodput_ratio(slo: Slo, summary: &Summary, records: &[Record]) -> Measurement {
    let judged: Vec<bool> = records.iter().filter(|r| !r.warmup).filter_map(|r| keeps(slo, r)).collect();
    let kept = judged.iter().filter(|kept| **kept).count();
    let asked = judged.len() as u64 + summary.unsent;
    let ratio = (asked > 0).then(|| kept as f64 / asked as f64);
    labelled(measurement(&GOODPUT_RATIO, "value", ratio, asked), slo)
}

/// The figure with the limits that it is of.
fn labelled(mut figure: Measurement, slo: Slo) -> Measurement {
    for (name, limit) in slo.limits() {
        if let Some(limit) = limit {
            figure.labels.insert(format!("{name}_at_most"), limit.into());
        }
    }
    figure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{suite::tests::case, summary::tests::record};

    fn broken(expect: &str, records: &[Record]) -> Vec<String> {
        let text =
            format!(r#"{{"concurrency":1,"input_len":1,"output_len":1,"requests":1,"expect":[{expect}]}}"#);
        let spec: Spec = serde_json::from_str(&text).unwrap();
        let judged = judge(&spec, &case(), &Summary::of(records), records);
        judged.broken.into_iter().map(|reason| reason.summary).collect()
    }

    fn refused(index: u64) -> Record {
        record(index, 0, Outcome::Status { status: 503, message: "busy".to_owned() })
    }

    #[test]
    fn a_bound_that_holds_says_nothing() {
        let good = [record(0, 0, Outcome::Ok)];
        for expect in [
            r#"{"ttft":{"stat":"p99","at_most":0.1}}"#,
            r#"{"failure_ratio":{"at_most":0}}"#,
            r#"{"requests_per_second":{"at_least":1,"at_most":10}}"#,
            r#"{"goodput":{"ttft":0.2,"tpot":0.03,"e2e":0.2,"at_least":1}}"#,
        ] {
            assert_eq!(broken(expect, &good), [""; 0], "{expect}");
        }
    }

    #[test]
    fn a_bound_that_does_not_hold_tells_both_sides() {
        let records = [record(0, 0, Outcome::Ok), refused(1)];
        for (expect, told) in [
            (
                r#"{"ttft":{"stat":"p99","at_most":0.05}}"#,
                "expected ttft p99 at most 0.05 s, found 0.100000 s (n = 1)",
            ),
            (
                r#"{"failure_ratio":{"at_most":0}}"#,
                "expected failure_ratio at most 0, found 0.500000 (n = 2)",
            ),
            (
                r#"{"goodput":{"ttft":0.2,"at_least":0.9}}"#,
                "expected goodput_ratio at least 0.9, found 0.500000 (n = 2)",
            ),
        ] {
            assert_eq!(broken(expect, &records), [told]);
        }
    }

    #[test]
    fn a_figure_without_a_value_breaks_what_is_expected_of_it() {
        let found = broken(r#"{"e2e":{"stat":"mean","at_most":1}}"#, &[refused(0)]);
        assert_eq!(found, ["expected e2e mean at most 1 s, found no value: no successful request"]);
    }

    #[test]
    fn goodput_leaves_out_what_it_cannot_judge() {
        let goodput = Slo { tpot: Some(0.03), ..Slo::default() };
        let mut single = record(1, 0, Outcome::Ok);
        single.events.truncate(1);
        let records = [record(0, 0, Outcome::Ok), single, record(2, 0, Outcome::Cancelled), refused(3)];
        let ratio = goodput_ratio(goodput, &Summary::of(&records), &records);
        assert_eq!((ratio.value, ratio.n), (Some(0.5), 2));
        let ratio = goodput_ratio(goodput, &Summary::of_asked(&records, 2), &records);
        assert_eq!((ratio.value, ratio.n), (Some(0.25), 4), "two turns were never sent after the refusal");
    }
}
