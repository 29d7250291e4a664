//! The same on a real API server, which knows what no script does: node ports, definitions of kinds, rights,
//! garbage collection. `tests/real/k8s.sh` starts one; each test has a namespace of its own there.
//!
//! 真实 API 服务上的测试；未设置 kubeconfig 时明确报告跳过。

use std::{
    future::Future,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use camino::Utf8PathBuf;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Node, Pod, Service},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind, NamespaceResourceScope},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use vllm_cibench::server::k8s::{Access, Launch, Settings, Waits, cleanup};

use super::{QUICK, Run, SERVER, texts};

const VARIABLE: &str = "VLLM_CIBENCH_TEST_KUBECONFIG";

/// A namespace on a real API server, with a node that stands for this machine.
pub(super) struct Real {
    pub(super) client: Client,
    pub(super) kubeconfig: Utf8PathBuf,
    /// Of the namespace, and of the node.
    pub(super) name: String,
    /// Where each pod that has run has its log, in a file of its name, which is whole once there is a file `NAME.over`.
    pub(super) logs: Arc<OnceLock<PathBuf>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Runs `test` where there is a real API server; else says that it did not.
pub(super) async fn on_a_real_server<F: Future<Output = Real>>(name: &str, test: impl FnOnce(Real) -> F) {
    let Ok(kubeconfig) = std::env::var(VARIABLE) else {
        // Straight to standard error: the macros' output is hidden where a test passes.
        let why = "is not set (tests/real/k8s.sh starts a server)";
        let line = format!("skipped: {name}: {VARIABLE} {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    let real = Real::new(kubeconfig.into(), &format!("{name}-{}", std::process::id())).await;
    test(real).await.end().await;
}

impl Real {
    async fn new(kubeconfig: Utf8PathBuf, name: &str) -> Self {
        let file = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let logs = Arc::default();
        let mut real = Self { client, kubeconfig, name: name.to_owned(), logs, tasks: Vec::new() };
        let port = real.kubelet().await;
        real.create(&Api::<Namespace>::all(real.client.clone()), json!({"metadata": {"name": name}})).await;
        let nodes: Api<Node> = Api::all(real.client.clone());
        real.create(&nodes, json!({"metadata": {"name": name}})).await;
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "",
                            "lastHeartbeatTime": null, "lastTransitionTime": null}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": {"kubeletVersion": "v0.0.0-none", "osImage": "", "kernelVersion": "", "machineID": "",
                         "systemUUID": "", "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "",
                         "operatingSystem": "linux", "architecture": "amd64"}
        }});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        real
    }

    async fn create<K>(&self, api: &Api<K>, object: Value)
    where
        K: serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
    {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    pub(super) fn api<K: Resource<Scope = NamespaceResourceScope>>(&self) -> Api<K>
    where
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    fn settings(&self, run: &Run, manifest: &str) -> Settings {
        Settings {
            manifest: Some(run.write("m.yaml", manifest)),
            namespace: self.name.clone(),
            access: Access { kubeconfig: Some(self.kubeconfig.clone()), context: None },
            waits: QUICK,
            ..Settings::new("vllm")
        }
    }

    /// Workloads, Services and pods that are left in the namespace.
    pub(super) async fn left(&self) -> Vec<String> {
        async fn names<K>(api: Api<K>) -> Vec<String>
        where
            K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
        {
            let all = api.list(&ListParams::default()).await.unwrap();
            all.items.into_iter().filter_map(|object| object.meta().name.clone()).collect()
        }
        let mut left = names(self.api::<Deployment>()).await;
        left.extend(names(self.api::<Service>()).await);
        left.extend(names(self.api::<Pod>()).await);
        left
    }

    /// Takes the finalizers off a Service.
    pub(super) async fn release(&self, service: &str) {
        let none = json!({"metadata": {"finalizers": null}});
        self.api::<Service>().patch(service, &PatchParams::default(), &Patch::Merge(none)).await.unwrap();
    }

    /// What the kubelet does for us: binds the first pod to our node, says that it runs, and removes pods that
    /// are to end.
    pub(super) async fn run_a_pod(&mut self) {
        let pods = self.api::<Pod>();
        let name = loop {
            let all = pods.list(&ListParams::default()).await.unwrap();
            if let Some(pod) = all.items.first() {
                break pod.metadata.name.clone().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                             "target": {"apiVersion": "v1", "kind": "Node", "name": self.name}});
        let bound = PostParams::default();
        pods.create_subresource::<_, Value>("binding", &name, &bound, &binding).await.unwrap();
        let status = json!({"status": {"phase": "Running", "hostIP": "127.0.0.1", "containerStatuses": [{
            "name": "vllm", "image": "vllm:0", "imageID": "x", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": null}}}]}});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        self.tasks.push(tokio::spawn(async move {
            loop {
                for pod in pods.list(&ListParams::default()).await.map(|all| all.items).unwrap_or_default() {
                    if pod.metadata.deletion_timestamp.is_some() {
                        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                        let _ = pods.delete(&pod.metadata.name.unwrap(), &now).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
    }

    /// Answers for the logs of any container, over TLS with the API server's own certificate.
    async fn kubelet(&mut self) -> u16 {
        let certs = self.kubeconfig.parent().unwrap().join("certs");
        let chain = CertificateDer::pem_file_iter(certs.join("apiserver.crt")).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(certs.join("apiserver.key")).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let logs = Arc::clone(&self.logs);
        self.tasks.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let Some(folder) = logs.get().cloned() else {
                    answer(stream, "Starting vLLM\n").await;
                    continue;
                };
                tokio::spawn(async move {
                    let head = head(&mut stream).await;
                    // GET /containerLogs/NAMESPACE/POD/CONTAINER?…
                    let pod = head.split('/').nth(3).unwrap_or_default().to_owned();
                    tell(stream, &folder.join(pod), head.contains("follow=true")).await;
                });
            }
        }));
        port
    }

    async fn end(self) {
        for task in &self.tasks {
            task.abort();
        }
        let background = DeleteParams::background();
        Api::<Node>::all(self.client.clone()).delete(&self.name, &background).await.unwrap();
        Api::<Namespace>::all(self.client.clone()).delete(&self.name, &background).await.unwrap();
    }
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Answers with what a file holds; to `follow` it: and will hold, until it is whole.
async fn tell(mut stream: impl AsyncWrite + Unpin, file: &std::path::Path, follow: bool) {
    let start = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(start).await;
    let (over, mut from) = (file.with_extension("over"), 0);
    loop {
        let whole = !follow || over.exists();
        let all = std::fs::read(file).unwrap_or_default();
        if stream.write_all(&all[from..]).await.is_err() || stream.flush().await.is_err() || whole {
            break;
        }
        from = all.len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = stream.shutdown().await;
}

/// Reads a request's head and answers 200 with `text`.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) {
    head(&mut stream).await;
    let length = text.len();
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What `GET path` on `address` gives, head and all.
async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_server_is_applied_reached_through_its_node_port_and_taken_down_with_its_logs_kept() {
    on_a_real_server("whole", |mut real| async move {
        let run = Run::new("whole");
        let mut launch = Launch::new(real.settings(&run, SERVER));
        let found = launch.start(&run.cx).await.unwrap();
        assert!(launch.version().unwrap().starts_with('v'), "{:?}", launch.version());

        let address = found.base_url.strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap().to_owned();
        assert!(address.starts_with("127.0.0.1:3"), "{address}");
        let listener = TcpListener::bind(&address).await.unwrap();
        let server = tokio::spawn(async move { answer(listener.accept().await.unwrap().0, "ok").await });
        assert!(get(&address, "/health").await.starts_with("HTTP/1.1 200"));
        server.await.unwrap();

        real.run_a_pod().await;
        let line = launch.look().await.unwrap();
        assert!(line.ends_with(" Running"), "{line}");

        assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
        assert_eq!((real.left().await, run.open()), (Vec::new(), 0));
        let kept: Vec<_> =
            std::fs::read_dir(run.path().join("k8s")).unwrap().map(|file| file.unwrap().path()).collect();
        let log = kept.iter().find(|path| path.to_string_lossy().ends_with(".vllm.log")).expect("a kept log");
        assert_eq!(std::fs::read_to_string(log).unwrap(), "Starting vLLM\n");
        let events = std::fs::read_to_string(run.path().join("k8s/events.txt")).unwrap();
        assert!(events.contains("ScalingReplicaSet Deployment vllm"), "{events}");
        real
    })
    .await;
}

#[tokio::test]
async fn a_definition_goes_in_with_its_object_and_comes_out_once_nobody_else_uses_it() {
    on_a_real_server("crd", |real| async move {
        let run = Run::new("crd");
        let group = format!("{}.example.com", real.name);
        let manifest = format!(
            "apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: t}}\nspec: {{any: thing}}\n---\napiVersion: \
             apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.{group}}}\nspec:\n  \
             group: {group}\n  scope: Namespaced\n  names: {{kind: Thing, plural: things, singular: thing}}\n  \
             versions:\n  - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema: {{type: \
             object, x-kubernetes-preserve-unknown-fields: true}}\n---\n{SERVER}"
        );
        let mut launch = Launch::new(real.settings(&run, &manifest));
        launch.start(&run.cx).await.unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Thing"));
        let things: Api<DynamicObject> = Api::namespaced_with(real.client.clone(), &real.name, &resource);
        assert_eq!(things.get("t").await.unwrap().data["spec"]["any"], "thing");
        real.create(
            &things,
            json!({"apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": {"name": "other"}}),
        )
        .await;
        let notes = launch.stop(&run.cx).await;
        assert_eq!(notes.len(), 1, "{notes:?}");
        let kept = format!("would delete what others have made of it: Thing {}/other", real.name);
        assert!(notes[0].text.ends_with(&kept), "{}", notes[0].text);
        assert_eq!((real.left().await, run.open()), (Vec::new(), 1));

        things.delete("other", &DeleteParams::default()).await.unwrap();
        let notes = cleanup(run.path(), QUICK, &|_| {}).await.unwrap();
        assert_eq!(texts(&notes), Vec::<&str>::new());
        assert_eq!((real.left().await, run.open()), (Vec::new(), 0));
        assert!(things.list(&ListParams::default()).await.is_err(), "the definition is gone as well");
        real
    })
    .await;
}

#[tokio::test]
async fn a_node_port_that_another_service_has_is_told_and_nothing_is_left() {
    on_a_real_server("clash", |real| async move {
        let run = Run::new("clash");
        let services = real.api::<Service>();
        let spec = json!({"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 1}]});
        real.create(&services, json!({"metadata": {"name": "first"}, "spec": spec})).await;
        let first = services.get("first").await.unwrap();
        let port = first.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
        let manifest = SERVER.replace("port: 8000}]\n", &format!("port: 8000, nodePort: {port}}}]\n"));
        let mut launch = Launch::new(real.settings(&run, &manifest));
        let reason = launch.start(&run.cx).await.unwrap_err();
        assert_eq!(reason.kind, "k8s-node-port");
        let begins = format!("node port {port} belongs to another Service already");
        assert!(reason.summary.starts_with(&begins), "{}", reason.summary);
        assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
        assert_eq!((real.left().await, run.open()), (vec!["first".to_owned()], 0));
        real
    })
    .await;
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_one_is_missing() {
    on_a_real_server("guest", |real| async move {
        let run = Run::new("guest");
        let mut settings = real.settings(&run, SERVER);
        settings.access.context = Some("guest".into());
        let mut launch = Launch::new(settings);
        let reason = launch.start(&run.cx).await.unwrap_err();
        assert_eq!(reason.kind, "k8s-forbidden");
        assert!(
            reason.summary.contains("context `guest` is not allowed to read Deployment"),
            "{}",
            reason.summary
        );
        assert!(reason.summary.contains("User \"guest\" cannot get resource"), "{}", reason.summary);
        launch.stop(&run.cx).await;
        assert_eq!((real.left().await, run.open()), (Vec::new(), 0));
        real
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_that_hangs_is_named_and_cleaned_up_later_from_the_ledger() {
    on_a_real_server("hold", |real| async move {
        let run = Run::new("hold");
        let held = "name: vllm, finalizers: [example.com/hold]";
        let manifest = SERVER
            .replace("kind: Service\nmetadata: {name: vllm", &format!("kind: Service\nmetadata: {{{held}"));
        let mut settings = real.settings(&run, &manifest);
        settings.waits = Waits { delete: Duration::from_secs(2), ..QUICK };
        let mut launch = Launch::new(settings);
        launch.start(&run.cx).await.unwrap();
        let notes = launch.stop(&run.cx).await;
        let named = format!("Service {}/vllm is still there", real.name);
        assert!(
            notes
                .iter()
                .any(|note| note.text.starts_with(&named) && note.text.contains("`example.com/hold`")),
            "{notes:?}"
        );
        assert!(run.open() >= 1);

        real.release("vllm").await;
        let notes = cleanup(run.path(), QUICK, &|_| {}).await.unwrap();
        assert_eq!(texts(&notes), Vec::<&str>::new());
        assert_eq!((real.left().await, run.open()), (Vec::new(), 0));
        real
    })
    .await;
}

#[tokio::test]
async fn a_run_that_was_killed_is_cleaned_up_from_its_ledger_and_what_is_others_stays() {
    on_a_real_server("killed", |real| async move {
        let run = Run::new("killed");
        let mut launch = Launch::new(real.settings(&run, SERVER));
        launch.start(&run.cx).await.unwrap();
        drop(launch);
        let services = real.api::<Service>();
        services.delete("vllm", &DeleteParams::background()).await.unwrap();
        let spec = json!({"selector": {"a": "b"}, "ports": [{"port": 1}]});
        real.create(&services, json!({"metadata": {"name": "vllm"}, "spec": spec})).await;
        let notes = cleanup(run.path(), QUICK, &|_| {}).await.unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].text.contains("was left alone: it does not carry the label"), "{}", notes[0].text);
        assert_eq!((real.left().await, run.open()), (vec!["vllm".to_owned()], 0));
        real
    })
    .await;
}

#[tokio::test]
async fn cancelling_in_mid_wait_leaves_nothing() {
    on_a_real_server("cancel", |real| async move {
        let run = Run::new("cancel");
        let mut launch = Launch::new(real.settings(&run, SERVER.split("---").next().unwrap()));
        let cancel = run.cx.cancel.clone();
        let lines = run.lines.clone();
        tokio::spawn(async move {
            while !lines.lock().unwrap().iter().any(|line| line.starts_with("waiting for Service")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
        });
        let reason = launch.start(&run.cx).await.unwrap_err();
        assert_eq!(reason.kind, "cancelled");
        assert_eq!(texts(&launch.stop(&run.cx).await), Vec::<&str>::new());
        assert_eq!((real.left().await, run.open()), (Vec::new(), 0));
        real
    })
    .await;
}
