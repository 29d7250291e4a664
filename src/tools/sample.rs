//! What a tool says of one sample: [`Sample`], the same for every tool, and [`Samples`] of a figure. Must not know which
//! tool said it.
//!
//! 统一的逐样本记录。

/// One sample and its mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The document's name, the same from run to run.
    pub id: String,
    /// The how-manieth time it was asked, from 0. `(id, repeat)` is unique.
    pub repeat: u32,
    /// A hash of what was asked.
    pub asked: String,
    /// From 0 to 1.
    pub score: f64,
}

/// What is known of the samples behind a figure.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Every one of them: as many as the figure says, and their mean is the figure.
    Each(Vec<Sample>),
    /// They have no marks of their own, and why.
    Unmarked(String),
}

impl Samples {
    /// `samples`, held against the figure that they are behind: as many as it says, none twice, and their mean is it
    /// but for `rounding`.
    ///
    /// # Errors
    /// In one line, what does not fit.
    pub(super) fn held_against(
        samples: Vec<Sample>,
        figure: &super::Figure,
        rounding: f64,
    ) -> Result<Self, String> {
        let name = figure.name();
        let n = figure.n.unwrap_or_default();
        if samples.len() as u64 != n {
            return Err(format!(
                "incomplete: {} samples of `{name}`, where the result has {n}",
                samples.len()
            ));
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = samples.iter().find(|sample| !names.insert((&sample.id, sample.repeat))) {
            return Err(format!("expected each sample of `{name}` once, found `{}` twice", twice.id));
        }
        let mean = samples.iter().map(|sample| sample.score).sum::<f64>() / n.max(1) as f64;
        if (mean - figure.value).abs() > rounding {
            let told = figure.value;
            return Err(format!(
                "expected the samples of `{name}` to have the mean {told} of the result, found {mean}"
            ));
        }
        Ok(Self::Each(samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Figure;

    fn sample(id: &str, score: f64) -> Sample {
        Sample { id: id.to_owned(), repeat: 0, asked: "h".to_owned(), score }
    }

    #[test]
    fn samples_that_do_not_add_up_to_their_figure_are_refused() {
        let figure = Figure { n: Some(2), ..Figure::ratio("sums", "acc", 0.5) };
        let held = |samples: &[Sample]| Samples::held_against(samples.to_vec(), &figure, 1e-6);
        let (right, wrong) = (sample("0", 1.0), sample("1", 0.0));
        assert_eq!(
            held(&[right.clone(), wrong.clone()]),
            Ok(Samples::Each(vec![right.clone(), wrong.clone()]))
        );
        for (samples, told) in [
            (vec![right.clone()], "incomplete: 1 samples of `sums acc`, where the result has 2"),
            (vec![right.clone(), right.clone()], "expected each sample of `sums acc` once, found `0` twice"),
            (
                vec![right, sample("1", 1.0)],
                "expected the samples of `sums acc` to have the mean 0.5 of the result, found 1",
            ),
        ] {
            assert_eq!(held(&samples).unwrap_err(), told);
        }
    }
}
