//! Signatures of operators by kind of arguments, both ways. Those of functions are in the table of functions.

use codec::types::{FieldType, TypeCode};
use proto::tipb::{ExprType, ScalarFuncSig as Sig};

use crate::expr::{ArithOp, CmpOp};
use crate::ops::AggFunc;
use crate::types::EvalType;

/// One signature for each domain, where there is one.
pub(super) struct Family([Option<Sig>; 6]);

const DOMAINS: [EvalType; 6] =
    [EvalType::Int, EvalType::Real, EvalType::Decimal, EvalType::String, EvalType::Time, EvalType::Duration];

impl Family {
    const fn all(int: Sig, real: Sig, decimal: Sig, string: Sig, time: Sig, duration: Sig) -> Family {
        Family([Some(int), Some(real), Some(decimal), Some(string), Some(time), Some(duration)])
    }

    pub(super) fn pick(&self, domain: EvalType) -> Option<Sig> {
        DOMAINS.iter().position(|d| *d == domain).and_then(|i| self.0[i])
    }

    pub(super) fn domain_of(&self, sig: Sig) -> Option<EvalType> {
        self.0.iter().position(|s| *s == Some(sig)).map(|i| DOMAINS[i])
    }
}

macro_rules! family {
    ($name:ident, $int:ident $real:ident $decimal:ident $string:ident $time:ident $duration:ident) => {
        pub(super) const $name: Family =
            Family::all(Sig::$int, Sig::$real, Sig::$decimal, Sig::$string, Sig::$time, Sig::$duration);
    };
}

family!(EQ, EqInt EqReal EqDecimal EqString EqTime EqDuration);
family!(NE, NeInt NeReal NeDecimal NeString NeTime NeDuration);
family!(LT, LtInt LtReal LtDecimal LtString LtTime LtDuration);
family!(LE, LeInt LeReal LeDecimal LeString LeTime LeDuration);
family!(GT, GtInt GtReal GtDecimal GtString GtTime GtDuration);
family!(GE, GeInt GeReal GeDecimal GeString GeTime GeDuration);
family!(NULL_EQ, NullEqInt NullEqReal NullEqDecimal NullEqString NullEqTime NullEqDuration);
family!(IN, InInt InReal InDecimal InString InTime InDuration);
family!(IS_NULL, IntIsNull RealIsNull DecimalIsNull StringIsNull TimeIsNull DurationIsNull);
family!(IF, IfInt IfReal IfDecimal IfString IfTime IfDuration);
family!(IF_NULL, IfNullInt IfNullReal IfNullDecimal IfNullString IfNullTime IfNullDuration);
family!(COALESCE, CoalesceInt CoalesceReal CoalesceDecimal CoalesceString CoalesceTime CoalesceDuration);
family!(CASE, CaseWhenInt CaseWhenReal CaseWhenDecimal CaseWhenString CaseWhenTime CaseWhenDuration);
pub(super) const GREATEST: Family = Family([
    Some(Sig::GreatestInt),
    Some(Sig::GreatestReal),
    Some(Sig::GreatestDecimal),
    Some(Sig::GreatestString),
    None,
    None,
]);
pub(super) const LEAST: Family =
    Family([Some(Sig::LeastInt), Some(Sig::LeastReal), Some(Sig::LeastDecimal), Some(Sig::LeastString), None, None]);

pub(super) const COMPARISONS: [(CmpOp, &Family); 7] = [
    (CmpOp::Eq, &EQ),
    (CmpOp::Ne, &NE),
    (CmpOp::Lt, &LT),
    (CmpOp::Le, &LE),
    (CmpOp::Gt, &GT),
    (CmpOp::Ge, &GE),
    (CmpOp::NullEq, &NULL_EQ),
];

pub(super) fn compare_sig(op: CmpOp, domain: EvalType) -> Option<Sig> {
    COMPARISONS.iter().find(|c| c.0 == op).and_then(|c| c.1.pick(domain))
}

pub(super) fn arith_sig(op: ArithOp, domain: EvalType, unsigned: bool) -> Option<Sig> {
    Some(match (op, domain) {
        (ArithOp::Add, EvalType::Int) => Sig::PlusInt,
        (ArithOp::Add, EvalType::Real) => Sig::PlusReal,
        (ArithOp::Add, EvalType::Decimal) => Sig::PlusDecimal,
        (ArithOp::Sub, EvalType::Int) => Sig::MinusInt,
        (ArithOp::Sub, EvalType::Real) => Sig::MinusReal,
        (ArithOp::Sub, EvalType::Decimal) => Sig::MinusDecimal,
        (ArithOp::Mul, EvalType::Int) if unsigned => Sig::MultiplyIntUnsigned,
        (ArithOp::Mul, EvalType::Int) => Sig::MultiplyInt,
        (ArithOp::Mul, EvalType::Real) => Sig::MultiplyReal,
        (ArithOp::Mul, EvalType::Decimal) => Sig::MultiplyDecimal,
        (ArithOp::Div, EvalType::Real) => Sig::DivideReal,
        (ArithOp::Div, EvalType::Decimal) => Sig::DivideDecimal,
        (ArithOp::IntDiv, EvalType::Int) => Sig::IntDivideInt,
        (ArithOp::IntDiv, EvalType::Decimal) => Sig::IntDivideDecimal,
        (ArithOp::Mod, EvalType::Int) => Sig::ModInt,
        (ArithOp::Mod, EvalType::Real) => Sig::ModReal,
        (ArithOp::Mod, EvalType::Decimal) => Sig::ModDecimal,
        _ => return None,
    })
}

