//! Who is measured: a [`Client`], which is ours through its ordinary command, or a command that somebody names. What
//! it says of its own run is a [`Said`]. Must not know how the run is held against the truth.
//!
//! 被测客户端：自身的 run 命令或外部命令。

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    process::Command,
};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::{Value, json};
use st_harness::journal::RunRecord;

use super::{Load, Verdict};
use crate::perf::{quantile::Sorted, record::Record};

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// This program: `run` with a case that is the load.
    Ours,
    /// An argument vector, see [`Client::PLACEHOLDERS`]. Its name in the table is the program's.
    Peer(Vec<String>),
}

/// What a client says of its run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Said {
    pub(super) ttft_mean_ms: Option<f64>,
    pub(super) ttft_p99_ms: Option<f64>,
    /// Of each request, where it tells: its number, and its TTFT in milliseconds.
    pub(super) ttft_ms: Vec<(u64, f64)>,
    pub(super) verdict: Option<Verdict>,
}

const CASE: &str = "bench";

impl Client {
    /// What may stand in a peer's arguments, in braces.
    pub const PLACEHOLDERS: [&str; 8] =
        ["base_url", "root_url", "model", "streams", "requests", "tokens", "prompt_tokens", "result"];

    /// Its name in the table.
    pub fn name(&self) -> &str {
        match self {
            Self::Ours => env!("CARGO_PKG_NAME"),
            Self::Peer(words) => {
                words.first().and_then(|word| Utf8Path::new(word).file_name()).unwrap_or("peer")
            }
        }
    }

    /// How it is started for `load` against the server at `root_url`; what it needs and leaves lies in `folder`.
    pub(super) fn command(&self, load: &Load, root_url: &str, folder: &Utf8Path) -> Result<Command, String> {
        match self {
            Self::Ours => ours(load, root_url, folder),
            Self::Peer(words) => {
                let filled = words.iter().map(|word| fill(word, load, root_url, folder));
                let words: Vec<String> = filled.collect::<Result<_, _>>()?;
                let (program, arguments) = words.split_first().ok_or("the peer's command is empty")?;
                let mut command = Command::new(program);
                command.args(arguments);
                Ok(command)
            }
        }
    }

    /// What it said, once it has ended.
    pub(super) fn said(&self, folder: &Utf8Path) -> Result<Said, String> {
        match self {
            Self::Ours => of_run(folder),
            Self::Peer(_) => Ok(of_peer(folder)),
        }
    }
}

fn result(folder: &Utf8Path) -> Utf8PathBuf {
    folder.join("result.json")
}

fn fill(word: &str, load: &Load, root_url: &str, folder: &Utf8Path) -> Result<String, String> {
    let value = |name: &str| match name {
        "base_url" => Ok(format!("{root_url}/v1")),
        "root_url" => Ok(root_url.to_owned()),
        "model" => Ok("null".to_owned()),
        "streams" => Ok(load.streams.to_string()),
        "requests" => Ok(load.requests.to_string()),
        "tokens" => Ok(load.tokens.to_string()),
        "prompt_tokens" => Ok(load.prompt_tokens.to_string()),
        "result" => Ok(result(folder).into_string()),
        other => Err(format!(
            "the peer's command: expected one of {{{}}}, found {{{other}}}",
            Client::PLACEHOLDERS.join("}, {")
        )),
    };
    let (mut filled, mut rest) = (String::new(), word);
    while let Some((before, behind)) = rest.split_once('{') {
        // Braces of anything but a name, such as JSON, are the peer's own.
        match behind.split_once('}').filter(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        }) {
            Some((name, behind)) => {
                filled = filled + before + &value(name)?;
                rest = behind;
            }
            None => {
                filled = filled + before + "{";
                rest = behind;
            }
        }
    }
    Ok(filled + rest)
}

/// `run` in a root of its own, whose only case is the load. A smoke run, which does not calibrate itself first: what
/// is measured here is the load and nothing else.
fn ours(load: &Load, root_url: &str, folder: &Utf8Path) -> Result<Command, String> {
    let case = json!({
        "about": "The load of the truth bench.",
        "cases": [{
            "id": CASE,
            "about": load.name(),
            "control_method": load.control_method(),
            "concurrency": load.streams,
            "concurrency_backend": load.backend,
            "requests": load.requests,
            "input_len": load.prompt_tokens,
            "output_len": load.tokens,
        }],
    });
    let scenario = json!({"about": "A null server.", "mode": "attach"});
    for (path, content) in [("cases/perf/smoke.yaml", case), ("configs/scenarios/null.yaml", scenario)] {
        let path = folder.join(path);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        // JSON is YAML.
        written
            .and_then(|()| std::fs::write(&path, content.to_string()))
            .map_err(|error| format!("{path}: {error}"))?;
    }
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new(program);
    let base_url = format!("{root_url}/v1");
    command
        .args(["run", "--scenario", "null", "--run-type", "smoke", "--dry-run"])
        .args(["--base-url", &base_url, "--model", "null"])
        .args(["--root", folder.as_str(), "--artifacts", folder.join("runs").as_str()]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VLLM_CIBENCH_")) {
        command.env_remove(name);
    }
    Ok(command)
}

