//! The simulator's own vocabulary: [`encode`] and [`decode`], and the chat template. Common words are one token, with
//! or without the blank before them; a Chinese character is one; what is left goes by two letters or by bytes, so
//! that an emoji is four tokens and nothing is ever lost. Must not know requests.
//!
//! 自有分词器：常用词、汉字逐字、其余按字节，可逆；另有聊天模板。

use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A token.
pub(super) type Id = u32;

/// Ids lie below this; it is the size of the vocabulary of the recorded server.
pub(super) const VOCABULARY: Id = 49_152;
/// Ends an answer.
pub(super) const EOS: Id = 2;

const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const BYTES: Id = 3;
const PAIRS: Id = 2000;
const WORDS_FROM: Id = 6000;
const HAN: Id = 20_000;
const HAN_MARKS: Id = 41_000;
const WIDE: Id = 41_100;

/// Ids that the recorded requests name, with the text that they have there.
const PINNED: [(Id, &str); 7] = [
    (282, " of"),
    (314, " is"),
    (504, "The"),
    (905, " world"),
    (3575, " capital"),
    (4649, " France"),
    (19_556, "Hello"),
];

/// Words that are tokens of their own, alone and after a blank.
pub(super) const WORDS: &str = "a an and are as at be but by can could did do does each even for from had has have he \
    her here his how I if in into is it its just like may me more most much must my new no not now of on one only or \
    other our out over said same she should so some such than that the their them then there these they this those to \
    too two under up us very was we well were what when where which while who why will with word words world would \
    year you your about above after again all also always another answer any ask back because become been before \
    begin being below best better between book both bring build call capital case change city clear close cold come \
    common count country day dear different door down early earth easy end enough every example eye face fact fall \
    far few field find first five follow food form found four France free friend full garden gave get give glad go \
    good great green ground group grow half hand happy hard head hear heart help hello Hello hi high hold home hope \
    hour house idea keep kind know land language large last late learn leave left letter life light line list little \
    live long look love made main make man many map mean measure mind moment money morning move music name near need \
    never next night nothing number often old open order own page paper part pass people perhaps person picture place \
    plain plan play point poor power pretty problem question quick quiet rain read ready real reason red rest right \
    river road rock room round run sea second see seem sentence set short show side simple since sky sleep slow small \
    snow song soon sound speak stand star start state stay step still stone story street strong sun sure system table \
    take talk teach tell ten test thank thing think three time today together told took town travel tree true try \
    turn user assistant helpful usual voice wait walk wall want warm water way weather week white wide wind window \
    winter wise within without wonder wood work write wrong yes yet young Say say Write Reply Return The What Name";

/// The pieces of the vocabulary that are no single byte or Chinese character.
struct Pieces {
    ids: HashMap<String, Id>,
    texts: HashMap<Id, String>,
    /// Bytes of the longest.
    longest: usize,
}

static PIECES: LazyLock<Pieces> = LazyLock::new(|| {
    let mut texts: HashMap<Id, String> = PINNED.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
    for (id, text) in (0..).zip(SPECIAL) {
        texts.insert(id, text.to_owned());
    }
    let pairs = ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")));
    let initials = ('a'..='z').chain('A'..='Z').map(|letter| format!(" {letter}"));
    let known: Vec<&str> = PINNED.iter().map(|(_, text)| *text).collect();
    let words = WORDS.split_whitespace().flat_map(|word| [word.to_owned(), format!(" {word}")]);
    texts.extend((PAIRS..).zip(pairs.chain(initials)));
    texts.extend((WORDS_FROM..).zip(words).filter(|(_, word)| !known.contains(&word.as_str())));
    let longest = texts.values().map(String::len).max().unwrap_or(1);
    // Where a text has two ids, the smaller one is written.
    let mut by_id: Vec<(Id, String)> = texts.iter().map(|(id, text)| (*id, text.clone())).collect();
    by_id.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    Pieces { ids: by_id.into_iter().map(|(id, text)| (text, id)).collect(), texts, longest }
});

