//! Meridian's SQL server: the MySQL protocol in front, the key-value client behind.
//!
//! A statement's way: [`wire`] reads a packet → [`session`] holds the connection's state and runs one statement at a
//! time → [`sql_parser`] turns text into a [`Statement`](sql_parser::Statement) → the executor, the DDL part or the session itself do it →
//! [`wire`] writes the [`Outcome`](sql_base::outcome::Outcome).
//!
//! The server is stateless: everything durable is in the storage nodes, everything shared in PD.

pub mod admin;
pub mod config;
mod metrics;
pub mod server;
pub mod session;
pub mod wire;
