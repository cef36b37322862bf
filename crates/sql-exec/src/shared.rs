//! Rows of a CTE that is named more than once: computed for the first who asks, and read by all.
//!
//! They are kept until the statement ends, in memory as long as there is some, the others in a file.

use std::sync::Arc;

use async_trait::async_trait;
use codec::types::FieldType;
use query::batch::Batch;
use sql_base::SqlError;

use crate::runtime::{Collected, Definition, Runtime};
use crate::spill::SpillReader;
use crate::stream::{Build, Operator};

/// Builds the operator that reads one; `build` makes those that compute it.
pub(crate) fn build(number: usize, types: Arc<[FieldType]>, build: Build) -> Box<dyn Operator> {
    Box::new(SharedScan { number, types, build, next: 0, file: None })
}

struct SharedScan {
    number: usize,
    types: Arc<[FieldType]>,
    build: Build,
    /// The batch that comes next.
    next: usize,
    /// What follows those that are in memory.
    file: Option<SpillReader>,
}

async fn collect(definition: &Definition, build: Build, rt: &mut Runtime) -> Result<Collected, SqlError> {
    let mut input = build(&definition.plan, definition.at, rt)?;
    let mut held = rt.held_by(definition.at);
    let (mut batches, mut file) = (Vec::new(), None);
    while let Some(batch) = input.next(rt).await? {
        rt.pause().await?;
        if batch.is_empty() {
            continue;
        }
        if file.is_none() && held.grow_or_spill(batch.data_bytes())? {
            file = Some(rt.spill_of(definition.at).file(batch.types()).await?);
            held.shrink(batch.data_bytes());
        }
        match &mut file {
            Some(file) => file.append(&batch).await?,
            None => batches.push(batch),
        }
    }
    let rest = match file {
        Some(file) => Some(file.finish().await?),
        None => None,
    };
    Ok(Collected { batches, rest, _held: held })
}

#[async_trait]
impl Operator for SharedScan {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        rt.pause().await?;
        let SharedScan { number, build, next, file, .. } = self;
        let definition = rt.shared(*number)?.clone();
        let rows = match definition.rows {
            Some(rows) => rows,
            None => {
                let rows = Arc::new(collect(&definition, *build, rt).await?);
                rt.shared(*number)?.rows = Some(rows.clone());
                rows
            }
        };
        let batch = match (rows.batches.get(*next), &rows.rest) {
            (Some(batch), _) => {
                *next += 1;
                Some(batch.clone())
            }
            (None, Some(rest)) => {
                let reader = match file {
                    Some(reader) => reader,
                    None => file.insert(rest.read().await?),
                };
                reader.next().await?
            }
            (None, None) => None,
        };
        Ok(batch.map(|b| Batch::new(self.types.clone(), b.columns().to_vec(), b.num_rows())))
    }
}
