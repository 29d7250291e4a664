//! GPQA: graduate questions with four options, whose order is drawn. The items are gated and never shipped: they
//! are supplied by path. Must not know how a question is sent.
//!
//! GPQA：选项顺序由 Python 随机数决定；题目受限，绝不随产品分发。

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    Choose, Exam, Question, Scored,
    choice::{self, LETTERS},
    repeated, robust, row_count,
};
use crate::accuracy::{
    data::{Layout, Supply, Table, Unready},
    python::Random,
};

/// Which way of extracting and scoring this is.
pub const EXTRACTOR: &str = "simple_evals_gpqa/1";

const INSTRUCTION: &str = "GPQA is gated: accept its terms at huggingface.co/datasets/Idavidrein/gpqa, download \
                           gpqa_diamond.csv, and name it with `data:` in the case or put it into the folder that \
                           VLLM_CIBENCH_ACCURACY_DATA names";

const LAYOUT: Layout<'_> = Layout {
    needed: &["Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"],
    optional: &["Record ID", "Subdomain", "High-level domain", "Canary String"],
    headless: false,
};

/// The sizes of the variants.
const SIZES: [(&str, usize); 3] = [("diamond", 198), ("main", 448), ("extended", 546)];

/// The right letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Of the options as they were shown.
    pub letter: char,
}

#[derive(Debug, Clone)]
struct Item {
    id: String,
    sections: Vec<String>,
    question: String,
    /// The right one first.
    options: [String; 4],
}

/// The questions of a variant. Upstream draws from one stream, seeded with 0: first the items, then each one's
/// order of options.
pub(super) fn exam(supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
    let variant = choose.subsets.first().map_or("diamond", String::as_str);
    let stem = format!("gpqa_{variant}");
    let table = Table::load(&supply.find(&stem, INSTRUCTION)?, LAYOUT).map_err(Unready::Bad)?;
    let items = table.each(|index, record| {
        let cell = |name: &str| choose.cells.read(record.cell(name)).to_owned();
        if let Some(blank) = LAYOUT.needed.iter().find(|name| record.cell(name).trim().is_empty()) {
            return Err(format!("expected text in `{blank}`, found none"));
        }
        Ok(Item {
            id: record.get("Record ID").map_or_else(|| format!("row_{index}"), str::to_owned),
            sections: record.get("High-level domain").map(str::to_owned).into_iter().collect(),
            question: cell("Question"),
            options: [1, 2, 3, 4].map(|column| cell(LAYOUT.needed[column])),
        })
    });
    let items = items.map_err(Unready::Bad)?;
    let size = SIZES.iter().find(|(name, _)| *name == variant).map(|(_, size)| *size);
    let warnings = size.and_then(|size| row_count(&table.file, &stem, size)).into_iter().collect();
    Ok(Exam { questions: draw(items, choose), files: vec![table.file], warnings })
}

fn draw(items: Vec<Item>, choose: &Choose) -> Vec<Question> {
    let mut random = Random::new(0);
    let items = match choose.limit {
        Some(limit) => {
            let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
            let drawn = random.sample(count, limit.min(count));
            drawn.into_iter().map(|index| items[index as usize].clone()).collect()
        }
        None => items,
    };
    let repeats = choose.repeats.unwrap_or(1);
    repeated(&items, repeats).map(|(repeat, item)| ask(item, repeat, &random.sample(4, 4))).collect()
}

fn ask(item: Item, repeat: u32, order: &[u32]) -> Question {
    let shown = [0, 1, 2, 3].map(|place| item.options[order[place] as usize].as_str());
    // The first option with the right one's text: where texts repeat, that is upstream's choice.
    let right = shown.iter().position(|option| *option == item.options[0]).unwrap_or(0);
    Question {
        prompt: choice::prompt(&item.question, shown),
        picture: None,
        key: super::Key::Gpqa(Key { letter: LETTERS[right] }),
        stem: item.id.clone(),
        id: item.id,
        repeat,
        sections: item.sections,
    }
}

impl Key {
    /// Marks `answer` by the letter after its first `Answer:`, as it stands there: a lower-case one is wrong.
    pub fn mark(&self, answer: &str) -> Scored {
        let extracted = letter(answer);
        let score = f64::from(u8::from(extracted.is_some_and(|found| found.chars().eq([self.letter]))));
        let chars = answer.chars().count() as f64;
        Scored {
            extracted: extracted.map(str::to_owned),
            score,
            metrics: BTreeMap::from([("score".to_owned(), score), ("chars".to_owned(), chars)]),
            robust: robust::letter(answer, self.letter),
            note: None,
        }
    }
}

