//! `report.html`: the run for a reader's eyes, in one file that needs no network: [`Html`]. Verdict first, then
//! gates, what is red, all trials, what was measured, and what is known of the server. English and Chinese stand
//! beside each other; one of them is shown. Must not know how a run is carried out.
//!
//! ```text
//! RunRecord ─┬─ head       verdict, who ran what, counts
//!            ├─ gates      numbers they were decided on
//!            ├─ trials     red ones open with their exchanges, then a table that can be filtered
//!            ├─ perf       charts with their tables ── chart: SVG, lanes: requests in time, baseline: gates
//!            ├─ accuracy   scores with intervals
//!            └─ server     requested and effective, capabilities with evidence, environment
//! ```
//!
//! 单文件 HTML 报告：结论在前，中英双语，可离线阅读与打印。

mod accuracy;
mod baseline;
mod chart;
mod exchange;
mod gates;
mod head;
mod lanes;
mod perf;
mod server;
#[cfg(test)]
mod tests;
mod trials;
mod turns;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use st_harness::{
    journal::RunRecord,
    report::{Document, Files, Report},
};

use words::Words;

/// Writes `report.html`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Html;

impl Html {
    /// The file of the report.
    pub const FILE: &str = "report.html";
}

impl Report for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn render(&self, run: &RunRecord, files: &Files) -> Result<Vec<Document>, String> {
        Ok(vec![Document::new(Self::FILE, text(run, files))])
    }
}

/// What may be wider than the window: it scrolls by itself, with the keyboard too.
fn wide(name: &str, body: Markup) -> Markup {
    html! { div.wide tabindex="0" role="region" aria-label=(name) { (body) } }
}

/// A part of the page: its anchor, its title, and what stands in it. One without a body is left out.
struct Section {
    id: &'static str,
    title: Words,
    body: Option<Markup>,
}

/// The page, without the control characters that HTML cannot hold; its last line ends, as every text file's does.
fn text(run: &RunRecord, files: &Files) -> String {
    let plain =
        |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    page(run, files).into_string().chars().map(plain).chain(['\n']).collect()
}

fn page(run: &RunRecord, files: &Files) -> Markup {
    let sections = [
        Section { id: "gates", title: Words("Gates", "门禁"), body: gates::body(run) },
        Section { id: "red", title: Words("Needs a look", "需要关注"), body: trials::red(run, files) },
        Section { id: "perf", title: Words("Performance", "性能"), body: perf::body(run, files) },
        Section { id: "accuracy", title: Words("Accuracy", "精度"), body: accuracy::body(run) },
        Section { id: "trials", title: Words("All trials", "全部用例"), body: trials::table(run) },
        Section { id: "server", title: Words("Server", "服务器"), body: server::effective(run) },
        Section {
            id: "capabilities", title: Words("Capabilities", "能力"), body: server::capabilities(run)
        },
        Section { id: "notes", title: Words("Notes", "备注"), body: server::notes(run) },
    ];
    let shown: Vec<_> =
        sections.into_iter().filter_map(|one| one.body.map(|body| (one.id, one.title, body))).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing is fetched, whatever a server wrote into an answer.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
                title { (head::title(run)) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                a.jump href="#main" { (Words("Skip to the content", "跳到正文")) }
                header {
                    (head::bar())
                    (head::body(run))
                    nav aria-label="Sections" {
                        @for (id, title, _) in &shown { a href={ "#" (id) } { (title) } }
                    }
                }
                main id="main" {
                    @for (id, title, body) in &shown {
                        section id=(id) {
                            h2 { (title) }
                            (body)
                        }
                    }
                }
                footer { (head::footer(run)) }
                script { (PreEscaped(include_str!("page.js"))) }
            }
        }
    }
}
