//! What exists outside this process because of a run: [`Ledger`] keeps it in `<run>/resources.jsonl`, one
//! line before a thing is created and one after, so that it can be removed even after SIGKILL.
//! Must not know how anything is created or removed.
//!
//! 资源台账：先记账、后创建，进程被强杀后仍可清理。

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

pub use super::table::Identity;

/// The ledger's name inside a run folder.
pub const FILE: &str = "resources.jsonl";

/// The ledger could not be read or written: which file, and why. Nothing is created that cannot be written
/// down first.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the list of what this run creates in {path}: {source}")]
pub struct LedgerError {
    /// The ledger.
    pub path: Utf8PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A thing outside this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// An object in a Kubernetes cluster.
    K8s(K8sObject),
    /// A process, with its group.
    Process(Process),
}

/// An object in a Kubernetes cluster, and how to reach that cluster again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct K8sObject {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Absent for what lies in no namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What the cluster called it; absent until it was created.
    pub uid: Option<String>,
    /// The kubeconfig file; absent where it was found by the usual rules.
    pub kubeconfig: Option<Utf8PathBuf>,
    /// The context that was used; absent inside a cluster.
    pub context: Option<String>,
}

/// A process of ours, and how to know it again: a pid alone may be somebody else's by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `NAME=value` of its environment, and of that of all it starts, that nothing else has.
    pub marker: String,
    /// What was started.
    pub program: String,
    /// Absent until it was started.
    pub pid: Option<u32>,
    /// Its process group.
    pub pgid: Option<u32>,
    /// When it started, in clock ticks since boot, as the kernel says.
    pub start_time_ticks: Option<u64>,
}

impl Resource {
    /// Whether both lines are about the same thing: what only its creation tells is left out.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::K8s(a), Self::K8s(b)) => {
                (&a.api_version, &a.kind, &a.namespace, &a.name, &a.kubeconfig, &a.context)
                    == (&b.api_version, &b.kind, &b.namespace, &b.name, &b.kubeconfig, &b.context)
            }
            (Self::Process(a), Self::Process(b)) => a.marker == b.marker,
            _ => false,
        }
    }
}

/// How far a thing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It will be created next; it may or may not exist.
    Planned,
    /// It was created.
    Created,
    /// It was removed, or was never there.
    Gone,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The run.
    pub run_id: String,
    /// How far it has come.
    pub state: State,
    /// What.
    pub resource: Resource,
    /// The process that wrote the line: while it runs, so does the run. Absent where the system does not tell.
    #[serde(default)]
    pub writer: Option<Identity>,
}

/// What a ledger says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What may still exist, oldest first: remove from the back.
    pub open: Vec<Entry>,
    /// Lines that cannot be read, such as one that a crash cut short: number from 1, and why.
    pub unreadable: Vec<(usize, String)>,
}

/// The ledger of one run folder. Its lines do not pass the redactor: they must name things exactly, and hold
/// names and paths only.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: Utf8PathBuf,
}

impl Ledger {
    /// The ledger of the run folder `run`; its file appears with the first line.
    pub fn of(run: &Utf8Path) -> Self {
        Self { path: run.join(FILE) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Appends a line; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written whole.
    pub fn write(&self, run_id: &str, state: State, resource: &Resource) -> Result<(), LedgerError> {
        let writer = Identity::of_this_process();
        let entry = Entry { run_id: run_id.to_owned(), state, resource: resource.clone(), writer };
        self.append(&entry).map_err(|source| LedgerError { path: self.path.clone(), source })
    }

    fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        let mut line = Vec::new();
        if !ends_a_line(&mut file)? {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()
    }

    /// What may still exist. A ledger that was never written is empty.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self) -> Result<Standing, LedgerError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(standing(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Standing::default()),
            Err(source) => Err(LedgerError { path: self.path.clone(), source }),
        }
    }
}

