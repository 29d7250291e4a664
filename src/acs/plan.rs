//! From the options of `prof` to performance cases: [`cases`]. A pure function, but for the look into a data set's
//! folder. Must not know how a case is run.
//!
//! 由 prof 参数生成性能用例。

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};

use super::{
    ProfArgs,
    values::{Admission, Carrier, DatasetType, slo},
};
use crate::perf::spec::{ConcurrencyBackend, Endpoint, Job, NO_JOBS, PdDynamic};

/// What a run of `prof` is.
#[derive(Debug, Clone, PartialEq)]
pub struct Cases {
    /// A file of cases.
    pub file: Value,
    /// Options that were given and do nothing, each with the reason.
    pub notes: Vec<String>,
}

/// One load.
#[derive(Debug, Clone, Copy)]
struct Level {
    concurrency: u32,
    requests: u32,
    init_concurrency: u32,
    processes: u32,
}

/// The cases that the options mean: every input length with every output length at every concurrency. Paths of data
/// sets are made whole with `here`.
///
/// # Errors
/// Everything that is wrong with the options, a sentence each.
pub fn cases(args: &ProfArgs, here: &Utf8Path) -> Result<Cases, Vec<String>> {
    let mut wrong = Vec::new();
    refused(args, &mut wrong);
    let levels = wrong_into(levels(args), &mut wrong);
    let slo = wrong_into(slo(&args.goodput, args.goodput_share, args.stop_beyond), &mut wrong);
    let inputs = inputs(args, here, &mut wrong);
    let control = wrong_into(control(args), &mut wrong);
    let (Some(levels), Some(slo), Some(control), []) = (levels, slo, control, wrong.as_slice()) else {
        return Err(wrong);
    };
    let mut cases = Vec::new();
    for (input, dataset) in &inputs {
        for output in &args.output_length {
            for level in &levels {
                let named = input.map_or(String::new(), |input| format!("in{input}_"));
                let id = format!("{named}out{output}_c{}", level.concurrency);
                let mut case: Map<String, Value> =
                    std::iter::once(("id".to_owned(), json!(id))).chain(common(args, here)).collect();
                case.insert("input_len".to_owned(), json!(input));
                case.insert("output_len".to_owned(), json!(output));
                case.insert("dataset".to_owned(), dataset.clone());
                case.insert("concurrency".to_owned(), json!(level.concurrency));
                case.insert("requests".to_owned(), json!(level.requests));
                if args.request_mode == Admission::PdDynamic {
                    case.insert("request_mode".to_owned(), apart(args));
                }
                if args.concurrency_backend == Carrier::ProcessingPool {
                    case.insert("num_process".to_owned(), json!(level.processes));
                }
                if let Some(pods) = args.workers {
                    case.insert("concurrency_backend".to_owned(), json!(ConcurrencyBackend::K8sJob));
                    case.insert("num_process".to_owned(), json!(pods));
                    case.insert("job".to_owned(), json!(job(args, here)));
                }
                case.insert("control_method".to_owned(), control(level));
                case.insert("slo".to_owned(), json!(slo));
                // What is absent keeps its default.
                case.retain(|_, value| !value.is_null() && *value != json!([]));
                cases.push(Value::Object(case));
            }
        }
    }
    Ok(Cases {
        file: json!({"about": "What a call of `vllm-cibench prof` asked for", "cases": cases}),
        notes: notes(args),
    })
}

fn wrong_into<T>(made: Result<T, String>, wrong: &mut Vec<String>) -> Option<T> {
    made.map_err(|message| wrong.push(message)).ok()
}

