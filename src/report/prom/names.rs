//! What the figures of a measured row are called in Prometheus, once for all sources: [`perf`] asks a [`Figures`]
//! for each of them, be it a trial of a run or a line of an acs-bench summary. Must not know where figures come from.
//!
//! 性能指标的命名表，各数据来源共用。

use super::families::{Distribution, Families, Labels};

/// A figure of many values, of which quantiles, mean and extremes are told: seconds per request or per gap, mostly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    /// The name of the family, without its unit.
    pub(crate) family: &'static str,
    /// What the name of the family ends in: `seconds`, `ratio`, `requests`.
    pub(crate) unit: &'static str,
    /// The measurement's name in a journal.
    pub(crate) measurement: &'static str,
    /// Who measured: `client` or `server`.
    pub(crate) source: &'static str,
    /// The columns of a summary CSV, where it has some: `TP99_` and this.
    pub(crate) column: Option<&'static str>,
    /// One sample a successful request, so that their number is known.
    pub(crate) per_request: bool,
    help: &'static str,
}

/// All of them. `tpot` and `e2e` are what the CSV calls so, whoever tells them: the gap between adjacent tokens, and the
/// time to the response's end. What the JSON calls so has names of its own.
pub(crate) const SPREADS: [Spread; 14] = [
    Spread {
        column: Some("TTFT(s)"),
        per_request: true,
        ..client("ttft", "ttft", "Time to first token, per successful request.")
    },
    Spread {
        column: Some("TPOT(s)"),
        ..client(
            "tpot",
            "itl",
            "Gap between adjacent output tokens, pooled over successful requests (TPOT of the summary CSV, itl in JSON).",
        )
    },
    Spread {
        column: Some("TPOT_SEC(s)"),
        per_request: true,
        ..client(
            "tpot_per_request",
            "tpot",
            "Time per output token after the first, per successful request (TPOT_SEC of the summary CSV, tpot in JSON).",
        )
    },
    Spread {
        column: Some("E2E(s)"),
        per_request: true,
        ..client(
            "e2e",
            "response_time",
            "Time from start to the end of the response, per successful request (E2E of the summary CSV, response_time in JSON).",
        )
    },
    Spread {
        per_request: true,
        ..client(
            "last_token",
            "e2e",
            "Time from start to the last output token, per successful request (e2e in JSON; not in the summary CSV).",
        )
    },
    Spread {
        column: Some("TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)"),
        ..client(
            "time_between_first_and_second_token",
            "ttst",
            "Time between the first and the second output token, per successful request.",
        )
    },
    Spread {
        column: Some("SERVER_TTFT(ms)"),
        ..server(
            "server_ttft",
            "ttft",
            "Time to first token as the server measures it; quantiles are estimated from its histogram.",
        )
    },
    Spread {
        column: Some("SERVER_TPOT(ms)"),
        ..server(
            "server_tpot",
            "tpot",
            "Time per output token as the server measures it; quantiles are estimated from its histogram.",
        )
    },
    server(
        "server_itl",
        "itl",
        "Gap between adjacent output tokens as the server measures it; quantiles are estimated from its histogram.",
    ),
    Spread {
        column: Some("SERVER_E2E(ms)"),
        ..server(
            "server_e2e",
            "e2e",
            "Time from start to end as the server measures it; quantiles are estimated from its histogram.",
        )
    },
    Spread {
        unit: "ratio",
        column: Some("SPEC_ACCEPT_RATE"),
        ..server(
            "server_spec_accept",
            "spec_accept_rate",
            "Share of drafted tokens that the server accepted; the mean is that of the whole window, quantiles are of its readings.",
        )
    },
    Spread {
        unit: "requests",
        ..server(
            "server_running",
            "running",
            "Requests that the server was working on, read about once a second.",
        )
    },
    Spread {
        unit: "requests",
        ..server("server_waiting", "waiting", "Requests that waited in the server, read about once a second.")
    },
    Spread {
        unit: "ratio",
        ..server(
            "server_kv_cache_usage",
            "kv_usage",
            "Share of the key-value cache in use, read about once a second; of several engines the fullest.",
        )
    },
];

/// Seconds that the client measured.
const fn client(family: &'static str, measurement: &'static str, help: &'static str) -> Spread {
    Spread { family, unit: "seconds", measurement, source: "client", column: None, per_request: false, help }
}

/// Seconds that the server measured.
const fn server(family: &'static str, measurement: &'static str, help: &'static str) -> Spread {
    Spread { source: "server", ..client(family, measurement, help) }
}

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
    fn spread(&self, of: &Spread, stat: &str) -> Option<f64>;
    /// Sum and number of its samples, where they are known.
    fn total(&self, of: &Spread) -> Option<(f64, u64)>;
    /// A figure of one value.
    fn rate(&self, of: &Rate) -> Option<f64>;
}

/// Adds all that `row` tells, under `labels`.
pub(crate) fn perf(families: &mut Families, labels: &Labels, row: &impl Figures) {
    for spread in &SPREADS {
        let Spread { family, unit, help, .. } = spread;
        let quantiles = QUANTILES.iter().filter_map(|&(stat, q)| Some((q, row.spread(spread, stat)?)));
        let told = Distribution { quantiles: quantiles.collect(), total: row.total(spread) };
        families.summary(&format!("{family}_{unit}"), help, labels, &told);
        for (stat, suffix, which) in
            [("mean", "avg", "Mean"), ("max", "max", "Largest"), ("min", "min", "Smallest")]
        {
            let help = format!("{which} of {family}_{unit}. {help}");
            families.gauge(&format!("{family}_{suffix}_{unit}"), &help, labels, row.spread(spread, stat));
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
