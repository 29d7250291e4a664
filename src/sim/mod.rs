//! A server that behaves as vLLM 0.32 does, on a loopback port, with its own thread and its own runtime: [`Sim`].
//! It needs no model: its text is a pure function of prompt, sampling parameters and seed. It can be wrong in every
//! way that [`Fault`] lists, and it logs what it really sent and when ([`Sent`]). Where vLLM departs from OpenAI's
//! document the simulator does as vLLM; where vLLM has a bug the simulator does not, and the bug is a fault.
//! Must not know the client, the suites or any configuration file.
//!
//! 模拟器：行为如 vLLM 0.32，独立线程与运行时，只监听回环地址。

mod answering;
mod chance;
mod chat;
mod completions;
mod embeddings;
mod exam;
mod fault;
mod grammar;
mod log;
mod messages;
mod metrics;
mod options;
mod picture;
mod reply;
mod responses;
mod sabotage;
mod server;
mod service;
mod shape;
mod talk;
mod text;
mod timing_log;
mod tokenizer;
mod tools;
mod validate;
mod views;
mod wire;

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod replay;

pub use answering::{Answering, Known, Outcome};
pub use fault::{After, Fault, FaultError, FaultRule, Field, Match, Stall, Status};
pub use log::{How, Sent};
pub use options::{Features, Options, SimArgs, Timing};

use server::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use timing_log::TimingLog;
use tokio::sync::oneshot;

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The port is taken, or may not be used.
    #[error(
        "the simulator cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for any free one"
    )]
    Bind {
        /// The port that was asked for.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// The log cannot be written.
    #[error("the simulator cannot write its timing log {path}: {source}")]
    TimingLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No thread or no runtime.
    #[error("the simulator cannot start its own thread and runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// A running simulator. It stops when it is dropped: open answers break off.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Starts one. It listens when this returns.
    ///
    /// # Errors
    /// If the port cannot be had, or no thread.
    pub fn start(options: Options) -> Result<Sim, SimError> {
        let port = options.port;
        let (listener, address) = wire::bind(port).map_err(|source| SimError::Bind { port, source })?;
        let timing_log = options
            .timing_log
            .clone()
            .map(|path| TimingLog::open(&path).map_err(|source| SimError::TimingLog { path, source }))
            .transpose()?;
        let server = Arc::new(Server::new(options, timing_log));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = server.clone();
        let thread = std::thread::Builder::new().name("sim".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = server::serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Sim { address, server, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it answers: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The zero of the times in the log.
    pub fn started(&self) -> Instant {
        self.server.started()
    }

    /// What was sent until now, in the order of arrival; the latest 100,000 requests. `GET /sim/log` answers the
    /// same, so that a simulator in another process can be asked.
    pub fn log(&self) -> Vec<Sent> {
        self.server.log()
    }

    /// Waits until it stops, which it never does by itself.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts a simulator, hands its base URL to `ready`, and serves until the process ends.
///
/// # Errors
/// If it cannot start.
pub fn serve_forever(options: Options, ready: impl FnOnce(&str)) -> Result<(), SimError> {
    let sim = Sim::start(options)?;
    ready(&sim.base_url());
    sim.wait();
    Ok(())
}
