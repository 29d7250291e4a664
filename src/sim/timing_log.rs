//! The file of what was really sent: [`TimingLog`] writes one [`Sent`] a line, its times on the machine's
//! CLOCK_MONOTONIC, so that another process can hold its own against them. A thread of its own writes, behind the
//! answer. Must not know what was asked for.
//!
//! 实际发送时刻的文件，供其他进程对照。

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use super::log::{Record, Sent};

/// How long an answer that is over may take to be written to the socket to its last byte.
const SETTLES: Duration = Duration::from_secs(1);

/// Takes records that are over.
#[derive(Debug, Clone)]
pub(super) struct TimingLog {
    records: Sender<Record>,
    started: Instant,
}

impl TimingLog {
    /// Opens the file, which is emptied, and starts the thread that writes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let (records, over) = channel();
        let (started, zero) = (Instant::now(), monotonic_ns());
        std::thread::Builder::new().name("timing-log".to_owned()).spawn(move || write(file, &over, zero))?;
        Ok(Self { records, started })
    }

    /// The zero of the records' times.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Takes the record of an answer that is over.
    pub(super) fn take(&self, record: Record) {
        // The thread ends with the last sender, or with the disk.
        let _ = self.records.send(record);
    }
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).unwrap_or(0)
}

/// Writes until the last sender is gone. A record may be over before its last bytes are on the wire: it waits for them.
fn write(mut file: BufWriter<File>, over: &Receiver<Record>, zero: u64) {
    let mut waiting: Vec<(Instant, Record)> = Vec::new();
    loop {
        let next = if waiting.is_empty() {
            over.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            over.recv_timeout(Duration::from_millis(20))
        };
        let gone = matches!(next, Err(RecvTimeoutError::Disconnected));
        waiting.extend(next.ok().map(|record| (Instant::now(), record)));
        let (ready, rest) = waiting
            .into_iter()
            .partition(|(since, record)| gone || record.is_settled() || since.elapsed() > SETTLES);
        waiting = rest;
        for (_, record) in ready {
            let line = serde_json::to_string(&absolute(record.snapshot(), zero)).unwrap_or_default();
            if writeln!(file, "{line}").is_err() {
                return;
            }
        }
        if file.flush().is_err() || gone {
            return;
        }
    }
}

fn absolute(sent: Sent, zero: u64) -> Sent {
    Sent {
        received: sent.received + zero,
        first_byte: sent.first_byte.map(|ns| ns + zero),
        tokens: sent.tokens.iter().map(|ns| ns + zero).collect(),
        ended: sent.ended.map(|ns| ns + zero),
        ..sent
    }
}
