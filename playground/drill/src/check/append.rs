//! The judge of lists: transactions append unique values to lists and read them, so that every read tells the order of
//! all appends before it (the idea of Elle: Kingsbury and Alvaro, VLDB 2020).
//!
//! First the lists by themselves: reads of a list are prefixes of its longest read, made of values that committed
//! transactions appended, whole transactions at a time. Then the dependencies between transactions. Under snapshot
//! isolation each transaction has a moment at which it reads, `s`, and one at which it commits, `c`, and a dependency
//! orders these moments:
//!
//! ```text
//!   s(T) → c(T)                                     a transaction begins before it ends
//!   ww, wr, real time:  T → U   is   c(T) → s(U)    U builds on T, saw T, or began when T was acknowledged
//!   rw:                 T → U   is   s(T) → c(U)    T did not see what U appended
//! ```
//!
//! A cycle among these moments is what snapshot isolation (with real time) forbids, and it forbids nothing else. Cycles
//! are named by their dependencies: only ww is G0, with wr G1c, with one rw G-single, with several that are never next
//! to each other G-nonadjacent. Write skew (G2) has two rw next to each other: no cycle here, and allowed.
//!
//! The workload keeps `ww` that strict: its transactions are optimistic (a conflict aborts them), or lock what they read
//! (then both moments are one).
//!
//! Real time is not an edge per pair, which would be quadratic, but a chain of moments that commits lead into and begins
//! lead out of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::Findings;
use crate::history::{Call, Final, Op, Outcome, Rows, Step};

/// Cycles that are described per anomaly.
const CYCLES_MAX: usize = 5;

/// Transactions of a component from which the shortest cycle is looked for: those of a broken cluster can be large.
const STARTS_MAX: usize = 40;

/// One transaction, as far as it matters here.
struct Txn {
    begin: u64,
    /// `None`: of unknown outcome.
    end: Option<u64>,
    steps: Vec<Step>,
    who: String,
}

impl Txn {
    fn appends(&self) -> impl Iterator<Item = (u32, u64)> {
        self.steps.iter().filter_map(|s| match s {
            Step::Append { key, value } => Some((*key, *value)),
            Step::Read { .. } => None,
        })
    }

    fn reads(&self) -> impl Iterator<Item = (u32, &Vec<u64>)> {
        self.steps.iter().filter_map(|s| match s {
            Step::Read { key, values: Some(values) } => Some((*key, values)),
            _ => None,
        })
    }

    /// What it read of lists to which it had not appended itself by then: what others did.
    fn outer_reads(&self) -> Vec<(u32, &Vec<u64>)> {
        let mut own = BTreeSet::new();
        let mut reads = Vec::new();
        for step in &self.steps {
            match step {
                Step::Append { key, .. } => {
                    own.insert(*key);
                }
                Step::Read { key, values: Some(values) } if !own.contains(key) => reads.push((*key, values)),
                Step::Read { .. } => {}
            }
        }
        reads
    }
}

/// Judges a history of lists.
pub fn check(ops: &[Op], finals: &[Final]) -> Findings {
    let mut findings = Findings::default();
    let txns = committed(ops, finals);
    let appended = ops.iter().filter(|op| op.is_ok()).map(appends_of).sum::<usize>();
    let versions = lists(ops, finals, &txns, &mut findings);
    lost(ops, finals, appended, &mut findings);
    internal(&txns, &mut findings);
    cycles(&txns, &versions, &mut findings);
    findings
}

fn steps_of(op: &Op) -> &[Step] {
    match &op.call {
        Call::Txn { steps } => steps,
        _ => &[],
    }
}

fn appends_of(op: &Op) -> usize {
    steps_of(op).iter().filter(|s| matches!(s, Step::Append { .. })).count()
}

