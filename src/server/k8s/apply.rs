//! Brings a manifest's objects into the cluster: [`apply`] writes each into the ledger, marks it with the run,
//! and hands it to server-side apply. Must not know what the objects are for.
//!
//! 部署：先记账，再以服务端 apply 创建，并打上运行标签。

use kube::{
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use st_harness::{
    fixture::StartCx,
    verdict::{Note, Reason},
};
use tokio::time::Instant;

use super::{
    Existing,
    cluster::{Cluster, Kind},
    failure::Failure,
    manifest::{Manifest, Object},
    note,
};
use crate::server::ledger::{K8sObject, Ledger, Resource, State};

/// Who owns the fields that are applied, as `kubectl get -o yaml --show-managed-fields` shows it.
pub const FIELD_MANAGER: &str = "vllm-cibench";

/// The label that every object of a run carries: what a lost ledger cannot tell, `kubectl get -l` can.
pub const RUN_LABEL: &str = "vllm-cibench/run-id";

/// An object that is in the cluster because of a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) gvk: GroupVersionKind,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    /// As the server has it.
    pub(crate) body: Value,
}

/// Where objects go and what becomes of those that are there already.
pub(crate) struct Site<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) ledger: &'a Ledger,
    /// For objects that name none.
    pub(crate) namespace: &'a str,
    pub(crate) existing: Existing,
}

/// What applying has brought about so far; filled as it goes, so that a failure leaves what was done.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) objects: Vec<Live>,
    pub(crate) notes: Vec<Note>,
}

/// Applies `manifest` in order. Conflicts over fields are forced: an object is either new, of this run, or one
/// that the caller asked to update ([`Existing::Update`]), so the manifest is right in each case.
///
/// # Errors
/// At the first object that cannot be applied.
pub(crate) async fn apply(
    site: &Site<'_>,
    manifest: &Manifest,
    cx: &StartCx,
    applied: &mut Applied,
) -> Result<(), Reason> {
    for object in &manifest.objects {
        if cx.cancel.is_cancelled() {
            return Err(Reason::new(
                "cancelled",
                format!("cancelled before {} was applied", told(object, None)),
            ));
        }
        let one = one(site, manifest, object, cx, applied).await;
        one.map_err(|reason| reason.at(object.place.clone()))?;
    }
    Ok(())
}

async fn one(
    site: &Site<'_>,
    manifest: &Manifest,
    object: &Object,
    cx: &StartCx,
    applied: &mut Applied,
) -> Result<(), Reason> {
    let kind = kind(site.cluster, manifest, object, cx).await?;
    let namespace = kind.namespaced.then(|| object.namespace.as_deref().unwrap_or(site.namespace));
    let what = told(object, namespace);
    let api = site.cluster.objects(&kind, namespace);
    let there = site.cluster.call(&format!("read {what}"), || api.get_opt(&object.name)).await?;
    let claim = claim(site.existing, object, &what, there.as_ref(), &cx.run_id)?;
    let live = match claim {
        Claim::Keep => {
            applied.notes.push(note("k8s-kept", format!("{what} was there before, and stays as it is")));
            (cx.progress)(&format!("{what} is there already"));
            there.unwrap_or_else(|| DynamicObject::new(&object.name, &kind.resource))
        }
        Claim::Ours | Claim::Update => {
            let ours = claim == Claim::Ours;
            let body = body(object, namespace, ours.then_some(&cx.run_id));
            let mut resource = resource(site.cluster, object, namespace);
            if ours {
                record(site.ledger, &cx.run_id, State::Planned, &resource)?;
            } else {
                let text = format!("{what} was there before: it was updated, and stays when the run is over");
                applied.notes.push(note("k8s-updated", text));
            }
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patch = Patch::Apply(&body);
            let made = site
                .cluster
                .call(&format!("apply {what}"), || api.patch(&object.name, &params, &patch))
                .await
                .map_err(|failure| no_namespace(failure, namespace))?;
            resource.uid.clone_from(&made.metadata.uid);
            if ours {
                record(site.ledger, &cx.run_id, State::Created, &resource)?;
            }
            (cx.progress)(&format!("applied {what}"));
            made
        }
    };
    if object.defines_a_kind() {
        established(site.cluster, &kind, object, cx).await?;
    }
    applied.objects.push(Live {
        gvk: object.gvk.clone(),
        namespace: namespace.map(str::to_owned),
        name: object.name.clone(),
        uid: live.metadata.uid.clone(),
        body: serde_json::to_value(&live).unwrap_or_default(),
    });
    Ok(())
}

/// What to do about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It is new, or was ours before: apply it, and remove it in the end.
    Ours,
    /// It is somebody else's and the caller wants it updated: apply it, and leave it in the end.
    Update,
    /// It is shared set-up that is there already: leave it alone.
    Keep,
}

