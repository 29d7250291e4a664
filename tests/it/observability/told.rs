//! What a run told, read back from its OpenMetrics: [`Told`], and what it would have been some days ago.
//!
//! 运行所导出的样本。

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use regex::Regex;

use super::DAY;

/// One series: its name and labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// Series with their values, all at one time.
#[derive(Debug, Clone)]
pub(super) struct Told {
    types: Vec<String>,
    samples: BTreeMap<Series, f64>,
    at: f64,
}

impl Series {
    /// The series whatever the run: without a name, as a query gives it, and without what changes from day to day.
    pub(super) fn of_any_run(&self) -> Self {
        let of_run = ["run_id", "commit", "branch", "job", "instance"];
        let labels = self.labels.iter().filter(|(name, _)| !of_run.contains(&name.as_str()));
        Self {
            name: String::new(),
            labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// With these labels only.
    pub(super) fn only(&self, names: &[String]) -> Self {
        let labels = self.labels.iter().filter(|(name, _)| names.contains(name));
        Self {
            name: String::new(),
            labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

impl Told {
    pub(super) fn read(openmetrics: &str) -> Self {
        let label = Regex::new(r#"(\w+)="((?:[^"\\]|\\.)*)""#).expect("a pattern");
        let mut told = Self { types: Vec::new(), samples: BTreeMap::new(), at: 0.0 };
        for line in openmetrics.lines() {
            if line.starts_with("# TYPE") {
                told.types.push(line.to_owned());
            }
            if line.starts_with('#') {
                continue;
            }
            let mut parts = line.rsplitn(3, ' ');
            told.at = parts.next().expect("a time").parse().expect("a time");
            let value = parts.next().expect("a value").parse().expect("a value");
            let series = parts.next().expect("a series");
            let name = series.split('{').next().unwrap_or_default().to_owned();
            let labels = label.captures_iter(series).map(|found| (found[1].to_owned(), found[2].to_owned()));
            told.samples.insert(Series { name, labels: labels.collect() }, value);
        }
        told
    }

    /// The same run some days before, with figures of its own and under an id of its own: a query that takes the
    /// wrong day, or that stumbles over another run's id, gives another number.
    pub(super) fn days_ago(&self, days: u64) -> Self {
        let shifted = self.samples.iter().map(|(series, value)| {
            let mut series = series.clone();
            if days > 0 {
                let id = format!("{}-{days}", series.labels["run_id"]);
                series.labels.insert("run_id".to_owned(), id);
            }
            (series, value + days as f64)
        });
        Self { types: self.types.clone(), samples: shifted.collect(), at: self.at - (days * DAY) as f64 }
    }

    /// For `promtool tsdb create-blocks-from openmetrics`.
    pub(super) fn openmetrics(&self) -> String {
        let mut text = String::new();
        for of_type in &self.types {
            writeln!(text, "{of_type}").expect("a string takes everything");
            let family = of_type.split(' ').nth(2).expect("a name");
            let mine = |name: &str| {
                name.strip_prefix(family).is_some_and(|rest| ["", "_sum", "_count", "_total"].contains(&rest))
            };
            for (series, value) in self.samples.iter().filter(|(series, _)| mine(&series.name)) {
                let labels: Vec<_> =
                    series.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                writeln!(text, "{}{{{}}} {value} {:.3}", series.name, labels.join(","), self.at)
                    .expect("a string takes everything");
            }
        }
        text + "# EOF\n"
    }

    /// The series that are called `name`.
    pub(super) fn series(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.samples.keys().filter(move |series| series.name == name)
    }

    pub(super) fn value(&self, series: &Series) -> f64 {
        self.samples[series]
    }

    /// Which values `label` has among the series whose names match.
    pub(super) fn label_values(&self, names: &Regex, label: &str) -> BTreeSet<String> {
        let matching = self.samples.keys().filter(|series| names.is_match(&series.name));
        matching.filter_map(|series| series.labels.get(label).cloned()).collect()
    }
}
