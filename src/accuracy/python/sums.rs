//! `numpy.mean` and `numpy.std`: [`mean`], [`std`], to the last digit, which takes numpy's order of adding. Must
//! not know what is averaged.
//!
//! numpy 的均值与总体标准差（成对求和，逐位一致）。

/// `numpy.mean(values)`; nothing of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| sum(values) / values.len() as f64)
}

/// `numpy.std(values)`: of the population, and so no standard error; nothing of nothing.
pub fn std(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: Vec<f64> = values.iter().map(|value| (value - mean) * (value - mean)).collect();
    Some((sum(&squares) / values.len() as f64).sqrt())
}

/// Pairwise: eight running sums up to 128 values, halves above.
fn sum(values: &[f64]) -> f64 {
    match values.len() {
        0..8 => values.iter().fold(0.0, |sum, value| sum + value),
        8..=128 => {
            let (eights, rest) = values.split_at(values.len() - values.len() % 8);
            let mut lanes = [0.0; 8];
            for (index, value) in eights.iter().enumerate() {
                lanes[index % 8] += value;
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
        }
        length => {
            let half = length / 2;
            let (low, high) = values.split_at(half - half % 8);
            sum(low) + sum(high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digit_is_that_of_numpy() {
        // numpy 2: x = [(i * 37 % 101) / 3 for i in range(n)]; repr(np.mean(x)), repr(np.std(x))
        let values = |n: u32| (0..n).map(|i| f64::from(i * 37 % 101) / 3.0).collect::<Vec<_>>();
        for (n, expected_mean, expected_std) in NUMPY {
            let x = values(n);
            assert_eq!((mean(&x), std(&x)), (Some(expected_mean), Some(expected_std)), "{n}");
        }
        assert_eq!((mean(&[]), std(&[])), (None, None));
        assert_eq!((mean(&[1.0, 0.0]), std(&[1.0, 0.0])), (Some(0.5), Some(0.5)));
    }

    const NUMPY: [(u32, f64, f64); 6] = [
        (5, 11.2, 8.830754340497885),
        (13, 14.435897435897438, 9.832255147656914),
        (100, 16.62, 9.755456592765576),
        (129, 16.565891472868216, 9.759167571139951),
        (198, 16.606060606060606, 9.746260457154005),
        (2750, 16.65806060606061, 9.721310895742429),
    ];
}
