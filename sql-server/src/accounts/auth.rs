//! Proving that a client knows a password, without either side sending it.
//!
//! | plugin | client sends | server keeps |
//! |---|---|---|
//! | `mysql_native_password` | `SHA1(p) ^ SHA1(nonce + SHA1(SHA1(p)))` | `SHA1(SHA1(p))` |
//! | `caching_sha2_password` | `SHA256(p) ^ SHA256(SHA256(SHA256(p)) + nonce)` | `SHA256(SHA256(p))` |
//!
//! An account without a password accepts an empty answer under any plugin. The second plugin's "full" exchange, for a
//! server that keeps only a salted hash, isn't needed here: accounts keep the verifier of the fast one.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes of nonce in the greeting.
pub const NONCE_BYTES: usize = 20;

/// How a client may prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// `mysql_native_password`.
    Native,
    /// `caching_sha2_password`.
    CachingSha2,
}

impl Plugin {
    /// The plugin's name.
    pub fn name(self) -> &'static str {
        match self {
            Plugin::Native => "mysql_native_password",
            Plugin::CachingSha2 => "caching_sha2_password",
        }
    }

    /// The plugin with this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Plugin::Native, Plugin::CachingSha2].into_iter().find(|p| p.name().as_bytes() == name)
    }
}

/// What the server keeps of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verifier {
    /// No password.
    Empty,
    /// `SHA1(SHA1(p))`.
    Native([u8; 20]),
    /// `SHA256(SHA256(p))`.
    CachingSha2([u8; 32]),
}

impl Verifier {
    /// The verifier of a password under a plugin.
    pub fn of_password(plugin: Plugin, password: &[u8]) -> Self {
        if password.is_empty() {
            return Verifier::Empty;
        }
        match plugin {
            Plugin::Native => Verifier::Native(sha1(&[&sha1(&[password])])),
            Plugin::CachingSha2 => Verifier::CachingSha2(sha256(&[&sha256(&[password])])),
        }
    }

    /// The plugin that this verifier needs, if it needs one.
    pub fn plugin(&self) -> Option<Plugin> {
        match self {
            Verifier::Empty => None,
            Verifier::Native(_) => Some(Plugin::Native),
            Verifier::CachingSha2(_) => Some(Plugin::CachingSha2),
        }
    }

    /// Does the answer to the nonce prove the password?
    pub fn accepts(&self, nonce: &[u8], answer: &[u8]) -> bool {
        // Some clients send an empty password as one zero byte.
        let empty = answer.is_empty() || answer == [0];
        match self {
            Verifier::Empty => empty,
            Verifier::Native(stored) => match <[u8; 20]>::try_from(answer) {
                Ok(answer) => {
                    let hash = xor(answer, sha1(&[nonce, stored]));
                    equal(&sha1(&[&hash]), stored)
                }
                Err(_) => false,
            },
            Verifier::CachingSha2(stored) => match <[u8; 32]>::try_from(answer) {
                Ok(answer) => {
                    let hash = xor(answer, sha256(&[stored, nonce]));
                    equal(&sha256(&[&hash]), stored)
                }
                Err(_) => false,
            },
        }
    }
}

/// A fresh nonce: printable, without zero bytes, as clients written in C expect.
pub fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce: [u8; NONCE_BYTES] = rand::random();
    for byte in &mut nonce {
        *byte = 33 + *byte % 93;
        if *byte == b'$' {
            *byte += 1;
        }
    }
    nonce
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    parts.iter().for_each(|p| hasher.update(p));
    hasher.finalize().into()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|p| hasher.update(p));
    hasher.finalize().into()
}

fn xor<const N: usize>(mut a: [u8; N], b: [u8; N]) -> [u8; N] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    a
}

/// Compares in the same time wherever the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    // What a client computes, written from its side.
    fn client_native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
        let hash = sha1(&[password]);
        xor(hash, sha1(&[nonce, &sha1(&[&hash])])).to_vec()
    }

    fn client_sha2(password: &[u8], nonce: &[u8]) -> Vec<u8> {
        let hash = sha256(&[password]);
        xor(hash, sha256(&[&sha256(&[&hash]), nonce])).to_vec()
    }

    #[test]
    fn the_right_password_and_nothing_else() {
        let nonce = nonce();
        let native = Verifier::of_password(Plugin::Native, b"secret");
        assert!(native.accepts(&nonce, &client_native(b"secret", &nonce)));
        assert!(!native.accepts(&nonce, &client_native(b"Secret", &nonce)));
        assert!(!native.accepts(&nonce, b""));
        let sha2 = Verifier::of_password(Plugin::CachingSha2, b"secret");
        assert!(sha2.accepts(&nonce, &client_sha2(b"secret", &nonce)));
        assert!(!sha2.accepts(&nonce, &client_sha2(b"secret", b"another nonce, older")));
        assert!(!sha2.accepts(&nonce, &client_native(b"secret", &nonce)));
        assert!(Verifier::Empty.accepts(&nonce, b""));
        assert!(Verifier::Empty.accepts(&nonce, &[0]));
        assert!(!Verifier::Empty.accepts(&nonce, &client_native(b"x", &nonce)));
    }

    #[test]
    fn the_library_agrees() {
        let nonce = nonce();
        let native = mysql_common::scramble::scramble_native(&nonce, b"secret").unwrap();
        assert!(Verifier::of_password(Plugin::Native, b"secret").accepts(&nonce, &native));
        let sha2 = mysql_common::scramble::scramble_sha256(&nonce, b"secret").unwrap();
        assert!(Verifier::of_password(Plugin::CachingSha2, b"secret").accepts(&nonce, &sha2));
    }

    #[test]
    fn nonces_are_printable() {
        for _ in 0..200 {
            assert!(nonce().iter().all(|b| (33..=126).contains(b)));
        }
    }
}
