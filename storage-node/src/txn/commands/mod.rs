//! Transaction commands as functions of a snapshot and parameters: each returns the changes to replicate and the
//! answer to give once they are. One file per command.
//!
//! | command | may meet | leaves behind |
//! |---|---|---|
//! | [`prewrite`] | locks, newer versions | locks with values; or commits at once |
//! | [`commit`] | its locks | write records |
//! | [`rollback`] | its locks, nothing | rollback records |
//! | [`pessimistic_lock`] | locks, newer versions | pessimistic locks |
//! | [`pessimistic_rollback`] | its pessimistic locks | nothing |
//! | [`check_txn_status`] | a primary lock, or its end | a rollback when it is overdue |
//! | [`check_secondary_locks`] | locks of an async commit | rollbacks where one is missing |
//! | [`resolve`] | locks of finished transactions | what their transactions became |
//! | [`heartbeat`] | a primary lock | a longer time to live |
//! | [`gc`] | old versions | the newest of them |

pub mod check_secondary_locks;
pub mod check_txn_status;
pub mod commit;
pub mod gc;
pub mod heartbeat;
pub mod inspect;
pub mod pessimistic_lock;
pub mod pessimistic_rollback;
pub mod prewrite;
pub mod resolve;
pub mod rollback;

#[cfg(test)]
mod tests;

use super::Changes;
use super::concurrency::MemoryLocks;

/// What a command decided.
#[derive(Debug)]
pub struct Outcome<T> {
    /// To be replicated before the answer is given.
    pub changes: Changes,
    /// Kept until then.
    pub memory_locks: Option<MemoryLocks>,
    /// The answer.
    pub answer: T,
}

impl<T> Outcome<T> {
    /// An answer after some changes.
    pub fn new(changes: Changes, answer: T) -> Outcome<T> {
        Outcome { changes, memory_locks: None, answer }
    }

    /// An answer that changes nothing.
    pub fn unchanged(answer: T) -> Outcome<T> {
        Outcome::new(Changes::default(), answer)
    }
}
