//! `commands.txt`: the exact command lines of a run, to be given to a shell again: [`Commands`]. First the one that ran,
//! with the environment variables that had a say, then the one that started the server. Secrets stand there as `***`.
//! Must not know how either is started.
//!
//! 命令快照：本次运行与服务启动的完整命令行（已脱敏）。

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;
use st_harness::{
    journal::RunRecord,
    report::{Document, Files, Report},
};

use crate::client::quoted;

/// Writes `commands.txt`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Commands;

impl Commands {
    /// The file of the report.
    pub const FILE: &str = "commands.txt";
}

impl Report for Commands {
    fn name(&self) -> &'static str {
        "commands"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let started = &run.started;
        let mut text = text(&started.run_id, &started.variables, &started.argv);
        if let Some(command) = server(&started.requested) {
            let _ = writeln!(text, "\n# The server of the scenario {}.\n{command}", started.scenario);
        }
        Ok(vec![Document::new(Self::FILE, text)])
    }
}

/// The command line that made a run, with the variables that had a say.
pub(crate) fn text(run_id: &str, variables: &BTreeMap<String, String>, argv: &[String]) -> String {
    let mut text = format!("# Run {run_id}. Secrets are ***.\n");
    for (name, value) in variables {
        let _ = writeln!(text, "{name}={} \\", quoted(value));
    }
    let _ = writeln!(text, "{}", line(argv.iter().map(String::as_str)));
    text
}

/// One that was started by a command; a manifest's is in the manifest.
fn server(requested: &Value) -> Option<String> {
    let words = requested.get("command")?.as_array()?;
    Some(line(words.iter().filter_map(Value::as_str)))
}

/// The words of a command for a POSIX shell.
fn line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_can_be_repeated_from_its_commands() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/journals/every_status.jsonl");
        let mut run = RunRecord::read(camino::Utf8Path::new(path)).expect("the fixture is a journal");
        run.started.argv = ["vllm-cibench", "run", "--scenario", "it's"].map(str::to_owned).to_vec();
        run.started.variables = [("VLLM_CIBENCH_API_KEY".to_owned(), "***".to_owned())].into();
        run.started.requested = json!({"command": ["vllm", "serve", "/models/a b", "--port", "8000"]});
        let documents = Commands.render(&run, &Files::default()).expect("rendered");
        let text = &documents[0].text;
        let after_head = text.split_once('\n').expect("a head").1;
        let scenario = &run.started.scenario;
        assert_eq!(
            after_head,
            format!(
                "VLLM_CIBENCH_API_KEY='***' \\\nvllm-cibench run --scenario 'it'\\''s'\n\n# The server of the scenario \
                 {scenario}.\nvllm serve '/models/a b' --port 8000\n"
            )
        );
    }
}
