//! WITH RECURSIVE: rounds of a query over the rows of the round before, until one adds nothing.
//!
//! ```text
//! round 0: the seed         1
//! round 1: n + 1 of {1}     2
//! round 2: n + 1 of {2}     3
//! round 3: n + 1 of {3}     none, since n < 3: done
//! ```
//!
//! As MySQL keeps them in a table of the seed's columns, rows of later rounds are made to fit those: what is too long or
//! out of range is an error, or a warning without a strict SQL mode. All rounds are run before the first row is given; a
//! LIMIT of the query itself ends them early, one outside does not.
//!
//! The operators of a round are built anew for each, on plans that are optimized already; their scans of the work table
//! find its rows in the [`Runtime`]. Rows that are kept count as held until the operator is gone.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use async_trait::async_trait;
use codec::types::FieldType;
use query::batch::{Batch, ColumnBuilder, datum_at};
use query::context::sql_mode;
use query::error::Warning;
use query::types::Physical;
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_catalog::convert::{self, Context, Problem};
use sql_planner::plan::{NodeId, Plan, Recursive};

use crate::distinct::KEY_BYTES;
use crate::keys::row_key;
use crate::runtime::Runtime;
use crate::stream::{Build, Operator};

/// So many batches become one: many a round adds a single row, and a batch takes more than that.
const SMALL_BATCHES: usize = 256;

/// Builds the operator; `build` makes those of its rounds.
pub(crate) fn build(
    plan: &Recursive,
    inputs_at: Vec<NodeId>,
    build: Build,
    at: NodeId,
    rt: &mut Runtime,
) -> Box<dyn Operator> {
    Box::new(Recursion {
        columns: plan.ids.iter().map(|id| rt.columns.name(*id)).collect(),
        types: rt.columns.types(&plan.ids),
        plan: Some(plan.clone()),
        inputs_at,
        build,
        seen: HashSet::new(),
        held: rt.held_by(at),
        rows: Vec::new().into_iter(),
    })
}

struct Recursion {
    /// What is to be run, until it was.
    plan: Option<Recursive>,
    /// Numbers of its inputs' nodes.
    inputs_at: Vec<NodeId>,
    build: Build,
    /// Names of the columns, for messages.
    columns: Vec<String>,
    types: Arc<[FieldType]>,
    /// Keys of all rows, where each may come only once.
    seen: HashSet<Vec<u8>>,
    /// All rows, and their keys.
    held: Held,
    rows: std::vec::IntoIter<Batch>,
}

impl Recursion {
    async fn run(&mut self, plan: &Recursive, rt: &mut Runtime) -> Result<Vec<Batch>, SqlError> {
        let wanted = plan.limit.unwrap_or(u64::MAX);
        let (mut all, mut small) = (Vec::new(), Vec::new());
        let (mut count, mut rounds) = (0, 0);
        let mut inputs = 0..1;
        while count < wanted {
            let mut added = Vec::new();
            for input in inputs {
                added.extend(self.rows_of(&plan.inputs[input], self.inputs_at[input], plan.distinct, rt).await?);
            }
            if added.is_empty() {
                break;
            }
            count += added.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            small.extend(added.iter().cloned());
            if small.len() >= SMALL_BATCHES {
                all.push(Batch::concat(&self.types, &std::mem::take(&mut small))?);
            }
            if count >= wanted {
                break;
            }
            rounds += 1;
            if rounds > rt.rounds_max {
                return Err(SqlError::RecursionDepth(rounds));
            }
            rt.put_work_table(plan.number, added);
            inputs = 1..plan.inputs.len();
        }
        rt.put_work_table(plan.number, Vec::new());
        all.extend(small);
        Ok(all)
    }

    /// What an input adds: its rows as they are kept, those that are new if that is asked for.
    async fn rows_of(
        &mut self,
        input: &Plan,
        at: NodeId,
        distinct: bool,
        rt: &mut Runtime,
    ) -> Result<Vec<Batch>, SqlError> {
        let mut out = Vec::new();
        let mut operator = (self.build)(input, at, rt)?;
        while let Some(batch) = operator.next(rt).await? {
            // An endless recursion waits for nothing else.
            rt.pause().await?;
            let mut batch = self.fit(&batch, rt)?;
            let mut bytes = 0;
            if distinct {
                let columns: Vec<_> = batch.columns().iter().cloned().zip(self.types.iter().cloned()).collect();
                let mut new = Vec::new();
                for row in 0..batch.num_rows() {
                    let key = row_key(&columns, row, true)?.unwrap_or_default();
                    let length = key.len();
                    if self.seen.insert(key) {
                        bytes += length + KEY_BYTES;
                        new.push(row as u32);
                    }
                }
                if new.len() < batch.num_rows() {
                    batch = batch.take(&UInt32Array::from(new))?;
                }
            }
            if !batch.is_empty() {
                bytes += batch.data_bytes();
                out.push(batch);
            }
            self.held.grow(bytes)?;
        }
        Ok(out)
    }

