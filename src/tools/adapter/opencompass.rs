//! `summary_{time}.csv` of OpenCompass and of AISBench, which puts `total_count` between `mode` and the models: columns
//! are found by their names. Values are per cent with two places, `-` is a missing one; commas inside cells were
//! replaced by spaces, so that no cell is quoted. Shown with OpenCompass 0.5.4 and AISBench 3.1.20260630, over a data
//! set that tells no count; the count and the rows of groups are written from the documented layout.
//!
//! OpenCompass / AISBench 汇总 CSV 解析。

use crate::tools::{Figure, Record};

const HEAD: [&str; 4] = ["dataset", "version", "metric", "mode"];
const COUNT: &str = "total_count";

pub(super) fn read(text: &str) -> Result<Record, String> {
    if !text.ends_with('\n') {
        return Err("incomplete: its last line has no end, so it may be cut off in a number".to_owned());
    }
    let mut lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
    if head.len() < 5 || head[..4] != HEAD {
        let found = head.join(",");
        return Err(format!("expected the columns {},… and a model, found {found:?}", HEAD.join(",")));
    }
    let with_count = head[4] == COUNT;
    let models = &head[if with_count { 5 } else { 4 }..];
    let [model] = models else {
        return Err(format!("expected one model, found {}: {}", models.len(), models.join(", ")));
    };
    let mut figures = Vec::new();
    for (row, line) in (2..).zip(lines) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != head.len() {
            return Err(format!(
                "line {row}: expected {} cells, found {}: {line:?}",
                head.len(),
                cells.len()
            ));
        }
        let value = cells[cells.len() - 1];
        if value == "-" {
            return Err(format!("incomplete: line {row}: `{}` has no value for {model}", cells[0]));
        }
        let percent: f64 =
            value.parse().ok().filter(|value| (0.0..=100.0).contains(value)).ok_or_else(|| {
                format!("line {row}: expected per cent from 0 to 100 for `{}`, found {value:?}", cells[0])
            })?;
        let n = if with_count { cells[4].parse().ok() } else { None };
        figures.push(Figure { n, ..Figure::percent(cells[0], cells[2], percent) });
    }
    match figures.is_empty() {
        true => Err("expected a row, found none".to_owned()),
        false => Ok(Record { version: None, made_at: None, figures, requests: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_files_of_both_say_what_they_say() {
        for text in [
            include_str!("../../../tests/fixtures/tools/opencompass.csv"),
            include_str!("../../../tests/fixtures/tools/ais_bench.csv"),
        ] {
            let record = read(text).unwrap();
            let told: Vec<_> = record.figures.iter().map(|one| (one.name(), one.raw, one.n)).collect();
            assert_eq!(told, [("open_mcq accuracy".to_owned(), 83.33, None)]);
            assert!((record.figures[0].value - 0.8333).abs() < 1e-9);
        }
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let head = "dataset,version,metric,mode,my-model\n";
        let rows = "gpqa_diamond,5aeece,accuracy,gen,42.42\nmmlu,-,naive_average,gen,66.67\n";
        let told: Vec<_> =
            read(&format!("{head}{rows}")).unwrap().figures.iter().map(|one| (one.name(), one.raw)).collect();
        assert_eq!(told[1], ("mmlu naive_average".to_owned(), 66.67));
        let counted = "dataset,version,metric,mode,total_count,m\ngsm8k,7cd45e,accuracy,gen,1319,84.34\n";
        let record = read(counted).unwrap();
        assert_eq!((record.figures[0].raw, record.figures[0].n), (84.34, Some(1319)));
    }

    #[test]
    fn what_aisbench_leaves_where_no_request_was_answered_is_no_score() {
        // It ends with exit code 0 all the same.
        let told = read("dataset,version,metric,mode,sim\nopen_mcq,-,-,-,-\n").unwrap_err();
        assert_eq!(told, "incomplete: line 2: `open_mcq` has no value for sim");
    }

    #[test]
    fn what_is_missing_or_odd_is_told_with_its_line() {
        let head = "dataset,version,metric,mode,m\n";
        for (text, told) in [
            ("a,b\n", "expected the columns dataset,version,metric,mode,… and a model, found \"a,b\""),
            (head, "expected a row, found none"),
            ("dataset,version,metric,mode,m,k\nd,v,a,gen,1,2\n", "expected one model, found 2: m, k"),
            (&format!("{head}d,v,a,gen,-\n"), "incomplete: line 2: `d` has no value for m"),
            (&format!("{head}d,v,a,gen\n"), "line 2: expected 5 cells, found 4: \"d,v,a,gen\""),
            (
                &format!("{head}d,v,a,gen,184\n"),
                "line 2: expected per cent from 0 to 100 for `d`, found \"184\"",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), told);
        }
    }
}
