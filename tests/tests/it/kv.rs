//! The key-value client against one PD and one storage node: reads, the ways to commit, locks, and what a crashed
//! client leaves behind.

use std::time::{Duration, Instant};

use kv_client::{Client, ClientOptions, Error, LockOptions, LockWait, Timestamp, Transaction, TxnOptions};
use proto::kvrpcpb::{self, Op};
use proto::metapb;
use proto::tikvpb::tikv_client::TikvClient;
use tests::cluster::{Cluster, PATIENCE};

async fn put(client: &Client, pairs: &[(&str, &str)]) -> Timestamp {
    let mut txn = client.begin(TxnOptions::optimistic()).await.unwrap();
    for (key, value) in pairs {
        txn.put(key.as_bytes().to_vec(), value.as_bytes().to_vec()).unwrap();
    }
    txn.commit().await.unwrap()
}

async fn get(client: &Client, key: &str) -> Option<String> {
    let value = client.snapshot(Timestamp::MAX).get(key.as_bytes()).await.unwrap();
    value.map(|v| String::from_utf8(v).unwrap())
}

fn show(pairs: &[kv_client::KvPair]) -> String {
    let one = |(k, v): &kv_client::KvPair| format!("{}={}", String::from_utf8_lossy(k), String::from_utf8_lossy(v));
    pairs.iter().map(one).collect::<Vec<_>>().join(" ")
}

async fn pessimistic(client: &Client) -> Transaction {
    client.begin(TxnOptions::pessimistic()).await.unwrap()
}

