//! What is wrong with a well-typed case: [`check`], before anything is sent. Must not know how load is made.
//!
//! 性能用例的语义检查。

use st_harness::suite::Mistakes;

use super::{Climb, ConcurrencyBackend, ControlMethod, FailureStop, Rate, Spec};

/// More threads than this measure their own scheduling.
const MOST_THREADS: u32 = 1024;

pub(super) fn check(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    at_least_one(spec, mistakes);
    amount(spec, mistakes);
    match spec.control_method {
        ControlMethod::Fixed => needs_concurrency(spec, "fixed", mistakes),
        ControlMethod::Climb(climb) => {
            needs_concurrency(spec, "climb", mistakes);
            climbs(spec, climb, mistakes);
        }
        ControlMethod::Rate(rate) => arrives(rate, mistakes),
    }
    threads(spec, mistakes);
    if let Some(stop) = spec.stop.failures {
        failures(stop, mistakes);
    }
    for (index, expectation) in spec.expect.iter().enumerate() {
        for message in expectation.mistakes() {
            mistakes.at(&format!("/expect/{index}"), message);
        }
    }
}

fn at_least_one(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    for (pointer, value) in [
        ("/concurrency", spec.concurrency),
        ("/input_len", Some(spec.input_len)),
        ("/output_len", Some(spec.output_len)),
        ("/requests", spec.requests),
        ("/requests_per_concurrency", spec.requests_per_concurrency),
        ("/epochs", Some(spec.epochs)),
    ] {
        if value == Some(0) {
            mistakes.at(pointer, "expected at least 1, found 0");
        }
    }
    if spec.request_timeout_s == 0 {
        mistakes.at("/request_timeout_s", "expected at least 1 second, found 0");
    }
}

/// How many requests there are has to be said, once.
fn amount(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    let by_time = matches!(spec.control_method, ControlMethod::Rate(_)) && spec.stop.duration.is_some();
    match (spec.requests, spec.requests_per_concurrency) {
        (Some(_), Some(_)) => {
            mistakes.at("/requests_per_concurrency", "expected one of `requests` and this, found both");
        }
        (None, Some(_)) if spec.concurrency.is_none() => mistakes
            .at("/requests_per_concurrency", "expected `concurrency` beside it, of which it is a multiple"),
        (None, Some(each)) if spec.requests().is_none() => {
            mistakes
                .at("/requests_per_concurrency", format!("{each} times `concurrency` is more than 2^32 − 1"));
        }
        (None, None) if !by_time => mistakes.at(
            "",
            "expected `requests` or `requests_per_concurrency`: prompts are made before the first is sent, so that \
             their number must be known; `stop.duration` alone ends only a `rate`",
        ),
        _ => {}
    }
    if let (Some(requests), Some(concurrency)) = (spec.requests, spec.concurrency)
        && (1..concurrency).contains(&requests)
        && !matches!(spec.control_method, ControlMethod::Rate(_))
    {
        mistakes.at(
            "/requests",
            format!(
                "expected at least as many requests as concurrency ({concurrency}), found {requests}: the asked \
                 concurrency would never be reached"
            ),
        );
    }
}

fn needs_concurrency(spec: &Spec, method: &str, mistakes: &mut Mistakes<'_>) {
    if spec.concurrency.is_none() {
        let role =
            if method == "climb" { "the ceiling of the climb" } else { "how many requests are in flight" };
        mistakes.at("", format!("expected `concurrency`, {role}: control_method `{method}` needs it"));
    }
}

fn climbs(spec: &Spec, climb: Climb, mistakes: &mut Mistakes<'_>) {
    let ceiling = spec.concurrency.unwrap_or(u32::MAX);
    if climb.init_concurrency == 0 {
        mistakes.at("/control_method/climb/init_concurrency", "expected at least 1, found 0");
    } else if climb.init_concurrency > ceiling {
        mistakes.at(
            "/control_method/climb/init_concurrency",
            format!(
                "expected at most the ceiling, `concurrency` ({ceiling}), found {}",
                climb.init_concurrency
            ),
        );
    } else if climb.growth_rate == 0 && climb.init_concurrency < ceiling {
        mistakes.at(
            "/control_method/climb/growth_rate",
            format!(
                "expected at least 1, found 0: from {} the climb would never come nearer to its ceiling {ceiling}",
                climb.init_concurrency
            ),
        );
    }
    if climb.growth_interval_ms == 0 {
        mistakes.at("/control_method/climb/growth_interval_ms", "expected at least 1 ms, found 0");
    }
}

fn arrives(rate: Rate, mistakes: &mut Mistakes<'_>) {
    for (key, value) in [("requests_per_second", rate.requests_per_second), ("burstiness", rate.burstiness)] {
        if !(value.is_finite() && value > 0.0) {
            mistakes.at(
                &format!("/control_method/rate/{key}"),
                format!("expected a number above 0, found {value}"),
            );
        }
    }
}

fn threads(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    if spec.concurrency_backend != ConcurrencyBackend::ThreadingPool {
        return;
    }
    match spec.concurrency {
        None if matches!(spec.control_method, ControlMethod::Rate(_)) => mistakes.at(
            "/control_method",
            "expected `concurrency`, the size of the pool of threads, or `concurrency_backend: asyncio`, under which \
             a rate needs no cap",
        ),
        Some(asked) if asked > MOST_THREADS => mistakes.at(
            "/concurrency",
            format!(
                "expected at most {MOST_THREADS} threads, found {asked}; `concurrency_backend: asyncio` carries more"
            ),
        ),
        _ => {}
    }
}

fn failures(stop: FailureStop, mistakes: &mut Mistakes<'_>) {
    if !(0.0..1.0).contains(&stop.ratio_above) {
        mistakes.at(
            "/stop/failures/ratio_above",
            format!("expected a share from 0 to below 1, found {}", stop.ratio_above),
        );
    }
    if stop.of_at_least == 0 {
        mistakes.at("/stop/failures/of_at_least", "expected at least 1, found 0");
    }
}
