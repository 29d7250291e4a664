//! What a red trial sent and what it got, whole as far as the page has room: [`Exchanges`] reads the saved exchanges,
//! which are masked already. Must not know what was expected of them.
//!
//! 失败用例的完整请求与响应。

use maud::{Markup, html};
use serde_json::Value;
use st_harness::{
    journal::TrialRecord,
    report::{Files, text},
};

use super::words::Words;

/// A longer request, and a longer answer, is cut here; the file has all.
const LONGEST: usize = 32 * 1024;
/// So much of a page may be exchanges; the later ones are in their files.
const ROOM: usize = 2 * 1024 * 1024;

/// The exchanges of a run, as far as there is room.
pub(super) struct Exchanges<'a> {
    files: &'a Files,
    room: usize,
}

impl<'a> Exchanges<'a> {
    /// Those in `files`.
    pub(super) fn in_files(files: &'a Files) -> Self {
        Self { files, room: ROOM }
    }

    /// Those of a trial, each folded away.
    pub(super) fn of(&mut self, trial: &TrialRecord) -> Markup {
        let saved = trial.artifacts().iter().filter(|artifact| artifact.role == "exchange");
        let shown: Vec<Markup> = saved
            .map(|artifact| match self.files.text(artifact) {
                Ok(text) => self.exchange(&text),
                Err(error) => html! { p.about { (error) } },
            })
            .collect();
        html! { @for one in shown { (one) } }
    }

    fn exchange(&mut self, saved: &str) -> Markup {
        let Ok(saved) = serde_json::from_str::<Value>(saved) else { return html! {} };
        let request = &saved["request"];
        let sent = format!(
            "{} {}\n{}\n{}",
            word(&request["method"]),
            word(&request["path"]),
            headers(&request["headers"]),
            body(&request["body"])
        );
        let attempts: Vec<(String, String)> =
            saved["attempts"].as_array().into_iter().flatten().map(attempt).collect();
        let parts = std::iter::once((String::new(), sent)).chain(attempts);
        let parts: Vec<(String, String)> = parts.map(|(head, text)| (head, shown(&text))).collect();
        let size: usize = parts.iter().map(|(_, text)| text.len()).sum();
        if size > self.room {
            self.room = 0;
            return html! { p.about { (Words("The page has no room for this exchange: see the file.", "页面容量已满，该次交互见文件。")) } };
        }
        self.room -= size;
        let [(_, sent), answers @ ..] = parts.as_slice() else { return html! {} };
        html! {
            details.exchange {
                summary { (Words("Request and response", "请求与响应")) ": " code { (word(&saved["leg"])) } }
                h4 { (Words("Request", "请求")) }
                pre tabindex="0" { (sent) }
                @for (head, answer) in answers {
                    h4 { (Words("Response", "响应")) " " (head) }
                    pre tabindex="0" { (answer) }
                }
            }
        }
    }
}

/// What came of an attempt: a head, and status, headers and every piece with the time at which it came.
fn attempt(attempt: &Value) -> (String, String) {
    let status = attempt["status"].as_u64().map_or("–".to_owned(), |status| status.to_string());
    let seconds = |value: &Value| value.as_f64().map(|s| format!("{s:.3} s")).unwrap_or_default();
    let mut text = format!("{status}\n{}\n", headers(&attempt["headers"]));
    let chunks: Vec<&Value> = attempt["chunks"].as_array().into_iter().flatten().collect();
    match chunks.as_slice() {
        [only] => text += &body(&only["text"]),
        several => {
            for chunk in several {
                text += &format!("[{}] {}\n", seconds(&chunk["t_s"]), word(&chunk["text"]).trim_end());
            }
        }
    }
    if let Some(fault) = attempt["fault"].as_str() {
        text += &format!("\n✗ {fault}");
    }
    (format!("{status}, {}", seconds(&attempt["ended_s"])), text)
}

fn headers(headers: &Value) -> String {
    let one = |pair: &Value| format!("{}: {}\n", word(&pair[0]), word(&pair[1]));
    headers.as_array().into_iter().flatten().map(one).collect()
}

/// A body on several lines where it is JSON.
fn body(body: &Value) -> String {
    let text = word(body);
    serde_json::from_str::<Value>(&text).map_or(text, |value| format!("{value:#}"))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn shown(said: &str) -> String {
    text::cut(&text::visible(said), LONGEST)
}
