//! DEFAULT clauses: from the expression as written to what the catalogue keeps.
//!
//! A constant is converted to its column's type once, here, so that a default that the column could not hold is refused
//! when it is written down (1067) and every later use only reads it back. A TIMESTAMP is one moment whoever reads it: its
//! text is kept in UTC.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{FieldType, TypeCode, flags};
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::{ColumnDefault, convert, row};
use sql_parser::DefaultValue;
use sql_parser::ast::{self, Expr, UnaryOp};

/// A literal, before it is of any column's type.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
}

/// What a DEFAULT clause says for a column of this type. `zone` is the one that it was written in.
pub(super) fn column_default(
    column: &str,
    ty: &FieldType,
    default: &DefaultValue,
    zone: &TimeZone,
) -> Result<ColumnDefault, SqlError> {
    let invalid = || SqlError::InvalidDefault(column.to_owned());
    let expr = match default {
        DefaultValue::Now { fsp } => {
            let fits = matches!(ty.tp, TypeCode::DateTime | TypeCode::Timestamp) && ty.fsp() == *fsp;
            return if fits { Ok(ColumnDefault::CurrentTimestamp) } else { Err(invalid()) };
        }
        DefaultValue::Expr(expr) => expr,
    };
    let literal =
        literal(expr).ok_or_else(|| SqlError::NotSupported(format!("expression as default of '{column}'")))?;
    if literal == Literal::Null {
        return if ty.is_not_null() { Err(invalid()) } else { Ok(ColumnDefault::Null) };
    }
    if ty.tp.is_blob() || ty.tp == TypeCode::Json {
        return Err(SqlError::BlobCantHaveDefault(column.to_owned()));
    }
    if ty.has(flags::AUTO_INCREMENT) {
        return Err(invalid());
    }
    constant(ty, &literal, zone).map(ColumnDefault::Constant).ok_or_else(invalid)
}

