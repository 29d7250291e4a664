//! A reader of answers that takes what people would take: the last answer, in whatever dress. Its scores stand
//! beside upstream's; where they differ much, the format fails and not the model. Must not know which question was
//! asked.
//!
//! 宽松抽取器：与严格抽取并列报告，用于区分格式问题与能力问题。

use std::sync::LazyLock;

use regex::Regex;

use super::Robust;
use crate::accuracy::python::{float, text::digit};

/// Which way of reading this is.
pub const EXTRACTOR: &str = "robust/1";

/// Emphasis, brackets, quotes and formula commands that stand round an answer.
const DRESS: &str = r#"(?:[\s*_$`"'({\[]|\\(?:boxed|text|textbf|mathrm|mathbf|\(|\[))*"#;
/// What introduces an answer: the languages in which upstream's prompts ask for one.
const MARKER: &str = "(?:answer|antwort|respuesta|réponse|risposta|resposta|jawaban|jibu|ответ|答案|答え|回答|정답|답|উত্তর|\
                      సమాధానం|คำตอบ|الإجابة|الجواب)";

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern, compiled by the tests")
}

/// Marks `text` by its last letter that is introduced as the answer, else the last boxed one, else a last line of
/// nothing but a letter.
pub(super) fn letter(text: &str, right: char) -> Robust {
    static INTRODUCED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(&format!(
            r"(?i:{MARKER}){DRESS}(?:(?i:is|ist|es|est|是|为){DRESS})?[:：]?{DRESS}([A-DＡ-Ｄ])(?:[^\p{{L}}\p{{N}}]|$)"
        ))
    });
    static LOWER: LazyLock<Regex> =
        LazyLock::new(|| pattern(&format!(r"(?im){MARKER}{DRESS}[:：]{DRESS}([A-D])[\s*_$`.)}}\]]*$")));
    static BOXED: LazyLock<Regex> =
        LazyLock::new(|| pattern(&format!(r"\\boxed\s*\{{{DRESS}([A-D])(?:[^\p{{L}}\p{{N}}]|$)")));
    static ALONE: LazyLock<Regex> =
        LazyLock::new(|| pattern(&format!(r"(?:^|\n){DRESS}([A-D])[\s*_$`.)}}\]]*$")));
    let found = [&INTRODUCED, &LOWER, &BOXED, &ALONE].into_iter().find_map(|regex| last_group(regex, text));
    let extracted = found.and_then(|found| found.chars().next()).map(latin);
    Robust {
        score: f64::from(u8::from(extracted == Some(right))),
        extracted: extracted.map(|letter| letter.to_string()),
    }
}

/// A full-width or lower-case letter as a capital.
fn latin(letter: char) -> char {
    match letter {
        'Ａ'..='Ｄ' => {
            char::from_u32(u32::from(letter) - u32::from('Ａ') + u32::from('A')).unwrap_or(letter)
        }
        other => other.to_ascii_uppercase(),
    }
}

fn last_group<'t>(regex: &Regex, text: &'t str) -> Option<&'t str> {
    regex.captures_iter(text).last().and_then(|found| found.get(1)).map(|group| group.as_str())
}

/// Marks `text` by the first number behind the last marker, else the last boxed one, else the last number of all;
/// compared as numbers, signs, separators and scripts aside.
pub(super) fn number(text: &str, prefix: &str, target: &str) -> Robust {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"[-−]?\d[\d,  ]*(?:\.\d+)?"));
    static BOXED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\boxed\s*\{([^{}]*)\}"));
    let marked = pattern_of_marker(prefix);
    let behind = marked.find_iter(text).last().map(|found| &text[found.end()..]);
    let first = |text: &str| NUMBER.find(text).map(|found| found.as_str().to_owned());
    let last = |text: &str| NUMBER.find_iter(text).last().map(|found| found.as_str().to_owned());
    let found =
        behind.and_then(first).or_else(|| last_group(&BOXED, text).and_then(first)).or_else(|| last(text));
    let extracted = found.map(|found| plain(&found));
    let is_right = extracted.as_deref().and_then(float::parse).zip(float::parse(&plain(target)));
    Robust {
        score: is_right.map_or(0.0, |(found, target)| f64::from(u8::from(found.abs() == target.abs()))),
        extracted,
    }
}

fn pattern_of_marker(prefix: &str) -> Regex {
    pattern(&format!(r"(?i)(?:{}|{MARKER})[^\S\n]*(?:is|[:：])?", regex::escape(prefix)))
}

