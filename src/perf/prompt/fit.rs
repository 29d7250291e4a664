//! Brings a text to a number of tokens by another's count: [`Fit`]. Must not know who counts.
//!
//! 按计数结果把文本调整到指定 token 数。

use super::{
    Content, TokenCounter,
    words::{Words, tokens_per_word},
};
use crate::perf::spec::Language;

/// How many counts one text may cost before what was found is taken.
const PATIENCE: usize = 24;
/// Pieces that are one token for most tokenizers, to close a gap that whole words leave.
const FILLERS: [&str; 6] = [" a", " the", ".", ",", "!", "的"];

/// Looks for the number of words that gives the wanted number of tokens.
pub(super) struct Fit<'a, C> {
    /// What the text begins with.
    pub(super) before: &'a str,
    /// Where its words come from.
    pub(super) words: &'a mut Words,
    /// In which language.
    pub(super) language: Language,
    /// Who counts.
    pub(super) counter: &'a C,
    /// Tokens of the whole.
    pub(super) tokens: u64,
}

impl<C: TokenCounter> Fit<'_, C> {
    /// The longest text found of at most the wanted length, and its count; a count above the wanted one where
    /// even one word is too long.
    pub(super) async fn run(self) -> Result<(String, u64), String> {
        let first = self.words.text(self.before, 1);
        let count = self.count(&first).await?;
        let mut best = (first, count);
        let (mut low, mut low_count) = (1_usize, best.1);
        let mut high: Option<(usize, u64)> = None;
        let mut spent = 1;
        while best.1 < self.tokens && spent < PATIENCE && high.is_none_or(|(high, _)| high > low + 1) {
            let at = self.guess(low, low_count, high);
            let text = self.words.text(self.before, at);
            let count = self.count(&text).await?;
            spent += 1;
            if count > self.tokens {
                high = Some((at, count));
            } else {
                (low, low_count) = (at, count);
                best = (text, count);
            }
        }
        if best.1 < self.tokens { self.fill(best, spent).await } else { Ok(best) }
    }

    async fn count(&self, text: &str) -> Result<u64, String> {
        self.counter.count(&Content::Text(text.to_owned())).await
    }

    /// Between the bounds, where a straight line through them meets the wanted count.
    fn guess(&self, low: usize, low_count: u64, high: Option<(usize, u64)>) -> usize {
        let missing = (self.tokens - low_count) as f64;
        match high {
            None => low + ((missing / tokens_per_word(self.language)).round() as usize).max(1),
            Some((high, high_count)) => {
                let share = missing / (high_count - low_count) as f64;
                (low + (share * (high - low) as f64).round() as usize).clamp(low + 1, high - 1)
            }
        }
    }

    /// Closes what whole words leave open, a piece at a time.
    async fn fill(&self, mut best: (String, u64), mut spent: usize) -> Result<(String, u64), String> {
        let mut fillers = FILLERS.iter().cycle();
        let mut refused = 0;
        while best.1 < self.tokens && spent < 2 * PATIENCE && refused < FILLERS.len() {
            let Some(filler) = fillers.next() else { break };
            let text = format!("{}{filler}", best.0);
            let count = self.count(&text).await?;
            spent += 1;
            if count > best.1 && count <= self.tokens {
                best = (text, count);
                refused = 0;
            } else {
                refused += 1;
            }
        }
        Ok(best)
    }
}
