//! `rescore`: the answers of a run marked again, offline.
//!
//! `rescore` 子命令。

use std::collections::HashMap;

use camino::Utf8PathBuf;
use clap::ValueEnum;
use st_harness::exit::Exit;

use super::fail;
use crate::accuracy::{
    answers,
    rescore::{Rescored, read, rescore as mark_again},
    spec::Compat,
};

/// What `rescore` is told.
#[derive(Debug, clap::Args)]
pub(super) struct RescoreArgs {
    /// The items.jsonl of an accuracy trial
    items: Utf8PathBuf,
    /// Cache of answers, a file or a folder (target/st/answers): for records that hold none
    #[arg(long, value_name = "PATH")]
    answers: Option<Utf8PathBuf>,
    /// Whose reading of the answers is the score
    #[arg(long, value_name = "READER", default_value = "simple-evals")]
    compat: Reader,
    /// Write the record, marked again
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reader {
    /// openai/simple-evals', quirks included
    SimpleEvals,
    /// A tolerant one
    Robust,
}

pub(super) fn rescore(args: &RescoreArgs) -> Exit {
    match run(args) {
        Ok(rescored) => {
            let total = rescored.rows.len();
            eprintln!("{} of {total} scores changed", rescored.changed.len());
            if !rescored.without_text.is_empty() {
                let told = format!(
                    "error: {} of {total} answers are not in the record; name the cache of answers with --answers",
                    rescored.without_text.len()
                );
                return fail(Exit::Invalid, told);
            }
            Exit::Ok
        }
        Err(message) => fail(Exit::Usage, format!("error: {message}")),
    }
}

fn run(args: &RescoreArgs) -> Result<Rescored, String> {
    let text = std::fs::read_to_string(&args.items)
        .map_err(|error| format!("cannot read {}: {error}", args.items))?;
    let rows = read(&text).map_err(|error| format!("{}: {error}", args.items))?;
    let answers = args.answers.as_deref().map_or_else(|| Ok(HashMap::new()), answers::read_all)?;
    let compat = match args.compat {
        Reader::SimpleEvals => Compat::SimpleEvals,
        Reader::Robust => Compat::Robust,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let rescored = runtime.block_on(mark_again(rows, &answers, compat));
    let report = serde_json::to_string_pretty(&rescored).map_err(|error| error.to_string())?;
    {
        use std::io::Write as _;
        writeln!(std::io::stdout(), "{report}").map_err(|error| error.to_string())?;
    }
    if let Some(out) = &args.out {
        let line =
            |row| serde_json::to_string(row).map(|line| line + "\n").map_err(|error| error.to_string());
        let lines: String = rescored.rows.iter().map(line).collect::<Result<_, _>>()?;
        std::fs::write(out, lines).map_err(|error| format!("cannot write {out}: {error}"))?;
    }
    Ok(rescored)
}
