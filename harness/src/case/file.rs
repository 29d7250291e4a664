//! From a case file to its cases: [`read_cases`] parts the keys that every case has from those of its suite, and
//! merges the file's defaults. Must not know any suite's keys.
//!
//! 读取用例文件：拆分通用键与套件键，合并默认值。

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Case, Head, Matrix, is_slug};
use crate::{
    capability::{CapabilityId, Catalogue},
    diag::{Problem, Problems},
    expand::slug,
    read::{self, Origin, Source},
    suggest::{near, question},
};

/// The keys that every case has, whatever its suite.
pub const CASE_KEYS: &[&str] = &[
    "id",
    "about",
    "tags",
    "required_capabilities",
    "skip_if_unsupported",
    "timeout",
    "exclusive",
    "matrix",
    "exclude",
    "add",
    "overrides",
];

/// A case file, outermost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(rename = "about")]
    _about: Option<String>,
    #[serde(default)]
    defaults: Map<String, Value>,
    cases: Vec<Map<String, Value>>,
}

/// The keys that every case has, as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    /// The case's name, in `[a-z0-9_]`: a segment of the trial's id.
    id: String,
    /// What the case is about, in one line.
    about: Option<String>,
    /// Free labels.
    #[serde(default)]
    tags: Vec<String>,
    /// What the server must be able to do.
    #[serde(default)]
    required_capabilities: Vec<String>,
    /// Where a capability is missing: skip (true) or run and fail (false).
    #[serde(default = "yes")]
    skip_if_unsupported: bool,
    /// The case's own deadline, such as `30s`.
    #[serde(default, deserialize_with = "read::duration::option::deserialize")]
    #[schemars(with = "Option<String>")]
    timeout: Option<Duration>,
    /// Whether nothing else may run meanwhile.
    #[serde(default)]
    exclusive: bool,
    /// Axis → list of values: scalars, or `{id: label, value: anything}`. One trial for each combination.
    #[serde(default)]
    matrix: Map<String, Value>,
    /// Combinations that make no trial: each names some axes and their values.
    #[serde(default)]
    exclude: Vec<Map<String, Value>>,
    /// Further combinations: each names all axes.
    #[serde(default)]
    add: Vec<Map<String, Value>>,
    /// `when` names some axes and their values; all other keys are merged into the case where they hold.
    #[serde(default)]
    overrides: Vec<Map<String, Value>>,
}

fn yes() -> bool {
    true
}

impl Keys {
    /// Reads the keys that every case has out of `mapping`.
    pub(crate) fn read(mapping: &Map<String, Value>, origin: &Origin) -> Result<Self, Vec<Problem>> {
        let own = CASE_KEYS.iter().filter_map(|key| Some(((*key).to_owned(), mapping.get(*key)?.clone())));
        read::typed(&Value::Object(own.collect()), origin, &[])
    }

    /// What the case says of itself.
    pub(crate) fn head(&self) -> Head {
        Head {
            about: self.about.clone(),
            tags: self.tags.clone(),
            required_capabilities: self.required_capabilities.iter().cloned().map(CapabilityId).collect(),
            skip_if_unsupported: self.skip_if_unsupported,
            timeout: self.timeout,
            exclusive: self.exclusive,
        }
    }

    /// How it becomes several trials.
    fn matrix(self) -> Matrix {
        Matrix { axes: self.matrix, exclude: self.exclude, add: self.add, overrides: self.overrides }
    }

    /// Capabilities that do not exist.
    fn unknown<'a>(
        &'a self,
        catalogue: &'a Catalogue,
        origin: &'a Origin,
    ) -> impl Iterator<Item = Problem> + 'a {
        let all = self.required_capabilities.iter().enumerate();
        all.filter(|(_, id)| !catalogue.knows(id)).map(move |(index, id)| {
            let problem = origin.problem(
                &format!("/required_capabilities/{index}"),
                format!("there is no capability `{id}`"),
            );
            match question(&near(id, catalogue.0.iter().map(|known| known.0.as_str()))) {
                Some(question) => problem.with_label(question),
                None => problem,
            }
        })
    }
}

/// The cases of a file, in order. Their suites' keys are not looked at yet.
///
/// # Errors
/// All mistakes outside the suites' keys: unknown and missing keys, wrong types, ids that are no slug or stand
/// there twice, capabilities that `catalogue` does not know.
pub fn read_cases(
    source: &Arc<Source>,
    kind: &str,
    catalogue: &Catalogue,
) -> Result<Vec<Case>, Vec<Problem>> {
    let mut problems = Problems::new();
    let cases = read_around(source, kind, catalogue, &mut problems);
    problems.check()?;
    Ok(cases)
}

