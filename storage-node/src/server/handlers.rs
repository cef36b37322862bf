//! One function per request: message in, message out. Errors are part of the message, so none of them fails.

use bytes::Bytes;
use codec::table::{self, Handle, RECORD_KEY_LEN};
use codec::timestamp::Timestamp;
use engine::Cf;
use proto::coprocessor::{Request as CopRequest, Response as CopResponse};
use proto::errorpb;
use proto::kvrpcpb::*;

use super::TikvService;
use super::convert::{self, Failed, FailedText, PbKeyRange, context, key_error, keys, range, read_params, refuse};
use crate::mvcc::{Key, MvccError, ReadParams};
use crate::raftstore::convert::{error_to_proto, region_to_proto};
use crate::replication::{RaftCalls, Replication};
use crate::txn::commands::check_secondary_locks::SecondaryLocks;
use crate::txn::commands::check_txn_status::{CheckTxnStatus, TxnStatus};
use crate::txn::commands::pessimistic_lock::{LockedKey, PessimisticLock};
use crate::txn::commands::prewrite::{self, PessimisticCheck, Prewrite};
use crate::txn::storage::LockWait;
use crate::txn::{Assertion, CommandError, TxnError};

type Service<R, C> = TikvService<R, C>;

/// Rows up to which a scan is not worth a thread of its own: with few versions each, they take less than a millisecond.
const SHORT_SCAN_ROWS_MAX: u64 = 256;

/// Refuses a request by its context, as a region error.
macro_rules! accept {
    ($request:ident, $response:ident) => {
        if let Some(error) = refuse($request.context.as_ref()) {
            return $response { region_error: Some(error), ..Default::default() };
        }
    };
}

/// A response that carries an error in `region_error` or `error: KeyError`.
macro_rules! failed {
    ($response:ident, $error:expr) => {
        match Failed::from(CommandError::from($error)) {
            Failed::Region(e) => $response { region_error: Some(e), ..Default::default() },
            Failed::Key(e) => $response { error: Some(e), ..Default::default() },
        }
    };
}

/// The same with `errors: Vec<KeyError>`.
macro_rules! failed_list {
    ($response:ident, $error:expr) => {
        match Failed::from(CommandError::from($error)) {
            Failed::Region(e) => $response { region_error: Some(e), ..Default::default() },
            Failed::Key(e) => $response { errors: vec![e], ..Default::default() },
        }
    };
}

/// The same with `error: String`.
macro_rules! failed_text {
    ($response:ident, $error:expr) => {
        match FailedText::from($error) {
            FailedText::Region(e) => $response { region_error: Some(*e), ..Default::default() },
            FailedText::Text(error) => $response { error, ..Default::default() },
        }
    };
}

/// Responses without a place for the error's text: it goes where clients print it.
macro_rules! failed_region {
    ($response:ident, $error:expr) => {{
        let error = match FailedText::from($error) {
            FailedText::Region(e) => *e,
            FailedText::Text(message) => errorpb::Error { message, ..Default::default() },
        };
        $response { region_error: Some(error), ..Default::default() }
    }};
}

pub(super) async fn kv_get<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: GetRequest) -> GetResponse {
    accept!(r, GetResponse);
    let params = read_params(r.context.as_ref(), r.version);
    match s.storage.get(&context(r.context.as_ref()), &r.key, &params).await {
        Ok(Some(value)) => GetResponse { value: value.into(), ..Default::default() },
        Ok(None) => GetResponse { not_found: true, ..Default::default() },
        Err(e) => failed!(GetResponse, e),
    }
}

pub(super) async fn kv_batch_get<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: BatchGetRequest,
) -> BatchGetResponse {
    accept!(r, BatchGetResponse);
    let params = read_params(r.context.as_ref(), r.version);
    match s.storage.batch_get(&context(r.context.as_ref()), r.keys, &params).await {
        Ok(rows) => {
            let pairs = rows.into_iter().map(convert::row).collect();
            BatchGetResponse { pairs, ..Default::default() }
        }
        Err(e) => failed!(BatchGetResponse, e),
    }
}

