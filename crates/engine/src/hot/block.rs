//! A run of neighbouring pairs, packed into one piece of memory that never changes.
//!
//! ```text
//! count u32 | end of each pair u32 × count, from the first pair on | pairs: key length u16, key, value
//! ```
//!
//! Keys ascend. What is read are slices of the piece, no copies: a value that is kept keeps its block. A changed block is
//! a new one, made by copying what stays in runs: a few hundred nanoseconds for one of [`Sizes::block`] bytes, and cheaper
//! than the counters of as many pairs that are each a piece of their own.
//!
//! [`Sizes::block`]: super::Sizes::block

use std::ops::Range;

use bytes::Bytes;

use super::Change;

/// Memory of a block beside its bytes: its handle, its counter, and what the allocator rounds up.
pub(super) const OVERHEAD_BYTES: usize = 128;

const WORD: usize = size_of::<u32>();
const KEY_LENGTH: usize = size_of::<u16>();

/// Pairs in ascending order of keys; at least one.
#[derive(Clone)]
pub(super) struct Block(Bytes);

/// What a changed block is made of.
#[derive(Clone)]
enum Piece<'a> {
    /// Pairs of the block before the change.
    Old(Range<usize>),
    /// Another pair.
    New(&'a [u8], &'a [u8]),
}

impl Block {
    /// A block of pairs, whose keys ascend; `None` of none.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Block> {
        let pieces: Vec<Piece<'a>> = pairs.map(|(key, value)| Piece::New(key, value)).collect();
        (!pieces.is_empty()).then(|| encode(None, &pieces))
    }

    fn word(&self, index: usize) -> usize {
        let at = index * WORD;
        let word = self.0[at..at + WORD].try_into().map_or(0, u32::from_le_bytes);
        word as usize
    }

    /// Pairs in it.
    pub(super) fn len(&self) -> usize {
        self.word(0)
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() + OVERHEAD_BYTES
    }

    fn pairs_at(&self) -> usize {
        (1 + self.len()) * WORD
    }

    /// Where a pair begins, counted from the first one.
    fn begin(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.word(index) }
    }

    /// Where a pair's key and value are.
    fn place(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let pairs = self.pairs_at();
        let (begin, end) = (pairs + self.begin(index), pairs + self.word(index + 1));
        let length = u16::from_le_bytes([self.0[begin], self.0[begin + 1]]);
        let value = begin + KEY_LENGTH + usize::from(length);
        (begin + KEY_LENGTH..value, value..end)
    }

    /// A key.
    pub(super) fn key(&self, index: usize) -> &[u8] {
        &self.0[self.place(index).0]
    }

    /// A pair.
    pub(super) fn pair(&self, index: usize) -> (Bytes, Bytes) {
        let (key, value) = self.place(index);
        (self.0.slice(key), self.0.slice(value))
    }

    /// A pair's value.
    pub(super) fn value(&self, index: usize) -> Bytes {
        self.0.slice(self.place(index).1)
    }

    /// The first pair at or after a key; `len` when there is none.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.lower_bound_from(0, key)
    }

    fn lower_bound_from(&self, from: usize, key: &[u8]) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The block without the pairs of a range of keys; `None` when nothing is left of it.
    pub(super) fn without(&self, pairs: Range<usize>) -> Option<Block> {
        let pieces = [Piece::Old(0..pairs.start), Piece::Old(pairs.end..self.len())];
        (pairs.len() < self.len()).then(|| encode(Some(self), &pieces))
    }

    /// The pairs of this block and of the one that follows it, in one.
    pub(super) fn joined(&self, next: &Block) -> Block {
        let mut pieces = vec![Piece::Old(0..self.len())];
        pieces.extend((0..next.len()).map(|i| {
            let (key, value) = next.place(i);
            Piece::New(&next.0[key], &next.0[value])
        }));
        encode(Some(self), &pieces)
    }

    /// Blocks of about `size` bytes with the changes made, whose keys ascend; `None` when they change nothing.
    pub(super) fn changed(old: Option<&Block>, changes: &[Change<'_>], size: usize) -> Option<Vec<Block>> {
        let count = old.map_or(0, Block::len);
        let mut pieces = Vec::with_capacity(2 * changes.len() + 1);
        let (mut at, mut differs) = (0, false);
        for change in changes {
            let found = old.map_or(0, |old| old.lower_bound_from(at, change.key));
            if found > at {
                pieces.push(Piece::Old(at..found));
            }
            at = found;
            let replaced = old.is_some_and(|old| at < count && old.key(at) == change.key);
            at += usize::from(replaced);
            differs |= replaced || change.value.is_some();
            if let Some(value) = change.value {
                pieces.push(Piece::New(change.key, value));
            }
        }
        if !differs {
            return None;
        }
        // What is appended to a full block leaves it alone: rows that are added in order fill their blocks.
        let appended = at == count && matches!(pieces.first(), Some(Piece::Old(r)) if *r == (0..count));
        if let Some(old) = old.filter(|old| appended && old.0.len() >= size) {
            let mut blocks = vec![old.clone()];
            blocks.extend(cut(Some(old), &pieces[1..], size));
            return Some(blocks);
        }
        if at < count {
            pieces.push(Piece::Old(at..count));
        }
        Some(cut(old, &pieces, size))
    }
}

