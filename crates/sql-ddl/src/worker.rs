//! The owner's work on one job after the other.
//!
//! A step is one transaction: it reads the job and what it changes, asks [`super::step`] what follows, and writes the
//! new state, the job and a new schema version together. Then every server has to use that version before the next step
//! ([`Domain::synchronize`]). A step that is repeated, by this owner or by the next, finds what is stored and goes on
//! from there; two owners cannot both commit one, because each step writes the owner's key.
//!
//! Rules go to PD before the step that needs them commits, so that rows are placed right from the first one; rules of
//! what is gone are taken back after.

use std::time::Duration;

use codec::datum::Datum;
use codec::table::{Handle, IndexId, PhysicalTableId};
use kv_client::TxnOptions;
use sql_base::SqlError;
use sql_catalog::meta::{Changed, DeleteRange, SchemaDiff};
use sql_catalog::{
    AutoIdKind, ColumnInfo, DatabaseInfo, DroppedTable, IndexInfo, Meta, Name, PolicyInfo, SchemaState, TableInfo, row,
    transact,
};

use super::backfill;
use super::domain::Domain;
use super::job::{Action, Job, JobError, JobState, PolicyChange, Rename};
use super::step::{self, Next};
use crate::placement::{self, rules};

/// How long a statement waits for the regions of its table. The first tables of a cluster are made while PD is still
/// adding replicas, and a region that changes its members does not split.
const SPLIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a step is taken again that must succeed in the end.
const GO_ON_PAUSE: Duration = Duration::from_secs(1);
/// A job that fails this often for a passing reason fails for good.
const RETRIES_MAX: u32 = 100;

/// What the worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// A job, to its end.
    Job,
    /// There is none.
    Nothing,
    /// Another server is the owner.
    NotOwner,
}

/// Options of a transaction over the catalogue.
fn optimistic() -> TxnOptions {
    TxnOptions::optimistic()
}

/// What a step left.
enum Stepped {
    /// A new schema version to synchronize, the job goes on.
    Version(i64),
    /// As [`Stepped::Version`], and with it the job is over.
    Last(i64, Effects),
    /// Indexes or columns have to be filled.
    Fill(Box<Job>, Box<TableInfo>),
    /// Failed or cancelled, nothing changed.
    Failed,
    /// It is being undone from now on.
    TurnedAround,
    /// Another server is the owner.
    NotOwner,
    /// It is not in the queue.
    Gone,
}

/// What the end of a job brings outside the catalogue.
#[derive(Debug, Default, Clone)]
struct Effects {
    /// Keys that should begin a region.
    split: Vec<Vec<u8>>,
    /// Rule groups of what is gone.
    rule_groups: Vec<String>,
}

