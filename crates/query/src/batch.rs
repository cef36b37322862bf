//! Rows in columns: a [`Batch`] is a list of Arrow arrays with their MySQL types.
//!
//! | MySQL type | Arrow array |
//! |---|---|
//! | signed integers | `Int64Array` |
//! | unsigned integers, YEAR, BIT, ENUM, SET | `UInt64Array` |
//! | FLOAT, DOUBLE | `Float64Array` |
//! | DECIMAL up to 38 digits | `Decimal128Array`, unscaled at the type's scale |
//! | wider DECIMAL | `Decimal256Array` |
//! | strings, binary strings | `BinaryArray` |
//! | DATE, DATETIME, TIMESTAMP | `UInt64Array` of `codec::time`'s packed form, which sorts as the time |
//! | TIME | `Int64Array` of nanoseconds |
//! | JSON | `BinaryArray` of `codec::json`'s encoding |
//! | NULL (untyped) | `Int64Array` of nulls |
//!
//! The array kind follows from the [`FieldType`] alone ([`Physical::of`]), so two batches of equal types always concatenate
//! and an operator never inspects arrays to learn what they are. All decimals of a column have the scale of its type.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Decimal128Builder, Decimal256Builder, Float64Builder, Int64Builder, UInt64Builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_buffer::i256;
use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{FieldType, TypeCode};
use num_bigint::BigInt;

use crate::error::{EvalError, Result};
use crate::types::Physical;

/// Rows that operators pass at once: large enough to amortise a dispatch, small enough for the second-level cache.
pub const BATCH_ROWS_MAX: usize = 1024;

/// Columns of equal length with their types. Cheap to clone: columns are shared.
#[derive(Clone, Debug)]
pub struct Batch {
    types: Arc<[FieldType]>,
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl Batch {
    /// A batch of these columns, each laid out as [`Physical::of`] its type says.
    ///
    /// # Panics
    /// When lengths or layouts disagree: that is a bug of the caller, never of the data.
    pub fn new(types: Arc<[FieldType]>, columns: Vec<ArrayRef>, rows: usize) -> Batch {
        assert_eq!(types.len(), columns.len(), "a type for each column");
        for (ty, column) in types.iter().zip(&columns) {
            assert_eq!(column.len(), rows, "columns of a batch have equal length");
            assert_eq!(column.data_type(), &Physical::of(ty).data_type(), "column of {}", ty.declaration());
        }
        Batch { types, columns, rows }
    }

    /// No rows.
    pub fn empty(types: Arc<[FieldType]>) -> Batch {
        let columns = types.iter().map(|t| ColumnBuilder::new(t, 0).finish()).collect();
        Batch { types, columns, rows: 0 }
    }

    /// One row without columns: what `SELECT 1` reads from.
    pub fn one_empty_row() -> Batch {
        Batch { types: Arc::from([]), columns: Vec::new(), rows: 1 }
    }

    /// From rows of values; each value must fit its column's type.
    pub fn from_rows<R: AsRef<[Datum]>>(types: Arc<[FieldType]>, rows: &[R]) -> Result<Batch> {
        let mut builder = BatchBuilder::new(types, rows.len());
        for row in rows {
            builder.push(row.as_ref())?;
        }
        Ok(builder.finish())
    }

    /// Types of the columns.
    pub fn types(&self) -> &Arc<[FieldType]> {
        &self.types
    }

    /// The columns.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// One column.
    pub fn column(&self, index: usize) -> &ArrayRef {
        &self.columns[index]
    }

    /// Rows.
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn num_columns(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// One value.
    pub fn datum(&self, row: usize, column: usize) -> Datum {
        datum_at(&self.columns[column], row, &self.types[column])
    }

    /// The values of one row.
    pub fn row(&self, row: usize) -> Vec<Datum> {
        (0..self.columns.len()).map(|c| self.datum(row, c)).collect()
    }

    /// Every row as values.
    pub fn rows(&self) -> impl Iterator<Item = Vec<Datum>> + '_ {
        (0..self.rows).map(|r| self.row(r))
    }

    /// These rows, in this order; an index may repeat.
    pub fn take(&self, indices: &UInt32Array) -> Result<Batch> {
        let columns = self.columns.iter().map(|c| arrow_select::take::take(c, indices, None));
        Ok(Batch {
            types: self.types.clone(),
            columns: columns.collect::<std::result::Result<_, _>>()?,
            rows: indices.len(),
        })
    }

    /// The rows where `keep` is true (null is not).
    pub fn filter(&self, keep: &BooleanArray) -> Result<Batch> {
        let rows = (0..keep.len()).filter(|i| keep.is_valid(*i) && keep.value(*i)).count();
        if rows == self.rows {
            return Ok(self.clone());
        }
        let columns = self.columns.iter().map(|c| arrow_select::filter::filter(c, keep));
        Ok(Batch { types: self.types.clone(), columns: columns.collect::<std::result::Result<_, _>>()?, rows })
    }

    /// `length` rows from `offset`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Batch {
        let columns = self.columns.iter().map(|c| c.slice(offset, length)).collect();
        Batch { types: self.types.clone(), columns, rows: length }
    }

