//! The distributions that the rest is made of: normal, Student's t, binomial. Must not know what they are used for.
//!
//! 分布函数。

use std::f64::consts::{PI, TAU};

/// ln Γ(x) for x > 0: Lanczos' sum with g = 7, nine terms.
fn ln_gamma(x: f64) -> f64 {
    const FIRST: f64 = 0.999_999_999_999_809_9;
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = TERMS.iter().zip(1_u32..).fold(FIRST, |sum, (term, i)| sum + term / (x + f64::from(i)));
    let t = x + 7.5;
    0.5 * TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised incomplete beta function I_x(a, b), for a, b > 0 and x within 0 and 1.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction converges fast on this side of the mean only; the other side is its mirror image.
    match x < (a + 1.0) / (a + b + 2.0) {
        true => front * beta_fraction(a, b, x) / a,
        false => 1.0 - front * beta_fraction(b, a, 1.0 - x) / b,
    }
}

/// The continued fraction of the incomplete beta function, by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_0 = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_0(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    // About the square root of the larger of a and b steps; a hundred thousand would be a data set of 10^10 items.
    for m in (1_u32..100_000).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for coefficient in [even, odd] {
            d = 1.0 / away_from_0(1.0 + coefficient * d);
            c = away_from_0(1.0 + coefficient / c);
            fraction *= c * d;
        }
        if (fraction / before - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// P(X ≥ k) for X binomial with n draws of chance p.
pub(super) fn binomial_at_least(k: u64, n: u64, p: f64) -> f64 {
    match k {
        0 => 1.0,
        k if k > n => 0.0,
        k => incomplete_beta(k as f64, (n - k) as f64 + 1.0, p),
    }
}

/// P(X = k) for X binomial with n draws of chance p, 0 < p < 1.
pub(super) fn binomial_exactly(k: u64, n: u64, p: f64) -> f64 {
    if k > n {
        return 0.0;
    }
    let (k, n) = (k as f64, n as f64);
    let ways = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
    (ways + k * p.ln() + (n - k) * (-p).ln_1p()).exp()
}

/// P(T > x) for Student's t with `freedom` degrees.
pub(super) fn t_above(x: f64, freedom: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + x * x));
    if x >= 0.0 { tail } else { 1.0 - tail }
}

/// The x with P(T ≤ x) = `p`, for p from 0.5 to below 1.
pub(super) fn t_quantile(p: f64, freedom: f64) -> f64 {
    let mut high = 1.0;
    while t_above(high, freedom) > 1.0 - p && high < 1e12 {
        high *= 2.0;
    }
    root(0.0, high, |x| (1.0 - p) - t_above(x, freedom))
}

/// The z with P(Z ≤ z) = `p` for the standard normal distribution, p from 0.5 to below 1.
pub(super) fn normal_quantile(p: f64) -> f64 {
    root(0.0, 40.0, |z| normal_below(z) - p)
}

/// P(Z ≤ z) for the standard normal distribution and z ≥ 0.
fn normal_below(z: f64) -> f64 {
    let density = (-0.5 * z * z).exp() / TAU.sqrt();
    if z < 5.0 {
        // φ(z)·(z + z³/3 + z⁵/(3·5) + …): all terms are positive, so nothing cancels.
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let fraction = (1_u32..60).rev().fold(z, |below, k| z + f64::from(k) / below);
    1.0 - density / fraction
}

/// Where the increasing `function` crosses 0 between `low` and `high`, by halving.
pub(super) fn root(mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if function(middle) < 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-10 * expected.abs().max(1e-3), "{found} is not {expected}");
    }

    #[test]
    fn gamma_and_beta_are_those_of_scipy_special() {
        // scipy.special.gammaln, scipy.special.betainc
        for (x, expected) in [
            (0.5, 0.5723649429247),
            (3.7, 1.428072326665388),
            (25.0, 54.78472939811232),
            (5000.5, 37586.88488728106),
        ] {
            close(ln_gamma(x), expected);
        }
        for (a, b, x, expected) in [
            (2.0, 3.0, 0.4, 0.5247999999999999),
            (0.5, 0.5, 0.1, 0.20483276469913345),
            (30.0, 20.0, 0.55, 0.2328886067865693),
            (500.0, 600.0, 0.47, 0.8483330071205362),
            (1.0, 10000.0, 1e-4, 0.6321389535670702),
            (7000.0, 7042.0, 0.5, 0.6384970361423304),
        ] {
            close(incomplete_beta(a, b, x), expected);
        }
    }

    #[test]
    fn the_normal_distribution_is_that_of_scipy_stats() {
        // scipy.stats.norm.ppf, .cdf
        for (p, expected) in [
            (0.8, 0.8416212335729143),
            (0.95, 1.6448536269514722),
            (0.975, 1.959963984540054),
            (0.999, 3.090232306167813),
        ] {
            close(normal_quantile(p), expected);
        }
        for (z, expected) in
            [(0.0, 0.5), (0.3, 0.6179114221889526), (2.5, 0.9937903346742238), (5.0, 0.9999997133484281)]
        {
            close(normal_below(z), expected);
        }
    }

    #[test]
    fn students_t_is_that_of_scipy_stats() {
        // scipy.stats.t.sf, .ppf
        for (x, freedom, expected) in [
            (1.0, 1.0, 0.25),
            (2.0, 5.0, 0.050969739414929174),
            (3.2317, 60.0, 0.0010000271499598955),
            (-1.5, 10.0, 0.9177463367772799),
        ] {
            close(t_above(x, freedom), expected);
        }
        for (p, freedom, expected) in [
            (0.95, 4.0, 2.1318467863266495),
            (0.99, 9.0, 2.821437925025809),
            (0.999, 60.0, 3.23170912602436),
            (0.975, 197.0, 1.9720790337785026),
        ] {
            close(t_quantile(p, freedom), expected);
        }
    }

    #[test]
    fn the_binomial_tail_is_that_of_scipy_stats() {
        // scipy.stats.binom.sf(k - 1, n, p)
        for (k, n, p, expected) in [
            (10, 12, 0.5, 0.019287109375),
            (0, 5, 0.3, 1.0),
            (5, 5, 0.3, 0.00243),
            (120, 198, 0.7, 0.998109310739844),
            (7100, 14042, 0.5, 0.09260012906708634),
        ] {
            close(binomial_at_least(k, n, p), expected);
        }
        let sum: f64 = (120..=198).map(|k| binomial_exactly(k, 198, 0.7)).sum();
        close(sum, 0.998109310739844);
        assert_eq!(binomial_at_least(6, 5, 0.5), 0.0);
    }
}
