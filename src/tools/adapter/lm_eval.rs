//! `results_{time}.json` of lm-eval: `results.{task}."{metric},{filter}"` with its standard error under
//! `"{metric}_stderr,{filter}"`. Groups have no samples of their own and are told without a number of them. Beside it,
//! `samples_{task}_{time}.jsonl` has a line for each document and filter. Shown with 0.4.13.
//!
//! lm-eval 结果解析。

use camino::Utf8PathBuf;
use serde_json::Value;

use super::{Node, json_lines, root};
use crate::tools::{Figure, Record, Sample, Samples, Unit};

/// Sums of the same numbers in another order differ by so much.
const ROUNDING: f64 = 1e-9;

pub(super) fn read(value: &Value) -> Result<Record, String> {
    let document = root(value);
    let mut figures = Vec::new();
    for (task, results) in document.get("results")?.members()? {
        let n = sample_count(&document, task)?;
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
fn sample_count(document: &Node<'_>, task: &str) -> Result<Option<u64>, String> {
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

/// The samples behind `figure`: those of its task's file that went through its filter.
pub(super) fn samples(files: &[(Utf8PathBuf, String)], figure: &Figure) -> Result<Samples, String> {
    if figure.n.is_none() {
        return Ok(Samples::Unmarked(format!(
            "`{}` is a group, which has no samples of its own",
            figure.task
        )));
    }
    let prefix = format!("samples_{}_", figure.task);
    let is_meant = |path: &Utf8PathBuf| {
        let rest = path.file_name().and_then(|name| name.strip_prefix(&prefix));
        // Another task's name may begin with this one's; a time begins with a digit.
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let meant: Vec<_> = files.iter().filter(|(path, _)| is_meant(path)).collect();
    let [(path, text)] = meant.as_slice() else {
        return Err(format!("expected one file `{prefix}*.jsonl`, found {}", meant.len()));
    };
    let mut samples = Vec::new();
    for (name, line) in json_lines(path, text)? {
        let line = root(&line);
        let at = |told: String| format!("{name}: {told}");
        if Some(line.get("filter").and_then(|filter| filter.text()).map_err(at)?) != figure.variant.as_deref()
        {
            continue;
        }
        let marked = line.get(&figure.metric).map_err(at)?;
        let Ok(score) = marked.ratio() else {
            let why = format!("`{}` is no mark from 0 to 1 of each sample", figure.metric);
            return Ok(Samples::Unmarked(why));
        };
        let text = |key: &str| line.get(key).and_then(|node| node.text()).map_err(at);
        samples.push(Sample {
            id: line.get("doc_id").and_then(|id| id.count()).map_err(at)?.to_string(),
            repeat: 0,
            asked: format!("{}:{}", text("prompt_hash")?, text("target_hash")?),
            score,
        });
    }
    Samples::held_against(samples, figure, ROUNDING)
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

    fn files() -> Vec<(Utf8PathBuf, String)> {
        let text = include_str!("../../../tests/fixtures/tools/lm_eval_samples.jsonl");
        let other = "{\"torn".to_owned();
        vec![
            ("sim/samples_open_sums_2026-11-28T20-25-00.jsonl".into(), text.to_owned()),
            ("sim/samples_open_sums_more_2026-11-28T20-25-00.jsonl".into(), other),
        ]
    }

    fn told(files: &[(Utf8PathBuf, String)]) -> Result<Samples, String> {
        samples(files, &read(&document()).unwrap().figures[0])
    }

    #[test]
    fn the_samples_of_a_real_run_add_up_to_its_result() {
        let Ok(Samples::Each(samples)) = told(&files()) else { panic!("{:?}", told(&files())) };
        let scores: Vec<(&str, f64)> =
            samples.iter().map(|sample| (sample.id.as_str(), sample.score)).collect();
        assert_eq!(scores, [("0", 1.0), ("1", 0.0), ("2", 1.0), ("3", 0.0), ("4", 1.0), ("5", 0.0)]);
        assert_ne!(samples[0].asked, samples[1].asked);
    }

    #[test]
    fn samples_that_are_not_all_there_are_no_samples() {
        let change = |change: &dyn Fn(&str) -> String| vec![(files()[0].0.clone(), change(&files()[0].1))];
        for (files, expected) in [
            (Vec::new(), "expected one file `samples_open_sums_*.jsonl`, found 0"),
            (change(&|text| text.lines().skip(1).collect::<Vec<_>>().join("\n")), "incomplete: 5 samples of"),
            (change(&|text| text[..text.len() - 9].to_owned()), "line 6: expected JSON"),
            (
                change(&|text| text.replace("\"exact_match\": 0.0", "\"exact_match\": 1.0")),
                "to have the mean 0.5 of the result, found 1",
            ),
            (change(&|text| text.replace("last-number", "other")), "incomplete: 0 samples of"),
            (
                change(&|text| text.replace("prompt_hash", "hash")),
                "line 1: expected `prompt_hash`, found no such key",
            ),
        ] {
            let found = told(&files).unwrap_err();
            assert!(found.contains(expected), "{expected}: {found}");
        }
        let unmarked = change(&|text| text.replace("\"exact_match\": 0.0", "\"exact_match\": [1, 2]"));
        assert!(matches!(told(&unmarked), Ok(Samples::Unmarked(_))));
        let group = Figure { n: None, ..Figure::ratio("sums", "exact_match", 0.5) };
        assert!(matches!(samples(&[], &group), Ok(Samples::Unmarked(_))));
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
