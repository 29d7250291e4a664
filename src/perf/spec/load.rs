//! How a case makes load: [`ControlMethod`], when it [`Stop`]s, and who carries it, a [`ConcurrencyBackend`]. Must
//! not know how any of it is done.
//!
//! 施压方式、停止条件与并发后端。

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How load is made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControlMethod {
    /// A closed loop: `concurrency` workers, each with one request in flight, until all are sent.
    #[default]
    Fixed,
    /// A closed loop that grows to `concurrency` workers in one continuous run: nothing is drained between two steps.
    Climb(Climb),
    /// An open loop: requests arrive at a rate whatever the server does; `concurrency`, where it is given, is a cap
    /// at which they wait, and the wait is measured.
    Rate(Rate),
    /// An open loop whose arrivals a recorded trace says, the only source of `dataset`; `concurrency` is a cap too.
    Trace(Replay),
}

impl ControlMethod {
    /// Its name in reports and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Climb(_) => "climb",
            Self::Rate(_) => "rate",
            Self::Trace(_) => "trace",
        }
    }
}

/// How a climb grows. Its clock starts with the first measured request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Climb {
    /// Workers at the beginning, the warm-up included.
    #[serde(default = "one")]
    pub init_concurrency: u32,
    /// How many more in every interval.
    pub growth_rate: u32,
    /// The interval, in milliseconds.
    #[serde(default = "growth_interval_ms")]
    pub growth_interval_ms: u64,
    /// How those of one interval come.
    #[serde(default)]
    pub mode: ClimbMode,
}

fn one() -> u32 {
    1
}

fn growth_interval_ms() -> u64 {
    1000
}

/// How the workers that one interval adds come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClimbMode {
    /// All at its end: stairs.
    #[default]
    Static,
    /// One by one, evenly over it: a slope.
    Linear,
}

/// Arrivals of an open loop. The gaps are drawn from a gamma law beforehand, and are not rescaled afterwards: the
/// rate of a short run differs from the asked one by chance, as that of real users does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Arrivals in a second, on average.
    pub requests_per_second: f64,
    /// Shape of the law of the gaps, whose coefficient of variation is 1/√burstiness: 1 is a Poisson process, less
    /// comes in bursts, more is steadier.
    #[serde(default = "poisson")]
    pub burstiness: f64,
}

fn poisson() -> f64 {
    1.0
}

/// How a trace is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// How much faster than it was recorded: 2 is twice as fast.
    #[serde(default = "as_recorded")]
    pub speed: f64,
}

fn as_recorded() -> f64 {
    1.0
}

/// What admits a request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestMode {
    /// `concurrency` alone.
    #[default]
    Normal,
    /// Limits for prefill and decode apart, as a server has them whose prefill and decode run on machines of their own.
    PdDynamic(PdDynamic),
}

/// A request is admitted while fewer than `prefill_concurrency` are in prefill (sent, no token yet) and fewer than
/// both limits together are in flight. One that has its first token decodes: nobody can hold it back there, so that
/// while more than `decode_concurrency` decode, each of those beyond takes the place of one in prefill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PdDynamic {
    /// Requests in prefill at most. Default: `concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_concurrency: Option<u32>,
    /// Requests in decode, as long as prefill is full. Default: `concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_concurrency: Option<u32>,
}

/// The limits of [`PdDynamic`], its defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PhaseLimits {
    /// Requests in prefill at most.
    pub prefill: u32,
    /// With it: requests in flight at most.
    pub decode: u32,
}

/// Who carries the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConcurrencyBackend {
    /// Threads, each with one request at a time and an event loop and a connection of its own.
    #[default]
    ThreadingPool,
    /// One thread with one event loop for all requests.
    Asyncio,
    /// `num_process` processes, each with one event loop and an equal share of one schedule.
    ProcessingPool,
    /// `num_process` pods of a Kubernetes Job, each as one of those processes.
    K8sJob,
}

impl ConcurrencyBackend {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ThreadingPool => "threading-pool",
            Self::Asyncio => "asyncio",
            Self::ProcessingPool => "processing-pool",
            Self::K8sJob => "k8s-job",
        }
    }

    /// Whether several programs carry a share of the load each, none of which sees the others' requests.
    pub fn is_divided(self) -> bool {
        matches!(self, Self::ProcessingPool | Self::K8sJob)
    }
}

/// When sending ends before the requests run out. What is in flight then is waited for: a request that was cut off
/// would be one of the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// So long after the first measured request, such as `60s`.
    #[serde(default, deserialize_with = "st_harness::read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    pub duration: Option<Duration>,
    /// When too many measured requests failed.
    #[serde(default)]
    pub failures: Option<FailureStop>,
}

/// The share of failures that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureStop {
    /// More than this share, from 0 to 1, of the measured requests that have ended.
    pub ratio_above: f64,
    /// Not before so many have ended.
    #[serde(default = "ten")]
    pub of_at_least: u32,
}

fn ten() -> u32 {
    10
}
