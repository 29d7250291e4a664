//! The transport: [`Http`] carries out one attempt through reqwest, over HTTP/1.1, without redirects, proxies,
//! decompression or retries of its own. It cannot tell when the last byte of a request was written, so it emits
//! no [`Event::Sent`]. Must not know what is asked or expected.
//!
//! 基于 reqwest 的传输层。

use std::{convert::Infallible, io::Write as _, sync::Arc, time::Duration};

use futures_util::stream;
use reqwest::{
    Method, Url,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
        TRANSFER_ENCODING,
    },
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};
use url::Position;

use super::{
    ClientError, Event, Fault, Limits, Phase, Request, Route, Stamp,
    address::Address,
    connect::{Watch, watched},
};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// How long a connection is kept for the next request: shorter than the 5 s after which uvicorn, under vLLM, closes
/// it, or else a request now and then meets a connection that is just being closed.
pub(super) const IDLE: Duration = Duration::from_secs(4);

/// A pool of connections to one server, and the key it wants.
#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    tls: Arc<ClientConfig>,
    authorization: Option<HeaderValue>,
}

impl Http {
    pub(crate) fn new(address: &Address, api_key: Option<SecretString>) -> Result<Self, ClientError> {
        let tls = Arc::new(tls(address.is_https())?);
        let authorization = api_key.as_ref().map(bearer).transpose()?;
        Ok(Self { client: pool(&tls)?, tls, authorization })
    }

    /// The key that it sends.
    pub(crate) fn api_key(&self) -> Option<String> {
        let value = self.authorization.as_ref()?.to_str().ok()?;
        value.strip_prefix("Bearer ").map(str::to_owned)
    }

    /// The same with a pool of its own.
    pub(crate) fn apart(&self) -> Result<Self, ClientError> {
        Ok(Self { client: pool(&self.tls)?, ..self.clone() })
    }

    /// One attempt: hands on everything but the end, which it returns.
    pub(crate) async fn attempt(
        &self,
        address: &Address,
        request: &Request,
        limits: &Limits,
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<(), Fault> {
        let outgoing = self.outgoing(address, request)?;
        let clock = Clock { begun: Instant::now(), limits };
        let watch = Watch::new(limits.connect);
        let answer = watch.over(self.client.execute(outgoing));
        let (until, limit) = clock.headers();
        let answer = timeout_at(until, answer).await;
        if let Some(connection) = watch.connection(matches!(answer, Ok(Ok(_)))) {
            on(Event::Connected(connection));
        }
        let mut response = match answer {
            Err(_) => return Err(timeout(watch.phase(), limit)),
            Ok(Err(error)) => return Err(fault(watch.phase(), watch.passed(), &error)),
            Ok(Ok(response)) => response,
        };
        on(Event::Headers {
            at: Stamp::now(),
            status: response.status().as_u16(),
            headers: pairs(response.headers()),
        });
        loop {
            let (until, limit) = clock.piece(Duration::ZERO);
            let piece = timeout_at(until, response.chunk()).await;
            let at = Stamp::now();
            match piece {
                Err(_) => return Err(timeout(Phase::Body, limit)),
                Ok(Err(error)) => return Err(fault(Phase::Body, None, &error)),
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(bytes))) if bytes.is_empty() => {}
                Ok(Ok(Some(bytes))) => on(Event::Bytes(at, &bytes)),
            }
        }
    }

    /// `request` to `url` as the bytes that HTTP/1.1 makes of it.
    ///
    /// # Errors
    /// When it can be none.
    pub(super) fn written(&self, url: &Url, request: &Request) -> Result<Vec<u8>, Fault> {
        let (headers, in_chunks) = self.headers(request)?;
        let method = method(request)?;
        let body = request.body.as_deref();
        let mut bytes = Vec::with_capacity(512 + body.map_or(0, <[u8]>::len));
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
        put(&[method.as_str().as_bytes(), b" ", path.as_bytes(), b" HTTP/1.1\r\n"]);
        if !headers.contains_key(HOST) {
            put(&[b"host: ", url[Position::BeforeHost..Position::AfterPort].as_bytes(), b"\r\n"]);
        }
        for (name, value) in [("user-agent", USER_AGENT), ("accept", "*/*")] {
            if !headers.contains_key(name) {
                put(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
            }
        }
        for (name, value) in &headers {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        match body {
            Some(_) if in_chunks => put(&[b"transfer-encoding: chunked\r\n"]),
            Some(body) if !headers.contains_key(CONTENT_LENGTH) => {
                put(&[b"content-length: ", body.len().to_string().as_bytes(), b"\r\n"]);
            }
            _ => {}
        }
        put(&[b"\r\n"]);
        match body {
            Some(body) if in_chunks => {
                // A chunk of nothing would be the last.
                if !body.is_empty() {
                    let _ = write!(bytes, "{:x}\r\n", body.len());
                    bytes.extend([body, b"\r\n"].concat());
                }
                bytes.extend(b"0\r\n\r\n");
            }
            Some(body) => bytes.extend(body),
            None => {}
        }
        // Thousands of them are kept until the end of a run.
        bytes.shrink_to_fit();
        Ok(bytes)
    }

    fn outgoing(&self, address: &Address, request: &Request) -> Result<reqwest::Request, Fault> {
        let (headers, in_chunks) = self.headers(request)?;
        let mut outgoing = reqwest::Request::new(method(request)?, url(address, &request.route)?);
        *outgoing.headers_mut() = headers;
        *outgoing.body_mut() = request.body.clone().map(|body| match in_chunks {
            true => reqwest::Body::wrap_stream(stream::iter([Ok::<_, Infallible>(body)])),
            false => reqwest::Body::from(body),
        });
        Ok(outgoing)
    }

    /// What goes out beside what the transport itself says, and whether the body goes in chunks.
    fn headers(&self, request: &Request) -> Result<(HeaderMap, bool), Fault> {
        let mut headers = HeaderMap::new();
        let mut in_chunks = false;
        for (name, value) in &request.headers {
            // The transport writes this one itself, where it does not know how long the body is.
            if name.eq_ignore_ascii_case(TRANSFER_ENCODING.as_str()) && value.eq_ignore_ascii_case("chunked")
            {
                in_chunks = true;
                continue;
            }
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| unsendable(format!("`{}` is no header name", name.escape_debug())))?;
            // The value is not shown: it may be a secret.
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                unsendable(format!("header `{name}` holds a character that HTTP cannot carry"))
            })?;
            headers.append(key, value);
        }
        if let (Some(key), false) = (&self.authorization, headers.contains_key(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, key.clone());
        }
        if request.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if headers.get(AUTHORIZATION).is_some_and(|value| value.is_empty()) {
            headers.remove(AUTHORIZATION);
        }
        Ok((headers, in_chunks && request.body.is_some()))
    }
}

