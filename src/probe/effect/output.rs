//! Experiments about the shape of an answer: how many choices, how long, with what beside the text.
//! Must not know how requests are sent.
//!
//! 输出类效果：候选数、长度、logprobs、用量、思维链、图像。

use serde_json::{Value, json};

use super::Effect;
use crate::{
    api::Answer,
    probe::{
        ground::Ground,
        heard::{all_said, finish, first, json as body_of, number, quote, usage},
        sight::Sight,
    },
};

pub(in crate::probe) const N: Effect = Effect {
    field: "n",
    asks: |ground| Ok(vec![ground.chat(&json!({"n": 2, "temperature": 0.8, "max_tokens": 2}))]),
    judge: |_, answers| two_choices("n 2", answers),
};

/// Two greedy answers are the same answer twice, which some servers refuse.
pub(in crate::probe) const N_GREEDY: Effect = Effect {
    field: "n",
    asks: |ground| Ok(vec![ground.chat(&json!({"n": 2, "max_tokens": 1}))]),
    judge: |ground, answers| two_choices(&format!("n 2 at temperature {}", ground.temperature), answers),
};

/// `max_tokens` stands beside it, so that a server that ignores it does not talk on.
pub(in crate::probe) const MAX_COMPLETION_TOKENS: Effect = Effect {
    field: "max_completion_tokens",
    asks: |ground| Ok(vec![ground.chat(&json!({"max_completion_tokens": 1}))]),
    judge: |_, answers| {
        let Some(count) = usage(&answers[0], "completion_tokens") else {
            return Sight::Unseen("max_completion_tokens 1: the answer does not count its tokens".into());
        };
        let words =
            format!("max_completion_tokens 1: {} after {}", finish(&answers[0]), number(count, "token"));
        if count <= 1 { Sight::Seen(words) } else { Sight::Ignored(words) }
    },
};

pub(in crate::probe) const LOGPROBS: Effect = Effect {
    field: "logprobs",
    asks: |ground| Ok(vec![ground.chat(&json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 1}))]),
    judge: |_, answers| {
        let content =
            first(&answers[0]).and_then(|choice| choice.logprobs.as_ref()?.get("content")?.as_array());
        match content.and_then(|tokens| tokens.first()) {
            Some(token) => {
                let top = token["top_logprobs"].as_array().map_or(0, Vec::len);
                Sight::Seen(format!("top_logprobs 2: {top} alternatives to the first token"))
            }
            None => Sight::Ignored("logprobs true → 200 without any".into()),
        }
    },
};

pub(in crate::probe) const PROMPT_LOGPROBS: Effect = Effect {
    field: "prompt_logprobs",
    asks: |ground| Ok(vec![ground.chat(&json!({"prompt_logprobs": 1, "max_tokens": 1}))]),
    judge: |_, answers| match body_of(&answers[0]).and_then(|body| body.get("prompt_logprobs")?.as_array()) {
        Some(list) => Sight::Seen(format!("prompt_logprobs 1: a list of {}", list.len())),
        None => Sight::Ignored("prompt_logprobs 1 → 200 without a list".into()),
    },
};

pub(in crate::probe) const STREAM_USAGE: Effect = Effect {
    field: "stream_options",
    asks: |ground| {
        let options = json!({"include_usage": true});
        Ok(vec![ground.chat(&json!({"stream": true, "stream_options": options, "max_tokens": 2}))])
    },
    judge: |_, answers| match (&answers[0].stream, with_usage(&answers[0])) {
        (None, _) => Sight::Unseen("stream true → an answer that is no stream".into()),
        (Some(_), 0) => Sight::Ignored("include_usage: no chunk has usage".into()),
        (Some(_), n) => {
            Sight::Seen(format!("include_usage: {n} of {} chunks with usage", answers[0].events.len()))
        }
    },
};

pub(in crate::probe) const CONTINUOUS_USAGE: Effect = Effect {
    field: "stream_options",
    asks: |ground| {
        let options = json!({"include_usage": true, "continuous_usage_stats": true});
        Ok(vec![ground.chat(&json!({"stream": true, "stream_options": options, "max_tokens": 2}))])
    },
    judge: |_, answers| {
        let words = format!(
            "continuous_usage_stats: {} of {} chunks with usage",
            with_usage(&answers[0]),
            answers[0].events.len()
        );
        match (&answers[0].stream, with_usage(&answers[0])) {
            (None, _) => Sight::Unseen("stream true → an answer that is no stream".into()),
            (Some(_), 0..=1) => Sight::Ignored(words),
            (Some(_), _) => Sight::Seen(words),
        }
    },
};

