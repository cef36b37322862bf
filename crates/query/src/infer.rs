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
//! Nothing here evaluates; [`crate::eval::fold`] replaces constant parts by their values afterwards.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::Time;
use codec::types::{Collation, FieldType, NOT_FIXED_DEC, TypeCode, flags};

use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::{ArithOp, BitOp, CmpOp, Domain, Expr, Func, bool_type};
use crate::interval::Unit;
use crate::scalar::{Arg, Ret, ScalarFn, canonical};

/// Digits that division adds to the scale unless `div_precision_increment` says otherwise.
const DIV_INCREMENT: u8 = codec::decimal::DIV_INCREMENT;

/// The type that a literal of this value has.
pub fn literal_type(value: &Datum) -> FieldType {
    let not_null = |t: FieldType| t.with_flags(flags::NOT_NULL);
    match value {
        Datum::Null | Datum::Max => FieldType::new(TypeCode::Null),
        Datum::Int(v) => not_null(FieldType { flen: v.to_string().len() as i32, ..FieldType::bigint() }),
        Datum::UInt(v) => not_null(FieldType { flen: v.to_string().len() as i32, ..FieldType::bigint_unsigned() }),
        Datum::Float(_) => not_null(FieldType::double()),
        Datum::Decimal(d) => {
            not_null(FieldType::decimal(d.precision().min(65).max(d.scale()).into(), d.scale().into()))
        }
        Datum::Bytes(b) => {
            let chars = b.utf8_chunks().map(|c| c.valid().chars().count() + c.invalid().len()).sum::<usize>();
            not_null(FieldType { flen: chars as i32, ..FieldType::new(TypeCode::VarString) })
        }
        Datum::Time(t) => not_null(
            FieldType { decimal: t.fsp.into(), ..FieldType::new(t.kind.type_code()) }.with_flags(flags::BINARY),
        ),
        Datum::Duration(d) => not_null(FieldType { decimal: d.fsp.into(), ..FieldType::new(TypeCode::Duration) }),
        Datum::Enum(_) => FieldType::new(TypeCode::Enum),
        Datum::Set(_) => FieldType::new(TypeCode::Set),
        Datum::Bit(_) => FieldType { flen: 64, ..FieldType::new(TypeCode::Bit) },
        Datum::Json(_) => FieldType::new(TypeCode::Json),
    }
}

/// (precision, scale) of the DECIMAL that holds every value of a numeric type.
pub fn decimal_shape(ty: &FieldType) -> (i32, i32) {
    match ty.tp {
        TypeCode::Tiny => (3, 0),
        TypeCode::Short => (5, 0),
        TypeCode::Int24 => (8, 0),
        TypeCode::Long => (10, 0),
        TypeCode::LongLong if ty.is_not_null() && (1..19).contains(&ty.flen) => (ty.flen, 0),
        TypeCode::LongLong => (20, 0),
        TypeCode::Year => (4, 0),
        TypeCode::Bit => (20, 0),
        TypeCode::NewDecimal | TypeCode::Unspecified => {
            let scale = ty.decimal.clamp(0, 30);
            (if ty.flen <= 0 { 65 } else { ty.flen.max(scale) }, scale)
        }
        TypeCode::Date | TypeCode::NewDate => (8, 0),
        TypeCode::DateTime | TypeCode::Timestamp => (14 + i32::from(ty.fsp()), ty.fsp().into()),
        TypeCode::Duration => (7 + i32::from(ty.fsp()), ty.fsp().into()),
        TypeCode::Null => (1, 0),
        _ => (65, 30),
    }
}

fn decimal_type(precision: i32, scale: i32) -> FieldType {
    let scale = scale.clamp(0, 30);
    FieldType::decimal(precision.clamp(scale.max(1), 65), scale)
}

/// Casts to a type without changing what the user sees; nothing when it is of that type already.
pub fn cast_to(e: Expr, ty: FieldType) -> Expr {
    if e.ty() == &ty { e } else { cast_always(e, ty) }
}

fn cast_always(e: Expr, ty: FieldType) -> Expr {
    let e = if ty.tp.is_numeric() { exact(e) } else { e };
    Expr::call(Func::Cast, vec![e], ty)
}

/// The text type that holds every value of a type printed.
fn text_type(ty: &FieldType) -> FieldType {
    let flen = match ty.tp {
        TypeCode::NewDecimal => ty.flen + 2,
        TypeCode::DateTime | TypeCode::Timestamp if ty.fsp() > 0 => 20 + i32::from(ty.fsp()),
        TypeCode::Enum | TypeCode::Set => {
            return FieldType { flen: 255, ..FieldType::new(TypeCode::VarString) }.with_collation(ty.collation);
        }
        TypeCode::Double | TypeCode::Float => 23,
        TypeCode::Json => -1,
        // Display widths such as TINYINT(1) do not bound the value.
        tp if tp.is_integer() => ty.flen.max(20),
        TypeCode::Duration => 18,
        _ => ty.flen,
    };
    FieldType { flen, ..FieldType::new(TypeCode::VarString) }
}

/// A literal such as `0x41`, which is text unless a number is wanted.
pub fn bit_literal(bytes: Vec<u8>) -> Expr {
    let ty = FieldType::varbinary(bytes.len() as i32).with_flags(flags::NOT_NULL | flags::BINARY | flags::BIT_LITERAL);
    Expr::Const { value: Datum::Bytes(bytes), ty }
}

fn is_bit_literal(e: &Expr) -> bool {
    matches!(e, Expr::Const { value: Datum::Bytes(_), ty } if ty.has(flags::BIT_LITERAL))
}

/// The number that a literal such as `0x41` is.
fn bit_number(e: Expr) -> Expr {
    match e {
        Expr::Const { value: Datum::Bytes(b), .. } => Expr::constant(Datum::UInt(number_of_bytes(&b))),
        e => e,
    }
}

