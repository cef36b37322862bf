//! AUTO_INCREMENT values and hidden row numbers.
//!
//! A table's counter in the key space says up to where values have been given to servers. A server takes a batch in a
//! transaction of its own, whatever the statement's transaction does later, and gives from it without asking again; what
//! is left of it when the server ends is never used. So values are unique over all servers, rising on each, and with gaps.
//!
//! Batches grow while they are used up quickly, so that a loading server asks rarely and an idle table wastes little.
//! `AUTO_ID_CACHE = n` fixes their size; with 1 a server takes what a statement needs and keeps nothing, so that
//! AUTO_INCREMENT values rise over all servers in the order of the statements.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kv_client::Client;
use parking_lot::Mutex;
use sql_base::SqlError;
use tokio::time::Instant;

use super::meta::AutoIdKind;
use super::model::TableInfo;
use crate::transact;

const BATCH_MIN: i64 = 1_000;
const BATCH_MAX: i64 = 1_000_000;
/// A batch that lasts less than this is followed by one twice as large.
const BATCH_QUICK: Duration = Duration::from_secs(5);

/// Values that this server may give: `next..=end`.
#[derive(Debug)]
struct Batch {
    next: i64,
    end: i64,
    size: i64,
    taken: Option<Instant>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { next: 1, end: 0, size: BATCH_MIN, taken: None }
    }
}

impl Batch {
    /// Takes `count` neighbouring values, if so many are left.
    fn take(&mut self, count: i64) -> Option<i64> {
        let first = self.next;
        let last = first.checked_add(count - 1)?;
        if last > self.end {
            return None;
        }
        self.next = last + 1;
        Some(first)
    }

    /// How many values to ask for when `count` are wanted. `fixed` is what the table's definition says, 0 for nothing.
    fn size_for(&mut self, count: i64, fixed: i64, now: Instant) -> i64 {
        if fixed > 0 {
            return fixed.max(count);
        }
        match self.taken {
            Some(taken) if now.duration_since(taken) < BATCH_QUICK => self.size = (self.size * 2).min(BATCH_MAX),
            Some(_) => self.size = (self.size / 2).max(BATCH_MIN),
            None => {}
        }
        self.taken = Some(now);
        self.size.max(count)
    }
}

/// One table's counter of one kind on this server. The lock is held while a batch is fetched, so that statements which
/// wait share it.
type Shared = Arc<tokio::sync::Mutex<Batch>>;

/// The allocators of all tables on this server.
pub struct AutoIds {
    /// `None`: nobody else gives values of these tables, so there is nobody to ask.
    client: Option<Client>,
    batches: Mutex<HashMap<(i64, AutoIdKind), Shared>>,
}

impl std::fmt::Debug for AutoIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AutoIds").field("tables", &self.batches.lock().len()).finish_non_exhaustive()
    }
}

impl AutoIds {
    /// Over the key space.
    pub fn new(client: Client) -> Self {
        AutoIds { client: Some(client), batches: Mutex::default() }
    }

    /// Of tables that one session keeps to itself.
    pub fn private() -> Self {
        AutoIds { client: None, batches: Mutex::default() }
    }

    /// Begins a table's counters anew.
    pub fn forget(&self, table: i64) {
        self.batches.lock().retain(|(id, _), _| *id != table);
    }

    fn batch(&self, table: i64, kind: AutoIdKind) -> Shared {
        let new = || {
            let end = if self.client.is_none() { i64::MAX - 1 } else { 0 };
            Arc::new(tokio::sync::Mutex::new(Batch { end, ..Batch::default() }))
        };
        Arc::clone(self.batches.lock().entry((table, kind)).or_insert_with(new))
    }

    /// Takes `count` (at least one) neighbouring values: the first of them.
    pub async fn allocate(&self, table: &TableInfo, kind: AutoIdKind, count: u64) -> Result<i64, SqlError> {
        let count = i64::try_from(count.max(1)).map_err(|_| SqlError::AutoIncrementExhausted)?;
        let batch = self.batch(table.id, kind);
        let mut batch = batch.lock().await;
        // ALTER TABLE … AUTO_INCREMENT = n may have been said since the batch was taken.
        batch.next = batch.next.max(start_of(table, kind).saturating_add(1));
        if let Some(first) = batch.take(count) {
            return Ok(first);
        }
        let size = batch.size_for(count, batch_size(table, kind), Instant::now());
        let (start, end) = self.fetch(table, kind, 0, size, count).await?;
        (batch.next, batch.end) = (start, end);
        batch.take(count).ok_or(SqlError::AutoIncrementExhausted)
    }

