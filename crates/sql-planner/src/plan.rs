//! What a statement reads and computes, as a tree.
//!
//! Columns have numbers that are unique in the statement, from where they come into being (a scan, a projection, an
//! aggregate) to where they are used; `Expr::Column::index` is that number. So rules move expressions between nodes without
//! renumbering, and only the executor turns numbers into positions.
//!
//! One tree serves as logical and as physical plan: the binder leaves [`Scan::access`] and the `pushed` operators open, the
//! rules of [`super::optimize`] fill them in. A statement that is bound is a [`Logical`], one whose plan can be run a
//! [`Physical`]. The latter holds nothing of the run: what rows around a subquery, subqueries, parameters and variables
//! have for values are [`query::expr::Param`]s in it, by the number of the column that stood for them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codec::datum::Datum;
use codec::table::PhysicalTableId;
use codec::types::FieldType;
use query::expr::Expr;
use sql_catalog::TableInfo;
use statistics::TableStatistics;

/// A statement that reads, bound.
#[derive(Debug, Clone, Default)]
pub struct Logical {
    /// Its rows.
    pub plan: Plan,
    /// Subqueries that depend on no row, in the order in which they are run.
    pub subqueries: Vec<Subquery>,
    /// CTEs that [`Plan::Cte`]s name; each names only those before it.
    pub shared: Vec<Shared>,
    /// All columns.
    pub columns: Columns,
}

/// A statement that reads, planned.
#[derive(Debug, Clone, Default)]
pub struct Physical {
    /// Its rows.
    pub plan: Plan,
    /// Subqueries that are run first, in this order. Their answers are the values of parameters.
    pub subqueries: Vec<Subquery>,
    /// CTEs that are named more than once; each names only those before it. They are run when their rows are first asked for.
    pub shared: Vec<Shared>,
    /// All columns.
    pub columns: Arc<Columns>,
}

impl Physical {
    /// Every base table that is read.
    pub fn tables(&self) -> Vec<Arc<TableInfo>> {
        let mut tables = Vec::new();
        self.plans().for_each(|plan| plan.tables(&mut tables));
        tables
    }

    /// Its plan, then those of its subqueries and of what is shared.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let subqueries = self.subqueries.iter().map(|s| &s.plan);
        std::iter::once(&self.plan).chain(subqueries).chain(self.shared.iter().map(|s| &s.plan))
    }

    /// Whether a base table is read with (`locked`) or without a lock clause.
    pub fn reads(&self, locked: bool) -> bool {
        self.plans().any(|plan| plan.reads(locked))
    }
}

/// Number of a column in a statement.
pub type ColId = usize;

/// What is known about each column number.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    list: Vec<(String, FieldType)>,
    /// What messages call them, as far as that is another name.
    in_messages: HashMap<ColId, Arc<str>>,
}

impl Columns {
    /// A new number.
    pub fn add(&mut self, name: impl Into<String>, ty: FieldType) -> ColId {
        self.list.push((name.into(), ty));
        self.list.len() - 1
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Has messages call a column so.
    pub fn call_in_messages(&mut self, id: ColId, name: impl Into<Arc<str>>) {
        self.in_messages.insert(id, name.into());
    }

    /// What messages call a column.
    pub fn in_messages(&self, id: ColId) -> Option<Arc<str>> {
        self.in_messages.get(&id).cloned()
    }

    /// Type of a column.
    pub fn ty(&self, id: ColId) -> &FieldType {
        &self.list[id].1
    }

    /// Name for EXPLAIN.
    pub fn name(&self, id: ColId) -> String {
        match self.list.get(id) {
            Some((name, _)) if !name.is_empty() => name.clone(),
            _ => format!("Column#{id}"),
        }
    }

    /// An expression that reads it.
    pub fn expr(&self, id: ColId) -> Expr {
        Expr::column(id, self.ty(id).clone()).with_name(self.in_messages(id))
    }

    /// Types of several.
    pub fn types(&self, ids: &[ColId]) -> Arc<[FieldType]> {
        ids.iter().map(|id| self.ty(*id).clone()).collect()
    }
}

/// How rows of two inputs combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// All left rows, with NULLs where nothing matches.
    Left,
    /// Left rows that match something, each once and without the other side's columns.
    Semi,
    /// Left rows that match nothing, likewise.
    Anti,
}

impl JoinKind {
    /// Whether its rows have the columns of the right side.
    pub fn has_right(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left)
    }
}

/// How a join finds the right side's rows for those of the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JoinWay {
    /// By a hash table of them.
    #[default]
    Hash,
    /// They are looked up by this pair of the equal ones, a batch of left rows at a time.
    Lookup(usize),
    /// Both sides come in the order of the equal pairs, upwards.
    Merge,
}