/// All transactions that happened: acknowledged, or seen by somebody; and the last reads.
fn committed(ops: &[Op], finals: &[Final]) -> Vec<Txn> {
    let mut seen: HashSet<u64> = HashSet::new();
    for op in ops.iter().filter(|op| op.is_ok()) {
        for step in steps_of(op) {
            if let Step::Read { values: Some(values), .. } = step {
                seen.extend(values);
            }
        }
    }
    for last in finals {
        if let Rows::Append { lists } = &last.rows {
            seen.extend(lists.values().flatten());
        }
    }
    let mut txns = Vec::new();
    for op in ops {
        let happened = match op.outcome {
            Outcome::Ok => true,
            Outcome::Fail(_) => false,
            Outcome::Unknown(_) => {
                steps_of(op).iter().any(|s| matches!(s, Step::Append { value, .. } if seen.contains(value)))
            }
        };
        if happened {
            let end = op.is_ok().then_some(op.complete_us);
            txns.push(Txn { begin: op.invoke_us, end, steps: steps_of(op).to_vec(), who: op.whence() });
        }
    }
    for last in finals {
        let Rows::Append { lists } = &last.rows else { continue };
        let steps = lists.iter().map(|(key, values)| Step::Read { key: *key, values: Some(values.clone()) }).collect();
        let who = format!("the last read through {}", last.server);
        txns.push(Txn { begin: last.invoke_us, end: Some(last.complete_us), steps, who });
    }
    txns
}

/// The order of each list's values, which is the longest read of it; complains about whatever cannot be.
fn lists(ops: &[Op], finals: &[Final], txns: &[Txn], findings: &mut Findings) -> BTreeMap<u32, Vec<u64>> {
    let mut versions: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    // What each transaction appends to a list, in order, by each of its values.
    let mut writer: BTreeMap<u64, (&Op, u32, Vec<u64>)> = BTreeMap::new();
    for op in ops {
        let mut by_key: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for step in steps_of(op) {
            if let Step::Append { key, value } = step {
                by_key.entry(*key).or_default().push(*value);
            }
        }
        for (key, values) in by_key {
            for value in &values {
                writer.insert(*value, (op, key, values.clone()));
            }
        }
    }
    for txn in txns {
        for (key, values) in txn.outer_reads() {
            let longest = versions.entry(key).or_default();
            if values.len() > longest.len() {
                longest.clone_from(values);
            }
        }
    }
    let (mut order, mut aborted, mut torn, mut twice) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut reads = 0;
    for txn in txns {
        for (key, values) in txn.outer_reads() {
            reads += 1;
            let longest = &versions[&key];
            if !longest.starts_with(values) {
                let at = values.iter().zip(longest).take_while(|(a, b)| a == b).count();
                order.push(format!(
                    "{} read list {key} with {:?} at place {at}, where others read {:?}",
                    txn.who,
                    values.get(at),
                    longest.get(at)
                ));
            }
            let Some(last) = values.last() else { continue };
            // A transaction's last append to this list must be there if its others are.
            if let Some((op, _, own)) = writer.get(last)
                && own.last() != Some(last)
            {
                torn.push(format!("{} read list {key} up to {last}, the middle of {} (G1b)", txn.who, op.whence()));
            }
        }
    }
    for (key, values) in &versions {
        let mut seen = BTreeSet::new();
        for value in values {
            if !seen.insert(value) {
                twice.push(format!("list {key} has {value} more than once"));
            }
            match writer.get(value) {
                None => aborted.push(format!("list {key} has {value}, which nobody appended")),
                Some((_, own, _)) if own != key => {
                    aborted.push(format!("list {key} has {value}, which belongs to list {own}"));
                }
                Some((op, ..)) if op.outcome.is_fail() => {
                    aborted.push(format!("list {key} has {value} of {}, which failed (G1a)", op.whence()));
                }
                Some(_) => {}
            }
        }
    }
    // A transaction is whole: what it appended to several lists is in all of them, at the latest in the end.
    for last in finals {
        let Rows::Append { lists } = &last.rows else { continue };
        let there: HashSet<u64> = lists.values().flatten().copied().collect();
        for values in lists.values() {
            let mut seen = BTreeSet::new();
            twice.extend(
                values.iter().filter(|v| !seen.insert(**v)).map(|v| format!("{}: {v} is there twice", last.server)),
            );
        }
        for op in ops {
            let own: Vec<u64> = steps_of(op)
                .iter()
                .filter_map(|s| match s {
                    Step::Append { value, .. } => Some(*value),
                    Step::Read { .. } => None,
                })
                .collect();
            let found = own.iter().filter(|v| there.contains(v)).count();
            if found > 0 && found < own.len() {
                let what = format!("{}: of {} {found} appends are there", last.server, op.whence());
                torn.push(format!("{what}, and it made {}", own.len()));
            }
        }
    }
    let looked = format!("{reads} reads of {} lists", versions.len());
    findings.claim("reads of a list agree on its order", looked.clone(), order);
    findings.claim("nothing aborted or invented is read (G1a)", looked.clone(), aborted);
    findings.claim("no transaction is seen in part (G1b)", looked.clone(), torn);
    findings.claim("nothing is there twice", looked, twice);
    versions
}

