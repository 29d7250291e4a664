//! The third rung: an experiment that shows a field at work, or shows that it is not. An [`Effect`] is data: the
//! requests, and a pure judgement of their answers. Must not know in which order, or whether, it is made.
//!
//! 第三级：效果实验（请求为数据，判断为纯函数）。

pub(super) mod completions;
pub(super) mod guided;
pub(super) mod output;
pub(super) mod sampling;
pub(super) mod tokens;
pub(super) mod tools;

use super::{
    ask::{Ask, Asker},
    ground::Ground,
    heard::Heard,
    sight::Sight,
};
use crate::api::Answer;

/// An experiment about one field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    /// The field that it is about. Requests without it are there to compare with.
    pub(super) field: &'static str,
    /// What to ask; or what is to be said where it cannot be asked.
    pub(super) asks: fn(&Ground) -> Result<Vec<Ask>, Sight>,
    /// What the answers show, one for each request; all of them have choices, or are streams.
    pub(super) judge: fn(&Ground, &[Answer]) -> Sight,
}

/// Makes the experiment. The first request that is not answered ends it.
pub(super) async fn observe(asker: &mut Asker<'_>, ground: &Ground, effect: &Effect) -> Sight {
    let asks = match (effect.asks)(ground) {
        Ok(asks) => asks,
        Err(sight) => return sight,
    };
    let mut answers = Vec::new();
    for ask in &asks {
        match asker.ask(ask).await {
            Heard::Answered(answer) => answers.push(*answer),
            other => return unanswered(effect.field, ask, &other),
        }
    }
    (effect.judge)(ground, &answers)
}

/// What it means that `ask` was not answered. The refusal of a request that only serves to compare is not held
/// against the field.
fn unanswered(field: &str, ask: &Ask, heard: &Heard) -> Sight {
    let words = format!("{} → {}", ask.shown, heard.words());
    match heard {
        Heard::Refused(_) if ask.body.get(field).is_none() => {
            Sight::Unseen(format!("nothing to compare with: {words}"))
        }
        Heard::Refused(refusal) if refusal.names(field) => Sight::Rejected(words),
        Heard::Refused(_) => Sight::Missing(words),
        Heard::Answered(_) | Heard::Silent(_) => Sight::Unclear(words),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::heard::tests::heard, *};

    #[test]
    fn a_refusal_counts_against_the_field_only_where_the_field_was_sent() {
        let ground = Ground::new("m");
        let refused = |message: &str| heard(400, &json!({"error": {"message": message}}));
        let with = ground.chat(&json!({"top_p": 0}));
        let without = ground.chat(&json!({"temperature": 2}));
        assert!(matches!(
            unanswered("top_p", &with, &refused("top_p must be in (0, 1]")),
            Sight::Rejected(words) if words == r#"{"top_p":0} → 400: top_p must be in (0, 1]"#
        ));
        assert!(matches!(unanswered("top_p", &with, &refused("not a multimodal model")), Sight::Missing(_)));
        assert!(matches!(unanswered("top_p", &without, &refused("temperature too high")), Sight::Unseen(_)));
        assert!(matches!(unanswered("top_p", &with, &Heard::Silent("timeout".into())), Sight::Unclear(_)));
    }
}
