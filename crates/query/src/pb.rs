//! Expressions, types and aggregates as tipb messages, both ways.
//!
//! A tipb signature names a function and the kind of its arguments; ours are a [`Func`] and a [`Domain`]. [`to_pb`] gives
//! `None` for whatever has no signature, or whose meaning on a storage node could differ (session functions, JSON, ENUM):
//! such an expression stays on the SQL server. [`from_pb`] refuses unknown signatures by number.
//!
//! Constants travel as in TiDB: integers, doubles, times and durations in their eight sortable bytes, decimals with
//! precision and scale in front, strings raw. Collations of strings are negative, which is how the original marks that
//! `_bin` pads with spaces.
//!
//! TIMESTAMP constants and columns are in the session's zone here, as everywhere in this crate.

use codec::datum::{self, Datum};
use codec::number;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode, flags};
use proto::tipb::{self, ExprType, ScalarFuncSig as Sig};

use crate::agg::{AggFunc, Aggregate};
use crate::error::{EvalError, Result};
use crate::expr::{ArithOp, BitOp, CmpOp, Domain, Expr, Func, bool_type};
use crate::scalar::ScalarFn;

/// Whether storage nodes can evaluate it.
pub fn can_push(expr: &Expr) -> bool {
    to_pb(expr).is_some()
}

/// Whether a TIMESTAMP is in it, whose value depends on the session's zone.
pub fn uses_timestamp(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= e.ty().tp == TypeCode::Timestamp);
    found
}

// ------------------------------------------------------------------------------------------------------------- types

/// A type as expressions carry it.
pub fn field_type_to_pb(ty: &FieldType) -> tipb::FieldType {
    let text = ty.tp.is_string() || matches!(ty.tp, TypeCode::Enum | TypeCode::Set);
    let id = i32::from(ty.collation.id());
    tipb::FieldType {
        tp: ty.tp as i32,
        flag: ty.flags,
        flen: ty.flen,
        decimal: ty.decimal,
        collate: if text { -id } else { id },
        charset: ty.collation.charset().into(),
        elems: ty.elems.clone(),
    }
}

fn type_code(tp: i32) -> Result<TypeCode> {
    u8::try_from(tp).ok().and_then(TypeCode::from_u8).ok_or_else(|| EvalError::Unsupported(format!("column type {tp}")))
}

fn collation(id: i32) -> Result<Collation> {
    match id {
        0 => Ok(Collation::BINARY),
        id => Collation::from_id(id).ok_or_else(|| EvalError::Unsupported(format!("collation {}", id.unsigned_abs()))),
    }
}

/// A type of an expression.
pub fn field_type_from_pb(ty: &tipb::FieldType) -> Result<FieldType> {
    Ok(FieldType {
        tp: type_code(ty.tp)?,
        flags: ty.flag,
        flen: ty.flen,
        decimal: ty.decimal,
        collation: collation(ty.collate)?,
        elems: ty.elems.clone(),
    })
}

/// A column of a scan. `default` is the value of rows that are older than the column: an encoded datum, or nothing.
pub fn column_to_pb(id: i64, ty: &FieldType, is_handle: bool, default: Option<&Datum>) -> Result<tipb::ColumnInfo> {
    let pb = field_type_to_pb(ty);
    let mut default_val = Vec::new();
    if let Some(value) = default.filter(|d| !d.is_null()) {
        datum::encode_value(&mut default_val, value)?;
    }
    Ok(tipb::ColumnInfo {
        column_id: id,
        tp: pb.tp,
        collation: pb.collate,
        column_len: ty.flen,
        decimal: ty.decimal,
        flag: ty.flags as i32,
        elems: pb.elems,
        default_val,
        pk_handle: is_handle,
    })
}

/// The type of a scanned column.
pub fn column_type(column: &tipb::ColumnInfo) -> Result<FieldType> {
    Ok(FieldType {
        tp: type_code(column.tp)?,
        flags: column.flag as u32,
        flen: column.column_len,
        decimal: column.decimal,
        collation: collation(column.collation)?,
        elems: column.elems.clone(),
    })
}

// -------------------------------------------------------------------------------------------------------- expressions

fn leaf(tp: ExprType, val: Vec<u8>, ty: &FieldType) -> tipb::Expr {
    tipb::Expr { tp: tp.into(), val, field_type: Some(field_type_to_pb(ty)), ..Default::default() }
}

