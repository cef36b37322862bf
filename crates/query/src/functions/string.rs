//! Functions of strings.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array};
use codec::datum::Datum;
use codec::types::FieldType;
use proto::tipb::ScalarFuncSig as Sig;

use super::args::*;
use crate::context::EvalContext;
use crate::digest::hex_lower;
use crate::error::Result;
use crate::expr::function::{Arg, Function, Group, Length, MANY, Ret, RowKernel, When};
use crate::expr::{Call, Expr};
use crate::types::EvalType;
use crate::value;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::String, name, count, args, ret, kernel)
}

const TEXT: Ret = Ret::Text(Length::Open);
/// No longer than the first argument.
const PART: Ret = Ret::Text(Length::First);

pub(super) static ROWS: &[Function] = &[
    of("concat", (1, MANY), &[Arg::Str], Ret::Text(Length::Sum), concat).pb(&[(Sig::Concat, When::Always)]),
    of("concat_ws", (2, MANY), &[Arg::Str], TEXT, concat_ws).nulls().pb(&[(Sig::ConcatWs, When::Always)]),
    of("substring", (2, 3), &[Arg::Str, Arg::Int, Arg::Int], PART, substring).alias(&["substr", "mid"]).pb(&[
        (Sig::Substring2ArgsUtf8, When::TextCount(2)),
        (Sig::Substring2Args, When::BinaryCount(2)),
        (Sig::Substring3ArgsUtf8, When::TextCount(3)),
        (Sig::Substring3Args, When::BinaryCount(3)),
    ]),
    of("substring_index", (3, 3), &[Arg::Str, Arg::Str, Arg::Int], PART, substring_index)
        .pb(&[(Sig::SubstringIndex, When::Always)]),
    of("left", (2, 2), &[Arg::Str, Arg::Int], PART, |c, v, _| {
        bytes(Chars::new(text(&v[0]), is_binary(c)).slice(0, int(&v[1]).max(0) as usize))
    })
    .pb(&[(Sig::LeftUtf8, When::Text), (Sig::Left, When::Binary)]),
    of("right", (2, 2), &[Arg::Str, Arg::Int], PART, |c, v, _| {
        let s = Chars::new(text(&v[0]), is_binary(c));
        let n = (int(&v[1]).max(0) as usize).min(s.len());
        bytes(s.slice(s.len() - n, s.len()))
    })
    .pb(&[(Sig::RightUtf8, When::Text), (Sig::Right, When::Binary)]),
    of("length", (1, 1), &[Arg::Str], Ret::Int, |c, v, _| integer(encoded(c, v).len() as i64))
        .alias(&["octet_length"])
        .vector(|c, columns, _| lengths(c, columns, 1))
        .pb(&[(Sig::Length, When::Always)]),
    of("char_length", (1, 1), &[Arg::Str], Ret::Int, |c, v, _| {
        integer(Chars::new(text(&v[0]), is_binary(c)).len() as i64)
    })
    .alias(&["character_length"])
    .pb(&[(Sig::CharLengthUtf8, When::Text), (Sig::CharLength, When::Binary)]),
    of("bit_length", (1, 1), &[Arg::Str], Ret::Int, |c, v, _| integer(encoded(c, v).len() as i64 * 8))
        .vector(|c, columns, _| lengths(c, columns, 8))
        .pb(&[(Sig::BitLength, When::Always)]),
    of("upper", (1, 1), &[Arg::Str], PART, |c, v, _| by_character(c, v, |c| single(c.to_uppercase(), c)))
        .alias(&["ucase"])
        .pb(&[(Sig::UpperUtf8, When::Text), (Sig::Upper, When::Binary)]),
    of("lower", (1, 1), &[Arg::Str], PART, |c, v, _| by_character(c, v, |c| single(c.to_lowercase(), c)))
        .alias(&["lcase"])
        .pb(&[(Sig::LowerUtf8, When::Text), (Sig::Lower, When::Binary)]),
    of("ltrim", (1, 1), &[Arg::Str], TEXT, |_, v, _| {
        let s = text(&v[0]);
        bytes(&s[s.iter().take_while(|b| **b == b' ').count()..])
    })
    .pb(&[(Sig::LTrim, When::Always)]),
    of("rtrim", (1, 1), &[Arg::Str], TEXT, |_, v, _| bytes(codec::types::trim_spaces(text(&v[0]))))
        .pb(&[(Sig::RTrim, When::Always)]),
    of("trim", (1, 2), &[Arg::Str], TEXT, |_, v, _| trim(v, true, true))
        .pb(&[(Sig::Trim1Arg, When::Count(1)), (Sig::Trim2Args, When::Count(2))]),
    // What the binder makes of TRIM(LEADING … FROM …).
    Function::kernel(Group::Internal, "trim_leading", (2, 2), &[Arg::Str], TEXT, |_, v, _| trim(v, true, false)),
    Function::kernel(Group::Internal, "trim_trailing", (2, 2), &[Arg::Str], TEXT, |_, v, _| trim(v, false, true)),
    of("replace", (3, 3), &[Arg::Str], TEXT, replace).pb(&[(Sig::Replace, When::Always)]),
    of("instr", (2, 2), &[Arg::Str], Ret::Int, |c, v, _| position_in(c, &v[0], &v[1], 1)),
    of("locate", (2, 3), &[Arg::Str, Arg::Str, Arg::Int], Ret::Int, |c, v, _| {
        position_in(c, &v[1], &v[0], int_at(v, 2, 1))
    })
    .alias(&["position"]),
    of("lpad", (3, 3), &[Arg::Str, Arg::Int, Arg::Str], TEXT, |c, v, x| pad(c, v, x, |s, fill| [fill, s].concat())),
    of("rpad", (3, 3), &[Arg::Str, Arg::Int, Arg::Str], TEXT, |c, v, x| pad(c, v, x, |s, fill| [s, fill].concat())),
    of("repeat", (2, 2), &[Arg::Str, Arg::Int], TEXT, |c, v, x| repeat(c, text(&v[0]), int(&v[1]), x))
        .pb(&[(Sig::Repeat, When::Always)]),
    of("space", (1, 1), &[Arg::Int], Ret::Ascii(-1), |c, v, x| repeat(c, b" ", int(&v[0]), x))
        .pb(&[(Sig::Space, When::Always)]),
    of("reverse", (1, 1), &[Arg::Str], PART, |c, v, _| {
        let s = Chars::new(text(&v[0]), is_binary(c));
        bytes((0..s.len()).rev().flat_map(|i| s.slice(i, i + 1).iter().copied()).collect::<Vec<u8>>())
    })
    .pb(&[(Sig::ReverseUtf8, When::Text), (Sig::Reverse, When::Binary)]),
    of("hex", (1, 1), &[Arg::Any], Ret::Rule(hex_type), hex)
        .pb(&[(Sig::HexStrArg, When::Of(EvalType::String)), (Sig::HexIntArg, When::Of(EvalType::Int))]),
    of("unhex", (1, 1), &[Arg::Str], Ret::Binary, |_, v, _| or_null(unhex(text(&v[0])).map(Datum::Bytes)))
        .pb(&[(Sig::UnHex, When::Always)]),
    of("ascii", (1, 1), &[Arg::Str], Ret::Int, |c, v, _| integer(encoded(c, v).first().copied().unwrap_or(0).into()))
        .pb(&[(Sig::Ascii, When::Always)]),
    of("ord", (1, 1), &[Arg::Str], Ret::Int, |call, v, _| {
        let first: String = lossy(&v[0]).chars().take(1).collect();
        let bytes = encoded(call, &[Datum::string(first)]).into_owned();
        integer(bytes.into_iter().fold(0_i64, |n, b| n << 8 | i64::from(b)))
    }),
    of("char", (1, MANY), &[Arg::Int], Ret::Binary, char_of).nulls(),
    of("strcmp", (2, 2), &[Arg::Str], Ret::Int, |c, v, _| {
        integer(collation(c)?.compare(text(&v[0]), text(&v[1])) as i64)
    })
    .pb(&[(Sig::Strcmp, When::Always)]),
    of("elt", (2, MANY), &[Arg::Int, Arg::Str], TEXT, |_, v, _| {
        let n = if v[0].is_null() { None } else { usize::try_from(int(&v[0])).ok() };
        or_null(n.filter(|n| *n > 0).and_then(|n| v.get(n)).cloned())
    })
    .nulls(),
    of("field", (2, MANY), &[Arg::Str], Ret::Int, |c, v, _| {
        if v[0].is_null() {
            return integer(0);
        }
        let collation = collation(c)?;
        let found = v[1..].iter().position(|s| !s.is_null() && collation.compare(text(s), text(&v[0])).is_eq());
        integer(found.map_or(0, |i| i as i64 + 1))
    })
    .nulls(),
    of("find_in_set", (2, 2), &[Arg::Str], Ret::Int, |c, v, _| {
        let collation = collation(c)?;
        let (needle, set) = (text(&v[0]), text(&v[1]));
        let mut members = set.split(|b| *b == b',');
        let found = if set.is_empty() { None } else { members.position(|s| collation.compare(s, needle).is_eq()) };
        integer(found.map_or(0, |i| i as i64 + 1))
    }),
    of("insert", (4, 4), &[Arg::Str, Arg::Int, Arg::Int, Arg::Str], TEXT, insert),
    of("quote", (1, 1), &[Arg::Str], TEXT, quote).nulls(),
    of("to_base64", (1, 1), &[Arg::Str], Ret::Ascii(-1), |c, v, _| bytes(to_base64(&encoded(c, v)))),
    of("from_base64", (1, 1), &[Arg::Str], Ret::Binary, |_, v, _| or_null(from_base64(text(&v[0])).map(Datum::Bytes))),
    of("make_set", (2, MANY), &[Arg::Int, Arg::Str], TEXT, |_, v, _| {
        if v[0].is_null() {
            return NULL;
        }
        let members = v[1..].iter().take(64).enumerate();
        let chosen: Vec<&[u8]> =
            members.filter(|(i, s)| bits(&v[0]) >> i & 1 == 1 && !s.is_null()).map(|(_, s)| text(s)).collect();
        bytes(chosen.join(&b","[..]))
    })
    .nulls(),
    of("export_set", (3, 5), &[Arg::Int, Arg::Str, Arg::Str, Arg::Str, Arg::Int], TEXT, |_, v, _| {
        let count = match int_at(v, 4, 64) {
            n @ 0..=64 => n as usize,
            _ => 64,
        };
        let each = (0..count).map(|i| text(if bits(&v[0]) >> i & 1 == 1 { &v[1] } else { &v[2] }));
        bytes(each.collect::<Vec<_>>().join(v.get(3).map_or(&b","[..], text)))
    }),
    // No file of a server is ever read by a statement; MySQL says NULL for what it may not read.
    of("load_file", (1, 1), &[Arg::Str], Ret::Binary, |_, _, _| NULL),
    of("soundex", (1, 1), &[Arg::Str], TEXT, |_, v, _| string(soundex(&lossy(&v[0])))),
];

