//! Two servers measured in turn: [`Duel`] brings both up, runs blocks of one performance case on them in random
//! order, and hands the blocks to [`ab::judge`](crate::baseline::ab::judge). Must not know how a block is judged.
//!
//! 双服务交替测量的执行。

use std::{fmt::Write as _, sync::Arc};

use camino::Utf8PathBuf;
use serde::Serialize;
use serde_json::{Value, json};
use st_harness::{
    args::Filter,
    case::{CASE_KEYS, ExpandedCase, TrialId},
    diag::Problem,
    fixture::{Fixture as _, Ready, StartCx},
    folder::RunFolder,
    host::Host,
    read,
    redact::Redactor,
    session::Plan,
    suite::{Cx, Suite as _},
    verdict::{Measurement, Observation, Outcome, Reason},
};
use tokio_util::sync::CancellationToken;

use crate::{
    assemble::{Assembly, Door, redactor_of},
    baseline::{
        ab::{Block, BlockFigure, Design, Finding, Row, Side, Verdict, judge, order},
        percent, shown,
    },
    client::Target,
    config::{Environment, Flags, Settings},
    perf::{Perf, Spec},
    server::Server,
};

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
    launch_each: bool,
    folder: Utf8PathBuf,
    run_id: String,
    redactor: Arc<Redactor>,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// Two servers.
    Duel {
        /// The case.
        case: String,
        /// The two.
        sides: [String; 2],
        /// How it was laid out.
        design: Design,
        /// In the order in which they were run.
        blocks: Vec<Block>,
        /// What follows.
        verdict: Verdict,
        /// Where the files lie.
        folder: String,
    },
    /// One server against itself.
    SelfTest {
        /// The case.
        case: String,
        /// The server.
        side: String,
        /// How each comparison was laid out.
        design: Design,
        /// How many comparisons.
        times: u32,
        /// How many of them found a difference that cannot be there.
        alarms: u32,
        /// How often that may happen.
        stated: f64,
        /// What each found.
        findings: Vec<Finding>,
    },
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
            (spec.requests, spec.requests_per_concurrency) = (Some(requests), None);
        }
        let run_id = Plan::run_id(&Host::from_environment(|_| None));
        let runs = a.artifacts.clone().unwrap_or_else(|| wish.root.join("artifacts"));
        let redactor = Arc::new(redactor_of([&*a, &*b]));
        Ok(Self {
            settings: [a, b],
            names: wish.sides,
            case,
            spec,
            launch_each: wish.launch_each,
            folder: runs.join(&run_id).join("compare"),
            run_id,
            redactor,
        })
    }

    /// `text` as it may leave.
    pub fn masked(&self, text: String) -> String {
        self.redactor.redact_owned(text)
    }

    /// Measures both in turn.
    ///
    /// # Errors
    /// Why a server did not become ready, or a block could not be measured; `interrupted` after a signal.
    pub fn fight(&self, design: &Design) -> Result<Told, Reason> {
        self.with_servers(async |ring| {
            let blocks = ring.blocks(design, design.seed, "").await?;
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
        self.with_servers(async |ring| {
            let mut findings = Vec::new();
            for time in 0..times {
                let seed = design.seed.wrapping_add(u64::from(time));
                let blocks = ring.blocks(design, seed, &format!("{time}_")).await?;
                findings.push(judge(design, &blocks).finding);
            }
            let is_alarm = |one: &&Finding| matches!(one, Finding::Regression | Finding::Improvement);
            let told = Told::SelfTest {
                case: self.case.id.to_string(),
                side: self.names[0].clone(),
                design: *design,
                times,
                alarms: u32::try_from(findings.iter().filter(is_alarm).count()).unwrap_or(u32::MAX),
                stated: design.alpha,
                findings,
            };
            ring.keep("self-test.json", &json!(told))?;
            Ok(told)
        })
    }

    /// Brings the servers up, does `work`, and takes them down whatever came of it.
    fn with_servers(
        &self,
        work: impl AsyncFnOnce(&Ring<'_>) -> Result<Told, Reason>,
    ) -> Result<Told, Reason> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Reason::new("runtime", error.to_string()))?;
        runtime.block_on(async {
            let cancel = CancellationToken::new();
            let ring = Ring::new(self, &cancel)?;
            tokio::spawn(watch(cancel.clone()));
            let done = match ring.enter_all().await {
                Ok(()) => work(&ring).await,
                Err(reason) => Err(reason),
            };
            ring.leave_all().await;
            match cancel.is_cancelled() {
                true => Err(Reason::new("interrupted", "stopped by a signal; the servers are down")),
                false => done,
            }
        })
    }
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

/// The two servers while they are measured.
struct Ring<'a> {
    duel: &'a Duel,
    corners: [Corner; 2],
    folder: Arc<RunFolder>,
    cancel: &'a CancellationToken,
}

