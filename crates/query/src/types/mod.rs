//! What a type means beyond its name: which kind of value it has when it is computed with ([`EvalType`]), how a column of it
//! is laid out ([`Physical`]), and how many digits it takes ([`decimal_shape`]).
//!
//! The ground of this crate: nothing here knows expressions.

mod eval_type;
mod physical;
mod shape;

pub use eval_type::EvalType;
pub use physical::Physical;
pub use shape::{bool_type, decimal_shape, literal_type};
pub(crate) use shape::{decimal_type, span_type, text_type};
