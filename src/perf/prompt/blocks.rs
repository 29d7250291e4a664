//! Prompts that begin alike because their recording says so: [`Blocks`] holds one text for each block of tokens, whoever
//! asks for it. Must not know who does, nor when.
//!
//! 按 hash id 生成的共享 token 块。

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, Asked, Content, Stream, TokenCounter, Wanted, fit::Fit, words::Words};

/// Tokens of a block in the traces of Mooncake (FAST 25), which name the blocks of every prompt.
pub const BLOCK: u64 = 512;

/// A block, and whether a prompt begins with it: what the server puts before the text is part of that one.
type Place = (u64, bool);

/// The texts of all blocks that something follows.
#[derive(Debug, Default)]
pub(super) struct Blocks(HashMap<Place, String>);

impl Blocks {
    /// Makes those of `asked`, each of [`BLOCK`] tokens by the count of `counter`.
    ///
    /// # Errors
    /// Why nobody counts.
    pub(super) async fn counted(
        wanted: &Wanted,
        asked: &[Asked],
        counter: &impl TokenCounter,
    ) -> Result<Self, String> {
        let places = places(asked);
        if places.is_empty() {
            return Ok(Self::default());
        }
        let around = counter.count(&Content::Text(String::new())).await?;
        let one = |(id, first): Place| async move {
            let mut words = Words::new(wanted, Stream::Block(id));
            let tokens = if first { BLOCK } else { BLOCK + around };
            let fit = Fit { before: "", words: &mut words, language: wanted.language, counter, tokens };
            fit.run().await.map(|(text, _)| ((id, first), text))
        };
        let all: Vec<_> = places.into_iter().map(one).collect();
        let mut made = stream::iter(all).buffered(AT_ONCE);
        let mut blocks = HashMap::new();
        while let Some(one) = made.next().await {
            let (place, text) = one?;
            blocks.insert(place, text);
        }
        Ok(Self(blocks))
    }

    /// The same where nobody counts.
    pub(super) fn estimated(wanted: &Wanted, asked: &[Asked]) -> Self {
        let words = wanted.estimated_words(BLOCK);
        let made = |place: Place| (place, Words::new(wanted, Stream::Block(place.0)).text("", words));
        Self(places(asked).into_iter().map(made).collect())
    }

    /// What stands before the last part of a prompt.
    pub(super) fn before(&self, asked: &Asked) -> String {
        followed(asked).filter_map(|place| self.0.get(&place)).map(String::as_str).collect()
    }
}

impl Asked {
    /// Which words its last part consists of: those of the block that it is the beginning of, else its own.
    pub(super) fn tail(&self) -> Stream {
        let last = self.blocks.last().filter(|_| self.blocks.len() as u64 * BLOCK >= self.tokens);
        last.map_or(self.stream, |id| Stream::Block(*id))
    }
}

/// The blocks of a prompt that something follows, in order.
fn followed(asked: &Asked) -> impl Iterator<Item = Place> {
    let whole = asked.tokens.saturating_sub(1) / BLOCK;
    let ids = asked.blocks.iter().take(usize::try_from(whole).unwrap_or(usize::MAX));
    ids.zip(0..).map(|(id, at)| (*id, at == 0))
}

fn places(asked: &[Asked]) -> BTreeSet<Place> {
    asked.iter().flat_map(followed).collect()
}
