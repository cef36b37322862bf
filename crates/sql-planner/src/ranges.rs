//! Conditions on the leading columns of a key become ranges of keys.
//!
//! A constant is compared in the domain that MySQL's rules choose, which need not be the column's: `varchar_col = 5`
//! compares as floats and says nothing about the order of strings. So a condition only becomes a range when the constant
//! turns into a value of the column's own type without loss ([`in_column_type`]); otherwise it stays a filter.
//!
//! What a LIKE pattern begins with is a range as well. Every collation here weighs text character by character, and LIKE takes
//! characters of one weight for the same: so what matches `abc%` has a sort key that begins with the one of `abc`. The reverse
//! holds for collations by bytes only; with others the condition stays a filter, too.

use std::cmp::Ordering;

use codec::datum::{self, Datum};
use codec::decimal::Decimal;
use codec::table;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, CollationKind, FieldType, TypeCode};
use query::context::{Occurs, TimeZone};
use query::expr::{CmpOp, Expr, Func};
use query::types::EvalType;

use super::expr as shape;
use super::plan::ColId;

/// One end of an interval.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// Unbounded.
    Open,
    /// The value belongs to the interval.
    Included(Datum),
    /// The value does not.
    Excluded(Datum),
    /// Every text that begins with this one lies before: an upper end.
    After(Vec<u8>),
}

impl Bound {
    fn is_open(&self) -> bool {
        matches!(self, Bound::Open)
    }

    /// Whether values up to the place where it is belong to the interval, but not what is there.
    fn excludes(&self) -> bool {
        matches!(self, Bound::Excluded(_) | Bound::After(_))
    }
}

/// The first sort key after those of all texts that begin with this one; empty where there is none.
fn key_after(prefix: &[u8], collation: Collation) -> Vec<u8> {
    codec::key::prefix_next(&collation.sort_key(prefix))
}

/// Values of one column between two bounds. NULL sorts first and is a value here.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: Bound,
    /// Upper end.
    pub high: Bound,
}

impl Interval {
    /// One value.
    pub fn point(d: Datum) -> Interval {
        Interval { low: Bound::Included(d.clone()), high: Bound::Included(d) }
    }

    /// The value, if it is one.
    pub fn as_point(&self) -> Option<&Datum> {
        match (&self.low, &self.high) {
            (Bound::Included(a), Bound::Included(b)) if a == b => Some(a),
            _ => None,
        }
    }
}

/// A constant as a value of the column's type. The order says where the constant lies against the value returned:
/// `Equal` when it is exact; `Greater` when the constant is above it (rounded down); `Less` when below.
pub fn in_column_type(
    value: &Datum,
    from: &FieldType,
    column: &FieldType,
    zone: &TimeZone,
) -> Option<(Datum, Ordering)> {
    use TypeCode::*;
    let exact = |d: Datum| Some((d, Ordering::Equal));
    match (value, column.tp) {
        (Datum::Null, _) => None,
        (d @ (Datum::Int(_) | Datum::UInt(_) | Datum::Decimal(_)), Tiny | Short | Int24 | Long | LongLong) => {
            let n = match d {
                Datum::Int(v) => Decimal::from(*v),
                Datum::UInt(v) => Decimal::from(*v),
                Datum::Decimal(v) => v.clone(),
                _ => return None,
            };
            integer(&n, column)
        }
        (Datum::Float(v), Tiny | Short | Int24 | Long | LongLong) if v.abs() < 9e15 => {
            integer(&Decimal::from_f64(*v)?, column)
        }
        (Datum::Bytes(b), Tiny | Short | Int24 | Long | LongLong) => {
            // A string against an integer compares as floats; exact for small numbers.
            match Decimal::parse_prefix(std::str::from_utf8(b).ok()?) {
                (Some(n), false) if n.abs() < Decimal::from(9_007_199_254_740_992_i64) => integer(&n, column),
                _ => None,
            }
        }
        (Datum::Int(v), NewDecimal) => decimal(&Decimal::from(*v), column),
        (Datum::UInt(v), NewDecimal) => decimal(&Decimal::from(*v), column),
        (Datum::Decimal(v), NewDecimal) => decimal(v, column),
        (Datum::Int(v), Double) if v.unsigned_abs() < 1 << 53 => exact(Datum::Float(*v as f64)),
        (Datum::Float(v), Double) => exact(Datum::Float(*v)),
        (Datum::Decimal(v), Double) => exact(Datum::Float(v.to_f64())),
        (Datum::Bytes(b), Varchar | VarString | String | Blob | TinyBlob | MediumBlob | LongBlob) => {
            strings_fit(from, column).then(|| (Datum::Bytes(b.clone()), Ordering::Equal))
        }
        (Datum::Time(t), Date | DateTime | Timestamp) => time(*t, column, zone),
        (Datum::Bytes(b), Date | DateTime | Timestamp) => {
            let parsed = Time::parse(std::str::from_utf8(b).ok()?, TimeKind::DateTime, 6).ok()?;
            if parsed.truncated { None } else { time(parsed.value, column, zone) }
        }
        (Datum::Int(v), Date | DateTime | Timestamp) => {
            time(Time::from_number(*v, TimeKind::DateTime, 6).ok()?, column, zone)
        }
        (Datum::Duration(d), TypeCode::Duration) => span(*d, column),
        (Datum::Bytes(b), TypeCode::Duration) => {
            let parsed = self::Duration::parse(std::str::from_utf8(b).ok()?, 6).ok()?;
            if parsed.truncated { None } else { span(parsed.value, column) }
        }
        (Datum::Int(v), Year) if (1901..=2155).contains(v) => exact(Datum::UInt(*v as u64)),
        _ => None,
    }
}

