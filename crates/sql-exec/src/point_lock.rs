//! Locks on rows that a plan reads by key, taken before the rows are read.
//!
//! A change or a locking read that finds its rows by primary or unique key must judge its other conditions on the newest
//! version of them: it waits for whoever has them locked, and reads what they leave. So the keys are locked first, with
//! the values in the answer (one request instead of two), and the plan then runs over those values.
//!
//! Not here: rows found by a range. They are read at a fresh timestamp and those that match are locked; a row that changed
//! in between is a write conflict, and the session runs the statement again.

use codec::table::{Handle, PhysicalTableId, decode_unique_handle, record_key};
use codec::timestamp::Timestamp;
use kv_client::{LockWait, Transaction};
use sql_base::SqlError;
use sql_catalog::row;
use sql_planner::plan::{Access, Lock, Plan, Scan};

use crate::reader::Overlay;
use crate::runtime::Runtime;
use crate::scan::partitions::spread;

/// Keys of a plan that reads single rows of one table.
pub(super) struct PointKeys {
    rows: Vec<Vec<u8>>,
    /// Keys of a unique index, whose values lead to the rows, and where these are.
    entries: Vec<(PhysicalTableId, Vec<u8>)>,
    /// The lock clause of the scan.
    pub(super) clause: Option<Lock>,
}

/// What is at the keys once they are locked.
pub(super) struct LockedPoints {
    /// As of when.
    pub(super) ts: Timestamp,
    /// What is at the keys now: pending, or committed.
    pub(super) values: Overlay,
}

impl PointKeys {
    /// The keys that an optimized plan reads, if it reads nothing else.
    pub(super) fn of(plan: &Plan, rt: &mut Runtime) -> Option<PointKeys> {
        match plan {
            Plan::Scan(scan) => {
                if !matches!(&*rt.access(scan).ok()?, Access::PointHandles(_) | Access::PointIndex { .. }) {
                    return None;
                }
                let mut keys = PointKeys { rows: Vec::new(), entries: Vec::new(), clause: scan.lock };
                spread(scan, rt).ok()?.iter().try_for_each(|scan| keys.add(scan))?;
                Some(keys)
            }
            Plan::Project { input, .. }
            | Plan::Filter { input, .. }
            | Plan::Sort { input, .. }
            | Plan::Limit { input, .. } => PointKeys::of(input, rt),
            _ => None,
        }
    }

    /// Those of a scan of one table or partition.
    fn add(&mut self, scan: &Scan) -> Option<()> {
        let (table, PointKeys { rows, entries, .. }) = (scan.physical, self);
        match &scan.access {
            Access::PointHandles(handles) => {
                rows.extend(handles.iter().map(|h| record_key(table, &Handle::Int(*h))));
            }
            Access::PointIndex { index, keys } => {
                let index = scan.table.indexes.iter().find(|i| i.id == *index)?;
                if scan.table.is_clustered_by(index) {
                    let parts = row::index_parts(&scan.table, index);
                    for values in keys {
                        rows.push(record_key(table, &Handle::of_values(&parts, values).ok()?));
                    }
                } else {
                    for values in keys {
                        entries.push((table, row::values_key(&scan.table, table, index, values).ok()?));
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Locks the keys, entries of a unique index before the rows they lead to. Waits for those who have them.
    pub(super) async fn lock(&self, txn: &mut Transaction, wait: LockWait) -> Result<LockedPoints, SqlError> {
        let options = || kv_client::LockOptions { wait, return_values: true, ..Default::default() };
        let mut values = Overlay::new();
        let mut ts = txn.for_update_ts();
        let mut row_keys = self.rows.clone();
        if !self.entries.is_empty() {
            let keys = self.entries.iter().map(|(_, key)| key.clone()).collect();
            let locked = txn.lock_keys(keys, options()).await?;
            ts = ts.max(locked.for_update_ts);
            for ((table, k), v) in self.entries.iter().zip(locked.values) {
                let current = match txn.buffer().get(k) {
                    Some(entry) => entry.value.clone(),
                    None => v,
                };
                if let Some(v) = &current {
                    let handle = decode_unique_handle(v).map_err(row::damaged)?;
                    row_keys.push(record_key(*table, &handle));
                }
                values.insert(k.clone(), current);
            }
        }
        if !row_keys.is_empty() {
            let locked = txn.lock_keys(row_keys.clone(), options()).await?;
            ts = ts.max(locked.for_update_ts);
            values.extend(row_keys.into_iter().zip(locked.values).map(|(k, v)| {
                let pending = txn.buffer().get(&k).map(|entry| entry.value.clone());
                (k, pending.unwrap_or(v))
            }));
        }
        Ok(LockedPoints { ts, values })
    }
}
