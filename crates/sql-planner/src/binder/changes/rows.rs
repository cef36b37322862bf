//! UPDATE and DELETE: which rows, and what is set.

use query::expr::Expr;
use query::infer;
use sql_base::SqlError;
use sql_parser::ast;

use super::super::{Binder, BoundView, Visible};
use super::{column_of, generated_value, view_of, widen, writable};
use crate::change::{Action, Bound, Change, Step, Target, Value, keep_columns, steps_of_change};
use crate::hints;
use crate::plan::{Logical, Plan, SortKey};

/// Tables of a FROM clause in which all columns and handles of the tables are wanted.
fn bind_targets(
    binder: &mut Binder<'_>,
    from: &[ast::TableWithJoins],
    hints: &[ast::Hint],
) -> Result<(Plan, Vec<Visible>, Vec<Target>), SqlError> {
    let (mut plan, visible) = binder.bind_from(from)?;
    binder.warnings.extend(hints::apply(hints, &mut plan));
    let mut targets = Vec::new();
    widen(&mut plan, binder, &mut targets);
    Ok((plan, visible, targets))
}

/// Whether the rows are those of one table, possibly fewer.
fn is_single(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(_) => true,
        Plan::Filter { input, .. } | Plan::Project { input, .. } => is_single(input),
        _ => false,
    }
}

fn bind_tail(
    binder: &mut Binder<'_>,
    mut plan: Plan,
    selection: Option<&ast::Expr>,
    order: &[ast::OrderBy],
    limit: Option<&ast::Expr>,
) -> Result<Plan, SqlError> {
    if let Some(e) = selection {
        let mut conditions = Vec::new();
        binder.bind_condition(e)?.split_and(&mut conditions);
        plan = binder.place_applies(plan);
        plan = Plan::Filter { input: Box::new(plan), conditions };
    }
    if !order.is_empty() {
        let keys = order
            .iter()
            .map(|o| Ok(SortKey { expr: binder.bind_expr(&o.expr)?, desc: o.desc }))
            .collect::<Result<Vec<_>, SqlError>>()?;
        plan = Plan::Sort { input: Box::new(plan), keys, limit: None };
    }
    if let Some(e) = limit {
        let count = binder.row_count(e)?;
        plan = Plan::Limit { input: Box::new(plan), offset: 0, count };
    }
    Ok(plan)
}

