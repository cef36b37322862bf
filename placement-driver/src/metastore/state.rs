//! The metadata store's state machine: etcd v3 semantics over ordered keys, as a value.
//!
//! Every write gets the next revision; a transaction has one revision for all its writes. A key keeps its history:
//!
//!   revision   2             3              5
//!   "a"        put x (ver 1) put y (ver 2)  deleted (tombstone)
//!
//! so a read at revision 4 sees `y`, and a watch from revision 2 replays all three changes. Compaction at revision C
//! forgets what no read at C or later can see.
//!
//! Invariants: the same commands in the same order give the same state and the same answers on every member; a refused
//! command changes nothing; a key changes at most once per revision; a lease's key set is exactly the live keys that
//! carry its id.
//!
//! Not here: time. Which leases have expired is known by the Raft leader ([`super::lessor`]), who proposes to revoke
//! them. Read next: [`super::raft`], which feeds this from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse, Compare,
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest,
    LeaseRevokeResponse, Member, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader,
    ResponseOp, TxnRequest, TxnResponse, request_op, response_op,
};
use proto::meridian_pd::{KeyHistory, KeyVersion, Lease, StateSnapshot, proposal::Command};
use proto::mvccpb::{Event, KeyValue, event::EventType};

/// Operations in one transaction, nested ones included, as etcd's `--max-txn-ops`.
pub const TXN_OPS_MAX: usize = 128;

/// Where PD keeps its own: leadership, timestamps, stores, regions, rules. Without those nothing in the cluster goes on, so
/// a full store still takes them; what they may grow to is bounded by the cluster's own size.
const OWN_PREFIX: &[u8] = b"/pd/";
/// What a version takes beside its key and value, in bytes: its numbers, and its place in the list of changes.
const VERSION_BYTES: u64 = 96;
/// What a lease takes, in bytes.
const LEASE_BYTES: u64 = 64;

/// The longest lease, in seconds, as etcd has it.
const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// Why a request was refused. Texts are etcd's, because its clients recognise them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// No key in the request.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` for a key that is not there.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A value given together with `ignore_value`.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A lease given together with `ignore_lease`.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More operations than [`TXN_OPS_MAX`].
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// The same key would change twice in one revision.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// Reading below the compacted revision.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// Reading above the newest revision.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// The lease does not exist (any more).
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A lease of this id exists.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A TTL beyond what etcd allows.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// The store has reached its quota: an alarm is raised until somebody has made room and disarmed it.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// A request that names an unknown enum value or misses its operation.
    #[error("etcdserver: invalid request")]
    Invalid,
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Answer {
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compaction(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    Member,
    Alarm(AlarmResponse),
}

/// A key's value at one revision; a tombstone has no value.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    modified: i64,
    /// Position among the changes of the same revision.
    sub: u32,
    created: i64,
    version: i64,
    lease: i64,
    value: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Default)]
struct LeaseState {
    ttl: i64,
    keys: BTreeSet<Vec<u8>>,
}

/// The state machine. See the module header.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    revision: i64,
    compacted: i64,
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    /// The keys changed at each revision, in order.
    changes: BTreeMap<i64, Vec<Vec<u8>>>,
    leases: BTreeMap<i64, LeaseState>,
    members: BTreeMap<u64, Member>,
    /// Alarms that are raised: member and kind.
    alarms: BTreeSet<(u64, i32)>,
    /// Bytes that keys, values and their history take in memory, about.
    bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        State {
            // etcd's first revision: an empty store is at 1, the first write makes 2.
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            changes: BTreeMap::new(),
            leases: BTreeMap::new(),
            members: BTreeMap::new(),
            alarms: BTreeSet::new(),
            bytes: 0,
        }
    }
}

/// A transaction whose compares are evaluated: which branch, and its operations with nested ones evaluated, too.
struct Chosen<'a> {
    succeeded: bool,
    ops: Vec<ChosenOp<'a>>,
}

