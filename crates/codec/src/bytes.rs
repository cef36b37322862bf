//! Byte strings as bytes: memcomparable groups and length-prefixed.
//!
//! The memcomparable form cuts the string into groups of eight, pads the last with zeros, and ends each group with a
//! marker: `0xff` when another group follows, `0xff - padding` in the last. A string that is a prefix of another ends
//! with a smaller marker, so it sorts first, and no terminator needs escaping.
//!
//! ```
//! let mut out = Vec::new();
//! codec::bytes::encode_bytes(&mut out, b"abc");
//! assert_eq!(out, [b'a', b'b', b'c', 0, 0, 0, 0, 0, 0xff - 5]);
//! ```

use crate::{Error, Result, number};

const GROUP: usize = 8;
const MARKER: u8 = 0xff;

/// Length of the memcomparable form of `n` bytes.
pub fn encoded_len(n: usize) -> usize {
    (n / GROUP + 1) * (GROUP + 1)
}

/// Appends the memcomparable form.
pub fn encode_bytes(buf: &mut Vec<u8>, data: &[u8]) {
    buf.reserve(encoded_len(data.len()));
    let mut groups = data.chunks_exact(GROUP);
    for group in &mut groups {
        buf.extend_from_slice(group);
        buf.push(MARKER);
    }
    let last = groups.remainder();
    let pad = GROUP - last.len();
    buf.extend_from_slice(last);
    buf.extend_from_slice(&[0; GROUP][..pad]);
    buf.push(MARKER - pad as u8);
}

/// The memcomparable form, alone.
pub fn encoded(data: &[u8]) -> Vec<u8> {
    let mut buf = Vec::with_capacity(encoded_len(data.len()));
    encode_bytes(&mut buf, data);
    buf
}

/// Appends the memcomparable form with every bit flipped, which sorts in descending order.
pub fn encode_bytes_desc(buf: &mut Vec<u8>, data: &[u8]) {
    let start = buf.len();
    encode_bytes(buf, data);
    for b in &mut buf[start..] {
        *b = !*b;
    }
}

/// Takes one memcomparable string from the front.
pub fn decode_bytes(data: &mut &[u8]) -> Result<Vec<u8>> {
    decode(data, 0)
}

/// Takes one string of [`encode_bytes_desc`] from the front.
pub fn decode_bytes_desc(data: &mut &[u8]) -> Result<Vec<u8>> {
    decode(data, 0xff)
}

/// Bytes that the memcomparable string at the front occupies.
pub fn skip_len(data: &[u8]) -> Result<usize> {
    let mut at = GROUP;
    loop {
        match data.get(at) {
            None => return Err(Error::Eof("bytes")),
            Some(&MARKER) => at += GROUP + 1,
            Some(_) => return Ok(at + 1),
        }
    }
}

fn decode(data: &mut &[u8], flip: u8) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    loop {
        let (group, rest) = data.split_first_chunk::<{ GROUP + 1 }>().ok_or(Error::Eof("bytes"))?;
        *data = rest;
        let pad = usize::from(MARKER - (group[GROUP] ^ flip));
        if pad > GROUP {
            return Err(Error::Invalid("bytes"));
        }
        let (real, padding) = group[..GROUP].split_at(GROUP - pad);
        out.extend(real.iter().map(|b| b ^ flip));
        if pad > 0 {
            if padding.iter().any(|b| *b != flip) {
                return Err(Error::Invalid("bytes"));
            }
            return Ok(out);
        }
    }
}

/// Appends length (zigzag, as TiDB) and bytes.
pub fn encode_compact_bytes(buf: &mut Vec<u8>, data: &[u8]) {
    number::encode_varint(buf, data.len() as i64);
    buf.extend_from_slice(data);
}

/// Takes the bytes of [`encode_compact_bytes`].
pub fn decode_compact_bytes<'a>(data: &mut &'a [u8]) -> Result<&'a [u8]> {
    let n = number::decode_varint(data)?;
    let n = usize::try_from(n).map_err(|_| Error::Invalid("length of bytes"))?;
    let (head, rest) = data.split_at_checked(n).ok_or(Error::Eof("bytes"))?;
    *data = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(b""), [0, 0, 0, 0, 0, 0, 0, 0, 247]);
        assert_eq!(encoded(&[1, 2, 3]), [1, 2, 3, 0, 0, 0, 0, 0, 250]);
        assert_eq!(encoded(&[1, 2, 3, 0]), [1, 2, 3, 0, 0, 0, 0, 0, 251]);
        assert_eq!(encoded(&[1, 2, 3, 4, 5, 6, 7, 8]), [1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 0, 0, 0, 0, 0, 0, 0, 247]);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        assert_eq!(decode_bytes(&mut &[1_u8, 2, 3][..]), Err(Error::Eof("bytes")));
        assert_eq!(decode_bytes(&mut &[1, 2, 3, 0, 0, 0, 0, 1, 250][..]), Err(Error::Invalid("bytes")));
        assert_eq!(decode_bytes(&mut &[1, 2, 3, 0, 0, 0, 0, 0, 240][..]), Err(Error::Invalid("bytes")));
    }

    proptest! {
        #[test]
        fn encoded_order_is_value_order(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
            let (mut x, mut y) = (Vec::new(), Vec::new());
            encode_bytes_desc(&mut x, &a);
            encode_bytes_desc(&mut y, &b);
            prop_assert_eq!(x.cmp(&y), b.cmp(&a));
        }

        #[test]
        fn decoding_inverts_encoding(a: Vec<u8>, tail: Vec<u8>) {
            let mut e = encoded(&a);
            prop_assert_eq!(e.len(), encoded_len(a.len()));
            prop_assert_eq!(skip_len(&e), Ok(e.len()));
            e.extend_from_slice(&tail);
            let mut d = &e[..];
            prop_assert_eq!(decode_bytes(&mut d), Ok(a.clone()));
            prop_assert_eq!(d, &tail[..]);
            let mut e = Vec::new();
            encode_bytes_desc(&mut e, &a);
            encode_compact_bytes(&mut e, &a);
            let mut d = &e[..];
            prop_assert_eq!(decode_bytes_desc(&mut d), Ok(a.clone()));
            prop_assert_eq!(decode_compact_bytes(&mut d), Ok(&a[..]));
        }

        #[test]
        fn any_bytes_decode_or_fail(a: Vec<u8>) {
            let _ = decode_bytes(&mut &a[..]);
            let _ = decode_compact_bytes(&mut &a[..]);
            let _ = skip_len(&a);
        }
    }
}