fn lengths(call: &Call, columns: &[ArrayRef], unit: i64) -> Option<ArrayRef> {
    if call.args.first().is_some_and(|arg| arg.ty().is_text() && !arg.ty().collation.set().is_utf8()) {
        return None;
    }
    let strings = columns.first()?.as_binary_opt::<i32>()?;
    let lengths = strings.value_offsets().windows(2).map(|w| i64::from(w[1] - w[0]) * unit);
    Some(Arc::new(Int64Array::new(lengths.collect(), strings.nulls().cloned())))
}

fn concat(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let len: usize = v.iter().map(|s| text(s).len()).sum();
    if len as u64 > ctx.max_allowed_packet {
        return too_large(call, ctx);
    }
    bytes(v.iter().map(text).collect::<Vec<_>>().concat())
}

fn concat_ws(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    if v[0].is_null() {
        return NULL;
    }
    let parts: Vec<&[u8]> = v[1..].iter().filter(|s| !s.is_null()).map(text).collect();
    bytes(parts.join(text(&v[0])))
}

fn substring(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let s = Chars::new(text(&v[0]), is_binary(call));
    let len = s.len() as i64;
    let start = match int(&v[1]) {
        0 => return bytes([]),
        p if p > 0 => p - 1,
        p if p < -len => return bytes([]),
        p => len + p,
    };
    let take = int_at(v, 2, i64::MAX);
    if take <= 0 || start >= len {
        return bytes([]);
    }
    bytes(s.slice(start as usize, start.saturating_add(take) as usize))
}

