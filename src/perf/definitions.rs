//! What each figure means, once: a [`Definition`] has an id, a formula, a unit, the rule for "no value", and
//! what it is not the same as. Every measurement names the one it was made by. Must not know how samples are
//! collected.
//!
//! 指标定义：编号、公式、单位、缺失规则与易混之处。

mod server;

pub use server::*;

/// One figure.
///
/// Terms used in the formulas, all stamps of one monotonic clock, an event carrying the arrival of its last byte: by
/// the kernel where the transport hears it, else when the read returned: `start` the finished request is handed to the
/// transport; `token event` an event whose delta holds text of any channel (answer, reasoning, tool call) or token
/// ids, or with which the server's running count of output tokens has grown; where no event is one and the server's
/// total is not 0, the event that finished; `first`, `last` the first and last token event; `k` tokens in an event;
/// `n` output tokens; `end` the response's end; `window` from the first measured `start` to the last measured `end`,
/// epochs added up. In an open loop a request is `due` by the schedule and `admitted` by the cap on requests in
/// flight; in a closed one it is due, and admitted, when its worker is free. Where prefill and decode are limited
/// apart, it is `admitted` when both have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// What measurements cite: a name, and a number that changes with the meaning.
    pub id: &'static str,
    /// The measurement's name; what the server measures itself may bear the name of its like.
    pub name: &'static str,
    /// Who measures: `client` or `server`.
    pub source: &'static str,
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
    id: "ttft/2",
    name: "ttft",
    source: "client",
    unit: "s",
    formula: "first - start, per successful request",
    null: "no successful request",
    not: "the role-only first chunk (vllm bench), the status line; it holds the connect time where a \
          connection had to be opened, and the write of the request, whose end the general transport cannot see",
};

/// Time to the first token of the answer itself.
pub const TTFA: Definition = Definition {
    id: "ttfa/1",
    name: "ttfa",
    source: "client",
    unit: "s",
    formula: "first event that shows text or token ids of the answer, or a tool call - start, per successful request",
    null: "no successful request that shows its answer",
    not: "ttft, which a token of the reasoning ends, and one that shows no text",
};

/// From the first to the second token.
pub const TTST: Definition = Definition {
    id: "ttst/2",
    name: "ttst",
    source: "client",
    unit: "s",
    formula: "stamp of the event that brings the cumulative tokens to 2 or more - first",
    null: "no successful request of two tokens whose first event held only one",
    not: "the gap between the first two chunks, which is 0 where they came in one read and spans several \
          tokens where tokens are bundled",
};

/// Time per output token of a request.
pub const TPOT: Definition = Definition {
    id: "tpot/2",
    name: "tpot",
    source: "client",
    unit: "s",
    formula: "(last - first) / (n - k of the first event), per successful request; n counts the tokens up to \
              the last token event",
    null: "no successful request with tokens after its first event",
    not: "(e2e - ttft) / (n - 1) (vllm bench), which is wrong where the first event holds several tokens; \
          e2e / n (guidellm)",
};

/// Gap between adjacent output tokens, pooled over requests.
pub const ITL: Definition = Definition {
    id: "itl/2",
    name: "itl",
    source: "client",
    unit: "s",
    formula: "gap between two token events / k of the later one, counted k times; pooled over successful \
              requests",
    null: "no successful request with two token events",
    not: "the gap between chunks, which vllm bench calls ITL; tpot, which weighs every request alike",
};

/// Gap between two token events, whatever they hold.
pub const ICL: Definition = Definition {
    id: "icl/2",
    name: "icl",
    source: "client",
    unit: "s",
    formula: "gap between two adjacent token events; pooled over successful requests",
    null: "no successful request with two token events",
    not: "itl: bundled tokens make one gap here and several there",
};

/// From start to the last token.
pub const E2E: Definition = Definition {
    id: "e2e/2",
    name: "e2e",
    source: "client",
    unit: "s",
    formula: "last - start, per successful request",
    null: "no successful request",
    not: "the response's end: the finish, usage and [DONE] events do not count",
};

