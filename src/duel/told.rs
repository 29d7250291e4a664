//! What came of a comparison: [`Told`], for people and as JSON. Must not judge.
//!
//! 对比结果的呈现。

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};
use st_harness::{
    exit::Exit,
    verdict::{Outcome, Reason, Reasons},
};

use crate::baseline::{
    ab::{Block, Design, Finding, Row, Verdict},
    percent, shown,
};

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// Two servers.
    Duel {
        /// The case.
        case: String,
        /// The two.
        sides: [String; 2],
        /// How it was laid out.
        design: Design,
        /// In the order in which they were run.
        blocks: Vec<Block>,
        /// What follows.
        verdict: Verdict,
        /// Where the files lie.
        folder: String,
    },
    /// One server against itself.
    SelfTest {
        /// The case.
        case: String,
        /// The server.
        side: String,
        /// How each comparison was laid out.
        design: Design,
        /// How many comparisons.
        times: u32,
        /// How many of them found a difference that cannot be there.
        alarms: u32,
        /// How often that may happen.
        stated: f64,
        /// How many of so many comparisons that rate explains, with this confidence: more are too many.
        at_most: u32,
        /// See `at_most`.
        confidence: f64,
        /// What each found.
        findings: Vec<Finding>,
        /// Where the files lie.
        folder: String,
    },
}

impl Told {
    /// Of one server against itself: whether its false alarms are no more than the stated rate explains.
    pub fn is_within(&self) -> bool {
        match self {
            Self::Duel { .. } => true,
            Self::SelfTest { alarms, at_most, .. } => alarms <= at_most,
        }
    }

    /// What the process returns.
    pub fn exit(&self) -> Exit {
        match self.outcome() {
            Outcome::Failed(_) => Exit::Failed,
            Outcome::Inconclusive(_) => Exit::Inconclusive,
            _ => Exit::Ok,
        }
    }

    /// How it ends as a gate over the run.
    pub(super) fn outcome(&self) -> Outcome {
        let because = |kind: &str, summary: String| Reasons::one(Reason::new(kind, summary));
        match self {
            Self::Duel { verdict, sides: [a, b], .. } => match verdict.finding {
                Finding::Regression => Outcome::Failed(because(
                    "regression",
                    format!("{b} is worse than {a}: {}", verdict.line()),
                )),
                Finding::Inconclusive => {
                    let why = "a difference that matters is neither shown nor ruled out".to_owned();
                    Outcome::Inconclusive(because("inconclusive", why))
                }
                Finding::Improvement | Finding::Same => Outcome::Passed,
            },
            Self::SelfTest { alarms, times, at_most, .. } if !self.is_within() => {
                let said = format!("{alarms} false alarms of {times}, where at most {at_most} are explained");
                Outcome::Failed(because("false-alarms", said))
            }
            Self::SelfTest { .. } => Outcome::Passed,
        }
    }

    /// The numbers it rests on, without the blocks: those are trials.
    pub(super) fn numbers(&self) -> Value {
        let mut numbers = json!(self);
        if let Value::Object(members) = &mut numbers {
            members.retain(|name, _| !["blocks", "folder"].contains(&name.as_str()));
        }
        numbers
    }

    /// For a terminal, within 80 columns.
    pub fn text(&self) -> String {
        match self {
            Self::Duel { case, sides, design, verdict, folder, .. } => {
                let mut text =
                    format!("A  {}\nB  {}\n{case}, {} blocks a side\n\n", sides[0], sides[1], design.blocks);
                for row in &verdict.rows {
                    text.push_str(&line(row));
                }
                let smallest = percent(design.min_effect);
                let _ = writeln!(
                    text,
                    "\n{}: a difference is one from {} on,\nand is found by mistake in at most {} % of comparisons",
                    word(verdict.finding),
                    smallest.trim_start_matches('+'),
                    design.alpha * 100.0
                );
                let _ = writeln!(text, "files: {folder}");
                text
            }
            Self::SelfTest {
                case, side, design, times, alarms, stated, at_most, confidence, folder, ..
            } => {
                let verdict = if self.is_within() { "within" } else { "MORE THAN" };
                format!(
                    "A  {side}, against itself\n{case}, {times} × {} blocks a side\n\n{alarms} false alarms of {times}: \
                     {:.1} %\n{verdict} what the stated {} % explains: with {} % confidence at most {at_most}\nfiles: {folder}\n",
                    design.blocks,
                    f64::from(*alarms) / f64::from((*times).max(1)) * 100.0,
                    stated * 100.0,
                    confidence * 100.0
                )
            }
        }
    }
}

fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Regression => "REGRESSION",
        Finding::Inconclusive => "inconclusive",
        Finding::Improvement => "improvement",
        Finding::Same => "no difference",
    }
}

fn line(row: &Row) -> String {
    let bounds = row.interval.map(|[low, high]| format!("from {} to {}", percent(low), percent(high)));
    let detectable =
        row.detectable.map(|least| format!("; about {} would show", percent(least).trim_start_matches('+')));
    format!(
        "{:<20} {:>11} {:>11} {:>9}  p {:<7} {}\n{:<20} {}{}\n",
        row.figure.name(),
        shown(row.a, row.unit),
        shown(row.b, row.unit),
        row.change.map(percent).unwrap_or_default(),
        row.p_holm.map(|p| format!("{p:.4}")).unwrap_or_default(),
        word(row.finding),
        "",
        bounds.unwrap_or_else(|| "too few blocks for bounds".to_owned()),
        detectable.unwrap_or_default()
    )
}
