//! What a simulator is told before it starts: [`Options`], and [`SimArgs`], the same from a command line.
//! Must not know how any of it is done.
//!
//! 模拟器的启动参数；也可由命令行给出。

use super::fault::FaultRule;
use super::{answering::Answering, exam};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything a simulator needs to know before it starts. `Options::default()` answers at once and faultlessly.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// The name of the one model served.
    pub model: String,
    /// Prompt and answer together never exceed this many tokens.
    pub max_model_len: u32,
    /// Where set, `/v1` wants `Authorization: Bearer <key>`.
    pub api_key: Option<SecretString>,
    /// When the tokens are due.
    pub timing: Timing,
    /// What goes wrong, and when. The first rule that matches a request applies; its faults do not add up.
    pub faults: Vec<FaultRule>,
    /// What the server can do. What is off is answered as vLLM answers without the flag.
    pub capabilities: Features,
    /// Stands in wherever a request brings no seed of its own, together with the number of the request.
    pub seed: u64,
    /// Questions with a known answer.
    pub accuracy: Answering,
    /// Where each request leaves what was really sent of it, and when.
    pub timing_log: Option<std::path::PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            port: 0,
            model: "sim".to_owned(),
            max_model_len: 4096,
            api_key: None,
            timing: Timing::default(),
            faults: Vec::new(),
            capabilities: Features::default(),
            seed: 0,
            accuracy: Answering::default(),
            timing_log: None,
        }
    }
}

/// The schedule of a request: token `k` (from 0) is due `ttft + k · tpot` after the request was received, each
/// moved by at most ± `jitter`. Due times are absolute, so a late token does not delay the next.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// From the request to the first token, in milliseconds.
    pub ttft_ms: f64,
    /// From token to token, in milliseconds.
    pub tpot_ms: f64,
    /// Largest displacement of a token, in milliseconds; the same for the same seed and request number.
    pub jitter_ms: f64,
}

impl Timing {
    /// When token `k` is due, after the request was received. `unit` in [−1, 1] displaces it.
    pub fn due(&self, k: usize, unit: f64) -> Duration {
        let ms = self.ttft_ms + k as f64 * self.tpot_ms + self.jitter_ms * unit;
        Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::ZERO)
    }
}

/// What the server was started with. The default is what a text model started for generation can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Features {
    /// `tools` with every `tool_choice`; off = started without a tool parser.
    pub tools: bool,
    /// `response_format` and `structured_outputs`; off = a server without a grammar backend refuses them.
    pub guided: bool,
    /// A model that thinks first, and a parser that separates it into `reasoning`.
    pub reasoning: bool,
    /// `logprobs` up to 20; off = `--max-logprobs 0`.
    pub logprobs: bool,
    /// `suffix` on `/v1/completions`.
    pub suffix: bool,
    /// `/tokenize` and `/detokenize`.
    pub tokenize: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// `/v1/embeddings`; off = a model that generates.
    pub embeddings: bool,
    /// `image_url` parts in messages.
    pub vision: bool,
    /// `top_p: 0`, which vLLM refuses and other engines take.
    pub top_p_zero: bool,
    /// `/v1/models/{id}`, which vLLM lacks and other engines have.
    pub models_get: bool,
}

impl Default for Features {
    fn default() -> Self {
        Features {
            tools: true,
            guided: true,
            reasoning: false,
            logprobs: true,
            suffix: false,
            tokenize: true,
            metrics: true,
            embeddings: false,
            vision: false,
            top_p_zero: false,
            models_get: false,
        }
    }
}

impl Features {
    /// The names as they stand on a command line and in a scenario.
    pub const NAMES: [&'static str; 11] = [
        "tools",
        "guided",
        "reasoning",
        "logprobs",
        "suffix",
        "tokenize",
        "metrics",
        "embeddings",
        "vision",
        "top_p_zero",
        "models_get",
    ];

