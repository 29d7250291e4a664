//! `probe`: finds out what a server can do, and tells it as a table.
//!
//! `probe` 子命令。

use std::{io::Write as _, sync::Arc};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use st_harness::{exit::Exit, folder::RunFolder, redact::Redactor};
use tokio_util::sync::CancellationToken;

use super::fail;
use crate::{
    client::{Client, Target},
    config::Environment,
    probe::{self, Bounds, Report, cache, discover::first_model, table},
};

/// What `probe` is told. The key is not an argument: others could read it there.
#[derive(Debug, clap::Args)]
pub(super) struct Probe {
    /// The server, ending in /v1 [env: VLLM_CIBENCH_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model [env: VLLM_CIBENCH_MODEL] [default: the first one that the server lists]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Keep the report for later runs, and print the lines that declare it in a scenario file
    #[arg(long)]
    save: bool,
    /// Where --save keeps it
    #[arg(long, value_name = "DIR", default_value = cache::FOLDER)]
    cache: Utf8PathBuf,
    /// JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Longest time for all of it, in seconds [default: 120, more on a slow server]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub(super) fn probe(args: &Probe) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: no runtime: {error}")),
    };
    let cancel = CancellationToken::new();
    runtime.block_on(async {
        tokio::select! {
            exit = carry_out(args, &cancel) => exit,
            _ = tokio::signal::ctrl_c() => Exit::Interrupted,
        }
    })
}

async fn carry_out(args: &Probe, cancel: &CancellationToken) -> Exit {
    let environment = Environment::of_process();
    let key = environment.api_key();
    let redactor = match &key {
        Some(key) => Redactor::new().secret(key.expose_secret()),
        None => Redactor::new(),
    };
    let Some(base_url) = args.base_url.as_deref().or_else(|| environment.get("VLLM_CIBENCH_BASE_URL")) else {
        return fail(Exit::Usage, "error: which server? Give --base-url or VLLM_CIBENCH_BASE_URL");
    };
    let model = args.model.as_deref().or_else(|| environment.get("VLLM_CIBENCH_MODEL"));
    let client = match Client::new(base_url, key) {
        Ok(client) => client,
        Err(error) => return fail(Exit::Usage, format!("error: {error}")),
    };
    let target = match served(client, model, cancel).await {
        Ok(target) => target,
        Err(why) => return fail(Exit::Errored, format!("error: {}", redactor.redact(&why))),
    };
    let bounds = args.timeout.map_or_else(Bounds::default, |seconds| {
        let total = std::time::Duration::from_secs(seconds);
        Bounds { total, stretched: total, ..Bounds::default() }
    });
    let report = probe::probe_within(&target, bounds, cancel, &|line| eprintln!("{line}")).await;
    print(&redactor.redact(&shown(args, &report)));
    if !report.is_conclusive() {
        return fail(Exit::Errored, "error: nothing could be found out; the evidence above says why");
    }
    if args.save && !report.complete {
        return fail(
            Exit::Errored,
            "error: the time was over before all was asked, so nothing is kept; raise --timeout",
        );
    }
    if args.save { save(args, &target, &report, redactor) } else { Exit::Ok }
}

async fn served(client: Client, model: Option<&str>, cancel: &CancellationToken) -> Result<Target, String> {
    let target = Target::new(client, model.unwrap_or_default());
    if model.is_some() {
        return Ok(target);
    }
    let model = first_model(&target, cancel).await.map_err(|why| format!("{why}; say which with --model"))?;
    Ok(Target { model, ..target })
}

fn shown(args: &Probe, report: &Report) -> String {
    if args.json { format!("{:#}\n", table::json(report)) } else { table::text(report) }
}

fn save(args: &Probe, target: &Target, report: &Report, redactor: Redactor) -> Exit {
    let kept = RunFolder::open(args.cache.clone(), Arc::new(redactor))
        .and_then(|folder| cache::save(&folder, target, report, Timestamp::now()));
    match kept {
        Ok(path) => {
            // Beside JSON on standard output it would be no JSON any more.
            let lines = format!("\n# Kept in {path}. For a scenario file:\n{}", table::snippet(report));
            if args.json {
                eprint!("{lines}")
            } else {
                print(&lines)
            }
            Exit::Ok
        }
        Err(error) => fail(Exit::Errored, format!("error: {error}")),
    }
}

/// A reader that went away is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
