//! An accuracy trial held against the latest daily run of the same scenario that asked the same questions in the same
//! way: [`rule`]. Item by item where both have their items, else score against score. Must not compare: the suite's
//! own functions do.
//!
//! | found | on a change | daily |
//! |---|---|---|
//! | worse beyond chance, and by more than the margin | failed | passed, with a warning |
//! | not decided, or asked otherwise | passed, with a warning | passed, with a warning |
//! | no daily run asked this | passed, with a warning | passed, with a warning |
//!
//! 精度基线：与最近一次每日运行逐题（或逐分）比较。

use camino::Utf8Path;
use serde_json::{Value, json};
use st_harness::{
    gate::{Ruling, Subject},
    journal::TrialFinished,
    verdict::{Note, Outcome, Reason, Reasons},
};

use super::{
    Baseline,
    runs::{Runs, Scored},
};
use crate::accuracy::{
    gate::{Comparison, Score, Verdict, compare_items, compare_scores},
    item::{self, Item},
    rescore,
    spec::{Compat, Gate},
};

/// The kind of trials that are held against earlier ones here.
pub(super) const KIND: &str = "accuracy";

/// How many lost items a reason names; all of them are among the numbers.
const LOST: usize = 10;

/// What is said of the trial; nothing where it has no score, or its case does not want it.
pub(super) fn rule(runs: &Runs, enforced: bool, subject: &Subject<'_>) -> Option<Ruling> {
    let details = &subject.trial.details.as_ref()?.value;
    details["accuracy"]["score"].as_f64()?;
    let (workload, wanted) = (subject.trial.workload.as_ref()?, details["gate"]["daily"].as_bool());
    if wanted != Some(true) {
        return None;
    }
    let Some(before) = runs.scored(&workload.hash, subject.run.started_at) else {
        return Some(alone(runs, enforced));
    };
    let compared = held(&before, subject, details);
    Some(Ruling {
        outcome: outcome(&compared, enforced),
        grounds: Some(Reason::new(Baseline::NAME, compared.told.clone())),
        notes: warning(&compared, enforced).into_iter().collect(),
        numbers: numbers(&compared, &before, enforced),
    })
}

/// What is said where there is nothing to compare with.
fn alone(runs: &Runs, enforced: bool) -> Ruling {
    let told = match runs.answered() {
        0 => "there is no daily run of this scenario, so nothing is compared".to_owned(),
        n => format!("none of {n} daily runs asked these questions in this way, so nothing is compared"),
    };
    Ruling {
        outcome: Outcome::Passed,
        grounds: None,
        notes: vec![note("no-baseline", told)],
        numbers: json!({"schema": "score_baseline/1", "enforced": enforced, "baseline": null, "comparison": null}),
    }
}

/// Item by item, where both runs left their items.
fn held(before: &Scored<'_>, subject: &Subject<'_>, details: &Value) -> Comparison {
    let gate = gate(details);
    let compat = compat(details);
    let items = |trial, folder| items(trial, folder, compat);
    match (items(before.trial, before.folder), items(subject.trial, subject.folder)) {
        (Some(earlier), Some(now)) => compare_items(&earlier, &now, &gate),
        _ => {
            let earlier = before.trial.details.as_ref().map_or(&Value::Null, |details| &details.value);
            compare_scores(score(earlier), score(details), &gate)
        }
    }
}

/// The items of a trial whose files lie below `folder`, where it has any: rows of ours, or what a tool said of each.
fn items(trial: &TrialFinished, folder: &Utf8Path, compat: Compat) -> Option<Vec<Item>> {
    let text = |role: &str| {
        let file = trial.artifacts.iter().find(|artifact| artifact.role == role)?;
        std::fs::read_to_string(folder.join(&file.path)).ok()
    };
    match text("items") {
        Some(rows) => Some(Item::of_rows(&rescore::read(&rows).ok()?, compat)),
        None => Item::read(&text(item::TOOL_ROLE)?).ok(),
    }
}

/// How its case wants it to be judged.
fn gate(details: &Value) -> Gate {
    let usual = Gate::default();
    let number = |name: &str, usual| details["gate"][name].as_f64().unwrap_or(usual);
    Gate { alpha: number("alpha", usual.alpha), margin: number("margin", usual.margin), ..usual }
}

fn compat(details: &Value) -> Compat {
    serde_json::from_value(details["compat"].clone()).unwrap_or_default()
}

fn score(details: &Value) -> Score {
    Score {
        score: details["accuracy"]["score"].as_f64().unwrap_or_default(),
        standard_error: details["standard_error"].as_f64(),
        n: details["accuracy"]["total"].as_u64().unwrap_or_default(),
    }
}

fn outcome(compared: &Comparison, enforced: bool) -> Outcome {
    if compared.verdict != Verdict::Fail || !enforced {
        return Outcome::Passed;
    }
    let flips = compared.flips.iter().filter(|flip| flip.now < flip.before).take(LOST);
    let lost: Vec<String> = flips.map(|flip| format!("{}#{}", flip.id, flip.repeat)).collect();
    let lost = if lost.is_empty() { String::new() } else { format!("; lost: {}", lost.join(", ")) };
    let told = format!("worse than the latest daily run: {}{lost}", compared.told);
    Outcome::Failed(Reasons::one(Reason::new("regression", told)))
}

fn warning(compared: &Comparison, enforced: bool) -> Option<Note> {
    match compared.verdict {
        Verdict::Pass => None,
        Verdict::Fail => (!enforced).then(|| note("regression", compared.told.clone())),
        Verdict::Inconclusive | Verdict::Invalid => {
            Some(note("baseline-inconclusive", compared.told.clone()))
        }
    }
}

/// `score_baseline/1`.
fn numbers(compared: &Comparison, before: &Scored<'_>, enforced: bool) -> Value {
    json!({
        "schema": "score_baseline/1",
        "enforced": enforced,
        "baseline": {
            "run_id": before.run.run_id,
            "started_at": before.run.started_at,
            "commit": before.run.commit,
            "trial_id": before.trial.trial_id,
        },
        "comparison": compared,
    })
}

fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}