fn integer(n: &Decimal, column: &FieldType) -> Option<(Datum, Ordering)> {
    let floor = n.floor();
    let order = n.cmp(&floor);
    if column.is_unsigned() {
        match floor.to_u64() {
            Ok(v) => Some((Datum::UInt(v), order)),
            Err(u64::MAX) => Some((Datum::UInt(u64::MAX), Ordering::Greater)),
            Err(_) => Some((Datum::UInt(0), Ordering::Less)),
        }
    } else {
        match floor.to_i64() {
            Ok(v) => Some((Datum::Int(v), order)),
            Err(i64::MAX) => Some((Datum::Int(i64::MAX), Ordering::Greater)),
            Err(_) => Some((Datum::Int(i64::MIN), Ordering::Less)),
        }
    }
}

fn decimal(n: &Decimal, column: &FieldType) -> Option<(Datum, Ordering)> {
    let (precision, scale) = (column.flen.clamp(1, 65) as u8, column.decimal.clamp(0, 30) as u8);
    let cut = n.truncate(scale.into());
    if !cut.fits(precision, scale) {
        let max = Decimal::max_value(precision, scale);
        return Some(if n.is_negative() {
            (Datum::Decimal(max.neg()), Ordering::Less)
        } else {
            (Datum::Decimal(max), Ordering::Greater)
        });
    }
    let order = n.cmp(&cut);
    Some((Datum::Decimal(cut), order))
}

fn time(t: Time, column: &FieldType, zone: &TimeZone) -> Option<(Datum, Ordering)> {
    let kind = TimeKind::from_type(column.tp)?;
    let t = Time { kind: if kind == TimeKind::Date { TimeKind::DateTime } else { kind }, fsp: 6, ..t };
    let unit = 10_u32.pow(6 - u32::from(column.fsp()));
    let cut = match kind {
        TimeKind::Date => Time { hour: 0, minute: 0, second: 0, micro: 0, ..t },
        _ => Time { micro: t.micro / unit * unit, ..t },
    };
    let order = t.cmp(&cut);
    let stored = Time { kind, fsp: column.fsp(), ..cut };
    if kind != TimeKind::Timestamp {
        return Some((Datum::Time(stored), order));
    }
    // What two moments read as, or none, is no bound of moments.
    (zone.occurs(&stored) == Occurs::Once).then(|| (Datum::Time(zone.timestamp_to_utc(&stored)), order))
}

fn span(d: Duration, column: &FieldType) -> Option<(Datum, Ordering)> {
    let unit = 10_i64.pow(6 - u32::from(column.fsp()));
    let cut = d.micros.div_euclid(unit) * unit;
    Some((Datum::Duration(Duration { micros: cut, fsp: column.fsp() }), d.micros.cmp(&cut)))
}

/// What a condition says about one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Restriction {
    /// Only these intervals, and the condition is exactly that.
    Exact(Vec<Interval>),
    /// Only in these intervals, of whose values not all satisfy it.
    Within(Vec<Interval>),
    /// Never true.
    Never,
}

impl Restriction {
    fn of(intervals: Vec<Interval>, exact: bool) -> Restriction {
        match exact {
            _ if intervals.is_empty() => Restriction::Never,
            true => Restriction::Exact(intervals),
            false => Restriction::Within(intervals),
        }
    }
}

