//! The planner's rules, with what this executor can have the storage nodes do.

use query::context::TimeZone;
use query::expr::Expr;
use sql_planner::optimize::Rules;
use sql_planner::plan::Plan;

use crate::pushdown;
use crate::runtime::Runtime;

/// Applies the rules.
pub(crate) fn optimize(plan: Plan, rt: &Runtime) -> Plan {
    // Storage nodes know offsets, not rules of zones.
    let fixed = matches!(rt.zone, TimeZone::Fixed(_));
    let pushable = |e: &Expr| pushdown::can_push(e) && (fixed || !query::pb::uses_timestamp(e));
    Rules { columns: &rt.columns, zone: &rt.zone, dirty: &|t| rt.reader.is_dirty(t), pushable: &pushable }
        .optimize(plan)
}
