//! MySQL values, types, collations, expressions, columnar batches and vectorised operators: what the coprocessor of a
//! storage node and the executor of a SQL server share.
//!
//! Reading order:
//! 1. [`batch`]: rows in columns;
//! 2. [`expr`]: expressions with settled types; [`infer`] builds them by MySQL's type rules; [`scalar`] lists functions;
//! 3. [`context`]: what a statement knows (time zone, SQL mode, now, warnings);
//! 4. [`eval`]: values of an expression for a batch (vectorised) or a row; [`cast`]: conversions between types;
//!    [`mod@print`]: values as clients read them;
//! 5. [`agg`]: aggregate functions with partial and final modes; [`ops`]: operators on batches;
//! 6. [`pb`]: expressions as tipb messages, for pushdown.
//!
//! Not here: SQL text, plans, network, clocks.

pub mod agg;
pub mod batch;
pub mod calendar;
pub mod cast;
pub mod context;
pub mod digest;
pub mod error;
pub mod eval;
pub mod expr;
pub mod infer;
pub mod interval;
pub mod ops;
pub mod pb;
pub mod print;
pub mod scalar;

/// The arrays in a [`Batch`], for users of this crate.
pub use arrow_array;
pub use batch::{Batch, BatchBuilder, ColumnBuilder};
pub use context::EvalContext;
pub use error::{EvalError, Result, Warning};
pub use expr::{Call, CmpOp, Domain, Expr, Func};
