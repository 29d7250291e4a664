//! What a person sees while the command runs: [`Console`], a listener on the journal's events. Standard output
//! stays free for what a program reads.
//!
//! 控制台：监听日志事件。

use std::{collections::BTreeMap, sync::Mutex};

use crate::levels::Levels;
use st_harness::{
    journal::{Event, TrialFinished},
    verdict::Verdict,
};

/// Follows a run on standard error.
#[derive(Debug, Default)]
pub struct Console {
    progress: Mutex<Progress>,
    levels: Levels,
}

#[derive(Debug, Default)]
struct Progress {
    planned: usize,
    over: usize,
    red: usize,
    /// What a person is warned of at the end, by its kind: how many trials, and what is said of the first.
    warned: BTreeMap<String, (usize, String)>,
}

/// Notes of trials that are worth a line even where the trial is green.
const WARNINGS: [&str; 5] =
    ["no-baseline", "regression", "baseline-inconclusive", "baseline-differs", "low-confidence"];

impl Console {
    /// A console that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows `event`, where a person wants to see it.
    pub fn show(&self, event: &Event) {
        if let Some(table) = self.levels.hear(event) {
            eprintln!("\n{table}\n");
        }
        if let Some(text) = self.text(event) {
            eprintln!("{text}");
        }
    }

    /// What to say of `event`.
    fn text(&self, event: &Event) -> Option<String> {
        let mut progress = self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::RunStarted(run) => {
                Some(format!("{} · {} · run {}", run.scenario, run.run_type, run.run_id))
            }
            Event::TrialPlanned(_) => {
                progress.planned += 1;
                None
            }
            Event::ServerReady { .. } => Some(format!("server ready; trials: {}", progress.planned)),
            Event::TrialFinished(finished) => {
                progress.over += 1;
                progress.red += usize::from(word(finished.verdict).is_some_and(|(_, red)| red));
                line(finished, &progress)
            }
            Event::Note { trial_id: Some(_), note } if WARNINGS.contains(&note.kind.as_str()) => {
                let kind = progress.warned.entry(note.kind.clone());
                kind.or_insert_with(|| (0, note.text.clone())).0 += 1;
                None
            }
            Event::RunFinished(_) => {
                let warned = progress.warned.iter().map(|(kind, (count, text))| match count {
                    1 => format!("warning: {kind}: {text}\n"),
                    n => format!("warning: {kind} ({n} trials; the first): {text}\n"),
                });
                let warned: String = warned.collect();
                Some(format!(
                    "{warned}{} of {} trials, {} red",
                    progress.over, progress.planned, progress.red
                ))
            }
            _ => None,
        }
    }
}

/// What a verdict is called here, and whether it is red. A trial that passed or was skipped is not worth a line.
fn word(verdict: Verdict) -> Option<(&'static str, bool)> {
    match verdict {
        Verdict::Passed | Verdict::Skipped | Verdict::Blocked => None,
        Verdict::Failed => Some(("FAILED", true)),
        Verdict::Errored => Some(("ERRORED", true)),
        Verdict::Invalid => Some(("INVALID", true)),
        Verdict::Inconclusive => Some(("inconclusive", false)),
    }
}

fn line(finished: &TrialFinished, progress: &Progress) -> Option<String> {
    let (word, _) = word(finished.verdict)?;
    let mut text = format!("[{}/{}] {word} {}", progress.over, progress.planned, finished.trial_id);
    for reason in &finished.reasons {
        text.push_str(&format!("\n  {}: {}", reason.kind, reason.summary));
        for line in reason.detail.trim_end().lines() {
            text.push_str(&format!("\n  {line}"));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use st_harness::{
        case::TrialId,
        journal::RunFinished,
        verdict::{Note, Reason},
    };

    use super::*;

    fn finished(verdict: Verdict, reasons: Vec<Reason>) -> Event {
        Event::TrialFinished(Box::new(TrialFinished {
            trial_id: TrialId::new("functional::chat_core::basic").expect("a legal id"),
            attempt: 1,
            verdict,
            reasons,
            duration_ns: None,
            workload: None,
            seed: None,
            measurements: Vec::new(),
            details: None,
            artifacts: Vec::new(),
        }))
    }

    #[test]
    fn warnings_of_green_trials_are_gathered_and_told_at_the_end() {
        let console = Console::new();
        for kind in ["no-baseline", "no-baseline", "retried"] {
            let trial_id = TrialId::new("perf::pr::chat");
            let note = Note { kind: kind.to_owned(), text: "nothing to compare with".to_owned() };
            assert_eq!(console.text(&Event::Note { trial_id, note }), None);
        }
        let end = Event::RunFinished(RunFinished { exit_code: 0, interrupted: false });
        assert_eq!(
            console.text(&end).as_deref(),
            Some("warning: no-baseline (2 trials; the first): nothing to compare with\n0 of 0 trials, 0 red")
        );
    }

    #[test]
    fn only_what_is_not_fine_gets_a_line() {
        let console = Console::new();
        assert_eq!(console.text(&finished(Verdict::Passed, Vec::new())), None);
        let reason = Reason::new("status", "expected 200, found 400").with_detail("saved: a.json\n");
        assert_eq!(
            console.text(&finished(Verdict::Failed, vec![reason])).as_deref(),
            Some(
                "[2/0] FAILED functional::chat_core::basic\n  status: expected 200, found 400\n  saved: a.json"
            )
        );
    }
}
