//! The whole ladder against the simulator: what is switched off there must be seen to be off here.
//!
//! 对模拟器的整体探测测试。

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use st_harness::capability::Source;

use super::{ladder::UNASKED, *};
use crate::{
    functional::capability::CATALOGUE,
    sim::{Features, Options, Sim},
};

fn quiet() -> impl Fn(&str) + Send + Sync {
    |_: &str| {}
}

fn options(switch: impl FnOnce(&mut Features)) -> Options {
    let mut options = Options::default();
    switch(&mut options.capabilities);
    options
}

async fn probed(options: Options) -> Report {
    let sim = Sim::start(options).expect("a simulator");
    let target = Target::at(&sim.base_url(), "sim").expect("a target");
    probe(&target, &CancellationToken::new(), &quiet()).await
}

fn state(report: &Report, id: &str) -> State {
    report.capabilities.0[&CapabilityId(id.to_owned())].state
}

fn evidence<'a>(report: &'a Report, id: &str) -> &'a str {
    &report.capabilities.0[&CapabilityId(id.to_owned())].evidence
}

#[tokio::test]
async fn every_capability_gets_a_finding_with_evidence_at_a_bearable_price() {
    let report = probed(Options::default()).await;
    for (id, _) in CATALOGUE.iter().filter(|(id, _)| !UNASKED.iter().any(|(unasked, _)| unasked == id)) {
        assert!(!evidence(&report, id).is_empty(), "{id}");
    }
    assert!(report.requests <= Bounds::default().requests, "{} requests", report.requests);
    assert!(report.complete);
    assert_eq!(report.facts.engine.as_deref(), Some("vllm"));
    assert_eq!(report.facts.version.as_deref(), Some("0.32.0"));
    assert_eq!(report.facts.ctx_len, Some(4096));
    assert_eq!(report.facts.refuses_unknown_fields, Some(false));
    assert_eq!(report.facts.validates_ranges, Some(true));
}

