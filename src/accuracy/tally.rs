//! From the answers to a score: [`Tally`]. Must not know the bar it is held against.
//!
//! 计分：得分、区间与各类答复的数量。

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Map;
use st_harness::verdict::Measurement;

use crate::{
    accuracy::{
        data::Item,
        interval::{Interval, wilson},
        reply::Reply,
        run::Asked,
        score,
    },
    workload::sha256_hex,
};

/// What became of one item: a line of `items.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The item.
    pub id: String,
    /// `answered`, `truncated`, `empty`, `refused`, `failed`; null where it was not asked.
    pub status: Option<&'static str>,
    /// The letter that was found in the answer.
    pub extracted: Option<String>,
    /// The right letter.
    pub answer: char,
    /// Whether it is right; null where there was no answer.
    pub right: Option<bool>,
    /// How many attempts were made.
    pub attempts: u32,
    /// How long they took, in nanoseconds.
    pub took_ns: Option<u64>,
    /// As the server counts them.
    pub prompt_tokens: Option<u64>,
    /// As the server counts them.
    pub completion_tokens: Option<u64>,
    /// SHA-256 of the prompt, hex: equal prompts can be compared from run to run.
    pub prompt_sha256: String,
    /// Characters of the answer.
    pub text_chars: Option<usize>,
    /// The answer, where the case keeps it.
    pub text: Option<String>,
    /// Why there is none.
    pub failure: Option<String>,
}

impl Row {
    /// Scores what came of `item`.
    pub fn of(item: &Item, prompt: &str, asked: Option<&Asked>, keep_text: bool) -> Self {
        let reply = asked.map(|asked| &asked.reply);
        let text = reply.and_then(Reply::text);
        let failed = matches!(reply, None | Some(Reply::Failed(_)));
        Self {
            id: item.id.clone(),
            status: reply.map(Reply::name),
            extracted: text.and_then(score::letter).map(str::to_owned),
            answer: item.answer,
            right: (!failed).then(|| text.is_some_and(|text| score::is_right(text, item.answer))),
            attempts: asked.map_or(0, |asked| asked.attempts),
            took_ns: asked.map(|asked| asked.took_ns),
            prompt_tokens: asked.and_then(|asked| asked.prompt_tokens),
            completion_tokens: asked.and_then(|asked| asked.completion_tokens),
            prompt_sha256: sha256_hex(prompt.as_bytes()),
            text_chars: text.map(|text| text.chars().count()),
            text: text.filter(|_| keep_text).map(str::to_owned),
            failure: match reply {
                Some(Reply::Failed(why)) => Some(why.clone()),
                _ => None,
            },
        }
    }
}

/// The score and what stands beside it. A failed item counts as not right in `total`; whether that many failures
/// are bearable is the verdict's question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tally {
    /// Right answers.
    pub correct: u64,
    /// Items that were asked.
    pub total: u64,
    /// `correct / total`; null where nothing was asked.
    pub score: Option<f64>,
    /// The Wilson interval of it, 95 %.
    pub interval: Option<Interval>,
    /// How many items of each status.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Whole answers in which no letter was found.
    pub unparsed: u64,
    /// `correct / total` over whole answers only.
    pub score_of_answered: Option<f64>,
    /// Items that were not asked.
    pub not_asked: u64,
}

impl Tally {
    /// Counts `rows`.
    pub fn of(rows: &[Row]) -> Self {
        let asked: Vec<&Row> = rows.iter().filter(|row| row.status.is_some()).collect();
        let whole: Vec<&Row> = asked.iter().copied().filter(|row| row.status == Some("answered")).collect();
        let right = |rows: &[&Row]| rows.iter().filter(|row| row.right == Some(true)).count() as u64;
        let (correct, total) = (right(&asked), asked.len() as u64);
        let mut statuses = BTreeMap::new();
        for status in asked.iter().filter_map(|row| row.status) {
            *statuses.entry(status).or_default() += 1;
        }
        Self {
            correct,
            total,
            score: ratio(correct, total),
            interval: wilson(correct, total),
            statuses,
            unparsed: whole.iter().filter(|row| row.extracted.is_none()).count() as u64,
            score_of_answered: ratio(right(&whole), whole.len() as u64),
            not_asked: rows.len() as u64 - total,
        }
    }

