//! The schema that this server uses now, and the promise that goes with it.
//!
//! A schema change moves on when every server has acknowledged its last step, so an acknowledgement promises: *from now
//! on nothing commits here that was written under an older schema of the tables that changed*. Two things keep it:
//!
//! - A commit holds a [`CommitGuard`] from its check to its end. The check compares the tables that the transaction used
//!   with the schema of now (8028 if one changed); the acknowledgement of a newer schema waits for the guards that were
//!   given out under an older one.
//! - A server that PD has not heard of for the time of its lease is no longer waited for. It must then not commit either:
//!   [`SchemaCache::renew`] is called with the time until which the lease is certain, and past it a commit first waits for
//!   the lease to come back, then fails (8027). A commit that has begun takes time, and its process may be stopped
//!   meanwhile: so it asks again where it takes its commit timestamp ([`CommitGuard::fence`]), and may then only happen as
//!   long as the lease lasts under which it began.
//!
//! Not here: loading (`load`), the lease and the acknowledgement themselves (`sql-ddl`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sql_base::SqlError;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::schema::Schema;

/// How long a commit waits for the schema lease to come back: a change of PD's leader fits in.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// A table as a transaction used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsedTable {
    /// The table's id.
    pub id: i64,
    /// [`super::TableInfo::revision`] as the transaction saw it.
    pub revision: i64,
}

/// The current schema of this server.
#[derive(Debug)]
pub struct SchemaCache {
    current: RwLock<Arc<Schema>>,
    version: watch::Sender<i64>,
    lease: watch::Sender<Lease>,
    commits: Arc<Commits>,
}

/// The schema lease.
#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    /// Which one: none of those before can come back.
    number: u64,
    /// It is certain until then; `None` without one.
    until: Option<Instant>,
}

/// Commits under way: how many under each schema version. The lock is held for the arithmetic only.
#[derive(Debug, Default)]
struct Commits {
    under: Mutex<BTreeMap<i64, usize>>,
    finished: Notify,
}

/// A commit under way. Keep it until the commit has returned.
#[derive(Debug)]
pub struct CommitGuard {
    commits: Arc<Commits>,
    version: i64,
    /// The number of the lease that it began under, and the lease of now.
    lease: u64,
    now: watch::Receiver<Lease>,
}

impl CommitGuard {
    /// What the commit asks when it has taken a timestamp: how much later than that it may happen. `Err` once the lease is
    /// over that it began under: others may have changed the schema since.
    pub fn fence(&self) -> impl Fn() -> Result<Duration, String> + Send + Sync + use<> {
        let (lease, now) = (self.lease, self.now.clone());
        move || {
            let Lease { number, until } = *now.borrow();
            let left = until.and_then(|until| until.checked_duration_since(Instant::now()));
            match left {
                Some(left) if number == lease && !left.is_zero() => Ok(left),
                _ => Err("the schema lease ended while the transaction was committed".into()),
            }
        }
    }
}

impl Drop for CommitGuard {
    fn drop(&mut self) {
        let mut under = self.commits.under.lock();
        if let Some(count) = under.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                under.remove(&self.version);
            }
        }
        drop(under);
        self.commits.finished.notify_waiters();
    }
}

impl Default for SchemaCache {
    fn default() -> Self {
        SchemaCache {
            current: RwLock::new(Arc::new(Schema::default())),
            version: watch::Sender::new(0),
            lease: watch::Sender::new(Lease::default()),
            commits: Arc::default(),
        }
    }
}

impl SchemaCache {
    /// The schema of now.
    pub fn current(&self) -> Arc<Schema> {
        Arc::clone(&self.current.read())
    }

