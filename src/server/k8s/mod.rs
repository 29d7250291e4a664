//! A server in Kubernetes, from a manifest to an address and back to an empty namespace: [`Launch`]. Whatever
//! is applied is written down first, so that [`cleanup`] removes it even after SIGKILL. Must not know what is
//! tested, nor whether the server is healthy: that is asked over HTTP, with [`Launch::look`] beside it.
//!
//! Kubernetes 启动：部署清单 → 服务地址 → 清理。

mod apply;
mod cleanup;
mod cluster;
mod delete;
mod endpoint;
mod failure;
pub mod job;
mod manifest;
mod pods;
mod serving;
mod told;
mod watch;

use std::{collections::BTreeMap, time::Duration};

use camino::Utf8PathBuf;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{Api, api::ListParams};
use serde_json::Value;
use st_harness::{
    fixture::StartCx,
    verdict::{Note, Reason},
};
use tokio::time::Instant;

use self::{
    apply::{Applied, pause},
    cleanup::{named, open, take_down},
    failure::Failure,
    pods::Ours,
    watch::{Patience, Watch},
};
pub use self::{
    apply::{FIELD_MANAGER, RUN_LABEL},
    cleanup::{cleanup, cleanup_within},
    cluster::{Access, Cluster, Waits},
    endpoint::Endpoint,
    manifest::{Manifest, Mistake, Object},
    serving::{Host, Image, Serving},
    told::Told,
};
use super::ledger::Ledger;

/// What serves is looked at this long: it is for the record, and nobody waits for it.
const GLIMPSE: Duration = Duration::from_secs(10);

/// What to start, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is applied; absent: it is there already.
    pub manifest: Option<Utf8PathBuf>,
    /// What is deleted afterwards; absent: what was applied.
    pub delete_manifest: Option<Utf8PathBuf>,
    /// The Service that leads to the server.
    pub service_name: String,
    /// Its port; a Service with one port only may call it anything.
    pub port_name: String,
    /// The node port, where the Service does not tell.
    pub node_port: Option<u16>,
    /// The node's address, where it is not to be found out.
    pub node_address: Option<String>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The namespace of the Service, and of objects that name none.
    pub namespace: String,
    /// Which cluster, and as whom.
    pub access: Access,
    /// Label selectors (`app=x,role=decode`) of pods that belong to the server beside those that the Service
    /// selects and those that the applied objects own.
    pub pods: Vec<String>,
    /// What becomes of objects that are there already.
    pub existing: Existing,
    /// How long things may take.
    pub waits: Waits,
}

/// What becomes of an object that is there already and is not of this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// It is an error: the run would change it, and delete it in the end.
    #[default]
    Refuse,
    /// It is updated, as `kubectl apply` does, and stays in the end. One that another run of this tool left is
    /// taken over.
    Update,
}

impl Settings {
    /// The defaults, for the Service `service_name`.
    pub fn new(service_name: impl Into<String>) -> Self {
        Self {
            manifest: None,
            delete_manifest: None,
            service_name: service_name.into(),
            port_name: "http".to_owned(),
            node_port: None,
            node_address: None,
            scheme: "http",
            namespace: "default".to_owned(),
            access: Access::default(),
            pods: Vec::new(),
            existing: Existing::default(),
            waits: Waits::default(),
        }
    }
}

/// A server in Kubernetes, before, while and after it runs. [`Launch::stop`] works after every outcome of
/// [`Launch::start`], also where that was dropped half-way.
pub struct Launch {
    settings: Settings,
    cluster: Option<Cluster>,
    applied: Applied,
    service: Option<Service>,
    patience: Patience,
}

/// What [`Launch::deploy`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// `Service default/vllm`, in the order in which they were applied.
    pub objects: Vec<String>,
    /// Whether all pods answered within the wait; absent where nothing was waited for.
    pub ready: Option<bool>,
    /// What a reader should know.
    pub notes: Vec<Note>,
}

