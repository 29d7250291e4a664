//! From the lines of a journal back to events: whole, torn by a kill, or written by another version.
//! Must not know what events mean together.
//!
//! 读回日志行：完整、残缺或来自其他版本。

use std::{
    fs,
    io::{self, BufRead as _},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    journal::{Envelope, Event, RunRecord, Schema},
    verdict::Note,
};

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No such file, or no permission.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a newer tool.
    #[error(
        "{path}:{line}: journal schema {found} is not known here (this build reads {known}); use the build that wrote it"
    )]
    Schema {
        /// The file.
        path: Utf8PathBuf,
        /// From 1.
        line: usize,
        /// Its major version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A line that is no event, and not the torn last one of a killed process.
    #[error("{path}:{line}: not a journal line: {message}")]
    Line {
        /// The file.
        path: Utf8PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// An empty journal, or one that does not begin with `RunStarted`.
    #[error("{path}: the journal does not begin with RunStarted")]
    NoStart {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A run folder without a journal.
    #[error("{path} holds no journal.jsonl and no journal-*.jsonl; is it the folder of a run?")]
    NoJournal {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// No record was given.
    #[error("there is no record to merge")]
    NothingToMerge,
    /// Records of different runs.
    #[error("journals of different runs cannot be merged: {what} {ours} and {theirs}")]
    OtherRun {
        /// What differs.
        what: &'static str,
        /// In the earlier one.
        ours: String,
        /// In the later one.
        theirs: String,
    },
}

impl RunRecord {
    /// Reads the journal `path`. A torn last line, lines that are missing, and events that this version does
    /// not know become notes.
    ///
    /// # Errors
    /// When the file cannot be read, was written by another major version, holds a line that is no event, or
    /// does not begin with `RunStarted`.
    pub fn read(path: &Utf8Path) -> Result<Self, JournalError> {
        let bytes = fs::read(path).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        Lines::parse(path, &bytes)?.record().ok_or_else(|| JournalError::NoStart { path: path.to_owned() })
    }

    /// What the first line of a journal of the run folder `folder` says, and no more: who ran what, and when.
    ///
    /// # Errors
    /// As [`read_folder`](Self::read_folder), as far as that line goes.
    pub fn head(folder: &Utf8Path) -> Result<Self, JournalError> {
        let path = journals(folder)?.into_iter().next();
        let path = path.ok_or_else(|| JournalError::NoJournal { path: folder.to_owned() })?;
        let io = |source| JournalError::Io { path: path.clone(), source };
        let mut line = Vec::new();
        let file = fs::File::open(&path).map_err(io)?;
        io::BufReader::new(file).read_until(b'\n', &mut line).map_err(io)?;
        Lines::parse(&path, &line)?.record().ok_or(JournalError::NoStart { path })
    }

    /// Whether a file of this name is a journal: `journal.jsonl`, `journal-….jsonl`.
    pub fn is_journal(name: &str) -> bool {
        name.strip_prefix("journal")
            .and_then(|rest| rest.strip_suffix(".jsonl"))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Reads all journals of the run folder `folder`, `journal.jsonl` and `journal-*.jsonl`, as one run. One
    /// that was cut before its first whole line becomes a note.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`merge`](Self::merge); when there is none.
    pub fn read_folder(folder: &Utf8Path) -> Result<Self, JournalError> {
        let (mut records, mut unstarted) = (Vec::new(), Vec::new());
        for path in journals(folder)? {
            match Self::read(&path) {
                Ok(record) => records.push(record),
                Err(error @ JournalError::NoStart { .. }) => unstarted.push(error),
                Err(error) => return Err(error),
            }
        }
        if records.is_empty() {
            let none = JournalError::NoJournal { path: folder.to_owned() };
            return Err(unstarted.into_iter().next().unwrap_or(none));
        }
        let mut run = Self::merge(records)?;
        let cut = |error: &JournalError| Note { kind: "journal-empty".to_owned(), text: error.to_string() };
        run.notes.extend(unstarted.iter().map(cut));
        Ok(run)
    }
}

/// The journals of the run folder `folder`, in the order of their names.
fn journals(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, JournalError> {
    let io = |source| JournalError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in folder.read_dir_utf8().map_err(io)? {
        let path = entry.map_err(io)?.into_path();
        if path.file_name().is_some_and(RunRecord::is_journal) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The lines of a journal, and what is to be told of them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) envelopes: Vec<Envelope>,
    pub(super) notes: Vec<Note>,
    /// Bytes after the last whole line that are none.
    pub(super) torn: usize,
    next_seq: u64,
}

impl Lines {
    /// `path` is for messages.
    pub(super) fn parse(path: &Utf8Path, bytes: &[u8]) -> Result<Self, JournalError> {
        let mut lines = Self::default();
        for (at, bytes) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = at + 1;
            match parse_line(bytes) {
                Ok(Line::Known(envelope)) => {
                    lines.count(envelope.seq, line);
                    lines.envelopes.push(*envelope);
                }
                Ok(Line::Unknown { seq, name }) => {
                    lines.count(seq, line);
                    lines.note(
                        "unknown-event",
                        format!("line {line}: this build does not know the event {name}"),
                    );
                }
                Err(Refusal::Schema(found)) => {
                    let (path, known) = (path.to_owned(), Schema::CURRENT.major);
                    return Err(JournalError::Schema { path, line, found, known });
                }
                // Only a line without its end can be the last.
                Err(Refusal::Line(_)) if !bytes.ends_with(b"\n") => {
                    lines.torn = bytes.len();
                    lines.note(
                        "journal-torn",
                        format!("line {line} is torn after {} bytes: the writer was stopped", bytes.len()),
                    );
                }
                Err(Refusal::Line(message)) => {
                    return Err(JournalError::Line { path: path.to_owned(), line, message });
                }
            }
        }
        Ok(lines)
    }

    /// What they say together; nothing where they do not begin with `RunStarted`.
    pub(super) fn record(&self) -> Option<RunRecord> {
        let mut run = RunRecord::fold(self.envelopes.iter().cloned())?;
        run.notes.extend(self.notes.iter().cloned());
        Some(run)
    }

    fn count(&mut self, seq: u64, line: usize) {
        if seq != self.next_seq {
            self.note("journal-gap", format!("line {line} has seq {seq}, expected {}", self.next_seq));
        }
        self.next_seq = seq + 1;
    }

    /// The number of the next line.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Takes one more line.
    pub(super) fn push(&mut self, envelope: Envelope) {
        self.next_seq = envelope.seq + 1;
        self.envelopes.push(envelope);
    }

    fn note(&mut self, kind: &str, text: String) {
        self.notes.push(Note { kind: kind.to_owned(), text });
    }
}

enum Line {
    Known(Box<Envelope>),
    Unknown { seq: u64, name: String },
}

enum Refusal {
    Schema(u32),
    Line(String),
}

/// What every line has, whoever wrote it.
#[derive(Deserialize)]
struct AnyEnvelope {
    schema: Schema,
    seq: u64,
    event: Value,
}

fn parse_line(bytes: &[u8]) -> Result<Line, Refusal> {
    let refuse = |error: serde_json::Error| Refusal::Line(error.to_string());
    let any: AnyEnvelope = serde_json::from_slice(bytes).map_err(refuse)?;
    if any.schema.major != Schema::CURRENT.major {
        return Err(Refusal::Schema(any.schema.major));
    }
    match any.event.as_object().and_then(|event| event.keys().next()) {
        Some(name) if !Event::NAMES.contains(&name.as_str()) => {
            Ok(Line::Unknown { seq: any.seq, name: name.clone() })
        }
        _ => serde_json::from_slice(bytes).map(|envelope| Line::Known(Box::new(envelope))).map_err(refuse),
    }
}