/// The big-endian number of the last eight bytes.
pub fn number_of_bytes(b: &[u8]) -> u64 {
    b[b.len().saturating_sub(8)..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Casts into a domain; nothing when it is there already.
pub fn to_domain(e: Expr, domain: Domain) -> Expr {
    if is_bit_literal(&e) && matches!(domain, Domain::Int | Domain::Real | Domain::Decimal) {
        return to_domain(bit_number(e), domain);
    }
    let ty = e.ty().clone();
    if ty.tp == TypeCode::Null {
        let null_ty = match domain {
            Domain::Int => return e,
            Domain::Real => FieldType::double(),
            Domain::Decimal => FieldType::decimal(10, 0),
            Domain::String => FieldType { flen: 0, ..FieldType::new(TypeCode::VarString) },
            Domain::Time => FieldType::datetime(0),
            Domain::Duration => FieldType::new(TypeCode::Duration),
            Domain::Json => FieldType::new(TypeCode::Json),
        };
        return match e {
            Expr::Const { value: Datum::Null, .. } => Expr::Const { value: Datum::Null, ty: null_ty },
            e => cast_to(e, null_ty),
        };
    }
    if Domain::of(&ty) == domain && !matches!(ty.tp, TypeCode::Enum | TypeCode::Set) {
        return e;
    }
    let target = match domain {
        Domain::Int if matches!(ty.tp, TypeCode::Enum | TypeCode::Set) => FieldType::bigint_unsigned(),
        Domain::Int => FieldType::bigint(),
        Domain::Real => FieldType::double(),
        Domain::Decimal => {
            let (p, s) = match (&e, ty.is_text()) {
                (Expr::Const { value: Datum::Bytes(b), .. }, _) => {
                    match Decimal::parse_prefix(&String::from_utf8_lossy(b)).0 {
                        Some(d) => (d.precision().into(), d.scale().into()),
                        None => (65, 0),
                    }
                }
                _ => decimal_shape(&ty),
            };
            decimal_type(p, s)
        }
        Domain::String => text_type(&ty),
        Domain::Time => FieldType::datetime(match &e {
            Expr::Const { value: Datum::Bytes(b), .. } => Time::fsp_of(&String::from_utf8_lossy(b)).into(),
            _ if ty.tp == TypeCode::Duration => ty.fsp().into(),
            _ if ty.tp.is_integer() => 0,
            _ => 6,
        }),
        Domain::Duration => {
            let fsp = match &e {
                Expr::Const { value: Datum::Bytes(b), .. } => Time::fsp_of(&String::from_utf8_lossy(b)).into(),
                _ if ty.tp.is_time() => ty.fsp().into(),
                _ if ty.tp.is_integer() => 0,
                _ => 6,
            };
            FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) }
        }
        Domain::Json => FieldType::new(TypeCode::Json),
    };
    cast_to(e, target)
}

// ---------------------------------------------------------------------------------------------------- collations

/// How strongly a string insists on its collation, as MySQL's COERCIBILITY counts: lower is stronger.
fn coercibility(e: &Expr) -> u8 {
    match e {
        _ if e.ty().tp == TypeCode::Null => 6,
        _ if !(e.ty().tp.is_string() || matches!(e.ty().tp, TypeCode::Enum | TypeCode::Set)) => 5,
        Expr::Const { .. } => 4,
        Expr::Column { .. } => 2,
        Expr::Call(call) if call.func == Func::Cast => match call.args.first() {
            Some(arg) if arg.ty().tp.is_string() && arg.ty().collation != call.ty.collation => 0,
            Some(arg) => coercibility(arg).max(2),
            None => 4,
        },
        Expr::Call(call) => match call.func {
            Func::Scalar(ScalarFn::User | ScalarFn::CurrentUser | ScalarFn::Database | ScalarFn::Version) => 3,
            _ => call.args.iter().map(coercibility).min().unwrap_or(4),
        },
    }
}

/// The collation in which strings of these expressions are compared or joined.
pub fn merge_collations<'a>(args: impl IntoIterator<Item = &'a Expr>, operation: &str) -> Result<Collation> {
    let mut best: Option<(u8, Collation)> = None;
    for arg in args {
        let strength = coercibility(arg);
        if strength >= 5 {
            continue;
        }
        let collation = arg.ty().collation;
        best = Some(match best {
            None => (strength, collation),
            Some((s, c)) if c == collation => (s.min(strength), c),
            Some((s, c)) if s != strength => {
                if s < strength {
                    (s, c)
                } else {
                    (strength, collation)
                }
            }
            Some((s, c)) => {
                if c == Collation::BINARY || collation == Collation::BINARY {
                    (s, Collation::BINARY)
                } else if c.is_bin() && s > 0 {
                    (s, c)
                } else if collation.is_bin() && s > 0 {
                    (s, collation)
                } else if s == 4 {
                    (s, c)
                } else {
                    return Err(EvalError::CollationMix {
                        a: c.name().into(),
                        b: collation.name().into(),
                        operation: operation.into(),
                    });
                }
            }
        });
    }
    Ok(best.map_or(Collation::DEFAULT, |b| b.1))
}

/// `e COLLATE collation`.
pub fn collate(e: Expr, collation: Collation) -> Expr {
    let e = to_domain(e, Domain::String);
    let ty = e.ty().clone().with_collation(collation);
    cast_to(e, ty)
}

// ---------------------------------------------------------------------------------------------------- comparison

/// A string constant that is exactly an integer or decimal, as the number.
fn exact_number(e: &Expr) -> Option<Decimal> {
    match e.as_const()? {
        Datum::Bytes(b) => std::str::from_utf8(b).ok()?.trim().parse().ok(),
        _ => None,
    }
}

/// Whether a constant, which is a number, is a day or time of that type.
fn names_time(e: &Expr, ty: &FieldType) -> bool {
    e.as_const().is_some_and(|number| {
        let mut strict = EvalContext::default();
        crate::cast::cast(number.clone(), e.ty(), ty, &mut strict).is_ok_and(|time| !time.is_null())
            && strict.warning_count == 0
    })
}

fn span_type() -> FieldType {
    FieldType { decimal: 6, ..FieldType::new(TypeCode::Duration) }
}

/// The domain in which two expressions are compared.
pub fn comparison_domain(a: &Expr, b: &Expr) -> Domain {
    let (ta, tb) = (a.ty(), b.ty());
    let (da, db) = (Domain::of(ta), Domain::of(tb));
    if ta.tp == TypeCode::Null {
        return db;
    }
    if tb.tp == TypeCode::Null {
        return da;
    }
    // YEAR compares as the number; ENUM and SET with numbers as their numbers.
    match (da, db) {
        (Domain::Json, _) | (_, Domain::Json) => Domain::Json,
        (x, y) if x == y => x,
        (Domain::String, n) | (n, Domain::String) if matches!(n, Domain::Int | Domain::Decimal | Domain::Real) => {
            let (text, number) = if da == Domain::String { (a, b) } else { (b, a) };
            if is_bit_literal(text) {
                return n;
            }
            if matches!(text.ty().tp, TypeCode::Enum | TypeCode::Set) {
                return if n == Domain::Int { Domain::Int } else { Domain::Real };
            }
            // An exact constant keeps the comparison exact, and an index on the column usable.
            match (exact_number(text), n) {
                (Some(d), Domain::Int) if d.to_i64().is_ok() && d.truncate(0) == d => Domain::Int,
                (Some(_), Domain::Int | Domain::Decimal) if number.as_const().is_none() => Domain::Decimal,
                _ => Domain::Real,
            }
        }
        (Domain::Time, Domain::String) | (Domain::String, Domain::Time) => Domain::Time,
        (Domain::Duration, Domain::String) | (Domain::String, Domain::Duration) => Domain::Duration,
        (Domain::Time, Domain::Duration) | (Domain::Duration, Domain::Time) => Domain::Time,
        // A number that names a day or a time is compared as one, which keeps an index usable.
        (Domain::Time, _) if names_time(b, &FieldType::datetime(6)) => Domain::Time,
        (_, Domain::Time) if names_time(a, &FieldType::datetime(6)) => Domain::Time,
        (Domain::Duration, _) if names_time(b, &span_type()) => Domain::Duration,
        (_, Domain::Duration) if names_time(a, &span_type()) => Domain::Duration,
        (Domain::Int, Domain::Decimal) | (Domain::Decimal, Domain::Int) => Domain::Decimal,
        _ => Domain::Real,
    }
}

