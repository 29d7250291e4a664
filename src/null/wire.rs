//! The bytes of an answer, made once for all requests that ask for as many tokens: a [`Reply`] of [`Step`]s, in the
//! shape of vLLM 0.32. Must not know when they are sent.
//!
//! 预制的应答字节。

use super::{Pattern, asked::Endpoint};

/// The model that this server says it serves.
pub(super) const MODEL: &str = "null";
/// Tokens that it says a prompt has.
const PROMPT_TOKENS: u32 = 32;

/// The status line and the headers of a stream, sent as soon as the request has been read.
pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nserver: null\r\n\
content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// Texts of tokens, in turn: short and long, with an escape and with characters of several bytes.
const WORDS: [&str; 8] =
    [" the", " server", ",", " answers", "\\n", " caf\u{e9}", " \u{4f60}\u{597d}", " now"];

/// What follows the headers, write by write.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) steps: Vec<Step>,
}

/// One write; two, where it is cut.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) bytes: Vec<u8>,
    /// The second write begins here; nothing where one write takes all.
    pub(super) cut: Option<usize>,
    /// Tokens in it.
    pub(super) tokens: u32,
}

impl Reply {
    /// An answer of `tokens` tokens, at least one.
    pub(super) fn new(endpoint: Endpoint, tokens: u32, pattern: Pattern, padding: u32) -> Self {
        let (tokens, padding) = (tokens.max(1), "x".repeat(padding as usize));
        let mut steps = Vec::new();
        let mut sent = 0;
        while sent < tokens {
            let together = if sent == 0 { 1 } else { pattern.together().min(tokens - sent) };
            let mut events = Vec::new();
            if sent == 0 && endpoint == Endpoint::Chat {
                events.push(role(pattern));
            }
            events.extend(
                (sent + 1..=sent + together).map(|k| token(endpoint, pattern, (k, &padding), k == tokens)),
            );
            sent += together;
            if sent == tokens {
                events.push(closing(endpoint, tokens));
                events.push("data: [DONE]\n\n".to_owned());
            }
            steps.push(Step::new(&events, pattern == Pattern::Split, together, sent == tokens));
        }
        Self { steps }
    }
}

