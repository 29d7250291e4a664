//! Requests in time: a lane each, from when it was due to its last token, from the rows that a performance trial
//! left. Must not compute a figure.
//!
//! 请求时间线：排队、首 token、生成。

use maud::{Markup, html};
use st_harness::{journal::TrialRecord, report::Files};

use super::{chart::px, words::Words};
use crate::perf::record::Record;

/// So many requests are drawn; a drawing of more could not be read.
const LANES: usize = 200;
const LANE: f64 = 6.0;
const WIDTH: f64 = 960.0;
const BOTTOM: f64 = 24.0;
const TICKS: u32 = 6;

/// The lanes of a trial, folded away; nothing where it left no rows. Rows that cannot be had are told.
pub(super) fn body(trial: &TrialRecord, files: &Files) -> Option<Markup> {
    let artifact = trial.artifacts().iter().find(|one| one.role == "requests")?;
    let lines = match files.lines(artifact) {
        Ok(lines) => lines,
        Err(error) => {
            return Some(html! { p.about { code { (trial.id()) } ": " (error) } });
        }
    };
    let (rows, all) = first(lines.filter_map(|line| serde_json::from_str(&line.ok()?).ok()));
    (!rows.is_empty()).then(|| {
        html! {
            details {
                summary { (Words("Requests in time", "请求时间线")) ": " code { (trial.id()) } }
                (key())
                (drawing(trial.id().as_str(), &rows))
                @if all > LANES {
                    p.about { (Words("Drawn:", "已绘制：")) " " (LANES) " / " (all) }
                }
            }
        }
    })
}

/// Those that were due first, and how many there are; no more than twice as many as are drawn are held at a time.
fn first(all: impl Iterator<Item = Record>) -> (Vec<Record>, usize) {
    let (mut rows, mut seen) = (Vec::new(), 0);
    let keep = |rows: &mut Vec<Record>| {
        rows.sort_by_key(|row| (row.scheduled, row.index));
        rows.truncate(LANES);
    };
    for row in all {
        seen += 1;
        rows.push(row);
        if rows.len() == 2 * LANES {
            keep(&mut rows);
        }
    }
    keep(&mut rows);
    (rows, seen)
}

fn key() -> Markup {
    let entries = [
        ("--s4", Words("due, not yet sent", "待发送")),
        ("--s0", Words("until the first token", "至首 token")),
        ("--s2", Words("until the last token", "至末 token")),
        ("--s1", Words("no success", "未成功")),
    ];
    html! {
        ul.key {
            @for (colour, words) in entries { li { i style={ "background:var(" (colour) ")" } {} " " (words) } }
        }
    }
}

fn drawing(name: &str, rows: &[Record]) -> Markup {
    let begin = rows.iter().map(|row| row.scheduled.0).min().unwrap_or(0);
    let end = rows.iter().map(|row| row.ended.0).max().unwrap_or(begin);
    let span = (end - begin).max(1) as f64;
    let x = |at: u64| at.saturating_sub(begin) as f64 / span * WIDTH;
    let height = rows.len() as f64 * LANE;
    html! {
        div.wide tabindex="0" role="region" aria-label={ "requests in time of " (name) } {
            svg.lanes viewBox={ "0 0 " (WIDTH) " " (height + BOTTOM) } role="img" aria-label={ (rows.len()) " requests in time, of " (name) } {
                @for tick in 0..=TICKS {
                    @let share = f64::from(tick) / f64::from(TICKS);
                    line.grid x1=(px(share * WIDTH)) x2=(px(share * WIDTH)) y1="0" y2=(px(height)) {}
                    text.tick x=(px(share * WIDTH)) y=(px(height + 16.0)) text-anchor=(anchor(tick)) {
                        (format!("{:.2} s", share * span / 1e9))
                    }
                }
                @for (at, row) in rows.iter().enumerate() {
                    @for (class, from, to) in parts(row) {
                        rect class=(class) x=(px(x(from))) y=(px(at as f64 * LANE + 1.0))
                            width=(px((x(to) - x(from)).max(0.5))) height=(px(LANE - 2.0)) {}
                    }
                }
            }
        }
    }
}

fn anchor(tick: u32) -> &'static str {
    match tick {
        0 => "start",
        TICKS => "end",
        _ => "middle",
    }
}

/// What a request did, one after the other, each from and to a stamp.
fn parts(row: &Record) -> Vec<(&'static str, u64, u64)> {
    let wait = ("wait", row.scheduled.0, row.started.0);
    match (row.is_ok(), row.first_token, row.last_token) {
        (true, Some(first), Some(last)) => {
            vec![wait, ("prefill", row.started.0, first.0), ("decode", first.0, last.0)]
        }
        _ => vec![wait, ("lost", row.started.0, row.ended.0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    #[test]
    fn a_request_is_drawn_from_when_it_was_due_to_its_last_token() {
        let names: Vec<_> = parts(&record(0, 0, Outcome::Ok)).into_iter().map(|part| part.0).collect();
        assert_eq!(names, ["wait", "prefill", "decode"]);
        let lost: Vec<_> = parts(&record(0, 0, Outcome::Truncated)).into_iter().map(|part| part.0).collect();
        assert_eq!(lost, ["wait", "lost"]);
    }

    #[test]
    fn of_many_requests_those_that_were_due_first_are_drawn_whatever_their_order() {
        let (rows, all) = first((0..1000).rev().map(|n| record(n, n, Outcome::Ok)));
        assert_eq!(all, 1000);
        assert_eq!(
            rows.iter().map(|row| row.index).collect::<Vec<_>>(),
            (0..LANES as u64).collect::<Vec<_>>()
        );
    }

    #[test]
    fn every_request_has_a_lane_of_its_own() {
        let page = drawing("perf::a", &[record(0, 0, Outcome::Ok), record(1, 50, Outcome::Ok)]).into_string();
        assert_eq!(page.matches("class=\"decode\"").count(), 2);
        assert!(page.contains("0.22 s"), "the axis ends with the last request: {page}");
    }
}
