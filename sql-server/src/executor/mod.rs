//! Runs queries and changes of rows.
//!
//! A query's way: [`point`] tries the short path (one row by primary or unique key); otherwise the binder makes a plan, its
//! subqueries run first, the rules of [`crate::planner::optimize`] place the work, [`operator::build`] makes operators of it,
//! and their batches are the result. Changes ([`dml`]) plan the rows they change as a query and write through
//! [`writer`].
//!
//! Which timestamp is read at:
//!
//! | statement | reads at |
//! |---|---|
//! | query, no transaction | a fresh timestamp; one row by key: the newest version |
//! | query in a transaction | its start, over its pending writes; pessimistic under READ COMMITTED: a fresh timestamp |
//! | `FOR UPDATE` and `FOR SHARE`, changes, pessimistic | a fresh timestamp, over pending writes; rows are locked at it. A row that changed in between is a write conflict, and the session runs the statement again |
//! | rows by key that a change locks before it reads them, pessimistic | as they are when the lock is taken, for which PD is asked only if one is newer than what the transaction knows |
//! | changes, optimistic | the transaction's start; conflicts are found at commit |

pub mod aggregate;
pub mod convert;
mod dml;
mod explain;
pub mod operator;
mod point;
pub mod pushdown;
pub mod reader;
pub mod rows;
mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};

use codec::datum::Datum;
use codec::timestamp::Timestamp;
use codec::types::FieldType;
use futures::StreamExt;
use kv_client::Snapshot;
use query::batch::Batch;
use query::context::{EvalContext, SessionInfo, TimeZone, ZoneRules};
use query::expr::{CmpOp, Expr, Func};
use query::types::EvalType;

use crate::catalog::{Schema, TableInfo};
use crate::error::SqlError;
use crate::outcome::{ColumnMeta, Outcome, ResultSet, Rows};
use crate::parser::Statement;
use crate::planner::binder::{Binder, Bound, Environment, Visible};
use crate::planner::optimize::Rules;
use crate::planner::plan::{ColId, Columns, Plan, Subquery, SubqueryKind};
use crate::server::Server;
use crate::session::context::ExecContext;
use crate::session::state::{Level, SessionState, Variables};
use crate::vars;
use operator::{Operator, Runtime};
use reader::{Overlay, Reader};

/// Batches of a result that are computed before the first is sent: small results are complete (with their warnings) when
/// the statement ends, large ones stream.
const EAGER_BATCHES: usize = 16;

/// Runs a query or a change.
pub async fn execute(ctx: &mut ExecContext<'_>, statement: &Statement) -> Result<Outcome, SqlError> {
    match statement {
        Statement::Query(query) => {
            if let Some(result) = point::select(ctx, query).await? {
                return Ok(Outcome::Rows(result));
            }
            select(ctx, query).await.map(Outcome::Rows)
        }
        Statement::Insert(insert) => dml::insert(ctx, insert).await,
        Statement::Update(update) => dml::update(ctx, update).await,
        Statement::Delete { delete, ignore } => dml::delete(ctx, delete, *ignore).await,
        Statement::Explain(explain) => explain::explain(ctx, explain).await.map(Outcome::Rows),
        Statement::Do(exprs) => {
            let env = Env::new(ctx, false);
            let mut binder = Binder::new(&env);
            binder.open(Vec::new());
            let bound = exprs.iter().map(|e| binder.bind_expr(e)).collect::<Result<Vec<_>, _>>()?;
            binder.close()?;
            let (subqueries, columns, locked) = (binder.subqueries, Arc::new(binder.columns), binder.locked);
            will_lock(ctx, &locked);
            let mut tables = Vec::new();
            subqueries.iter().for_each(|s| s.plan.tables(&mut tables));
            let cx = eval_context(ctx, false);
            let rt = Arc::new(query_runtime(ctx, cx, columns, &tables, !locked.is_empty()).await?);
            let values = run_subqueries(subqueries, &rt).await?;
            for mut e in bound {
                values.apply_expr(&mut e)?;
                rt.column(&e, &Batch::one_empty_row())?;
                rt.sleep().await?;
            }
            collect_context(ctx, &rt);
            lock_rows(ctx, &rt).await?;
            Ok(Outcome::ok())
        }
        _ => Err(SqlError::internal("executor", "not a query or change")),
    }
}

