//! `down`: ends what `up` keeps up.
//!
//! `down` 子命令。

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::exit::Exit;

use super::{cleanup, fail};
use crate::{
    config::Environment,
    server::{Alive, Standing},
};

/// What is left after the keeper has gone gets this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `down` is told.
#[derive(Debug, clap::Args)]
pub(super) struct DownArgs {
    /// The run's folder, as `up` named it; not needed where one server is up
    #[arg(long, value_name = "DIR")]
    run: Option<Utf8PathBuf>,
    /// The folder with configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
    /// Folder for the runs' files [env: VLLM_CIBENCH_ARTIFACTS]
    #[arg(long, value_name = "DIR")]
    artifacts: Option<Utf8PathBuf>,
}

pub(super) fn down(args: &DownArgs) -> Exit {
    let run = match &args.run {
        Some(run) => run.clone(),
        None => match the_one_that_is_up(&runs(args)) {
            Ok(Some(run)) => run,
            Ok(None) => {
                eprintln!("no server is up below {}", runs(args));
                return Exit::Ok;
            }
            Err(message) => return fail(Exit::Usage, format!("error: {message}")),
        },
    };
    match Standing::read(&run) {
        Ok(Some(standing)) => take_down(&run, &standing),
        Ok(None) => fail(
            Exit::Usage,
            format!("error: no server was brought up in {run}: it holds no {}", Standing::FILE),
        ),
        Err(reason) => fail(Exit::Errored, format!("error: {}", reason.summary)),
    }
}

fn runs(args: &DownArgs) -> Utf8PathBuf {
    let environment = Environment::of_process();
    let named =
        args.artifacts.clone().or_else(|| environment.get("VLLM_CIBENCH_ARTIFACTS").map(Utf8PathBuf::from));
    named.unwrap_or_else(|| args.root.join("artifacts"))
}

/// The only run below `runs` whose server is up.
fn the_one_that_is_up(runs: &Utf8Path) -> Result<Option<Utf8PathBuf>, String> {
    let folders = |path: &Utf8Path| {
        let entries = path.read_dir_utf8().into_iter().flatten().flatten();
        entries.map(|entry| entry.into_path()).collect::<Vec<_>>()
    };
    let scenarios = folders(runs).into_iter().flat_map(|run| folders(&run));
    let is_up = |run: &Utf8PathBuf| matches!(Standing::read(run), Ok(Some(standing)) if standing.is_up());
    let mut up: Vec<Utf8PathBuf> = scenarios.filter(is_up).collect();
    match up.len() {
        0 | 1 => Ok(up.pop()),
        n => {
            let list: Vec<&str> = up.iter().map(|run| run.as_str()).collect();
            Err(format!("{n} servers are up; name one of them with --run:\n  {}", list.join("\n  ")))
        }
    }
}

fn take_down(run: &Utf8Path, standing: &Standing) -> Exit {
    if standing.is_up() {
        eprintln!("taking down the server of the scenario `{}`", standing.scenario);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
        };
        if !runtime.block_on(standing.take_down()) {
            eprintln!("the process that keeps it did not end within {} s", standing.stop_within_s);
        }
    }
    // Its keeper was asked: one that did not go is not spared.
    cleanup::take_down(run, PATIENCE, Alive::Force)
}
