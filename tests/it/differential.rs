//! The same answers marked by us and by the Python package `nvidia-simple-evals` (release 26.3), a fork of
//! simple-evals that can be installed: the same scores item by item, or a difference with a name. The package's
//! scores are in the fixtures; `scripts/accuracy_differential.py` wrote them there.
//!
//! 与 nvidia-simple-evals 逐题对比评分；差异必须有名有据。

use std::{collections::BTreeMap, path::Path};

use regex::Regex;
use serde::Deserialize;
use vllm_cibench::accuracy::{
    evaluator::{Key, Scored},
    sandbox::{Level, Sandbox},
};

#[derive(Deserialize)]
struct Line {
    origin: String,
    key: Key,
    answer: String,
    expected: BTreeMap<String, f64>,
}

/// Where the package is not openai's simple-evals at its last commit, which is what we are.
const QUIRKS: [(&str, &str, &str); 4] = [
    // Its pattern is older: upstream lets a dollar sign stand round the letter.
    ("gpqa", "dollar", r"(?i)Answer[ \t]*:[ \t]*\$[A-D]"),
    // Its pattern takes any white space after the colon, upstream's blanks and tabs only.
    ("mmlu", "line-break", r"[:：]\s*\n"),
    // Its pattern takes digits and letters of more scripts.
    ("mmlu", "more-scripts", r"(?i)[:：]\s*[1-4Ⅰ-Ⅳα-δа-д①-④]"),
    // It wants a line break before the closing fence, and takes all of the text where there is none.
    ("humaneval", "fence", r"(?s)```python\n[^`]*[^\n`]```"),
];

fn evaluator(key: &Key) -> &'static str {
    match key {
        Key::Gpqa(_) => "gpqa",
        Key::Mmlu(_) => "mmlu",
        Key::Mgsm(_) => "mgsm",
        Key::Drop(_) => "drop",
        Key::Humaneval(_) => "humaneval",
    }
}

/// The name of the quirk that explains a difference on this answer.
fn quirk(line: &Line) -> Option<&'static str> {
    let applies = |pattern: &str| Regex::new(pattern).expect("a pattern").is_match(&line.answer);
    let known = QUIRKS
        .iter()
        .find(|(evaluator_name, _, pattern)| *evaluator_name == evaluator(&line.key) && applies(pattern));
    known.map(|(_, name, _)| *name)
}

fn same(scored: &Scored, expected: &BTreeMap<String, f64>) -> bool {
    expected.iter().all(|(name, value)| scored.metrics.get(name) == Some(value))
}

/// Marks every line of a file and holds it against the package's score.
async fn compare(path: &Path) {
    let text = std::fs::read_to_string(path).expect("a file of answers");
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    if matches!(lines.first().map(|line| &line.key), Some(Key::Humaneval(_)))
        && let Err(why) = Sandbox::shared().await.at_least(Level::Full)
    {
        eprintln!("skipped: {}: {why}", path.display());
        return;
    }
    let right = lines.iter().filter(|line| line.expected["score"] >= 1.0).count();
    let wrong = lines.len() - right;
    assert!(right.min(wrong) * 3 >= lines.len(), "{}: {right} are right, {wrong} wrong", path.display());
    let marks: Vec<_> = lines.iter().map(|line| line.key.mark(&line.answer)).collect();
    let mut found = BTreeMap::<&str, usize>::new();
    let mut unexplained = Vec::new();
    for (line, scored) in lines.iter().zip(futures_util::future::join_all(marks).await) {
        let scored = scored.expect("the sandbox works");
        match (same(&scored, &line.expected), quirk(line)) {
            (true, _) => *found.entry("same").or_default() += 1,
            (false, Some(name)) => *found.entry(name).or_default() += 1,
            (false, None) => {
                unexplained.push(format!(
                    "{:?} ({}): {scored:?}\nexpected {:?}",
                    line.answer, line.origin, line.expected
                ));
            }
        }
    }
    eprintln!("{}: {} answers: {found:?}", path.display(), lines.len());
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n\n"));
}

#[tokio::test]
async fn every_answer_is_scored_as_simple_evals_scores_it_or_the_difference_has_a_name() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/accuracy/differential");
    let others = std::env::var_os("VLLM_CIBENCH_DIFFERENTIAL").map(std::path::PathBuf::from);
    let mut files = 0;
    for folder in std::iter::once(fixtures).chain(others) {
        for entry in std::fs::read_dir(&folder).expect("a folder of answers") {
            compare(&entry.expect("a file").path()).await;
            files += 1;
        }
    }
    assert!(files >= 5, "{files} files");
}
