//! What the runs say together: [`Told`], medians and ranges, as JSON and as a table for people. Must not know how a
//! figure was measured.
//!
//! 中位数与范围的表格。

use std::fmt::Write as _;

use serde::Serialize;

use super::{Load, Plan, Run};
use crate::perf::quantile::Sorted;

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it is.
    pub what: &'static str,
}

const fn figure(name: &'static str, unit: &'static str, what: &'static str) -> Figure {
    Figure { name, unit, what }
}

/// All of them. An event is an event with a token, as the server sent it; CPU is user and system time of the client's
/// process.
pub const FIGURES: [Figure; 12] = [
    figure("cpu_per_event", "µs", "client CPU an event, from the first request to the last token"),
    figure("cpu_per_event_whole", "µs", "the same, from the process's start to its end"),
    figure("ttft_mean_over", "ms", "mean TTFT above the server's log"),
    figure("ttft_p99_over", "ms", "P99 TTFT above the P99 of the server's log"),
    figure("ttft_error_p50", "ms", "error of a request's TTFT, median"),
    figure("ttft_error_p99", "ms", "error of a request's TTFT, P99"),
    figure("peak_memory", "MiB", "peak memory of the client"),
    figure("start_cpu", "s", "CPU from the process's start to its first request"),
    figure("events_per_s", "1/s", "events in a second"),
    figure("server_cpu_per_event", "µs", "CPU of the null server an event"),
    figure("server_late_mean", "µs", "how late the null server wrote, mean"),
    figure("server_late_share", "%", "its writes more than 1 ms late"),
];

/// A figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// Rounds that have it.
    pub n: usize,
}

/// One client at one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub client: String,
    /// In the order of [`FIGURES`]; null where no round has it.
    pub figures: Vec<Option<Spread>>,
    /// What it says of the worth of its figures, in each round that tells.
    pub verdicts: Vec<String>,
    /// Why, each reason once.
    pub reasons: Vec<String>,
    /// Rounds that failed, and why.
    pub failed: Vec<String>,
}

/// All clients at one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// In words.
    pub name: String,
    /// The load.
    pub load: Load,
    /// In the order of the plan.
    pub rows: Vec<Row>,
}

/// What came of a bench.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// `bench/1`.
    pub schema: &'static str,
    /// This program's version.
    pub version: &'static str,
    /// Whether it was built with optimisation.
    pub optimised: bool,
    /// Processors of the machine.
    pub cpus: usize,
    /// What the figures are.
    pub definitions: [Figure; FIGURES.len()],
    /// One a load.
    pub levels: Vec<Level>,
    /// Every run.
    pub runs: Vec<Run>,
}

impl Told {
    pub(super) fn of(plan: &Plan, runs: Vec<Run>) -> Self {
        let row = |load: &Load, name: &str| {
            let name_of_load = load.name();
            let of: Vec<&Run> =
                runs.iter().filter(|run| run.load == name_of_load && run.client == name).collect();
            Row::of(name, &of)
        };
        let level = |load: &Load| Level {
            name: load.name(),
            load: load.clone(),
            rows: plan.clients.iter().map(|client| row(load, client.name())).collect(),
        };
        Self {
            schema: "bench/1",
            version: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            definitions: FIGURES,
            levels: plan.loads.iter().map(level).collect(),
            runs,
        }
    }

    /// Whether some run has no figures.
    pub fn has_failures(&self) -> bool {
        self.runs.iter().any(|run| run.failed.is_some())
    }

    /// Tables in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for level in &self.levels {
            let _ = level.write(&mut text);
        }
        if !self.optimised {
            text.push_str("This build is not optimised: it measures itself. Use `cargo run --release`.\n");
        }
        text
    }
}

