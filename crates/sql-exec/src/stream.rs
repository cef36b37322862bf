//! What an operator is: it gives batches of rows until it has no more.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use query::batch::Batch;
use sql_base::SqlError;
use sql_planner::plan::{NodeId, Plan};

use crate::measure::Meters;
use crate::runtime::Runtime;
use crate::spill::SpillReader;

/// Gives batches until it has no more. Batches may be empty. What it needs of its statement comes with each call.
#[async_trait]
pub trait Operator: Send {
    /// The next rows.
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError>;
}

/// Makes operators of a plan whose node has this number.
pub(crate) type Build = fn(&Plan, NodeId, &mut Runtime) -> Result<Box<dyn Operator>, SqlError>;

/// Batches that are there already.
pub(crate) struct Fixed {
    batches: std::vec::IntoIter<Batch>,
}

impl Fixed {
    /// These batches.
    pub(crate) fn new(batches: Vec<Batch>) -> Fixed {
        Fixed { batches: batches.into_iter() }
    }
}

#[async_trait]
impl Operator for Fixed {
    async fn next(&mut self, _: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        Ok(self.batches.next())
    }
}

/// Rows from an operator, or from a file.
pub(crate) enum Source {
    Operator(Box<dyn Operator>),
    File(SpillReader),
    Nothing,
}

impl Source {
    /// The next rows.
    pub(crate) async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        match self {
            Source::Operator(operator) => operator.next(rt).await,
            Source::File(reader) => reader.next().await,
            Source::Nothing => Ok(None),
        }
    }
}

/// An operator that is measured.
pub(crate) struct Measured {
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) at: NodeId,
}

#[async_trait]
impl Operator for Measured {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let began = Instant::now();
        let result = self.operator.next(rt).await;
        let rows = result.as_ref().ok().and_then(Option::as_ref).map_or(0, Batch::num_rows);
        self.meters.of(self.at).count(began, rows);
        result
    }
}
