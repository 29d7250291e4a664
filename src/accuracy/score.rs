//! Which letter an answer gives, exactly as simple-evals reads it for GPQA, quirks included. Must not know how
//! the answer was obtained.
//!
//! 选择题答案抽取（与 simple-evals 完全一致，含其怪癖）。

use std::sync::LazyLock;

use regex::Regex;

/// Which rule was used, for the record: scores of different rules are different scores.
pub const EXTRACTOR: &str = "simple_evals_gpqa/1";

static LETTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")
        .expect("a constant pattern, compiled by the tests below")
});

/// The letter after the first `Answer:` in `text`, as it stands there: neither the last one nor upper-cased.
pub fn letter(text: &str) -> Option<&str> {
    LETTER.captures(text).and_then(|found| found.get(1)).map(|letter| letter.as_str())
}

/// Whether `text` gives the right letter. A lower-case one is wrong, as upstream.
pub fn is_right(text: &str, right: char) -> bool {
    letter(text).is_some_and(|found| found.chars().eq([right]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_as_upstream_finds_them() {
        for (text, found) in [
            ("Answer: B", Some("B")),
            ("**Answer: B**", Some("B")),
            ("Answer: $B$", Some("B")),
            ("ANSWER: D.", Some("D")),
            ("Answer: C is tempting, but no.\nAnswer: D", Some("C")),
            ("Answer: Based on this, C", Some("B")),
            ("Answer: b", Some("b")),
            ("**Answer:** B", None),
            ("Answer: **B**", None),
            ("Answer: (B)", None),
            (r"Answer: $\boxed{B}$", None),
            (r"Answer: \text{B}", None),
            ("Answer:\nB", None),
            ("Answer：B", None),
            ("The answer is B", None),
        ] {
            assert_eq!(letter(text), found, "{text:?}");
        }
    }

    #[test]
    fn a_lower_case_letter_is_wrong() {
        assert!(is_right("Answer: B", 'B'));
        assert!(!is_right("Answer: b", 'B'));
        assert!(!is_right("no idea", 'B'));
    }
}
