//! The processes of this machine as the kernel lists them: [`Seen`], one a process. Must not end any.
//!
//! 进程表：从 /proc 读取。

use std::io;

use rustix::process::{Pid, getpid};
use serde::{Deserialize, Serialize};

/// Where the kernel lists them.
const PROC: &str = "/proc";

/// A process as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) pid: Pid,
    /// Its program's name, cut short by the kernel.
    pub(super) name: String,
    /// The id of its group.
    pub(super) group: i32,
    /// When it started, in clock ticks since boot: with this, its id is nobody else's.
    pub(super) start: u64,
}

/// What tells a process from every other of this boot: a pid alone may be somebody else's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since boot, as the kernel says.
    pub start_time_ticks: u64,
}

impl Identity {
    /// Ours; nothing where this system does not tell when a process started.
    pub fn of_this_process() -> Option<Self> {
        seen(getpid()).map(|seen| seen.identity())
    }

    /// Whether it runs, as another process than this one.
    pub fn is_another_that_runs(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let there = pid.filter(|pid| *pid != getpid()).and_then(seen);
        there.is_some_and(|there| there.identity() == *self)
    }
}

/// Every process that runs now. One that has ended and waits for its parent to ask how runs no longer.
///
/// # Errors
/// When this system has no such list.
pub(super) fn all() -> io::Result<Vec<Seen>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(PROC)? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        found.extend(pid.and_then(seen));
    }
    Ok(found)
}

/// The process `pid`, where there is one.
pub(super) fn seen(pid: Pid) -> Option<Seen> {
    let stat = std::fs::read_to_string(format!("{PROC}/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse(pid, &stat)
}

/// The second field, the program's name in brackets, may hold spaces and brackets.
fn parse(pid: Pid, stat: &str) -> Option<Seen> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let [state, _parent, group, ..] = fields.as_slice() else { return None };
    let start = fields.get(19)?.parse().ok()?;
    let runs = !matches!(*state, "Z" | "X" | "x");
    let group = group.parse().ok()?;
    runs.then_some(Seen { pid, name, group, start })
}

impl Seen {
    pub(super) fn identity(&self) -> Identity {
        Identity { pid: self.pid.as_raw_nonzero().get().unsigned_abs(), start_time_ticks: self.start }
    }

    /// Whether `marker` (`NAME=value`) stands in the environment that it was started with. A process may
    /// overwrite that, and not everybody may read it: no is not proven by this.
    pub(super) fn carries(&self, marker: &str) -> bool {
        let environ = std::fs::read(format!("{PROC}/{}/environ", self.pid.as_raw_nonzero()));
        environ.is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|one| one == marker.as_bytes()))
    }

    /// Whether it still runs.
    pub(super) fn runs(&self) -> bool {
        seen(self.pid).is_some_and(|now| now.start == self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_among_them() {
        let ours = seen(rustix::process::getpid()).expect("ourselves");
        assert!(ours.runs() && all().expect("a list").contains(&ours), "{ours:?}");
    }

    #[test]
    fn a_process_is_another_only_while_it_runs_under_the_same_start() {
        let ours = Identity::of_this_process().expect("ourselves");
        assert!(!ours.is_another_that_runs(), "that is us");
        let parent = rustix::process::getppid().and_then(seen).expect("a parent").identity();
        assert!(parent.is_another_that_runs());
        let before = Identity { start_time_ticks: parent.start_time_ticks - 1, ..parent };
        assert!(!before.is_another_that_runs(), "its number went to somebody else");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let pid = Pid::from_raw(7).expect("an id");
        let numbers = "0 ".repeat(15);
        let stat = |state| format!("7 (a) b (c) {state} 1 5 5 {numbers}99 0 0");
        let expected = Seen { pid, name: "a) b (c".to_owned(), group: 5, start: 99 };
        assert_eq!(parse(pid, &stat("S")), Some(expected));
        assert_eq!(parse(pid, &stat("Z")), None, "it has ended");
        assert_eq!(parse(pid, "7 (a"), None);
    }

    #[test]
    fn a_marker_is_a_whole_variable() {
        let mut child =
            std::process::Command::new("sleep").arg("600").env("MARKER", "run-7").spawn().expect("a process");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("an id");
        // Between fork and exec its environment is still ours.
        let seen = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            seen(pid).filter(|seen| seen.name == "sleep")
        });
        let seen = seen.expect("a process");
        assert!(seen.carries("MARKER=run-7"));
        assert!(!seen.carries("MARKER=run") && !seen.carries("ARKER=run-7") && !seen.carries("MARKER"));
        child.kill().expect("a signal");
        child.wait().expect("it ends");
        assert!(!seen.runs());
    }
}
