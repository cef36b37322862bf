//! Names become columns, text becomes types: from `sqlparser`'s tree to a [`Plan`].
//!
//! A query block is bound from the inside out, in the order of SQL's meaning: FROM, WHERE, GROUP BY, HAVING, SELECT,
//! DISTINCT, ORDER BY, LIMIT. Names are looked up in the innermost block first and then in the enclosing ones; a block that
//! finds a name outside is *correlated* and becomes an [`Plan::Apply`]. A subquery that is not correlated is put into
//! [`Binder::subqueries`], to be run before the statement itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{Collation, FieldType, TypeCode, flags};
use query::error::EvalError;
use query::expr::{ColumnName, Expr, Sql};
use sqlparser::ast;

use super::aggregate;
use super::expr as build;
use super::plan::{
    AggCall, ColId, Columns, IndexHint, JoinKind, Lock, Plan, Pushed, Scan, SortKey, Subquery, SubqueryKind,
};
use crate::catalog::{Schema, TableInfo, TableKind};
use crate::error::SqlError;

/// What names and variables mean outside the statement.
pub trait Environment: Sync {
    /// The catalogue.
    fn schema(&self) -> &Arc<Schema>;
    /// The database of unqualified table names.
    fn database(&self) -> Option<&str>;
    /// Values of `?`.
    fn params(&self) -> &[Datum];
    /// `@name` or `@@name`.
    fn variable(&self, name: &str) -> Result<(Datum, FieldType), SqlError>;
    /// For constant folding: the statement's evaluation context.
    fn eval(&self) -> &query::context::EvalContext;
}

/// A column that can be named.
#[derive(Debug, Clone)]
pub struct Visible {
    /// Its number.
    pub id: ColId,
    /// Its name.
    pub name: String,
    /// Alias of its table; empty for none.
    pub table: String,
    /// Database of its table, where it has one.
    pub database: String,
    /// Own name of its table, where it has one.
    pub org_table: String,
    /// Its own name in the table.
    pub org_name: String,
    /// Left out of `*` (the right side of USING).
    pub merged: bool,
}

/// A query, bound.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The rows.
    pub plan: Plan,
    /// The visible columns of the rows, in order. The plan gives exactly these.
    pub columns: Vec<Visible>,
}

/// One query block while it is bound.
#[derive(Default)]
struct Block {
    visible: Vec<Visible>,
    /// Columns of enclosing blocks that this block, or one inside, reads.
    outer: HashSet<ColId>,
    /// Correlated subqueries whose Apply is not placed yet.
    applies: Vec<Subquery>,
    /// Aggregates, while the select list, HAVING and ORDER BY are bound.
    aggregates: Option<Vec<(AggCall, ColId)>>,
    /// Inside an aggregate's argument.
    in_aggregate: bool,
    /// Names of select items, for HAVING and ORDER BY.
    aliases: Vec<(String, Expr)>,
    /// Whether aliases may be used now, and whether they come before columns.
    use_aliases: bool,
    aliases_first: bool,
}

/// Binds one statement.
pub struct Binder<'a> {
    env: &'a dyn Environment,
    /// All columns.
    pub columns: Columns,
    /// Subqueries to run first, in this order.
    pub subqueries: Vec<Subquery>,
    blocks: Vec<Block>,
    ctes: Vec<HashMap<String, (ast::Query, Vec<String>, usize)>>,
    next_param: usize,
    clause: &'static str,
    depth: usize,
    /// `VALUES(col)` in ON DUPLICATE KEY UPDATE: column name to number.
    pub inserted: HashMap<String, ColId>,
    /// Only the columns are wanted; parameters have no values yet.
    pub describing: bool,
    /// Tables some of whose rows a lock clause has locked, wherever in the statement it is. Their scans know how.
    pub locked: Vec<Arc<TableInfo>>,
}

/// Views, derived tables and subqueries within each other: deeper is refused, before the stack is.
const MAX_DEPTH: usize = 64;

/// Aggregate functions by name.
pub const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "group_concat",
    "bit_and",
    "bit_or",
    "bit_xor",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var_pop",
    "var_samp",
    "variance",
    "any_value",
    "json_arrayagg",
    "json_objectagg",
];

fn unsupported<T>(what: impl Into<String>) -> Result<T, SqlError> {
    Err(SqlError::NotSupported(what.into()))
}

/// Parts of a dotted name.
pub fn name_parts(name: &ast::ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|p| match p {
            ast::ObjectNamePart::Identifier(i) => Ok(i.value.clone()),
            other => unsupported(other.to_string()),
        })
        .collect()
}

/// `[db.]table`.
pub fn table_name(name: &ast::ObjectName) -> Result<(Option<String>, String), SqlError> {
    let mut parts = name_parts(name)?;
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(table), db, true) => Ok((db, table)),
        _ => Err(SqlError::WrongTableName(name.to_string())),
    }
}

/// Calls a function on the scans of a query's own tables, and on those of its derived tables too with `inside`.
fn each_scan(
    plan: &mut Plan,
    inside: bool,
    f: &mut impl FnMut(&mut Scan) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    match plan {
        Plan::Scan(scan) if inside || !scan.inside => f(scan),
        Plan::Scan(_) => Ok(()),
        plan => plan.inputs_mut().into_iter().try_for_each(|input| each_scan(input, inside, f)),
    }
}