/// The same, with the mistakes added to `problems`: a case that has one is among the cases all the same, so that
/// its suite's keys are looked at too.
pub(crate) fn read_around(
    source: &Arc<Source>,
    kind: &str,
    catalogue: &Catalogue,
    problems: &mut Problems,
) -> Vec<Case> {
    let Some(file) = problems.collect(read::document::<CaseFile>(source)) else { return Vec::new() };
    let name = file_slug(source).unwrap_or_else(|| {
        problems.push(unnameable(source));
        // A stand-in that no other file has.
        source.file().as_str().bytes().fold(UNNAMED.to_owned(), |name, byte| format!("{name}_{byte}"))
    });
    let mut defaults = file.defaults;
    if defaults.shift_remove("id").is_some() {
        problems.push(
            source
                .key_problem("/defaults/id", "an id cannot be a default")
                .with_help("each case has its own"),
        );
    }
    if file.cases.is_empty() {
        problems.push(
            source
                .problem("/cases", "there is no case in this file")
                .with_help("add one, or remove the file"),
        );
    }
    let mut cases = Vec::with_capacity(file.cases.len());
    for (index, own) in file.cases.iter().enumerate() {
        let mut mapping = defaults.clone();
        merge(&mut mapping, own);
        let origin =
            Origin::layered(Arc::clone(source), vec![format!("/cases/{index}"), "/defaults".to_owned()]);
        let keys = problems.collect(Keys::read(&mapping, &origin));
        if let Some(keys) = &keys {
            problems.extend(keys.unknown(catalogue, &origin));
            problems.extend(overridden(keys, &mapping, catalogue, &origin));
            if !is_slug(&keys.id) {
                problems.push(not_a_slug(&origin.problem("/id", ""), &keys.id));
            }
        }
        let id = keys.as_ref().map(|keys| keys.id.clone()).filter(|id| is_slug(id));
        cases.push(Case {
            kind: kind.to_owned(),
            file: name.clone(),
            // A stand-in that no other case of the file has.
            id: id.unwrap_or_else(|| format!("{UNNAMED}_{index}")),
            head: keys.as_ref().map(Keys::head).unwrap_or_default(),
            mapping,
            matrix: keys.map(Keys::matrix),
            origin,
        });
    }
    problems.extend(twice(&cases));
    cases
}

/// What stands for a name that cannot be one.
const UNNAMED: &str = "unnamed";

/// Mistakes in those keys of overrides that every case has.
fn overridden(
    keys: &Keys,
    mapping: &Map<String, Value>,
    catalogue: &Catalogue,
    origin: &Origin,
) -> Vec<Problem> {
    let mut problems = Problems::new();
    for (index, change) in keys.overrides.iter().enumerate() {
        let mut mapping = mapping.clone();
        merge(&mut mapping, change);
        let origin = origin.over(origin, &format!("/overrides/{index}"));
        if let Some(keys) = problems.collect(Keys::read(&mapping, &origin)) {
            problems.extend(keys.unknown(catalogue, &origin));
        }
    }
    problems.into_vec()
}

/// Cases of one file and one name.
fn twice(cases: &[Case]) -> Vec<Problem> {
    let mut first: HashMap<&str, &Case> = HashMap::new();
    let mut problems = Vec::new();
    for case in cases {
        match first.get(case.id.as_str()) {
            Some(earlier) => problems.push(clash(case, earlier)),
            None => {
                first.insert(&case.id, case);
            }
        }
    }
    problems
}

/// `case` has the name that `earlier` has already.
pub(crate) fn clash(case: &Case, earlier: &Case) -> Problem {
    let problem = case.origin.problem("/id", format!("there are two cases `{}` in `{}`", case.id, case.file));
    match earlier.origin.place("/id") {
        Some(place) => problem.with_help(format!("the first one is at {place}; give one of them another id")),
        None => problem.with_help("give one of them another id"),
    }
}

fn not_a_slug(at: &Problem, id: &str) -> Problem {
    let problem =
        Problem { message: format!("the id {id:?} is not made of `a-z`, `0-9` and `_` alone"), ..at.clone() };
    match slug::of_text(id) {
        Some(slug) => problem.with_label(format!("write `{slug}`")),
        None => problem,
    }
}

/// The file's name as a segment of ids: `qwen3-32b.yaml` → `qwen3_32b`.
fn file_slug(source: &Source) -> Option<String> {
    slug::of_text(source.file().file_stem().unwrap_or_default())
}

fn unnameable(source: &Source) -> Problem {
    Problem::new(format!("the name of {} cannot become part of an id", source.file()))
        .with_help("name the file with letters, digits, `_`, `-` and `.`, 40 at most")
}

/// Merges `strong` into `weak`: mappings key by key, everything else replaced.
pub(crate) fn merge(weak: &mut Map<String, Value>, strong: &Map<String, Value>) {
    for (key, value) in strong {
        match (weak.get_mut(key), value) {
            (Some(Value::Object(weak)), Value::Object(strong)) => merge(weak, strong),
            (Some(held), value) => *held = value.clone(),
            (None, value) => {
                weak.insert(key.clone(), value.clone());
            }
        }
    }
}
