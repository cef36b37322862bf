//! Operators and control flow. Their meaning is in [`crate::infer`] and [`crate::eval`]; the rows say that they exist.

use codec::datum::Datum;
use codec::types::flags;

use crate::expr::function::{Body, Function, Group, MANY};
use crate::expr::{CmpOp, Expr, Func};
use crate::infer;

const fn operator(name: &'static str) -> Function {
    Function::new(Group::Operator, name, Body::Syntax)
}

const fn flow(name: &'static str) -> Function {
    Function::new(Group::Control, name, Body::Syntax)
}

pub(super) static ROWS: &[Function] = &[
    operator("=").pushed(),
    operator("<=>").pushed(),
    operator("<>").alias(&["!="]).pushed(),
    operator("<").pushed(),
    operator("<=").pushed(),
    operator(">").pushed(),
    operator(">=").pushed(),
    operator("between").pushed(),
    operator("not between").pushed(),
    operator("in").pushed(),
    operator("not in").pushed(),
    operator("is").pushed(),
    operator("is not").pushed(),
    operator("is null").pushed(),
    operator("is not null").pushed(),
    operator("like").pushed(),
    operator("not like").pushed(),
    operator("not regexp").pushed(),
    Function::refused(
        Group::Operator,
        "sounds like",
        "the grammar does not know it yet; SOUNDEX(a) = SOUNDEX(b) is the same",
    ),
    operator("exists"),
    operator("not exists"),
    operator("and").alias(&["&&"]).pushed(),
    operator("or").alias(&["||"]).pushed(),
    operator("xor").pushed(),
    operator("not").alias(&["!"]).pushed(),
    operator("+").pushed(),
    operator("-").pushed(),
    operator("*").pushed(),
    operator("/").pushed(),
    operator("div").pushed(),
    operator("%").pushed(),
    operator("&").pushed(),
    operator("|").pushed(),
    operator("^").pushed(),
    operator("~").pushed(),
    operator("<<").pushed(),
    operator(">>").pushed(),
    operator("->"),
    operator("->>"),
    Function::refused(Group::Operator, ":=", "only in SET"),
    Function::refused(Group::Operator, "binary", "the grammar does not know it; CAST(… AS BINARY) is the same"),
    operator("cast").pushed(),
    operator("convert").pushed(),
    operator("collate").pushed(),
    flow("case").pushed(),
    Function::built(Group::Control, "if", (3, 3), |args| {
        let [condition, a, b] = super::take(args);
        infer::if_then(condition, a, b)
    })
    .pushed(),
    Function::built(Group::Control, "ifnull", (2, 2), infer::coalesce).pushed(),
    Function::built(Group::Control, "nullif", (2, 2), |args| {
        let [a, b] = super::take(args);
        let mut ty = a.ty().clone();
        ty.flags &= !flags::NOT_NULL;
        let equal = infer::compare(CmpOp::Eq, a.clone(), b)?;
        let null = Expr::Const { value: Datum::Null, ty: ty.clone() };
        Ok(Expr::call(Func::If, vec![equal, null, a], ty))
    })
    .pushed(),
    Function::built(Group::Operator, "coalesce", (1, MANY), infer::coalesce).pushed(),
    Function::built(Group::Operator, "greatest", (2, MANY), |args| infer::extreme(true, args)).pushed(),
    Function::built(Group::Operator, "least", (2, MANY), |args| infer::extreme(false, args)).pushed(),
    Function::built(Group::Operator, "isnull", (1, 1), |args| {
        let [a] = super::take(args);
        Ok(infer::is_null(a))
    })
    .pushed(),
];
