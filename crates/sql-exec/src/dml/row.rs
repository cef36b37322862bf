//! A row on its way into a table: the steps of [`sql_planner::change::Step`], done for one row after the other, whether it is
//! new, in the way of a new one, or updated.
//!
//! Not here: its ids ([`super::ids`]), who is in its way ([`super::duplicates`]), keys ([`crate::writer`]).

use std::collections::HashMap;

use codec::datum::Datum;
use codec::types::{FieldType, flags};
use query::context::TimeZone;
use query::expr::Expr;
use query::value::truth;
use sql_base::SqlError;
use sql_catalog::{ColumnInfo, TableInfo, row};
use sql_planner::change::{Check, CheckOf, Step};
use sql_planner::plan::ColId;

use super::fitting::Fitting;
use crate::runtime::{Runtime, resolve};
use crate::subqueries::SubqueryValues;

/// A row on its way.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What will be stored of it, by offset.
    pub(super) new: Vec<Datum>,
    /// What expressions see: its own columns, in the session's zone, and perhaps others. Made when the first expression asks.
    seen: Option<Vec<Datum>>,
}

impl Row {
    /// A row that has nothing yet.
    pub(super) fn empty(table: &TableInfo) -> Row {
        Row { new: vec![Datum::Null; table.columns.len()], seen: None }
    }

    /// A row that is there, among what expressions see.
    pub(super) fn of(stored: Vec<Datum>, seen: Vec<Datum>) -> Row {
        Row { new: stored, seen: Some(seen) }
    }

    /// What expressions see of it now.
    pub(super) fn into_seen(self) -> Vec<Datum> {
        self.seen.unwrap_or_default()
    }
}

/// How far a row came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// To the end.
    Reached,
    /// Nothing of it has changed.
    Same,
    /// It may not be; a warning says why.
    Refused,
}

/// Steps, with the expressions of this run.
pub(super) struct Way<'p> {
    pub(super) table: &'p TableInfo,
    steps: Vec<Step>,
    /// Where columns are in what a row's expressions see, by offset.
    own: Vec<Option<usize>>,
    /// Rows are new: what AUTO_INCREMENT will give may be NULL until then.
    new: bool,
    /// NULL is refused as in a statement of one row.
    single: bool,
}

