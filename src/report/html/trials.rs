//! Trials: the red ones open, one below the other, and all of them in a table that can be filtered. Must not know
//! what a suite measures.
//!
//! 用例：失败详情与可筛选的总表。

use maud::{Markup, html};
use st_harness::{
    journal::{RunRecord, Status, TrialRecord},
    report::{Files, text},
};

use super::{
    exchange::Exchanges,
    words::{Words, badge, status},
};

/// So many red trials are shown whole; the others are in the table, with their first line.
const WHOLE: usize = 200;
/// A longer text is cut here; the journal has all.
const LONGEST_DETAIL: usize = 32 * 1024;
/// So many red trials are open when the page is.
const OPEN: usize = 5;

/// What somebody has to look at, worst first.
pub(super) fn red(run: &RunRecord, files: &Files) -> Option<Markup> {
    let mut exchanges = Exchanges::in_files(files);
    let red: Vec<&TrialRecord> = Status::WORST_FIRST
        .into_iter()
        .filter(|status| status.is_red())
        .flat_map(|status| run.trials.iter().filter(move |trial| trial.status() == status))
        .collect();
    (!red.is_empty()).then(|| {
        html! {
            @for (at, trial) in red.iter().take(WHOLE).enumerate() { (failure(trial, at < OPEN, &mut exchanges)) }
            @if red.len() > WHOLE {
                p { (red.len() - WHOLE) " " (Words("more red trials stand in the table below.", "个失败用例见下表。")) }
            }
        }
    })
}

fn failure(trial: &TrialRecord, open: bool, exchanges: &mut Exchanges<'_>) -> Markup {
    html! {
        details.failure open[open] {
            summary { (badge(trial.status())) " " code { (trial.id()) } }
            @if let Some(about) = &trial.planned.about { p.about { (about) } }
            p.headline { (text::headline(trial)) }
            @if let Some(place) = trial.place() { p { code { (text::place(place)) } } }
            pre tabindex="0" { (text::cut(&text::visible(&text::reasons(trial)), LONGEST_DETAIL)) }
            (exchanges.of(trial))
            (left(trial))
        }
    }
}

/// What it left, beside the report.
fn left(trial: &TrialRecord) -> Markup {
    let artifacts = trial.finished().map(|finished| finished.artifacts.as_slice()).unwrap_or_default();
    html! {
        @if !artifacts.is_empty() {
            p {
                (Words("Files:", "文件："))
                @for artifact in artifacts { " " a href=(artifact.path) { (artifact.path.file_name().unwrap_or("file")) } }
            }
        }
    }
}

/// Every trial, with what the page's script needs to filter them.
pub(super) fn table(run: &RunRecord) -> Option<Markup> {
    let kinds = run.trials.iter().fold(Vec::new(), |mut kinds: Vec<&str>, trial| {
        if !kinds.contains(&trial.planned.kind.as_str()) {
            kinds.push(&trial.planned.kind);
        }
        kinds
    });
    let counts = run.counts();
    let there: Vec<_> = Status::WORST_FIRST.into_iter().filter(|one| counts.get(*one) > 0).collect();
    (!run.trials.is_empty()).then(|| {
        html! {
            form #filter role="search" {
                label { (Words("Find", "查找")) " " input #find type="search" autocomplete="off"; }
                label {
                    (Words("Kind", "类别")) " "
                    select #kind { option value="" { "*" } @for kind in &kinds { option value=(kind) { (kind) } } }
                }
                fieldset {
                    legend { (Words("Ended", "结果")) }
                    @for one in &there {
                        label { input type="checkbox" name="status" value=(one.word()) checked; " " (status(*one)) }
                    }
                }
                output #shown aria-live="polite" { (run.trials.len()) " / " (run.trials.len()) }
            }
            div.wide tabindex="0" role="region" aria-label="all trials" {
                table #all {
                    thead { tr {
                        th scope="col" { (Words("ended", "结果")) } th scope="col" { (Words("trial", "用例")) }
                        th.number scope="col" { (Words("took", "用时")) }
                    } }
                    tbody { @for trial in &run.trials { (row(trial)) } }
                }
            }
        }
    })
}

fn row(trial: &TrialRecord) -> Markup {
    let one = trial.status();
    let headline = text::headline(trial);
    html! {
        tr data-status=(one.word()) data-kind=(trial.planned.kind) {
            td { (badge(one)) }
            td.id {
                code { (trial.id()) }
                @if let Some(about) = &trial.planned.about { span.about { (about) } }
                @if !headline.is_empty() { span.headline { (headline) } }
            }
            td.number { @if let Some(ns) = trial.duration_ns() { (text::duration(ns)) } }
        }
    }
}
