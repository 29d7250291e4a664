//! Who may run beside whom: a trial enters its [`Lane`] before its deadline starts, so that waiting costs it
//! nothing. Must not know what a trial does.
//!
//! 车道：谁可与谁并行。

use serde::{Deserialize, Serialize};

/// How a trial shares the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Beside other shared trials.
    Shared,
    /// Alone.
    Exclusive,
}
