//! What goes on in the cluster while somebody waits: [`Watch`] looks at the pods and events of what was
//! applied, tells when waiting is in vain, and archives logs. Must not know what is waited for.
//!
//! 观察：Pod、事件与日志；全部失败时提前结束等待。

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};
use st_harness::{
    folder::RunFolder,
    verdict::{Note, Reason},
};
use tokio::time::Instant;

use super::{
    cluster::Cluster,
    failure::Failure,
    note,
    pods::{Ours, State, Trouble, containers, event_line, state},
    serving::server,
};

/// How much of a log is kept: more than any reader reads, less than a disk holds.
const MOST: i64 = 32 << 20;
/// How much of a log's beginning is read for what a server says of itself when it starts.
const BEGINNING: i64 = 4 << 20;
/// How many last lines tell of a death.
const LAST: i64 = 20;

/// The part of a cluster that is looked at.
pub(super) struct Watch<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) ours: Ours,
}

/// Since when each trouble that may pass has lasted.
#[derive(Debug, Default)]
pub(super) struct Patience(HashMap<(String, String), Instant>);

/// One look.
pub(super) struct Look {
    /// What to show.
    pub(super) line: String,
    /// There are pods, and all of them answer.
    pub(super) ready: bool,
    /// Why waiting any longer is in vain.
    pub(super) ended: Option<Reason>,
}

impl Watch<'_> {
    /// Our pods, in the order of their names.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>, Failure> {
        let mut found = Vec::new();
        for namespace in &self.namespaces {
            let api = self.cluster.typed::<Pod>(namespace);
            let doing = format!("list the pods of namespace {namespace}");
            let all = ListParams::default();
            let all = self.cluster.call(&doing, || api.list(&all)).await?;
            found.extend(all.items.into_iter().filter(|pod| self.ours.has(pod)));
        }
        found.sort_by(|a: &Pod, b| a.metadata.name.cmp(&b.metadata.name));
        Ok(found)
    }

    /// The events about what is ours, oldest first.
    pub(super) async fn events(&self, pods: &[Pod]) -> Result<Vec<Event>, Failure> {
        let mut found = Vec::new();
        for namespace in &self.namespaces {
            let api = self.cluster.typed::<Event>(namespace);
            let doing = format!("list the events of namespace {namespace}");
            let all = ListParams::default();
            let all = self.cluster.call(&doing, || api.list(&all)).await?;
            found.extend(all.items.into_iter().filter(|event| self.ours.concerns(event, pods)));
        }
        found.sort_by_key(seen_at);
        Ok(found)
    }

    /// Looks once.
    pub(super) async fn look(&self, patience: &mut Patience) -> Result<Look, Failure> {
        let pods = self.pods().await?;
        let living: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
        let states: Vec<_> = living.iter().map(|pod| state(pod)).collect();
        let grace = self.cluster.waits().image;
        let dead: Vec<_> = living
            .iter()
            .zip(&states)
            .filter_map(|(pod, state)| Some((*pod, patience.hopeless(pod, state, grace)?)))
            .collect();
        let ended = match dead.len() {
            0 => None,
            n if n == living.len() => Some(self.death(&dead).await),
            _ => None,
        };
        let ready = !states.is_empty() && states.iter().all(|state| state.ready);
        Ok(Look { line: self.line(&pods, &states).await, ready, ended })
    }

    /// The pods, and the last warning about them.
    pub(super) async fn line(&self, pods: &[Pod], states: &[State]) -> String {
        let mut line = match states {
            [] => "no pod yet".to_owned(),
            states => states.iter().map(|state| state.line.as_str()).collect::<Vec<_>>().join("; "),
        };
        // Events help; being unable to read them is no reason to stop.
        let events = self.events(pods).await.unwrap_or_default();
        if states.iter().any(|state| !state.ready) || states.is_empty() {
            let warnings = events.iter().rfind(|event| event.type_.as_deref() == Some("Warning"));
            if let Some(event) = warnings {
                line = format!("{line}; last warning: {}", event_line(event));
            }
        }
        line
    }

    async fn death(&self, dead: &[(&Pod, Trouble)]) -> Reason {
        let told = |(pod, trouble): &(&Pod, Trouble)| {
            let name = pod.metadata.name.as_deref().unwrap_or("?");
            match &trouble.container {
                Some(container) => format!("{name} (container {container}: {})", trouble.what),
                None => format!("{name} ({})", trouble.what),
            }
        };
        let all = dead.iter().map(told).collect::<Vec<_>>().join("; ");
        let summary = match dead {
            [_] => format!("the only pod will never serve: {all}"),
            _ => format!("none of the {} pods will ever serve: {all}", dead.len()),
        };
        let mut detail = String::new();
        for (pod, trouble) in dead {
            detail.push_str(&self.last_lines(pod, trouble).await);
        }
        Reason::new("server-died", summary).with_detail(detail)
    }

    /// The end of the log of the container that failed; nothing where it never wrote one.
    async fn last_lines(&self, pod: &Pod, trouble: &Trouble) -> String {
        let failed =
            containers(pod).find(|one| trouble.container.as_ref().is_none_or(|name| *name == one.name));
        let Some(container) = failed else { return String::new() };
        let waits = container.state.as_ref().is_some_and(|state| state.waiting.is_some());
        let params = LogParams {
            container: Some(container.name.clone()),
            previous: waits && container.restart_count > 0,
            tail_lines: Some(LAST),
            ..LogParams::default()
        };
        let name = pod.metadata.name.clone().unwrap_or_default();
        match self.log(pod, &params).await {
            Ok(log) if !log.trim().is_empty() => {
                format!("last lines of {name}/{}:\n{}\n", container.name, log.trim_end())
            }
            _ => String::new(),
        }
    }

    /// The beginning of the log of a pod's server.
    pub(super) async fn beginning(&self, pod: &Pod) -> Result<String, Failure> {
        let container = server(pod).map(|container| container.name.clone());
        self.log(pod, &LogParams { container, limit_bytes: Some(BEGINNING), ..LogParams::default() }).await
    }

    async fn log(&self, pod: &Pod, params: &LogParams) -> Result<String, Failure> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let name = pod.metadata.name.clone().unwrap_or_default();
        let api = self.cluster.typed::<Pod>(namespace);
        let doing = format!("read the log of {namespace}/{name}");
        self.cluster.call(&doing, || api.logs(&name, params)).await
    }

    /// Keeps the logs of all containers (of their last crash too) and the events in `<run>/k8s/`. What cannot
    /// be had is a note: a container that never started has no log.
    pub(super) async fn archive(&self, folder: &RunFolder) -> Vec<Note> {
        let pods = match self.pods().await {
            Ok(pods) => pods,
            Err(failure) => return vec![note("k8s-logs", format!("no logs were kept: {}", failure.summary))],
        };
        let mut notes = Vec::new();
        for pod in &pods {
            for container in containers(pod) {
                for previous in [false, true] {
                    if previous && container.restart_count == 0 {
                        continue;
                    }
                    notes.extend(self.keep_log(folder, pod, &container.name, previous).await.err());
                }
            }
        }
        notes.extend(self.keep_events(folder, &pods).await.err());
        notes
    }

    async fn keep_log(
        &self,
        folder: &RunFolder,
        pod: &Pod,
        container: &str,
        previous: bool,
    ) -> Result<(), Note> {
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            timestamps: true,
            limit_bytes: Some(MOST),
            ..LogParams::default()
        };
        let log = match self.log(pod, &params).await {
            Ok(log) => log,
            Err(failure) if failure.code == Some(400) => return Ok(()),
            Err(failure) => return Err(note("k8s-logs", format!("a log was not kept: {}", failure.summary))),
        };
        let name = pod.metadata.name.as_deref().unwrap_or("pod");
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let before = if previous { ".previous" } else { "" };
        keep(folder, &format!("{namespace}.{name}.{container}{before}.log"), &log)
    }

    async fn keep_events(&self, folder: &RunFolder, pods: &[Pod]) -> Result<(), Note> {
        let events = self.events(pods).await;
        let events = events
            .map_err(|failure| note("k8s-logs", format!("no events were kept: {}", failure.summary)))?;
        if events.is_empty() {
            return Ok(());
        }
        let line = |event: &Event| {
            let at = seen_at(event).map_or_else(|| "-".to_owned(), |at| at.to_string());
            format!("{at} {} {}\n", event.type_.as_deref().unwrap_or("-"), event_line(event))
        };
        keep(folder, "events.txt", &events.iter().map(line).collect::<String>())
    }

    /// Waits until no pod of ours is left: only then are its devices free. Names those that stay.
    pub(super) async fn until_gone(&self, deadline: Instant) -> Option<Note> {
        loop {
            let pods = match self.pods().await {
                Ok(pods) if pods.is_empty() => return None,
                Ok(pods) => pods,
                Err(failure) => {
                    let text = format!("whether the pods have gone is not known: {}", failure.summary);
                    return Some(note("k8s-left", text));
                }
            };
            if Instant::now() >= deadline {
                let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
                let text = format!(
                    "pods that still hold their devices after the clean-up: {}; `kubectl describe pod` shows what \
                     they wait for",
                    names.join(", ")
                );
                return Some(note("k8s-left", text));
            }
            tokio::time::sleep(self.cluster.waits().poll.min(Duration::from_millis(500))).await;
        }
    }
}

