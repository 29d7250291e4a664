//! A tool run once: [`Tools::run`]. In a folder that did not exist, in a process group of its own that is ended with
//! it, within its time; its result is believed only where it is there, fresh and whole. Must not judge what it says.
//!
//! 运行工具：独立进程组、时限、日志、结果校验。

use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use st_harness::{
    folder::RunFolder,
    suite::Cx,
    verdict::{Artifact, Note, Outcome, Reason, Reasons},
};

use super::{
    Adapter, Figure, Invocation, Kind, RawResult, Record, Samples, Settings, Tool, Tools, Use,
    fill::{Places, case_dir},
    found,
    scratch::Scratch,
};
use crate::{
    client::Target,
    server::{Process, describe},
    workload::sha256_hex,
};

/// A file of this size or more is not kept.
const LARGEST: u64 = 64 << 20;
/// How many of its last lines are shown where it failed.
const SHOWN: usize = 20;
/// The longest that a tool may take to tell its version, or to show that it starts.
const BARE_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// A tool that came to its end.
#[derive(Debug)]
pub struct Done {
    /// What it says.
    pub record: Record,
    /// Its own version, where it told.
    pub version: Option<String>,
    /// What its files say of each sample, where its description names them, and who reads them.
    samples: Option<SampleFiles>,
    /// SHA-256 of the result, hex, as the tool wrote it.
    pub result_sha256: String,
    /// What was started, as a shell would be told it.
    pub line: String,
    /// Result, log, and what else is kept.
    pub artifacts: Vec<Artifact>,
    /// What is worth telling.
    pub notes: Vec<Note>,
}

/// A tool that left no result that can be believed.
#[derive(Debug)]
pub struct Stopped {
    /// How the trial ends by that: errored, or skipped where the tool is not installed.
    pub outcome: Outcome,
    /// What it left all the same.
    pub artifacts: Vec<Artifact>,
    /// What is worth telling.
    pub notes: Vec<Note>,
}

/// What a case wants of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// As the case says it.
    pub used: &'a Use,
    /// What else the case says, by the names that tools use for it.
    pub settings: &'a Settings,
    /// Where the tool is not installed: fail, or skip.
    pub required: bool,
    /// Keep its log, and every file but the result, out of the run's folder.
    pub redact: bool,
}

impl Tools {
    /// Runs what `wanted` names against the server of `cx`.
    ///
    /// # Errors
    /// Whatever keeps its result from being believed.
    pub async fn run(&self, wanted: Wanted<'_>, cx: &Cx<Target>) -> Result<Done, Stopped> {
        let tool = self.get(&wanted.used.name).map_err(|told| stopped("tool", told))?;
        if let Err(told) = self.installed(tool) {
            return Err(match wanted.required {
                true => stopped("tool-missing", told),
                false => Stopped {
                    outcome: Outcome::Skipped(Reason::new("tool-missing", told)),
                    artifacts: Vec::new(),
                    notes: Vec::new(),
                },
            });
        }
        let scratch = Scratch::new("vllm-cibench-tool").map_err(|told| stopped("tool", told))?;
        let mut trial = Trial { tools: self, tool, wanted, cx, artifacts: Vec::new(), notes: Vec::new() };
        match trial.carry_out(&scratch).await {
            Ok(left) => {
                let Trial { artifacts, notes, .. } = trial;
                let Left { record, version, samples, result_sha256, line } = left;
                Ok(Done { record, version, samples, result_sha256, line, artifacts, notes })
            }
            Err(reason) => Err(Stopped {
                outcome: Outcome::Errored(Reasons::one(reason)),
                artifacts: trial.artifacts,
                notes: trial.notes,
            }),
        }
    }

    /// What a tool says when it is only asked to show that it starts.
    ///
    /// # Errors
    /// In one line, why it does not.
    pub async fn smoke(&self, tool: &Tool) -> Result<String, String> {
        self.installed(tool)?;
        let (said, aside) = self.say(tool, &tool.raw.dry_run.command).await?;
        let said = said + &aside;
        match said.contains(&tool.raw.dry_run.expect) {
            true => Ok(said),
            false => Err(format!(
                "expected {:?} in what it prints, found: {}",
                tool.raw.dry_run.expect,
                said.trim().lines().last().unwrap_or("nothing")
            )),
        }
    }

    /// The tool's own version, where it has a way to tell it.
    pub async fn version(&self, tool: &Tool) -> Option<Result<String, String>> {
        let command = tool.raw.version_command.as_ref()?;
        let said = self.say(tool, command).await;
        Some(said.map(|(said, _)| said.trim().lines().last().unwrap_or_default().to_owned()))
    }