pub(super) async fn kv_scan<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: ScanRequest) -> ScanResponse {
    accept!(r, ScanResponse);
    let params = read_params(r.context.as_ref(), r.version);
    let range = convert::scan_range(r.start_key, r.end_key, r.reverse);
    let options = convert::scan_options(r.reverse, r.key_only);
    let rows = s.storage.scan(&context(r.context.as_ref()), &range, r.limit as usize, params, options).await;
    match rows {
        Ok(rows) => {
            let pairs: Vec<KvPair> = rows.into_iter().map(convert::row).collect();
            ScanResponse { pairs, ..Default::default() }
        }
        Err(e) => failed!(ScanResponse, e),
    }
}

pub(super) async fn kv_prewrite<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: PrewriteRequest,
) -> PrewriteResponse {
    accept!(r, PrewriteResponse);
    if !r.txn_file_chunks.is_empty() {
        return failed_list!(PrewriteResponse, TxnError::Invalid("transaction files are not supported".into()));
    }
    let ctx = context(r.context.as_ref());
    let check = |action: PrewriteAction| match action {
        PrewriteAction::SkipPessimisticCheck => PessimisticCheck::None,
        PrewriteAction::DoPessimisticCheck => PessimisticCheck::Lock,
        PrewriteAction::DoConstraintCheck => PessimisticCheck::Constraint,
    };
    let checks = r.pessimistic_actions().map(check).collect();
    let assertion_level = match r.assertion_level() {
        AssertionLevel::Off => prewrite::AssertionLevel::Off,
        AssertionLevel::Fast => prewrite::AssertionLevel::Fast,
        AssertionLevel::Strict => prewrite::AssertionLevel::Strict,
    };
    let mutations = match r.mutations.into_iter().map(convert::mutation).collect() {
        Ok(mutations) => mutations,
        Err(e) => return failed_list!(PrewriteResponse, e),
    };
    let cmd = Prewrite {
        mutations,
        checks,
        expected_for_update_ts: Vec::new(),
        primary: r.primary_lock,
        start_ts: Timestamp(r.start_version),
        ttl_ms: r.lock_ttl,
        txn_size: r.txn_size,
        for_update_ts: Timestamp(r.for_update_ts),
        min_commit_ts: Timestamp(r.min_commit_ts),
        max_commit_ts: Timestamp(r.max_commit_ts),
        async_commit: r.use_async_commit.then_some(r.secondaries),
        one_phase: r.try_one_pc,
        assertion_level,
    };
    match s.storage.prewrite(&ctx, cmd).await {
        Ok(done) => PrewriteResponse {
            errors: done
                .locked
                .into_iter()
                .map(|info| key_error(MvccError::KeyIsLocked(Box::new(info)).into()))
                .collect(),
            min_commit_ts: done.min_commit_ts.0,
            one_pc_commit_ts: done.one_phase_commit_ts.0,
            ..Default::default()
        },
        Err(e) => failed_list!(PrewriteResponse, e),
    }
}

use prewrite_request::PessimisticAction as PrewriteAction;

