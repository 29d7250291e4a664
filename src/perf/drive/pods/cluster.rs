//! Workers that are pods of a Kubernetes Job: [`InJob`]. Must not know what they carry.
//!
//! 以 Kubernetes Job 的 Pod 作为工作者。

use std::{collections::BTreeMap, time::Duration};

use st_harness::verdict::{Note, Reason};

use super::{Cargo, Elsewhere, Fleet, Heard, INDEX, KEY, ORDER};
use crate::{
    server::k8s::{
        Access, Cluster, Waits,
        job::{self, Files, Job, Keeper, Wanted},
    },
    workload::sha256_hex,
};

/// How often pods are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct InJob {
    job: Job,
    /// How long trouble with an image may last.
    patience: Duration,
}

impl InJob {
    /// Of so many pods; only the cluster is asked for its version yet.
    ///
    /// # Errors
    /// In words, where the cluster does not answer.
    pub(super) async fn connect(asked: &Elsewhere, pods: u32) -> Result<Self, String> {
        let settings = &asked.job;
        let access = Access { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
        let waits = Waits { poll: LOOK, ..Waits::default() };
        let cluster = Cluster::connect(&access, waits).await.map_err(told)?;
        let amounts = [("cpu", &settings.cpu), ("memory", &settings.memory)];
        let resources: BTreeMap<String, String> = amounts
            .into_iter()
            .filter_map(|(name, amount)| Some((name.to_owned(), amount.clone()?)))
            .collect();
        let wanted = Wanted {
            name: name(&asked.run_id, asked.folder.path_of("").as_str()),
            namespace: settings.namespace.clone(),
            pods,
            image: settings.image.clone(),
            command: ["vllm-cibench", "load-worker"].map(str::to_owned).to_vec(),
            resources,
        };
        let keeper = Keeper { folder: asked.folder.clone(), run_id: asked.run_id.clone() };
        let patience = Duration::from_secs(settings.start_timeout_s).min(waits.image);
        Ok(Self { job: Job::new(cluster, wanted, keeper), patience })
    }
}

/// Of the Job of one trial of one run: short, since what belongs to it is called after it.
fn name(run_id: &str, trial: &str) -> String {
    let digest: String = sha256_hex(format!("{run_id} {trial}").as_bytes()).chars().take(10).collect();
    format!("vllm-cibench-load-{digest}")
}

impl Fleet for InJob {
    async fn start(&mut self, cargo: Cargo) -> Result<(), String> {
        let secret = cargo.key.map(|key| (KEY.to_owned(), key));
        let (index, order) = (INDEX.to_owned(), ORDER.to_owned());
        let files = Files { plain: cargo.files, secret, index, order };
        self.job.start(files, self.patience).await.map_err(told)
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        Ok(match self.job.hear().await.map_err(told)? {
            job::Heard::Opened(worker) => Heard::Opened { worker },
            job::Heard::Line(worker, line) => Heard::Line { worker, line },
            job::Heard::Closed(worker, how) => Heard::Closed { worker, how },
            job::Heard::Standing(line) => Heard::Standing(line),
        })
    }

    async fn tell(&mut self, worker: &str, order: &str) -> Result<(), String> {
        self.job.tell(worker, order).await.map_err(told)
    }

    async fn end(self, failed: bool) -> Vec<String> {
        self.job.end(failed).await.into_iter().map(|note: Note| note.text).collect()
    }
}

/// A reason as a sentence, with what the cluster said below it.
fn told(reason: Reason) -> String {
    if reason.detail.is_empty() { reason.summary } else { format!("{}\n{}", reason.summary, reason.detail) }
}
