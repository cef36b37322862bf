//! Filling a new index with the rows that were there before it.

use super::domain::Domain;
use super::job::Job;
use crate::catalog::TableInfo;
use crate::error::SqlError;

/// Fills the index that a job adds.
pub(super) async fn fill(_domain: &Domain, _job: &Job, _table: &TableInfo) -> Result<(), SqlError> {
    Err(SqlError::NotSupported("ADD INDEX without the executor".into()))
}
