//! The figures that the server counts itself, as `/metrics` tells them. Must not know what a server calls them.
//!
//! 服务端指标的定义。

use super::Definition;

/// Why a figure of a server's histogram may be missing.
const NO_HISTOGRAM: &str = "the server has no /metrics, or no such histogram, or counted nothing between the two \
                            readings; a histogram keeps no minimum and no maximum";

/// Time to first token, as the server sees it.
pub const SERVER_TTFT: Definition = Definition {
    id: "server_ttft/1",
    name: "ttft",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the time to first token: mean from the differences of sum and \
              count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "ttft, which holds the way to the server and back",
};

/// Gap between tokens, as the server sees it.
pub const SERVER_ITL: Definition = Definition {
    id: "server_itl/1",
    name: "itl",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the gaps between tokens: mean from the differences of sum and \
              count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "itl, which holds what the network and the stream add",
};

/// Time per output token of a request, as the server sees it.
pub const SERVER_TPOT: Definition = Definition {
    id: "server_tpot/1",
    name: "tpot",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the time per output token of a request: mean from the differences \
              of sum and count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "server_itl, which pools the gaps of all requests",
};

/// Latency of a request, as the server sees it.
pub const SERVER_E2E: Definition = Definition {
    id: "server_e2e/1",
    name: "e2e",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the latency of requests: mean from the differences of sum and \
              count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "response_time, which holds the way to the server and back",
};

/// How long requests waited for the server's scheduler.
pub const SERVER_QUEUE_TIME: Definition = Definition {
    id: "server_queue_time/1",
    name: "queue_time",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the time that requests wait: mean from the differences of sum and \
              count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "admission_wait, which is the client's",
};

/// How long the server read prompts.
pub const SERVER_PREFILL_TIME: Definition = Definition {
    id: "server_prefill_time/1",
    name: "prefill_time",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the time of the prefill phase: mean from the differences of sum \
              and count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "server_ttft, which holds the queue too",
};

/// How long the server wrote answers.
pub const SERVER_DECODE_TIME: Definition = Definition {
    id: "server_decode_time/1",
    name: "decode_time",
    source: "server",
    unit: "s",
    formula: "the server's histogram of the time of the decode phase: mean from the differences of sum and \
              count, quantiles estimated by linear interpolation within a bucket",
    null: NO_HISTOGRAM,
    not: "e2e - ttft, which the client sees",
};

/// Prompt tokens that the server read over the window.
pub const SERVER_PROMPT_TOKENS: Definition = Definition {
    id: "server_prompt_tokens/1",
    name: "prompt_tokens",
    source: "server",
    unit: "tokens",
    formula: "difference of the server's counter between idle before and idle after - prompt tokens of the \
              warm-up as the client counts them",
    null: "the server has no /metrics, or no such counter, or it began anew in between",
    not: "sum of prompt_tokens; that they differ is told, with both numbers",
};

/// Tokens that the server generated over the window.
pub const SERVER_GENERATION_TOKENS: Definition = Definition {
    id: "server_generation_tokens/1",
    name: "generation_tokens",
    source: "server",
    unit: "tokens",
    formula: "difference of the server's counter between idle before and idle after - output tokens of the \
              warm-up as the client counts them",
    null: "the server has no /metrics, or no such counter, or it began anew in between",
    not: "sum of output_tokens; that they differ is told, with both numbers",
};

/// How often the server pushed a request back into its queue.
pub const SERVER_PREEMPTIONS: Definition = Definition {
    id: "server_preemptions/1",
    name: "preemptions",
    source: "server",
    unit: "count",
    formula: "difference of the server's counter",
    null: "the server has no /metrics, or no such counter, or it began anew in between",
    not: "requests that failed: a preempted one is taken up again",
};

/// Share of prompt tokens that the server took from its prefix cache.
pub const SERVER_PREFIX_HIT_RATIO: Definition = Definition {
    id: "server_prefix_hit_ratio/1",
    name: "prefix_hit_ratio",
    source: "server",
    unit: "ratio",
    formula: "difference of the hits / difference of the queries",
    null: "the server has no /metrics, or no such counter, or it began anew in between, or nothing was \
           asked of the cache",
    not: "cached_tokens, which the answers report",
};

/// Requests that the server was working on.
pub const SERVER_RUNNING: Definition = Definition {
    id: "server_running/1",
    name: "running",
    source: "server",
    unit: "count",
    formula: "the server's gauge, read about once a second within the window",
    null: "the server has no /metrics, or no such gauge, or was not read within the window",
    not: "achieved_concurrency, which holds those that wait too",
};

/// Requests that waited in the server.
pub const SERVER_WAITING: Definition = Definition {
    id: "server_waiting/1",
    name: "waiting",
    source: "server",
    unit: "count",
    formula: "the server's gauge, read about once a second within the window",
    null: "the server has no /metrics, or no such gauge, or was not read within the window",
    not: "requests that the client holds back",
};

/// Share of the key-value cache in use.
pub const SERVER_KV_USAGE: Definition = Definition {
    id: "server_kv_usage/1",
    name: "kv_usage",
    source: "server",
    unit: "ratio",
    formula: "the server's gauge, read about once a second within the window; of several engines the fullest",
    null: "the server has no /metrics, or no such gauge, or was not read within the window",
    not: "memory in use: the cache is reserved whole",
};

/// Share of the drafted tokens that the server accepted.
pub const SPEC_ACCEPT_RATE: Definition = Definition {
    id: "server_spec_accept_rate/1",
    name: "spec_accept_rate",
    source: "server",
    unit: "ratio",
    formula: "accepted / drafted tokens, from differences of the server's counters; mean over the whole, \
              the other figures over the intervals between two readings",
    null: "the server does not draft, or does not tell",
    not: "tokens per step: the token that the model makes itself is not counted",
};