    /// Switches one on or off by its name; `false` if there is no such name.
    pub fn set(&mut self, name: &str, on: bool) -> bool {
        let slot = match name {
            "tools" => &mut self.tools,
            "guided" => &mut self.guided,
            "reasoning" => &mut self.reasoning,
            "logprobs" => &mut self.logprobs,
            "suffix" => &mut self.suffix,
            "tokenize" => &mut self.tokenize,
            "metrics" => &mut self.metrics,
            "embeddings" => &mut self.embeddings,
            "vision" => &mut self.vision,
            "top_p_zero" => &mut self.top_p_zero,
            "models_get" => &mut self.models_get,
            _ => return false,
        };
        *slot = on;
        true
    }
}

/// The command line of `sim`. Flatten it into a subcommand and call [`SimArgs::options`].
#[derive(Debug, Clone, clap::Args)]
pub struct SimArgs {
    /// The port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The name of the one model served.
    #[arg(long, default_value = "sim")]
    pub model: String,
    /// Prompt and answer together never exceed this many tokens.
    #[arg(long, default_value_t = 4096)]
    pub max_model_len: u32,
    /// From the request to the first token, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = milliseconds)]
    pub ttft_ms: f64,
    /// From token to token, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = milliseconds)]
    pub tpot_ms: f64,
    /// Largest displacement of a token, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = milliseconds)]
    pub jitter_ms: f64,
    /// Leave a line for each request in this file: when it was received, and when each token was really written, in
    /// nanoseconds of the machine's CLOCK_MONOTONIC.
    #[arg(long, value_name = "FILE")]
    pub timing_log: Option<std::path::PathBuf>,
    /// A fault: its name, or a rule such as '{when: {nth: 2}, fault: {status: {code: 503}}}'. May be repeated.
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<FaultRule>,
    /// Switch a capability on.
    #[arg(long, value_name = "NAME", value_parser = Features::NAMES)]
    pub enable: Vec<String>,
    /// Switch a capability off.
    #[arg(long, value_name = "NAME", value_parser = Features::NAMES)]
    pub disable: Vec<String>,
    /// Seed of everything that is drawn by chance.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Questions whose answers it knows, and how well it answers them: a JSON file with items, right, truncate, fail.
    #[arg(long, value_name = "FILE", value_parser = exam::read)]
    pub exam: Option<Answering>,
}

impl SimArgs {
    /// The options these arguments stand for. The key is not an argument: others could read it there.
    pub fn options(&self, api_key: Option<SecretString>) -> Options {
        let mut capabilities = Features::default();
        for (names, on) in [(&self.enable, true), (&self.disable, false)] {
            for name in names {
                capabilities.set(name, on);
            }
        }
        Options {
            port: self.port,
            model: self.model.clone(),
            max_model_len: self.max_model_len,
            api_key,
            timing: Timing { ttft_ms: self.ttft_ms, tpot_ms: self.tpot_ms, jitter_ms: self.jitter_ms },
            faults: self.faults.clone(),
            capabilities,
            seed: self.seed,
            accuracy: self.exam.clone().unwrap_or_default(),
            timing_log: self.timing_log.clone(),
        }
    }
}

/// A finite, non-negative number of milliseconds.
fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ms) if ms.is_finite() && ms >= 0.0 => Ok(ms),
        _ => Err("expected a number of milliseconds, 0 or more".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_due_on_an_absolute_schedule() {
        let timing = Timing { ttft_ms: 50.0, tpot_ms: 10.0, jitter_ms: 2.0 };
        assert_eq!(timing.due(0, 0.0), Duration::from_millis(50));
        assert_eq!(timing.due(7, 0.0), Duration::from_millis(120));
        assert_eq!(timing.due(7, -1.0), Duration::from_millis(118));
    }

    #[test]
    fn every_listed_name_is_a_feature() {
        for name in Features::NAMES {
            let (mut on, mut off) = (Features::default(), Features::default());
            assert!(on.set(name, true) && off.set(name, false), "{name}");
            assert_ne!(on, off, "{name} switches nothing");
        }
        assert!(!Features::default().set("levitation", true));
    }

    #[test]
    fn the_command_line_refuses_a_negative_time() {
        assert!(milliseconds("-1").is_err() && milliseconds("nan").is_err());
        assert_eq!(milliseconds("12.5"), Ok(12.5));
    }
}