    fn fit(&self, batch: &Batch, rt: &mut Runtime) -> Result<Batch, SqlError> {
        let columns = batch.columns().iter().enumerate().map(|(at, column)| {
            let (from, to) = (&batch.types()[at], &self.types[at]);
            if fits(from, to) { Ok(column.clone()) } else { self.fit_column(column, from, to, &self.columns[at], rt) }
        });
        Ok(Batch::new(self.types.clone(), columns.collect::<Result<_, SqlError>>()?, batch.num_rows()))
    }

    fn fit_column(
        &self,
        column: &ArrayRef,
        from: &FieldType,
        to: &FieldType,
        name: &str,
        rt: &mut Runtime,
    ) -> Result<ArrayRef, SqlError> {
        let rows = column.len();
        let mut builder = ColumnBuilder::new(to, rows);
        let mode = rt.eval(|cx| Ok(cx.sql_mode))?;
        let zone = rt.zone.clone();
        let no_zero_date = mode & sql_mode::NO_ZERO_DATE != 0;
        let cx = Context { column: name, row: 1, zone: &zone, no_zero_date };
        for row in 0..rows {
            let fitted = convert::convert(convert::as_written(datum_at(column, row, from), from, to), to, &cx);
            if let Some(problem) = fitted.problem.filter(|p| *p != Problem::Note) {
                rt.eval(|eval| {
                    if eval.is_strict() {
                        return Ok(Err(convert::error(&problem, &cx)));
                    }
                    let error = convert::error(&problem.of_warning(to), &cx);
                    eval.warn(Warning { code: error.code().0, message: error.to_string() });
                    Ok(Ok(()))
                })??;
            }
            builder.push(&fitted.value)?;
        }
        Ok(builder.finish())
    }
}

/// Whether all values of a type are values of the other as they are.
fn fits(from: &FieldType, to: &FieldType) -> bool {
    if Physical::of(from) != Physical::of(to) {
        return false;
    }
    match Physical::of(to) {
        Physical::Bytes => to.flen < 0 || (0..=to.flen).contains(&from.flen),
        Physical::Decimal128(_) | Physical::Decimal256(_) => from.flen <= to.flen,
        Physical::Int | Physical::UInt => from.tp == to.tp && from.elems == to.elems,
        _ => from.tp == to.tp && from.decimal == to.decimal,
    }
}

#[async_trait]
impl Operator for Recursion {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        if let Some(plan) = self.plan.take() {
            self.rows = self.run(&plan, rt).await?.into_iter();
        }
        Ok(self.rows.next())
    }
}

#[cfg(test)]
mod tests {
    use codec::types::TypeCode;

    use super::*;

    #[test]
    fn only_what_may_not_fit_is_converted() {
        let int = FieldType::new(TypeCode::Long);
        assert!(fits(&FieldType::bigint(), &FieldType::bigint()));
        assert!(!fits(&FieldType::bigint(), &int), "it may be out of range");
        assert!(!fits(&FieldType::bigint(), &FieldType::bigint_unsigned()));
        assert!(fits(&FieldType::varchar(3), &FieldType::varchar(5)));
        assert!(!fits(&FieldType::varchar(6), &FieldType::varchar(5)));
        assert!(!fits(&FieldType::varchar(-1), &FieldType::varchar(5)), "nobody knows how long");
        assert!(!fits(&FieldType::bigint(), &FieldType::varchar(20)));
        assert!(fits(&FieldType::decimal(10, 2), &FieldType::decimal(12, 2)));
        assert!(!fits(&FieldType::decimal(10, 2), &FieldType::decimal(12, 3)));
        assert!(!fits(&FieldType::decimal(12, 2), &FieldType::decimal(10, 2)));
        assert!(!fits(&FieldType::datetime(6), &FieldType::datetime(0)), "digits are rounded away");
    }
}