fn encoded(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut buf = Vec::with_capacity(8);
    f(&mut buf);
    buf
}

fn constant_to_pb(value: &Datum, ty: &FieldType) -> Option<tipb::Expr> {
    let (tp, val) = match value {
        Datum::Null => (ExprType::Null, Vec::new()),
        Datum::Int(v) => (ExprType::Int64, encoded(|b| number::encode_i64(b, *v))),
        Datum::UInt(v) => (ExprType::Uint64, encoded(|b| number::encode_u64(b, *v))),
        Datum::Float(v) => (ExprType::Float64, encoded(|b| number::encode_f64(b, *v))),
        Datum::Decimal(d) => {
            let mut val = Vec::new();
            datum::encode_decimal(&mut val, d, None).ok()?;
            (ExprType::MysqlDecimal, val)
        }
        Datum::Bytes(v) => (ExprType::String, v.clone()),
        Datum::Time(t) => (ExprType::MysqlTime, encoded(|b| number::encode_u64(b, t.to_packed()))),
        Datum::Duration(d) => (ExprType::MysqlDuration, encoded(|b| number::encode_i64(b, d.to_nanos()))),
        _ => return None,
    };
    Some(leaf(tp, val, ty))
}

/// The message of an expression; `None` when it must not be pushed down.
pub fn to_pb(expr: &Expr) -> Option<tipb::Expr> {
    if matches!(expr.ty().tp, TypeCode::Enum | TypeCode::Set | TypeCode::Json | TypeCode::Bit | TypeCode::Geometry) {
        return None;
    }
    match expr {
        Expr::Const { value, ty } => constant_to_pb(value, ty),
        Expr::Column { index, ty, .. } => {
            let val = encoded(|b| number::encode_i64(b, *index as i64));
            Some(leaf(ExprType::ColumnRef, val, ty))
        }
        Expr::Call(call) => {
            let mut ty = call.ty.clone();
            let mut children = call.args.iter().map(to_pb).collect::<Option<Vec<_>>>()?;
            let domain = |i: usize| Domain::of(call.args[i].ty());
            let sig = match call.func {
                Func::Compare(op, domain, collation) => {
                    if domain == Domain::String {
                        ty.collation = collation;
                    }
                    compare_sig(op, domain)?
                }
                Func::In(domain, collation) => {
                    if domain == Domain::String {
                        ty.collation = collation;
                    }
                    IN.pick(domain)?
                }
                Func::And | Func::Or | Func::Xor => {
                    for (child, arg) in children.iter_mut().zip(&call.args) {
                        wrap_truth(child, Domain::of(arg.ty()))?;
                    }
                    match call.func {
                        Func::And => Sig::LogicalAnd,
                        Func::Or => Sig::LogicalOr,
                        _ => Sig::LogicalXor,
                    }
                }
                Func::Not => match domain(0) {
                    Domain::Int => Sig::UnaryNotInt,
                    Domain::Real => Sig::UnaryNotReal,
                    Domain::Decimal => Sig::UnaryNotDecimal,
                    _ => return None,
                },
                Func::IsNull => IS_NULL.pick(domain(0))?,
                Func::IsTrue => match domain(0) {
                    Domain::Int => Sig::IntIsTrue,
                    Domain::Real => Sig::RealIsTrue,
                    Domain::Decimal => Sig::DecimalIsTrue,
                    _ => return None,
                },
                Func::IsFalse => match domain(0) {
                    Domain::Int => Sig::IntIsFalse,
                    Domain::Real => Sig::RealIsFalse,
                    Domain::Decimal => Sig::DecimalIsFalse,
                    _ => return None,
                },
                Func::Arith(op, domain) => arith_sig(op, domain, ty.is_unsigned())?,
                Func::Neg(Domain::Int) => Sig::UnaryMinusInt,
                Func::Neg(Domain::Real) => Sig::UnaryMinusReal,
                Func::Neg(Domain::Decimal) => Sig::UnaryMinusDecimal,
                Func::Neg(_) => return None,
                Func::Bit(op) => match op {
                    BitOp::And => Sig::BitAndSig,
                    BitOp::Or => Sig::BitOrSig,
                    BitOp::Xor => Sig::BitXorSig,
                    BitOp::ShiftLeft => Sig::LeftShift,
                    BitOp::ShiftRight => Sig::RightShift,
                },
                Func::BitNot => Sig::BitNegSig,
                Func::Cast => cast_sig(call.args[0].ty(), &ty)?,
                Func::If => {
                    wrap_truth(&mut children[0], domain(0))?;
                    IF.pick(Domain::of(&ty))?
                }
                Func::Coalesce => COALESCE.pick(Domain::of(&ty))?,
                Func::Case => {
                    let conditions = call.args.len() / 2;
                    for i in 0..conditions {
                        wrap_truth(&mut children[i * 2], domain(i * 2))?;
                    }
                    CASE.pick(Domain::of(&ty))?
                }
                Func::Greatest(domain, collation) => {
                    if domain == Domain::String {
                        ty.collation = collation;
                    }
                    GREATEST.pick(domain)?
                }
                Func::Least(domain, collation) => {
                    if domain == Domain::String {
                        ty.collation = collation;
                    }
                    LEAST.pick(domain)?
                }
                Func::Like(collation) => {
                    ty.collation = collation;
                    Sig::LikeSig
                }
                Func::Regexp(collation) => {
                    ty.collation = collation;
                    if collation == Collation::BINARY { Sig::RegexpSig } else { Sig::RegexpUtf8Sig }
                }
                Func::DateAdd(..) => return None,
                Func::Scalar(f) => scalar_sig(f, &call.args)?,
            };
            let mut field_type = field_type_to_pb(&ty);
            if ty.collation != Collation::BINARY {
                // Comparisons return numbers but carry the collation of their arguments.
                field_type.collate = -i32::from(ty.collation.id());
            }
            Some(tipb::Expr {
                tp: ExprType::ScalarFunc.into(),
                sig: sig.into(),
                children,
                field_type: Some(field_type),
                ..Default::default()
            })
        }
    }
}

