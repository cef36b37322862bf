//! Which member leads: whoever owns the leader key, for as long as its lease is known to live.
//!
//! ```text
//!   follow:    read the leader key ── held by another ──► watch it until it is deleted
//!        └─── free ──► campaign: create it under a fresh lease ── won ──► lead, renewing the lease
//! ```
//!
//! The leader counts its lease from before it asked to renew it, so it stops believing in itself before the store
//! deletes its key and anybody else can win: at most one member answers as leader at any time, as long as clocks run
//! at about the same speed.
//!
//! Priority: a follower with a higher priority than the leader's writes its name under `next_leader`; the leader
//! resigns when it sees that, and the others leave the next campaign to the named one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, EventType, PutOptions, Txn, TxnOp, WatchOptions};
use net::clock::since_boot;
use prost::Message as _;
use proto::pdpb::Member;

use crate::kv::{self, Keys, KvError, timed};

/// How long the others leave the campaign to the member named as next leader, in seconds.
const NEXT_LEADER_TTL_S: i64 = 8;
/// How often followers compare priorities and the leader looks for a successor.
pub const PRIORITY_CHECK: Duration = Duration::from_secs(3);
/// Pause after a failed attempt.
pub const RETRY: Duration = Duration::from_millis(300);

/// The leader's belief in itself.
#[derive(Debug)]
pub struct LeaseClock {
    /// Until when the lease surely lives, in milliseconds since the machine was started. It counts while the machine sleeps.
    valid_ms: AtomicU64,
}

impl LeaseClock {
    fn new() -> LeaseClock {
        LeaseClock { valid_ms: AtomicU64::new(0) }
    }

    /// Whether the lease surely lives.
    pub fn is_valid(&self) -> bool {
        (since_boot().as_millis() as u64) < self.valid_ms.load(Ordering::Acquire)
    }

    /// Never again.
    pub fn expire(&self) {
        self.valid_ms.store(0, Ordering::Release);
    }

    /// `asked`: when, since the machine was started.
    fn renewed(&self, asked: Duration, ttl: Duration) {
        self.valid_ms.store((asked + ttl).as_millis() as u64, Ordering::Release);
    }

    fn remaining(&self) -> Duration {
        let valid = Duration::from_millis(self.valid_ms.load(Ordering::Acquire));
        valid.saturating_sub(since_boot())
    }
}

/// A term of leadership that was won.
#[derive(Debug)]
pub struct Term {
    /// The lease of the leader key.
    pub lease_id: i64,
    /// Creation revision of the leader key: names the term.
    pub created: i64,
    /// Until when it may act.
    pub clock: Arc<LeaseClock>,
}

/// What the leader key says.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderInfo {
    /// The leader.
    pub member: Member,
    /// Creation revision of its key.
    pub created: i64,
    /// The store's revision at the time of reading.
    pub revision: i64,
}

/// Reads the leader key.
pub async fn leader(client: &Client, keys: &Keys) -> Result<Option<LeaderInfo>, KvError> {
    let key = keys.leader();
    let response = timed(client.kv_client().get(key.as_str(), None)).await?;
    let revision = response.header().map_or(0, |h| h.revision());
    let Some(kv) = response.kvs().first() else { return Ok(None) };
    let member = Member::decode(kv.value()).map_err(|_| KvError::Corrupt(key))?;
    Ok(Some(LeaderInfo { member, created: kv.create_revision(), revision }))
}

/// Deletes a leader key of an earlier life of this member, so that nobody has to wait for its lease.
pub async fn clear_own(client: &Client, keys: &Keys, leader: &LeaderInfo) -> Result<(), KvError> {
    let key = keys.leader();
    let same = Compare::create_revision(key.as_str(), CompareOp::Equal, leader.created);
    timed(client.kv_client().txn(Txn::new().when([same]).and_then([TxnOp::delete(key.as_str(), None)]))).await?;
    Ok(())
}

