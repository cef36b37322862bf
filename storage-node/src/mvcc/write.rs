//! The write record: a version committed, or a transaction rolled back. Byte-compatible with TiKV.
//!
//! ```text
//! kind u8 | start_ts uvarint | optional fields, each behind its letter:
//!   'v' short value (u8 length, bytes)   'R' a rollback at this commit_ts too   'F' gc fence u64
//!   'l' last change (u64, uvarint)       'S' source uvarint
//! ```
//!
//! A rollback lies at `start_ts` of its transaction, a commit at its `commit_ts`; when another transaction committed at
//! exactly that timestamp, the two share a record: the commit, marked with `R`.

use codec::number;
use codec::timestamp::Timestamp;

use super::lock::take_u8;

/// What a write record says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A value was written.
    Put,
    /// The key was removed.
    Delete,
    /// The key was locked by a committed transaction, its value unchanged.
    Lock,
    /// The transaction started at this timestamp is rolled back, and may never commit on this key.
    Rollback,
}

impl WriteKind {
    fn letter(self) -> u8 {
        match self {
            WriteKind::Put => b'P',
            WriteKind::Delete => b'D',
            WriteKind::Lock => b'L',
            WriteKind::Rollback => b'R',
        }
    }

    fn from_letter(letter: u8) -> Option<WriteKind> {
        match letter {
            b'P' => Some(WriteKind::Put),
            b'D' => Some(WriteKind::Delete),
            b'L' => Some(WriteKind::Lock),
            b'R' => Some(WriteKind::Rollback),
            _ => None,
        }
    }

    /// Whether the record changes what readers see.
    pub fn is_change(self) -> bool {
        matches!(self, WriteKind::Put | WriteKind::Delete)
    }
}

/// The short value of a rollback that later rollbacks must not replace.
const PROTECTED: &[u8] = b"p";

/// Where the newest put or delete below a record is. TiKV writes it to skip runs of lock records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// Its commit timestamp, zero when there is none.
    pub ts: Timestamp,
    /// Records between, roughly.
    pub versions: u64,
}

impl LastChange {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'l');
        number::encode_u64(out, self.ts.0);
        number::encode_uvarint(out, self.versions);
    }

    pub(super) fn decode(data: &mut &[u8]) -> codec::Result<LastChange> {
        Ok(LastChange { ts: Timestamp(number::decode_u64(data)?), versions: number::decode_uvarint(data)? })
    }
}

/// A committed version, or a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What happened.
    pub kind: WriteKind,
    /// The transaction.
    pub start_ts: Timestamp,
    /// The value, when it is short and the kind is `Put`.
    pub short_value: Option<Vec<u8>>,
    /// Another transaction that started at this record's commit timestamp is rolled back.
    pub overlapped_rollback: bool,
    /// Set when the record was rewritten after the fact by TiKV: the next version then; if that one is gone, so is
    /// this one. Our collector runs through the log, so we never need to write it.
    pub gc_fence: Option<Timestamp>,
    /// Kept from records that TiKV wrote.
    pub last_change: Option<LastChange>,
    /// Change-capture label given by the client; kept, not used.
    pub txn_source: u64,
}

impl Write {
    /// A record of that kind and transaction.
    pub fn new(kind: WriteKind, start_ts: Timestamp, short_value: Option<Vec<u8>>) -> Write {
        Write {
            kind,
            start_ts,
            short_value,
            overlapped_rollback: false,
            gc_fence: None,
            last_change: None,
            txn_source: 0,
        }
    }

    /// A rollback. A protected one stays until it is collected; others give way to a later rollback on the key.
    pub fn rollback(start_ts: Timestamp, protected: bool) -> Write {
        Write::new(WriteKind::Rollback, start_ts, protected.then(|| PROTECTED.to_vec()))
    }

    /// Whether the record is a rollback that must stay.
    pub fn is_protected_rollback(&self) -> bool {
        self.kind == WriteKind::Rollback && self.short_value.as_deref() == Some(PROTECTED)
    }

    /// Whether a reader at `ts`, for which this is the newest version, may take it.
    pub fn survives_gc_fence(&self, ts: Timestamp) -> bool {
        self.gc_fence.is_none_or(|fence| fence == Timestamp::ZERO || fence > ts)
    }

