//! `completions` and `man`: what a shell and a reader want, made from the command line's own description.
//!
//! 补全脚本与手册页生成。

use std::io::Write as _;

use camino::Utf8PathBuf;
use clap::Command;
use st_harness::exit::Exit;

use super::fail;

/// What `completions` is told.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// What `man` is told.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write the page of the command, and one for each subcommand, into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<Utf8PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Exit {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    // A reader that went away is no error.
    let _ = std::io::stdout().write_all(&script);
    Exit::Ok
}

pub(super) fn man(args: &ManArgs, command: Command) -> Exit {
    let made = match &args.out {
        Some(folder) => {
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder))
        }
        None => {
            let mut page = Vec::new();
            let made = clap_mangen::Man::new(command).render(&mut page);
            let _ = std::io::stdout().write_all(&page);
            made
        }
    };
    match made {
        Ok(()) => Exit::Ok,
        Err(error) => fail(Exit::Errored, format!("error: the manual cannot be written: {error}")),
    }
}
