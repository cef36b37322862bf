//! The writes of a transaction before it commits: an ordered map that can go back to earlier stages.
//!
//! ```text
//!   entries   a→1  b→∅  c→7                 what commit will write
//!   undo      [ (a, was absent) | (c, was 5) ]
//!   stages            s1 ──┘          s2 ──┘   rolling back to s1 replays the undo log down to there
//! ```
//!
//! A statement opens a stage, and a failed statement rolls back to it; a savepoint is a stage that stays open. The log
//! is kept only while a stage is open.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::error::{Error, Result};

/// A pending write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// Set while nobody has checked that the key has no committed value: commit checks it.
    pub must_not_exist: bool,
}

/// A point to go back to. See [`Buffer::stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage(u64);

/// The pending writes.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Earlier contents of keys, newest last.
    undo: Vec<(Vec<u8>, Option<Entry>)>,
    /// Open stages, oldest first: id and length of `undo` when it was opened.
    stages: Vec<(u64, usize)>,
    stages_opened: u64,
    /// Bytes of all keys and values.
    bytes: usize,
    entry_bytes_max: usize,
    bytes_max: usize,
}

fn bytes_of(key: &[u8], entry: &Entry) -> usize {
    key.len() + entry.value.as_ref().map_or(0, Vec::len)
}

impl Buffer {
    /// An empty buffer with limits in bytes.
    pub fn new(entry_bytes_max: usize, bytes_max: usize) -> Self {
        Self { entry_bytes_max, bytes_max, ..Self::default() }
    }

