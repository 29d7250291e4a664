//! How long an attempt may take: [`Limits`].
//! Must not know what is sent.
//!
//! 时间上限。

use std::time::Duration;

/// The time limits of one attempt. Each of them ends it with [`Fault::Timeout`](super::Fault::Timeout), which
/// names the phase and the limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the moment a new connection is asked for until it stands, TLS included. A connection that is used
    /// again takes none of it.
    pub connect: Duration,
    /// From the beginning of the attempt until the headers have arrived.
    pub first_byte: Option<Duration>,
    /// The longest pause within the body, and between the headers and its first byte.
    pub idle: Option<Duration>,
    /// From the beginning of the attempt to its end.
    pub total: Duration,
}

impl Default for Limits {
    /// 10 s to connect, 60 s between two pieces of the body, 120 s in all.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: None,
            idle: Some(Duration::from_secs(60)),
            total: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// The default ones with another total.
    pub fn within(total: Duration) -> Self {
        Self { total, ..Self::default() }
    }
}
