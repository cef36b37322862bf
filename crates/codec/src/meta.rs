//! Keys of schema objects: everything under `m`, laid out as TiDB's string and hash structures.
//!
//! ```text
//! string   m ++ encode_bytes(key) ++ u64('s')
//! hash     m ++ encode_bytes(key) ++ u64('h') ++ encode_bytes(field)
//! ```
//!
//! So all fields of one hash are neighbours, in order of their names.

use crate::{Error, Result, bytes, key, number};

/// First byte of every schema key.
pub const PREFIX: u8 = b'm';

/// Key of the last used global id (databases, tables, partitions).
pub const NEXT_GLOBAL_ID: &[u8] = b"NextGlobalID";
/// Key of the schema version.
pub const SCHEMA_VERSION: &[u8] = b"SchemaVersionKey";
/// Hash of databases: field `DB:id`.
pub const DATABASES: &[u8] = b"DBs";
/// Hash of placement policies: field `Policy:id`.
pub const POLICIES: &[u8] = b"Policies";

fn typed(name: &[u8], kind: u8) -> Vec<u8> {
    let mut k = Vec::with_capacity(1 + bytes::encoded_len(name.len()) + 8);
    k.push(PREFIX);
    bytes::encode_bytes(&mut k, name);
    number::encode_u64(&mut k, kind.into());
    k
}

/// Key of a single value.
pub fn string_key(name: &[u8]) -> Vec<u8> {
    typed(name, b's')
}

/// Prefix of all fields of a hash.
pub fn hash_prefix(name: &[u8]) -> Vec<u8> {
    typed(name, b'h')
}

/// Key of one field of a hash.
pub fn hash_key(name: &[u8], field: &[u8]) -> Vec<u8> {
    let mut k = hash_prefix(name);
    bytes::encode_bytes(&mut k, field);
    k
}

/// Range of all fields of a hash.
pub fn hash_range(name: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let start = hash_prefix(name);
    let end = key::prefix_next(&start);
    (start, end)
}

/// Hash name and field of a key of [`hash_key`].
pub fn decode_hash_key(k: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut rest = match k.split_first() {
        Some((&PREFIX, rest)) => rest,
        _ => return Err(Error::Invalid("schema key")),
    };
    let name = bytes::decode_bytes(&mut rest)?;
    if number::decode_u64(&mut rest)? != u64::from(b'h') {
        return Err(Error::Invalid("schema key"));
    }
    Ok((name, bytes::decode_bytes(&mut rest)?))
}

/// `DB:id`, both a field of [`DATABASES`] and the hash of the database's tables.
pub fn database_name(id: i64) -> Vec<u8> {
    format!("DB:{id}").into_bytes()
}

/// `Table:id`, a field of the database's hash.
pub fn table_field(id: i64) -> Vec<u8> {
    format!("Table:{id}").into_bytes()
}

/// `TID:id`, the field of the table's last used row id or auto-increment value.
pub fn auto_id_field(id: i64) -> Vec<u8> {
    format!("TID:{id}").into_bytes()
}

/// `IID:id`, the field of the table's last used AUTO_INCREMENT value where it is apart from the row id.
pub fn auto_increment_field(id: i64) -> Vec<u8> {
    format!("IID:{id}").into_bytes()
}

/// `Policy:id`, a field of [`POLICIES`].
pub fn policy_field(id: i64) -> Vec<u8> {
    format!("Policy:{id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_fields_are_neighbours_and_come_back() {
        let k = hash_key(b"DBs", b"DB:1");
        assert_eq!(&k[..10], b"mDBs\0\0\0\0\0\xfa");
        assert_eq!(&k[10..18], &[0, 0, 0, 0, 0, 0, 0, b'h']);
        assert_eq!(decode_hash_key(&k), Ok((b"DBs".to_vec(), b"DB:1".to_vec())));
        let (start, end) = hash_range(b"DBs");
        assert!(start < k && k < end);
        assert!(string_key(b"DBs") > end || string_key(b"DBs") < start);
        assert!(decode_hash_key(b"t").is_err());
    }
}
