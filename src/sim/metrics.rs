//! `/metrics` in vLLM's names: [`Metrics`] counts what was served. Must not know how it is served.
//!
//! 与 vLLM 同名的指标。

use super::log::{How, Sent};
use super::reply::Account;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

const SECONDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
const FIRST: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
const GAPS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const TOKENS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];
const CHOICES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// The histograms: name, help, bounds. Their order is that of the recorded server.
const HISTOGRAMS: [(&str, &str, &[f64]); 11] = [
    ("request_prompt_tokens", "Number of prefill tokens processed.", TOKENS),
    ("request_generation_tokens", "Number of generation tokens processed.", TOKENS),
    ("request_params_n", "Histogram of the n request parameter.", CHOICES),
    ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", TOKENS),
    ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", FIRST),
    ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", GAPS),
    (
        "request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        GAPS,
    ),
    ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", SECONDS),
    ("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", SECONDS),
    ("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", SECONDS),
    ("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", SECONDS),
];

const REASONS: [&str; 5] = ["stop", "length", "abort", "error", "repetition"];

/// What was served until now.
#[derive(Debug)]
pub(super) struct Metrics(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: i64,
    prompt_tokens: u64,
    generation_tokens: u64,
    finished: [u64; REASONS.len()],
    histograms: [Histogram; HISTOGRAMS.len()],
}

