//! What each figure means, once: a [`Definition`] has an id, a formula, a unit, the rule for "no value", and
//! what it is not the same as. Every measurement names the one it was made by. Must not know how samples are
//! collected.
//!
//! 指标定义：编号、公式、单位、缺失规则与易混之处。

/// One figure.
///
/// Terms used in the formulas, all stamps of one monotonic clock, an event carrying the stamp of the read that
/// completed it:
/// `start` the finished request is handed to the transport; `token event` an event whose delta holds text of any
/// channel (answer, reasoning, tool call); `first`, `last` the first and last token event; `k` tokens in an
/// event; `n` output tokens; `window` from the first measured `start` to the last measured response's end, epochs added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// What measurements cite: a name, and a number that changes with the meaning.
    pub id: &'static str,
    /// The measurement's name.
    pub name: &'static str,
    /// `s`, `tokens`, `tokens/s`, `1/s`, `ratio`, `count`.
    pub unit: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// When there is no value.
    pub null: &'static str,
    /// What bears a like name elsewhere and is something else.
    pub not: &'static str,
}

/// Time to first token.
pub const TTFT: Definition = Definition {
    id: "ttft/1",
    name: "ttft",
    unit: "s",
    formula: "first - start, per successful request",
    null: "no successful request",
    not: "the role-only first chunk (vllm bench), the status line; it holds the connect time where a \
          connection had to be opened, and the write of the request, whose end this transport cannot see",
};

/// From the first to the second token.
pub const TTST: Definition = Definition {
    id: "ttst/1",
    name: "ttst",
    unit: "s",
    formula: "stamp of the event that brings the cumulative tokens to 2 or more - first",
    null: "no successful request of two tokens whose first event held only one",
    not: "the gap between the first two chunks, which is 0 where they came in one read and spans several \
          tokens where tokens are bundled",
};

/// Time per output token of a request.
pub const TPOT: Definition = Definition {
    id: "tpot/1",
    name: "tpot",
    unit: "s",
    formula: "(last - first) / (n - k of the first event), per successful request; n counts the tokens up to \
              the last token event",
    null: "no successful request with tokens after its first event",
    not: "(e2e - ttft) / (n - 1) (vllm bench), which is wrong where the first event holds several tokens; \
          e2e / n (guidellm)",
};

/// Gap between adjacent output tokens, pooled over requests.
pub const ITL: Definition = Definition {
    id: "itl/1",
    name: "itl",
    unit: "s",
    formula: "gap between two token events / k of the later one, counted k times; pooled over successful \
              requests",
    null: "no successful request with two token events",
    not: "the gap between chunks, which vllm bench calls ITL; tpot, which weighs every request alike",
};

/// From start to the last token.
pub const E2E: Definition = Definition {
    id: "e2e/1",
    name: "e2e",
    unit: "s",
    formula: "last - start, per successful request",
    null: "no successful request",
    not: "the response's end: the finish, usage and [DONE] events do not count",
};

/// Output tokens of a request.
pub const OUTPUT_TOKENS: Definition = Definition {
    id: "output_tokens/1",
    name: "output_tokens",
    unit: "tokens",
    formula: "usage.completion_tokens where the server reports it, else the number of token events; per \
              successful request",
    null: "no successful request",
    not: "the number of chunks, where the server reports usage",
};

/// Prompt tokens of a request.
pub const PROMPT_TOKENS: Definition = Definition {
    id: "prompt_tokens/1",
    name: "prompt_tokens",
    unit: "tokens",
    formula: "usage.prompt_tokens, chat template included; per successful request that reports it",
    null: "no successful request whose answer reports usage",
    not: "the length of the text without its template",
};

/// Output tokens per second over the window.
pub const OUTPUT_THROUGHPUT: Definition = Definition {
    id: "output_token_throughput/1",
    name: "output_token_throughput",
    unit: "tokens/s",
    formula: "sum of output_tokens of successful requests / window",
    null: "no successful request, or a window of no length",
    not: "tokens of failed requests are left out, their time is not; warm-up is outside",
};

/// Prompt and output tokens per second over the window.
pub const TOTAL_THROUGHPUT: Definition = Definition {
    id: "total_token_throughput/1",
    name: "total_token_throughput",
    unit: "tokens/s",
    formula: "sum of prompt_tokens and output_tokens of successful requests / window",
    null: "no successful request, a window of no length, or a request whose prompt tokens are unknown",
    not: "prompt tokens answered from a prefix cache are counted like others",
};

/// Successful requests per second over the window.
pub const QPS: Definition = Definition {
    id: "requests_per_second/1",
    name: "requests_per_second",
    unit: "1/s",
    formula: "successful requests / window",
    null: "a window of no length",
    not: "the rate of sending; failed requests do not count",
};

/// Share of requests that failed.
pub const FAILURE_RATIO: Definition = Definition {
    id: "failure_ratio/1",
    name: "failure_ratio",
    unit: "ratio",
    formula: "failed / (successful + failed); failed is every outcome but ok and cancelled",
    null: "no request ended by itself",
    not: "requests that we cut off are in neither part",
};

/// Mean number of requests in flight over the window.
pub const ACHIEVED_CONCURRENCY: Definition = Definition {
    id: "achieved_concurrency/1",
    name: "achieved_concurrency",
    unit: "count",
    formula: "sum of (end - start) of measured requests / window",
    null: "a window of no length",
    not: "the configured concurrency, which falls off while the last requests drain",
};

/// Share of requests that met every limit of a `goodput` expectation.
pub const GOODPUT_RATIO: Definition = Definition {
    id: "goodput_ratio/1",
    name: "goodput_ratio",
    unit: "ratio",
    formula: "requests within all limits / (successful + failed - those without a value for a limit)",
    null: "no request could be judged",
    not: "a failed request is a miss; one that we cut off, and one whose figure is undefined (tpot of one \
          token), is in neither part",
};

/// All of them, in the order in which they are told.
pub const ALL: &[Definition] = &[
    TTFT,
    TTST,
    TPOT,
    ITL,
    E2E,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    OUTPUT_THROUGHPUT,
    TOTAL_THROUGHPUT,
    QPS,
    FAILURE_RATIO,
    ACHIEVED_CONCURRENCY,
    GOODPUT_RATIO,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_figure_is_defined_once_and_whole() {
        let ids: BTreeSet<_> = ALL.iter().map(|figure| figure.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for figure in ALL {
            let (name, version) = figure.id.split_once('/').expect("an id is name/version");
            assert_eq!(name, figure.name);
            assert!(version.parse::<u32>().is_ok(), "{}", figure.id);
            for text in [figure.unit, figure.formula, figure.null, figure.not] {
                assert!(!text.is_empty(), "{}", figure.id);
            }
        }
    }
}
