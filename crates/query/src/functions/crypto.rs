//! Digests, encryption, compression, random bytes.

use std::io::{Read, Write};

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use codec::datum::Datum;

use super::args::*;
use crate::context::EvalContext;
use crate::digest;
use crate::error::{EvalError, Result, Warning};
use crate::expr::Call;
use crate::expr::function::{Arg, Function, Group, Ret, RowKernel};

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Crypto, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    of("md5", (1, 1), &[Arg::Str], Ret::Ascii(32), |c, v, _| bytes(digest::md5(&encoded(c, v)))),
    of("sha1", (1, 1), &[Arg::Str], Ret::Ascii(40), |c, v, _| bytes(digest::sha1(&encoded(c, v)))).alias(&["sha"]),
    of("sha2", (2, 2), &[Arg::Str, Arg::Int], Ret::Ascii(128), |c, v, _| {
        or_null(digest::sha2(&encoded(c, v), int(&v[1])).map(Datum::Bytes))
    }),
    of("random_bytes", (1, 1), &[Arg::Int], Ret::Binary, |c, v, ctx| {
        let n = int(&v[0]);
        if !(1..=1024).contains(&n) {
            return Err(EvalError::OutOfRange { ty: "length".into(), expr: c.func.name().into() });
        }
        let words = (0..n.div_euclid(8) + 1).flat_map(|_| ctx.next_random().to_le_bytes());
        bytes(words.take(n as usize).collect::<Vec<u8>>())
    })
    .volatile(),
    // In the mode that MySQL starts with, aes-128-ecb, which takes no initialization vector and ignores one.
    of("aes_encrypt", (2, 3), &[Arg::Str], Ret::Binary, |_, v, _| bytes(aes_encrypt(text(&v[0]), text(&v[1])))),
    of("aes_decrypt", (2, 3), &[Arg::Str], Ret::Binary, |_, v, _| {
        or_null(aes_decrypt(text(&v[0]), text(&v[1])).map(Datum::Bytes))
    }),
    of("compress", (1, 1), &[Arg::Str], Ret::Binary, |_, v, _| bytes(compress(text(&v[0])))),
    of("uncompress", (1, 1), &[Arg::Str], Ret::Binary, uncompress),
    of("uncompressed_length", (1, 1), &[Arg::Str], Ret::Int, |_, v, x| match text(&v[0]) {
        [] => integer(0),
        [a, b, c, d, _, ..] => integer((u32::from_le_bytes([*a, *b, *c, *d]) & LENGTH_MASK).into()),
        _ => corrupted(x).map(|_| Datum::Int(0)),
    }),
    of("validate_password_strength", (1, 1), &[Arg::Str], Ret::Int, |_, v, _| {
        let password = lossy(&v[0]);
        let has = |f: fn(char) -> bool| password.chars().any(f);
        let mixed = has(char::is_lowercase) && has(char::is_uppercase);
        integer(match password.chars().count() {
            0..4 => 0,
            4..8 => 25,
            // No file of words is known here: all that is not in it is strong.
            _ if mixed && has(|c| c.is_ascii_digit()) && has(|c| !c.is_alphanumeric()) => 100,
            _ => 50,
        })
    }),
];

/// MySQL folds a key of any length into as many bytes as the cipher wants.
fn cipher(key: &[u8]) -> aes::Aes128 {
    let mut folded = [0_u8; 16];
    for (i, b) in key.iter().enumerate() {
        folded[i % 16] ^= b;
    }
    aes::Aes128::new(&folded.into())
}

fn aes_encrypt(data: &[u8], key: &[u8]) -> Vec<u8> {
    let cipher = cipher(key);
    let padding = 16 - data.len() % 16;
    let mut out = data.to_vec();
    out.resize(data.len() + padding, padding as u8);
    out.chunks_exact_mut(16).for_each(|block| cipher.encrypt_block(GenericArray::from_mut_slice(block)));
    out
}

fn aes_decrypt(data: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    if data.is_empty() || !data.len().is_multiple_of(16) {
        return None;
    }
    let cipher = cipher(key);
    let mut out = data.to_vec();
    out.chunks_exact_mut(16).for_each(|block| cipher.decrypt_block(GenericArray::from_mut_slice(block)));
    let padding = usize::from(*out.last()?);
    let end = out.len().checked_sub(padding).filter(|_| (1..=16).contains(&padding))?;
    if out[end..].iter().any(|b| usize::from(*b) != padding) {
        return None;
    }
    out.truncate(end);
    Some(out)
}

/// The two highest bits of a length are no part of it.
const LENGTH_MASK: u32 = 0x3fff_ffff;

/// The length in four bytes, then a zlib stream. Nothing stays nothing; a dot keeps a last space from being trimmed.
fn compress(data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return Vec::new();
    }
    let mut encoder =
        flate2::write::ZlibEncoder::new((data.len() as u32).to_le_bytes().to_vec(), flate2::Compression::default());
    // Writing to memory does not fail.
    let mut out = encoder.write_all(data).and_then(|()| encoder.finish()).unwrap_or_default();
    if out.last() == Some(&b' ') {
        out.push(b'.');
    }
    out
}

fn corrupted(ctx: &mut EvalContext) -> Result<Datum> {
    ctx.warn(Warning { code: 1259, message: "ZLIB: Input data corrupted".into() });
    NULL
}

fn uncompress(_: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let (length, stream) = match text(&v[0]) {
        [] => return bytes([]),
        [a, b, c, d, stream @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) & LENGTH_MASK, stream),
        _ => return corrupted(ctx),
    };
    if u64::from(length) > ctx.max_allowed_packet {
        let message = format!(
            "Uncompressed data size too large; the maximum size is {} (probably, length of uncompressed data was corrupted)",
            ctx.max_allowed_packet
        );
        ctx.warn(Warning { code: 1256, message });
        return NULL;
    }
    let mut out = Vec::new();
    let read = flate2::read::ZlibDecoder::new(stream).take(u64::from(length) + 1).read_to_end(&mut out);
    if read.is_err() || out.len() != length as usize { corrupted(ctx) } else { bytes(out) }
}
