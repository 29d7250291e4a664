//! The exposition is read back by a parser that accepts nothing but what the format allows.
//!
//! Prometheus 文本的严格解析测试。

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};
use st_harness::{
    capability::Capabilities,
    case::TrialId,
    journal::{Environment, Git, Planned, RunStarted, Tool, TrialRecord},
    verdict::Workload,
};

use super::*;
use crate::perf::record::Outcome;
use crate::perf::summary::{Summary, tests::record};

/// Name with labels as written → value.
type Samples = BTreeMap<String, f64>;

/// Reads text exposition strictly: HELP and TYPE once and first, families contiguous, legal names, escaped label
/// values in order, finite values, no sample twice, `quantile` on summaries only, a line feed at the end.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let mut lines = text.lines().peekable();
    let (mut samples, mut seen) = (Samples::new(), BTreeSet::new());
    while let Some(line) = lines.next() {
        let (name, help) = line
            .strip_prefix("# HELP ")
            .unwrap_or_else(|| panic!("HELP, found {line}"))
            .split_once(' ')
            .unwrap();
        assert!(seen.insert(name.to_owned()), "{name} comes twice");
        assert!(!help.trim().is_empty());
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert!(["counter", "gauge", "summary"].contains(&kind), "{kind}");
        let mut any = false;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (metric, labels) =
                series.split_once('{').map_or((series, ""), |(m, l)| (m, l.strip_suffix('}').unwrap()));
            assert_eq!(metric.ends_with("_total"), kind == "counter", "{metric}");
            let family = match kind {
                "summary" => metric.strip_suffix("_sum").or(metric.strip_suffix("_count")).unwrap_or(metric),
                _ => metric,
            };
            assert_eq!(family, name, "a sample stands below another family");
            assert!(metric.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{metric}");
            let names = label_names(labels);
            assert_eq!(names.contains(&"quantile".to_owned()), kind == "summary" && metric == name, "{line}");
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(
                samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
                "{series} comes twice"
            );
            any = true;
        }
        assert!(any, "{name} has no sample");
    }
    samples
}

/// `a="x",b="y"` → names, each legal and once.
fn label_names(mut text: &str) -> Vec<String> {
    let mut names = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap();
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with("__"),
            "{name}"
        );
        assert!(!names.contains(&name.to_owned()));
        names.push(name.to_owned());
        let mut escaped = false;
        let end = rest.find(|c| match (escaped, c) {
            (true, '\\' | '"' | 'n') => {
                escaped = false;
                false
            }
            (true, other) => panic!("\\{other} is no escape"),
            (false, '\\') => {
                escaped = true;
                false
            }
            (false, c) => c == '"',
        });
        let rest = &rest[end.unwrap() + 1..];
        text = rest.strip_prefix(',').unwrap_or_else(|| {
            assert!(rest.is_empty(), "{rest}");
            rest
        });
    }
    names
}

fn trial(kind: &str, suite: &str, number: usize, verdict: Verdict) -> TrialRecord {
    let id = TrialId::new(format!("{kind}::{suite}::c{number}")).unwrap();
    let finished = TrialFinished {
        trial_id: id.clone(),
        attempt: 1,
        verdict,
        reasons: Vec::new(),
        duration_ns: Some(1),
        workload: None,
        seed: None,
        measurements: Vec::new(),
        details: None,
        artifacts: Vec::new(),
    };
    let planned = Planned {
        case_id: id.to_string(),
        trial_id: id,
        kind: kind.to_owned(),
        suite: suite.to_owned(),
        about: None,
        tags: Vec::new(),
        required_capabilities: Vec::new(),
        place: None,
        values: Map::new(),
        case_hash: None,
    };
    TrialRecord { planned, state: TrialState::Finished(Box::new(finished)), notes: Vec::new() }
}

fn finished(trial: &mut TrialRecord) -> &mut TrialFinished {
    match &mut trial.state {
        TrialState::Finished(finished) => finished,
        other => panic!("{other:?}"),
    }
}

fn workload(key: Value) -> Option<Workload> {
    Some(Workload { key: key.as_object().unwrap().clone(), hash: "h".to_owned() })
}

