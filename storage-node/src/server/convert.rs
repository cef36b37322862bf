//! Between messages and inner types. Errors that clients act upon keep their structure; the rest becomes text.

use codec::timestamp::Timestamp;
use proto::deadlock::WaitForEntry;
use proto::kvrpcpb::{self, Context, KeyError, KvPair, MvccInfo, MvccLock, MvccValue, MvccWrite, Op};
use proto::{errorpb, kvrpcpb as pb};

use crate::mvcc::{Isolation, Key, LockInfo, LockKind, MvccError, ReadParams, WriteKind};
use crate::raftstore::convert as region;
use crate::txn::commands::inspect::KeyRecords;
use crate::txn::storage::RowResult;
use crate::txn::{Assertion, CommandError, ConflictReason, Mutation, MutationOp, TxnError};

/// The parameters of a read at `version`.
pub(super) fn read_params(ctx: Option<&Context>, version: u64) -> ReadParams {
    let Some(ctx) = ctx else { return ReadParams::at(Timestamp(version)) };
    ReadParams {
        ts: Timestamp(version),
        isolation: match ctx.isolation_level() {
            pb::IsolationLevel::Si => Isolation::Snapshot,
            pb::IsolationLevel::Rc | pb::IsolationLevel::RcCheckTs => Isolation::ReadCommitted,
        },
        resolved_locks: ctx.resolved_locks.iter().copied().map(Timestamp).collect(),
        committed_locks: ctx.committed_locks.iter().copied().map(Timestamp).collect(),
    }
}

/// Why a request is not even looked at: it asks for what is not served, which must not be taken for something else.
pub(super) fn refuse(ctx: Option<&Context>) -> Option<errorpb::Error> {
    let ctx = ctx?;
    let what = if ctx.stale_read {
        "stale reads"
    } else if ctx.api_version() != pb::ApiVersion::V1 {
        "API versions other than V1"
    } else if ctx.isolation_level() == pb::IsolationLevel::RcCheckTs {
        "isolation level RCCheckTS"
    } else {
        return None;
    };
    // The variant that makes a client of stale reads turn to the leader; others show the message.
    let data_is_not_ready = ctx.stale_read.then(|| errorpb::DataIsNotReady {
        region_id: ctx.region_id,
        peer_id: ctx.peer.as_ref().map_or(0, |p| p.id),
        safe_ts: 0,
    });
    Some(errorpb::Error { message: format!("{what} are not supported"), data_is_not_ready, ..Default::default() })
}

pub(super) fn keys(user_keys: &[Vec<u8>]) -> Vec<Key> {
    user_keys.iter().map(|key| Key::from_user(key)).collect()
}

pub(super) fn mutation(m: pb::Mutation) -> Result<Mutation, TxnError> {
    let op = match m.op() {
        Op::Put => MutationOp::Put,
        Op::Del => MutationOp::Delete,
        Op::Lock => MutationOp::Lock,
        Op::Insert => MutationOp::Insert,
        Op::CheckNotExists => MutationOp::CheckNotExists,
        op @ (Op::Rollback | Op::PessimisticLock) => {
            return Err(TxnError::Invalid(format!("{} cannot be prewritten", op.as_str_name())));
        }
    };
    let assertion = assertion(&m);
    Ok(Mutation { op, key: Key::from_user(&m.key), value: m.value, assertion })
}

pub(super) fn assertion(m: &pb::Mutation) -> Assertion {
    match m.assertion() {
        pb::Assertion::None => Assertion::None,
        pb::Assertion::Exist => Assertion::Exist,
        pb::Assertion::NotExist => Assertion::NotExist,
    }
}

fn assertion_to_proto(assertion: Assertion) -> i32 {
    let out = match assertion {
        Assertion::None => pb::Assertion::None,
        Assertion::Exist => pb::Assertion::Exist,
        Assertion::NotExist => pb::Assertion::NotExist,
    };
    out as i32
}

fn lock_op(kind: LockKind) -> i32 {
    let op = match kind {
        LockKind::Put => Op::Put,
        LockKind::Delete => Op::Del,
        LockKind::Lock => Op::Lock,
        LockKind::Pessimistic => Op::PessimisticLock,
    };
    op as i32
}

