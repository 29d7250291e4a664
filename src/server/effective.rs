//! What was asked of a server against what it says of itself: [`Said`] is gathered once it is ready, and
//! [`mismatches`] tells where it does otherwise. An option that the server says nothing of is not judged.
//! Must not know how the server came to be.
//!
//! 请求配置与实际生效配置的比对。

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use regex::Regex;
use serde_json::{Value, json};
use st_harness::verdict::Note;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, End, Limits, Request, Retry, Route},
    config::Quant,
};

/// One question may take this long.
const ONE_QUESTION: Duration = Duration::from_secs(5);

/// Where a server says something of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// `/v1/models`, of the model that is tested.
    Models,
    /// `/metrics`, the labels of `vllm:cache_config_info`.
    Cache,
    /// Its log, the line that begins an engine.
    Log,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Models => "/v1/models",
            Self::Cache => "/metrics",
            Self::Log => "its log",
        }
    }
}

/// An option of vLLM's command line (all its spellings, the usual one first) and what tells whether it took effect.
const OPTIONS: &[(&[&str], Place, &str)] = &[
    (&["max-model-len"], Place::Models, "max_model_len"),
    (&["model"], Place::Models, "root"),
    (&["block-size"], Place::Cache, "block_size"),
    (&["gpu-memory-utilization"], Place::Cache, "gpu_memory_utilization"),
    (&["enable-prefix-caching"], Place::Cache, "enable_prefix_caching"),
    (&["kv-cache-dtype"], Place::Cache, "cache_dtype"),
    (&["num-gpu-blocks-override"], Place::Cache, "num_gpu_blocks_override"),
    (&["tensor-parallel-size", "tp"], Place::Log, "tensor_parallel_size"),
    (&["pipeline-parallel-size", "pp"], Place::Log, "pipeline_parallel_size"),
    (&["data-parallel-size", "dp"], Place::Log, "data_parallel_size"),
    (&["dtype"], Place::Log, "dtype"),
    (&["quantization", "q"], Place::Log, "quantization"),
    (&["enforce-eager"], Place::Log, "enforce_eager"),
    (&["enable-chunked-prefill"], Place::Log, "enable_chunked_prefill"),
    (&["seed"], Place::Log, "seed"),
];

/// What a server says of itself, as it writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said(BTreeMap<(Place, String), String>);

impl Said {
    /// What can be had: the model's own entry, the metrics of `client`, and the log where it is ours.
    pub(super) async fn gather(
        client: &Client,
        model: &BTreeMap<String, String>,
        log: Option<&str>,
        cancel: &CancellationToken,
    ) -> Self {
        let mut said = Self::default();
        said.add(Place::Models, model.clone());
        if let Some(text) = metrics(client, cancel).await {
            said.add(Place::Cache, cache(&text));
        }
        said.add(Place::Log, log.map(engine).unwrap_or_default());
        said
    }

    fn add(&mut self, place: Place, pairs: BTreeMap<String, String>) {
        self.0.extend(pairs.into_iter().map(|(key, value)| ((place, key), value)));
    }

    fn get(&self, place: Place, key: &str) -> Option<&str> {
        self.0.get(&(place, key.to_owned())).map(String::as_str)
    }

    /// For the record: what the server says of the options that are compared.
    pub(super) fn options(&self) -> Value {
        let known = OPTIONS
            .iter()
            .filter_map(|(_, place, key)| Some(((*key).to_owned(), json!(self.get(*place, key)?))));
        Value::Object(known.collect())
    }
}

async fn metrics(client: &Client, cancel: &CancellationToken) -> Option<String> {
    let limits = Limits { connect: ONE_QUESTION, first_byte: None, idle: None, total: ONE_QUESTION };
    let request = Request::get(Route::Root("/metrics".to_owned()));
    let exchange = client.exchange(&request, &limits, &Retry::none(), cancel).await;
    let attempt = exchange.last();
    let whole = attempt.status == Some(200) && matches!(attempt.end, End::Complete);
    whole.then(|| String::from_utf8_lossy(&attempt.body()).into_owned())
}

