//! The columns of `summary_*.csv`, in their order, and what stands in each: [`COLUMNS`]. The names are those of
//! acs-bench; what they mean is ours, by definition. Must not know how a file comes about.
//!
//! 汇总 CSV 的列与定义对照。

use super::row::Row;
use crate::perf::definitions::{self as define, Definition};

/// One column.
pub(super) struct Column {
    /// As the header has it.
    pub(super) name: &'static str,
    /// What stands in it.
    pub(super) cell: Cell,
}

/// What stands in a column.
pub(super) enum Cell {
    /// A figure that was measured.
    Figure {
        /// Its definition.
        of: Definition,
        /// Which figure of it.
        stat: &'static str,
        /// What it is multiplied by: the column's unit.
        times: f64,
    },
    /// Something that was known beforehand.
    Fact {
        /// In words.
        what: &'static str,
        /// Reads it.
        read: fn(&Row<'_>) -> Option<String>,
    },
}

const fn figure(name: &'static str, of: Definition, stat: &'static str, times: f64) -> Column {
    Column { name, cell: Cell::Figure { of, stat, times } }
}

const fn fact(name: &'static str, what: &'static str, read: fn(&Row<'_>) -> Option<String>) -> Column {
    Column { name, cell: Cell::Fact { what, read } }
}

/// What stands where nothing can be had, in this file alone: its readers know no empty cell.
pub(super) const NOTHING: &str = "-1";

impl Column {
    /// What stands in it for `row`.
    pub(super) fn text(&self, row: &Row<'_>) -> String {
        let text = match &self.cell {
            Cell::Figure { of, stat, times } => row.figure(of, stat).map(|value| (value * times).to_string()),
            Cell::Fact { read, .. } => read(row),
        };
        text.unwrap_or_else(|| NOTHING.to_owned())
    }
}

/// All of them.
pub(super) const COLUMNS: [Column; 79] = [
    fact("Execution_Time", "when the first measured request was sent, UTC", |row| row.executed_at()),
    fact("Input_Length", "`input_len` of the case", |row| row.key("/input_len")),
    fact("Output_Length", "`output_len` of the case", |row| row.key("/output_len")),
    fact(
        "Concurrency",
        "`concurrency` of the case: the ceiling of a climb, the cap of an open loop",
        |row| row.key("/concurrency"),
    ),
    figure("Total_Token_Throughput(tokens/s)", define::TOTAL_THROUGHPUT, "value", 1.0),
    figure("Output_Token_Throughput(tokens/s)", define::OUTPUT_THROUGHPUT, "value", 1.0),
    figure("TP75_TTFT(s)", define::TTFT, "p75", 1.0),
    figure("TP90_TTFT(s)", define::TTFT, "p90", 1.0),
    figure("TP95_TTFT(s)", define::TTFT, "p95", 1.0),
    figure("TP99_TTFT(s)", define::TTFT, "p99", 1.0),
    figure("MAX_TTFT(s)", define::TTFT, "max", 1.0),
    figure("AVG_TTFT(s)", define::TTFT, "mean", 1.0),
    figure("TP75_TPOT(s)", define::ITL, "p75", 1.0),
    figure("TP90_TPOT(s)", define::ITL, "p90", 1.0),
    figure("TP95_TPOT(s)", define::ITL, "p95", 1.0),
    figure("TP99_TPOT(s)", define::ITL, "p99", 1.0),
    figure("MAX_TPOT(s)", define::ITL, "max", 1.0),
    figure("AVG_TPOT(s)", define::ITL, "mean", 1.0),
    figure("TP90_TPOT_SEC(s)", define::TPOT, "p90", 1.0),
    figure("TP95_TPOT_SEC(s)", define::TPOT, "p95", 1.0),
    figure("TP99_TPOT_SEC(s)", define::TPOT, "p99", 1.0),
    figure("MAX_TPOT_SEC(s)", define::TPOT, "max", 1.0),
    figure("AVG_TPOT_SEC(s)", define::TPOT, "mean", 1.0),
    figure("TP90_TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", define::TTST, "p90", 1.0),
    figure("TP95_TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", define::TTST, "p95", 1.0),
    figure("TP99_TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", define::TTST, "p99", 1.0),
    figure("MIN_TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", define::TTST, "min", 1.0),
    figure("MAX_TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", define::TTST, "max", 1.0),
    figure("AVG_TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", define::TTST, "mean", 1.0),
    figure("TP75_E2E(s)", define::RESPONSE_TIME, "p75", 1.0),
    figure("TP90_E2E(s)", define::RESPONSE_TIME, "p90", 1.0),
    figure("TP95_E2E(s)", define::RESPONSE_TIME, "p95", 1.0),
    figure("TP99_E2E(s)", define::RESPONSE_TIME, "p99", 1.0),
    figure("MAX_E2E(s)", define::RESPONSE_TIME, "max", 1.0),
    figure("AVG_E2E(s)", define::RESPONSE_TIME, "mean", 1.0),
    figure("Total_Time(s)", define::TOTAL_TIME, "value", 1.0),
    figure("QPS", define::QPS, "value", 1.0),
    figure("Fail_Rate", define::FAILURE_RATIO, "value", 1.0),
    fact("Backend", "the endpoint: `openai-chat` or `openai`", |row| row.key("/backend")),
    fact("Temperature", "as it was sent", |row| row.key("/sampling/temperature")),
    fact("Top_K", "as it was sent; -1 where it was left to the server", |row| row.key("/sampling/top_k")),
    fact("Top_P", "as it was sent; -1 where it was left to the server", |row| row.key("/sampling/top_p")),
    fact("Control_Method", "how load was made: `fixed`, `climb`, `rate`, `trace`", |row| {
        row.key("/control_method")
    }),
    fact("Growth_Rate", "`growth_rate` of a climb", |row| row.key("/growth_rate")),
    fact("Rounds", "epochs that were begun; the figures are of all of them together", |row| row.rounds()),
    fact("Num_Prompts", "measured requests of one epoch, as asked", |row| row.detail("/spec/requests")),
    fact("Provider", "the provider of the scenario, else the scenario", |row| Some(row.provider())),
    figure("TP90_COMPLETION_TOKENS", define::OUTPUT_TOKENS, "p90", 1.0),
    figure("TP95_COMPLETION_TOKENS", define::OUTPUT_TOKENS, "p95", 1.0),
    figure("TP99_COMPLETION_TOKENS", define::OUTPUT_TOKENS, "p99", 1.0),
    figure("MIN_COMPLETION_TOKENS", define::OUTPUT_TOKENS, "min", 1.0),
    figure("AVG_COMPLETION_TOKENS", define::OUTPUT_TOKENS, "mean", 1.0),
    figure("AVG_REASONING_TOKENS", define::REASONING_TOKENS, "mean", 1.0),
    figure("AVG_CONTENT_TOKENS", define::CONTENT_TOKENS, "mean", 1.0),
    figure("AVG_PROMPT_TOKENS", define::PROMPT_TOKENS, "mean", 1.0),
    figure("TP75_SERVER_TTFT(ms)", define::SERVER_TTFT, "p75", 1000.0),
    figure("TP90_SERVER_TTFT(ms)", define::SERVER_TTFT, "p90", 1000.0),
    figure("TP95_SERVER_TTFT(ms)", define::SERVER_TTFT, "p95", 1000.0),
    figure("TP99_SERVER_TTFT(ms)", define::SERVER_TTFT, "p99", 1000.0),
    figure("MAX_SERVER_TTFT(ms)", define::SERVER_TTFT, "max", 1000.0),
    figure("AVG_SERVER_TTFT(ms)", define::SERVER_TTFT, "mean", 1000.0),
    figure("TP75_SERVER_TPOT(ms)", define::SERVER_TPOT, "p75", 1000.0),
    figure("TP90_SERVER_TPOT(ms)", define::SERVER_TPOT, "p90", 1000.0),
    figure("TP95_SERVER_TPOT(ms)", define::SERVER_TPOT, "p95", 1000.0),
    figure("TP99_SERVER_TPOT(ms)", define::SERVER_TPOT, "p99", 1000.0),
    figure("MAX_SERVER_TPOT(ms)", define::SERVER_TPOT, "max", 1000.0),
    figure("AVG_SERVER_TPOT(ms)", define::SERVER_TPOT, "mean", 1000.0),
    figure("TP75_SERVER_E2E(ms)", define::SERVER_E2E, "p75", 1000.0),
    figure("TP90_SERVER_E2E(ms)", define::SERVER_E2E, "p90", 1000.0),
    figure("TP95_SERVER_E2E(ms)", define::SERVER_E2E, "p95", 1000.0),
    figure("TP99_SERVER_E2E(ms)", define::SERVER_E2E, "p99", 1000.0),
    figure("MAX_SERVER_E2E(ms)", define::SERVER_E2E, "max", 1000.0),
    figure("AVG_SERVER_E2E(ms)", define::SERVER_E2E, "mean", 1000.0),
    figure("TP90_SPEC_ACCEPT_RATE", define::SPEC_ACCEPT_RATE, "p90", 1.0),
    figure("TP95_SPEC_ACCEPT_RATE", define::SPEC_ACCEPT_RATE, "p95", 1.0),
    figure("TP99_SPEC_ACCEPT_RATE", define::SPEC_ACCEPT_RATE, "p99", 1.0),
    figure("MIN_SPEC_ACCEPT_RATE", define::SPEC_ACCEPT_RATE, "min", 1.0),
    figure("MAX_SPEC_ACCEPT_RATE", define::SPEC_ACCEPT_RATE, "max", 1.0),
    figure("AVG_SPEC_ACCEPT_RATE", define::SPEC_ACCEPT_RATE, "mean", 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_documented_one_byte_for_byte() {
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        let documented = include_str!("../../../tests/fixtures/perf/summary_header.csv");
        assert_eq!(names.join(",") + "\n", documented);
    }

    #[test]
    fn every_figure_in_it_is_defined() {
        for column in &COLUMNS {
            if let Cell::Figure { of, .. } = &column.cell {
                assert!(define::ALL.contains(of), "{}", column.name);
            }
        }
    }
}
