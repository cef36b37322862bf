//! The right side of a merge join: rows that come in the order of the keys, as the left side's do.
//!
//! ```text
//!   left   1 1 2 | 5 7 7          a batch of left rows, from its first key to its last
//!   right  0 1 1 1 2 4 | 7 8      are passed over (0, 4) or taken (1, 2) until a key is beyond: 7 waits for the next
//! ```
//!
//! What is taken is the table in which the batch's rows are looked up, so that both joins pair rows in one way. It holds the
//! rows of no more keys than a batch has, and of fewer where they would be too many: then the batch is cut after the last key
//! of which all rows are there. So the right rows of one key have to fit; more end with 8175. Those of a batch's last key are
//! kept, for the next batch may begin with it.
//!
//! An input that is out of order is an error, never a wrong answer.

use query::batch::Batch;
use query::expr::Expr;
use sql_base::SqlError;
use sql_base::memory::Held;

use super::Table;
use crate::keys::{key_columns, row_key};
use crate::runtime::Runtime;
use crate::stream::Operator;

/// The keys of a batch's rows; none for a row that matches nothing.
type Keys = Vec<Option<Vec<u8>>>;

pub(crate) struct Sorted {
    input: Box<dyn Operator>,
    /// The batch that is being read, its keys, and the next of its rows.
    current: Option<(Batch, Keys, usize)>,
    /// The last key that was taken, and its rows.
    kept: Option<(Vec<u8>, Vec<Batch>)>,
    /// The last keys that were seen of either side.
    last_left: Vec<u8>,
    last_right: Vec<u8>,
}

fn in_order(last: &mut Vec<u8>, keys: &Keys) -> Result<(), SqlError> {
    for key in keys.iter().flatten() {
        if *key < *last {
            return Err(SqlError::internal("merge join", "rows that are not in the order of their keys"));
        }
        if *key > *last {
            last.clone_from(key);
        }
    }
    Ok(())
}

fn keys_of(exprs: &[Expr], batch: &Batch, rt: &mut Runtime) -> Result<Keys, SqlError> {
    let columns = key_columns(exprs, batch, rt)?;
    (0..batch.num_rows()).map(|row| row_key(&columns, row, false)).collect()
}

impl Sorted {
    pub(crate) fn new(input: Box<dyn Operator>) -> Sorted {
        Sorted { input, current: None, kept: None, last_left: Vec::new(), last_right: Vec::new() }
    }

    /// Makes a batch, with rows, the one that is being read; false at the end.
    async fn read(&mut self, exprs: &[Expr], rt: &mut Runtime) -> Result<bool, SqlError> {
        while self.current.as_ref().is_none_or(|(batch, _, row)| *row >= batch.num_rows()) {
            rt.pause().await?;
            let Some(batch) = self.input.next(rt).await? else {
                self.current = None;
                return Ok(false);
            };
            let keys = keys_of(exprs, &batch, rt)?;
            in_order(&mut self.last_right, &keys)?;
            self.current = Some((batch, keys, 0));
        }
        Ok(true)
    }

    /// The table of the rows that match the first left rows, and how many of those: at least one.
    pub(super) async fn table_for(
        &mut self,
        left: &Batch,
        (left_keys, right_keys): (&[Expr], &[Expr]),
        held: &mut Held,
        rt: &mut Runtime,
    ) -> Result<(Table, usize), SqlError> {
        held.clear();
        let mut table = Table::new();
        let wanted = keys_of(left_keys, left, rt)?;
        let mut seen = std::mem::take(&mut self.last_left);
        in_order(&mut seen, &wanted)?;
        // The next left row whose rows are to be found.
        let mut at = wanted.iter().position(Option::is_some).unwrap_or(wanted.len());
        if let Some(key) = wanted.get(at)
            && let Some((kept, rows)) = &self.kept
            && key.as_ref() == Some(kept)
        {
            for batch in rows {
                held.grow(table.add(batch.clone(), right_keys, rt)?)?;
            }
        }
        let mut cut = wanted.len();
        'rows: while at < wanted.len() && self.read(right_keys, rt).await? {
            let Some((batch, keys, row)) = &mut self.current else { break };
            let from = *row;
            let mut taken: Vec<u32> = Vec::new();
            let mut done = false;
            // Where in `taken` the rows of the last key begin.
            let mut last = 0;
            while *row < keys.len() {
                let Some(key) = &keys[*row] else {
                    *row += 1;
                    continue;
                };
                while wanted.get(at).is_some_and(|w| w.as_ref().is_none_or(|w| w < key)) {
                    at += 1;
                }
                let Some(Some(next)) = wanted.get(at) else {
                    done = true;
                    break;
                };
                if next == key {
                    if self.kept.as_ref().is_none_or(|(kept, _)| kept != key) {
                        self.kept = Some((key.clone(), Vec::new()));
                        last = taken.len();
                    }
                    taken.push(*row as u32);
                }
                *row += 1;
            }
            debug_assert!(*row > from || done);
            let mut short = false;
            if !taken.is_empty() {
                if let Some((_, rows)) = &mut self.kept
                    && last < taken.len()
                {
                    rows.push(batch.take(&taken[last..].to_vec().into())?);
                }
                let added = table.add(batch.take(&taken.into())?, right_keys, rt)?;
                short = held.grow_or_spill(added)?;
            }
            if done {
                break 'rows;
            }
            if short {
                // All rows of keys before the one that is being read are there.
                let of_last = |w: &Option<Vec<u8>>| w.as_ref() >= self.kept.as_ref().map(|(key, _)| key);
                let complete = wanted.iter().position(of_last).unwrap_or(wanted.len());
                if complete > 0 {
                    cut = complete;
                    break 'rows;
                }
                // One key has them all.
                held.grow(0)?;
            }
        }
        if let Some(key) = wanted[..cut].iter().rev().flatten().next() {
            seen.clone_from(key);
        }
        self.last_left = seen;
        Ok((table, cut))
    }
}
