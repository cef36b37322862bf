//! Changes of partitions.
//!
//! ```text
//!   ADD PARTITION       none → write only → public
//!                       under write only the new partition is read, and no row goes there yet: nobody writes what another
//!                       server does not read.
//!   DROP PARTITION      one step: rows go with their partition, and those that a server which does not know it yet
//!   TRUNCATE PARTITION  writes into it go too, before the statement returns.
//!   all others          none → delete only → write only → write reorg → public → none
//!                       rows are copied into another division of the table, that is written beside the one that is
//!                       read ([`sql_catalog::partition::Division`]), as an index that is added is. With public the two
//!                       change places: the new one is read, and the old one written as long as some server reads it.
//! ```
//!
//! Dividing anew fails before it is public, and then leaves nothing.

use sql_base::{PartitionError, SqlError};
use sql_catalog::partition::Division;
use sql_catalog::{Partition, PartitionInfo, SchemaState, TableInfo};

use super::Next;
use crate::job::{Action, Job};
use crate::partitions;

fn info(table: &mut TableInfo) -> Result<&mut PartitionInfo, SqlError> {
    table.partition.as_deref_mut().ok_or_else(|| PartitionError::NotPartitioned.into())
}

/// Takes the next step. Partitions that an action brings have their ids.
pub(super) fn advance(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    if table.division.is_some() && job.schema_state == SchemaState::None {
        return Err(SqlError::InvalidDdlJob(format!("table '{}' is being divided anew", table.name)));
    }
    match job.action.clone() {
        Action::AddPartitions(added) => add(table, job, added),
        Action::DropPartitions(names) => {
            let info = info(table)?;
            for name in &names {
                let at = info.position(name).ok_or(PartitionError::NotInList("DROP"))?;
                info.definitions.remove(at);
            }
            match info.definitions.is_empty() {
                true => Err(PartitionError::DropLast.into()),
                false => Ok(Next::Done),
            }
        }
        Action::TruncatePartitions { names, ids } => {
            let info = info(table)?;
            for (name, id) in names.iter().zip(ids) {
                let at = info.position(name).ok_or(PartitionError::NotInList("TRUNCATE"))?;
                info.definitions[at].id = id;
            }
            Ok(Next::Done)
        }
        Action::PartitionPolicy { name, policy } => {
            let missing = SqlError::UnknownPartition { partition: name.clone(), table: table.name.original.clone() };
            let info = info(table)?;
            let at = info.position(&name).ok_or(missing)?;
            info.definitions[at].policy = policy;
            Ok(Next::Done)
        }
        Action::Divide(division) => divide(table, job, *division),
        other => Err(SqlError::InvalidDdlJob(format!("'{}' changes no partitions", other.name()))),
    }
}

fn add(table: &mut TableInfo, job: &mut Job, added: Vec<Partition>) -> Result<Next, SqlError> {
    if job.schema_state == SchemaState::None {
        let mut changed = table.clone();
        info(&mut changed)?.definitions.extend(added.into_iter().map(|p| Partition { closed: true, ..p }));
        let changed_info = info(&mut changed)?.clone();
        partitions::check(&changed, &changed_info)?;
        *table = changed;
        job.schema_state = SchemaState::WriteOnly;
        return Ok(Next::Step);
    }
    open(info(table)?, &added);
    job.schema_state = SchemaState::Public;
    Ok(Next::Done)
}

fn open(info: &mut PartitionInfo, added: &[Partition]) {
    let new = |partition: &&mut Partition| added.iter().any(|other| other.id == partition.id);
    info.definitions.iter_mut().filter(new).for_each(|partition| partition.closed = false);
}

fn divide(table: &mut TableInfo, job: &mut Job, mut division: Division) -> Result<Next, SqlError> {
    match job.schema_state {
        SchemaState::None => {
            if let Some(info) = &division.partition {
                // What others have changed since the statement looked.
                partitions::check(table, info)?;
                partitions::check_keys(table, info)?;
            }
            if table.columns.iter().any(|c| c.converts.is_some()) {
                return Err(SqlError::InvalidDdlJob(format!("columns of table '{}' are being converted", table.name)));
            }
            division.state = SchemaState::DeleteOnly;
            job.schema_state = SchemaState::DeleteOnly;
            table.division = Some(Box::new(division));
            Ok(Next::Step)
        }
        SchemaState::DeleteOnly => set(table, job, SchemaState::WriteOnly),
        SchemaState::WriteOnly => set(table, job, SchemaState::WriteReorg),
        SchemaState::WriteReorg => Ok(Next::Fill),
        _ => {
            // Every server reads the new one.
            table.division = None;
            Ok(Next::Done)
        }
    }
}

