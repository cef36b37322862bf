//! The key space at one timestamp, in user keys: what the coprocessor reads from.

use bytes::Bytes;
use engine::{KeyRange, Snapshot};

use super::{Key, MvccError, ReadParams, Result, ScanOptions, Scanner, point};

/// The rows of a scan in user keys. After [`MvccError::KeyIsLocked`] the iterator goes on behind that key; after any
/// other error it ends.
pub type RowIter<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Bytes)>> + Send + 'a>;

/// A consistent view of committed user keys and values, inside one region.
pub trait ReadView: Send + Sync {
    /// The value of a user key.
    fn get(&self, user_key: &[u8]) -> Result<Option<Bytes>>;

    /// The rows of a range of user keys (an empty end means no bound), cut to what the region holds.
    fn scan(&self, range: &KeyRange, options: ScanOptions) -> Result<RowIter<'_>>;
}

/// A [`ReadView`] over an engine snapshot.
#[derive(Clone)]
pub struct MvccView<S> {
    snapshot: S,
    /// Encoded keys that may be read.
    region: KeyRange,
    params: ReadParams,
}

impl<S: Snapshot> MvccView<S> {
    /// A view of the encoded keys of `region` (`RegionSnapshot::region.range`) as a read with `params` sees them.
    pub fn new(snapshot: S, region: KeyRange, params: ReadParams) -> MvccView<S> {
        MvccView { snapshot, region, params }
    }
}

/// The encoded form of a range of user keys.
pub fn encode_range(range: &KeyRange) -> KeyRange {
    let end = if range.end.is_empty() { Vec::new() } else { Key::from_user(&range.end).into_encoded() };
    // The encoding of the empty key is not the smallest encoded key's prefix only: start from the very beginning.
    let start = if range.start.is_empty() { Vec::new() } else { Key::from_user(&range.start).into_encoded() };
    KeyRange::new(start, end)
}

impl<S: Snapshot> ReadView for MvccView<S> {
    fn get(&self, user_key: &[u8]) -> Result<Option<Bytes>> {
        let key = Key::from_user(user_key);
        if !self.region.contains(key.encoded()) {
            return Ok(None);
        }
        Ok(point::get(&self.snapshot, &key, &self.params)?.map(|(value, _)| value))
    }

    fn scan(&self, range: &KeyRange, options: ScanOptions) -> Result<RowIter<'_>> {
        let range = encode_range(range).intersect(&self.region);
        let scanner = Scanner::open(self.snapshot.clone(), &range, self.params.clone(), options)?;
        Ok(Box::new(Rows { scanner: Some(scanner) }))
    }
}

struct Rows<S> {
    /// Absent after the end or a failure.
    scanner: Option<Scanner<S>>,
}

impl<S: Snapshot> Iterator for Rows<S> {
    type Item = Result<(Vec<u8>, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.scanner.as_mut()?.next_row().and_then(|row| match row {
            Some((key, value)) => Ok(Some((key.to_user()?, value))),
            None => Ok(None),
        });
        if !matches!(row, Ok(Some(_)) | Err(MvccError::KeyIsLocked(_))) {
            self.scanner = None;
        }
        row.transpose()
    }
}