/// `a op b`.
pub fn compare(op: CmpOp, a: Expr, b: Expr) -> Result<Expr> {
    let domain = comparison_domain(&a, &b);
    let collation = match domain {
        Domain::String => merge_collations([&a, &b], op.symbol())?,
        _ => Collation::BINARY,
    };
    let args = vec![compare_side(a, domain), compare_side(b, domain)];
    Ok(Expr::call(Func::Compare(op, domain, collation), args, bool_type()))
}

/// As [`to_domain`]; exact decimals stay exact whatever their length.
fn compare_side(e: Expr, domain: Domain) -> Expr {
    to_domain(e, domain)
}

/// `(a1, a2, …) op (b1, b2, …)`: equality by parts, order lexicographically.
pub fn compare_rows(op: CmpOp, a: Vec<Expr>, b: Vec<Expr>) -> Result<Expr> {
    if a.len() != b.len() || a.is_empty() {
        return Err(EvalError::Operand(a.len()));
    }
    let pairs = a.into_iter().zip(b);
    match op {
        CmpOp::Eq | CmpOp::NullEq => {
            let parts = pairs.map(|(x, y)| compare(op, x, y)).collect::<Result<Vec<_>>>()?;
            Ok(Expr::conjunction(parts))
        }
        CmpOp::Ne => {
            let parts = pairs.map(|(x, y)| compare(op, x, y)).collect::<Result<Vec<_>>>()?;
            Ok(parts.into_iter().reduce(or).unwrap_or_else(|| Expr::bool(false)))
        }
        CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge => {
            let strict = match op {
                CmpOp::Lt | CmpOp::Le => CmpOp::Lt,
                _ => CmpOp::Gt,
            };
            let mut pairs: Vec<_> = pairs.collect();
            let Some((x, y)) = pairs.pop() else { return Err(EvalError::Operand(1)) };
            let mut out = compare(op, x, y)?;
            while let Some((x, y)) = pairs.pop() {
                let equal = compare(CmpOp::Eq, x.clone(), y.clone())?;
                out = or(compare(strict, x, y)?, and(equal, out));
            }
            Ok(out)
        }
    }
}

/// `e IN (list)`; `NOT IN` is [`not`] of it. Items that compare with `e` in different domains make a list each.
pub fn in_list(e: Expr, list: Vec<Expr>) -> Result<Expr> {
    let mut lists: Vec<(Domain, Vec<Expr>)> = Vec::new();
    let (nulls, items): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(Expr::is_null_const);
    for item in items {
        let domain = comparison_domain(&e, &item);
        match lists.iter_mut().find(|l| l.0 == domain) {
            Some((_, list)) => list.push(item),
            None => lists.push((domain, vec![item])),
        }
    }
    match lists.first_mut() {
        Some((_, list)) => list.extend(nulls),
        None if nulls.is_empty() => {}
        None => lists.push((comparison_domain(&e, &nulls[0]), nulls)),
    }
    let calls = lists.into_iter().map(|(domain, list)| {
        let collation = match domain {
            Domain::String => merge_collations(std::iter::once(&e).chain(&list), "IN")?,
            _ => Collation::BINARY,
        };
        let args = std::iter::once(e.clone()).chain(list).map(|a| compare_side(a, domain)).collect();
        Ok(Expr::call(Func::In(domain, collation), args, bool_type()))
    });
    Ok(any(calls.collect::<Result<Vec<_>>>()?))
}

/// `e op ANY (list)` and, with `all`, `e op ALL (list)`: true if one of the comparisons is (if all are), and of no
/// comparison FALSE (TRUE). `list` are constants, each once; strings compare by `collation` where it is given, because
/// the column that they are from may insist on it more than a constant does.
pub fn quantified(op: CmpOp, all: bool, e: Expr, list: Vec<Expr>, collation: Option<Collation>) -> Result<Expr> {
    match (op, all) {
        _ if list.is_empty() => return Ok(Expr::bool(all)),
        (CmpOp::Eq, false) => return Ok(by_collation(in_list(e, list)?, collation)),
        (CmpOp::Ne, true) => return Ok(not(by_collation(in_list(e, list)?, collation))),
        _ => {}
    }
    let tests = list.into_iter().map(|value| Ok(by_collation(compare(op, e.clone(), value)?, collation)));
    let tests = deciding(op, all, tests.collect::<Result<Vec<_>>>()?);
    Ok(if all { every(tests) } else { any(tests) })
}

/// The same comparisons, of strings by this collation.
fn by_collation(mut e: Expr, collation: Option<Collation>) -> Expr {
    if let (Some(new), Expr::Call(call)) = (collation, &mut e) {
        match &mut call.func {
            Func::Compare(_, Domain::String, old) | Func::In(Domain::String, old) => *old = new,
            Func::Or => {
                let args = std::mem::take(&mut call.args);
                call.args = args.into_iter().map(|arg| by_collation(arg, collation)).collect();
            }
            _ => {}
        }
    }
    e
}