/// An aggregate function call.
#[derive(Debug, Clone, PartialEq)]
pub struct AggCall {
    /// Lower-case name: count, sum, avg, min, max, group_concat, bit_and, …; `firstrow` is any value of the group.
    pub name: String,
    /// Arguments; none for COUNT(*).
    pub args: Vec<Expr>,
    /// DISTINCT.
    pub distinct: bool,
    /// GROUP_CONCAT's order.
    pub order_by: Vec<SortKey>,
    /// GROUP_CONCAT's separator.
    pub separator: Option<Vec<u8>>,
    /// Type of the result.
    pub ty: FieldType,
}

/// What is computed for each row of a partition.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowFunc {
    /// 1, 2, 3, …
    RowNumber,
    /// Rows before the first peer, and one.
    Rank,
    /// Groups of peers before this one, and one.
    DenseRank,
    /// `(rank - 1) / (rows - 1)`.
    PercentRank,
    /// The part of the rows up to the last peer.
    CumeDist,
    /// In which of so many parts, as equal as may be, the row is.
    Ntile(u64),
    /// The argument so many rows before; the second argument where there is no such row.
    Lag(u64),
    /// The argument so many rows after.
    Lead(u64),
    /// The argument in the frame's first row.
    FirstValue,
    /// In its last.
    LastValue,
    /// In its n-th, from 1.
    NthValue(u64),
    /// Over the frame's rows.
    Aggregate(AggCall),
}

impl WindowFunc {
    /// Its name in lower case.
    pub fn name(&self) -> &str {
        match self {
            WindowFunc::RowNumber => "row_number",
            WindowFunc::Rank => "rank",
            WindowFunc::DenseRank => "dense_rank",
            WindowFunc::PercentRank => "percent_rank",
            WindowFunc::CumeDist => "cume_dist",
            WindowFunc::Ntile(_) => "ntile",
            WindowFunc::Lag(_) => "lag",
            WindowFunc::Lead(_) => "lead",
            WindowFunc::FirstValue => "first_value",
            WindowFunc::LastValue => "last_value",
            WindowFunc::NthValue(_) => "nth_value",
            WindowFunc::Aggregate(call) => &call.name,
        }
    }

    /// Whether it sees the frame only; the others see the whole partition, whatever the frame.
    pub fn has_frame(&self) -> bool {
        matches!(
            self,
            WindowFunc::FirstValue | WindowFunc::LastValue | WindowFunc::NthValue(_) | WindowFunc::Aggregate(_)
        )
    }
}

/// A call of a window function.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    /// Which.
    pub func: WindowFunc,
    /// Arguments that are computed for each row; an aggregate's are its own.
    pub args: Vec<Expr>,
    /// Which rows it sees.
    pub frame: Frame,
    /// Type of the result.
    pub ty: FieldType,
}

impl WindowCall {
    /// Calls `f` on each expression in it.
    pub fn each_expr(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        self.args.iter_mut().for_each(&mut *f);
        if let WindowFunc::Aggregate(call) = &mut self.func {
            call.args.iter_mut().for_each(&mut *f);
        }
        self.frame.key.iter_mut().for_each(&mut *f);
        for edge in [&mut self.frame.start, &mut self.frame.end] {
            if let Edge::Value { value, .. } = edge {
                f(value);
            }
        }
    }

    /// The same for a function that may fail.
    pub fn try_each_expr<E>(&mut self, mut f: impl FnMut(&mut Expr) -> Result<(), E>) -> Result<(), E> {
        let mut result = Ok(());
        self.each_expr(&mut |e| {
            if result.is_ok() {
                result = f(e);
            }
        });
        result
    }

    /// All columns that it reads.
    pub fn columns(&self) -> Vec<usize> {
        let mut out = Vec::new();
        self.clone().each_expr(&mut |e| out.extend(e.columns()));
        out
    }
}

/// What a frame counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Rows.
    Rows,
    /// Values of the order's key; rows of one value go together.
    Range,
}

/// An edge of a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Edge {
    /// That of the partition.
    Unbounded,
    /// The row; by values its first or last peer.
    Current,
    /// So many rows before.
    Preceding(u64),
    /// So many rows after.
    Following(u64),
    /// At this value, which depends on the row.
    Value {
        /// Of the type of [`Frame::key`]. It is NULL for a row without a key, which then has its peers, and where the
        /// value would be beyond all.
        value: Expr,
        /// It is before the row, and not after.
        preceding: bool,
        /// `INTERVAL 1 DAY`, for EXPLAIN.
        words: String,
    },
}

