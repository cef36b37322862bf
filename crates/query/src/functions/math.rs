//! Functions of numbers.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::types::{FieldType, TypeCode};
use proto::tipb::ScalarFuncSig as Sig;

use super::args::*;
use crate::context::EvalContext;
use crate::error::{Result, Warning};
use crate::eval::{fit_integer, out_of_range};
use crate::expr::function::{Arg, Function, Group, Ret, When};
use crate::expr::{ArithOp, Call, Expr};
use crate::infer;
use crate::types::{EvalType, decimal_shape, decimal_type};
use crate::value;

const fn math(
    name: &'static str,
    count: (usize, usize),
    args: &'static [Arg],
    ret: Ret,
    kernel: crate::expr::function::RowKernel,
) -> Function {
    Function::kernel(Group::Math, name, count, args, ret, kernel)
}

/// A function of one float.
const fn of_real(name: &'static str, kernel: crate::expr::function::RowKernel) -> Function {
    math(name, (1, 1), &[Arg::Real], Ret::Real, kernel)
}

pub(super) static ROWS: &[Function] = &[
    math("abs", (1, 1), &[Arg::Num], Ret::Rule(abs_type), abs).digits().pb(&[
        (Sig::AbsUInt, When::Unsigned),
        (Sig::AbsInt, When::Of(EvalType::Int)),
        (Sig::AbsDecimal, When::Of(EvalType::Decimal)),
        (Sig::AbsReal, When::Of(EvalType::Real)),
    ]),
    math("ceil", (1, 1), &[Arg::ExactNum], Ret::Rule(whole_type), |c, v, x| {
        whole(c, &v[0], x, f64::ceil, Decimal::ceil)
    })
    .alias(&["ceiling"])
    .pb(&[
        (Sig::CeilIntToInt, When::Of(EvalType::Int)),
        (Sig::CeilDecToDec, When::Of(EvalType::Decimal)),
        (Sig::CeilReal, When::Of(EvalType::Real)),
        (Sig::CeilIntToDec, When::Received),
        (Sig::CeilDecToInt, When::Received),
    ]),
    math("floor", (1, 1), &[Arg::ExactNum], Ret::Rule(whole_type), |c, v, x| {
        whole(c, &v[0], x, f64::floor, Decimal::floor)
    })
    .pb(&[
        (Sig::FloorIntToInt, When::Of(EvalType::Int)),
        (Sig::FloorDecToDec, When::Of(EvalType::Decimal)),
        (Sig::FloorReal, When::Of(EvalType::Real)),
        (Sig::FloorIntToDec, When::Received),
        (Sig::FloorDecToInt, When::Received),
    ]),
    math("round", (1, 2), &[Arg::ExactNum, Arg::Int], Ret::Rule(rounded_type), |c, v, x| round(c, v, x, false)).pb(&[
        (Sig::RoundInt, When::OfCount(EvalType::Int, 1)),
        (Sig::RoundDec, When::OfCount(EvalType::Decimal, 1)),
        (Sig::RoundReal, When::OfCount(EvalType::Real, 1)),
        (Sig::RoundWithFracInt, When::OfCount(EvalType::Int, 2)),
        (Sig::RoundWithFracDec, When::OfCount(EvalType::Decimal, 2)),
        (Sig::RoundWithFracReal, When::OfCount(EvalType::Real, 2)),
    ]),
    math("truncate", (2, 2), &[Arg::ExactNum, Arg::Int], Ret::Rule(rounded_type), |c, v, x| round(c, v, x, true)),
    math("sign", (1, 1), &[Arg::Real], Ret::Int, |_, v, _| {
        integer(match real(&v[0]) {
            n if n > 0.0 => 1,
            n if n < 0.0 => -1,
            _ => 0,
        })
    }),
    of_real("sqrt", |c, v, _| finite(real(&v[0]).sqrt(), c)),
    math("pow", (2, 2), &[Arg::Real], Ret::Real, |c, v, _| {
        let r = real(&v[0]).powf(real(&v[1]));
        if r.is_nan() { Err(out_of_range("DOUBLE", c)) } else { finite(r, c) }
    })
    .alias(&["power"]),
    of_real("exp", |c, v, _| finite(real(&v[0]).exp(), c)),
    of_real("ln", |_, v, x| logarithm(real(&v[0]), x, f64::ln)),
    math("log", (1, 2), &[Arg::Real], Ret::Real, |_, v, x| match v {
        [n] => logarithm(real(n), x, f64::ln),
        // The base is looked at first, and says the same.
        [base, n] => match (real(base), real(n)) {
            (base, n) if base > 0.0 && base != 1.0 && n > 0.0 => float(n.ln() / base.ln()),
            _ => logarithm(0.0, x, f64::ln),
        },
        _ => NULL,
    }),
    of_real("log2", |_, v, x| logarithm(real(&v[0]), x, f64::log2)),
    of_real("log10", |_, v, x| logarithm(real(&v[0]), x, f64::log10)),
    // The only function whose digits are fixed.
    math("pi", (0, 0), &[], Ret::Rule(|_| Ok(FieldType { decimal: 6, ..FieldType::double() })), |_, _, _| {
        float(std::f64::consts::PI)
    }),
    of_real("sin", |_, v, _| float(real(&v[0]).sin())),
    of_real("cos", |_, v, _| float(real(&v[0]).cos())),
    of_real("tan", |_, v, _| float(real(&v[0]).tan())),
    of_real("cot", |c, v, _| finite(1.0 / real(&v[0]).tan(), c)),
    of_real("asin", |c, v, _| finite(real(&v[0]).asin(), c)),
    of_real("acos", |c, v, _| finite(real(&v[0]).acos(), c)),
    math("atan", (1, 2), &[Arg::Real], Ret::Real, arc_tangent),
    math("atan2", (2, 2), &[Arg::Real], Ret::Real, arc_tangent),
    of_real("radians", |_, v, _| float(real(&v[0]).to_radians())),
    of_real("degrees", |_, v, _| float(real(&v[0]).to_degrees())),
    math("rand", (0, 1), &[Arg::Int], Ret::Real, random).nulls().volatile(),
    math("crc32", (1, 1), &[Arg::Str], Ret::UInt, |c, v, _| {
        Ok(Datum::UInt(crate::digest::crc32(&encoded(c, v)).into()))
    }),
    math("conv", (3, 3), &[Arg::Str, Arg::Int, Arg::Int], Ret::Ascii(65), |_, v, _| {
        Ok(conv(&lossy(&v[0]), int(&v[1]), int(&v[2])))
    }),
    math("bin", (1, 1), &[Arg::Int], Ret::Ascii(65), |_, v, _| string(format!("{:b}", bits(&v[0])))),
    math("oct", (1, 1), &[Arg::Int], Ret::Ascii(65), |_, v, _| string(format!("{:o}", bits(&v[0])))),
    math("bit_count", (1, 1), &[Arg::Int], Ret::Int, |_, v, _| integer(bits(&v[0]).count_ones().into()))
        .pb(&[(Sig::BitCount, When::Always)]),
    Function::built(Group::Math, "mod", (2, 2), |args| {
        let [a, b] = super::take(args);
        infer::arith(ArithOp::Mod, a, b)
    })
    .pushed(),
    math("format", (2, 3), &[Arg::Num, Arg::Int, Arg::Str], Ret::Ascii(-1), format_number).nulls(),
];

