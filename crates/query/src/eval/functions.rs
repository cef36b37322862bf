//! The scalar functions, on values. Arguments have been cast as [`ScalarFn::args`] says.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType};

use crate::context::{EvalContext, TimeZone};
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::scalar::ScalarFn;
use crate::types::EvalType;
use crate::{calendar, digest, interval, value as cast};

use super::row::{fit_integer, out_of_range};

fn text(v: &Datum) -> &[u8] {
    match v {
        Datum::Bytes(b) => b,
        _ => &[],
    }
}

/// Text as characters; bytes of a binary string count one each.
fn lossy(v: &Datum) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text(v))
}

fn int(v: &Datum) -> i64 {
    match v {
        Datum::Int(v) => *v,
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => i64::try_from(*v).unwrap_or(i64::MAX),
        _ => 0,
    }
}

fn bits(v: &Datum) -> u64 {
    match v {
        Datum::Int(v) => *v as u64,
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => *v,
        _ => 0,
    }
}

fn real(v: &Datum) -> f64 {
    match v {
        Datum::Float(v) => *v,
        _ => 0.0,
    }
}

/// The domain errors of logarithms and roots are NULL.
fn finite(v: f64, call: &Call) -> Result<Datum> {
    if v.is_nan() {
        return Ok(Datum::Null);
    }
    if v.is_infinite() {
        return Err(out_of_range("DOUBLE", call));
    }
    Ok(Datum::Float(v))
}

fn is_binary(call: &Call) -> bool {
    call.args.first().is_some_and(|a| a.ty().is_binary_string())
}

/// Pieces of text by characters, or by bytes of binary strings.
struct Chars<'a> {
    bytes: &'a [u8],
    /// Byte offset of each character, and of the end.
    offsets: Vec<usize>,
}

