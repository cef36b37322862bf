//! What every part of the SQL tier speaks.
//!
//! - [`SqlError`]: all that can go wrong with a statement, in MySQL's words, with MySQL's numbers (`errno`);
//! - [`outcome`]: what a statement gives back, before it is packets;
//! - [`Interrupt`]: how others end what a session does;
//! - [`memory`]: what statements hold, and what they may;
//! - [`hex`] and [`unhex`]: bytes as text, where the catalogue, literals and PD's interface hold them so.
//!
//! May import `codec`, `query`, and `kv-client` for nothing but its error, which becomes a [`SqlError`] here because
//! Rust wants the conversion beside one of the two types.
//!
//! Not here: anything that runs. No statement, schema, session or packet is known.

mod errno;
mod error;
mod hex;
mod interrupt;
pub mod memory;
pub mod outcome;
mod partition;

pub use error::{FileWork, SqlError};
pub use hex::{hex, unhex};
pub use interrupt::Interrupt;
pub use partition::PartitionError;