/// One server, and what it answers with while it is up.
struct Corner {
    server: Server,
    cx: StartCx,
    up: tokio::sync::Mutex<Option<Ready<Target>>>,
}

impl<'a> Ring<'a> {
    fn new(duel: &'a Duel, cancel: &'a CancellationToken) -> Result<Self, Reason> {
        let open = |path: Utf8PathBuf| {
            let folder = RunFolder::open(path, Arc::clone(&duel.redactor));
            folder.map(Arc::new).map_err(|error| Reason::new("folder", error.to_string()))
        };
        let corner = |at: usize, name: &str| {
            let settings = &duel.settings[at];
            let server = Server::new(Arc::clone(settings), settings.declared());
            let told = |problems: Vec<Problem>| {
                Reason::new("server", problems.first().map(|one| one.message.clone()).unwrap_or_default())
            };
            let redactor = Arc::clone(&duel.redactor);
            let cx = StartCx {
                folder: open(duel.folder.join(name))?,
                cancel: cancel.clone(),
                progress: Arc::new(move |line| eprintln!("{}", redactor.redact(line))),
                run_id: duel.run_id.clone(),
                wanted: Default::default(),
            };
            Ok::<_, Reason>(Corner { server: server.map_err(told)?, cx, up: tokio::sync::Mutex::default() })
        };
        let corners = [corner(0, "a")?, corner(1, "b")?];
        Ok(Self { duel, corners, folder: open(duel.folder.clone())?, cancel })
    }

    /// The servers of both sides, unless each block starts its own. A side that is compared with itself is the same
    /// server twice, not two.
    async fn enter_all(&self) -> Result<(), Reason> {
        if self.duel.launch_each {
            return Ok(());
        }
        self.corners[0].enter().await?;
        if self.is_one() { Ok(()) } else { self.corners[1].enter().await }
    }

    async fn leave_all(&self) {
        for corner in &self.corners {
            corner.leave().await;
        }
    }

    fn is_one(&self) -> bool {
        self.duel.names[0] == self.duel.names[1]
    }

    fn corner(&self, side: Side) -> &Corner {
        match side {
            Side::B if !self.is_one() => &self.corners[1],
            Side::A | Side::B => &self.corners[0],
        }
    }

    /// Blocks of both sides in random order.
    async fn blocks(&self, design: &Design, seed: u64, prefix: &str) -> Result<Vec<Block>, Reason> {
        let order = order(design.blocks, seed);
        let mut blocks = Vec::new();
        for (at, side) in order.into_iter().enumerate() {
            let corner = self.corner(side);
            if self.duel.launch_each {
                corner.enter().await?;
            }
            let block = self.block(side, &format!("{prefix}{at}")).await;
            if self.duel.launch_each {
                corner.leave().await;
            }
            blocks.push(block?);
        }
        Ok(blocks)
    }

    /// One measurement of the case.
    async fn block(&self, side: Side, name: &str) -> Result<Block, Reason> {
        let corner = self.corner(side);
        let letter = if side == Side::A { "a" } else { "b" };
        let id = TrialId::new(format!("perf::compare::{letter}_{name}"));
        let id = id.ok_or_else(|| Reason::new("block", format!("{name} names no block")))?;
        let up = corner.up.lock().await;
        let Ready { world, capabilities, .. } =
            up.as_ref().ok_or_else(|| Reason::new("block", "its server is not up"))?;
        let cx = Cx {
            world: Arc::new(world.clone()),
            case: Arc::clone(&self.duel.case),
            capabilities: Arc::new(capabilities.clone()),
            cancel: self.cancel.clone(),
            folder: self.folder.trial(&id),
            run_type: "compare".to_owned(),
        };
        let observation = Perf.run(&self.duel.spec, &cx).await;
        if self.cancel.is_cancelled() {
            return Err(Reason::new("interrupted", "stopped by a signal"));
        }
        measured(&observation, side)
    }

