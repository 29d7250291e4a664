//! The levels of load of a run in one table, once it is over: [`Levels`] listens to the journal's events. Must not know
//! how they were measured.
//!
//! 各负载级别的汇总表。

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use st_harness::{
    case::TrialId,
    journal::{Event, TrialFinished},
    report::text,
    terminal::{self, Ink, paint},
};

use crate::report::{sweeps::sweeps, turns};

/// Gathers the performance trials of a run.
#[derive(Debug, Default)]
pub(crate) struct Levels(Mutex<Heard>);

/// Rows in the order in which the levels were planned: what came to its end may leave gaps.
#[derive(Debug, Default)]
struct Heard {
    planned: Vec<TrialId>,
    rows: BTreeMap<usize, Row>,
    finished: BTreeMap<usize, TrialFinished>,
}

/// How a row says that nothing failed.
const NONE_FAILED: &str = "0.0 %";

type Row = [String; COLUMNS.len()];

/// Two lines of heads keep the columns narrow.
const COLUMNS: [(&str, &str); 9] = [
    ("", ""),
    ("", "n"),
    ("TTFT", "p50"),
    ("TTFT", "p99"),
    ("TPOT", "p50"),
    ("E2E", "p99"),
    ("", "req/s"),
    ("", "tok/s"),
    ("", "failed"),
];

impl Levels {
    /// Takes an event; gives the table when the run is over and there was more than one level, and those of conversations
    /// turn by turn.
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
                heard.finished.insert(place, TrialFinished::clone(finished));
                None
            }
            Event::RunFinished(_) => heard.told(),
            _ => None,
        }
    }
}

impl Heard {
    fn told(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.rows.len() > 1 {
            let mut text = table(&self.rows.values().collect::<Vec<_>>());
            for sweep in sweeps(self.finished.values()) {
                let _ = write!(text, "\n{}", sweep.told());
            }
            parts.push(text);
        }
        let by_turn = |finished: &TrialFinished| {
            turns::told(finished.trial_id.as_str(), &finished.details.as_ref()?.value)
        };
        parts.extend(self.finished.values().filter_map(by_turn));
        (!parts.is_empty()).then(|| parts.join("\n\n"))
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

/// The table, within 80 columns for names that are not too long: what all names begin with stands above it, and of
/// failures nothing is said where there are none.
fn table(rows: &[&Row]) -> String {
    let title = common(rows);
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| {
            let mut row = (*row).clone();
            row[0] = row[0][title.len()..].replace("::", " ");
            row
        })
        .collect();
    let last = if rows.iter().all(|row| row[COLUMNS.len() - 1] == NONE_FAILED) { 1 } else { 0 };
    let columns = COLUMNS.len() - last;
    let heads = [COLUMNS.map(|(over, _)| over.to_owned()), COLUMNS.map(|(_, under)| under.to_owned())];
    let wide =
        |column: usize| rows.iter().chain(&heads).map(|row| terminal::width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths).enumerate();
        // Names to the left, numbers to the right.
        let padded = cells.map(|(column, (cell, width))| match column {
            0 => terminal::padded(cell, *width),
            _ => terminal::indented(cell, *width),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let title = title.trim_end_matches("::").to_owned();
    let mut lines = heads.iter().map(|head| paint(Ink::Strong, &line(head))).collect::<Vec<_>>();
    if !title.is_empty() {
        lines.insert(0, paint(Ink::Strong, &title));
    }
    lines.extend(rows.iter().map(line));
    lines.join("\n")
}

/// What all names begin with, up to a `::`.
fn common(rows: &[&Row]) -> String {
    let Some((first, others)) = rows.split_first() else { return String::new() };
    let ends = first[0].match_indices("::").map(|(at, mark)| at + mark.len());
    let shared = |end: &usize| others.iter().all(|row| row[0].starts_with(&first[0][..*end]));
    ends.filter(shared).last().map_or_else(String::new, |end| first[0][..end].to_owned())
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
        assert_eq!(lines[0], "\u{1b}[1mpr::chat\u{1b}[0m");
        assert!(lines[1].contains("TTFT  TTFT"), "{table}");
        assert_eq!(lines[3], "c_1   16  51.2 ms     -     -    -  123.5      -  25.0 %");
        assert_eq!(lines[4], "c_16  16        -     -     -    -  123.5      -  25.0 %");
        assert!(lines.iter().all(|line| terminal::width(line) <= 80), "{table}");
    }

    #[test]
    fn where_nothing_failed_nothing_is_said_of_it() {
        let row = |name: &str| {
            let mut row: Row = std::array::from_fn(|_| "1".to_owned());
            (row[0], row[8]) = (name.to_owned(), NONE_FAILED.to_owned());
            row
        };
        let (one, other) =
            (row("daily::chat::c_16::in_4096::out_1024"), row("daily::chat::c_16::in_4096::out_4096"));
        let told = table(&[&one, &other]);
        assert!(told.contains("daily::chat::c_16::in_4096") && !told.contains("failed"), "{told}");
        assert!(told.lines().last().unwrap().starts_with("out_4096"), "{told}");
    }

    #[test]
    fn the_knee_of_a_sweep_stands_below_its_table() {
        let levels = Levels::default();
        for (concurrency, kept) in [(1, 1.0), (2, 0.95), (4, 0.3)] {
            let finished = crate::report::sweeps::tests::at(concurrency, Some(kept));
            levels.hear(&planned(finished.trial_id.as_str()));
            levels.hear(&Event::TrialFinished(Box::new(finished)));
        }
        let table = levels.hear(&over()).unwrap();
        let last = table.lines().last().unwrap();
        assert_eq!(last, "knee: concurrency 2 is the highest that keeps 90 % of requests with ttft ≤ 0.5 s");
    }

    #[test]
    fn a_single_level_needs_no_table() {
        let levels = Levels::default();
        levels.hear(&planned("perf::smoke::chat"));
        levels.hear(&level("perf::smoke::chat", Some(0.1)));
        assert_eq!(levels.hear(&over()), None);
    }
}
