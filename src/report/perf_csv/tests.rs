//! The tables of a run that really was: its folder is committed, and what is made of it stands beside it.
//! `SNAPSHOTS=overwrite cargo test --lib perf_csv` writes the tables anew.
//!
//! CSV 报告测试：以真实运行目录为样本。

use camino::Utf8PathBuf;
use serde_json::json;
use st_harness::{
    journal::{RunRecord, TrialState},
    report::{Files, Report},
    verdict::Verdict,
};

use super::*;
use crate::report::PerfJson;

fn folder() -> Utf8PathBuf {
    Utf8PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/perf/run"))
}

fn run() -> RunRecord {
    RunRecord::read_folder(&folder()).unwrap()
}

fn render(report: &dyn Report, run: &RunRecord) -> Vec<Document> {
    report.render(run, &Files::below([folder()])).unwrap()
}

/// The finished performance trial of the run, to be changed.
fn finished(run: &mut RunRecord) -> &mut st_harness::journal::TrialFinished {
    let states = run.trials.iter_mut().filter(|trial| trial.planned.kind == "perf");
    match states.map(|trial| &mut trial.state).next() {
        Some(TrialState::Finished(finished)) => finished,
        other => panic!("{other:?}"),
    }
}

/// Name of a column → what stands in it, of each row.
fn cells(document: &Document) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(document.text.as_bytes());
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn assert_golden(document: &Document) {
    let path = folder().with_file_name(document.path.file_name().unwrap());
    let expected = snapbox::Data::read_from(path.as_std_path(), None).raw();
    snapbox::assert::Assert::new()
        .action_env("SNAPSHOTS")
        .eq(snapbox::Data::text(&document.text).raw(), expected);
}

#[test]
fn the_names_tell_what_ran_and_when_and_are_the_same_every_time() {
    for _ in 0..2 {
        let names: Vec<String> = crate::report::of_perf()
            .iter()
            .flat_map(|report| render(report.as_ref(), &run()))
            .map(|document| document.path.into_string())
            .collect();
        let time = run().started_at.strftime("%Y%m%d_%H%M%S").to_string();
        assert_eq!(
            names,
            [
                format!("perf/summary_sim_fixed_threading-pool_{time}.csv"),
                format!(
                    "perf/requests_sim_random_fixed_concurrency2_threading-pool_input64_output16_{time}.csv"
                ),
                "perf/perf.smoke.chat.json".to_owned(),
            ]
        );
    }
}

#[test]
fn the_tables_of_a_real_run_are_the_committed_ones() {
    assert_golden(&render(&PerfSummary, &run())[0]);
    assert_golden(&render(&PerfRequests, &run())[0]);
}

#[test]
fn the_summary_and_the_requests_tell_the_same() {
    let summary = &cells(&render(&PerfSummary, &run())[0])[0];
    let requests = cells(&render(&PerfRequests, &run())[0]);
    let number = |text: &str| text.parse::<f64>().unwrap();
    let column = |name: &str| requests.iter().map(|row| number(&row[name])).collect::<Vec<_>>();
    assert_eq!(requests.len().to_string(), summary["Num_Prompts"]);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    for (name, of_requests) in [
        ("AVG_TTFT(s)", "TTFT(s)"),
        ("AVG_E2E(s)", "E2E(s)"),
        ("AVG_TPOT_SEC(s)", "TPOT_SEC(s)"),
        ("AVG_COMPLETION_TOKENS", "COMPLETION_TOKENS"),
        ("AVG_PROMPT_TOKENS", "PROMPT_TOKENS"),
    ] {
        let (ours, theirs) = (number(&summary[name]), mean(&column(of_requests)));
        assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} and {theirs}");
    }
    let throughput = column("COMPLETION_TOKENS").iter().sum::<f64>() / number(&summary["Total_Time(s)"]);
    assert!((throughput - number(&summary["Output_Token_Throughput(tokens/s)"])).abs() < 1e-6);
    assert!(number(&summary["AVG_E2E(s)"]) > 0.0 && summary["MAX_SERVER_TTFT(ms)"] == "-1");
}

