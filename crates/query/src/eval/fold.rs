//! Constant folding.

use super::eval_const;
use crate::context::{EvalContext, Severity};
use crate::expr::Expr;

/// Replaces every part that needs no row by its value. Parts that fail or warn stay, so that they do so when (and if) they
/// are evaluated for a row.
pub fn fold(expr: Expr, ctx: &EvalContext) -> Expr {
    let Expr::Call(mut call) = expr else { return expr };
    call.args = call.args.into_iter().map(|a| fold(a, ctx)).collect();
    let constant = call.args.iter().all(|a| a.as_const().is_some());
    let expr = Expr::Call(call);
    if !constant || expr.is_volatile() {
        return expr;
    }
    let mut quiet = ctx.clone();
    quiet.warnings.clear();
    quiet.warning_count = 0;
    quiet.on_truncate = Severity::Error;
    quiet.on_division_by_zero = Severity::Error;
    match eval_const(&expr, &mut quiet) {
        Ok(value) if quiet.warning_count == 0 => {
            let mut ty = expr.ty().clone();
            if value.is_null() {
                ty.flags &= !codec::types::flags::NOT_NULL;
            }
            Expr::Const { value, ty }
        }
        _ => expr,
    }
}
