//! Queues of transactions that wait for a lock.
//!
//! ```text
//! key "a", held by t5:   t7 (until 12:00:03)   t9 (until 12:00:01)
//! ```
//!
//! When the lock goes, the oldest transaction is woken and tries again; the others stay, so that a hot key is handed
//! from one to the next and not fought over by all. Whoever was woken ends its turn by telling how it went
//! ([`WaitQueues::turn_over`]): having the lock, the others wait for it from now on; without it, the next one is due.
//! A turn that ended in a write conflict belongs to a client that will come back with a newer timestamp in a moment, so
//! that the next in line is woken only after [`WAKE_DELAY`].
//!
//! A value: waiters are numbers; [`super::storage`] owns the tasks and the time limits behind them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use codec::timestamp::Timestamp;

use super::deadlock::{Circle, WaitGraph};
use crate::mvcc::Key;

/// How long the others wait after a woken transaction could not take the lock: a client's round trip, roughly.
pub const WAKE_DELAY: Duration = Duration::from_millis(10);

/// Names a waiting command.
pub type WaiterId = u64;

/// All queues of a node, and the graph of who waits for whom.
#[derive(Default)]
pub struct WaitQueues {
    queues: HashMap<Key, Queue>,
    waiters: HashMap<WaiterId, Waiter>,
    graph: WaitGraph,
}

#[derive(Default)]
struct Queue {
    /// Oldest transaction first.
    waiting: BTreeMap<(Timestamp, WaiterId), ()>,
    /// Who was woken and has not told yet how it went.
    turn: Option<WaiterId>,
}

struct Waiter {
    start_ts: Timestamp,
    key: Key,
    /// Whom the graph says it waits for; none while it is its turn.
    holder: Option<Timestamp>,
    /// What it wants the lock at.
    for_update_ts: Timestamp,
    rolled_back: bool,
}

/// How a woken transaction's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It has the lock.
    Locked,
    /// It needs no lock after all, or failed: the next one may try at once.
    Passed,
    /// It must come again at a newer timestamp.
    Conflict,
}

/// Whom to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Nobody.
    Nobody,
    /// This waiter, now.
    Now(WaiterId),
    /// Call [`WaitQueues::wake_next`] for the key after [`WAKE_DELAY`].
    Later,
}

impl WaitQueues {
    /// Queues a transaction behind the holder of a lock, unless that would be a deadlock.
    pub fn wait(
        &mut self,
        waiter: WaiterId,
        start_ts: Timestamp,
        for_update_ts: Timestamp,
        key: &Key,
        holder: Timestamp,
    ) -> Result<(), Circle> {
        self.graph.wait(start_ts, holder, key)?;
        self.queues.entry(key.clone()).or_default().waiting.insert((start_ts, waiter), ());
        let (key, holder) = (key.clone(), Some(holder));
        self.waiters.insert(waiter, Waiter { start_ts, key, holder, for_update_ts, rolled_back: false });
        Ok(())
    }

    /// A lock on the key is gone: whom to wake.
    pub fn released(&mut self, key: &Key) -> Wake {
        match self.queues.get(key) {
            // Somebody is about to try; the rest hears how that went.
            Some(queue) if queue.turn.is_none() => self.wake_next(key),
            _ => Wake::Nobody,
        }
    }

    /// Gives the turn to the oldest waiter of the key.
    pub fn wake_next(&mut self, key: &Key) -> Wake {
        let Some(queue) = self.queues.get_mut(key) else { return Wake::Nobody };
        if queue.turn.is_some() {
            return Wake::Nobody;
        }
        let Some(((_, id), ())) = queue.waiting.pop_first() else {
            self.queues.remove(key);
            return Wake::Nobody;
        };
        queue.turn = Some(id);
        self.leave_graph(id);
        Wake::Now(id)
    }

    /// A woken waiter tells how its turn ended, and leaves.
    pub fn turn_over(&mut self, waiter: WaiterId, turn: Turn) -> Wake {
        let Some(gone) = self.waiters.remove(&waiter) else { return Wake::Nobody };
        let Some(queue) = self.queues.get_mut(&gone.key) else { return Wake::Nobody };
        assert_eq!(queue.turn, Some(waiter), "it was another waiter's turn");
        queue.turn = None;
        if queue.waiting.is_empty() {
            self.queues.remove(&gone.key);
            return Wake::Nobody;
        }
        match turn {
            Turn::Passed => self.wake_next(&gone.key),
            Turn::Conflict => Wake::Later,
            Turn::Locked => self.new_holder(&gone.key, gone.start_ts),
        }
    }