fn substring_index(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let (s, d, n) = (text(&v[0]), text(&v[1]), int(&v[2]));
    if d.is_empty() || n == 0 {
        return bytes([]);
    }
    let found: Vec<usize> = positions(s, d);
    let count = found.len() as i64;
    bytes(if n > 0 {
        found.get(n as usize - 1).map_or(s, |i| &s[..*i])
    } else if n.unsigned_abs() > count as u64 {
        s
    } else {
        &s[found[(count + n) as usize] + d.len()..]
    })
}

/// One character for one, as MySQL's simple case mapping does.
fn by_character(call: &Call, v: &[Datum], f: impl Fn(char) -> char) -> Result<Datum> {
    if is_binary(call) {
        return Ok(v[0].clone());
    }
    string(lossy(&v[0]).chars().map(f).collect::<String>())
}

fn trim(v: &[Datum], leading: bool, trailing: bool) -> Result<Datum> {
    let mut s = text(&v[0]);
    let what = v.get(1).map_or(&b" "[..], text);
    if !what.is_empty() {
        while leading && s.starts_with(what) {
            s = &s[what.len()..];
        }
        while trailing && s.ends_with(what) {
            s = &s[..s.len() - what.len()];
        }
    }
    bytes(s)
}

fn replace(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let (s, from, to) = (text(&v[0]), text(&v[1]), text(&v[2]));
    if from.is_empty() {
        return bytes(s);
    }
    let mut out = Vec::with_capacity(s.len());
    let mut last = 0;
    for i in positions(s, from) {
        out.extend_from_slice(&s[last..i]);
        out.extend_from_slice(to);
        last = i + from.len();
        if out.len() as u64 > ctx.max_allowed_packet {
            return too_large(call, ctx);
        }
    }
    out.extend_from_slice(&s[last..]);
    bytes(out)
}

