//! Seeded text without an end: [`Words`], of which any number of words can be taken. Must not know how long a text is
//! wanted.
//!
//! 由种子产生的中英文词流。

use super::Wanted;
use crate::perf::{random::Random, spec::Language};

/// Which of the texts of a trial it is: warm-up and measured ones each have streams of their own, so that none changes
/// with the number of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What all prompts begin with.
    Prefix,
    /// A block of tokens that several prompts may have in common, by the id that a trace gives it.
    Block(u64),
    /// One of the warm-up, by its index.
    Warmup(u32),
    /// One that is measured, by its index.
    Measured(u32),
}

impl Stream {
    /// Prompts of warm-up and measurement share no number, and neither has the prefix'; blocks have a seed of their own.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Prefix => u64::MAX,
            Self::Block(id) => id,
            Self::Warmup(index) => u64::from(index) << 1,
            Self::Measured(index) => u64::from(index) << 1 | 1,
        }
    }

    /// All requests of a trial, warm-up first.
    pub fn all(warmup: u32, measured: u32) -> impl Iterator<Item = Self> {
        (0..warmup).map(Self::Warmup).chain((0..measured).map(Self::Measured))
    }

    /// Whether it is in no figure.
    pub fn is_warmup(self) -> bool {
        matches!(self, Self::Warmup(_))
    }
}

/// How many words at the beginning of a prompt are drawn by [`Wanted::mark`]: enough to tell a million trials apart.
const MARKED: usize = 4;
/// Keeps the words of blocks apart from those of prompts.
const BLOCKS: u64 = 0x626c_6f63_6b73_2121;

/// The endless text of one prompt.
pub(super) struct Words {
    random: Random,
    mark: Random,
    marked: usize,
    language: Language,
    /// It begins with a space and an English word, so that no tokenizer joins it to what stands before: a block is the
    /// same tokens behind every other.
    stands_apart: bool,
    drawn: Vec<&'static str>,
}

impl Words {
    /// A common prefix is drawn by the mark to its end; what follows one needs no mark of its own.
    pub(super) fn new(wanted: &Wanted, stream: Stream) -> Self {
        let marked = match stream {
            Stream::Prefix => usize::MAX,
            _ if wanted.prefix > 0 => 0,
            _ => MARKED,
        };
        let stands_apart = matches!(stream, Stream::Block(_));
        let seed = if stands_apart { wanted.seed ^ BLOCKS } else { wanted.seed };
        Self {
            random: Random::stream(seed, stream.number()),
            mark: Random::new(wanted.mark),
            marked,
            language: wanted.language,
            stands_apart,
            drawn: Vec::new(),
        }
    }

    /// `before` and the first `words` words.
    pub(super) fn text(&mut self, before: &str, words: usize) -> String {
        while self.drawn.len() < words {
            let random = if self.drawn.len() < self.marked { &mut self.mark } else { &mut self.random };
            let table: &[&str] = match self.language {
                _ if self.stands_apart && self.drawn.is_empty() => &EN,
                Language::En => &EN,
                Language::Zh => &ZH,
                Language::Mixed if random.below(2) == 0 => &EN,
                Language::Mixed => &ZH,
            };
            self.drawn.push(table[random.below(table.len())]);
        }
        let mut text = before.to_owned();
        for word in &self.drawn[..words] {
            if word.is_ascii() && (self.stands_apart || !text.is_empty()) {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }
}

/// What common tokenizers need on average; only a first guess where the server counts.
pub(super) fn tokens_per_word(language: Language) -> f64 {
    match language {
        Language::En => 1.1,
        Language::Zh => 1.5,
        Language::Mixed => 1.3,
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
