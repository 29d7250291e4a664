//! Which earlier runs are a baseline: [`Runs`], the daily ones of a scenario below a folder, latest first.
//! Must not compare.
//!
//! 基线检索：同一场景的每日运行，由新到旧。

use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::{
    journal::{JournalError, RunRecord, TrialFinished},
    verdict::Verdict,
};

use super::{Evidence, Figure, evidence::RunFacts};

/// How many runs are looked at at most: what is older tells little of today.
const MOST: usize = 60;
/// Runs lie in `<runs>/<run id>/<scenario>/`, and a CI's download puts a folder or two above them.
const DEPTH: usize = 5;
/// The run type of runs that are a measure for others.
const DAILY: &str = "daily";

/// Earlier daily runs of one scenario.
#[derive(Debug, Default)]
pub struct Runs {
    /// Latest first.
    runs: Vec<Earlier>,
    /// What could not be used, and why.
    pub unusable: Vec<String>,
}

/// An earlier trial that was scored.
#[derive(Debug)]
pub struct Scored<'a> {
    /// Whose run it was.
    pub run: RunFacts,
    /// The trial.
    pub trial: &'a TrialFinished,
    /// What its artifacts are named relative to.
    pub folder: &'a Utf8Path,
}

/// A run whose first line is read; the rest of it is once it is asked for.
#[derive(Debug)]
struct Earlier {
    head: RunRecord,
    folder: Utf8PathBuf,
    whole: OnceLock<Option<RunRecord>>,
}

impl Runs {
    /// Reads them: `path` is a folder of runs, the folder of one run, or a journal. Runs of another scenario or
    /// type are passed over in silence, those of an unoptimised client with a word: they measure no speed.
    ///
    /// # Errors
    /// When `path` cannot be read, or names a single journal that is unreadable.
    pub fn read(path: &Utf8Path, scenario: &str) -> Result<Self, JournalError> {
        if path.is_file() {
            let record = RunRecord::read(path)?;
            let folder = path.parent().unwrap_or(Utf8Path::new("")).to_owned();
            let only = Earlier { head: record.clone(), folder, whole: OnceLock::from(Some(record)) };
            return Ok(Self { runs: vec![only], unusable: Vec::new() }.of(scenario));
        }
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        path.read_dir_utf8().map_err(io)?;
        let mut folders = Vec::new();
        find(path, DEPTH, &mut folders);
        let mut found = Self::default();
        for folder in folders {
            match RunRecord::head(&folder) {
                Ok(head) => found.runs.push(Earlier { head, folder, whole: OnceLock::new() }),
                Err(error) => found.unusable.push(error.to_string()),
            }
        }
        let mut found = found.of(scenario);
        found.runs.sort_by_key(|run| std::cmp::Reverse(run.head.started_at));
        found.runs.truncate(MOST);
        // The one that counts most is looked at before anything is asked of a server.
        let latest = found.timed().next();
        let unreadable = latest.and_then(|latest| match RunRecord::read_folder(&latest.folder) {
            Ok(record) => {
                let _ = latest.whole.set(Some(record));
                None
            }
            Err(error) => Some(error.to_string()),
        });
        found.unusable.extend(unreadable);
        Ok(found)
    }

    fn of(mut self, scenario: &str) -> Self {
        let unusable = &mut self.unusable;
        self.runs.retain(|run| {
            let started = &run.head.started;
            let is_meant = started.scenario == scenario && started.run_type == DAILY;
            if is_meant && !started.tool.optimised {
                unusable.push(format!(
                    "run {} was measured by a client built without optimisation",
                    started.run_id
                ));
            }
            is_meant
        });
        self
    }

    /// Those whose client measured the server and not itself.
    fn timed(&self) -> impl Iterator<Item = &Earlier> {
        self.runs.iter().filter(|run| run.head.started.tool.optimised)
    }

    /// How many there are that measured speed.
    pub fn len(&self) -> usize {
        self.timed().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are, an unoptimised client's too: how fast it is does not change what a server answers.
    pub fn answered(&self) -> usize {
        self.runs.len()
    }

    /// When the latest began, and its id.
    pub fn latest(&self) -> Option<(jiff::Timestamp, &str)> {
        self.timed().next().map(|run| (run.head.started_at, run.head.started.run_id.as_str()))
    }

    /// What the latest `most` of those that began before `now` and measured `workload` say of it, latest first; with
    /// their requests where those are asked for.
    pub fn evidence(
        &self,
        workload: &str,
        now: jiff::Timestamp,
        most: usize,
        with_samples: bool,
    ) -> Vec<Evidence> {
        let earlier = self.runs.iter().filter(|run| run.head.started_at < now);
        let of = |run: &Earlier| measured(run.whole()?, &run.folder, workload, with_samples);
        // Not by the run: what a tool measured counts, however our client was built.
        earlier.filter_map(of).filter(|evidence| evidence.run.optimised).take(most).collect()
    }

    /// The trial that scored `workload` in the latest run that did and began before `now`.
    pub fn scored(&self, workload: &str, now: jiff::Timestamp) -> Option<Scored<'_>> {
        let mut earlier = self.runs.iter().filter(|run| run.head.started_at < now);
        earlier.find_map(|run| {
            let record = run.whole()?;
            let trial = meant(record, workload)?;
            Some(Scored { run: RunFacts::of(record), trial, folder: &run.folder })
        })
    }
}

impl Earlier {
    /// All of it, where it can be read.
    fn whole(&self) -> Option<&RunRecord> {
        self.whole.get_or_init(|| RunRecord::read_folder(&self.folder).ok()).as_ref()
    }
}

/// The trial of `record` that exercised `workload` and whose figures count.
fn meant<'a>(record: &'a RunRecord, workload: &str) -> Option<&'a TrialFinished> {
    let is_meant = |trial: &&TrialFinished| {
        matches!(trial.verdict, Verdict::Passed | Verdict::Failed | Verdict::Inconclusive)
            && trial.workload.as_ref().is_some_and(|one| one.hash == workload)
    };
    record.trials.iter().filter_map(|trial| trial.finished()).rfind(is_meant)
}

/// What `record` says of `workload`, where it was measured.
fn measured(record: &RunRecord, folder: &Utf8Path, workload: &str, with_samples: bool) -> Option<Evidence> {
    let trial = meant(record, workload)?;
    let evidence = Evidence::of(record, trial)?;
    let is_whole = Figure::COMPARED.iter().any(|figure| evidence.value(*figure).is_some());
    match with_samples {
        _ if !is_whole => None,
        true => Some(evidence.with_samples(trial, folder)),
        false => Some(evidence),
    }
}

/// Folders that hold a journal, at most `depth` below `folder`. Links (`latest`) are not followed, and nothing is
/// looked for inside a run.
fn find(folder: &Utf8Path, depth: usize, found: &mut Vec<Utf8PathBuf>) {
    let Ok(entries) = folder.read_dir_utf8() else { return };
    let entries: Vec<_> = entries.flatten().collect();
    if entries.iter().any(|entry| RunRecord::is_journal(entry.file_name())) {
        found.push(folder.to_owned());
    } else if depth > 0 {
        for entry in entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            find(entry.path(), depth - 1, found);
        }
    }
}
