//! Commands one after the other on one engine: what each leaves behind, and how the anomalies that percolator rules
//! out are ruled out.

use engine::memory::MemoryEngine;
use engine::{Engine, KeyRange, Snapshot};

use super::check_secondary_locks::{SecondaryLocks, check_secondary_locks};
use super::check_txn_status::{CheckTxnStatus, TxnStatus, check_txn_status};
use super::pessimistic_lock::{LockedKey, PessimisticLock, pessimistic_lock};
use super::prewrite::{AssertionLevel, PessimisticCheck, Prewrite, Prewritten, prewrite};
use super::*;
use crate::mvcc::{Key, LockKind, MvccError, MvccReader, MvccView, ReadParams, ReadView, WriteKind};
use crate::txn::{Assertion, ConcurrencyManager, ConflictReason, Mutation, MutationOp, Result, TxnError};
use codec::timestamp::Timestamp;

/// An engine and the commands on it, with keys as text and timestamps as numbers.
#[derive(Default)]
struct Db {
    engine: MemoryEngine,
    manager: ConcurrencyManager,
    /// Locks in memory of commands whose changes are "being replicated".
    held: Vec<crate::txn::concurrency::MemoryLocks>,
}

fn key(k: &str) -> Key {
    Key::from_user(k.as_bytes())
}

fn keys(list: &str) -> Vec<Key> {
    list.split(' ').map(key).collect()
}

/// `"a=1 b c!"`: put a, delete b, lock c; `+d=1` inserts, `?e` checks that it does not exist.
fn mutations(text: &str) -> Vec<Mutation> {
    let one = |part: &str| {
        let (op, rest) = match (part.chars().next(), part.contains('=')) {
            (Some('+'), _) => (MutationOp::Insert, &part[1..]),
            (Some('?'), _) => (MutationOp::CheckNotExists, &part[1..]),
            (_, true) => (MutationOp::Put, part),
            _ if part.ends_with('!') => (MutationOp::Lock, part.trim_end_matches('!')),
            _ => (MutationOp::Delete, part),
        };
        let (k, value) = rest.split_once('=').unwrap_or((rest, ""));
        Mutation { op, key: key(k), value: value.as_bytes().to_vec(), assertion: Assertion::None }
    };
    text.split(' ').map(one).collect()
}

impl Db {
    fn apply<T>(&mut self, outcome: Result<Outcome<T>>) -> Result<T> {
        let outcome = outcome?;
        self.engine.write(outcome.changes.batch).unwrap();
        Ok(outcome.answer)
    }

    /// An optimistic prewrite whose primary is its first key.
    fn cmd(&self, text: &str, start: u64) -> Prewrite {
        let mutations = mutations(text);
        let primary = mutations[0].key.to_user().unwrap();
        Prewrite { mutations, primary, start_ts: Timestamp(start), ttl_ms: 3000, ..Prewrite::default() }
    }

    fn run_prewrite(&mut self, cmd: &Prewrite) -> Result<Prewritten> {
        let outcome = prewrite(&self.engine.snapshot(), cmd, &self.manager);
        self.apply(outcome)
    }

    fn prewrite(&mut self, text: &str, start: u64) -> Result<Prewritten> {
        self.run_prewrite(&self.cmd(text, start))
    }

    fn commit(&mut self, list: &str, start: u64, commit: u64) -> Result<()> {
        let outcome = commit::commit(&self.engine.snapshot(), &keys(list), Timestamp(start), Timestamp(commit));
        self.apply(outcome)
    }

    fn put(&mut self, text: &str, start: u64, commit: u64) {
        let list: Vec<String> =
            mutations(text).iter().map(|m| String::from_utf8(m.key.to_user().unwrap()).unwrap()).collect();
        assert!(self.prewrite(text, start).unwrap().locked.is_empty());
        self.commit(&list.join(" "), start, commit).unwrap();
    }

    fn rollback(&mut self, list: &str, start: u64) -> Result<()> {
        let outcome = rollback::batch_rollback(&self.engine.snapshot(), &keys(list), Timestamp(start));
        self.apply(outcome)
    }

    fn cleanup(&mut self, k: &str, start: u64, now: u64) -> Result<()> {
        let outcome = rollback::cleanup(&self.engine.snapshot(), &key(k), Timestamp(start), Timestamp(now));
        self.apply(outcome)
    }

