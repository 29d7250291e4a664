//! Rows of a CSV, TSV or JSONL file by column, gzipped or not: [`Table`]. Must not know what a column means.
//!
//! 读取 CSV/TSV/JSONL（可 gzip），按列取值，错误带行号。

use std::{collections::BTreeMap, io::Read as _};

use camino::Utf8Path;
use serde_json::Value;
use st_harness::{
    diag::{Place, Problem},
    suggest,
};

use super::{DataFile, Supplied, wheel};
use crate::workload::sha256_hex;

/// The columns of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout<'a> {
    /// These must be there.
    pub needed: &'a [&'a str],
    /// These may be.
    pub optional: &'a [&'a str],
    /// The file has no header line: its columns are `needed`, in this order.
    pub headless: bool,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The line it begins on, from 1.
    pub line: u32,
    cells: BTreeMap<String, String>,
}

impl Record {
    /// The cell of a column; nothing where the file has no such column.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.cells.get(column).map(String::as_str)
    }

    /// The cell of a needed column.
    pub fn cell(&self, column: &str) -> &str {
        self.get(column).unwrap_or_default()
    }
}

/// A file that was read: at least one row, every needed cell there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// In the file's order.
    pub records: Vec<Record>,
    /// For the record.
    pub file: DataFile,
    shown: camino::Utf8PathBuf,
}

impl Table {
    /// Reads `place` as `layout` says; the format follows from the ending.
    ///
    /// # Errors
    /// Every mistake of the file, in its order.
    pub fn load(place: &Supplied, layout: Layout<'_>) -> Result<Self, Vec<Problem>> {
        let bytes = std::fs::read(&place.opened).map_err(|error| unreadable(&place.shown, error))?;
        Self::read(bytes, &place.shown, layout)
    }

    /// The same for the file `member` of the wheel (a zip archive) at `place`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_member(place: &Supplied, member: &str, layout: Layout<'_>) -> Result<Self, Vec<Problem>> {
        let archive = std::fs::read(&place.opened).map_err(|error| unreadable(&place.shown, error))?;
        let bytes = wheel::member(&archive, member).map_err(|error| unreadable(&place.shown, error))?;
        Self::read(bytes, &place.shown.join(member), layout)
    }

    fn read(bytes: Vec<u8>, shown: &Utf8Path, layout: Layout<'_>) -> Result<Self, Vec<Problem>> {
        let unreadable = |error: String| unreadable(shown, error);
        let sha256 = sha256_hex(&bytes);
        let (bytes, named) = match shown.as_str().strip_suffix(".gz") {
            Some(inner) => (inflate(&bytes).map_err(unreadable)?, Utf8Path::new(inner)),
            None => (bytes, shown),
        };
        let text = String::from_utf8(bytes)
            .map_err(|error| unreadable(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to())))?;
        let (records, mut problems) = match named.extension() {
            Some("jsonl") => json_lines(&text, layout, shown),
            Some("tsv") => delimited(&text, b'\t', layout, shown),
            Some("csv") => delimited(&text, b',', layout, shown),
            _ => (Vec::new(), vec![ending(shown)]),
        };
        if records.is_empty() && problems.is_empty() {
            problems.push(problem(shown, 1, "expected at least one row, found none".to_owned()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let file = DataFile { path: shown.to_string(), sha256, rows: records.len() };
        Ok(Self { records, file, shown: shown.to_owned() })
    }

    /// What is wrong with `record`.
    pub fn mistake(&self, record: &Record, message: impl Into<String>) -> Problem {
        problem(&self.shown, record.line, message.into())
    }

    /// Makes something of every row, or tells every row of which nothing can be made.
    ///
    /// # Errors
    /// The rows' mistakes, in order.
    pub fn each<T>(
        &self,
        make: impl Fn(usize, &Record) -> Result<T, String>,
    ) -> Result<Vec<T>, Vec<Problem>> {
        let (mut made, mut problems) = (Vec::with_capacity(self.records.len()), Vec::new());
        for (index, record) in self.records.iter().enumerate() {
            match make(index, record) {
                Ok(one) => made.push(one),
                Err(message) => problems.push(self.mistake(record, message)),
            }
        }
        if problems.is_empty() { Ok(made) } else { Err(problems) }
    }
}

fn unreadable(shown: &Utf8Path, error: impl std::fmt::Display) -> Vec<Problem> {
    vec![Problem::new(format!("cannot read {shown}: {error}"))]
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out);
    read.map(|_| out).map_err(|error| format!("it is no gzip file: {error}"))
}

