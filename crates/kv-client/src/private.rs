//! Pairs that one session keeps to itself: the rows of its temporary tables.
//!
//! They live in this process, under keys that no store will ever hold ([`Private::covers`]). A snapshot that was given
//! them reads them like any other pair; a transaction writes them to its buffer like any other write, undoes them with it,
//! locks nothing for them, and hands them over when it has committed the rest:
//!
//! ```text
//!   buffer   a→1        commit ──▶ the stores
//!            z→2 (ours)        └─▶ Private, if the stores took the rest
//! ```
//!
//! Not here: which tables there are, and how large they may become.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::buffer::Entry;
use crate::snapshot::KvPair;

/// What is committed, by key.
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A session's own pairs. Clones share them.
#[derive(Clone, Debug)]
pub struct Private {
    start: Arc<[u8]>,
    end: Arc<[u8]>,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    limit: usize,
    /// Shared with the snapshots of statements that are under way.
    pairs: Arc<Pairs>,
    bytes: usize,
}

/// Those pairs as of a moment.
#[derive(Clone, Debug)]
pub(crate) struct PrivateSnapshot {
    owner: Private,
    pairs: Arc<Pairs>,
}

impl Private {
    /// None yet; they will be under keys of `[start, end)`.
    pub fn new(start: &[u8], end: &[u8]) -> Self {
        Private { start: start.into(), end: end.into(), held: Arc::default() }
    }

    /// Whether a key is one of these, if it is there.
    pub fn covers(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }

    /// What its owner says a table of it may take, in bytes; 0 before it said anything.
    pub fn limit(&self) -> usize {
        self.held.lock().limit
    }

    /// Says so.
    pub fn set_limit(&self, bytes: usize) {
        self.held.lock().limit = bytes;
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.held.lock().bytes
    }

    /// Bytes of the keys and values of `[start, end)`, as they will be with these changes.
    pub fn bytes_with<'a>(
        &self,
        start: &[u8],
        end: &[u8],
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> usize {
        let pairs = Arc::clone(&self.held.lock().pairs);
        let mut bytes: usize = range(&pairs, start, end).map(|(key, value)| key.len() + value.len()).sum();
        for (key, value) in changes {
            bytes -= pairs.get(key).map_or(0, |old| key.len() + old.len());
            bytes += value.map_or(0, |new| key.len() + new.len());
        }
        bytes
    }

    /// Forgets the pairs of `[start, end)`.
    pub fn forget(&self, start: &[u8], end: &[u8]) {
        let mut held = self.held.lock();
        let keys: Vec<Vec<u8>> = range(&held.pairs, start, end).map(|(key, _)| key.clone()).collect();
        held.apply(keys.into_iter().map(|key| (key, None)));
    }

    pub(crate) fn snapshot(&self) -> PrivateSnapshot {
        PrivateSnapshot { owner: self.clone(), pairs: Arc::clone(&self.held.lock().pairs) }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held.lock().pairs.get(key).cloned()
    }

    pub(crate) fn range(&self) -> (&[u8], &[u8]) {
        (&self.start, &self.end)
    }

    /// Takes what a transaction wrote.
    pub(crate) fn apply(&self, entries: BTreeMap<Vec<u8>, Entry>) {
        self.held.lock().apply(entries.into_iter().map(|(key, entry)| (key, entry.value)));
    }
}

impl Held {
    fn apply(&mut self, changes: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
        let pairs = Arc::make_mut(&mut self.pairs);
        for (key, value) in changes {
            let length = key.len();
            let added = value.as_ref().map_or(0, |value| length + value.len());
            let old = match value {
                Some(value) => pairs.insert(key, value),
                None => pairs.remove(&key),
            };
            self.bytes = self.bytes - old.map_or(0, |old| length + old.len()) + added;
        }
    }
}

impl PrivateSnapshot {
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.owner.covers(key)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.pairs.get(key).cloned()
    }

    pub(crate) fn scan(&self, start: &[u8], end: &[u8], limit: usize, reverse: bool, key_only: bool) -> Vec<KvPair> {
        let pairs = range(&self.pairs, start, end);
        let copy =
            |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), if key_only { Vec::new() } else { value.clone() });
        match reverse {
            true => pairs.rev().take(limit).map(copy).collect(),
            false => pairs.take(limit).map(copy).collect(),
        }
    }
}

/// The pairs of `[start, end)`; an inverted range is empty.
fn range<'a>(
    pairs: &'a Pairs,
    start: &[u8],
    end: &[u8],
) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> + use<'a> {
    let valid = start < end;
    let upper = if valid { Bound::Excluded(end) } else { Bound::Included(start) };
    pairs.range::<[u8], _>((Bound::Included(start), upper)).filter(move |_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: Option<&str>) -> Entry {
        Entry { value: value.map(|v| v.as_bytes().to_vec()), must_not_exist: false }
    }

    fn private(pairs: &[(&str, Option<&str>)]) -> Private {
        let private = Private::new(b"p", b"q");
        private.apply(pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), entry(*value))).collect());
        private
    }

    #[test]
    fn a_snapshot_does_not_see_what_comes_later() {
        let private = private(&[("pa", Some("1")), ("pb", Some("2")), ("pc", Some("3"))]);
        let before = private.snapshot();
        private.apply(BTreeMap::from([(b"pb".to_vec(), entry(None)), (b"pd".to_vec(), entry(Some("4")))]));
        let keys = |s: &PrivateSnapshot, reverse| {
            let pairs = s.scan(b"pa", b"pz", 2, reverse, true);
            pairs.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&before, false), ["pa", "pb"]);
        assert_eq!(keys(&private.snapshot(), true), ["pd", "pc"]);
        assert_eq!((before.get(b"pb"), private.get(b"pb")), (Some(b"2".to_vec()), None));
        assert!(private.covers(b"pa") && !private.covers(b"q") && !private.covers(b"o"));
    }

    #[test]
    fn bytes_are_those_of_what_is_there() {
        let private = private(&[("pa", Some("1")), ("pb", Some("22"))]);
        assert_eq!(private.bytes(), 7);
        let changes: [(&[u8], Option<&[u8]>); 2] = [(b"pa", None), (b"pc", Some(b"333"))];
        assert_eq!(private.bytes_with(b"p", b"q", changes.into_iter()), 9);
        private.forget(b"pb", b"pc");
        assert_eq!((private.bytes(), private.get(b"pb")), (3, None));
        private.forget(b"pz", b"pa");
        assert_eq!(private.bytes(), 3);
    }
}
