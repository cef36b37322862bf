//! `information_schema` and `performance_schema`: tables that the server computes when they are read.
//!
//! [`sql_catalog::virtual_tables`] defines them; the executor scans their rows instead of the storage. [`catalog`]
//! fills in what the schema knows, [`cluster`] what PD and the other servers know, [`settings`] what the session and this
//! server know. SHOW takes the same rows.
//!
//! Tables of things that do not exist here (routines, triggers, events, plugins, foreign keys) are there and
//! empty, because tools ask for them.

mod catalog;
mod cluster;
mod settings;

use async_trait::async_trait;
use codec::datum::Datum;
use sql_base::SqlError;
use sql_catalog::{TableInfo, TableKind};
use sql_context::{VirtualRead, VirtualRows, time_zone};

pub(crate) use catalog::{
    bit_text, character_sets, collations, columns, engines, key_parts, keys, schemata, security, tables,
};
pub(crate) use cluster::{analyze_status, boundary, jobs, processlist, region_rows, store_labels, time_of};
pub(crate) use settings::{global_variables, session_variables, status};

use crate::cluster::Server;

/// Rows of a table, each with a value for every column.
pub(crate) type Rows = Vec<Vec<Datum>>;

/// Text.
pub(crate) fn s(text: impl Into<String>) -> Datum {
    Datum::string(text)
}

#[async_trait]
impl VirtualRows for Server {
    async fn virtual_rows(&self, table: &TableInfo, read: VirtualRead<'_>) -> Result<Rows, SqlError> {
        let rows = rows(self, table, read).await?;
        assert!(rows.iter().all(|row| row.len() == table.columns.len()), "row width of {}", table.name);
        Ok(rows)
    }
}

async fn rows(server: &Server, table: &TableInfo, read: VirtualRead<'_>) -> Result<Rows, SqlError> {
    assert!(table.kind == TableKind::Memory, "table '{}' is stored, not computed", table.name);
    let schema = read.schema;
    Ok(match table.name.lower.as_str() {
        "schemata" => catalog::schemata(schema),
        "tables" => catalog::tables(server, &catalog::listed(schema), read.columns).await?,
        "columns" => catalog::all_columns(schema, &time_zone(read.session)),
        "views" => catalog::views(schema),
        "statistics" => catalog::statistics(schema, &server.domain()?.statistics().current()),
        "partitions" => catalog::partitions(schema, &server.domain()?.statistics().current()),
        "key_column_usage" => catalog::key_column_usage(schema),
        "table_constraints" => catalog::table_constraints(schema),
        "check_constraints" => catalog::check_constraints(schema),
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
        "analyze_status" => cluster::analyze_status(server).await?,
        "tidb" => cluster::cluster_variables(server).await?,
        "global_variables" => settings::global_variables(server),
        "session_variables" => settings::session_variables(server, read.session),
        "global_status" | "session_status" => settings::status(server),
        _ => Vec::new(),
    })
}
