//! In what the circumstances of two runs differ: [`Difference`], of the machine that measured and of the server.
//! Must not judge figures.
//!
//! 两次运行的环境与服务差异。

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::evidence::RunFacts;

/// What differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// `environment.cpus`, `server.max_model_len`.
    pub what: String,
    /// There.
    pub before: Value,
    /// Here.
    pub now: Value,
    /// Whether it is meant to differ from run to run, as the server's version is: shown, and never refused.
    pub expected: bool,
}

/// What a server says that differs from start to start, and tells nothing of how fast it is.
const INCIDENTAL: [&str; 6] = ["base_url", "ready_after_s", "facts", "models", "k8s", "command"];
/// What a run is there to find out about.
const TESTED: [&str; 2] = ["engine_version", "version"];

/// All that differs, the machine first.
pub(super) fn differences(before: &RunFacts, now: &RunFacts) -> Vec<Difference> {
    let mut found = Vec::new();
    if before.environment.hash != now.environment.hash {
        let observed = |facts: &RunFacts| facts.environment.observed.clone();
        compare("environment", &observed(before), &observed(now), &mut found);
    }
    for (prefix, ours, theirs) in
        [("requested", &before.requested, &now.requested), ("server", &before.effective, &now.effective)]
    {
        compare(prefix, &members(ours), &members(theirs), &mut found);
    }
    found
}

fn members(value: &Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    flatten("", value, &mut flat);
    flat
}

/// `options.block_size` and the like; arrays are compared whole.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !INCIDENTAL.contains(&name.as_str())) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, into);
            }
        }
        Value::Null => {}
        other => {
            into.insert(path.to_owned(), other.clone());
        }
    }
}

fn compare(
    prefix: &str,
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
    found: &mut Vec<Difference>,
) {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names {
        let (ours, theirs) = (before.get(name), now.get(name));
        if ours != theirs {
            let value = |value: Option<&Value>| value.cloned().unwrap_or(Value::Null);
            found.push(Difference {
                what: format!("{prefix}.{name}"),
                before: value(ours),
                now: value(theirs),
                expected: TESTED.contains(&name.rsplit('.').next().unwrap_or(name)),
            });
        }
    }
}

impl Difference {
    /// `environment.cpus 4 → 8`.
    pub fn text(&self) -> String {
        let plain = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!("{} {} → {}", self.what, plain(&self.before), plain(&self.now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use st_harness::journal::Environment;

    use super::*;

    fn facts(cpus: u64, effective: Value) -> RunFacts {
        RunFacts {
            run_id: String::new(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            commit: None,
            optimised: true,
            environment: Environment {
                observed: [("cpus".to_owned(), json!(cpus))].into(),
                hash: format!("cpus {cpus}"),
            },
            requested: json!({"quant": "w8a8", "base_url": "http://a"}),
            effective,
        }
    }

    fn told(before: &RunFacts, now: &RunFacts) -> Vec<String> {
        differences(before, now).iter().map(Difference::text).collect()
    }

    #[test]
    fn the_machine_and_the_servers_options_are_compared_and_its_address_is_not() {
        let before = facts(4, json!({"base_url": "http://a:1", "options": {"block_size": "16"}}));
        let now = facts(8, json!({"base_url": "http://a:2", "options": {"block_size": "32"}}));
        let expected = ["environment.cpus 4 → 8", "server.options.block_size 16 → 32"];
        assert_eq!(told(&before, &now), expected);
        assert_eq!(told(&before, &before), [""; 0]);
    }

    #[test]
    fn another_version_is_told_and_is_what_a_run_is_there_for() {
        let (before, now) =
            (facts(4, json!({"engine_version": "0.31"})), facts(4, json!({"engine_version": "0.32"})));
        let found = differences(&before, &now);
        assert_eq!((found.len(), found[0].expected), (1, true));
    }
}
