//! From cases to trials: [`expand`] makes one [`ExpandedCase`] of each point of a case's matrix, [`expand_all`]
//! of all files, with ids that no two share. Must not know what a spec means.
//!
//! 矩阵展开：用例 → 试验。

mod axis;
pub(crate) mod slug;
pub(crate) mod substitute;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{
    case::{CASE_KEYS, Case, ExpandedCase, Head, Keys, Matrix, TrialId, clash, merge},
    diag::{Problem, Problems},
    read::Origin,
};
use axis::{Axis, AxisValue, Partial, no_axis, read_added, read_axes};
use substitute::Fault;

/// How many trials there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one file.
    pub per_file: usize,
    /// Of all files.
    pub per_run: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_file: 2_000, per_run: 10_000 }
    }
}

/// The trials of all cases, in order.
///
/// # Errors
/// All mistakes of all matrices; ids that two cases share; more trials than `limits` allow.
pub fn expand_all(cases: &[Case], limits: Limits) -> Result<Vec<ExpandedCase>, Vec<Problem>> {
    let mut problems = Problems::new();
    let trials = expand_around(cases, limits, &mut problems);
    problems.check()?;
    Ok(trials)
}

/// The same, with the mistakes added to `problems`: what stands for a case that has one can be read for its others,
/// and is not to be run.
pub(crate) fn expand_around(cases: &[Case], limits: Limits, problems: &mut Problems) -> Vec<ExpandedCase> {
    let mut trials = Vec::new();
    let mut by_name: HashMap<(&str, &str, &str), &Case> = HashMap::new();
    let mut by_file: HashMap<(&str, &str), usize> = HashMap::new();
    for case in cases {
        // An id begins with these three: where they differ, no two trials can share one.
        if let Some(earlier) = by_name.insert((&case.kind, &case.file, &case.id), case) {
            problems.push(clash(case, earlier));
        }
        let made = expand(case, limits, problems);
        let file = by_file.entry((&case.kind, &case.file)).or_default();
        let before = *file;
        *file += made.len();
        if before <= limits.per_file && *file > limits.per_file {
            problems.push(too_many(case, "this file", *file, limits.per_file));
        }
        trials.extend(made);
    }
    if trials.len() > limits.per_run {
        let message =
            format!("the cases make {} trials; {} are allowed in a run", trials.len(), limits.per_run);
        problems.push(Problem::new(message).with_help("thin the matrices with `exclude`"));
    }
    trials
}

/// The trials of one case: the product of its axes in the order of declaration, the first axis slowest, without
/// what `exclude` names; then what `add` names. Of a matrix with mistakes, its outlines.
fn expand(case: &Case, limits: Limits, problems: &mut Problems) -> Vec<ExpandedCase> {
    let Some(matrix) = &case.matrix else { return outlines(case, None, problems) };
    let Some(axes) = problems.collect(read_axes(&matrix.axes, &case.origin)) else {
        return outlines(case, None, problems);
    };
    let parts = problems.collect(Parts::read(case, matrix, &axes, limits));
    let points = parts.as_ref().and_then(|parts| problems.collect(points(case, matrix, &axes, parts)));
    let (Some(parts), Some(points)) = (parts.as_ref(), points) else {
        return outlines(case, Some(&axes), problems);
    };
    let mut variants = Variants { case, axes: &axes, overrides: &parts.overrides, made: HashMap::new() };
    let (case_id, file) = names(case);
    let mut trials = Vec::with_capacity(points.len());
    for point in &points {
        let overrides = &parts.overrides;
        let matching = (0..overrides.len()).filter(|index| overrides[*index].when.holds(point)).collect();
        let variant = variants.get(matching, problems);
        trials.push(ExpandedCase::point(
            trial_id(&case_id, point),
            (Arc::clone(&case_id), Arc::clone(&file)),
            Arc::clone(&variant.head),
            axes.iter().zip(point).map(|(axis, value)| (axis.name.clone(), value.value.clone())).collect(),
            (Arc::clone(&variant.template), Arc::clone(&variant.gaps)),
            variant.origin.clone(),
        ));
    }
    trials
}

