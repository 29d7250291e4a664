//! Prompts of a wanted length: seeded Chinese and English text, made before the run. [`prepare`] fits each to
//! the server's own count, or to that of a tokenizer's file ([`Counter`]), and says so where nobody counts. Must not know
//! how they are sent.
//!
//! 提示词：按种子生成、长度由服务器分词器校准的中英文文本。

mod blocks;
mod fit;
#[cfg(test)]
mod tests;
mod tokenize;
mod tokenizer;
mod words;

use std::future::Future;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};

use crate::perf::{
    random::Random,
    spec::{Endpoint, Language, Spread},
};
pub use blocks::BLOCK;
use blocks::Blocks;
use fit::Fit;
pub use tokenize::ServerCount;
pub use tokenizer::{CountingFile, FileCount, FileCounter};
pub use words::Stream;
use words::{Words, tokens_per_word};

/// What a request asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A text: a chat's only message, or a completion's prompt.
    Text(String),
    /// The messages of a chat.
    Messages(Vec<Value>),
}

impl Content {
    /// As a chat carries it.
    pub fn messages(&self) -> Vec<Value> {
        match self {
            Self::Text(text) => vec![json!({"role": "user", "content": text})],
            Self::Messages(messages) => messages.clone(),
        }
    }

    /// What is said, without who says it.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Messages(messages) => {
                let said = messages.iter().filter_map(|message| message["content"].as_str());
                said.collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// Counts the tokens that a prompt has for the server.
pub trait TokenCounter: Sync {
    /// The count; or why there is none, as a sentence.
    fn count(&self, content: &Content) -> impl Future<Output = Result<u64, String>> + Send;

    /// Who that is.
    fn by(&self) -> CountedBy {
        CountedBy::Server
    }
}

/// Who counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The server's `/tokenize`.
    Server,
    /// A tokenizer's file.
    File(CountingFile),
    /// Nobody.
    Nobody,
}

/// The server, or a tokenizer's file where the server does not count.
pub enum Counter<'a> {
    /// See [`ServerCount`].
    Server(ServerCount<'a>),
    /// See [`FileCounter`].
    File(FileCounter<'a>),
}

impl<'a> Counter<'a> {
    /// The server, where it counts or there is no `file`. Which of them it is does not change from prompt to prompt.
    ///
    /// # Errors
    /// In words: somebody asked for the chat template to be counted, and the server does not count.
    pub async fn of(
        server: ServerCount<'a>,
        file: Option<&'a FileCount>,
        template_is_asked: bool,
    ) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Server(server)) };
        let Err(why) = server.count(&Content::Text("a".to_owned())).await else {
            return Ok(Self::Server(server));
        };
        let chats = server.endpoint == Endpoint::Chat;
        if chats && template_is_asked {
            return Err(format!(
                "the chat template was to be counted, the server does not count ({why}), and a tokenizer's file has no \
                 template: ask for `count_template: false`"
            ));
        }
        Ok(Self::File(file.counting(!chats && server.template)))
    }
}

impl TokenCounter for Counter<'_> {
    async fn count(&self, content: &Content) -> Result<u64, String> {
        match self {
            Self::Server(server) => server.count(content).await,
            Self::File(file) => file.count(content).await,
        }
    }

    fn by(&self) -> CountedBy {
        match self {
            Self::Server(server) => server.by(),
            Self::File(file) => file.by(),
        }
    }
}

/// Nobody counts.
#[derive(Debug, Clone, Copy)]
pub struct NoCount(
    /// Why.
    pub &'static str,
);

impl TokenCounter for NoCount {
    async fn count(&self, _: &Content) -> Result<u64, String> {
        Err(self.0.to_owned())
    }

    fn by(&self) -> CountedBy {
        CountedBy::Nobody
    }
}

/// Who says how long a prompt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Somebody ([`CountedBy`]), and every prompt has the wanted length.
    Exact,
    /// Somebody; so many prompts could only be brought near the wanted length, being at most so many short.
    Near {
        /// How many prompts.
        prompts: usize,
        /// The largest distance in tokens.
        short_by: u64,
    },
    /// The data set itself: each item says how long it is.
    Recorded,
    /// Nobody: the length is what the language's average says.
    Estimated {
        /// Why the server could not be asked.
        reason: String,
    },
}

/// A prompt of random text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The text.
    pub text: String,
    /// Its tokens as they were counted; nothing where nobody counts.
    pub tokens: Option<u64>,
}

/// Prompts of random text, and how sure their length is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// One a stream.
    pub texts: Vec<Fitted>,
    /// How sure their length is.
    pub counted: Counted,
}

/// What prompts are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// So many tokens at their beginning are the same in all of them; they are part of the length.
    pub prefix: u32,
    /// In which language.
    pub language: Language,
    /// Of everything random in them. A prompt depends on seed and stream only, not on how many there are.
    pub seed: u64,
    /// Draws the first words of every prompt, and nothing else: two trials ask the same at every load, and yet
    /// neither finds the other's prompts in the server's prefix cache.
    pub mark: u64,
}

impl Wanted {
    fn estimated_words(&self, tokens: u64) -> usize {
        ((tokens as f64 / tokens_per_word(self.language)).round() as usize).max(1)
    }
}

/// One prompt that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which one.
    pub stream: Stream,
    /// How many tokens it is to have.
    pub tokens: u64,
    /// The blocks of [`BLOCK`] tokens that it consists of, the last one perhaps of fewer; none where it shares none.
    /// The same block is the same text in all prompts.
    pub blocks: Vec<u64>,
    /// It follows others in a conversation, of which the common prefix is the beginning already.
    pub follows: bool,
}