static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern(r#"([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)""#));
static ENGINE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"Initializing a V\d+ LLM engine .*? with config: (.*)"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("this file's patterns are checked by its tests")
}

/// The labels of the one sample that tells the cache's configuration.
fn cache(metrics: &str) -> BTreeMap<String, String> {
    let line = metrics.lines().find(|line| line.starts_with("vllm:cache_config_info{"));
    let labels = line.into_iter().flat_map(|line| LABEL.captures_iter(line));
    labels.map(|label| (label[1].to_owned(), label[2].to_owned())).collect()
}

/// The plain values of the line with which vLLM's first engine begins; what is nested is left out.
fn engine(log: &str) -> BTreeMap<String, String> {
    let line = log.lines().find_map(|line| ENGINE.captures(line)?.get(1));
    let pairs =
        line.into_iter().flat_map(|line| top_level(line.as_str())).filter_map(|part| part.split_once('='));
    let plain = pairs.filter(|(_, value)| !value.contains(['(', '[', '{']));
    plain.map(|(key, value)| (key.trim().to_owned(), value.trim_matches('\'').to_owned())).collect()
}

/// The parts of `text` between commas that stand in no brackets.
fn top_level(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c: char| {
        depth += match c {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    })
}

/// What the arguments of a command ask for, by the option's usual spelling. `--x y`, `--x=y`, `--x`, `--no-x`,
/// and the model as `vllm serve MODEL`.
fn asked(command: &[String]) -> BTreeMap<&'static str, (String, String)> {
    let mut asked = BTreeMap::new();
    let mut words = command.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if word == "serve"
            && let Some(model) = words.next_if(|next| !next.starts_with('-'))
        {
            asked.insert("model", (format!("serve {model}"), model.to_owned()));
        }
        let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let name = name.replace('_', "-");
        let (name, otherwise) =
            name.strip_prefix("no-").map_or((name.as_str(), "True"), |name| (name, "False"));
        let Some((names, _, _)) = OPTIONS.iter().find(|(names, _, _)| names.contains(&name)) else {
            continue;
        };
        let value = value.or_else(|| words.next_if(|next| !next.starts_with("--"))).unwrap_or(otherwise);
        let shown = if value == otherwise { word.to_owned() } else { format!("--{} {value}", names[0]) };
        asked.insert(names[0], (shown, value.to_owned()));
    }
    asked
}

/// Where the server does otherwise than `command` and `quant` ask.
pub(super) fn mismatches(command: &[String], quant: Quant, said: &Said) -> Vec<Note> {
    let asked = asked(command);
    let mut found = Vec::new();
    for (names, place, key) in OPTIONS {
        if let (Some((shown, value)), Some(says)) = (asked.get(names[0]), said.get(*place, key))
            && same(names[0], value, says) == Some(false)
        {
            found.push(format!("asked {shown}, the server says {says} ({} {key})", place.name()));
        }
    }
    if let Some(says) = said.get(Place::Log, "quantization")
        && (says == "None") != (quant == Quant::None)
    {
        found.push(format!(
            "the scenario says quant {}, the server says {says} (its log quantization)",
            quant.as_str()
        ));
    }
    found.into_iter().map(|text| Note { kind: "mismatch".to_owned(), text }).collect()
}

/// Whether both mean the same; nothing where the server was left to choose, or a shell put the value in.
fn same(option: &str, asked: &str, says: &str) -> Option<bool> {
    if asked == "auto" || asked == "-1" || asked.contains('$') {
        return None;
    }
    Some(match option {
        "max-model-len" => tokens(asked)? == says.parse::<f64>().ok()?,
        "dtype" => says.strip_prefix("torch.").unwrap_or(says) == dtype(asked),
        "model" => asked.trim_end_matches('/') == says.trim_end_matches('/'),
        _ => match (asked.parse::<f64>(), says.parse::<f64>()) {
            (Ok(asked), Ok(says)) => asked == says,
            _ => asked.eq_ignore_ascii_case(says),
        },
    })
}

