//! What came of a run over several scenarios: [`Matrix`], a line each, as text, Markdown and JSON. Must not know
//! how a scenario is run.
//!
//! 场景矩阵的汇总表。

use serde::Serialize;
use st_harness::{
    exit::Exit,
    journal::{Counts, RunRecord, Status},
    report::text,
    terminal::{Ink, indented, padded, paint, width},
};

use crate::console::ink;

/// A run over several scenarios.
#[derive(Debug, Clone, Serialize)]
pub struct Matrix {
    /// The run that the scenarios' runs belong to: the name of the folder that theirs lie in.
    pub run_id: String,
    /// `smoke`, `pr`, `daily`.
    pub run_type: String,
    /// In the order in which they run.
    pub lines: Vec<Line>,
}

/// What came of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its name, and that of its folder.
    pub scenario: String,
    /// What its run returned; absent where it was not run, or not yet.
    pub exit_code: Option<u8>,
    /// The one word for it.
    pub status: Option<Status>,
    /// By stage: how many trials ended how.
    pub stages: Vec<Stage>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Why it was not run, or what is odd.
    pub note: Option<String>,
}

/// The trials of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// `functional`, `accuracy`, `perf`.
    pub kind: String,
    /// How many ended how.
    pub counts: Counts,
}

const STAGES: [&str; 3] = ["functional", "accuracy", "perf"];

impl Matrix {
    /// A run whose scenarios all wait.
    pub fn new(run_id: String, run_type: &str, lines: Vec<Line>) -> Self {
        Self { run_id, run_type: run_type.to_owned(), lines }
    }

    /// The lines from `from` on are not run, and say why.
    pub fn leave_out(&mut self, from: usize, why: &str) {
        for line in self.lines.iter_mut().skip(from) {
            line.note = Some(format!("not run: {why}"));
        }
    }

    /// The most serious of all.
    pub fn exit(&self) -> Exit {
        Exit::worst(self.lines.iter().filter_map(|line| line.exit_code).map(Exit::of_code))
    }

    /// For a terminal of 80 columns: where names are too long for that, each stands above its line.
    pub fn text(&self) -> String {
        let heads = ["scenario", "status", STAGES[0], STAGES[1], STAGES[2], "exit", "time"];
        let rows: Vec<[String; 7]> = self.lines.iter().map(Line::row).collect();
        let all = || rows.iter().map(|row| row.each_ref().map(String::as_str)).chain([heads]);
        let widths: [usize; 7] = std::array::from_fn(|at| all().map(|row| width(row[at])).max().unwrap_or(0));
        let above = widths.iter().sum::<usize>() + 2 * (widths.len() - 1) > COLUMNS;
        let line = |row: [&str; 7], status: Option<Status>| {
            let cells = row.iter().zip(widths).enumerate().skip(usize::from(above));
            let cells = cells.map(|(at, (cell, columns))| match (at, status) {
                (0, _) => padded(cell, columns),
                (1, Some(status)) => padded(&paint(ink(status), cell), columns),
                (1, None) => padded(cell, columns),
                _ => indented(cell, columns),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            if above { format!("{}\n  {line}", row[0]) } else { line.to_owned() }
        };
        let mut text = paint(Ink::Strong, &line(heads, None)) + "\n";
        for (one, row) in self.lines.iter().zip(&rows) {
            text += &(line(row.each_ref().map(String::as_str), one.status) + "\n");
            if let Some(note) = &one.note {
                text += &format!("  {note}\n");
            }
        }
        text + "(passed/trials, skipped ones left out)\n"
    }

    /// For a pull request's page.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Matrix · {} · run `{}`\n\n", self.run_type, self.run_id);
        text.push_str("| scenario | status | functional | accuracy | perf | exit | time |\n|---|---|--:|--:|--:|--:|--:|\n");
        for line in &self.lines {
            let [functional, accuracy, perf] = STAGES.map(|kind| line.cell(kind));
            let exit = line.exit_code.map_or_else(|| "·".to_owned(), |code| code.to_string());
            let time = line.seconds.map_or_else(|| "·".to_owned(), |seconds| format!("{seconds:.1} s"));
            let name = &line.scenario;
            text.push_str(&format!(
                "| [`{name}`]({name}/summary.md) | {} | {functional} | {accuracy} | {perf} | {exit} | {time} |\n",
                line.word()
            ));
        }
        for line in self.lines.iter().filter(|line| line.note.is_some()) {
            text.push_str(&format!("\n- `{}` {}", line.scenario, line.note.as_deref().unwrap_or_default()));
        }
        text.push('\n');
        text
    }
}

impl Line {
    /// A scenario whose turn has not come.
    pub fn waiting(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            exit_code: None,
            status: None,
            stages: Vec::new(),
            seconds: None,
            note: None,
        }
    }

