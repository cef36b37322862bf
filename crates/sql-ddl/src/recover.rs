//! RECOVER TABLE and FLASHBACK TABLE: a table that was dropped or truncated comes back with its rows.
//!
//! A dropped table's definition stands beside the range of its rows, which garbage collection empties when the safe point has
//! passed the drop ([`super::gc`]). Until it begins with that, a job takes the range off the list and puts the definition
//! back: in the database of that name that there is now, under its old id, with its counters where they were.
//!
//! Not here: whole databases, and the cluster as it was (`FLASHBACK DATABASE`, `FLASHBACK CLUSTER`).

use kv_client::TxnOptions;
use sql_base::SqlError;
use sql_catalog::{DroppedTable, Meta};
use sql_parser::Dropped;

use super::exec::Statement;
use super::gc;
use super::job::{Action, Job, JobState};

impl Statement<'_> {
    pub(super) async fn recover_table(&mut self, dropped: &Dropped, name: Option<&str>) -> Result<(), SqlError> {
        let (database, table) = match dropped {
            Dropped::Table(table) => {
                let database = match &table.database {
                    Some(database) => database.as_str(),
                    None => self.database.ok_or(SqlError::NoDatabaseSelected)?,
                };
                (database.to_owned(), table.name.clone())
            }
            Dropped::ByJob(id) => self.dropped_by_job(i64::try_from(*id).unwrap_or(i64::MAX)).await?,
        };
        let is_it = |held: &DroppedTable| match dropped {
            Dropped::Table(_) => held.database.eq_ignore_ascii_case(&database) && held.info.name.matches(&table),
            Dropped::ByJob(id) => u64::try_from(held.job) == Ok(*id) && held.info.name.matches(&table),
        };
        let mut txn = self.domain.kv().begin(TxnOptions::optimistic()).await?;
        let mut meta = Meta::new(&mut txn);
        let ranges = meta.delete_ranges().await?;
        let last = ranges.iter().filter(|range| range.table.as_deref().is_some_and(is_it)).max_by_key(|range| range.ts);
        let Some((range, held)) = last.and_then(|range| Some((range.id, range.table.as_deref()?))) else {
            let jobs: Vec<Job> = meta.finished_jobs().await?;
            let safe_point = gc::read_state(self.domain).await?.safe_point;
            let of_table = |job: &&Job| {
                job.state == JobState::Synced
                    && job.finish_ts < safe_point
                    && matches!(job.action, Action::DropTable | Action::TruncateTable { .. })
                    && job.schema_name.eq_ignore_ascii_case(&database)
                    && job.table_name.eq_ignore_ascii_case(&table)
            };
            return Err(match jobs.iter().find(of_table) {
                Some(_) => SqlError::DroppedTooLongAgo(table),
                None => SqlError::Other(format!("Can't find dropped/truncated table: '{table}' in DDL history jobs")),
            });
        };
        let target = self.schema.database(&held.database).ok_or(SqlError::UnknownDatabase(database))?;
        let name = name.map_or_else(|| held.info.name.original.clone(), str::to_owned);
        let info = target.info.clone();
        self.run(Some(&info), None, Action::RecoverTable { range, name }).await
    }

    /// The database and the name of the table that a job dropped.
    async fn dropped_by_job(&self, id: i64) -> Result<(String, String), SqlError> {
        let mut txn = self.domain.kv().begin(TxnOptions::optimistic()).await?;
        let job: Job = Meta::new(&mut txn).finished_job(id).await?.ok_or(SqlError::DdlJobNotFound(id))?;
        match job.action {
            Action::DropTable | Action::TruncateTable { .. } => Ok((job.schema_name, job.table_name)),
            other => Err(SqlError::Other(format!("Job {id} type is {}, not dropped/truncated table", other.name()))),
        }
    }
}
