//! JUnit XML in one dialect that GitHub's actions, GitLab, Jenkins and Azure all read: [`Junit`].
//! Must not know how a run is carried out.
//!
//! `junit-report` writes suites, cases and results; a pass over the events of its output adds what it cannot
//! write: totals on the root, `skipped` on suites, `line` on cases, and `<properties>`. Text is made safe before
//! it is handed over.
//!
//! - One flat `<testsuite>` for each kind and file, named `functional.chat_core`: Jenkins splits package and
//!   class at the last dot.
//! - A case's `classname` is its suite's name, its `name` the whole id: GitLab drops cases of the same name, and
//!   the id can be pasted behind `--exact`.
//! - failed → `<failure>`; errored, invalid, interrupted → `<error>`; inconclusive, skipped, blocked, not run →
//!   `<skipped>`, with the reason in `message` (Jenkins, Azure) and in the body (GitLab).
//!
//! JUnit 报告：各主流读取器通用的方言。

use camino::{Utf8Path, Utf8PathBuf};
use junit_report::{Duration, OffsetDateTime, Report as Writer, TestCase, TestResult, TestSuite as Suite};
use quick_xml::{
    Reader,
    events::{BytesCData, BytesStart, Event},
};

use crate::{
    journal::{Counts, RunRecord, Status, SuiteTrials, TrialRecord},
    report::{Document, Files, Report, text},
};

/// Readers show less than this: GitHub 64 kB an annotation, Jenkins 100 kB.
const LONGEST_BODY: usize = 64 * 1024;
const LONGEST_MESSAGE: usize = 1024;

/// Renders `junit.xml`.
#[derive(Debug, Clone, Default)]
pub struct Junit {
    attachments_below: Utf8PathBuf,
}

impl Junit {
    /// Names attachments relative to the run folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names attachments below `folder`: the run folder as seen from the root of the project, which is where
    /// GitLab looks for them.
    #[must_use]
    pub fn attachments_below(folder: impl Into<Utf8PathBuf>) -> Self {
        Self { attachments_below: folder.into() }
    }
}

impl Report for Junit {
    fn name(&self) -> &'static str {
        "junit"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let suites = run.suites();
        let mut writer = Writer::new();
        writer.add_testsuites(suites.iter().map(|suite| suite_of(run, suite, &self.attachments_below)));
        let mut xml = Vec::new();
        writer.write_xml(&mut xml).map_err(|error| error.to_string())?;
        let xml = String::from_utf8(xml).map_err(|error| error.to_string())?;
        let xml = Completion { run, suites: &suites }.complete(&xml).map_err(|error| error.to_string())?;
        Ok(vec![Document::new("junit.xml", xml)])
    }
}

fn suite_of(run: &RunRecord, suite: &SuiteTrials<'_>, attachments: &Utf8Path) -> Suite {
    Suite {
        name: attribute(&suite.name()),
        // Jenkins would put a package before the name.
        package: String::new(),
        timestamp: OffsetDateTime::from_unix_timestamp(run.started_at.as_second())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        hostname: attribute(&hostname(run)),
        testcases: suite.trials.iter().map(|trial| case_of(suite, trial, attachments)).collect(),
        system_out: None,
        system_err: None,
    }
}

fn case_of(suite: &SuiteTrials<'_>, trial: &TrialRecord, attachments: &Utf8Path) -> TestCase {
    let output = output(trial, attachments);
    TestCase {
        name: attribute(trial.id().as_str()),
        time: Duration::nanoseconds(trial.duration_ns().and_then(|ns| i64::try_from(ns).ok()).unwrap_or(0)),
        result: result(trial),
        classname: Some(attribute(&suite.name())),
        filepath: trial.place().map(|place| attribute(place.file.as_str())),
        system_out: (!output.is_empty()).then(|| body(&output)),
        system_err: None,
    }
}

