//! [`Client`]: routes, connections, the lock resolver and what else all transactions of a process share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use codec::timestamp::Timestamp;
use futures::future::BoxFuture;
use net::grpc::Channels;
use parking_lot::RwLock;
use proto::{errorpb, kvrpcpb, metapb};

use crate::backoff::{Backoff, Reason};
use crate::error::{Error, Result, hex};
use crate::heartbeat::Heartbeats;
use crate::live::Live;
use crate::pd::{GrpcPd, PdClient};
use crate::region::{Region, RegionCache, encode};
use crate::request::{Command, Reply};
use crate::resolve::Resolver;
use crate::snapshot::Snapshot;
use crate::store::{Dial, RpcError, StoreConn, stub};
use crate::transaction::{Transaction, TxnOptions};
use crate::trips::REGION_LABEL;

/// How long a store may take for an ordinary command. A dead connection is noticed earlier, by its keepalive.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a store may take for one coprocessor task.
pub(crate) const COPROCESSOR_TIMEOUT: Duration = Duration::from_secs(60);
/// Where a store is: its address, and its region.
type StoreAddress = (String, Option<Arc<str>>);

/// How long PD is waited for when it is known where a store was.
const PD_PATIENCE: Duration = Duration::from_millis(500);
/// Regions loaded from PD at once when a range is walked.
const REGIONS_LOADED_MAX: usize = 256;

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long an operation is tried over failures before its caller is told.
    pub deadline: Duration,
    /// Bytes of one key and value together at most.
    pub entry_bytes_max: usize,
    /// Bytes of a transaction's keys and values together at most.
    pub txn_bytes_max: usize,
    /// Whether transactions within one region commit in one step.
    pub one_pc: bool,
    /// Whether small transactions commit as soon as they are prewritten.
    pub async_commit: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: crate::backoff::DEADLINE,
            entry_bytes_max: 6 << 20,
            txn_bytes_max: 100 << 20,
            one_pc: true,
            async_commit: true,
        }
    }
}

/// A client of a cluster. Clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pd: Arc<dyn PdClient>,
    /// For methods that are not batched.
    channels: Channels,
    /// For everything else.
    dial: Arc<dyn Dial>,
    pub(crate) options: ClientOptions,
    /// Protects the routes; never held over an await.
    regions: RwLock<RegionCache>,
    /// Connections by store id; never held over an await.
    stores: RwLock<HashMap<u64, Arc<StoreConn>>>,
    /// Where PD last said that stores are; never held over an await.
    addresses: RwLock<HashMap<u64, StoreAddress>>,
    pub(crate) resolver: Resolver,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) live: Arc<Live>,
}

/// One attempt that did not succeed, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// How long the store asked to be left alone.
    pub(crate) asked: Option<Duration>,
    pub(crate) why: String,
    /// Whether the command may have been executed all the same.
    pub(crate) maybe_executed: bool,
    /// Set when trying again would not help.
    pub(crate) fatal: Option<Error>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self { reason, asked: None, why: why.into(), maybe_executed: false, fatal: None }
    }

    fn maybe(mut self) -> Self {
        self.maybe_executed = true;
        self
    }

    /// Waits before the next attempt, or says why there is none.
    pub(crate) async fn wait(self, backoff: &mut Backoff) -> Result<()> {
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        crate::metrics::RETRIES.with_label_values(&[&format!("{:?}", self.reason)]).inc();
        backoff.wait(self.reason, self.asked, self.why).await
    }
}