    /// Its version, and a wake-up when it changes.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.version.subscribe()
    }

    /// Replaces the schema. Statements that run go on with the one they took.
    pub fn install(&self, schema: Schema) {
        let version = schema.version();
        *self.current.write() = Arc::new(schema);
        self.version.send_replace(version);
    }

    /// The lease is certain until then. `None`: it is lost.
    pub fn renew(&self, until: Option<Instant>) {
        self.lease.send_modify(|lease| {
            lease.number += u64::from(until.is_none());
            lease.until = until;
        });
    }

    /// Checks the tables that a transaction is about to commit changes of, and holds newer schemas' acknowledgements
    /// back until the guard is dropped. Reads need no guard.
    pub async fn begin_commit(&self, tables: &[UsedTable]) -> Result<CommitGuard, SqlError> {
        let lease = self.wait_for_lease().await?;
        // The version is taken and registered under one lock with `install`'s write, so that an acknowledgement either
        // sees this commit or this commit sees the new schema.
        let current = self.current.read();
        for table in tables {
            match current.table_by_id(table.id) {
                Some(held) if held.revision == table.revision => {}
                _ => return Err(SqlError::SchemaChanged),
            }
        }
        let version = current.version();
        *self.commits.under.lock().entry(version).or_default() += 1;
        Ok(CommitGuard { commits: Arc::clone(&self.commits), version, lease, now: self.lease.subscribe() })
    }

    /// Returns the number of the lease that is certain now.
    async fn wait_for_lease(&self) -> Result<u64, SqlError> {
        let certain = |lease: &Lease| lease.until.is_some_and(|until| Instant::now() < until);
        let lease = *self.lease.borrow();
        if certain(&lease) {
            return Ok(lease.number);
        }
        let mut changes = self.lease.subscribe();
        let renewed = tokio::time::timeout(LEASE_WAIT, changes.wait_for(certain)).await;
        match renewed {
            Ok(Ok(lease)) => Ok(lease.number),
            _ => Err(SqlError::SchemaOutdated),
        }
    }

    /// Returns when no commit is under way that was checked under a schema older than `version`.
    pub async fn older_commits_finished(&self, version: i64) {
        loop {
            let finished = self.commits.finished.notified();
            tokio::pin!(finished);
            // Registered before the look, so that no wake-up is missed.
            finished.as_mut().enable();
            if self.commits.under.lock().range(..version).next().is_none() {
                return;
            }
            finished.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, DatabaseInfo, SchemaState, TableInfo};

    fn schema(version: i64, revision: i64) -> Schema {
        let database = DatabaseInfo {
            id: 1,
            name: "d".into(),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            state: SchemaState::Public,
            policy: None,
        };
        let table = TableInfo { revision, auto_id_schema_id: 1, ..TableInfo::new(2, "t", Vec::new()) };
        Schema::new(version, [Arc::new(Database::new(database, [Arc::new(table)]))], [])
    }

    fn cache() -> SchemaCache {
        let cache = SchemaCache::default();
        cache.install(schema(1, 1));
        cache.renew(Some(Instant::now() + Duration::from_secs(3600)));
        cache
    }

    #[tokio::test]
    async fn a_transaction_over_a_changed_table_does_not_commit() {
        let cache = cache();
        let used = UsedTable { id: 2, revision: 1 };
        cache.begin_commit(&[used]).await.unwrap();
        cache.install(schema(2, 1));
        cache.begin_commit(&[used]).await.unwrap();
        cache.install(schema(3, 3));
        assert_eq!(cache.begin_commit(&[used]).await.unwrap_err().code().0, 8028);
        assert_eq!(cache.begin_commit(&[UsedTable { id: 9, revision: 1 }]).await.unwrap_err().code().0, 8028);
    }

    #[tokio::test]
    async fn an_acknowledgement_waits_for_commits_under_older_schemas_only() {
        let cache = cache();
        let old = cache.begin_commit(&[]).await.unwrap();
        cache.install(schema(2, 1));
        let _new = cache.begin_commit(&[]).await.unwrap();
        let wait = cache.older_commits_finished(2);
        tokio::pin!(wait);
        assert!(futures::poll!(wait.as_mut()).is_pending());
        drop(old);
        wait.await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_lease_a_commit_waits_and_then_fails() {
        let cache = cache();
        cache.renew(None);
        assert_eq!(cache.begin_commit(&[]).await.unwrap_err().code().0, 8027);
        let commit = cache.begin_commit(&[]);
        tokio::pin!(commit);
        assert!(futures::poll!(commit.as_mut()).is_pending());
        cache.renew(Some(Instant::now() + Duration::from_secs(60)));
        commit.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_does_not_happen_after_the_lease_that_it_began_under() {
        let cache = cache();
        cache.renew(Some(Instant::now() + Duration::from_secs(9)));
        let fence = cache.begin_commit(&[]).await.unwrap().fence();
        assert_eq!(fence(), Ok(Duration::from_secs(9)));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(fence(), Ok(Duration::from_secs(5)));
        // The process is stopped for longer than that; nobody has told it yet that the lease is over.
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(fence().is_err());
        // Kept in time after all, it is the same lease; another one is not.
        cache.renew(Some(Instant::now() + Duration::from_secs(9)));
        assert!(fence().is_ok());
        cache.renew(None);
        cache.renew(Some(Instant::now() + Duration::from_secs(9)));
        assert!(fence().is_err());
        assert!(cache.begin_commit(&[]).await.unwrap().fence()().is_ok());
    }
}
