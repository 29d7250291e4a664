//! What a pod's status means for somebody who waits for it: [`State`] is a line to show and, where it is so,
//! why the pod will never serve. Must not make requests.
//!
//! Pod 状态的解读：进展一行，或失败的原因。

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};

/// Restarts after which a container that crashes is given up.
const RESTARTS: i32 = 3;

/// How a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// `vllm-0 Pending (vllm: ImagePullBackOff)`.
    pub(super) line: String,
    /// All of its containers answer.
    pub(super) ready: bool,
    /// What, if it stays so, means that it will never serve.
    pub(super) trouble: Option<Trouble>,
}

/// Why a pod may never serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The container, where it is one's fault.
    pub(super) container: Option<String>,
    /// What happened.
    pub(super) what: String,
    /// It may yet pass, such as a registry that is away: give it a while.
    pub(super) may_pass: bool,
}

/// Reads a pod's status.
pub(super) fn state(pod: &Pod) -> State {
    let name = pod.metadata.name.as_deref().unwrap_or("?");
    let status = pod.status.as_ref();
    let phase = match (&pod.metadata.deletion_timestamp, status.and_then(|status| status.phase.as_deref())) {
        (Some(_), _) => "Terminating",
        (None, phase) => phase.unwrap_or("Unknown"),
    };
    let mut troubles = Vec::new();
    let mut words = Vec::new();
    for container in containers(pod) {
        if let Some(word) = word(container) {
            words.push(format!("{}: {word}", container.name));
        }
        troubles.extend(container_trouble(container));
    }
    if words.is_empty() {
        words.extend(unscheduled(pod));
    }
    if matches!(phase, "Failed" | "Succeeded") && troubles.is_empty() {
        troubles.push(ended(pod, phase));
    }
    let all = status.and_then(|status| status.container_statuses.as_ref());
    let ready = phase == "Running" && all.is_some_and(|all| all.iter().all(|one| one.ready));
    let line = match words.join(", ") {
        words if words.is_empty() => format!("{name} {phase}"),
        words => format!("{name} {phase} ({words})"),
    };
    // What will not pass tells more than what may.
    State { line, ready, trouble: troubles.into_iter().min_by_key(|trouble| trouble.may_pass) }
}

/// Why a pod that is over is over: the container that failed, else what the pod itself says.
fn ended(pod: &Pod, phase: &str) -> Trouble {
    let failed = containers(pod).find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
        let what = format!("{}, exit code {}", ended.reason.as_deref().unwrap_or("ended"), ended.exit_code);
        Some(Trouble { container: Some(container.name.clone()), what, may_pass: false })
    });
    failed.unwrap_or_else(|| {
        let status = pod.status.as_ref();
        let said = status.and_then(|status| status.reason.clone().or_else(|| status.message.clone()));
        let what = said.map_or_else(|| phase.to_owned(), |said| format!("{phase}: {said}"));
        Trouble { container: None, what, may_pass: false }
    })
}

/// Init containers first, as they run.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().flatten().chain(main.into_iter().flatten())
}

/// What is worth saying of a container: nothing of one that runs as it should.
fn word(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let now = match (&state.waiting, &state.terminated) {
        (Some(waiting), _) => waiting.reason.clone().unwrap_or_else(|| "waiting".to_owned()),
        (_, Some(ended)) if ended.exit_code == 0 => return None,
        (_, Some(ended)) => {
            format!("{}, exit code {}", ended.reason.as_deref().unwrap_or("ended"), ended.exit_code)
        }
        _ => String::new(),
    };
    let restarts = match container.restart_count {
        0 => String::new(),
        1 => "restarted once".to_owned(),
        n => format!("restarted {n} times"),
    };
    let words: Vec<_> =
        [now, restarts, ended_before(container)].into_iter().filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// How it ended the last time: `OOMKilled`, where it is waiting or running again now.
fn ended_before(container: &ContainerStatus) -> String {
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    last.map_or_else(String::new, |last| {
        format!("last: {} with exit code {}", last.reason.as_deref().unwrap_or("ended"), last.exit_code)
    })
}

fn container_trouble(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let may_pass = match reason {
        "InvalidImageName" | "ErrImageNeverPull" => false,
        "CrashLoopBackOff" if container.restart_count >= RESTARTS => false,
        "ImagePullBackOff"
        | "ErrImagePull"
        | "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError" => true,
        _ => return None,
    };
    let said =
        waiting.message.as_deref().filter(|message| !message.is_empty() && reason != "CrashLoopBackOff");
    let what = match (reason, said) {
        ("CrashLoopBackOff", _) => {
            let last = ended_before(container);
            format!("CrashLoopBackOff after {} restarts, {last}", container.restart_count)
        }
        (_, Some(message)) => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    };
    Some(Trouble { container: Some(container.name.clone()), what, may_pass })
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let one = conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    Some(one.message.clone().or_else(|| one.reason.clone()).unwrap_or_else(|| "not scheduled".to_owned()))
}

/// Which pods belong to what was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ours {
    /// Label selectors: the Service's, the workloads', the configured ones.
    pub(super) selectors: Vec<BTreeMap<String, String>>,
    /// Uids of what was applied: an operator's pods name them as their owners.
    pub(super) owners: Vec<String>,
    /// Names of what was applied: what belongs to them is called after them.
    pub(super) names: Vec<String>,
}

impl Ours {
    /// Whether the pod is one of ours.
    pub(super) fn has(&self, pod: &Pod) -> bool {
        let empty = BTreeMap::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
        let selected = self.selectors.iter().any(|selector| {
            !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        });
        let owned = pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .map(|owner| &owner.uid)
            .chain(&pod.metadata.uid)
            .any(|uid| self.owners.contains(uid));
        selected || owned
    }