    fn keep(&self, name: &str, value: &Value) -> Result<(), Reason> {
        let written = self.folder.write(name, &format!("{value:#}\n"));
        written.map_err(|error| Reason::new("folder", error.to_string()))
    }
}

impl Corner {
    async fn enter(&self) -> Result<(), Reason> {
        let started = self.server.start(&self.cx).await;
        match started {
            Ok(ready) => {
                *self.up.lock().await = Some(ready);
                Ok(())
            }
            Err(reason) => {
                self.server.stop(&self.cx).await;
                Err(reason)
            }
        }
    }

    async fn leave(&self) {
        if self.up.lock().await.take().is_some() {
            for note in self.server.stop(&self.cx).await {
                (self.cx.progress)(&format!("warning: {}", note.text));
            }
        }
    }
}

/// A block without a single success says nothing, and ends the comparison.
fn measured(observation: &Observation, side: Side) -> Result<Block, Reason> {
    if let Outcome::Errored(reasons) | Outcome::Invalid(reasons) = &observation.outcome {
        return Err(reasons.first().clone());
    }
    let value = |figure: BlockFigure| {
        let (name, stat) = figure.measurement();
        let is_it = |one: &&Measurement| one.name == name && one.stat == stat && one.labels.is_empty();
        observation.measurements.iter().find(is_it).and_then(|one| one.value)
    };
    let figures = BlockFigure::ALL.map(value);
    match figures.iter().all(Option::is_none) {
        true => Err(Reason::new("block", "a block measured nothing: no request succeeded")),
        false => Ok(Block { side, figures }),
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

impl Told {
    /// For a terminal, within 80 columns.
    pub fn text(&self) -> String {
        match self {
            Self::Duel { case, sides, design, verdict, folder, .. } => {
                let mut text =
                    format!("A  {}\nB  {}\n{case}, {} blocks a side\n\n", sides[0], sides[1], design.blocks);
                for row in &verdict.rows {
                    text.push_str(&line(row));
                }
                let smallest = percent(design.min_effect);
                let _ = writeln!(
                    text,
                    "\n{}: a difference is one from {} on, and is found by mistake in at most {} % of comparisons",
                    word(verdict.finding),
                    smallest.trim_start_matches('+'),
                    design.alpha * 100.0
                );
                let _ = writeln!(text, "files: {folder}");
                text
            }
            Self::SelfTest { case, side, design, times, alarms, stated, .. } => format!(
                "{side} against itself, {case}, {times} × {} blocks a side\n{alarms} false alarms of {times} \
                 ({:.1} %; stated: at most {} %)\n",
                design.blocks,
                f64::from(*alarms) / f64::from((*times).max(1)) * 100.0,
                stated * 100.0
            ),
        }
    }
}

fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Regression => "REGRESSION",
        Finding::Inconclusive => "inconclusive",
        Finding::Improvement => "improvement",
        Finding::Same => "no difference",
    }
}

fn line(row: &Row) -> String {
    let bounds = row.interval.map(|[low, high]| format!("from {} to {}", percent(low), percent(high)));
    let detectable =
        row.detectable.map(|least| format!("; about {} would show", percent(least).trim_start_matches('+')));
    format!(
        "{:<20} {:>11} {:>11} {:>9}  p {:<7} {}\n{:<20} {}{}\n",
        row.figure.name(),
        shown(row.a, row.unit),
        shown(row.b, row.unit),
        row.change.map(percent).unwrap_or_default(),
        row.p_holm.map(|p| format!("{p:.4}")).unwrap_or_default(),
        word(row.finding),
        "",
        bounds.unwrap_or_else(|| "too few blocks for bounds".to_owned()),
        detectable.unwrap_or_default()
    )
}
