//! Changes of rows, planned: INSERT, REPLACE, UPDATE and DELETE, as the steps that a row takes.
//!
//! ```text
//!   rows        the query's, those of VALUES, or rows of tables that are found and locked
//!   -> steps    what is set, each fitted into its column; defaults; what has to be true ([`Step`])
//!   -> conflict what becomes of a row whose primary or unique key is taken: perhaps it goes, or takes steps of its own
//!   -> write    the row, and its entries in the indexes of the table, where the row belongs
//! ```
//!
//! New rows, rows that are in their way and rows that are updated take steps of the same kind: the executor carries them out,
//! EXPLAIN shows them. The rows are a [`crate::plan::Plan`] beside this. Nothing here holds values of a run: parameters and
//! subqueries stay parameters, so that a kept plan serves again. Not here: how the steps are done (`sql-exec`).

use std::collections::HashMap;
use std::sync::Arc;

use query::expr::Expr;
use sql_base::SqlError;
use sql_catalog::{ColumnInfo, TableInfo};

use crate::plan::{ColId, Columns, Logical, Plan, Shared, Subquery};

/// A table that the statement changes: its columns' numbers by offset, and its handle's.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table.
    pub table: Arc<TableInfo>,
    /// Its database.
    pub database: String,
    /// Its name in the statement; that of the view that it is part of.
    pub alias: String,
    /// Numbers of its columns by offset.
    pub ids: Vec<ColId>,
    /// Number of the row's handle.
    pub handle: ColId,
    /// What its rows go through; nothing where they are removed.
    pub steps: Vec<Step>,
    /// Positions of the partitions that the statement names.
    pub named: Option<Vec<usize>>,
}

/// Whose demand a check is.
#[derive(Debug, Clone)]
pub enum CheckOf {
    /// The CHECK OPTION of a view (`db.view`), and of those that it is made of: conditions have to be true.
    View(String),
    /// A CHECK constraint: its condition must not be false.
    Constraint(String),
}

/// What a row has to be.
#[derive(Debug, Clone)]
pub struct Check {
    /// Who says so.
    pub of: CheckOf,
    /// The conditions, over columns of tables.
    pub conditions: Vec<Expr>,
}

/// Where a column's value comes from.
#[derive(Debug, Clone)]
pub enum Value {
    /// An expression without columns, or over earlier columns of the row.
    Expr(Expr),
    /// DEFAULT, or not named.
    Default,
}

impl Value {
    /// The expression, where it is one.
    pub fn expr(&self) -> Option<&Expr> {
        match self {
            Value::Expr(e) => Some(e),
            Value::Default => None,
        }
    }

    /// The same.
    pub fn expr_mut(&mut self) -> Option<&mut Expr> {
        match self {
            Value::Expr(e) => Some(e),
            Value::Default => None,
        }
    }
}

/// A step of a row on its way into a table. Columns of the table are told by their offsets.
#[derive(Debug, Clone)]
pub enum Step {
    /// Columns take values, one after the other: each sees those before. NULL is refused where it has no place.
    Values(Vec<(usize, Value)>),
    /// A row that is as it was goes no further. In others these columns become the moment (ON UPDATE CURRENT_TIMESTAMP).
    Changed(Vec<usize>),
    /// Generated columns are computed, one after the other.
    Generated(Vec<(usize, Expr)>),
    /// Something has to be true.
    Check(Check),
}

impl Step {
    /// Its expressions.
    pub fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Step::Values(set) => set.iter_mut().filter_map(|(_, value)| value.expr_mut()).collect(),
            Step::Changed(_) => Vec::new(),
            Step::Generated(columns) => columns.iter_mut().map(|(_, e)| e).collect(),
            Step::Check(check) => check.conditions.iter_mut().collect(),
        }
    }

    /// Its expressions.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Step::Values(set) => set.iter().filter_map(|(_, value)| value.expr()).collect(),
            Step::Changed(_) => Vec::new(),
            Step::Generated(columns) => columns.iter().map(|(_, e)| e).collect(),
            Step::Check(check) => check.conditions.iter().collect(),
        }
    }
}

