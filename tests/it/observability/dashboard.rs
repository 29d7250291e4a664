//! The shipped dashboard, and what can be said of it without a server: [`Dashboard`].
//!
//! 仪表盘 JSON 的读取与结构检查。

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

/// configs/grafana/vllm-cibench.json.
pub(super) struct Dashboard(Value);

/// One query of a panel.
#[derive(Debug, Clone)]
pub(super) struct Target {
    panel: String,
    ref_id: String,
    legend: String,
    pub(super) expr: String,
}

/// `label_values(selector, label)`.
#[derive(Debug)]
pub(super) struct LabelValues {
    pub(super) selector: String,
    pub(super) label: String,
}

/// How a panel joins what belongs together.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Sum,
    Min,
}

impl How {
    pub(super) fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => one + other,
            Self::Min => one.min(other),
        }
    }
}

impl Dashboard {
    pub(super) fn shipped() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/grafana/vllm-cibench.json");
        let text = std::fs::read_to_string(path).expect("the dashboard");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    fn panels(&self) -> &Vec<Value> {
        self.0["panels"].as_array().expect("panels")
    }

    fn variables(&self) -> &Vec<Value> {
        self.0["templating"]["list"].as_array().expect("variables")
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        let of_panel = |panel: &Value| {
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            let panel = text(&panel["title"]);
            targets.into_iter().map(move |target| Target {
                panel: panel.clone(),
                ref_id: text(&target["refId"]),
                legend: text(&target["legendFormat"]),
                expr: text(&target["expr"]),
            })
        };
        self.panels().iter().flat_map(of_panel).collect()
    }

    /// The variables whose values Prometheus tells.
    pub(super) fn variable_queries(&self) -> Vec<(String, LabelValues)> {
        let pattern = Regex::new(r"^label_values\((.*), (\w+)\)$").expect("a pattern");
        let queries = self.variables().iter().filter(|variable| variable["type"] == "query");
        let read = |variable: &Value| {
            let query = text(&variable["query"]);
            let found = pattern.captures(&query).unwrap_or_else(|| panic!("{query}"));
            let query = LabelValues { selector: found[1].to_owned(), label: found[2].to_owned() };
            (text(&variable["name"]), query)
        };
        queries.map(read).collect()
    }
}

impl LabelValues {
    /// Matches the names of the series that are asked.
    pub(super) fn families(&self) -> Regex {
        let names = captured(&self.selector, r"\$\{metric_prefix\}_\?([^\x22]+)\x22");
        Regex::new(&format!("^(?:{names})$")).expect("a pattern")
    }
}

impl Target {
    /// Its panel and itself.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.panel, self.ref_id)
    }

    /// The family that it shows.
    pub(super) fn family(&self) -> String {
        captured(&self.expr, r"\$\{metric_prefix\}_\?(\w+)\x22")
    }

    /// Of which day it claims to be.
    pub(super) fn days_ago(&self) -> u64 {
        let days = self.legend.strip_prefix('-').and_then(|legend| legend.split_once(" d "));
        days.map_or(0, |(days, _)| days.parse().expect("a number of days"))
    }

    /// Labels that a variable decides.
    pub(super) fn matchers(&self) -> Vec<(String, String)> {
        let pattern = Regex::new(r"(\w+)=~?\x22(\$\w+)\x22").expect("a pattern");
        pattern.captures_iter(&self.expr).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
    }

    /// `sum by (scenario)`, where it joins anything.
    pub(super) fn grouping(&self) -> Option<(How, Vec<String>)> {
        let pattern = Regex::new(r"^(sum|min) by \(([\w, ]+)\) \(").expect("a pattern");
        let found = pattern.captures(&self.expr)?;
        let how = if &found[1] == "sum" { How::Sum } else { How::Min };
        Some((how, found[2].split(", ").map(str::to_owned).collect()))
    }
}

