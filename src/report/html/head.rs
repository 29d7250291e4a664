//! The top of the page: the verdict, who ran what, and how many trials ended how. Must not know any section.
//!
//! 页首：结论、运行信息与计数。

use maud::{Markup, html};
use st_harness::{
    journal::{RunRecord, Status},
    report::text,
};

use super::words::{Words, badge, status};

/// What the browser's tab says.
pub(super) fn title(run: &RunRecord) -> String {
    let word = run.status().word().replace('_', " ");
    format!("{word}: {} · {} · {}", run.started.scenario, run.started.run_type, run.started.tool.name)
}

/// Language and colours.
pub(super) fn bar() -> Markup {
    html! {
        div.bar {
            button #lang type="button" aria-label="中文 / English" { span lang="en" { "中文" } span lang="zh" { "English" } }
            button #theme type="button" { (Words("Light / dark", "明 / 暗")) }
        }
    }
}

/// The verdict and what it is of.
pub(super) fn body(run: &RunRecord) -> Markup {
    let started = &run.started;
    let verdict = run.status();
    html! {
        h1 class={ "verdict " (verdict.word()) } {
            (badge(verdict)) " " span.what { (started.scenario) " · " (started.run_type) }
        }
        @if let Some(ending) = ending(run) { p.warning role="status" { (ending) } }
        (counts(run))
        dl.facts {
            (fact(Words("Started", "开始"), html! { time datetime=(run.started_at) { (run.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")) } }))
            (fact(Words("Took", "用时"), html! { (text::duration(run.duration_ns)) }))
            @if let Some(git) = &started.git {
                (fact(Words("Commit", "提交"), html! {
                    code { (text::head(&git.commit, 12)) }
                    @if let Some(branch) = &git.branch { " " (Words("on", "于")) " " (branch) }
                    @if git.dirty { " " (Words("(changed)", "（有改动）")) }
                }))
            }
            (fact(Words("Run", "运行"), html! { code { (started.run_id) } }))
            (fact(Words("Client", "客户端"), html! {
                (started.tool.name) " " (started.tool.version) " "
                @if started.tool.optimised { (Words("(optimised)", "（已优化）")) }
                @else { (Words("(not optimised: its timings measure the client too)", "（未优化：时间包含客户端自身开销）")) }
            }))
            (fact(Words("Command", "命令"), html! { code { (started.argv.join(" ")) } }))
        }
    }
}

fn fact(name: Words, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// How a run that did not come to its end ended.
fn ending(run: &RunRecord) -> Option<Words> {
    match &run.finished {
        None => Some(Words(
            "The run was killed: it never wrote its end. What is here is all that had finished.",
            "运行被强制终止，未写入结尾；此处为已完成的全部结果。",
        )),
        Some(finished) if finished.interrupted => {
            Some(Words("The run was interrupted by a signal.", "运行被信号中断。"))
        }
        Some(_) => None,
    }
}

/// A tile for each status that occurs, and for all.
fn counts(run: &RunRecord) -> Markup {
    let counts = run.counts();
    let there = Status::WORST_FIRST.into_iter().filter(|status| counts.get(*status) > 0);
    html! {
        ul.counts {
            li { b { (counts.planned) } " " (Words("planned", "计划")) }
            @for one in there {
                li class=(one.word()) { a href="#trials" data-status=(one.word()) { b { (counts.get(one)) } " " (status(one)) } }
            }
        }
    }
}

/// Where it comes from.
pub(super) fn footer(run: &RunRecord) -> Markup {
    html! {
        p {
            (Words("Made from", "由")) " " code { "journal.jsonl" } " "
            (Words("by", "生成，工具")) " " (run.started.tool.name) " " (run.started.tool.version) "."
        }
    }
}
