//! Bytes of a disk: keys, rows of both formats, datums and documents.

#![no_main]

use codec::types::{FieldType, TypeCode};
use codec::{datum, row, table};
use libfuzzer_sys::fuzz_target;

const TYPES: &[TypeCode] = &[
    TypeCode::LongLong,
    TypeCode::Double,
    TypeCode::NewDecimal,
    TypeCode::Varchar,
    TypeCode::Datetime,
    TypeCode::Duration,
    TypeCode::Enum,
    TypeCode::Set,
    TypeCode::Bit,
    TypeCode::Json,
];

fuzz_target!(|data: &[u8]| {
    let _ = table::decode_key(data);
    let _ = datum::decode_all(data);
    let Ok(read) = row::Row::new(data) else { return };
    for id in 0..8 {
        if let row::Cell::Value(cell) = read.get(id) {
            for tp in TYPES {
                let _ = row::decode_cell(cell, &FieldType::new(*tp));
            }
        }
    }
});
