//! Everything that the requests of a trial ask, made before the first of them is sent: [`Corpus`], from random text, the
//! files of a data set, or a mixture. An item depends on seed and index only, not on the load nor on how many there
//! are. Must not know how a request is built or sent.
//!
//! 语料：试验中所有请求的内容，事先确定。

mod choice;
mod file;
mod lengths;
mod library;
mod shared;
#[cfg(test)]
mod tests;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

pub(crate) use choice::turns;
use choice::{Choice, Drawn};
pub use file::{Entry, File};
pub use lengths::Lengths;
pub(crate) use library::Library;

use crate::perf::{
    prompt::{self, Asked, Content, Counted, CountedBy, Fitted, TokenCounter, Wanted},
    random::Random,
    schedule::Schedule,
    spec::{Layout, Spec},
};

/// What one request asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What it says.
    pub content: Content,
    /// Its tokens, where they were counted or recorded.
    pub tokens: Option<u64>,
    /// How many tokens it asks for.
    pub output_len: u32,
    /// Which of the corpus' sources it is from.
    pub source: usize,
}

/// What all requests ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    /// One a request, in the order of sending.
    pub items: Vec<Item>,
    /// How sure lengths are.
    pub counted: Counted,
    /// Who counted, where somebody did.
    pub by: CountedBy,
    /// Where the items are from.
    pub sources: Vec<Origin>,
}

/// One source, and what was taken of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// What its figures are told under.
    pub name: String,
    /// How it is written.
    pub layout: Layout,
    /// SHA-256 of its file, hex; null of random text.
    pub sha256: Option<String>,
    /// How many items it has; null of random text, which has no end.
    pub items: Option<usize>,
    /// How many requests ask one of them.
    pub requests: usize,
    /// How many of those ask one that was asked before; of conversations: how many of them.
    pub repeated: usize,
    /// Which share of their tokens a prefix cache without an end would know, by the blocks that a trace names; null
    /// where it names none.
    pub prefix_hit_ratio: Option<f64>,
}

/// Why there can be no corpus: a JSON pointer into the case, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where the case says so.
    pub pointer: String,
    /// What was expected and found.
    pub message: String,
}

impl Refused {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// Keeps the stream of the answers' lengths apart from those of the words.
const OUTPUTS: u64 = 0x6f75_7470_7574_7321;
/// How many items are counted at once.
const AT_ONCE: usize = 8;

impl Corpus {
    /// Makes it for every request of `schedule`. `mark` is that of [`Wanted`].
    ///
    /// # Errors
    /// A file that cannot be read, an item of another length than the case says, a length that cannot be reached.
    pub(crate) async fn of(
        spec: &Spec,
        schedule: &Schedule,
        mark: u64,
        library: &Library,
        counter: &impl TokenCounter,
    ) -> Result<Self, Refused> {
        let an_epoch = schedule.epochs.first().map_or(0, |epoch| (epoch.warmup + epoch.measured) as usize);
        let mut choice = Choice::open(spec, an_epoch, library)?;
        let drawn = choice.all(schedule);
        let (mut texts, mut counted) = random_texts(spec, mark, &drawn, counter).await?;
        let mut items = Vec::new();
        for drawn in drawn {
            items.push(item(spec, drawn, &mut texts)?);
        }
        lengths::measure(spec, &choice.sources, &mut items, &mut counted, counter).await?;
        let by = match counted {
            Counted::Exact | Counted::Near { .. } => counter.by(),
            Counted::Recorded | Counted::Estimated { .. } => CountedBy::Nobody,
        };
        Ok(Self { items, counted, by, sources: choice.told() })
    }

    /// What identifies it: everything that is asked, in order.
    pub fn sha256(&self) -> String {
        let said = self.items.iter().map(|item| match &item.content {
            Content::Text(text) => text.clone(),
            Content::Messages(messages) => serde_json::Value::from(messages.clone()).to_string(),
        });
        crate::workload::sha256_hex(said.collect::<Vec<_>>().join("\n").as_bytes())
    }

    /// Whether prompts begin alike because a recording says so.
    pub fn shares_prefixes(&self) -> bool {
        self.sources.iter().any(|source| source.prefix_hit_ratio.is_some())
    }

