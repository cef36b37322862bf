//! CASE, IF, COALESCE, GREATEST, LEAST.

use codec::types::{FieldType, flags};

use super::collation::merge_collations;
use super::compare::{compare, comparison_type};
use super::logic::truth;
use super::unify::{coerce, unified, unify};
use crate::error::Result;
use crate::expr::{CmpOp, Expr, Func};
use crate::types::EvalType;

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

pub(crate) fn extreme(largest: bool, args: Vec<Expr>) -> Result<Expr> {
    let refs: Vec<_> = args.iter().collect();
    let mut domain = comparison_type(refs[0], refs[1]);
    for pair in refs.windows(2) {
        let d = comparison_type(pair[0], pair[1]);
        if d != domain {
            domain = EvalType::Real;
        }
    }
    let ty = match domain {
        EvalType::Real if args.iter().any(|a| a.ty().tp.is_string()) && args.iter().any(|a| a.ty().tp.is_time()) => {
            domain = EvalType::String;
            unify(&refs)?
        }
        EvalType::Real => FieldType::double(),
        _ => {
            let ty = unify(&refs)?;
            domain = EvalType::of(&ty);
            ty
        }
    };
    let collation = merge_collations(refs.iter().copied(), if largest { "greatest" } else { "least" })?;
    let args = args.into_iter().map(|a| coerce(a, &ty)).collect();
    let func = if largest { Func::Greatest(domain, collation) } else { Func::Least(domain, collation) };
    Ok(Expr::call(func, args, ty))
}