/// A lock as clients are told of it.
pub(crate) fn lock_info(info: LockInfo) -> pb::LockInfo {
    let LockInfo { key, lock } = info;
    pb::LockInfo {
        primary_lock: lock.primary,
        lock_version: lock.start_ts.0,
        key,
        lock_ttl: lock.ttl_ms,
        txn_size: lock.txn_size,
        lock_type: lock_op(lock.kind),
        lock_for_update_ts: lock.for_update_ts.0,
        use_async_commit: lock.use_async_commit,
        min_commit_ts: lock.min_commit_ts.0,
        secondaries: lock.secondaries,
        ..Default::default()
    }
}

/// That a time is before the safe point.
pub(super) fn below_safe_point(ts: Timestamp, safe_point: Timestamp) -> pb::BelowSafePoint {
    pb::BelowSafePoint { start_ts: ts.0, safe_point: safe_point.0 }
}

/// A transaction's error as clients act upon it.
pub(super) fn key_error(error: TxnError) -> KeyError {
    let mut out = KeyError::default();
    let text = error.to_string();
    match error {
        TxnError::Mvcc(MvccError::KeyIsLocked(info)) => out.locked = Some(lock_info(*info)),
        TxnError::WriteConflict { start_ts, conflict_start_ts, conflict_commit_ts, key, primary, reason } => {
            let reason = match reason {
                ConflictReason::Optimistic => pb::write_conflict::Reason::Optimistic,
                ConflictReason::PessimisticRetry => pb::write_conflict::Reason::PessimisticRetry,
                ConflictReason::SelfRolledBack => pb::write_conflict::Reason::SelfRolledBack,
                ConflictReason::LazyUniquenessCheck => pb::write_conflict::Reason::LazyUniquenessCheck,
            };
            out.conflict = Some(pb::WriteConflict {
                start_ts: start_ts.0,
                conflict_ts: conflict_start_ts.0,
                key,
                primary,
                conflict_commit_ts: conflict_commit_ts.0,
                reason: reason as i32,
            });
        }
        TxnError::AlreadyExist { key } => out.already_exist = Some(pb::AlreadyExist { key }),
        // Clients look for these names: "retryable" lets them start the transaction over.
        TxnError::TxnLockNotFound { .. } => out.retryable = format!("TxnLockNotFound: {text}"),
        TxnError::PessimisticLockNotFound { .. } => out.abort = format!("PessimisticLockNotFound: {text}"),
        TxnError::TxnNotFound { start_ts, key } => {
            out.txn_not_found = Some(pb::TxnNotFound { start_ts: start_ts.0, primary_key: key });
        }
        TxnError::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts } => {
            out.commit_ts_expired = Some(pb::CommitTsExpired {
                start_ts: start_ts.0,
                attempted_commit_ts: commit_ts.0,
                key,
                min_commit_ts: min_commit_ts.0,
            });
        }
        TxnError::AssertionFailed { start_ts, key, assertion, existing_start_ts, existing_commit_ts } => {
            out.assertion_failed = Some(pb::AssertionFailed {
                start_ts: start_ts.0,
                key,
                assertion: assertion_to_proto(assertion),
                existing_start_ts: existing_start_ts.0,
                existing_commit_ts: existing_commit_ts.0,
            });
        }
        TxnError::PrimaryMismatch(info) => {
            out.primary_mismatch = Some(pb::PrimaryMismatch { lock_info: Some(lock_info(*info)) });
        }
        TxnError::Deadlock { lock_ts, key, deadlock_key_hash, wait_chain, .. } => {
            let entry = |edge: crate::txn::deadlock::WaitEdge| WaitForEntry {
                txn: edge.waiter.0,
                wait_for_txn: edge.holder.0,
                key_hash: edge.key_hash,
                key: edge.key,
                ..Default::default()
            };
            out.deadlock = Some(pb::Deadlock {
                lock_ts: lock_ts.0,
                lock_key: key,
                deadlock_key_hash,
                wait_chain: wait_chain.into_iter().map(entry).collect(),
            });
        }
        TxnError::BelowSafePoint { ts, safe_point } => {
            out.below_safe_point = Some(below_safe_point(ts, safe_point));
            // What clients read that do not know the other.
            out.abort = text;
        }
        TxnError::Mvcc(_)
        | TxnError::PessimisticLockRolledBack { .. }
        | TxnError::LockKindMismatch { .. }
        | TxnError::Committed { .. }
        | TxnError::Invalid(_) => out.abort = text,
    }
    out
}

