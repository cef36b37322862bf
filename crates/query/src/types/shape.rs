//! Types of literals and conditions, and how many digits and characters a type takes.

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode, flags};

/// The type that a literal of this value has.
pub fn literal_type(value: &Datum) -> FieldType {
    let not_null = |t: FieldType| t.with_flags(flags::NOT_NULL);
    match value {
        Datum::Null | Datum::Max => FieldType::new(TypeCode::Null),
        Datum::Int(v) => not_null(FieldType { flen: v.to_string().len() as i32, ..FieldType::bigint() }),
        Datum::UInt(v) => not_null(FieldType { flen: v.to_string().len() as i32, ..FieldType::bigint_unsigned() }),
        Datum::Float(_) => not_null(FieldType::double()),
        Datum::Decimal(d) => {
            not_null(FieldType::decimal(d.precision().min(65).max(d.scale()).into(), d.scale().into()))
        }
        Datum::Bytes(b) => {
            let chars = b.utf8_chunks().map(|c| c.valid().chars().count() + c.invalid().len()).sum::<usize>();
            not_null(FieldType { flen: chars as i32, ..FieldType::new(TypeCode::VarString) })
        }
        Datum::Time(t) => not_null(
            FieldType { decimal: t.fsp.into(), ..FieldType::new(t.kind.type_code()) }.with_flags(flags::BINARY),
        ),
        Datum::Duration(d) => not_null(FieldType { decimal: d.fsp.into(), ..FieldType::new(TypeCode::Duration) }),
        Datum::Enum(_) => FieldType::new(TypeCode::Enum),
        Datum::Set(_) => FieldType::new(TypeCode::Set),
        Datum::Bit(_) => FieldType { flen: 64, ..FieldType::new(TypeCode::Bit) },
        Datum::Json(_) => FieldType::new(TypeCode::Json),
    }
}

/// (precision, scale) of the DECIMAL that holds every value of a numeric type.
pub fn decimal_shape(ty: &FieldType) -> (i32, i32) {
    match ty.tp {
        TypeCode::Tiny => (3, 0),
        TypeCode::Short => (5, 0),
        TypeCode::Int24 => (8, 0),
        TypeCode::Long => (10, 0),
        TypeCode::LongLong if ty.is_not_null() && (1..19).contains(&ty.flen) => (ty.flen, 0),
        TypeCode::LongLong => (20, 0),
        TypeCode::Year => (4, 0),
        TypeCode::Bit => (20, 0),
        TypeCode::NewDecimal | TypeCode::Unspecified => {
            let scale = ty.decimal.clamp(0, 30);
            (if ty.flen <= 0 { 65 } else { ty.flen.max(scale) }, scale)
        }
        TypeCode::Date | TypeCode::NewDate => (8, 0),
        TypeCode::DateTime | TypeCode::Timestamp => (14 + i32::from(ty.fsp()), ty.fsp().into()),
        TypeCode::Duration => (7 + i32::from(ty.fsp()), ty.fsp().into()),
        TypeCode::Null => (1, 0),
        _ => (65, 30),
    }
}

pub(crate) fn decimal_type(precision: i32, scale: i32) -> FieldType {
    let scale = scale.clamp(0, 30);
    FieldType::decimal(precision.clamp(scale.max(1), 65), scale)
}

/// The text type that holds every value of a type printed.
pub(crate) fn text_type(ty: &FieldType) -> FieldType {
    let flen = match ty.tp {
        TypeCode::NewDecimal => ty.flen + 2,
        TypeCode::DateTime | TypeCode::Timestamp if ty.fsp() > 0 => 20 + i32::from(ty.fsp()),
        TypeCode::Enum | TypeCode::Set => {
            return FieldType { flen: 255, ..FieldType::new(TypeCode::VarString) }.with_collation(ty.collation);
        }
        TypeCode::Double | TypeCode::Float => 23,
        TypeCode::Json => -1,
        // Display widths such as TINYINT(1) do not bound the value.
        tp if tp.is_integer() => ty.flen.max(20),
        TypeCode::Duration => 18,
        _ => ty.flen,
    };
    FieldType { flen, ..FieldType::new(TypeCode::VarString) }
}

pub(crate) fn span_type() -> FieldType {
    FieldType { decimal: 6, ..FieldType::new(TypeCode::Duration) }
}

/// The type of comparisons and conditions: BIGINT(1), 0 or 1.
pub fn bool_type() -> FieldType {
    FieldType { flen: 1, ..FieldType::bigint() }.with_flags(flags::IS_BOOLEAN | flags::BINARY)
}
