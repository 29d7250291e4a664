//! The run folder: [`RunFolder`] is the only door through which files leave, so that every byte passes the
//! redactor. Must not know what is written.
//!
//! A document is written whole to a temporary file beside its place and renamed: a reader, or a killed process,
//! never sees half of it. What grows while the run goes on (sidecars, logs) goes through a [`LineWriter`], one
//! whole line at a time, so that no secret is split over two writes.
//!
//! 运行目录：所有文件的唯一出口。

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::{case::TrialId, redact::Redactor, verdict::Artifact};

/// A file could not be written: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct FolderError {
    /// The file.
    pub path: Utf8PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: Utf8PathBuf,
    redactor: Arc<Redactor>,
}

impl RunFolder {
    /// Opens `path`, creating it where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(path: impl Into<Utf8PathBuf>, redactor: Arc<Redactor>) -> Result<Self, FolderError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(at(&path))?;
        Ok(Self { path, redactor })
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// What masks secrets on the way out.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Writes `text` as the file `path` below this folder: redacted, whole or not at all. A file that was there
    /// is replaced.
    ///
    /// # Errors
    /// When `path` leads out of the folder, or the file cannot be written whole.
    pub fn write(&self, path: impl AsRef<Utf8Path>, text: &str) -> Result<(), FolderError> {
        let target = self.place(path.as_ref())?;
        self.write_at(&target, text).map(drop)
    }

    /// Opens the file `path` below this folder for lines, each redacted and flushed; what is in it stays.
    ///
    /// # Errors
    /// When `path` leads out of the folder, or the file cannot be opened.
    pub fn lines(&self, path: impl AsRef<Utf8Path>) -> Result<LineWriter, FolderError> {
        let target = self.place(path.as_ref())?;
        let file = File::options().append(true).create(true).open(&target).map_err(at(&target))?;
        Ok(LineWriter { file, path: target, redactor: self.redactor.clone(), begun: Vec::new() })
    }

    /// Where the trial `id` leaves its files: `trials/<id with . for ::>/`.
    pub fn trial(&self, id: &TrialId) -> TrialFolder {
        TrialFolder {
            run: self.clone(),
            prefix: Utf8Path::new("trials").join(id.as_str().replace("::", ".")),
        }
    }

    /// Points the link `latest` in `parent`, a folder above this one, at this folder. The link is relative, so
    /// that the tree can be moved, and replaced in one step.
    ///
    /// # Errors
    /// When this folder is not below `parent`, or something that is no link is in the way.
    pub fn link_latest(&self, parent: impl AsRef<Utf8Path>) -> Result<(), FolderError> {
        let link = parent.as_ref().join("latest");
        let below = self.path.strip_prefix(parent.as_ref()).map_err(|_| FolderError {
            path: link.clone(),
            source: io::Error::other(format!("{} is not below {}", self.path, parent.as_ref())),
        })?;
        let temporary = temporary_beside(&link);
        symlink(below, &temporary)
            .and_then(|()| fs::rename(&temporary, &link))
            .inspect_err(|_| forget(&temporary))
            .map_err(at(&link))
    }

    /// The full path of `path`, whose folder is created.
    fn place(&self, path: &Utf8Path) -> Result<Utf8PathBuf, FolderError> {
        let stays = path.components().all(|part| matches!(part, Utf8Component::Normal(_)));
        if !stays || path.file_name().is_none() {
            let source = io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path must name a file below {}, without .. or a leading /", self.path),
            );
            return Err(FolderError { path: path.to_owned(), source });
        }
        let target = self.path.join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        Ok(target)
    }

    /// Gives the SHA-256 of what was written.
    fn write_at(&self, target: &Utf8Path, text: &str) -> Result<String, FolderError> {
        let text = match target.extension() {
            Some("json") => self.redactor.redact_json(text),
            _ => self.redactor.redact(text),
        };
        let temporary = temporary_beside(target);
        // Not synced: a rename is whole against a killed process, and a lost machine loses the run anyway.
        fs::write(&temporary, text.as_bytes())
            .and_then(|()| fs::rename(&temporary, target))
            .inspect_err(|_| forget(&temporary))
            .map_err(at(target))?;
        Ok(sha256(text.as_bytes()))
    }
}

/// The part of a run folder that belongs to one trial; created with its first file.
#[derive(Debug, Clone)]
pub struct TrialFolder {
    run: RunFolder,
    prefix: Utf8PathBuf,
}

impl TrialFolder {
    /// Writes `text` as file `name`, redacted. The artifact's hash is that of what stands on the disk.
    ///
    /// # Errors
    /// When `name` leads out of the folder, or the file cannot be written whole.
    pub fn write(&self, role: &str, name: &str, media: &str, text: &str) -> Result<Artifact, FolderError> {
        let path = self.path_of(name);
        let target = self.run.place(&path)?;
        let sha256 = self.run.write_at(&target, text)?;
        Ok(Artifact { role: role.to_owned(), path, sha256, media: media.to_owned() })
    }

