//! Which probes decide which capability: [`LADDER`], data only. Routes are listed in [`routes`](super::routes), and
//! what the plain request shows in [`control`](super::control). Must not know how a probe is made.
//!
//! 能力与探测的对应表（数据）。

use super::{
    effect::{Effect, completions as c, guided, output, sampling, tokens, tools},
    range,
    type_violation::{Field, chat, chat_object, completions, completions_object},
};

/// A capability, and what is tried to find out about it: cheapest first.
pub(super) struct Step {
    pub(super) id: &'static str,
    pub(super) field: Option<Field>,
    pub(super) effect: Option<Effect>,
}

/// Known by its field, shown by an experiment.
const fn both(id: &'static str, field: Field, effect: Effect) -> Step {
    Step { id, field: Some(field), effect: Some(effect) }
}

/// The experiment says it all.
const fn shown(id: &'static str, effect: Effect) -> Step {
    Step { id, field: None, effect: Some(effect) }
}

/// What it does shows in no answer.
const fn known(id: &'static str, field: Field) -> Step {
    Step { id, field: Some(field), effect: None }
}

/// In the order of their ids.
pub(super) const LADDER: &[Step] = &[
    both("chat.allowed_token_ids", chat("allowed_token_ids", "[1]"), tokens::ALLOWED),
    both("chat.bad_words", chat("bad_words", "[\"zz\"]"), tokens::BAD_WORDS),
    known("chat.chat_template_kwargs", chat_object("chat_template_kwargs", "{}")),
    both("chat.frequency_penalty", chat("frequency_penalty", "0.1"), sampling::FREQUENCY),
    both("chat.ignore_eos", chat("ignore_eos", "false"), tokens::IGNORE_EOS),
    both("chat.include_stop", chat("include_stop_str_in_output", "false"), tokens::INCLUDE_STOP),
    both("chat.logit_bias", chat_object("logit_bias", "{}"), tokens::LOGIT_BIAS),
    shown("chat.logprobs", output::LOGPROBS),
    shown("chat.max_completion_tokens", output::MAX_COMPLETION_TOKENS),
    both("chat.min_p", chat("min_p", "0.1"), sampling::MIN_P),
    both("chat.min_tokens", chat("min_tokens", "1"), tokens::MIN_TOKENS),
    shown("chat.n", output::N),
    shown("chat.n.greedy", output::N_GREEDY),
    both("chat.presence_penalty", chat("presence_penalty", "0.1"), sampling::PRESENCE),
    shown("chat.prompt_logprobs", output::PROMPT_LOGPROBS),
    shown("chat.reasoning", output::REASONING),
    known("chat.reasoning_effort", chat("reasoning_effort", "\"low\"")),
    shown("chat.reasoning.toggle", output::REASONING_TOGGLE),
    both("chat.repetition_penalty", chat("repetition_penalty", "1.1"), sampling::REPETITION),
    both(
        "chat.response_format.json_object",
        chat_object("response_format", "{\"type\": \"text\"}"),
        guided::JSON_OBJECT,
    ),
    both(
        "chat.response_format.json_schema",
        chat_object("response_format", "{\"type\": \"text\"}"),
        guided::JSON_SCHEMA,
    ),
    both("chat.return_token_ids", chat("return_token_ids", "false"), output::TOKEN_IDS),
    both(
        "chat.return_tokens_as_token_ids",
        chat("return_tokens_as_token_ids", "false"),
        output::TOKENS_AS_IDS,
    ),
    both("chat.seed", chat("seed", "1"), sampling::SEED),
    both("chat.skip_special_tokens", chat("skip_special_tokens", "true"), tokens::SKIP_SPECIAL),
    both("chat.stop_token_ids", chat("stop_token_ids", "[1]"), tokens::STOP_TOKEN_IDS),
    both("chat.stream_interval", chat("stream_interval", "1"), output::STREAM_INTERVAL),
    shown("chat.stream_usage", output::STREAM_USAGE),
    shown("chat.stream_usage.continuous", output::CONTINUOUS_USAGE),
    // A wrong type makes some servers break down here, and the experiment is decisive.
    shown("chat.structured_outputs", guided::STRUCTURED_OUTPUTS),
    shown("chat.tools", tools::NAMED),
    shown("chat.tools.auto", tools::AUTO),
    shown("chat.tools.required", tools::REQUIRED),
    shown("chat.tools.strict", tools::STRICT),
    shown("chat.tools.visible", tools::VISIBLE),
    both("chat.top_k", chat("top_k", "1"), sampling::TOP_K),
    shown("chat.top_p_zero", range::TOP_P_ZERO),
    both("chat.truncate_prompt_tokens", chat("truncate_prompt_tokens", "-1"), output::TRUNCATE_PROMPT),
    shown("chat.vision", output::VISION),
    known("completions.best_of", completions("best_of", "1")),
    shown("completions.echo", c::ECHO),
    shown("completions.logprobs", c::LOGPROBS),
    shown("completions.prompt_list", c::PROMPT_LIST),
    shown("completions.prompt_tokens", c::PROMPT_TOKENS),
    known("completions.response_format", completions_object("response_format", "{\"type\": \"text\"}")),
    both("completions.suffix", completions("suffix", "\"a\""), c::SUFFIX),
];

/// What is never asked, and why: only a declaration grants it, and without one such a case is skipped.
pub(super) const UNASKED: &[(&str, &str)] = &[
    (
        "server.embeddings.dimensions",
        "not probed: declare it where the embedding model can shorten its vectors",
    ),
    ("server.load_safety", "not probed: declare it to allow requests that cost much or could do harm"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        functional::capability::CATALOGUE,
        probe::{ask::To, routes},
    };

    /// What the plain request shows.
    const BY_CONTROL: [&str; 5] =
        ["chat.completions", "chat.determinism", "chat.early_status", "chat.temperature_zero", "completions"];

    #[test]
    fn every_capability_of_the_catalogue_is_probed_and_no_other() {
        let probed: Vec<&str> = LADDER
            .iter()
            .map(|step| step.id)
            .chain(routes::ROUTES.iter().map(|route| route.id))
            .chain([routes::AUTH])
            .chain(UNASKED.iter().map(|(id, _)| *id))
            .chain(BY_CONTROL)
            .collect();
        let unique: BTreeSet<&str> = probed.iter().copied().collect();
        assert_eq!(probed.len(), unique.len(), "an id stands twice");
        let catalogue: BTreeSet<&str> = CATALOGUE.iter().map(|(id, _)| *id).collect();
        assert_eq!(unique, catalogue);
    }

    #[test]
    fn a_legal_value_is_json_and_a_route_fits_the_family() {
        for step in LADDER {
            let Some(field) = &step.field else { continue };
            assert!(serde_json::from_str::<serde_json::Value>(field.legal).is_ok(), "{}", step.id);
            let family = if field.to == To::Chat { "chat." } else { "completions." };
            assert!(step.id.starts_with(family), "{}", step.id);
        }
    }

    #[test]
    fn nothing_stands_here_that_is_not_tried() {
        for step in LADDER {
            assert!(step.field.is_some() || step.effect.is_some(), "{}", step.id);
        }
    }
}