    /// Takes what its run returned and what its journal says.
    pub fn over(&mut self, exit: Exit, record: Option<&RunRecord>) {
        self.exit_code = Some(exit.code());
        let Some(record) = record else {
            self.note = Some("it left no journal".to_owned());
            return;
        };
        self.status = Some(record.status());
        self.seconds = Some(text::seconds(record.duration_ns));
        let of = |kind: &&str| record.trials.iter().any(|trial| trial.planned.kind == *kind);
        let counted = |kind: &str| Stage {
            kind: kind.to_owned(),
            counts: Counts::of(record.trials.iter().filter(|trial| trial.planned.kind == kind)),
        };
        self.stages = STAGES.into_iter().filter(of).map(counted).collect();
        if record.finished.is_none() {
            self.note = Some("it ended without its last word: it crashed or was killed".to_owned());
        }
    }

    fn word(&self) -> &'static str {
        match (self.status, &self.note) {
            (Some(status), _) => status.word(),
            (None, Some(_)) => "not run",
            (None, None) => "waiting",
        }
    }

    fn cell(&self, kind: &str) -> String {
        match self.stages.iter().find(|stage| stage.kind == kind) {
            None => "·".to_owned(),
            Some(Stage { counts, .. }) => {
                let left_out = counts.skipped + counts.blocked + counts.not_run;
                format!("{}/{}", counts.passed, counts.planned - left_out)
            }
        }
    }

    /// As the table shows it.
    fn row(&self) -> [String; 7] {
        let [functional, accuracy, perf] = STAGES.map(|kind| self.cell(kind));
        let exit = self.exit_code.map(|code| code.to_string()).unwrap_or_default();
        let time = self.seconds.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default();
        [self.scenario.clone(), self.word().to_owned(), functional, accuracy, perf, exit, time]
    }
}

/// What a terminal has, as a rule.
const COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(kind: &str, passed: usize, skipped: usize) -> Stage {
        let counts = Counts { planned: passed + skipped, passed, skipped, ..Counts::default() };
        Stage { kind: kind.to_owned(), counts }
    }

    fn matrix() -> Matrix {
        let sim = Line {
            exit_code: Some(1),
            status: Some(Status::Failed),
            stages: vec![counted("functional", 900, 40), counted("perf", 8, 0)],
            seconds: Some(21.54),
            ..Line::waiting("sim")
        };
        let mut matrix = Matrix::new("0192".to_owned(), "pr", vec![sim, Line::waiting("attach")]);
        matrix.leave_out(1, "sim was red, and `on_failure: stop_all`");
        matrix
    }

    #[test]
    fn every_scenario_has_its_line_run_or_not() {
        assert_eq!(
            matrix().text(),
            "\u{1b}[1mscenario  status   functional  accuracy  perf  exit    time\u{1b}[0m\n\
             sim       \u{1b}[1;31mfailed\u{1b}[0m      900/900         ·   8/8     1  21.5 s\n\
             attach    not run           ·         ·     ·\n  not run: sim was red, and `on_failure: stop_all`\n\
             (passed/trials, skipped ones left out)\n"
        );
    }

    #[test]
    fn long_names_stand_above_their_lines_and_nothing_is_wider_than_a_terminal() {
        let mut matrix = matrix();
        "local_single_qwen3-32b_guided_w8a8_模型".clone_into(&mut matrix.lines[0].scenario);
        let text = matrix.text();
        assert!(text.lines().all(|line| width(line) <= COLUMNS), "{text}");
        assert!(text.contains("local_single_qwen3-32b_guided_w8a8_模型\n  \u{1b}[1;31mfailed"), "{text}");
    }

    #[test]
    fn the_most_serious_scenario_decides() {
        assert_eq!(matrix().exit(), Exit::Failed);
    }
}
