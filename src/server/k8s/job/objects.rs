//! The objects of a [`Job`](super::Job) as they are sent: a ConfigMap for each file, a Secret for the one that nobody may
//! see, and the Job, whose pods have all of them in one folder. Must not make requests.
//!
//! Job、ConfigMap 与 Secret 的内容。

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use st_harness::verdict::Reason;

use super::{CONTAINER, INDEX, JOB_LABEL, ORDER, Wanted};
use crate::server::k8s::RUN_LABEL;

/// Where a pod has its files.
const FOLDER: &str = "/vllm-cibench";

/// What all of them have in common.
pub(super) struct Site<'a> {
    pub(super) wanted: &'a Wanted,
    /// The run's label.
    pub(super) run: String,
}

impl Site<'_> {
    /// File number `number`.
    pub(super) fn file<K: DeserializeOwned>(
        &self,
        number: usize,
        (name, bytes): &(String, Vec<u8>),
    ) -> Result<K, Reason> {
        made(json!({
            "metadata": self.metadata(&file_name(&self.wanted.name, number)),
            "binaryData": {name: STANDARD.encode(bytes)},
        }))
    }

    /// The file that nobody may see.
    pub(super) fn secret<K: DeserializeOwned>(
        &self,
        name: &str,
        content: &SecretString,
    ) -> Result<K, Reason> {
        made(json!({
            "metadata": self.metadata(&secret_name(&self.wanted.name)),
            "stringData": {name: content.expose_secret()},
        }))
    }

    /// The Job, whose pods have `files` files, perhaps a secret one, their number in `index` and the order in `order`.
    pub(super) fn job<K: DeserializeOwned>(
        &self,
        files: usize,
        secret: bool,
        [index, order]: [&str; 2],
    ) -> Result<K, Reason> {
        let Wanted { name, pods, .. } = self.wanted;
        made(json!({
            "metadata": self.metadata(name),
            "spec": {
                "completionMode": "Indexed",
                "completions": pods,
                "parallelism": pods,
                // A pod that was replaced would send again what was sent before.
                "backoffLimit": 0,
                "template": {
                    "metadata": {"labels": self.labels()},
                    "spec": self.pod(files, secret, [index, order]),
                },
            },
        }))
    }

    fn pod(&self, files: usize, secret: bool, [index, order]: [&str; 2]) -> Value {
        let Wanted { name, image, command, resources, .. } = self.wanted;
        let command: Vec<&str> = command.iter().map(String::as_str).chain([FOLDER]).collect();
        let maps = (0..files).map(|number| json!({"configMap": {"name": file_name(name, number)}}));
        let secret = secret.then(|| json!({"secret": {"name": secret_name(name)}}));
        let shown = [(index, INDEX), (order, ORDER)].map(|(file, annotation)| {
            json!({"path": file, "fieldRef": {"fieldPath": format!("metadata.annotations['{annotation}']")}})
        });
        let annotations = json!({"downwardAPI": {"items": shown}});
        let sources: Vec<Value> = maps.chain(secret).chain([annotations]).collect();
        json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            // Two on one machine share what each is to have for itself.
            "topologySpreadConstraints": [{
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {JOB_LABEL: name}},
            }],
            "containers": [{
                "name": CONTAINER,
                "image": image,
                "command": command,
                "resources": {"requests": resources, "limits": resources},
                "securityContext": {"allowPrivilegeEscalation": false},
                "volumeMounts": [{"name": "load", "mountPath": FOLDER, "readOnly": true}],
            }],
            "volumes": [{"name": "load", "projected": {"sources": sources}}],
        })
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.wanted.namespace, "labels": self.labels()})
    }

    fn labels(&self) -> Value {
        json!({RUN_LABEL: self.run, JOB_LABEL: self.wanted.name})
    }
}

fn file_name(job: &str, number: usize) -> String {
    format!("{job}-{number}")
}

fn secret_name(job: &str) -> String {
    format!("{job}-key")
}

fn made<K: DeserializeOwned>(value: Value) -> Result<K, Reason> {
    serde_json::from_value(value)
        .map_err(|error| Reason::new("k8s-job", format!("an object of the Job cannot be made: {error}")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        batch::v1::Job,
        core::v1::{ConfigMap, Secret},
    };

    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            name: "load-1".to_owned(),
            namespace: "n".to_owned(),
            pods: 3,
            image: "i:1".to_owned(),
            command: vec!["vllm-cibench".to_owned(), "load-worker".to_owned()],
            resources: [("cpu".to_owned(), "2".to_owned())].into(),
        }
    }

    #[test]
    fn the_job_is_indexed_never_repeats_a_pod_and_shows_each_its_files() {
        let wanted = wanted();
        let site = Site { wanted: &wanted, run: "r1".to_owned() };
        let job: Job = site.job(2, true, ["index", "order"]).unwrap();
        let spec = job.spec.unwrap();
        assert_eq!((spec.completion_mode.as_deref(), spec.backoff_limit), (Some("Indexed"), Some(0)));
        assert_eq!((spec.completions, spec.parallelism), (Some(3), Some(3)));
        let pod = spec.template.spec.unwrap();
        assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
        assert_eq!(pod.automount_service_account_token, Some(false));
        let container = &pod.containers[0];
        assert_eq!(
            container.command.as_ref().unwrap()[2],
            container.volume_mounts.as_ref().unwrap()[0].mount_path
        );
        let limits = container.resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!(limits["cpu"].0, "2");
        let sources = serde_json::to_value(&pod.volumes.unwrap()[0].projected).unwrap()["sources"].clone();
        assert_eq!(sources[0]["configMap"]["name"], "load-1-0");
        assert_eq!(sources[2]["secret"]["name"], "load-1-key");
        let shown = |n: usize| &sources[3]["downwardAPI"]["items"][n]["fieldRef"]["fieldPath"];
        assert_eq!(shown(0), "metadata.annotations['batch.kubernetes.io/job-completion-index']");
        assert_eq!(shown(1), "metadata.annotations['vllm-cibench/order']");
        assert_eq!(job.metadata.labels.unwrap()[RUN_LABEL], "r1");
    }

    #[test]
    fn the_secret_is_in_the_secret_and_nowhere_else() {
        let wanted = wanted();
        let site = Site { wanted: &wanted, run: "r1".to_owned() };
        let key = SecretString::from("sk-very-secret");
        let secret: Secret = site.secret("key", &key).unwrap();
        assert_eq!(secret.string_data.unwrap()["key"], "sk-very-secret");
        let map: ConfigMap = site.file(0, &("part-0.000".to_owned(), vec![1, 2])).unwrap();
        assert_eq!(map.binary_data.unwrap()["part-0.000"].0, [1, 2]);
        let job: Job = site.job(1, true, ["index", "order"]).unwrap();
        assert!(!serde_json::to_string(&job).unwrap().contains("very-secret"));
    }
}
