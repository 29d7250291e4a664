//! What the command line says: [`Flags`]. Must not weigh it against anything.
//!
//! 命令行参数。

use camino::Utf8PathBuf;

/// Options that every command has that speaks to a server. A flag beats the environment, the environment beats a
/// file. A key is never an argument, since every process on the machine may read those.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Flags {
    /// The scenario: a file in configs/scenarios/, without .yaml [env: VLLM_CIBENCH_SCENARIO]
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// How much: smoke, pr or daily [env: VLLM_CIBENCH_RUN_TYPE]
    #[arg(long, value_name = "TYPE")]
    pub run_type: Option<String>,
    /// The running server's address, with its /v1 [env: VLLM_CIBENCH_BASE_URL]
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// The model's name in requests [env: VLLM_CIBENCH_MODEL]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Endpoints by name, instead of those in configs/providers.yaml
    #[arg(long, value_name = "FILE")]
    pub providers: Option<Utf8PathBuf>,
    /// The endpoint of this name: its address, its model and its key, before what the environment says
    #[arg(long, value_name = "ID")]
    pub provider: Option<String>,
    /// The environment variable that holds the server's key, instead of VLLM_CIBENCH_API_KEY
    #[arg(long, value_name = "VARIABLE")]
    pub api_key_env: Option<String>,
    /// File or folder instead of cases/functional/ [env: VLLM_CIBENCH_FUNCTIONAL_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub functional_config: Option<Utf8PathBuf>,
    /// File or folder instead of cases/accuracy/ [env: VLLM_CIBENCH_ACCURACY_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub accuracy_config: Option<Utf8PathBuf>,
    /// Folder for the run's files [env: VLLM_CIBENCH_ARTIFACTS]
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<Utf8PathBuf>,
    /// Keep every exchange in this folder [env: VLLM_CIBENCH_RECORD]
    #[arg(long, value_name = "DIR")]
    pub record: Option<Utf8PathBuf>,
    /// Answer from the exchanges in this folder, without a server [env: VLLM_CIBENCH_REPLAY]
    #[arg(long, value_name = "DIR")]
    pub replay: Option<Utf8PathBuf>,
    /// Earlier runs to hold performance against: a folder of runs, of one run, or its journal
    /// [env: VLLM_CIBENCH_BASELINE] [default: where this run's own folder lies]
    #[arg(long, value_name = "PATH")]
    pub baseline: Option<Utf8PathBuf>,
    /// What decides whether performance has become worse: seed000, interval or off [env: VLLM_CIBENCH_GATE_POLICY]
    #[arg(long, value_name = "POLICY")]
    pub gate_policy: Option<String>,
    /// What follows from a red stage: continue, stop_scenario or stop_all [default: as configs/matrix.yaml says]
    #[arg(long, value_name = "WHAT")]
    pub on_failure: Option<String>,
    /// Push nothing, whatever else says so
    #[arg(long)]
    pub dry_run: bool,
    /// Mask host and port of servers in files; default: in CI [env: VLLM_CIBENCH_MASK_URLS]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub mask_urls: Option<bool>,
}