/// Returns when the leader key has changed hands or is gone.
pub async fn leader_changed(client: &Client, keys: &Keys, from: &LeaderInfo) -> Result<(), KvError> {
    let options = WatchOptions::new().with_start_revision(from.revision + 1);
    let mut watch = timed(client.watch_client().watch(keys.leader(), Some(options))).await?;
    loop {
        match watch.message().await? {
            Some(response) if response.canceled() => return Ok(()),
            Some(response) => {
                let gone = response.events().iter().any(|event| {
                    event.event_type() == EventType::Delete
                        || event.kv().is_none_or(|kv| kv.create_revision() != from.created)
                });
                if gone {
                    return Ok(());
                }
            }
            None => return Ok(()),
        }
    }
}

/// Tries to become leader. Nothing: somebody else was faster, or is named as next leader.
pub async fn campaign(client: &Client, keys: &Keys, member: &Member, lease: Duration) -> Result<Option<Term>, KvError> {
    let next = kv::get(client, &keys.next_leader()).await?;
    if next.is_some_and(|kv| kv.value() != member.name.as_bytes()) {
        tokio::time::sleep(RETRY).await;
        return Ok(None);
    }
    let clock = Arc::new(LeaseClock::new());
    let asked = since_boot();
    let granted = timed(client.lease_client().grant(lease.as_secs().max(1) as i64, None)).await?;
    let lease_id = granted.id();
    let key = keys.leader();
    let free = Compare::create_revision(key.as_str(), CompareOp::Equal, 0);
    let options = PutOptions::new().with_lease(lease_id);
    let txn = Txn::new().when([free]).and_then([
        TxnOp::put(key.as_str(), member.encode_to_vec(), Some(options)),
        TxnOp::delete(keys.next_leader(), None),
    ]);
    let result = timed(client.kv_client().txn(txn)).await;
    match result {
        Ok(response) if response.succeeded() => {
            clock.renewed(asked, Duration::from_secs(granted.ttl().max(0) as u64));
            let created = response.header().map_or(0, |h| h.revision());
            Ok(Some(Term { lease_id, created, clock }))
        }
        other => {
            // Whether we have won or not, without the lease there is no key.
            let _ = timed(client.lease_client().revoke(lease_id)).await;
            other.map(|_| None)
        }
    }
}

/// Renews the lease until it is lost. Each renewal counts from before it was asked for.
pub async fn keep(client: &Client, term: &Term, lease: Duration) {
    let interval = lease / 3;
    while term.clock.is_valid() {
        let asked = since_boot();
        let Ok((mut keeper, mut answers)) = timed(client.lease_client().keep_alive(term.lease_id)).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        // It was renewed to open the stream. Far from the store, campaign and opening have used up much of the lease.
        term.clock.renewed(asked, lease);
        loop {
            let asked = since_boot();
            let answer = tokio::time::timeout(term.clock.remaining(), async {
                keeper.keep_alive().await?;
                answers.message().await
            });
            match answer.await {
                Ok(Ok(Some(answer))) if answer.ttl() > 0 => {
                    term.clock.renewed(asked, Duration::from_secs(answer.ttl() as u64));
                }
                Ok(Ok(Some(_))) => {
                    term.clock.expire();
                    return;
                }
                // The stream broke: make another while the lease lives.
                Ok(Ok(None) | Err(_)) => break,
                Err(_) => return,
            }
            tokio::time::sleep(interval).await;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Gives the leadership up at once.
pub async fn resign(client: &Client, term: &Term) {
    term.clock.expire();
    if let Err(e) = timed(client.lease_client().revoke(term.lease_id)).await {
        tracing::info!(error = %e, "giving the leader key back failed, its lease will end");
    }
}

/// Names the member that shall lead next.
pub async fn nominate(client: &Client, keys: &Keys, name: &str) -> Result<(), KvError> {
    let lease = timed(client.lease_client().grant(NEXT_LEADER_TTL_S, None)).await?;
    let options = PutOptions::new().with_lease(lease.id());
    timed(client.kv_client().put(keys.next_leader(), name, Some(options))).await?;
    Ok(())
}

/// The member named to lead next.
pub async fn nominated(client: &Client, keys: &Keys) -> Result<Option<String>, KvError> {
    let next = kv::get(client, &keys.next_leader()).await?;
    Ok(next.map(|kv| String::from_utf8_lossy(kv.value()).into_owned()))
}
