//! The wait-for graph: refuses the wait that would close a circle.
//!
//! ```text
//! t1 ──waits for──▶ t2 ──waits for──▶ t3        t3 asks to wait for t1: deadlock
//! ```
//!
//! A transaction waits for one lock at a time on a node, yet may wait on several in parallel requests, so that a
//! transaction has a set of edges. The graph holds the waits of one node; circles over several nodes end by the lock
//! wait timeout.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use codec::timestamp::Timestamp;

use crate::mvcc::Key;

/// One wait, as deadlock errors report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitEdge {
    /// Who waits.
    pub waiter: Timestamp,
    /// For whom.
    pub holder: Timestamp,
    /// On which user key.
    pub key: Vec<u8>,
    /// The key's hash.
    pub key_hash: u64,
}

/// The circle that a wait would close, its first edge being that wait.
pub type Circle = Vec<WaitEdge>;

/// The graph of waits.
#[derive(Debug, Default)]
pub struct WaitGraph {
    /// Edges by who waits. The same wait may be there more than once.
    edges: HashMap<Timestamp, Vec<WaitEdge>>,
}

impl WaitGraph {
    /// Adds a wait, or returns the circle that it would close.
    pub fn wait(&mut self, waiter: Timestamp, holder: Timestamp, key: &Key) -> Result<(), Circle> {
        let user = key.to_user().unwrap_or_else(|_| key.encoded().to_vec());
        let edge = WaitEdge { waiter, holder, key_hash: hash(&user), key: user };
        if waiter == holder {
            return Err(vec![edge]);
        }
        if let Some(mut path) = self.path(holder, waiter) {
            path.insert(0, edge);
            return Err(path);
        }
        self.edges.entry(waiter).or_default().push(edge);
        Ok(())
    }

    /// Takes a wait back: the waiter got the lock, or gave up.
    pub fn end(&mut self, waiter: Timestamp, holder: Timestamp, key: &Key) {
        let Some(edges) = self.edges.get_mut(&waiter) else { return };
        let user = key.to_user().unwrap_or_else(|_| key.encoded().to_vec());
        if let Some(at) = edges.iter().position(|e| e.holder == holder && e.key == user) {
            edges.swap_remove(at);
        }
        if edges.is_empty() {
            self.edges.remove(&waiter);
        }
    }

    /// Waits in the graph.
    pub fn len(&self) -> usize {
        self.edges.values().map(Vec::len).sum()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The edges that lead from one transaction to another, if any do. The graph has no circles, so this ends.
    fn path(&self, from: Timestamp, to: Timestamp) -> Option<Circle> {
        // Each frame: a transaction, and the edge by which it was reached.
        let mut came_by: HashMap<Timestamp, Option<&WaitEdge>> = HashMap::from([(from, None)]);
        let mut open = vec![from];
        while let Some(txn) = open.pop() {
            if txn == to {
                let mut path = Vec::new();
                let mut at = txn;
                while let Some(Some(edge)) = came_by.get(&at) {
                    path.push((*edge).clone());
                    at = edge.waiter;
                }
                path.reverse();
                return Some(path);
            }
            for edge in self.edges.get(&txn).into_iter().flatten() {
                if let std::collections::hash_map::Entry::Vacant(entry) = came_by.entry(edge.holder) {
                    entry.insert(Some(edge));
                    open.push(edge.holder);
                }
            }
        }
        None
    }
}

/// A hash of a user key that is the same on every node of one version.
pub fn hash(user_key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(user_key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u64) -> Key {
        Key::from_user(&n.to_be_bytes())
    }

    #[test]
    fn the_wait_that_closes_a_circle_is_refused() {
        let mut graph = WaitGraph::default();
        let t = Timestamp;
        graph.wait(t(1), t(2), &key(2)).unwrap();
        graph.wait(t(2), t(3), &key(3)).unwrap();
        graph.wait(t(2), t(4), &key(4)).unwrap();
        let circle = graph.wait(t(3), t(1), &key(1)).unwrap_err();
        let chain: Vec<_> = circle.iter().map(|e| (e.waiter.0, e.holder.0)).collect();
        assert_eq!(chain, [(3, 1), (1, 2), (2, 3)]);
        graph.end(t(2), t(3), &key(3));
        graph.wait(t(3), t(1), &key(1)).unwrap();
        assert!(graph.wait(t(5), t(5), &key(1)).is_err());
        assert_eq!(graph.len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn accepted_waits_never_form_a_circle(waits in prop::collection::vec((0u64..8, 0u64..8), 0..40)) {
            let mut graph = WaitGraph::default();
            let mut accepted: Vec<(u64, u64)> = Vec::new();
            let reaches = |edges: &[(u64, u64)], from: u64, to: u64| {
                let mut seen = vec![from];
                let mut i = 0;
                while i < seen.len() {
                    for (a, b) in edges {
                        if *a == seen[i] && !seen.contains(b) {
                            seen.push(*b);
                        }
                    }
                    i += 1;
                }
                seen.contains(&to)
            };
            for (a, b) in waits {
                let refused = graph.wait(Timestamp(a), Timestamp(b), &key(b)).is_err();
                prop_assert_eq!(refused, reaches(&accepted, b, a));
                if !refused {
                    accepted.push((a, b));
                }
            }
            for (a, b) in accepted {
                graph.end(Timestamp(a), Timestamp(b), &key(b));
            }
            prop_assert!(graph.is_empty());
        }
    }
}
