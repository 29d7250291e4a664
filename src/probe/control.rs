//! The first rung: does the plain request work, is it answered alike twice, and what happens to a field that
//! nobody knows. What it finds is the [`Ground`] of all others. Must not know any other capability.
//!
//! 第一级：普通请求、重复性与未知字段对照。

use serde_json::{Value, json};

use super::{
    ask::{Ask, Asker},
    ground::Ground,
    heard::{Heard, first, json as body_of, quote, said},
    sight::Sight,
};
use crate::client::{Request, Route};

/// A field that no server knows.
const UNKNOWN: &str = "zz_unknown_7f3a";
/// The least temperature of servers that refuse 0.
const NEARLY_ZERO: f64 = 0.001;
/// Texts whose tokens are used wherever any tokens do.
const WORDS: &str = " river stone cloud paper green table music seven";

/// What the first rung finds out.
pub(super) struct Control {
    pub(super) ground: Ground,
    /// `chat.completions`, `chat.temperature_zero`, `chat.determinism`.
    pub(super) sights: Vec<(&'static str, Sight)>,
    /// Why nothing more can be asked of the chat route.
    pub(super) stop: Option<Sight>,
    pub(super) fingerprint: Option<String>,
}

/// Asks the plain request, twice more, and with an unknown field.
pub(super) async fn control(asker: &mut Asker<'_>) -> Control {
    let mut ground = Ground::new(&asker.target().model);
    let mut plain = asker.ask(&ground.chat(&json!({}))).await;
    let mut zero = None;
    if let Heard::Refused(refusal) = &plain
        && refusal.names("temperature")
    {
        zero = Some(Sight::Rejected(format!("temperature 0 → {}", refusal.words())));
        ground.temperature = NEARLY_ZERO;
        plain = asker.ask(&ground.chat(&json!({}))).await;
    }
    let answer = match route("a plain request", &plain) {
        Ok(answer) => answer.clone(),
        Err(stop) => {
            let ids = ["chat.completions", "chat.temperature_zero", "chat.determinism"];
            let sights = ids.map(|id| (id, stop.clone())).to_vec();
            return Control { ground, sights, stop: Some(stop), fingerprint: None };
        }
    };
    ground.greedy = said(&answer);
    let mut texts = vec![ground.greedy.clone()];
    for again in 1..=2 {
        if let Heard::Answered(answer) = asker.ask(&ground.chat(&json!({})).again(again)).await {
            texts.push(said(&answer));
        }
    }
    asker.follow_pace();
    let repeated = repeated(&texts);
    ground.steady = matches!(repeated, Sight::Seen(_));
    ground.strict = strict(&asker.ask(&unknown(&ground)).await);
    learn_tokens(asker, &mut ground).await;
    let zero = zero.unwrap_or_else(|| Sight::Seen("temperature 0 → 200".into()));
    let seen = Sight::Seen(format!("a plain request → 200 with {}", shown(&ground.greedy)));
    Control {
        sights: vec![
            ("chat.completions", seen),
            ("chat.temperature_zero", zero),
            ("chat.determinism", repeated),
        ],
        stop: None,
        fingerprint: answer.complete.and_then(|complete| complete.system_fingerprint),
        ground,
    }
}

/// Whether the route is there: the answer, or what is to be said of everything that hangs on it.
pub(super) fn route<'a>(what: &str, heard: &'a Heard) -> Result<&'a crate::api::Answer, Sight> {
    match heard {
        Heard::Answered(answer) if first(answer).is_some() => Ok(answer),
        Heard::Answered(answer) => {
            let status = answer.status.unwrap_or_default();
            Err(Sight::Unclear(format!("{what} → {status} without choices")))
        }
        Heard::Refused(refusal) if refusal.is_no_route() => {
            Err(Sight::Missing(format!("{what} → {}", refusal.words())))
        }
        Heard::Refused(refusal) => Err(Sight::Unclear(format!("{what} → {}", refusal.words()))),
        Heard::Silent(why) => Err(Sight::Unclear(format!("{what} → {why}"))),
    }
}

/// Whether the same text came each time.
fn repeated(texts: &[String]) -> Sight {
    match texts.iter().find(|text| **text != texts[0]) {
        _ if texts.len() < 3 => {
            Sight::Unclear(format!("only {} of 3 repetitions were answered", texts.len()))
        }
        None => Sight::Seen(format!("the same greedy request 3 times: always {}", shown(&texts[0]))),
        Some(other) => {
            let both = format!("{} and {}", shown(&texts[0]), shown(other));
            Sight::Missing(format!("the same greedy request 3 times: {both}"))
        }
    }
}

