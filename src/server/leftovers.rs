//! What is left of a process that we started and of all that it started: [`find`] and [`end`]. Works from the
//! ledger's line alone, also after SIGKILL of ourselves. Must not know what it was started for.
//!
//! 残留进程：按环境标记与进程组查找并结束。

use std::{io, time::Duration};

use rustix::process::{Signal, getpid, kill_process};
use tokio::time::Instant;

use super::{
    ledger,
    table::{self, Seen},
};

/// After SIGKILL only the kernel can hold a process up.
const AFTER_KILL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// What is left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// These are proven to belong to the run.
    pub(super) ours: Vec<Seen>,
    /// These are in a group that once had the same number; nothing else says that they belong to the run.
    pub(super) unproven: Vec<Seen>,
}

/// Looks for what is left of `process`. What carries its marker is ours, wherever it went. Since a program may
/// overwrite its environment, so is everybody in the group whose first process is the one that we started or
/// that has a member with the marker.
///
/// # Errors
/// When this system does not list its processes.
pub(super) fn find(process: &ledger::Process) -> io::Result<Left> {
    let all: Vec<Seen> = table::all()?.into_iter().filter(|seen| seen.pid != getpid()).collect();
    let (mut ours, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|seen| seen.carries(&process.marker));
    let group = process.pgid.and_then(|group| i32::try_from(group).ok());
    let in_group = |seen: &Seen| group == Some(seen.group);
    let (members, others): (Vec<_>, Vec<_>) = others.into_iter().partition(in_group);
    drop(others);
    let started = |seen: &Seen| {
        Some(seen.pid.as_raw_nonzero().get().unsigned_abs()) == process.pid
            && Some(seen.start) == process.start_time_ticks
    };
    let proven = members.iter().any(started) || ours.iter().any(in_group);
    let mut unproven = Vec::new();
    if proven {
        ours.extend(members)
    } else {
        unproven = members
    }
    Ok(Left { ours, unproven })
}

/// How ending went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// All that were told to end.
    pub(super) told: Vec<Seen>,
    /// Some had to be killed.
    pub(super) killed: bool,
    /// These are still there.
    pub(super) left: Vec<Seen>,
}

/// Asks all that is left of `process` to end, and kills what has not within `patience`.
///
/// # Errors
/// When this system does not list its processes.
pub(super) async fn end(process: &ledger::Process, patience: Duration) -> io::Result<Ended> {
    let mut told = Vec::new();
    let asked = tell(process, Signal::TERM, patience, &mut told).await?;
    if asked.is_empty() {
        return Ok(Ended { told, killed: false, left: asked });
    }
    let left = tell(process, Signal::KILL, AFTER_KILL, &mut told).await?;
    Ok(Ended { told, killed: true, left })
}

/// Sends `signal` to everybody, once each, newcomers too, until nobody is left or the time is over.
async fn tell(
    process: &ledger::Process,
    signal: Signal,
    patience: Duration,
    told: &mut Vec<Seen>,
) -> io::Result<Vec<Seen>> {
    let until = Instant::now() + patience;
    let mut signalled: Vec<Seen> = Vec::new();
    loop {
        let mut left = find(process)?.ours;
        // Once its first process has gone, nothing but its start may prove a member of the group.
        left.extend(
            signalled.iter().filter(|seen| seen.runs() && !left.contains(seen)).cloned().collect::<Vec<_>>(),
        );
        for seen in &left {
            if !signalled.contains(seen) && seen.runs() {
                // It fails only where it has just ended or is not ours to end; the next look tells which.
                let _ = kill_process(seen.pid, signal);
                signalled.push(seen.clone());
            }
            if !told.contains(seen) {
                told.push(seen.clone());
            }
        }
        if left.is_empty() || Instant::now() >= until {
            return Ok(left);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt as _,
        process::{Child, Command},
    };

    use super::*;

    /// A shell in a group of its own that runs `script`, with `marker` in its environment; and its ledger's line.
    fn start(script: &str, marker: &str) -> (Child, ledger::Process) {
        let (name, value) = marker.split_once('=').expect("NAME=value");
        let child = Command::new("/bin/sh").args(["-c", script]).env(name, value).process_group(0).spawn();
        let child = child.expect("a process");
        let pid = rustix::process::Pid::from_child(&child);
        let line = ledger::Process {
            marker: marker.to_owned(),
            program: "/bin/sh".to_owned(),
            pid: Some(child.id()),
            pgid: Some(child.id()),
            start_time_ticks: table::seen(pid).map(|seen| seen.start),
        };
        std::thread::sleep(Duration::from_millis(200));
        (child, line)
    }

    fn names(seen: &[Seen]) -> Vec<&str> {
        let mut names: Vec<&str> = seen.iter().map(|seen| seen.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Once somebody waits for it: until then a dead child is no more than a line in the table.
    fn reap(mut child: Child) {
        let _ = child.kill();
        child.wait().expect("it ends");
    }

    #[tokio::test]
    async fn those_who_left_the_group_are_found_by_their_marker() {
        let (child, line) = start("setsid sleep 600 & wait", "LEFTOVER_TEST=a");
        assert_eq!(names(&find(&line).expect("a list").ours), ["sh", "sleep"]);
        let ended = end(&line, Duration::from_secs(10)).await.expect("a list");
        assert!(ended.left.is_empty() && !ended.killed, "{ended:?}");
        assert_eq!(names(&ended.told), ["sh", "sleep"]);
        assert_eq!(find(&line).expect("a list"), Left::default());
        reap(child);
    }

    #[tokio::test]
    async fn those_without_the_marker_are_found_by_their_group() {
        let (child, line) = start("env -i sleep 600 & env -i sleep 601 & wait", "LEFTOVER_TEST=b");
        assert_eq!(names(&find(&line).expect("a list").ours), ["sh", "sleep", "sleep"]);
        let ended = end(&line, Duration::from_secs(10)).await.expect("a list");
        assert!(ended.left.is_empty() && ended.told.len() == 3, "{ended:?}");
        reap(child);
    }

    #[tokio::test]
    async fn those_who_do_not_listen_are_killed() {
        let (child, line) = start("trap '' TERM; while :; do sleep 0.05; done", "LEFTOVER_TEST=c");
        let ended = end(&line, Duration::from_millis(300)).await.expect("a list");
        assert!(ended.left.is_empty() && ended.killed, "{ended:?}");
        reap(child);
    }

    #[tokio::test]
    async fn somebody_elses_process_under_the_same_number_is_left_alone() {
        let (child, mut line) = start("env -i sleep 600 & wait", "LEFTOVER_TEST=d");
        line.marker = "LEFTOVER_TEST=another".to_owned();
        line.start_time_ticks = line.start_time_ticks.map(|ticks| ticks - 1);
        let left = find(&line).expect("a list");
        assert_eq!((names(&left.ours), names(&left.unproven)), (vec![], vec!["sh", "sleep"]));
        let ended = end(&line, Duration::from_secs(1)).await.expect("a list");
        assert!(ended.told.is_empty(), "{ended:?}");
        assert!(left.unproven.iter().all(Seen::runs));
        line.marker = "LEFTOVER_TEST=d".to_owned();
        end(&line, Duration::from_secs(10)).await.expect("a list");
        reap(child);
    }
}
