//! MMLU: four options as they stand, in English or translated; the answer is read behind a marker of many
//! languages. Markers and the table of subjects are openai/simple-evals' (MIT License, Copyright (c) 2024 OpenAI).
//! Must not know how a question is sent.
//!
//! MMLU：多语言答案标记，按学科类别统计。

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    Choose, Exam, Question, Scored,
    choice::{self, LETTERS},
    robust, row_count,
};
use crate::accuracy::{
    data::{Layout, Supply, Table, Unready},
    python::{Random, text::strip},
};

/// Which way of extracting and scoring this is.
pub const EXTRACTOR: &str = "simple_evals_mmlu/1";

const INSTRUCTION: &str = "Put mmlu.csv (columns Question,A,B,C,D,Answer,Subject; translations as mmlu_DE-DE.csv) \
                           into the folder that VLLM_CIBENCH_ACCURACY_DATA names, or name the file with `data:` \
                           in the case";

const LAYOUT: Layout<'_> = Layout {
    needed: &["Question", "A", "B", "C", "D", "Answer", "Subject"],
    optional: &["Id"],
    headless: false,
};

const WHOLE: usize = 14_042;

/// The right letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// As it stands in the file.
    pub letter: char,
}

/// The questions; the subset, if there is one, is a language such as `DE-DE`.
pub(super) fn exam(supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
    let stem =
        choose.subsets.first().map_or_else(|| "mmlu".to_owned(), |language| format!("mmlu_{language}"));
    let table = Table::load(&supply.find(&stem, INSTRUCTION)?, LAYOUT).map_err(Unready::Bad)?;
    let questions = table.each(|index, record| {
        let cell = |name: &str| choose.cells.read(record.cell(name));
        if record.cell("Question").trim().is_empty() {
            return Err("expected text in `Question`, found none".to_owned());
        }
        let written = record.cell("Answer");
        let letter = LETTERS.into_iter().find(|letter| written.chars().eq([*letter]));
        let Some(letter) = letter else {
            return Err(format!("expected `Answer` to be one of A, B, C, D, found {written:?}"));
        };
        let id = record.get("Id").map_or_else(|| format!("row_{index}"), str::to_owned);
        Ok(Question {
            stem: id.clone(),
            id,
            repeat: 0,
            sections: vec![category(record.cell("Subject")).to_owned()],
            prompt: choice::prompt(cell("Question"), ["A", "B", "C", "D"].map(cell)),
            picture: None,
            key: super::Key::Mmlu(Key { letter }),
        })
    });
    let questions = questions.map_err(Unready::Bad)?;
    let warnings = row_count(&table.file, &stem, WHOLE).into_iter().collect();
    Ok(Exam { questions: sampled(questions, choose.limit, 0), files: vec![table.file], warnings })
}

/// `random.Random(seed).sample(questions, limit)`, or all of them.
pub(super) fn sampled<T: Clone>(all: Vec<T>, limit: Option<u32>, seed: u64) -> Vec<T> {
    let Some(limit) = limit else { return all };
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let drawn = Random::new(seed).sample(count, limit.min(count));
    drawn.into_iter().map(|index| all[index as usize].clone()).collect()
}

impl Key {
    /// Marks `answer` by the letter behind the first marker, in the order of the list, that has one.
    pub fn mark(&self, answer: &str) -> Scored {
        let extracted = letter(&normalized(answer));
        let right = extracted.as_deref().is_some_and(|found| found.chars().eq([self.letter]));
        let score = f64::from(u8::from(right));
        Scored {
            extracted,
            score,
            metrics: BTreeMap::from([("score".to_owned(), score)]),
            robust: robust::letter(answer, self.letter),
            note: None,
        }
    }
}

/// Marks of emphasis and of formulas that are taken out, in this order.
const NOISE: [&str; 13] = [
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

fn normalized(text: &str) -> String {
    NOISE.iter().fold(text.to_owned(), |text, noise| text.replace(noise, ""))
}

/// What stands before a letter. `~` is a colon, with white space before it or not.
const MARKERS: [&str; 42] = [
    "Answer~",
    "Answer~\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}",
    "উত্তর~",
    "उत्तर~",
    "উত্তরঃ",
    "উত্তর~",
    "Antwort~",
    "답변~",
    "정답~",
    "답~",
    r"答案\s*：",
    "答案~",
    r"答\s*：",
    "答~",
    r"答复\s*：",
    r"答曰\s*：",
    "الإجابة:",
    "الجواب:",
    "إجابة:",
    "الإجابة النهائية:",
    "الإجابة الصحيحة:",
    "الإجابة الصحيحة هي:",
    "الإجابة هي:",
    "الجواب النهائي:",
    "Respuesta~",
    "Risposta~",
    "答え~",
    r"答え\s*：",
    "回答~",
    r"回答\s*：",
    "解答~",
    "Jawaban~",
    "Réponse~",
    "Resposta~",
    "Jibu~",
    "Idahun~",
    "Ìdáhùn~",
    "Idáhùn~",
    "Àmọ̀nà~",
    "Àdáhùn~",
    "Ànúgọ~",
    "Àṣàyàn~",
];

const OPTIONS: &str = r"[ \t]*([A-D]|[أ-د]|[অ]|[ব]|[ড]|[ঢ]|[Ａ]|[Ｂ]|[Ｃ]|[Ｄ])";

/// Letters of other scripts, with what they stand for.
const OTHER_LETTERS: [(&str, &str); 12] = [
    ("أ", " A"),
    ("ب", " B"),
    ("ج", " C"),
    ("د", " D"),
    ("অ", " A"),
    ("ব", " B"),
    ("ড", " C"),
    ("ঢ", " D"),
    ("Ａ", " A"),
    ("Ｂ", " B"),
    ("Ｃ", " C"),
    ("Ｄ", " D"),
];

fn letter(text: &str) -> Option<String> {
    static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let pattern = |marker: &&str| {
            let marker =
                insensitive(marker).replace('~', r"[\s\x1c-\x1f]*:").replace(r"\s*：", r"[\s\x1c-\x1f]*：");
            Regex::new(&format!("(?i){marker}{OPTIONS}")).expect("constant patterns, compiled by the tests")
        };
        MARKERS.iter().map(pattern).collect()
    });
    let found =
        PATTERNS.iter().find_map(|pattern| pattern.captures(text)?.get(1).map(|group| group.as_str()))?;
    let mapped = OTHER_LETTERS.iter().fold(found.to_owned(), |text, (from, to)| text.replace(from, to));
    Some(strip(&mapped).to_owned())
}

