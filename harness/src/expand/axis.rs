//! The axes of a matrix and the parts of it that authors name: [`Axis`], [`Partial`].
//! Must not know what a trial is.
//!
//! 矩阵的轴、取值与部分组合。

use serde::Deserialize;
use serde_json::{Map, Value};

use super::slug;
use crate::{
    case::is_slug,
    diag::{Problem, Problems},
    read::{self, Origin, escaped},
    suggest::{list, near, question},
};

/// One axis, in the order of declaration.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) values: Vec<AxisValue>,
}

/// One value of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AxisValue {
    pub(super) value: Value,
    /// What the author called it.
    label: Option<String>,
    /// Its part of the id: `t_0_6`.
    pub(super) segment: String,
}

impl AxisValue {
    /// Whether `wanted` is this value, of the same type, or its label.
    fn is(&self, wanted: &Value) -> bool {
        self.value == *wanted || self.label.as_deref().is_some_and(|label| wanted == label)
    }
}

/// A value with the name that its author gave it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    id: String,
    value: Value,
}

/// Reads the axes of a `matrix`, which stands at `/matrix`.
pub(super) fn read_axes(matrix: &Map<String, Value>, origin: &Origin) -> Result<Vec<Axis>, Vec<Problem>> {
    let mut problems = Problems::new();
    let mut axes = Vec::with_capacity(matrix.len());
    for (name, values) in matrix {
        let pointer = format!("/matrix/{}", escaped(name));
        if !is_slug(name) {
            let message = format!("the axis {name:?} is not named with `a-z`, `0-9` and `_` alone");
            problems.push(origin.key_problem(&pointer, message));
            continue;
        }
        match values.as_array() {
            Some(values) if !values.is_empty() => {
                if let Some(values) = problems.collect(read_values(name, values, origin, &pointer)) {
                    axes.push(Axis { name: name.clone(), values });
                }
            }
            _ => {
                let problem = origin.problem(&pointer, format!("the axis `{name}` has no list of values"));
                problems.push(problem.with_help("write one or more: `[0, 0.6, 1]`"));
            }
        }
    }
    problems.check()?;
    Ok(axes)
}

fn read_values(
    axis: &str,
    values: &[Value],
    origin: &Origin,
    pointer: &str,
) -> Result<Vec<AxisValue>, Vec<Problem>> {
    let mut problems = Problems::new();
    let mut read: Vec<(AxisValue, usize)> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let at = format!("{pointer}/{index}");
        let Some(value) = problems.collect(read_value(axis, value, origin, &at)) else { continue };
        match read.iter().find(|(other, _)| other.segment == value.segment) {
            Some((other, first)) => {
                let message =
                    format!("{} and {} both become `{}` in the id", other.value, value.value, value.segment);
                problems.push(beside(origin.problem(&at, message), origin, &format!("{pointer}/{first}")));
            }
            None => read.push((value, index)),
        }
    }
    problems.check()?;
    Ok(read.into_iter().map(|(value, _)| value).collect())
}

fn read_value(axis: &str, value: &Value, origin: &Origin, at: &str) -> Result<AxisValue, Vec<Problem>> {
    let (value, label) = if value.is_object() {
        let labelled: Labelled = read::typed(value, &origin.below(at), &[])?;
        if !is_slug(&labelled.id) {
            let message = format!("the label {:?} is not made of `a-z`, `0-9` and `_` alone", labelled.id);
            return Err(vec![origin.problem(&format!("{at}/id"), message)]);
        }
        (labelled.value, Some(labelled.id))
    } else {
        (value.clone(), None)
    };
    let slug = label.clone().or_else(|| slug::of_value(&value)).ok_or_else(|| {
        let problem = origin.problem(at, "this value needs a label: no part of an id can be made of it");
        vec![problem.with_help("write `{id: short_name, value: …}`")]
    })?;
    Ok(AxisValue { value, label, segment: format!("{axis}_{slug}") })
}

fn beside(problem: Problem, origin: &Origin, other: &str) -> Problem {
    let help = match origin.place(other) {
        Some(place) => {
            format!("the other one is at {place}; remove one, or label one: `{{id: name, value: …}}`")
        }
        None => "remove one of them, or label one: `{id: name, value: …}`".to_owned(),
    };
    problem.with_help(help)
}

/// Some axes and the value that each of them must have.
pub(super) struct Partial(Vec<(usize, Value)>);

impl Partial {
    /// Reads a mapping of axes to values, which stands at `pointer`.
    pub(super) fn read(
        wanted: &Map<String, Value>,
        axes: &[Axis],
        origin: &Origin,
        pointer: &str,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new();
        let mut read = Vec::with_capacity(wanted.len());
        for (name, value) in wanted {
            match axes.iter().position(|axis| axis.name == *name) {
                Some(axis) => read.push((axis, value.clone())),
                None => problems.push(no_axis(name, axes, |message| {
                    origin.key_problem(&format!("{pointer}/{}", escaped(name)), message)
                })),
            }
        }
        problems.check()?;
        Ok(Self(read))
    }

    /// Whether `point`, a value of each axis, is meant.
    pub(super) fn holds(&self, point: &[&AxisValue]) -> bool {
        self.0.iter().all(|(axis, wanted)| point[*axis].is(wanted))
    }
}

/// There is no axis `name`.
pub(super) fn no_axis(name: &str, axes: &[Axis], problem: impl FnOnce(String) -> Problem) -> Problem {
    let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    let problem = problem(format!("there is no axis `{name}`"));
    let problem = match question(&near(name, names.iter().copied())) {
        Some(question) => problem.with_label(question),
        None => problem,
    };
    match names.as_slice() {
        [] => problem.with_help("this case has no matrix"),
        names => problem.with_help(format!("the axes are {}", list(names, "and"))),
    }
}

/// Reads one entry of `add`: a value for every axis. A value or label that the axis has already is that one.
pub(super) fn read_added(
    combination: &Map<String, Value>,
    axes: &[Axis],
    origin: &Origin,
    pointer: &str,
) -> Result<Vec<AxisValue>, Vec<Problem>> {
    let mut problems = Problems::new();
    problems.collect(Partial::read(combination, axes, origin, pointer));
    let mut point = Vec::with_capacity(axes.len());
    for axis in axes {
        let Some(value) = combination.get(&axis.name) else {
            let message =
                format!("the axis `{}` is missing: a combination to add names all of them", axis.name);
            problems.push(origin.problem(pointer, message));
            continue;
        };
        match axis.values.iter().find(|known| known.is(value)) {
            Some(known) => point.push(known.clone()),
            None => {
                let at = format!("{pointer}/{}", escaped(&axis.name));
                point.extend(problems.collect(read_value(&axis.name, value, origin, &at)));
            }
        }
    }
    problems.check()?;
    Ok(point)
}
