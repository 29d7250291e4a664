//! Which item of which source each request asks: [`Choice`], by weight and order, a conversation as a whole. Must not know
//! what items say.
//!
//! 请求与数据源条目的对应。

use std::sync::Arc;

use super::{Entry, File, Library, Origin, Refused, at_source, shared::Shared};
use crate::perf::{
    prompt::{Asked, Stream},
    random::Random,
    schedule::Schedule,
    spec::{Layout, Source, Spec},
};

/// Keep the streams of the choice, of the order and of the turns apart from those of the words.
const CHOICES: u64 = 0x6368_6f69_6365_7321;
const ORDER: u64 = 0x6f72_6465_7221_2121;
const TURNS: u64 = 0x7475_726e_7321_2121;

/// The sources of a case, of which items are taken one after another.
pub(super) struct Choice<'a> {
    spec: &'a Spec,
    pub(super) sources: Vec<Source>,
    drawers: Vec<Drawer>,
}

/// What one request asks, as far as it is known without a text.
pub(super) struct Drawn {
    /// Which request it is.
    pub(super) stream: Stream,
    /// Its place in its conversation, from 0.
    pub(super) turn: usize,
    /// Which source it is from.
    pub(super) source: usize,
    /// What it asks.
    pub(super) entry: Entry,
}

impl<'a> Choice<'a> {
    /// Opens them; `an_epoch` is how many requests a repetition has.
    pub(super) fn open(spec: &'a Spec, an_epoch: usize, library: &Library) -> Result<Self, Refused> {
        let sources = if spec.dataset.is_empty() {
            // What a case leaves to us.
            vec![Source { name: None, layout: Layout::Random, path: None, weight: 1.0, shuffle: false }]
        } else {
            spec.dataset.clone()
        };
        let mut drawers = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            drawers.push(
                Drawer::open(source, spec.seed, an_epoch, library)
                    .map_err(|message| at_source(index, "/path", message))?,
            );
        }
        Ok(Self { spec, sources, drawers })
    }

    /// What every request of `schedule` asks, in order.
    pub(super) fn all(&mut self, schedule: &Schedule) -> Vec<Drawn> {
        let (mut warmup, mut measured) = (0.., 0..);
        let (mut warm_talks, mut measured_talks) = (0.., 0..);
        let mut drawn = Vec::new();
        for epoch in &schedule.epochs {
            let warm = warmup.by_ref().take(epoch.warmup as usize).map(Stream::Warmup);
            let mut streams =
                warm.chain(measured.by_ref().take(epoch.measured as usize).map(Stream::Measured));
            let Some(conversations) = &epoch.conversations else {
                drawn.extend(streams.map(|stream| self.one(stream)));
                continue;
            };
            for (think_ns, number) in conversations.think_ns.iter().zip(0..) {
                let stream = match number < conversations.warmup {
                    true => warm_talks.next().map(Stream::Warmup),
                    false => measured_talks.next().map(Stream::Measured),
                };
                let own = streams.by_ref().take(think_ns.len());
                if let Some(stream) = stream {
                    drawn.extend(self.conversation(stream, own));
                }
            }
        }
        drawn
    }

    /// What a request that stands alone asks.
    fn one(&mut self, stream: Stream) -> Drawn {
        let (source, taken) = self.take(stream);
        let entry =
            taken.map_or_else(|| random(self.spec, stream), |(file, place)| file.entries[place].turn(0));
        self.drawers[source].told_of(&entry);
        Drawn { stream, turn: 0, source, entry }
    }

    /// What the turns of a conversation ask, whose number is that of `stream`.
    fn conversation(&mut self, stream: Stream, turns: impl Iterator<Item = Stream>) -> Vec<Drawn> {
        let (source, taken) = self.take(stream);
        let spec = self.spec;
        let entry = |turn: usize, stream: Stream| match &taken {
            Some((file, place)) => file.entries[*place].turn(turn),
            None => random(spec, stream),
        };
        let drawn =
            turns.zip(0..).map(|(stream, turn)| Drawn { stream, turn, source, entry: entry(turn, stream) });
        let drawn: Vec<Drawn> = drawn.collect();
        drawn.iter().for_each(|one| self.drawers[source].told_of(&one.entry));
        drawn
    }

    /// Takes the next item; nothing of a source that is random text.
    fn take(&mut self, stream: Stream) -> (usize, Option<(Arc<File>, usize)>) {
        let source = choose(&self.sources, self.spec.seed, stream);
        let drawer = &mut self.drawers[source];
        let place = drawer.place(stream);
        (source, drawer.file.clone().zip(place))
    }

    /// What was taken.
    pub(super) fn told(self) -> Vec<Origin> {
        self.sources.iter().zip(self.drawers).map(|(source, drawer)| drawer.told(source)).collect()
    }
}

/// Of how many turns each conversation is, asked one after another in the order of sending.
pub(crate) fn turns(spec: &Spec, library: &Library) -> impl FnMut(Stream) -> u32 {
    // A file that cannot be read is told where its items are wanted.
    let mut choice = Choice::open(spec, 0, library).ok();
    move |stream| {
        let mut random = Random::stream(spec.seed ^ TURNS, stream.number());
        let asked = spec.conversation.and_then(|talk| talk.turns).map(|turns| turns.draw_whole(&mut random));
        let taken = choice.as_mut().and_then(|choice| choice.take(stream).1);
        let there = taken.map(|(file, place)| file.entries[place].turns());
        [asked, there].into_iter().flatten().min().unwrap_or(1)
    }
}

/// A request of random text.
fn random(spec: &Spec, stream: Stream) -> Entry {
    let asked = spec.input_len.map(|length| Asked::drawn(stream, length, spec.input_range, spec.seed));
    Entry::of_length(asked.map(|asked| asked.tokens))
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

/// A source from which items are taken one after another.
struct Drawer {
    file: Option<Arc<File>>,
    /// In which order the items of the file are asked.
    order: Vec<usize>,
    /// How many requests of a trace an epoch replays.
    an_epoch: Option<usize>,
    warmup: usize,
    measured: usize,
    requests: usize,
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
        Ok(Self { file, order, an_epoch, warmup: 0, measured: 0, requests: 0, shared: Shared::default() })
    }

    /// The next item of the file: measured ones from its beginning, the warm-up from its end, each over and over. A trace
    /// is asked as it was.
    fn place(&mut self, stream: Stream) -> Option<usize> {
        let so_far = self.warmup + self.measured;
        let number = if stream.is_warmup() { &mut self.warmup } else { &mut self.measured };
        let place = *number;
        *number += 1;
        let place = match self.an_epoch {
            _ if self.order.is_empty() => return None,
            Some(requests) => so_far % requests,
            None if stream.is_warmup() => self.order.len() - 1 - place % self.order.len(),
            None => place % self.order.len(),
        };
        Some(self.order[place])
    }

    /// A request asks this.
    fn told_of(&mut self, entry: &Entry) {
        self.requests += 1;
        self.shared.take(entry);
    }

    fn told(self, source: &Source) -> Origin {
        let items = self.file.as_ref().map(|file| file.entries.len());
        Origin {
            name: source.name().to_owned(),
            layout: source.layout,
            sha256: self.file.map(|file| file.sha256.clone()),
            items,
            requests: self.requests,
            repeated: items.map_or(0, |items| (self.warmup + self.measured).saturating_sub(items)),
            prefix_hit_ratio: self.shared.ratio(),
        }
    }
}