/// Columns of a statement's result, for PREPARE. Parameters count as NULL.
pub async fn describe(ctx: &mut ExecContext<'_>, statement: &Statement) -> Result<Vec<ColumnMeta>, SqlError> {
    match statement {
        Statement::Query(query) => {
            let env = Env::new(ctx, false);
            let mut binder = Binder::new(&env);
            binder.describing = true;
            let bound = binder.bind_query(query)?;
            Ok(metas(&bound.columns, &binder.columns, &ctx.schema))
        }
        Statement::Explain(_) => Ok(explain::columns()),
        _ => Ok(Vec::new()),
    }
}

/// Names and variables of a statement, for the binder.
pub struct Env {
    schema: Arc<Schema>,
    database: Option<String>,
    params: Vec<Datum>,
    server: Arc<Server>,
    user: Arc<HashMap<String, Datum>>,
    system: Variables,
    eval: EvalContext,
}

impl Env {
    /// Of a statement.
    pub fn new(ctx: &mut ExecContext<'_>, write: bool) -> Env {
        let eval = eval_context(ctx, write);
        // The session cannot be borrowed while the statement runs, so what can be asked is copied.
        Env {
            schema: ctx.schema.clone(),
            database: ctx.session.database.clone(),
            params: ctx.params.to_vec(),
            server: ctx.server.clone(),
            user: ctx.session.user_vars.clone(),
            system: ctx.session.variables(),
            eval,
        }
    }
}

impl Environment for Env {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    fn params(&self) -> &[Datum] {
        &self.params
    }

    fn variable(&self, name: &str) -> Result<(Datum, FieldType), SqlError> {
        match name.strip_prefix("@@") {
            Some(system) => self.system.get(&self.server, &system.to_lowercase()),
            None => {
                let value = self.user.get(&name[1..].to_lowercase()).cloned().unwrap_or_default();
                let ty = crate::session::state::type_of_datum(&value);
                Ok((value, ty))
            }
        }
    }

    fn eval(&self) -> &EvalContext {
        &self.eval
    }
}

/// The server's own zone.
#[derive(Debug)]
struct SystemZone;

impl ZoneRules for SystemZone {
    fn offset_at(&self, utc_secs: i64) -> i32 {
        use chrono::{Offset, TimeZone};
        chrono::Local.timestamp_opt(utc_secs, 0).single().map_or(0, |t| t.offset().fix().local_minus_utc())
    }

    fn name(&self) -> &str {
        "SYSTEM"
    }
}

/// The server's own zone, found once. A server in UTC, as most are, spares the rules.
static SYSTEM_ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
    const YEAR_SECS: i64 = 31_556_952;
    // Every month of the last years and of this one: a zone that was UTC throughout is taken to stay so.
    let now = chrono::Utc::now().timestamp();
    match (0..120).all(|month| SystemZone.offset_at(now - month * YEAR_SECS / 12) == 0) {
        true => TimeZone::UTC,
        false => TimeZone::Rules(Arc::new(SystemZone)),
    }
});

/// The session's zone, for expressions.
pub fn time_zone(session: &SessionState) -> TimeZone {
    match session.vars.settings().time_zone {
        vars::TimeZone::Fixed(secs) => TimeZone::Fixed(secs),
        vars::TimeZone::System => SYSTEM_ZONE.clone(),
    }
}

/// What the statement's expressions may ask.
pub fn eval_context(ctx: &ExecContext<'_>, write: bool) -> EvalContext {
    let session = &*ctx.session;
    let now = session.now().timestamp_micros();
    let settings = session.vars.settings();
    let (mode, zone) = (settings.sql_mode, time_zone(session));
    let mut cx = if write { EvalContext::for_write(mode, zone, now) } else { EvalContext::for_select(mode, zone, now) };
    let user = format!("{}@{}", session.identity.user, session.identity.host);
    cx.session = SessionInfo {
        database: session.database.clone(),
        user,
        current_user: format!("{}@%", session.identity.user),
        version: vars::SERVER_VERSION.to_owned(),
        connection_id: session.id,
        last_insert_id: session.last_insert_id,
        found_rows: session.found_rows,
        row_count: session.row_count,
    };
    cx.system_zone = SYSTEM_ZONE.clone();
    cx.collation = settings.collation;
    cx.div_precision_increment = settings.div_precision_increment;
    cx.random = rand::random();
    cx.max_allowed_packet = settings.max_allowed_packet;
    cx.group_concat_max_len = settings.group_concat_max_len;
    cx.max_warnings = settings.max_error_count;
    cx
}

