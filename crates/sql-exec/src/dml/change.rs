//! UPDATE and DELETE: the rows are found (and locked, in a pessimistic transaction) by a plan, then changed one by one.

use std::collections::{HashMap, HashSet};

use codec::datum::Datum;
use codec::table::Handle;
use query::batch::Batch;
use query::context::TimeZone;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_catalog::AutoIdKind;
use sql_catalog::row;
use sql_context::ExecContext;
use sql_planner::change::{Change, Check, Target, Value as Set};
use sql_planner::optimize::positions;
use sql_planner::plan::{Access, ColId, JoinWay, NodeId, Physical, Plan};

use super::check;
use super::fitting::Fitting;
use super::{same_row, touch};
use crate::measure::meters_of;
use crate::operator;
use crate::planned::load_memory_tables;
use crate::point_lock::PointKeys;
use crate::reader::Reader;
use crate::runtime::{Runtime, Value, resolve};
use crate::statement::{
    check_definitions, collect_context, lock_all_rows, lock_wait, overlay_of, runtime, snapshot_of, write_context,
};
use crate::subqueries::run_subqueries;
use crate::writer::Writer;

/// Rows found, locked in a pessimistic transaction.
struct Found<'c> {
    batches: Vec<Batch>,
    at: HashMap<ColId, usize>,
    rt: Runtime,
    targets: &'c [Target],
    /// (target, column offset, value of this run).
    assignments: Vec<(usize, usize, Set)>,
    checks: Vec<Check>,
}

async fn find_rows<'c>(
    ctx: &mut ExecContext<'_>,
    physical: &Physical,
    change: &'c Change,
    values: Vec<(usize, Value)>,
) -> Result<Found<'c>, SqlError> {
    let cx = write_context(ctx, change.ignore);
    let (tables, columns) = (physical.tables(), physical.columns.clone());
    for t in &change.targets {
        ctx.session.txn.use_table(&t.table);
    }
    let wait = lock_wait(ctx.session, false);
    let client = ctx.server.kv()?.clone();
    let memory = load_memory_tables(ctx, physical).await?;
    let with_values = |mut rt: Runtime| {
        rt.memory = memory.clone();
        rt.meters = meters_of(physical);
        rt.share(physical);
        values.iter().for_each(|(id, value)| rt.set_param(*id, value.clone()));
        rt
    };

    // Rows by key are locked before they are read: one request instead of two, and the conditions are judged on what
    // whoever has them leaves. A statement of its own locks them too. Of the pending writes only theirs count.
    if change.single && physical.subqueries.is_empty() && (ctx.is_autocommit() || ctx.session.is_pessimistic()) {
        let nowhere = Reader::new(client.snapshot(codec::timestamp::Timestamp::MAX));
        let mut probe = with_values(runtime(ctx, nowhere, columns.clone(), cx.clone()));
        if let Some(keys) = PointKeys::of(&physical.plan, &mut probe) {
            if ctx.is_autocommit() {
                ctx.session.txn.pessimistic = Some(true);
            }
            let locked = keys.lock(ctx.txn().await?, wait).await?;
            let reader = Reader::with_overlay(client.snapshot(locked.ts), locked.values);
            return collect_rows(physical, with_values(runtime(ctx, reader, columns, cx)), change).await;
        }
    }
    let pessimistic = ctx.txn().await?.is_pessimistic();
    let overlay = overlay_of(ctx.txn().await?, &tables);
    let snapshot = snapshot_of(ctx, true).await?;
    check_definitions(ctx, &tables)?;
    let reader = Reader::with_overlay(snapshot, overlay);
    if ctx.session.vars.settings().sql_safe_updates && !change.limited && !uses_keys(&physical.plan) {
        return Err(SqlError::UpdateWithoutKey);
    }
    let mut found = collect_rows(physical, with_values(runtime(ctx, reader, columns, cx)), change).await?;
    lock_all_rows(ctx, &mut found.rt).await?;
    if pessimistic {
        let mut keys = Vec::new();
        for t in &change.targets {
            let column = found.at[&t.handle];
            for b in &found.batches {
                if t.table.partition.is_some() {
                    for (row, handle) in (0..b.num_rows()).filter_map(|r| stored_row(&found, t, b, r, &found.rt.zone)) {
                        keys.push(codec::table::record_key(t.table.partition_of(&row)?, &handle));
                    }
                    continue;
                }
                let handles = (0..b.num_rows()).filter_map(|r| Handle::from_datum(b.datum(r, column)));
                keys.extend(handles.map(|h| codec::table::record_key(t.table.physical_id(), &h)));
            }
        }
        if !keys.is_empty() {
            let for_update_ts = Some(found.rt.reader.snapshot()?.ts());
            let options = kv_client::LockOptions { wait, for_update_ts, ..Default::default() };
            ctx.txn().await?.lock_keys(keys, options).await?;
        }
    }
    Ok(found)
}

