//! Items with known answers, from a JSONL file: [`Dataset`]. Every row is checked, and every mistake is told with
//! its line. Must not know how an item is asked.
//!
//! 题目数据：逐行校验，记录 SHA-256。

use std::collections::HashMap;

use camino::Utf8Path;
use serde::Deserialize;
use st_harness::diag::{Place, Problem};

use crate::workload::sha256_hex;

/// How many options an item has, and so which letters there are.
pub const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

/// A question with its options, and the letter of the right one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Unique in the file; what reports call it.
    pub id: String,
    /// The question.
    pub question: String,
    /// The options, in the order of [`LETTERS`].
    pub choices: [String; 4],
    /// The right letter.
    pub answer: char,
}

/// All items of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// In the file's order.
    pub items: Vec<Item>,
    /// SHA-256 of the file's bytes, hex.
    pub sha256: String,
}

/// Reads the items at `path`, known to people as `shown`.
///
/// # Errors
/// Every mistake of the file, in its order.
pub fn load(path: &Utf8Path, shown: &Utf8Path) -> Result<Dataset, Vec<Problem>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let help = "`items` is relative to the file of the case; one JSON object a line";
        vec![Problem::new(format!("cannot read the items {shown}: {error}")).with_help(help)]
    })?;
    parse(&text, shown)
}

/// Reads items from `text`, which people know as the file `shown`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, shown: &Utf8Path) -> Result<Dataset, Vec<Problem>> {
    let mut items: Vec<Item> = Vec::new();
    let mut problems = Vec::new();
    let mut lines: HashMap<String, u32> = HashMap::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        match row(line) {
            Err((column, message)) => problems.push(problem(shown, number, column, message)),
            Ok(item) => {
                if let Some(first) = lines.insert(item.id.clone(), number) {
                    let message =
                        format!("expected ids that occur once, found {:?} again (line {first})", item.id);
                    problems.push(problem(shown, number, 1, message));
                }
                items.push(item);
            }
        }
    }
    if items.is_empty() && problems.is_empty() {
        problems.push(problem(shown, 1, 1, "expected at least one item, found none".to_owned()));
    }
    if problems.is_empty() {
        Ok(Dataset { items, sha256: sha256_hex(text.as_bytes()) })
    } else {
        Err(problems)
    }
}

/// One line, or the column and the sentence that tell what is wrong with it.
fn row(line: &str) -> Result<Item, (u32, String)> {
    let item: Item = serde_json::from_str(line).map_err(|error| {
        let said = error.to_string();
        let message = said.split(" at line ").next().unwrap_or(&said).to_owned();
        (u32::try_from(error.column()).unwrap_or(1).max(1), message)
    })?;
    if !LETTERS.contains(&item.answer) {
        return Err((1, format!("expected `answer` to be one of A, B, C, D, found {:?}", item.answer)));
    }
    let texts = [("id", &item.id), ("question", &item.question)];
    let texts = texts.into_iter().chain(item.choices.iter().map(|choice| ("choices", choice)));
    if let Some((key, _)) = texts.into_iter().find(|(_, text)| text.trim().is_empty()) {
        return Err((1, format!("expected text in `{key}`, found none")));
    }
    let twice = (1..LETTERS.len()).find(|&index| item.choices[..index].contains(&item.choices[index]));
    match twice {
        Some(index) => {
            Err((1, format!("expected four different choices, found {:?} twice", item.choices[index])))
        }
        None => Ok(item),
    }
}

fn problem(shown: &Utf8Path, line: u32, column: u32, message: String) -> Problem {
    let place = Place { file: shown.to_owned(), line, column, length: 1 };
    Problem::new(message).at(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        parse(text, Utf8Path::new("items.jsonl"))
            .unwrap_err()
            .into_iter()
            .map(|problem| {
                let place = problem.place.unwrap();
                format!("{}:{}: {}", place.file, place.line, problem.message)
            })
            .collect()
    }

    const GOOD: &str = r#"{"id":"a","question":"?","choices":["1","2","3","4"],"answer":"B"}"#;

    #[test]
    fn items_keep_their_order_and_blank_lines_are_passed_over() {
        let text = format!("{GOOD}\n\n{}\n", GOOD.replace(r#""a""#, r#""b""#));
        let found = parse(&text, Utf8Path::new("x")).unwrap();
        assert_eq!(found.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found.sha256, sha256_hex(text.as_bytes()));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let rows = [
            GOOD,
            "{",
            &GOOD.replace(r#""B""#, r#""E""#),
            &GOOD.replace(r#","4""#, ""),
            &GOOD.replace(r#""4""#, r#""1""#),
            &GOOD.replace(r#""?""#, r#"" ""#),
            &GOOD.replace("answer", "anwser"),
            GOOD,
        ];
        assert_eq!(
            told(&rows.join("\n")),
            [
                "items.jsonl:2: EOF while parsing an object",
                "items.jsonl:3: expected `answer` to be one of A, B, C, D, found 'E'",
                "items.jsonl:4: invalid length 3, expected an array of length 4",
                "items.jsonl:5: expected four different choices, found \"1\" twice",
                "items.jsonl:6: expected text in `question`, found none",
                "items.jsonl:7: unknown field `anwser`, expected one of `id`, `question`, `choices`, `answer`",
                "items.jsonl:8: expected ids that occur once, found \"a\" again (line 1)",
            ]
        );
    }

    #[test]
    fn a_file_of_nothing_is_a_mistake_and_a_missing_one_says_where_it_was_looked_for() {
        assert_eq!(told("\n"), ["items.jsonl:1: expected at least one item, found none"]);
        let missing = load(Utf8Path::new("/no/such"), Utf8Path::new("items/x.jsonl")).unwrap_err();
        assert!(missing[0].message.starts_with("cannot read the items items/x.jsonl: No such file"));
    }
}