/// A row, or the lock that hides it.
pub(super) fn row(row: RowResult) -> KvPair {
    match row {
        Ok((key, value)) => KvPair { error: None, key, value: value.into() },
        Err(info) => {
            let key = info.key.clone();
            let error = KeyError { locked: Some(lock_info(*info)), ..Default::default() };
            KvPair { error: Some(error), key, value: Vec::new() }
        }
    }
}

/// A command's error: for the response's region error, or for its own.
pub(super) enum Failed {
    Region(errorpb::Error),
    Key(KeyError),
}

impl From<CommandError> for Failed {
    fn from(error: CommandError) -> Failed {
        match error {
            CommandError::Region(e) => Failed::Region(region::error_to_proto(&e)),
            CommandError::Txn(e) => Failed::Key(key_error(e)),
        }
    }
}

/// The same for responses that have only text.
pub(super) enum FailedText {
    Region(Box<errorpb::Error>),
    Text(String),
}

impl From<CommandError> for FailedText {
    fn from(error: CommandError) -> FailedText {
        match error {
            CommandError::Region(e) => FailedText::Region(Box::new(region::error_to_proto(&e))),
            CommandError::Txn(e) => FailedText::Text(e.to_string()),
        }
    }
}

/// All records of a key.
pub(super) fn records(records: KeyRecords) -> MvccInfo {
    let lock = records.lock.map(|lock| MvccLock {
        r#type: lock_op(lock.kind),
        start_ts: lock.start_ts.0,
        primary: lock.primary,
        short_value: lock.short_value.unwrap_or_default(),
        ttl: lock.ttl_ms,
        for_update_ts: lock.for_update_ts.0,
        txn_size: lock.txn_size,
        use_async_commit: lock.use_async_commit,
        secondaries: lock.secondaries,
        rollback_ts: lock.rollback_ts.into_iter().map(u64::from).collect(),
        ..Default::default()
    });
    let write = |(commit_ts, write): (Timestamp, crate::mvcc::Write)| MvccWrite {
        r#type: match write.kind {
            WriteKind::Put => Op::Put,
            WriteKind::Delete => Op::Del,
            WriteKind::Lock => Op::Lock,
            WriteKind::Rollback => Op::Rollback,
        } as i32,
        start_ts: write.start_ts.0,
        commit_ts: commit_ts.0,
        short_value: write.short_value.unwrap_or_default(),
        has_overlapped_rollback: write.overlapped_rollback,
        has_gc_fence: write.gc_fence.is_some(),
        gc_fence: write.gc_fence.unwrap_or_default().0,
        ..Default::default()
    };
    let value = |(ts, value): (Timestamp, Vec<u8>)| MvccValue { start_ts: ts.0, value };
    MvccInfo {
        lock,
        writes: records.writes.into_iter().map(write).collect(),
        values: records.values.into_iter().map(value).collect(),
    }
}

/// A range of a message.
pub(super) fn range(start: &[u8], end: &[u8]) -> engine::KeyRange {
    engine::KeyRange::new(start, end)
}

/// A range of a scan: a reverse one goes from its start down to its end.
pub(super) fn scan_range(start: Vec<u8>, end: Vec<u8>, reverse: bool) -> engine::KeyRange {
    if reverse { engine::KeyRange::new(end, start) } else { engine::KeyRange::new(start, end) }
}

/// How a scan goes.
pub(super) fn scan_options(reverse: bool, key_only: bool) -> crate::mvcc::ScanOptions {
    let direction = if reverse { engine::Direction::Backward } else { engine::Direction::Forward };
    crate::mvcc::ScanOptions { direction, key_only }
}

pub(super) use kvrpcpb::KeyRange as PbKeyRange;
pub(super) use region::context_from_proto as context;