/// Which rows of the partition a function sees.
///
/// An edge that is so many rows away stays a number. One that is so far away in the value of the order's key becomes an
/// expression: the value that a row must reach to be inside. So what adding an interval to a date means, or a decimal to an
/// integer, is said by the expressions' own rules, and who runs it only compares.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// In what edges are counted.
    pub units: Units,
    /// From where.
    pub start: Edge,
    /// To where, which is inside.
    pub end: Edge,
    /// What values at edges are compared with: the order's only key, perhaps converted.
    pub key: Option<Expr>,
}

impl Frame {
    /// All rows.
    pub fn whole() -> Frame {
        Frame { units: Units::Rows, start: Edge::Unbounded, end: Edge::Unbounded, key: None }
    }

    /// What it is when nothing is said: up to the last peer, or everything where there is no order.
    pub fn unsaid(ordered: bool) -> Frame {
        match ordered {
            true => Frame { units: Units::Range, start: Edge::Unbounded, end: Edge::Current, key: None },
            false => Frame::whole(),
        }
    }
}

impl std::fmt::Display for Frame {
    /// As EXPLAIN words it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = if self.units == Units::Rows { "rows" } else { "range" };
        let edge = |e: &Edge, unbounded: &str| match e {
            Edge::Unbounded => format!("unbounded {unbounded}"),
            Edge::Current => "current row".to_owned(),
            Edge::Preceding(n) => format!("{n} preceding"),
            Edge::Following(n) => format!("{n} following"),
            Edge::Value { preceding, words, .. } => {
                format!("{words} {}", if *preceding { "preceding" } else { "following" })
            }
        };
        write!(f, "{units} between {} and {}", edge(&self.start, "preceding"), edge(&self.end, "following"))
    }
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    /// By what.
    pub expr: Expr,
    /// Largest first.
    pub desc: bool,
}

/// Which keys a scan reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Access {
    /// All rows in key order.
    #[default]
    Full,
    /// No rows: the conditions contradict each other.
    Empty,
    /// Rows with numbers in these closed ranges for handles.
    Handles(Vec<(i64, i64)>),
    /// Rows with these numbers for handles, each fetched by key.
    PointHandles(Vec<i64>),
    /// Rows with these values of all columns of a unique index, each fetched by key. The index may be the primary key that rows
    /// are clustered by.
    PointIndex {
        /// The index.
        index: i64,
        /// Values of its columns, none NULL.
        keys: Vec<Vec<Datum>>,
    },
    /// Rows whose entries are in these half-open ranges of the index's keys. Where rows are clustered by it, they are the entries,
    /// and have every column.
    Index {
        /// The index.
        index: i64,
        /// Key ranges.
        ranges: Vec<(Vec<u8>, Vec<u8>)>,
        /// For EXPLAIN: the ranges in words.
        words: String,
        /// The entries have every wanted column: rows are not fetched.
        covering: bool,
    },
    /// Rows to which several of the other ways lead together, each row once.
    Merge(Box<Merge>),
    /// Keys that depend on what is known when the plan is run: then [`crate::access::settle`] makes one of the others of it.
    Late(Box<LateKeys>),
}

/// Several ways to the rows of one table, followed up to the rows' handles (index merge).
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// A row must be found on all of them; else on any.
    pub all: bool,
    /// The ways, two at least: keys, or entries that need not have every wanted column.
    pub parts: Vec<MergePart>,
}

/// A way of a [`Merge`].
#[derive(Debug, Clone, PartialEq)]
pub struct MergePart {
    /// Its keys.
    pub access: Access,
    /// Rough number of rows that it leads to.
    pub rows: f64,
}

/// How to find keys when the plan is run.
#[derive(Debug, Clone, PartialEq)]
pub struct LateKeys {
    /// Where.
    pub path: Path,
    /// Conditions that choose among the keys there.
    pub conditions: Vec<Expr>,
    /// Positions of those that are not among the scan's filters as well, because they choose whatever the values are.
    pub only_here: Vec<usize>,
}

/// Which keys of a table are read, before it is known how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Those of rows.
    Handle {
        /// Single ones.
        points: bool,
    },
    /// Entries of an index.
    Index {
        /// Which.
        index: i64,
        /// Single ones, of a unique index.
        points: bool,
        /// See [`Access::Index`].
        covering: bool,
    },
}

impl Access {
    /// Whether single keys are fetched, or none.
    pub fn is_points(&self) -> bool {
        match self {
            Access::Empty | Access::PointHandles(_) | Access::PointIndex { .. } => true,
            Access::Late(late) => matches!(late.path, Path::Handle { points } | Path::Index { points, .. } if points),
            Access::Full | Access::Handles(_) | Access::Index { .. } | Access::Merge(_) => false,
        }
    }

    /// Whether rows are looked up by what ranges of indexes lead to.
    pub fn is_lookup(&self) -> bool {
        match self {
            Access::Merge(_) => true,
            Access::Index { covering, .. } => !covering,
            Access::Late(late) => matches!(late.path, Path::Index { points: false, covering: false, .. }),
            _ => false,
        }
    }