#[test]
fn what_cannot_be_had_is_minus_one() {
    let mut run = run();
    let row = finished(&mut run);
    row.workload.as_mut().unwrap().key.insert("concurrency".to_owned(), json!(null));
    row.measurements.retain(|figure| figure.name != "ttft");
    let summary = &cells(&render(&PerfSummary, &run)[0])[0];
    for column in
        ["TP75_TTFT(s)", "AVG_TTFT(s)", "Concurrency", "Top_K", "Growth_Rate", "AVG_SERVER_TTFT(ms)"]
    {
        assert_eq!(summary[column], "-1", "{column}");
    }
    assert!(render(&PerfRequests, &run)[0].path.as_str().contains("_concurrencynone_"));
}

#[test]
fn a_measurement_that_cannot_be_trusted_has_a_row_without_figures() {
    let mut run = run();
    finished(&mut run).verdict = Verdict::Invalid;
    let summary = &cells(&render(&PerfSummary, &run)[0])[0];
    assert_eq!((summary["AVG_TTFT(s)"].as_str(), summary["Fail_Rate"].as_str()), ("-1", "-1"));
    assert_eq!(summary["Input_Length"], "64");
}

#[test]
fn a_name_never_lies_about_the_backend() {
    let mut run = run();
    let details = &mut finished(&mut run).details.as_mut().unwrap().value;
    details["concurrency_backend"] = json!("asyncio");
    assert!(render(&PerfSummary, &run)[0].path.as_str().contains("_asyncio_"));
    assert!(render(&PerfRequests, &run)[0].path.as_str().contains("_asyncio_"));
}

#[test]
fn two_trials_of_one_name_keep_a_file_each_and_share_a_summary() {
    let mut run = run();
    let again = run.trials.iter().find(|trial| trial.planned.kind == "perf").unwrap().clone();
    run.trials.push(again);
    let paths: Vec<_> = render(&PerfRequests, &run).into_iter().map(|document| document.path).collect();
    assert_eq!(paths.len(), 2);
    assert_eq!(paths[1].as_str(), paths[0].as_str().replace(".csv", "_2.csv"));
    let summaries = render(&PerfSummary, &run);
    assert_eq!((summaries.len(), cells(&summaries[0]).len()), (1, 2));
}

#[test]
fn an_altered_sidecar_is_refused_and_the_summary_stands() {
    let mut run = run();
    for artifact in &mut finished(&mut run).artifacts {
        artifact.sha256 = "0".repeat(64);
    }
    let error = PerfRequests.render(&run, &Files::below([folder()])).unwrap_err();
    assert!(
        error.contains("perf::smoke::chat: trials/perf.smoke.chat/requests.jsonl is not the file"),
        "{error}"
    );
    assert_eq!(render(&PerfSummary, &run).len(), 1);
}

#[test]
fn the_document_of_a_trial_holds_everything_and_that_of_an_interrupted_one_what_there_is() {
    let whole: serde_json::Value = serde_json::from_str(&render(&PerfJson, &run())[0].text).unwrap();
    let count = |value: &serde_json::Value| value.as_array().unwrap().len();
    assert_eq!(whole["verdict"], "passed");
    assert!(count(&whole["figures"]) > 200 && count(&whole["warmup"]) > 0 && count(&whole["gauges"]) >= 2);
    let tokens = whole["over_time"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["output_tokens"].as_u64().unwrap());
    assert_eq!(tokens.sum::<u64>(), 128);
    let bins = whole["windows"]["windows"][0]["histograms"]["ttft"]["bins"].as_array().unwrap();
    assert_eq!(bins.iter().map(|bin| bin[1].as_u64().unwrap()).sum::<u64>(), 8);

    let mut cut = run();
    let trial = cut.trials.iter_mut().find(|trial| trial.planned.kind == "perf").unwrap();
    trial.state = TrialState::Interrupted { sidecar: Some("trials/perf.smoke.chat/requests.jsonl".into()) };
    let part: serde_json::Value = serde_json::from_str(&render(&PerfJson, &cut)[0].text).unwrap();
    assert_eq!((&part["verdict"], &part["details"]), (&json!(null), &json!(null)));
    let ttft = |document: &serde_json::Value| {
        let figures = document["figures"].as_array().unwrap();
        figures.iter().find(|f| f["name"] == "ttft" && f["stat"] == "mean").unwrap()["value"].clone()
    };
    assert_eq!(ttft(&part), ttft(&whole));
    assert!(render(&PerfSummary, &cut).is_empty());
}
