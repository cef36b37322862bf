//! The kind of values in which an operator works.

use codec::types::{FieldType, TypeCode};

/// The kind of values in which a function works; its arguments were cast to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvalType {
    /// Integers of either signedness.
    Int,
    /// Floats.
    Real,
    /// DECIMAL.
    Decimal,
    /// Strings and binary strings.
    String,
    /// DATE, DATETIME, TIMESTAMP.
    Time,
    /// TIME.
    Duration,
    /// JSON.
    Json,
}

impl EvalType {
    /// The domain that values of a type live in.
    pub fn of(ty: &FieldType) -> EvalType {
        use TypeCode::*;
        match ty.tp {
            Tiny | Short | Int24 | Long | LongLong | Year | Bit | Null => EvalType::Int,
            Float | Double => EvalType::Real,
            NewDecimal | Unspecified => EvalType::Decimal,
            Date | NewDate | DateTime | Timestamp => EvalType::Time,
            Duration => EvalType::Duration,
            Json => EvalType::Json,
            Enum | Set | Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob | Geometry => {
                EvalType::String
            }
        }
    }
}
