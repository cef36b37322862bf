//! The tests that cross tiers, in one program: what they all link, clusters and clients, is compiled once.

mod analyze;
mod auto_ids;
mod bad_input;
mod column_changes;
mod connections;
mod differential;
mod faults;
mod formats;
mod gc;
mod global_variables;
mod golden;
mod kv;
mod partition_changes;
mod placement_rules;
mod playground_commands;
mod playground_scenario;
mod simulation;
mod statistics;
mod storage_kill;
mod tikv_client;
mod user_locks;
mod wan;
mod without_a_cluster;
