//! Storage node: multi-Raft store, MVCC and transactions, coprocessor.

pub mod bare;
pub mod config;
pub mod coprocessor;
pub mod gc;
pub mod mvcc;
pub mod node;
pub mod raftstore;
pub mod replication;
pub mod server;
pub mod txn;
