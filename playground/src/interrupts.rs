//! What tells a playground to end: Ctrl-C, SIGTERM, or the end of its terminal.
//!
//! Nothing here ends the process: whoever waits decides, so that no signal leaves servers behind.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, from when this was made.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupts {
    /// From now on the signals come here.
    pub(crate) fn listen() -> std::io::Result<Interrupts> {
        Ok(Interrupts {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. Dropping this loses none.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
