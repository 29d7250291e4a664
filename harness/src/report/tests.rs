//! Golden files of every format, and what hostile text may not do to them. `SNAPSHOTS=overwrite` writes the
//! golden files anew.
//!
//! 报告的黄金文件与敌意文本测试。

use proptest::prelude::*;
use quick_xml::{Reader, XmlVersion, events::Event};
use snapbox::assert_data_eq;

use super::*;
use crate::{
    journal::{Counts, sample},
    verdict::{Reason, Verdict},
};

const HOSTILE: &str = "NUL \0, ESC \u{1b}[31mred\u{1b}[0m \u{1b}, ]]> <![CDATA[ </testcase> &amp; &#0; \u{fffe} \u{85}\r\n\"'`|%,:: @all";

fn only(report: &dyn Report, run: &RunRecord) -> String {
    let documents = report.render(run, &Files::default()).expect("it can be rendered");
    assert_eq!(documents.len(), 1);
    documents.into_iter().next().expect("one").text
}

fn failing(text: &str) -> RunRecord {
    let place = sample::place("cases/functional/hostile.yaml", 7);
    sample::run_of(Verdict::Failed, vec![Reason::new("status", text).with_detail(text).at(place)])
}

/// Parses strictly: tags must match, every character must be one of XML 1.0. Gives all text and CDATA, joined.
fn text_of_xml(xml: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(allowed), "a character that XML cannot hold");
    let mut reader = Reader::from_str(xml);
    let (mut text, mut depth) = (String::new(), 0);
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Eof => break,
            Event::Start(start) => {
                depth += 1;
                start.attributes().for_each(|one| {
                    drop(
                        one.expect("well-formed").normalized_value(XmlVersion::Explicit1_0).expect("escaped"),
                    )
                });
            }
            Event::End(_) => depth -= 1,
            Event::CData(data) => text.push_str(&data.decode().expect("UTF-8")),
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    text
}

#[test]
fn junit_reads_as_its_golden_file() {
    let xml = only(&Junit::attachments_below("target/st/latest"), &sample::run());
    assert_data_eq!(xml, snapbox::file!["golden/junit.xml"].raw());
}

#[test]
fn trials_csv_reads_as_its_golden_file() {
    assert_data_eq!(only(&TrialsCsv, &sample::run()), snapbox::file!["golden/trials.csv"].raw());
}

#[test]
fn json_reads_as_its_golden_file() {
    // A document that stands for itself: no wildcards, no comparison of JSON values.
    assert_data_eq!(only(&Json, &sample::run()), snapbox::file!["golden/report.json": Text].raw());
}

#[test]
fn markdown_reads_as_its_golden_file() {
    assert_data_eq!(only(&Markdown, &sample::run()), snapbox::file!["golden/summary.md"].raw());
}

#[test]
fn github_annotations_read_as_their_golden_file() {
    assert_data_eq!(only(&Github, &sample::run()), snapbox::file!["golden/github-annotations.txt"].raw());
}

#[test]
fn every_report_shows_every_planned_trial() {
    let run = sample::run();
    for report in [&Junit::new() as &dyn Report, &TrialsCsv, &Json] {
        let text = only(report, &run);
        for trial in &run.trials {
            assert!(text.contains(trial.id().as_str()), "{} does not show {}", report.name(), trial.id());
        }
    }
    // The summary counts what simply passed, and names the rest.
    let summary = only(&Markdown, &run);
    for trial in run.trials.iter().filter(|trial| trial.status() != crate::journal::Status::Passed) {
        assert!(summary.contains(trial.id().as_str()), "{}", trial.id());
    }
}

#[test]
fn a_seeded_key_stands_in_no_file_of_a_run() {
    const KEY: &str = "sk-\"quoted\"/ü-12345";
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
    let redactor = std::sync::Arc::new(crate::redact::Redactor::new().secret(KEY));
    let folder = crate::folder::RunFolder::open(path, redactor).expect("it opens");
    let journal = crate::journal::Journal::open(&folder).expect("it opens");
    let trial = "functional::a::b";
    let echoed = serde_json::json!({ "error": format!("bad key {KEY}") }).to_string();
    let reason = Reason::new("status", format!("got {KEY}")).with_detail(echoed.clone());
    let mut events = vec![crate::journal::Event::RunStarted(Box::new(sample::started()))];
    events.extend([
        sample::planned(trial, 1),
        sample::note(Some(trial), "retried", KEY),
        sample::over(trial, Verdict::Failed, vec![reason]),
    ]);
    events.into_iter().for_each(|event| journal.append(event).expect("written"));
    folder
        .trial(&sample::id(trial))
        .write("exchange", "1.json", "application/json", &echoed)
        .expect("written");
    let run = journal.record().expect("it began");
    for report in [&Junit::new() as &dyn Report, &TrialsCsv, &Json, &Markdown, &Github] {
        let document = report.render(&run, &Files::default()).expect("it can be rendered").remove(0);
        assert!(document.text.contains("***"), "{} shows where the key was", report.name());
        folder.write(&document.path, &document.text).expect("written");
    }
    let mut files = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir_utf8().expect("readable") {
            let path = entry.expect("an entry").into_path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            assert!(!text.contains("quoted") && !text.contains("12345\""), "{path}: {text}");
            files += 1;
        }
    }
    assert_eq!(files, 7);
}

