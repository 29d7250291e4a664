//! `reports/{model}/{dataset}.json` of evalscope. The second layout (shown with 1.14.1) names its primary metric and
//! says whether all samples were scored; the first (described by its documentation, not shown here) has a `score`
//! beside its metrics. Scores are rounded to four places. Any other `schema_version` is refused. Beside it,
//! `reviews/{model}/{dataset}_{subset}.jsonl` has a line for each sample.
//!
//! evalscope 报告解析（两种版式）。

use camino::Utf8PathBuf;
use serde_json::Value;

use super::{Node, json_lines, root};
use crate::{
    tools::{Figure, Record, Sample, Samples, Unit, record::Requests},
    workload::sha256_hex,
};

/// The report's scores have four places.
const ROUNDING: f64 = 5.1e-5;

pub(super) fn read(value: &Value) -> Result<Record, String> {
    let document = root(value);
    let task = document.get("dataset_name")?.text()?;
    match document.find("schema_version")? {
        None => first(&document, task),
        Some(version) if version.value() == 2 => second(&document, task),
        Some(version) => Err(version.wrong("2, or not there")),
    }
}

fn second(document: &Node<'_>, task: &str) -> Result<Record, String> {
    let done = document.get("execution_summary")?;
    let (asked, errored) = (done.get("requested")?.count()?, done.get("errored")?.count()?);
    if done.get("incomplete")?.value() != &Value::Bool(false) {
        let scored = done.get("succeeded")?.count()?;
        return Err(format!(
            "incomplete: {scored} of {asked} samples of `{task}` were scored, {errored} errored"
        ));
    }
    if document.find("primary_metric_identity")?.is_none() {
        let why = document.find("primary_metric_unavailable_reason")?;
        let why = why.and_then(|why| why.text().ok()).unwrap_or("no reason is given");
        return Err(format!("it has no primary metric: {why}"));
    }
    let mut figures = Vec::new();
    for metric in document.get("metrics")?.elements()? {
        let (identity, semantics) = (metric.get("identity")?, metric.get("semantics")?);
        let raw = metric.get("score")?.number()?;
        let figure = Figure {
            variant: Some(identity.get("aggregation")?.text()?.to_owned()),
            n: Some(metric.get("num")?.count()?),
            ..Figure::ratio(task, identity.get("name")?.text()?, raw)
        };
        figures.push(Figure { unit: unit(&semantics, raw)?, ..figure });
    }
    whole(figures, Some(Requests { total: asked, failed: errored }))
}

/// A ratio, where the file says that it lies between 0 and 1 and more is better.
fn unit(semantics: &Node<'_>, raw: f64) -> Result<Unit, String> {
    let better = semantics.get("direction")?.text()? == "higher_is_better";
    let Some(range) = semantics.find("value_range")? else { return Ok(Unit::Count) };
    let bound = |key: &str| range.find(key).ok().flatten().and_then(|bound| bound.number().ok());
    match (bound("min"), bound("max")) {
        (Some(0.0), Some(1.0)) if better && !(0.0..=1.0).contains(&raw) => {
            Err(format!("expected a score from 0 to 1 as its value_range says, found {raw}"))
        }
        (Some(0.0), Some(1.0)) if better => Ok(Unit::Ratio),
        _ => Ok(Unit::Count),
    }
}

fn first(document: &Node<'_>, task: &str) -> Result<Record, String> {
    // The score of the whole; the metrics repeat it and tell how many there were.
    document.get("score")?.number()?;
    let mut figures = Vec::new();
    for metric in document.get("metrics")?.elements()? {
        let (name, score) = (metric.get("name")?.text()?, metric.get("score")?.ratio()?);
        figures.push(Figure { n: Some(metric.get("num")?.count()?), ..Figure::ratio(task, name, score) });
    }
    whole(figures, None)
}

fn whole(figures: Vec<Figure>, requests: Option<Requests>) -> Result<Record, String> {
    match figures.iter().any(|figure| figure.n != Some(0)) {
        true => Ok(Record { version: None, made_at: None, figures, requests }),
        false => Err("incomplete: no sample was scored".to_owned()),
    }
}

/// The samples behind `figure`: every line of its data set's files, one a subset.
pub(super) fn samples(files: &[(Utf8PathBuf, String)], figure: &Figure) -> Result<Samples, String> {
    let prefix = format!("{}_", figure.task);
    let mut samples = Vec::new();
    for (path, text) in files {
        let Some(subset) = path.file_stem().and_then(|stem| stem.strip_prefix(&prefix)) else { continue };
        for (name, line) in json_lines(path, text)? {
            match sample(subset, &root(&line)).map_err(|told| format!("{name}: {told}"))? {
                Some(sample) => samples.push(sample),
                None => {
                    return Ok(Samples::Unmarked("its samples have no single mark from 0 to 1".to_owned()));
                }
            }
        }
    }
    if samples.iter().any(|sample| sample.repeat > 0) {
        return Ok(Samples::Unmarked("it asked for several answers to one question".to_owned()));
    }
    Samples::held_against(samples, figure, ROUNDING)
}

