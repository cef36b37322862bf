//! Each row once: rows go on when they are first seen. Where there is no memory for more keys, rows with other keys go to
//! disk, and are looked at when the input has ended and the keys are forgotten.

use std::sync::Arc;

use arrow_array::UInt32Array;
use async_trait::async_trait;
use codec::types::FieldType;
use hashbrown::HashSet;
use query::batch::Batch;
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::plan::NodeId;

use crate::keys::row_key;
use crate::runtime::Runtime;
use crate::spill::{DEPTH_MAX, Parts, Spill, Spilled};
use crate::stream::{Operator, Source};

/// What a key takes beside its bytes.
pub(crate) const KEY_BYTES: usize = 48;

/// Builds the operator.
pub(crate) fn build(
    input: Box<dyn Operator>,
    types: Arc<[FieldType]>,
    at: NodeId,
    rt: &mut Runtime,
) -> Box<dyn Operator> {
    Box::new(Distinct {
        source: Source::Operator(input),
        depth: 0,
        types,
        seen: HashSet::new(),
        others: None,
        later: Vec::new(),
        held: rt.held_by(at),
        spill: rt.spill_of(at),
    })
}

struct Distinct {
    source: Source,
    /// How often its rows have been split.
    depth: u32,
    types: Arc<[FieldType]>,
    seen: HashSet<Vec<u8>>,
    /// Where rows go whose keys there is no memory for.
    others: Option<Parts>,
    /// Files that wait, with how often their rows have been split.
    later: Vec<(u32, Spilled)>,
    held: Held,
    spill: Spill,
}

impl Distinct {
    /// The rows of a batch that are seen for the first time.
    async fn first_seen(&mut self, batch: &Batch) -> Result<Vec<u32>, SqlError> {
        let columns: Vec<_> = batch.columns().iter().cloned().zip(self.types.iter().cloned()).collect();
        let (mut new, mut other) = (Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            let key = row_key(&columns, row, true)?.unwrap_or_default();
            if self.seen.contains(&key) {
                continue;
            }
            if let Some(parts) = &self.others {
                other.push((row as u32, parts.of(&key)));
                continue;
            }
            let bytes = key.len() + KEY_BYTES;
            self.seen.insert(key);
            new.push(row as u32);
            let full = match self.depth < DEPTH_MAX {
                true => self.held.grow_or_spill(bytes)?,
                false => self.held.grow(bytes).map(|()| false)?,
            };
            if full {
                self.others = Some(self.spill.parts(&self.types, self.depth));
            }
        }
        if let Some(parts) = &mut self.others {
            parts.add(batch, &other).await?;
        }
        Ok(new)
    }
}

#[async_trait]
impl Operator for Distinct {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            rt.pause().await?;
            if let Some(batch) = self.source.next(rt).await? {
                let new = self.first_seen(&batch).await?;
                if !new.is_empty() {
                    return Ok(Some(batch.take(&UInt32Array::from(new))?));
                }
                continue;
            }
            self.seen = HashSet::new();
            self.held.clear();
            if let Some(parts) = self.others.take() {
                let files = parts.finish().await?.into_iter().flatten();
                self.later.extend(files.map(|file| (self.depth + 1, file)));
            }
            let Some((depth, file)) = self.later.pop() else {
                self.source = Source::Nothing;
                return Ok(None);
            };
            (self.source, self.depth) = (Source::File(file.read().await?), depth);
        }
    }
}
