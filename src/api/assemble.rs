//! One answer from many pieces: an [`Assembler`] takes the JSON of a stream's events, or of a whole body, and makes
//! the [`Final`] of it. Must not know how the pieces came, and never fails: what is not understood is left out here
//! and can be read in the events themselves.
//!
//! 由增量重组完整应答。

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// A whole answer to a chat or completions request.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Final {
    /// The first that was given.
    pub id: Option<String>,
    /// As written: `chat.completion`, `chat.completion.chunk`, `text_completion`.
    pub object: Option<String>,
    /// The first that was given.
    pub model: Option<String>,
    /// The first that was given, in Unix seconds.
    pub created: Option<u64>,
    /// The last that was given.
    pub system_fingerprint: Option<String>,
    /// By index.
    pub choices: Vec<Choice>,
    /// The last that was given, as written.
    pub usage: Option<Value>,
}

/// One of the answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Choice {
    /// Its number.
    pub index: u64,
    /// `assistant`; null for completions.
    pub role: Option<String>,
    /// Chat's content or completions' text; null where the server gave none.
    pub content: Option<String>,
    /// What the model thought, where the server tells it apart.
    pub reasoning: Option<String>,
    /// Under which key: `reasoning_content`, `reasoning`, `thinking`, `reasoning_text`, `reasoning_details`.
    pub reasoning_key: Option<String>,
    /// Why it refused.
    pub refusal: Option<String>,
    /// By index.
    pub tool_calls: Vec<ToolCall>,
    /// The last that was given.
    pub finish_reason: Option<String>,
    /// The last that was given: a text, a token's number.
    pub stop_reason: Option<Value>,
    /// The lists within, one after another.
    pub logprobs: Option<Value>,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ToolCall {
    /// Its number.
    pub index: u64,
    /// The first that was given.
    pub id: Option<String>,
    /// `function`; `type` on the wire and in the subject.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The first that was given.
    pub name: Option<String>,
    /// All pieces, one after another.
    pub arguments: String,
    /// `arguments` as JSON, where it is.
    pub parsed: Option<Value>,
}

const REASONING_KEYS: [&str; 4] = ["reasoning_content", "reasoning", "thinking", "reasoning_text"];
const REASONING_LIST: &str = "reasoning_details";

/// Puts an answer together.
#[derive(Debug, Default)]
pub struct Assembler {
    whole: Final,
    choices: BTreeMap<u64, Choice>,
    any: bool,
}

impl Assembler {
    /// The whole answer in `body`; nothing where it is not an answer with choices.
    pub fn whole(body: &Value) -> Option<Final> {
        let mut one = Self::default();
        one.take(body);
        one.finish()
    }

    /// Takes in the next piece. One without `choices` is not part of an answer.
    pub fn take(&mut self, piece: &Value) {
        let Some(choices) = piece.get("choices").and_then(Value::as_array) else { return };
        self.any = true;
        let whole = &mut self.whole;
        first(&mut whole.id, text(piece, "id"));
        first(&mut whole.object, text(piece, "object"));
        first(&mut whole.model, text(piece, "model"));
        first(&mut whole.created, piece.get("created").and_then(Value::as_u64));
        last(&mut whole.system_fingerprint, text(piece, "system_fingerprint"));
        last(&mut whole.usage, given(piece, "usage"));
        for (position, choice) in choices.iter().enumerate() {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(position as u64);
            self.choices.entry(index).or_insert_with(|| Choice { index, ..Choice::default() }).take(choice);
        }
    }

    /// The answer; nothing where no piece had `choices`.
    pub fn finish(self) -> Option<Final> {
        let choices = self.choices.into_values().map(Choice::finish).collect();
        self.any.then_some(Final { choices, ..self.whole })
    }
}

impl Choice {
    fn take(&mut self, piece: &Value) {
        append(&mut self.content, text(piece, "text"));
        for part in ["message", "delta"].into_iter().filter_map(|key| piece.get(key)) {
            self.take_message(part);
        }
        // A whole message counts its calls by their place; only the pieces of a stream say which one they mean.
        for (position, call) in calls(piece.get("message")).enumerate() {
            self.call_at(position as u64).take(call);
        }
        for call in calls(piece.get("delta")) {
            let index = self.index_of(call);
            self.call_at(index).take(call);
        }
        last(&mut self.finish_reason, text(piece, "finish_reason"));
        last(&mut self.stop_reason, given(piece, "stop_reason"));
        if let Some(logprobs) = given(piece, "logprobs") {
            self.logprobs = Some(match self.logprobs.take() {
                Some(before) => joined(before, logprobs),
                None => logprobs,
            });
        }
    }

    fn take_message(&mut self, message: &Value) {
        first(&mut self.role, text(message, "role"));
        append(&mut self.content, text(message, "content"));
        append(&mut self.refusal, text(message, "refusal"));
        self.take_reasoning(message);
    }