    /// Calls `f` on the conditions that the run makes keys of.
    fn each_expr(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        match self {
            Access::Late(late) => late.conditions.iter_mut().for_each(f),
            Access::Merge(merge) => merge.parts.iter_mut().for_each(|part| part.access.each_expr(f)),
            _ => {}
        }
    }
}

/// Work that the storage nodes do on top of a scan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pushed {
    /// Conditions.
    pub filters: Vec<Expr>,
    /// Partial aggregation; its outputs replace the scan's.
    pub aggregate: Option<PushedAgg>,
    /// Order and limit.
    pub topn: Option<(Vec<SortKey>, u64)>,
    /// Limit.
    pub limit: Option<u64>,
}

/// Partial aggregation on the storage nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct PushedAgg {
    /// Groups.
    pub group: Vec<(Expr, ColId)>,
    /// Partial results.
    pub aggs: Vec<(AggCall, ColId)>,
}

/// Reading a table.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The table.
    pub table: Arc<TableInfo>,
    /// What its keys begin with; of a table with partitions those in the plan do, and none that there are.
    pub physical: PhysicalTableId,
    /// Which partitions, of a table that has some.
    pub partitions: Option<Box<Partitions>>,
    /// Its database.
    pub database: String,
    /// Its name in the statement.
    pub alias: String,
    /// Columns wanted: (offset in the table, number).
    pub columns: Vec<(usize, ColId)>,
    /// Number of the row handle, where it is wanted. It comes after the columns.
    pub handle: Option<ColId>,
    /// Conditions on its columns, not yet placed.
    pub filters: Vec<Expr>,
    /// Which keys.
    pub access: Access,
    /// Rows must come in key order (of the index or the handle); `true`: descending.
    pub order: Option<bool>,
    /// What the storage nodes do.
    pub pushed: Pushed,
    /// Conditions that this server checks on the rows.
    pub residual: Vec<Expr>,
    /// What is said of indexes, and their names.
    pub hints: Vec<(IndexHint, Vec<String>)>,
    /// What hints say of its part in joins.
    pub join_hint: JoinHint,
    /// Rows that are read are locked (`FOR UPDATE`).
    pub lock: Option<Lock>,
    /// Its rows are not rows of the statement: it is inside of a derived table, or of a view that puts rows together.
    pub inside: bool,
    /// It is inside of a derived table, where lock clauses outside don't reach; those of a view do.
    pub derived: bool,
    /// The view that it is part of: its database, and its name in the statement.
    pub view: Option<(String, String)>,
    /// Rough number of rows that the access yields.
    pub estimate: f64,
    /// What is known of the table's values.
    pub known: Arc<TableStatistics>,
}

/// Which partitions a scan reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Partitions {
    /// Positions of those that the statement names; `None`: it names none, and means all.
    pub named: Option<Vec<usize>>,
    /// Numbers of the columns that partitions depend on, by offset.
    pub ids: Vec<(usize, ColId)>,
    /// Conditions on them, which all rows of the scan satisfy.
    pub conditions: Vec<Expr>,
    /// Positions of those that are left by what is constant.
    pub known: Vec<usize>,
}

/// What hints say of a table's part in joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JoinHint {
    /// Whether it is to be looked up; nothing is said: the cheaper way.
    pub lookup: Option<bool>,
    /// Whether it is to be read in the order of the keys and merged; likewise.
    pub merge: Option<bool>,
    /// Its place among the tables that are joined first.
    pub place: Option<usize>,
}

/// `FOR UPDATE` and `FOR SHARE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// What is done about rows that others have locked.
    pub taken: Taken,
}

/// What a lock clause does about rows that others have locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It waits for them.
    Wait,
    /// It fails: `NOWAIT`.
    Fail,
    /// They are not there: `SKIP LOCKED`.
    Skip,
}

/// `USE`, `FORCE` or `IGNORE INDEX`, and hints about several indexes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexHint {
    /// Only these.
    Use,
    /// All but these.
    Ignore,
    /// Several of these together, or any where none is named.
    Merge,
    /// None of these together with others, or none at all where none is named.
    Apart,
}

impl Scan {
    /// Numbers of the rows it reads, before anything pushed changes them.
    pub fn base_outputs(&self) -> Vec<ColId> {
        self.columns.iter().map(|c| c.1).chain(self.handle).collect()
    }

    /// Offset in the table of a column number.
    pub fn offset_of(&self, id: ColId) -> Option<usize> {
        self.columns.iter().find(|c| c.1 == id).map(|c| c.0)
    }

    /// Column number of an offset in the table.
    pub fn id_of(&self, offset: usize) -> Option<ColId> {
        self.columns.iter().find(|c| c.0 == offset).map(|c| c.1)
    }
}