impl<'a> Binder<'a> {
    /// For one statement.
    pub fn new(env: &'a dyn Environment) -> Binder<'a> {
        Binder {
            env,
            columns: Columns::default(),
            subqueries: Vec::new(),
            blocks: Vec::new(),
            ctes: Vec::new(),
            next_param: 0,
            clause: "field list",
            depth: 0,
            inserted: HashMap::new(),
            describing: false,
            locked: Vec::new(),
        }
    }

    fn block(&mut self) -> &mut Block {
        if self.blocks.is_empty() {
            self.blocks.push(Block::default());
        }
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    fn in_clause<T>(
        &mut self,
        clause: &'static str,
        f: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let old = std::mem::replace(&mut self.clause, clause);
        let result = f(self);
        self.clause = old;
        result
    }

    /// Opens a block over these columns, for statements that are no queries (UPDATE, INSERT).
    pub fn open(&mut self, visible: Vec<Visible>) {
        self.blocks.push(Block { visible, ..Block::default() });
    }

    /// Closes it again.
    pub fn close(&mut self) -> Result<(), SqlError> {
        match self.blocks.pop() {
            Some(b) if !b.applies.is_empty() => unsupported("correlated subqueries in this place"),
            _ => Ok(()),
        }
    }

    /// Puts the pending correlated subqueries under what uses them.
    pub fn place_applies(&mut self, mut plan: Plan) -> Plan {
        for subquery in std::mem::take(&mut self.block().applies) {
            plan = Plan::Apply { input: Box::new(plan), subquery: Box::new(subquery) };
        }
        plan
    }

    // ---- Tables ----

    /// A table by name.
    pub fn find_table(&self, name: &ast::ObjectName) -> Result<(String, Arc<TableInfo>), SqlError> {
        let (db, table) = table_name(name)?;
        let db = match db {
            Some(db) => db,
            None => self.env.database().ok_or(SqlError::NoDatabaseSelected)?.to_owned(),
        };
        match self.env.schema().table(&db, &table) {
            Some(t) => Ok((db, t.clone())),
            None if self.env.schema().database(&db).is_none() => Err(SqlError::UnknownDatabase(db)),
            None => Err(SqlError::NoSuchTable { database: db, table }),
        }
    }

    /// A scan of all public columns of a table. With `all`, every column in any state and the row handle.
    pub fn scan(
        &mut self,
        database: &str,
        table: &Arc<TableInfo>,
        alias: &str,
        all: bool,
    ) -> (Plan, Vec<Visible>, Option<ColId>) {
        let mut columns = Vec::new();
        let mut visible = Vec::new();
        for c in table.columns.iter().filter(|c| all || c.is_public()) {
            let id = self.columns.add(format!("{database}.{alias}.{}", c.name), c.field_type.clone());
            // A row that is only a set of values has no alias.
            self.columns.call_in_messages(
                id,
                match alias {
                    "" => format!("values(`{}`)", c.name),
                    alias => format!("`{database}`.`{alias}`.`{}`", c.name),
                },
            );
            columns.push((c.offset, id));
            if c.is_public() {
                visible.push(Visible {
                    id,
                    name: c.name.original.clone(),
                    table: alias.to_owned(),
                    database: database.to_owned(),
                    org_table: table.name.original.clone(),
                    org_name: c.name.original.clone(),
                    merged: false,
                });
            }
        }
        if table.kind == TableKind::Memory {
            let plan = Plan::Memory { table: table.clone(), database: database.to_owned(), columns };
            return (plan, visible, None);
        }
        let handle = all.then(|| self.columns.add(format!("{database}.{alias}._tidb_rowid"), FieldType::bigint()));
        let plan = Plan::Scan(Box::new(Scan {
            table: table.clone(),
            database: database.to_owned(),
            alias: alias.to_owned(),
            columns,
            handle,
            filters: Vec::new(),
            access: Default::default(),
            order: None,
            pushed: Pushed::default(),
            residual: Vec::new(),
            hints: Vec::new(),
            lock: None,
            inside: false,
            estimate: 10_000.0,
        }));
        (plan, visible, handle)
    }

    fn bind_factor(&mut self, factor: &ast::TableFactor) -> Result<(Plan, Vec<Visible>), SqlError> {
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() => {
                if !partitions.is_empty() {
                    return unsupported("PARTITION selection");
                }
                if alias.as_ref().is_some_and(|a| !a.columns.is_empty() || a.at.is_some()) {
                    return unsupported("column aliases of a table");
                }
                let parts = name_parts(name)?;
                if let [single] = &parts[..]
                    && let Some((query, columns, level)) = self.find_cte(single)
                {
                    let alias_name = alias.as_ref().map_or(single.clone(), |a| a.name.value.clone());
                    // A CTE sees only the CTEs before it.
                    let hidden = self.ctes.split_off(level);
                    let bound = self.derived(&query, &alias_name, &columns);
                    self.ctes.extend(hidden);
                    return bound;
                }
                if parts.len() == 1 && parts[0].eq_ignore_ascii_case("dual") && self.find_table(name).is_err() {
                    return Ok((Plan::One, Vec::new()));
                }
                let (db, table) = self.find_table(name)?;
                let alias_name = alias.as_ref().map_or(table.name.original.clone(), |a| a.name.value.clone());
                let (mut plan, visible, _) = self.scan(&db, &table, &alias_name, false);
                if let Plan::Scan(scan) = &mut plan {
                    for hint in index_hints {
                        let kind = match hint.hint_type {
                            ast::TableIndexHintType::Ignore => IndexHint::Ignore,
                            _ => IndexHint::Use,
                        };
                        let names: Vec<String> = hint.index_names.iter().map(|i| i.value.clone()).collect();
                        for name in &names {
                            let known = table.public_indexes().any(|i| i.name.matches(name))
                                || (name.eq_ignore_ascii_case("primary") && table.pk_is_handle);
                            if !known {
                                return Err(SqlError::NoSuchKey {
                                    key: name.clone(),
                                    table: table.name.original.clone(),
                                });
                            }
                        }
                        scan.hints.push((kind, names));
                    }
                }
                Ok((plan, visible))
            }
            ast::TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let alias = alias.as_ref().ok_or(SqlError::DerivedNeedsAlias)?;
                let columns: Vec<String> = alias.columns.iter().map(|c| c.name.value.clone()).collect();
                self.derived(subquery, &alias.name.value, &columns)
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias: None } => self.bind_joins(table_with_joins),
            other => unsupported(other.to_string()),
        }
    }

    fn find_cte(&self, name: &str) -> Option<(ast::Query, Vec<String>, usize)> {
        self.ctes.iter().rev().find_map(|level| level.get(&name.to_lowercase())).cloned()
    }

    /// A subquery in FROM. It does not see the block's own columns.
    fn derived(&mut self, query: &ast::Query, alias: &str, names: &[String]) -> Result<(Plan, Vec<Visible>), SqlError> {
        let own = self.blocks.pop();
        let bound = self.bind_query(query);
        self.blocks.extend(own);
        let mut bound = bound?;
        each_scan(&mut bound.plan, true, &mut |scan| {
            scan.inside = true;
            Ok(())
        })?;
        if !names.is_empty() && names.len() != bound.columns.len() {
            return Err(SqlError::ViewColumnCount);
        }
        for (i, c) in bound.columns.iter_mut().enumerate() {
            c.table = alias.to_owned();
            c.database = String::new();
            c.merged = false;
            if let Some(n) = names.get(i) {
                c.name = n.clone();
            }
            if self.columns.in_messages(c.id).is_none() {
                self.columns.call_in_messages(c.id, format!("`{alias}`.`{}`", c.name));
            }
        }
        let mut seen = HashSet::new();
        for c in &bound.columns {
            if !seen.insert(c.name.to_lowercase()) {
                return Err(SqlError::DuplicateColumn(c.name.clone()));
            }
        }
        Ok((bound.plan, bound.columns))
    }

    /// A table with its joins.
    pub fn bind_joins(&mut self, from: &ast::TableWithJoins) -> Result<(Plan, Vec<Visible>), SqlError> {
        use ast::JoinOperator as Op;
        let (mut plan, mut visible) = self.bind_factor(&from.relation)?;
        for join in &from.joins {
            if join.global {
                return unsupported("GLOBAL JOIN");
            }
            let (right, right_visible) = self.bind_factor(&join.relation)?;
            let (constraint, left_outer, right_outer) = match &join.join_operator {
                Op::Join(c) | Op::Inner(c) | Op::CrossJoin(c) | Op::StraightJoin(c) => (c, false, false),
                Op::Left(c) | Op::LeftOuter(c) => (c, true, false),
                Op::Right(c) | Op::RightOuter(c) => (c, false, true),
                other => return unsupported(format!("{other:?}").split('(').next().unwrap_or("JOIN").to_uppercase()),
            };
            check_aliases(&visible, &right_visible)?;
            let left_visible = visible.clone();
            visible.extend(right_visible.clone());
            let using: Option<Vec<String>> = match constraint {
                ast::JoinConstraint::Using(names) => Some(
                    names
                        .iter()
                        .map(|n| Ok(name_parts(n)?.pop().unwrap_or_default()))
                        .collect::<Result<_, SqlError>>()?,
                ),
                ast::JoinConstraint::Natural => Some(
                    left_visible
                        .iter()
                        .filter(|l| !l.merged && right_visible.iter().any(|r| r.name.eq_ignore_ascii_case(&l.name)))
                        .map(|l| l.name.clone())
                        .collect(),
                ),
                _ => None,
            };
            let mut conditions = Vec::new();
            if let Some(names) = using {
                let mut shown = HashSet::new();
                for name in names {
                    let find = |side: &[Visible]| {
                        side.iter().find(|v| !v.merged && v.name.eq_ignore_ascii_case(&name)).map(|v| v.id)
                    };
                    let (Some(l), Some(r)) = (find(&left_visible), find(&right_visible)) else {
                        return Err(SqlError::UnknownColumn { column: name, clause: "from clause".into() });
                    };
                    conditions.push(build::call(
                        "=",
                        vec![self.columns.expr(l), self.columns.expr(r)],
                        self.env.eval(),
                    )?);
                    // One of the two stands for both: the side whose rows are all there.
                    let (show, hide) = if right_outer { (r, l) } else { (l, r) };
                    shown.insert(show);
                    for v in &mut visible {
                        v.merged |= v.id == hide;
                    }
                }
                // These come before all others; a RIGHT JOIN shows its columns as the equivalent LEFT JOIN does.
                if right_outer {
                    visible.rotate_left(left_visible.len());
                }
                visible.sort_by_key(|v| !shown.contains(&v.id));
            } else if let ast::JoinConstraint::On(on) = constraint {
                let saved = std::mem::replace(&mut self.block().visible, visible.clone());
                let bound = self.in_clause("on clause", |b| b.bind_condition(on));
                self.block().visible = saved;
                bound?.split_and(&mut conditions);
                if !self.block().applies.is_empty() {
                    return unsupported("correlated subqueries in a join condition");
                }
            }
            let (left, right) = if right_outer { (right, plan) } else { (plan, right) };
            let kind = if left_outer || right_outer { JoinKind::Left } else { JoinKind::Inner };
            plan = Plan::Join {
                kind,
                left: Box::new(left),
                right: Box::new(right),
                equal: Vec::new(),
                other: conditions,
                lookup: None,
            };
        }
        Ok((plan, visible))
    }