/// The role, and then each token by itself or all of them together.
pub(in crate::probe) const STREAM_INTERVAL: Effect = Effect {
    field: "stream_interval",
    asks: |ground| {
        let ask = |interval: u64| ground.chat(&json!({"stream": true, "stream_interval": interval}));
        Ok(vec![ask(1), ask(6)])
    },
    judge: |_, answers| {
        let (each, together) = (answers[0].events.len(), answers[1].events.len());
        let words = format!("stream_interval 1: {each} events, 6: {together}");
        match each {
            _ if together < each => Sight::Seen(words),
            0..=3 => Sight::Unseen(words),
            _ => Sight::Ignored(words),
        }
    },
};

pub(in crate::probe) const TRUNCATE_PROMPT: Effect = Effect {
    field: "truncate_prompt_tokens",
    asks: |ground| {
        let ask = |more: Value| ground.chat(&more);
        Ok(vec![ask(json!({"max_tokens": 1})), ask(json!({"truncate_prompt_tokens": 4, "max_tokens": 1}))])
    },
    judge: |_, answers| {
        let count = |answer| usage(answer, "prompt_tokens");
        match (count(&answers[0]), count(&answers[1])) {
            (Some(whole), Some(cut)) => {
                let words = format!("truncate_prompt_tokens 4: {cut} prompt tokens of {whole}");
                if cut <= 4 { Sight::Seen(words) } else { Sight::Ignored(words) }
            }
            _ => Sight::Unseen("truncate_prompt_tokens 4 → 200, which does not count its tokens".into()),
        }
    },
};

pub(in crate::probe) const TOKEN_IDS: Effect = Effect {
    field: "return_token_ids",
    asks: |ground| Ok(vec![ground.chat(&json!({"return_token_ids": true, "max_tokens": 1}))]),
    judge: |_, answers| {
        let ids = body_of(&answers[0]).and_then(|body| body.pointer("/choices/0/token_ids")?.as_array());
        match ids {
            Some(ids) => Sight::Seen(format!("return_token_ids true: {}", number(ids.len() as u64, "id"))),
            None => Sight::Ignored("return_token_ids true → 200 without any".into()),
        }
    },
};

pub(in crate::probe) const TOKENS_AS_IDS: Effect = Effect {
    field: "return_tokens_as_token_ids",
    asks: |ground| {
        let named = json!({"logprobs": true, "return_tokens_as_token_ids": true, "max_tokens": 1});
        Ok(vec![ground.chat(&named)])
    },
    judge: |_, answers| {
        let token =
            first(&answers[0]).and_then(|choice| choice.logprobs.as_ref()?.pointer("/content/0/token"));
        match token.and_then(Value::as_str) {
            Some(token) if token.starts_with("token_id:") => {
                Sight::Seen(format!("return_tokens_as_token_ids true: `{}`", quote(token)))
            }
            Some(token) => {
                Sight::Ignored(format!("return_tokens_as_token_ids true: the text `{}`", quote(token)))
            }
            None => Sight::Unseen("return_tokens_as_token_ids true → 200 without log-probabilities".into()),
        }
    },
};

pub(in crate::probe) const REASONING: Effect = Effect {
    field: "messages",
    asks: |ground| Ok(vec![ground.chat(&thinking())]),
    judge: |_, answers| {
        let Some(choice) = first(&answers[0]) else { return Sight::Unclear("no choice".into()) };
        let content = choice.content.as_deref().unwrap_or_default();
        match (&choice.reasoning, &choice.reasoning_key) {
            (Some(thought), Some(key)) if !thought.is_empty() => {
                Sight::Seen(format!("a question to think about: `{key}` says `{}`", quote(thought)))
            }
            _ if content.contains("<think>") => {
                Sight::Missing("a question to think about: `<think>` stands in the content".into())
            }
            _ => {
                Sight::Missing(format!("a question to think about: no reasoning beside `{}`", quote(content)))
            }
        }
    },
};

pub(in crate::probe) const REASONING_TOGGLE: Effect = Effect {
    field: "chat_template_kwargs",
    asks: |ground| {
        let mut off = thinking();
        off["chat_template_kwargs"] = json!({"enable_thinking": false});
        Ok(vec![ground.chat(&thinking()), ground.chat(&off)])
    },
    judge: |_, answers| {
        let thinks = |answer: &Answer| {
            first(answer).and_then(|choice| choice.reasoning.as_deref()).is_some_and(|text| !text.is_empty())
        };
        match (thinks(&answers[0]), thinks(&answers[1])) {
            (true, false) => Sight::Seen("enable_thinking false: no reasoning any more".into()),
            (true, true) => Sight::Missing("enable_thinking false: reasons all the same".into()),
            (false, _) => Sight::Missing("there is no reasoning that could be switched off".into()),
        }
    },
};

