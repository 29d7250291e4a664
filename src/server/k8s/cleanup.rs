//! What a run created in a cluster, taken out again by its ledger: [`cleanup`]. Works without the process that
//! created it. Must not know how it was created.
//!
//! 清理：依据资源台账删除一次运行留下的对象。

use camino::Utf8Path;
use kube::core::GroupVersionKind;
use st_harness::verdict::{Note, Reason};

use super::{
    apply,
    cluster::{Access, Cluster, Waits},
    delete::{self, Claim, Outcome, Target},
    manifest::{Manifest, Object},
    note,
};
use crate::server::ledger::{Entry, K8sObject, Ledger, Resource, State};

/// Deletes what the run folder's ledger says may still be in a cluster, newest first, where it still carries
/// the run's label. Other kinds of resources are left to others.
///
/// # Errors
/// When the ledger cannot be read. What could not be deleted is told in the notes and stays in the ledger.
pub async fn cleanup(
    run: &Utf8Path,
    waits: Waits,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<Note>, Reason> {
    let ledger = Ledger::of(run);
    let mut notes = Vec::new();
    for (access, entries) in by_cluster(open(&ledger, None)?) {
        match Cluster::connect(&access, waits).await {
            Ok(cluster) => notes.extend(take_down(&cluster, &ledger, entries, None, progress).await),
            Err(reason) => {
                notes.push(note("k8s-left", format!("{} left: {}", names(&entries), reason.summary)))
            }
        }
    }
    Ok(notes)
}

/// The same in a cluster that was connected before: for what was created there.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn cleanup_within(
    cluster: &Cluster,
    run: &Utf8Path,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<Note>, Reason> {
    let ledger = Ledger::of(run);
    let entries = open(&ledger, None)?;
    let here = entries.into_iter().filter(|(_, object)| access(object) == *cluster.access()).collect();
    Ok(take_down(cluster, &ledger, here, None, progress).await)
}

/// Objects that may still exist, oldest first, each with its run.
pub(super) type Open = Vec<(String, K8sObject)>;

pub(super) fn open(ledger: &Ledger, run_id: Option<&str>) -> Result<Open, Reason> {
    let standing = ledger.read().map_err(|error| Reason::new("ledger", error.to_string()))?;
    let object = |entry: Entry| match entry.resource {
        Resource::K8s(object) if run_id.is_none_or(|id| id == entry.run_id) => Some((entry.run_id, object)),
        _ => None,
    };
    Ok(standing.open.into_iter().filter_map(object).collect())
}

fn by_cluster(open: Open) -> Vec<(Access, Open)> {
    let mut groups: Vec<(Access, Open)> = Vec::new();
    for (run_id, object) in open {
        let access = access(&object);
        match groups.iter_mut().find(|(known, _)| *known == access) {
            Some((_, group)) => group.push((run_id, object)),
            None => groups.push((access, vec![(run_id, object)])),
        }
    }
    groups
}

fn access(object: &K8sObject) -> Access {
    Access { kubeconfig: object.kubeconfig.clone(), context: object.context.clone() }
}

fn names(open: &Open) -> String {
    let names: Vec<_> =
        open.iter().map(|(_, one)| apply::name(&one.kind, one.namespace.as_deref(), &one.name)).collect();
    names.join(", ")
}

/// The objects of a manifest of what to delete, last first.
pub(super) fn named(manifest: &Manifest, namespace: &str) -> Vec<Target> {
    let target = |object: &Object| Target {
        gvk: object.gvk.clone(),
        namespace: Some(object.namespace.clone().unwrap_or_else(|| namespace.to_owned())),
        name: object.name.clone(),
        claim: Claim::Named,
    };
    manifest.objects.iter().rev().map(target).collect()
}

/// Deletes `named` where it is given, else all of `ours`, last first, and strikes what has gone off the ledger.
pub(super) async fn take_down(
    cluster: &Cluster,
    ledger: &Ledger,
    ours: Open,
    named: Option<Vec<Target>>,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Vec<Note> {
    let targets = named.unwrap_or_else(|| ours.iter().rev().map(target).collect());
    let outcomes = delete::remove(cluster, &targets, progress).await;
    let mut notes: Vec<_> = outcomes.iter().filter_map(Outcome::note).collect();
    let mut left = Vec::new();
    for (run_id, object) in &ours {
        let settled = targets.iter().zip(&outcomes).find(|(target, _)| target.is(object));
        match settled {
            Some((_, outcome)) if outcome.is_settled() => {
                let gone = ledger.write(run_id, State::Gone, &Resource::K8s(object.clone()));
                notes.extend(gone.err().map(|error| note("ledger", error.to_string())));
            }
            Some(_) => {}
            None => left.push(apply::name(&object.kind, object.namespace.as_deref(), &object.name)),
        }
    }
    if !left.is_empty() {
        let text = format!(
            "applied by this run and not among what was to be deleted: {}; `vllm-cibench cleanup --run` removes it",
            left.join(", ")
        );
        notes.push(note("k8s-left", text));
    }
    notes
}

fn target((run_id, object): &(String, K8sObject)) -> Target {
    let (group, version) = object.api_version.rsplit_once('/').unwrap_or(("", &object.api_version));
    Target {
        gvk: GroupVersionKind::gvk(group, version, &object.kind),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        claim: Claim::Run { run_id: run_id.clone(), uid: object.uid.clone() },
    }
}

impl Target {
    /// Whether it is this object; one in no namespace has none to compare.
    fn is(&self, object: &K8sObject) -> bool {
        let namespace = object.namespace.is_none() || object.namespace == self.namespace;
        namespace
            && self.gvk.api_version() == object.api_version
            && self.gvk.kind == object.kind
            && self.name == object.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, context: &str) -> (String, K8sObject) {
        let object = K8sObject {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("n".into()),
            name: name.into(),
            uid: Some("u".into()),
            kubeconfig: None,
            context: Some(context.into()),
        };
        ("r".into(), object)
    }

    #[test]
    fn what_is_left_is_cleaned_cluster_by_cluster() {
        let groups = by_cluster(vec![object("a", "one"), object("b", "two"), object("c", "one")]);
        let names: Vec<Vec<_>> = groups
            .iter()
            .map(|(_, group)| group.iter().map(|(_, object)| object.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a", "c"], vec!["b"]]);
    }

    #[test]
    fn a_target_is_found_in_the_ledger_by_what_it_is() {
        let open = object("a", "one");
        let mut same = target(&open);
        assert!(same.is(&open.1));
        same.gvk.version = "v1beta1".into();
        assert!(!same.is(&open.1));
        assert!(!target(&object("b", "one")).is(&open.1));
    }
}