#[test]
fn the_totals_of_junit_are_those_of_its_cases() {
    let xml = only(&Junit::new(), &sample::run());
    let count = |what: &str| xml.matches(what).count();
    assert!(
        xml.contains(r#"<testsuites name="vllm-cibench" tests="10" failures="1" errors="3" skipped="4""#),
        "{xml}"
    );
    assert_eq!(
        (count("<testcase "), count("<failure "), count("<error "), count("<skipped ")),
        (10, 1, 3, 4)
    );
}

#[test]
fn a_run_of_nothing_is_rendered_too() {
    let mut run = sample::run();
    run.trials.clear();
    assert_eq!(run.counts(), Counts::default());
    text_of_xml(&only(&Junit::new(), &run));
    assert_eq!(only(&TrialsCsv, &run).lines().count(), 1);
    assert!(only(&Markdown, &run).contains("nothing planned"));
    assert_eq!(Github.render(&run, &Files::default()), Ok(Vec::new()));
}

#[test]
fn hostile_text_leaves_junit_well_formed() {
    for text in [HOSTILE.to_owned(), "]]>".repeat(30_000), "😀".repeat(256 * 1024)] {
        let xml = only(&Junit::new(), &failing(&text));
        let back = text_of_xml(&xml);
        let start = text::visible(&text);
        let start = text::head(&start, 60);
        assert!(back.contains(start), "{start:?} is not in the body");
        python_parses(&xml);
    }
}

/// A second parser, where there is one; the first is always asked.
fn python_parses(xml: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("junit.xml");
    std::fs::write(&path, xml).expect("written");
    let parse =
        "import sys, xml.etree.ElementTree as e; print(len(e.parse(sys.argv[1]).findall('.//testcase')))";
    match std::process::Command::new("python3").args(["-c", parse]).arg(&path).output() {
        Ok(output) => assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "1",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => eprintln!("not asked: python3: {error}"),
    }
}

#[test]
fn hostile_text_stays_in_its_cell() {
    let csv_text = only(&TrialsCsv, &failing(HOSTILE));
    let mut csv = csv::Reader::from_reader(csv_text.as_bytes());
    let header = csv.headers().expect("a header").clone();
    let rows: Vec<_> = csv.records().collect::<Result<_, _>>().expect("rows of one length");
    let column = header.iter().position(|name| name == "reason").expect("the column");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][column], text::one_line(HOSTILE));
}

#[test]
fn an_annotation_is_one_line_whatever_it_says() {
    let text = only(&Github, &failing(HOSTILE));
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with(
        "::error file=cases/functional/hostile.yaml,line=7,col=9,title=functional%3A%3Ahostile"
    ));
    assert!(text.contains("%0A") && text.contains("%25,:: @all"), "{text}");
}

#[test]
fn only_the_worst_ten_are_annotated_and_the_rest_is_told() {
    let mut run = failing("no");
    let trial = run.trials[0].clone();
    run.trials.extend(std::iter::repeat_n(trial, 12));
    let text = only(&Github, &run);
    assert_eq!(text.lines().filter(|line| line.starts_with("::error ")).count(), 10);
    assert!(text.ends_with("::notice::3 more trials are red or inconclusive: see summary.md\n"), "{text}");
}

#[test]
fn a_summary_is_no_markup_of_somebody_elses() {
    let text = only(&Markdown, &failing("<img src=x> | [a](b) @all `x`\n# title"));
    let line = text.lines().find(|line| line.contains("img")).expect("the reason");
    assert!(line.starts_with("&lt;img src=x&gt; \\| \\[a\\](b) &#64;all \\`x\\` \\# title at "), "{line}");
    let fenced = only(&Markdown, &failing("````\nbreak out"));
    assert!(fenced.contains("\n`````text\n````\nbreak out"), "{fenced}");
}

#[test]
fn a_summary_never_exceeds_what_github_takes_and_says_what_it_left_out() {
    let mut run = failing(&"long ".repeat(10_000));
    let trial = run.trials[0].clone();
    run.trials.extend(std::iter::repeat_n(trial, 60));
    let text = only(&Markdown, &run);
    assert!(text.len() <= 1024 * 1024, "{}", text.len());
    assert!(text.contains("more red trials are not shown here; report.json has all."));
    assert!(text.contains("## Slowest"), "what follows the cut is still there");
}

proptest! {
    #[test]
    fn any_text_comes_back_from_junit_as_a_reader_can_see_it(text in "\\PC*|[\\x00-\\x20\\]>&<\"a\\x1b\\x7f-\\xa0]*") {
        let xml = only(&Junit::new(), &failing(&text));
        let back = text_of_xml(&xml);
        prop_assert!(back.contains(text::visible(&text).trim_end()), "{text:?} is not in {back:?}");
    }
}
