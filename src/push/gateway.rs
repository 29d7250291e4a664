//! A Pushgateway: [`Gateway`] puts a group there, through the client that everything else goes through, and says
//! what to do where it will not have it. Must not know what is told.
//!
//! Pushgateway 的地址与一次 PUT。

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{GroupingKey, JOB};
use crate::client::{Client, End, Limits, Request, Retry, Route};

/// Where figures go. Its credentials are in no text that it gives.
#[derive(Debug)]
pub struct Gateway {
    client: Client,
    shown: String,
    authorization: Option<SecretString>,
}

/// Why a gateway does not have a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It was not reached, or did not answer in time.
    Unreachable {
        /// Where.
        gateway: String,
        /// What happened.
        why: String,
    },
    /// It answered with anything but success.
    Answered {
        /// Where.
        gateway: String,
        /// The status.
        status: u16,
        /// The first line of what it said.
        said: String,
    },
}

impl Gateway {
    /// The gateway at `url`, which may carry a name and a password.
    ///
    /// # Errors
    /// What is wrong with it, without the credentials.
    pub fn parse(url: &SecretString) -> Result<Self, String> {
        let expected = "expected an address such as http://pushgateway:9091";
        let mut url = Url::parse(url.expose_secret().trim())
            .map_err(|error| format!("the Pushgateway's URL cannot be read: {error}; {expected}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(format!("the Pushgateway's URL is no http:// or https:// address; {expected}"));
        }
        let authorization = credentials(&url);
        // Both can only be refused for an address without a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        let shown = url.as_str().trim_end_matches('/').trim_end_matches("/metrics").to_owned();
        // The client knows a server by its `/v1`; a gateway's paths lie beside it, as a server's /metrics does.
        let client = Client::new(&format!("{shown}/v1"), None).map_err(|error| error.to_string())?;
        Ok(Self { client, shown, authorization })
    }

    /// Its address, without credentials.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Replaces the whole group of `key` by `text`. What may pass by itself, a refused connection or a busy gateway,
    /// is tried twice more.
    ///
    /// # Errors
    /// Why the gateway does not have it.
    pub(crate) async fn put(&self, key: &GroupingKey, text: &str, timeout: Duration) -> Result<(), Trouble> {
        let mut request = Request {
            method: "PUT".to_owned(),
            headers: vec![("content-type".to_owned(), "text/plain; version=0.0.4".to_owned())],
            body: Some(text.to_owned().into()),
            ..Request::get(Route::Root(path(key)))
        };
        if let Some(authorization) = &self.authorization {
            request.headers.push(("authorization".to_owned(), authorization.expose_secret().to_owned()));
        }
        let limits = Limits { connect: timeout.min(Limits::default().connect), ..Limits::within(timeout) };
        let cancel = CancellationToken::new();
        let exchange = self.client.exchange(&request, &limits, &Retry::transport_and_busy(), &cancel).await;
        let last = exchange.last();
        match (&last.end, last.status) {
            (End::Complete, Some(200..=299)) => Ok(()),
            (End::Complete, Some(status)) => {
                Err(Trouble::Answered { gateway: self.shown.clone(), status, said: first_line(&last.body()) })
            }
            (End::Complete, None) => Err(self.unreachable("it answered without a status".to_owned())),
            (End::Broken(fault), _) => Err(self.unreachable(fault.to_string())),
        }
    }

    fn unreachable(&self, why: String) -> Trouble {
        Trouble::Unreachable { gateway: self.shown.clone(), why }
    }
}

impl Trouble {
    /// Whether the next unit would fare no better.
    pub(super) fn is_the_gateways(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answered { status, .. } => !matches!(status, 400 | 413),
        }
    }

