//! Writing rows: keys and values of a row and of its index entries, duplicate checks, locks.
//!
//! A new key of the table or of a unique index is written with [`kv_client::Transaction::insert`]: whether it exists is
//! checked when the key is locked (pessimistic, at the statement's end: [`Writer::finish`]) or at commit (optimistic), so
//! that a plain INSERT reads nothing.
//!
//! Indexes that a schema change is adding or removing are kept as their state demands
//! ([`TableInfo::maintained_indexes`]).

use std::borrow::Cow;
use std::sync::Arc;

use codec::datum::Datum;
use codec::table::{self, Handle, PhysicalTableId};
use codec::types::TypeCode;
use kv_client::{Client, LockOptions, LockWait, Transaction};
use query::context::{Occurs, TimeZone};
use sql_base::{PartitionError, SqlError};
use sql_catalog::row;
use sql_catalog::{ColumnInfo, IndexInfo, IndexMaintenance, RowChanges, SchemaState, TableInfo, TableKind};
use sql_context::Duplicates;

/// Writes rows of one table in one statement.
pub(crate) struct Writer {
    table: Arc<TableInfo>,
    /// The partitions that the statement names; none: rows go wherever they belong.
    named: Option<Vec<PhysicalTableId>>,
    zone: TimeZone,
    /// Keys to be locked when the statement ends.
    keys: Vec<Vec<u8>>,
    /// Error for each key that may turn out to exist.
    duplicates: Duplicates,
    /// Rows so far.
    changes: RowChanges,
}

impl Writer {
    /// For a table.
    pub(crate) fn new(table: Arc<TableInfo>, zone: TimeZone) -> Writer {
        Writer {
            table,
            named: None,
            zone,
            keys: Vec::new(),
            duplicates: Duplicates::default(),
            changes: RowChanges::default(),
        }
    }

    /// The same for a statement that names partitions, by position: no row may come to be outside of them.
    pub(crate) fn within(mut self, named: Option<&[usize]>) -> Writer {
        let info = self.table.partition.as_ref();
        let id = |at: &usize| info.and_then(|info| info.definitions.get(*at)).map(|partition| partition.physical_id());
        self.named = named.map(|named| named.iter().filter_map(id).collect());
        self
    }

    /// What the keys of a row that is there begin with.
    fn at(&self, row: &[Datum]) -> Result<PhysicalTableId, SqlError> {
        self.table.partition_of(row)
    }

    /// What those of a row that is written will begin with.
    pub(crate) fn place(&self, row: &[Datum]) -> Result<PhysicalTableId, SqlError> {
        let at = self.table.place_of(row)?;
        match self.named.as_ref().is_none_or(|named| named.contains(&at)) {
            true => Ok(at),
            false => Err(PartitionError::OutsideOfSet.into()),
        }
    }

    /// The key of a row that is there.
    pub(crate) fn record_key(&self, row: &[Datum], handle: &Handle) -> Result<Vec<u8>, SqlError> {
        Ok(table::record_key(self.at(row)?, handle))
    }

    /// Errors for the keys that only the commit of an optimistic transaction finds to exist.
    pub(crate) fn into_duplicates(self) -> Duplicates {
        self.duplicates
    }

    /// What it has changed: for the table's statistics.
    pub(crate) fn changes(&self) -> (i64, RowChanges) {
        (self.table.id, self.changes)
    }

    fn error(&self, e: kv_client::Error) -> SqlError {
        match &e {
            kv_client::Error::KeyExists { key } => match self.duplicates.of(key) {
                Some(d) => d.clone(),
                None => e.into(),
            },
            _ => e.into(),
        }
    }

