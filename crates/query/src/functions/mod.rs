//! The functions of SQL: one row each ([`Function`]), in the file of their kind.
//!
//! Everything that asks about a function looks it up here: building a call ([`call`]) casts the arguments and settles the
//! type as the row says, [`crate::eval`] runs the row's kernel, [`crate::pb`] sends its signature, and `docs/functions.md` is
//! printed from the rows (`UPDATE=1 cargo test -p query documentation`). To add a function, add a row and a case in
//! `tests.rs`.
//!
//! What MySQL 8 has and we have not is a row, too, with the reason. A name that is in no row does not exist (1305).

mod aggregate;
mod args;
mod control;
mod crypto;
mod info;
mod json;
mod lock;
mod math;
mod misc;
mod refused;
mod regexp;
mod string;
mod time;

use std::collections::HashMap;
use std::sync::LazyLock;

use codec::types::{FieldType, TypeCode};
use proto::tipb::ScalarFuncSig as Sig;

use crate::error::{EvalError, Result};
use crate::expr::function::{Arg, Body, Function, Length, Ret, ScalarFn};
use crate::expr::{Expr, Func};
use crate::infer;
use crate::types::EvalType;

static FILES: [&[Function]; 12] = [
    control::ROWS,
    math::ROWS,
    string::ROWS,
    regexp::ROWS,
    time::ROWS,
    json::ROWS,
    crypto::ROWS,
    info::ROWS,
    misc::ROWS,
    lock::ROWS,
    aggregate::ROWS,
    refused::ROWS,
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FILES.iter().copied().flatten()
}

/// The row of a name or another name, in lower case.
pub fn find(name: &str) -> Option<&'static Function> {
    static BY_NAME: LazyLock<HashMap<&str, &Function>> = LazyLock::new(|| {
        all().flat_map(|f| [f.name].iter().chain(f.aliases).map(|n| (*n, f)).collect::<Vec<_>>()).collect()
    });
    BY_NAME.get(name).copied()
}

/// The row whose signature this is.
pub fn by_signature(sig: Sig) -> Option<&'static Function> {
    static BY_SIGNATURE: LazyLock<HashMap<Sig, &Function>> =
        LazyLock::new(|| all().flat_map(|f| f.pb.iter().map(move |(sig, _)| (*sig, f))).collect());
    BY_SIGNATURE.get(&sig).copied()
}

/// A function by name, with its arguments cast and its type settled.
pub fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let lower = name.to_ascii_lowercase();
    let Some(f) = find(&lower) else { return Err(EvalError::NoSuchFunction(lower)) };
    match f.body {
        Body::Refused(reason) => Err(EvalError::Unsupported(format!("{}(): {reason}", lower.to_ascii_uppercase()))),
        // The grammar knows these, not the table of functions.
        Body::Syntax | Body::Aggregate => Err(EvalError::NoSuchFunction(lower)),
        _ if !f.takes(args.len()) => Err(EvalError::WrongParamCount(lower)),
        Body::Built(build) => build(args),
        Body::Kernel(..) => kernel_call(f, args),
    }
}

/// A call of a kernel.
fn kernel_call(f: &'static Function, args: Vec<Expr>) -> Result<Expr> {
    let cast = |(i, arg): (usize, Expr)| match f.args.get(i).or(f.args.last()).copied().unwrap_or(Arg::Any) {
        Arg::Any => arg,
        Arg::Str => infer::to_eval_type(arg, EvalType::String),
        Arg::Int => infer::to_eval_type(arg, EvalType::Int),
        Arg::Real => infer::to_eval_type(arg, EvalType::Real),
        kind @ (Arg::Num | Arg::ExactNum) => {
            let ty = infer::arith_type(&arg);
            let number = infer::to_eval_type(arg, ty);
            if kind == Arg::ExactNum && ty == EvalType::Decimal { infer::exact(number) } else { number }
        }
        Arg::Time => infer::to_eval_type(arg, EvalType::Time),
        Arg::Span => infer::to_eval_type(arg, EvalType::Duration),
    };
    let args: Vec<Expr> = args.into_iter().enumerate().map(cast).collect();
    let ty = result_type(f, &args)?;
    Ok(Expr::call(Func::Scalar(ScalarFn(f)), args, ty))
}

/// Exactly these many arguments, as the row has said.
fn take<const N: usize>(args: Vec<Expr>) -> [Expr; N] {
    let count = args.len();
    args.try_into().unwrap_or_else(|_| unreachable!("a row takes {N} arguments and was given {count}"))
}

/// Text of at most so many characters.
fn text_of(flen: i32) -> FieldType {
    FieldType { flen, ..FieldType::new(TypeCode::VarString) }
}

/// Fractional digits of the first argument.
fn fsp_of(args: &[Expr]) -> i32 {
    args.first().map_or(0, |a| match a.ty().tp {
        TypeCode::DateTime | TypeCode::Timestamp | TypeCode::Duration => a.ty().fsp().into(),
        _ => 0,
    })
}

fn result_type(f: &Function, args: &[Expr]) -> Result<FieldType> {
    let Body::Kernel(ret, ..) = f.body else { return Ok(FieldType::new(TypeCode::Null)) };
    Ok(match ret {
        Ret::Int => FieldType::bigint(),
        Ret::UInt => FieldType::bigint_unsigned(),
        Ret::Real => FieldType::double(),
        Ret::Text(length) => {
            let flen = match length {
                Length::Open => -1,
                Length::First => args[0].ty().flen,
                Length::Sum => args.iter().map(|a| a.ty().flen).try_fold(0_i32, i32::checked_add).unwrap_or(-1),
            };
            text_of(flen.max(-1)).with_collation(infer::merge_collations(args, f.name)?)
        }
        Ret::Ascii(flen) => text_of(flen),
        Ret::Binary => FieldType::varbinary(-1),
        Ret::Date => FieldType::new(TypeCode::Date),
        Ret::DateTime => FieldType::datetime(fsp_of(args)),
        Ret::Span => FieldType { decimal: fsp_of(args), ..FieldType::new(TypeCode::Duration) },
        Ret::First => args[0].ty().clone(),
        Ret::Json => FieldType::new(TypeCode::Json),
        Ret::Rule(rule) => rule(args)?,
    })
}

#[cfg(test)]
mod tests;
