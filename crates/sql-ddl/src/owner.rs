//! The owner: the one server that changes schemas. Every server campaigns; the one that is elected runs the jobs of the
//! queue (`worker`), collects garbage (`gc`) and analyses tables that have changed (`auto_analyze`) until its lease ends.

use std::sync::Arc;
use std::time::Duration;

use kv_client::Client;
use sql_base::SqlError;
use sql_catalog::transact;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::domain::{Domain, DomainOptions, LEASE, PAUSE};
use super::{auto_analyze, gc, reconcile, worker};

/// How often PD's placement rules are compared with the catalogue.
const RECONCILE: Duration = Duration::from_secs(3600);
/// The queue is looked at after this long even when no hint came.
const QUEUE_LOOK: Duration = Duration::from_secs(3);

/// Joins the cluster ([`Domain::start`]), and changes schemas when elected.
pub async fn start(kv: Client, options: DomainOptions, cancel: CancellationToken) -> Result<Arc<Domain>, SqlError> {
    let domain = Domain::start(kv, options, cancel).await?;
    domain.spawn("owner", |domain| async move { domain.run_owner().await });
    Ok(domain)
}

impl Domain {
    /// True while this server changes schemas.
    pub fn is_owner(&self) -> bool {
        *self.is_owner.lock()
    }

    async fn run_owner(self: Arc<Self>) {
        let mut lease = self.lease.subscribe();
        loop {
            let held = *lease.borrow_and_update();
            let won = match held {
                Some(held) => self.coordinator.campaign(held).await.unwrap_or_else(|error| {
                    tracing::info!(%error, "could not campaign for DDL owner");
                    false
                }),
                None => false,
            };
            if won {
                tracing::info!(server = %self.server.id, "DDL owner");
                *self.is_owner.lock() = true;
                tokio::select! {
                    () = self.own() => {}
                    () = auto_analyze::run(&self) => {}
                    () = gc::run(&self) => {}
                    _ = lease.changed() => {}
                }
                *self.is_owner.lock() = false;
                tracing::info!(server = %self.server.id, "no longer DDL owner");
            }
            tokio::select! {
                () = self.owner_gone.notified() => {}
                _ = lease.changed() => {}
                () = tokio::time::sleep(LEASE / 2) => {}
            }
        }
    }

    /// The owner's work. Returns when another server has taken over.
    async fn own(&self) {
        loop {
            let takeover = transact!(&self.kv, |meta| meta.put_owner(&self.server.id).await);
            match takeover {
                Ok(()) => break,
                Err(error) => tracing::info!(%error, "could not take over schema changes"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut reconcile_at = Instant::now();
        loop {
            // Between jobs: one under way has told PD more than the catalogue.
            if Instant::now() >= reconcile_at {
                reconcile_at = Instant::now() + RECONCILE;
                if let Err(error) = reconcile::rules(self).await {
                    tracing::warn!(%error, "PD's placement rules could not be compared with the catalogue");
                }
            }
            match worker::run_next(self).await {
                Ok(worker::Ran::Job) => continue,
                Ok(worker::Ran::Nothing) => {}
                Ok(worker::Ran::NotOwner) => return,
                Err(error) => {
                    tracing::warn!(%error, "a DDL step failed and is taken again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            let _ = tokio::time::timeout(QUEUE_LOOK, self.queue.notified()).await;
        }
    }
}
