//! DROP: a passage and a question, with three examples in the prompt; spans and numbers are compared as the
//! benchmark's own script does. The sentences are openai/simple-evals' (MIT License, Copyright (c) 2024 OpenAI).
//! Must not know how a question is sent.
//!
//! DROP：三样例阅读理解，精确匹配与 F1。

mod metrics;

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Choose, Exam, Question, Scored, mmlu::sampled, robust};
use crate::{
    accuracy::{
        data::{Layout, Supply, Table, Unready},
        python::Random,
    },
    workload::sha256_hex,
};
use metrics::{best, fuzzy};

/// Which way of extracting and scoring this is.
pub const EXTRACTOR: &str = "simple_evals_drop/1";

const INSTRUCTION: &str = "Put drop_v0_dev.jsonl.gz and drop_v0_train.jsonl.gz (fields context, completion, \
                           ref_text) into the folder that VLLM_CIBENCH_ACCURACY_DATA names, or name a folder with \
                           `data:` in the case";

const LAYOUT: Layout<'_> =
    Layout { needed: &["context", "completion", "ref_text"], optional: &["id"], headless: false };

const SEED: u64 = 42;
const SHOTS: u32 = 3;

/// The answers any of which is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// At least one, none of them blank.
    pub answers: Vec<String>,
}

#[derive(Debug, Clone)]
struct Item {
    id: String,
    context: String,
    completion: String,
    answers: Vec<String>,
}

/// The questions. Upstream draws the examples of a prompt in whichever worker comes first; here they are drawn in
/// the order of the items, which is what upstream does with a single worker.
pub(super) fn exam(supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
    let place = supply.find("drop_v0_dev", INSTRUCTION)?;
    let dev = Table::load(&place, LAYOUT).map_err(Unready::Bad)?;
    let train = supply.find_beside(&place, "drop_v0_train", INSTRUCTION)?;
    let train = Table::load(&train, LAYOUT).map_err(Unready::Bad)?;
    let shots = items(&train)?;
    if shots.len() < SHOTS as usize {
        let told = format!("expected at least {SHOTS} examples, found {}", shots.len());
        return Err(Unready::Bad(
            train.records.first().map(|row| train.mistake(row, told)).into_iter().collect(),
        ));
    }
    let asked = sampled(items(&dev)?, choose.limit, SEED);
    Ok(Exam { questions: draw(asked, &shots), files: vec![dev.file, train.file], warnings: Vec::new() })
}

fn items(table: &Table) -> Result<Vec<Item>, Unready> {
    let items = table.each(|index, record| {
        let filled = |answer: &&str| !answer.trim().is_empty();
        let answers: Vec<String> =
            record.cell("ref_text").split('|').filter(filled).map(str::to_owned).collect();
        if answers.is_empty() {
            return Err("expected an answer in `ref_text`, found none".to_owned());
        }
        Ok(Item {
            id: record.get("id").map_or_else(|| format!("row_{index}"), str::to_owned),
            context: record.cell("context").to_owned(),
            completion: record.cell("completion").to_owned(),
            answers,
        })
    });
    items.map_err(Unready::Bad)
}

fn draw(asked: Vec<Item>, shots: &[Item]) -> Vec<Question> {
    let mut random = Random::new(SEED);
    let count = u32::try_from(shots.len()).unwrap_or(u32::MAX);
    let ask = |item: Item| {
        let drawn = random.sample(count, SHOTS);
        let drawn: Vec<&Item> = drawn.into_iter().map(|index| &shots[index as usize]).collect();
        Question {
            stem: passage(&item.context),
            prompt: prompt(&item.context, &drawn),
            picture: None,
            id: item.id,
            repeat: 0,
            sections: Vec::new(),
            key: super::Key::Drop(Key { answers: item.answers }),
        }
    };
    asked.into_iter().map(ask).collect()
}

/// A name for the passage, which several questions share: what stands before the last `Question:`.
fn passage(context: &str) -> String {
    let text = context.rsplit_once("Question:").map_or(context, |(passage, _)| passage);
    format!("passage_{}", &sha256_hex(text.trim().as_bytes())[..12])
}