/// From start to the end of the response.
pub const RESPONSE_TIME: Definition = Definition {
    id: "response_time/1",
    name: "response_time",
    source: "client",
    unit: "s",
    formula: "end - start, per successful request",
    null: "no successful request",
    not: "e2e, which ends at the last token: finish, usage, [DONE] and the close of the body lie between",
};

/// Time to first token, as a user of an open loop waits for it.
pub const TTFT_FROM_DUE: Definition = Definition {
    id: "ttft_from_due/2",
    name: "ttft_from_due",
    source: "client",
    unit: "s",
    formula: "first - due, per successful request",
    null: "no successful request",
    not: "ttft, which does not hold the wait before sending; they differ where the client or the cap was \
          late",
};

/// From when a request was due to its last token.
pub const E2E_FROM_DUE: Definition = Definition {
    id: "e2e_from_due/2",
    name: "e2e_from_due",
    source: "client",
    unit: "s",
    formula: "last - due, per successful request",
    null: "no successful request",
    not: "e2e, which does not hold the wait before sending",
};

/// Latency per output token.
pub const NORMALIZED_LATENCY: Definition = Definition {
    id: "normalized_latency/2",
    name: "normalized_latency",
    source: "client",
    unit: "s",
    formula: "(last - due) / n, per successful request",
    null: "no successful request with a token",
    not: "tpot, which leaves the first token's wait out; the tpot of guidellm, which starts at the sending",
};

/// Time to first token over all requests that ended by themselves.
pub const TTFT_ALL: Definition = Definition {
    id: "ttft_all/2",
    name: "ttft_all",
    source: "client",
    unit: "s",
    formula: "first - start; a request that failed counts as slower than all others, and so does each turn that was \
              not sent after it",
    null: "no request ended by itself, or that quantile lies among the requests that failed",
    not: "ttft, which is that of the survivors: a server that refuses looks fast there",
};

/// From start to the last token over all requests that ended by themselves.
pub const E2E_ALL: Definition = Definition {
    id: "e2e_all/2",
    name: "e2e_all",
    source: "client",
    unit: "s",
    formula: "last - start; a request that failed counts as slower than all others, and so does each turn that was \
              not sent after it",
    null: "no request ended by itself, or that quantile lies among the requests that failed",
    not: "e2e, which is that of the survivors",
};

/// How long the cap on requests in flight held a request back.
pub const ADMISSION_WAIT: Definition = Definition {
    id: "admission_wait/1",
    name: "admission_wait",
    source: "client",
    unit: "s",
    formula: "admitted - due, per measured request",
    null: "no measured request",
    not: "the server's queue; where this grows, an open loop has become a closed one",
};

/// How late the client was.
pub const SEND_LAG: Definition = Definition {
    id: "send_lag/1",
    name: "send_lag",
    source: "client",
    unit: "s",
    formula: "start - admitted, per measured request",
    null: "no measured request",
    not: "admission_wait, which is asked for; this is the client's own fault",
};

/// How long the request took to write.
pub const WRITE_TIME: Definition = Definition {
    id: "write_time/1",
    name: "write_time",
    source: "client",
    unit: "s",
    formula: "last byte of the request written - start, per successful request",
    null: "no successful request, or the general transport, which cannot tell when the last byte was written",
    not: "the time of the call that hands the request over",
};

/// Output tokens of a request.
pub const OUTPUT_TOKENS: Definition = Definition {
    id: "output_tokens/1",
    name: "output_tokens",
    source: "client",
    unit: "tokens",
    formula: "usage.completion_tokens where the server reports it, else the number of token events; per \
              successful request",
    null: "no successful request",
    not: "the number of chunks, where the server reports usage",
};