impl<'a> Chars<'a> {
    fn new(bytes: &'a [u8], binary: bool) -> Chars<'a> {
        let mut offsets: Vec<usize> = match std::str::from_utf8(bytes) {
            Ok(s) if !binary => s.char_indices().map(|(i, _)| i).collect(),
            _ => (0..bytes.len()).collect(),
        };
        offsets.push(bytes.len());
        Chars { bytes, offsets }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        let (from, to) = (from.min(self.len()), to.min(self.len()));
        &self.bytes[self.offsets[from]..self.offsets[to.max(from)]]
    }
}

/// Position from one of `needle` in `hay`, searching from character `from`; 0 when absent.
fn locate(hay: &Chars<'_>, needle: &Chars<'_>, from: usize, collation: Collation) -> i64 {
    let n = needle.len();
    (from..=hay.len().saturating_sub(n))
        .find(|i| i + n <= hay.len() && same_text(hay.slice(*i, i + n), needle.bytes, collation))
        .map_or(0, |i| i as i64 + 1)
}

/// Equality by collation, but with trailing spaces counting.
fn same_text(a: &[u8], b: &[u8], collation: Collation) -> bool {
    a == b || !collation.is_bin() && !a.ends_with(b" ") && !b.ends_with(b" ") && collation.compare(a, b).is_eq()
}

fn too_large(f: ScalarFn, ctx: &mut EvalContext) -> Datum {
    let limit = ctx.max_allowed_packet;
    ctx.warn((&EvalError::TooLarge(f.name().into(), limit)).into());
    Datum::Null
}

fn time_part(v: &Datum, f: impl Fn(&Time) -> i64) -> Datum {
    match v {
        Datum::Time(t) => Datum::Int(f(t)),
        _ => Datum::Null,
    }
}

/// For parts that exist only when month and day do.
fn full_date(v: &Datum) -> Option<&Time> {
    match v {
        Datum::Time(t) if !t.has_zero_date() => Some(t),
        _ => None,
    }
}

fn span(v: &Datum) -> Duration {
    match v {
        Datum::Duration(d) => *d,
        _ => Duration::from_nanos(0, 0),
    }
}

/// The value of a scalar function.
pub(super) fn apply(f: ScalarFn, call: &Call, values: Vec<Datum>, ctx: &mut EvalContext) -> Result<Datum> {
    use ScalarFn as F;
    if !f.sees_nulls() && values.iter().any(Datum::is_null) {
        return Ok(Datum::Null);
    }
    let v = &values;
    let collation = || crate::infer::merge_collations(&call.args, f.name());
    let bytes = |b: Vec<u8>| Ok(Datum::Bytes(b));
    Ok(match f {
        // ------------------------------------------------------------------------------------------ numbers
        F::Abs => match &v[0] {
            Datum::Int(n) => Datum::Int(n.checked_abs().ok_or_else(|| out_of_range("BIGINT", call))?),
            Datum::Decimal(d) => Datum::Decimal(d.abs()),
            Datum::Float(n) => Datum::Float(n.abs()),
            n => n.clone(),
        },
        F::Ceil | F::Floor => match &v[0] {
            Datum::Float(n) => Datum::Float(if f == F::Ceil { n.ceil() } else { n.floor() }),
            Datum::Decimal(d) => {
                let d = if f == F::Ceil { d.ceil() } else { d.floor() };
                if EvalType::of(&call.ty) == EvalType::Int {
                    let n = d.to_i128_unscaled().ok_or_else(|| out_of_range("BIGINT", call))?;
                    fit_integer(n, call, ctx)?
                } else {
                    Datum::Decimal(d)
                }
            }
            n => n.clone(),
        },
        F::Round | F::Truncate => {
            let digits = v.get(1).map_or(0, int).clamp(-100, 100) as i32;
            let truncate = f == F::Truncate;
            match &v[0] {
                Datum::Decimal(d) => {
                    let d = if truncate { d.truncate(digits) } else { d.round(digits) };
                    Datum::Decimal(d.round(call.ty.decimal.clamp(0, 30)))
                }
                Datum::Float(n) => {
                    let unit = 10_f64.powi(digits.abs());
                    let scaled = if digits >= 0 { n * unit } else { n / unit };
                    let r = if truncate { scaled.trunc() } else { scaled.round_ties_even() };
                    let r = if digits >= 0 { r / unit } else { r * unit };
                    Datum::Float(if r.is_finite() { r } else { *n })
                }
                n if digits >= 0 => n.clone(),
                n => {
                    let d = match n {
                        Datum::Int(n) => Decimal::from(*n),
                        n => Decimal::from(bits(n)),
                    };
                    let d = if truncate { d.truncate(digits) } else { d.round(digits) };
                    fit_integer(d.to_i128_unscaled().unwrap_or(i128::MAX), call, ctx)?
                }
            }
        }
        F::Sign => Datum::Int(match real(&v[0]) {
            n if n > 0.0 => 1,
            n if n < 0.0 => -1,
            _ => 0,
        }),
        F::Sqrt => finite(real(&v[0]).sqrt(), call)?,
        F::Pow => {
            let r = real(&v[0]).powf(real(&v[1]));
            if r.is_nan() {
                return Err(out_of_range("DOUBLE", call));
            }
            finite(r, call)?
        }
        F::Exp => finite(real(&v[0]).exp(), call)?,
        F::Ln | F::Log2 | F::Log10 => logarithm(f, real(&v[0]), ctx),
        F::Log if v.len() == 1 => logarithm(F::Ln, real(&v[0]), ctx),
        F::Log => match (real(&v[0]), real(&v[1])) {
            (base, n) if base > 0.0 && base != 1.0 && n > 0.0 => Datum::Float(n.ln() / base.ln()),
            _ => Datum::Null,
        },
        F::Pi => Datum::Float(std::f64::consts::PI),
        F::Sin => Datum::Float(real(&v[0]).sin()),
        F::Cos => Datum::Float(real(&v[0]).cos()),
        F::Tan => Datum::Float(real(&v[0]).tan()),
        F::Cot => finite(1.0 / real(&v[0]).tan(), call)?,
        F::Asin => finite(real(&v[0]).asin(), call)?,
        F::Acos => finite(real(&v[0]).acos(), call)?,
        F::Atan if v.len() == 1 => Datum::Float(real(&v[0]).atan()),
        F::Atan | F::Atan2 => Datum::Float(real(&v[0]).atan2(real(&v[1]))),
        F::Radians => Datum::Float(real(&v[0]).to_radians()),
        F::Degrees => Datum::Float(real(&v[0]).to_degrees()),
        F::Rand => {
            let bits = match v.first() {
                // The same seed gives the same number on every row of one call, as each row starts again.
                Some(seed) => {
                    let mut seeded = EvalContext { random: int(seed) as u64, ..EvalContext::default() };
                    seeded.next_random()
                }
                None => ctx.next_random(),
            };
            Datum::Float((bits >> 11) as f64 / (1_u64 << 53) as f64)
        }
        F::Crc32 => Datum::UInt(digest::crc32(text(&v[0])).into()),
        F::Conv => return Ok(conv(&lossy(&v[0]), int(&v[1]), int(&v[2]))),
        F::Bin => Datum::string(format!("{:b}", bits(&v[0]))),
        F::Oct => Datum::string(format!("{:o}", bits(&v[0]))),
        F::BitCount => Datum::Int(bits(&v[0]).count_ones().into()),
        // ------------------------------------------------------------------------------------------ strings
        F::Concat => {
            let len: usize = v.iter().map(|s| text(s).len()).sum();
            if len as u64 > ctx.max_allowed_packet {
                return Ok(too_large(f, ctx));
            }
            return bytes(v.iter().flat_map(|s| text(s).iter().copied()).collect());
        }
        F::ConcatWs => {
            if v[0].is_null() {
                return Ok(Datum::Null);
            }
            let parts: Vec<&[u8]> = v[1..].iter().filter(|s| !s.is_null()).map(text).collect();
            return bytes(parts.join(text(&v[0])));
        }
        F::Substring => {
            let s = Chars::new(text(&v[0]), is_binary(call));
            let len = s.len() as i64;
            let start = match int(&v[1]) {
                0 => return bytes(Vec::new()),
                p if p > 0 => p - 1,
                p if p < -len => return bytes(Vec::new()),
                p => len + p,
            };
            let take = v.get(2).map_or(i64::MAX, int);
            if take <= 0 || start >= len {
                return bytes(Vec::new());
            }
            return bytes(s.slice(start as usize, start.saturating_add(take) as usize).to_vec());
        }
        F::SubstringIndex => {
            let (s, d, n) = (text(&v[0]), text(&v[1]), int(&v[2]));
            if d.is_empty() || n == 0 {
                return bytes(Vec::new());
            }
            let found: Vec<usize> = positions(s, d);
            let count = found.len() as i64;
            return bytes(if n > 0 {
                found.get(n as usize - 1).map_or(s, |i| &s[..*i]).to_vec()
            } else if n.unsigned_abs() > count as u64 {
                s.to_vec()
            } else {
                s[found[(count + n) as usize] + d.len()..].to_vec()
            });
        }
        F::Left => {
            let s = Chars::new(text(&v[0]), is_binary(call));
            return bytes(s.slice(0, int(&v[1]).max(0) as usize).to_vec());
        }
        F::Right => {
            let s = Chars::new(text(&v[0]), is_binary(call));
            let n = (int(&v[1]).max(0) as usize).min(s.len());
            return bytes(s.slice(s.len() - n, s.len()).to_vec());
        }
        F::Length => Datum::Int(text(&v[0]).len() as i64),
        F::CharLength => Datum::Int(Chars::new(text(&v[0]), is_binary(call)).len() as i64),
        F::BitLength => Datum::Int(text(&v[0]).len() as i64 * 8),
        F::Upper | F::Lower => {
            if is_binary(call) {
                return Ok(values.into_iter().next().unwrap_or_default());
            }
            // One character for one, as MySQL's simple case mapping does.
            let s = lossy(&v[0]);
            Datum::string(if f == F::Upper {
                s.chars().map(|c| single(c.to_uppercase(), c)).collect::<String>()
            } else {
                s.chars().map(|c| single(c.to_lowercase(), c)).collect::<String>()
            })
        }
        F::Ltrim => {
            let s = text(&v[0]);
            return bytes(s[s.iter().take_while(|b| **b == b' ').count()..].to_vec());
        }
        F::Rtrim => return bytes(codec::types::trim_spaces(text(&v[0])).to_vec()),
        F::Trim | F::TrimLeading | F::TrimTrailing => {
            let mut s = text(&v[0]);
            let what = v.get(1).map_or(&b" "[..], text);
            if !what.is_empty() {
                while f != F::TrimTrailing && s.starts_with(what) {
                    s = &s[what.len()..];
                }
                while f != F::TrimLeading && s.ends_with(what) {
                    s = &s[..s.len() - what.len()];
                }
            }
            return bytes(s.to_vec());
        }
        F::Replace => {
            let (s, from, to) = (text(&v[0]), text(&v[1]), text(&v[2]));
            if from.is_empty() {
                return bytes(s.to_vec());
            }
            let mut out = Vec::with_capacity(s.len());
            let mut last = 0;
            for i in positions(s, from) {
                out.extend_from_slice(&s[last..i]);
                out.extend_from_slice(to);
                last = i + from.len();
                if out.len() as u64 > ctx.max_allowed_packet {
                    return Ok(too_large(f, ctx));
                }
            }
            out.extend_from_slice(&s[last..]);
            return bytes(out);
        }
        F::Instr | F::Locate => {
            let (hay, needle) = if f == F::Instr { (&v[0], &v[1]) } else { (&v[1], &v[0]) };
            let binary = call.args.iter().any(|a| a.ty().is_binary_string());
            let (hay, needle) = (Chars::new(text(hay), binary), Chars::new(text(needle), binary));
            let from = v.get(2).map_or(1, int);
            if from < 1 || from as usize > hay.len() + 1 {
                return Ok(Datum::Int(0));
            }
            Datum::Int(locate(&hay, &needle, from as usize - 1, collation()?))
        }
        F::Lpad | F::Rpad => {
            let (s, pad) = (Chars::new(text(&v[0]), is_binary(call)), Chars::new(text(&v[2]), is_binary(call)));
            let want = int(&v[1]);
            if want < 0 {
                return Ok(Datum::Null);
            }
            if want as u64 > ctx.max_allowed_packet / 4 {
                return Ok(too_large(f, ctx));
            }
            let want = want as usize;
            if want <= s.len() {
                return bytes(s.slice(0, want).to_vec());
            }
            if pad.len() == 0 {
                return bytes(Vec::new());
            }
            let missing = want - s.len();
            let mut fill = pad.bytes.repeat(missing / pad.len());
            fill.extend_from_slice(pad.slice(0, missing % pad.len()));
            return bytes(if f == F::Lpad { [&fill, s.bytes].concat() } else { [s.bytes, &fill].concat() });
        }
        F::Repeat | F::Space => {
            let (s, n) = if f == F::Repeat { (text(&v[0]), int(&v[1])) } else { (&b" "[..], int(&v[0])) };
            let n = n.max(0) as u64;
            if n.saturating_mul(s.len() as u64) > ctx.max_allowed_packet {
                return Ok(too_large(f, ctx));
            }
            return bytes(s.repeat(if s.is_empty() { 0 } else { n as usize }));
        }
        F::Reverse => {
            let s = Chars::new(text(&v[0]), is_binary(call));
            return bytes((0..s.len()).rev().flat_map(|i| s.slice(i, i + 1).iter().copied()).collect());
        }
        F::Hex => match &v[0] {
            Datum::Bytes(b) => Datum::Bytes(digest::hex_lower(b).to_ascii_uppercase()),
            Datum::Int(_) | Datum::UInt(_) | Datum::Bit(_) => Datum::string(format!("{:X}", bits(&v[0]))),
            Datum::Float(_) | Datum::Decimal(_) => {
                let n = cast::cast(v[0].clone(), call.args[0].ty(), &FieldType::bigint(), ctx)?;
                Datum::string(format!("{:X}", bits(&n)))
            }
            other => {
                let t = cast::to_text(other, call.args[0].ty()).unwrap_or_default();
                Datum::Bytes(digest::hex_lower(&t).to_ascii_uppercase())
            }
        },
        F::Unhex => {
            let s = text(&v[0]);
            let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
            let padded: Vec<u8> = if s.len() % 2 == 1 { [b"0", s].concat() } else { s.to_vec() };
            let decoded: Option<Vec<u8>> = padded.chunks(2).map(|p| Some(digit(p[0])? << 4 | digit(p[1])?)).collect();
            decoded.map_or(Datum::Null, Datum::Bytes)
        }
        F::Md5 => Datum::Bytes(digest::md5(text(&v[0]))),
        F::Sha1 => Datum::Bytes(digest::sha1(text(&v[0]))),
        F::Sha2 => digest::sha2(text(&v[0]), int(&v[1])).map_or(Datum::Null, Datum::Bytes),
        F::Ascii => Datum::Int(text(&v[0]).first().copied().unwrap_or(0).into()),
        F::Ord => {
            let first = lossy(&v[0]).chars().next().map_or(0, |c| {
                let mut b = [0; 4];
                c.encode_utf8(&mut b).bytes().fold(0_i64, |n, b| n << 8 | i64::from(b))
            });
            Datum::Int(first)
        }
        F::Char => {
            let mut out = Vec::new();
            for n in v.iter().filter(|n| !n.is_null()) {
                let be = (bits(n) as u32).to_be_bytes();
                let skip = be.iter().take(3).take_while(|b| **b == 0).count();
                out.extend_from_slice(&be[skip..]);
            }
            return bytes(out);
        }
        F::Format => {
            if v[0].is_null() || v[1].is_null() {
                return Ok(Datum::Null);
            }
            let digits = int(&v[1]).clamp(0, 30) as i32;
            let d = match &v[0] {
                Datum::Float(n) => format!("{n:.*}", digits as usize),
                n => cast::to_decimal(n, ctx)?.round(digits).to_string(),
            };
            let (sign, d) = d.strip_prefix('-').map_or(("", d.as_str()), |rest| ("-", rest));
            let (whole, fraction) = d.split_once('.').unwrap_or((d, ""));
            let mut grouped = String::new();
            for (i, c) in whole.chars().enumerate() {
                if i > 0 && (whole.len() - i).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(c);
            }
            let point = if fraction.is_empty() { "" } else { "." };
            Datum::string(format!("{sign}{grouped}{point}{fraction}"))
        }
        F::Strcmp => Datum::Int(collation()?.compare(text(&v[0]), text(&v[1])) as i64),
        F::Elt => {
            if v[0].is_null() {
                return Ok(Datum::Null);
            }
            usize::try_from(int(&v[0])).ok().filter(|n| *n > 0).and_then(|n| v.get(n)).cloned().unwrap_or_default()
        }
        F::Field => {
            if v[0].is_null() {
                return Ok(Datum::Int(0));
            }
            let c = collation()?;
            let found = v[1..].iter().position(|s| !s.is_null() && c.compare(text(s), text(&v[0])).is_eq());
            Datum::Int(found.map_or(0, |i| i as i64 + 1))
        }
        F::FindInSet => {
            let c = collation()?;
            let (needle, set) = (text(&v[0]), text(&v[1]));
            let found = (!set.is_empty()).then(|| set.split(|b| *b == b',').position(|s| c.compare(s, needle).is_eq()));
            Datum::Int(found.flatten().map_or(0, |i| i as i64 + 1))
        }
        F::Insert => {
            let s = Chars::new(text(&v[0]), is_binary(call));
            let (pos, len) = (int(&v[1]), int(&v[2]));
            if pos < 1 || pos as usize > s.len() {
                return bytes(s.bytes.to_vec());
            }
            let from = pos as usize - 1;
            let end = if len < 0 { s.len() } else { from.saturating_add(len as usize).min(s.len()) };
            return bytes([s.slice(0, from), text(&v[3]), s.slice(end, s.len())].concat());
        }
        F::Quote => match &v[0] {
            Datum::Null => Datum::from("NULL"),
            s => {
                let mut out = vec![b'\''];
                for b in text(s) {
                    match b {
                        b'\'' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
                        0 => out.extend_from_slice(b"\\0"),
                        0x1a => out.extend_from_slice(b"\\Z"),
                        b => out.push(*b),
                    }
                }
                out.push(b'\'');
                Datum::Bytes(out)
            }
        },
        F::ToBase64 => Datum::Bytes(to_base64(text(&v[0]))),
        F::FromBase64 => from_base64(text(&v[0])).map_or(Datum::Null, Datum::Bytes),
        F::RegexpLike => {
            let regex = crate::value::regex_of_type(text(&v[1]), collation()?, &lossy(&v[2]), f.name())?;
            Datum::Int(regex.is_match(&lossy(&v[0])).into())
        }
        F::Soundex => Datum::string(soundex(&lossy(&v[0]))),
        F::RegexpReplace => {
            let regex = crate::value::regex(text(&v[1]), collation()?)?;
            // MySQL writes groups as $1; two dollars would be a literal one in the crate's notation.
            Datum::string(regex.replace_all(&lossy(&v[0]), lossy(&v[2]).as_ref()).into_owned())
        }
        F::RegexpSubstr => {
            let regex = crate::value::regex(text(&v[1]), collation()?)?;
            regex.find(&lossy(&v[0])).map_or(Datum::Null, |m| Datum::from(m.as_str()))
        }
        F::RegexpInstr => {
            let regex = crate::value::regex(text(&v[1]), collation()?)?;
            let s = lossy(&v[0]);
            Datum::Int(regex.find(&s).map_or(0, |m| s[..m.start()].chars().count() as i64 + 1))
        }
        F::Uuid => {
            // Version 4: random but for the version and variant bits.
            let (a, b) = (ctx.next_random(), ctx.next_random());
            let (a, b) = (a & !0xf000 | 0x4000, b & !(3 << 62) | (2 << 62));
            Datum::string(format!(
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                a >> 32,
                a >> 16 & 0xffff,
                a & 0xffff,
                b >> 48,
                b & 0xffff_ffff_ffff
            ))
        }
        F::RandomBytes => {
            let n = int(&v[0]);
            if !(1..=1024).contains(&n) {
                return Err(EvalError::OutOfRange { ty: "length".into(), expr: f.name().into() });
            }
            let words = (0..n.div_euclid(8) + 1).flat_map(|_| ctx.next_random().to_le_bytes());
            return bytes(words.take(n as usize).collect());
        }
        F::InetAton => {
            let s = lossy(&v[0]);
            match s.parse::<std::net::Ipv4Addr>() {
                Ok(a) => Datum::UInt(u32::from(a).into()),
                Err(_) => Datum::Null,
            }
        }
        F::InetNtoa => match u32::try_from(int(&v[0])) {
            Ok(n) => Datum::string(std::net::Ipv4Addr::from(n).to_string()),
            Err(_) => Datum::Null,
        },
        // ------------------------------------------------------------------------------------------ dates
        F::Year => time_part(&v[0], |t| t.year.into()),
        F::Quarter => time_part(&v[0], |t| (i64::from(t.month) + 2) / 3),
        F::Month => time_part(&v[0], |t| t.month.into()),
        F::Day => time_part(&v[0], |t| t.day.into()),
        F::DayOfWeek => full_date(&v[0]).map_or(Datum::Null, |t| Datum::Int((i64::from(t.weekday()) + 1) % 7 + 1)),
        F::WeekDay => full_date(&v[0]).map_or(Datum::Null, |t| Datum::Int(t.weekday().into())),
        F::DayOfYear => full_date(&v[0]).map_or(Datum::Null, |t| Datum::Int(t.day_of_year().into())),
        F::Week | F::WeekOfYear => {
            let mode = if f == F::WeekOfYear { 3 } else { v.get(1).map_or(0, int) as u8 & 7 };
            full_date(&v[0]).map_or(Datum::Null, |t| Datum::Int(calendar::week(t, mode).1.into()))
        }
        F::YearWeek => {
            let mode = v.get(1).map_or(0, int) as u8 & 7 | 2;
            full_date(&v[0]).map_or(Datum::Null, |t| {
                let (year, week) = calendar::week(t, mode);
                Datum::Int(i64::from(year) * 100 + i64::from(week))
            })
        }
        F::Hour => Datum::Int(span(&v[0]).parts().0.into()),
        F::Minute => Datum::Int(span(&v[0]).parts().1.into()),
        F::Second => Datum::Int(span(&v[0]).parts().2.into()),
        F::MicroSecond => Datum::Int(span(&v[0]).parts().3.into()),
        F::DayName => full_date(&v[0])
            .map_or(Datum::Null, |t| Datum::from(calendar::DAY_NAMES[usize::from((t.weekday() + 1) % 7)])),
        F::MonthName => match &v[0] {
            Datum::Time(t) if (1..=12).contains(&t.month) => {
                Datum::from(calendar::MONTH_NAMES[usize::from(t.month) - 1])
            }
            _ => Datum::Null,
        },
        F::LastDay => match &v[0] {
            Datum::Time(t) if t.month > 0 => {
                let day = codec::time::days_in_month(t.year, t.month);
                Datum::Time(Time { day, ..*t }.convert(TimeKind::Date, 0))
            }
            _ => Datum::Null,
        },
        F::Date => match &v[0] {
            Datum::Time(t) => Datum::Time(t.convert(TimeKind::Date, 0)),
            _ => Datum::Null,
        },
        F::Time => v[0].clone(),
        F::Timestamp => match (&v[0], v.get(1)) {
            (Datum::Time(t), None) => Datum::Time(t.convert(TimeKind::DateTime, call.ty.fsp())),
            (Datum::Time(t), Some(Datum::Duration(d))) => shift(t, d.micros, call.ty.fsp()),
            _ => Datum::Null,
        },
        F::DateDiff => match (full_date(&v[0]), full_date(&v[1])) {
            (Some(a), Some(b)) => Datum::Int(a.day_number() - b.day_number()),
            _ => Datum::Null,
        },
        F::DateFormat => match &v[0] {
            Datum::Time(t) => calendar::format(t, &lossy(&v[1])).map_or(Datum::Null, Datum::string),
            _ => Datum::Null,
        },
        F::TimeFormat => calendar::format_duration(span(&v[0]), &lossy(&v[1])).map_or(Datum::Null, Datum::string),
        F::StrToDate => {
            let (s, pattern) = (lossy(&v[0]), lossy(&v[1]));
            match calendar::parse(&s, &pattern) {
                Some((t, _, _)) => match EvalType::of(&call.ty) {
                    EvalType::Duration => Datum::Duration(t.to_duration().round(call.ty.fsp())),
                    _ => {
                        let kind = TimeKind::from_type(call.ty.tp).unwrap_or(TimeKind::DateTime);
                        Datum::Time(t.convert(kind, call.ty.fsp()))
                    }
                },
                None => {
                    ctx.truncated(EvalError::WrongValue { ty: "datetime".into(), value: s.into_owned() })?;
                    Datum::Null
                }
            }
        }
        F::UnixTimestamp => match v.first() {
            None => Datum::Int(ctx.now_utc_micros.div_euclid(1_000_000)),
            Some(Datum::Time(t)) => {
                let micros = ctx.time_zone.to_utc_micros(t.to_epoch_micros());
                let micros =
                    if t.has_zero_date() || !(0..=2_147_483_647_999_999).contains(&micros) { 0 } else { micros };
                if EvalType::of(&call.ty) == EvalType::Int {
                    Datum::Int(micros / 1_000_000)
                } else {
                    Datum::Decimal(Decimal::from_i128(micros.into(), 6).truncate(call.ty.decimal))
                }
            }
            _ => Datum::Null,
        },
        F::FromUnixTime => {
            let d = cast::to_decimal(&v[0], ctx)?;
            let micros = d.mul(&Decimal::from(1_000_000_i64)).ok().and_then(|d| d.to_i64().ok());
            match micros.filter(|m| (0..=32_536_771_199_999_999).contains(m)) {
                None => Datum::Null,
                Some(micros) => {
                    let local = ctx.time_zone.to_local_micros(micros);
                    let fsp = if v.len() == 2 { 6 } else { call.ty.fsp() };
                    let t = Time::from_epoch_micros(local, TimeKind::DateTime, 6)?.convert(TimeKind::DateTime, fsp);
                    match v.get(1) {
                        Some(pattern) => calendar::format(&t, &lossy(pattern)).map_or(Datum::Null, Datum::string),
                        None => Datum::Time(t),
                    }
                }
            }
        }
        F::Now | F::SysDate => Datum::Time(ctx.now(call.ty.fsp())),
        F::CurDate => Datum::Time(ctx.now(0).convert(TimeKind::Date, 0)),
        F::CurTime => Datum::Duration(ctx.now(call.ty.fsp()).to_duration()),
        F::UtcTimestamp | F::UtcDate | F::UtcTime => {
            let utc =
                EvalContext { time_zone: TimeZone::UTC, now_utc_micros: ctx.now_utc_micros, ..EvalContext::default() };
            let now = utc.now(call.ty.fsp());
            match f {
                F::UtcDate => Datum::Time(now.convert(TimeKind::Date, 0)),
                F::UtcTime => Datum::Duration(now.to_duration()),
                _ => Datum::Time(now),
            }
        }
        F::ToDays => full_date(&v[0]).map_or(Datum::Null, |t| Datum::Int(t.day_number())),
        F::ToSeconds => {
            full_date(&v[0]).map_or(Datum::Null, |t| Datum::Int(t.day_number() * 86_400 + t.clock_micros() / 1_000_000))
        }
        F::FromDays => Time::from_day_number(int(&v[0])).map_or(Datum::Null, Datum::Time),
        F::MakeDate => {
            let (year, day) = (int(&v[0]), int(&v[1]));
            let year = match year {
                0..=69 => year + 2000,
                70..=99 => year + 1900,
                y => y,
            };
            match (u16::try_from(year), day > 0) {
                (Ok(year), true) if year <= 9999 => {
                    let first = Time { year, month: 1, day: 1, ..Time::zero(TimeKind::Date, 0) };
                    let n = first.day_number().saturating_add(day - 1);
                    Time::from_day_number(n).map_or(Datum::Null, Datum::Time)
                }
                _ => Datum::Null,
            }
        }
        F::MakeTime => {
            let (h, m, s) = (int(&v[0]), int(&v[1]), cast::to_f64(&v[2], ctx)?);
            if !(0..60).contains(&m) || !(0.0..60.0).contains(&s) {
                return Ok(Datum::Null);
            }
            let micros = (s * 1e6).round() as i64;
            let total = (h.unsigned_abs().min(1000) as i64 * 3600 + m * 60) * 1_000_000 + micros;
            let d = Duration { micros: if h < 0 { -total } else { total }, fsp: call.ty.fsp() };
            Datum::Duration(d.clip().value.round(call.ty.fsp()))
        }
        F::SecToTime => {
            let d = cast::to_decimal(&v[0], ctx)?.mul(&Decimal::from(1_000_000_i64));
            let micros = d.ok().and_then(|d| d.to_i64().ok()).unwrap_or(i64::MAX);
            Datum::Duration(Duration { micros, fsp: call.ty.fsp() }.clip().value.round(call.ty.fsp()))
        }
        F::TimeToSec => Datum::Int(span(&v[0]).micros / 1_000_000),
        F::AddTime | F::SubTime => {
            let by = span(&v[1]).micros;
            let by = if f == F::SubTime { -by } else { by };
            match &v[0] {
                Datum::Time(t) => shift(t, by, call.ty.fsp()),
                Datum::Duration(d) => {
                    Datum::Duration(Duration { micros: d.micros.saturating_add(by), fsp: call.ty.fsp() }.clip().value)
                }
                s => {
                    let t = cast::to_text(s, call.args[0].ty()).unwrap_or_default();
                    let t = String::from_utf8_lossy(&t).into_owned();
                    let fsp = if t.contains('.') || by % 1_000_000 != 0 { 6 } else { 0 };
                    if t.trim().len() > 10 && t.contains('-') {
                        match cast::to_time(s, TimeKind::DateTime, 6, ctx)? {
                            Some(t) => match shift(&t, by, fsp) {
                                Datum::Time(t) => Datum::string(t.to_string()),
                                other => other,
                            },
                            None => Datum::Null,
                        }
                    } else {
                        match cast::to_duration(s, 6, ctx)? {
                            Some(d) => Datum::string(
                                Duration { micros: d.micros.saturating_add(by), fsp }.clip().value.to_string(),
                            ),
                            None => Datum::Null,
                        }
                    }
                }
            }
        }
        F::TimeDiff => {
            let mut sides = [None, None];
            for (side, v) in sides.iter_mut().zip(v) {
                *side = match v {
                    Datum::Time(t) => Some((true, t.to_epoch_micros())),
                    Datum::Duration(d) => Some((false, d.micros)),
                    s => {
                        let t = cast::to_text(s, call.args[0].ty()).unwrap_or_default();
                        if t.len() > 10 && t.contains(&b'-') && !t.starts_with(b"-") {
                            cast::to_time(s, TimeKind::DateTime, 6, ctx)?.map(|t| (true, t.to_epoch_micros()))
                        } else {
                            cast::to_duration(s, 6, ctx)?.map(|d| (false, d.micros))
                        }
                    }
                };
            }
            match sides {
                [Some((x, a)), Some((y, b))] if x == y => {
                    Datum::Duration(Duration { micros: a - b, fsp: call.ty.fsp() }.clip().value)
                }
                _ => Datum::Null,
            }
        }
        F::PeriodAdd | F::PeriodDiff => {
            let months =
                |period: i64| months_of_period(period).ok_or_else(|| EvalError::WrongArguments(f.name().into()));
            let first = months(int(&v[0]))?;
            Datum::Int(match f {
                F::PeriodDiff => first - months(int(&v[1]))?,
                _ => {
                    let sum = first.saturating_add(int(&v[1]));
                    sum.div_euclid(12).saturating_mul(100).saturating_add(sum.rem_euclid(12) + 1)
                }
            })
        }
        F::ConvertTz => {
            let zone = |name: &Datum| match lossy(name).as_ref() {
                name if name.eq_ignore_ascii_case("system") => Some(ctx.system_zone.clone()),
                name => TimeZone::parse_offset(name),
            };
            match (full_date(&v[0]), zone(&v[1]), zone(&v[2])) {
                (Some(t), Some(from), Some(to)) => {
                    let utc = from.to_utc_micros(t.to_epoch_micros());
                    // Outside of what a TIMESTAMP can hold, MySQL converts nothing.
                    let micros =
                        if TIMESTAMP_MICROS.contains(&utc) { to.to_local_micros(utc) } else { t.to_epoch_micros() };
                    Datum::Time(Time::from_epoch_micros(micros, TimeKind::DateTime, call.ty.fsp())?)
                }
                _ => Datum::Null,
            }
        }
        F::TimestampDiff(unit) => match (&v[0], &v[1]) {
            (Datum::Time(a), Datum::Time(b)) => interval::timestamp_diff(unit, a, b).map_or(Datum::Null, Datum::Int),
            _ => Datum::Null,
        },
        F::Extract(unit) => match &v[0] {
            Datum::Time(t) => Datum::Int(interval::extract(unit, t)),
            Datum::Duration(d) => Datum::Int(interval::extract_duration(unit, *d)),
            s => {
                let t = lossy(s);
                // No date is so short before its first colon.
                let clock_only = t.trim().split_once(':').is_some_and(|(hours, _)| hours.len() <= 5);
                if t.trim().len() > 10 && !clock_only {
                    match cast::to_time(s, TimeKind::DateTime, 6, ctx)? {
                        Some(t) => Datum::Int(interval::extract(unit, &t)),
                        None => Datum::Null,
                    }
                } else {
                    match cast::to_duration(s, 6, ctx)? {
                        Some(d) => Datum::Int(interval::extract_duration(unit, d)),
                        None => Datum::Null,
                    }
                }
            }
        },
        // ------------------------------------------------------------------------------------------ session
        F::Database => ctx.session.database.clone().map_or(Datum::Null, Datum::string),
        F::User => Datum::from(ctx.session.user.as_str()),
        F::CurrentUser => Datum::from(ctx.session.current_user.as_str()),
        F::Version => Datum::from(ctx.session.version.as_str()),
        F::ConnectionId => Datum::UInt(ctx.session.connection_id),
        F::LastInsertId => match v.first() {
            None => Datum::UInt(ctx.session.last_insert_id),
            Some(Datum::Null) => Datum::Null,
            Some(n) => {
                ctx.set_last_insert_id = Some(bits(n));
                Datum::UInt(bits(n))
            }
        },
        F::FoundRows => Datum::UInt(ctx.session.found_rows),
        F::RowCount => Datum::Int(ctx.session.row_count),
        F::Charset => Datum::from(call.args[0].ty().collation.charset()),
        F::Collation => Datum::from(call.args[0].ty().collation.name()),
        // ------------------------------------------------------------------------------------------ others
        F::AnyValue => v[0].clone(),
        F::Sleep => match &v[0] {
            Datum::Float(secs) if *secs >= 0.0 => {
                ctx.sleep_micros = ctx.sleep_micros.saturating_add((secs * 1e6) as u64);
                Datum::Int(0)
            }
            _ => {
                let wrong = EvalError::WrongArguments("sleep.".into());
                if ctx.is_strict() {
                    return Err(wrong);
                }
                ctx.warn((&wrong).into());
                Datum::Int(0)
            }
        },
        F::Interval => {
            if v[0].is_null() {
                return Ok(Datum::Int(-1));
            }
            let n = real(&v[0]);
            Datum::Int(v[1..].iter().take_while(|b| b.is_null() || real(b) <= n).count() as i64)
        }
        F::JsonExtract => {
            let doc = json_argument(&v[0])?;
            let mut found = Vec::new();
            let mut many = v.len() > 2;
            for path in &v[1..] {
                let (steps, wild) = json_path(&lossy(path))?;
                many |= wild;
                json_find(&doc, &steps, &mut found);
            }
            match found.len() {
                0 => Datum::Null,
                1 if !many => Datum::Json(found[0].clone()),
                _ => Datum::Json(Json::Array(found.into_iter().cloned().collect())),
            }
        }
        F::JsonUnquote => match &v[0] {
            Datum::Json(Json::String(s)) => Datum::string(s.clone()),
            Datum::Json(j) => Datum::string(j.to_string()),
            Datum::Bytes(b) if b.len() >= 2 && b.starts_with(b"\"") && b.ends_with(b"\"") => {
                match json_argument(&v[0])? {
                    Json::String(s) => Datum::string(s),
                    _ => v[0].clone(),
                }
            }
            s => Datum::Bytes(cast::to_text(s, call.args[0].ty()).unwrap_or_default()),
        },
        F::JsonType => Datum::from(json_argument(&v[0])?.type_name()),
        F::JsonValid => Datum::Int(match &v[0] {
            Datum::Json(_) => 1,
            Datum::Bytes(b) => std::str::from_utf8(b).is_ok_and(|s| Json::parse(s).is_ok()).into(),
            _ => 0,
        }),
        F::JsonArray => {
            Datum::Json(Json::Array(v.iter().zip(&call.args).map(|(v, a)| cast::to_json(v, a.ty())).collect()))
        }
        F::JsonObject => {
            if v.len() % 2 == 1 {
                return Err(EvalError::WrongParamCount("json_object".into()));
            }
            let mut members = Vec::new();
            for (pair, args) in v.chunks(2).zip(call.args.chunks(2)) {
                let key = cast::to_text(&pair[0], args[0].ty()).ok_or(EvalError::JsonNullName)?;
                members.push((String::from_utf8_lossy(&key).into_owned(), cast::to_json(&pair[1], args[1].ty())));
            }
            Datum::Json(Json::object(members))
        }
        F::JsonKeys => {
            let doc = json_argument(&v[0])?;
            let mut found = Vec::new();
            match v.get(1) {
                None => found.push(&doc),
                Some(path) => {
                    let (steps, wild) = json_path(&lossy(path))?;
                    if wild {
                        return Err(EvalError::JsonPathWildcard);
                    }
                    json_find(&doc, &steps, &mut found);
                }
            }
            match found[..] {
                [Json::Object(members)] => {
                    Datum::Json(Json::Array(members.iter().map(|(name, _)| Json::String(name.clone())).collect()))
                }
                _ => Datum::Null,
            }
        }
        F::JsonLength => Datum::Int(match json_argument(&v[0])? {
            Json::Array(a) => a.len() as i64,
            Json::Object(o) => o.len() as i64,
            _ => 1,
        }),
    })
}

fn single(mut mapped: impl Iterator<Item = char>, c: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(m), None) => m,
        _ => c,
    }
}

