//! Versions of a key in the engine: `encode_bytes(user_key) ++ !ts` (big endian), so newer versions come first.

use crate::timestamp::Timestamp;
use crate::{Error, Result, bytes, number};

/// Length of the timestamp at the end of a versioned key.
pub const TS_LEN: usize = 8;

/// Appends the timestamp to an encoded key, descending.
pub fn append_ts(encoded: &mut Vec<u8>, ts: Timestamp) {
    number::encode_u64_desc(encoded, ts.0);
}

/// `encode_bytes(user_key) ++ !ts`.
pub fn versioned(user_key: &[u8], ts: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes::encoded_len(user_key.len()) + TS_LEN);
    bytes::encode_bytes(&mut out, user_key);
    append_ts(&mut out, ts);
    out
}

/// The encoded key and the timestamp of a versioned key.
pub fn split_ts(versioned: &[u8]) -> Result<(&[u8], Timestamp)> {
    let (key, ts) = versioned.split_last_chunk::<TS_LEN>().ok_or(Error::Eof("timestamp of a key"))?;
    Ok((key, Timestamp(!u64::from_be_bytes(*ts))))
}

/// The timestamp of a versioned key.
pub fn decode_ts(versioned: &[u8]) -> Result<Timestamp> {
    split_ts(versioned).map(|(_, ts)| ts)
}

/// The user key of an encoded key; nothing may follow.
pub fn decode_user_key(encoded: &[u8]) -> Result<Vec<u8>> {
    let mut data = encoded;
    let key = bytes::decode_bytes(&mut data)?;
    if data.is_empty() { Ok(key) } else { Err(Error::Invalid("key")) }
}

/// The smallest key after every key that starts with `prefix`: the prefix plus one. Empty when there is none (unbounded).
pub fn prefix_next(prefix: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    while let Some(last) = out.last_mut() {
        if *last < 0xff {
            *last += 1;
            return out;
        }
        out.pop();
    }
    out
}

/// The smallest key after `key`.
pub fn next(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.extend_from_slice(key);
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn newer_versions_sort_first(k: Vec<u8>, l: Vec<u8>, a: u64, b: u64) {
            let (x, y) = (versioned(&k, Timestamp(a)), versioned(&l, Timestamp(b)));
            prop_assert_eq!(x.cmp(&y), k.cmp(&l).then(b.cmp(&a)));
            let (e, ts) = split_ts(&x).unwrap();
            prop_assert_eq!(ts, Timestamp(a));
            prop_assert_eq!(decode_user_key(e), Ok(k));
        }

        #[test]
        fn prefix_next_bounds_the_prefix(k: Vec<u8>, tail: Vec<u8>) {
            let end = prefix_next(&k);
            let mut inside = k.clone();
            inside.extend(tail);
            prop_assert!(end.is_empty() || (inside < end && end > k));
        }
    }
}