/// What a subquery is asked for.
#[derive(Debug, Clone)]
pub enum SubqueryKind {
    /// Its one value, NULL without rows.
    Scalar,
    /// Whether it has rows.
    Exists,
    /// The values of its one column, which are put where the slot is compared with: `x IN (slot)`, and `x op slot` for
    /// `x op ANY` and, with `all`, `x op ALL`.
    List {
        /// `ALL`.
        all: bool,
    },
    /// What a condition on a row outside and a row of it says of its rows.
    Test {
        /// Reads columns of both.
        condition: Expr,
        /// Of which rows.
        rows: TestRows,
    },
}

/// Of which rows a condition is to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestRows {
    /// Of the only one; NULL without rows, and more are an error.
    One,
    /// Of at least one.
    Any,
    /// Of all.
    All,
}

/// Adds the parameters that an expression reads.
pub fn add_params(e: &Expr, read: &mut HashSet<ColId>) {
    e.walk(&mut |e| {
        if let Expr::Param(param) = e {
            read.insert(param.id);
        }
    });
}

/// A subquery of an expression. Where its value is needed stands column `slot`.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// Column number that stands for the value.
    pub slot: ColId,
    /// What is asked.
    pub kind: SubqueryKind,
    /// The rows.
    pub plan: Plan,
}

impl Subquery {
    /// Calls `f` on every expression in it.
    pub fn each_expr(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        if let SubqueryKind::Test { condition, .. } = &mut self.kind {
            f(condition);
        }
        self.plan.each_expr(f);
    }

    /// Replaces columns by other expressions: by constants, once what the subquery depends on is known.
    pub fn bind_values(&mut self, values: &HashMap<ColId, Expr>) {
        self.each_expr(&mut |e| bind_values(e, values));
    }
}

/// A query that reads what it gave itself: WITH RECURSIVE.
#[derive(Debug, Clone)]
pub struct Recursive {
    /// Its name in the statement.
    pub name: String,
    /// Number of its work table.
    pub number: usize,
    /// Columns.
    pub ids: Vec<ColId>,
    /// What it begins with, then what each round adds: those read the rows of the round before as [`Plan::WorkTable`].
    pub inputs: Vec<Plan>,
    /// Rows that are there already are not added.
    pub distinct: bool,
    /// How many rows are needed at all.
    pub limit: Option<u64>,
}

/// A CTE, for all who name it.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Its number in the statement.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub ids: Vec<ColId>,
    /// Its rows, whose columns are these.
    pub plan: Plan,
}

/// A CTE where it is named.
#[derive(Debug, Clone)]
pub struct Cte {
    /// Which.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// What it is called here.
    pub alias: String,
    /// Numbers that its columns have here.
    pub ids: Vec<ColId>,
    /// Rough number of rows.
    pub rows: f64,
}

