//! Regular expressions.

use codec::datum::Datum;
use regex::Regex;

use super::args::*;
use crate::error::Result;
use crate::expr::Call;
use crate::expr::function::{Arg, Body, Function, Group, Length, Ret, RowKernel};
use crate::infer;
use crate::value;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Regexp, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    Function::new(Group::Regexp, "regexp", Body::Syntax).alias(&["rlike"]).pushed(),
    Function::built(Group::Regexp, "regexp_like", (2, 3), |args| match args.len() {
        2 => {
            let [text, pattern] = super::take(args);
            infer::regexp(text, pattern)
        }
        _ => super::kernel_call(&MATCHES, args),
    }),
    of("regexp_replace", (3, 3), &[Arg::Str], Ret::Text(Length::Open), |c, v, _| {
        // MySQL writes groups as $1; two dollars would be a literal one in the crate's notation.
        string(compile(c, &v[1])?.replace_all(&lossy(&v[0]), lossy(&v[2]).as_ref()))
    }),
    of("regexp_substr", (2, 2), &[Arg::Str], Ret::Text(Length::Open), |c, v, _| {
        or_null(compile(c, &v[1])?.find(&lossy(&v[0])).map(|m| Datum::from(m.as_str())))
    }),
    of("regexp_instr", (2, 2), &[Arg::Str], Ret::Int, |c, v, _| {
        let s = lossy(&v[0]);
        integer(compile(c, &v[1])?.find(&s).map_or(0, |m| s[..m.start()].chars().count() as i64 + 1))
    }),
];

/// REGEXP_LIKE with a match type.
static MATCHES: Function = of("regexp_like", (3, 3), &[Arg::Str], Ret::Int, |c, v, _| {
    let regex = value::regex_of_type(text(&v[1]), collation(c)?, &lossy(&v[2]), c.func.name())?;
    integer(regex.is_match(&lossy(&v[0])).into())
});

fn compile(call: &Call, pattern: &Datum) -> Result<Regex> {
    value::regex(text(pattern), collation(call)?)
}
