//! `run-functional`: functional cases against one server, and nothing else; the report goes to standard output.
//!
//! `run-functional` 子命令：仅输出功能报告。

use std::{collections::BTreeMap, io::Write as _};

use camino::Utf8PathBuf;
use serde_json::{Map, Value};
use st_harness::{
    args::{Args, Filter},
    diag::{Problem, Problems},
    exit::Exit,
    journal::{RunRecord, TrialRecord},
    session::Foreseen,
};

use super::fail;
use crate::{
    assemble::{Assembly, Door},
    config::{Environment, Flags},
    console::Console,
    outcome::functional_report,
};

/// What `run-functional` is told. The key is not an argument: others could read it there.
#[derive(Debug, clap::Args)]
pub(super) struct RunFunctionalArgs {
    /// Only trials with this in their name
    filter: Option<String>,
    /// The server, ending in /v1 [env: VLLM_CIBENCH_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model [env: VLLM_CIBENCH_MODEL] [default: the only one that the server lists]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A file of cases, or a folder of such [env: VLLM_CIBENCH_FUNCTIONAL_CONFIG] [default: cases/functional/]
    #[arg(long, value_name = "PATH")]
    config: Option<Utf8PathBuf>,
    /// Folder for the run's files [env: VLLM_CIBENCH_ARTIFACTS] [default: artifacts/]
    #[arg(long, value_name = "DIR")]
    artifacts: Option<Utf8PathBuf>,
    /// The folder with cases/ and configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
}

pub(super) fn run_functional(args: RunFunctionalArgs) -> Exit {
    let flags = Flags {
        scenario: Some("attach".to_owned()),
        base_url: args.base_url,
        model: args.model,
        functional_config: args.config,
        artifacts: args.artifacts,
        dry_run: true,
        ..Flags::default()
    };
    let filter = Filter { text: args.filter, ..Filter::default() };
    match carry_out(args.root, &flags, filter) {
        Ok((exit, report)) => {
            if let Some(report) = report {
                // A reader that went away is no error.
                let _ = writeln!(std::io::stdout(), "{report:#}");
            }
            exit
        }
        Err(problems) => fail(Exit::Usage, Problems::from(problems)),
    }
}

fn carry_out(
    root: Utf8PathBuf,
    flags: &Flags,
    filter: Filter,
) -> Result<(Exit, Option<Value>), Vec<Problem>> {
    let session =
        Assembly::new(root).only_functional().session(flags, &Environment::of_process(), Door::Command)?;
    let endpoints = endpoints(&session.foresee(&Filter::default())?);
    let console = Console::new();
    let folder = session.folder().to_owned();
    let args = Args { filter, log: Some(folder.join("console.log")), ..Args::default() };
    let exit = session.listen(move |event| console.show(event)).run(&args);
    Ok(match RunRecord::read_folder(&folder) {
        Ok(run) => (exit, Some(by_endpoint(&run, &endpoints))),
        Err(_) if matches!(exit, Exit::Usage | Exit::NothingSelected) => (exit, None),
        Err(error) => (fail(Exit::Errored, format!("error: {error}")), None),
    })
}

/// Where each case is sent to. Its own record could not tell of one that is skipped.
fn endpoints(trials: &[Foreseen]) -> BTreeMap<String, &'static str> {
    let of = |trial: &Foreseen| {
        let case = trial.case.as_ref()?;
        let spec = case.spec();
        let named = |key: &str, value: &str| spec[key] == value;
        let group = if named("endpoint", "chat") || named("path", "/v1/chat/completions") {
            CHAT
        } else if named("endpoint", "completions") || named("path", "/v1/completions") {
            COMPLETIONS
        } else {
            OTHER
        };
        Some((case.id.to_string(), group))
    };
    trials.iter().filter_map(of).collect()
}

const CHAT: &str = "chat";
const COMPLETIONS: &str = "completions";
/// Cases of `/v1/models` and the like.
const OTHER: &str = "other";

/// `{chat: {summary, results}, completions: {…}}`; `other` only where there is such a trial.
fn by_endpoint(run: &RunRecord, endpoints: &BTreeMap<String, &'static str>) -> Value {
    let functional: Vec<&TrialRecord> =
        run.trials.iter().filter(|trial| trial.planned.kind == "functional").collect();
    let group = |trial: &TrialRecord| endpoints.get(trial.id().as_str()).copied().unwrap_or(OTHER);
    let mut report = Map::new();
    for name in [CHAT, COMPLETIONS, OTHER] {
        let trials: Vec<&TrialRecord> =
            functional.iter().copied().filter(|trial| group(trial) == name).collect();
        if name != OTHER || !trials.is_empty() {
            report.insert(name.to_owned(), functional_report(trials.into_iter()));
        }
    }
    Value::Object(report)
}
