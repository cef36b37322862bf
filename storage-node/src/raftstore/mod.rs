//! The multi-Raft store.

pub mod convert;