    /// The record's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.short_value.as_ref().map_or(0, Vec::len));
        out.push(self.kind.letter());
        number::encode_uvarint(&mut out, self.start_ts.0);
        if let Some(value) = &self.short_value {
            encode_short_value(&mut out, value);
        }
        if self.overlapped_rollback {
            out.push(b'R');
        }
        if let Some(fence) = self.gc_fence {
            out.push(b'F');
            number::encode_u64(&mut out, fence.0);
        }
        if let Some(change) = &self.last_change {
            change.encode(&mut out);
        }
        if self.txn_source != 0 {
            out.push(b'S');
            number::encode_uvarint(&mut out, self.txn_source);
        }
        out
    }

    /// The record of its bytes.
    pub fn parse(data: &[u8]) -> codec::Result<Write> {
        let view = WriteView::parse(data)?;
        let mut write = Write::new(view.kind, view.start_ts, view.short_value.map(<[u8]>::to_vec));
        write.overlapped_rollback = view.overlapped_rollback;
        write.gc_fence = view.gc_fence;
        write.last_change = view.last_change;
        write.txn_source = view.txn_source;
        Ok(write)
    }
}

/// A write record still in its bytes: what a scan looks at, without copying the value.
#[derive(Clone, Copy, Debug)]
pub struct WriteView<'a> {
    /// What happened.
    pub kind: WriteKind,
    /// The transaction.
    pub start_ts: Timestamp,
    /// The value, when it is short and the kind is `Put`.
    pub short_value: Option<&'a [u8]>,
    overlapped_rollback: bool,
    gc_fence: Option<Timestamp>,
    last_change: Option<LastChange>,
    txn_source: u64,
}

impl<'a> WriteView<'a> {
    /// The record of its bytes.
    pub fn parse(data: &'a [u8]) -> codec::Result<WriteView<'a>> {
        let mut rest = data;
        let kind = take_u8(&mut rest).and_then(WriteKind::from_letter).ok_or(codec::Error::Invalid("write kind"))?;
        let start_ts = Timestamp(number::decode_uvarint(&mut rest)?);
        let mut view = WriteView {
            kind,
            start_ts,
            short_value: None,
            overlapped_rollback: false,
            gc_fence: None,
            last_change: None,
            txn_source: 0,
        };
        while let Some(letter) = take_u8(&mut rest) {
            match letter {
                b'v' => view.short_value = Some(decode_short_value(&mut rest)?),
                b'R' => view.overlapped_rollback = true,
                b'F' => view.gc_fence = Some(Timestamp(number::decode_u64(&mut rest)?)),
                b'l' => view.last_change = Some(LastChange::decode(&mut rest)?),
                b'S' => view.txn_source = number::decode_uvarint(&mut rest)?,
                _ => break,
            }
        }
        Ok(view)
    }

    /// As [`Write::survives_gc_fence`].
    pub fn survives_gc_fence(&self, ts: Timestamp) -> bool {
        self.gc_fence.is_none_or(|fence| fence == Timestamp::ZERO || fence > ts)
    }
}

pub(super) fn encode_short_value(out: &mut Vec<u8>, value: &[u8]) {
    assert!(value.len() <= super::SHORT_VALUE_BYTES_MAX, "a value of {} bytes is not short", value.len());
    out.push(b'v');
    out.push(value.len() as u8);
    out.extend_from_slice(value);
}

pub(super) fn decode_short_value<'a>(data: &mut &'a [u8]) -> codec::Result<&'a [u8]> {
    let len = take_u8(data).ok_or(codec::Error::Eof("short value"))?;
    let (value, rest) = data.split_at_checked(len as usize).ok_or(codec::Error::Eof("short value"))?;
    *data = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_those_of_tikv() {
        let put = Write::new(WriteKind::Put, Timestamp(300), Some(b"abc".to_vec()));
        assert_eq!(put.to_bytes(), b"P\xac\x02v\x03abc");
        let marked = Write { overlapped_rollback: true, ..Write::new(WriteKind::Delete, Timestamp(1), None) };
        assert_eq!(marked.to_bytes(), b"D\x01R");
        assert_eq!(Write::rollback(Timestamp(5), true).to_bytes(), b"R\x05v\x01p");
        assert!(Write::parse(b"R\x05v\x01p").unwrap().is_protected_rollback());
        assert!(!Write::parse(b"R\x05").unwrap().is_protected_rollback());
    }

    proptest! {
        #[test]
        fn parse_inverts_to_bytes(
            kind in prop::sample::select(vec![WriteKind::Put, WriteKind::Delete, WriteKind::Lock, WriteKind::Rollback]),
            start_ts: u64,
            short_value in prop::option::of(prop::collection::vec(any::<u8>(), 0..=255)),
            overlapped_rollback: bool,
            gc_fence in prop::option::of(any::<u64>()),
            txn_source: u64,
        ) {
            let mut write = Write::new(kind, Timestamp(start_ts), short_value);
            write.overlapped_rollback = overlapped_rollback;
            write.gc_fence = gc_fence.map(Timestamp);
            write.txn_source = txn_source;
            prop_assert_eq!(Write::parse(&write.to_bytes()).unwrap(), write);
        }

        #[test]
        fn parse_never_panics(data in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Write::parse(&data);
        }
    }
}