/// The pieces in one block, or in several of about `size` bytes if one would be twice as large.
fn cut(old: Option<&Block>, pieces: &[Piece<'_>], size: usize) -> Vec<Block> {
    if pieces.is_empty() {
        return Vec::new();
    }
    if encoded_bytes(old, pieces).1 <= 2 * size {
        return vec![encode(old, pieces)];
    }
    let mut blocks = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    let single = |piece: &Piece<'_>| match piece {
        Piece::Old(pairs) => pairs.len(),
        Piece::New(..) => 1,
    };
    for piece in pieces {
        for i in 0..single(piece) {
            let one = match piece {
                Piece::Old(pairs) => Piece::Old(pairs.start + i..pairs.start + i + 1),
                Piece::New(key, value) => Piece::New(key, value),
            };
            bytes += encoded_bytes(old, std::slice::from_ref(&one)).1;
            part.push(one);
            if bytes >= size {
                blocks.push(encode(old, &part));
                part.clear();
                bytes = 0;
            }
        }
    }
    if !part.is_empty() {
        blocks.push(encode(old, &part));
    }
    blocks
}

/// Pairs in the pieces, and bytes that a block of them takes.
fn encoded_bytes(old: Option<&Block>, pieces: &[Piece<'_>]) -> (usize, usize) {
    let (mut count, mut bytes) = (0, WORD);
    for piece in pieces {
        match piece {
            Piece::Old(pairs) => {
                count += pairs.len();
                bytes += old.map_or(0, |old| old.begin(pairs.end) - old.begin(pairs.start));
            }
            Piece::New(key, value) => {
                count += 1;
                bytes += KEY_LENGTH + key.len() + value.len();
            }
        }
    }
    (count, bytes + count * WORD)
}

fn encode(old: Option<&Block>, pieces: &[Piece<'_>]) -> Block {
    let (count, bytes) = encoded_bytes(old, pieces);
    let mut out = Vec::with_capacity(bytes);
    // A block is cut long before it has as many pairs or bytes: keys and values are bounded, and so is a part.
    let word = |n: usize| u32::try_from(n).expect("a block below 4 GiB").to_le_bytes();
    out.extend_from_slice(&word(count));
    let mut end = 0;
    for piece in pieces {
        match piece {
            Piece::Old(pairs) => {
                let Some(old) = old else { continue };
                let before = old.begin(pairs.start);
                for pair in pairs.clone() {
                    out.extend_from_slice(&word(end + old.word(pair + 1) - before));
                }
                end += old.begin(pairs.end) - before;
            }
            Piece::New(key, value) => {
                end += KEY_LENGTH + key.len() + value.len();
                out.extend_from_slice(&word(end));
            }
        }
    }
    for piece in pieces {
        match piece {
            Piece::Old(pairs) => {
                let Some(old) = old else { continue };
                let first = old.pairs_at();
                out.extend_from_slice(&old.0[first + old.begin(pairs.start)..first + old.begin(pairs.end)]);
            }
            Piece::New(key, value) => {
                let length = u16::try_from(key.len()).expect("keys are checked before they are written");
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
        }
    }
    debug_assert_eq!(out.len(), bytes);
    Block(out.into())
}
