//! What ends a statement before it is done, as it reaches a session that is at work: `KILL`, shutdown, the end of its time,
//! a client that has gone, a server that is short of memory.
//!
//! Whoever waits is woken ([`Interrupt::killed`]); whoever computes looks now and then ([`Interrupt::check`]), and only
//! that one learns that the time is over.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::SqlError;

/// Run.
const RUN: u8 = 0;
/// End the statement.
const QUERY: u8 = 1;
/// End the connection.
const CONNECTION: u8 = 2;
/// End the statement: it has more memory than any other, and the server is short of it.
const MEMORY: u8 = 3;

/// How others interrupt what a session does.
#[derive(Debug, Default)]
pub struct Interrupt {
    state: AtomicU8,
    /// Nanoseconds after [`EPOCH`] at which the statement's time is over; 0: never.
    deadline: AtomicU64,
    notify: Notify,
    /// The session's connection, for messages.
    connection: u64,
}

/// What deadlines count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

impl Interrupt {
    /// Of a connection.
    pub fn new(connection: u64) -> Self {
        Interrupt { connection, ..Interrupt::default() }
    }

    /// Ends the running statement.
    pub fn kill_query(&self) {
        self.end_statement(QUERY);
    }

    /// Ends the running statement to give the server memory.
    pub fn kill_for_memory(&self) {
        self.end_statement(MEMORY);
    }

    fn end_statement(&self, why: u8) {
        let _ = self.state.compare_exchange(RUN, why, Ordering::AcqRel, Ordering::Acquire);
        self.notify.notify_waiters();
    }

    /// Ends the connection.
    pub fn kill_connection(&self) {
        self.state.store(CONNECTION, Ordering::Release);
        self.notify.notify_waiters();
        // Also for a connection that isn't waiting yet.
        self.notify.notify_one();
    }

    /// The connection is to end.
    pub fn connection_killed(&self) -> bool {
        self.state.load(Ordering::Acquire) == CONNECTION
    }

    /// Something is to end.
    pub fn is_killed(&self) -> bool {
        self.state.load(Ordering::Acquire) != RUN
    }

    /// A new statement begins: forgets what was to end an older one.
    pub fn reset(&self) {
        for why in [QUERY, MEMORY] {
            let _ = self.state.compare_exchange(why, RUN, Ordering::AcqRel, Ordering::Acquire);
        }
        self.limit(None);
    }

    /// The statement's time is over after so long.
    pub fn limit(&self, time: Option<Duration>) {
        let deadline = time.and_then(|time| Instant::now().checked_add(time)).map_or(0, |at| nanos(at).max(1));
        self.deadline.store(deadline, Ordering::Release);
    }

    /// Fails when the statement is to end, with the reason.
    pub fn check(&self) -> Result<(), SqlError> {
        if self.is_killed() {
            return Err(self.reason());
        }
        let deadline = self.deadline.load(Ordering::Acquire);
        if deadline != 0 && nanos(Instant::now()) >= deadline {
            return Err(SqlError::ExecutionTimeout);
        }
        Ok(())
    }

    /// Why something is to end.
    pub fn reason(&self) -> SqlError {
        match self.state.load(Ordering::Acquire) {
            MEMORY => SqlError::ServerMemoryLimit(self.connection),
            _ => SqlError::Interrupted,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_for_the_first_reason_and_the_next_one_runs() {
        let interrupt = Interrupt::new(7);
        assert!(interrupt.check().is_ok());
        interrupt.kill_for_memory();
        interrupt.kill_query();
        assert!(matches!(interrupt.check(), Err(SqlError::ServerMemoryLimit(7))));
        interrupt.reset();
        interrupt.limit(Some(Duration::ZERO));
        assert!(matches!(interrupt.check(), Err(SqlError::ExecutionTimeout)));
        interrupt.reset();
        assert!(interrupt.check().is_ok());
        interrupt.kill_connection();
        interrupt.reset();
        assert!(matches!(interrupt.check(), Err(SqlError::Interrupted)), "a connection's end is final");
    }
}
