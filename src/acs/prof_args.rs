//! What `prof` is told: [`ProfArgs`], A.2 to A.5 of acs-bench's options under their names and with their defaults, and
//! a few of our own at the end. Must not weigh them against each other.
//!
//! `prof` 的参数。

use camino::Utf8PathBuf;
use clap::ArgAction;

use super::values::{Admission, Backend, Carrier, Climbing, DatasetType, limit, rate, truth, workers};
use crate::perf::spec::Job;

/// Options of `prof`. Lists are separated by commas, or the option is repeated.
#[derive(Debug, Clone, clap::Args)]
pub struct ProfArgs {
    // A.2, data set
    /// Where prompts come from
    #[arg(long, value_name = "TYPE", default_value = "custom", help_heading = "Data set")]
    pub dataset_type: DatasetType,
    /// Options of images
    #[arg(long, value_name = "KEY:VALUE", value_delimiter = ',', help_heading = "Data set")]
    pub config_option: Vec<String>,
    /// text; images are not built
    #[arg(long, value_name = "TYPE", default_value = "text", help_heading = "Data set")]
    pub modal_type: String,
    /// The data set: a file, or the folder that `dataset generate` wrote; not with random
    #[arg(long, value_name = "PATH", help_heading = "Data set")]
    pub input_path: Option<Utf8PathBuf>,
    /// Tokens of a prompt; must be those of the data set
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Data set")]
    pub input_length: Vec<u32>,
    /// How many requests; one number for all, or one for each --concurrency
    #[arg(long, value_name = "N", value_delimiter = ',', required = true, help_heading = "Data set")]
    pub num_requests: Vec<u32>,
    /// tokenizer.json, or the model's folder with it: counts prompts where the server's own /tokenize does not
    /// (built with the feature tokenizers)
    #[arg(long, value_name = "PATH", help_heading = "Data set")]
    pub tokenizer: Option<Utf8PathBuf>,
    /// Not used: nothing is downloaded
    #[arg(long, value_name = "BRANCH", default_value = "master", help_heading = "Data set")]
    pub revision: String,
    /// Of everything random
    #[arg(long, alias = "seed", value_name = "N", default_value_t = 0, help_heading = "Data set")]
    pub random_seed: u64,
    /// Not used: no code is downloaded
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Data set")]
    pub trust_remote_code: bool,

    // A.3, concurrency
    /// Requests in flight at most; each number is a level of its own
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", help_heading = "Concurrency")]
    pub concurrency: Vec<u32>,
    /// Processes of the processing-pool; one number for all, or one for each --concurrency
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", help_heading = "Concurrency")]
    pub num_process: Vec<u32>,
    /// Arrivals a second; inf: as fast as --concurrency lets them
    #[arg(long, value_name = "RATE", default_value = "inf", value_parser = rate, help_heading = "Concurrency")]
    pub request_rate: f64,
    /// What admits a request: --concurrency alone, or limits of prefill and decode as well; not with the
    /// processing-pool
    #[arg(long, value_name = "MODE", default_value = "normal", help_heading = "Concurrency")]
    pub request_mode: Admission,
    /// With pd_dynamic: requests without a token yet, at most [default: --concurrency]
    #[arg(long, value_name = "N", help_heading = "Concurrency")]
    pub prefill_concurrency: Option<u32>,
    /// With pd_dynamic: requests that have had their first token, as long as prefill is full [default: --concurrency]
    #[arg(long, value_name = "N", help_heading = "Concurrency")]
    pub decoder_concurrency: Option<u32>,
    /// Shape of the gaps between arrivals: 1 is Poisson, less comes in bursts
    #[arg(long, value_name = "SHAPE", default_value_t = 1.0, help_heading = "Concurrency")]
    pub burstiness: f64,
    /// Who carries the load
    #[arg(long, value_name = "NAME", default_value = "threading-pool", help_heading = "Concurrency")]
    pub concurrency_backend: Carrier,
    /// Climb from --init-concurrency to --concurrency
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Concurrency")]
    pub use_climb: bool,
    /// How many more in every interval of a climb
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Concurrency")]
    pub growth_rate: u32,
    /// Interval of a climb, in ms
    #[arg(long, value_name = "MS", default_value_t = 1000.0, help_heading = "Concurrency")]
    pub growth_interval: f64,
    /// Where a climb begins; one number for all, or one for each --concurrency [default: --concurrency]
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Concurrency")]
    pub init_concurrency: Vec<u32>,
    /// How those of one interval come
    #[arg(long, value_name = "MODE", default_value = "static", help_heading = "Concurrency")]
    pub climb_mode: Climbing,

    // A.4, metrics
    /// A limit that a good request keeps, in ms: ttft:50, tpot:20, e2e:1000
    #[arg(long, value_name = "FIGURE:MS", value_delimiter = ',', value_parser = limit, help_heading = "Metrics")]
    pub goodput: Vec<(String, f64)>,
    /// Length of the intervals of the values over time, in ms
    #[arg(long, value_name = "MS", default_value_t = 1000.0, help_heading = "Metrics")]
    pub bucket_interval: f64,