    /// Opens the file `name` for lines; [`artifact`](Self::artifact) tells of it once it is complete.
    ///
    /// # Errors
    /// When `name` leads out of the folder, or the file cannot be opened.
    pub fn lines(&self, name: &str) -> Result<LineWriter, FolderError> {
        self.run.lines(self.path_of(name))
    }

    /// The artifact that the file `name`, written before through [`lines`](Self::lines), has become.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn artifact(&self, role: &str, name: &str, media: &str) -> Result<Artifact, FolderError> {
        let path = self.path_of(name);
        let target = self.run.place(&path)?;
        let sha256 = File::open(&target).and_then(sha256_of).map_err(at(&target))?;
        Ok(Artifact { role: role.to_owned(), path, sha256, media: media.to_owned() })
    }

    /// The folder that it is part of.
    pub fn run(&self) -> &RunFolder {
        &self.run
    }

    /// Where `name` lies, relative to the run folder.
    pub fn path_of(&self, name: &str) -> Utf8PathBuf {
        self.prefix.join(name)
    }
}

/// A file that grows by lines, each redacted. Bytes after the last line end wait for theirs; dropping it, or
/// [`finish`](Self::finish), writes them as a line.
#[derive(Debug)]
pub struct LineWriter {
    file: File,
    path: Utf8PathBuf,
    redactor: Arc<Redactor>,
    begun: Vec<u8>,
}

impl LineWriter {
    /// Writes `line` and its end in one call.
    ///
    /// # Errors
    /// When it cannot be written whole.
    pub fn line(&mut self, line: &str) -> Result<(), FolderError> {
        writeln!(self, "{line}").map_err(at(&self.path))
    }

    /// Writes what waits for a line end.
    ///
    /// # Errors
    /// When it cannot be written whole.
    pub fn finish(mut self) -> Result<(), FolderError> {
        self.write_begun().map_err(at(&self.path))
    }

    fn write_begun(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.begun) {
            begun if begun.is_empty() => Ok(()),
            mut begun => {
                begun.push(b'\n');
                self.write_lines(&begun)
            }
        }
    }

    /// `lines` are whole. Bytes that are no UTF-8 (a log of somebody else's) are replaced, not lost.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(lines);
        let masked: String = match self.path.extension() {
            Some("json" | "jsonl") => {
                text.split_inclusive('\n').map(|line| self.redactor.redact_json(line)).collect()
            }
            _ => self.redactor.redact(&text).into_owned(),
        };
        self.file.write_all(masked.as_bytes())
    }
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                let mut lines = std::mem::take(&mut self.begun);
                lines.extend_from_slice(&bytes[..=end]);
                self.begun = bytes[end + 1..].to_owned();
                self.write_lines(&lines)?;
            }
            None => self.begun.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    /// Whole lines are always flushed; the begun one waits, since half of it might be half of a secret.
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        // Nobody is left to be told; who wants to know calls `finish`.
        let _ = self.write_begun();
    }
}

/// SHA-256 of `bytes`, in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of all that `file` holds, which is never in memory as a whole.
pub(crate) fn sha256_of(mut file: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(path: &Utf8Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    |source| FolderError { path, source }
}

/// A name in the same folder that no other thread or process uses: a rename stays on one disk.
fn temporary_beside(target: &Utf8Path) -> Utf8PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().unwrap_or_default();
    target.with_file_name(format!(".{name}.{}.{count}.tmp", std::process::id()))
}

/// Removes a half-written file; that it could not even be created is told by the error in hand.
fn forget(temporary: &Utf8Path) {
    let _ = fs::remove_file(temporary);
}