/// The intervals of `column` in which `e` can be true; `None` when `e` does not restrict it.
pub fn restriction(e: &Expr, column: ColId, zone: &TimeZone) -> Option<Restriction> {
    if let Some((op, index, ty, value, from)) = shape::column_compare(e) {
        if index != column {
            return None;
        }
        if value.is_null() {
            return Some(match op {
                CmpOp::NullEq => Restriction::Exact(vec![Interval::point(Datum::Null)]),
                _ => Restriction::Never,
            });
        }
        let (d, order) = in_column_type(value, from, ty, zone)?;
        let exact = order == Ordering::Equal;
        // Values above `d` start at: d itself excluded when the constant is d or above it.
        let above = |inclusive: bool| match order {
            Ordering::Equal if inclusive => Bound::Included(d.clone()),
            Ordering::Equal | Ordering::Greater => Bound::Excluded(d.clone()),
            Ordering::Less => Bound::Included(d.clone()),
        };
        let below = |inclusive: bool| match order {
            Ordering::Equal if inclusive => Bound::Included(d.clone()),
            Ordering::Equal | Ordering::Less => Bound::Excluded(d.clone()),
            Ordering::Greater => Bound::Included(d.clone()),
        };
        // A comparison with NULL is never true: leave NULL out at the lower end.
        let not_null = Bound::Excluded(Datum::Null);
        let intervals = match op {
            CmpOp::Eq | CmpOp::NullEq if exact => vec![Interval::point(d.clone())],
            CmpOp::Eq | CmpOp::NullEq => return Some(Restriction::Never),
            CmpOp::Lt => vec![Interval { low: not_null, high: below(false) }],
            CmpOp::Le => vec![Interval { low: not_null, high: below(true) }],
            CmpOp::Gt => vec![Interval { low: above(false), high: Bound::Open }],
            CmpOp::Ge => vec![Interval { low: above(true), high: Bound::Open }],
            CmpOp::Ne => return None,
        };
        return Some(Restriction::Exact(intervals));
    }
    if let Some((index, ty, values)) = shape::column_in_any(e) {
        if index != column {
            return None;
        }
        let mut points = Vec::new();
        for item in values {
            let Expr::Const { value, ty: from } = item else { return None };
            if value.is_null() {
                continue;
            }
            let (d, order) = in_column_type(value, from, ty, zone)?;
            if order == Ordering::Equal {
                points.push(d);
            }
        }
        points.sort_by(|a, b| a.compare(b, ty.collation));
        points.dedup_by(|a, b| a.compare(b, ty.collation).is_eq());
        return Some(match points.is_empty() {
            true => Restriction::Never,
            false => Restriction::Exact(points.into_iter().map(Interval::point).collect()),
        });
    }
    if shape::column_is_null(e) == Some(column) {
        return Some(Restriction::Exact(vec![Interval::point(Datum::Null)]));
    }
    if let Some((index, ty, pattern, escape)) = shape::column_like(e) {
        let Expr::Const { value: Datum::Bytes(pattern), .. } = pattern else { return None };
        return if index == column { like(pattern, escape, ty) } else { None };
    }
    let Expr::Call(call) = e else { return None };
    let ty = column_type(e, column)?;
    match call.func {
        Func::Or => {
            let (mut all, mut exact) = (Vec::new(), true);
            for arg in parts(e, call.func) {
                match restriction(arg, column, zone)? {
                    Restriction::Never => {}
                    Restriction::Exact(list) => all.extend(list),
                    Restriction::Within(list) => {
                        exact = false;
                        all.extend(list);
                    }
                }
            }
            Some(Restriction::of(union(all, &ty), exact))
        }
        Func::And => {
            let (mut all, mut exact) = (None::<Vec<Interval>>, true);
            for arg in parts(e, call.func) {
                let (list, whole) = match restriction(arg, column, zone) {
                    Some(Restriction::Never) => return Some(Restriction::Never),
                    Some(Restriction::Exact(list)) => (list, true),
                    Some(Restriction::Within(list)) => (list, false),
                    // A part on other columns leaves the others as they are.
                    None => {
                        exact = false;
                        continue;
                    }
                };
                exact &= whole;
                all = Some(match all {
                    None => list,
                    Some(all) => intersect(&all, &list, &ty),
                });
            }
            Some(Restriction::of(all?, exact))
        }
        _ => None,
    }
}

/// What follows the text that a LIKE pattern begins with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rest {
    Nothing,
    /// Whatever it is.
    Anything,
    /// What satisfies a pattern.
    Pattern,
}

/// The text that a LIKE pattern begins with, and what follows; `None` of a pattern that is no text.
fn literal_start(pattern: &[u8], escape: Option<char>, binary: bool) -> Option<(Vec<u8>, Rest)> {
    let chars: Vec<char> = match binary {
        true => pattern.iter().map(|b| char::from(*b)).collect(),
        false => std::str::from_utf8(pattern).ok()?.chars().collect(),
    };
    let (mut text, mut rest) = (String::new(), chars.into_iter());
    let mut follows = Rest::Nothing;
    while let Some(c) = rest.next() {
        match c {
            c if Some(c) == escape => text.push(rest.next().unwrap_or(c)),
            '%' if rest.all(|c| c == '%' && Some(c) != escape) => {
                follows = Rest::Anything;
                break;
            }
            '%' | '_' => {
                follows = Rest::Pattern;
                break;
            }
            c => text.push(c),
        }
    }
    let bytes = match binary {
        true => text.chars().map(u8::try_from).collect::<Result<_, _>>().ok()?,
        false => text.into_bytes(),
    };
    Some((bytes, follows))
}