impl Asked {
    /// One of about `tokens`, drawn by `seed` from as far as `spread` allows.
    pub fn drawn(stream: Stream, tokens: u32, spread: Spread, seed: u64) -> Self {
        let mut random = Random::stream(seed ^ LENGTHS, stream.number());
        Self {
            stream,
            tokens: u64::from(spread.draw(tokens, &mut random)),
            blocks: Vec::new(),
            follows: false,
        }
    }
}

impl Asked {
    fn prefixed<'a>(&self, prefix: &'a str) -> &'a str {
        if self.follows { "" } else { prefix }
    }
}

/// Keeps the streams of lengths apart from those of words.
const LENGTHS: u64 = 0x6c65_6e67_7468_7321;
/// How many prompts are fitted at once: most of the time of a count is the way to the server and back.
const AT_ONCE: usize = 8;

/// Makes the prompts that are `asked` for, in their order.
///
/// # Errors
/// When the server counts more than the wanted tokens for even a single word: its chat template alone is longer.
pub async fn prepare(
    wanted: Wanted,
    asked: Vec<Asked>,
    counter: &impl TokenCounter,
) -> Result<Texts, String> {
    let prefix = match prefix(&wanted, counter).await {
        Ok(prefix) => prefix,
        Err(reason) => return Ok(estimated(&wanted, &asked, reason)),
    };
    let blocks = match Blocks::counted(&wanted, &asked, counter).await {
        Ok(blocks) => blocks,
        Err(reason) => return Ok(estimated(&wanted, &asked, reason)),
    };
    let (prefix, blocks) = (prefix.as_str(), &blocks);
    let all: Vec<_> = asked.iter().map(|asked| one(&wanted, asked, prefix, blocks, counter)).collect();
    let mut made = stream::iter(all).buffered(AT_ONCE);
    let (mut texts, mut near, mut short_by) = (Vec::new(), 0, 0);
    while let Some(one) = made.next().await {
        match one {
            Ok((text, found, asked)) if found <= asked => {
                near += usize::from(found < asked);
                short_by = short_by.max(asked - found);
                texts.push(Fitted { text, tokens: Some(found) });
            }
            Ok((_, found, asked)) => return Err(unreachable_length(asked, found, wanted.prefix)),
            Err(reason) => return Ok(estimated(&wanted, &asked, reason)),
        }
    }
    let counted = if near == 0 { Counted::Exact } else { Counted::Near { prompts: near, short_by } };
    Ok(Texts { texts, counted })
}

fn unreachable_length(asked: u64, found: u64, prefix: u32) -> String {
    let prefix = if prefix > 0 { " behind the common prefix" } else { "" };
    format!(
        "input_len {asked} cannot be reached: the server counts {found} tokens for a prompt of one word{prefix}, \
         whatever it adds included; ask for at least that many"
    )
}

/// The text that all prompts begin with: alone it has so many tokens more than nothing at all.
async fn prefix(wanted: &Wanted, counter: &impl TokenCounter) -> Result<String, String> {
    if wanted.prefix == 0 {
        return Ok(String::new());
    }
    let tokens = counter.count(&Content::Text(String::new())).await? + u64::from(wanted.prefix);
    let mut words = Words::new(wanted, Stream::Prefix);
    let fit = Fit { before: "", words: &mut words, language: wanted.language, counter, tokens };
    Ok(fit.run().await?.0)
}

/// One prompt, its count, and the count that was asked for.
async fn one(
    wanted: &Wanted,
    asked: &Asked,
    prefix: &str,
    blocks: &Blocks,
    counter: &impl TokenCounter,
) -> Result<(String, u64, u64), String> {
    let tokens = asked.tokens;
    let shared = blocks.before(asked);
    let before = if shared.is_empty() { asked.prefixed(prefix) } else { &shared };
    let mut words = Words::new(wanted, asked.tail());
    let fit = Fit { before, words: &mut words, language: wanted.language, counter, tokens };
    let (text, found) = fit.run().await?;
    if found <= tokens || shared.is_empty() {
        return Ok((text, found, tokens));
    }
    // The few tokens behind the last whole block are too few for a word.
    let found = counter.count(&Content::Text(shared.clone())).await?;
    Ok((shared, found, tokens))
}

/// What can be made without anybody who counts.
fn estimated(wanted: &Wanted, asked: &[Asked], reason: String) -> Texts {
    let prefix_words = if wanted.prefix == 0 { 0 } else { wanted.estimated_words(wanted.prefix.into()) };
    let prefix = Words::new(wanted, Stream::Prefix).text("", prefix_words);
    let blocks = Blocks::estimated(wanted, asked);
    let text = |asked: &Asked| {
        let shared = blocks.before(asked);
        let words = wanted.estimated_words(asked.tokens);
        let (before, left) = match shared.is_empty() {
            true if asked.follows => ("", words),
            true => (prefix.as_str(), words.saturating_sub(prefix_words)),
            false => (shared.as_str(), wanted.estimated_words((asked.tokens - 1) % BLOCK + 1)),
        };
        Fitted { text: Words::new(wanted, asked.tail()).text(before, left.max(1)), tokens: None }
    };
    Texts { texts: asked.iter().map(text).collect(), counted: Counted::Estimated { reason } }
}
