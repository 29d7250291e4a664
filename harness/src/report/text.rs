//! How reports write durations, places, figures and other people's text. Must not know any format but plain
//! text.
//!
//! 各报告共用的文本格式。

use std::sync::LazyLock;

use regex::Regex;

use crate::{
    diag::Place,
    journal::{Counts, Status, TrialRecord},
    verdict::{Measurement, Reason},
};

const LONGEST_HEADLINE: usize = 500;

/// Seconds of `ns`, exact to the nanosecond.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns are a hundred days")]
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// `ns` for people: `340 µs`, `12.5 ms`, `3.20 s`, `4 min 5 s`, `2 h 3 min`.
pub fn duration(ns: u64) -> String {
    let s = seconds(ns);
    match ns {
        0..1_000_000 => format!("{:.0} µs", s * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", s * 1e3),
        1_000_000_000..60_000_000_000 => format!("{s:.2} s"),
        _ => {
            let whole = ns / 1_000_000_000;
            match whole / 60 {
                minutes @ 0..60 => format!("{minutes} min {} s", whole % 60),
                minutes => format!("{} h {} min", minutes / 60, minutes % 60),
            }
        }
    }
}

/// `file:line:column`.
pub fn place(place: &Place) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

/// `12 planned: 9 passed, 1 failed, 2 skipped`; what there is none of is left out.
pub fn counts(counts: Counts) -> String {
    let parts: Vec<_> = [Status::Passed]
        .into_iter()
        .chain(Status::WORST_FIRST.into_iter().filter(|status| *status != Status::Passed))
        .filter(|status| counts.get(*status) > 0)
        .map(|status| format!("{} {}", counts.get(status), status.word().replace('_', " ")))
        .collect();
    match parts.is_empty() {
        true => "nothing planned".to_owned(),
        false => format!("{} planned: {}", counts.planned, parts.join(", ")),
    }
}

/// What identifies a figure within its trial: `ttft.p99{concurrency=4}[s]`.
pub fn figure_key(measurement: &Measurement) -> String {
    let Measurement { name, stat, unit, labels, .. } = measurement;
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    one_line(&format!("{name}.{stat}{labels}[{unit}]"))
}

/// The figure itself, shortest text that reads back the same; `null (why)` where there is none.
pub fn figure(measurement: &Measurement) -> String {
    match (measurement.value, &measurement.null_reason) {
        (Some(value), _) => value.to_string(),
        (None, Some(reason)) => format!("null ({})", one_line(reason)),
        (None, None) => "null".to_owned(),
    }
}

/// A value without the quotes of a string.
pub fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Everything that is told of why a trial is not simply passed: each reason with its place in the manner of
/// rustc, then its long text.
pub fn reasons(trial: &TrialRecord) -> String {
    let one = |reason: &Reason| {
        let place = reason.place.as_ref().or(trial.planned.place.as_ref()).map(place);
        // The long text may hold a snippet that names the place itself.
        let place = place.filter(|place| !reason.detail.contains(&format!("--> {place}")));
        let place = place.map(|place| format!("\n --> {place}")).unwrap_or_default();
        let detail = match reason.detail.trim_end() {
            "" => String::new(),
            detail => format!("\n{detail}"),
        };
        format!("{}{place}{detail}", reason.summary)
    };
    trial.reasons().iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// The first reason on one line of at most 500 bytes, and how many more there are; empty where there is none.
pub fn headline(trial: &TrialRecord) -> String {
    let reasons = trial.reasons();
    let Some((first, rest)) = reasons.split_first() else { return String::new() };
    let line = shortened(one_line(&first.summary), LONGEST_HEADLINE);
    match rest.len() {
        0 => line,
        more => format!("{line} (and {more} more)"),
    }
}

/// `text` on one line: white space becomes one space, what cannot be seen is taken away.
pub fn one_line(text: &str) -> String {
    visible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` without terminal sequences, with `\n` for every line end, and with U+FFFD for each character that XML
/// 1.0 cannot hold. What is left can stand in any report.
pub fn visible(text: &str) -> String {
    static TERMINAL: LazyLock<Regex> = LazyLock::new(|| {
        // CSI, OSC, and two-character sequences. One that is never ended takes nothing of the next line with it.
        Regex::new(
            r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)|[@-Z\\^_])|\u{9b}[0-?]*[ -/]*[@-~]",
        )
        .expect("the pattern is written down here and compiles in every test")
    });
    let text = TERMINAL.replace_all(text, "").replace("\r\n", "\n").replace('\r', "\n");
    text.chars().map(|c| if is_xml(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// A character of XML 1.0 that is not one of the discouraged C1 controls.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The longest beginning of `text` that has at most `limit` bytes.
pub fn head(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// `text` up to `limit` bytes, with an ellipsis where there was more.
pub fn shortened(text: String, limit: usize) -> String {
    match text.len() > limit {
        true => format!("{}…", head(&text, limit)),
        false => text,
    }
}

/// `text` up to `limit` bytes, with a last line that says how much was cut.
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let kept = head(text, limit);
    format!("{kept}\n[cut here: {} of {} bytes shown; the journal has all]", kept.len(), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_for_people() {
        for (ns, expected) in [
            (0, "0 µs"),
            (340_000, "340 µs"),
            (12_500_000, "12.5 ms"),
            (3_200_000_000, "3.20 s"),
            (245_000_000_000, "4 min 5 s"),
            (7_380_000_000_000, "2 h 3 min"),
        ] {
            assert_eq!(duration(ns), expected);
        }
    }

    #[test]
    fn terminal_sequences_and_control_characters_do_not_reach_a_reader() {
        assert_eq!(visible("\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7}end"), "red end");
        assert_eq!(visible("a\0b\u{1b}c\u{fffe}d\u{85}e"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(visible("a\r\nb\rc\td"), "a\nb\nc\td");
        assert_eq!(one_line(" a\n\tb  c "), "a b c");
    }

    #[test]
    fn a_terminal_sequence_that_is_never_ended_takes_no_other_line_with_it() {
        assert_eq!(visible("a\x1b]0;title\nb\x07c"), "a\u{fffd}]0;title\nb\u{fffd}c");
    }

    #[test]
    fn a_cut_says_how_much_is_shown_and_splits_no_character() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöü", 3), "ä\n[cut here: 2 of 6 bytes shown; the journal has all]");
    }
}
