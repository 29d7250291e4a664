//! Appends events: [`Journal`]. Must not know what they mean.
//!
//! 追加写日志。

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::{
    folder::{FolderError, RunFolder},
    journal::{Envelope, Event, RunRecord, Schema, mask, read::Lines},
    redact::Redactor,
    verdict::Note,
};

/// The open journal of a run. Shared by all threads; one line is written at a time, in one call.
///
/// Every event is kept in memory too, masked as in the file: a full disk loses no report. Lines that could not
/// be written wait, and are written before the next one, so that the file never has a gap or a torn line in its
/// middle.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    redactor: Arc<Redactor>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: Lines,
    file: File,
    /// How long the file is, up to its last whole line.
    whole: u64,
    /// Lines that are not in the file yet.
    waiting: Vec<u8>,
    /// A torn line could not be removed: nothing may be written behind it.
    torn: bool,
    clock: Clock,
}

impl Journal {
    /// The name that a run's only journal has.
    pub const NAME: &str = "journal.jsonl";

    /// Starts `journal.jsonl` in `folder`; appends where there is one.
    ///
    /// # Errors
    /// When the file cannot be opened, or is no journal.
    pub fn open(folder: &RunFolder) -> Result<Self, FolderError> {
        Self::open_named(folder, Self::NAME)
    }

    /// Starts `journal-<writer>.jsonl`, for a run that several processes carry out together, each with its own
    /// file. [`RunRecord::read_folder`] reads them as one. What is no letter, digit, `-` or `_` in `writer`
    /// becomes `-`.
    ///
    /// # Errors
    /// When the file cannot be opened, or is no journal.
    pub fn open_for(folder: &RunFolder, writer: &str) -> Result<Self, FolderError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        Self::open_named(folder, &format!("journal-{}.jsonl", writer.chars().map(plain).collect::<String>()))
    }

    fn open_named(folder: &RunFolder, name: &str) -> Result<Self, FolderError> {
        let path = folder.path().join(name);
        let (state, note) =
            State::open(&path).map_err(|source| FolderError { path: path.clone(), source })?;
        let journal = Self { path, redactor: folder.redactor().clone(), state: Mutex::new(state) };
        if let Some(note) = note {
            journal.append(Event::Note { trial_id: None, note })?;
        }
        Ok(journal)
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Appends one event: masked, numbered, stamped, and handed to the system at once. It is remembered even
    /// where this fails.
    ///
    /// # Errors
    /// When the line, or one before it, could not be written whole. The next call tries again.
    pub fn append(&self, event: Event) -> Result<(), FolderError> {
        let event = mask::clean(event, &self.redactor);
        let mut state = self.state();
        state.append(event).map_err(|source| FolderError { path: self.path.clone(), source })
    }

    /// `event` as [`append`](Self::append) writes it: what a listener may be shown.
    pub fn masked(&self, event: Event) -> Event {
        mask::clean(event, &self.redactor)
    }

    /// What the run is so far: the same value that reading the file back gives. Nothing before `RunStarted`.
    pub fn record(&self) -> Option<RunRecord> {
        self.state().lines.record()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two lines leaves whole lines behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Opens the file and reads what is in it. A torn last line of an earlier writer is taken away, and told.
    fn open(path: &Utf8Path) -> io::Result<(Self, Option<Note>)> {
        let file = File::options().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        (&file).take(file.metadata()?.len()).read_to_end(&mut bytes)?;
        let mut lines = Lines::parse(path, &bytes).map_err(io::Error::other)?;
        let whole = (bytes.len() - lines.torn) as u64;
        let mut waiting = Vec::new();
        let mut note = None;
        if lines.torn > 0 {
            file.set_len(whole)?;
            lines.torn = 0;
            note = lines.notes.pop();
        } else if bytes.last().is_some_and(|byte| *byte != b'\n') {
            // A whole event that lacks only its line end.
            waiting.push(b'\n');
        }
        let clock = Clock::after(lines.envelopes.last());
        Ok((Self { lines, file, whole, waiting, torn: false, clock }, note))
    }

    fn append(&mut self, event: Event) -> io::Result<()> {
        let (at, t_ns) = self.clock.now();
        let envelope = Envelope { schema: Schema::CURRENT, seq: self.lines.next_seq(), at, t_ns, event };
        let line = serde_json::to_vec(&envelope);
        self.lines.push(envelope);
        self.waiting.extend(line?);
        self.waiting.push(b'\n');
        self.write_waiting()
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("an earlier line was written in part and cannot be removed"));
        }
        match self.file.write_all(&self.waiting) {
            Ok(()) => {
                self.whole += self.waiting.len() as u64;
                self.waiting.clear();
                Ok(())
            }
            Err(error) => {
                self.torn = self.file.set_len(self.whole).is_err() && self.length() != Some(self.whole);
                Err(error)
            }
        }
    }

    fn length(&self) -> Option<u64> {
        self.file.metadata().ok().map(|file| file.len())
    }
}

/// Wall time, and nanoseconds since the run started.
#[derive(Debug)]
struct Clock {
    opened: Instant,
    /// Where the run stood when the clock was made.
    before_ns: u64,
}

impl Clock {
    /// Goes on where `last` was written; the time in between is that of the wall clock.
    fn after(last: Option<&Envelope>) -> Self {
        let before_ns = last.map_or(0, |last| {
            let since = Timestamp::now().as_nanosecond() - last.at.as_nanosecond();
            last.t_ns.saturating_add(u64::try_from(since).unwrap_or(0))
        });
        Self { opened: Instant::now(), before_ns }
    }

    fn now(&self) -> (Timestamp, u64) {
        let since = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        (Timestamp::now(), self.before_ns.saturating_add(since))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::journal::sample;

    #[test]
    fn a_full_disk_is_told_each_time_and_loses_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let folder = RunFolder::open(path, Arc::new(Redactor::new())).expect("it opens");
        std::os::unix::fs::symlink("/dev/full", folder.path().join(Journal::NAME)).expect("linked");
        let journal = Journal::open(&folder).expect("it opens");
        for event in sample::events() {
            let error = journal.append(event).expect_err("the disk is full");
            assert_eq!(error.path, journal.path());
            assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(journal.record().expect("it began").counts(), sample::run().counts());

        // Room is made: what waits is written, without a gap.
        let roomy = folder.path().join("roomy.jsonl");
        journal.state().file = File::create(&roomy).expect("created");
        journal.append(sample::note(None, "room", "there is room again")).expect("written");
        let run = RunRecord::read(&roomy).expect("readable");
        assert!(!run.notes.iter().any(|note| note.kind == "journal-gap"), "{:?}", run.notes);
        assert_eq!(Some(run), journal.record());
    }
}
