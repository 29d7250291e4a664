//! The client against a server that misbehaves in every way we name.
//!
//! 客户端对各种故障的测试。

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    testing::{self, STREAM, Server, Step, answer, chunk, nobody, write},
    *,
};

fn short() -> Limits {
    let second = Duration::from_secs(5);
    Limits { connect: second, first_byte: None, idle: None, total: second }
}

fn ask() -> Request {
    Request::post_json(Route::Api("/chat/completions".into()), &json!({"n": 1}))
}

async fn once(base_url: &str, limits: &Limits) -> Attempt {
    let client = Client::new(base_url, None).expect("a client");
    let mut exchange = client.exchange(&ask(), limits, &Retry::none(), &CancellationToken::new()).await;
    assert_eq!(exchange.attempts.len(), 1);
    exchange.attempts.remove(0)
}

fn broken(phase: Phase, message: &str) -> End {
    End::Broken(Fault::Transport { phase, message: message.into() })
}

fn timed_out(phase: Phase, limit_ms: u64) -> End {
    End::Broken(Fault::Timeout { phase, limit_ms })
}

#[tokio::test]
async fn a_request_goes_out_as_written_and_the_answer_is_kept_whole() {
    let server = Server::answering(&answer("200 OK", "X-Thing: a\r\nX-Thing: b\r\n", "{}")).await;
    let key = secrecy::SecretString::from("k3y".to_owned());
    let client = Client::new(&server.base_url, Some(key)).expect("a client");
    let mut request = Request::post(Route::Api("/chat/completions".into()), "{not json");
    request.headers.push(("x-own".into(), "1".into()));
    let exchange = client.exchange(&request, &short(), &Retry::none(), &CancellationToken::new()).await;

    let sent = server.requests().remove(0);
    assert!(sent.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n{not json"), "{sent}");
    for line in ["authorization: Bearer k3y", "content-type: application/json", "x-own: 1"] {
        assert!(sent.contains(&format!("\r\n{line}\r\n")), "{line} in {sent}");
    }
    let attempt = exchange.last();
    assert_eq!((attempt.status, &attempt.end), (Some(200), &End::Complete));
    let things: Vec<_> =
        attempt.headers.iter().filter(|(name, _)| name == "x-thing").map(|(_, v)| v).collect();
    assert_eq!(things, ["a", "b"]);
    assert_eq!(attempt.body(), b"{}");
    assert!(attempt.sent.is_none(), "reqwest cannot tell when the request was written");
    let stamps = [attempt.begun, attempt.headers_at.expect("headers"), attempt.chunks[0].0, attempt.ended];
    assert!(stamps.is_sorted(), "{stamps:?}");
}

#[tokio::test]
async fn a_header_of_the_case_replaces_the_key_and_the_content_type() {
    let server = Server::answering(&answer("200 OK", "", "")).await;
    let key = secrecy::SecretString::from("k3y".to_owned());
    let client = Client::new(&server.base_url, Some(key)).expect("a client");
    let mut request = ask();
    request.headers =
        vec![("Authorization".into(), "Bearer wrong".into()), ("Content-Type".into(), "text/x".into())];
    client.exchange(&request, &short(), &Retry::none(), &CancellationToken::new()).await;
    let sent = server.requests().remove(0);
    assert_eq!(sent.matches("authorization: ").count(), 1, "{sent}");
    assert!(sent.contains("authorization: Bearer wrong") && sent.contains("content-type: text/x"), "{sent}");
}

#[tokio::test]
async fn redirects_are_findings_and_are_not_followed() {
    let server = Server::answering(&answer("307 Temporary Redirect", "location: /elsewhere\r\n", "")).await;
    let attempt = once(&server.base_url, &short()).await;
    assert_eq!((attempt.status, attempt.header("location")), (Some(307), Some("/elsewhere")));
}

#[tokio::test]
async fn a_refused_connection_is_called_that() {
    let attempt = once(&nobody().await, &short()).await;
    assert_eq!(attempt.end, broken(Phase::Connect, "connection refused"));
    assert_eq!((attempt.status, attempt.headers_at), (None, None));
}

#[tokio::test]
async fn a_connection_that_does_not_come_to_be_times_out_by_its_own_limit() {
    let (base_url, _full) = testing::full().await;
    let limits = Limits { connect: Duration::from_millis(60), ..short() };
    assert_eq!(once(&base_url, &limits).await.end, timed_out(Phase::Connect, 60));
    assert_eq!(
        once(&base_url, &Limits::within(Duration::from_millis(40))).await.end,
        timed_out(Phase::Connect, 40)
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out_waiting_for_headers() {
    let server = Server::start(vec![vec![Step::Read, Step::Stall]]).await;
    let limits = Limits { first_byte: Some(Duration::from_millis(60)), ..short() };
    assert_eq!(once(&server.base_url, &limits).await.end, timed_out(Phase::Headers, 60));
}

#[tokio::test]
async fn headers_that_never_end_time_out_by_the_total() {
    let server = Server::start(vec![vec![Step::Read, write("HTTP/1.1 200 OK\r\nx: "), Step::Stall]]).await;
    assert_eq!(
        once(&server.base_url, &Limits::within(Duration::from_millis(60))).await.end,
        timed_out(Phase::Headers, 60)
    );
}

#[tokio::test]
async fn a_pause_in_the_body_times_out_by_the_idle_limit_and_keeps_what_came() {
    let script = vec![Step::Read, write(STREAM), chunk("data: 1\n\n"), Step::Stall];
    let server = Server::start(vec![script]).await;
    let limits = Limits { idle: Some(Duration::from_millis(60)), ..short() };
    let attempt = once(&server.base_url, &limits).await;
    assert_eq!((attempt.status, &attempt.end), (Some(200), &timed_out(Phase::Body, 60)));
    assert_eq!(attempt.body(), b"data: 1\n\n");
}

#[tokio::test]
async fn a_stream_that_never_pauses_ends_by_the_total() {
    let mut script = vec![Step::Read, write(STREAM)];
    (0..100).for_each(|_| script.extend([chunk(": ping\n"), Step::Wait(20)]));
    let server = Server::start(vec![script]).await;
    let limits = Limits { idle: Some(Duration::from_secs(1)), total: Duration::from_millis(200), ..short() };
    let attempt = once(&server.base_url, &limits).await;
    assert_eq!(attempt.end, timed_out(Phase::Body, 200));
    assert!(attempt.chunks.len() > 1);
}

#[tokio::test]
async fn a_body_that_is_cut_says_so() {
    let server =
        Server::start(vec![vec![Step::Read, write(STREAM), chunk("data: 1\n\n"), write("20\r\nhalf")]]).await;
    let attempt = once(&server.base_url, &short()).await;
    assert_eq!(attempt.end, broken(Phase::Body, "end of file before message length reached"));
    let short_length = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234").await;
    let attempt = once(&short_length.base_url, &short()).await;
    assert!(
        matches!(&attempt.end, End::Broken(Fault::Transport { phase: Phase::Body, .. })),
        "{:?}",
        attempt.end
    );
    assert_eq!(attempt.body(), b"1234");
}

#[tokio::test]
async fn a_reset_is_named_with_its_phase() {
    let early = Server::start(vec![vec![Step::Read, Step::Reset]]).await;
    assert_eq!(once(&early.base_url, &short()).await.end, broken(Phase::Headers, "connection reset"));
    let late = Server::start(vec![vec![
        Step::Read,
        write(STREAM),
        chunk("data: 1\n\n"),
        Step::Wait(30),
        Step::Reset,
    ]])
    .await;
    assert_eq!(once(&late.base_url, &short()).await.end, broken(Phase::Body, "connection reset"));
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_fault_and_not_a_panic() {
    let server = Server::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let attempt = once(&server.base_url, &short()).await;
    assert!(
        matches!(&attempt.end, End::Broken(Fault::Transport { phase: Phase::Headers, .. })),
        "{:?}",
        attempt.end
    );
}

#[tokio::test]
async fn what_http_cannot_carry_is_said_before_anything_is_sent() {
    let client = Client::new(&nobody().await, None).expect("a client");
    for (request, message) in [
        (Request { method: "NO WAY".into(), ..ask() }, "`NO WAY` is no HTTP method"),
        (Request { headers: vec![("a b".into(), "c".into())], ..ask() }, "`a b` is no header name"),
        (
            Request { headers: vec![("x".into(), "s3cret\n".into())], ..ask() },
            "header `x` holds a character that HTTP cannot carry",
        ),
    ] {
        let exchange = client
            .exchange(&request, &short(), &Retry::transport_and_busy(), &CancellationToken::new())
            .await;
        let ends: Vec<_> = exchange.attempts.into_iter().map(|attempt| attempt.end).collect();
        assert_eq!(ends, [End::Broken(Fault::Unsendable { message: message.into() })]);
    }
}

#[tokio::test]
async fn cancelling_ends_it_at_once_and_keeps_what_came() {
    let server =
        Server::start(vec![vec![Step::Read, write(STREAM), chunk("data: 1\n\n"), Step::Stall]]).await;
    let client = Client::new(&server.base_url, None).expect("a client");
    let cancel = CancellationToken::new();
    let (mut pieces, mut ends) = (0, Vec::new());
    let begun = Instant::now();
    let hear = |event: Event<'_>| match event {
        Event::Bytes(..) => {
            pieces += 1;
            cancel.cancel();
        }
        Event::End(_, end) => ends.push(end),
        _ => {}
    };
    client.perform(&ask(), &short(), &cancel, hear).await;
    assert_eq!((pieces, ends), (1, vec![End::Broken(Fault::Cancelled)]));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_read_size_cuts_the_pieces_and_keeps_their_stamps() {
    let server = Server::answering(&answer("200 OK", "", "0123456789")).await;
    let client = Client::new(&server.base_url, None).expect("a client");
    let request = Request { read_size: Some(4), ..ask() };
    let exchange = client.exchange(&request, &short(), &Retry::none(), &CancellationToken::new()).await;
    let pieces: Vec<_> = exchange.last().chunks.iter().map(|(_, bytes)| bytes.as_ref()).collect();
    assert_eq!(pieces, [b"0123".as_slice(), b"4567", b"89"]);
    assert!(exchange.last().chunks.windows(2).all(|pair| pair[0].0 == pair[1].0));
}

fn quick() -> Retry {
    Retry { backoff: Duration::from_millis(5), ..Retry::transport_and_busy() }
}

async fn statuses(scripts: Vec<Vec<Step>>) -> Vec<Option<u16>> {
    let server = Server::start(scripts).await;
    let client = Client::new(&server.base_url, None).expect("a client");
    let exchange = client.exchange(&ask(), &short(), &quick(), &CancellationToken::new()).await;
    exchange.attempts.iter().map(|attempt| attempt.status).collect()
}

fn says(status: &str) -> Vec<Step> {
    vec![Step::Read, write(answer(status, "connection: close\r\n", "{}"))]
}

#[tokio::test]
async fn a_busy_server_is_asked_twice_more_and_every_attempt_is_kept() {
    assert_eq!(
        statuses(vec![says("503 Busy"), vec![Step::Read, Step::Reset], says("200 OK")]).await,
        [Some(503), None, Some(200)]
    );
    let all_busy = vec![says("429 Slow"), says("502 Bad"), says("504 Late"), says("200 OK")];
    assert_eq!(statuses(all_busy).await, [Some(429), Some(502), Some(504)]);
}

#[tokio::test]
async fn a_500_and_a_400_are_findings_and_never_retried() {
    assert_eq!(statuses(vec![says("500 Oops"), says("200 OK")]).await, [Some(500)]);
    assert_eq!(statuses(vec![says("400 No"), says("200 OK")]).await, [Some(400)]);
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_the_bound() {
    let busy = vec![Step::Read, write(answer("503 Busy", "retry-after: 3600\r\nconnection: close\r\n", ""))];
    let server = Server::start(vec![busy, says("200 OK")]).await;
    let client = Client::new(&server.base_url, None).expect("a client");
    let retry = Retry { max: 1, backoff: Duration::ZERO, longest: Duration::from_millis(150) };
    let begun = Instant::now();
    let exchange = client.exchange(&ask(), &short(), &retry, &CancellationToken::new()).await;
    assert_eq!(exchange.last().status, Some(200));
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_are_used_again() {
    let twice =
        vec![Step::Read, write(answer("200 OK", "", "1")), Step::Read, write(answer("200 OK", "", "2"))];
    let server = Server::start(vec![twice]).await;
    let client = Client::new(&server.base_url, None).expect("a client");
    for body in ["1", "2"] {
        let exchange = client.exchange(&ask(), &short(), &Retry::none(), &CancellationToken::new()).await;
        assert_eq!(exchange.last().body(), body.as_bytes());
    }
}

async fn ask_once(client: &Client, request: &Request) -> Attempt {
    let exchange = client.exchange(request, &short(), &Retry::none(), &CancellationToken::new()).await;
    exchange.last().clone()
}

fn recorder(dir: &str) -> Recorder {
    Recorder::new(dir, std::sync::Arc::new(st_harness::redact::Redactor::default()))
}

#[tokio::test]
async fn what_was_recorded_is_replayed_without_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path");
    let torn = Step::Write(b"3\r\n\xe5\xa5\xbd\r\n2\r\n\xe5\xa5\r\n".to_vec());
    let server = Server::start(vec![
        says("503 Busy"),
        vec![Step::Read, write(STREAM), torn, Step::Wait(30), Step::Reset],
    ])
    .await;
    let recorder = recorder(dir);
    let live =
        Client::new(&server.base_url, None).expect("a client").recording(recorder.clone()).scoped("a::b");
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(ask_once(&live, &ask()).await);
    }
    assert_eq!(recorder.take_faults(), []);

    let recordings = Recordings::open(dir).expect("recordings");
    let replay = Client::replaying("http://nowhere.invalid/v1", recordings).expect("a client").scoped("a::b");
    for before in &seen {
        let again = ask_once(&replay, &ask()).await;
        assert_eq!((again.status, &again.headers, &again.end), (before.status, &before.headers, &before.end));
        assert_eq!(again.body(), before.body());
    }
    assert_eq!(seen[1].end, broken(Phase::Body, "connection reset"));
    let third = ask_once(&replay, &ask()).await;
    let End::Broken(Fault::Recording { message }) = third.end else { panic!("{:?}", third.end) };
    assert_eq!(
        message,
        format!(
            "POST /v1/chat/completions in a::b, time 3, but {dir} holds 2 of this request; record it with --record"
        )
    );
}

#[tokio::test]
async fn a_replay_takes_no_time_and_tells_the_recorded_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path");
    let script = vec![Step::Read, Step::Wait(80), write(answer("200 OK", "", "{}"))];
    let server = Server::start(vec![script]).await;
    let live = Client::new(&server.base_url, None).expect("a client").recording(recorder(dir));
    let before = ask_once(&live, &ask()).await;
    let replay = Client::replaying(&server.base_url, Recordings::open(dir).expect("recordings"));
    let begun = Instant::now();
    let again = ask_once(&replay.expect("a client"), &ask()).await;
    assert!(begun.elapsed() < Duration::from_millis(70), "{:?}", begun.elapsed());
    let times = |attempt: &Attempt| {
        let since = |at: Stamp| at.since(attempt.begun);
        let chunks = attempt.chunks.iter().map(|(at, _)| since(*at)).collect::<Vec<_>>();
        (attempt.headers_at.map(since), chunks, since(attempt.ended), attempt.away)
    };
    assert_eq!(times(&again), times(&before));
    assert!(times(&again).0 >= Some(Duration::from_millis(80)) && again.away.is_some(), "{again:?}");
}

#[tokio::test]
async fn a_recorder_that_cannot_write_says_so_and_the_exchange_goes_on() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let server = Server::answering(&answer("200 OK", "", "{}")).await;
    let recorder = recorder(file.path().to_str().expect("a path"));
    let client = Client::new(&server.base_url, None).expect("a client").recording(recorder.clone());
    assert_eq!(ask_once(&client, &ask()).await.status, Some(200));
    assert!(matches!(recorder.take_faults().as_slice(), [TapeError::Io { .. }]));
}

#[test]
fn a_folder_that_is_not_there_cannot_be_replayed() {
    let error = Recordings::open("/nowhere/at/all").err().expect("an error");
    assert_eq!(
        error.to_string(),
        "/nowhere/at/all: there is no such folder to replay from; make one with --record"
    );
}

#[tokio::test]
async fn an_exchange_that_the_case_breaks_off_is_replayed_up_to_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path");
    let server =
        Server::start(vec![vec![Step::Read, write(STREAM), chunk("data: 1\n\n"), Step::Stall]]).await;
    let live = Client::new(&server.base_url, None).expect("a client").recording(recorder(dir));
    let abort = async |client: &Client| {
        let cancel = CancellationToken::new();
        let mut ends = Vec::new();
        let hear = |event: Event<'_>| match event {
            Event::Bytes(..) => cancel.cancel(),
            Event::End(_, end) => ends.push(end),
            _ => {}
        };
        client.perform(&ask(), &short(), &cancel, hear).await;
        ends
    };
    let before = abort(&live).await;
    let recordings = Recordings::open(dir).expect("recordings");
    let replay = Client::replaying(&server.base_url, recordings).expect("a client");
    assert_eq!(abort(&replay).await, before);
}

#[tokio::test]
async fn recordings_made_by_other_means_answer_in_every_scope() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/vllm-0.32.0");
    let recordings = Recordings::open(dir).expect("recordings");
    let replay = Client::replaying("http://nowhere.invalid/v1", recordings).expect("a client").scoped("a::b");
    let attempt = ask_once(&replay, &Request::get(Route::Api("/models".into()))).await;
    assert_eq!((attempt.status, attempt.end), (Some(200), End::Complete));
}

