//! What the page must hold, and what hostile text may not do to it. The page itself is looked at in a browser by
//! `tests/real/report.sh`.
//!
//! HTML 报告测试。

use st_harness::{
    capability::{CapabilityId, Finding, Source, State},
    journal::{Event, RunFinished, RunRecord, TrialRecord, TrialState},
    verdict::{Reason, Verdict},
};

use super::*;

const HOSTILE: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> ]]> \u{1b}[31mred\u{1b}[0m \0 \"'&";

/// A run with a red, a skipped, a measured and a scored trial, and one that was cut.
fn run() -> RunRecord {
    RunRecord::read(camino::Utf8Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/journals/every_status.jsonl"
    )))
    .expect("the fixture is a journal")
}

fn text(run: &RunRecord) -> String {
    super::text(run, &Files::default())
}

fn finished<'a>(run: &'a mut RunRecord, id: &str) -> &'a mut st_harness::journal::TrialFinished {
    let trial: &mut TrialRecord = run.trials.iter_mut().find(|one| one.id().as_str() == id).unwrap();
    match &mut trial.state {
        TrialState::Finished(finished) => finished,
        other => panic!("{id} did not finish: {other:?}"),
    }
}

#[test]
fn the_verdict_comes_first_and_every_trial_is_there() {
    let (run, page) = (run(), text(&run()));
    let verdict = page.find("class=\"verdict").unwrap();
    assert!(verdict < page.find("<main").unwrap());
    for trial in &run.trials {
        assert!(page.contains(&format!("<code>{}</code>", trial.id())), "{}", trial.id());
    }
    assert_eq!(page.matches("<tr data-status=").count(), run.trials.len());
}

#[test]
fn hostile_text_stays_text() {
    let mut run = run();
    let id = run.trials[0].id().as_str().to_owned();
    let red = finished(&mut run, &id);
    red.verdict = Verdict::Failed;
    red.reasons = vec![Reason::new("status", HOSTILE).with_detail(HOSTILE)];
    run.trials[0].planned.about = Some(HOSTILE.to_owned());
    run.started.scenario = HOSTILE.to_owned();
    run.effective = Some(serde_json::json!({ HOSTILE: HOSTILE }));
    run.capabilities.0.insert(
        CapabilityId(HOSTILE.to_owned()),
        Finding { state: State::Ignored, source: Source::Probe, evidence: HOSTILE.to_owned() },
    );
    let page = text(&run);
    assert_eq!(page.matches("<script>").count(), 1, "only our own");
    assert!(!page.contains("<img"));
    assert!(!page.contains('\u{1b}') && !page.contains('\0'));
}

#[test]
fn nothing_is_fetched() {
    let page = text(&run());
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let ours = page.matches(outside).count();
        assert_eq!(ours, 0, "{outside} stands in the page");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_word_of_ours_stands_in_both_languages() {
    let page = text(&run());
    assert_eq!(page.matches("<span lang=\"en\">").count(), page.matches("<span lang=\"zh\">").count());
    assert!(page.contains("全部用例") && page.contains("All trials"));
}

#[test]
fn ids_are_unique_and_every_anchor_leads_somewhere() {
    let page = text(&run());
    let of = |marker: &str| {
        page.match_indices(marker)
            .map(|(at, _)| page[at + marker.len()..].split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ids = of(" id=\"");
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    for anchor in of("href=\"#").iter().chain(&of("aria-labelledby=\"")) {
        assert!(ids.contains(anchor), "{anchor} leads nowhere");
    }
}

#[test]
fn a_run_that_was_killed_says_so() {
    let mut run = run();
    run.finished = None;
    assert!(text(&run).contains("The run was killed"));
    run.finished = Some(RunFinished { exit_code: 130, interrupted: true });
    assert!(text(&run).contains("interrupted by a signal"));
}

#[test]
fn a_gate_shows_the_numbers_it_was_decided_on() {
    let mut run = run();
    run.gates = vec![Event::GateDecided {
        gate: "max_skipped".to_owned(),
        trial_id: None,
        verdict: Verdict::Failed,
        reasons: vec![Reason::new("max-skipped", "expected at most 1 skipped trials, found 7")],
        numbers: serde_json::json!({"max_skipped": 1, "skipped": 7}),
    }];
    let page = text(&run);
    assert!(page.contains("<dt>skipped</dt><dd>7</dd>"));
    assert!(page.contains("expected at most 1 skipped trials, found 7"));
}

#[test]
fn measured_figures_are_drawn_and_told() {
    let page = text(&run());
    assert!(page.contains("<th scope=\"row\"><code>perf::"));
    assert!(page.contains("<figure>") && page.contains("role=\"img\""));
    assert!(page.contains("svg class=\"score\""));
}

#[test]
fn an_empty_run_is_a_page_too() {
    let mut run = run();
    run.trials.clear();
    run.gates.clear();
    run.notes.clear();
    run.capabilities.0.clear();
    let page = text(&run);
    assert!(page.contains("<title>") && !page.contains("id=\"trials\""));
}
