//! What a process takes of the machine, as the system tells of it while it runs and after it ended: [`Process`]. Must
//! not know what it does.
//!
//! 子进程的 CPU 与内存。

use std::{
    io,
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};

/// As many descriptors as this process may have: a connection is one, on both sides.
pub fn many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised the first connection too many says so.
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
}

/// A child under watch. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    peak_kib: u64,
}

/// A clock tick of `/proc`, in nanoseconds: USER_HZ is 100 on every Linux.
const TICK_NS: u64 = 10_000_000;

impl Process {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.spawn()?, peak_kib: 0 })
    }

    /// Its processor time so far, user and system, ended threads included.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let pid = self.child.id();
        let ticks =
            std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| ticks(&text))?;
        // Finer than ticks, but without the threads that are gone.
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let ran: u64 = threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        Some(Duration::from_nanos(ran.max(ticks * TICK_NS)))
    }

    /// Looks at its memory; the peak grows only, so the last look is the one that counts.
    pub(super) fn look(&mut self) {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        self.peak_kib = self.peak_kib.max(peak_kib(&text).unwrap_or(0));
    }

    /// The most memory it had in use, as far as it was looked at.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        (self.peak_kib > 0).then_some(self.peak_kib * 1024)
    }

    /// Whether it has ended. It stays in the process table, so that [`cpu`](Self::cpu) still tells all of it.
    pub(super) fn has_ended(&self) -> bool {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    /// Takes it out of the process table; its exit code, where it has one.
    pub(super) fn finish(mut self, patience: Duration) -> Option<i32> {
        let begun = Instant::now();
        while !self.has_ended() && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.try_wait().ok().flatten().and_then(|status| status.code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of `/proc/PID/stat`. The name, in brackets, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn peak_kib(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read_as_it_writes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 12 34 5 6 20 0 1 0 99 0 0";
        assert_eq!(ticks(stat), Some(46));
        assert_eq!(peak_kib("VmPeak:\t  9 kB\nVmHWM:\t   1234 kB\n"), Some(1234));
        assert_eq!(peak_kib("VmPeak:\t  9 kB\n"), None);
    }

    #[test]
    fn a_process_tells_what_it_took_after_its_end_too() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let mut process = Process::start(Command::new("sh").args(["-c", script])).unwrap();
        process.look();
        let begun = Instant::now();
        while !process.has_ended() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            process.look();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(process.cpu().unwrap() >= Duration::from_millis(10), "{:?}", process.cpu());
        assert!(process.peak_bytes().unwrap() > 100 * 1024);
        assert_eq!(process.finish(Duration::from_secs(1)), Some(0));
    }
}