/// Output tokens of a request that are reasoning.
pub const REASONING_TOKENS: Definition = Definition {
    id: "reasoning_tokens/2",
    name: "reasoning_tokens",
    source: "client",
    unit: "tokens",
    formula: "usage.completion_tokens_details.reasoning_tokens where the server tells it, else the tokens \
              of the events that show reasoning, and of those behind them that show nothing; per successful request",
    null: "no successful request whose tokens can be divided: a total alone, for reasoning and answer \
           together, cannot, nor can tokens that show nothing at all",
    not: "the length of the reasoning's text",
};

/// Output tokens of a request that are no reasoning.
pub const CONTENT_TOKENS: Definition = Definition {
    id: "content_tokens/1",
    name: "content_tokens",
    source: "client",
    unit: "tokens",
    formula: "output_tokens - reasoning_tokens, per successful request",
    null: "as reasoning_tokens",
    not: "output_tokens, which holds both; tool calls and tokens that no event shows are in here",
};

/// Prompt tokens of a request.
pub const PROMPT_TOKENS: Definition = Definition {
    id: "prompt_tokens/1",
    name: "prompt_tokens",
    source: "client",
    unit: "tokens",
    formula: "usage.prompt_tokens, chat template included; per successful request that reports it",
    null: "no successful request whose answer reports usage",
    not: "the length of the text without its template",
};

/// Prompt tokens of a request that came from a prefix cache.
pub const CACHED_TOKENS: Definition = Definition {
    id: "cached_tokens/1",
    name: "cached_tokens",
    source: "client",
    unit: "tokens",
    formula: "usage.prompt_tokens_details.cached_tokens, per successful request that reports it",
    null: "no successful request whose answer reports them",
    not: "zero: a server that does not tell may well have a cache",
};

/// Output tokens per second over the window.
pub const OUTPUT_THROUGHPUT: Definition = Definition {
    id: "output_token_throughput/1",
    name: "output_token_throughput",
    source: "client",
    unit: "tokens/s",
    formula: "sum of output_tokens of successful requests / window",
    null: "no successful request, or a window of no length",
    not: "tokens of failed requests are left out, their time is not; warm-up is outside",
};

/// Prompt and output tokens per second over the window.
pub const TOTAL_THROUGHPUT: Definition = Definition {
    id: "total_token_throughput/1",
    name: "total_token_throughput",
    source: "client",
    unit: "tokens/s",
    formula: "sum of prompt_tokens and output_tokens of successful requests / window",
    null: "no successful request, a window of no length, or a request whose prompt tokens are unknown",
    not: "prompt tokens answered from a prefix cache are counted like others",
};

/// Successful requests per second over the window.
pub const QPS: Definition = Definition {
    id: "requests_per_second/1",
    name: "requests_per_second",
    source: "client",
    unit: "1/s",
    formula: "successful requests / window",
    null: "a window of no length",
    not: "the rate of sending; failed requests do not count",
};

/// Share of requests that failed.
pub const FAILURE_RATIO: Definition = Definition {
    id: "failure_ratio/2",
    name: "failure_ratio",
    source: "client",
    unit: "ratio",
    formula: "failed / (successful + failed); failed is every outcome but ok and cancelled; an answer is empty where \
              neither an event nor the server's usage tells of a token",
    null: "no request ended by itself",
    not: "requests that we cut off are in neither part; an answer without text is none that failed where the server \
          counts tokens in it",
};

/// Share of conversations that broke off.
pub const CONVERSATION_FAILURE_RATIO: Definition = Definition {
    id: "conversation_failure_ratio/1",
    name: "conversation_failure_ratio",
    source: "client",
    unit: "ratio",
    formula: "conversations with a failed turn / conversations that came to their end or had a failed turn",
    null: "no conversation ended by itself",
    not: "failure_ratio, which is of requests: a turn that was not sent after a failed one did not fail; a conversation \
          that we cut off is in neither part; told of conversations only",
};

