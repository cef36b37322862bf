//! PD client and transactional client: what the SQL tier and tools use to reach the key space.
//!
//! ```text
//!   Transaction ── Snapshot ── coprocessor         reads, writes, pushed-down work
//!        │ commit: committer (pure), commit (its driver); resolve: others' locks; heartbeat: ours
//!   Client ── region (routes) ── backoff            which store, and what to do when it refuses
//!        │
//!   store (one batched stream per store)      pd (leader, timestamps, metadata)
//! ```
//!
//! Reading order: [`pd`], [`region`], `store`, `client`, `snapshot`, [`buffer`], [`committer`], `transaction`.
//!
//! Keys are plain user keys everywhere but in [`pd`]. Values and keys mean nothing here: rows, indexes and schema are
//! the caller's. Protobuf types stop in this crate, but for the coprocessor's plans and PD's metadata.

pub mod backoff;
pub mod buffer;
mod client;
mod commit;
pub mod committer;
mod coprocessor;
mod error;
mod gc;
mod heartbeat;
mod held;
mod live;
mod metrics;
pub mod pd;
mod private;
pub mod region;
mod request;
mod resolve;
mod snapshot;
mod store;
mod transaction;
pub mod trips;

pub use backoff::seed_jitter;
pub use buffer::{Buffer, Stage};
pub use client::{Client, ClientOptions};
pub use codec::timestamp::Timestamp;
pub use commit::CommitCheck;
pub use coprocessor::{CopRequest, KeyRange};
pub use error::{Error, Result, WaitFor};
pub use held::HeldLock;
pub use pd::{GrpcPd, PdClient, PdError};
pub use private::Private;
pub use snapshot::{KvPair, Snapshot};
pub use store::{Call, Dial, RequestCmd, ResponseCmd};
pub use transaction::{LOCK_WAIT, LockOptions, LockWait, Locked, Transaction, TxnOptions};
pub use trips::{TripCounts, Trips};
