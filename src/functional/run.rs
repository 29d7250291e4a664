//! Runs one case: sends its legs one after another, checks all that is expected, and returns the observation.
//! Must not know any single kind of expectation.
//!
//! 执行一个功能用例。

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use st_harness::{
    capability::State,
    suite::Cx,
    verdict::{Artifact, Details, Note, Observation, Outcome, Reason, Reasons},
};

use super::{
    compare,
    deviation::Deviation,
    expect::{Broken, Expect, Layer, Scope, check_all},
    explain, implicit,
    leg::Leg,
    plan::{MAIN, Planned, plan},
    spec::Spec,
};
use crate::client::{Attempt, End, Exchange, Fault, Limits, Phase, Request, Retry, SseReader, Stamp, Target};

/// How long to wait before a leg that waits for something is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Sends, checks, tells.
pub(super) async fn run(spec: &Spec, cx: &Cx<Target>, strict: bool) -> Observation {
    let mut legs = Vec::new();
    let mut unasked = Vec::new();
    for planned in plan(spec, &cx.world.model) {
        let leg = match planned.make(&subject(&legs).unwrap_or_default()) {
            Ok((request, body)) => asked(spec, &planned, &request, body.as_ref(), cx).await,
            Err(missing) => {
                unasked.push(cannot_ask(&planned.name, missing));
                continue;
            }
        };
        let fault = infrastructure(&leg);
        legs.push(leg);
        if let Some(reason) = fault {
            return conclude(spec, cx, Err(reason), legs);
        }
    }
    let applies = |one: &&Deviation| !strict && one.applies(&cx.world.engine, &cx.case);
    let deviations: Vec<_> = spec.deviations.iter().map(|one| Some(one).filter(applies)).collect();
    let mut judged = judge(spec, &legs, &deviations);
    judged.broken.splice(0..0, unasked);
    conclude(spec, cx, Ok(judged.relaxed(strict)), legs)
}

