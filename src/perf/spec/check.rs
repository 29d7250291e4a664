//! What is wrong with a well-typed case: [`check`], before anything is sent. Must not know how load is made.
//!
//! 性能用例的语义检查。

use st_harness::suite::Mistakes;

use super::{
    Climb, ConcurrencyBackend, ControlMethod, Expectation, FailureStop, Layout, NO_JOBS, PdDynamic, Rate,
    RequestMode, Spec, Spread,
};

/// More threads than this measure their own scheduling.
const MOST_THREADS: u32 = 1024;

pub(super) fn check(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    at_least_one(spec, mistakes);
    positive(spec, mistakes);
    lengths(spec, mistakes);
    dataset(spec, mistakes);
    amount(spec, mistakes);
    match spec.control_method {
        ControlMethod::Fixed => needs_concurrency(spec, "fixed", mistakes),
        ControlMethod::Climb(climb) => {
            needs_concurrency(spec, "climb", mistakes);
            climbs(spec, climb, mistakes);
        }
        ControlMethod::Rate(rate) => arrives(rate, mistakes),
        ControlMethod::Trace(replay) if !(replay.speed.is_finite() && replay.speed > 0.0) => mistakes
            .at("/control_method/trace/speed", format!("expected a number above 0, found {}", replay.speed)),
        ControlMethod::Trace(_) => {}
    }
    traced(spec, mistakes);
    if let Some(conversation) = spec.conversation {
        conversation.check(spec, mistakes);
    }
    if let RequestMode::PdDynamic(asked) = spec.request_mode {
        phases(spec, asked, mistakes);
    }
    threads(spec, mistakes);
    processes(spec, mistakes);
    job(spec, mistakes);
    if let Some(stop) = spec.stop.failures {
        failures(stop, mistakes);
    }
    if spec.tool.is_some() {
        beside_a_tool(spec, mistakes);
    }
    for (index, expectation) in spec.expect.iter().enumerate() {
        for message in expectation.mistakes() {
            mistakes.at(&format!("/expect/{index}"), message);
        }
        if matches!(expectation, Expectation::ConversationFailureRatio(_)) && spec.conversation.is_none() {
            mistakes
                .at(&format!("/expect/{index}"), "expected `conversation` in the case, whose share this is");
        }
    }
}

/// What a tool cannot be told, and what cannot be said of requests that are not seen one by one.
fn beside_a_tool(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    if !matches!(spec.control_method, ControlMethod::Fixed) {
        mistakes.at("/control_method", "expected `fixed` beside `tool`: a tool makes its own load");
    }
    if spec.request_mode != RequestMode::Normal {
        mistakes.at("/request_mode", "expected `normal` beside `tool`: a tool admits its requests itself");
    }
    if spec.epochs != 1 {
        mistakes.at("/epochs", "expected 1 beside `tool`: it is run once");
    }
    for (name, length) in [("input_len", spec.input_len), ("output_len", spec.output_len)] {
        if length.is_none() {
            mistakes.at("/tool", format!("expected `{name}` beside it: a tool is told what to send"));
        }
    }
    if spec.conversation.is_some() {
        mistakes.at("/conversation", "expected nothing beside `tool`: a tool sends requests of its own");
    }
    if !spec.dataset.is_empty() {
        mistakes.at("/dataset", "expected nothing beside `tool`: a tool has prompts of its own");
    }
    let goodput = spec.expect.iter().position(|one| matches!(one, Expectation::Goodput(_)));
    if let Some(index) = goodput {
        let told = "expected no goodput beside `tool`: its requests are not seen one by one";
        mistakes.at(&format!("/expect/{index}"), told);
    }
}

fn at_least_one(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    for (pointer, value) in [
        ("/concurrency", spec.concurrency),
        ("/input_len", spec.input_len),
        ("/output_len", spec.output_len),
        ("/read_size", spec.read_size),
        ("/requests", spec.requests),
        ("/requests_per_concurrency", spec.requests_per_concurrency),
        ("/epochs", Some(spec.epochs)),
    ] {
        if value == Some(0) {
            mistakes.at(pointer, "expected at least 1, found 0");
        }
    }
}

fn positive(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    for (key, value, unit, least) in [
        ("request_timeout_s", spec.request_timeout_s, "seconds", 0.001),
        ("bucket_interval_ms", spec.bucket_interval_ms, "milliseconds", 1.0),
    ] {
        if !(value.is_finite() && value >= least) {
            mistakes.at(&format!("/{key}"), format!("expected at least {least} {unit}, found {value}"));
        }
    }
    for message in spec.slo.iter().flat_map(|slo| slo.mistakes()) {
        mistakes.at("/slo", message);
    }
}