fn claim(
    existing: Existing,
    object: &Object,
    what: &str,
    there: Option<&DynamicObject>,
    run_id: &str,
) -> Result<Claim, Reason> {
    let Some(there) = there else { return Ok(Claim::Ours) };
    let run = there.metadata.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL));
    if there.metadata.deletion_timestamp.is_some() {
        let finalizers = there.metadata.finalizers.clone().unwrap_or_default().join("`, `");
        let why = if finalizers.is_empty() { String::new() } else { format!(" (finalizers `{finalizers}`)") };
        return Err(Reason::new(
            "k8s-exists",
            format!("{what} is still being deleted{why}; wait until it is gone and start again"),
        ));
    }
    match (run, existing) {
        (Some(run), _) if *run == label_value(run_id) => Ok(Claim::Ours),
        _ if object.is_shared() => Ok(Claim::Keep),
        (Some(_), Existing::Update) => Ok(Claim::Ours),
        (None, Existing::Update) => Ok(Claim::Update),
        (Some(run), Existing::Refuse) => Err(Reason::new(
            "k8s-exists",
            format!(
                "{what} was left by run {run}; `vllm-cibench cleanup --run` on that run's folder, or `kubectl \
                 delete`, removes it"
            ),
        )),
        (None, Existing::Refuse) => Err(Reason::new(
            "k8s-exists",
            format!(
                "{what} is there already and is not of this run, which would delete it in the end; delete it \
                 first, or give it another name"
            ),
        )),
    }
}

/// What is sent: the manifest's object with its namespace, and with the run's label where it is ours.
fn body(object: &Object, namespace: Option<&str>, run_id: Option<&String>) -> Value {
    let mut body = object.body.clone();
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return body };
    match namespace {
        Some(namespace) => metadata.insert("namespace".to_owned(), json!(namespace)),
        None => metadata.shift_remove("namespace"),
    };
    if let Some(run_id) = run_id {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if labels.is_null() {
            *labels = json!({});
        }
        labels[RUN_LABEL] = json!(label_value(run_id));
    }
    body
}

