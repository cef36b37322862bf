//! MySQL's DECIMAL: exact numbers of up to 65 digits, 30 of them after the point.
//!
//! A number is an integer and a scale: 12.50 is `1250` at scale 2. The scale is part of the value (`1.0` prints as
//! `1.0`), but not of its equality. Up to 38 digits live in an `i128`; only larger numbers cost an allocation.
//!
//! Rounding is MySQL's: half away from zero. Result scales are MySQL's: the larger of both for `+` and `-`, the sum for
//! `*`, what is asked for with `/`, whose digits beyond are cut; never over 30.
//!
//! ```
//! use codec::decimal::Decimal;
//! let a: Decimal = "10.50".parse().unwrap();
//! let b: Decimal = "3".parse().unwrap();
//! assert_eq!(a.add(&b).unwrap().to_string(), "13.50");
//! assert_eq!(a.div(&b, 6).unwrap().unwrap().to_string(), "3.500000");
//! assert_eq!(a.round(0).to_string(), "11");
//! ```
//!
//! The binary form ([`Decimal::to_bin`]) sorts as the number does among decimals of one declared type: nine digits in
//! four bytes, digits of the first and the last group in as few bytes as they need, all bits flipped when negative, and
//! the top bit flipped always.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use num_bigint::{BigInt, Sign};

use crate::{Error, Result};

/// Most digits of a DECIMAL.
pub const MAX_PRECISION: u8 = 65;
/// Most digits after the point.
pub const MAX_SCALE: u8 = 30;
/// MySQL's `div_precision_increment`.
pub const DIV_INCREMENT: u8 = 4;
/// Digits that intermediate results may have, as in MySQL's and TiDB's nine words of nine digits.
const MAX_DIGITS: u32 = 81;

/// An exact decimal number.
#[derive(Clone)]
pub struct Decimal {
    unscaled: Unscaled,
    scale: u8,
}

/// `Large` only when it does not fit `Small`.
#[derive(Clone, Debug)]
enum Unscaled {
    Small(i128),
    Large(Box<BigInt>),
}
use Unscaled::{Large, Small};

impl Unscaled {
    fn from_big(b: BigInt) -> Unscaled {
        match i128::try_from(&b) {
            Ok(n) => Small(n),
            Err(_) => Large(Box::new(b)),
        }
    }

    fn big(&self) -> BigInt {
        match self {
            Small(n) => BigInt::from(*n),
            Large(b) => (**b).clone(),
        }
    }

    fn is_negative(&self) -> bool {
        match self {
            Small(n) => *n < 0,
            Large(b) => b.sign() == Sign::Minus,
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Small(0))
    }

    /// Digits without sign, "0" for zero.
    fn digits(&self) -> String {
        match self {
            Small(n) => n.unsigned_abs().to_string(),
            Large(b) => b.magnitude().to_string(),
        }
    }
}

const POW10: [i128; 39] = {
    let mut t = [1_i128; 39];
    let mut i = 1;
    while i < 39 {
        t[i] = t[i - 1] * 10;
        i += 1;
    }
    t
};

fn big_pow10(n: u32) -> BigInt {
    BigInt::from(10).pow(n)
}

fn scale_up(u: &Unscaled, by: u32) -> Unscaled {
    if by == 0 {
        return u.clone();
    }
    if let (Small(n), true) = (u, by < 39)
        && let Some(m) = n.checked_mul(POW10[by as usize])
    {
        return Small(m);
    }
    Unscaled::from_big(u.big() * big_pow10(by))
}

#[derive(Clone, Copy, PartialEq)]
enum Rounding {
    HalfAway,
    Truncate,
    Floor,
    Ceiling,
}

fn scale_down(u: &Unscaled, by: u32, mode: Rounding) -> Unscaled {
    if by == 0 {
        return u.clone();
    }
    if let (Small(n), true) = (u, by < 39) {
        let p = POW10[by as usize];
        let (q, r) = (n / p, n % p);
        let away = match mode {
            Rounding::HalfAway => r.unsigned_abs() >= p as u128 - p as u128 / 2,
            Rounding::Truncate => false,
            Rounding::Floor => r < 0,
            Rounding::Ceiling => r > 0,
        };
        return Small(if away { q + if *n < 0 { -1 } else { 1 } } else { q });
    }
    let b = u.big();
    let p = big_pow10(by);
    let (q, r) = (&b / &p, &b % &p);
    let negative = b.sign() == Sign::Minus;
    let away = match mode {
        Rounding::HalfAway => BigInt::from(r.magnitude().clone()) * 2 >= p,
        Rounding::Truncate => false,
        Rounding::Floor => r.sign() == Sign::Minus,
        Rounding::Ceiling => r.sign() == Sign::Plus,
    };
    Unscaled::from_big(if away { q + if negative { -1 } else { 1 } } else { q })
}

