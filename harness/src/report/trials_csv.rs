//! `trials.csv`, one row a planned trial, for spreadsheets and scripts: [`TrialsCsv`].
//! Must not know how a run is carried out.
//!
//! | column | what |
//! |---|---|
//! | `run_id`, `scenario`, `run_type` | of the run |
//! | `id`, `kind`, `suite`, `case_id` | of the trial; `case_id` is the id without matrix values |
//! | `verdict` | `passed failed errored invalid inconclusive skipped blocked interrupted not_run` |
//! | `reason_kind`, `reason` | the first reason, on one line of at most 500 bytes; empty where it simply passed |
//! | `seconds` | inside the lane; empty where it never ran or never finished |
//! | `attempt` | from 1; empty where it never finished |
//! | `file`, `line` | of the expectation that did not hold, else of the case |
//! | `values` | the matrix values as a JSON object |
//! | `capabilities` | those it requires, separated by spaces |
//! | `tags`, `notes` | separated by spaces; notes as `kind: text`, separated by `; ` |
//! | `case_hash`, `workload_hash`, `seed` | empty where there is none |
//! | `artifacts` | paths relative to the run folder, separated by spaces |
//!
//! CSV：每个试验一行。

use crate::{
    journal::{RunRecord, TrialRecord},
    report::{Document, Files, Report, text},
};

/// Renders `trials.csv`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrialsCsv;

/// A column: its name, and what stands in it.
type Column = (&'static str, fn(&RunRecord, &TrialRecord) -> String);

const COLUMNS: [Column; 22] = [
    ("run_id", |run, _| run.started.run_id.clone()),
    ("scenario", |run, _| run.started.scenario.clone()),
    ("run_type", |run, _| run.started.run_type.clone()),
    ("id", |_, trial| trial.id().to_string()),
    ("kind", |_, trial| trial.planned.kind.clone()),
    ("suite", |_, trial| trial.planned.suite.clone()),
    ("case_id", |_, trial| trial.planned.case_id.clone()),
    ("verdict", |_, trial| trial.status().word().to_owned()),
    ("reason_kind", |_, trial| trial.reasons().first().map(|reason| reason.kind.clone()).unwrap_or_default()),
    ("reason", |_, trial| text::headline(trial)),
    ("seconds", |_, trial| optional(trial.duration_ns().map(text::seconds))),
    ("attempt", |_, trial| optional(trial.finished().map(|finished| finished.attempt))),
    ("file", |_, trial| optional(trial.place().map(|place| &place.file))),
    ("line", |_, trial| optional(trial.place().map(|place| place.line))),
    ("values", |_, trial| serde_json::Value::from(trial.planned.values.clone()).to_string()),
    ("capabilities", |_, trial| joined(" ", &trial.planned.required_capabilities)),
    ("tags", |_, trial| joined(" ", &trial.planned.tags)),
    ("notes", |_, trial| {
        joined("; ", trial.notes.iter().map(|note| format!("{}: {}", note.kind, text::one_line(&note.text))))
    }),
    ("case_hash", |_, trial| optional(trial.planned.case_hash.as_ref())),
    ("workload_hash", |_, trial| {
        optional(
            trial.finished().and_then(|finished| finished.workload.as_ref()).map(|workload| &workload.hash),
        )
    }),
    ("seed", |_, trial| optional(trial.finished().and_then(|finished| finished.seed))),
    ("artifacts", |_, trial| joined(" ", trial.artifacts().iter().map(|artifact| &artifact.path))),
];

impl Report for TrialsCsv {
    fn name(&self) -> &'static str {
        "trials_csv"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(COLUMNS.iter().map(|(name, _)| name)).map_err(|error| error.to_string())?;
        for trial in &run.trials {
            csv.write_record(COLUMNS.iter().map(|(_, cell)| cell(run, trial)))
                .map_err(|error| format!("{}: {error}", trial.id()))?;
        }
        let bytes = csv.into_inner().map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        Ok(vec![Document::new("trials.csv", text)])
    }
}

/// What is missing is an empty cell, never 0.
fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn joined(separator: &str, parts: impl IntoIterator<Item = impl ToString>) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(separator)
}