fn lost(ops: &[Op], finals: &[Final], appended: usize, findings: &mut Findings) {
    let (mut lost, mut missing) = (BTreeSet::new(), Vec::new());
    for last in finals {
        let Rows::Append { lists } = &last.rows else { continue };
        let there: HashSet<(u32, u64)> = lists.iter().flat_map(|(k, l)| l.iter().map(|v| (*k, *v))).collect();
        for op in ops.iter().filter(|op| op.is_ok()) {
            for step in steps_of(op) {
                let Step::Append { key, value } = step else { continue };
                if !there.contains(&(*key, *value)) && lost.insert((op.process, op.invoke_us)) {
                    missing.push(format!("{}: {value} of {} is not in list {key}", last.server, op.whence()));
                }
            }
        }
    }
    findings.lost += lost.len() as u64;
    findings.claim(
        "no acknowledged write is lost",
        format!("{appended} acknowledged appends, read back through {} SQL servers", finals.len()),
        missing,
    );
}

/// A transaction sees its own appends, and otherwise one snapshot.
fn internal(txns: &[Txn], findings: &mut Findings) {
    let mut wrong = Vec::new();
    for txn in txns {
        let mut known: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let mut own: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for step in &txn.steps {
            match step {
                Step::Append { key, value } => {
                    own.entry(*key).or_default().push(*value);
                    if let Some(list) = known.get_mut(key) {
                        list.push(*value);
                    }
                }
                Step::Read { key, values: Some(values) } => {
                    let fits = match (known.get(key), own.get(key)) {
                        (Some(list), _) => list == values,
                        (None, Some(own)) => values.ends_with(own),
                        (None, None) => true,
                    };
                    if !fits {
                        wrong.push(format!("{} contradicts itself about list {key}", txn.who));
                    }
                    known.insert(*key, values.clone());
                }
                Step::Read { .. } => {}
            }
        }
    }
    findings.claim("a transaction agrees with itself", format!("{} transactions", txns.len()), wrong);
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    /// From a transaction's reading to its commit.
    Own,
    Ww,
    Wr,
    Rw,
    /// Into, along, or out of the chain of real time.
    Time,
}

/// Moments and why they are ordered. Node `2 t` is s(t), `2 t + 1` is c(t), the rest are moments of real time.
struct Graph {
    edges: Vec<Vec<(u32, Edge)>>,
}

impl Graph {
    fn add(&mut self, from: usize, to: usize, edge: Edge) {
        if from != to {
            self.edges[from].push((to as u32, edge));
        }
    }
}

