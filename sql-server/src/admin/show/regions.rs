//! `SHOW TABLE … REGIONS`, with TiDB's columns.

use codec::datum::Datum;
use codec::table::PhysicalTableId;
use sql_base::SqlError;
use sql_catalog::{Schema, TableInfo, row};
use sql_ddl::placement::{rules, settings};

use crate::admin::infoschema::{Rows, boundary, region_rows, s};
use crate::cluster::Server;

pub(super) async fn table_regions(
    server: &Server,
    schema: &Schema,
    table: &TableInfo,
    index: Option<&str>,
) -> Result<Rows, SqlError> {
    let mut rows = Vec::new();
    for at in table.physical_ids() {
        add_regions(server, schema, table, at, index, &mut rows).await?;
    }
    Ok(rows)
}

/// Those of a table without partitions, or of one partition.
async fn add_regions(
    server: &Server,
    schema: &Schema,
    table: &TableInfo,
    at: PhysicalTableId,
    index: Option<&str>,
    rows: &mut Rows,
) -> Result<(), SqlError> {
    let (start, end) = match index {
        None => codec::table::table_range(at),
        // Rows that are kept by their number have no entries of a primary key: they are them.
        Some(name) if table.index(name).is_none() && table.has_key(name) => codec::table::record_range(at),
        Some(name) => {
            let missing = || SqlError::NoSuchKey { key: name.to_owned(), table: table.name.original.clone() };
            row::entries_range(table, at, table.index(name).ok_or_else(missing)?)
        }
    };
    let domain = server.domain()?;
    let policy = table.policy_of(at).and_then(|policy| schema.policy_by_id(policy.id));
    let constraints = policy.map_or(String::new(), |policy| settings::render(&policy.settings));
    let regions = region_rows(domain.pd(), &rules::hex_key(&start), &rules::hex_key(&end)).await?;
    for region in regions {
        let state = match policy {
            Some(_) => s(domain.pd().replicated(&region.start_key, &region.end_key).await?.as_str()),
            None => s(""),
        };
        let int = |value: u64| Datum::Int(i64::try_from(value).unwrap_or(i64::MAX));
        let peers: Vec<_> = region.peers.iter().map(|peer| peer.id.to_string()).collect();
        rows.push(vec![
            int(region.id),
            s(boundary(&region.start_key)),
            s(boundary(&region.end_key)),
            int(region.leader.id),
            int(region.leader.store_id),
            s(peers.join(", ")),
            Datum::Int(0),
            int(region.written_bytes),
            int(region.read_bytes),
            int(region.approximate_size),
            int(region.approximate_keys),
            s(constraints.as_str()),
            state,
        ]);
    }
    Ok(())
}
