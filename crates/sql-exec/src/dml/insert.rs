//! INSERT and REPLACE: values or the rows of a query, ids, and what happens to duplicates.

use std::collections::HashMap;
use std::sync::Arc;

use codec::datum::Datum;
use codec::table::Handle;
use codec::types::{TypeCode, flags};
use query::context::TimeZone;
use query::expr::Expr;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_catalog::row;
use sql_catalog::{AutoIdKind, ColumnDefault, TableInfo};
use sql_context::{ExecContext, Loaded};
use sql_planner::change::{Conflict, Insert, Value as Source};
use sql_planner::plan::{NodeId, Physical};

use super::check;
use super::fitting::Fitting;
use super::{same_row, touch};
use crate::operator;
use crate::planned::load_memory_tables;
use crate::planned::{Reads, begin};
use crate::reader::Reader;
use crate::runtime::{Value, resolve};
use crate::statement::{collect_context, lock_all_rows, lock_wait, reader_of, runtime, write_context};
use crate::subqueries::run_subqueries;
use crate::writer::Writer;

/// INSERT and REPLACE.
pub(super) async fn insert(
    ctx: &mut ExecContext<'_>,
    physical: &Arc<Physical>,
    insert: &Insert,
    values: Vec<(usize, Value)>,
) -> Result<Outcome, SqlError> {
    let table = &insert.table;
    // What is in the way of new rows is judged as it is when it is locked, by a statement of its own too: it waits for whoever
    // has it.
    let careful = !matches!(insert.conflict, Conflict::Refuse);
    if careful && ctx.is_autocommit() {
        ctx.session.txn.pessimistic = Some(true);
    }
    ctx.session.txn.use_table(table);
    let mut on_duplicate: Vec<(usize, Expr)> = match &insert.conflict {
        Conflict::Update(set) => set.clone(),
        _ => Vec::new(),
    };
    let width = table.columns.len();

    // Rows of a SELECT, or expressions evaluated one by one.
    // Of a file these are perhaps not the first rows.
    let Loaded { rows: rows_before, missing } = ctx.session.loaded.clone().unwrap_or_default();
    let mut fitting = Fitting::new(ctx, insert.ignore);
    let unnamed = table.public_columns().filter(|c| rows_before == 0 && !insert.offsets.contains(&c.offset));
    fitting.check_unnamed(unnamed).map_err(|e| match (e, &insert.view) {
        (SqlError::NoDefaultValue(_), Some(view)) => SqlError::ViewNoDefault(view.clone()),
        (e, _) => e,
    })?;
    let mut new_rows: Vec<Vec<Datum>> = Vec::new();
    // What ON DUPLICATE KEY UPDATE reads of the query's tables, for each row.
    let mut source_rows: Vec<Vec<Datum>> = Vec::new();
    let cx = write_context(ctx, insert.ignore);
    let mut rt;
    let check;
    match &insert.values {
        None => {
            let planned = begin(ctx, cx, physical.clone(), values, Reads::Current, &Arc::default()).await?;
            rt = planned.rt;
            for (_, e) in &mut on_duplicate {
                planned.subqueries.apply_expr(e, &mut rt)?;
            }
            check =
                insert.check.as_ref().map(|check| check::of_run(check, &planned.subqueries, &mut rt)).transpose()?;
            let mut op = operator::build(&planned.physical.plan, NodeId::default(), &mut rt)?;
            let mut n = 0;
            while let Some(batch) = op.next(&mut rt).await? {
                rt.hold(batch.data_bytes())?;
                for r in 0..batch.num_rows() {
                    n += 1;
                    let mut row = vec![None; width];
                    for (i, offset) in insert.offsets.iter().enumerate() {
                        let d = fitting.fit(batch.datum(r, i), &batch.types()[i], &table.columns[*offset], n)?;
                        row[*offset] = Some(d);
                    }
                    new_rows.push(complete_row(table, row, &mut fitting, false)?);
                    let others = insert.offsets.len()..batch.types().len();
                    source_rows.push(others.map(|i| batch.datum(r, i)).collect());
                }
            }
        }
        Some(sources) => {
            let reader = if physical.subqueries.is_empty() {
                Reader::new(ctx.server.kv()?.snapshot(codec::timestamp::Timestamp::MAX))
            } else {
                reader_of(ctx, &physical.tables(), true).await?
            };
            let mut made = runtime(ctx, reader, physical.columns.clone(), cx);
            made.memory = load_memory_tables(ctx, physical).await?;
            made.share(physical);
            rt = made;
            values.into_iter().for_each(|(id, value)| rt.set_param(id, value));
            let values = run_subqueries(physical, &mut rt).await?;
            for (_, e) in &mut on_duplicate {
                values.apply_expr(e, &mut rt)?;
            }
            check = insert.check.as_ref().map(|check| check::of_run(check, &values, &mut rt)).transpose()?;
            let single = sources.len() == 1;
            for (n, source) in sources.iter().enumerate() {
                let row_number = rows_before + n as u64 + 1;
                fitting.row = row_number;
                let mut row: Vec<Option<Datum>> = vec![None; width];
                for (place, (offset, s)) in insert.offsets.iter().zip(source).enumerate() {
                    let column = &table.columns[*offset];
                    let d = match s {
                        Source::Default if missing.contains(&place) => fitting.missing(column),
                        Source::Default => fitting.default(column)?,
                        Source::Expr(e) => {
                            let e = values.of_run(e, &mut rt)?;
                            let d = match &*e {
                                Expr::Const { value, .. } => value.clone(),
                                e => {
                                    let e = resolve(e, &insert.row_ids)?;
                                    let so_far = local_row(table, &row, &fitting.zone);
                                    rt.eval(|cx| query::eval::eval_row(&e, &so_far, cx))?
                                }
                            };
                            fitting.fit(d, e.ty(), column, row_number)?
                        }
                    };
                    row[*offset] = Some(d);
                }
                new_rows.push(complete_row(table, row, &mut fitting, single)?);
            }
        }
    }

    lock_all_rows(ctx, &mut rt).await?;

    let records = new_rows.len() as u64;
    let mut ids = assign_ids(ctx, table, &mut new_rows, &mut fitting).await?;
    if let Some(check) = &check {
        let mut shown = Vec::with_capacity(new_rows.len());
        for row in &new_rows {
            match check::test(check, &mut rt, &insert.check_at, &local_values(table, row, &fitting.zone)) {
                Err(e @ SqlError::ViewCheckFailed(_)) if insert.ignore => {
                    fitting.warnings.push((true, e));
                    shown.push(false);
                }
                result => {
                    result?;
                    shown.push(true);
                }
            }
        }
        keep(&mut new_rows, &shown);
        keep(&mut ids, &shown);
        keep(&mut source_rows, &shown);
    }
    let auto = table.auto_increment_column().map(|c| c.offset);
    let auto_value = |row: &[Datum]| auto.and_then(|offset| row::handle_of(&row[offset])).map_or(0, |v| v as u64);
    let wait = lock_wait(ctx.session, false);
    let zone = fitting.zone.clone();
    let mut writer = Writer::new(table.clone(), zone.clone()).within(insert.named.as_deref());
    if table.partition.is_some() && (careful || insert.ignore) {
        let mut placed = Vec::with_capacity(new_rows.len());
        for row in &new_rows {
            match writer.place(row) {
                Err(e @ SqlError::Partition(_)) if insert.ignore => {
                    fitting.warnings.push((true, e));
                    placed.push(false);
                }
                result => {
                    result?;
                    placed.push(true);
                }
            }
        }
        keep(&mut new_rows, &placed);
        keep(&mut ids, &placed);
        keep(&mut source_rows, &placed);
    }
    let client = ctx.server.kv()?;
    let (mut affected, mut unchanged) = (0, 0);
    let mut duplicates = 0;
    // The first id that was generated for a row which is there now, and the id of the last row inserted or updated.
    let (mut generated_id, mut last_id) = (0, 0);
    if !careful {
        let txn = ctx.txn().await?;
        for (row, id) in new_rows.iter().zip(&ids) {
            writer.insert(txn, row, &id.handle, id.fresh)?;
            affected += 1;
            if generated_id == 0 {
                generated_id = id.generated;
            }
            last_id = auto_value(row);
        }
        writer.finish(txn, &client, wait).await?;
        let pessimistic = txn.is_pessimistic();
        ctx.session.txn.count_changes(writer.changes());
        if !pessimistic {
            ctx.session.txn.remember_duplicates(writer.into_duplicates());
        }
    } else {
        // Everything that may be in the way is read (and locked) at once.
        let mut all: Vec<Vec<u8>> = Vec::new();
        for (row, id) in new_rows.iter().zip(&ids) {
            all.extend(writer.conflict_keys(row, &id.handle, id.fresh)?.into_iter().map(|k| k.0));
        }
        all.sort();
        all.dedup();
        let txn = ctx.txn().await?;
        let mut known: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
        let values = writer.current(txn, &all, wait).await?;
        known.extend(all.into_iter().zip(values));
        let decoder = row::full_decoder(table);
        'rows: for (n, (row, id)) in new_rows.iter().zip(&ids).enumerate() {
            let row_number = rows_before + n as u64 + 1;
            let (handle, fresh) = (&id.handle, id.fresh);
            loop {
                // The first key that is in the way: the primary key before the others.
                let mut conflict = None;
                for (key, index) in writer.conflict_keys(row, handle, fresh)? {
                    let value = match txn.buffer().get(&key) {
                        Some(entry) => entry.value.clone(),
                        None => known.get(&key).cloned().flatten(),
                    };
                    if let Some(value) = value {
                        conflict = Some((index.map(|i| i.id), value));
                        break;
                    }
                }
                let Some((index_id, value)) = conflict else {
                    writer.insert(txn, row, handle, fresh)?;
                    affected += 1;
                    if generated_id == 0 {
                        generated_id = id.generated;
                    }
                    last_id = auto_value(row);
                    continue 'rows;
                };
                duplicates += 1;
                let index = index_id.and_then(|id| table.indexes.iter().find(|i| i.id == id));
                if matches!(insert.conflict, Conflict::Skip) {
                    fitting.warnings.push((true, row::duplicate_row(table, index, row, &zone)));
                    continue 'rows;
                }
                let old_handle = match index {
                    None => handle.clone(),
                    Some(_) => codec::table::decode_unique_handle(&value).map_err(row::damaged)?,
                };
                // It is where the new row belongs: unique keys have all columns that partitions depend on.
                let old_key = codec::table::record_key(writer.at(row)?, &old_handle);
                let old_value = match index {
                    None => Some(value),
                    Some(_) => writer.current(txn, std::slice::from_ref(&old_key), wait).await?.pop().flatten(),
                };
                let Some(old_value) = old_value else {
                    // The entry outlived its row: a conflict with a transaction that is just committing.
                    return Err(SqlError::WriteConflict("an index entry without its row".into()));
                };
                let old = decoder.decode(&old_value, &old_handle).map_err(row::damaged)?;
                if matches!(insert.conflict, Conflict::Replace) {
                    // MySQL updates a row that can be in the way only once, and an update that changes nothing is not
                    // counted.
                    let uniques = table.indexes_with_entries().filter(|i| i.is_public() && i.unique).map(|i| i.id);
                    if uniques.last() == index_id && same_row(table, &old, row) {
                        affected += 1;
                        last_id = auto_value(row);
                        continue 'rows;
                    }
                    writer.remove(txn, &old, &old_handle)?;
                    affected += 1;
                    continue;
                }
                // ON DUPLICATE KEY UPDATE.
                let mut new = old.clone();
                for (offset, e) in &on_duplicate {
                    let column = &table.columns[*offset];
                    let mut both = local_values(table, &new, &zone);
                    both.extend(local_values(table, row, &zone));
                    both.extend(source_rows.get(n).into_iter().flatten().cloned());
                    let e = resolve(e, &insert.conflict_at)?;
                    let d = rt.eval(|cx| query::eval::eval_row(&e, &both, cx))?;
                    let d = fitting.fit(d, e.ty(), column, row_number)?;
                    new[*offset] = fitting.check_null(d, column, true)?;
                }
                if new == old {
                    unchanged += 1;
                } else {
                    touch(table, &mut new, &on_duplicate.iter().map(|d| d.0).collect::<Vec<_>>(), &fitting);
                    if let Some(check) = &check {
                        match check::test(check, &mut rt, &insert.check_at, &local_values(table, &new, &zone)) {
                            Err(e @ SqlError::ViewCheckFailed(_)) if insert.ignore => {
                                fitting.warnings.push((true, e));
                                continue 'rows;
                            }
                            result => result?,
                        }
                    }
                    let new_handle = row::handle_of_row(table, &new)?.unwrap_or_else(|| old_handle.clone());
                    writer.update(txn, (&old, &old_handle), (&new, &new_handle))?;
                    affected += 2;
                }
                last_id = auto_value(&new);
                continue 'rows;
            }
        }
        writer.finish(txn, &client, wait).await?;
        ctx.session.txn.count_changes(writer.changes());
    }
    let said_id = collect_context(ctx, &mut rt);
    let warnings = fitting.report(ctx);
    let info = if records > 1 || insert.counts {
        format!("Records: {records}  Duplicates: {duplicates}  Warnings: {warnings}")
    } else {
        String::new()
    };
    let last_insert_id = match generated_id {
        0 => said_id.unwrap_or(last_id),
        id => id,
    };
    let matched_rows = (!on_duplicate.is_empty()).then_some(affected + unchanged);
    Ok(Outcome::Ok(Done { affected_rows: affected, matched_rows, last_insert_id, generated_id, info }))
}