/// The steps of a row that is there and is changed: these values are set, and then what follows from them.
pub(crate) fn steps_of_change(table: &TableInfo, set: Vec<(usize, Value)>, then: Vec<Step>) -> Vec<Step> {
    let touched = |c: &&ColumnInfo| c.on_update_now && !set.iter().any(|(offset, _)| *offset == c.offset);
    let now = table.writable_columns().filter(touched).map(|c| c.offset).collect();
    let mut steps = vec![Step::Values(set), Step::Changed(now)];
    steps.extend(then);
    steps
}

/// What becomes of a new row whose key is taken.
#[derive(Debug, Clone)]
pub enum Conflict {
    /// The statement fails.
    Refuse,
    /// The row is left out (IGNORE).
    Skip,
    /// Those that are there go (REPLACE).
    Replace,
    /// The one that is there is changed (ON DUPLICATE KEY UPDATE).
    Update {
        /// What it goes through.
        steps: Vec<Step>,
        /// Where it finds the columns that it reads: among those of the old row, of the new one, and of the query, one after
        /// the other.
        at: HashMap<ColId, usize>,
    },
}

/// INSERT and REPLACE.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table that rows are added to.
    pub table: Arc<TableInfo>,
    /// Positions of the partitions that the statement names.
    pub named: Option<Vec<usize>>,
    /// Offsets of the columns that values are given for, in their order.
    pub offsets: Vec<usize>,
    /// The values of the rows; `None`: the rows of the plan are the values.
    pub values: Option<Vec<Vec<Value>>>,
    /// The other columns: they take their defaults.
    pub defaults: Vec<usize>,
    /// What the rows go through then, once they have ids.
    pub steps: Vec<Step>,
    /// Where in the row so far values and steps find the columns that they read.
    pub at: HashMap<ColId, usize>,
    /// Values that do not fit are warnings.
    pub ignore: bool,
    /// What becomes of duplicates.
    pub conflict: Conflict,
    /// The view that is inserted through, `db.view`.
    pub view: Option<String>,
    /// The client is told how many rows and duplicates there were, whatever their number.
    pub counts: bool,
}

/// UPDATE and DELETE: which rows, and what is set.
#[derive(Debug, Clone)]
pub struct Change {
    /// The tables whose rows are changed, and how.
    pub targets: Vec<Target>,
    /// Rows are those of one table.
    pub single: bool,
    /// Values that do not fit are warnings.
    pub ignore: bool,
    /// The statement has a LIMIT.
    pub limited: bool,
}

/// What is done with rows.
#[derive(Debug, Clone)]
pub enum Action {
    /// INSERT and REPLACE.
    Insert(Box<Insert>),
    /// UPDATE.
    Update(Change),
    /// DELETE.
    Delete(Change),
}

impl Action {
    /// The tables that are changed, each once.
    pub fn tables(&self) -> Vec<&Arc<TableInfo>> {
        match self {
            Action::Insert(insert) => vec![&insert.table],
            Action::Update(change) | Action::Delete(change) => {
                let mut tables: Vec<&Arc<TableInfo>> = Vec::new();
                for target in &change.targets {
                    if !tables.iter().any(|table| table.id == target.table.id) {
                        tables.push(&target.table);
                    }
                }
                tables
            }
        }
    }
}

/// A change, bound.
#[derive(Debug)]
pub struct Bound {
    /// Its rows.
    pub rows: Logical,
    /// What is done with them.
    pub action: Action,
    /// Tables that lock clauses of its subqueries lock.
    pub locked: Vec<Arc<TableInfo>>,
    /// What is asked of each run, if the plan is to be kept.
    pub inputs: Vec<crate::inputs::Input>,
    /// Hints that are not followed.
    pub warnings: Vec<SqlError>,
}

