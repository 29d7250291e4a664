//! `bench`: this program's load, and other clients, held against what a null server really sent. See
//! [`bench`](crate::bench).
//!
//! `bench` 子命令。

use std::{io::Write as _, path::PathBuf};

use camino::Utf8PathBuf;
use serde_json::json;
use st_harness::exit::Exit;

use super::{fail, signals::say};
use crate::{
    bench::{Backend, Client, Load, Plan, Run, bench as carry_out},
    null::Pattern,
};

/// What `bench` is told.
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// Requests in flight; each is a load of its own
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 100, 1000, 10_000])]
    streams: Vec<u32>,
    /// How events come; each at every load
    #[arg(long, value_enum, value_name = "PATTERN,…", value_delimiter = ',', default_values_t = [Pattern::Usage])]
    pattern: Vec<Pattern>,
    /// Requests of a load, instead of four for each stream (two from 5000 streams on)
    #[arg(long, value_name = "N")]
    requests: Option<u32>,
    /// Tokens of an answer, instead of 100 (20 from 5000 streams on)
    #[arg(long, value_name = "N")]
    tokens: Option<u32>,
    /// From a token to the next, in milliseconds, instead of 20 (200 from 5000 streams on)
    #[arg(long, value_name = "MS")]
    interval_ms: Option<u64>,
    /// Have our own streams begin one by one over so many milliseconds, instead of together (4000 from 5000 streams on)
    #[arg(long, value_name = "MS")]
    climb_ms: Option<u64>,
    /// Who carries our own load
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// How often; clients take turns
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Print one JSON document instead of tables
    #[arg(long)]
    json: bool,
    /// Write that document to this file too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Keep the runs' files here
    #[arg(long, value_name = "DIR")]
    keep: Option<Utf8PathBuf>,
    /// Leave our own client out
    #[arg(long, requires = "peer")]
    without_us: bool,
    /// Another client's command; all that follows is part of it. {base_url} (with its /v1), {root_url}, {model},
    /// {streams}, {requests}, {tokens}, {prompt_tokens} and {result} (a file for its JSON) are filled in
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    peer: Vec<String>,
}

impl BenchArgs {
    fn load(&self, streams: u32, pattern: Pattern) -> Load {
        let usual = Load::of(streams);
        Load {
            requests: self.requests.unwrap_or(usual.requests),
            tokens: self.tokens.unwrap_or(usual.tokens),
            interval_ms: self.interval_ms.unwrap_or(usual.interval_ms),
            pattern,
            climb_ms: self.climb_ms.unwrap_or(usual.climb_ms),
            backend: self.backend,
            ..usual
        }
    }

    fn plan(&self, folder: Utf8PathBuf) -> Plan {
        let ours = (!self.without_us).then_some(Client::Ours);
        let peer = (!self.peer.is_empty()).then(|| Client::Peer(self.peer.clone()));
        let loads = self
            .pattern
            .iter()
            .flat_map(|pattern| self.streams.iter().map(|streams| self.load(*streams, *pattern)));
        Plan {
            loads: loads.collect(),
            clients: ours.into_iter().chain(peer).collect(),
            rounds: self.rounds,
            folder,
            keep: self.keep.is_some(),
        }
    }
}

pub(super) fn bench(args: &BenchArgs) -> Exit {
    if args.streams.iter().chain([&args.rounds]).any(|number| *number == 0) {
        return fail(Exit::Usage, "error: --streams and --rounds are at least 1");
    }
    let folder = args.keep.clone().unwrap_or_else(|| {
        let name = format!("vllm-cibench-bench-{}", std::process::id());
        Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or_else(|_| ".".into()).join(name)
    });
    let told = carry_out(&args.plan(folder.clone()), |run| say(&line(run)));
    if args.keep.is_none() {
        // What is left there is left of a run that failed.
        let _ = std::fs::remove_dir(&folder);
    }
    let document = format!("{:#}\n", json!(told));
    if let Some(path) = &args.save
        && let Err(error) = std::fs::write(path, &document)
    {
        return fail(Exit::Errored, format!("error: {}: {error}", path.display()));
    }
    // A reader that went away is no error.
    let _ = std::io::stdout().write_all(if args.json { document } else { told.text() }.as_bytes());
    if told.has_failures() { Exit::Errored } else { Exit::Ok }
}

/// What a person sees of a run as soon as it is over.
fn line(run: &Run) -> String {
    let told = |at: usize| run.figures[at].map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    let end = match &run.failed {
        Some(why) => format!("failed: {why}"),
        None => format!(
            "{} µs an event, TTFT {} ms over (P99 {}), {} MiB{}",
            told(0),
            told(2),
            told(3),
            told(6),
            run.verdict.as_ref().map_or_else(String::new, |verdict| format!(", {}", verdict.level))
        ),
    };
    format!("round {}: {}, {}: {end}", run.round, run.client, run.load)
}
