//! What requests ask for: how far lengths [`Spread`], and the [`Source`]s of a data set. Must not know how a prompt is
//! made or read.
//!
//! 请求内容：长度浮动范围与数据集来源。

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::perf::random::Random;

/// By how much a length may differ from the one that is named: each is drawn evenly between the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Share by which it may be longer, from 0 to 1.
    #[serde(default)]
    pub above: f64,
    /// Share by which it may be shorter, from 0 to below 1.
    #[serde(default)]
    pub below: f64,
}

impl Spread {
    /// The smallest and the largest length; never below 1.
    pub fn bounds(self, length: u32) -> (u32, u32) {
        // A tenth more than 200 is 220, and not the 221 that the last bit of a product would make of it.
        const ROUNDING: f64 = 1e-6;
        let length = f64::from(length);
        let low = (length * (1.0 - self.below) + ROUNDING).floor().max(1.0);
        // `as` takes what is too large for the largest there is.
        (low as u32, (length * (1.0 + self.above) - ROUNDING).ceil() as u32)
    }

    /// One of them.
    pub(crate) fn draw(self, length: u32, random: &mut Random) -> u32 {
        let (low, high) = self.bounds(length);
        low + u32::try_from(random.below((high - low) as usize + 1)).unwrap_or(0)
    }

    /// Whether all lengths are the same.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A tokenizer's file, which counts where the server does not.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerFile {
    /// `tokenizer.json` of Hugging Face, or the model's folder that it lies in, relative to the folder that `cases/` lies
    /// in. It counts the text of a prompt, without a chat template. Needs a build with the feature `tokenizers`.
    #[schemars(with = "String")]
    pub file: Utf8PathBuf,
}

/// Where some of the requests come from.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What its figures are told under. Default: the layout's name; with several of one layout each needs a name.
    #[serde(default)]
    pub name: Option<String>,
    /// How its file is written.
    pub layout: Layout,
    /// The file, relative to the folder that `cases/` lies in; none for random text.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub path: Option<Utf8PathBuf>,
    /// Its share of the requests, in proportion to the others' weights.
    #[serde(default = "one")]
    pub weight: f64,
    /// Take the items in an order drawn by the seed, instead of the file's.
    #[serde(default)]
    pub shuffle: bool,
}

fn one() -> f64 {
    1.0
}

impl Source {
    /// What its figures are told under.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.layout.name())
    }
}

/// How a file of a data set is written. Keys that are not named here are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// No file: seeded text of `input_len` tokens.
    Random,
    /// A line an item: `{"prompt": text}` or `{"messages": […]}`, optionally with `output_len` and `input_tokens`.
    Custom,
    /// An array of `{"conversations": [{"from": "human", "value": text}, {"from": "gpt", …}]}`: each asks its first turn.
    Sharegpt,
    /// An array of `{"instruction": text, "input": text}`.
    Alpaca,
    /// A line an item: `{"context": text, "input": text}`.
    Longbench,
    /// A line a request: `{"timestamp": milliseconds, "input_length": tokens, "output_length": tokens}`, asked with random
    /// text, or with `prompt` or `messages` instead of the input's length. Only with `control_method: {trace: …}`. With
    /// `hash_ids`, Mooncake's blocks of 512 tokens, the same id is the same text in every prompt.
    Trace,
}

impl Layout {
    /// Its name in reports and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Custom => "custom",
            Self::Sharegpt => "sharegpt",
            Self::Alpaca => "alpaca",
            Self::Longbench => "longbench",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_reaches_both_ends_and_nothing_beyond() {
        let spread = Spread { above: 0.1, below: 0.5 };
        assert_eq!(spread.bounds(10), (5, 11));
        assert_eq!(Spread { above: 0.1, below: 0.1 }.bounds(200), (180, 220));
        let mut random = Random::new(3);
        let drawn: Vec<u32> = (0..500).map(|_| spread.draw(10, &mut random)).collect();
        for length in 5..=11 {
            assert!(drawn.contains(&length), "{length} never came");
        }
        assert!(drawn.iter().all(|length| (5..=11).contains(length)));
    }

    #[test]
    fn without_a_spread_every_length_is_the_one_that_is_named() {
        assert_eq!(Spread::default().draw(7, &mut Random::new(1)), 7);
        assert_eq!(Spread { above: 0.0, below: 0.99 }.bounds(1), (1, 1));
    }
}
