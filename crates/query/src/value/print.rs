//! A value as text.

use codec::datum::Datum;
use codec::types::{FieldType, NOT_FIXED_DEC, TypeCode, flags};

/// A double as MySQL prints it: shortest digits that read back, an exponent only outside 1e-15…1e15.
pub fn format_float(v: f64) -> String {
    if v == 0.0 {
        return if v.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    exponent_form(&format!("{v:e}"))
}

/// A FLOAT as MySQL prints it: with no more digits than every FLOAT is sure to keep.
pub fn format_float32(v: f32) -> String {
    if v == 0.0 {
        return if v.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let v = f64::from(v);
    exponent_form(&format!("{:e}", format!("{v:.5e}").parse().unwrap_or(v)))
}

fn exponent_form(text: &str) -> String {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let Some((mantissa, exponent)) = text.split_once('e') else { return format!("{sign}{text}") };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if !(-15..15).contains(&exponent) {
        return format!("{sign}{mantissa}e{exponent}");
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let point = exponent as usize + 1;
    if digits.len() <= point {
        return format!("{sign}{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

/// A value without its type, for messages.
pub fn display(value: &Datum) -> String {
    match value {
        Datum::Null => "NULL".into(),
        Datum::Int(v) => v.to_string(),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => v.to_string(),
        Datum::Float(v) => format_float(*v),
        Datum::Decimal(d) => d.to_string(),
        Datum::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Datum::Time(t) => t.to_string(),
        Datum::Duration(d) => d.to_string(),
        Datum::Json(j) => j.to_string(),
        Datum::Max => "+inf".into(),
    }
}

/// The text of a value of type `ty`, as the text protocol and CAST AS CHAR give it; `None` for NULL.
pub fn to_text(value: &Datum, ty: &FieldType) -> Option<Vec<u8>> {
    Some(match value {
        Datum::Null | Datum::Max => return None,
        Datum::Bytes(b) => b.clone(),
        Datum::Float(v) => zero_filled(float_text(*v, ty), ty.flen, ty),
        Datum::UInt(v) if ty.tp == TypeCode::Year => format!("{v:04}").into_bytes(),
        Datum::Int(v) => zero_filled(v.to_string(), ty.flen, ty),
        Datum::UInt(v) if ty.tp != TypeCode::Bit => zero_filled(v.to_string(), ty.flen, ty),
        // The width of a DECIMAL does not count its point.
        Datum::Decimal(d) => zero_filled(d.to_string(), ty.flen + i32::from(ty.decimal > 0), ty),
        Datum::Enum(n) if ty.elems.is_empty() => n.to_string().into_bytes(),
        Datum::Enum(n) => enum_name(ty, *n).as_bytes().to_vec(),
        Datum::Set(bits) if ty.elems.is_empty() => bits.to_string().into_bytes(),
        Datum::Set(bits) => set_names(ty, *bits).into_bytes(),
        Datum::Bit(v) | Datum::UInt(v) => bit_bytes(*v, ty),
        v => display(v).into_bytes(),
    })
}

/// Zeros in front, where the type is ZEROFILL.
fn zero_filled(text: String, width: i32, ty: &FieldType) -> Vec<u8> {
    match usize::try_from(width) {
        Ok(width @ 0..=255) if ty.has(flags::ZEROFILL) => format!("{text:0>width$}").into_bytes(),
        _ => text.into_bytes(),
    }
}

/// FLOAT and DOUBLE with a fixed number of digits after the point, if the type has one.
fn float_text(v: f64, ty: &FieldType) -> String {
    match (ty.tp, ty.decimal) {
        (TypeCode::Float | TypeCode::Double, digits @ 0..NOT_FIXED_DEC) => format!("{v:.*}", digits as usize),
        (TypeCode::Float, _) => format_float32(v as f32),
        _ => format_float(v),
    }
}

/// The name of an ENUM's member; empty for 0.
pub fn enum_name(ty: &FieldType, n: u64) -> &str {
    usize::try_from(n).ok().and_then(|n| n.checked_sub(1)).and_then(|i| ty.elems.get(i)).map_or("", String::as_str)
}

/// The names of a SET's members, separated by commas.
pub fn set_names(ty: &FieldType, bits: u64) -> String {
    let names: Vec<_> =
        ty.elems.iter().enumerate().filter(|(i, _)| *i < 64 && bits >> i & 1 == 1).map(|(_, e)| e.as_str()).collect();
    names.join(",")
}

/// BIT(n) as big-endian bytes; of an unknown length as all eight.
fn bit_bytes(v: u64, ty: &FieldType) -> Vec<u8> {
    let len = if (1..=64).contains(&ty.flen) { (ty.flen as usize).div_ceil(8) } else { 8 };
    v.to_be_bytes()[8 - len..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 prints them.
    #[test]
    fn zerofill_fills_every_kind_of_number() {
        let zerofill = |ty: FieldType| ty.with_flags(flags::ZEROFILL | flags::UNSIGNED);
        let float = |tp, flen, decimal| zerofill(FieldType { flen, decimal, ..FieldType::new(tp) });
        let text = |v: Datum, ty: &FieldType| String::from_utf8(to_text(&v, ty).unwrap()).unwrap();
        let d = |s: &str| Datum::Decimal(s.parse().unwrap());
        assert_eq!(text(d("1.50"), &zerofill(FieldType::decimal(5, 2))), "001.50");
        assert_eq!(text(d("7"), &zerofill(FieldType::decimal(5, 0))), "00007");
        assert_eq!(text(Datum::Float(1.5), &float(TypeCode::Float, 12, -1)), "0000000001.5");
        assert_eq!(text(Datum::Float(1.5), &float(TypeCode::Double, 8, 3)), "0001.500");
        assert_eq!(text(Datum::UInt(42), &zerofill(FieldType { flen: 5, ..FieldType::new(TypeCode::Long) })), "00042");
        assert_eq!(
            text(Datum::UInt(1_234_567), &zerofill(FieldType { flen: 5, ..FieldType::new(TypeCode::Long) })),
            "1234567"
        );
    }

    #[test]
    fn doubles_print_as_mysql_prints_them() {
        for (v, want) in [
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (1.5e20, "1.5e20"),
            (1e-5, "0.00001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-2.5, "-2.5"),
            (100.0, "100"),
        ] {
            assert_eq!(format_float(v), want);
        }
        assert_eq!(format_float32(0.1), "0.1");
    }
}