    fn lock_cmd(&self, list: &str, start: u64, for_update: u64) -> PessimisticLock {
        let locked: Vec<(Key, bool)> = keys(list).into_iter().map(|key| (key, false)).collect();
        PessimisticLock {
            primary: locked[0].0.to_user().unwrap(),
            keys: locked,
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

    fn run_lock(&mut self, cmd: &PessimisticLock) -> Result<Vec<LockedKey>> {
        let outcome = pessimistic_lock(&self.engine.snapshot(), cmd);
        self.apply(outcome)
    }

    fn lock(&mut self, list: &str, start: u64, for_update: u64) -> Result<Vec<LockedKey>> {
        self.run_lock(&self.lock_cmd(list, start, for_update))
    }

    fn pessimistic_prewrite(&mut self, text: &str, start: u64, for_update: u64) -> Result<Prewritten> {
        let mut cmd = self.cmd(text, start);
        cmd.for_update_ts = Timestamp(for_update);
        cmd.checks = vec![PessimisticCheck::Lock; cmd.mutations.len()];
        self.run_prewrite(&cmd)
    }

    fn status(&mut self, k: &str, start: u64, caller: u64, now: u64) -> Result<TxnStatus> {
        self.status_with(k, start, caller, now, |_| {})
    }

    fn status_with(
        &mut self,
        k: &str,
        start: u64,
        caller: u64,
        now: u64,
        change: impl FnOnce(&mut CheckTxnStatus),
    ) -> Result<TxnStatus> {
        let mut cmd = CheckTxnStatus {
            primary: key(k),
            lock_ts: Timestamp(start),
            caller_start_ts: Timestamp(caller),
            current_ts: Timestamp(now),
            rollback_if_not_exist: true,
            force_sync_commit: false,
            resolving_pessimistic_lock: false,
            verify_is_primary: false,
        };
        change(&mut cmd);
        let outcome = check_txn_status(&self.engine.snapshot(), &cmd);
        self.apply(outcome)
    }

    fn get(&self, k: &str, ts: u64) -> Result<Option<String>, MvccError> {
        let params = ReadParams::at(Timestamp(ts));
        let view = MvccView::new(self.engine.snapshot(), KeyRange::default(), params);
        Ok(view.get(k.as_bytes())?.map(|v| String::from_utf8(v.to_vec()).unwrap()))
    }

    #[track_caller]
    fn check_value(&self, k: &str, ts: u64, expected: &str) {
        assert_eq!(self.get(k, ts).unwrap().as_deref().unwrap_or("-"), expected, "{k} at {ts}");
    }

    fn has_lock(&self, k: &str) -> bool {
        MvccReader::new(&self.engine.snapshot()).lock(&key(k)).unwrap().is_some()
    }

    /// Records of a key, newest first: `"8 put@5"`.
    fn writes(&self, k: &str) -> Vec<String> {
        let snapshot = self.engine.snapshot();
        let writes = MvccReader::new(&snapshot).writes(&key(k), Timestamp::MAX);
        let show = |entry: Result<(Timestamp, crate::mvcc::Write), MvccError>| {
            let (ts, w) = entry.unwrap();
            let kind = match w.kind {
                WriteKind::Put => "put",
                WriteKind::Delete => "delete",
                WriteKind::Lock => "lock",
                WriteKind::Rollback if w.is_protected_rollback() => "protected rollback",
                WriteKind::Rollback => "rollback",
            };
            let overlapped = if w.overlapped_rollback { " + rollback" } else { "" };
            format!("{ts} {kind}@{}{overlapped}", w.start_ts)
        };
        writes.map(show).collect()
    }
}

/// A point in time for locks with a time to live.
fn ms(ms: i64) -> u64 {
    Timestamp::compose(ms, 0).0
}

#[test]
fn prewrite_then_commit_makes_versions() {
    let mut db = Db::default();
    db.put("a=1 b=2", 5, 8);
    db.check_value("a", 7, "-");
    db.check_value("a", 8, "1");
    db.put("a b=3 c!", 10, 12);
    db.check_value("a", 11, "1");
    db.check_value("a", 12, "-");
    db.check_value("b", 100, "3");
    assert_eq!(db.writes("c"), ["12 lock@10"]);
    assert!(!db.has_lock("a") && !db.has_lock("c"));
    // Repeating is harmless.
    db.commit("a b c", 10, 12).unwrap();
    assert_eq!(db.writes("a"), ["12 delete@10", "8 put@5"]);
}

#[test]
fn a_committed_lock_is_a_record_that_readers_skip_and_writers_meet() {
    // However it is committed: in two phases, asynchronously, at once.
    for way in 0..3 {
        let mut db = Db::default();
        db.put("a=1 b=1", 5, 8);
        db.put("b", 9, 10);
        let mut cmd = db.cmd("a! b! c!", 20);
        cmd.one_phase = way == 2;
        cmd.async_commit = (way == 1).then(|| vec![b"b".to_vec(), b"c".to_vec()]);
        cmd.min_commit_ts = Timestamp(30);
        let done = db.run_prewrite(&cmd).unwrap();
        if way < 2 {
            // Locked: readers pass, writers wait.
            db.check_value("a", 40, "1");
            assert_eq!(db.prewrite("a=2", 25).unwrap().locked.len(), 1);
            db.commit("a b c", 20, 30).unwrap();
        }
        let expected = [Timestamp(0), Timestamp(30), Timestamp(0)][way];
        assert_eq!((done.min_commit_ts, done.one_phase_commit_ts == Timestamp(30)), (expected, way == 2));
        assert_eq!(db.writes("a"), ["30 lock@20", "8 put@5"]);
        assert_eq!(db.writes("c"), ["30 lock@20"]);
        for (k, value) in [("a", "1"), ("b", "-"), ("c", "-")] {
            db.check_value(k, 40, value);
            assert!(!db.has_lock(k));
        }
        assert_eq!(db.status("a", 20, 40, 41).unwrap(), TxnStatus::Committed(Timestamp(30)));
        // Who began before the commit is in conflict with it, as with a write.
        for change in ["a=2", "a", "a!"] {
            let error = db.prewrite(change, 25).unwrap_err();
            assert!(matches!(error, TxnError::WriteConflict { conflict_commit_ts: Timestamp(30), .. }), "{error}");
        }
        // A lock is in conflict with a newer version.
        db.put("a=2", 50, 51);
        assert!(matches!(db.prewrite("a!", 45), Err(TxnError::WriteConflict { .. })));
        db.prewrite("a!", 60).unwrap();
        db.rollback("a", 60).unwrap();
        db.check_value("a", 70, "2");
    }
}

#[test]
fn long_values_live_in_the_default_family() {
    let mut db = Db::default();
    let long = "x".repeat(256);
    db.put(&format!("a={long} b={}", "y".repeat(255)), 5, 8);
    db.check_value("a", 8, &long);
    db.check_value("b", 8, &"y".repeat(255));
    let rows = db.engine.snapshot().scan(engine::Cf::Default, &KeyRange::default(), engine::Direction::Forward).count();
    assert_eq!(rows, 1);
    db.prewrite(&format!("a={long}"), 10).unwrap();
    db.rollback("a", 10).unwrap();
    let rows = db.engine.snapshot().scan(engine::Cf::Default, &KeyRange::default(), engine::Direction::Forward).count();
    assert_eq!(rows, 1, "the rolled back value is gone, the committed one is not");
}

#[test]
fn a_newer_version_is_a_conflict() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    let error = db.prewrite("a=2", 7).unwrap_err();
    assert!(matches!(
        error,
        TxnError::WriteConflict { conflict_commit_ts: Timestamp(8), reason: ConflictReason::Optimistic, .. }
    ));
    db.prewrite("a=2", 9).unwrap();
    // Two keys, one in conflict: nothing is written.
    assert!(db.prewrite("x=1 a=3", 7).unwrap().locked.len() == 1);
    assert!(!db.has_lock("x"));
}

#[test]
fn locks_of_others_are_reported_all_at_once() {
    let mut db = Db::default();
    db.prewrite("a=1 b=1", 5).unwrap();
    let done = db.prewrite("a=2 b=2 c=2", 6).unwrap();
    let locked: Vec<_> = done.locked.iter().map(|l| (l.key.as_slice(), l.lock.start_ts.0)).collect();
    assert_eq!(locked, [(b"a".as_slice(), 5), (b"b".as_slice(), 5)]);
    assert!(!db.has_lock("c"));
    assert!(matches!(db.get("a", 6), Err(MvccError::KeyIsLocked(info)) if info.lock.primary == b"a"));
    db.check_value("a", 4, "-");
}

#[test]
fn a_rolled_back_transaction_never_commits() {
    let mut db = Db::default();
    db.prewrite("a=1", 5).unwrap();
    db.rollback("a b", 5).unwrap();
    assert!(matches!(db.commit("a", 5, 8), Err(TxnError::TxnLockNotFound { .. })));
    // The prewrite of b arrives after its rollback.
    let late = db.prewrite("b=1", 5).unwrap_err();
    assert!(matches!(late, TxnError::WriteConflict { reason: ConflictReason::SelfRolledBack, .. }));
    db.rollback("a b", 5).unwrap();
    assert_eq!(db.writes("b"), ["5 rollback@5"]);
}

#[test]
fn a_committed_transaction_is_not_rolled_back() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    assert!(matches!(db.rollback("a", 5), Err(TxnError::Committed { commit_ts: Timestamp(8), .. })));
    assert!(matches!(db.cleanup("a", 5, 0), Err(TxnError::Committed { .. })));
    assert_eq!(db.status("a", 5, 0, 100).unwrap(), TxnStatus::Committed(Timestamp(8)));
}