impl Step {
    fn new(events: &[String], split: bool, tokens: u32, last: bool) -> Self {
        let mut bytes = Vec::new();
        let mut cut = None;
        for event in events {
            let event = event.as_bytes();
            if split && cut.is_none() {
                let (head, rest) = event.split_at(event.len() / 2);
                chunk(&mut bytes, head);
                cut = Some(bytes.len());
                chunk(&mut bytes, rest);
            } else {
                chunk(&mut bytes, event);
            }
        }
        if last {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Self { bytes, cut, tokens }
    }
}

/// One chunk of HTTP/1.1.
fn chunk(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    into.extend_from_slice(bytes);
    into.extend_from_slice(b"\r\n");
}

fn event(endpoint: Endpoint, choices: &str, usage: Option<u32>) -> String {
    let (id, object) = match endpoint {
        Endpoint::Chat => ("chatcmpl-0123456789abcdef", "chat.completion.chunk"),
        Endpoint::Completions => ("cmpl-0123456789abcdef", "text_completion"),
    };
    let usage = usage.map_or_else(String::new, |tokens| {
        format!(
            ",\"usage\":{{\"prompt_tokens\":{PROMPT_TOKENS},\"total_tokens\":{},\"completion_tokens\":{tokens},\
             \"completion_tokens_details\":null}}",
            PROMPT_TOKENS + tokens
        )
    });
    format!(
        "data: {{\"id\":\"{id}\",\"object\":\"{object}\",\"created\":1795321041,\"model\":\"{MODEL}\",\
         \"choices\":[{choices}]{usage}}}\n\n"
    )
}

fn running(pattern: Pattern, tokens: u32) -> Option<u32> {
    (pattern != Pattern::Plain).then_some(tokens)
}

fn role(pattern: Pattern) -> String {
    let choice = "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\
                  \"finish_reason\":null}";
    event(Endpoint::Chat, choice, running(pattern, 0))
}

/// The event of the `k`-th token.
fn token(endpoint: Endpoint, pattern: Pattern, (k, padding): (u32, &str), last: bool) -> String {
    let word = WORDS[k as usize % WORDS.len()];
    let finish = if last { "\"length\"" } else { "null" };
    let choice = match endpoint {
        Endpoint::Chat => format!(
            "{{\"index\":0,\"delta\":{{\"content\":\"{word}{padding}\"}},\"logprobs\":null,\"finish_reason\":{finish},\
             \"token_ids\":null}}"
        ),
        Endpoint::Completions => format!(
            "{{\"index\":0,\"text\":\"{word}{padding}\",\"logprobs\":null,\"finish_reason\":{finish},\"stop_reason\":null,\
             \"prompt_token_ids\":null,\"token_ids\":null}}"
        ),
    };
    event(endpoint, &choice, running(pattern, k))
}

fn closing(endpoint: Endpoint, tokens: u32) -> String {
    event(endpoint, "", Some(tokens))
}

/// An answer that is no stream.
pub(super) fn plain(path: &str) -> Vec<u8> {
    let (status, body) = match path {
        "/health" => ("200 OK", String::new()),
        "/v1/models" => (
            "200 OK",
            format!(
                "{{\"object\":\"list\",\"data\":[{{\"id\":\"{MODEL}\",\"object\":\"model\",\"created\":1795321041,\
                 \"owned_by\":\"null\",\"root\":\"{MODEL}\",\"parent\":null,\"max_model_len\":1048576}}]}}"
            ),
        ),
        _ => ("404 Not Found", "{\"detail\":\"Not Found\"}".to_owned()),
    };
    format!(
        "HTTP/1.1 {status}\r\nserver: null\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{SseReader, Stamp};

    const ALL: [Pattern; 4] = [Pattern::Usage, Pattern::Plain, Pattern::Split, Pattern::Coalesced];

    /// The body without its chunk framing.
    fn body(reply: &Reply) -> Vec<u8> {
        let wire: Vec<u8> = reply.steps.iter().flat_map(|step| step.bytes.clone()).collect();
        let (mut rest, mut body) = (wire.as_slice(), Vec::new());
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            let data = &rest[end + 2..];
            assert_eq!(&data[length..length + 2], b"\r\n");
            if length == 0 {
                assert_eq!(data.len(), 2);
                return body;
            }
            body.extend_from_slice(&data[..length]);
            rest = &data[length + 2..];
        }
    }

    #[test]
    fn every_pattern_is_the_same_answer_once_it_is_put_together() {
        for endpoint in [Endpoint::Chat, Endpoint::Completions] {
            for pattern in ALL {
                let reply = Reply::new(endpoint, 10, pattern, 0);
                let mut reader = SseReader::new();
                let events = reader.push(Stamp(0), &body(&reply));
                let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
                let (last, chunks) = data.split_last().unwrap();
                assert_eq!(*last, "[DONE]");
                let chunks: Vec<serde_json::Value> =
                    chunks.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
                let roles = usize::from(endpoint == Endpoint::Chat);
                assert_eq!(chunks.len(), roles + 10 + 1);
                assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 10);
                assert_eq!(chunks[roles + 9]["choices"][0]["finish_reason"], "length");
                let running = &chunks[roles + 4]["usage"]["completion_tokens"];
                assert_eq!(
                    *running,
                    if pattern == Pattern::Plain { serde_json::Value::Null } else { 5.into() }
                );
                assert_eq!(reply.steps.iter().map(|step| step.tokens).sum::<u32>(), 10);
            }
        }
    }

    #[test]
    fn a_pattern_is_what_its_name_says() {
        let steps = |pattern| Reply::new(Endpoint::Chat, 10, pattern, 0).steps;
        let tokens = |pattern| steps(pattern).iter().map(|step| step.tokens).collect::<Vec<_>>();
        assert_eq!(tokens(Pattern::Usage), [1; 10]);
        assert_eq!(tokens(Pattern::Coalesced), [1, 4, 4, 1]);
        assert!(steps(Pattern::Usage).iter().all(|step| step.cut.is_none()));
        for step in steps(Pattern::Split) {
            let cut = step.cut.unwrap();
            let (first, second) = step.bytes.split_at(cut);
            assert!(first.windows(5).any(|w| w == b"data:") && !first.windows(2).any(|w| w == b"\n\n"));
            assert!(second.windows(2).any(|w| w == b"\n\n"));
        }
    }

    #[test]
    fn an_event_has_the_length_of_a_real_one() {
        let length = |padding| Reply::new(Endpoint::Chat, 100, Pattern::Usage, padding).steps[50].bytes.len();
        assert!((280..400).contains(&length(0)), "{}", length(0));
        assert_eq!(length(1000), length(0) + 1000);
    }
}
