//! Metric families being collected: [`Families`] groups samples by name, keeps HELP and TYPE once each, leaves out
//! what has no value, and encodes the whole as Prometheus text. Must not know what the metrics mean.
//!
//! 指标族的收集与编码。

use std::collections::BTreeMap;

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary},
};

/// Label names and values of one sample.
pub(super) type Labels = BTreeMap<String, String>;

/// A summary to be told: `(quantile, value)` pairs, sum and count.
pub(super) struct Distribution {
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) sum: f64,
    pub(super) count: u64,
}

/// Families in the order of their names.
pub(super) struct Families {
    prefix: String,
    families: BTreeMap<String, MetricFamily>,
}

impl Families {
    /// None yet; every name will begin with `prefix` and an underscore, where it is not empty.
    ///
    /// # Errors
    /// When `prefix` cannot begin a metric's name.
    pub(super) fn new(prefix: &str) -> Result<Self, String> {
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
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &Labels, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// A number of things; its name ends in `_total`, which the format's linter keeps for counters.
    pub(super) fn count(&mut self, name: &str, help: &str, labels: &Labels, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    /// A distribution, with its quantiles.
    pub(super) fn summary(&mut self, name: &str, help: &str, labels: &Labels, told: &Distribution) {
        let quantiles = told.quantiles.iter().map(|&(q, value)| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(q);
            quantile.set_value(value);
            quantile
        });
        let mut summary = Summary::default();
        summary.set_quantile(quantiles.collect());
        summary.set_sample_sum(told.sum);
        summary.set_sample_count(told.count);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_summary(summary);
        self.add(name, help, MetricType::SUMMARY, metric);
    }

    /// The text exposition of all of them.
    pub(super) fn encode(self) -> Result<String, String> {
        let families: Vec<MetricFamily> = self.families.into_values().collect();
        TextEncoder::new()
            .encode_to_string(&families)
            .map_err(|error| format!("metrics cannot be encoded: {error}"))
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

fn pairs(labels: &Labels) -> Vec<LabelPair> {
    let pair = |(name, value): (&String, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    };
    labels.iter().map(pair).collect()
}
