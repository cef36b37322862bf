//! The lock record, byte-compatible with TiKV.
//!
//! ```text
//! kind u8 | primary (varint length, bytes) | start_ts uvarint | ttl uvarint | optional fields, each behind its letter:
//!   'v' short value (u8 length, bytes)   'f' for_update_ts u64        't' txn_size u64
//!   'c' min_commit_ts u64                'a' async commit: secondaries 'r' rollback timestamps
//!   'l' last change (u64, uvarint)       's' source uvarint            'F' locked with conflict
//! ```
//! Fixed numbers are big endian. Reading stops at the first letter it does not know, as TiKV's does, so that newer
//! writers may append fields.

use codec::timestamp::Timestamp;
use codec::{bytes, number};

use super::write::{LastChange, WriteKind};

/// What a lock will become, or is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A new value.
    Put,
    /// A removal.
    Delete,
    /// No change: the key is only kept from others.
    Lock,
    /// Taken before the transaction knows its change; invisible to readers.
    Pessimistic,
}

impl LockKind {
    fn letter(self) -> u8 {
        match self {
            LockKind::Put => b'P',
            LockKind::Delete => b'D',
            LockKind::Lock => b'L',
            LockKind::Pessimistic => b'S',
        }
    }

    fn from_letter(letter: u8) -> Option<LockKind> {
        match letter {
            b'P' => Some(LockKind::Put),
            b'D' => Some(LockKind::Delete),
            b'L' => Some(LockKind::Lock),
            b'S' => Some(LockKind::Pessimistic),
            _ => None,
        }
    }

    /// The commit record that the lock turns into; none for a pessimistic lock.
    pub fn write_kind(self) -> Option<WriteKind> {
        match self {
            LockKind::Put => Some(WriteKind::Put),
            LockKind::Delete => Some(WriteKind::Delete),
            LockKind::Lock => Some(WriteKind::Lock),
            LockKind::Pessimistic => None,
        }
    }
}

/// A lock of a transaction on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it will become.
    pub kind: LockKind,
    /// The user key whose lock decides the transaction.
    pub primary: Vec<u8>,
    /// Start timestamp: the transaction's name.
    pub start_ts: Timestamp,
    /// Milliseconds after `start_ts` from which others may roll the transaction back.
    pub ttl_ms: u64,
    /// The value, when it is short and the kind is `Put`.
    pub short_value: Option<Vec<u8>>,
    /// For pessimistic transactions the timestamp at which the key was last locked, otherwise zero.
    pub for_update_ts: Timestamp,
    /// Keys in the transaction, roughly; how clients choose between resolving one key or a region.
    pub txn_size: u64,
    /// The transaction commits at or after it; zero when nothing is promised.
    pub min_commit_ts: Timestamp,
    /// The transaction counts as committed once all its locks are written.
    pub use_async_commit: bool,
    /// With async commit, on the primary: the other user keys.
    pub secondaries: Vec<Vec<u8>>,
    /// Transactions rolled back on this key while the lock was here. A commit at one of these timestamps carries the
    /// rollback's mark along.
    pub rollback_ts: Vec<Timestamp>,
    /// Where the newest put or delete below is, when a TiKV wrote the record; kept, not used.
    pub last_change: Option<LastChange>,
    /// Change-capture label given by the client; kept, not used.
    pub txn_source: u64,
    /// A pessimistic lock taken in spite of a newer version.
    pub locked_with_conflict: bool,
}

impl Lock {
    /// A lock with the given essentials and nothing else.
    pub fn new(kind: LockKind, primary: impl Into<Vec<u8>>, start_ts: Timestamp, ttl_ms: u64) -> Lock {
        Lock {
            kind,
            primary: primary.into(),
            start_ts,
            ttl_ms,
            short_value: None,
            for_update_ts: Timestamp::ZERO,
            txn_size: 0,
            min_commit_ts: Timestamp::ZERO,
            use_async_commit: false,
            secondaries: Vec::new(),
            rollback_ts: Vec::new(),
            last_change: None,
            txn_source: 0,
            locked_with_conflict: false,
        }
    }

    /// Whether the transaction that holds the lock locks pessimistically.
    pub fn is_pessimistic_txn(&self) -> bool {
        self.for_update_ts != Timestamp::ZERO
    }

