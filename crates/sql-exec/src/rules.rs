//! The planner's rules, with what this executor can have the storage nodes do.

use query::expr::Expr;
use sql_catalog::TableInfo;
use sql_planner::optimize::Rules;
use sql_planner::plan::Plan;

use crate::runtime::Runtime;

/// Applies the rules.
pub(crate) fn optimize(plan: Plan, rt: &Runtime) -> Plan {
    let pushable = |e: &Expr| rt.can_push(e);
    let dirty = |t: &TableInfo| rt.reader.is_dirty(t);
    let (columns, zone, statistics) = (&rt.columns, &rt.zone, &rt.statistics);
    Rules { columns, zone, dirty: &dirty, pushable: &pushable, statistics }.optimize(plan)
}
