//! `null-server`: serves prepared answers until standard input ends. See [`null`](crate::null).
//!
//! `null-server` 子命令。

use std::{io::Write as _, path::PathBuf, time::Duration};

use st_harness::exit::Exit;

use super::fail;
use crate::{
    bench::many_descriptors,
    null::{Line, Pattern, Script, serve},
};

/// What `null-server` is told.
#[derive(Debug, clap::Args)]
pub(super) struct NullServerArgs {
    /// The port of 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// From a request's last byte to the first token, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50)]
    first_ms: u64,
    /// From a token to the next, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20)]
    interval_ms: u64,
    /// Tokens of an answer whose request does not say `max_tokens`
    #[arg(long, value_name = "N", default_value_t = 100)]
    tokens: u32,
    /// How events come
    #[arg(long, value_enum, default_value_t)]
    pattern: Pattern,
    /// Bytes of text in every event beside its word
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    padding: u32,
    /// Write what was really sent, and when, to this file at the end (binary; see src/null/log.rs)
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

pub(super) fn null_server(args: NullServerArgs) -> Exit {
    many_descriptors();
    let script = Script {
        first: Duration::from_millis(args.first_ms),
        interval: Duration::from_millis(args.interval_ms),
        tokens: args.tokens,
        pattern: args.pattern,
        padding: args.padding,
        port: args.port,
        expected: None,
        log: args.log,
    };
    // The address alone stands on standard output, as the simulator's does, with its /v1.
    let hear = |line: Line| {
        if let Line::Url(url) = line {
            let _ = writeln!(std::io::stdout(), "{url}/v1");
        }
    };
    match serve(&script, hear) {
        Ok(()) => Exit::Ok,
        Err(error) => fail(Exit::Errored, format!("error: {error}")),
    }
}
