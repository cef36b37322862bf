//! What a session and an expression tell of themselves.

use codec::datum::Datum;

use super::args::*;
use crate::error::EvalError;
use crate::expr::Expr;
use crate::expr::function::{Arg, Function, Group, Ret, RowKernel};
use crate::infer;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Info, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    of("database", (0, 0), &[], Ret::Ascii(64), |_, _, x| or_null(x.session.database.clone().map(Datum::string)))
        .alias(&["schema"])
        .coercibility(3)
        .of_statement(),
    of("user", (0, 0), &[], Ret::Ascii(64), |_, _, x| string(x.session.user.as_str()))
        .alias(&["session_user", "system_user"])
        .coercibility(3)
        .of_statement(),
    of("current_user", (0, 0), &[], Ret::Ascii(64), |_, _, x| string(x.session.current_user.as_str()))
        .coercibility(3)
        .of_statement(),
    of("version", (0, 0), &[], Ret::Ascii(64), |_, _, x| string(x.session.version.as_str())).coercibility(3),
    of("connection_id", (0, 0), &[], Ret::UInt, |_, _, x| Ok(Datum::UInt(x.session.connection_id))).of_statement(),
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
    // There are no roles yet.
    of("current_role", (0, 0), &[], Ret::Ascii(64), |_, _, _| string("NONE")).coercibility(3),
    of("benchmark", (2, 2), &[Arg::Int, Arg::Any], Ret::Int, |_, v, x| {
        if v[0].is_null() || int(&v[0]) < 0 {
            if !v[0].is_null() {
                let value = crate::value::display(&v[0]);
                x.warn(
                    (&EvalError::WrongValueForFunction { ty: "count".into(), value, function: "benchmark".into() })
                        .into(),
                );
            }
            return NULL;
        }
        // The expression was computed once; computing it again tells no more.
        integer(0)
    })
    .nulls()
    .volatile(),
    of("format_bytes", (1, 1), &[Arg::Real], Ret::Ascii(-1), |_, v, _| {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let count = real(&v[0]);
        let unit = (1..=6).rev().find(|n| count.abs() >= 1024_f64.powi(*n));
        string(match unit {
            None => format!("{:4} bytes", count.round()),
            Some(n) => format!("{:.2} {}", count / 1024_f64.powi(n), UNITS[n as usize - 1]),
        })
    }),
    of("format_pico_time", (1, 1), &[Arg::Real], Ret::Ascii(-1), |_, v, _| {
        const UNITS: [(f64, &str); 7] =
            [(86_400e12, "d"), (3_600e12, "h"), (60e12, "min"), (1e12, "s"), (1e9, "ms"), (1e6, "us"), (1e3, "ns")];
        let time = real(&v[0]);
        string(match UNITS.iter().find(|(unit, _)| time.abs() >= *unit) {
            None => format!("{:3} ps", time.round()),
            Some((unit, name)) => format!("{:.2} {name}", time / unit),
        })
    }),
    // A connection has one thread of the performance schema, and its number.
    of("ps_current_thread_id", (0, 0), &[], Ret::UInt, |_, _, x| Ok(Datum::UInt(x.session.connection_id)))
        .of_statement(),
    of("ps_thread_id", (1, 1), &[Arg::Int], Ret::UInt, |_, v, x| {
        or_null(Some(bits(&v[0])).filter(|n| *n == x.session.connection_id).map(Datum::UInt))
    })
    .of_statement(),
    of("found_rows", (0, 0), &[], Ret::UInt, |_, _, x| Ok(Datum::UInt(x.session.found_rows))).of_statement(),
    of("row_count", (0, 0), &[], Ret::Int, |_, _, x| integer(x.session.row_count)).of_statement(),
    of("charset", (1, 1), &[Arg::Any], Ret::Ascii(64), |c, _, _| string(c.args[0].ty().collation.charset())).nulls(),
    of("collation", (1, 1), &[Arg::Any], Ret::Ascii(64), |c, _, _| string(c.args[0].ty().collation.name())).nulls(),
    Function::built(Group::Info, "coercibility", (1, 1), |args| {
        let [a] = super::take(args);
        Ok(Expr::constant(i64::from(infer::coercibility(&a))))
    }),
];