    /// Some servers repeat the same thought under two keys: the first key that says anything is the one.
    fn take_reasoning(&mut self, message: &Value) {
        let said = |key: &str| {
            text(message, key).or_else(|| listed(message, key)).map(|text| (key.to_owned(), text))
        };
        let settled = self.reasoning.as_deref().is_some_and(|text| !text.is_empty());
        let found = match &self.reasoning_key {
            Some(key) if settled => said(key),
            _ => {
                let all: Vec<_> =
                    REASONING_KEYS.into_iter().chain([REASONING_LIST]).filter_map(said).collect();
                all.iter().find(|(_, text)| !text.is_empty()).or(all.first()).cloned()
            }
        };
        if let Some((key, text)) = found {
            self.reasoning_key = Some(key);
            append(&mut self.reasoning, Some(text));
        }
    }

    /// The call that `piece` of a stream belongs to: by index; without one, a new id is a new call.
    fn index_of(&self, piece: &Value) -> u64 {
        if let Some(index) = piece.get("index").and_then(Value::as_u64) {
            return index;
        }
        let next = self.tool_calls.iter().map(|call| call.index.saturating_add(1)).max().unwrap_or(0);
        match text(piece, "id") {
            Some(id) => {
                let known = self.tool_calls.iter().find(|call| call.id.as_deref() == Some(&id));
                known.map_or(next, |call| call.index)
            }
            None => next.saturating_sub(1),
        }
    }

    fn call_at(&mut self, index: u64) -> &mut ToolCall {
        let position = self.tool_calls.iter().position(|call| call.index == index).unwrap_or_else(|| {
            self.tool_calls.push(ToolCall { index, ..ToolCall::default() });
            self.tool_calls.len() - 1
        });
        &mut self.tool_calls[position]
    }

    fn finish(mut self) -> Self {
        self.tool_calls.sort_by_key(|call| call.index);
        for call in &mut self.tool_calls {
            call.parsed = serde_json::from_str(&call.arguments).ok();
        }
        self
    }
}

impl ToolCall {
    fn take(&mut self, piece: &Value) {
        first(&mut self.id, text(piece, "id"));
        first(&mut self.kind, text(piece, "type"));
        let Some(function) = piece.get("function") else { return };
        first(&mut self.name, text(function, "name"));
        match function.get("arguments") {
            Some(Value::String(piece)) => self.arguments.push_str(piece),
            // Some servers send the arguments as an object instead of its text.
            Some(Value::Object(object)) => {
                self.arguments.push_str(&Value::Object(object.clone()).to_string())
            }
            _ => {}
        }
    }
}