/// Of comparisons with constants those that decide for all: with the least or greatest value, or with two different
/// ones; and with NULL. Where values must be cast first, or not all in the same way, all stay.
fn deciding(op: CmpOp, all: bool, tests: Vec<Expr>) -> Vec<Expr> {
    let is_null = |e: &Expr| e.args().iter().any(Expr::is_null_const);
    let (nulls, mut tests): (Vec<Expr>, Vec<Expr>) = tests.into_iter().partition(is_null);
    let how = |e: &Expr| match e {
        Expr::Call(call) => match (call.func, call.args.last()) {
            (Func::Compare(_, domain, collation), Some(Expr::Const { .. })) => Some((domain, collation)),
            _ => None,
        },
        _ => None,
    };
    if let Some((domain, collation)) = tests.first().and_then(how)
        && tests.iter().all(|t| how(t) == Some((domain, collation)))
    {
        let order = |a: &Expr, b: &Expr| match (a.args().last(), b.args().last()) {
            (Some(Expr::Const { value: a, .. }), Some(Expr::Const { value: b, .. })) => {
                crate::eval::compare_datums(domain, collation, a, b)
            }
            _ => std::cmp::Ordering::Equal,
        };
        tests.sort_by(order);
        tests.dedup_by(|a, b| order(a, b).is_eq());
        match op {
            CmpOp::Eq | CmpOp::Ne | CmpOp::NullEq => tests.truncate(2),
            // More than all is more than the greatest, more than any is more than the least.
            CmpOp::Gt | CmpOp::Ge if all => drop(tests.drain(..tests.len() - 1)),
            CmpOp::Lt | CmpOp::Le if !all => drop(tests.drain(..tests.len() - 1)),
            CmpOp::Gt | CmpOp::Ge | CmpOp::Lt | CmpOp::Le => tests.truncate(1),
        }
    }
    tests.extend(nulls.into_iter().next());
    tests
}

/// The disjunction of these, as flat a tree as can be; FALSE when there are none.
pub fn any(parts: Vec<Expr>) -> Expr {
    flat(parts, or).unwrap_or_else(|| Expr::bool(false))
}

/// The conjunction of these, as flat a tree as can be; TRUE when there are none.
pub fn every(parts: Vec<Expr>) -> Expr {
    flat(parts, and).unwrap_or_else(|| Expr::bool(true))
}

fn flat(mut parts: Vec<Expr>, join: fn(Expr, Expr) -> Expr) -> Option<Expr> {
    let right = parts.split_off(parts.len() / 2);
    match parts.is_empty() {
        true => right.into_iter().next(),
        false => Some(join(flat(parts, join)?, flat(right, join)?)),
    }
}

/// `e BETWEEN low AND high`.
pub fn between(e: Expr, low: Expr, high: Expr) -> Result<Expr> {
    Ok(and(compare(CmpOp::Ge, e.clone(), low)?, compare(CmpOp::Le, e, high)?))
}

/// `e LIKE pattern ESCAPE escape`.
pub fn like(e: Expr, pattern: Expr, escape: Option<char>) -> Result<Expr> {
    let (e, pattern) = (to_domain(e, Domain::String), to_domain(pattern, Domain::String));
    let collation = merge_collations([&e, &pattern], "like")?;
    let escape = Expr::constant(Datum::Int(escape.map_or(0, |c| i64::from(u32::from(c)))));
    Ok(Expr::call(Func::Like(collation), vec![e, pattern, escape], bool_type()))
}

/// `e REGEXP pattern`.
pub fn regexp(e: Expr, pattern: Expr) -> Result<Expr> {
    let (e, pattern) = (to_domain(e, Domain::String), to_domain(pattern, Domain::String));
    let collation = merge_collations([&e, &pattern], "regexp")?;
    Ok(Expr::call(Func::Regexp(collation), vec![e, pattern], bool_type()))
}

// ---------------------------------------------------------------------------------------------------- logic

/// An argument of AND, OR, NOT: any number is a truth value; text, dates and all else become one first.
fn truth(e: Expr) -> Expr {
    match Domain::of(e.ty()) {
        Domain::Int | Domain::Real | Domain::Decimal => e,
        _ => to_domain(e, Domain::Real),
    }
}

/// `a AND b`.
pub fn and(a: Expr, b: Expr) -> Expr {
    Expr::call(Func::And, vec![truth(a), truth(b)], bool_type())
}

/// `a OR b`.
pub fn or(a: Expr, b: Expr) -> Expr {
    Expr::call(Func::Or, vec![truth(a), truth(b)], bool_type())
}

/// `a XOR b`.
pub fn xor(a: Expr, b: Expr) -> Expr {
    Expr::call(Func::Xor, vec![truth(a), truth(b)], bool_type())
}

/// `NOT a`.
pub fn not(a: Expr) -> Expr {
    Expr::call(Func::Not, vec![truth(a)], bool_type())
}

/// `a IS NULL`.
pub fn is_null(a: Expr) -> Expr {
    Expr::call(Func::IsNull, vec![a], bool_type().with_flags(flags::NOT_NULL))
}

/// `a IS TRUE`.
pub fn is_true(a: Expr) -> Expr {
    Expr::call(Func::IsTrue, vec![truth(a)], bool_type().with_flags(flags::NOT_NULL))
}

/// `a IS FALSE`.
pub fn is_false(a: Expr) -> Expr {
    Expr::call(Func::IsFalse, vec![truth(a)], bool_type().with_flags(flags::NOT_NULL))
}

// ---------------------------------------------------------------------------------------------------- arithmetic

/// The domain that a value takes in arithmetic.
fn arith_domain(e: &Expr) -> Domain {
    let ty = e.ty();
    match Domain::of(ty) {
        Domain::String if is_bit_literal(e) => Domain::Int,
        Domain::Time | Domain::Duration if ty.fsp() > 0 => Domain::Decimal,
        Domain::Time | Domain::Duration => Domain::Int,
        Domain::String if matches!(ty.tp, TypeCode::Enum | TypeCode::Set) => Domain::Int,
        Domain::String | Domain::Json => Domain::Real,
        d => d,
    }
}

/// Digits in a word of MySQL's decimals: a quotient is computed to whole words, and shown with fewer digits.
const WORD_DIGITS: i32 = 9;

/// Digits of the words that this many digits take. Division cuts its result there.
pub(crate) fn to_words(digits: i32) -> i32 {
    (digits + WORD_DIGITS - 1) / WORD_DIGITS * WORD_DIGITS
}

/// A quotient with all the digits that are computed of it, for what goes on computing: `ROUND(1 / 3, 6)` is 0.333333
/// though `1 / 3` is 0.3333. Anything else as it is; control flow hands the digits through.
pub fn exact(e: Expr) -> Expr {
    let Expr::Call(mut call) = e else { return e };
    if Domain::of(&call.ty) != Domain::Decimal {
        return Expr::Call(call);
    }
    let results: Vec<usize> = match call.func {
        Func::Arith(ArithOp::Div, _) => {
            let (dividend, divisor) = (decimal_shape(call.args[0].ty()).1, decimal_shape(call.args[1].ty()).1);
            let shown = call.ty.decimal;
            let spare = to_words(dividend) - dividend + to_words(divisor) - divisor;
            let more = (shown - dividend - spare).max(0);
            let computed = to_words(to_words(dividend) + to_words(divisor) + more).clamp(shown, 30);
            call.ty = decimal_type(call.ty.flen - shown + computed, computed).with_flags(call.ty.flags);
            return Expr::Call(call);
        }
        Func::Neg(_) | Func::Coalesce | Func::Scalar(ScalarFn::Abs) => (0..call.args.len()).collect(),
        Func::If => vec![1, 2],
        Func::Case => (0..call.args.len()).filter(|i| i % 2 == 1 || i + 1 == call.args.len()).collect(),
        _ => return Expr::Call(call),
    };
    let before: Vec<i32> = results.iter().map(|&i| call.args[i].ty().decimal).collect();
    for &i in &results {
        call.args[i] = exact(std::mem::replace(&mut call.args[i], Expr::null()));
    }
    if results.iter().zip(before).any(|(&i, digits)| call.args[i].ty().decimal != digits) {
        let shapes = results.iter().map(|&i| decimal_shape(call.args[i].ty()));
        let (whole, digits) = shapes.fold((0, 0), |(whole, digits), (p, s)| (whole.max(p - s), digits.max(s)));
        call.ty = decimal_type(whole + digits, digits).with_flags(call.ty.flags);
        for &i in &results {
            let arg = std::mem::replace(&mut call.args[i], Expr::null());
            call.args[i] = if arg.ty().decimal == digits { arg } else { coerce_null_or_cast(arg, &call.ty) };
        }
    }
    Expr::Call(call)
}

