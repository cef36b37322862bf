//! Queries and changes of rows.

use super::expr::{Expr, Window};
use super::names::{Ident, Name, Place};

/// A query: its blocks, and what is around them.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// `WITH`.
    pub with: Option<With>,
    /// The blocks.
    pub body: SetExpr,
    /// `ORDER BY`.
    pub order_by: Vec<OrderBy>,
    /// `LIMIT`.
    pub limit: Option<Limit>,
    /// `FOR UPDATE`, `FOR SHARE`.
    pub locks: Vec<Lock>,
}

/// `WITH [RECURSIVE] …`.
#[derive(Debug, Clone, PartialEq)]
pub struct With {
    /// `RECURSIVE`.
    pub recursive: bool,
    /// At least one.
    pub ctes: Vec<Cte>,
}

/// `name [(column, …)] AS (query)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cte {
    /// Its name, and those of its columns.
    pub alias: TableAlias,
    /// The query.
    pub query: Box<Query>,
}

/// What a query is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum SetExpr {
    /// A block.
    Select(Box<Select>),
    /// A query in parentheses.
    Query(Box<Query>),
    /// `left UNION right` and the like. A chain of them is deep on its left.
    SetOperation {
        /// Which.
        op: SetOperator,
        /// `ALL`; else `DISTINCT`, said or not.
        all: bool,
        /// Left side.
        left: Box<SetExpr>,
        /// Right side.
        right: Box<SetExpr>,
    },
    /// `VALUES ROW(…), …`.
    Values(Vec<Vec<Expr>>),
}

/// What is made of the rows of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SetOperator {
    Union,
    Except,
    Intersect,
}

/// A query block.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// Where the word SELECT is.
    pub at: Place,
    /// Those that the planner reads.
    pub hints: Vec<Hint>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// Words that say how, not what.
    pub modifiers: SelectModifiers,
    /// What is selected.
    pub projection: Vec<SelectItem>,
    /// `FROM`; empty for none.
    pub from: Vec<TableWithJoins>,
    /// `WHERE`.
    pub selection: Option<Expr>,
    /// `GROUP BY`.
    pub group_by: Vec<Expr>,
    /// `WITH ROLLUP`.
    pub rollup: bool,
    /// `HAVING`.
    pub having: Option<Expr>,
    /// `WINDOW`.
    pub windows: Vec<NamedWindow>,
}

/// `NAME(argument)` in `/*+ … */`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// As written.
    pub name: String,
    /// What is in its parentheses.
    pub argument: String,
}

/// Words between SELECT and its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct SelectModifiers {
    pub high_priority: bool,
    pub straight_join: bool,
    pub small_result: bool,
    pub big_result: bool,
    pub buffer_result: bool,
    pub no_cache: bool,
}

/// What is selected.
#[derive(Debug, Clone, PartialEq)]
pub enum SelectItem {
    /// An expression.
    Expr {
        /// The expression.
        expr: Expr,
        /// Its name: `AS …`, or the text that it was written as, if it has no name of its own.
        alias: Option<Ident>,
    },
    /// `*`.
    Star(Place),
    /// `[db.]table.*`.
    StarOf(Name),
}

/// `name AS (window)`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedWindow {
    /// Name.
    pub name: Ident,
    /// The window.
    pub window: Window,
}

/// A table of FROM and those that are joined to it, from left to right.
#[derive(Debug, Clone, PartialEq)]
pub struct TableWithJoins {
    /// The first.
    pub relation: TableFactor,
    /// The others.
    pub joins: Vec<Join>,
}

/// What stands for rows in FROM.
#[derive(Debug, Clone, PartialEq)]
pub enum TableFactor {
    /// A table, a view, or a name of WITH.
    Table {
        /// `[db.]name`.
        name: Name,
        /// `PARTITION (p, …)`; empty: all.
        partitions: Vec<Ident>,
        /// `AS …`.
        alias: Option<Ident>,
        /// `USE INDEX …` and the like.
        index_hints: Vec<IndexHint>,
    },
    /// `[LATERAL] (SELECT …) AS …`.
    Derived {
        /// It may read the tables before it.
        lateral: bool,
        /// The query.
        subquery: Box<Query>,
        /// Its name, and those of its columns.
        alias: TableAlias,
    },
    /// `(a JOIN b …)`.
    Nested(Box<TableWithJoins>),
}

