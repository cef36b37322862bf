//! The collation in which strings of several expressions are compared or joined.

use codec::types::{Collation, FieldType, TypeCode, flags};

use super::cast::{cast_to, to_eval_type};
use crate::error::{EvalError, Result};
use crate::expr::{Expr, Func};
use crate::types::EvalType;

/// How strongly a string insists on its collation, as MySQL's COERCIBILITY counts: lower is stronger.
pub(crate) fn coercibility(e: &Expr) -> u8 {
    match e {
        _ if e.ty().tp == TypeCode::Null => 6,
        _ if !(e.ty().tp.is_string() || matches!(e.ty().tp, TypeCode::Enum | TypeCode::Set)) => 5,
        Expr::Const { .. } | Expr::Param(_) => 4,
        Expr::Column { .. } => 2,
        Expr::Call(call) if call.func == Func::Cast && call.ty.has(flags::SAYS_COLLATE) => 0,
        Expr::Call(call) if call.func == Func::Cast => match call.args.first() {
            Some(arg) => coercibility(arg).max(2),
            None => 4,
        },
        Expr::Call(call) => match call.func {
            Func::Scalar(f) if f.coercibility.is_some() => f.coercibility.unwrap_or(4),
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
    let e = to_eval_type(e, EvalType::String);
    // What it says counts even where it is the collation already.
    let ty = e.ty().clone().with_collation(collation);
    let ty = FieldType { flags: ty.flags | flags::SAYS_COLLATE, ..ty };
    cast_to(e, ty)
}