    /// A woken waiter found the key locked by somebody who did not queue: it goes back behind that one, and the others
    /// with it.
    pub fn wait_again(&mut self, waiter: WaiterId, holder: Timestamp) -> Result<Wake, Circle> {
        let Some(w) = self.waiters.get_mut(&waiter) else { return Ok(Wake::Nobody) };
        let (start_ts, key) = (w.start_ts, w.key.clone());
        // On a deadlock it still has the turn, and leaves through `turn_over`.
        self.graph.wait(start_ts, holder, &key)?;
        w.holder = Some(holder);
        let Some(queue) = self.queues.get_mut(&key) else { return Ok(Wake::Nobody) };
        queue.turn = None;
        queue.waiting.insert((start_ts, waiter), ());
        Ok(self.new_holder(&key, holder))
    }

    /// A waiter gives up: its time is over, or nobody wants its answer any more.
    pub fn give_up(&mut self, waiter: WaiterId) -> Wake {
        let Some(w) = self.waiters.get(&waiter) else { return Wake::Nobody };
        let key = w.key.clone();
        let at = (w.start_ts, waiter);
        let was_woken = self.queues.get(&key).is_some_and(|q| q.turn == Some(waiter));
        if was_woken {
            return self.turn_over(waiter, Turn::Passed);
        }
        self.leave_graph(waiter);
        self.waiters.remove(&waiter);
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.waiting.remove(&at);
            if queue.waiting.is_empty() && queue.turn.is_none() {
                self.queues.remove(&key);
            }
        }
        Wake::Nobody
    }

    /// A transaction gives its locks on the key back that it wanted at `for_update_ts` or before, also those that it has
    /// not got yet: names its commands that are to give up. One that was woken already asks [`WaitQueues::is_rolled_back`]
    /// before it takes the lock.
    pub fn roll_back(&mut self, key: &Key, start_ts: Timestamp, for_update_ts: Timestamp) -> Vec<WaiterId> {
        let Some(queue) = self.queues.get(key) else { return Vec::new() };
        let waiting = queue.waiting.range((start_ts, 0)..=(start_ts, WaiterId::MAX)).map(|((_, id), ())| *id);
        let mut gone = Vec::new();
        for id in waiting.chain(queue.turn) {
            if let Some(w) = self.waiters.get_mut(&id)
                && w.start_ts == start_ts
                && w.for_update_ts <= for_update_ts
            {
                w.rolled_back = true;
                gone.push(id);
            }
        }
        gone
    }

    /// Whether a waiter's transaction does not want the lock any more.
    pub fn is_rolled_back(&self, waiter: WaiterId) -> bool {
        self.waiters.get(&waiter).is_some_and(|w| w.rolled_back)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// The edges of the queue point to a new holder. A waiter for whom that closes a circle is woken: it finds the lock,
    /// and is told of the deadlock when it wants to wait again.
    fn new_holder(&mut self, key: &Key, holder: Timestamp) -> Wake {
        let Some(queue) = self.queues.get_mut(key) else { return Wake::Nobody };
        let mut doomed = None;
        for (start_ts, id) in queue.waiting.keys() {
            let Some(w) = self.waiters.get_mut(id) else { continue };
            if let Some(old) = w.holder.take() {
                self.graph.end(*start_ts, old, key);
            }
            match self.graph.wait(*start_ts, holder, key) {
                Ok(()) => w.holder = Some(holder),
                Err(_) => doomed = doomed.or(Some((*start_ts, *id))),
            }
        }
        match doomed {
            Some(at) => {
                queue.waiting.remove(&at);
                queue.turn = Some(at.1);
                Wake::Now(at.1)
            }
            None => Wake::Nobody,
        }
    }

    fn leave_graph(&mut self, waiter: WaiterId) {
        if let Some(w) = self.waiters.get_mut(&waiter)
            && let Some(holder) = w.holder.take()
        {
            self.graph.end(w.start_ts, holder, &w.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (WaitQueues, Key) {
        (WaitQueues::default(), Key::from_user(b"k"))
    }

    #[test]
    fn the_oldest_transaction_goes_first() {
        let (mut queues, key) = setup();
        queues.wait(1, Timestamp(30), Timestamp(30), &key, Timestamp(5)).unwrap();
        queues.wait(2, Timestamp(20), Timestamp(20), &key, Timestamp(5)).unwrap();
        assert_eq!(queues.released(&key), Wake::Now(2));
        assert_eq!(queues.released(&key), Wake::Nobody, "one at a time");
        assert_eq!(queues.turn_over(2, Turn::Locked), Wake::Nobody);
        // Now transaction 30 waits for transaction 20.
        let other = Key::from_user(b"other");
        assert_eq!(queues.wait(3, Timestamp(20), Timestamp(20), &other, Timestamp(30)).unwrap_err().len(), 2);
        assert_eq!(queues.released(&key), Wake::Now(1));
        assert_eq!(queues.turn_over(1, Turn::Locked), Wake::Nobody);
        assert!(queues.is_empty() && queues.queues.is_empty() && queues.graph.is_empty());
    }

    #[test]
    fn turns_are_handed_on() {
        let (mut queues, key) = setup();
        for id in 1..=3 {
            queues.wait(id, Timestamp(10 * id), Timestamp(10 * id), &key, Timestamp(5)).unwrap();
        }
        assert_eq!(queues.released(&key), Wake::Now(1));
        assert_eq!(queues.turn_over(1, Turn::Conflict), Wake::Later);
        assert_eq!(queues.wake_next(&key), Wake::Now(2));
        assert_eq!(queues.turn_over(2, Turn::Passed), Wake::Now(3));
        assert_eq!(queues.give_up(3), Wake::Nobody);
        assert!(queues.is_empty() && queues.queues.is_empty() && queues.graph.is_empty());
    }

    #[test]
    fn giving_up_leaves_no_trace() {
        let (mut queues, key) = setup();
        queues.wait(1, Timestamp(10), Timestamp(10), &key, Timestamp(5)).unwrap();
        queues.wait(2, Timestamp(20), Timestamp(20), &key, Timestamp(5)).unwrap();
        assert_eq!(queues.give_up(1), Wake::Nobody);
        assert_eq!(queues.released(&key), Wake::Now(2));
        assert_eq!(queues.released(&key), Wake::Nobody);
        assert_eq!(queues.give_up(2), Wake::Nobody);
        assert_eq!(queues.give_up(2), Wake::Nobody);
        assert!(queues.is_empty() && queues.queues.is_empty() && queues.graph.is_empty());
    }

    #[test]
    fn a_transaction_that_gives_up_a_key_ends_its_own_waits_up_to_that_time() {
        let (mut queues, key) = setup();
        for (id, start_ts, for_update_ts) in [(1, 10, 11), (2, 10, 13), (3, 20, 21)] {
            queues.wait(id, Timestamp(start_ts), Timestamp(for_update_ts), &key, Timestamp(5)).unwrap();
        }
        assert!(queues.roll_back(&key, Timestamp(10), Timestamp(10)).is_empty());
        assert!(queues.roll_back(&Key::from_user(b"other"), Timestamp(10), Timestamp(99)).is_empty());
        assert_eq!(queues.roll_back(&key, Timestamp(10), Timestamp(12)), [1]);
        assert_eq!([1, 2, 3].map(|id| queues.is_rolled_back(id)), [true, false, false]);
        queues.give_up(1);
        // Whose turn it is has not got the lock yet, either.
        assert_eq!(queues.released(&key), Wake::Now(2));
        assert_eq!(queues.roll_back(&key, Timestamp(10), Timestamp(13)), [2]);
        assert!(queues.is_rolled_back(2));
        assert_eq!(queues.turn_over(2, Turn::Passed), Wake::Now(3));
        assert!(!queues.is_rolled_back(2) && !queues.is_rolled_back(3));
    }

    #[test]
    fn a_newcomer_with_the_lock_is_waited_for() {
        let (mut queues, key) = setup();
        queues.wait(1, Timestamp(10), Timestamp(10), &key, Timestamp(5)).unwrap();
        queues.wait(2, Timestamp(20), Timestamp(20), &key, Timestamp(5)).unwrap();
        assert_eq!(queues.released(&key), Wake::Now(1));
        assert_eq!(queues.wait_again(1, Timestamp(7)).unwrap(), Wake::Nobody);
        let other = Key::from_user(b"other");
        assert!(queues.wait(3, Timestamp(7), Timestamp(7), &other, Timestamp(20)).is_err());
        assert_eq!(queues.released(&key), Wake::Now(1));
    }

    #[test]
    fn a_new_holder_who_waits_for_a_waiter_dooms_that_one() {
        let (mut queues, key) = setup();
        let other = Key::from_user(b"other");
        queues.wait(1, Timestamp(10), Timestamp(10), &key, Timestamp(5)).unwrap();
        queues.wait(2, Timestamp(20), Timestamp(20), &key, Timestamp(5)).unwrap();
        // Transaction 10 waits for transaction 20 in a request of its own, then gets the key.
        queues.wait(3, Timestamp(10), Timestamp(10), &other, Timestamp(20)).unwrap();
        assert_eq!(queues.released(&key), Wake::Now(1));
        assert_eq!(queues.turn_over(1, Turn::Locked), Wake::Now(2));
        assert!(queues.wait_again(2, Timestamp(10)).is_err());
        assert_eq!(queues.turn_over(2, Turn::Passed), Wake::Nobody);
    }
}