/// Whether the next byte would start a line: a crash may have left half of one.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Later lines about a thing replace earlier ones; it keeps the place of its first line.
fn standing(text: &str) -> Standing {
    let mut found = Standing::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry: Entry = match serde_json::from_str(line) {
            Ok(entry) => entry,
            Err(error) => {
                found.unreadable.push((index + 1, error.to_string()));
                continue;
            }
        };
        let known = found.open.iter().position(|known| known.resource.same(&entry.resource));
        match (known, entry.state) {
            (Some(at), State::Gone) => drop(found.open.remove(at)),
            (None, State::Gone) => {}
            (Some(at), _) => found.open[at] = entry,
            (None, _) => found.open.push(entry),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(name: &str, uid: Option<&str>) -> Resource {
        Resource::K8s(K8sObject {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: Some("default".into()),
            name: name.into(),
            uid: uid.map(str::to_owned),
            kubeconfig: None,
            context: Some("real".into()),
        })
    }

    fn folder() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(Utf8Path::from_path(dir.path()).unwrap());
        (dir, ledger)
    }

    fn names(standing: &Standing) -> Vec<String> {
        let name = |entry: &Entry| match &entry.resource {
            Resource::K8s(object) => object.name.clone(),
            Resource::Process(process) => process.marker.clone(),
        };
        standing.open.iter().map(name).collect()
    }

    #[test]
    fn a_ledger_that_was_never_written_is_empty() {
        assert_eq!(folder().1.read().unwrap(), Standing::default());
    }

    #[test]
    fn what_was_planned_may_exist_and_is_open() {
        let (_dir, ledger) = folder();
        ledger.write("r", State::Planned, &object("a", None)).unwrap();
        assert_eq!(names(&ledger.read().unwrap()), ["a"]);
    }

    #[test]
    fn creation_adds_the_uid_and_keeps_the_order() {
        let (_dir, ledger) = folder();
        ledger.write("r", State::Planned, &object("a", None)).unwrap();
        ledger.write("r", State::Planned, &object("b", None)).unwrap();
        ledger.write("r", State::Created, &object("a", Some("u1"))).unwrap();
        let standing = ledger.read().unwrap();
        assert_eq!(names(&standing), ["a", "b"]);
        assert_eq!(standing.open[0].resource, object("a", Some("u1")));
    }

    #[test]
    fn what_is_gone_is_no_longer_open_until_it_is_planned_again() {
        let (_dir, ledger) = folder();
        ledger.write("r", State::Created, &object("a", Some("u1"))).unwrap();
        ledger.write("r", State::Gone, &object("a", None)).unwrap();
        assert!(ledger.read().unwrap().open.is_empty());
        ledger.write("r", State::Planned, &object("a", None)).unwrap();
        assert_eq!(names(&ledger.read().unwrap()), ["a"]);
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_told_and_does_not_hide_the_next() {
        let (_dir, ledger) = folder();
        ledger.write("r", State::Planned, &object("a", None)).unwrap();
        let whole = std::fs::read_to_string(ledger.path()).unwrap();
        std::fs::write(ledger.path(), format!("{whole}{}", &whole[..20])).unwrap();
        ledger.write("r", State::Planned, &object("b", None)).unwrap();
        let standing = ledger.read().unwrap();
        assert_eq!(names(&standing), ["a", "b"]);
        assert_eq!(standing.unreadable.len(), 1);
        assert_eq!(standing.unreadable[0].0, 2);
    }

    #[test]
    fn a_process_is_known_by_its_marker_not_by_its_pid() {
        let (_dir, ledger) = folder();
        let process = |pid| {
            Resource::Process(Process {
                marker: "m".into(),
                program: "p".into(),
                pid,
                pgid: pid,
                start_time_ticks: None,
            })
        };
        ledger.write("r", State::Planned, &process(None)).unwrap();
        ledger.write("r", State::Created, &process(Some(7))).unwrap();
        assert_eq!(ledger.read().unwrap().open.len(), 1);
    }

    #[test]
    fn the_lines_keep_their_form() {
        let writer = Identity { pid: 7, start_time_ticks: 99 };
        let resource = object("a", Some("u1"));
        let line = Entry { run_id: "r".into(), state: State::Created, resource, writer: Some(writer) };
        let before = r#"{"run_id":"r","state":"created","resource":{"k8s":{"api_version":"v1","kind":"Service","namespace":"default","name":"a","uid":"u1","kubeconfig":null,"context":"real"}}"#;
        let text = format!(r#"{before},"writer":{{"pid":7,"start_time_ticks":99}}}}"#);
        assert_eq!(serde_json::to_string(&line).unwrap(), text);
        let older: Entry = serde_json::from_str(&format!("{before}}}")).unwrap();
        assert_eq!(older, Entry { writer: None, ..line }, "as earlier versions wrote it");
    }

    #[test]
    fn a_ledger_that_cannot_be_written_names_its_path() {
        let error = Ledger::of(Utf8Path::new("/dev/null/run"))
            .write("r", State::Planned, &object("a", None))
            .unwrap_err();
        assert!(error.to_string().contains("/dev/null/run/resources.jsonl"), "{error}");
    }

    proptest! {
        #[test]
        fn open_is_what_was_last_said_not_to_be_gone(steps in prop::collection::vec((0..4usize, 0..3u8), 0..30)) {
            let (_dir, ledger) = folder();
            let mut last = [State::Gone; 4];
            for (thing, state) in steps {
                let state = [State::Planned, State::Created, State::Gone][state as usize];
                ledger.write("r", state, &object(&thing.to_string(), None)).unwrap();
                last[thing] = state;
            }
            let standing = ledger.read().unwrap();
            let mut open = names(&standing);
            open.sort_unstable();
            let expected: Vec<String> = (0..4).filter(|at| last[*at] != State::Gone).map(|at| at.to_string()).collect();
            prop_assert_eq!(open, expected);
        }
    }
}
