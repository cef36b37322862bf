//! The row codec: a row as sysbench's tables have them, and one of twenty small columns.
//!
//! `cargo bench -p codec`; compare only what one run measured.

use codec::datum::Datum;
use codec::row::{RowColumn, RowDecoder, encode_row_v2};
use codec::table::Handle;
use codec::types::{FieldType, TypeCode};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

type Columns = Vec<(i64, Datum, FieldType)>;

/// `k INT, c CHAR(120), pad CHAR(60)`.
fn sysbench() -> Columns {
    vec![
        (2, Datum::Int(24_987), FieldType::new(TypeCode::Long)),
        (3, Datum::string("0123456789-".repeat(11).as_str()), FieldType::varchar(120)),
        (4, Datum::string("9876543210-".repeat(5).as_str()), FieldType::varchar(60)),
    ]
}

fn many() -> Columns {
    (0..20)
        .map(|id| match id % 3 {
            0 => (id, Datum::Int(id * 1_000), FieldType::bigint()),
            1 => (id, Datum::string("text"), FieldType::varchar(20)),
            _ => (id, Datum::Null, FieldType::bigint()),
        })
        .collect()
}

fn encoded(columns: &Columns) -> Vec<u8> {
    encode_row_v2(columns.iter().map(|(id, value, ty)| (*id, value, ty))).expect("a row")
}

#[divan::bench(args = ["sysbench", "many"])]
fn encode(bencher: Bencher<'_, '_>, which: &str) {
    let columns = if which == "many" { many() } else { sysbench() };
    bencher.bench(|| encoded(black_box(&columns)));
}

#[divan::bench(args = ["sysbench", "many"])]
fn decode(bencher: Bencher<'_, '_>, which: &str) {
    let columns = if which == "many" { many() } else { sysbench() };
    let row = encoded(&columns);
    let wanted =
        columns.iter().map(|(id, _, ty)| RowColumn { id: *id, ty: ty.clone(), in_key: None, default: Datum::Null });
    let decoder = RowDecoder::new(wanted.collect());
    bencher.bench(|| decoder.decode(black_box(&row), &Handle::Int(1)).expect("the row"));
}
