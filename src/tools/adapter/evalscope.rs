//! `reports/{model}/{dataset}.json` of evalscope. The second layout (shown with 1.14.1) names its primary metric and
//! says whether all samples were scored; the first (described by its documentation, not shown here) has a `score`
//! beside its metrics. Scores are rounded to four places. Any other `schema_version` is refused.
//!
//! evalscope 报告解析（两种版式）。

use serde_json::Value;

use super::{Node, root};
use crate::tools::{Figure, Record, Unit, record::Requests};

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
