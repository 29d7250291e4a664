//! A data set's file as items: [`File::read`] understands every [`Layout`]. Must not know which items are asked, nor by
//! whom.
//!
//! 数据集文件：custom、ShareGPT、Alpaca、LongBench 布局。

use camino::Utf8Path;
use serde_json::Value;

use crate::{
    perf::{
        prompt::{BLOCK, Content},
        spec::Layout,
    },
    workload::sha256_hex,
};

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Its items, in its order.
    pub entries: Vec<Entry>,
    /// Items that ask nothing: conversations in which no person speaks first.
    pub left_out: usize,
    /// When each item was asked, in nanoseconds after the first; of a trace only.
    pub arrivals_ns: Vec<u64>,
}

/// An item of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it asks; nothing where it only says how long that is.
    pub content: Option<Content>,
    /// How many tokens it says that it has.
    pub input_tokens: Option<u64>,
    /// How many tokens it asks for.
    pub output_len: Option<u32>,
    /// The blocks of [`BLOCK`] tokens that its prompt consists of, the last one perhaps of fewer; of a trace that tells
    /// them only.
    pub blocks: Vec<u64>,
    /// What the same person goes on to say, where that is a conversation.
    pub later: Vec<String>,
}

impl Entry {
    /// What only says how long it is.
    pub fn of_length(tokens: Option<u64>) -> Self {
        Self { content: None, input_tokens: tokens, output_len: None, blocks: Vec::new(), later: Vec::new() }
    }

    /// How many turns it is.
    pub fn turns(&self) -> u32 {
        u32::try_from(self.later.len() + 1).unwrap_or(u32::MAX)
    }

    /// One of its turns, by itself.
    pub fn turn(&self, number: usize) -> Self {
        let later = number.checked_sub(1).and_then(|place| self.later.get(place));
        match later {
            Some(said) => Self {
                content: Some(Content::Text(said.clone())),
                output_len: self.output_len,
                ..Self::of_length(None)
            },
            None => Self {
                content: self.content.clone(),
                output_len: self.output_len,
                blocks: self.blocks.clone(),
                ..Self::of_length(self.input_tokens)
            },
        }
    }
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// In words: that it cannot be read, or which item is not as its layout says.
    pub fn read(path: &Utf8Path, layout: Layout) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
        let mut file = Self {
            sha256: sha256_hex(text.as_bytes()),
            entries: Vec::new(),
            left_out: 0,
            arrivals_ns: Vec::new(),
        };
        let mut moments = Vec::new();
        for (place, row) in rows(&text).map_err(|error| format!("`{path}`: {error}"))? {
            let entry = entry(&row, layout)
                .map_err(|error| format!("`{path}`, {place}: {error} (layout `{}`)", layout.name()))?;
            match entry {
                Some(entry) => file.entries.push(entry),
                None => file.left_out += 1,
            }
            if layout == Layout::Trace {
                moments.push(
                    moment(&row, moments.last().copied())
                        .map_err(|error| format!("`{path}`, {place}: {error}"))?,
                );
            }
        }
        let first = moments.first().copied().unwrap_or(0.0);
        file.arrivals_ns = moments.iter().map(|ms| ((ms - first) * 1e6) as u64).collect();
        if file.entries.is_empty() {
            return Err(format!("`{path}` holds no item of the layout `{}`", layout.name()));
        }
        Ok(file)
    }
}

/// An array, or a value a line; each with where it stands.
fn rows(text: &str) -> Result<Vec<(String, Value)>, String> {
    if text.trim_start().starts_with('[') {
        let all: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok((1..).zip(all).map(|(number, row)| (format!("item {number}"), row)).collect());
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let row = serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
            Ok((format!("line {number}"), row))
        })
        .collect()
}

/// What a row asks; nothing where it asks nothing.
fn entry(row: &Value, layout: Layout) -> Result<Option<Entry>, String> {
    let mut later = Vec::new();
    let content = match layout {
        Layout::Custom => Some(custom(row)?),
        Layout::Sharegpt => {
            let mut said = said(row)?.into_iter();
            let first = said.next().map(Content::Text);
            later.extend(said);
            first
        }
        Layout::Alpaca => Some(Content::Text(joined(text(row, "instruction")?, optional(row, "input")?))),
        Layout::Longbench => Some(Content::Text(joined(text(row, "context")?, optional(row, "input")?))),
        Layout::Trace if row.get("prompt").is_some() || row.get("messages").is_some() => Some(custom(row)?),
        Layout::Trace => return traced(row).map(Some),
        Layout::Random => return Err("random text is read from no file".to_owned()),
    };
    let input_tokens = amount(row, "input_tokens")?;
    let output_len = amount(row, "output_len")?.or(amount(row, "output_length")?);
    let output_len = output_len.map(length).transpose()?;
    Ok(content.map(|content| Entry {
        content: Some(content),
        output_len,
        later,
        ..Entry::of_length(input_tokens)
    }))
}

