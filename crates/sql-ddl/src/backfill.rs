//! Filling a new index with the rows that were there before it.
//!
//! When this runs every server writes entries for what it changes, so only rows nobody touches have to be filled in. A
//! batch locks its rows, reads them as of the locks, and adds what entries are missing: a row that is changed meanwhile
//! either waits for the batch or is seen by it as it has become. Each batch is a transaction of its own, and how far it
//! came is stored with the job, so a new owner goes on where the last one ended.

use std::collections::HashMap;

use codec::table::Handle;
use kv_client::{LockOptions, Transaction, TxnOptions};
use query::context::TimeZone;
use sql_base::{SqlError, hex, unhex};
use sql_catalog::row;
use sql_catalog::{IndexInfo, TableInfo, transact};

use super::domain::Domain;
use super::job::{Job, Reorg};

/// Rows of a batch: few enough that a statement which waits for its locks hardly notices.
const BATCH_ROWS: usize = 256;
/// Batches between two notes of how far it came.
const NOTE_BATCHES: usize = 8;

/// Fills the index that a job adds. On success the job says so, with an empty next key.
pub(super) async fn fill(domain: &Domain, job: &Job, table: &TableInfo) -> Result<(), SqlError> {
    let index = table.indexes.iter().find(|index| index.id == job.element_id).ok_or_else(|| {
        SqlError::InvalidDdlJob(format!("index {} of table '{}' is gone", job.element_id, table.name))
    })?;
    let (start, end) = codec::table::record_range(table.physical_id());
    let mut next = job.reorg.as_ref().and_then(|reorg| unhex(&reorg.next)).unwrap_or(start);
    let mut rows = job.row_count;
    let mut batches = 0;
    loop {
        let (read, last) = fill_batch(domain, table, index, &next, &end).await?;
        rows += i64::try_from(read).unwrap_or(i64::MAX);
        batches += 1;
        let done = last.is_none();
        if let Some(mut last) = last {
            last.push(0);
            next = last;
        }
        if (done || batches % NOTE_BATCHES == 0) && !note(domain, job.id, rows, if done { &[] } else { &next }).await? {
            return Ok(());
        }
        if done {
            tracing::info!(job = job.id, rows, index = %index.name, "index filled");
            return Ok(());
        }
    }
}

/// Stores how far it came. `false` when it is to stop: the job is cancelled, or another server's.
async fn note(domain: &Domain, id: i64, rows: i64, next: &[u8]) -> Result<bool, SqlError> {
    let me = &domain.server().id;
    transact!(domain.kv(), |meta| {
        if meta.owner().await?.as_deref() != Some(me) {
            return Ok(false);
        }
        let Some(mut job) = meta.queued_job::<Job>(id).await? else { return Ok(false) };
        if job.cancel {
            return Ok(false);
        }
        job.row_count = rows;
        job.retries = 0;
        job.reorg = Some(Reorg { next: hex(next) });
        meta.put_queued_job(id, &job).await?;
        Ok(true)
    })
}

/// Fills in one batch from `start` on: how many rows it read, and the last one's key, `None` when there are no more.
async fn fill_batch(
    domain: &Domain,
    table: &TableInfo,
    index: &IndexInfo,
    start: &[u8],
    end: &[u8],
) -> Result<(usize, Option<Vec<u8>>), SqlError> {
    let kv = domain.kv();
    let snapshot = kv.snapshot(kv.timestamp().await?);
    let pairs = snapshot.scan(start, end, BATCH_ROWS, false, true).await?;
    let more = (pairs.len() == BATCH_ROWS).then(|| pairs.last().map(|(key, _)| key.clone())).flatten();
    let read = pairs.len();
    if read == 0 {
        return Ok((0, None));
    }
    let keys: Vec<_> = pairs.into_iter().map(|(key, _)| key).collect();
    let mut txn = kv.begin(TxnOptions::pessimistic()).await?;
    let filled = match add_entries(&mut txn, table, index, keys).await {
        Ok(()) => txn.commit().await.map(drop).map_err(SqlError::from),
        Err(error) => {
            let _ = txn.rollback().await;
            Err(error)
        }
    };
    filled.map(|()| (read, more))
}

async fn add_entries(
    txn: &mut Transaction,
    table: &TableInfo,
    index: &IndexInfo,
    keys: Vec<Vec<u8>>,
) -> Result<(), SqlError> {
    let values = LockOptions { return_values: true, ..LockOptions::default() };
    let locked = txn.lock_keys(keys.clone(), values.clone()).await?;
    let decoder = row::full_decoder(table);
    let damaged = |error: codec::Error| SqlError::internal("read a row", error);
    let mut entries = Vec::new();
    for (key, value) in keys.iter().zip(locked.values) {
        let Some(value) = value else { continue };
        let handle = codec::table::decode_handle(key).map_err(damaged)?;
        let row = decoder.decode(&value, &handle).map_err(damaged)?;
        let entry = row::index_entry(table, table.physical_id(), index, &row, &handle)?;
        entries.push((handle, row, entry));
    }
    // A unique entry is locked and looked at, so that it is there once, whoever adds it.
    let distinct: Vec<_> = entries.iter().filter(|(.., entry)| entry.distinct).map(|(.., e)| e.key.clone()).collect();
    let mut there: HashMap<Vec<u8>, Handle> = HashMap::new();
    if !distinct.is_empty() {
        let locked = txn.lock_keys(distinct.clone(), values).await?;
        for (key, value) in distinct.into_iter().zip(locked.values) {
            if let Some(value) = value {
                there.insert(key, codec::table::decode_unique_handle(&value).map_err(damaged)?);
            }
        }
    }
    for (handle, row, entry) in entries {
        if entry.distinct {
            match there.get(&entry.key) {
                Some(held) if *held == handle => continue,
                Some(_) => return Err(row::duplicate_row(table, Some(index), &row, &TimeZone::UTC)),
                None => {
                    there.insert(entry.key.clone(), handle);
                }
            }
        }
        txn.put(entry.key, entry.value)?;
    }
    Ok(())
}
