//! A server that we start on this machine: [`Local`]. Must not know when it is ready.
//!
//! 本机启动的服务：命令、端口、日志、停止与死因。

use std::{collections::BTreeMap, io::Read as _, net::TcpListener, sync::Arc, time::Duration};

use camino::Utf8PathBuf;
use st_harness::{
    fixture::StartCx,
    folder::RunFolder,
    verdict::{Note, Reason},
};

use super::{
    causes::cause,
    ledger::{self, Ledger, Resource, State},
    process::{Process, Stopped},
};
use crate::config::{Launch, Placeholders, Settings};

/// The log's name in the run folder.
const LOG: &str = "server.log";
/// This much of a log is looked at for what a server says of itself, in bytes.
const FIRST_LINES: u64 = 4 * 1024 * 1024;
/// Stands in the environment of everything that a run starts, so that what is left of it can be found.
pub const MARKER: &str = "VLLM_CIBENCH_RUN_ID";

/// A server that we started.
pub(super) struct Local {
    process: Process,
    command: Vec<String>,
    base_url: String,
    run_id: String,
    program: String,
    stop_timeout: Duration,
    folder: Arc<RunFolder>,
}

impl Local {
    /// Notes that the server is about to be started, and starts it.
    ///
    /// # Errors
    /// When its port is taken, or it cannot be started.
    pub(super) async fn spawn(settings: &Settings, cx: &StartCx) -> Result<Self, Reason> {
        let launch = settings.launch.as_ref().ok_or_else(|| {
            Reason::new("launch", format!("the scenario `{}` has no command", settings.scenario.name))
        })?;
        let port = port(launch)?;
        let (command, mut env) = launch.with(&placeholders(settings, port));
        env.insert(MARKER.to_owned(), cx.run_id.clone());
        // A Python program that renames its process (vLLM does) would write over the marker.
        env.entry("SPT_NOENV".to_owned()).or_insert_with(|| "1".to_owned());
        let base_url = format!("{}://127.0.0.1:{port}/v1", settings.scenario.readiness.scheme.as_str());
        Self::start(&command, &env, base_url, launch.stop_timeout, cx)
    }

    fn start(
        command: &[String],
        env: &BTreeMap<String, String>,
        base_url: String,
        stop_timeout: Duration,
        cx: &StartCx,
    ) -> Result<Self, Reason> {
        let program = command.first().map(String::as_str).unwrap_or_default();
        note(&cx.folder, &cx.run_id, State::Planned, program, None)?;
        (cx.progress)(&format!("starting {program} for {base_url}; its output goes to {LOG}"));
        let process = Process::spawn(command, env, &cx.folder, LOG).map_err(|why| {
            Reason::new("launch", why)
                .with_detail(format!("The command, from the scenario:\n{}", line(command)))
        })?;
        let local = Self {
            process,
            command: command.to_vec(),
            base_url,
            run_id: cx.run_id.clone(),
            program: program.to_owned(),
            stop_timeout,
            folder: cx.folder.clone(),
        };
        local.note(State::Created)?;
        Ok(local)
    }

    fn note(&self, state: State) -> Result<(), Reason> {
        note(&self.folder, &self.run_id, state, &self.program, Some(&self.process))
    }

    /// What was started, with its arguments.
    pub(super) fn command(&self) -> &[String] {
        &self.command
    }

