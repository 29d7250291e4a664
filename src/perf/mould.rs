//! Events of one stream differ in a text and a count: a [`Mould`] is made of one that was parsed, and takes the next ones
//! by comparing bytes. What it does not take is parsed, so that it never decides what an event means. Must not know when
//! an event came.
//!
//! 同形事件的快速比对，免去重复解析。

use std::{ops::Range, sync::LazyLock};

use memchr::memmem::Finder;

use crate::perf::record::Channel;

/// The texts of which only matters whether there is any. What finds them is made once: every answer needs it.
static TEXTS: LazyLock<[Finder<'static>; 4]> = LazyLock::new(|| {
    ["\"content\":\"", "\"reasoning\":\"", "\"reasoning_content\":\"", "\"text\":\""].map(Finder::new)
});
/// The server's running count, and a count that nobody reads, and that runs as well.
static NUMBERS: LazyLock<[(Finder<'static>, Part); 2]> = LazyLock::new(|| {
    [(Finder::new("\"completion_tokens\":"), Part::Count), (Finder::new("\"total_tokens\":"), Part::Number)]
});
/// So many moulds in a row that took nothing are enough: such a stream is parsed.
const PATIENCE: u32 = 8;

/// An event, and which parts of it may be others.
#[derive(Debug, Default)]
pub(super) struct Mould {
    /// The bytes between the parts, one after another; nothing where there is no mould.
    fixed: Vec<u8>,
    /// Behind how many of those each part stands, in order.
    parts: Vec<(usize, Part)>,
    /// Whose text it holds.
    channel: Option<Channel>,
    /// Where the text of the event stands that was taken last.
    text: Range<usize>,
    in_vain: u32,
}

/// A part that may be another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The inside of a string, not empty before and after.
    Text,
    /// The running count.
    Count,
    /// A number that is passed over.
    Number,
}

/// What an event with tokens says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cast {
    /// Whose text it holds.
    pub(super) channel: Channel,
    /// The server's running count, where there is one.
    pub(super) count: Option<u64>,
}

impl Mould {
    /// Makes the mould of an event that was parsed and says `cast`, and neither a finish reason nor an error.
    pub(super) fn make(&mut self, event: &str, Cast { channel, count }: Cast) {
        self.fixed.clear();
        self.parts.clear();
        self.channel = None;
        if self.in_vain == PATIENCE {
            return;
        }
        let event = event.as_bytes();
        let Some(parts) = parts(event, count) else { return };
        let mut from = 0;
        for (range, part) in parts {
            self.fixed.extend_from_slice(&event[from..range.start]);
            self.parts.push((self.fixed.len(), part));
            from = range.end;
        }
        self.fixed.extend_from_slice(&event[from..]);
        self.channel = Some(channel);
        self.in_vain += 1;
    }

    /// What `event` says, where it is the one that the mould was made of but for its parts: the same then holds of it.
    pub(super) fn take(&mut self, event: &str) -> Option<Cast> {
        let mut cast = Cast { channel: self.channel?, count: None };
        let (mut rest, mut fixed) = (event.as_bytes(), 0);
        for (until, part) in &self.parts {
            rest = rest.strip_prefix(&self.fixed[fixed..*until])?;
            fixed = *until;
            let length = match part {
                Part::Text => {
                    let (begin, length) = (event.len() - rest.len(), text(rest)?);
                    self.text = begin..begin + length;
                    length
                }
                Part::Number => number(rest)?.1,
                Part::Count => {
                    let (count, length) = number(rest)?;
                    cast.count = Some(count);
                    length
                }
            };
            rest = &rest[length..];
        }
        if rest != &self.fixed[fixed..] {
            return None;
        }
        self.in_vain = 0;
        Some(cast)
    }

    /// The text of `event`, which was taken just now, as it stands there: without anything that would be escaped.
    pub(super) fn text<'e>(&self, event: &'e str) -> &'e str {
        event.get(self.text.clone()).unwrap_or_default()
    }
}

/// The parts of `event` that may be others, in order; nothing where it is not plain enough to be sure.
fn parts(event: &[u8], count: Option<u64>) -> Option<Vec<(Range<usize>, Part)>> {
    // Without an escape, a name in quotes is what it looks like wherever it stands.
    if event.contains(&b'\\') {
        return None;
    }
    let mut parts = Vec::with_capacity(3);
    for key in TEXTS.iter() {
        for at in key.find_iter(event) {
            let begin = at + key.needle().len();
            let length = event[begin..].iter().position(|byte| *byte == b'"')?;
            if length > 0 {
                parts.push((begin..begin + length, Part::Text));
            }
        }
    }
    if parts.len() != 1 {
        return None;
    }
    for (key, part) in NUMBERS.iter() {
        let (part, mut found) = (*part, key.find_iter(event));
        if let Some(at) = found.next() {
            let begin = at + key.needle().len();
            let (told, length) = number(&event[begin..])?;
            if found.next().is_some() || (part == Part::Count && count != Some(told)) {
                return None;
            }
            parts.push((begin..begin + length, part));
        } else if part == Part::Count && count.is_some() {
            return None;
        }
    }
    parts.sort_unstable_by_key(|(range, _)| range.start);
    Some(parts)
}

/// How long the inside of a string is that begins here; nothing where it is empty, or where its end is not plain to see.
fn text(bytes: &[u8]) -> Option<usize> {
    let length = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    (length > 0 && bytes[length] == b'"').then_some(length)
}

