//! What a measured trial exercised, hashed so that runs can be joined: [`workload`]. Must not know what is in a
//! key.
//!
//! 工作负载键及其规范化哈希。

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use st_harness::verdict::Workload;

/// `key` with the SHA-256 of its canonical form: compact JSON, the keys of every object in ascending order.
pub fn workload(key: Map<String, Value>) -> Workload {
    let hash = sha256_hex(canonical(&Value::Object(key.clone())).as_bytes());
    Workload { key, hash }
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            let inner: Vec<_> = pairs
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hash(value: Value) -> String {
        match value {
            Value::Object(key) => workload(key).hash,
            other => panic!("{other} is no key"),
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter_at_any_depth() {
        assert_eq!(
            hash(json!({"a": 1, "b": {"c": [1, 2], "d": "x"}})),
            hash(json!({"b": {"d": "x", "c": [1, 2]}, "a": 1}))
        );
    }

    #[test]
    fn every_value_matters() {
        let hashes =
            [json!({"a": 1}), json!({"a": 2}), json!({"a": "1"}), json!({"b": 1}), json!({"a": [1]})]
                .map(hash);
        for (index, one) in hashes.iter().enumerate() {
            assert!(hashes[index + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn the_hash_is_that_of_the_compact_sorted_text() {
        assert_eq!(hash(json!({"b": 1, "a": "x"})), sha256_hex(br#"{"a":"x","b":1}"#));
    }
}
