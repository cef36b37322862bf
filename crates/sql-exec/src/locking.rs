//! Rows of a scan under a lock clause: those that go on are remembered, to be locked when the statement has read all.
//!
//! With `SKIP LOCKED` rows that others are known to have are left out, before a limit counts them. Which those are, the
//! statement learns when it tries to lock what it has read: it reads again without them, until it gets all that it has read
//! ([`crate::select`]).

use arrow_array::UInt32Array;
use async_trait::async_trait;
use codec::table::{Handle, PhysicalTableId, record_key};
use query::batch::Batch;
use sql_base::SqlError;
use sql_planner::plan::{Lock, Scan};

use crate::runtime::Runtime;
use crate::stream::Operator;

/// Builds the operator over the rows of a scan that has the clause.
pub(crate) fn build(input: Box<dyn Operator>, scan: &Scan, lock: Lock) -> Box<dyn Operator> {
    let left = scan.pushed.limit.unwrap_or(u64::MAX);
    Box::new(Locking { input, table: scan.physical, column: scan.columns.len(), lock, left })
}

struct Locking {
    input: Box<dyn Operator>,
    table: PhysicalTableId,
    /// The column that is the row's handle.
    column: usize,
    lock: Lock,
    /// Rows that are wanted at most.
    left: u64,
}

#[async_trait]
impl Operator for Locking {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        while self.left > 0 {
            let Some(batch) = self.input.next(rt).await? else { return Ok(None) };
            let (mut rows, mut keys) = (Vec::new(), Vec::new());
            for row in 0..batch.num_rows() {
                if rows.len() as u64 >= self.left {
                    break;
                }
                let Some(handle) = Handle::from_datum(batch.datum(row, self.column)) else { continue };
                let key = record_key(self.table, &handle);
                if !rt.is_taken(&key) {
                    rows.push(row as u32);
                    keys.push(key);
                }
            }
            self.left -= rows.len() as u64;
            rt.add_locks(self.lock, keys);
            if !rows.is_empty() {
                return Ok(Some(if rows.len() < batch.num_rows() {
                    batch.take(&UInt32Array::from(rows))?
                } else {
                    batch
                }));
            }
        }
        Ok(None)
    }
}