impl Level {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "{}\n", self.name)?;
        write!(text, "| median (range) of the rounds |")?;
        self.rows.iter().try_for_each(|row| write!(text, " {} |", row.client))?;
        writeln!(text, "\n| --- |{}", " --- |".repeat(self.rows.len()))?;
        for (figure, at) in FIGURES.iter().zip(0..) {
            write!(text, "| {}, {} |", figure.what, figure.unit)?;
            for row in &self.rows {
                write!(text, " {} |", row.figures[at].map_or_else(|| "–".to_owned(), Spread::text))?;
            }
            writeln!(text)?;
        }
        if self.rows.iter().any(|row| !row.verdicts.is_empty()) {
            write!(text, "| what it says of its figures |")?;
            for row in &self.rows {
                let told = if row.verdicts.is_empty() { "–".to_owned() } else { row.verdicts.join(", ") };
                write!(text, " {told} |")?;
            }
            writeln!(text)?;
        }
        writeln!(text)?;
        for row in &self.rows {
            row.reasons.iter().try_for_each(|why| writeln!(text, "- {}: {why}", row.client))?;
            row.failed.iter().try_for_each(|why| writeln!(text, "- failed: {why}"))?;
        }
        writeln!(text)
    }
}

impl Row {
    fn of(name: &str, runs: &[&Run]) -> Self {
        let spread = |at: usize| Spread::of(runs.iter().filter_map(|run| run.figures[at]).collect());
        let mut reasons: Vec<String> =
            runs.iter().filter_map(|run| run.verdict.as_ref()).flat_map(|one| one.reasons.clone()).collect();
        reasons.sort();
        reasons.dedup();
        Self {
            client: name.to_owned(),
            figures: (0..FIGURES.len()).map(spread).collect(),
            verdicts: runs
                .iter()
                .filter_map(|run| run.verdict.as_ref())
                .map(|one| one.level.clone())
                .collect(),
            reasons,
            failed: runs.iter().filter_map(|run| run.failed.clone()).collect(),
        }
    }
}

impl Spread {
    fn of(values: Vec<f64>) -> Option<Self> {
        let sorted = Sorted::new(values);
        Some(Self { median: sorted.quantile(0.5)?, min: sorted.min()?, max: sorted.max()?, n: sorted.len() })
    }

    fn text(self) -> String {
        let told = |value: f64| match value.abs() {
            large if large >= 1000.0 => format!("{value:.0}"),
            middle if middle >= 100.0 => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        };
        format!("{} ({} – {})", told(self.median), told(self.min), told(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Client, Verdict};

    fn run(round: u32, client: &str, value: Option<f64>) -> Run {
        Run {
            round,
            load: Load::of(1000).name(),
            client: client.to_owned(),
            figures: vec![value; FIGURES.len()],
            verdict: (client == "vllm-cibench").then(|| Verdict {
                level: "degraded".to_owned(),
                reasons: vec!["the client is busy itself".to_owned()],
            }),
            failed: None,
        }
    }

    fn told(runs: Vec<Run>) -> Told {
        let plan = Plan {
            loads: vec![Load::of(1000)],
            clients: vec![Client::Ours, Client::Peer(vec!["/x/other".to_owned()])],
            rounds: 3,
            folder: "/x".into(),
            keep: false,
        };
        Told::of(&plan, runs)
    }

    #[test]
    fn a_table_tells_the_median_and_the_range_of_each_client() {
        let ours = [3.0, 9.0, 4.0].iter().zip(1..).map(|(value, k)| run(k, "vllm-cibench", Some(*value)));
        let text = told(ours.chain([run(1, "other", None)]).collect()).text();
        assert!(
            text.starts_with("1000 streams, 4000 requests × 100 tokens, one each 20 ms, usage\n"),
            "{text}"
        );
        assert!(text.contains("| mean TTFT above the server's log, ms | 4.00 (3.00 – 9.00) | – |"), "{text}");
        assert!(
            text.contains("| what it says of its figures | degraded, degraded, degraded | – |"),
            "{text}"
        );
        assert_eq!(text.matches("the client is busy itself").count(), 1);
    }

    #[test]
    fn a_run_that_failed_is_told_and_has_no_figure() {
        let failed = Run { failed: Some("it fell over".to_owned()), ..run(1, "other", None) };
        let told = told(vec![failed]);
        assert!(told.has_failures());
        assert!(told.text().contains("- failed: it fell over"));
        assert!(told.levels[0].rows[1].figures.iter().all(Option::is_none));
    }
}