/// The same for a change; `IGNORE` makes warnings of its errors.
fn write_context(ctx: &ExecContext<'_>, ignore: bool) -> EvalContext {
    let mut cx = eval_context(ctx, true);
    if ignore {
        cx.on_truncate = cx.on_truncate.at_most_warn();
        cx.on_division_by_zero = cx.on_division_by_zero.at_most_warn();
    }
    cx
}

/// Hands the warnings of expressions to the session, and what `LAST_INSERT_ID(id)` said; says so too.
pub fn collect_context(ctx: &mut ExecContext<'_>, rt: &Runtime) -> Option<u64> {
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
fn overlay_of(txn: &kv_client::Transaction, tables: &[Arc<TableInfo>]) -> Overlay {
    let mut overlay = Overlay::new();
    if txn.buffer().is_empty() {
        return overlay;
    }
    for t in tables {
        let (start, end) = codec::table::table_range(t.id);
        overlay.extend(txn.iter_buffer(&start, &end).map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))));
    }
    overlay
}

/// The snapshot that a statement of a transaction reads at, under the pending writes: a fresh one for each statement
/// with `current` (FOR UPDATE and changes) and under READ COMMITTED, if the transaction is pessimistic; otherwise its own.
async fn snapshot_of(ctx: &mut ExecContext<'_>, current: bool) -> Result<Snapshot, SqlError> {
    let client = ctx.server.kv()?;
    let txn = ctx.txn().await?;
    let (own, pessimistic) = (txn.snapshot().clone(), txn.is_pessimistic());
    match pessimistic && (current || ctx.session.txn.read_committed) {
        true => Ok(client.snapshot(client.timestamp().await?)),
        false => Ok(own),
    }
}

/// What a query reads from.
async fn reader_of(ctx: &mut ExecContext<'_>, tables: &[Arc<TableInfo>], current: bool) -> Result<Reader, SqlError> {
    if ctx.is_autocommit() && !current {
        let client = ctx.server.kv()?;
        let ts = if tables.is_empty() { Timestamp::MAX } else { client.timestamp().await? };
        return Ok(Reader::new(client.snapshot(ts)));
    }
    let snapshot = snapshot_of(ctx, current).await?;
    let overlay = overlay_of(ctx.txn().await?, tables);
    Ok(Reader::with_overlay(snapshot, overlay))
}

async fn query_runtime(
    ctx: &mut ExecContext<'_>,
    cx: EvalContext,
    columns: Arc<Columns>,
    tables: &[Arc<TableInfo>],
    current: bool,
) -> Result<Runtime, SqlError> {
    let reader = reader_of(ctx, tables, current).await?;
    let mut rt = Runtime::new(reader, columns, cx, ctx.session.interrupt.clone());
    if let Some(quota) = ctx.session.vars.settings().memory_quota {
        rt.memory_limit = quota;
    }
    Ok(rt)
}

/// Values of subqueries that ran before the statement.
#[derive(Default)]
pub struct SubqueryValues {
    values: HashMap<ColId, Expr>,
    /// Lists of values, and whether the comparison must hold for all of them.
    lists: HashMap<ColId, (bool, Vec<Expr>)>,
}

impl SubqueryValues {
    /// Puts the values where the slots are.
    pub fn apply(&self, plan: &mut Plan) -> Result<(), SqlError> {
        if self.values.is_empty() && self.lists.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        plan.each_expr(&mut |e| {
            if let Err(error) = self.apply_expr(e) {
                result = Err(error);
            }
        });
        result
    }

    /// The same in one expression.
    pub fn apply_expr(&self, e: &mut Expr) -> Result<(), SqlError> {
        crate::planner::plan::bind_values(e, &self.values);
        if e.columns().iter().any(|c| self.lists.contains_key(c)) {
            *e = self.splice(e)?;
        }
        Ok(())
    }

    /// `x IN (slot)` becomes `x IN (values)`, and `x op slot` what `x op ANY` or `x op ALL` of the values is.
    fn splice(&self, e: &Expr) -> Result<Expr, SqlError> {
        let Expr::Call(call) = e else { return Ok(e.clone()) };
        let (op, collation) = match call.func {
            Func::In(EvalType::String, collation) => (Some(CmpOp::Eq), Some(collation)),
            Func::In(..) => (Some(CmpOp::Eq), None),
            Func::Compare(op, EvalType::String, collation) => (Some(op), Some(collation)),
            Func::Compare(op, ..) => (Some(op), None),
            _ => (None, None),
        };
        if let (Some(op), [probe, slot]) = (op, &call.args[..])
            && let [slot] = slot.columns()[..]
            && let Some((all, list)) = self.lists.get(&slot)
        {
            // The probe may be another such comparison.
            return Ok(query::infer::quantified(op, *all, self.splice(probe)?, list.clone(), collation)?);
        }
        let args = call.args.iter().map(|a| self.splice(a)).collect::<Result<Vec<_>, _>>()?;
        Ok(Expr::call(call.func, args, call.ty.clone()))
    }
}