/// A name for rows, and names for their columns: none, or all.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAlias {
    /// Name.
    pub name: Ident,
    /// Columns.
    pub columns: Vec<Ident>,
}

/// `USE | FORCE | IGNORE INDEX [FOR …] (i, …)`.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexHint {
    /// Which of the three.
    pub kind: IndexHintKind,
    /// For what; everything, if not said.
    pub purpose: Option<IndexHintFor>,
    /// Names.
    pub indexes: Vec<Ident>,
}

/// What is asked for indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IndexHintKind {
    Use,
    Force,
    Ignore,
}

/// What an index hint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IndexHintFor {
    Join,
    OrderBy,
    GroupBy,
}

/// A table that is joined to those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The table.
    pub relation: TableFactor,
    /// How.
    pub kind: JoinKind,
    /// On what.
    pub constraint: JoinConstraint,
}

/// How tables are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JoinKind {
    /// `[INNER | CROSS] JOIN`.
    Inner,
    /// `STRAIGHT_JOIN`.
    Straight,
    Left,
    Right,
}

/// What joined rows must meet.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum JoinConstraint {
    None,
    Natural,
    On(Expr),
    Using(Vec<Ident>),
}

/// A sort key.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderBy {
    /// The key.
    pub expr: Expr,
    /// `DESC`.
    pub desc: bool,
}

/// `LIMIT count OFFSET offset`, `LIMIT offset, count`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Rows at most.
    pub count: Expr,
    /// Rows that are left out before them.
    pub offset: Option<Expr>,
}

/// `FOR UPDATE | SHARE [OF table] [NOWAIT | SKIP LOCKED]`. One that names several tables is as many of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    /// `SHARE`.
    pub share: bool,
    /// The table; all, if not said.
    pub of: Option<Name>,
    /// When others have locked a row.
    pub wait: LockWait,
}

/// What a lock clause does about rows that others have locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Waits.
    Wait,
    /// `NOWAIT`: fails.
    NoWait,
    /// `SKIP LOCKED`: leaves them out.
    SkipLocked,
}

/// `INSERT`, `REPLACE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// `REPLACE`.
    pub replace: bool,
    /// `IGNORE`.
    pub ignore: bool,
    /// Into what.
    pub table: Name,
    /// `PARTITION (p, …)`; empty: all.
    pub partitions: Vec<Ident>,
    /// Which columns; empty: those of the source's kind of their own.
    pub columns: Vec<Name>,
    /// What.
    pub source: InsertSource,
    /// `AS name [(column, …)]` of the new row.
    pub alias: Option<RowAlias>,
    /// `ON DUPLICATE KEY UPDATE`.
    pub on_duplicate: Option<Vec<Assignment>>,
}

/// What is inserted.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertSource {
    /// `VALUES (…), …`. An empty row has defaults only.
    Values(Vec<Vec<Expr>>),
    /// `SET a = …, …`.
    Set(Vec<Assignment>),
    /// The rows of a query.
    Query(Box<Query>),
}

/// The name of an INSERT's new row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowAlias {
    /// Name.
    pub name: String,
    /// Names of its columns; empty: their own.
    pub columns: Vec<Ident>,
}

/// `column = value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// `[[db.]table.]column`.
    pub column: Name,
    /// What it is set to.
    pub value: Expr,
}

/// `UPDATE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// `WITH` before it.
    pub with: Option<With>,
    /// `/*+ … */` that the planner reads.
    pub hints: Vec<Hint>,
    /// `IGNORE`.
    pub ignore: bool,
    /// Tables; those of a list are joined without a condition.
    pub table: TableWithJoins,
    /// What is set.
    pub assignments: Vec<Assignment>,
    /// `WHERE`.
    pub selection: Option<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderBy>,
    /// `LIMIT`.
    pub limit: Option<Expr>,
}

/// `DELETE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// `WITH` before it.
    pub with: Option<With>,
    /// `/*+ … */` that the planner reads.
    pub hints: Vec<Hint>,
    /// `IGNORE`.
    pub ignore: bool,
    /// Of which tables: those before FROM, or before USING. Empty: of the one in FROM.
    pub targets: Vec<Name>,
    /// The tables.
    pub from: Vec<TableWithJoins>,
    /// `WHERE`.
    pub selection: Option<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderBy>,
    /// `LIMIT`.
    pub limit: Option<Expr>,
}
