//! One answer as a comparison of runs sees it: [`Item`], of a row of ours or of a sample of somebody else's tool. Must
//! not know how it was marked.
//!
//! 逐题比较所见的一条作答（自有行或外部工具的样本）。

use serde::{Deserialize, Serialize};

use super::{row::Row, spec::Compat};
use crate::tools::Sample;

/// The role of the file in which a tool's items lie.
pub const TOOL_ROLE: &str = "tool-items";

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The item's name, the same from run to run.
    pub id: String,
    /// The how-manieth time it was asked, from 0. `(id, repeat)` is unique.
    pub repeat: u32,
    /// What answers that are not independent of each other have in common.
    pub stem: String,
    /// A hash of what was asked: items that were asked otherwise are not compared.
    pub asked: String,
    /// From 0 to 1; null where there was no answer.
    pub score: Option<f64>,
}

impl Item {
    /// Each of `rows`, as `compat` reads its answer.
    pub fn of_rows(rows: &[Row], compat: Compat) -> Vec<Self> {
        let of = |row: &Row| Self {
            id: row.id.clone(),
            repeat: row.repeat,
            stem: row.stem.clone(),
            asked: row.request_sha256.clone(),
            score: row.score(compat),
        };
        rows.iter().map(of).collect()
    }

    /// What a tool says of each of its samples; those of one document are not independent.
    pub fn of_samples(samples: Vec<Sample>) -> Vec<Self> {
        let of = |sample: Sample| Self {
            stem: sample.id.clone(),
            id: sample.id,
            repeat: sample.repeat,
            asked: sample.asked,
            score: Some(sample.score),
        };
        samples.into_iter().map(of).collect()
    }

    /// The lines of a file of them.
    pub fn lines(items: &[Self]) -> String {
        items.iter().map(|item| format!("{}\n", serde_json::json!(item))).collect()
    }

    /// Reads such lines.
    ///
    /// # Errors
    /// The first line that is none, by its number.
    pub fn read(text: &str) -> Result<Vec<Self>, String> {
        let line = |(number, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {number} is no item: {error}"))
        };
        (1..).zip(text.lines()).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::row::tests::answered;

    #[test]
    fn an_item_is_read_back_as_it_was_written() {
        let rows = Item::of_rows(&[answered("a", "Answer: B")], Compat::SimpleEvals);
        assert_eq!((rows[0].id.as_str(), rows[0].score), ("a", Some(1.0)));
        let sample = Sample { id: "7".to_owned(), repeat: 0, asked: "h".to_owned(), score: 0.5 };
        let items = Item::of_samples(vec![sample]);
        assert_eq!(Item::read(&Item::lines(&items)), Ok(items));
        assert!(Item::read("{}\n").unwrap_err().starts_with("line 1 is no item: missing field `id`"));
    }
}