pub(super) async fn kv_pessimistic_lock<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: PessimisticLockRequest,
) -> PessimisticLockResponse {
    accept!(r, PessimisticLockResponse);
    let ctx = context(r.context.as_ref());
    let force = r.wake_up_mode() == PessimisticLockWakeUpMode::WakeUpModeForceLock;
    let mut keys = Vec::with_capacity(r.mutations.len());
    for m in &r.mutations {
        if m.op() != Op::PessimisticLock {
            let text = format!("{} is not a pessimistic lock", m.op().as_str_name());
            return failed_list!(PessimisticLockResponse, TxnError::Invalid(text));
        }
        keys.push((Key::from_user(&m.key), convert::assertion(m) == Assertion::NotExist));
    }
    let wait = match r.wait_timeout {
        0 => LockWait::Default,
        ms if ms < 0 => LockWait::No,
        ms => LockWait::For(std::time::Duration::from_millis(ms as u64)),
    };
    let cmd = PessimisticLock {
        keys,
        primary: r.primary_lock,
        start_ts: Timestamp(r.start_version),
        ttl_ms: r.lock_ttl,
        for_update_ts: Timestamp(r.for_update_ts),
        min_commit_ts: Timestamp(r.min_commit_ts),
        return_values: r.return_values,
        check_existence: r.check_existence,
        lock_only_if_exists: r.lock_only_if_exists,
        allow_conflict: force,
    };
    let told = match s.storage.pessimistic_lock(&ctx, cmd, wait).await {
        Ok(told) => told,
        Err(e) => return failed_list!(PessimisticLockResponse, e),
    };
    let mut response = PessimisticLockResponse::default();
    let value = |locked: &LockedKey| locked.value.as_ref().map(|v| v.to_vec()).unwrap_or_default();
    if force {
        let result = |locked: &LockedKey| PessimisticLockKeyResult {
            r#type: match locked.conflict_ts {
                Some(_) => PessimisticLockKeyResultType::LockResultLockedWithConflict,
                None => PessimisticLockKeyResultType::LockResultNormal,
            } as i32,
            value: value(locked),
            existence: locked.exists,
            locked_with_conflict_ts: locked.conflict_ts.unwrap_or_default().0,
            skip_resolving_lock: false,
        };
        response.results = told.iter().map(result).collect();
    } else if r.return_values {
        response.values = told.iter().map(value).collect();
        response.not_founds = told.iter().map(|locked| !locked.exists).collect();
    } else if r.check_existence {
        response.not_founds = told.iter().map(|locked| !locked.exists).collect();
    }
    response
}

pub(super) async fn kv_pessimistic_rollback<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: PessimisticRollbackRequest,
) -> PessimisticRollbackResponse {
    accept!(r, PessimisticRollbackResponse);
    let (start_ts, for_update_ts) = (Timestamp(r.start_version), Timestamp(r.for_update_ts));
    let ctx = context(r.context.as_ref());
    match s.storage.pessimistic_rollback(&ctx, keys(&r.keys), start_ts, for_update_ts).await {
        Ok(()) => PessimisticRollbackResponse::default(),
        Err(e) => failed_list!(PessimisticRollbackResponse, e),
    }
}

pub(super) async fn kv_txn_heart_beat<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: TxnHeartBeatRequest,
) -> TxnHeartBeatResponse {
    accept!(r, TxnHeartBeatResponse);
    let primary = Key::from_user(&r.primary_lock);
    let ctx = context(r.context.as_ref());
    match s.storage.txn_heartbeat(&ctx, primary, Timestamp(r.start_version), r.advise_lock_ttl).await {
        Ok(lock_ttl) => TxnHeartBeatResponse { lock_ttl, ..Default::default() },
        Err(e) => failed!(TxnHeartBeatResponse, e),
    }
}

