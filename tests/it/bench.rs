//! The null server and the truth bench, as their commands show them: that the server keeps to its schedule and logs
//! what it sent, that a client's figures are held against that log, and that what goes wrong is told.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::crate_root::{CrateRoot, Ran};

/// A null server that ends with its standard input.
struct NullServer {
    child: Child,
    address: String,
}

impl NullServer {
    fn start(root: &CrateRoot, args: &[&str]) -> Self {
        let mut child = root
            .command(&[&["null-server"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim().strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap().to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    fn end(mut self) {
        self.child.stdin.take();
        assert!(self.child.wait().unwrap().success());
    }
}

fn ask(stream: &mut TcpStream, id: u32, tokens: u32) {
    let body = format!("{{\"max_tokens\":{tokens}}}");
    let length = body.len();
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nx-request-id: a-{id}\r\ncontent-length: {length}");
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
}

/// Reads up to the end of the body, and says when each event with a token came after `begun`.
fn tokens(stream: &mut TcpStream, begun: Instant) -> Vec<Duration> {
    let (mut wire, mut piece, mut seen) = (Vec::new(), [0; 4096], Vec::new());
    while !wire.ends_with(b"\r\n0\r\n\r\n") {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "the server closed the connection");
        wire.extend_from_slice(&piece[..n]);
        // The role has an empty content, and ids of tokens only tokens have.
        let so_far = String::from_utf8_lossy(&wire).matches("\"token_ids\":null").count();
        seen.resize(so_far, begun.elapsed());
    }
    seen
}

#[test]
fn the_null_server_keeps_its_schedule_and_a_connection_for_the_next_request() {
    let root = CrateRoot::new();
    for pattern in ["usage", "plain", "split", "coalesced"] {
        let server = NullServer::start(&root, &["--first-ms=30", "--interval-ms=10", "--pattern", pattern]);
        let mut stream = server.connect();
        for id in 0..2 {
            let begun = Instant::now();
            ask(&mut stream, id, 9);
            let seen = tokens(&mut stream, begun);
            assert_eq!(seen.len(), 9, "{pattern}");
            assert!(seen[0] >= Duration::from_millis(30), "{pattern}: {seen:?}");
            assert!(seen[8] >= Duration::from_millis(30 + 8 * 10), "{pattern}: {seen:?}");
            if pattern == "coalesced" {
                assert_eq!((seen[1], seen[5]), (seen[4], seen[8]), "{seen:?}");
            }
        }
        server.end();
    }
}

#[test]
fn a_client_that_goes_away_leaves_the_others_alone() {
    let root = CrateRoot::new();
    let log = root.path().join("sent.bin");
    let server =
        NullServer::start(&root, &["--first-ms=5", "--interval-ms=5", "--log", log.to_str().unwrap()]);
    let begun = Instant::now();
    let mut gone = server.connect();
    ask(&mut gone, 1, 1000);
    let mut stays = server.connect();
    ask(&mut stays, 2, 20);
    drop(gone);
    assert_eq!(tokens(&mut stays, begun).len(), 20);
    write!(stays, "GET /health HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = [0; 64];
    let n = stays.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK\r\n"));
    drop(stays);
    server.end();
    // Its own words: a mark, seven numbers, and five for each of the two requests.
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 8 + 8 * (7 + 2 * 5));
}

/// `bench` at a small load, its only round.
fn bench(root: &CrateRoot, args: &[&str]) -> (Ran, Value) {
    let small =
        ["bench", "--streams=4", "--requests=12", "--tokens=5", "--interval-ms=5", "--rounds=1", "--json"];
    let ran = root.run(&[&small, args].concat());
    let document =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", ran.out, ran.err));
    (ran, document)
}

fn figure(document: &Value, row: usize, name: &str) -> Value {
    let at = document["definitions"].as_array().unwrap().iter().position(|one| one["name"] == name).unwrap();
    document["levels"][0]["rows"][row]["figures"][at]["median"].clone()
}

#[test]
fn our_own_load_is_held_against_what_the_server_sent() {
    let root = CrateRoot::new();
    let (ran, document) = bench(&root, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.starts_with("round 1: vllm-cibench, 4 streams, 12 requests × 5 tokens"), "{}", ran.err);
    let number =
        |name: &str| figure(&document, 0, name).as_f64().unwrap_or_else(|| panic!("{name}: {document:#}"));
    // The server stamps before it writes, and after it has read: our TTFT holds both ways, and cannot be shorter.
    assert!(number("ttft_mean_over") > 0.0 && number("ttft_error_p50") > 0.0);
    assert!(number("ttft_error_p50") <= number("ttft_error_p99"));
    assert!(number("cpu_per_event_whole") > 0.0 && number("server_cpu_per_event") > 0.0);
    assert!(number("peak_memory") > 1.0 && number("start_cpu") > 0.0);
    // Three times 50 + 4 × 5 ms for 60 tokens.
    let rate = number("events_per_s");
    assert!((10.0..=60.0 / 0.210).contains(&rate), "{rate}");
    assert_eq!(document["levels"][0]["rows"][0]["verdicts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_peer_that_does_not_take_its_answers_is_told_and_leaves_its_files() {
    let root = CrateRoot::new();
    let keep = root.path().join("kept");
    let keep = keep.to_str().unwrap();
    let (ran, document) =
        bench(&root, &["--keep", keep, "--without-us", "--peer", "sh", "-c", "echo {base_url} >&2"]);
    assert_eq!(ran.code, Some(6));
    let failed = document["runs"][0]["failed"].as_str().unwrap();
    assert!(failed.starts_with("sh took 0 of 12 answers whole, exit code Some(0)"), "{failed}");
    assert!(figure(&document, 0, "cpu_per_event").is_null());
    let said = std::fs::read_to_string(format!("{keep}/sh-4-5-usage-1/stderr.txt")).unwrap();
    assert!(said.starts_with("http://127.0.0.1:") && said.trim().ends_with("/v1"), "{said}");
}

#[test]
fn a_placeholder_that_does_not_exist_is_told() {
    let root = CrateRoot::new();
    let (ran, document) = bench(&root, &["--without-us", "--peer", "sh", "-c", "{concurrency}"]);
    assert_eq!(ran.code, Some(6));
    assert!(document["runs"][0]["failed"].as_str().unwrap().contains("found {concurrency}"));
}

#[test]
fn a_measured_run_says_what_its_client_can_take_here() {
    let case = "about: x\ncases:\n  - {id: few, about: x, concurrency: 2, requests: 4, input_len: 8, output_len: 4}\n";
    let root = CrateRoot::new()
        .file("cases/perf/pr.yaml", case)
        .file("cases/perf/smoke.yaml", case)
        .file("configs/scenarios/null.yaml", "{about: A null server., mode: attach}");
    let server = NullServer::start(&root, &["--first-ms=5", "--interval-ms=5"]);
    let ceiling = |run_type: &str| {
        let base_url = format!("http://{}/v1", server.address);
        let args =
            ["run", "--scenario=null", "--dry-run", "--model=null", "--run-type", run_type, "--base-url"];
        let ran = root.run(&[&args[..], &[&base_url]].concat());
        let document: Value =
            serde_json::from_str(&root.left(&format!("perf/perf.{run_type}.few.json"))).expect(&ran.err);
        let signals = document["details"]["validity"]["signals"].as_array().unwrap().clone();
        let signal = signals.into_iter().find(|signal| signal["name"] == "ceiling_share").unwrap();
        (document["details"]["ceiling"].clone(), signal)
    };
    let (told, signal) = ceiling("pr");
    if cfg!(debug_assertions) {
        assert_eq!(signal["null_reason"], "an unoptimised build is not calibrated");
        assert!(told.is_null());
    } else {
        let share = signal["value"].as_f64().unwrap();
        assert!(share > 0.0 && share < 0.5, "a handful of tokens: {share}");
        assert!(told["events_per_s"].as_f64().unwrap() > 1000.0, "{told}");
        assert_eq!(ceiling("smoke").1["null_reason"], "a smoke run is not calibrated");
    }
    server.end();
}
