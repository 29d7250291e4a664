//! All of `configs/`, read at once: [`Files`]. Must not choose among what it reads.
//!
//! 一次读入 configs/ 下的全部文件。

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use st_harness::{
    capability::Catalogue,
    diag::Problem,
    read::{self, Origin, Source},
};

use super::{
    check::with_near,
    matrix::{Matrix, RawMatrix},
    providers::{Providers, RawProviders},
    scenario::{ModeName, RawScenario, Scenario},
};

/// Where scenarios lie, below the root.
const SCENARIOS: &str = "configs/scenarios";
/// Where the matrix lies, below the root.
const MATRIX: &str = "configs/matrix.yaml";
/// Where the providers lie, below the root.
const PROVIDERS: &str = "configs/providers.yaml";

/// Scenarios that are there even where the root has no file of theirs, so that a crate that only uses this
/// library needs no `configs/` to begin with.
const BUILT_IN: [(&str, &str); 2] = [
    ("sim", include_str!("../../configs/scenarios/sim.yaml")),
    ("attach", include_str!("../../configs/scenarios/attach.yaml")),
];

/// What `configs/` holds.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// By name, in alphabetical order.
    pub scenarios: Vec<Scenario>,
    /// Which of them run, and how much of each.
    pub matrix: Matrix,
    /// Endpoints by name.
    pub providers: Providers,
    /// Scenarios that are there but hold mistakes; empty where there were no problems.
    pub broken: Vec<String>,
}

impl Files {
    /// Reads everything below `root`. Beside what could be read it returns every mistake of every file.
    pub fn read(root: &Utf8Path, catalogue: &Catalogue) -> (Self, Vec<Problem>) {
        Self::read_with(root, None, catalogue)
    }

    /// The same with the providers of another file, whose path is not relative to `root`.
    pub fn read_with(
        root: &Utf8Path,
        providers: Option<&Utf8Path>,
        catalogue: &Catalogue,
    ) -> (Self, Vec<Problem>) {
        let mut files = Self::default();
        let mut problems = Vec::new();
        let mut modes: Vec<(String, ModeName)> = Vec::new();
        for (name, source) in sources(root, &mut problems) {
            let raw = source.and_then(|source| {
                let source = Arc::new(source);
                let raw = read::document::<RawScenario>(&source)?;
                modes.push((name.clone(), raw.mode));
                Scenario::read(&name, raw, Origin::of(source, ""), catalogue)
            });
            match raw {
                Ok(scenario) => files.scenarios.push(scenario),
                Err(mistakes) => {
                    problems.extend(mistakes);
                    files.broken.push(name);
                }
            }
        }
        let read = match providers {
            Some(path) => document::<RawProviders>(Utf8Path::new(""), path, &mut problems),
            None => optional::<RawProviders>(root, PROVIDERS, &mut problems),
        };
        if let Some((raw, origin)) = read {
            match Providers::read(raw, origin) {
                Ok(providers) => files.providers = providers,
                Err(mistakes) => problems.extend(mistakes),
            }
        }
        if let Some((raw, origin)) = optional::<RawMatrix>(root, MATRIX, &mut problems) {
            // A file that could not be read far enough to know its mode is there all the same.
            let unknown = files.broken.iter().filter(|name| !modes.iter().any(|(known, _)| known == *name));
            let unknown: Vec<_> = unknown.map(|name| (name.as_str(), ModeName::Attach)).collect();
            let known = modes.iter().map(|(name, mode)| (name.as_str(), *mode));
            let all: Vec<_> = known.chain(unknown).collect();
            match Matrix::read(raw, &origin, &all) {
                Ok(matrix) => files.matrix = matrix,
                Err(mistakes) => problems.extend(mistakes),
            }
        }
        files.check_references(&mut problems);
        files.scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        (files, problems.into_iter().map(without_secrets).collect())
    }

    /// The scenario `name`, where it could be read.
    pub fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }

    /// The names of all scenarios, broken ones included.
    pub fn names(&self) -> Vec<&str> {
        let good = self.scenarios.iter().map(|scenario| scenario.name.as_str());
        let mut names: Vec<&str> = good.chain(self.broken.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names
    }

    /// What one file says of another.
    fn check_references(&self, problems: &mut Vec<Problem>) {
        for scenario in &self.scenarios {
            let Some(id) = &scenario.provider else { continue };
            if self.providers.get(id).is_none() {
                let message = format!("there is no provider `{id}` in configs/providers.yaml");
                let problem = scenario.origin.problem("/provider", message);
                problems.push(with_near(problem, "provider", id, &self.providers.ids().collect::<Vec<_>>()));
            }
        }
    }
}