/// A line; nothing where it has no mark that is known here.
fn sample(subset: &str, line: &Node<'_>) -> Result<Option<Sample>, String> {
    let marked = line.get("sample_score")?;
    let Some(score) = mark(&marked.get("score")?)? else { return Ok(None) };
    let mut asked = line.get("target")?.value().to_string();
    for message in line.get("messages")?.elements()? {
        if message.get("role")?.text()? != "assistant" {
            asked += &message.get("content")?.value().to_string();
        }
    }
    let generation = marked.get("generation_index")?.count()?;
    Ok(Some(Sample {
        id: format!("{subset}/{}", marked.get("group_id")?.value()),
        repeat: u32::try_from(generation).unwrap_or(u32::MAX),
        asked: sha256_hex(asked.as_bytes()),
        score,
    }))
}

/// What a sample is worth: its main score, or its only one.
fn mark(score: &Node<'_>) -> Result<Option<f64>, String> {
    let values = score.get("value")?.members()?;
    let main = score.find("main_score_name")?.map(|name| name.text()).transpose()?;
    let meant = match (main, values.as_slice()) {
        (Some(main), _) => values.iter().find(|(name, _)| *name == main).map(|(_, value)| value),
        (None, [(_, only)]) => Some(only),
        (None, _) => None,
    };
    Ok(meant.and_then(|value| match value.value() {
        Value::Bool(right) => Some(f64::from(u8::from(*right))),
        _ => value.ratio().ok(),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/tools/evalscope_v2.json")).unwrap()
    }

    #[test]
    fn a_real_file_of_the_second_layout_says_what_it_says() {
        let record = read(&document()).unwrap();
        let score = record.find(Some("general_mcq"), Some("accuracy,mean")).unwrap();
        assert_eq!((score.value, score.n, score.unit), (0.8333, Some(6), Unit::Ratio));
        assert_eq!(record.requests, Some(Requests { total: 6, failed: 0 }));
    }

    #[test]
    fn the_first_layout_is_read_and_an_unknown_one_is_not() {
        let old = json!({"name": "m@gsm8k", "dataset_name": "gsm8k", "model_name": "m", "score": 0.75, "num": 4,
            "metrics": [{"name": "mean_acc", "num": 4, "score": 0.75, "macro_score": 0.75, "categories": []}]});
        assert_eq!(read(&old).unwrap().figures[0].value, 0.75);
        let mut new = document();
        new["schema_version"] = json!(3);
        assert_eq!(read(&new).unwrap_err(), "expected schema_version to be 2, or not there, found 3");
    }

    fn reviews() -> Vec<(Utf8PathBuf, String)> {
        let text = include_str!("../../../tests/fixtures/tools/evalscope_reviews.jsonl");
        vec![("reviews/sim/general_mcq_open.jsonl".into(), text.to_owned())]
    }

    fn told(files: &[(Utf8PathBuf, String)]) -> Result<Samples, String> {
        samples(files, &read(&document()).unwrap().figures[0])
    }

    #[test]
    fn the_samples_of_a_real_run_add_up_to_its_report() {
        let Ok(Samples::Each(samples)) = told(&reviews()) else { panic!("{:?}", told(&reviews())) };
        let wrong: Vec<&str> =
            samples.iter().filter(|sample| sample.score == 0.0).map(|sample| sample.id.as_str()).collect();
        assert_eq!((samples.len(), wrong), (6, vec!["open/3"]));
        assert_ne!(samples[0].asked, samples[1].asked);
    }

    #[test]
    fn samples_that_are_not_all_there_are_no_samples() {
        let change =
            |change: &dyn Fn(&str) -> String| vec![(reviews()[0].0.clone(), change(&reviews()[0].1))];
        for (files, expected) in [
            (Vec::new(), "incomplete: 0 samples of"),
            (change(&|text| text.lines().skip(1).collect::<Vec<_>>().join("\n")), "incomplete: 5 samples of"),
            (
                change(&|text| text[..text.len() - 9].to_owned()),
                "incomplete: reviews/sim/general_mcq_open.jsonl: line 6:",
            ),
            (
                change(&|text| text.replace("\"accuracy\": 0.0", "\"accuracy\": 1.0")),
                "to have the mean 0.8333 of the result",
            ),
            (
                change(&|text| text.replace("sample_score", "score")),
                "expected `sample_score`, found no such key",
            ),
        ] {
            let found = told(&files).unwrap_err();
            assert!(found.contains(expected), "{expected}: {found}");
        }
        let several = change(&|text| text.replace("\"generation_index\": 0", "\"generation_index\": 1"));
        assert!(matches!(told(&several), Ok(Samples::Unmarked(_))));
    }

    #[test]
    fn what_it_calls_incomplete_is_no_score() {
        let mut cut = document();
        cut["execution_summary"] = json!({"requested": 6, "succeeded": 4, "errored": 2, "incomplete": true});
        let told = "incomplete: 4 of 6 samples of `general_mcq` were scored, 2 errored";
        assert_eq!(read(&cut).unwrap_err(), told);
        let mut none = document();
        none["primary_metric_identity"] = Value::Null;
        assert!(read(&none).unwrap_err().starts_with("it has no primary metric"));
    }
}
