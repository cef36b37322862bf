//! Storage node: multi-Raft store, MVCC and transactions, coprocessor.

pub mod raftstore;
pub mod replication;
