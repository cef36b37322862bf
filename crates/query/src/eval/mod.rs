//! Values of expressions: for a batch at once ([`eval`], [`filter`]), or for one row ([`eval_row`]).
//!
//! The row evaluator defines what every operator means. On batches, comparisons, logic, arithmetic, IN, LIKE and NULL tests
//! over integers, doubles, decimals of up to 38 digits, strings of byte-wise collations, dates and times run as loops over
//! Arrow buffers; whatever else there is in a tree is evaluated row by row. A vectorised operator evaluates all its
//! arguments for all rows, so AND, OR, IF and CASE take that way only when their arguments cannot fail or warn
//! ([`is_total`]); otherwise a division by zero would be reported for a row that a condition had excluded.

mod fold;
mod row;
mod vector;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};
use codec::datum::Datum;

use crate::batch::{Batch, ColumnBuilder};
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::{Expr, Func};
use crate::types::Physical;
use crate::value as cast;

pub use fold::fold;
pub use row::{BatchRow, Row, eval_row};
pub(crate) use row::{fit_integer, out_of_range};

/// The column of an expression's values for every row of a batch, laid out as its type says.
pub fn eval(expr: &Expr, batch: &Batch, ctx: &mut EvalContext) -> Result<ArrayRef> {
    match expr {
        Expr::Column { index, .. } => return Ok(batch.column(*index).clone()),
        Expr::Const { value, ty } => return crate::batch::repeat(value, ty, batch.num_rows()),
        Expr::Param(param) => return Err(EvalError::NoValue(param.id)),
        Expr::Call(call) => {
            if is_logical(call.func) && is_total(expr) {
                let truth = eval_truth(expr, batch, ctx)?;
                return Ok(Arc::new(truth.iter().map(|b| b.map(i64::from)).collect::<Int64Array>()));
            }
            if let Some(column) = vector::compute(call, batch, ctx)? {
                return Ok(column);
            }
        }
    }
    eval_by_row(expr, batch, ctx)
}

/// The same, row by row.
pub fn eval_by_row(expr: &Expr, batch: &Batch, ctx: &mut EvalContext) -> Result<ArrayRef> {
    let mut builder = ColumnBuilder::new(expr.ty(), batch.num_rows());
    for i in 0..batch.num_rows() {
        let value = eval_row(expr, &BatchRow(batch, i), ctx)?;
        builder.push(&value)?;
    }
    Ok(builder.finish())
}

/// Functions whose result is a truth value.
fn is_logical(func: Func) -> bool {
    matches!(
        func,
        Func::Compare(..)
            | Func::In(..)
            | Func::And
            | Func::Or
            | Func::Xor
            | Func::Not
            | Func::IsNull
            | Func::IsTrue
            | Func::IsFalse
            | Func::Like(_)
            | Func::Regexp(_)
    )
}

/// Whether evaluation cannot fail or warn on any row.
pub fn is_total(expr: &Expr) -> bool {
    match expr {
        Expr::Const { .. } | Expr::Column { .. } | Expr::Param(_) => true,
        Expr::Call(call) => {
            let here = match call.func {
                Func::And | Func::Or | Func::Xor | Func::Not | Func::IsTrue | Func::IsFalse => {
                    call.args.iter().all(|a| a.ty().tp.is_numeric())
                }
                Func::Compare(..) | Func::In(..) | Func::IsNull | Func::Like(_) | Func::Coalesce | Func::JsonAtom => {
                    true
                }
                _ => false,
            };
            here && call.args.iter().all(is_total)
        }
    }
}

/// Truth of an expression for every row: true, false, or null for unknown.
pub fn eval_truth(expr: &Expr, batch: &Batch, ctx: &mut EvalContext) -> Result<BooleanArray> {
    if let Expr::Call(call) = expr {
        match call.func {
            Func::And | Func::Or if is_total(expr) => {
                let (a, b) = (eval_truth(&call.args[0], batch, ctx)?, eval_truth(&call.args[1], batch, ctx)?);
                return Ok(vector::and_or(call.func == Func::And, &a, &b));
            }
            Func::Not => {
                let a = eval_truth(&call.args[0], batch, ctx)?;
                return Ok(BooleanArray::new(!a.values(), a.nulls().cloned()));
            }
            Func::IsTrue | Func::IsFalse => {
                let a = eval_truth(&call.args[0], batch, ctx)?;
                let want = call.func == Func::IsTrue;
                return Ok(a.iter().map(|b| Some(b == Some(want))).collect());
            }
            Func::IsNull => {
                let a = eval(&call.args[0], batch, ctx)?;
                return Ok((0..a.len()).map(|i| Some(a.is_null(i))).collect());
            }
            Func::Compare(..) | Func::In(..) | Func::Like(_) | Func::Regexp(_) => {
                if let Some(truth) = vector::predicate(call, batch, ctx)? {
                    return Ok(truth);
                }
            }
            _ => {}
        }
        if is_logical(call.func) {
            let mut out = Vec::with_capacity(batch.num_rows());
            for i in 0..batch.num_rows() {
                let v = eval_row(expr, &BatchRow(batch, i), ctx)?;
                out.push(cast::truth(&v, ctx)?);
            }
            return Ok(BooleanArray::from(out));
        }
    }
    if let Some(value) = expr.as_const() {
        let truth = cast::truth(value, ctx)?;
        return Ok(BooleanArray::from(vec![truth; batch.num_rows()]));
    }
    let column = eval(expr, batch, ctx)?;
    Ok(match Physical::of(expr.ty()) {
        Physical::Int => column.as_primitive::<Int64Type>().iter().map(|v| v.map(|v| v != 0)).collect(),
        Physical::UInt => column.as_primitive::<UInt64Type>().iter().map(|v| v.map(|v| v != 0)).collect(),
        Physical::Real => column.as_primitive::<Float64Type>().iter().map(|v| v.map(|v| v != 0.0)).collect(),
        _ => {
            let mut out = Vec::with_capacity(column.len());
            for i in 0..column.len() {
                out.push(cast::truth(&crate::batch::datum_at(&column, i, expr.ty()), ctx)?);
            }
            BooleanArray::from(out)
        }
    })
}

/// The rows where all conditions are true. Later conditions see only rows that passed the earlier ones.
pub fn filter(conditions: &[Expr], batch: Batch, ctx: &mut EvalContext) -> Result<Batch> {
    let mut batch = batch;
    for condition in conditions {
        if batch.is_empty() {
            break;
        }
        let keep = eval_truth(condition, &batch, ctx)?;
        batch = batch.filter(&keep)?;
    }
    Ok(batch)
}

/// The batch of these expressions' values.
pub fn project(
    exprs: &[Expr],
    types: &Arc<[codec::types::FieldType]>,
    batch: &Batch,
    ctx: &mut EvalContext,
) -> Result<Batch> {
    let columns = exprs.iter().map(|e| eval(e, batch, ctx)).collect::<Result<Vec<_>>>()?;
    Ok(Batch::new(types.clone(), columns, batch.num_rows()))
}

/// The value of an expression without columns.
pub fn eval_const(expr: &Expr, ctx: &mut EvalContext) -> Result<Datum> {
    eval_row(expr, [].as_slice(), ctx)
}

#[cfg(test)]
mod tests;
