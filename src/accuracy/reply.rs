//! What came back for an item: [`Reply`], read from the body of a chat completion. Must not know what the right
//! answer is.
//!
//! 回复分类：作答、截断、空、拒答、失败。

use serde_json::Value;

/// What came back for an item. Everything but [`Reply::Failed`] was answered by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It came to its end.
    Answered(String),
    /// It reached the limit of tokens; what there is of it.
    Truncated(String),
    /// No text, though it ended by itself.
    Empty,
    /// The model or a filter declined.
    Refused,
    /// No answer at all: the last attempt's reason.
    Failed(String),
}

impl Reply {
    /// The word it is counted under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Truncated(_) => "truncated",
            Self::Empty => "empty",
            Self::Refused => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// What can be scored.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Answered(text) | Self::Truncated(text) => Some(text),
            Self::Empty | Self::Refused | Self::Failed(_) => None,
        }
    }

    /// Reads the body of a chat completion that was answered with 200. Thinking is never scored, neither as a
    /// field of its own nor between `<think>` tags.
    pub fn read(body: &Value) -> Self {
        let Some(choice) = body.pointer("/choices/0") else {
            return Self::Failed("the answer holds no choice".to_owned());
        };
        let finish = choice.get("finish_reason").and_then(Value::as_str);
        let declined = choice.pointer("/message/refusal").is_some_and(|refusal| !refusal.is_null());
        let text = choice.pointer("/message/content").and_then(Value::as_str).map_or("", without_thinking);
        match finish {
            Some("content_filter") => Self::Refused,
            _ if declined => Self::Refused,
            Some("length") => Self::Truncated(text.to_owned()),
            _ if text.trim().is_empty() => Self::Empty,
            _ => Self::Answered(text.to_owned()),
        }
    }
}

/// What follows the thinking: all after the last `</think>`; nothing where an opened one is never closed.
fn without_thinking(text: &str) -> &str {
    match text.rsplit_once("</think>") {
        Some((_, after)) => after,
        None if text.trim_start().starts_with("<think>") => "",
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(content: Value, finish: &str) -> Reply {
        Reply::read(&json!({"choices": [{"message": {"content": content}, "finish_reason": finish}]}))
    }

    #[test]
    fn an_answer_a_cut_one_and_none_are_three_things() {
        assert_eq!(read(json!("Answer: A"), "stop"), Reply::Answered("Answer: A".to_owned()));
        assert_eq!(read(json!("Well, first"), "length"), Reply::Truncated("Well, first".to_owned()));
        assert_eq!(read(json!(null), "length"), Reply::Truncated(String::new()));
        assert_eq!(read(json!(null), "stop"), Reply::Empty);
        assert_eq!(read(json!("  "), "stop"), Reply::Empty);
        assert_eq!(read(json!("x"), "content_filter"), Reply::Refused);
        let declined =
            json!({"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]});
        assert_eq!(Reply::read(&declined), Reply::Refused);
        assert_eq!(Reply::read(&json!({})).name(), "failed");
    }

    #[test]
    fn thinking_is_not_the_answer() {
        for (content, answer) in [
            ("<think>Answer: A</think>\nAnswer: B", "\nAnswer: B"),
            ("Answer: A</think>Answer: B", "Answer: B"),
            ("a<think>", "a<think>"),
        ] {
            assert_eq!(read(json!(content), "stop").text(), Some(answer), "{content}");
        }
        assert_eq!(read(json!("<think>Answer: A"), "stop"), Reply::Empty);
    }

    #[test]
    fn reasoning_fields_are_never_taken_for_an_answer() {
        let body = json!({"choices": [{
            "message": {"content": null, "reasoning": "Answer: A", "reasoning_content": "Answer: A"},
            "finish_reason": "stop",
        }]});
        assert_eq!(Reply::read(&body), Reply::Empty);
    }
}