fn captured(text: &str, pattern: &str) -> String {
    let found = Regex::new(pattern).expect("a pattern").captures(text);
    found.unwrap_or_else(|| panic!("{pattern} in {text}"))[1].to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn it_opens_on_the_last_seven_days_with_the_variables_that_are_promised() {
    let board = Dashboard::shipped();
    assert_eq!(
        (text(&board.0["title"]), text(&board.0["time"]["from"])),
        ("vLLM CI Bench".into(), "now-7d".into())
    );
    let names: BTreeSet<String> = board.variables().iter().map(|variable| text(&variable["name"])).collect();
    let promised = [
        "model",
        "quant",
        "scenario",
        "dataset",
        "concurrency",
        "input_len",
        "output_len",
        "backend",
        "quantile",
        "metric_prefix",
        "DS_PROMETHEUS",
    ];
    assert_eq!(names, promised.map(str::to_owned).into());
    let quantile = board.variables().iter().find(|variable| variable["name"] == "quantile").expect("one");
    assert_eq!(quantile["query"], "0.75,0.9,0.95,0.99");
    for target in board.targets() {
        let ours = target.expr.contains("run_type=\"daily\"") || target.expr.contains("push_time_seconds");
        assert!(ours, "{}: {}", target.name(), target.expr);
    }
}

#[test]
fn each_load_is_shown_by_model_and_quantisation_today_a_day_and_a_week_ago() {
    let board = Dashboard::shipped();
    let rows = board.panels().iter().filter(|panel| panel["type"] == "row" && panel["repeat"] == "model");
    assert_eq!(rows.count(), 1);
    let mut shown = BTreeMap::new();
    for panel in board.panels().iter().filter(|panel| panel["repeat"] == "quant") {
        let title = text(&panel["title"]);
        let targets: Vec<Target> =
            board.targets().into_iter().filter(|target| target.panel == title).collect();
        let days: Vec<u64> = targets.iter().map(Target::days_ago).collect();
        let families: BTreeSet<String> = targets.iter().map(Target::family).collect();
        assert_eq!((days, families.len()), (vec![0, 1, 7], 1), "{title}");
        shown.insert(title, (targets[0].family(), text(&panel["fieldConfig"]["defaults"]["unit"])));
    }
    for (title, family, unit) in [
        ("TTFT p$quantile, $quant", "ttft_seconds", "s"),
        ("E2E p$quantile, $quant", "e2e_seconds", "s"),
        ("TPOT p$quantile, $quant", "tpot_seconds", "s"),
        ("Output throughput, $quant", "output_token_throughput_tokens_per_second", "short"),
        ("Total throughput, $quant", "total_token_throughput_tokens_per_second", "short"),
        ("QPS, $quant", "requests_per_second", "reqps"),
        ("Failed requests, $quant", "failure_ratio", "percentunit"),
    ] {
        assert_eq!(shown.remove(title), Some((family.to_owned(), unit.to_owned())), "{title}");
    }
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn it_is_put_together_as_grafana_wants_it() {
    let board = Dashboard::shipped();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in board.panels() {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is taken");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for cell in (0..at("h")).flat_map(|dy| (0..at("w")).map(move |dx| (dx, dy))) {
            assert!(at("x") + cell.0 < 24, "{title} sticks out");
            assert!(cells.insert((at("x") + cell.0, at("y") + cell.1)), "{title} covers another panel");
        }
        if panel["type"] != "row" {
            assert!(!title.is_empty() && !text(&panel["description"]).is_empty(), "{title}");
            assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{title}: no unit");
            assert_eq!(panel["datasource"]["uid"], "${DS_PROMETHEUS}", "{title}");
            let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
            assert_eq!(steps.as_array().map(Vec::len), Some(1), "{title}: a threshold is built in");
        }
    }
}

#[test]
fn every_variable_that_is_used_is_declared_and_every_declared_one_is_used() {
    let board = Dashboard::shipped();
    let all = board.0.to_string();
    let used = Regex::new(r"\$\{?([A-Za-z_]+)\}?").expect("a pattern");
    let used: BTreeSet<_> =
        used.captures_iter(&all).map(|found| found[1].to_owned()).filter(|name| name != "__all").collect();
    let declared: BTreeSet<_> = board.variables().iter().map(|variable| text(&variable["name"])).collect();
    assert_eq!(used, declared);
}

#[test]
fn a_red_case_is_red_and_says_so() {
    let board = Dashboard::shipped();
    let cases = board.panels().iter().find(|panel| panel["title"] == "Functional cases").expect("the table");
    let properties = cases["fieldConfig"]["overrides"][0]["properties"].as_array().expect("properties");
    let mapping =
        &properties.iter().find(|one| one["id"] == "mappings").expect("a mapping")["value"][0]["options"];
    assert_eq!((&mapping["0"]["color"], &mapping["1"]["color"]), (&"red".into(), &"green".into()));
    assert!(text(&mapping["0"]["text"]).contains("FAIL") && text(&mapping["1"]["text"]).contains("PASS"));
}
