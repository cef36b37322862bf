//! UPDATE and DELETE: the rows are found (and locked, in a pessimistic transaction) by a plan, then changed one by one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codec::datum::Datum;
use codec::table::Handle;
use query::batch::Batch;
use query::context::TimeZone;
use query::expr::Expr;
use query::infer;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_catalog::row;
use sql_catalog::{AutoIdKind, TableInfo};
use sql_context::ExecContext;
use sql_planner::binder::{Binder, BoundView, Visible, is_desc};
use sql_planner::optimize::{optimize, positions};
use sql_planner::plan::{Access, ColId, Logical, NodeId, Physical, Plan, SortKey};
use sqlparser::ast;

use super::fitting::Fitting;
use super::through::{self, Check};
use super::{column_name, same_row, touch, unsupported, writable};
use crate::env::Env;
use crate::measure::meters_of;
use crate::operator;
use crate::planned::{load_memory_tables, settings};
use crate::point_lock::PointKeys;
use crate::reader::Reader;
use crate::runtime::{Runtime, resolve};
use crate::statement::{
    collect_context, lock_all_rows, lock_wait, overlay_of, runtime, snapshot_of, will_lock, write_context,
};
use crate::subqueries::run_subqueries;
use crate::writer::Writer;

/// A table that the statement changes: its columns' numbers by offset, and its handle's.
pub(super) struct Target {
    pub(super) table: Arc<TableInfo>,
    pub(super) database: String,
    /// Its name in the statement; that of the view that it is part of.
    alias: String,
    pub(super) ids: Vec<ColId>,
    handle: ColId,
}

/// A change, bound: which rows, and what is set.
struct Change {
    plan: Plan,
    targets: Vec<Target>,
    /// (target, column offset, value; `None` is DEFAULT).
    assignments: Vec<(usize, usize, Option<Expr>)>,
    columns: sql_planner::plan::Columns,
    subqueries: Vec<sql_planner::plan::Subquery>,
    /// Tables that the lock clauses of its subqueries lock.
    locked: Vec<Arc<TableInfo>>,
    single: bool,
    /// Errors of values are warnings.
    ignore: bool,
    /// What views say of rows that are written through them.
    checks: Vec<Check>,
}

/// Tables of a FROM clause in which all columns and handles of the tables are wanted.
fn bind_targets<'a>(
    binder: &mut Binder<'a>,
    from: &[ast::TableWithJoins],
) -> Result<(Plan, Vec<Visible>, Vec<Target>), SqlError> {
    let (mut plan, visible) = binder.bind_from(from)?;
    let mut targets = Vec::new();
    widen(&mut plan, binder, &mut targets);
    Ok((plan, visible, targets))
}

/// Adds every column and the handle to each scan whose rows can be changed.
pub(super) fn widen(plan: &mut Plan, binder: &mut Binder<'_>, targets: &mut Vec<Target>) {
    match plan {
        // Rows of a derived table, or of a view that puts rows together, are nobody's.
        Plan::Scan(scan) if !scan.inside => {
            for c in &scan.table.columns {
                if !scan.columns.iter().any(|(o, _)| *o == c.offset) {
                    let id = binder.columns.add(c.name.original.clone(), c.field_type.clone());
                    scan.columns.push((c.offset, id));
                }
            }
            let handle = binder.columns.add("_tidb_rowid", scan.table.handle_type());
            scan.handle = Some(handle);
            let mut ids = vec![0; scan.table.columns.len()];
            for (o, id) in &scan.columns {
                ids[*o] = *id;
            }
            targets.push(Target {
                table: scan.table.clone(),
                database: scan.database.clone(),
                alias: scan.view.as_ref().map_or(&scan.alias, |view| &view.1).clone(),
                ids,
                handle,
            });
        }
        Plan::Join { left, right, .. } => {
            widen(left, binder, targets);
            widen(right, binder, targets);
        }
        // What depends on these rows is nobody's.
        Plan::Lateral { left, .. } => widen(left, binder, targets),
        // A subquery in a join condition; the conditions and the order of a view.
        Plan::Apply { input, .. } | Plan::Filter { input, .. } | Plan::Sort { input, .. } => {
            widen(input, binder, targets)
        }
        // What a view computes, beside its tables' columns.
        Plan::Project { input, exprs } => {
            let before = targets.len();
            widen(input, binder, targets);
            for id in targets[before..].iter().flat_map(|t| t.ids.iter().copied().chain([t.handle])) {
                if !exprs.iter().any(|e| e.1 == id) {
                    exprs.push((binder.columns.expr(id), id));
                }
            }
        }
        _ => {}
    }
}

