//! A number that is drawn anew each time it is needed: [`Amount`], fixed or by a [`Law`]. The laws bear the names and the
//! keys of vLLM's multi-turn benchmark. Must not know what it is the amount of.
//!
//! 固定值或按分布抽取的数量。

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::perf::random::Random;

/// A number, or the law that it is drawn by: `3`, or `{distribution: uniform, min: 2, max: 5}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// Always the same.
    Fixed(f64),
    /// By a law.
    Drawn(Law),
}

/// How an amount is distributed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "distribution", rename_all = "snake_case", deny_unknown_fields)]
pub enum Law {
    /// Always the same.
    Constant {
        /// That one.
        value: f64,
    },
    /// Evenly between two ends, both of which occur.
    Uniform {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// As the gaps between events that happen by themselves.
    Exponential {
        /// The mean of the law.
        average: f64,
        /// What is drawn above it is it; the mean of what is drawn is less then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// Many small ones, and a few that are much larger.
    Lognormal {
        /// The mean of the law.
        average: f64,
        /// Its median over its mean, between 0 and 1: the less, the longer its tail.
        median_ratio: f64,
        /// What is drawn above it is it; the mean of what is drawn is less then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
}

impl Amount {
    fn law(self) -> Law {
        match self {
            Self::Fixed(value) => Law::Constant { value },
            Self::Drawn(law) => law,
        }
    }

    /// One of its values, 0 or more.
    pub(crate) fn draw(self, random: &mut Random) -> f64 {
        let most = |max: Option<f64>| max.unwrap_or(f64::INFINITY);
        match self.law() {
            Law::Constant { value } => value,
            Law::Uniform { min, max } => min + random.unit() * (max - min),
            Law::Exponential { average, max } => (average * random.gamma(1.0)).min(most(max)),
            Law::Lognormal { average, median_ratio, max } => {
                let sigma = (-2.0 * median_ratio.ln()).sqrt();
                (average * median_ratio * (sigma * random.normal()).exp()).min(most(max))
            }
        }
    }

    /// One of its values as a whole number, at least 1.
    pub(crate) fn draw_whole(self, random: &mut Random) -> u32 {
        match self.law() {
            // Rounded, both ends would come half as often as the others.
            Law::Uniform { min, max } => (min + random.below((max - min) as usize + 1) as f64) as u32,
            _ => self.draw(random).round() as u32,
        }
        .max(1)
    }

    /// What is wrong with it, one sentence a mistake.
    pub(super) fn mistakes(self) -> Vec<String> {
        let mut found = Vec::new();
        let mut least = |name: &str, value: f64, zero: bool| {
            if !(value.is_finite() && (value > 0.0 || (zero && value == 0.0))) {
                let least = if zero { "a number of 0 or more" } else { "a number above 0" };
                found.push(format!("expected `{name}` to be {least}, found {value}"));
            }
        };
        match self.law() {
            Law::Constant { value } => least("value", value, true),
            Law::Uniform { min, max } => {
                least("min", min, true);
                least("max", max, true);
            }
            Law::Exponential { average, max } | Law::Lognormal { average, max, .. } => {
                least("average", average, false);
                if let Some(max) = max {
                    least("max", max, false);
                }
            }
        }
        match self.law() {
            Law::Uniform { min, max } if min > max => {
                found.push(format!("expected `min` to be at most `max` ({max}), found {min}"));
            }
            Law::Lognormal { median_ratio, .. } if !(median_ratio > 0.0 && median_ratio < 1.0) => {
                found.push(format!("expected `median_ratio` between 0 and 1, found {median_ratio}"));
            }
            _ => {}
        }
        found
    }

    /// The same of an amount that is counted.
    pub(super) fn mistakes_whole(self) -> Vec<String> {
        let mut found = self.mistakes();
        let told = match self.law() {
            Law::Constant { value } => vec![("value", value)],
            Law::Uniform { min, max } => vec![("min", min), ("max", max)],
            Law::Exponential { .. } | Law::Lognormal { .. } => Vec::new(),
        };
        let odd = told.into_iter().filter(|(_, value)| *value < 1.0 || value.fract() != 0.0);
        found.extend(
            odd.map(|(name, value)| {
                format!("expected `{name}` to be a whole number from 1 on, found {value}")
            }),
        );
        found
    }
}

impl<'de> Deserialize<'de> for Amount {
    /// By hand: what is wrong with a law is told of the law, and not that it is no number.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a law such as `{distribution: uniform, min: 2, max: 5}`")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Amount, E> {
                Ok(Amount::Fixed(value as f64))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Amount, E> {
                Ok(Amount::Fixed(value as f64))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Amount, E> {
                Ok(Amount::Fixed(value))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Amount, A::Error> {
                Law::deserialize(MapAccessDeserializer::new(map)).map(Amount::Drawn)
            }
        }
        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        serde_json::from_str(text).unwrap()
    }

    fn mean(text: &str) -> f64 {
        let (amount, mut random) = (amount(text), Random::new(5));
        (0..20_000).map(|_| amount.draw(&mut random)).sum::<f64>() / 20_000.0
    }

    #[test]
    fn every_law_has_its_mean() {
        for text in [
            "30",
            r#"{"distribution": "constant", "value": 30}"#,
            r#"{"distribution": "uniform", "min": 10, "max": 50}"#,
            r#"{"distribution": "exponential", "average": 30}"#,
            r#"{"distribution": "lognormal", "average": 30, "median_ratio": 0.8}"#,
        ] {
            assert!((mean(text) - 30.0).abs() < 1.0, "{text}: {}", mean(text));
        }
        assert!(mean(r#"{"distribution": "exponential", "average": 30, "max": 40}"#) < 28.0);
    }

    #[test]
    fn a_lognormal_law_has_its_median() {
        let amount = amount(r#"{"distribution": "lognormal", "average": 100, "median_ratio": 0.5}"#);
        let mut random = Random::new(2);
        let below = (0..20_000).filter(|_| amount.draw(&mut random) < 50.0).count() as f64 / 20_000.0;
        assert!((below - 0.5).abs() < 0.02, "{below}");
    }

    #[test]
    fn whole_amounts_come_evenly_and_never_below_one() {
        let uniform = amount(r#"{"distribution": "uniform", "min": 2, "max": 5}"#);
        let mut random = Random::new(1);
        let mut counts = [0; 7];
        (0..4000).for_each(|_| counts[uniform.draw_whole(&mut random) as usize] += 1);
        assert_eq!((counts[0], counts[1], counts[6]), (0, 0, 0));
        assert!(counts[2..=5].iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!(Amount::Fixed(3.0).draw_whole(&mut random), 3);
        let few = amount(r#"{"distribution": "exponential", "average": 0.1}"#);
        assert!((0..100).all(|_| few.draw_whole(&mut random) == 1));
    }

    #[test]
    fn mistakes_are_told_of_the_law() {
        for (text, told) in [
            ("-1", "expected `value` to be a number of 0 or more, found -1"),
            (
                r#"{"distribution": "uniform", "min": 5, "max": 2}"#,
                "expected `min` to be at most `max` (2), found 5",
            ),
            (
                r#"{"distribution": "exponential", "average": 0}"#,
                "expected `average` to be a number above 0, found 0",
            ),
            (
                r#"{"distribution": "lognormal", "average": 1, "median_ratio": 1}"#,
                "expected `median_ratio` between 0 and 1, found 1",
            ),
        ] {
            assert_eq!(amount(text).mistakes(), [told], "{text}");
        }
        assert_eq!(
            amount("2.5").mistakes_whole(),
            ["expected `value` to be a whole number from 1 on, found 2.5"]
        );
        for (text, told) in [
            (r#"{"distribution": "zipf", "alpha": 2}"#, "unknown variant `zipf`"),
            (r#"{"distribution": "uniform", "min": 1}"#, "missing field `max`"),
            (r#""three""#, "expected a number, or a law such as"),
        ] {
            let error = serde_json::from_str::<Amount>(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