fn cycles(txns: &[Txn], versions: &BTreeMap<u32, Vec<u64>>, findings: &mut Findings) {
    let graph = graph(txns, versions);
    // From the narrowest kind of cycle to the widest: a cycle is reported as the worst that it is.
    let tiers: [(&str, &[Edge]); 4] = [
        ("no cycle of writes (G0)", &[Edge::Own, Edge::Ww]),
        ("no cycle of writes and reads (G1c)", &[Edge::Own, Edge::Ww, Edge::Wr]),
        ("one snapshot per transaction (no G-single)", &[Edge::Own, Edge::Ww, Edge::Wr, Edge::Rw]),
        (
            "snapshots follow real time: what was acknowledged is seen",
            &[Edge::Own, Edge::Ww, Edge::Wr, Edge::Rw, Edge::Time],
        ),
    ];
    let edges: usize = graph.edges.iter().map(Vec::len).sum();
    let mut worse = false;
    for (name, allowed) in tiers {
        // A cycle that was reported by a narrower tier is in all wider ones, too.
        let found = if worse { Vec::new() } else { find(&graph, txns, allowed) };
        worse |= !found.is_empty();
        findings.claim(name, format!("{} transactions, {edges} dependencies", txns.len()), found);
    }
}

fn graph(txns: &[Txn], versions: &BTreeMap<u32, Vec<u64>>) -> Graph {
    let (s, c) = (|t: usize| 2 * t, |t: usize| 2 * t + 1);
    let mut writer: HashMap<u64, usize> = HashMap::new();
    for (t, txn) in txns.iter().enumerate() {
        writer.extend(txn.appends().map(|(_, value)| (value, t)));
    }
    // The chain of real time: one moment per acknowledgement, in order.
    let mut ends: Vec<(u64, usize)> = txns.iter().enumerate().filter_map(|(t, txn)| Some((txn.end?, t))).collect();
    ends.sort_unstable();
    let first = 2 * txns.len();
    let mut graph = Graph { edges: vec![Vec::new(); first + ends.len()] };
    for (i, (_, t)) in ends.iter().enumerate() {
        graph.add(c(*t), first + i, Edge::Time);
        if i > 0 {
            graph.add(first + i - 1, first + i, Edge::Time);
        }
    }
    for (t, txn) in txns.iter().enumerate() {
        graph.add(s(t), c(t), Edge::Own);
        let before = ends.partition_point(|(end, _)| *end < txn.begin);
        if before > 0 {
            graph.add(first + before - 1, s(t), Edge::Time);
        }
    }
    // Appends follow each other.
    for values in versions.values() {
        let writers: Vec<usize> = values.iter().filter_map(|v| writer.get(v).copied()).collect();
        for pair in writers.windows(2).filter(|p| p[0] != p[1]) {
            graph.add(c(pair[0]), s(pair[1]), Edge::Ww);
        }
    }
    for (t, txn) in txns.iter().enumerate() {
        for (key, values) in txn.reads() {
            let Some(order) = versions.get(&key) else { continue };
            let others = || values.iter().rev().filter_map(|v| writer.get(v).copied()).find(|w| *w != t);
            if let Some(w) = others() {
                graph.add(c(w), s(t), Edge::Wr);
            }
            // The first append that the reader did not see.
            if order.starts_with(values)
                && let Some(w) = order[values.len()..].iter().filter_map(|v| writer.get(v).copied()).find(|w| *w != t)
            {
                graph.add(s(t), c(w), Edge::Rw);
            }
        }
    }
    graph
}

/// Describes a few of the cycles that consist of the allowed edges.
fn find(graph: &Graph, txns: &[Txn], allowed: &[Edge]) -> Vec<String> {
    let mut cycles = Vec::new();
    for component in components(graph, allowed) {
        if cycles.len() == CYCLES_MAX {
            cycles.push("and more".to_owned());
            break;
        }
        let inside: HashSet<u32> = component.iter().copied().collect();
        let shortest = component
            .iter()
            .filter(|n| (**n as usize) < 2 * txns.len())
            .take(STARTS_MAX)
            .filter_map(|n| shortest_cycle(graph, *n, &inside, allowed))
            .min_by_key(Vec::len);
        cycles.extend(shortest.map(|path| describe(&path, txns)));
    }
    cycles
}

