//! `sim`: serves the simulator until a signal comes.
//!
//! `sim` 子命令。

use std::io::Write as _;

use st_harness::exit::Exit;

use super::fail;
use crate::{
    config::Environment,
    sim::{SimArgs, serve_forever},
};

/// What `sim` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Sim {
    #[command(flatten)]
    args: SimArgs,
}

pub(super) fn sim(sim: &Sim) -> Exit {
    let options = sim.args.options(Environment::of_process().api_key());
    // The address alone stands on standard output: a script that starts us on port 0 reads it there.
    let ready = |url: &str| {
        let _ = writeln!(std::io::stdout(), "{url}");
    };
    match serve_forever(options, ready) {
        Ok(()) => Exit::Ok,
        Err(error) => fail(Exit::Errored, format!("error: {error}")),
    }
}
