//! GROUP BY … WITH ROLLUP: the groups once more without the last key, without the last two, …, without any.
//!
//! ```text
//! rows (a, b) = (1, x), (1, y)     Plan::Expand: a' b' level       Aggregate by a', b', level
//!                                  1 x 2   1 y 2                   1 x 2   1 y 2
//!                                  1 - 1   1 - 1                   1 - 1
//!                                  - - 0   - - 0                   - - 0
//! ```
//!
//! What is selected of a key is the key of the group, NULL where it was left out; arguments of aggregates read the rows
//! as they were. `level`, the number of keys that a row still has, tells a NULL that was left out from one of the data:
//! that is `GROUPING`.

use codec::types::{FieldType, flags};
use query::expr::Expr;
use sql_base::SqlError;
use sql_parser::ast;

use super::super::plan::{ColId, Plan, SortKey};
use super::Binder;

/// The keys of a block WITH ROLLUP, from when they are known.
#[derive(Clone)]
pub(super) struct Rollup {
    /// What they are, and the columns of the groups.
    group: Vec<(Expr, ColId)>,
    /// How many of them a group has, as a column of the groups.
    level: ColId,
}

impl Binder<'_> {
    /// Columns of the groups for keys that may be left out.
    pub(super) fn roll_up(&mut self, group: &mut [(Expr, ColId)]) {
        for (e, id) in &mut *group {
            let in_messages = self.columns.in_messages(*id);
            *id = self.columns.add(self.columns.name(*id), nullable(e.ty()));
            if let Some(name) = in_messages {
                self.columns.call_in_messages(*id, name);
            }
        }
        let level = self.columns.add("rollup level", FieldType::bigint());
        self.block().rollup = Some(Rollup { group: group.to_vec(), level });
    }

    /// Rows and keys that make the groups of a roll-up, in place of those that make the groups alone.
    pub(super) fn expand(&mut self, rollup: &Rollup, input: Plan) -> (Plan, Vec<(Expr, ColId)>) {
        let (mut expanded, mut keys) = (Vec::new(), Vec::new());
        for (e, id) in &rollup.group {
            let of_rows = self.columns.add(self.columns.name(*id), nullable(e.ty()));
            expanded.push((e.clone(), of_rows));
            keys.push((self.columns.expr(of_rows), *id));
        }
        let level = self.columns.add("rollup level", FieldType::bigint());
        keys.push((self.columns.expr(level), rollup.level));
        (Plan::Expand { input: Box::new(input), group: expanded, level }, keys)
    }

    /// The groups in the order in which MySQL finds them: those that share a key, then what they are together.
    pub(super) fn in_rollup_order(&mut self, rollup: &Rollup, groups: Plan) -> Result<Plan, SqlError> {
        let mut keys = Vec::new();
        for (at, (_, id)) in rollup.group.iter().enumerate() {
            keys.push(SortKey { expr: self.left_out(rollup.level, at)?, desc: false });
            keys.push(SortKey { expr: self.columns.expr(*id), desc: false });
        }
        Ok(Plan::Sort { input: Box::new(groups), keys, limit: None })
    }

    /// `GROUPING(a, b)`: a bit for each, from the left, that is set where the key was left out.
    pub(super) fn bind_grouping(&mut self, args: &[ast::Expr]) -> Result<Expr, SqlError> {
        let block = self.block();
        let rollup = block.rollup.clone().filter(|_| !block.in_aggregate).ok_or(SqlError::InvalidGroupFunction)?;
        // A name in it is a column before it is an alias, even in ORDER BY.
        let aliases_first = std::mem::replace(&mut self.block().aliases_first, false);
        let bound: Result<Vec<Expr>, SqlError> = args.iter().map(|e| self.bind_expr(e)).collect();
        self.block().aliases_first = aliases_first;
        let mut bits = None;
        for (n, e) in bound?.iter().enumerate() {
            let at = rollup.group.iter().position(|(key, _)| key.computes_same(e));
            let bit = self.left_out(rollup.level, at.ok_or(SqlError::GroupingNotInGroupBy(n + 1))?)?;
            bits = Some(match bits {
                None => bit,
                Some(before) => {
                    let shifted = self.call("*", vec![before, Expr::constant(2_i64)])?;
                    self.call("+", vec![shifted, bit])?
                }
            });
        }
        bits.ok_or_else(|| SqlError::WrongParameterCount("GROUPING".into()))
    }

    /// Whether a key was left out of a group of this level.
    fn left_out(&self, level: ColId, key: usize) -> Result<Expr, SqlError> {
        self.call("<=", vec![self.columns.expr(level), Expr::constant(key as i64)])
    }
}

fn nullable(ty: &FieldType) -> FieldType {
    let mut ty = ty.clone();
    ty.flags &= !flags::NOT_NULL;
    ty
}

#[cfg(test)]
mod tests {
    use query::expr::CmpOp;

    use super::super::super::optimize::{filter, push_down};
    use super::*;

    #[test]
    fn conditions_stay_above_the_levels() {
        let column = |id| Expr::column(id, FieldType::bigint());
        let rows = Plan::Values { ids: vec![1], rows: vec![vec![Expr::constant(1_i64)]] };
        let expand = Plan::Expand { input: Box::new(rows), group: vec![(column(1), 2)], level: 3 };
        for id in [1, 2, 3] {
            let condition = query::infer::compare(CmpOp::Gt, column(id), Expr::constant(0_i64)).unwrap();
            let plan = push_down(filter(expand.clone(), vec![condition]), Vec::new());
            assert!(matches!(plan, Plan::Filter { input, .. } if matches!(*input, Plan::Expand { .. })), "{id}");
        }
    }
}
