//! Operators on batches: aggregation ([`HashAggregator`]), sort keys and top-n. Selection and projection are
//! [`crate::eval::filter`] and [`crate::eval::project`].

mod agg;
mod sort;
mod topn;

pub use agg::{AggFunc, Aggregate, HashAggregator};
pub use sort::{SortKey, sort_keys};
pub use topn::TopN;