/// What `column LIKE pattern` says.
fn like(pattern: &[u8], escape: Option<char>, ty: &FieldType) -> Option<Restriction> {
    let (text, rest) = literal_start(pattern, escape, ty.collation == Collation::BINARY)?;
    let kind = ty.collation.kind();
    if rest == Rest::Nothing {
        // What is equal may have spaces at its end, other case, other accents.
        return Some(Restriction::of(vec![Interval::point(Datum::Bytes(text))], kind == CollationKind::Binary));
    }
    if text.is_empty() {
        return None;
    }
    let exact = match kind {
        CollationKind::Binary => true,
        // Where spaces at the end do not count, a key does not have them.
        CollationKind::BinPad => !text.ends_with(b" "),
        _ => false,
    };
    let high = if key_after(&text, ty.collation).is_empty() { Bound::Open } else { Bound::After(text.clone()) };
    let interval = Interval { low: Bound::Included(Datum::Bytes(text)), high };
    Some(Restriction::of(vec![interval], exact && rest == Rest::Anything))
}

/// The intervals of the first `n` characters (bytes, of binary strings) of what is in these intervals, perhaps with some more.
///
/// What is greater has no smaller beginning, so a lower end is cut like the values. An upper end can stay, as no beginning is
/// greater than its whole. Spaces that do not count make one difference: after them a character that sorts below a space
/// makes a text greater than `low` whose beginning, without the spaces at its end, is smaller than that of `low`. So `low`
/// ends before the first such character.
pub fn of_prefixes(intervals: &[Interval], ty: &FieldType, n: usize) -> Vec<Interval> {
    let cut = |text: &[u8]| {
        let text = table::index_prefix_of(text, ty, n);
        if matches!(ty.collation.kind(), CollationKind::Binary | CollationKind::UnicodeCiNoPad) {
            return text.to_vec();
        }
        let Ok(text) = std::str::from_utf8(text) else { return Vec::new() };
        // The character behind keeps a space from being one at the end.
        let weight = |c: char| ty.collation.sort_key(format!("{c}x").as_bytes()).into_owned();
        let space = weight(' ');
        text.chars().take_while(|c| weight(*c) >= space).collect::<String>().into_bytes()
    };
    let cut = |i: &Interval| {
        let low = match &i.low {
            Bound::Included(Datum::Bytes(b)) | Bound::Excluded(Datum::Bytes(b)) => {
                Bound::Included(Datum::Bytes(cut(b)))
            }
            other => other.clone(),
        };
        Interval { low, high: i.high.clone() }
    };
    union(intervals.iter().map(cut).collect(), ty)
}

/// What a condition will say about one column, as far as its form tells without its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outline {
    /// It allows at most so many values, and no range.
    pub points: Option<usize>,
    /// It bounds the values from below.
    pub low: bool,
    /// It bounds them from above.
    pub high: bool,
    /// Whatever the values are, [`restriction`] will find what it says, and that will be all it says.
    pub sure: bool,
    /// The number of values is a guess.
    pub many: bool,
}

impl Outline {
    fn points(count: usize, sure: bool) -> Outline {
        Outline { points: Some(count), low: true, high: true, sure, many: false }
    }

    /// Of values that both allow.
    pub fn and(self, other: Outline) -> Outline {
        let points = match (self.points, other.points) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let (low, high) = (self.low || other.low, self.high || other.high);
        Outline { points, low, high, sure: self.sure && other.sure, many: self.many || other.many }
    }

    /// Of values that either allows.
    pub fn or(self, other: Outline) -> Outline {
        let points = self.points.zip(other.points).map(|(a, b)| a + b);
        let (low, high) = (self.low && other.low, self.high && other.high);
        Outline { points, low, high, sure: self.sure && other.sure, many: self.many || other.many }
    }
}

/// How many values a list is thought to have that only the run knows.
const LIST_VALUES: usize = 10;

/// What a condition on the column alone will say of it; `None` where [`restriction`] can find nothing either.
pub fn outline(e: &Expr, column: ColId) -> Option<Outline> {
    if let Some((op, index, ty, value)) = shape::column_against(e) {
        if index != column {
            return None;
        }
        let many = is_many(value);
        let sure = fits(value, ty)? && !many;
        return match op {
            CmpOp::Eq | CmpOp::NullEq if many => None,
            CmpOp::Eq | CmpOp::NullEq => Some(Outline::points(1, sure)),
            CmpOp::Lt | CmpOp::Le => Some(Outline { points: None, low: false, high: true, sure, many }),
            CmpOp::Gt | CmpOp::Ge => Some(Outline { points: None, low: true, high: false, sure, many }),
            CmpOp::Ne => None,
        };
    }
    if let Some((index, ty, values)) = shape::column_in_any(e) {
        if index != column {
            return None;
        }
        let (mut count, mut sure) = (0, true);
        for value in values {
            sure &= fits(value, ty)?;
            count += if is_many(value) { LIST_VALUES } else { 1 };
        }
        return Some(Outline { many: values.iter().any(is_many), ..Outline::points(count, sure) });
    }
    if shape::column_is_null(e) == Some(column) {
        return Some(Outline::points(1, true));
    }
    if let Some((index, _, pattern, _)) = shape::column_like(e) {
        let begins = match pattern {
            Expr::Const { value, .. } => query::expr::begins_with_text(value),
            Expr::Param(param) => param.begins_with_text()?,
            _ => return None,
        };
        let range = Outline { points: None, low: true, high: true, sure: false, many: false };
        return (index == column && begins).then_some(range);
    }
    let Expr::Call(call) = e else { return None };
    let mut outlines = parts(e, call.func).into_iter().map(|part| outline(part, column));
    match call.func {
        Func::Or => {
            let first = outlines.next()??;
            outlines.try_fold(first, |all, part| Some(all.or(part?)))
        }
        Func::And => {
            let (mut all, mut whole) = (None::<Outline>, true);
            for part in outlines {
                match part {
                    Some(part) => all = Some(all.map_or(part, |all| all.and(part))),
                    None => whole = false,
                }
            }
            let all = all?;
            Some(Outline { sure: all.sure && whole, ..all })
        }
        _ => None,
    }
}