enum ChosenOp<'a> {
    Range(&'a RangeRequest),
    Put(&'a PutRequest),
    Delete(&'a DeleteRangeRequest),
    Txn(Chosen<'a>),
}

impl State {
    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision below which history is forgotten.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Bytes that keys, values, their history and leases take in memory, about.
    pub fn bytes(&self) -> u64 {
        self.bytes + LEASE_BYTES * self.leases.len() as u64
    }

    /// Alarms that are raised.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmMember> + '_ {
        self.alarms.iter().map(|(member, alarm)| AlarmMember { member_id: *member, alarm: *alarm })
    }

    /// True while only deletions and PD's own writes are taken.
    pub fn is_full(&self) -> bool {
        self.alarms.iter().any(|(_, alarm)| *alarm == AlarmType::Nospace as i32)
    }

    /// The members that have announced themselves.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Every lease and its time to live in seconds.
    pub fn leases(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.leases.iter().map(|(id, lease)| (*id, lease.ttl))
    }

    /// The keys attached to a lease.
    pub fn lease_keys(&self, id: i64) -> Option<Vec<Vec<u8>>> {
        self.leases.get(&id).map(|lease| lease.keys.iter().cloned().collect())
    }

    /// Applies one command of the log.
    pub fn apply(&mut self, command: &Command) -> Result<Answer, EtcdError> {
        match command {
            Command::Put(request) => self.put(request).map(Answer::Put),
            Command::DeleteRange(request) => self.delete_range(request).map(Answer::DeleteRange),
            Command::Txn(request) => self.txn(request).map(Answer::Txn),
            Command::Compaction(request) => self.compact(request).map(Answer::Compaction),
            Command::LeaseGrant(request) => self.lease_grant(request).map(Answer::LeaseGrant),
            Command::LeaseRevoke(request) => self.lease_revoke(request).map(Answer::LeaseRevoke),
            Command::Member(member) => {
                self.members.insert(member.id, member.clone());
                Ok(Answer::Member)
            }
            Command::Alarm(request) => self.alarm(request).map(Answer::Alarm),
        }
    }

    /// Reads a range at the asked revision (0 = newest).
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, EtcdError> {
        self.check_range(request)?;
        let at = if request.revision > 0 { request.revision } else { i64::MAX };
        let mut response = RangeResponse { header: Some(self.header()), ..Default::default() };
        let order = SortOrder::try_from(request.sort_order).map_err(|_| EtcdError::Invalid)?;
        let target = SortTarget::try_from(request.sort_target).map_err(|_| EtcdError::Invalid)?;
        let filtered = request.min_mod_revision != 0
            || request.max_mod_revision != 0
            || request.min_create_revision != 0
            || request.max_create_revision != 0;
        let sorted = order == SortOrder::Descend || target != SortTarget::Key;
        let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
        // With a filter or another order, the limit acts on the result; otherwise reading may stop copying early.
        let copy_max = if filtered || sorted { usize::MAX } else { limit };
        for (key, version) in self.visible(&request.key, &request.range_end, at) {
            response.count += 1;
            if request.count_only || response.kvs.len() >= copy_max {
                response.more |= !request.count_only;
                continue;
            }
            response.kvs.push(version.to_kv(key, !request.keys_only));
        }
        if request.count_only {
            return Ok(response);
        }
        if filtered {
            response.kvs.retain(|kv| {
                let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
                within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
                    && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
            });
        }
        if sorted {
            match target {
                SortTarget::Key => {}
                SortTarget::Version => response.kvs.sort_by_key(|kv| kv.version),
                SortTarget::Create => response.kvs.sort_by_key(|kv| kv.create_revision),
                SortTarget::Mod => response.kvs.sort_by_key(|kv| kv.mod_revision),
                SortTarget::Value => response.kvs.sort_by(|a, b| a.value.cmp(&b.value)),
            }
            if order == SortOrder::Descend {
                response.kvs.reverse();
            }
        }
        if response.kvs.len() > limit {
            response.kvs.truncate(limit);
            response.more = true;
        }
        Ok(response)
    }

    /// The changes of revisions `from..` to keys in the range, in order, with revisions up to the newest one.
    ///
    /// At most about `limit` events are returned, never a part of a revision; the second value is the revision to go
    /// on from.
    pub fn events(
        &self,
        from: i64,
        key: &[u8],
        range_end: &[u8],
        prev_kv: bool,
        limit: usize,
    ) -> Result<(Vec<Event>, i64), EtcdError> {
        if from < self.compacted {
            return Err(EtcdError::Compacted);
        }
        let mut events = Vec::new();
        for (revision, keys) in self.changes.range(from..) {
            if events.len() >= limit {
                return Ok((events, *revision));
            }
            for changed in keys.iter().filter(|k| in_range(k, key, range_end)) {
                let Some(history) = self.keys.get(changed) else { continue };
                let Ok(at) = history.binary_search_by_key(revision, |v| v.modified) else { continue };
                let version = &history[at];
                let kind = if version.value.is_some() { EventType::Put } else { EventType::Delete };
                let previous = if prev_kv && at > 0 { Some(&history[at - 1]) } else { None };
                events.push(Event {
                    r#type: kind as i32,
                    kv: Some(version.to_kv(changed, true)),
                    prev_kv: previous.filter(|v| v.value.is_some()).map(|v| v.to_kv(changed, true)),
                });
            }
        }
        Ok((events, self.revision + 1))
    }

    fn alarm(&mut self, request: &AlarmRequest) -> Result<AlarmResponse, EtcdError> {
        let alarm = AlarmType::try_from(request.alarm).map_err(|_| EtcdError::Invalid)?;
        let named = (request.member_id, request.alarm);
        let alarms = match AlarmAction::try_from(request.action).map_err(|_| EtcdError::Invalid)? {
            AlarmAction::Get => {
                let asked = |found: &AlarmMember| {
                    (alarm == AlarmType::None || found.alarm == alarm as i32)
                        && (request.member_id == 0 || found.member_id == request.member_id)
                };
                self.alarms().filter(asked).collect()
            }
            AlarmAction::Activate if alarm == AlarmType::None => return Err(EtcdError::Invalid),
            AlarmAction::Activate => {
                self.alarms.insert(named);
                vec![AlarmMember { member_id: named.0, alarm: named.1 }]
            }
            AlarmAction::Deactivate => match self.alarms.remove(&named) {
                true => vec![AlarmMember { member_id: named.0, alarm: named.1 }],
                false => Vec::new(),
            },
        };
        Ok(AlarmResponse { header: Some(self.header()), alarms })
    }

    fn header(&self) -> ResponseHeader {
        ResponseHeader { revision: self.revision, ..Default::default() }
    }

    fn put(&mut self, request: &PutRequest) -> Result<PutResponse, EtcdError> {
        self.check_put(request)?;
        let revision = self.revision + 1;
        let mut response = self.write_put(request, revision);
        self.revision = revision;
        response.header = Some(self.header());
        Ok(response)
    }

    fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse, EtcdError> {
        if request.key.is_empty() {
            return Err(EtcdError::EmptyKey);
        }
        let revision = self.revision + 1;
        let mut response = self.write_delete(request, revision);
        if response.deleted > 0 {
            self.revision = revision;
        }
        response.header = Some(self.header());
        Ok(response)
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, EtcdError> {
        check_txn_shape(request)?;
        let chosen = self.choose(request)?;
        self.check_chosen(&chosen)?;
        let revision = self.revision + 1;
        let mut response = self.execute(&chosen, revision);
        if self.changes.contains_key(&revision) {
            self.revision = revision;
        }
        self.stamp(&mut response);
        Ok(response)
    }

    /// Gives the transaction's responses their header, with the revision after the transaction.
    fn stamp(&self, response: &mut TxnResponse) {
        response.header = Some(self.header());
        for op in &mut response.responses {
            match &mut op.response {
                Some(response_op::Response::ResponseRange(r)) => r.header = Some(self.header()),
                Some(response_op::Response::ResponsePut(r)) => r.header = Some(self.header()),
                Some(response_op::Response::ResponseDeleteRange(r)) => r.header = Some(self.header()),
                Some(response_op::Response::ResponseTxn(r)) => self.stamp(r),
                None => {}
            }
        }
    }

    /// Evaluates all compares against the state before the transaction, nested ones too, as etcd does.
    fn choose<'a>(&self, request: &'a TxnRequest) -> Result<Chosen<'a>, EtcdError> {
        let mut succeeded = true;
        for compare in &request.compare {
            succeeded &= self.compare(compare)?;
        }
        let branch = if succeeded { &request.success } else { &request.failure };
        let ops = branch
            .iter()
            .map(|op| match &op.request {
                Some(request_op::Request::RequestRange(r)) => Ok(ChosenOp::Range(r)),
                Some(request_op::Request::RequestPut(r)) => Ok(ChosenOp::Put(r)),
                Some(request_op::Request::RequestDeleteRange(r)) => Ok(ChosenOp::Delete(r)),
                Some(request_op::Request::RequestTxn(r)) => Ok(ChosenOp::Txn(self.choose(r)?)),
                None => Err(EtcdError::Invalid),
            })
            .collect::<Result<_, _>>()?;
        Ok(Chosen { succeeded, ops })
    }

    /// Refuses before anything is written, so that a refused transaction changes nothing.
    fn check_chosen(&self, chosen: &Chosen<'_>) -> Result<(), EtcdError> {
        for op in &chosen.ops {
            match op {
                ChosenOp::Range(r) => self.check_range(r)?,
                ChosenOp::Put(r) => self.check_put(r)?,
                ChosenOp::Delete(r) if r.key.is_empty() => return Err(EtcdError::EmptyKey),
                ChosenOp::Delete(_) => {}
                ChosenOp::Txn(nested) => self.check_chosen(nested)?,
            }
        }
        Ok(())
    }

    fn execute(&mut self, chosen: &Chosen<'_>, revision: i64) -> TxnResponse {
        let mut responses = Vec::with_capacity(chosen.ops.len());
        for op in &chosen.ops {
            let response = match op {
                ChosenOp::Range(r) => {
                    response_op::Response::ResponseRange(self.range(r).expect("checked before the first write"))
                }
                ChosenOp::Put(r) => response_op::Response::ResponsePut(self.write_put(r, revision)),
                ChosenOp::Delete(r) => response_op::Response::ResponseDeleteRange(self.write_delete(r, revision)),
                ChosenOp::Txn(nested) => response_op::Response::ResponseTxn(self.execute(nested, revision)),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        TxnResponse { header: None, succeeded: chosen.succeeded, responses }
    }

    fn compare(&self, compare: &Compare) -> Result<bool, EtcdError> {
        if compare.key.is_empty() {
            return Err(EtcdError::EmptyKey);
        }
        let target = CompareTarget::try_from(compare.target).map_err(|_| EtcdError::Invalid)?;
        let result = CompareResult::try_from(compare.result).map_err(|_| EtcdError::Invalid)?;
        let holds = |version: Option<&Version>| -> bool {
            let number = |of: fn(&Version) -> i64, wanted: i64| version.map_or(0, of).cmp(&wanted);
            let ordering = match (target, &compare.target_union) {
                (CompareTarget::Version, Some(TargetUnion::Version(v))) => number(|k| k.version, *v),
                (CompareTarget::Version, _) => number(|k| k.version, 0),
                (CompareTarget::Create, Some(TargetUnion::CreateRevision(v))) => number(|k| k.created, *v),
                (CompareTarget::Create, _) => number(|k| k.created, 0),
                (CompareTarget::Mod, Some(TargetUnion::ModRevision(v))) => number(|k| k.modified, *v),
                (CompareTarget::Mod, _) => number(|k| k.modified, 0),
                (CompareTarget::Lease, Some(TargetUnion::Lease(v))) => number(|k| k.lease, *v),
                (CompareTarget::Lease, _) => number(|k| k.lease, 0),
                (CompareTarget::Value, union) => {
                    let wanted: &[u8] = match union {
                        Some(TargetUnion::Value(v)) => v,
                        _ => &[],
                    };
                    match version.and_then(|v| v.value.as_deref()) {
                        Some(value) => value.cmp(wanted),
                        // Any comparison with the value of a missing key is false.
                        None => return false,
                    }
                }
            };
            match result {
                CompareResult::Equal => ordering.is_eq(),
                CompareResult::NotEqual => ordering.is_ne(),
                CompareResult::Greater => ordering.is_gt(),
                CompareResult::Less => ordering.is_lt(),
            }
        };
        let mut any = false;
        for (_, version) in self.visible(&compare.key, &compare.range_end, i64::MAX) {
            any = true;
            if !holds(Some(version)) {
                return Ok(false);
            }
        }
        Ok(any || holds(None))
    }

    fn check_range(&self, request: &RangeRequest) -> Result<(), EtcdError> {
        if request.key.is_empty() {
            return Err(EtcdError::EmptyKey);
        }
        if request.revision > self.revision {
            return Err(EtcdError::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(EtcdError::Compacted);
        }
        if SortOrder::try_from(request.sort_order).is_err() || SortTarget::try_from(request.sort_target).is_err() {
            return Err(EtcdError::Invalid);
        }
        Ok(())
    }

    fn check_put(&self, request: &PutRequest) -> Result<(), EtcdError> {
        if request.key.is_empty() {
            return Err(EtcdError::EmptyKey);
        }
        if self.is_full() && !request.key.starts_with(OWN_PREFIX) {
            return Err(EtcdError::NoSpace);
        }
        if request.ignore_value && !request.value.is_empty() {
            return Err(EtcdError::ValueProvided);
        }
        if request.ignore_lease && request.lease != 0 {
            return Err(EtcdError::LeaseProvided);
        }
        if (request.ignore_value || request.ignore_lease) && self.latest(&request.key).is_none() {
            return Err(EtcdError::KeyNotFound);
        }
        if request.lease != 0 && !self.leases.contains_key(&request.lease) {
            return Err(EtcdError::LeaseNotFound);
        }
        Ok(())
    }

    fn write_put(&mut self, request: &PutRequest, revision: i64) -> PutResponse {
        let previous = self.latest(&request.key).cloned();
        let value = match &previous {
            Some(previous) if request.ignore_value => previous.value.clone().unwrap_or_default(),
            _ => request.value.clone(),
        };
        let lease = match &previous {
            Some(previous) if request.ignore_lease => previous.lease,
            _ => request.lease,
        };
        let version = Version {
            modified: revision,
            sub: self.changes.get(&revision).map_or(0, Vec::len) as u32,
            created: previous.as_ref().map_or(revision, |p| p.created),
            version: previous.as_ref().map_or(1, |p| p.version + 1),
            lease,
            value: Some(value),
        };
        if let Some(previous) = &previous {
            self.detach(previous.lease, &request.key);
        }
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(request.key.clone());
        }
        self.record(request.key.clone(), version);
        PutResponse { header: None, prev_kv: previous.filter(|_| request.prev_kv).map(|p| p.to_kv(&request.key, true)) }
    }

    fn write_delete(&mut self, request: &DeleteRangeRequest, revision: i64) -> DeleteRangeResponse {
        let doomed: Vec<(Vec<u8>, Version)> = self
            .visible(&request.key, &request.range_end, i64::MAX)
            .map(|(key, version)| (key.clone(), version.clone()))
            .collect();
        let mut response = DeleteRangeResponse { deleted: doomed.len() as i64, ..Default::default() };
        for (key, previous) in doomed {
            if request.prev_kv {
                response.prev_kvs.push(previous.to_kv(&key, true));
            }
            self.write_tombstone(key, previous.lease, revision);
        }
        response
    }

    fn write_tombstone(&mut self, key: Vec<u8>, lease: i64, revision: i64) {
        self.detach(lease, &key);
        let sub = self.changes.get(&revision).map_or(0, Vec::len) as u32;
        self.record(key, Version { modified: revision, sub, created: 0, version: 0, lease: 0, value: None });
    }

    fn record(&mut self, key: Vec<u8>, version: Version) {
        self.bytes += version_bytes(&key, &version);
        self.changes.entry(version.modified).or_default().push(key.clone());
        self.keys.entry(key).or_default().push(version);
    }

    fn detach(&mut self, lease: i64, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(key);
        }
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, EtcdError> {
        let at = request.revision;
        if at <= self.compacted {
            return Err(EtcdError::Compacted);
        }
        if at > self.revision {
            return Err(EtcdError::FutureRevision);
        }
        self.compacted = at;
        // Only keys that changed up to `at` can have anything to forget.
        let later = self.changes.split_off(&at);
        let forgotten = std::mem::replace(&mut self.changes, later);
        let mut touched: BTreeSet<Vec<u8>> = forgotten.into_values().flatten().collect();
        touched.extend(self.changes.get(&at).into_iter().flatten().cloned());
        for key in touched {
            let Some(history) = self.keys.get_mut(&key) else { continue };
            let seen = history.partition_point(|v| v.modified <= at);
            let keep_from = match seen.checked_sub(1) {
                Some(newest) if history[newest].value.is_some() => newest,
                Some(newest) => newest + 1,
                None => 0,
            };
            for version in history.drain(..keep_from) {
                self.bytes -= version_bytes(&key, &version);
            }
            if history.is_empty() {
                self.keys.remove(&key);
            }
        }
        Ok(CompactionResponse { header: Some(self.header()) })
    }

    fn lease_grant(&mut self, request: &LeaseGrantRequest) -> Result<LeaseGrantResponse, EtcdError> {
        if request.ttl > LEASE_TTL_MAX {
            return Err(EtcdError::LeaseTtlTooLarge);
        }
        if request.id == 0 {
            return Err(EtcdError::Invalid);
        }
        if self.leases.contains_key(&request.id) {
            return Err(EtcdError::LeaseExists);
        }
        let ttl = request.ttl.max(1);
        self.leases.insert(request.id, LeaseState { ttl, keys: BTreeSet::new() });
        Ok(LeaseGrantResponse { header: Some(self.header()), id: request.id, ttl, error: String::new() })
    }

    fn lease_revoke(&mut self, request: &LeaseRevokeRequest) -> Result<LeaseRevokeResponse, EtcdError> {
        let lease = self.leases.remove(&request.id).ok_or(EtcdError::LeaseNotFound)?;
        let revision = self.revision + 1;
        if !lease.keys.is_empty() {
            for key in lease.keys {
                self.write_tombstone(key, 0, revision);
            }
            self.revision = revision;
        }
        Ok(LeaseRevokeResponse { header: Some(self.header()) })
    }

    fn latest(&self, key: &[u8]) -> Option<&Version> {
        self.keys.get(key).and_then(|history| history.last()).filter(|v| v.value.is_some())
    }

    /// The live keys of a range as of revision `at`, in key order.
    fn visible<'a>(
        &'a self,
        key: &[u8],
        range_end: &[u8],
        at: i64,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Version)> + use<'a> {
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = match range_end {
            [] => (Bound::Included(key.to_vec()), Bound::Included(key.to_vec())),
            [0] => (Bound::Included(key.to_vec()), Bound::Unbounded),
            end if end <= key => (Bound::Included(key.to_vec()), Bound::Excluded(key.to_vec())),
            end => (Bound::Included(key.to_vec()), Bound::Excluded(end.to_vec())),
        };
        self.keys.range::<Vec<u8>, _>(bounds).filter_map(move |(key, history)| {
            let newest = history.partition_point(|v| v.modified <= at).checked_sub(1)?;
            history[newest].value.is_some().then_some((key, &history[newest]))
        })
    }

    /// Everything, as bytes to be kept on disk or sent to a member that fell behind.
    pub fn snapshot(&self, index: u64, term: u64) -> StateSnapshot {
        StateSnapshot {
            index,
            term,
            revision: self.revision,
            compacted: self.compacted,
            keys: self
                .keys
                .iter()
                .map(|(key, history)| KeyHistory {
                    key: key.clone(),
                    versions: history
                        .iter()
                        .map(|v| KeyVersion {
                            mod_revision: v.modified,
                            sub: v.sub,
                            create_revision: v.created,
                            version: v.version,
                            lease: v.lease,
                            value: v.value.clone(),
                        })
                        .collect(),
                })
                .collect(),
            leases: self.leases.iter().map(|(id, lease)| Lease { id: *id, ttl: lease.ttl }).collect(),
            members: self.members.values().cloned().collect(),
            alarms: self.alarms().collect(),
        }
    }

    /// The state that [`State::snapshot`] described.
    pub fn restore(snapshot: StateSnapshot) -> State {
        let mut state = State { revision: snapshot.revision, compacted: snapshot.compacted, ..State::default() };
        state.members = snapshot.members.into_iter().map(|m| (m.id, m)).collect();
        state.alarms = snapshot.alarms.into_iter().map(|a| (a.member_id, a.alarm)).collect();
        for lease in snapshot.leases {
            state.leases.insert(lease.id, LeaseState { ttl: lease.ttl, keys: BTreeSet::new() });
        }
        let mut order: BTreeMap<(i64, u32), Vec<u8>> = BTreeMap::new();
        for history in snapshot.keys {
            let mut versions = Vec::with_capacity(history.versions.len());
            for v in history.versions {
                if v.mod_revision >= snapshot.compacted {
                    order.insert((v.mod_revision, v.sub), history.key.clone());
                }
                versions.push(Version {
                    modified: v.mod_revision,
                    sub: v.sub,
                    created: v.create_revision,
                    version: v.version,
                    lease: v.lease,
                    value: v.value,
                });
            }
            state.bytes += versions.iter().map(|v| version_bytes(&history.key, v)).sum::<u64>();
            if let Some(newest) = versions.last()
                && newest.value.is_some()
                && let Some(lease) = state.leases.get_mut(&newest.lease)
            {
                lease.keys.insert(history.key.clone());
            }
            state.keys.insert(history.key, versions);
        }
        for ((revision, _), key) in order {
            state.changes.entry(revision).or_default().push(key);
        }
        state
    }
}

impl Version {
    fn to_kv(&self, key: &[u8], with_value: bool) -> KeyValue {
        KeyValue {
            key: key.to_vec(),
            create_revision: self.created,
            mod_revision: self.modified,
            version: self.version,
            value: if with_value { self.value.clone().unwrap_or_default() } else { Vec::new() },
            lease: self.lease,
        }
    }
}

fn version_bytes(key: &[u8], version: &Version) -> u64 {
    // The key stands with its versions and once more in the list of changes.
    (2 * key.len() + version.value.as_ref().map_or(0, Vec::len)) as u64 + VERSION_BYTES
}

/// True when `key` is in etcd's range (`end` empty: that key alone; `end` a zero byte: from the key on).
pub fn in_range(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key < end,
    }
}