fn perf_trial(verdict: Verdict, outcomes: &[Outcome]) -> TrialRecord {
    let records: Vec<_> = (0_u64..).zip(outcomes).map(|(n, outcome)| record(n, 0, outcome.clone())).collect();
    let mut trial = trial("perf", "smoke", 0, verdict);
    finished(&mut trial).measurements = Summary::of(&records).measurements;
    finished(&mut trial).workload =
        workload(json!({"backend": "openai-chat", "concurrency": 2, "sampling": {"temperature": 0}}));
    trial
}

fn run(trials: Vec<TrialRecord>) -> RunRecord {
    RunRecord {
        started: RunStarted {
            run_id: "r1".to_owned(),
            parent_run: None,
            scenario: "sim".to_owned(),
            run_type: "pr".to_owned(),
            git: Some(Git { commit: "abc".to_owned(), branch: None, dirty: false }),
            tool: Tool { name: "vllm-cibench".to_owned(), version: "0".to_owned(), optimised: true },
            argv: Vec::new(),
            variables: Default::default(),
            terms: Value::Null,
            environment: Environment::default(),
            requested: json!({"model": "asked \"for\"\\\n", "quant": "w8a8"}),
        },
        started_at: jiff::Timestamp::UNIX_EPOCH,
        duration_ns: 1,
        effective: None,
        capabilities: Capabilities::default(),
        trials,
        notes: Vec::new(),
        gates: Vec::new(),
        finished: None,
    }
}

fn render(prefix: &str, trials: Vec<TrialRecord>) -> String {
    let mut documents = Prometheus::new(prefix).render(&run(trials), &Files::default()).unwrap();
    let paths: Vec<_> = documents.iter().map(|document| document.path.as_str()).collect();
    assert_eq!(paths, ["metrics.prom", "metrics.om"]);
    documents.remove(0).text
}

/// The value of the only sample of `metric` whose labels hold `part`.
fn sample(samples: &Samples, metric: &str, part: &str) -> f64 {
    let of = |series: &&String| series.split('{').next() == Some(metric) && series.contains(part);
    let found: Vec<_> = samples.iter().filter(|(series, _)| of(series)).collect();
    assert_eq!(found.len(), 1, "{metric} with {part}: {found:?}");
    *found[0].1
}

#[test]
fn a_measured_trial_is_told_as_summaries_and_gauges() {
    let samples = parse(&render("", vec![perf_trial(Verdict::Passed, &[Outcome::Ok, Outcome::Ok])]));
    for quantile in ["0.75", "0.9", "0.95", "0.99"] {
        assert_eq!(sample(&samples, "ttft_seconds", &format!("quantile=\"{quantile}\"")), 0.1);
    }
    assert_eq!(sample(&samples, "ttft_seconds_count", ""), 2.0);
    assert_eq!(sample(&samples, "ttft_seconds_sum", ""), 0.2);
    assert_eq!(sample(&samples, "ttft_avg_seconds", "concurrency=\"2\""), 0.1);
    assert_eq!(sample(&samples, "time_between_first_and_second_token_max_seconds", ""), 0.02);
    assert_eq!(sample(&samples, "failure_ratio", "backend=\"openai-chat\""), 0.0);
    assert_eq!(sample(&samples, "high_failure_ratio", "commit=\"abc\""), 0.0);
    assert!(samples.contains_key("e2e_min_seconds{backend=\"openai-chat\",commit=\"abc\",concurrency=\"2\",model=\"asked \\\"for\\\"\\\\\\n\",quant=\"w8a8\",run_id=\"r1\",run_type=\"pr\",scenario=\"sim\"}"));
    assert!(samples.keys().all(|series| !series.contains("branch") && !series.contains("sampling")));
}

#[test]
fn what_is_missing_is_not_exported_and_what_is_known_still_is() {
    let samples = parse(&render("", vec![perf_trial(Verdict::Failed, &[Outcome::Truncated])]));
    assert!(
        samples.keys().all(|series| !series.contains("ttft") && !series.contains("throughput")),
        "{samples:?}"
    );
    assert_eq!(sample(&samples, "failure_ratio", ""), 1.0);
    assert_eq!(sample(&samples, "high_failure_ratio", ""), 1.0);
}

