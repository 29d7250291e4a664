//! From the text of a result file to a [`Record`], one file an adapter: [`Adapter`]. An adapter takes the layouts that
//! it was shown with and no other; what it does not know, and what says of itself that it is not whole, is an error.
//! Must not know where the file lay.
//!
//! 各工具结果文件的严格解析。

mod evalscope;
mod guidellm;
mod lm_eval;
mod mme;
mod node;
mod opencompass;
mod simple_evals;
mod vllm_bench;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Figure, Record, Samples};
use node::Node;

/// The format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adapter {
    /// `{dataset}_{model}_{time}.json` of openai/simple-evals and of scripts in its manner: one flat object.
    SimpleEvals,
    /// `{eval_name}.json` of nvidia-simple-evals: the same with `task_name` and standard errors.
    NvidiaSimpleEvals,
    /// `results_{time}.json` of lm-eval.
    LmEval,
    /// `reports/{model}/{dataset}.json` of evalscope, in its first and second layout.
    Evalscope,
    /// `summary_{time}.csv` of OpenCompass.
    Opencompass,
    /// `summary_{time}.csv` of AISBench, which is OpenCompass' with a column more.
    AisBench,
    /// What `vllm bench serve --save-result` leaves.
    VllmBench,
    /// The report of `guidellm run` as JSON.
    Guidellm,
    /// A file of answers for each subtask of MME.
    Mme,
}

impl Adapter {
    /// Whether a result is several files; otherwise it is exactly one.
    pub fn takes_several(self) -> bool {
        self == Self::Mme
    }

    /// Reads the files of a result, each with its path: at least one.
    ///
    /// # Errors
    /// In one line what was expected and what was found: no JSON, another layout, a part that is missing, a run that
    /// did not come to its end.
    pub fn read(self, files: &[(Utf8PathBuf, String)]) -> Result<Record, String> {
        match files {
            several if self.takes_several() => mme::read(several),
            [(path, text)] => self.read_text(text).map_err(|told| format!("{path}: {told}")),
            other => Err(format!("expected one file, found {}", other.len())),
        }
    }

    /// Whether it knows the files in which its tool tells of each sample.
    pub fn reads_samples(self) -> bool {
        matches!(self, Self::LmEval | Self::Evalscope)
    }

    /// What the files that tell of each sample say of those behind `figure`.
    ///
    /// # Errors
    /// In one line what was expected and what was found: another layout, a cut line, fewer samples than the figure has,
    /// or others.
    pub fn samples(self, files: &[(Utf8PathBuf, String)], figure: &Figure) -> Result<Samples, String> {
        match self {
            Self::LmEval => lm_eval::samples(files, figure),
            Self::Evalscope => evalscope::samples(files, figure),
            _ => Ok(Samples::Unmarked("nothing is known of this tool's samples".to_owned())),
        }
    }

    fn read_text(self, text: &str) -> Result<Record, String> {
        match self {
            Self::Mme => Err("expected a file for each subtask".to_owned()),
            Self::Opencompass | Self::AisBench => opencompass::read(text),
            Self::SimpleEvals => simple_evals::read(&json(text)?),
            Self::NvidiaSimpleEvals => simple_evals::read_nvidia(&json(text)?),
            Self::LmEval => lm_eval::read(&json(text)?),
            Self::Evalscope => evalscope::read(&json(text)?),
            Self::VllmBench => vllm_bench::read(&json(text)?),
            Self::Guidellm => guidellm::read(&json(text)?),
        }
    }
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("expected JSON, found something else or half of it: {error}"))
}

/// Each line of a file as a document, with what to call it.
fn json_lines(path: &Utf8Path, text: &str) -> Result<Vec<(String, serde_json::Value)>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        let name = format!("{path}: line {number}");
        let value = json(line).map_err(|told| format!("incomplete: {name}: {told}"))?;
        Ok((name, value))
    };
    lines.map(read).collect()
}

/// `value` as an object of a document.
fn root(value: &serde_json::Value) -> Node<'_> {
    Node::root(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Adapter, &str); 8] = [
        (Adapter::SimpleEvals, "simple_evals.json"),
        (Adapter::NvidiaSimpleEvals, "nvidia_simple_evals.json"),
        (Adapter::LmEval, "lm_eval.json"),
        (Adapter::Evalscope, "evalscope_v2.json"),
        (Adapter::Opencompass, "opencompass.csv"),
        (Adapter::AisBench, "ais_bench.csv"),
        (Adapter::VllmBench, "vllm_bench.json"),
        (Adapter::Guidellm, "guidellm.json"),
    ];

    fn fixture(name: &str) -> String {
        let path = format!("{}/tests/fixtures/tools/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn every_adapter_reads_its_own_file_and_refuses_everybody_elses() {
        // Two that differ by a key are told apart by nothing but it: each is a layout of the other's family.
        let kin = |one: Adapter, other: Adapter| {
            let families: [&[Adapter]; 2] = [
                &[Adapter::Opencompass, Adapter::AisBench],
                &[Adapter::SimpleEvals, Adapter::NvidiaSimpleEvals],
            ];
            one == other || families.iter().any(|family| family.contains(&one) && family.contains(&other))
        };
        for (adapter, own) in ALL {
            let record = adapter.read_text(&fixture(own)).unwrap_or_else(|error| panic!("{own}: {error}"));
            assert!(!record.figures.is_empty(), "{own}");
            for (other, name) in ALL.into_iter().filter(|(other, _)| !kin(adapter, *other)) {
                assert!(adapter.read_text(&fixture(name)).is_err(), "{adapter:?} reads what {other:?} left");
            }
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_result() {
        for (adapter, name) in ALL {
            let text = fixture(name);
            let whole = adapter.read_text(&text).unwrap();
            let last = text.trim_end().len();
            for cut in (0..last).step_by(1 + text.len() / 97).filter(|cut| text.is_char_boundary(*cut)) {
                // A table that lost whole rows is a shorter table; whoever asks for a row of it will miss it.
                let read = adapter.read_text(&text[..cut]);
                let shorter = read.as_ref().map_or(true, |read| read.figures.len() < whole.figures.len());
                assert!(shorter, "{name} cut at {cut}: {read:?}");
            }
            assert!(
                adapter.read_text("").is_err()
                    && adapter.read_text("{}").is_err()
                    && adapter.read_text("null").is_err(),
                "{name}"
            );
        }
    }
}