/// A plan.
#[derive(Debug, Clone, Default)]
pub enum Plan {
    /// One row without columns.
    #[default]
    One,
    /// No rows, with these columns.
    Nothing(Vec<ColId>),
    /// Constant rows.
    Values {
        /// Columns.
        ids: Vec<ColId>,
        /// Expressions that need no input.
        rows: Vec<Vec<Expr>>,
    },
    /// A table's rows.
    Scan(Box<Scan>),
    /// A table that the server computes.
    Memory {
        /// The table.
        table: Arc<TableInfo>,
        /// Its database.
        database: String,
        /// Columns wanted: (offset, number).
        columns: Vec<(usize, ColId)>,
    },
    /// Rows for which all conditions are true.
    Filter {
        /// Input.
        input: Box<Plan>,
        /// Conditions.
        conditions: Vec<Expr>,
    },
    /// Computed columns; nothing else passes.
    Project {
        /// Input.
        input: Box<Plan>,
        /// What and under which number.
        exprs: Vec<(Expr, ColId)>,
    },
    /// Two inputs.
    Join {
        /// How.
        kind: JoinKind,
        /// Left (outer) input.
        left: Box<Plan>,
        /// Right (inner) input.
        right: Box<Plan>,
        /// Pairs that must be equal: (of the left, of the right).
        equal: Vec<(Expr, Expr)>,
        /// Other conditions on a pair.
        other: Vec<Expr>,
        /// How rows of the right side are found.
        way: JoinWay,
    },
    /// Groups.
    Aggregate {
        /// Input.
        input: Box<Plan>,
        /// Group keys.
        group: Vec<(Expr, ColId)>,
        /// Results.
        aggs: Vec<(AggCall, ColId)>,
        /// The inputs are partial results of storage nodes.
        merge: bool,
    },
    /// Columns more, computed from the rows around each. Its rows come in the order of its keys: those of the partition
    /// upwards, then those of the order.
    Window {
        /// Input, in that order once the plan is placed.
        input: Box<Plan>,
        /// Rows with equal keys are a partition. Columns or constants, as the keys of the order.
        partition: Vec<Expr>,
        /// Their order in it.
        order: Vec<SortKey>,
        /// What and under which number.
        calls: Vec<(WindowCall, ColId)>,
    },
    /// Each row once.
    Distinct(Box<Plan>),
    /// In order; with a limit, only the first rows.
    Sort {
        /// Input.
        input: Box<Plan>,
        /// Keys.
        keys: Vec<SortKey>,
        /// How many rows from the first are needed at all.
        limit: Option<u64>,
    },
    /// Some of the rows.
    Limit {
        /// Input.
        input: Box<Plan>,
        /// Rows to skip.
        offset: u64,
        /// Rows to give.
        count: u64,
    },
    /// All rows of all inputs, whose columns correspond by position.
    Union {
        /// Inputs.
        inputs: Vec<Plan>,
        /// Columns.
        ids: Vec<ColId>,
    },
    /// Each row once with all keys, once without the last, …, and once without any: WITH ROLLUP.
    Expand {
        /// Input.
        input: Box<Plan>,
        /// Keys, and their numbers where some are NULL for being left out.
        group: Vec<(Expr, ColId)>,
        /// How many keys the row has.
        level: ColId,
    },
    /// Rounds of a query until one adds nothing.
    Recursive(Box<Recursive>),
    /// The rows of a [`Shared`] CTE.
    Cte(Box<Cte>),
    /// The rows that the last round added.
    WorkTable {
        /// Of which recursive query.
        number: usize,
        /// Its name in the statement.
        alias: String,
        /// Columns.
        ids: Vec<ColId>,
    },
    /// Each row as often as it says.
    Repeat {
        /// Input.
        input: Box<Plan>,
        /// How often; not at all if negative.
        times: Expr,
    },
    /// Each row of the left with the rows that the right gives for it: a derived table that reads columns of those before
    /// it. The right is planned last and once, with parameters for what it reads of the left; until then no rule looks inside.
    Lateral {
        /// Left.
        left: Box<Plan>,
        /// Right, over columns of the left.
        right: Box<Plan>,
        /// Rows of the left for which the right gives none come with NULLs.
        outer: bool,
    },
    /// A subquery that depends on the row, run for each.
    Apply {
        /// Input.
        input: Box<Plan>,
        /// Subquery; its slot is a column more.
        subquery: Box<Subquery>,
    },
}

impl Plan {
    /// Columns of its rows, in order.
    pub fn outputs(&self) -> Vec<ColId> {
        match self {
            Plan::One => Vec::new(),
            Plan::Nothing(ids) | Plan::Values { ids, .. } | Plan::Union { ids, .. } | Plan::WorkTable { ids, .. } => {
                ids.clone()
            }
            Plan::Recursive(recursive) => recursive.ids.clone(),
            Plan::Cte(cte) => cte.ids.clone(),
            Plan::Expand { input, group, level } => {
                let mut ids = input.outputs();
                ids.extend(group.iter().map(|g| g.1));
                ids.push(*level);
                ids
            }
            Plan::Scan(scan) => match &scan.pushed.aggregate {
                Some(agg) => agg.aggs.iter().map(|a| a.1).chain(agg.group.iter().map(|g| g.1)).collect(),
                None => scan.base_outputs(),
            },
            Plan::Memory { columns, .. } => columns.iter().map(|c| c.1).collect(),
            Plan::Filter { input, .. }
            | Plan::Sort { input, .. }
            | Plan::Limit { input, .. }
            | Plan::Repeat { input, .. }
            | Plan::Distinct(input) => input.outputs(),
            Plan::Project { exprs, .. } => exprs.iter().map(|e| e.1).collect(),
            Plan::Lateral { left, right, .. } => {
                let mut ids = left.outputs();
                ids.extend(right.outputs());
                ids
            }
            Plan::Join { kind, left, right, .. } => {
                let mut ids = left.outputs();
                if kind.has_right() {
                    ids.extend(right.outputs());
                }
                ids
            }
            Plan::Aggregate { group, aggs, .. } => group.iter().map(|g| g.1).chain(aggs.iter().map(|a| a.1)).collect(),
            Plan::Window { input, calls, .. } => {
                let mut ids = input.outputs();
                ids.extend(calls.iter().map(|c| c.1));
                ids
            }
            Plan::Apply { input, subquery } => {
                let mut ids = input.outputs();
                ids.push(subquery.slot);
                ids
            }
        }
    }

