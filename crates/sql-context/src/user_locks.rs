//! `GET_LOCK()` and its like, for the whole cluster: a name is a key, and who has locked the name has locked the key.
//!
//! Each lock is a transaction of its own that writes nothing and lasts as long as the session has the lock. So waiting,
//! deadlocks and the death of a server are what they are for rows: the locks of a server that died are free once its
//! heartbeats are missed. A session whose server cannot reach the lock's store for as long may lose a lock to another
//! one and is not told; who must be sure writes a row as well.
//!
//! ```text
//!   m UserLocks  NAME                    the key that is fought for
//!   m UserLockHolders  CONNECTION START  the transaction's primary: tells others who has it. Nobody waits for it, as
//!                                        no other transaction has its start; connections of two servers may share a number
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codec::meta;
use kv_client::{Error, LockOptions, LockWait, Transaction, TxnOptions};
use parking_lot::Mutex;
use query::context::UserLocks;
use query::error::EvalError;
use sql_base::{Interrupt, SqlError};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::services::Services;

const LOCKS: &[u8] = b"UserLocks";
const HOLDERS: &[u8] = b"UserLockHolders";
/// What stands for a wait without an end.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The user-level locks of a session.
pub struct SessionLocks {
    server: Arc<dyn Services>,
    connection: u64,
    interrupt: Arc<Interrupt>,
    held: Mutex<BTreeMap<String, Held>>,
}

struct Held {
    txn: Transaction,
    /// How often it was taken and not given back.
    times: u64,
}

impl SessionLocks {
    /// Those of the session of a connection: none.
    pub fn new(server: Arc<dyn Services>, connection: u64, interrupt: Arc<Interrupt>) -> Self {
        SessionLocks { server, connection, interrupt, held: Mutex::default() }
    }

    /// Gives all of them back: the session ends, or begins anew.
    pub async fn give_back(&self) -> u64 {
        let held = std::mem::take(&mut *self.held.lock());
        let mut times = 0;
        for (name, mut held) in held {
            times += held.times;
            if let Err(error) = held.txn.rollback().await {
                tracing::info!(%error, name, "a user-level lock is free only once its heartbeats are missed");
            }
        }
        times
    }

    async fn lock(&self, name: &str, patience: Option<Duration>) -> Result<Option<Transaction>, SqlError> {
        let options = TxnOptions { lasting: true, ..TxnOptions::pessimistic() };
        let mut txn = self.server.kv()?.begin(options).await?;
        let holder = holder_key(self.connection, txn.start_ts().0);
        txn.lock_keys(vec![holder], LockOptions::default()).await?;
        let wait = match patience {
            Some(Duration::ZERO) => LockWait::NoWait,
            patience => LockWait::Ms(patience.map_or(WAIT_MAX, |p| p.min(WAIT_MAX)).as_millis() as u64),
        };
        let options = LockOptions { wait, ..LockOptions::default() };
        match txn.lock_keys(vec![lock_key(name)], options).await {
            Ok(_) => Ok(Some(txn)),
            Err(Error::LockNoWait { .. } | Error::LockWaitTimeout { .. }) => {
                txn.rollback().await?;
                Ok(None)
            }
            Err(error) => {
                txn.rollback().await?;
                Err(error.into())
            }
        }
    }

    async fn find_holder(&self, name: &str) -> Result<Option<u64>, SqlError> {
        let lock = self.server.kv()?.lock_on(&lock_key(name)).await?;
        Ok(lock.map(|lock| connection_of(&lock.primary).unwrap_or_default()))
    }

    /// Waits within an expression, until the statement is killed.
    fn wait<T>(&self, work: impl Future<Output = Result<T, SqlError>>) -> Result<T, EvalError> {
        let runtime = Handle::try_current().ok().filter(|r| r.runtime_flavor() == RuntimeFlavor::MultiThread);
        let Some(runtime) = runtime else {
            return Err(EvalError::Unsupported("user-level locks on a single thread".into()));
        };
        let work = async {
            tokio::select! {
                done = work => done.map_err(|error| outside(&error)),
                () = self.interrupt.killed() => Err(EvalError::Interrupted),
            }
        };
        tokio::task::block_in_place(|| runtime.block_on(work))
    }
}

impl UserLocks for SessionLocks {
    fn acquire(&self, name: &str, patience: Option<Duration>) -> Result<bool, EvalError> {
        if let Some(held) = self.held.lock().get_mut(name) {
            held.times += 1;
            return Ok(true);
        }
        let Some(txn) = self.wait(self.lock(name, patience))? else { return Ok(false) };
        self.held.lock().insert(name.to_owned(), Held { txn, times: 1 });
        Ok(true)
    }

    fn release(&self, name: &str) -> Result<Option<bool>, EvalError> {
        let last = {
            let mut held = self.held.lock();
            match held.get_mut(name) {
                Some(lock) if lock.times > 1 => {
                    lock.times -= 1;
                    return Ok(Some(true));
                }
                _ => held.remove(name),
            }
        };
        match last {
            Some(mut held) => self.wait(async { Ok(held.txn.rollback().await?) }).map(|()| Some(true)),
            None => Ok(self.wait(self.find_holder(name))?.map(|_| false)),
        }
    }

    fn release_all(&self) -> Result<u64, EvalError> {
        self.wait(async { Ok(self.give_back().await) })
    }

    fn holder(&self, name: &str) -> Result<Option<u64>, EvalError> {
        if self.held.lock().contains_key(name) {
            return Ok(Some(self.connection));
        }
        self.wait(self.find_holder(name))
    }
}

impl std::fmt::Debug for SessionLocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held: Vec<String> = self.held.lock().keys().cloned().collect();
        f.debug_struct("SessionLocks").field("connection", &self.connection).field("held", &held).finish()
    }
}

fn outside(error: &SqlError) -> EvalError {
    match error {
        SqlError::Deadlock => EvalError::UserLockDeadlock,
        error => EvalError::Outside { code: error.code().0, message: error.to_string() },
    }
}

fn lock_key(name: &str) -> Vec<u8> {
    meta::hash_key(LOCKS, name.as_bytes())
}

fn holder_key(connection: u64, start_ts: u64) -> Vec<u8> {
    meta::hash_key(HOLDERS, &[connection.to_be_bytes(), start_ts.to_be_bytes()].concat())
}

fn connection_of(primary: &[u8]) -> Option<u64> {
    let (hash, field) = meta::decode_hash_key(primary).ok()?;
    (hash == HOLDERS).then_some(())?;
    Some(u64::from_be_bytes(*field.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_tells_who_has_the_lock() {
        assert_eq!(connection_of(&holder_key(7, 1)), Some(7));
        assert_eq!(connection_of(&holder_key(u64::MAX, u64::MAX)), Some(u64::MAX));
        assert_ne!(holder_key(1, 1), holder_key(1, 2), "connections of two servers");
        assert_eq!(connection_of(&lock_key("longer than eight")), None);
        assert_eq!(connection_of(b"t_r"), None);
    }
}
