//! A Kubernetes API server that answers: [`Cluster`]. Every request has a deadline, is tried again where that
//! can help, and fails with a sentence. Must not know what is applied or why.
//!
//! 集群连接：期限、重试与可读的错误。

use std::{future::Future, time::Duration};

use camino::Utf8PathBuf;
use kube::{
    Api, Client, Config, Resource,
    api::DynamicObject,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
};
use st_harness::verdict::Reason;

use super::failure::Failure;

/// How often a request that may pass is made.
const ATTEMPTS: u32 = 3;

/// Which cluster, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig file; absent: `$KUBECONFIG`, `~/.kube/config`, or the pod that this runs in.
    pub kubeconfig: Option<Utf8PathBuf>,
    /// A context of it; absent: its current one.
    pub context: Option<String>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// One request; 30 s.
    pub call: Duration,
    /// Between two looks at the cluster; 2 s.
    pub poll: Duration,
    /// Until a new kind of object can be used; 60 s.
    pub established: Duration,
    /// Until the Service and a node to reach it by are there; 5 min, for operators create it late.
    pub service: Duration,
    /// How long an image may fail to be pulled before it is given up; 2 min, for registries hiccup.
    pub image: Duration,
    /// Until all that is deleted is gone, all objects together; 5 min, for servers end slowly.
    pub delete: Duration,
}

/// An API server that has answered once.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    access: Access,
    version: String,
    waits: Waits,
}

/// A kind of object, as the server knows it.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

impl Cluster {
    /// Connects and asks for the server's version, so that a wrong address or token is told before anything
    /// is created. Of proxies only the kubeconfig's own `proxy-url` is used: `HTTPS_PROXY` is for the
    /// internet, and `NO_PROXY` is not matched against the cluster by the client.
    ///
    /// # Errors
    /// When the kubeconfig or the context is missing or wrong, or the server does not answer as one.
    pub async fn connect(access: &Access, waits: Waits) -> Result<Self, Reason> {
        let (mut config, context) = config(access).await?;
        config.read_timeout = Some(waits.call);
        config.reset_reader_on_write = true;
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| {
            Failure::explain("connect", context.as_deref().unwrap_or("in-cluster"), &error)
        })?;
        // The clean-up may be started elsewhere.
        let absolute = |path: &Utf8PathBuf| camino::absolute_utf8(path).unwrap_or_else(|_| path.clone());
        let kubeconfig = access.kubeconfig.as_ref().map(absolute);
        Self::with_client(client, Access { kubeconfig, context }, waits).await
    }

    /// The same over a client that is there already, such as one that a test answers.
    ///
    /// # Errors
    /// When the server does not answer as one.
    pub async fn with_client(client: Client, access: Access, waits: Waits) -> Result<Self, Reason> {
        let mut cluster = Self { client, access, version: String::new(), waits };
        let info = cluster.call("read its version", || cluster.client.apiserver_version()).await?;
        cluster.version = info.git_version;
        Ok(cluster)
    }

    /// What the server calls its version: `v1.20.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it is, with the context resolved.
    pub fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn waits(&self) -> Waits {
        self.waits
    }

    /// Makes a request, up to three times where it may pass: applying, reading and deleting by uid all leave
    /// the same behind when repeated. `doing` is an infinitive: "apply Service default/vllm".
    pub(crate) async fn call<T, F>(&self, doing: &str, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let mut attempt = 1;
        loop {
            let failure = match tokio::time::timeout(self.waits.call, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => Failure::explain(doing, self.context(), &error),
                Err(_) => Failure::timeout(doing, self.waits.call),
            };
            if !failure.transient || attempt == ATTEMPTS {
                return Err(failure);
            }
            tokio::time::sleep(self.waits.poll * attempt).await;
            attempt += 1;
        }
    }

    /// What the server knows of a kind; nothing where it does not know it. Asked anew each time: an aggregated
    /// discovery is empty on servers before 1.27, and a CRD may have appeared since.
    pub(crate) async fn kind(&self, gvk: &GroupVersionKind) -> Result<Option<Kind>, Failure> {
        let doing = format!("look up the kind {} of {}", gvk.kind, gvk.api_version());
        let asked = self
            .call(&doing, || async {
                match discovery::pinned_kind(&self.client, gvk).await {
                    Err(kube::Error::Discovery(_)) => Ok(None),
                    other => other.map(Some),
                }
            })
            .await;
        match asked {
            Ok(found) => Ok(found.map(|(resource, capabilities)| Kind {
                resource,
                namespaced: capabilities.scope == Scope::Namespaced,
            })),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The door to the objects of a kind.
    pub(crate) fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if kind.namespaced => {
                Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
            }
            _ => Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    /// The same for a kind that is known at compile time.
    pub(crate) fn typed<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn context(&self) -> &str {
        self.access.context.as_deref().unwrap_or("in-cluster")
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            poll: Duration::from_secs(2),
            established: Duration::from_secs(60),
            service: Duration::from_secs(300),
            image: Duration::from_secs(120),
            delete: Duration::from_secs(300),
        }
    }
}

