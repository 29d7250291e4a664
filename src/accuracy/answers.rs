//! What the server answered, kept as it comes: [`Answers`], a file of lines that only grows, each under a key that
//! tells request and server. A run that was killed is taken up by the next, which asks nothing twice; one that came
//! to its end is not, since a new run is to measure anew. Must not know what is asked.
//!
//! 作答缓存：只追加的 JSONL；被杀的运行可续跑，已完成的运行不复用。

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use st_harness::folder::{LineWriter, RunFolder};

use crate::accuracy::run::Asked;

/// Where the files lie, below the project's root: not among the artifacts of a run, since they hold answers that may
/// not be passed on.
pub const FOLDER: &str = "target/st/answers";

/// An unfinished run that nobody took up for so long is not taken up any more.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// The answers of this run, and of the one that it takes up.
#[derive(Debug, Default)]
pub struct Answers {
    known: HashMap<String, Asked>,
    file: Option<Mutex<File>>,
}

#[derive(Debug)]
struct File {
    lines: LineWriter,
    /// Why something was not written.
    failed: Option<String>,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Answer {
        key: String,
        asked: Box<Asked>,
    },
    /// The run came to its end.
    Finished,
}

impl Answers {
    /// Nothing known, nothing kept.
    pub fn none() -> Self {
        Self::default()
    }

    /// The file `name` below `folder`. Where the run that wrote it did not come to its end, its answers are known;
    /// else the file is set aside as [`previous`], and a new one begins. A line that was torn is passed over.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(folder: &RunFolder, name: &str, resume: bool) -> Result<Self, String> {
        let path = folder.path().join(name);
        let earlier = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<Line> = earlier.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let finished = lines.iter().any(|line| matches!(line, Line::Finished));
        let known: HashMap<String, Asked> = match resume && !finished && is_fresh(&path) {
            true => lines.into_iter().filter_map(Line::answer).collect(),
            false => HashMap::new(),
        };
        if known.is_empty() && path.exists() {
            fs::rename(&path, previous(&path))
                .map_err(|error| format!("cannot set {path} aside: {error}"))?;
        }
        let mut lines = folder.lines(name).map_err(|error| error.to_string())?;
        if !known.is_empty() && !earlier.ends_with('\n') {
            lines.line("").map_err(|error| error.to_string())?;
        }
        Ok(Self { known, file: Some(Mutex::new(File { lines, failed: None })) })
    }

    /// The answer that is known under `key`.
    pub fn get(&self, key: &str) -> Option<&Asked> {
        self.known.get(key)
    }

    /// How many answers are known from before.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// Keeps an answer. What cannot be written is told by [`finish`](Self::finish): it loses no answer of this run.
    pub fn keep(&self, key: &str, asked: &Asked) {
        self.write(&Line::Answer { key: key.to_owned(), asked: Box::new(asked.clone()) });
    }

    /// The run has come to its end: the next one asks anew.
    ///
    /// # Errors
    /// What could not be written, this or anything before.
    pub fn finish(&self) -> Result<(), String> {
        self.write(&Line::Finished);
        let file = self.file.as_ref().map(|file| file.lock().unwrap_or_else(PoisonError::into_inner));
        file.and_then(|mut file| file.failed.take()).map_or(Ok(()), Err)
    }

    fn write(&self, line: &Line) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_string(line).map_err(|error| error.to_string());
        let written = text.and_then(|text| file.lines.line(&text).map_err(|error| error.to_string()));
        if let Err(message) = written {
            file.failed.get_or_insert(message);
        }
    }
}

impl Line {
    fn answer(self) -> Option<(String, Asked)> {
        match self {
            Self::Answer { key, asked } => Some((key, *asked)),
            Self::Finished => None,
        }
    }
}

/// All answers of the files at `path` (a file, or a folder of them), finished or not: for marking them again.
///
/// # Errors
/// When nothing can be read there.
pub fn read_all(path: &Utf8Path) -> Result<HashMap<String, Asked>, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {path}: {error}");
    let files: Vec<Utf8PathBuf> = match path.is_dir() {
        true => {
            let entries = path.read_dir_utf8().map_err(unreadable)?;
            let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.into_path()));
            files.filter(|file| file.extension() == Some("jsonl")).collect()
        }
        false => vec![path.to_owned()],
    };
    let mut all = HashMap::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(unreadable)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        all.extend(lines.filter_map(Line::answer));
    }
    Ok(all)
}

/// Where the answers of the run before are set aside.
pub fn previous(path: &Utf8Path) -> Utf8PathBuf {
    path.with_extension("previous.jsonl")
}

fn is_fresh(path: &Utf8Path) -> bool {
    let written = fs::metadata(path).and_then(|meta| meta.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < FRESH))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::accuracy::reply::Reply;

    fn folder() -> (tempfile::TempDir, RunFolder) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("answers");
        let folder = RunFolder::open(path, Arc::default()).unwrap();
        (dir, folder)
    }

    fn asked(text: &str) -> Asked {
        Asked::at_once(Reply::answered(text))
    }

    #[test]
    fn what_a_killed_run_was_told_is_known_to_the_next() {
        let (_dir, folder) = folder();
        let first = Answers::open(&folder, "a.jsonl", true).unwrap();
        first.keep("k", &asked("one"));
        drop(first);
        let second = Answers::open(&folder, "a.jsonl", true).unwrap();
        assert_eq!((second.get("k"), second.known()), (Some(&asked("one")), 1));
        second.keep("l", &asked("two"));
        second.finish().unwrap();
        let third = Answers::open(&folder, "a.jsonl", true).unwrap();
        assert_eq!(third.known(), 0, "a run that came to its end is not taken up");
        let kept = read_all(folder.path()).unwrap();
        assert_eq!((kept.get("k"), kept.get("l")), (Some(&asked("one")), Some(&asked("two"))));
    }

    #[test]
    fn a_torn_last_line_costs_that_answer_only() {
        let (_dir, folder) = folder();
        let first = Answers::open(&folder, "a.jsonl", true).unwrap();
        first.keep("k", &asked("one"));
        first.keep("l", &asked("two"));
        drop(first);
        let path = folder.path().join("a.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 9]).unwrap();
        let second = Answers::open(&folder, "a.jsonl", true).unwrap();
        assert_eq!((second.known(), second.get("l")), (1, None));
        second.keep("l", &asked("again"));
        drop(second);
        let third = Answers::open(&folder, "a.jsonl", true).unwrap();
        assert_eq!((third.known(), third.get("l")), (2, Some(&asked("again"))));
    }

    #[test]
    fn who_does_not_want_to_resume_begins_anew() {
        let (_dir, folder) = folder();
        Answers::open(&folder, "a.jsonl", true).unwrap().keep("k", &asked("one"));
        assert_eq!(Answers::open(&folder, "a.jsonl", false).unwrap().known(), 0);
    }
}
