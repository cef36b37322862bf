//! The queue of jobs, as statements see it: a job is put there and waited for, cancelled, listed.

use std::time::Duration;

use kv_client::TxnOptions;
use sql_base::SqlError;
use sql_catalog::{Meta, transact};

use super::domain::Domain;
use super::gc;
use super::job::Job;
use super::step;

impl Domain {
    /// Queues a job and waits until it has ended and every server knows.
    pub async fn run(&self, job: Job) -> Result<Job, SqlError> {
        let id = transact!(&self.kv, |meta| {
            let mut job = job.clone();
            job.id = meta.take_ids(1).await?;
            job.create_ts = meta.start_ts();
            meta.put_queued_job(job.id, &job).await?;
            Ok(job.id)
        })?;
        self.queue.notify_one();
        if !self.is_owner()
            && let Err(error) = self.coordinator.announce_job(id).await
        {
            tracing::debug!(%error, "the owner was not told of a job");
        }
        let mut wait = Duration::from_millis(3);
        loop {
            let job: Option<Job> = {
                let mut txn = self.kv.begin(TxnOptions::optimistic()).await?;
                Meta::new(&mut txn).finished_job(id).await?
            };
            match job {
                Some(Job { error: Some(error), .. }) => return Err(error.into()),
                Some(job) => {
                    self.wait_for_version(job.schema_version).await;
                    return Ok(job);
                }
                None => {
                    let _ = tokio::time::timeout(wait, self.finished.notified()).await;
                    wait = (wait * 2).min(Duration::from_millis(200));
                }
            }
        }
    }

    /// Asks for jobs to be cancelled: for each its id and what came of it.
    pub async fn cancel_jobs(&self, ids: &[i64]) -> Result<Vec<(i64, Option<SqlError>)>, SqlError> {
        let outcome = transact!(&self.kv, |meta| {
            let mut outcome = Vec::new();
            for id in ids {
                let refused = match meta.queued_job::<Job>(*id).await? {
                    Some(job) if !step::is_cancellable(&job) => Some(SqlError::DdlJobFinished(*id)),
                    Some(mut job) => {
                        job.cancel = true;
                        meta.put_queued_job(*id, &job).await?;
                        None
                    }
                    None => Some(match meta.finished_job::<Job>(*id).await? {
                        Some(_) => SqlError::DdlJobFinished(*id),
                        None => SqlError::DdlJobNotFound(*id),
                    }),
                };
                outcome.push((*id, refused));
            }
            Ok(outcome)
        })?;
        self.queue.notify_one();
        Ok(outcome)
    }

    /// How far garbage collection has come.
    pub async fn gc_state(&self) -> Result<gc::GcState, SqlError> {
        gc::read_state(self).await
    }

    /// The jobs that are not finished, and the last `limit` that are, newest first.
    pub async fn jobs(&self, limit: usize) -> Result<(Vec<Job>, Vec<Job>), SqlError> {
        let mut txn = self.kv.begin(TxnOptions::optimistic()).await?;
        let mut meta = Meta::new(&mut txn);
        let mut queued: Vec<Job> = meta.queued_jobs().await?;
        let mut finished: Vec<Job> = meta.finished_jobs().await?;
        queued.reverse();
        finished.reverse();
        finished.truncate(limit);
        Ok((queued, finished))
    }
}
