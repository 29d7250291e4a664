//! A cluster on paper: [`Paper`] keeps objects by their paths, answers like an API server, and fails where a
//! test has written so. Must not know the code under test.
//!
//! 纸面集群：按路径保存对象，并可按脚本失败。

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
use kube::Client;
use serde_json::{Value, json};
use vllm_cibench::server::k8s::{Access, Cluster, Waits};

/// What a rule answers.
#[derive(Clone)]
pub(super) enum Reply {
    /// As the API does when it refuses.
    Refuse(u16, &'static str),
    /// Anything else.
    Text(u16, String),
    /// Nothing, ever.
    Hang,
}

/// What can be asked for all of its kind.
const LISTED: [&str; 6] = ["/pods", "/events", "/nodes", "/jobs", "/configmaps", "/secrets"];

struct Rule {
    method: &'static str,
    part: &'static str,
    left: usize,
    reply: Reply,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    rules: Vec<Rule>,
    seen: Vec<String>,
    uids: u32,
    /// It knows no indexed Jobs.
    old: bool,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<State>>);

impl Paper {
    /// With one node that is Ready at 10.0.0.1.
    pub(super) fn new() -> Self {
        let paper = Self::default();
        paper.put(
            "/api/v1/nodes/a",
            json!({"metadata": {"name": "a"}, "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]
            }}),
        );
        paper
    }

    /// The next `times` requests with this method and this part in their path and query get `reply`.
    pub(super) fn rule(&self, method: &'static str, part: &'static str, times: usize, reply: Reply) {
        self.0.lock().unwrap().rules.push(Rule { method, part, left: times, reply });
    }