fn coerce_null_or_cast(e: Expr, ty: &FieldType) -> Expr {
    match e {
        Expr::Const { value: Datum::Null, .. } => Expr::Const { value: Datum::Null, ty: ty.clone() },
        e => cast_to(e, ty.clone()),
    }
}

/// `a op b`.
pub fn arith(op: ArithOp, a: Expr, b: Expr) -> Result<Expr> {
    arith_with(op, a, b, DIV_INCREMENT)
}

/// `a op b`, where division adds these digits to the scale.
pub fn arith_with(op: ArithOp, a: Expr, b: Expr, div_increment: u8) -> Result<Expr> {
    let div_increment = i32::from(div_increment);
    let (da, db) = (arith_domain(&a), arith_domain(&b));
    let decimals = (fixed_decimals(a.ty()), fixed_decimals(b.ty()));
    let mut domain = match (da, db) {
        (Domain::Real, _) | (_, Domain::Real) => Domain::Real,
        (Domain::Decimal, _) | (_, Domain::Decimal) => Domain::Decimal,
        _ => Domain::Int,
    };
    if op == ArithOp::Div && domain == Domain::Int {
        domain = Domain::Decimal;
    }
    if op == ArithOp::IntDiv && domain == Domain::Real {
        domain = Domain::Decimal;
    }
    let (a, b) = (number_for_arith(a, domain), number_for_arith(b, domain));
    let (ta, tb) = (a.ty().clone(), b.ty().clone());
    let unsigned = ta.is_unsigned() || tb.is_unsigned();
    let ty = match (domain, op) {
        (Domain::Real, _) => {
            let decimal = match (op, decimals) {
                (ArithOp::Mul, (Some(a), Some(b))) => a + b,
                (ArithOp::Div, (Some(a), Some(b))) => a.max(b) + div_increment,
                (_, (Some(a), Some(b))) => a.max(b),
                _ => NOT_FIXED_DEC,
            };
            FieldType { decimal: if decimal < NOT_FIXED_DEC { decimal } else { -1 }, ..FieldType::double() }
        }
        (_, ArithOp::IntDiv) | (Domain::Int, _) => {
            let unsigned = if op == ArithOp::Mod { ta.is_unsigned() } else { unsigned };
            if unsigned { FieldType::bigint_unsigned() } else { FieldType::bigint() }
        }
        _ => {
            let ((p1, s1), (p2, s2)) = (decimal_shape(&ta), decimal_shape(&tb));
            match op {
                ArithOp::Add | ArithOp::Sub => {
                    let s = s1.max(s2);
                    decimal_type((p1 - s1).max(p2 - s2) + s + 1, s)
                }
                ArithOp::Mul => decimal_type(p1 + p2, s1 + s2),
                ArithOp::Div => {
                    let s = (s1 + div_increment).min(30);
                    // The quotient's integer part can have all of the dividend's digits and the divisor's fraction.
                    decimal_type(p1 - s1 + s2 + s, s)
                }
                _ => {
                    let s = s1.max(s2);
                    decimal_type((p1 - s1).max(p2 - s2) + s, s)
                }
            }
        }
    };
    Ok(Expr::call(Func::Arith(op, domain), vec![exact(a), exact(b)], ty))
}

/// Digits after the point that a number is always printed with: PI() and DOUBLE(10,2) have some, DOUBLE has none fixed.
fn fixed_decimals(ty: &FieldType) -> Option<i32> {
    match Domain::of(ty) {
        Domain::Int => Some(0),
        Domain::Decimal | Domain::Real => Some(ty.decimal).filter(|d| (0..NOT_FIXED_DEC).contains(d)),
        _ => None,
    }
}

fn number_for_arith(e: Expr, domain: Domain) -> Expr {
    if is_bit_literal(&e) {
        return to_domain(e, domain);
    }
    match (domain, Domain::of(e.ty())) {
        // Integers take part in exact arithmetic as they are; no cast is needed to widen them.
        (Domain::Int, Domain::Int) | (Domain::Decimal, Domain::Decimal) | (Domain::Real, Domain::Real) => e,
        (Domain::Decimal, Domain::Real) => cast_to(e, FieldType::decimal(65, 30)),
        (Domain::Decimal, Domain::String | Domain::Json) => to_domain(to_domain(e, Domain::Real), Domain::Decimal),
        _ => to_domain(e, domain),
    }
}

/// `-a`.
pub fn neg(a: Expr) -> Result<Expr> {
    if let Some(Datum::UInt(v)) = a.as_const()
        && *v == 1 << 63
    {
        return Ok(Expr::constant(Datum::Int(i64::MIN)));
    }
    let domain = arith_domain(&a);
    let decimals = fixed_decimals(a.ty());
    let a = to_domain(a, domain);
    let ty = match domain {
        Domain::Real => FieldType { decimal: decimals.unwrap_or(-1), ..FieldType::double() },
        Domain::Decimal => decimal_type(decimal_shape(a.ty()).0, decimal_shape(a.ty()).1),
        _ => FieldType::bigint(),
    };
    Ok(Expr::call(Func::Neg(domain), vec![a], ty))
}

/// `a op b` on bits.
pub fn bit(op: BitOp, a: Expr, b: Expr) -> Expr {
    Expr::call(Func::Bit(op), vec![bits(a), bits(b)], FieldType::bigint_unsigned())
}

/// `~a`.
pub fn bit_not(a: Expr) -> Expr {
    Expr::call(Func::BitNot, vec![bits(a)], FieldType::bigint_unsigned())
}

fn bits(e: Expr) -> Expr {
    to_domain(e, Domain::Int)
}

// ---------------------------------------------------------------------------------------------------- control flow

