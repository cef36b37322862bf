//! `information_schema`: tables that the server computes when they are read.
//!
//! [`sql_catalog::virtual_tables`] defines them; the executor scans their rows instead of the storage. [`catalog`]
//! fills in what the schema knows, [`cluster`] what PD and the other servers know.
//!
//! Tables of things that do not exist here (routines, triggers, events, partitions, foreign keys) are there and
//! empty, because tools ask for them.

mod catalog;
mod cluster;

use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::{Schema, TableInfo, TableKind};
use sql_context::VirtualRows;

use crate::cluster::Server;

#[async_trait]
impl VirtualRows for Server {
    async fn virtual_rows(
        &self,
        schema: &Arc<Schema>,
        table: &TableInfo,
        zone: &TimeZone,
    ) -> Result<Vec<Vec<Datum>>, SqlError> {
        rows(self, schema, table, zone).await
    }
}

/// The rows of a computed table, each with a value for every column in order.
async fn rows(
    server: &Server,
    schema: &Arc<Schema>,
    table: &TableInfo,
    zone: &TimeZone,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    assert!(table.kind == TableKind::Memory, "table '{}' is stored, not computed", table.name);
    let rows = match table.name.lower.as_str() {
        "schemata" => catalog::schemata(schema),
        "tables" => catalog::tables(server, schema).await?,
        "columns" => catalog::columns(schema, zone),
        "views" => catalog::views(schema),
        "statistics" => catalog::statistics(schema, &server.domain()?.statistics().current()),
        "key_column_usage" => catalog::key_column_usage(schema),
        "table_constraints" => catalog::table_constraints(schema),
        "tidb_indexes" => catalog::tidb_indexes(schema),
        "engines" => catalog::engines(),
        "character_sets" => catalog::character_sets(),
        "collations" => catalog::collations(),
        "collation_character_set_applicability" => catalog::collation_character_sets(),
        "placement_policies" => catalog::placement_policies(schema),
        "schema_privileges" | "user_privileges" => catalog::user_privileges(&table.name.lower),
        "processlist" => cluster::processlist(server),
        "slow_query" => cluster::slow_queries(server),
        "statements_summary" => cluster::statements_summary(server),
        "tikv_store_status" => cluster::store_status(server).await?,
        "tikv_region_status" => cluster::region_status(server, schema).await?,
        "tikv_region_peers" => cluster::region_peers(server).await?,
        "cluster_info" => cluster::cluster_info(server).await?,
        "tidb_servers_info" => cluster::servers_info(server).await?,
        "ddl_jobs" => cluster::ddl_jobs(server).await?,
        "tidb" => cluster::cluster_variables(server).await?,
        _ => Vec::new(),
    };
    assert!(rows.iter().all(|row| row.len() == table.columns.len()), "row width of {}", table.name);
    Ok(rows)
}

pub(crate) use catalog::{bit_text, cardinality, column_default, column_extra, column_key, keys, size};
pub(crate) use cluster::{boundary, region_rows, store_labels, time_of};