#[cfg(unix)]
fn symlink(target: &Utf8Path, link: &Utf8Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &Utf8Path, _link: &Utf8Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "links are made on Unix only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, RunFolder) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(dir.path().join("runs/one")).expect("UTF-8");
        let redactor = Redactor::new().secret("hunter22");
        (dir, RunFolder::open(path, Arc::new(redactor)).expect("it opens"))
    }

    fn read(folder: &RunFolder, path: &str) -> String {
        fs::read_to_string(folder.path().join(path)).expect("the file stands")
    }

    /// All names below the folder, temporary ones too.
    fn names(folder: &Utf8Path) -> Vec<String> {
        let mut names: Vec<_> = folder
            .read_dir_utf8()
            .expect("it is readable")
            .map(|entry| entry.expect("an entry").file_name().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_document_is_redacted_and_replaced_whole() {
        let (_dir, folder) = folder();
        folder.write("logs/a.txt", "first").expect("written");
        folder.write("logs/a.txt", "key hunter22").expect("written");
        assert_eq!(read(&folder, "logs/a.txt"), "key ***");
        assert_eq!(names(&folder.path().join("logs")), ["a.txt"]);
    }

    #[test]
    fn an_artifact_names_what_stands_on_the_disk() {
        let (_dir, folder) = folder();
        let id = TrialId::new("functional::chat_core::top_p").expect("an id");
        let artifact = folder
            .trial(&id)
            .write("exchange", "1.json", "application/json", r#"{"key":"hunter22"}"#)
            .expect("written");
        assert_eq!(artifact.path, "trials/functional.chat_core.top_p/1.json");
        let text = read(&folder, artifact.path.as_str());
        assert_eq!(text, r#"{"key":"***"}"#);
        assert_eq!(artifact.sha256, sha256(text.as_bytes()));
    }

    #[test]
    fn a_known_hash_is_that_of_the_standard() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        let (_dir, folder) = folder();
        let trial = folder.trial(&TrialId::new("a::b").expect("an id"));
        for path in ["../x", "a/../../x", "/tmp/x", "", ".", "a/.."] {
            let error = folder.write(path, "text").expect_err(path);
            assert!(error.to_string().contains("must name a file below"), "{error}");
            assert!(folder.lines(path).is_err(), "{path}");
        }
        assert!(trial.write("log", "../../../x", "text/plain", "text").is_err());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing_behind() {
        let (_dir, folder) = folder();
        fs::create_dir(folder.path().join("junit.xml")).expect("a folder in the way");
        let error = folder.write("junit.xml", "text").expect_err("a folder cannot be replaced");
        assert_eq!(error.path, folder.path().join("junit.xml"));
        assert_eq!(names(folder.path()), ["junit.xml"]);
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_told() {
        let (_dir, folder) = folder();
        folder.write("logs", "text").expect("written");
        let error = folder.write("logs/a.txt", "text").expect_err("logs is a file");
        assert_eq!(error.path, folder.path().join("logs"));
    }

    #[test]
    fn a_secret_split_over_two_writes_is_masked() {
        let (_dir, folder) = folder();
        let mut lines = folder.lines("server.log").expect("it opens");
        lines.write_all(b"one\nkey hun").expect("written");
        lines.flush().expect("flushed");
        assert_eq!(read(&folder, "server.log"), "one\n");
        lines.write_all(b"ter22\nend hunter22").expect("written");
        assert_eq!(read(&folder, "server.log"), "one\nkey ***\n");
        lines.finish().expect("finished");
        assert_eq!(read(&folder, "server.log"), "one\nkey ***\nend ***\n");
    }

    #[test]
    fn what_was_begun_is_written_when_the_writer_is_dropped() {
        let (_dir, folder) = folder();
        folder.lines("a.log").expect("it opens").write_all(b"no end").expect("written");
        assert_eq!(read(&folder, "a.log"), "no end\n");
    }

    #[test]
    fn a_sidecar_becomes_an_artifact() {
        let (_dir, folder) = folder();
        let trial = folder.trial(&TrialId::new("perf::smoke::chat").expect("an id"));
        let mut lines = trial.lines("requests.jsonl").expect("it opens");
        lines.line(r#"{"i":0,"key":"hunter22"}"#).expect("written");
        lines.finish().expect("finished");
        let artifact = trial.artifact("requests", "requests.jsonl", "application/jsonl").expect("it stands");
        assert_eq!(read(&folder, artifact.path.as_str()), "{\"i\":0,\"key\":\"***\"}\n");
        assert_eq!(artifact.sha256, sha256(b"{\"i\":0,\"key\":\"***\"}\n"));
    }

    #[cfg(unix)]
    #[test]
    fn latest_points_at_the_newest_run_by_a_relative_link() {
        let (dir, first) = folder();
        let runs = first.path().parent().expect("a parent").to_owned();
        let second = RunFolder::open(runs.join("two"), first.redactor().clone()).expect("it opens");
        first.link_latest(&runs).expect("linked");
        second.link_latest(&runs).expect("linked again");
        assert_eq!(runs.join("latest").read_link_utf8().expect("a link"), "two");
        assert_eq!(names(&runs), ["latest", "one", "two"]);

        let elsewhere = Utf8PathBuf::from_path_buf(dir.path().join("other")).expect("UTF-8");
        let error = first.link_latest(&elsewhere).expect_err("not above");
        assert!(error.to_string().contains("is not below"), "{error}");

        fs::remove_file(runs.join("latest")).expect("removed");
        fs::create_dir(runs.join("latest")).expect("a folder in the way");
        assert!(first.link_latest(&runs).is_err());
        assert_eq!(names(&runs), ["latest", "one", "two"]);
    }
}
