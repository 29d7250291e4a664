//! The server under test as the suites see it: [`Target`].
//! Must not know how it was started, nor what is asked of it.
//!
//! 被测服务：客户端、模型与地址。

use serde_json::Value;

use super::{Client, ClientError, Request, Route};

/// The server under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// Talks to it.
    pub client: Client,
    /// The model's name as the server serves it.
    pub model: String,
    /// Where it is, ending in `/v1`; shown to people.
    pub base_url: String,
    /// What it is, as far as it tells.
    pub engine: Engine,
}

/// What a server is, as far as it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    /// `vllm`, `sglang`…, in lower case; nothing for a stand-in such as the simulator.
    pub name: Option<String>,
    /// Its version, as it writes it.
    pub version: Option<String>,
}

impl Target {
    /// The server that `client` talks to, asked for `model`.
    pub fn new(client: Client, model: impl Into<String>) -> Self {
        let base_url = client.base_url().to_owned();
        Self { client, model: model.into(), base_url, engine: Engine::default() }
    }

    /// The same server, of which is known what it is.
    #[must_use]
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// The server at `base_url`, without a key.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn at(base_url: &str, model: impl Into<String>) -> Result<Self, ClientError> {
        Ok(Self::new(Client::new(base_url, None)?, model))
    }

    /// The same server, whose recordings are kept and looked up under `scope`: the id of a trial.
    #[must_use]
    pub fn scoped(&self, scope: &str) -> Self {
        Self { client: self.client.clone().scoped(scope), ..self.clone() }
    }

    /// `POST /v1/chat/completions` with `body` as it is.
    pub fn chat(&self, body: &Value) -> Request {
        Request::post_json(Route::Api("/chat/completions".into()), body)
    }

    /// `POST /v1/completions` with `body` as it is.
    pub fn completions(&self, body: &Value) -> Request {
        Request::post_json(Route::Api("/completions".into()), body)
    }

    /// `body` with `model` in front, where it is an object that names none. A body that says `model: null` keeps
    /// it; to leave the model out altogether, do not call this.
    pub fn with_model(&self, body: &Value) -> Value {
        match body {
            Value::Object(fields) if !fields.contains_key("model") => {
                let model = ("model".to_owned(), Value::String(self.model.clone()));
                Value::Object(std::iter::once(model).chain(fields.clone()).collect())
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target() -> Target {
        Target::at("http://127.0.0.1:1/v1/", "m").unwrap()
    }

    #[test]
    fn a_body_is_sent_as_it_is() {
        let request = target().chat(&json!({"max_tokens": -1, "a": null}));
        assert_eq!(request.route, Route::Api("/chat/completions".into()));
        assert_eq!(request.body.as_deref(), Some(br#"{"max_tokens":-1,"a":null}"#.as_slice()));
        assert_eq!(target().base_url, "http://127.0.0.1:1/v1");
    }

    #[test]
    fn the_model_is_added_only_where_none_is_named() {
        let with_model = |body| target().with_model(&body).to_string();
        assert_eq!(with_model(json!({"n": 1})), r#"{"model":"m","n":1}"#);
        assert_eq!(with_model(json!({"n": 1, "model": null})), r#"{"n":1,"model":null}"#);
        assert_eq!(with_model(json!([1])), "[1]");
    }
}
