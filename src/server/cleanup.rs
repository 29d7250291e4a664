//! Takes down what a run left behind, by its ledger alone: [`cleanup`]. Works after SIGKILL of the run, on
//! another day, from another process. Must not know the run's settings: they may have changed since.
//!
//! 清理：依据资源台账结束残留进程并删除集群对象。

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::verdict::Reason;

use super::{
    ledger::{self, Entry, Identity, Ledger, LedgerError, Resource, State},
    leftovers::{self, Ended},
    standing::Standing,
    table::Seen,
};

/// Takes one line about what is being done.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What becomes of a run that still goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive {
    /// It keeps what it uses: the clean-up is refused.
    Spare,
    /// What it uses is taken away from it.
    Force,
}

/// Takes down whatever the ledger of the run folder `run` says may still exist, newest first. Processes get
/// `patience` to end before they are killed. Returns what is left, each with what to do: nothing, if all went
/// well.
///
/// # Errors
/// When there is no such folder, it is the wrong one, its ledger cannot be read, or the run still goes on and
/// is to be spared.
pub async fn cleanup(
    run: &Utf8Path,
    patience: Duration,
    alive: Alive,
    progress: Progress<'_>,
) -> Result<Vec<String>, Reason> {
    check(run)?;
    let ledger = Ledger::of(run);
    let standing = ledger.read().map_err(unreadable)?;
    if alive == Alive::Spare {
        over(run, &standing.open)?;
    }
    for (line, why) in &standing.unreadable {
        // A line is written before the thing it names is made, and once more after: one of them is whole.
        progress(&format!("{}:{line} cannot be read and was passed over: {why}", ledger.path()));
    }
    let mut left = Vec::new();
    let (processes, objects): (Vec<_>, Vec<_>) =
        standing.open.into_iter().partition(|entry| matches!(entry.resource, Resource::Process(_)));
    for entry in processes.into_iter().rev() {
        if let Resource::Process(process) = &entry.resource {
            left.extend(take_down(&ledger, &entry, process, patience, progress).await?);
        }
    }
    if !objects.is_empty() {
        left.extend(in_clusters(run, &objects, progress).await?);
    }
    Ok(left)
}

/// A folder without a ledger started nothing, unless it is not a run's folder at all.
fn check(run: &Utf8Path) -> Result<(), Reason> {
    if !run.is_dir() {
        return Err(Reason::new("no-run", format!("there is no folder {run}")));
    }
    if run.join(ledger::FILE).exists() {
        return Ok(());
    }
    let entries = run.read_dir_utf8().map_err(|error| Reason::new("no-run", format!("{run}: {error}")))?;
    let below: Vec<Utf8PathBuf> = entries
        .flatten()
        .map(|entry| entry.into_path())
        .filter(|path| path.join(ledger::FILE).exists())
        .collect();
    if below.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = below.iter().map(|path| path.as_str()).collect();
    Err(Reason::new("which-run", format!("{run} holds several runs; name one of them"))
        .with_detail(list.join("\n")))
}

/// A run is over when nobody who wrote its ledger is left.
fn over(run: &Utf8Path, open: &[Entry]) -> Result<(), Reason> {
    let writers = open.iter().filter_map(|entry| entry.writer);
    let Some(Identity { pid, .. }) = writers.into_iter().find(Identity::is_another_that_runs) else {
        return Ok(());
    };
    let way_out = match Standing::read(run) {
        Ok(Some(_)) => format!("`vllm-cibench down --run {run}` takes its server down"),
        _ => format!("wait for its end, or end it: `kill -INT {pid}` has it take its own server down"),
    };
    Err(Reason::new("run-goes-on", format!("the run still goes on: it is process {pid}"))
        .with_detail(format!("{way_out}; `--force` takes the server down from under it")))
}

/// Ends what is left of one process, and strikes it off the ledger.
async fn take_down(
    ledger: &Ledger,
    entry: &Entry,
    process: &ledger::Process,
    patience: Duration,
    progress: Progress<'_>,
) -> Result<Option<String>, Reason> {
    let failed = |error: std::io::Error| {
        Reason::new("processes", format!("cannot look for processes of this run: {error}"))
    };
    let unproven = leftovers::find(process).map_err(failed)?.unproven;
    if !unproven.is_empty() {
        progress(&format!(
            "left alone: {}, whose process group has the number of this run's, but not its mark",
            list(&unproven)
        ));
    }
    let ended = leftovers::end(process, patience).await.map_err(failed)?;
    progress(&said(process, &ended, patience));
    if !ended.left.is_empty() {
        let who = list(&ended.left);
        return Ok(Some(format!("{who}: still there after SIGKILL, or not ours to end")));
    }
    ledger.write(&entry.run_id, State::Gone, &entry.resource).map_err(unreadable)?;
    Ok(None)
}