impl Patience {
    /// The pod's trouble, where it will not pass or has lasted longer than `grace`.
    pub(super) fn hopeless(&mut self, pod: &Pod, state: &State, grace: Duration) -> Option<Trouble> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let Some(trouble) = &state.trouble else {
            self.0.retain(|(of, _), _| *of != uid);
            return None;
        };
        // Pulling an image alternates between two names for the same trouble.
        let what = trouble.container.clone().unwrap_or_default();
        let since = *self.0.entry((uid, what)).or_insert_with(Instant::now);
        (!trouble.may_pass || since.elapsed() >= grace).then(|| trouble.clone())
    }
}

/// When an event was last seen. Several kinds of clients fill in several fields.
fn seen_at(event: &Event) -> Option<jiff::Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let exact = event.event_time.as_ref().map(|time| time.0);
    last.or(exact).or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Writes `text` to `<run>/k8s/<name>`, redacted.
fn keep(folder: &RunFolder, name: &str, text: &str) -> Result<(), Note> {
    let dir = folder.path().join("k8s");
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join(name), folder.redactor().redact(text).as_bytes()))
        .map_err(|error| note("k8s-logs", format!("{dir}/{name} was not written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_given_time_and_what_got_better_starts_anew() {
        let pod = Pod::default();
        let trouble = Trouble { container: Some("c".into()), what: "ErrImagePull".into(), may_pass: true };
        let bad = State { line: String::new(), ready: false, trouble: Some(trouble.clone()) };
        let good = State { trouble: None, ..bad.clone() };
        let mut patience = Patience::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(patience.hopeless(&pod, &bad, hour), None);
        assert_eq!(patience.hopeless(&pod, &bad, Duration::ZERO), Some(trouble.clone()));
        assert_eq!(patience.hopeless(&pod, &good, Duration::ZERO), None);
        assert!(patience.0.is_empty());
        let sure = State { trouble: Some(Trouble { may_pass: false, ..trouble }), ..bad };
        assert!(patience.hopeless(&pod, &sure, hour).is_some());
    }
}
