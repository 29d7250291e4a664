//! What runs must share to be comparable: [`Spec::workload_key`]. A key that a case leaves at its default stands in it
//! only where it always did, so that what was measured before stays comparable. Must not know who compares.
//!
//! 工作负载键：可比性的依据。

use serde_json::{Map, Value, json};

use super::{ControlMethod, RequestMode, Source, Spec};

impl Spec {
    /// What runs must share to be comparable; see the architecture's `workload_key`.
    pub fn workload_key(&self) -> Map<String, Value> {
        let common = json!({
            "endpoint": self.endpoint,
            "backend": self.endpoint.backend(),
            "dataset": self.dataset_name(),
            "language": self.language,
            "tokenizer": "server",
            "input_len": self.input_len,
            "output_len": self.output_len,
            "concurrency": self.concurrency,
            "concurrency_backend": self.concurrency_backend,
            "control_method": self.control_method.name(),
            "sampling": self.sampling,
            "stream": true,
        });
        let control = match self.control_method {
            ControlMethod::Fixed => json!({}),
            ControlMethod::Climb(climb) => json!({
                "climb_mode": climb.mode,
                "init_concurrency": climb.init_concurrency,
                "growth_rate": climb.growth_rate,
                "growth_interval_ms": climb.growth_interval_ms,
            }),
            ControlMethod::Rate(rate) => json!({
                "request_rate": rate.requests_per_second,
                "burstiness": rate.burstiness,
            }),
            ControlMethod::Trace(replay) => json!({"trace_speed": replay.speed}),
        };
        let fields = |part| match part {
            Value::Object(map) => map,
            _ => unreachable!("json! of braces is an object"),
        };
        fields(common).into_iter().chain(fields(control)).chain(self.unusual()).collect()
    }

    /// What differs from the defaults of keys that came later.
    fn unusual(&self) -> impl Iterator<Item = (String, Value)> {
        let sources = || self.dataset.iter().map(source).collect::<Vec<_>>();
        [
            ("request_mode", self.request_mode != RequestMode::Normal, json!(self.request_mode)),
            ("num_process", self.num_process.is_some(), json!(self.num_process)),
            ("prefix_len", self.prefix_len > 0, json!(self.prefix_len)),
            ("input_range", !self.input_range.is_none(), json!(self.input_range)),
            ("output_range", !self.output_range.is_none(), json!(self.output_range)),
            ("count_template", !self.counts_template(), json!(self.counts_template())),
            ("continuous_usage", !self.continuous_usage, json!(self.continuous_usage)),
            ("sources", !self.dataset.is_empty(), json!(sources())),
            ("turns", self.conversation.is_some(), json!(self.conversation.and_then(|talk| talk.turns))),
            (
                "think_time_ms",
                self.conversation.is_some(),
                json!(self.conversation.map(|talk| talk.think_time_ms)),
            ),
        ]
        .into_iter()
        .filter(|(_, unusual, _)| *unusual)
        .map(|(name, _, value)| (name.to_owned(), value))
    }
}

/// What a workload shares with itself at another load, what the load is of, and how high it is.
pub fn level_of(key: &Map<String, Value>) -> Option<(Map<String, Value>, &'static str, f64)> {
    let of = if key.contains_key("request_rate") { "request_rate" } else { "concurrency" };
    let load = key.get(of)?.as_f64()?;
    // Where a climb begins, and how many processes there are, follow from where it ends.
    let differs = [of, "init_concurrency", "num_process"];
    let shared = key.iter().filter(|(name, _)| !differs.contains(&name.as_str()));
    Some((shared.map(|(name, value)| (name.clone(), value.clone())).collect(), of, load))
}

/// The file's name and not its folder: the same data may lie elsewhere. What is in it, its hash says in the record.
fn source(source: &Source) -> Value {
    json!({
        "name": source.name(),
        "layout": source.layout,
        "file": source.path.as_ref().and_then(|path| path.file_name()),
        "weight": source.weight,
        "shuffle": source.shuffle,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(extra: &str) -> Map<String, Value> {
        let text = format!(r#"{{"concurrency":1,"input_len":8,"output_len":4,"requests":2{extra}}}"#);
        serde_json::from_str::<Spec>(&text).unwrap().workload_key()
    }

    #[test]
    fn defaults_of_later_keys_leave_the_key_as_it_was() {
        let names: Vec<String> = key("").into_iter().map(|(name, _)| name).collect();
        let known = "endpoint backend dataset language tokenizer input_len output_len concurrency concurrency_backend \
                     control_method sampling stream";
        assert_eq!(names.join(" "), known);
        assert_eq!(key(""), key(r#","input_range":{},"count_template":true,"continuous_usage":true"#));
    }

    #[test]
    fn what_changes_the_requests_changes_the_key() {
        for extra in [
            r#","prefix_len":2"#,
            r#","input_range":{"above":0.1}"#,
            r#","output_range":{"below":0.1}"#,
            r#","count_template":false"#,
            r#","continuous_usage":false"#,
            r#","request_mode":{"pd_dynamic":{"prefill_concurrency":1}}"#,
            r#","dataset":[{"layout":"custom","path":"a.jsonl"}]"#,
            r#","conversation":{"turns":2}"#,
        ] {
            assert_ne!(key(""), key(extra), "{extra}");
        }
    }

    #[test]
    fn two_loads_of_one_workload_share_all_but_the_load() {
        let level = |extra: &str| level_of(&key(extra)).unwrap();
        let (one, of, load) = level("");
        assert_eq!((of, load), ("concurrency", 1.0));
        let (other, _, load) = level(r#","seed":4"#);
        assert_eq!((other, load), (one, 1.0));
        let rate = |r: u32| level(&format!(r#","control_method":{{"rate":{{"requests_per_second":{r}}}}}"#));
        assert_eq!((rate(2).1, rate(2).2), ("request_rate", 2.0));
        assert_eq!(rate(2).0, rate(3).0);
    }

    #[test]
    fn a_data_set_is_known_by_its_file_wherever_it_lies() {
        let of = |path: &str| key(&format!(r#","dataset":[{{"layout":"custom","path":"{path}"}}]"#));
        assert_eq!(of("a/x.jsonl"), of("/b/x.jsonl"));
        assert_ne!(of("x.jsonl"), of("y.jsonl"));
        assert_eq!(of("x.jsonl")["dataset"], "custom");
    }
}
