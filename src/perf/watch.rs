//! What the threads that make load took of the machine: [`thread`] measures the one it runs on. What the system does
//! not tell is nothing, never 0. Must not know what they did.
//!
//! 负载线程的自我观察：CPU 时间与排队等待。

use serde::Serialize;

use crate::client::Stamp;

/// What one thread took from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreadUse {
    /// As the system shows it.
    pub name: String,
    /// The system's own number of it, where it is told.
    pub id: Option<u64>,
    /// How long it lived, in nanoseconds.
    pub wall_ns: u64,
    /// How long it ran on a processor, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// How long it could have run and waited for a processor, in nanoseconds.
    pub wait_ns: Option<u64>,
}

/// Runs `work` on this thread, and says what it took.
pub(crate) fn thread(work: impl FnOnce()) -> ThreadUse {
    let (begun, cpu, waited) = (Stamp::now(), cpu_ns(), wait_ns());
    work();
    let ran = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
    ThreadUse {
        name: std::thread::current().name().unwrap_or_default().to_owned(),
        id: own_id(),
        wall_ns: Stamp::now().0.saturating_sub(begun.0),
        cpu_ns: ran(cpu_ns(), cpu),
        wait_ns: ran(wait_ns(), waited),
    }
}

fn own_id() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return u64::try_from(rustix::thread::gettid().as_raw_nonzero().get()).ok();
    #[cfg(not(target_os = "linux"))]
    None
}

/// Of this thread.
fn cpu_ns() -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).ok()
}

/// Of this thread: the second number of its `schedstat`.
fn wait_ns() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_takes_a_processor_and_one_that_sleeps_does_not() {
        let busy = thread(|| {
            let begun = std::time::Instant::now();
            while begun.elapsed().as_millis() < 30 {
                std::hint::spin_loop();
            }
        });
        let asleep = thread(|| std::thread::sleep(std::time::Duration::from_millis(30)));
        assert!(busy.wall_ns >= 30_000_000 && asleep.wall_ns >= 30_000_000);
        assert!(busy.cpu_ns.unwrap() > 4 * asleep.cpu_ns.unwrap(), "{busy:?} {asleep:?}");
    }
}
