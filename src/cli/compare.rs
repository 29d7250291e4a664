//! `compare`: two runs side by side, or, with `--live`, two servers measured in turn.
//!
//! `compare` 子命令。

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use st_harness::{exit::Exit, journal::RunRecord};

use super::{fail, live};
use crate::{
    baseline::{
        Evidence, Finding,
        compare::{Comparison, Run},
    },
    config::{PerfGate, Policy},
};

/// What `compare` is told.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// Two runs: their folders, or their journals. With --live: A=URL B=URL, or a scenario's name instead of a URL
    #[arg(required = true, num_args = 1..=2, value_name = "RUN")]
    sides: Vec<String>,
    /// What decides: seed000 or interval
    #[arg(long, value_name = "POLICY", default_value = "seed000", conflicts_with = "live")]
    gate_policy: String,
    /// Compare only what was measured in the same circumstances
    #[arg(long, conflicts_with = "live")]
    strict_environment: bool,
    /// JSON instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    live: live::LiveArgs,
}

pub(super) fn compare(args: &CompareArgs) -> Exit {
    if args.live.is_meant() {
        return live::live(&args.live, &args.sides, args.json);
    }
    let [before, now] = args.sides.as_slice() else {
        return fail(Exit::Usage, "error: expected two runs to compare, found one");
    };
    let policy = match Policy::parse(&args.gate_policy) {
        Ok(policy) => policy,
        Err(said) => return fail(Exit::Usage, format!("error: --gate-policy: {said}")),
    };
    let gate = PerfGate { policy, strict_environment: args.strict_environment, ..PerfGate::default() };
    let read = |path: &String| read(Utf8Path::new(path), policy);
    match read(before).and_then(|before| Ok((before, read(now)?))) {
        Ok((before, now)) => {
            let comparison = Comparison::of(&gate, &before, &now);
            let text = if args.json { format!("{:#}\n", json!(comparison)) } else { comparison.text() };
            // A reader that went away is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            exit(comparison.finding)
        }
        Err(message) => fail(Exit::Usage, format!("error: {message}")),
    }
}

fn exit(finding: Finding) -> Exit {
    match finding {
        Finding::Regression => Exit::Failed,
        Finding::Refused => Exit::Invalid,
        Finding::Inconclusive => Exit::Inconclusive,
        Finding::NoBaseline | Finding::Pass => Exit::Ok,
    }
}

fn read(path: &Utf8Path, policy: Policy) -> Result<Run, String> {
    let (record, folder): (_, Utf8PathBuf) = match path.is_file() {
        true => (RunRecord::read(path), path.parent().unwrap_or(Utf8Path::new("")).to_owned()),
        false => (RunRecord::read_folder(path), path.to_owned()),
    };
    let record = record.map_err(|error| error.to_string())?;
    let trials = record.trials.iter().filter(|trial| trial.planned.kind == "perf");
    let measured = trials.filter_map(|trial| trial.finished()).filter_map(|trial| {
        let evidence = Evidence::of(&record, trial)?;
        Some(if policy == Policy::Interval { evidence.with_samples(trial, &folder) } else { evidence })
    });
    let evidence = measured.collect();
    Ok(Run { record, evidence })
}
