//! PD's own use of the metadata store, through `etcd-client`: the key layout, and writes that only the leader can make.
//!
//!   /pd/cluster_id                         u64, big endian, chosen once
//!   /pd/<cluster>/leader                   pdpb.Member of the leader, under its lease
//!   /pd/<cluster>/next_leader              name of the member that shall lead next, under a short lease
//!   /pd/<cluster>/member/<name>            pdpb.Member
//!   /pd/<cluster>/member_labels/<name>     where the member is, JSON
//!   /pd/<cluster>/timestamp                u64: timestamps below are spent, in milliseconds
//!   /pd/<cluster>/alloc_id                 u64: ids below are spent
//!   /pd/<cluster>/raft                     metapb.Cluster: present when bootstrapped
//!   /pd/<cluster>/raft/s/<store>           metapb.Store
//!   /pd/<cluster>/raft/r/<region>          metapb.Region
//!   /pd/<cluster>/rules/<group>-<id>       placement rule, JSON (names in hex)
//!   /pd/<cluster>/rule_group/<group>       rule group, JSON
//!   /pd/<cluster>/gc/safe_point            u64
//!   /pd/<cluster>/gc/safe_point/service/*  service safe point, JSON
//!
//! Invariant: everything but the first five is written in transactions that compare the leader key's creation
//! revision, so a leader that lost its lease can't write over its successor's work.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

/// How long one call to the store may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys read at a time when loading.
const PAGE: i64 = 1_000;
/// Operations in one transaction: etcd's default limit is 128.
pub const TXN_OPS_MAX: usize = 100;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The store did not do it, or it is unknown whether it did.
    #[error("metadata store: {0}")]
    Store(Box<etcd_client::Error>),
    /// No answer in time.
    #[error("metadata store: no answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
    /// Another member leads now.
    #[error("not leader")]
    NotLeader,
    /// A value that doesn't decode.
    #[error("metadata store: key {0} holds what can't be read")]
    Corrupt(String),
}

impl From<etcd_client::Error> for KvError {
    fn from(error: etcd_client::Error) -> KvError {
        KvError::Store(Box::new(error))
    }
}

/// Runs one call with the time limit.
pub async fn timed<T>(call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, KvError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(KvError::Timeout),
    }
}

/// The keys of one PD cluster.
#[derive(Clone, Debug)]
pub struct Keys {
    root: String,
}

/// Where the cluster id is kept.
pub const CLUSTER_ID: &str = "/pd/cluster_id";

#[allow(missing_docs)]
impl Keys {
    pub fn new(cluster_id: u64) -> Keys {
        Keys { root: format!("/pd/{cluster_id}") }
    }
    pub fn leader(&self) -> String {
        format!("{}/leader", self.root)
    }
    pub fn next_leader(&self) -> String {
        format!("{}/next_leader", self.root)
    }
    pub fn members(&self) -> String {
        format!("{}/member/", self.root)
    }
    pub fn member(&self, name: &str) -> String {
        format!("{}/member/{name}", self.root)
    }
    pub fn member_labels(&self, name: &str) -> String {
        format!("{}/member_labels/{name}", self.root)
    }
    pub fn timestamp(&self) -> String {
        format!("{}/timestamp", self.root)
    }
    pub fn alloc_id(&self) -> String {
        format!("{}/alloc_id", self.root)
    }
    pub fn cluster(&self) -> String {
        format!("{}/raft", self.root)
    }
    pub fn stores(&self) -> String {
        format!("{}/raft/s/", self.root)
    }
    pub fn store(&self, id: u64) -> String {
        format!("{}/raft/s/{id:020}", self.root)
    }
    pub fn regions(&self) -> String {
        format!("{}/raft/r/", self.root)
    }
    pub fn region(&self, id: u64) -> String {
        format!("{}/raft/r/{id:020}", self.root)
    }
    pub fn rules(&self) -> String {
        format!("{}/rules/", self.root)
    }
    pub fn rule(&self, group: &str, id: &str) -> String {
        format!("{}/rules/{}-{}", self.root, hex(group), hex(id))
    }
    pub fn rule_groups(&self) -> String {
        format!("{}/rule_group/", self.root)
    }
    pub fn rule_group(&self, group: &str) -> String {
        format!("{}/rule_group/{}", self.root, hex(group))
    }
    pub fn gc_safe_point(&self) -> String {
        format!("{}/gc/safe_point", self.root)
    }
    pub fn gc_services(&self) -> String {
        format!("{}/gc/safe_point/service/", self.root)
    }
    pub fn gc_service(&self, id: &str) -> String {
        format!("{}/gc/safe_point/service/{id}", self.root)
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

/// Reads one key.
pub async fn get(client: &Client, key: &str) -> Result<Option<KeyValue>, KvError> {
    let mut response = timed(client.kv_client().get(key, None)).await?;
    Ok(response.take_kvs().pop())
}

/// Reads a number.
pub async fn get_u64(client: &Client, key: &str) -> Result<Option<u64>, KvError> {
    match get(client, key).await? {
        None => Ok(None),
        Some(kv) => match kv.value().try_into() {
            Ok(bytes) => Ok(Some(u64::from_be_bytes(bytes))),
            Err(_) => Err(KvError::Corrupt(key.into())),
        },
    }
}

/// Reads all keys with a prefix, page by page, and hands each to `each`.
pub async fn scan(
    client: &Client,
    prefix: &str,
    mut each: impl FnMut(&KeyValue) -> Result<(), KvError>,
) -> Result<(), KvError> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    let mut from = prefix.as_bytes().to_vec();
    loop {
        let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
        let response = timed(client.kv_client().get(from, Some(options))).await?;
        for kv in response.kvs() {
            each(kv)?;
        }
        match response.kvs().last() {
            Some(last) if response.more() => {
                from = last.key().to_vec();
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

/// Writes as the leader of one term only.
#[derive(Clone)]
pub struct LeaderWriter {
    client: Client,
    leader_key: String,
    /// Creation revision of the leader key, unlike that of any other term.
    created: i64,
}

impl LeaderWriter {
    /// A writer for the term whose leader key was created at that revision.
    pub fn new(client: Client, leader_key: String, created: i64) -> LeaderWriter {
        LeaderWriter { client, leader_key, created }
    }

    /// For reading.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Does all operations, if this term still leads.
    pub async fn write(&self, ops: Vec<TxnOp>) -> Result<(), KvError> {
        self.write_if(Vec::new(), ops).await.map(|_| ())
    }

    /// Does all operations if this term still leads and the compares hold; false if they don't hold.
    pub async fn write_if(&self, mut compares: Vec<Compare>, ops: Vec<TxnOp>) -> Result<bool, KvError> {
        compares.push(Compare::create_revision(self.leader_key.as_str(), CompareOp::Equal, self.created));
        let txn = Txn::new().when(compares).and_then(ops).or_else([TxnOp::get(self.leader_key.as_str(), None)]);
        let response = timed(self.client.kv_client().txn(txn)).await?;
        if response.succeeded() {
            return Ok(true);
        }
        let leads = response.op_responses().iter().any(|op| match op {
            TxnOpResponse::Get(get) => get.kvs().first().is_some_and(|kv| kv.create_revision() == self.created),
            _ => false,
        });
        if leads { Ok(false) } else { Err(KvError::NotLeader) }
    }
}