    /// Whether others may roll the transaction back at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let until = (self.start_ts.physical() as u64).saturating_add(self.ttl_ms);
        until < now.physical() as u64
    }

    /// The record's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let short = self.short_value.as_ref().map_or(0, |v| v.len() + 2);
        let mut out = Vec::with_capacity(self.primary.len() + short + 64);
        out.push(self.kind.letter());
        bytes::encode_compact_bytes(&mut out, &self.primary);
        number::encode_uvarint(&mut out, self.start_ts.0);
        number::encode_uvarint(&mut out, self.ttl_ms);
        if let Some(value) = &self.short_value {
            super::write::encode_short_value(&mut out, value);
        }
        if self.for_update_ts != Timestamp::ZERO {
            out.push(b'f');
            number::encode_u64(&mut out, self.for_update_ts.0);
        }
        if self.txn_size > 0 {
            out.push(b't');
            number::encode_u64(&mut out, self.txn_size);
        }
        if self.min_commit_ts != Timestamp::ZERO {
            out.push(b'c');
            number::encode_u64(&mut out, self.min_commit_ts.0);
        }
        if self.use_async_commit {
            out.push(b'a');
            number::encode_uvarint(&mut out, self.secondaries.len() as u64);
            for key in &self.secondaries {
                bytes::encode_compact_bytes(&mut out, key);
            }
        }
        if !self.rollback_ts.is_empty() {
            out.push(b'r');
            number::encode_uvarint(&mut out, self.rollback_ts.len() as u64);
            for ts in &self.rollback_ts {
                number::encode_u64(&mut out, ts.0);
            }
        }
        if let Some(change) = &self.last_change {
            change.encode(&mut out);
        }
        if self.txn_source != 0 {
            out.push(b's');
            number::encode_uvarint(&mut out, self.txn_source);
        }
        if self.locked_with_conflict {
            out.push(b'F');
        }
        out
    }

    /// The lock of a record's bytes.
    pub fn parse(data: &[u8]) -> codec::Result<Lock> {
        let mut rest = data;
        let kind = take_u8(&mut rest).and_then(LockKind::from_letter).ok_or(codec::Error::Invalid("lock kind"))?;
        let primary = bytes::decode_compact_bytes(&mut rest)?.to_vec();
        let start_ts = Timestamp(number::decode_uvarint(&mut rest)?);
        // The oldest records end before the time to live.
        let ttl_ms = if rest.is_empty() { 0 } else { number::decode_uvarint(&mut rest)? };
        let mut lock = Lock::new(kind, primary, start_ts, ttl_ms);
        while let Some(letter) = take_u8(&mut rest) {
            match letter {
                b'v' => lock.short_value = Some(super::write::decode_short_value(&mut rest)?.to_vec()),
                b'f' => lock.for_update_ts = Timestamp(number::decode_u64(&mut rest)?),
                b't' => lock.txn_size = number::decode_u64(&mut rest)?,
                b'c' => lock.min_commit_ts = Timestamp(number::decode_u64(&mut rest)?),
                b'a' => {
                    lock.use_async_commit = true;
                    for _ in 0..number::decode_uvarint(&mut rest)? {
                        lock.secondaries.push(bytes::decode_compact_bytes(&mut rest)?.to_vec());
                    }
                }
                b'r' => {
                    for _ in 0..number::decode_uvarint(&mut rest)? {
                        lock.rollback_ts.push(Timestamp(number::decode_u64(&mut rest)?));
                    }
                }
                b'l' => lock.last_change = Some(LastChange::decode(&mut rest)?),
                b's' => lock.txn_source = number::decode_uvarint(&mut rest)?,
                b'F' => lock.locked_with_conflict = true,
                _ => break,
            }
        }
        Ok(lock)
    }
}

pub(super) fn take_u8(data: &mut &[u8]) -> Option<u8> {
    let (first, rest) = data.split_first()?;
    *data = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_those_of_tikv() {
        let mut lock = Lock::new(LockKind::Put, *b"pk", Timestamp(300), 10);
        lock.short_value = Some(b"v".to_vec());
        lock.for_update_ts = Timestamp(8);
        lock.txn_size = 16;
        lock.min_commit_ts = Timestamp(24);
        let expected =
            [b"P\x04pk\xac\x02\x0av\x01v".as_slice(), b"f\0\0\0\0\0\0\0\x08t\0\0\0\0\0\0\0\x10c\0\0\0\0\0\0\0\x18"]
                .concat();
        assert_eq!(lock.to_bytes(), expected);
    }

    #[test]
    fn unknown_fields_end_the_record_and_short_ones_are_errors() {
        let mut data = Lock::new(LockKind::Delete, *b"p", Timestamp(1), 2).to_bytes();
        data.push(b'?');
        assert_eq!(Lock::parse(&data).unwrap().ttl_ms, 2);
        for broken in [&b""[..], b"Q", b"P", b"P\x04p", b"P\x02p\x01\x01v\x05ab", b"P\x02p\x01\x01a\xff\xff\x03"] {
            assert!(Lock::parse(broken).is_err(), "{broken:?}");
        }
    }

    pub(crate) fn any_lock() -> impl Strategy<Value = Lock> {
        let kind = prop::sample::select(vec![LockKind::Put, LockKind::Delete, LockKind::Lock, LockKind::Pessimistic]);
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        let ts = || prop_oneof![Just(0), any::<u64>()].prop_map(Timestamp);
        let essentials = (kind, bytes(), ts(), any::<u64>(), prop::option::of(bytes()), ts(), any::<u64>());
        let rest = (ts(), any::<bool>(), prop::collection::vec(bytes(), 0..4), prop::collection::vec(ts(), 0..4));
        (essentials, rest, any::<bool>(), any::<u64>()).prop_map(|(e, r, conflict, source)| Lock {
            short_value: e.4,
            for_update_ts: e.5,
            txn_size: e.6,
            min_commit_ts: r.0,
            use_async_commit: r.1,
            secondaries: if r.1 { r.2 } else { Vec::new() },
            rollback_ts: r.3,
            txn_source: source,
            locked_with_conflict: conflict,
            ..Lock::new(e.0, e.1, e.2, e.3)
        })
    }

    proptest! {
        #[test]
        fn parse_inverts_to_bytes(lock in any_lock()) {
            prop_assert_eq!(Lock::parse(&lock.to_bytes()).unwrap(), lock);
        }

        #[test]
        fn parse_never_panics(data in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Lock::parse(&data);
        }
    }
}
