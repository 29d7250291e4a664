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
fn a_trials_gate_is_told_beside_its_charts() {
    let mut run = run();
    let perf = run.trials.iter().find(|one| one.planned.kind == "perf" && !one.measurements().is_empty());
    let id = perf.expect("a measured trial").id().clone();
    run.gates = vec![Event::GateDecided {
        gate: "baseline".to_owned(),
        trial_id: Some(id.clone()),
        verdict: Verdict::Failed,
        reasons: vec![Reason::new("regression", "ttft p99 is worse")],
        numbers: serde_json::json!({
            "schema": "baseline/1", "policy": "seed000", "enforced": true,
            "baseline": {"run_id": "0192", "started_at": "2026-11-24T00:00:00Z", "commit": null},
            "rows": [
                {"figure": "ttft_p99", "unit": "s", "before": 0.2, "now": 0.23, "change": 0.15, "limit": 0.1,
                 "interval": null, "n": [400, 16], "finding": "regression", "doubt": "16 samples where 299 are needed"},
                {"figure": "failure_ratio", "unit": "ratio", "before": null, "now": 0.0, "change": null, "limit": 0.05,
                 "interval": null, "n": [0, 16], "finding": "pass", "doubt": null},
            ],
        }),
    }];
    let page = text(&run);
    for told in [
        "<td class=\"number\">0.200 s</td>",
        "+15.0 %",
        "<td class=\"number\">+10 %</td>",
        "<td class=\"number\">5 %</td>",
        "16 samples where 299",
    ] {
        assert!(page.contains(told), "{told} is not told");
    }
    let (link, table) =
        (format!("href=\"#{}\"", baseline::anchor(id.as_str())), page.find("class=\"held\"").unwrap());
    assert!(page.contains(&link));
    assert!(page.find("<figure>").unwrap() < table && table < page.find("id=\"trials\"").unwrap());
}

/// A red trial whose exchange is `saved`, and the page that tells of it.
fn page_of_exchange(saved: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    std::fs::write(folder.join("main.json"), saved).unwrap();
    let mut run = run();
    let id = run.trials[0].id().as_str().to_owned();
    let red = finished(&mut run, &id);
    red.verdict = Verdict::Failed;
    red.reasons = vec![Reason::new("status", "expected 200")];
    red.artifacts = vec![st_harness::verdict::Artifact {
        role: "exchange".to_owned(),
        path: "main.json".into(),
        sha256: st_harness::folder::sha256(saved.as_bytes()),
        media: "application/json".to_owned(),
    }];
    super::text(&run, &Files::below([folder]))
}

#[test]
fn a_red_trials_exchange_stands_in_the_page_whole_and_hostile_text_stays_text() {
    let saved = serde_json::json!({
        "leg": "main",
        "request": {"method": "POST", "path": "/chat/completions", "headers": [["content-type", "application/json"]],
            "body": "{\"messages\":[{\"content\":\"hi\"}]}"},
        "attempts": [
            {"ended_s": 0.5, "status": 503, "headers": [], "chunks": [{"t_s": 0.5, "text": HOSTILE}], "fault": null},
            {"ended_s": 1.5, "status": 200, "headers": [["x-request-id", "r1"]], "fault": "the server closed the connection",
             "chunks": [{"t_s": 1.0, "text": "data: {\"a\":1}\n\n"}, {"t_s": 1.25, "text": "data: [DONE]\n\n"}]},
        ],
    });
    let page = page_of_exchange(&saved.to_string());
    for told in [
        "POST /chat/completions\ncontent-type: application/json\n",
        "  &quot;messages&quot;: [",
        "503, 0.500 s",
        "200\nx-request-id: r1\n",
        "[1.000 s] data: {&quot;a&quot;:1}\n[1.250 s] data: [DONE]",
        "✗ the server closed the connection",
    ] {
        assert!(page.contains(told), "{told}");
    }
    assert_eq!(page.matches("<script>").count(), 1, "only our own");
    assert!(!page.contains("<img") && !page.contains('\u{1b}'));
}

#[test]
fn a_long_exchange_is_cut_and_what_is_no_exchange_is_passed_over() {
    let long = serde_json::json!({"leg": "main", "request": {"method": "POST", "path": "/x", "headers": [], "body": "x".repeat(1 << 20)}});
    let page = page_of_exchange(&long.to_string());
    assert!(page.len() < text(&run()).len() + 40 * 1024 && page.contains("Request and response"));
    assert!(!page_of_exchange("no JSON").contains("Request and response"));
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
