//! What an operator is: it gives batches of rows until it has no more.

use async_trait::async_trait;
use query::batch::Batch;
use sql_base::SqlError;

use crate::runtime::Runtime;

/// Gives batches until it has no more. Batches may be empty. What it needs of its statement comes with each call.
#[async_trait]
pub trait Operator: Send {
    /// The next rows.
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError>;
}

/// Batches that are there already.
pub struct Fixed {
    batches: std::vec::IntoIter<Batch>,
}

impl Fixed {
    /// These batches.
    pub fn new(batches: Vec<Batch>) -> Fixed {
        Fixed { batches: batches.into_iter() }
    }
}

#[async_trait]
impl Operator for Fixed {
    async fn next(&mut self, _: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        Ok(self.batches.next())
    }
}