/// The ids of the providers in a file, in its order.
///
/// # Errors
/// All that is wrong with the file.
pub fn provider_ids(path: &Utf8Path) -> Result<Vec<String>, Vec<Problem>> {
    let mut problems = Vec::new();
    let read = document::<RawProviders>(Utf8Path::new(""), path, &mut problems);
    let read = read.map(|(raw, origin)| Providers::read(raw, origin)).unwrap_or(Err(Vec::new()));
    match read {
        Ok(providers) if problems.is_empty() => Ok(providers.ids().map(str::to_owned).collect()),
        Ok(_) => Err(problems),
        Err(mistakes) => Err(problems.into_iter().chain(mistakes).map(without_secrets).collect()),
    }
}

/// Every scenario's file: those below `root`, and the built-in ones that it does not replace.
fn sources(root: &Utf8Path, problems: &mut Vec<Problem>) -> Vec<(String, Result<Source, Vec<Problem>>)> {
    let mut found: Vec<(String, Result<Source, Vec<Problem>>)> = Vec::new();
    for path in yaml_files(root, problems) {
        let name = path.file_stem().unwrap_or_default().to_owned();
        found.push((name, Source::load(root, &root.join(&path))));
    }
    for (name, text) in BUILT_IN {
        if !found.iter().any(|(taken, _)| taken == name) {
            let file = format!("{SCENARIOS}/{name}.yaml");
            found.push((name.to_owned(), Source::parse(file, text)));
        }
    }
    found
}

/// The scenarios' files, relative to `root`, in alphabetical order.
fn yaml_files(root: &Utf8Path, problems: &mut Vec<Problem>) -> Vec<Utf8PathBuf> {
    let folder = root.join(SCENARIOS);
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::new(format!("cannot read the folder {SCENARIOS}: {error}")));
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => match entry.path().extension() {
                Some("yaml") => paths.push(Utf8Path::new(SCENARIOS).join(entry.file_name())),
                Some("yml") => problems.push(
                    Problem::new(format!(
                        "{SCENARIOS}/{}: a scenario's file ends in .yaml",
                        entry.file_name()
                    ))
                    .with_help("rename it"),
                ),
                _ => {}
            },
            Err(error) => problems.push(Problem::new(format!("cannot read {SCENARIOS}: {error}"))),
        }
    }
    paths.sort();
    paths
}

/// The document at `path`, where there is one and it can be read.
fn optional<T: DeserializeOwned>(
    root: &Utf8Path,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<(T, Origin)> {
    root.join(path).exists().then(|| document(root, Utf8Path::new(path), problems)).flatten()
}

/// The document at `path`, which must be there.
fn document<T: DeserializeOwned>(
    root: &Utf8Path,
    path: &Utf8Path,
    problems: &mut Vec<Problem>,
) -> Option<(T, Origin)> {
    let read = Source::load(root, &root.join(path)).and_then(|source| {
        let source = Arc::new(source);
        let value = read::document::<T>(&source)?;
        Ok((value, Origin::of(source, "")))
    });
    read.map_err(|mistakes| problems.extend(mistakes)).ok()
}

/// The same problem, which shows neither the value of an `api_key` nor credentials in an address: a file that
/// holds a mistake is quoted before its keys are known to be keys.
fn without_secrets(mut problem: Problem) -> Problem {
    let Some(excerpt) = &mut problem.excerpt else { return problem };
    let meant = problem.place.as_ref().and_then(|place| place.line.checked_sub(excerpt.first_line));
    let meant = meant.and_then(|line| excerpt.text.lines().nth(line as usize));
    if meant.is_some_and(|line| line.contains(KEY)) {
        // The message may repeat the value too.
        problem.message = format!("the value of `{KEY}`, or what stands beside it, cannot be used");
        problem.help =
            Some("expected text, such as `EMPTY` or `${MY_KEY}`; the line is not shown".to_owned());
        problem.excerpt = None;
        return problem;
    }
    let lines = excerpt.text.lines().map(|line| match line.split_once(KEY) {
        Some((before, _)) => format!("{before}{KEY}: …"),
        None => without_credentials(line),
    });
    excerpt.text = lines.collect::<Vec<_>>().join("\n");
    problem
}

/// `line` with what stands between `://` and `@` masked, as long as it was: the marker below it stays right.
fn without_credentials(line: &str) -> String {
    let begin = line.find("://").map(|at| at + 3);
    let Some((begin, length)) = begin.and_then(|begin| Some((begin, line[begin..].find('@')?))) else {
        return line.to_owned();
    };
    let mask = "*".repeat(line[begin..begin + length].chars().count());
    format!("{}{mask}{}", &line[..begin], &line[begin + length..])
}

/// The key whose value is never shown.
const KEY: &str = "api_key";
