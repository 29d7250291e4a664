//! Ctrl-C and SIGTERM for commands that bring something about without a session: [`watch`].
//! Must not know what is cancelled.
//!
//! 信号：第一次取消，第二次直接退出。

use std::io::Write as _;

use st_harness::exit::Exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The first signal sets `cancel`, the second one ends us at once.
pub(super) async fn watch(cancel: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return say("warning: cannot watch for signals; Ctrl-C will end this process at once");
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    cancel.cancel();
    next().await;
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

/// Standard error may be closed by now: that must not end us.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
