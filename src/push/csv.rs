//! The summary that acs-bench writes, and `prof` here: [`SummaryCsv`], one measured row a line, −1 for what is
//! missing. Must not know where the figures go.
//!
//! 读取 acs-bench 汇总 CSV；−1 表示缺失。

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::report::{
    Exposition,
    prom::{
        families::{Families, Labels},
        names::{self, Figures, RATES, Rate, SPREADS, Spread},
    },
};

/// What is wrong with a summary, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", place(*.row, .column.as_deref()))]
pub struct CsvError {
    /// The file.
    pub file: Utf8PathBuf,
    /// The row as an editor counts lines, the header being 1; nothing where none is to blame.
    pub row: Option<u64>,
    /// The column's name.
    pub column: Option<String>,
    /// What was expected, what was found, what to do.
    pub message: String,
}

fn place(row: Option<u64>, column: Option<&str>) -> String {
    let row = row.map(|row| format!(", row {row}")).unwrap_or_default();
    let column = column.map(|column| format!(", column `{column}`")).unwrap_or_default();
    row + &column
}

/// A summary that was read and holds together.
#[derive(Debug, Clone)]
pub struct SummaryCsv {
    file: Utf8PathBuf,
    rows: Vec<Row>,
}

/// One measured row.
#[derive(Debug, Clone)]
struct Row {
    line: u64,
    numbers: BTreeMap<String, f64>,
    labels: Labels,
}

/// Columns that become labels: the column, the label, whether it is a number.
const LABELS: [(&str, &str, bool); 6] = [
    ("Input_Length", "input_len", true),
    ("Output_Length", "output_len", true),
    ("Concurrency", "concurrency", true),
    ("Backend", "backend", false),
    ("Control_Method", "control_method", false),
    ("Growth_Rate", "growth_rate", true),
];

/// Without these a row cannot be told from another.
const NEEDED: [&str; 3] = ["Input_Length", "Output_Length", "Concurrency"];

impl SummaryCsv {
    /// Reads `file`.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with row and column.
    pub fn read(file: &Utf8Path) -> Result<Self, CsvError> {
        let text =
            std::fs::read_to_string(file).map_err(|error| wrong(file, None, None, error.to_string()))?;
        Self::parse(file, &text)
    }

    fn parse(file: &Utf8Path, text: &str) -> Result<Self, CsvError> {
        let text = text.trim_start_matches('\u{feff}');
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| wrong(file, Some(1), None, error.to_string()))?.clone();
        check_header(file, &header)?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(file, None, None, error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(read_row(file, line, &header, &record)?);
        }
        if rows.is_empty() {
            return Err(wrong(file, None, None, "there is a header and no row: nothing was measured"));
        }
        Ok(Self { file: file.to_owned(), rows })
    }

    /// The figures of all rows, each under its own labels and `labels`.
    ///
    /// # Errors
    /// When two rows have the same labels, when a label says what a column says differently, or when `prefix` cannot
    /// begin a name.
    pub fn exposition(&self, labels: &Labels, prefix: &str, at: Timestamp) -> Result<Exposition, CsvError> {
        let of_file = |message: String| wrong(&self.file, None, None, message);
        let mut families = Families::new(prefix).map_err(of_file)?;
        let mut told: BTreeMap<Labels, u64> = BTreeMap::new();
        for row in &self.rows {
            let mut all = labels.clone();
            for (name, value) in &row.labels {
                match labels.get(name) {
                    Some(given) if given != value => {
                        let message = format!("the row says {name}={value}, and --label says {name}={given}");
                        return Err(wrong(&self.file, Some(row.line), None, message));
                    }
                    _ => _ = all.insert(name.clone(), value.clone()),
                }
            }
            if let Some(earlier) = told.insert(all.clone(), row.line) {
                let message = format!(
                    "its labels are those of row {earlier}, and one series has one value: push the rows from files of \
                     their own, each with another scenario"
                );
                return Err(wrong(&self.file, Some(row.line), None, message));
            }
            names::perf(&mut families, &all, row);
        }
        Exposition::of_families(&families, at).map_err(of_file)
    }
}

impl Figures for Row {
    fn spread(&self, of: &Spread, stat: &str) -> Option<f64> {
        let which = match stat {
            "p75" => "TP75",
            "p90" => "TP90",
            "p95" => "TP95",
            "p99" => "TP99",
            "mean" => "AVG",
            "max" => "MAX",
            "min" => "MIN",
            _ => return None,
        };
        let column = of.column?;
        let value = self.number(&format!("{which}_{column}"))?;
        Some(if column.ends_with("(ms)") { value / 1000.0 } else { value })
    }

