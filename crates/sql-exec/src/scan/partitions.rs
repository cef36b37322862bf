//! A scan of a table with partitions: which of them it reads, and what keys in each.
//!
//! A plan holds keys as if the table had no partitions. For a run, ranges become those of every partition that its conditions
//! leave, and whole keys go to the one partition that can have them. What remains is one scan for each, without partitions. They
//! are read one after the other, or by one request where all that is asked for are ranges.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use codec::datum::Datum;
use codec::table::{PhysicalTableId, table_prefix};
use query::batch::Batch;
use sql_base::SqlError;
use sql_catalog::row;
use sql_planner::plan::{Access, Merge, MergePart, NodeId, Scan};

use super::{build_one, find_index, is_local};
use crate::runtime::Runtime;
use crate::stream::{Fixed, Operator};

/// The scans of a run, in the order of the partitions' keys; the scan itself where the table has no partitions.
pub(crate) fn spread(scan: &Scan, rt: &mut Runtime) -> Result<Vec<Scan>, SqlError> {
    let access = rt.access(scan)?.into_owned();
    let (Some(partitions), Some(info)) = (&scan.partitions, &scan.table.partition) else {
        return Ok(vec![Scan { access, ..scan.clone() }]);
    };
    let conditions = partitions.conditions.iter().map(|c| rt.settled(c)).collect::<Result<Vec<_>, _>>()?;
    let left = scan.partitions_left(&conditions, &rt.zone).unwrap_or_default();
    let mut ids: Vec<PhysicalTableId> =
        left.into_iter().filter_map(|at| info.definitions.get(at)).map(|p| p.physical_id()).collect();
    ids.sort_unstable();
    let mut keys = keys_of(scan, &access, &ids)?;
    if scan.order == Some(true) {
        ids.reverse();
    }
    let of = |id| Some(Scan { physical: id, partitions: None, access: keys.remove(&id)?, ..scan.clone() });
    Ok(ids.into_iter().filter_map(of).collect())
}

/// The keys in each of these partitions; one without keys is not there.
fn keys_of(
    scan: &Scan,
    access: &Access,
    ids: &[PhysicalTableId],
) -> Result<BTreeMap<PhysicalTableId, Access>, SqlError> {
    let mut keys = BTreeMap::new();
    let mut add = |id: Option<PhysicalTableId>, make: &dyn Fn() -> Access, put: &dyn Fn(&mut Access)| {
        if let Some(id) = id.filter(|id| ids.contains(id)) {
            put(keys.entry(id).or_insert_with(make));
        }
    };
    match access {
        Access::Empty => {}
        Access::PointHandles(handles) => {
            let column = scan.table.handle_column();
            let column = column.ok_or_else(|| SqlError::internal("plan", "handles of rows that have other keys"))?;
            for handle in handles {
                let value = row::handle_datum(*handle, &column.field_type);
                let id = scan.table.partition_of_key([(column.offset, &value)])?;
                add(id, &|| Access::PointHandles(Vec::new()), &|access| {
                    if let Access::PointHandles(list) = access {
                        list.push(*handle);
                    }
                });
            }
        }
        Access::PointIndex { index, keys: points } => {
            let columns = &find_index(&scan.table, *index)?.columns;
            for values in points {
                let id = partition_of_values(scan, columns, values)?;
                add(id, &|| Access::PointIndex { index: *index, keys: Vec::new() }, &|access| {
                    if let Access::PointIndex { keys, .. } = access {
                        keys.push(values.clone());
                    }
                });
            }
        }
        Access::Merge(merge) => {
            let parts = merge.parts.iter().map(|part| Ok((part, keys_of(scan, &part.access, ids)?)));
            let parts = parts.collect::<Result<Vec<_>, SqlError>>()?;
            for id in ids {
                let own: Vec<MergePart> = parts
                    .iter()
                    .filter_map(|(part, keys)| Some(MergePart { access: keys.get(id)?.clone(), rows: part.rows }))
                    .collect();
                // A row must be found on all ways, or on any.
                if own.is_empty() || (merge.all && own.len() < parts.len()) {
                    continue;
                }
                keys.insert(*id, Access::Merge(Box::new(Merge { all: merge.all, parts: own })));
            }
        }
        Access::Full | Access::Handles(_) => keys.extend(ids.iter().map(|id| (*id, access.clone()))),
        Access::Index { index, ranges, words, covering } => {
            for id in ids {
                let moved = |(start, end): &(Vec<u8>, Vec<u8>)| Ok((moved(scan, start, *id)?, moved(scan, end, *id)?));
                let ranges = ranges.iter().map(moved).collect::<Result<_, SqlError>>()?;
                let access = Access::Index { index: *index, ranges, words: words.clone(), covering: *covering };
                keys.insert(*id, access);
            }
        }
        Access::Late(_) => return Err(SqlError::internal("plan", "keys that are not known yet")),
    }
    Ok(keys)
}

/// The partition of the row with these values of a unique key.
pub(crate) fn partition_of_values(
    scan: &Scan,
    columns: &[sql_catalog::IndexColumn],
    values: &[Datum],
) -> Result<Option<PhysicalTableId>, SqlError> {
    scan.table.partition_of_key(columns.iter().map(|part| part.offset).zip(values))
}

/// A key of the plan as it is in a partition.
fn moved(scan: &Scan, key: &[u8], to: PhysicalTableId) -> Result<Vec<u8>, SqlError> {
    let rest = key.strip_prefix(&table_prefix(scan.physical)[..]);
    let rest = rest.ok_or_else(|| SqlError::internal("plan", "a key of another table"))?;
    Ok([&table_prefix(to)[..], rest].concat())
}

/// Builds the operator that reads them all.
pub(super) fn build(scan: &Scan, at: NodeId, rt: &mut Runtime) -> Result<Box<dyn Operator>, SqlError> {
    let mut scans: VecDeque<Scan> = spread(scan, rt)?.into();
    let ranges = |scan: &Scan| match &scan.access {
        Access::Full | Access::Handles(_) => true,
        Access::Index { index, covering, .. } => {
            *covering || find_index(&scan.table, *index).is_ok_and(|index| scan.table.is_clustered_by(index))
        }
        _ => false,
    };
    let together = scan.lock.is_none() && !is_local(scan, rt) && scans.iter().all(ranges);
    if scans.len() < 2 || together {
        let Some(first) = scans.pop_front() else { return Ok(Box::new(Fixed::new(vec![]))) };
        return build_one(&first, scans.make_contiguous(), at, rt);
    }
    Ok(Box::new(Spread { scans, at, current: None }))
}

/// Scans one after the other.
struct Spread {
    scans: VecDeque<Scan>,
    at: NodeId,
    current: Option<Box<dyn Operator>>,
}

#[async_trait]
impl Operator for Spread {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let Some(scan) = self.scans.pop_front() else { return Ok(None) };
                    self.current.insert(build_one(&scan, &[], self.at, rt)?)
                }
            };
            match current.next(rt).await? {
                Some(batch) => return Ok(Some(batch)),
                None => self.current = None,
            }
        }
    }
}
