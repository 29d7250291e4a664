//! Gates over the run: how each was decided, why, and on which numbers. Must not decide anything.
//!
//! 门禁判定及其依据的数字。

use maud::{Markup, html};
use serde_json::Value;
use st_harness::{
    journal::{Event, RunRecord, Status},
    report::text,
};

use super::{
    baseline, wide,
    words::{Words, badge},
};

/// The table of gates; nothing where no gate was set.
pub(super) fn body(run: &RunRecord) -> Option<Markup> {
    let rows = run.gates.iter().filter_map(|event| match event {
        Event::GateDecided { gate, trial_id, verdict, reasons, numbers } => Some(html! {
            tr {
                th scope="row" {
                    code { (gate) }
                    @if let Some(id) = trial_id { " " code { (id) } }
                }
                td { (badge(Status::from(*verdict))) }
                td {
                    @for reason in reasons { p { (text::visible(&reason.summary)) } }
                    @match trial_id {
                        // They stand beside the trial's charts.
                        Some(id) if numbers["schema"] == baseline::SCHEMA => {
                            a href={ "#" (baseline::anchor(id.as_str())) } { (Words("its numbers", "判定数字")) }
                        },
                        _ => (self::numbers(numbers)),
                    }
                }
            }
        }),
        _ => None,
    });
    let rows: Vec<Markup> = rows.collect();
    (!rows.is_empty()).then(|| {
        wide("gates", html! {
            table {
                thead { tr {
                    th scope="col" { (Words("gate", "门禁")) } th scope="col" { (Words("decided", "判定")) }
                    th scope="col" { (Words("why, and on which numbers", "原因与数字")) }
                } }
                tbody { @for row in rows { (row) } }
            }
        })
    })
}

/// `name value` pairs, however deep they lie.
pub(super) fn numbers(numbers: &Value) -> Markup {
    match numbers {
        Value::Null => html! {},
        Value::Object(map) => html! {
            dl.numbers { @for (name, value) in map { div { dt { (name) } dd { (self::numbers(value)) } } } }
        },
        Value::Array(all) => {
            html! { @for (at, one) in all.iter().enumerate() { @if at > 0 { ", " } (self::numbers(one)) } }
        }
        plain => html! { (text::plain(plain)) },
    }
}