fn abs_type(args: &[Expr]) -> Result<FieldType> {
    let ty = args[0].ty();
    Ok(match EvalType::of(ty) {
        EvalType::Int if ty.is_unsigned() => FieldType::bigint_unsigned(),
        EvalType::Int => FieldType::bigint(),
        EvalType::Decimal => decimal_type(decimal_shape(ty).0, decimal_shape(ty).1),
        _ => FieldType::double(),
    })
}

fn abs(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    Ok(match &v[0] {
        Datum::Int(n) => Datum::Int(n.checked_abs().ok_or_else(|| out_of_range("BIGINT", call))?),
        Datum::Decimal(d) => Datum::Decimal(d.abs()),
        Datum::Float(n) => Datum::Float(n.abs()),
        n => n.clone(),
    })
}

fn whole_type(args: &[Expr]) -> Result<FieldType> {
    let ty = args[0].ty();
    Ok(match EvalType::of(ty) {
        EvalType::Int if ty.is_unsigned() => FieldType::bigint_unsigned(),
        EvalType::Int => FieldType::bigint(),
        EvalType::Decimal => {
            let (p, s) = decimal_shape(ty);
            if p - s < 18 { FieldType::bigint() } else { decimal_type(p - s + 1, 0) }
        }
        _ => FieldType { decimal: 0, ..FieldType::double() },
    })
}

fn whole(
    call: &Call,
    v: &Datum,
    ctx: &EvalContext,
    of_float: fn(f64) -> f64,
    of_decimal: fn(&Decimal) -> Decimal,
) -> Result<Datum> {
    match v {
        Datum::Float(n) => float(of_float(*n)),
        Datum::Decimal(d) => {
            let d = of_decimal(d);
            if EvalType::of(&call.ty) != EvalType::Int {
                return Ok(Datum::Decimal(d));
            }
            fit_integer(d.to_i128_unscaled().ok_or_else(|| out_of_range("BIGINT", call))?, call, ctx)
        }
        n => Ok(n.clone()),
    }
}

