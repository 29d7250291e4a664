//! The levels of load of a run in one table, once it is over: [`Levels`] listens to the journal's events. Must not know
//! how they were measured.
//!
//! 各负载级别的汇总表。

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use st_harness::{
    case::TrialId,
    journal::{Event, TrialFinished},
    report::text,
};

/// Gathers the performance trials of a run.
#[derive(Debug, Default)]
pub(crate) struct Levels(Mutex<Heard>);

/// Rows in the order in which the levels were planned: which of them comes to run first is left to chance.
#[derive(Debug, Default)]
struct Heard {
    planned: Vec<TrialId>,
    rows: BTreeMap<usize, Row>,
}

type Row = [String; COLUMNS.len()];

const COLUMNS: [&str; 9] =
    ["level", "requests", "TTFT p50", "TTFT p99", "TPOT p50", "E2E p99", "req/s", "tok/s", "failed"];

impl Levels {
    /// Takes an event; gives the table when the run is over and there was more than one level.
    pub(crate) fn hear(&self, event: &Event) -> Option<String> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::TrialPlanned(planned) if planned.kind == "perf" => {
                heard.planned.push(planned.trial_id.clone());
                None
            }
            Event::TrialFinished(finished) => {
                let place = heard.planned.iter().position(|id| *id == finished.trial_id)?;
                heard.rows.insert(place, row(finished)?);
                None
            }
            Event::RunFinished(_) if heard.rows.len() > 1 => {
                Some(table(&heard.rows.values().collect::<Vec<_>>()))
            }
            _ => None,
        }
    }
}

/// Nothing of a trial that measured nothing.
fn row(finished: &TrialFinished) -> Option<Row> {
    let find = |name: &str, stat: &str| {
        finished.measurements.iter().find(|m| m.name == name && m.stat == stat && m.source == "client")
    };
    let shown = |name: &str, stat: &str, factor: f64, unit: &str| {
        find(name, stat)
            .and_then(|figure| figure.value)
            .map_or_else(|| "-".to_owned(), |value| format!("{:.1}{unit}", value * factor))
    };
    let time = |name: &str, stat: &str| {
        find(name, stat)
            .and_then(|figure| figure.value)
            .map_or_else(|| "-".to_owned(), |seconds| text::duration((seconds * 1e9) as u64))
    };
    let judged = find("failure_ratio", "value")?.n;
    let id = finished.trial_id.as_str();
    Some([
        id.strip_prefix("perf::").unwrap_or(id).to_owned(),
        judged.to_string(),
        time("ttft", "p50"),
        time("ttft", "p99"),
        time("tpot", "p50"),
        time("e2e", "p99"),
        shown("requests_per_second", "value", 1.0, ""),
        shown("output_token_throughput", "value", 1.0, ""),
        shown("failure_ratio", "value", 100.0, " %"),
    ])
}

fn table(rows: &[&Row]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).fold(COLUMNS[column].chars().count(), usize::max)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |cells: [&str; COLUMNS.len()]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            // Names to the left, numbers to the right.
            .map(
                |(column, (cell, width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(COLUMNS)).chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use st_harness::{
        journal::{Planned, RunFinished},
        verdict::{Measurement, Verdict},
    };

    use super::*;

    fn figure(name: &str, stat: &str, value: Option<f64>) -> Measurement {
        Measurement {
            name: name.to_owned(),
            stat: stat.to_owned(),
            unit: String::new(),
            value,
            null_reason: value.is_none().then(String::new),
            n: 16,
            definition: String::new(),
            source: "client".to_owned(),
            labels: serde_json::Map::new(),
        }
    }

    fn finished(id: &str, measurements: Vec<Measurement>) -> Event {
        Event::TrialFinished(Box::new(TrialFinished {
            trial_id: TrialId::new(id).unwrap(),
            attempt: 1,
            verdict: Verdict::Passed,
            reasons: Vec::new(),
            duration_ns: None,
            workload: None,
            seed: None,
            measurements,
            details: None,
            artifacts: Vec::new(),
        }))
    }

    fn level(id: &str, ttft: Option<f64>) -> Event {
        finished(
            id,
            vec![
                figure("ttft", "p50", ttft),
                figure("failure_ratio", "value", Some(0.25)),
                figure("requests_per_second", "value", Some(123.456)),
            ],
        )
    }

    fn over() -> Event {
        Event::RunFinished(RunFinished { exit_code: 0, interrupted: false })
    }

    fn planned(id: &str) -> Event {
        Event::TrialPlanned(Planned {
            trial_id: TrialId::new(id).unwrap(),
            case_id: id.to_owned(),
            kind: TrialId::new(id).unwrap().kind().to_owned(),
            suite: "pr".to_owned(),
            about: None,
            tags: Vec::new(),
            required_capabilities: Vec::new(),
            place: None,
            values: serde_json::Map::new(),
            case_hash: None,
        })
    }

    #[test]
    fn several_levels_end_with_one_table_in_the_order_of_the_plan() {
        let levels = Levels::default();
        for id in ["functional::a::b", "perf::pr::chat::c_1", "perf::pr::chat::c_16"] {
            levels.hear(&planned(id));
        }
        assert_eq!(levels.hear(&level("perf::pr::chat::c_16", None)), None);
        assert_eq!(levels.hear(&finished("functional::a::b", Vec::new())), None);
        assert_eq!(levels.hear(&level("perf::pr::chat::c_1", Some(0.0512))), None);
        let table = levels.hear(&over()).unwrap();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("level           requests  TTFT p50"), "{table}");
        assert!(lines[1].starts_with("pr::chat::c_1         16   51.2 ms"), "{table}");
        assert!(lines[2].starts_with("pr::chat::c_16        16         -"), "{table}");
        assert!(lines[1].ends_with("123.5      -  25.0 %"), "{table}");
    }

    #[test]
    fn a_single_level_needs_no_table() {
        let levels = Levels::default();
        levels.hear(&planned("perf::smoke::chat"));
        levels.hear(&level("perf::smoke::chat", Some(0.1)));
        assert_eq!(levels.hear(&over()), None);
    }
}
