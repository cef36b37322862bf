//! The shell over a bare engine in one thread: latches, waits, wake-ups, deadlocks, bounds.

use engine::memory::MemoryEngine;

use super::*;
use crate::bare::BareReplication;
use crate::txn::{Assertion, Mutation, MutationOp};

type Bare = BareReplication<MemoryEngine>;

fn storage() -> (Storage<Bare>, RegionContext) {
    let bare = Bare::new(MemoryEngine::new());
    let ctx = bare.context();
    (Storage::new(bare, None, StorageOptions::default()), ctx)
}

fn key(k: &str) -> Key {
    Key::from_user(k.as_bytes())
}

fn put(k: &str, value: &str, start: u64) -> Prewrite {
    let value = value.as_bytes().to_vec();
    Prewrite {
        mutations: vec![Mutation { op: MutationOp::Put, key: key(k), value, assertion: Assertion::None }],
        primary: k.as_bytes().to_vec(),
        start_ts: Timestamp(start),
        ttl_ms: 3000,
        ..Prewrite::default()
    }
}

fn lock(k: &str, start: u64, for_update: u64) -> PessimisticLock {
    PessimisticLock {
        keys: vec![(key(k), false)],
        primary: k.as_bytes().to_vec(),
        start_ts: Timestamp(start),
        ttl_ms: 3000,
        for_update_ts: Timestamp(for_update),
        min_commit_ts: Timestamp::ZERO,
        return_values: true,
        check_existence: false,
        lock_only_if_exists: false,
        allow_conflict: false,
    }
}

/// Lets every other task go as far as it can without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn waiting(storage: &Storage<Bare>) -> usize {
    storage.load().1
}

fn is_locked<T>(result: &Result<T, CommandError>) -> bool {
    matches!(result, Err(CommandError::Txn(TxnError::Mvcc(MvccError::KeyIsLocked(_)))))
}

#[tokio::test]
async fn written_then_read() {
    let (storage, ctx) = storage();
    storage.prewrite(&ctx, put("a", "1", 5)).await.unwrap();
    let read = |ts| {
        let (storage, ctx) = (storage.clone(), ctx.clone());
        async move { storage.get(&ctx, b"a", &ReadParams::at(Timestamp(ts))).await }
    };
    assert!(is_locked(&read(6).await));
    storage.commit(&ctx, vec![key("a")], Timestamp(5), Timestamp(8)).await.unwrap();
    assert_eq!(read(7).await.unwrap(), None);
    assert_eq!(read(8).await.unwrap().unwrap(), "1");
    let rows = storage
        .scan(&ctx, &KeyRange::default(), 10, ReadParams::at(Timestamp(9)), ScanOptions::default())
        .await
        .unwrap();
    assert_eq!(rows, [Ok((b"a".to_vec(), Bytes::from_static(b"1")))]);
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn a_waiter_gets_the_lock_when_it_is_released() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::Default).await.unwrap();
    let waiter = tokio::spawn({
        let (storage, ctx) = (storage.clone(), ctx.clone());
        async move { storage.pessimistic_lock(&ctx, lock("a", 6, 6), LockWait::Default).await }
    });
    settle().await;
    assert_eq!(waiting(&storage), 1);
    storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(5), Timestamp(5)).await.unwrap();
    let told = waiter.await.unwrap().unwrap();
    assert!(!told[0].exists);
    let held = storage.inspect(&ctx, b"a").await.unwrap().lock.unwrap();
    assert_eq!((held.kind, held.start_ts), (LockKind::Pessimistic, Timestamp(6)));
    assert_eq!(storage.load(), (0, 0));
}

fn is_rolled_back<T>(result: &Result<T, CommandError>) -> bool {
    matches!(result, Err(CommandError::Txn(TxnError::PessimisticLockRolledBack { .. })))
}