    /// What `command` prints: its output, and what it says aside.
    async fn say(&self, tool: &Tool, command: &[String]) -> Result<(String, String), String> {
        let scratch = Scratch::new("vllm-cibench-tool-bare")?;
        let invocation = Invocation::bare(command, &self.home(tool), &self.root, scratch.path());
        let (program, arguments) = invocation.argv.split_first().ok_or("there is no command")?;
        let asked = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(&invocation.cwd)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(BARE_LIMIT, asked)
            .await
            .map_err(|_| format!("`{}` did not end within {BARE_LIMIT:?}", invocation.line()))?
            .map_err(|error| format!("cannot start `{program}`: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, aside) = (text(&output.stdout), text(&output.stderr));
        match output.status.success() {
            true => Ok((said, aside)),
            false => {
                let last =
                    aside.trim().lines().last().or(said.trim().lines().last()).unwrap_or("it said nothing");
                Err(format!("`{}` {}: {last}", invocation.line(), describe(output.status)))
            }
        }
    }
}

fn stopped(kind: &str, told: String) -> Stopped {
    let outcome = Outcome::Errored(Reasons::one(Reason::new(kind, told)));
    Stopped { outcome, artifacts: Vec::new(), notes: Vec::new() }
}

/// Files that tell of each sample, with who reads them.
type SampleFiles = (Adapter, Vec<(Utf8PathBuf, String)>);

/// What a run left that can be believed.
struct Left {
    record: Record,
    version: Option<String>,
    samples: Option<SampleFiles>,
    result_sha256: String,
    line: String,
}

/// One run under way, and what it has left so far.
struct Trial<'a> {
    tools: &'a Tools,
    tool: &'a Tool,
    wanted: Wanted<'a>,
    cx: &'a Cx<Target>,
    artifacts: Vec<Artifact>,
    notes: Vec<Note>,
}

impl Trial<'_> {
    async fn carry_out(&mut self, scratch: &Scratch) -> Result<Left, Reason> {
        let errored = |told: String| Reason::new("tool", told);
        let out = scratch.path().join("out");
        std::fs::create_dir(&out).map_err(|error| errored(format!("cannot create {out}: {error}")))?;
        let version = self.version().await;
        let invocation = self.invocation(&out);
        let begun = SystemTime::now();
        self.start(&invocation, scratch.path()).await?;
        let adapter = self.tool.raw.result.adapter;
        let files = found::result(&out, &self.tool.raw.result.path, adapter.takes_several(), begun);
        let files = files.map_err(|told| self.told("tool-result", told))?;
        let samples = self.samples(&out, begun)?;
        // Whoever's answers may not be passed on: of MME they are the result itself.
        let hidden = adapter.takes_several() && self.wanted.redact;
        for (path, text) in files.iter().filter(|_| !hidden) {
            self.keep("result", path, text);
        }
        if !self.wanted.redact {
            self.keep_others(&out);
        }
        let record = adapter.read(&files);
        let record = record.map_err(|told| self.told("tool-result", format!("the result {told}")))?;
        let begun_s = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if let Some(made_at) = record.made_at.filter(|made_at| made_at + 1.0 < begun_s) {
            let old = begun_s - made_at;
            let told = format!("stale: the result says of itself that it was made {old:.0} s before the run");
            return Err(self.told("tool-result", told));
        }
        let version = record.version.clone().or(version);
        if let Some(other) = version.as_ref().filter(|version| **version != self.tool.raw.version) {
            let known = &self.tool.raw.version;
            let told =
                format!("{} is of version {other}; its adapter was shown with {known}", self.tool.name);
            self.note("tool-version", told);
        }
        let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
        let result_sha256 = sha256_hex(all.as_bytes());
        Ok(Left { record, version, samples, result_sha256, line: invocation.line() })
    }

    /// The files that tell of each sample, where the tool's description names them.
    fn samples(&self, out: &Utf8Path, begun: SystemTime) -> Result<Option<SampleFiles>, Reason> {
        let RawResult { samples: Some(pattern), adapter, .. } = &self.tool.raw.result else {
            return Ok(None);
        };
        let files = found::result(out, pattern, true, begun);
        files.map(|files| Some((*adapter, files))).map_err(|told| self.told("tool-result", told))
    }

    fn invocation(&self, out: &Utf8Path) -> Invocation {
        let target = &self.cx.world;
        let file = self.cx.case.origin.place("").map(|place| place.file);
        let kind = if self.cx.case.id.kind() == "perf" { Kind::Perf } else { Kind::Accuracy };
        let places = Places {
            base_url: &target.base_url,
            model: &target.model,
            out,
            home: &self.tools.home(self.tool),
            root: &self.tools.root,
            case_dir: &case_dir(&self.tools.root, file.as_deref(), kind),
        };
        let Wanted { used, settings, .. } = self.wanted;
        Invocation::of(self.tool, &used.with, settings, &places, self.tools.key.as_ref())
    }