/// The whole number that begins here, and its length; nothing where there is none that is surely one of 64 bits.
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let plain = (1..19).contains(&length) && (bytes[0] != b'0' || length == 1);
    if !plain || matches!(bytes[length], b'.' | b'e' | b'E') {
        return None;
    }
    Some((bytes[..length].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::perf::chunk::Chunk;

    fn chat(text: &str, count: u64) -> String {
        format!(
            r#"{{"id":"a","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":{{"prompt_tokens":9,"total_tokens":{},"completion_tokens":{count}}}}}"#,
            9 + count
        )
    }

    fn made_of(event: &str, count: Option<u64>) -> Mould {
        let mut mould = Mould::default();
        mould.make(event, Cast { channel: Channel::Answer, count });
        mould
    }

    #[test]
    fn an_event_that_differs_in_text_and_counts_is_taken() {
        let mut mould = made_of(&chat("a", 1), Some(1));
        assert_eq!(mould.take(&chat("世界 ", 12)), Some(Cast { channel: Channel::Answer, count: Some(12) }));
        assert_eq!(mould.text(&chat("世界 ", 12)), "世界 ");
        let mut plain = made_of(r#"{"choices":[{"text":"a"}]}"#, None);
        assert_eq!(
            plain.take(r#"{"choices":[{"text":"bcd"}]}"#),
            Some(Cast { channel: Channel::Answer, count: None })
        );
    }

    #[test]
    fn whatever_may_mean_something_else_is_left_to_the_parser() {
        let mut mould = made_of(&chat("a", 1), Some(1));
        for other in [
            chat("", 2),
            chat("\\n", 2),
            chat("a\u{1}", 2),
            chat("b", 2).replace("null", "\"stop\""),
            chat("b", 2).replace("\"a\"", "\"other\""),
            chat("b", 2).replace(":2}", ":2.5}"),
            chat("b", 2).replace(":2}", ":02}"),
            chat("b", 2).replace(":2}", ":99999999999999999999}"),
            chat("b", 2).replace("}}", "},\"error\":{}}"),
            chat("b", 2) + " ",
            "[DONE]".to_owned(),
            String::new(),
        ] {
            assert_eq!(mould.take(&other), None, "{other}");
        }
        for odd in [
            r#"{"choices":[{"delta":{"content":"a","reasoning":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a\n"}}]}"#,
            r#"{"choices":[{"token_ids":[1]}]}"#,
        ] {
            assert_eq!(made_of(odd, None).take(odd), None, "{odd}");
        }
        assert_eq!(made_of(&chat("a", 1), Some(7)).take(&chat("a", 1)), None, "the count stands elsewhere");
    }

    #[test]
    fn a_stream_of_which_no_event_is_like_another_is_left_alone_after_a_while() {
        let mut mould = Mould::default();
        for n in 0..20 {
            let event = format!(r#"{{"n":{n},"choices":[{{"text":"a"}}]}}"#);
            assert_eq!(mould.take(&event), None);
            mould.make(&event, Cast { channel: Channel::Answer, count: None });
        }
        assert!(mould.channel.is_none());
    }

    /// What the parser makes of an event, as far as a mould stands in for it: all but the count, and the count.
    fn parsed(event: &str) -> Option<(String, Option<u64>)> {
        let chunk: Chunk<'_> = serde_json::from_str(event).ok()?;
        let choices = chunk.choices();
        let flags = (choices.empty, choices.answer, choices.reasoning);
        let count = chunk.usage.as_ref().and_then(|usage| usage.completion_tokens);
        Some((format!("{flags:?} {:?}", choices.finish_reason), count))
    }

    fn event() -> impl Strategy<Value = String> {
        let text = || prop_oneof![4 => "[a-z 世\"\\\\,:{}]{0,5}", 1 => Just("\\n".to_owned()), 1 => Just(String::new())];
        let key = prop::sample::select(vec!["content", "reasoning", "reasoning_content", "text", "role"]);
        let number = prop_oneof![5 => (0u64..200).prop_map(|n| n.to_string()), 1 => Just("1e3".to_owned())];
        (key, text(), text(), number.clone(), number, 0..5u8).prop_map(|(key, a, b, count, total, shape)| match shape {
            0 => format!(r#"{{"choices":[{{"delta":{{"{key}":"{a}"}}}}]}}"#),
            1 => format!(r#"{{"choices":[{{"{key}":"{a}","finish_reason":null}}],"usage":{{"completion_tokens":{count}}}}}"#),
            2 => format!(
                r#"{{"choices":[{{"delta":{{"{key}":"{a}","content":"{b}"}}}}],"usage":{{"total_tokens":{total},"completion_tokens":{count}}}}}"#
            ),
            3 => format!(r#"{{"completion_tokens":{count},"choices":[{{"text":"{a}"}}],"usage":null}}"#),
            _ => format!(r#"{{"usage":{{"completion_tokens":{count}}},"choices":[{{"delta":{{"{key}":"{a}"}}}}],"text":"{b}"}}"#),
        })
    }

    proptest! {
        #[test]
        fn what_it_takes_says_what_the_parser_says(first in event(), second in event()) {
            if let Some((of_first, count)) = parsed(&first) {
                let mut mould = made_of(&first, count);
                for next in [&second, &first] {
                    if let Some(cast) = mould.take(next) {
                        prop_assert_eq!(parsed(next), Some((of_first.clone(), cast.count)));
                    }
                }
            }
        }
    }
}
