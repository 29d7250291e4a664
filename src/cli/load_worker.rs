//! `load-worker`: what a pod of a spread load runs. See [`work`](crate::perf::drive::work).
//!
//! `load-worker` 子命令：分布式压测的工作者。

use std::path::PathBuf;

use st_harness::exit::Exit;

use super::fail;
use crate::perf::drive::work;

/// What `load-worker` is told.
#[derive(Debug, clap::Args)]
pub(super) struct LoadWorkerArgs {
    /// The folder with the shares of the load, the number of this one, the key and the orders
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn load_worker(args: &LoadWorkerArgs) -> Exit {
    match work(&args.folder, std::io::stdout()) {
        Ok(()) => Exit::Ok,
        Err(message) => fail(Exit::Errored, format!("error: {message}")),
    }
}