#[tokio::test]
async fn a_wait_that_was_rolled_back_takes_no_lock_later() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    let waiter = tokio::spawn({
        let (storage, ctx) = (storage.clone(), ctx.clone());
        async move { storage.pessimistic_lock(&ctx, lock("a", 6, 8), LockWait::Default).await }
    });
    settle().await;
    // The end of an earlier statement's locks, and of another transaction's, are none of its business.
    for (start, for_update) in [(6, 7), (7, 9)] {
        storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(start), Timestamp(for_update)).await.unwrap();
        settle().await;
        assert_eq!(waiting(&storage), 1);
    }
    storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(6), Timestamp(8)).await.unwrap();
    settle().await;
    assert!(waiter.is_finished(), "the lock that it waited for is still held");
    assert!(is_rolled_back(&waiter.await.unwrap()));
    assert_eq!(storage.load(), (0, 0));
    storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(5), Timestamp(5)).await.unwrap();
    assert!(storage.inspect(&ctx, b"a").await.unwrap().lock.is_none());
}

#[tokio::test]
async fn a_waiter_that_was_woken_takes_no_lock_that_was_given_back_before() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    let waiters = [6, 7].map(|start| {
        let (storage, ctx) = (storage.clone(), ctx.clone());
        tokio::spawn(async move { storage.pessimistic_lock(&ctx, lock("a", start, 8), LockWait::Default).await })
    });
    settle().await;
    // It is woken by the first, and has not run when the second comes: neither yields here.
    for (start, for_update) in [(5, 5), (6, 8)] {
        storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(start), Timestamp(for_update)).await.unwrap();
    }
    let [given_back, next] = waiters;
    assert!(is_rolled_back(&given_back.await.unwrap()));
    next.await.unwrap().unwrap();
    assert_eq!(storage.inspect(&ctx, b"a").await.unwrap().lock.unwrap().start_ts, Timestamp(7));
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn waiters_are_told_of_a_newer_version_one_after_the_other() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    let waiters: Vec<_> = (6..9)
        .map(|start| {
            let (storage, ctx) = (storage.clone(), ctx.clone());
            tokio::spawn(async move { storage.pessimistic_lock(&ctx, lock("a", start, 9), LockWait::Default).await })
        })
        .collect();
    settle().await;
    assert_eq!(waiting(&storage), 3);
    let mut cmd = put("a", "1", 5);
    cmd.for_update_ts = Timestamp(5);
    storage.prewrite(&ctx, cmd).await.unwrap();
    storage.commit(&ctx, vec![key("a")], Timestamp(5), Timestamp(20)).await.unwrap();
    settle().await;
    assert_eq!(waiting(&storage), 2, "the oldest was told first");
    for waiter in waiters {
        let result = waiter.await.unwrap();
        assert!(matches!(result, Err(CommandError::Txn(TxnError::WriteConflict { .. }))));
    }
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn waits_end_at_their_time() {
    let bare = Bare::new(MemoryEngine::new());
    let ctx = bare.context();
    let options = StorageOptions { lock_wait_max: Duration::from_millis(80), ..StorageOptions::default() };
    let storage = Storage::new(bare, None, options);
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    assert!(is_locked(&storage.pessimistic_lock(&ctx, lock("a", 6, 6), LockWait::No).await));
    for (wait, expected_ms) in [
        (LockWait::For(Duration::from_millis(30)), 30),
        // The node's own bound: clients look whether the holder lives.
        (LockWait::For(Duration::from_secs(50)), 80),
        (LockWait::Default, 80),
    ] {
        let begin = Instant::now();
        assert!(is_locked(&storage.pessimistic_lock(&ctx, lock("a", 6, 6), wait).await));
        assert!(begin.elapsed() >= Duration::from_millis(expected_ms), "{wait:?}");
    }
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn a_deadlock_is_refused_at_once() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    storage.pessimistic_lock(&ctx, lock("b", 6, 6), LockWait::No).await.unwrap();
    let waiter = tokio::spawn({
        let (storage, ctx) = (storage.clone(), ctx.clone());
        async move { storage.pessimistic_lock(&ctx, lock("b", 5, 7), LockWait::Default).await }
    });
    settle().await;
    let error = storage.pessimistic_lock(&ctx, lock("a", 6, 7), LockWait::Default).await.unwrap_err();
    let CommandError::Txn(TxnError::Deadlock { start_ts, lock_ts, key: locked, wait_chain, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!((start_ts.0, lock_ts.0, locked.as_slice()), (6, 5, b"a".as_slice()));
    assert_eq!(wait_chain.len(), 2);
    // The victim rolls back, and the other goes on.
    storage.pessimistic_rollback(&ctx, vec![key("b")], Timestamp(6), Timestamp(7)).await.unwrap();
    waiter.await.unwrap().unwrap();
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_queue() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    let waiters: Vec<_> = [6, 7]
        .map(|start| {
            let (storage, ctx) = (storage.clone(), ctx.clone());
            tokio::spawn(
                async move { storage.pessimistic_lock(&ctx, lock("a", start, start), LockWait::Default).await },
            )
        })
        .into();
    settle().await;
    waiters[0].abort();
    settle().await;
    assert_eq!(waiting(&storage), 1);
    storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(5), Timestamp(5)).await.unwrap();
    settle().await;
    assert!(waiters[1].is_finished());
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn many_transactions_on_one_counter() {
    let (storage, ctx) = storage();
    let clock = Arc::new(AtomicU64::new(10));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (storage, ctx, clock) = (storage.clone(), ctx.clone(), clock.clone());
            tokio::spawn(async move {
                let now = || clock.fetch_add(1, Ordering::SeqCst);
                let start = now();
                let mut for_update = start;
                let value = loop {
                    match storage.pessimistic_lock(&ctx, lock("n", start, for_update), LockWait::Default).await {
                        Ok(told) => break told[0].value.clone(),
                        Err(CommandError::Txn(TxnError::WriteConflict { .. })) => for_update = now(),
                        Err(e) if is_locked::<()>(&Err(e.clone())) => {}
                        Err(e) => panic!("{e}"),
                    }
                };
                let n = value.map_or(0, |v| std::str::from_utf8(&v).unwrap().parse::<u32>().unwrap());
                let mut cmd = put("n", &(n + 1).to_string(), start);
                cmd.for_update_ts = Timestamp(for_update);
                cmd.checks = vec![super::super::commands::prewrite::PessimisticCheck::Lock];
                assert!(storage.prewrite(&ctx, cmd).await.unwrap().locked.is_empty());
                storage.commit(&ctx, vec![key("n")], Timestamp(start), Timestamp(now())).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let value = storage.get(&ctx, b"n", &ReadParams::at(Timestamp::MAX)).await.unwrap().unwrap();
    assert_eq!(value, "20");
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn writes_beyond_the_bounds_are_refused() {
    let bare = Bare::new(MemoryEngine::new());
    let ctx = bare.context();
    let options = StorageOptions { commands_max: 1, ..StorageOptions::default() };
    let storage = Storage::new(bare, None, options);
    let first = storage.admit(0).unwrap();
    let refused = storage.prewrite(&ctx, put("b", "1", 6)).await;
    assert!(matches!(refused, Err(CommandError::Region(RegionError::ServerIsBusy { .. }))));
    drop(first);
    storage.prewrite(&ctx, put("b", "1", 6)).await.unwrap();
    assert_eq!(storage.load(), (0, 0));
}

#[tokio::test]
async fn keys_outside_the_region_are_refused() {
    let range = encode_range(&KeyRange::new(*b"b", *b"d"));
    let bare = Bare::with_range(MemoryEngine::new(), range);
    let ctx = bare.context();
    let storage = Storage::new(bare, None, StorageOptions::default());
    let outside = |error: CommandError| matches!(error, CommandError::Region(RegionError::KeyNotInRegion { .. }));
    assert!(outside(storage.prewrite(&ctx, put("a", "1", 6)).await.unwrap_err()));
    assert!(outside(storage.get(&ctx, b"d", &ReadParams::at(Timestamp(9))).await.unwrap_err()));
    assert!(outside(storage.raw_get(&ctx, Cf::Default, b"a").await.unwrap_err()));
    storage.prewrite(&ctx, put("c", "1", 6)).await.unwrap();
    let stale = RegionContext { epoch: Default::default(), ..ctx };
    let refused = storage.get(&stale, b"c", &ReadParams::at(Timestamp(9))).await;
    assert!(matches!(refused, Err(CommandError::Region(RegionError::EpochNotMatch { .. }))));
}

struct Clock(AtomicU64);

#[async_trait::async_trait]
impl TimestampOracle for Clock {
    async fn timestamp(&self) -> Result<Timestamp, String> {
        match self.0.load(Ordering::SeqCst) {
            0 => Err("PD is away".into()),
            ts => Ok(Timestamp(ts)),
        }
    }
}

#[tokio::test]
async fn commit_timestamps_chosen_here_come_after_reads_of_former_leaders() {
    let bare = Bare::new(MemoryEngine::new());
    let ctx = bare.context();
    let clock = Arc::new(Clock(AtomicU64::new(0)));
    let storage = Storage::new(bare, Some(clock.clone()), StorageOptions::default());
    let one_phase = |k: &str, start| Prewrite { one_phase: true, ..put(k, "1", start) };
    // Without PD: in two phases.
    let done = storage.prewrite(&ctx, one_phase("a", 5)).await.unwrap();
    assert_eq!(done.one_phase_commit_ts, Timestamp::ZERO);
    clock.0.store(100, Ordering::SeqCst);
    let done = storage.prewrite(&ctx, one_phase("b", 6)).await.unwrap();
    assert_eq!(done.one_phase_commit_ts, Timestamp(101));
    // Once is enough for a term.
    clock.0.store(0, Ordering::SeqCst);
    let done = storage.prewrite(&ctx, one_phase("c", 7)).await.unwrap();
    assert_eq!(done.one_phase_commit_ts, Timestamp(101));
}

#[tokio::test]
async fn raw_access() {
    let (storage, ctx) = storage();
    let pairs = ["a", "b", "c"].map(|k| (k.as_bytes().to_vec(), k.to_uppercase().into_bytes()));
    storage.raw_put(&ctx, Cf::Default, pairs.into(), false).await.unwrap();
    assert_eq!(storage.raw_get(&ctx, Cf::Default, b"b").await.unwrap().unwrap(), "B");
    let all = [KeyRange::default()];
    let backward = ScanOptions { direction: engine::Direction::Backward, key_only: false };
    let rows = storage.raw_scan(&ctx, Cf::Default, &all, 2, backward).await.unwrap();
    assert_eq!(rows.iter().map(|(k, _)| k[0]).collect::<Vec<_>>(), b"cb");
    let cas = |expected: Option<&str>, value: &str| {
        let expected = expected.map(|v| v.as_bytes().to_vec());
        storage.raw_compare_and_swap(&ctx, Cf::Default, b"a".to_vec(), expected, value.as_bytes().to_vec())
    };
    assert_eq!(cas(None, "x").await.unwrap(), (false, Some("A".into())));
    assert_eq!(cas(Some("A"), "x").await.unwrap(), (true, Some("A".into())));
    storage.raw_delete(&ctx, Cf::Default, vec![b"a".to_vec()], true).await.unwrap();
    assert_eq!(cas(None, "y").await.unwrap(), (true, None));
    storage.raw_delete_range(&ctx, Cf::Default, KeyRange::new(*b"a", *b"c")).await.unwrap();
    let left = storage.raw_batch_get(&ctx, Cf::Default, vec![b"a".to_vec(), b"c".to_vec()]).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(storage.raw_put(&ctx, Cf::Default, vec![(Vec::new(), Vec::new())], false).await.is_err());
}

/// What is stored of locks, whatever is in memory.
fn stored_locks(storage: &Storage<Bare>) -> usize {
    let view = engine::Engine::snapshot(storage.replication().engine());
    view.scan(Cf::Lock, &KeyRange::default(), engine::Direction::Forward).count()
}

#[tokio::test]
async fn pessimistic_locks_are_not_replicated_yet_keep_others_out() {
    let (storage, ctx) = storage();
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    assert_eq!(stored_locks(&storage), 0);
    assert!(is_locked(&storage.pessimistic_lock(&ctx, lock("a", 6, 6), LockWait::No).await));
    assert!(!storage.prewrite(&ctx, put("a", "2", 6)).await.unwrap().locked.is_empty());
    assert_eq!(storage.txn_heartbeat(&ctx, key("a"), Timestamp(5), 9000).await.unwrap(), 9000);
    assert_eq!(storage.inspect(&ctx, b"a").await.unwrap().lock.unwrap().ttl_ms, 9000);

    // The prewritten lock takes its place, in the store.
    let cmd = Prewrite {
        for_update_ts: Timestamp(5),
        checks: vec![super::super::commands::prewrite::PessimisticCheck::Lock],
        ..put("a", "1", 5)
    };
    storage.prewrite(&ctx, cmd).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (1, 0));
    storage.commit(&ctx, vec![key("a")], Timestamp(5), Timestamp(8)).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (0, 0));
    let read = storage.get(&ctx, b"a", &ReadParams::at(Timestamp(9))).await.unwrap();
    assert_eq!(read.unwrap(), "1");
}

#[tokio::test]
async fn locks_in_memory_of_a_dead_transaction_are_resolved_over_the_region() {
    let (storage, ctx) = storage();
    for k in ["a", "b", "c"] {
        storage.pessimistic_lock(&ctx, lock(k, 5, 5), LockWait::No).await.unwrap();
    }
    let found = storage.scan_lock(&ctx, &KeyRange::default(), 10, Timestamp(9)).await.unwrap();
    assert_eq!(found.len(), 3);
    storage.resolve_locks(&ctx, TxnEnds::from([(Timestamp(5), Timestamp::ZERO)])).await.unwrap();
    assert_eq!(storage.0.lock_table.len(), 0);
    storage.pessimistic_lock(&ctx, lock("b", 6, 6), LockWait::No).await.unwrap();
}

#[tokio::test]
async fn locks_beyond_the_memory_bound_are_replicated() {
    let bare = Bare::new(MemoryEngine::new());
    let ctx = bare.context();
    let storage = Storage::new(bare, None, StorageOptions { memory_lock_bytes_max: 0, ..StorageOptions::default() });
    storage.pessimistic_lock(&ctx, lock("a", 5, 5), LockWait::No).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (1, 0));
    assert!(is_locked(&storage.pessimistic_lock(&ctx, lock("a", 6, 6), LockWait::No).await));
    storage.pessimistic_rollback(&ctx, vec![key("a")], Timestamp(5), Timestamp(5)).await.unwrap();
    assert_eq!(stored_locks(&storage), 0);
}

#[tokio::test(start_paused = true)]
async fn locks_in_memory_are_replicated_before_another_node_leads() {
    let (storage, ctx) = storage();
    for k in ["a", "b", "c"] {
        storage.pessimistic_lock(&ctx, lock(k, 5, 5), LockWait::No).await.unwrap();
    }
    // Prewritten, it is none of those.
    let prewrite = |k: &str| Prewrite { for_update_ts: Timestamp(5), ..put(k, "1", 5) };
    storage.prewrite(&ctx, prewrite("c")).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (1, 2));
    storage.hand_over_locks(&ctx).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (3, 0));
    assert_eq!(storage.inspect(&ctx, b"c").await.unwrap().lock.unwrap().kind, LockKind::Put);
    // What is locked in the meantime is replicated, too, and everything is unlocked as ever.
    storage.pessimistic_lock(&ctx, lock("d", 5, 5), LockWait::No).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (4, 0));
    storage.hand_over_locks(&ctx).await.unwrap();
    assert!(is_locked(&storage.pessimistic_lock(&ctx, lock("a", 6, 6), LockWait::No).await));
    storage.pessimistic_rollback(&ctx, vec![key("a"), key("d")], Timestamp(5), Timestamp(5)).await.unwrap();
    storage.prewrite(&ctx, prewrite("b")).await.unwrap();
    storage.commit(&ctx, vec![key("b"), key("c")], Timestamp(5), Timestamp(8)).await.unwrap();
    assert_eq!(stored_locks(&storage), 0);
    // Nobody came to lead it.
    tokio::time::sleep(2 * LEAVING).await;
    storage.pessimistic_lock(&ctx, lock("a", 9, 9), LockWait::No).await.unwrap();
    assert_eq!((stored_locks(&storage), storage.0.lock_table.len()), (0, 1));
    assert_eq!(storage.load(), (0, 0));
}

