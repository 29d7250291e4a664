//! What servers call the things we read of them: one table of aliases, the newest name first. Must not know what is
//! done with them.
//!
//! 各服务端指标名的对照表。

/// A gauge or a counter.
pub(super) struct Value {
    /// Our name.
    pub(super) name: &'static str,
    /// Theirs.
    pub(super) theirs: &'static [&'static str],
    /// Where several engines tell one each: the largest instead of the sum.
    pub(super) largest: bool,
}

const fn sum(name: &'static str, theirs: &'static [&'static str]) -> Value {
    Value { name, theirs, largest: false }
}

/// The gauges and counters that are kept of every reading.
pub(super) const VALUES: [Value; 11] = [
    sum("running", &["vllm:num_requests_running", "sglang:num_running_reqs"]),
    sum("waiting", &["vllm:num_requests_waiting", "sglang:num_queue_reqs"]),
    Value {
        name: "kv_usage",
        theirs: &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"],
        largest: true,
    },
    sum("preemptions", &["vllm:num_preemptions_total"]),
    sum("prompt_tokens", &["vllm:prompt_tokens_total", "sglang:prompt_tokens_total"]),
    sum("generation_tokens", &["vllm:generation_tokens_total", "sglang:generation_tokens_total"]),
    sum("prefix_queries", &["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"]),
    sum("prefix_hits", &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"]),
    sum("drafted_tokens", &["vllm:spec_decode_num_draft_tokens_total"]),
    sum("accepted_tokens", &["vllm:spec_decode_num_accepted_tokens_total"]),
    sum("finished_requests", &["vllm:request_success_total"]),
];

/// The histograms: our name, theirs. All are of seconds.
pub(super) const HISTOGRAMS: [(&str, &[&str]); 7] = [
    ("ttft", &["vllm:time_to_first_token_seconds", "sglang:time_to_first_token_seconds"]),
    ("itl", &["vllm:inter_token_latency_seconds", "sglang:inter_token_latency_seconds"]),
    ("tpot", &["vllm:request_time_per_output_token_seconds", "vllm:time_per_output_token_seconds"]),
    ("e2e", &["vllm:e2e_request_latency_seconds", "sglang:e2e_request_latency_seconds"]),
    ("queue_time", &["vllm:request_queue_time_seconds"]),
    ("prefill_time", &["vllm:request_prefill_time_seconds"]),
    ("decode_time", &["vllm:request_decode_time_seconds"]),
];
