//! Keys, rows, datums and timestamps, byte-compatible with TiDB.
//!
//! Everything that both the SQL tier and the storage tier must agree on to the byte lives here, and nothing else: no
//! network, no clock, no expression. Reading order:
//!
//! 1. [`types`]: the type of a column (`FieldType`), collations and their sort keys;
//! 2. [`datum`]: one value, and its self-describing encodings ([`datum::encode_key`] sorts, [`datum::encode_value`] is
//!    compact);
//! 3. [`decimal`], [`time`], [`json`]: the values that Rust has no type for;
//! 4. [`number`], [`bytes`]: the primitives under every key;
//! 5. [`table`], [`meta`]: where rows, index entries and schema objects live in the key space;
//! 6. [`row`]: the bytes of one row;
//! 7. [`key`], [`timestamp`]: versions of a key.
//!
//! Nothing here panics on bytes from outside: decoding returns [`Error`].

pub mod bytes;
pub mod charset;
pub mod datum;
pub mod decimal;
pub mod json;
pub mod key;
pub mod meta;
pub mod number;
pub mod row;
pub mod table;
pub mod time;
pub mod timestamp;
pub mod types;

/// Why bytes could not be decoded, or a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the encoding promises.
    #[error("insufficient bytes to decode {0}")]
    Eof(&'static str),
    /// Bytes that no encoder of this format writes.
    #[error("invalid encoding of {0}")]
    Invalid(&'static str),
    /// A value outside what its type can hold.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

/// Result of decoding.
pub type Result<T> = std::result::Result<T, Error>;