#[test]
fn an_invalid_measurement_is_told_nowhere() {
    let trials =
        vec![perf_trial(Verdict::Invalid, &[Outcome::Ok]), perf_trial(Verdict::Errored, &[Outcome::Ok])];
    assert_eq!(render("", trials), "");
}

#[test]
fn functional_suites_are_counted_and_skips_are_no_failures() {
    let verdicts = [Verdict::Passed, Verdict::Passed, Verdict::Failed, Verdict::Errored, Verdict::Skipped];
    let mut trials: Vec<_> =
        verdicts.into_iter().enumerate().map(|(n, v)| trial("functional", "chat_core", n, v)).collect();
    trials.push(trial("functional", "tools", 0, Verdict::Skipped));
    let samples = parse(&render("", trials));
    assert_eq!(sample(&samples, "functional_pass_ratio", "suite=\"chat_core\""), 0.5);
    assert_eq!(sample(&samples, "functional_cases_total", "suite=\"chat_core\""), 5.0);
    assert_eq!(sample(&samples, "functional_cases_failed", "suite=\"chat_core\""), 2.0);
    assert_eq!(sample(&samples, "functional_cases_total", "suite=\"tools\""), 1.0);
    assert_eq!(samples.keys().filter(|series| series.starts_with("functional_pass_ratio")).count(), 1);
}

#[test]
fn a_score_is_told_by_its_dataset_and_every_name_takes_the_prefix() {
    let mut scored = trial("accuracy", "smoke", 0, Verdict::Passed);
    finished(&mut scored).workload = workload(json!({"dataset": "gpqa"}));
    finished(&mut scored).measurements = vec![Measurement {
        name: "score".to_owned(),
        stat: "value".to_owned(),
        unit: "ratio".to_owned(),
        value: Some(0.8),
        null_reason: None,
        n: 5,
        definition: "score/1".to_owned(),
        source: "client".to_owned(),
        labels: Map::new(),
    }];
    let samples = parse(&render("ci", vec![scored, perf_trial(Verdict::Passed, &[Outcome::Ok])]));
    assert_eq!(sample(&samples, "ci_accuracy_score", "dataset=\"gpqa\""), 0.8);
    assert!(samples.keys().all(|series| series.starts_with("ci_")));
}

#[test]
fn a_prefix_that_cannot_begin_a_name_is_refused() {
    for prefix in ["1x", "a-b", "a b"] {
        let error = Prometheus::new(prefix).render(&run(vec![]), &Files::default()).unwrap_err();
        assert!(error.contains("metric_prefix"), "{error}");
    }
}

#[test]
fn the_model_is_the_one_that_was_served() {
    let model = |effective, requested| {
        let mut run = run(vec![]);
        (run.effective, run.started.requested) = (effective, requested);
        run_labels(&run).remove("model")
    };
    let asked = json!({"model": "path/to/m", "served_model_name": "m"});
    assert_eq!(model(Some(json!({"model": "live"})), asked.clone()).as_deref(), Some("live"));
    assert_eq!(model(None, asked).as_deref(), Some("m"));
    assert_eq!(model(None, json!({})), None);
}

#[test]
fn two_trials_of_one_label_set_give_one_series_and_the_second_is_named() {
    let mut second = perf_trial(Verdict::Passed, &[Outcome::Ok]);
    finished(&mut second).trial_id = TrialId::new("perf::smoke::again").unwrap();
    let text = render("", vec![perf_trial(Verdict::Passed, &[Outcome::Ok, Outcome::Ok]), second]);
    let (samples, comment) = text.split_at(text.rfind("# ").unwrap());
    assert_eq!(comment, "# perf::smoke::again is left out: an earlier trial has the same labels\n");
    assert_eq!(sample(&parse(samples), "ttft_seconds_count", ""), 2.0);
}

