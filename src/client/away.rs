//! How late this machine is to look: [`during`] keeps a beat beside what it waits for. A client that is not given its
//! turn sees everything at once afterwards, as if the server had held it back. Must not know what is waited for.
//!
//! 客户端自身的滞后。

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// Well below the 20 ms from which an answer is judged by its times.
const BEAT: Duration = Duration::from_millis(2);

/// Carries out `work`; beside its result, the most by which a beat came late.
pub async fn during<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = std::pin::pin!(work);
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = Duration::ZERO;
    loop {
        tokio::select! {
            // Both may be due when the turn comes at last.
            biased;
            due = beat.tick() => away = away.max(Instant::now() - due),
            done = &mut work => return (done, away),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_is_taken_away_shows() {
        let work = async {
            tokio::time::sleep(BEAT * 2).await;
            std::thread::sleep(BEAT * 20);
            tokio::task::yield_now().await;
            7
        };
        let (done, away) = during(work).await;
        assert_eq!(done, 7);
        assert!(away >= BEAT * 18, "{away:?}");
    }

    #[tokio::test]
    async fn waiting_is_not_being_away() {
        let wait = Duration::from_secs(1);
        let ((), away) = during(tokio::time::sleep(wait)).await;
        assert!(away < wait / 2, "{away:?}");
    }
}