    /// An object that is there already.
    pub(super) fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// As before Kubernetes 1.22: what is indexed about a Job is dropped without a word.
    pub(super) fn is_old(&self) {
        self.0.lock().unwrap().old = true;
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    pub(super) fn remove(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    /// Every path of an object, nodes left out.
    pub(super) fn paths(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.objects.keys().filter(|path| !path.starts_with("/api/v1/nodes")).cloned().collect()
    }

    /// The requests with this method, as `METHOD path`, in order.
    pub(super) fn seen(&self, method: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.seen.iter().filter(|line| line.starts_with(method)).cloned().collect()
    }

    pub(super) async fn cluster(&self, waits: Waits) -> Cluster {
        let access = Access { kubeconfig: None, context: Some("paper".into()) };
        Cluster::with_client(self.client(), access, waits).await.unwrap()
    }

    pub(super) fn client(&self) -> Client {
        let paper = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let paper = paper.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = to_bytes(Body::new(body), usize::MAX).await.unwrap();
                let uri = parts.uri.to_string();
                let reply = paper.answer(parts.method.as_str(), &uri, &bytes);
                let (code, text) = match reply {
                    Reply::Hang => std::future::pending().await,
                    Reply::Text(code, text) => (code, text),
                    Reply::Refuse(code, message) => (code, status(code, message).to_string()),
                };
                Ok::<_, std::io::Error>(Response::builder().status(code).body(Body::from(text)).unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// The same on a port of this machine, for a command of its own; `logs` has the log of each pod in a file of its
    /// name. Its address.
    pub(super) async fn serve(&self, logs: PathBuf) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let paper = self.clone();
        let hear = move |request: Request<Body>| {
            let (paper, logs) = (paper.clone(), logs.clone());
            async move { paper.heard(request, logs).await }
        };
        let app = axum::Router::new().fallback(hear);
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    async fn heard(self, request: Request<Body>, logs: PathBuf) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let pod = parts.uri.path().strip_suffix("/log").map(str::to_owned);
        if let Some(pod) = pod.filter(|pod| self.get(pod).is_some()) {
            let log = logs.join(pod.rsplit('/').next().unwrap());
            let follow = parts.uri.query().is_some_and(|query| query.contains("follow=true"));
            return Response::builder().status(200).body(self.log(pod, log, follow)).unwrap();
        }
        match self.answer(parts.method.as_str(), &parts.uri.to_string(), &bytes) {
            Reply::Hang => std::future::pending().await,
            Reply::Text(code, text) => Response::builder().status(code).body(Body::from(text)).unwrap(),
            Reply::Refuse(code, message) => {
                Response::builder().status(code).body(Body::from(status(code, message).to_string())).unwrap()
            }
        }
    }

    /// What a pod has written; to `follow` it: and writes, until it is over or gone.
    fn log(self, pod: String, file: PathBuf, follow: bool) -> Body {
        let lines = futures_util::stream::unfold(0, move |from| {
            let (paper, pod, file) = (self.clone(), pod.clone(), file.clone());
            async move {
                loop {
                    let over = !follow
                        || paper.get(&pod).is_none_or(|pod| {
                            matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
                        });
                    let all = std::fs::read(&file).unwrap_or_default();
                    if all.len() > from {
                        return Some((Ok::<_, std::io::Error>(all[from..].to_vec()), all.len()));
                    }
                    if over {
                        return None;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        });
        Body::from_stream(lines)
    }

    fn answer(&self, method: &str, uri: &str, body: &[u8]) -> Reply {
        let mut state = self.0.lock().unwrap();
        let path = uri.split('?').next().unwrap_or(uri).to_owned();
        state.seen.push(format!("{method} {path}"));
        let rule = state
            .rules
            .iter_mut()
            .find(|rule| rule.left > 0 && rule.method == method && uri.contains(rule.part));
        if let Some(rule) = rule {
            rule.left -= 1;
            return rule.reply.clone();
        }
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        match method {
            "GET" => state.read(&path),
            "POST" => state.create(&path, body),
            "PATCH" if path.contains("/pods/") => state.change(&path, &body),
            "PATCH" => state.apply(path, body),
            "DELETE" => state.delete(&path, &body),
            _ => Reply::Refuse(405, "method not allowed"),
        }
    }
}

impl State {
    fn read(&self, path: &str) -> Reply {
        if let Some(object) = self.objects.get(path) {
            return ok(object);
        }
        let resource = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "kind": kind, "namespaced": namespaced, "singularName": "", "verbs": ["get"]});
        let list = |group: &str, resources: Vec<Value>| {
            ok(&json!({"kind": "APIResourceList", "groupVersion": group, "resources": resources}))
        };
        match path {
            "/version" => ok(&json!({
                "major": "1", "minor": "20", "gitVersion": "v1.20.2", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""
            })),
            "/api/v1" => list(
                "v1",
                vec![
                    resource("services", "Service", true),
                    resource("namespaces", "Namespace", false),
                    resource("configmaps", "ConfigMap", true),
                    resource("secrets", "Secret", true),
                ],
            ),
            "/apis/batch/v1" => list("batch/v1", vec![resource("jobs", "Job", true)]),
            "/apis/apps/v1" => list("apps/v1", vec![resource("deployments", "Deployment", true)]),
            "/apis/apiextensions.k8s.io/v1" => list(
                "apiextensions.k8s.io/v1",
                vec![resource("customresourcedefinitions", "CustomResourceDefinition", false)],
            ),
            "/apis/x.y/v1" if self.objects.keys().any(|path| path.ends_with("/things.x.y")) => {
                list("x.y/v1", vec![resource("things", "Thing", true)])
            }
            _ if LISTED.iter().any(|plural| path.ends_with(plural)) => {
                let inside = format!("{path}/");
                let items: Vec<_> = self
                    .objects
                    .iter()
                    .filter(|(path, _)| path.starts_with(&inside))
                    .map(|(_, object)| object)
                    .collect();
                ok(&json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
            _ => Reply::Refuse(404, "not found"),
        }
    }

    fn apply(&mut self, path: String, mut body: Value) -> Reply {
        self.uids += 1;
        let fresh = json!(format!("uid-{}", self.uids));
        let uid = self.objects.get(&path).map_or(fresh, |there| there["metadata"]["uid"].clone());
        body["metadata"]["uid"] = uid;
        if body["kind"] == "CustomResourceDefinition" {
            body["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        }
        if body["kind"] == "Service" {
            body["spec"]["ports"][0]["nodePort"] = json!(30090);
        }
        self.objects.insert(path, body.clone());
        ok(&body)
    }

    fn create(&mut self, collection: &str, mut body: Value) -> Reply {
        let path = format!("{collection}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&path) {
            return Reply::Refuse(409, "already exists");
        }
        self.uids += 1;
        body["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        if path.contains("/jobs/") {
            self.run(&mut body);
        }
        self.objects.insert(path, body.clone());
        Reply::Text(201, body.to_string())
    }

    /// What the controller of Jobs does: all pods at once.
    fn run(&mut self, job: &mut Value) {
        if self.old {
            job["spec"].as_object_mut().unwrap().remove("completionMode");
        }
        let (template, name) = (job["spec"]["template"].clone(), job["metadata"]["name"].as_str().unwrap());
        for index in 0..job["spec"]["completions"].as_u64().unwrap() {
            let pod = format!("{name}-{index}-abcde");
            let mut spec = template["spec"].clone();
            spec["nodeName"] = json!("a");
            let indexed = job["spec"]["completionMode"] == "Indexed";
            let numbered = json!({"batch.kubernetes.io/job-completion-index": index.to_string()});
            let object = json!({
                "metadata": {"name": pod, "namespace": job["metadata"]["namespace"], "uid": format!("uid-of-{pod}"),
                             "labels": template["metadata"]["labels"],
                             "annotations": if indexed { numbered } else { json!({}) }},
                "spec": spec, "status": {"phase": "Pending"},
            });
            let namespace = job["metadata"]["namespace"].as_str().unwrap();
            self.objects.insert(format!("/api/v1/namespaces/{namespace}/pods/{pod}"), object);
        }
    }

    /// A pod's annotations, or its status.
    fn change(&mut self, path: &str, body: &Value) -> Reply {
        let path = path.strip_suffix("/status").unwrap_or(path);
        let Some(object) = self.objects.get_mut(path) else { return Reply::Refuse(404, "not found") };
        for (name, value) in body["metadata"]["annotations"].as_object().into_iter().flatten() {
            object["metadata"]["annotations"][name] = value.clone();
        }
        if let Some(status) = body.get("status") {
            object["status"] = status.clone();
        }
        ok(object)
    }

    fn delete(&mut self, path: &str, options: &Value) -> Reply {
        let Some(object) = self.objects.get_mut(path) else { return Reply::Refuse(404, "not found") };
        if options["propagationPolicy"] != "Foreground" {
            return Reply::Refuse(400, "this cluster deletes in the foreground only");
        }
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return Reply::Refuse(409, "the UID in the precondition does not match");
        }
        if object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()) {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            return ok(object);
        }
        let label = object["metadata"]["labels"]["vllm-cibench/job"].clone();
        self.objects.remove(path);
        if path.contains("/jobs/") {
            // What its garbage collector does.
            self.objects.retain(|path, object| {
                !path.contains("/pods/") || object["metadata"]["labels"]["vllm-cibench/job"] != label
            });
        }
        ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }
}

fn ok(value: &Value) -> Reply {
    Reply::Text(200, value.to_string())
}

fn status(code: u16, message: &str) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Scripted" };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code,
           "reason": reason})
}
