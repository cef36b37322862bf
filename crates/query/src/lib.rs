//! MySQL values, types, collations, expressions, columnar batches and vectorised operators: what the coprocessor of a
//! storage node and the executor of a SQL server share.
//!
//! Reading order, from the ground up; a module knows those before it only (a test sees to that):
//! 1. [`types`]: what a type means for computing; [`value`]: what a value becomes as text, as a number, in a comparison, in
//!    a column; [`context`]: what a statement knows (time zone, SQL mode, now, warnings);
//! 2. [`calendar`], [`interval`], [`digest`]: weeks and formats, units of time, hashes; [`batch`]: rows in columns;
//! 3. [`expr`]: expressions with settled types;
//! 4. [`infer`] builds them by MySQL's type rules;
//! 5. [`eval`]: values of an expression for a batch (vectorised) or a row;
//! 6. [`functions`]: the table of functions, one row each, with their kernels;
//! 7. [`ops`]: operators on batches: aggregation with partial and final modes, sort keys, top-n;
//! 8. [`pb`]: expressions as tipb messages, for pushdown.
//!
//! Not here: SQL text, plans, network, clocks.

#[cfg(test)]
mod arrows;

pub mod batch;
pub mod calendar;
pub mod context;
pub mod digest;
pub mod error;
pub mod eval;
pub mod expr;
pub mod functions;
pub mod infer;
pub mod interval;
pub mod ops;
pub mod pb;
pub mod types;
pub mod value;
pub mod zone;

/// The arrays in a [`Batch`], for users of this crate.
pub use arrow_array;
pub use batch::{Batch, BatchBuilder, ColumnBuilder};
pub use context::EvalContext;
pub use error::{EvalError, Result, Warning};
pub use expr::{Call, CmpOp, Expr, Func};
pub use types::EvalType;