/// Whether no table is read from one end to the other, as `sql_safe_updates` demands.
fn uses_keys(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(scan) => scan.access != Access::Full,
        Plan::Join { left, way: JoinWay::Lookup(_), .. } => uses_keys(left),
        _ => plan.inputs().into_iter().all(uses_keys),
    }
}

async fn collect_rows<'c>(physical: &Physical, mut rt: Runtime, change: &'c Change) -> Result<Found<'c>, SqlError> {
    let subqueries = run_subqueries(physical, &mut rt).await?;
    let mut assignments = change.assignments.clone();
    for (_, _, value) in &mut assignments {
        if let Set::Expr(e) = value {
            subqueries.apply_expr(e, &mut rt)?;
        }
    }
    let checks = change.checks.iter().map(|c| check::of_run(c, &subqueries, &mut rt)).collect::<Result<_, _>>()?;
    let at = positions(&physical.plan.outputs());
    let mut op = operator::build(&physical.plan, NodeId::default(), &mut rt)?;
    let mut batches = Vec::new();
    while let Some(b) = op.next(&mut rt).await? {
        rt.sleep().await?;
        if !b.is_empty() {
            rt.hold(b.data_bytes())?;
            batches.push(b);
        }
    }
    Ok(Found { batches, at, rt, targets: &change.targets, assignments, checks })
}

/// The stored row of a target within a row of the plan.
fn stored_row(
    found: &Found<'_>,
    target: &Target,
    batch: &Batch,
    r: usize,
    zone: &TimeZone,
) -> Option<(Vec<Datum>, Handle)> {
    // A table on the inner side of an outer join may have no row here.
    let handle = Handle::from_datum(batch.datum(r, found.at[&target.handle]))?;
    let row = target
        .ids
        .iter()
        .zip(&target.table.columns)
        .map(|(id, c)| {
            found.at.get(id).map_or(Datum::Null, |i| row::to_stored(batch.datum(r, *i), &c.field_type, zone))
        })
        .collect();
    Some((row, handle))
}