impl Binder<'_> {
    /// UPDATE.
    pub(super) fn bind_update(mut self, update: &ast::Update) -> Result<Bound, SqlError> {
        let from = [update.table.clone()];
        let (plan, visible, targets) = bind_targets(&mut self, &from, &update.hints)?;
        let views = self.bound_views().to_vec();
        let single = is_single(&plan);
        if matches!(plan, Plan::Memory { .. }) {
            return Err(SqlError::NotUpdatable { table: update.table.relation.to_string(), operation: "UPDATE" });
        }
        self.open(visible.clone());
        let plan = bind_tail(&mut self, plan, update.selection.as_ref(), &update.order_by, update.limit.as_ref())?;
        let mut assignments: Vec<(usize, usize, Value)> = Vec::new();
        // Views that are written through, and the table of each that is.
        let mut written: Vec<(&BoundView, usize)> = Vec::new();
        for a in &update.assignments {
            let parts = a.column.parts();
            let unknown = || SqlError::UnknownColumn { column: parts.join("."), clause: "field list".into() };
            let name = parts.last().ok_or_else(unknown)?;
            let table_part = parts.len().checked_sub(2).map(|i| &parts[i]);
            let mut found = visible.iter().filter(|v| {
                v.name.eq_ignore_ascii_case(name) && table_part.is_none_or(|t| v.table.eq_ignore_ascii_case(t))
            });
            let v = found.next().ok_or_else(unknown)?;
            if found.next().is_some() {
                return Err(SqlError::AmbiguousColumn { column: parts.join("."), clause: "field list".into() });
            }
            let not_updatable = || SqlError::NotUpdatable { table: v.table.clone(), operation: "UPDATE" };
            let view = view_of(&views, v);
            let id = match view {
                Some(view) if !view.writable.change => return Err(not_updatable()),
                Some(view) => column_of(view, &v.name)?,
                None => v.id,
            };
            let (target, offset) = targets
                .iter()
                .enumerate()
                .find_map(|(i, t)| t.ids.iter().position(|column| *column == id).map(|o| (i, o)))
                .ok_or_else(not_updatable)?;
            if let Some(view) = view {
                match written.iter().find(|(other, _)| std::ptr::eq(*other, view)) {
                    Some((_, other)) if *other != target => {
                        return Err(SqlError::ViewManyTables(view.whole_name()));
                    }
                    Some(_) => {}
                    None => written.push((view, target)),
                }
            }
            let value = match a.value == ast::Expr::Default {
                true => Value::Default,
                false => Value::Expr(infer::exact(self.bind_expr(&a.value)?)),
            };
            let column = &targets[target].table.columns[offset];
            if column.is_generated() {
                // DEFAULT is what it is anyway.
                if value.expr().is_some() {
                    return Err(generated_value(&targets[target].table, column));
                }
            }
            assignments.push((target, offset, value));
        }
        let plan = self.place_applies(plan);
        self.close()?;
        // Only the tables that are set.
        let mut kept = Vec::new();
        for (i, mut target) in targets.into_iter().enumerate() {
            let mut set: Vec<(usize, Value)> =
                assignments.extract_if(.., |a| a.0 == i).map(|(_, o, v)| (o, v)).collect();
            if set.is_empty() {
                continue;
            }
            set.retain(|(offset, _)| !target.table.columns[*offset].is_generated());
            writable(&target.table, "UPDATE")?;
            let through = written.iter().find(|(_, target)| *target == i).map(|(view, _)| *view);
            let check = through.map(BoundView::check).transpose()?.flatten();
            let then = self.steps_of_row(&target.table, &target.ids, check)?;
            target.steps = steps_of_change(&target.table, set, then);
            kept.push(target);
        }
        let read: Vec<&Expr> = kept.iter().flat_map(|t| &t.steps).flat_map(Step::exprs).collect();
        let plan = keep_columns(plan, &kept, &read, &self.columns);
        let change = Change { targets: kept, single, ignore: update.ignore, limited: update.limit.is_some() };
        Ok(self.bound(plan, Action::Update(change)))
    }

    /// DELETE.
    pub(super) fn bind_delete(mut self, delete: &ast::Delete) -> Result<Bound, SqlError> {
        let named: Vec<String> = delete.targets.iter().map(|name| name.last().to_owned()).collect();
        let sources = &delete.from;
        let (plan, visible, mut targets) = bind_targets(&mut self, sources, &delete.hints)?;
        let single = is_single(&plan);
        if named.is_empty() && targets.is_empty() && self.bound_views().is_empty() {
            return Err(SqlError::NotUpdatable { table: sources[0].relation.to_string(), operation: "DELETE" });
        }
        for view in self.bound_views() {
            if !named.is_empty() && !named.iter().any(|n| view.alias.eq_ignore_ascii_case(n)) {
                continue;
            }
            if !view.writable.change {
                return Err(SqlError::NotUpdatable { table: view.alias.clone(), operation: "DELETE" });
            }
            if targets.iter().filter(|t| t.alias.eq_ignore_ascii_case(&view.alias)).count() > 1 {
                return Err(SqlError::ViewDeleteJoin(view.whole_name()));
            }
        }
        if matches!(plan, Plan::Memory { .. }) {
            return Err(SqlError::NotUpdatable { table: sources[0].relation.to_string(), operation: "DELETE" });
        }
        if !named.is_empty() {
            for n in &named {
                if !targets.iter().any(|t| t.alias.eq_ignore_ascii_case(n)) {
                    return Err(SqlError::UnknownTable(n.clone()));
                }
            }
            targets.retain(|t| named.iter().any(|n| t.alias.eq_ignore_ascii_case(n)));
        }
        for t in &targets {
            writable(&t.table, "DELETE")?;
        }
        self.open(visible);
        let plan = bind_tail(&mut self, plan, delete.selection.as_ref(), &delete.order_by, delete.limit.as_ref())?;
        self.close()?;
        let plan = keep_columns(plan, &targets, &[], &self.columns);
        let change = Change { targets, single, ignore: delete.ignore, limited: delete.limit.is_some() };
        Ok(self.bound(plan, Action::Delete(change)))
    }

    fn bound(self, plan: Plan, action: Action) -> Bound {
        let Binder { columns, subqueries, shared, locked, inputs, warnings, .. } = self;
        Bound { rows: Logical { plan, subqueries, shared, columns }, action, locked, inputs, warnings }
    }
}
