//! The first rows of an order.

use std::collections::BinaryHeap;
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;

use super::sort::{SortKey, sort_keys};
use crate::batch::{Batch, BatchBuilder};
use crate::context::EvalContext;
use crate::error::Result;

/// The first rows of an order, without sorting the rest.
#[derive(Debug)]
pub struct TopN {
    keys: Vec<SortKey>,
    limit: usize,
    types: Arc<[FieldType]>,
    /// Largest on top. The sequence number keeps rows of equal keys in the order they came.
    heap: BinaryHeap<(Vec<u8>, u64, Row)>,
    seen: u64,
}

/// A row that takes no part in comparisons: the sequence number before it is unique.
#[derive(Debug)]
struct Row(Vec<Datum>);

impl PartialEq for Row {
    fn eq(&self, _: &Row) -> bool {
        true
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Row) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, _: &Row) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl TopN {
    /// The first `limit` rows by these keys, of rows of these types.
    pub fn new(keys: Vec<SortKey>, limit: usize, types: Arc<[FieldType]>) -> TopN {
        TopN { keys, limit, types, heap: BinaryHeap::new(), seen: 0 }
    }

    /// Takes in rows.
    pub fn push(&mut self, batch: &Batch, ctx: &mut EvalContext) -> Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        for (row, key) in sort_keys(&self.keys, batch, ctx)?.into_iter().enumerate() {
            self.seen += 1;
            if self.heap.len() == self.limit {
                match self.heap.peek() {
                    Some((worst, ..)) if key < *worst => {
                        self.heap.pop();
                    }
                    _ => continue,
                }
            }
            self.heap.push((key, self.seen, Row(batch.row(row))));
        }
        Ok(())
    }

    /// The rows in order.
    pub fn finish(self) -> Result<Batch> {
        let rows = self.heap.into_sorted_vec();
        let mut builder = BatchBuilder::new(self.types, rows.len());
        for (_, _, row) in rows {
            builder.push(&row.0)?;
        }
        Ok(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;

    #[test]
    fn topn_is_the_head_of_a_stable_sort() {
        let types: Arc<[FieldType]> = Arc::from([FieldType::bigint(), FieldType::varchar(5)]);
        let row = |n: Option<i64>, s: &str| vec![n.map_or(Datum::Null, Datum::Int), Datum::from(s)];
        let rows = vec![row(Some(3), "x"), row(None, "n"), row(Some(1), "y"), row(Some(3), "z"), row(Some(2), "a")];
        let batch = Batch::from_rows(types.clone(), &rows).unwrap();
        let key = |desc| SortKey { expr: Expr::column(0, types[0].clone()), desc };
        for (desc, limit, want) in [(false, 3, "nya"), (true, 3, "xza"), (true, 10, "xzayn"), (false, 0, "")] {
            let mut top = TopN::new(vec![key(desc)], limit, types.clone());
            top.push(&batch.slice(0, 2), &mut EvalContext::default()).unwrap();
            top.push(&batch.slice(2, 3), &mut EvalContext::default()).unwrap();
            let got: String = top.finish().unwrap().rows().map(|r| crate::value::display(&r[1])).collect();
            assert_eq!(got, want, "desc {desc} limit {limit}");
        }
    }
}
