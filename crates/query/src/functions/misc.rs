//! Identifiers, addresses, and what belongs nowhere else.

use codec::datum::Datum;

use super::args::*;
use crate::error::EvalError;
use crate::expr::function::{Arg, Function, Group, MANY, Ret, RowKernel};

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Misc, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    of("uuid", (0, 0), &[], Ret::Ascii(36), |_, _, x| {
        // Version 4: random but for the version and variant bits.
        let (a, b) = (x.next_random(), x.next_random());
        let (a, b) = (a & !0xf000 | 0x4000, b & !(3 << 62) | (2 << 62));
        string(format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        ))
    })
    .volatile(),
    of("inet_aton", (1, 1), &[Arg::Str], Ret::UInt, |_, v, _| {
        or_null(lossy(&v[0]).parse::<std::net::Ipv4Addr>().ok().map(|a| Datum::UInt(u32::from(a).into())))
    }),
    of("inet_ntoa", (1, 1), &[Arg::Int], Ret::Ascii(-1), |_, v, _| {
        or_null(u32::try_from(int(&v[0])).ok().map(|n| Datum::string(std::net::Ipv4Addr::from(n).to_string())))
    }),
    of("any_value", (1, 1), &[Arg::Any], Ret::First, |_, v, _| Ok(v[0].clone())).nulls(),
    of("sleep", (1, 1), &[Arg::Real], Ret::Int, |_, v, x| match &v[0] {
        Datum::Float(secs) if *secs >= 0.0 => {
            x.sleep_micros = x.sleep_micros.saturating_add((secs * 1e6) as u64);
            integer(0)
        }
        _ => {
            let wrong = EvalError::WrongArguments("sleep.".into());
            if x.is_strict() {
                return Err(wrong);
            }
            x.warn((&wrong).into());
            integer(0)
        }
    })
    .nulls()
    .volatile(),
    of("interval", (2, MANY), &[Arg::Real], Ret::Int, |_, v, _| {
        if v[0].is_null() {
            return integer(-1);
        }
        let n = real(&v[0]);
        integer(v[1..].iter().take_while(|b| b.is_null() || real(b) <= n).count() as i64)
    })
    .nulls(),
];
