//! What is said between a run and its workers: a [`Parcel`] is what each worker carries, an [`Order`] what it is told
//! meanwhile, [`Said`] what it tells. Must not know on which way any of it travels.
//!
//! 与远端工作者之间的消息。

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::super::{Turned, processes::Share};
use crate::{
    client::Stamp,
    perf::{record::Record, watch::Machine},
};

/// Changes with whatever is said: a worker of another one is refused, and refuses.
pub(super) const WIRE: u32 = 1;
/// Of this program, for people.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One moment on both clocks of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// Of the wall clock, in nanoseconds since 1970.
    pub(super) unix_ns: i64,
    /// Of the monotonic one.
    pub(super) stamp: Stamp,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { unix_ns: unix_ns(), stamp: Stamp::now() }
    }
}

/// The wall clock, in nanoseconds since 1970.
pub(super) fn unix_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Who made a parcel, readable whatever else has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Maker {
    pub(super) wire: u32,
    pub(super) version: String,
}

impl Maker {
    pub(super) fn this() -> Self {
        Self { wire: WIRE, version: VERSION.to_owned() }
    }

    /// Whether it can be understood.
    ///
    /// # Errors
    /// In words, what to do where it cannot.
    pub(super) fn understood(&self, who: &str) -> Result<(), String> {
        if self.wire == WIRE {
            return Ok(());
        }
        Err(format!(
            "{who} is vllm-cibench {} (wire {}), this is {VERSION} (wire {WIRE}): take an image of the same version",
            self.version, self.wire
        ))
    }
}

/// What one worker carries.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Parcel {
    pub(super) part: u32,
    pub(super) parts: u32,
    /// How long it waits to be told to begin.
    pub(super) patience_s: u64,
    /// One for each epoch.
    pub(super) shares: Vec<Share>,
}

/// What a worker is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Begin this epoch at this moment of your wall clock.
    Begin {
        /// From 0.
        epoch: u32,
        /// In nanoseconds since 1970.
        unix_ns: i64,
    },
    /// Cut off what is in flight.
    Cancel,
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The first thing.
    Hello { maker: Maker, part: u32, clock: Moment },
    /// It is ready to begin.
    Ready { epoch: u32 },
    /// It has read when to begin, at this moment of its wall clock.
    Begins { epoch: u32, unix_ns: i64 },
    /// It lives, at this moment of its wall clock, with so many requests on their way.
    Alive { unix_ns: i64, in_flight: u32 },
    /// A request has ended.
    Ended(Box<Record>),
    /// Its share of an epoch is carried, by this transport.
    Turned { transport: String, turned: Box<Turned>, machine: Box<Machine> },
    /// It cannot.
    Failed(String),
    /// Nothing comes after this.
    Done,
}

/// A parcel as bytes: who made it in a line of its own, then the parcel, compressed.
pub(super) fn packed(parcel: &Parcel) -> Result<Vec<u8>, String> {
    let told = |error: &dyn std::fmt::Display| format!("a share of the load cannot be packed: {error}");
    let mut out = serde_json::to_vec(&Maker::this()).map_err(|error| told(&error))?;
    out.push(b'\n');
    let mut pack = GzEncoder::new(out, Compression::default());
    serde_json::to_writer(&mut pack, parcel).map_err(|error| told(&error))?;
    pack.flush().and_then(|()| pack.finish()).map_err(|error| told(&error))
}

/// The parcel of those bytes.
///
/// # Errors
/// In words: another version made it, or it is not whole.
pub(super) fn unpacked(bytes: &[u8]) -> Result<Parcel, String> {
    let not_whole = |why: &dyn std::fmt::Display| format!("the share of the load is not whole: {why}");
    let end =
        bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| not_whole(&"it has no first line"))?;
    read::<Maker>(&bytes[..end]).map_err(|error| not_whole(&error))?.understood("whoever made the load")?;
    let mut text = Vec::new();
    GzDecoder::new(&bytes[end + 1..]).read_to_end(&mut text).map_err(|error| not_whole(&error))?;
    read(&text).map_err(|error| not_whole(&error))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_arrives_as_it_was_packed_or_says_what_is_wrong() {
        let parcel = Parcel { part: 1, parts: 3, patience_s: 9, shares: Vec::new() };
        let bytes = packed(&parcel).unwrap();
        let got = unpacked(&bytes).unwrap();
        assert_eq!((got.part, got.parts, got.patience_s), (1, 3, 9));
        let cut = unpacked(&bytes[..bytes.len() - 4]).unwrap_err();
        assert!(cut.starts_with("the share of the load is not whole"), "{cut}");
        let line = format!("{{\"wire\":{WIRE},");
        let text = String::from_utf8_lossy(&bytes[..60]).into_owned();
        assert!(text.starts_with(&line), "{text}");
        let mut other = br#"{"wire":7,"version":"9.1.0"}"#.to_vec();
        other.extend(b"\nwhatever comes then");
        let error = unpacked(&other).unwrap_err();
        assert!(
            error.starts_with("whoever made the load is vllm-cibench 9.1.0 (wire 7), this is "),
            "{error}"
        );
    }
}
