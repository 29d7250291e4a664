//! The two servers while they are measured: [`Ring`] brings them up, runs blocks on them in random order, and writes down
//! each of them as a trial. Must not know how blocks are judged.
//!
//! 两侧服务的启停与区组执行。

use std::{sync::Arc, time::Instant};

use camino::Utf8PathBuf;
use serde_json::Value;
use st_harness::{
    diag::Problem,
    fixture::{Fixture as _, Ready, StartCx},
    folder::RunFolder,
    suite::{Cx, Suite as _},
    terminal,
    verdict::{Measurement, Observation, Outcome, Reason},
};
use tokio_util::sync::CancellationToken;

use super::{Duel, Round, Turn, record::Record};
use crate::{
    baseline::ab::{Block, BlockFigure, Side},
    client::Target,
    server::Server,
};

/// The two servers while they are measured.
pub(super) struct Ring<'a> {
    duel: &'a Duel,
    corners: [Corner; 2],
    folder: Arc<RunFolder>,
    cancel: &'a CancellationToken,
    pub(super) record: Record,
}

/// One server, and what it answers with while it is up.
struct Corner {
    server: Server,
    cx: StartCx,
    up: tokio::sync::Mutex<Option<Ready<Target>>>,
}

impl<'a> Ring<'a> {
    pub(super) fn new(
        duel: &'a Duel,
        rounds: &[Round],
        cancel: &'a CancellationToken,
    ) -> Result<Self, Reason> {
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
                progress: Arc::new(move |line| terminal::say(&redactor.redact(line))),
                run_id: duel.run_id.clone(),
                wanted: Default::default(),
            };
            Ok::<_, Reason>(Corner { server: server.map_err(told)?, cx, up: tokio::sync::Mutex::default() })
        };
        let corners = [corner(0, Side::A.letter())?, corner(1, Side::B.letter())?];
        let folder = open(duel.folder.clone())?;
        let servers = [&corners[0].server, &corners[1].server];
        let record = Record::open(duel, Arc::clone(&folder), servers, rounds)?;
        Ok(Self { duel, corners, folder, cancel, record })
    }

    /// The servers of both sides, unless each block starts its own. A side that is compared with itself is the same
    /// server twice, not two.
    pub(super) async fn enter_all(&self) -> Result<(), Reason> {
        if self.duel.launch_each {
            return Ok(());
        }
        self.enter(Side::A).await?;
        if self.is_one() { Ok(()) } else { self.enter(Side::B).await }
    }

    async fn enter(&self, side: Side) -> Result<(), Reason> {
        let corner = self.corner(side);
        corner.enter().await?;
        match &*corner.up.lock().await {
            Some(up) => self.record.ready(side.letter(), &up.effective, &up.capabilities),
            None => Ok(()),
        }
    }

    pub(super) async fn leave_all(&self) {
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

    /// Blocks of both sides, in their order.
    pub(super) async fn blocks(&self, round: &Round) -> Result<Vec<Block>, Reason> {
        let mut blocks = Vec::new();
        for turn in &round.0 {
            let corner = self.corner(turn.side);
            if self.duel.launch_each {
                self.enter(turn.side).await?;
            }
            let block = self.block(turn).await;
            if self.duel.launch_each {
                corner.leave().await;
            }
            blocks.push(block?);
        }
        Ok(blocks)
    }

    /// One measurement of the case.
    async fn block(&self, Turn { side, id }: &Turn) -> Result<Block, Reason> {
        let up = self.corner(*side).up.lock().await;
        let Ready { world, capabilities, .. } =
            up.as_ref().ok_or_else(|| Reason::new("block", "its server is not up"))?;
        let cx = Cx {
            world: Arc::new(world.clone()),
            case: Arc::clone(&self.duel.case),
            capabilities: Arc::new(capabilities.clone()),
            cancel: self.cancel.clone(),
            folder: self.folder.trial(id),
            run_type: "compare".to_owned(),
            run_id: self.duel.run_id.clone(),
        };
        self.record.begun(id)?;
        let begun = Instant::now();
        let observation = self.duel.perf.run(&self.duel.spec, &cx).await;
        let block = measured(&observation, *side);
        self.record.over(id, observation, begun.elapsed())?;
        if self.cancel.is_cancelled() {
            return Err(Reason::new("interrupted", "stopped by a signal"));
        }
        block
    }

    pub(super) fn keep(&self, name: &str, value: &Value) -> Result<(), Reason> {
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
