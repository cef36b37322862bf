//! What one term of PD leadership holds and does: timestamps, ids, the cluster, its rules and its operators.
//!
//! It is loaded from the metadata store when the term is won and thrown away when it ends. Every decision is made by
//! the pure modules under one short lock ([`Brain`]); this file gives them the time, writes what must be durable
//! (always as [`LeaderWriter`], so a deposed leader can't), and pushes instructions to the stores' streams.
//!
//! ```text
//!   heartbeat ─► cluster.region_heartbeat ─► checker ─► controller ─► instruction ─► the leader store's stream
//!   patrol, rules changed, split reported ──────┘
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, TxnOp};
use parking_lot::Mutex;
use prost::Message as _;
use proto::{metapb, pdpb};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::cluster::model::{Region, Store, StoreState};
use crate::cluster::{Cluster, StoreError};
use crate::config::Config;
use crate::election::Term;
use crate::kv::{self, Keys, KvError, LeaderWriter, TXN_OPS_MAX};
use crate::metrics;
use crate::placement::rule::{Rule, RuleGroup};
use crate::placement::rules::{RuleError, RuleSet};
use crate::schedule::checker::{self, Replication};
use crate::schedule::controller::Controller;
use crate::schedule::operator::{Operator, Priority, Step};
use crate::schedule::{View, schedulers};
use crate::server::convert;
use crate::tso::{Allocated, Allocator, Pace, TsoError};

/// Wall clock in milliseconds since the Unix epoch; tests bring their own.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |d| d.as_millis() as u64)
    })
}

/// Ids reserved at a time.
const ID_WINDOW: u64 = 1_000;
/// More are reserved when fewer than this are left, so that schedulers don't wait.
const ID_LOW: u64 = 300;
/// How long a timestamp request waits for its window.
const TSO_WAIT: Duration = Duration::from_secs(2);
/// How often the saved timestamp window is looked at.
const TSO_CHECK: Duration = Duration::from_millis(500);
/// Instructions waiting for one store. When full, they are dropped: the controller repeats them.
const INSTRUCTIONS_MAX: usize = 1_024;
/// Beat of patrol, flushing and balancing when nothing calls for more.
const PATROL_INTERVAL: Duration = Duration::from_secs(1);
/// Regions looked at by one patrol step, so that a large cluster is patrolled over several.
const PATROL_REGIONS_MAX: usize = 2_000;
/// Regions looked at under one hold of the lock.
const SUSPECTS_MAX: usize = 256;

/// Why a request to the leader failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// Timestamps.
    #[error(transparent)]
    Tso(#[from] TsoError),
    /// The metadata store.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The lease may be over.
    #[error("not leader: the lease may have lapsed")]
    LeaseLapsed,
    /// A store's registration or state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Placement rules.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Bootstrap comes first.
    #[error("cluster is not bootstrapped")]
    NotBootstrapped,
    /// It was bootstrapped by another store.
    #[error("cluster is already bootstrapped")]
    AlreadyBootstrapped,
    /// A bootstrap request that can't be.
    #[error("invalid bootstrap request: {0}")]
    InvalidBootstrap(String),
    /// Timestamps or safe points out of order, unknown regions and the like.
    #[error("{0}")]
    Invalid(String),
}

/// All decisions' data. Locked for a short time, never over an await.
pub struct Brain {
    /// Stores and regions.
    pub cluster: Cluster,
    /// Placement rules.
    pub rules: RuleSet,
    /// Operators under way.
    pub controller: Controller,
    /// Regions to look at soon.
    suspects: VecDeque<u64>,
    /// Where the patrol goes on.
    patrol_from: Vec<u8>,
    /// Each store's lowest resolved timestamp.
    pub min_resolved: BTreeMap<u64, u64>,
}

#[derive(Default)]
struct IdWindow {
    next: u64,
    end: u64,
}

/// See the module header.
pub struct Leader {
    /// The term.
    pub term: Term,
    writer: LeaderWriter,
    keys: Keys,
    clock: Clock,
    config: Config,
    cluster_id: u64,
    tso: Mutex<Allocator>,
    pace: Mutex<Pace>,
    started: Instant,
    tso_wanted: Notify,
    tso_saved: Notify,
    ids: Mutex<IdWindow>,
    /// One reservation at a time.
    id_reserving: tokio::sync::Mutex<()>,
    id_wanted: Notify,
    brain: Mutex<Brain>,
    bootstrapped: Mutex<Option<metapb::Cluster>>,
    /// Serializes changes of stores, rules and safe points: each reads, writes durably, then puts.
    changing: tokio::sync::Mutex<Durable>,
    streams: Mutex<HashMap<u64, mpsc::Sender<pdpb::RegionHeartbeatResponse>>>,
    wake: Notify,
}