/// Random text is as long as the case says; an item of a file says it itself.
fn lengths(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    for (key, length) in [("input_len", spec.input_len), ("output_len", spec.output_len)] {
        if length.is_none() && spec.draws_text() {
            mistakes.at("", format!("expected `{key}`: random text has no length of its own"));
        }
    }
    for (key, range, of) in [
        ("input_range", spec.input_range, spec.input_len),
        ("output_range", spec.output_range, spec.output_len),
    ] {
        let Spread { above, below } = range;
        if !(0.0..=1.0).contains(&above) {
            mistakes.at(&format!("/{key}/above"), format!("expected a share from 0 to 1, found {above}"));
        }
        if !(0.0..1.0).contains(&below) {
            mistakes
                .at(&format!("/{key}/below"), format!("expected a share from 0 to below 1, found {below}"));
        }
        if of.is_none() && !range.is_none() {
            let length = key.replace("range", "len");
            mistakes
                .at(&format!("/{key}"), format!("expected `{length}` beside it, from which lengths differ"));
        }
    }
    if let Some(shortest) = spec.input_len.map(|length| spec.input_range.bounds(length).0)
        && spec.prefix_len >= shortest
    {
        mistakes.at(
            "/prefix_len",
            format!(
                "expected less than the shortest prompt ({shortest} tokens), of which it is a part, found {}",
                spec.prefix_len
            ),
        );
    }
}

fn dataset(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    for (index, source) in spec.dataset.iter().enumerate() {
        let at = |key: &str| format!("/dataset/{index}{key}");
        match (source.layout, &source.path) {
            (Layout::Random, Some(_)) => mistakes.at(&at("/path"), "random text is read from no file"),
            (Layout::Random, None) | (_, Some(_)) => {}
            (layout, None) => {
                mistakes.at(&at(""), format!("expected `path`, the file in the layout `{}`", layout.name()));
            }
        }
        if !(source.weight.is_finite() && source.weight > 0.0) {
            mistakes.at(&at("/weight"), format!("expected a number above 0, found {}", source.weight));
        }
        if spec.dataset[..index].iter().any(|before| before.name() == source.name()) {
            let message =
                format!("there is a source `{}` already: its figures stand under its `name`", source.name());
            mistakes.at(&at(""), message);
        }
    }
    if spec.prefix_len > 0 && !spec.draws_text() {
        mistakes.at("/prefix_len", "no prompt is random text, which alone can have a common prefix");
    }
}

