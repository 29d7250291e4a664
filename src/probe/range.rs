//! The fourth rung: values at the edge of what is documented, and just beyond it. Must not know what a field does
//! within its range.
//!
//! 第四级：取值边界。

use serde_json::json;

use super::{ask::Asker, effect::Effect, ground::Ground, heard::Heard, sight::Sight};

/// The lower end of the documented range; servers that take it answer as at temperature 0.
pub(super) const TOP_P_ZERO: Effect = Effect {
    field: "top_p",
    asks: |ground| Ok(vec![ground.chat(&json!({"top_p": 0, "max_tokens": 1}))]),
    judge: |_, _| Sight::Seen(r#"{"top_p":0} → 200"#.into()),
};

/// Whether a temperature below 0 is refused; unknown where the answer says nothing.
pub(super) async fn validates(asker: &mut Asker<'_>, ground: &Ground) -> Option<bool> {
    match asker.ask(&ground.chat(&json!({"temperature": -1, "max_tokens": 1}))).await {
        Heard::Refused(_) => Some(true),
        Heard::Answered(_) => Some(false),
        Heard::Silent(_) => None,
    }
}

/// Whether a stream that cannot be is refused by the status line, not by an event behind a 200.
pub(super) async fn early_status(asker: &mut Asker<'_>, ground: &Ground) -> Sight {
    let bias = json!({"99999999": 1});
    let ask = ground.chat(&json!({"logit_bias": bias, "stream": true, "max_tokens": 1}));
    let heard = asker.ask(&ask).await;
    judge_early(&ask.shown, &heard)
}

fn judge_early(shown: &str, heard: &Heard) -> Sight {
    let words = format!("{shown} → {}", heard.words());
    match heard {
        Heard::Refused(refusal) if refusal.early => Sight::Seen(words),
        Heard::Refused(_) => Sight::Missing(words),
        Heard::Answered(_) => Sight::Unclear(format!("{words}, so that nothing was refused")),
        Heard::Silent(_) => Sight::Unclear(words),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::heard::tests::attempt, *};

    #[test]
    fn a_refusal_is_early_only_in_the_status_line() {
        let error = r#"{"error":{"message":"token_id 99999999 is out of vocabulary","code":400}}"#;
        let judge =
            |status, kind: &str, body: &str| judge_early("x", &Heard::of(&attempt(status, kind, body)));
        assert!(matches!(judge(400, "application/json", error), Sight::Seen(_)));
        let event = format!("data: {error}\n\ndata: [DONE]\n\n");
        assert!(matches!(judge(200, "text/event-stream", &event), Sight::Missing(_)));
        let fine = "data: {\"choices\":[]}\n\ndata: [DONE]\n\n";
        assert!(matches!(judge(200, "text/event-stream", fine), Sight::Unclear(_)));
    }
}
