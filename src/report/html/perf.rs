//! Performance: one table of all measured trials, and for each workload its latencies and throughput over the load.
//! Must not compute a figure: those of the journal are shown.
//!
//! 性能：指标总表与随负载变化的图。

use maud::{Markup, html};
use serde_json::Value;
use st_harness::{
    journal::{RunRecord, TrialRecord},
    report::{Files, text},
};

use super::{
    baseline,
    chart::{Chart, Series, value},
    lanes, turns,
    words::{Words, badge},
};

/// What the table shows of a trial: name, stat, unit, and how its column is called.
const COLUMNS: &[(&str, &str, &str, &str)] = &[
    ("ttft", "p50", "s", "TTFT p50"),
    ("ttft", "p99", "s", "TTFT p99"),
    ("tpot", "p50", "s", "TPOT p50"),
    ("tpot", "p99", "s", "TPOT p99"),
    ("e2e", "p50", "s", "E2E p50"),
    ("e2e", "p99", "s", "E2E p99"),
    ("output_token_throughput", "value", "tokens/s", "out tok/s"),
    ("requests_per_second", "value", "1/s", "req/s"),
    ("failure_ratio", "value", "ratio", "failed"),
];
const QUANTILES: [&str; 6] = ["p50", "p75", "p90", "p95", "p99", "max"];

/// Table and charts; nothing where no performance trial has a figure.
pub(super) fn body(run: &RunRecord, files: &Files) -> Option<Markup> {
    let measured: Vec<&TrialRecord> = run
        .trials
        .iter()
        .filter(|trial| trial.planned.kind == "perf" && !trial.measurements().is_empty())
        .collect();
    (!measured.is_empty()).then(|| {
        html! {
            (table(&measured))
            @for (at, workload) in workloads(&measured).iter().enumerate() {
                h3 { (workload.name) }
                div.charts { @for chart in workload.charts(at) { @if let Some(figure) = chart.figure() { (figure) } } }
                @for (_, trial) in &workload.levels { @if let Some(turns) = turns::body(trial) { (turns) } }
                @for (_, trial) in &workload.levels { @if let Some(held) = baseline::of(run, trial) { (held) } }
                @for (_, trial) in &workload.levels { @if let Some(lanes) = lanes::body(trial, files) { (lanes) } }
            }
        }
    })
}

