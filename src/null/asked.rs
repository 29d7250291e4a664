//! What a request asks for: [`Asked`], read off its bytes without a JSON parser, since this server answers known
//! clients alone. Must not know how it is answered.
//!
//! 极简请求解析。

/// What stands at the beginning of a connection's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// No whole request yet.
    More,
    /// Nothing that this server reads: the connection ends.
    Unreadable,
    /// An answer to generate.
    Generate {
        /// Where.
        endpoint: Endpoint,
        /// The number at the end of its `x-request-id`.
        id: Option<u64>,
        /// `max_tokens` or `max_completion_tokens`.
        tokens: Option<u32>,
        /// How many bytes it had.
        length: usize,
    },
    /// Anything else: its path, and how many bytes it had.
    Other(String, usize),
}

/// An endpoint that generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Chat,
    Completions,
}

/// Longer heads are nobody's.
const LONGEST_HEAD: usize = 64 * 1024;

/// Reads the first request of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Asked {
    let Some(head_end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > LONGEST_HEAD { Asked::Unreadable } else { Asked::More };
    };
    let Ok(head) = std::str::from_utf8(&bytes[..head_end]) else { return Asked::Unreadable };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(_), Some(path)) = (words.next(), words.next()) else { return Asked::Unreadable };
    let (mut body, mut id) = (0_usize, None);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Asked::Unreadable };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let Ok(length) = value.parse() else { return Asked::Unreadable };
            body = length;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Asked::Unreadable;
        } else if name.eq_ignore_ascii_case("x-request-id") {
            id = trailing_number(value);
        }
    }
    let length = head_end + 4 + body;
    let Some(body) = bytes.get(head_end + 4..length) else { return Asked::More };
    let endpoint = match path.split('?').next().unwrap_or_default() {
        "/v1/chat/completions" => Endpoint::Chat,
        "/v1/completions" => Endpoint::Completions,
        other => return Asked::Other(other.to_owned(), length),
    };
    let tokens = number(body, b"\"max_tokens\"").or_else(|| number(body, b"\"max_completion_tokens\""));
    Asked::Generate { endpoint, id, tokens, length }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn trailing_number(text: &str) -> Option<u64> {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    text[text.len() - digits..].parse().ok()
}

/// The number behind `key` and its colon.
fn number(body: &[u8], key: &[u8]) -> Option<u32> {
    let rest = &body[find(body, key)? + key.len()..];
    let rest = std::str::from_utf8(&rest[..rest.len().min(16)]).ok()?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: perf::bench-0017\r\n\
                        Content-Length: 38\r\n\r\n{\"messages\":[], \"max_tokens\" : 100, \"x\":1}";

    #[test]
    fn a_request_is_read_once_it_is_whole_and_the_next_one_stays() {
        let length = CHAT.find("{\"messages").unwrap() + 38;
        for cut in 0..length {
            assert_eq!(read(&CHAT.as_bytes()[..cut]), Asked::More, "{cut}");
        }
        let whole = Asked::Generate { endpoint: Endpoint::Chat, id: Some(17), tokens: Some(100), length };
        assert_eq!(read(CHAT.as_bytes()), whole);
    }

    #[test]
    fn other_names_of_the_same_and_requests_without_them() {
        let asked = |path: &str, body: &str| {
            read(format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())
        };
        let Asked::Generate { endpoint, id, tokens, .. } =
            asked("/v1/completions?x=1", r#"{"max_completion_tokens":7}"#)
        else {
            panic!("it generates")
        };
        assert_eq!((endpoint, id, tokens), (Endpoint::Completions, None, Some(7)));
        assert!(matches!(asked("/v1/completions", "{}"), Asked::Generate { tokens: None, .. }));
        assert!(matches!(asked("/tokenize", "{}"), Asked::Other(path, _) if path == "/tokenize"));
    }

    #[test]
    fn what_is_no_request_is_told_from_one_that_is_not_whole() {
        assert_eq!(read(b"GET"), Asked::More);
        assert_eq!(read(b"nonsense\r\n\r\n"), Asked::Unreadable);
        assert_eq!(read(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), Asked::Unreadable);
        assert_eq!(read(b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"), Asked::Unreadable);
        assert_eq!(read(&[b'x'; LONGEST_HEAD + 1]), Asked::Unreadable);
    }
}
