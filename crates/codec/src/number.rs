//! Numbers as bytes: memcomparable (eight bytes, big endian) and compact (variable length).

use crate::{Error, Result};

const SIGN: u64 = 1 << 63;

/// Maps signed order onto unsigned order.
pub fn int_to_ordered(v: i64) -> u64 {
    v as u64 ^ SIGN
}

/// Inverse of [`int_to_ordered`].
pub fn ordered_to_int(u: u64) -> i64 {
    (u ^ SIGN) as i64
}

/// Maps float order onto unsigned order.
pub fn float_to_ordered(v: f64) -> u64 {
    // Negative zero equals zero, so it must encode like zero.
    let bits = (if v == 0.0 { 0.0 } else { v }).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// Inverse of [`float_to_ordered`].
pub fn ordered_to_float(u: u64) -> f64 {
    f64::from_bits(if u & SIGN != 0 { u & !SIGN } else { !u })
}

/// Appends eight bytes that sort as the number.
pub fn encode_i64(buf: &mut Vec<u8>, v: i64) {
    buf.extend_from_slice(&int_to_ordered(v).to_be_bytes());
}

/// Appends eight bytes that sort as the number.
pub fn encode_u64(buf: &mut Vec<u8>, v: u64) {
    buf.extend_from_slice(&v.to_be_bytes());
}

/// Appends eight bytes that sort opposite to the number.
pub fn encode_u64_desc(buf: &mut Vec<u8>, v: u64) {
    buf.extend_from_slice(&(!v).to_be_bytes());
}

/// Appends eight bytes that sort as the number.
pub fn encode_f64(buf: &mut Vec<u8>, v: f64) {
    encode_u64(buf, float_to_ordered(v));
}

/// Takes the eight bytes of [`encode_i64`].
pub fn decode_i64(data: &mut &[u8]) -> Result<i64> {
    decode_u64(data).map(ordered_to_int)
}

/// Takes the eight bytes of [`encode_u64`].
pub fn decode_u64(data: &mut &[u8]) -> Result<u64> {
    let (head, rest) = data.split_first_chunk::<8>().ok_or(Error::Eof("number"))?;
    *data = rest;
    Ok(u64::from_be_bytes(*head))
}

/// Takes the eight bytes of [`encode_u64_desc`].
pub fn decode_u64_desc(data: &mut &[u8]) -> Result<u64> {
    decode_u64(data).map(|v| !v)
}

/// Takes the eight bytes of [`encode_f64`].
pub fn decode_f64(data: &mut &[u8]) -> Result<f64> {
    decode_u64(data).map(ordered_to_float)
}

/// Appends an unsigned LEB128 number.
pub fn encode_uvarint(buf: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        buf.push(v as u8 | 0x80);
        v >>= 7;
    }
    buf.push(v as u8);
}

/// Appends a zigzag LEB128 number.
pub fn encode_varint(buf: &mut Vec<u8>, v: i64) {
    encode_uvarint(buf, ((v << 1) ^ (v >> 63)) as u64);
}

/// Takes an unsigned LEB128 number.
pub fn decode_uvarint(data: &mut &[u8]) -> Result<u64> {
    let mut v = 0_u64;
    for (i, &b) in data.iter().enumerate() {
        if i == 10 || (i == 9 && b > 1) {
            return Err(Error::Invalid("variable length number"));
        }
        v |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            *data = &data[i + 1..];
            return Ok(v);
        }
    }
    Err(Error::Eof("variable length number"))
}

/// Takes a zigzag LEB128 number.
pub fn decode_varint(data: &mut &[u8]) -> Result<i64> {
    decode_uvarint(data).map(|u| (u >> 1) as i64 ^ -((u & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let mut b = Vec::new();
        encode_i64(&mut b, 1);
        assert_eq!(b, [0x80, 0, 0, 0, 0, 0, 0, 1]);
        b.clear();
        encode_varint(&mut b, -3);
        assert_eq!(b, [5]);
        b.clear();
        encode_uvarint(&mut b, 300);
        assert_eq!(b, [0xac, 2]);
    }

    proptest! {
        #[test]
        fn encoded_order_is_value_order(a: i64, b: i64, c: u64, d: u64, x: f64, y: f64) {
            let enc = |f: &dyn Fn(&mut Vec<u8>)| { let mut v = Vec::new(); f(&mut v); v };
            prop_assert_eq!(enc(&|v| encode_i64(v, a)).cmp(&enc(&|v| encode_i64(v, b))), a.cmp(&b));
            prop_assert_eq!(enc(&|v| encode_u64(v, c)).cmp(&enc(&|v| encode_u64(v, d))), c.cmp(&d));
            prop_assert_eq!(enc(&|v| encode_u64_desc(v, c)).cmp(&enc(&|v| encode_u64_desc(v, d))), d.cmp(&c));
            prop_assume!(!x.is_nan() && !y.is_nan());
            prop_assert_eq!(Some(enc(&|v| encode_f64(v, x)).cmp(&enc(&|v| encode_f64(v, y)))), x.partial_cmp(&y));
        }

        #[test]
        fn decoding_inverts_encoding(a: i64, c: u64, x: f64) {
            let mut b = Vec::new();
            encode_i64(&mut b, a);
            encode_u64(&mut b, c);
            encode_u64_desc(&mut b, c);
            encode_f64(&mut b, x);
            encode_varint(&mut b, a);
            encode_uvarint(&mut b, c);
            let mut d = &b[..];
            prop_assert_eq!(decode_i64(&mut d), Ok(a));
            prop_assert_eq!(decode_u64(&mut d), Ok(c));
            prop_assert_eq!(decode_u64_desc(&mut d), Ok(c));
            prop_assert_eq!(decode_f64(&mut d).unwrap().to_bits(), if x == 0.0 { 0 } else { x.to_bits() });
            prop_assert_eq!(decode_varint(&mut d), Ok(a));
            prop_assert_eq!(decode_uvarint(&mut d), Ok(c));
            prop_assert!(d.is_empty());
        }
    }
}