/// Makes a truth value (0, 1 or NULL) of a number that is no integer.
fn wrap_truth(child: &mut tipb::Expr, domain: Domain) -> Option<()> {
    let sig = match domain {
        Domain::Int => return Some(()),
        Domain::Real => Sig::RealIsTrueWithNull,
        Domain::Decimal => Sig::DecimalIsTrueWithNull,
        _ => return None,
    };
    let inner = std::mem::take(child);
    *child = tipb::Expr {
        tp: ExprType::ScalarFunc.into(),
        sig: sig.into(),
        children: vec![inner],
        field_type: Some(field_type_to_pb(&bool_type())),
        ..Default::default()
    };
    Some(())
}

/// One signature for each domain, where there is one.
struct Family([Option<Sig>; 6]);

const DOMAINS: [Domain; 6] =
    [Domain::Int, Domain::Real, Domain::Decimal, Domain::String, Domain::Time, Domain::Duration];

impl Family {
    const fn all(int: Sig, real: Sig, decimal: Sig, string: Sig, time: Sig, duration: Sig) -> Family {
        Family([Some(int), Some(real), Some(decimal), Some(string), Some(time), Some(duration)])
    }

    fn pick(&self, domain: Domain) -> Option<Sig> {
        DOMAINS.iter().position(|d| *d == domain).and_then(|i| self.0[i])
    }

    fn domain_of(&self, sig: Sig) -> Option<Domain> {
        self.0.iter().position(|s| *s == Some(sig)).map(|i| DOMAINS[i])
    }
}