    /// A FROM list.
    pub fn bind_from(&mut self, from: &[ast::TableWithJoins]) -> Result<(Plan, Vec<Visible>), SqlError> {
        let mut result: Option<(Plan, Vec<Visible>)> = None;
        for item in from {
            let (plan, visible) = self.bind_joins(item)?;
            result = Some(match result {
                None => (plan, visible),
                Some((left, mut all)) => {
                    check_aliases(&all, &visible)?;
                    all.extend(visible);
                    let join = Plan::Join {
                        kind: JoinKind::Inner,
                        left: Box::new(left),
                        right: Box::new(plan),
                        equal: Vec::new(),
                        other: Vec::new(),
                        lookup: None,
                    };
                    (join, all)
                }
            });
        }
        Ok(result.unwrap_or((Plan::One, Vec::new())))
    }

    // ---- Queries ----

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
            if with.recursive {
                return unsupported("WITH RECURSIVE");
            }
            for cte in &with.cte_tables {
                let names = cte.alias.columns.iter().map(|c| c.name.value.clone()).collect();
                let level = self.ctes.len();
                let entry = ((*cte.query).clone(), names, level);
                self.ctes.push(HashMap::from([(cte.alias.name.value.to_lowercase(), entry)]));
            }
        }
        let foreign = query.settings.is_some() || query.format_clause.is_some() || !query.pipe_operators.is_empty();
        if foreign || query.fetch.is_some() || query.for_clause.is_some() {
            return unsupported("this query clause");
        }
        let order: &[ast::OrderByExpr] = match &query.order_by {
            None => &[],
            Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(list), .. }) => list,
            Some(_) => return unsupported("ORDER BY ALL"),
        };
        let limit = self.bind_limit(query.limit_clause.as_ref())?;
        let mut bound = match &*query.body {
            ast::SetExpr::Select(select) => self.bind_select(select, order, limit)?,
            ast::SetExpr::Query(inner) => {
                let inner = self.bind_query(inner)?;
                self.order_result(inner, order, limit)?
            }
            body @ (ast::SetExpr::SetOperation { .. } | ast::SetExpr::Values(_) | ast::SetExpr::Table(_)) => {
                let inner = self.bind_set(body)?;
                self.order_result(inner, order, limit)?
            }
            other => return unsupported(other.to_string()),
        };
        for lock in &query.locks {
            if lock.nonblock == Some(ast::NonBlock::SkipLocked) {
                return unsupported("SKIP LOCKED");
            }
            // Storage nodes know no shared locks: FOR SHARE takes the exclusive one, which keeps more people waiting
            // but promises all that the shared one does. (TiDB refuses it, or takes none when told to.)
            let of = lock.of.as_ref().map(table_name).transpose()?;
            self.lock_scans(&mut bound.plan, of, Lock { nowait: lock.nonblock.is_some() })?;
        }
        Ok(bound)
    }

    /// Has the rows of the query's tables locked, those of table `of` or all. Tables of subqueries and derived tables are
    /// not among them, as in MySQL: they have clauses of their own.
    fn lock_scans(
        &mut self,
        plan: &mut Plan,
        of: Option<(Option<String>, String)>,
        lock: Lock,
    ) -> Result<(), SqlError> {
        let (columns, locked) = (&mut self.columns, &mut self.locked);
        let before = locked.len();
        each_scan(plan, false, &mut |scan| {
            let named = of.as_ref().is_none_or(|(database, alias)| {
                scan.alias.eq_ignore_ascii_case(alias)
                    && database.as_ref().is_none_or(|d| scan.database.eq_ignore_ascii_case(d))
            });
            if !named {
                return Ok(());
            }
            if scan.lock.replace(lock).is_some() {
                return Err(SqlError::DuplicateTableLock(scan.alias.clone()));
            }
            scan.handle.get_or_insert_with(|| columns.add("_tidb_rowid", FieldType::bigint()));
            locked.push(scan.table.clone());
            Ok(())
        })?;
        match of {
            Some((_, table)) if locked.len() == before => Err(SqlError::UnresolvedTableLock(table)),
            _ => Ok(()),
        }
    }

    fn bind_limit(&mut self, clause: Option<&ast::LimitClause>) -> Result<Option<(u64, u64)>, SqlError> {
        let (limit, offset) = match clause {
            None => return Ok(None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return unsupported("LIMIT BY");
                }
                (limit.as_ref(), offset.as_ref().map(|o| &o.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        };
        let limit = limit.map(|e| self.row_count(e)).transpose()?.unwrap_or(u64::MAX);
        let offset = offset.map(|e| self.row_count(e)).transpose()?.unwrap_or(0);
        Ok((limit != u64::MAX || offset != 0).then_some((limit, offset)))
    }

    /// A number of rows: a literal or a parameter.
    pub fn row_count(&mut self, e: &ast::Expr) -> Result<u64, SqlError> {
        match self.bind_expr(e)?.as_const() {
            Some(Datum::Int(n)) if *n >= 0 => Ok(*n as u64),
            Some(Datum::UInt(n)) => Ok(*n),
            Some(Datum::Null) if self.describing => Ok(0),
            _ => Err(SqlError::WrongArguments("LIMIT".into())),
        }
    }

    fn bind_set(&mut self, body: &ast::SetExpr) -> Result<Bound, SqlError> {
        match body {
            ast::SetExpr::Select(select) => self.bind_select(select, &[], None),
            ast::SetExpr::Query(query) => self.bind_query(query),
            ast::SetExpr::Values(values) => {
                let rows: Vec<&[ast::Expr]> = values.rows.iter().map(|r| &r.content[..]).collect();
                self.bind_values_rows(&rows)
            }
            ast::SetExpr::Table(t) => {
                let parts =
                    t.schema_name.iter().chain(t.table_name.iter()).map(|p| ast::Ident::with_quote('`', p.as_str()));
                let name = ast::ObjectName::from(parts.collect::<Vec<_>>());
                let (db, table) = self.find_table(&name)?;
                let (plan, columns, _) = self.scan(&db, &table, &table.name.original.clone(), false);
                Ok(Bound { plan, columns })
            }
            ast::SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let all = match set_quantifier {
                    ast::SetQuantifier::All => true,
                    ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
                    other => return unsupported(format!("{op} {other}")),
                };
                let sides = match op {
                    ast::SetOperator::Union => None,
                    ast::SetOperator::Intersect => Some(LEFT | RIGHT),
                    ast::SetOperator::Except => Some(LEFT),
                    ast::SetOperator::Minus => return unsupported("MINUS"),
                };
                if all && sides.is_some() {
                    return unsupported(format!("{op} ALL"));
                }
                let left = self.bind_set(left)?;
                let right = self.bind_set(right)?;
                match sides {
                    None => self.union(left, right, all),
                    Some(sides) => self.rows_of_sides(left, right, sides),
                }
            }
            other => unsupported(other.to_string()),
        }
    }

    fn bind_values_rows(&mut self, rows: &[&[ast::Expr]]) -> Result<Bound, SqlError> {
        let mut bound: Vec<Vec<Expr>> = Vec::new();
        for row in rows {
            bound.push(row.iter().map(|e| self.bind_expr(e)).collect::<Result<_, _>>()?);
        }
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

    fn computed(&self, id: ColId, name: String) -> Visible {
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

    fn union(&mut self, left: Bound, right: Bound, all: bool) -> Result<Bound, SqlError> {
        let Bound { plan, columns } = self.union_all(left, right, None)?;
        let plan = if all { plan } else { Plan::Distinct(Box::new(plan)) };
        Ok(Bound { plan, columns })
    }

    /// INTERSECT and EXCEPT: both sides' rows, grouped by all of their columns (so that NULL is NULL, and a collation's
    /// equals are equal), of which those stay that were on just these sides.
    fn rows_of_sides(&mut self, left: Bound, right: Bound, sides: i64) -> Result<Bound, SqlError> {
        let side = self.columns.add("side", FieldType::bigint());
        let Bound { plan, mut columns } = self.union_all(left, right, Some(side))?;
        let (args, ty) = aggregate::infer("bit_or", vec![self.columns.expr(side)])?;
        let found = self.columns.add("sides", ty.clone());
        let call = AggCall { name: "bit_or".into(), args, distinct: false, order_by: Vec::new(), separator: None, ty };
        let mut group = Vec::new();
        for c in &mut columns {
            let e = self.columns.expr(c.id);
            c.id = self.columns.add(self.columns.name(c.id), e.ty().clone());
            group.push((e, c.id));
        }
        let plan = Plan::Aggregate { input: Box::new(plan), group, aggs: vec![(call, found)], merge: false };
        let wanted = self.call("=", vec![self.columns.expr(found), Expr::constant(sides)])?;
        let plan = Plan::Filter { input: Box::new(plan), conditions: vec![wanted] };
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

    /// The rows of both, in columns of types that hold the values of both; `side` becomes a last one that tells where a row
    /// is from.
    fn union_all(&mut self, left: Bound, right: Bound, side: Option<ColId>) -> Result<Bound, SqlError> {
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
        if let Some(side) = side {
            for (casts, number) in [(&mut casts_left, LEFT), (&mut casts_right, RIGHT)] {
                casts.push((Expr::constant(number), self.columns.add("side", FieldType::bigint())));
            }
            ids.push(side);
        }
        let input = |plan: Plan, exprs| Plan::Project { input: Box::new(plan), exprs };
        let plan = Plan::Union { inputs: vec![input(left.plan, casts_left), input(right.plan, casts_right)], ids };
        Ok(Bound { plan, columns })
    }

    /// ORDER BY and LIMIT over a result whose own columns are all that can be named.
    fn order_result(
        &mut self,
        bound: Bound,
        order: &[ast::OrderByExpr],
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
                        Ok(SortKey { expr, desc: is_desc(o)? })
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

    fn bind_select(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
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
        order: &[ast::OrderByExpr],
        limit: Option<(u64, u64)>,
    ) -> Result<Bound, SqlError> {
        check_clauses(select)?;
        let (mut plan, visible) = self.bind_from(&select.from)?;
        self.block().visible = visible;

        if let Some(selection) = &select.selection {
            let mut conditions = Vec::new();
            self.in_clause("where clause", |b| b.bind_condition(selection))?.split_and(&mut conditions);
            plan = self.place_applies(plan);
            plan = Plan::Filter { input: Box::new(plan), conditions };
        }

        // Select items first without aggregates' meaning: `*` and names.
        let items = self.expand_items(&select.projection, !select.from.is_empty())?;

        let groups: &[ast::Expr] = match &select.group_by {
            ast::GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => list,
            ast::GroupByExpr::Expressions(..) => return unsupported("WITH ROLLUP"),
            ast::GroupByExpr::All(_) => return unsupported("GROUP BY ALL"),
        };
        let aggregated = !groups.is_empty()
            || items.iter().any(|i| matches!(i, Item::Expr(e, _) if has_aggregate(e)))
            || select.having.as_ref().is_some_and(has_aggregate)
            || order.iter().any(|o| has_aggregate(&o.expr));

        // GROUP BY: columns come before aliases.
        let mut group: Vec<(Expr, ColId)> = Vec::new();
        for g in groups {
            let e = match position(g) {
                Some(n) => match n.checked_sub(1).and_then(|i| items.get(i)) {
                    Some(item) => self.bind_item(item)?,
                    None => {
                        return Err(SqlError::UnknownColumn {
                            column: n.to_string(),
                            clause: "group statement".into(),
                        });
                    }
                },
                None => {
                    let bound = self.in_clause("group statement", |b| b.bind_expr(g));
                    match (bound, g) {
                        (Err(SqlError::UnknownColumn { .. }), ast::Expr::Identifier(name)) => {
                            match items
                                .iter()
                                .find(|i| matches!(i, Item::Expr(_, alias) if alias.eq_ignore_ascii_case(&name.value)))
                            {
                                Some(item) => self.bind_item(item)?,
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

        self.block().aggregates = aggregated.then(Vec::new);
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
        self.block().aliases = aliases;

        let having = match &select.having {
            None => None,
            Some(h) => {
                self.block().use_aliases = true;
                let bound = self.in_clause("having clause", |b| b.bind_condition(h));
                self.block().use_aliases = false;
                Some(bound?)
            }
        };
        let mut keys: Vec<(Expr, bool)> = Vec::new();
        for o in order {
            let desc = is_desc(o)?;
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
            let determined = self.determined(&group);
            let no_groups = group.is_empty();
            let mut position = 0;
            let mut rewrite = |b: &mut Self, e: &Expr, clause: &str, position: usize| {
                b.after_group(e, &group, &mut aggs, &determined, strict).map_err(|column| match no_groups {
                    true => SqlError::MixOfGroupAndFields { position, column },
                    false => SqlError::NotInGroupBy { position, clause: clause.into(), column },
                })
            };
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
            let applies = std::mem::take(&mut self.block().applies);
            if !applies.is_empty() {
                return unsupported("correlated subqueries over groups");
            }
            plan = Plan::Aggregate { input: Box::new(plan), group, aggs, merge: false };
        }
        plan = self.place_applies(plan);
        if let Some(h) = having {
            let mut conditions = Vec::new();
            h.split_and(&mut conditions);
            plan = Plan::Filter { input: Box::new(plan), conditions };
        }

        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => return unsupported("DISTINCT ON"),
        };
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
                ast::SelectItem::UnnamedExpr(e) => out.push(Item::Expr(e.clone(), item_name(e))),
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    out.push(Item::Expr(expr.clone(), alias.value.clone()))
                }
                ast::SelectItem::Wildcard(options) if *options == Default::default() => {
                    if !has_from {
                        return Err(SqlError::NoTablesUsed);
                    }
                    out.extend(self.block().visible.iter().filter(|v| !v.merged).cloned().map(Item::Column));
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options)
                    if *options == Default::default() =>
                {
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
                }
                other => return unsupported(other.to_string()),
            }
        }
        Ok(out)
    }

    /// Columns that the group keys determine: those of tables whose whole primary or unique key is among them.
    fn determined(&mut self, group: &[(Expr, ColId)]) -> HashSet<ColId> {
        let keys: HashSet<ColId> = group
            .iter()
            .filter_map(|(e, _)| if let Expr::Column { index, .. } = e { Some(*index) } else { None })
            .collect();
        let mut out = keys.clone();
        let visible = self.block().visible.clone();
        let mut tables: Vec<(&str, &str, &str)> =
            visible.iter().map(|v| (v.database.as_str(), v.org_table.as_str(), v.table.as_str())).collect();
        tables.dedup();
        for (db, org, alias) in tables {
            let Some(table) = self.env.schema().table(db, org) else { continue };
            let of = |name: &str| {
                visible
                    .iter()
                    .find(|v| v.table == alias && v.database == db && v.org_name.eq_ignore_ascii_case(name))
                    .map(|v| v.id)
            };
            let covered = |names: Vec<&str>| {
                !names.is_empty() && names.iter().all(|n| of(n).is_some_and(|id| keys.contains(&id)))
            };
            let primary = covered(table.primary_key().iter().map(|c| c.name.as_str()).collect());
            let unique = table.public_indexes().filter(|i| i.unique).any(|i| {
                let not_null =
                    i.columns.iter().all(|c| table.columns.get(c.offset).is_some_and(|c| c.field_type.is_not_null()));
                not_null && covered(i.columns.iter().map(|c| c.name.as_str()).collect())
            });
            if primary || unique {
                out.extend(visible.iter().filter(|v| v.table == alias && v.database == db).map(|v| v.id));
            }
        }
        out
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
            Expr::Const { .. } => Ok(e.clone()),
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

    // ---- Names ----

    fn resolve(&mut self, parts: &[String]) -> Result<Expr, SqlError> {
        let written = parts.join(".");
        let (db, table, name) = match parts {
            [name] => (None, None, name),
            [table, name] => (None, Some(table), name),
            [db, table, name] => (Some(db), Some(table), name),
            _ => return Err(SqlError::UnknownColumn { column: written, clause: self.clause.into() }),
        };
        let matches = |v: &&Visible| {
            v.name.eq_ignore_ascii_case(name)
                && table.is_none_or(|t| v.table.eq_ignore_ascii_case(t))
                && db.is_none_or(|d| v.database.eq_ignore_ascii_case(d))
        };
        for level in (0..self.blocks.len()).rev() {
            let block = &self.blocks[level];
            let alias = || block.aliases.iter().find(|a| a.0.eq_ignore_ascii_case(name)).map(|a| a.1.clone());
            if block.use_aliases
                && block.aliases_first
                && !block.in_aggregate
                && table.is_none()
                && let Some(e) = alias()
            {
                return Ok(e);
            }
            let mut found = block.visible.iter().filter(matches).filter(|v| table.is_some() || !v.merged);
            if let Some(v) = found.next() {
                if found.any(|other| other.id != v.id) {
                    return Err(SqlError::AmbiguousColumn { column: written, clause: self.clause.into() });
                }
                let id = v.id;
                for inner in &mut self.blocks[level + 1..] {
                    inner.outer.insert(id);
                }
                return Ok(self.columns.expr(id));
            }
            if block.use_aliases
                && !block.in_aggregate
                && table.is_none()
                && let Some(e) = alias()
            {
                return Ok(e);
            }
        }
        Err(SqlError::UnknownColumn { column: written, clause: self.clause.into() })
    }

    // ---- Expressions ----

    /// An expression used as a condition.
    pub fn bind_condition(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        self.bind_expr(e)
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr, SqlError> {
        build::call(name, args, self.env.eval())
    }

    fn not(&self, e: Expr, negated: bool) -> Result<Expr, SqlError> {
        if negated { self.call("not", vec![e]) } else { Ok(e) }
    }

    /// Any scalar expression.
    pub fn bind_expr(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        if self.depth >= MAX_DEPTH * 4 {
            return Err(SqlError::StackOverrun);
        }
        self.depth += 1;
        let result = self.bind_expr_inner(e);
        self.depth -= 1;
        result
    }

    fn bind_expr_inner(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        use ast::Expr as E;
        match e {
            E::Nested(inner) => self.bind_expr(inner),
            E::Value(v) => self.bind_literal(&v.value),
            E::Identifier(ident) => {
                if ident.quote_style.is_none() && ident.value.starts_with('@') {
                    let (value, ty) = self.env.variable(&ident.value)?;
                    return Ok(Expr::Const { value, ty });
                }
                self.resolve(std::slice::from_ref(&ident.value))
            }
            E::CompoundIdentifier(parts) => {
                let parts: Vec<String> = parts.iter().map(|p| p.value.clone()).collect();
                self.resolve(&parts)
            }
            E::IsNull(a) => self.unary("isnull", a, false),
            E::IsNotNull(a) => self.unary("isnull", a, true),
            E::IsTrue(a) => self.unary("istrue", a, false),
            E::IsNotTrue(a) => self.unary("istrue", a, true),
            E::IsFalse(a) => self.unary("isfalse", a, false),
            E::IsNotFalse(a) => self.unary("isfalse", a, true),
            E::IsUnknown(a) => self.unary("isnull", a, false),
            E::IsNotUnknown(a) => self.unary("isnull", a, true),
            E::BinaryOp { left, op, right } => self.bind_binary(left, op, right),
            E::UnaryOp { op, expr } => match op {
                ast::UnaryOperator::Plus => self.bind_expr(expr),
                ast::UnaryOperator::Minus => {
                    if let E::Value(v) = &**expr
                        && let ast::Value::Number(n, _) = &v.value
                    {
                        return build::number(&format!("-{n}"));
                    }
                    self.unary("unaryminus", expr, false)
                }
                ast::UnaryOperator::Not | ast::UnaryOperator::BangNot => self.unary("not", expr, false),
                ast::UnaryOperator::BitwiseNot => self.unary("bitneg", expr, false),
                other => unsupported(other.to_string()),
            },
            E::Between { expr, negated, low, high } => {
                let (a, low, high) = (self.bind_expr(expr)?, self.bind_expr(low)?, self.bind_expr(high)?);
                let ge = self.call(">=", vec![a.clone(), low])?;
                let le = self.call("<=", vec![a, high])?;
                let both = self.call("and", vec![ge, le])?;
                self.not(both, *negated)
            }
            E::InList { expr, list, negated } => {
                if let E::Tuple(items) = &**expr {
                    let rows = list.iter().map(|row| self.bind_row_compare(items, row)).collect::<Result<_, _>>()?;
                    return self.not(query::infer::any(rows), *negated);
                }
                let mut args = vec![self.bind_expr(expr)?];
                for item in list {
                    args.push(self.bind_expr(item)?);
                }
                let found = self.call("in", args)?;
                self.not(found, *negated)
            }
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                let mut args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(self.bind_expr(escape)?);
                }
                let like = self.call("like", args)?;
                self.not(like, *negated)
            }
            E::RLike { negated, expr, pattern, .. } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                let like = self.call("regexp", args)?;
                self.not(like, *negated)
            }
            E::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|o| self.bind_expr(o)).transpose()?;
                let mut args = Vec::new();
                for when in conditions {
                    let condition = self.bind_expr(&when.condition)?;
                    args.push(match &operand {
                        Some(o) => self.call("=", vec![o.clone(), condition])?,
                        None => condition,
                    });
                    args.push(self.bind_expr(&when.result)?);
                }
                if let Some(e) = else_result {
                    args.push(self.bind_expr(e)?);
                }
                self.call("case", args)
            }
            E::Cast { kind: ast::CastKind::Cast, expr, data_type, format: None } => {
                let a = self.bind_expr(expr)?;
                build::cast(a, data_type, self.env.eval())
            }
            E::Convert { is_try: false, expr, data_type: Some(ty), charset: None, styles, .. } if styles.is_empty() => {
                let a = self.bind_expr(expr)?;
                build::cast(a, ty, self.env.eval())
            }
            E::Convert { is_try: false, expr, data_type: None, charset: Some(charset), styles, .. }
                if styles.is_empty() =>
            {
                let a = self.bind_expr(expr)?;
                let name = name_parts(charset)?.pop().unwrap_or_default();
                let collation = Collation::default_of_charset(&name).ok_or(SqlError::UnknownCharacterSet(name))?;
                let ty =
                    FieldType { flen: a.ty().flen, ..FieldType::new(TypeCode::VarString) }.with_collation(collation);
                build::cast_to(a, &ty, self.env.eval())
            }
            E::Collate { expr, collation } => {
                let name = name_parts(collation)?.pop().unwrap_or_default();
                let collation = Collation::from_name(&name).ok_or(SqlError::UnknownCollation(name))?;
                let a = self.bind_expr(expr)?;
                // A constant would no longer insist on its collation, so this is folded only by what uses it.
                Ok(query::infer::collate(a, collation))
            }
            // The lexer takes the introducers that it knows.
            E::Prefixed { prefix, .. } => {
                Err(SqlError::UnknownCharacterSet(prefix.value.trim_start_matches('_').to_owned()))
            }
            E::TypedString(t) => {
                let text = match &t.value.value {
                    ast::Value::SingleQuotedString(s) | ast::Value::DoubleQuotedString(s) => s.clone(),
                    other => return unsupported(other.to_string()),
                };
                build::typed_literal(&t.data_type, &text)
            }
            E::Extract { field, expr, .. } => {
                let a = self.bind_expr(expr)?;
                build::extract(&field.to_string(), a, self.env.eval())
            }
            E::Position { expr, r#in } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(r#in)?];
                self.call("locate", args)
            }
            E::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![self.bind_expr(expr)?];
                args.push(match substring_from {
                    Some(from) => self.bind_expr(from)?,
                    None => Expr::constant(1_i64),
                });
                if let Some(n) = substring_for {
                    args.push(self.bind_expr(n)?);
                }
                self.call("substring", args)
            }
            E::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let mut args = vec![self.bind_expr(expr)?];
                if let Some(what) = trim_what {
                    args.push(self.bind_expr(what)?);
                }
                match (trim_where, args.len()) {
                    (None | Some(ast::TrimWhereField::Both), _) => self.call("trim", args),
                    (Some(ast::TrimWhereField::Leading), 1) => self.call("ltrim", args),
                    (Some(ast::TrimWhereField::Trailing), 1) => self.call("rtrim", args),
                    (Some(ast::TrimWhereField::Leading), _) => self.call("trim_leading", args),
                    (Some(ast::TrimWhereField::Trailing), _) => self.call("trim_trailing", args),
                }
            }
            E::Ceil { expr, field: WHOLE } => self.unary("ceil", expr, false),
            E::Floor { expr, field: WHOLE } => self.unary("floor", expr, false),
            E::Interval(_) => Err(SqlError::WrongArguments("INTERVAL".into())),
            E::Function(f) => self.bind_function(f),
            E::Subquery(query) => {
                let (plan, columns, correlated) = self.bind_subquery(query)?;
                if columns.len() != 1 {
                    return Err(SqlError::OperandColumns(1));
                }
                let mut ty = self.columns.ty(columns[0].id).clone();
                ty.flags &= !flags::NOT_NULL;
                Ok(self.add_subquery(SubqueryKind::Scalar, plan, ty, correlated))
            }
            E::Exists { subquery, negated } => {
                let (plan, _, correlated) = self.bind_subquery(subquery)?;
                let plan = Plan::Limit { input: Box::new(plan), offset: 0, count: 1 };
                let e = self.add_subquery(SubqueryKind::Exists, plan, query::expr::bool_type(), correlated);
                self.not(e, *negated)
            }
            E::InSubquery { expr, subquery, negated } => {
                let probe = self.bind_expr(expr)?;
                let e = self.in_subquery(probe, subquery)?;
                self.not(e, *negated)
            }
            E::AnyOp { left, compare_op: ast::BinaryOperator::Eq, right, .. } => match &**right {
                E::Subquery(q) => {
                    let probe = self.bind_expr(left)?;
                    self.in_subquery(probe, q)
                }
                other => unsupported(format!("ANY {other}")),
            },
            E::AllOp { left, compare_op: ast::BinaryOperator::NotEq, right } => match &**right {
                E::Subquery(q) => {
                    let probe = self.bind_expr(left)?;
                    let e = self.in_subquery(probe, q)?;
                    self.not(e, true)
                }
                other => unsupported(format!("ALL {other}")),
            },
            E::Tuple(items) if items.len() == 1 => self.bind_expr(&items[0]),
            E::Tuple(_) => Err(SqlError::OperandColumns(1)),
            other => unsupported(other.to_string()),
        }
    }

    fn in_subquery(&mut self, probe: Expr, subquery: &ast::Query) -> Result<Expr, SqlError> {
        let (plan, columns, correlated) = self.bind_subquery(subquery)?;
        let [column] = &columns[..] else { return Err(SqlError::OperandColumns(1)) };
        if correlated {
            return Ok(self.add_subquery(SubqueryKind::In(probe), plan, query::expr::bool_type(), true));
        }
        // The slot stands for the list until the values are known; see `splice_in`.
        let ty = self.columns.ty(column.id).clone();
        let slot = self.add_subquery(SubqueryKind::In(Expr::null()), plan, ty, false);
        self.call("in", vec![probe, slot])
    }

    /// A subquery's plan, columns, and whether it reads columns of the blocks around it.
    fn bind_subquery(&mut self, query: &ast::Query) -> Result<(Plan, Vec<Visible>, bool), SqlError> {
        // A block that collects what the subquery reads from outside, whatever it is made of.
        self.block();
        self.blocks.push(Block::default());
        let clause = self.clause;
        let bound = self.bind_query(query);
        self.clause = clause;
        let frame = self.blocks.pop().unwrap_or_default();
        let bound = bound?;
        Ok((bound.plan, bound.columns, !frame.outer.is_empty()))
    }

    fn add_subquery(&mut self, kind: SubqueryKind, plan: Plan, ty: FieldType, correlated: bool) -> Expr {
        let slot = self.columns.add("", ty);
        let subquery = Subquery { slot, kind, plan };
        if correlated {
            self.block().applies.push(subquery);
        } else {
            self.subqueries.push(subquery);
        }
        self.columns.expr(slot)
    }

    fn unary(&mut self, name: &str, a: &ast::Expr, negated: bool) -> Result<Expr, SqlError> {
        let a = self.bind_expr(a)?;
        let e = self.call(name, vec![a])?;
        self.not(e, negated)
    }

    fn bind_row_compare(&mut self, left: &[ast::Expr], right: &ast::Expr) -> Result<Expr, SqlError> {
        let ast::Expr::Tuple(right) = right else { return Err(SqlError::OperandColumns(left.len())) };
        if left.len() != right.len() {
            return Err(SqlError::OperandColumns(left.len()));
        }
        let mut all: Option<Expr> = None;
        for (l, r) in left.iter().zip(right) {
            let (l, r) = (self.bind_expr(l)?, self.bind_expr(r)?);
            let eq = self.call("=", vec![l, r])?;
            all = Some(match all {
                Some(a) => self.call("and", vec![a, eq])?,
                None => eq,
            });
        }
        Ok(all.unwrap_or_else(|| Expr::bool(true)))
    }

    fn bind_binary(&mut self, left: &ast::Expr, op: &ast::BinaryOperator, right: &ast::Expr) -> Result<Expr, SqlError> {
        use ast::BinaryOperator as B;
        if let (ast::Expr::Tuple(l), ast::Expr::Tuple(_)) = (left, right)
            && l.len() > 1
        {
            return match op {
                B::Eq => self.bind_row_compare(l, right),
                B::NotEq => {
                    let eq = self.bind_row_compare(l, right)?;
                    self.not(eq, true)
                }
                other => unsupported(format!("row comparison {other}")),
            };
        }
        if let (B::Plus | B::Minus, ast::Expr::Interval(i)) = (op, right) {
            let date = self.bind_expr(left)?;
            return self.bind_interval(date, i, *op == B::Minus);
        }
        if let (B::Plus, ast::Expr::Interval(i)) = (op, left) {
            let date = self.bind_expr(right)?;
            return self.bind_interval(date, i, false);
        }
        let name = match op {
            B::Plus => "+",
            B::Minus => "-",
            B::Multiply => "*",
            B::Divide => "/",
            B::Modulo => "%",
            B::MyIntegerDivide | B::DuckIntegerDivide => "div",
            B::Gt => ">",
            B::Lt => "<",
            B::GtEq => ">=",
            B::LtEq => "<=",
            B::Spaceship => "<=>",
            B::Eq => "=",
            B::NotEq => "<>",
            B::And => "and",
            B::Or => "or",
            B::Xor => "xor",
            B::BitwiseOr => "|",
            B::BitwiseAnd => "&",
            B::BitwiseXor | B::PGBitwiseXor => "^",
            B::PGBitwiseShiftLeft => "<<",
            B::PGBitwiseShiftRight => ">>",
            B::Regexp => "regexp",
            B::StringConcat => {
                if self.env.eval().has_mode(query::context::sql_mode::PIPES_AS_CONCAT) {
                    "concat"
                } else {
                    "or"
                }
            }
            B::Arrow => "json_extract",
            B::LongArrow => {
                let (l, r) = (self.bind_expr(left)?, self.bind_expr(right)?);
                let inner = self.call("json_extract", vec![l, r])?;
                return self.call("json_unquote", vec![inner]);
            }
            other => return unsupported(other.to_string()),
        };
        let (l, r) = (self.bind_expr(left)?, self.bind_expr(right)?);
        self.call(name, vec![l, r])
    }

    fn bind_interval(&mut self, date: Expr, interval: &ast::Interval, subtract: bool) -> Result<Expr, SqlError> {
        let amount = self.bind_expr(&interval.value)?;
        let unit = match (&interval.leading_field, &interval.last_field) {
            (Some(unit), None) => unit.to_string(),
            (Some(a), Some(b)) => format!("{a}_{b}"),
            _ => return Err(SqlError::WrongArguments("INTERVAL".into())),
        };
        build::date_add(date, amount, &unit, subtract, self.env.eval())
    }

    /// A literal's value and type.
    pub fn bind_literal(&mut self, v: &ast::Value) -> Result<Expr, SqlError> {
        use ast::Value as V;
        Ok(match v {
            V::Number(text, _) => build::number(text)?,
            V::SingleQuotedString(s)
            | V::DoubleQuotedString(s)
            | V::NationalStringLiteral(s)
            | V::EscapedStringLiteral(s) => build::string(s, self.env.eval()),
            V::Boolean(b) => Expr::bool(*b),
            V::Null => Expr::null(),
            V::TripleSingleQuotedByteStringLiteral(hex) => build::bytes(hex_bytes(hex)?),
            V::HexStringLiteral(hex) => query::infer::bit_literal(hex_bytes(hex)?),
            V::SingleQuotedByteStringLiteral(bits) => query::infer::bit_literal(bit_bytes(bits)?),
            V::Placeholder(name) => {
                let at = match name.trim_start_matches(['?', ':', '$']).parse::<usize>() {
                    Ok(n) => n.saturating_sub(1),
                    Err(_) => {
                        self.next_param += 1;
                        self.next_param - 1
                    }
                };
                match self.env.params().get(at) {
                    Some(d) => build::parameter(d.clone(), self.env.eval()),
                    None => return Err(SqlError::WrongParameters("EXECUTE")),
                }
            }
            other => return unsupported(other.to_string()),
        })
    }

    fn bind_function(&mut self, f: &ast::Function) -> Result<Expr, SqlError> {
        let (written, name) = match &name_parts(&f.name)?[..] {
            [name] => (name.clone(), name.to_lowercase()),
            // There are no stored functions, and the built-in ones belong to no database.
            parts => return Err(EvalError::NoSuchFunction(parts.join(".")).into()),
        };
        if f.over.is_some() {
            return unsupported(format!("window function {name}"));
        }
        if f.filter.is_some() || f.null_treatment.is_some() || !f.within_group.is_empty() {
            return unsupported(format!("this form of {name}"));
        }
        let (args, distinct, clauses): (&[ast::FunctionArg], bool, &[ast::FunctionArgumentClause]) = match &f.args {
            ast::FunctionArguments::None => (&[], false, &[]),
            ast::FunctionArguments::List(list) => {
                (&list.args, list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct), &list.clauses)
            }
            ast::FunctionArguments::Subquery(q) => {
                return self.bind_expr(&ast::Expr::Subquery(q.clone()));
            }
        };
        if AGGREGATES.contains(&name.as_str()) {
            return self.bind_aggregate(&name, args, distinct, clauses);
        }
        let plain = |a: &ast::FunctionArg| match a {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Ok(e.clone()),
            other => unsupported(other.to_string()),
        };
        let args: Vec<ast::Expr> = args.iter().map(plain).collect::<Result<_, _>>()?;
        if let Some(result) = self.bind_special(&name, &args) {
            return result;
        }
        let bound = args.iter().map(|a| self.bind_expr(a)).collect::<Result<Vec<_>, _>>()?;
        self.call(&name, bound).map_err(|e| match e {
            SqlError::Eval(EvalError::NoSuchFunction(_)) => {
                let database = self.env.database().map(|d| format!("{d}.")).unwrap_or_default();
                EvalError::NoSuchFunction(format!("{database}{written}")).into()
            }
            SqlError::Eval(EvalError::WrongParamCount(_)) => EvalError::WrongParamCount(written).into(),
            e => e,
        })
    }

    /// Functions whose arguments are not plain expressions.
    fn bind_special(&mut self, name: &str, args: &[ast::Expr]) -> Option<Result<Expr, SqlError>> {
        Some(match (name, args) {
            ("date_add" | "adddate", [date, ast::Expr::Interval(i)]) => {
                self.bind_expr(date).and_then(|d| self.bind_interval(d, i, false))
            }
            ("date_sub" | "subdate", [date, ast::Expr::Interval(i)]) => {
                self.bind_expr(date).and_then(|d| self.bind_interval(d, i, true))
            }
            ("adddate" | "subdate", [date, days]) => self.bind_expr(date).and_then(|d| {
                let n = self.bind_expr(days)?;
                build::date_add(d, n, "DAY", name == "subdate", self.env.eval())
            }),
            ("timestampadd", [ast::Expr::Identifier(unit), n, date]) => {
                let unit = unit.value.trim_start_matches("SQL_TSI_").to_owned();
                self.bind_expr(n).and_then(|n| {
                    let d = self.bind_expr(date)?;
                    build::date_add(d, n, &unit, false, self.env.eval())
                })
            }
            ("timestampdiff", [ast::Expr::Identifier(unit), a, b]) => {
                let unit = unit.value.clone();
                self.bind_expr(a).and_then(|a| {
                    let b = self.bind_expr(b)?;
                    self.call("timestampdiff", vec![Expr::constant(unit.as_str()), a, b])
                })
            }
            // The name is that of the column.
            ("name_const", [_, value]) => self.bind_expr(value),
            ("get_format" | "weight_string", _) => unsupported(name.to_uppercase()),
            ("values", [ast::Expr::Identifier(column)]) => match self.inserted.get(&column.value.to_lowercase()) {
                Some(id) => Ok(self.columns.expr(*id)),
                None => Ok(Expr::null()),
            },
            ("values", [ast::Expr::CompoundIdentifier(parts)]) => {
                let column = parts.last().map(|p| p.value.to_lowercase()).unwrap_or_default();
                match self.inserted.get(&column) {
                    Some(id) => Ok(self.columns.expr(*id)),
                    None => Ok(Expr::null()),
                }
            }
            ("row", _) => Err(SqlError::OperandColumns(1)),
            _ => return None,
        })
    }

    fn bind_aggregate(
        &mut self,
        name: &str,
        args: &[ast::FunctionArg],
        distinct: bool,
        clauses: &[ast::FunctionArgumentClause],
    ) -> Result<Expr, SqlError> {
        if self.block().in_aggregate || self.block().aggregates.is_none() {
            return Err(SqlError::InvalidGroupFunction);
        }
        self.block().in_aggregate = true;
        let bound = self.bind_aggregate_call(name, args, distinct, clauses);
        self.block().in_aggregate = false;
        let call = bound?;
        if !self.block().applies.is_empty() {
            return unsupported("correlated subqueries inside an aggregate");
        }
        if name == "avg" {
            let count = AggCall { name: "count".into(), ty: FieldType::bigint(), ..call.clone() };
            let sum = AggCall { ty: aggregate::sum_type(call.args[0].ty()), ..call.clone() };
            let (sum, count) = (self.aggregate(sum), self.aggregate(count));
            return aggregate::average(sum, count, &call.ty, self.env.eval());
        }
        Ok(self.aggregate(call))
    }

    /// The column of an aggregate call, which is computed once however often it is written.
    fn aggregate(&mut self, call: AggCall) -> Expr {
        let ty = call.ty.clone();
        if let Some(id) = self.block().aggregates.iter().flatten().find(|(a, _)| *a == call).map(|(_, id)| *id) {
            return self.columns.expr(id);
        }
        let name = &call.name;
        let text = format!("{name}({})", call.args.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(", "));
        let id = self.columns.add(text, ty);
        let args = call.args.iter().map(|a| Sql(a).to_string()).collect::<Vec<_>>().join(",");
        self.columns.call_in_messages(id, format!("{name}({})", if args.is_empty() { "0" } else { &args }));
        self.block().aggregates.get_or_insert_default().push((call, id));
        self.columns.expr(id)
    }

    fn bind_aggregate_call(
        &mut self,
        name: &str,
        args: &[ast::FunctionArg],
        distinct: bool,
        clauses: &[ast::FunctionArgumentClause],
    ) -> Result<AggCall, SqlError> {
        let mut bound = Vec::new();
        for a in args {
            match a {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => bound.push(self.bind_expr(e)?),
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) if name == "count" => {}
                other => return unsupported(other.to_string()),
            }
        }
        if bound.is_empty() && name != "count" {
            return Err(SqlError::WrongParameterCount(name.into()));
        }
        if name == "count" && bound.len() > 1 && !distinct {
            return Err(SqlError::WrongParameterCount(name.into()));
        }
        let mut order_by = Vec::new();
        let mut separator = None;
        for clause in clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => {
                    for k in keys {
                        let expr = self.bind_expr(&k.expr)?;
                        order_by.push(SortKey { expr, desc: is_desc(k)? });
                    }
                }
                ast::FunctionArgumentClause::Separator(s) => match &s.value {
                    ast::Value::SingleQuotedString(s) | ast::Value::DoubleQuotedString(s) => {
                        separator = Some(s.clone().into_bytes());
                    }
                    other => return unsupported(other.to_string()),
                },
                other => return unsupported(other.to_string()),
            }
        }
        let name = match name {
            "any_value" => "firstrow",
            "avg" => "sum",
            "std" | "stddev" => "stddev_pop",
            "variance" => "var_pop",
            n => n,
        };
        // COUNT of a constant counts rows, as COUNT(*).
        if name == "count" && !distinct && bound.len() == 1 && bound[0].as_const().is_some_and(|value| !value.is_null())
        {
            bound.clear();
        }
        // DISTINCT changes nothing for these.
        let distinct = distinct && !matches!(name, "min" | "max" | "firstrow" | "bit_and" | "bit_or");
        let (args, ty) = aggregate::infer(name, bound)?;
        Ok(AggCall { name: name.to_owned(), args, distinct, order_by, separator, ty })
    }
}