#[test]
fn a_follower_asked_to_read_at_a_timestamp_sends_to_the_leader_who_has_to_know_of_the_read() {
    use crate::raftstore::sim::Cluster;
    let mut cluster = Cluster::new(1, 2);
    let region = cluster.bootstrap(1);
    cluster.add_voter(region, 2);
    cluster.transfer(region, 1);
    let ctx = RegionContext { replica_read: true, ..cluster.context(key("k").encoded()) };
    let follower = Storage::new(cluster.handle(2), None, StorageOptions::default());
    let mut get = |isolation| {
        let (storage, ctx) = (follower.clone(), ctx.clone());
        let params = ReadParams { isolation, ..ReadParams::at(Timestamp(9)) };
        cluster.block_on(async move { storage.get(&ctx, b"k", &params).await })
    };
    let refused = get(Isolation::Snapshot);
    assert!(matches!(refused, Err(CommandError::Region(RegionError::NotLeader { .. }))), "{refused:?}");
    assert_eq!(get(Isolation::ReadCommitted).unwrap(), None, "whoever reads the newest, whatever it is, may");
}

fn is_too_old<T>(result: &Result<T, CommandError>) -> bool {
    matches!(result, Err(CommandError::Txn(TxnError::BelowSafePoint { .. })))
}