/// What can be read of a case without the points of its matrix: the case itself, and the case under each override,
/// with a gap for every placeholder.
fn outlines(case: &Case, axes: Option<&[Axis]>, problems: &mut Problems) -> Vec<ExpandedCase> {
    let overrides = case.matrix.iter().flat_map(|matrix| matrix.overrides.iter().enumerate());
    let changes = overrides.map(|(index, written)| vec![(index, change(written))]);
    let mut outline = |changes: Vec<(usize, Map<String, Value>)>| {
        let (mapping, origin) = merged(case, changes.iter().map(|(index, change)| (*index, change)));
        let template = template(mapping);
        if let Some(axes) = axes {
            bad_placeholders(&template, axes, &origin, problems);
        }
        let gaps = substitute::check(&template, &|_| false).into_iter().map(|(pointer, _)| pointer).collect();
        let (case_id, file) = names(case);
        let id = TrialId::of_slugs(case_id.to_string());
        ExpandedCase::point(
            id,
            (case_id, file),
            Arc::default(),
            Map::new(),
            (Arc::new(template), gaps),
            origin,
        )
    };
    std::iter::once(Vec::new()).chain(changes).map(&mut outline).collect()
}

/// A case's id and its file, as they stand in every id of its trials.
fn names(case: &Case) -> (Arc<str>, Arc<str>) {
    (format!("{}::{}::{}", case.kind, case.file, case.id).into(), case.file.as_str().into())
}

fn trial_id(case_id: &str, point: &[&AxisValue]) -> TrialId {
    let mut id = String::with_capacity(
        case_id.len() + point.iter().map(|value| value.segment.len() + 2).sum::<usize>(),
    );
    id.push_str(case_id);
    for value in point {
        id.push_str("::");
        id.push_str(&value.segment);
    }
    TrialId::of_slugs(id)
}

/// The parts of a matrix beside its axes.
struct Parts {
    excluded: Vec<Partial>,
    added: Vec<Vec<AxisValue>>,
    overrides: Vec<Override>,
}

impl Parts {
    fn read(case: &Case, matrix: &Matrix, axes: &[Axis], limits: Limits) -> Result<Self, Vec<Problem>> {
        let sizes = axes.iter().try_fold(1usize, |size, axis| size.checked_mul(axis.values.len()));
        let size = sizes.unwrap_or(usize::MAX);
        if size > limits.per_run {
            return Err(vec![too_many(case, "this matrix", size, limits.per_run)]);
        }
        let mut problems = Problems::new();
        let excluded = problems.collect(partials(case, axes, "exclude", &matrix.exclude)).unwrap_or_default();
        let added = problems.collect(additions(case, matrix, axes)).unwrap_or_default();
        let overrides = problems.collect(read_overrides(case, matrix, axes)).unwrap_or_default();
        problems.check()?;
        Ok(Self { excluded, added, overrides })
    }
}