fn text(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

/// `object[key]`, where it is there and not null.
fn given(object: &Value, key: &str) -> Option<Value> {
    object.get(key).filter(|value| !value.is_null()).cloned()
}

/// The texts of `[{"text": …}, …]` under `key`.
fn listed(message: &Value, key: &str) -> Option<String> {
    let texts: Vec<_> =
        message.get(key)?.as_array()?.iter().filter_map(|item| item.get("text")?.as_str()).collect();
    (!texts.is_empty()).then(|| texts.concat())
}

fn calls(message: Option<&Value>) -> impl Iterator<Item = &Value> {
    message.and_then(|message| message.get("tool_calls")?.as_array()).into_iter().flatten()
}

fn first<T>(slot: &mut Option<T>, next: Option<T>) {
    if slot.is_none() {
        *slot = next;
    }
}

fn last<T>(slot: &mut Option<T>, next: Option<T>) {
    if next.is_some() {
        *slot = next;
    }
}

fn append(slot: &mut Option<String>, next: Option<String>) {
    if let Some(next) = next {
        slot.get_or_insert_default().push_str(&next);
    }
}

/// Two logprobs objects as one: lists one after another, of anything else the later.
fn joined(before: Value, next: Value) -> Value {
    let (Value::Object(mut all), Value::Object(next)) = (before, next.clone()) else { return next };
    for (key, value) in next {
        join_field(&mut all, key, value);
    }
    Value::Object(all)
}

fn join_field(all: &mut Map<String, Value>, key: String, value: Value) {
    match (all.get_mut(&key), value) {
        (Some(Value::Array(before)), Value::Array(next)) => before.extend(next),
        (Some(_), Value::Null) => {}
        (_, value) => drop(all.insert(key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn streamed(deltas: &[Value]) -> Choice {
        let mut assembler = Assembler::default();
        for delta in deltas {
            assembler.take(&json!({"choices": [{"index": 0, "delta": delta}]}));
        }
        assembler.finish().expect("an answer").choices.remove(0)
    }

    #[test]
    fn pieces_of_several_choices_interleave() {
        let mut assembler = Assembler::default();
        for (index, text) in [(1, "b"), (0, "a"), (1, "B"), (0, "A")] {
            assembler.take(&json!({"choices": [{"index": index, "delta": {"content": text}}]}));
        }
        assembler.take(&json!({"choices": [], "usage": {"total_tokens": 4}}));
        let answer = assembler.finish().expect("an answer");
        let texts: Vec<_> = answer.choices.iter().map(|c| (c.index, c.content.as_deref())).collect();
        assert_eq!(texts, [(0, Some("aA")), (1, Some("bB"))]);
        assert_eq!(answer.usage, Some(json!({"total_tokens": 4})));
    }

    #[test]
    fn pieces_of_tool_calls_belong_together_by_index() {
        let call = |index: u64, rest: Value| json!({"tool_calls": [{"index": index, "function": rest}]});
        let choice = streamed(&[
            json!({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g"}}]}),
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            call(0, json!({"arguments": "{\"x\""})),
            call(1, json!({"arguments": "not json"})),
            call(0, json!({"arguments": ":1}"})),
        ]);
        let calls: Vec<_> = choice.tool_calls.iter().map(|c| (c.id.as_deref(), c.name.as_deref())).collect();
        assert_eq!(calls, [(Some("a"), Some("f")), (Some("b"), Some("g"))]);
        assert_eq!(choice.tool_calls[0].parsed, Some(json!({"x": 1})));
        assert_eq!(
            (choice.tool_calls[1].arguments.as_str(), &choice.tool_calls[1].parsed),
            ("not json", &None)
        );
    }

    #[test]
    fn without_an_index_a_new_id_begins_a_new_call() {
        let choice = streamed(&[
            json!({"tool_calls": [{"id": "a", "function": {"arguments": "1"}}]}),
            json!({"tool_calls": [{"function": {"arguments": "2"}}]}),
            json!({"tool_calls": [{"id": "b", "function": {"arguments": "3"}}]}),
            json!({"tool_calls": [{"id": "a", "function": {"arguments": "4"}}]}),
        ]);
        let arguments: Vec<_> = choice.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!(arguments, ["124", "3"]);
    }

    #[test]
    fn the_calls_of_a_whole_message_are_counted_by_their_place() {
        let call = json!({"function": {"name": "f", "arguments": {"x": 1}}});
        let body = json!({"choices": [{"message": {"content": null, "tool_calls": [call, call]}}]});
        let choice = Assembler::whole(&body).expect("an answer").choices.remove(0);
        assert_eq!(choice.tool_calls.iter().map(|call| call.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(choice.tool_calls[1].parsed, Some(json!({"x": 1})));
        assert_eq!(choice.content, None);
    }

    #[test]
    fn a_thought_is_taken_from_the_first_key_that_says_anything() {
        let both = streamed(&[
            json!({"reasoning_content": null, "reasoning": "hm"}),
            json!({"reasoning_content": "!", "reasoning": "!"}),
        ]);
        assert_eq!(
            (both.reasoning_key.as_deref(), both.reasoning.as_deref()),
            (Some("reasoning"), Some("hm!"))
        );
        let listed = streamed(&[json!({"reasoning_details": [{"text": "a"}, {"text": "b"}]})]);
        assert_eq!(listed.reasoning.as_deref(), Some("ab"));
        let empty = streamed(&[json!({"reasoning_content": ""}), json!({"reasoning": "late"})]);
        assert_eq!(
            (empty.reasoning_key.as_deref(), empty.reasoning.as_deref()),
            (Some("reasoning"), Some("late"))
        );
        assert_eq!(streamed(&[json!({"reasoning": null})]).reasoning, None);
    }

    #[test]
    fn logprobs_are_put_one_after_another_in_both_shapes() {
        let mut assembler = Assembler::default();
        for n in [1, 2] {
            assembler.take(&json!({"choices": [
                {"index": 0, "delta": {}, "logprobs": {"content": [{"token": n}], "refusal": null}},
                {"index": 1, "text": "x", "logprobs": {"tokens": [n], "text_offset": [n]}},
            ]}));
        }
        assembler.take(&json!({"choices": [{"index": 0, "delta": {}, "logprobs": null}]}));
        let choices = assembler.finish().expect("an answer").choices;
        assert_eq!(
            choices[0].logprobs,
            Some(json!({"content": [{"token": 1}, {"token": 2}], "refusal": null}))
        );
        assert_eq!(choices[1].logprobs, Some(json!({"tokens": [1, 2], "text_offset": [1, 2]})));
        assert_eq!(choices[1].content.as_deref(), Some("xx"));
    }

    #[test]
    fn what_has_no_choices_is_no_answer() {
        assert_eq!(Assembler::whole(&json!({"object": "list", "data": []})), None);
        assert_eq!(Assembler::whole(&json!({"choices": []})).map(|answer| answer.choices.len()), Some(0));
    }
}