fn unknown(ground: &Ground) -> Ask {
    ground.chat(&json!({UNKNOWN: 1, "max_tokens": 1}))
}

/// Whether an unknown field is refused; unknown where the answer says nothing.
fn strict(heard: &Heard) -> Option<bool> {
    match heard {
        Heard::Answered(_) => Some(false),
        Heard::Refused(_) => Some(true),
        Heard::Silent(_) => None,
    }
}

/// Asks the tokenizer, where there is one, for ordinary tokens and for the one that ends an answer.
async fn learn_tokens(asker: &mut Asker<'_>, ground: &mut Ground) {
    let model = ground.model.clone();
    let ask = |body: Value| Request::post_json(Route::Root("/tokenize".into()), &body);
    let words = asker.send(&ask(json!({"model": model, "prompt": WORDS, "add_special_tokens": false}))).await;
    if let Some(ids) = ids(&words).filter(|ids| ids.len() >= 8) {
        ground.tokens = ids.into_iter().take(8).collect();
        let talk = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        let body = json!({
            "model": model, "messages": talk, "add_generation_prompt": false, "return_token_strs": true,
        });
        ground.eos = end_of_turn(&asker.send(&ask(body)).await);
    }
}

fn ids(heard: &Heard) -> Option<Vec<u64>> {
    let Heard::Answered(answer) = heard else { return None };
    body_of(answer)?.get("tokens")?.as_array()?.iter().map(Value::as_u64).collect()
}

/// The last token of a conversation that looks like a mark, `<|im_end|>` or `</s>`, not like a word.
fn end_of_turn(heard: &Heard) -> Option<u64> {
    let Heard::Answered(answer) = heard else { return None };
    let texts = body_of(answer)?.get("token_strs")?.as_array()?;
    let is_mark =
        |text: &Value| text.as_str().is_some_and(|t| t.len() > 2 && t.starts_with('<') && t.ends_with('>'));
    let at = texts.iter().rposition(is_mark)?;
    ids(heard)?.get(at).copied()
}

fn shown(text: &str) -> String {
    format!("`{}`", quote(text))
}

#[cfg(test)]
mod tests {
    use super::{super::heard::tests::heard, *};

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn three_times_the_same_is_deterministic() {
        assert_eq!(
            repeated(&texts(&["1, 2", "1, 2", "1, 2"])),
            Sight::Seen("the same greedy request 3 times: always `1, 2`".into())
        );
        assert_eq!(
            repeated(&texts(&["1, 2", "1, 2", "one"])),
            Sight::Missing("the same greedy request 3 times: `1, 2` and `one`".into())
        );
        assert!(matches!(repeated(&texts(&["1, 2", "1, 2"])), Sight::Unclear(_)));
    }

    #[test]
    fn only_a_missing_route_is_a_missing_route() {
        let error = |message: &str| json!({"error": {"message": message}});
        let sight = |status, message| route("a plain request", &heard(status, &error(message))).unwrap_err();
        assert!(matches!(sight(404, "Not Found"), Sight::Missing(_)));
        assert!(matches!(sight(404, "The model `x` does not exist"), Sight::Unclear(_)));
        assert!(matches!(sight(401, "Unauthorized"), Sight::Unclear(_)));
        assert!(matches!(sight(500, "boom"), Sight::Unclear(_)));
        assert!(matches!(route("x", &heard(200, &json!({"ok": true}))), Err(Sight::Unclear(_))));
    }

    #[test]
    fn an_unknown_field_tells_whether_bodies_are_read_strictly() {
        assert_eq!(strict(&heard(200, &json!({"choices": []}))), Some(false));
        assert_eq!(
            strict(&heard(400, &json!({"error": {"message": "extra fields not permitted"}}))),
            Some(true)
        );
        assert_eq!(strict(&Heard::Silent("timeout".into())), None);
    }

    #[test]
    fn the_end_of_a_turn_is_the_last_mark_of_a_conversation() {
        let body = json!({"tokens": [1, 9, 2, 198], "token_strs": ["<|im_start|>", "b", "<|im_end|>", "Ċ"]});
        assert_eq!(end_of_turn(&heard(200, &body)), Some(2));
        assert_eq!(end_of_turn(&heard(200, &json!({"tokens": [1], "token_strs": ["<"]}))), None);
        assert_eq!(end_of_turn(&heard(200, &json!({"tokens": [1], "token_strs": null}))), None);
    }
}
