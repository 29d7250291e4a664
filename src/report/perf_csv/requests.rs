//! The rows of `requests_*.csv`: one a measured request, in the order of sending, read back from the trial's sidecar.
//! Must not know whose requests they are.
//!
//! 逐请求 CSV 的列。

use std::fmt::Display;

use crate::{client::Stamp, perf::record::Record};

use super::columns::NOTHING;

/// A column: its name, and what stands in it.
type Column = (&'static str, fn(&Record) -> Option<String>);

/// Latencies as in the summary: `E2E(s)` ends at the response's end. Moments are seconds after the request was due.
const COLUMNS: [Column; 30] = [
    ("Index", |r| Some(r.index.to_string())),
    ("Epoch", |r| Some(r.epoch.to_string())),
    ("Worker", |r| Some(r.worker.to_string())),
    ("In_Flight", |r| Some(r.in_flight.to_string())),
    ("Outcome", |r| Some(r.outcome.name().to_owned())),
    ("Http_Status", |r| r.status.map(|status| status.to_string())),
    ("Finish_Reason", |r| r.finish_reason.clone()),
    ("Request_Id", |r| r.request_id.clone()),
    ("Admission_Wait(s)", |r| after_due(r, r.admitted)),
    ("Started(s)", |r| after_due(r, r.started)),
    ("Connection", |r| r.connection.map(|connection| connection.name().to_owned())),
    ("Connect_Time(s)", |r| r.connect_ns.map(seconds)),
    ("Sent(s)", |r| after_due(r, r.sent?)),
    ("Headers(s)", |r| after_due(r, r.headers?)),
    ("First_Event(s)", |r| after_due(r, r.first_event?)),
    ("First_Token(s)", |r| after_due(r, r.first_token?)),
    ("First_Answer_Token(s)", |r| after_due(r, r.first_answer?)),
    ("Last_Token(s)", |r| after_due(r, r.last_token?)),
    ("End(s)", |r| after_due(r, r.ended)),
    ("TTFT(s)", |r| r.ttft().map(seconds)),
    ("TIME_BETWEEN_FIRST_AND_SECOND_TOKEN(s)", |r| r.ttst().map(seconds)),
    ("TPOT_SEC(s)", |r| r.tpot().map(|ns| (ns / 1e9).to_string())),
    ("E2E(s)", |r| Some(seconds(r.response_time()))),
    ("PROMPT_TOKENS", |r| r.prompt_tokens.map(|n| n.to_string())),
    ("CACHED_TOKENS", |r| r.cached_tokens.map(|n| n.to_string())),
    ("COMPLETION_TOKENS", |r| Some(r.output_tokens.to_string())),
    ("REASONING_TOKENS", |r| r.reasoning_tokens.map(|n| n.to_string())),
    ("CONTENT_TOKENS", |r| r.content_tokens.map(|n| n.to_string())),
    ("Token_Source", |r| Some(r.token_source.name().to_owned())),
    ("Message", |r| (!r.is_ok()).then(|| r.outcome.describe())),
];

fn seconds(ns: u64) -> String {
    (ns as f64 / 1e9).to_string()
}

fn after_due(record: &Record, at: Stamp) -> Option<String> {
    Some(seconds(at.0.checked_sub(record.scheduled.0)?))
}

/// The requests of a sidecar's `lines`, each with its end; the last one may be torn, where a process was killed.
pub(in crate::report) fn records<E: Display>(
    lines: impl Iterator<Item = Result<String, E>>,
) -> impl Iterator<Item = Result<Record, String>> {
    let whole = lines.take_while(|line| line.as_ref().map_or(true, |line| line.ends_with('\n')));
    whole.zip(1..).map(|(line, number)| {
        let line = line.map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("line {number}: {error}"))
    })
}

/// The table of the measured ones, in the order of sending.
///
/// # Errors
/// At a line that is no request.
pub(super) fn table(records: impl Iterator<Item = Result<Record, String>>) -> Result<String, String> {
    let mut rows: Vec<(u64, String)> = Vec::new();
    for record in records {
        let record = record?;
        if !record.warmup {
            // The row is kept, and not the record: that one holds every token.
            let cells = COLUMNS.iter().map(|(_, cell)| cell(&record).unwrap_or_else(|| NOTHING.to_owned()));
            rows.push((record.index, line(cells)?));
        }
    }
    rows.sort_unstable_by_key(|(index, _)| *index);
    let header = line(COLUMNS.iter().map(|(name, _)| (*name).to_owned()))?;
    Ok(std::iter::once(header).chain(rows.into_iter().map(|(_, row)| row)).collect())
}

fn line(cells: impl Iterator<Item = String>) -> Result<String, String> {
    let mut csv = csv::WriterBuilder::new().buffer_capacity(1024).from_writer(Vec::new());
    csv.write_record(cells.map(String::into_bytes)).map_err(|error| error.to_string())?;
    let bytes = csv.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
