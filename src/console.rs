//! What a person sees while the command runs: [`Console`], a listener on the journal's events. Standard output
//! stays free for what a program reads.
//!
//! 控制台：监听日志事件。

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use st_harness::{
    journal::{Event, Status, TrialFinished},
    terminal::{self, Ink, paint},
    verdict::Verdict,
};

use crate::levels::Levels;

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
    counts: BTreeMap<Status, usize>,
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
            terminal::say(&format!("\n{table}\n"));
        }
        if let Some(text) = self.text(event) {
            terminal::say(&text);
        }
    }

    /// What to say of `event`.
    fn text(&self, event: &Event) -> Option<String> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::RunStarted(run) => {
                let name = paint(Ink::Strong, &format!("{} · {}", run.scenario, run.run_type));
                Some(format!("{name} · run {}", run.run_id))
            }
            Event::TrialPlanned(_) => {
                progress.planned += 1;
                None
            }
            Event::ServerReady { .. } => Some(format!("server ready; trials: {}", progress.planned)),
            Event::TrialFinished(finished) => {
                progress.over += 1;
                // One was not planned: `setup::server` is a trial only when it is red.
                progress.planned = progress.planned.max(progress.over);
                *progress.counts.entry(Status::from(finished.verdict)).or_default() += 1;
                line(finished, &progress)
            }
            Event::Note { trial_id: Some(_), note } if WARNINGS.contains(&note.kind.as_str()) => {
                let kind = progress.warned.entry(note.kind.clone());
                kind.or_insert_with(|| (0, note.text.clone())).0 += 1;
                None
            }
            Event::RunFinished(_) => Some(progress.end()),
            _ => None,
        }
    }
}

impl Progress {
    /// The warnings, and how many trials ended how.
    fn end(&self) -> String {
        let warned = self.warned.iter().map(|(kind, (count, text))| match count {
            1 => format!("warning: {kind}: {text}\n"),
            n => format!("warning: {kind} ({n} trials; the first): {text}\n"),
        });
        let warned: String = warned.collect();
        let there = Status::WORST_FIRST.into_iter().rev();
        let there = there.filter_map(|status| Some(told(*self.counts.get(&status)?, status)));
        let trials = match self.planned - self.over {
            0 => format!("{} trials", self.planned),
            _ => format!("{} of {} trials", self.over, self.planned),
        };
        let list = there.collect::<Vec<_>>().join(", ");
        format!("{warned}{trials}{}{list}", if list.is_empty() { "" } else { ": " })
    }
}

/// `3 failed`, in the colour of it.
pub(crate) fn told(count: usize, status: Status) -> String {
    paint(ink(status), &format!("{count} {}", status.word().replace('_', " ")))
}

/// The colour of a status.
pub(crate) fn ink(status: Status) -> Ink {
    match status {
        Status::Passed => Ink::Good,
        red if red.is_red() => Ink::Bad,
        _ => Ink::Doubt,
    }
}

/// What a verdict is called here. A trial that passed or was skipped is not worth a line.
fn word(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Passed | Verdict::Skipped | Verdict::Blocked => None,
        Verdict::Failed => Some("FAILED"),
        Verdict::Errored => Some("ERRORED"),
        Verdict::Invalid => Some("INVALID"),
        Verdict::Inconclusive => Some("inconclusive"),
    }
}

fn line(finished: &TrialFinished, progress: &Progress) -> Option<String> {
    let ink = ink(Status::from(finished.verdict));
    let word = paint(ink, word(finished.verdict)?);
    let id = paint(Ink::Strong, finished.trial_id.as_str());
    let mut text = format!("[{}/{}] {word} {id}", progress.over, progress.planned);
    for reason in &finished.reasons {
        text.push_str(&format!("\n  {}: {}", paint(ink, &reason.kind), reason.summary));
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
        journal::{Planned, RunFinished},
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
            Some("warning: no-baseline (2 trials; the first): nothing to compare with\n0 trials")
        );
    }

    #[test]
    fn only_what_is_not_fine_gets_a_line_and_the_end_counts_all() {
        let console = Console::new();
        assert_eq!(console.text(&planned()), None);
        assert_eq!(console.text(&planned()), None);
        assert_eq!(console.text(&finished(Verdict::Passed, Vec::new())), None);
        let reason = Reason::new("status", "expected 200, found 400").with_detail("saved: a.json\n");
        assert_eq!(
            console.text(&finished(Verdict::Failed, vec![reason])).as_deref(),
            Some(
                "[2/2] \u{1b}[1;31mFAILED\u{1b}[0m \u{1b}[1mfunctional::chat_core::basic\u{1b}[0m\n  \
                 \u{1b}[1;31mstatus\u{1b}[0m: expected 200, found 400\n  saved: a.json"
            )
        );
        let end = Event::RunFinished(RunFinished { exit_code: 1, interrupted: false });
        assert_eq!(
            console.text(&end).as_deref(),
            Some("2 trials: \u{1b}[32m1 passed\u{1b}[0m, \u{1b}[1;31m1 failed\u{1b}[0m")
        );
    }

    #[test]
    fn a_trial_that_was_not_planned_is_counted_too() {
        let console = Console::new();
        console.text(&planned());
        console.text(&finished(Verdict::Errored, Vec::new()));
        console.text(&finished(Verdict::Blocked, Vec::new()));
        let end = Event::RunFinished(RunFinished { exit_code: 6, interrupted: false });
        let told = console.text(&end).expect("the end is told");
        assert!(told.starts_with("2 trials: "), "{told}");
    }

    fn planned() -> Event {
        let id = TrialId::new("functional::chat_core::basic").expect("a legal id");
        Event::TrialPlanned(Planned::bare(&id))
    }
}