    /// A value was given by hand: whatever is allocated from now on, on this server or after this on another, is greater.
    pub async fn rebase(&self, table: &TableInfo, kind: AutoIdKind, value: i64) -> Result<(), SqlError> {
        let batch = self.batch(table.id, kind);
        let mut batch = batch.lock().await;
        if value < batch.next {
            return Ok(());
        }
        if value <= batch.end {
            batch.next = value + 1;
            return Ok(());
        }
        if value == i64::MAX {
            (batch.next, batch.end) = (i64::MAX, i64::MAX - 1);
            return match self.client {
                Some(_) => self.fetch(table, kind, i64::MAX, 0, 0).await.map(drop),
                None => Ok(()),
            };
        }
        let size = match batch_size(table, kind) {
            // Nothing is kept.
            1 => 0,
            0 => batch.size,
            fixed => fixed,
        };
        let (start, end) = self.fetch(table, kind, value, size, 0).await?;
        (batch.next, batch.end) = (start, end);
        Ok(())
    }

    /// The least value that a server which asks now would get: what SHOW NEXT_ROW_ID and SHOW CREATE TABLE tell.
    pub async fn next(&self, table: &TableInfo, kind: AutoIdKind) -> Result<i64, SqlError> {
        let Some(client) = &self.client else {
            return Ok(self.batch(table.id, kind).lock().await.next.max(start_of(table, kind).saturating_add(1)));
        };
        let held = transact!(client, |meta| meta.auto_id(table.auto_id_schema_id, table.id, kind).await)?;
        Ok(held.max(start_of(table, kind)).saturating_add(1))
    }

    /// Moves the counter up to at least `above` and on by `size`: the values between. At least `least` of them.
    async fn fetch(
        &self,
        table: &TableInfo,
        kind: AutoIdKind,
        above: i64,
        size: i64,
        least: i64,
    ) -> Result<(i64, i64), SqlError> {
        let Some(client) = &self.client else { return Err(SqlError::AutoIncrementExhausted) };
        transact!(client, |meta| {
            let held = meta.auto_id(table.auto_id_schema_id, table.id, kind).await?;
            let from = held.max(start_of(table, kind)).max(above);
            let to = from.saturating_add(size);
            if to - from < least {
                return Err(SqlError::AutoIncrementExhausted);
            }
            if to != held {
                meta.put_auto_id(table.auto_id_schema_id, table.id, kind, to).await?;
            }
            Ok((from.saturating_add(1), to))
        })
    }
}

/// How many values a server takes at a time, 0 where that is not fixed. Row numbers are nobody's business: for them 1 means
/// nothing.
fn batch_size(table: &TableInfo, kind: AutoIdKind) -> i64 {
    match (kind, table.auto_id_cache) {
        (AutoIdKind::RowId, 1) => 0,
        (_, size) => size,
    }
}

/// Values up to here were never to be given: AUTO_INCREMENT=n starts at n.
fn start_of(table: &TableInfo, kind: AutoIdKind) -> i64 {
    match kind {
        AutoIdKind::AutoIncrement => (table.auto_inc_start - 1).max(0),
        AutoIdKind::RowId => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_neighbouring_values_and_then_nothing() {
        let mut batch = Batch { next: 5, end: 10, ..Batch::default() };
        assert_eq!(batch.take(1), Some(5));
        assert_eq!(batch.take(4), Some(6));
        assert_eq!(batch.take(2), None, "not split over two batches");
        assert_eq!(batch.take(1), Some(10));
        assert_eq!(batch.take(1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_grow_while_they_are_used_up_quickly() {
        let mut batch = Batch::default();
        let now = Instant::now();
        assert_eq!(batch.size_for(1, 0, now), BATCH_MIN);
        assert_eq!(batch.size_for(1, 0, now + Duration::from_secs(1)), BATCH_MIN * 2);
        assert_eq!(batch.size_for(100_000, 0, now + Duration::from_secs(2)), 100_000);
        assert_eq!(batch.size_for(1, 0, now + Duration::from_secs(200)), BATCH_MIN * 2);
        assert_eq!(batch.size_for(1, 0, now + Duration::from_secs(400)), BATCH_MIN);
        assert_eq!((batch.size_for(1, 30, now), batch.size_for(40, 30, now), batch.size_for(1, 1, now)), (30, 40, 1));
    }
}
