//! From a parsed statement to a plan.
//!
//! [`binder`] gives names and types their meaning and makes a [`plan::Plan`], with the wishes of [`hints`] in it; [`optimize`]
//! makes it cheap, with the rules [`unnest`], [`join_order`] and [`common_conditions`]; [`access`] chooses the keys that a scan
//! reads, [`partitions`] where, and [`ranges`] turns conditions into key ranges; [`estimate`] guesses numbers of rows, [`selectivity`] what
//! conditions leave of them; [`aggregate`] knows the aggregate functions, [`window`] the window functions; [`view`] makes
//! definitions of views; [`expr`] is the planner's side of expressions; [`explain`] shows a plan; [`shared`] are common table expressions
//! that are named more than once; [`inputs`] is what a plan
//! that is kept asks of each run; [`change`] is what a statement does with rows.
//!
//! May import `sql-base`, `sql-parser` for the trees that are bound and the text of views, `sql-catalog` for the schema and
//! the shape of index keys, `codec` and `query`.
//!
//! Nothing here reads a key or a clock: what a statement knows beside its text comes in through
//! [`binder::Environment`]. Not here: sessions, transactions, operators.

pub mod access;
pub mod aggregate;
pub mod binder;
pub mod change;
pub mod common_conditions;
mod decorrelate;
pub mod estimate;
pub mod explain;
pub mod expr;
pub mod hints;
pub mod inputs;
pub mod join_order;
pub mod optimize;
pub mod partitions;
pub mod plan;
pub mod ranges;
pub mod row_expr;
pub mod selectivity;
mod shared;
pub mod unnest;
pub mod view;
pub mod window;
