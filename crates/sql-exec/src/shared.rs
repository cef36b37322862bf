//! Rows of a CTE that is named more than once: computed for the first who asks, and read by all.
//!
//! They are kept until the statement ends, in memory as long as there is some, the others in a file.

use std::sync::Arc;

use async_trait::async_trait;
use codec::types::FieldType;
use query::batch::Batch;
use sql_base::SqlError;

use crate::runtime::{Build, Collected, Definition, Operator, Runtime};
use crate::spill::SpillReader;

/// Builds the operator that reads one; `build` makes those that compute it.
pub(crate) fn build(
    definition: Arc<Definition>,
    types: Arc<[FieldType]>,
    build: Build,
    rt: &Arc<Runtime>,
) -> Box<dyn Operator> {
    Box::new(SharedScan { definition, types, build, next: 0, file: None, rt: rt.clone() })
}

struct SharedScan {
    definition: Arc<Definition>,
    types: Arc<[FieldType]>,
    build: Build,
    /// The batch that comes next.
    next: usize,
    /// What follows those that are in memory.
    file: Option<SpillReader>,
    rt: Arc<Runtime>,
}

async fn collect(definition: &Definition, build: Build, rt: &Arc<Runtime>) -> Result<Collected, SqlError> {
    let mut input = build(&definition.plan, definition.at, rt)?;
    let mut held = rt.held_by(definition.at);
    let (mut batches, mut file) = (Vec::new(), None);
    while let Some(batch) = input.next().await? {
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
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        self.rt.pause().await?;
        let SharedScan { definition, build, next, file, rt, .. } = self;
        let rows = definition.rows.get_or_try_init(|| collect(definition, *build, rt)).await?;
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
