//! What is around a query's blocks: WITH, set operations, ORDER BY and LIMIT of their results, lock clauses.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::types::FieldType;
use query::expr::Expr;
use sql_base::SqlError;
use sql_parser::ast;

use super::super::plan::{AggCall, ColId, Lock, Plan, SortKey, Taken};
use super::super::{aggregate, expr as build};
use super::{Binder, Block, Bound, MAX_DEPTH, Visible, each_scan, position, table_name};

impl Binder<'_> {
    /// A whole query: WITH, body, ORDER BY, LIMIT, locks.
    pub fn bind_query(&mut self, query: &ast::Query) -> Result<Bound, SqlError> {
        if self.depth >= MAX_DEPTH {
            return Err(SqlError::StackOverrun);
        }
        self.depth += 1;
        let levels = self.ctes.len();
        let bound = self.bind_query_with(query);
        self.ctes.truncate(levels);
        self.depth -= 1;
        bound
    }

    fn bind_query_with(&mut self, query: &ast::Query) -> Result<Bound, SqlError> {
        if let Some(with) = &query.with {
            self.open_with(with)?;
        }
        let limit = self.bind_limit(query.limit.as_ref())?;
        let mut bound = match &query.body {
            ast::SetExpr::Select(select) => self.bind_select(select, &query.order_by, limit)?,
            ast::SetExpr::Query(inner) => {
                let inner = self.bind_query(inner)?;
                self.order_result(inner, &query.order_by, limit)?
            }
            body @ (ast::SetExpr::SetOperation { .. } | ast::SetExpr::Values(_)) => {
                let inner = self.bind_set(body)?;
                self.order_result(inner, &query.order_by, limit)?
            }
        };
        self.lock_query(&query.locks, &mut bound.plan)?;
        Ok(bound)
    }

    /// The lock clauses of a query.
    pub(super) fn lock_query(&mut self, locks: &[ast::Lock], plan: &mut Plan) -> Result<(), SqlError> {
        for lock in locks {
            let taken = match lock.wait {
                ast::LockWait::Wait => Taken::Wait,
                ast::LockWait::NoWait => Taken::Fail,
                ast::LockWait::SkipLocked => Taken::Skip,
            };
            // Storage nodes know no shared locks: FOR SHARE takes the exclusive one, which keeps more people waiting
            // but promises all that the shared one does. (TiDB refuses it, or takes none when told to.)
            let of = lock.of.as_ref().map(table_name).transpose()?;
            self.lock_scans(plan, of, Lock { taken })?;
        }
        Ok(())
    }

    /// Has the rows of the query's tables locked, those of table `of` or all. Tables of subqueries and derived tables are
    /// not among them, as in MySQL: they have clauses of their own. Those of views are, whatever the view does with its rows.
    fn lock_scans(
        &mut self,
        plan: &mut Plan,
        of: Option<(Option<String>, String)>,
        lock: Lock,
    ) -> Result<(), SqlError> {
        let (columns, locked) = (&mut self.columns, &mut self.locked);
        let before = locked.len();
        each_scan(plan, &mut |scan| {
            if scan.derived {
                return Ok(());
            }
            let (in_database, called) = match &scan.view {
                Some((database, alias)) => (database, alias),
                None => (&scan.database, &scan.alias),
            };
            let named = of.as_ref().is_none_or(|(database, alias)| {
                called.eq_ignore_ascii_case(alias)
                    && database.as_ref().is_none_or(|d| in_database.eq_ignore_ascii_case(d))
            });
            if !named {
                return Ok(());
            }
            if scan.lock.replace(lock).is_some() {
                return Err(SqlError::DuplicateTableLock(called.clone()));
            }
            let ty = scan.table.handle_type();
            scan.handle.get_or_insert_with(|| columns.add("_tidb_rowid", ty));
            locked.push(scan.table.clone());
            Ok(())
        })?;
        match of {
            Some((_, table)) if locked.len() == before => Err(SqlError::UnresolvedTableLock(table)),
            _ => Ok(()),
        }
    }

    pub(super) fn bind_limit(&mut self, limit: Option<&ast::Limit>) -> Result<Option<(u64, u64)>, SqlError> {
        let Some(ast::Limit { count, offset }) = limit else { return Ok(None) };
        let count = self.row_count(count)?;
        let offset = offset.as_ref().map(|e| self.row_count(e)).transpose()?.unwrap_or(0);
        Ok((count != u64::MAX || offset != 0).then_some((count, offset)))
    }

    /// A number of rows: a literal or a parameter.
    pub fn row_count(&mut self, e: &ast::Expr) -> Result<u64, SqlError> {
        let bound = self.bind_expr(e)?;
        let count = match bound.as_const() {
            Some(Datum::Int(n)) => u64::try_from(*n).ok(),
            Some(Datum::UInt(n)) => Some(*n),
            Some(Datum::Null) if self.describing => Some(0),
            // A literal is a whole number; a parameter may be sent as any type, and is converted to one.
            Some(value) if is_parameter(e) => match value {
                Datum::Bytes(b) => std::str::from_utf8(b).ok().and_then(|text| Decimal::parse_prefix(text).0),
                Datum::Decimal(d) => Some(d.clone()),
                Datum::Float(v) => Decimal::from_f64(*v),
                _ => None,
            }
            .and_then(|n| n.round(0).to_u64().ok()),
            _ => None,
        };
        count.ok_or_else(|| SqlError::WrongArguments("LIMIT".into()))
    }

    pub(super) fn bind_set(&mut self, body: &ast::SetExpr) -> Result<Bound, SqlError> {
        match body {
            ast::SetExpr::Select(select) => self.bind_select(select, &[], None),
            ast::SetExpr::Query(query) => self.bind_query(query),
            ast::SetExpr::Values(rows) => self.bind_values_rows(rows),
            ast::SetExpr::SetOperation { left, op, all, right } => {
                let rows = match op {
                    ast::SetOperator::Union => None,
                    ast::SetOperator::Intersect => Some(Rows::Common),
                    ast::SetOperator::Except => Some(Rows::Left),
                };
                let left = self.bind_set(left)?;
                let right = self.bind_set(right)?;
                match rows {
                    None => self.union(left, right, *all),
                    Some(rows) => self.rows_of_sides(left, right, rows, *all),
                }
            }
        }
    }

    fn bind_values_rows(&mut self, rows: &[Vec<ast::Expr>]) -> Result<Bound, SqlError> {
        if rows.iter().any(|row| row.is_empty()) {
            return Err(SqlError::ValuesWithoutColumns);
        }
        if rows.iter().flatten().any(|e| *e == ast::Expr::Default) {
            return Err(SqlError::ValuesWithDefault);
        }
        // A block of their own, which has no columns.
        self.open(Vec::new());
        let bound: Result<Vec<Vec<Expr>>, SqlError> =
            rows.iter().map(|row| row.iter().map(|e| self.bind_expr(e)).collect()).collect();
        let closed = self.close();
        let mut bound = bound?;
        closed?;
        let width = bound.first().map_or(0, Vec::len);
        if let Some(at) = bound.iter().position(|r| r.len() != width) {
            return Err(SqlError::ColumnCountMismatch(at as u64 + 1));
        }
        let mut ids = Vec::new();
        let mut columns = Vec::new();
        for i in 0..width {
            let mut ty = bound[0][i].ty().clone();
            for row in &bound[1..] {
                ty = build::union_type(&ty, row[i].ty())?;
            }
            for row in &mut bound {
                row[i] = build::cast_to(row[i].clone(), &ty, self.env.eval())?;
            }
            let name = format!("column_{i}");
            let id = self.columns.add(name.clone(), ty);
            ids.push(id);
            columns.push(self.computed(id, name));
        }
        Ok(Bound { plan: Plan::Values { ids, rows: bound }, columns })
    }

    pub(super) fn computed(&self, id: ColId, name: String) -> Visible {
        Visible {
            id,
            name,
            table: String::new(),
            database: String::new(),
            org_table: String::new(),
            org_name: String::new(),
            merged: false,
        }
    }

    pub(super) fn union(&mut self, left: Bound, right: Bound, all: bool) -> Result<Bound, SqlError> {
        let Bound { plan, columns } = self.union_all(left, right, &[])?;
        let plan = if all { plan } else { Plan::Distinct(Box::new(plan)) };
        Ok(Bound { plan, columns })
    }

    /// INTERSECT and EXCEPT: both sides' rows, grouped by all of their columns (so that NULL is NULL, and a collation's
    /// equals are equal), with how many of them each side has. Once those that are wanted, or with `all` as often as the
    /// two counts say.
    fn rows_of_sides(&mut self, left: Bound, right: Bound, rows: Rows, all: bool) -> Result<Bound, SqlError> {
        let marks = [(); 2].map(|()| self.columns.add("side", FieldType::bigint()));
        let Bound { plan, mut columns } = self.union_all(left, right, &marks)?;
        let mut aggs = Vec::new();
        for mark in marks {
            let (args, ty) = aggregate::infer("count", vec![self.columns.expr(mark)])?;
            let id = self.columns.add("rows", ty.clone());
            let call =
                AggCall { name: "count".into(), args, distinct: false, order_by: Vec::new(), separator: None, ty };
            aggs.push((call, id));
        }
        let [of_left, of_right] = [0, 1].map(|side| self.columns.expr(aggs[side].1));
        let mut group = Vec::new();
        for c in &mut columns {
            let e = self.columns.expr(c.id);
            c.id = self.columns.add(self.columns.name(c.id), e.ty().clone());
            group.push((e, c.id));
        }
        let input = Box::new(Plan::Aggregate { input: Box::new(plan), group, aggs, merge: false });
        let plan = match (rows, all) {
            (Rows::Common, true) => Plan::Repeat { input, times: self.call("least", vec![of_left, of_right])? },
            (Rows::Left, true) => Plan::Repeat { input, times: self.call("-", vec![of_left, of_right])? },
            (rows, false) => {
                let on_right = if rows == Rows::Common { ">" } else { "=" };
                let conditions = vec![
                    self.call(">", vec![of_left, Expr::constant(0_i64)])?,
                    self.call(on_right, vec![of_right, Expr::constant(0_i64)])?,
                ];
                Plan::Filter { input, conditions }
            }
        };
        let exprs = columns
            .iter_mut()
            .map(|c| {
                let e = self.columns.expr(c.id);
                c.id = self.columns.add(self.columns.name(c.id), e.ty().clone());
                (e, c.id)
            })
            .collect();
        Ok(Bound { plan: Plan::Project { input: Box::new(plan), exprs }, columns })
    }

    /// The rows of both, in columns of types that hold the values of both; `marks` come after them, of which the first is
    /// not NULL in rows of the left, the second in rows of the right.
    fn union_all(&mut self, left: Bound, right: Bound, marks: &[ColId]) -> Result<Bound, SqlError> {
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::UnionColumnCount);
        }
        let mut ids = Vec::new();
        let mut columns = Vec::new();
        let (mut casts_left, mut casts_right) = (Vec::new(), Vec::new());
        for (l, r) in left.columns.iter().zip(&right.columns) {
            let ty = build::union_type(self.columns.ty(l.id), self.columns.ty(r.id))?;
            for (casts, side) in [(&mut casts_left, l), (&mut casts_right, r)] {
                let e = build::cast_to(self.columns.expr(side.id), &ty, self.env.eval())?;
                let id = self.columns.add(side.name.clone(), ty.clone());
                casts.push((e, id));
            }
            let id = self.columns.add(l.name.clone(), ty);
            ids.push(id);
            columns.push(self.computed(id, l.name.clone()));
        }
        for (side, casts) in [&mut casts_left, &mut casts_right].into_iter().enumerate() {
            for mark in 0..marks.len() {
                let value = if mark == side { Datum::Int(1) } else { Datum::Null };
                let ty = FieldType::bigint();
                casts.push((Expr::Const { value, ty: ty.clone() }, self.columns.add("side", ty)));
            }
        }
        ids.extend(marks);
        let input = |plan: Plan, exprs| Plan::Project { input: Box::new(plan), exprs };
        let plan = Plan::Union { inputs: vec![input(left.plan, casts_left), input(right.plan, casts_right)], ids };
        Ok(Bound { plan, columns })
    }

    /// ORDER BY and LIMIT over a result whose own columns are all that can be named.
    fn order_result(
        &mut self,
        bound: Bound,
        order: &[ast::OrderBy],
        limit: Option<(u64, u64)>,
    ) -> Result<Bound, SqlError> {
        let Bound { mut plan, columns } = bound;
        if !order.is_empty() {
            self.blocks.push(Block { visible: columns.clone(), ..Block::default() });
            let keys = self.in_clause("order clause", |b| {
                order
                    .iter()
                    .map(|o| {
                        let expr = match position(&o.expr) {
                            Some(n) => match n.checked_sub(1).and_then(|i| columns.get(i)) {
                                Some(c) => b.columns.expr(c.id),
                                None => return Err(SqlError::UnknownOrderPosition(n.to_string())),
                            },
                            None => b.bind_expr(&o.expr)?,
                        };
                        Ok(SortKey { expr, desc: o.desc })
                    })
                    .collect::<Result<Vec<_>, _>>()
            });
            let closed = self.close();
            plan = Plan::Sort { input: Box::new(plan), keys: keys?, limit: None };
            closed?;
        }
        if let Some((count, offset)) = limit {
            plan = Plan::Limit { input: Box::new(plan), offset, count };
        }
        Ok(Bound { plan, columns })
    }
}

/// Which rows of two sides are wanted.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    /// INTERSECT: those that both have.
    Common,
    /// EXCEPT: those that the left has alone.
    Left,
}

fn is_parameter(e: &ast::Expr) -> bool {
    matches!(e, ast::Expr::Param(_))
}