#[test]
fn unprotected_rollbacks_collapse_and_protected_ones_stay() {
    let mut db = Db::default();
    for start in [5, 6, 7] {
        db.prewrite("a=1", start).unwrap();
        db.rollback("a", start).unwrap();
    }
    assert_eq!(db.writes("a"), ["7 rollback@7"]);
    db.cleanup("a", 9, 0).unwrap();
    db.prewrite("a=1", 10).unwrap();
    db.rollback("a", 10).unwrap();
    assert_eq!(db.writes("a"), ["10 rollback@10", "9 protected rollback@9", "7 rollback@7"]);
}

#[test]
fn a_rollback_at_the_time_of_a_commit_shares_its_record() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    db.cleanup("a", 8, 0).unwrap();
    assert_eq!(db.writes("a"), ["8 put@5 + rollback"]);
    db.check_value("a", 8, "1");
    let late = db.prewrite("a=2", 8).unwrap_err();
    assert!(matches!(late, TxnError::WriteConflict { reason: ConflictReason::SelfRolledBack, .. }));
    assert_eq!(db.status("a", 8, 0, 100).unwrap(), TxnStatus::RolledBack);
}

#[test]
fn insert_and_check_not_exists() {
    let mut db = Db::default();
    db.put("a=1 b=1", 5, 8);
    assert!(matches!(db.prewrite("+a=2", 9), Err(TxnError::AlreadyExist { key }) if key == b"a"));
    assert!(matches!(db.prewrite("?a", 9), Err(TxnError::AlreadyExist { .. })));
    db.put("a b!", 10, 12);
    // The newest record of b is a lock: the version below counts.
    assert!(matches!(db.prewrite("+b=2", 13), Err(TxnError::AlreadyExist { .. })));
    db.prewrite("+a=2 ?never", 13).unwrap();
    assert!(!db.has_lock("never"));
}