/// Strongly connected components of more than one node (Tarjan, without recursion).
fn components(graph: &Graph, allowed: &[Edge]) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let n = graph.edges.len();
    let (mut index, mut low, mut on_stack) = (vec![NEW; n], vec![0; n], vec![false; n]);
    let (mut stack, mut found, mut next) = (Vec::new(), Vec::new(), 0);
    for root in 0..n {
        if index[root] != NEW {
            continue;
        }
        let mut calls: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some((node, at)) = calls.pop() {
            if at == 0 {
                index[node] = next;
                low[node] = next;
                next += 1;
                stack.push(node as u32);
                on_stack[node] = true;
            }
            match graph.edges[node].get(at) {
                Some((to, edge)) => {
                    calls.push((node, at + 1));
                    let to = *to as usize;
                    if !allowed.contains(edge) {
                        continue;
                    }
                    if index[to] == NEW {
                        calls.push((to, 0));
                    } else if on_stack[to] {
                        low[node] = low[node].min(index[to]);
                    }
                }
                None => {
                    if low[node] == index[node] {
                        let mut component = Vec::new();
                        loop {
                            let member = stack.pop().expect("the node itself is on the stack");
                            on_stack[member as usize] = false;
                            component.push(member);
                            if member as usize == node {
                                break;
                            }
                        }
                        if component.len() > 1 {
                            found.push(component);
                        }
                    }
                    if let Some((parent, _)) = calls.last() {
                        low[*parent] = low[*parent].min(low[node]);
                    }
                }
            }
        }
    }
    found
}

/// The shortest cycle through a node: each edge with the node it leads to.
fn shortest_cycle(graph: &Graph, start: u32, inside: &HashSet<u32>, allowed: &[Edge]) -> Option<Vec<(u32, Edge)>> {
    let mut came: HashMap<u32, (u32, Edge)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for (to, edge) in &graph.edges[node as usize] {
            if !allowed.contains(edge) || !inside.contains(to) {
                continue;
            }
            if *to == start {
                let mut path = vec![(start, *edge)];
                let mut at = node;
                while at != start {
                    let (from, edge) = came[&at];
                    path.push((at, edge));
                    at = from;
                }
                path.reverse();
                return Some(path);
            }
            if !came.contains_key(to) {
                came.insert(*to, (node, *edge));
                queue.push_back(*to);
            }
        }
    }
    None
}

