//! What a statement reads at, evaluates with and locks, as its session and transaction have it.

use std::sync::Arc;

use kv_client::Snapshot;
use query::context::EvalContext;
use sql_base::SqlError;
use sql_base::memory::{Limits, StatementMemory};
use sql_catalog::{TableInfo, TableKind};
use sql_context::{ExecContext, Level, SessionState, eval_context};
use sql_planner::plan::{Columns, Taken};

use crate::reader::{Overlay, Reader};
use crate::runtime::Runtime;

/// What the expressions of a change may ask; `IGNORE` makes warnings of its errors.
pub(crate) fn write_context(ctx: &ExecContext<'_>, ignore: bool) -> EvalContext {
    let mut cx = eval_context(ctx.session, true);
    if ignore {
        cx.on_truncate = cx.on_truncate.at_most_warn();
        cx.on_division_by_zero = cx.on_division_by_zero.at_most_warn();
    }
    cx
}

/// Hands the warnings of expressions to the session, and what `LAST_INSERT_ID(id)` said; says so too.
pub fn collect_context(ctx: &mut ExecContext<'_>, rt: &mut Runtime) -> Option<u64> {
    let cx = rt.take_context();
    for w in cx.warnings {
        ctx.session.push_diagnostic(Level::Warning, w.code, w.message);
    }
    if let Some(id) = cx.set_last_insert_id {
        ctx.session.last_insert_id = id;
    }
    cx.set_last_insert_id
}

/// Pending writes of these tables.
pub(crate) fn overlay_of(txn: &kv_client::Transaction, tables: &[Arc<TableInfo>]) -> Overlay {
    let mut overlay = Overlay::new();
    if txn.buffer().is_empty() {
        return overlay;
    }
    for at in tables.iter().flat_map(|t| t.physical_ids()) {
        let (start, end) = codec::table::table_range(at);
        overlay.extend(txn.iter_buffer(&start, &end).map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))));
    }
    overlay
}

/// The snapshot that a statement of a transaction reads at, under the pending writes: see the table at the top of the crate. `current`
/// is for changes and lock clauses.
pub(crate) async fn snapshot_of(ctx: &mut ExecContext<'_>, current: bool) -> Result<Snapshot, SqlError> {
    let client = ctx.server.kv()?;
    let began_earlier = ctx.session.txn.kv().is_some();
    let txn = ctx.txn().await?;
    let own = txn.snapshot().clone();
    if !txn.is_pessimistic() {
        return Ok(own);
    }
    if current || ctx.session.txn.read_committed {
        let snapshot = client.snapshot(client.timestamp().await?);
        return Ok(snapshot.with_private(ctx.session.temporary.rows()));
    }
    let read_ts = match ctx.session.txn.read_ts {
        Some(ts) => ts,
        None if began_earlier => client.timestamp().await?,
        None => own.ts(),
    };
    ctx.session.txn.read_ts = Some(read_ts);
    Ok(client.snapshot(read_ts).with_private(ctx.session.temporary.rows()))
}

/// Rows as they are now are read by the definitions of now: a transaction sees tables as they were when it began, and what
/// was changed since may be kept otherwise.
pub(crate) fn check_definitions(ctx: &ExecContext<'_>, tables: &[Arc<TableInfo>]) -> Result<(), SqlError> {
    let now = ctx.server.schema()?;
    let same = |table: &TableInfo| now.table_by_id(table.id).is_some_and(|held| held.revision == table.revision);
    let all = now.version() == ctx.schema.version()
        || tables.iter().filter(|table| table.kind == TableKind::Base).all(|table| same(table));
    if all { Ok(()) } else { Err(SqlError::SchemaChanged) }
}

/// What a query reads from. One that reads no stored table neither begins a transaction nor fixes what it sees.
pub(crate) async fn reader_of(
    ctx: &mut ExecContext<'_>,
    tables: &[Arc<TableInfo>],
    current: bool,
) -> Result<Reader, SqlError> {
    if tables.is_empty() && !current {
        return Ok(Reader::of_nothing());
    }
    if ctx.is_autocommit() && !current {
        let client = ctx.server.kv()?;
        let ts = client.timestamp().await?;
        return Ok(Reader::new(client.snapshot(ts).with_private(ctx.session.temporary.rows())));
    }
    let snapshot = snapshot_of(ctx, current).await?;
    if current || ctx.session.txn.read_committed {
        check_definitions(ctx, tables)?;
    }
    let overlay = overlay_of(ctx.txn().await?, tables);
    Ok(Reader::with_overlay(snapshot, overlay))
}