/// What may be written by one branch of a transaction.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Vec<u8>>,
    deletes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Refuses transactions that are too long or could change a key twice, whatever branch is taken.
fn check_txn_shape(request: &TxnRequest) -> Result<(), EtcdError> {
    fn count(request: &TxnRequest) -> usize {
        let nested = |ops: &[RequestOp]| -> usize {
            ops.iter()
                .map(|op| match &op.request {
                    Some(request_op::Request::RequestTxn(t)) => count(t),
                    _ => 0,
                })
                .sum()
        };
        request.compare.len().max(request.success.len()).max(request.failure.len())
            + nested(&request.success)
            + nested(&request.failure)
    }
    fn writes(ops: &[RequestOp]) -> Result<Writes, EtcdError> {
        let mut all = Writes::default();
        for op in ops {
            let (puts, deletes) = match &op.request {
                Some(request_op::Request::RequestRange(r)) if r.key.is_empty() => return Err(EtcdError::EmptyKey),
                Some(request_op::Request::RequestRange(_)) => continue,
                Some(request_op::Request::RequestPut(r)) => (BTreeSet::from([r.key.clone()]), Vec::new()),
                Some(request_op::Request::RequestDeleteRange(r)) => {
                    (BTreeSet::new(), vec![(r.key.clone(), r.range_end.clone())])
                }
                Some(request_op::Request::RequestTxn(t)) => {
                    // The two branches exclude each other, so what they write may overlap.
                    let (mut then, other) = (writes(&t.success)?, writes(&t.failure)?);
                    then.puts.extend(other.puts);
                    then.deletes.extend(other.deletes);
                    (then.puts, then.deletes)
                }
                None => return Err(EtcdError::Invalid),
            };
            if puts.iter().any(|key| all.puts.contains(key) || all.deletes.iter().any(|(s, e)| in_range(key, s, e)))
                || deletes.iter().any(|(s, e)| all.puts.iter().any(|key| in_range(key, s, e)))
            {
                return Err(EtcdError::DuplicateKey);
            }
            all.puts.extend(puts);
            all.deletes.extend(deletes);
        }
        Ok(all)
    }
    if count(request) > TXN_OPS_MAX {
        return Err(EtcdError::TooManyOps);
    }
    writes(&request.success)?;
    writes(&request.failure)?;
    Ok(())
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