fn of_run(folder: &Utf8Path) -> Result<Said, String> {
    let runs = folder.join("runs");
    let run = only(&runs).and_then(|run| only(&run))?;
    let record = RunRecord::read_folder(&run).map_err(|error| error.to_string())?;
    let trial = record.trials.iter().find(|trial| trial.planned.kind == "perf");
    let finished = trial.and_then(|trial| trial.finished()).ok_or("our run left no finished trial")?;
    let validity = finished.details.as_ref().map_or(&Value::Null, |details| &details.value["validity"]);
    let requests = finished.artifacts.iter().find(|artifact| artifact.role == "requests");
    let requests = requests.ok_or_else(|| format!("our run measured nothing: {:?}", finished.reasons))?;
    let path = run.join(&requests.path);
    let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut said = Said { verdict: Verdict::of(validity), ..Said::default() };
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| format!("{path}: {error}"))?;
        let record: Record = serde_json::from_str(&line).map_err(|error| format!("{path}: {error}"))?;
        if let (true, Some(ttft)) = (record.is_ok(), record.ttft()) {
            said.ttft_ms.push((record.index, ttft as f64 / 1e6));
        }
    }
    let ttft = Sorted::new(said.ttft_ms.iter().map(|(_, ttft)| *ttft).collect());
    said.ttft_mean_ms = ttft.mean();
    said.ttft_p99_ms = ttft.quantile(0.99);
    Ok(said)
}

/// The one entry of a folder that is itself a folder.
fn only(folder: &Utf8Path) -> Result<Utf8PathBuf, String> {
    let entries = folder.read_dir_utf8().map_err(|error| format!("{folder}: {error}"))?;
    let mut folders = entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.into_path());
    folders.next().ok_or_else(|| format!("{folder}: no run lies here"))
}

/// Names that benchmark clients of this field share, vllm-bench and `vllm bench serve` among them.
#[derive(Deserialize)]
struct Known {
    mean_ttft_ms: Option<f64>,
    p99_ttft_ms: Option<f64>,
}

/// The document that it wrote, or else the last line of JSON that it printed.
fn of_peer(folder: &Utf8Path) -> Said {
    let read = |text: &str| serde_json::from_str::<Known>(text).ok().filter(|one| one.mean_ttft_ms.is_some());
    let written = std::fs::read_to_string(result(folder)).ok().and_then(|text| read(&text));
    let printed = || {
        let text = std::fs::read_to_string(folder.join("stdout.txt")).ok()?;
        text.lines().rev().find_map(read)
    };
    match written.or_else(printed) {
        Some(known) => {
            Said { ttft_mean_ms: known.mean_ttft_ms, ttft_p99_ms: known.p99_ttft_ms, ..Said::default() }
        }
        None => Said::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_arguments_are_filled_and_what_is_no_placeholder_is_its_own() {
        let load = Load::of(100);
        let fill = |word: &str| fill(word, &load, "http://127.0.0.1:1", Utf8Path::new("/x"));
        assert_eq!(fill("--url={base_url}").unwrap(), "--url=http://127.0.0.1:1/v1");
        assert_eq!(fill("{root_url}{requests}").unwrap(), "http://127.0.0.1:1400");
        assert_eq!(fill(r#"{"stream_options":{"a":1}}"#).unwrap(), r#"{"stream_options":{"a":1}}"#);
        assert_eq!(fill("{result}").unwrap(), "/x/result.json");
        let error = fill("{concurrency}").unwrap_err();
        assert!(error.contains("found {concurrency}") && error.contains("{streams}"), "{error}");
    }

    #[test]
    fn a_peers_figures_are_read_where_it_leaves_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        assert_eq!(of_peer(path), Said::default());
        std::fs::write(path.join("stdout.txt"), "hello\n{\"mean_ttft_ms\": 3, \"p99_ttft_ms\": 9}\nbye\n")
            .unwrap();
        assert_eq!(of_peer(path).ttft_p99_ms, Some(9.0));
        std::fs::write(result(path), "{\n\"mean_ttft_ms\": 2.5, \"other\": []}").unwrap();
        assert_eq!(of_peer(path).ttft_mean_ms, Some(2.5));
    }

    #[test]
    fn a_client_is_named_after_its_program() {
        assert_eq!(Client::Peer(vec!["/a/b/vllm-bench".to_owned()]).name(), "vllm-bench");
        assert_eq!(Client::Ours.name(), "vllm-cibench");
    }
}