/// CPython's `(?i)` takes the dotless and the dotted letter of Turkish for an i.
fn insensitive(marker: &str) -> String {
    marker.replace(['i', 'I'], "[iıİ]")
}

/// The category of a subject.
fn category(subject: &str) -> &'static str {
    SUBJECTS
        .iter()
        .find(|(_, subjects)| subjects.contains(&subject))
        .map_or("other", |(category, _)| category)
}

/// Upstream's table of subjects; what it does not know is `other`, as is the rest of the table.
const SUBJECTS: [(&str, &[&str]); 3] = [
    (
        "stem",
        &[
            "abstract_algebra",
            "astronomy",
            "college_biology",
            "college_chemistry",
            "college_computer_science",
            "college_mathematics",
            "college_physics",
            "computer_security",
            "conceptual_physics",
            "electrical_engineering",
            "elementary_mathematics",
            "high_school_biology",
            "high_school_chemistry",
            "high_school_computer_science",
            "high_school_mathematics",
            "high_school_physics",
            "high_school_statistics",
            "machine_learning",
        ],
    ),
    (
        "humanities",
        &[
            "formal_logic",
            "high_school_european_history",
            "high_school_us_history",
            "high_school_world_history",
            "international_law",
            "jurisprudence",
            "logical_fallacies",
            "moral_disputes",
            "moral_scenarios",
            "philosophy",
            "prehistory",
            "professional_law",
            "world_religions",
        ],
    ),
    (
        "social_sciences",
        &[
            "econometrics",
            "high_school_geography",
            "high_school_government_and_politics",
            "high_school_macroeconomics",
            "high_school_microeconomics",
            "high_school_psychology",
            "human_sexuality",
            "professional_psychology",
            "public_relations",
            "security_studies",
            "sociology",
            "us_foreign_policy",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        letter(&normalized(text))
    }

    #[test]
    fn noise_is_taken_out_before_the_letter_is_looked_for() {
        for (text, expected) in [
            ("**Answer:** B", Some("B")),
            ("Answer: **B**", Some("B")),
            (r"Answer: $\boxed{B}$", Some("B")),
            (r"Answer: \text{B}", Some("B")),
            (r"Answer: $\text{C}$", Some("C")),
            (r"Answer: \(D\)", Some("D")),
            ("Answer: (B)", None),
            ("Answer:\nB", None),
            ("Answer :\tb", Some("b")),
            ("The answer is B", None),
        ] {
            assert_eq!(found(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_marker_is_understood_and_the_first_of_the_list_wins() {
        for marker in MARKERS {
            let shown = marker.replace('~', " :").replace(r"\s*", " ");
            assert_eq!(found(&format!("… {shown} C.")).as_deref(), Some("C"), "{marker}");
        }
        assert_eq!(found("Antwort: A\nAnswer: B").as_deref(), Some("B"));
        assert_eq!(
            found("Antwort: Die Frage\nAntwort: B").as_deref(),
            Some("D"),
            "the first match, upstream's defect"
        );
        assert_eq!(found("الإجابة: ب").as_deref(), Some("B"));
        assert_eq!(found("উত্তর: ঢ").as_deref(), Some("D"));
        assert_eq!(found("答案：Ｃ").as_deref(), Some("C"));
        assert_eq!(found("R\u{131}sposta: A").as_deref(), Some("A"));
    }

    #[test]
    fn a_letter_is_right_only_as_it_stands_in_the_file() {
        let key = Key { letter: 'B' };
        assert_eq!((key.mark("Answer: B").score, key.mark("Answer: b").score), (1.0, 0.0));
        assert_eq!(key.mark("").extracted, None);
    }

    #[test]
    fn subjects_have_upstreams_categories() {
        assert_eq!(SUBJECTS.map(|(_, subjects)| subjects.len()), [18, 13, 12]);
        assert_eq!(
            ["anatomy", "astronomy", "prehistory", "sociology", "?"].map(category),
            ["other", "stem", "humanities", "social_sciences", "other"]
        );
    }

    #[test]
    fn the_debug_run_asks_upstreams_row() {
        assert_eq!(sampled((0..14_042).collect(), Some(1), 0), [13_835]);
        assert_eq!(sampled(vec![1, 2], None, 0), [1, 2]);
    }
}
