//! Exchanges on disk: a [`Recorder`] keeps every attempt as a file, [`Recordings`] answer from such files without a
//! server. Must not know what an answer means.
//!
//! 录制与回放。
//!
//! A file holds `{id, request {method, path, headers, body | raw_body}, response {status, headers, chunks [{t_ms,
//! text | base64}], total_ms, away_ms?, fault?}}`; times are milliseconds since the attempt began. A replay takes no time and
//! tells those: what is judged by its times is judged as it was.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};
use st_harness::redact::Redactor;

use super::{
    Attempt, Carried, End, Event, Exchange, Fault, Order, Request, Stamp,
    address::path_of,
    tape_file::{self, Recorded, Response},
};

/// A recording that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TapeError {
    /// The file or folder cannot be read or written.
    #[error("{path}: {problem}")]
    Io {
        /// Which.
        path: Utf8PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The file is no recording.
    #[error("{path} is no recording: {problem}; record the exchange again with --record")]
    Shape {
        /// Which.
        path: Utf8PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Keeps every attempt as one file, masked. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<RecorderInner>,
}

struct RecorderInner {
    dir: Utf8PathBuf,
    redactor: Arc<Redactor>,
    counts: Counts,
    faults: Mutex<Vec<TapeError>>,
}

impl Recorder {
    /// Records into `dir`, which is created with the first file; a file of the same name is replaced.
    pub fn new(dir: impl Into<Utf8PathBuf>, redactor: Arc<Redactor>) -> Self {
        let (dir, counts, faults) = (dir.into(), Counts::default(), Mutex::default());
        Self { inner: Arc::new(RecorderInner { dir, redactor, counts, faults }) }
    }

    /// What could not be written so far, taken away. An exchange goes on even where it cannot be recorded.
    pub fn take_faults(&self) -> Vec<TapeError> {
        std::mem::take(&mut self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps `attempt`, unless nothing was sent. One that was cancelled is kept as far as it came.
    pub(crate) fn keep(&self, scope: &str, request: &Request, attempt: &Attempt) {
        if matches!(attempt.end, End::Broken(Fault::Unsendable { .. } | Fault::Recording { .. })) {
            return;
        }
        let key = Key::of(scope, request);
        let name = key.file(self.inner.counts.next(&key));
        let text = tape_file::write(&name, request, attempt);
        let text = self.inner.redactor.redact(&text);
        if let Err(fault) = write(&self.inner.dir.join(name + ".json"), &text) {
            self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        }
    }
}

fn write(path: &Utf8Path, text: &str) -> Result<(), TapeError> {
    let io = |e: std::io::Error| TapeError::Io { path: path.to_owned(), problem: e.to_string() };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    std::fs::write(path, text).map_err(io)
}

/// Answers read from a folder. Cheap to clone; the clones count together which repetition of a request is next.
#[derive(Clone)]
pub struct Recordings {
    inner: Arc<RecordingsInner>,
}

struct RecordingsInner {
    dir: Utf8PathBuf,
    responses: HashMap<Key, Vec<Response>>,
    counts: Counts,
}

impl Recordings {
    /// The recordings in `dir`. What lies in a folder of it answers only in that scope, what
    /// lies in `dir` itself answers wherever its scope has nothing.
    ///
    /// # Errors
    /// When there is no such folder, or a `.json` file in it is no recording.
    pub fn open(dir: impl Into<Utf8PathBuf>) -> Result<Self, TapeError> {
        let dir = dir.into();
        if !dir.is_dir() {
            let problem = "there is no such folder to replay from; make one with --record".to_owned();
            return Err(TapeError::Io { path: dir, problem });
        }
        let mut responses: HashMap<Key, Vec<Response>> = HashMap::new();
        for path in files(&dir)? {
            let recorded = read_file(&path)?;
            let folder = path.parent().filter(|parent| *parent != dir).and_then(Utf8Path::file_name);
            let key = Key::of(folder.unwrap_or_default(), &recorded.request);
            responses.entry(key).or_default().push(recorded.response);
        }
        Ok(Self { inner: Arc::new(RecordingsInner { dir, responses, counts: Counts::default() }) })
    }

    /// One attempt as it was recorded, at once: all events but the end, at the times they had. No limit holds.
    pub(super) fn answer(
        &self,
        scope: &str,
        order: &Order<'_>,
        on: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Carried {
        let response = match self.find(scope, order.request) {
            Ok(response) => response,
            Err(fault) => return Carried { result: Err(fault), ended: Stamp::now(), away: None },
        };
        if let Some(status) = response.status {
            let at = order.begun.after(response.headers_t());
            on(Event::Headers { at, status, headers: response.headers.clone() });
        }
        for (t, bytes) in &response.chunks {
            on(Event::Bytes(order.begun.after(*t), bytes));
        }
        let result = response.fault.clone().map_or(Ok(()), Err);
        Carried { result, ended: order.begun.after(response.total), away: response.away }
    }

    fn find(&self, scope: &str, request: &Request) -> Result<&Response, Fault> {
        let inner = &self.inner;
        let key = Key::of(scope, request);
        let turn = inner.counts.next(&key);
        let found = inner.responses.get(&key).or_else(|| inner.responses.get(&key.anywhere()));
        found.and_then(|responses| responses.get(turn - 1)).ok_or_else(|| Fault::Recording {
            message: format!(
                "{} {}{}, time {turn}, but {} holds {} of this request; record it with --record",
                request.method,
                path_of(&request.route),
                if scope.is_empty() { String::new() } else { format!(" in {scope}") },
                inner.dir,
                found.map_or(0, Vec::len),
            ),
        })
    }
}

/// The recordings in `dir` and the folders in it, those of one request in the order in which they were made.
fn files(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, TapeError> {
    let io = |e: std::io::Error| TapeError::Io { path: dir.to_owned(), problem: e.to_string() };
    let mut files = Vec::new();
    for entry in dir.read_dir_utf8().map_err(io)? {
        let path = entry.map_err(io)?.into_path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension() == Some("json") {
            files.push(path);
        }
    }
    // By number, so that the tenth does not come before the second.
    let turn = |path: &Utf8Path| path.file_stem()?.rsplit_once('-')?.1.parse::<usize>().ok();
    files.sort_by_cached_key(|path| (turn(path), path.clone()));
    Ok(files)
}

/// Reads one recorded exchange.
///
/// # Errors
/// When the file cannot be read, or is no recording.
pub fn read_recording(path: &Utf8Path) -> Result<Exchange, TapeError> {
    let Recorded { request, response } = read_file(path)?;
    Ok(Exchange { request, attempts: vec![response.attempt()] })
}

fn read_file(path: &Utf8Path) -> Result<Recorded, TapeError> {
    let io = |e: std::io::Error| TapeError::Io { path: path.to_owned(), problem: e.to_string() };
    let text = std::fs::read_to_string(path).map_err(io)?;
    tape_file::read(&text).map_err(|problem| TapeError::Shape { path: path.to_owned(), problem })
}

/// What makes two requests the same: the scope, and all that is sent but the headers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    folder: String,
    hash: String,
}

impl Key {
    fn of(scope: &str, request: &Request) -> Self {
        let mut hash = Sha256::new();
        for part in [request.method.as_bytes(), path_of(&request.route).as_bytes()] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(request.body.as_deref().unwrap_or_default());
        let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { folder: scope.replace("::", "."), hash }
    }

    /// The same request in no scope.
    fn anywhere(&self) -> Self {
        Self { folder: String::new(), hash: self.hash.clone() }
    }

    /// The file of the `turn`-th repetition, without its extension, relative to the folder.
    fn file(&self, turn: usize) -> String {
        let slash = if self.folder.is_empty() { "" } else { "/" };
        format!("{}{slash}{}-{turn}", self.folder, self.hash)
    }
}

/// How often each request was made.
#[derive(Default)]
struct Counts(Mutex<HashMap<Key, usize>>);

impl Counts {
    /// 1 for the first time.
    fn next(&self, key: &Key) -> usize {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        *count += 1;
        *count
    }
}
