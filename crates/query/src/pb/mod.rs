//! Expressions, types and aggregates as tipb messages, both ways.
//!
//! A tipb signature names a function and the kind of its arguments; ours are a [`Func`] and a [`EvalType`]. [`to_pb`] gives
//! `None` for whatever has no signature, or whose meaning on a storage node could differ (session functions, JSON, ENUM):
//! such an expression stays on the SQL server. [`from_pb`] refuses unknown signatures by number.
//!
//! Constants travel as in TiDB: integers, doubles, times and durations in their eight sortable bytes, decimals with
//! precision and scale in front, strings raw. Collations of strings are negative, which is how the original marks that
//! `_bin` pads with spaces.
//!
//! TIMESTAMP constants and columns are in the session's zone here, as everywhere in this crate.

mod decode;
mod encode;
mod signature;
mod types;

pub use decode::{aggregate_from_pb, from_pb};
pub use encode::{aggregate_to_pb, can_push, to_pb, uses_timestamp};
pub use types::{column_to_pb, column_type, field_type_from_pb, field_type_to_pb};