/// Keeps what is marked; there may be nothing to keep.
fn keep<T>(list: &mut Vec<T>, marked: &[bool]) {
    let mut marks = marked.iter();
    list.retain(|_| marks.next().is_none_or(|mark| *mark));
}

/// The row so far as expressions see it: TIMESTAMPs in the session's zone, unset columns NULL.
fn local_row(table: &TableInfo, row: &[Option<Datum>], zone: &TimeZone) -> Vec<Datum> {
    let values: Vec<Datum> = row.iter().map(|d| d.clone().unwrap_or_default()).collect();
    local_values(table, &values, zone)
}

fn local_values(table: &TableInfo, row: &[Datum], zone: &TimeZone) -> Vec<Datum> {
    row.iter().zip(&table.columns).map(|(d, c)| row::to_local(d.clone(), &c.field_type, zone)).collect()
}

/// Fills in defaults and checks NOT NULL. AUTO_INCREMENT columns may still be NULL.
fn complete_row(
    table: &TableInfo,
    row: Vec<Option<Datum>>,
    fitting: &mut Fitting,
    single: bool,
) -> Result<Vec<Datum>, SqlError> {
    let mut out = Vec::with_capacity(row.len());
    for (d, c) in row.into_iter().zip(&table.columns) {
        if !c.is_writable() {
            out.push(Datum::Null);
            continue;
        }
        let auto = c.field_type.has(flags::AUTO_INCREMENT);
        let d = match d {
            Some(d) => d,
            // Columns being added hold what old rows read as.
            None if !c.is_public() => match c.default {
                ColumnDefault::CurrentTimestamp => fitting.now(&c.field_type),
                _ => row::origin_default(c),
            },
            None => fitting.unnamed(c)?,
        };
        out.push(if auto { d } else { fitting.check_null(d, c, single)? });
    }
    Ok(out)
}