    // A.5, serving
    /// Which API is asked
    #[arg(long, value_name = "API", default_value = "openai-chat", help_heading = "Serving")]
    pub backend: Backend,
    /// The file with the providers
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    pub provider: Utf8PathBuf,
    /// Which of them [default: the only one]
    #[arg(long, value_name = "ID", help_heading = "Serving")]
    pub provider_id: Option<String>,
    /// Tokens asked for
    #[arg(long, value_name = "N", value_delimiter = ',', required = true, help_heading = "Serving")]
    pub output_length: Vec<u32>,
    /// Share by which answers may be longer
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Serving")]
    pub range_ratio_above: f64,
    /// Share by which answers may be shorter
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Serving")]
    pub range_ratio_below: f64,
    /// Requests before the measured ones
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Serving")]
    pub warmup: u32,
    /// How often each level is repeated
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Serving")]
    pub epochs: u32,
    /// Sent with the backend openai only
    #[arg(long, value_name = "K", default_value_t = 8, help_heading = "Serving")]
    pub top_k: i64,
    /// Sent with the backend openai only
    #[arg(long, value_name = "P", default_value_t = 1.0, help_heading = "Serving")]
    pub top_p: f64,
    /// Of the sampling
    #[arg(long, value_name = "T", default_value_t = 0.6, help_heading = "Serving")]
    pub temperature: f64,
    /// Answers are read in pieces of at most so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024, help_heading = "Serving")]
    pub chunk_size: u32,
    /// Nothing to ask for: the acceptance of drafted tokens is told where the server tells it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Serving")]
    pub use_spec_decode: bool,
    /// Not used: the server counts its drafts itself
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true, help_heading = "Serving")]
    pub num_spec_tokens: i64,
    /// Only true: the acceptance is accepted over drafted tokens, without the one that the model makes itself
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Serving")]
    pub use_mtp_accept_rate: bool,
    /// Not used: each event says how many tokens it holds
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Serving")]
    pub num_scheduler_steps: u32,
    /// The longest that one request may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1000.0, help_heading = "Serving")]
    pub timeout: f64,
    /// Generate all tokens whatever the model says
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Serving")]
    pub ignore_eos: bool,
    /// Ask for a count of the tokens with every event
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Serving")]
    pub continuous_usage_stats: bool,
    /// Have the server profile itself, from the end of the warm-up on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Serving")]
    pub profile: bool,
    /// Not used: a server has one profiler and no levels of it
    #[arg(long, value_name = "LEVEL", default_value = "Level0", help_heading = "Serving")]
    pub profile_level: String,
    /// Leave the requests as a Chrome trace
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          value_parser = truth, action = ArgAction::Set, help_heading = "Serving")]
    pub trace: bool,
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "./benchmark_output", help_heading = "Serving")]
    pub benchmark_save_path: Utf8PathBuf,

    // ours
    /// The share of requests that must keep the limits of --goodput for a load to be within them
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.9,
        requires = "goodput",
        help_heading = "Not in acs-bench"
    )]
    pub goodput_share: f64,
    /// Leave out higher loads once one is beyond the limits of --goodput
    #[arg(long, requires = "goodput", help_heading = "Not in acs-bench")]
    pub stop_beyond: bool,
    /// Count what the server adds to a prompt, the chat template, as part of --input-length
    #[arg(long, help_heading = "Not in acs-bench")]
    pub count_template: bool,
    /// Spread the load over pods: k8s-job:N makes one indexed Kubernetes Job of N pods, each with one event loop and an
    /// equal share of one schedule (built with `--features kube`)
    #[arg(long, value_name = "k8s-job:N", value_parser = workers, requires = "worker_image",
          conflicts_with_all = ["concurrency_backend", "num_process"], help_heading = "Not in acs-bench")]
    pub workers: Option<u32>,
    /// The image of the pods, with `vllm-cibench` of this version on its path
    #[arg(long, value_name = "IMAGE", requires = "workers", help_heading = "Not in acs-bench")]
    pub worker_image: Option<String>,
    /// The namespace of the pods
    #[arg(
        long,
        value_name = "NAME",
        default_value = Job::NAMESPACE,
        requires = "workers",
        help_heading = "Not in acs-bench"
    )]
    pub worker_namespace: String,
    /// Where the pods reach the server, ending in /v1 [default: the provider's address]
    #[arg(long, value_name = "URL", requires = "workers", help_heading = "Not in acs-bench")]
    pub worker_base_url: Option<String>,
    /// Processors of each pod, such as 2 or 500m
    #[arg(long, value_name = "QUANTITY", requires = "workers", help_heading = "Not in acs-bench")]
    pub worker_cpu: Option<String>,
    /// Memory of each pod, such as 1Gi
    #[arg(long, value_name = "QUANTITY", requires = "workers", help_heading = "Not in acs-bench")]
    pub worker_memory: Option<String>,
    /// How long the pods may take to be ready, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = Job::START_TIMEOUT_S,
        requires = "workers",
        help_heading = "Not in acs-bench"
    )]
    pub worker_start_timeout: u64,
    /// From the order to begin to the beginning, in seconds: pods read it from a file that their node writes
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = Job::HEAD_START_S,
        requires = "workers",
        help_heading = "Not in acs-bench"
    )]
    pub worker_head_start: u64,
    /// The kubeconfig file of the pods' cluster; without it: where kubectl looks for one
    #[arg(long, value_name = "FILE", requires = "workers", help_heading = "Not in acs-bench")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// A context of it; without it: its current one
    #[arg(long, value_name = "NAME", requires = "workers", help_heading = "Not in acs-bench")]
    pub context: Option<String>,
    /// Write the cases and leave: `run` takes them too
    #[arg(long, help_heading = "Not in acs-bench")]
    pub only_cases: bool,
}