#[test]
fn assertions_fail_when_the_client_is_wrong() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    for (k, assertion, fails) in [
        ("a=2", Assertion::Exist, false),
        ("a=2", Assertion::NotExist, true),
        ("b=2", Assertion::Exist, true),
        ("b=2", Assertion::NotExist, false),
    ] {
        let mut cmd = db.cmd(k, 10);
        cmd.mutations[0].assertion = assertion;
        cmd.assertion_level = AssertionLevel::Strict;
        let result = prewrite(&db.engine.snapshot(), &cmd, &db.manager);
        assert_eq!(matches!(result, Err(TxnError::AssertionFailed { .. })), fails, "{k} {assertion:?}");
    }
}

#[test]
fn pessimistic_locks_then_prewrite_then_commit() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    let told = db.lock("a b", 7, 10).unwrap();
    assert_eq!(told[0].value.as_deref(), Some(b"1".as_slice()));
    assert!(told[0].exists && !told[1].exists);
    // Readers do not see pessimistic locks, writers do.
    db.check_value("a", 100, "1");
    assert!(matches!(db.lock("a", 9, 20), Err(TxnError::Mvcc(MvccError::KeyIsLocked(_)))));
    assert_eq!(db.prewrite("a=9", 9).unwrap().locked.len(), 1);
    // The version at 8 is newer than the start, yet no conflict: it was locked at 10.
    db.pessimistic_prewrite("a=2 b=2", 7, 10).unwrap();
    db.commit("a b", 7, 15).unwrap();
    db.check_value("a", 15, "2");
}

/// A row `a` that a pessimistic transaction locked, and an entry `e` of a plain index that it did not lock and that was
/// written after its start; then the prewrite of both.
fn row_and_index_entry() -> (Db, Prewrite) {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    db.put("e=1", 9, 20);
    db.lock("a", 7, 25).unwrap();
    let mut cmd = db.cmd("a=2 e", 7);
    cmd.for_update_ts = Timestamp(25);
    cmd.checks = vec![PessimisticCheck::Lock, PessimisticCheck::None];
    (db, cmd)
}

#[test]
fn a_newer_version_of_an_index_entry_is_no_conflict_for_who_locked_its_row() {
    let (mut db, cmd) = row_and_index_entry();
    assert_eq!(db.run_prewrite(&cmd).unwrap(), Prewritten::default());
    db.commit("a e", 7, 30).unwrap();
    assert_eq!(db.writes("e"), ["30 delete@7", "20 put@9"]);
    // The request again, after the commit.
    assert_eq!(db.run_prewrite(&cmd).unwrap().min_commit_ts, Timestamp(30));
    assert!(!db.has_lock("a") && !db.has_lock("e"));
}

#[test]
fn a_late_prewrite_of_an_unlocked_index_entry_does_not_pass_its_rollback() {
    let (mut db, cmd) = row_and_index_entry();
    db.rollback("e", 7).unwrap();
    let late = db.run_prewrite(&cmd).unwrap_err();
    assert!(matches!(late, TxnError::WriteConflict { reason: ConflictReason::SelfRolledBack, .. }));
    assert!(!db.has_lock("e"));
}

#[test]
fn locking_below_a_newer_version_is_a_conflict() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    let error = db.lock("a", 3, 7).unwrap_err();
    assert!(matches!(error, TxnError::WriteConflict { reason: ConflictReason::PessimisticRetry, .. }));
    db.lock("a", 3, 8).unwrap();
    // Locking again at a newer time moves the lock; at an older one it stays.
    db.lock("a", 3, 12).unwrap();
    db.lock("a", 3, 9).unwrap();
    let lock = MvccReader::new(&db.engine.snapshot()).lock(&key("a")).unwrap().unwrap();
    assert_eq!(lock.for_update_ts, Timestamp(12));
    // In spite of the conflict, when the client asks for it.
    db.put("b=1", 5, 20);
    let cmd = PessimisticLock { allow_conflict: true, ..db.lock_cmd("b", 3, 12) };
    let told = db.run_lock(&cmd).unwrap();
    assert_eq!(told[0].conflict_ts, Some(Timestamp(20)));
    assert_eq!(told[0].value.as_deref(), Some(b"1".as_slice()));
}

#[test]
fn lock_only_if_exists_and_must_not_exist() {
    let mut db = Db::default();
    db.put("a=1", 5, 8);
    let cmd = PessimisticLock { lock_only_if_exists: true, ..db.lock_cmd("a b", 10, 10) };
    db.run_lock(&cmd).unwrap();
    assert!(db.has_lock("a") && !db.has_lock("b"));
    let mut cmd = db.lock_cmd("a", 10, 11);
    cmd.keys[0].1 = true;
    // Its own lock: what the statement before it found stands.
    db.run_lock(&cmd).unwrap();
    let mut cmd = db.lock_cmd("c", 10, 11);
    cmd.keys[0].1 = true;
    db.run_lock(&cmd).unwrap();
    db.put("d=1", 5, 8);
    let mut cmd = db.lock_cmd("d", 10, 11);
    cmd.keys[0].1 = true;
    assert!(matches!(db.run_lock(&cmd), Err(TxnError::AlreadyExist { .. })));
}