/// What was done about a process.
fn said(process: &ledger::Process, ended: &Ended, patience: Duration) -> String {
    let program = &process.program;
    match (ended.told.as_slice(), ended.killed) {
        ([], _) => format!("{program}: nothing of it is left"),
        (told, false) => format!("{program}: ended {}", list(told)),
        (told, true) => {
            format!("{program}: killed {}, after {} s of asking", list(told), patience.as_secs_f64())
        }
    }
}

/// `vllm (21249), python (24193)`.
fn list(seen: &[Seen]) -> String {
    let each = seen.iter().map(|seen| format!("{} ({})", seen.name, seen.pid.as_raw_nonzero()));
    each.collect::<Vec<_>>().join(", ")
}

fn unreadable(error: LedgerError) -> Reason {
    Reason::new("ledger", error.to_string())
}

#[cfg(feature = "kube")]
async fn in_clusters(run: &Utf8Path, _: &[Entry], progress: Progress<'_>) -> Result<Vec<String>, Reason> {
    use super::k8s;
    let notes = k8s::cleanup(run, k8s::Waits::default(), progress).await?;
    for note in notes {
        progress(&note.text);
    }
    let standing = Ledger::of(run).read().map_err(unreadable)?;
    Ok(standing
        .open
        .iter()
        .filter_map(|entry| object(entry).map(|name| format!("{name}: still there")))
        .collect())
}

#[cfg(not(feature = "kube"))]
#[expect(clippy::unused_async, reason = "with the feature `kube` it waits for the cluster")]
async fn in_clusters(_: &Utf8Path, objects: &[Entry], _: Progress<'_>) -> Result<Vec<String>, Reason> {
    let each = objects.iter().filter_map(object);
    Ok(each
        .map(|name| {
            format!("{name}: this build cannot speak to a cluster; build it with `--features kube`, or delete it by hand")
        })
        .collect())
}

/// `Service default/vllm`.
fn object(entry: &Entry) -> Option<String> {
    let Resource::K8s(object) = &entry.resource else { return None };
    let namespace = object.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    Some(format!("{} {namespace}{}", object.kind, object.name))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("a UTF-8 path");
        (dir, path)
    }

    async fn clean(run: &Utf8Path) -> (Result<Vec<String>, Reason>, Vec<String>) {
        let said = Mutex::new(Vec::new());
        let progress = |line: &str| said.lock().expect("a lock").push(line.to_owned());
        let left = cleanup(run, Duration::from_secs(5), Alive::Spare, &progress).await;
        (left, said.into_inner().expect("a lock"))
    }

    fn planned() -> Resource {
        Resource::Process(ledger::Process {
            marker: "CLEANUP_TEST=nobody carries this".to_owned(),
            program: "vllm".to_owned(),
            pid: None,
            pgid: None,
            start_time_ticks: None,
        })
    }

    #[tokio::test]
    async fn what_was_never_started_is_struck_off() {
        let (_dir, run) = folder();
        Ledger::of(&run).write("r", State::Planned, &planned()).expect("a line");
        let (left, said) = clean(&run).await;
        assert_eq!(left.expect("no fault"), Vec::<String>::new());
        assert_eq!(said, ["vllm: nothing of it is left"]);
        assert!(Ledger::of(&run).read().expect("a ledger").open.is_empty());
        assert_eq!(clean(&run).await.1, Vec::<String>::new(), "the second time there is nothing to say");
    }

    #[tokio::test]
    async fn a_folder_that_is_no_run_is_told_from_a_run_that_started_nothing() {
        let (_dir, run) = folder();
        assert_eq!(clean(&run).await.0.expect("no fault"), Vec::<String>::new());
        let missing = clean(&run.join("missing")).await.0.expect_err("a refusal");
        assert_eq!(missing.summary, format!("there is no folder {run}/missing"));
        std::fs::create_dir(run.join("one")).expect("a folder");
        Ledger::of(&run.join("one")).write("r", State::Planned, &planned()).expect("a line");
        let above = clean(&run).await.0.expect_err("a refusal");
        assert_eq!((above.kind.as_str(), above.detail), ("which-run", format!("{run}/one")));
    }

    #[cfg(not(feature = "kube"))]
    #[tokio::test]
    async fn objects_of_a_cluster_are_named_where_this_build_cannot_reach_it() {
        let (_dir, run) = folder();
        let object = ledger::K8sObject {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: Some("default".into()),
            name: "vllm".into(),
            uid: None,
            kubeconfig: None,
            context: None,
        };
        Ledger::of(&run).write("r", State::Created, &Resource::K8s(object)).expect("a line");
        let left = clean(&run).await.0.expect("no fault");
        assert!(left[0].starts_with("Service default/vllm: this build cannot"), "{left:?}");
    }
}
