//! Latches: commands of this node that touch the same keys run one after the other, in the order in which they came.
//!
//! A key hashes to one of a fixed number of slots, each a queue of commands. A command owns a slot while it is at the
//! front; it runs when it owns all of its slots. Slots are asked for in ascending order, so that two commands never wait
//! for each other; two keys that share a slot cost a needless wait and nothing else.

use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// Names a command among those that wait or run.
pub type CommandId = u64;

/// Slots: a few for each command that can be under way, so that strangers rarely meet.
const SLOTS: usize = 1 << 14;

/// The latch table. A value without threads in it: callers ask, and wake whom it names.
pub struct Latches {
    slots: Vec<VecDeque<CommandId>>,
    /// Without a key of its own: which keys share a slot must not depend on the run, or a simulation would not replay.
    hasher: BuildHasherDefault<DefaultHasher>,
}

/// The slots that a command needs, and how many of them it owns.
#[derive(Debug)]
pub struct LatchTicket {
    command: CommandId,
    slots: Vec<usize>,
    owned: usize,
}

impl Default for Latches {
    fn default() -> Self {
        Latches { slots: vec![VecDeque::new(); SLOTS], hasher: BuildHasherDefault::default() }
    }
}

impl Latches {
    /// The ticket of a command over its keys.
    pub fn ticket<K: Hash>(&self, command: CommandId, keys: impl IntoIterator<Item = K>) -> LatchTicket {
        let mut slots: Vec<usize> = keys.into_iter().map(|k| self.hasher.hash_one(k) as usize & (SLOTS - 1)).collect();
        slots.sort_unstable();
        slots.dedup();
        LatchTicket { command, slots, owned: 0 }
    }

    /// Goes on taking slots; true when all are owned. Otherwise the command is queued, and named by a later
    /// [`Self::release`]; then it asks again.
    pub fn acquire(&mut self, ticket: &mut LatchTicket) -> bool {
        while let Some(slot) = ticket.slots.get(ticket.owned) {
            let queue = &mut self.slots[*slot];
            match queue.front() {
                Some(front) if *front == ticket.command => {}
                Some(_) => {
                    if !queue.contains(&ticket.command) {
                        queue.push_back(ticket.command);
                    }
                    return false;
                }
                None => queue.push_back(ticket.command),
            }
            ticket.owned += 1;
        }
        true
    }

    /// Gives the slots back, owned or waited for; returns the commands that now stand at a front.
    pub fn release(&mut self, ticket: LatchTicket) -> Vec<CommandId> {
        let mut woken = Vec::new();
        for (i, slot) in ticket.slots.iter().enumerate() {
            let queue = &mut self.slots[*slot];
            if i < ticket.owned {
                let front = queue.pop_front();
                assert_eq!(front, Some(ticket.command), "latch slot {slot} is owned by another command");
                woken.extend(queue.front().copied());
            } else if let Some(at) = queue.iter().position(|c| *c == ticket.command) {
                queue.remove(at);
                if at == 0 {
                    woken.extend(queue.front().copied());
                }
            }
            if queue.is_empty() && queue.capacity() > 16 {
                queue.shrink_to_fit();
            }
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_come_first_served() {
        let mut latches = Latches::default();
        let mut one = latches.ticket(1, ["a", "b"]);
        let mut two = latches.ticket(2, ["b", "c"]);
        let mut three = latches.ticket(3, ["c"]);
        assert!(latches.acquire(&mut one));
        assert!(!latches.acquire(&mut two));
        // Whether command 3 must wait depends on the order of the hashed slots; it never overtakes at a slot.
        let three_runs = latches.acquire(&mut three);
        assert_eq!(latches.release(one), [2]);
        if three_runs {
            assert!(!latches.acquire(&mut two));
            assert_eq!(latches.release(three), [2]);
            assert!(latches.acquire(&mut two));
        } else {
            assert!(latches.acquire(&mut two));
            assert_eq!(latches.release(two), [3]);
            assert!(latches.acquire(&mut three));
        }
    }

    #[test]
    fn giving_up_wakes_the_next() {
        let mut latches = Latches::default();
        let mut tickets: Vec<_> = (1..=3).map(|c| latches.ticket(c, ["k"])).collect();
        assert!(latches.acquire(&mut tickets[0]));
        assert!(!latches.acquire(&mut tickets[1]));
        assert!(!latches.acquire(&mut tickets[2]));
        let third = tickets.pop().unwrap();
        let second = tickets.pop().unwrap();
        assert!(latches.release(second).is_empty());
        assert_eq!(latches.release(tickets.pop().unwrap()), [3]);
        let mut third = third;
        assert!(latches.acquire(&mut third));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However commands overlap, everyone runs in the end and nobody runs beside a conflicting one.
        #[test]
        fn no_conflict_and_no_deadlock(commands in prop::collection::vec(prop::collection::vec(0u8..6, 1..4), 1..20)) {
            let mut latches = Latches::default();
            let mut waiting: Vec<(LatchTicket, &Vec<u8>)> = Vec::new();
            let mut running: Vec<(LatchTicket, &Vec<u8>)> = Vec::new();
            for (i, keys) in commands.iter().enumerate() {
                let mut ticket = latches.ticket(i as u64, keys);
                let list = if latches.acquire(&mut ticket) { &mut running } else { &mut waiting };
                list.push((ticket, keys));
            }
            let mut done = 0;
            while let Some((ticket, _)) = running.pop() {
                done += 1;
                for woken in latches.release(ticket) {
                    let Some(at) = waiting.iter().position(|(t, _)| t.command == woken) else { continue };
                    if latches.acquire(&mut waiting[at].0) {
                        running.push(waiting.remove(at));
                    }
                }
                for (i, (_, a)) in running.iter().enumerate() {
                    prop_assert!(running[i + 1..].iter().all(|(_, b)| !a.iter().any(|k| b.contains(k))));
                }
            }
            prop_assert_eq!(done, commands.len());
        }
    }
}