#[test]
fn pessimistic_rollback_leaves_nothing() {
    let mut db = Db::default();
    db.lock("a", 5, 5).unwrap();
    db.lock("b", 5, 9).unwrap();
    let outcome =
        pessimistic_rollback::pessimistic_rollback(&db.engine.snapshot(), &keys("a b"), Timestamp(5), Timestamp(7));
    db.apply(outcome).unwrap();
    assert!(!db.has_lock("a"));
    assert!(db.has_lock("b"), "locked by a later statement");
    assert!(db.writes("a").is_empty());
    db.lock("a", 5, 10).unwrap();
}

#[test]
fn a_lost_pessimistic_lock_is_made_good_only_if_nobody_wrote() {
    let mut db = Db::default();
    // Never locked here, as after a leader change: nobody wrote since, so the prewrite goes through.
    db.pessimistic_prewrite("a=1", 10, 12).unwrap();
    db.commit("a", 10, 15).unwrap();
    let error = db.pessimistic_prewrite("a=2", 11, 13).unwrap_err();
    assert!(matches!(error, TxnError::PessimisticLockNotFound { .. }));
    db.lock("b", 20, 20).unwrap();
    assert!(matches!(db.pessimistic_prewrite("b=2", 11, 13), Err(TxnError::PessimisticLockNotFound { .. })));
    // Rolled back by others: locking again is refused.
    db.cleanup("c", 30, 0).unwrap();
    assert!(matches!(db.lock("c", 30, 31), Err(TxnError::PessimisticLockRolledBack { .. })));
}

#[test]
fn an_overdue_primary_is_rolled_back() {
    let mut db = Db::default();
    let start = ms(10_000);
    db.prewrite("a=1", start).unwrap();
    assert!(matches!(db.cleanup("a", start, ms(12_000)), Err(TxnError::Mvcc(MvccError::KeyIsLocked(_)))));
    let alive = db.status("a", start, ms(11_000), ms(13_000)).unwrap();
    assert!(matches!(alive, TxnStatus::Uncommitted { pushed: false, .. }));
    assert_eq!(db.status("a", start, ms(11_000), ms(13_001)).unwrap(), TxnStatus::Expired);
    assert_eq!(db.status("a", start, ms(11_000), ms(13_001)).unwrap(), TxnStatus::RolledBack);
    assert!(db.commit("a", start, ms(13_002)).is_err());
}

#[test]
fn a_heartbeat_keeps_it_alive() {
    let mut db = Db::default();
    let start = ms(10_000);
    db.prewrite("a=1", start).unwrap();
    for (ttl, expected) in [(20_000, 20_000), (5, 20_000)] {
        let outcome = heartbeat::txn_heartbeat(&db.engine.snapshot(), &key("a"), Timestamp(start), ttl);
        assert_eq!(db.apply(outcome).unwrap(), expected);
    }
    assert!(matches!(db.status("a", start, 0, ms(29_000)).unwrap(), TxnStatus::Uncommitted { .. }));
    let outcome = heartbeat::txn_heartbeat(&db.engine.snapshot(), &key("b"), Timestamp(start), 5);
    assert!(matches!(outcome, Err(TxnError::TxnNotFound { .. })));
}

#[test]
fn a_transaction_without_a_trace_is_kept_from_coming() {
    let mut db = Db::default();
    let missing = db.status_with("a", 5, 0, 100, |cmd| cmd.rollback_if_not_exist = false);
    assert!(matches!(missing, Err(TxnError::TxnNotFound { .. })));
    let resolving = |cmd: &mut CheckTxnStatus| cmd.resolving_pessimistic_lock = true;
    assert_eq!(db.status_with("a", 5, 0, 100, resolving).unwrap(), TxnStatus::LockNotExistDoNothing);
    assert_eq!(db.status("a", 5, 0, 100).unwrap(), TxnStatus::LockNotExist);
    assert_eq!(db.writes("a"), ["5 protected rollback@5"]);
    assert!(db.prewrite("a=1", 5).is_err());
    assert!(db.pessimistic_prewrite("a=1", 5, 6).is_err());
}

#[test]
fn readers_push_the_commit_past_themselves() {
    let mut db = Db::default();
    let start = ms(10_000);
    let mut cmd = db.cmd("a=1", start);
    cmd.min_commit_ts = Timestamp(start + 1);
    db.run_prewrite(&cmd).unwrap();
    let pushed = db.status("a", start, start + 50, start + 60).unwrap();
    let TxnStatus::Uncommitted { lock, pushed: true } = pushed else { panic!("{pushed:?}") };
    assert_eq!(lock.lock.min_commit_ts, Timestamp(start + 60));
    db.check_value("a", start + 50, "-");
    let expired = db.commit("a", start, start + 55).unwrap_err();
    assert!(matches!(expired, TxnError::CommitTsExpired { min_commit_ts, .. } if min_commit_ts.0 == start + 60));
    db.commit("a", start, start + 60).unwrap();
    db.check_value("a", start + 50, "-");
    db.check_value("a", start + 60, "1");
}

#[test]
fn the_primary_is_verified() {
    let mut db = Db::default();
    db.prewrite("a=1 b=2", 5).unwrap();
    let verify = |cmd: &mut CheckTxnStatus| cmd.verify_is_primary = true;
    assert!(matches!(db.status_with("b", 5, 0, 1, verify), Err(TxnError::PrimaryMismatch(_))));
    assert!(db.status_with("a", 5, 0, 1, verify).is_ok());
}