fn ending(shown: &Utf8Path) -> Problem {
    let found = shown.file_name().unwrap_or_default();
    Problem::new(format!("expected a file that ends in .csv, .tsv or .jsonl, gzipped or not, found {found}"))
}

fn problem(shown: &Utf8Path, line: u32, message: String) -> Problem {
    Problem::new(message).at(Place { file: shown.to_owned(), line, column: 1, length: 1 })
}

type Read = (Vec<Record>, Vec<Problem>);

/// Comma: quoted cells may hold line breaks. Tab: nothing is quoted.
fn delimited(text: &str, delimiter: u8, layout: Layout<'_>, shown: &Utf8Path) -> Read {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter == b',')
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    let mut header: Option<Vec<String>> =
        layout.headless.then(|| layout.needed.iter().map(|name| (*name).to_owned()).collect());
    let mut row = csv::StringRecord::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    loop {
        match reader.read_record(&mut row) {
            Ok(false) => return (records, problems),
            Ok(true) => {}
            Err(error) => {
                let line = error.position().map_or(1, |at| lines.of(usize::try_from(at.byte()).unwrap_or(0)));
                problems.push(problem(shown, line, format!("the row cannot be read: {error}")));
                return (records, problems);
            }
        }
        let line = row.position().map_or(1, |at| lines.of(usize::try_from(at.byte()).unwrap_or(0)));
        let Some(names) = &header else {
            let names: Vec<String> = row.iter().map(str::to_owned).collect();
            problems.extend(missing_columns(&names, layout, shown));
            if !problems.is_empty() {
                return (records, problems);
            }
            header = Some(names);
            continue;
        };
        if row.len() != names.len() {
            let told = format!("expected {} columns as the header has, found {}", names.len(), row.len());
            problems.push(problem(shown, line, told));
            continue;
        }
        let wanted = |name: &&String| {
            layout.needed.contains(&name.as_str()) || layout.optional.contains(&name.as_str())
        };
        let pairs = names.iter().zip(row.iter());
        let cells =
            pairs.filter(|(name, _)| wanted(name)).map(|(name, cell)| (name.clone(), cell.to_owned()));
        records.push(Record { line, cells: cells.collect() });
    }
}

/// On which line a row begins. The reader takes the blank lines before a row for a part of it.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl Lines<'_> {
    /// The line of the row whose part of the text begins at `byte`; rows are asked for in their order.
    fn of(&mut self, byte: usize) -> u32 {
        let bytes = self.text.as_bytes();
        let blank = bytes.get(byte..).unwrap_or_default().iter().take_while(|b| matches!(b, b'\n' | b'\r'));
        let begin = (byte + blank.count()).min(bytes.len());
        let breaks = bytes[self.at.min(begin)..begin].iter().filter(|b| **b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        self.at = begin;
        self.line
    }
}

fn missing_columns(names: &[String], layout: Layout<'_>, shown: &Utf8Path) -> Option<Problem> {
    let missing: Vec<&str> =
        layout.needed.iter().filter(|needed| !names.iter().any(|name| name == *needed)).copied().collect();
    let first = missing.first()?;
    let near = suggest::near(first, names.iter().map(String::as_str));
    let list = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let told = match near.first() {
        Some(near) => format!("the header lacks {list}; found `{near}`"),
        None => format!("the header lacks {list}"),
    };
    Some(problem(shown, 1, told))
}

fn json_lines(text: &str, layout: Layout<'_>, shown: &Utf8Path) -> Read {
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for (line, row) in (1_u32..).zip(text.lines()) {
        if row.trim().is_empty() {
            continue;
        }
        match json_row(row, layout) {
            Ok(cells) => records.push(Record { line, cells }),
            Err(message) => problems.push(problem(shown, line, message)),
        }
    }
    (records, problems)
}