    /// What happened, without the gateway's address, which may be nobody's business.
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable { why, .. } => why.clone(),
            Self::Answered { status, said, .. } if said.is_empty() => format!("answered {status}"),
            Self::Answered { status, said, .. } => format!("answered {status}: {said}"),
        }
    }

    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "see that the Pushgateway runs and can be reached from here",
            Self::Answered { status: 400, .. } => {
                "the gateway refuses the text itself: where it tells of a type or a label, another team may use the \
                 same metric's name (set metrics.metric_prefix)"
            }
            Self::Answered { status: 401 | 403 | 407, .. } => {
                "give name and password in the URL: http://NAME:PASSWORD@HOST:PORT"
            }
            Self::Answered { status: 404 | 405, .. } => {
                "see that this is the address of a Pushgateway, with the path it is served under and no more"
            }
            Self::Answered { status: 413, .. } => {
                "raise the largest body that the proxy before the gateway takes"
            }
            Self::Answered { .. } => "see the gateway's log",
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { gateway, .. } => write!(f, "{gateway}: {}", self.reason()),
            Self::Answered { gateway, .. } => write!(f, "{gateway} {}", self.reason()),
        }
    }
}

/// `Basic …`, where the URL names somebody.
fn credentials(url: &Url) -> Option<SecretString> {
    let plain = |text: &str| percent_decoded(text);
    let password = url.password().map(plain).unwrap_or_default();
    let named = !url.username().is_empty() || !password.is_empty();
    named.then(|| {
        let pair = [plain(url.username()), b":".to_vec(), password].concat();
        format!("Basic {}", STANDARD.encode(pair)).into()
    })
}

/// Every `%xx` as the byte that it means.
fn percent_decoded(text: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// `/metrics/job/vllm_cibench/instance/HOST/scenario/NAME`.
fn path(key: &GroupingKey) -> String {
    format!("/metrics/job/{JOB}{}{}", part("instance", &key.instance), part("scenario", &key.scenario))
}

/// A label of the path. The gateway takes a value with a slash, or none at all, in base64 only.
fn part(name: &str, value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    match value {
        "" => format!("/{name}@base64/="),
        // A dot segment would be taken out of the path before it is sent.
        _ if !matches!(value, "." | "..") && value.bytes().all(plain) => format!("/{name}/{value}"),
        _ => format!("/{name}@base64/{}", URL_SAFE.encode(value)),
    }
}

fn first_line(body: &[u8]) -> String {
    const LONGEST: usize = 400;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST)]).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Gateway, String> {
        Gateway::parse(&url.into())
    }

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        for url in
            ["http://me:s3cret@gw:9091/", "http://s3cret@gw:9091?token=s3cret", "http://gw:9091/metrics"]
        {
            let gateway = parse(url).unwrap();
            assert_eq!(gateway.shown(), "http://gw:9091");
            assert!(!format!("{gateway:?}").contains("s3cret"));
        }
        assert_eq!(parse("https://gw/push").unwrap().shown(), "https://gw/push");
    }

    #[test]
    fn what_is_no_address_is_refused_without_telling_it() {
        for url in ["gw:9091", "ftp://me:s3cret@gw", "s3cret", "http://"] {
            let said = parse(url).unwrap_err();
            assert!(said.contains("expected an address such as") && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn name_and_password_become_a_header() {
        let header = |url: &str| parse(url).unwrap().authorization.map(|it| it.expose_secret().to_owned());
        assert_eq!(header("http://gw"), None);
        assert_eq!(header("http://u:p%40ss@gw").as_deref(), Some("Basic dTpwQHNz"));
        assert_eq!(header("http://token@gw").as_deref(), Some("Basic dG9rZW46"));
    }

    #[test]
    fn a_value_that_a_path_cannot_carry_goes_in_base64() {
        let key = |scenario: &str| GroupingKey { instance: "lab-1.x".into(), scenario: scenario.into() };
        assert_eq!(path(&key("sim")), "/metrics/job/vllm_cibench/instance/lab-1.x/scenario/sim");
        assert!(path(&key("Qwen/Qwen3")).ends_with("/scenario@base64/UXdlbi9Rd2VuMw=="));
        assert!(path(&key("")).ends_with("/scenario@base64/="));
        assert!(path(&key("..")).ends_with("/scenario@base64/Li4="));
    }
}
