//! Typed commands over the batched stream: which request gives which response, and where each keeps its errors.

use std::sync::LazyLock;

use net::metrics::Histogram;
use proto::{coprocessor, errorpb, kvrpcpb};

use crate::store::{RequestCmd, ResponseCmd};

/// A command to one region.
pub(crate) trait Command: Send + Sized {
    /// What the store answers.
    type Response: Reply;
    /// For messages.
    const NAME: &'static str;

    /// How long the command takes, from queue to answer.
    fn seconds() -> &'static Histogram;

    fn context_mut(&mut self) -> &mut Option<kvrpcpb::Context>;
    fn into_cmd(self) -> RequestCmd;
}

/// The answer to a command.
pub(crate) trait Reply: Send + Sized {
    fn from_cmd(cmd: ResponseCmd) -> Option<Self>;
    fn take_region_error(&mut self) -> Option<errorpb::Error>;
}

macro_rules! commands {
    ($($name:literal: $variant:ident($module:ident::$request:ident -> $response:ident)),* $(,)?) => {
        $(
            impl Command for $module::$request {
                type Response = $module::$response;
                const NAME: &'static str = $name;

                fn seconds() -> &'static Histogram {
                    static SECONDS: LazyLock<Histogram> =
                        LazyLock::new(|| crate::metrics::REQUEST_SECONDS.with_label_values(&[$name]));
                    &SECONDS
                }

                fn context_mut(&mut self) -> &mut Option<kvrpcpb::Context> {
                    &mut self.context
                }

                fn into_cmd(self) -> RequestCmd {
                    RequestCmd::$variant(self)
                }
            }

            impl Reply for $module::$response {
                fn from_cmd(cmd: ResponseCmd) -> Option<Self> {
                    match cmd {
                        ResponseCmd::$variant(response) => Some(response),
                        _ => None,
                    }
                }

                fn take_region_error(&mut self) -> Option<errorpb::Error> {
                    self.region_error.take()
                }
            }
        )*
    };
}

commands! {
    "get": Get(kvrpcpb::GetRequest -> GetResponse),
    "batch_get": BatchGet(kvrpcpb::BatchGetRequest -> BatchGetResponse),
    "scan": Scan(kvrpcpb::ScanRequest -> ScanResponse),
    "prewrite": Prewrite(kvrpcpb::PrewriteRequest -> PrewriteResponse),
    "commit": Commit(kvrpcpb::CommitRequest -> CommitResponse),
    "batch_rollback": BatchRollback(kvrpcpb::BatchRollbackRequest -> BatchRollbackResponse),
    "pessimistic_lock": PessimisticLock(kvrpcpb::PessimisticLockRequest -> PessimisticLockResponse),
    "pessimistic_rollback": PessimisticRollback(kvrpcpb::PessimisticRollbackRequest -> PessimisticRollbackResponse),
    "check_txn_status": CheckTxnStatus(kvrpcpb::CheckTxnStatusRequest -> CheckTxnStatusResponse),
    "check_secondary_locks": CheckSecondaryLocks(kvrpcpb::CheckSecondaryLocksRequest -> CheckSecondaryLocksResponse),
    "resolve_lock": ResolveLock(kvrpcpb::ResolveLockRequest -> ResolveLockResponse),
    "txn_heart_beat": TxnHeartBeat(kvrpcpb::TxnHeartBeatRequest -> TxnHeartBeatResponse),
    "scan_lock": ScanLock(kvrpcpb::ScanLockRequest -> ScanLockResponse),
    "gc": Gc(kvrpcpb::GcRequest -> GcResponse),
    "delete_range": DeleteRange(kvrpcpb::DeleteRangeRequest -> DeleteRangeResponse),
    "coprocessor": Coprocessor(coprocessor::Request -> Response),
}
