//! `compare --live`: two servers measured in turn, block by block. See [`duel`](crate::duel).
//!
//! `compare --live`：两个服务交替测量。

use camino::Utf8PathBuf;
use serde_json::json;
use st_harness::{diag::Problems, exit::Exit, terminal};

use super::fail;
use crate::{
    baseline::ab::{Design, FEWEST, MOST},
    config::Environment,
    duel::{Duel, Wish, exit_of},
};

/// What `compare --live` is told.
#[derive(Debug, clap::Args)]
pub(super) struct LiveArgs {
    /// Measure both servers now, in random blocks of the same workload
    #[arg(long)]
    live: bool,
    /// The performance case whose workload it is, by a part of its name
    #[arg(long, value_name = "FILTER", default_value = "perf::", requires = "live")]
    case: String,
    /// Whose cases: smoke, pr or daily
    #[arg(long, value_name = "TYPE", default_value = "smoke", requires = "live")]
    run_type: String,
    /// Blocks a side, from 5 to 50
    #[arg(long, value_name = "N", default_value_t = 10, requires = "live")]
    blocks: usize,
    /// Requests, or conversations, of a block, instead of the case's own
    #[arg(long, value_name = "N", requires = "live")]
    requests: Option<u32>,
    /// Start each scenario's server anew for each of its blocks
    #[arg(long, requires = "live")]
    launch_each: bool,
    /// The smallest change that matters: 0.05 is 5 %
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, requires = "live")]
    min_effect: f64,
    /// How often a difference may be found where there is none
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, requires = "live")]
    alpha: f64,
    /// Seed of the blocks' order
    #[arg(long, value_name = "N", default_value_t = 0, requires = "live")]
    seed: u64,
    /// Compare the first side with itself, this many times, and tell how often a difference is found
    #[arg(long, value_name = "TIMES", requires = "live")]
    self_test: Option<u32>,
    /// Folder for the files [env: VLLM_CIBENCH_ARTIFACTS] [default: artifacts/]
    #[arg(long, value_name = "DIR", requires = "live")]
    artifacts: Option<Utf8PathBuf>,
    /// The folder with cases/ and configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
}

impl LiveArgs {
    pub(super) fn is_meant(&self) -> bool {
        self.live
    }

    fn design(&self) -> Result<Design, String> {
        if !(FEWEST..=MOST).contains(&self.blocks) {
            return Err(format!(
                "--blocks: expected from {FEWEST} to {MOST}, found {}: fewer cannot show a difference whatever they \
                 measure",
                self.blocks
            ));
        }
        let shares = self.alpha > 0.0 && self.alpha < 1.0 && (0.0..10.0).contains(&self.min_effect);
        if !shares {
            return Err("--alpha and --min-effect are shares: 0.05 is 5 %".to_owned());
        }
        Ok(Design { blocks: self.blocks, seed: self.seed, min_effect: self.min_effect, alpha: self.alpha })
    }

    fn wish(&self, sides: &[String]) -> Result<Wish, String> {
        let mut named: Vec<String> = Vec::new();
        for (side, letter) in sides.iter().zip(["A", "B"]) {
            let given = side.strip_prefix(letter).and_then(|rest| rest.strip_prefix('='));
            named.push(
                given
                    .ok_or_else(|| format!("expected {letter}=URL or {letter}=SCENARIO, found `{side}`"))?
                    .to_owned(),
            );
        }
        let (a, b) = match (named.as_slice(), self.self_test) {
            ([a, b], None) => (a.clone(), b.clone()),
            ([a], Some(_)) => (a.clone(), a.clone()),
            ([_], None) => return Err("expected B=URL too, or --self-test TIMES".to_owned()),
            _ => return Err("--self-test compares A with itself: leave B out".to_owned()),
        };
        Ok(Wish {
            root: self.root.clone(),
            sides: [a, b],
            case: self.case.clone(),
            run_type: self.run_type.clone(),
            requests: self.requests,
            launch_each: self.launch_each,
            artifacts: self.artifacts.clone(),
        })
    }
}

pub(super) fn live(args: &LiveArgs, sides: &[String], as_json: bool) -> Exit {
    let (design, wish) = match args.design().and_then(|design| Ok((design, args.wish(sides)?))) {
        Ok(meant) => meant,
        Err(message) => return fail(Exit::Usage, format!("error: {message}")),
    };
    let duel = match Duel::new(wish, &Environment::of_process()) {
        Ok(duel) => duel,
        Err(problems) => return fail(Exit::Usage, Problems::from(problems)),
    };
    let told = match args.self_test {
        None => duel.fight(&design),
        Some(times) => duel.self_test(&design, times),
    };
    let exit = exit_of(&told);
    match told {
        Ok(told) => {
            let text = if as_json { format!("{:#}\n", json!(told)) } else { told.text() };
            terminal::tell(&duel.masked(text));
        }
        Err(reason) if exit == Exit::Interrupted => {
            return fail(exit, format!("{}\nfiles: {}", reason.summary, duel.folder()));
        }
        Err(reason) => {
            let message = format!("error: {}\n{}", reason.summary, reason.detail);
            return fail(exit, duel.masked(message.trim_end().to_owned()));
        }
    }
    exit
}
