//! What a server says when it refuses: an [`ApiError`], whichever of the shapes in use it chose.
//! Must not know whether the refusal was expected.
//!
//! 错误体的归一化。

use serde::Serialize;
use serde_json::{Map, Value};

/// How the error was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `{"error": {"message", "type", "param", "code"}}`: OpenAI, vLLM.
    Nested,
    /// `{"object": "error", "message", …}`: SGLang, LMDeploy.
    Flat,
    /// `{"detail": "…"}` or `{"detail": [{"loc", "msg"}]}`: FastAPI.
    Detail,
    /// `{"error": "…", "error_type": "…"}`: TGI; also `{"error": "…"}` alone, as vLLM answers a wrong key.
    Tgi,
    /// `{"type": "error", "error": {"type", "message"}}`: the messages API.
    Anthropic,
    /// Anything else, as text.
    Text,
    /// An event of a stream that began with 200.
    Sse,
    /// The body of an answer that says 2xx: a client that looks at the status alone takes it for success.
    Disguised,
}

/// An error of the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApiError {
    /// How it was written.
    pub shape: ErrorShape,
    /// The HTTP status where that is 400 or more, else `code` where it is a number from 400 to 599.
    pub status: Option<u16>,
    /// As written: a number, a text, or nothing.
    pub code: Option<Value>,
    /// Its class as the server calls it; `type` on the wire and in the subject.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The parameter that is to blame.
    pub param: Option<String>,
    /// What the server says; empty where it says nothing.
    pub message: String,
}

impl ApiError {
    /// The error in an answer that came whole: `status`, and a body that is `json` or else `text`.
    pub fn of_body(status: u16, json: Option<&Value>, text: &str) -> Option<Self> {
        if status < 400 {
            let found = fields(json?)?;
            return ((200..300).contains(&status) && found.shape != ErrorShape::Detail)
                .then(|| found.into_error(Some(ErrorShape::Disguised), status));
        }
        let found = json.and_then(|json| fields(json).or_else(|| bare(json)));
        // `{}` says nothing, though it is a text of two characters.
        let text = if json.is_some_and(is_nothing) { "" } else { text };
        Some(found.unwrap_or_else(|| Found::text(text)).into_error(None, status))
    }

    /// The error in one event of a stream: an object with `error` and without `choices`, or one that the event's
    /// type calls an error.
    pub fn of_event(status: u16, event: &str, json: Option<&Value>, text: &str) -> Option<Self> {
        let found = match json {
            Some(json) if json.get("choices").is_some() => None,
            Some(json) => fields(json).filter(|found| found.shape != ErrorShape::Detail),
            None => None,
        };
        let named = || (event == "error").then(|| json.and_then(bare).unwrap_or_else(|| Found::text(text)));
        Some(found.or_else(named)?.into_error(Some(ErrorShape::Sse), status))
    }
}

/// What stands in an error body, whatever its shape.
struct Found {
    shape: ErrorShape,
    code: Option<Value>,
    kind: Option<String>,
    param: Option<String>,
    message: String,
}

impl Found {
    fn text(text: &str) -> Self {
        Self { shape: ErrorShape::Text, code: None, kind: None, param: None, message: text.trim().to_owned() }
    }

    fn object(shape: ErrorShape, object: &Map<String, Value>) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            shape,
            code: object.get("code").filter(|code| !code.is_null()).cloned(),
            kind: text("type"),
            param: text("param"),
            message: text("message").unwrap_or_default(),
        }
    }

    fn into_error(self, shape: Option<ErrorShape>, http: u16) -> ApiError {
        let status = if http >= 400 { Some(http) } else { self.code.as_ref().and_then(as_status) };
        let Self { code, kind, param, message, .. } = self;
        ApiError { shape: shape.unwrap_or(self.shape), status, code, kind, param, message }
    }
}

