//! What a prefix cache without an end would find of prompts that consist of named blocks: [`Shared`]. Must not know what
//! the blocks say, nor any server's cache.
//!
//! 由块序列计算理论前缀命中率。

use std::collections::HashMap;

use super::Entry;
use crate::perf::prompt::BLOCK;

/// The prompts so far, as a tree of their blocks.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The node behind a node, by the block that leads to it; 0 is the beginning of every prompt.
    next: HashMap<(usize, u64), usize>,
    tokens: u64,
    known: u64,
}

impl Shared {
    /// Takes the next prompt; one without blocks is passed over.
    pub(super) fn take(&mut self, entry: &Entry) {
        let (Some(tokens), false) = (entry.input_tokens, entry.blocks.is_empty()) else { return };
        self.tokens += tokens;
        let (mut at, mut left) = (0, tokens);
        for id in &entry.blocks {
            let fresh = self.next.len() + 1;
            let node = *self.next.entry((at, *id)).or_insert(fresh);
            if node != fresh {
                self.known += left.min(BLOCK);
            }
            (at, left) = (node, left.saturating_sub(BLOCK));
        }
    }

    /// Which share of the prompts' tokens an earlier one began with; nothing where none has blocks.
    pub(super) fn ratio(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.known as f64 / self.tokens as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(prompts: &[(u64, &[u64])]) -> Option<f64> {
        let mut shared = Shared::default();
        for (tokens, blocks) in prompts {
            let blocks = blocks.to_vec();
            shared.take(&Entry { blocks, ..Entry::of_length(Some(*tokens)) });
        }
        shared.ratio()
    }

    #[test]
    fn a_block_is_known_behind_the_same_blocks_only() {
        assert_eq!(ratio(&[(1024, &[0, 1]), (1024, &[0, 2]), (1024, &[3, 1])]), Some(512.0 / 3072.0));
        assert_eq!(ratio(&[(600, &[0, 1]), (600, &[0, 1])]), Some(0.5));
        assert_eq!(ratio(&[(600, &[])]), None, "a prompt without blocks shares none that we know");
    }
}