/// Turns that were never sent.
pub const UNSENT_TURNS: Definition = Definition {
    id: "unsent_turns/1",
    name: "unsent_turns",
    source: "client",
    unit: "count",
    formula: "turns of measured conversations behind one that failed",
    null: "never",
    not: "turns that were not sent because sending was over; told of conversations only",
};

/// The time that load was made.
pub const TOTAL_TIME: Definition = Definition {
    id: "total_time/1",
    name: "total_time",
    source: "client",
    unit: "s",
    formula: "window",
    null: "no measured request",
    not: "the duration of the trial: warm-up and what lies between two epochs are outside",
};

/// Mean number of requests in flight over the window.
pub const ACHIEVED_CONCURRENCY: Definition = Definition {
    id: "achieved_concurrency/1",
    name: "achieved_concurrency",
    source: "client",
    unit: "count",
    formula: "sum of (end - start) of measured requests / window",
    null: "a window of no length",
    not: "the configured concurrency, which falls off while the last requests drain",
};

/// Share of requests that met every limit of a `goodput` expectation.
pub const GOODPUT_RATIO: Definition = Definition {
    id: "goodput_ratio/1",
    name: "goodput_ratio",
    source: "client",
    unit: "ratio",
    formula: "requests within all limits / (successful + failed - those without a value for a limit + turns not sent \
              after a failed one)",
    null: "no request could be judged",
    not: "a failed request is a miss; one that we cut off, and one whose figure is undefined (tpot of one \
          token), is in neither part",
};

/// Requests a second that met every limit of `slo`.
pub const GOODPUT: Definition = Definition {
    id: "goodput/1",
    name: "goodput",
    source: "client",
    unit: "1/s",
    formula: "requests within all limits of `slo` / window",
    null: "a window of no length",
    not: "requests_per_second, which counts slow ones too; a request whose figure is undefined (tpot of one token) is \
          not counted",
};

/// All of them, in the order in which they are told.
pub const ALL: &[Definition] = &[
    TTFT,
    TTFA,
    TTST,
    TPOT,
    ITL,
    ICL,
    E2E,
    RESPONSE_TIME,
    TTFT_FROM_DUE,
    E2E_FROM_DUE,
    NORMALIZED_LATENCY,
    TTFT_ALL,
    E2E_ALL,
    ADMISSION_WAIT,
    SEND_LAG,
    WRITE_TIME,
    OUTPUT_TOKENS,
    REASONING_TOKENS,
    CONTENT_TOKENS,
    PROMPT_TOKENS,
    CACHED_TOKENS,
    OUTPUT_THROUGHPUT,
    TOTAL_THROUGHPUT,
    QPS,
    FAILURE_RATIO,
    CONVERSATION_FAILURE_RATIO,
    UNSENT_TURNS,
    TOTAL_TIME,
    ACHIEVED_CONCURRENCY,
    GOODPUT_RATIO,
    GOODPUT,
    SERVER_TTFT,
    SERVER_ITL,
    SERVER_TPOT,
    SERVER_E2E,
    SERVER_QUEUE_TIME,
    SERVER_PREFILL_TIME,
    SERVER_DECODE_TIME,
    SERVER_PROMPT_TOKENS,
    SERVER_GENERATION_TOKENS,
    SERVER_PREEMPTIONS,
    SERVER_PREFIX_HIT_RATIO,
    SERVER_RUNNING,
    SERVER_WAITING,
    SERVER_KV_USAGE,
    SPEC_ACCEPT_RATE,
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
            let by = if figure.source == "server" { "server_" } else { "" };
            assert_eq!(name, format!("{by}{}", figure.name));
            assert!(["client", "server"].contains(&figure.source), "{}", figure.id);
            assert!(version.parse::<u32>().is_ok(), "{}", figure.id);
            for text in [figure.unit, figure.formula, figure.null, figure.not] {
                assert!(!text.is_empty(), "{}", figure.id);
            }
        }
    }
}
