//! One answer, read by read: an [`Answer`] takes bytes as they come and hands on what they hold. Pure: no clock, no
//! network. Must not know where the bytes come from.
//!
//! 响应状态机：头、正文与结束。

use super::{
    body::Body,
    head::{self, Head},
};
use crate::client::{Event, Fault, Phase, Stamp};

/// The longest head of an answer.
const LONGEST_HEAD: usize = 256 << 10;

/// An answer as far as it has come.
pub(super) struct Answer {
    head_only: bool,
    /// A head that has not ended yet.
    begun: Vec<u8>,
    /// What follows the head, once that is there.
    body: Option<Body>,
    keeps: bool,
}

impl Answer {
    /// Nothing yet; `head_only` says that the question was a HEAD.
    pub(super) fn to(head_only: bool) -> Self {
        Self { head_only, begun: Vec::new(), body: None, keeps: false }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.body.is_some() { Phase::Body } else { Phase::Headers }
    }

    /// Whether the connection can carry another request once the answer is over.
    pub(super) fn may_go_on(&self) -> bool {
        self.keeps && self.body.as_ref().is_some_and(|body| body.is_over() && body.has_an_end())
    }

    /// Takes the next read; says whether the answer is over.
    pub(super) fn take(
        &mut self,
        at: Stamp,
        bytes: &[u8],
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<bool, Fault> {
        let mut rest = bytes;
        while self.body.is_none() {
            match self.head(rest)? {
                None => return Ok(false),
                Some((used, head)) => {
                    rest = &rest[used..];
                    self.begin(at, head, on)?;
                }
            }
        }
        let Some(body) = &mut self.body else { return Ok(false) };
        let used = body
            .take(rest, &mut |piece| on(Event::Bytes(at, piece)))
            .map_err(|message| Fault::Transport { phase: Phase::Body, message })?;
        // What nobody asked for makes the connection useless for another request.
        self.keeps &= used == rest.len();
        Ok(body.is_over())
    }

    /// The server has closed the connection, on which so many requests had been answered before.
    pub(super) fn closed(&self, served: u64) -> Result<(), Fault> {
        let (phase, message) = match &self.body {
            Some(body) if !body.has_an_end() => return Ok(()),
            Some(body) => {
                (Phase::Body, format!("the server closed the connection before {}", body.missing()))
            }
            None if self.begun.is_empty() && served > 0 => (
                Phase::Headers,
                format!(
                    "the server closed the connection instead of answering; {served} requests had been answered on it"
                ),
            ),
            None if self.begun.is_empty() => {
                (Phase::Headers, "the server closed the connection instead of answering".to_owned())
            }
            None => (
                Phase::Headers,
                format!("the server closed the connection after {} bytes of a head", self.begun.len()),
            ),
        };
        Err(Fault::Transport { phase, message })
    }

    /// The head, where `bytes` complete it, and how many of them it takes.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<(usize, Head)>, Fault> {
        let broken = |message: String| Fault::Transport { phase: Phase::Headers, message };
        let before = self.begun.len();
        let found = if before == 0 {
            head::read(bytes, self.head_only)
        } else {
            self.begun.extend_from_slice(bytes);
            // A head ends with a line: without one it is not read again.
            if !bytes.contains(&b'\n') {
                return self.bounded(broken).map(|()| None);
            }
            head::read(&self.begun, self.head_only)
        };
        match found.map_err(broken)? {
            Some((length, head)) => {
                self.begun.clear();
                Ok(Some((length - before, head)))
            }
            None => {
                if before == 0 {
                    self.begun.extend_from_slice(bytes);
                }
                self.bounded(broken).map(|()| None)
            }
        }
    }

    fn bounded(&self, broken: impl Fn(String) -> Fault) -> Result<(), Fault> {
        if self.begun.len() <= LONGEST_HEAD {
            return Ok(());
        }
        let begin = head::excerpt(&self.begun);
        Err(broken(format!(
            "the head of the answer is longer than {LONGEST_HEAD} bytes; it begins with {begin}"
        )))
    }

