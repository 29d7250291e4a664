//! A child process in a process group of its own, that never outlives us: [`Process`].
//! Must not know what it runs.
//!
//! 独立进程组中的子进程：随我们一起结束。

use std::{
    collections::{BTreeMap, VecDeque},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use st_harness::folder::{FolderError, LineWriter, RunFolder};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use super::table;

/// Lines of output that are kept to be shown.
const LAST_LINES: usize = 40;
/// A log file is put aside when it has grown past this many bytes; one older file is kept.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;
/// A line is cut into pieces of this many bytes, so that a stream without line ends cannot fill the memory.
const LINE_LIMIT: usize = 64 * 1024;

/// Ends the group `$1` when our end of its standard input closes: when we die, however we die.
const WATCHER: &str = r#"read -r _; kill -TERM -"$1"; sleep 5; kill -KILL -"$1""#;

/// A running child, its group, and its output on the way to the log.
pub(crate) struct Process {
    child: Child,
    group: Pid,
    /// Dropped last: its end closes the watcher's input.
    _watcher: Child,
    start_time_ticks: Option<u64>,
    log: Arc<Mutex<Log>>,
    pumps: Vec<JoinHandle<()>>,
}

/// How a process ended that was asked to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It had ended before.
    Before(String),
    /// It went when asked.
    Asked,
    /// It, or a child of it, had to be killed.
    Killed,
    /// Something of it is left.
    Left,
}

impl Process {
    /// Starts `command` with `env` added to our environment; what it prints goes to the file `log` of `folder`.
    ///
    /// # Errors
    /// When it, its log or its watcher cannot be started, in one line.
    pub(super) fn spawn(
        command: &[String],
        env: &BTreeMap<String, String>,
        folder: &RunFolder,
        log: &str,
    ) -> Result<Self, String> {
        Self::spawn_in(command, env, None, folder, log)
    }

    /// The same, started in `cwd`, where it is to be another than ours.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub(crate) fn spawn_in(
        command: &[String],
        env: &BTreeMap<String, String>,
        cwd: Option<&Utf8Path>,
        folder: &RunFolder,
        log: &str,
    ) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("there is no command")?;
        let log = Arc::new(Mutex::new(Log::open(folder.clone(), log).map_err(|error| error.to_string())?));
        let mut start = Command::new(program);
        if let Some(cwd) = cwd {
            start.current_dir(cwd);
        }
        let mut child = start
            .args(arguments)
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start `{program}`: {error}"))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = id.ok_or_else(|| format!("`{program}` ended before it had an id"))?;
        let watcher = watch(group).inspect_err(|_| {
            // Nothing would end it if we died: rather not at all. It is gone already where this fails.
            let _ = kill_process_group(group, Signal::KILL);
        })?;
        let start_time_ticks = table::seen(group).map(|seen| seen.start);
        let mut pumps = Vec::new();
        pumps.extend(child.stdout.take().map(|pipe| tokio::spawn(pump(pipe, log.clone()))));
        pumps.extend(child.stderr.take().map(|pipe| tokio::spawn(pump(pipe, log.clone()))));
        Ok(Self { child, group, _watcher: watcher, start_time_ticks, log, pumps })
    }

    /// The id of its group, which is that of its first process.
    pub(super) fn group(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// When its first process started, in clock ticks since boot: with this, its id is nobody else's.
    pub(super) fn start_time_ticks(&self) -> Option<u64> {
        self.start_time_ticks
    }

    /// Waits until the first process of the group ends, and says how.
    pub(super) async fn ended(&mut self) -> String {
        self.status().await.map_or_else(|told| told, describe)
    }

    /// The same as the system tells it.
    ///
    /// # Errors
    /// In one line, that it cannot be told.
    pub(crate) async fn status(&mut self) -> Result<ExitStatus, String> {
        let status = self.child.wait().await;
        // What it printed last may still be on its way; a child of it may hold the pipes open for good.
        let pumps = futures_util::future::join_all(self.pumps.iter_mut());
        let _ = tokio::time::timeout(Duration::from_secs(1), pumps).await;
        self.pumps.clear();
        status.map_err(|error| format!("ended in a way that cannot be told: {error}"))
    }

    /// The last lines it printed.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).last.iter().cloned().collect()
    }

    /// Why its output could not be kept, where it could not.
    pub(super) fn log_fault(&self) -> Option<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }

    /// Asks the whole group to end, kills what has not within `patience`.
    pub(crate) async fn stop(&mut self, patience: Duration) -> Stopped {
        let before = self.child.try_wait().ok().flatten().map(describe);
        // Each of these fails only where nobody is left to be signalled.
        let _ = kill_process_group(self.group, Signal::TERM);
        let gone = self.gone_within(patience).await;
        let stopped = match (gone, before) {
            (true, Some(how)) => Stopped::Before(how),
            (true, None) => Stopped::Asked,
            (false, _) => {
                let _ = kill_process_group(self.group, Signal::KILL);
                if self.gone_within(Duration::from_secs(10)).await { Stopped::Killed } else { Stopped::Left }
            }
        };
        for pump in self.pumps.drain(..) {
            let _ = tokio::time::timeout(Duration::from_secs(1), pump).await;
        }
        stopped
    }

    /// Whether nobody of the group is left after at most `limit`.
    async fn gone_within(&mut self, limit: Duration) -> bool {
        let all_gone = async {
            // Until it is waited for, even a dead child counts as one of its group.
            let _ = self.child.wait().await;
            while test_kill_process_group(self.group).is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(limit, all_gone).await.is_ok()
    }
}