    /// Only these columns, in this order.
    pub fn project(&self, columns: &[usize]) -> Batch {
        Batch {
            types: columns.iter().map(|c| self.types[*c].clone()).collect(),
            columns: columns.iter().map(|c| self.columns[*c].clone()).collect(),
            rows: self.rows,
        }
    }

    /// The columns of both, side by side; both have the same number of rows.
    pub fn zip(&self, other: &Batch) -> Batch {
        assert_eq!(self.rows, other.rows, "batches side by side have equal length");
        Batch {
            types: self.types.iter().chain(other.types.iter()).cloned().collect(),
            columns: self.columns.iter().chain(&other.columns).cloned().collect(),
            rows: self.rows,
        }
    }

    /// All rows of all batches, which have these types.
    pub fn concat(types: &Arc<[FieldType]>, batches: &[Batch]) -> Result<Batch> {
        match batches {
            [] => return Ok(Batch::empty(types.clone())),
            [one] => return Ok(one.clone()),
            _ => {}
        }
        let rows = batches.iter().map(|b| b.rows).sum();
        let columns = (0..types.len()).map(|i| {
            let parts: Vec<&dyn Array> = batches.iter().map(|b| b.columns[i].as_ref()).collect();
            arrow_select::concat::concat(&parts)
        });
        Ok(Batch { types: types.clone(), columns: columns.collect::<std::result::Result<_, _>>()?, rows })
    }

    /// Rows of batches of these types, each as (batch, row), in this order.
    pub fn interleave(types: &Arc<[FieldType]>, batches: &[Batch], rows: &[(usize, usize)]) -> Result<Batch> {
        if rows.is_empty() {
            return Ok(Batch::empty(types.clone()));
        }
        let columns = (0..types.len()).map(|i| {
            let parts: Vec<&dyn Array> = batches.iter().map(|b| b.columns[i].as_ref()).collect();
            arrow_select::interleave::interleave(&parts, rows)
        });
        let columns = columns.collect::<std::result::Result<_, _>>()?;
        Ok(Batch { types: types.clone(), columns, rows: rows.len() })
    }

    /// Bytes that its values take, without those that it only shares with others.
    pub fn data_bytes(&self) -> usize {
        /// Of a value that is no string, about.
        const VALUE_BYTES: usize = 16;
        let strings = |c: &ArrayRef| {
            let offsets = c.as_binary_opt::<i32>()?.value_offsets();
            Some((offsets.last()? - offsets.first()?) as usize)
        };
        self.columns().iter().map(|c| self.num_rows() * VALUE_BYTES + strings(c).unwrap_or(0)).sum()
    }
}

/// The bytes of a value whose datum would be a copy of them; none for NULL and for other types.
pub fn bytes_at<'a>(column: &'a ArrayRef, row: usize, ty: &FieldType) -> Option<&'a [u8]> {
    (column.is_valid(row) && Physical::of(ty) == Physical::Bytes).then(|| column.as_binary::<i32>().value(row))
}

