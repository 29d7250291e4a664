//! A decision in words: one line a figure, for reasons, notes and tables. Must not decide.
//!
//! 判定结果的文字表述。

use super::{Decision, Finding, Row, figure::Bad};

/// `+15.0 %`.
pub(crate) fn percent(change: f64) -> String {
    format!("{:+.1} %", change * 100.0)
}

/// A value with three figures that tell and its unit: `0.231 s`, `12.3 1/s`.
pub(crate) fn value(value: Option<f64>, unit: &str) -> String {
    let Some(value) = value else { return "none".to_owned() };
    let unit = if unit == "ratio" { String::new() } else { format!(" {unit}") };
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        v if v >= 0.01 => 4,
        _ => 6,
    };
    format!("{value:.digits$}{unit}")
}

impl Row {
    /// `ttft p99 0.200 s → 0.230 s: +15.0 %, limit +10 %`.
    pub fn text(&self) -> String {
        let name = self.figure.name();
        let now = value(self.now, self.unit);
        if self.before.is_none() && self.change.is_none() && self.n[0] == 0 {
            return format!("{name} {now}, limit {}", value(Some(self.limit), self.unit));
        }
        let change = self.change.map_or_else(|| "no change can be told".to_owned(), percent);
        let mut text = format!(
            "{name} {} → {now}: {change}, limit {}",
            value(self.before, self.unit),
            self.limit_text()
        );
        if let Some(interval) = self.interval {
            text.push_str(&format!(
                "; it lies from {} to {}, and the smallest that would show is {}",
                percent(interval.low),
                percent(interval.high),
                percent(interval.detectable)
            ));
        }
        text
    }

    /// `+10 %`, `-5 %`.
    pub fn limit_text(&self) -> String {
        let sign = match self.figure.bad() {
            Bad::Higher => '+',
            Bad::Lower => '-',
        };
        format!("{sign}{} %", (self.limit * 1000.0).round() / 10.0)
    }
}

impl Finding {
    /// For a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Regression => "REGRESSION",
            Self::Refused => "refused",
            Self::Inconclusive => "inconclusive",
            Self::NoBaseline => "no baseline",
            Self::Pass => "ok",
        }
    }
}

impl Decision {
    /// All figures on one line.
    pub fn line(&self) -> String {
        self.rows.iter().map(Row::text).collect::<Vec<_>>().join("; ")
    }

    /// What the circumstances differ in, on one line; nothing where they do not.
    pub fn differs_line(&self) -> Option<String> {
        let all: Vec<String> = self.differs.iter().map(super::Difference::text).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Why it is of low confidence, on one line; nothing where it is not.
    pub fn doubts_line(&self) -> Option<String> {
        let doubts = self
            .rows
            .iter()
            .filter_map(|row| Some(format!("{}: {}", row.figure.name(), row.doubt.as_ref()?)));
        let all: Vec<String> = doubts.collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decide, decide::tests::evidence};
    use crate::config::PerfGate;

    #[test]
    fn every_figure_is_told_with_its_change_and_its_limit() {
        let decision =
            decide(&PerfGate::default(), &[&evidence(0.2, 2.0, 10.0, 16)], &evidence(0.23, 2.0, 9.9, 16));
        assert_eq!(
            decision.line(),
            "ttft p99 0.200 s → 0.230 s: +15.0 %, limit +10 %; e2e p99 2.00 s → 2.00 s: +0.0 %, limit +10 %; \
             requests per second 10.0 1/s → 9.90 1/s: -1.0 %, limit -5 %; failure ratio 0, limit 0.0500"
        );
        assert!(
            decision.doubts_line().expect("few").starts_with("ttft p99: 16 samples where 299 are needed")
        );
    }
}
