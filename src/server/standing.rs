//! A server that outlives the command that asked for it. A process of ours keeps it, [`keep`], and leaves word of
//! itself in the run folder, [`Standing`], by which another command takes it down.
//! Must not know who reads the address.
//!
//! 常驻服务：由守护进程保持，凭 up.json 停止。

use std::time::Duration;

use camino::Utf8Path;
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use st_harness::{
    fixture::{Fixture as _, StartCx},
    verdict::Reason,
};

use super::{
    Server,
    ledger::{self, Ledger, Resource, State},
    local::MARKER,
    table,
};
use crate::config::{Mode, Settings};

/// What there is to know of a server that is kept up: `up.json` in its run folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The scenario that describes it.
    pub scenario: String,
    /// The run, which marks all that it started.
    pub run_id: String,
    /// The process that keeps it.
    pub pid: u32,
    /// When that started, in clock ticks since boot.
    pub start_time_ticks: u64,
    /// How long taking it down may last, in seconds.
    pub stop_within_s: u64,
    /// Where it answers; nothing until it is ready.
    pub base_url: Option<String>,
    /// The model's name in requests; nothing until it is ready.
    pub model: Option<String>,
}

impl Standing {
    /// The file's name in the run folder.
    pub const FILE: &str = "up.json";

    /// The server of `settings`, kept by this process.
    ///
    /// # Errors
    /// When this system does not tell when a process started.
    pub fn of_this_process(settings: &Settings, run_id: &str) -> Result<Self, Reason> {
        let this = table::seen(getpid())
            .ok_or_else(|| Reason::new("processes", "this system does not list its processes in /proc"))?;
        let stop = match (&settings.launch, &settings.scenario.mode) {
            (Some(launch), _) => launch.stop_timeout + Duration::from_secs(20),
            (None, Mode::K8s(_)) => Duration::from_secs(10 * 60),
            (None, Mode::Sim(_) | Mode::Attach | Mode::Local(_)) => Duration::from_secs(20),
        };
        Ok(Self {
            scenario: settings.scenario.name.clone(),
            run_id: run_id.to_owned(),
            pid: this.pid.as_raw_nonzero().get().unsigned_abs(),
            start_time_ticks: this.start,
            stop_within_s: stop.as_secs(),
            base_url: None,
            model: None,
        })
    }

    /// What stands in the run folder `run`; nothing where no server was brought up there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(run: &Utf8Path) -> Result<Option<Self>, Reason> {
        let path = run.join(Self::FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Reason::new("up", format!("cannot read {path}: {error}"))),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| Reason::new("up", format!("{path}: {error}")))
    }

    /// Whether the process that keeps it still runs.
    pub fn is_up(&self) -> bool {
        self.keeper().is_some()
    }

    /// Asks the process that keeps it to take it down, and waits as long as that may last. Whether it has gone.
    pub async fn take_down(&self) -> bool {
        let Some(keeper) = self.keeper() else { return true };
        // It fails only where it has just gone.
        let _ = kill_process(keeper, Signal::TERM);
        let gone = async {
            while self.is_up() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(self.stop_within_s), gone).await.is_ok()
    }

    fn keeper(&self) -> Option<Pid> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw)?;
        table::seen(pid).filter(|seen| seen.start == self.start_time_ticks).map(|seen| seen.pid)
    }

    fn write(&self, cx: &StartCx) -> Result<(), Reason> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string());
        let written =
            text.and_then(|text| cx.folder.write(Self::FILE, &text).map_err(|error| error.to_string()));
        written.map_err(|why| Reason::new("up", format!("cannot say where the server is: {why}")))
    }

    /// For the ledger, where this process has a group of its own: who takes down all that is left by the
    /// ledger may then end the whole group.
    fn resource(&self) -> Resource {
        Resource::Process(ledger::Process {
            marker: format!("{MARKER}={}", self.run_id),
            program: format!("{} up", env!("CARGO_PKG_NAME")),
            pid: Some(self.pid),
            pgid: Some(self.pid),
            start_time_ticks: Some(self.start_time_ticks),
        })
    }
}

/// Who keeps a server up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// The command that a person waits for.
    Foreground,
    /// A process that leads a group of its own and was marked like all that the run starts.
    Detached,
}

/// Brings `server` up, tells `ready` once it is, keeps it until `cx.cancel` is set or it dies, and takes it
/// down.
///
/// # Errors
/// When it never became ready, or died.
pub async fn keep(
    server: &Server,
    keeper: Keeper,
    mut standing: Standing,
    cx: &StartCx,
    ready: impl FnOnce(&Standing),
) -> Result<(), Reason> {
    let note = |state| match keeper {
        Keeper::Foreground => Ok(()),
        Keeper::Detached => Ledger::of(cx.folder.path())
            .write(&cx.run_id, state, &standing.resource())
            .map_err(|error| Reason::new("ledger", error.to_string())),
    };
    note(State::Created)?;
    standing.write(cx)?;
    let kept = async {
        let found = server.start(cx).await?;
        for note in &found.notes {
            (cx.progress)(&format!("{}: {}", note.kind, note.text));
        }
        standing.base_url = Some(found.world.base_url.clone());
        standing.model = Some(found.world.model.clone());
        standing.write(cx)?;
        ready(&standing);
        tokio::select! {
            () = cx.cancel.cancelled() => Ok(()),
            death = server.over() => Err(death),
        }
    };
    let kept = kept.await;
    for note in server.stop(cx).await {
        (cx.progress)(&format!("warning: {}", note.text));
    }
    if keeper == Keeper::Detached {
        // Last of all: until here there is something to take down.
        let gone = Ledger::of(cx.folder.path()).write(&cx.run_id, State::Gone, &standing.resource());
        gone.map_err(|error| Reason::new("ledger", error.to_string()))?;
    }
    kept
}
