//! From the answers to a score: [`Tally`]. Must not know the bar it is held against.
//!
//! 计分：得分、各类答复的数量与分项。

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Map;
use st_harness::verdict::Measurement;

use crate::accuracy::{gate::Sureness, python::sums, reply::Status, row::Row, spec::Compat};

/// The score and what stands beside it. A failed request counts as not right; whether that many failures are
/// bearable is the verdict's question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tally {
    /// Answers that are wholly right.
    pub correct: u64,
    /// Questions that were asked.
    pub total: u64,
    /// The mean of the scores, from 0 to 1; null where nothing was asked.
    pub score: Option<f64>,
    /// The same by the other reader.
    pub other_score: Option<f64>,
    /// How many questions of each status.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Whole answers in which nothing was found.
    pub unparsed: u64,
    /// The mean score of whole answers only.
    pub score_of_answered: Option<f64>,
    /// The mean score of each section.
    pub sections: BTreeMap<String, f64>,
    /// Questions that were not asked.
    pub not_asked: u64,
}

impl Tally {
    /// Counts `rows`, as `compat` reads them.
    pub fn of(rows: &[Row], compat: Compat) -> Self {
        let asked: Vec<&Row> = rows.iter().filter(|row| row.status.is_some()).collect();
        let whole: Vec<&Row> =
            asked.iter().copied().filter(|row| row.status == Some(Status::Answered)).collect();
        let other = match compat {
            Compat::SimpleEvals => Compat::Robust,
            Compat::Robust => Compat::SimpleEvals,
        };
        let right = asked.iter().filter(|row| row.is_right(compat) == Some(true)).count() as u64;
        let mut statuses = BTreeMap::new();
        for status in asked.iter().filter_map(|row| row.status) {
            *statuses.entry(status.word()).or_default() += 1;
        }
        let found_nothing =
            |row: &&&Row| row.scored.as_ref().is_some_and(|scored| scored.extracted.is_none());
        Self {
            correct: right,
            total: asked.len() as u64,
            score: mean(&asked, compat),
            other_score: mean(&asked, other),
            statuses,
            unparsed: whole.iter().filter(found_nothing).count() as u64,
            score_of_answered: mean(&whole, compat),
            sections: sections(&asked, compat),
            not_asked: (rows.len() - asked.len()) as u64,
        }
    }

    /// How many questions have `status`.
    pub fn count(&self, status: Status) -> u64 {
        self.statuses.get(status.word()).copied().unwrap_or(0)
    }

    /// The share of asked questions with `status`; null where nothing was asked.
    pub fn share(&self, status: Status) -> Option<f64> {
        ratio(self.count(status), self.total)
    }

    /// The share of whole answers in which nothing was found; null where there is no whole answer.
    pub fn unparsed_share(&self) -> Option<f64> {
        ratio(self.unparsed, self.count(Status::Answered))
    }

    /// The figures with `sure`, which is of the score; labelled with their dataset, and with their section where they have one.
    pub fn measurements(&self, dataset: &str, sure: &Sureness) -> Vec<Measurement> {
        let reason = if self.total == 0 { "no item was asked" } else { "it cannot be told" };
        let figure = |name: &str, stat: &str, value: Option<f64>| Measurement {
            name: name.to_owned(),
            stat: stat.to_owned(),
            unit: "ratio".to_owned(),
            value,
            null_reason: value.is_none().then(|| reason.to_owned()),
            n: self.total,
            definition: format!("{name}/1"),
            source: "client".to_owned(),
            labels: Map::from_iter([("dataset".to_owned(), dataset.into())]),
        };
        let of_section = |(section, score): (&String, &f64)| {
            let mut subscore = figure("subscore", "value", Some(*score));
            subscore.labels.insert("section".to_owned(), section.as_str().into());
            subscore
        };
        let share = |status: Status| figure(&format!("{}_ratio", status.word()), "value", self.share(status));
        let mut all = vec![
            figure("score", "value", self.score),
            figure("score", "low", sure.bounds.map(|bounds| bounds.low)),
            figure("score", "high", sure.bounds.map(|bounds| bounds.high)),
            figure("score_of_other_reader", "value", self.other_score),
        ];
        all.extend([Status::Truncated, Status::Empty, Status::Refused, Status::Failed].map(share));
        all.push(figure("unparsed_ratio", "value", ratio(self.unparsed, self.total)));
        all.extend(self.sections.iter().map(of_section));
        all
    }
}

/// What was not answered counts 0.
fn mean(rows: &[&Row], compat: Compat) -> Option<f64> {
    let scores: Vec<f64> = rows.iter().map(|row| row.score(compat).unwrap_or(0.0)).collect();
    sums::mean(&scores)
}

fn sections(rows: &[&Row], compat: Compat) -> BTreeMap<String, f64> {
    let mut by_section: BTreeMap<&String, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        for section in &row.sections {
            by_section.entry(section).or_default().push(row);
        }
    }
    let score =
        |(section, rows): (&String, Vec<&Row>)| mean(&rows, compat).map(|mean| (section.clone(), mean));
    by_section.into_iter().filter_map(score).collect()
}

fn ratio(part: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| part as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::{
        gate::Sureness,
        reply::Reply,
        row::tests::{answered, row},
    };

    const UNSURE: Sureness = Sureness { method: "wilson", level: 0.95, bounds: None };

    #[test]
    fn wrong_unparsed_truncated_empty_refused_and_failed_are_told_apart() {
        let refused = Reply { status: Status::Refused, ..Reply::empty() };
        let rows = [
            answered("a", "Answer: B"),
            answered("b", "Answer: C"),
            answered("c", "no idea"),
            row("d", Some(Reply::truncated("Let me"))),
            row("e", Some(Reply::empty())),
            row("f", Some(refused)),
            row("g", Some(Reply::failed("status 500"))),
            row("h", None),
        ];
        let tally = Tally::of(&rows, Compat::SimpleEvals);
        assert_eq!((tally.correct, tally.total, tally.unparsed, tally.not_asked), (1, 7, 1, 1));
        assert_eq!((tally.score, tally.score_of_answered), (Some(1.0 / 7.0), Some(1.0 / 3.0)));
        assert_eq!(tally.unparsed_share(), Some(1.0 / 3.0));
        let counts: Vec<_> = tally.statuses.into_iter().collect();
        assert_eq!(counts, [("answered", 3), ("empty", 1), ("failed", 1), ("refused", 1), ("truncated", 1)]);
    }

    #[test]
    fn the_other_reader_and_every_section_have_a_score_of_their_own() {
        let rows = [answered("a", "Answer: **B**"), answered("b", "Answer: B")];
        let tally = Tally::of(&rows, Compat::SimpleEvals);
        assert_eq!((tally.score, tally.other_score, tally.sections["physics"]), (Some(0.5), Some(1.0), 0.5));
        let subscores = tally.measurements("x", &UNSURE).into_iter().filter(|one| one.name == "subscore");
        let told: Vec<_> = subscores.map(|one| (one.labels["section"].clone(), one.value)).collect();
        assert_eq!(told, [("physics".into(), Some(0.5))]);
    }

    #[test]
    fn nothing_asked_is_no_score_of_zero() {
        let tally = Tally::of(&[row("a", None)], Compat::SimpleEvals);
        assert_eq!(tally.score, None);
        for figure in tally.measurements("x", &UNSURE) {
            assert_eq!((figure.value, figure.null_reason.as_deref()), (None, Some("no item was asked")));
        }
    }
}