/// One value of a column of type `ty`.
pub fn datum_at(column: &ArrayRef, row: usize, ty: &FieldType) -> Datum {
    if column.is_null(row) {
        return Datum::Null;
    }
    match Physical::of(ty) {
        Physical::Int => Datum::Int(column.as_primitive::<Int64Type>().value(row)),
        Physical::UInt => {
            let v = column.as_primitive::<UInt64Type>().value(row);
            match ty.tp {
                TypeCode::Enum => Datum::Enum(v),
                TypeCode::Set => Datum::Set(v),
                TypeCode::Bit => Datum::Bit(v),
                _ => Datum::UInt(v),
            }
        }
        Physical::Real => Datum::Float(column.as_primitive::<Float64Type>().value(row)),
        Physical::Decimal128(scale) => {
            Datum::Decimal(Decimal::from_i128(column.as_primitive::<Decimal128Type>().value(row), scale))
        }
        Physical::Decimal256(scale) => {
            Datum::Decimal(decimal_from_i256(column.as_primitive::<Decimal256Type>().value(row), scale))
        }
        Physical::Bytes => Datum::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        Physical::Time => {
            let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
            let packed = column.as_primitive::<UInt64Type>().value(row);
            // Columns are filled from `Time::to_packed` only, so that the inverse cannot fail.
            Time::from_packed(packed, kind, ty.fsp()).map_or(Datum::Null, Datum::Time)
        }
        Physical::Duration => {
            Datum::Duration(Duration::from_nanos(column.as_primitive::<Int64Type>().value(row), ty.fsp()))
        }
        Physical::Json => {
            let mut bytes = column.as_binary::<i32>().value(row);
            Json::decode(&mut bytes).map_or(Datum::Null, Datum::Json)
        }
    }
}

/// The decimal with this unscaled number.
pub fn decimal_from_i256(v: i256, scale: u8) -> Decimal {
    match v.to_i128() {
        Some(n) => Decimal::from_i128(n, scale),
        None => Decimal::from_bigint(BigInt::from_signed_bytes_le(&v.to_le_bytes()), scale),
    }
}

/// The unscaled number at `scale`, rounding; `None` when it has over 76 digits.
pub fn decimal_to_i256(d: &Decimal, scale: u8) -> Option<i256> {
    let d = if d.scale() == scale { d.clone() } else { d.round(scale.into()) };
    if let Some(n) = d.to_i128_unscaled() {
        return Some(i256::from_i128(n));
    }
    i256::from_string(&d.to_bigint_unscaled().to_string())
}

/// The unscaled number at `scale`, rounding; `None` when it does not fit.
pub fn decimal_to_i128(d: &Decimal, scale: u8) -> Option<i128> {
    if d.scale() == scale { d.to_i128_unscaled() } else { d.round(scale.into()).to_i128_unscaled() }
}

/// Collects values of one type into a column.
#[derive(Debug)]
pub struct ColumnBuilder {
    ty: FieldType,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Int(Int64Builder),
    UInt(UInt64Builder),
    Real(Float64Builder),
    Decimal128(Decimal128Builder, u8),
    Decimal256(Decimal256Builder, u8),
    Bytes(BinaryBuilder),
    Time(UInt64Builder),
    Duration(Int64Builder),
    Json(BinaryBuilder),
}

/// Bytes of the values of one column: offsets have 32 bits.
const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

/// Adds a value, if it has room.
fn append(builder: &mut BinaryBuilder, value: &[u8]) -> Result<()> {
    if builder.values_slice().len() + value.len() > COLUMN_BYTES_MAX {
        return Err(EvalError::MemoryCapacity(COLUMN_BYTES_MAX));
    }
    builder.append_value(value);
    Ok(())
}

impl ColumnBuilder {
    /// An empty column of type `ty` with room for `capacity` values.
    pub fn new(ty: &FieldType, capacity: usize) -> ColumnBuilder {
        let physical = Physical::of(ty);
        let inner = match physical {
            Physical::Int => Inner::Int(Int64Builder::with_capacity(capacity)),
            Physical::UInt => Inner::UInt(UInt64Builder::with_capacity(capacity)),
            Physical::Real => Inner::Real(Float64Builder::with_capacity(capacity)),
            Physical::Decimal128(s) => {
                Inner::Decimal128(Decimal128Builder::with_capacity(capacity).with_data_type(physical.data_type()), s)
            }
            Physical::Decimal256(s) => {
                Inner::Decimal256(Decimal256Builder::with_capacity(capacity).with_data_type(physical.data_type()), s)
            }
            Physical::Bytes => Inner::Bytes(BinaryBuilder::with_capacity(capacity, capacity * 16)),
            Physical::Time => Inner::Time(UInt64Builder::with_capacity(capacity)),
            Physical::Duration => Inner::Duration(Int64Builder::with_capacity(capacity)),
            Physical::Json => Inner::Json(BinaryBuilder::with_capacity(capacity, capacity * 32)),
        };
        ColumnBuilder { ty: ty.clone(), inner }
    }