fn logarithm(f: ScalarFn, n: f64, ctx: &mut EvalContext) -> Datum {
    if n <= 0.0 {
        ctx.warn(crate::error::Warning { code: 3020, message: "Invalid argument for logarithm".into() });
        return Datum::Null;
    }
    Datum::Float(match f {
        ScalarFn::Log2 => n.log2(),
        ScalarFn::Log10 => n.log10(),
        _ => n.ln(),
    })
}

/// Byte offsets of all occurrences that do not overlap.
fn positions(hay: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut out = Vec::new();
    let mut i = 0;
    while i + needle.len() <= hay.len() {
        if hay[i..].starts_with(needle) {
            out.push(i);
            i += needle.len();
        } else {
            i += 1;
        }
    }
    out
}

fn shift(t: &Time, micros: i64, fsp: u8) -> Datum {
    if t.has_zero_date() {
        return Datum::Null;
    }
    match t.to_epoch_micros().checked_add(micros).map(|m| Time::from_epoch_micros(m, TimeKind::DateTime, fsp)) {
        Some(Ok(t)) => Datum::Time(t),
        _ => Datum::Null,
    }
}

fn conv(s: &str, from: i64, to: i64) -> Datum {
    let (f, t) = (from.unsigned_abs(), to.unsigned_abs());
    if !(2..=36).contains(&f) || !(2..=36).contains(&t) {
        return Datum::Null;
    }
    let s = s.trim();
    let (negative, digits) = s.strip_prefix('-').map_or((false, s), |rest| (true, rest));
    let mut n = 0_u64;
    for d in digits.chars().map_while(|c| c.to_digit(f as u32)) {
        n = n.checked_mul(f).and_then(|n| n.checked_add(d.into())).unwrap_or(u64::MAX);
    }
    if negative {
        n = n.wrapping_neg();
    }
    let (minus, mut n) = if to < 0 && (n as i64) < 0 { ("-", (n as i64).unsigned_abs()) } else { ("", n) };
    let mut out = Vec::new();
    loop {
        out.push(char::from_digit((n % t) as u32, 36).unwrap_or('0').to_ascii_uppercase());
        n /= t;
        if n == 0 {
            break;
        }
    }
    Datum::string(minus.chars().chain(out.into_iter().rev()).collect::<String>())
}

