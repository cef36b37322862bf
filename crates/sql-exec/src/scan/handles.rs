//! Handles of rows: known ones, those that entries of an index have, and those that several ways have in common.
//!
//! Each way reads through the pending writes of the transaction ([`Reader::through`]), so that what it gives are the rows as
//! the statement sees them; the rows themselves are fetched afterwards. Merged ways give each handle once. What they must
//! remember for that counts as held by the scan; there is no way to write it elsewhere, so too many end with 8175.

use std::collections::{HashSet, VecDeque};

use codec::table::{self, Handle, PhysicalTableId};
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_catalog::row;
use sql_planner::plan::{Access, Merge, NodeId, Scan};

use super::{find_index, record_ranges};
use crate::reader::Reader;
use crate::runtime::Runtime;

/// What a remembered handle takes beside its key.
const HANDLE_BYTES: usize = 48;

/// Handles, a batch at a time.
pub(super) struct Handles {
    table: PhysicalTableId,
    reader: Reader,
    keys: Keys,
}

enum Keys {
    /// Known rows.
    Rows(VecDeque<Handle>),
    /// Keys of a unique index whose values are handles.
    Unique(VecDeque<Vec<u8>>),
    /// Ranges of rows.
    Ranges(VecDeque<(Vec<u8>, Vec<u8>)>),
    /// Ranges of index entries.
    Entries { columns: usize, clustered: bool, ranges: VecDeque<(Vec<u8>, Vec<u8>)>, desc: bool },
}

impl Handles {
    /// Of the rows to which these keys of a scan's table lead. What no single way is has none.
    pub(super) fn of(scan: &Scan, access: &Access, reader: &Reader, desc: bool) -> Result<Handles, SqlError> {
        let table = scan.physical;
        let direction = |mut ranges: VecDeque<_>| {
            if desc {
                ranges.make_contiguous().reverse();
            }
            ranges
        };
        let with = |keys| Handles { table, reader: reader.clone(), keys };
        Ok(match access {
            Access::PointHandles(handles) => with(Keys::Rows(handles.iter().map(|h| Handle::Int(*h)).collect())),
            Access::PointIndex { index, keys } => {
                let index = find_index(&scan.table, *index)?;
                if scan.table.is_clustered_by(index) {
                    let parts = row::index_parts(&scan.table, index);
                    let handles = keys.iter().map(|k| Handle::of_values(&parts, k).map_err(row::damaged));
                    return Ok(with(Keys::Rows(handles.collect::<Result<_, _>>()?)));
                }
                let keys = keys.iter().map(|k| row::values_key(&scan.table, table, index, k));
                let keys = Keys::Unique(keys.collect::<Result<_, _>>()?);
                Handles { table, reader: reader.through(&scan.table, table, index)?, keys }
            }
            Access::Index { index, ranges, .. } => {
                let index = find_index(&scan.table, *index)?;
                let ranges = direction(ranges.clone().into());
                if scan.table.is_clustered_by(index) {
                    return Ok(with(Keys::Ranges(ranges)));
                }
                let (columns, clustered) = (index.columns.len(), scan.table.is_common_handle);
                let keys = Keys::Entries { columns, clustered, ranges, desc };
                Handles { table, reader: reader.through(&scan.table, table, index)?, keys }
            }
            Access::Handles(_) => with(Keys::Ranges(record_ranges(scan, access, desc))),
            Access::Full | Access::Empty | Access::Merge(_) | Access::Late(_) => {
                return Err(SqlError::internal("plan", "these are not keys of one kind"));
            }
        })
    }

