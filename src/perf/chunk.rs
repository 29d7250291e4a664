//! What the timeline reads of one event of a stream: [`Chunk`]; everything else in it is passed over, and nothing is
//! copied: of a text only whether there is any is kept. Must not know when it came, nor what follows from it.
//!
//! 流式事件中被读取的字段。

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::Value;

/// What is read of an event; everything else in it is passed over.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Choices<'a>>,
    pub(super) usage: Option<Usage>,
    error: Option<Value>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    object: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

/// What all choices of an event say together.
#[derive(Default)]
pub(super) struct Choices<'a> {
    /// Whether there is none.
    pub(super) empty: bool,
    /// Whether one has text of the answer, or a tool call.
    pub(super) answer: bool,
    /// Whether one has text of the reasoning.
    pub(super) reasoning: bool,
    /// The first finish reason.
    pub(super) finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    delta: Option<Delta>,
    text: Option<Filled>,
    /// vLLM's own field: tokens whose text is still held back show here.
    token_ids: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Filled>,
    reasoning: Option<Filled>,
    reasoning_content: Option<Filled>,
    tool_calls: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
    pub(super) prompt_tokens_details: Option<PromptDetails>,
    pub(super) completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
pub(super) struct CompletionDetails {
    pub(super) reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Option<u64>,
}

impl Chunk<'_> {
    /// The error that it is, under whichever shape.
    pub(super) fn error(&self, name: &str) -> Option<String> {
        let nested = self.error.as_ref().filter(|error| !error.is_null()).map(|error| {
            error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned)
        });
        let flat = || {
            (name == "error" || text(&self.object) == Some("error"))
                .then(|| text(&self.message).unwrap_or("an error without a message").to_owned())
        };
        nested.or_else(flat)
    }

    /// The server's name for the answer.
    pub(super) fn id(&self) -> Option<&str> {
        text(&self.id)
    }

    /// Its choices; none where it does not speak of any.
    pub(super) fn choices(&self) -> &Choices<'_> {
        const NONE: &Choices<'_> =
            &Choices { empty: true, answer: false, reasoning: false, finish_reason: None };
        self.choices.as_ref().unwrap_or(NONE)
    }
}

/// Adds what the answer says in the event `data` to `said`, the inside of a JSON string: the first choice's text, without
/// any reasoning.
pub(super) fn say(data: &str, said: &mut String) {
    #[derive(Deserialize)]
    struct Event {
        #[serde(default)]
        choices: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        delta: Option<Content>,
        #[serde(default)]
        text: Option<String>,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        content: Option<String>,
    }
    let first = serde_json::from_str::<Event>(data).ok().and_then(|event| event.choices.into_iter().next());
    let text = first.and_then(|choice| choice.delta.and_then(|delta| delta.content).or(choice.text));
    let quoted = text.map(|text| Value::String(text).to_string());
    said.push_str(
        quoted.as_deref().and_then(|text| text.strip_prefix('"')?.strip_suffix('"')).unwrap_or_default(),
    );
}

fn text<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_ref().map(|text| &*text.0)
}

impl<'a> Choices<'a> {
    fn add(&mut self, choice: Choice<'a>) {
        let filled = |text: &Option<Filled>| text.as_ref().is_some_and(|text| text.0);
        let some = |items: &Option<Vec<IgnoredAny>>| items.as_ref().is_some_and(|items| !items.is_empty());
        let delta = choice.delta.as_ref();
        let reasoning =
            delta.is_some_and(|delta| filled(&delta.reasoning) || filled(&delta.reasoning_content));
        self.empty = false;
        self.reasoning |= reasoning;
        self.answer |= filled(&choice.text)
            || (some(&choice.token_ids) && !reasoning)
            || delta.is_some_and(|delta| filled(&delta.content) || some(&delta.tool_calls));
        self.finish_reason = self.finish_reason.take().or(choice.finish_reason.map(|reason| reason.0));
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Choices<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut choices = Choices { empty: true, ..Choices::default() };
                while let Some(choice) = list.next_element()? {
                    choices.add(choice);
                }
                Ok(choices)
            }
        }
        from.deserialize_seq(All)
    }
}

/// A text, borrowed where it stands in the event as it is meant. (An `Option<Cow>` would always be a copy.)
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Borrowed)
    }
}

/// Whether a text holds anything.
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Filled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Filled(!text.is_empty()))
            }
        }
        from.deserialize_str(Any)
    }
}