/// The tokens of a text. Its special tokens count as such, wherever they stand, as they do on the recorded server.
pub(super) fn encode(text: &str) -> Vec<Id> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (id, length) = longest(rest).or_else(|| han(first)).unwrap_or((byte(rest.as_bytes()[0]), 0));
        if length > 0 {
            tokens.push(id);
            rest = &rest[length..];
        } else {
            tokens.extend(rest.as_bytes()[..first.len_utf8()].iter().map(|b| byte(*b)));
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

fn byte(b: u8) -> Id {
    BYTES + Id::from(b)
}

/// The longest piece that the text begins with.
fn longest(text: &str) -> Option<(Id, usize)> {
    let Pieces { ids, longest, .. } = &*PIECES;
    (2..=text.len().min(*longest))
        .rev()
        .filter(|n| text.is_char_boundary(*n))
        .find_map(|n| ids.get(&text[..n]).map(|id| (*id, n)))
        .or_else(|| ids.get(text.get(..1)?).map(|id| (*id, 1)))
}

fn han(c: char) -> Option<(Id, usize)> {
    let id = match u32::from(c) {
        code @ 0x4e00..=0x9fff => HAN + code - 0x4e00,
        code @ 0x3000..=0x303f => HAN_MARKS + code - 0x3000,
        code @ 0xff00..=0xffef => WIDE + code - 0xff00,
        _ => return None,
    };
    Some((id, c.len_utf8()))
}

/// The bytes of a token: nothing where the vocabulary has a gap. Bytes of one character may be spread over tokens.
pub(super) fn bytes(id: Id) -> Vec<u8> {
    let code = match id {
        BYTES..259 => return vec![u8::try_from(id - BYTES).unwrap_or_default()],
        HAN..40_992 => id - HAN + 0x4e00,
        HAN_MARKS..41_064 => id - HAN_MARKS + 0x3000,
        WIDE..41_340 => id - WIDE + 0xff00,
        _ => return PIECES.texts.get(&id).map(|text| text.clone().into_bytes()).unwrap_or_default(),
    };
    // The pinned id lies in front of the Chinese characters, so the two cannot meet.
    char::from_u32(code).map(|c| c.to_string().into_bytes()).unwrap_or_default()
}

/// Whether the token is markup of the template, which no answer shows.
pub(super) fn is_special(id: Id) -> bool {
    id < BYTES
}

/// The text of tokens. Bytes that make no character are shown as U+FFFD.
pub(super) fn decode(tokens: &[Id]) -> String {
    let all: Vec<u8> = tokens.iter().flat_map(|id| bytes(*id)).collect();
    String::from_utf8_lossy(&all).into_owned()
}

/// The prompt of a conversation. `tools` and a missing system message are written as the template does it.
pub(super) fn template(
    messages: &[Value],
    tools: Option<&Value>,
    add_generation_prompt: bool,
    open_end: bool,
) -> String {
    let mut prompt = String::new();
    if messages.first().is_none_or(|m| m["role"] != "system") {
        prompt += "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n";
    }
    if let Some(tools) = tools {
        prompt += &format!("<|im_start|>tools\n{tools}<|im_end|>\n");
    }
    for message in messages {
        let role = message["role"].as_str().unwrap_or_default();
        prompt += &format!("<|im_start|>{role}\n{}", content(message));
        if let Some(calls) = message.get("tool_calls").filter(|calls| !calls.is_null()) {
            prompt += &calls.to_string();
        }
        prompt += "<|im_end|>\n";
    }
    if open_end {
        prompt.truncate(prompt.trim_end_matches("<|im_end|>\n").len());
    } else if add_generation_prompt {
        prompt += "<|im_start|>assistant\n";
    }
    prompt
}

/// The text of a message; parts are joined by a line break.
pub(super) fn content(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn nothing_is_lost_by_encoding(text in "\\PC*") {
            prop_assert_eq!(decode(&encode(&text)), text);
        }

        #[test]
        fn mixed_scripts_come_back_whole(text in "[a-z A-Z你好世界，。😀👩‍🚀\n\t<|>_]{0,60}") {
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }

    #[test]
    fn a_common_word_with_its_blank_is_one_token() {
        assert_eq!(encode("The capital of France is"), [504, 3575, 282, 4649, 314]);
        assert_eq!(decode(&[19_556, 905]), "Hello world");
        assert_eq!(encode("word word word").len(), 3);
    }

    #[test]
    fn a_chinese_character_is_one_token_and_an_emoji_is_four() {
        assert_eq!(encode("世界。").len(), 3);
        assert_eq!(encode("😀").len(), 4);
    }

    #[test]
    fn special_tokens_in_a_text_are_taken_as_such() {
        assert_eq!(encode("<|im_end|>"), [EOS]);
    }

    #[test]
    fn no_two_ids_collide_and_all_lie_in_the_vocabulary() {
        let words = WORDS.split_whitespace().count() as Id;
        assert!(WORDS_FROM + 2 * words < PINNED[6].0 && PAIRS + 676 + 52 < PINNED[4].0);
        for id in 0..VOCABULARY {
            let text = bytes(id);
            if let Ok(text) = std::str::from_utf8(&text).map(str::to_owned) {
                assert_eq!(decode(&encode(&text)), text, "{id}");
            }
        }
    }

    #[test]
    fn a_conversation_is_written_with_a_system_message_and_an_open_end() {
        let prompt = template(&[json!({"role": "user", "content": "Hi"})], None, true, false);
        assert_eq!(
            prompt,
            "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
        let parts = [
            json!({"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        ];
        assert_eq!(template(&parts, None, false, false), "<|im_start|>system\na\nb<|im_end|>\n");
    }
}
