//! An exam whose outcome is known to the item: fates are dealt to the questions, not drawn for each, so that of a
//! hundred items exactly seventy are right where that was asked for. [`read`] takes one from a file. Must not know
//! how an answer is sent.
//!
//! 考试：按确切比例把答对、截断、失败分配到题目（固定种子）。

use super::answering::Answering;
use super::chance::hash;

/// What is dealt to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Status 500.
    Fails,
    /// An answer without an end.
    Endless,
    /// A right answer.
    Right,
    /// A wrong one.
    Wrong,
}

/// The fate of question `index` of `count`: the shares `fail`, `truncate` and `right` are of all of them, rounded to
/// whole questions, and the rest is wrong. The seed decides which questions they are.
pub(super) fn fate(exam: &Answering, index: usize, seed: u64) -> Fate {
    let key = |index: usize| (hash(&[seed, index as u64, 2]), index);
    let count = exam.items.len();
    let place = (0..count).filter(|other| key(*other) < key(index)).count();
    let upto = |share: f64| (share * count as f64).round() as usize;
    if place < upto(exam.fail) {
        Fate::Fails
    } else if place < upto(exam.fail + exam.truncate) {
        Fate::Endless
    } else if place < upto(exam.fail + exam.truncate + exam.right) {
        Fate::Right
    } else {
        Fate::Wrong
    }
}

/// An exam from a JSON file: `{"items": [{"question", "image"?, "right", "wrong"?, "choice"?}], "right": 0.7, "truncate": 0.1,
/// "fail": 0.05, "dealt": true}`.
///
/// # Errors
/// When the file cannot be read, is no exam, or deals out more than there is.
pub(super) fn read(path: &str) -> Result<Answering, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let exam: Answering = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let shares = [exam.right, exam.truncate, exam.fail];
    let sum: f64 = shares.iter().sum();
    let good = shares.iter().all(|share| (0.0..=1.0).contains(share)) && !(exam.dealt && sum > 1.0 + 1e-9);
    if good {
        Ok(exam)
    } else {
        Err(format!("{path}: expected shares from 0 to 1 that, dealt, add up to 1 at most; found {shares:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Known, Outcome};

    fn exam(count: usize) -> Answering {
        let item = |n: usize| Known {
            question: format!("question number {n}."),
            image: None,
            right: "Answer: yes".to_owned(),
            wrong: "Answer: no".to_owned(),
            choice: false,
        };
        Answering {
            items: (0..count).map(item).collect(),
            right: 0.7,
            truncate: 0.1,
            fail: 0.05,
            dealt: true,
        }
    }

    #[test]
    fn the_shares_come_out_to_the_item_whatever_the_seed() {
        for seed in 0..20 {
            let outcome = |n| exam(40).outcome(&format!("Now question number {n}."), seed).unwrap();
            let all: Vec<Outcome> = (0..40).map(outcome).collect();
            let count = |wanted: &Outcome| all.iter().filter(|found| *found == wanted).count();
            let text = |text: &str| Outcome::Text(text.to_owned());
            let found =
                [&text("Answer: yes"), &Outcome::Endless, &Outcome::Failure, &text("Answer: no")].map(count);
            assert_eq!(found, [28, 4, 2, 6], "{seed}");
        }
    }

    #[test]
    fn the_seed_decides_who_fails() {
        let fails = |seed| (0..40).filter(|n| fate(&exam(40), *n, seed) == Fate::Fails).collect::<Vec<_>>();
        assert_eq!(fails(1), fails(1));
        assert!((2..9).any(|seed| fails(seed) != fails(1)));
    }

    #[test]
    fn a_file_that_deals_out_too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exam.json");
        std::fs::write(&path, r#"{"right": 0.9, "fail": 0.2, "dealt": true}"#).unwrap();
        assert!(read(path.to_str().unwrap()).unwrap_err().contains("add up to 1 at most"));
        assert!(read("/no/such").unwrap_err().starts_with("cannot read /no/such"));
    }
}
