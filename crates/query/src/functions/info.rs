//! What a session and an expression tell of themselves.

use codec::datum::Datum;

use super::args::*;
use crate::expr::Expr;
use crate::expr::function::{Arg, Function, Group, Ret, RowKernel};
use crate::infer;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Info, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    of("database", (0, 0), &[], Ret::Ascii(64), |_, _, x| or_null(x.session.database.clone().map(Datum::string)))
        .alias(&["schema"])
        .coercibility(3),
    of("user", (0, 0), &[], Ret::Ascii(64), |_, _, x| string(x.session.user.as_str()))
        .alias(&["session_user", "system_user"])
        .coercibility(3),
    of("current_user", (0, 0), &[], Ret::Ascii(64), |_, _, x| string(x.session.current_user.as_str())).coercibility(3),
    of("version", (0, 0), &[], Ret::Ascii(64), |_, _, x| string(x.session.version.as_str())).coercibility(3),
    of("connection_id", (0, 0), &[], Ret::UInt, |_, _, x| Ok(Datum::UInt(x.session.connection_id))),
    of("last_insert_id", (0, 1), &[Arg::Int], Ret::UInt, |_, v, x| match v.first() {
        None => Ok(Datum::UInt(x.session.last_insert_id)),
        Some(Datum::Null) => NULL,
        Some(n) => {
            x.set_last_insert_id = Some(bits(n));
            Ok(Datum::UInt(bits(n)))
        }
    })
    .nulls()
    .volatile(),
    of("found_rows", (0, 0), &[], Ret::UInt, |_, _, x| Ok(Datum::UInt(x.session.found_rows))),
    of("row_count", (0, 0), &[], Ret::Int, |_, _, x| integer(x.session.row_count)),
    of("charset", (1, 1), &[Arg::Any], Ret::Ascii(64), |c, _, _| string(c.args[0].ty().collation.charset())).nulls(),
    of("collation", (1, 1), &[Arg::Any], Ret::Ascii(64), |c, _, _| string(c.args[0].ty().collation.name())).nulls(),
    Function::built(Group::Info, "coercibility", (1, 1), |args| {
        let [a] = super::take(args);
        Ok(Expr::constant(i64::from(infer::coercibility(&a))))
    }),
];