    /// Direct inputs.
    pub fn inputs(&self) -> Vec<&Plan> {
        match self {
            Plan::One | Plan::Nothing(_) | Plan::Values { .. } | Plan::Scan(_) => Vec::new(),
            Plan::Memory { .. } | Plan::WorkTable { .. } | Plan::Cte(_) => Vec::new(),
            Plan::Filter { input, .. }
            | Plan::Repeat { input, .. }
            | Plan::Expand { input, .. }
            | Plan::Project { input, .. }
            | Plan::Aggregate { input, .. }
            | Plan::Distinct(input)
            | Plan::Sort { input, .. }
            | Plan::Limit { input, .. }
            | Plan::Window { input, .. }
            | Plan::Apply { input, .. } => vec![input],
            Plan::Join { left, right, .. } | Plan::Lateral { left, right, .. } => vec![left, right],
            Plan::Union { inputs, .. } => inputs.iter().collect(),
            Plan::Recursive(recursive) => recursive.inputs.iter().collect(),
        }
    }

    /// The plans right below it as EXPLAIN shows them: its inputs, and the subquery of [`Plan::Apply`].
    pub fn below(&self) -> Vec<&Plan> {
        let mut below = self.inputs();
        if let Plan::Apply { subquery, .. } = self {
            below.push(&subquery.plan);
        }
        below
    }

    /// How many nodes it has, with all below.
    pub fn nodes(&self) -> usize {
        1 + self.below().into_iter().map(Plan::nodes).sum::<usize>()
    }

    /// The same, to be changed.
    pub fn inputs_mut(&mut self) -> Vec<&mut Plan> {
        match self {
            Plan::One | Plan::Nothing(_) | Plan::Values { .. } | Plan::Scan(_) => Vec::new(),
            Plan::Memory { .. } | Plan::WorkTable { .. } | Plan::Cte(_) => Vec::new(),
            Plan::Filter { input, .. }
            | Plan::Repeat { input, .. }
            | Plan::Expand { input, .. }
            | Plan::Project { input, .. }
            | Plan::Aggregate { input, .. }
            | Plan::Distinct(input)
            | Plan::Sort { input, .. }
            | Plan::Limit { input, .. }
            | Plan::Window { input, .. }
            | Plan::Apply { input, .. } => vec![input],
            Plan::Join { left, right, .. } | Plan::Lateral { left, right, .. } => vec![left, right],
            Plan::Union { inputs, .. } => inputs.iter_mut().collect(),
            Plan::Recursive(recursive) => recursive.inputs.iter_mut().collect(),
        }
    }

    /// Calls `f` on every expression of this node and below, those of subqueries too.
    pub fn each_expr(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        for input in self.inputs_mut() {
            input.each_expr(f);
        }
        fn calls(agg: &mut AggCall, f: &mut dyn FnMut(&mut Expr)) {
            agg.args.iter_mut().for_each(&mut *f);
            agg.order_by.iter_mut().for_each(|k| f(&mut k.expr));
        }
        match self {
            Plan::Values { rows, .. } => rows.iter_mut().flatten().for_each(f),
            Plan::Scan(scan) => {
                scan.filters.iter_mut().for_each(&mut *f);
                scan.residual.iter_mut().for_each(&mut *f);
                scan.pushed.filters.iter_mut().for_each(&mut *f);
                scan.access.each_expr(f);
                if let Some(partitions) = &mut scan.partitions {
                    partitions.conditions.iter_mut().for_each(&mut *f);
                }
                if let Some(agg) = &mut scan.pushed.aggregate {
                    agg.group.iter_mut().for_each(|g| f(&mut g.0));
                    agg.aggs.iter_mut().for_each(|a| calls(&mut a.0, f));
                }
                if let Some((keys, _)) = &mut scan.pushed.topn {
                    keys.iter_mut().for_each(|k| f(&mut k.expr));
                }
            }
            Plan::Filter { conditions, .. } => conditions.iter_mut().for_each(f),
            Plan::Repeat { times, .. } => f(times),
            Plan::Expand { group, .. } => group.iter_mut().for_each(|g| f(&mut g.0)),
            Plan::Project { exprs, .. } => exprs.iter_mut().for_each(|e| f(&mut e.0)),
            Plan::Join { equal, other, .. } => {
                for (a, b) in equal {
                    f(a);
                    f(b);
                }
                other.iter_mut().for_each(f);
            }
            Plan::Aggregate { group, aggs, .. } => {
                group.iter_mut().for_each(|g| f(&mut g.0));
                aggs.iter_mut().for_each(|a| calls(&mut a.0, f));
            }
            Plan::Sort { keys, .. } => keys.iter_mut().for_each(|k| f(&mut k.expr)),
            Plan::Window { partition, order, calls, .. } => {
                partition.iter_mut().for_each(&mut *f);
                order.iter_mut().for_each(|k| f(&mut k.expr));
                calls.iter_mut().for_each(|c| c.0.each_expr(f));
            }
            Plan::Apply { subquery, .. } => subquery.each_expr(f),
            _ => {}
        }
    }

