//! What every rung stands on: [`Ground`], the plain request that works on this server, and what it answered.
//! Must not know any capability.
//!
//! 探测的基准：可用的普通请求及其应答。

use serde_json::{Map, Value, json};

use super::ask::{Ask, To};

/// What is asked where nothing depends on it.
const QUESTION: &str = "Count from one to ten.";
/// The same for a model that only continues.
pub(super) const BEGINNING: &str = "One, two, three,";
/// No plain request asks for more tokens than this.
pub(super) const TOKENS: u64 = 6;
/// Where there is no tokenizer to ask, these stand for any eight tokens: ordinary ones in every common vocabulary.
const ANY_TOKENS: std::ops::Range<u64> = 5000..5008;

/// The plain request and what is known of the model behind it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ground {
    pub(super) model: String,
    /// 0, or the least that the server takes.
    pub(super) temperature: f64,
    /// What the plain chat request says.
    pub(super) greedy: String,
    /// Whether it says the same again; without that no two texts can be compared.
    pub(super) steady: bool,
    /// Whether a field that nobody knows is refused, which makes a refusal prove nothing.
    pub(super) strict: Option<bool>,
    /// Ids of eight ordinary tokens.
    pub(super) tokens: Vec<u64>,
    /// The token that ends an answer, where the tokenizer tells it.
    pub(super) eos: Option<u64>,
}

impl Ground {
    pub(super) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            temperature: 0.0,
            greedy: String::new(),
            steady: false,
            strict: None,
            tokens: ANY_TOKENS.collect(),
            eos: None,
        }
    }

    /// The plain chat request with `changes` laid over it.
    pub(super) fn chat(&self, changes: &Value) -> Ask {
        let plain = json!({
            "model": self.model, "messages": [{"role": "user", "content": QUESTION}],
            "temperature": self.temperature, "max_tokens": TOKENS,
        });
        laid_over(To::Chat, plain, changes)
    }

    /// The plain completions request with `changes` laid over it.
    pub(super) fn completions(&self, changes: &Value) -> Ask {
        let plain = json!({
            "model": self.model, "prompt": BEGINNING, "temperature": self.temperature, "max_tokens": TOKENS,
        });
        laid_over(To::Completions, plain, changes)
    }

    /// The plain request to `to` with `changes` laid over it.
    pub(super) fn plain(&self, to: To, changes: &Value) -> Ask {
        match to {
            To::Chat => self.chat(changes),
            To::Completions => self.completions(changes),
        }
    }

    /// `logit_bias` that puts `by` on each of `tokens`.
    pub(super) fn bias(tokens: &[u64], by: i64) -> Value {
        Value::Object(tokens.iter().map(|id| (id.to_string(), json!(by))).collect())
    }
}

fn laid_over(to: To, plain: Value, changes: &Value) -> Ask {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut body: Map<String, Value> = fields(&plain);
    body.extend(fields(changes));
    // The size of the answer and the odds are the setting, not the point.
    let mut point = fields(changes);
    point.retain(|name, _| name != "max_tokens" && name != "messages");
    let shown =
        if point.is_empty() { "a plain request".to_owned() } else { Value::Object(point).to_string() };
    Ask { to, body: Value::Object(body), shown: super::heard::quote(&shown), again: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_replaces_what_the_plain_request_says() {
        let ask = Ground::new("m").chat(&json!({"max_tokens": 1, "top_k": 3}));
        assert_eq!(ask.body["max_tokens"], 1);
        assert_eq!((&ask.body["model"], &ask.body["top_k"]), (&json!("m"), &json!(3)));
        assert_eq!(ask.shown, r#"{"top_k":3}"#);
        assert_eq!(Ground::new("m").completions(&json!({})).shown, "a plain request");
    }

    #[test]
    fn a_bias_names_each_token() {
        assert_eq!(Ground::bias(&[7, 9], 50), json!({"7": 50, "9": 50}));
    }
}
