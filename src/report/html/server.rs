//! What is known of the server and of the machine that measured: requested beside effective, capabilities with
//! their evidence, notes. Must not judge any of it.
//!
//! 服务器：请求与实际配置、能力及证据、环境与备注。

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::{Map, Value};
use st_harness::{journal::RunRecord, report::text, verdict::Note};

use super::{
    gates::numbers,
    wide,
    words::{Words, state},
};

/// What was asked for beside what the server says of itself, then the machine that measured.
pub(super) fn effective(run: &RunRecord) -> Option<Markup> {
    let requested = fields(Some(&run.started.requested));
    let effective = fields(run.effective.as_ref());
    let names: BTreeSet<&String> = requested.keys().chain(effective.keys()).collect();
    let told = |value: Option<&Value>| html! { @match value { Some(value) => (numbers(value)), None => "" } };
    Some(html! {
        @if run.effective.is_none() {
            p.warning { (Words("The server never became ready.", "服务器未就绪。")) }
        }
        (wide("configuration", html! { table {
            caption { (Words("Asked for, and what the server says", "请求的配置与服务器的说明")) }
            thead { tr {
                th scope="col" { (Words("what", "项目")) } th scope="col" { (Words("requested", "请求")) }
                th scope="col" { (Words("effective", "实际")) }
            } }
            tbody {
                @for name in names {
                    tr {
                        th scope="row" { code { (name) } }
                        td { (told(requested.get(name))) }
                        td { (told(effective.get(name))) }
                    }
                }
            }
        } }))
        details {
            summary { (Words("The machine that measured", "测量所用的机器")) }
            (numbers(&Value::Object(run.started.environment.observed.clone().into_iter().collect())))
        }
    })
}

fn fields(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map.iter().filter(|(_, value)| !value.is_null()).map(own).collect(),
        _ => Map::new(),
    }
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// The table of capabilities; nothing where nobody asked.
pub(super) fn capabilities(run: &RunRecord) -> Option<Markup> {
    let all = &run.capabilities.0;
    (!all.is_empty()).then(|| {
        wide("capabilities", html! {
            table {
                thead { tr {
                    th scope="col" { (Words("capability", "能力")) } th scope="col" { (Words("state", "状态")) }
                    th scope="col" { (Words("by", "来源")) } th scope="col" { (Words("evidence", "证据")) }
                } }
                tbody {
                    @for (id, finding) in all {
                        tr {
                            th scope="row" { code { (id) } }
                            td { span class={ "state " (finding.state) } { (state(finding.state)) } }
                            td { (finding.source) }
                            td.evidence { (text::visible(&finding.evidence)) }
                        }
                    }
                }
            }
        })
    })
}

/// What was told of the run, and of trials beside their verdict.
pub(super) fn notes(run: &RunRecord) -> Option<Markup> {
    let of_trials =
        run.trials.iter().flat_map(|trial| trial.notes.iter().map(|note| (Some(trial.id()), note)));
    let all: Vec<_> = run.notes.iter().map(|note| (None, note)).chain(of_trials).collect();
    (!all.is_empty()).then(|| {
        wide(
            "notes",
            html! {
                table {
                    thead { tr {
                        th scope="col" { (Words("kind", "类别")) } th scope="col" { (Words("trial", "用例")) }
                        th scope="col" { (Words("note", "内容")) }
                    } }
                    tbody {
                        @for (trial, Note { kind, text }) in all {
                            tr {
                                td { code { (kind) } }
                                td.id { @if let Some(trial) = trial { (trial) } }
                                td { (text::visible(text)) }
                            }
                        }
                    }
                }
            },
        )
    })
}
