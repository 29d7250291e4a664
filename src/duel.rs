//! Two servers measured in turn: [`Duel`] brings both up, runs blocks of one performance case on them in random
//! order, and hands the blocks to [`ab::judge`](crate::baseline::ab::judge). Must not know how a block is judged.
//!
//! 双服务交替测量的执行。

mod record;
mod ring;
mod told;

use std::{collections::BTreeMap, sync::Arc};

use camino::Utf8PathBuf;
use serde_json::json;
use st_harness::{
    args::Filter,
    case::{CASE_KEYS, ExpandedCase, TrialId},
    diag::Problem,
    exit::Exit,
    host::Host,
    read,
    redact::Redactor,
    session::Plan,
    verdict::Reason,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assemble::{Assembly, Door, redactor_of},
    baseline::ab::{CONFIDENCE, Design, Finding, Side, judge, most_alarms, order},
    config::{Environment, Flags, Settings},
    perf::{Perf, Spec},
};
use ring::Ring;
pub use told::Told;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The folder with cases/ and configs/.
    pub root: Utf8PathBuf,
    /// An address, or a scenario's name.
    pub sides: [String; 2],
    /// A part of the performance case's name.
    pub case: String,
    /// Whose cases: `smoke`, `pr`, `daily`.
    pub run_type: String,
    /// Requests of a block, instead of the case's own.
    pub requests: Option<u32>,
    /// Start a server anew for each of its blocks.
    pub launch_each: bool,
    /// Folder for the files.
    pub artifacts: Option<Utf8PathBuf>,
}

/// Two servers and a workload.
pub struct Duel {
    settings: [Arc<Settings>; 2],
    names: [String; 2],
    case: Arc<ExpandedCase>,
    spec: Spec,
    perf: Perf,
    launch_each: bool,
    root: Utf8PathBuf,
    folder: Utf8PathBuf,
    run_id: String,
    variables: BTreeMap<String, String>,
    redactor: Arc<Redactor>,
}

/// One comparison's blocks, in the order in which they are run.
struct Round(Vec<Turn>);

/// A block to come.
struct Turn {
    side: Side,
    id: TrialId,
}

impl Duel {
    /// Weighs what is wished for, and chooses the case.
    ///
    /// # Errors
    /// Every mistake of every file and flag; a filter that means no case, or several.
    pub fn new(wish: Wish, environment: &Environment) -> Result<Self, Vec<Problem>> {
        let flags = |side: &String| {
            let is_url = side.contains("://");
            Flags {
                scenario: Some(if is_url { "attach".to_owned() } else { side.clone() }),
                base_url: is_url.then(|| side.clone()),
                run_type: Some(wish.run_type.clone()),
                gate_policy: Some("off".to_owned()),
                artifacts: wish.artifacts.clone(),
                ..Flags::default()
            }
        };
        let resolve = |side: &String| {
            Settings::resolve(&flags(side), environment, &wish.root, &Assembly::catalogue()).map(Arc::new)
        };
        let (a, b) = (resolve(&wish.sides[0])?, resolve(&wish.sides[1])?);
        let session =
            Assembly::new(&wish.root).session(&flags(&wish.sides[0]), environment, Door::Command)?;
        let filter = Filter { text: Some(wish.case.clone()), ..Filter::default() };
        let trials = session.foresee(&filter)?.into_iter().filter(|trial| trial.planned.kind == "perf");
        let case = only(trials.filter_map(|trial| trial.case).collect(), &wish)?;
        let mut spec: Spec = read::typed(case.spec(), &case.origin, CASE_KEYS)?;
        if let Some(requests) = wish.requests {
            spec = spec.sized(requests);
        }
        let run_id = Plan::run_id(&Host::from_environment(|_| None));
        let runs = a.artifacts.clone().unwrap_or_else(|| wish.root.join("artifacts"));
        let redactor = Arc::new(redactor_of([&*a, &*b]));
        Ok(Self {
            settings: [a, b],
            names: wish.sides,
            case,
            spec,
            perf: Perf::new(&wish.root),
            launch_each: wish.launch_each,
            root: wish.root,
            variables: environment.told(),
            folder: runs.join(&run_id).join("compare"),
            run_id,
            redactor,
        })
    }

