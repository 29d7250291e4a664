//! Experiments on `/v1/completions`. Must not know how requests are sent.
//!
//! 补全接口的效果。

use serde_json::json;

use super::Effect;
use crate::{
    api::Answer,
    probe::{
        ground::BEGINNING,
        heard::{all_said, first, number, quote, said, usage},
        sight::Sight,
    },
};

pub(in crate::probe) const ECHO: Effect = Effect {
    field: "echo",
    asks: |ground| Ok(vec![ground.completions(&json!({"echo": true, "max_tokens": 1}))]),
    judge: |_, answers| {
        let text = said(&answers[0]);
        let words = format!("echo after `{BEGINNING}`: `{}`", quote(&text));
        if text.starts_with(BEGINNING) { Sight::Seen(words) } else { Sight::Ignored(words) }
    },
};

/// That a suffix was heeded shows in no answer; that it was refused does.
pub(in crate::probe) const SUFFIX: Effect = Effect {
    field: "suffix",
    asks: |ground| Ok(vec![ground.completions(&json!({"suffix": " five, six.", "max_tokens": 2}))]),
    judge: |_, _| Sight::Unseen("a suffix → 200".into()),
};

pub(in crate::probe) const LOGPROBS: Effect = Effect {
    field: "logprobs",
    asks: |ground| Ok(vec![ground.completions(&json!({"logprobs": 1, "max_tokens": 1}))]),
    judge: |_, answers| match first(&answers[0]).and_then(|choice| choice.logprobs.as_ref()) {
        Some(logprobs) if logprobs.is_object() => Sight::Seen("logprobs 1: an object beside the text".into()),
        _ => Sight::Ignored("logprobs 1 → 200 without any".into()),
    },
};

pub(in crate::probe) const PROMPT_LIST: Effect = Effect {
    field: "prompt",
    asks: |ground| Ok(vec![ground.completions(&json!({"prompt": ["One,", "Two,"], "max_tokens": 1}))]),
    judge: |_, answers| choices("two prompts", answers, 2),
};

pub(in crate::probe) const PROMPT_TOKENS: Effect = Effect {
    field: "prompt",
    asks: |ground| Ok(vec![ground.completions(&json!({"prompt": ground.tokens, "max_tokens": 1}))]),
    judge: |ground, answers| {
        let sent = ground.tokens.len() as u64;
        match usage(&answers[0], "prompt_tokens") {
            Some(count) if count == sent || count == sent + 1 => {
                Sight::Seen(format!("{sent} token ids: counted as {count}"))
            }
            Some(count) => Sight::Ignored(format!("{sent} token ids: counted as {count}")),
            None => Sight::Unseen(format!("{sent} token ids → 200, which does not count its prompt")),
        }
    },
};

fn choices(what: &str, answers: &[Answer], wanted: usize) -> Sight {
    match all_said(&answers[0]).len() {
        n if n == wanted => Sight::Seen(format!("{what}: {n} choices")),
        n => Sight::Ignored(format!("{what}: {}", number(n as u64, "choice"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::probe::{ground::Ground, heard::tests::answer};

    fn judged(effect: &Effect, body: &Value) -> Sight {
        (effect.judge)(&Ground::new("m"), &[answer(body)])
    }

    fn texts(texts: &[&str]) -> Value {
        let choice = |(k, text): (usize, &&str)| json!({"index": k, "text": text, "logprobs": null});
        json!({"choices": texts.iter().enumerate().map(choice).collect::<Vec<_>>()})
    }

    #[test]
    fn an_echo_begins_with_the_prompt() {
        assert!(matches!(judged(&ECHO, &texts(&["One, two, three, four"])), Sight::Seen(_)));
        assert!(matches!(judged(&ECHO, &texts(&[" four"])), Sight::Ignored(_)));
    }

    #[test]
    fn each_prompt_has_its_choice() {
        assert!(matches!(judged(&PROMPT_LIST, &texts(&["a", "b"])), Sight::Seen(_)));
        assert!(matches!(judged(&PROMPT_LIST, &texts(&["a"])), Sight::Ignored(_)));
    }

    #[test]
    fn token_ids_are_counted_one_by_one_with_at_most_a_beginning_added() {
        let counting =
            |n: u64| json!({"choices": [{"index": 0, "text": "a"}], "usage": {"prompt_tokens": n}});
        assert!(matches!(judged(&PROMPT_TOKENS, &counting(8)), Sight::Seen(_)));
        assert!(matches!(judged(&PROMPT_TOKENS, &counting(9)), Sight::Seen(_)));
        assert!(matches!(judged(&PROMPT_TOKENS, &counting(40)), Sight::Ignored(_)));
    }

    #[test]
    fn logprobs_of_a_completion_are_an_object() {
        let with = json!({"choices": [{"index": 0, "text": "a", "logprobs": {"tokens": ["a"]}}]});
        assert!(matches!(judged(&LOGPROBS, &with), Sight::Seen(_)));
        assert!(matches!(judged(&LOGPROBS, &texts(&["a"])), Sight::Ignored(_)));
    }
}