/// A picture of one point.
const POINT: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub(in crate::probe) const VISION: Effect = Effect {
    field: "messages",
    asks: |ground| {
        let text = json!({"type": "text", "text": "What is it?"});
        let image = json!({"type": "image_url", "image_url": {"url": POINT}});
        let ask = |parts: Value, what: &str| {
            let mut ask =
                ground.chat(&json!({"messages": [{"role": "user", "content": parts}], "max_tokens": 1}));
            what.clone_into(&mut ask.shown);
            ask
        };
        Ok(vec![ask(json!([text, image]), "a message with an image"), ask(json!([text]), "the same without")])
    },
    judge: |_, answers| match (usage(&answers[0], "prompt_tokens"), usage(&answers[1], "prompt_tokens")) {
        (Some(with), Some(without)) if with > without => {
            Sight::Seen(format!("a message with an image: {with} prompt tokens, without: {without}"))
        }
        (Some(with), Some(_)) => {
            Sight::Ignored(format!("a message with an image: {with} prompt tokens, as without"))
        }
        _ => Sight::Unseen("a message with an image → 200, which does not count its tokens".into()),
    },
};

fn thinking() -> Value {
    json!({"messages": [{"role": "user", "content": "What is 17 times 23? Think step by step."}]})
}

fn two_choices(what: &str, answers: &[Answer]) -> Sight {
    match all_said(&answers[0]).len() {
        2 => Sight::Seen(format!("{what}: 2 choices")),
        n => Sight::Ignored(format!("{what}: {}", number(n as u64, "choice"))),
    }
}

fn with_usage(answer: &Answer) -> usize {
    let has = |json: &Value| json.get("usage").is_some_and(Value::is_object);
    answer.events.iter().filter(|event| event.json.as_ref().is_some_and(has)).count()
}