/// What no case can say.
fn refused(args: &ProfArgs, wrong: &mut Vec<String>) {
    let mut refuse = |refused: bool, message: &str| {
        if refused {
            wrong.push(message.to_owned());
        }
    };
    refuse(args.modal_type != "text", "--modal-type: expected `text`; images are not built");
    refuse(!args.config_option.is_empty(), "--config-option: it is for images, which are not built");
    let apart = args.request_mode == Admission::PdDynamic;
    refuse(
        !apart && (args.prefill_concurrency.is_some() || args.decoder_concurrency.is_some()),
        "--prefill-concurrency and --decoder-concurrency: they belong to --request-mode pd_dynamic; give it too",
    );
    refuse(
        apart && (args.concurrency_backend == Carrier::ProcessingPool || args.workers.is_some()),
        "--request-mode pd_dynamic: no process of a pool sees the phases of all requests, nor does a pod; take \
         --concurrency-backend threading-pool or asyncio",
    );
    refuse(args.workers.is_some() && cfg!(not(feature = "kube")), &format!("--workers: {NO_JOBS}"));
    refuse(
        args.num_process != [1] && args.concurrency_backend != Carrier::ProcessingPool,
        "--num-process: it is the size of --concurrency-backend processing-pool",
    );
    refuse(
        !args.use_mtp_accept_rate,
        "--use-mtp-accept-rate: expected true; the server's counters hold drafted and accepted tokens only",
    );
    refuse(
        args.use_climb && args.request_rate.is_finite(),
        "--use-climb and --request-rate: a climb is a closed loop, a rate an open one; give one of them",
    );
    refuse(
        !args.use_climb && !args.init_concurrency.is_empty(),
        "--init-concurrency: it is where a climb begins; give --use-climb",
    );
}

/// The loads of the command, in its order.
fn levels(args: &ProfArgs) -> Result<Vec<Level>, String> {
    let concurrency = &args.concurrency;
    let each = |name: &str, values: &[u32]| match values {
        [only] => Ok(vec![*only; concurrency.len()]),
        several if several.len() == concurrency.len() => Ok(several.to_vec()),
        other => Err(format!(
            "--{name}: expected one number, or one for each of the {} of --concurrency, found {}",
            concurrency.len(),
            other.len()
        )),
    };
    if let Some(twice) = (1..concurrency.len()).find(|at| concurrency[..*at].contains(&concurrency[*at])) {
        return Err(format!("--concurrency: {} is given twice", concurrency[twice]));
    }
    let requests = each("num-requests", &args.num_requests)?;
    let init = match args.init_concurrency.as_slice() {
        [] => concurrency.clone(),
        given => each("init-concurrency", given)?,
    };
    let processes = each("num-process", &args.num_process)?;
    let level = |(((concurrency, requests), init_concurrency), processes)| Level {
        concurrency,
        requests,
        init_concurrency,
        processes,
    };
    Ok(concurrency.iter().copied().zip(requests).zip(init).zip(processes).map(level).collect())
}

/// Every input length with its data set; no length where the data set has its own.
fn inputs(args: &ProfArgs, here: &Utf8Path, wrong: &mut Vec<String>) -> Vec<(Option<u32>, Value)> {
    let own_lengths = !matches!(args.dataset_type, DatasetType::Custom | DatasetType::Random);
    let lengths: Vec<Option<u32>> = match args.input_length.as_slice() {
        [] if own_lengths => vec![None],
        [] => {
            wrong.push("--input-length: expected the tokens of a prompt".to_owned());
            Vec::new()
        }
        given => given.iter().copied().map(Some).collect(),
    };
    let mut inputs = Vec::new();
    for length in lengths {
        match dataset(args, here, length) {
            Ok(dataset) => inputs.push((length, dataset)),
            Err(message) => wrong.push(message),
        }
    }
    inputs
}

fn dataset(args: &ProfArgs, here: &Utf8Path, length: Option<u32>) -> Result<Value, String> {
    match (args.dataset_type, &args.input_path) {
        (DatasetType::Random, None) => Ok(json!([])),
        (DatasetType::Random, Some(_)) => {
            Err("--input-path: --dataset-type random reads no file; leave one of them out".to_owned())
        }
        (kind, None) => Err(format!(
            "--input-path: expected the data set of the type `{}`; --dataset-type random needs none",
            kind.layout().name()
        )),
        (kind, Some(path)) => {
            let path = match (here.join(path).is_dir(), length) {
                (true, Some(length)) => of_length(&here.join(path), length)?,
                (true, None) => return Err(format!("--input-path: `{path}` is a folder, expected a file")),
                (false, _) => here.join(path),
            };
            Ok(json!([{"layout": kind.layout(), "path": path}]))
        }
    }
}

/// The file of a folder whose prompts have that length.
fn of_length(folder: &Utf8Path, length: u32) -> Result<Utf8PathBuf, String> {
    let entries = folder.read_dir_utf8().map_err(|error| format!("--input-path: `{folder}`: {error}"))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned())).collect();
    names.sort();
    let end = format!("_input{length}.jsonl");
    let fitting: Vec<&String> = names.iter().filter(|name| name.ends_with(&end)).collect();
    match fitting.as_slice() {
        [only] => Ok(folder.join(only)),
        [] => Err(format!(
            "--input-length {length}: expected a file *{end} in `{folder}`, found {}; make one with `vllm-cibench \
             dataset generate --input-length {length}`",
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        )),
        [one, other, ..] => Err(format!(
            "--input-length {length}: both {one} and {other} in `{folder}` are of that length; name the file"
        )),
    }
}

