//! Python's idea of white space, words and digits, where it differs from Rust's. Must not know what a text means.
//!
//! Python 的空白、单词与数字字符语义。

use std::sync::LazyLock;

use regex::Regex;

/// `str.isspace`: Unicode's white space and the four separators U+001C to U+001F.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `" ".join(text.split())`.
pub fn squeeze(text: &str) -> String {
    text.split(is_space).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `text` with every whole word of `words` replaced by a blank: `re.sub(r"\b(…|…)\b", " ", text)`.
pub fn without_words(text: &str, words: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = is_word(first);
        let end = rest.find(|c| is_word(c) != word).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(if word && words.contains(&run) { " " } else { run });
        rest = after;
    }
    out
}

/// `\w`: letters, numbers and the underscore, but no combining marks.
fn is_word(c: char) -> bool {
    static WORD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[\p{L}\p{N}]").expect("a constant pattern, compiled by the tests"));
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    WORD.is_match(c.encode_utf8(&mut [0; 4]))
}

/// The value of a decimal digit of any script. Unicode lays the digits of a script out in order, ten by ten.
pub fn digit(c: char) -> Option<u8> {
    static DIGIT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\p{Nd}").expect("a constant pattern, compiled by the tests"));
    if c.is_ascii() {
        return c.to_digit(10).and_then(|value| u8::try_from(value).ok());
    }
    let is_digit =
        |code: u32| char::from_u32(code).is_some_and(|c| DIGIT.is_match(c.encode_utf8(&mut [0; 4])));
    let code = u32::from(c);
    let before = is_digit(code).then(|| (1..=code).take_while(|back| is_digit(code - back)).count())?;
    u8::try_from(before % 10).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_what_python_calls_so() {
        assert_eq!(strip("\u{1c}\u{a0} a b\u{3000}\n"), "a b");
        assert_eq!(squeeze(" a \t\u{2003}b\u{1f}c "), "a b c");
        assert_eq!(strip("\u{200b}x"), "\u{200b}x", "a zero-width space is none");
    }

    #[test]
    fn only_whole_words_go() {
        let gone = |text| without_words(text, &["a", "an", "the"]);
        assert_eq!(gone("the cat, a dog and an ant"), "  cat,   dog and   ant");
        assert_eq!(gone("there a_b the1"), "there a_b the1");
        // CPython 3.11: a combining mark ends a word.
        assert_eq!(gone("a\u{301} b"), " \u{301} b");
        assert_eq!(gone("éa an"), "éa  ");
    }

    #[test]
    fn digits_of_every_script_have_their_value() {
        for (c, value) in [('7', 7), ('٣', 3), ('৯', 9), ('０', 0), ('\u{1d7da}', 2), ('\u{1d7ff}', 9)] {
            assert_eq!(digit(c), Some(value), "{c}");
        }
        for c in ['a', '²', '½', '一'] {
            assert_eq!(digit(c), None, "{c}");
        }
    }
}