impl Decimal {
    /// Zero at scale 0.
    pub const ZERO: Decimal = Decimal { unscaled: Small(0), scale: 0 };

    /// `unscaled / 10^scale`.
    pub fn from_i128(unscaled: i128, scale: u8) -> Decimal {
        Decimal { unscaled: Small(unscaled), scale }
    }

    /// `unscaled / 10^scale`.
    pub fn from_bigint(unscaled: BigInt, scale: u8) -> Decimal {
        Decimal { unscaled: Unscaled::from_big(unscaled), scale }
    }

    /// The unscaled number where it fits; see also [`Decimal::scale`].
    pub fn to_i128_unscaled(&self) -> Option<i128> {
        match &self.unscaled {
            Small(n) => Some(*n),
            Large(_) => None,
        }
    }

    /// The unscaled number.
    pub fn to_bigint_unscaled(&self) -> BigInt {
        self.unscaled.big()
    }

    /// The nearest decimal to what the float prints as; `None` for infinities, NaN and numbers over 81 digits.
    pub fn from_f64(v: f64) -> Option<Decimal> {
        if !v.is_finite() {
            return None;
        }
        // `{:e}` prints the shortest digits that read back as the same float.
        let (d, _) = Decimal::parse_prefix(&format!("{v:e}"));
        d
    }

    /// Digits after the point.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Digits before the point, 0 for numbers below one.
    pub fn int_digits(&self) -> u32 {
        let n = match &self.unscaled {
            Small(0) => 0,
            Small(n) => n.unsigned_abs().ilog10() + 1,
            Large(_) => self.unscaled.digits().len() as u32,
        };
        n.saturating_sub(u32::from(self.scale))
    }

    /// Digits in all: before the point plus scale, at least one.
    pub fn precision(&self) -> u8 {
        (self.int_digits() + u32::from(self.scale)).clamp(1, 255) as u8
    }

    /// Whether it equals zero.
    pub fn is_zero(&self) -> bool {
        self.unscaled.is_zero()
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.unscaled.is_negative()
    }

    /// The largest number of DECIMAL(precision, scale).
    pub fn max_value(precision: u8, scale: u8) -> Decimal {
        Decimal::from_bigint(big_pow10(precision.into()) - 1, scale)
    }

    /// Whether the integer part fits DECIMAL(precision, scale); the fraction is for rounding.
    pub fn fits(&self, precision: u8, scale: u8) -> bool {
        self.int_digits() <= u32::from(precision.saturating_sub(scale))
    }

    fn rescale(&self, scale: i32, mode: Rounding) -> Decimal {
        let target = scale.clamp(0, MAX_SCALE.into()) as u8;
        let drop = i32::from(self.scale) - scale.min(MAX_SCALE.into());
        if drop <= 0 {
            let up = u32::from(target - self.scale);
            return Decimal { unscaled: scale_up(&self.unscaled, up), scale: target };
        }
        let down = scale_down(&self.unscaled, drop as u32, mode);
        // A negative scale rounds digits before the point: put zeros back.
        let up = if scale < 0 { scale.unsigned_abs().min(MAX_DIGITS) } else { 0 };
        Decimal { unscaled: scale_up(&down, up), scale: target }
    }

    /// Exactly `scale` digits after the point, rounding half away from zero. Negative scales round before the point.
    pub fn round(&self, scale: i32) -> Decimal {
        self.rescale(scale, Rounding::HalfAway)
    }

    /// Exactly `scale` digits after the point, dropping the rest.
    pub fn truncate(&self, scale: i32) -> Decimal {
        self.rescale(scale, Rounding::Truncate)
    }

    /// The largest integer not above.
    pub fn floor(&self) -> Decimal {
        self.rescale(0, Rounding::Floor)
    }

