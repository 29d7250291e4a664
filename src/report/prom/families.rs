//! Metric families being collected: [`Families`] groups samples by name, keeps HELP and TYPE once each, leaves out
//! what has no value, and is written as Prometheus text or as OpenMetrics. Must not know what the metrics mean.
//!
//! 指标族的收集与编码。

use std::collections::BTreeMap;

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary},
};

/// Label names and values of one sample.
pub(crate) type Labels = BTreeMap<String, String>;

/// A summary to be told: `(quantile, value)` pairs, sum and count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) quantiles: Vec<(f64, f64)>,
    /// Sum and number of the samples; nothing where the source does not tell, which is written as nothing, not as 0.
    pub(crate) total: Option<(f64, u64)>,
}

/// Families in the order of their names.
#[derive(Debug)]
pub(crate) struct Families {
    prefix: String,
    families: BTreeMap<String, MetricFamily>,
}

impl Families {
    /// None yet; every name will begin with `prefix` and an underscore, where it is not empty.
    ///
    /// # Errors
    /// When `prefix` cannot begin a metric's name.
    pub(crate) fn new(prefix: &str) -> Result<Self, String> {
        let good = prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !prefix.starts_with(|c: char| c.is_ascii_digit());
        if !good {
            return Err(format!(
                "metric_prefix {prefix:?} cannot begin a metric's name; expected letters, digits and _, no digit first"
            ));
        }
        Ok(Self { prefix: prefix.to_owned(), families: BTreeMap::new() })
    }

    /// One value; nothing where there is none, since a missing value exported as a number would be believed.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, labels: &Labels, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// A number of things; its name ends in `_total`, which the format's linter keeps for counters.
    pub(crate) fn count(&mut self, name: &str, help: &str, labels: &Labels, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    /// A distribution, with its quantiles; nothing where it has neither quantiles nor a total.
    pub(crate) fn summary(&mut self, name: &str, help: &str, labels: &Labels, told: &Distribution) {
        if told.quantiles.is_empty() && told.total.is_none() {
            return;
        }
        let quantiles = told.quantiles.iter().map(|&(q, value)| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(q);
            quantile.set_value(value);
            quantile
        });
        let mut summary = Summary::default();
        summary.set_quantile(quantiles.collect());
        if let Some((sum, count)) = told.total {
            summary.set_sample_sum(sum);
            summary.set_sample_count(count);
        }
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_summary(summary);
        self.add(name, help, MetricType::SUMMARY, metric);
    }

    /// All of them, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &MetricFamily> {
        self.families.values()
    }

    /// The text exposition of all of them.
    ///
    /// # Errors
    /// When the encoder refuses a family.
    pub(crate) fn text(&self) -> Result<String, String> {
        let families: Vec<MetricFamily> = self.iter().cloned().collect();
        let text = TextEncoder::new()
            .encode_to_string(&families)
            .map_err(|error| format!("metrics cannot be encoded: {error}"))?;
        Ok(without_unknown_totals(&text))
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        let name = if self.prefix.is_empty() { name.to_owned() } else { format!("{}_{name}", self.prefix) };
        let family = self.families.entry(name.clone()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name);
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }
}

/// The encoder writes `_sum 0` and `_count 0` for a summary whose total is unknown; a summary of no sample is never
/// added, so that a count of 0 means just that.
fn without_unknown_totals(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.lines() {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        if name.ends_with("_count") && line.ends_with(" 0") {
            kept.pop();
        } else {
            kept.push(line);
        }
    }
    kept.into_iter().flat_map(|line| [line, "\n"]).collect()
}

fn pairs(labels: &Labels) -> Vec<LabelPair> {
    let pair = |(name, value): (&String, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    };
    labels.iter().map(pair).collect()
}