fn is_nothing(json: &Value) -> bool {
    match json {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// An error that its own shape gives away.
fn fields(json: &Value) -> Option<Found> {
    let object = json.as_object()?;
    match object.get("error") {
        Some(Value::Object(error)) if object.get("type").is_some_and(|kind| kind == "error") => {
            Some(Found::object(ErrorShape::Anthropic, error))
        }
        Some(Value::Object(error)) => Some(Found::object(ErrorShape::Nested, error)),
        Some(Value::String(message)) => {
            let kind = object.get("error_type").and_then(Value::as_str).map(str::to_owned);
            Some(Found { kind, ..Found::object(ErrorShape::Tgi, object) }.saying(message))
        }
        _ if object.get("object").is_some_and(|object| object == "error") => {
            Some(Found::object(ErrorShape::Flat, object))
        }
        _ => object.get("detail").filter(|detail| !detail.is_null()).map(detail),
    }
}

/// An error that only the status, or the event's type, gives away.
fn bare(json: &Value) -> Option<Found> {
    let object = json.as_object()?;
    object.get("message")?.as_str()?;
    Some(Found::object(ErrorShape::Flat, object))
}

fn detail(detail: &Value) -> Found {
    let one = |item: &Value| {
        let said = item["msg"].as_str().map_or_else(|| item.to_string(), str::to_owned);
        let loc: Vec<String> = item["loc"].as_array().into_iter().flatten().map(plain).collect();
        if loc.is_empty() { said } else { format!("{}: {said}", loc.join(".")) }
    };
    let message = match detail {
        Value::Array(items) => items.iter().map(one).collect::<Vec<_>>().join("; "),
        other => plain(other),
    };
    Found { shape: ErrorShape::Detail, ..Found::text("") }.saying(&message)
}

impl Found {
    fn saying(self, message: &str) -> Self {
        Self { message: message.to_owned(), ..self }
    }
}

/// A string without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn as_status(code: &Value) -> Option<u16> {
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: u16, body: Value) -> ApiError {
        ApiError::of_body(status, Some(&body), &body.to_string()).expect("an error")
    }

    #[test]
    fn vllm_nests_its_error() {
        let error = read(
            400,
            json!({"error": {"message": "no", "type": "BadRequestError", "param": "n", "code": 400}}),
        );
        assert_eq!(error.shape, ErrorShape::Nested);
        assert_eq!((error.status, error.code), (Some(400), Some(json!(400))));
        assert_eq!((error.kind.as_deref(), error.param.as_deref()), (Some("BadRequestError"), Some("n")));
        assert_eq!(error.message, "no");
    }

    #[test]
    fn each_other_shape_is_told_apart() {
        for (body, shape, message) in [
            (json!({"object": "error", "message": "no", "code": 400}), ErrorShape::Flat, "no"),
            (json!({"message": "no"}), ErrorShape::Flat, "no"),
            (json!({"detail": "Not Found"}), ErrorShape::Detail, "Not Found"),
            (
                json!({"detail": [{"loc": ["body", "n"], "msg": "bad"}, {"msg": "worse"}]}),
                ErrorShape::Detail,
                "body.n: bad; worse",
            ),
            (json!({"error": "no", "error_type": "validation"}), ErrorShape::Tgi, "no"),
            (json!({"error": "Unauthorized"}), ErrorShape::Tgi, "Unauthorized"),
            (json!({"type": "error", "error": {"type": "x", "message": "no"}}), ErrorShape::Anthropic, "no"),
            (json!([1, 2]), ErrorShape::Text, "[1,2]"),
            (json!({}), ErrorShape::Text, ""),
            (json!({"error": null}), ErrorShape::Text, r#"{"error":null}"#),
        ] {
            let error = read(422, body.clone());
            assert_eq!((error.shape, error.message.as_str()), (shape, message), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_kept_as_text() {
        let error = ApiError::of_body(502, None, "<html>Bad gateway</html>\n").expect("an error");
        assert_eq!((error.shape, error.status), (ErrorShape::Text, Some(502)));
        assert_eq!(error.message, "<html>Bad gateway</html>");
    }

    #[test]
    fn an_error_behind_200_is_disguised_and_keeps_the_code_it_names() {
        let error = read(200, json!({"error": {"message": "busy", "code": "503"}}));
        assert_eq!((error.shape, error.status), (ErrorShape::Disguised, Some(503)));
        let symbolic = read(200, json!({"error": {"message": "no", "code": "model_not_found"}}));
        assert_eq!((symbolic.status, symbolic.code), (None, Some(json!("model_not_found"))));
    }

    #[test]
    fn a_good_answer_holds_no_error() {
        for body in
            [json!({"choices": []}), json!({"error": null, "output": []}), json!({"detail": "yes"}), json!(3)]
        {
            assert_eq!(ApiError::of_body(200, Some(&body), ""), None, "{body}");
        }
    }

    #[test]
    fn an_event_is_an_error_by_its_body_or_its_type() {
        let body = json!({"error": {"message": "no", "code": 400}});
        let error = ApiError::of_event(200, "message", Some(&body), "").expect("an error");
        assert_eq!((error.shape, error.status), (ErrorShape::Sse, Some(400)));
        let named = ApiError::of_event(200, "error", None, "engine died").expect("an error");
        assert_eq!((named.status, named.message.as_str()), (None, "engine died"));
        let token = json!({"choices": [], "error": {"message": "beside choices"}});
        assert_eq!(ApiError::of_event(200, "message", Some(&token), ""), None);
    }
}