/// The type that holds values of all these expressions (CASE, IF, COALESCE, UNION, VALUES).
pub fn unify(args: &[&Expr]) -> Result<FieldType> {
    let types: Vec<&FieldType> = args.iter().map(|a| a.ty()).filter(|t| t.tp != TypeCode::Null).collect();
    let Some(first) = types.first() else { return Ok(FieldType::new(TypeCode::Null)) };
    let not_null = args.iter().all(|a| a.ty().is_not_null());
    let all = |f: fn(&FieldType) -> bool| types.iter().all(|t| f(t));
    let mut ty = if types.iter().all(|t| t == first) {
        let mut same = (*first).clone();
        same.flags &= flags::UNSIGNED | flags::BINARY | flags::IS_BOOLEAN | flags::ZEROFILL;
        if matches!(same.tp, TypeCode::Enum | TypeCode::Set) { text_type(&same) } else { same }
    } else if all(|t| t.tp.is_integer() || t.tp == TypeCode::Bit) {
        let unsigned =
            types.iter().filter(|t| t.is_unsigned() || matches!(t.tp, TypeCode::Year | TypeCode::Bit)).count();
        match unsigned {
            0 => FieldType::bigint(),
            n if n == types.len() => FieldType::bigint_unsigned(),
            // A narrower unsigned type fits BIGINT; only BIGINT UNSIGNED needs more.
            _ if types.iter().all(|t| !t.is_unsigned() || t.tp != TypeCode::LongLong) => FieldType::bigint(),
            _ => decimal_type(20, 0),
        }
    } else if all(|t| t.tp.is_numeric() || t.tp == TypeCode::Unspecified) {
        if types.iter().any(|t| t.tp.is_float()) {
            FieldType::double()
        } else {
            let shapes: Vec<_> = types.iter().map(|t| decimal_shape(t)).collect();
            let scale = shapes.iter().map(|s| s.1).max().unwrap_or(0);
            let digits = shapes.iter().map(|s| s.0 - s.1).max().unwrap_or(1);
            decimal_type(digits + scale, scale)
        }
    } else if all(|t| t.tp.is_time() || t.tp == TypeCode::Duration) {
        let fsp = types.iter().map(|t| t.fsp()).max().unwrap_or(0).into();
        if all(|t| t.tp == TypeCode::Duration) {
            FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) }
        } else if all(|t| matches!(t.tp, TypeCode::Date | TypeCode::NewDate)) {
            FieldType::new(TypeCode::Date)
        } else {
            FieldType::datetime(fsp)
        }
    } else if all(|t| t.tp == TypeCode::Json) {
        FieldType::new(TypeCode::Json)
    } else {
        let collation = merge_collations(args.iter().copied(), "case")?;
        let flen = types.iter().map(|t| text_type(t).flen.max(t.flen)).max().unwrap_or(-1);
        let open = types.iter().any(|t| t.tp.is_string() && t.flen < 0);
        let blob = types.iter().find(|t| t.tp.is_blob()).map(|t| t.tp);
        let ty =
            FieldType { flen: if open { -1 } else { flen }, ..FieldType::new(blob.unwrap_or(TypeCode::VarString)) };
        ty.with_collation(collation)
    };
    ty.flags &= !flags::NOT_NULL;
    if not_null {
        ty.flags |= flags::NOT_NULL;
    }
    Ok(ty)
}

/// Casts each to the type of all.
fn unified(args: Vec<Expr>) -> Result<(Vec<Expr>, FieldType)> {
    let ty = unify(&args.iter().collect::<Vec<_>>())?;
    let args = args.into_iter().map(|a| coerce(a, &ty)).collect();
    Ok((args, ty))
}

/// Casts to `ty` where the layout of values or their printing would differ.
pub fn coerce(e: Expr, ty: &FieldType) -> Expr {
    if let Expr::Const { value: Datum::Null, .. } = e {
        return Expr::Const { value: Datum::Null, ty: ty.clone() };
    }
    let from = e.ty();
    let same = crate::batch::Physical::of(from) == crate::batch::Physical::of(ty)
        && (from.tp == ty.tp || from.tp.is_string() && ty.tp.is_string() || from.tp.is_integer() && ty.tp.is_integer())
        && (!from.tp.is_time() && from.tp != TypeCode::Duration || from.fsp() == ty.fsp());
    if same { e } else { cast_to(e, ty.clone()) }
}

/// `CASE [operand] WHEN … THEN … [ELSE …] END`.
pub fn case(operand: Option<Expr>, whens: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Result<Expr> {
    let mut conditions = Vec::with_capacity(whens.len());
    let mut results = Vec::with_capacity(whens.len() + 1);
    for (when, then) in whens {
        conditions.push(match &operand {
            Some(operand) => compare(CmpOp::Eq, operand.clone(), when)?,
            None => truth(when),
        });
        results.push(then);
    }
    let nullable = otherwise.is_none();
    results.extend(otherwise);
    let (results, mut ty) = unified(results)?;
    if nullable {
        ty.flags &= !flags::NOT_NULL;
    }
    let mut results = results.into_iter();
    let mut args = Vec::new();
    for condition in conditions {
        args.push(condition);
        args.extend(results.next());
    }
    args.extend(results);
    Ok(Expr::call(Func::Case, args, ty))
}

/// `IF(condition, a, b)`.
pub fn if_then(condition: Expr, a: Expr, b: Expr) -> Result<Expr> {
    let (mut args, ty) = unified(vec![a, b])?;
    args.insert(0, truth(condition));
    Ok(Expr::call(Func::If, args, ty))
}

/// `COALESCE(args)`, `IFNULL(a, b)`.
pub fn coalesce(args: Vec<Expr>) -> Result<Expr> {
    let not_null = args.iter().any(|a| a.ty().is_not_null());
    let (args, mut ty) = unified(args)?;
    if not_null {
        ty.flags |= flags::NOT_NULL;
    }
    Ok(Expr::call(Func::Coalesce, args, ty))
}

fn extreme(largest: bool, args: Vec<Expr>) -> Result<Expr> {
    let refs: Vec<_> = args.iter().collect();
    let mut domain = comparison_domain(refs[0], refs[1]);
    for pair in refs.windows(2) {
        let d = comparison_domain(pair[0], pair[1]);
        if d != domain {
            domain = Domain::Real;
        }
    }
    let ty = match domain {
        Domain::Real if args.iter().any(|a| a.ty().tp.is_string()) && args.iter().any(|a| a.ty().tp.is_time()) => {
            domain = Domain::String;
            unify(&refs)?
        }
        Domain::Real => FieldType::double(),
        _ => {
            let ty = unify(&refs)?;
            domain = Domain::of(&ty);
            ty
        }
    };
    let collation = merge_collations(refs.iter().copied(), if largest { "greatest" } else { "least" })?;
    let args = args.into_iter().map(|a| coerce(a, &ty)).collect();
    let func = if largest { Func::Greatest(domain, collation) } else { Func::Least(domain, collation) };
    Ok(Expr::call(func, args, ty))
}

// ---------------------------------------------------------------------------------------------------- functions

/// `date + INTERVAL amount unit` (minus when `subtract`).
pub fn date_add(date: Expr, amount: Expr, unit: Unit, subtract: bool) -> Result<Expr> {
    let from = date.ty().clone();
    let fractional = match Domain::of(amount.ty()) {
        Domain::Decimal => amount.ty().decimal > 0,
        domain => domain == Domain::Real,
    };
    let has_micros = unit.has_micros() || unit == Unit::Second && fractional;
    let (date, ty) = match Domain::of(&from) {
        Domain::Time => {
            let fsp = if has_micros { 6 } else { i32::from(from.fsp()) };
            let ty = if matches!(from.tp, TypeCode::Date | TypeCode::NewDate) && !unit.has_clock() {
                FieldType::new(TypeCode::Date)
            } else {
                FieldType::datetime(fsp)
            };
            (coerce(date, &if from.tp == TypeCode::Timestamp { ty.clone() } else { from }), ty)
        }
        Domain::Duration if unit.has_clock() || matches!(unit, Unit::Day | Unit::Week) => {
            let fsp = if has_micros { 6 } else { i32::from(from.fsp()) };
            (date, FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) })
        }
        Domain::String => (date, FieldType { flen: 29, ..FieldType::new(TypeCode::VarString) }),
        _ => (to_domain(date, Domain::Time), FieldType::datetime(if has_micros { 6 } else { 0 })),
    };
    // The amount is read as text; other than seconds, fractions round first.
    let amount = match Domain::of(amount.ty()) {
        Domain::Int | Domain::String => amount,
        Domain::Decimal | Domain::Real if unit != Unit::Second => to_domain(amount, Domain::Int),
        _ => amount,
    };
    let amount = to_domain(amount, Domain::String);
    Ok(Expr::call(Func::DateAdd(unit, subtract), vec![date, amount], ty))
}

