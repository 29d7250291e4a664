//! For tests only: the smallest HTTP/1.1 client that shows what really came over the wire. Must not be kind: it
//! mends nothing.
//!
//! 测试用的最小 HTTP 客户端。

use super::Sim;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What came.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The end of the body was seen as such: the length was reached, or the last chunk came.
    pub(super) whole: bool,
    /// The connection was reset.
    pub(super) reset: bool,
    /// When the status line and each later read came, after the request.
    pub(super) times: Vec<Duration>,
}

impl Seen {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The payloads of the events.
    pub(super) fn events(&self) -> Vec<String> {
        let text = self.text();
        text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// The events that are JSON.
    pub(super) fn chunks(&self) -> Vec<Value> {
        self.events().iter().filter_map(|event| serde_json::from_str(event).ok()).collect()
    }

    /// The deltas of choice 0, put together.
    pub(super) fn said(&self) -> String {
        let chunks = self.chunks();
        let deltas = chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == 0).filter_map(|chunk| {
            let choice = &chunk["choices"][0];
            choice["delta"]["content"].as_str().or(choice["text"].as_str())
        });
        deltas.collect()
    }
}

pub(super) fn get(sim: &Sim, path: &str) -> Seen {
    ask(sim, "GET", path, None)
}

pub(super) fn post(sim: &Sim, path: &str, body: &Value) -> Seen {
    ask(sim, "POST", path, Some(&body.to_string()))
}

pub(super) fn ask(sim: &Sim, method: &str, path: &str, body: Option<&str>) -> Seen {
    ask_with(sim, method, path, body, "")
}

pub(super) fn ask_with(sim: &Sim, method: &str, path: &str, body: Option<&str>, headers: &str) -> Seen {
    let mut stream = TcpStream::connect(sim.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let length = body.map(|b| format!("content-type: application/json\r\ncontent-length: {}\r\n", b.len()));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n{headers}{}\r\n",
        length.unwrap_or_default()
    );
    stream.write_all((head + body.unwrap_or_default()).as_bytes()).expect("it reads");
    let sent = Instant::now();
    let mut raw = Vec::new();
    let mut seen = Seen::default();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                seen.times.push(sent.elapsed());
                raw.extend_from_slice(&buffer[..n]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                seen.reset = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    parse(&raw, &mut seen);
    seen
}

fn parse(raw: &[u8], seen: &mut Seen) {
    let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") else { return };
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.lines();
    seen.status =
        lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("a status");
    seen.headers =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let rest = &raw[end + 4..];
    if seen.header("transfer-encoding") == Some("chunked") {
        (seen.body, seen.whole) = dechunk(rest);
    } else {
        seen.body = rest.to_vec();
        seen.whole = seen.header("content-length").and_then(|n| n.parse().ok()) == Some(rest.len());
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|s| usize::from_str_radix(s, 16).ok());
        let Some(size) = size else { return (body, false) };
        if size == 0 {
            return (body, true);
        }
        let data = &rest[end + 2..];
        body.extend_from_slice(&data[..size.min(data.len())]);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