/// Sides of INTERSECT and EXCEPT, as bits.
const LEFT: i64 = 1;
const RIGHT: i64 = 2;

/// `CEIL(x)`, and not to some digit or unit of time.
const WHOLE: ast::CeilFloorKind = ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime);

/// Refuses what the grammar takes beside MySQL's clauses, and what is not done.
pub fn check_clauses(select: &ast::Select) -> Result<(), SqlError> {
    let clauses = [
        (select.into.is_some(), "SELECT … INTO"),
        (!select.named_window.is_empty(), "WINDOW"),
        (select.select_modifiers.as_ref().is_some_and(|m| m.sql_calc_found_rows), "SQL_CALC_FOUND_ROWS"),
        (select.top.is_some(), "TOP"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.value_table_mode.is_some(), "SELECT AS"),
    ];
    match clauses.iter().find(|(present, _)| *present) {
        Some((_, name)) => unsupported(*name),
        None => Ok(()),
    }
}

/// Whether a sort key is descending.
pub fn is_desc(key: &ast::OrderByExpr) -> Result<bool, SqlError> {
    if key.options.nulls_first.is_some() {
        return unsupported("NULLS FIRST and NULLS LAST");
    }
    match &key.options.sort {
        None | Some(ast::OrderBySort::Asc) => Ok(false),
        Some(ast::OrderBySort::Desc) => Ok(true),
        Some(_) => unsupported("ORDER BY … USING"),
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
        ast::Expr::Identifier(i) => i.value.clone(),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map(|p| p.value.clone()).unwrap_or_default(),
        ast::Expr::Nested(inner) if matches!(**inner, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_)) => {
            item_name(inner)
        }
        ast::Expr::Value(v) => match &v.value {
            ast::Value::SingleQuotedString(s) | ast::Value::DoubleQuotedString(s) => s.clone(),
            _ => e.to_string(),
        },
        _ => e.to_string(),
    }
}

