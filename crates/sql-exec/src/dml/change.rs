//! UPDATE and DELETE: the rows are found (and locked, in a pessimistic transaction) by a plan, then changed one by one.

use std::collections::{HashMap, HashSet};

use codec::datum::Datum;
use codec::table::Handle;
use query::batch::Batch;
use query::context::TimeZone;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_catalog::{AutoIdKind, ColumnInfo, row};
use sql_context::ExecContext;
use sql_planner::change::{Change, Target};
use sql_planner::optimize::positions;
use sql_planner::plan::{Access, ColId, JoinWay, NodeId, Physical, Plan};

use super::finish;
use super::fitting::Fitting;
use super::row::{End, Row, Way};
use crate::measure::meters_of;
use crate::operator;
use crate::planned::load_memory_tables;
use crate::point_lock::PointKeys;
use crate::reader::Reader;
use crate::runtime::{Runtime, Value};
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
    /// What rows of each target go through.
    ways: Vec<Way<'c>>,
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
            let writer = Writer::new(t.table.clone(), found.rt.zone.clone());
            for (b, r) in found.batches.iter().flat_map(|b| (0..b.num_rows()).map(move |r| (b, r))) {
                if let Some((row, handle)) = stored_row(&found.at, t, b, r, &found.rt.zone) {
                    keys.push(writer.record_key(&row, &handle)?);
                }
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
    let at = positions(&physical.plan.outputs());
    let mut ways = Vec::with_capacity(change.targets.len());
    for target in &change.targets {
        let way = Way::of_run(&target.table, &target.steps, &at, &subqueries, &mut rt)?;
        ways.push(way.with_columns_at(target.ids.iter().map(|id| at.get(id).copied()).collect()));
    }
    let mut op = operator::build(&physical.plan, NodeId::default(), &mut rt)?;
    let mut batches = Vec::new();
    while let Some(b) = op.next(&mut rt).await? {
        rt.sleep().await?;
        if !b.is_empty() {
            rt.hold(b.data_bytes())?;
            batches.push(b);
        }
    }
    Ok(Found { batches, at, rt, ways })
}

/// The stored row of a target within a row of the plan.
fn stored_row(
    at: &HashMap<ColId, usize>,
    target: &Target,
    batch: &Batch,
    r: usize,
    zone: &TimeZone,
) -> Option<(Vec<Datum>, Handle)> {
    // A table on the inner side of an outer join may have no row here.
    let handle = Handle::from_datum(batch.datum(r, at[&target.handle]))?;
    let stored = |(id, c): (&ColId, &ColumnInfo)| {
        at.get(id).map_or(Datum::Null, |i| row::to_stored(batch.datum(r, *i), &c.field_type, zone))
    };
    Some((target.ids.iter().zip(&target.table.columns).map(stored).collect(), handle))
}

/// UPDATE, or DELETE if it `removes`.
pub(super) async fn change(
    ctx: &mut ExecContext<'_>,
    physical: &Physical,
    change: &Change,
    values: Vec<(usize, Value)>,
    removes: bool,
) -> Result<Outcome, SqlError> {
    let Found { batches, at, mut rt, ways } = find_rows(ctx, physical, change, values).await?;
    let mut fitting = Fitting::new(ctx, change.ignore);
    let zone = fitting.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let (mut matched, mut changed) = (0, 0);
    let mut done: Vec<HashSet<Handle>> = vec![Default::default(); change.targets.len()];
    let writer = |t: &Target| Writer::new(t.table.clone(), zone.clone()).within(t.named.as_deref());
    let mut writers: Vec<Writer> = change.targets.iter().map(writer).collect();
    let mut rebase: Option<i64> = None;
    for batch in &batches {
        rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            // What is set in one table is seen where the next is.
            let mut seen = if removes { Vec::new() } else { batch.row(r) };
            for (i, (target, way)) in change.targets.iter().zip(&ways).enumerate() {
                let Some((mut old, handle)) = stored_row(&at, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle.clone()) {
                    continue;
                }
                let txn = ctx.txn().await?;
                writers[i].restore_moments(txn, &mut old, &handle, wait).await?;
                matched += 1;
                if removes {
                    writers[i].remove(txn, &old, &handle)?;
                    continue;
                }
                fitting.row = matched;
                let mut row = Row::of(old.clone(), std::mem::take(&mut seen));
                let end = way.walk(&mut row, Some(&old), &mut fitting, &mut rt)?;
                let new = row.new.clone();
                seen = row.into_seen();
                if end != End::Reached {
                    continue;
                }
                let new_handle = row::handle_of_row(&target.table, &new)?.unwrap_or_else(|| handle.clone());
                let (old, new) = ((&old[..], &handle), (&new[..], &new_handle));
                if change.ignore
                    && let Err(e @ SqlError::Partition(_)) = writers[i].place(new.0)
                {
                    fitting.warnings.push((true, e));
                    continue;
                }
                if change.ignore
                    && let Some(duplicate) = writers[i].duplicate_of(txn, old, new, wait).await?
                {
                    fitting.warnings.push((true, duplicate));
                    continue;
                }
                writers[i].update(txn, old, new)?;
                changed += 1;
                if let Some(c) = target.table.auto_increment_column()
                    && way.sets(c.offset)
                {
                    rebase = rebase.max(row::handle_of(&new.0[c.offset]));
                }
            }
        }
    }
    if let Some(value) = rebase
        && value > 0
        && let [target] = &change.targets[..]
    {
        ctx.auto_ids(&target.table)?.rebase(&target.table, AutoIdKind::AutoIncrement, value).await?;
    }
    finish(ctx, writers).await?;
    let said_id = collect_context(ctx, &mut rt);
    let warnings = fitting.report(ctx);
    if removes {
        return Ok(Outcome::affected(matched));
    }
    Ok(Outcome::Ok(Done {
        affected_rows: changed,
        matched_rows: Some(matched),
        last_insert_id: said_id.unwrap_or(0),
        generated_id: 0,
        info: format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}"),
    }))
}