    /// Whether an event is about something of ours: a ReplicaSet or an operator's helper is known by its name.
    pub(super) fn concerns(&self, event: &Event, pods: &[Pod]) -> bool {
        let about = &event.involved_object;
        let known = |uid: &String| {
            self.owners.contains(uid) || pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid))
        };
        let called = |name: &String| {
            self.names.iter().any(|ours| {
                name.strip_prefix(ours.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
        };
        about.uid.as_ref().is_some_and(known) || about.name.as_ref().is_some_and(called)
    }
}

/// `FailedScheduling Pod vllm-0: 0/3 nodes are available`.
pub(super) fn event_line(event: &Event) -> String {
    let about = &event.involved_object;
    let text = event.message.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let times =
        event.count.filter(|count| *count > 1).map_or_else(String::new, |count| format!(" (×{count})"));
    format!(
        "{} {} {}: {text}{times}",
        event.reason.as_deref().unwrap_or("event"),
        about.kind.as_deref().unwrap_or("?"),
        about.name.as_deref().unwrap_or("?"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "status": status})).unwrap()
    }

    fn container(state: Value, restarts: i32, last: Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{
            "name": "vllm", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last
        }]})
    }

    fn waiting(reason: &str) -> Value {
        json!({"waiting": {"reason": reason, "message": "pull access denied"}})
    }

    #[test]
    fn a_pod_that_runs_is_no_trouble() {
        let running = json!({"phase": "Running", "containerStatuses": [{
            "name": "vllm", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}}
        }]});
        let seen = state(&pod(running));
        assert_eq!(seen, State { line: "p Running".into(), ready: true, trouble: None });
    }

    #[test]
    fn an_image_that_cannot_be_pulled_may_pass_one_with_an_impossible_name_does_not() {
        let seen = state(&pod(container(waiting("ImagePullBackOff"), 0, json!({}))));
        assert_eq!(seen.line, "p Pending (vllm: ImagePullBackOff)");
        let trouble = seen.trouble.unwrap();
        assert_eq!((trouble.what.as_str(), trouble.may_pass), ("ImagePullBackOff: pull access denied", true));
        let never = state(&pod(container(waiting("InvalidImageName"), 0, json!({})))).trouble.unwrap();
        assert!(!never.may_pass);
    }

    #[test]
    fn a_crash_is_given_up_after_three_restarts_and_says_how_it_ended() {
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let twice = state(&pod(container(waiting("CrashLoopBackOff"), 2, killed.clone())));
        assert_eq!(twice.trouble, None);
        assert_eq!(
            twice.line,
            "p Pending (vllm: CrashLoopBackOff, restarted 2 times, last: OOMKilled with exit code 137)"
        );
        let trouble = state(&pod(container(waiting("CrashLoopBackOff"), 3, killed))).trouble.unwrap();
        assert_eq!(trouble.what, "CrashLoopBackOff after 3 restarts, last: OOMKilled with exit code 137");
        assert!(!trouble.may_pass);
    }

    #[test]
    fn a_pod_that_has_ended_will_not_serve() {
        for phase in ["Failed", "Succeeded"] {
            let trouble = state(&pod(json!({"phase": phase, "reason": "Evicted"}))).trouble.unwrap();
            assert_eq!(trouble.what, format!("{phase}: Evicted"));
        }
        let mut exited = container(json!({"terminated": {"exitCode": 1, "reason": "Error"}}), 0, json!({}));
        exited["phase"] = json!("Failed");
        let trouble = state(&pod(exited)).trouble.unwrap();
        assert_eq!((trouble.container.as_deref(), &*trouble.what), (Some("vllm"), "Error, exit code 1"));
    }

    #[test]
    fn a_pod_without_a_node_says_why() {
        let status = json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"
        }]});
        let seen = state(&pod(status));
        assert_eq!((seen.line.as_str(), seen.trouble), ("p Pending (0/3 nodes)", None));
    }

    #[test]
    fn pods_are_ours_by_selector_by_owner_or_by_themselves() {
        let of = |metadata: Value| -> Pod { serde_json::from_value(json!({"metadata": metadata})).unwrap() };
        let ours = Ours {
            selectors: vec![BTreeMap::from([("app".into(), "x".into())]), BTreeMap::new()],
            owners: vec!["u1".into()],
            names: vec![],
        };
        assert!(ours.has(&of(json!({"labels": {"app": "x", "hash": "1"}}))));
        assert!(!ours.has(&of(json!({"labels": {"app": "y"}}))));
        assert!(ours.has(&of(json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u1"}
        ]}))));
        assert!(ours.has(&of(json!({"uid": "u1"}))));
        assert!(!ours.has(&of(json!({}))), "an empty selector selects nothing");
    }

    #[test]
    fn events_are_ours_by_uid_or_by_name() {
        let of = |about: Value| -> Event {
            serde_json::from_value(json!({"metadata": {}, "involvedObject": about, "reason": "FailedCreate",
                "message": "exceeded\n quota", "count": 3}))
            .unwrap()
        };
        let ours = Ours { names: vec!["vllm".into()], ..Ours::default() };
        let set = of(json!({"kind": "ReplicaSet", "name": "vllm-5d"}));
        assert!(ours.concerns(&set, &[]));
        assert!(!ours.concerns(&of(json!({"name": "vllmx"})), &[]));
        assert!(ours.concerns(&of(json!({"uid": "u"})), &[pod(json!({}))]));
        assert_eq!(event_line(&set), "FailedCreate ReplicaSet vllm-5d: exceeded quota (×3)");
    }
}