macro_rules! family {
    ($name:ident, $int:ident $real:ident $decimal:ident $string:ident $time:ident $duration:ident) => {
        const $name: Family =
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
const GREATEST: Family = Family([
    Some(Sig::GreatestInt),
    Some(Sig::GreatestReal),
    Some(Sig::GreatestDecimal),
    Some(Sig::GreatestString),
    None,
    None,
]);
const LEAST: Family =
    Family([Some(Sig::LeastInt), Some(Sig::LeastReal), Some(Sig::LeastDecimal), Some(Sig::LeastString), None, None]);

const COMPARISONS: [(CmpOp, &Family); 7] = [
    (CmpOp::Eq, &EQ),
    (CmpOp::Ne, &NE),
    (CmpOp::Lt, &LT),
    (CmpOp::Le, &LE),
    (CmpOp::Gt, &GT),
    (CmpOp::Ge, &GE),
    (CmpOp::NullEq, &NULL_EQ),
];

fn compare_sig(op: CmpOp, domain: Domain) -> Option<Sig> {
    COMPARISONS.iter().find(|c| c.0 == op).and_then(|c| c.1.pick(domain))
}

fn arith_sig(op: ArithOp, domain: Domain, unsigned: bool) -> Option<Sig> {
    Some(match (op, domain) {
        (ArithOp::Add, Domain::Int) => Sig::PlusInt,
        (ArithOp::Add, Domain::Real) => Sig::PlusReal,
        (ArithOp::Add, Domain::Decimal) => Sig::PlusDecimal,
        (ArithOp::Sub, Domain::Int) => Sig::MinusInt,
        (ArithOp::Sub, Domain::Real) => Sig::MinusReal,
        (ArithOp::Sub, Domain::Decimal) => Sig::MinusDecimal,
        (ArithOp::Mul, Domain::Int) if unsigned => Sig::MultiplyIntUnsigned,
        (ArithOp::Mul, Domain::Int) => Sig::MultiplyInt,
        (ArithOp::Mul, Domain::Real) => Sig::MultiplyReal,
        (ArithOp::Mul, Domain::Decimal) => Sig::MultiplyDecimal,
        (ArithOp::Div, Domain::Real) => Sig::DivideReal,
        (ArithOp::Div, Domain::Decimal) => Sig::DivideDecimal,
        (ArithOp::IntDiv, Domain::Int) => Sig::IntDivideInt,
        (ArithOp::IntDiv, Domain::Decimal) => Sig::IntDivideDecimal,
        (ArithOp::Mod, Domain::Int) => Sig::ModInt,
        (ArithOp::Mod, Domain::Real) => Sig::ModReal,
        (ArithOp::Mod, Domain::Decimal) => Sig::ModDecimal,
        _ => return None,
    })
}

fn arith_from(sig: Sig) -> Option<(ArithOp, Domain)> {
    use Sig as S;
    Some(match sig {
        S::PlusInt
        | S::PlusIntUnsignedUnsigned
        | S::PlusIntUnsignedSigned
        | S::PlusIntSignedUnsigned
        | S::PlusIntSignedSigned => (ArithOp::Add, Domain::Int),
        S::PlusReal => (ArithOp::Add, Domain::Real),
        S::PlusDecimal => (ArithOp::Add, Domain::Decimal),
        S::MinusInt
        | S::MinusIntUnsignedUnsigned
        | S::MinusIntUnsignedSigned
        | S::MinusIntSignedUnsigned
        | S::MinusIntSignedSigned => (ArithOp::Sub, Domain::Int),
        S::MinusReal => (ArithOp::Sub, Domain::Real),
        S::MinusDecimal => (ArithOp::Sub, Domain::Decimal),
        S::MultiplyInt | S::MultiplyIntUnsigned => (ArithOp::Mul, Domain::Int),
        S::MultiplyReal => (ArithOp::Mul, Domain::Real),
        S::MultiplyDecimal => (ArithOp::Mul, Domain::Decimal),
        S::DivideReal => (ArithOp::Div, Domain::Real),
        S::DivideDecimal => (ArithOp::Div, Domain::Decimal),
        S::IntDivideInt
        | S::IntDivideIntUnsignedUnsigned
        | S::IntDivideIntUnsignedSigned
        | S::IntDivideIntSignedSigned
        | S::IntDivideIntSignedUnsigned => (ArithOp::IntDiv, Domain::Int),
        S::IntDivideDecimal => (ArithOp::IntDiv, Domain::Decimal),
        S::ModInt
        | S::ModIntUnsignedUnsigned
        | S::ModIntUnsignedSigned
        | S::ModIntSignedUnsigned
        | S::ModIntSignedSigned => (ArithOp::Mod, Domain::Int),
        S::ModReal => (ArithOp::Mod, Domain::Real),
        S::ModDecimal => (ArithOp::Mod, Domain::Decimal),
        _ => return None,
    })
}

/// Casts by target (rows: from; columns: to), in the order of [`DOMAINS`].
const CASTS: [[Sig; 6]; 6] = [
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

fn cast_sig(from: &FieldType, to: &FieldType) -> Option<Sig> {
    if matches!(to.tp, TypeCode::Year | TypeCode::Null) || from.tp == TypeCode::Null {
        return None;
    }
    let at = |ty: &FieldType| DOMAINS.iter().position(|d| *d == Domain::of(ty));
    match (Domain::of(from), Domain::of(to)) {
        // A time of day becomes a date by the statement's own day, which storage nodes are not told.
        (Domain::Duration, Domain::Time) => None,
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

fn scalar_sig(f: ScalarFn, args: &[Expr]) -> Option<Sig> {
    let first = args.first().map(Expr::ty);
    let binary = first.is_some_and(FieldType::is_binary_string);
    let by_domain = |int: Sig, decimal: Sig, real: Sig| match Domain::of(first?) {
        Domain::Int => Some(int),
        Domain::Decimal => Some(decimal),
        Domain::Real => Some(real),
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
        ScalarFn::Hex => match Domain::of(first?) {
            Domain::String => Some(Sig::HexStrArg),
            Domain::Int => Some(Sig::HexIntArg),
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

fn scalar_from(sig: Sig) -> Option<ScalarFn> {
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

fn number_of<T>(val: &[u8], decode: impl FnOnce(&mut &[u8]) -> codec::Result<T>) -> Result<T> {
    let mut val = val;
    Ok(decode(&mut val)?)
}

/// The expression of a message; `input` are the types of the columns it may refer to.
pub fn from_pb(pb: &tipb::Expr, input: &[FieldType]) -> Result<Expr> {
    from_pb_at(pb, input, 0)
}

/// Deeper trees are refused: they would overflow the stack before they mean anything.
const DEPTH_MAX: usize = 200;

fn from_pb_at(pb: &tipb::Expr, input: &[FieldType], depth: usize) -> Result<Expr> {
    if depth > DEPTH_MAX {
        return Err(EvalError::Unsupported(format!("expressions deeper than {DEPTH_MAX}")));
    }
    let unknown = || EvalError::Unsupported(format!("expression type {}", pb.tp));
    let tp = ExprType::try_from(pb.tp).map_err(|_| unknown())?;
    let declared = pb.field_type.as_ref().map(field_type_from_pb).transpose()?;
    let literal = |value: Datum| {
        let ty = match &declared {
            Some(ty) if ty.tp != TypeCode::Unspecified => ty.clone(),
            _ => crate::infer::literal_type(&value),
        };
        // The declared type must hold the value as it is, or columns of it could not.
        let ty = match (&value, crate::batch::Physical::of(&ty)) {
            (Datum::Null, _) => ty,
            (v, p) if p == crate::batch::Physical::of(&crate::infer::literal_type(v)) => ty,
            (v, _) => crate::infer::literal_type(v),
        };
        Expr::Const { value, ty }
    };
    Ok(match tp {
        ExprType::Null => literal(Datum::Null),
        ExprType::Int64 => literal(Datum::Int(number_of(&pb.val, number::decode_i64)?)),
        ExprType::Uint64 => literal(Datum::UInt(number_of(&pb.val, number::decode_u64)?)),
        ExprType::Float32 | ExprType::Float64 => literal(Datum::Float(number_of(&pb.val, number::decode_f64)?)),
        ExprType::String | ExprType::Bytes => literal(Datum::Bytes(pb.val.clone())),
        ExprType::MysqlDecimal => literal(Datum::Decimal(number_of(&pb.val, datum::decode_decimal)?)),
        ExprType::MysqlDuration => {
            let fsp = declared.as_ref().map_or(6, FieldType::fsp);
            literal(Datum::Duration(Duration::from_nanos(number_of(&pb.val, number::decode_i64)?, fsp)))
        }
        ExprType::MysqlTime => {
            let kind = declared.as_ref().and_then(|t| TimeKind::from_type(t.tp)).unwrap_or(TimeKind::DateTime);
            let fsp = declared.as_ref().map_or(6, FieldType::fsp);
            literal(Datum::Time(Time::from_packed(number_of(&pb.val, number::decode_u64)?, kind, fsp)?))
        }
        ExprType::ColumnRef => {
            let index = number_of(&pb.val, number::decode_i64)?;
            let index = usize::try_from(index).ok().filter(|i| *i < input.len());
            let index = index.ok_or_else(|| EvalError::Unsupported("a column beyond the input".into()))?;
            Expr::column(index, input[index].clone())
        }
        ExprType::ScalarFunc => {
            let args = pb.children.iter().map(|c| from_pb_at(c, input, depth + 1)).collect::<Result<Vec<_>>>()?;
            call_from_pb(pb, args, declared.ok_or_else(unknown)?)?
        }
        _ => return Err(unknown()),
    })
}

/// Exactly these many arguments.
fn want(args: &[Expr], n: std::ops::RangeInclusive<usize>, sig: Sig) -> Result<()> {
    if n.contains(&args.len()) { Ok(()) } else { Err(EvalError::WrongParamCount(sig.as_str_name().into())) }
}

fn call_from_pb(pb: &tipb::Expr, args: Vec<Expr>, ty: FieldType) -> Result<Expr> {
    use Sig as S;
    let unknown = || EvalError::Unsupported(format!("function signature {}", pb.sig));
    let sig = Sig::try_from(pb.sig).map_err(|_| unknown())?;
    let collation = ty.collation;
    let many = 1..=usize::MAX;
    // Comparisons carry a collation but return a number.
    let plain = |ty: FieldType| if ty.tp.is_string() { ty } else { ty.with_collation(Collation::BINARY) };
    for (op, family) in COMPARISONS {
        if let Some(domain) = family.domain_of(sig) {
            want(&args, 2..=2, sig)?;
            check_domain(&args, domain, sig)?;
            return Ok(Expr::call(Func::Compare(op, domain, collation), args, bool_type()));
        }
    }
    if let Some(domain) = IN.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        check_domain(&args, domain, sig)?;
        return Ok(Expr::call(Func::In(domain, collation), args, bool_type()));
    }
    if IS_NULL.domain_of(sig).is_some() {
        want(&args, 1..=1, sig)?;
        return Ok(Expr::call(Func::IsNull, args, bool_type()));
    }
    if let Some((op, domain)) = arith_from(sig) {
        want(&args, 2..=2, sig)?;
        check_domain(&args, domain, sig)?;
        return Ok(Expr::call(Func::Arith(op, domain), args, plain(ty)));
    }
    if CASTS.iter().flatten().any(|s| *s == sig) {
        want(&args, 1..=1, sig)?;
        return Ok(Expr::call(Func::Cast, args, plain(ty)));
    }
    let result = |domain: Domain, args: Vec<Expr>, func: Func, from: usize, step: usize| {
        // Branches take the layout of the result.
        let len = args.len();
        let args = (args.into_iter().enumerate())
            .map(|(i, a)| {
                let is_branch = i >= from && ((i - from).is_multiple_of(step) || i + 1 == len);
                if is_branch { crate::infer::coerce(a, &ty) } else { a }
            })
            .collect();
        if Domain::of(&ty) != domain {
            return Err(EvalError::Unsupported(format!("{} of type {}", sig.as_str_name(), ty.declaration())));
        }
        Ok(Expr::call(func, args, ty.clone()))
    };
    if let Some(domain) = IF.domain_of(sig) {
        want(&args, 3..=3, sig)?;
        return result(domain, args, Func::If, 1, 1);
    }
    if let Some(domain) = COALESCE.domain_of(sig).or_else(|| IF_NULL.domain_of(sig)) {
        want(&args, many, sig)?;
        return result(domain, args, Func::Coalesce, 0, 1);
    }
    if let Some(domain) = CASE.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        return result(domain, args, Func::Case, 1, 2);
    }
    if let Some(domain) = GREATEST.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        return result(domain, args, Func::Greatest(domain, collation), 0, 1);
    }
    if let Some(domain) = LEAST.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        return result(domain, args, Func::Least(domain, collation), 0, 1);
    }
    let (func, count) = match sig {
        S::LogicalAnd => (Func::And, 2),
        S::LogicalOr => (Func::Or, 2),
        S::LogicalXor => (Func::Xor, 2),
        S::UnaryNotInt | S::UnaryNotReal | S::UnaryNotDecimal => (Func::Not, 1),
        S::IntIsTrue | S::RealIsTrue | S::DecimalIsTrue => (Func::IsTrue, 1),
        S::IntIsFalse | S::RealIsFalse | S::DecimalIsFalse => (Func::IsFalse, 1),
        S::IntIsTrueWithNull | S::RealIsTrueWithNull | S::DecimalIsTrueWithNull => {
            want(&args, 1..=1, sig)?;
            return Ok(crate::infer::not(crate::infer::not(args.into_iter().next().ok_or_else(unknown)?)));
        }
        S::IntIsFalseWithNull | S::RealIsFalseWithNull | S::DecimalIsFalseWithNull => (Func::Not, 1),
        S::UnaryMinusInt => (Func::Neg(Domain::Int), 1),
        S::UnaryMinusReal => (Func::Neg(Domain::Real), 1),
        S::UnaryMinusDecimal => (Func::Neg(Domain::Decimal), 1),
        S::BitAndSig => (Func::Bit(BitOp::And), 2),
        S::BitOrSig => (Func::Bit(BitOp::Or), 2),
        S::BitXorSig => (Func::Bit(BitOp::Xor), 2),
        S::LeftShift => (Func::Bit(BitOp::ShiftLeft), 2),
        S::RightShift => (Func::Bit(BitOp::ShiftRight), 2),
        S::BitNegSig => (Func::BitNot, 1),
        S::LikeSig => (Func::Like(collation), 3),
        S::RegexpSig | S::RegexpUtf8Sig => (Func::Regexp(collation), 2),
        sig => {
            let f = scalar_from(sig).ok_or_else(unknown)?;
            let (min, max) = f.arity();
            want(&args, min..=max, sig)?;
            return Ok(Expr::call(Func::Scalar(f), args, plain(ty)));
        }
    };
    want(&args, count..=count, sig)?;
    let logical = matches!(
        func,
        Func::And | Func::Or | Func::Xor | Func::Not | Func::IsTrue | Func::IsFalse | Func::Like(_) | Func::Regexp(_)
    );
    Ok(Expr::call(func, args, if logical { bool_type() } else { plain(ty) }))
}

/// Arguments must live where the signature works; untyped NULLs do everywhere.
fn check_domain(args: &[Expr], domain: Domain, sig: Sig) -> Result<()> {
    let fits = |a: &Expr| Domain::of(a.ty()) == domain || a.is_null_const();
    if args.iter().all(fits) {
        return Ok(());
    }
    Err(EvalError::WrongArguments(sig.as_str_name().into()))
}

// --------------------------------------------------------------------------------------------------------- aggregates

const AGGREGATES: [(AggFunc, ExprType); 9] = [
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

/// The message of an aggregate; `None` when storage nodes do not compute it in part. COUNT without arguments becomes
/// COUNT(1).
pub fn aggregate_to_pb(agg: &Aggregate) -> Option<tipb::Expr> {
    if agg.distinct || matches!(agg.ty.tp, TypeCode::Json | TypeCode::Enum | TypeCode::Set | TypeCode::Bit) {
        return None;
    }
    let (_, tp) = AGGREGATES.iter().find(|a| a.0 == agg.func)?;
    let mut children = agg.args.iter().map(to_pb).collect::<Option<Vec<_>>>()?;
    if children.is_empty() {
        children.push(to_pb(&Expr::constant(Datum::Int(1)))?);
    }
    Some(tipb::Expr {
        tp: (*tp).into(),
        children,
        field_type: Some(field_type_to_pb(&agg.ty)),
        agg_func_mode: tipb::AggFunctionMode::Partial1Mode.into(),
        ..Default::default()
    })
}

/// The aggregate of a message.
pub fn aggregate_from_pb(pb: &tipb::Expr, input: &[FieldType]) -> Result<Aggregate> {
    let unknown = || EvalError::Unsupported(format!("aggregate function {}", pb.tp));
    let tp = ExprType::try_from(pb.tp).map_err(|_| unknown())?;
    let (func, _) = AGGREGATES.iter().find(|a| a.1 == tp).ok_or_else(unknown)?;
    if pb.has_distinct {
        return Err(EvalError::Unsupported("DISTINCT aggregates in the coprocessor".into()));
    }
    let args = pb.children.iter().map(|c| from_pb(c, input)).collect::<Result<Vec<_>>>()?;
    if args.len() != 1 && *func != AggFunc::Count {
        return Err(EvalError::WrongParamCount(tp.as_str_name().into()));
    }
    let mut ty = match &pb.field_type {
        Some(ty) => field_type_from_pb(ty)?,
        None => return Err(unknown()),
    };
    ty.flags &= !flags::NOT_NULL;
    Ok(Aggregate { func: *func, args, ty, distinct: false })
}