/// `64k` is 64 000, `64K` 65 536, as vLLM reads it.
fn tokens(text: &str) -> Option<f64> {
    let suffixes = [('k', 1e3), ('m', 1e6), ('K', 1024.0), ('M', 1024.0 * 1024.0)];
    let suffix = suffixes.iter().find_map(|(suffix, by)| Some((text.strip_suffix(*suffix)?, *by)));
    let (number, by) = suffix.unwrap_or((text, 1.0));
    Some((number.parse::<f64>().ok()? * by).floor())
}

fn dtype(name: &str) -> &str {
    match name {
        "half" => "float16",
        "float" => "float32",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size=\"128\",\
        cache_dtype=\"auto\",enable_prefix_caching=\"True\",gpu_memory_utilization=\"0.92\",odd=\"a\\\"b,c\"} 1.0\n";
    const LOG: &str = "starting\n(EngineCore pid=7) INFO [core.py:133] Initializing a V1 LLM engine (v0.32.0) with \
        config: model='/models/m', speculative_config=None, dtype=torch.bfloat16, max_seq_len=4096, \
        tensor_parallel_size=1, quantization=None, enforce_eager=True, \
        config=StructuredOutputsConfig(backend='auto', seed=9), seed=0, served_model_name=m, \
        enable_chunked_prefill=True, kernel_config={'dtype': 'x'}\n";

    fn said() -> Said {
        let mut said = Said::default();
        let model = [("max_model_len", "4096"), ("root", "/models/m")];
        said.add(Place::Models, model.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        said.add(Place::Cache, cache(METRICS));
        said.add(Place::Log, engine(LOG));
        said
    }

    fn told(command: &str, quant: Quant) -> Vec<String> {
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        mismatches(&command, quant, &said()).into_iter().map(|note| note.text).collect()
    }

    #[test]
    fn what_took_effect_is_no_finding() {
        let command = "vllm serve /models/m/ --max-model-len=4K --dtype bfloat16 --tensor-parallel-size 1 \
                       --enforce-eager --gpu-memory-utilization=0.920 --enable-prefix-caching --seed 0 \
                       --kv-cache-dtype auto --port 8000 --block-size 128";
        assert_eq!(told(command, Quant::None), Vec::<String>::new());
    }

    #[test]
    fn what_did_not_take_effect_is_told_with_its_place() {
        let command =
            "vllm serve /models/other --max_model_len 2048 -tp=2 --no-enable-prefix-caching --dtype half";
        assert_eq!(
            told(command, Quant::W8a8),
            [
                "asked --max-model-len 2048, the server says 4096 (/v1/models max_model_len)",
                "asked serve /models/other, the server says /models/m (/v1/models root)",
                "asked --no-enable-prefix-caching, the server says True (/metrics enable_prefix_caching)",
                "asked --tensor-parallel-size 2, the server says 1 (its log tensor_parallel_size)",
                "asked --dtype half, the server says torch.bfloat16 (its log dtype)",
                "the scenario says quant w8a8, the server says None (its log quantization)",
            ]
        );
    }

    #[test]
    fn what_the_server_does_not_say_is_not_judged() {
        let command: Vec<String> = ["vllm", "serve", "m", "--max-model-len", "8"].map(str::to_owned).into();
        assert_eq!(mismatches(&command, Quant::W4a8, &Said::default()), []);
        assert_eq!(
            told("vllm serve ${MODEL} --max-model-len auto --dtype auto --seed $SEED", Quant::None),
            Vec::<String>::new()
        );
    }

    #[test]
    fn labels_and_logs_are_read_as_they_are_written() {
        assert_eq!(cache(METRICS)["odd"], r#"a\"b,c"#);
        let engine = engine(LOG);
        let of = |key: &str| engine.get(key).map(String::as_str);
        assert_eq!(
            (of("model"), of("max_seq_len"), of("quantization")),
            (Some("/models/m"), Some("4096"), Some("None"))
        );
        assert_eq!((of("enable_chunked_prefill"), of("dtype")), (Some("True"), Some("torch.bfloat16")));
        assert_eq!(said().options()["max_model_len"], "4096");
    }
}