    /// The next handles, of so many keys; `None` at the end.
    pub(super) async fn next(&mut self, batch: usize) -> Result<Option<Vec<Handle>>, SqlError> {
        let Handles { table, reader, keys } = self;
        match keys {
            Keys::Rows(rows) if rows.is_empty() => Ok(None),
            Keys::Rows(rows) => Ok(Some(rows.drain(..rows.len().min(batch)).collect())),
            Keys::Unique(keys) if keys.is_empty() => Ok(None),
            Keys::Unique(keys) => {
                let some: Vec<Vec<u8>> = keys.drain(..keys.len().min(batch)).collect();
                let mut handles = Vec::new();
                for (key, value) in some.iter().zip(reader.batch_get(&some).await?) {
                    let Some(value) = value else { continue };
                    let handle = table::decode_unique_handle(&value).map_err(row::damaged)?;
                    if !reader.is_stale(*table, key, &handle) {
                        handles.push(handle);
                    }
                }
                Ok(Some(handles))
            }
            Keys::Ranges(ranges) => {
                let Some((start, end)) = ranges.pop_front() else { return Ok(None) };
                let (pairs, rest) = reader.scan(start, end, batch, false).await?;
                if let Some(rest) = rest {
                    ranges.push_front(rest);
                }
                let handle = |(k, _): (Vec<u8>, Vec<u8>)| table::decode_handle(&k).map_err(row::damaged);
                pairs.into_iter().map(handle).collect::<Result<_, _>>().map(Some)
            }
            Keys::Entries { columns, clustered, ranges, desc } => {
                let Some((start, end)) = ranges.pop_front() else { return Ok(None) };
                let (pairs, rest) = reader.scan(start, end, batch, *desc).await?;
                if let Some(rest) = rest {
                    ranges.push_front(rest);
                }
                let mut handles = Vec::with_capacity(pairs.len());
                for (k, v) in &pairs {
                    let handle = table::decode_entry_handle(k, v, *columns, *clustered).map_err(row::damaged)?;
                    if !reader.is_stale(*table, k, &handle) {
                        handles.push(handle);
                    }
                }
                Ok(Some(handles))
            }
        }
    }
}

/// Handles to which several ways lead: on any of them, or on all.
pub(super) struct Merged {
    all: bool,
    parts: VecDeque<Handles>,
    /// Of any: what was given. Of all: what every way so far has.
    seen: HashSet<Handle>,
    held: Held,
}

impl Merged {
    pub(super) fn of(
        scan: &Scan,
        merge: &Merge,
        reader: &Reader,
        at: NodeId,
        rt: &mut Runtime,
    ) -> Result<Merged, SqlError> {
        let parts = merge.parts.iter().map(|part| Handles::of(scan, &part.access, reader, false));
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Merged { all: merge.all, parts, seen: HashSet::new(), held: rt.held_by(at) })
    }

    fn remember(&mut self, handle: &Handle) -> Result<bool, SqlError> {
        if !self.seen.insert(handle.clone()) {
            return Ok(false);
        }
        let key = if let Handle::Key(key) = handle { key.len() } else { 0 };
        self.held.grow(HANDLE_BYTES + key)?;
        Ok(true)
    }

    /// The next handles, of so many keys; `None` at the end.
    pub(super) async fn next(&mut self, batch: usize, rt: &Runtime) -> Result<Option<Vec<Handle>>, SqlError> {
        // All ways but the last are read first where a row must be on all.
        let mut first = true;
        while self.all && self.parts.len() > 1 {
            let Some(mut part) = self.parts.pop_front() else { break };
            let before = std::mem::take(&mut self.seen);
            let (is_first, bytes_before) = (std::mem::take(&mut first), self.held.bytes());
            while let Some(handles) = part.next(super::SCAN_PAIRS).await? {
                rt.pause().await?;
                for handle in handles.iter().filter(|h| is_first || before.contains(*h)) {
                    self.remember(handle)?;
                }
            }
            drop(before);
            self.held.shrink(bytes_before);
            if self.seen.is_empty() {
                self.parts.clear();
            }
        }
        loop {
            rt.pause().await?;
            let Some(part) = self.parts.front_mut() else { return Ok(None) };
            let Some(mut handles) = part.next(batch).await? else {
                self.parts.pop_front();
                continue;
            };
            if self.all {
                handles.retain(|h| self.seen.remove(h));
            } else {
                let mut new = Vec::with_capacity(handles.len());
                for handle in handles {
                    if self.remember(&handle)? {
                        new.push(handle);
                    }
                }
                handles = new;
            }
            if !handles.is_empty() {
                return Ok(Some(handles));
            }
        }
    }
}
