//! A server that we start in a cluster: [`InCluster`], a [`k8s::Launch`](super::k8s::Launch) with what the
//! scenario says of it. Must not know when it is ready.
//!
//! 集群中启动的服务：场景设置 → Kubernetes 启动参数。

use serde_json::{Value, json};
use st_harness::{
    fixture::StartCx,
    verdict::{Note, Reason},
};

use super::k8s::{self, Access, Endpoint, Launch, Serving, Told, Waits};
use crate::config::{self, K8sMode, Mode, Readiness, Roles, Settings};

/// A server that is deployed, before, while and after it runs.
pub(super) struct InCluster {
    launch: Launch,
    /// Where it is reached, where that is not its node port.
    base_url: Option<String>,
    endpoint: Option<Endpoint>,
    serving: Serving,
}

impl InCluster {
    /// Nothing is touched yet.
    ///
    /// # Errors
    /// When `settings` are not those of a cluster.
    pub(super) fn new(settings: &Settings) -> Result<Self, Reason> {
        let (Mode::K8s(mode), Some(files)) = (&settings.scenario.mode, &settings.cluster) else {
            let text = format!("the scenario `{}` starts nothing in a cluster", settings.scenario.name);
            return Err(Reason::new("k8s-config", text));
        };
        let launch = Launch::new(asked(mode, files, &settings.scenario.readiness));
        let base_url = settings.endpoint.base_url.as_ref().map(|url| url.as_str().to_owned());
        Ok(Self { launch, base_url, endpoint: None, serving: Serving::default() })
    }

    /// Deploys it and gives its base URL.
    ///
    /// # Errors
    /// See [`Launch::start`].
    pub(super) async fn start(&mut self, cx: &StartCx) -> Result<String, Reason> {
        if let Some(base_url) = &self.base_url {
            self.launch.deploy(None, cx).await?;
            return Ok(base_url.clone());
        }
        let endpoint = self.launch.start(cx).await?;
        let base_url = endpoint.base_url.clone();
        self.endpoint = Some(endpoint);
        Ok(base_url)
    }

    /// Waits for `ready` with an eye on the pods: pods that died for good end the wait, and a wait in vain says
    /// how they stood.
    pub(super) async fn beside<T>(
        &mut self,
        cx: &StartCx,
        ready: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        let mut told = Told::default();
        let ended = tokio::select! {
            ended = ready => ended,
            death = self.launch.death(cx, &mut told) => return Err(death),
        };
        ended.map_err(|mut reason| {
            if let Some(line) = told.last() {
                reason.detail += &format!("\nThe cluster at last: {line}");
            }
            reason
        })
    }

    /// Looks at what serves, once it is ready.
    pub(super) async fn observe(&mut self) {
        self.serving = self.launch.serving().await;
    }

    /// For the record.
    pub(super) fn effective(&self) -> Value {
        json!({
            "version": self.launch.version(),
            "alternatives": self.endpoint.as_ref().map(|endpoint| &endpoint.alternatives),
            "images": self.serving.images,
            "nodes": self.serving.nodes,
        })
    }

    /// What the manifest starts the server with.
    pub(super) fn command(&self) -> &[String] {
        &self.serving.command
    }

    /// The beginning of its log.
    pub(super) fn first_lines(&self) -> Option<&str> {
        self.serving.log.as_deref()
    }

    /// What a reader should know of how it came to be.
    pub(super) fn notes(&self) -> Vec<Note> {
        let found = self.endpoint.iter().flat_map(|endpoint| &endpoint.notes);
        self.launch.notes().iter().chain(found).cloned().collect()
    }

    /// Keeps its logs and takes it down.
    pub(super) async fn stop(mut self, cx: &StartCx) -> Vec<Note> {
        self.launch.stop(cx).await
    }
}

