//! Placement Driver: metadata store, TSO, placement rules, schedulers.

pub mod cluster;
pub mod placement;
pub mod schedule;
