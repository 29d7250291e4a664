//! What the page says itself, in both languages: [`Words`]. The text of cases, servers and machines is shown as it
//! is. Must not know any section.
//!
//! 页面自身文字的中英双语。

use maud::{Markup, Render, html};
use st_harness::{capability::State, journal::Status};

/// English and Chinese for the same thing; the page shows one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words(pub(super) &'static str, pub(super) &'static str);

impl Render for Words {
    fn render(&self) -> Markup {
        html! { span lang="en" { (self.0) } span lang="zh" { (self.1) } }
    }
}

/// A status in words.
pub(super) fn status(status: Status) -> Words {
    match status {
        Status::Passed => Words("passed", "通过"),
        Status::Failed => Words("failed", "失败"),
        Status::Errored => Words("errored", "错误"),
        Status::Invalid => Words("invalid", "无效"),
        Status::Inconclusive => Words("inconclusive", "不确定"),
        Status::Skipped => Words("skipped", "跳过"),
        Status::Blocked => Words("blocked", "受阻"),
        Status::Interrupted => Words("interrupted", "中断"),
        Status::NotRun => Words("not run", "未运行"),
    }
}

/// A status as a mark that does not depend on colour.
pub(super) fn badge(one: Status) -> Markup {
    let mark = match one {
        Status::Passed => "✓",
        Status::Failed | Status::Errored | Status::Invalid | Status::Interrupted => "✗",
        Status::Inconclusive => "?",
        Status::Skipped => "↷",
        Status::Blocked | Status::NotRun => "–",
    };
    html! {
        span class={ "badge " (one.word()) } { span aria-hidden="true" { (mark) } " " (status(one)) }
    }
}

/// A state of a capability in words.
pub(super) fn state(state: State) -> Words {
    match state {
        State::Supported => Words("supported", "支持"),
        State::Accepted => Words("accepted", "接受"),
        State::Ignored => Words("ignored", "忽略"),
        State::Rejected => Words("rejected", "拒绝"),
        State::Unsupported => Words("unsupported", "不支持"),
        State::Unknown => Words("unknown", "未知"),
    }
}