    fn begin(&mut self, at: Stamp, head: Head, on: &mut (dyn FnMut(Event<'_>) + Send)) -> Result<(), Fault> {
        match head.status {
            101 => {
                let message = "the server switched protocols (status 101), which nobody asked for".to_owned();
                return Err(Fault::Transport { phase: Phase::Headers, message });
            }
            // Told on the way; the answer follows.
            100..200 => return Ok(()),
            status => on(Event::Headers { at, status, headers: head.headers }),
        }
        self.keeps = head.keeps;
        self.body = Some(head.body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an answer says, read by read; the n-th read has the stamp n, and is not told.
    #[derive(Debug, Default, PartialEq)]
    struct Told {
        status: Option<u16>,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        over: bool,
        goes_on: bool,
        fault: Option<Fault>,
    }

    fn told<'a>(reads: impl IntoIterator<Item = &'a [u8]>, closes: bool) -> Told {
        let mut told = Told::default();
        let mut answer = Answer::to(false);
        for read in reads.into_iter().filter(|read| !read.is_empty()) {
            if told.over {
                told.goes_on = false;
                return told;
            }
            let taken = answer.take(Stamp(0), read, &mut |event| match event {
                Event::Headers { status, headers, .. } => {
                    (told.status, told.headers) = (Some(status), headers)
                }
                Event::Bytes(_, bytes) => told.body.extend_from_slice(bytes),
                Event::Connected(_) | Event::Sent(_) | Event::End(..) => {
                    unreachable!("not told by an answer")
                }
            });
            match taken {
                Ok(over) => told.over = over,
                Err(fault) => {
                    told.fault = Some(fault);
                    return told;
                }
            }
            told.goes_on = told.over && answer.may_go_on();
        }
        if closes && !told.over {
            match answer.closed(0) {
                Ok(()) => told.over = true,
                Err(fault) => told.fault = Some(fault),
            }
        }
        told
    }

    fn whole(text: &str) -> Told {
        told([text.as_bytes()], true)
    }

    fn message(text: &str) -> String {
        whole(text).fault.expect("a fault").to_string()
    }

    const CHUNKED: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;name=\"a\"\r\ndata:\r\nA \r\n {\"a\": 1}\n\r\n1\r\n\n\r\n0;last\r\nx-sum: 1\r\nx-more: 2\r\n\r\n";

    #[test]
    fn every_way_to_end_a_body_ends_it() {
        let chunked = whole(CHUNKED);
        assert_eq!(
            (chunked.status, chunked.body.as_slice()),
            (Some(200), b"data: {\"a\": 1}\n\n".as_slice())
        );
        assert_eq!(chunked.headers[0], ("content-type".to_owned(), "text/event-stream".to_owned()));
        assert!(chunked.over && chunked.goes_on);

        let length = whole("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy");
        assert_eq!(
            (length.status, length.body.as_slice(), length.goes_on),
            (Some(503), b"busy".as_slice(), true)
        );

        let closed = whole("HTTP/1.1 200 OK\r\n\r\nall of it");
        assert_eq!(
            (closed.body.as_slice(), closed.over, closed.goes_on),
            (b"all of it".as_slice(), true, false)
        );

        for head in ["204 No Content", "304 Not Modified"] {
            let none = whole(&format!("HTTP/1.1 {head}\r\ncontent-length: 7\r\n\r\n"));
            assert!(none.over && none.goes_on && none.body.is_empty(), "{head}");
        }
        let mut head_only = Answer::to(true);
        assert!(
            head_only.take(Stamp(0), b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", &mut |_| {}).unwrap()
        );
    }

    #[test]
    fn a_connection_goes_on_only_where_both_sides_know_that() {
        let goes_on = |head: &str| whole(&format!("{head}\r\ncontent-length: 0\r\n\r\n")).goes_on;
        assert!(goes_on("HTTP/1.1 200 OK"));
        assert!(!goes_on("HTTP/1.1 200 OK\r\nConnection: keep-alive, Close"));
        assert!(!goes_on("HTTP/1.0 200 OK"));
        assert!(goes_on("HTTP/1.0 200 OK\r\nconnection: Keep-Alive"));
        assert!(!whole("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab").goes_on, "more than was told");
    }

    #[test]
    fn what_is_no_http_is_told_with_what_was_found() {
        for (text, expected) in [
            (
                "SSH-2.0-OpenSSH_9.9\r\n\r\n",
                "while waiting for the headers: expected an HTTP/1.1 answer, found \"SSH-2.0-OpenSSH_9.9\\r\\n\\r\\n\" \
                 (invalid HTTP version)",
            ),
            (
                "HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n",
                "while waiting for the headers: expected a header line, found \"x y: 1\" (invalid header name)",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
                "while waiting for the headers: expected a number as content-length, found `ten`",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
                "while waiting for the headers: the answer has two lengths: content-length `1` and `2`",
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
                "while waiting for the headers: the server switched protocols (status 101), which nobody asked for",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
                "while reading the body: expected the size of a chunk in hexadecimal digits, found `x`",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
                "while reading the body: expected the line end after a chunk, found `b`",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
                "while reading the body: the size of a chunk has more than 16 digits",
            ),
        ] {
            assert_eq!(message(text), expected);
        }
        let huge = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(LONGEST_HEAD));
        let said = message(&huge);
        assert!(
            said.contains("is longer than 262144 bytes; it begins with \"HTTP/1.1 200 OK\\r\\nx: yyy"),
            "{said}"
        );
        let many: String = (0..101).map(|n| format!("x{n}: 1\r\n")).collect();
        let said = message(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"));
        assert!(said.ends_with("more than 100 headers"), "{said}");
        let endless =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: {}", "y".repeat(20_000));
        assert!(message(&endless).ends_with("are longer than 16384 bytes"), "{}", message(&endless));
    }

    #[test]
    fn a_connection_that_ends_too_early_is_told_with_what_is_missing() {
        for (text, expected) in [
            ("", "while waiting for the headers: the server closed the connection instead of answering"),
            (
                "HTTP/1.1 2",
                "while waiting for the headers: the server closed the connection after 10 bytes of a head",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234",
                "while reading the body: the server closed the connection before 5 more bytes of the body came",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\nhalf",
                "while reading the body: the server closed the connection before the last chunk came",
            ),
        ] {
            assert_eq!(message(text), expected);
        }
        let reused = Answer::to(false).closed(3).unwrap_err().to_string();
        assert!(reused.ends_with("instead of answering; 3 requests had been answered on it"), "{reused}");
    }

    #[test]
    fn wherever_an_answer_is_cut_in_two_it_says_the_same() {
        for text in [
            CHUNKED,
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\nx: bare line feeds\n\nuntil close",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcdX",
        ] {
            let at_once = whole(text);
            for at in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(at);
                assert_eq!(told([head, tail], true), at_once, "cut at byte {at} of {text:?}");
            }
            let bytewise = text.as_bytes().chunks(1);
            assert_eq!(told(bytewise, true), at_once, "byte by byte: {text:?}");
        }
    }

    proptest! {
        #[test]
        fn however_chunks_and_reads_are_cut_the_body_is_what_was_sent(
            body in prop::collection::vec(any::<u8>(), 0..300),
            sizes in prop::collection::vec(1usize..40, 1..20),
            read in 1usize..50,
        ) {
            let mut sent = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            let (mut rest, mut sizes) = (body.as_slice(), sizes.iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                sent.extend(format!("{:X}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"));
                rest = more;
            }
            sent.extend(*b"0\r\n\r\n");
            let told = told(sent.chunks(read), false);
            prop_assert!(told.over && told.goes_on && told.fault.is_none(), "{:?}", told.fault);
            prop_assert_eq!(told.body, body);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), read in 1usize..20) {
            let begin = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice();
            told(bytes.chunks(read), true);
            told([begin, &bytes], true);
        }
    }
}