/// The least value not under `from` of `offset`, `offset + step`, `offset + 2 * step`, … An offset greater than the step
/// is ignored, as in MySQL.
fn next_of_series(from: i64, step: u64, offset: u64) -> Option<i64> {
    let (step, offset) = (i64::try_from(step).ok()?, if offset > step { 0 } else { i64::try_from(offset).ok()? });
    from.checked_add((offset - from).rem_euclid(step))
}

/// What identifies a new row.
struct NewId {
    handle: Handle,
    /// The handle was made for the row, and cannot exist.
    fresh: bool,
    /// The AUTO_INCREMENT value, if it was made for the row; else 0.
    generated: u64,
}

/// Gives handles and AUTO_INCREMENT values to new rows. Values that are generated rise, and are above those given by hand
/// in the rows before.
async fn assign_ids(
    ctx: &mut ExecContext<'_>,
    table: &Arc<TableInfo>,
    new_rows: &mut [Vec<Datum>],
    fitting: &mut Fitting,
) -> Result<Vec<NewId>, SqlError> {
    let ids = ctx.auto_ids(table)?;
    let mut generated = vec![0; new_rows.len()];
    if let Some(column) = table.auto_increment_column() {
        let zero_is_value = fitting.zero_is_value;
        let to_generate = |row: &[Datum]| match &row[column.offset] {
            Datum::Null => true,
            Datum::Int(0) | Datum::UInt(0) => !zero_is_value,
            Datum::Float(v) => *v == 0.0 && !zero_is_value,
            _ => false,
        };
        let settings = ctx.session.vars.settings();
        let (step, offset) = (settings.auto_increment_increment, settings.auto_increment_offset);
        let (_, max) = column.field_type.signed_range();
        let limit = if column.field_type.is_unsigned() { column.field_type.unsigned_max() } else { max as u64 };
        let mut left = new_rows.iter().filter(|row| to_generate(row)).count() as u64;
        // The next value that is allocated already, and the greatest given by hand that the allocator has not heard of.
        let (mut next, mut given): (Option<i64>, i64) = (None, 0);
        for (row, generated) in new_rows.iter_mut().zip(&mut generated) {
            if !to_generate(row) {
                given = given.max(match &row[column.offset] {
                    Datum::Float(v) => *v as i64,
                    d => d.as_i64().unwrap_or(0),
                });
                continue;
            }
            let value = match next.filter(|next| *next > given) {
                Some(value) => value,
                None => {
                    if given > 0 {
                        ids.rebase(table, AutoIdKind::AutoIncrement, given).await?;
                    }
                    // Among `left * step` neighbours, `left` are of the series.
                    let from = ids.allocate(table, AutoIdKind::AutoIncrement, left.saturating_mul(step)).await?;
                    next_of_series(from, step, offset).ok_or(SqlError::AutoIncrementExhausted)?
                }
            };
            if value as u64 > limit {
                return Err(SqlError::AutoIncrementExhausted);
            }
            row[column.offset] = match column.field_type.tp {
                TypeCode::Float | TypeCode::Double => Datum::Float(value as f64),
                _ => row::handle_datum(value, &column.field_type),
            };
            *generated = value as u64;
            next = value.checked_add(step as i64);
            left -= 1;
        }
        if given > 0 {
            ids.rebase(table, AutoIdKind::AutoIncrement, given).await?;
        }
    }
    if table.is_clustered() {
        let ids = new_rows.iter().zip(generated).map(|(row, generated)| {
            let handle = row::handle_of_row(table, row)?.ok_or_else(|| {
                let missing = table.primary_key().into_iter().find(|c| row[c.offset].is_null());
                SqlError::ColumnCannotBeNull(missing.map_or_else(String::new, |c| c.name.original.clone()))
            })?;
            Ok(NewId { handle, fresh: false, generated })
        });
        return ids.collect();
    }
    let start = match new_rows.len() as u64 {
        0 => 0,
        n => ids.allocate(table, AutoIdKind::RowId, n).await?,
    };
    let given = (start..).map(Handle::Int).zip(generated);
    Ok(given.map(|(handle, generated)| NewId { handle, fresh: true, generated }).collect())
}

#[cfg(test)]
mod tests {
    use super::next_of_series;

    #[test]
    fn a_series_goes_on_from_anywhere() {
        assert_eq!(next_of_series(1, 1, 1), Some(1));
        assert_eq!(next_of_series(7, 1, 1), Some(7));
        assert_eq!(next_of_series(1, 10, 5), Some(5));
        assert_eq!(next_of_series(5, 10, 5), Some(5));
        assert_eq!(next_of_series(6, 10, 5), Some(15));
        assert_eq!(next_of_series(1, 5, 10), Some(5), "an offset beyond the step counts for nothing");
        assert_eq!(next_of_series(i64::MAX, 10, 5), None);
    }
}