#[test]
fn an_overdue_pessimistic_primary_leaves_no_record_when_asked_so() {
    let mut db = Db::default();
    let start = ms(10_000);
    db.lock("a", start, start).unwrap();
    let resolving = |cmd: &mut CheckTxnStatus| cmd.resolving_pessimistic_lock = true;
    let status = db.status_with("a", start, 0, ms(20_000), resolving).unwrap();
    assert_eq!(status, TxnStatus::PessimisticRolledBack);
    assert!(!db.has_lock("a") && db.writes("a").is_empty());
    db.lock("a", start, start).unwrap();
    assert_eq!(db.status("a", start, 0, ms(20_000)).unwrap(), TxnStatus::Expired);
    assert_eq!(db.writes("a").len(), 1);
}

#[test]
fn resolving_finishes_every_lock_of_a_transaction() {
    let mut db = Db::default();
    db.prewrite("a=1 b=1", 5).unwrap();
    db.prewrite("c=2 d=2", 6).unwrap();
    db.prewrite("e=3", 7).unwrap();
    db.lock("f", 5, 5).unwrap();
    let ends = [(Timestamp(5), Timestamp(9)), (Timestamp(6), Timestamp::ZERO)].into();
    let (found, next) = resolve::find(&db.engine.snapshot(), &KeyRange::default(), &ends).unwrap();
    assert_eq!((found.len(), next), (5, None));
    let outcome = resolve::resolve_found(&db.engine.snapshot(), &found, &ends);
    db.apply(outcome).unwrap();
    db.check_value("a", 9, "1");
    db.check_value("b", 9, "1");
    db.check_value("c", 9, "-");
    assert!(db.has_lock("e") && !db.has_lock("f"));
    assert_eq!(db.writes("c"), ["6 rollback@6"]);
    assert!(db.writes("f").is_empty());
    let outcome = resolve::resolve_lite(&db.engine.snapshot(), &keys("e"), Timestamp(7), Timestamp::ZERO);
    db.apply(outcome).unwrap();
    assert!(!db.has_lock("e"));
}

#[test]
fn resolving_many_locks_goes_in_steps() {
    let mut db = Db::default();
    let text: Vec<String> = (0..600).map(|n| format!("k{n:03}=v")).collect();
    db.prewrite(&text.join(" "), 5).unwrap();
    let ends = [(Timestamp(5), Timestamp(9))].into();
    let mut range = KeyRange::default();
    let mut steps = 0;
    loop {
        let (found, next) = resolve::find(&db.engine.snapshot(), &range, &ends).unwrap();
        let outcome = resolve::resolve_found(&db.engine.snapshot(), &found, &ends);
        db.apply(outcome).unwrap();
        steps += 1;
        let Some(next) = next else { break };
        range.start = next;
    }
    assert_eq!(steps, 3);
    db.check_value("k599", 9, "v");
}

#[test]
fn one_phase_commit_leaves_no_lock_and_comes_after_every_read() {
    let mut db = Db::default();
    db.manager.update_max_ts(Timestamp(50));
    let mut cmd = db.cmd("a=1 b=2", 5);
    cmd.one_phase = true;
    let done = db.run_prewrite(&cmd).unwrap();
    assert_eq!(done.one_phase_commit_ts, Timestamp(51));
    assert!(!db.has_lock("a"));
    db.check_value("a", 50, "-");
    db.check_value("b", 51, "2");
    // The request again, its answer lost.
    let again = db.run_prewrite(&cmd).unwrap();
    assert_eq!(again.one_phase_commit_ts, Timestamp(51));
    assert_eq!(db.writes("a"), ["51 put@5"]);
    // With pessimistic locks.
    db.lock("c d", 60, 61).unwrap();
    let mut cmd = db.cmd("c=1 d", 60);
    cmd.one_phase = true;
    cmd.for_update_ts = Timestamp(61);
    cmd.checks = vec![PessimisticCheck::Lock; 2];
    let done = db.run_prewrite(&cmd).unwrap();
    assert!(done.one_phase_commit_ts > Timestamp(61));
    assert!(!db.has_lock("c") && !db.has_lock("d"));
}

#[test]
fn commit_timestamps_past_the_limit_fall_back_to_two_phases() {
    let mut db = Db::default();
    db.manager.update_max_ts(Timestamp(50));
    for one_phase in [true, false] {
        let start = if one_phase { 5 } else { 6 };
        let mut cmd = db.cmd(if one_phase { "a=1" } else { "b=1" }, start);
        cmd.one_phase = one_phase;
        cmd.async_commit = Some(Vec::new());
        cmd.max_commit_ts = Timestamp(50);
        let done = db.run_prewrite(&cmd).unwrap();
        assert_eq!(done, Prewritten::default());
    }
    assert!(db.has_lock("a") && db.has_lock("b"));
    db.commit("a", 5, 60).unwrap();
}