#[derive(Debug, Default, Clone)]
struct Histogram {
    values: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[f64], value: f64) {
        self.values.resize(bounds.len(), 0);
        for (bound, count) in bounds.iter().zip(&mut self.values) {
            *count += u64::from(value <= *bound);
        }
        self.sum += value;
        self.count += 1;
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        Metrics(Mutex::default())
    }

    /// A request of this many choices is being answered.
    pub(super) fn begin(&self, choices: usize) {
        self.with(|state| state.running += i64::try_from(choices).unwrap_or(0));
    }

    /// How many choices are being made.
    pub(super) fn running(&self) -> i64 {
        self.with(|state| state.running)
    }

    /// It is over. Tokens count as generated when they were sent. Of an abandoned request no end is counted, as the
    /// recorded server counts none.
    pub(super) fn finish(&self, account: &Account, sent: &Sent) {
        self.with(|state| {
            state.running -= i64::try_from(account.finishes.len()).unwrap_or(0);
            state.prompt_tokens += u64::from(account.prompt_tokens);
            state.generation_tokens += sent.tokens.len() as u64;
            if sent.how == How::Gone || sent.how == How::Broken {
                return;
            }
            for finish in &account.finishes {
                if let Some(k) = REASONS.iter().position(|reason| reason == finish) {
                    state.finished[k] += 1;
                }
            }
            observe(&mut state.histograms, account, sent);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text of `/metrics`.
    pub(super) fn text(&self, model: &str) -> String {
        self.with(|state| {
            let mut out = String::new();
            let labels = format!("engine=\"0\",model_name=\"{model}\"");
            let mut one = |kind: &str, name: &str, help: &str, rows: &[(String, f64)]| {
                family(&mut out, kind, name, help);
                for (labels, value) in rows {
                    let _ = writeln!(out, "vllm:{name}{{{labels}}} {value:?}");
                }
            };
            let plain = |value: f64| [(labels.clone(), value)];
            one(
                "gauge",
                "num_requests_running",
                "Number of requests in model execution batches.",
                &plain(state.running as f64),
            );
            one("gauge", "num_requests_waiting", "Number of requests waiting to be processed.", &plain(0.0));
            let used = state.running as f64 / 1000.0;
            one(
                "gauge",
                "kv_cache_usage_perc",
                "KV-cache usage. 1 means 100 percent usage.",
                &plain(used.clamp(0.0, 1.0)),
            );
            let queries = state.prompt_tokens as f64;
            one(
                "counter",
                "prefix_cache_queries_total",
                "Prefix cache queries, in terms of number of queried tokens.",
                &plain(queries),
            );
            one(
                "counter",
                "prefix_cache_hits_total",
                "Prefix cache hits, in terms of number of cached tokens.",
                &plain(0.0),
            );
            one(
                "counter",
                "num_preemptions_total",
                "Cumulative number of preemption from the engine.",
                &plain(0.0),
            );
            one("counter", "prompt_tokens_total", "Number of prefill tokens processed.", &plain(queries));
            one(
                "counter",
                "generation_tokens_total",
                "Number of generation tokens processed.",
                &plain(state.generation_tokens as f64),
            );
            let ends: Vec<(String, f64)> = REASONS
                .iter()
                .zip(state.finished)
                .map(|(r, n)| {
                    (format!("engine=\"0\",finished_reason=\"{r}\",model_name=\"{model}\""), n as f64)
                })
                .collect();
            one("counter", "request_success_total", "Count of successfully processed requests.", &ends);
            for ((name, help, bounds), histogram) in HISTOGRAMS.iter().zip(&state.histograms) {
                family(&mut out, "histogram", name, help);
                histogram.write(&mut out, name, bounds, model);
            }
            out
        })
    }
}

fn observe(histograms: &mut [Histogram; HISTOGRAMS.len()], account: &Account, sent: &Sent) {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut note = |name: &str, value: f64| {
        if let Some(k) = HISTOGRAMS.iter().position(|(known, ..)| *known == name) {
            histograms[k].observe(HISTOGRAMS[k].2, value);
        }
    };
    let choices = account.finishes.len();
    for _ in 0..choices {
        note("request_prompt_tokens", f64::from(account.prompt_tokens));
        note("request_generation_tokens", f64::from(account.completion_tokens) / choices as f64);
        note("request_params_max_tokens", f64::from(account.max_tokens));
    }
    note("request_params_n", choices as f64);
    note("request_queue_time_seconds", 0.0);
    let (Some(first), Some(last)) = (sent.tokens.first(), sent.tokens.last()) else { return };
    let decode = seconds(last - first);
    note("time_to_first_token_seconds", seconds(first - sent.received));
    note("e2e_request_latency_seconds", seconds(last - sent.received));
    note("request_prefill_time_seconds", seconds(first - sent.received));
    note("request_decode_time_seconds", decode);
    if sent.tokens.len() > 1 {
        note("request_time_per_output_token_seconds", decode / (sent.tokens.len() - 1) as f64);
    }
    for pair in sent.tokens.windows(2) {
        note("inter_token_latency_seconds", seconds(pair[1] - pair[0]));
    }
}

fn family(out: &mut String, kind: &str, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
}

impl Histogram {
    fn write(&self, out: &mut String, name: &str, bounds: &[f64], model: &str) {
        let below = self.values.iter().copied().chain(std::iter::repeat(0));
        for (bound, count) in bounds.iter().zip(below) {
            let _ = writeln!(
                out,
                "vllm:{name}_bucket{{engine=\"0\",le=\"{bound:?}\",model_name=\"{model}\"}} {count}.0"
            );
        }
        let labels = format!("engine=\"0\",model_name=\"{model}\"");
        let _ = writeln!(
            out,
            "vllm:{name}_bucket{{engine=\"0\",le=\"+Inf\",model_name=\"{model}\"}} {}.0",
            self.count
        );
        let _ = writeln!(out, "vllm:{name}_count{{{labels}}} {}.0", self.count);
        let _ = writeln!(out, "vllm:{name}_sum{{{labels}}} {:?}", self.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_at_the_count() {
        let mut histogram = Histogram::default();
        for value in [0.5, 3.0, 1000.0] {
            histogram.observe(CHOICES, value);
        }
        let mut text = String::new();
        histogram.write(&mut text, "request_params_n", CHOICES, "m");
        let values: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(values, ["1.0", "1.0", "2.0", "2.0", "2.0", "3.0", "3.0", "1003.5"]);
    }
}
