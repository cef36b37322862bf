//! Aggregate functions: their types, and which of them storage nodes can compute in part
//! (`optimize` has them do it).
//!
//! | call | part on the storage node | merged here by |
//! |---|---|---|
//! | COUNT(x) | count | sum of the counts |
//! | SUM, MIN, MAX, BIT_* | itself | itself |
//! | a column that the group determines | firstrow | any |
//!
//! AVG(x) is no function of its own: it is bound as SUM(x) / COUNT(x).

use codec::types::{FieldType, TypeCode, flags};
use query::context::EvalContext;
use query::expr::{ArithOp, Domain, Expr};
use query::infer as types;
use sql_base::SqlError;

/// Arguments cast as the function wants them, and the type of the result.
pub fn infer(name: &str, args: Vec<Expr>) -> Result<(Vec<Expr>, FieldType), SqlError> {
    let wanted = match name {
        // As MySQL describes it: one more than the digits and the sign of a BIGINT.
        "count" => {
            let ty = FieldType { flen: 21, ..FieldType::bigint() };
            return Ok((args, ty.with_flags(flags::NOT_NULL)));
        }
        "group_concat" => {
            let args: Vec<Expr> = args.into_iter().map(|a| types::to_domain(a, Domain::String)).collect();
            let collation = types::merge_collations(&args, name)?;
            return Ok((
                args,
                FieldType { flen: 1024, ..FieldType::new(TypeCode::VarString) }.with_collation(collation),
            ));
        }
        "json_objectagg" => 2,
        _ => 1,
    };
    if args.len() != wanted {
        return Err(SqlError::WrongParameterCount(name.to_owned()));
    }
    let nullable = |mut ty: FieldType| {
        ty.flags &= !flags::NOT_NULL;
        ty
    };
    let arg = args[0].clone();
    Ok(match name {
        "sum" => {
            let domain = match Domain::of(arg.ty()) {
                Domain::Int | Domain::Decimal => Domain::Decimal,
                _ => Domain::Real,
            };
            if domain == Domain::Real {
                return Ok((vec![types::to_domain(arg, Domain::Real)], FieldType::double()));
            }
            let ty = sum_type(arg.ty());
            (vec![types::exact(types::to_domain(arg, Domain::Decimal))], ty)
        }
        "min" | "max" | "firstrow" => {
            let ty = nullable(arg.ty().clone());
            (vec![arg], ty)
        }
        "bit_and" | "bit_or" | "bit_xor" => {
            (vec![types::to_domain(arg, Domain::Int)], FieldType::bigint_unsigned().with_flags(flags::NOT_NULL))
        }
        "stddev_pop" | "stddev_samp" | "var_pop" | "var_samp" => {
            (vec![types::to_domain(arg, Domain::Real)], FieldType::double())
        }
        "json_arrayagg" | "json_objectagg" => (args, FieldType::new(TypeCode::Json)),
        other => return Err(SqlError::NotSupported(other.to_uppercase())),
    })
}

/// Digits that a sum may have beyond those of what is summed.
const SUM_DIGITS: i32 = 22;

/// The type of the sum over values of a type.
pub fn sum_type(arg: &FieldType) -> FieldType {
    if arg.tp.is_float() {
        return FieldType::double();
    }
    let (precision, scale) = types::decimal_shape(arg);
    FieldType::decimal((precision + SUM_DIGITS).min(65), scale)
}

/// AVG as `sum / count`; `shown` is the type of the sum as the user would see it.
pub fn average(sum: Expr, count: Expr, shown: &FieldType, cx: &EvalContext) -> Result<Expr, SqlError> {
    let mut average = types::arith_with(ArithOp::Div, sum, count, cx.div_precision_increment)?;
    if let Expr::Call(call) = &mut average
        && Domain::of(&call.ty) == Domain::Decimal
    {
        let (precision, scale) = types::decimal_shape(shown);
        let increment = i32::from(cx.div_precision_increment);
        let summed = if precision < 65 { precision - SUM_DIGITS } else { precision };
        call.ty = FieldType::decimal((summed + increment).min(65), (scale + increment).min(30));
    }
    Ok(average)
}
