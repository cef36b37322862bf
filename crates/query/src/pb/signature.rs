//! Signatures by function and kind of arguments, both ways.

use codec::types::{FieldType, TypeCode};
use proto::tipb::{ExprType, ScalarFuncSig as Sig};

use crate::expr::{ArithOp, CmpOp, Expr};
use crate::ops::AggFunc;
use crate::scalar::ScalarFn;
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

/// (function, its signature for text or numbers, its signature for binary strings where that differs).
const SCALARS: &[(ScalarFn, Sig, Option<Sig>)] = &[
    (ScalarFn::BitCount, Sig::BitCount, None),
    (ScalarFn::DateFormat, Sig::DateFormatSig, None),
    (ScalarFn::DateDiff, Sig::DateDiff, None),
    (ScalarFn::Date, Sig::Date, None),
    (ScalarFn::Hour, Sig::Hour, None),
    (ScalarFn::Minute, Sig::Minute, None),
    (ScalarFn::Second, Sig::Second, None),
    (ScalarFn::MicroSecond, Sig::MicroSecond, None),
    (ScalarFn::Month, Sig::Month, None),
    (ScalarFn::MonthName, Sig::MonthName, None),
    (ScalarFn::DayName, Sig::DayName, None),
    (ScalarFn::Day, Sig::DayOfMonth, None),
    (ScalarFn::DayOfWeek, Sig::DayOfWeek, None),
    (ScalarFn::DayOfYear, Sig::DayOfYear, None),
    (ScalarFn::WeekDay, Sig::WeekDay, None),
    (ScalarFn::WeekOfYear, Sig::WeekOfYear, None),
    (ScalarFn::Year, Sig::Year, None),
    (ScalarFn::Quarter, Sig::Quarter, None),
    (ScalarFn::ToDays, Sig::ToDays, None),
    (ScalarFn::ToSeconds, Sig::ToSeconds, None),
    (ScalarFn::LastDay, Sig::LastDay, None),
    (ScalarFn::BitLength, Sig::BitLength, None),
    (ScalarFn::Ascii, Sig::Ascii, None),
    (ScalarFn::CharLength, Sig::CharLengthUtf8, Some(Sig::CharLength)),
    (ScalarFn::Concat, Sig::Concat, None),
    (ScalarFn::ConcatWs, Sig::ConcatWs, None),
    (ScalarFn::Ltrim, Sig::LTrim, None),
    (ScalarFn::Rtrim, Sig::RTrim, None),
    (ScalarFn::Left, Sig::LeftUtf8, Some(Sig::Left)),
    (ScalarFn::Right, Sig::RightUtf8, Some(Sig::Right)),
    (ScalarFn::Length, Sig::Length, None),
    (ScalarFn::Lower, Sig::LowerUtf8, Some(Sig::Lower)),
    (ScalarFn::Upper, Sig::UpperUtf8, Some(Sig::Upper)),
    (ScalarFn::Repeat, Sig::Repeat, None),
    (ScalarFn::Replace, Sig::Replace, None),
    (ScalarFn::Reverse, Sig::ReverseUtf8, Some(Sig::Reverse)),
    (ScalarFn::Space, Sig::Space, None),
    (ScalarFn::Strcmp, Sig::Strcmp, None),
    (ScalarFn::SubstringIndex, Sig::SubstringIndex, None),
    (ScalarFn::Unhex, Sig::UnHex, None),
];

pub(super) fn scalar_sig(f: ScalarFn, args: &[Expr]) -> Option<Sig> {
    let first = args.first().map(Expr::ty);
    let binary = first.is_some_and(FieldType::is_binary_string);
    let by_domain = |int: Sig, decimal: Sig, real: Sig| match EvalType::of(first?) {
        EvalType::Int => Some(int),
        EvalType::Decimal => Some(decimal),
        EvalType::Real => Some(real),
        _ => None,
    };
    match f {
        ScalarFn::Abs if first.is_some_and(FieldType::is_unsigned) => Some(Sig::AbsUInt),
        ScalarFn::Abs => by_domain(Sig::AbsInt, Sig::AbsDecimal, Sig::AbsReal),
        // The result of these on decimals depends on the digits; the type tells which of two it is.
        ScalarFn::Ceil => by_domain(Sig::CeilIntToInt, Sig::CeilDecToDec, Sig::CeilReal),
        ScalarFn::Floor => by_domain(Sig::FloorIntToInt, Sig::FloorDecToDec, Sig::FloorReal),
        ScalarFn::Round if args.len() == 1 => by_domain(Sig::RoundInt, Sig::RoundDec, Sig::RoundReal),
        ScalarFn::Round => by_domain(Sig::RoundWithFracInt, Sig::RoundWithFracDec, Sig::RoundWithFracReal),
        ScalarFn::Week if args.len() == 1 => Some(Sig::WeekWithoutMode),
        ScalarFn::Week => Some(Sig::WeekWithMode),
        ScalarFn::YearWeek if args.len() == 1 => Some(Sig::YearWeekWithoutMode),
        ScalarFn::YearWeek => Some(Sig::YearWeekWithMode),
        ScalarFn::Hex => match EvalType::of(first?) {
            EvalType::String => Some(Sig::HexStrArg),
            EvalType::Int => Some(Sig::HexIntArg),
            _ => None,
        },
        ScalarFn::Substring => Some(match (args.len(), binary) {
            (2, false) => Sig::Substring2ArgsUtf8,
            (2, true) => Sig::Substring2Args,
            (_, false) => Sig::Substring3ArgsUtf8,
            (_, true) => Sig::Substring3Args,
        }),
        ScalarFn::Trim if args.len() == 1 => Some(Sig::Trim1Arg),
        ScalarFn::Trim => Some(Sig::Trim2Args),
        f => {
            let (_, text, bin) = SCALARS.iter().find(|s| s.0 == f)?;
            Some(bin.filter(|_| binary).unwrap_or(*text))
        }
    }
}

pub(super) fn scalar_from(sig: Sig) -> Option<ScalarFn> {
    use Sig as S;
    Some(match sig {
        S::AbsInt | S::AbsUInt | S::AbsReal | S::AbsDecimal => ScalarFn::Abs,
        S::CeilIntToDec | S::CeilIntToInt | S::CeilDecToInt | S::CeilDecToDec | S::CeilReal => ScalarFn::Ceil,
        S::FloorIntToDec | S::FloorIntToInt | S::FloorDecToInt | S::FloorDecToDec | S::FloorReal => ScalarFn::Floor,
        S::RoundInt | S::RoundReal | S::RoundDec | S::RoundWithFracInt | S::RoundWithFracReal | S::RoundWithFracDec => {
            ScalarFn::Round
        }
        S::WeekWithMode | S::WeekWithoutMode => ScalarFn::Week,
        S::YearWeekWithMode | S::YearWeekWithoutMode => ScalarFn::YearWeek,
        S::HexStrArg | S::HexIntArg => ScalarFn::Hex,
        S::Substring2Args | S::Substring3Args | S::Substring2ArgsUtf8 | S::Substring3ArgsUtf8 => ScalarFn::Substring,
        S::Trim1Arg | S::Trim2Args => ScalarFn::Trim,
        sig => SCALARS.iter().find(|s| s.1 == sig || s.2 == Some(sig))?.0,
    })
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
