//! Keys that must be new, and what to say of one that is not.
//!
//! Stores check keys in the order of their bytes, where entries of indexes come before rows. MySQL checks row by row, and of a
//! row its primary key first, then its unique indexes in their order; which duplicate an error names is what users see. So keys
//! are remembered in the order in which MySQL checks them, and when a store has found one, those before it are looked up.

use indexmap::IndexMap;
use kv_client::{Buffer, Client};
use sql_base::SqlError;

/// Keys looked up at once.
const KEYS: usize = 1024;

/// Keys that must be new, in the order in which they are checked.
#[derive(Default)]
pub struct Duplicates(IndexMap<Vec<u8>, SqlError>);

impl Duplicates {
    /// One more, and its error.
    pub fn add(&mut self, key: Vec<u8>, error: SqlError) {
        self.0.insert(key, error);
    }

    /// Those of another statement, as far as the transaction still wants them to be new.
    pub fn extend(&mut self, later: Duplicates, pending: &Buffer) {
        self.0.extend(later.0.into_iter().filter(|(key, _)| is_new(pending, key)));
    }

    /// The error of a key.
    pub fn of(&self, key: &[u8]) -> Option<&SqlError> {
        self.0.get(key)
    }

    /// The error of the first key that is there already, if a store has found this one. `pending`: what is still to be written,
    /// if that is known; a key that the transaction has removed before is its own.
    pub async fn first(&self, found: &[u8], pending: Option<&Buffer>, client: &Client) -> Option<&SqlError> {
        let at = self.0.get_index_of(found)?;
        let before: Vec<(&Vec<u8>, &SqlError)> =
            self.0.iter().take(at).filter(|(key, _)| pending.is_none_or(|pending| is_new(pending, key))).collect();
        let snapshot = match client.timestamp().await {
            Ok(now) if !before.is_empty() => client.snapshot(now),
            // What was found is an answer, too.
            Ok(_) | Err(_) => return self.of(found),
        };
        for some in before.chunks(KEYS) {
            let keys: Vec<Vec<u8>> = some.iter().map(|(key, _)| (*key).clone()).collect();
            let Ok(values) = snapshot.batch_get(&keys).await else { break };
            if let Some(first) = values.iter().position(Option::is_some) {
                return Some(some[first].1);
            }
        }
        self.of(found)
    }
}

fn is_new(pending: &Buffer, key: &[u8]) -> bool {
    pending.get(key).is_some_and(|entry| entry.must_not_exist)
}
