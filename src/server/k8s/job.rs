//! An indexed Job whose pods are given files, are told things through an annotation, and tell things in their logs:
//! [`Job`]. Whatever it creates is on the run's ledger first. Must not know what the files, the orders or the logs say.
//!
//! 带文件、注解指令与日志回传的 Indexed Job。

mod logs;
mod objects;

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use k8s_openapi::api::{
    batch::v1::Job as BatchJob,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use st_harness::{
    folder::TrialFolder,
    verdict::{Note, Reason},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

use super::{
    apply::{FIELD_MANAGER, label_value, name as full_name},
    cleanup::{open, take_down},
    cluster::Cluster,
    failure::Failure,
    note,
    pods::Ours,
    watch::Watch,
};
use crate::server::ledger::{K8sObject, Ledger, Resource as Kept, State};

/// What pods of one Job have in common.
pub(crate) const JOB_LABEL: &str = "vllm-cibench/job";
/// The annotation that numbers the pods of an indexed Job.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation of a pod that its file of orders shows.
pub(crate) const ORDER: &str = "vllm-cibench/order";
/// The only container of a pod.
const CONTAINER: &str = "worker";
/// Lines on their way: whoever reads them slower than they come slows the reading down.
const WAITING: usize = 4096;

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of the Job; what belongs to it is called after it.
    pub name: String,
    /// Where.
    pub namespace: String,
    /// How many pods, numbered from 0.
    pub pods: u32,
    /// What they run.
    pub image: String,
    /// How it is called; the folder of the files comes last.
    pub command: Vec<String>,
    /// Requested and at most, `cpu` and `memory`.
    pub resources: BTreeMap<String, String>,
}

/// What a pod has in its folder.
pub struct Files {
    /// Names and contents; each at most 1 MiB.
    pub plain: Vec<(String, Vec<u8>)>,
    /// A file that nobody may see.
    pub secret: Option<(String, SecretString)>,
    /// The file that shows the pod's number; empty until it has one.
    pub index: String,
    /// The file that shows the pod's latest order.
    pub order: String,
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The log of a pod is read from its beginning: for the first time, or once more.
    Opened(String),
    /// A pod, and a line of its log.
    Line(String, String),
    /// A pod that is over, whose log was read to its end, and how it ended.
    Closed(String, String),
    /// How the pods stand, for a person.
    Standing(String),
}

type Told = Result<Heard, Reason>;

/// Who keeps the list.
pub struct Keeper {
    /// Whose run folder has the ledger.
    pub folder: TrialFolder,
    /// Marks what is created.
    pub run_id: String,
}

/// A Job, before, while and after it runs.
pub struct Job {
    cluster: Cluster,
    wanted: Wanted,
    keeper: Keeper,
    uid: Option<String>,
    heard: (Sender<Told>, Receiver<Told>),
    tasks: JoinSet<()>,
}

impl Job {
    /// Nothing is touched yet.
    pub fn new(cluster: Cluster, wanted: Wanted, keeper: Keeper) -> Self {
        Self { cluster, wanted, keeper, uid: None, heard: channel(WAITING), tasks: JoinSet::new() }
    }

    /// Creates what the pods need, then the Job, and begins to listen; trouble with an image may last for `patience`.
    ///
    /// # Errors
    /// A refusal of the API server.
    pub async fn start(&mut self, files: Files, patience: Duration) -> Result<(), Reason> {
        let Files { plain, secret, index, order } = files;
        let site = objects::Site { wanted: &self.wanted, run: label_value(&self.keeper.run_id) };
        let job = site.job(plain.len(), secret.is_some(), [&index, &order])?;
        let maps = plain.iter().enumerate().map(|(number, file)| site.file(number, file));
        let maps = maps.collect::<Result<Vec<ConfigMap>, _>>()?;
        let secret = secret.map(|(name, content)| site.secret(&name, &content)).transpose()?;
        for map in maps {
            self.create(map).await?;
        }
        if let Some(secret) = secret {
            self.create::<Secret>(secret).await?;
        }
        let made: BatchJob = self.create(job).await?;
        let mode = made.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref());
        // Kubernetes before 1.22 drops what it does not know: an indexed Job is then one whose pods have no numbers.
        let numbering = (mode != Some("Indexed")).then(Numbering::default);
        self.uid = made.metadata.uid;
        let listener = logs::Listener {
            cluster: self.cluster.clone(),
            ours: self.ours(),
            namespace: self.wanted.namespace.clone(),
            tell: self.heard.0.clone(),
            patience,
            numbering,
        };
        self.tasks.spawn(listener.listen());
        Ok(())
    }

    /// The next thing; may be dropped half-way.
    ///
    /// # Errors
    /// A pod that will never run, or a cluster that cannot be asked any more.
    pub async fn hear(&mut self) -> Result<Heard, Reason> {
        match self.heard.1.recv().await {
            Some(heard) => heard,
            None => Err(Reason::new("k8s-job", "nobody listens to the pods any more")),
        }
    }

    /// Has `pod` read `order` in its file of orders.
    ///
    /// # Errors
    /// A refusal of the API server.
    pub async fn tell(&self, pod: &str, order: &str) -> Result<(), Reason> {
        Ok(annotate(&self.cluster, &self.wanted.namespace, pod, (ORDER, order)).await?)
    }

    /// Deletes all that it created and waits; after a failure the logs and events are kept first. What is left is told,
    /// and stays on the ledger.
    pub async fn end(mut self, failed: bool) -> Vec<Note> {
        self.tasks.abort_all();
        let mut notes = Vec::new();
        if failed && self.uid.is_some() {
            let watch = self.watch();
            let kept = watch.archive(self.keeper.folder.run());
            match tokio::time::timeout(self.cluster.waits().call * 2, kept).await {
                Ok(told) => notes.extend(told),
                Err(_) => {
                    notes.push(note("k8s-logs", "not all logs were kept: the API server is too slow"));
                }
            }
        }
        let ledger = self.ledger();
        match open(&ledger, Some(&self.keeper.run_id)) {
            Ok(all) => {
                let called = |object: &K8sObject| {
                    let rest = object.name.strip_prefix(&self.wanted.name);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                };
                let ours = all.into_iter().filter(|(_, object)| called(object)).collect();
                notes.extend(take_down(&self.cluster, &ledger, ours, None, &|_| {}).await);
            }
            Err(reason) => notes.push(note("ledger", reason.summary)),
        }
        notes
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            cluster: &self.cluster,
            namespaces: [self.wanted.namespace.clone()].into(),
            ours: self.ours(),
        }
    }

    fn ours(&self) -> Ours {
        Ours {
            selectors: vec![BTreeMap::from([(JOB_LABEL.to_owned(), self.wanted.name.clone())])],
            owners: self.uid.iter().cloned().collect(),
            names: vec![self.wanted.name.clone()],
        }
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(self.keeper.folder.run().path())
    }

    /// Creates an object that is on the ledger before.
    async fn create<K>(&self, object: K) -> Result<K, Reason>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let (name, namespace) = (object.name_any(), self.wanted.namespace.as_str());
        let what = full_name(&K::kind(&()), Some(namespace), &name);
        let access = self.cluster.access();
        let mut entry = K8sObject {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.clone(),
            uid: None,
            kubeconfig: access.kubeconfig.clone(),
            context: access.context.clone(),
        };
        self.write(State::Planned, &entry)?;
        let api: Api<K> = self.cluster.typed(namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let made = match self.cluster.call(&format!("create {what}"), || api.create(&params, &object)).await {
            // An answer that was lost on its way: it is ours, or else somebody's of that name.
            Err(failure) if failure.code == Some(409) => self.there(&api, &name, &what, failure).await?,
            made => made?,
        };
        entry.uid = made.uid();
        self.write(State::Created, &entry)?;
        Ok(made)
    }

    async fn there<K>(&self, api: &Api<K>, name: &str, what: &str, failure: Failure) -> Result<K, Reason>
    where
        K: Resource + DeserializeOwned + Clone + Debug,
    {
        let there = self.cluster.call(&format!("read {what}"), || api.get(name)).await?;
        let ours = there.labels().get(super::RUN_LABEL) == Some(&label_value(&self.keeper.run_id));
        if ours { Ok(there) } else { Err(failure.into()) }
    }

    fn write(&self, state: State, object: &K8sObject) -> Result<(), Reason> {
        self.ledger()
            .write(&self.keeper.run_id, state, &Kept::K8s(object.clone()))
            .map_err(|error| Reason::new("ledger", error.to_string()))
    }
}

