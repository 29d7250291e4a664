//! What came back for a question: [`Reply`], with its [`Status`]. Truncated, empty, refused and failed are no wrong
//! answers, and thinking is no answer at all. Must not know what the right answer is.
//!
//! 回复分类：作答、截断、空、拒答、失败；思考内容不计分。

use serde::{Deserialize, Serialize};

use crate::api::{Answer, Choice};

/// What kind of reply it is. All but [`Status::Failed`] came from the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It came to its end.
    Answered,
    /// It reached the limit of tokens.
    Truncated,
    /// No text, though it ended by itself.
    Empty,
    /// The model or a filter declined.
    Refused,
    /// No answer at all.
    Failed,
}

/// What came back for a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What kind of reply it is.
    pub status: Status,
    /// What can be scored: the content without its thinking. Null where nothing can.
    pub text: Option<String>,
    /// As the server gave it.
    pub finish_reason: Option<String>,
    /// Why there is no answer.
    pub why: Option<String>,
}

impl Status {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Truncated, Self::Empty, Self::Refused, Self::Failed];

    /// The word it is counted under.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Truncated => "truncated",
            Self::Empty => "empty",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Reply {
    fn new(status: Status, text: Option<&str>, finish_reason: Option<&str>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { status, text: owned(text), finish_reason: owned(finish_reason), why: None }
    }

    /// A whole answer.
    pub fn answered(text: &str) -> Self {
        Self::new(Status::Answered, Some(text), Some("stop"))
    }

    /// One that reached the limit; what there is of it.
    pub fn truncated(text: &str) -> Self {
        Self::new(Status::Truncated, Some(text), Some("length"))
    }

    /// None, though it ended by itself.
    pub fn empty() -> Self {
        Self::new(Status::Empty, None, Some("stop"))
    }

    /// No answer: why.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::new(Status::Failed, None, None) }
    }

    /// Reads `answer`, streamed or not. A body that broke off is a failure, whatever had come of it.
    pub fn read(answer: &Answer) -> Self {
        if let Some(fault) = &answer.fault {
            return Self::failed(fault.to_string());
        }
        let status = answer.status.unwrap_or(0);
        if let Some(error) = &answer.error {
            return Self::failed(format!("status {status}: {}", error.message));
        }
        if status != 200 {
            return Self::failed(format!("status {status}"));
        }
        if let Some(why) = answer.stream.as_ref().and_then(|stream| stream.why.as_deref()) {
            return Self::failed(format!("a broken stream: {why}"));
        }
        match answer.complete.as_ref().and_then(|whole| whole.choices.first()) {
            Some(choice) => Self::of_choice(choice),
            None => Self::failed(format!("status {status}, but no choice in it")),
        }
    }

    fn of_choice(choice: &Choice) -> Self {
        let text = without_thinking(choice.content.as_deref().unwrap_or_default());
        let finish = choice.finish_reason.as_deref();
        match finish {
            Some("content_filter") => Self::new(Status::Refused, None, finish),
            _ if choice.refusal.is_some() => Self::new(Status::Refused, None, finish),
            Some("length") => Self::new(Status::Truncated, Some(text), finish),
            _ if text.trim().is_empty() => Self::new(Status::Empty, None, finish),
            _ => Self::new(Status::Answered, Some(text), finish),
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
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Assembler;

    fn read(choice: Value) -> Reply {
        let whole = Assembler::whole(&json!({"choices": [choice]})).unwrap();
        Reply::of_choice(&whole.choices[0])
    }

    fn said(content: Value, finish: &str) -> Reply {
        read(json!({"message": {"content": content}, "finish_reason": finish}))
    }

    #[test]
    fn an_answer_a_cut_one_and_none_are_three_things() {
        assert_eq!(said(json!("Answer: A"), "stop"), Reply::answered("Answer: A"));
        assert_eq!(said(json!("Well, first"), "length"), Reply::truncated("Well, first"));
        assert_eq!(said(json!(null), "length"), Reply::truncated(""));
        assert_eq!(said(json!(null), "stop"), Reply::empty());
        assert_eq!(said(json!("  "), "stop"), Reply::empty());
        assert_eq!(said(json!("x"), "content_filter").status, Status::Refused);
        let declined = json!({"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"});
        assert_eq!(read(declined).status, Status::Refused);
    }

    #[test]
    fn thinking_is_not_the_answer() {
        for (content, answer) in [
            ("<think>Answer: A</think>\nAnswer: B", "\nAnswer: B"),
            ("Answer: A</think>Answer: B", "Answer: B"),
            ("a<think>", "a<think>"),
        ] {
            assert_eq!(said(json!(content), "stop").text.as_deref(), Some(answer), "{content}");
        }
        assert_eq!(said(json!("<think>Answer: A"), "stop").status, Status::Empty);
        assert_eq!(said(json!("<think>Answer: A"), "length"), Reply::truncated(""));
    }

    #[test]
    fn reasoning_fields_are_never_taken_for_an_answer() {
        let thought = json!({
            "message": {"content": null, "reasoning": "Answer: A", "reasoning_content": "Answer: A"},
            "finish_reason": "length",
        });
        assert_eq!(read(thought), Reply::truncated(""));
    }
}