/// How many requests there are has to be said, once.
fn amount(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    let by_time = match spec.control_method {
        ControlMethod::Rate(_) => spec.stop.duration.is_some(),
        ControlMethod::Trace(_) => true,
        ControlMethod::Fixed | ControlMethod::Climb(_) => false,
    };
    if spec.conversation.is_some() {
        return;
    }
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
        && matches!(spec.control_method, ControlMethod::Fixed | ControlMethod::Climb(_))
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

/// A trace says when and what, and needs both.
fn traced(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    let replayed = matches!(spec.control_method, ControlMethod::Trace(_));
    let of_trace = spec.dataset.iter().filter(|source| source.layout == Layout::Trace).count();
    if replayed && !(of_trace == 1 && spec.dataset.len() == 1) {
        mistakes.at(
            "/control_method",
            "expected `dataset` to be one source of the layout `trace`, which is replayed",
        );
    }
    if !replayed && of_trace > 0 {
        mistakes.at("/dataset", "expected `control_method: {trace: {}}`, which replays the layout `trace`");
    }
}

fn threads(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    if spec.concurrency_backend != ConcurrencyBackend::ThreadingPool {
        return;
    }
    match spec.concurrency {
        None if matches!(spec.control_method, ControlMethod::Rate(_) | ControlMethod::Trace(_)) => mistakes.at(
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

/// Each limit has a value, and somebody sees all requests.
fn phases(spec: &Spec, asked: PdDynamic, mistakes: &mut Mistakes<'_>) {
    for (key, limit) in
        [("prefill_concurrency", asked.prefill_concurrency), ("decode_concurrency", asked.decode_concurrency)]
    {
        let at = format!("/request_mode/pd_dynamic/{key}");
        match limit {
            Some(0) => mistakes.at(&at, "expected at least 1, found 0"),
            None if spec.concurrency.is_none() => {
                mistakes
                    .at("/request_mode", format!("expected `{key}`, or `concurrency`, which is its default"));
            }
            _ => {}
        }
    }
    if spec.concurrency_backend.is_divided() {
        mistakes.at(
            "/request_mode",
            "no process of a pool sees the phases of all requests; take `concurrency_backend: threading-pool` or \
             `asyncio` with `pd_dynamic`",
        );
    }
}

fn processes(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    let pool = spec.concurrency_backend.is_divided();
    match spec.num_process {
        None if pool => mistakes.at("", "expected `num_process`, how many processes, or pods, there are"),
        Some(_) if !pool => mistakes.at(
            "/num_process",
            "expected `concurrency_backend: processing-pool`, whose size it is, or `k8s-job`, whose pods they are",
        ),
        Some(asked) if asked == 0 || asked > at_first(spec) => mistakes.at(
            "/num_process",
            format!(
                "expected from 1 to {}, of which each process has one in flight at the beginning, found {asked}",
                at_first(spec)
            ),
        ),
        _ => {}
    }
    if pool && spec.stop.failures.is_some() {
        mistakes.at(
            "/stop/failures",
            "no process of a pool sees the failures of all; leave it out, or take `asyncio`",
        );
    }
}

/// Pods need a cluster to run in, and a build that knows one.
fn job(spec: &Spec, mistakes: &mut Mistakes<'_>) {
    let wanted = spec.concurrency_backend == ConcurrencyBackend::K8sJob;
    if wanted && cfg!(not(feature = "kube")) {
        mistakes.at("/concurrency_backend", NO_JOBS);
    }
    match &spec.job {
        None if wanted => mistakes.at("", "expected `job: {image: …}`, what the pods run"),
        Some(_) if !wanted => {
            mistakes.at("/job", "expected `concurrency_backend: k8s-job` beside it, which it is of");
        }
        Some(job) => {
            for (key, message) in job.mistakes() {
                mistakes.at(&format!("/job/{key}"), message);
            }
        }
        None => {}
    }
}

/// How many requests are in flight at the beginning; as many as are wanted where nothing bounds them.
fn at_first(spec: &Spec) -> u32 {
    let concurrency = spec.concurrency.unwrap_or(u32::MAX);
    match spec.control_method {
        ControlMethod::Climb(climb) => climb.init_concurrency.min(concurrency),
        ControlMethod::Fixed | ControlMethod::Rate(_) | ControlMethod::Trace(_) => concurrency,
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use st_harness::case::{ExpandedCase, TrialId};

    use super::*;

    /// What is wrong with the smallest good case once `changed` is merged into it.
    fn mistakes(changed: Value) -> Vec<String> {
        let mut case = json!({"input_len": 8, "output_len": 4, "concurrency": 2, "requests": 8});
        for (key, value) in changed.as_object().unwrap() {
            match value {
                Value::Null => case.as_object_mut().unwrap().remove(key),
                value => case.as_object_mut().unwrap().insert(key.clone(), value.clone()),
            };
        }
        let spec: Spec = serde_json::from_value(case).unwrap();
        let case = ExpandedCase::of(TrialId::new("perf::pr::chat").unwrap(), Value::Null);
        let mut mistakes = Mistakes::new(&case);
        check(&spec, &mut mistakes);
        mistakes.into_problems().into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_good_case_of_every_shape_has_no_mistake() {
        let climb = json!({"climb": {"growth_rate": 2, "mode": "linear"}});
        let rate = json!({"rate": {"requests_per_second": 4.5, "burstiness": 0.5}});
        for good in [
            json!({}),
            json!({"control_method": climb, "requests": null, "requests_per_concurrency": 16, "epochs": 3}),
            json!({"control_method": rate}),
            json!({"control_method": rate, "concurrency": null, "concurrency_backend": "asyncio"}),
            json!({"control_method": rate, "requests": null, "stop": {"duration": "30s"}}),
            json!({"stop": {"duration": "1m", "failures": {"ratio_above": 0.5}}}),
            json!({"input_range": {"above": 1.0, "below": 0.5}, "prefix_len": 3}),
            json!({"dataset": [{"layout": "custom", "path": "a.jsonl"}], "input_len": null, "output_len": null}),
            json!({"dataset": [{"layout": "random"}, {"layout": "alpaca", "path": "a.json", "weight": 3}]}),
            json!({"concurrency_backend": "processing-pool", "num_process": 2}),
            json!({"control_method": {"trace": {"speed": 2}}, "dataset": [{"layout": "trace", "path": "t.jsonl"}],
                   "requests": null, "input_len": null, "output_len": null}),
            json!({"request_mode": {"pd_dynamic": {"prefill_concurrency": 1}}}),
            json!({"control_method": rate, "concurrency": null, "concurrency_backend": "asyncio",
                   "request_mode": {"pd_dynamic": {"prefill_concurrency": 1, "decode_concurrency": 4}}}),
            json!({"slo": {"ttft": 0.05, "e2e": 1}, "bucket_interval_ms": 100, "request_timeout_s": 0.5}),
            json!({"requests": null, "conversation": {"num_conversations": 4, "turns": 3, "think_time_ms": 500}}),
            json!({"requests": null, "control_method": rate, "stop": {"duration": "30s"},
                   "conversation": {"turns": {"distribution": "uniform", "min": 1, "max": 4}}}),
            json!({"requests": null, "dataset": [{"layout": "sharegpt", "path": "a.json"}], "input_len": null,
                   "conversation": {"num_conversations": 2}, "concurrency_backend": "processing-pool",
                   "num_process": 2}),
        ] {
            assert_eq!(mistakes(good.clone()), [""; 0], "{good}");
        }
    }

    #[test]
    fn a_mistake_says_what_was_expected_and_what_was_found() {
        let climb = |climb: Value| json!({"control_method": {"climb": climb}});
        for (changed, told) in [
            (json!({"concurrency": 0}), "expected at least 1, found 0"),
            (json!({"concurrency": null}), "expected `concurrency`, how many requests are in flight"),
            (json!({"requests": 1}), "expected at least as many requests as concurrency (2), found 1"),
            (json!({"requests": null}), "expected `requests` or `requests_per_concurrency`"),
            (json!({"requests_per_concurrency": 4}), "expected one of `requests` and this, found both"),
            (climb(json!({"growth_rate": 0})), "expected at least 1, found 0: from 1 the climb would never"),
            (
                climb(json!({"growth_rate": 1, "init_concurrency": 4})),
                "expected at most the ceiling, `concurrency` (2), found 4",
            ),
            (climb(json!({"growth_rate": 1, "growth_interval_ms": 0})), "expected at least 1 ms, found 0"),
            (
                json!({"control_method": {"rate": {"requests_per_second": 0.0}}}),
                "expected a number above 0, found 0",
            ),
            (
                json!({"control_method": {"rate": {"requests_per_second": 1.0}}, "concurrency": null}),
                "expected `concurrency`, the size of the pool of threads, or `concurrency_backend: asyncio`",
            ),
            (json!({"concurrency": 5000, "requests": 5000}), "expected at most 1024 threads, found 5000"),
            (
                json!({"stop": {"failures": {"ratio_above": 1.5}}}),
                "expected a share from 0 to below 1, found 1.5",
            ),
            (json!({"epochs": 0}), "expected at least 1, found 0"),
            (json!({"expect": [{"goodput": {"at_least": 0.9}}]}), "expected a limit: `ttft`, `tpot`, `e2e`"),
            (json!({"input_len": null}), "expected `input_len`: random text has no length of its own"),
            (json!({"input_range": {"above": 2}}), "expected a share from 0 to 1, found 2"),
            (json!({"output_range": {"below": 1}}), "expected a share from 0 to below 1, found 1"),
            (json!({"prefix_len": 8}), "expected less than the shortest prompt (8 tokens)"),
            (json!({"request_timeout_s": 0}), "expected at least 0.001 seconds, found 0"),
            (json!({"bucket_interval_ms": 0.5}), "expected at least 1 milliseconds, found 0.5"),
            (
                json!({"control_method": {"trace": {}}}),
                "expected `dataset` to be one source of the layout `trace`",
            ),
            (
                json!({"dataset": [{"layout": "trace", "path": "t.jsonl"}]}),
                "expected `control_method: {trace: {}}`, which replays",
            ),
            (json!({"concurrency_backend": "processing-pool"}), "expected `num_process`"),
            (json!({"num_process": 2}), "expected `concurrency_backend: processing-pool`, whose size it is"),
            (json!({"job": {"image": "i"}}), "expected `concurrency_backend: k8s-job` beside it"),
            (
                json!({"concurrency_backend": "processing-pool", "num_process": 3}),
                "expected from 1 to 2, of which each process has one in flight at the beginning, found 3",
            ),
            (
                json!({"conversation": {"num_conversations": 4, "turns": 2}}),
                "expected nothing beside `conversation`, whose `num_conversations` says it",
            ),
            (
                json!({"requests": null, "conversation": {"num_conversations": 4}}),
                "expected `turns`: random text has no end of its own",
            ),
            (
                json!({"requests": null, "conversation": {"turns": 2}}),
                "expected `num_conversations`: all that is asked is made before the first is sent",
            ),
            (
                json!({"requests": null, "conversation": {"num_conversations": 1, "turns": 2}}),
                "expected at least as many conversations as concurrency (2), found 1",
            ),
            (
                json!({"requests": null, "conversation": {"num_conversations": 4, "turns": 0}}),
                "expected `value` to be a whole number from 1 on, found 0",
            ),
            (
                json!({"requests": null, "endpoint": "completions",
                       "conversation": {"num_conversations": 4, "turns": 2}}),
                "expected `chat` beside `conversation`: a completion has no turns",
            ),
            (
                json!({"requests": null, "input_len": null, "conversation": {"num_conversations": 4},
                       "dataset": [{"layout": "alpaca", "path": "a.json"}]}),
                "expected `random` or `sharegpt` beside `conversation`: an item of `alpaca` is a single request",
            ),
            (
                json!({"expect": [{"conversation_failure_ratio": {"at_most": 0}}]}),
                "expected `conversation` in the case, whose share this is",
            ),
            (
                json!({"request_mode": {"pd_dynamic": {"decode_concurrency": 0}}}),
                "expected at least 1, found 0",
            ),
            (
                json!({"control_method": {"rate": {"requests_per_second": 1.0}}, "concurrency": null,
                       "concurrency_backend": "asyncio", "request_mode": {"pd_dynamic": {"prefill_concurrency": 1}}}),
                "expected `decode_concurrency`, or `concurrency`, which is its default",
            ),
            (
                json!({"concurrency_backend": "processing-pool", "num_process": 2,
                       "request_mode": {"pd_dynamic": {}}}),
                "no process of a pool sees the phases of all requests",
            ),
            (json!({"slo": {"ttft": 1, "share": 2}}), "expected `share` from 0 to 1, found 2"),
            (json!({"slo": {}}), "expected a limit: `ttft`, `tpot`, `e2e` or several, found none"),
            (json!({"dataset": [{"layout": "custom"}]}), "expected `path`, the file in the layout `custom`"),
            (
                json!({"dataset": [{"layout": "custom", "path": "a"}, {"layout": "custom", "path": "b"}]}),
                "there is a source `custom` already",
            ),
            (json!({"dataset": [{"layout": "random", "weight": 0}]}), "expected a number above 0, found 0"),
            (
                json!({"expect": [{"failure_ratio": {}}]}),
                "expected `at_least`, `at_most` or both, found neither",
            ),
        ] {
            let found = mistakes(changed.clone());
            assert!(found.len() == 1 && found[0].contains(told), "{changed}: {found:?}");
        }
    }

    #[test]
    fn pods_need_a_build_that_knows_clusters_and_an_image() {
        let jobs = |job: Value| {
            let found = mistakes(json!({"concurrency_backend": "k8s-job", "num_process": 2, "job": job}));
            let lacks = found.iter().filter(|message| message.ends_with(NO_JOBS)).count();
            assert_eq!(lacks, usize::from(cfg!(not(feature = "kube"))), "{found:?}");
            found.into_iter().filter(|message| !message.ends_with(NO_JOBS)).collect::<Vec<_>>()
        };
        assert_eq!(jobs(json!({"image": "i"})), [""; 0]);
        assert_eq!(jobs(Value::Null), ["expected `job: {image: …}`, what the pods run"]);
        assert!(jobs(json!({"image": "i", "cpu": "all"}))[0].contains("found `all`"));
    }

    #[test]
    fn a_backend_that_does_not_exist_is_refused_by_name() {
        let spec = json!({"input_len": 8, "output_len": 4, "concurrency_backend": "green-threads"});
        let error = serde_json::from_value::<Spec>(spec).unwrap_err().to_string();
        assert!(error.contains("`threading-pool`, `asyncio`, `processing-pool`, `k8s-job`"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let spec = json!({"input_len": 8, "output_len": 4, "concurency": 2});
        let error = serde_json::from_value::<Spec>(spec).unwrap_err().to_string();
        assert!(error.contains("unknown field `concurency`"), "{error}");
    }
}
