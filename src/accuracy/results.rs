//! The files of a finished run: `{dataset}_{model}_{time}.json`, with simple-evals' keys and ours, and `.html` for
//! reading. Must not know how a score was judged.
//!
//! 结果文件：与 simple-evals 同名键的 JSON 与可读的 HTML（受限题目不出现）。

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use crate::accuracy::{evaluator::Question, row::Row};

/// How many answers the page shows; all of them are in `items.jsonl`.
const SHOWN: usize = 500;

/// `{dataset}_{model}_{time}`, in characters that every file system takes.
pub fn stem(dataset: &str, model: &str, time: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    format!("{dataset}_{}_{time}", model.chars().map(plain).collect::<String>())
}

/// simple-evals' figures first, by name; then everything else that there is to say of the run.
pub fn json(flat: &BTreeMap<String, f64>, details: &Value) -> String {
    let mut all: Map<String, Value> = flat.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    if let Value::Object(details) = details {
        all.extend(details.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    format!("{:#}\n", Value::Object(all))
}

/// The page: figures, then prompt, picture, answer, right answer and score of each question. `redact` leaves out all
/// text and pictures of the benchmark.
pub fn html(
    title: &str,
    flat: &BTreeMap<String, f64>,
    questions: &[Question],
    rows: &[Row],
    redact: bool,
) -> String {
    let by_name: HashMap<(&str, u32), &Question> =
        questions.iter().map(|one| ((one.id.as_str(), one.repeat), one)).collect();
    let figures: String = flat
        .iter()
        .map(|(name, value)| format!("<tr><td>{}</td><td>{value:.3}</td></tr>\n", escape(name)))
        .collect();
    let answers: String = rows
        .iter()
        .take(SHOWN)
        .map(|row| answer(row, by_name.get(&(row.id.as_str(), row.repeat)).copied().filter(|_| !redact)))
        .collect();
    let left_out = rows.len().saturating_sub(SHOWN);
    let more = if left_out > 0 { format!("<p>{left_out} more in items.jsonl.</p>\n") } else { String::new() };
    let gated =
        if redact { "<p>The benchmark is gated: prompts and answers are not shown.</p>\n" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style>\
         </head>\n<body><h1>{title}</h1>\n{gated}<table>\n{figures}</table>\n{answers}{more}</body></html>\n",
        title = escape(title)
    )
}

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}pre{white-space:\
                     pre-wrap;background:#8881;padding:.6em;border-radius:4px}td{padding:.1em 1em .1em 0}\
                     summary{cursor:pointer}";

fn answer(row: &Row, question: Option<&Question>) -> String {
    let scored = row.scored.as_ref();
    let extracted = scored.and_then(|scored| scored.extracted.as_deref()).unwrap_or("none");
    let score = scored.map_or_else(|| "none".to_owned(), |scored| format!("{:.3}", scored.score));
    let status = row.status.map_or("not asked", |status| status.word());
    let pre = |label: &str, text: Option<&str>| {
        text.map(|text| format!("<h4>{label}</h4><pre>{}</pre>\n", escape(text))).unwrap_or_default()
    };
    let picture = question.and_then(|question| question.picture.as_deref());
    let picture = picture.map(|url| format!("<p><img src=\"{}\" alt=\"\"></p>\n", escape(url)));
    format!(
        "<details><summary>{} #{}: {status}, score {score}</summary>\n{}{}{}<p>Correct answer: {}<br>Extracted answer: \
         {}</p></details>\n",
        escape(&row.id),
        row.repeat,
        pre("Prompt", question.map(|question| question.prompt.as_str())),
        picture.unwrap_or_default(),
        pre("Answer", row.text.as_deref().or(row.failure.as_deref())),
        escape(&row.key.gold()),
        escape(extracted),
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::row::tests::answered;

    fn flat() -> BTreeMap<String, f64> {
        BTreeMap::from([("score".to_owned(), 0.5), ("score:std".to_owned(), 0.5)])
    }

    #[test]
    fn a_file_name_holds_no_slash_of_a_models_name() {
        assert_eq!(
            stem("gpqa", "org/Model-1.5:x", "20260102_030405"),
            "gpqa_org_Model-1.5_x_20260102_030405"
        );
    }

    #[test]
    fn upstreams_keys_stand_first_and_ours_behind() {
        let text = json(&flat(), &json!({"accuracy": {"ok": true}}));
        assert_eq!(
            text,
            "{\n  \"score\": 0.5,\n  \"score:std\": 0.5,\n  \"accuracy\": {\n    \"ok\": true\n  }\n}\n"
        );
    }

    #[test]
    fn the_page_escapes_what_a_model_says() {
        let row = answered("a", "<script>'&\"</script> Answer: B");
        let question = Question {
            id: "a".to_owned(),
            repeat: 0,
            stem: "a".to_owned(),
            sections: Vec::new(),
            prompt: "1 < 2?".to_owned(),
            picture: None,
            key: row.key.clone(),
        };
        let page = html("t & t", &flat(), std::slice::from_ref(&question), std::slice::from_ref(&row), false);
        assert!(
            page.contains("&lt;script&gt;&#39;&amp;&#34;&lt;/script&gt; Answer: B")
                && page.contains("1 &lt; 2?")
        );
        assert!(!page.contains("<script") && page.contains("<h1>t &amp; t</h1>"));
        let hidden = Row { text: None, ..row };
        let page = html("t", &flat(), &[question], &[hidden], true);
        assert!(
            !page.contains("1 &lt; 2?") && page.contains("is gated") && page.contains("Correct answer: B")
        );
    }
}