/// Runs the first job of the queue to its end.
pub(super) async fn run_next(domain: &Domain) -> Result<Ran, SqlError> {
    let first = {
        let mut txn = domain.kv.begin(optimistic()).await?;
        Meta::new(&mut txn).queued_jobs::<Job>().await?.into_iter().next()
    };
    let Some(job) = first else { return Ok(Ran::Nothing) };
    tracing::info!(job = job.id, action = job.action.name(), query = %job.query, "DDL job");
    // The step before this may have been another owner's, committed and not yet synchronized.
    if job.schema_version > 0 {
        domain.synchronize(job.schema_version).await?;
    }
    loop {
        let stepped = match take_step(domain, job.id).await {
            Ok(stepped) => stepped,
            Err(error) if is_passing(&error) => {
                tracing::info!(job = job.id, %error, "a DDL step is taken again");
                if !count_retry(domain, job.id, &error).await? {
                    continue;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(error) => {
                // The step's transaction is gone with all it wrote; the failure is recorded in another.
                turn_around(domain, job.id, &error).await?;
                continue;
            }
        };
        match stepped {
            Stepped::Version(version) => domain.synchronize(version).await?,
            Stepped::Last(version, mut effects) => {
                split_regions(domain, std::mem::take(&mut effects.split)).await;
                domain.synchronize(version).await?;
                finish(domain, job.id).await?;
                for group in &effects.rule_groups {
                    if let Err(error) = domain.pd.delete_bundle(group).await {
                        tracing::warn!(group, %error, "the placement rules of a dropped table are left");
                    }
                }
                domain.finished.notify_waiters();
                return Ok(Ran::Job);
            }
            Stepped::Fill(job, table) => {
                if let Err(error) = backfill::fill(domain, &job, &table).await {
                    if is_passing(&error) {
                        tracing::info!(job = job.id, %error, "filling goes on after a pause");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                    turn_around(domain, job.id, &error).await?;
                }
            }
            Stepped::TurnedAround => {}
            Stepped::Failed | Stepped::Gone => {
                domain.finished.notify_waiters();
                return Ok(Ran::Job);
            }
            Stepped::NotOwner => return Ok(Ran::NotOwner),
        }
    }
}

/// A reason that goes away by itself: the step is taken again.
fn is_passing(error: &SqlError) -> bool {
    matches!(
        error,
        SqlError::WriteConflict(_)
            | SqlError::PdTimeout(_)
            | SqlError::StorageTimeout
            | SqlError::StorageBusy
            | SqlError::RegionUnavailable
            | SqlError::ResolveLockTimeout
            | SqlError::Undetermined(_)
            | SqlError::LockWaitTimeout
            | SqlError::Deadlock
            | SqlError::TransactionAborted { .. }
            | SqlError::SnapshotTooOld { .. }
    )
}

/// Counts a step that failed for a passing reason. `false` when it failed too often and the job is over or turned around.
async fn count_retry(domain: &Domain, id: i64, error: &SqlError) -> Result<bool, SqlError> {
    let over = transact!(&domain.kv, |meta| {
        let Some(mut job) = meta.queued_job::<Job>(id).await? else { return Ok(false) };
        job.retries += 1;
        meta.put_queued_job(id, &job).await?;
        Ok(job.retries > RETRIES_MAX)
    })?;
    if over {
        turn_around(domain, id, error).await?;
    }
    Ok(!over)
}

/// Has a job undone that failed.
async fn turn_around(domain: &Domain, id: i64, error: &SqlError) -> Result<(), SqlError> {
    transact!(&domain.kv, |meta| {
        let Some(mut job) = meta.queued_job::<Job>(id).await? else { return Ok(()) };
        job.retries = 0;
        fail(meta, &mut job, error).await.map(drop)
    })
}

/// Records a failure: the job goes back, or is over when it has nothing to undo.
async fn fail(meta: &mut Meta<'_>, job: &mut Job, error: &SqlError) -> Result<Stepped, SqlError> {
    if step::must_go_on(job) {
        tracing::warn!(job = job.id, %error, "a DDL job can neither go back nor stop here: its step is taken again");
        tokio::time::sleep(GO_ON_PAUSE).await;
        return Ok(Stepped::TurnedAround);
    }
    if job.error.is_none() {
        job.error = Some(JobError::from(error));
    }
    if job.state != JobState::Rollingback && step::start_rollback(job) {
        meta.put_queued_job(job.id, job).await?;
        return Ok(Stepped::TurnedAround);
    }
    job.state = JobState::Cancelled;
    job.finish_ts = meta.start_ts();
    meta.finish_job(job.id, job).await?;
    Ok(Stepped::Failed)
}

/// Moves a job that has ended to the history.
async fn finish(domain: &Domain, id: i64) -> Result<(), SqlError> {
    transact!(&domain.kv, |meta| {
        let Some(mut job) = meta.queued_job::<Job>(id).await? else { return Ok(()) };
        job.state = if job.state == JobState::Rollingback { JobState::RollbackDone } else { JobState::Synced };
        job.finish_ts = meta.start_ts();
        meta.finish_job(id, &job).await
    })
}

/// Begins a region at each of these keys. Only a matter of speed and placement: a failure is logged.
async fn split_regions(domain: &Domain, keys: Vec<Vec<u8>>) {
    if keys.is_empty() {
        return;
    }
    match tokio::time::timeout(SPLIT_TIMEOUT, domain.kv.split_region(keys)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::info!(%error, "regions were not split for a table"),
        Err(_) => tracing::info!("regions are not split for a table yet"),
    }
}

async fn take_step(domain: &Domain, id: i64) -> Result<Stepped, SqlError> {
    let me = &domain.server.id;
    transact!(&domain.kv, |meta| {
        if meta.owner().await?.as_deref() != Some(me) {
            return Ok(Stepped::NotOwner);
        }
        meta.put_owner(me).await?;
        let Some(mut job) = meta.queued_job::<Job>(id).await? else { return Ok(Stepped::Gone) };
        if job.finish_ts != 0 {
            // Ended by an owner that did not get to say so.
            return Ok(Stepped::Last(job.schema_version, Effects::default()));
        }
        if job.state == JobState::Queueing {
            job.state = JobState::Running;
            job.start_ts = meta.start_ts();
        }
        if job.cancel && job.state == JobState::Running {
            return fail(meta, &mut job, &SqlError::CancelledDdlJob).await;
        }
        let step = Step { domain, meta, job: &mut job, changed: Vec::new(), effects: Effects::default() };
        step.take().await
    })
}

/// One step, within its transaction.
struct Step<'a, 'm> {
    domain: &'a Domain,
    meta: &'a mut Meta<'m>,
    job: &'a mut Job,
    changed: Vec<Changed>,
    effects: Effects,
}

impl Step<'_, '_> {
    async fn take(mut self) -> Result<Stepped, SqlError> {
        match self.job.action.clone() {
            Action::CreateDatabase(info) => self.create_database(info).await?,
            Action::DropDatabase => self.drop_database().await?,
            Action::AlterDatabase { charset, policy } => {
                let mut info = self.database(self.job.schema_id).await?;
                if let Some((charset, collate)) = charset {
                    (info.charset, info.collate) = (charset, collate);
                }
                match policy {
                    Some(PolicyChange::Attach(policy)) => {
                        self.policy(policy.id, policy.name.as_str()).await?;
                        info.policy = Some(policy);
                    }
                    Some(PolicyChange::Detach) => info.policy = None,
                    None => {}
                }
                self.meta.put_database(&info).await?;
                self.changed.push(Changed::Database(info.id));
            }
            Action::CreateTable(table) => self.create_table(*table).await?,
            Action::DropTable | Action::DropView => {
                let table = self.table().await?;
                self.remove_table(self.job.schema_id, &table).await?;
            }
            Action::RecoverTable { range, name } => self.recover_table(range, name).await?,
            Action::CreateView { view, or_replace } => self.create_view(*view, or_replace).await?,
            Action::AlterView(view) => {
                let held = self.table().await?;
                self.replace_view(&held, *view).await?;
            }
            Action::TruncateTable { new_id } => self.truncate_table(new_id).await?,
            Action::RenameTables(renames) => self.rename_tables(&renames).await?,
            Action::CreatePolicy { name, settings, or_replace } => {
                let held = self.meta.policies().await?.into_iter().find(|held| held.name.matches(&name));
                match held {
                    Some(_) if !or_replace => return Err(SqlError::PlacementPolicyExists(name)),
                    Some(held) => self.change_policy(PolicyInfo { settings, ..held }).await?,
                    None => {
                        let id = self.meta.take_ids(1).await?;
                        let policy = PolicyInfo { id, name: Name::new(name), state: SchemaState::Public, settings };
                        self.meta.put_policy(&policy).await?;
                        self.changed.push(Changed::Policy(id));
                    }
                }
            }
            Action::AlterPolicy { name, settings } => {
                let held = self.policy_by_name(&name).await?;
                self.change_policy(PolicyInfo { settings, ..held }).await?;
            }
            Action::DropPolicy { name } => self.drop_policy(&name).await?,
            Action::RangePolicy { range, policy } => self.range_policy(&range, policy.map(|policy| policy.id)).await?,
            _ => return self.table_step().await,
        }
        self.last().await
    }

    /// A step of a change of one table.
    async fn table_step(mut self) -> Result<Stepped, SqlError> {
        let before = self.table().await?;
        let mut table = before.clone();
        let shown_before = self.job.schema_state;
        self.number_action().await?;
        let mut next = step::advance(&mut table, self.job)?;
        if next == Next::Fill {
            match self.job.is_filled() {
                true => next = step::filled(&mut table, self.job)?,
                false => return Ok(Stepped::Fill(Box::new(self.job.clone()), Box::new(table))),
            }
        }
        let shown = self.job.schema_state == SchemaState::Public && shown_before != SchemaState::Public;
        if self.job.parts.is_empty() || shown {
            for action in self.job.actions().cloned().collect::<Vec<_>>() {
                self.beside_the_table(&table, &action).await?;
            }
        }
        if self.job.actions().any(Action::gives_auto_increment)
            && let Some(column) = table.auto_increment_column()
        {
            let largest = self.largest(&table, column).await?;
            self.count_from(&table, largest).await?;
        }
        if self.job.action.is_of_partitions() {
            self.place(&table).await?;
            self.forget_partitions(&before, &table).await?;
        }
        if next == Next::Done {
            for index in std::mem::take(&mut self.job.unused_indexes) {
                for at in table.physical_ids() {
                    self.forget_range(codec::table::index_range(at, IndexId(index)), None).await?;
                }
            }
        }
        if self.job.actions().any(Action::is_structural) {
            // The version that `commit_version` takes.
            table.revision = self.meta.schema_version().await? + 1;
        }
        table.update_ts = self.meta.start_ts();
        self.meta.put_table(self.job.schema_id, &table).await?;
        self.changed.push(Changed::Table(self.job.schema_id, table.id));
        if shown {
            // Only now: the table is found where it was until it is written.
            for action in self.job.parts.iter().map(|part| part.action.clone()).collect::<Vec<_>>() {
                let Action::RenameTables(renames) = action else { continue };
                self.rename_tables(&renames).await?;
                if let Some(rename) = renames.first() {
                    self.job.schema_id = rename.to_database;
                }
            }
        }
        match next {
            Next::Step | Next::Fill => {
                let version = self.commit_version().await?;
                self.meta.put_queued_job(self.job.id, self.job).await?;
                Ok(Stepped::Version(version))
            }
            Next::Done => self.last().await,
        }
    }

    /// Gives ids to the partitions that a change brings, before it begins.
    async fn number_action(&mut self) -> Result<(), SqlError> {
        let take = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        match &mut self.job.action {
            Action::AddPartitions(added) if added.iter().any(|partition| partition.id == 0) => {
                let first = self.meta.take_ids(take(added.len())).await?;
                (first..).zip(added).for_each(|(id, partition)| partition.id = id);
            }
            Action::TruncatePartitions { names, ids } if ids.is_empty() => {
                let first = self.meta.take_ids(take(names.len())).await?;
                *ids = (first..).take(names.len()).collect();
            }
            Action::Divide(division) => match &mut division.partition {
                None if division.rows_at == 0 => division.rows_at = self.meta.take_ids(1).await?,
                None => {}
                Some(info) => {
                    let count = info.definitions.iter().filter(|partition| partition.id == 0).count();
                    if count > 0 {
                        let first = self.meta.take_ids(take(count)).await?;
                        let new = info.definitions.iter_mut().filter(|partition| partition.id == 0);
                        (first..).zip(new).for_each(|(id, partition)| partition.id = id);
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// Records the ranges of what is no longer of a table, and has PD forget the rules of what has none of its own any more.
    async fn forget_partitions(&mut self, before: &TableInfo, after: &TableInfo) -> Result<(), SqlError> {
        let mut gone = before.all_physical_ids();
        let held = after.all_physical_ids();
        gone.retain(|id| !held.contains(id));
        self.forget_ranges(gone.into_iter().map(codec::table::table_range).collect(), None).await?;
        let mut groups = rules::groups(before);
        let held = rules::groups(after);
        groups.retain(|group| !held.contains(group));
        self.effects.rule_groups.extend(groups);
        Ok(())
    }

    /// What a change of a table changes beside its definition.
    async fn beside_the_table(&mut self, table: &TableInfo, action: &Action) -> Result<(), SqlError> {
        match action {
            Action::TableOptions { auto_increment: Some(least), .. } => self.count_from(table, least - 1).await,
            Action::TablePolicy(Some(_)) => self.place(table).await,
            Action::TablePolicy(None) => self.domain.pd.delete_bundle(&rules::table_group(table.id)).await,
            _ => Ok(()),
        }
    }

    /// Has AUTO_INCREMENT give nothing up to `largest`.
    async fn count_from(&mut self, table: &TableInfo, largest: i64) -> Result<(), SqlError> {
        let kind = AutoIdKind::AutoIncrement;
        let held = self.meta.auto_id(table.auto_id_schema_id, table.id, kind).await?;
        if largest > held {
            self.meta.put_auto_id(table.auto_id_schema_id, table.id, kind, largest).await?;
        }
        Ok(())
    }

    /// The largest value of a column that leads a key, 0 in an empty table.
    async fn largest(&self, table: &TableInfo, column: &ColumnInfo) -> Result<i64, SqlError> {
        let kv = self.domain.kv();
        let snapshot = kv.snapshot(kv.timestamp().await?);
        let mut largest = 0;
        for at in table.physical_ids() {
            largest = largest.max(largest_in(&snapshot, table, at, column).await?);
        }
        Ok(largest)
    }
}

/// The largest value of a column that leads a key, 0 where there are no rows.
async fn largest_in(
    snapshot: &kv_client::Snapshot,
    table: &TableInfo,
    at: PhysicalTableId,
    column: &ColumnInfo,
) -> Result<i64, SqlError> {
    if table.handle_column().is_some_and(|handle| handle.id == column.id) {
        let (start, end) = codec::table::record_range(at);
        let last = snapshot.scan(&start, &end, 1, true, true).await?.pop();
        let handle = last.map(|(key, _)| codec::table::decode_handle(&key)).transpose().map_err(row::damaged)?;
        return Ok(if let Some(Handle::Int(handle)) = handle { handle } else { 0 });
    }
    let leads = |index: &&IndexInfo| index.columns.first().is_some_and(|part| part.offset == column.offset);
    let Some(index) = table.public_indexes().find(leads) else { return Ok(0) };
    let (start, end) = row::entries_range(table, at, index);
    let Some((key, value)) = snapshot.scan(&start, &end, 1, true, false).await?.pop() else { return Ok(0) };
    let first = match table.is_clustered_by(index) {
        true => match codec::table::decode_handle(&key).map_err(row::damaged)? {
            Handle::Key(values) => codec::datum::decode_one(&mut &values[..])
                .and_then(|value| value.unflatten(&column.field_type))
                .map(Some)
                .map_err(row::damaged)?,
            Handle::Int(_) => None,
        },
        false => {
            let (columns, key_columns) = (row::entry_columns(table, index), row::key_columns(table));
            let entry = codec::table::decode_index_entry(&key, &value, &columns, &key_columns);
            entry.map_err(row::damaged)?.0.into_iter().next()
        }
    };
    Ok(match &first {
        Some(Datum::UInt(value)) => i64::try_from(*value).unwrap_or(i64::MAX),
        Some(Datum::Float(value)) => *value as i64,
        Some(value) => value.as_i64().unwrap_or(0),
        None => 0,
    })
}

impl Step<'_, '_> {
    async fn last(mut self) -> Result<Stepped, SqlError> {
        let version = self.commit_version().await?;
        self.job.finish_ts = self.meta.start_ts();
        if self.job.state == JobState::Running && self.job.schema_state == SchemaState::None {
            self.job.schema_state = match self.job.action {
                Action::DropDatabase
                | Action::DropTable
                | Action::DropView
                | Action::DropPolicy { .. }
                | Action::DropColumn { .. }
                | Action::DropIndex { .. } => SchemaState::None,
                _ => SchemaState::Public,
            };
        }
        self.meta.put_queued_job(self.job.id, self.job).await?;
        Ok(Stepped::Last(version, self.effects))
    }

    /// A new schema version with what changed.
    async fn commit_version(&mut self) -> Result<i64, SqlError> {
        let version = self.meta.next_schema_version().await?;
        let changed = std::mem::take(&mut self.changed);
        self.meta.put_diff(&SchemaDiff { version, changed }).await?;
        self.job.schema_version = version;
        Ok(version)
    }

    // ---- What the step changes, as it is now ----

    async fn database(&mut self, id: i64) -> Result<DatabaseInfo, SqlError> {
        let name = self.job.schema_name.clone();
        self.meta.database(id).await?.ok_or(SqlError::UnknownDatabase(name))
    }

    async fn table(&mut self) -> Result<TableInfo, SqlError> {
        let missing =
            SqlError::NoSuchTable { database: self.job.schema_name.clone(), table: self.job.table_name.clone() };
        self.meta.table(self.job.schema_id, self.job.table_id).await?.ok_or(missing)
    }

    async fn policy(&mut self, id: i64, name: &str) -> Result<PolicyInfo, SqlError> {
        self.meta.policy(id).await?.ok_or_else(|| SqlError::UnknownPlacementPolicy(name.to_owned()))
    }

    async fn policy_by_name(&mut self, name: &str) -> Result<PolicyInfo, SqlError> {
        let held = self.meta.policies().await?.into_iter().find(|held| held.name.matches(name));
        held.ok_or_else(|| SqlError::UnknownPlacementPolicy(name.to_owned()))
    }

    // ---- Databases ----

    async fn create_database(&mut self, mut info: DatabaseInfo) -> Result<(), SqlError> {
        if self.meta.databases().await?.iter().any(|held| held.name == info.name) {
            return Err(SqlError::DatabaseExists(info.name.original));
        }
        if let Some(policy) = &info.policy {
            self.policy(policy.id, policy.name.as_str()).await?;
        }
        info.id = self.meta.take_ids(1).await?;
        self.job.schema_id = info.id;
        self.meta.put_database(&info).await?;
        self.changed.push(Changed::Database(info.id));
        Ok(())
    }

    async fn drop_database(&mut self) -> Result<(), SqlError> {
        let id = self.job.schema_id;
        let missing = SqlError::DatabaseDropMissing(self.job.schema_name.clone());
        self.meta.database(id).await?.ok_or(missing)?;
        for table in self.meta.tables(id).await? {
            self.remove_table(id, &table).await?;
        }
        self.meta.delete_database(id).await?;
        self.changed.clear();
        self.changed.push(Changed::Database(id));
        Ok(())
    }

    // ---- Tables ----

    async fn check_table_name(&mut self, database: i64, name: &Name, but: i64) -> Result<(), SqlError> {
        let taken = self.meta.tables(database).await?.iter().any(|held| held.name == *name && held.id != but);
        if taken {
            let database = self.database(database).await?.name;
            return Err(SqlError::TableExists(format!("{database}.{name}")));
        }
        Ok(())
    }

    async fn create_table(&mut self, mut table: TableInfo) -> Result<(), SqlError> {
        let database = self.job.schema_id;
        self.database(database).await?;
        self.check_table_name(database, &table.name, 0).await?;
        if table.id == 0 {
            table.id = self.meta.take_ids(1).await?;
        }
        table.auto_id_schema_id = database;
        self.number_partitions(&mut table).await?;
        self.put_new_table(table).await
    }

    /// Gives ids to the partitions that have none.
    async fn number_partitions(&mut self, table: &mut TableInfo) -> Result<(), SqlError> {
        let Some(info) = &mut table.partition else { return Ok(()) };
        let count = info.definitions.iter().filter(|partition| partition.id == 0).count();
        if count > 0 {
            let first = self.meta.take_ids(i64::try_from(count).unwrap_or(i64::MAX)).await?;
            let new = info.definitions.iter_mut().filter(|partition| partition.id == 0);
            (first..).zip(new).for_each(|(id, partition)| partition.id = id);
        }
        Ok(())
    }

    /// Has PD place a table and its partitions, each in regions of their own.
    async fn place(&mut self, table: &TableInfo) -> Result<(), SqlError> {
        let mut policies: Vec<PolicyInfo> = Vec::new();
        for held in rules::policies(table) {
            if !policies.iter().any(|policy| policy.id == held.id) {
                policies.push(self.policy(held.id, held.name.as_str()).await?);
            }
        }
        for bundle in rules::bundles(table, |id| policies.iter().find(|policy| policy.id == id))? {
            self.domain.pd.put_bundle(&bundle).await?;
        }
        self.split(table);
        Ok(())
    }

    /// Begins a region at each partition. Ids between two tables hold no rows, so a region at the start is enough to keep
    /// tables apart; the end matters to PD where a rule ends.
    fn split(&mut self, table: &TableInfo) {
        let placed = !rules::policies(table).is_empty();
        for at in table.all_physical_ids() {
            self.effects.split.push(codec::table::table_prefix(at));
            if placed {
                self.effects.split.push(codec::table::table_prefix(PhysicalTableId(at.0 + 1)));
            }
        }
    }

    async fn put_new_table(&mut self, mut table: TableInfo) -> Result<(), SqlError> {
        self.place(&table).await?;
        table.revision = self.meta.schema_version().await? + 1;
        table.update_ts = self.meta.start_ts();
        self.job.table_id = table.id;
        self.meta.put_table(self.job.schema_id, &table).await?;
        self.changed.push(Changed::Table(self.job.schema_id, table.id));
        Ok(())
    }

    async fn remove_table(&mut self, database: i64, table: &TableInfo) -> Result<(), SqlError> {
        self.meta.delete_table(database, table.id).await?;
        self.changed.push(Changed::Table(database, table.id));
        if table.view.is_some() {
            return Ok(());
        }
        let counters = self.meta.auto_ids(table.auto_id_schema_id, table.id).await?;
        self.meta.delete_auto_ids(table.auto_id_schema_id, table.id).await?;
        let (database, job) = (self.job.schema_name.clone(), self.job.id);
        let dropped = DroppedTable { database, info: table.clone(), counters, job };
        // All its ranges are one record: they come back together, or go.
        let ranges = table.all_physical_ids().into_iter().map(codec::table::table_range).collect();
        self.forget_ranges(ranges, Some(dropped)).await?;
        self.effects.rule_groups.extend(rules::groups(table));
        Ok(())
    }

    /// A dropped table with its rows, which nobody has begun to remove.
    async fn recover_table(&mut self, range: i64, name: String) -> Result<(), SqlError> {
        let database = self.job.schema_id;
        self.database(database).await?;
        let held = self.meta.delete_range(range).await?.filter(|held| !held.emptying);
        let Some(dropped) = held.and_then(|held| held.table) else {
            return Err(SqlError::DroppedTooLongAgo(name));
        };
        let DroppedTable { info: mut table, counters, .. } = *dropped;
        table.rename(Name::new(name));
        self.check_table_name(database, &table.name, 0).await?;
        table.auto_id_schema_id = database;
        for (kind, counter) in AutoIdKind::ALL.into_iter().zip(counters).filter(|(_, counter)| *counter > 0) {
            self.meta.put_auto_id(database, table.id, kind, counter).await?;
        }
        self.meta.forget_delete_range(range).await?;
        self.put_new_table(table).await
    }

    async fn create_view(&mut self, mut view: TableInfo, or_replace: bool) -> Result<(), SqlError> {
        let database = self.job.schema_id;
        self.database(database).await?;
        let held = self.meta.tables(database).await?.into_iter().find(|held| held.name == view.name);
        if let Some(held) = held.filter(|_| or_replace) {
            return self.replace_view(&held, view).await;
        }
        self.check_table_name(database, &view.name, 0).await?;
        view.id = self.meta.take_ids(1).await?;
        self.put_view(view).await
    }

    async fn replace_view(&mut self, held: &TableInfo, mut view: TableInfo) -> Result<(), SqlError> {
        if held.view.is_none() {
            let object = format!("{}.{}", self.job.schema_name, held.name);
            return Err(SqlError::WrongObject { object, expected: "VIEW" });
        }
        view.id = held.id;
        view.name = held.name.clone();
        self.put_view(view).await
    }

    async fn put_view(&mut self, mut view: TableInfo) -> Result<(), SqlError> {
        view.auto_id_schema_id = self.job.schema_id;
        view.revision = self.meta.schema_version().await? + 1;
        view.update_ts = self.meta.start_ts();
        self.job.table_id = view.id;
        self.meta.put_table(self.job.schema_id, &view).await?;
        self.changed.push(Changed::Table(self.job.schema_id, view.id));
        Ok(())
    }

    async fn truncate_table(&mut self, new_id: i64) -> Result<(), SqlError> {
        let mut table = self.table().await?;
        let database = self.job.schema_id;
        self.remove_table(database, &table).await?;
        table.id = if new_id == 0 { self.meta.take_ids(1).await? } else { new_id };
        table.rows_at = 0;
        table.auto_id_schema_id = database;
        table.partition.iter_mut().flat_map(|info| &mut info.definitions).for_each(|partition| partition.id = 0);
        self.number_partitions(&mut table).await?;
        self.put_new_table(table).await
    }

    async fn rename_tables(&mut self, renames: &[Rename]) -> Result<(), SqlError> {
        for rename in renames {
            let missing =
                SqlError::NoSuchTable { database: self.job.schema_name.clone(), table: self.job.table_name.clone() };
            let mut table = self.meta.table(rename.from_database, rename.table).await?.ok_or(missing)?;
            self.database(rename.to_database).await?;
            let name = Name::new(rename.name.clone());
            self.check_table_name(rename.to_database, &name, table.id).await?;
            table.rename(name);
            table.revision = self.meta.schema_version().await? + 1;
            table.update_ts = self.meta.start_ts();
            if rename.from_database != rename.to_database {
                self.meta.delete_table(rename.from_database, table.id).await?;
                self.changed.push(Changed::Table(rename.from_database, table.id));
            }
            self.meta.put_table(rename.to_database, &table).await?;
            self.changed.push(Changed::Table(rename.to_database, table.id));
        }
        Ok(())
    }

    /// Records a key range that nothing uses any more.
    async fn forget_range(&mut self, range: (Vec<u8>, Vec<u8>), table: Option<DroppedTable>) -> Result<(), SqlError> {
        self.forget_ranges(vec![range], table).await
    }

    /// Records key ranges that nothing uses any more, as one.
    async fn forget_ranges(
        &mut self,
        ranges: Vec<(Vec<u8>, Vec<u8>)>,
        table: Option<DroppedTable>,
    ) -> Result<(), SqlError> {
        let mut ranges = ranges.into_iter().map(|(start, end)| (sql_base::hex(&start), sql_base::hex(&end)));
        let Some((start, end)) = ranges.next() else { return Ok(()) };
        let range = DeleteRange {
            id: self.meta.take_ids(1).await?,
            start,
            end,
            more: ranges.collect(),
            ts: self.meta.start_ts(),
            table: table.map(Box::new),
            emptying: false,
        };
        self.meta.put_delete_range(&range).await
    }

    // ---- Policies ----

    /// Writes a policy and has PD place all that is attached to it anew.
    async fn change_policy(&mut self, policy: PolicyInfo) -> Result<(), SqlError> {
        let old = self.policy(policy.id, policy.name.as_str()).await?;
        let (mut new_bundles, mut old_bundles) = (Vec::new(), Vec::new());
        for database in self.meta.databases().await? {
            for table in self.meta.tables(database.id).await?.iter().filter(|table| rules::uses(table, policy.id)) {
                // Only what this policy places.
                new_bundles.extend(rules::bundles(table, |id| (id == policy.id).then_some(&policy))?);
                old_bundles.extend(rules::bundles(table, |id| (id == policy.id).then_some(&old))?);
            }
        }
        for (range, _) in self.meta.range_policies().await?.iter().filter(|(_, held)| *held == policy.id) {
            new_bundles.extend(placement::range_bundle(range, &policy).transpose()?);
            old_bundles.extend(placement::range_bundle(range, &old).transpose()?);
        }
        for (done, bundle) in new_bundles.iter().enumerate() {
            if let Err(error) = self.domain.pd.put_bundle(bundle).await {
                // PD takes the rules of one group at a time: give those before it their old rules back.
                for bundle in &old_bundles[..done] {
                    self.domain.pd.put_bundle(bundle).await?;
                }
                return Err(error);
            }
        }
        self.meta.put_policy(&policy).await?;
        self.changed.push(Changed::Policy(policy.id));
        Ok(())
    }

    async fn drop_policy(&mut self, name: &str) -> Result<(), SqlError> {
        let policy = self.policy_by_name(name).await?;
        let uses = |held: &Option<sql_catalog::PolicyRef>| held.as_ref().is_some_and(|held| held.id == policy.id);
        let mut in_use = self.meta.range_policies().await?.iter().any(|(_, held)| *held == policy.id);
        for database in self.meta.databases().await? {
            in_use = in_use
                || uses(&database.policy)
                || self.meta.tables(database.id).await?.iter().any(|table| rules::uses(table, policy.id));
        }
        if in_use {
            return Err(SqlError::PlacementPolicyInUse(name.to_owned()));
        }
        self.meta.delete_policy(policy.id).await?;
        self.changed.push(Changed::Policy(policy.id));
        Ok(())
    }

    async fn range_policy(&mut self, range: &str, policy: Option<i64>) -> Result<(), SqlError> {
        let Some((group, _)) = rules::range_group(range) else {
            return Err(SqlError::Other("range name is not supported".into()));
        };
        match policy {
            Some(id) => {
                let policy = self.policy(id, "").await?;
                if let Some(bundle) = placement::range_bundle(range, &policy).transpose()? {
                    self.domain.pd.put_bundle(&bundle).await?;
                }
            }
            None => self.domain.pd.delete_bundle(group).await?,
        }
        self.meta.put_range_policy(&range.to_lowercase(), policy).await
    }
}