/// Whether the rows are those of one table, possibly fewer.
fn is_single(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(_) => true,
        Plan::Filter { input, .. } | Plan::Project { input, .. } => is_single(input),
        _ => false,
    }
}

fn bind_tail(
    binder: &mut Binder<'_>,
    mut plan: Plan,
    selection: Option<&ast::Expr>,
    order: &[ast::OrderByExpr],
    limit: Option<&ast::Expr>,
) -> Result<Plan, SqlError> {
    if let Some(e) = selection {
        let mut conditions = Vec::new();
        binder.bind_condition(e)?.split_and(&mut conditions);
        plan = binder.place_applies(plan);
        plan = Plan::Filter { input: Box::new(plan), conditions };
    }
    if !order.is_empty() {
        let keys = order
            .iter()
            .map(|o| Ok(SortKey { expr: binder.bind_expr(&o.expr)?, desc: is_desc(o)? }))
            .collect::<Result<Vec<_>, SqlError>>()?;
        plan = Plan::Sort { input: Box::new(plan), keys, limit: None };
    }
    if let Some(e) = limit {
        let count = binder.row_count(e)?;
        plan = Plan::Limit { input: Box::new(plan), offset: 0, count };
    }
    Ok(plan)
}

/// A projection of the columns that the change needs, so that nothing else is read.
fn keep_columns(plan: Plan, targets: &[Target], others: &[&Expr], columns: &sql_planner::plan::Columns) -> Plan {
    let mut ids: Vec<ColId> = targets.iter().flat_map(|t| t.ids.iter().copied().chain([t.handle])).collect();
    for e in others {
        ids.extend(e.columns());
    }
    let available = plan.outputs();
    ids.retain(|i| available.contains(i));
    ids.sort_unstable();
    ids.dedup();
    let exprs = ids.into_iter().map(|id| (columns.expr(id), id)).collect();
    Plan::Project { input: Box::new(plan), exprs }
}

