//! Names become columns, text becomes types: from a statement's tree to a [`Plan`].
//!
//! A query block is bound from the inside out, in the order of SQL's meaning: FROM, WHERE, GROUP BY, HAVING, SELECT,
//! windows, DISTINCT, ORDER BY, LIMIT. Names are looked up in the innermost block first and then in the enclosing ones; a
//! block that finds a name outside is *correlated* and becomes an [`Plan::Apply`]. A subquery that is not correlated is put
//! into [`Binder::subqueries`], to be run before the statement itself.
//!
//! What WITH names and what reads itself is in `recursion`, views are in `views`, the levels of WITH ROLLUP in `rollup`.
//!
//! Here are the binder's state and the looking up of names. Read on in this order: `tables`, FROM; `queries`, what is around
//! blocks; `select`, a block; `windows`, what is computed over its rows; `expressions`; `changes`, INSERT, UPDATE and DELETE.

mod changes;
mod dependence;
mod expressions;
mod queries;
mod recursion;
mod rollup;
mod select;
mod tables;
mod views;
mod windows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use query::expr::Expr;
use sql_base::SqlError;
use sql_catalog::{Schema, TableInfo};
use sql_parser::ast;

use super::inputs::{Input, Source};
use super::plan::{AggCall, ColId, Columns, Plan, Scan, Shared, Subquery};
pub use changes::Tree;
pub use expressions::has_aggregate;
use recursion::Cte;
pub use views::{BoundView, Recorder, Writable};

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
    /// Whether the plan is to be kept: then parameters and variables are parameters of it ([`Binder::inputs`]), and their
    /// values those of each run.
    fn keeps_inputs(&self) -> bool {
        false
    }
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
    /// Those inside the arguments of aggregates: their place is below the groups.
    applies_of_rows: Vec<Subquery>,
    /// Aggregates, while the select list, HAVING and ORDER BY are bound.
    aggregates: Option<Vec<(AggCall, ColId)>>,
    /// WITH ROLLUP, once the groups are known.
    rollup: Option<rollup::Rollup>,
    /// Inside an aggregate's argument.
    in_aggregate: bool,
    /// Names of select items, for HAVING and ORDER BY.
    aliases: Vec<(String, Expr)>,
    /// Whether aliases may be used now, and whether they come before columns.
    use_aliases: bool,
    aliases_first: bool,
    /// Window functions of the select list and of ORDER BY.
    windows: windows::Windows,
}

/// Binds one statement.
pub struct Binder<'a> {
    env: &'a dyn Environment,
    /// All columns.
    pub columns: Columns,
    /// Subqueries to run first, in this order.
    pub subqueries: Vec<Subquery>,
    /// CTEs that are bound, for all who name them.
    pub shared: Vec<Shared>,
    /// Where they are defined, and their columns.
    sources: Vec<recursion::Source>,
    /// Parameters and variables, if the plan is to be kept.
    pub inputs: Vec<Input>,
    blocks: Vec<Block>,
    ctes: Vec<HashMap<String, Cte>>,
    /// A recursive CTE named itself where it has no columns yet.
    named_itself: bool,
    next_work_table: usize,
    clause: &'static str,
    depth: usize,
    /// `VALUES(col)` in ON DUPLICATE KEY UPDATE: column name to number.
    pub inserted: HashMap<String, ColId>,
    /// Only the columns are wanted; parameters have no values yet.
    pub describing: bool,
    /// Tables some of whose rows a lock clause has locked, wherever in the statement it is. Their scans know how.
    pub locked: Vec<Arc<TableInfo>>,
    /// What the statement says without effect, for `SHOW WARNINGS`.
    pub notes: Vec<SqlError>,
    /// Tables whose columns have numbers, with these: what determines a row of a view are keys of its tables.
    tables: Vec<(Arc<TableInfo>, Vec<(usize, ColId)>)>,
    /// Columns of the tables before the one that is being bound, which LATERAL may read, and those that it has read.
    before: Vec<Visible>,
    depends: HashSet<ColId>,
    views: views::Views,
    recorder: Option<Box<Recorder>>,
    /// Hints that are not followed, for the same.
    pub warnings: Vec<SqlError>,
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

/// `[db.]table`.
pub fn table_name(name: &ast::Name) -> Result<(Option<String>, String), SqlError> {
    let mut parts = name.parts();
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(table), db, true) => Ok((db, table)),
        _ => Err(SqlError::WrongTableName(name.to_string())),
    }
}

