//! `compare`: two runs side by side, or, with `--live`, two servers measured in turn.
//!
//! `compare` 子命令。

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use st_harness::{exit::Exit, journal::RunRecord, terminal};

use super::{fail, live, terms::TermsArgs};
use crate::{
    baseline::{
        Evidence, Finding,
        compare::{Comparison, Run},
    },
    config::Policy,
};

/// What `compare` is told.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// Two runs: their folders, or their journals. With --live: A=URL B=URL, or a scenario's name instead of a URL
    #[arg(required = true, num_args = 1..=2, value_name = "RUN")]
    sides: Vec<String>,
    #[command(flatten)]
    terms: TermsArgs,
    /// JSON instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    live: live::LiveArgs,
}

pub(super) fn compare(args: &CompareArgs) -> Exit {
    if args.live.is_meant() {
        if args.terms.any() {
            let message = "error: policies and limits are for two runs that are over; --live has --min-effect and --alpha";
            return fail(Exit::Usage, message);
        }
        return live::live(&args.live, &args.sides, args.json);
    }
    let [before, now] = args.sides.as_slice() else {
        return fail(Exit::Usage, "error: expected two runs to compare, found one");
    };
    match compared(args, before, now) {
        Ok(comparison) => {
            let text = if args.json { format!("{:#}\n", json!(comparison)) } else { comparison.text() };
            terminal::tell(&text);
            exit(comparison.finding)
        }
        Err(message) => fail(Exit::Usage, format!("error: {message}")),
    }
}

/// By what the second of the two recorded, since it is the one that is judged.
fn compared(args: &CompareArgs, before: &str, now: &str) -> Result<Comparison, String> {
    let (before, now) = (Read::run(before)?, Read::run(now)?);
    let terms = args.terms.of(&now.record, "B")?;
    let policy = terms.gate.policy;
    Ok(Comparison::of(terms, &before.with_evidence(policy), &now.with_evidence(policy)))
}

fn exit(finding: Finding) -> Exit {
    match finding {
        Finding::Regression => Exit::Failed,
        Finding::Refused => Exit::Invalid,
        Finding::Inconclusive => Exit::Inconclusive,
        Finding::NoBaseline | Finding::Pass => Exit::Ok,
    }
}

/// A run's record, and where its files lie.
struct Read {
    record: RunRecord,
    folder: Utf8PathBuf,
}

impl Read {
    fn run(path: &str) -> Result<Self, String> {
        let path = Utf8Path::new(path);
        let (record, folder) = match path.is_file() {
            true => (RunRecord::read(path), path.parent().unwrap_or(Utf8Path::new("")).to_owned()),
            false => (RunRecord::read_folder(path), path.to_owned()),
        };
        Ok(Self { record: record.map_err(|error| error.to_string())?, folder })
    }

    fn with_evidence(self, policy: Policy) -> Run {
        let Self { record, folder } = self;
        let trials = record.trials.iter().filter(|trial| trial.planned.kind == "perf");
        let measured = trials.filter_map(|trial| trial.finished()).filter_map(|trial| {
            let evidence = Evidence::of(&record, trial)?;
            Some(if policy == Policy::Interval { evidence.with_samples(trial, &folder) } else { evidence })
        });
        let evidence = measured.collect();
        Run { record, evidence }
    }
}
