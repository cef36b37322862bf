//! How values of a type are laid out in a column.

use arrow_schema::DataType;
use codec::types::{FieldType, TypeCode};

/// Digits that a `Decimal128Array` holds.
const DECIMAL128_DIGITS: i32 = 38;

/// How values of a type are laid out in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Physical {
    /// `Int64Array`.
    Int,
    /// `UInt64Array`.
    UInt,
    /// `Float64Array`.
    Real,
    /// `Decimal128Array` of this scale.
    Decimal128(u8),
    /// `Decimal256Array` of this scale.
    Decimal256(u8),
    /// `BinaryArray`.
    Bytes,
    /// `UInt64Array` of packed times.
    Time,
    /// `Int64Array` of nanoseconds.
    Duration,
    /// `BinaryArray` of encoded JSON.
    Json,
}

impl Physical {
    /// The layout of a type.
    pub fn of(ty: &FieldType) -> Physical {
        use TypeCode::*;
        match ty.tp {
            Tiny | Short | Int24 | Long | LongLong if ty.is_unsigned() => Physical::UInt,
            Tiny | Short | Int24 | Long | LongLong | Null => Physical::Int,
            Year | Bit | Enum | Set => Physical::UInt,
            Float | Double => Physical::Real,
            NewDecimal | Unspecified => {
                let scale = ty.decimal.clamp(0, 30) as u8;
                if (1..=DECIMAL128_DIGITS).contains(&ty.flen) {
                    Physical::Decimal128(scale)
                } else {
                    Physical::Decimal256(scale)
                }
            }
            Date | NewDate | DateTime | Timestamp => Physical::Time,
            Duration => Physical::Duration,
            Json => Physical::Json,
            Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob | Geometry => Physical::Bytes,
        }
    }

    /// The Arrow type of the column.
    pub fn data_type(self) -> DataType {
        match self {
            Physical::Int | Physical::Duration => DataType::Int64,
            Physical::UInt | Physical::Time => DataType::UInt64,
            Physical::Real => DataType::Float64,
            Physical::Decimal128(scale) => DataType::Decimal128(38, scale as i8),
            Physical::Decimal256(scale) => DataType::Decimal256(76, scale as i8),
            Physical::Bytes | Physical::Json => DataType::Binary,
        }
    }
}
