//! Storage node: multi-Raft store, MVCC and transactions, coprocessor.

pub mod config;
pub mod mvcc;
pub mod raftstore;
pub mod replication;
