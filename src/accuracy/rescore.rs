//! Answers marked again, offline, from the record of a run: [`rescore`]. Where a record may hold no answers they
//! come from the cache of answers. Must not know how a question was sent.
//!
//! 离线重新评分：由 items.jsonl（必要时加作答缓存）重算得分。

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::accuracy::{metrics, reply::Status, row::Row, run::Asked, spec::Compat, tally::Tally};

/// What came of marking again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rescored {
    /// The benchmark's own figures, under the name of whose they are: `simple_evals`, `mme`.
    #[serde(flatten)]
    pub figures: BTreeMap<&'static str, BTreeMap<String, f64>>,
    /// Ours.
    pub tally: Tally,
    /// Items whose score is another than in the record.
    pub changed: Vec<String>,
    /// Items whose answers are to be had nowhere: they keep the score of the record.
    pub without_text: Vec<String>,
    /// The record, marked again.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

/// Reads the lines of an `items.jsonl`.
///
/// # Errors
/// The first line that is no row, by its number; or that there is none.
pub fn read(text: &str) -> Result<Vec<Row>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| format!("line {number} is no row of items.jsonl: {error}"))
    };
    let rows: Vec<Row> = lines.map(row).collect::<Result<_, _>>()?;
    if rows.is_empty() { Err("it holds no row".to_owned()) } else { Ok(rows) }
}

/// Marks `rows` again; `answers` are those of the cache, by their key.
pub async fn rescore(rows: Vec<Row>, answers: &HashMap<String, Asked>, compat: Compat) -> Rescored {
    let (mut without_text, mut marked) = (Vec::new(), Vec::with_capacity(rows.len()));
    for row in &rows {
        let kept = answers.get(&row.answer_key).and_then(|asked| asked.reply.text.as_deref());
        let text = match row.status {
            None | Some(Status::Failed) => None,
            // Nothing was said: there is nothing to look for.
            Some(Status::Empty | Status::Refused) => Some(""),
            Some(Status::Answered | Status::Truncated) => row.text.as_deref().or(kept),
        };
        let scored = match text {
            Some(text) => match row.key.mark(text).await {
                Ok(scored) => Some(scored),
                // A program that cannot be run here keeps its mark.
                Err(_) => {
                    without_text.push(name(row));
                    row.scored.clone()
                }
            },
            None => {
                if matches!(row.status, Some(Status::Answered | Status::Truncated)) {
                    without_text.push(name(row));
                }
                row.scored.clone()
            }
        };
        marked.push(Row { scored, ..row.clone() });
    }
    let evaluator = marked.first().map(|row| row.key.evaluator()).unwrap_or_default();
    evaluator.join(&mut marked);
    let both = rows.iter().zip(&marked);
    let changed = both.filter(|(row, again)| again.score(compat) != row.score(compat));
    let changed = changed.map(|(row, _)| name(row)).collect();
    Rescored {
        figures: BTreeMap::from([(evaluator.upstream(), metrics::flat(evaluator, &marked))]),
        tally: Tally::of(&marked, compat),
        changed,
        without_text,
        rows: marked,
    }
}

fn name(row: &Row) -> String {
    format!("{}#{}", row.id, row.repeat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::{reply::Reply, row::tests};

    #[tokio::test]
    async fn a_record_marked_again_says_what_changed() {
        let mut wrong = tests::answered("a", "Answer: B");
        wrong.scored.as_mut().unwrap().score = 0.0;
        let failed = tests::row("b", Some(Reply::failed("status 500")));
        let again = rescore(vec![wrong, failed], &HashMap::new(), Compat::SimpleEvals).await;
        assert_eq!((again.changed, again.tally.score), (vec!["a#0".to_owned()], Some(0.5)));
        assert_eq!(again.figures["simple_evals"]["score"], 0.5);
    }

    #[tokio::test]
    async fn answers_that_may_not_be_passed_on_come_from_the_cache() {
        let hidden = Row { text: None, scored: None, ..tests::answered("a", "Answer: B") };
        let nowhere = rescore(vec![hidden.clone()], &HashMap::new(), Compat::SimpleEvals).await;
        assert_eq!((nowhere.without_text, nowhere.tally.score), (vec!["a#0".to_owned()], Some(0.0)));
        let cache = HashMap::from([("a".to_owned(), Asked::at_once(Reply::answered("Answer: B")))]);
        let found = rescore(vec![hidden], &cache, Compat::SimpleEvals).await;
        assert_eq!((found.without_text.len(), found.tally.score), (0, Some(1.0)));
    }

    #[test]
    fn a_file_of_something_else_is_told_by_its_line() {
        assert_eq!(read("\n"), Err("it holds no row".to_owned()));
        assert!(read("{}").unwrap_err().starts_with("line 1 is no row of items.jsonl: missing field `id`"));
    }
}