/// Sends one request; one that waits for something, until that holds or its time is over.
async fn asked(
    spec: &Spec,
    planned: &Planned,
    request: &Request,
    body: Option<&Map<String, Value>>,
    cx: &Cx<Target>,
) -> Leg {
    let begun = Instant::now();
    loop {
        let exchange = async {
            match (spec.leave_after, planned.name.as_str()) {
                (Some(events), MAIN) => leave(spec, request, events, cx).await,
                _ => send(spec, request, cx).await,
            }
        };
        let leg = Leg::new(planned.name.clone(), exchange.await, body);
        let Some(until) = &planned.until else { return leg };
        let holds = check_all(&until.holds, &Scope::new(&leg.subject, "")).is_empty();
        if holds || begun.elapsed() >= until.within || cx.cancel.is_cancelled() {
            return leg;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A request that was to send on what no answer holds.
fn cannot_ask(leg: &str, expected: String) -> Broken {
    let actual = "nothing there".to_owned();
    let pointer = format!("/legs/{leg}");
    Broken { pointer, layer: Layer::Openai, kind: "from", expected, actual, doubtful: false }
}

/// Sends, and goes away after `events` events of the stream.
async fn leave(spec: &Spec, request: &Request, events: u32, cx: &Cx<Target>) -> Exchange {
    let target = cx.world.scoped(cx.case.id.as_str());
    let mut reader = SseReader::new();
    let mut left = usize::try_from(events).unwrap_or(usize::MAX);
    let enough = |at: Stamp, bytes: &[u8]| {
        left = left.saturating_sub(reader.push(at, bytes).len());
        left == 0
    };
    target.client.leave(request, &limits(spec), &cx.cancel, enough).await
}

fn limits(spec: &Spec) -> Limits {
    let total = spec.request_timeout_s.map(|s| Duration::from_secs(s.into()));
    total.map_or_else(Limits::default, Limits::within)
}

async fn send(spec: &Spec, request: &Request, cx: &Cx<Target>) -> Exchange {
    let usual = Retry::transport_and_busy();
    let retry = Retry { max: spec.retries.unwrap_or(usual.max), ..usual };
    let target = cx.world.scoped(cx.case.id.as_str());
    target.client.exchange(request, &limits(spec), &retry, &cx.cancel).await
}

/// Why nothing can be said about the answer: there is none. A stream that breaks off is the server's answer, and
/// is judged.
fn infrastructure(leg: &Leg) -> Option<Reason> {
    let End::Broken(fault) = &leg.exchange.last().end else { return None };
    let kind = match fault {
        Fault::Transport { phase: Phase::Body, .. } if leg.answer.stream.is_some() => return None,
        Fault::Left => return None,
        Fault::Transport { .. } => "transport",
        Fault::Timeout { .. } => "timeout",
        Fault::Cancelled => "cancelled",
        Fault::Unsendable { .. } => "unsendable",
        Fault::Recording { .. } => "recording",
    };
    let tries = leg.exchange.attempts.len();
    let times = if tries > 1 { format!(", {tries} times") } else { String::new() };
    Some(Reason::new(kind, format!("{fault}{times} ({})", leg.name)))
}

/// What is broken, and what is worth telling beside it.
#[derive(Debug, Default)]
struct Judged {
    broken: Vec<Broken>,
    notes: Vec<Note>,
}

impl Judged {
    /// Breaks of the engine layer are notes, unless the suite is strict.
    fn relaxed(self, strict: bool) -> Self {
        let (broken, beyond): (Vec<Broken>, Vec<Broken>) =
            self.broken.into_iter().partition(|one| strict || one.layer != Layer::Engine);
        let mut notes = self.notes;
        notes.extend(beyond.iter().map(|one| note("engine", one.summary())));
        Self { broken, notes }
    }
}

fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

/// All that is broken, over all legs. `deviations` are the case's own, those that do not apply left out.
fn judge(spec: &Spec, legs: &[Leg], deviations: &[Option<&Deviation>]) -> Judged {
    let applying = || deviations.iter().flatten();
    let expected = spec.expect.iter().chain(applying().flat_map(|one| &one.expect));
    let allowed = expected.into_iter().any(Expect::allows_error_event);
    let mut broken: Vec<Broken> = legs.iter().flat_map(|leg| implicit::check(leg, allowed)).collect();
    let Some(subject) = subject(legs) else { return Judged { broken, notes: Vec::new() } };
    broken.extend(check_all(&spec.expect, &Scope::new(&subject, "/expect")));
    let named = |name: &str| legs.iter().find(|leg| leg.name == name);
    if let (Some(_), Some(main), Some(stream)) = (spec.twin, named(MAIN), named("stream")) {
        broken.extend(compare::twin(main, stream));
    }
    if let Some(repeat) = &spec.repeat {
        let again = |leg: &&Leg| leg.name == MAIN || leg.name.starts_with("repeat_");
        broken.extend(compare::repeat(repeat, &legs.iter().filter(again).cloned().collect::<Vec<_>>()));
    }
    deviate(broken, deviations, &subject)
}

/// The main leg's subject, with those of all others below `legs`.
fn subject(legs: &[Leg]) -> Option<Value> {
    let mut subject = legs.iter().find(|leg| leg.name == MAIN)?.subject.clone();
    let others = legs.iter().filter(|leg| leg.name != MAIN);
    subject["legs"] = others.map(|leg| (leg.name.clone(), leg.subject.clone())).collect::<Map<_, _>>().into();
    Some(subject)
}

/// Breaks of the documented interface are forgiven where a deviation says what holds instead, and that holds.
fn deviate(broken: Vec<Broken>, deviations: &[Option<&Deviation>], subject: &Value) -> Judged {
    let gone = broken.iter().all(|one| one.layer != Layer::Openai);
    let applying = deviations.iter().enumerate().filter_map(|(index, one)| one.map(|one| (index, one)));
    let mut notes = Vec::new();
    let mut explained = false;
    for (index, deviation) in applying {
        let scope = Scope::new(subject, &format!("/deviations/{index}/expect"));
        match check_all(&deviation.expect, &scope).first() {
            _ if gone => {
                notes.push(note("stale", format!("{}; it no longer occurs", deviation.text())));
            }
            None => {
                explained = true;
                notes.push(note("deviation", deviation.text()));
            }
            Some(why) => notes.push(note(
                "not-the-deviation",
                format!("{}; but {} ({})", deviation.text(), why.summary(), why.pointer),
            )),
        }
    }
    let stays = |one: &Broken| !explained || one.layer != Layer::Openai;
    Judged { broken: broken.into_iter().filter(stays).collect(), notes }
}

fn conclude(spec: &Spec, cx: &Cx<Target>, result: Result<Judged, Reason>, legs: Vec<Leg>) -> Observation {
    let mut notes: Vec<Note> = legs.iter().filter_map(retried).collect();
    let red = result.as_ref().map_or(true, |judged| !judged.broken.is_empty());
    let artifacts = if red { save(&legs, cx, &mut notes) } else { Vec::new() };
    let outcome = match result {
        Err(reason) => {
            let told: String = legs.iter().map(|leg| explain::told_leg(leg, &artifacts)).collect();
            Outcome::Errored(Reasons::one(reason.with_detail(told)))
        }
        Ok(judged) => {
            notes.extend(judged.notes);
            let doubtful = judged.broken.iter().all(|one| one.doubtful);
            let reasons = explain::reasons(&judged.broken, &legs, &artifacts, &cx.case.origin);
            match Reasons::from_vec(reasons) {
                None => Outcome::Passed,
                Some(reasons) if doubtful => Outcome::Inconclusive(reasons),
                Some(reasons) => failed(reasons, cx),
            }
        }
    };
    let details = Some(details(spec, &cx.world.model, &legs));
    Observation { notes, artifacts, details, ..Observation::new(outcome) }
}

/// A case that requires what nobody knows the server to have does not decide anything by failing.
fn failed(reasons: Reasons, cx: &Cx<Target>) -> Outcome {
    let unknown =
        cx.case.head.required_capabilities.iter().find(|id| cx.capabilities.get(id).state == State::Unknown);
    let Some(id) = unknown else { return Outcome::Failed(reasons) };
    let evidence = cx.capabilities.get(id).evidence;
    let summary = format!(
        "it is not known whether the server has {id} ({evidence}), so what is broken decides nothing"
    );
    let mut all = vec![Reason::new("capability-unknown", summary)];
    all.extend(reasons.clone().into_vec());
    Outcome::Inconclusive(Reasons::from_vec(all).unwrap_or(reasons))
}

fn retried(leg: &Leg) -> Option<Note> {
    let (_, earlier) = leg.exchange.attempts.split_last()?;
    if earlier.is_empty() {
        return None;
    }
    let how: Vec<String> = earlier.iter().map(how).collect();
    let text = format!("{}: {} attempts, of which {}", leg.name, leg.exchange.attempts.len(), how.join("; "));
    Some(Note { kind: "retried".to_owned(), text })
}

fn how(attempt: &Attempt) -> String {
    match (&attempt.end, attempt.status) {
        (End::Broken(fault), _) => fault.to_string(),
        (End::Complete, Some(status)) => format!("status {status}"),
        (End::Complete, None) => "no status".to_owned(),
    }
}

/// One file a leg, and one for each body that no command line holds; what cannot be written is told.
fn save(legs: &[Leg], cx: &Cx<Target>, notes: &mut Vec<Note>) -> Vec<Artifact> {
    let mut artifacts = Vec::new();
    let mut write =
        |role: &str, name: String, media: &str, text: &str| match cx.folder.write(role, &name, media, text) {
            Ok(artifact) => artifacts.push(artifact),
            Err(e) => notes.push(Note { kind: "artifact".to_owned(), text: e.to_string() }),
        };
    for leg in legs {
        let text = format!("{:#}\n", explain::saved(leg));
        write("exchange", format!("{}.json", leg.name), "application/json", &text);
        if let Some(body) = explain::large_body(leg) {
            write(explain::BODY, format!("{}.body", leg.name), "application/json", body);
        }
    }
    artifacts
}

/// `functional/1`: what was sent, and in short what came.
fn details(spec: &Spec, model: &str, legs: &[Leg]) -> Details {
    let (method, path) = spec.route();
    let told: Vec<Value> = legs
        .iter()
        .map(|leg| {
            json!({
                "name": leg.name,
                "status": leg.answer.status,
                "request_id": leg.request_id(),
                "attempts": leg.exchange.attempts.len(),
                "total_s": leg.subject["timing"]["total_s"],
                "usage": leg.subject["final"]["usage"],
            })
        })
        .collect();
    // As the case says it: a text of a megabyte is told by its size.
    let payload = spec.body(model).map_or(Value::Null, Value::Object);
    let value = json!({"method": method, "path": path, "payload": payload, "legs": told});
    Details { schema: "functional/1".to_owned(), value }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;
    use serde_json::json;

    use super::*;
    use crate::client::read_recording;

    fn recorded(name: &str, recording: &str) -> Leg {
        let root = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("tests/fixtures/recordings/vllm-0.32.0").join(format!("{recording}.json"));
        let exchange = read_recording(&path).unwrap();
        let sent = exchange.request.body.clone().and_then(|body| serde_json::from_slice(&body).ok());
        Leg::new(name, exchange, sent.as_ref())
    }

    fn spec(expect: Value) -> Spec {
        serde_json::from_value(json!({"endpoint": "chat", "request": {}, "expect": expect})).unwrap()
    }

    fn told(spec: &Spec, legs: &[Leg]) -> Vec<String> {
        judge(spec, legs, &[]).broken.iter().map(Broken::summary).collect()
    }

    #[test]
    fn recorded_answers_of_vllm_meet_what_the_interface_documents() {
        let plain = json!([
            {"status": 200}, {"eq": {"final.object": "chat.completion"}}, {"same": {"final.model": "request.model"}},
            {"usage": ["sum", "length_exact"]}, {"len": {"final.choices.0.content": {"min": 1}}},
            {"absent": ["body.choices.0.gone"]}, {"exists": ["body.choices.0.message.refusal"]},
        ]);
        assert_eq!(told(&spec(plain), &[recorded("main", "chat_basic")]), [""; 0]);
        let stream = ["framing", "done", "role_first", "finish_once", "constant"];
        for recording in
            ["chat_basic_stream", "chat_n_2_stream", "chat_emoji_stream", "chat_zh_en_mixed_stream"]
        {
            let expect = json!([{"status": 200}, {"sse": stream}, {"sse": ["usage_chunk", "incremental"]}]);
            assert_eq!(told(&spec(expect), &[recorded("main", recording)]), [""; 0], "{recording}");
        }
        let expect = json!([{"sse": stream}, {"sse": ["no_usage"]}]);
        assert_eq!(told(&spec(expect), &[recorded("main", "chat_stream_no_usage")]), [""; 0]);
        let expect = json!([{"type": {"events.*.json.usage": "object"}}]);
        assert_eq!(told(&spec(expect), &[recorded("main", "chat_stream_continuous_usage")]), [""; 0]);
        for recording in ["comp_stream", "comp_prompt_list_stream"] {
            let expect = json!([{"sse": ["framing", "done", "finish_once", "constant"]}]);
            assert_eq!(told(&spec(expect), &[recorded("main", recording)]), [""; 0], "{recording}");
        }
        for recording in
            ["chat_temperature_negative", "chat_body_not_json", "chat_model_unknown", "not_found"]
        {
            assert_eq!(
                told(&spec(json!([{"error": {}}])), &[recorded("main", recording)]),
                [""; 0],
                "{recording}"
            );
        }
        let expect = json!([{"status": 405}, {"contains": {"headers.allow": "POST"}}]);
        assert_eq!(told(&spec(expect), &[recorded("main", "chat_get")]), [""; 0]);
    }

    #[test]
    fn a_recorded_stream_is_the_twin_of_its_plain_answer() {
        let mut twin = spec(json!([{"status": 200}]));
        twin.twin = Some(super::super::spec::Twin::Stream);
        let (plain, stream) = (recorded("main", "chat_basic"), recorded("stream", "chat_basic_stream"));
        assert_eq!(told(&twin, &[plain.clone(), stream]), [""; 0]);
        let other = recorded("stream", "chat_emoji_stream");
        let told = told(&twin, &[plain.clone(), other]);
        assert!(
            told.iter()
                .any(|line| line.starts_with("expected final.choices.0.content of the streaming twin")),
            "{told:?}"
        );
        let refused = recorded("stream", "chat_temperature_negative");
        assert_eq!(
            told_one(&twin, &[plain, refused]),
            "expected the streaming twin to have status 200, found 400"
        );
    }

    fn told_one(spec: &Spec, legs: &[Leg]) -> String {
        let told = told(spec, legs);
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }

    #[test]
    fn all_that_is_broken_is_told_not_only_the_first() {
        let expect = json!([{"status": 201}, {"eq": {"final.object": "x"}}, {"usage": ["sum"]}, {"len": {"final.choices": 3}}]);
        assert_eq!(told(&spec(expect), &[recorded("main", "chat_basic")]).len(), 3);
    }

    #[test]
    fn repetitions_are_compared_where_the_case_says_so() {
        let mut spec = spec(json!([{"status": 200}]));
        spec.repeat = serde_json::from_value(
            json!({"times": 2, "same": ["final.choices.0.content"], "differ": ["final.id"]}),
        )
        .unwrap();
        let main = recorded("main", "chat_basic");
        let again = Leg { name: "repeat_2".to_owned(), ..main.clone() };
        let told = told(&spec, &[main, again]);
        assert_eq!(
            told,
            [
                r#"expected final.id not to be the same in all 2 answers, found "chatcmpl-b53d6db7060e3700" in each"#
            ]
        );
    }

    /// A case that expects a refusal, which an engine is known to put into the stream.
    fn deviating(leg: Leg, deviation: Value) -> (Vec<String>, Vec<String>) {
        let mut spec = spec(json!([{"error": {"status": 400}}]));
        spec.deviations = vec![
            serde_json::from_value(json!({"engine": "vllm", "ref": "it has begun", "expect": [deviation]}))
                .unwrap(),
        ];
        let known: Vec<_> = spec.deviations.iter().map(Some).collect();
        let judged = judge(&spec, &[leg], &known);
        let notes = judged.notes.into_iter().map(|note| format!("{}: {}", note.kind, note.text)).collect();
        (judged.broken.iter().map(Broken::summary).collect(), notes)
    }

    fn refused_in_stream() -> Leg {
        let body = "data: {\"error\":{\"message\":\"x\",\"code\":400}}\n\ndata: [DONE]\n\n";
        made("text/event-stream", 200, body, End::Complete)
    }

    #[test]
    fn a_deviation_forgives_what_it_explains_and_nothing_else() {
        let in_stream = json!({"error": {"status": 400, "allow_sse": true}});
        let (broken, notes) = deviating(refused_in_stream(), in_stream.clone());
        assert_eq!((broken, notes), (vec![], vec!["deviation: vllm: it has begun".to_owned()]));
        let (broken, notes) = deviating(recorded("main", "chat_temperature_negative"), in_stream.clone());
        assert_eq!(
            (broken, notes),
            (vec![], vec!["stale: vllm: it has begun; it no longer occurs".to_owned()])
        );
        let (broken, notes) = deviating(recorded("main", "chat_basic_stream"), in_stream);
        assert_eq!(broken, ["expected an error, found none, and status 200"]);
        assert_eq!(
            notes,
            ["not-the-deviation: vllm: it has begun; but expected an error, found none, and status 200 \
              (/deviations/0/expect/0/error)"]
        );
    }

    #[test]
    fn no_deviation_forgives_a_break_of_the_wire_layer() {
        let (broken, notes) = deviating(refused_in_stream(), json!({"status": 200}));
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(
            broken[0].starts_with("expected no error inside a stream that began with success"),
            "{broken:?}"
        );
        assert_eq!(notes, ["deviation: vllm: it has begun"]);
    }

    #[test]
    fn repetitions_may_be_asked_to_be_alike_only() {
        let mut spec = spec(json!([{"status": 200}]));
        spec.repeat =
            serde_json::from_value(json!({"times": 2, "similar": {"final.choices.0.content": 0.9}})).unwrap();
        let main = recorded("main", "chat_basic");
        let with = |content: &str| {
            let mut leg = Leg { name: "repeat_2".to_owned(), ..main.clone() };
            leg.subject["final"]["choices"][0]["content"] = content.into();
            leg
        };
        let text = main.subject["final"]["choices"][0]["content"].as_str().unwrap().to_owned();
        assert_eq!(told(&spec, &[main.clone(), with(&(text.clone() + "!"))]), [""; 0]);
        let told = told_one(&spec, &[main.clone(), with("something else")]);
        assert!(told.contains("to 0.9 or more, found \"something else\" in repeat_2, which is 0."), "{told}");
    }

    /// A stream of `body`, ended so.
    fn made(content_type: &str, status: u16, body: &str, end: End) -> Leg {
        let mut leg = recorded("main", "chat_basic_stream");
        let attempt = leg.exchange.attempts.last_mut().unwrap();
        attempt.status = Some(status);
        attempt.headers = vec![("content-type".to_owned(), content_type.to_owned())];
        let at = attempt.ended;
        attempt.chunks = vec![(at, body.to_owned().into())];
        attempt.end = end;
        Leg::new("main", leg.exchange, None)
    }

    #[test]
    fn what_every_answer_must_do_is_asked_without_being_written() {
        let any = spec(json!([{"exists": ["status"]}]));
        let sse = "text/event-stream";
        let content = r#"data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
        for (leg, starts) in [
            (
                made("application/json", 500, r#"{"error":{"message":"x"}}"#, End::Complete),
                "expected no server error, whatever is sent, found status 500",
            ),
            (
                made("application/json", 200, "{", End::Complete),
                "expected a JSON body, as its content-type says, found this: {",
            ),
            (
                made("application/json", 200, r#"{"error":{"message":"x"}}"#, End::Complete),
                "expected no error in an answer that says success, found \"x\"",
            ),
            (
                made(sse, 200, &format!("{content}\n\n"), End::Complete),
                "expected a stream that is whole, found ",
            ),
            (refused_in_stream(), "expected no error inside a stream that began with success, found \"x\""),
        ] {
            let told = told(&any, &[leg]);
            assert!(told.iter().any(|line| line.starts_with(starts)), "{starts}: {told:?}");
        }
    }

    #[test]
    fn no_answer_is_no_verdict_but_a_stream_that_breaks_off_is() {
        let cut =
            End::Broken(Fault::Transport { phase: Phase::Body, message: "connection reset".to_owned() });
        let leg = made("text/event-stream", 200, "data: {\"choices\":[]}\n\n", cut.clone());
        assert_eq!(infrastructure(&leg), None);
        assert!(
            told_one(&spec(json!([{"status": 200}])), &[leg]).starts_with("expected a stream that is whole")
        );
        let refused =
            End::Broken(Fault::Transport { phase: Phase::Connect, message: "connection refused".to_owned() });
        let reason = infrastructure(&made("application/json", 200, "", refused)).unwrap();
        assert_eq!(reason.kind, "transport");
        let late = End::Broken(Fault::Timeout { phase: Phase::Headers, limit_ms: 5 });
        assert_eq!(infrastructure(&made("application/json", 200, "", late)).unwrap().kind, "timeout");
    }
}