/// The steps of a change, for EXPLAIN: of each its name, the object, and what is said of it. The last is done last.
pub fn shown(action: &Action, columns: &Columns) -> Vec<[String; 3]> {
    let step = |name: &str, object: String, info: String| [name.to_owned(), object, info];
    let mut out = Vec::new();
    match action {
        Action::Insert(insert) => {
            let table = &insert.table;
            let object = format!("table:{}", table.name);
            if !insert.defaults.is_empty() {
                out.push(step("Defaults", object.clone(), names(table, &insert.defaults)));
            }
            out.extend(insert.steps.iter().filter_map(|s| shown_step(s, table, &table.name.original, columns)));
            let keys = unique_keys(table);
            let then = match &insert.conflict {
                Conflict::Refuse => "refuse".to_owned(),
                Conflict::Skip => "skip".to_owned(),
                Conflict::Replace => "replace".to_owned(),
                Conflict::Update { steps, .. } => {
                    let of = |s| shown_step(s, table, "", columns).map(|[name, _, info]| (name, info));
                    let said = steps.iter().filter_map(of).map(|(name, info)| match &*name {
                        "Values" => format!("update {info}"),
                        name => format!("{} {info}", name.to_lowercase()),
                    });
                    said.collect::<Vec<_>>().join("; ")
                }
            };
            if !keys.is_empty() {
                out.push(step("Duplicates", format!("{object}, key:{keys}"), then));
            }
        }
        Action::Update(change) | Action::Delete(change) => {
            for target in &change.targets {
                out.extend(target.steps.iter().filter_map(|s| shown_step(s, &target.table, &target.alias, columns)));
            }
        }
    }
    for table in action.tables() {
        let indexes: Vec<&str> = table.maintained_indexes().map(|(index, _)| index.name.as_str()).collect();
        let said = if indexes.is_empty() { String::new() } else { format!("index:{}", indexes.join(", ")) };
        out.push(step("Write", format!("table:{}", table.name), said));
    }
    out
}

fn names(table: &TableInfo, offsets: &[usize]) -> String {
    let names = offsets.iter().filter_map(|o| table.columns.get(*o)).map(|c| c.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// A step of rows of a table that the statement calls `alias`. What concerns no column is not shown.
fn shown_step(step: &Step, table: &TableInfo, alias: &str, columns: &Columns) -> Option<[String; 3]> {
    let named = |e: &Expr| query::expr::Named(e, |i| columns.name(i)).to_string();
    let list = |exprs: &[Expr]| exprs.iter().map(named).collect::<Vec<_>>().join(", ");
    let set = |(offset, value): &(usize, Value)| {
        let column = table.columns.get(*offset)?;
        Some(format!("{}:={}", column.name, value.expr().map_or_else(|| "DEFAULT".to_owned(), named)))
    };
    let of_table = format!("table:{alias}");
    let (name, object, info) = match step {
        Step::Values(values) => ("Values", of_table, values.iter().filter_map(set).collect::<Vec<_>>().join(", ")),
        Step::Changed(now) if now.is_empty() => return None,
        Step::Changed(now) => ("Changed", of_table, format!("now:{}", names(table, now))),
        Step::Generated(computed) => {
            let one = |(offset, e): &(usize, Expr)| Some(format!("{}:={}", table.columns.get(*offset)?.name, named(e)));
            ("Generated", of_table, computed.iter().filter_map(one).collect::<Vec<_>>().join(", "))
        }
        Step::Check(Check { of, conditions }) => {
            let of = match of {
                CheckOf::View(view) => format!("view:{view}"),
                CheckOf::Constraint(name) => format!("{of_table}, constraint:{name}"),
            };
            ("Check", of, list(conditions))
        }
    };
    Some([name.to_owned(), object, info])
}

/// The keys of a table that refuse duplicates.
fn unique_keys(table: &TableInfo) -> String {
    let own = table.pk_is_handle.then_some("PRIMARY");
    let others = table.public_indexes().filter(|index| index.unique).map(|index| index.name.as_str());
    own.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

/// A projection of the columns that a change needs, so that nothing else is read.
pub(crate) fn keep_columns(plan: Plan, targets: &[Target], others: &[&Expr], columns: &Columns) -> Plan {
    let mut ids: Vec<ColId> = targets.iter().flat_map(|t| t.ids.iter().copied().chain([t.handle])).collect();
    for e in others {
        ids.extend(e.columns());
    }
    let available = plan.outputs();
    ids.retain(|i| available.contains(i));
    ids.sort_unstable();
    ids.dedup();
    let exprs = ids.into_iter().map(|id| (columns.expr(id), id)).collect();
    Plan::Project { input: Box::new(plan), exprs }
}

/// What is run first of a change that has no rows of tables.
pub(crate) fn no_rows(subqueries: Vec<Subquery>, shared: Vec<Shared>, columns: Columns) -> Logical {
    Logical { plan: Plan::One, subqueries, shared, columns }
}