pub(super) async fn kv_check_txn_status<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: CheckTxnStatusRequest,
) -> CheckTxnStatusResponse {
    accept!(r, CheckTxnStatusResponse);
    let cmd = CheckTxnStatus {
        primary: Key::from_user(&r.primary_key),
        lock_ts: Timestamp(r.lock_ts),
        caller_start_ts: Timestamp(r.caller_start_ts),
        current_ts: Timestamp(r.current_ts),
        rollback_if_not_exist: r.rollback_if_not_exist,
        force_sync_commit: r.force_sync_commit,
        resolving_pessimistic_lock: r.resolving_pessimistic_lock,
        verify_is_primary: r.verify_is_primary,
    };
    let status = match s.storage.check_txn_status(&context(r.context.as_ref()), cmd).await {
        Ok(status) => status,
        Err(e) => return failed!(CheckTxnStatusResponse, e),
    };
    let mut response = CheckTxnStatusResponse::default();
    let action = match status {
        TxnStatus::RolledBack => Action::NoAction,
        TxnStatus::Expired => Action::TtlExpireRollback,
        TxnStatus::PessimisticRolledBack => Action::TtlExpirePessimisticRollback,
        TxnStatus::LockNotExist => Action::LockNotExistRollback,
        TxnStatus::LockNotExistDoNothing => Action::LockNotExistDoNothing,
        TxnStatus::Committed(ts) => {
            response.commit_version = ts.0;
            Action::NoAction
        }
        TxnStatus::Uncommitted { lock, pushed } => {
            response.lock_ttl = lock.lock.ttl_ms;
            response.lock_info = Some(convert::lock_info(*lock));
            if pushed { Action::MinCommitTsPushed } else { Action::NoAction }
        }
    };
    response.action = action as i32;
    response
}

pub(super) async fn kv_check_secondary_locks<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: CheckSecondaryLocksRequest,
) -> CheckSecondaryLocksResponse {
    accept!(r, CheckSecondaryLocksResponse);
    let ctx = context(r.context.as_ref());
    match s.storage.check_secondary_locks(&ctx, keys(&r.keys), Timestamp(r.start_version)).await {
        Ok(SecondaryLocks::Locked(locks)) => {
            let locks = locks.into_iter().map(convert::lock_info).collect();
            CheckSecondaryLocksResponse { locks, ..Default::default() }
        }
        Ok(SecondaryLocks::Committed(ts)) => CheckSecondaryLocksResponse { commit_ts: ts.0, ..Default::default() },
        Ok(SecondaryLocks::RolledBack) => CheckSecondaryLocksResponse::default(),
        Err(e) => failed!(CheckSecondaryLocksResponse, e),
    }
}

pub(super) async fn kv_commit<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: CommitRequest) -> CommitResponse {
    accept!(r, CommitResponse);
    let (start_ts, commit_ts) = (Timestamp(r.start_version), Timestamp(r.commit_version));
    match s.storage.commit(&context(r.context.as_ref()), keys(&r.keys), start_ts, commit_ts).await {
        Ok(()) => CommitResponse { commit_version: r.commit_version, ..Default::default() },
        Err(e) => failed!(CommitResponse, e),
    }
}

pub(super) async fn kv_cleanup<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: CleanupRequest) -> CleanupResponse {
    accept!(r, CleanupResponse);
    let (start_ts, now) = (Timestamp(r.start_version), Timestamp(r.current_ts));
    match s.storage.cleanup(&context(r.context.as_ref()), Key::from_user(&r.key), start_ts, now).await {
        Ok(()) => CleanupResponse::default(),
        Err(CommandError::Txn(TxnError::Committed { commit_ts, .. })) => {
            CleanupResponse { commit_version: commit_ts.0, ..Default::default() }
        }
        Err(e) => failed!(CleanupResponse, e),
    }
}

pub(super) async fn kv_batch_rollback<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: BatchRollbackRequest,
) -> BatchRollbackResponse {
    accept!(r, BatchRollbackResponse);
    let ctx = context(r.context.as_ref());
    match s.storage.batch_rollback(&ctx, keys(&r.keys), Timestamp(r.start_version)).await {
        Ok(()) => BatchRollbackResponse::default(),
        Err(e) => failed!(BatchRollbackResponse, e),
    }
}

pub(super) async fn kv_scan_lock<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: ScanLockRequest,
) -> ScanLockResponse {
    accept!(r, ScanLockResponse);
    let range = range(&r.start_key, &r.end_key);
    let ctx = context(r.context.as_ref());
    match s.storage.scan_lock(&ctx, &range, r.limit as usize, Timestamp(r.max_version)).await {
        Ok(locks) => {
            let locks = locks.into_iter().map(convert::lock_info).collect();
            ScanLockResponse { locks, ..Default::default() }
        }
        Err(e) => failed!(ScanLockResponse, e),
    }
}

