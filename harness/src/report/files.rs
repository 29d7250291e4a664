//! The files that trials left beside the journal, for the reports that are made of them too: [`Files`]. Reading is
//! all that can be done here, and what is read is what the journal names. Must not know what is in a file.
//!
//! 报告可读取的试验附件，按日志中的哈希核对。

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind},
};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    folder::{sha256, sha256_of},
    verdict::Artifact,
};

/// The folders of a run, as far as a report may look into them: one, or several where runs were merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    folders: Vec<Utf8PathBuf>,
}

/// A file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is in no folder of the run.
    #[error(
        "{path} is in no folder of the run ({looked}); a report of it needs the files that the trial left"
    )]
    Missing {
        /// The file.
        path: Utf8PathBuf,
        /// Where it was looked for.
        looked: String,
    },
    /// It is not the file that the journal names.
    #[error("{path} is not the file that the journal names: its SHA-256 is {found}, expected {expected}")]
    Altered {
        /// The file.
        path: Utf8PathBuf,
        /// Of what stands on the disk.
        found: String,
        /// Of what was written.
        expected: String,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Files {
    /// Those below `folders`, looked through in this order.
    pub fn below(folders: impl IntoIterator<Item = impl Into<Utf8PathBuf>>) -> Self {
        Self { folders: folders.into_iter().map(Into::into).collect() }
    }

    /// The text of a finished trial's file, as it was written. Where several folders hold one of that name, it is
    /// the one with the right hash.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or was altered since.
    pub fn text(&self, artifact: &Artifact) -> Result<String, FileError> {
        let mut altered = None;
        for text in self.found(&artifact.path) {
            let text = text?;
            let found = sha256(text.as_bytes());
            if found == artifact.sha256 {
                return Ok(text);
            }
            altered.get_or_insert(FileError::Altered {
                path: artifact.path.clone(),
                found,
                expected: artifact.sha256.clone(),
            });
        }
        Err(altered.unwrap_or_else(|| self.missing(&artifact.path)))
    }

    /// The same, line by line, each with its end: a file that may be large is never in memory as a whole.
    ///
    /// # Errors
    /// As [`text`](Self::text); and for a line that cannot be read.
    pub fn lines(
        &self,
        artifact: &Artifact,
    ) -> Result<impl Iterator<Item = Result<String, FileError>> + use<>, FileError> {
        let mut altered = None;
        for folder in &self.folders {
            let path = folder.join(&artifact.path);
            let failed = |source| FileError::Io { path: path.clone(), source };
            let found = match File::open(&path) {
                Ok(file) => sha256_of(file).map_err(failed)?,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(failed(source)),
            };
            if found == artifact.sha256 {
                let file = BufReader::new(File::open(&path).map_err(failed)?);
                return Ok(lines(file, path));
            }
            altered.get_or_insert(FileError::Altered {
                path: artifact.path.clone(),
                found,
                expected: artifact.sha256.clone(),
            });
        }
        Err(altered.unwrap_or_else(|| self.missing(&artifact.path)))
    }

    /// The text of an interrupted trial's sidecar, of which nobody knows how much there should be.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub fn begun(&self, path: &Utf8Path) -> Result<String, FileError> {
        self.found(path).next().unwrap_or_else(|| Err(self.missing(path)))
    }

    /// The file `path` of every folder that has one. Bytes that are no UTF-8 are replaced: a killed process may
    /// leave half a character at the end.
    fn found(&self, path: &Utf8Path) -> impl Iterator<Item = Result<String, FileError>> {
        self.folders.iter().filter_map(move |folder| {
            let path = folder.join(path);
            match std::fs::read(&path) {
                Ok(bytes) => Some(Ok(lossy(bytes))),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(source) => Some(Err(FileError::Io { path, source })),
            }
        })
    }

    fn missing(&self, path: &Utf8Path) -> FileError {
        let looked: Vec<&str> = self.folders.iter().map(|folder| folder.as_str()).collect();
        let looked = if looked.is_empty() { "none is known".to_owned() } else { looked.join(", ") };
        FileError::Missing { path: path.to_owned(), looked }
    }
}

/// The lines of `file`, which is at `path`.
fn lines(mut file: BufReader<File>, path: Utf8PathBuf) -> impl Iterator<Item = Result<String, FileError>> {
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match file.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(lossy(line))),
            Err(source) => Some(Err(FileError::Io { path: path.clone(), source })),
        }
    })
}

/// Without a copy where it is text.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(texts: &[(&str, &str)]) -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        for (name, text) in texts {
            std::fs::write(path.join(name), text).expect("written");
        }
        (dir, path)
    }

    fn artifact(text: &str) -> Artifact {
        Artifact {
            role: "requests".to_owned(),
            path: "requests.jsonl".into(),
            sha256: sha256(text.as_bytes()),
            media: "application/jsonl".to_owned(),
        }
    }

    #[test]
    fn of_several_folders_the_file_that_the_journal_names_is_read() {
        let (_one, first) = folder(&[("requests.jsonl", "of another run")]);
        let (_two, second) = folder(&[("requests.jsonl", "ours")]);
        let files = Files::below([first, second]);
        assert_eq!(files.text(&artifact("ours")).expect("it is there"), "ours");
        assert_eq!(files.begun("requests.jsonl".into()).expect("it is there"), "of another run");
        let lines = files.lines(&artifact("ours")).expect("it is there");
        assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["ours"]);
    }

    #[test]
    fn lines_are_those_of_the_text_each_with_its_end() {
        let text = "one\n\nthree\nhalf";
        let (_dir, path) = folder(&[("requests.jsonl", text)]);
        let lines = Files::below([path]).lines(&artifact(text)).expect("it is there");
        assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["one\n", "\n", "three\n", "half"]);
    }

    #[test]
    fn an_altered_file_is_told_as_such_and_not_read() {
        let (_dir, path) = folder(&[("requests.jsonl", "edited")]);
        let error = Files::below([path]).text(&artifact("ours")).expect_err("refused").to_string();
        assert!(error.starts_with("requests.jsonl is not the file that the journal names"), "{error}");
    }

    #[test]
    fn a_missing_file_tells_where_it_was_looked_for() {
        let error = Files::below(["/nowhere"]).text(&artifact("ours")).expect_err("refused").to_string();
        assert!(error.contains("is in no folder of the run (/nowhere)"), "{error}");
        let error = Files::default().begun("a".into()).expect_err("refused").to_string();
        assert!(error.contains("none is known"), "{error}");
    }
}