fn bind_update(env: &Env<'_>, with: Option<&ast::With>, update: &ast::Update) -> Result<Change, SqlError> {
    let mut binder = Binder::new(env);
    with.map_or(Ok(()), |with| binder.open_with(with))?;
    if update.from.is_some() || update.returning.is_some() {
        return unsupported("this UPDATE clause");
    }
    let from = [update.table.clone()];
    let (plan, visible, mut targets) = bind_targets(&mut binder, &from)?;
    let views = binder.bound_views().to_vec();
    let single = is_single(&plan);
    if matches!(plan, Plan::Memory { .. }) {
        return Err(SqlError::NotUpdatable { table: update.table.relation.to_string(), operation: "UPDATE" });
    }
    binder.open(visible.clone());
    let plan = bind_tail(&mut binder, plan, update.selection.as_ref(), &update.order_by, update.limit.as_ref())?;
    let mut assignments = Vec::new();
    // Views that are written through, and the table of each that is.
    let mut written: Vec<(&BoundView, usize)> = Vec::new();
    for a in &update.assignments {
        let ast::AssignmentTarget::ColumnName(n) = &a.target else { return unsupported("row assignment") };
        let parts = sql_planner::binder::name_parts(n)?;
        let unknown = || SqlError::UnknownColumn { column: parts.join("."), clause: "field list".into() };
        let name = parts.last().ok_or_else(unknown)?;
        let table_part = parts.len().checked_sub(2).map(|i| &parts[i]);
        let mut found = visible.iter().filter(|v| {
            v.name.eq_ignore_ascii_case(name) && table_part.is_none_or(|t| v.table.eq_ignore_ascii_case(t))
        });
        let v = found.next().ok_or_else(unknown)?;
        if found.next().is_some() {
            return Err(SqlError::AmbiguousColumn { column: parts.join("."), clause: "field list".into() });
        }
        let not_updatable = || SqlError::NotUpdatable { table: v.table.clone(), operation: "UPDATE" };
        let view = through::view_of(&views, v);
        let id = match view {
            Some(view) if !view.writable.change => return Err(not_updatable()),
            Some(view) => through::column_of(view, &v.name)?,
            None => v.id,
        };
        let (target, offset) = targets
            .iter()
            .enumerate()
            .find_map(|(i, t)| t.ids.iter().position(|column| *column == id).map(|o| (i, o)))
            .ok_or_else(not_updatable)?;
        if let Some(view) = view {
            match written.iter().find(|(other, _)| std::ptr::eq(*other, view)) {
                Some((_, other)) if *other != target => {
                    return Err(SqlError::ViewManyTables(through::whole_name(view)));
                }
                Some(_) => {}
                None => written.push((view, target)),
            }
        }
        let is_default = matches!(&a.value, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
        let value = if is_default { None } else { Some(infer::exact(binder.bind_expr(&a.value)?)) };
        assignments.push((target, offset, value));
    }
    let plan = binder.place_applies(plan);
    binder.close()?;
    // Only the tables that are set.
    let used: Vec<bool> = (0..targets.len()).map(|i| assignments.iter().any(|a| a.0 == i)).collect();
    let mut renumber = HashMap::new();
    let mut kept = Vec::new();
    for (i, t) in targets.drain(..).enumerate() {
        if used[i] {
            renumber.insert(i, kept.len());
            kept.push(t);
        }
    }
    for a in &mut assignments {
        a.0 = renumber[&a.0];
    }
    for t in &kept {
        writable(&t.database, &t.table, "UPDATE")?;
    }
    let checks = written.iter().filter_map(|(view, _)| Check::of(view).transpose()).collect::<Result<Vec<_>, _>>()?;
    let mut values: Vec<&Expr> = assignments.iter().filter_map(|a| a.2.as_ref()).collect();
    values.extend(checks.iter().flat_map(Check::exprs));
    let plan = keep_columns(plan, &kept, &values, &binder.columns);
    Ok(Change {
        plan,
        targets: kept,
        assignments,
        columns: std::mem::take(&mut binder.columns),
        subqueries: std::mem::take(&mut binder.subqueries),
        locked: std::mem::take(&mut binder.locked),
        single,
        ignore: false,
        checks,
    })
}

fn bind_delete(env: &Env<'_>, with: Option<&ast::With>, delete: &ast::Delete) -> Result<Change, SqlError> {
    let mut binder = Binder::new(env);
    with.map_or(Ok(()), |with| binder.open_with(with))?;
    if delete.returning.is_some() {
        return Err(SqlError::NotSupported("this DELETE clause".into()));
    }
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    // `DELETE a FROM …` names tables before FROM; `DELETE FROM a USING …` in it.
    let (sources, named): (&[ast::TableWithJoins], Vec<String>) = match (&delete.using, delete.tables.is_empty()) {
        (Some(using), _) => {
            let mut names = Vec::new();
            for f in from {
                if let ast::TableFactor::Table { name, .. } = &f.relation {
                    names.push(column_name(name)?);
                }
            }
            (using, names)
        }
        (None, false) => (from, delete.tables.iter().map(column_name).collect::<Result<_, _>>()?),
        (None, true) => (from, Vec::new()),
    };
    let (plan, visible, mut targets) = bind_targets(&mut binder, sources)?;
    let single = is_single(&plan);
    if named.is_empty() && targets.is_empty() && binder.bound_views().is_empty() {
        return Err(SqlError::NotUpdatable { table: sources[0].relation.to_string(), operation: "DELETE" });
    }
    for view in binder.bound_views() {
        if !named.is_empty() && !named.iter().any(|n| view.alias.eq_ignore_ascii_case(n)) {
            continue;
        }
        if !view.writable.change {
            return Err(SqlError::NotUpdatable { table: view.alias.clone(), operation: "DELETE" });
        }
        if targets.iter().filter(|t| t.alias.eq_ignore_ascii_case(&view.alias)).count() > 1 {
            return Err(SqlError::ViewDeleteJoin(through::whole_name(view)));
        }
    }
    if matches!(plan, Plan::Memory { .. }) {
        return Err(SqlError::NotUpdatable { table: sources[0].relation.to_string(), operation: "DELETE" });
    }
    if !named.is_empty() {
        for n in &named {
            if !targets.iter().any(|t| t.alias.eq_ignore_ascii_case(n)) {
                return Err(SqlError::UnknownTable(n.clone()));
            }
        }
        targets.retain(|t| named.iter().any(|n| t.alias.eq_ignore_ascii_case(n)));
    }
    for t in &targets {
        writable(&t.database, &t.table, "DELETE")?;
    }
    binder.open(visible);
    let plan = bind_tail(&mut binder, plan, delete.selection.as_ref(), &delete.order_by, delete.limit.as_ref())?;
    binder.close()?;
    let plan = keep_columns(plan, &targets, &[], &binder.columns);
    Ok(Change {
        plan,
        targets,
        assignments: Vec::new(),
        columns: std::mem::take(&mut binder.columns),
        subqueries: std::mem::take(&mut binder.subqueries),
        locked: std::mem::take(&mut binder.locked),
        single,
        ignore: false,
        checks: Vec::new(),
    })
}

/// For EXPLAIN.
pub(crate) fn plan_update(
    ctx: &mut ExecContext<'_>,
    with: Option<&ast::With>,
    update: &ast::Update,
) -> Result<Physical, SqlError> {
    let env = Env::new(ctx, true);
    let Change { plan, subqueries, columns, .. } = bind_update(&env, with, update)?;
    Ok(optimize(Logical { plan, subqueries, columns }, &settings(ctx.server, &env.eval)))
}

/// For EXPLAIN.
pub(crate) fn plan_delete(
    ctx: &mut ExecContext<'_>,
    with: Option<&ast::With>,
    delete: &ast::Delete,
) -> Result<Physical, SqlError> {
    let env = Env::new(ctx, true);
    let Change { plan, subqueries, columns, .. } = bind_delete(&env, with, delete)?;
    Ok(optimize(Logical { plan, subqueries, columns }, &settings(ctx.server, &env.eval)))
}

/// Rows found, locked in a pessimistic transaction.
struct Found {
    batches: Vec<Batch>,
    at: HashMap<ColId, usize>,
    rt: Arc<Runtime>,
    targets: Vec<Target>,
    assignments: Vec<(usize, usize, Option<Expr>)>,
    checks: Vec<Check>,
}

async fn find_rows(ctx: &mut ExecContext<'_>, change: Change) -> Result<Found, SqlError> {
    let Change { plan, targets, assignments, columns, subqueries, locked, single, ignore, mut checks } = change;
    will_lock(ctx, &locked);
    let limited = is_limited(&plan);
    let cx = write_context(ctx, ignore);
    let physical = optimize(Logical { plan, subqueries, columns }, &settings(ctx.server, &cx));
    let (tables, columns) = (physical.tables(), physical.columns.clone());
    for t in &targets {
        ctx.session.txn.use_table(&t.table);
    }
    let wait = lock_wait(ctx.session, false);
    let client = ctx.server.kv()?.clone();
    let memory = load_memory_tables(ctx, &physical).await?;

    // Rows by key are locked before they are read: one request instead of two, and the conditions are judged on what
    // whoever has them leaves. A statement of its own locks them too. Of the pending writes only theirs count.
    if single && physical.subqueries.is_empty() && (ctx.is_autocommit() || ctx.session.is_pessimistic()) {
        let nowhere = Reader::new(client.snapshot(codec::timestamp::Timestamp::MAX));
        let probe = runtime(ctx, nowhere, columns.clone(), cx.clone());
        if let Some(keys) = PointKeys::of(&physical.plan, &probe) {
            if ctx.is_autocommit() {
                ctx.session.txn.pessimistic = Some(true);
            }
            let locked = keys.lock(ctx.txn().await?, wait).await?;
            let reader = Reader::with_overlay(client.snapshot(locked.ts), locked.values);
            let mut runtime = runtime(ctx, reader, columns, cx);
            runtime.memory = memory;
            runtime.meters = meters_of(&physical);
            let rt = Arc::new(runtime);
            return collect_rows(physical.plan, rt, targets, assignments, checks).await;
        }
    }
    let pessimistic = ctx.txn().await?.is_pessimistic();
    let overlay = overlay_of(ctx.txn().await?, &tables);
    let reader = Reader::with_overlay(snapshot_of(ctx, true).await?, overlay);
    let mut runtime = runtime(ctx, reader, columns, cx);
    runtime.memory = memory;
    runtime.meters = meters_of(&physical);
    let rt = Arc::new(runtime);
    let values = run_subqueries(&physical, &rt).await?;
    let mut assignments = assignments;
    for e in assignments.iter_mut().filter_map(|a| a.2.as_mut()) {
        values.apply_expr(e)?;
    }
    checks.iter_mut().try_for_each(|check| check.apply(&values))?;
    let placed = physical.plan;
    if ctx.session.vars.settings().sql_safe_updates && !limited && !uses_keys(&placed) {
        return Err(SqlError::UpdateWithoutKey);
    }
    let found = collect_rows(placed, rt.clone(), targets, assignments, checks).await?;
    lock_all_rows(ctx, &rt).await?;
    if pessimistic {
        let mut keys = Vec::new();
        for t in &found.targets {
            let column = found.at[&t.handle];
            for b in &found.batches {
                let handles = (0..b.num_rows()).filter_map(|r| Handle::from_datum(b.datum(r, column)));
                keys.extend(handles.map(|h| codec::table::record_key(t.table.physical_id(), &h)));
            }
        }
        if !keys.is_empty() {
            let options =
                kv_client::LockOptions { wait, for_update_ts: Some(rt.reader.snapshot().ts()), ..Default::default() };
            ctx.txn().await?.lock_keys(keys, options).await?;
        }
    }
    Ok(found)
}

/// Whether the statement has a LIMIT.
fn is_limited(plan: &Plan) -> bool {
    match plan {
        Plan::Limit { .. } => true,
        Plan::Project { input, .. } => is_limited(input),
        _ => false,
    }
}

/// Whether no table is read from one end to the other, as `sql_safe_updates` demands.
fn uses_keys(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(scan) => scan.access != Access::Full,
        Plan::Join { left, lookup: Some(_), .. } => uses_keys(left),
        _ => plan.inputs().into_iter().all(uses_keys),
    }
}