fn result(trial: &TrialRecord) -> TestResult {
    let kind = trial.reasons().first().map(|reason| attribute(&reason.kind)).unwrap_or_default();
    let message = attribute(&text::headline(trial));
    let cause = Some(body(&text::reasons(trial)));
    match trial.status() {
        Status::Passed => TestResult::Success,
        Status::Failed => TestResult::Failure { type_: kind, message, cause },
        Status::Errored => TestResult::Error { type_: kind, message, cause },
        Status::Invalid => TestResult::Error { type_: "invalid-measurement".to_owned(), message, cause },
        Status::Interrupted => TestResult::Error { type_: "interrupted".to_owned(), message, cause },
        Status::Skipped => TestResult::SkippedWithCause { type_: kind, message, cause },
        Status::Blocked => TestResult::SkippedWithCause { type_: "blocked".to_owned(), message, cause },
        Status::Inconclusive => {
            TestResult::SkippedWithCause { type_: "inconclusive".to_owned(), message, cause }
        }
        Status::NotRun => TestResult::SkippedWithCause { type_: "not-run".to_owned(), message, cause },
    }
}

/// One thing a line: figures as `key=value`, notes, and attachments, whose tag stands alone on its line.
fn output(trial: &TrialRecord, attachments: &Utf8Path) -> String {
    let figures =
        trial.measurements().iter().map(|one| format!("{}={}", text::figure_key(one), text::figure(one)));
    let notes = trial.notes.iter().map(|note| format!("note: {}: {}", note.kind, text::one_line(&note.text)));
    let files =
        trial.artifacts().iter().map(|file| format!("[[ATTACHMENT|{}]]", attachments.join(&file.path)));
    figures.chain(notes).chain(files).collect::<Vec<_>>().join("\n")
}

/// What a case's `<properties>` hold: (name, value).
fn case_properties(trial: &TrialRecord) -> Vec<(String, String)> {
    let mut properties = vec![("status".to_owned(), trial.status().word().to_owned())];
    let values = trial.planned.values.iter();
    properties.extend(values.map(|(name, value)| (format!("matrix.{name}"), text::plain(value))));
    let workload = trial.finished().and_then(|finished| finished.workload.as_ref());
    properties.extend(workload.map(|workload| ("workload_hash".to_owned(), workload.hash.clone())));
    properties.extend(trial.measurements().iter().map(|one| (text::figure_key(one), text::figure(one))));
    properties.extend(trial.notes.iter().map(|note| (format!("note.{}", note.kind), note.text.clone())));
    properties
}

fn suite_properties(run: &RunRecord) -> Vec<(String, String)> {
    let started = &run.started;
    let mut properties = vec![
        ("run_id".to_owned(), started.run_id.clone()),
        ("scenario".to_owned(), started.scenario.clone()),
        ("run_type".to_owned(), started.run_type.clone()),
    ];
    properties.extend(started.git.as_ref().map(|git| ("commit".to_owned(), git.commit.clone())));
    properties
}

fn hostname(run: &RunRecord) -> String {
    run.started.environment.observed.get("host").map_or_else(|| "unknown".to_owned(), text::plain)
}

/// Adds to the output of `junit-report` what it cannot write.
struct Completion<'a> {
    run: &'a RunRecord,
    suites: &'a [SuiteTrials<'a>],
}

