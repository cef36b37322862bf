//! The official client crate, our independent witness, at its usual work against our placement driver and storage
//! nodes, all in this process over real sockets and files.

use std::sync::Arc;
use std::time::Duration;

use kv_client::pd::GrpcPd;
use net::grpc::{ChannelOptions, Channels};
use placement_driver::{Listeners, Pd};
use storage_node::node::{Node, NodeParts};
use tikv_client::{
    CheckLevel, Key, KvPair, RawClient, TimestampExt, Transaction, TransactionClient, TransactionOptions, Value,
};
use tokio::net::TcpListener;

/// No step takes this long on a machine that is only slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A placement driver and some storage nodes.
struct Cluster {
    _dir: tempfile::TempDir,
    pd: Pd,
    endpoints: Vec<String>,
    nodes: Vec<Node>,
}

impl Cluster {
    async fn start(nodes: usize) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let listeners = Listeners { client: listen().await, peer: listen().await };
        let (client, peer) = (listeners.client.local_addr().unwrap(), listeners.peer.local_addr().unwrap());
        let config = placement_driver::Config {
            name: "pd".into(),
            data_dir: dir.path().join("pd"),
            client_urls: format!("http://{client}"),
            peer_urls: format!("http://{peer}"),
            initial_cluster: format!("pd=http://{peer}"),
            ..Default::default()
        };
        let pd = Pd::start(config, listeners).unwrap();
        let endpoints = vec![client.to_string()];
        let mut cluster = Cluster { _dir: dir, pd, endpoints, nodes: Vec::new() };
        for n in 0..nodes {
            let channels = Channels::new(ChannelOptions::default());
            let pd = within("the placement driver", || GrpcPd::connect(&cluster.endpoints, channels.clone())).await;
            let data_dir = cluster._dir.path().join(format!("kv-{n}"));
            let config = storage_node::config::Config { data_dir, ..Default::default() };
            let parts = NodeParts { listener: listen().await, status_listener: None, pd: Arc::new(pd), channels };
            cluster.nodes.push(Node::start(config, parts).await.unwrap());
        }
        cluster
    }

    async fn raw(&self) -> RawClient {
        within("a raw client", || RawClient::new(self.endpoints.clone())).await
    }

    async fn transactions(&self) -> TransactionClient {
        within("a transactional client", || TransactionClient::new(self.endpoints.clone())).await
    }

    async fn stop(self) {
        for node in self.nodes {
            node.shutdown().await;
        }
        self.pd.shutdown().await;
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Repeats what fails while the cluster starts.
async fn within<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut call: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(e) if tokio::time::Instant::now() > deadline => panic!("{what}: {e}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn values(pairs: impl IntoIterator<Item = KvPair>) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    pairs.into_iter().map(|pair| (text(Vec::from(pair.0)), text(pair.1))).collect()
}

fn text(value: Option<Value>) -> Option<String> {
    value.map(|v| String::from_utf8(v).unwrap())
}

fn key(k: &str) -> Key {
    Key::from(k.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn raw_access() {
    let cluster = Cluster::start(1).await;
    let client = cluster.raw().await;
    within("the first write", || client.put("k1".to_string(), "v1".to_string())).await;
    assert_eq!(text(client.get("k1".to_string()).await.unwrap()).as_deref(), Some("v1"));
    assert_eq!(client.get("none".to_string()).await.unwrap(), None);

    let pairs: Vec<KvPair> = (2..6).map(|n| KvPair::new(format!("k{n}"), format!("v{n}"))).collect();
    client.batch_put(pairs).await.unwrap();
    let got = client.batch_get(["k2", "none", "k5"].map(String::from)).await.unwrap();
    assert_eq!(values(got).len(), 2);
    // The client starts over at the end of the key space until it has as many rows as it may: it is asked for no more
    // than there are.
    let scanned = values(client.scan("k2".to_string().."k5".to_string(), 3).await.unwrap());
    assert_eq!(scanned.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["k2", "k3", "k4"]);
    let reverse = values(client.scan_reverse("k2".to_string().."k5".to_string(), 2).await.unwrap());
    assert_eq!(reverse.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["k4", "k3"]);
    assert_eq!(client.scan_keys("k".to_string().., 3).await.unwrap().len(), 3);
    let batches = client.batch_scan(["k1".to_string().."k3".to_string(), "k4".to_string().."k9".to_string()], 1);
    assert_eq!(batches.await.unwrap().len(), 2);

    client.delete("k1".to_string()).await.unwrap();
    assert_eq!(client.get("k1".to_string()).await.unwrap(), None);
    client.batch_delete(["k2", "k3"].map(String::from)).await.unwrap();
    client.delete_range("k4".to_string().."k5".to_string()).await.unwrap();
    let left = client.batch_get((1..6).map(|n| format!("k{n}"))).await.unwrap();
    assert_eq!(values(left), [("k5".to_string(), "v5".to_string())]);

    let atomic = client.with_atomic_for_cas();
    let (previous, swapped) = atomic.compare_and_swap("c".to_string(), None, "1".to_string()).await.unwrap();
    assert_eq!((previous, swapped), (None, true));
    let (previous, swapped) = atomic.compare_and_swap("c".to_string(), None, "2".to_string()).await.unwrap();
    assert_eq!((text(previous).as_deref(), swapped), (Some("1"), false));
    let expected = Some(b"1".to_vec());
    assert!(atomic.compare_and_swap("c".to_string(), expected, "2".to_string()).await.unwrap().1);
    assert!(client.put_with_ttl("t".to_string(), "v".to_string(), 60).await.is_err(), "refused by name");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_of_every_kind() {
    let cluster = Cluster::start(1).await;
    let client = cluster.transactions().await;
    for (round, options) in [
        TransactionOptions::new_optimistic(),
        TransactionOptions::new_pessimistic(),
        TransactionOptions::new_optimistic().use_async_commit(),
        TransactionOptions::new_optimistic().try_one_pc(),
        TransactionOptions::new_pessimistic().use_async_commit(),
        TransactionOptions::new_pessimistic().try_one_pc(),
    ]
    .into_iter()
    .enumerate()
    {
        let p = format!("r{round}-");
        let begin = || client.begin_with_options(options.clone());
        let mut txn = within("a transaction", begin).await;
        txn.put(format!("{p}a"), "1".to_string()).await.unwrap();
        txn.put(format!("{p}b"), "x".repeat(1000)).await.unwrap();
        txn.insert(format!("{p}c"), "3".to_string()).await.unwrap();
        assert_eq!(text(txn.get(format!("{p}a")).await.unwrap()).as_deref(), Some("1"));
        let committed = txn.commit().await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        let mut txn = begin().await.unwrap();
        assert_eq!(txn.get(format!("{p}b")).await.unwrap().unwrap().len(), 1000, "round {round}");
        assert!(txn.key_exists(format!("{p}c")).await.unwrap());
        assert_eq!(txn.batch_get(["a", "b", "z"].map(|k| format!("{p}{k}"))).await.unwrap().count(), 2);
        let range = format!("{p}a")..format!("{p}z");
        assert_eq!(txn.scan(range.clone(), 10).await.unwrap().count(), 3);
        let reverse: Vec<Key> = txn.scan_keys_reverse(range, 2).await.unwrap().collect();
        assert_eq!(reverse, [key(&format!("{p}c")), key(&format!("{p}b"))]);
        txn.delete(format!("{p}a")).await.unwrap();
        txn.commit().await.unwrap();

        let mut after = begin().await.unwrap();
        assert_eq!(after.get(format!("{p}a")).await.unwrap(), None);
        after.rollback().await.unwrap();
        // The past is still there.
        if let Some(ts) = committed {
            let read = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
            let mut past = client.snapshot(ts, read);
            assert_eq!(text(past.get(format!("{p}a")).await.unwrap()).as_deref(), Some("1"), "round {round}");
        }
        // Inserting what exists fails.
        let mut txn = begin().await.unwrap();
        let inserted = async {
            txn.insert(format!("{p}c"), "4".to_string()).await?;
            txn.commit().await
        };
        assert!(inserted.await.is_err(), "round {round}");
        let _ = txn.rollback().await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conflicts_and_abandoned_locks() {
    let cluster = Cluster::start(1).await;
    let client = cluster.transactions().await;
    let mut setup = within("a transaction", || client.begin_optimistic()).await;
    setup.put(key("a"), "0".to_string()).await.unwrap();
    setup.commit().await.unwrap();

    // The later of two optimistic writers fails.
    let mut one = client.begin_optimistic().await.unwrap();
    let mut two = client.begin_optimistic().await.unwrap();
    one.put(key("a"), "1".to_string()).await.unwrap();
    two.put(key("a"), "2".to_string()).await.unwrap();
    one.commit().await.unwrap();
    assert!(two.commit().await.is_err());
    let _ = two.rollback().await;

    // A transaction that dies with its lock: garbage collection rolls it back before its time.
    let mut dead =
        client.begin_with_options(TransactionOptions::new_pessimistic().drop_check(CheckLevel::None)).await.unwrap();
    dead.get_for_update(key("a")).await.unwrap();
    drop(dead);
    let safe_point = client.current_timestamp().await.unwrap();
    assert!(client.gc(safe_point).await.unwrap());
    let mut next = client.begin_pessimistic().await.unwrap();
    assert_eq!(text(next.get_for_update(key("a")).await.unwrap()).as_deref(), Some("1"));
    next.put(key("a"), "3".to_string()).await.unwrap();
    next.commit().await.unwrap();

    let mut read = client.begin_optimistic().await.unwrap();
    assert_eq!(text(read.get(key("a")).await.unwrap()).as_deref(), Some("3"));
    read.rollback().await.unwrap();
    cluster.stop().await;
}

async fn transfer(client: &TransactionClient, from: usize, to: usize) -> tikv_client::Result<()> {
    let mut txn = client.begin_pessimistic().await?;
    let moved = move_one(&mut txn, from, to).await;
    if moved.is_err() {
        let _ = txn.rollback().await;
    }
    moved
}

async fn move_one(txn: &mut Transaction, from: usize, to: usize) -> tikv_client::Result<()> {
    let mut balances = Vec::new();
    for account in [from, to] {
        let value = txn.get_for_update(format!("acct{account}")).await?;
        balances.push(text(value).unwrap().parse::<i64>().unwrap());
    }
    txn.put(format!("acct{from}"), (balances[0] - 1).to_string()).await?;
    txn.put(format!("acct{to}"), (balances[1] + 1).to_string()).await?;
    txn.commit().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_transfers_keep_the_sum_on_three_nodes() {
    let cluster = Cluster::start(3).await;
    let client = Arc::new(cluster.transactions().await);
    let mut setup = within("a transaction", || client.begin_optimistic()).await;
    for account in 0..5 {
        setup.put(format!("acct{account}"), "100".to_string()).await.unwrap();
    }
    setup.commit().await.unwrap();
    let workers: Vec<_> = (0..4)
        .map(|w: usize| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut done = 0;
                for n in 0..40 {
                    let (from, to) = ((w + n) % 5, (w * 3 + n * 2 + 1) % 5);
                    if from != to && transfer(&client, from, to).await.is_ok() {
                        done += 1;
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for worker in workers {
        done += worker.await.unwrap();
    }
    assert!(done > 0, "no transfer succeeded");
    let mut read = client.begin_optimistic().await.unwrap();
    let all = values(read.scan("acct".to_string().."acct~".to_string(), 10).await.unwrap());
    read.rollback().await.unwrap();
    assert_eq!(all.iter().map(|(_, v)| v.parse::<i64>().unwrap()).sum::<i64>(), 500, "{all:?}");
    println!("{done} transfers");
    assert!(client.current_timestamp().await.unwrap().version() > 0);
    cluster.stop().await;
}