/// The blanks at its end are an artefact of upstream's source, kept so that prompts are equal.
fn prompt(context: &str, shots: &[&Item]) -> String {
    let mut text = String::from(
        "You will be asked to read a passage and answer a question. Some examples of passages and Q&A are provided \
         below.\n\n# Examples",
    );
    for shot in shots {
        text += &format!("\n---\n{} {}\n", shot.context, shot.completion);
    }
    text += &format!("\n# Your Task\n\n---\n{context} \n\n");
    text += "Think step by step, then write a line of the form \"Answer: $ANSWER\" at the end of your response.\n";
    text + &" ".repeat(20)
}

impl Key {
    /// Marks `answer` by what follows its first `Answer:`; by all of it where there is no such line.
    pub fn mark(&self, answer: &str) -> Scored {
        let extracted = extract(answer);
        let (em, f1) = best(extracted, &self.answers);
        let any = self.answers.iter().any(|gold| fuzzy(extracted, gold));
        Scored {
            extracted: Some(extracted.to_owned()),
            score: f1 / 100.0,
            metrics: BTreeMap::from([
                ("score".to_owned(), f64::from(u8::from(any))),
                ("em_score".to_owned(), em),
                ("f1_score".to_owned(), f1),
            ]),
            robust: robust::span(answer, |found| best(found, &self.answers).1 / 100.0),
            note: None,
        }
    }
}

fn extract(text: &str) -> &str {
    static ANSWER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)Answer[\s\x1c-\x1f]*:[\s\x1c-\x1f]*([^\n]+)")
            .expect("a constant pattern, compiled by the tests")
    });
    ANSWER.captures(text).and_then(|found| found.get(1)).map_or(text, |found| found.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> Item {
        Item {
            id: id.to_owned(),
            context: format!("Passage: p {id}\nQuestion: q {id}\nAnswer:"),
            completion: format!("c {id}"),
            answers: vec!["7".to_owned()],
        }
    }

    #[test]
    fn the_prompt_is_laid_out_as_upstream_lays_it_out() {
        let (one, two, three) = (item("1"), item("2"), item("3"));
        let expected = "You will be asked to read a passage and answer a question. Some examples of passages and Q&A \
                        are provided below.\n\n# Examples\
                        \n---\nPassage: p 1\nQuestion: q 1\nAnswer: c 1\n\
                        \n---\nPassage: p 2\nQuestion: q 2\nAnswer: c 2\n\
                        \n---\nPassage: p 3\nQuestion: q 3\nAnswer: c 3\n\
                        \n# Your Task\n\n---\nPassage: p 4\nQuestion: q 4\nAnswer: \n\nThink step by step, then write \
                        a line of the form \"Answer: $ANSWER\" at the end of your response.\n                    ";
        assert_eq!(prompt(&item("4").context, &[&one, &two, &three]), expected);
    }

    #[test]
    fn each_item_draws_its_examples_in_turn_from_one_stream() {
        let shots: Vec<Item> = (0..77_400).map(|index| item(&index.to_string())).collect();
        let questions = draw(vec![item("a"), item("b")], &shots);
        let shown = |question: &Question| -> Vec<String> {
            let examples = question.prompt.split("Answer: c ").skip(1);
            examples.map(|rest| rest.split('\n').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(shown(&questions[0]), ["14592", "3278", "36048"]);
        assert_eq!(shown(&questions[1]), ["32098", "29256", "18289"]);
    }

    #[test]
    fn questions_of_one_passage_share_its_stem() {
        let context = |question: &str| format!("Passage: p\nQuestion: {question}\nAnswer:");
        assert_eq!(passage(&context("a")), passage(&context("b")));
        assert_ne!(passage(&context("a")), passage("Passage: other\nQuestion: a\nAnswer:"));
    }

    #[test]
    fn without_an_answer_line_all_of_it_is_the_answer() {
        assert_eq!(extract("so: ANSWER :  12 yards\nAnswer: 3"), "12 yards");
        assert_eq!(extract("Answer:\n\n 9"), "9");
        assert_eq!(extract("it is 7"), "it is 7");
        let scored = Key { answers: vec!["x".to_owned(), "7".to_owned()] }.mark("it is 7");
        let metrics: Vec<_> = scored.metrics.into_iter().collect();
        let expected = [("em_score", 0.0), ("f1_score", 50.0), ("score", 1.0)];
        assert_eq!(metrics, expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(scored.score, 0.5);
    }
}