    async fn version(&mut self) -> Option<String> {
        match self.tools.version(self.tool).await? {
            Ok(version) => Some(version),
            Err(told) => {
                self.note("tool-version", told);
                None
            }
        }
    }

    /// Starts it, and ends it with all that it started, whatever becomes of it.
    async fn start(&mut self, invocation: &Invocation, scratch: &Utf8Path) -> Result<(), Reason> {
        let errored = |told: String| Reason::new("tool", told);
        // What it prints may be the benchmark.
        let redactor = self.cx.folder.run().redactor().clone();
        let (folder, log) = match self.wanted.redact {
            true => {
                let own = RunFolder::open(scratch.join("log"), redactor)
                    .map_err(|error| errored(error.to_string()))?;
                (own, "tool.log".to_owned())
            }
            false => (self.cx.folder.run().clone(), self.cx.folder.path_of("tool.log").to_string()),
        };
        let Invocation { argv, env, cwd } = invocation;
        let mut process = Process::spawn_in(argv, env, Some(cwd), &folder, &log).map_err(errored)?;
        let limit = self.tool.raw.time_limit;
        let ended = tokio::select! {
            status = process.status() => Ok(status),
            () = tokio::time::sleep(limit) => Err(format!("it did not end within its time limit of {limit:?}")),
            () = self.cx.cancel.cancelled() => Err("it was cut short by the trial's deadline, or by a signal".to_owned()),
        };
        // What it started may be there still.
        process.stop(self.tool.raw.grace).await;
        if !self.wanted.redact {
            match self.cx.folder.artifact("log", "tool.log", "text/plain") {
                Ok(artifact) => self.artifacts.push(artifact),
                Err(error) => self.note("files", error.to_string()),
            }
        }
        let told = match ended {
            Err(told) => told,
            Ok(Err(told)) => told,
            Ok(Ok(status)) if status.code().is_some_and(|code| self.tool.raw.exit_codes.contains(&code)) => {
                return Ok(());
            }
            Ok(Ok(status)) => {
                format!("it {}, where {:?} is expected", describe(status), self.tool.raw.exit_codes)
            }
        };
        let lines = process.last_lines();
        let shown = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        let detail = format!("$ {}\n{shown}", invocation.line());
        Err(self.told("tool", format!("{}: {told}", self.tool.name)).with_detail(detail))
    }

    /// `told`, at the line of the case that names the tool.
    fn told(&self, kind: &str, told: String) -> Reason {
        let reason = Reason::new(kind, told);
        match self.cx.case.origin.place("/tool") {
            Some(place) => reason.at(place),
            None => reason,
        }
    }

    fn keep(&mut self, role: &str, path: &Utf8Path, text: &str) {
        let name = path.file_name().unwrap_or("result");
        let media = match path.extension() {
            Some("json") => "application/json",
            Some("jsonl") => "application/jsonl",
            Some("csv") => "text/csv",
            _ => "text/plain",
        };
        match self.cx.folder.write(role, name, media, text) {
            Ok(artifact) => self.artifacts.push(artifact),
            Err(error) => self.note("files", error.to_string()),
        }
    }

    fn keep_others(&mut self, out: &Utf8Path) {
        for (role, pattern) in &self.tool.raw.keep {
            for path in found::all(out, pattern) {
                let size = std::fs::metadata(out.join(&path)).map_or(0, |meta| meta.len());
                match std::fs::read_to_string(out.join(&path)) {
                    _ if size >= LARGEST => {
                        self.note("files", format!("{path} is not kept: it has {size} bytes"))
                    }
                    Ok(text) => self.keep(role, &path, &text),
                    Err(error) => self.note("files", format!("{path} is not kept: {error}")),
                }
            }
        }
    }

    fn note(&mut self, kind: &str, text: String) {
        self.notes.push(Note { kind: kind.to_owned(), text });
    }
}

impl Done {
    /// What it says of the samples behind `figure`.
    ///
    /// # Errors
    /// In one line, where they do not add up to the figure, or cannot be read.
    pub fn samples(&self, figure: &Figure) -> Result<Samples, String> {
        match &self.samples {
            Some((adapter, files)) => adapter.samples(files, figure),
            None => Ok(Samples::Unmarked("it leaves no file of them that is known here".to_owned())),
        }
    }

    /// What is told of it in a suite's own record.
    pub fn told(&self, used: &Use) -> Value {
        json!({
            "name": used.name,
            "with": used.with,
            "version": self.version,
            "command": self.line,
            "result_sha256": self.result_sha256,
            "record": self.record,
        })
    }
}