/// Instants that a TIMESTAMP can hold, but for its zero.
const TIMESTAMP_MICROS: std::ops::Range<i64> = 1_000_000..(i32::MAX as i64 + 1) * 1_000_000;

/// Months since year 0 of a period `YYMM` or `YYYYMM`; `None` when it is none.
fn months_of_period(period: i64) -> Option<i64> {
    let (year, month) = (period.div_euclid(100), period.rem_euclid(100));
    if !(1..=12).contains(&month) || !(0..=9999).contains(&year) {
        return None;
    }
    let year = match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        y => y,
    };
    Some(year * 12 + month - 1)
}

/// The original Soundex, as MySQL has it: duplicates go before vowels do, and the code is as long as the word needs.
fn soundex(s: &str) -> String {
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

// -------------------------------------------------------------------------------------------------------- JSON

fn json_argument(v: &Datum) -> Result<Json> {
    match v {
        Datum::Json(j) => Ok(j.clone()),
        v => {
            let text = cast::display(v);
            Json::parse(&text).map_err(|_| EvalError::InvalidJson(text))
        }
    }
}

enum Step {
    Member(String),
    Index(usize),
    AllMembers,
    AllItems,
}

/// `$.a."b c"[0].*`; and whether it has a wildcard.
fn json_path(path: &str) -> Result<(Vec<Step>, bool)> {
    let unsupported = |what: &str| Err(EvalError::Unsupported(format!("{what} in JSON path {path}")));
    let mut steps = Vec::new();
    let mut rest = path.trim().strip_prefix('$').ok_or(EvalError::InvalidJsonPath(1))?;
    while !rest.is_empty() {
        let bad = || EvalError::InvalidJsonPath(path.trim_end().len() - rest.len() + 1);
        if let Some(r) = rest.strip_prefix(".*") {
            steps.push(Step::AllMembers);
            rest = r;
        } else if let Some(r) = rest.strip_prefix("[*]") {
            steps.push(Step::AllItems);
            rest = r;
        } else if let Some(r) = rest.strip_prefix(".\"") {
            let end = r.find('"').ok_or_else(bad)?;
            steps.push(Step::Member(r[..end].into()));
            rest = &r[end + 1..];
        } else if let Some(r) = rest.strip_prefix('.') {
            let end = r.find(['.', '[']).unwrap_or(r.len());
            if end == 0 {
                return Err(bad());
            }
            steps.push(Step::Member(r[..end].trim().into()));
            rest = &r[end..];
        } else if let Some(r) = rest.strip_prefix('[') {
            let end = r.find(']').ok_or_else(bad)?;
            let index = r[..end].trim();
            if index.starts_with("last") || index.contains(" to ") {
                return unsupported(index);
            }
            steps.push(Step::Index(index.parse().map_err(|_| bad())?));
            rest = &r[end + 1..];
        } else if rest.starts_with("**") {
            return unsupported("**");
        } else {
            return Err(bad());
        }
    }
    let wild = steps.iter().any(|s| matches!(s, Step::AllMembers | Step::AllItems));
    Ok((steps, wild))
}

fn json_find<'a>(doc: &'a Json, steps: &[Step], out: &mut Vec<&'a Json>) {
    let Some((step, rest)) = steps.split_first() else {
        out.push(doc);
        return;
    };
    match (step, doc) {
        (Step::Member(name), Json::Object(_)) => {
            if let Some(j) = doc.get(name) {
                json_find(j, rest, out);
            }
        }
        (Step::Index(i), Json::Array(items)) => {
            if let Some(j) = items.get(*i) {
                json_find(j, rest, out);
            }
        }
        // A scalar is an array of one.
        (Step::Index(0), j) => json_find(j, rest, out),
        (Step::AllMembers, Json::Object(members)) => members.iter().for_each(|(_, j)| json_find(j, rest, out)),
        (Step::AllItems, Json::Array(items)) => items.iter().for_each(|j| json_find(j, rest, out)),
        _ => {}
    }
}
