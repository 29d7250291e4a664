//! The benchmarks, one file each, asked and scored exactly as openai/simple-evals asks and scores them, and pictures
//! as MME does: an [`Evaluator`] makes an [`Exam`] of its files, and the [`Key`] of a question marks an answer to it
//! ([`Scored`]). Must not know how a question is sent or an answer came back.
//!
//! 评测集：题目、提示词、抽取与评分，与 simple-evals（图片题与 MME）完全一致；每个评测一个文件。

mod choice;
pub mod drop;
pub mod gpqa;
pub mod humaneval;
pub mod mgsm;
pub mod mme;
pub mod mmlu;
pub mod robust;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    accuracy::{
        data::{DataFile, Supply, Unready},
        metrics::sample,
        row::Row,
        sandbox::Level,
        spec::Compat,
    },
    workload::sha256_hex,
};

/// Which benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evaluator {
    /// GPQA: four options in a drawn order.
    #[default]
    Gpqa,
    /// MMLU: four options as they stand, subjects and their categories.
    Mmlu,
    /// MGSM: school mathematics in eleven languages.
    Mgsm,
    /// DROP: reading and reckoning, with three examples in the prompt.
    Drop,
    /// HumanEval: functions to write, which are run with their tests.
    Humaneval,
    /// Pictures, each with two questions to be answered yes or no, as MME has them. The model has to see: such a case
    /// says `required_capabilities: [chat.vision]`.
    Mme,
}

/// Which of a benchmark's items are asked, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choose {
    /// So many, drawn or taken from the front as upstream does; all where there is none. MGSM: of each language; MME:
    /// pictures, drawn with both their questions.
    pub limit: Option<u32>,
    /// How often each is asked, where the benchmark repeats; its own number where there is none.
    pub repeats: Option<u32>,
    /// Parts of the benchmark: a GPQA variant, an MMLU language, MGSM languages, MME's categories; its own choice
    /// where empty.
    pub subsets: Vec<String>,
    /// What a cell is that pandas would take for a missing one.
    pub cells: Cells,
    /// How well answers that are programs have to be locked up.
    pub sandbox: Level,
}

/// What a table's cell says that reads `NA`, `None`, `null` or the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cells {
    /// What stands there.
    #[default]
    Literal,
    /// `nan`, as upstream under pandas 2 has it.
    Pandas2,
}

/// What is asked, whole and in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Exam {
    /// In the order of asking.
    pub questions: Vec<Question>,
    /// What they were read from.
    pub files: Vec<DataFile>,
    /// What is odd and stops nothing: a file that is shorter than the benchmark is.
    pub warnings: Vec<String>,
}

/// One thing that is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The item, by the same name from run to run.
    pub id: String,
    /// The how-manieth time it is asked, from 0. `(id, repeat)` is unique.
    pub repeat: u32,
    /// What answers that are not independent of each other have in common: the item, a passage, a problem.
    pub stem: String,
    /// The parts of the benchmark that it counts in: a subject's category, a language.
    pub sections: Vec<String>,
    /// The text of the one user message.
    pub prompt: String,
    /// The picture in it, as a `data:` URL, where it has one.
    pub picture: Option<Arc<str>>,
    /// What an answer is marked by.
    pub key: Key,
}

/// What an answer is marked by. It stands in the record of a run, so that answers can be marked again without
/// the benchmark's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// See [`gpqa`].
    Gpqa(gpqa::Key),
    /// See [`mmlu`].
    Mmlu(mmlu::Key),
    /// See [`mgsm`].
    Mgsm(mgsm::Key),
    /// See [`drop`].
    Drop(drop::Key),
    /// See [`humaneval`].
    Humaneval(humaneval::Key),
    /// See [`mme`].
    Mme(mme::Key),
}

