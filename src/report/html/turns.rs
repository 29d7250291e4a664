//! The figures of conversations turn by turn, below a performance trial. Must not compute a figure.
//!
//! 对话按轮次的指标表。

use maud::{Markup, html};
use st_harness::journal::TrialRecord;

use super::words::Words;
use crate::report::turns;

/// How the columns of [`turns::COLUMNS`] are called.
const HEADS: [Words; turns::COLUMNS.len()] = [
    Words("turn", "轮次"),
    Words("ok", "成功"),
    Words("failed", "失败"),
    Words("not sent", "未发送"),
    Words("prompt tokens", "输入 token"),
    Words("of them cached", "其中命中缓存"),
    Words("TTFT p50", "TTFT p50"),
    Words("TTFT p99", "TTFT p99"),
    Words("TPOT p50", "TPOT p50"),
    Words("E2E p50", "E2E p50"),
];

/// The table of a trial; nothing where its requests stood alone.
pub(super) fn body(trial: &TrialRecord) -> Option<Markup> {
    let rows = turns::rows(&trial.finished()?.details.as_ref()?.value);
    (!rows.is_empty()).then(|| {
        html! {
            div.wide tabindex="0" role="region" aria-label="turns" {
                table {
                    caption { (Words("Conversations by turn", "按轮次统计")) ": " code { (trial.id()) } }
                    thead { tr { @for head in HEADS { th.number scope="col" { (head) } } } }
                    tbody { @for row in &rows { tr { @for cell in row { td.number { (cell) } } } } }
                }
            }
        }
    })
}