fn table(measured: &[&TrialRecord]) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="performance" {
            table {
                caption { (Words("Seconds, tokens and requests per second; – where there is no value", "时间单位为秒；– 表示缺失")) }
                thead { tr {
                    th scope="col" { (Words("trial", "用例")) } th scope="col" { (Words("ended", "结果")) }
                    th scope="col" { (Words("transport", "传输")) } th.number scope="col" { "n" }
                    @for (.., name) in COLUMNS { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for trial in measured {
                        tr {
                            th scope="row" { code { (trial.id()) } }
                            td { (badge(trial.status())) }
                            td { (transport(trial)) } td.number { (samples(trial)) }
                            @for (name, stat, ..) in COLUMNS { td.number { (value(figure(trial, name, stat), 1.0)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What carried the requests; older records do not say.
fn transport(trial: &TrialRecord) -> &str {
    let details = trial.finished().and_then(|finished| finished.details.as_ref());
    details.and_then(|details| details.value.get("transport")?.as_str()).unwrap_or("–")
}

fn samples(trial: &TrialRecord) -> String {
    let n = trial.measurements().iter().find(|one| one.name == "e2e").map(|one| one.n);
    n.map_or_else(|| "–".to_owned(), |n| n.to_string())
}

/// The client's figure.
fn figure(trial: &TrialRecord, name: &str, stat: &str) -> Option<f64> {
    let of = trial.measurements().iter();
    of.filter(|one| one.source == "client").find(|one| one.name == name && one.stat == stat)?.value
}

/// Trials that differ in nothing but the load.
struct Workload<'a> {
    name: String,
    levels: Vec<(String, &'a TrialRecord)>,
}

/// The load of a trial, and what else it is of.
fn of(trial: &TrialRecord) -> (String, String) {
    let key = trial.finished().and_then(|finished| finished.workload.as_ref()).map(|workload| &workload.key);
    let said =
        |name: &str| key.and_then(|key| key.get(name)).filter(|value| !value.is_null()).map(text::plain);
    let load = ["concurrency", "request_rate"].into_iter().find_map(said).unwrap_or_else(|| "–".to_owned());
    let part = |(name, label): (&str, &str)| Some(format!("{label}{}", said(name)?));
    let name = [
        ("backend", ""),
        ("dataset", ""),
        ("control_method", ""),
        ("input_len", "in "),
        ("output_len", "out "),
    ]
    .into_iter()
    .filter_map(part)
    .collect::<Vec<_>>()
    .join(" · ");
    (load, name)
}

fn workloads<'a>(measured: &[&'a TrialRecord]) -> Vec<Workload<'a>> {
    let mut all: Vec<Workload<'a>> = Vec::new();
    for trial in measured {
        let (load, name) = of(trial);
        match all.iter_mut().find(|one| one.name == name) {
            Some(known) => known.levels.push((load, trial)),
            None => all.push(Workload { name, levels: vec![(load, trial)] }),
        }
    }
    all
}

impl Workload<'_> {
    /// Over the load where there are several levels, else over the quantiles of the one.
    fn charts(&self, at: usize) -> Vec<Chart> {
        match self.levels.as_slice() {
            [(_, only)] => vec![
                quantiles(at, only, "ttft", Words("Time to first token", "首 token 时延"), &["ttft", "e2e"]),
                quantiles(
                    at,
                    only,
                    "tpot",
                    Words("Time per output token", "单 token 时延"),
                    &["tpot", "itl"],
                ),
            ],
            _ => vec![
                self.over_load(
                    at,
                    Words("Time to first token", "首 token 时延"),
                    "ttft",
                    &["p50", "p99"],
                    "s",
                ),
                self.over_load(
                    at,
                    Words("Time per output token", "单 token 时延"),
                    "tpot",
                    &["p50", "p99"],
                    "s",
                ),
                self.over_load(
                    at,
                    Words("Time to the last token", "端到端时延"),
                    "e2e",
                    &["p50", "p99"],
                    "s",
                ),
                self.over_load(
                    at,
                    Words("Output throughput", "输出吞吐"),
                    "output_token_throughput",
                    &["value"],
                    "tokens/s",
                ),
            ],
        }
    }

    fn over_load(&self, at: usize, title: Words, name: &str, stats: &[&str], unit: &'static str) -> Chart {
        let series = stats.iter().map(|stat| Series {
            name: if *stat == "value" { unit.to_owned() } else { (*stat).to_owned() },
            values: self.levels.iter().map(|(_, trial)| figure(trial, name, stat)).collect(),
        });
        Chart {
            id: format!("chart-{at}-{name}"),
            title,
            unit,
            across: Words("load", "负载"),
            categories: self.levels.iter().map(|(load, _)| load.clone()).collect(),
            series: series.collect(),
        }
    }
}

fn quantiles(at: usize, trial: &TrialRecord, id: &str, title: Words, names: &[&str]) -> Chart {
    let series = names.iter().map(|name| Series {
        name: name.to_uppercase(),
        values: QUANTILES.iter().map(|stat| figure(trial, name, stat)).collect(),
    });
    Chart {
        id: format!("chart-{at}-{id}"),
        title,
        unit: "s",
        across: Words("quantile", "分位"),
        categories: QUANTILES.iter().map(|stat| (*stat).to_owned()).collect(),
        series: series.collect(),
    }
}

/// A number in a suite's own record, for sections that show what only the suite knows.
pub(super) fn detail(trial: &TrialRecord, pointer: &str) -> Option<f64> {
    trial.finished()?.details.as_ref()?.value.pointer(pointer).and_then(Value::as_f64)
}
