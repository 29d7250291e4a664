//! What the timeline reads of one event of a stream: [`Chunk`]; everything else in it is passed over. Must not know
//! when it came, nor what follows from it.
//!
//! 流式事件中被读取的字段。

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// What is read of an event; everything else in it is passed over.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    pub(super) usage: Option<Usage>,
    error: Option<Value>,
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    /// vLLM's own field: tokens whose text is still held back show here.
    token_ids: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
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
            (name == "error" || self.object.as_deref() == Some("error"))
                .then(|| self.message.as_deref().unwrap_or("an error without a message").to_owned())
        };
        nested.or_else(flat)
    }
}

impl Choice<'_> {
    pub(super) fn has_answer(&self) -> bool {
        let filled = |text: &Option<Cow<'_, str>>| text.as_deref().is_some_and(|text| !text.is_empty());
        let some = |items: &Option<Vec<IgnoredAny>>| items.as_ref().is_some_and(|items| !items.is_empty());
        filled(&self.text)
            || (some(&self.token_ids) && !self.has_reasoning())
            || self.delta.as_ref().is_some_and(|delta| filled(&delta.content) || some(&delta.tool_calls))
    }

    pub(super) fn has_reasoning(&self) -> bool {
        self.delta.as_ref().is_some_and(|delta| {
            [&delta.reasoning, &delta.reasoning_content]
                .into_iter()
                .any(|text| text.as_deref().is_some_and(|text| !text.is_empty()))
        })
    }
}
