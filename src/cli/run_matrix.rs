//! `run-matrix`: every enabled scenario, each in a child of this process, so that no crash and no leaked state
//! reaches the next; their folders lie below one, and a table tells of all of them.
//!
//! `run-matrix` 子命令：逐场景以子进程运行并汇总。

use std::{io::Write as _, process::Stdio, sync::Arc, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use st_harness::{
    diag::{Problem, Problems},
    exit::Exit,
    folder::RunFolder,
    host::{GitHub, Host},
    journal::RunRecord,
    redact::Redactor,
    session::Plan,
    terminal,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use super::fail;
use crate::{
    assemble::{Assembly, PARENT_RUN, redactor_of},
    config::{Environment, Files, Flags, OnFailure, RunType, Settings},
    matrix::{Line, Matrix},
    outcome::outcome,
    report::commands::{self, Commands},
};

/// How long a scenario may take to write its reports and take down its server once it was told to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `run-matrix` is told.
#[derive(Debug, clap::Args)]
pub(super) struct RunMatrixArgs {
    /// How much: smoke, pr or daily [env: VLLM_CIBENCH_RUN_TYPE]
    #[arg(long, value_name = "TYPE")]
    run_type: Option<String>,
    /// Push nothing, whatever configs/matrix.yaml says
    #[arg(long)]
    dry_run: bool,
    /// What follows from a red scenario or stage: continue, stop_scenario or stop_all
    /// [default: as configs/matrix.yaml says]
    #[arg(long, value_name = "WHAT")]
    on_failure: Option<String>,
    /// Earlier runs to hold performance against [env: VLLM_CIBENCH_BASELINE] [default: where runs lie]
    #[arg(long, value_name = "PATH")]
    baseline: Option<Utf8PathBuf>,
    /// seed000, interval or off [env: VLLM_CIBENCH_GATE_POLICY]
    #[arg(long, value_name = "POLICY")]
    gate_policy: Option<String>,
    /// Folder for the runs' files [env: VLLM_CIBENCH_ARTIFACTS] [default: artifacts/]
    #[arg(long, value_name = "DIR")]
    artifacts: Option<Utf8PathBuf>,
    /// Print what came of it as one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// The folder with cases/ and configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
}

pub(super) fn run_matrix(args: &RunMatrixArgs) -> Exit {
    let environment = Environment::of_process();
    let meant = match meant(args, &environment) {
        Ok(meant) => meant,
        Err(problems) => return fail(Exit::Usage, Problems::from(problems)),
    };
    if meant.is_empty() {
        return fail(
            Exit::NothingSelected,
            "error: configs/matrix.yaml enables no scenario for this run type",
        );
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
    };
    match runtime.block_on(Walk::new(args, &environment, &meant).run(&meant)) {
        Ok(exit) => exit,
        Err(message) => fail(Exit::Errored, format!("error: {message}")),
    }
}

/// The settings of every enabled scenario, so that every mistake is told before anything is run.
fn meant(args: &RunMatrixArgs, environment: &Environment) -> Result<Vec<Settings>, Vec<Problem>> {
    let catalogue = Assembly::catalogue();
    let (files, problems) = Files::read(&args.root, &catalogue);
    if !problems.is_empty() {
        return Err(problems);
    }
    let named = args.run_type.as_deref().or_else(|| environment.get("VLLM_CIBENCH_RUN_TYPE"));
    let run_type =
        named.map_or(Ok(RunType::default()), RunType::parse).map_err(|said| vec![Problem::new(said)])?;
    let mut settings = Vec::new();
    let mut wrong = Vec::new();
    for scenario in files.matrix.enabled(run_type) {
        match Settings::resolve(&args.flags(scenario), environment, &args.root, &catalogue) {
            Ok(one) => settings.push(one),
            Err(problems) => wrong.extend(problems),
        }
    }
    if settings.len() > 1 {
        wrong.extend(environment.get("VLLM_CIBENCH_BASE_URL").map(|_| one_server(settings.len())));
    }
    if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
}

/// An address names one server; figures of it would stand under the name of every scenario.
fn one_server(scenarios: usize) -> Problem {
    let message =
        format!("VLLM_CIBENCH_BASE_URL names one server, and the matrix enables {scenarios} scenarios");
    Problem::new(message).with_help("unset it, or test that server with `vllm-cibench run --scenario NAME`")
}

impl RunMatrixArgs {
    fn flags(&self, scenario: &str) -> Flags {
        Flags {
            scenario: Some(scenario.to_owned()),
            run_type: self.run_type.clone(),
            dry_run: self.dry_run,
            on_failure: self.on_failure.clone(),
            baseline: self.baseline.clone(),
            gate_policy: self.gate_policy.clone(),
            artifacts: self.artifacts.clone(),
            ..Flags::default()
        }
    }

    /// The same for a child's command line.
    fn words(&self, scenario: &str, runs: &Utf8Path) -> Vec<String> {
        let mut words = vec!["run".to_owned()];
        let mut put = |name: &str, value: Option<&str>| {
            words.extend(value.map(|value| format!("--{name}={value}")));
        };
        put("root", Some(self.root.as_str()));
        put("scenario", Some(scenario));
        put("artifacts", Some(runs.as_str()));
        put("run-type", self.run_type.as_deref());
        put("on-failure", self.on_failure.as_deref());
        put("baseline", self.baseline.as_deref().map(Utf8Path::as_str));
        put("gate-policy", self.gate_policy.as_deref());
        if self.dry_run {
            words.push("--dry-run".to_owned());
        }
        words
    }
}

/// The walk from scenario to scenario.
struct Walk<'a> {
    args: &'a RunMatrixArgs,
    environment: &'a Environment,
    runs: Utf8PathBuf,
    matrix: Matrix,
    redactor: Arc<Redactor>,
}

impl<'a> Walk<'a> {
    fn new(args: &'a RunMatrixArgs, environment: &'a Environment, meant: &[Settings]) -> Self {
        let host = Host::from_environment(|_| None);
        let settings = &meant[0];
        let lines = meant.iter().map(|one| Line::waiting(&one.scenario.name)).collect();
        Self {
            args,
            environment,
            runs: settings.artifacts.clone().unwrap_or_else(|| args.root.join("artifacts")),
            matrix: Matrix::new(Plan::run_id(&host), settings.run_type.as_str(), lines),
            redactor: Arc::new(redactor_of(meant)),
        }
    }

    /// Runs them one after another, and tells of all of them at the end.
    async fn run(mut self, meant: &[Settings]) -> Result<Exit, String> {
        let folder = RunFolder::open(self.runs.join(&self.matrix.run_id), Arc::clone(&self.redactor));
        let folder = folder.map_err(|error| error.to_string())?;
        let mut signals = Signals::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
        for (at, settings) in meant.iter().enumerate() {
            // Written before each of them, so that a kill leaves what is known.
            self.keep(&folder)?;
            let name = &settings.scenario.name;
            let child =
                self.spawn(name).map_err(|error| format!("cannot start a child for {name}: {error}"))?;
            let exit = signals.wait(child).await;
            let line = &mut self.matrix.lines[at];
            line.over(exit, RunRecord::read_folder(&folder.path().join(name)).ok().as_ref());
            if signals.interrupted {
                self.matrix.leave_out(at + 1, "the run was stopped by a signal");
                break;
            }
            if settings.plan.on_failure == OnFailure::StopAll
                && !matches!(exit, Exit::Ok | Exit::Inconclusive)
            {
                self.matrix.leave_out(at + 1, &format!("{name} was red, and `on_failure: stop_all`"));
                break;
            }
        }
        self.keep(&folder)?;
        self.tell(&folder);
        Ok(match signals.interrupted {
            true => Exit::Interrupted,
            false => self.matrix.exit(),
        })
    }

    fn spawn(&self, scenario: &str) -> std::io::Result<Child> {
        Command::new(std::env::current_exe()?)
            .args(self.args.words(scenario, &self.runs))
            .env(PARENT_RUN, &self.matrix.run_id)
            // When we are gone, however we went, the child sees its input end.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A terminal's Ctrl-C is ours to hand on, once.
            .process_group(0)
            .spawn()
    }

    fn keep(&self, folder: &RunFolder) -> Result<(), String> {
        let write = |path: &str, text: &str| folder.write(path, text).map_err(|error| error.to_string());
        write("matrix.json", &format!("{:#}\n", json!(self.matrix)))?;
        let argv: Vec<String> = std::env::args().collect();
        write(Commands::FILE, &commands::text(&self.matrix.run_id, &self.environment.told(), &argv))?;
        write("matrix.md", &self.matrix.markdown())
    }

    fn tell(&self, folder: &RunFolder) {
        let github = Host::from_environment(|name| self.environment.get(name)).github;
        if let Some(GitHub { step_summary: Some(path) }) = github {
            let text = self.redactor.redact_owned(self.matrix.markdown());
            let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
            if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
                terminal::say(&format!("warning: cannot append to the step summary {path}: {error}"));
            }
        }
        let text = match self.args.json {
            true => format!("{:#}\n", self.document(folder.path())),
            false => self.matrix.text(),
        };
        terminal::tell(&self.redactor.redact(&text));
        terminal::say(&format!("reports: {}", folder.path()));
    }

    /// The matrix, with what `run --json` says of each scenario that was run.
    fn document(&self, folder: &Utf8Path) -> serde_json::Value {
        let of = |line: &Line| {
            let folder = folder.join(&line.scenario);
            RunRecord::read_folder(&folder).ok().map(|record| outcome(&record, &folder))
        };
        let runs: Vec<_> = self.matrix.lines.iter().filter_map(of).collect();
        json!({"matrix": self.matrix, "runs": runs})
    }
}

/// Ctrl-C and SIGTERM, handed on to the child that runs.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupted: bool,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            interrupted: false,
        })
    }

    /// Waits for `child`. The first signal is handed on, and the child writes its reports; a second one, or its
    /// patience, ends it at once.
    async fn wait(&mut self, mut child: Child) -> Exit {
        // Waiting would close it, and the child ends when it does.
        let _held = child.stdin.take();
        let mut told = 0;
        loop {
            let deadline = tokio::time::sleep(if told > 0 { PATIENCE } else { Duration::MAX });
            tokio::select! {
                status = child.wait() => {
                    let code = status.ok().and_then(|status| status.code());
                    return code.and_then(|code| u8::try_from(code).ok()).map_or(Exit::Errored, Exit::of_code);
                }
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                () = deadline => {}
            }
            told += 1;
            self.interrupted = true;
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // It fails only where the child has just ended.
                let _ = kill_process(pid, if told > 2 { Signal::KILL } else { Signal::TERM });
            }
        }
    }
}
