//! From a parsed statement to a plan.
//!
//! [`binder`] gives names and types their meaning and makes a [`plan::Plan`]; [`optimize`] makes it cheap; [`ranges`] turns
//! conditions into key ranges; [`aggregate`] knows the aggregate functions; [`expr`] is the planner's side of expressions.
//!
//! Nothing here reads a key or a clock.

pub mod aggregate;
pub mod binder;
pub mod expr;
pub mod optimize;
pub mod plan;
pub mod ranges;