fn length(tokens: u64) -> Result<u32, String> {
    u32::try_from(tokens).map_err(|_| format!("{tokens} tokens are more than can be asked for"))
}

/// A row that says how long its prompt is, and not what it says.
fn traced(row: &Value) -> Result<Entry, String> {
    let needed =
        |key: &str| amount(row, key)?.ok_or_else(|| format!("expected `{key}`, or `prompt` or `messages`"));
    let input_tokens = needed("input_length")?;
    let output_len = length(needed("output_length")?)?;
    let blocks = blocks(row, input_tokens)?;
    Ok(Entry { output_len: Some(output_len), blocks, ..Entry::of_length(Some(input_tokens)) })
}

/// Which blocks a prompt of so many tokens consists of. Traces name all of them, or the whole ones alone.
fn blocks(row: &Value, input_tokens: u64) -> Result<Vec<u64>, String> {
    let Some(told) = row.get("hash_ids").filter(|told| !told.is_null()) else { return Ok(Vec::new()) };
    let ids = told.as_array().map(|ids| ids.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
    let ids = ids.flatten().ok_or_else(|| {
        format!("expected `hash_ids` to be an array of whole numbers from 0 on, found {}", excerpt(told))
    })?;
    let (whole, all) = (input_tokens / BLOCK, input_tokens.div_ceil(BLOCK));
    if (whole..=all).contains(&(ids.len() as u64)) {
        return Ok(ids);
    }
    Err(format!(
        "expected `hash_ids` to name {all} blocks of {BLOCK} tokens, which `input_length` {input_tokens} takes, found {}",
        ids.len()
    ))
}

fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    let kept: String = text.chars().take(80).collect();
    if kept.len() < text.len() { format!("{kept}…") } else { kept }
}

/// When a row was asked, in milliseconds; rows are in the order of time.
fn moment(row: &Value, before: Option<f64>) -> Result<f64, String> {
    let ms = row.get("timestamp").and_then(Value::as_f64).filter(|ms| ms.is_finite() && *ms >= 0.0);
    let ms = ms.ok_or("expected `timestamp`, milliseconds from 0 on (layout `trace`)")?;
    match before.filter(|before| *before > ms) {
        Some(before) => Err(format!("timestamp {ms} comes after {before}; sort the rows by time")),
        None => Ok(ms),
    }
}

fn custom(row: &Value) -> Result<Content, String> {
    match (row.get("prompt"), row.get("messages")) {
        (Some(Value::String(prompt)), None) => Ok(Content::Text(prompt.clone())),
        (None, Some(Value::Array(messages))) if !messages.is_empty() => {
            match messages.iter().find(|message| !message["role"].is_string()) {
                Some(_) => Err("expected a `role` in every message".to_owned()),
                None => Ok(Content::Messages(messages.clone())),
            }
        }
        (Some(_), Some(_)) => Err("expected one of `prompt` and `messages`, found both".to_owned()),
        _ => Err("expected `prompt`, a text, or `messages`, an array that is not empty".to_owned()),
    }
}

/// What the person says who speaks first, turn by turn; nothing where no person does.
fn said(row: &Value) -> Result<Vec<String>, String> {
    let turns = row.get("conversations").or_else(|| row.get("conversation")).and_then(Value::as_array);
    let turns = turns.ok_or("expected `conversations`, an array")?;
    let by_person = |turn: &Value| turn["from"] == "human" || turn["from"] == "user";
    let text = |turn: &Value| turn["value"].as_str().filter(|said| !said.is_empty()).map(str::to_owned);
    let first = turns.iter().find(|turn| turn["from"] != "system");
    if first.filter(|first| by_person(first)).and_then(text).is_none() {
        return Ok(Vec::new());
    }
    Ok(turns.iter().filter(|turn| by_person(turn)).filter_map(text).collect())
}

fn text<'a>(row: &'a Value, key: &str) -> Result<&'a str, String> {
    row.get(key).and_then(Value::as_str).ok_or_else(|| format!("expected `{key}`, a text"))
}

fn optional<'a>(row: &'a Value, key: &str) -> Result<&'a str, String> {
    match row.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| format!("expected `{key}` to be a text")),
    }
}

fn joined(first: &str, second: &str) -> String {
    if second.is_empty() { first.to_owned() } else { format!("{first}\n\n{second}") }
}

