//! Meridian's SQL server: the MySQL protocol in front, the SQL tier's crates behind.
//!
//! A statement's way: [`wire`] reads a packet → [`sql_parser`] turns text into a [`sql_parser::Statement`] →
//! [`session`] holds the connection's state and runs one statement at a time → `sql-exec`, `sql-ddl`, [`admin`] or the
//! session itself do it → [`wire`] writes the [`sql_base::outcome::Outcome`].
//!
//! ```text
//!   listen ─▶ status                 sockets; who is let in; the server's life
//!     └─▶ wire ─▶ session ─▶ admin   packets; statements; SHOW, information_schema, ADMIN
//!           └───────┴──────────┴─▶ cluster ─▶ accounts, config, metrics
//! ```
//!
//! Rooms name only rooms further down (`tests/tidy` holds them to it). The server is stateless: everything durable is
//! in the storage nodes, everything shared in PD.
//!
//! Not here: what SQL means. Parsing, planning, running and changing definitions are crates of their own.

pub mod accounts;
pub mod admin;
pub mod cluster;
pub mod config;
pub mod listen;
mod metrics;
pub mod session;
pub mod status;
pub mod wire;
