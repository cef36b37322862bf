//! Subqueries that depend on no row: they run before the statement, once each, and their answers are the values of
//! parameters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use query::expr::Expr;
use sql_base::SqlError;
use sql_planner::optimize::slots;
use sql_planner::plan::{ColId, Physical, SubqueryKind, bind_values};

use crate::operator;
use crate::runtime::{Runtime, Value};

/// What subqueries that ran before the statement answered, for expressions that are in no plan.
pub struct SubqueryValues {
    slots: HashMap<ColId, Expr>,
}

impl SubqueryValues {
    /// The expression of this run, a copy only where it is another.
    pub fn of_run<'e>(&self, e: &'e Expr, rt: &mut Runtime) -> Result<Cow<'e, Expr>, SqlError> {
        if self.slots.is_empty() && !e.is_of_run() {
            return Ok(Cow::Borrowed(e));
        }
        let mut e = e.clone();
        self.apply_expr(&mut e, rt)?;
        Ok(Cow::Owned(e))
    }

    /// The expression of this run, with the answers where the slots are.
    pub fn apply_expr(&self, e: &mut Expr, rt: &mut Runtime) -> Result<(), SqlError> {
        if !self.slots.is_empty() {
            bind_values(e, &self.slots);
        }
        if e.is_of_run() {
            *e = rt.settled(e)?;
        }
        Ok(())
    }
}

/// Runs the subqueries that depend on no row, each with the answers of those before it.
pub(crate) async fn run_subqueries(physical: &Physical, rt: &mut Runtime) -> Result<SubqueryValues, SqlError> {
    for (s, at) in physical.subqueries.iter().zip(physical.subquery_nodes()) {
        let value = match s.kind {
            SubqueryKind::List { all } => Value::Many { all, list: Arc::new(operator::list(&s.plan, at, rt).await?) },
            _ => Value::One(operator::run_subquery(s, at, rt).await?),
        };
        rt.set_param(s.slot, value);
    }
    Ok(SubqueryValues { slots: slots(&physical.subqueries, &rt.columns) })
}
