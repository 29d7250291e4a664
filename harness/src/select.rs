//! The offline half of a run: which cases there are, and which of them are meant. All that `--list` does; no
//! network, no clock. Must not know how a trial is run.
//!
//! 离线选择：有哪些用例，选中哪些。

use std::{collections::BTreeSet, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    args::Filter,
    capability::Catalogue,
    case::{self, Case, ExpandedCase, TrialId},
    diag::{Problem, Problems},
    expand::{self, Limits},
    read::Source,
    suggest,
    suite::AnySuite,
};

/// A suite and where its cases lie.
pub(crate) struct Mounted<W> {
    pub(crate) suite: Arc<dyn AnySuite<W>>,
    /// A folder of case files, or one case file.
    pub(crate) cases: Utf8PathBuf,
    /// Only these files, by name; all where absent.
    pub(crate) only: Option<Vec<String>>,
}

/// An expanded case and the suite that runs it.
pub(crate) struct Selected<W> {
    pub(crate) case: Arc<ExpandedCase>,
    pub(crate) suite: Arc<dyn AnySuite<W>>,
}

/// What the cases are read for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) root: &'a Utf8Path,
    pub(crate) run_type: &'a str,
    pub(crate) filter: &'a Filter,
    pub(crate) catalogue: &'a Catalogue,
}

/// Reads and expands every case of the run type, whatever the filter says: libtest counts what it leaves out,
/// and a mistake in a file that is not meant today is a mistake all the same. Only an exact name is read from
/// its own file alone, because nextest starts a process for each.
///
/// Adds every mistake of every file to `problems`; what could be read all the same is returned, so that its own
/// mistakes can be told with the others.
pub(crate) fn load<W>(
    suites: &[Mounted<W>],
    wanted: Wanted<'_>,
    problems: &mut Problems,
) -> Vec<Selected<W>> {
    let mut cases = Vec::new();
    for mounted in suites {
        cases_of(mounted, wanted, &mut cases, problems);
    }
    let expanded = expand::expand_around(&cases, Limits::default(), problems);
    expanded.into_iter().filter_map(|case| select(suites, case)).collect()
}

fn select<W>(suites: &[Mounted<W>], case: ExpandedCase) -> Option<Selected<W>> {
    let mounted = suites.iter().find(|mounted| mounted.suite.kind() == case.id.kind())?;
    Some(Selected { case: Arc::new(case), suite: Arc::clone(&mounted.suite) })
}

fn cases_of<W>(mounted: &Mounted<W>, wanted: Wanted<'_>, cases: &mut Vec<Case>, problems: &mut Problems) {
    let kind = mounted.suite.kind();
    let files = problems.collect(files_of(mounted, wanted.root)).unwrap_or_default();
    for file in files.iter().filter(|file| is_meant(mounted, wanted, file)) {
        if let Some(source) = problems.collect(Source::load(wanted.root, file)) {
            cases.extend(case::read_around(&Arc::new(source), kind, wanted.catalogue, problems));
        }
    }
}

/// The case files of a suite, sorted. A suite without a folder has no cases; a file that was named must be there.
fn files_of<W>(mounted: &Mounted<W>, root: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Vec<Problem>> {
    let path = root.join(&mounted.cases);
    if path.is_file() {
        return Ok(vec![path]);
    }
    if !path.is_dir() {
        let message = format!("expected case files in {}, found no such file or folder", mounted.cases);
        return Err(vec![Problem::new(message)]);
    }
    let unreadable = |error| vec![Problem::new(format!("cannot list {path}: {error}"))];
    let mut files = Vec::new();
    for entry in path.read_dir_utf8().map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.into_path();
        if matches!(file.extension(), Some("yaml" | "yml")) {
            files.push(file);
        }
    }
    files.sort();
    unknown_names(mounted, &files)?;
    Ok(files)
}

/// Suite names that somebody asked for and that no file has.
fn unknown_names<W>(mounted: &Mounted<W>, files: &[Utf8PathBuf]) -> Result<(), Vec<Problem>> {
    let names: BTreeSet<&str> = files.iter().filter_map(|file| file.file_stem()).collect();
    let mut problems = Problems::new();
    for name in mounted.only.iter().flatten().filter(|name| !names.contains(name.as_str())) {
        let kind = mounted.suite.kind();
        let known: Vec<&str> = names.iter().copied().collect();
        let near = suggest::near(name, known.iter().copied());
        let help = suggest::question(&near).unwrap_or_else(|| format!("there are: {}", known.join(", ")));
        problems.push(Problem::new(format!("no {kind} suite is named `{name}`")).with_help(help));
    }
    problems.check()
}

fn is_meant<W>(mounted: &Mounted<W>, wanted: Wanted<'_>, file: &Utf8Path) -> bool {
    let name = file.file_stem().unwrap_or_default();
    let asked = mounted.only.as_ref().is_none_or(|only| only.iter().any(|one| one == name));
    asked
        && mounted.suite.selects(name, wanted.run_type)
        && exact_names(wanted.filter, mounted.suite.kind(), name)
}

/// Whether an exact filter can mean a trial of this file. Its id begins with `kind::file::`.
fn exact_names(filter: &Filter, kind: &str, file: &str) -> bool {
    let Some(id) = filter.text.as_deref().filter(|_| filter.exact).and_then(TrialId::new) else {
        return true;
    };
    let mut segments = id.as_str().split("::");
    segments.next() == Some(kind) && segments.next() == Some(file)
}

/// What to say where a filter selects nothing: the filter, and the names that come near it.
pub(crate) fn nothing_selected<'a>(filter: &Filter, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let total = names.clone().count();
    let Some(text) = &filter.text else {
        return format!("no trial is left of {total}: `--skip` leaves out all of them");
    };
    let near = suggest::near_ids(text, names);
    let hint = suggest::question(&near).unwrap_or_else(|| "`--list` prints all names".to_owned());
    format!("no trial matches `{text}` ({total} trials are there); {hint}")
}
