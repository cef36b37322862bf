//! The server, as far as statements need it.

use std::path::Path;
use std::sync::Arc;

use kv_client::Client;
use sql_base::SqlError;
use sql_base::memory::ServerMemory;
use sql_catalog::{AutoIds, Schema, SchemaCache, StatisticsCache};

use crate::vars::GlobalVars;

/// What a statement asks of the server that runs it. A server starts before its cluster can be reached: until then all
/// but the variables fail with the reason.
pub trait Services: Send + Sync {
    /// Global variables, as this server holds them.
    fn globals(&self) -> &GlobalVars;

    /// The key-value client.
    fn kv(&self) -> Result<Client, SqlError>;

    /// The schema, and the commits that depend on it.
    fn schemas(&self) -> Result<Arc<SchemaCache>, SqlError>;

    /// The allocators of AUTO_INCREMENT values and row numbers.
    fn auto_ids(&self) -> Result<Arc<AutoIds>, SqlError>;

    /// What is known of tables' values, and where changes of rows are counted.
    fn statistics(&self) -> Result<Arc<StatisticsCache>, SqlError>;

    /// What all statements of the server hold.
    fn memory(&self) -> &Arc<ServerMemory>;

    /// Where operators write what they have no memory for.
    fn temporary_directory(&self) -> &Path;

    /// The schema of now.
    fn schema(&self) -> Result<Arc<Schema>, SqlError> {
        Ok(self.schemas()?.current())
    }
}
