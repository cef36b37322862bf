//! Digests and random bytes.

use codec::datum::Datum;

use super::args::*;
use crate::digest;
use crate::error::EvalError;
use crate::expr::function::{Arg, Function, Group, Ret, RowKernel};

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Crypto, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    of("md5", (1, 1), &[Arg::Str], Ret::Ascii(32), |_, v, _| bytes(digest::md5(text(&v[0])))),
    of("sha1", (1, 1), &[Arg::Str], Ret::Ascii(40), |_, v, _| bytes(digest::sha1(text(&v[0])))).alias(&["sha"]),
    of("sha2", (2, 2), &[Arg::Str, Arg::Int], Ret::Ascii(128), |_, v, _| {
        or_null(digest::sha2(text(&v[0]), int(&v[1])).map(Datum::Bytes))
    }),
    of("random_bytes", (1, 1), &[Arg::Int], Ret::Binary, |c, v, ctx| {
        let n = int(&v[0]);
        if !(1..=1024).contains(&n) {
            return Err(EvalError::OutOfRange { ty: "length".into(), expr: c.func.name().into() });
        }
        let words = (0..n.div_euclid(8) + 1).flat_map(|_| ctx.next_random().to_le_bytes());
        bytes(words.take(n as usize).collect::<Vec<u8>>())
    })
    .volatile(),
];