/// The points that make trials, in order.
fn points<'a>(
    case: &Case,
    matrix: &Matrix,
    axes: &'a [Axis],
    Parts { excluded, added, .. }: &'a Parts,
) -> Result<Vec<Vec<&'a AxisValue>>, Vec<Problem>> {
    let mut problems = Problems::new();
    let mut points = product(axes);
    let mut gone = vec![false; points.len()];
    for (index, partial) in excluded.iter().enumerate() {
        let hits = points
            .iter()
            .zip(&mut gone)
            .filter(|(point, _)| partial.holds(point))
            .map(|(_, gone)| *gone = true);
        if hits.count() == 0 {
            problems.push(matches_nothing(case, &format!("/exclude/{index}")));
        }
    }
    let mut gone = gone.into_iter();
    points.retain(|_| !gone.next().unwrap_or_default());

    let mut taken: HashSet<Vec<&str>> = HashSet::new();
    if !added.is_empty() {
        taken.extend(points.iter().map(|point| segments(point)));
    }
    for (index, point) in added.iter().enumerate() {
        let point: Vec<&AxisValue> = point.iter().collect();
        if !taken.insert(segments(&point)) {
            let message = format!("there is a trial `{}` already", segments(&point).join("::"));
            problems.push(case.origin.problem(&format!("/add/{index}"), message).with_help("remove it"));
            continue;
        }
        points.push(point);
    }
    if points.is_empty() && problems.is_empty() {
        problems.push(case.origin.problem("/exclude", "nothing is left of the matrix"));
    }
    for (index, change) in matrix.overrides.iter().enumerate() {
        let when = change.get("when").and_then(Value::as_object);
        let partial = when.map(|when| Partial::read(when, axes, &case.origin, ""));
        if let Some(Ok(partial)) = partial
            && !points.iter().any(|point| partial.holds(point))
        {
            problems.push(matches_nothing(case, &format!("/overrides/{index}/when")));
        }
    }
    problems.check()?;
    Ok(points)
}

fn segments<'a>(point: &[&'a AxisValue]) -> Vec<&'a str> {
    point.iter().map(|value| value.segment.as_str()).collect()
}

fn matches_nothing(case: &Case, pointer: &str) -> Problem {
    case.origin.problem(pointer, "this matches no trial").with_help(
        "values match exactly and by type: 1 is not \"1\", 0 is not false; a label matches its value",
    )
}

/// All combinations, the first axis slowest; one empty one where there is no axis.
fn product(axes: &[Axis]) -> Vec<Vec<&AxisValue>> {
    axes.iter().fold(vec![Vec::new()], |points, axis| {
        let longer = |point: &Vec<_>| {
            let point = point.clone();
            axis.values.iter().map(move |value| {
                let mut point = point.clone();
                point.push(value);
                point
            })
        };
        points.iter().flat_map(longer).collect()
    })
}

fn partials(
    case: &Case,
    axes: &[Axis],
    key: &str,
    all: &[Map<String, Value>],
) -> Result<Vec<Partial>, Vec<Problem>> {
    let mut problems = Problems::new();
    let mut read = Vec::with_capacity(all.len());
    for (index, wanted) in all.iter().enumerate() {
        read.extend(problems.collect(Partial::read(wanted, axes, &case.origin, &format!("/{key}/{index}"))));
    }
    problems.check()?;
    Ok(read)
}

fn additions(case: &Case, matrix: &Matrix, axes: &[Axis]) -> Result<Vec<Vec<AxisValue>>, Vec<Problem>> {
    let mut problems = Problems::new();
    let mut read = Vec::with_capacity(matrix.add.len());
    for (index, combination) in matrix.add.iter().enumerate() {
        read.extend(problems.collect(read_added(combination, axes, &case.origin, &format!("/add/{index}"))));
    }
    problems.check()?;
    Ok(read)
}

/// What changes where.
struct Override {
    when: Partial,
    change: Map<String, Value>,
}

/// What an override cannot change: what made its trial.
const FIXED: &[&str] = &["id", "matrix", "exclude", "add", "overrides"];

fn read_overrides(case: &Case, matrix: &Matrix, axes: &[Axis]) -> Result<Vec<Override>, Vec<Problem>> {
    let mut problems = Problems::new();
    let mut read = Vec::with_capacity(matrix.overrides.len());
    for (index, written) in matrix.overrides.iter().enumerate() {
        let pointer = format!("/overrides/{index}");
        for key in FIXED.iter().filter(|key| written.contains_key(**key)) {
            problems.push(
                case.origin
                    .key_problem(&format!("{pointer}/{key}"), format!("an override cannot change `{key}`")),
            );
        }
        let Some(when) = written.get("when").and_then(Value::as_object) else {
            let problem =
                case.origin.problem(&format!("{pointer}/when"), "an override needs a mapping `when`");
            problems.push(problem.with_help("say where it holds: `when: {axis: value}`"));
            continue;
        };
        if let Some(when) =
            problems.collect(Partial::read(when, axes, &case.origin, &format!("{pointer}/when")))
        {
            read.push(Override { when, change: change(written) });
        }
    }
    problems.check()?;
    Ok(read)
}