/// `EXTRACT(unit FROM e)`.
pub fn extract(unit: Unit, e: Expr) -> Result<Expr> {
    let e = match Domain::of(e.ty()) {
        Domain::Time | Domain::Duration => e,
        Domain::String if unit.has_clock() => e,
        _ => to_domain(e, Domain::Time),
    };
    Ok(Expr::call(Func::Scalar(ScalarFn::Extract(unit)), vec![e], FieldType::bigint()))
}

/// `TIMESTAMPDIFF(unit, a, b)`.
pub fn timestamp_diff(unit: Unit, a: Expr, b: Expr) -> Result<Expr> {
    let args = vec![to_domain(a, Domain::Time), to_domain(b, Domain::Time)];
    Ok(Expr::call(Func::Scalar(ScalarFn::TimestampDiff(unit)), args, FieldType::bigint()))
}

/// `CAST(e AS ty)`, as the user wrote it. `ty` is BIGINT, BIGINT UNSIGNED, CHAR(n), BINARY(n), DECIMAL(p,s), DOUBLE,
/// FLOAT, DATE, DATETIME(n), TIME(n), YEAR or JSON.
pub fn cast(e: Expr, ty: FieldType) -> Expr {
    let e = if is_bit_literal(&e) && ty.tp.is_numeric() { bit_number(e) } else { e };
    cast_always(e, ty)
}

/// A function by name.
pub fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let lower = name.to_ascii_lowercase();
    let name = canonical(&lower);
    let count = args.len();
    let wrong_count = || EvalError::WrongParamCount(lower.clone());
    fn take<const N: usize>(args: Vec<Expr>, e: EvalError) -> Result<[Expr; N]> {
        args.try_into().map_err(|_| e)
    }
    match name {
        "if" => {
            let [c, a, b] = take(args, wrong_count())?;
            return if_then(c, a, b);
        }
        "ifnull" => {
            let [a, b] = take(args, wrong_count())?;
            return coalesce(vec![a, b]);
        }
        "nullif" => {
            let [a, b] = take(args, wrong_count())?;
            let mut ty = a.ty().clone();
            ty.flags &= !flags::NOT_NULL;
            let equal = compare(CmpOp::Eq, a.clone(), b)?;
            let null = Expr::Const { value: Datum::Null, ty: ty.clone() };
            return Ok(Expr::call(Func::If, vec![equal, null, a], ty));
        }
        "coalesce" if count >= 1 => return coalesce(args),
        "greatest" | "least" if count >= 2 => return extreme(name == "greatest", args),
        "isnull" => {
            let [a] = take(args, wrong_count())?;
            return Ok(is_null(a));
        }
        "mod" => {
            let [a, b] = take(args, wrong_count())?;
            return arith(ArithOp::Mod, a, b);
        }
        "adddate" | "subdate" if count == 2 => {
            let [a, b] = take(args, wrong_count())?;
            return date_add(a, b, Unit::Day, name == "subdate");
        }
        "coercibility" => {
            let [a] = take(args, wrong_count())?;
            return Ok(Expr::constant(i64::from(coercibility(&a))));
        }
        "regexp_like" if count == 2 => {
            let [a, b] = take(args, wrong_count())?;
            return regexp(a, b);
        }
        _ => {}
    }
    let Some(f) = ScalarFn::by_name(name) else {
        return Err(match name {
            "coalesce" | "greatest" | "least" => wrong_count(),
            _ => EvalError::NoSuchFunction(lower),
        });
    };
    let (min, max) = f.arity();
    if count < min || count > max {
        return Err(wrong_count());
    }
    let kinds = f.args();
    let rounds = matches!(f, ScalarFn::Round | ScalarFn::Truncate | ScalarFn::Ceil | ScalarFn::Floor | ScalarFn::Sign);
    let args: Vec<Expr> = args
        .into_iter()
        .enumerate()
        .map(|(i, a)| match kinds.get(i).or(kinds.last()).copied().unwrap_or(Arg::Any) {
            Arg::Any => a,
            Arg::Str => to_domain(a, Domain::String),
            Arg::Int => to_domain(a, Domain::Int),
            Arg::Real => to_domain(a, Domain::Real),
            Arg::Num => match arith_domain(&a) {
                Domain::Decimal if rounds => exact(to_domain(a, Domain::Decimal)),
                Domain::Real => to_domain(a, Domain::Real),
                d => to_domain(a, d),
            },
            Arg::Time => to_domain(a, Domain::Time),
            Arg::Span => to_domain(a, Domain::Duration),
        })
        .collect();
    let ty = result_type(f, &args)?;
    Ok(Expr::call(Func::Scalar(f), args, ty))
}

