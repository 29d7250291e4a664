//! `cleanup`: what a run left behind, taken down by its ledger.
//!
//! `cleanup` 子命令。

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::exit::Exit;

use super::fail;
use crate::server::{self, Alive};

/// What `cleanup` is told.
#[derive(Debug, clap::Args)]
pub(super) struct CleanupArgs {
    /// The run's folder: the one that holds resources.jsonl
    #[arg(long, value_name = "DIR")]
    run: Utf8PathBuf,
    /// How long processes may take to end before they are killed
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
    /// Also where the run still goes on: its server is taken down from under it
    #[arg(long)]
    force: bool,
}

pub(super) fn cleanup(args: &CleanupArgs) -> Exit {
    let alive = if args.force { Alive::Force } else { Alive::Spare };
    take_down(&args.run, Duration::from_secs(args.patience), alive)
}

/// Takes down what the run in `run` left, and says so.
pub(super) fn take_down(run: &Utf8Path, patience: Duration, alive: Alive) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
    };
    match runtime.block_on(server::cleanup(run, patience, alive, &|line| eprintln!("{line}"))) {
        Ok(left) if left.is_empty() => {
            eprintln!("nothing of the run is left: {run}");
            Exit::Ok
        }
        Ok(left) => {
            fail(Exit::Errored, format!("error: not all could be taken down:\n  {}", left.join("\n  ")))
        }
        Err(reason) => {
            let exit = if reason.kind == "run-goes-on" { Exit::Usage } else { Exit::Errored };
            fail(exit, format!("error: {}\n{}", reason.summary, reason.detail).trim_end())
        }
    }
}
