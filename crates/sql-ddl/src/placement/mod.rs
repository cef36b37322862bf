//! Placement policies: from the options of the SQL statement to the rules that PD schedules by.
//!
//! ```text
//!   CREATE PLACEMENT POLICY p PRIMARY_REGION=.. REGIONS=..      settings   stored in the catalogue
//!   ALTER TABLE t PLACEMENT POLICY p                            bundle     TiDB_DDL_<table id>: rules over the
//!                                                                          table's key range, pushed to PD
//!   SHOW PLACEMENT                                              state      asked of PD, range by range
//! ```
//!
//! [`settings`] and [`rules`] are pure; [`pd`] speaks HTTP to PD. Texts of errors are TiDB's, because clients match them.

pub mod pd;
pub mod rules;
pub mod settings;

pub use rules::{Bundle, Rule, range_bundle, table_group};
pub use settings::{parse_options, render};
