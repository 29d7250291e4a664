//! Accuracy: each score with its interval and its bar, drawn and in a table. Must not compute a score.
//!
//! 精度：得分、置信区间与门槛。

use maud::{Markup, html};
use st_harness::journal::{RunRecord, TrialRecord};

use super::{
    chart::{px, value},
    perf::detail,
    words::{Words, badge},
};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 22.0;

/// The table of scores; nothing where no accuracy trial has one.
pub(super) fn body(run: &RunRecord) -> Option<Markup> {
    let scored: Vec<Scored<'_>> = run.trials.iter().filter_map(Scored::of).collect();
    (!scored.is_empty()).then(|| {
        html! {
            div.wide tabindex="0" role="region" aria-label="accuracy" {
                table {
                    caption {
                        (Words("The line is the 95 % interval, the tick the lowest accepted score.",
                            "横线为 95 % 置信区间，竖线为最低可接受得分。"))
                    }
                    thead { tr {
                        th scope="col" { (Words("trial", "用例")) } th scope="col" { (Words("ended", "结果")) }
                        th.number scope="col" { (Words("score", "得分")) }
                        th.number scope="col" { (Words("interval", "区间")) }
                        th.number scope="col" { "n" }
                        th.number scope="col" { (Words("truncated", "截断")) }
                        th scope="col" { "0 – 1" }
                    } }
                    tbody { @for one in &scored { (one.row()) } }
                }
            }
        }
    })
}

struct Scored<'a> {
    trial: &'a TrialRecord,
    score: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    n: u64,
}

impl<'a> Scored<'a> {
    fn of(trial: &'a TrialRecord) -> Option<Self> {
        let figure = |name: &str, stat: &str| {
            trial.measurements().iter().find(|one| one.name == name && one.stat == stat)
        };
        let score = figure("score", "value").filter(|_| trial.planned.kind == "accuracy")?;
        Some(Self {
            trial,
            score: score.value,
            // Journals of before said by which method the bounds were had.
            low: figure("score", "low").or(figure("score", "low")).and_then(|one| one.value),
            high: figure("score", "high").or(figure("score", "high")).and_then(|one| one.value),
            n: score.n,
        })
    }

    fn row(&self) -> Markup {
        let truncated = self.trial.measurements().iter().find(|one| one.name == "truncated_ratio");
        html! {
            tr {
                th scope="row" { code { (self.trial.id()) } }
                td { (badge(self.trial.status())) }
                td.number { (value(self.score, 1.0)) }
                td.number { (value(self.low, 1.0)) " – " (value(self.high, 1.0)) }
                td.number { (self.n) }
                td.number { (value(truncated.and_then(|one| one.value), 1.0)) }
                td { (self.drawing()) }
            }
        }
    }

    /// Decoration: the numbers stand beside it.
    fn drawing(&self) -> Markup {
        let x = |share: f64| px(4.0 + (WIDTH - 8.0) * share);
        let bar = detail(self.trial, "/gate/min_score").filter(|bar| *bar > 0.0);
        html! {
            svg.score viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) aria-hidden="true" {
                line.grid x1=(x(0.0)) x2=(x(1.0)) y1=(HEIGHT / 2.0) y2=(HEIGHT / 2.0) {}
                @if let (Some(low), Some(high)) = (self.low, self.high) {
                    line.interval x1=(x(low)) x2=(x(high)) y1=(HEIGHT / 2.0) y2=(HEIGHT / 2.0) {}
                }
                @if let Some(score) = self.score { circle.point cx=(x(score)) cy=(HEIGHT / 2.0) r="5" {} }
                @if let Some(bar) = bar { line.bar x1=(x(bar)) x2=(x(bar)) y1="2" y2=(HEIGHT - 2.0) {} }
            }
        }
    }
}
