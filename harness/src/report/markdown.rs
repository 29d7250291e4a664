//! `summary.md`, for a pull request's page and for people in a hurry: verdict first, then what is red, what was
//! skipped, what is slow, what was measured: [`Markdown`]. Must not know how a run is carried out.
//!
//! Markdown 摘要。

use std::collections::BTreeMap;

use crate::{
    journal::{Event, RunRecord, Status, TrialRecord},
    report::{Document, Files, Report, text},
};

/// GitHub refuses a step summary of more than 1 MiB.
const LONGEST: usize = 1024 * 1024;

/// Each section that grows with the run may fill this much, so that what follows it has room.
const LONGEST_SECTION: usize = 200 * 1024;
const LONGEST_DETAIL: usize = 8 * 1024;
const SLOWEST: usize = 5;

/// Trials that are named for each reason.
const NAMED: usize = 50;

/// Renders `summary.md`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Markdown;

impl Markdown {
    /// The file of the summary.
    pub const FILE: &str = "summary.md";
}

impl Report for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let sections = [
            header(run),
            suites(run),
            gates(run),
            red(run),
            not_run(run),
            slowest(run),
            measured(run),
            notes(run),
        ];
        let text = sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n");
        Ok(vec![Document::new(Self::FILE, bounded(&text))])
    }
}

/// The sections are bounded; what has no bound of its own (suites, skips) is cut at the end.
fn bounded(text: &str) -> String {
    text::cut(text, LONGEST - 256)
}

fn header(run: &RunRecord) -> String {
    let started = &run.started;
    let mark = match run.status() {
        Status::Passed => "✅",
        Status::Inconclusive | Status::Blocked | Status::NotRun | Status::Skipped => "⚠️",
        Status::Failed | Status::Errored | Status::Invalid | Status::Interrupted => "❌",
    };
    let commit = started.git.as_ref().map(|git| {
        let short = text::head(&git.commit, 12);
        let branch = git.branch.as_deref().map(|branch| format!(" on {}", code(branch))).unwrap_or_default();
        let dirty = if git.dirty { " (changed)" } else { "" };
        format!(" · commit {}{branch}{dirty}", code(short))
    });
    let end = match &run.finished {
        Some(finished) if finished.interrupted => "\n\nThe run was interrupted.",
        Some(_) => "",
        None => "\n\nThe run was killed: it never wrote its end.",
    };
    format!(
        "# {mark} {}: {}\n\n{} in {}.{end}\n\nScenario {} · run type {}{} · {} {} · run {}\n",
        inline(&started.tool.name),
        run.status().word().replace('_', " "),
        text::counts(run.counts()),
        text::duration(run.duration_ns),
        code(&started.scenario),
        code(&started.run_type),
        commit.unwrap_or_default(),
        inline(&started.tool.name),
        inline(&started.tool.version),
        code(&started.run_id),
    )
}

