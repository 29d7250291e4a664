//! One look at `/metrics`: a [`Reading`], under our names. Must not know when or why it was taken.
//!
//! 一次 /metrics 读取的结果。

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::{HISTOGRAMS, VALUES};
use crate::{
    api::{Buckets, Exposition, Sample},
    client::Stamp,
};

/// Why a reading was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the first request, the warm-up's included.
    Before,
    /// As soon as the last request of the warm-up had ended.
    Warm,
    /// About every second.
    During,
    /// After the last response had ended.
    After,
}

/// What one look at `/metrics` gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Why it was taken.
    pub moment: Moment,
    /// When the answer had been read.
    pub at: Stamp,
    /// Our name → value; what the server does not tell is absent.
    pub values: BTreeMap<String, f64>,
    /// Our name → histogram, in seconds; of readings meanwhile only sum and count.
    pub histograms: BTreeMap<String, Histogram>,
    /// Why there is nothing.
    pub error: Option<String>,
}

/// A histogram of the server's, as counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds, and how many observations are at or below each.
    pub below: Vec<(f64, f64)>,
    /// Sum of all observations.
    pub sum: f64,
    /// How many.
    pub count: f64,
}

impl Reading {
    /// What `text` says of `model`.
    pub(super) fn of(moment: Moment, at: Stamp, text: &str, model: &str) -> Self {
        let exposition = match Exposition::parse(text) {
            Ok(exposition) => exposition,
            Err(error) => return Self::failed(moment, at, format!("GET /metrics: {error}")),
        };
        let values = VALUES.iter().filter_map(|known| {
            let theirs = known.theirs.iter().find(|name| exposition.samples(name).next().is_some())?;
            let ours = ours(&exposition, theirs, model);
            let values = exposition.samples(theirs).filter(|sample| ours(sample)).map(|sample| sample.value);
            let value = if known.largest { values.reduce(f64::max)? } else { values.sum() };
            Some((known.name.to_owned(), value)).filter(|(_, value)| value.is_finite())
        });
        let histograms = HISTOGRAMS.iter().filter_map(|(name, theirs)| {
            theirs.iter().find_map(|theirs| {
                let count = format!("{theirs}_count");
                let buckets = exposition.buckets(theirs, ours(&exposition, &count, model))?;
                Some(((*name).to_owned(), Histogram::of(buckets, moment)))
            })
        });
        let (values, histograms): (BTreeMap<_, _>, BTreeMap<_, _>) = (values.collect(), histograms.collect());
        if values.is_empty() && histograms.is_empty() {
            let why = "GET /metrics tells nothing that is known here; its server may use other names";
            return Self::failed(moment, at, why.to_owned());
        }
        Self { moment, at, values, histograms, error: None }
    }

    pub(super) fn failed(moment: Moment, at: Stamp, error: String) -> Self {
        Self { moment, at, values: BTreeMap::new(), histograms: BTreeMap::new(), error: Some(error) }
    }

    /// A gauge or counter under our name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// Chooses the samples of `model` where any bears its name; else all, as far as we know it is the only one.
fn ours<'a>(exposition: &Exposition, name: &str, model: &'a str) -> impl Fn(&Sample) -> bool + 'a {
    let is_named = |sample: &Sample| sample.label("model_name") == Some(model);
    let some_are = exposition.samples(name).any(is_named);
    move |sample| !some_are || sample.label("model_name") == Some(model)
}

impl Histogram {
    fn of(buckets: Buckets, moment: Moment) -> Self {
        let below = if moment == Moment::During { Vec::new() } else { buckets.below };
        Self { below, sum: buckets.sum, count: buckets.count }
    }