fn is_many(value: &Expr) -> bool {
    matches!(value, Expr::Param(param) if param.many)
}

/// Whether a value will be one of the column's type or lie between two of them, for all values ([`in_column_type`] finds
/// it, and computing it cannot fail) or for some; `None` for none.
fn fits(value: &Expr, column: &FieldType) -> Option<bool> {
    use EvalType as E;
    use TypeCode::*;
    let from = value.ty();
    let integer = matches!(column.tp, Tiny | Short | Int24 | Long | LongLong);
    let sure = match (E::of(from), column.tp) {
        _ if from.tp == Null => true,
        (E::Int | E::Decimal, _) if integer => !matches!(from.tp, Enum | Set | Bit),
        (E::Real | E::String, _) if integer => false,
        (E::Int | E::Decimal, NewDecimal) => true,
        (E::Real | E::Decimal, Double) => true,
        (E::Int, Double | Year) => false,
        (E::String, tp) if tp.is_string() && from.tp.is_string() => strings_fit(from, column).then_some(true)?,
        (E::Time, Date | DateTime | Timestamp) | (E::Duration, TypeCode::Duration) => true,
        (E::String | E::Int, Date | DateTime | Timestamp) | (E::String, TypeCode::Duration) => false,
        _ => return None,
    };
    Some(sure && cannot_fail(value))
}

/// Whether computing it can neither fail nor warn.
fn cannot_fail(value: &Expr) -> bool {
    match value {
        Expr::Const { .. } | Expr::Param(_) => true,
        Expr::Call(call) => match call.func {
            Func::Cast => shape::keeps_values(call.args[0].ty(), &call.ty) && call.args.iter().all(cannot_fail),
            Func::Scalar(f) => f.of_statement && call.args.is_empty(),
            _ => false,
        },
        Expr::Column { .. } => false,
    }
}

/// Whether constants of this type are compared in the column's collation, unless they insist on another.
fn strings_fit(from: &FieldType, column: &FieldType) -> bool {
    let same = from.collation == column.collation
        || (from.collation.is_bin() && column.collation.is_bin() && from.is_text() == column.is_text());
    let literal = from.tp != TypeCode::Unspecified && from.is_text() && column.is_text();
    same || literal
}

/// What AND or OR joins, through all levels.
pub(crate) fn parts(e: &Expr, func: Func) -> Vec<&Expr> {
    let mut out = Vec::new();
    let mut rest = vec![e];
    while let Some(e) = rest.pop() {
        match e {
            Expr::Call(call) if call.func == func => rest.extend(call.args.iter().rev()),
            e => out.push(e),
        }
    }
    out
}

fn column_type(e: &Expr, column: ColId) -> Option<FieldType> {
    super::plan::column_types(e).remove(&column)
}

/// Which of two ends, neither of them open, lies further up, whether they belong to their intervals or not.
fn order(a: &Bound, b: &Bound, ty: &FieldType) -> Ordering {
    match (a, b) {
        (Bound::Open, _) | (_, Bound::Open) => Ordering::Equal,
        (Bound::Included(x) | Bound::Excluded(x), Bound::Included(y) | Bound::Excluded(y)) => {
            x.compare(y, ty.collation)
        }
        (Bound::After(x), Bound::After(y)) => key_after(x, ty.collation).cmp(&key_after(y, ty.collation)),
        (Bound::After(x), Bound::Included(y) | Bound::Excluded(y)) => match y {
            Datum::Bytes(y) => key_after(x, ty.collation)[..].cmp(&ty.collation.sort_key(y)),
            _ => Ordering::Greater,
        },
        (Bound::Included(_) | Bound::Excluded(_), Bound::After(_)) => order(b, a, ty).reverse(),
    }
}

fn cmp_low(a: &Bound, b: &Bound, ty: &FieldType) -> Ordering {
    match (a.is_open(), b.is_open()) {
        (true, true) => Ordering::Equal,
        (true, _) => Ordering::Less,
        (_, true) => Ordering::Greater,
        _ => order(a, b, ty).then_with(|| a.excludes().cmp(&b.excludes())),
    }
}

fn cmp_high(a: &Bound, b: &Bound, ty: &FieldType) -> Ordering {
    match (a.is_open(), b.is_open()) {
        (true, true) => Ordering::Equal,
        (true, _) => Ordering::Greater,
        (_, true) => Ordering::Less,
        _ => order(a, b, ty).then_with(|| b.excludes().cmp(&a.excludes())),
    }
}