pub(super) async fn kv_resolve_lock<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: ResolveLockRequest,
) -> ResolveLockResponse {
    accept!(r, ResolveLockResponse);
    let ctx = context(r.context.as_ref());
    let (start_ts, commit_ts) = (Timestamp(r.start_version), Timestamp(r.commit_version));
    let resolved = if !r.keys.is_empty() {
        s.storage.resolve_locks_lite(&ctx, keys(&r.keys), start_ts, commit_ts).await
    } else if !r.txn_infos.is_empty() {
        let ends = r.txn_infos.iter().map(|info| (Timestamp(info.txn), Timestamp(info.status))).collect();
        s.storage.resolve_locks(&ctx, ends).await
    } else {
        s.storage.resolve_locks(&ctx, [(start_ts, commit_ts)].into()).await
    };
    match resolved {
        Ok(()) => ResolveLockResponse::default(),
        Err(e) => failed!(ResolveLockResponse, e),
    }
}

pub(super) async fn kv_gc<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: GcRequest) -> GcResponse {
    accept!(r, GcResponse);
    match s.storage.gc(Timestamp(r.safe_point)) {
        Ok(()) => GcResponse::default(),
        Err(e) => failed!(GcResponse, e),
    }
}

pub(super) async fn kv_delete_range<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: DeleteRangeRequest,
) -> DeleteRangeResponse {
    accept!(r, DeleteRangeResponse);
    if r.notify_only {
        let error = "notify_only is not supported".to_string();
        return DeleteRangeResponse { error, ..Default::default() };
    }
    match s.storage.delete_range(&context(r.context.as_ref()), &range(&r.start_key, &r.end_key)).await {
        Ok(()) => DeleteRangeResponse::default(),
        Err(e) => failed_text!(DeleteRangeResponse, e),
    }
}

/// The family of a raw request. Its own state is not for clients.
fn raw_cf(name: &str) -> Result<Cf, CommandError> {
    match Cf::from_name(name) {
        Some(cf @ (Cf::Default | Cf::Lock | Cf::Write)) => Ok(cf),
        _ => Err(TxnError::Invalid(format!("unknown column family {name:?}")).into()),
    }
}

fn no_ttl(ttl: u64) -> Result<(), CommandError> {
    match ttl {
        0 => Ok(()),
        _ => Err(TxnError::Invalid("raw keys with a time to live are not supported".into()).into()),
    }
}

pub(super) async fn raw_get<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: RawGetRequest) -> RawGetResponse {
    accept!(r, RawGetResponse);
    let read = async { s.storage.raw_get(&context(r.context.as_ref()), raw_cf(&r.cf)?, &r.key).await };
    match read.await {
        Ok(Some(value)) => RawGetResponse { value: value.into(), ..Default::default() },
        Ok(None) => RawGetResponse { not_found: true, ..Default::default() },
        Err(e) => failed_text!(RawGetResponse, e),
    }
}

pub(super) async fn raw_get_key_ttl<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawGetKeyTtlRequest,
) -> RawGetKeyTtlResponse {
    accept!(r, RawGetKeyTtlResponse);
    let read = async { s.storage.raw_get(&context(r.context.as_ref()), raw_cf(&r.cf)?, &r.key).await };
    match read.await {
        // Zero: it does not expire.
        Ok(value) => RawGetKeyTtlResponse { ttl: 0, not_found: value.is_none(), ..Default::default() },
        Err(e) => failed_text!(RawGetKeyTtlResponse, e),
    }
}

