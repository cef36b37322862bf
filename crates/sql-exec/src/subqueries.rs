//! Subqueries that depend on nothing: they run before the statement, and their values take their places.

use std::collections::HashMap;
use std::sync::Arc;

use query::expr::{CmpOp, Expr, Func};
use query::types::EvalType;
use sql_base::SqlError;
use sql_planner::plan::{ColId, Plan, Subquery, SubqueryKind};

use crate::operator;
use crate::runtime::Runtime;

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
        sql_planner::plan::bind_values(e, &self.values);
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
pub(crate) async fn run_subqueries(subqueries: Vec<Subquery>, rt: &Arc<Runtime>) -> Result<SubqueryValues, SqlError> {
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
