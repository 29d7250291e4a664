//! The cheapest rung: routes, which are there or not. What they answer is kept for the [`facts`](super::facts).
//! Must not know how a field is probed.
//!
//! 路由探测。

use serde_json::{Value, json};

use super::{
    heard::{Heard, json as body_of},
    sight::Sight,
};
use crate::{
    api::{Answer, Body},
    client::{Request, Route},
};

/// A route, and by what a true answer of it is known from any page that a proxy may send.
pub(super) struct Probe {
    pub(super) id: &'static str,
    /// As people write it: `POST /tokenize`.
    pub(super) shown: &'static str,
    /// What is sent, given the model's name.
    pub(super) request: fn(&str) -> Request,
    genuine: fn(&Answer) -> bool,
}

/// All of them, cheapest first.
pub(super) const ROUTES: &[Probe] = &[
    get("server.version", "GET /version", |_| root("/version"), |a| has(a, "version")),
    get("server.models", "GET /v1/models", |_| api("/models"), |a| has(a, "data")),
    get(
        "server.models_get",
        "GET /v1/models/{id}",
        |model| api(&format!("/models/{model}")),
        |a| has(a, "id"),
    ),
    get("server.metrics", "GET /metrics", |_| root("/metrics"), |a| text(a).contains("# TYPE ")),
    get("server.health", "GET /health", |_| root("/health"), |_| true),
    get("server.ping", "GET /ping", |_| root("/ping"), |_| true),
    get("server.load", "GET /load", |_| root("/load"), |a| has(a, "server_load")),
    get(
        "server.tokenize",
        "POST /tokenize",
        |model| post(Route::Root("/tokenize".into()), &json!({"model": model, "prompt": "one"})),
        |a| has(a, "tokens") || has(a, "count"),
    ),
    get(
        "server.detokenize",
        "POST /detokenize",
        |model| post(Route::Root("/detokenize".into()), &json!({"model": model, "tokens": [65, 66]})),
        |a| has(a, "prompt") || has(a, "content"),
    ),
    get(
        "server.responses",
        "POST /v1/responses",
        // The least that the documented range allows.
        |model| {
            post(
                Route::Api("/responses".into()),
                &json!({"model": model, "input": "Hi", "max_output_tokens": 16}),
            )
        },
        |a| says(a, "object", "response"),
    ),
    get(
        "server.messages",
        "POST /v1/messages",
        |model| {
            let messages = json!([{"role": "user", "content": "Hi"}]);
            post(
                Route::Api("/messages".into()),
                &json!({"model": model, "messages": messages, "max_tokens": 1}),
            )
        },
        |a| says(a, "type", "message"),
    ),
    get(
        "server.embeddings",
        "POST /v1/embeddings",
        |model| post(Route::Api("/embeddings".into()), &json!({"model": model, "input": "Hi"})),
        |a| has(a, "data"),
    ),
];

/// The id of the one that is about a key, not about a route.
pub(super) const AUTH: &str = "server.auth";

/// A request that any server with a key turns away.
pub(super) fn wrong_key() -> Request {
    Request { headers: vec![("authorization".into(), "Bearer zz_wrong_key".into())], ..api("/models") }
}

/// What came of a wrong key.
pub(super) fn judge_key(heard: &Heard) -> Sight {
    let words = format!("GET /v1/models with a wrong key → {}", heard.words());
    match heard {
        Heard::Refused(refusal) if matches!(refusal.status, 401 | 403) => Sight::Seen(words),
        Heard::Answered(_) => Sight::Missing(words),
        Heard::Refused(_) | Heard::Silent(_) => Sight::Unclear(words),
    }
}

impl Probe {
    /// What came of it.
    pub(super) fn judge(&self, heard: &Heard) -> Sight {
        let words = format!("{} → {}", self.shown, heard.words());
        match heard {
            Heard::Answered(answer) if (self.genuine)(answer) => Sight::Seen(words),
            Heard::Answered(_) => Sight::Missing(format!("{words}, but not what this route answers")),
            // Without the right key nothing can be told of any route.
            Heard::Refused(refusal) if matches!(refusal.status, 401 | 403) => Sight::Unclear(words),
            Heard::Refused(_) => Sight::Missing(words),
            Heard::Silent(_) => Sight::Unclear(words),
        }
    }
}

const fn get(
    id: &'static str,
    shown: &'static str,
    request: fn(&str) -> Request,
    genuine: fn(&Answer) -> bool,
) -> Probe {
    Probe { id, shown, request, genuine }
}

fn root(path: &str) -> Request {
    Request::get(Route::Root(path.into()))
}

fn api(path: &str) -> Request {
    Request::get(Route::Api(path.into()))
}

fn post(route: Route, body: &Value) -> Request {
    Request::post_json(route, body)
}

fn has(answer: &Answer, key: &str) -> bool {
    body_of(answer).is_some_and(|body| body.get(key).is_some())
}

fn says(answer: &Answer, key: &str, value: &str) -> bool {
    body_of(answer).is_some_and(|body| body.get(key).is_some_and(|found| found == value))
}

/// The body, where it is text.
pub(super) fn text(answer: &Answer) -> &str {
    match &answer.body {
        Body::Text { text, .. } => text,
        Body::None | Body::Json(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::heard::tests::{attempt, heard},
        *,
    };

    fn route(id: &str) -> &'static Probe {
        ROUTES.iter().find(|probe| probe.id == id).expect("a known route")
    }

    #[test]
    fn a_route_is_there_when_it_answers_as_itself() {
        let tokens = heard(200, &json!({"tokens": [1], "count": 1}));
        assert_eq!(route("server.tokenize").judge(&tokens), Sight::Seen("POST /tokenize → 200".into()));
        let page = Heard::of(&attempt(200, "text/html", "<html>Welcome</html>"));
        assert_eq!(
            route("server.metrics").judge(&page),
            Sight::Missing("GET /metrics → 200, but not what this route answers".into())
        );
    }

    #[test]
    fn a_route_that_is_refused_is_missing_and_one_that_breaks_down_is_unclear() {
        let missing = route("server.embeddings").judge(&heard(404, &json!({"detail": "Not Found"})));
        assert_eq!(missing, Sight::Missing("POST /v1/embeddings → 404: Not Found".into()));
        let error = json!({"error": {"message": "boom"}});
        assert!(matches!(route("server.load").judge(&heard(503, &error)), Sight::Unclear(_)));
        assert!(matches!(route("server.load").judge(&heard(401, &error)), Sight::Unclear(_)));
    }

    #[test]
    fn a_key_is_asked_for_where_a_wrong_one_is_turned_away() {
        assert!(matches!(judge_key(&heard(401, &json!({"error": "Unauthorized"}))), Sight::Seen(_)));
        assert!(matches!(judge_key(&heard(200, &json!({"data": []}))), Sight::Missing(_)));
        assert!(matches!(judge_key(&Heard::Silent("timeout".into())), Sight::Unclear(_)));
        assert_eq!(wrong_key().headers[0].0, "authorization");
    }
}
