//! Everything that the requests of a trial ask, made before the first of them is sent: [`Corpus`], from random text, the
//! files of a data set, or a mixture. An item depends on seed and index only, not on the load nor on how many there
//! are. Must not know how a request is built or sent.
//!
//! 语料：试验中所有请求的内容，事先确定。

mod file;
mod lengths;
mod library;
mod shared;
#[cfg(test)]
mod tests;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

pub use file::{Entry, File};
pub use lengths::Lengths;
pub(crate) use library::Library;
use shared::Shared;

use crate::perf::{
    prompt::{self, Asked, Content, Counted, Fitted, Stream, TokenCounter, Wanted},
    random::Random,
    schedule::Schedule,
    spec::{Layout, Source, Spec},
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
    /// How many of those ask one that was asked before.
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

/// Keep the streams of the choice, of the order and of the answers' lengths apart from those of the words.
const CHOICES: u64 = 0x6368_6f69_6365_7321;
const ORDER: u64 = 0x6f72_6465_7221_2121;
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
        let sources = Self::sources(spec);
        let an_epoch = schedule.epochs.first().map_or(0, |epoch| (epoch.warmup + epoch.measured) as usize);
        let mut drawers = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            drawers.push(
                Drawer::open(source, spec.seed, an_epoch, library)
                    .map_err(|message| at_source(index, "/path", message))?,
            );
        }
        let streams = streams(schedule);
        let chosen: Vec<usize> = streams.iter().map(|stream| choose(&sources, spec.seed, *stream)).collect();
        let drawn: Vec<Entry> = streams
            .iter()
            .zip(&chosen)
            .map(|(stream, source)| drawers[*source].draw(spec, *stream))
            .collect();
        let (mut texts, mut counted) = random_texts(spec, mark, &streams, &drawn, counter).await?;
        let mut items = Vec::new();
        for ((stream, source), entry) in streams.iter().zip(chosen).zip(drawn) {
            items.push(item(spec, *stream, source, entry, &mut texts)?);
        }
        lengths::measure(spec, &sources, &mut items, &mut counted, counter).await?;
        let origins = sources.iter().zip(drawers).map(|(source, drawer)| drawer.told(source)).collect();
        Ok(Self { items, counted, sources: origins })
    }

    /// What a case says, or what it leaves to us.
    fn sources(spec: &Spec) -> Vec<Source> {
        if !spec.dataset.is_empty() {
            return spec.dataset.clone();
        }
        vec![Source { name: None, layout: Layout::Random, path: None, weight: 1.0, shuffle: false }]
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

/// The streams in the order of sending: each epoch has its warm-up first.
fn streams(schedule: &Schedule) -> Vec<Stream> {
    let (mut warmup, mut measured) = (0.., 0..);
    let mut streams = Vec::new();
    for epoch in &schedule.epochs {
        streams.extend(warmup.by_ref().take(epoch.warmup as usize).map(Stream::Warmup));
        streams.extend(measured.by_ref().take(epoch.measured as usize).map(Stream::Measured));
    }
    streams
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
    found
}

fn at_source(index: usize, key: &str, message: String) -> Refused {
    Refused::new(format!("/dataset/{index}{key}"), message)
}

/// Which source a request is from: drawn by weight.
fn choose(sources: &[Source], seed: u64, stream: Stream) -> usize {
    let total: f64 = sources.iter().map(|source| source.weight).sum();
    let mut left = Random::stream(seed ^ CHOICES, stream.number()).unit() * total;
    sources
        .iter()
        .position(|source| {
            left -= source.weight;
            left <= 0.0
        })
        .unwrap_or(sources.len() - 1)
}

/// The texts of the items that only say how long they are, in their order.
async fn random_texts(
    spec: &Spec,
    mark: u64,
    streams: &[Stream],
    drawn: &[Entry],
    counter: &impl TokenCounter,
) -> Result<(std::vec::IntoIter<Fitted>, Counted), Refused> {
    let silent = streams.iter().zip(drawn).filter(|(_, entry)| entry.content.is_none());
    let asked: Vec<Asked> = silent
        .map(|(stream, entry)| Asked {
            stream: *stream,
            tokens: entry.input_tokens.unwrap_or(1),
            blocks: entry.blocks.clone(),
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

/// A source from which items are taken one after another.
struct Drawer {
    file: Option<std::sync::Arc<File>>,
    /// In which order the items of the file are asked.
    order: Vec<usize>,
    /// How many requests of a trace an epoch replays.
    an_epoch: Option<usize>,
    warmup: usize,
    measured: usize,
    shared: Shared,
}

impl Drawer {
    fn open(source: &Source, seed: u64, an_epoch: usize, library: &Library) -> Result<Self, String> {
        let file = source.path.as_ref().map(|path| library.file(path, source.layout)).transpose()?;
        let mut order: Vec<usize> = (0..file.as_ref().map_or(0, |file| file.entries.len())).collect();
        if source.shuffle {
            let mut random = Random::stream(seed ^ ORDER, 0);
            for end in (1..order.len()).rev() {
                order.swap(end, random.below(end + 1));
            }
        }
        let an_epoch = (source.layout == Layout::Trace).then_some(an_epoch.max(1));
        Ok(Self { file, order, an_epoch, warmup: 0, measured: 0, shared: Shared::default() })
    }

    /// The next item: measured ones from the beginning, the warm-up from the end, each over and over. A trace is asked
    /// as it was.
    fn draw(&mut self, spec: &Spec, stream: Stream) -> Entry {
        let so_far = self.warmup + self.measured;
        let number = if stream.is_warmup() { &mut self.warmup } else { &mut self.measured };
        let place = *number;
        *number += 1;
        let Some(file) = &self.file else {
            let asked =
                spec.input_len.map(|length| Asked::drawn(stream, length, spec.input_range, spec.seed));
            return Entry {
                content: None,
                input_tokens: asked.map(|asked| asked.tokens),
                output_len: None,
                blocks: Vec::new(),
            };
        };
        let place = match self.an_epoch {
            Some(requests) => so_far % requests,
            None if stream.is_warmup() => self.order.len() - 1 - place % self.order.len(),
            None => place % self.order.len(),
        };
        let entry = file.entries[self.order[place]].clone();
        self.shared.take(&entry);
        entry
    }

    fn told(self, source: &Source) -> Origin {
        let requests = self.warmup + self.measured;
        let items = self.file.as_ref().map(|file| file.entries.len());
        Origin {
            name: source.name().to_owned(),
            layout: source.layout,
            sha256: self.file.map(|file| file.sha256.clone()),
            items,
            requests,
            repeated: items.map_or(0, |items| requests.saturating_sub(items)),
            prefix_hit_ratio: self.shared.ratio(),
        }
    }
}

fn item(
    spec: &Spec,
    stream: Stream,
    source: usize,
    entry: Entry,
    texts: &mut impl Iterator<Item = Fitted>,
) -> Result<Item, Refused> {
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
