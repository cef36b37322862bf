//! A query block: SELECT with its grouping, aggregates and order.

use std::collections::{HashMap, HashSet};

use query::expr::{ColumnName, Expr, Sql};
use sql_base::SqlError;
use sql_parser::ast;

use super::super::hints;
use super::super::plan::{AggCall, ColId, Plan, SortKey, SubqueryKind};
use super::expressions::{has_aggregate, window_has_aggregate};
use super::{Binder, Block, Bound, Visible, position, table_name};

impl Binder<'_> {
    pub(super) fn bind_select(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderBy],
        limit: Option<(u64, u64)>,
    ) -> Result<Bound, SqlError> {
        self.blocks.push(Block::default());
        let bound = self.bind_select_block(select, order, limit);
        let block = self.blocks.pop();
        let bound = bound?;
        // What this block reads from outside, the enclosing blocks must know, except the one that has it.
        if let (Some(block), Some(parent)) = (block, self.blocks.last_mut()) {
            let own: HashSet<ColId> = parent.visible.iter().map(|v| v.id).collect();
            let outer: Vec<ColId> = block.outer.iter().copied().filter(|c| !own.contains(c)).collect();
            parent.outer.extend(outer);
        }
        Ok(bound)
    }

    fn bind_select_block(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderBy],
        limit: Option<(u64, u64)>,
    ) -> Result<Bound, SqlError> {
        let (mut plan, visible) = self.bind_from(&select.from)?;
        self.warnings.extend(hints::apply(&select.hints, &mut plan));
        self.block().visible = visible;

        if let Some(selection) = &select.selection {
            let mut conditions = Vec::new();
            self.in_clause("where clause", |b| b.bind_condition(selection))?.split_and(&mut conditions);
            plan = self.place_applies(plan);
            plan = Plan::Filter { input: Box::new(plan), conditions };
        }

        // Select items first without aggregates' meaning: `*` and names.
        let items = self.expand_items(&select.projection, !select.from.is_empty())?;

        let (groups, with_rollup) = (&select.group_by, select.rollup);
        let aggregated = !groups.is_empty()
            || items.iter().any(|i| matches!(i, Item::Expr(e, _) if has_aggregate(e)))
            || select.having.as_ref().is_some_and(has_aggregate)
            || order.iter().any(|o| has_aggregate(&o.expr))
            || select.windows.iter().any(|named| window_has_aggregate(&named.window));

        // GROUP BY: columns come before aliases.
        let mut group: Vec<(Expr, ColId)> = Vec::new();
        for g in groups {
            let e = match position(g) {
                Some(n) => match n.checked_sub(1).and_then(|i| items.get(i)) {
                    Some(item) => self.bind_group_item(item)?,
                    None => {
                        return Err(SqlError::UnknownColumn {
                            column: n.to_string(),
                            clause: "group statement".into(),
                        });
                    }
                },
                None => {
                    let bound = self.in_clause("group statement", |b| b.bind_expr(g));
                    match (bound, g.as_plain_column()) {
                        (Err(SqlError::UnknownColumn { .. }), Some(name)) => {
                            match items
                                .iter()
                                .find(|i| matches!(i, Item::Expr(_, alias) if alias.eq_ignore_ascii_case(&name.value)))
                            {
                                Some(item) => self.bind_group_item(item)?,
                                None => {
                                    return Err(SqlError::UnknownColumn {
                                        column: name.value.clone(),
                                        clause: "group statement".into(),
                                    });
                                }
                            }
                        }
                        (bound, _) => bound?,
                    }
                }
            };
            let id = self.columns.add(g.to_string(), e.ty().clone());
            self.columns.call_in_messages(id, Sql(&e).to_string());
            group.push((e, id));
        }
        if aggregated && !self.block().applies.is_empty() {
            plan = self.place_applies(plan);
        }
        if with_rollup {
            self.roll_up(&mut group);
        }

        self.block().aggregates = aggregated.then(Vec::new);
        self.open_windows(&select.windows)?;
        let mut exprs: Vec<Expr> = Vec::new();
        let mut columns: Vec<Visible> = Vec::new();
        for item in &items {
            let e = self.bind_item(item)?;
            let v = match item {
                Item::Column(v) => v.clone(),
                Item::Expr(ast, name) => {
                    let source = match &e {
                        Expr::Column { index, .. } if !matches!(ast, ast::Expr::Subquery(_)) => {
                            self.block().visible.iter().find(|v| v.id == *index).cloned()
                        }
                        _ => None,
                    };
                    match source {
                        Some(v) => Visible { name: name.clone(), merged: false, ..v },
                        None => self.computed(usize::MAX, name.clone()),
                    }
                }
            };
            exprs.push(e);
            columns.push(v);
        }
        let aliases: Vec<(String, Expr)> = columns.iter().map(|c| c.name.clone()).zip(exprs.iter().cloned()).collect();

        let having = match &select.having {
            None => None,
            Some(h) => {
                // An alias comes before a column of that name, unless the column is grouped by (manual, SELECT Statement).
                let grouped = |name: &str| {
                    let is = |id: ColId| {
                        self.blocks
                            .last()
                            .is_some_and(|b| b.visible.iter().any(|v| v.id == id && v.name.eq_ignore_ascii_case(name)))
                    };
                    group.iter().any(|(g, _)| matches!(g, Expr::Column { index, .. } if is(*index)))
                };
                let first = aliases.iter().filter(|(name, _)| !grouped(name)).cloned().collect();
                self.block().aliases = first;
                self.block().use_aliases = true;
                self.block().aliases_first = true;
                self.block().windows.allowed = false;
                let bound = self.in_clause("having clause", |b| b.bind_condition(h));
                self.block().windows.allowed = true;
                self.block().use_aliases = false;
                self.block().aliases_first = false;
                Some(bound?)
            }
        };
        self.block().aliases = aliases;
        let mut keys: Vec<(Expr, bool)> = Vec::new();
        for o in order {
            let desc = o.desc;
            let e = match position(&o.expr) {
                Some(n) => match n.checked_sub(1).and_then(|i| exprs.get(i)) {
                    Some(e) => e.clone(),
                    None => return Err(SqlError::UnknownOrderPosition(n.to_string())),
                },
                None => {
                    self.block().use_aliases = true;
                    self.block().aliases_first = true;
                    let bound = self.in_clause("order clause", |b| b.bind_expr(&o.expr));
                    self.block().use_aliases = false;
                    self.block().aliases_first = false;
                    bound?
                }
            };
            keys.push((e, desc));
        }

        let mut having = having;
        if aggregated {
            let mut aggs = self.block().aggregates.take().unwrap_or_default();
            let strict = self.env.eval().has_mode(query::context::sql_mode::ONLY_FULL_GROUP_BY);
            // Nothing depends on a key that is left out.
            let determined = if with_rollup { HashSet::new() } else { self.determined(&group, &plan) };
            let no_groups = group.is_empty();
            let mut position = 0;
            let mut rewrite = |b: &mut Self, e: &Expr, clause: &str, position: usize| {
                b.after_group(e, &group, &mut aggs, &determined, strict).map_err(|column| match no_groups {
                    true => SqlError::MixOfGroupAndFields { position, column },
                    false => SqlError::NotInGroupBy { position, clause: clause.into(), column },
                })
            };
            let mut windows = std::mem::take(&mut self.block().windows);
            windows.try_each_expr(|e, ids| {
                // The expression that is at fault is the one with the function.
                let reads = |of: &Expr| of.columns().iter().any(|c| ids.contains(c));
                let (clause, position) = match exprs.iter().position(reads) {
                    Some(i) => ("SELECT list", i + 1),
                    None => ("ORDER BY clause", 1 + keys.iter().position(|k| reads(&k.0)).unwrap_or(0)),
                };
                *e = rewrite(self, e, clause, position)?;
                Ok::<_, SqlError>(())
            })?;
            self.block().windows = windows;
            for e in &mut exprs {
                position += 1;
                *e = rewrite(self, e, "SELECT list", position)?;
            }
            if let Some(h) = &mut having {
                *h = rewrite(self, h, "HAVING clause", 1)?;
            }
            for (i, (e, _)) in keys.iter_mut().enumerate() {
                *e = rewrite(self, e, "ORDER BY clause", i + 1)?;
            }
            // What subqueries read of a row, they read of its group now.
            let mut applies = std::mem::take(&mut self.block().applies);
            for subquery in &mut applies {
                if let SubqueryKind::Test { condition, .. } = &mut subquery.kind {
                    *condition = rewrite(self, condition, "SELECT list", 1)?;
                }
                let mut read = HashSet::new();
                subquery.plan.each_expr(&mut |e| read.extend(e.columns()));
                let own: Vec<ColId> =
                    self.block().visible.iter().map(|v| v.id).filter(|id| read.contains(id)).collect();
                let mut values = HashMap::new();
                for id in own {
                    let e = self.columns.expr(id);
                    values.insert(id, rewrite(self, &e, "SELECT list", 1)?);
                }
                subquery.bind_values(&values);
            }
            self.block().applies = applies;
            for subquery in std::mem::take(&mut self.block().applies_of_rows) {
                plan = Plan::Apply { input: Box::new(plan), subquery: Box::new(subquery) };
            }
            let rollup = self.block().rollup.take();
            if let Some(rollup) = &rollup {
                (plan, group) = self.expand(rollup, plan);
            }
            plan = Plan::Aggregate { input: Box::new(plan), group, aggs, merge: false };
            if let Some(rollup) = rollup.filter(|_| order.is_empty()) {
                plan = self.in_rollup_order(&rollup, plan)?;
            }
        }
        // Subqueries whose rows are tested against a window function's result come after it.
        let mut tests = std::mem::take(&mut self.block().applies);
        let windows = &self.block().windows;
        let below = tests.extract_if(
            ..,
            |s| !matches!(&s.kind, SubqueryKind::Test { condition, .. } if windows.are_read_by(condition)),
        );
        self.block().applies = below.collect();
        plan = self.place_applies(plan);
        if let Some(h) = having {
            let mut conditions = Vec::new();
            h.split_and(&mut conditions);
            plan = Plan::Filter { input: Box::new(plan), conditions };
        }
        if !self.block().windows.is_empty() {
            plan = self.place_windows(plan);
        }
        self.block().applies = tests;
        plan = self.place_applies(plan);

        let distinct = select.distinct;
        // Every output gets its own number, so that one column selected twice is two.
        let mut project: Vec<(Expr, ColId)> = Vec::new();
        for (e, v) in exprs.iter().zip(&mut columns) {
            let name = match e {
                Expr::Column { index, .. } => self.columns.name(*index),
                _ => v.name.clone(),
            };
            v.id = self.columns.add(name, e.ty().clone());
            if matches!(e, Expr::Column { .. }) {
                self.columns.call_in_messages(v.id, Sql(e).to_string());
            }
            v.merged = false;
            project.push((e.clone(), v.id));
        }
        let visible_width = project.len();
        let mut sort = Vec::new();
        for (e, desc) in keys {
            if e.is_constant() {
                continue;
            }
            let known = project.iter().find(|(p, _)| *p == e).map(|p| p.1);
            let id = match known {
                Some(id) => id,
                None if distinct => {
                    return Err(SqlError::Other(format!(
                        "Expression #{} of ORDER BY clause is not in SELECT list; this is incompatible with DISTINCT",
                        sort.len() + 1
                    )));
                }
                None => {
                    let id = self.columns.add(format!("{e}"), e.ty().clone());
                    project.push((e, id));
                    id
                }
            };
            sort.push(SortKey { expr: self.columns.expr(id), desc });
        }
        let extra = project.len() > visible_width;
        plan = Plan::Project { input: Box::new(plan), exprs: project };
        if distinct {
            plan = Plan::Distinct(Box::new(plan));
        }
        if !sort.is_empty() {
            plan = Plan::Sort { input: Box::new(plan), keys: sort, limit: None };
        }
        if let Some((count, offset)) = limit {
            plan = Plan::Limit { input: Box::new(plan), offset, count };
        }
        if extra {
            let exprs = columns
                .iter_mut()
                .map(|v| {
                    let e = self.columns.expr(v.id);
                    v.id = self.columns.add(self.columns.name(v.id), e.ty().clone());
                    if let Expr::Column { name: ColumnName(Some(name)), .. } = &e {
                        self.columns.call_in_messages(v.id, name.clone());
                    }
                    (e, v.id)
                })
                .collect();
            plan = Plan::Project { input: Box::new(plan), exprs };
        }
        Ok(Bound { plan, columns })
    }

    /// A select item that GROUP BY names.
    fn bind_group_item(&mut self, item: &Item) -> Result<Expr, SqlError> {
        self.bind_item(item).map_err(|e| match (e, item) {
            (SqlError::WindowFunctionUse(_), Item::Expr(_, name)) => SqlError::WrongGroupField(name.clone()),
            (e, _) => e,
        })
    }

    fn bind_item(&mut self, item: &Item) -> Result<Expr, SqlError> {
        match item {
            Item::Column(v) => Ok(self.columns.expr(v.id)),
            Item::Expr(e, _) => self.bind_expr(e),
        }
    }

    fn expand_items(&mut self, items: &[ast::SelectItem], has_from: bool) -> Result<Vec<Item>, SqlError> {
        let mut out = Vec::new();
        for item in items {
            match item {
                ast::SelectItem::Expr { expr, alias } => {
                    let name = alias.as_ref().map_or_else(|| item_name(expr), |alias| alias.value.clone());
                    out.push(Item::Expr(expr.clone(), name));
                }
                ast::SelectItem::Star(at) => {
                    if !has_from {
                        return Err(SqlError::NoTablesUsed);
                    }
                    let columns: Vec<Visible> = self.block().visible.iter().filter(|v| !v.merged).cloned().collect();
                    self.record_star(*at, &columns);
                    out.extend(columns.into_iter().map(Item::Column));
                }
                ast::SelectItem::StarOf(name) => {
                    let (db, table) = table_name(name)?;
                    let before = out.len();
                    // A table's columns were numbered in its order, which a join may have changed.
                    let mut visible = self.block().visible.clone();
                    visible.sort_by_key(|v| v.id);
                    for v in &visible {
                        if v.table.eq_ignore_ascii_case(&table)
                            && db.as_ref().is_none_or(|d| v.database.eq_ignore_ascii_case(d))
                        {
                            out.push(Item::Column(v.clone()));
                        }
                    }
                    if out.len() == before {
                        return Err(SqlError::UnknownTable(table));
                    }
                    visible.retain(|v| out[before..].iter().any(|i| matches!(i, Item::Column(c) if c.id == v.id)));
                    self.record_star(name.at(), &visible);
                }
            }
        }
        Ok(out)
    }

    /// An expression over groups: group keys and aggregates stay, other columns become any value of the group if the
    /// group determines it (or the SQL mode does not care). Otherwise the column's name is the error.
    fn after_group(
        &mut self,
        e: &Expr,
        group: &[(Expr, ColId)],
        aggs: &mut Vec<(AggCall, ColId)>,
        determined: &HashSet<ColId>,
        strict: bool,
    ) -> Result<Expr, String> {
        if let Some((_, id)) = group.iter().find(|(g, _)| g.computes_same(e)) {
            return Ok(self.columns.expr(*id));
        }
        match e {
            Expr::Const { .. } | Expr::Param(_) => Ok(e.clone()),
            Expr::Column { index, ty, .. } => {
                let own = self.block().visible.iter().any(|v| v.id == *index);
                if !own || aggs.iter().any(|a| a.1 == *index) {
                    return Ok(e.clone());
                }
                if strict && !determined.contains(index) {
                    return Err(self.columns.name(*index));
                }
                let call = AggCall {
                    name: "firstrow".into(),
                    args: vec![e.clone()],
                    distinct: false,
                    order_by: Vec::new(),
                    separator: None,
                    ty: ty.clone(),
                };
                if let Some((_, id)) = aggs.iter().find(|(a, _)| *a == call) {
                    return Ok(self.columns.expr(*id));
                }
                let id = self.columns.add(self.columns.name(*index), ty.clone());
                self.columns.call_in_messages(id, Sql(e).to_string());
                aggs.push((call, id));
                Ok(self.columns.expr(id))
            }
            Expr::Call(call) => {
                let args = call.args.iter().map(|a| self.after_group(a, group, aggs, determined, strict));
                Ok(Expr::call(call.func, args.collect::<Result<_, _>>()?, call.ty.clone()))
            }
        }
    }
}

/// An item of the select list.
enum Item {
    /// From `*`.
    Column(Visible),
    /// Written out, with its name.
    Expr(ast::Expr, String),
}

/// The name MySQL gives to an item without alias: the column's, or the text.
fn item_name(e: &ast::Expr) -> String {
    match e {
        ast::Expr::Column(name) => name.last().to_owned(),
        ast::Expr::Nested(inner) if matches!(**inner, ast::Expr::Column(_)) => item_name(inner),
        ast::Expr::Literal(ast::Literal::Text(text)) => text.clone(),
        _ => e.to_string(),
    }
}
