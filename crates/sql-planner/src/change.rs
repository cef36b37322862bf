//! Changes of rows, planned: INSERT, REPLACE, UPDATE and DELETE, as the steps that a row takes.
//!
//! ```text
//!   rows        the query's, those of VALUES, or rows of tables that are found and locked
//!   -> values   what is set, fitted into the columns; defaults of columns that nobody names
//!   -> checks   NOT NULL, CHECK OPTION of views
//!   -> conflict what becomes of a row whose primary or unique key is taken
//!   -> write    the row, and its entries in the indexes of the table
//! ```
//!
//! The rows are a [`crate::plan::Plan`] beside this. Nothing here holds values of a run: parameters and subqueries stay
//! parameters, so that a kept plan serves again. Not here: the steps themselves (`sql-exec`).

use std::collections::HashMap;
use std::sync::Arc;

use query::expr::Expr;
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
    /// Positions of the partitions that the statement names.
    pub named: Option<Vec<usize>>,
}

/// The CHECK OPTION of a view, and of those that it is made of.
#[derive(Debug, Clone)]
pub struct Check {
    /// `db.view`.
    pub view: String,
    /// What has to be true, over columns of tables.
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
    /// The one that is there is changed (ON DUPLICATE KEY UPDATE): offsets of columns, and their values.
    Update(Vec<(usize, Expr)>),
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
    /// Where in the row so far values find the columns that they read.
    pub row_ids: HashMap<ColId, usize>,
    /// Values that do not fit are warnings.
    pub ignore: bool,
    /// A check of a new row.
    pub check: Option<Check>,
    /// Where in a row of the table the check finds its columns.
    pub check_at: HashMap<ColId, usize>,
    /// What becomes of duplicates.
    pub conflict: Conflict,
    /// Where ON DUPLICATE KEY UPDATE finds the columns that it reads: among those of the old row, of the new one, and of the
    /// query, one after the other.
    pub conflict_at: HashMap<ColId, usize>,
    /// The view that is inserted through, `db.view`.
    pub view: Option<String>,
    /// The client is told how many rows and duplicates there were, whatever their number.
    pub counts: bool,
}

/// UPDATE and DELETE: which rows, and what is set.
#[derive(Debug, Clone)]
pub struct Change {
    /// The tables whose rows are changed.
    pub targets: Vec<Target>,
    /// (target, column offset, value).
    pub assignments: Vec<(usize, usize, Value)>,
    /// What views say of rows that are written through them.
    pub checks: Vec<Check>,
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
}

/// A step of a change, for EXPLAIN: its name, the object, and what is said of it. The last is done last.
pub fn steps(action: &Action, columns: &Columns) -> Vec<[String; 3]> {
    let name = |e: &Expr| query::expr::Named(e, |i| columns.name(i)).to_string();
    let list = |exprs: &[Expr]| exprs.iter().map(name).collect::<Vec<_>>().join(", ");
    let value = |column: &ColumnInfo, value: Option<&Expr>| {
        format!("{}:={}", column.name, value.map_or_else(|| "DEFAULT".to_owned(), name))
    };
    let step = |name: &str, object: String, info: String| [name.to_owned(), object, info];
    let mut out = Vec::new();
    let checked = |table: &TableInfo, set: &mut dyn Iterator<Item = usize>| {
        let names = set.filter_map(|o| table.columns.get(o)).filter(|c| c.field_type.is_not_null());
        names.map(|c| c.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    match action {
        Action::Insert(insert) => {
            let table = &insert.table;
            let object = format!("table:{}", table.name);
            let unnamed = table.writable_columns().filter(|c| !insert.offsets.contains(&c.offset));
            let unnamed: Vec<String> = unnamed.map(|c| c.name.to_string()).collect();
            if !unnamed.is_empty() {
                out.push(step("Defaults", object.clone(), unnamed.join(", ")));
            }
            let not_null = checked(table, &mut table.writable_columns().map(|c| c.offset));
            if !not_null.is_empty() {
                out.push(step("Check", object.clone(), format!("not null:{not_null}")));
            }
            if let Some(check) = &insert.check {
                out.push(step("Check", format!("view:{}", check.view), list(&check.conditions)));
            }
            let keys = unique_keys(table);
            let then = match &insert.conflict {
                Conflict::Refuse => "refuse".to_owned(),
                Conflict::Skip => "skip".to_owned(),
                Conflict::Replace => "replace".to_owned(),
                Conflict::Update(set) => {
                    let set = set.iter().filter_map(|(o, e)| Some(value(table.columns.get(*o)?, Some(e))));
                    format!("update {}", set.collect::<Vec<_>>().join(", "))
                }
            };
            if !keys.is_empty() {
                out.push(step("Duplicates", format!("{object}, key:{keys}"), then));
            }
        }
        Action::Update(change) => {
            let set = change.assignments.iter().filter_map(|(target, offset, e)| {
                let column = change.targets.get(*target)?.table.columns.get(*offset)?;
                Some(value(column, e.expr()))
            });
            out.push(step("Values", String::new(), set.collect::<Vec<_>>().join(", ")));
            for (at, target) in change.targets.iter().enumerate() {
                let mut of_target = change.assignments.iter().filter(|a| a.0 == at).map(|a| a.1);
                let not_null = checked(&target.table, &mut of_target);
                if !not_null.is_empty() {
                    out.push(step("Check", format!("table:{}", target.alias), format!("not null:{not_null}")));
                }
            }
            for check in &change.checks {
                out.push(step("Check", format!("view:{}", check.view), list(&check.conditions)));
            }
        }
        Action::Delete(_) => {}
    }
    for table in action.tables() {
        let indexes: Vec<&str> = table.maintained_indexes().map(|(index, _)| index.name.as_str()).collect();
        let said = if indexes.is_empty() { String::new() } else { format!("index:{}", indexes.join(", ")) };
        out.push(step("Write", format!("table:{}", table.name), said));
    }
    out
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