#[tokio::test]
async fn nothing_is_read_or_written_before_the_safe_point() {
    let (storage, ctx) = storage();
    storage.prewrite(&ctx, put("a", "1", 5)).await.unwrap();
    storage.commit(&ctx, vec![key("a")], Timestamp(5), Timestamp(8)).await.unwrap();
    storage.safe_point().raise(Timestamp(20));
    storage.safe_point().raise(Timestamp(15));
    let old = ReadParams::at(Timestamp(19));
    assert!(is_too_old(&storage.get(&ctx, b"a", &old).await));
    assert!(is_too_old(&storage.batch_get(&ctx, vec![b"a".to_vec()], &old).await));
    let all = KeyRange::default();
    assert!(is_too_old(&storage.scan(&ctx, &all, 10, old.clone(), ScanOptions::default()).await));
    assert!(is_too_old(&storage.view(&ctx, std::slice::from_ref(&all), old).await));
    // A write would not see the record that keeps it out.
    assert!(is_too_old(&storage.prewrite(&ctx, put("b", "1", 19)).await));
    assert!(is_too_old(&storage.pessimistic_lock(&ctx, lock("b", 19, 30), LockWait::No).await));
    for ts in [20, 21] {
        let read = storage.get(&ctx, b"a", &ReadParams::at(Timestamp(ts))).await.unwrap();
        assert_eq!(read.unwrap(), "1");
    }
    storage.prewrite(&ctx, put("b", "1", 20)).await.unwrap();
    assert!(storage.gc(Timestamp(20)).is_ok());
    assert!(matches!(storage.gc(Timestamp(21)), Err(CommandError::Region(RegionError::ServerIsBusy { .. }))));
}