    /// A row with all that is stored of it.
    fn to_be_stored<'r>(&self, table: &TableInfo, row: &'r [Datum]) -> Result<Cow<'r, [Datum]>, SqlError> {
        check_not_switching(table)?;
        row::converted(table, row, 1, &mut |_| {})
    }

    fn insert_key(
        &mut self,
        txn: &mut Transaction,
        key: Vec<u8>,
        value: Vec<u8>,
        index: Option<&IndexInfo>,
        row: &[Datum],
    ) -> Result<(), SqlError> {
        self.duplicates.add(key.clone(), row::duplicate_row(&self.table, index, row, &self.zone));
        txn.insert(key.clone(), value).map_err(|e| self.error(e))?;
        self.keys.push(key);
        Ok(())
    }

    /// Puts right what a row lost on its way through the session's zone: a TIMESTAMP in an hour that clocks showed twice is
    /// the moment that is stored.
    pub(crate) async fn restore_moments(
        &self,
        txn: &mut Transaction,
        row: &mut [Datum],
        handle: &Handle,
        wait: LockWait,
    ) -> Result<(), SqlError> {
        if matches!(self.zone, TimeZone::Fixed(_)) {
            return Ok(());
        }
        let twice = |(d, column): (&Datum, &ColumnInfo)| match d {
            Datum::Time(t) if column.field_type.tp == TypeCode::Timestamp => {
                self.zone.occurs(&self.zone.timestamp_to_local(t)) == Occurs::Twice
            }
            _ => false,
        };
        if !row.iter().zip(&self.table.columns).any(twice) {
            return Ok(());
        }
        let key = self.record_key(row, handle)?;
        if let Some(value) = self.current(txn, &[key], wait).await?.pop().flatten() {
            let stored = row::full_decoder(&self.table).decode(&value, handle).map_err(row::damaged)?;
            for ((d, stored), column) in row.iter_mut().zip(stored).zip(&self.table.columns) {
                if twice((d, column)) {
                    *d = stored;
                }
            }
        }
        Ok(())
    }

    /// A new row. `fresh`: the handle was allocated for it and cannot exist.
    pub(crate) fn insert(
        &mut self,
        txn: &mut Transaction,
        row: &[Datum],
        handle: &Handle,
        fresh: bool,
    ) -> Result<(), SqlError> {
        let at = self.place(row)?;
        self.changes.add(RowChanges { added: 1, touched: 1 });
        let table = self.table.clone();
        let row = &*self.to_be_stored(&table, row)?;
        let key = table::record_key(at, handle);
        let value = row::encode_row(&table, row)?;
        if fresh {
            txn.put(key, value)?;
        } else {
            self.insert_key(txn, key, value, None, row)?;
        }
        for (index, how, entry) in row::entries(&table, at, row, handle)? {
            if how == IndexMaintenance::Full {
                self.insert_entry(txn, index, entry, row)?;
            }
        }
        self.put_beside(txn, row, handle)
    }

    /// Writes a row into the division of the table that is being made or left. What is in its way is found where it is read.
    fn put_beside(&mut self, txn: &mut Transaction, row: &[Datum], handle: &Handle) -> Result<(), SqlError> {
        let table = self.table.clone();
        let Some((at, state)) = table.beside(row)? else { return Ok(()) };
        if state == SchemaState::DeleteOnly {
            return Ok(());
        }
        let key = table::record_key(at, handle);
        self.keys.push(key.clone());
        txn.put(key, row::encode_row(&table, row)?)?;
        for (_, how, entry) in row::entries(&table, at, row, handle)? {
            if how == IndexMaintenance::Full {
                self.keys.extend(entry.distinct.then(|| entry.key.clone()));
                txn.put(entry.key, entry.value)?;
            }
        }
        Ok(())
    }

    /// Removes it from there.
    fn remove_beside(&mut self, txn: &mut Transaction, row: &[Datum], handle: &Handle) -> Result<(), SqlError> {
        let table = self.table.clone();
        let at = match table.beside(row) {
            Ok(Some((at, _))) => at,
            // A row without a place there is not there.
            Ok(None) | Err(SqlError::Partition(PartitionError::NoPartition(_))) => return Ok(()),
            Err(e) => return Err(e),
        };
        let key = table::record_key(at, handle);
        self.keys.push(key.clone());
        txn.delete(key)?;
        for (_, _, entry) in row::entries(&table, at, row, handle)? {
            self.keys.extend(entry.distinct.then(|| entry.key.clone()));
            txn.delete(entry.key)?;
        }
        Ok(())
    }

    fn insert_entry(
        &mut self,
        txn: &mut Transaction,
        index: &IndexInfo,
        entry: table::IndexEntry,
        row: &[Datum],
    ) -> Result<(), SqlError> {
        if entry.distinct {
            self.insert_key(txn, entry.key, entry.value, Some(index), row)
        } else {
            Ok(txn.put(entry.key, entry.value)?)
        }
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, txn: &mut Transaction, row: &[Datum], handle: &Handle) -> Result<(), SqlError> {
        self.changes.add(RowChanges { added: -1, touched: 1 });
        let table = self.table.clone();
        let row = &*row::as_converted(&table, row);
        check_not_switching(&table)?;
        let at = self.at(row)?;
        let key = table::record_key(at, handle);
        self.keys.push(key.clone());
        txn.delete(key)?;
        for (_, _, entry) in row::entries(&table, at, row, handle)? {
            if entry.distinct {
                self.keys.push(entry.key.clone());
            }
            txn.delete(entry.key)?;
        }
        self.remove_beside(txn, row, handle)
    }

    /// Replaces a row by another, perhaps under another handle or in another partition.
    pub(crate) fn update(
        &mut self,
        txn: &mut Transaction,
        (old, handle): (&[Datum], &Handle),
        (new, new_handle): (&[Datum], &Handle),
    ) -> Result<(), SqlError> {
        let at = self.at(old)?;
        if handle != new_handle || self.place(new)? != at {
            self.remove(txn, old, handle)?;
            // A number that was given to the row is its alone, in all partitions.
            let fresh = handle == new_handle && !self.table.is_clustered();
            return self.insert(txn, new, new_handle, fresh);
        }
        self.changes.add(RowChanges { added: 0, touched: 1 });
        let table = self.table.clone();
        let (old, new) = (&*row::as_converted(&table, old), &*self.to_be_stored(&table, new)?);
        let key = table::record_key(at, handle);
        self.keys.push(key.clone());
        txn.put(key, row::encode_row(&table, new)?)?;
        let before = row::entries(&table, at, old, handle)?;
        let after = row::entries(&table, at, new, handle)?;
        for ((index, how, old_entry), (_, _, new_entry)) in before.into_iter().zip(after) {
            let moved = old_entry.key != new_entry.key;
            if !moved && old_entry.value == new_entry.value && index.is_public() {
                continue;
            }
            if moved || how == IndexMaintenance::DeleteOnly {
                if old_entry.distinct {
                    self.keys.push(old_entry.key.clone());
                }
                txn.delete(old_entry.key)?;
            }
            if how == IndexMaintenance::Full {
                if moved {
                    self.insert_entry(txn, index, new_entry, new)?;
                } else {
                    // The entry may not be there yet while the index is being filled: it is ours either way.
                    txn.put(new_entry.key, new_entry.value)?;
                }
            }
        }
        if table.division.is_some() {
            self.remove_beside(txn, old, handle)?;
            self.put_beside(txn, new, handle)?;
        }
        Ok(())
    }

    /// Ends the statement: locks what it changed, which also finds duplicates; of several the first is told.
    pub(crate) async fn finish(
        &mut self,
        txn: &mut Transaction,
        client: &Client,
        wait: LockWait,
    ) -> Result<(), SqlError> {
        self.check_room(txn)?;
        let mut keys = std::mem::take(&mut self.keys);
        // Rows that were locked when they were read need nothing more, unless a pending insert is still to be checked.
        keys.retain(|k| !txn.is_locked(k) || txn.buffer().get(k).is_some_and(|e| e.must_not_exist));
        if !txn.is_pessimistic() || keys.is_empty() {
            return Ok(());
        }
        match txn.lock_keys(keys, LockOptions { wait, ..LockOptions::default() }).await {
            Ok(_) => Ok(()),
            Err(kv_client::Error::KeyExists { key }) => {
                let first = self.duplicates.first(&key, Some(txn.buffer()), client).await;
                Err(first.cloned().unwrap_or_else(|| kv_client::Error::KeyExists { key }.into()))
            }
            Err(e) => Err(self.error(e)),
        }
    }

    /// Whether a temporary table is no larger than it may be. Its bytes are counted only when all that is pending would
    /// not fit beside all that is there.
    fn check_room(&self, txn: &Transaction) -> Result<(), SqlError> {
        let Some(rows) = txn.private().filter(|_| self.table.kind == TableKind::Temporary) else { return Ok(()) };
        if rows.bytes() + txn.bytes() <= rows.limit() {
            return Ok(());
        }
        let (start, end) = table::table_range(self.table.physical_id());
        match rows.bytes_with(&start, &end, txn.iter_buffer(&start, &end)) > rows.limit() {
            true => Err(SqlError::TableFull(self.table.name.original.clone())),
            false => Ok(()),
        }
    }

    /// Current values of keys: pending ones; otherwise as of now with a lock (pessimistic), or as of the transaction's
    /// start.
    pub(crate) async fn current(
        &self,
        txn: &mut Transaction,
        keys: &[Vec<u8>],
        wait: LockWait,
    ) -> Result<Vec<Option<Vec<u8>>>, SqlError> {
        if !txn.is_pessimistic() {
            return Ok(txn.batch_get(keys).await?);
        }
        let asked: Vec<Vec<u8>> = keys.iter().filter(|k| txn.buffer().get(k).is_none()).cloned().collect();
        let mut locked = Vec::new();
        if !asked.is_empty() {
            let options = LockOptions { wait, return_values: true, ..LockOptions::default() };
            locked = txn.lock_keys(asked, options).await?.values;
        }
        let mut locked = locked.into_iter();
        Ok(keys
            .iter()
            .map(|k| match txn.buffer().get(k) {
                Some(entry) => entry.value.clone(),
                None => locked.next().flatten(),
            })
            .collect())
    }

    /// The error of the first row that an update would make a duplicate of: what `UPDATE IGNORE` skips.
    pub(crate) async fn duplicate_of(
        &self,
        txn: &mut Transaction,
        (old, handle): (&[Datum], &Handle),
        (new, new_handle): (&[Datum], &Handle),
        wait: LockWait,
    ) -> Result<Option<SqlError>, SqlError> {
        let held = self.conflict_keys(old, handle, false)?;
        let mut wanted = self.conflict_keys(new, new_handle, false)?;
        wanted.retain(|(key, _)| !held.iter().any(|(own, _)| own == key));
        if wanted.is_empty() {
            return Ok(None);
        }
        let keys: Vec<Vec<u8>> = wanted.iter().map(|(key, _)| key.clone()).collect();
        let values = self.current(txn, &keys, wait).await?;
        let taken = wanted.iter().zip(values).find(|(_, value)| value.is_some());
        Ok(taken.map(|((_, index), _)| row::duplicate_row(&self.table, *index, new, &self.zone)))
    }

    /// Keys whose existence makes a row a duplicate: its own (unless the handle is fresh) and those of unique indexes.
    #[allow(clippy::type_complexity)]
    pub(crate) fn conflict_keys(
        &self,
        row: &[Datum],
        handle: &Handle,
        fresh: bool,
    ) -> Result<Vec<(Vec<u8>, Option<&IndexInfo>)>, SqlError> {
        let row = &*row::as_converted(&self.table, row);
        let at = self.at(row)?;
        let mut keys = Vec::new();
        if !fresh {
            keys.push((table::record_key(at, handle), None));
        }
        for (index, how, entry) in row::entries(&self.table, at, row, handle)? {
            if how == IndexMaintenance::Full && entry.distinct {
                keys.push((entry.key, Some(index)));
            }
        }
        Ok(keys)
    }
}

/// Between two versions of a table's columns nobody writes.
fn check_not_switching(table: &TableInfo) -> Result<(), SqlError> {
    if table.writes_wait { Err(SqlError::TableSwitching) } else { Ok(()) }
}
