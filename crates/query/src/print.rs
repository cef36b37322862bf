//! Values as text, as a client reads them: rows of the text protocol, `SHOW … WHERE`, variables set from expressions.
//!
//! What SQL itself makes of a value that becomes a string (`CAST`, `CONCAT`) is [`crate::cast`].

use codec::datum::Datum;
use codec::types::{self, FieldType, TypeCode, flags};

/// The value as a client reads it.
pub fn text_of(value: &Datum, ty: &FieldType) -> Vec<u8> {
    let text = match value {
        Datum::Null | Datum::Max => return Vec::new(),
        Datum::Bytes(bytes) => return bytes.clone(),
        Datum::Bit(bits) => return bit_bytes(*bits, ty),
        Datum::Int(n) => zero_filled(n.to_string(), ty),
        Datum::UInt(n) if ty.tp == TypeCode::Year => format!("{n:04}"),
        Datum::UInt(n) if ty.tp == TypeCode::Bit => return bit_bytes(*n, ty),
        Datum::UInt(n) => zero_filled(n.to_string(), ty),
        Datum::Float(v) => float_text(*v, ty),
        Datum::Decimal(d) => zero_filled(d.to_string(), ty),
        Datum::Time(t) => t.to_string(),
        Datum::Duration(d) => d.to_string(),
        Datum::Enum(n) => match n.checked_sub(1).and_then(|i| ty.elems.get(i as usize)) {
            Some(name) => name.clone(),
            None if *n == 0 => String::new(),
            None => n.to_string(),
        },
        Datum::Set(mask) if ty.elems.is_empty() => mask.to_string(),
        Datum::Set(mask) => {
            let members = ty.elems.iter().enumerate().filter(|(i, _)| *i < 64 && mask >> i & 1 == 1);
            members.map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(",")
        }
        Datum::Json(json) => json.to_string(),
    };
    text.into_bytes()
}

fn zero_filled(text: String, ty: &FieldType) -> String {
    match usize::try_from(ty.flen) {
        Ok(width) if ty.has(flags::ZEROFILL) && width <= 255 => format!("{text:0>width$}"),
        _ => text,
    }
}

fn bit_bytes(bits: u64, ty: &FieldType) -> Vec<u8> {
    let width = match ty.flen {
        1..=64 => (ty.flen as usize).div_ceil(8),
        _ => 8,
    };
    bits.to_be_bytes()[8 - width..].to_vec()
}

/// FLOAT and DOUBLE as MySQL prints them, with a fixed number of decimals if the type has one.
fn float_text(v: f64, ty: &FieldType) -> String {
    if (0..types::NOT_FIXED_DEC).contains(&ty.decimal) && ty.decimal != types::UNSPECIFIED_LENGTH {
        return format!("{v:.*}", ty.decimal as usize);
    }
    match ty.tp {
        TypeCode::Float => crate::cast::format_float32(v as f32),
        _ => crate::cast::format_float(v),
    }
}