#[test]
fn a_file_that_is_no_recording_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path");
    std::fs::write(folder.path().join("odd.json"), "[]").expect("a file");
    let error = Recordings::open(dir).err().expect("an error").to_string();
    assert!(error.starts_with(&format!("{dir}/odd.json is no recording: ")), "{error}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_nothing_more_and_its_connection_ends() {
    let script = vec![Step::Read, write(STREAM), chunk("data: 1\n\n"), chunk("data: 2\n\n"), Step::Stall];
    let server = Server::start(vec![script]).await;
    let client = Client::new(&server.base_url, None).expect("a client");
    let mut heard = 0;
    let enough = |_: Stamp, bytes: &[u8]| {
        heard += bytes.len();
        heard >= 9
    };
    let exchange = client.leave(&ask(), &short(), &CancellationToken::new(), enough).await;
    let attempt = exchange.last();
    assert_eq!((attempt.status, &attempt.end), (Some(200), &End::Broken(Fault::Left)));
    assert!(attempt.body().starts_with(b"data: 1\n\n"));
    let never = client.leave(&ask(), &short(), &CancellationToken::new(), |_, _| false).await;
    assert!(matches!(never.last().end, End::Broken(Fault::Transport { .. })), "{:?}", never.last().end);
}

#[tokio::test]
async fn an_empty_key_is_not_sent_and_a_body_in_chunks_tells_no_length() {
    let server = Server::answering(&answer("200 OK", "", "{}")).await;
    let key = secrecy::SecretString::from("k3y".to_owned());
    let client = Client::new(&server.base_url, Some(key)).expect("a client");
    let mut request = ask();
    request.headers =
        vec![("authorization".into(), String::new()), ("transfer-encoding".into(), "chunked".into())];
    let exchange = client.exchange(&request, &short(), &Retry::none(), &CancellationToken::new()).await;
    assert_eq!(exchange.last().status, Some(200));
    let sent = server.requests().remove(0).to_lowercase();
    assert!(!sent.contains("authorization") && !sent.contains("content-length"), "{sent}");
    assert!(sent.contains("\r\ntransfer-encoding: chunked\r\n"), "{sent}");
}
