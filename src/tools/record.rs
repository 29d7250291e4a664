//! What a tool says it found: [`Record`], the same for every tool. Must not know which tool said it.
//!
//! 统一的工具结果记录。

use serde::Serialize;

/// What one result file says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The tool's own version, where its file tells it.
    pub version: Option<String>,
    /// When the file says that it was made, in seconds since 1970, where it does.
    pub made_at: Option<f64>,
    /// Every figure, in the order of the file.
    pub figures: Vec<Figure>,
    /// Requests that were to be sent and those that failed, where the file tells both.
    pub requests: Option<Requests>,
}

/// How many requests there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// All of them.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// On what it was measured: a task, a data set.
    pub task: String,
    /// As the tool names it: `exact_match`, `p99_ttft_ms`.
    pub metric: String,
    /// Which of several readings or aggregations of it: `strict-match`, `mean`.
    pub variant: Option<String>,
    /// In `unit`: a ratio from 0 to 1 where the tool tells per cent, seconds where it tells milliseconds.
    pub value: f64,
    /// Of `value`.
    pub unit: Unit,
    /// As it stands in the file.
    pub raw: f64,
    /// Samples behind it, where the file tells.
    pub n: Option<u64>,
    /// Its standard error in `unit`, where the file tells.
    pub stderr: Option<f64>,
    /// Name and stat of the figure of ours that it stands for, where it is one.
    pub stands_for: Option<(&'static str, &'static str)>,
}

/// What a figure is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// From 0 to 1.
    #[serde(rename = "ratio")]
    Ratio,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Requests per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Tokens per second.
    #[serde(rename = "tokens/s")]
    TokensPerSecond,
    /// A number.
    #[serde(rename = "count")]
    Count,
}

impl Unit {
    /// As reports write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Seconds => "s",
            Self::PerSecond => "1/s",
            Self::TokensPerSecond => "tokens/s",
            Self::Count => "count",
        }
    }
}

impl Figure {
    /// A ratio from 0 to 1.
    pub fn ratio(task: &str, metric: &str, value: f64) -> Self {
        Self {
            task: task.to_owned(),
            metric: metric.to_owned(),
            variant: None,
            value,
            unit: Unit::Ratio,
            raw: value,
            n: None,
            stderr: None,
            stands_for: None,
        }
    }

    /// A ratio that the tool tells in per cent.
    pub fn percent(task: &str, metric: &str, raw: f64) -> Self {
        Self { raw, ..Self::ratio(task, metric, raw / 100.0) }
    }

    /// `task metric,variant`: how people tell it.
    pub fn name(&self) -> String {
        format!("{} {}", self.task, self.key())
    }

    /// `metric,variant`, or the metric alone.
    pub fn key(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{},{variant}", self.metric),
            None => self.metric.clone(),
        }
    }

    /// Whether a case that writes `wanted` means this one: the metric, or metric and variant.
    pub fn is(&self, wanted: &str) -> bool {
        self.metric == wanted || self.key() == wanted
    }
}

impl Record {
    /// The one figure that is meant by `task` and `metric`, where each may be left out.
    ///
    /// # Errors
    /// That there is none, or that there are several: which there are.
    pub fn find(&self, task: Option<&str>, metric: Option<&str>) -> Result<&Figure, String> {
        let meant = |figure: &&Figure| {
            task.is_none_or(|task| figure.task == task) && metric.is_none_or(|metric| figure.is(metric))
        };
        let found: Vec<&Figure> = self.figures.iter().filter(meant).collect();
        let names = |figures: &[&Figure]| {
            let all: Vec<String> = figures.iter().map(|figure| format!("`{}`", figure.name())).collect();
            if all.is_empty() { "none at all".to_owned() } else { all.join(", ") }
        };
        let wanted = [task, metric].into_iter().flatten().collect::<Vec<_>>().join(" ");
        match found.as_slice() {
            [only] => Ok(only),
            [] => Err(format!(
                "expected a figure `{wanted}`, found {}",
                names(&self.figures.iter().collect::<Vec<_>>())
            )),
            several => Err(format!(
                "expected one figure, found {} that are meant by `{wanted}`: {}; name it with `tool.task` and \
                 `tool.metric`",
                several.len(),
                names(several)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let strict = Figure { variant: Some("strict".into()), ..Figure::ratio("sums", "exact_match", 0.5) };
        let loose = Figure { variant: Some("loose".into()), ..Figure::ratio("sums", "exact_match", 0.75) };
        let figures = vec![strict, loose, Figure::percent("words", "acc", 80.0)];
        Record { version: None, made_at: None, figures, requests: None }
    }

    #[test]
    fn a_figure_is_found_by_as_much_as_it_takes_to_name_it() {
        let record = record();
        assert_eq!(
            record.find(Some("words"), None).map(|figure| (figure.value, figure.raw)),
            Ok((0.8, 80.0))
        );
        assert_eq!(record.find(None, Some("exact_match,loose")).map(|figure| figure.value), Ok(0.75));
        let several = record.find(Some("sums"), Some("exact_match")).unwrap_err();
        assert!(several.contains("found 2") && several.contains("`sums exact_match,strict`"), "{several}");
        let none = record.find(Some("sums"), Some("f1")).unwrap_err();
        assert!(none.starts_with("expected a figure `sums f1`, found `sums exact_match,strict`"), "{none}");
    }
}