    /// The smallest integer not below.
    pub fn ceil(&self) -> Decimal {
        self.rescale(0, Rounding::Ceiling)
    }

    /// With the opposite sign.
    pub fn neg(&self) -> Decimal {
        let unscaled = match &self.unscaled {
            Small(n) if *n != i128::MIN => Small(-n),
            u => Unscaled::from_big(-u.big()),
        };
        Decimal { unscaled, scale: self.scale }
    }

    /// Without sign.
    pub fn abs(&self) -> Decimal {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    fn checked(self) -> Result<Decimal> {
        let d = if self.scale > MAX_SCALE { self.rescale_raw(MAX_SCALE) } else { self };
        match &d.unscaled {
            Large(_) if d.int_digits() + u32::from(d.scale) > MAX_DIGITS => Err(Error::OutOfRange("DECIMAL value")),
            _ => Ok(d),
        }
    }

    /// Truncates to a smaller scale.
    fn rescale_raw(&self, scale: u8) -> Decimal {
        Decimal { unscaled: scale_down(&self.unscaled, u32::from(self.scale - scale), Rounding::Truncate), scale }
    }

    /// Sum; fails over 81 digits.
    pub fn add(&self, other: &Decimal) -> Result<Decimal> {
        let scale = self.scale.max(other.scale);
        let a = scale_up(&self.unscaled, u32::from(scale - self.scale));
        let b = scale_up(&other.unscaled, u32::from(scale - other.scale));
        if let (Small(x), Small(y)) = (&a, &b)
            && let Some(s) = x.checked_add(*y)
        {
            return Ok(Decimal { unscaled: Small(s), scale });
        }
        Decimal { unscaled: Unscaled::from_big(a.big() + b.big()), scale }.checked()
    }

    /// Difference; fails over 81 digits.
    pub fn sub(&self, other: &Decimal) -> Result<Decimal> {
        self.add(&other.neg())
    }

    /// Product; digits beyond scale 30 are dropped, fails over 81 digits.
    pub fn mul(&self, other: &Decimal) -> Result<Decimal> {
        let scale = self.scale + other.scale;
        if let (Small(x), Small(y)) = (&self.unscaled, &other.unscaled)
            && let Some(p) = x.checked_mul(*y)
        {
            return Decimal { unscaled: Small(p), scale }.checked();
        }
        Decimal { unscaled: Unscaled::from_big(self.unscaled.big() * other.unscaled.big()), scale }.checked()
    }

    /// Quotient cut at a scale (at most 30); `None` when dividing by zero.
    pub fn div(&self, other: &Decimal, scale: u8) -> Option<Result<Decimal>> {
        let scale = scale.min(MAX_SCALE);
        if other.is_zero() {
            return None;
        }
        let shift = u32::from(scale) + u32::from(other.scale);
        let a = scale_up(&self.unscaled, shift.saturating_sub(self.scale.into()));
        let q = match (&a, &other.unscaled) {
            (Small(x), Small(y)) if *x != i128::MIN => Small(x / y),
            (a, b) => Unscaled::from_big(a.big() / b.big()),
        };
        let excess = u32::from(self.scale).saturating_sub(shift);
        Some(Decimal { unscaled: scale_down(&q, excess, Rounding::Truncate), scale }.checked())
    }

    /// Integer part of the quotient (`DIV`), toward zero; `None` when dividing by zero.
    pub fn int_div(&self, other: &Decimal) -> Option<Result<Decimal>> {
        if other.is_zero() {
            return None;
        }
        let scale = self.scale.max(other.scale);
        let a = scale_up(&self.unscaled, u32::from(scale - self.scale));
        let b = scale_up(&other.unscaled, u32::from(scale - other.scale));
        let q = match (&a, &b) {
            (Small(x), Small(y)) if *x != i128::MIN => Small(x / y),
            _ => Unscaled::from_big(a.big() / b.big()),
        };
        Some(Decimal { unscaled: q, scale: 0 }.checked())
    }

    /// Remainder with the dividend's sign; `None` when dividing by zero.
    pub fn rem(&self, other: &Decimal) -> Option<Result<Decimal>> {
        if other.is_zero() {
            return None;
        }
        let scale = self.scale.max(other.scale);
        let a = scale_up(&self.unscaled, u32::from(scale - self.scale));
        let b = scale_up(&other.unscaled, u32::from(scale - other.scale));
        let r = match (&a, &b) {
            (Small(x), Small(y)) if *y != -1 => Small(x % y),
            (Small(_), Small(_)) => Small(0),
            _ => Unscaled::from_big(a.big() % b.big()),
        };
        Some(Decimal { unscaled: r, scale }.checked())
    }

    /// Rounded to an integer; out of range gives the nearest bound as error value.
    pub fn to_i64(&self) -> std::result::Result<i64, i64> {
        match self.round(0).unscaled {
            Small(n) => i64::try_from(n).map_err(|_| if n < 0 { i64::MIN } else { i64::MAX }),
            Large(b) => Err(if b.sign() == Sign::Minus { i64::MIN } else { i64::MAX }),
        }
    }

    /// Rounded to an integer; out of range gives the nearest bound as error value.
    pub fn to_u64(&self) -> std::result::Result<u64, u64> {
        match self.round(0).unscaled {
            Small(n) => u64::try_from(n).map_err(|_| if n < 0 { 0 } else { u64::MAX }),
            Large(b) => Err(if b.sign() == Sign::Minus { 0 } else { u64::MAX }),
        }
    }

    /// The nearest float.
    pub fn to_f64(&self) -> f64 {
        match &self.unscaled {
            // Both exact below 2^53, and one division rounds once.
            Small(n) if n.unsigned_abs() < 1 << 53 && self.scale <= 22 => {
                *n as f64 / POW10[usize::from(self.scale)] as f64
            }
            _ => self.to_string().parse().unwrap_or(0.0),
        }
    }

    /// Reads the longest number at the front of `s` (leading and trailing spaces allowed), with optional exponent.
    /// The flag says whether anything was left over or dropped. `None` when too large for 81 digits.
    pub fn parse_prefix(s: &str) -> (Option<Decimal>, bool) {
        let b = s.trim_ascii().as_bytes();
        let mut i = 0;
        let negative = match b.first() {
            Some(b'-') => {
                i = 1;
                true
            }
            Some(b'+') => {
                i = 1;
                false
            }
            _ => false,
        };
        let mut digits: Vec<u8> = Vec::with_capacity(b.len());
        let mut scale = 0_i64;
        let (mut seen, mut point) = (false, false);
        while let Some(&c) = b.get(i) {
            match c {
                b'0'..=b'9' => {
                    seen = true;
                    if !(digits.is_empty() && c == b'0') {
                        digits.push(c);
                    }
                    scale += i64::from(point);
                }
                b'.' if !point => point = true,
                _ => break,
            }
            i += 1;
        }
        if !seen {
            return (Some(Decimal::ZERO), true);
        }
        if matches!(b.get(i), Some(b'e' | b'E')) {
            let mut j = i + 1;
            let exp_negative = match b.get(j) {
                Some(b'-') => {
                    j += 1;
                    true
                }
                Some(b'+') => {
                    j += 1;
                    false
                }
                _ => false,
            };
            let start = j;
            let mut exp = 0_i64;
            while let Some(c @ b'0'..=b'9') = b.get(j) {
                exp = (exp * 10 + i64::from(c - b'0')).min(100_000);
                j += 1;
            }
            if j > start {
                i = j;
                scale += if exp_negative { exp } else { -exp };
            }
        }
        let rest = i < b.len();
        if digits.is_empty() {
            return (Some(Decimal { unscaled: Small(0), scale: scale.clamp(0, MAX_SCALE.into()) as u8 }), rest);
        }
        if digits.len() as i64 - scale > i64::from(MAX_DIGITS) {
            return (None, rest);
        }
        let mut truncated = rest;
        // Digits beyond the scale limit are rounded away; keep one for the rounding.
        if scale > i64::from(MAX_SCALE) {
            let drop = scale - i64::from(MAX_SCALE);
            truncated = true;
            if drop > digits.len() as i64 {
                return (Some(Decimal { unscaled: Small(0), scale: MAX_SCALE }), true);
            }
            digits.truncate(digits.len() - (drop - 1) as usize);
            scale -= drop - 1;
        }
        let text = std::str::from_utf8(&digits).unwrap_or("0");
        let text = if text.is_empty() { "0" } else { text };
        let mut unscaled = match text.parse::<i128>() {
            Ok(n) => Small(n),
            Err(_) => Unscaled::from_big(text.parse::<BigInt>().unwrap_or_default()),
        };
        if scale > i64::from(MAX_SCALE) {
            unscaled = scale_down(&unscaled, 1, Rounding::HalfAway);
            scale -= 1;
        }
        if scale < 0 {
            unscaled = scale_up(&unscaled, scale.unsigned_abs() as u32);
            scale = 0;
        }
        let d = Decimal { unscaled, scale: scale as u8 };
        (Some(if negative { d.neg() } else { d }), truncated)
    }

    /// Bytes of the binary form of DECIMAL(precision, scale).
    pub fn bin_len(precision: u8, scale: u8) -> usize {
        let int = usize::from(precision.saturating_sub(scale));
        let frac = usize::from(scale);
        DIG_BYTES[int % 9] + int / 9 * 4 + frac / 9 * 4 + DIG_BYTES[frac % 9]
    }

    /// Appends the binary form of DECIMAL(precision, scale), rounding the fraction; fails if the integer part is wider.
    pub fn to_bin(&self, buf: &mut Vec<u8>, precision: u8, scale: u8) -> Result<()> {
        if precision > MAX_DIGITS as u8 || scale > MAX_SCALE || scale > precision || precision == 0 {
            return Err(Error::Invalid("DECIMAL precision"));
        }
        let rounded = self.round(scale.into());
        if !rounded.fits(precision, scale) {
            return Err(Error::OutOfRange("DECIMAL value"));
        }
        let digits = format!("{:0>width$}", rounded.unscaled.digits(), width = usize::from(precision));
        let (int, frac) = digits.as_bytes().split_at(usize::from(precision - scale));
        let flip = if rounded.is_negative() { 0xff } else { 0 };
        let start = buf.len();
        let mut put = |group: &[u8]| {
            let n = group.iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'));
            let width = DIG_BYTES[group.len()];
            buf.extend(n.to_be_bytes()[4 - width..].iter().map(|b| b ^ flip));
        };
        let (head, words) = int.split_at(int.len() % 9);
        put(head);
        words.chunks(9).for_each(&mut put);
        frac.chunks(9).for_each(&mut put);
        if let Some(first) = buf.get_mut(start) {
            *first ^= 0x80;
        }
        Ok(())
    }

    /// Takes the binary form of DECIMAL(precision, scale) from the front.
    pub fn from_bin(data: &mut &[u8], precision: u8, scale: u8) -> Result<Decimal> {
        if precision > MAX_DIGITS as u8 || scale > MAX_SCALE || scale > precision || precision == 0 {
            return Err(Error::Invalid("DECIMAL precision"));
        }
        let len = Decimal::bin_len(precision, scale);
        let (bin, rest) = data.split_at_checked(len).ok_or(Error::Eof("DECIMAL"))?;
        let negative = bin[0] & 0x80 == 0;
        let flip = if negative { 0xff } else { 0 };
        let mut bin = bin.iter().enumerate().map(|(i, b)| if i == 0 { b ^ 0x80 ^ flip } else { b ^ flip });
        let int = usize::from(precision - scale);
        let frac = usize::from(scale);
        let groups = (int % 9 > 0)
            .then_some(int % 9)
            .into_iter()
            .chain(std::iter::repeat_n(9, int / 9))
            .chain(std::iter::repeat_n(9, frac / 9))
            .chain((frac % 9 > 0).then_some(frac % 9));
        let mut small = Some(0_i128);
        let mut big = BigInt::default();
        for digits in groups {
            let n = bin.by_ref().take(DIG_BYTES[digits]).fold(0_u32, |n, b| n << 8 | u32::from(b));
            let p = 10_u32.pow(digits as u32);
            if n >= p {
                return Err(Error::Invalid("DECIMAL"));
            }
            match small.and_then(|s| s.checked_mul(p.into())).and_then(|s| s.checked_add(n.into())) {
                Some(s) => small = Some(s),
                None => {
                    if let Some(s) = small.take() {
                        big = BigInt::from(s);
                    }
                    big = big * p + n;
                }
            }
        }
        *data = rest;
        let d = match small {
            Some(s) => Decimal::from_i128(s, scale),
            None => Decimal::from_bigint(big, scale),
        };
        Ok(if negative { d.neg() } else { d })
    }

    /// Without trailing zeros after the point: the form in which equal numbers are the same.
    pub fn normalize(&self) -> Decimal {
        let mut d = self.clone();
        while d.scale > 0 {
            match &d.unscaled {
                Small(n) if n % 10 == 0 => d.unscaled = Small(n / 10),
                Large(b) if (&**b % 10_u8) == BigInt::default() => d.unscaled = Unscaled::from_big(&**b / 10_u8),
                _ => break,
            }
            d.scale -= 1;
        }
        d
    }
}

/// Bytes that so many digits need.
const DIG_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

impl From<i64> for Decimal {
    fn from(v: i64) -> Self {
        Decimal::from_i128(v.into(), 0)
    }
}

impl From<u64> for Decimal {
    fn from(v: u64) -> Self {
        Decimal::from_i128(v.into(), 0)
    }
}

impl Default for Decimal {
    fn default() -> Self {
        Decimal::ZERO
    }
}

impl FromStr for Decimal {
    type Err = Error;