/// Fractional digits from a constant argument such as `NOW(6)`.
fn fsp_argument(args: &[Expr]) -> Result<i32> {
    match args.first().map(|a| a.as_const()) {
        None => Ok(0),
        Some(Some(Datum::Int(n))) if (0..=6).contains(n) => Ok(*n as i32),
        _ => Err(EvalError::WrongArguments("now".into())),
    }
}

fn result_type(f: ScalarFn, args: &[Expr]) -> Result<FieldType> {
    use ScalarFn as F;
    let text = |flen: i32| FieldType { flen, ..FieldType::new(TypeCode::VarString) };
    let fsp = args.first().map_or(0, |a| match a.ty().tp {
        TypeCode::DateTime | TypeCode::Timestamp | TypeCode::Duration => a.ty().fsp().into(),
        _ => 0,
    });
    let span = |fsp: i32| FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) };
    Ok(match f.ret() {
        Ret::Int => FieldType::bigint(),
        Ret::UInt => FieldType::bigint_unsigned(),
        // The only function whose digits are fixed.
        Ret::Real if f == F::Pi => FieldType { decimal: 6, ..FieldType::double() },
        Ret::Real => FieldType::double(),
        Ret::Text => {
            let total: i32 = args.iter().map(|a| a.ty().flen).try_fold(0_i32, i32::checked_add).unwrap_or(-1);
            let flen = match f {
                F::Concat => total,
                F::Left | F::Right | F::Substring | F::Upper | F::Lower | F::Reverse | F::SubstringIndex => {
                    args[0].ty().flen
                }
                _ => -1,
            };
            text(flen.max(-1)).with_collation(merge_collations(args, f.name())?)
        }
        Ret::Ascii => text(match f {
            F::Md5 => 32,
            F::Sha1 => 40,
            F::Sha2 => 128,
            F::Uuid => 36,
            F::DayName | F::MonthName => 9,
            F::Conv | F::Bin | F::Oct => 65,
            F::Database | F::User | F::CurrentUser | F::Version | F::Charset | F::Collation => 64,
            F::Hex => args[0].ty().flen.saturating_mul(8).max(-1),
            _ => -1,
        }),
        Ret::Binary => FieldType::varbinary(-1),
        Ret::Date => FieldType::new(TypeCode::Date),
        Ret::DateTime => FieldType::datetime(fsp),
        Ret::Span => span(fsp),
        Ret::First => args[0].ty().clone(),
        Ret::Json => FieldType::new(TypeCode::Json),
        Ret::Special => match f {
            F::Abs => match Domain::of(args[0].ty()) {
                Domain::Int if args[0].ty().is_unsigned() => FieldType::bigint_unsigned(),
                Domain::Int => FieldType::bigint(),
                Domain::Decimal => decimal_type(decimal_shape(args[0].ty()).0, decimal_shape(args[0].ty()).1),
                _ => FieldType::double(),
            },
            F::Ceil | F::Floor => match Domain::of(args[0].ty()) {
                Domain::Int if args[0].ty().is_unsigned() => FieldType::bigint_unsigned(),
                Domain::Int => FieldType::bigint(),
                Domain::Decimal => {
                    let (p, s) = decimal_shape(args[0].ty());
                    if p - s < 18 { FieldType::bigint() } else { decimal_type(p - s + 1, 0) }
                }
                _ => FieldType { decimal: 0, ..FieldType::double() },
            },
            F::Round | F::Truncate => match Domain::of(args[0].ty()) {
                Domain::Int if args[0].ty().is_unsigned() => FieldType::bigint_unsigned(),
                Domain::Int => FieldType::bigint(),
                Domain::Decimal => {
                    let (p, s) = decimal_shape(args[0].ty());
                    let wanted = match args.get(1).map(Expr::as_const) {
                        None => 0,
                        Some(Some(Datum::Int(n))) => (*n).clamp(0, 30) as i32,
                        _ => s,
                    };
                    decimal_type(p - s + wanted + 1, wanted)
                }
                // Printed with as many digits as it is rounded to.
                _ => match args.get(1).map_or(Some(&Datum::Int(0)), Expr::as_const) {
                    Some(Datum::Int(n)) => FieldType { decimal: (*n).clamp(0, 30) as i32, ..FieldType::double() },
                    _ => FieldType::double(),
                },
            },
            F::StrToDate => {
                let pattern = match args[1].as_const() {
                    Some(Datum::Bytes(b)) => String::from_utf8_lossy(b).into_owned(),
                    _ => "%Y %f %T".into(),
                };
                let has =
                    |set: &str| pattern.as_bytes().windows(2).any(|w| w[0] == b'%' && set.as_bytes().contains(&w[1]));
                let fsp = if has("f") { 6 } else { 0 };
                match (has("YymcdeDMbWaj"), has("HkhIlisSfpT")) {
                    (true, false) => FieldType::new(TypeCode::Date),
                    (false, true) => span(fsp),
                    _ => FieldType::datetime(fsp),
                }
            }
            F::UnixTimestamp => match args.first() {
                None => FieldType::bigint(),
                Some(_) if fsp == 0 => FieldType::bigint(),
                Some(_) => decimal_type(12 + fsp, fsp),
            },
            F::FromUnixTime if args.len() == 2 => text(-1),
            F::FromUnixTime => match Domain::of(args[0].ty()) {
                Domain::Int => FieldType::datetime(0),
                Domain::Decimal => FieldType::datetime(args[0].ty().decimal.clamp(0, 6)),
                _ => FieldType::datetime(6),
            },
            F::Now | F::SysDate | F::UtcTimestamp => FieldType::datetime(fsp_argument(args)?),
            F::CurTime | F::UtcTime => span(fsp_argument(args)?),
            F::MakeTime | F::SecToTime => span(match Domain::of(args[args.len() - 1].ty()) {
                Domain::Int => 0,
                Domain::Decimal => args[args.len() - 1].ty().decimal.clamp(0, 6),
                _ => 6,
            }),
            F::AddTime | F::SubTime => match Domain::of(args[0].ty()) {
                Domain::Time => FieldType::datetime(fsp.max(args[1].ty().fsp().into())),
                Domain::Duration => span(fsp.max(args[1].ty().fsp().into())),
                _ => text(29),
            },
            F::TimeDiff => span(
                args.iter()
                    .map(|a| match a {
                        Expr::Const { value: Datum::Bytes(b), .. } => Time::fsp_of(&String::from_utf8_lossy(b)).into(),
                        a if a.ty().tp.is_string() => 6,
                        a => a.ty().fsp().into(),
                    })
                    .max()
                    .unwrap_or(0),
            ),
            _ => FieldType::bigint(),
        },
    })
}