/// Runs the subqueries that depend on nothing, each with the values of those before it.
async fn run_subqueries(subqueries: Vec<Subquery>, rt: &Arc<Runtime>) -> Result<SubqueryValues, SqlError> {
    let mut values = SubqueryValues::default();
    for mut s in subqueries {
        values.apply(&mut s.plan)?;
        match s.kind {
            SubqueryKind::List { all } => {
                let list = operator::list(s.plan, rt).await?;
                values.lists.insert(s.slot, (all, list));
            }
            _ => {
                let (slot, ty) = (s.slot, rt.columns.ty(s.slot).clone());
                let value = operator::run_subquery(s, rt).await?;
                values.values.insert(slot, Expr::Const { value, ty });
            }
        }
    }
    Ok(values)
}

/// Reads the tables that the server computes.
async fn load_memory_tables(
    ctx: &mut ExecContext<'_>,
    plans: &[&Plan],
) -> Result<HashMap<(String, String), Arc<Vec<Vec<Datum>>>>, SqlError> {
    fn find(plan: &Plan, out: &mut Vec<(String, Arc<TableInfo>)>) {
        if let Plan::Memory { table, database, .. } = plan {
            out.push((database.clone(), table.clone()));
        }
        if let Plan::Apply { subquery, .. } = plan {
            find(&subquery.plan, out);
        }
        plan.inputs().into_iter().for_each(|p| find(p, out));
    }
    let mut wanted = Vec::new();
    plans.iter().for_each(|p| find(p, &mut wanted));
    let mut out = HashMap::new();
    for (database, table) in wanted {
        let key = (database.to_lowercase(), table.name.lower.clone());
        if let Entry::Vacant(entry) = out.entry(key) {
            let rows = crate::infoschema::rows(ctx.server, &ctx.schema, &table).await?;
            entry.insert(Arc::new(rows));
        }
    }
    Ok(out)
}

/// A statement, planned: ready for operators.
struct Planned {
    plan: Plan,
    rt: Arc<Runtime>,
    /// For what is not in the plan.
    subqueries: SubqueryValues,
}

/// Plans a bound query: subqueries run, rules applied.
async fn plan_query(
    ctx: &mut ExecContext<'_>,
    cx: EvalContext,
    mut plan: Plan,
    columns: Columns,
    subqueries: Vec<Subquery>,
    current: bool,
) -> Result<Planned, SqlError> {
    let mut tables = Vec::new();
    plan.tables(&mut tables);
    subqueries.iter().for_each(|s| s.plan.tables(&mut tables));
    let mut rt = query_runtime(ctx, cx, Arc::new(columns), &tables, current).await?;
    let plans: Vec<&Plan> = std::iter::once(&plan).chain(subqueries.iter().map(|s| &s.plan)).collect();
    rt.memory = load_memory_tables(ctx, &plans).await?;
    let rt = Arc::new(rt);
    let values = run_subqueries(subqueries, &rt).await?;
    values.apply(&mut plan)?;
    let plan = optimize(plan, &rt);
    Ok(Planned { plan, rt, subqueries: values })
}

/// Applies the rules.
fn optimize(plan: Plan, rt: &Runtime) -> Plan {
    // Storage nodes know offsets, not rules of zones.
    let fixed = matches!(rt.zone, TimeZone::Fixed(_));
    let pushable = |e: &Expr| pushdown::can_push(e) && (fixed || !query::pb::uses_timestamp(e));
    Rules { columns: &rt.columns, zone: &rt.zone, dirty: &|t| rt.reader.is_dirty(t), pushable: &pushable }
        .optimize(plan)
}