/// How load is made at a level.
fn control(args: &ProfArgs) -> Result<impl Fn(&Level) -> Value, String> {
    let interval = args.growth_interval;
    if !(interval.is_finite() && interval >= 1.0 && interval.fract() == 0.0) {
        return Err(format!("--growth-interval: expected whole milliseconds, at least 1, found {interval}"));
    }
    let (climbs, rate, burstiness) = (args.use_climb, args.request_rate, args.burstiness);
    let (growth_rate, mode) = (args.growth_rate, args.climb_mode.mode());
    Ok(move |level: &Level| {
        if climbs {
            return json!({"climb": {
                "init_concurrency": level.init_concurrency,
                "growth_rate": growth_rate,
                "growth_interval_ms": interval as u64,
                "mode": mode,
            }});
        }
        match rate.is_finite() {
            true => json!({"rate": {"requests_per_second": rate, "burstiness": burstiness}}),
            false => json!("fixed"),
        }
    })
}

/// Limits of prefill and decode; what is not given follows from each level's concurrency.
fn apart(args: &ProfArgs) -> Value {
    json!({"pd_dynamic": PdDynamic {
        prefill_concurrency: args.prefill_concurrency,
        decode_concurrency: args.decoder_concurrency,
    }})
}

/// The Job that `--workers` asks for.
fn job(args: &ProfArgs, here: &Utf8Path) -> Job {
    Job {
        image: args.worker_image.clone().unwrap_or_default(),
        namespace: args.worker_namespace.clone(),
        kubeconfig: args.kubeconfig.as_ref().map(|path| here.join(path)),
        context: args.context.clone(),
        base_url: args.worker_base_url.clone(),
        cpu: args.worker_cpu.clone(),
        memory: args.worker_memory.clone(),
        start_timeout_s: args.worker_start_timeout,
        head_start_s: args.worker_head_start,
    }
}

/// What all cases of the command share.
fn common(args: &ProfArgs, here: &Utf8Path) -> Map<String, Value> {
    let endpoint = args.backend.endpoint();
    let mut sampling = json!({"temperature": args.temperature, "ignore_eos": args.ignore_eos});
    if endpoint == Endpoint::Completions {
        sampling["top_k"] = json!(args.top_k);
        sampling["top_p"] = json!(args.top_p);
    }
    let range = json!({"above": args.range_ratio_above, "below": args.range_ratio_below});
    let shared = json!({
        "timeout": "240h",
        "endpoint": endpoint,
        "concurrency_backend": args.concurrency_backend.backend(),
        "output_range": range,
        "count_template": args.count_template,
        "tokenizer": args.tokenizer.as_ref().map(|path| json!({"file": here.join(path)})),
        "epochs": args.epochs,
        "warmup": args.warmup,
        "sampling": sampling,
        "continuous_usage": args.continuous_usage_stats,
        "seed": args.random_seed,
        "request_timeout_s": args.timeout,
        "read_size": args.chunk_size,
        "bucket_interval_ms": args.bucket_interval,
        "profile": args.profile,
        "trace": args.trace,
    });
    match shared {
        Value::Object(fields) => fields,
        _ => unreachable!("json! of braces is an object"),
    }
}

/// What was given and changes nothing.
fn notes(args: &ProfArgs) -> Vec<String> {
    let given = [
        (args.revision != "master", "--revision", "nothing is downloaded"),
        (args.trust_remote_code, "--trust-remote-code", "no code is downloaded"),
        (args.use_spec_decode, "--use-spec-decode", "the acceptance is told wherever the server tells it"),
        (args.num_spec_tokens != -1, "--num-spec-tokens", "the server counts its drafts itself"),
        (args.num_scheduler_steps != 1, "--num-scheduler-steps", "each event says how many tokens it holds"),
        (args.profile_level != "Level0", "--profile-level", "a server has one profiler and no levels of it"),
    ];
    let told = given.into_iter().filter(|(given, ..)| *given);
    told.map(|(_, name, why)| format!("{name} is not used: {why}")).collect()
}