fn pairs(rows: Vec<(Vec<u8>, Bytes)>) -> Vec<KvPair> {
    rows.into_iter().map(|(key, value)| KvPair { error: None, key, value: value.into() }).collect()
}

pub(super) async fn raw_batch_get<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawBatchGetRequest,
) -> RawBatchGetResponse {
    accept!(r, RawBatchGetResponse);
    let read = async { s.storage.raw_batch_get(&context(r.context.as_ref()), raw_cf(&r.cf)?, r.keys).await };
    match read.await {
        Ok(rows) => RawBatchGetResponse { pairs: pairs(rows), ..Default::default() },
        Err(e) => failed_region!(RawBatchGetResponse, e),
    }
}

pub(super) async fn raw_put<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: RawPutRequest) -> RawPutResponse {
    accept!(r, RawPutResponse);
    let write = async {
        no_ttl(r.ttl)?;
        let pairs = vec![(r.key, r.value)];
        s.storage.raw_put(&context(r.context.as_ref()), raw_cf(&r.cf)?, pairs, r.for_cas).await
    };
    match write.await {
        Ok(()) => RawPutResponse::default(),
        Err(e) => failed_text!(RawPutResponse, e),
    }
}

pub(super) async fn raw_batch_put<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawBatchPutRequest,
) -> RawBatchPutResponse {
    accept!(r, RawBatchPutResponse);
    let write = async {
        no_ttl(r.ttl)?;
        r.ttls.iter().try_for_each(|ttl| no_ttl(*ttl))?;
        let pairs = r.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
        s.storage.raw_put(&context(r.context.as_ref()), raw_cf(&r.cf)?, pairs, r.for_cas).await
    };
    match write.await {
        Ok(()) => RawBatchPutResponse::default(),
        Err(e) => failed_text!(RawBatchPutResponse, e),
    }
}

pub(super) async fn raw_delete<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawDeleteRequest,
) -> RawDeleteResponse {
    accept!(r, RawDeleteResponse);
    let write =
        async { s.storage.raw_delete(&context(r.context.as_ref()), raw_cf(&r.cf)?, vec![r.key], r.for_cas).await };
    match write.await {
        Ok(()) => RawDeleteResponse::default(),
        Err(e) => failed_text!(RawDeleteResponse, e),
    }
}

pub(super) async fn raw_batch_delete<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawBatchDeleteRequest,
) -> RawBatchDeleteResponse {
    accept!(r, RawBatchDeleteResponse);
    let write = async { s.storage.raw_delete(&context(r.context.as_ref()), raw_cf(&r.cf)?, r.keys, r.for_cas).await };
    match write.await {
        Ok(()) => RawBatchDeleteResponse::default(),
        Err(e) => failed_text!(RawBatchDeleteResponse, e),
    }
}

pub(super) async fn raw_scan<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: RawScanRequest) -> RawScanResponse {
    accept!(r, RawScanResponse);
    let ranges = [convert::scan_range(r.start_key, r.end_key, r.reverse)];
    let options = convert::scan_options(r.reverse, r.key_only);
    let ctx = context(r.context.as_ref());
    let read = async { s.storage.raw_scan(&ctx, raw_cf(&r.cf)?, &ranges, r.limit as usize, options).await };
    match read.await {
        Ok(rows) => RawScanResponse { kvs: pairs(rows), ..Default::default() },
        Err(e) => failed_region!(RawScanResponse, e),
    }
}

pub(super) async fn raw_batch_scan<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawBatchScanRequest,
) -> RawBatchScanResponse {
    accept!(r, RawBatchScanResponse);
    let of = |range: PbKeyRange| convert::scan_range(range.start_key, range.end_key, r.reverse);
    let ranges: Vec<_> = r.ranges.into_iter().map(of).collect();
    let options = convert::scan_options(r.reverse, r.key_only);
    let ctx = context(r.context.as_ref());
    let read = async { s.storage.raw_scan(&ctx, raw_cf(&r.cf)?, &ranges, r.each_limit as usize, options).await };
    match read.await {
        Ok(rows) => RawBatchScanResponse { kvs: pairs(rows), ..Default::default() },
        Err(e) => failed_region!(RawBatchScanResponse, e),
    }
}

