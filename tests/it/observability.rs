//! What was pushed is what the dashboard shows: a run on the simulator is pushed to a real Pushgateway, its figures of
//! eight earlier days are back-filled into a real Prometheus, and every query of every panel and variable is asked.
//!
//! 在真实的 Prometheus 与 Pushgateway 上验证仪表盘的每条查询。

mod dashboard;
mod monitor;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use crate::crate_root::{CrateRoot, Ran};
use dashboard::{Dashboard, Target};
use monitor::{Monitor, tools};
use told::{Series, Told};

const DAY: u64 = 86_400;

/// How many earlier days are back-filled.
const DAYS: u64 = 8;

fn root() -> CrateRoot {
    let shipped = |path: &str| {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a shipped file")
    };
    let hello = |id: &str, status: u16| {
        format!(
            "  - id: {id}\n    endpoint: chat\n    request: {{messages: [{{role: user, content: Hello.}}], max_tokens: 8}}\n    \
             expect: [{{status: {status}}}]\n"
        )
    };
    let loads = "cases:\n  - id: chat\n    timeout: 2m\n    matrix: {c: [1, 2]}\n    endpoint: chat\n    control_method: fixed\n    \
                 concurrency: \"${c}\"\n    input_len: 64\n    output_len: 8\n    requests: 4\n    expect: [{failure_ratio: {at_most: 0}}]\n";
    CrateRoot::new()
        .file("cases/functional/a.yaml", &format!("cases:\n{}{}", hello("right", 200), hello("wrong", 201)))
        .file("cases/functional/b.yaml", &format!("cases:\n{}", hello("right", 200)))
        .file("cases/perf/daily.yaml", loads)
        .file("cases/accuracy/daily.yaml", &shipped("cases/accuracy/smoke.yaml"))
        .file("cases/accuracy/items/common_knowledge.csv", &shipped("cases/accuracy/items/common_knowledge.csv"))
        .file(
            "summary.csv",
            "Input_Length,Output_Length,Concurrency,TP99_TTFT(s),Fail_Rate,Num_Prompts,AVG_TTFT(s)\n9,9,9,7.5,0,4,5\n",
        )
}

/// Runs everything against the simulator and pushes it.
fn daily(root: &CrateRoot, monitor: &Monitor) -> Told {
    let mut run = root.command(&["run", "--scenario", "sim", "--run-type", "daily"]);
    run.env("PROM_PUSHGATEWAY_URL", monitor.gateway());
    let ran = Ran::of(run.output().expect("the command starts"));
    assert!(ran.err.contains("pushed: the figures of `sim`"), "{}", ran.err);
    Told::read(&root.left("metrics.om"))
}

#[test]
fn every_query_of_the_dashboard_returns_what_was_pushed() {
    if let Err(missing) = tools() {
        return eprintln!("skipped: {missing}");
    }
    let root = root();
    let mut monitor = Monitor::start_gateway();
    let told = daily(&root, &monitor);
    for day in 1..=DAYS {
        monitor.backfill(&told.days_ago(day).openmetrics());
    }
    monitor.start_prometheus();
    monitor.wait_for(r#"functional_cases_total{job="vllm_cibench",run_type="daily"}"#);

    let board = Dashboard::shipped();
    panels_tell(&monitor, &board, &told, &everything());
    panels_tell(&monitor, &board, &told, &one_of_each(&told));
    for quantile in ["0.75", "0.9", "0.95", "0.99"] {
        let variables = with(everything(), "quantile", quantile);
        panels_tell(&monitor, &board, &told, &variables);
    }
    for (variable, query) in board.variable_queries() {
        let found = monitor.label_values(&everything().fill(&query.selector), &query.label);
        let expected = told.label_values(&query.families(), &query.label);
        assert!(!expected.is_empty(), "nothing was pushed that ${variable} could offer");
        assert_eq!(found, expected, "${variable}: {query:?}");
    }
    the_age_of_the_last_push_is_seconds(&monitor, &board);
    a_prefix_sees_its_own_figures_only(&root, &monitor, &board);
}

/// The variables of a dashboard and their values.
#[derive(Debug, Clone)]
struct Variables(BTreeMap<String, String>);

impl Variables {
    /// `text` as Grafana would send it.
    fn fill(&self, text: &str) -> String {
        // Longer names first: `$model` must not be taken for the beginning of `$model_raw`.
        let mut names: Vec<_> = self.0.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        names.into_iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
        })
    }
}

