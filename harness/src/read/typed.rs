//! From a value to a type, with every mistake that the value holds: [`typed`], [`typed_around`], [`document`].
//! Must not know which types there are.
//!
//! 由值到类型：一次报出全部错误。

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    de::{Change, Kind, Mistake, Names, Patch, Reader},
    map::{escaped, parent, segments},
    origin::Origin,
    source::Source,
    words,
};
use crate::{
    diag::Problem,
    suggest::{list, near, question},
};

/// A value with more mistakes than this is another kind of file.
const MOST: usize = 100;

/// Reads all of a file as a `T`.
///
/// # Errors
/// All mistakes, each with its place.
pub fn document<T: DeserializeOwned>(source: &std::sync::Arc<Source>) -> Result<T, Vec<Problem>> {
    typed(source.root(), &Origin::of(std::sync::Arc::clone(source), ""), &[])
}

/// Reads `value`, which was written at `origin`, as a `T`. `also_known` are keys of the outermost mapping that
/// somebody else has read already; they are named among the known ones.
///
/// # Errors
/// All mistakes, each with its place: where one is found, a stand-in takes its place and reading begins again.
pub fn typed<T: DeserializeOwned>(
    value: &Value,
    origin: &Origin,
    also_known: &[&str],
) -> Result<T, Vec<Problem>> {
    typed_around(value, origin, also_known, &[])
}

/// The same where mistakes were told already of what stands at `gaps` (JSON pointers into `value`): nothing more
/// is said of those, and what is read there is a stand-in.
pub(crate) fn typed_around<T: DeserializeOwned>(
    value: &Value,
    origin: &Origin,
    also_known: &[&str],
    gaps: &[String],
) -> Result<T, Vec<Problem>> {
    let mut patch = Patch::default();
    for gap in gaps {
        apply(&mut patch, &segments(gap), Change::Hole);
    }
    let mut problems = Vec::new();
    loop {
        match T::deserialize(Reader::new(value, &patch)) {
            Ok(read) if problems.is_empty() => return Ok(read),
            Ok(_) => return Err(problems),
            Err(mistake) => {
                let step = step(&mistake, &patch);
                if step.tell {
                    problems.push(explain(&mistake, value, origin, also_known));
                }
                let Some((path, change)) = step.change.filter(|_| problems.len() < MOST) else {
                    return Err(problems);
                };
                apply(&mut patch, &path, change);
            }
        }
    }
}

/// What to do about a mistake.
struct Step {
    /// Whether it is the author's, not a consequence of a stand-in.
    tell: bool,
    /// What is to be read differently next time; nothing where there is nothing left to try.
    change: Option<(Vec<String>, Change)>,
}

/// Every step makes a value a hole that was none, or passes over one that was a hole: the steps come to an end.
fn step(mistake: &Mistake, patch: &Patch) -> Step {
    let mut path: Vec<String> = mistake.path().map(str::to_owned).collect();
    // A type that is made of another one finds its mistakes in what was read, not while it is read.
    let of_stand_in = || find(patch, &path).is_some_and(|patch| patch.change == Some(Change::Hole));
    if mistake.in_hole || (matches!(mistake.kind, Kind::Other(_)) && !mistake.at_key && of_stand_in()) {
        // The type takes no stand-in of ours here.
        let change = (!path.is_empty()).then_some((path, Change::Skip));
        return Step { tell: false, change };
    }
    match &mistake.kind {
        Kind::MissingKey { name } => {
            path.push((*name).to_owned());
            let passed_over = find(patch, &path).is_some();
            if passed_over {
                path.pop();
            }
            Step { tell: !passed_over, change: Some((path, Change::Hole)) }
        }
        Kind::UnknownVariant { .. } | Kind::Expected { .. } if mistake.at_key => {
            path.pop();
            Step { tell: true, change: Some((path, Change::Hole)) }
        }
        _ if mistake.at_key => Step { tell: true, change: Some((path, Change::Skip)) },
        _ => Step { tell: true, change: Some((path, Change::Hole)) },
    }
}

fn find<'a>(patch: &'a Patch, path: &[String]) -> Option<&'a Patch> {
    path.iter().try_fold(patch, |patch, segment| patch.below.get(segment))
}

fn apply(patch: &mut Patch, path: &[String], change: Change) {
    let at = path.iter().fold(patch, |patch, segment| patch.below.entry(segment.clone()).or_default());
    at.change = Some(change);
}

/// The mistake in words, at its place.
fn explain(mistake: &Mistake, value: &Value, origin: &Origin, also_known: &[&str]) -> Problem {
    let pointer: String = mistake.path().flat_map(|segment| ["/".into(), escaped(segment)]).collect();
    let at_root = !pointer[1.min(pointer.len())..].contains('/');
    match &mistake.kind {
        Kind::UnknownKey { name, known } => {
            let also = if at_root { also_known } else { &[] };
            let known: Vec<&str> = also.iter().chain(known.iter()).copied().collect();
            let problem = origin.key_problem(&pointer, format!("unknown key `{name}`"));
            advise(problem, name, &known, "known keys here")
        }
        Kind::UnknownVariant { name, known } => {
            let message = format!("unknown choice `{name}`");
            let problem = if mistake.at_key {
                origin.key_problem(&pointer, message)
            } else {
                origin.problem(&pointer, message)
            };
            advise(problem, name, known, "known here")
        }
        Kind::MissingKey { name } => origin
            .problem(&pointer, format!("the key `{name}` is missing"))
            .with_label(format!("`{name}` belongs here")),
        Kind::Expected { what, keys } if mistake.at_key => {
            let holder = parent(&pointer).and_then(|holder| value.pointer(holder)).unwrap_or(value);
            let message = format!("expected {}, found {}", words::expected(what), words::found(Some(holder)));
            with_keys(origin.key_problem(&pointer, message), keys)
        }
        Kind::Expected { what, keys } => {
            let found = value.pointer(&pointer);
            let message = if pointer.is_empty() && value.is_null() {
                format!("the file is empty: expected {}", words::expected(what))
            } else {
                format!("expected {}, found {}", words::expected(what), words::found(found))
            };
            let problem = with_keys(origin.problem(&pointer, message), keys);
            match words::remedy(what, found) {
                Some(remedy) if problem.help.is_none() => problem.with_help(remedy),
                _ => problem,
            }
        }
        Kind::Other(message) if mistake.at_key => origin.key_problem(&pointer, message),
        Kind::Other(message) => origin.problem(&pointer, message),
    }
}

fn with_keys(problem: Problem, keys: Names) -> Problem {
    if keys.is_empty() { problem } else { problem.with_help(format!("known here: {}", list(keys, "and"))) }
}

fn advise(problem: Problem, name: &str, known: &[&str], title: &str) -> Problem {
    let problem = match question(&near(name, known.iter().copied())) {
        Some(question) => problem.with_label(question),
        None => problem,
    };
    if known.is_empty() {
        return problem.with_help("no key is known here");
    }
    problem.with_help(format!("{title}: {}", list(known, "and")))
}