async fn collect_rows(
    placed: Plan,
    rt: Arc<Runtime>,
    targets: Vec<Target>,
    assignments: Vec<(usize, usize, Option<Expr>)>,
    checks: Vec<Check>,
) -> Result<Found, SqlError> {
    let at = positions(&placed.outputs());
    let mut op = operator::build(&placed, NodeId::default(), &rt)?;
    let mut batches = Vec::new();
    while let Some(b) = op.next().await? {
        rt.sleep().await?;
        if !b.is_empty() {
            rt.hold(b.data_bytes())?;
            batches.push(b);
        }
    }
    Ok(Found { batches, at, rt, targets, assignments, checks })
}

/// The stored row of a target within a row of the plan.
fn stored_row(
    found: &Found,
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
pub(crate) async fn update(
    ctx: &mut ExecContext<'_>,
    with: Option<&ast::With>,
    update: &ast::Update,
) -> Result<Outcome, SqlError> {
    let ignore = matches!(update.or, Some(ast::SqliteOnConflict::Ignore));
    let change = {
        let env = Env::new(ctx, true);
        Change { ignore, ..bind_update(&env, with, update)? }
    };
    let found = find_rows(ctx, change).await?;
    let mut fitting = Fitting::new(ctx, ignore);
    let zone = fitting.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let (mut matched, mut changed) = (0, 0);
    let mut done: Vec<HashSet<Handle>> = vec![Default::default(); found.targets.len()];
    let mut writers: Vec<Writer> = found.targets.iter().map(|t| Writer::new(t.table.clone(), zone.clone())).collect();
    let mut rebase: Option<i64> = None;
    for batch in &found.batches {
        found.rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            // Assignments see what earlier ones have set.
            let mut values = batch.row(r);
            for (i, target) in found.targets.iter().enumerate() {
                let Some((old, handle)) = stored_row(&found, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle.clone()) {
                    continue;
                }
                matched += 1;
                let mut new = old.clone();
                let mut set = Vec::new();
                for (_, offset, value) in found.assignments.iter().filter(|a| a.0 == i) {
                    let column = &target.table.columns[*offset];
                    let d = match value {
                        None => fitting.default(column)?,
                        Some(e) => {
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
                    let shown = found.checks.iter().try_for_each(|c| c.test(&found.rt, &found.at, &values));
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
        && let [target] = &found.targets[..]
    {
        ctx.auto_ids(&target.table)?.rebase(&target.table, AutoIdKind::AutoIncrement, value).await?;
    }
    let counts: Vec<_> = writers.iter().map(Writer::changes).collect();
    for mut w in writers {
        let txn = ctx.txn().await?;
        w.finish(txn, wait).await?;
        if !txn.is_pessimistic() {
            ctx.session.txn.duplicates.extend(w.into_duplicates());
        }
    }
    counts.into_iter().for_each(|c| ctx.session.txn.count_changes(c));
    let said_id = collect_context(ctx, &found.rt);
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
pub(crate) async fn delete(
    ctx: &mut ExecContext<'_>,
    with: Option<&ast::With>,
    delete: &ast::Delete,
    ignore: bool,
) -> Result<Outcome, SqlError> {
    let change = {
        let env = Env::new(ctx, true);
        Change { ignore, ..bind_delete(&env, with, delete)? }
    };
    let found = find_rows(ctx, change).await?;
    let zone = found.rt.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let mut affected = 0;
    let mut done: Vec<HashSet<Handle>> = vec![Default::default(); found.targets.len()];
    let mut writers: Vec<Writer> = found.targets.iter().map(|t| Writer::new(t.table.clone(), zone.clone())).collect();
    for batch in &found.batches {
        found.rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            for (i, target) in found.targets.iter().enumerate() {
                let Some((old, handle)) = stored_row(&found, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle.clone()) {
                    continue;
                }
                let txn = ctx.txn().await?;
                writers[i].remove(txn, &old, &handle)?;
                affected += 1;
            }
        }
    }
    for w in &mut writers {
        let txn = ctx.txn().await?;
        w.finish(txn, wait).await?;
    }
    writers.iter().for_each(|w| ctx.session.txn.count_changes(w.changes()));
    collect_context(ctx, &found.rt);
    Ok(Outcome::affected(affected))
}
