//! MySQL's client/server protocol: packets, connection phase, command loop, result sets.

pub mod errno;
