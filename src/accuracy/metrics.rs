//! simple-evals' figures of a whole run, under its names and to its last digit, or MME's: [`flat`]. Must not know how
//! an answer was marked.
//!
//! 汇总指标：键名与数值与 simple-evals 一致；图片题为 MME 的指标。

use std::collections::BTreeMap;

use crate::accuracy::{
    evaluator::{Evaluator, mme},
    python::sums,
    reply::Status,
    row::Row,
};

/// Every column's mean under its name and its population deviation as `NAME:std`, over the samples that have it.
/// As upstream, a request that was refused is a wrong answer; one that was not sent is no sample.
pub fn flat(evaluator: Evaluator, rows: &[Row]) -> BTreeMap<String, f64> {
    if evaluator == Evaluator::Mme {
        return mme::figures(rows);
    }
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sample in evaluator.samples(rows) {
        for (name, value) in sample {
            columns.entry(name).or_default().push(value);
        }
    }
    let mut flat = BTreeMap::new();
    for (name, values) in columns {
        flat.extend(sums::std(&values).map(|std| (format!("{name}:std"), std)));
        flat.extend(sums::mean(&values).map(|mean| (name, mean)));
    }
    flat
}

/// A row as a sample of upstream: its columns, and its score under the name of every section it counts in.
pub fn sample(row: &Row, with_sections: bool) -> Option<BTreeMap<String, f64>> {
    let mut sample = match (&row.scored, row.status) {
        (Some(scored), _) => scored.metrics.clone(),
        (None, Some(Status::Failed)) => BTreeMap::from([("score".to_owned(), 0.0)]),
        (None, _) => return None,
    };
    let score = sample.get("score").copied().unwrap_or(0.0);
    sample.extend(row.sections.iter().filter(|_| with_sections).map(|section| (section.clone(), score)));
    Some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::{reply::Reply, row::tests as rows};

    #[test]
    fn the_keys_of_gpqa_are_upstreams() {
        let rows =
            [rows::answered("a", "Answer: B"), rows::answered("b", "Answer: CC"), rows::row("c", None)];
        let flat: Vec<_> = flat(Evaluator::Gpqa, &rows).into_iter().collect();
        let expected = [("chars", 9.5), ("chars:std", 0.5), ("score", 0.5), ("score:std", 0.5)];
        assert_eq!(flat, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn sections_are_columns_where_upstream_has_them_so() {
        let rows = [rows::answered("a", "Answer: B"), rows::row("b", Some(Reply::failed("status 400")))];
        let flat = flat(Evaluator::Mmlu, &rows);
        assert_eq!((flat["physics"], flat["score"], flat["physics:std"]), (0.5, 0.5, 0.5));
    }
}