fn literal(expr: &Expr) -> Option<Literal> {
    match expr {
        Expr::Literal(value) => match value {
            ast::Literal::Null => Some(Literal::Null),
            ast::Literal::Boolean(truth) => Some(Literal::Number(u8::from(*truth).to_string())),
            ast::Literal::Number(text) => Some(Literal::Number(text.clone())),
            ast::Literal::Text(text) => Some(Literal::Text(text.clone())),
            ast::Literal::Binary(bytes) => Some(Literal::Bytes(bytes.clone())),
            ast::Literal::Hex(hex) => {
                let hex = if hex.len().is_multiple_of(2) { hex.clone() } else { format!("0{hex}") };
                sql_base::unhex(&hex).map(Literal::Bytes)
            }
            ast::Literal::Bits(bits) => bit_bytes(bits).map(Literal::Bytes),
        },
        Expr::Unary { op, expr } => match (op, literal(expr)?) {
            (UnaryOp::Minus, Literal::Number(text)) => Some(Literal::Number(match text.strip_prefix('-') {
                Some(positive) => positive.to_owned(),
                None => format!("-{text}"),
            })),
            (UnaryOp::Plus, number @ Literal::Number(_)) => Some(number),
            _ => None,
        },
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

/// The bytes of the digits of `b'…'`.
fn bit_bytes(bits: &str) -> Option<Vec<u8>> {
    if bits.len() > 64 || !bits.bytes().all(|b| matches!(b, b'0' | b'1')) {
        return None;
    }
    let number = bits.bytes().fold(0_u64, |number, bit| number << 1 | u64::from(bit - b'0'));
    Some(number.to_be_bytes()[8 - bits.len().div_ceil(8)..].to_vec())
}

fn number_of_bytes(bytes: &[u8]) -> Option<u64> {
    let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &bytes[at..]);
    (significant.len() <= 8).then(|| significant.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn decimal(literal: &Literal) -> Option<Decimal> {
    let text = match literal {
        Literal::Number(text) | Literal::Text(text) => text.trim().to_owned(),
        Literal::Bytes(bytes) => number_of_bytes(bytes)?.to_string(),
        Literal::Null => return None,
    };
    match Decimal::parse_prefix(&text) {
        (Some(decimal), false) => Some(decimal),
        _ => None,
    }
}

/// The literal as the column would hold it, `None` when it cannot.
fn constant(ty: &FieldType, literal: &Literal, zone: &TimeZone) -> Option<Vec<u8>> {
    use TypeCode::*;
    let text_of = |literal: &Literal| match literal {
        Literal::Number(text) | Literal::Text(text) => Some(text.clone().into_bytes()),
        Literal::Bytes(bytes) => Some(bytes.clone()),
        Literal::Null => None,
    };
    match ty.tp {
        Tiny | Short | Int24 | Long | LongLong => {
            let whole = decimal(literal)?.round(0);
            let text = whole.to_string();
            let fits = if ty.is_unsigned() {
                text.parse::<u64>().is_ok_and(|n| n <= ty.unsigned_max())
            } else {
                let (low, high) = ty.signed_range();
                text.parse::<i64>().is_ok_and(|n| (low..=high).contains(&n))
            };
            fits.then(|| text.into_bytes())
        }
        Year => {
            let year: u32 = decimal(literal)?.round(0).to_string().parse().ok()?;
            let zero_is_2000 = matches!(literal, Literal::Text(_));
            let year = match year {
                0 if !zero_is_2000 => 0,
                0..=69 => 2000 + year,
                70..=99 => 1900 + year,
                1901..=2155 => year,
                _ => return None,
            };
            Some(format!("{year:04}").into_bytes())
        }
        Float | Double => {
            let value: f64 = std::string::String::from_utf8(text_of(literal)?).ok()?.trim().parse().ok()?;
            let fits = value.is_finite()
                && !(ty.is_unsigned() && value < 0.0)
                && (ty.tp == Double || (value as f32).is_finite());
            fits.then(|| value.to_string().into_bytes())
        }
        NewDecimal => {
            let (precision, scale) = (u8::try_from(ty.flen).ok()?, u8::try_from(ty.decimal).ok()?);
            let value = decimal(literal)?.round(scale.into());
            let fits = value.fits(precision, scale) && !(ty.is_unsigned() && value.is_negative());
            fits.then(|| value.to_string().into_bytes())
        }
        Bit => {
            let number = match literal {
                Literal::Bytes(bytes) => number_of_bytes(bytes)?,
                Literal::Number(text) => text.parse().ok()?,
                Literal::Text(text) => number_of_bytes(text.as_bytes())?,
                Literal::Null => return None,
            };
            let width = usize::try_from(ty.flen.clamp(1, 64)).ok()?.div_ceil(8);
            (number <= ty.unsigned_max()).then(|| number.to_be_bytes()[8 - width..].to_vec())
        }
        Date | NewDate | DateTime | Timestamp => {
            let kind = TimeKind::from_type(ty.tp)?;
            let time = match literal {
                Literal::Number(text) => Time::from_number(text.parse().ok()?, kind, ty.fsp()).ok()?,
                Literal::Text(text) => {
                    let parsed = Time::parse(text, kind, ty.fsp()).ok()?;
                    (!parsed.truncated).then_some(parsed.value)?
                }
                _ => return None,
            };
            // The default sql_mode has NO_ZERO_DATE and NO_ZERO_IN_DATE.
            if time.has_zero_date() {
                return None;
            }
            let cx = convert::Context { column: "", row: 1, zone, no_zero_date: true };
            let fitted = convert::convert(Datum::Time(time), ty, &cx);
            let stored = row::to_stored(fitted.value, ty, zone);
            fitted.problem.is_none().then(|| convert::text_of(&stored, Some(ty)))
        }
        Duration => {
            let parsed = match literal {
                Literal::Number(text) => codec::time::Duration::from_number(text.parse().ok()?, ty.fsp()).ok()?,
                Literal::Text(text) => self::Duration::parse(text, ty.fsp()).ok()?,
                _ => return None,
            };
            (!parsed.truncated).then(|| parsed.value.to_string().into_bytes())
        }
        Enum => {
            let member = match literal {
                Literal::Number(text) => ty.elems.get(text.parse::<usize>().ok()?.checked_sub(1)?)?,
                Literal::Text(text) => find_member(ty, text)?,
                _ => return None,
            };
            Some(member.clone().into_bytes())
        }
        Set => {
            let Literal::Text(text) = literal else { return None };
            if text.is_empty() {
                return Some(Vec::new());
            }
            let named: Option<Vec<_>> = text.split(',').map(|part| find_member(ty, part)).collect();
            let named = named?;
            let members: Vec<_> = ty.elems.iter().filter(|elem| named.contains(elem)).cloned().collect();
            Some(members.join(",").into_bytes())
        }
        Varchar | VarString | String => {
            let bytes = text_of(literal)?;
            let length = if ty.is_text() { std::str::from_utf8(&bytes).ok()?.chars().count() } else { bytes.len() };
            (ty.flen < 0 || length <= ty.flen.unsigned_abs() as usize).then_some(bytes)
        }
        _ => None,
    }
}

fn find_member<'a>(ty: &'a FieldType, text: &str) -> Option<&'a std::string::String> {
    ty.elems.iter().find(|elem| ty.collation.compare(elem.as_bytes(), text.as_bytes()).is_eq())
}

/// What rows hold that have no value for a NOT NULL column without a default: the zero of its type.
pub(super) fn zero_value(ty: &FieldType) -> Vec<u8> {
    use TypeCode::*;
    match ty.tp {
        Tiny | Short | Int24 | Long | LongLong | Float | Double => b"0".to_vec(),
        Year => b"0000".to_vec(),
        NewDecimal => {
            let scale = u8::try_from(ty.decimal).unwrap_or(0);
            Decimal::from_i128(0, scale).to_string().into_bytes()
        }
        Bit => vec![0; usize::try_from(ty.flen.clamp(1, 64)).unwrap_or(1).div_ceil(8)],
        Date | NewDate | DateTime | Timestamp => match TimeKind::from_type(ty.tp) {
            Some(kind) => Time::zero(kind, ty.fsp()).to_string().into_bytes(),
            None => Vec::new(),
        },
        Duration => self::Duration::from_nanos(0, ty.fsp()).to_string().into_bytes(),
        Enum => ty.elems.first().cloned().unwrap_or_default().into_bytes(),
        Json => b"null".to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ty: FieldType, literal: Literal, expect: Option<&str>) {
        assert_eq!(
            constant(&ty, &literal, &TimeZone::UTC).map(|b| String::from_utf8(b).unwrap()).as_deref(),
            expect,
            "{ty:?} {literal:?}"
        );
    }

    fn number(text: &str) -> Literal {
        Literal::Number(text.into())
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.into())
    }

    #[test]
    fn constants_take_the_columns_type_or_are_refused() {
        check(FieldType::bigint(), number("10"), Some("10"));
        check(FieldType::bigint(), text("10"), Some("10"));
        check(FieldType::bigint(), text("x"), None);
        check(FieldType::new(TypeCode::Tiny), number("128"), None);
        check(FieldType::new(TypeCode::Tiny), number("1.5"), Some("2"));
        check(FieldType::bigint_unsigned(), number("-1"), None);
        check(FieldType::decimal(12, 2), number("0"), Some("0.00"));
        check(FieldType::decimal(4, 2), number("100"), None);
        check(FieldType::varchar(3), text("abc"), Some("abc"));
        check(FieldType::varchar(3), text("abcd"), None);
        check(FieldType::datetime(0), text("2020-01-02 03:04:05"), Some("2020-01-02 03:04:05"));
        check(FieldType::datetime(0), text("soon"), None);
        check(FieldType::datetime(0), text("0000-00-00 00:00:00"), None);
        let ty = FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Enum) };
        check(ty.clone(), text("b"), Some("b"));
        check(ty, text("c"), None);
        let ty = FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Set) };
        check(ty, text("b,a"), Some("a,b"));
    }

    #[test]
    fn bits_are_bytes() {
        assert_eq!(bit_bytes("1"), Some(vec![1]));
        assert_eq!(bit_bytes("100000000"), Some(vec![1, 0]));
        let ty = FieldType { flen: 9, ..FieldType::new(TypeCode::Bit) };
        assert_eq!(constant(&ty, &Literal::Bytes(vec![1]), &TimeZone::UTC), Some(vec![0, 1]));
        assert_eq!(constant(&ty, &Literal::Bytes(vec![2, 0]), &TimeZone::UTC), None);
    }
}