fn is_empty(i: &Interval, ty: &FieldType) -> bool {
    if i.low.is_open() || i.high.is_open() {
        return false;
    }
    let ends = order(&i.low, &i.high, ty);
    if i.low.excludes() || i.high.excludes() { ends.is_ge() } else { ends.is_gt() }
}

/// Values in both lists, each sorted and without overlaps.
pub fn intersect(a: &[Interval], b: &[Interval], ty: &FieldType) -> Vec<Interval> {
    let mut out = Vec::new();
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let low = if cmp_low(&x.low, &y.low, ty).is_ge() { &x.low } else { &y.low };
        // The one that ends first meets nothing more.
        let x_ends = cmp_high(&x.high, &y.high, ty).is_le();
        let high = if x_ends { &x.high } else { &y.high };
        let i = Interval { low: low.clone(), high: high.clone() };
        if !is_empty(&i, ty) {
            out.push(i);
        }
        if x_ends {
            a.next();
        } else {
            b.next();
        }
    }
    out
}

/// Values in any of the list, sorted, without overlaps.
pub fn union(mut list: Vec<Interval>, ty: &FieldType) -> Vec<Interval> {
    list.retain(|i| !is_empty(i, ty));
    list.sort_by(|a, b| cmp_low(&a.low, &b.low, ty));
    let mut out: Vec<Interval> = Vec::new();
    for i in list {
        if let Some(last) = out.last_mut() {
            let ends = order(&last.high, &i.low, ty);
            let touches = last.high.is_open()
                || i.low.is_open()
                || if last.high.excludes() && i.low.excludes() { ends.is_gt() } else { ends.is_ge() };
            if touches {
                if cmp_high(&i.high, &last.high, ty).is_gt() {
                    last.high = i.high;
                }
                continue;
            }
        }
        out.push(i);
    }
    out
}