/// Starts what ends `group` when we die. Asking the kernel for it would take unsafe code, and would see only the
/// first process of the group.
fn watch(group: Pid) -> Result<Child, String> {
    Command::new("/bin/sh")
        .args(["-c", WATCHER, "sh", &group.as_raw_nonzero().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: Ctrl-C on our terminal must not end the watcher first.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start /bin/sh to watch over it: {error}"))
}

/// In words: `ended with exit code 3`.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => {
            "was killed by signal 9 (by somebody, or by the system because memory ran out)".to_owned()
        }
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Lines from `pipe` to the log, until it closes.
async fn pump(pipe: impl AsyncRead + Unpin, log: Arc<Mutex<Log>>) {
    let mut reader = BufReader::with_capacity(LINE_LIMIT, pipe);
    let mut line: Vec<u8> = Vec::new();
    // A pipe that breaks has nothing more to say.
    while let Ok(found) = reader.fill_buf().await {
        if found.is_empty() {
            break;
        }
        let end = found.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(found.len(), |end| end + 1);
        line.extend_from_slice(&found[..end.unwrap_or(taken)]);
        reader.consume(taken);
        if end.is_some() || line.len() >= LINE_LIMIT {
            keep(&log, &mut line);
        }
    }
    if !line.is_empty() {
        keep(&log, &mut line);
    }
}

fn keep(log: &Mutex<Log>, line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
    line.clear();
    log.lock().unwrap_or_else(PoisonError::into_inner).take(text);
}

/// A log file that does not grow without bound, and its last lines.
struct Log {
    folder: RunFolder,
    name: String,
    file: LineWriter,
    size: u64,
    limit: u64,
    last: VecDeque<String>,
    fault: Option<String>,
}

impl Log {
    fn open(folder: RunFolder, name: &str) -> Result<Self, FolderError> {
        let file = folder.lines(name)?;
        let name = name.to_owned();
        Ok(Self { folder, name, file, size: 0, limit: LOG_LIMIT, last: VecDeque::new(), fault: None })
    }

    fn take(&mut self, line: String) {
        if self.fault.is_none()
            && let Err(error) = self.write(&line)
        {
            // The server goes on; that its log is cut short is told at the end.
            self.fault = Some(error.to_string());
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(self.folder.redactor().redact(&line).into_owned());
    }

    fn write(&mut self, line: &str) -> Result<(), FolderError> {
        if self.size > self.limit {
            let path = self.folder.path().join(&self.name);
            let older = self.folder.path().join(format!("{}.1", self.name));
            std::fs::rename(&path, &older).map_err(|source| FolderError { path, source })?;
            self.file = self.folder.lines(&self.name)?;
            self.size = 0;
        }
        self.size += line.len() as u64 + 1;
        self.file.line(line)
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;
    use st_harness::redact::Redactor;

    use super::*;

    fn folder(dir: &tempfile::TempDir, redactor: Redactor) -> RunFolder {
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("a UTF-8 path");
        RunFolder::open(path, Arc::new(redactor)).expect("a folder")
    }

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn start(script: &str, folder: &RunFolder) -> Process {
        Process::spawn(&shell(script), &BTreeMap::new(), folder, "server.log").expect("a process")
    }

    async fn said(process: &Process, line: &str) {
        for _ in 0..200 {
            if process.last_lines().iter().any(|said| said == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never said {line:?}, but {:?}", process.last_lines());
    }

    #[tokio::test]
    async fn what_it_prints_is_kept_without_secrets() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(&dir, Redactor::new().secret("sk-seeded-key"));
        let mut process = start("echo key sk-seeded-key; echo wrong >&2; exit 3", &folder);
        assert_eq!(process.ended().await, "ended with exit code 3");
        let log = std::fs::read_to_string(folder.path().join("server.log")).expect("a log");
        assert!(log.contains("wrong") && log.contains("key ") && !log.contains("sk-seeded"), "{log}");
        assert!(!process.last_lines().concat().contains("sk-seeded"));
        assert_eq!(
            process.stop(Duration::from_secs(5)).await,
            Stopped::Before("ended with exit code 3".into())
        );
    }

    #[tokio::test]
    async fn it_is_asked_first_and_then_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(&dir, Redactor::default());
        let mut willing = start("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done", &folder);
        said(&willing, "up").await;
        assert_eq!(willing.stop(Duration::from_secs(10)).await, Stopped::Asked);

        let mut stubborn =
            start("trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo up; wait", &folder);
        said(&stubborn, "up").await;
        assert_eq!(stubborn.stop(Duration::from_millis(300)).await, Stopped::Killed);
        assert!(test_kill_process_group(stubborn.group).is_err(), "somebody is left");
    }

    #[tokio::test]
    async fn nobody_is_left_when_we_are_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(&dir, Redactor::default());
        let process = start("trap '' HUP; sleep 600 & echo up; wait", &folder);
        said(&process, "up").await;
        let group = process.group;
        // As if we had been killed: nobody asks anything to stop, our end of the watcher's input just closes.
        let Process { mut child, mut _watcher, .. } = process;
        drop(_watcher.stdin.take());
        child.wait().await.expect("it ends");
        for _ in 0..200 {
            if test_kill_process_group(group).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the group lives on");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(&dir, Redactor::default());
        let command = ["/no/such/program".to_owned()];
        let said = Process::spawn(&command, &BTreeMap::new(), &folder, "server.log").err();
        let expected = "cannot start `/no/such/program`: No such file or directory (os error 2)";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn a_log_that_grows_too_long_is_put_aside_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(&dir, Redactor::default());
        let mut log = Log::open(folder.clone(), "server.log").expect("a log");
        log.limit = 100;
        for i in 0..100 {
            log.take(format!("line {i}"));
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a log");
        let (older, newer) = (read("server.log.1"), read("server.log"));
        assert!(newer.ends_with("line 99\n") && older.len() < 120 && newer.len() < 120, "{older}{newer}");
        assert_eq!(log.last.len(), LAST_LINES);
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 2);
    }
}