/// What the scenario asks of the cluster. Nothing is waited for longer than it allows for readiness.
fn asked(mode: &K8sMode, files: &config::InCluster, readiness: &Readiness) -> k8s::Settings {
    let usual = Waits::default();
    k8s::Settings {
        manifest: files.manifest.clone(),
        delete_manifest: files.delete_manifest.clone(),
        port_name: mode.port_name.clone(),
        node_port: mode.node_port,
        node_address: mode.node_address.clone(),
        scheme: readiness.scheme.as_str(),
        namespace: mode.namespace.clone(),
        access: Access { kubeconfig: files.kubeconfig.clone(), context: mode.context.clone() },
        pods: mode.roles.iter().flat_map(selectors).collect(),
        waits: Waits { service: usual.service.min(readiness.timeout), ..usual },
        ..k8s::Settings::new(&mode.service_name)
    }
}

/// The label selectors of the roles that have one.
fn selectors(roles: &Roles) -> Vec<String> {
    let all = [&roles.scheduler, &roles.prefill, &roles.decode];
    all.iter().filter_map(|role| role.selector.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use st_harness::capability::Catalogue;

    use super::*;
    use crate::config::{Environment, Flags};

    const PD: &str = "mode: k8s-pd
k8s:
  manifest: deploy.yaml
  delete_manifest: delete.yaml
  service_name: infer
  port_name: api
  node_port: 30090
  node_address: 10.0.0.4
  namespace: llm
  context: mine
pd:
  scheduler: {}
  prefill: {replicas: 2, selector: role=prefill}
  decode: {selector: role=decode}
readiness: {timeout: 90s, scheme: https}
";

    fn settings(environment: &[(&str, &str)]) -> (tempfile::TempDir, Settings) {
        let dir = tempfile::tempdir().expect("a folder");
        let scenarios = dir.path().join("configs/scenarios");
        std::fs::create_dir_all(&scenarios).expect("a folder");
        std::fs::write(scenarios.join("pd.yaml"), PD).expect("a file");
        for name in ["deploy.yaml", "delete.yaml"] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        let all = environment.iter().copied().chain([("VLLM_CIBENCH_SCENARIO", "pd")]);
        let root = camino::Utf8Path::from_path(dir.path()).expect("a UTF-8 path");
        let settings =
            Settings::resolve(&Flags::default(), &Environment::from_pairs(all), root, &Catalogue::default());
        let settings = settings.expect("settings without a mistake");
        (dir, settings)
    }

    #[test]
    fn all_that_a_scenario_says_of_its_cluster_is_asked_of_it() {
        let (dir, settings) = settings(&[]);
        let (Mode::K8s(mode), Some(files)) = (&settings.scenario.mode, &settings.cluster) else {
            panic!("not in a cluster: {settings:?}");
        };
        let file = |name: &str| camino::Utf8Path::from_path(dir.path()).map(|root| root.join(name));
        let expected = k8s::Settings {
            manifest: file("deploy.yaml"),
            delete_manifest: file("delete.yaml"),
            service_name: "infer".into(),
            port_name: "api".into(),
            node_port: Some(30090),
            node_address: Some("10.0.0.4".into()),
            scheme: "https",
            namespace: "llm".into(),
            access: Access { kubeconfig: None, context: Some("mine".into()) },
            pods: vec!["role=prefill".into(), "role=decode".into()],
            existing: k8s::Existing::Refuse,
            waits: Waits { service: Duration::from_secs(90), ..Waits::default() },
        };
        assert_eq!(asked(mode, files, &settings.scenario.readiness), expected);
    }

    #[test]
    fn what_runs_already_is_not_deployed() {
        let (_dir, settings) = settings(&[("VLLM_CIBENCH_BASE_URL", "http://10.0.0.4:30090/v1")]);
        assert_eq!(settings.cluster, None);
        assert_eq!(InCluster::new(&settings).err().map(|reason| reason.kind).as_deref(), Some("k8s-config"));
    }
}
