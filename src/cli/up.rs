//! `up`: a server that outlives this command, for a runner that starts many processes and for debugging.
//!
//! `up` 子命令。

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};
use st_harness::{
    diag::Problems, exit::Exit, fixture::StartCx, folder::RunFolder, host::Host, session::Plan,
    verdict::Reason,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{
    fail,
    signals::{say, watch},
};
use crate::{
    assemble::{Assembly, redactor},
    config::{Environment, Flags, Settings},
    server::{Keeper, MARKER, Server, Standing, keep},
};

/// What the process that keeps the server says on standard error, in the run folder.
const LOG: &str = "up.log";
/// It says this many lines on standard output, and no more: the scenario, the address and the model's name.
const LINES: usize = 3;

/// What `up` is told.
#[derive(Debug, clap::Args)]
pub(super) struct UpArgs {
    /// Stay, and take the server down on Ctrl-C
    #[arg(long)]
    foreground: bool,
    /// Said to the process that stays behind: the run that it belongs to
    #[arg(long, hide = true, value_name = "RUN")]
    keeper_of: Option<String>,
    /// The folder with configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn up(args: &UpArgs) -> Exit {
    let settings =
        Settings::resolve(&args.flags, &Environment::of_process(), &args.root, &Assembly::catalogue());
    let settings = match settings {
        Ok(settings) => Arc::new(settings),
        Err(problems) => return fail(Exit::Usage, Problems::from(problems)),
    };
    if settings.runs_already() {
        let name = &settings.scenario.name;
        let place = settings.endpoint.base_url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        return fail(
            Exit::Usage,
            format!(
                "error: the server of the scenario `{name}` runs already{place}: there is nothing to bring up\n  = \
                 help: to start one, name a scenario that starts one and leave VLLM_CIBENCH_BASE_URL out"
            ),
        );
    }
    let keeper = if args.keeper_of.is_some() { Keeper::Detached } else { Keeper::Foreground };
    if keeper == Keeper::Detached {
        // Neither the terminal's signals nor its end are meant for us. It fails only where that is so already.
        let _ = rustix::process::setsid();
    }
    let run_id = args.keeper_of.clone().unwrap_or_else(|| Plan::run_id(&Host::from_environment(|_| None)));
    let runs = settings.artifacts.clone().unwrap_or_else(|| settings.root.join("artifacts"));
    let run = Run { folder: runs.join(&run_id).join(&settings.scenario.name), id: run_id, settings };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
    };
    let done = match keeper {
        Keeper::Foreground if !args.foreground => runtime.block_on(run.send_off()),
        keeper => runtime.block_on(run.keep(keeper)),
    };
    runtime.shutdown_background();
    done.unwrap_or_else(|reason| {
        fail(Exit::Errored, format!("error: {}\n{}", reason.summary, reason.detail).trim_end())
    })
}

/// What is brought up, and where its files go.
struct Run {
    id: String,
    folder: Utf8PathBuf,
    settings: Arc<Settings>,
}

impl Run {
    /// Brings the server up and keeps it until a signal comes.
    async fn keep(&self, keeper: Keeper) -> Result<Exit, Reason> {
        let server = match Server::new(Arc::clone(&self.settings), self.settings.declared()) {
            Ok(server) => server,
            Err(problems) => return Ok(fail(Exit::Usage, Problems::from(problems))),
        };
        let redactor = Arc::new(redactor(&self.settings));
        let folder = RunFolder::open(&self.folder, Arc::clone(&redactor));
        let cancel = CancellationToken::new();
        tokio::spawn(watch(cancel.clone()));
        let cx = StartCx {
            folder: Arc::new(folder.map_err(|error| Reason::new("folder", error.to_string()))?),
            cancel: cancel.clone(),
            progress: Arc::new(move |line| say(&redactor.redact(line))),
            run_id: self.id.clone(),
            wanted: Default::default(),
        };
        let standing = Standing::of_this_process(&self.settings, &self.id)?;
        keep(&server, keeper, standing, &cx, |standing| {
            print(standing);
            if keeper == Keeper::Foreground {
                say("the server is up; Ctrl-C takes it down");
            }
        })
        .await?;
        Ok(Exit::Ok)
    }

    /// Starts a process that keeps the server, waits until it says that the server is ready, and leaves it.
    async fn send_off(&self) -> Result<Exit, Reason> {
        let failed = |what: &str, error: std::io::Error| Reason::new("up", format!("{what}: {error}"));
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(self.folder.as_str(), error))?;
        let log = self.folder.join(LOG);
        let written = File::create(&log).map_err(|error| failed(log.as_str(), error))?;
        let program = std::env::current_exe().map_err(|error| failed("cannot find this program", error))?;
        let mut keeper = Command::new(program)
            .args(std::env::args_os().skip(1))
            .args(["--keeper-of", &self.id])
            .env(MARKER, &self.id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(written)
            .spawn()
            .map_err(|error| failed("cannot start the process that keeps the server", error))?;
        let said = follow(&mut keeper, &log).await.map_err(|error| failed("up", error))?;
        if said.len() < LINES {
            let status = keeper.wait().await.map_err(|error| failed("up", error))?;
            return Ok(match status.code() {
                Some(2) => Exit::Usage,
                Some(0 | 130) => Exit::Interrupted,
                _ => Exit::Errored,
            });
        }
        let _ = writeln!(std::io::stdout(), "{}", said.join("\n"));
        say(&format!("the server is up; take it down with: vllm-cibench down --run {}", self.folder));
        Ok(Exit::Ok)
    }
}

/// Repeats what the keeper writes to `log` until it has said where the server is, or ends. A signal is handed on.
async fn follow(keeper: &mut Child, log: &Utf8Path) -> std::io::Result<Vec<String>> {
    let mut log = File::open(log)?;
    let Some(stdout) = keeper.stdout.take() else { return Ok(Vec::new()) };
    let mut lines = BufReader::new(stdout).lines();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut said = Vec::new();
    while said.len() < LINES {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => said.push(line),
                None => break,
            },
            _ = tick.tick() => repeat(&mut log)?,
            _ = interrupt.recv() => end(keeper),
            _ = terminate.recv() => end(keeper),
        }
    }
    if said.len() < LINES {
        keeper.wait().await?;
    }
    repeat(&mut log)?;
    Ok(said)
}

/// What has been added to `log`, on standard error.
fn repeat(log: &mut File) -> std::io::Result<()> {
    let mut news = Vec::new();
    log.read_to_end(&mut news)?;
    std::io::stderr().write_all(&news)
}

fn end(keeper: &Child) {
    if let Some(pid) = keeper.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It fails only where it has just ended.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Lines that a shell, `env` and a CI's environment file take as they are. The scenario is among them so that
/// what it declares of its server, and its gates, hold for whoever tests that.
fn print(standing: &Standing) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    // Nobody may be there to read them any more; the file says the same.
    let _ = writeln!(
        std::io::stdout(),
        "VLLM_CIBENCH_SCENARIO={}\nVLLM_CIBENCH_BASE_URL={}\nVLLM_CIBENCH_MODEL={}",
        standing.scenario,
        text(&standing.base_url),
        text(&standing.model)
    );
}
