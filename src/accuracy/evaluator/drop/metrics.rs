//! How near a span is to the right one: exact match and F1 of the benchmark's script, and upstream's fuzzy match.
//! Both sides are single spans here, so there is nothing to align. Must not know where the span stood.
//!
//! DROP 的精确匹配、F1 与模糊匹配。

use std::collections::BTreeSet;

use crate::accuracy::python::{
    float,
    text::{squeeze, without_words},
};

const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// The best exact match (0 or 1) and the best F1 (0 to 100, two decimals) over `answers`; 0 where there is none.
pub(super) fn best(found: &str, answers: &[String]) -> (f64, f64) {
    let each = answers.iter().map(|gold| compare(found, gold));
    each.fold((0.0, 0.0), |best, one| (f64::max(best.0, one.0), f64::max(best.1, one.1)))
}

fn compare(found: &str, gold: &str) -> (f64, f64) {
    let (found, gold) = (normalized(found), normalized(gold));
    (f64::from(u8::from(found == gold)), f1(&found, &gold))
}

/// Lower case, without punctuation and articles; numbers as Python writes a float.
fn normalized(text: &str) -> String {
    let parts = text.split([' ', '-']).map(|token| {
        let token = without_punctuation(&token.to_lowercase());
        let token = float::parse(&token).map_or(token, float::text);
        squeeze(&without_words(&token, &ARTICLES))
    });
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A number keeps its punctuation.
fn without_punctuation(token: &str) -> String {
    if float::parse(token).is_some() {
        return token.to_owned();
    }
    token.replace(|c: char| c.is_ascii_punctuation(), "")
}

fn f1(found: &str, gold: &str) -> f64 {
    let (found, gold) = (bag(found), bag(gold));
    if !numbers_meet(&gold, &found) {
        return 0.0;
    }
    let common = gold.intersection(&found).count() as f64;
    let share = |bag: &BTreeSet<String>| if bag.is_empty() { 1.0 } else { common / bag.len() as f64 };
    let (precision, recall) = (share(&found), share(&gold));
    if precision == 0.0 && recall == 0.0 {
        return 0.0;
    }
    two_decimals(2.0 * precision * recall / (precision + recall) * 100.0)
}

/// `numpy.round(value, 2)`: scaled, to even, scaled back.
fn two_decimals(value: f64) -> f64 {
    (value * 100.0).round_ties_even() / 100.0
}

fn bag(normalized: &str) -> BTreeSet<String> {
    squeeze(normalized).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Where the right answer has numbers, one of them must be there.
fn numbers_meet(gold: &BTreeSet<String>, found: &BTreeSet<String>) -> bool {
    let mut numbers = gold.iter().filter(|word| float::parse(word).is_some()).peekable();
    numbers.peek().is_none() || numbers.any(|number| found.contains(number))
}

/// Whether one holds the other, once case, punctuation and articles are gone: `1` matches `12`.
pub(super) fn fuzzy(one: &str, other: &str) -> bool {
    let plain = |text: &str| {
        let lower = text.to_lowercase().replace(|c: char| c.is_ascii_punctuation(), "");
        squeeze(&without_words(&lower, &ARTICLES))
    };
    let (one, other) = (plain(one), plain(other));
    if one.is_empty() || other.is_empty() {
        one == other
    } else {
        one.contains(&other) || other.contains(&one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_compared_as_upstream_compares_them() {
        for (found, gold, em, score, like) in [
            ("1,000", "1000", 1.0, 100.0, true),
            ("$5", "5", 1.0, 100.0, true),
            ("-5", "5", 1.0, 100.0, true),
            ("5%", "5", 1.0, 100.0, true),
            ("12 yards", "12", 0.0, 66.67, true),
            ("The Denver Broncos", "Broncos", 0.0, 66.67, true),
            ("Broncos and Bears", "Bears and Broncos", 0.0, 100.0, false),
            ("1", "12", 0.0, 0.0, true),
            ("", "7", 0.0, 0.0, false),
            ("3-4", "34", 0.0, 0.0, true),
        ] {
            assert_eq!(
                (compare(found, gold), fuzzy(found, gold)),
                ((em, score), like),
                "{found:?} | {gold:?}"
            );
        }
    }

    #[test]
    fn numbers_are_what_python_takes_for_numbers() {
        assert_eq!(normalized("1_000 Infinity 1e3 ٣ 007"), "1000.0 inf 1000.0 3.0 7.0");
        assert_eq!(normalized("The A-team's 3.50"), "teams 3.5");
    }

    #[test]
    fn the_best_of_several_answers_counts() {
        let answers = ["x y".to_owned(), "12 yards".to_owned()];
        assert_eq!(best("12", &answers), (0.0, 66.67));
        assert_eq!(best("12", &[]), (0.0, 0.0));
    }
}