pub(super) async fn raw_delete_range<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawDeleteRangeRequest,
) -> RawDeleteRangeResponse {
    accept!(r, RawDeleteRangeResponse);
    let range = range(&r.start_key, &r.end_key);
    let write = async { s.storage.raw_delete_range(&context(r.context.as_ref()), raw_cf(&r.cf)?, range).await };
    match write.await {
        Ok(()) => RawDeleteRangeResponse::default(),
        Err(e) => failed_text!(RawDeleteRangeResponse, e),
    }
}

pub(super) async fn raw_compare_and_swap<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: RawCasRequest,
) -> RawCasResponse {
    accept!(r, RawCasResponse);
    let expected = (!r.previous_not_exist).then_some(r.previous_value);
    let write = async {
        no_ttl(r.ttl)?;
        let cf = raw_cf(&r.cf)?;
        s.storage.raw_compare_and_swap(&context(r.context.as_ref()), cf, r.key, expected, r.value).await
    };
    match write.await {
        Ok((succeed, previous)) => RawCasResponse {
            succeed,
            previous_not_exist: previous.is_none(),
            previous_value: previous.unwrap_or_default().into(),
            ..Default::default()
        },
        Err(e) => failed_text!(RawCasResponse, e),
    }
}

pub(super) async fn split_region<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: SplitRegionRequest,
) -> SplitRegionResponse {
    let mut split_keys = r.split_keys;
    if split_keys.is_empty() {
        split_keys.push(r.split_key);
    }
    if !r.is_raw_kv {
        split_keys = split_keys.iter().map(|key| Key::from_user(key).into_encoded()).collect();
    }
    match s.raft.split_region(&context(r.context.as_ref()), split_keys).await {
        Ok(regions) => {
            let regions: Vec<_> = regions.iter().map(region_to_proto).collect();
            let mut response = SplitRegionResponse::default();
            if let [left, right] = regions.as_slice() {
                (response.left, response.right) = (Some(left.clone()), Some(right.clone()));
            }
            response.regions = regions;
            response
        }
        Err(e) => SplitRegionResponse { region_error: Some(error_to_proto(&e)), ..Default::default() },
    }
}

pub(super) async fn read_index<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: ReadIndexRequest,
) -> ReadIndexResponse {
    // The read happens on another replica: commits under way here must come after it, or stop it.
    let params = ReadParams::at(Timestamp(r.start_ts));
    if let Err(e) = s.storage.note_read(params.ts).await {
        return failed_region!(ReadIndexResponse, e);
    }
    let manager = s.storage.concurrency();
    for keys in &r.ranges {
        let keys = crate::mvcc::view::encode_range(&range(&keys.start_key, &keys.end_key));
        if let Err(MvccError::KeyIsLocked(info)) = manager.check_range(&keys, &params) {
            return ReadIndexResponse { locked: Some(convert::lock_info(*info)), ..Default::default() };
        }
    }
    match s.raft.read_index(&context(r.context.as_ref())).await {
        Ok(read_index) => ReadIndexResponse { read_index, ..Default::default() },
        Err(e) => ReadIndexResponse { region_error: Some(error_to_proto(&e)), ..Default::default() },
    }
}

pub(super) async fn mvcc_get_by_key<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: MvccGetByKeyRequest,
) -> MvccGetByKeyResponse {
    match s.storage.inspect(&context(r.context.as_ref()), &r.key).await {
        Ok(records) => MvccGetByKeyResponse { info: Some(convert::records(records)), ..Default::default() },
        Err(e) => failed_text!(MvccGetByKeyResponse, e),
    }
}

