//! Takes objects out of the cluster again: [`remove`] deletes in the given order, waits until each is gone,
//! and says of each what became of it. Must not know why they were there.
//!
//! 删除：前台级联、等待消失、说明卡住的原因。

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Preconditions, PropagationPolicy},
    core::GroupVersionKind,
};
use serde_json::Value;
use st_harness::verdict::{Note, Reason};
use tokio::time::Instant;

use super::{
    apply::{RUN_LABEL, label_value, name},
    cluster::Cluster,
    note,
};

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) gvk: GroupVersionKind,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) claim: Claim,
}

/// By what right an object is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The user named it in a manifest of what to delete.
    Named,
    /// A run created it: it must carry the run's label and, where known, the same uid.
    Run { run_id: String, uid: Option<String> },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is not there (any more).
    Gone,
    /// It is there under the same name, but is somebody else's now.
    NotOurs(String),
    /// It was deleted and is still there at the deadline.
    Hanging(String),
    /// It could not be deleted.
    Refused(Reason),
}

impl Outcome {
    /// What a reader must know; nothing where all went well.
    pub(crate) fn note(&self) -> Option<Note> {
        match self {
            Self::Gone => None,
            Self::NotOurs(text) => Some(note("k8s-not-ours", text.clone())),
            Self::Hanging(text) => Some(note("k8s-left", text.clone())),
            Self::Refused(reason) => Some(note("k8s-left", reason.summary.clone())),
        }
    }

    /// Whether it need not be remembered any longer.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Gone | Self::NotOurs(_))
    }
}

/// Deletes `targets` in order, each waited for, all together no longer than [`Waits::delete`]: past that, the
/// rest is deleted without waiting. Owners go before what they own does: a model server's devices are free
/// only when its pods have gone, and foreground deletion waits for them.
///
/// [`Waits::delete`]: super::Waits::delete
pub(crate) async fn remove(
    cluster: &Cluster,
    targets: &[Target],
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Vec<Outcome> {
    let deadline = Instant::now() + cluster.waits().delete;
    let mut outcomes = Vec::with_capacity(targets.len());
    for target in targets {
        let outcome = one(cluster, target, deadline, progress).await;
        outcomes.push(outcome.unwrap_or_else(Outcome::Refused));
    }
    outcomes
}

async fn one(
    cluster: &Cluster,
    target: &Target,
    deadline: Instant,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Outcome, Reason> {
    let what = name(&target.gvk.kind, target.namespace.as_deref(), &target.name);
    let Some(kind) = cluster.kind(&target.gvk).await? else { return Ok(Outcome::Gone) };
    let api = cluster.objects(&kind, target.namespace.as_deref());
    let read = format!("read {what}");
    let Some(there) = cluster.call(&read, || api.get_opt(&target.name)).await? else {
        return Ok(Outcome::Gone);
    };
    if let Err(why) = target.claim.covers(&there) {
        return Ok(Outcome::NotOurs(format!("{what} was left alone: {why}")));
    }
    if let Claim::Run { run_id, .. } = &target.claim
        && let Some(others) = others(cluster, target, &there, run_id).await?
    {
        return Ok(Outcome::Refused(Reason::new("k8s-shared", others)));
    }
    let uid = there.metadata.uid.clone();
    progress(&format!("deleting {what}"));
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid: uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match cluster.call(&format!("delete {what}"), || api.delete(&target.name, &params)).await {
        Ok(_) => {}
        Err(failure) if failure.is_not_found() => return Ok(Outcome::Gone),
        Err(failure) if failure.code == Some(409) => {
            return Ok(Outcome::NotOurs(format!("{what} was left alone: it was created anew in between")));
        }
        Err(failure) => return Err(failure.into()),
    }
    gone(cluster, &api, target, uid.as_deref(), deadline).await
}

/// Deleting the definition of a kind deletes every object of that kind in the whole cluster: says so where
/// some are not of this run.
async fn others(
    cluster: &Cluster,
    target: &Target,
    there: &DynamicObject,
    run_id: &str,
) -> Result<Option<String>, Reason> {
    if target.gvk.kind != "CustomResourceDefinition" {
        return Ok(None);
    }
    let text = |pointer: &str| there.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let version = there.data.pointer("/spec/versions").and_then(Value::as_array).and_then(|versions| {
        versions.iter().find(|one| one["served"] == true).and_then(|one| one["name"].as_str())
    });
    let gvk =
        GroupVersionKind::gvk(text("/spec/group"), version.unwrap_or_default(), text("/spec/names/kind"));
    let Some(kind) = cluster.kind(&gvk).await? else { return Ok(None) };
    let api = cluster.objects(&kind, None);
    let (doing, all) = (format!("list the objects of kind {}", gvk.kind), ListParams::default());
    let found = cluster.call(&doing, || api.list(&all)).await?;
    let ours = label_value(run_id);
    let foreign = |object: &&DynamicObject| object.labels().get(RUN_LABEL) != Some(&ours);
    let names: Vec<_> = found
        .items
        .iter()
        .filter(foreign)
        .map(|object| name(&gvk.kind, object.metadata.namespace.as_deref(), &object.name_any()))
        .collect();
    let text = format!(
        "CustomResourceDefinition {} stays, for deleting it would delete what others have made of it: {}",
        target.name,
        names.join(", ")
    );
    Ok((!names.is_empty()).then_some(text))
}

/// Waits until the object with this uid is there no more.
async fn gone(
    cluster: &Cluster,
    api: &Api<DynamicObject>,
    target: &Target,
    uid: Option<&str>,
    deadline: Instant,
) -> Result<Outcome, Reason> {
    let what = name(&target.gvk.kind, target.namespace.as_deref(), &target.name);
    let read = format!("read {what}");
    let asked = Instant::now();
    loop {
        let seen = cluster.call(&read, || api.get_opt(&target.name)).await?;
        let Some(seen) = seen.filter(|seen| seen.metadata.uid.as_deref() == uid) else {
            return Ok(Outcome::Gone);
        };
        if Instant::now() >= deadline {
            return Ok(Outcome::Hanging(hanging(target, &what, &seen, asked)));
        }
        // The first looks come quickly: most objects are gone at once.
        let pause = cluster.waits().poll.min(asked.elapsed() / 2 + cluster.waits().poll / 20);
        tokio::time::sleep(pause.min(deadline - Instant::now())).await;
    }
}

/// Who holds an object that will not go.
fn hanging(target: &Target, what: &str, seen: &DynamicObject, asked: Instant) -> String {
    let waited = asked.elapsed().as_secs_f64();
    let all = seen.metadata.finalizers.clone().unwrap_or_default();
    let (own, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|finalizer| matches!(finalizer.as_str(), "foregroundDeletion" | "orphan"));
    let Target { gvk, namespace, name, .. } = target;
    let scope = namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
    let why = if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|finalizer| format!("`{finalizer}`")).collect();
        format!(
            "finalizer {} is still set, which its controller must take off; is that controller running? By force: \
             kubectl patch {} {name}{scope} --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'",
            names.join(", "),
            gvk.kind
        )
    } else if !own.is_empty() {
        "the cluster waits for what it owns to go first; `kubectl get pods` shows what is still ending"
            .to_owned()
    } else {
        "it is still ending; `kubectl describe` shows why".to_owned()
    };
    format!("{what} is still there {waited:.0} s after its deletion was asked for: {why}")
}