pub(super) fn arith_from(sig: Sig) -> Option<(ArithOp, EvalType)> {
    use Sig as S;
    Some(match sig {
        S::PlusInt
        | S::PlusIntUnsignedUnsigned
        | S::PlusIntUnsignedSigned
        | S::PlusIntSignedUnsigned
        | S::PlusIntSignedSigned => (ArithOp::Add, EvalType::Int),
        S::PlusReal => (ArithOp::Add, EvalType::Real),
        S::PlusDecimal => (ArithOp::Add, EvalType::Decimal),
        S::MinusInt
        | S::MinusIntUnsignedUnsigned
        | S::MinusIntUnsignedSigned
        | S::MinusIntSignedUnsigned
        | S::MinusIntSignedSigned => (ArithOp::Sub, EvalType::Int),
        S::MinusReal => (ArithOp::Sub, EvalType::Real),
        S::MinusDecimal => (ArithOp::Sub, EvalType::Decimal),
        S::MultiplyInt | S::MultiplyIntUnsigned => (ArithOp::Mul, EvalType::Int),
        S::MultiplyReal => (ArithOp::Mul, EvalType::Real),
        S::MultiplyDecimal => (ArithOp::Mul, EvalType::Decimal),
        S::DivideReal => (ArithOp::Div, EvalType::Real),
        S::DivideDecimal => (ArithOp::Div, EvalType::Decimal),
        S::IntDivideInt
        | S::IntDivideIntUnsignedUnsigned
        | S::IntDivideIntUnsignedSigned
        | S::IntDivideIntSignedSigned
        | S::IntDivideIntSignedUnsigned => (ArithOp::IntDiv, EvalType::Int),
        S::IntDivideDecimal => (ArithOp::IntDiv, EvalType::Decimal),
        S::ModInt
        | S::ModIntUnsignedUnsigned
        | S::ModIntUnsignedSigned
        | S::ModIntSignedUnsigned
        | S::ModIntSignedSigned => (ArithOp::Mod, EvalType::Int),
        S::ModReal => (ArithOp::Mod, EvalType::Real),
        S::ModDecimal => (ArithOp::Mod, EvalType::Decimal),
        _ => return None,
    })
}

/// Casts by target (rows: from; columns: to), in the order of [`DOMAINS`].
pub(super) const CASTS: [[Sig; 6]; 6] = [
    [
        Sig::CastIntAsInt,
        Sig::CastIntAsReal,
        Sig::CastIntAsDecimal,
        Sig::CastIntAsString,
        Sig::CastIntAsTime,
        Sig::CastIntAsDuration,
    ],
    [
        Sig::CastRealAsInt,
        Sig::CastRealAsReal,
        Sig::CastRealAsDecimal,
        Sig::CastRealAsString,
        Sig::CastRealAsTime,
        Sig::CastRealAsDuration,
    ],
    [
        Sig::CastDecimalAsInt,
        Sig::CastDecimalAsReal,
        Sig::CastDecimalAsDecimal,
        Sig::CastDecimalAsString,
        Sig::CastDecimalAsTime,
        Sig::CastDecimalAsDuration,
    ],
    [
        Sig::CastStringAsInt,
        Sig::CastStringAsReal,
        Sig::CastStringAsDecimal,
        Sig::CastStringAsString,
        Sig::CastStringAsTime,
        Sig::CastStringAsDuration,
    ],
    [
        Sig::CastTimeAsInt,
        Sig::CastTimeAsReal,
        Sig::CastTimeAsDecimal,
        Sig::CastTimeAsString,
        Sig::CastTimeAsTime,
        Sig::CastTimeAsDuration,
    ],
    [
        Sig::CastDurationAsInt,
        Sig::CastDurationAsReal,
        Sig::CastDurationAsDecimal,
        Sig::CastDurationAsString,
        Sig::CastDurationAsTime,
        Sig::CastDurationAsDuration,
    ],
];

pub(super) fn cast_sig(from: &FieldType, to: &FieldType) -> Option<Sig> {
    if matches!(to.tp, TypeCode::Year | TypeCode::Null) || from.tp == TypeCode::Null {
        return None;
    }
    let at = |ty: &FieldType| DOMAINS.iter().position(|d| *d == EvalType::of(ty));
    match (EvalType::of(from), EvalType::of(to)) {
        // A time of day becomes a date by the statement's own day, which storage nodes are not told.
        (EvalType::Duration, EvalType::Time) => None,
        _ => Some(CASTS[at(from)?][at(to)?]),
    }
}

pub(super) const AGGREGATES: [(AggFunc, ExprType); 9] = [
    (AggFunc::Count, ExprType::Count),
    (AggFunc::Sum, ExprType::Sum),
    (AggFunc::Avg, ExprType::Avg),
    (AggFunc::Min, ExprType::Min),
    (AggFunc::Max, ExprType::Max),
    (AggFunc::First, ExprType::First),
    (AggFunc::BitAnd, ExprType::AggBitAnd),
    (AggFunc::BitOr, ExprType::AggBitOr),
    (AggFunc::BitXor, ExprType::AggBitXor),
];
