//! What `vllm bench serve --save-result` leaves: one flat object, latencies in milliseconds. It counts requests that
//! failed, and leaves their times out. Shown with vLLM 0.32.
//!
//! vllm bench serve 结果解析。

use serde_json::Value;

use super::root;
use crate::tools::{Figure, Record, Unit, record::Requests};

/// Its name of a latency, and ours.
const LATENCIES: [(&str, &str); 4] = [("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2el", "e2e")];
/// Its name of a stat, and ours.
const STATS: [(&str, &str); 7] = [
    ("mean", "mean"),
    ("median", "p50"),
    ("p75", "p75"),
    ("p90", "p90"),
    ("p95", "p95"),
    ("p99", "p99"),
    ("std", "stddev"),
];
/// Its name of a rate, ours, and its unit.
const RATES: [(&str, &str, Unit); 3] = [
    ("request_throughput", "requests_per_second", Unit::PerSecond),
    ("output_throughput", "output_token_throughput", Unit::TokensPerSecond),
    ("total_token_throughput", "total_token_throughput", Unit::TokensPerSecond),
];

pub(super) fn read(value: &Value) -> Result<Record, String> {
    let document = root(value);
    let task = document.get("endpoint_type")?.text()?;
    let (asked, done) = (document.get("num_prompts")?.count()?, document.get("completed")?.count()?);
    let failed = document.get("failed")?.count()?;
    if done + failed != asked {
        return Err(format!("incomplete: of {asked} requests {done} were completed and {failed} failed"));
    }
    if asked == 0 {
        return Err("incomplete: no request was sent".to_owned());
    }
    let figure = |metric: &str, raw: f64, unit: Unit, stands_for| Figure {
        unit,
        n: Some(done),
        stands_for: Some(stands_for),
        ..Figure::ratio(task, metric, raw)
    };
    let mut figures = vec![Figure {
        n: Some(asked),
        stands_for: Some(("failure_ratio", "value")),
        ..Figure::ratio(task, "failed", failed as f64 / asked as f64)
    }];
    for (name, ours, unit) in RATES {
        figures.push(figure(name, document.get(name)?.number()?, unit, (ours, "value")));
    }
    // With no request that came to its end its latencies are all 0.
    let latencies = LATENCIES.iter().filter(|_| done > 0);
    for (name, ours) in latencies {
        for (stat, our_stat) in STATS {
            let key = format!("{stat}_{name}_ms");
            let Some(found) = document.find(&key)? else { continue };
            let raw = found.number()?;
            let told = figure(&key, raw, Unit::Seconds, (*ours, our_stat));
            figures.push(Figure { value: raw / 1e3, ..told });
        }
    }
    Ok(Record { version: None, made_at: None, figures, requests: Some(Requests { total: asked, failed }) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/tools/vllm_bench.json")).unwrap()
    }

    #[test]
    fn a_real_file_says_what_it_says_in_seconds() {
        let record = read(&document()).unwrap();
        let p99 = record.find(None, Some("p99_ttft_ms")).unwrap();
        assert_eq!((p99.stands_for, p99.unit, p99.n), (Some(("ttft", "p99")), Unit::Seconds, Some(8)));
        assert!((p99.value - p99.raw / 1e3).abs() < 1e-12 && p99.value > 0.0);
        assert_eq!(record.find(None, Some("failed")).map(|figure| figure.value), Ok(0.0));
        assert_eq!(record.requests, Some(Requests { total: 8, failed: 0 }));
        assert!(record.figures.iter().any(|figure| figure.stands_for == Some(("e2e", "p99"))));
    }

    #[test]
    fn a_run_that_lost_requests_is_not_whole() {
        let mut lost = document();
        lost["completed"] = json!(5);
        let told = "incomplete: of 8 requests 5 were completed and 0 failed";
        assert_eq!(read(&lost).unwrap_err(), told);
        lost["failed"] = json!(3);
        assert_eq!(read(&lost).unwrap().find(None, Some("failed")).map(|figure| figure.value), Ok(0.375));
    }

    #[test]
    fn where_nothing_came_to_its_end_there_are_no_latencies() {
        let mut failed = document();
        (failed["completed"], failed["failed"]) = (json!(0), json!(8));
        let record = read(&failed).unwrap();
        assert!(record.figures.iter().all(|figure| figure.unit != Unit::Seconds));
    }
}