/// A number in ASCII digits without separators.
fn plain(number: &str) -> String {
    let one = |c: char| match c {
        ',' | '\u{a0}' | '\u{202f}' | ' ' => None,
        '−' => Some('-'),
        other => Some(digit(other).map_or(other, |value| char::from(b'0' + value))),
    };
    number.chars().filter_map(one).collect()
}

/// Marks `text` by `score` of what its last `Answer:` says, without emphasis and full stop.
pub(super) fn span(text: &str, score: impl Fn(&str) -> f64) -> Robust {
    static ANSWER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)answer[\s*_]*:[\s*_]*([^\n]+)"));
    let last_line = || text.lines().rfind(|line| !line.trim().is_empty());
    let found = last_group(&ANSWER, text).or_else(last_line);
    let plain = found.map(|found| found.trim_matches(|c: char| c.is_whitespace() || "*_$`\".".contains(c)));
    Robust { score: plain.map_or(0.0, score), extracted: plain.map(str::to_owned) }
}

/// Marks `text` by the last yes or no that is introduced as the answer, else by the first of all: who explains
/// begins with it.
pub(super) fn yes_or_no(text: &str, right: &str) -> Robust {
    static INTRODUCED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(&format!(r"(?i){MARKER}{DRESS}(?:is|[:：])?{DRESS}(yes|no)(?:[^\p{{L}}\p{{N}}]|$)"))
    });
    static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(yes|no)\b"));
    let found = last_group(&INTRODUCED, text).or_else(|| WORD.find(text).map(|found| found.as_str()));
    let extracted = found.map(str::to_lowercase);
    Robust { score: f64::from(u8::from(extracted.as_deref() == Some(right))), extracted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_found_in_sentences() {
        for (text, found) in [
            ("Yes", Some("yes")),
            ("**No**, there is none; yes, I am sure.", Some("no")),
            ("There is no doubt: yes. The answer is **Yes**.", Some("yes")),
            ("Answer: no.", Some("no")),
            ("Nothing, yesterday", None),
        ] {
            assert_eq!(yes_or_no(text, "yes").extracted.as_deref(), found, "{text:?}");
        }
        assert_eq!((yes_or_no("YES!", "yes").score, yes_or_no("YES!", "no").score), (1.0, 0.0));
    }

    #[test]
    fn letters_are_found_in_whatever_dress() {
        for (text, found) in [
            ("Answer: B", Some("B")),
            ("**Answer:** B", Some("B")),
            ("Answer: **B**", Some("B")),
            ("Answer: (B)", Some("B")),
            (r"Answer: $\boxed{B}$", Some("B")),
            (r"Answer: \text{B}", Some("B")),
            ("Answer:\nB", Some("B")),
            ("Answer：Ｂ", Some("B")),
            ("The answer is B", Some("B")),
            ("Answer: b", Some("B")),
            ("Answer: C is tempting … Answer: D", Some("D")),
            ("Answer: Based on this, C\nAnswer: C", Some("C")),
            ("Answer: Based on this, C", None),
            (r"so \boxed{D}.", Some("D")),
            ("I think\n\n**A**\n", Some("A")),
            ("答案：C。", Some("C")),
            ("no idea", None),
        ] {
            assert_eq!(letter(text, 'B').extracted.as_deref(), found, "{text:?}");
        }
        assert_eq!((letter("Answer: b", 'B').score, letter("Answer: A", 'B').score), (1.0, 0.0));
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        for (text, found, score) in [
            ("Answer: 18 dollars, i.e. 1800 cents", Some("18"), 1.0),
            ("answer: 18", Some("18"), 1.0),
            ("Answer: 018.00", Some("018.00"), 1.0),
            (r"thus \boxed{18}", Some("18"), 1.0),
            ("it is 18", Some("18"), 1.0),
            ("Answer: ১৮", Some("18"), 1.0),
            ("Answer: 1,800", Some("1800"), 0.0),
            ("none", None, 0.0),
        ] {
            let marked = number(text, "Answer", "18");
            assert_eq!((marked.extracted.as_deref(), marked.score), (found, score), "{text:?}");
        }
    }

    #[test]
    fn the_last_answer_line_is_the_span() {
        let length = |found: &str| found.len() as f64;
        let marked = span("Answer: no.\n**Answer:** **the Bears**.", length);
        assert_eq!((marked.extracted.as_deref(), marked.score), (Some("the Bears"), 9.0));
        assert_eq!(span("first\n\nlast \n", length).extracted.as_deref(), Some("last"));
        assert_eq!(span("", length), Robust { extracted: None, score: 0.0 });
    }
}
