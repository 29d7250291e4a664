//! MME, and sets of its shape: pictures, about each of which two questions are asked, one to be answered yes and one
//! no, so that who does not look is right every other time and never twice. Rows have the columns that lmms-eval gives
//! them. The score of an answer is half its own worth and half that of both together, so that the mean over a category
//! is (acc + acc+) / 2, MME's score of it divided by 200. Must not know how a question is sent.
//!
//! MME 形式的图片是/否题：每图两问，acc 与 acc+。

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use st_harness::{diag::Problem, suggest};

use super::{Choose, Exam, Question, Scored, mmlu::sampled, repeated, robust};
use crate::{
    accuracy::{
        data::{Layout, Record, Supply, Table, Unready},
        row::Row,
        spec::Compat,
    },
    mme::{self, MOST, Pairs},
};

/// Which way of extracting and scoring this is.
pub const EXTRACTOR: &str = "mme/1";

const INSTRUCTION: &str = "MME has to be applied for: put its rows (columns question_id, image in base64, question, \
                           answer, category) into mme.tsv or mme.jsonl in the folder that \
                           VLLM_CIBENCH_ACCURACY_DATA names, or name the file with `data:` in the case; \
                           cases/accuracy/items/open_images.jsonl is an open set of this shape";

const LAYOUT: Layout<'_> = Layout {
    needed: &["question_id", "image", "question", "answer", "category"],
    optional: &[],
    headless: false,
};

/// How the pictures begin that OpenAI's API takes, with their media types.
const FORMATS: [(&[u8], &str); 4] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
];

/// The right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// To the question about the picture.
    pub answer: Answer,
}

/// What can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not.
    No,
}

impl Answer {
    fn of(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
        }
    }
}

/// The two questions about each picture, picture after picture.
pub(super) fn exam(supply: &Supply, choose: &Choose) -> Result<Exam, Unready> {
    let table = Table::load(&supply.find("mme", INSTRUCTION)?, LAYOUT).map_err(Unready::Bad)?;
    let questions = table.each(|_, record| ask(record)).map_err(Unready::Bad)?;
    let images = images(&table, questions, &choose.subsets).map_err(Unready::Bad)?;
    let images = sampled(images, choose.limit, 0);
    let questions: Vec<Question> = images.into_iter().flatten().collect();
    let questions = repeated(&questions, choose.repeats.unwrap_or(1));
    let questions = questions.map(|(repeat, question)| Question { repeat, ..question }).collect();
    Ok(Exam { questions, files: vec![table.file], warnings: Vec::new() })
}

fn ask(record: &Record) -> Result<Question, String> {
    let text = |column: &str| match record.cell(column).trim() {
        "" => Err(format!("expected text in `{column}`, found none")),
        text => Ok(text.to_owned()),
    };
    let (stem, written) = (text("question_id")?, text("answer")?);
    let answer = match written.to_lowercase().as_str() {
        "yes" => Answer::Yes,
        "no" => Answer::No,
        _ => return Err(format!("expected `answer` to be Yes or No, found {written:?}")),
    };
    Ok(Question {
        id: format!("{stem}/{}", answer.word()),
        repeat: 0,
        stem,
        sections: vec![text("category")?],
        prompt: text("question")?,
        picture: Some(data_url(&text("image")?)?),
        key: super::Key::Mme(Key { answer }),
    })
}

fn data_url(base64: &str) -> Result<Arc<str>, String> {
    let expected = "expected `image` to be a PNG, JPEG, GIF or WebP in base64";
    let bytes =
        STANDARD.decode(base64).map_err(|error| format!("{expected}, found something else: {error}"))?;
    let format = FORMATS.iter().find(|(head, _)| bytes.starts_with(head));
    let (_, media) = format.ok_or_else(|| format!("{expected}, found something else"))?;
    Ok(format!("data:{media};base64,{base64}").into())
}

/// The questions by picture, in the order of the file: exactly two, with different answers, about one picture of one
/// category. Only those of `categories`, where any are named.
fn images(
    table: &Table,
    questions: Vec<Question>,
    categories: &[String],
) -> Result<Vec<[Question; 2]>, Vec<Problem>> {
    let mut known: Vec<String> = questions.iter().flat_map(|question| question.sections.clone()).collect();
    known.sort();
    known.dedup();
    let unknown = |name: &&String| !known.contains(name);
    let names = suggest::list(&known.iter().map(String::as_str).collect::<Vec<_>>(), "and");
    let told = |name: &String| {
        Problem::new(format!("{}: expected a category of {names}, found {name:?}", table.file.path))
    };
    let mut problems: Vec<Problem> = categories.iter().filter(unknown).map(told).collect();

    let mut order: Vec<String> = Vec::new();
    let mut by_image: BTreeMap<String, Vec<(usize, Question)>> = BTreeMap::new();
    for (index, question) in questions.into_iter().enumerate() {
        let all = by_image.entry(question.stem.clone()).or_default();
        if all.is_empty() {
            order.push(question.stem.clone());
        }
        all.push((index, question));
    }
    let mut images = Vec::with_capacity(order.len());
    for stem in &order {
        let all = by_image.remove(stem).unwrap_or_default();
        let first = all.first().map_or(0, |(index, _)| *index);
        let asked: Vec<Question> = all.into_iter().map(|(_, question)| question).collect();
        match pair(asked) {
            Ok(two) if categories.is_empty() || categories.contains(&two[0].sections[0]) => images.push(two),
            Ok(_) => {}
            Err(told) => problems.push(table.mistake(&table.records[first], format!("`{stem}`: {told}"))),
        }
    }
    if problems.is_empty() { Ok(images) } else { Err(problems) }
}