    /// The pending write of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Sets a value, whatever is there.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        // An earlier insert's check stays due: the key must still have had no committed value.
        let must_not_exist = self.entries.get(&key).is_some_and(|entry| entry.must_not_exist);
        self.set(key, Entry { value: Some(value), must_not_exist })
    }

    /// Sets a value for a key that must have none. A pending value is a duplicate at once; a committed one is found
    /// when the key is locked or committed. After a pending delete nothing is left to check.
    pub fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let must_not_exist = match self.entries.get(&key) {
            Some(Entry { value: Some(_), .. }) => return Err(Error::KeyExists { key }),
            Some(Entry { value: None, must_not_exist }) => *must_not_exist,
            None => true,
        };
        self.set(key, Entry { value: Some(value), must_not_exist })
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        let must_not_exist = self.entries.get(&key).is_some_and(|entry| entry.must_not_exist);
        self.set(key, Entry { value: None, must_not_exist })
    }

    /// The key was checked to have no committed value.
    pub fn set_checked(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.must_not_exist = false;
        }
        // The check holds for earlier contents too: it is about what is committed, and the key is locked now.
        for (undone, entry) in &mut self.undo {
            if undone == key
                && let Some(entry) = entry
            {
                entry.must_not_exist = false;
            }
        }
    }

    fn set(&mut self, key: Vec<u8>, entry: Entry) -> Result<()> {
        let size = bytes_of(&key, &entry);
        if size > self.entry_bytes_max {
            return Err(Error::EntryTooLarge { size, limit: self.entry_bytes_max });
        }
        let replaced = self.entries.get(&key).map_or(0, |old| bytes_of(&key, old));
        let bytes = self.bytes - replaced + size;
        if bytes > self.bytes_max {
            return Err(Error::TxnTooLarge { size: bytes, limit: self.bytes_max });
        }
        self.bytes = bytes;
        if self.stages.is_empty() {
            self.entries.insert(key, entry);
        } else {
            let old = self.entries.insert(key.clone(), entry);
            self.undo.push((key, old));
        }
        Ok(())
    }

    /// Opens a stage: what follows can be undone down to here.
    pub fn stage(&mut self) -> Stage {
        self.stages_opened += 1;
        self.stages.push((self.stages_opened, self.undo.len()));
        Stage(self.stages_opened)
    }

    /// Closes a stage and keeps its writes. Stages opened inside it stay open.
    pub fn release(&mut self, stage: Stage) {
        self.stages.retain(|(id, _)| *id != stage.0);
        if self.stages.is_empty() {
            self.undo.clear();
        }
    }

    /// Undoes what was written since the stage was opened. The stage stays open; those opened inside it are gone.
    /// A stage that is gone undoes nothing and says so.
    pub fn rollback_to(&mut self, stage: Stage) -> bool {
        let Some(at) = self.stages.iter().position(|(id, _)| *id == stage.0) else { return false };
        let length = self.stages[at].1;
        self.stages.truncate(at + 1);
        while self.undo.len() > length {
            let Some((key, old)) = self.undo.pop() else { break };
            if let Some(current) = self.entries.get(&key) {
                self.bytes -= bytes_of(&key, current);
            }
            match old {
                Some(entry) => {
                    self.bytes += bytes_of(&key, &entry);
                    self.entries.insert(key, entry);
                }
                None => {
                    self.entries.remove(&key);
                }
            }
        }
        true
    }

    /// Pending writes of `[start, end)` (`end` empty: no bound) in key order.
    pub fn range<'a>(
        &'a self,
        start: &'a [u8],
        end: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        // An empty or inverted range would panic in the map.
        let valid = end.is_empty() || start < end;
        let bounds =
            if valid { (Bound::Included(start), upper) } else { (Bound::Included(start), Bound::Included(start)) };
        self.entries
            .range::<[u8], _>(bounds)
            .filter(move |_| valid)
            .map(|(key, entry)| (key.as_slice(), entry.value.as_deref()))
    }

    /// Every pending write in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Entry)> {
        self.entries.iter()
    }

    /// Takes every pending write out, in key order.
    pub fn take(&mut self) -> BTreeMap<Vec<u8>, Entry> {
        self.undo.clear();
        self.stages.clear();
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }

    /// Takes the pending writes of `[start, end)` out, in key order.
    pub(crate) fn take_range(&mut self, start: &[u8], end: &[u8]) -> BTreeMap<Vec<u8>, Entry> {
        let mut taken = self.entries.split_off(start);
        let mut rest = taken.split_off(end);
        self.entries.append(&mut rest);
        self.bytes -= taken.iter().map(|(key, entry)| bytes_of(key, entry)).sum::<usize>();
        taken
    }

    /// Keys with pending writes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffer() -> Buffer {
        Buffer::new(1 << 10, 1 << 16)
    }

    fn value(buffer: &Buffer, key: &str) -> Option<Option<String>> {
        let text = |v: &Vec<u8>| String::from_utf8_lossy(v).into_owned();
        buffer.get(key.as_bytes()).map(|entry| entry.value.as_ref().map(text))
    }

    #[test]
    fn a_failed_statement_leaves_no_trace_and_a_savepoint_survives_its_statement() {
        let mut b = buffer();
        b.put(b"a".to_vec(), b"1".to_vec()).unwrap();
        let statement = b.stage();
        let savepoint = b.stage();
        b.release(statement);
        let statement = b.stage();
        b.put(b"a".to_vec(), b"2".to_vec()).unwrap();
        b.delete(b"b".to_vec()).unwrap();
        assert!(b.rollback_to(statement));
        b.release(statement);
        assert_eq!((value(&b, "a"), value(&b, "b")), (Some(Some("1".into())), None));
        let statement = b.stage();
        b.put(b"a".to_vec(), b"3".to_vec()).unwrap();
        b.release(statement);
        assert!(b.rollback_to(savepoint) && b.rollback_to(savepoint));
        assert_eq!(value(&b, "a"), Some(Some("1".into())));
        assert!(!b.rollback_to(statement));
        assert_eq!(b.bytes(), 2);
        b.release(savepoint);
        assert!(b.undo.is_empty());
    }

    #[test]
    fn inserts_know_what_is_left_to_check() {
        let mut b = buffer();
        b.insert(b"a".to_vec(), b"1".to_vec()).unwrap();
        assert!(matches!(b.insert(b"a".to_vec(), b"2".to_vec()), Err(Error::KeyExists { key }) if key == b"a"));
        b.delete(b"a".to_vec()).unwrap();
        assert!(b.get(b"a").unwrap().must_not_exist, "a committed value would still be a duplicate");
        b.set_checked(b"a");
        b.insert(b"a".to_vec(), b"3".to_vec()).unwrap();
        assert!(!b.get(b"a").unwrap().must_not_exist);
        b.delete(b"c".to_vec()).unwrap();
        b.insert(b"c".to_vec(), b"1".to_vec()).unwrap();
        assert!(!b.get(b"c").unwrap().must_not_exist, "it replaces a row that this transaction deletes");
    }

    #[test]
    fn limits_refuse_before_anything_changes() {
        let mut b = Buffer::new(10, 20);
        assert!(matches!(b.put(vec![1], vec![0; 10]), Err(Error::EntryTooLarge { size: 11, limit: 10 })));
        b.put(vec![1], vec![0; 9]).unwrap();
        b.put(vec![2], vec![0; 9]).unwrap();
        assert!(matches!(b.put(vec![3], vec![]), Err(Error::TxnTooLarge { size: 21, limit: 20 })));
        b.put(vec![1], vec![]).unwrap();
        b.put(vec![3], vec![]).unwrap();
        assert_eq!((b.len(), b.bytes()), (3, 12));
    }

    #[test]
    fn ranges_are_half_open_and_empty_ones_are_empty() {
        let mut b = buffer();
        for key in ["a", "b", "c"] {
            b.put(key.into(), vec![]).unwrap();
        }
        let keys =
            |s: &str, e: &str| b.range(s.as_bytes(), e.as_bytes()).map(|(k, _)| k[0] as char).collect::<String>();
        assert_eq!([keys("a", "c"), keys("b", ""), keys("b", "b"), keys("c", "a")], ["ab", "bc", "", ""]);
    }

    proptest! {
        #[test]
        fn rolling_back_restores_the_contents(
            before in proptest::collection::vec((0u8..6, proptest::option::of(0u8..9)), 0..12),
            after in proptest::collection::vec((0u8..6, proptest::option::of(0u8..9)), 0..12),
        ) {
            let mut b = buffer();
            let apply = |b: &mut Buffer, ops: &[(u8, Option<u8>)]| {
                for (key, value) in ops {
                    match value {
                        Some(v) => b.put(vec![*key], vec![*v; usize::from(*v)]).unwrap(),
                        None => b.delete(vec![*key]).unwrap(),
                    }
                }
            };
            let outer = b.stage();
            apply(&mut b, &before);
            let expected = b.entries.clone();
            let bytes = b.bytes();
            let stage = b.stage();
            apply(&mut b, &after);
            prop_assert_eq!(b.bytes(), b.iter().map(|(k, e)| bytes_of(k, e)).sum::<usize>());
            b.rollback_to(stage);
            prop_assert_eq!(&b.entries, &expected);
            prop_assert_eq!(b.bytes(), bytes);
            b.rollback_to(outer);
            prop_assert!(b.is_empty() && b.bytes() == 0);
        }
    }
}
