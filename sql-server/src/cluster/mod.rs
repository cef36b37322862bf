//! What the sessions of a server share: its part in the cluster, its connections, its settings.
//!
//! [`Server`] is there from the start, [`connect`] gives it the key-value client and the schema once the cluster is
//! reached, [`connections`] are what others see of a session, [`statements`] what its
//! statements took. Statements know of it what [`sql_context::Services`]
//! says.
//!
//! Not here: sockets (`listen`), packets (`wire`), statements (`session`).

pub mod connect;
pub mod connections;
mod server;
pub mod statements;

pub use connections::{Activity, ConnectionInfo, Connections, OpenConnection};
pub use server::Server;
pub use statements::{Slow, Statements, Took};
