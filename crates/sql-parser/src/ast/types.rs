//! Types of CAST. Those of columns are [`super::ColumnType`]s.

/// What a value is cast to; synonyms are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CastType {
    Signed,
    Unsigned,
    /// Characters.
    Char(Option<u64>),
    /// Bytes.
    Binary(Option<u64>),
    /// Digits, and those after the point.
    Decimal(Option<(u64, i64)>),
    Double,
    Float,
    Date,
    /// Fractional digits.
    DateTime(Option<u64>),
    /// Fractional digits.
    Time(Option<u64>),
    Year,
    Json,
}
