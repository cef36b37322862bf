//! New rows whose keys may be taken: what is in their way is left, goes, or is changed instead.
//!
//! What may be in the way is read (and locked) for all rows at once; then one row after the other is written.

use std::collections::HashMap;

use codec::datum::Datum;
use codec::table::Handle;
use sql_base::SqlError;
use sql_catalog::{TableInfo, row};
use sql_context::ExecContext;
use sql_planner::change::Conflict;

use super::fitting::Fitting;
use super::ids::NewId;
use super::insert::Counts;
use super::row::{End, Row, Way, local, same_row};
use crate::runtime::Runtime;
use crate::statement::lock_wait;
use crate::writer::Writer;

/// New rows of a statement.
pub(super) struct NewRows<'r> {
    pub(super) rows: &'r [Row],
    pub(super) ids: &'r [NewId],
    /// The number of each in the statement, from 1.
    pub(super) numbers: &'r [u64],
    /// What ON DUPLICATE KEY UPDATE reads of the query's tables, for each row.
    pub(super) sources: &'r [Vec<Datum>],
}

/// A row that is in the way.
struct InTheWay {
    old: Vec<Datum>,
    handle: Handle,
}

/// Writes the rows. `changes` are the steps of rows that are changed instead.
pub(super) async fn write(
    ctx: &mut ExecContext<'_>,
    table: &TableInfo,
    (conflict, changes): (&Conflict, Option<&Way<'_>>),
    new: NewRows<'_>,
    writer: &mut Writer,
    fitting: &mut Fitting,
    rt: &mut Runtime,
) -> Result<Counts, SqlError> {
    let wait = lock_wait(ctx.session, false);
    let zone = fitting.zone.clone();
    let mut counts = Counts::of(table);
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (row, id) in new.rows.iter().zip(new.ids) {
        all.extend(writer.conflict_keys(&row.new, &id.handle, id.fresh)?.into_iter().map(|k| k.0));
    }
    all.sort();
    all.dedup();
    let txn = ctx.txn().await?;
    let values = writer.current(txn, &all, wait).await?;
    let known: HashMap<Vec<u8>, Option<Vec<u8>>> = all.into_iter().zip(values).collect();
    'rows: for (n, (row, id)) in new.rows.iter().zip(new.ids).enumerate() {
        fitting.row = new.numbers.get(n).copied().unwrap_or(1);
        loop {
            // The first key that is in the way: the primary key before the others.
            let mut taken = None;
            for (key, index) in writer.conflict_keys(&row.new, &id.handle, id.fresh)? {
                let value = match txn.buffer().get(&key) {
                    Some(entry) => entry.value.clone(),
                    None => known.get(&key).cloned().flatten(),
                };
                if let Some(value) = value {
                    taken = Some((index.map(|i| i.id), value));
                    break;
                }
            }
            let Some((index_id, value)) = taken else {
                writer.insert(txn, &row.new, &id.handle, id.fresh)?;
                counts.inserted(&row.new, id);
                continue 'rows;
            };
            counts.duplicates += 1;
            let index = index_id.and_then(|id| table.indexes.iter().find(|i| i.id == id));
            if matches!(conflict, Conflict::Skip) {
                fitting.warnings.push((true, row::duplicate_row(table, index, &row.new, &zone)));
                continue 'rows;
            }
            let handle = match index {
                None => id.handle.clone(),
                Some(_) => codec::table::decode_unique_handle(&value).map_err(row::damaged)?,
            };
            let stored = match index {
                None => Some(value),
                // A key that is the same belongs to a row in the same place.
                Some(_) => {
                    let key = writer.record_key(&row.new, &handle)?;
                    writer.current(txn, &[key], wait).await?.pop().flatten()
                }
            };
            let Some(stored) = stored else {
                // The entry outlived its row: a conflict with a transaction that is just committing.
                return Err(SqlError::WriteConflict("an index entry without its row".into()));
            };
            let old = row::full_decoder(table).decode(&stored, &handle).map_err(row::damaged)?;
            let there = InTheWay { old, handle };
            let Some(changes) = changes else {
                // MySQL updates a row that can be in the way only once, and an update that changes nothing is not counted.
                let uniques = table.indexes_with_entries().filter(|i| i.is_public() && i.unique).map(|i| i.id);
                if uniques.last() == index_id && same_row(table, &there.old, &row.new) {
                    counts.affected += 1;
                    counts.last(&row.new);
                    continue 'rows;
                }
                writer.remove(txn, &there.old, &there.handle)?;
                counts.affected += 1;
                continue;
            };
            let mut seen = local(table, &there.old, &zone);
            seen.extend(local(table, &row.new, &zone));
            seen.extend(new.sources.get(n).into_iter().flatten().cloned());
            let mut changed = Row::of(there.old.clone(), seen);
            match changes.walk(&mut changed, Some(&there.old), fitting, rt)? {
                End::Refused => continue 'rows,
                End::Same => counts.unchanged += 1,
                End::Reached => {
                    let handle = row::handle_of_row(table, &changed.new)?.unwrap_or_else(|| there.handle.clone());
                    writer.update(txn, (&there.old, &there.handle), (&changed.new, &handle))?;
                    counts.affected += 2;
                }
            }
            counts.last(&changed.new);
            continue 'rows;
        }
    }
    Ok(counts)
}