impl Client {
    /// Connects to a cluster through its PD endpoints.
    pub fn connect(pd_endpoints: &[String], channels: Channels, options: ClientOptions) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let pd = GrpcPd::connect(pd_endpoints, channels.clone()).await?;
            Ok(Self::with_pd(Arc::new(pd), channels, options))
        })
    }

    /// A client over a PD client that exists already.
    pub fn with_pd(pd: Arc<dyn PdClient>, channels: Channels, options: ClientOptions) -> Self {
        Self::new(pd, channels.clone(), Arc::new(channels), options)
    }

    /// A client whose commands travel over connections of the caller's making. Splitting regions, which is no batched
    /// command, is out of its reach.
    pub fn with_dial(pd: Arc<dyn PdClient>, dial: Arc<dyn Dial>, options: ClientOptions) -> Self {
        Self::new(pd, Channels::default(), dial, options)
    }

    fn new(pd: Arc<dyn PdClient>, channels: Channels, dial: Arc<dyn Dial>, options: ClientOptions) -> Self {
        let inner = Inner {
            pd,
            channels,
            dial,
            options,
            regions: RwLock::default(),
            stores: RwLock::default(),
            addresses: RwLock::default(),
            resolver: Resolver::default(),
            heartbeats: Heartbeats::default(),
            live: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The placement driver's client.
    pub fn pd(&self) -> Arc<dyn PdClient> {
        self.inner.pd.clone()
    }

    /// The channels that the client connects with.
    pub fn channels(&self) -> &Channels {
        &self.inner.channels
    }

    /// The limits and switches in force.
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// A fresh timestamp.
    pub async fn timestamp(&self) -> Result<Timestamp> {
        Ok(self.inner.pd.timestamp().await?)
    }

    /// Begins a transaction at a fresh timestamp.
    pub async fn begin(&self, options: TxnOptions) -> Result<Transaction> {
        let start_ts = self.timestamp().await?;
        Ok(Transaction::new(self.clone(), start_ts, options))
    }

    /// Begins a transaction that reads at a timestamp taken earlier.
    pub fn begin_at(&self, start_ts: Timestamp, options: TxnOptions) -> Transaction {
        Transaction::new(self.clone(), start_ts, options)
    }

    /// The oldest timestamp that snapshots and transactions of this client may still read or commit at; `None` while there
    /// are none. From now on those older than `limit` do not count: what they do next fails with [`Error::TooOld`].
    pub fn oldest(&self, limit: Timestamp) -> Option<Timestamp> {
        self.inner.live.oldest(limit)
    }

    /// What was committed up to `ts`; at [`Timestamp::MAX`] the newest, for a single point read.
    pub fn snapshot(&self, ts: Timestamp) -> Snapshot {
        Snapshot::new(self.clone(), ts)
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.options.deadline)
    }

    /// The region that holds a key, from the cache or PD.
    pub(crate) async fn locate(&self, key: &[u8], backoff: &mut Backoff) -> Result<Arc<Region>> {
        loop {
            if let Some(region) = self.inner.regions.read().locate(key) {
                return Ok(region);
            }
            let found = self.inner.pd.get_region(&encode(key)).await?;
            let region = found.and_then(|info| Region::from_pb(info.region, info.leader.as_ref()));
            match region {
                Some(region) if region.contains(key) => return Ok(self.inner.regions.write().insert(region)),
                _ => backoff.wait(Reason::RegionMiss, None, format!("PD knows no region for key {}", hex(key))).await?,
            }
        }
    }

    /// The region that holds the last keys before `end` (empty: of all).
    pub(crate) async fn locate_before(&self, end: &[u8], backoff: &mut Backoff) -> Result<Arc<Region>> {
        loop {
            if let Some(region) = self.inner.regions.read().locate_before(end) {
                return Ok(region);
            }
            // The region of the last key before `end`: the one holding `end`, unless it begins there.
            let found = if end.is_empty() {
                // No key is after every key; a long run of 0xff is after all that are in use.
                self.inner.pd.get_region(&[0xff; 64]).await?
            } else {
                let at = encode(end);
                match self.inner.pd.get_region(&at).await? {
                    Some(info) if info.region.start_key == at => self.inner.pd.get_prev_region(&at).await?,
                    found => found,
                }
            };
            if let Some(region) = found.and_then(|info| Region::from_pb(info.region, info.leader.as_ref())) {
                let reaches = region.end.is_empty() || (!end.is_empty() && end <= region.end.as_slice());
                let region = self.inner.regions.write().insert(region);
                if reaches {
                    return Ok(region);
                }
            }
            backoff.wait(Reason::RegionMiss, None, format!("PD knows no region before {}", hex(end))).await?;
        }
    }

    /// Loads the regions of a range into the cache, so that walking it does not ask PD for each.
    pub(crate) async fn preload(&self, start: &[u8], end: &[u8]) -> Result<()> {
        let end = if end.is_empty() { Vec::new() } else { encode(end) };
        let start = if start.is_empty() { Vec::new() } else { encode(start) };
        for info in self.inner.pd.scan_regions(&start, &end, REGIONS_LOADED_MAX).await? {
            if let Some(region) = Region::from_pb(info.region, info.leader.as_ref()) {
                self.inner.regions.write().insert(region);
            }
        }
        Ok(())
    }

    /// Whether the region of a key is cached.
    pub(crate) fn is_cached(&self, key: &[u8]) -> bool {
        self.inner.regions.read().locate(key).is_some()
    }

    /// Groups keys by region: `(region, positions in keys)`, in the order in which regions are first met.
    pub(crate) async fn group(&self, keys: &[&[u8]], backoff: &mut Backoff) -> Result<Vec<(Arc<Region>, Vec<usize>)>> {
        let mut groups: Vec<(Arc<Region>, Vec<usize>)> = Vec::new();
        let mut last = 0;
        for (position, &key) in keys.iter().enumerate() {
            // Neighbours are usually together: look at the last group first.
            if let Some((region, members)) = groups.get_mut(last)
                && region.contains(key)
            {
                members.push(position);
                continue;
            }
            let region = self.locate(key, backoff).await?;
            last = match groups.iter().position(|(r, _)| r.id == region.id && r.version == region.version) {
                Some(at) => at,
                None => {
                    groups.push((region, Vec::new()));
                    groups.len() - 1
                }
            };
            groups[last].1.push(position);
        }
        Ok(groups)
    }

    /// Sends one command to the leader of a region, once. A failure has corrected the routes already.
    pub(crate) async fn send<C: Command>(
        &self,
        region: &Arc<Region>,
        mut command: C,
        timeout: Duration,
    ) -> std::result::Result<C::Response, Failure> {
        let peer = *region.leader();
        let store =
            self.store(peer.store_id).await.inspect_err(|_| self.inner.regions.write().on_unreachable(region))?;
        let context = command.context_mut().get_or_insert_default();
        context.region_id = region.id;
        context.region_epoch = Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version });
        context.peer = Some(peer);
        let started = std::time::Instant::now();
        let answer = store.call(command.into_cmd(), timeout).await;
        C::seconds().observe(started.elapsed().as_secs_f64());
        let mut response = match answer.map(C::Response::from_cmd) {
            Ok(Some(response)) => response,
            Ok(None) => {
                return Err(self.on_unreachable(
                    region,
                    peer.store_id,
                    &store,
                    store.error("an answer of another kind"),
                ));
            }
            Err(e) => return Err(self.on_unreachable(region, peer.store_id, &store, e)),
        };
        match response.take_region_error() {
            None => Ok(response),
            Some(error) => {
                let mut failure = self.on_region_error(region, error);
                failure.why = format!("{} on region {}: {}", C::NAME, region.id, failure.why);
                Err(failure)
            }
        }
    }

    /// The connection to a store.
    pub(crate) async fn store(&self, store_id: u64) -> std::result::Result<Arc<StoreConn>, Failure> {
        if let Some(store) = self.inner.stores.read().get(&store_id) {
            return Ok(store.clone());
        }
        let (address, region) = self.address(store_id).await?;
        let conn = Arc::new(StoreConn::new(address, region, Arc::clone(&self.inner.dial)));
        Ok(self.inner.stores.write().entry(store_id).or_insert(conn).clone())
    }

    /// Where a store is: its address, and its region. PD is asked, since stores move; without it, where the store was
    /// before.
    async fn address(&self, store_id: u64) -> std::result::Result<StoreAddress, Failure> {
        let before = self.inner.addresses.read().get(&store_id).cloned();
        let patience = if before.is_some() { PD_PATIENCE } else { Duration::MAX };
        let found = tokio::time::timeout(patience, self.inner.pd.get_store(store_id)).await;
        match (found, before) {
            (Ok(Ok(Some(store))), _)
                if store.state != metapb::StoreState::Tombstone as i32 && !store.address.is_empty() =>
            {
                let region = store.labels.into_iter().find(|label| label.key == REGION_LABEL);
                let found = (store.address, region.map(|label| label.value.into()));
                self.inner.addresses.write().insert(store_id, found.clone());
                Ok(found)
            }
            (Ok(Ok(_)), _) => Err(Failure::new(Reason::RegionMiss, format!("store {store_id} is not known to PD"))),
            (_, Some(before)) => Ok(before),
            (Ok(Err(e)), None) => {
                let why = e.to_string();
                Err(Failure { fatal: Some(Error::Pd(e)), ..Failure::new(Reason::Unreachable, why) })
            }
            (Err(_), None) => Err(Failure::new(Reason::Unreachable, "the placement driver does not answer")),
        }
    }

    fn on_unreachable(&self, region: &Region, store_id: u64, conn: &Arc<StoreConn>, error: RpcError) -> Failure {
        self.inner.regions.write().on_unreachable(region);
        // The store may come back elsewhere: its address is asked again.
        let mut stores = self.inner.stores.write();
        if stores.get(&store_id).is_some_and(|current| Arc::ptr_eq(current, conn)) {
            stores.remove(&store_id);
        }
        Failure::new(Reason::Unreachable, format!("region {} at store {store_id}: {error}", region.id)).maybe()
    }

    /// What a region error means for routes and for the next attempt.
    pub(crate) fn on_region_error(&self, region: &Region, error: errorpb::Error) -> Failure {
        let mut regions = self.inner.regions.write();
        let why = error.message.clone();
        if let Some(not_leader) = error.not_leader {
            let hint = not_leader.leader.filter(|leader| leader.id != 0);
            regions.on_not_leader(region, hint.as_ref());
            let reason = if hint.is_some() { Reason::RegionMiss } else { Reason::NotLeader };
            return Failure::new(reason, format!("not leader, hint {hint:?}"));
        }
        if let Some(epoch) = error.epoch_not_match {
            regions.on_epoch_not_match(region, epoch.current_regions);
            return Failure::new(Reason::RegionMiss, "epoch does not match");
        }
        if let Some(busy) = error.server_is_busy {
            let asked = Duration::from_millis(busy.backoff_ms.max(u64::from(busy.estimated_wait_ms)));
            let mut failure = Failure::new(Reason::Busy, format!("server is busy: {}", busy.reason));
            failure.asked = Some(asked);
            return failure;
        }
        if error.stale_command.is_some() {
            return Failure::new(Reason::NotReady, "stale command").maybe();
        }
        if let Some(large) = error.raft_entry_too_large {
            let size = usize::try_from(large.entry_size).unwrap_or(usize::MAX);
            let fatal = Error::EntryTooLarge { size, limit: self.inner.options.entry_bytes_max };
            return Failure { fatal: Some(fatal), ..Failure::new(Reason::Busy, why) };
        }
        if let Some(mismatch) = error.store_not_match {
            self.inner.stores.write().remove(&mismatch.request_store_id);
            regions.invalidate(region);
            return Failure::new(Reason::RegionMiss, "the address belongs to another store");
        }
        if let Some(full) = error.disk_full {
            return Failure::new(Reason::Busy, format!("disk full on stores {:?}: {}", full.store_id, full.reason));
        }
        let soon = error.max_timestamp_not_synced.is_some()
            || error.read_index_not_ready.is_some()
            || error.proposal_in_merging_mode.is_some()
            || error.data_is_not_ready.is_some();
        if soon {
            return Failure::new(Reason::NotReady, why);
        }
        let elsewhere = error.region_not_found.is_some()
            || error.key_not_in_region.is_some()
            || error.region_not_initialized.is_some()
            || error.mismatch_peer_id.is_some();
        regions.invalidate(region);
        if elsewhere {
            return Failure::new(Reason::RegionMiss, why);
        }
        Failure::new(Reason::NotReady, if why.is_empty() { "unknown region error".into() } else { why }).maybe()
    }

    /// Asks the store that leads a region to split it before each of these user keys; returns the resulting regions.
    pub async fn split_region(&self, keys: Vec<Vec<u8>>) -> Result<Vec<metapb::Region>> {
        let mut backoff = self.backoff();
        let mut left = keys;
        left.sort();
        left.dedup();
        let mut made = Vec::new();
        while !left.is_empty() {
            let groups = self.group(&slices(&left), &mut backoff).await?;
            let mut again = Vec::new();
            for (region, members) in groups {
                // A region that begins with the key is split there already.
                let wanted: Vec<Vec<u8>> =
                    members.iter().map(|&i| left[i].clone()).filter(|key| *key != region.start).collect();
                if wanted.is_empty() {
                    continue;
                }
                match self.split_one(&region, &wanted).await {
                    Ok(regions) => made.extend(regions),
                    Err(failure) => {
                        failure.wait(&mut backoff).await?;
                        again.extend(wanted);
                    }
                }
            }
            left = again;
        }
        Ok(made)
    }

    async fn split_one(
        &self,
        region: &Arc<Region>,
        keys: &[Vec<u8>],
    ) -> std::result::Result<Vec<metapb::Region>, Failure> {
        let peer = *region.leader();
        let store = self.store(peer.store_id).await?;
        let request = kvrpcpb::SplitRegionRequest {
            context: Some(kvrpcpb::Context {
                region_id: region.id,
                region_epoch: Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version }),
                peer: Some(peer),
                ..Default::default()
            }),
            split_keys: keys.to_vec(),
            ..Default::default()
        };
        let mut stub = match self.inner.channels.get(store.address()) {
            Ok(channel) => stub(channel),
            Err(_) => {
                let error = store.error("the address is invalid");
                return Err(self.on_unreachable(region, peer.store_id, &store, error));
            }
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, stub.split_region(request)).await;
        let response = match answer {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                let mut failure =
                    self.on_unreachable(region, peer.store_id, &store, store.error("split region was refused"));
                failure.why = format!("{}: {}", failure.why, status.message());
                return Err(failure);
            }
            Err(_) => return Err(self.on_unreachable(region, peer.store_id, &store, store.error("no answer in time"))),
        };
        if let Some(error) = response.region_error {
            return Err(self.on_region_error(region, error));
        }
        let mut regions = self.inner.regions.write();
        regions.invalidate(region);
        for made in &response.regions {
            let leader = made.peers.iter().find(|p| p.store_id == peer.store_id);
            if let Some(made) = Region::from_pb(made.clone(), leader) {
                regions.insert(made);
            }
        }
        Ok(response.regions)
    }

    /// Deletes every version of the keys in `[start, end)` (user keys) from the stores at once, without transactions:
    /// for dropped tables and indexes, when no snapshot can read them any more.
    pub async fn delete_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        let mut backoff = self.backoff();
        let mut at = start.to_vec();
        loop {
            let region = self.locate(&at, &mut backoff).await?;
            let last = region.end.is_empty() || (!end.is_empty() && region.end.as_slice() >= end);
            let upto = if last { end.to_vec() } else { region.end.clone() };
            let request =
                kvrpcpb::DeleteRangeRequest { start_key: at.clone(), end_key: upto.clone(), ..Default::default() };
            match self.send(&region, request, COPROCESSOR_TIMEOUT).await {
                Ok(response) if response.error.is_empty() => {
                    if last {
                        return Ok(());
                    }
                    at = upto;
                }
                Ok(response) => return Err(Error::Refused(response.error)),
                Err(failure) => failure.wait(&mut backoff).await?,
            }
        }
    }
}

/// Keys as slices.
pub(crate) fn slices(keys: &[Vec<u8>]) -> Vec<&[u8]> {
    keys.iter().map(Vec::as_slice).collect()
}