/// Calls a function on the scans of a query's tables, those of its derived tables and views too.
fn each_scan(plan: &mut Plan, f: &mut impl FnMut(&mut Scan) -> Result<(), SqlError>) -> Result<(), SqlError> {
    match plan {
        Plan::Scan(scan) => f(scan),
        plan => plan.inputs_mut().into_iter().try_for_each(|input| each_scan(input, f)),
    }
}

impl<'a> Binder<'a> {
    /// For one statement.
    pub fn new(env: &'a dyn Environment) -> Binder<'a> {
        Binder {
            env,
            columns: Columns::default(),
            subqueries: Vec::new(),
            shared: Vec::new(),
            sources: Vec::new(),
            inputs: Vec::new(),
            blocks: Vec::new(),
            ctes: Vec::new(),
            named_itself: false,
            next_work_table: 0,
            clause: "field list",
            depth: 0,
            inserted: HashMap::new(),
            describing: false,
            locked: Vec::new(),
            notes: Vec::new(),
            tables: Vec::new(),
            before: Vec::new(),
            depends: HashSet::new(),
            views: views::Views::default(),
            recorder: None,
            warnings: Vec::new(),
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

    /// Binds something that sees these columns, and nothing of the statement around it.
    pub(crate) fn by_itself<T>(
        &mut self,
        visible: Vec<Visible>,
        f: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let blocks = std::mem::take(&mut self.blocks);
        let ctes = std::mem::take(&mut self.ctes);
        self.open(visible);
        let bound = f(self);
        let closed = self.close();
        (self.blocks, self.ctes) = (blocks, ctes);
        let bound = bound?;
        closed.map(|()| bound)
    }

    /// Puts the pending correlated subqueries under what uses them.
    pub fn place_applies(&mut self, mut plan: Plan) -> Plan {
        for subquery in std::mem::take(&mut self.block().applies) {
            plan = Plan::Apply { input: Box::new(plan), subquery: Box::new(subquery) };
        }
        plan
    }

    /// What stands for a value that the statement is given: the value, or a parameter of a plan that is to be kept. However
    /// often it is written or bound, it is one.
    fn input(&mut self, source: Source, value: Datum, ty: FieldType) -> Expr {
        if !self.env.keeps_inputs() {
            return Expr::Const { value, ty };
        }
        if let Some(known) = self.inputs.iter().find(|i| *i.source() == source) {
            return known.expr();
        }
        let input = Input::new(source, value, ty, &mut self.columns);
        let e = input.expr();
        self.inputs.push(input);
        e
    }

    /// Whether a column belongs to a block around this one.
    fn is_outer(&self, id: ColId) -> bool {
        let around = self.blocks.len().saturating_sub(1);
        self.blocks[..around].iter().any(|block| block.visible.iter().any(|v| v.id == id))
    }

    // ---- Names ----

    fn resolve(&mut self, parts: &[String]) -> Result<Expr, SqlError> {
        self.found(None);
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
            // HAVING comes before windows, and nothing of a window holds another.
            let checked = |e: Expr| match block.windows.are_read_by(&e) && !block.windows.may_be_read() {
                true => Err(SqlError::WindowAliasUse(name.clone())),
                false => Ok(e),
            };
            if block.use_aliases
                && block.aliases_first
                && !block.in_aggregate
                && table.is_none()
                && let Some(e) = alias()
            {
                let e = checked(e)?;
                self.found_alias(level, &e);
                return Ok(e);
            }
            let mut found = block.visible.iter().filter(matches).filter(|v| table.is_some() || !v.merged);
            if let Some(v) = found.next() {
                if found.any(|other| other.id != v.id) {
                    return Err(SqlError::AmbiguousColumn { column: written, clause: self.clause.into() });
                }
                let id = v.id;
                if self.recorder.is_some() {
                    let v = v.clone();
                    self.found(Some(&v));
                }
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
                let e = checked(e)?;
                self.found_alias(level, &e);
                return Ok(e);
            }
        }
        Err(SqlError::UnknownColumn { column: written, clause: self.clause.into() })
    }
}

/// `ORDER BY 2`.
fn position(e: &ast::Expr) -> Option<usize> {
    match e {
        ast::Expr::Literal(ast::Literal::Number(n)) => n.parse().ok(),
        _ => None,
    }
}