/// Numbers pods where the cluster does not, each as it is first seen.
#[derive(Debug, Default)]
struct Numbering(Vec<String>);

impl Numbering {
    /// The pods among `seen` that have no number yet, with the numbers that are theirs from now on.
    fn new_of<'a>(&mut self, seen: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
        let mut new = Vec::new();
        for name in seen {
            if !self.0.iter().any(|known| known == name) {
                new.push((name.to_owned(), self.0.len()));
                self.0.push(name.to_owned());
            }
        }
        new
    }
}

async fn annotate(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    (annotation, value): (&str, &str),
) -> Result<(), Failure> {
    let api = cluster.typed::<Pod>(namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    let what = full_name("Pod", Some(namespace), pod);
    let params = PatchParams::default();
    cluster.call(&format!("annotate {what}"), || api.patch(pod, &params, &patch)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_the_number_that_it_was_given() {
        let mut numbering = Numbering::default();
        let given = |number: &mut Numbering, names: &[&str]| number.new_of(names.iter().copied());
        assert_eq!(given(&mut numbering, &["b"]), [("b".to_owned(), 0)]);
        assert_eq!(given(&mut numbering, &["a", "b"]), [("a".to_owned(), 1)]);
        assert_eq!(given(&mut numbering, &["a", "b"]), []);
    }
}