fn suites(run: &RunRecord) -> String {
    let rows = run.suites().iter().fold(String::new(), |rows, suite| {
        let counts = suite.counts();
        let cells = Status::WORST_FIRST.iter().rev().map(|status| match counts.get(*status) {
            0 => "·".to_owned(),
            count => count.to_string(),
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let time = suite.duration_ns().map_or_else(|| "·".to_owned(), text::duration);
        format!("{rows}| {} | {} | {cells} | {time} |\n", code(&suite.name()), counts.planned)
    });
    let columns: Vec<_> =
        Status::WORST_FIRST.iter().rev().map(|status| status.word().replace('_', " ")).collect();
    format!(
        "## Suites\n\n| suite | planned | {} | time |\n|---|--:|{}--:|\n{rows}",
        columns.join(" | "),
        "--:|".repeat(columns.len())
    )
}

fn gates(run: &RunRecord) -> String {
    let line = |event: &Event| match event {
        Event::GateDecided { gate, trial_id, verdict, reasons, .. } => {
            let of = trial_id.as_ref().map(|id| format!(" of {}", code(id.as_str()))).unwrap_or_default();
            let why =
                reasons.first().map(|reason| format!(": {}", inline(&reason.summary))).unwrap_or_default();
            format!("- {}{of} {}{why}\n", code(gate), Status::from(*verdict).word())
        }
        _ => String::new(),
    };
    titled("Gates", within_section(run.gates.iter().map(line), "gates"))
}

fn red(run: &RunRecord) -> String {
    let red = Status::WORST_FIRST
        .into_iter()
        .filter(|status| status.is_red())
        .flat_map(|status| run.trials.iter().filter(move |trial| trial.status() == status));
    let block = |trial: &TrialRecord| {
        let place =
            trial.place().map(|place| format!(" at {}", code(&text::place(place)))).unwrap_or_default();
        let detail = fenced(&text::cut(&text::visible(&text::reasons(trial)), LONGEST_DETAIL));
        format!(
            "### {} {}\n\n{}{place}\n\n<details><summary>all of it</summary>\n\n{detail}\n</details>\n\n",
            trial.status().word(),
            code(trial.id().as_str()),
            inline(&text::headline(trial)),
        )
    };
    titled("Red", within_section(red.map(block), "red trials"))
}

/// Skipped, blocked, inconclusive and those whose turn never came, by their reason.
fn not_run(run: &RunRecord) -> String {
    let mut groups: BTreeMap<(Status, String), Vec<&TrialRecord>> = BTreeMap::new();
    let quiet = [Status::Skipped, Status::Blocked, Status::Inconclusive, Status::NotRun];
    for trial in run.trials.iter().filter(|trial| quiet.contains(&trial.status())) {
        groups.entry((trial.status(), text::headline(trial))).or_default().push(trial);
    }
    let block = |((status, why), trials): (&(Status, String), &Vec<&TrialRecord>)| {
        let mut ids: Vec<_> = trials.iter().take(NAMED).map(|trial| code(trial.id().as_str())).collect();
        if trials.len() > NAMED {
            ids.push(format!("and {} more, all in trials.csv", trials.len() - NAMED));
        }
        let word = status.word().replace('_', " ");
        format!("- {} {word}: {}: {}\n", trials.len(), inline(why), ids.join(", "))
    };
    titled("Not decided", within_section(groups.iter().map(block), "groups"))
}

fn slowest(run: &RunRecord) -> String {
    let mut timed: Vec<_> =
        run.trials.iter().filter_map(|trial| trial.duration_ns().map(|ns| (ns, trial))).collect();
    timed.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    let line = |(ns, trial): &(u64, &TrialRecord)| {
        format!("- {} {}\n", text::duration(*ns), code(trial.id().as_str()))
    };
    titled("Slowest", timed.iter().take(SLOWEST).map(line).collect())
}

fn measured(run: &RunRecord) -> String {
    let rows = run.trials.iter().flat_map(|trial| {
        trial.measurements().iter().map(move |one| {
            let (id, key) = (code(trial.id().as_str()), code(&text::figure_key(one)));
            format!(
                "| {id} | {key} | {} | {} | {} |\n",
                inline(&text::figure(one)),
                one.n,
                inline(&one.source)
            )
        })
    });
    match within_section(rows, "figures") {
        rows if rows.is_empty() => rows,
        rows => {
            titled("Measured", format!("| trial | figure | value | n | by |\n|---|---|--:|--:|---|\n{rows}"))
        }
    }
}

fn notes(run: &RunRecord) -> String {
    let of_run = run.notes.iter().map(|note| format!("- {}: {}\n", inline(&note.kind), inline(&note.text)));
    let of_trials = run.trials.iter().flat_map(|trial| {
        let id = code(trial.id().as_str());
        trial
            .notes
            .iter()
            .map(move |note| format!("- {id}: {}: {}\n", inline(&note.kind), inline(&note.text)))
    });
    titled("Notes", within_section(of_run.chain(of_trials), "notes"))
}

fn titled(title: &str, text: String) -> String {
    match text.is_empty() {
        true => text,
        false => format!("## {title}\n\n{text}"),
    }
}

/// As many blocks as a section may hold, and a line that says how many it does not.
fn within_section(blocks: impl Iterator<Item = String>, what: &str) -> String {
    let (mut text, mut left_out) = (String::new(), 0);
    for block in blocks {
        match left_out == 0 && text.len() + block.len() <= LONGEST_SECTION {
            true => text.push_str(&block),
            false => left_out += 1,
        }
    }
    match left_out {
        0 => text,
        count => format!("{text}\n{count} more {what} are not shown here; report.json has all.\n"),
    }
}

/// Other people's text on one line, as it stands: nothing in it is markup, a link or the end of a cell.
fn inline(value: &str) -> String {
    text::one_line(value).chars().fold(String::new(), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => out.extend(['\\', c]),
            // GitHub turns a name behind it into a mention.
            '@' => out.push_str("&#64;"),
            c => out.push(c),
        }
        out
    })
}

/// A name of ours: ids, paths, figures.
fn code(value: &str) -> String {
    let value = text::one_line(value).replace('|', "\\|");
    let ticks = "`".repeat(longest_run(&value) + 1);
    format!("{ticks}{value}{ticks}")
}

/// `text` in a fence that nothing in it closes.
fn fenced(text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

/// The longest run of back-ticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
