//! A measured trial held against an earlier one: the numbers that its gate decided on, beside its charts. It reads
//! `baseline/1`. Must not decide anything.
//!
//! 各用例基线门禁的判定数字。

use maud::{Markup, html};
use serde_json::Value;
use st_harness::{
    journal::{Event, RunRecord, Status, TrialRecord},
    report::text,
};

use super::{
    wide,
    words::{Words, badge},
};
use crate::baseline::{percent, shown};

/// The shape that is read here.
pub(super) const SCHEMA: &str = "baseline/1";

/// The anchor of a trial's numbers.
pub(super) fn anchor(trial_id: &str) -> String {
    format!("held-{}", trial_id.replace("::", "."))
}

/// Every decision over `trial`; nothing where nothing was decided.
pub(super) fn of(run: &RunRecord, trial: &TrialRecord) -> Option<Markup> {
    let mut its = run.gates.iter().filter_map(|event| match event {
        Event::GateDecided { trial_id: Some(id), verdict, numbers, .. }
            if id == trial.id() && numbers["schema"] == SCHEMA =>
        {
            Some((Status::from(*verdict), numbers))
        }
        _ => None,
    });
    let (verdict, numbers) = its.next_back()?;
    Some(html! {
        div id=(anchor(trial.id().as_str())) {
            (wide(&format!("baseline of {}", trial.id()), html! {
                table.held {
                    caption {
                        (badge(verdict)) " " (Words("against the baseline", "与基线对比")) ": " code { (trial.id()) }
                        (circumstances(numbers))
                    }
                    thead { tr {
                        th scope="col" { (Words("figure", "指标")) }
                        th.number scope="col" { (Words("baseline", "基线")) } th.number scope="col" { (Words("now", "本次")) }
                        th.number scope="col" { (Words("change", "变化")) } th.number scope="col" { (Words("limit", "限值")) }
                        th.number scope="col" { "n" } th scope="col" { (Words("found", "判定")) }
                    } }
                    tbody { @for one in numbers["rows"].as_array().into_iter().flatten() { (row(one)) } }
                }
            }))
        }
    })
}

/// Which run it is held against, by which policy, and what differs.
fn circumstances(numbers: &Value) -> Markup {
    let baseline = &numbers["baseline"];
    let said = |name: &str| baseline[name].as_str();
    html! {
        " · " (text::plain(&numbers["policy"]))
        @if numbers["enforced"] == false { " (" (Words("only warns", "仅警告")) ")" }
        @match (said("run_id"), said("started_at")) {
            (Some(run), at) => {
                " · " (Words("run", "运行")) " " code { (run) } @if let Some(at) = at { ", " (text::head(at, 16)) }
                @if let Some(commit) = said("commit") { ", " code { (text::head(commit, 12)) } }
            },
            _ => { " · " (Words("there is no baseline", "无基线")) },
        }
        @if let Some(why) = numbers["refused"].as_str() { p { (text::visible(why)) } }
    }
}

fn row(row: &Value) -> Markup {
    let unit = row["unit"].as_str().unwrap_or_default();
    let number = |name: &str| row[name].as_f64();
    let finding = row["finding"].as_str().unwrap_or_default();
    let bounds = row["interval"]["low"].as_f64().zip(row["interval"]["high"].as_f64());
    html! {
        tr {
            th scope="row" { (row["figure"].as_str().unwrap_or_default().replace('_', " ")) }
            td.number { (told(number("before"), unit)) }
            td.number { (told(number("now"), unit)) }
            td.number {
                @if let Some(change) = number("change") { (percent(change)) }
                @if let Some((low, high)) = bounds { br; (percent(low)) " … " (percent(high)) }
            }
            td.number { @if let Some(limit) = number("limit") { (sign(row)) ((limit * 1000.0).round() / 10.0) " %" } }
            td.number { (text::plain(&row["n"][0])) " → " (text::plain(&row["n"][1])) }
            td {
                span class={ "badge " (class(finding)) } { (words(finding)) }
                @if let Some(doubt) = row["doubt"].as_str() { " " span.about { (text::visible(doubt)) } }
            }
        }
    }
}

/// The direction of a change for the worse; none of what is judged by its value alone.
fn sign(row: &Value) -> &'static str {
    match row["figure"].as_str() {
        Some("requests_per_second") => "-",
        Some("failure_ratio") => "",
        _ => "+",
    }
}

fn told(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "–".to_owned(), |value| shown(Some(value), unit))
}

/// The colours of the verdicts.
fn class(finding: &str) -> &'static str {
    match finding {
        "regression" => "failed",
        "pass" => "passed",
        _ => "inconclusive",
    }
}

fn words(finding: &str) -> Words {
    match finding {
        "regression" => Words("✗ regression", "✗ 回归"),
        "refused" => Words("– refused", "– 拒绝对比"),
        "inconclusive" => Words("? inconclusive", "? 不确定"),
        "no_baseline" => Words("– no baseline", "– 无基线"),
        _ => Words("✓ within the limit", "✓ 在限值内"),
    }
}
