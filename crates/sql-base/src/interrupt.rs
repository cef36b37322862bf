//! `KILL` and shutdown, as they reach a session that is at work.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// How others interrupt what a session does.
#[derive(Debug, Default)]
pub struct Interrupt {
    /// 0: run; 1: end the statement; 2: end the connection.
    state: AtomicU8,
    notify: Notify,
}

impl Interrupt {
    /// Ends the running statement.
    pub fn kill_query(&self) {
        let _ = self.state.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
        self.notify.notify_waiters();
    }

    /// Ends the connection.
    pub fn kill_connection(&self) {
        self.state.store(2, Ordering::Release);
        self.notify.notify_waiters();
        // Also for a connection that isn't waiting yet.
        self.notify.notify_one();
    }

    /// The connection is to end.
    pub fn connection_killed(&self) -> bool {
        self.state.load(Ordering::Acquire) == 2
    }

    /// Something is to end.
    pub fn is_killed(&self) -> bool {
        self.state.load(Ordering::Acquire) != 0
    }

    /// A new statement begins: forgets an older `KILL QUERY`.
    pub fn reset(&self) {
        let _ = self.state.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Returns when killed.
    pub async fn killed(&self) {
        loop {
            let notified = self.notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_killed() {
                return;
            }
            notified.await;
        }
    }
}