/// A run's id in the letters that a label's value may have.
pub(crate) fn label_value(run_id: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let text: String = run_id.chars().take(63).map(legal).collect();
    text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

fn resource(cluster: &Cluster, object: &Object, namespace: Option<&str>) -> K8sObject {
    let access = cluster.access();
    K8sObject {
        api_version: object.gvk.api_version(),
        kind: object.gvk.kind.clone(),
        namespace: namespace.map(str::to_owned),
        name: object.name.clone(),
        uid: None,
        kubeconfig: access.kubeconfig.clone(),
        context: access.context.clone(),
    }
}

fn record(ledger: &Ledger, run_id: &str, state: State, object: &K8sObject) -> Result<(), Reason> {
    ledger
        .write(run_id, state, &Resource::K8s(object.clone()))
        .map_err(|error| Reason::new("ledger", error.to_string()))
}

/// What the server calls the object's kind. One that this manifest defines may take a moment to appear.
async fn kind(cluster: &Cluster, manifest: &Manifest, object: &Object, cx: &StartCx) -> Result<Kind, Reason> {
    let deadline = Instant::now() + cluster.waits().established;
    let defined_here = manifest.objects.iter().any(|other| {
        other.defines_a_kind()
            && other.body["spec"]["group"] == object.gvk.group.as_str()
            && other.body["spec"]["names"]["kind"] == object.gvk.kind.as_str()
    });
    loop {
        if let Some(kind) = cluster.kind(&object.gvk).await? {
            return Ok(kind);
        }
        if !defined_here || Instant::now() >= deadline {
            let api_version = object.gvk.api_version();
            return Err(Reason::new(
                "k8s-kind",
                format!(
                    "the cluster does not know the kind {} of {api_version}: install the operator that brings it, \
                     put its CustomResourceDefinition into the manifest, or correct `apiVersion`",
                    object.gvk.kind
                ),
            ));
        }
        pause(cluster, cx, || format!("the kind {} to be served", object.gvk.kind)).await?;
    }
}

/// Waits until a definition of a kind is in force.
async fn established(cluster: &Cluster, kind: &Kind, object: &Object, cx: &StartCx) -> Result<(), Reason> {
    let api = cluster.objects(kind, None);
    let deadline = Instant::now() + cluster.waits().established;
    let doing = format!("read CustomResourceDefinition {}", object.name);
    loop {
        let seen = cluster.call(&doing, || api.get(&object.name)).await?;
        let conditions = seen.data.pointer("/status/conditions").and_then(Value::as_array);
        let of = |name: &str| conditions.into_iter().flatten().find(|one| one["type"] == name);
        if of("Established").is_some_and(|one| one["status"] == "True") {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let why =
                of("NamesAccepted").and_then(|one| one["message"].as_str()).unwrap_or("no reason given");
            return Err(Reason::new(
                "k8s-kind",
                format!(
                    "CustomResourceDefinition {} was not established within {} s: {why}",
                    object.name,
                    cluster.waits().established.as_secs_f64()
                ),
            ));
        }
        pause(cluster, cx, || format!("CustomResourceDefinition {} to be established", object.name)).await?;
    }
}

/// Waits for the next look, unless the run is cancelled. `what` is what is waited for.
pub(crate) async fn pause(cluster: &Cluster, cx: &StartCx, what: impl Fn() -> String) -> Result<(), Reason> {
    tokio::select! {
        () = cx.cancel.cancelled() => {
            Err(Reason::new("cancelled", format!("cancelled while waiting for {}", what())))
        }
        () = tokio::time::sleep(cluster.waits().poll) => Ok(()),
    }
}

fn no_namespace(failure: Failure, namespace: Option<&str>) -> Failure {
    match namespace {
        Some(namespace) if failure.is_not_found() && failure.summary.contains("namespaces \"") => Failure {
            summary: format!(
                "there is no namespace `{namespace}`: create it, or put a Namespace object into the manifest"
            ),
            ..failure
        },
        _ => failure,
    }
}

/// `Service default/vllm`.
fn told(object: &Object, namespace: Option<&str>) -> String {
    name(&object.gvk.kind, namespace.or(object.namespace.as_deref()), &object.name)
}

/// `Service default/vllm`, or `Namespace vllm`.
pub(crate) fn name(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn object(kind: &str) -> Object {
        let api = if kind == "CustomResourceDefinition" { "apiextensions.k8s.io/v1" } else { "v1" };
        let text = format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: o, labels: {{app: x}}}}\n");
        Manifest::parse(Utf8Path::new("m.yaml"), &text).unwrap().objects.remove(0)
    }

    fn there(run: Option<&str>) -> DynamicObject {
        let labels = run.map_or(json!({}), |run| json!({RUN_LABEL: run}));
        serde_json::from_value(json!({"metadata": {"name": "o", "labels": labels}})).unwrap()
    }

    #[test]
    fn only_what_is_new_or_of_this_run_is_claimed() {
        let claimed = |kind, existing, run: Option<Option<&str>>| {
            let there = run.map(there);
            claim(existing, &object(kind), "o", there.as_ref(), "r1").map_err(|reason| reason.kind)
        };
        let exists = || Err("k8s-exists".to_owned());
        for (existing, foreign, old) in
            [(Existing::Refuse, exists(), exists()), (Existing::Update, Ok(Claim::Update), Ok(Claim::Ours))]
        {
            assert_eq!(claimed("Service", existing, None), Ok(Claim::Ours));
            assert_eq!(claimed("Service", existing, Some(Some("r1"))), Ok(Claim::Ours));
            assert_eq!(claimed("Service", existing, Some(None)), foreign);
            assert_eq!(claimed("Service", existing, Some(Some("r0"))), old);
            assert_eq!(claimed("CustomResourceDefinition", existing, Some(None)), Ok(Claim::Keep));
            assert_eq!(claimed("Namespace", existing, Some(Some("r0"))), Ok(Claim::Keep));
        }
    }

    #[test]
    fn what_is_being_deleted_is_not_applied_over() {
        let mut dying = there(Some("r1"));
        dying.metadata.finalizers = Some(vec!["x.y/hold".into()]);
        let mut value = serde_json::to_value(&dying).unwrap();
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let dying = serde_json::from_value(value).unwrap();
        let reason =
            claim(Existing::Update, &object("Service"), "Service n/o", Some(&dying), "r1").unwrap_err();
        assert!(reason.summary.contains("still being deleted (finalizers `x.y/hold`)"), "{}", reason.summary);
    }

    #[test]
    fn the_runs_label_joins_those_of_the_manifest() {
        let sent = body(&object("Service"), Some("n"), Some(&"r1".to_owned()));
        assert_eq!(sent["metadata"]["labels"], json!({"app": "x", RUN_LABEL: "r1"}));
        assert_eq!(sent["metadata"]["namespace"], "n");
        let foreign = body(&object("Service"), Some("n"), None);
        assert_eq!(foreign["metadata"]["labels"], json!({"app": "x"}));
    }

    #[test]
    fn a_label_takes_the_letters_that_it_may_have() {
        assert_eq!(label_value("0199-ab"), "0199-ab");
        assert_eq!(label_value("_run/7:x_"), "run-7-x");
        assert_eq!(label_value(&"x".repeat(80)).len(), 63);
    }
}