pub(super) async fn mvcc_get_by_start_ts<R: Replication, C: RaftCalls>(
    s: &Service<R, C>,
    r: MvccGetByStartTsRequest,
) -> MvccGetByStartTsResponse {
    match s.storage.inspect_txn(&context(r.context.as_ref()), Timestamp(r.start_ts)).await {
        Ok(Some((key, records))) => {
            MvccGetByStartTsResponse { key, info: Some(convert::records(records)), ..Default::default() }
        }
        Ok(None) => MvccGetByStartTsResponse::default(),
        Err(e) => failed_text!(MvccGetByStartTsResponse, e),
    }
}

pub(super) async fn coprocessor<R: Replication, C: RaftCalls>(s: &Service<R, C>, r: CopRequest) -> CopResponse {
    if let Some(error) = refuse(r.context.as_ref()) {
        return CopResponse { region_error: Some(error), ..Default::default() };
    }
    // Waiting work is bounded by the streams' own bound on requests under way.
    let Ok(slot) = s.coprocessor_slots.clone().acquire_owned().await else {
        return CopResponse { other_error: "the node is shutting down".into(), ..Default::default() };
    };
    let params = read_params(r.context.as_ref(), r.start_ts);
    let ranges: Vec<_> = r.ranges.iter().map(|keys| range(&keys.start, &keys.end)).collect();
    let view = match s.storage.view(&context(r.context.as_ref()), &ranges, params).await {
        Ok(view) => view,
        Err(CommandError::Region(e)) => {
            return CopResponse { region_error: Some(error_to_proto(&e)), ..Default::default() };
        }
        Err(CommandError::Txn(TxnError::Mvcc(MvccError::KeyIsLocked(info)))) => {
            return CopResponse { locked: Some(convert::lock_info(*info)), ..Default::default() };
        }
        Err(e) => {
            let other_error = e.to_string();
            let below_safe_point = match e {
                CommandError::Txn(TxnError::BelowSafePoint { ts, safe_point }) => {
                    Some(convert::below_safe_point(ts, safe_point))
                }
                _ => None,
            };
            return CopResponse { other_error, below_safe_point, ..Default::default() };
        }
    };
    let coprocessor = s.coprocessor.clone();
    let is_short = is_short_scan(&r);
    let work = move || {
        let _slot = slot;
        coprocessor.handle(&r, &view)
    };
    // A panic is this request's alone, on whichever thread.
    let response = match is_short {
        true => std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok(),
        false => tokio::task::spawn_blocking(work).await.ok(),
    };
    response.unwrap_or_else(|| {
        tracing::error!("coprocessor request failed");
        CopResponse { other_error: "the coprocessor failed on this request".into(), ..Default::default() }
    })
}

/// Whether the request reads so few rows that another thread would cost more than the work.
pub(super) fn is_short_scan(r: &CopRequest) -> bool {
    let mut rows_max = 0u64;
    r.ranges.iter().all(|range| {
        rows_max = rows_max.saturating_add(handles_between(&range.start, &range.end).unwrap_or(u64::MAX));
        rows_max <= SHORT_SCAN_ROWS_MAX
    })
}

/// How many row handles there are between two keys; none if that is not plain to see.
fn handles_between(start: &[u8], end: &[u8]) -> Option<u64> {
    let first = table::decode_handle(start).ok()?;
    if end.strip_prefix(start) == Some(&[0]) {
        return Some(1);
    }
    let last = table::decode_handle(end.get(..RECORD_KEY_LEN)?).ok()?;
    let (Handle::Int(first), Handle::Int(last)) = (first, last) else { return None };
    // What follows the last handle only lets it in.
    let bounds = u64::from(end.len() > RECORD_KEY_LEN);
    let same_table = start[..table::PREFIX_LEN] == end[..table::PREFIX_LEN];
    (same_table && first <= last).then(|| last.abs_diff(first).saturating_add(bounds))
}
