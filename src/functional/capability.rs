//! What a server may or may not be able to do, as far as cases ask for it: [`CATALOGUE`], data only.
//! Must not know how a capability is probed.
//!
//! 能力目录：用例可要求的服务器能力。

use st_harness::capability::{CapabilityId, Catalogue};

/// Id and one line about it.
///
/// What every OpenAI-compatible server must do (a plain chat, a stream) is no capability: without it the case
/// is red. An id stands here where a decent server may lack the thing.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("chat.allowed_token_ids", "`allowed_token_ids` leaves the model only these"),
    ("chat.bad_words", "`bad_words` are never said"),
    ("chat.chat_template_kwargs", "`chat_template_kwargs` reach the template"),
    ("chat.completions", "POST /v1/chat/completions exists"),
    ("chat.determinism", "the same greedy request, sent again alone, gives the same text"),
    (
        "chat.early_status",
        "a stream that cannot be is refused by the status line, not by an event behind a 200",
    ),
    ("chat.frequency_penalty", "`frequency_penalty`"),
    ("chat.ignore_eos", "`ignore_eos` goes on past the end of sequence"),
    ("chat.include_stop", "`include_stop_str_in_output` keeps the stop in the text"),
    ("chat.logit_bias", "`logit_bias` shifts the odds of single tokens"),
    ("chat.logprobs", "`logprobs` and `top_logprobs`"),
    ("chat.max_completion_tokens", "`max_completion_tokens` bounds the answer"),
    ("chat.min_p", "`min_p` sampling"),
    ("chat.min_tokens", "`min_tokens` holds the end of sequence back"),
    ("chat.n", "`n` greater than 1"),
    ("chat.n.greedy", "`n` greater than 1 at temperature 0"),
    ("chat.presence_penalty", "`presence_penalty`"),
    ("chat.prompt_logprobs", "`prompt_logprobs`"),
    ("chat.reasoning", "the answer's reasoning comes apart from its content"),
    ("chat.reasoning.toggle", "`enable_thinking: false` of the chat template switches reasoning off"),
    ("chat.reasoning_effort", "`reasoning_effort`"),
    ("chat.repetition_penalty", "`repetition_penalty`"),
    ("chat.response_format.json_object", "`response_format: json_object` constrains the answer to JSON"),
    ("chat.response_format.json_schema", "`response_format: json_schema` constrains the answer to a schema"),
    ("chat.return_token_ids", "`return_token_ids` tells the ids of prompt and answer"),
    ("chat.return_tokens_as_token_ids", "`return_tokens_as_token_ids` names tokens by their ids"),
    ("chat.seed", "the same `seed` gives the same sample, another one another"),
    ("chat.skip_special_tokens", "`skip_special_tokens: false` shows them"),
    ("chat.stop_token_ids", "`stop_token_ids`"),
    ("chat.stream_interval", "`stream_interval` sends several tokens in one event"),
    ("chat.stream_usage", "`stream_options.include_usage` sends a last chunk with usage"),
    ("chat.stream_usage.continuous", "`continuous_usage_stats` puts usage on every chunk"),
    ("chat.structured_outputs", "`structured_outputs`, vLLM's own field for constraints"),
    ("chat.temperature_zero", "`temperature: 0`, the lower end of the documented range"),
    ("chat.tools", "`tools`: a named one is called"),
    ("chat.tools.auto", "`tool_choice: auto` may answer with a call"),
    ("chat.tools.required", "`tool_choice: required` makes the model call"),
    ("chat.tools.strict", "`strict: true` holds arguments to the schema"),
    ("chat.tools.visible", "the prompt tells the model of its tools"),
    ("chat.top_k", "`top_k` sampling"),
    ("chat.top_p_zero", "`top_p: 0`, the lower end of the documented range"),
    ("chat.truncate_prompt_tokens", "`truncate_prompt_tokens` keeps only the end of the prompt"),
    ("chat.vision", "image parts in messages"),
    ("completions", "POST /v1/completions exists"),
    ("completions.best_of", "`best_of`"),
    ("completions.echo", "`echo` puts the prompt before the answer"),
    ("completions.logprobs", "`logprobs` as a number"),
    ("completions.prompt_list", "several prompts in one request"),
    ("completions.prompt_tokens", "token ids instead of text"),
    ("completions.response_format", "`response_format` on completions"),
    ("completions.suffix", "`suffix`: fill in the middle"),
    ("server.auth", "a key is asked for"),
    ("server.detokenize", "POST /detokenize"),
    ("server.embeddings", "POST /v1/embeddings for this model"),
    ("server.embeddings.dimensions", "`dimensions` shortens the vectors"),
    ("server.health", "GET /health"),
    ("server.load", "GET /load"),
    ("server.load_safety", "requests that cost much or could do harm may be sent"),
    ("server.messages", "POST /v1/messages"),
    ("server.metrics", "GET /metrics in the Prometheus format"),
    ("server.models", "GET /v1/models"),
    ("server.models_get", "GET /v1/models/{id}"),
    ("server.ping", "GET /ping"),
    ("server.responses", "POST /v1/responses"),
    ("server.tokenize", "POST /tokenize"),
    ("server.version", "GET /version"),
];

/// The ids, as the harness wants them.
pub fn catalogue() -> Catalogue {
    Catalogue(CATALOGUE.iter().map(|(id, _)| CapabilityId((*id).to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_dotted_and_of_a_known_family() {
        let mut seen = BTreeSet::new();
        for (id, about) in CATALOGUE {
            assert!(seen.insert(id), "{id} stands twice");
            assert!(!about.is_empty());
            let family = id.split('.').next().unwrap();
            assert!(["chat", "completions", "server"].contains(&family), "{id}");
            assert!(id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_' | b'.')), "{id}");
        }
    }

    #[test]
    fn the_three_ids_that_configurations_name_exist() {
        for id in ["chat.tools", "chat.response_format.json_schema", "completions.suffix"] {
            assert!(catalogue().knows(id), "{id}");
        }
    }
}