impl Claim {
    /// Whether `there` may be deleted; else why not.
    fn covers(&self, there: &DynamicObject) -> Result<(), String> {
        let Self::Run { run_id, uid } = self else { return Ok(()) };
        let label = there.metadata.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL));
        match label {
            Some(label) if *label == label_value(run_id) => {}
            Some(label) => return Err(format!("it belongs to run {label} now")),
            None => return Err(format!("it does not carry the label `{RUN_LABEL}` of run {run_id}")),
        }
        match (uid, &there.metadata.uid) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Err(format!("it was created anew since (uid {theirs}, not {ours})"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn there(label: Option<&str>, uid: &str) -> DynamicObject {
        let labels = label.map_or(json!({}), |label| json!({RUN_LABEL: label}));
        serde_json::from_value(json!({"metadata": {"name": "o", "uid": uid, "labels": labels}})).unwrap()
    }

    #[test]
    fn a_run_may_delete_only_what_carries_its_label_and_its_uid() {
        let claim = |uid: Option<&str>| Claim::Run { run_id: "r1".into(), uid: uid.map(str::to_owned) };
        assert_eq!(claim(Some("u")).covers(&there(Some("r1"), "u")), Ok(()));
        assert_eq!(claim(None).covers(&there(Some("r1"), "u")), Ok(()));
        assert_eq!(
            claim(Some("u")).covers(&there(Some("r1"), "w")),
            Err("it was created anew since (uid w, not u)".into())
        );
        assert_eq!(claim(Some("u")).covers(&there(Some("r2"), "u")), Err("it belongs to run r2 now".into()));
        assert_eq!(
            claim(None).covers(&there(None, "u")),
            Err("it does not carry the label `vllm-cibench/run-id` of run r1".into())
        );
        assert_eq!(Claim::Named.covers(&there(None, "u")), Ok(()));
    }

    #[test]
    fn what_hangs_is_told_with_its_finalizers_and_the_way_out() {
        let target = Target {
            gvk: GroupVersionKind::gvk("x.y", "v1", "Thing"),
            namespace: Some("n".into()),
            name: "t".into(),
            claim: Claim::Named,
        };
        let mut seen = there(None, "u");
        seen.metadata.finalizers = Some(vec!["foregroundDeletion".into(), "x.y/hold".into()]);
        let text = hanging(&target, "Thing n/t", &seen, Instant::now());
        assert!(text.starts_with("Thing n/t is still there 0 s after"), "{text}");
        assert!(text.contains("finalizer `x.y/hold` is still set"), "{text}");
        assert!(text.contains("kubectl patch Thing t -n n --type merge"), "{text}");
        seen.metadata.finalizers = Some(vec!["foregroundDeletion".into()]);
        assert!(hanging(&target, "Thing n/t", &seen, Instant::now()).contains("what it owns"));
    }
}
