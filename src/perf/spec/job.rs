//! The Kubernetes Job whose pods carry a load: [`Job`]. Must not know a cluster.
//!
//! 承担负载的 Kubernetes Job 的设置。

use std::sync::LazyLock;

use camino::Utf8PathBuf;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a build without clusters has none of this.
pub const NO_JOBS: &str = "this build cannot have pods carry a load: it lacks the feature `kube`; build it in: `cargo \
                           install --path . --features kube`, or take `concurrency_backend: processing-pool`";

/// What `concurrency_backend: k8s-job` runs: an indexed Job of `num_process` pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// An image that has `vllm-cibench` of this version on its path.
    pub image: String,
    /// Where the Job is made.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// A kubeconfig file; without it: where kubectl looks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// A context of it; without it: its current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Where pods reach the server, ending in `/v1`. Default: where we do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Processors of a pod, requested and at most, such as `2` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory of a pod, requested and at most, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// How long pods may take to be ready, in seconds.
    #[serde(default = "start_timeout_s")]
    pub start_timeout_s: u64,
    /// From the order to begin to the moment that it names, in seconds: pods read it from a file that their node writes.
    #[serde(default = "head_start_s")]
    pub head_start_s: u64,
}

impl Job {
    /// Where a Job is made that names no namespace.
    pub const NAMESPACE: &str = "default";
    /// How long its pods may take to be ready, in seconds.
    pub const START_TIMEOUT_S: u64 = 300;
    /// From the order to begin to the beginning, in seconds.
    pub const HEAD_START_S: u64 = 10;
}

fn namespace() -> String {
    Job::NAMESPACE.to_owned()
}

fn start_timeout_s() -> u64 {
    Job::START_TIMEOUT_S
}

fn head_start_s() -> u64 {
    Job::HEAD_START_S
}

impl Job {
    /// What is wrong with it, each with the key.
    pub(super) fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if self.image.trim().is_empty() {
            wrong.push(("image", "expected an image that has `vllm-cibench` on its path".to_owned()));
        }
        for (key, quantity) in [("cpu", &self.cpu), ("memory", &self.memory)] {
            if let Some(text) = quantity.as_deref().filter(|text| !is_quantity(text)) {
                wrong
                    .push((key, format!("expected a quantity such as `500m`, `2` or `1Gi`, found `{text}`")));
            }
        }
        for (key, seconds) in [("start_timeout_s", self.start_timeout_s), ("head_start_s", self.head_start_s)]
        {
            if !(1..=86_400).contains(&seconds) {
                wrong.push((key, format!("expected 1 to 86400 seconds, found {seconds}")));
            }
        }
        if let Some(url) = &self.base_url
            && crate::client::Client::new(url, None).is_err()
        {
            wrong.push(("base_url", format!("expected an address that ends in /v1, found `{url}`")));
        }
        wrong
    }
}

/// As Kubernetes writes amounts.
fn is_quantity(text: &str) -> bool {
    static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(\d+|\d*\.\d+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$").expect("a constant pattern that compiles")
    });
    QUANTITY.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_an_image_alone_has_defaults_and_what_is_wrong_is_named() {
        let job: Job = serde_json::from_str(r#"{"image":"i:1"}"#).unwrap();
        assert_eq!((job.namespace.as_str(), job.start_timeout_s, job.head_start_s), ("default", 300, 10));
        assert_eq!(job.mistakes(), []);
        let wrong: Job = serde_json::from_str(
            r#"{"image":" ","cpu":"two","memory":"1GB","head_start_s":0,"base_url":"vllm:8000"}"#,
        )
        .unwrap();
        let keys: Vec<&str> = wrong.mistakes().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["image", "cpu", "memory", "head_start_s", "base_url"]);
        assert!(["2", "500m", "1.5", "1Gi", ".5"].into_iter().all(is_quantity));
    }
}