/// Position from one of `needle` in `hay`, searching from character `from`; 0 when absent.
fn position_in(call: &Call, hay: &Datum, needle: &Datum, from: i64) -> Result<Datum> {
    let binary = call.args.iter().any(|a| a.ty().is_binary_string());
    let (hay, needle) = (Chars::new(text(hay), binary), Chars::new(text(needle), binary));
    if from < 1 || from as usize > hay.len() + 1 {
        return integer(0);
    }
    let (collation, n) = (collation(call)?, needle.len());
    // Equality by collation, but with trailing spaces counting.
    let same = |a: &[u8], b: &[u8]| {
        a == b || !collation.is_bin() && !a.ends_with(b" ") && !b.ends_with(b" ") && collation.compare(a, b).is_eq()
    };
    let found = (from as usize - 1..=hay.len().saturating_sub(n))
        .find(|i| i + n <= hay.len() && same(hay.slice(*i, i + n), needle.bytes));
    integer(found.map_or(0, |i| i as i64 + 1))
}

fn pad(call: &Call, v: &[Datum], ctx: &mut EvalContext, join: fn(&[u8], &[u8]) -> Vec<u8>) -> Result<Datum> {
    let (s, pad) = (Chars::new(text(&v[0]), is_binary(call)), Chars::new(text(&v[2]), is_binary(call)));
    let want = int(&v[1]);
    if want < 0 {
        return NULL;
    }
    if want as u64 > ctx.max_allowed_packet / 4 {
        return too_large(call, ctx);
    }
    let want = want as usize;
    if want <= s.len() {
        return bytes(s.slice(0, want));
    }
    if pad.len() == 0 {
        return bytes([]);
    }
    let missing = want - s.len();
    let mut fill = pad.bytes.repeat(missing / pad.len());
    fill.extend_from_slice(pad.slice(0, missing % pad.len()));
    bytes(join(s.bytes, &fill))
}

fn repeat(call: &Call, s: &[u8], n: i64, ctx: &mut EvalContext) -> Result<Datum> {
    let n = n.max(0) as u64;
    if n.saturating_mul(s.len() as u64) > ctx.max_allowed_packet {
        return too_large(call, ctx);
    }
    bytes(s.repeat(if s.is_empty() { 0 } else { n as usize }))
}

