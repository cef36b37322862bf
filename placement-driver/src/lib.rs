//! Placement Driver: metadata store, TSO, placement rules, schedulers.
