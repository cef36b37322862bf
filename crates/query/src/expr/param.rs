//! A value that an expression has only when it is run.
//!
//! What a `?` or a variable stands for, what a row around a subquery holds and what a subquery answers are no part of a
//! plan: the plan has a [`Param`] there, and each run puts its own values in. Who plans may look at the value that a
//! statement was given ([`Param::look`]), and must then not use the plan for another one: the look is remembered
//! ([`Sample::was_looked_at`]). Who only needs to know of a pattern whether it begins with text asks for that
//! ([`Param::begins_with_text`]): the plan is then one for all patterns that do, or for all that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use codec::datum::Datum;
use codec::types::FieldType;

/// The value that a parameter has while its statement is planned.
#[derive(Debug)]
pub struct Sample {
    value: Datum,
    looked: AtomicBool,
    asked_for_beginning: AtomicBool,
}

/// Whether a LIKE pattern begins with text, and not with `%` or `_`. A character that is escaped is text.
pub fn begins_with_text(pattern: &Datum) -> bool {
    matches!(pattern, Datum::Bytes(b) if b.first().is_some_and(|b| !matches!(b, b'%' | b'_')))
}

impl Sample {
    /// Of this value, which is not NULL: what is NULL is a constant of the type that only NULL has.
    pub fn new(value: Datum) -> Sample {
        Sample { value, looked: AtomicBool::new(false), asked_for_beginning: AtomicBool::new(false) }
    }

    /// Whether somebody made something of the value itself.
    pub fn was_looked_at(&self) -> bool {
        self.looked.load(Ordering::Relaxed)
    }

    /// Whether somebody asked whether it begins with text; then whether it does.
    pub fn beginning(&self) -> Option<bool> {
        self.asked_for_beginning.load(Ordering::Relaxed).then(|| begins_with_text(&self.value))
    }

    /// The value, for who compares and decides nothing by it.
    pub fn value(&self) -> &Datum {
        &self.value
    }
}

/// A value that is known when the expression is run.
#[derive(Clone, Debug)]
pub struct Param {
    /// Unique among the columns and parameters of a statement.
    pub id: usize,
    /// The type of its values.
    pub ty: FieldType,
    /// It stands for a list of values, in a comparison that means any or all of them.
    pub many: bool,
    /// The value at hand while planning, if there is one.
    pub sample: Option<Arc<Sample>>,
}

impl PartialEq for Param {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.ty == other.ty
    }
}

impl Param {
    /// One value.
    pub fn one(id: usize, ty: FieldType) -> Param {
        Param { id, ty, many: false, sample: None }
    }

    /// The value at hand. What is made of it holds for this value only.
    pub fn look(&self) -> Option<&Datum> {
        let sample = self.sample.as_ref()?;
        sample.looked.store(true, Ordering::Relaxed);
        Some(&sample.value)
    }

    /// Whether the value at hand, a pattern, begins with text. What is made of it holds for other such values, too.
    pub fn begins_with_text(&self) -> Option<bool> {
        let sample = self.sample.as_ref()?;
        sample.asked_for_beginning.store(true, Ordering::Relaxed);
        sample.beginning()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{CmpOp, Expr};
    use crate::infer;

    fn param(value: Datum) -> (Expr, Arc<Sample>) {
        let ty = Expr::constant(value.clone()).ty().clone();
        let sample = Arc::new(Sample::new(value));
        (Expr::Param(Box::new(Param { id: 9, ty, many: false, sample: Some(sample.clone()) })), sample)
    }

    #[test]
    fn comparing_with_a_number_does_not_look_at_it() {
        let (e, sample) = param(Datum::Int(5));
        infer::compare(CmpOp::Eq, Expr::column(0, FieldType::bigint()), e.clone()).unwrap();
        infer::in_list(Expr::column(0, FieldType::bigint()), vec![e]).unwrap();
        assert!(!sample.was_looked_at());
    }

    #[test]
    fn text_beside_a_number_is_looked_at() {
        let (e, sample) = param(Datum::string("5"));
        infer::compare(CmpOp::Eq, Expr::column(0, FieldType::bigint()), e).unwrap();
        assert!(sample.was_looked_at(), "whether it is a whole number decides how both are compared");
    }

    #[test]
    fn digits_to_round_to_are_looked_at() {
        let (e, sample) = param(Datum::Int(2));
        crate::functions::call("round", vec![Expr::column(0, FieldType::decimal(10, 4)), e]).unwrap();
        assert!(sample.was_looked_at());
    }
}
