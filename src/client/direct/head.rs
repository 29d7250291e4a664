//! The head of an answer: [`read`] finds where it ends, and what it says of the body and of the connection. Must not
//! know what the headers mean beyond that.
//!
//! 响应头解析与正文定界方式。

use super::body::Body;

/// As many as the other transport takes.
const MOST_HEADERS: usize = 100;
/// How much of something unexpected is shown.
const SHOWN: usize = 120;

/// What a head says.
pub(super) struct Head {
    pub(super) status: u16,
    /// Names in lower case, in order.
    pub(super) headers: Vec<(String, String)>,
    /// What follows.
    pub(super) body: Body,
    /// Whether the server keeps the connection.
    pub(super) keeps: bool,
}

/// The head at the beginning of `bytes` and its length; nothing where it goes on.
///
/// # Errors
/// What was expected and what was found, where it can be none.
pub(super) fn read(bytes: &[u8], head_only: bool) -> Result<Option<(usize, Head)>, String> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut lines);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(told(error, bytes)),
    };
    let headers = Headers(response.headers);
    let status = response.code.unwrap_or_default();
    let (old, chunked) = (response.version == Some(0), headers.chunked());
    let body = match headers.length()? {
        _ if head_only || matches!(status, 100..200 | 204 | 304) => Body::length(0),
        _ if chunked && !old => Body::chunked(),
        Some(length) if !headers.has("transfer-encoding") => Body::length(length),
        _ => Body::until_close(),
    };
    let keeps = if old { headers.connection("keep-alive") } else { !headers.connection("close") };
    Ok(Some((length, Head { status, headers: headers.owned(), body, keeps })))
}

struct Headers<'h, 'b>(&'h [httparse::Header<'b>]);

impl Headers<'_, '_> {
    fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = String> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    }

    fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    fn connection(&self, word: &str) -> bool {
        self.values("connection").any(|value| value.split(',').any(|said| said.trim() == word))
    }

    /// Whether the last encoding is the one in chunks: it beats every length.
    fn chunked(&self) -> bool {
        let last = self.values("transfer-encoding").next_back();
        last.is_some_and(|value| {
            value.rsplit(',').next().is_some_and(|encoding| encoding.trim() == "chunked")
        })
    }

    /// The length, where one is told.
    fn length(&self) -> Result<Option<u64>, String> {
        let mut lengths = self.values("content-length");
        let Some(first) = lengths.next() else { return Ok(None) };
        if let Some(other) = lengths.find(|other| *other != first) {
            return Err(format!("the answer has two lengths: content-length `{first}` and `{other}`"));
        }
        // No sign, which `parse` would take.
        match first.parse() {
            Ok(length) if first.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(length)),
            _ => Err(format!("expected a number as content-length, found `{}`", shown(first.as_bytes()))),
        }
    }

    fn owned(&self) -> Vec<(String, String)> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        self.0.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect()
    }
}

/// What is wrong with `bytes`, with the place that is.
fn told(error: httparse::Error, bytes: &[u8]) -> String {
    use httparse::Error;
    let line = match error {
        Error::TooManyHeaders => return format!("the answer has more than {MOST_HEADERS} headers"),
        Error::HeaderName | Error::HeaderValue => wrong_line(bytes),
        _ => None,
    };
    match line {
        Some(line) => format!("expected a header line, found {} ({error})", excerpt(line)),
        None => format!("expected an HTTP/1.1 answer, found {} ({error})", excerpt(bytes)),
    }
}

/// The first line behind the status line that is no header.
fn wrong_line(bytes: &[u8]) -> Option<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').skip(1);
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).find(|line| {
        let alone = [line, b"\r\n\r\n".as_slice()].concat();
        httparse::parse_headers(&alone, &mut [httparse::EMPTY_HEADER; 1]).is_err()
    })
}

/// The first bytes of something unexpected, quoted.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{}\"{more}", shown(bytes))
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string()
}
