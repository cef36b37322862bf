//! Pairs of the key space as a statement sees them.
//!
//! A [`Reader`] is a snapshot with the statement's own view of pending writes laid over it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use codec::table::{self, Handle, PhysicalTableId};
use kv_client::Snapshot;
use sql_base::SqlError;
use sql_catalog::row;
use sql_catalog::{IndexInfo, TableInfo, TableKind};

/// Keys that differ from the snapshot: `None` is a deleted one.
pub type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a statement reads from.
#[derive(Clone)]
pub struct Reader {
    /// None for a statement that reads no stored table.
    snapshot: Option<Snapshot>,
    overlay: Arc<Overlay>,
}

impl Reader {
    /// A snapshot alone.
    pub fn new(snapshot: Snapshot) -> Reader {
        Reader { snapshot: Some(snapshot), overlay: Arc::default() }
    }

    /// A snapshot under pending writes.
    pub fn with_overlay(snapshot: Snapshot, overlay: Overlay) -> Reader {
        Reader { snapshot: Some(snapshot), overlay: Arc::new(overlay) }
    }

    /// Of a statement that reads no stored table: it needs neither a cluster nor a timestamp.
    pub fn of_nothing() -> Reader {
        Reader { snapshot: None, overlay: Arc::default() }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> Result<&Snapshot, SqlError> {
        self.snapshot.as_ref().ok_or_else(|| SqlError::internal("reader", "the statement reads no stored table"))
    }

    /// Whether pending writes touch the table, or this partition of it.
    pub fn is_dirty(&self, table: &TableInfo, at: PhysicalTableId) -> bool {
        // Stores have nothing of a temporary table.
        let (start, end) = table::table_range(at);
        table.kind == TableKind::Temporary || self.overlay.range(start..end).next().is_some()
    }

    /// The same for reads through an index: rows that the transaction has written count with the entries that they have
    /// now, written or not. In the snapshot a row may have other entries, or none, if somebody else changed it before the
    /// transaction did; such entries are told by [`Reader::is_stale`].
    pub(crate) fn through(
        &self,
        table: &TableInfo,
        at: PhysicalTableId,
        index: &IndexInfo,
    ) -> Result<Reader, SqlError> {
        let (start, end) = table::record_range(at);
        let mut overlay = None;
        let decoder = row::full_decoder(table);
        for (key, value) in self.overlay.range(start..end) {
            let Some(value) = value else { continue };
            let handle = table::decode_handle(key).map_err(row::damaged)?;
            let row = decoder.decode(value, &handle).map_err(row::damaged)?;
            let entry = row::index_entry(table, at, index, &row, &handle)?;
            overlay.get_or_insert_with(|| (*self.overlay).clone()).insert(entry.key, Some(entry.value));
        }
        Ok(match overlay {
            Some(overlay) => Reader { snapshot: self.snapshot.clone(), overlay: Arc::new(overlay) },
            None => self.clone(),
        })
    }

    /// Whether an entry of the index that is read through belongs to a version of the row that the transaction has
    /// replaced.
    pub(crate) fn is_stale(&self, table: PhysicalTableId, key: &[u8], handle: &Handle) -> bool {
        !self.overlay.is_empty()
            && !self.overlay.contains_key(key)
            && self.overlay.contains_key(&table::record_key(table, handle))
    }

    /// Values of keys, in their order.
    pub async fn batch_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, SqlError> {
        if self.overlay.is_empty() {
            return Ok(self.snapshot()?.batch_get(keys).await?);
        }
        let asked: Vec<Vec<u8>> = keys.iter().filter(|k| !self.overlay.contains_key(*k)).cloned().collect();
        let mut got = self.snapshot()?.batch_get(&asked).await?.into_iter();
        Ok(keys
            .iter()
            .map(|k| match self.overlay.get(k) {
                Some(v) => v.clone(),
                None => got.next().flatten(),
            })
            .collect())
    }

    /// Some pairs of a range in key order (descending with `reverse`), and what is left of the range.
    #[allow(clippy::type_complexity)]
    pub(crate) async fn scan(
        &self,
        start: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
        reverse: bool,
    ) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, Option<(Vec<u8>, Vec<u8>)>), SqlError> {
        let committed = self.snapshot()?.scan(&start, &end, limit, reverse, false).await?;
        let complete = committed.len() < limit;
        // The overlay is merged over the part of the range that was read.
        let (low, high, rest) = match (complete, committed.last()) {
            (false, Some((last, _))) if reverse => (last.clone(), end.clone(), Some((start.clone(), last.clone()))),
            (false, Some((last, _))) => {
                let next = codec::key::next(last);
                (start.clone(), next.clone(), Some((next, end.clone())))
            }
            _ => (start.clone(), end.clone(), None),
        };
        let upper = if high.is_empty() { Bound::Unbounded } else { Bound::Excluded(high.clone()) };
        let inverted = !high.is_empty() && low >= high;
        if inverted || self.overlay.range((Bound::Included(low.clone()), upper.clone())).next().is_none() {
            return Ok((committed, rest));
        }
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = committed.into_iter().collect();
        for (k, v) in self.overlay.range((Bound::Included(low), upper)) {
            match v {
                Some(v) => merged.insert(k.clone(), v.clone()),
                None => merged.remove(k),
            };
        }
        let mut pairs: Vec<_> = merged.into_iter().collect();
        if reverse {
            pairs.reverse();
        }
        Ok((pairs, rest))
    }
}
