//! Both transports against the same servers, which do exactly what a script says, byte by byte; and over the
//! [`recordings`]. What they tell, and the record that follows from it, must be the same.
//!
//! 两种传输层的一致性测试。

mod recordings;

use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    client::{
        Connection, End, Event, Fault, Listener, Phase, Route,
        testing::{self, STREAM, Server, Step, answer, chunk, nobody, write},
    },
    perf::{
        record::{self, Outcome, Record},
        timeline::{Slot, Timeline},
    },
};

/// What a transport told of one request.
#[derive(Debug)]
struct Told {
    connection: Option<Connection>,
    sent: bool,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
    record: Record,
    took: Duration,
}

fn ask() -> Request {
    Request::post(Route::Api("/chat/completions".into()), r#"{"n":1}"#)
}

fn short() -> Limits {
    let second = Duration::from_secs(5);
    Limits { connect: second, first_byte: None, idle: None, total: second }
}

fn within(ms: u64) -> Limits {
    Limits { total: Duration::from_millis(ms), ..short() }
}

async fn perform<T: Transport>(transport: &T, request: &Request, limits: &Limits) -> Told {
    perform_until(transport, request, limits, &CancellationToken::new(), usize::MAX).await
}

/// Cancels after so many pieces of the body.
async fn perform_until<T: Transport>(
    transport: &T,
    request: &Request,
    limits: &Limits,
    cancel: &CancellationToken,
    enough: usize,
) -> Told {
    let outgoing = transport.prepare(request.clone());
    let begun = Instant::now();
    let started = Stamp::now();
    let ear = Ear {
        timeline: Timeline::new(Slot {
            index: 0,
            warmup: false,
            epoch: 0,
            worker: 0,
            conversation: None,
            in_flight: 1,
            scheduled: started,
            admitted: started,
            started,
        }),
        cancel: cancel.clone(),
        enough,
        last: started,
        connection: None,
        sent: false,
        status: None,
        headers: Vec::new(),
        body: Vec::new(),
        pieces: 0,
        end: None,
    };
    let ear = tokio::select! {
        biased;
        why = transport.run() => panic!("{why}"),
        ear = transport.perform(&outgoing, limits, cancel, ear) => ear,
    };
    Told {
        connection: ear.connection,
        sent: ear.sent,
        status: ear.status,
        headers: ear.headers,
        body: ear.body,
        end: ear.end.expect("an end"),
        record: ear.timeline.finish(),
        took: begun.elapsed(),
    }
}

/// Hears what a transport tells of one request.
struct Ear {
    timeline: Timeline,
    cancel: CancellationToken,
    enough: usize,
    last: Stamp,
    connection: Option<Connection>,
    sent: bool,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    pieces: usize,
    end: Option<End>,
}

impl Listener for Ear {
    fn hear(&mut self, event: Event<'_>) {
        self.timeline.on(&event);
        assert!(self.end.is_none(), "the end comes last, and once");
        let at = match event {
            Event::Connected(from) => {
                self.connection = Some(from);
                return;
            }
            Event::Sent(at) => {
                self.sent = true;
                at
            }
            Event::Headers { at, status, headers } => {
                (self.status, self.headers) = (Some(status), headers);
                at
            }
            Event::Bytes(at, bytes) => {
                assert!(!bytes.is_empty() && self.status.is_some());
                self.body.extend_from_slice(bytes);
                self.pieces += 1;
                if self.pieces == self.enough {
                    self.cancel.cancel();
                }
                at
            }
            Event::End(at, told) => {
                self.end = Some(told);
                at
            }
        };
        assert!(self.last <= at, "time goes forward");
        self.last = at;
    }
}

fn general(base_url: &str) -> Client {
    Client::new(base_url, Some(SecretString::from("k3y".to_owned()))).unwrap()
}

fn direct(base_url: &str) -> Direct {
    Direct::of(&general(base_url)).expect("plain HTTP is for the direct one")
}

/// The same script for each of the two, and what each told: the direct one first.
async fn both(script: Vec<Step>, limits: &Limits) -> [Told; 2] {
    let [one, other] = [Server::start(vec![script.clone()]).await, Server::start(vec![script]).await];
    [
        perform(&direct(&one.base_url), &ask(), limits).await,
        perform(&general(&other.base_url), &ask(), limits).await,
    ]
}

/// Everything but times, and words of a fault: each transport has its own.
fn same([direct, general]: &[Told; 2]) {
    assert_eq!((direct.status, &direct.headers), (general.status, &general.headers));
    assert_eq!(String::from_utf8_lossy(&direct.body), String::from_utf8_lossy(&general.body));
    assert_eq!(wordless(&direct.end), wordless(&general.end));
    assert_eq!(timeless(&direct.record), timeless(&general.record));
    assert_eq!(direct.connection.map(kind), general.connection.map(kind));
}

fn kind(connection: Connection) -> record::Connection {
    record::Connection::told(connection).0
}

fn wordless(end: &End) -> End {
    match end {
        End::Broken(Fault::Transport { phase, .. }) => {
            End::Broken(Fault::Transport { phase: *phase, message: String::new() })
        }
        other => other.clone(),
    }
}

fn timeless(record: &Record) -> Record {
    let zero = Stamp(0);
    let none = |stamp: Option<Stamp>| stamp.map(|_| zero);
    Record {
        scheduled: zero,
        admitted: zero,
        started: zero,
        connect_ns: record.connect_ns.map(|_| 0),
        sent: None,
        headers: none(record.headers),
        first_event: none(record.first_event),
        first_token: none(record.first_token),
        first_answer: none(record.first_answer),
        last_token: none(record.last_token),
        finish: none(record.finish),
        done: none(record.done),
        ended: zero,
        events: record.events.iter().map(|event| record::TokenEvent { at: zero, ..*event }).collect(),
        outcome: match &record.outcome {
            Outcome::Transport { .. } => Outcome::Transport { message: String::new() },
            other => other.clone(),
        },
        ..record.clone()
    }
}

fn broken(phase: Phase) -> End {
    End::Broken(Fault::Transport { phase, message: String::new() })
}

fn timed_out(phase: Phase, limit_ms: u64) -> End {
    End::Broken(Fault::Timeout { phase, limit_ms })
}

fn token(text: &str) -> String {
    format!(
        "data: {{\"id\":\"x\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A whole answer in chunks, with all that HTTP allows round them.
fn whole() -> String {
    let head = STREAM.replace("\r\n\r\n", "\r\nX-Thing: a\r\nx-thing: b\r\n\r\n");
    let chunks =
        [token("世"), token("界")[..9].to_owned(), token("界")[9..].to_owned(), FINISH.to_owned() + DONE];
    let chunks: String =
        chunks.iter().map(|text| format!("{:X};ext=\"1\"\r\n{text}\r\n", text.len())).collect();
    format!("HTTP/1.1 100 Continue\r\n\r\n{head}{chunks}0\r\nx-trailer: 1\r\n\r\n")
}

#[tokio::test]
async fn the_answer_is_the_same_wherever_the_network_cuts_it() {
    let text = whole();
    // At once, byte by byte, and in two pieces, each read by itself.
    let cuts = [vec![], (1..text.len()).collect()];
    for cuts in cuts.into_iter().chain((1..text.len()).step_by(7).map(|at| vec![at])) {
        let few = cuts.len() == 1;
        let mut script = vec![Step::Read];
        let mut rest = text.as_bytes();
        for at in cuts {
            let (piece, more) = rest.split_at(at - (text.len() - rest.len()));
            script.push(Step::Write(piece.to_vec()));
            script.extend(few.then_some(Step::Wait(2)));
            rest = more;
        }
        script.extend([Step::Write(rest.to_vec()), Step::Stall]);
        let told = both(script, &short()).await;
        same(&told);
        assert_eq!(told[0].end, End::Complete);
        assert_eq!((&told[0].record.outcome, told[0].record.output_tokens), (&Outcome::Ok, 2));
        assert!(told[0].sent && told[0].headers.contains(&("x-thing".to_owned(), "b".to_owned())));
    }
}

/// One request, one answer, as each transport tells it: the script, the limits, and how it ends.
#[tokio::test]
async fn every_way_an_answer_can_go_is_told_the_same_way() {
    let read = |steps: Vec<Step>| [vec![Step::Read], steps].concat();
    let idle = Limits { idle: Some(Duration::from_millis(60)), ..short() };
    let first = Limits { first_byte: Some(Duration::from_millis(60)), ..short() };
    let until_close =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{}{FINISH}{DONE}", token("a"));
    let reset = vec![write(STREAM), chunk(&token("a")), Step::Wait(30), Step::Reset];
    let error = "data: {\"error\":{\"message\":\"boom\"}}\n\n";
    let cases = [
        (
            "content-length",
            read(vec![write(answer("200 OK", "", "{}"))]),
            short(),
            End::Complete,
            "malformed",
        ),
        ("until close", read(vec![write(until_close)]), short(), End::Complete, "ok"),
        (
            "no body",
            read(vec![write("HTTP/1.1 204 No Content\r\n\r\n"), Step::Stall]),
            short(),
            End::Complete,
            "malformed",
        ),
        (
            "an error with a body",
            read(vec![write(answer("503 Busy", "", r#"{"error":{"message":"busy"}}"#))]),
            short(),
            End::Complete,
            "status",
        ),
        (
            "a redirect",
            read(vec![write(answer("307 T", "location: /x\r\n", ""))]),
            short(),
            End::Complete,
            "status",
        ),
        (
            "an error inside the stream",
            read(vec![write(STREAM), chunk(&token("a")), chunk(error), write("0\r\n\r\n")]),
            short(),
            End::Complete,
            "stream_error",
        ),
        ("reset before the head", read(vec![Step::Reset]), short(), broken(Phase::Headers), "transport"),
        ("closed before the head", read(vec![]), short(), broken(Phase::Headers), "transport"),
        (
            "closed in the head",
            read(vec![write("HTTP/1.1 200 OK\r\nx: ")]),
            short(),
            broken(Phase::Headers),
            "transport",
        ),
        ("reset in the stream", read(reset), short(), broken(Phase::Body), "transport"),
        (
            "cut in a chunk",
            read(vec![write(STREAM), write("20\r\nhalf")]),
            short(),
            broken(Phase::Body),
            "transport",
        ),
        (
            "cut between chunks",
            read(vec![write(STREAM), chunk(&token("a"))]),
            short(),
            broken(Phase::Body),
            "transport",
        ),
        (
            "cut before its length",
            read(vec![write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234")]),
            short(),
            broken(Phase::Body),
            "transport",
        ),
        (
            "no HTTP",
            read(vec![write("SSH-2.0-OpenSSH_9.9\r\n\r\n")]),
            short(),
            broken(Phase::Headers),
            "transport",
        ),
        ("no chunk", read(vec![write(STREAM), write("xyz\r\n")]), short(), broken(Phase::Body), "transport"),
        ("says nothing", read(vec![Step::Stall]), first, timed_out(Phase::Headers, 60), "timeout"),
        (
            "a head that never ends",
            read(vec![write("HTTP/1.1 200 OK\r\nx: "), Step::Stall]),
            within(60),
            timed_out(Phase::Headers, 60),
            "timeout",
        ),
        (
            "a slow head",
            read(vec![
                write("HTTP/1.1 200 OK\r\n"),
                Step::Wait(40),
                write("content-length: 0\r\n\r\n"),
                Step::Stall,
            ]),
            short(),
            End::Complete,
            "malformed",
        ),
        (
            "a pause in the body",
            read(vec![write(STREAM), chunk(&token("a")), Step::Stall]),
            idle,
            timed_out(Phase::Body, 60),
            "timeout",
        ),
        (
            "a stream that never ends",
            read([vec![write(STREAM)], vec![vec![chunk(": ping\n"), Step::Wait(20)]; 100].concat()].concat()),
            Limits { idle: Some(Duration::from_secs(1)), ..within(200) },
            timed_out(Phase::Body, 200),
            "timeout",
        ),
    ];
    for (name, script, limits, end, outcome) in cases {
        let told = both(script, &limits).await;
        assert_eq!((wordless(&told[0].end), told[0].record.outcome.name()), (end, outcome), "{name}");
        // How much of a stream without an end comes until then is chance.
        if name != "a stream that never ends" {
            same(&told);
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_the_same_way() {
    let base_url = nobody().await;
    let told = [
        perform(&direct(&base_url), &ask(), &short()).await,
        perform(&general(&base_url), &ask(), &short()).await,
    ];
    same(&told);
    let refused = Fault::Transport { phase: Phase::Connect, message: "connection refused".into() };
    assert_eq!(told.map(|told| told.end), [End::Broken(refused.clone()), End::Broken(refused)]);
    let (base_url, _full) = testing::full().await;
    for (limits, ms) in [(Limits { connect: Duration::from_millis(60), ..short() }, 60), (within(40), 40)] {
        let told = [
            perform(&direct(&base_url), &ask(), &limits).await,
            perform(&general(&base_url), &ask(), &limits).await,
        ];
        same(&told);
        assert_eq!(told[0].end, timed_out(Phase::Connect, ms));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_the_same_way() {
    let base_url = nobody().await;
    let request = Request { headers: vec![("x".into(), "s3cret\n".into())], ..ask() };
    let told = [
        perform(&direct(&base_url), &request, &short()).await,
        perform(&general(&base_url), &request, &short()).await,
    ];
    same(&told);
    let message = "header `x` holds a character that HTTP cannot carry".to_owned();
    assert_eq!(told[0].end, End::Broken(Fault::Unsendable { message }));
}

/// What goes out, header by header.
#[tokio::test]
async fn the_same_request_goes_out() {
    let with = |headers: &[(&str, &str)]| Request {
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..ask()
    };
    for request in [
        ask(),
        with(&[("x-request-id", "perf::a-1"), ("X-Twice", "1"), ("x-twice", "2")]),
        with(&[("authorization", "Bearer other"), ("Content-Type", "text/x"), ("user-agent", "me")]),
        with(&[("authorization", ""), ("host", "elsewhere")]),
        with(&[("transfer-encoding", "chunked")]),
        Request::get(Route::Root("/health?deep=1 2".into())),
    ] {
        let [one, other] = [(); 2].map(|()| Server::answering("HTTP/1.1 204 No Content\r\n\r\n"));
        let [one, other] = [one.await, other.await];
        perform(&direct(&one.base_url), &request, &short()).await;
        perform(&general(&other.base_url), &request, &short()).await;
        let parts = |server: &Server| {
            let sent =
                server.requests().remove(0).replace(server.base_url.trim_start_matches("http://"), "HOST/v1");
            let port = server.base_url.rsplit(':').next().unwrap().trim_end_matches("/v1").to_owned();
            let sent = sent.replace(&port, "PORT");
            let (head, body) =
                sent.split_once("\r\n\r\n").map(|(h, b)| (h.to_owned(), b.to_owned())).unwrap();
            let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
            lines[1..].sort();
            (lines, body)
        };
        let (one, other) = (parts(&one), parts(&other));
        assert_eq!(one.0, other.0);
        // A reader of chunks may not have seen them all yet.
        assert!(one.1.starts_with(&other.1) || other.1.starts_with(&one.1), "{one:?} {other:?}");
    }
}

async fn serves_again<T: Transport>(make: impl Fn(&str) -> T) {
    let twice = vec![
        Step::Read,
        write(answer("200 OK", "", "{}")),
        Step::Read,
        write(STREAM),
        chunk(&(token("a") + FINISH + DONE)),
        write("0\r\n\r\n"),
        Step::Stall,
    ];
    let server = Server::start(vec![twice]).await;
    let transport = make(&server.base_url);
    let told = [perform(&transport, &ask(), &short()).await, perform(&transport, &ask(), &short()).await];
    assert_eq!(told.each_ref().map(|told| &told.end), [&End::Complete; 2]);
    let kinds = told.map(|told| told.connection.map(kind));
    assert_eq!(kinds, [Some(record::Connection::Opened), Some(record::Connection::Reused)], "{}", T::NAME);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    serves_again(direct).await;
    serves_again(general).await;
}

#[tokio::test]
async fn a_connection_opened_ahead_is_used_and_one_that_was_closed_meanwhile_is_replaced() {
    let (ok, wait) = (write(answer("200 OK", "", "{}")), Step::Wait(60));
    let server =
        Server::start(vec![vec![Step::Read, ok.clone(), wait.clone()], vec![Step::Read, ok, Step::Stall]])
            .await;
    let transport = direct(&server.base_url);
    transport.connect(&short(), &CancellationToken::new()).await;
    let ahead = perform(&transport, &ask(), &short()).await;
    assert_eq!((ahead.connection, ahead.record.connect_ns), (Some(Connection::Reused), None));
    // The server goes away while nobody asks.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let replaced = perform(&transport, &ask(), &short()).await;
    assert_eq!(replaced.end, End::Complete);
    assert_eq!(replaced.record.connection, Some(record::Connection::Replaced));
    assert!(replaced.record.connect_ns.is_some_and(|ns| ns > 0));
    assert_eq!(server.requests().len(), 2, "nothing was sent twice");
}

#[tokio::test]
async fn a_connection_that_dies_under_a_request_is_told_and_the_request_not_sent_again() {
    let script = vec![Step::Read, write(answer("200 OK", "", "{}")), Step::Read];
    let server = Server::start(vec![script, vec![Step::Read, Step::Stall]]).await;
    let transport = direct(&server.base_url);
    perform(&transport, &ask(), &short()).await;
    let lost = perform(&transport, &ask(), &short()).await;
    let End::Broken(fault) = lost.end else { panic!("{:?}", lost.end) };
    assert_eq!(
        fault.to_string(),
        "while waiting for the headers: the server closed the connection instead of answering; 1 requests had been \
         answered on it"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_gone_out_is_told() {
    let script = vec![write(answer("413 Too Large", "connection: close\r\n", "too large")), Step::Wait(100)];
    let big = Request { body: Some(vec![b'x'; 16 << 20].into()), ..ask() };
    let server = Server::start(vec![script]).await;
    let told = perform(&direct(&server.base_url), &big, &short()).await;
    assert_eq!((told.status, told.sent), (Some(413), false), "{:?}", told.end);
    assert_eq!(told.body, b"too large");
}

#[tokio::test]
async fn cancelling_ends_it_at_once_wherever_it_is() {
    let script = vec![Step::Read, write(STREAM), chunk(&token("a")), Step::Stall];
    async fn cut<T: Transport>(transport: &T, enough: usize) -> Told {
        let cancel = CancellationToken::new();
        if enough == 0 {
            cancel.cancel();
        }
        perform_until(transport, &ask(), &short(), &cancel, enough).await
    }
    for enough in [0, 1] {
        let [one, other] =
            [Server::start(vec![script.clone()]).await, Server::start(vec![script.clone()]).await];
        let told = [cut(&direct(&one.base_url), enough).await, cut(&general(&other.base_url), enough).await];
        for told in &told {
            assert_eq!(
                (&told.end, &told.record.outcome),
                (&End::Broken(Fault::Cancelled), &Outcome::Cancelled)
            );
            assert!(told.took < Duration::from_secs(2), "{:?}", told.took);
        }
        assert_eq!(told[0].status, told[1].status);
    }
}

#[test]
fn what_is_not_plain_http_stays_with_the_general_transport() {
    assert!(Direct::of(&general("http://localhost:1/v1")).is_some());
    assert!(Direct::of(&Client::new("https://localhost:1/v1", None).unwrap()).is_none());
    let folder = tempfile::tempdir().unwrap();
    let recorder = crate::client::Recorder::new(folder.path().to_str().unwrap(), std::sync::Arc::default());
    assert!(Direct::of(&general("http://localhost:1/v1").recording(recorder)).is_none());
}