    /// Adds NULL.
    pub fn push_null(&mut self) {
        match &mut self.inner {
            Inner::Int(b) | Inner::Duration(b) => b.append_null(),
            Inner::UInt(b) | Inner::Time(b) => b.append_null(),
            Inner::Real(b) => b.append_null(),
            Inner::Decimal128(b, _) => b.append_null(),
            Inner::Decimal256(b, _) => b.append_null(),
            Inner::Bytes(b) | Inner::Json(b) => b.append_null(),
        }
    }

    /// Adds a value of the column's kind. Integers of the other signedness are taken when they fit, decimals are rounded to
    /// the column's scale; everything else of another kind is refused: conversion is [`crate::cast`]'s work.
    pub fn push(&mut self, value: &Datum) -> Result<()> {
        if value.is_null() {
            self.push_null();
            return Ok(());
        }
        match (&mut self.inner, value) {
            (Inner::Int(b), Datum::Int(v)) => b.append_value(*v),
            (Inner::Int(b), Datum::UInt(v) | Datum::Bit(v)) => {
                b.append_value(i64::try_from(*v).map_err(|_| out_of_range("BIGINT", value))?);
            }
            (Inner::UInt(b), Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v)) => b.append_value(*v),
            (Inner::UInt(b), Datum::Int(v)) => {
                b.append_value(u64::try_from(*v).map_err(|_| out_of_range("BIGINT UNSIGNED", value))?);
            }
            (Inner::Real(b), Datum::Float(v)) => b.append_value(*v),
            (Inner::Decimal128(b, s), Datum::Decimal(d)) => {
                b.append_value(decimal_to_i128(d, *s).ok_or_else(|| out_of_range("DECIMAL", value))?);
            }
            (Inner::Decimal256(b, s), Datum::Decimal(d)) => {
                b.append_value(decimal_to_i256(d, *s).ok_or_else(|| out_of_range("DECIMAL", value))?);
            }
            (Inner::Bytes(b), Datum::Bytes(v)) => append(b, v)?,
            (Inner::Time(b), Datum::Time(t)) => b.append_value(t.to_packed()),
            (Inner::Duration(b), Datum::Duration(d)) => b.append_value(d.to_nanos()),
            (Inner::Json(b), Datum::Json(j)) => {
                let mut bytes = Vec::new();
                j.encode(&mut bytes);
                append(b, &bytes)?;
            }
            _ => {
                return Err(EvalError::Mismatch { expected: self.ty.declaration(), found: format!("{value:?}") });
            }
        }
        Ok(())
    }

    /// Adds a string without a [`Datum`]; refused by columns that hold none.
    pub fn push_bytes(&mut self, value: &[u8]) -> Result<()> {
        match &mut self.inner {
            Inner::Bytes(b) => append(b, value)?,
            _ => return Err(EvalError::Mismatch { expected: self.ty.declaration(), found: "a string".into() }),
        }
        Ok(())
    }

    /// Adds the raw number of an integer, time (packed) or duration (nanoseconds); refused by other columns.
    pub fn push_raw_i64(&mut self, value: i64) -> Result<()> {
        match &mut self.inner {
            Inner::Int(b) | Inner::Duration(b) => b.append_value(value),
            Inner::UInt(b) | Inner::Time(b) => b.append_value(value as u64),
            _ => return Err(EvalError::Mismatch { expected: self.ty.declaration(), found: "an integer".into() }),
        }
        Ok(())
    }

    /// Values so far.
    pub fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        match &self.inner {
            Inner::Int(b) | Inner::Duration(b) => b.len(),
            Inner::UInt(b) | Inner::Time(b) => b.len(),
            Inner::Real(b) => b.len(),
            Inner::Decimal128(b, _) => b.len(),
            Inner::Decimal256(b, _) => b.len(),
            Inner::Bytes(b) | Inner::Json(b) => b.len(),
        }
    }

    /// Whether there are no values yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the column.
    pub fn field_type(&self) -> &FieldType {
        &self.ty
    }

    /// The column; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.inner {
            Inner::Int(b) | Inner::Duration(b) => Arc::new(b.finish()),
            Inner::UInt(b) | Inner::Time(b) => Arc::new(b.finish()),
            Inner::Real(b) => Arc::new(b.finish()),
            Inner::Decimal128(b, _) => Arc::new(b.finish()),
            Inner::Decimal256(b, _) => Arc::new(b.finish()),
            Inner::Bytes(b) | Inner::Json(b) => Arc::new(b.finish()),
        }
    }
}

