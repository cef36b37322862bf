//! MySQL's client/server protocol.
//!
//! [`packet`] frames bytes, [`handshake`] logs a client in (by [`crate::accounts::auth`]), [`connection`] runs its
//! commands, [`alive`] watches for its end meanwhile, [`response`] and [`value`] write what comes back. All but `connection` and `tls` are values: bytes in,
//! bytes out.

pub mod alive;
pub mod connection;
pub mod handshake;
pub mod packet;
pub mod response;
pub mod tls;
pub mod value;

#[cfg(test)]
mod tests;