    /// Whether a base table is read with (`locked`) or without a lock clause.
    pub fn reads(&self, locked: bool) -> bool {
        matches!(self, Plan::Scan(scan) if scan.lock.is_some() == locked)
            || matches!(self, Plan::Apply { subquery, .. } if subquery.plan.reads(locked))
            || self.inputs().into_iter().any(|i| i.reads(locked))
    }

    /// Every base table that is read.
    pub fn tables(&self, out: &mut Vec<Arc<TableInfo>>) {
        if let Plan::Scan(scan) = self {
            out.push(scan.table.clone());
        }
        if let Plan::Apply { subquery, .. } = self {
            subquery.plan.tables(out);
        }
        self.inputs().into_iter().for_each(|i| i.tables(out));
    }
}

/// The number of a plan's node, in the order in which EXPLAIN shows them: first a node, then all below it from the first to the
/// last. The nodes of subqueries that are run first follow those of the plan, and those of shared
/// CTEs are the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeId(pub usize);

impl NodeId {
    /// The number of a plan right below this one's, `plan`.
    pub fn below(self, plan: &Plan, n: usize) -> NodeId {
        NodeId(self.0 + 1 + plan.below()[..n].iter().map(|p| p.nodes()).sum::<usize>())
    }
}

impl Physical {
    /// The numbers of the first nodes of its subqueries.
    pub fn subquery_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.first_nodes().skip(1).take(self.subqueries.len())
    }

    /// The numbers of the first nodes of what is shared.
    pub fn shared_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.first_nodes().skip(1 + self.subqueries.len())
    }

    fn first_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.plans().scan(0, |next, plan| {
            let first = NodeId(*next);
            *next += plan.nodes();
            Some(first)
        })
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.plans().map(Plan::nodes).sum()
    }
}

/// Replaces columns by other expressions in one expression.
pub fn bind_values(e: &mut Expr, values: &HashMap<ColId, Expr>) {
    if e.columns().iter().any(|c| values.contains_key(c)) {
        let old = e.clone();
        let columns = column_exprs(&old);
        *e = old.substitute(&|i| match values.get(&i) {
            Some(v) => v.clone(),
            None => columns[&i].clone(),
        });
    }
}

/// Types of the columns in an expression.
pub fn column_types(e: &Expr) -> HashMap<ColId, FieldType> {
    let mut types = HashMap::new();
    e.walk(&mut |e| {
        if let Expr::Column { index, ty, .. } = e {
            types.insert(*index, ty.clone());
        }
    });
    types
}

/// The columns in an expression.
fn column_exprs(e: &Expr) -> HashMap<ColId, Expr> {
    let mut columns = HashMap::new();
    e.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            columns.insert(*index, e.clone());
        }
    });
    columns
}

/// Whether the expression reads only these columns.
pub fn reads_only(e: &Expr, ids: &HashSet<ColId>) -> bool {
    e.columns().iter().all(|c| ids.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_numbered_as_they_are_shown() {
        let join =
            |left: Plan, right: Plan| Plan::Lateral { left: Box::new(left), right: Box::new(right), outer: false };
        let limit = |input: Plan| Plan::Limit { input: Box::new(input), offset: 0, count: 1 };
        let plan = join(limit(join(Plan::One, Plan::One)), limit(Plan::One));
        assert_eq!(plan.nodes(), 7);
        let root = NodeId(10);
        assert_eq!([root.below(&plan, 0), root.below(&plan, 1)], [NodeId(11), NodeId(15)]);
        let subquery = Subquery { slot: 0, kind: SubqueryKind::Exists, plan: limit(Plan::One) };
        let apply = Plan::Apply { input: Box::new(limit(Plan::One)), subquery: Box::new(subquery.clone()) };
        assert_eq!(NodeId(0).below(&apply, 1), NodeId(3));
        let physical = Physical { plan, subqueries: vec![subquery.clone(), subquery], ..Physical::default() };
        assert_eq!(physical.subquery_nodes().collect::<Vec<_>>(), [NodeId(7), NodeId(9)]);
        assert_eq!(physical.nodes(), 11);
    }

    #[test]
    fn frames_are_worded_as_in_sql() {
        assert_eq!(Frame::unsaid(true).to_string(), "range between unbounded preceding and current row");
        assert_eq!(Frame::unsaid(false).to_string(), "rows between unbounded preceding and unbounded following");
        let frame = Frame { start: Edge::Preceding(2), end: Edge::Following(1), ..Frame::whole() };
        assert_eq!(frame.to_string(), "rows between 2 preceding and 1 following");
    }
}