/// UPDATE.
pub(super) async fn update(
    ctx: &mut ExecContext<'_>,
    physical: &Physical,
    change: &Change,
    values: Vec<(usize, Value)>,
) -> Result<Outcome, SqlError> {
    let ignore = change.ignore;
    let mut found = find_rows(ctx, physical, change, values).await?;
    let mut fitting = Fitting::new(ctx, ignore);
    let zone = fitting.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let (mut matched, mut changed) = (0, 0);
    let mut done: Vec<HashSet<Handle>> = vec![Default::default(); found.targets.len()];
    let writer = |t: &Target| Writer::new(t.table.clone(), zone.clone()).within(t.named.as_deref());
    let mut writers: Vec<Writer> = found.targets.iter().map(writer).collect();
    let mut rebase: Option<i64> = None;
    for batch in &found.batches {
        found.rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            // Assignments see what earlier ones have set.
            let mut values = batch.row(r);
            for (i, target) in found.targets.iter().enumerate() {
                let Some((mut old, handle)) = stored_row(&found, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle.clone()) {
                    continue;
                }
                writers[i].restore_moments(ctx.txn().await?, &mut old, &handle, wait).await?;
                matched += 1;
                let mut new = old.clone();
                let mut set = Vec::new();
                for (_, offset, value) in found.assignments.iter().filter(|a| a.0 == i) {
                    let column = &target.table.columns[*offset];
                    let d = match value {
                        Set::Default => fitting.default(column)?,
                        Set::Expr(e) => {
                            let e = resolve(e, &found.at)?;
                            let d = found.rt.eval(|cx| query::eval::eval_row(&e, &values, cx))?;
                            fitting.fit(d, e.ty(), column, matched)?
                        }
                    };
                    let d = fitting.check_null(d, column, true)?;
                    if let Some(at) = found.at.get(&target.ids[*offset]) {
                        values[*at] = row::to_local(d.clone(), &column.field_type, &zone);
                    }
                    new[*offset] = d;
                    set.push(*offset);
                }
                if same_row(&target.table, &old, &new) {
                    continue;
                }
                touch(&target.table, &mut new, &set, &fitting);
                if !found.checks.is_empty() {
                    for (id, c) in target.ids.iter().zip(&target.table.columns) {
                        if let Some(at) = found.at.get(id) {
                            values[*at] = row::to_local(new[c.offset].clone(), &c.field_type, &zone);
                        }
                    }
                    let shown = found.checks.iter().try_for_each(|c| check::test(c, &mut found.rt, &found.at, &values));
                    match shown {
                        Err(e @ SqlError::ViewCheckFailed(_)) if ignore => {
                            fitting.warnings.push((true, e));
                            continue;
                        }
                        shown => shown?,
                    }
                }
                let new_handle = row::handle_of_row(&target.table, &new)?.unwrap_or_else(|| handle.clone());
                let txn = ctx.txn().await?;
                let (old, new) = ((&old[..], &handle), (&new[..], &new_handle));
                if ignore && let Err(e @ SqlError::Partition(_)) = writers[i].place(new.0) {
                    fitting.warnings.push((true, e));
                    continue;
                }
                if ignore && let Some(duplicate) = writers[i].duplicate_of(txn, old, new, wait).await? {
                    fitting.warnings.push((true, duplicate));
                    continue;
                }
                writers[i].update(txn, old, new)?;
                changed += 1;
                if let Some(c) = target.table.auto_increment_column()
                    && set.contains(&c.offset)
                {
                    rebase = rebase.max(row::handle_of(&new.0[c.offset]));
                }
            }
        }
    }
    if let Some(value) = rebase
        && value > 0
        && let [target] = found.targets
    {
        ctx.auto_ids(&target.table)?.rebase(&target.table, AutoIdKind::AutoIncrement, value).await?;
    }
    let counts: Vec<_> = writers.iter().map(Writer::changes).collect();
    let client = ctx.server.kv()?;
    for mut w in writers {
        let txn = ctx.txn().await?;
        w.finish(txn, &client, wait).await?;
        if !txn.is_pessimistic() {
            ctx.session.txn.remember_duplicates(w.into_duplicates());
        }
    }
    counts.into_iter().for_each(|c| ctx.session.txn.count_changes(c));
    let said_id = collect_context(ctx, &mut found.rt);
    let warnings = fitting.report(ctx);
    Ok(Outcome::Ok(Done {
        affected_rows: changed,
        matched_rows: Some(matched),
        last_insert_id: said_id.unwrap_or(0),
        generated_id: 0,
        info: format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}"),
    }))
}

/// DELETE.
pub(super) async fn delete(
    ctx: &mut ExecContext<'_>,
    physical: &Physical,
    change: &Change,
    values: Vec<(usize, Value)>,
) -> Result<Outcome, SqlError> {
    let mut found = find_rows(ctx, physical, change, values).await?;
    let zone = found.rt.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let mut affected = 0;
    let mut done: Vec<HashSet<Handle>> = vec![Default::default(); found.targets.len()];
    let mut writers: Vec<Writer> = found.targets.iter().map(|t| Writer::new(t.table.clone(), zone.clone())).collect();
    for batch in &found.batches {
        found.rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            for (i, target) in found.targets.iter().enumerate() {
                let Some((mut old, handle)) = stored_row(&found, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle.clone()) {
                    continue;
                }
                let txn = ctx.txn().await?;
                writers[i].restore_moments(txn, &mut old, &handle, wait).await?;
                writers[i].remove(txn, &old, &handle)?;
                affected += 1;
            }
        }
    }
    let client = ctx.server.kv()?;
    for w in &mut writers {
        let txn = ctx.txn().await?;
        w.finish(txn, &client, wait).await?;
    }
    writers.iter().for_each(|w| ctx.session.txn.count_changes(w.changes()));
    collect_context(ctx, &mut found.rt);
    Ok(Outcome::affected(affected))
}