fn rounded_type(args: &[Expr]) -> Result<FieldType> {
    let ty = args[0].ty();
    Ok(match EvalType::of(ty) {
        EvalType::Int if ty.is_unsigned() => FieldType::bigint_unsigned(),
        EvalType::Int => FieldType::bigint(),
        EvalType::Decimal => {
            let (p, s) = decimal_shape(ty);
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
    })
}

fn round(call: &Call, v: &[Datum], ctx: &mut EvalContext, truncate: bool) -> Result<Datum> {
    let digits = int_at(v, 1, 0).clamp(-100, 100) as i32;
    match &v[0] {
        Datum::Decimal(d) => {
            let d = if truncate { d.truncate(digits) } else { d.round(digits) };
            Ok(Datum::Decimal(d.round(call.ty.decimal.clamp(0, 30))))
        }
        Datum::Float(n) => {
            let unit = 10_f64.powi(digits.abs());
            let scaled = if digits >= 0 { n * unit } else { n / unit };
            let r = if truncate { scaled.trunc() } else { scaled.round_ties_even() };
            let r = if digits >= 0 { r / unit } else { r * unit };
            float(if r.is_finite() { r } else { *n })
        }
        n if digits >= 0 => Ok(n.clone()),
        n => {
            let d = match n {
                Datum::Int(n) => Decimal::from(*n),
                n => Decimal::from(bits(n)),
            };
            let d = if truncate { d.truncate(digits) } else { d.round(digits) };
            fit_integer(d.to_i128_unscaled().unwrap_or(i128::MAX), call, ctx)
        }
    }
}

fn logarithm(n: f64, ctx: &mut EvalContext, log: fn(f64) -> f64) -> Result<Datum> {
    if n <= 0.0 {
        ctx.warn(Warning { code: 3020, message: "Invalid argument for logarithm".into() });
        return NULL;
    }
    float(log(n))
}

fn arc_tangent(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    float(match v.get(1) {
        None => real(&v[0]).atan(),
        Some(x) => real(&v[0]).atan2(real(x)),
    })
}

fn random(_: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let bits = match v.first() {
        // The same seed gives the same number on every row of one call, as each row starts again.
        Some(seed) => EvalContext { random: int(seed) as u64, ..EvalContext::default() }.next_random(),
        None => ctx.next_random(),
    };
    float((bits >> 11) as f64 / (1_u64 << 53) as f64)
}

fn conv(s: &str, from: i64, to: i64) -> Datum {
    let (f, t) = (from.unsigned_abs(), to.unsigned_abs());
    if !(2..=36).contains(&f) || !(2..=36).contains(&t) {
        return Datum::Null;
    }
    let s = s.trim();
    let (negative, digits) = s.strip_prefix('-').map_or((false, s), |rest| (true, rest));
    let mut n = 0_u64;
    for d in digits.chars().map_while(|c| c.to_digit(f as u32)) {
        n = n.checked_mul(f).and_then(|n| n.checked_add(d.into())).unwrap_or(u64::MAX);
    }
    if negative {
        n = n.wrapping_neg();
    }
    let (minus, mut n) = if to < 0 && (n as i64) < 0 { ("-", (n as i64).unsigned_abs()) } else { ("", n) };
    let mut out = Vec::new();
    loop {
        out.push(char::from_digit((n % t) as u32, 36).unwrap_or('0').to_ascii_uppercase());
        n /= t;
        if n == 0 {
            break;
        }
    }
    Datum::string(minus.chars().chain(out.into_iter().rev()).collect::<String>())
}

fn format_number(_: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    if v[0].is_null() || v[1].is_null() {
        return NULL;
    }
    let digits = int(&v[1]).clamp(0, 30) as i32;
    let d = match &v[0] {
        Datum::Float(n) => format!("{n:.*}", digits as usize),
        n => value::to_decimal(n, ctx)?.round(digits).to_string(),
    };
    let (sign, d) = d.strip_prefix('-').map_or(("", d.as_str()), |rest| ("-", rest));
    let (whole, fraction) = d.split_once('.').unwrap_or((d, ""));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    string(format!("{sign}{grouped}{point}{fraction}"))
}

/// An integer of `HEX` and `BIN`: a number that is none is rounded first.
pub(super) fn rounded_bits(v: &Datum, ty: &FieldType, ctx: &mut EvalContext) -> Result<u64> {
    Ok(bits(&value::cast(v.clone(), ty, &FieldType::new(TypeCode::LongLong), ctx)?))
}