/// What an override changes.
fn change(written: &Map<String, Value>) -> Map<String, Value> {
    let changes = written.iter().filter(|(key, _)| *key != "when");
    changes.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The case's mapping with these overrides applied, in order, each with its index.
fn merged<'a>(
    case: &Case,
    changes: impl Iterator<Item = (usize, &'a Map<String, Value>)>,
) -> (Map<String, Value>, Origin) {
    let mut mapping = case.mapping.clone();
    let mut origin = case.origin.clone();
    for (index, change) in changes {
        merge(&mut mapping, change);
        origin = origin.over(&case.origin, &format!("/overrides/{index}"));
    }
    (mapping, origin)
}

/// What is the suite's of a case's mapping.
fn template(mut mapping: Map<String, Value>) -> Value {
    mapping.retain(|key, _| !CASE_KEYS.contains(&key.as_str()));
    Value::Object(mapping)
}

/// The case under one set of overrides, shared by all points where just these hold.
#[derive(Clone)]
struct Variant {
    head: Arc<Head>,
    template: Arc<Value>,
    /// Where its placeholders name no axis.
    gaps: Arc<[String]>,
    origin: Origin,
}

struct Variants<'a> {
    case: &'a Case,
    axes: &'a [Axis],
    overrides: &'a [Override],
    made: HashMap<Vec<usize>, Variant>,
}

impl Variants<'_> {
    /// The case with these overrides applied, in order. Its mistakes are told when it is made.
    fn get(&mut self, matching: Vec<usize>, problems: &mut Problems) -> Variant {
        if let Some(made) = self.made.get(&matching) {
            return made.clone();
        }
        let made = self.make(&matching, problems);
        self.made.insert(matching, made.clone());
        made
    }

    fn make(&self, matching: &[usize], problems: &mut Problems) -> Variant {
        let changes = matching.iter().map(|index| (*index, &self.overrides[*index].change));
        let (mapping, origin) = merged(self.case, changes);
        let changed =
            (!matching.is_empty()).then(|| problems.collect(Keys::read(&mapping, &origin))).flatten();
        let head = changed.map_or_else(|| self.case.head.clone(), |keys| keys.head());
        let template = template(mapping);
        let gaps = bad_placeholders(&template, self.axes, &origin, problems).into();
        Variant { head: Arc::new(head), template: Arc::new(template), gaps, origin }
    }
}

/// Tells of the placeholders that name none of `axes`, and says where they stand.
fn bad_placeholders(
    template: &Value,
    axes: &[Axis],
    origin: &Origin,
    problems: &mut Problems,
) -> Vec<String> {
    let is_axis = |name: &str| axes.iter().any(|axis| axis.name == name);
    let mut pointers = Vec::new();
    for (pointer, fault) in substitute::check(template, &is_axis) {
        let problem = match fault {
            Fault::Unknown(name) => no_axis(&name, axes, |message| origin.problem(&pointer, message)),
            Fault::Unclosed => origin.problem(&pointer, "`${` without its `}`"),
        };
        let escape = "write `$${` for a `${` that is no placeholder";
        let help =
            problem.help.as_deref().map_or_else(|| escape.to_owned(), |help| format!("{help}; {escape}"));
        problems.push(problem.with_help(help));
        pointers.push(pointer);
    }
    pointers
}

fn too_many(case: &Case, what: &str, made: usize, allowed: usize) -> Problem {
    let message = format!("{what} makes {made} trials; {allowed} are allowed");
    case.origin.problem("/matrix", message).with_help("thin the matrix with `exclude`, or split the file")
}