/// Under which key the answer to a question to think about tells its reasoning.
pub(in crate::probe) fn reasoning_key(ground: &Ground, answer: &Answer) -> Option<String> {
    match (REASONING.judge)(ground, std::slice::from_ref(answer)) {
        Sight::Seen(_) => first(answer)?.reasoning_key.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::heard::{
        Heard, said,
        tests::{answer, attempt, saying},
    };

    fn judged(effect: &Effect, answers: &[Answer]) -> Sight {
        (effect.judge)(&Ground::new("m"), answers)
    }

    fn streamed(events: &[Value]) -> Answer {
        let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        match Heard::of(&attempt(200, "text/event-stream", &(body + "data: [DONE]\n\n"))) {
            Heard::Answered(answer) => *answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_choice_of_two_is_an_ignored_n() {
        let two = answer(&json!({"choices": [{"index": 0}, {"index": 1}]}));
        assert_eq!(judged(&N, &[two]), Sight::Seen("n 2: 2 choices".into()));
        assert_eq!(judged(&N, &[saying("a")]), Sight::Ignored("n 2: 1 choice".into()));
        assert_eq!(said(&saying("a")), "a");
    }

    #[test]
    fn a_bound_on_the_answer_shows_in_the_count_of_its_tokens() {
        let counting =
            |n: u64| answer(&json!({"choices": [{"index": 0}], "usage": {"completion_tokens": n}}));
        assert!(matches!(judged(&MAX_COMPLETION_TOKENS, &[counting(1)]), Sight::Seen(_)));
        assert!(matches!(judged(&MAX_COMPLETION_TOKENS, &[counting(6)]), Sight::Ignored(_)));
        assert!(matches!(judged(&MAX_COMPLETION_TOKENS, &[saying("a")]), Sight::Unseen(_)));
    }

    #[test]
    fn logprobs_that_are_null_are_ignored() {
        let token = json!({"token": "a", "top_logprobs": [{}, {}]});
        let with = answer(&json!({"choices": [{"index": 0, "logprobs": {"content": [token]}}]}));
        assert_eq!(
            judged(&LOGPROBS, &[with]),
            Sight::Seen("top_logprobs 2: 2 alternatives to the first token".into())
        );
        let without = answer(&json!({"choices": [{"index": 0, "logprobs": null}]}));
        assert!(matches!(judged(&LOGPROBS, &[without]), Sight::Ignored(_)));
    }

    #[test]
    fn usage_on_every_chunk_is_more_than_usage_on_the_last() {
        let chunk =
            |usage: Value| json!({"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": usage});
        let count = json!({"completion_tokens": 1});
        let none = streamed(&[chunk(Value::Null), chunk(Value::Null)]);
        let last = streamed(&[chunk(Value::Null), chunk(count.clone())]);
        let each = streamed(&[chunk(count.clone()), chunk(count)]);
        assert!(matches!(judged(&STREAM_USAGE, std::slice::from_ref(&none)), Sight::Ignored(_)));
        assert!(matches!(judged(&STREAM_USAGE, std::slice::from_ref(&last)), Sight::Seen(_)));
        assert!(matches!(judged(&CONTINUOUS_USAGE, &[last]), Sight::Ignored(_)));
        assert!(matches!(judged(&CONTINUOUS_USAGE, &[each]), Sight::Seen(_)));
        assert!(matches!(judged(&STREAM_USAGE, &[saying("a")]), Sight::Unseen(_)));
    }

    #[test]
    fn reasoning_counts_only_apart_from_the_content() {
        let thought = answer(
            &json!({"choices": [{"index": 0, "message": {"content": null, "reasoning_content": "17"}}]}),
        );
        let ground = Ground::new("m");
        assert_eq!(reasoning_key(&ground, &thought).as_deref(), Some("reasoning_content"));
        assert!(matches!(judged(&REASONING, std::slice::from_ref(&thought)), Sight::Seen(_)));
        let mixed = judged(&REASONING, &[saying("<think>17")]);
        assert!(matches!(mixed, Sight::Missing(words) if words.contains("stands in the content")));
        assert!(matches!(judged(&REASONING, &[saying("391")]), Sight::Missing(_)));
        assert_eq!(reasoning_key(&ground, &saying("391")), None);
        assert!(matches!(judged(&REASONING_TOGGLE, &[thought, saying("391")]), Sight::Seen(_)));
    }

    #[test]
    fn what_vllm_offers_about_tokens_shows_in_the_answer() {
        let chunk = || json!({"choices": [{"index": 0, "delta": {"content": "a"}}]});
        let stream = |n: usize| streamed(&(0..n).map(|_| chunk()).collect::<Vec<_>>());
        assert!(matches!(judged(&STREAM_INTERVAL, &[stream(7), stream(3)]), Sight::Seen(_)));
        assert!(matches!(judged(&STREAM_INTERVAL, &[stream(7), stream(7)]), Sight::Ignored(_)));
        assert!(matches!(judged(&STREAM_INTERVAL, &[stream(2), stream(2)]), Sight::Unseen(_)), "too short");
        let counting = |n: u64| answer(&json!({"choices": [{"index": 0}], "usage": {"prompt_tokens": n}}));
        assert!(matches!(judged(&TRUNCATE_PROMPT, &[counting(9), counting(4)]), Sight::Seen(_)));
        assert!(matches!(judged(&TRUNCATE_PROMPT, &[counting(9), counting(9)]), Sight::Ignored(_)));
        let ids = answer(&json!({"choices": [{"index": 0, "token_ids": [7]}]}));
        assert_eq!(judged(&TOKEN_IDS, &[ids]), Sight::Seen("return_token_ids true: 1 id".into()));
        assert!(matches!(judged(&TOKEN_IDS, &[saying("a")]), Sight::Ignored(_)));
        let named = |token: &str| {
            let content = json!([{"token": token, "top_logprobs": []}]);
            answer(&json!({"choices": [{"index": 0, "logprobs": {"content": content}}]}))
        };
        assert!(matches!(judged(&TOKENS_AS_IDS, &[named("token_id:7")]), Sight::Seen(_)));
        assert!(matches!(judged(&TOKENS_AS_IDS, &[named("a")]), Sight::Ignored(_)));
        assert!(matches!(judged(&TOKENS_AS_IDS, &[saying("a")]), Sight::Unseen(_)));
    }

    #[test]
    fn an_image_that_costs_no_token_was_not_seen() {
        let counting = |n: u64| answer(&json!({"choices": [{"index": 0}], "usage": {"prompt_tokens": n}}));
        assert!(matches!(judged(&VISION, &[counting(80), counting(14)]), Sight::Seen(_)));
        assert!(matches!(judged(&VISION, &[counting(14), counting(14)]), Sight::Ignored(_)));
    }
}
