//! A cluster on paper: [`Paper`] keeps objects by their paths, answers like an API server, and fails where a
//! test has written so. Must not know the code under test.
//!
//! 纸面集群：按路径保存对象，并可按脚本失败。

use std::{
    collections::BTreeMap,
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
                vec![resource("services", "Service", true), resource("namespaces", "Namespace", false)],
            ),
            "/apis/apps/v1" => list("apps/v1", vec![resource("deployments", "Deployment", true)]),
            "/apis/apiextensions.k8s.io/v1" => list(
                "apiextensions.k8s.io/v1",
                vec![resource("customresourcedefinitions", "CustomResourceDefinition", false)],
            ),
            "/apis/x.y/v1" if self.objects.keys().any(|path| path.ends_with("/things.x.y")) => {
                list("x.y/v1", vec![resource("things", "Thing", true)])
            }
            _ if ["pods", "events", "nodes"].iter().any(|plural| path.ends_with(plural)) => {
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
        self.objects.remove(path);
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