#[test]
fn promtool_has_nothing_to_say_where_it_is_installed() {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };
    let text = render(
        "ci",
        vec![
            perf_trial(Verdict::Passed, &[Outcome::Ok, Outcome::Truncated]),
            trial("functional", "chat_core", 0, Verdict::Passed),
        ],
    );
    parse(&text);
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_daily_run_tells_each_case_and_one_that_was_skipped_not_at_all() {
    let trials = || {
        let verdicts = [Verdict::Passed, Verdict::Errored, Verdict::Skipped, Verdict::Inconclusive];
        verdicts.into_iter().enumerate().map(|(n, v)| trial("functional", "tools", n, v)).collect::<Vec<_>>()
    };
    let mut daily = run(trials());
    daily.started.run_type = "daily".to_owned();
    let samples = parse(&Exposition::of_run(&daily, "").unwrap().text);
    let cases: Vec<f64> = samples
        .iter()
        .filter(|(name, _)| name.starts_with("functional_case_pass{"))
        .map(|(_, v)| *v)
        .collect();
    assert_eq!(cases, [1.0, 0.0]);
    assert!(samples.keys().any(|name| name.contains("case_id=\"functional::tools::")), "{samples:?}");
    let samples = parse(&Exposition::of_run(&run(trials()), "").unwrap().text);
    assert!(samples.keys().all(|name| !name.starts_with("functional_case_pass")));
}

#[test]
fn what_the_server_measured_stands_under_a_name_of_its_own() {
    let mut measured = perf_trial(Verdict::Passed, &[Outcome::Ok]);
    let of_server = finished(&mut measured).measurements.clone().into_iter().filter(|m| m.name == "ttft");
    let of_server: Vec<_> = of_server
        .map(|m| Measurement { value: m.value.map(|v| v / 2.0), source: "server".to_owned(), ..m })
        .collect();
    finished(&mut measured).measurements.splice(0..0, of_server);
    let samples = parse(&render("", vec![measured]));
    assert_eq!(sample(&samples, "ttft_avg_seconds", ""), 0.1);
    assert_eq!(sample(&samples, "server_ttft_avg_seconds", ""), 0.05);
    assert_eq!(sample(&samples, "server_ttft_seconds", "quantile=\"0.99\""), 0.05);
}

#[test]
fn tpot_is_the_gap_between_tokens_as_the_summary_csv_has_it() {
    let samples = parse(&render("", vec![perf_trial(Verdict::Passed, &[Outcome::Ok])]));
    assert_eq!(sample(&samples, "tpot_seconds_count", ""), 3.0, "three gaps of four tokens");
    assert_eq!(sample(&samples, "tpot_per_request_seconds_count", ""), 1.0);
}

#[test]
fn a_section_of_a_data_set_has_a_score_of_its_own() {
    let figure = |name: &str, section: Option<&str>, value: f64| Measurement {
        name: name.to_owned(),
        stat: "value".to_owned(),
        unit: "ratio".to_owned(),
        value: Some(value),
        null_reason: None,
        n: 5,
        definition: "score/1".to_owned(),
        source: "client".to_owned(),
        labels: section.map(|section| ("section".to_owned(), json!(section))).into_iter().collect(),
    };
    let mut scored = trial("accuracy", "smoke", 0, Verdict::Passed);
    finished(&mut scored).workload = workload(json!({"dataset": "mmlu"}));
    finished(&mut scored).measurements =
        vec![figure("score", None, 0.5), figure("subscore", Some("law"), 0.25)];
    let samples = parse(&render("", vec![scored]));
    assert_eq!(sample(&samples, "accuracy_score", "dataset=\"mmlu\""), 0.5);
    assert_eq!(sample(&samples, "accuracy_subscore", "section=\"law\""), 0.25);
}

#[test]
fn openmetrics_tells_the_same_figures_with_the_end_of_the_run() {
    let trials = vec![
        perf_trial(Verdict::Passed, &[Outcome::Ok]),
        trial("functional", "chat_core", 0, Verdict::Passed),
    ];
    let mut run = run(trials);
    run.started_at = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    run.duration_ns = 1_250_000_000;
    let told = Exposition::of_run(&run, "ci").unwrap();
    let lines: Vec<&str> = told.openmetrics.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    assert!(lines.contains(&"# TYPE ci_functional_cases counter"));
    let stamped = lines.iter().filter(|line| !line.starts_with('#'));
    let unstamped: BTreeSet<_> = stamped
        .map(|line| line.strip_suffix(" 1700000001.250").unwrap_or_else(|| panic!("{line}")))
        .map(str::to_owned)
        .collect();
    let text: BTreeSet<_> =
        told.text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert_eq!(unstamped, text);
}
