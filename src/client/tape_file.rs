//! The text of one recording: [`write`] and [`read`].
//! Must not know where it lies or when it is played.
//!
//! 录制文件的读写格式。

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Attempt, End, Fault, Phase, Request, Route, Stamp, address::path_of};

/// A request and the answer to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) request: Request,
    pub(crate) response: Response,
}

/// An answer; all times are counted from the beginning of the attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) headers_at: Option<Duration>,
    pub(crate) chunks: Vec<(Duration, Bytes)>,
    pub(crate) total: Duration,
    pub(crate) away: Option<Duration>,
    pub(crate) fault: Option<Fault>,
}

impl Response {
    /// When the headers came. Recordings made by other means may not say; then it was before the first chunk.
    pub(crate) fn headers_t(&self) -> Duration {
        self.headers_at.or_else(|| self.chunks.first().map(|(t, _)| *t)).unwrap_or(self.total)
    }

    /// The attempt as it was, had it begun at 0.
    pub(crate) fn attempt(&self) -> Attempt {
        let stamp = |t: Duration| Stamp(0).after(t);
        Attempt {
            begun: Stamp(0),
            sent: None,
            headers_at: self.status.map(|_| stamp(self.headers_t())),
            status: self.status,
            headers: self.headers.clone(),
            chunks: self.chunks.iter().map(|(t, bytes)| (stamp(*t), bytes.clone())).collect(),
            end: self.fault.clone().map_or(End::Complete, End::Broken),
            ended: stamp(self.total),
            away: self.away,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    id: String,
    request: FileRequest,
    response: FileResponse,
}

#[derive(Serialize, Deserialize)]
struct FileRequest {
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64_body: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct FileResponse {
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    headers: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers_t_ms: Option<f64>,
    chunks: Vec<FileChunk>,
    total_ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<FileFault>,
}

#[derive(Serialize, Deserialize)]
struct FileChunk {
    t_ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileFault {
    Transport { phase: Phase, message: String },
    Timeout { phase: Phase, limit_ms: u64 },
    Cancelled,
}

/// The recording of `attempt` at `request`, as text.
pub(crate) fn write(id: &str, request: &Request, attempt: &Attempt) -> String {
    let ms = |at: Stamp| at.since(attempt.begun).as_nanos() as f64 / 1e6;
    let (body, raw_body, base64_body) = match request.body.as_deref().map(written) {
        None => (None, None, None),
        Some(Written::Json(value)) => (Some(value), None, None),
        Some(Written::Text(text)) => (None, Some(text), None),
        Some(Written::Base64(text)) => (None, None, Some(text)),
    };
    let file = File {
        id: id.to_owned(),
        request: FileRequest {
            method: request.method.clone(),
            path: path_of(&request.route),
            headers: headers_to_map(&request.headers, is_secret),
            body,
            raw_body,
            base64_body,
        },
        response: FileResponse {
            status: attempt.status,
            reason: None,
            headers: headers_to_map(&attempt.headers, |name| name == "set-cookie"),
            headers_t_ms: attempt.headers_at.map(ms),
            chunks: attempt.chunks.iter().map(|(at, bytes)| chunk(ms(*at), bytes)).collect(),
            total_ms: ms(attempt.ended),
            away_ms: attempt.away.map(|away| away.as_secs_f64() * 1e3),
            fault: fault_of(&attempt.end),
        },
    };
    serde_json::to_string_pretty(&file).expect("strings and numbers always serialise")
}

/// Reads what [`write`] wrote, or a recording made by other means in the same shape.
pub(crate) fn read(text: &str) -> Result<Recorded, String> {
    let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let request = file.request;
    let body = match (request.body, request.raw_body, request.base64_body) {
        (_, Some(text), _) => Some(Bytes::from(text)),
        (_, _, Some(text)) => Some(unbase64(&text)?),
        (Some(Value::Null) | None, None, None) => None,
        (Some(value), None, None) => Some(Bytes::from(value.to_string())),
    };
    let chunks: Result<Vec<_>, String> = file.response.chunks.into_iter().map(unchunk).collect();
    Ok(Recorded {
        request: Request {
            method: request.method,
            route: route(&request.path),
            headers: headers_from_map(&request.headers)?,
            body,
            read_size: None,
        },
        response: Response {
            status: file.response.status,
            headers: headers_from_map(&file.response.headers)?,
            headers_at: file.response.headers_t_ms.map(from_ms).transpose()?,
            chunks: chunks?,
            total: from_ms(file.response.total_ms)?,
            away: file.response.away_ms.map(from_ms).transpose()?,
            fault: file.response.fault.map(FileFault::into_fault),
        },
    })
}

enum Written {
    Json(Value),
    Text(String),
    Base64(String),
}

/// JSON only where writing it again gives the same bytes: a replay must find the same request.
fn written(body: &[u8]) -> Written {
    let Ok(text) = std::str::from_utf8(body) else { return Written::Base64(STANDARD.encode(body)) };
    match serde_json::from_str::<Value>(text) {
        Ok(value) if !value.is_null() && value.to_string().as_bytes() == body => Written::Json(value),
        _ => Written::Text(text.to_owned()),
    }
}

fn chunk(t_ms: f64, bytes: &[u8]) -> FileChunk {
    match std::str::from_utf8(bytes) {
        Ok(text) => FileChunk { t_ms, text: Some(text.to_owned()), base64: None },
        Err(_) => FileChunk { t_ms, text: None, base64: Some(STANDARD.encode(bytes)) },
    }
}

fn unchunk(chunk: FileChunk) -> Result<(Duration, Bytes), String> {
    let bytes = match (chunk.text, chunk.base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(text)) => unbase64(&text)?,
        _ => return Err("a chunk has to have either `text` or `base64`".into()),
    };
    Ok((from_ms(chunk.t_ms)?, bytes))
}

fn unbase64(text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|e| format!("bad base64: {e}"))
}

fn from_ms(ms: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(ms / 1e3).map_err(|_| format!("{ms} is no time in milliseconds"))
}

fn route(path: &str) -> Route {
    match path.strip_prefix("/v1") {
        Some(below) if below.starts_with('/') => Route::Api(below.to_owned()),
        _ => Route::Root(path.to_owned()),
    }
}

fn is_secret(name: &str) -> bool {
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"]
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

/// A header that comes once is a string, one that comes more often a list.
fn headers_to_map(headers: &[(String, String)], is_secret: impl Fn(&str) -> bool) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in headers {
        let value = if is_secret(name) { "***".into() } else { json!(value) };
        match map.get_mut(name) {
            None => drop(map.insert(name.clone(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    map
}

fn headers_from_map(map: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for (name, value) in map {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let text = value.as_str().ok_or_else(|| format!("header `{name}` is {value}, expected text"))?;
            headers.push((name.clone(), text.to_owned()));
        }
    }
    Ok(headers)
}

fn fault_of(end: &End) -> Option<FileFault> {
    match end {
        End::Broken(Fault::Cancelled) => Some(FileFault::Cancelled),
        End::Broken(Fault::Transport { phase, message }) => {
            Some(FileFault::Transport { phase: *phase, message: message.clone() })
        }
        End::Broken(Fault::Timeout { phase, limit_ms }) => {
            Some(FileFault::Timeout { phase: *phase, limit_ms: *limit_ms })
        }
        _ => None,
    }
}

impl FileFault {
    fn into_fault(self) -> Fault {
        match self {
            Self::Transport { phase, message } => Fault::Transport { phase, message },
            Self::Timeout { phase, limit_ms } => Fault::Timeout { phase, limit_ms },
            Self::Cancelled => Fault::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_recording_made_by_other_means_can_be_read() {
        let text = r#"{"id": "x", "request": {"method": "POST", "path": "/v1/completions", "body": {"n": 1}},
            "response": {"status": 200, "reason": "OK", "headers": {"server": "uvicorn"},
            "chunks": [{"t_ms": 12.5, "text": "hi"}], "total_ms": 13.25}}"#;
        let recorded = read(text).expect("a recording");
        assert_eq!(recorded.request.route, Route::Api("/completions".into()));
        assert_eq!(recorded.request.body.as_deref(), Some(br#"{"n":1}"#.as_slice()));
        let attempt = recorded.response.attempt();
        assert_eq!(attempt.chunks, [(Stamp(12_500_000), Bytes::from("hi"))]);
        assert_eq!((attempt.ended, attempt.header("server")), (Stamp(13_250_000), Some("uvicorn")));
    }

    #[test]
    fn what_is_no_recording_says_where_and_why() {
        assert_eq!(read("{}").unwrap_err(), "missing field `id` at line 1 column 2");
        let chunk = r#"{"id":"x","request":{"method":"GET","path":"/"},"response":{"status":200,"headers":{},"chunks":[{"t_ms":1}],"total_ms":1}}"#;
        assert_eq!(read(chunk).unwrap_err(), "a chunk has to have either `text` or `base64`");
        let time = chunk.replace(r#"[{"t_ms":1}]"#, r#"[{"t_ms":-1,"text":""}]"#);
        assert_eq!(read(&time).unwrap_err(), "-1 is no time in milliseconds");
    }

    #[test]
    fn keys_are_not_recorded() {
        let mut request = Request::get(Route::Api("/models".into()));
        request.headers =
            vec![("Authorization".into(), "Bearer s3cret".into()), ("X-Api-Key".into(), "s3cret".into())];
        let mut attempt = Attempt::begin(Stamp::now());
        attempt.headers = vec![("set-cookie".into(), "s3cret".into())];
        assert!(!write("x", &request, &attempt).contains("s3cret"));
    }

    fn an_end() -> impl Strategy<Value = End> {
        prop_oneof![
            Just(End::Complete),
            Just(End::Broken(Fault::Cancelled)),
            Just(End::Broken(Fault::Timeout { phase: Phase::Body, limit_ms: 7 })),
            "[a-z ]{0,9}"
                .prop_map(|message| End::Broken(Fault::Transport { phase: Phase::Connect, message })),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_as_it_was(
            body in prop::option::of(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                "[\\[\\]{}\":, 0-9a-z]{0,12}".prop_map(String::into_bytes),
                Just(br#"{"a": 1}"#.to_vec()), Just(br#"{"a":1.0,"b":[null]}"#.to_vec()), Just(b"null".to_vec()),
            ]),
            chunks in prop::collection::vec((0_u64..1 << 40, prop::collection::vec(any::<u8>(), 0..9)), 0..5),
            end in an_end(),
        ) {
            let request = Request {
                method: "POST".into(), route: Route::Api("/x".into()), headers: vec![("a".into(), "b".into())],
                body: body.map(Bytes::from), read_size: None,
            };
            let attempt = Attempt {
                begun: Stamp(0), sent: None, headers_at: Some(Stamp(5)), status: Some(200),
                headers: vec![("x".into(), "1".into()), ("y".into(), String::new()), ("x".into(), "2".into())],
                chunks: chunks.into_iter().map(|(at, bytes)| (Stamp(at), Bytes::from(bytes))).collect(),
                end, ended: Stamp(1 << 40), away: Some(Duration::from_millis(9)),
            };
            let recorded = read(&write("id", &request, &attempt)).expect("what we wrote");
            prop_assert_eq!(recorded.request, request);
            let again = recorded.response.attempt();
            prop_assert_eq!((&again.end, again.away), (&attempt.end, attempt.away));
            prop_assert_eq!(again.headers.len(), 3);
            for ((t, bytes), (was, before)) in again.chunks.iter().zip(&attempt.chunks) {
                prop_assert_eq!(bytes, before);
                prop_assert!(t.0.abs_diff(was.0) <= 1_000, "{} and {}", t.0, was.0);
            }
        }
    }
}
