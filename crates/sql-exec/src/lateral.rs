//! Derived tables that read columns of those before them: `FROM t, LATERAL (SELECT … WHERE s.a = t.a) AS x`.
//!
//! For each row of the left, its values become those of the parameters of the right's plan, which is then run: its scans
//! read the keys that they give. Rows that are next to each other and give the same values share an answer.
//!
//! Not here: which rows of the right are wanted, since conditions of the join are in its plan.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use codec::types::FieldType;
use query::batch::{Batch, BatchBuilder};
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::plan::{ColId, NodeId, Plan, add_params};

use crate::runtime::{Runtime, Value};
use crate::stream::{Build, Operator};

/// Rows of a batch that is given.
const BATCH_ROWS: usize = 1024;

/// Builds the operator, of the left, its columns, and the plan of the right with its number; `build` makes the right's operators.
pub(crate) fn build(
    (left, ids, mut right, right_at): (Box<dyn Operator>, Vec<ColId>, Plan, NodeId),
    outer: bool,
    at: NodeId,
    build: Build,
    types: Arc<[FieldType]>,
    rt: &mut Runtime,
) -> Box<dyn Operator> {
    let mut read = HashSet::new();
    right.each_expr(&mut |e| add_params(e, &mut read));
    let used = (0..ids.len()).filter(|i| read.contains(&ids[*i])).collect();
    Box::new(Lateral {
        left,
        used,
        ids,
        right,
        right_at,
        outer,
        build,
        types,
        current: None,
        pending: Vec::new(),
        last: None,
        held: rt.held_by(at),
    })
}

struct Lateral {
    left: Box<dyn Operator>,
    ids: Vec<ColId>,
    /// Positions of the left that the right reads.
    used: Vec<usize>,
    right: Plan,
    right_at: NodeId,
    outer: bool,
    build: Build,
    types: Arc<[FieldType]>,
    /// Rows of the left, and how many of them are done.
    current: Option<(Batch, usize)>,
    /// Rows of the right for the row of the left that is under way, from the last to the next.
    pending: Vec<Vec<Datum>>,
    /// What the right read last, and its rows.
    last: Option<(Vec<Datum>, Vec<Vec<Datum>>)>,
    /// Those rows.
    held: Held,
}

impl Lateral {
    /// The rows of the right for a row of the left.
    async fn rows(&mut self, row: &[Datum], rt: &mut Runtime) -> Result<Vec<Vec<Datum>>, SqlError> {
        let values: Vec<Datum> = self.used.iter().map(|i| row[*i].clone()).collect();
        if let Some((known, rows)) = &self.last
            && *known == values
        {
            return Ok(rows.clone());
        }
        for i in &self.used {
            rt.set_param(self.ids[*i], Value::One(row[*i].clone()));
        }
        self.last = None;
        self.held.clear();
        let mut operator = (self.build)(&self.right, self.right_at, rt)?;
        let mut rows = Vec::new();
        while let Some(batch) = operator.next(rt).await? {
            rt.check_interrupted()?;
            self.held.grow(batch.data_bytes())?;
            rows.extend((0..batch.num_rows()).map(|r| batch.row(r)));
        }
        self.last = Some((values, rows.clone()));
        Ok(rows)
    }
}

#[async_trait]
impl Operator for Lateral {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let mut builder = BatchBuilder::new(self.types.clone(), BATCH_ROWS);
        let mut filled = 0;
        while filled < BATCH_ROWS {
            let (batch, at) = match self.current.take() {
                Some((batch, at)) if at < batch.num_rows() => (batch, at),
                _ => match self.left.next(rt).await? {
                    Some(batch) => {
                        self.current = Some((batch, 0));
                        continue;
                    }
                    None => break,
                },
            };
            rt.pause().await?;
            let row = batch.row(at);
            if self.pending.is_empty() {
                self.pending = self.rows(&row, rt).await?;
                if self.pending.is_empty() && self.outer {
                    self.pending.push(vec![Datum::Null; self.types.len() - row.len()]);
                }
                self.pending.reverse();
            }
            while filled < BATCH_ROWS
                && let Some(right) = self.pending.pop()
            {
                let mut both = row.clone();
                both.extend(right);
                builder.push(&both)?;
                filled += 1;
            }
            let done = usize::from(self.pending.is_empty());
            self.current = Some((batch, at + done));
        }
        Ok((filled > 0).then(|| builder.finish()))
    }
}
