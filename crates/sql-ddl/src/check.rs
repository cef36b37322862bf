//! ADMIN CHECK TABLE and ADMIN CHECK INDEX: every row has its entry in every index, and every entry its row.
//!
//! Both are read at one timestamp, in steps, so the check sees one state of the table while it goes on being written.

use std::collections::BTreeMap;
use std::fmt;

use codec::table::{Handle, PhysicalTableId};
use kv_client::Snapshot;
use sql_base::SqlError;
use sql_catalog::row;
use sql_catalog::{IndexInfo, TableInfo};

use super::domain::Domain;

/// Rows and entries that are held at a time.
const STEP: usize = 1024;

/// Compares the rows of a table with one index, or with all.
pub async fn check_table(domain: &Domain, table: &TableInfo, only: Option<&str>) -> Result<(), SqlError> {
    let kv = domain.kv();
    let snapshot = kv.snapshot(kv.timestamp().await?);
    let indexes: Vec<&IndexInfo> = match only {
        Some(name) => {
            let missing = || SqlError::NoSuchKey { key: name.to_owned(), table: table.name.original.clone() };
            vec![table.index(name).ok_or_else(missing)?]
        }
        None => table.public_indexes().collect(),
    };
    // Where the rows are the entries there is nothing to compare.
    let indexes: Vec<&IndexInfo> = indexes.into_iter().filter(|index| !table.is_clustered_by(index)).collect();
    for at in table.physical_ids() {
        let rows = rows_have_entries(&snapshot, table, at, &indexes).await?;
        for index in &indexes {
            let entries = entries_have_rows(&snapshot, table, at, index).await?;
            if entries != rows {
                let detail = format!("index has {entries} entries, table has {rows} rows");
                return Err(inconsistent(table, index, &0, detail));
            }
        }
    }
    Ok(())
}

fn inconsistent(table: &TableInfo, index: &IndexInfo, handle: &dyn fmt::Display, detail: String) -> SqlError {
    SqlError::DataInconsistent {
        table: table.name.original.clone(),
        index: index.name.original.clone(),
        handle: handle.to_string(),
        detail,
    }
}

fn damaged(error: codec::Error) -> SqlError {
    SqlError::internal("check a table", error)
}

/// How many rows there are in a table or partition; all of them belong there.
async fn rows_have_entries(
    snapshot: &Snapshot,
    table: &TableInfo,
    at: PhysicalTableId,
    indexes: &[&IndexInfo],
) -> Result<usize, SqlError> {
    let decoder = row::full_decoder(table);
    let (mut start, end) = codec::table::record_range(at);
    let mut count = 0;
    loop {
        let pairs = snapshot.scan(&start, &end, STEP, false, false).await?;
        let mut expected: BTreeMap<Vec<u8>, (Handle, usize, Vec<u8>)> = BTreeMap::new();
        for (key, value) in &pairs {
            let handle = codec::table::decode_handle(key).map_err(damaged)?;
            let row = decoder.decode(value, &handle).map_err(damaged)?;
            if table.partition_of(&row)? != at {
                return Err(SqlError::DataInconsistent {
                    table: table.name.original.clone(),
                    index: "partition".into(),
                    handle: handle.to_string(),
                    detail: "the row belongs to another partition".into(),
                });
            }
            for (number, index) in indexes.iter().enumerate() {
                let entry = row::index_entry(table, at, index, &row, &handle)?;
                expected.insert(entry.key, (handle.clone(), number, entry.value));
            }
        }
        let keys: Vec<_> = expected.keys().cloned().collect();
        let found = if keys.is_empty() { Vec::new() } else { snapshot.batch_get(&keys).await? };
        for ((handle, at, value), found) in expected.into_values().zip(found) {
            match found {
                Some(found) if found == value => {}
                Some(_) => {
                    return Err(inconsistent(
                        table,
                        indexes[at],
                        &handle,
                        "the entry of the row differs from it".into(),
                    ));
                }
                None => return Err(inconsistent(table, indexes[at], &handle, "the row has no entry".into())),
            }
        }
        count += pairs.len();
        match pairs.into_iter().last() {
            Some((mut last, _)) => {
                last.push(0);
                start = last;
            }
            None => return Ok(count),
        }
    }
}

/// How many entries there are.
async fn entries_have_rows(
    snapshot: &Snapshot,
    table: &TableInfo,
    at: PhysicalTableId,
    index: &IndexInfo,
) -> Result<usize, SqlError> {
    let (mut start, end) = row::entries_range(table, at, index);
    let mut count = 0;
    loop {
        let pairs = snapshot.scan(&start, &end, STEP, false, false).await?;
        let mut handles = Vec::with_capacity(pairs.len());
        for (key, value) in &pairs {
            let handle = codec::table::decode_entry_handle(key, value, index.columns.len(), table.is_common_handle);
            handles.push(handle.map_err(damaged)?);
        }
        let keys: Vec<_> = handles.iter().map(|handle| codec::table::record_key(at, handle)).collect();
        let found = if keys.is_empty() { Vec::new() } else { snapshot.batch_get(&keys).await? };
        for (handle, row) in handles.iter().zip(found) {
            if row.is_none() {
                return Err(inconsistent(table, index, handle, "the entry has no row".into()));
            }
        }
        count += pairs.len();
        match pairs.into_iter().last() {
            Some((mut last, _)) => {
                last.push(0);
                start = last;
            }
            None => return Ok(count),
        }
    }
}