#[test]
fn async_commit_is_decided_by_its_locks() {
    let mut db = Db::default();
    db.manager.update_max_ts(Timestamp(20));
    let mut cmd = db.cmd("a=1 b=2 c=3", 5);
    cmd.async_commit = Some(vec![b"b".to_vec(), b"c".to_vec()]);
    let outcome = prewrite(&db.engine.snapshot(), &cmd, &db.manager).unwrap();
    // Before the locks are replicated, a later reader waits and an earlier one does not.
    assert!(db.manager.check_key(&key("b"), &ReadParams::at(Timestamp(30))).is_err());
    assert!(db.manager.check_key(&key("b"), &ReadParams::at(Timestamp(20))).is_ok());
    db.held.extend(outcome.memory_locks);
    db.engine.write(outcome.changes.batch).unwrap();
    db.held.clear();
    assert_eq!(outcome.answer.min_commit_ts, Timestamp(21));
    db.check_value("a", 20, "-");
    assert!(db.get("a", 21).is_err());
    // However old, the status of the primary says to look at the secondaries.
    let status = db.status("a", 5, 100, ms(1_000_000)).unwrap();
    let TxnStatus::Uncommitted { lock, .. } = status else { panic!("{status:?}") };
    assert_eq!(lock.lock.secondaries, [b"b", b"c"]);
    let outcome = check_secondary_locks(&db.engine.snapshot(), &keys("b c"), Timestamp(5));
    let SecondaryLocks::Locked(locks) = db.apply(outcome).unwrap() else { panic!("all are locked") };
    assert!(locks.iter().all(|l| l.lock.min_commit_ts == Timestamp(21) && l.lock.use_async_commit));
    db.commit("a", 5, 21).unwrap();
    db.commit("b", 5, 21).unwrap();
    let outcome = check_secondary_locks(&db.engine.snapshot(), &keys("b c"), Timestamp(5));
    assert_eq!(db.apply(outcome).unwrap(), SecondaryLocks::Committed(Timestamp(21)));
    // The same request again: committed at the same time.
    let again = db.run_prewrite(&cmd).unwrap();
    assert_eq!(again.min_commit_ts, Timestamp(21));
}

#[test]
fn a_repeated_async_prewrite_that_would_have_two_phases_now_is_not_committed_twice() {
    let mut db = Db::default();
    db.manager.update_max_ts(Timestamp(20));
    let mut cmd = db.cmd("a=1 b=2", 5);
    cmd.async_commit = Some(vec![b"b".to_vec()]);
    assert_eq!(db.run_prewrite(&cmd).unwrap().min_commit_ts, Timestamp(21));
    // The answer was lost, and the next leader can't reach PD: it prewrites in two phases. But the locks say 21 to
    // whoever meets them, so the client must hear it too, or it would commit at a time of its own.
    cmd.async_commit = None;
    assert_eq!(db.run_prewrite(&cmd).unwrap().min_commit_ts, Timestamp(21));
    // A lock that was not there before makes it two phases for everybody.
    let wider = Prewrite { mutations: mutations("a=1 b=2 c=3"), ..cmd };
    assert_eq!(db.run_prewrite(&wider).unwrap().min_commit_ts, Timestamp::ZERO);
}

#[test]
fn a_missing_secondary_rolls_an_async_commit_back() {
    let mut db = Db::default();
    let mut cmd = db.cmd("a=1", 5);
    cmd.async_commit = Some(vec![b"b".to_vec()]);
    db.run_prewrite(&cmd).unwrap();
    let outcome = check_secondary_locks(&db.engine.snapshot(), &keys("b"), Timestamp(5));
    assert_eq!(db.apply(outcome).unwrap(), SecondaryLocks::RolledBack);
    // It can arrive no more.
    let late = Prewrite { async_commit: Some(Vec::new()), primary: b"a".to_vec(), ..db.cmd("b=1", 5) };
    assert!(db.run_prewrite(&late).is_err());
    let forced = |cmd: &mut CheckTxnStatus| cmd.force_sync_commit = true;
    assert_eq!(db.status_with("a", 5, 0, ms(1_000_000), forced).unwrap(), TxnStatus::Expired);
}

#[test]
fn a_commit_on_the_time_of_a_rollback_carries_its_mark() {
    let mut db = Db::default();
    let mut cmd = db.cmd("a=1", 5);
    cmd.async_commit = Some(Vec::new());
    cmd.min_commit_ts = Timestamp(6);
    db.run_prewrite(&cmd).unwrap();
    // A transaction started at 30 is rolled back on the key while it is locked.
    assert_eq!(db.status("a", 30, 0, 40).unwrap(), TxnStatus::LockNotExist);
    db.commit("a", 5, 30).unwrap();
    assert_eq!(db.writes("a"), ["30 put@5 + rollback"]);
    assert_eq!(db.status("a", 30, 0, 40).unwrap(), TxnStatus::RolledBack);
}

#[test]
fn prewriting_over_its_own_lock_of_another_kind() {
    let mut db = Db::default();
    db.lock("a", 5, 5).unwrap();
    assert!(matches!(db.prewrite("a=1", 5), Err(TxnError::LockKindMismatch { kind: LockKind::Pessimistic, .. })));
    db.prewrite("b=1", 6).unwrap();
    assert!(matches!(db.lock("b", 6, 6), Err(TxnError::LockKindMismatch { kind: LockKind::Put, .. })));
    assert!(matches!(db.commit("a", 5, 5), Err(TxnError::Invalid(_))));
}

