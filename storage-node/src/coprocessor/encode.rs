//! Rows as encoded datums (`TypeDefault`): each value with its flag, columns in order, rows one after another.

use std::sync::Arc;

use codec::datum::{self, Datum, flag};
use codec::types::{FieldType, TypeCode};
use codec::{bytes, number};
use proto::tipb;
use query::arrow_array::cast::AsArray;
use query::arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use query::arrow_array::{Array, ArrayRef};
use query::batch::{Batch, datum_at};
use query::context::TimeZone;
use query::types::Physical;

use super::CopError;

/// Most bytes of an answer. A client that wants more asks for pages.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Collects the answer.
pub(super) struct Output {
    offsets: Vec<usize>,
    chunks: Vec<tipb::Chunk>,
    rows: usize,
    bytes: usize,
    zone: Option<TimeZone>,
}

impl Output {
    /// An answer of these columns of the last executor's `types`; of all, when none are named. `zone` is the one that
    /// TIMESTAMP values are in, if not UTC.
    pub(super) fn new(offsets: &[u32], types: &Arc<[FieldType]>, zone: Option<TimeZone>) -> Result<Output, CopError> {
        let offsets: Vec<usize> = match offsets {
            [] => (0..types.len()).collect(),
            some => some.iter().map(|o| *o as usize).collect(),
        };
        if let Some(beyond) = offsets.iter().find(|o| **o >= types.len()) {
            return Err(CopError::Request(format!("output column {beyond} of {}", types.len())));
        }
        Ok(Output { offsets, chunks: Vec::new(), rows: 0, bytes: 0, zone })
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds rows.
    pub(super) fn push(&mut self, batch: &Batch) -> Result<(), CopError> {
        let columns: Vec<(&ArrayRef, &FieldType, Physical)> = self
            .offsets
            .iter()
            .map(|o| (batch.column(*o), &batch.types()[*o], Physical::of(&batch.types()[*o])))
            .collect();
        let mut data = Vec::with_capacity(batch.num_rows() * columns.len() * 12);
        for row in 0..batch.num_rows() {
            for (column, ty, physical) in &columns {
                encode_value(&mut data, column, row, ty, *physical, self.zone.as_ref())?;
            }
        }
        self.rows += batch.num_rows();
        self.bytes += data.len();
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(CopError::Request(format!("an answer of over {ANSWER_BYTES_MAX} bytes needs paging")));
        }
        self.chunks.push(tipb::Chunk { rows_data: data, rows_meta: Vec::new() });
        Ok(())
    }

    /// The answer.
    pub(super) fn finish(self) -> tipb::SelectResponse {
        tipb::SelectResponse {
            chunks: self.chunks,
            encode_type: tipb::EncodeType::TypeDefault.into(),
            output_counts: vec![self.rows as i64],
            ..Default::default()
        }
    }
}

/// Appends the value of a row as an encoded datum.
pub(super) fn encode_value(
    out: &mut Vec<u8>,
    column: &ArrayRef,
    row: usize,
    ty: &FieldType,
    physical: Physical,
    zone: Option<&TimeZone>,
) -> Result<(), CopError> {
    if column.is_null(row) {
        out.push(flag::NIL);
        return Ok(());
    }
    match physical {
        Physical::Int => {
            out.push(flag::VARINT);
            number::encode_varint(out, column.as_primitive::<Int64Type>().value(row));
        }
        Physical::UInt => {
            out.push(flag::UVARINT);
            number::encode_uvarint(out, column.as_primitive::<UInt64Type>().value(row));
        }
        Physical::Real => {
            out.push(flag::FLOAT);
            number::encode_f64(out, column.as_primitive::<Float64Type>().value(row));
        }
        Physical::Bytes => {
            out.push(flag::COMPACT_BYTES);
            bytes::encode_compact_bytes(out, column.as_binary::<i32>().value(row));
        }
        Physical::Time if zone.is_none() || ty.tp != TypeCode::Timestamp => {
            out.push(flag::UINT);
            number::encode_u64(out, column.as_primitive::<UInt64Type>().value(row));
        }
        _ => {
            let value = match (datum_at(column, row, ty), zone) {
                (Datum::Time(t), Some(zone)) if ty.tp == TypeCode::Timestamp => Datum::Time(zone.timestamp_to_utc(&t)),
                (Datum::Decimal(d), _) => {
                    // With the declared precision and scale where the value fits them.
                    out.push(flag::DECIMAL);
                    let from = out.len();
                    if datum::encode_decimal(out, &d, Some(ty)).is_ok() {
                        return Ok(());
                    }
                    out.truncate(from);
                    return datum::encode_decimal(out, &d, None).map_err(|e| CopError::Eval(e.into()));
                }
                (value, _) => value,
            };
            datum::encode_value(out, &value).map_err(|e| CopError::Eval(e.into()))?;
        }
    }
    Ok(())
}

/// The bytes of a row of a column of strings.
pub(super) fn bytes_at(column: &ArrayRef, row: usize) -> &[u8] {
    column.as_binary::<i32>().value(row)
}
