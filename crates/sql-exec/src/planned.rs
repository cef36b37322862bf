//! From a plan to one whose operators can be built.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codec::datum::Datum;
use codec::timestamp::Timestamp;
use query::context::EvalContext;
use sql_base::SqlError;
use sql_base::outcome::ColumnMeta;
use sql_catalog::TableInfo;
use sql_context::{ExecContext, Level, Services, VirtualRead};
use sql_planner::change::Action;
use sql_planner::optimize::Settings;
use sql_planner::plan::{Physical, Plan, Taken};

use crate::measure::meters_of;
use crate::point_lock::PointKeys;
use crate::reader::Reader;
use crate::runtime::{Runtime, Value};
use crate::statement::{lock_wait, overlay_of, query_runtime, reader_of, runtime};
use crate::subqueries::{SubqueryValues, run_subqueries};

/// Reads the tables that the server computes: each once, with the columns that any part of the statement reads of it.
pub(crate) async fn load_memory_tables(
    ctx: &ExecContext<'_>,
    physical: &Physical,
) -> Result<HashMap<(String, String), Arc<Vec<Vec<Datum>>>>, SqlError> {
    type Wanted = HashMap<(String, String), (Arc<TableInfo>, Vec<usize>)>;
    fn find(plan: &Plan, out: &mut Wanted) {
        if let Plan::Memory { table, database, columns } = plan {
            let key = (database.to_lowercase(), table.name.lower.clone());
            let (_, wanted) = out.entry(key).or_insert_with(|| (table.clone(), Vec::new()));
            wanted.extend(columns.iter().map(|c| c.0));
        }
        if let Plan::Apply { subquery, .. } = plan {
            find(&subquery.plan, out);
        }
        plan.inputs().into_iter().for_each(|p| find(p, out));
    }
    let mut wanted = Wanted::new();
    physical.plans().for_each(|plan| find(plan, &mut wanted));
    let mut out = HashMap::new();
    for (key, (table, columns)) in wanted {
        // Nobody is told of temporary tables there, as in MySQL.
        let schema = ctx.session.txn.stored_schema().unwrap_or(&ctx.schema);
        let read = VirtualRead { schema, session: ctx.session, columns: &columns };
        let rows = ctx.virtual_rows.virtual_rows(&table, read).await?;
        out.insert(key, Arc::new(rows));
    }
    Ok(out)
}

/// A query, planned.
pub(crate) struct QueryPlan {
    pub(crate) physical: Arc<Physical>,
    pub(crate) meta: Arc<[ColumnMeta]>,
    /// Tables some of whose rows a lock clause locks.
    pub(crate) locked: Vec<Arc<TableInfo>>,
    /// What the statement says without effect: numbers and texts for `SHOW WARNINGS`.
    pub(crate) notes: Vec<(Level, u16, String)>,
}

/// A change, planned.
pub(crate) struct ChangePlan {
    /// Its rows.
    pub(crate) physical: Arc<Physical>,
    /// What is done with them.
    pub(crate) action: Action,
    /// Tables that lock clauses of its subqueries lock.
    pub(crate) locked: Vec<Arc<TableInfo>>,
}

/// A statement with all that its run needs: ready for operators.
pub(crate) struct Planned {
    pub(crate) physical: Arc<Physical>,
    pub(crate) rt: Runtime,
    /// For what is not in the plan.
    pub(crate) subqueries: SubqueryValues,
}

/// Which version of the rows a query reads.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Reads {
    /// That of the transaction's snapshot.
    Consistent,
    /// The newest.
    Current,
    /// The newest of tables under a lock clause, the snapshot's of the others.
    ByClause,
}

/// What plans of a statement depend on, beside the statement and the schema.
pub(crate) fn settings(server: &dyn Services, cx: &EvalContext) -> Settings {
    // A server that has none yet plans without.
    let statistics = server.statistics().map(|s| s.current()).unwrap_or_default();
    Settings { zone: cx.time_zone.clone(), statistics }
}

/// Begins the run of a plan with the values of its parameters: subqueries run, rows are locked that are read by key under a
/// lock clause. Rows that are `taken` are skipped by clauses that say so.
pub(crate) async fn begin(
    ctx: &mut ExecContext<'_>,
    cx: EvalContext,
    physical: Arc<Physical>,
    values: Vec<(usize, Value)>,
    reads: Reads,
    taken: &Arc<HashSet<Vec<u8>>>,
) -> Result<Planned, SqlError> {
    let tables = physical.tables();
    let columns = physical.columns.clone();
    let mut rt = if reads == Reads::ByClause && !physical.reads(false) {
        // Nobody reads the snapshot, so nobody fixes it.
        let overlay = overlay_of(ctx.txn().await?, &tables);
        let nowhere = ctx.server.kv()?.snapshot(Timestamp::MAX);
        runtime(ctx, Reader::with_overlay(nowhere, overlay), columns, cx)
    } else {
        query_runtime(ctx, cx, columns, &tables, reads == Reads::Current).await?
    };
    rt.memory = load_memory_tables(ctx, &physical).await?;
    rt.meters = meters_of(&physical);
    rt.share(&physical);
    rt.taken = taken.clone();
    if reads == Reads::ByClause && physical.plans().skip(1).any(|plan| plan.reads(true)) {
        rt.read_locked_from(reader_of(ctx, &tables, true).await?);
    }
    values.into_iter().for_each(|(id, value)| rt.set_param(id, value));
    let subqueries = run_subqueries(&physical, &mut rt).await?;
    if reads == Reads::ByClause && !rt.knows_locked() {
        // Rows that may be taken are not asked for before it is known that they match.
        let waits = |keys: &PointKeys| keys.clause.is_none_or(|clause| clause.taken != Taken::Skip);
        match PointKeys::of(&physical.plan, &mut rt).filter(waits) {
            Some(keys) => {
                let fails = keys.clause.is_some_and(|clause| clause.taken == Taken::Fail);
                let wait = lock_wait(ctx.session, fails);
                let locked = keys.lock(ctx.txn().await?, wait).await?;
                rt.read_what_is_locked(Reader::with_overlay(ctx.server.kv()?.snapshot(locked.ts), locked.values));
            }
            None => rt.read_locked_from(reader_of(ctx, &tables, true).await?),
        }
    }
    Ok(Planned { physical, rt, subqueries })
}