fn amount(row: &Value, key: &str) -> Result<Option<u64>, String> {
    match row.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|amount| *amount > 0) {
            Some(amount) => Ok(Some(amount)),
            None => Err(format!("expected `{key}` to be a whole number of at least 1, found {value}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(layout: Layout, text: &str) -> Result<File, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(folder.path().join("data")).unwrap();
        std::fs::write(&path, text).unwrap();
        File::read(&path, layout).map_err(|error| error.replace(path.as_str(), "data"))
    }

    fn asked(layout: Layout, text: &str) -> Vec<String> {
        read(layout, text)
            .unwrap()
            .entries
            .iter()
            .map(|entry| entry.content.as_ref().unwrap().text())
            .collect()
    }

    #[test]
    fn the_samples_of_every_layout_are_read() {
        let sample = |name: &str, layout| {
            let path =
                camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf/data").join(name);
            File::read(&path, layout).unwrap()
        };
        let custom = sample("custom.jsonl", Layout::Custom);
        assert_eq!(custom.entries.len(), 6);
        assert!(
            matches!(&custom.entries[5].content, Some(Content::Messages(messages)) if messages.len() == 2)
        );
        assert_eq!((custom.entries[0].output_len, custom.entries[1].output_len), (Some(12), None));
        let sharegpt = sample("sharegpt.json", Layout::Sharegpt);
        assert_eq!((sharegpt.entries.len(), sharegpt.left_out), (4, 1));
        assert_eq!(sharegpt.entries.iter().map(Entry::turns).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(sharegpt.entries[0].turn(1).content.unwrap().text(), "And for a whole week?");
        let alpaca = sample("alpaca.json", Layout::Alpaca);
        assert_eq!(
            alpaca.entries[1].content.as_ref().unwrap().text(),
            "Sort these by length.\n\nsea, mountain, hill"
        );
        let trace = sample("trace.jsonl", Layout::Trace);
        assert_eq!(trace.arrivals_ns, [0, 120_000_000, 120_000_000, 300_500_000, 420_000_000]);
        assert_eq!((trace.entries[0].input_tokens, trace.entries[0].output_len), (Some(64), Some(8)));
        assert!(trace.entries[0].content.is_none() && trace.entries[3].content.is_some());
        assert_eq!(
            (trace.entries[0].blocks.as_slice(), trace.entries[1].blocks.as_slice()),
            ([1].as_slice(), [].as_slice())
        );
        assert_eq!(custom.sha256.len(), 64);
    }

    #[test]
    fn an_array_and_lines_are_the_same() {
        let lines = "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\", \"more\": [1]}\n";
        assert_eq!(asked(Layout::Custom, lines), ["a", "b"]);
        assert_eq!(asked(Layout::Custom, r#"[{"prompt": "a"}, {"prompt": "b"}]"#), ["a", "b"]);
        assert_eq!(asked(Layout::Longbench, r#"{"context": "long", "input": "why?"}"#), ["long\n\nwhy?"]);
    }

    #[test]
    fn an_item_that_is_not_as_its_layout_says_is_named() {
        for (layout, text, told) in [
            (
                Layout::Custom,
                "{\"prompt\": \"a\"}\n{\"text\": 1}",
                "`data`, line 2: expected `prompt`, a text, or",
            ),
            (Layout::Custom, "{\"prompt\": \"a\"", "`data`: line 1: EOF while parsing"),
            (
                Layout::Custom,
                r#"{"prompt": "a", "output_len": 0}"#,
                "expected `output_len` to be a whole number",
            ),
            (Layout::Custom, r#"{"prompt": "a", "messages": []}"#, "expected one of `prompt` and `messages`"),
            (
                Layout::Sharegpt,
                "[{}]",
                "`data`, item 1: expected `conversations`, an array (layout `sharegpt`)",
            ),
            (Layout::Trace, r#"{"timestamp": 1, "input_length": 4}"#, "expected `output_length`"),
            (
                Layout::Trace,
                "{\"timestamp\": 1, \"input_length\": 513, \"output_length\": 1, \"hash_ids\": [7, 8]}\n\
                 {\"timestamp\": 1, \"input_length\": 512, \"output_length\": 1, \"hash_ids\": [7, 8]}",
                "`data`, line 2: expected `hash_ids` to name 1 blocks of 512 tokens, which `input_length` 512 takes, found 2",
            ),
            (
                Layout::Trace,
                r#"{"timestamp": 1, "input_length": 512, "output_length": 1, "hash_ids": [-1]}"#,
                "`data`, line 1: expected `hash_ids` to be an array of whole numbers from 0 on, found [-1]",
            ),
            (Layout::Trace, r#"{"prompt": "a"}"#, "expected `timestamp`, milliseconds from 0 on"),
            (
                Layout::Trace,
                "{\"prompt\": \"a\", \"timestamp\": 9}\n{\"prompt\": \"a\", \"timestamp\": 8}",
                "`data`, line 2: timestamp 8 comes after 9",
            ),
            (Layout::Alpaca, "[{}]", "expected `instruction`, a text"),
            (Layout::Alpaca, "[]", "`data` holds no item of the layout `alpaca`"),
        ] {
            let error = read(layout, text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = File::read(Utf8Path::new("no/such.jsonl"), Layout::Custom).unwrap_err();
        assert!(error.starts_with("cannot read `no/such.jsonl`"), "{error}");
    }
}
