//! What a value becomes: as text ([`print`]), as a number, time or JSON ([`cast`]), in a comparison ([`compare`]), in a
//! column ([`store`]). Both tiers ask here, so that they never differ.
//!
//! A conversion that loses something tells the context, which warns or fails as the statement wants. TIMESTAMP values are
//! in the session's zone everywhere in this crate; whoever reads or writes rows converts from and to UTC
//! ([`crate::context::TimeZone::timestamp_to_local`], [`crate::context::TimeZone::timestamp_to_utc`]).

mod cast;
mod compare;
mod json;
mod number;
mod pattern;
mod print;
mod store;
mod time;

pub use cast::{cast, transcode, truth};
pub use compare::compare;
pub use json::{json_to_datum, to_json};
pub use number::{duration_to_decimal, text_to_f64, time_to_decimal, to_decimal, to_f64};
pub use pattern::{Pattern, regex, regex_of_type};
pub use print::{display, enum_name, format_float, format_float32, set_names, to_text};
pub use store::{Fitted, Problem, StoreContext, fit, store};
pub use time::{to_duration, to_time};
