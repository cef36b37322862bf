//! Kernels of expressions over batches of 1,024 rows, each also row by row, which is what the vectorised one has to beat.
//!
//! `cargo bench -p query`; compare only what one run measured.

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{Collation, FieldType};
use divan::Bencher;
use query::batch::Batch;
use query::context::{EvalContext, TimeZone, sql_mode};
use query::eval::{eval, eval_by_row};
use query::expr::{ArithOp, CmpOp, Expr};
use query::infer;

fn main() {
    divan::main();
}

const ROWS: i64 = 1024;

fn columns() -> [FieldType; 4] {
    [
        FieldType::bigint(),
        FieldType::decimal(10, 2),
        FieldType::varchar(20).with_collation(Collation::UTF8MB4_BIN),
        FieldType::varchar(20).with_collation(Collation::UTF8MB4_GENERAL_CI),
    ]
}

fn batch() -> Batch {
    let rows: Vec<Vec<Datum>> = (0..ROWS)
        .map(|n| {
            let number = format!("{}.{:02}", n * 7 % 1000, n % 100).parse().expect("a decimal");
            let text = format!("Name {}", n * 31 % 997);
            vec![Datum::Int(n), Datum::Decimal(number), Datum::string(text.as_str()), Datum::string(text.as_str())]
        })
        .collect();
    Batch::from_rows(Arc::from(columns()), &rows).expect("a batch")
}

fn column(at: usize) -> Expr {
    Expr::column(at, columns()[at].clone())
}

fn expression(name: &str) -> Expr {
    let int = |n| Expr::constant(Datum::Int(n));
    let text = |s| Expr::constant(Datum::string(s));
    let made = match name {
        "integer + 1" => infer::arith(ArithOp::Add, column(0), int(1)),
        "integer > 500" => infer::compare(CmpOp::Gt, column(0), int(500)),
        "decimal * decimal" => infer::arith(ArithOp::Mul, column(1), column(1)),
        "binary text = x" => infer::compare(CmpOp::Eq, column(2), text("Name 31")),
        "general_ci text = x" => infer::compare(CmpOp::Eq, column(3), text("name 31")),
        "text LIKE 'x%'" => infer::like(column(2), text("Name 1%"), None),
        other => unreachable!("{other}"),
    };
    made.expect("an expression")
}

const NAMES: &[&str] =
    &["integer + 1", "integer > 500", "decimal * decimal", "binary text = x", "general_ci text = x", "text LIKE 'x%'"];

fn context() -> EvalContext {
    EvalContext::for_select(sql_mode::DEFAULT, TimeZone::UTC, 1_700_000_000_000_000)
}

#[divan::bench(args = NAMES)]
fn batches(bencher: Bencher<'_, '_>, name: &str) {
    let (expression, batch, mut cx) = (expression(name), batch(), context());
    bencher.bench_local(|| eval(&expression, &batch, &mut cx).expect("a column"));
}

#[divan::bench(args = NAMES)]
fn rows(bencher: Bencher<'_, '_>, name: &str) {
    let (expression, batch, mut cx) = (expression(name), batch(), context());
    bencher.bench_local(|| eval_by_row(&expression, &batch, &mut cx).expect("a column"));
}
