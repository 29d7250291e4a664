//! The second rung: a field of a type that it cannot have. A server that minds knows the field; one that does not
//! mind ignores it, or mends it silently, which only an experiment tells apart. Must not know what a field does.
//!
//! 第二级：错误类型，判断字段是否被识别。

use serde_json::{Value, json};

use super::{
    ask::{Ask, Asker, To},
    ground::Ground,
    heard::Heard,
    sight::Known,
};

/// A field, and how to get its type wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) to: To,
    pub(super) name: &'static str,
    /// Whether it holds an object, so that a text is wrong and an object is not.
    pub(super) is_object: bool,
    /// A legal value, as JSON, for servers that refuse any unknown field.
    pub(super) legal: &'static str,
}

/// A chat field that is no object.
pub(super) const fn chat(name: &'static str, legal: &'static str) -> Field {
    Field { to: To::Chat, name, is_object: false, legal }
}

/// A chat field that is an object.
pub(super) const fn chat_object(name: &'static str, legal: &'static str) -> Field {
    Field { is_object: true, ..chat(name, legal) }
}

/// A completions field that is no object.
pub(super) const fn completions(name: &'static str, legal: &'static str) -> Field {
    Field { to: To::Completions, ..chat(name, legal) }
}

/// A completions field that is an object.
pub(super) const fn completions_object(name: &'static str, legal: &'static str) -> Field {
    Field { to: To::Completions, ..chat_object(name, legal) }
}

/// Finds out whether the server knows `field`.
pub(super) async fn violate(asker: &mut Asker<'_>, ground: &Ground, field: &Field) -> Known {
    if ground.strict == Some(true) {
        let ask = legal(ground, field);
        return judge_legal(field, &ask, &asker.ask(&ask).await);
    }
    let ask = wrong(ground, field, 0);
    let heard = asker.ask(&ask).await;
    let unnamed = matches!(&heard, Heard::Refused(refusal) if !refusal.names(field.name));
    if !unnamed {
        return judge(field, &ask, &heard);
    }
    // Refused, though not by name: it may be about something else. A second wrong type decides.
    let second = wrong(ground, field, 1);
    let again = asker.ask(&second).await;
    match again {
        Heard::Refused(_) => Known::Yes(format!("{} and {} → {}", ask.shown, second.shown, heard.words())),
        other => judge(field, &second, &other),
    }
}

/// `field` of a wrong type: the first or the second of two.
fn wrong(ground: &Ground, field: &Field, nth: usize) -> Ask {
    let values = if field.is_object {
        [json!("zz_bad"), json!([["zz_bad"]])]
    } else {
        [json!({"zz_bad": [1]}), json!([{"zz_bad": 1}])]
    };
    ground.plain(field.to, &json!({"max_tokens": 1, field.name: values[nth]}))
}

fn legal(ground: &Ground, field: &Field) -> Ask {
    let value: Value = serde_json::from_str(field.legal).unwrap_or(Value::Null);
    ground.plain(field.to, &json!({"max_tokens": 1, field.name: value}))
}

fn judge(field: &Field, ask: &Ask, heard: &Heard) -> Known {
    match heard {
        Heard::Refused(refusal) if refusal.names(field.name) => {
            Known::Yes(format!("{} → {} naming {}", ask.shown, refusal.status, field.name))
        }
        Heard::Answered(_) => Known::No(format!("{} → 200", ask.shown)),
        other => Known::Unclear(format!("{} → {}", ask.shown, other.words())),
    }
}

/// The same for a server that refuses unknown fields: there a legal value that is taken is the proof.
fn judge_legal(field: &Field, ask: &Ask, heard: &Heard) -> Known {
    match heard {
        Heard::Answered(_) => Known::Yes(format!("{} → 200, where unknown fields are refused", ask.shown)),
        Heard::Refused(refusal) if refusal.names(field.name) => {
            Known::No(format!("{} → {}", ask.shown, refusal.words()))
        }
        other => Known::Unclear(format!("{} → {}", ask.shown, other.words())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::heard::tests::heard, *};

    const TOP_K: Field = chat("top_k", "1");

    fn refused(message: &str) -> Heard {
        heard(400, &json!({"error": {"message": message}}))
    }

    #[test]
    fn a_wrong_type_that_is_minded_by_name_shows_a_known_field() {
        let ask = wrong(&Ground::new("m"), &TOP_K, 0);
        assert_eq!(ask.body["top_k"], json!({"zz_bad": [1]}));
        assert_eq!(
            judge(&TOP_K, &ask, &refused("body.top_k: Input should be a valid integer")),
            Known::Yes(r#"{"top_k":{"zz_bad":[1]}} → 400 naming top_k"#.into())
        );
        assert_eq!(
            judge(&TOP_K, &ask, &heard(200, &json!({"choices": []}))),
            Known::No(r#"{"top_k":{"zz_bad":[1]}} → 200"#.into())
        );
    }

    #[test]
    fn a_breakdown_over_a_wrong_type_says_nothing() {
        let ask = wrong(&Ground::new("m"), &TOP_K, 0);
        let broken = heard(500, &json!({"error": {"message": "'str' object has no attribute 'get'"}}));
        assert!(matches!(judge(&TOP_K, &ask, &broken), Known::Unclear(words) if words.contains("→ 500:")));
    }

    #[test]
    fn an_object_is_made_wrong_by_a_text() {
        let field = chat_object("logit_bias", "{}");
        assert_eq!(wrong(&Ground::new("m"), &field, 0).body["logit_bias"], "zz_bad");
        assert!(wrong(&Ground::new("m"), &field, 1).body["logit_bias"].is_array());
    }

    #[test]
    fn where_unknown_fields_are_refused_a_legal_value_that_is_taken_is_the_proof() {
        let ask = legal(&Ground::new("m"), &TOP_K);
        assert_eq!(ask.body["top_k"], 1);
        assert!(matches!(judge_legal(&TOP_K, &ask, &heard(200, &json!({"choices": []}))), Known::Yes(_)));
        assert!(matches!(judge_legal(&TOP_K, &ask, &refused("unknown field top_k")), Known::No(_)));
        assert!(matches!(judge_legal(&TOP_K, &ask, &refused("too busy")), Known::Unclear(_)));
    }
}
