//! The flat object of openai/simple-evals (`score`, `score:std`, one key a section) and of its forks. DROP's `f1_score`
//! and `em_score` are from 0 to 100 there, and told as ratios here. Neither tells how many answers there were.
//!
//! nvidia-simple-evals (shown with 26.3) adds `task_name` and `{metric}:stderr`, which with repeats is computed over
//! answers in the order of their coming and means nothing: it is passed over then.
//!
//! simple-evals 及 nvidia-simple-evals 结果解析。

use serde_json::Value;

use super::{Node, root};
use crate::tools::{Figure, Record};

/// Not ratios: lengths of answers and the like.
const COUNTS: [&str; 2] = ["chars", "n_repeats"];
/// From 0 to 100.
const PERCENT: [&str; 2] = ["f1_score", "em_score"];

/// openai/simple-evals: the task stands in the file's name only.
pub(super) fn read(value: &Value) -> Result<Record, String> {
    let document = root(value);
    document.get("score")?.ratio()?;
    figures(&document, "simple_evals", false)
}

pub(super) fn read_nvidia(value: &Value) -> Result<Record, String> {
    let document = root(value);
    document.get("score")?.ratio()?;
    let task = document.get("task_name")?.text()?;
    let repeats = document.find("n_repeats")?.map(|repeats| repeats.count()).transpose()?;
    figures(&document, task, repeats.is_none_or(|repeats| repeats == 1))
}

fn figures(document: &Node<'_>, task: &str, with_errors: bool) -> Result<Record, String> {
    let mut figures = Vec::new();
    for (key, value) in document.members()? {
        if key.contains(':') || COUNTS.contains(&key) || value.value().as_f64().is_none() {
            continue;
        }
        let figure = match PERCENT.contains(&key) {
            true => Figure::percent(task, key, value.number()?),
            false => Figure::ratio(task, key, value.ratio()?),
        };
        let stderr = document.find(&format!("{key}:stderr"))?.filter(|_| with_errors);
        let stderr = stderr.map(|error| error.number()).transpose()?;
        figures.push(Figure { stderr, ..figure });
    }
    Ok(Record { version: None, made_at: None, figures, requests: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fixture(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_real_file_of_nvidia_says_what_it_says() {
        let record =
            read_nvidia(&fixture(include_str!("../../../tests/fixtures/tools/nvidia_simple_evals.json")))
                .unwrap();
        let score = record.find(Some("gpqa_diamond"), Some("score")).unwrap();
        assert!((score.value - 5.0 / 6.0).abs() < 1e-12 && score.n.is_none());
        assert!(score.stderr.is_some_and(|error| (error - 1.0 / 6.0).abs() < 1e-12));
    }

    #[test]
    fn with_repeats_its_standard_error_means_nothing() {
        let file = json!({"task_name": "t", "score": 0.5, "score:stderr": 0.1, "n_repeats": 4});
        assert_eq!(read_nvidia(&file).unwrap().figures[0].stderr, None);
    }

    #[test]
    fn sections_are_figures_lengths_are_not_and_per_cent_become_ratios() {
        let file = json!({"score": 0.5, "score:std": 0.5, "chars": 812.5, "stem": 0.25, "f1_score": 50.0,
                          "accuracy": {"ok": true}});
        let figures = read(&file).unwrap().figures;
        let told: Vec<_> =
            figures.iter().map(|figure| (figure.metric.as_str(), figure.value, figure.raw)).collect();
        assert_eq!(told, [("score", 0.5, 0.5), ("stem", 0.25, 0.25), ("f1_score", 0.5, 50.0)]);
    }

    #[test]
    fn a_file_without_a_score_is_told_so() {
        assert_eq!(read(&json!({})).unwrap_err(), "expected `score`, found no such key");
        assert_eq!(
            read(&json!({"score": 50})).unwrap_err(),
            "expected score to be a ratio from 0 to 1, found 50"
        );
        assert_eq!(read(&json!({"score": null})).unwrap_err(), "expected `score`, found no such key");
        assert_eq!(
            read_nvidia(&json!({"score": 0.5})).unwrap_err(),
            "expected `task_name`, found no such key"
        );
    }
}
