//! What kernels share: arguments as what they were cast to, text by characters, errors.

use std::borrow::Cow;

use codec::datum::Datum;
use codec::time::{Duration, Time, TimeKind};
use codec::types::Collation;

use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::eval::out_of_range;
use crate::expr::Call;

pub(super) fn text(v: &Datum) -> &[u8] {
    match v {
        Datum::Bytes(b) => b,
        _ => &[],
    }
}

/// The bytes of an argument in the character set that it is in.
pub(super) fn encoded<'v>(call: &Call, v: &'v [Datum]) -> Cow<'v, [u8]> {
    let set = call.args.first().map(|arg| arg.ty()).filter(|ty| ty.is_text()).map(|ty| ty.collation.set());
    match set {
        Some(set) if !set.is_utf8() => set.encode(v.first().map_or(&[][..], text)),
        _ => Cow::Borrowed(v.first().map_or(&[][..], text)),
    }
}

/// Text as characters; bytes of a binary string count one each.
pub(super) fn lossy(v: &Datum) -> Cow<'_, str> {
    String::from_utf8_lossy(text(v))
}

pub(super) fn int(v: &Datum) -> i64 {
    match v {
        Datum::Int(v) => *v,
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => i64::try_from(*v).unwrap_or(i64::MAX),
        _ => 0,
    }
}

/// An optional integer argument.
pub(super) fn int_at(v: &[Datum], at: usize, default: i64) -> i64 {
    v.get(at).map_or(default, int)
}

pub(super) fn bits(v: &Datum) -> u64 {
    match v {
        Datum::Int(v) => *v as u64,
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => *v,
        _ => 0,
    }
}

pub(super) fn real(v: &Datum) -> f64 {
    match v {
        Datum::Float(v) => *v,
        _ => 0.0,
    }
}

pub(super) fn span(v: &Datum) -> Duration {
    match v {
        Datum::Duration(d) => *d,
        _ => Duration::from_nanos(0, 0),
    }
}

pub(super) fn bytes(b: impl Into<Vec<u8>>) -> Result<Datum> {
    Ok(Datum::Bytes(b.into()))
}

pub(super) fn string(s: impl Into<String>) -> Result<Datum> {
    Ok(Datum::string(s))
}

pub(super) fn integer(n: i64) -> Result<Datum> {
    Ok(Datum::Int(n))
}

pub(super) fn float(n: f64) -> Result<Datum> {
    Ok(Datum::Float(n))
}

pub(super) const NULL: Result<Datum> = Ok(Datum::Null);

/// NULL for nothing.
pub(super) fn or_null(v: Option<Datum>) -> Result<Datum> {
    Ok(v.unwrap_or_default())
}

/// The domain errors of logarithms and roots are NULL.
pub(super) fn finite(v: f64, call: &Call) -> Result<Datum> {
    if v.is_nan() {
        return NULL;
    }
    if v.is_infinite() {
        return Err(out_of_range("DOUBLE", call));
    }
    float(v)
}

pub(super) fn is_binary(call: &Call) -> bool {
    call.args.first().is_some_and(|a| a.ty().is_binary_string())
}

/// The collation in which the call compares its strings.
pub(super) fn collation(call: &Call) -> Result<Collation> {
    crate::infer::merge_collations(&call.args, call.func.name())
}

/// NULL with warning 1301.
pub(super) fn too_large(call: &Call, ctx: &mut EvalContext) -> Result<Datum> {
    let limit = ctx.max_allowed_packet;
    ctx.warn((&EvalError::TooLarge(call.func.name().into(), limit)).into());
    NULL
}

pub(super) fn wrong_arguments<T>(call: &Call) -> Result<T> {
    Err(EvalError::WrongArguments(call.func.name().into()))
}

/// For parts that exist only when month and day do.
pub(super) fn full_date(v: &Datum) -> Option<&Time> {
    match v {
        Datum::Time(t) if !t.has_zero_date() => Some(t),
        _ => None,
    }
}

/// A time so many microseconds later, or NULL beyond the years 0 to 9999.
pub(super) fn shift(t: &Time, micros: i64, fsp: u8) -> Datum {
    if t.has_zero_date() {
        return Datum::Null;
    }
    match t.to_epoch_micros().checked_add(micros).map(|m| Time::from_epoch_micros(m, TimeKind::DateTime, fsp)) {
        Some(Ok(t)) => Datum::Time(t),
        _ => Datum::Null,
    }
}

/// Pieces of text by characters, or by bytes of binary strings.
pub(super) struct Chars<'a> {
    pub(super) bytes: &'a [u8],
    /// Byte offset of each character, and of the end.
    offsets: Vec<usize>,
}

impl<'a> Chars<'a> {
    pub(super) fn new(bytes: &'a [u8], binary: bool) -> Chars<'a> {
        let mut offsets: Vec<usize> = match std::str::from_utf8(bytes) {
            Ok(s) if !binary => s.char_indices().map(|(i, _)| i).collect(),
            _ => (0..bytes.len()).collect(),
        };
        offsets.push(bytes.len());
        Chars { bytes, offsets }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(super) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        let (from, to) = (from.min(self.len()), to.min(self.len()));
        &self.bytes[self.offsets[from]..self.offsets[to.max(from)]]
    }
}

/// A character that maps to one other; itself when it maps to several.
pub(super) fn single(mut mapped: impl Iterator<Item = char>, c: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(m), None) => m,
        _ => c,
    }
}

/// Byte offsets of all occurrences that do not overlap.
pub(super) fn positions(hay: &[u8], needle: &[u8]) -> Vec<usize> {
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
