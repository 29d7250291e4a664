//! `results_{time}.json` of lm-eval: `results.{task}."{metric},{filter}"` with its standard error under
//! `"{metric}_stderr,{filter}"`. Groups have no samples of their own and are told without a number of them. Shown with
//! 0.4.13.
//!
//! lm-eval 结果解析。

use serde_json::Value;

use super::{Node, root};
use crate::tools::{Figure, Record, Unit};

pub(super) fn read(value: &Value) -> Result<Record, String> {
    let document = root(value);
    let mut figures = Vec::new();
    for (task, results) in document.get("results")?.members()? {
        let n = samples(&document, task)?;
        let higher = document.get("higher_is_better")?;
        let higher = higher.find(task)?;
        for (key, value) in results.members()? {
            let Some((metric, filter)) =
                key.split_once(',').filter(|(metric, _)| !metric.ends_with("_stderr"))
            else {
                continue;
            };
            let raw = value.number()?;
            let stderr = results.find(&format!("{metric}_stderr,{filter}"))?;
            // Bootstrapped metrics may have none: it is the text `N/A` then.
            let stderr = stderr.and_then(|node| node.value().as_f64());
            let is_known =
                higher.as_ref().is_none_or(|higher| higher.value().get(metric) != Some(&false.into()));
            let is_ratio = is_known && (0.0..=1.0).contains(&raw);
            figures.push(Figure {
                variant: Some(filter.to_owned()),
                unit: if is_ratio { Unit::Ratio } else { Unit::Count },
                n,
                stderr,
                ..Figure::ratio(task, metric, raw)
            });
        }
    }
    if figures.is_empty() {
        return Err("expected a figure under `results`, found none".to_owned());
    }
    let version = document.find("lm_eval_version")?;
    Ok(Record {
        version: version.map(|version| version.text().map(str::to_owned)).transpose()?,
        made_at: document.find("date")?.map(|date| date.number()).transpose()?,
        figures,
        requests: None,
    })
}

/// How many samples a task was measured on, which has to be as many as were asked for.
fn samples(document: &Node<'_>, task: &str) -> Result<Option<u64>, String> {
    let Some(samples) = document.get("n-samples")?.find(task)? else { return Ok(None) };
    let (whole, used) = (samples.get("original")?.count()?, samples.get("effective")?.count()?);
    let limit = document.get("config")?.find("limit")?.map(|limit| limit.number()).transpose()?;
    let asked = match limit {
        None => whole,
        // Below 1 it is a share.
        Some(share) if share < 1.0 => (share * whole as f64).ceil() as u64,
        Some(limit) => whole.min(limit as u64),
    };
    if used == 0 {
        return Err(format!("incomplete: no sample of `{task}`"));
    }
    if used < asked {
        return Err(format!("incomplete: {used} of {asked} samples of `{task}`"));
    }
    Ok(Some(used))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/tools/lm_eval.json")).unwrap()
    }

    #[test]
    fn a_real_file_says_what_it_says() {
        let record = read(&document()).unwrap();
        let figure = record.find(Some("open_sums"), Some("exact_match,last-number")).unwrap();
        assert_eq!((figure.value, figure.n, record.version.as_deref()), (0.5, Some(6), Some("0.4.13")));
        assert!(figure.stderr.is_some_and(|error| (error - 0.2236).abs() < 1e-4));
        assert!(record.made_at.is_some_and(|at| at > 1.7e9));
        assert_eq!(record.figures.len(), 1);
    }

    #[test]
    fn a_run_that_is_not_whole_is_refused() {
        let mut cut = document();
        cut["config"]["limit"] = Value::Null;
        assert_eq!(read(&cut).unwrap_err(), "incomplete: 6 of 8 samples of `open_sums`");
        cut["config"]["limit"] = json!(7);
        assert_eq!(read(&cut).unwrap_err(), "incomplete: 6 of 7 samples of `open_sums`");
        let mut none = document();
        none["n-samples"]["open_sums"]["effective"] = json!(0);
        assert!(read(&none).unwrap_err().starts_with("incomplete: no sample"));
    }

    #[test]
    fn another_layout_is_told_by_what_is_missing_in_it() {
        let mut other = document();
        other.as_object_mut().unwrap().remove("n-samples");
        assert_eq!(read(&other).unwrap_err(), "expected `n-samples`, found no such key");
        let mut odd = document();
        odd["results"]["open_sums"]["exact_match,last-number"] = json!("0.5");
        let told = "expected results.open_sums.exact_match,last-number to be a number, found \"0.5\"";
        assert_eq!(read(&odd).unwrap_err(), told);
        let mut no_error = document();
        no_error["results"]["open_sums"]["exact_match_stderr,last-number"] = json!("N/A");
        assert_eq!(read(&no_error).unwrap().figures[0].stderr, None);
    }
}
