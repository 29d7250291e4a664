//! The answers that a run over MME leaves, a file a subtask: `image<TAB>question<TAB>right answer<TAB>answer`. Scored
//! here as MME's own script does: of each image two questions are asked, `acc` is the share of right answers,
//! `acc_plus` that of images both of whose answers are right, and a subtask is worth 100 × (acc + acc_plus). Written
//! from the documented layout: no run over MME was seen here, whose images have to be applied for.
//!
//! MME 结果：按图两问计分（acc 与 acc+）。

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::{
    mme::{MOST, Pairs, answer},
    tools::{Figure, Record},
};

const PERCEPTION: [&str; 10] = [
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
];
const COGNITION: [&str; 4] =
    ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"];

pub(super) fn read(files: &[(Utf8PathBuf, String)]) -> Result<Record, String> {
    let mut scores = BTreeMap::new();
    let mut all_figures = Vec::new();
    for (path, text) in files {
        let name = path.file_stem().unwrap_or_default();
        if !PERCEPTION.contains(&name) && !COGNITION.contains(&name) {
            return Err(format!("expected a subtask of MME as the name of {path}, found `{name}`"));
        }
        let pairs = subtask(text).map_err(|told| format!("{path}: {told}"))?;
        all_figures.extend(figures(name, pairs));
        scores.insert(name, pairs.score());
    }
    all_figures.extend(together("perception", &PERCEPTION, &scores));
    all_figures.extend(together("cognition", &COGNITION, &scores));
    let all: Vec<&str> = PERCEPTION.into_iter().chain(COGNITION).collect();
    all_figures.extend(together("total", &all, &scores));
    Ok(Record { version: None, made_at: None, figures: all_figures, requests: None })
}

/// The sum of `subtasks`, where every one of them was scored: part of a sum is none.
fn together(metric: &str, subtasks: &[&str], scores: &BTreeMap<&str, f64>) -> Option<Figure> {
    let sum: f64 = subtasks.iter().map(|name| scores.get(name).copied()).sum::<Option<f64>>()?;
    Some(Figure { raw: sum, ..Figure::ratio("mme", metric, sum / (MOST * subtasks.len() as f64)) })
}

/// Which answers about each picture of a subtask are right.
fn subtask(text: &str) -> Result<Pairs, String> {
    let mut by_image: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [image, _, wanted, said] = cells.as_slice() else {
            return Err(format!("line {number}: expected 4 cells, found {}", cells.len()));
        };
        let wanted = answer(wanted).ok_or_else(|| {
            format!("line {number}: expected Yes or No as the right answer, found {wanted:?}")
        })?;
        by_image.entry(image).or_default().push(answer(said) == Some(wanted));
    }
    if by_image.is_empty() {
        return Err("incomplete: it holds no answer".to_owned());
    }
    let two = |(image, all): (&&str, &Vec<bool>)| {
        <[bool; 2]>::try_from(all.as_slice())
            .map_err(|_| format!("incomplete: expected two answers about `{image}`, found {}", all.len()))
    };
    Ok(Pairs::of(by_image.iter().map(two).collect::<Result<Vec<_>, _>>()?))
}

fn figures(name: &str, pairs: Pairs) -> [Figure; 3] {
    [
        Figure { n: Some(2 * pairs.images), ..Figure::ratio(name, "acc", pairs.acc()) },
        Figure { n: Some(pairs.images), ..Figure::ratio(name, "acc_plus", pairs.acc_plus()) },
        Figure { raw: pairs.score(), ..Figure::ratio(name, "score", pairs.score() / MOST) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &str = "Is it? Please answer yes or no.";

    fn file(name: &str, answers: &[(&str, &str, &str)]) -> (Utf8PathBuf, String) {
        let line =
            |(image, wanted, said): &(&str, &str, &str)| format!("{image}\t{QUESTION}\t{wanted}\t{said}\n");
        (format!("results/{name}.txt").into(), answers.iter().map(line).collect())
    }

    #[test]
    fn an_image_counts_twice_and_once_more_where_both_answers_are_right() {
        let files = [file(
            "count",
            &[("a", "Yes", "yes"), ("a", "No", "No."), ("b", "Yes", "Yes, it is"), ("b", "No", "y")],
        )];
        let record = read(&files).unwrap();
        let told: Vec<_> = record.figures.iter().map(|one| (one.name(), one.value, one.raw, one.n)).collect();
        assert_eq!(
            told,
            [
                ("count acc".to_owned(), 0.75, 0.75, Some(4)),
                ("count acc_plus".to_owned(), 0.5, 0.5, Some(2)),
                ("count score".to_owned(), 0.625, 125.0, None),
            ]
        );
    }

    #[test]
    fn a_sum_is_told_only_of_all_its_subtasks() {
        let right = |name: &&str| file(name, &[("a", "Yes", "yes"), ("a", "No", "no")]);
        let mut files: Vec<_> = COGNITION.iter().map(right).collect();
        let record = read(&files).unwrap();
        let sum = record.find(Some("mme"), Some("cognition")).unwrap();
        assert_eq!((sum.raw, sum.value), (800.0, 1.0));
        assert!(record.find(Some("mme"), Some("total")).is_err());
        files.extend(PERCEPTION.iter().map(right));
        assert_eq!(read(&files).unwrap().find(Some("mme"), Some("total")).unwrap().raw, 2800.0);
        files.pop();
        assert!(read(&files).unwrap().find(Some("mme"), Some("perception")).is_err());
    }

    #[test]
    fn what_is_not_whole_or_not_of_mme_is_refused() {
        let told = |file| read(&[file]).unwrap_err();
        assert_eq!(
            told(file("OCR", &[("a", "Yes", "yes")])),
            "results/OCR.txt: incomplete: expected two answers about `a`, found 1"
        );
        assert!(
            told(file("log", &[])).starts_with("expected a subtask of MME as the name of results/log.txt")
        );
        assert!(told(file("OCR", &[])).ends_with("incomplete: it holds no answer"));
        assert!(
            told(file("OCR", &[("a", "Maybe", "yes")])).contains("expected Yes or No as the right answer")
        );
        assert!(
            told(("r/OCR.txt".into(), "a b\n".to_owned())).ends_with("line 1: expected 4 cells, found 1")
        );
    }
}
