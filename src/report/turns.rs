//! The figures of conversations turn by turn, as a table: [`rows`] of what a trial's record tells, [`told`] as text. Must
//! not compute a figure.
//!
//! 对话按轮次的表格。

use serde_json::Value;
use st_harness::{
    report::text,
    terminal::{self, Ink, paint},
};

/// Two lines of heads.
pub(crate) const COLUMNS: [(&str, &str); 10] = [
    ("", "turn"),
    ("", "ok"),
    ("", "failed"),
    ("not", "sent"),
    ("prompt", "tokens"),
    ("of them", "cached"),
    ("TTFT", "p50"),
    ("TTFT", "p99"),
    ("TPOT", "p50"),
    ("E2E", "p50"),
];

pub(crate) type Row = [String; COLUMNS.len()];

/// A row a turn; none where requests stood alone. `details` is the suite's own record of a trial.
pub(crate) fn rows(details: &Value) -> Vec<Row> {
    let turns = details.pointer("/conversations/turns").and_then(Value::as_array);
    turns.into_iter().flatten().map(row).collect()
}

fn row(turn: &Value) -> Row {
    let outcomes = turn["outcomes"].as_object();
    let count = |wanted: fn(&str) -> bool| {
        let of = outcomes.into_iter().flatten().filter(|(name, _)| wanted(name));
        of.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
    };
    let sent = count(|_| true);
    let asked = turn["asked"].as_u64().unwrap_or(sent);
    let figure = |name: &str, stat: &str| {
        let figures = turn["figures"].as_array();
        let of =
            figures.into_iter().flatten().find(|figure| figure["name"] == name && figure["stat"] == stat);
        of.and_then(|figure| figure["value"].as_f64())
    };
    let time = |name: &str, stat: &str| {
        figure(name, stat).map_or_else(none, |seconds| text::duration((seconds * 1e9) as u64))
    };
    let prompt = figure("prompt_tokens", "mean");
    let cached = figure("cached_tokens", "mean").zip(prompt.filter(|tokens| *tokens > 0.0));
    [
        turn["turn"].to_string(),
        count(|name| name == "ok").to_string(),
        count(|name| !matches!(name, "ok" | "cancelled")).to_string(),
        asked.saturating_sub(sent).to_string(),
        prompt.map_or_else(none, |tokens| format!("{tokens:.0}")),
        cached.map_or_else(none, |(cached, prompt)| format!("{:.0} %", 100.0 * cached / prompt)),
        time("ttft", "p50"),
        time("ttft", "p99"),
        time("tpot", "p50"),
        time("e2e", "p50"),
    ]
}

fn none() -> String {
    "-".to_owned()
}

/// The table of one trial, within 80 columns; nothing where requests stood alone.
pub(crate) fn told(trial: &str, details: &Value) -> Option<String> {
    let rows = rows(details);
    if rows.is_empty() {
        return None;
    }
    let heads = [COLUMNS.map(|(over, _)| over.to_owned()), COLUMNS.map(|(_, under)| under.to_owned())];
    let wide =
        |column: usize| heads.iter().chain(&rows).map(|row| terminal::width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(wide).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| terminal::indented(cell, *width));
        cells.collect::<Vec<_>>().join("  ")
    };
    let title = std::iter::once(paint(Ink::Strong, &format!("{trial}, by turn")));
    let heads = heads.iter().map(|head| paint(Ink::Strong, &line(head)));
    Some(title.chain(heads).chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details() -> Value {
        let figure = |name: &str, stat: &str, value: f64| json!({"name": name, "stat": stat, "value": value});
        json!({"conversations": {"turns": [
            {"turn": 0, "asked": 3, "unsent": 0, "outcomes": {"ok": 2, "status": 1}, "figures": [
                figure("ttft", "p50", 0.05), figure("prompt_tokens", "mean", 64.0),
                figure("cached_tokens", "mean", 16.0), figure("e2e", "p50", 1.5)]},
            {"turn": 1, "asked": 3, "unsent": 1, "outcomes": {"cancelled": 1}, "figures": []},
        ]}})
    }

    #[test]
    fn a_turn_is_a_row_and_what_is_not_known_is_no_zero() {
        let found = rows(&details());
        assert_eq!(found[0].join("|"), "0|2|1|0|64|25 %|50.0 ms|-|-|1.50 s");
        assert_eq!(found[1].join("|"), "1|0|0|2|-|-|-|-|-|-");
        assert_eq!(rows(&json!({"conversations": null})), Vec::<Row>::new());
    }

    #[test]
    fn the_table_stays_within_80_columns() {
        let table = text::visible(&told("perf::pr::chat", &details()).unwrap());
        assert!(table.starts_with("perf::pr::chat, by turn\n"), "{table}");
        assert!(table.lines().skip(1).all(|line| terminal::width(line) <= 80), "{table}");
        assert_eq!(told("a", &json!({})), None);
    }
}