fn set(table: &mut TableInfo, job: &mut Job, state: SchemaState) -> Result<Next, SqlError> {
    let gone = || SqlError::InvalidDdlJob(format!("the new partitions of table '{}' are gone", table.name));
    if table.division.is_none() {
        return Err(gone());
    }
    table.division.iter_mut().for_each(|division| division.state = state);
    job.schema_state = state;
    Ok(Next::Step)
}

/// The new division is filled: it is read from here on, and the old one written beside it.
pub(super) fn switch(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    let gone = || SqlError::InvalidDdlJob(format!("the new partitions of table '{}' are gone", table.name));
    let mut division = *table.division.take().ok_or_else(gone)?;
    std::mem::swap(&mut table.partition, &mut division.partition);
    std::mem::swap(&mut table.rows_at, &mut division.rows_at);
    division.state = SchemaState::WriteOnly;
    table.division = Some(Box::new(division));
    job.schema_state = SchemaState::Public;
    Ok(Next::Step)
}

/// Undoes what a change has begun.
pub(super) fn roll_back(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    if let Action::AddPartitions(added) = &job.action {
        let new = |partition: &Partition| added.iter().any(|other| other.id == partition.id);
        info(table)?.definitions.retain(|partition| !new(partition));
        job.schema_state = SchemaState::None;
        return Ok(Next::Done);
    }
    match job.schema_state {
        SchemaState::WriteOnly | SchemaState::WriteReorg => set(table, job, SchemaState::DeleteOnly),
        _ => {
            table.division = None;
            job.schema_state = SchemaState::None;
            Ok(Next::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use codec::datum::Datum;
    use codec::table::PhysicalTableId;
    use codec::types::FieldType;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use sql_catalog::partition::{Method, Term, Value};
    use sql_catalog::{ColumnInfo, Name};

    use super::*;
    use crate::job::{JobError, JobState};
    use crate::step::{filled, start_rollback};

    fn partition(id: i64, name: &str, less_than: Option<i64>) -> Partition {
        Partition {
            id,
            name: Name::new(name),
            less_than: less_than.map(|n| Value::Number(n.to_string())).into_iter().collect(),
            in_values: Vec::new(),
            comment: String::new(),
            policy: None,
            closed: false,
        }
    }

    fn ranges(ends: &[(i64, i64)]) -> PartitionInfo {
        let all = ends.iter().map(|(id, end)| partition(*id, &format!("p{id}"), Some(*end))).collect();
        PartitionInfo::new(Method::Range, Some(Term::Column(1)), Vec::new(), all)
    }

    fn hashed(ids: std::ops::Range<i64>) -> PartitionInfo {
        let all = ids.map(|id| partition(id, &format!("p{id}"), None)).collect();
        PartitionInfo::new(Method::Hash, Some(Term::Column(1)), Vec::new(), all)
    }

    fn table(info: Option<PartitionInfo>) -> TableInfo {
        let columns = ["a", "b"].iter().enumerate().map(|(at, name)| ColumnInfo::new(at, *name, FieldType::bigint()));
        TableInfo { partition: info.map(Box::new), ..TableInfo::new(100, "t", columns.collect()) }
    }

    /// Rows by place and key, as the storage holds them, and as they should be.
    #[derive(Default)]
    struct Storage {
        held: BTreeMap<(PhysicalTableId, i64), i64>,
        rows: BTreeMap<i64, i64>,
    }

    fn row(value: i64) -> [Datum; 2] {
        [Datum::Int(value), Datum::Null]
    }

    impl Storage {
        /// What a server with this schema does to a row: its value becomes this, or it goes. One that belongs nowhere is
        /// refused.
        fn write(&mut self, table: &TableInfo, key: i64, value: Option<i64>) {
            if let Some(value) = value
                && (table.place_of(&row(value)).is_err() || table.beside(&row(value)).is_err())
            {
                return;
            }
            // It finds the old one where it reads.
            if let Some(old) = self.rows.get(&key).copied() {
                let at = table.partition_of(&row(old)).unwrap();
                assert_eq!(self.held.remove(&(at, key)), Some(old), "a row that is there is found");
                if let Ok(Some((at, _))) = table.beside(&row(old)) {
                    self.held.remove(&(at, key));
                }
            }
            match value {
                Some(value) => {
                    self.held.insert((table.place_of(&row(value)).unwrap(), key), value);
                    if let Some((at, state)) = table.beside(&row(value)).unwrap()
                        && state != SchemaState::DeleteOnly
                    {
                        self.held.insert((at, key), value);
                    }
                    self.rows.insert(key, value);
                }
                None => drop(self.rows.remove(&key)),
            }
        }

        /// What such a server reads.
        fn read(&self, table: &TableInfo) -> BTreeMap<i64, i64> {
            let ids: BTreeSet<_> = table.physical_ids().into_iter().collect();
            self.held.iter().filter(|((at, _), _)| ids.contains(at)).map(|((_, key), value)| (*key, *value)).collect()
        }
    }

    fn run(seed: u64, action: &Action, mut old: TableInfo, cancel_at: Option<usize>) -> (TableInfo, Job, Storage) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut storage = Storage::default();
        let mut job = Job::new(action.clone(), Some((1, &"d".into())), Some((100, &"t".into())), "");
        job.state = JobState::Running;
        let any = |rng: &mut StdRng| rng.random_bool(0.7).then(|| rng.random_range(0..40));
        for key in 0..20 {
            storage.write(&old, key, Some(rng.random_range(0..20)));
        }
        for step in 0.. {
            assert!(step < 20, "seed {seed}: the job does not end");
            if cancel_at == Some(step) && start_rollback(&mut job) {
                job.error = Some(JobError { code: 8214, message: "Cancelled DDL job".into() });
            }
            let mut new = old.clone();
            let mut next = crate::step::advance(&mut new, &mut job).unwrap();
            if next == Next::Fill {
                for key in 0..30 {
                    if let Some(value) = storage.rows.get(&key).copied() {
                        match old.beside(&row(value)) {
                            Ok(Some((at, _))) => drop(storage.held.insert((at, key), value)),
                            Ok(None) => {}
                            // The job fails.
                            Err(_) => assert!(start_rollback(&mut job)),
                        }
                    }
                    let value = any(&mut rng);
                    storage.write(&old, rng.random_range(0..30), value);
                }
                next = match job.state {
                    JobState::Rollingback => Next::Step,
                    _ => filled(&mut new, &mut job).unwrap(),
                };
            }
            for _ in 0..40 {
                let table = if rng.random_bool(0.5) { &old } else { &new };
                let value = any(&mut rng);
                storage.write(table, rng.random_range(0..30), value);
                for table in [&old, &new] {
                    assert_eq!(storage.read(table), storage.rows, "seed {seed}, step {step}: a reader sees wrong rows");
                }
            }
            old = new;
            if next == Next::Done {
                return (old, job, storage);
            }
        }
        unreachable!()
    }

    fn divided(info: Option<PartitionInfo>, rows_at: i64) -> Action {
        Action::Divide(Box::new(Division { state: SchemaState::None, partition: info.map(Box::new), rows_at }))
    }

    fn cases() -> Vec<(TableInfo, Action)> {
        let whole = || ranges(&[(101, 10), (102, 20), (103, 40)]);
        let split = ranges(&[(101, 10), (111, 12), (112, 20), (103, 40)]);
        vec![
            (table(None), divided(Some(whole()), 0)),
            (table(Some(whole())), divided(None, 120)),
            (table(Some(whole())), divided(Some(split), 0)),
            (table(Some(hashed(101..104))), divided(Some(hashed(111..116)), 0)),
            (table(Some(hashed(201..204))), divided(Some(whole()), 0)),
            (table(Some(ranges(&[(101, 10), (102, 20)]))), Action::AddPartitions(vec![partition(110, "p9", Some(40))])),
        ]
    }

    #[test]
    fn rows_move_under_writes_of_servers_one_version_apart() {
        for (table, action) in cases() {
            for seed in 0..100 {
                let (after, job, storage) = run(seed, &action, table.clone(), None);
                assert_eq!(job.schema_state, SchemaState::Public);
                assert!(after.division.is_none());
                assert_eq!(storage.read(&after), storage.rows);
            }
        }
    }

    #[test]
    fn a_cancelled_change_leaves_the_table_as_it_was() {
        for (table, action) in cases() {
            for (seed, at) in (0..20).flat_map(|seed| (1..4).map(move |at| (seed, at))) {
                let (after, job, storage) = run(seed, &action, table.clone(), Some(at));
                if job.state == JobState::Rollingback {
                    assert_eq!(after.physical_ids(), table.physical_ids());
                    assert!(after.division.is_none());
                }
                assert_eq!(storage.read(&after), storage.rows);
            }
        }
    }

    #[test]
    fn rows_that_have_no_new_place_stop_the_change() {
        let narrow = divided(Some(ranges(&[(111, 5)])), 0);
        let (after, job, storage) = run(7, &narrow, table(None), None);
        assert_eq!(job.state, JobState::Rollingback);
        assert_eq!(after.physical_ids(), [PhysicalTableId(100)]);
        assert_eq!(storage.read(&after), storage.rows);
    }
}