/// PD at a fixed time, which counts how often it is asked.
struct CountedClock(i64, Arc<AtomicUsize>);

#[async_trait::async_trait]
impl TimestampOracle for CountedClock {
    async fn timestamp(&self) -> Result<Timestamp, String> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(Timestamp::compose(self.0, 0))
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_in_the_future_does_not_make_commits_invisible() {
    let bare = Bare::new(MemoryEngine::new());
    let ctx = bare.context();
    let asked = Arc::new(AtomicUsize::new(0));
    let oracle = CountedClock(1_000_000, asked.clone());
    let storage = Storage::new(bare, Some(Arc::new(oracle)), StorageOptions::default());
    let at = |ms| Timestamp::compose(ms, 0);
    let refused = |result: Result<(), CommandError>| {
        assert!(matches!(&result, Err(CommandError::Txn(TxnError::Invalid(_)))), "{result:?}");
    };
    for future in [Timestamp(u64::MAX - 1), at(1_003_000)] {
        refused(storage.get(&ctx, b"a", &ReadParams::at(future)).await.map(drop));
        refused(storage.note_read(future).await);
        refused(storage.check_secondary_locks(&ctx, vec![key("a")], future).await.map(drop));
        refused(storage.commit(&ctx, vec![key("a")], at(1), future).await);
        let status = CheckTxnStatus {
            primary: key("a"),
            lock_ts: at(1),
            caller_start_ts: future,
            current_ts: at(2),
            rollback_if_not_exist: false,
            force_sync_commit: false,
            resolving_pessimistic_lock: false,
            verify_is_primary: false,
        };
        refused(storage.check_txn_status(&ctx, status).await.map(drop));
        refused(storage.prewrite(&ctx, Prewrite { start_ts: future, ..put("a", "1", 0) }).await.map(drop));
    }
    assert!(storage.concurrency().max_ts() < at(1_003_000));
    // What PD has given out is taken without asking it each time; at no time in particular is no time.
    let before = asked.load(Ordering::Relaxed);
    for ts in [at(999_000), at(1_000_500), Timestamp::MAX] {
        storage.get(&ctx, b"a", &ReadParams::at(ts)).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), before);
    let one_phase = Prewrite { one_phase: true, start_ts: at(1_000_100), ..put("a", "1", 0) };
    let committed = storage.prewrite(&ctx, one_phase).await.unwrap().one_phase_commit_ts;
    assert!(committed > at(1_000_100) && committed < at(1_001_000), "{committed}");
}

#[tokio::test]
async fn a_range_is_removed_part_by_part() {
    let (storage, ctx) = storage();
    let keys: Vec<String> = (0..DELETE_RANGE_KEYS + 10).map(|n| format!("k{n:06}")).collect();
    let mut batch = WriteBatch::new();
    for k in &keys {
        batch.put(Cf::Write, key(k).at(Timestamp(5)), "x");
    }
    batch.put(Cf::Lock, key("k000001").encoded(), "x");
    batch.put(Cf::Write, key("z").at(Timestamp(5)), "x");
    storage.replication().write(&ctx, batch).await.unwrap();
    storage.delete_range(&ctx, &KeyRange::new(*b"k", *b"l")).await.unwrap();
    let view = storage.replication().engine().clone();
    let left = |cf| engine::Engine::snapshot(&view).scan(cf, &KeyRange::default(), Direction::Forward).count();
    assert_eq!((left(Cf::Write), left(Cf::Lock)), (1, 0));
}
