//! Who may run beside whom: a trial enters its [`Lane`] before its deadline starts, so that waiting costs it
//! nothing. Must not know what a trial does.
//!
//! 车道：谁可与谁并行。

use serde::{Deserialize, Serialize};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How a trial shares the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Beside other shared trials.
    Shared,
    /// Alone.
    Exclusive,
}

/// Lets trials onto the server. First come, first served: an exclusive trial that waits is not overtaken by
/// shared ones that come later.
#[derive(Debug, Default)]
pub struct Road {
    lock: RwLock<()>,
}

/// A place on the road; leaving is dropping it.
#[derive(Debug)]
pub struct Place<'a> {
    _held: Held<'a>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
enum Held<'a> {
    Shared(RwLockReadGuard<'a, ()>),
    Exclusive(RwLockWriteGuard<'a, ()>),
}

impl Road {
    /// Waits for a place.
    pub async fn enter(&self, lane: Lane) -> Place<'_> {
        let held = match lane {
            Lane::Shared => Held::Shared(self.lock.read().await),
            Lane::Exclusive => Held::Exclusive(self.lock.write().await),
        };
        Place { _held: held }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn an_exclusive_trial_is_alone_and_shared_ones_are_not() {
        let road = Arc::new(Road::default());
        let inside = Arc::new(AtomicUsize::new(0));
        let most_shared = Arc::new(AtomicUsize::new(0));
        let mut all = Vec::new();
        for n in 0..24 {
            let (road, inside, most_shared) = (road.clone(), inside.clone(), most_shared.clone());
            let lane = if n % 6 == 5 { Lane::Exclusive } else { Lane::Shared };
            all.push(tokio::spawn(async move {
                let _place = road.enter(lane).await;
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                if lane == Lane::Exclusive {
                    assert_eq!(now, 1);
                } else {
                    most_shared.fetch_max(now, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
            }));
        }
        for one in all {
            one.await.expect("no overlap");
        }
        assert!(most_shared.load(Ordering::SeqCst) > 1, "shared trials never ran side by side");
    }
}
