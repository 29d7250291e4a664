//! Figures on their way to a Pushgateway: [`Pusher`] sends one [`Unit`], everything that a scenario has to tell, in
//! one PUT, and keeps on disk what could not be sent. Whether anything may be sent at all is decided by [`permit`].
//! Must not know what the figures mean.
//!
//! ```text
//! run folder | summary CSV ─▶ Unit ─permit?─▶ Gateway ─▶ 200 | Trouble ─▶ Spool ─push --retry─▶ Gateway
//! ```
//!
//! 推送到 Pushgateway：每个场景一次 PUT，失败则落盘待重试。

mod csv;
mod gateway;
mod permit;
mod spool;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use st_harness::journal::RunRecord;

pub use self::{
    csv::{CsvError, SummaryCsv},
    gateway::{Gateway, Trouble},
    permit::{Circumstances, Repository, WhyNot, permit},
    spool::{Entry, Spool, SpoolError},
};
use crate::report::Exposition;

/// The Prometheus job that all figures belong to.
pub const JOB: &str = "vllm_cibench";

/// What one PUT replaces as a whole: two scenarios never erase each other, and a scenario leaves nothing behind of
/// what it told the day before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct GroupingKey {
    /// The machine that measures, or the name that stands for all of its kind.
    pub instance: String,
    /// The scenario.
    pub scenario: String,
}

/// Everything that one scenario has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Where it belongs.
    pub key: GroupingKey,
    /// The figures.
    pub exposition: Exposition,
    /// When they became ready to be sent: of two units of one key the later one counts.
    pub at: Timestamp,
}

impl Unit {
    /// What a run has to tell, for the machine it ran on unless `instance` names another.
    ///
    /// # Errors
    /// When `prefix` cannot begin a metric's name.
    pub fn of_run(run: &RunRecord, prefix: &str, instance: Option<&str>) -> Result<Self, String> {
        let host = run.started.environment.observed.get("host").and_then(serde_json::Value::as_str);
        Ok(Self {
            key: GroupingKey {
                instance: instance.or(host).unwrap_or("unknown").to_owned(),
                scenario: run.started.scenario.clone(),
            },
            exposition: Exposition::of_run(run, prefix)?,
            at: Timestamp::now(),
        })
    }
}

/// What became of a unit.
#[derive(Debug)]
pub enum Sent {
    /// The gateway has it. How many older ones of its key, which could not be sent in their time, were put aside for
    /// back-filling: sent now, they would hide this one.
    Pushed {
        /// How many.
        put_aside: usize,
    },
    /// It is in the spool, since the gateway could not be told.
    Kept {
        /// The file that holds it.
        file: camino::Utf8PathBuf,
        /// Why.
        trouble: Trouble,
    },
    /// A later unit of the same key was sent, or is about to be; this one waits for back-filling.
    PutAside {
        /// The OpenMetrics file.
        file: camino::Utf8PathBuf,
    },
}

/// Sends units, and keeps those that cannot be sent.
#[derive(Debug)]
pub struct Pusher {
    gateway: Gateway,
    spool: Spool,
    timeout: Duration,
}

impl Pusher {
    /// How long one PUT may take unless told otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// Sends to `gateway`; what cannot be sent goes to `spool`.
    pub fn new(gateway: Gateway, spool: Spool, timeout: Duration) -> Self {
        Self { gateway, spool, timeout }
    }

    /// Sends `unit`, or keeps it.
    ///
    /// # Errors
    /// When it can neither be sent nor kept: both reasons.
    pub async fn push(&self, unit: &Unit) -> Result<Sent, SpoolError> {
        match self.gateway.put(&unit.key, &unit.exposition.text, self.timeout).await {
            Ok(()) => Ok(Sent::Pushed { put_aside: self.spool.put_aside_before(&unit.key, unit.at)? }),
            Err(trouble) => {
                let kept = self.spool.keep(unit, &trouble.reason());
                let file = kept.map_err(|error| error.after(&trouble.to_string()))?;
                Ok(Sent::Kept { file, trouble })
            }
        }
    }

    /// Sends what is in the spool: of each key the latest unit; the older ones are put aside for back-filling. A
    /// gateway that cannot be reached is asked once.
    ///
    /// # Errors
    /// When the spool cannot be read or changed.
    pub async fn retry(&self) -> Result<Vec<(Entry, Sent)>, SpoolError> {
        let entries = self.spool.entries()?;
        let mut down: Option<Trouble> = None;
        let mut done = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let later = entries[index + 1..].iter().any(|other| other.unit.key == entry.unit.key);
            let sent = if later {
                Sent::PutAside { file: self.spool.put_aside(entry)? }
            } else {
                match self.again(entry, down.as_ref()).await? {
                    Ok(()) => Sent::Pushed { put_aside: 0 },
                    Err(trouble) => {
                        down = trouble.is_the_gateways().then(|| trouble.clone());
                        Sent::Kept { file: entry.file.clone(), trouble }
                    }
                }
            };
            done.push((entry.clone(), sent));
        }
        Ok(done)
    }

    async fn again(&self, entry: &Entry, down: Option<&Trouble>) -> Result<Result<(), Trouble>, SpoolError> {
        if let Some(trouble) = down {
            return Ok(Err(trouble.clone()));
        }
        let sent = self.gateway.put(&entry.unit.key, &entry.unit.exposition.text, self.timeout).await;
        if sent.is_ok() {
            self.spool.remove(entry)?;
        }
        Ok(sent)
    }
}