    /// The share of asked items with `status`; null where nothing was asked.
    pub fn share(&self, status: &str) -> Option<f64> {
        ratio(self.statuses.get(status).copied().unwrap_or(0), self.total)
    }

    /// The figures, labelled with their dataset.
    pub fn measurements(&self, dataset: &str) -> Vec<Measurement> {
        let figure = |name: &str, stat: &str, value: Option<f64>| Measurement {
            name: name.to_owned(),
            stat: stat.to_owned(),
            unit: "ratio".to_owned(),
            value,
            null_reason: value.is_none().then(|| "no item was asked".to_owned()),
            n: self.total,
            definition: format!("{name}/1"),
            source: "client".to_owned(),
            labels: Map::from_iter([("dataset".to_owned(), dataset.into())]),
        };
        vec![
            figure("score", "value", self.score),
            figure("score", "wilson_low", self.interval.map(|interval| interval.low)),
            figure("score", "wilson_high", self.interval.map(|interval| interval.high)),
            figure("truncated_ratio", "value", self.share("truncated")),
            figure("empty_ratio", "value", self.share("empty")),
            figure("refused_ratio", "value", self.share("refused")),
            figure("failed_ratio", "value", self.share("failed")),
            figure("unparsed_ratio", "value", ratio(self.unparsed, self.total)),
        ]
    }
}

fn ratio(part: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| part as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(answer: char) -> Item {
        Item {
            id: "i".to_owned(),
            question: "?".to_owned(),
            choices: ["1", "2", "3", "4"].map(str::to_owned),
            answer,
        }
    }

    fn row(reply: Option<Reply>) -> Row {
        let asked = reply.map(|reply| Asked {
            reply,
            attempts: 1,
            took_ns: 1,
            prompt_tokens: None,
            completion_tokens: None,
        });
        Row::of(&item('B'), "prompt", asked.as_ref(), false)
    }

    fn answered(text: &str) -> Row {
        row(Some(Reply::Answered(text.to_owned())))
    }

    #[test]
    fn wrong_unparsed_truncated_empty_refused_and_failed_are_told_apart() {
        let tally = Tally::of(&[
            answered("Answer: B"),
            answered("Answer: C"),
            answered("no idea"),
            row(Some(Reply::Truncated("Let me".to_owned()))),
            row(Some(Reply::Empty)),
            row(Some(Reply::Refused)),
            row(Some(Reply::Failed("status 500".to_owned()))),
            row(None),
        ]);
        assert_eq!((tally.correct, tally.total, tally.unparsed, tally.not_asked), (1, 7, 1, 1));
        assert_eq!(tally.score_of_answered, Some(1.0 / 3.0));
        let counts: Vec<_> = tally.statuses.into_iter().collect();
        assert_eq!(counts, [("answered", 3), ("empty", 1), ("failed", 1), ("refused", 1), ("truncated", 1)]);
    }

    #[test]
    fn a_truncated_text_that_gives_the_letter_is_right_as_upstream() {
        assert_eq!(row(Some(Reply::Truncated("Answer: B and".to_owned()))).right, Some(true));
    }

    #[test]
    fn no_answer_is_neither_right_nor_wrong() {
        assert_eq!(row(Some(Reply::Failed("status 500".to_owned()))).right, None);
        assert_eq!(row(None).right, None);
        assert_eq!(row(Some(Reply::Empty)).right, Some(false));
    }

    #[test]
    fn text_stays_out_of_the_record_unless_it_is_asked_for() {
        assert_eq!(answered("Answer: B").text, None);
        assert_eq!(answered("Answer: B").text_chars, Some(9));
        let asked = Asked {
            reply: Reply::Answered("Answer: B".to_owned()),
            attempts: 1,
            took_ns: 1,
            prompt_tokens: None,
            completion_tokens: None,
        };
        assert_eq!(Row::of(&item('B'), "p", Some(&asked), true).text.as_deref(), Some("Answer: B"));
    }

    #[test]
    fn nothing_asked_is_no_score_of_zero() {
        let tally = Tally::of(&[row(None)]);
        assert_eq!((tally.score, tally.interval), (None, None));
        for figure in tally.measurements("x") {
            assert_eq!((figure.value, figure.null_reason.as_deref()), (None, Some("no item was asked")));
        }
    }
}
