//! Placement Driver: metadata store, TSO, placement rules, schedulers.
//!
//! ```text
//!   clients ─► server (pdpb.PD, HTTP) ─► leader ─► tso, cluster, placement, schedule      one member leads
//!                                          │
//!                                          └─► kv (etcd-client) ─► metastore (embedded) or an external etcd
//! ```
//!
//! [`Pd::start`] runs a member on listeners that the caller gives it. Members elect a leader by a key with a lease
//! ([`election`]); only the leader serves timestamps and scheduling ([`leader`]), the others name it.
//!
//! Not here: user data, SQL. Read next: [`pd`], then [`metastore`] for the bottom and [`server`] for the top.

pub mod cluster;
pub mod config;
pub mod election;
pub mod kv;
pub mod leader;
pub mod metastore;
mod metrics;
pub mod pd;
pub mod placement;
pub mod schedule;
pub mod server;
pub mod tso;

pub use config::Config;
pub use pd::{Listeners, Pd, StartError};