/// An answer marked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// What was found in the answer; nothing where nothing was.
    pub extracted: Option<String>,
    /// Its score, from 0 to 1: what the headline is the mean of.
    pub score: f64,
    /// The columns under which upstream averages it, `score` among them, on upstream's scales.
    pub metrics: BTreeMap<String, f64>,
    /// The same answer read by a reader that takes what people would take.
    pub robust: Robust,
    /// What else is to be said, such as why a program failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a tolerant reader makes of an answer. Where it scores much higher, the format is what fails and not the
/// model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Robust {
    /// What was found in the answer.
    pub extracted: Option<String>,
    /// Its score, from 0 to 1.
    pub score: f64,
}

impl Question {
    /// SHA-256 of what is asked, text and picture, hex.
    pub fn sha256(&self) -> String {
        match self.picture.as_deref() {
            None => sha256_hex(self.prompt.as_bytes()),
            Some(url) => sha256_hex(format!("{}\n{url}", self.prompt).as_bytes()),
        }
    }
}

impl Scored {
    /// What was found in the answer by the reader that `compat` names.
    pub fn found(&self, compat: Compat) -> Option<&str> {
        match compat {
            Compat::SimpleEvals => self.extracted.as_deref(),
            Compat::Robust => self.robust.extracted.as_deref(),
        }
    }
}

impl Evaluator {
    /// Its name, as cases write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpqa => "gpqa",
            Self::Mmlu => "mmlu",
            Self::Mgsm => "mgsm",
            Self::Drop => "drop",
            Self::Humaneval => "humaneval",
            Self::Mme => "mme",
        }
    }

    /// Whose figures its own are: the name that they stand under in a result.
    pub fn upstream(self) -> &'static str {
        if self == Self::Mme { "mme" } else { "simple_evals" }
    }

    /// Reads the files and makes the questions.
    ///
    /// # Errors
    /// Where a file is missing or has mistakes.
    pub fn exam(self, supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
        match self {
            Self::Gpqa => gpqa::exam(supply, choose),
            Self::Mmlu => mmlu::exam(supply, choose),
            Self::Mgsm => mgsm::exam(supply, choose),
            Self::Drop => drop::exam(supply, choose),
            Self::Humaneval => humaneval::exam(supply, choose),
            Self::Mme => mme::exam(supply, choose),
        }
    }

    /// Which way of extracting and scoring this is: scores of other ways are other scores.
    pub fn extractor(self) -> &'static str {
        match self {
            Self::Gpqa => gpqa::EXTRACTOR,
            Self::Mmlu => mmlu::EXTRACTOR,
            Self::Mgsm => mgsm::EXTRACTOR,
            Self::Drop => drop::EXTRACTOR,
            Self::Humaneval => humaneval::EXTRACTOR,
            Self::Mme => mme::EXTRACTOR,
        }
    }

    /// How many items upstream's debug mode asks; of MME, which has none, five pictures.
    pub fn debug_limit(self) -> u32 {
        match self {
            Self::Gpqa | Self::Mme => 5,
            Self::Mmlu => 1,
            Self::Mgsm | Self::Drop | Self::Humaneval => 10,
        }
    }

    /// How often upstream asks each item when it asks them all.
    pub fn full_repeats(self) -> u32 {
        match self {
            Self::Gpqa => 10,
            Self::Humaneval => 5,
            Self::Mmlu | Self::Mgsm | Self::Drop | Self::Mme => 1,
        }
    }

    /// How often upstream asks each item in its debug mode.
    pub fn debug_repeats(self) -> u32 {
        match self {
            Self::Gpqa | Self::Mmlu | Self::Mgsm | Self::Drop | Self::Mme => 1,
            Self::Humaneval => 5,
        }
    }

    /// The samples that upstream averages: one a row, but for HumanEval one a task. Only MMLU and MGSM have their
    /// sections as columns.
    pub fn samples(self, rows: &[Row]) -> Vec<BTreeMap<String, f64>> {
        if self == Self::Humaneval {
            return humaneval::samples(rows);
        }
        let with_sections = matches!(self, Self::Mmlu | Self::Mgsm);
        rows.iter().filter_map(|row| sample(row, with_sections)).collect()
    }

    /// Sets the scores of answers that are worth something only together with others: MME's two about a picture.
    pub fn join(self, rows: &mut [Row]) {
        if self == Self::Mme {
            mme::join(rows);
        }
    }

    /// Whether its answers are programs that are run.
    pub fn runs_code(self) -> bool {
        matches!(self, Self::Humaneval)
    }

    /// Whether its items may not be passed on.
    pub fn is_gated(self) -> bool {
        matches!(self, Self::Gpqa | Self::Mme)
    }
}