fn unsendable(message: String) -> Fault {
    Fault::Unsendable { message }
}

fn method(request: &Request) -> Result<Method, Fault> {
    Method::from_bytes(request.method.as_bytes())
        .map_err(|_| unsendable(format!("`{}` is no HTTP method", request.method)))
}

/// Where `route` lies.
pub(super) fn url(address: &Address, route: &Route) -> Result<Url, Fault> {
    Url::parse(&address.url(route)).map_err(|error| unsendable(format!("path `{}`: {error}", route.path())))
}

fn pool(tls: &ClientConfig) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .connector_layer(watched())
        .user_agent(USER_AGENT)
        .http1_only()
        .tcp_nodelay(true)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .build()
        .map_err(|error| ClientError::Setup(innermost(&error)))
}

/// Until when the next thing has to come, and which limit says so.
pub(super) struct Clock<'a> {
    pub(super) begun: Instant,
    pub(super) limits: &'a Limits,
}

impl Clock<'_> {
    /// Of a connection that is asked for at the beginning.
    pub(super) fn connection(&self) -> (Instant, Duration) {
        let own = (later(self.begun, self.limits.connect), self.limits.connect);
        let headers = self.headers();
        if own.0 < headers.0 { own } else { headers }
    }

    /// Of the headers.
    pub(super) fn headers(&self) -> (Instant, Duration) {
        let total = self.limits.total;
        let limit = self.limits.first_byte.map_or(total, |first| first.min(total));
        (later(self.begun, limit), limit)
    }

    /// Of the next piece of the body, after so long a pause.
    pub(super) fn piece(&self, pause: Duration) -> (Instant, Duration) {
        let end = (later(self.begun, self.limits.total), self.limits.total);
        let idle = self.limits.idle.map(|idle| (later(Instant::now(), idle.saturating_sub(pause)), idle));
        idle.map_or(end, |idle| if idle.0 < end.0 { idle } else { end })
    }
}

/// `start + limit`, or a year from `start` where that is past what a clock can hold.
fn later(start: Instant, limit: Duration) -> Instant {
    start.checked_add(limit).unwrap_or_else(|| start + Duration::from_secs(365 * 24 * 3600))
}

pub(super) fn timeout(phase: Phase, limit: Duration) -> Fault {
    Fault::Timeout { phase, limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

fn fault(phase: Phase, connect_limit_passed: Option<Duration>, error: &reqwest::Error) -> Fault {
    match connect_limit_passed {
        Some(limit) => timeout(Phase::Connect, limit),
        None => Fault::Transport { phase, message: innermost(error) },
    }
}

/// The last error of the chain, in words: what happened, without the layers it came through.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.downcast_ref::<std::io::Error>().map_or_else(|| last.to_string(), words)
}

/// "connection refused" instead of "Connection refused (os error 111)".
pub(super) fn words(error: &std::io::Error) -> String {
    if error.raw_os_error().is_some() && is_named(error.kind()) {
        error.kind().to_string()
    } else {
        error.to_string()
    }
}

fn is_named(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::TimedOut
            | Kind::BrokenPipe
            | Kind::AddrNotAvailable
    )
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn bearer(key: &SecretString) -> Result<HeaderValue, ClientError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).map_err(|_| ClientError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// ring and the system's roots, passed along instead of installed for the whole process. Reading the roots takes
/// milliseconds, so it is left out where nothing is encrypted.
fn tls(trust_the_system: bool) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    if trust_the_system {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(ClientError::Roots(if why.is_empty() {
                "the system has none".into()
            } else {
                why.join("; ")
            }));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Setup(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