impl<'p> Way<'p> {
    /// Of rows of a table, whose steps find columns at these places.
    pub(super) fn of_run(
        table: &'p TableInfo,
        steps: &[Step],
        at: &HashMap<ColId, usize>,
        values: &SubqueryValues,
        rt: &mut Runtime,
    ) -> Result<Way<'p>, SqlError> {
        let mut steps = steps.to_vec();
        for e in steps.iter_mut().flat_map(Step::exprs_mut) {
            values.apply_expr(e, rt)?;
            *e = resolve(e, at)?;
        }
        Ok(Way { table, steps, own: (0..table.columns.len()).map(Some).collect(), new: false, single: true })
    }

    /// Its columns are elsewhere among what expressions see.
    pub(super) fn with_columns_at(self, own: Vec<Option<usize>>) -> Way<'p> {
        Way { own, ..self }
    }

    /// Its rows are new, and the statement has perhaps several.
    pub(super) fn of_new_rows(self, single: bool) -> Way<'p> {
        Way { new: true, single, ..self }
    }

    /// Whether the statement gives the column a value.
    pub(super) fn sets(&self, offset: usize) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Values(set) if set.iter().any(|(own, _)| *own == offset)))
    }

    /// Takes a row through all steps; `old` is what it was.
    pub(super) fn walk(
        &self,
        row: &mut Row,
        old: Option<&[Datum]>,
        fitting: &mut Fitting,
        rt: &mut Runtime,
    ) -> Result<End, SqlError> {
        for step in &self.steps {
            match step {
                Step::Values(set) => {
                    for (offset, value) in set {
                        self.assign(row, *offset, value.expr(), fitting, rt)?;
                    }
                }
                Step::Changed(_) if old.is_some_and(|old| same_row(self.table, old, &row.new)) => {
                    return Ok(End::Same);
                }
                Step::Changed(now) => {
                    for offset in now {
                        let now = fitting.now(&self.column(*offset).field_type);
                        self.put(row, *offset, now, &fitting.zone);
                    }
                }
                Step::Generated(columns) => {
                    for (offset, e) in columns {
                        self.assign(row, *offset, Some(e), fitting, rt)?;
                    }
                }
                Step::Check(check) => {
                    if let Err(refused) = self.check(check, row, rt)? {
                        fitting.refuse(refused)?;
                        return Ok(End::Refused);
                    }
                }
            }
        }
        Ok(End::Reached)
    }

    /// Gives a column the value of an expression over what is seen of the row; `None` is its default.
    pub(super) fn assign(
        &self,
        row: &mut Row,
        offset: usize,
        e: Option<&Expr>,
        fitting: &mut Fitting,
        rt: &mut Runtime,
    ) -> Result<(), SqlError> {
        let d = match e {
            None => fitting.default(self.column(offset))?,
            Some(Expr::Const { value, ty }) => return self.fit(row, offset, (value.clone(), ty), fitting),
            Some(e) => {
                let d = self.eval(row, e, rt)?;
                return self.fit(row, offset, (d, e.ty()), fitting);
            }
        };
        self.set(row, offset, d, fitting)
    }

    /// Gives a column a value of this type.
    pub(super) fn fit(
        &self,
        row: &mut Row,
        offset: usize,
        (d, from): (Datum, &FieldType),
        fitting: &mut Fitting,
    ) -> Result<(), SqlError> {
        let d = fitting.fit(d, from, self.column(offset))?;
        self.set(row, offset, d, fitting)
    }

    /// Gives a column a value as it is stored, or refuses it if it is NULL.
    pub(super) fn set(&self, row: &mut Row, offset: usize, d: Datum, fitting: &mut Fitting) -> Result<(), SqlError> {
        let column = self.column(offset);
        let given_later = self.new && column.field_type.has(flags::AUTO_INCREMENT);
        let d = if given_later { d } else { fitting.check_null(d, column, self.single)? };
        self.put(row, offset, d, &fitting.zone);
        Ok(())
    }

    fn put(&self, row: &mut Row, offset: usize, d: Datum, zone: &TimeZone) {
        if let (Some(seen), Some(at)) = (&mut row.seen, self.own[offset]) {
            seen[at] = row::to_local(d.clone(), &self.column(offset).field_type, zone);
        }
        row.new[offset] = d;
    }

    fn column(&self, offset: usize) -> &'p ColumnInfo {
        &self.table.columns[offset]
    }

    fn eval(&self, row: &mut Row, e: &Expr, rt: &mut Runtime) -> Result<Datum, SqlError> {
        let seen = row.seen.get_or_insert_with(|| local(self.table, &row.new, &rt.zone));
        rt.eval(|cx| query::eval::eval_row(e, seen, cx))
    }

    /// Whether the row is as it has to be: else the error.
    fn check(&self, check: &Check, row: &mut Row, rt: &mut Runtime) -> Result<Result<(), SqlError>, SqlError> {
        for e in &check.conditions {
            let value = self.eval(row, e, rt)?;
            match (rt.eval(|cx| truth(&value, cx))?, &check.of) {
                (Some(true), _) | (None, CheckOf::Constraint(_)) => {}
                (_, CheckOf::View(view)) => return Ok(Err(SqlError::ViewCheckFailed(view.clone()))),
                (Some(false), CheckOf::Constraint(name)) => return Ok(Err(SqlError::CheckViolated(name.clone()))),
            }
        }
        Ok(Ok(()))
    }
}

/// A row as expressions see it: TIMESTAMPs in the session's zone.
pub(super) fn local(table: &TableInfo, row: &[Datum], zone: &TimeZone) -> Vec<Datum> {
    row.iter().zip(&table.columns).map(|(d, c)| row::to_local(d.clone(), &c.field_type, zone)).collect()
}

/// Whether a change changes nothing: bytes count, not collations.
pub(super) fn same_row(table: &TableInfo, old: &[Datum], new: &[Datum]) -> bool {
    old.iter().zip(new).zip(&table.columns).all(|((a, b), c)| match (a, b) {
        (Datum::Float(x), Datum::Float(y)) => x.to_bits() == y.to_bits(),
        (a, b) => a == b || !c.is_writable(),
    })
}