    /// A summary tells how many requests there were and how many of them failed, and nothing of the number of other
    /// samples.
    fn total(&self, of: &Spread) -> Option<(f64, u64)> {
        if !of.per_request {
            return None;
        }
        let good = self.number("Num_Prompts")? * (1.0 - self.number("Fail_Rate")?);
        let good = good.round();
        (good >= 1.0).then_some(())?;
        Some((self.spread(of, "mean")? * good, good as u64))
    }

    fn rate(&self, of: &Rate) -> Option<f64> {
        self.number(of.column)
    }
}

impl Row {
    fn number(&self, column: &str) -> Option<f64> {
        self.numbers.get(column).copied()
    }
}

/// Every column whose cells are numbers that are used.
fn is_number(column: &str) -> bool {
    let of_spread = |spread: &Spread| {
        column.split_once('_').is_some_and(|(which, rest)| {
            spread.column == Some(rest) && (matches!(which, "AVG" | "MAX" | "MIN") || which.starts_with("TP"))
        })
    };
    SPREADS.iter().any(of_spread)
        || RATES.iter().any(|rate| rate.column == column)
        || LABELS.iter().any(|(name, _, number)| *number && *name == column)
        || column == "Num_Prompts"
}

fn check_header(file: &Utf8Path, header: &csv::StringRecord) -> Result<(), CsvError> {
    let at = |column: &str, message: String| wrong(file, Some(1), Some(column), message);
    if let Some(missing) = NEEDED.iter().find(|needed| !header.iter().any(|column| column == **needed)) {
        return Err(at(missing, "is missing: expected the header of an acs-bench summary".to_owned()));
    }
    if !header.iter().any(|column| is_number(column) && !LABELS.iter().any(|(name, ..)| *name == column)) {
        return Err(wrong(
            file,
            Some(1),
            None,
            "no column holds a figure: expected the header of an acs-bench summary, such as `TP99_TTFT(s)` or `QPS`",
        ));
    }
    let mut seen = BTreeSet::new();
    match header.iter().find(|column| !seen.insert(*column)) {
        Some(twice) => Err(at(twice, "stands there twice".to_owned())),
        None => Ok(()),
    }
}

fn read_row(
    file: &Utf8Path,
    line: u64,
    header: &csv::StringRecord,
    record: &csv::StringRecord,
) -> Result<Row, CsvError> {
    if record.len() != header.len() {
        let message = format!("expected {} cells, as in the header, found {}", header.len(), record.len());
        return Err(wrong(file, Some(line), None, message));
    }
    let mut row = Row { line, numbers: BTreeMap::new(), labels: Labels::new() };
    for (column, cell) in header.iter().zip(record) {
        if is_number(column) {
            let number = number(cell).map_err(|message| wrong(file, Some(line), Some(column), message))?;
            row.numbers.extend(number.map(|number| (column.to_owned(), number)));
        }
        if let Some((_, label, is_number)) = LABELS.iter().find(|(name, ..)| *name == column) {
            let text = if *is_number { row.number(column).map(|n| n.to_string()) } else { said(cell) };
            row.labels.extend(text.map(|text| ((*label).to_owned(), text)));
        }
    }
    if let Some(ratio) = row.number("Fail_Rate").filter(|ratio| *ratio > 1.0) {
        let message = format!("expected a share from 0 to 1, found {ratio}");
        return Err(wrong(file, Some(line), Some("Fail_Rate"), message));
    }
    Ok(row)
}

/// −1, and a cell with nothing in it, is a figure that there is not.
fn number(cell: &str) -> Result<Option<f64>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    match cell.parse::<f64>() {
        Ok(-1.0) => Ok(None),
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
        _ => Err(format!("expected a number that is not negative, or -1 for a missing one, found `{cell}`")),
    }
}

/// A word, where there is one.
fn said(cell: &str) -> Option<String> {
    (!matches!(cell, "" | "-1" | "-1.0")).then(|| cell.to_owned())
}

