//! Ctrl-C and SIGTERM: the first one cancels the run, the second one ends the process.
//! Must not know what is cancelled.
//!
//! 信号：第一次取消运行，第二次直接退出。

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Watches for as long as the runtime lives.
pub(crate) async fn watch(cancel: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        super::say("warning: cannot watch for signals; Ctrl-C will end the process at once");
        return;
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        }
    };
    let name = next().await;
    super::say(&format!(
        "{name}: stopping; what runs is told to close its record (once more to leave at once)"
    ));
    cancel.cancel();
    next().await;
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
