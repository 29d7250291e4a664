//! What could not be pushed: [`Spool`] is a folder with a file a unit. Nothing is ever thrown away: what was pushed
//! later is gone from here, and what a newer unit made useless to a gateway, which holds one value a series, waits in
//! `put-aside/` as OpenMetrics for `promtool tsdb create-blocks-from openmetrics`. Must not know any gateway.
//!
//! 未能推送的数据落盘，可重试或回填。

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use st_harness::{folder::RunFolder, redact::Redactor};

use super::{GroupingKey, Unit};
use crate::report::Exposition;

/// A folder of units that wait.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: Utf8PathBuf,
}

/// A unit that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its file.
    pub file: Utf8PathBuf,
    /// What is to be sent.
    pub unit: Unit,
    /// What kept it from being sent.
    pub why: String,
}

/// The spool's disk did not do as it was told.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpoolError(String);

impl SpoolError {
    /// This one, and what came before it.
    pub(super) fn after(self, trouble: &str) -> Self {
        Self(format!("{trouble}; and what could not be pushed cannot be kept either: {}", self.0))
    }
}

/// As it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
struct OnDisk {
    schema: u32,
    at: Timestamp,
    key: GroupingKey,
    why: String,
    text: String,
    openmetrics: String,
}

const SCHEMA: u32 = 1;
const ASIDE: &str = "put-aside";

impl Spool {
    /// The spool in `folder`, which need not exist yet.
    pub fn at(folder: impl Into<Utf8PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// Keeps `unit`, which could not be sent because of `why`. Gives its file.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep(&self, unit: &Unit, why: &str) -> Result<Utf8PathBuf, SpoolError> {
        let on_disk = OnDisk {
            schema: SCHEMA,
            at: unit.at,
            key: unit.key.clone(),
            why: why.to_owned(),
            text: unit.exposition.text.clone(),
            openmetrics: unit.exposition.openmetrics.clone(),
        };
        let text = serde_json::to_string_pretty(&on_disk).map_err(|error| SpoolError(error.to_string()))?;
        let name = format!("{}.json", stem(unit));
        self.write(&name, &text)?;
        Ok(self.folder.join(name))
    }

    /// What waits, oldest first.
    ///
    /// # Errors
    /// When the folder or one of its files cannot be read: a file that is there and cannot be sent must be seen.
    pub fn entries(&self) -> Result<Vec<Entry>, SpoolError> {
        let listed = match self.folder.read_dir_utf8() {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(SpoolError(format!("cannot read the spool {}: {error}", self.folder))),
        };
        let mut entries = Vec::new();
        for file in listed {
            let file = file.map_err(|error| SpoolError(format!("cannot read the spool: {error}")))?;
            if file.path().extension() == Some("json") {
                entries.push(read(file.path())?);
            }
        }
        entries.sort_by(|a, b| (a.unit.at, &a.file).cmp(&(b.unit.at, &b.file)));
        Ok(entries)
    }

    /// Puts aside what waits for `key` and became ready before `at`. Gives how many.
    ///
    /// # Errors
    /// When the disk does not do it.
    pub(super) fn put_aside_before(&self, key: &GroupingKey, at: Timestamp) -> Result<usize, SpoolError> {
        let entries = self.entries()?;
        let older: Vec<_> =
            entries.iter().filter(|entry| entry.unit.key == *key && entry.unit.at < at).collect();
        for entry in &older {
            self.put_aside(entry)?;
        }
        Ok(older.len())
    }

    /// Takes `entry` out of what waits, and leaves its figures, with their time, for back-filling. Gives that file.
    ///
    /// # Errors
    /// When the disk does not do it.
    pub(super) fn put_aside(&self, entry: &Entry) -> Result<Utf8PathBuf, SpoolError> {
        let name = format!("{ASIDE}/{}.om", stem(&entry.unit));
        self.write(&name, &entry.unit.exposition.openmetrics)?;
        self.remove(entry)?;
        Ok(self.folder.join(name))
    }

    /// Forgets `entry`, which was sent.
    ///
    /// # Errors
    /// When its file stays.
    pub(super) fn remove(&self, entry: &Entry) -> Result<(), SpoolError> {
        match std::fs::remove_file(&entry.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SpoolError(format!("cannot remove {}: {error}", entry.file)))
            }
            _ => Ok(()),
        }
    }

    /// Whole or not at all, and through the one door that masks secrets.
    fn write(&self, name: &str, text: &str) -> Result<(), SpoolError> {
        let folder = RunFolder::open(&self.folder, Arc::new(Redactor::new()));
        let written = folder.and_then(|folder| folder.write(name, text));
        written.map_err(|error| SpoolError(error.to_string()))
    }
}

fn read(file: &Utf8Path) -> Result<Entry, SpoolError> {
    let broken = |what: String| {
        SpoolError(format!("{file} is in the spool and cannot be sent: {what}; mend it or move it away"))
    };
    let text = std::fs::read_to_string(file).map_err(|error| broken(error.to_string()))?;
    let found: OnDisk = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    if found.schema != SCHEMA {
        return Err(broken(format!("expected schema {SCHEMA}, found {}", found.schema)));
    }
    let exposition = Exposition { text: found.text, openmetrics: found.openmetrics };
    Ok(Entry {
        file: file.to_owned(),
        unit: Unit { key: found.key, exposition, at: found.at },
        why: found.why,
    })
}

/// `20260102T030405.006Z-lab_1-sim-1a2b3c4d`: sorted by time, and unlike that of any other unit.
fn stem(unit: &Unit) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(60).collect()
    };
    let hash = crate::workload::sha256_hex(unit.exposition.openmetrics.as_bytes());
    let at = unit.at.strftime("%Y%m%dT%H%M%S%.3fZ");
    format!("{at}-{}-{}-{}", plain(&unit.key.instance), plain(&unit.key.scenario), &hash[..8])
}