/// The client's configuration, and the name of the context it speaks for.
async fn config(access: &Access) -> Result<(Config, Option<String>), Failure> {
    let read = match &access.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = match read {
        Ok(file) => file,
        Err(error) if access.kubeconfig.is_some() || access.context.is_some() => {
            return Err(unusable(access, &error));
        }
        Err(error) => {
            return Config::incluster().map(|config| (config, None)).map_err(|_| unusable(access, &error));
        }
    };
    let Some(context) = access.context.clone().or_else(|| file.current_context.clone()) else {
        return Err(Failure::new(
            "k8s-config",
            format!("the kubeconfig names no current context; choose one: {}", contexts(&file)),
        ));
    };
    let Some(named) = file.contexts.iter().find(|named| named.name == context) else {
        return Err(Failure::new(
            "k8s-config",
            format!("no context `{context}` in the kubeconfig; it has {}", contexts(&file)),
        ));
    };
    let cluster = named.context.as_ref().map(|context| context.cluster.clone());
    let proxy = file
        .clusters
        .iter()
        .find(|named| Some(&named.name) == cluster.as_ref())
        .and_then(|named| named.cluster.as_ref()?.proxy_url.clone())
        .filter(|proxy| !proxy.is_empty());
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let mut config =
        Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(access, &error))?;
    if proxy.is_none() {
        config.proxy_url = None;
    }
    Ok((config, Some(context)))
}

fn unusable(access: &Access, error: &kube::config::KubeconfigError) -> Failure {
    let file =
        access.kubeconfig.as_ref().map_or_else(|| "the kubeconfig".to_owned(), |path| format!("`{path}`"));
    Failure::new(
        "k8s-config",
        format!("{file} cannot be used: {error}; `kubectl --kubeconfig FILE config view` shows what it says"),
    )
}

fn contexts(file: &Kubeconfig) -> String {
    let names: Vec<_> = file.contexts.iter().map(|named| format!("`{}`", named.name)).collect();
    if names.is_empty() { "no contexts at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
apiVersion: v1
kind: Config
current-context: real
contexts:
  - {name: real, context: {cluster: c, user: u}}
  - {name: guest, context: {cluster: c, user: u}}
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"#;

    async fn connect(text: &str, context: Option<&str>) -> Reason {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("kubeconfig")).unwrap();
        std::fs::write(&path, text).unwrap();
        let access = Access { kubeconfig: Some(path), context: context.map(str::to_owned) };
        let quick = Waits { poll: Duration::from_millis(1), ..Waits::default() };
        Cluster::connect(&access, quick).await.err().expect("nothing listens on port 1")
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_brings_those_that_are() {
        let reason = connect(TWO, Some("reel")).await;
        assert_eq!(reason.summary, "no context `reel` in the kubeconfig; it has `real`, `guest`");
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let access = Access { kubeconfig: Some("/nonexistent/kubeconfig".into()), context: None };
        let reason = Cluster::connect(&access, Waits::default()).await.err().expect("no such file");
        assert!(reason.summary.starts_with("`/nonexistent/kubeconfig` cannot be used"), "{}", reason.summary);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_brings_the_innermost_cause() {
        let reason = connect(TWO, None).await;
        assert_eq!(reason.kind, "k8s-unreachable");
        assert!(reason.summary.contains("Connection refused"), "{}", reason.summary);
        assert!(reason.summary.contains("context `real`"), "{}", reason.summary);
    }
}