fn pair(asked: Vec<Question>) -> Result<[Question; 2], String> {
    let two = <[Question; 2]>::try_from(asked)
        .map_err(|found| format!("expected two questions about a picture, found {}", found.len()))?;
    let [one, other] = &two;
    if one.key == other.key {
        return Err("expected one question to be answered yes and one no, found the same answer".to_owned());
    }
    if one.picture != other.picture || one.sections != other.sections {
        return Err("expected both questions to have one picture and one category".to_owned());
    }
    Ok(two)
}

impl Key {
    /// Marks `answer` as it stands alone; what it is worth beside the other one, [`join`] says.
    pub fn mark(&self, answer: &str) -> Scored {
        let extracted = mme::answer(answer).map(|is_so| Answer::of(is_so).word().to_owned());
        let score = f64::from(u8::from(self.is_right(extracted.as_deref())));
        Scored {
            extracted,
            score,
            metrics: BTreeMap::new(),
            robust: robust::yes_or_no(answer, self.answer.word()),
            note: None,
        }
    }

    /// Whether `found` is the right answer.
    pub fn is_right(&self, found: Option<&str>) -> bool {
        found == Some(self.answer.word())
    }
}

/// Makes each answer worth what it is beside the other one about its picture.
pub(super) fn join(rows: &mut [Row]) {
    for compat in [Compat::SimpleEvals, Compat::Robust] {
        let marks = marks(rows, compat).into_iter();
        let both: BTreeSet<Name> =
            marks.filter(|(_, (_, marks))| *marks == [true, true]).map(|(name, _)| name).collect();
        for row in rows.iter_mut() {
            let is_right = row.is_right(compat) == Some(true);
            let worth = f64::from(u8::from(is_right) + u8::from(both.contains(&name(row)))) / 2.0;
            match (&mut row.scored, compat) {
                (Some(scored), Compat::SimpleEvals) => scored.score = worth,
                (Some(scored), Compat::Robust) => scored.robust.score = worth,
                (None, _) => {}
            }
        }
    }
}

/// A picture, and the how-manieth time it is asked about.
type Name = (String, u32);

fn name(row: &Row) -> Name {
    (row.stem.clone(), row.repeat)
}

/// Whether the two answers about each picture are right, with its category. What was not answered is not right; a
/// picture about which not both questions were sent is left out.
fn marks(rows: &[Row], compat: Compat) -> BTreeMap<Name, (&str, [bool; 2])> {
    let mut all: BTreeMap<Name, Vec<bool>> = BTreeMap::new();
    let mut categories: BTreeMap<Name, &str> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.status.is_some()) {
        categories.insert(name(row), row.sections.first().map_or("", String::as_str));
        all.entry(name(row)).or_default().push(row.is_right(compat) == Some(true));
    }
    let two = |(name, marks): (Name, Vec<bool>)| {
        let category = categories.get(&name).copied().unwrap_or_default();
        Some((name, (category, <[bool; 2]>::try_from(marks).ok()?)))
    };
    all.into_iter().filter_map(two).collect()
}

/// MME's figures: of each category and in `total` its score (0 to 200 a category), and over all pictures `acc` and
/// `acc_plus` (0 to 1), `score` as the gate sees it, and how many pictures had both, one or none of their answers right.
pub(crate) fn figures(rows: &[Row]) -> BTreeMap<String, f64> {
    let mut by_category: BTreeMap<&str, Vec<[bool; 2]>> = BTreeMap::new();
    for (category, two) in marks(rows, Compat::SimpleEvals).into_values() {
        by_category.entry(category).or_default().push(two);
    }
    let mut figures = BTreeMap::new();
    let all = Pairs::of(by_category.values().flatten().copied());
    if all.images == 0 {
        return figures;
    }
    let mut tell = |name: String, value: f64| {
        figures.insert(name, value);
    };
    for (name, value) in [
        ("acc", all.acc()),
        ("acc_plus", all.acc_plus()),
        ("score", all.score() / MOST),
        ("images", all.images as f64),
        ("images:both", all.both as f64),
        ("images:one", all.one as f64),
        ("images:none", (all.images - all.both - all.one) as f64),
    ] {
        tell(name.to_owned(), value);
    }
    let mut total = 0.0;
    for (category, marks) in &by_category {
        let pairs = Pairs::of(marks.iter().copied());
        total += pairs.score();
        tell((*category).to_owned(), pairs.score());
        tell(format!("{category}:acc"), pairs.acc());
        tell(format!("{category}:acc_plus"), pairs.acc_plus());
    }
    tell("total".to_owned(), total);
    tell("total:most".to_owned(), MOST * by_category.len() as f64);
    figures
}

#[cfg(test)]
mod tests;