impl Launch {
    /// Nothing is touched yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            cluster: None,
            applied: Applied::default(),
            service: None,
            patience: Patience::default(),
        }
    }

    /// The same in a cluster that was connected before; the settings' own way to one is not used.
    pub fn within(cluster: Cluster, settings: Settings) -> Self {
        Self { cluster: Some(cluster), ..Self::new(settings) }
    }

    /// Applies the manifest, waits for the Service, and finds the address. The server need not answer there
    /// yet: poll it, with [`Launch::look`] in between.
    ///
    /// # Errors
    /// A mistake in the manifest (before the cluster is asked), a refusal of the API server, pods that have
    /// died, a Service without a way in, a deadline, or the run's cancellation.
    pub async fn start(&mut self, cx: &StartCx) -> Result<Endpoint, Reason> {
        self.apply(cx).await?;
        self.reach(cx).await
    }

    /// Applies the manifest and waits up to `wait` for its pods; what it applied stays until `cleanup`.
    ///
    /// # Errors
    /// As [`Launch::start`]; that the pods are not ready in time is told in [`Deployed::ready`].
    pub async fn deploy(&mut self, wait: Option<Duration>, cx: &StartCx) -> Result<Deployed, Reason> {
        self.apply(cx).await?;
        let ready = match wait {
            Some(wait) => Some(self.settled(wait, cx).await?),
            None => None,
        };
        let name = |live: &apply::Live| apply::name(&live.gvk.kind, live.namespace.as_deref(), &live.name);
        let objects = self.applied.objects.iter().map(name).collect();
        Ok(Deployed { objects, ready, notes: self.applied.notes.clone() })
    }

    /// One look at the pods: a line to show, or why waiting any longer is in vain, with their last lines.
    /// That the cluster cannot be asked just now is a line, too.
    ///
    /// # Errors
    /// When all pods have died for good.
    pub async fn look(&mut self) -> Result<String, Reason> {
        Ok(self.glance().await?.0)
    }

    /// What a reader should know of what was applied.
    pub fn notes(&self) -> &[Note] {
        &self.applied.notes
    }

    /// The server's version, once connected.
    pub fn version(&self) -> Option<&str> {
        self.cluster.as_ref().map(Cluster::version)
    }

    /// What serves, as far as the cluster tells it within a few seconds.
    pub async fn serving(&self) -> Serving {
        let Some(cluster) = &self.cluster else { return Serving::default() };
        let watch = self.watch(cluster);
        let pods = tokio::time::timeout(GLIMPSE, watch.pods()).await;
        let Ok(Ok(pods)) = pods else { return Serving::default() };
        let (nodes, first) = (serving::node_names(&pods), self.server(&pods));
        let nodes = nodes.iter().map(|name| async move {
            let api: Api<Node> = Api::all(cluster.client());
            cluster.call("read a node", || api.get_opt(name)).await.ok().flatten()
        });
        let nodes = tokio::time::timeout(GLIMPSE, futures_util::future::join_all(nodes)).await;
        let log = async { watch.beginning(first?).await.ok() };
        Serving {
            images: serving::images(&pods),
            nodes: nodes.into_iter().flatten().flatten().map(|node| serving::host(&node)).collect(),
            command: first.and_then(serving::server).map(serving::words).unwrap_or_default(),
            log: tokio::time::timeout(GLIMPSE, log).await.ok().flatten(),
        }
    }

    /// The first pod that the Service leads to.
    fn server<'p>(&self, pods: &'p [Pod]) -> Option<&'p Pod> {
        let selector = self.service.as_ref()?.spec.as_ref()?.selector.clone()?;
        let ours = Ours { selectors: vec![selector], ..Ours::default() };
        pods.iter().find(|pod| ours.has(pod) && pod.metadata.deletion_timestamp.is_none())
    }

    /// Archives logs and events, then deletes in reverse order and waits: what `delete_manifest` names, or else
    /// what this run applied. Never fails: what is left is told in the notes, and stays in the ledger.
    pub async fn stop(&mut self, cx: &StartCx) -> Vec<Note> {
        let Some(cluster) = self.cluster.clone() else { return Vec::new() };
        let watch = self.watch(&cluster);
        let mut notes = match tokio::time::timeout(cluster.waits().call * 2, watch.archive(&cx.folder)).await
        {
            Ok(notes) => notes,
            Err(_) => vec![note("k8s-logs", "not all logs were kept: the API server is too slow")],
        };
        let ledger = Ledger::of(cx.folder.path());
        let ours = match open(&ledger, Some(&cx.run_id)) {
            Ok(ours) => ours,
            Err(reason) => {
                notes.push(note("ledger", reason.summary));
                Vec::new()
            }
        };
        let named = match self.settings.delete_manifest.as_deref().map(Manifest::load) {
            Some(Ok(manifest)) => Some(named(&manifest, &self.settings.namespace)),
            Some(Err(reason)) => {
                let text = format!("{}; what this run applied is deleted instead", reason.summary);
                notes.push(note("k8s-manifest", text));
                None
            }
            None => None,
        };
        let took_down = named.is_some() || !ours.is_empty();
        let deadline = Instant::now() + cluster.waits().delete;
        notes.extend(take_down(&cluster, &ledger, ours, named, &*cx.progress).await);
        if took_down {
            notes.extend(watch.until_gone(deadline).await);
        }
        notes
    }

    async fn apply(&mut self, cx: &StartCx) -> Result<(), Reason> {
        selectors(&self.settings.pods)?;
        let manifest = self.settings.manifest.as_deref().map(Manifest::load).transpose()?;
        let cluster = match &self.cluster {
            Some(cluster) => cluster.clone(),
            None => {
                (cx.progress)("connecting to the Kubernetes API server");
                Cluster::connect(&self.settings.access, self.settings.waits).await?
            }
        };
        self.cluster = Some(cluster.clone());
        let Some(manifest) = manifest else { return Ok(()) };
        let site = apply::Site {
            cluster: &cluster,
            ledger: &Ledger::of(cx.folder.path()),
            namespace: &self.settings.namespace,
            existing: self.settings.existing,
        };
        apply::apply(&site, &manifest, cx, &mut self.applied).await
    }

    /// Waits for the Service and a node: an operator creates the Service after its own object, and nodes may
    /// be added on demand. An API server that is away for a moment is waited for, too.
    async fn reach(&mut self, cx: &StartCx) -> Result<Endpoint, Reason> {
        let Some(cluster) = self.cluster.clone() else {
            return Err(Reason::new("k8s-endpoint", "no cluster is connected"));
        };
        let (began, limit) = (Instant::now(), cluster.waits().service);
        loop {
            let missing = match self.find(&cluster).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(missing)) => missing,
                Err(failure) if failure.transient => "the API server to answer again".to_owned(),
                Err(failure) => return Err(failure.into()),
            };
            let (line, _) = self.glance().await?;
            if began.elapsed() >= limit {
                let text = format!("waited {} s in vain for {missing}; {line}", limit.as_secs_f64());
                return Err(Reason::new("k8s-endpoint", text));
            }
            (cx.progress)(&format!(
                "waiting for {missing} ({:.0} of {:.0} s): {line}",
                began.elapsed().as_secs_f64(),
                limit.as_secs_f64()
            ));
            pause(&cluster, cx, || missing.clone()).await?;
        }
    }

    /// The address, or what is missing for it.
    async fn find(&mut self, cluster: &Cluster) -> Result<Result<Endpoint, String>, Failure> {
        let Settings { namespace, service_name, .. } = &self.settings;
        let what = format!("Service {namespace}/{service_name}");
        let api = cluster.typed::<Service>(namespace);
        self.service = cluster.call(&format!("read {what}"), || api.get_opt(service_name)).await?;
        let Some(service) = &self.service else { return Ok(Err(format!("{what} to appear"))) };
        let (port, mut notes) = endpoint::node_port(service, &self.settings)?;
        let hosts = self.hosts(cluster, service, &mut notes).await?;
        let found = endpoint::endpoint(self.settings.scheme, &hosts, port, notes);
        Ok(found.ok_or_else(|| format!("a Ready node that leads to {what}")))
    }

    /// The addresses that lead to the Service, best first.
    async fn hosts(
        &self,
        cluster: &Cluster,
        service: &Service,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<String>, Failure> {
        if let Some(address) = &self.settings.node_address {
            return Ok(vec![address.clone()]);
        }
        let pods = self.watch(cluster).pods().await.unwrap_or_default();
        let api: Api<Node> = Api::all(cluster.client());
        let all = ListParams::default();
        match cluster.call("list the nodes", || api.list(&all)).await {
            Ok(nodes) => Ok(endpoint::addresses(service, &nodes.items, &pods)),
            Err(failure) if failure.is_forbidden() => {
                let text = "nodes may not be listed, so the address is that of a pod's host; `k8s.node_address` \
                            sets another";
                notes.push(note("k8s-node-address", text));
                Ok(endpoint::hosts(&pods))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Looks at the pods until all have died for good; tells how they stand whenever that changes, and every now
    /// and then. Never returns while any may live.
    pub async fn death(&mut self, cx: &StartCx, told: &mut Told) -> Reason {
        loop {
            match self.look().await {
                Ok(line) => told.say(&line, &*cx.progress),
                Err(death) => return death,
            }
            tokio::time::sleep(self.settings.waits.poll).await;
        }
    }

    /// Whether all pods answer before `wait` is over.
    async fn settled(&mut self, wait: Duration, cx: &StartCx) -> Result<bool, Reason> {
        let Some(cluster) = self.cluster.clone() else { return Ok(false) };
        let (began, mut told) = (Instant::now(), Told::default());
        loop {
            let (line, ready) = self.glance().await?;
            told.say(&line, &*cx.progress);
            if ready || began.elapsed() >= wait {
                return Ok(ready);
            }
            pause(&cluster, cx, || "the pods to be ready".to_owned()).await?;
        }
    }

    async fn glance(&mut self) -> Result<(String, bool), Reason> {
        let Some(cluster) = self.cluster.clone() else { return Ok(("not connected".to_owned(), false)) };
        match self.watch(&cluster).look(&mut self.patience).await {
            Ok(look) => look.ended.map_or(Ok((look.line, look.ready)), Err),
            Err(failure) => Ok((format!("the pods cannot be seen: {}", failure.summary), false)),
        }
    }

    /// What belongs to the server, as far as it is known by now.
    fn watch<'a>(&self, cluster: &'a Cluster) -> Watch<'a> {
        let objects = &self.applied.objects;
        let service = self.service.as_ref().and_then(|service| service.spec.as_ref()?.selector.clone());
        let workloads = objects.iter().filter_map(|live| {
            let labels = live.body.pointer("/spec/selector/matchLabels").and_then(Value::as_object)?;
            Some(labels.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect())
        });
        let configured = selectors(&self.settings.pods).unwrap_or_default();
        let namespaces = objects.iter().filter_map(|live| live.namespace.clone());
        Watch {
            cluster,
            namespaces: namespaces.chain([self.settings.namespace.clone()]).collect(),
            ours: Ours {
                selectors: service.into_iter().chain(workloads).chain(configured).collect(),
                owners: objects.iter().filter_map(|live| live.uid.clone()).collect(),
                names: objects.iter().map(|live| live.name.clone()).collect(),
            },
        }
    }
}

/// `app=x,role=decode` → pairs that must all match.
fn selectors(texts: &[String]) -> Result<Vec<BTreeMap<String, String>>, Reason> {
    let pair = |part: &str| {
        let (key, value) = part.split_once("==").or_else(|| part.split_once('='))?;
        let (key, value) = (key.trim(), value.trim());
        (!key.is_empty() && !key.ends_with('!')).then(|| (key.to_owned(), value.to_owned()))
    };
    let one = |text: &String| {
        text.split(',').map(pair).collect::<Option<_>>().ok_or_else(|| {
            Reason::new(
                "k8s-config",
                format!("a label selector is written `key=value,key=value`, found `{text}`"),
            )
        })
    };
    texts.iter().map(one).collect()
}

fn note(kind: &str, text: impl Into<String>) -> Note {
    Note { kind: kind.to_owned(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_may_run_on_any_thread() {
        fn sent<F: Future + Send>(step: impl Fn(Launch, StartCx) -> F) {
            let _ = step;
        }
        sent(|mut launch, cx| async move { launch.start(&cx).await });
        sent(|mut launch, cx| async move { launch.deploy(None, &cx).await });
        sent(|mut launch, _| async move { launch.look().await });
        sent(|launch, _| async move { launch.serving().await });
        sent(|mut launch, cx| async move { launch.stop(&cx).await });
        sent(|_, cx| async move { cleanup(cx.folder.path(), Waits::default(), &*cx.progress).await });
    }

    #[test]
    fn selectors_are_pairs_and_anything_else_is_told() {
        let read = |text: &str| selectors(&[text.to_owned()]).map(|mut all| all.remove(0));
        assert_eq!(
            read("app=x, role==decode").unwrap(),
            BTreeMap::from([("app".into(), "x".into()), ("role".into(), "decode".into())])
        );
        for wrong in ["", "app", "app!=x", "role in (a, b)", "=x"] {
            let reason = read(wrong).unwrap_err();
            assert!(reason.summary.ends_with(&format!("found `{wrong}`")), "{}", reason.summary);
        }
    }
}
