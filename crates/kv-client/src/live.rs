//! What this client may still read or write: the timestamps of its snapshots and transactions, and the commits under way.
//!
//! Garbage collection keeps what the oldest of them needs ([`Client::oldest`]), but not for ever: past a limit a snapshot
//! does not count any more, and from then on its reads, and the commit of its transaction, are refused here, before a
//! store would. A commit that began counts until it has ended.
//!
//! [`Client::oldest`]: crate::Client::oldest

use std::collections::BTreeMap;
use std::sync::Arc;

use codec::timestamp::Timestamp;
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// The timestamps in use, and from which on they may be.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Snapshots by their timestamps: how many there are of each.
    snapshots: BTreeMap<Timestamp, usize>,
    /// Commits under way, by the start of their transactions.
    commits: BTreeMap<Timestamp, usize>,
    /// Nothing is read or begins to commit before it.
    floor: Timestamp,
}

/// Which of the two a [`InUse`] counts in.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Snapshot,
    Commit,
}

/// Counts a snapshot or a commit until it is dropped.
#[derive(Debug)]
pub(crate) struct InUse {
    live: Arc<Live>,
    kind: Kind,
    ts: Timestamp,
}

impl State {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<Timestamp, usize> {
        match kind {
            Kind::Snapshot => &mut self.snapshots,
            Kind::Commit => &mut self.commits,
        }
    }

    fn check(&self, ts: Timestamp) -> Result<()> {
        match ts < self.floor {
            true => Err(Error::TooOld { start_ts: ts.0, safe_point: self.floor.0 }),
            false => Ok(()),
        }
    }
}

impl Live {
    /// Counts a snapshot. One of the newest version, at no time in particular, needs nothing old.
    pub(crate) fn pin(self: &Arc<Self>, ts: Timestamp) -> Option<Arc<InUse>> {
        if ts == Timestamp::MAX {
            return None;
        }
        *self.0.lock().snapshots.entry(ts).or_default() += 1;
        Some(Arc::new(InUse { live: Arc::clone(self), kind: Kind::Snapshot, ts }))
    }

    /// Refuses a timestamp that is too old.
    pub(crate) fn check(&self, ts: Timestamp) -> Result<()> {
        self.0.lock().check(ts)
    }

    /// Counts a commit, unless its transaction is too old.
    pub(crate) fn begin_commit(self: &Arc<Self>, start_ts: Timestamp) -> Result<InUse> {
        let mut state = self.0.lock();
        state.check(start_ts)?;
        *state.commits.entry(start_ts).or_default() += 1;
        Ok(InUse { live: Arc::clone(self), kind: Kind::Commit, ts: start_ts })
    }

    /// Refuses from now on what is older than `limit`, but for commits under way; returns the oldest timestamp that may
    /// still be used, if any is.
    pub(crate) fn oldest(&self, limit: Timestamp) -> Option<Timestamp> {
        let mut state = self.0.lock();
        let committing = state.commits.keys().next().copied();
        state.floor = state.floor.max(limit);
        let read = state.snapshots.range(state.floor..).next().map(|(ts, _)| *ts);
        [committing, read].into_iter().flatten().min()
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.live.0.lock();
        let counted = state.of(self.kind);
        if let Some(count) = counted.get_mut(&self.ts) {
            *count -= 1;
            if *count == 0 {
                counted.remove(&self.ts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_snapshot_counts_as_long_as_one_of_its_copies_is_there() {
        let live = Arc::new(Live::default());
        let none = Timestamp::ZERO;
        assert!(live.pin(Timestamp::MAX).is_none());
        let (a, b) = (live.pin(Timestamp(5)), live.pin(Timestamp(7)));
        let copy = a.clone();
        assert_eq!(live.oldest(none), Some(Timestamp(5)));
        drop(a);
        assert_eq!(live.oldest(none), Some(Timestamp(5)));
        drop(copy);
        assert_eq!(live.oldest(none), Some(Timestamp(7)));
        drop(b);
        assert_eq!(live.oldest(none), None);
    }

    #[test]
    fn what_does_not_count_any_more_is_refused_and_a_commit_that_began_counts() {
        let live = Arc::new(Live::default());
        let _pins = [live.pin(Timestamp(5)), live.pin(Timestamp(9))];
        let commit = live.begin_commit(Timestamp(5)).unwrap();
        assert_eq!(live.oldest(Timestamp(8)), Some(Timestamp(5)));
        assert!(matches!(live.check(Timestamp(5)), Err(Error::TooOld { start_ts: 5, safe_point: 8 })));
        assert!(live.begin_commit(Timestamp(5)).is_err());
        assert!(live.check(Timestamp(8)).is_ok());
        drop(commit);
        assert_eq!(live.oldest(Timestamp(3)), Some(Timestamp(9)));
        assert!(live.check(Timestamp(7)).is_err(), "the limit does not go back");
    }
}