/// The letter after the first `Answer:` in `text`.
fn letter(text: &str) -> Option<&str> {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")
            .expect("a constant pattern, compiled by the tests")
    });
    LETTER.captures(text).and_then(|found| found.get(1)).map(|letter| letter.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: usize) -> Vec<Item> {
        let item = |index: usize| Item {
            id: index.to_string(),
            sections: Vec::new(),
            question: "?".to_owned(),
            options: ["0", "1", "2", "3"].map(str::to_owned),
        };
        (0..count).map(item).collect()
    }

    fn letters(questions: &[Question]) -> String {
        let letter = |question: &Question| match &question.key {
            super::super::Key::Gpqa(key) => key.letter,
            other => panic!("{other:?}"),
        };
        questions.iter().map(letter).collect()
    }

    /// The order in which the options stand, as digits.
    fn order(question: &Question) -> String {
        question
            .prompt
            .lines()
            .rev()
            .take(4)
            .map(|line| &line[3..])
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    }

    #[test]
    fn the_debug_run_asks_the_rows_of_upstream_in_its_order() {
        let five = draw(items(198), &Choose { limit: Some(5), ..Choose::default() });
        assert_eq!(
            five.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(),
            ["98", "194", "107", "10", "66"]
        );
        assert_eq!(five.iter().map(order).collect::<Vec<_>>(), ["3120", "2301", "2031", "1302", "2103"]);
        assert_eq!(letters(&five), "DCBCC");
        let twenty = draw(items(198), &Choose { limit: Some(20), ..Choose::default() });
        assert_eq!(letters(&twenty), "CCCDACADADCBCBAABDCB");
    }

    #[test]
    fn the_full_run_repeats_in_blocks_and_draws_on() {
        let all = draw(items(198), &Choose { repeats: Some(10), ..Choose::default() });
        assert_eq!(all.len(), 1980);
        assert_eq!(letters(&all[..20]), "CDCBCCCDACADADCBCBAA");
        assert_eq!(letters(&all[198..218]), "CACACADBBBDCCDDAACBB");
        assert_eq!((all[198].id.as_str(), all[198].repeat), ("0", 1));
        let told = letters(&all);
        let count = |letter| told.chars().filter(|found| *found == letter).count();
        assert_eq!(['A', 'B', 'C', 'D'].map(count), [526, 475, 502, 477]);
    }

    #[test]
    fn letters_are_found_as_upstream_finds_them() {
        for (text, found) in [
            ("Answer: B", Some("B")),
            ("**Answer: B**", Some("B")),
            ("Answer: $B$", Some("B")),
            ("ANSWER: D.", Some("D")),
            ("Answer: C is tempting, but no.\nAnswer: D", Some("C")),
            ("Answer: Based on this, C", Some("B")),
            ("Answer: b", Some("b")),
            ("**Answer:** B", None),
            ("Answer: **B**", None),
            ("Answer: (B)", None),
            (r"Answer: $\boxed{B}$", None),
            (r"Answer: \text{B}", None),
            ("Answer:\nB", None),
            ("Answer：B", None),
            ("The answer is B", None),
        ] {
            assert_eq!(letter(text), found, "{text:?}");
        }
    }

    #[test]
    fn a_lower_case_letter_is_wrong_and_the_tolerant_reader_says_otherwise() {
        let scored = Key { letter: 'B' }.mark("Answer: b");
        assert_eq!((scored.extracted.as_deref(), scored.score, scored.robust.score), (Some("b"), 0.0, 1.0));
        assert_eq!(scored.metrics, BTreeMap::from([("score".to_owned(), 0.0), ("chars".to_owned(), 9.0)]));
        assert_eq!(Key { letter: 'B' }.mark("Answer: B").score, 1.0);
    }

    #[test]
    fn the_first_option_with_the_right_text_is_the_right_one() {
        let twice = Item { options: ["x", "x", "y", "z"].map(str::to_owned), ..items(1).remove(0) };
        let question = ask(twice, 0, &[1, 2, 0, 3]);
        assert_eq!(letters(&[question]), "A");
    }
}
