//! Hashes that SQL functions return: MD5 (RFC 1321), SHA-1, SHA-2, and lower-case hexadecimal.

use sha2::Digest;

/// Lower-case hexadecimal digits.
pub fn hex_lower(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    for b in bytes {
        for n in [b >> 4, b & 15] {
            out.push(b"0123456789abcdef"[usize::from(n)]);
        }
    }
    out
}

/// `SHA1(data)`.
pub fn sha1(data: &[u8]) -> Vec<u8> {
    hex_lower(&<sha1::Sha1 as sha1::Digest>::digest(data))
}

/// `SHA2(data, bits)`; `None` for lengths that do not exist.
pub fn sha2(data: &[u8], bits: i64) -> Option<Vec<u8>> {
    Some(match bits {
        224 => hex_lower(&sha2::Sha224::digest(data)),
        0 | 256 => hex_lower(&sha2::Sha256::digest(data)),
        384 => hex_lower(&sha2::Sha384::digest(data)),
        512 => hex_lower(&sha2::Sha512::digest(data)),
        _ => return None,
    })
}

/// `CRC32(data)`.
pub fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// `MD5(data)`.
pub fn md5(data: &[u8]) -> Vec<u8> {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut message = data.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64) + if message.len() % 64 > 56 { 64 } else { 0 } - 8, 0);
    message.extend_from_slice(&(data.len() as u64).wrapping_mul(8).to_le_bytes());
    for block in message.chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes([block[i * 4], block[i * 4 + 1], block[i * 4 + 2], block[i * 4 + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64_usize {
            let (f, g) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let k = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(f).wrapping_add(k).wrapping_add(word(g));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4])));
        }
        for (s, v) in state.iter_mut().zip([a, b, c, d]) {
            *s = s.wrapping_add(v);
        }
    }
    hex_lower(&state.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(md5(b""), b"d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5(b"abc"), b"900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5(&[b'1'; 56]).len(), 32);
        assert_eq!(
            md5(b"12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            b"57edf4a22be3c955ac49da2e2107b67a"
        );
        assert_eq!(sha1(b"abc"), b"a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(sha2(b"", 100).is_none());
    }
}
