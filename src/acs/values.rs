//! The words that acs-bench's options take. Must not know what follows from them.
//!
//! 选项取值的解析。

use clap::ValueEnum;

use crate::perf::spec::{ClimbMode, ConcurrencyBackend, Endpoint, Layout, Slo};

/// Where prompts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum DatasetType {
    /// See [`Layout::Custom`].
    Custom,
    /// See [`Layout::Random`].
    Random,
    /// See [`Layout::Sharegpt`].
    Sharegpt,
    /// See [`Layout::Alpaca`].
    Alpaca,
    /// See [`Layout::Longbench`].
    #[value(alias = "LongBench")]
    Longbench,
}

impl DatasetType {
    /// The layout of that name.
    pub fn layout(self) -> Layout {
        match self {
            Self::Custom => Layout::Custom,
            Self::Random => Layout::Random,
            Self::Sharegpt => Layout::Sharegpt,
            Self::Alpaca => Layout::Alpaca,
            Self::Longbench => Layout::Longbench,
        }
    }
}

/// Which API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// `/v1/completions`.
    Openai,
    /// `/v1/chat/completions`.
    OpenaiChat,
}

impl Backend {
    pub(super) fn endpoint(self) -> Endpoint {
        match self {
            Self::Openai => Endpoint::Completions,
            Self::OpenaiChat => Endpoint::Chat,
        }
    }
}

/// Who carries the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Carrier {
    /// Threads, one request each.
    ThreadingPool,
    /// One event loop.
    Asyncio,
    /// Processes, each with one event loop.
    ProcessingPool,
}

impl Carrier {
    pub(super) fn backend(self) -> ConcurrencyBackend {
        match self {
            Self::ThreadingPool => ConcurrencyBackend::ThreadingPool,
            Self::Asyncio => ConcurrencyBackend::Asyncio,
            Self::ProcessingPool => ConcurrencyBackend::ProcessingPool,
        }
    }
}

/// What admits a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Admission {
    /// The concurrency alone.
    Normal,
    /// Prefill and decode apart.
    PdDynamic,
}

/// How a climb grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Climbing {
    /// In stairs.
    Static,
    /// In a slope.
    Linear,
}

impl Climbing {
    pub(super) fn mode(self) -> ClimbMode {
        match self {
            Self::Static => ClimbMode::Static,
            Self::Linear => ClimbMode::Linear,
        }
    }
}

/// `true` and `false` as Python and shells write them.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("expected `true` or `false`".to_owned()),
    }
}

/// Where a load is spread to: `k8s-job:4`.
pub(super) fn workers(text: &str) -> Result<u32, String> {
    let wanted = || format!("expected `k8s-job:N`, a Job of N pods, found `{text}`");
    let pods = text.strip_prefix("k8s-job:").ok_or_else(wanted)?;
    pods.parse().ok().filter(|pods| *pods > 0).ok_or_else(wanted)
}

/// A rate: a number above 0, or `inf` for all at once.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Ok(f64::INFINITY),
        other => match other.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
            _ => Err("expected requests a second, a number above 0, or `inf`".to_owned()),
        },
    }
}

/// One limit: `ttft:50`, in milliseconds.
pub(super) fn limit(text: &str) -> Result<(String, f64), String> {
    let (name, value) =
        text.split_once(':').ok_or("expected a figure and its limit in ms, such as `ttft:50`")?;
    if !["ttft", "tpot", "e2e"].contains(&name) {
        return Err(format!("expected `ttft`, `tpot` or `e2e` before the colon, found `{name}`"));
    }
    match value.parse::<f64>() {
        Ok(ms) if ms.is_finite() && ms >= 0.0 => Ok((name.to_owned(), ms)),
        _ => Err(format!("expected milliseconds after the colon, found `{value}`")),
    }
}

/// All limits together, in seconds.
pub(super) fn slo(limits: &[(String, f64)], share: f64, stop_beyond: bool) -> Result<Option<Slo>, String> {
    let mut slo = Slo { share, stop_beyond, ..Slo::default() };
    for (name, ms) in limits {
        let place = match name.as_str() {
            "ttft" => &mut slo.ttft,
            "tpot" => &mut slo.tpot,
            _ => &mut slo.e2e,
        };
        if place.replace(ms / 1000.0).is_some() {
            return Err(format!("--goodput: `{name}` is limited twice"));
        }
    }
    Ok((!limits.is_empty()).then_some(slo))
}
