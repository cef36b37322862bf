//! Tests that cross tiers, and what they share: a cluster in one process, one of real processes, golden SQL scripts and
//! the seeded simulation.

pub mod cluster;
pub mod golden;
pub mod playground;
pub mod sim;