/// As the dashboard opens: all of everything.
fn everything() -> Variables {
    let all = ["model", "quant", "scenario", "dataset", "backend", "concurrency", "input_len", "output_len"];
    let all = all.map(|name| (name, ".*")).into_iter().chain([("metric_prefix", ""), ("quantile", "0.99")]);
    Variables(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Somebody chose a value of each variable.
fn one_of_each(told: &Told) -> Variables {
    let load = told.series("requests_per_second").next().expect("a load was measured");
    load.labels
        .iter()
        .filter(|(name, _)| everything().0.contains_key(*name))
        .fold(everything(), |all, (name, value)| with(all, name, value))
}

fn with(mut variables: Variables, name: &str, value: &str) -> Variables {
    variables.0.insert(name.to_owned(), value.to_owned());
    variables
}

/// Asks every panel that shows what a run told.
fn panels_tell(monitor: &Monitor, board: &Dashboard, told: &Told, variables: &Variables) {
    let (mut asked, mut empty) = (0, Vec::new());
    for target in board.targets().iter().filter(|target| !target.expr.contains("push_time_seconds")) {
        let expected = expected(told, target, variables);
        let found = monitor.query(&variables.fill(&target.expr));
        assert_same(&found, &expected, &target.name());
        asked += 1;
        if expected.is_empty() {
            empty.push(target.name());
        }
    }
    assert!(asked > 30, "only {asked} queries");
    // With a chosen data set of a load there is no accuracy to show, and the other way round.
    assert!(empty.iter().all(|name| name.starts_with("Accuracy")), "nothing to show in {empty:?}");
    assert!(empty.is_empty() || variables.0["dataset"] != ".*");
}

/// What a target has to show: the pushed series of its family, of its day, that its variables let through.
fn expected(told: &Told, target: &Target, variables: &Variables) -> BTreeMap<Series, f64> {
    let day = target.days_ago();
    let chosen = |series: &Series| {
        target.matchers().iter().all(|(label, variable)| {
            let value = variables.fill(variable);
            value == ".*" || series.labels.get(label).map_or("", String::as_str) == value
        })
    };
    let (of_day, family) = (told.days_ago(day), target.family());
    let samples = of_day.series(&family).filter(|series| chosen(series));
    let kept = samples.map(|series| (series.of_any_run(), of_day.value(series)));
    match target.grouping() {
        None => kept.collect(),
        Some((how, by)) => {
            let mut groups: BTreeMap<Series, f64> = BTreeMap::new();
            for (series, value) in kept {
                let group = groups.entry(series.only(&by));
                group.and_modify(|held| *held = how.join(*held, value)).or_insert(value);
            }
            groups
        }
    }
}

fn assert_same(found: &BTreeMap<Series, f64>, expected: &BTreeMap<Series, f64>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (series, value) in expected {
        let found = found[series];
        assert!((found - value).abs() <= value.abs() * 1e-9, "{what}: {series:?}: {found} is not {value}");
    }
}

fn the_age_of_the_last_push_is_seconds(monitor: &Monitor, board: &Dashboard) {
    let targets = board.targets();
    let age = targets.iter().find(|target| target.expr.contains("push_time_seconds")).expect("such a panel");
    let found = monitor.query(&everything().fill(&age.expr));
    let ages: Vec<f64> = found.into_values().collect();
    assert!(matches!(ages[..], [age] if (0.0..900.0).contains(&age)), "{ages:?}");
}

/// Two projects share a gateway, and each has its prefix.
fn a_prefix_sees_its_own_figures_only(root: &CrateRoot, monitor: &Monitor, board: &Dashboard) {
    let gateway = monitor.gateway();
    let flags = [
        "--run-type",
        "daily",
        "--label",
        "scenario=csv",
        "--metric-prefix",
        "ci",
        "--gateway-url",
        &gateway,
    ];
    let ran = root.run(&[&["push", "--csv", "summary.csv"][..], &flags].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    monitor.wait_for("ci_ttft_seconds");
    let targets = board.targets();
    let ttft = targets.iter().find(|target| target.name() == "TTFT p$quantile, $quant A").expect("a panel");
    let scenarios = |variables: &Variables| -> BTreeSet<String> {
        let found = monitor.query(&variables.fill(&ttft.expr));
        found.into_keys().map(|series| series.labels["scenario"].clone()).collect()
    };
    assert_eq!(scenarios(&everything()), BTreeSet::from(["sim".to_owned()]));
    assert_eq!(scenarios(&with(everything(), "metric_prefix", "ci")), BTreeSet::from(["csv".to_owned()]));
}

#[test]
fn promtool_accepts_what_is_shipped() {
    if let Err(missing) = tools() {
        return eprintln!("skipped: {missing}");
    }
    for args in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        monitor::promtool(&args, concat!(env!("CARGO_MANIFEST_DIR"), "/configs/grafana"));
    }
}
