//! Prompts of a wanted length: seeded Chinese and English text, made before the run. [`prepare`] fits each to
//! the server's own count where the server counts, and says so where it does not. Must not know how they are sent.
//!
//! 提示词：按种子生成、长度由服务器分词器校准的中英文文本。

use std::future::Future;

use serde::Serialize;

use crate::perf::{random::Random, spec::Language};

/// Counts the tokens that a prompt has for the server, chat template included.
pub trait TokenCounter: Sync {
    /// The count; or why there is none, as a sentence.
    fn count(&self, text: &str) -> impl Future<Output = Result<u64, String>> + Send;
}

/// Who says how long a prompt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// The server, and every prompt has the wanted length.
    Exact,
    /// The server; so many prompts could only be brought near the wanted length, being at most so many short.
    Near {
        /// How many prompts.
        prompts: usize,
        /// The largest distance in tokens.
        short_by: u64,
    },
    /// Nobody: the length is what the language's average says.
    Estimated {
        /// Why the server could not be asked.
        reason: String,
    },
}

/// Prompts, and how sure their length is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// The texts: warm-up first, then the measured ones.
    pub texts: Vec<String>,
    /// How sure their length is.
    pub counted: Counted,
}

/// What prompts are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How many for the warm-up: of a stream of their own, so that they do not change with the measured ones.
    pub warmup: u32,
    /// How many to measure.
    pub measured: u32,
    /// Tokens of each.
    pub tokens: u32,
    /// In which language.
    pub language: Language,
    /// Of everything random in them. A prompt depends on seed and index only, not on how many there are.
    pub seed: u64,
    /// Draws the first words of every prompt, and nothing else: two trials ask the same at every load, and yet
    /// neither finds the other's prompts in the server's prefix cache.
    pub mark: u64,
}

/// Makes the prompts.
///
/// # Errors
/// When the server counts more than the wanted tokens for even a single word: its chat template alone is longer.
pub async fn prepare(wanted: Wanted, counter: &impl TokenCounter) -> Result<Prompts, String> {
    let mut prompts = Prompts { texts: Vec::new(), counted: Counted::Exact };
    for (stream, amount) in [(Stream::Warmup, wanted.warmup), (Stream::Measured, wanted.measured)] {
        for index in 0..amount {
            let words = Words::new(wanted, stream, index);
            prompts.texts.push(fit(words, wanted, counter, &mut prompts.counted).await?);
        }
    }
    Ok(prompts)
}

async fn fit(
    mut words: Words,
    wanted: Wanted,
    counter: &impl TokenCounter,
    counted: &mut Counted,
) -> Result<String, String> {
    let tokens = u64::from(wanted.tokens);
    if matches!(counted, Counted::Estimated { .. }) {
        return Ok(words.text(estimated_words(wanted)));
    }
    let search = Search { words: &mut words, counter, tokens };
    match search.run(wanted.language).await {
        Ok((text, found)) if found == tokens => Ok(text),
        Ok((text, found)) if found < tokens => {
            let (prompts, short_by) = match counted {
                Counted::Near { prompts, short_by } => (*prompts, *short_by),
                Counted::Exact | Counted::Estimated { .. } => (0, 0),
            };
            *counted = Counted::Near { prompts: prompts + 1, short_by: short_by.max(tokens - found) };
            Ok(text)
        }
        Ok((_, found)) => Err(format!(
            "input_len {tokens} cannot be reached: the server counts {found} tokens for a prompt of one word, \
             chat template included; ask for at least that many"
        )),
        Err(reason) => {
            *counted = Counted::Estimated { reason };
            Ok(words.text(estimated_words(wanted)))
        }
    }
}

/// Looks for the number of words that gives the wanted number of tokens.
struct Search<'a, C> {
    words: &'a mut Words,
    counter: &'a C,
    tokens: u64,
}

