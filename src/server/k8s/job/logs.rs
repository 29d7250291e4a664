//! Listens to the pods of a [`Job`](super::Job): [`Listener`] looks at them again and again, follows the log of each from
//! its first line to its last, and tells when one will never run. Must not know what the logs say.
//!
//! 跟随各 Pod 的日志直至结束。

use std::{collections::BTreeSet, time::Duration};

use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::LogParams};
use st_harness::verdict::Reason;
use tokio::{sync::mpsc::Sender, task::JoinSet};

use super::{CONTAINER, Heard, INDEX, Numbering, Ours, Told, Watch, annotate};
use crate::server::k8s::{
    cluster::{Cluster, Waits},
    failure::Failure,
    pods::state,
    watch::Patience,
};

/// How often the log of a pod that is over is asked for.
const TRIES: u32 = 5;
/// How long the cluster may be away.
const AWAY: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Listener {
    pub(super) cluster: Cluster,
    pub(super) ours: Ours,
    pub(super) namespace: String,
    pub(super) tell: Sender<Told>,
    /// How long trouble with an image may last.
    pub(super) patience: Duration,
    /// Where the cluster numbers no pods.
    pub(super) numbering: Option<Numbering>,
}

impl Listener {
    /// Until something ends it, or nobody listens.
    pub(super) async fn listen(mut self) {
        let poll = self.cluster.waits().poll;
        let (mut followed, mut following) = (BTreeSet::new(), JoinSet::new());
        let (mut patience, mut seen) = (Patience::default(), tokio::time::Instant::now());
        loop {
            match self.look(&mut patience).await {
                Ok(pods) => {
                    seen = tokio::time::Instant::now();
                    for pod in pods.iter().filter(|pod| has_begun(pod)) {
                        let name = pod.name_any();
                        if followed.insert(name.clone()) {
                            following.spawn(follow(
                                self.cluster.clone(),
                                self.namespace.clone(),
                                name,
                                self.tell.clone(),
                            ));
                        }
                    }
                }
                Err(Lost::Pod(reason)) => return self.give_up(reason).await,
                Err(Lost::Cluster(failure)) if !failure.transient || seen.elapsed() >= AWAY => {
                    return self.give_up(failure.into()).await;
                }
                Err(Lost::Cluster(_)) => {}
            }
            if self.tell.is_closed() {
                return;
            }
            tokio::time::sleep(poll).await;
        }
    }

    async fn give_up(&self, reason: Reason) {
        // Nobody who listens is nobody to tell.
        let _ = self.tell.send(Err(reason)).await;
    }

    /// All pods, and how they stand.
    async fn look(&mut self, patience: &mut Patience) -> Result<Vec<Pod>, Lost> {
        let watch = Watch {
            cluster: &self.cluster,
            namespaces: [self.namespace.clone()].into(),
            ours: self.ours.clone(),
        };
        let pods = watch.pods().await.map_err(Lost::Cluster)?;
        if let Some(numbering) = &mut self.numbering {
            let names: Vec<String> = pods.iter().map(|pod| pod.name_any()).collect();
            for (pod, number) in numbering.new_of(names.iter().map(String::as_str)) {
                let number = number.to_string();
                annotate(&self.cluster, &self.namespace, &pod, (INDEX, &number))
                    .await
                    .map_err(Lost::Cluster)?;
            }
        }
        let states: Vec<_> = pods.iter().map(state).collect();
        for (pod, state) in pods.iter().zip(&states).filter(|(pod, _)| !has_begun(pod)) {
            if let Some(trouble) = patience.hopeless(pod, state, self.patience) {
                let summary = format!("worker {} will never run: {}", pod.name_any(), trouble.what);
                return Err(Lost::Pod(Reason::new("k8s-job", summary)));
            }
        }
        let line = watch.line(&pods, &states).await;
        let _ = self.tell.send(Ok(Heard::Standing(line))).await;
        Ok(pods)
    }
}

/// Why there is nothing more to hear.
enum Lost {
    Pod(Reason),
    Cluster(Failure),
}

/// Whether its container has run: only then does it have a log, or a reason why it ended.
fn has_begun(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let ran = containers.into_iter().flatten().any(|container| {
        container.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    ran || over(pod).is_some()
}

/// How a pod that is over has ended.
fn over(pod: &Pod) -> Option<String> {
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    match phase {
        "Succeeded" => Some("exit code 0".to_owned()),
        "Failed" => Some(state(pod).trouble.map_or_else(|| "Failed".to_owned(), |trouble| trouble.what)),
        _ => None,
    }
}

/// Hands on the whole log of one pod, again from its beginning where it broke off, until the pod is over.
async fn follow(cluster: Cluster, namespace: String, name: String, tell: Sender<Told>) {
    let api = cluster.typed::<Pod>(&namespace);
    let params = LogParams { container: Some(CONTAINER.to_owned()), follow: true, ..LogParams::default() };
    let Waits { poll, call, .. } = cluster.waits();
    let mut tries = 0;
    loop {
        // Looked at before: a log that is read whole after its pod was over is whole.
        let ended = match cluster.call(&format!("read Pod {namespace}/{name}"), || api.get_opt(&name)).await {
            Ok(Some(pod)) => over(&pod),
            Ok(None) => Some("the pod was deleted".to_owned()),
            Err(_) => None,
        };
        let opened = tokio::time::timeout(call, api.log_stream(&name, &params)).await;
        let read = match opened {
            Ok(Ok(log)) => {
                if tell.send(Ok(Heard::Opened(name.clone()))).await.is_err() {
                    return;
                }
                let mut lines = Box::pin(log).lines();
                loop {
                    match lines.try_next().await {
                        Ok(Some(line)) => {
                            if tell.send(Ok(Heard::Line(name.clone(), line))).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error.to_string()),
                    }
                }
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", call.as_secs_f64())),
        };
        if let Some(how) = ended {
            tries += 1;
            let how = match read {
                Ok(()) => how,
                Err(_) if tries < TRIES => {
                    tokio::time::sleep(poll).await;
                    continue;
                }
                Err(error) => format!("{how}; its log cannot be read: {error}"),
            };
            let _ = tell.send(Ok(Heard::Closed(name, how))).await;
            return;
        }
        tokio::time::sleep(poll).await;
    }
}