#[test]
fn garbage_collection_keeps_what_reads_after_the_safe_point_see() {
    let mut db = Db::default();
    let long = "x".repeat(300);
    for n in 0..10u64 {
        db.put(&format!("a={n}{long} b={n}"), 10 * n + 1, 10 * n + 2);
    }
    db.put("b", 101, 102);
    db.put("c!", 103, 104);
    db.prewrite("d=1", 105).unwrap();
    db.rollback("d", 105).unwrap();
    let reads = |db: &Db, from: u64| -> Vec<_> {
        (from..120).map(|ts| ["a", "b", "c", "d"].map(|k| db.get(k, ts).unwrap())).collect()
    };
    for safe_point in [5, 55, 102, 110] {
        let before = reads(&db, safe_point);
        let step = gc::step(&db.engine.snapshot(), &KeyRange::default(), Timestamp(safe_point)).unwrap();
        assert_eq!(step.next, None);
        db.engine.write(step.changes.batch).unwrap();
        assert_eq!(reads(&db, safe_point), before, "safe point {safe_point}");
    }
    assert_eq!(db.writes("a"), ["92 put@91"]);
    assert!(db.writes("b").is_empty() && db.writes("c").is_empty() && db.writes("d").is_empty());
    let values = db.engine.snapshot().scan(engine::Cf::Default, &KeyRange::default(), engine::Direction::Forward);
    assert_eq!(values.count(), 1);
}

/// Steps until the end; after each one `check` looks at what is there.
fn collect(db: &Db, safe_point: u64, mut check: impl FnMut(&Db)) {
    let mut range = KeyRange::default();
    for _ in 0..100 {
        let step = gc::step(&db.engine.snapshot(), &range, Timestamp(safe_point)).unwrap();
        assert!(step.changes.batch.modifies.len() <= gc::GC_STEP_RECORDS + 4);
        db.engine.write(step.changes.batch).unwrap();
        check(db);
        let Some(next) = step.next else { return };
        assert!(next >= range.start, "it goes back");
        range.start = next;
    }
    panic!("it does not end");
}

#[test]
fn garbage_collection_goes_in_steps_and_ends() {
    let mut db = Db::default();
    for n in 0..1500u64 {
        db.put(&format!("hot={n}"), 2 * n + 1, 2 * n + 2);
    }
    for n in 0..1500u64 {
        db.put(&format!("k{n:04}=1"), 1, 2);
        db.put(&format!("k{n:04}=2"), 3, 4);
    }
    for safe_point in [2, 1000, 10_000] {
        collect(&db, safe_point, |_| {});
    }
    assert_eq!(db.writes("hot").len(), 1);
    assert_eq!(db.writes("k1499"), ["4 put@3"]);
}

#[test]
fn a_deleted_row_does_not_come_back_when_a_step_of_garbage_collection_ends_within_its_versions() {
    let mut db = Db::default();
    let long = "x".repeat(300);
    // Each takes three removals: two records and a value.
    let rows: Vec<String> = (0..400).map(|n| format!("k{n:03}")).collect();
    for row in &rows {
        db.put(&format!("{row}={long}"), 1, 2);
        db.put(row, 3, 4);
    }
    // And one whose versions alone fill steps.
    for n in 0..1200u64 {
        db.put(&format!("z={long}"), 10 * n + 11, 10 * n + 12);
    }
    db.put("z", 20_001, 20_002);
    let deleted: Vec<&str> = rows.iter().map(String::as_str).chain(["z"]).collect();
    collect(&db, 30_000, |db| {
        for row in &deleted {
            assert_eq!(db.get(row, 30_000).unwrap(), None, "{row} is back");
        }
    });
    assert!(deleted.iter().all(|row| db.writes(row).is_empty()));
    let values = db.engine.snapshot().scan(engine::Cf::Default, &KeyRange::default(), engine::Direction::Forward);
    assert_eq!(values.count(), 0);
}

#[test]
fn a_step_of_garbage_collection_is_bounded_where_there_is_nothing_to_remove() {
    let mut db = Db::default();
    for n in 0..3000u64 {
        db.put(&format!("hot={n}"), 2 * n + 11, 2 * n + 12);
    }
    let step = gc::step(&db.engine.snapshot(), &KeyRange::default(), Timestamp(5)).unwrap();
    assert_eq!((step.read, step.newer), (gc::GC_STEP_RECORDS, gc::GC_STEP_RECORDS));
    assert!(step.next.is_some() && step.changes.batch.is_empty());
    collect(&db, 5, |_| {});
    assert_eq!(db.writes("hot").len(), 3000);
}

#[test]
fn a_version_marked_by_a_late_rollback_does_not_come_back_after_its_delete_was_collected() {
    let mut db = Db::default();
    db.put("a=1", 1, 5);
    db.put("a", 6, 8);
    // The rollback of the transaction that started at 5 reads the version committed at 5, then all versions go, and
    // its record is written after that.
    let late = rollback::cleanup(&db.engine.snapshot(), &key("a"), Timestamp(5), Timestamp::ZERO);
    collect(&db, 10, |_| {});
    assert!(db.writes("a").is_empty());
    db.apply(late).unwrap();
    assert_eq!(db.get("a", 20).unwrap(), None);
    collect(&db, 10, |_| {});
    assert!(db.writes("a").is_empty());
}