/// How many counts one prompt may cost before what was found is taken.
const PATIENCE: usize = 24;
/// Pieces that are one token for most tokenizers, to close a gap that whole words leave.
const FILLERS: [&str; 6] = [" a", " the", ".", ",", "!", "的"];

impl<C: TokenCounter> Search<'_, C> {
    /// The longest text found of at most the wanted length, and its count; a count above the wanted one where
    /// even one word is too long.
    async fn run(self, language: Language) -> Result<(String, u64), String> {
        let first = self.words.text(1);
        let mut best = (first.clone(), self.counter.count(&first).await?);
        let (mut low, mut low_count) = (1_usize, best.1);
        let mut high: Option<(usize, u64)> = None;
        let mut spent = 1;
        while best.1 < self.tokens && spent < PATIENCE && high.is_none_or(|(high, _)| high > low + 1) {
            let at = self.guess(low, low_count, high, language);
            let text = self.words.text(at);
            let count = self.counter.count(&text).await?;
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

    /// Between the bounds, where a straight line through them meets the wanted count.
    fn guess(&self, low: usize, low_count: u64, high: Option<(usize, u64)>, language: Language) -> usize {
        let missing = (self.tokens - low_count) as f64;
        match high {
            None => low + ((missing / tokens_per_word(language)).round() as usize).max(1),
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
            let count = self.counter.count(&text).await?;
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

/// What common tokenizers need on average; only a first guess where the server counts.
fn tokens_per_word(language: Language) -> f64 {
    match language {
        Language::En => 1.1,
        Language::Zh => 1.5,
        Language::Mixed => 1.3,
    }
}

fn estimated_words(wanted: Wanted) -> usize {
    ((f64::from(wanted.tokens) / tokens_per_word(wanted.language)).round() as usize).max(1)
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Warmup,
    Measured,
}

/// How many words at the beginning of a prompt are drawn by [`Wanted::mark`]: enough to tell a million trials apart.
const MARKED: usize = 4;

/// The endless text of one prompt, of which any number of words can be taken.
struct Words {
    random: Random,
    mark: Random,
    language: Language,
    drawn: Vec<&'static str>,
}

impl Words {
    fn new(wanted: Wanted, stream: Stream, index: u32) -> Self {
        let stream = u64::from(index) << 1 | u64::from(matches!(stream, Stream::Measured));
        let random = Random::stream(wanted.seed, stream);
        Self { random, mark: Random::new(wanted.mark), language: wanted.language, drawn: Vec::new() }
    }

    fn text(&mut self, words: usize) -> String {
        while self.drawn.len() < words {
            let random = if self.drawn.len() < MARKED { &mut self.mark } else { &mut self.random };
            let table: &[&str] = match self.language {
                Language::En => &EN,
                Language::Zh => &ZH,
                Language::Mixed if random.below(2) == 0 => &EN,
                Language::Mixed => &ZH,
            };
            self.drawn.push(table[random.below(table.len())]);
        }
        let mut text = String::new();
        for word in &self.drawn[..words] {
            if word.is_ascii() && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }
}

const EN: [&str; 64] = [
    "river", "stone", "window", "market", "garden", "letter", "winter", "bridge", "silver", "forest",
    "morning", "table", "music", "paper", "island", "mountain", "travel", "people", "kitchen", "light",
    "story", "number", "water", "pencil", "school", "train", "street", "summer", "color", "animal", "engine",
    "question", "answer", "north", "south", "minute", "machine", "picture", "village", "ocean", "science",
    "doctor", "farmer", "teacher", "captain", "history", "language", "weather", "library", "station",
    "country", "family", "evening", "orange", "yellow", "simple", "quiet", "early", "open", "large", "small",
    "bright", "follow", "remember",
];

const ZH: [&str; 48] = [
    "河流", "石头", "窗户", "市场", "花园", "信件", "冬天", "桥梁", "森林", "早晨", "音乐", "纸张", "岛屿",
    "高山", "旅行", "人们", "厨房", "灯光", "故事", "数字", "学校", "火车", "街道", "夏天", "颜色", "动物",
    "问题", "答案", "北方", "南方", "机器", "图片", "村庄", "海洋", "科学", "医生", "农民", "老师", "历史",
    "语言", "天气", "车站", "国家", "家庭", "晚上", "简单", "安静", "记得",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose template costs 10 tokens, a long ASCII word two tokens, a Chinese character one.
    struct Server;

    impl TokenCounter for Server {
        async fn count(&self, text: &str) -> Result<u64, String> {
            let ascii: usize = text
                .split(|c: char| !c.is_ascii_alphabetic())
                .map(|word| match word.len() {
                    0 => 0,
                    1..=6 => 1,
                    _ => 2,
                })
                .sum();
            let other = text.chars().filter(|c| !c.is_ascii_alphabetic() && *c != ' ').count();
            Ok(10 + (ascii + other) as u64)
        }
    }

    struct Nobody;

    impl TokenCounter for Nobody {
        async fn count(&self, _: &str) -> Result<u64, String> {
            Err("POST /tokenize answered 404".to_owned())
        }
    }

    fn wanted(tokens: u32) -> Wanted {
        Wanted { warmup: 2, measured: 8, tokens, language: Language::Mixed, seed: 1, mark: 0 }
    }

    #[tokio::test]
    async fn every_prompt_has_exactly_the_wanted_length_by_the_servers_count() {
        for language in [Language::En, Language::Zh, Language::Mixed] {
            for tokens in [16, 64, 333, 2048] {
                let made = prepare(Wanted { language, ..wanted(tokens) }, &Server).await.unwrap();
                assert_eq!(made.counted, Counted::Exact);
                for text in &made.texts {
                    assert_eq!(Server.count(text).await, Ok(u64::from(tokens)), "{language:?}: {text}");
                }
            }
        }
    }

    #[tokio::test]
    async fn no_prompt_comes_twice_and_warm_up_has_its_own() {
        let mut texts = prepare(wanted(64), &Server).await.unwrap().texts;
        assert_eq!(texts.len(), 10);
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 10);
    }

    #[tokio::test]
    async fn a_prompt_depends_on_seed_and_index_and_not_on_how_many_are_made() {
        let few = prepare(Wanted { warmup: 0, measured: 3, ..wanted(40) }, &Server).await.unwrap();
        let many = prepare(Wanted { warmup: 5, measured: 9, ..wanted(40) }, &Server).await.unwrap();
        assert_eq!(few.texts[..], many.texts[5..8]);
        let other = prepare(Wanted { warmup: 0, measured: 3, seed: 2, ..wanted(40) }, &Server).await.unwrap();
        assert_ne!(few.texts, other.texts);
    }

    #[tokio::test]
    async fn two_trials_ask_the_same_behind_first_words_of_their_own() {
        let made = async |mark| prepare(Wanted { mark, ..wanted(64) }, &Nobody).await.unwrap().texts;
        let (one, other) = (made(1).await, made(2).await);
        for (one, other) in one.iter().zip(&other) {
            let common = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
            assert!(common < 8, "{one} and {other} begin alike");
            assert_eq!(
                one.chars().rev().take(60).collect::<String>(),
                other.chars().rev().take(60).collect::<String>()
            );
        }
    }

    #[tokio::test]
    async fn without_a_counting_server_the_length_is_an_estimate_and_says_why() {
        let made = prepare(wanted(64), &Nobody).await.unwrap();
        assert_eq!(made.counted, Counted::Estimated { reason: "POST /tokenize answered 404".to_owned() });
        assert!(made.texts.iter().all(|text| !text.is_empty()));
    }

    #[tokio::test]
    async fn a_length_below_the_template_is_refused_with_the_least_that_works() {
        let error = prepare(wanted(4), &Server).await.unwrap_err();
        assert!(error.starts_with("input_len 4 cannot be reached: the server counts 1"), "{error}");
    }
}