fn describe(path: &[(u32, Edge)], txns: &[Txn]) -> String {
    let count = |kind| path.iter().filter(|(_, e)| *e == kind).count();
    let name = match (count(Edge::Rw), count(Edge::Wr)) {
        (0, 0) => "G0",
        (0, _) => "G1c",
        (1, _) => "G-single",
        _ => "G-nonadjacent",
    };
    let suffix = if count(Edge::Time) > 0 { " with real time" } else { "" };
    let mut text = format!("{name}{suffix}:");
    for (to, edge) in path {
        let arrow = match edge {
            Edge::Own => continue,
            Edge::Ww => "is overwritten by",
            Edge::Wr => "is seen by",
            Edge::Rw => "did not see",
            Edge::Time => "was acknowledged before",
        };
        match txns.get(*to as usize / 2) {
            // A hop along the chain of time: only where it comes out is of interest.
            None => continue,
            Some(txn) => text += &format!(" {arrow} [{}]", txn.who),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Kind;

    /// `a1` appends 1 to list `a`; `ra12` reads [1, 2] from it. A transaction lasts from `begin` to `end`.
    fn op(begin: u64, end: u64, outcome: Outcome, steps: &str) -> Op {
        let key = |c: char| c as u32 - 'a' as u32;
        let step = |text: &str| match text.strip_prefix("r:") {
            Some(read) => {
                let values = read[1..].chars().map(|c| c.to_digit(10).unwrap().into()).collect();
                Step::Read { key: key(read.chars().next().unwrap()), values: Some(values) }
            }
            None => Step::Append { key: key(text.chars().next().unwrap()), value: text[1..].parse().unwrap() },
        };
        let steps = steps.split_whitespace().map(step).collect();
        Op {
            process: begin as u32,
            region: "eu".into(),
            server: "sql-1".into(),
            kind: Kind::Write,
            invoke_us: begin,
            complete_us: end,
            outcome,
            call: Call::Txn { steps },
        }
    }

    fn ok(begin: u64, end: u64, steps: &str) -> Op {
        op(begin, end, Outcome::Ok, steps)
    }

    fn broken(ops: &[Op]) -> String {
        let failed: Vec<String> = check(ops, &[])
            .checks()
            .into_iter()
            .filter(|c| !c.passed)
            .map(|c| format!("{}: {}", c.name, c.details.join("; ")))
            .collect();
        failed.join("\n")
    }

    #[test]
    fn write_skew_is_allowed_and_a_lost_update_is_not() {
        assert_eq!(broken(&[ok(1, 9, "r:a a1"), ok(1, 9, "r:b b2"), ok(10, 11, "r:a1 r:b2")]), "");
        assert_eq!(broken(&[ok(1, 9, "r:b a1"), ok(1, 9, "r:a b2"), ok(10, 11, "r:a1 r:b2")]), "");
        let lost_update = broken(&[ok(1, 9, "r:a a1"), ok(1, 9, "r:a a2"), ok(10, 11, "r:a12")]);
        assert!(lost_update.contains("G-single"), "{lost_update}");
    }

    #[test]
    fn cycles_are_named_by_the_worst_that_they_are() {
        let g0 = broken(&[ok(1, 9, "a1 b1"), ok(1, 9, "a2 b2"), ok(10, 11, "r:a12 r:b21")]);
        // Values are unique in earnest; here list b has them the other way round.
        assert!(g0.contains("G0"), "{g0}");
        let g1c = broken(&[ok(1, 9, "a1 r:b2"), ok(1, 9, "b2 r:a1")]);
        assert!(g1c.contains("G1c:"), "{g1c}");
        let single = broken(&[ok(1, 9, "a1 b2"), ok(1, 9, "r:a1 r:b"), ok(10, 11, "r:b2")]);
        assert!(single.contains("G-single:"), "{single}");
    }

    #[test]
    fn reads_of_what_failed_or_of_half_a_transaction_are_found() {
        let aborted = broken(&[op(1, 9, Outcome::Fail("9007".into()), "a1"), ok(1, 9, "r:a1")]);
        assert!(aborted.contains("G1a"), "{aborted}");
        let half = broken(&[ok(1, 9, "a1 a2"), ok(1, 9, "r:a1")]);
        assert!(half.contains("G1b"), "{half}");
        assert_eq!(broken(&[op(1, 9, Outcome::Unknown("timeout".into()), "a1"), ok(10, 12, "r:a1")]), "");
        assert_eq!(broken(&[op(1, 9, Outcome::Unknown("timeout".into()), "a1"), ok(10, 12, "r:a")]), "");
    }

    #[test]
    fn a_read_that_misses_what_was_acknowledged_before_it_began_is_stale() {
        let stale = broken(&[ok(1, 2, "a1"), ok(3, 4, "r:a"), ok(5, 6, "r:a1")]);
        assert!(stale.contains("real time"), "{stale}");
        assert_eq!(broken(&[ok(1, 4, "a1"), ok(3, 4, "r:a"), ok(5, 6, "r:a1")]), "");
    }
}