/// What a vLLM 0.32 was seen to do, where the simulator is true to it.
#[tokio::test]
async fn the_simulator_is_probed_as_a_vllm_is() {
    use State::{Accepted, Ignored, Rejected, Supported, Unsupported};
    let report = probed(Options::default()).await;
    let expected = [
        ("chat.completions", Supported),
        ("chat.allowed_token_ids", Supported),
        ("chat.bad_words", Supported),
        ("chat.chat_template_kwargs", Accepted),
        ("chat.determinism", Supported),
        ("chat.ignore_eos", Supported),
        ("chat.include_stop", Supported),
        ("chat.logit_bias", Supported),
        ("chat.logprobs", Supported),
        ("chat.max_completion_tokens", Supported),
        ("chat.min_p", Supported),
        ("chat.min_tokens", Supported),
        ("chat.n", Supported),
        ("chat.n.greedy", Rejected),
        ("chat.prompt_logprobs", Supported),
        ("chat.reasoning", Unsupported),
        ("chat.reasoning_effort", Accepted),
        ("chat.repetition_penalty", Supported),
        ("chat.response_format.json_object", Supported),
        ("chat.response_format.json_schema", Supported),
        ("chat.return_token_ids", Supported),
        ("chat.return_tokens_as_token_ids", Supported),
        ("chat.seed", Supported),
        ("chat.stop_token_ids", Supported),
        ("chat.stream_interval", Supported),
        ("chat.stream_usage", Supported),
        ("chat.stream_usage.continuous", Supported),
        ("chat.structured_outputs", Supported),
        ("chat.temperature_zero", Supported),
        ("chat.tools", Supported),
        ("chat.tools.auto", Supported),
        ("chat.tools.required", Supported),
        ("chat.tools.strict", Supported),
        ("chat.top_k", Supported),
        ("chat.top_p_zero", Rejected),
        ("chat.truncate_prompt_tokens", Supported),
        ("completions", Supported),
        ("completions.best_of", Ignored),
        ("completions.echo", Supported),
        ("completions.logprobs", Supported),
        ("completions.prompt_list", Supported),
        ("completions.prompt_tokens", Supported),
        ("completions.suffix", Rejected),
        ("server.auth", Unsupported),
        ("server.detokenize", Supported),
        ("server.embeddings", Unsupported),
        ("server.health", Supported),
        ("server.load", Supported),
        ("server.metrics", Supported),
        ("server.models", Supported),
        ("server.models_get", Unsupported),
        ("server.ping", Supported),
        ("server.tokenize", Supported),
        ("server.version", Supported),
    ];
    let differing: Vec<String> = expected
        .iter()
        .filter(|(id, expected)| state(&report, id) != *expected)
        .map(|(id, expected)| {
            format!("{id}: {}, not {expected}: {}", state(&report, id), evidence(&report, id))
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[tokio::test]
async fn what_is_switched_off_is_seen_to_be_off() {
    let report = probed(options(|features| {
        for name in ["tools", "guided", "tokenize", "metrics", "logprobs"] {
            assert!(features.set(name, false));
        }
    }))
    .await;
    for id in [
        "chat.tools",
        "chat.tools.required",
        "chat.response_format.json_object",
        "chat.response_format.json_schema",
        "chat.structured_outputs",
        "chat.logprobs",
        "server.tokenize",
        "server.detokenize",
        "server.metrics",
    ] {
        assert!(!state(&report, id).runs(), "{id} is {}: {}", state(&report, id), evidence(&report, id));
    }
    assert_eq!(report.facts.started, None);
    assert!(state(&report, "chat.logit_bias").is_there(), "{}", evidence(&report, "chat.logit_bias"));
}

#[tokio::test]
async fn what_is_switched_on_is_seen_to_be_on() {
    let report = probed(options(|features| {
        assert!(features.set("reasoning", true) && features.set("suffix", true));
    }))
    .await;
    assert_eq!(state(&report, "chat.reasoning"), State::Supported, "{}", evidence(&report, "chat.reasoning"));
    assert_eq!(state(&report, "chat.reasoning.toggle"), State::Supported);
    assert_eq!(report.facts.reasoning_key.as_deref(), Some("reasoning"));
    assert_eq!(state(&report, "completions.suffix"), State::Accepted);
}

#[tokio::test]
async fn the_effects_of_sampling_are_seen_while_the_model_reasons() {
    let report = probed(options(|features| assert!(features.set("reasoning", true)))).await;
    for id in ["chat.top_k", "chat.seed", "chat.n", "chat.logit_bias"] {
        assert_eq!(state(&report, id), State::Supported, "{id}: {}", evidence(&report, id));
    }
    // Its thoughts take all the room, so that no constrained answer is seen; but none may be said to be missing.
    for id in ["chat.response_format.json_object", "chat.response_format.json_schema"] {
        assert_eq!(state(&report, id), State::Accepted, "{id}: {}", evidence(&report, id));
    }
    assert_eq!(state(&report, "chat.structured_outputs"), State::Unknown);
}

#[tokio::test]
async fn without_the_key_nothing_is_claimed_but_that_there_is_one() {
    let report = probed(Options { api_key: Some("sk-secret".to_owned().into()), ..Options::default() }).await;
    assert_eq!(state(&report, "server.auth"), State::Supported);
    for id in ["chat.completions", "chat.tools", "chat.determinism", "completions", "completions.echo"] {
        assert_eq!(state(&report, id), State::Unknown, "{id}");
        assert!(evidence(&report, id).contains("401"), "{}", evidence(&report, id));
    }
}

#[tokio::test]
async fn a_server_that_is_gone_leaves_everything_that_is_asked_unknown() {
    let target = Target::at("http://127.0.0.1:9/v1", "m").unwrap();
    let report = probe(&target, &CancellationToken::new(), &quiet()).await;
    assert_eq!(report.capabilities.0.len(), CATALOGUE.len() - UNASKED.len());
    for (id, finding) in &report.capabilities.0 {
        assert_eq!(finding.state, State::Unknown, "{id}");
        assert!(finding.evidence.contains("while connecting"), "{id}: {}", finding.evidence);
    }
    assert_eq!(report.facts, Facts::default());
}

#[tokio::test]
async fn a_slow_server_is_left_in_time_and_what_was_not_asked_says_so() {
    let mut options = Options::default();
    options.timing.ttft_ms = 300.0;
    let sim = Sim::start(options).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    let total = Duration::from_secs(2);
    let bounds = Bounds { total, stretched: total, ..Bounds::default() };
    let begun = Instant::now();
    let report = probe_within(&target, bounds, &CancellationToken::new(), &quiet()).await;
    assert!(begun.elapsed() < total + Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(state(&report, "server.health"), State::Supported);
    assert_eq!(state(&report, "chat.completions"), State::Supported);
    assert_eq!(state(&report, "chat.tools"), State::Unknown);
    assert!(evidence(&report, "chat.tools").contains("the probe's 2 s were over"));
    assert!(!report.complete);
}

#[tokio::test]
async fn a_slow_server_is_given_the_time_that_its_pace_asks_for() {
    let mut options = Options::default();
    options.timing.ttft_ms = 12.0;
    let sim = Sim::start(options).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    let bounds = Bounds { total: Duration::from_millis(250), ..Bounds::default() };
    let report = probe_within(&target, bounds, &CancellationToken::new(), &quiet()).await;
    assert!(report.took_ms > 250, "{} ms", report.took_ms);
    assert!(report.complete, "{} requests in {} ms", report.requests, report.took_ms);
}

#[tokio::test]
async fn a_cancelled_probe_stops_at_once_and_claims_nothing() {
    let sim = Sim::start(Options::default()).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let report = probe(&target, &cancel, &quiet()).await;
    assert!(report.capabilities.0.values().all(|finding| finding.state == State::Unknown));
    assert_eq!(sim.log().len(), 0);
}

#[tokio::test]
async fn no_plain_request_asks_for_many_tokens_and_progress_names_the_rungs() {
    let lines = Mutex::new(Vec::new());
    let sim = Sim::start(Options::default()).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    probe(&target, &CancellationToken::new(), &|line| lines.lock().unwrap().push(line.to_owned())).await;
    let lines = lines.into_inner().unwrap();
    assert_eq!(lines[0], "probing: routes");
    assert!(lines.len() >= 4, "{lines:?}");
    let long: Vec<u32> =
        sim.log().iter().map(|sent| sent.completion_tokens).filter(|tokens| *tokens > 6 * 2).collect();
    assert!(long.len() <= 4, "only tool calls and constrained objects may be long: {long:?}");
}

#[tokio::test]
async fn a_probe_is_kept_until_the_server_starts_anew() {
    let temporary = tempfile::tempdir().unwrap();
    let path = camino::Utf8PathBuf::from_path_buf(temporary.path().to_path_buf()).unwrap();
    let folder = st_harness::folder::RunFolder::open(path.clone(), std::sync::Arc::default()).unwrap();
    let now = jiff::Timestamp::now();
    let sim = Sim::start(Options::default()).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    let cancel = CancellationToken::new();
    let report = probe(&target, &cancel, &quiet()).await;
    cache::save(&folder, &target, &report, now).unwrap();
    let identity = cache::identify(&target, &cancel).await;
    let load = |identity| cache::load(&path, &target.base_url, "sim", Some(identity), now);
    assert_eq!(load(&identity), cache::Cached::Hit(Box::new(report)));
    let elsewhere = cache::Identity { started: Some(1.0), ..identity.clone() };
    assert!(matches!(load(&elsewhere), cache::Cached::Unusable(_)));
}

#[tokio::test]
async fn a_report_is_found_once_and_then_taken_from_where_it_is_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let path = camino::Utf8PathBuf::from_path_buf(temporary.path().to_path_buf()).unwrap();
    let folder = st_harness::folder::RunFolder::open(path, std::sync::Arc::default()).unwrap();
    let sim = Sim::start(options(|features| assert!(features.set("tools", false)))).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    let cancel = CancellationToken::new();
    let finding =
        Finding { state: State::Supported, source: Source::Declared, evidence: "declared by x".into() };
    let declared = Capabilities([(CapabilityId("chat.tools".into()), finding.clone())].into());
    let first = discover::discover(&target, &declared, Some(&folder), &cancel, &quiet()).await;
    assert_eq!(first.capabilities.get(&CapabilityId("chat.tools".into())), finding);
    assert_eq!(first.notes.len(), 1, "{:?}", first.notes);
    assert!(
        first.notes[0].text.starts_with("chat.tools is declared supported (declared by x), but the probe")
    );
    let asked = sim.log().len();
    let second = discover::discover(&target, &declared, Some(&folder), &cancel, &quiet()).await;
    assert_eq!(second, first);
    assert_eq!(sim.log().len() - asked, 2, "only who it is was asked");
}

#[tokio::test]
async fn a_server_that_lists_no_model_is_told_with_its_words() {
    let target = Target::at("http://127.0.0.1:9/v1", "").unwrap();
    let why = discover::first_model(&target, &CancellationToken::new()).await.unwrap_err();
    assert!(why.starts_with("GET /v1/models → while connecting"), "{why}");
    let sim = Sim::start(Options::default()).unwrap();
    let target = Target::at(&sim.base_url(), "").unwrap();
    assert_eq!(discover::first_model(&target, &CancellationToken::new()).await.as_deref(), Ok("sim"));
}

/// Which fields a vLLM 0.32 minds when their type is wrong, as was seen there.
const MINDED: &str = "temperature top_p top_k min_p n max_tokens max_completion_tokens stop stop_token_ids seed \
    presence_penalty frequency_penalty repetition_penalty logit_bias logprobs top_logprobs prompt_logprobs echo \
    stream stream_options response_format tools tool_choice parallel_tool_calls reasoning_effort \
    include_reasoning chat_template_kwargs add_generation_prompt continue_final_message ignore_eos min_tokens \
    bad_words allowed_token_ids skip_special_tokens include_stop_str_in_output user length_penalty \
    logprob_token_ids stream_interval thinking_token_budget documents use_beam_search truncate_prompt_tokens \
    priority request_id cache_salt return_token_ids return_tokens_as_token_ids";
/// And which it does not.
const IGNORED: &str = "best_of guided_json guided_regex guided_choice guided_grammar functions function_call \
    reasoning separate_reasoning enable_thinking thinking min_new_tokens no_stop_trim regex ebnf grammar \
    json_schema mirostat typical_p cache_prompt n_probs id_slot samplers dry_multiplier suffix chunk_size \
    metadata store service_tier modalities audio prediction verbosity web_search_options prompt_cache_key \
    safety_identifier do_sample";
/// And which of them `/v1/completions` does not mind, though chat does.
const IGNORED_BY_COMPLETIONS: &str = "max_completion_tokens top_logprobs tools tool_choice reasoning_effort \
    chat_template_kwargs add_generation_prompt";

/// Those of `names` that are not found out to be `known` on the route `to`.
async fn misjudged(names: &'static str, to: ask::To, known: fn(&Known) -> bool) -> Vec<String> {
    const OBJECTS: [&str; 5] =
        ["logit_bias", "stream_options", "response_format", "chat_template_kwargs", "tool_choice"];
    let sim = Sim::start(Options::default()).unwrap();
    let target = Target::at(&sim.base_url(), "sim").unwrap();
    let cancel = CancellationToken::new();
    let mut asker = Asker::new(&target, &cancel, Bounds::default());
    let ground = Ground { strict: Some(false), ..Ground::new("sim") };
    let mut misjudged = Vec::new();
    for name in names.split_whitespace() {
        let is_object = OBJECTS.contains(&name);
        let field = type_violation::Field { to, name, is_object, legal: "null" };
        let found = type_violation::violate(&mut asker, &ground, &field).await;
        if !known(&found) {
            misjudged.push(format!("{name}: {found:?}"));
        }
    }
    misjudged
}

#[tokio::test]
async fn a_wrong_type_tells_which_fields_a_vllm_knows() {
    let yes = |known: &Known| matches!(known, Known::Yes(_));
    let no = |known: &Known| matches!(known, Known::No(_));
    let none = Vec::<String>::new();
    assert_eq!(misjudged(MINDED, ask::To::Chat, yes).await, none);
    assert_eq!(misjudged(IGNORED, ask::To::Chat, no).await, none);
    assert_eq!(misjudged(IGNORED_BY_COMPLETIONS, ask::To::Completions, no).await, none);
    assert_eq!(misjudged("suffix top_k n seed", ask::To::Completions, yes).await, none);
}

#[test]
fn what_costs_no_more_than_a_token_is_tried_before_tool_calls() {
    let ids: Vec<&str> = cheapest_first(&Ground::new("m")).iter().map(|step| step.id).collect();
    let at = |id: &str| ids.iter().position(|known| *known == id).expect("a step");
    assert_eq!(ids.len(), LADDER.len());
    assert!(at("chat.top_p_zero") < at("chat.seed"));
    assert!(at("chat.seed") < at("chat.tools.required"));
}
