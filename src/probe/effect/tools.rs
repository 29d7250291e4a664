//! Experiments about tools. They may use more tokens than the others, since half a call shows nothing.
//! Must not know how requests are sent.
//!
//! 工具调用的效果。

use serde_json::{Value, json};

use super::{Effect, guided};
use crate::{
    api::{Answer, ToolCall},
    probe::{
        ask::Ask,
        ground::Ground,
        heard::{finish, first, quote, said, usage},
        sight::Sight,
    },
};

/// Enough for one call.
const TOKENS: u64 = 96;

pub(in crate::probe) const NAMED: Effect = Effect {
    field: "tools",
    asks: |ground| Ok(vec![named(ground)]),
    judge: |_, answers| called("a named tool", &answers[0]),
};

pub(in crate::probe) const REQUIRED: Effect = Effect {
    field: "tools",
    asks: |ground| Ok(vec![offered(ground, &json!("required"), TOKENS, "tool_choice required")]),
    judge: |_, answers| called("tool_choice required", &answers[0]),
};

/// Whether a model calls by itself is its own affair; whether the server lets it is asked here.
pub(in crate::probe) const AUTO: Effect = Effect {
    field: "tools",
    asks: |ground| {
        let auto = offered(ground, &json!("auto"), 1, "tool_choice auto");
        Ok(vec![named(ground), auto])
    },
    judge: |_, answers| match call(&answers[0]) {
        Some(_) => Sight::Seen("tool_choice auto → 200, where a named tool is called".into()),
        None => Sight::Unseen("tool_choice auto → 200, but a named tool is not called either".into()),
    },
};

pub(in crate::probe) const STRICT: Effect = Effect {
    field: "tools",
    asks: |ground| Ok(vec![named(ground)]),
    judge: |_, answers| {
        let Some(call) = call(&answers[0]) else {
            return Sight::Missing("no call to hold to a schema".into());
        };
        let words = format!("strict arguments of a named tool: `{}`", quote(&call.arguments));
        if call.parsed.as_ref().is_some_and(guided::obeys) {
            Sight::Seen(words)
        } else {
            Sight::Ignored(words)
        }
    },
};

/// Whether the model gets to see what tools there are.
pub(in crate::probe) const VISIBLE: Effect = Effect {
    field: "tools",
    asks: |ground| {
        let with = offered(ground, &json!("auto"), 1, "tool_choice auto");
        Ok(vec![ground.chat(&json!({"max_tokens": 1})), with])
    },
    judge: |_, answers| match (usage(&answers[0], "prompt_tokens"), usage(&answers[1], "prompt_tokens")) {
        (Some(without), Some(with)) => {
            let words = format!("prompt tokens without tools: {without}, with: {with}");
            if with > without { Sight::Seen(words) } else { Sight::Ignored(words) }
        }
        _ => Sight::Unseen("the answer does not count its prompt".into()),
    },
};

fn named(ground: &Ground) -> Ask {
    let choice = json!({"type": "function", "function": {"name": "pick"}});
    offered(ground, &choice, TOKENS, "a named tool")
}

/// The plain request with one strict tool.
fn offered(ground: &Ground, choice: &Value, max_tokens: u64, shown: &str) -> Ask {
    let function = json!({
        "name": "pick", "description": "Picks a card.", "strict": true, "parameters": guided::schema(),
    });
    let tools = json!([{"type": "function", "function": function}]);
    let ask = ground.chat(&json!({"tools": tools, "tool_choice": choice, "max_tokens": max_tokens}));
    Ask { shown: shown.to_owned(), ..ask }
}

fn call(answer: &Answer) -> Option<&ToolCall> {
    first(answer)?.tool_calls.first()
}

fn called(what: &str, answer: &Answer) -> Sight {
    if let Some(call) = call(answer) {
        let name = call.name.as_deref().unwrap_or("a function without a name");
        return Sight::Seen(format!("{what}: calls {name}({})", quote(&call.arguments)));
    }
    let text = quote(&said(answer));
    match finish(answer) {
        "length" => Sight::Unclear(format!("{what}: no call within {TOKENS} tokens, but `{text}`")),
        _ => Sight::Ignored(format!("{what}: no call, but `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::heard::tests::{answer, saying};

    fn judged(effect: &Effect, answers: &[Answer]) -> Sight {
        (effect.judge)(&Ground::new("m"), answers)
    }

    fn calling(arguments: &str) -> Answer {
        let call =
            json!({"id": "1", "type": "function", "function": {"name": "pick", "arguments": arguments}});
        answer(
            &json!({"choices": [{"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "stop"}]}),
        )
    }

    #[test]
    fn a_call_shows_that_there_are_tools() {
        assert_eq!(
            judged(&NAMED, &[calling(r#"{"c":"zq7"}"#)]),
            Sight::Seen(r#"a named tool: calls pick({"c":"zq7"})"#.into())
        );
        let stopped = answer(
            &json!({"choices": [{"index": 0, "message": {"content": "No."}, "finish_reason": "stop"}]}),
        );
        assert!(matches!(judged(&REQUIRED, &[stopped]), Sight::Ignored(_)));
        assert!(matches!(judged(&REQUIRED, &[saying("cut at the leng")]), Sight::Unclear(_)));
        assert!(matches!(judged(&AUTO, &[calling("{}"), saying("1")]), Sight::Seen(_)));
        assert!(matches!(judged(&AUTO, &[saying("1"), saying("1")]), Sight::Unseen(_)));
    }

    #[test]
    fn strict_arguments_obey_the_schema_to_the_letter() {
        assert!(matches!(judged(&STRICT, &[calling(r#"{"c": "zq7"}"#)]), Sight::Seen(_)));
        for wrong in [r#"{"c":"ace"}"#, r#""zq7""#, r#"{"c":"zq7","d":1}"#, "{"] {
            assert!(matches!(judged(&STRICT, &[calling(wrong)]), Sight::Ignored(_)), "{wrong}");
        }
    }

    #[test]
    fn tools_that_cost_no_prompt_token_are_not_seen_by_the_model() {
        let counting = |n: u64| answer(&json!({"choices": [{"index": 0}], "usage": {"prompt_tokens": n}}));
        assert!(matches!(judged(&VISIBLE, &[counting(36), counting(120)]), Sight::Seen(_)));
        assert!(matches!(judged(&VISIBLE, &[counting(36), counting(36)]), Sight::Ignored(_)));
    }
}
