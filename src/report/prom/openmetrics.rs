//! Families as OpenMetrics with the time at which they were measured: [`openmetrics`]. `promtool tsdb
//! create-blocks-from openmetrics` makes blocks of it, which is how past runs come into Prometheus; the text format
//! that a Pushgateway takes may not carry times. Must not know what the metrics mean.
//!
//! 带时间戳的 OpenMetrics 文本，用于回填。

use std::fmt::Write as _;

use jiff::Timestamp;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::families::Families;

/// All of `families`, each sample stamped with `at`; `# EOF` ends it.
pub(crate) fn openmetrics(families: &Families, at: Timestamp) -> String {
    let mut text = String::new();
    let stamp = format!("{}.{:03}", at.as_second(), at.subsec_millisecond());
    for family in families.iter() {
        write_family(&mut text, family, &stamp);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &MetricFamily, stamp: &str) {
    let kind = family.get_field_type();
    // A counter's family has the bare name, its samples end in `_total`.
    let name = match kind {
        MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
        _ => family.name(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {}", escaped(family.help()));
    let _ = writeln!(text, "# TYPE {name} {}", word(kind));
    for metric in family.get_metric() {
        for (suffix, quantile, value) in samples(kind, metric) {
            let labels = labels(metric.get_label(), quantile);
            let _ = writeln!(text, "{name}{suffix}{labels} {value} {stamp}");
        }
    }
}

fn word(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::SUMMARY => "summary",
        _ => "gauge",
    }
}

/// What a metric is told as: suffix of the name, quantile, value.
fn samples(kind: MetricType, metric: &Metric) -> Vec<(&'static str, Option<f64>, f64)> {
    match kind {
        MetricType::COUNTER => vec![("_total", None, metric.get_counter().get_value())],
        MetricType::SUMMARY => {
            let summary = metric.get_summary();
            let quantiles = summary.get_quantile().iter();
            let mut samples: Vec<_> = quantiles.map(|q| ("", Some(q.quantile()), q.value())).collect();
            if summary.sample_count() > 0 {
                samples.push(("_sum", None, summary.sample_sum()));
                samples.push(("_count", None, summary.sample_count() as f64));
            }
            samples
        }
        _ => vec![("", None, metric.get_gauge().get_value())],
    }
}

/// `{a="x",quantile="0.9"}`, or nothing.
fn labels(pairs: &[LabelPair], quantile: Option<f64>) -> String {
    let own = pairs.iter().map(|pair| format!("{}=\"{}\"", pair.name(), escaped(pair.value())));
    let all: Vec<String> = own.chain(quantile.map(|q| format!("quantile=\"{q}\""))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}
