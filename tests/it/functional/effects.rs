//! A parameter that a server takes and forgets is the commonest fault of all, and no status tells it: each is asked
//! here by name to be noticed by the case that is about it.
//!
//! 被静默忽略的参数必须被对应用例发现。

use vllm_cibench::sim::{Fault, FaultRule};

use super::{Bench, breaks_its_own, one};

/// A field of the request, and a trial that must be red on a server that ignores it.
pub const FIELDS: &[(&str, &str)] = &[
    ("max_tokens", "params_boundary::max_tokens_1::api_completions::mode_plain"),
    ("max_completion_tokens", "params_boundary::max_completion_tokens::api_chat::mode_stream::max_1"),
    ("temperature", "params_boundary::temperature_0_repeats::api_chat::mode_plain"),
    ("top_p", "params_boundary::narrowed::api_chat::mode_stream::by_top_p"),
    ("top_k", "params_boundary::narrowed::api_completions::mode_plain::by_top_k"),
    ("min_p", "params_boundary::narrowed::api_chat::mode_plain::by_min_p"),
    ("logit_bias", "params_boundary::narrowed::api_completions::mode_stream::by_bias"),
    ("allowed_token_ids", "params_boundary::narrowed::api_chat::mode_plain::by_allowed"),
    ("seed", "params_boundary::seed_repeats::api_completions::mode_plain::seed_42"),
    ("stop", "params_boundary::stop_unicode::api_chat::mode_stream::stop_han_among"),
    ("include_stop_str_in_output", "params_boundary::stop_included::api_chat::mode_plain"),
    ("stop_token_ids", "params_boundary::stop_token::api_completions::mode_plain"),
    ("ignore_eos", "params_boundary::ignore_eos::api_chat::mode_plain"),
    ("n", "params_boundary::n::api_completions::mode_stream"),
    ("presence_penalty", "params_boundary::penalty_acts::api_chat::mode_plain::by_presence"),
    ("frequency_penalty", "params_boundary::penalty_acts::api_completions::mode_plain::by_frequency"),
    ("repetition_penalty", "params_boundary::penalty_acts::api_chat::mode_plain::by_repetition"),
    ("min_tokens", "params_boundary::min_tokens::api_chat::mode_plain"),
    ("bad_words", "params_boundary::bad_words::api_chat::mode_plain"),
    ("stream_interval", "streaming::interval"),
    ("truncate_prompt_tokens", "params_boundary::truncate_prompt::api_chat::mode_plain"),
    ("return_token_ids", "params_boundary::token_ids::api_chat::mode_plain"),
];

/// The fault that ignores `field`.
pub fn ignored(field: &str) -> FaultRule {
    FaultRule::from(Fault::IgnoreField(vllm_cibench::sim::Field { name: field.to_owned() }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_does_nothing_is_noticed() {
    for (field, id) in FIELDS {
        let trial = one(&format!("functional::{id}"));
        let seen = Bench::new(vec![ignored(field)]).run(&trial).await;
        assert!(breaks_its_own(seen.outcome), "{field} is ignored, and {id} says nothing");
    }
}
