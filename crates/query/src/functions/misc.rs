//! Identifiers, addresses, and what belongs nowhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use codec::datum::Datum;

use super::args::*;
use crate::digest::hex_lower;
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::expr::function::{Arg, Body, Function, Group, MANY, Ret, RowKernel};

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
    // MySQL's layout: the server, the second, a counter; here chance instead of server and counter.
    of("uuid_short", (0, 0), &[], Ret::UInt, |_, _, x| {
        let second = x.now_utc_micros.div_euclid(1_000_000) as u64 & 0xffff_ffff;
        Ok(Datum::UInt(second << 24 | x.next_random() >> 40))
    })
    .volatile(),
    of("is_uuid", (1, 1), &[Arg::Str], Ret::Int, |_, v, _| integer(parse_uuid(&lossy(&v[0])).is_some().into())),
    of("uuid_to_bin", (1, 2), &[Arg::Str, Arg::Int], Ret::Binary, |c, v, _| match parse_uuid(&lossy(&v[0])) {
        Some(id) if int_at(v, 1, 0) != 0 => bytes([&id[6..8], &id[4..6], &id[..4], &id[8..]].concat()),
        Some(id) => bytes(id),
        None => wrong_value(c, &v[0]),
    }),
    of("bin_to_uuid", (1, 2), &[Arg::Str, Arg::Int], Ret::Ascii(36), |c, v, _| {
        let Ok(id) = <[u8; 16]>::try_from(text(&v[0])) else { return wrong_value(c, &v[0]) };
        let id = if int_at(v, 1, 0) != 0 { [&id[4..8], &id[2..4], &id[..2], &id[8..]].concat() } else { id.to_vec() };
        let parts = [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]];
        bytes(parts.map(hex_lower).join(&b'-'))
    }),
    of("inet6_aton", (1, 1), &[Arg::Str], Ret::Binary, |_, v, _| {
        let s = lossy(&v[0]);
        match (s.parse::<Ipv4Addr>(), s.parse::<Ipv6Addr>()) {
            (Ok(a), _) => bytes(a.octets()),
            (_, Ok(a)) => bytes(a.octets()),
            _ => NULL,
        }
    }),
    of("inet6_ntoa", (1, 1), &[Arg::Str], Ret::Ascii(39), |_, v, _| match address(&v[0]) {
        Some(IpAddr::V4(a)) => string(a.to_string()),
        Some(IpAddr::V6(a)) if is_compatible(&a) && a.segments()[6] != 0 => {
            let [.., w, x, y, z] = a.octets();
            string(format!("::{w}.{x}.{y}.{z}"))
        }
        Some(IpAddr::V6(a)) => string(a.to_string()),
        None => NULL,
    }),
    of("is_ipv4", (1, 1), &[Arg::Str], Ret::Int, |_, v, _| integer(lossy(&v[0]).parse::<Ipv4Addr>().is_ok().into())),
    of("is_ipv6", (1, 1), &[Arg::Str], Ret::Int, |_, v, _| integer(lossy(&v[0]).parse::<Ipv6Addr>().is_ok().into())),
    of("is_ipv4_compat", (1, 1), &[Arg::Str], Ret::Int, |_, v, _| {
        integer(matches!(address(&v[0]), Some(IpAddr::V6(a)) if is_compatible(&a)).into())
    }),
    of("is_ipv4_mapped", (1, 1), &[Arg::Str], Ret::Int, |_, v, _| {
        integer(matches!(address(&v[0]), Some(IpAddr::V6(a)) if a.to_ipv4_mapped().is_some()).into())
    }),
    // What a row of INSERT … ON DUPLICATE KEY UPDATE would have had.
    Function::new(Group::Misc, "values", Body::Syntax),
    Function::built(Group::Misc, "name_const", (2, 2), |args| {
        let [_, value] = super::take(args);
        Ok(value)
    }),
    of("inet_aton", (1, 1), &[Arg::Str], Ret::UInt, |_, v, _| {
        or_null(lossy(&v[0]).parse::<Ipv4Addr>().ok().map(|a| Datum::UInt(u32::from(a).into())))
    }),
    of("inet_ntoa", (1, 1), &[Arg::Int], Ret::Ascii(-1), |_, v, _| {
        or_null(u32::try_from(int(&v[0])).ok().map(|n| Datum::string(Ipv4Addr::from(n).to_string())))
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

/// The sixteen bytes of an identifier: 32 digits, or groups of 8-4-4-4-12 of them, which may be in braces.
fn parse_uuid(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let braced = inner.len() < text.len();
    let digits: String = match inner.len() {
        32 if !braced => inner.into(),
        36 => {
            let groups: Vec<&str> = inner.split('-').collect();
            if groups.iter().map(|g| g.len()).ne([8, 4, 4, 4, 12]) {
                return None;
            }
            groups.concat()
        }
        _ => return None,
    };
    if digits.len() == 32 { super::string::unhex(digits.as_bytes()) } else { None }
}

fn wrong_value(call: &Call, v: &Datum) -> Result<Datum> {
    let value = crate::value::display(v);
    Err(EvalError::WrongValueForFunction { ty: "string".into(), value, function: call.func.name().into() })
}

/// An address in its binary form.
fn address(v: &Datum) -> Option<IpAddr> {
    let b = text(v);
    let v4 = <[u8; 4]>::try_from(b).map(|b| IpAddr::V4(b.into()));
    v4.or_else(|_| <[u8; 16]>::try_from(b).map(|b| IpAddr::V6(b.into()))).ok()
}

/// `::a.b.c.d`, but neither `::` nor `::1`.
fn is_compatible(a: &Ipv6Addr) -> bool {
    u128::from(*a) > 1 && u128::from(*a) <= u32::MAX.into()
}
