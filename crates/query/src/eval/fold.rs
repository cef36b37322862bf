//! Constant folding.

use super::eval_const;
use crate::context::{EvalContext, Severity};
use crate::expr::{ArithOp, Expr, Func};
use crate::types::EvalType;

/// Replaces every part that needs no row by its value, at the moment of `ctx`. Parts that fail or warn stay, so that they do
/// so when (and if) they are evaluated for a row. So do quotients, whose digits are cut only where they are shown.
pub fn fold(expr: Expr, ctx: &EvalContext) -> Expr {
    fold_with(expr, ctx, &mut None)
}

fn fold_with(expr: Expr, ctx: &EvalContext, quiet: &mut Option<EvalContext>) -> Expr {
    let Expr::Call(mut call) = expr else { return expr };
    call.args = call.args.into_iter().map(|a| fold_with(a, ctx, quiet)).collect();
    let constant = call.args.iter().all(|a| matches!(a, Expr::Const { .. }));
    let volatile = matches!(call.func, Func::Scalar(f) if f.volatile);
    let quotient = call.func == Func::Arith(ArithOp::Div, EvalType::Decimal);
    let expr = Expr::Call(call);
    if !constant || volatile || quotient {
        return expr;
    }
    let quiet = quiet.get_or_insert_with(|| EvalContext {
        warnings: Vec::new(),
        warning_count: 0,
        on_truncate: Severity::Error,
        on_division_by_zero: Severity::Error,
        ..ctx.clone()
    });
    let before = quiet.warning_count;
    match eval_const(&expr, quiet) {
        Ok(value) if quiet.warning_count == before => {
            let mut ty = expr.ty().clone();
            if value.is_null() {
                ty.flags &= !codec::types::flags::NOT_NULL;
            }
            Expr::Const { value, ty }
        }
        _ => expr,
    }
}