impl Key {
    /// Marks `answer`, from which the thinking has been taken.
    ///
    /// # Errors
    /// Where nothing can be said of the answer, and why: only where answers are run.
    pub async fn mark(&self, answer: &str) -> Result<Scored, String> {
        Ok(match self {
            Self::Gpqa(key) => key.mark(answer),
            Self::Mmlu(key) => key.mark(answer),
            Self::Mgsm(key) => key.mark(answer),
            Self::Drop(key) => key.mark(answer),
            Self::Humaneval(key) => key.mark(answer).await?,
            Self::Mme(key) => key.mark(answer),
        })
    }

    /// Whose key it is.
    pub fn evaluator(&self) -> Evaluator {
        match self {
            Self::Gpqa(_) => Evaluator::Gpqa,
            Self::Mmlu(_) => Evaluator::Mmlu,
            Self::Mgsm(_) => Evaluator::Mgsm,
            Self::Drop(_) => Evaluator::Drop,
            Self::Humaneval(_) => Evaluator::Humaneval,
            Self::Mme(_) => Evaluator::Mme,
        }
    }

    /// The right answer, in few words.
    pub fn gold(&self) -> String {
        match self {
            Self::Gpqa(key) => key.letter.to_string(),
            Self::Mmlu(key) => key.letter.to_string(),
            Self::Mgsm(key) => key.target.clone(),
            Self::Drop(key) => key.answers.join("|"),
            Self::Humaneval(key) => format!("check({})", key.entry_point),
            Self::Mme(key) => key.answer.word().to_owned(),
        }
    }
}

impl Cells {
    /// What is read where `cell` stands.
    pub fn read(self, cell: &str) -> &str {
        const NA: [&str; 19] = [
            "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
            "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
        ];
        match self {
            Self::Pandas2 if NA.contains(&cell) => "nan",
            Self::Literal | Self::Pandas2 => cell,
        }
    }
}

/// A question asked `repeats` times is that many questions; the blocks follow each other.
pub(crate) fn repeated<T: Clone>(items: &[T], repeats: u32) -> impl Iterator<Item = (u32, T)> + '_ {
    (0..repeats.max(1)).flat_map(move |repeat| items.iter().cloned().map(move |item| (repeat, item)))
}

/// `records` rows were read where the benchmark has `whole`.
pub(crate) fn row_count(file: &DataFile, stem: &str, whole: usize) -> Option<String> {
    let is_the_benchmark = file.path.rsplit('/').next().is_some_and(|name| name.starts_with(stem));
    (is_the_benchmark && file.rows != whole)
        .then(|| format!("{}: expected {whole} rows as {stem} has, found {}", file.path, file.rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_literal_unless_pandas_is_to_be_imitated() {
        assert_eq!((Cells::Literal.read("None"), Cells::Pandas2.read("None")), ("None", "nan"));
        assert_eq!((Cells::Literal.read(""), Cells::Pandas2.read("Na")), ("", "Na"));
    }

    #[test]
    fn repeats_come_in_blocks() {
        let all: Vec<_> = repeated(&["a", "b"], 2).collect();
        assert_eq!(all, [(0, "a"), (0, "b"), (1, "a"), (1, "b")]);
        assert_eq!(repeated(&["a"], 0).count(), 1);
    }

    #[test]
    fn a_key_is_read_back_as_it_was_written() {
        let key = Key::Mgsm(mgsm::Key { language: "en".to_owned(), target: "18".to_owned() });
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, r#"{"mgsm":{"language":"en","target":"18"}}"#);
        assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), key);
    }
}