fn out_of_range(ty: &'static str, value: &Datum) -> EvalError {
    EvalError::OutOfRange { ty: ty.into(), expr: crate::value::display(value) }
}

/// Collects rows into a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    types: Arc<[FieldType]>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
}

impl BatchBuilder {
    /// No rows yet, room for `capacity`.
    pub fn new(types: Arc<[FieldType]>, capacity: usize) -> BatchBuilder {
        let columns = types.iter().map(|t| ColumnBuilder::new(t, capacity)).collect();
        BatchBuilder { types, columns, rows: 0 }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &[Datum]) -> Result<()> {
        if row.len() != self.columns.len() {
            let expected = format!("{} columns", self.columns.len());
            return Err(EvalError::Mismatch { expected, found: format!("{} columns", row.len()) });
        }
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The columns, to be filled one by one; call [`BatchBuilder::row_done`] after each row.
    pub fn columns_mut(&mut self) -> &mut [ColumnBuilder] {
        &mut self.columns
    }

    /// Counts a row whose values were pushed through [`BatchBuilder::columns_mut`].
    pub fn row_done(&mut self) {
        self.rows += 1;
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The batch; the builder is empty again.
    pub fn finish(&mut self) -> Batch {
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let rows = std::mem::take(&mut self.rows);
        Batch::new(self.types.clone(), columns, rows)
    }
}

/// The column that holds `value` `rows` times.
pub fn repeat(value: &Datum, ty: &FieldType, rows: usize) -> Result<ArrayRef> {
    let mut builder = ColumnBuilder::new(ty, rows);
    for _ in 0..rows {
        builder.push(value)?;
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> Arc<[FieldType]> {
        Arc::from([
            FieldType::bigint(),
            FieldType::decimal(12, 2),
            FieldType::decimal(65, 30),
            FieldType::varchar(10),
            FieldType::datetime(3),
            FieldType::new(TypeCode::Duration),
            FieldType::bigint_unsigned(),
            FieldType::double(),
        ])
    }

    fn row(n: i64) -> Vec<Datum> {
        vec![
            Datum::Int(n),
            Datum::Decimal(format!("{n}.25").parse().unwrap()),
            Datum::Decimal("12345678901234567890123456789012345.000000000000000000000000000001".parse().unwrap()),
            Datum::string(format!("row {n}")),
            Datum::Time(Time::parse("2024-01-31 10:20:30.123", TimeKind::DateTime, 3).unwrap().value),
            Datum::Duration(Duration::from_nanos(-1_000_000_000, 0)),
            Datum::UInt(u64::MAX),
            Datum::Float(0.5),
        ]
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let rows = vec![row(1), vec![Datum::Null; 8], row(3)];
        let batch = Batch::from_rows(types(), &rows).unwrap();
        assert_eq!(batch.rows().collect::<Vec<_>>(), rows);
        let taken = batch.take(&UInt32Array::from(vec![2, 0, 2])).unwrap();
        assert_eq!(taken.rows().collect::<Vec<_>>(), [row(3), row(1), row(3)]);
        let kept = batch.filter(&BooleanArray::from(vec![Some(true), None, Some(false)])).unwrap();
        assert_eq!(kept.rows().collect::<Vec<_>>(), [row(1)]);
        let all = Batch::concat(batch.types(), &[batch.clone(), taken.slice(1, 1)]).unwrap();
        assert_eq!(all.num_rows(), 4);
        assert_eq!(all.row(3), row(1));
        assert_eq!(all.project(&[3]).row(0), [Datum::from("row 1")]);
        let woven = Batch::interleave(batch.types(), &[batch.clone(), all], &[(1, 3), (0, 1), (0, 0)]).unwrap();
        assert_eq!(woven.rows().collect::<Vec<_>>(), [row(1), vec![Datum::Null; 8], row(1)]);
    }

    #[test]
    fn values_of_another_kind_are_refused() {
        let one = Arc::from([FieldType::bigint()]);
        assert!(Batch::from_rows(one, &[[Datum::from("x")]]).is_err());
        let small: Arc<[FieldType]> = Arc::from([FieldType::bigint()]);
        assert!(Batch::from_rows(small, &[[Datum::UInt(u64::MAX)]]).is_err());
    }
}