fn wrong(file: &Utf8Path, row: Option<u64>, column: Option<&str>, message: impl Into<String>) -> CsvError {
    CsvError { file: file.to_owned(), row, column: column.map(str::to_owned), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SummaryCsv, String> {
        SummaryCsv::parse("s.csv".into(), text).map_err(|error| error.to_string())
    }

    fn text(csv: &str, labels: &[(&str, &str)]) -> Result<String, String> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let told = parse(csv)?.exposition(&labels, "", Timestamp::UNIX_EPOCH);
        told.map(|told| told.text).map_err(|error| error.to_string())
    }

    const HEAD: &str = "Input_Length,Output_Length,Concurrency,TP99_TTFT(s),AVG_TTFT(s),TP90_SERVER_TTFT(ms),QPS,\
                        Fail_Rate,Backend,Num_Prompts,Provider";

    #[test]
    fn a_row_becomes_series_in_seconds_and_what_is_missing_is_not_told() {
        let told =
            text(&format!("{HEAD}\n128,64,2,0.5,0.25,30,-1,0.25,openai-chat,32,x\n"), &[("model", "m")])
                .unwrap();
        let labels = r#"backend="openai-chat",concurrency="2",input_len="128",model="m",output_len="64""#;
        for line in [
            format!("ttft_seconds{{{labels},quantile=\"0.99\"}} 0.5"),
            format!("ttft_seconds_sum{{{labels}}} 6"),
            format!("ttft_seconds_count{{{labels}}} 24"),
            format!("ttft_avg_seconds{{{labels}}} 0.25"),
            format!("server_ttft_seconds{{{labels},quantile=\"0.9\"}} 0.03"),
            format!("failure_ratio{{{labels}}} 0.25"),
            format!("high_failure_ratio{{{labels}}} 1"),
        ] {
            assert!(told.lines().any(|found| found == line), "no {line} in\n{told}");
        }
        for absent in ["requests_per_second", "server_ttft_seconds_count", "provider", "ttft_max"] {
            assert!(!told.contains(absent), "{absent} in\n{told}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_row_and_column() {
        for (csv, said) in [
            ("", "s.csv, row 1, column `Input_Length`: is missing"),
            ("Input_Length,Output_Length\n", "s.csv, row 1, column `Concurrency`: is missing"),
            ("Input_Length,Output_Length,Concurrency,X\n1,1,1,1\n", "s.csv, row 1: no column holds a figure"),
            (
                "Input_Length,Output_Length,Concurrency,QPS,QPS\n",
                "s.csv, row 1, column `QPS`: stands there twice",
            ),
            ("Input_Length,Output_Length,Concurrency,QPS\n", "s.csv: there is a header and no row"),
            (
                "Input_Length,Output_Length,Concurrency,QPS\n1,1,1,1\n1,1,2,fast\n",
                "s.csv, row 3, column `QPS`: expected a number",
            ),
            ("Input_Length,Output_Length,Concurrency,QPS\n1,1,1,-2\n", "s.csv, row 2, column `QPS`"),
            ("Input_Length,Output_Length,Concurrency,QPS\n1,1,1,nan\n", "s.csv, row 2, column `QPS`"),
            ("Input_Length,Output_Length,Concurrency,QPS\n1,1,1\n", "s.csv, row 2: expected 4 cells"),
            (
                "Input_Length,Output_Length,Concurrency,Fail_Rate\n1,1,1,7\n",
                "s.csv, row 2, column `Fail_Rate`: expected a share",
            ),
        ] {
            let found = parse(csv).unwrap_err();
            assert!(found.starts_with(said), "{csv:?}: {found}");
        }
    }

    #[test]
    fn two_rows_of_one_series_and_a_label_against_a_column_are_refused() {
        let twice = "Input_Length,Output_Length,Concurrency,QPS\n1,1,1,1\n1,1,1,2\n";
        assert!(text(twice, &[]).unwrap_err().starts_with("s.csv, row 3: its labels are those of row 2"));
        let other = text("Input_Length,Output_Length,Concurrency,QPS\n1,1,1,1\n", &[("concurrency", "2")]);
        assert!(other.unwrap_err().contains("--label says concurrency=2"));
    }

    #[test]
    fn a_spreadsheets_habits_do_no_harm() {
        let told =
            text("\u{feff}Input_Length, Output_Length,Concurrency,QPS\r\n128,64,2,1.5\r\n", &[]).unwrap();
        assert!(
            told.contains("requests_per_second{concurrency=\"2\",input_len=\"128\",output_len=\"64\"} 1.5\n")
        );
    }
}
