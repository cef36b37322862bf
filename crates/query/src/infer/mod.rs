//! MySQL's type rules: which domain an operator works in, what is cast, and the type of the result.
//!
//! Everything that builds expressions goes through here, so that [`crate::eval`] finds arguments of the kind it expects:
//!
//! - comparison: strings as strings, integers as integers, exact numbers as DECIMAL, dates with constants as dates, and all
//!   other mixes as DOUBLE ([`compare`]);
//! - arithmetic: DOUBLE if a side is DOUBLE or text, else DECIMAL, else BIGINT; `/` never in BIGINT ([`arith`]);
//! - results of CASE, IF, COALESCE, UNION: [`unify`];
//! - strings of two collations: an explicit COLLATE beats a column, a column beats a constant; binary beats text, `_bin`
//!   beats others of its character set ([`merge_collations`]).
//!
//! Nothing here evaluates a tree; [`crate::eval::fold`] replaces constant parts by their values. Constants are looked at
//! where the rules ask for their value: a number beside a date is a date if it names one.

mod arith;
mod cast;
mod collation;
mod compare;
mod control;
mod interval;
mod logic;
mod unify;

pub use arith::{arith, arith_with, bit, bit_not, exact, neg};
pub use cast::{bit_literal, cast, cast_to, number_of_bytes, to_eval_type};
pub use collation::{collate, merge_collations};
pub use compare::{between, compare, compare_rows, comparison_type, in_list, like, quantified, regexp};
pub use control::{case, coalesce, if_then};
pub use interval::{date_add, extract, timestamp_diff};
pub use logic::{and, any, every, is_false, is_null, is_true, not, or, xor};
pub use unify::{coerce, unify};

pub(crate) use arith::{arith_type, to_words};
pub(crate) use collation::coercibility;
pub(crate) use control::extreme;
