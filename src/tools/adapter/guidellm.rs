//! The JSON report of `guidellm run` with one benchmark in it: distributions over its successful requests. Only what is
//! defined as here is told under our names: its time per output token is over the whole request and so is none of ours,
//! its inter-token latency is what is called TPOT here. Shown with 0.8.1 (`metadata.version` 2).
//!
//! guidellm 结果解析。

use serde_json::Value;

use super::{Node, root};
use crate::tools::{Figure, Record, Unit, record::Requests};

/// Its name of a distribution, ours where it is one, how many of its units are one of ours, and ours.
const DISTRIBUTIONS: [(&str, Option<&str>, f64, Unit); 4] = [
    ("time_to_first_token_ms", Some("ttft"), 1e3, Unit::Seconds),
    ("inter_token_latency_ms", Some("tpot"), 1e3, Unit::Seconds),
    ("time_per_output_token_ms", None, 1e3, Unit::Seconds),
    ("request_latency", Some("e2e"), 1.0, Unit::Seconds),
];
/// Its name of a rate, whose mean is told, ours and its unit.
const RATES: [(&str, &str, Unit); 3] = [
    ("requests_per_second", "requests_per_second", Unit::PerSecond),
    ("output_tokens_per_second", "output_token_throughput", Unit::TokensPerSecond),
    ("tokens_per_second", "total_token_throughput", Unit::TokensPerSecond),
];
const STATS: [&str; 5] = ["p50", "p75", "p90", "p95", "p99"];

pub(super) fn read(value: &Value) -> Result<Record, String> {
    let document = root(value);
    let metadata = document.get("metadata")?;
    let layout = metadata.get("version")?;
    if layout.value() != 2 {
        return Err(layout.wrong("2"));
    }
    let benchmarks = document.get("benchmarks")?.elements()?;
    let [benchmark] = benchmarks.as_slice() else {
        return Err(format!("expected one benchmark, found {}", benchmarks.len()));
    };
    let metrics = benchmark.get("metrics")?;
    let totals = metrics.get("request_totals")?;
    let count = |key: &str| totals.get(key)?.count();
    let (all, good, failed, cut) =
        (count("total")?, count("successful")?, count("errored")?, count("incomplete")?);
    if cut > 0 || all == 0 || good + failed != all {
        return Err(format!(
            "incomplete: of {all} requests {good} succeeded, {failed} failed, {cut} were cut off"
        ));
    }
    let mut figures = vec![Figure {
        n: Some(all),
        stands_for: Some(("failure_ratio", "value")),
        ..Figure::ratio("guidellm", "errored", failed as f64 / all as f64)
    }];
    for (name, ours, unit) in RATES {
        let raw = metrics.get(name)?.get("successful")?.get("mean")?.number()?;
        let figure = Figure { unit, n: Some(good), ..Figure::ratio("guidellm", name, raw) };
        figures.push(Figure { stands_for: Some((ours, "value")), ..figure });
    }
    for (name, ours, divisor, unit) in DISTRIBUTIONS.into_iter().filter(|_| good > 0) {
        distribution(&metrics.get(name)?.get("successful")?, name, ours, (divisor, unit), &mut figures)?;
    }
    let version = metadata.get("guidellm_version")?.text()?.to_owned();
    let requests = Some(Requests { total: all, failed });
    Ok(Record { version: Some(version), made_at: None, figures, requests })
}

fn distribution(
    of: &Node<'_>,
    name: &str,
    ours: Option<&'static str>,
    (divisor, unit): (f64, Unit),
    figures: &mut Vec<Figure>,
) -> Result<(), String> {
    let n = Some(of.get("count")?.count()?);
    let mut push = |stat: &'static str, raw: f64| {
        let figure =
            Figure { variant: Some(stat.to_owned()), unit, n, ..Figure::ratio("guidellm", name, raw) };
        figures.push(Figure { value: raw / divisor, stands_for: ours.map(|ours| (ours, stat)), ..figure });
    };
    push("mean", of.get("mean")?.number()?);
    push("max", of.get("max")?.number()?);
    let percentiles = of.get("percentiles")?;
    for stat in STATS {
        push(stat, percentiles.get(stat)?.number()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/tools/guidellm.json")).unwrap()
    }

    #[test]
    fn a_real_file_says_what_it_says_in_seconds() {
        let record = read(&document()).unwrap();
        let p99 = record.find(None, Some("time_to_first_token_ms,p99")).unwrap();
        assert_eq!((p99.stands_for, p99.n), (Some(("ttft", "p99")), Some(8)));
        assert!((p99.value - 0.004_546_88).abs() < 1e-8, "{}", p99.value);
        let latency = record.find(None, Some("request_latency,p50")).unwrap();
        assert_eq!((latency.value, latency.stands_for), (latency.raw, Some(("e2e", "p50"))));
        let other = record.find(None, Some("time_per_output_token_ms,mean")).unwrap();
        assert_eq!(other.stands_for, None, "its definition is another");
        assert_eq!(
            (record.version.as_deref(), record.requests),
            (Some("0.8.1"), Some(Requests { total: 8, failed: 0 }))
        );
    }

    #[test]
    fn several_benchmarks_or_requests_cut_off_are_refused() {
        let mut two = document();
        let again = two["benchmarks"][0].clone();
        two["benchmarks"].as_array_mut().unwrap().push(again);
        assert_eq!(read(&two).unwrap_err(), "expected one benchmark, found 2");
        let mut cut = document();
        cut["benchmarks"][0]["metrics"]["request_totals"]["incomplete"] = json!(1);
        assert!(read(&cut).unwrap_err().ends_with("1 were cut off"));
        let mut other = document();
        other["metadata"]["version"] = json!(3);
        assert_eq!(read(&other).unwrap_err(), "expected metadata.version to be 2, found 3");
    }
}
