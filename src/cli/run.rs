//! `run`: one scenario through the session, the console following the journal's events.
//!
//! `run` 子命令。

use std::io::{Read as _, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::{
    args::{Args, Filter},
    diag::Problems,
    exit::Exit,
    journal::RunRecord,
};

use super::fail;
use crate::{
    assemble::{Assembly, Door, PARENT_RUN, Prepared},
    config::{Environment, Flags},
    console::Console,
    outcome::outcome,
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
    /// Print what came of it as one JSON document: functional_report, accuracy, perf, gates
    #[arg(long)]
    json: bool,
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
    let environment = Environment::of_process();
    if environment.get(PARENT_RUN).is_some() {
        end_with_the_parent();
    }
    let prepared = Assembly::new(run.root).prepared(&run.flags, &environment, Door::Command);
    let Prepared { session, settings, .. } = match prepared {
        Ok(prepared) => prepared,
        Err(problems) => return fail(Exit::Usage, Problems::from(problems)),
    };
    let console = Console::new();
    let folder = session.folder().to_owned();
    // libtest's own text is kept, but out of the way: standard output belongs to whoever reads it.
    let log = (!args.list).then(|| folder.join("console.log"));
    let exit = session.listen(move |event| console.show(event)).run(&Args { log, ..args });
    if run.list || matches!(exit, Exit::Usage | Exit::NothingSelected) {
        return exit;
    }
    super::push::after_run(&folder, &settings, &environment, run.flags.dry_run);
    if run.json { told(&folder, exit) } else { exit }
}

/// Prints what the journal in `folder` says.
fn told(folder: &Utf8Path, exit: Exit) -> Exit {
    match RunRecord::read_folder(folder) {
        Ok(record) => {
            // A reader that went away is no error.
            let _ = writeln!(std::io::stdout(), "{:#}", outcome(&record, folder));
            exit
        }
        Err(error) => fail(Exit::Errored, format!("error: {error}")),
    }
}

/// Whoever started us holds the other end of our standard input. When it is gone, however it went, we stop as on a
/// signal: reports are written, and what was started is taken down.
fn end_with_the_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    });
}
