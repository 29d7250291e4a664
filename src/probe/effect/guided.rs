//! Experiments about constrained answers: a text that no model says by itself must come. What a model thinks before
//! is not constrained; where its thoughts leave no room for an answer, nothing shows.
//! Must not know how requests are sent.
//!
//! 受约束输出的效果：要求模型说出它自己绝不会说的文本。

use serde_json::{Value, json};

use super::Effect;
use crate::{
    api::Answer,
    probe::{heard::quote, sight::Sight},
};

/// What no model says by itself.
const NONSENSE: &str = "zq7";

pub(in crate::probe) const JSON_OBJECT: Effect = Effect {
    field: "response_format",
    asks: |ground| {
        let constrained = json!({"response_format": {"type": "json_object"}});
        Ok(vec![ground.chat(&json!({})), ground.chat(&constrained)])
    },
    judge: |_, answers| {
        let (plain, constrained) = (content(&answers[0]), content(&answers[1]));
        let words = format!("json_object: `{}`", quote(constrained));
        let is_object = |text: &str| text.trim_start().starts_with('{');
        if constrained.trim().is_empty() || is_object(plain) {
            Sight::Unseen(words)
        } else if is_object(constrained) {
            Sight::Seen(words)
        } else {
            Sight::Ignored(words)
        }
    },
};

pub(in crate::probe) const JSON_SCHEMA: Effect = Effect {
    field: "response_format",
    asks: |ground| {
        let schema = json!({"name": "probe", "strict": true, "schema": schema()});
        let format = json!({"type": "json_schema", "json_schema": schema});
        let mut ask = ground.chat(&json!({"response_format": format, "max_tokens": 24}));
        ask.shown = format!("a json_schema that allows only `{NONSENSE}`");
        Ok(vec![ask])
    },
    judge: |_, answers| nonsense("a json_schema", &answers[0]),
};

pub(in crate::probe) const STRUCTURED_OUTPUTS: Effect = Effect {
    field: "structured_outputs",
    asks: |ground| {
        let choice = json!({"choice": [NONSENSE, "zq8"]});
        Ok(vec![ground.chat(&json!({"structured_outputs": choice}))])
    },
    judge: |_, answers| {
        let words = format!(
            "structured_outputs with a choice of {NONSENSE} and zq8: `{}`",
            quote(content(&answers[0]))
        );
        match content(&answers[0]).trim() {
            NONSENSE | "zq8" => Sight::Seen(words),
            cut if begins(cut, NONSENSE) => Sight::Unseen(words),
            _ => Sight::Ignored(words),
        }
    },
};

/// An object with one property of one value.
pub(super) fn schema() -> Value {
    json!({
        "type": "object", "properties": {"c": {"type": "string", "enum": [NONSENSE]}},
        "required": ["c"], "additionalProperties": false,
    })
}

/// Whether `arguments` are what [`schema`] allows.
pub(super) fn obeys(arguments: &Value) -> bool {
    *arguments == json!({"c": NONSENSE})
}

/// What the first choice says, thoughts aside.
fn content(answer: &Answer) -> &str {
    answer.content().unwrap_or_default()
}

fn nonsense(what: &str, answer: &Answer) -> Sight {
    let text = content(answer);
    let words = format!("{what} that allows only `{NONSENSE}`: `{}`", quote(text));
    if text.contains(NONSENSE) {
        Sight::Seen(words)
    } else if begins(text, &json!({"c": NONSENSE}).to_string()) {
        Sight::Unseen(format!("{words}, which was cut"))
    } else {
        Sight::Ignored(words)
    }
}

/// Whether `text`, blanks aside, may go on to be `whole`; what was cut disproves nothing.
fn begins(text: &str, whole: &str) -> bool {
    let text: String = text.split_whitespace().collect();
    whole.starts_with(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{ground::Ground, heard::tests::saying};

    fn judged(effect: &Effect, texts: &[&str]) -> Sight {
        let answers: Vec<Answer> = texts.iter().map(|text| saying(text)).collect();
        (effect.judge)(&Ground::new("m"), &answers)
    }

    #[test]
    fn only_a_constraint_makes_a_model_say_nonsense() {
        assert_eq!(
            judged(&JSON_SCHEMA, &[r#"{"c": "zq7"}"#]),
            Sight::Seen(r#"a json_schema that allows only `zq7`: `{"c": "zq7"}`"#.into())
        );
        assert!(matches!(judged(&JSON_SCHEMA, &["1, 2, 3"]), Sight::Ignored(_)));
        for cut in [" \n", "{", "{ \"c\": \"z"] {
            assert!(matches!(judged(&JSON_SCHEMA, &[cut]), Sight::Unseen(_)), "{cut}");
        }
        assert!(matches!(judged(&STRUCTURED_OUTPUTS, &["zq8"]), Sight::Seen(_)));
        assert!(matches!(judged(&STRUCTURED_OUTPUTS, &["1, 2, zq8"]), Sight::Ignored(_)));
        assert!(matches!(judged(&STRUCTURED_OUTPUTS, &["zq"]), Sight::Unseen(_)));
    }

    #[test]
    fn json_shows_only_where_the_plain_answer_is_none() {
        assert!(matches!(judged(&JSON_OBJECT, &["1, 2", " {\"a\""]), Sight::Seen(_)));
        assert!(matches!(judged(&JSON_OBJECT, &["1, 2", "1, 2"]), Sight::Ignored(_)));
        assert!(matches!(judged(&JSON_OBJECT, &["{", "{"]), Sight::Unseen(_)));
    }
}
