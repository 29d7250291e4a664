//! How long prompts are: [`measure`] counts those that nobody has counted and holds them against the case, [`Lengths`]
//! tells of them. Must not know how they came about.
//!
//! 提示词长度的统计与核对。

use serde::Serialize;

use super::{Content, Counted, File, Item, Refused, at_source, counts};
use crate::perf::{
    prompt::TokenCounter,
    quantile::Sorted,
    spec::{Layout, Source, Spec},
};

/// Tokens of prompts; null where nobody counted all of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengths {
    /// How many prompts.
    pub n: usize,
    /// The shortest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The mean.
    pub mean: f64,
    /// The longest.
    pub max: f64,
}

impl Lengths {
    /// Of these; nothing where there is none, or one was not counted.
    pub fn of(tokens: impl Iterator<Item = Option<u64>>) -> Option<Self> {
        let counted: Vec<f64> = tokens.map(|count| count.map(|count| count as f64)).collect::<Option<_>>()?;
        let sorted = Sorted::new(counted);
        Some(Self {
            n: sorted.len(),
            min: sorted.min()?,
            p50: sorted.quantile(0.5)?,
            mean: sorted.mean()?,
            max: sorted.max()?,
        })
    }
}

/// Counts the items of files that do not say themselves how long they are, and holds all of them against `input_len`.
pub(super) async fn measure(
    spec: &Spec,
    sources: &[Source],
    items: &mut [Item],
    counted: &mut Counted,
    counter: &impl TokenCounter,
) -> Result<(), Refused> {
    // What a trace has no text for was brought to its length, like other random text.
    let of_file = |item: &Item| !matches!(sources[item.source].layout, Layout::Random | Layout::Trace);
    if !items.iter().any(of_file) {
        return Ok(());
    }
    let unknown = |item: &&Item| of_file(item) && item.tokens.is_none();
    let contents: Vec<&Content> = items.iter().filter(unknown).map(|item| &item.content).collect();
    if contents.is_empty() {
        if items.iter().all(of_file) {
            *counted = Counted::Recorded;
        }
    } else {
        match counts(&contents, counter).await {
            Ok(found) => {
                let unknown = items.iter_mut().filter(|item| unknown(&&**item));
                for (item, count) in unknown.zip(found) {
                    item.tokens = Some(count);
                }
            }
            Err(reason) => *counted = Counted::Estimated { reason },
        }
    }
    items.iter().filter(|item| of_file(item)).try_for_each(|item| fits(spec, item))
}

/// An item whose length nobody knows fits.
fn fits(spec: &Spec, item: &Item) -> Result<(), Refused> {
    match (spec.input_len, item.tokens) {
        (Some(asked), Some(found)) => {
            fit(spec, asked, found).map_err(|message| at_source(item.source, "/path", message))
        }
        _ => Ok(()),
    }
}

/// An item of a file that says itself that it has another length than the case says, where there is one.
pub(super) fn mistake(spec: &Spec, file: &File) -> Option<String> {
    let asked = spec.input_len?;
    file.entries.iter().filter_map(|entry| entry.input_tokens).find_map(|found| fit(spec, asked, found).err())
}

/// Whether an item of `found` tokens is one of `asked`.
fn fit(spec: &Spec, asked: u32, found: u64) -> Result<(), String> {
    let (low, high) = spec.input_range.bounds(asked);
    if (u64::from(low)..=u64::from(high)).contains(&found) {
        return Ok(());
    }
    let wanted = if low == high { low.to_string() } else { format!("from {low} to {high}") };
    Err(format!(
        "input_len {asked}: expected every item to have {wanted} tokens, found one of {found}; make a data set of that \
         length (`vllm-cibench dataset generate`), or leave input_len out"
    ))
}