fn hex_type(args: &[Expr]) -> Result<FieldType> {
    Ok(super::text_of(args[0].ty().flen.saturating_mul(8).max(-1)))
}

fn hex(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let ty = call.args[0].ty();
    match &v[0] {
        Datum::Bytes(_) => bytes(hex_lower(&encoded(call, v)).to_ascii_uppercase()),
        Datum::Int(_) | Datum::UInt(_) | Datum::Bit(_) => string(format!("{:X}", bits(&v[0]))),
        Datum::Float(_) | Datum::Decimal(_) => string(format!("{:X}", super::math::rounded_bits(&v[0], ty, ctx)?)),
        other => bytes(hex_lower(&value::to_text(other, ty).unwrap_or_default()).to_ascii_uppercase()),
    }
}

pub(super) fn unhex(s: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let padded: Vec<u8> = if s.len() % 2 == 1 { [b"0", s].concat() } else { s.to_vec() };
    padded.chunks(2).map(|p| Some(digit(p[0])? << 4 | digit(p[1])?)).collect()
}

fn char_of(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let mut out = Vec::new();
    for n in v.iter().filter(|n| !n.is_null()) {
        let be = (bits(n) as u32).to_be_bytes();
        let skip = be.iter().take(3).take_while(|b| **b == 0).count();
        out.extend_from_slice(&be[skip..]);
    }
    bytes(out)
}

fn insert(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let s = Chars::new(text(&v[0]), is_binary(call));
    let (pos, len) = (int(&v[1]), int(&v[2]));
    if pos < 1 || pos as usize > s.len() {
        return bytes(s.bytes);
    }
    let from = pos as usize - 1;
    let end = if len < 0 { s.len() } else { from.saturating_add(len as usize).min(s.len()) };
    bytes([s.slice(0, from), text(&v[3]), s.slice(end, s.len())].concat())
}

fn quote(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    if v[0].is_null() {
        return string("NULL");
    }
    let mut out = vec![b'\''];
    for b in text(&v[0]) {
        match b {
            b'\'' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
            0 => out.extend_from_slice(b"\\0"),
            0x1a => out.extend_from_slice(b"\\Z"),
            b => out.push(*b),
        }
    }
    out.push(b'\'');
    bytes(out)
}

/// The original Soundex, as MySQL has it: duplicates go before vowels do, and the code is as long as the word needs.
pub(super) fn soundex(s: &str) -> String {
    const CODES: &[u8; 26] = b"01230120022455012623010202";
    // Letters beyond A to Z count as vowels.
    let code = |c: char| if c.is_ascii_uppercase() { CODES[c as usize - 'A' as usize].into() } else { '0' };
    let mut letters = s.chars().filter(|c| c.is_alphabetic()).map(|c| single(c.to_uppercase(), c));
    let Some(first) = letters.next() else { return String::new() };
    let mut out = String::from(first);
    let mut digits = 1;
    let mut last = code(first);
    for c in letters.map(code).filter(|c| *c != '0') {
        if c != last {
            out.push(c);
            digits += 1;
            last = c;
        }
    }
    out.push_str(&"0".repeat(4_usize.saturating_sub(digits)));
    out
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// MySQL breaks lines after 76 characters.
fn to_base64(data: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for (i, chunk) in data.chunks(3).enumerate() {
        if i > 0 && i % 19 == 0 {
            out.push(b'\n');
        }
        let n = (0..3).fold(0_u32, |n, i| n << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            out.push(if i <= chunk.len() { BASE64[(n >> (18 - 6 * i) & 63) as usize] } else { b'=' });
        }
    }
    out
}

fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let clean: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    if !clean.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(clean.len() / 4 * 3);
    for (i, chunk) in clean.chunks(4).enumerate() {
        let pad = chunk.iter().rev().take_while(|b| **b == b'=').count();
        if pad > 2 || pad > 0 && (i + 1) * 4 != clean.len() {
            return None;
        }
        let mut n = 0_u32;
        for b in &chunk[..4 - pad] {
            n = n << 6 | BASE64.iter().position(|c| c == b)? as u32;
        }
        n <<= 6 * pad;
        out.extend_from_slice(&n.to_be_bytes()[1..4 - pad]);
    }
    Some(out)
}