fn json_row(row: &str, layout: Layout<'_>) -> Result<BTreeMap<String, String>, String> {
    let value: Value = serde_json::from_str(row).map_err(|error| {
        let said = error.to_string();
        said.split(" at line ").next().unwrap_or(&said).to_owned()
    })?;
    let Value::Object(fields) = value else { return Err("expected a JSON object".to_owned()) };
    let mut cells = BTreeMap::new();
    for (name, is_needed) in
        layout.needed.iter().map(|name| (name, true)).chain(layout.optional.iter().map(|name| (name, false)))
    {
        match fields.get(*name) {
            Some(Value::String(text)) => _ = cells.insert((*name).to_owned(), text.clone()),
            Some(Value::Number(number)) => _ = cells.insert((*name).to_owned(), number.to_string()),
            Some(other) => return Err(format!("expected text in `{name}`, found {other}")),
            None if is_needed => return Err(format!("expected a field `{name}`, found none")),
            None => {}
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LAYOUT: Layout<'_> = Layout { needed: &["Question", "Answer"], optional: &["Id"], headless: false };

    fn read(name: &str, bytes: &[u8], layout: Layout<'_>) -> Result<Table, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let opened = Utf8Path::from_path(dir.path()).unwrap().join(name);
        std::fs::write(&opened, bytes).unwrap();
        let told = |problem: Problem| match problem.place {
            Some(place) => format!("{}:{}: {}", place.file, place.line, problem.message),
            None => problem.message,
        };
        let place = Supplied { opened, shown: name.into() };
        Table::load(&place, layout).map_err(|problems| problems.into_iter().map(told).collect())
    }

    fn cells(table: &Table) -> Vec<(u32, &str, &str)> {
        table.records.iter().map(|row| (row.line, row.cell("Question"), row.cell("Answer"))).collect()
    }

    #[test]
    fn quoted_cells_hold_line_breaks_and_keep_their_blanks() {
        let text = "Answer,Extra,Question\nA,x,\" two\nlines \"\nB,y,plain\n";
        let table = read("a.csv", text.as_bytes(), LAYOUT).unwrap();
        assert_eq!(cells(&table), [(2, " two\nlines ", "A"), (4, "plain", "B")]);
        assert_eq!(table.file.sha256, sha256_hex(text.as_bytes()));
        assert_eq!(table.records[0].get("Extra"), None, "what nobody asked for is not kept");
    }

    #[test]
    fn tabs_quote_nothing_and_a_file_may_have_no_header() {
        let layout = Layout { headless: true, ..LAYOUT };
        let table = read("a.tsv", b"say \"hi\"\t1\n\nnext\t2\n", layout).unwrap();
        assert_eq!(cells(&table), [(1, "say \"hi\"", "1"), (3, "next", "2")]);
    }

    #[test]
    fn lines_of_json_may_be_gzipped_and_the_hash_is_that_of_the_file() {
        let text = "{\"Question\": \"q\", \"Answer\": 7, \"Id\": \"x\"}\n";
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let table = read("a.jsonl.gz", &packed, LAYOUT).unwrap();
        assert_eq!(cells(&table), [(1, "q", "7")]);
        assert_eq!((table.records[0].get("Id"), table.file.sha256), (Some("x"), sha256_hex(&packed)));
        assert!(read("a.jsonl.gz", text.as_bytes(), LAYOUT).unwrap_err()[0].contains("it is no gzip file"));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        assert_eq!(
            read("a.csv", b"Qestion,Answer\n", LAYOUT).unwrap_err(),
            ["a.csv:1: the header lacks `Question`; found `Qestion`"]
        );
        assert_eq!(
            read("a.csv", b"Question,Answer\na\nb,c\nd,e,f\n", LAYOUT).unwrap_err(),
            [
                "a.csv:2: expected 2 columns as the header has, found 1",
                "a.csv:4: expected 2 columns as the header has, found 3",
            ]
        );
        assert_eq!(
            read("a.jsonl", b"{\n[]\n{\"Question\": null}\n{\"Question\": \"q\"}\n", LAYOUT).unwrap_err(),
            [
                "a.jsonl:1: EOF while parsing an object",
                "a.jsonl:2: expected a JSON object",
                "a.jsonl:3: expected text in `Question`, found null",
                "a.jsonl:4: expected a field `Answer`, found none",
            ]
        );
        assert_eq!(
            read("a.csv", b"Question,Answer\n", LAYOUT).unwrap_err(),
            ["a.csv:1: expected at least one row, found none"]
        );
        assert_eq!(read("a.csv", b"\xff", LAYOUT).unwrap_err(), ["cannot read a.csv: byte 0 is not UTF-8"]);
        assert!(read("a.txt", b"", LAYOUT).unwrap_err()[0].starts_with("expected a file that ends in .csv"));
    }
}