async fn lock(txn: &mut Transaction, key: &str, wait: LockWait) -> Result<(), Error> {
    let options = LockOptions { wait, ..LockOptions::default() };
    txn.lock_keys(vec![key.into()], options).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_commits_over_several_regions() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    let before = client.timestamp().await.unwrap();
    let first = put(&client, &[("a", "1"), ("b", "2"), ("m", "3"), ("x", "4")]).await;
    assert!(first > before);
    let made = client.split_region(vec![b"c".to_vec(), b"n".to_vec()]).await.unwrap();
    assert!(made.len() >= 2, "{made:?}");

    // A client that knows the old region, one that knows none, and one without the short ways to commit.
    let two_phase = ClientOptions { one_pc: false, async_commit: false, ..ClientOptions::default() };
    for client in [client.clone(), cluster.client().await, cluster.client_with(two_phase).await] {
        let ts = put(&client, &[("a", "10"), ("d", "11"), ("x", "12")]).await;
        let now = client.snapshot(client.timestamp().await.unwrap());
        assert_eq!(show(&now.scan(b"", b"", 100, false, false).await.unwrap()), "a=10 b=2 d=11 m=3 x=12");
        assert_eq!(show(&now.scan(b"", b"", 3, true, false).await.unwrap()), "x=12 m=3 d=11");
        assert_eq!(show(&now.scan(b"b", b"x", 100, true, true).await.unwrap()), "m= d= b=");
        assert_eq!(show(&now.scan(b"c", b"n", 1, false, false).await.unwrap()), "d=11");
        let keys: Vec<Vec<u8>> = ["x", "none", "a", "x"].iter().map(|k| k.as_bytes().to_vec()).collect();
        let values = now.batch_get(&keys).await.unwrap();
        let text: Vec<_> = values.iter().map(|v| v.as_deref().map(String::from_utf8_lossy)).collect();
        assert_eq!(text, [Some("12".into()), None, Some("10".into()), Some("12".into())]);
        // A snapshot from before sees nothing of it.
        assert_eq!(show(&client.snapshot(first).scan(b"", b"", 100, false, false).await.unwrap()), "a=1 b=2 m=3 x=4");
        assert_eq!(
            client.snapshot(Timestamp(ts.0 - 1)).get(b"d").await.unwrap().is_some(),
            get(&client, "e").await.is_some()
        );
        assert_eq!(get(&client, "x").await.as_deref(), Some("12"));
        let mut undo = client.begin(TxnOptions::optimistic()).await.unwrap();
        undo.delete(b"d".to_vec()).unwrap();
        undo.commit().await.unwrap();
        assert_eq!(get(&client, "d").await, None);
    }

    // A transaction reads its own writes over its snapshot.
    let mut txn = client.begin(TxnOptions::optimistic()).await.unwrap();
    txn.put(b"c".to_vec(), b"new".to_vec()).unwrap();
    txn.delete(b"m".to_vec()).unwrap();
    put(&client, &[("b", "later")]).await;
    assert_eq!(show(&txn.scan(b"a", b"y", 3).await.unwrap()), "a=10 b=2 c=new");
    assert_eq!(txn.get(b"m").await.unwrap(), None);
    txn.rollback().await.unwrap();
    assert_eq!(get(&client, "c").await, None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_and_duplicates_are_told_by_key() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    put(&client, &[("a", "1")]).await;
    let mut slow = client.begin(TxnOptions::optimistic()).await.unwrap();
    slow.put(b"a".to_vec(), b"slow".to_vec()).unwrap();
    put(&client, &[("a", "fast")]).await;
    let conflict = slow.commit().await.unwrap_err();
    assert!(matches!(&conflict, Error::WriteConflict { key, .. } if key == b"a"), "{conflict:?}");

    for options in [TxnOptions::optimistic(), TxnOptions::pessimistic()] {
        let mut txn = client.begin(options).await.unwrap();
        txn.insert(b"a".to_vec(), b"again".to_vec()).unwrap();
        let result = match txn.is_pessimistic() {
            true => lock(&mut txn, "a", LockWait::Default).await,
            false => txn.commit().await.map(drop),
        };
        assert!(matches!(&result, Err(Error::KeyExists { key }) if key == b"a"), "{result:?}");
        txn.rollback().await.unwrap();
    }
    let mut txn = pessimistic(&client).await;
    txn.insert(b"b".to_vec(), b"2".to_vec()).unwrap();
    lock(&mut txn, "b", LockWait::Default).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!((get(&client, "a").await.as_deref(), get(&client, "b").await.as_deref()), (Some("fast"), Some("2")));
    cluster.stop().await;
}

/// An optimistic transaction that looks at keys: its commit is to check them.
async fn looks_at(client: &Client, keys: &[&str]) -> Transaction {
    let mut txn = client.begin(TxnOptions::optimistic()).await.unwrap();
    txn.lock_at_commit(keys.iter().map(|key| key.as_bytes().to_vec())).unwrap();
    txn
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_key_that_an_optimistic_transaction_locked_is_found_by_its_commit() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    client.split_region(vec![b"m".to_vec()]).await.unwrap();
    let asynchronous = ClientOptions { one_pc: false, ..ClientOptions::default() };
    let two_phase = ClientOptions { async_commit: false, ..asynchronous.clone() };
    // Within one region, at once; over two, asynchronously or in two phases.
    for options in [ClientOptions::default(), asynchronous, two_phase] {
        let client = cluster.client_with(options).await;
        put(&client, &[("a", "1"), ("x", "1")]).await;
        let conflict =
            |result: Result<Timestamp, Error>| matches!(result, Err(Error::WriteConflict { key, .. }) if key == b"a");

        // With a write and without, and where there is no value.
        for write in [None, Some("b"), Some("y")] {
            let mut txn = looks_at(&client, &["a", "none", "x"]).await;
            if let Some(key) = write {
                txn.put(key.into(), b"lost".to_vec()).unwrap();
            }
            assert!(!txn.is_readonly());
            put(&client, &[("a", "2")]).await;
            assert!(conflict(txn.commit().await), "{write:?}");
        }
        assert_eq!((get(&client, "b").await, get(&client, "y").await), (None, None));

        // Nobody changed it: committed, and of the locks nothing is to be seen.
        let mut late = client.begin(TxnOptions::optimistic()).await.unwrap();
        late.put(b"a".to_vec(), b"late".to_vec()).unwrap();
        let mut other = looks_at(&client, &["a"]).await;
        let mut txn = looks_at(&client, &["a", "none", "x"]).await;
        assert!(txn.commit().await.unwrap() > txn.start_ts());
        let now = client.snapshot(client.timestamp().await.unwrap());
        assert_eq!(show(&now.scan(b"", b"", 9, false, false).await.unwrap()), "a=2 x=1");
        assert_eq!(get(&client, "none").await, None);
        // It counts as a change for those that began before.
        assert!(conflict(late.commit().await) && conflict(other.commit().await));

        // A key that it writes, too, is written.
        let mut txn = looks_at(&client, &["a", "x"]).await;
        txn.put(b"a".to_vec(), b"3".to_vec()).unwrap();
        txn.delete(b"x".to_vec()).unwrap();
        txn.commit().await.unwrap();
        assert_eq!((get(&client, "a").await.as_deref(), get(&client, "x").await), (Some("3"), None));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pessimistic_locks_exclude_wait_and_time_out() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    put(&client, &[("a", "1"), ("b", "2")]).await;
    client.split_region(vec![b"b".to_vec()]).await.unwrap();
    let mut holder = pessimistic(&client).await;
    let options = LockOptions { return_values: true, ..LockOptions::default() };
    let locked = holder.lock_keys(vec![b"b".to_vec(), b"a".to_vec(), b"c".to_vec()], options).await.unwrap();
    assert_eq!(locked.values, [Some(b"2".to_vec()), Some(b"1".to_vec()), None]);
    assert_eq!(locked.exists, [true, true, false]);

    let mut other = pessimistic(&client).await;
    let refused = lock(&mut other, "a", LockWait::NoWait).await;
    assert!(matches!(&refused, Err(Error::LockNoWait { key, .. }) if key == b"a"), "{refused:?}");
    let begin = Instant::now();
    let late = lock(&mut other, "a", LockWait::Ms(300)).await;
    assert!(matches!(&late, Err(Error::LockWaitTimeout { key }) if key == b"a"), "{late:?}");
    assert!(begin.elapsed() >= Duration::from_millis(300) && begin.elapsed() < Duration::from_secs(10));
    // Readers are not held up.
    assert_eq!(get(&client, "a").await.as_deref(), Some("1"));

    // A waiter gets the lock, and the value that the holder committed.
    let waiter = tokio::spawn(async move {
        let options = LockOptions { return_values: true, ..LockOptions::default() };
        let locked = other.lock_keys(vec![b"a".to_vec()], options).await.unwrap();
        other.put(b"a".to_vec(), [locked.values[0].clone().unwrap(), b"+".to_vec()].concat()).unwrap();
        other.commit().await.unwrap();
    });
    holder.put(b"a".to_vec(), b"held".to_vec()).unwrap();
    holder.commit().await.unwrap();
    waiter.await.unwrap();
    assert_eq!(get(&client, "a").await.as_deref(), Some("held+"));
    assert_eq!(get(&client, "b").await.as_deref(), Some("2"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_gone_when_their_transaction_has_ended() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    // Another client: what it asks for does not queue behind what the first one sent.
    let next = cluster.client().await;
    for round in 0..100 {
        let mut holder = pessimistic(&client).await;
        lock(&mut holder, "a", LockWait::Default).await.unwrap();
        match round % 2 {
            0 => holder.rollback().await.unwrap(),
            _ => drop(holder.commit().await.unwrap()), // it wrote nothing
        }
        let mut other = pessimistic(&next).await;
        lock(&mut other, "a", LockWait::NoWait).await.unwrap();
        other.rollback().await.unwrap();
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_a_statement_that_is_killed_are_released_at_once() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    let mut holder = pessimistic(&client).await;
    lock(&mut holder, "b", LockWait::Default).await.unwrap();

    // It has "a", waits for "b", and then nobody waits for it any more; the transaction itself goes on.
    let mut killed = pessimistic(&client).await;
    {
        let mut statement =
            std::pin::pin!(killed.lock_keys(vec![b"a".to_vec(), b"b".to_vec()], LockOptions::default()));
        let has_a = async {
            loop {
                let mut probe = pessimistic(&client).await;
                if let Err(Error::LockNoWait { .. }) = lock(&mut probe, "a", LockWait::NoWait).await {
                    return;
                }
                probe.rollback().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            locked = &mut statement => panic!("the lock of another was taken: {locked:?}"),
            () = has_a => {}
        }
    }
    assert!(!killed.is_locked(b"a"));
    let mut next = pessimistic(&client).await;
    lock(&mut next, "a", LockWait::Ms(5_000)).await.unwrap();
    holder.rollback().await.unwrap();
    lock(&mut next, "b", LockWait::Ms(5_000)).await.unwrap();
    // The transaction may lock them again.
    next.rollback().await.unwrap();
    lock(&mut killed, "a", LockWait::Ms(5_000)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_taken_at_a_known_time_unless_a_key_has_changed_since_or_a_call_was_given_up() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    put(&client, &[("a", "1"), ("b", "1")]).await;
    let mut txn = pessimistic(&client).await;
    let as_now = || LockOptions { return_values: true, wait: LockWait::NoWait, ..LockOptions::default() };
    // Nobody has changed "a": PD need not be asked for the time.
    let a = txn.lock_keys(vec![b"a".to_vec()], as_now()).await.unwrap();
    assert_eq!((a.for_update_ts, &a.values[..]), (txn.start_ts(), &[Some(b"1".to_vec())][..]));
    // "b" changes: it is locked as it is now, and so is what did not exist and does.
    let changed = put(&client, &[("b", "2"), ("c", "2")]).await;
    let b = txn.lock_keys(vec![b"b".to_vec(), b"c".to_vec()], as_now()).await.unwrap();
    // PD may give out the very time of a commit that took one phase: it is one after the time that PD had told it.
    assert!(b.for_update_ts >= changed, "{b:?} {changed:?}");
    assert_eq!(b.values, [Some(b"2".to_vec()), Some(b"2".to_vec())]);
    // What was locked is read as it is, at whatever time.
    let again = txn.lock_keys(vec![b"a".to_vec(), b"b".to_vec()], as_now()).await.unwrap();
    assert_eq!(again.values, [Some(b"1".to_vec()), Some(b"2".to_vec())]);
    let d = txn.lock_keys(vec![b"d".to_vec()], as_now()).await.unwrap();
    assert_eq!(d.for_update_ts, b.for_update_ts);

    // A refused call releases what it locked in the background; that must not reach the locks of the next call.
    let mut holder = pessimistic(&client).await;
    lock(&mut holder, "f", LockWait::NoWait).await.unwrap();
    let refused = txn.lock_keys(vec![b"e".to_vec(), b"f".to_vec()], as_now()).await;
    assert!(matches!(&refused, Err(Error::LockNoWait { key, .. }) if key == b"f"), "{refused:?}");
    let e = txn.lock_keys(vec![b"e".to_vec()], as_now()).await.unwrap();
    assert!(e.for_update_ts > d.for_update_ts, "{e:?}");
    holder.rollback().await.unwrap();
    for key in ["a", "b", "c", "d", "e"] {
        let mut probe = pessimistic(&client).await;
        let held = lock(&mut probe, key, LockWait::NoWait).await;
        assert!(matches!(&held, Err(Error::LockNoWait { .. })), "{key}: {held:?}");
        probe.rollback().await.unwrap();
    }
    txn.rollback().await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_found_and_the_other_transaction_goes_on() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    let (mut one, mut two) = (pessimistic(&client).await, pessimistic(&client).await);
    lock(&mut one, "a", LockWait::Default).await.unwrap();
    lock(&mut two, "b", LockWait::Default).await.unwrap();
    let lock_too = |mut txn: Transaction, key| async move {
        let result = lock(&mut txn, key, LockWait::Ms(20_000)).await;
        if result.is_err() {
            // The other one waits for it.
            txn.rollback().await.unwrap();
        }
        (txn, result)
    };
    // Whose request comes second is the victim.
    let mut survivor = match tokio::join!(lock_too(one, "b"), lock_too(two, "a")) {
        ((one, Ok(())), (_, Err(Error::Deadlock { .. }))) => one,
        ((_, Err(Error::Deadlock { .. })), (two, Ok(()))) => two,
        ((_, one), (_, two)) => panic!("{one:?} {two:?}"),
    };
    survivor.put(b"a".to_vec(), b"1".to_vec()).unwrap();
    survivor.put(b"b".to_vec(), b"1".to_vec()).unwrap();
    survivor.commit().await.unwrap();
    assert_eq!(get(&client, "b").await.as_deref(), Some("1"));
    cluster.stop().await;
}

/// The stores with a voter of the first region, the leader's first; none while it has no leader.
async fn voters(client: &Client) -> Vec<u64> {
    let Some(info) = client.pd().get_region(b"").await.unwrap() else { return Vec::new() };
    let Some(leader) = info.leader else { return Vec::new() };
    let voters = info.region.peers.iter().filter(|p| p.role() == metapb::PeerRole::Voter && p.id != leader.id);
    std::iter::once(leader.store_id).chain(voters.map(|p| p.store_id)).collect()
}

async fn wait_for_voters(client: &Client, what: &str, holds: impl Fn(&[u64]) -> bool) -> Vec<u64> {
    let begin = Instant::now();
    loop {
        let seen = voters(client).await;
        if holds(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "no {what}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_loses_no_pessimistic_lock() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    put(&client, &[("k1", "0"), ("k2", "0"), ("k3", "0")]).await;
    let mut txn = pessimistic(&client).await;
    for key in ["k1", "k2", "k3"] {
        lock(&mut txn, key, LockWait::Default).await.unwrap();
        txn.put(key.into(), b"1".to_vec()).unwrap();
    }
    client.split_region(vec![b"k2".to_vec(), b"k3".to_vec()]).await.unwrap();
    let mut other = pessimistic(&client).await;
    for key in ["k1", "k2", "k3"] {
        assert!(
            matches!(lock(&mut other, key, LockWait::NoWait).await, Err(Error::LockNoWait { .. })),
            "{key} is free"
        );
    }
    txn.commit().await.unwrap();
    assert_eq!(get(&client, "k3").await.as_deref(), Some("1"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_move_of_leadership_loses_no_pessimistic_lock() {
    let cluster = Cluster::start(1, 3).await;
    let client = cluster.client().await;
    let stores = wait_for_voters(&client, "three voters", |stores| stores.len() == 3).await;
    let mut holder = pessimistic(&client).await;
    lock(&mut holder, "a", LockWait::Default).await.unwrap();

    let url = format!("http://{}/pd/api/v1/operators", cluster.endpoints()[0]);
    let region = client.pd().get_region(b"").await.unwrap().unwrap().region.id;
    let to = stores[1];
    let body = format!(r#"{{"name":"transfer-leader","region_id":{region},"to_store_id":{to}}}"#);
    let answer = net::http::request(net::http::Method::POST, &url, body.into(), PATIENCE).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.text());
    wait_for_voters(&client, "new leader", |stores| stores.first() == Some(&to)).await;

    let mut other = pessimistic(&client).await;
    let refused = lock(&mut other, "a", LockWait::NoWait).await;
    assert!(matches!(&refused, Err(Error::LockNoWait { key, .. }) if key == b"a"), "{refused:?}");
    holder.put(b"a".to_vec(), b"1".to_vec()).unwrap();
    holder.commit().await.unwrap();
    lock(&mut other, "a", LockWait::NoWait).await.unwrap();
    cluster.stop().await;
}

/// What a client leaves that dies between prewrite and commit: made by hand, because ours cleans up.
struct Crashed {
    start_ts: Timestamp,
    stub: TikvClient<tonic::transport::Channel>,
    cluster_client: Client,
}

impl Crashed {
    async fn prewrite(client: &Client, address: String, pairs: &[(&str, &str)], ttl_ms: u64) -> Crashed {
        let stub = TikvClient::connect(format!("http://{address}")).await.unwrap();
        let mut crashed = Crashed { start_ts: client.timestamp().await.unwrap(), stub, cluster_client: client.clone() };
        for (key, value) in pairs {
            let request = kvrpcpb::PrewriteRequest {
                context: Some(crashed.context(key).await),
                mutations: vec![kvrpcpb::Mutation {
                    op: Op::Put as i32,
                    key: key.as_bytes().to_vec(),
                    value: value.as_bytes().to_vec(),
                    ..Default::default()
                }],
                primary_lock: pairs[0].0.as_bytes().to_vec(),
                start_version: crashed.start_ts.0,
                lock_ttl: ttl_ms,
                txn_size: 1,
                ..Default::default()
            };
            let response = crashed.stub.kv_prewrite(request).await.unwrap().into_inner();
            assert!(response.region_error.is_none() && response.errors.is_empty(), "{response:?}");
        }
        crashed
    }

    async fn context(&self, key: &str) -> kvrpcpb::Context {
        let info = self.cluster_client.pd().get_region(&kv_client::region::encode(key.as_bytes())).await.unwrap();
        let info = info.unwrap();
        let peer = info.leader.unwrap_or(info.region.peers[0]);
        kvrpcpb::Context {
            region_id: info.region.id,
            region_epoch: info.region.region_epoch,
            peer: Some(peer),
            ..Default::default()
        }
    }

    async fn commit(&mut self, key: &str) {
        let commit_ts = self.cluster_client.timestamp().await.unwrap();
        let request = kvrpcpb::CommitRequest {
            context: Some(self.context(key).await),
            start_version: self.start_ts.0,
            keys: vec![key.as_bytes().to_vec()],
            commit_version: commit_ts.0,
            ..Default::default()
        };
        let response = self.stub.kv_commit(request).await.unwrap().into_inner();
        assert!(response.region_error.is_none() && response.error.is_none(), "{response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_client_left_is_resolved_by_whoever_meets_it() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client().await;
    let address = cluster.nodes()[0].addr().to_string();
    put(&client, &[("a", "old"), ("b", "old"), ("c", "old"), ("d", "old")]).await;

    // It died before its commit: its locks expire and go.
    Crashed::prewrite(&client, address.clone(), &[("a", "lost"), ("b", "lost")], 200).await;
    let now = client.snapshot(client.timestamp().await.unwrap());
    assert_eq!(show(&now.scan(b"a", b"c", 10, false, false).await.unwrap()), "a=old b=old");

    // It died after the commit of its primary: everything is committed.
    let mut crashed = Crashed::prewrite(&client, address.clone(), &[("a", "new"), ("b", "new")], 60_000).await;
    crashed.commit("a").await;
    assert_eq!(get(&client, "b").await.as_deref(), Some("new"));

    // It lives: a reader passes its lock (the commit will be after the read), a writer waits until it expires.
    Crashed::prewrite(&client, address, &[("c", "lost"), ("d", "lost")], 1500).await;
    let begin = Instant::now();
    assert_eq!(get(&client, "d").await.as_deref(), Some("old"));
    assert!(begin.elapsed() < Duration::from_millis(1400), "{:?}", begin.elapsed());
    put(&client, &[("d", "mine")]).await;
    assert_eq!((get(&client, "c").await.as_deref(), get(&client, "d").await.as_deref()), (Some("old"), Some("mine")));
    cluster.stop().await;
}