async fn select(ctx: &mut ExecContext<'_>, query: &sqlparser::ast::Query) -> Result<ResultSet, SqlError> {
    let env = Env::new(ctx, false);
    let mut binder = Binder::new(&env);
    let Bound { mut plan, columns: visible } = binder.bind_query(query)?;
    let count = ctx.session.vars.settings().sql_select_limit;
    if count != u64::MAX && query.limit_clause.is_none() {
        plan = Plan::Limit { input: Box::new(plan), offset: 0, count };
    }
    let columns = std::mem::take(&mut binder.columns);
    let subqueries = std::mem::take(&mut binder.subqueries);
    let locked = std::mem::take(&mut binder.locked);
    drop(binder);
    let meta = metas(&visible, &columns, &ctx.schema);
    will_lock(ctx, &locked);
    let locking = !locked.is_empty();
    let pessimistic = locking && ctx.txn().await?.is_pessimistic();
    let Planned { plan, rt, .. } = plan_query(ctx, env.eval, plan, columns, subqueries, pessimistic).await?;
    let mut op = operator::build(&plan, &rt)?;
    let mut batches = Vec::new();
    let mut complete = false;
    while batches.len() < EAGER_BATCHES || locking {
        let batch = op.next().await?;
        rt.sleep().await?;
        match batch {
            Some(b) => batches.push(b),
            None => {
                complete = true;
                break;
            }
        }
    }
    collect_context(ctx, &rt);
    lock_rows(ctx, &rt).await?;
    let head = futures::stream::iter(batches.into_iter().map(Ok));
    let rows = if complete { Rows::Batches(head.boxed()) } else { Rows::Batches(head.chain(stream(op, rt)).boxed()) };
    Ok(ResultSet { columns: meta, rows })
}

fn stream(op: Box<dyn Operator>, rt: Arc<Runtime>) -> impl futures::Stream<Item = Result<Batch, SqlError>> + Send {
    futures::stream::unfold(Some((op, rt)), |state| async {
        let (mut op, rt) = state?;
        let batch = op.next().await;
        match rt.sleep().await.and(batch) {
            Ok(Some(b)) => Some((Ok(b), Some((op, rt)))),
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    })
}

/// Before a statement reads that has lock clauses: on its own it locks too, until its end. It waits for whoever has a row,
/// and reads what they leave.
fn will_lock(ctx: &mut ExecContext<'_>, locked: &[Arc<TableInfo>]) {
    if !locked.is_empty() && ctx.is_autocommit() {
        ctx.session.txn.pessimistic = Some(true);
    }
    locked.iter().for_each(|table| ctx.session.txn.use_table(table));
}

/// Locks the rows that a statement has read for its lock clauses; an optimistic transaction has its commit check them.
/// Those whose clause says NOWAIT are tried first: the statement waits for nothing if it must fail anyway.
async fn lock_rows(ctx: &mut ExecContext<'_>, rt: &Runtime) -> Result<(), SqlError> {
    let rows = rt.take_locks();
    if rows.is_empty() {
        return Ok(());
    }
    let txn = ctx.txn().await?;
    if !txn.is_pessimistic() {
        return Ok(txn.lock_at_commit(rows.into_iter().map(|(_, key)| key))?);
    }
    let (at_once, patient): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(lock, _)| lock.nowait);
    for (nowait, rows) in [(true, at_once), (false, patient)] {
        if !rows.is_empty() {
            let wait = lock_wait(ctx.session, nowait);
            let for_update_ts = Some(rt.reader.snapshot().ts());
            let options = kv_client::LockOptions { wait, for_update_ts, ..Default::default() };
            ctx.txn().await?.lock_keys(rows.into_iter().map(|(_, key)| key).collect(), options).await?;
        }
    }
    Ok(())
}

/// How long locks are waited for.
fn lock_wait(session: &SessionState, nowait: bool) -> kv_client::LockWait {
    match nowait {
        true => kv_client::LockWait::NoWait,
        false => kv_client::LockWait::Ms(session.vars.settings().lock_wait.as_millis() as u64),
    }
}

/// What the client learns about the columns.
fn metas(visible: &[Visible], columns: &Columns, schema: &Schema) -> Vec<ColumnMeta> {
    visible
        .iter()
        .map(|v| {
            let mut ty = columns.ty(v.id).clone();
            // Key flags are the table column's own.
            if let Some(c) = schema.table(&v.database, &v.org_table).and_then(|t| t.column(&v.org_name)) {
                ty.flags |= c.field_type.flags;
            }
            ColumnMeta {
                schema: v.database.clone(),
                table: v.table.clone(),
                org_table: v.org_table.clone(),
                name: v.name.clone(),
                org_name: v.org_name.clone(),
                ty,
            }
        })
        .collect()
}
