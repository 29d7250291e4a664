//! `run`: one scenario through the session, the console following the journal's events.
//!
//! `run` 子命令。

use camino::Utf8PathBuf;
use st_harness::{
    args::{Args, Filter},
    diag::Problems,
    exit::Exit,
};

use super::fail;
use crate::{
    assemble::{Assembly, Door},
    config::{Environment, Flags, Settings},
    console::Console,
};

/// What `run` is told.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Only trials with this in their name
    filter: Option<String>,
    /// FILTER and --skip mean whole names
    #[arg(long)]
    exact: bool,
    /// Leave these out; may be repeated
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,
    /// Print the names and leave
    #[arg(long)]
    list: bool,
    /// How many trials at once
    #[arg(long, value_name = "N")]
    test_threads: Option<usize>,
    /// The folder with cases/ and configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(run: RunArgs) -> Exit {
    let args = Args {
        filter: Filter { text: run.filter, exact: run.exact, skip: run.skip },
        list: run.list,
        threads: run.test_threads,
        ..Args::default()
    };
    let (console, environment) = (Console::new(), Environment::of_process());
    let session = match Assembly::new(&run.root).session(&run.flags, &environment, Door::Command) {
        Ok(session) => session,
        Err(problems) => return fail(Exit::Usage, Problems::from(problems)),
    };
    let folder = session.folder().to_owned();
    // libtest's own text is kept, but out of the way: standard output belongs to whoever reads it.
    let log = (!args.list).then(|| folder.join("console.log"));
    let exit = session.listen(move |event| console.show(event)).run(&Args { log, ..args });
    let nothing_ran = run.list || matches!(exit, Exit::Usage | Exit::NothingSelected);
    let settings = Settings::resolve(&run.flags, &environment, &run.root, &Assembly::catalogue());
    if let (false, Ok(settings)) = (nothing_ran, settings) {
        super::push::after_run(&folder, &settings, &environment, false);
    }
    exit
}
