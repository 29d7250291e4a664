//! Wakes in time: [`Timer`] sleeps to some tens of microseconds, where tokio's own timer rounds up to the next
//! millisecond and would send every request, and every token of the simulator, that much late. Must not know what is
//! waited for.
//!
//! 精确定时器：Linux 上用 timerfd，其余平台退回 tokio。

use std::time::Duration;

/// Sleeps precisely, one sleep at a time. Make it where it is used: inside a runtime with I/O.
#[derive(Debug)]
pub(crate) struct Timer(Option<exact::Exact>);

impl Timer {
    /// A timer; a coarse one where the system has no better, or no descriptor is left.
    pub(crate) fn new() -> Self {
        Self(exact::Exact::new().ok())
    }

    /// Sleeps for `span`, never less. May be dropped on the way, and used again.
    pub(crate) async fn sleep(&self, span: Duration) {
        if span.is_zero() {
            return;
        }
        if let Some(exact) = &self.0
            && exact.sleep(span).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(span).await;
    }
}

#[cfg(target_os = "linux")]
mod exact {
    use std::{io, os::fd::OwnedFd, time::Duration};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::{Interest, unix::AsyncFd};

    #[derive(Debug)]
    pub(super) struct Exact(AsyncFd<OwnedFd>);

    impl Exact {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "what takes its place is unsafe code, for descriptors that can be closed behind its back; this \
                          one is owned and stays"
            )]
            AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
        }

        pub(super) async fn sleep(&self, span: Duration) -> io::Result<()> {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Itimerspec {
                it_interval: never,
                it_value: Timespec {
                    tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(span.subsec_nanos()),
                },
            };
            // Setting it forgets an expiry that a dropped sleep left behind: the read then finds nothing, and waits.
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            loop {
                let mut ready = self.0.readable().await?;
                let mut expiries = [0_u8; 8];
                let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expiries)?));
                if let Ok(read) = read {
                    return read.map(drop);
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod exact {
    use std::{io, time::Duration};

    #[derive(Debug)]
    pub(super) struct Exact;

    impl Exact {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn sleep(&self, _: Duration) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_never_wakes_early_and_can_be_used_again_after_a_dropped_sleep() {
        let timer = Timer::new();
        let given_up =
            tokio::time::timeout(Duration::from_millis(5), timer.sleep(Duration::from_secs(60))).await;
        assert!(given_up.is_err());
        for micros in [1, 300, 1700, 5000] {
            let span = Duration::from_micros(micros);
            let begun = Instant::now();
            timer.sleep(span).await;
            assert!(begun.elapsed() >= span, "{micros} µs");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn it_does_not_round_up_to_the_next_millisecond() {
        let timer = Timer::new();
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let begun = Instant::now();
            timer.sleep(Duration::from_micros(300)).await;
            best = best.min(begun.elapsed());
        }
        // tokio's own timer never comes below a millisecond here, however idle the machine.
        assert!(best < Duration::from_micros(900), "{best:?}");
    }
}