    /// The beginning of its output: what it says of itself when it starts.
    pub(super) fn first_lines(&self) -> Option<String> {
        let mut text = Vec::new();
        let file = std::fs::File::open(self.log()).ok()?;
        file.take(FIRST_LINES).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Where it answers once it does.
    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where its output is.
    pub(super) fn log(&self) -> Utf8PathBuf {
        self.folder.path().join(LOG)
    }

    /// Returns when the server has died: how, why where that is known, and what it said last. `when` is told.
    pub(super) async fn death(&mut self, when: &str) -> Reason {
        let how = self.process.ended().await;
        let lines = self.process.last_lines();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let known = cause(&lines);
        let summary = match known {
            Some((cause, _)) => format!("the server died {when}: {}", cause.about),
            None => format!("the server died {when}"),
        };
        let mut detail = format!("It {how}.");
        if let Some((cause, line)) = known {
            detail += &format!("\nWhat tells it ({}): {line}\n{}", cause.id, cause.advice);
        }
        detail += &match lines.as_slice() {
            [] => "\nIt printed nothing.".to_owned(),
            lines => format!("\nIts last lines, all in {}:\n{}", self.log(), lines.join("\n")),
        };
        Reason::new("server-died", summary).with_detail(detail)
    }

    /// Ends it, and all that it started.
    pub(super) async fn stop(mut self, progress: &(dyn Fn(&str) + Send + Sync)) -> Vec<Note> {
        progress("stopping the server");
        let process_group = self.process.group();
        let stopped = self.process.stop(self.stop_timeout).await;
        let mut said = Vec::new();
        match &stopped {
            Stopped::Asked => {}
            Stopped::Before(how) => {
                said.push(("server-died", format!("the server {how} before it was stopped")))
            }
            Stopped::Killed => said.push((
                "server-killed",
                format!(
                    "the server had to be killed: it did not end within {} s",
                    self.stop_timeout.as_secs()
                ),
            )),
            Stopped::Left => said.push((
                "leftover",
                format!(
                    "something of the server is left in the process group {process_group}, even after SIGKILL"
                ),
            )),
        }
        if let Some(fault) = self.process.log_fault() {
            said.push(("server-log", format!("the server's log is cut short: {fault}")));
        }
        if stopped != Stopped::Left {
            said.extend(self.note(State::Gone).err().map(|reason| ("ledger", reason.summary)));
        }
        said.into_iter().map(|(kind, text)| Note { kind: kind.to_owned(), text }).collect()
    }
}

/// The command of `settings`, whatever its port is; nothing where they have none.
pub(super) fn command(settings: &Settings) -> Vec<String> {
    let launch = settings.launch.as_ref();
    launch.map(|launch| launch.with(&placeholders(settings, 0)).0).unwrap_or_default()
}

fn placeholders(settings: &Settings, port: u16) -> Placeholders<'_> {
    let model = settings.scenario.model.as_deref().unwrap_or_default();
    let served_model_name = settings.endpoint.model.as_deref().unwrap_or(model);
    Placeholders { port, model, served_model_name, quant: settings.scenario.quant.as_str() }
}

/// Writes down what has become of a process; before it is started, there is only its marker to know it by.
fn note(
    folder: &RunFolder,
    run_id: &str,
    state: State,
    program: &str,
    process: Option<&Process>,
) -> Result<(), Reason> {
    let group = process.map(Process::group);
    let resource = Resource::Process(ledger::Process {
        marker: format!("{MARKER}={run_id}"),
        program: program.to_owned(),
        pid: group,
        pgid: group,
        start_time_ticks: process.and_then(Process::start_time_ticks),
    });
    let written = Ledger::of(folder.path()).write(run_id, state, &resource);
    written.map_err(|error| Reason::new("ledger", error.to_string()))
}

/// The configured port, which has to be free: otherwise somebody else's server would be tested. Or any free one;
/// somebody may take it before the server does, which the server then says.
fn port(launch: &Launch) -> Result<u16, Reason> {
    let wanted = launch.port.unwrap_or(0);
    let bound = TcpListener::bind(("127.0.0.1", wanted)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| {
        Reason::new("port-in-use", format!("the port {wanted} of 127.0.0.1 cannot be had: {error}")).with_detail(
            "End what listens there, or leave `launch.port` out of the scenario to have a free port chosen.",
        )
    })
}

/// A command as one types it.
fn line(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quoted = command.iter().map(|part| match !part.is_empty() && part.chars().all(plain) {
        true => part.clone(),
        false => format!("'{}'", part.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}
