//! Sort keys: bytes whose order is the order of the rows.

use arrow_array::ArrayRef;
use codec::datum;

use crate::batch::{Batch, datum_at};
use crate::context::EvalContext;
use crate::error::Result;
use crate::eval;
use crate::expr::Expr;

/// One key of an order; NULLs come first, last when descending.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// By what.
    pub expr: Expr,
    /// Largest first.
    pub desc: bool,
}

/// Bytes for each row whose order is the order of the keys.
pub fn sort_keys(keys: &[SortKey], batch: &Batch, ctx: &mut EvalContext) -> Result<Vec<Vec<u8>>> {
    let columns = keys.iter().map(|k| eval::eval(&k.expr, batch, ctx)).collect::<Result<Vec<ArrayRef>>>()?;
    let mut out = vec![Vec::new(); batch.num_rows()];
    for (key, column) in keys.iter().zip(&columns) {
        for (row, bytes) in out.iter_mut().enumerate() {
            let from = bytes.len();
            datum::encode_key(bytes, &datum_at(column, row, key.expr.ty()), Some(key.expr.ty()))?;
            if key.desc {
                // No encoded value is the beginning of another, so that turning all bits round turns the order round.
                bytes[from..].iter_mut().for_each(|b| *b = !*b);
            }
        }
    }
    Ok(out)
}
