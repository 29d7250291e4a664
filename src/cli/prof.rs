//! `prof`: acs-bench's way to ask for a measurement. Its options become a file of cases, which is run like any other.
//!
//! `prof` 子命令。

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::{args::Args, diag::Problems, exit::Exit};

use super::fail;
use crate::{
    acs::{Cases, ProfArgs, cases},
    assemble::{Assembly, Door, Prepared},
    config::{Environment, Flags, provider_ids},
    console::Console,
};

/// What `prof` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Prof {
    #[command(flatten)]
    args: ProfArgs,
}

/// What can go wrong before anything is run.
type Wrong = (Exit, String);

pub(super) fn prof(prof: &Prof) -> Exit {
    match carry_out(&prof.args) {
        Ok(exit) => exit,
        Err((exit, message)) => fail(exit, message),
    }
}

fn carry_out(args: &ProfArgs) -> Result<Exit, Wrong> {
    let here = std::env::current_dir().map_err(|error| errored(&error))?;
    let here = Utf8PathBuf::from_path_buf(here).map_err(|path| errored(&path.display()))?;
    let Cases { file, notes } = cases(args, &here).map_err(|wrong| usage(&wrong))?;
    let provider = provider(args)?;
    for note in notes {
        eprintln!("note: {note}");
    }
    let save = here.join(&args.benchmark_save_path);
    let cases = write(&save, &file).map_err(|error| errored(&error))?;
    if args.only_cases {
        print(&cases);
        return Ok(Exit::Ok);
    }
    let flags = Flags {
        providers: Some(args.provider.clone()),
        provider: Some(provider),
        scenario: Some("attach".to_owned()),
        artifacts: Some(save.clone()),
        dry_run: true,
        ..Flags::default()
    };
    let prepared =
        Assembly::new(here).only_perf(cases).prepared(&flags, &Environment::of_process(), Door::Command);
    let Prepared { session, .. } =
        prepared.map_err(|problems| (Exit::Usage, Problems::from(problems).to_string()))?;
    let folder = session.folder().to_owned();
    let console = Console::new();
    // One level after another, in the order of the command line.
    let told = Args { log: Some(folder.join("console.log")), threads: Some(1), ..Args::default() };
    let exit = session.listen(move |event| console.show(event)).run(&told);
    for table in tables(&folder.join("perf"), &save).map_err(|error| errored(&error))? {
        print(&table);
    }
    Ok(exit)
}

fn usage(wrong: &[String]) -> Wrong {
    let lines: Vec<String> = wrong.iter().map(|message| format!("error: {message}")).collect();
    (Exit::Usage, lines.join("\n"))
}

fn errored(error: &dyn std::fmt::Display) -> Wrong {
    (Exit::Errored, format!("error: {error}"))
}

/// The one that is named, or the only one.
fn provider(args: &ProfArgs) -> Result<String, Wrong> {
    if let Some(id) = &args.provider_id {
        return Ok(id.clone());
    }
    let mut ids = provider_ids(&args.provider)
        .map_err(|problems| (Exit::Usage, Problems::from(problems).to_string()))?;
    match ids.len() {
        1 => Ok(ids.remove(0)),
        n => {
            let message = format!(
                "--provider-id: `{}` holds {n} providers, say which: {}",
                args.provider,
                ids.join(", ")
            );
            Err(usage(&[message]))
        }
    }
}

/// The file is called `prof.yaml` in every run, so that the trials have the same names.
fn write(save: &Utf8Path, file: &serde_json::Value) -> Result<Utf8PathBuf, String> {
    let text = serde_yaml::to_string(file).map_err(|error| error.to_string())?;
    let time = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S").to_string();
    let told = |error: std::io::Error| format!("the cases cannot be written below `{save}`: {error}");
    std::fs::create_dir_all(save).map_err(told)?;
    for number in 1.. {
        let folder =
            save.join(if number == 1 { format!("cases_{time}") } else { format!("cases_{time}_{number}") });
        match std::fs::create_dir(&folder) {
            Ok(()) => {
                let path = folder.join("prof.yaml");
                std::fs::write(&path, &text).map_err(told)?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(told(error)),
        }
    }
    unreachable!("numbers do not end")
}

/// Copies the tables of a run to where readers of acs-bench look for them, and says where they are.
fn tables(from: &Utf8Path, to: &Utf8Path) -> Result<Vec<Utf8PathBuf>, String> {
    // A run that measured nothing has none.
    let Ok(entries) = from.read_dir_utf8() else { return Ok(Vec::new()) };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned())).collect();
    names.retain(|name| name.ends_with(".csv"));
    names.sort();
    let copy = |name: String| {
        let path = to.join(&name);
        std::fs::copy(from.join(&name), &path)
            .map_err(|error| format!("`{path}` cannot be written: {error}"))?;
        Ok(path)
    };
    names.into_iter().map(copy).collect()
}

fn print(path: &Utf8Path) {
    // A reader that went away is no error.
    let _ = writeln!(std::io::stdout(), "{path}");
}