/// `ORDER BY 2`.
fn position(e: &ast::Expr) -> Option<usize> {
    match e {
        ast::Expr::Value(v) => match &v.value {
            ast::Value::Number(n, _) => n.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn check_aliases(left: &[Visible], right: &[Visible]) -> Result<(), SqlError> {
    for r in right {
        let same =
            |l: &&Visible| l.table.eq_ignore_ascii_case(&r.table) && l.database.eq_ignore_ascii_case(&r.database);
        if !r.table.is_empty() && left.iter().any(|l| same(&l)) {
            return Err(SqlError::DuplicateAlias(r.table.clone()));
        }
    }
    Ok(())
}

/// Bytes of hexadecimal digits; an odd number of them begins with half a byte.
pub fn hex_bytes(hex: &str) -> Result<Vec<u8>, SqlError> {
    let padded = if hex.len().is_multiple_of(2) { hex.to_owned() } else { format!("0{hex}") };
    crate::catalog::unhex(&padded).ok_or_else(|| SqlError::Syntax { near: hex.to_owned(), line: 1 })
}

/// Bytes of binary digits, right-aligned.
pub fn bit_bytes(bits: &str) -> Result<Vec<u8>, SqlError> {
    let padded = format!("{}{bits}", "0".repeat((8 - bits.len() % 8) % 8));
    padded
        .as_bytes()
        .chunks(8)
        .map(|c| c.iter().try_fold(0_u8, |v, d| matches!(d, b'0' | b'1').then(|| v << 1 | (d - b'0'))))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| SqlError::Syntax { near: bits.to_owned(), line: 1 })
}

/// Whether an expression calls an aggregate function of this block (not in a subquery).
fn has_aggregate(e: &ast::Expr) -> bool {
    use ast::Expr as E;
    match e {
        E::Function(f) => {
            let name = f.name.0.last().map(|p| p.to_string().to_lowercase()).unwrap_or_default();
            if f.over.is_none() && AGGREGATES.contains(&name.trim_matches('`')) {
                return true;
            }
            match &f.args {
                ast::FunctionArguments::List(list) => list.args.iter().any(|a| match a {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => has_aggregate(e),
                    _ => false,
                }),
                _ => false,
            }
        }
        E::Nested(a)
        | E::IsNull(a)
        | E::IsNotNull(a)
        | E::IsTrue(a)
        | E::IsNotTrue(a)
        | E::IsFalse(a)
        | E::IsNotFalse(a)
        | E::IsUnknown(a)
        | E::IsNotUnknown(a) => has_aggregate(a),
        E::UnaryOp { expr, .. }
        | E::Cast { expr, .. }
        | E::Convert { expr, .. }
        | E::Collate { expr, .. }
        | E::Extract { expr, .. }
        | E::Ceil { expr, .. }
        | E::Floor { expr, .. }
        | E::InSubquery { expr, .. } => has_aggregate(expr),
        E::Prefixed { value, .. } => has_aggregate(value),
        E::BinaryOp { left, right, .. } => has_aggregate(left) || has_aggregate(right),
        E::AnyOp { left, .. } | E::AllOp { left, .. } => has_aggregate(left),
        E::Between { expr, low, high, .. } => has_aggregate(expr) || has_aggregate(low) || has_aggregate(high),
        E::InList { expr, list, .. } => has_aggregate(expr) || list.iter().any(has_aggregate),
        E::Like { expr, pattern, .. } | E::RLike { expr, pattern, .. } => has_aggregate(expr) || has_aggregate(pattern),
        E::Case { operand, conditions, else_result, .. } => {
            operand.as_deref().is_some_and(has_aggregate)
                || conditions.iter().any(|c| has_aggregate(&c.condition) || has_aggregate(&c.result))
                || else_result.as_deref().is_some_and(has_aggregate)
        }
        E::Substring { expr, substring_from, substring_for, .. } => {
            has_aggregate(expr)
                || substring_from.as_deref().is_some_and(has_aggregate)
                || substring_for.as_deref().is_some_and(has_aggregate)
        }
        E::Trim { expr, .. } => has_aggregate(expr),
        E::Position { expr, r#in } => has_aggregate(expr) || has_aggregate(r#in),
        E::Tuple(items) => items.iter().any(has_aggregate),
        E::Interval(i) => has_aggregate(&i.value),
        _ => false,
    }
}
