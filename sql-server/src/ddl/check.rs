//! ADMIN CHECK TABLE and ADMIN CHECK INDEX.

use super::domain::Domain;
use crate::catalog::TableInfo;
use crate::error::SqlError;

/// Compares the rows of a table with one index, or with all.
pub(super) async fn check_table(_domain: &Domain, _table: &TableInfo, _only: Option<&str>) -> Result<(), SqlError> {
    Err(SqlError::NotSupported("ADMIN CHECK without the executor".into()))
}
