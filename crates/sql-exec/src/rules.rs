//! The planner's rules, with what this executor can have the storage nodes do.

use query::expr::Expr;
use sql_planner::optimize::Rules;
use sql_planner::plan::Plan;

use crate::runtime::Runtime;

/// Applies the rules.
pub(crate) fn optimize(plan: Plan, rt: &Runtime) -> Plan {
    let pushable = |e: &Expr| rt.can_push(e);
    Rules { columns: &rt.columns, zone: &rt.zone, dirty: &|t| rt.reader.is_dirty(t), pushable: &pushable }
        .optimize(plan)
}
