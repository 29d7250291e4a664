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

/// Where the package is not openai's simple-evals at its last commit, which is what we are. A difference is excused by
/// the very score that the quirk brings about, and by no other.
struct Quirk {
    evaluator: &'static str,
    name: &'static str,
    /// On which answers it shows.
    shows: &'static str,
    /// What the package scores there.
    predicts: fn(&Line) -> f64,
}

const QUIRKS: [Quirk; 4] = [
    // Its pattern is older: upstream lets a dollar sign stand round the letter.
    Quirk {
        evaluator: "gpqa",
        name: "dollar",
        shows: r"(?i)Answer[ \t]*:[ \t]*\$[A-D]",
        predicts: by_the_older_pattern,
    },
    // Its pattern takes any white space after the colon, upstream's blanks and tabs only.
    Quirk { evaluator: "mmlu", name: "line-break", shows: r"[:：]\s*\n", predicts: by_the_wider_pattern },
    // Its pattern takes digits and letters of more scripts.
    Quirk {
        evaluator: "mmlu",
        name: "more-scripts",
        shows: r"(?i)[:：]\s*[1-4Ⅰ-Ⅳα-δа-д①-④]",
        predicts: by_the_wider_pattern,
    },
    // It wants a line break before the closing fence, and takes all of the text where there is none: no program.
    Quirk {
        evaluator: "humaneval",
        name: "fence",
        shows: r"(?s)```python\n[^`]*[^\n`]```",
        predicts: |_| 0.0,
    },
];

fn by_the_older_pattern(line: &Line) -> f64 {
    let pattern = Regex::new(r"(?i)Answer[ \t]*:[ \t]*([A-D])").expect("a pattern");
    let found = pattern.captures(&line.answer).map(|groups| groups[1].to_owned());
    let Key::Gpqa(key) = &line.key else { unreachable!("a quirk of gpqa") };
    score(found.as_deref() == Some(key.letter.to_string().as_str()))
}

/// The package looks for one marker after the other, as upstream does. These are the ones that the answers here have,
/// in its order.
const MARKERS: [&str; 6] =
    [r"Answer\s*:", r"Antwort\s*:", r"답\s*:", r"答案\s*：", r"答案\s*:", r"Ответ\s*:"];

fn by_the_wider_pattern(line: &Line) -> f64 {
    let noise = [
        "**",
        r"$\boxed{",
        "}$",
        r"\$",
        r"$\text{",
        "$",
        r"\mathrm{",
        r"\{",
        r"\text",
        r"\(",
        r"\mathbf{",
        "{",
        r"\boxed",
    ];
    let text = noise.iter().fold(line.answer.clone(), |text, noise| text.replace(noise, ""));
    let options = "A-Da-d1-4А-Да-дΑ-Δα-δⅠ-Ⅳⅰ-ⅳ①②③④أ-دＡ-Ｄ";
    let found = MARKERS.iter().find_map(|marker| {
        let pattern = Regex::new(&format!(r"(?i){marker}\s*([{options}])")).expect("a pattern");
        pattern.captures(&text).map(|groups| groups[1].to_owned())
    });
    let Key::Mmlu(key) = &line.key else { unreachable!("a quirk of mmlu") };
    // Of what it takes, it knows these letters of other scripts; the rest is no letter, and wrong.
    let known = ["AأＡ", "BبＢ", "CجＣ", "DدＤ"];
    let letter = found.and_then(|found| known.iter().find(|letters| letters.contains(&found)));
    score(letter.is_some_and(|letters| letters.starts_with(key.letter)))
}

fn score(right: bool) -> f64 {
    f64::from(u8::from(right))
}

fn evaluator(key: &Key) -> &'static str {
    key.evaluator().name()
}

/// The name of the quirk that explains a difference on this answer: it shows there, and brings about just the score
/// that the package gave.
fn quirk(line: &Line) -> Option<&'static str> {
    let shows = |quirk: &&Quirk| {
        quirk.evaluator == evaluator(&line.key)
            && Regex::new(quirk.shows).expect("a pattern").is_match(&line.answer)
    };
    let known = QUIRKS.iter().find(shows)?;
    ((known.predicts)(line) == line.expected["score"]).then_some(known.name)
}

fn same(scored: &Scored, expected: &BTreeMap<String, f64>) -> bool {
    expected.iter().all(|(name, value)| scored.metrics.get(name) == Some(value))
}

/// Marks every line of a file and holds it against the package's score. What somebody chose by hand is to have both
/// right and wrong answers; what a model said is as it is.
async fn compare(path: &Path, chosen: bool) {
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
    assert!(
        !chosen || right.min(wrong) * 3 >= lines.len(),
        "{}: {right} are right, {wrong} wrong",
        path.display()
    );
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
    eprintln!("{}: {} answers, {right} right: {found:?}", path.display(), lines.len());
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n\n"));
}

#[tokio::test]
async fn every_answer_is_scored_as_simple_evals_scores_it_or_the_difference_has_a_name() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/accuracy/differential");
    let others = std::env::var_os("VLLM_CIBENCH_DIFFERENTIAL").map(std::path::PathBuf::from);
    let mut files = 0;
    for (folder, chosen) in std::iter::once((fixtures, true)).chain(others.map(|folder| (folder, false))) {
        for entry in std::fs::read_dir(&folder).expect("a folder of answers") {
            compare(&entry.expect("a file").path(), chosen).await;
            files += 1;
        }
    }
    assert!(files >= 5, "{files} files");
}

#[test]
fn a_score_that_no_quirk_brings_about_is_not_excused() {
    let line = |key: &str, answer: &str, score: f64| -> Line {
        let text = serde_json::json!({"origin": "o", "answer": answer, "expected": {"score": score}});
        let mut line = text.as_object().expect("an object").clone();
        line.insert("key".to_owned(), serde_json::json!({key: {"letter": "B"}}));
        serde_json::from_value(line.into()).expect("a line")
    };
    assert_eq!(quirk(&line("gpqa", "Answer: $B$", 0.0)), Some("dollar"));
    assert_eq!(quirk(&line("gpqa", "Answer: $B$", 1.0)), None, "the package finds nothing there");
    assert_eq!(quirk(&line("mmlu", "Answer:\nB", 1.0)), Some("line-break"));
    assert_eq!(quirk(&line("mmlu", "Answer:\nB", 0.0)), None, "the package takes that letter");
    assert_eq!(quirk(&line("mmlu", "Answer: 4. Answer: B", 0.0)), Some("more-scripts"));
    assert_eq!(quirk(&line("mmlu", "Answer: 4. Answer: B", 1.0)), None);
}