    /// The whole string must be a number.
    fn from_str(s: &str) -> Result<Decimal> {
        match Decimal::parse_prefix(s) {
            (Some(d), false) => Ok(d),
            (Some(_), true) => Err(Error::Invalid("DECIMAL text")),
            (None, _) => Err(Error::OutOfRange("DECIMAL value")),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale
            && let (Small(a), Small(b)) = (&self.unscaled, &other.unscaled)
        {
            return a.cmp(b);
        }
        let scale = self.scale.max(other.scale);
        let a = scale_up(&self.unscaled, u32::from(scale - self.scale));
        let b = scale_up(&other.unscaled, u32::from(scale - other.scale));
        match (&a, &b) {
            (Small(x), Small(y)) => x.cmp(y),
            _ => a.big().cmp(&b.big()),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let d = self.normalize();
        d.scale.hash(state);
        match &d.unscaled {
            Small(n) => n.hash(state),
            Large(b) => b.hash(state),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let digits = self.unscaled.digits();
        let sign = if self.is_negative() { "-" } else { "" };
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (int, frac) = digits.split_at(digits.len() - scale);
        write!(f, "{sign}{int}.{frac}")
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(s: &str) -> Decimal {
        s.parse().unwrap_or_else(|e| panic!("{s}: {e}"))
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (v, scale, want) in [
            ("1.5", 0, "2"),
            ("-1.5", 0, "-2"),
            ("2.45", 1, "2.5"),
            ("2.449", 1, "2.4"),
            ("155", -1, "160"),
            ("-155", -2, "-200"),
            ("49", -2, "0"),
            ("1", 3, "1.000"),
            ("0.5", 0, "1"),
            ("99999999999999999999999999999999999999999.5", 0, "100000000000000000000000000000000000000000"),
        ] {
            assert_eq!(d(v).round(scale).to_string(), want, "round({v}, {scale})");
        }
        assert_eq!(d("1.99").truncate(1).to_string(), "1.9");
        assert_eq!(d("-1.1").floor().to_string(), "-2");
        assert_eq!(d("-1.9").ceil().to_string(), "-1");
        assert_eq!(d("1.1").ceil().to_string(), "2");
    }

    #[test]
    fn arithmetic_follows_mysqls_scales() {
        assert_eq!(d("1.10").add(&d("2.205")).unwrap().to_string(), "3.305");
        assert_eq!(d("1.10").sub(&d("2.205")).unwrap().to_string(), "-1.105");
        assert_eq!(d("1.10").mul(&d("2.205")).unwrap().to_string(), "2.42550");
        assert_eq!(d("1").div(&d("3"), 4).unwrap().unwrap().to_string(), "0.3333");
        assert_eq!(d("2").div(&d("3"), 4).unwrap().unwrap().to_string(), "0.6666");
        assert_eq!(d("-2").div(&d("3"), 4).unwrap().unwrap().to_string(), "-0.6666");
        assert_eq!(d("5.05").div(&d("0.014"), 6).unwrap().unwrap().to_string(), "360.714285");
        assert_eq!(d("5.0550").div(&d("5"), 1).unwrap().unwrap().to_string(), "1.0");
        assert!(d("1").div(&d("0.00"), 4).is_none());
        assert_eq!(d("-7.5").rem(&d("2")).unwrap().unwrap().to_string(), "-1.5");
        assert_eq!(d("-7.5").int_div(&d("2")).unwrap().unwrap().to_string(), "-3");
        let nines = Decimal::max_value(65, 0);
        assert_eq!(nines.add(&d("1")).unwrap().to_string(), format!("1{}", "0".repeat(65)));
        assert!(nines.mul(&nines).is_err());
    }

    #[test]
    fn text_is_read_as_far_as_it_goes() {
        for (text, want, truncated) in [
            ("12.5", "12.5", false),
            (" +12. ", "12", false),
            (".5", "0.5", false),
            ("1e3", "1000", false),
            ("1.5e-2", "0.015", false),
            ("12abc", "12", true),
            ("1e", "1", true),
            ("abc", "0", true),
            ("", "0", true),
            ("0.00", "0.00", false),
            ("-0", "0", false),
            ("1e-40", "0.000000000000000000000000000000", true),
        ] {
            let (got, t) = Decimal::parse_prefix(text);
            assert_eq!((got.unwrap().to_string().as_str(), t), (want, truncated), "{text:?}");
        }
        assert_eq!(Decimal::parse_prefix("1e100").0, None);
        assert_eq!(Decimal::from_f64(0.1).unwrap().to_string(), "0.1");
        assert_eq!(Decimal::from_f64(-1e20).unwrap().to_string(), "-100000000000000000000");
    }

    #[test]
    fn integers_out_of_range_say_the_bound() {
        assert_eq!(d("9223372036854775807.4").to_i64(), Ok(i64::MAX));
        assert_eq!(d("9223372036854775807.5").to_i64(), Err(i64::MAX));
        assert_eq!(d("-9223372036854775809").to_i64(), Err(i64::MIN));
        assert_eq!(d("-1").to_u64(), Err(0));
        assert_eq!(d("18446744073709551615").to_u64(), Ok(u64::MAX));
        assert_eq!(d("0.1").to_f64(), 0.1);
        assert_eq!(d("123456789012345678901234567890.5").to_f64(), 1.2345678901234568e29);
    }

    #[test]
    fn golden_bytes() {
        // MySQL's manual: 1234567890.1234 of DECIMAL(14,4).
        let mut b = Vec::new();
        d("1234567890.1234").to_bin(&mut b, 14, 4).unwrap();
        assert_eq!(b, [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2]);
        b.clear();
        d("-1234567890.1234").to_bin(&mut b, 14, 4).unwrap();
        assert_eq!(b, [0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d]);
        assert_eq!(Decimal::bin_len(14, 4), 7);
        assert_eq!(d("100").to_bin(&mut b, 4, 2), Err(Error::OutOfRange("DECIMAL value")));
    }

    fn any_decimal() -> impl Strategy<Value = Decimal> {
        ("-?[0-9]{1,35}", "[0-9]{0,30}").prop_map(|(i, f)| d(&format!("{i}.{f}")))
    }

    proptest! {
        #[test]
        fn binary_order_is_value_order(a in any_decimal(), b in any_decimal()) {
            let bin = |v: &Decimal| { let mut o = Vec::new(); v.to_bin(&mut o, 65, 30).unwrap(); o };
            let (x, y) = (bin(&a), bin(&b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(Decimal::from_bin(&mut &x[..], 65, 30), Ok(a));
        }

        #[test]
        fn text_reads_back(a in any_decimal()) {
            let s = a.to_string();
            let back = d(&s);
            prop_assert_eq!(back.to_string(), s);
        }

        #[test]
        fn addition_undoes_subtraction(a in any_decimal(), b in any_decimal()) {
            prop_assert_eq!(a.sub(&b).unwrap().add(&b).unwrap(), a);
        }

        #[test]
        fn any_bytes_decode_or_fail(b: Vec<u8>, p in 0_u8..90, s in 0_u8..40) {
            let _ = Decimal::from_bin(&mut &b[..], p, s);
        }

        #[test]
        fn any_text_parses(s: String) {
            let _ = Decimal::parse_prefix(&s);
        }
    }
}