    /// What was observed since `earlier`; nothing where it began anew in between, or has other bounds now.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let (sum, count) = (self.sum - earlier.sum, self.count - earlier.count);
        if count < 0.0 || self.below.len() != earlier.below.len() {
            return None;
        }
        let pairs = self.below.iter().zip(&earlier.below);
        let below =
            pairs.map(|(&(bound, now), &(known, then))| (bound == known).then_some((bound, now - then)));
        Some(Self { below: below.collect::<Option<_>>()?, sum, count })
    }

    /// The `q`-quantile, estimated by linear interpolation within its bucket; nothing where it lies above the last
    /// bound, or nothing was observed.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count;
        if self.count <= 0.0 {
            return None;
        }
        let mut lower = (0.0, 0.0);
        for &(bound, below) in &self.below {
            if below >= rank && below > lower.1 {
                let (from, already): (f64, f64) = lower;
                return Some(from + (bound - from) * ((rank - already) / (below - already)).clamp(0.0, 1.0));
            }
            lower = (bound, below);
        }
        None
    }

    /// The mean, exact; nothing where nothing was observed.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/vllm-0.32.0/metrics.json");
        let recorded: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let chunks = recorded["response"]["chunks"].as_array().unwrap();
        chunks.iter().filter_map(|chunk| chunk["text"].as_str()).collect()
    }

    #[test]
    fn the_recorded_server_is_read_under_our_names() {
        let reading = Reading::of(Moment::After, Stamp(1), &recorded(), "smollm2-135m");
        assert_eq!(reading.error, None);
        for (name, value) in [
            ("running", 1.0),
            ("waiting", 0.0),
            ("kv_usage", 0.044016506189821225),
            ("preemptions", 0.0),
            ("prompt_tokens", 21019.0),
            ("generation_tokens", 921.0),
            ("prefix_queries", 21004.0),
            ("prefix_hits", 3968.0),
            ("finished_requests", 296.0),
        ] {
            assert_eq!(reading.value(name), Some(value), "{name}");
        }
        assert_eq!(reading.value("drafted_tokens"), None, "a server that does not draft tells nothing");
        let named: Vec<&str> = reading.histograms.keys().map(String::as_str).collect();
        assert_eq!(named, ["decode_time", "e2e", "itl", "prefill_time", "queue_time", "tpot", "ttft"]);
    }

    #[test]
    fn of_several_models_and_engines_ours_are_added_up() {
        let text = "vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 3\n\
                    vllm:generation_tokens_total{engine=\"1\",model_name=\"m\"} 4\n\
                    vllm:generation_tokens_total{engine=\"0\",model_name=\"other\"} 100\n\
                    vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n\
                    vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.5\n";
        let reading = |model: &str| Reading::of(Moment::During, Stamp(1), text, model);
        assert_eq!(reading("m").value("generation_tokens"), Some(7.0));
        assert_eq!(reading("m").value("kv_usage"), Some(0.5));
        assert_eq!(reading("unknown").value("generation_tokens"), Some(107.0));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let error = |text: &str| Reading::of(Moment::Before, Stamp(1), text, "m").error.unwrap();
        assert!(error("<html>").starts_with("GET /metrics: line 1: expected a metric's name"));
        assert!(error("up 1\n").contains("tells nothing that is known here"));
    }

    fn histogram(below: &[(f64, f64)], count: f64) -> Histogram {
        Histogram { below: below.to_vec(), sum: 0.0, count }
    }

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket_and_unknown_above_the_last() {
        let told = histogram(&[(1.0, 2.0), (2.0, 2.0), (4.0, 8.0)], 10.0);
        assert_eq!(told.quantile(0.1), Some(0.5));
        assert_eq!(told.quantile(0.5), Some(3.0));
        assert_eq!(told.quantile(0.9), None);
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().mean(), None);
    }

    #[test]
    fn a_counter_that_began_anew_has_no_difference() {
        let (early, late) = (histogram(&[(1.0, 5.0)], 5.0), histogram(&[(1.0, 2.0)], 2.0));
        assert_eq!(late.since(&early), None);
        assert_eq!(late.since(&histogram(&[(0.5, 1.0)], 1.0)), None, "other bounds");
        assert_eq!(early.since(&late), Some(histogram(&[(1.0, 3.0)], 3.0)));
    }

    proptest! {
        #[test]
        fn estimated_quantiles_never_fall_and_stay_in_the_bucket_of_the_true_one(
            values in prop::collection::vec(0.0_f64..9.0, 1..100), q in 0.0_f64..=1.0,
        ) {
            let bounds = [0.5, 1.0, 2.0, 5.0, 10.0];
            let below = |bound: f64| values.iter().filter(|value| **value <= bound).count() as f64;
            let told = histogram(&bounds.map(|bound| (bound, below(bound))), values.len() as f64);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (true_one, found) = (sorted[rank - 1], told.quantile(q).unwrap());
            let bucket = bounds.iter().position(|bound| true_one <= *bound).unwrap();
            let lower = if bucket == 0 { 0.0 } else { bounds[bucket - 1] };
            prop_assert!((lower..=bounds[bucket]).contains(&found), "{found} for {true_one}");
            prop_assert!(told.quantile(q / 2.0) <= told.quantile(q));
        }
    }
}
