//! What the figures mean, for people: [`dictionary`] makes the tables of `docs/figures.md` from the definitions and
//! the columns themselves. Must not know where they are shown.
//!
//! 由定义与列生成的指标词典。

use std::fmt::Write as _;

use super::columns::{COLUMNS, Cell};
use crate::perf::definitions::ALL;

/// Two tables in Markdown: every figure by its definition, and every column of the summary with the figure in it.
pub fn dictionary() -> String {
    let mut text = String::from(
        "## Figures\n\n\
         | id | in JSON | unit | formula | no value when | not to be taken for |\n|---|---|---|---|---|---|\n",
    );
    for of in ALL {
        let name = format!("`{}`{}", of.name, if of.source == "server" { " (source `server`)" } else { "" });
        let _ = writeln!(
            text,
            "| `{}` | {name} | {} | {} | {} | {} |",
            of.id, of.unit, of.formula, of.null, of.not
        );
    }
    text.push_str("\n## Columns of `summary_*.csv`\n\n| column | figure | definition |\n|---|---|---|\n");
    for column in &COLUMNS {
        let _ = match &column.cell {
            Cell::Figure { of, stat, times } => {
                let unit = if *times == 1.0 { String::new() } else { format!(" × {times}") };
                writeln!(text, "| `{}` | {}{unit} | `{}` |", column.name, words(stat), of.id)
            }
            Cell::Fact { what, .. } => writeln!(text, "| `{}` | {what} | |", column.name),
        };
    }
    text
}

fn words(stat: &str) -> String {
    match stat {
        "value" => "the figure itself".to_owned(),
        "mean" => "mean".to_owned(),
        "max" => "largest".to_owned(),
        "min" => "smallest".to_owned(),
        quantile => format!("{} % quantile", quantile.trim_start_matches('p')),
    }
}