impl Completion<'_> {
    fn complete(&self, xml: &str) -> Result<String, quick_xml::Error> {
        let mut reader = Reader::from_str(xml);
        let mut out = quick_xml::Writer::new_with_indent(Vec::new(), b' ', 2);
        // Suites and cases come in the order in which they were handed over.
        let mut suites = self.suites.iter();
        let mut trials = self.suites.iter().flat_map(|suite| suite.trials.iter().copied());
        loop {
            let event = reader.read_event()?;
            let (start, is_empty) = match &event {
                Event::Eof => break,
                Event::Start(start) => (start, false),
                Event::Empty(start) => (start, true),
                other => {
                    out.write_event(other.borrow())?;
                    continue;
                }
            };
            let name = start.name();
            let completed = match name.as_ref() {
                b"testsuites" => Some((self.root(start), Vec::new())),
                b"testsuite" => {
                    suites.next().map(|suite| (suite_start(start, suite), suite_properties(self.run)))
                }
                b"testcase" => trials.next().map(|trial| (case_start(start, trial), case_properties(trial))),
                _ => None,
            };
            match completed {
                None => out.write_event(event.borrow())?,
                Some((start, properties)) => write_completed(&mut out, start, &properties, is_empty)?,
            }
        }
        let mut xml = String::from_utf8_lossy(&out.into_inner()).into_owned();
        xml.push('\n');
        Ok(xml)
    }

    fn root(&self, start: &BytesStart<'_>) -> BytesStart<'static> {
        let counts = Groups::of(self.run.counts());
        let mut root = start.to_owned();
        root.push_attribute(("name", attribute(&self.run.started.tool.name).as_str()));
        root.push_attribute(("tests", counts.tests.to_string().as_str()));
        root.push_attribute(("failures", counts.failures.to_string().as_str()));
        root.push_attribute(("errors", counts.errors.to_string().as_str()));
        root.push_attribute(("skipped", counts.skipped.to_string().as_str()));
        root.push_attribute(("time", text::seconds(self.run.duration_ns).to_string().as_str()));
        root.push_attribute(("timestamp", timestamp(self.run).as_str()));
        root
    }
}

fn suite_start(start: &BytesStart<'_>, suite: &SuiteTrials<'_>) -> BytesStart<'static> {
    let mut start = start.to_owned();
    start.push_attribute(("skipped", Groups::of(suite.counts()).skipped.to_string().as_str()));
    start
}

fn case_start(start: &BytesStart<'_>, trial: &TrialRecord) -> BytesStart<'static> {
    let mut start = start.to_owned();
    if let Some(place) = trial.place() {
        start.push_attribute(("line", place.line.to_string().as_str()));
    }
    start
}

fn write_completed(
    out: &mut quick_xml::Writer<Vec<u8>>,
    start: BytesStart<'_>,
    properties: &[(String, String)],
    is_empty: bool,
) -> Result<(), quick_xml::Error> {
    if is_empty && properties.is_empty() {
        return Ok(out.write_event(Event::Empty(start))?);
    }
    let end = start.to_end().into_owned();
    out.write_event(Event::Start(start))?;
    if !properties.is_empty() {
        out.create_element("properties").write_inner_content(|out| {
            for (name, value) in properties {
                let (name, value) = (attribute(name), attribute(value));
                let property = out.create_element("property");
                property
                    .with_attributes([("name", name.as_str()), ("value", value.as_str())])
                    .write_empty()?;
            }
            Ok(())
        })?;
    }
    if is_empty {
        out.write_event(Event::End(end))?;
    }
    Ok(())
}

/// How JUnit groups the nine statuses.
struct Groups {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Groups {
    fn of(counts: Counts) -> Self {
        Self {
            tests: counts.planned,
            failures: counts.failed,
            errors: counts.errored + counts.invalid + counts.interrupted,
            skipped: counts.skipped + counts.blocked + counts.inconclusive + counts.not_run,
        }
    }
}

/// RFC 3339 in UTC, to the second.
fn timestamp(run: &RunRecord) -> String {
    run.started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `value` as it may stand in an attribute: one line, escaped by the writer.
fn attribute(value: &str) -> String {
    text::shortened(text::one_line(value), LONGEST_MESSAGE)
}

/// `value` as it may stand between `<![CDATA[` and `]]>`, where the writer puts it unchanged: `]]>` is spread
/// over two sections.
fn body(value: &str) -> String {
    let text = text::cut(&text::visible(value), LONGEST_BODY);
    let sections = BytesCData::escaped(&text).map(|section| String::from_utf8_lossy(&section).into_owned());
    sections.collect::<Vec<_>>().join("]]><![CDATA[")
}
