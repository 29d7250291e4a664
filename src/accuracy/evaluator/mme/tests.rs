//! Pictures of one point each, and answers about them.
//!
//! MME 形式题目的测试。

use super::*;
use crate::accuracy::{reply::Reply, row::Sent, run::Asked, tally::Tally};

/// A picture of one point.
const POINT: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

fn line(id: &str, answer: &str, category: &str) -> String {
    format!(
        "{{\"question_id\": \"{id}\", \"image\": \"{POINT}\", \"question\": \"Is it {answer}? Please answer yes or \
         no.\", \"answer\": \"{answer}\", \"category\": \"{category}\"}}\n"
    )
}

fn read(text: &str, choose: &Choose) -> Result<Exam, Unready> {
    let dir = tempfile::tempdir().unwrap();
    let file = camino::Utf8PathBuf::from_path_buf(dir.path().join("mine.jsonl")).unwrap();
    std::fs::write(&file, text).unwrap();
    exam(&Supply::default().or(file, "mine.jsonl"), choose)
}

fn file() -> String {
    ["count", "count", "OCR"]
        .iter()
        .enumerate()
        .flat_map(|(n, category)| {
            ["Yes", "No"].map(|answer| line(&format!("{category}/{n}"), answer, category))
        })
        .collect()
}

fn told(text: &str, choose: &Choose) -> String {
    match read(text, choose) {
        Err(Unready::Bad(problems)) => problems[0].message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_picture_is_asked_about_twice_and_drawn_whole() {
    let all = read(&file(), &Choose::default()).unwrap().questions;
    let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    let expected = ["count/0/yes", "count/0/no", "count/1/yes", "count/1/no", "OCR/2/yes", "OCR/2/no"];
    assert_eq!(ids, expected);
    assert_eq!((all[0].stem.as_str(), all[0].sections.as_slice()), ("count/0", &["count".to_owned()][..]));
    assert_eq!(all[0].picture.as_deref(), Some(format!("data:image/png;base64,{POINT}").as_str()));
    assert_ne!(all[0].sha256(), Question { picture: None, ..all[0].clone() }.sha256());
    let one =
        read(&file(), &Choose { limit: Some(1), repeats: Some(2), ..Choose::default() }).unwrap().questions;
    assert_eq!(one.len(), 4);
    assert!(one[0].stem == one[1].stem && one[0].id == one[2].id && one[2].repeat == 1);
    let words =
        read(&file(), &Choose { subsets: vec!["OCR".to_owned()], ..Choose::default() }).unwrap().questions;
    assert_eq!(words.len(), 2);
}

#[test]
fn what_is_no_such_set_is_told_by_its_line() {
    let any = Choose::default();
    let twice = line("a", "Yes", "count") + &line("a", "Yes", "count");
    let apart = line("a", "Yes", "count") + &line("a", "No", "OCR");
    for (text, expected) in [
        (line("a", "Yes", "count"), "`a`: expected two questions about a picture, found 1"),
        (twice, "`a`: expected one question to be answered yes and one no, found the same answer"),
        (apart, "`a`: expected both questions to have one picture and one category"),
        (line("a", "Maybe", "count"), "expected `answer` to be Yes or No, found \"Maybe\""),
        (line("", "Yes", "count"), "expected text in `question_id`, found none"),
        (
            line("a", "Yes", "count").replace(POINT, "aGVsbG8="),
            "expected `image` to be a PNG, JPEG, GIF or WebP in base64, found something else",
        ),
    ] {
        assert_eq!(told(&text, &any), expected);
    }
    let other = Choose { subsets: vec!["OCRR".to_owned()], ..Choose::default() };
    assert_eq!(told(&file(), &other), "mine.jsonl: expected a category of `OCR` and `count`, found \"OCRR\"");
}

/// Rows about the three pictures, answered with `answers`; a failed request where there is none.
fn rows(answers: [Option<&str>; 6]) -> Vec<Row> {
    let questions = read(&file(), &Choose::default()).unwrap().questions;
    let row = |(question, answer): (&Question, Option<&str>)| {
        let super::super::Key::Mme(key) = &question.key else { panic!("{question:?}") };
        let asked = Asked::at_once(answer.map_or_else(|| Reply::failed("status 500"), Reply::answered));
        let sent = Sent { request_sha256: "r".to_owned(), answer_key: question.id.clone() };
        Row::of(question, sent, Some(&asked), answer.map(|answer| key.mark(answer)), false)
    };
    let mut rows: Vec<Row> = questions.iter().zip(answers).map(row).collect();
    join(&mut rows);
    rows
}

#[test]
fn an_answer_is_worth_more_beside_a_right_one() {
    let rows = rows([Some("Yes"), Some("no."), Some("Yes"), Some("Yes"), None, Some("No, none")]);
    let scores: Vec<Option<f64>> = rows.iter().map(|row| row.score(Compat::SimpleEvals)).collect();
    assert_eq!(scores, [Some(1.0), Some(1.0), Some(0.5), Some(0.0), None, Some(0.5)]);
    let tally = Tally::of(&rows, Compat::SimpleEvals);
    assert_eq!((tally.score, tally.correct, tally.total), (Some(0.5), 4, 6));
    assert_eq!(tally.sections["count"], 0.625, "(acc + acc_plus) / 2");
    let figures = figures(&rows);
    let get = |name: &str| figures[name];
    assert_eq!((get("count"), get("count:acc"), get("count:acc_plus")), (125.0, 0.75, 0.5));
    assert_eq!((get("OCR"), get("total"), get("total:most")), (50.0, 175.0, 400.0));
    assert_eq!((get("images:both"), get("images:one"), get("images:none")), (1.0, 2.0, 0.0));
    let mut again = rows.clone();
    join(&mut again);
    assert_eq!(again, rows, "once joined, nothing changes any more");
}

#[test]
fn who_does_not_look_earns_a_quarter_and_understands_no_picture() {
    let rows = rows([Some("Yes"); 6]);
    let tally = Tally::of(&rows, Compat::SimpleEvals);
    assert_eq!((tally.score, tally.correct), (Some(0.25), 3));
    let figures = figures(&rows);
    assert_eq!((figures["acc"], figures["acc_plus"], figures["images:both"]), (0.5, 0.0, 0.0));
}

#[test]
fn nothing_asked_has_no_figure() {
    assert!(figures(&[]).is_empty());
}
