//! The wait-for graph: refuses the wait that would close a circle.
//!
//! ```text
//! t1 ──waits for──▶ t2 ──waits for──▶ t3        t3 asks to wait for t1: deadlock
//! ```
//!
//! A transaction waits for one lock at a time on a node, yet may wait on several in parallel requests, so that a
//! transaction has a set of edges.
//!
//! Each node has a [`WaitGraph`] of its own waits. Circles over several nodes are found in the [`ClusterGraph`] of one
//! of them, the leader of the first region, to which all tell their waits ([`super::detector`]). What it knows is
//! forgotten after a while: nodes come and go, and waits that last are told again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

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

/// How long the cluster's graph remembers a wait that is neither repeated nor taken back. A node lets a transaction wait
/// for a shorter time before its client asks again.
pub const REMEMBER: Duration = Duration::from_secs(5);

/// The waits that the nodes of a cluster tell.
#[derive(Debug, Default)]
pub struct ClusterGraph {
    graph: WaitGraph,
    /// When each wait in the graph was told last.
    told: HashMap<(Timestamp, Timestamp, Vec<u8>), Instant>,
    swept: Option<Instant>,
}

impl ClusterGraph {
    /// Adds a wait, or returns the circle that it would close.
    pub fn wait(&mut self, now: Instant, edge: WaitEdge) -> Result<(), Circle> {
        self.sweep(now);
        let key = Key::from_user(&edge.key);
        let id = (edge.waiter, edge.holder, edge.key);
        if let Some(told) = self.told.get_mut(&id) {
            *told = now;
            return Ok(());
        }
        self.graph.wait(edge.waiter, edge.holder, &key)?;
        self.told.insert(id, now);
        Ok(())
    }

    /// Takes a wait back.
    pub fn end(&mut self, edge: WaitEdge) {
        let key = Key::from_user(&edge.key);
        if self.told.remove(&(edge.waiter, edge.holder, edge.key)).is_some() {
            self.graph.end(edge.waiter, edge.holder, &key);
        }
    }

    /// Takes all waits of a transaction back.
    pub fn end_all(&mut self, waiter: Timestamp) {
        self.told.retain(|(w, ..), _| *w != waiter);
        self.graph.edges.remove(&waiter);
    }

    /// All waits.
    pub fn edges(&self) -> Vec<WaitEdge> {
        self.graph.edges.values().flatten().cloned().collect()
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < REMEMBER / 5) {
            return;
        }
        self.swept = Some(now);
        let graph = &mut self.graph;
        self.told.retain(|(waiter, holder, key), told| {
            let keep = now.saturating_duration_since(*told) < REMEMBER;
            if !keep {
                graph.end(*waiter, *holder, &Key::from_user(key));
            }
            keep
        });
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

    #[test]
    fn the_cluster_forgets_waits_that_are_not_told_again() {
        let mut graph = ClusterGraph::default();
        let start = Instant::now();
        let edge = |waiter, holder| WaitEdge {
            waiter: Timestamp(waiter),
            holder: Timestamp(holder),
            key: b"k".to_vec(),
            key_hash: hash(b"k"),
        };
        graph.wait(start, edge(1, 2)).unwrap();
        graph.wait(start, edge(2, 3)).unwrap();
        assert_eq!(graph.wait(start, edge(3, 1)).unwrap_err().len(), 3);
        graph.wait(start + REMEMBER / 2, edge(1, 2)).unwrap();
        graph.wait(start + REMEMBER, edge(3, 1)).unwrap();
        assert_eq!(graph.edges().len(), 2);
        graph.end(edge(1, 2));
        graph.end(edge(1, 2));
        graph.end_all(Timestamp(3));
        assert!(graph.graph.is_empty() && graph.told.is_empty());
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