    /// How long the items of a source are, or all of them.
    pub fn lengths(&self, source: Option<usize>) -> Option<Lengths> {
        let of = self.items.iter().filter(|item| source.is_none_or(|source| item.source == source));
        Lengths::of(of.map(|item| item.tokens))
    }
}

/// When the requests of a trace are due, in nanoseconds after the first; nothing where the case replays none.
pub(crate) fn arrivals(spec: &Spec, library: &Library) -> Vec<u64> {
    let traced = spec.dataset.iter().find(|source| source.layout == Layout::Trace);
    let path = traced.and_then(|source| source.path.as_ref());
    // A file that cannot be read is told where its items are wanted.
    let file = path.and_then(|path| library.file(path, Layout::Trace).ok());
    file.map_or(Vec::new(), |file| file.arrivals_ns.clone())
}

/// What can be said of the files of a case before anything is asked of a server.
pub(crate) fn mistakes(spec: &Spec, library: &Library) -> Vec<Refused> {
    let mut found = Vec::new();
    for (index, source) in spec.dataset.iter().enumerate() {
        let Some(path) = &source.path else { continue };
        match library.file(path, source.layout) {
            Err(message) => found.push(at_source(index, "/path", message)),
            Ok(file) => {
                found.extend(lengths::mistake(spec, &file).map(|message| at_source(index, "/path", message)))
            }
        }
    }
    if let Some(tokenizer) = &spec.tokenizer
        && let Err(message) = library.tokenizer(&tokenizer.file)
    {
        found.push(Refused::new("/tokenizer/file", message));
    }
    found
}

fn at_source(index: usize, key: &str, message: String) -> Refused {
    Refused::new(format!("/dataset/{index}{key}"), message)
}

/// The texts of the items that only say how long they are, in their order.
async fn random_texts(
    spec: &Spec,
    mark: u64,
    drawn: &[Drawn],
    counter: &impl TokenCounter,
) -> Result<(std::vec::IntoIter<Fitted>, Counted), Refused> {
    let silent = drawn.iter().filter(|drawn| drawn.entry.content.is_none());
    let asked: Vec<Asked> = silent
        .map(|drawn| Asked {
            stream: drawn.stream,
            tokens: drawn.entry.input_tokens.unwrap_or(1),
            blocks: drawn.entry.blocks.clone(),
            follows: drawn.turn > 0,
        })
        .collect();
    if asked.is_empty() {
        return Ok((Vec::new().into_iter(), Counted::Exact));
    }
    let wanted = Wanted { prefix: spec.prefix_len, language: spec.language, seed: spec.seed, mark };
    let made = prompt::prepare(wanted, asked, counter).await;
    let made = made.map_err(|message| Refused::new("/input_len", message))?;
    Ok((made.texts.into_iter(), made.counted))
}

fn item(spec: &Spec, drawn: Drawn, texts: &mut impl Iterator<Item = Fitted>) -> Result<Item, Refused> {
    let Drawn { stream, source, entry, .. } = drawn;
    let drawn = spec.output_len.map(|length| {
        spec.output_range.draw(length, &mut Random::stream(spec.seed ^ OUTPUTS, stream.number()))
    });
    let Some(output_len) = drawn.or(entry.output_len) else {
        let message = "expected `output_len` in the case: an item of the data set does not say how many tokens it asks \
                       for";
        return Err(at_source(source, "", message.to_owned()));
    };
    let (content, tokens) = match entry.content {
        Some(content) => (content, entry.input_tokens),
        None => {
            let fitted = texts.next().unwrap_or(Fitted { text: String::new(), tokens: None });
            (Content::Text(fitted.text), fitted.tokens)
        }
    };
    Ok(Item { content, tokens, output_len, source })
}

/// The counts of `contents`, in their order, or why there are none.
async fn counts(contents: &[&Content], counter: &impl TokenCounter) -> Result<Vec<u64>, String> {
    let all: Vec<_> = contents.iter().map(|content| counter.count(content)).collect();
    let mut asked = stream::iter(all).buffered(AT_ONCE);
    let mut counts = Vec::new();
    while let Some(count) = asked.next().await {
        counts.push(count?);
    }
    Ok(counts)
}
