//! What a plan that is kept asks of each run: the values of `?` and of variables.
//!
//! A plan is made for types, and a run may bring any values of them. Types are taken wide: an integer of any length, text up
//! to the next power of two. NULL is a type of its own. Where the planner had to look at a value (how many digits to round
//! to, whether text is a number), the plan is for that value only, and [`Kept`] remembers it.
//!
//! Not here: where plans are kept and found again (`sql-exec`).

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode};
use query::expr::{Expr, Param, Sample, begins_with_text};

use crate::plan::{ColId, Columns};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The `?` of this place, from 0.
    Placeholder(usize),
    /// `@name` or `@@name`, as it was written.
    Variable(String),
}

/// A value that a statement was given while it is planned.
#[derive(Debug, Clone)]
pub struct Input {
    source: Source,
    id: ColId,
    ty: FieldType,
    sample: Option<Arc<Sample>>,
}

impl Input {
    /// For a value of this type.
    pub fn new(source: Source, value: Datum, ty: FieldType, columns: &mut Columns) -> Input {
        let ty = planned_type(&value, ty);
        let id = columns.add("?", ty.clone());
        let sample = (!value.is_null()).then(|| Arc::new(Sample::new(value)));
        Input { source, id, ty, sample }
    }

    /// Where it comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What stands for it in the plan. A NULL is known by its type, and stands for itself.
    pub fn expr(&self) -> Expr {
        match &self.sample {
            None => Expr::Const { value: Datum::Null, ty: self.ty.clone() },
            sample => Expr::Param(Box::new(Param { sample: sample.clone(), ..Param::one(self.id, self.ty.clone()) })),
        }
    }

    /// What the plan, now made, asks of a run.
    pub fn kept(self) -> Kept {
        let beginning = self.sample.as_ref().and_then(|s| s.beginning());
        let value = self.sample.filter(|s| s.was_looked_at()).map(|s| s.value().clone());
        Kept { source: self.source, id: self.id, ty: self.ty, value, beginning }
    }
}

/// What a plan asks of one value of a run.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Where it comes from.
    pub source: Source,
    /// The parameter whose value it is.
    pub id: ColId,
    ty: FieldType,
    value: Option<Datum>,
    /// Whether the values begin with text, where that made a difference.
    beginning: Option<bool>,
}

impl Kept {
    /// Whether the plan is one for this value, whose type is `ty`.
    pub fn takes(&self, value: &Datum, ty: FieldType) -> bool {
        self.ty == planned_type(value, ty)
            && self.value.as_ref().is_none_or(|known| known == value)
            && self.beginning.is_none_or(|begins| begins == begins_with_text(value))
    }
}

/// The least text that types tell apart, in characters.
const TEXT_MIN: u32 = 256;

/// The type of a value, and of others that are planned alike.
fn planned_type(value: &Datum, ty: FieldType) -> FieldType {
    if value.is_null() {
        return FieldType::new(TypeCode::Null);
    }
    if ty.tp.is_integer() {
        let any = if ty.is_unsigned() { FieldType::bigint_unsigned() } else { FieldType::bigint() };
        return FieldType { flags: ty.flags, ..any };
    }
    if ty.tp.is_string() {
        let length = u32::try_from(ty.flen).map_or(-1, |n| {
            i32::try_from(n.max(TEXT_MIN).checked_next_power_of_two().unwrap_or(u32::MAX)).unwrap_or(i32::MAX)
        });
        return FieldType { flen: length, ..ty };
    }
    ty
}

#[cfg(test)]
mod tests {
    use query::expr::CmpOp;
    use query::infer;

    use super::*;
    use crate::expr::parameter_type;

    fn input(value: Datum) -> Input {
        let ty = parameter_type(&value, codec::types::Collation::DEFAULT);
        Input::new(Source::Placeholder(0), value, ty, &mut Columns::default())
    }

    fn takes(kept: &Kept, value: Datum) -> bool {
        let ty = parameter_type(&value, codec::types::Collation::DEFAULT);
        kept.takes(&value, ty)
    }

    #[test]
    fn a_plan_is_for_all_values_of_a_type() {
        let kept = input(Datum::Int(5)).kept();
        assert!(takes(&kept, Datum::Int(-1_000_000)));
        assert!(!takes(&kept, Datum::UInt(5)));
        assert!(!takes(&kept, Datum::Null));
        assert!(!takes(&kept, Datum::string("5")));
        let kept = input(Datum::string("a")).kept();
        assert!(takes(&kept, Datum::string("another")));
        assert!(!takes(&kept, Datum::string("x".repeat(300).as_str())));
        assert!(takes(&input(Datum::Null).kept(), Datum::Null));
    }

    #[test]
    fn a_pattern_that_begins_with_text_is_for_all_that_do() {
        let pattern = input(Datum::string("a%"));
        let like = infer::like(Expr::column(0, FieldType::varchar(9)), pattern.expr(), Some('\\')).unwrap();
        assert!(crate::ranges::outline(&like, 0).is_some());
        let kept = pattern.kept();
        assert!(takes(&kept, Datum::string("bcd%e")));
        assert!(takes(&kept, Datum::string("\\%x")));
        assert!(!takes(&kept, Datum::string("%b")));
        assert!(!takes(&kept, Datum::string("")));
    }

    #[test]
    fn a_value_that_was_looked_at_is_the_only_one() {
        let text = input(Datum::string("5"));
        infer::compare(CmpOp::Eq, Expr::column(0, FieldType::bigint()), text.expr()).unwrap();
        let kept = text.kept();
        assert!(takes(&kept, Datum::string("5")));
        assert!(!takes(&kept, Datum::string("5x")), "it is compared as a float");
    }
}
