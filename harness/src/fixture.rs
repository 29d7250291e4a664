//! The thing under test, from start to stop: the [`Fixture`] trait that a domain implements once.
//! Must not know what is started.
//!
//! 被测对象的生命周期：启动、就绪、收集、停止。

use std::{collections::BTreeSet, future::Future, sync::Arc};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    capability::{Capabilities, CapabilityId},
    folder::RunFolder,
    verdict::{Note, Reason},
};

/// Starts the thing under test and takes it down again.
pub trait Fixture: Send + Sync + 'static {
    /// What the suites get to see of it.
    type World: Send + Sync + 'static;

    /// What was asked for, for the record; no secrets.
    fn requested(&self) -> Value;

    /// What is known of it without touching it: declared, from the environment, from a cache.
    fn declared(&self) -> Capabilities;

    /// Starts it and waits until it is ready, at most as long as it allows itself. Progress goes to
    /// `cx.progress`. Whatever is created outside this process is first written to the folder.
    fn start(&self, cx: &StartCx) -> impl Future<Output = Result<Ready<Self::World>, Reason>> + Send;

    /// Archives what helps (logs, events) and takes down what was started, in reverse order. Never fails:
    /// what could not be cleaned is returned as notes. Called once, whether or not `start` succeeded.
    fn stop(&self, cx: &StartCx) -> impl Future<Output = Vec<Note>> + Send;
}

/// What a fixture may use while it starts and stops.
#[derive(Clone)]
pub struct StartCx {
    /// The run's folder.
    pub folder: Arc<RunFolder>,
    /// Set by Ctrl-C and SIGTERM.
    pub cancel: CancellationToken,
    /// Takes one line about what is being waited for.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
    /// The run's id, to mark what is created.
    pub run_id: String,
    /// What the selected trials and gates ask of the thing under test: nothing else need be found out.
    pub wanted: BTreeSet<CapabilityId>,
}

/// A thing under test that answers.
pub struct Ready<W> {
    /// Handle for the suites.
    pub world: W,
    /// What it says of itself: version, model, limits.
    pub effective: Value,
    /// What is known of it now: declared, probed.
    pub capabilities: Capabilities,
    /// Findings on the way, such as a requested setting that did not take effect.
    pub notes: Vec<Note>,
}
