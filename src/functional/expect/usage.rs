//! What usage says: `usage: [sum, …]`. Must not know a tokenizer.
//!
//! 用量断言。

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Broken, Scope, show};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageRule {
    /// `total_tokens` = `prompt_tokens` + `completion_tokens`, whole numbers all of them, the prompt's not 0.
    Sum,
    /// Where every choice ended by `length`: `completion_tokens` = the bound that was asked for, times choices.
    LengthExact,
    /// `prompt_tokens` = what `/tokenize` counts for the same messages or the same prompt.
    Tokenize,
    /// `completion_tokens` = the entries of the log-probabilities of all choices.
    Logprobs,
}

/// The leg that asks `/tokenize`.
pub const TOKENIZE: &str = "tokenize";

/// Checks `rules` over the whole answer.
pub(super) fn check(rules: &[UsageRule], scope: &Scope<'_>, out: &mut Vec<Broken>) {
    let usage = &scope.answer["final"]["usage"];
    if !usage.is_object() {
        out.push(scope.broken("usage", "final.usage to be an object", show(usage)));
        return;
    }
    for (index, rule) in rules.iter().enumerate() {
        let scope = scope.down(index);
        match rule {
            UsageRule::Sum => sum(usage, &scope, out),
            UsageRule::LengthExact => length_exact(usage, &scope, out),
            UsageRule::Tokenize => tokenize(usage, &scope, out),
            UsageRule::Logprobs => logprobs(usage, &scope, out),
        }
    }
}

fn sum(usage: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    let count = |key: &str| usage[key].as_u64();
    match (count("prompt_tokens"), count("completion_tokens"), count("total_tokens")) {
        (Some(prompt), Some(completion), Some(total)) if prompt > 0 && prompt + completion == total => {}
        _ => out.push(scope.broken(
            "usage",
            "total_tokens to be prompt_tokens + completion_tokens, the prompt's being more than 0",
            show(usage),
        )),
    }
}

fn length_exact(usage: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    let request = &scope.answer["request"];
    let bound = request["max_completion_tokens"].as_u64().or(request["max_tokens"].as_u64());
    let choices = scope.answer["final"]["choices"].as_array();
    let (Some(bound), Some(choices)) = (bound, choices) else {
        out.push(scope.broken("usage", "a bound in the request and choices in the answer", "none"));
        return;
    };
    let by_length = choices.iter().all(|choice| choice["finish_reason"] == "length");
    let exact = bound * choices.len() as u64;
    if by_length && usage["completion_tokens"].as_u64() != Some(exact) {
        let expected = format!("completion_tokens to be {exact}, every choice having ended by length");
        out.push(scope.broken("usage", expected, show(&usage["completion_tokens"])));
    }
}

fn tokenize(usage: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    let counted = &scope.answer["legs"][TOKENIZE]["body"]["count"];
    if !counted.is_u64() || usage["prompt_tokens"] != *counted {
        let expected = format!("prompt_tokens to be what /tokenize counts, {}", show(counted));
        out.push(scope.broken("usage", expected, show(&usage["prompt_tokens"])));
    }
}

fn logprobs(usage: &Value, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    let choices = scope.answer["final"]["choices"].as_array().into_iter().flatten();
    let entries: usize = choices
        .map(|choice| {
            let lists = [&choice["logprobs"]["content"], &choice["logprobs"]["tokens"]];
            lists.into_iter().find_map(Value::as_array).map_or(0, Vec::len)
        })
        .sum();
    if entries == 0 || usage["completion_tokens"].as_u64() != Some(entries as u64) {
        let expected = format!("completion_tokens to be the number of log-probabilities, {entries}");
        out.push(scope.broken("usage", expected, show(&usage["completion_tokens"])));
    }
}
