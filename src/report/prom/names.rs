//! What the figures of a measured row are called in Prometheus, once for all sources: [`perf`] asks a [`Figures`]
//! for each of them, be it a trial of a run or a line of an acs-bench summary. Must not know where figures come from.
//!
//! 性能指标的命名表，各数据来源共用。

use super::families::{Distribution, Families, Labels};

/// A distribution: seconds per request or per gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latency {
    /// The name of the family, without `_seconds`.
    pub(crate) family: &'static str,
    /// The measurement's name in a journal.
    pub(crate) measurement: &'static str,
    /// Who measured: `client` or `server`.
    pub(crate) source: &'static str,
    /// The columns of a summary CSV: `TP99_` and this.
    pub(crate) column: &'static str,
    /// One sample a successful request, so that their number is known.
    pub(crate) per_request: bool,
    help: &'static str,
}

/// All distributions. `tpot` is what the CSV calls so, the gap between adjacent tokens.
pub(crate) const LATENCIES: [Latency; 8] = [
    Latency {
        family: "ttft",
        measurement: "ttft",
        source: "client",
        column: "TTFT(s)",
        per_request: true,
        help: "Time to first token, per successful request.",
    },
    Latency {
        family: "tpot",
        measurement: "itl",
        source: "client",
        column: "TPOT(s)",
        per_request: false,
        help: "Gap between adjacent output tokens, pooled over successful requests (TPOT of the summary CSV, itl in JSON).",
    },
    Latency {
        family: "tpot_per_request",
        measurement: "tpot",
        source: "client",
        column: "TPOT_SEC(s)",
        per_request: true,
        help: "Time per output token after the first, per successful request (TPOT_SEC of the summary CSV, tpot in JSON).",
    },
    Latency {
        family: "e2e",
        measurement: "e2e",
        source: "client",
        column: "E2E(s)",
        per_request: true,
        help: "Time from start to end, per successful request.",
    },
    Latency {
        family: "time_between_first_and_second_token",
        measurement: "ttst",
        source: "client",
        column: "TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)",
        per_request: false,
        help: "Time between the first and the second output token, per successful request.",
    },
    Latency {
        family: "server_ttft",
        measurement: "ttft",
        source: "server",
        column: "SERVER_TTFT(ms)",
        per_request: false,
        help: "Time to first token as the server measures it; quantiles are estimated from its histogram.",
    },
    Latency {
        family: "server_tpot",
        measurement: "tpot",
        source: "server",
        column: "SERVER_TPOT(ms)",
        per_request: false,
        help: "Time per output token as the server measures it; quantiles are estimated from its histogram.",
    },
    Latency {
        family: "server_e2e",
        measurement: "e2e",
        source: "server",
        column: "SERVER_E2E(ms)",
        per_request: false,
        help: "Time from start to end as the server measures it; quantiles are estimated from its histogram.",
    },
];

/// The figures of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The name of the family.
    pub(crate) family: &'static str,
    /// The measurement's name in a journal.
    pub(crate) measurement: &'static str,
    /// The column of a summary CSV.
    pub(crate) column: &'static str,
    help: &'static str,
}

/// All of them.
pub(crate) const RATES: [Rate; 4] = [
    Rate {
        family: "total_token_throughput_tokens_per_second",
        measurement: "total_token_throughput",
        column: "Total_Token_Throughput(tokens/s)",
        help: "Prompt and output tokens of successful requests per second.",
    },
    Rate {
        family: "output_token_throughput_tokens_per_second",
        measurement: "output_token_throughput",
        column: "Output_Token_Throughput(tokens/s)",
        help: "Output tokens of successful requests per second.",
    },
    Rate {
        family: "requests_per_second",
        measurement: "requests_per_second",
        column: "QPS",
        help: "Successful requests per second.",
    },
    Rate {
        family: "failure_ratio",
        measurement: FAILURES,
        column: "Fail_Rate",
        help: "Share of requests that failed, from 0 to 1.",
    },
];

const FAILURES: &str = "failure_ratio";

/// Above this a failure ratio is high.
const HIGH_FAILURE: f64 = 0.2;

/// The quantiles that are exported: the name of the figure, the value of the label.
const QUANTILES: [(&str, f64); 4] = [("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// One measured row. Times are in seconds; what is missing is nothing.
pub(crate) trait Figures {
    /// A figure of a distribution: `p75`, `p90`, `p95`, `p99`, `mean`, `max`, `min`.
    fn latency(&self, of: &Latency, stat: &str) -> Option<f64>;
    /// Sum and number of its samples, where they are known.
    fn total(&self, of: &Latency) -> Option<(f64, u64)>;
    /// A figure of one value.
    fn rate(&self, of: &Rate) -> Option<f64>;
}

/// Adds all that `row` tells, under `labels`.
pub(crate) fn perf(families: &mut Families, labels: &Labels, row: &impl Figures) {
    for latency in &LATENCIES {
        let family = latency.family;
        let quantiles = QUANTILES.iter().filter_map(|&(stat, q)| Some((q, row.latency(latency, stat)?)));
        let told = Distribution { quantiles: quantiles.collect(), total: row.total(latency) };
        families.summary(&format!("{family}_seconds"), latency.help, labels, &told);
        for (stat, suffix, which) in
            [("mean", "avg", "Mean"), ("max", "max", "Largest"), ("min", "min", "Smallest")]
        {
            let help = format!("{which} of {family}_seconds.");
            families.gauge(&format!("{family}_{suffix}_seconds"), &help, labels, row.latency(latency, stat));
        }
    }
    for rate in &RATES {
        let value = row.rate(rate);
        families.gauge(rate.family, rate.help, labels, value);
        if rate.measurement == FAILURES {
            let high = value.map(|ratio| f64::from(u8::from(ratio > HIGH_FAILURE)));
            let help = "1 where more than 20 % of the requests failed, else 0.";
            families.gauge("high_failure_ratio", help, labels, high);
        }
    }
}