pub(crate) async fn query_runtime(
    ctx: &mut ExecContext<'_>,
    cx: EvalContext,
    columns: Arc<Columns>,
    tables: &[Arc<TableInfo>],
    current: bool,
) -> Result<Runtime, SqlError> {
    let reader = reader_of(ctx, tables, current).await?;
    Ok(runtime(ctx, reader, columns, cx))
}

/// What operators that read from here share.
pub(crate) fn runtime(ctx: &ExecContext<'_>, reader: Reader, columns: Arc<Columns>, cx: EvalContext) -> Runtime {
    let mut rt = Runtime::new(reader, columns, cx, ctx.session.interrupt.clone());
    let settings = ctx.session.vars.settings();
    rt.rounds_max = settings.cte_max_recursion_depth;
    let budget = ctx.session.memory.get_or_init(|| {
        let server = ctx.server.globals().server();
        let limits = Limits {
            quota: settings.memory_quota.unwrap_or(usize::MAX),
            server: server.memory_limit.unwrap_or(usize::MAX),
            server_spares: server.memory_limit_spares,
            spill: server.spill,
        };
        let interrupt = ctx.session.interrupt.clone();
        StatementMemory::new(ctx.server.memory().clone(), limits, interrupt, ctx.session.id)
    });
    rt.limit(budget.clone(), ctx.server.temporary_directory().into());
    rt
}

/// Before a statement reads that has lock clauses: on its own it locks too, until its end. It waits for whoever has a row,
/// and reads what they leave.
pub(crate) fn will_lock(ctx: &mut ExecContext<'_>, locked: &[Arc<TableInfo>]) {
    if !locked.is_empty() && ctx.is_autocommit() {
        ctx.session.txn.pessimistic = Some(true);
    }
    locked.iter().for_each(|table| ctx.session.txn.use_table(table));
}

/// Locks the rows that a statement has read for its lock clauses; an optimistic transaction has its commit check them.
/// Clauses that wait for nothing are tried first: the statement waits for nothing if it must fail anyway. Gives the keys of rows
/// that others have and that are to be skipped: then the statement must be run again without them.
pub(crate) async fn lock_rows(ctx: &mut ExecContext<'_>, rt: &mut Runtime) -> Result<Vec<Vec<u8>>, SqlError> {
    let rows = rt.take_locks();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let txn = ctx.txn().await?;
    if !txn.is_pessimistic() {
        if rows.iter().any(|(lock, _)| lock.taken == Taken::Skip) {
            return Err(SqlError::NotSupported("SKIP LOCKED in an optimistic transaction".into()));
        }
        txn.lock_at_commit(rows.into_iter().map(|(_, key)| key))?;
        return Ok(Vec::new());
    }
    for taken in [Taken::Fail, Taken::Skip, Taken::Wait] {
        let keys: Vec<Vec<u8>> =
            rows.iter().filter(|(lock, _)| lock.taken == taken).map(|(_, key)| key.clone()).collect();
        if keys.is_empty() {
            continue;
        }
        let wait = lock_wait(ctx.session, taken != Taken::Wait);
        let options = kv_client::LockOptions { wait, for_update_ts: Some(rt.locked_at()?), ..Default::default() };
        match ctx.txn().await?.lock_keys(keys, options).await {
            Ok(_) => {}
            Err(kv_client::Error::LockNoWait { taken: keys, .. }) if taken == Taken::Skip => return Ok(keys),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Vec::new())
}

/// The same for a statement that cannot leave rows out: its clauses are those of subqueries.
pub(crate) async fn lock_all_rows(ctx: &mut ExecContext<'_>, rt: &mut Runtime) -> Result<(), SqlError> {
    match lock_rows(ctx, rt).await?.is_empty() {
        true => Ok(()),
        false => Err(SqlError::NotSupported("SKIP LOCKED in a subquery of this statement".into())),
    }
}

/// How long locks are waited for.
pub(crate) fn lock_wait(session: &SessionState, nowait: bool) -> kv_client::LockWait {
    match nowait {
        true => kv_client::LockWait::NoWait,
        false => kv_client::LockWait::Ms(session.vars.settings().lock_wait.as_millis() as u64),
    }
}