/// What the metadata store holds, where it is needed to write only differences.
#[derive(Default)]
struct Durable {
    rules: BTreeMap<String, Vec<u8>>,
    gc_safe_point: u64,
    gc_services: BTreeMap<String, ServiceSafePoint>,
}

/// A service that needs history from a timestamp on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ServiceSafePoint {
    /// The service.
    pub service_id: String,
    /// Seconds since the Unix epoch until which it counts.
    pub expired_at: i64,
    /// The oldest timestamp it needs.
    pub safe_point: u64,
}

impl Leader {
    /// Loads everything for a term that was just won.
    pub async fn load(
        term: Term,
        client: etcd_client::Client,
        keys: Keys,
        cluster_id: u64,
        config: Config,
        clock: Clock,
    ) -> Result<Leader, KvError> {
        let writer = LeaderWriter::new(client.clone(), keys.leader(), term.created);
        let saved_ms = kv::get_u64(&client, &keys.timestamp()).await?.unwrap_or(0);
        let window_ms = config.tso_save_interval.0.as_millis() as u64;
        let started = Instant::now();
        let pace = Pace::new(clock(), 0);
        let mut tso = Allocator::new(saved_ms, clock(), window_ms);
        if let Some(bound) = tso.to_save(clock()) {
            writer.write(vec![TxnOp::put(keys.timestamp(), bound.to_be_bytes(), None)]).await?;
            tso.saved(bound);
        }
        let spent_ids = kv::get_u64(&client, &keys.alloc_id()).await?.unwrap_or(0);
        let bootstrapped = match kv::get(&client, &keys.cluster()).await? {
            Some(kv) => Some(metapb::Cluster::decode(kv.value()).map_err(|_| KvError::Corrupt(keys.cluster()))?),
            None => None,
        };
        let mut cluster = Cluster::default();
        let now_ms = clock();
        let corrupt = |kv: &etcd_client::KeyValue| KvError::Corrupt(String::from_utf8_lossy(kv.key()).into_owned());
        kv::scan(&client, &keys.stores(), |kv| {
            let mut store = convert::store_from_meta(metapb::Store::decode(kv.value()).map_err(|_| corrupt(kv))?);
            // It has had no chance to report to this leader yet.
            store.last_heartbeat_ms = now_ms;
            cluster.load_store(store);
            Ok(())
        })
        .await?;
        kv::scan(&client, &keys.regions(), |kv| {
            let meta = metapb::Region::decode(kv.value()).map_err(|_| corrupt(kv))?;
            cluster.load_region(convert::region_from_meta(meta));
            Ok(())
        })
        .await?;
        let mut durable = Durable::default();
        let (mut rules, mut groups): (Vec<Rule>, Vec<RuleGroup>) = (Vec::new(), Vec::new());
        kv::scan(&client, &keys.rules(), |kv| {
            rules.push(serde_json::from_slice(kv.value()).map_err(|_| corrupt(kv))?);
            durable.rules.insert(String::from_utf8_lossy(kv.key()).into_owned(), kv.value().to_vec());
            Ok(())
        })
        .await?;
        kv::scan(&client, &keys.rule_groups(), |kv| {
            groups.push(serde_json::from_slice(kv.value()).map_err(|_| corrupt(kv))?);
            durable.rules.insert(String::from_utf8_lossy(kv.key()).into_owned(), kv.value().to_vec());
            Ok(())
        })
        .await?;
        let replication = &config.replication;
        let default = || RuleSet::new(replication.max_replicas as u32, &replication.location_labels);
        let rules = if rules.is_empty() {
            default()
        } else {
            // Leading by other rules would move everybody's data to where it must not be.
            RuleSet::load(rules, groups).map_err(|e| KvError::Corrupt(format!("placement rules ({e})")))?
        };
        durable.gc_safe_point = kv::get_u64(&client, &keys.gc_safe_point()).await?.unwrap_or(0);
        kv::scan(&client, &keys.gc_services(), |kv| {
            let service: ServiceSafePoint = serde_json::from_slice(kv.value()).map_err(|_| corrupt(kv))?;
            durable.gc_services.insert(service.service_id.clone(), service);
            Ok(())
        })
        .await?;
        tracing::info!(
            term = term.created,
            stores = cluster.stores().len(),
            regions = cluster.regions.len(),
            "leading the cluster"
        );
        Ok(Leader {
            term,
            writer,
            keys,
            clock,
            config,
            cluster_id,
            tso: Mutex::new(tso),
            pace: Mutex::new(pace),
            started,
            tso_wanted: Notify::new(),
            tso_saved: Notify::new(),
            ids: Mutex::new(IdWindow { next: spent_ids + 1, end: spent_ids + 1 }),
            id_reserving: tokio::sync::Mutex::default(),
            id_wanted: Notify::new(),
            brain: Mutex::new(Brain {
                cluster,
                rules,
                controller: Controller::default(),
                suspects: VecDeque::new(),
                patrol_from: Vec::new(),
                min_resolved: BTreeMap::new(),
            }),
            bootstrapped: Mutex::new(bootstrapped),
            changing: tokio::sync::Mutex::new(durable),
            streams: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Whether the lease surely lives.
    pub fn is_valid(&self) -> bool {
        self.term.clock.is_valid()
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// The time that timestamps tell.
    fn tso_ms(&self) -> u64 {
        self.pace.lock().now(self.now_ms(), self.started.elapsed().as_millis() as u64)
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The writer of this term.
    pub fn writer(&self) -> &LeaderWriter {
        &self.writer
    }

    // ---- timestamps and ids ----

    /// Gives timestamps; the answer is the last of `count`.
    pub async fn timestamps(&self, count: u32) -> Result<Allocated, LeaderError> {
        match self.try_timestamps(count) {
            Err(LeaderError::Tso(TsoError::WindowExhausted)) => {}
            other => return other,
        }
        let deadline = tokio::time::Instant::now() + TSO_WAIT;
        loop {
            let saved = self.tso_saved.notified();
            tokio::pin!(saved);
            // Registered before asking, so that a save in between is not missed.
            saved.as_mut().enable();
            match self.try_timestamps(count) {
                Err(LeaderError::Tso(TsoError::WindowExhausted)) => self.tso_wanted.notify_one(),
                other => return other,
            }
            if tokio::time::timeout_at(deadline, saved).await.is_err() {
                return Err(TsoError::WindowExhausted.into());
            }
        }
    }

    fn try_timestamps(&self, count: u32) -> Result<Allocated, LeaderError> {
        let allocated = self.tso.lock().allocate(count, self.tso_ms())?;
        metrics::TSO_REQUESTS.inc();
        metrics::TSO_TIMESTAMPS.inc_by(u64::from(count));
        // After allocating: a successor starts above our window, so if we lead now, nobody was given a later one.
        if !self.is_valid() {
            return Err(LeaderError::LeaseLapsed);
        }
        Ok(allocated)
    }

    async fn save_timestamps(&self) -> Result<(), KvError> {
        let Some(bound) = self.tso.lock().to_save(self.tso_ms()) else { return Ok(()) };
        self.writer.write(vec![TxnOp::put(self.keys.timestamp(), bound.to_be_bytes(), None)]).await?;
        self.tso.lock().saved(bound);
        self.tso_saved.notify_waiters();
        Ok(())
    }

    /// A new id, unique in the cluster for ever.
    pub async fn alloc_id(&self) -> Result<u64, LeaderError> {
        loop {
            if let Some(id) = self.try_alloc_id() {
                return Ok(id);
            }
            self.reserve_ids().await?;
        }
    }

    fn try_alloc_id(&self) -> Option<u64> {
        let mut ids = self.ids.lock();
        if ids.end - ids.next < ID_LOW {
            self.id_wanted.notify_one();
        }
        let id = ids.next;
        (id < ids.end).then(|| {
            ids.next += 1;
            id
        })
    }

    async fn reserve_ids(&self) -> Result<(), KvError> {
        let _one = self.id_reserving.lock().await;
        let end = {
            let ids = self.ids.lock();
            if ids.end - ids.next >= ID_LOW {
                return Ok(());
            }
            ids.end
        };
        let next_end = end + ID_WINDOW;
        self.writer.write(vec![TxnOp::put(self.keys.alloc_id(), (next_end - 1).to_be_bytes(), None)]).await?;
        self.ids.lock().end = next_end;
        Ok(())
    }

    // ---- bootstrap and stores ----

    /// The cluster's record, once bootstrapped.
    pub fn bootstrapped(&self) -> Option<metapb::Cluster> {
        *self.bootstrapped.lock()
    }

    /// Fails unless bootstrapped.
    pub fn check_bootstrapped(&self) -> Result<(), LeaderError> {
        if self.bootstrapped.lock().is_some() { Ok(()) } else { Err(LeaderError::NotBootstrapped) }
    }

    /// The first store brings the first region, which holds all keys.
    pub async fn bootstrap(&self, store: metapb::Store, region: metapb::Region) -> Result<(), LeaderError> {
        let invalid = |reason: &str| Err(LeaderError::InvalidBootstrap(reason.into()));
        if store.id == 0 || region.id == 0 {
            return invalid("store and region need an id");
        }
        if !region.start_key.is_empty() || !region.end_key.is_empty() {
            return invalid("the first region must hold all keys");
        }
        if region.peers.len() != 1 || region.peers[0].store_id != store.id || region.peers[0].id == 0 {
            return invalid("the first region must have one peer, on the first store");
        }
        let _changing = self.changing.lock().await;
        if self.bootstrapped.lock().is_some() {
            return Err(LeaderError::AlreadyBootstrapped);
        }
        let cluster =
            metapb::Cluster { id: self.cluster_id, max_peer_count: self.config.replication.max_replicas as u32 };
        let key = self.keys.cluster();
        let store = convert::store_from_meta(store);
        let ops = vec![
            TxnOp::put(key.as_str(), cluster.encode_to_vec(), None),
            TxnOp::put(self.keys.store(store.id), convert::store_to_meta(&store).encode_to_vec(), None),
            TxnOp::put(self.keys.region(region.id), region.encode_to_vec(), None),
        ];
        let fresh = Compare::create_revision(key.as_str(), CompareOp::Equal, 0);
        if !self.writer.write_if(vec![fresh], ops).await? {
            return Err(LeaderError::AlreadyBootstrapped);
        }
        tracing::info!(cluster = self.cluster_id, store = store.id, region = region.id, "cluster bootstrapped");
        let mut brain = self.brain.lock();
        brain.cluster.put_store(Store { last_heartbeat_ms: self.now_ms(), ..store });
        brain.cluster.load_region(convert::region_from_meta(region));
        *self.bootstrapped.lock() = Some(cluster);
        Ok(())
    }

    /// Registers a store, or its restart.
    pub async fn put_store(&self, store: metapb::Store) -> Result<(), LeaderError> {
        self.check_bootstrapped()?;
        let _changing = self.changing.lock().await;
        let store = self.brain.lock().cluster.register_store(convert::store_from_meta(store), self.now_ms())?;
        self.write_store(&store).await?;
        tracing::info!(store = store.id, address = %store.address, labels = ?store.labels, "store registered");
        self.brain.lock().cluster.put_store(store);
        self.wake.notify_one();
        Ok(())
    }

    /// Changes what was decided about a store.
    pub async fn set_store_state(&self, id: u64, state: StoreState) -> Result<(), LeaderError> {
        let _changing = self.changing.lock().await;
        let store = self.brain.lock().cluster.with_state(id, state)?;
        self.write_store(&store).await?;
        tracing::info!(store = id, ?state, "store state changed");
        self.brain.lock().cluster.put_store(store);
        self.suspect_all();
        Ok(())
    }

    /// Sets labels of a store, replacing those of the same name.
    pub async fn set_store_labels(&self, id: u64, labels: BTreeMap<String, String>) -> Result<(), LeaderError> {
        let _changing = self.changing.lock().await;
        let found = self.brain.lock().cluster.store(id).cloned();
        let mut store = found.ok_or(StoreError::NotFound(id))?;
        store.labels.extend(labels);
        self.write_store(&store).await?;
        self.brain.lock().cluster.put_store(store);
        self.suspect_all();
        Ok(())
    }

    /// Deletes the records of tombstones.
    pub async fn remove_tombstones(&self) -> Result<usize, LeaderError> {
        let _changing = self.changing.lock().await;
        let tombstones: Vec<u64> = {
            let brain = self.brain.lock();
            brain.cluster.stores().values().filter(|s| s.state == StoreState::Tombstone).map(|s| s.id).collect()
        };
        for id in &tombstones {
            self.writer.write(vec![TxnOp::delete(self.keys.store(*id), None)]).await?;
            self.brain.lock().cluster.remove_store(*id);
        }
        Ok(tombstones.len())
    }

    async fn write_store(&self, store: &Store) -> Result<(), KvError> {
        let record = convert::store_to_meta(store).encode_to_vec();
        self.writer.write(vec![TxnOp::put(self.keys.store(store.id), record, None)]).await
    }

    /// A store reports.
    pub fn store_heartbeat(&self, stats: &pdpb::StoreStats) -> Result<(), LeaderError> {
        self.check_bootstrapped()?;
        let sizes = [stats.capacity, stats.available, stats.used_size];
        let mut brain = self.brain.lock();
        let now_ms = self.now_ms();
        Ok(brain.cluster.store_heartbeat(stats.store_id, now_ms, sizes)?)
    }

    // ---- regions ----

    /// Reads decisions' data.
    pub fn read<T>(&self, read: impl FnOnce(&Brain) -> T) -> T {
        read(&self.brain.lock())
    }

    /// Notes a store's lowest resolved timestamp.
    pub fn report_min_resolved(&self, store_id: u64, ts: u64) {
        self.brain.lock().min_resolved.insert(store_id, ts);
    }

    /// The stream on which a store is told things. A later stream replaces an earlier one.
    pub fn open_stream(&self, store_id: u64) -> mpsc::Receiver<pdpb::RegionHeartbeatResponse> {
        let (sender, receiver) = mpsc::channel(INSTRUCTIONS_MAX);
        self.streams.lock().insert(store_id, sender);
        receiver
    }

    /// A region's leader reports. Instructions go out on the store's stream.
    pub fn region_heartbeat(&self, region: Region) {
        metrics::REGION_HEARTBEATS.inc();
        let now_ms = self.now_ms();
        let mut brain = self.brain.lock();
        let id = region.id;
        match brain.cluster.region_heartbeat(region) {
            Ok(change) => {
                if change.matters() {
                    tracing::debug!(region = id, ?change, "region changed");
                    self.check(&mut brain, id, now_ms);
                    if !change.evicted.is_empty() {
                        self.wake.notify_one();
                    }
                }
                self.dispatch(&mut brain, id, now_ms);
            }
            Err(stale) => tracing::debug!(%stale, "heartbeat ignored"),
        }
    }

    /// Regions that a split made, with the left one; leaders are guessed until they report.
    pub fn report_split(&self, metas: Vec<metapb::Region>) {
        let mut regions: Vec<Region> = metas.into_iter().map(convert::region_from_meta).collect();
        let mut brain = self.brain.lock();
        // The store that led the region before the split leads its parts first.
        let led_by = regions.iter().find_map(|r| Some(brain.cluster.regions.get(r.id)?.leader_peer()?.store_id));
        for region in &mut regions {
            if let Some(store) = led_by
                && brain.cluster.regions.get(region.id).is_none()
            {
                region.leader = region.peer_on(store).map(|p| p.id);
            }
        }
        for region in regions {
            let id = region.id;
            match brain.cluster.region_heartbeat(region) {
                Ok(_) => brain.suspects.push_back(id),
                Err(stale) => tracing::debug!(%stale, "split report ignored"),
            }
        }
        drop(brain);
        self.wake.notify_one();
    }

    /// Ids for the regions and peers that a split makes.
    pub async fn ask_split(&self, region: &metapb::Region, count: u32) -> Result<Vec<pdpb::SplitId>, LeaderError> {
        self.check_bootstrapped()?;
        if count == 0 || count > 1_024 {
            return Err(LeaderError::Invalid(format!("cannot split region {} into {count} more", region.id)));
        }
        let epoch = region.region_epoch.unwrap_or_default();
        let known = self.brain.lock().cluster.regions.get(region.id).map(|known| known.epoch);
        if let Some(known) = known
            && (epoch.version < known.version || epoch.conf_ver < known.conf_ver)
        {
            return Err(LeaderError::Invalid(format!(
                "invalid region epoch, request: {epoch:?}, current: {:?}",
                convert::epoch_to(known)
            )));
        }
        let mut ids = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let new_region_id = self.alloc_id().await?;
            let mut new_peer_ids = Vec::with_capacity(region.peers.len());
            for _ in &region.peers {
                new_peer_ids.push(self.alloc_id().await?);
            }
            ids.push(pdpb::SplitId { new_region_id, new_peer_ids });
        }
        Ok(ids)
    }

    /// Has regions split at the keys, and tells how many of them are boundaries in the end, and the regions there.
    pub async fn split_at(&self, keys: &[Vec<u8>], wait: Duration) -> (usize, Vec<u64>) {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let mut there = Vec::new();
            {
                let now_ms = self.now_ms();
                let mut brain = self.brain.lock();
                let mut wanted: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
                for key in keys {
                    match brain.cluster.regions.by_key(key) {
                        Some(region) if region.start_key == *key => there.push(region.id),
                        Some(region) => wanted.entry(region.id).or_default().push(key.clone()),
                        None => {}
                    }
                }
                for (id, mut keys) in wanted {
                    keys.sort();
                    keys.dedup();
                    let Some(region) = brain.cluster.regions.get(id).cloned() else { continue };
                    if brain.controller.get(id).is_none_or(|o| o.priority < Priority::Admin) {
                        let steps = vec![Step::Split { keys }];
                        let operator = Operator::new("split on request", &region, Priority::Admin, steps, now_ms);
                        brain.controller.add(operator, now_ms);
                    }
                    self.dispatch(&mut brain, id, now_ms);
                }
            }
            if there.len() == keys.len() || tokio::time::Instant::now() >= deadline {
                return (there.len(), there);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    // ---- placement rules ----

    /// Changes the rules: `change` makes the next set from the current one and the stores that live.
    pub async fn change_rules(
        &self,
        change: impl FnOnce(&RuleSet, &[&Store]) -> Result<RuleSet, RuleError>,
    ) -> Result<(), LeaderError> {
        let mut durable = self.changing.lock().await;
        let next = {
            let brain = self.brain.lock();
            let stores: Vec<&Store> =
                brain.cluster.stores().values().filter(|s| s.state != StoreState::Tombstone).collect();
            change(&brain.rules, &stores)?
        };
        let mut records: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for rule in next.rules() {
            let json = serde_json::to_vec(rule).map_err(|e| LeaderError::Invalid(e.to_string()))?;
            records.insert(self.keys.rule(&rule.group_id, &rule.id), json);
        }
        for group in next.groups() {
            let json = serde_json::to_vec(group).map_err(|e| LeaderError::Invalid(e.to_string()))?;
            records.insert(self.keys.rule_group(&group.id), json);
        }
        let changed = records.iter().filter(|(key, json)| durable.rules.get(*key) != Some(json));
        let mut ops: Vec<TxnOp> = changed.map(|(key, json)| TxnOp::put(key.as_str(), json.clone(), None)).collect();
        let gone = durable.rules.keys().filter(|key| !records.contains_key(*key));
        ops.extend(gone.map(|key| TxnOp::delete(key.as_str(), None)));
        // Additions before removals; a change of more than one transaction is completed by its repetition.
        for ops in ops.chunks(TXN_OPS_MAX) {
            self.writer.write(ops.to_vec()).await?;
        }
        durable.rules = records;
        self.brain.lock().rules = next;
        self.suspect_all();
        Ok(())
    }

    /// How the regions of a range stand to their rules: the worst of them.
    pub fn replication(&self, start: &[u8], end: &[u8]) -> Replication {
        let brain = self.brain.lock();
        with_view(&brain.cluster, self.now_ms(), &self.config, |view| {
            let mut worst = Replication::Replicated;
            for region in brain.cluster.regions.scan(start, end) {
                match (checker::replication(region, &brain.rules, view), worst) {
                    (Replication::Pending, _) => return Replication::Pending,
                    (Replication::InProgress, _) => worst = Replication::InProgress,
                    (Replication::Replicated, _) => {}
                }
            }
            worst
        })
    }

    // ---- safe points ----

    /// The timestamp below which history may be gone.
    pub async fn gc_safe_point(&self) -> u64 {
        self.changing.lock().await.gc_safe_point
    }

    /// Moves the safe point forward; the answer is where it is.
    pub async fn update_gc_safe_point(&self, safe_point: u64) -> Result<u64, LeaderError> {
        let mut durable = self.changing.lock().await;
        if safe_point > durable.gc_safe_point {
            self.writer.write(vec![TxnOp::put(self.keys.gc_safe_point(), safe_point.to_be_bytes(), None)]).await?;
            durable.gc_safe_point = safe_point;
        }
        Ok(durable.gc_safe_point)
    }

    /// Registers what a service needs (`ttl_s` <= 0: no longer); the answer is the service that needs the oldest.
    pub async fn update_service_safe_point(
        &self,
        service_id: String,
        ttl_s: i64,
        safe_point: u64,
    ) -> Result<ServiceSafePoint, LeaderError> {
        let mut durable = self.changing.lock().await;
        let now_s = (self.now_ms() / 1000) as i64;
        let expired: Vec<String> =
            durable.gc_services.values().filter(|s| s.expired_at <= now_s).map(|s| s.service_id.clone()).collect();
        for id in expired {
            self.writer.write(vec![TxnOp::delete(self.keys.gc_service(&id), None)]).await?;
            durable.gc_services.remove(&id);
        }
        if ttl_s <= 0 {
            self.writer.write(vec![TxnOp::delete(self.keys.gc_service(&service_id), None)]).await?;
            durable.gc_services.remove(&service_id);
        } else {
            let oldest = durable.gc_services.values().map(|s| s.safe_point).min().unwrap_or(0);
            // Below the oldest, history may be gone already: not registered, and the caller sees it in the answer.
            if safe_point >= oldest {
                let expired_at = now_s.saturating_add(ttl_s);
                let service = ServiceSafePoint { service_id: service_id.clone(), expired_at, safe_point };
                let json = serde_json::to_vec(&service).map_err(|e| LeaderError::Invalid(e.to_string()))?;
                self.writer.write(vec![TxnOp::put(self.keys.gc_service(&service_id), json, None)]).await?;
                durable.gc_services.insert(service_id, service);
            }
        }
        let oldest = durable.gc_services.values().min_by_key(|s| s.safe_point).cloned();
        Ok(oldest.unwrap_or(ServiceSafePoint { service_id: "gc_worker".into(), expired_at: i64::MAX, safe_point: 0 }))
    }

    // ---- scheduling ----

    /// Runs the term's background work until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            tokio::join!(self.run_timestamps(), self.run_ids(), self.run_scheduling());
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
        self.streams.lock().clear();
        // What the last second brought; if we don't lead any more it is refused, and heartbeats repeat it.
        let _ = self.flush().await;
    }

    async fn run_timestamps(&self) {
        loop {
            if let Err(e) = self.save_timestamps().await {
                tracing::warn!(error = %e, "reserving timestamps failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            tokio::select! {
                () = self.tso_wanted.notified() => {}
                () = tokio::time::sleep(TSO_CHECK) => {}
            }
        }
    }

    async fn run_ids(&self) {
        loop {
            if let Err(e) = self.reserve_ids().await {
                tracing::warn!(error = %e, "reserving ids failed");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            self.id_wanted.notified().await;
        }
    }

    async fn run_scheduling(&self) {
        let mut next_patrol = tokio::time::Instant::now();
        loop {
            let more = self.check_suspects();
            if tokio::time::Instant::now() >= next_patrol {
                self.patrol();
                self.balance();
                next_patrol = tokio::time::Instant::now() + PATROL_INTERVAL;
                if let Err(e) = self.flush().await {
                    tracing::debug!(error = %e, "saving regions failed, it is tried again");
                }
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(next_patrol) => {}
            }
        }
    }

    /// All regions are looked at as soon as possible.
    fn suspect_all(&self) {
        let mut brain = self.brain.lock();
        let ids: VecDeque<u64> = brain.cluster.regions.iter().map(|r| r.id).collect();
        brain.suspects = ids;
        drop(brain);
        self.wake.notify_one();
    }

    /// Looks at regions that somebody pointed at; true if there are more.
    fn check_suspects(&self) -> bool {
        let now_ms = self.now_ms();
        let mut brain = self.brain.lock();
        for _ in 0..SUSPECTS_MAX {
            let Some(id) = brain.suspects.pop_front() else { return false };
            self.check(&mut brain, id, now_ms);
            self.dispatch(&mut brain, id, now_ms);
        }
        !brain.suspects.is_empty()
    }

    fn patrol(&self) {
        let now_ms = self.now_ms();
        let mut brain = self.brain.lock();
        let from = std::mem::take(&mut brain.patrol_from);
        let mut ids: Vec<u64> = Vec::new();
        let mut last_end = Vec::new();
        for region in brain.cluster.regions.scan(&from, &[]).take(PATROL_REGIONS_MAX) {
            ids.push(region.id);
            last_end.clone_from(&region.end_key);
        }
        metrics::REGIONS.set(brain.cluster.regions.len() as i64);
        metrics::STORES
            .set(brain.cluster.stores().values().filter(|s| s.state != StoreState::Tombstone).count() as i64);
        brain.patrol_from = if ids.len() == PATROL_REGIONS_MAX { last_end } else { Vec::new() };
        for id in ids {
            self.check(&mut brain, id, now_ms);
        }
        // Repeats what was lost with a stream, and notices what timed out or lost its region.
        let running: Vec<u64> = brain.controller.operators().map(|o| o.region_id).collect();
        for id in running {
            if brain.cluster.regions.get(id).is_none() {
                brain.controller.cancel(id, "the region is gone", now_ms);
            }
            self.dispatch(&mut brain, id, now_ms);
        }
    }

    fn balance(&self) {
        let now_ms = self.now_ms();
        let mut brain = self.brain.lock();
        let balancing = brain.controller.operators().filter(|o| o.priority == Priority::Balance).count();
        let limits = &self.config.schedule;
        let operators: Vec<Operator> = with_view(&brain.cluster, now_ms, &self.config, |view| {
            let (regions, rules, busy) = (&brain.cluster.regions, &brain.rules, &brain.controller);
            let mut made = Vec::new();
            if balancing < limits.leader_schedule_limit {
                made.extend(schedulers::balance_leader(regions.iter(), rules, view, busy));
            }
            if balancing < limits.region_schedule_limit {
                let mut alloc = || self.try_alloc_id();
                made.extend(schedulers::balance_region(regions.iter(), rules, view, busy, &mut alloc));
            }
            made
        });
        for operator in operators {
            self.add(&mut brain, operator, now_ms);
        }
    }

    fn check(&self, brain: &mut Brain, id: u64, now_ms: u64) {
        let Some(region) = brain.cluster.regions.get(id) else { return };
        if brain.controller.get(id).is_some_and(|o| o.priority >= Priority::Rule) {
            return;
        }
        let operator = with_view(&brain.cluster, now_ms, &self.config, |view| {
            checker::check(region, &brain.rules, view, &mut || self.try_alloc_id())
        });
        if let Some(operator) = operator {
            let repairs = brain.controller.operators().filter(|o| o.priority == Priority::Rule).count();
            if repairs < self.config.schedule.replica_schedule_limit {
                self.add(brain, operator, now_ms);
            }
        }
    }

    fn add(&self, brain: &mut Brain, operator: Operator, now_ms: u64) {
        let (id, text) = (operator.region_id, operator.to_string());
        let kind = operator.description.clone();
        if brain.controller.add(operator, now_ms) {
            metrics::OPERATORS.with_label_values(&[&kind]).inc();
            tracing::info!(region = id, operator = text, "operator");
            self.dispatch(brain, id, now_ms);
        }
    }

    /// Adds an operator that a person asked for.
    pub fn add_admin(&self, region_id: u64, description: &str, steps: Vec<Step>) -> Result<(), LeaderError> {
        let now_ms = self.now_ms();
        let mut brain = self.brain.lock();
        let region = brain.cluster.regions.get(region_id).cloned();
        let region = region.ok_or_else(|| LeaderError::Invalid(format!("region {region_id} not found")))?;
        let operator = Operator::new(description, &region, Priority::Admin, steps, now_ms);
        if !brain.controller.add(operator, now_ms) {
            return Err(LeaderError::Invalid(format!("region {region_id} is busy with another operator")));
        }
        self.dispatch(&mut brain, region_id, now_ms);
        Ok(())
    }

    /// Gives up a region's operator.
    pub fn cancel_operator(&self, region_id: u64) -> bool {
        self.brain.lock().controller.cancel(region_id, "cancelled by request", self.now_ms())
    }

    fn dispatch(&self, brain: &mut Brain, id: u64, now_ms: u64) {
        let Some(region) = brain.cluster.regions.get(id) else { return };
        let Some(instruction) = brain.controller.dispatch(region, now_ms) else { return };
        let Some(leader) = region.leader_peer() else { return };
        let store_id = leader.store_id;
        let mut response = convert::instruction_to(region, instruction);
        response.header = Some(pdpb::ResponseHeader { cluster_id: self.cluster_id, error: None });
        metrics::INSTRUCTIONS.inc();
        let mut streams = self.streams.lock();
        if let Some(stream) = streams.get(&store_id)
            && let Err(mpsc::error::TrySendError::Closed(_)) = stream.try_send(response)
        {
            streams.remove(&store_id);
        }
    }

    /// Writes regions that changed to the metadata store.
    async fn flush(&self) -> Result<(), KvError> {
        let (dirty, ops) = {
            let mut brain = self.brain.lock();
            let dirty = brain.cluster.take_dirty();
            if dirty.is_empty() {
                return Ok(());
            }
            let puts = dirty.regions.iter().filter_map(|id| {
                let region = brain.cluster.regions.get(*id)?;
                Some(TxnOp::put(self.keys.region(*id), convert::region_to_meta(region).encode_to_vec(), None))
            });
            let deletes = dirty.gone.iter().map(|id| TxnOp::delete(self.keys.region(*id), None));
            let ops: Vec<TxnOp> = puts.chain(deletes).collect();
            (dirty, ops)
        };
        for ops in ops.chunks(TXN_OPS_MAX) {
            if let Err(e) = self.writer.write(ops.to_vec()).await {
                self.brain.lock().cluster.restore_dirty(dirty);
                return Err(e);
            }
        }
        Ok(())
    }
}

/// Shows the cluster to scheduling as it is at one moment.
fn with_view<T>(cluster: &Cluster, now_ms: u64, config: &Config, decide: impl FnOnce(&View<'_>) -> T) -> T {
    let stores: BTreeMap<u64, Store> = cluster
        .stores()
        .iter()
        .filter(|(_, store)| store.state != StoreState::Tombstone)
        .map(|(id, store)| (*id, store.clone()))
        .collect();
    let region_counts = stores.keys().map(|id| (*id, cluster.regions.count_on(*id))).collect();
    let store_down_ms = config.schedule.max_store_down_time.0.as_millis() as u64;
    decide(&View { stores: &stores, region_counts: &region_counts, now_ms, store_down_ms })
}