/// Key ranges, half open, of a prefix of equal values followed by intervals of one column.
///
/// `prefix` is the encoded key so far. Of a string column whose index holds only a prefix, the intervals are
/// [`of_prefixes`].
pub fn key_ranges(
    prefix: &[u8],
    intervals: &[Interval],
    ty: &FieldType,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, codec::Error> {
    let encode = |d: &Datum| {
        let mut k = prefix.to_vec();
        datum::encode_key(&mut k, d, Some(ty)).map(|()| k)
    };
    // What is a sort key already is encoded as bytes are.
    let after = |text: &[u8]| {
        let mut k = prefix.to_vec();
        datum::encode_key(&mut k, &Datum::Bytes(key_after(text, ty.collation)), None).map(|()| k)
    };
    intervals
        .iter()
        .map(|i| {
            let low = match &i.low {
                Bound::Open => prefix.to_vec(),
                Bound::After(text) => after(text)?,
                Bound::Included(d) => encode(d)?,
                Bound::Excluded(d) => codec::key::prefix_next(&encode(d)?),
            };
            let high = match &i.high {
                Bound::Open => codec::key::prefix_next(prefix),
                Bound::After(text) => after(text)?,
                Bound::Included(d) => codec::key::prefix_next(&encode(d)?),
                Bound::Excluded(d) => encode(d)?,
            };
            Ok((low, high))
        })
        .filter(|r| !matches!(r, Ok((low, high)) if low >= high && !high.is_empty()))
        .collect()
}

/// Intervals as EXPLAIN prints them: `[1,1], (5,+inf]`.
pub fn words(prefix: &[Datum], intervals: &[Interval]) -> String {
    let lead: String = prefix.iter().map(|d| format!("{} ", text(d))).collect();
    let ends = |b: &Bound, low: bool| match b {
        Bound::Open => (if low { '[' } else { ']' }, if low { "NULL".to_owned() } else { "+inf".to_owned() }),
        Bound::Included(d) => (if low { '[' } else { ']' }, text(d)),
        Bound::Excluded(Datum::Null) if low => ('[', "-inf".to_owned()),
        Bound::Excluded(d) => (if low { '(' } else { ')' }, text(d)),
        Bound::After(begins) => (if low { '[' } else { ')' }, text(&Datum::Bytes(codec::key::prefix_next(begins)))),
    };
    let mut list: Vec<String> = intervals
        .iter()
        .take(WORDS_MAX)
        .map(|i| {
            let (open, low) = ends(&i.low, true);
            let (close, high) = ends(&i.high, false);
            format!("{open}{lead}{low},{lead}{high}{close}")
        })
        .collect();
    if intervals.len() > WORDS_MAX {
        list.push(format!("…({} ranges)", intervals.len()));
    }
    list.join(", ")
}

/// How many ranges EXPLAIN spells out.
const WORDS_MAX: usize = 8;

fn text(d: &Datum) -> String {
    match d {
        Datum::Null => "NULL".into(),
        Datum::Bytes(b) => format!("\"{}\"", String::from_utf8_lossy(b)),
        d => query::value::display(d),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::types::Collation;
    use query::infer;

    fn of(e: Expr) -> Option<Restriction> {
        restriction(&e, 0, &TimeZone::UTC)
    }

    fn col(ty: FieldType) -> Expr {
        Expr::column(0, ty)
    }

    #[test]
    fn constants_of_other_types_bound_integers_from_the_right_side() {
        let half = || Expr::constant(Datum::Decimal("5.5".parse().unwrap()));
        let lt = infer::compare(CmpOp::Lt, col(FieldType::bigint()), half()).unwrap();
        assert_eq!(
            of(lt),
            Some(Restriction::Exact(vec![Interval {
                low: Bound::Excluded(Datum::Null),
                high: Bound::Included(Datum::Int(5))
            }]))
        );
        let gt = infer::compare(CmpOp::Gt, col(FieldType::bigint()), half()).unwrap();
        assert_eq!(
            of(gt),
            Some(Restriction::Exact(vec![Interval { low: Bound::Excluded(Datum::Int(5)), high: Bound::Open }]))
        );
        let eq = infer::compare(CmpOp::Eq, col(FieldType::bigint()), half()).unwrap();
        assert_eq!(of(eq), Some(Restriction::Never));
        let negative =
            infer::compare(CmpOp::Gt, col(FieldType::bigint_unsigned()), Expr::constant(Datum::Int(-1))).unwrap();
        assert_eq!(
            of(negative),
            Some(Restriction::Exact(vec![Interval { low: Bound::Included(Datum::UInt(0)), high: Bound::Open }]))
        );
    }

    #[test]
    fn long_lists_become_as_many_points_and_their_intersection() {
        let list = |step: i64| {
            let items = (0..10_000).rev().chain(0..10_000).map(|n| Expr::constant(Datum::Int(n * step))).collect();
            infer::in_list(col(FieldType::bigint()), items).unwrap()
        };
        let points = |e| match of(e) {
            Some(Restriction::Exact(list)) => list.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(points(list(2)), 10_000);
        assert_eq!(points(infer::and(list(2), list(3))), 3_334);
        assert_eq!(points(infer::or(list(2), list(3))), 20_000 - 3_334);
    }

    fn like_of(pattern: &str, escape: char, collation: Collation) -> Option<Restriction> {
        let ty = FieldType::varchar(10).with_collation(collation);
        of(infer::like(col(ty), Expr::constant(pattern), Some(escape)).unwrap())
    }

    #[test]
    fn a_pattern_that_begins_with_text_is_a_range() {
        let bin = Collation::UTF8MB4_BIN;
        let begins = |text: &str| {
            vec![Interval { low: Bound::Included(Datum::string(text)), high: Bound::After(text.as_bytes().to_vec()) }]
        };
        let like = |pattern| like_of(pattern, '\\', bin);
        assert_eq!(like("ab%"), Some(Restriction::Exact(begins("ab"))));
        assert_eq!(like("ab%%"), Some(Restriction::Exact(begins("ab"))));
        assert_eq!(like("ab%c"), Some(Restriction::Within(begins("ab"))));
        assert_eq!(like("ab_"), Some(Restriction::Within(begins("ab"))));
        assert_eq!(like("a\\%b%"), Some(Restriction::Exact(begins("a%b"))));
        assert_eq!(like_of("a|%b%", '|', bin), Some(Restriction::Exact(begins("a%b"))));
        assert_eq!(like("ab"), Some(Restriction::Within(vec![Interval::point(Datum::string("ab"))])));
        assert_eq!(like("ab %"), Some(Restriction::Within(begins("ab "))), "keys have no spaces at their end");
        assert_eq!([like("%"), like("_b"), like("%b")], [None, None, None]);
        let ci = Collation::UTF8MB4_GENERAL_CI;
        assert_eq!(like_of("ab%", '\\', ci), Some(Restriction::Within(begins("ab"))));
        let in_other = infer::collate(col(FieldType::varchar(10).with_collation(bin)), ci);
        assert_eq!(of(infer::like(in_other, Expr::constant("ab%"), Some('\\')).unwrap()), None);
    }

    #[test]
    fn ranges_of_patterns_are_cut_and_joined_like_others() {
        let ty = || FieldType::varchar(10).with_collation(Collation::UTF8MB4_BIN);
        let like = |pattern: &str| infer::like(col(ty()), Expr::constant(pattern), Some('\\')).unwrap();
        let cmp = |op, text: &str| infer::compare(op, col(ty()), Expr::constant(text)).unwrap();
        let keys = |e| match of(e) {
            Some(Restriction::Exact(list) | Restriction::Within(list)) => words(&[], &list),
            other => format!("{other:?}"),
        };
        assert_eq!(keys(infer::and(like("ab%"), cmp(CmpOp::Lt, "abx"))), "[\"ab\",\"abx\")");
        assert_eq!(keys(infer::and(like("ab%"), like("abc%"))), "[\"abc\",\"abd\")");
        assert_eq!(keys(infer::and(like("ab%"), cmp(CmpOp::Ge, "ac"))), "Some(Never)");
        assert_eq!(keys(infer::or(like("ab%"), cmp(CmpOp::Ge, "ac"))), "[\"ab\",+inf]");
        assert_eq!(keys(infer::or(like("ab%"), like("abc%"))), "[\"ab\",\"ac\")");
        assert_eq!(keys(infer::or(like("a%"), like("c%"))), "[\"a\",\"b\"), [\"c\",\"d\")");
    }

    proptest::proptest! {
        /// Every text that matches lies in the range of keys, and of an exact range every text matches.
        #[test]
        fn what_matches_a_pattern_is_in_its_range(text in "[aAßsä \t%_]{0,5}", pattern in "[aAsä \t%_\\\\]{0,4}", which in 0..5_usize, n in 1..4_usize) {
            let collation = ["utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_0900_ai_ci", "binary"][which];
            let collation = Collation::from_name(collation).unwrap();
            let ty = FieldType::varchar(10).with_collation(collation);
            let matches = query::value::Pattern::new(pattern.as_bytes(), Some('\\'), collation).matches(text.as_bytes());
            let key_in = |text: &[u8], intervals: &[Interval]| {
                let mut key = Vec::new();
                datum::encode_key(&mut key, &Datum::Bytes(text.to_vec()), Some(&ty)).unwrap();
                key_ranges(&[], intervals, &ty).unwrap().iter().any(|(low, high)| *low <= key && (high.is_empty() || key < *high))
            };
            match like(pattern.as_bytes(), Some('\\'), &ty) {
                Some(Restriction::Exact(list)) => proptest::prop_assert_eq!(key_in(text.as_bytes(), &list), matches),
                Some(Restriction::Within(list)) => {
                    proptest::prop_assert!(!matches || key_in(text.as_bytes(), &list));
                    let cut = table::index_prefix_of(text.as_bytes(), &ty, n);
                    proptest::prop_assert!(!matches || key_in(cut, &of_prefixes(&list, &ty, n)));
                }
                _ => {}
            }
        }

        /// The beginning of what is in a range is in the range of beginnings.
        #[test]
        fn beginnings_are_in_the_range_of_beginnings(text in "[ab \t]{0,6}", low in "[ab \t]{0,6}", high in "[ab \t]{0,6}", ends in 0..4_u8, which in 0..3_usize, n in 1..4_usize) {
            let collation = Collation::from_name(["utf8mb4_bin", "utf8mb4_unicode_ci", "utf8mb4_0900_ai_ci"][which]).unwrap();
            let ty = FieldType::varchar(10).with_collation(collation);
            let bound = |text: &str, included| {
                if included { Bound::Included(Datum::string(text)) } else { Bound::Excluded(Datum::string(text)) }
            };
            let interval = Interval { low: bound(&low, ends & 1 > 0), high: bound(&high, ends & 2 > 0) };
            let key_in = |text: &[u8], intervals: &[Interval]| {
                let mut key = Vec::new();
                datum::encode_key(&mut key, &Datum::Bytes(text.to_vec()), Some(&ty)).unwrap();
                key_ranges(&[], intervals, &ty).unwrap().iter().any(|(low, high)| *low <= key && key < *high)
            };
            let cut = table::index_prefix_of(text.as_bytes(), &ty, n);
            if !is_empty(&interval, &ty) && key_in(text.as_bytes(), std::slice::from_ref(&interval)) {
                proptest::prop_assert!(key_in(cut, &of_prefixes(&[interval], &ty, n)));
            }
        }
    }

    #[test]
    fn equal_strings_of_a_list_are_one_point() {
        let ty = FieldType::varchar(10).with_collation(Collation::UTF8MB4_GENERAL_CI);
        let items = ["b", "A", "a", "B"].map(Expr::constant).to_vec();
        let restriction = of(infer::in_list(col(ty), items).unwrap());
        assert!(matches!(&restriction, Some(Restriction::Exact(l)) if l.len() == 2), "{restriction:?}");
    }

    #[test]
    fn a_string_column_against_a_number_is_no_range() {
        let e = infer::compare(CmpOp::Eq, col(FieldType::varchar(10)), Expr::constant(Datum::Int(5))).unwrap();
        assert_eq!(of(e), None);
    }

    #[test]
    fn or_of_ranges_is_merged_and_and_is_cut() {
        let c = || col(FieldType::bigint());
        let n = |v: i64| Expr::constant(Datum::Int(v));
        let cmp = |op, v| infer::compare(op, c(), n(v)).unwrap();
        let e = infer::or(infer::and(cmp(CmpOp::Gt, 1), cmp(CmpOp::Lt, 5)), cmp(CmpOp::Eq, 4));
        assert_eq!(
            of(e),
            Some(Restriction::Exact(vec![Interval {
                low: Bound::Excluded(Datum::Int(1)),
                high: Bound::Excluded(Datum::Int(5))
            }]))
        );
        assert_eq!(of(infer::and(cmp(CmpOp::Gt, 5), cmp(CmpOp::Lt, 5))), Some(Restriction::Never));
    }
}
