//! `dataset generate`: prompts of one length as a file.
//!
//! `dataset` 子命令。

use std::io::Write as _;

use clap::Subcommand;
use st_harness::exit::Exit;
use tokio_util::sync::CancellationToken;

use super::fail;
use crate::{
    acs::{Counts, GenerateArgs, Generated, generate},
    client::{Client, Target},
    config::Environment,
    perf::{
        prompt::{FileCount, NoCount, ServerCount},
        spec::Endpoint,
    },
    probe::discover::first_model,
};

/// What `dataset` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Dataset {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a data set of prompts of one length
    Generate(Box<GenerateArgs>),
}

pub(super) fn dataset(dataset: &Dataset) -> Exit {
    let Action::Generate(args) = &dataset.action;
    let wrong = args.mistakes();
    if !wrong.is_empty() {
        let lines: Vec<String> = wrong.iter().map(|message| format!("error: {message}")).collect();
        return fail(Exit::Usage, lines.join("\n"));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: no runtime: {error}")),
    };
    match runtime.block_on(made(args)).and_then(|made| write(args, &made)) {
        Ok(()) => Exit::Ok,
        Err(message) => fail(Exit::Errored, format!("error: {message}")),
    }
}

async fn made(args: &GenerateArgs) -> Result<Generated, String> {
    let url = match args.counts() {
        Counts::Nobody => return generate(args, &NoCount("nobody was to count")).await,
        Counts::File(path) => return generate(args, &FileCount::read(path)?.counting(false)).await,
        Counts::Server(url) => url,
    };
    let cancel = CancellationToken::new();
    let client = Client::new(url, Environment::of_process().api_key());
    let client = client.map_err(|error| format!("--tokenizer: {error}"))?;
    let target = Target::new(client, args.model.clone().unwrap_or_default());
    let target = match &args.model {
        Some(_) => target,
        None => {
            let model = first_model(&target, &cancel).await;
            Target { model: model.map_err(|why| format!("{why}; say which with --model"))?, ..target }
        }
    };
    let template = args.count_template;
    generate(args, &ServerCount { target: &target, endpoint: Endpoint::Chat, template, cancel: &cancel })
        .await
}

fn write(args: &GenerateArgs, made: &Generated) -> Result<(), String> {
    let path = args.output_path.join(&made.name);
    let written = std::fs::create_dir_all(&args.output_path).and_then(|()| std::fs::write(&path, &made.text));
    written.map_err(|error| format!("`{path}` cannot be written: {error}"))?;
    eprintln!("{}", made.told());
    eprintln!("sha256 {}", made.sha256());
    // A reader that went away is no error.
    let _ = writeln!(std::io::stdout(), "{path}");
    Ok(())
}