    /// `text` as it may leave.
    pub fn masked(&self, text: String) -> String {
        self.redactor.redact_owned(text)
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Utf8PathBuf {
        &self.folder
    }

    /// Measures both in turn.
    ///
    /// # Errors
    /// Why a server did not become ready, or a block could not be measured; `interrupted` after a signal.
    pub fn fight(&self, design: &Design) -> Result<Told, Reason> {
        let rounds = [Round::new(design, design.seed, "")?];
        self.with_servers(&rounds, async |ring| {
            let blocks = ring.blocks(&rounds[0]).await?;
            let verdict = judge(design, &blocks);
            let told = Told::Duel {
                case: self.case.id.to_string(),
                sides: self.names.clone(),
                design: *design,
                blocks,
                verdict,
                folder: self.folder.to_string(),
            };
            ring.keep("comparison.json", &json!(told))?;
            Ok(told)
        })
    }

    /// Compares the first server with itself, `times` times.
    ///
    /// # Errors
    /// As [`fight`](Self::fight).
    pub fn self_test(&self, design: &Design, times: u32) -> Result<Told, Reason> {
        let round =
            |time: u32| Round::new(design, design.seed.wrapping_add(u64::from(time)), &format!("{time}_"));
        let rounds = (0..times).map(round).collect::<Result<Vec<_>, _>>()?;
        self.with_servers(&rounds, async |ring| {
            let mut findings = Vec::new();
            for round in &rounds {
                findings.push(judge(design, &ring.blocks(round).await?).finding);
            }
            let is_alarm = |one: &&Finding| matches!(one, Finding::Regression | Finding::Improvement);
            let told = Told::SelfTest {
                case: self.case.id.to_string(),
                side: self.names[0].clone(),
                design: *design,
                times,
                alarms: u32::try_from(findings.iter().filter(is_alarm).count()).unwrap_or(u32::MAX),
                stated: design.alpha,
                at_most: most_alarms(times, design.alpha),
                confidence: CONFIDENCE,
                findings,
                folder: self.folder.to_string(),
            };
            ring.keep("self-test.json", &json!(told))?;
            Ok(told)
        })
    }

    /// Brings the servers up, does `work`, takes them down whatever came of it, and writes down what did.
    fn with_servers(
        &self,
        rounds: &[Round],
        work: impl AsyncFnOnce(&Ring<'_>) -> Result<Told, Reason>,
    ) -> Result<Told, Reason> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Reason::new("runtime", error.to_string()))?;
        runtime.block_on(async {
            let cancel = CancellationToken::new();
            let ring = Ring::new(self, rounds, &cancel)?;
            tokio::spawn(watch(cancel.clone()));
            let done = match ring.enter_all().await {
                Ok(()) => work(&ring).await,
                Err(reason) => Err(reason),
            };
            ring.leave_all().await;
            let done = match cancel.is_cancelled() {
                true => Err(Reason::new("interrupted", "stopped by a signal; the servers are down")),
                false => done,
            };
            ring.record.close(&done)?;
            done
        })
    }
}

impl Round {
    /// Blocks of both sides in random order, the same for the same seed; their names begin with `prefix`.
    fn new(design: &Design, seed: u64, prefix: &str) -> Result<Self, Reason> {
        let turn = |(at, side): (usize, Side)| {
            let letter = side.letter();
            let id = TrialId::new(format!("perf::compare::{letter}_{prefix}{at}"));
            let id = id.ok_or_else(|| Reason::new("block", format!("{prefix} begins no name")))?;
            Ok(Turn { side, id })
        };
        order(design.blocks, seed).into_iter().enumerate().map(turn).collect::<Result<_, _>>().map(Self)
    }
}

/// What the process returns.
pub fn exit_of(done: &Result<Told, Reason>) -> Exit {
    match done {
        Ok(told) => told.exit(),
        Err(reason) if reason.kind == "interrupted" => Exit::Interrupted,
        Err(_) => Exit::Errored,
    }
}

async fn watch(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cancel.cancel();
}

/// The only case that is meant.
fn only(mut cases: Vec<Arc<ExpandedCase>>, wish: &Wish) -> Result<Arc<ExpandedCase>, Vec<Problem>> {
    match cases.len() {
        1 => Ok(cases.remove(0)),
        0 => {
            let message = format!("no {} performance case is named like `{}`", wish.run_type, wish.case);
            let help = "`vllm-cibench run --run-type TYPE --list` prints all names";
            Err(vec![Problem::new(message).with_help(help)])
        }
        n => {
            let names: Vec<&str> = cases.iter().take(8).map(|case| case.id.as_str()).collect();
            let message = format!("`{}` means {n} performance cases: one is compared", wish.case);
            Err(vec![Problem::new(message).with_help(format!("say which with --case: {}", names.join(", ")))])
        }
    }
}
