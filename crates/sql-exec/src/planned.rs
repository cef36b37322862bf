//! From a bound query to one that operators can be built of.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use codec::datum::Datum;
use query::context::EvalContext;
use sql_base::SqlError;
use sql_catalog::TableInfo;
use sql_context::ExecContext;
use sql_planner::plan::{Columns, Plan, Subquery};

use crate::rules::optimize;
use crate::runtime::Runtime;
use crate::statement::query_runtime;
use crate::subqueries::{SubqueryValues, run_subqueries};

/// Reads the tables that the server computes.
pub(crate) async fn load_memory_tables(
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
            let rows = ctx.virtual_rows.virtual_rows(&ctx.schema, &table).await?;
            entry.insert(Arc::new(rows));
        }
    }
    Ok(out)
}

/// A statement, planned: ready for operators.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) rt: Arc<Runtime>,
    /// For what is not in the plan.
    pub(crate) subqueries: SubqueryValues,
}

/// Plans a bound query: subqueries run, rules applied.
pub(crate) async fn plan_query(
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
