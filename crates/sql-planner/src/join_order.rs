//! In which order inner joins combine their inputs.
//!
//! FROM names tables in an order that means nothing, and the wrong one multiplies tables that no condition connects. This
//! rule takes a tree of inner joins apart into its inputs and conditions and puts it together again where the sum of the
//! rows of all intermediate results is smallest: the least of all trees up to [`EXHAUSTIVE_INPUTS`] inputs, by dynamic
//! programming over connected subsets; beyond, the pair whose join has the fewest rows is combined until one is left
//! (greedy operator ordering), so that a join of 64 tables is planned in milliseconds.
//!
//! Invariants:
//! - inputs that no condition connects are multiplied last, whatever they are thought to hold: estimates are rough;
//! - a tree as good as the one written is left as written;
//! - an outer join, or a join whose condition is volatile, is an input as a whole.
//!
//! [`search`] is the order alone, on numbers. Sides, algorithms and access paths are chosen afterwards
//! ([`super::optimize`]).

use std::collections::HashMap;

use query::context::TimeZone;
use query::expr::{CmpOp, Expr, Func};
use query::infer;

use super::estimate::input_rows;
use super::expr::equality;
use super::plan::{ColId, JoinKind, JoinWay, Plan, Scan};
use super::selectivity::distinct;

/// Inputs up to which all orders are compared.
const EXHAUSTIVE_INPUTS: usize = 10;
/// Inputs of one tree at most; of more, a subtree is an input. (A set of inputs is a word.)
const INPUTS_MAX: usize = 64;
/// Of the pairs that a condition other than an equality sees, the part for which it holds.
const OTHER_SELECTIVITY: f64 = 0.5;
/// Of a column that is no key by itself, the part of the rows that have different values.
const DISTINCT_PART: f64 = 0.1;

/// Orders the inner joins of a plan, wherever they are in it.
pub fn order_joins(plan: Plan, zone: &TimeZone) -> Plan {
    let mut plan = match plan {
        Plan::Join { kind: JoinKind::Inner, .. } => match Group::of(plan) {
            Ok(group) => return group.ordered(zone),
            Err(plan) => *plan,
        },
        plan => plan,
    };
    for input in plan.inputs_mut() {
        *input = order_joins(std::mem::take(input), zone);
    }
    plan
}

/// A tree of inner joins, taken apart.
struct Group {
    inputs: Vec<Plan>,
    conditions: Vec<Expr>,
    /// The tree as written.
    written: Tree,
}

impl Group {
    /// The plan itself if it cannot be taken apart.
    fn of(plan: Plan) -> Result<Group, Box<Plan>> {
        let mut group = Group { inputs: Vec::new(), conditions: Vec::new(), written: Tree::Input(0) };
        match group.take_apart(plan.clone()) {
            Some(tree) if group.inputs.len() >= least(&group.inputs) && group.inputs.len() <= INPUTS_MAX => {
                group.written = tree;
                Ok(group)
            }
            _ => Err(Box::new(plan)),
        }
    }

    fn take_apart(&mut self, plan: Plan) -> Option<Tree> {
        match plan {
            Plan::Join { kind: JoinKind::Inner, left, right, equal, other, .. }
                if !other.iter().any(Expr::is_volatile) =>
            {
                let left = self.take_apart(*left)?;
                let right = self.take_apart(*right)?;
                for (a, b) in equal {
                    self.conditions.push(infer::compare(CmpOp::Eq, a, b).ok()?);
                }
                self.conditions.extend(other);
                Some(Tree::Join(Box::new(left), Box::new(right)))
            }
            input => {
                self.inputs.push(input);
                Some(Tree::Input(self.inputs.len() - 1))
            }
        }
    }

    fn ordered(self, zone: &TimeZone) -> Plan {
        let Group { inputs, conditions, written } = self;
        let inputs: Vec<Plan> = inputs.into_iter().map(|input| order_joins(input, zone)).collect();
        let mut owner: HashMap<ColId, usize> = HashMap::new();
        for (at, input) in inputs.iter().enumerate() {
            owner.extend(input.outputs().into_iter().map(|id| (id, at)));
        }
        let rows: Vec<f64> = inputs.iter().map(|input| input_rows(input, zone).max(1.0)).collect();
        let edges: Vec<Edge> = conditions
            .iter()
            .map(|c| Edge {
                inputs: c.columns().iter().filter_map(|id| owner.get(id)).fold(0, |set, at| set | 1 << at),
                selectivity: selectivity(c, &inputs, &owner, &rows),
            })
            .collect();
        let tree = match first_inputs(&inputs) {
            first if first.is_empty() => search(&rows, &edges, written),
            first => led(&rows, &edges, &first),
        };
        let mut inputs: Vec<Option<Plan>> = inputs.into_iter().map(Some).collect();
        let mut conditions: Vec<(u64, Option<Expr>)> =
            edges.iter().map(|e| e.inputs).zip(conditions.into_iter().map(Some)).collect();
        put_together(&tree, &mut inputs, &mut conditions).0
    }
}

/// How many inputs must be there for an order to matter: sides of one join are chosen later, unless hints say which is
/// first.
fn least(inputs: &[Plan]) -> usize {
    if first_inputs(inputs).is_empty() { 3 } else { 2 }
}

/// The inputs that hints want joined first, in their order.
fn first_inputs(inputs: &[Plan]) -> Vec<usize> {
    let place = |at: usize| match &inputs[at] {
        Plan::Scan(scan) => scan.join_hint.place.map(|place| (place, at)),
        _ => None,
    };
    let mut first: Vec<(usize, usize)> = (0..inputs.len()).filter_map(place).collect();
    first.sort_unstable();
    first.into_iter().map(|(_, at)| at).collect()
}

/// The tree that begins with these inputs, one after the other; of the others the one follows whose join has the fewest
/// rows, one that conditions connect before any other.
fn led(rows: &[f64], edges: &[Edge], first: &[usize]) -> Tree {
    let part = |at: usize| Part { set: 1 << at, rows: rows[at], cost: 0.0, tree: Tree::Input(at) };
    let mut led = part(first[0]);
    for at in &first[1..] {
        led = led.join(&part(*at), edges);
    }
    let mut others: Vec<Part> = (0..rows.len()).filter(|at| !first.contains(at)).map(part).collect();
    while !others.is_empty() {
        let apart = |p: &Part| !connected(led.set, p.set, edges);
        let next = (0..others.len()).min_by(|a, b| {
            let key = |at: usize| (apart(&others[at]), rows_of(&led, &others[at], edges));
            key(*a).partial_cmp(&key(*b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        led = led.join(&others.swap_remove(next.unwrap_or_default()), edges);
    }
    led.tree
}

/// The part of all pairs for which a condition holds.
fn selectivity(c: &Expr, inputs: &[Plan], owner: &HashMap<ColId, usize>, rows: &[f64]) -> f64 {
    let Expr::Call(call) = c else { return OTHER_SELECTIVITY };
    if !matches!(call.func, Func::Compare(CmpOp::Eq | CmpOp::NullEq, ..)) {
        return OTHER_SELECTIVITY;
    }
    let distinct = call.args.iter().filter_map(|side| match side {
        Expr::Column { index, .. } => {
            let at = *owner.get(index)?;
            let known = match &inputs[at] {
                Plan::Scan(scan) => distinct(scan, *index),
                _ => None,
            };
            // Of the values of the whole table, no more than there are rows of it here.
            if let Some(values) = known {
                return Some(values.min(rows[at]).max(1.0));
            }
            let key = matches!(&inputs[at], Plan::Scan(scan) if is_key(scan, *index));
            Some(if key { rows[at] } else { (rows[at] * DISTINCT_PART).max(1.0) })
        }
        _ => None,
    });
    let most = distinct.fold(1.0, f64::max);
    if most > 1.0 { 1.0 / most } else { OTHER_SELECTIVITY }
}

/// Whether no two rows of the table have one value of the column.
fn is_key(scan: &Scan, id: ColId) -> bool {
    let Some(offset) = scan.offset_of(id) else { return false };
    scan.table.handle_column().is_some_and(|c| c.offset == offset)
        || scan
            .table
            .public_indexes()
            .any(|i| i.unique && matches!(&i.columns[..], [only] if only.offset == offset && only.length.is_none()))
}

/// A plan of the tree, and its inputs; each condition goes where all that it reads first comes together.
fn put_together(tree: &Tree, inputs: &mut [Option<Plan>], conditions: &mut [(u64, Option<Expr>)]) -> (Plan, u64) {
    match tree {
        Tree::Input(at) => (inputs[*at].take().unwrap_or_default(), 1 << at),
        Tree::Join(left, right) => {
            let (left, l) = put_together(left, inputs, conditions);
            let (right, r) = put_together(right, inputs, conditions);
            let (left_ids, right_ids) = (left.outputs().into_iter().collect(), right.outputs().into_iter().collect());
            let (mut equal, mut other) = (Vec::new(), Vec::new());
            for (reads, condition) in conditions.iter_mut() {
                if *reads & !(l | r) == 0
                    && let Some(c) = condition.take()
                {
                    match equality(&c, &left_ids, &right_ids) {
                        Some(pair) => equal.push(pair),
                        None => other.push(c),
                    }
                }
            }
            let (left, right) = (Box::new(left), Box::new(right));
            (Plan::Join { kind: JoinKind::Inner, left, right, equal, other, way: JoinWay::Hash }, l | r)
        }
    }
}

/// A condition, as the search sees it.
#[derive(Debug, Clone, Copy)]
struct Edge {
    /// The inputs that it reads.
    inputs: u64,
    /// The part of their pairs for which it holds.
    selectivity: f64,
}

/// Which inputs are joined with which.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Input(usize),
    Join(Box<Tree>, Box<Tree>),
}

/// A set of inputs, joined.
#[derive(Clone)]
struct Part {
    set: u64,
    /// Depends on the set alone, not on the tree: so it may be less than one.
    rows: f64,
    /// Rows of all joins in it.
    cost: f64,
    tree: Tree,
}

impl Part {
    fn join(&self, other: &Part, edges: &[Edge]) -> Part {
        let set = self.set | other.set;
        let rows = rows_of(self, other, edges);
        let tree = Tree::Join(Box::new(self.tree.clone()), Box::new(other.tree.clone()));
        Part { set, rows, cost: self.cost + other.cost + rows.max(1.0), tree }
    }
}

/// Rows of the join of two parts.
fn rows_of(a: &Part, b: &Part, edges: &[Edge]) -> f64 {
    let both = a.set | b.set;
    let new = edges.iter().filter(|e| e.inputs & !both == 0 && e.inputs & !a.set != 0 && e.inputs & !b.set != 0);
    new.fold(a.rows * b.rows, |rows, e| rows * e.selectivity)
}

fn connected(a: u64, b: u64, edges: &[Edge]) -> bool {
    edges.iter().any(|e| e.inputs & !(a | b) == 0 && e.inputs & a != 0 && e.inputs & b != 0)
}

/// The tree with the fewest rows between its inputs and its result; `written` if that is as good.
fn search(rows: &[f64], edges: &[Edge], written: Tree) -> Tree {
    let parts: Vec<Part> = rows
        .iter()
        .enumerate()
        .map(|(at, rows)| Part { set: 1 << at, rows: *rows, cost: 0.0, tree: Tree::Input(at) })
        .collect();
    let cost_of_written = cost(&written, &parts, edges);
    let crosses = crosses(&written, edges).1;
    let best = match parts.len() {
        0 => return written,
        n if n <= EXHAUSTIVE_INPUTS => combine(exhaustive(parts, edges), edges),
        _ => combine(parts, edges),
    };
    // Products that need not be are worse than their estimate.
    let as_good = best.cost >= cost_of_written.cost && (!crosses || self::crosses(&best.tree, edges).1);
    if as_good { written } else { best.tree }
}

/// A tree's rows and cost.
fn cost(tree: &Tree, parts: &[Part], edges: &[Edge]) -> Part {
    match tree {
        Tree::Input(at) => parts[*at].clone(),
        Tree::Join(l, r) => cost(l, parts, edges).join(&cost(r, parts, edges), edges),
    }
}

/// The inputs of a tree, and whether it multiplies some that no condition connects.
fn crosses(tree: &Tree, edges: &[Edge]) -> (u64, bool) {
    match tree {
        Tree::Input(at) => (1 << at, false),
        Tree::Join(l, r) => {
            let ((l, left), (r, right)) = (crosses(l, edges), crosses(r, edges));
            (l | r, left || right || !connected(l, r, edges))
        }
    }
}

/// The best part for each component that conditions connect.
fn exhaustive(parts: Vec<Part>, edges: &[Edge]) -> Vec<Part> {
    let all = parts.iter().fold(0, |set, p| set | p.set);
    let mut best: HashMap<u64, Part> = parts.into_iter().map(|p| (p.set, p)).collect();
    // A subset of a set is a smaller number.
    for set in 1..=all {
        if set & (set - 1) == 0 {
            continue;
        }
        let mut found: Option<Part> = None;
        let mut left = (set - 1) & set;
        while left > 0 {
            let right = set & !left;
            // Each split once.
            if left > right
                && let (Some(l), Some(r)) = (best.get(&left), best.get(&right))
                && connected(left, right, edges)
                && found.as_ref().is_none_or(|f| l.cost + r.cost < f.cost)
            {
                let part = l.join(r, edges);
                if found.as_ref().is_none_or(|f| part.cost < f.cost) {
                    found = Some(part);
                }
            }
            left = (left - 1) & set;
        }
        if let Some(part) = found {
            best.insert(set, part);
        }
    }
    // The largest sets that have a plan, until all inputs are in one.
    let mut sets: Vec<u64> = best.keys().copied().collect();
    sets.sort_by_key(|set| (std::cmp::Reverse(set.count_ones()), *set));
    let mut covered = 0;
    let mut out = Vec::new();
    for set in sets {
        if set & covered == 0 {
            covered |= set;
            out.extend(best.remove(&set));
        }
    }
    out
}

/// Joins the pair whose join has the fewest rows, one that conditions connect before any other, until one part is left.
fn combine(mut parts: Vec<Part>, edges: &[Edge]) -> Part {
    while parts.len() > 1 {
        let mut best: Option<(bool, f64, usize, usize)> = None;
        for a in 0..parts.len() {
            for b in a + 1..parts.len() {
                let apart = !connected(parts[a].set, parts[b].set, edges);
                let rows = rows_of(&parts[a], &parts[b], edges);
                if best.is_none_or(|(other, least, ..)| (apart, rows) < (other, least)) {
                    best = Some((apart, rows, a, b));
                }
            }
        }
        let Some((_, _, a, b)) = best else { break };
        let right = parts.remove(b);
        let left = std::mem::replace(&mut parts[a], right);
        parts[a] = left.join(&parts[a], edges);
    }
    parts.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn edge(a: usize, b: usize, selectivity: f64) -> Edge {
        Edge { inputs: 1 << a | 1 << b, selectivity }
    }

    /// `((0 ⋈ 1) ⋈ 2) ⋈ …`
    fn as_written(n: usize) -> Tree {
        (1..n).fold(Tree::Input(0), |tree, at| Tree::Join(Box::new(tree), Box::new(Tree::Input(at))))
    }

    fn inputs(tree: &Tree) -> Vec<usize> {
        match tree {
            Tree::Input(at) => vec![*at],
            Tree::Join(l, r) => [inputs(l), inputs(r)].concat(),
        }
    }

    #[test]
    fn a_chain_written_out_of_order_multiplies_nothing() {
        // 0 – 2 – 4 – 6 – 1 – 3 – 5, and with 64 inputs far beyond what can be compared exhaustively.
        for n in [7, 10, 11, 64] {
            let chain: Vec<usize> = (0..n).step_by(2).chain((1..n).step_by(2)).collect();
            let edges: Vec<Edge> = chain.windows(2).map(|w| edge(w[0], w[1], 1e-4)).collect();
            assert!(crosses(&as_written(n), &edges).1);
            let began = Instant::now();
            let tree = search(&vec![10_000.0; n], &edges, as_written(n));
            assert!(began.elapsed() < Duration::from_secs(1), "{n} inputs took {:?}", began.elapsed());
            assert_eq!(crosses(&tree, &edges), (u64::MAX >> (64 - n), false));
            let mut all = inputs(&tree);
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_as_good_as_any_other_stays_as_written() {
        let edges: Vec<Edge> = (1..6).map(|at| edge(at - 1, at, 1e-4)).collect();
        assert_eq!(search(&[10_000.0; 6], &edges, as_written(6)), as_written(6));
    }

    #[test]
    fn what_a_hint_names_is_joined_first_and_the_others_follow_their_conditions() {
        let edges = [edge(0, 1, 1e-4), edge(1, 2, 1e-4), edge(2, 3, 1e-4)];
        let tree = led(&[10.0, 10.0, 10.0, 10.0], &edges, &[3, 2]);
        assert_eq!(inputs(&tree), [3, 2, 1, 0]);
        let tree = led(&[10.0, 10.0, 10.0, 10.0], &edges, &[0, 3]);
        assert_eq!(inputs(&tree)[..2], [0, 3]);
    }

    #[test]
    fn the_small_input_of_a_star_comes_first() {
        // A table of facts in the middle; the last dimension leaves one row.
        let edges = [edge(0, 1, 1e-3), edge(0, 2, 1e-3), edge(0, 3, 1e-3)];
        let tree = search(&[10_000.0, 1_000.0, 1_000.0, 1.0], &edges, as_written(4));
        let Tree::Join(first, _) = &tree else { panic!("{tree:?}") };
        let Tree::Join(first, _) = &**first else { panic!("{tree:?}") };
        let mut pair = inputs(first);
        pair.sort_unstable();
        assert_eq!(pair, [0, 3]);
    }

    #[test]
    fn inputs_that_nothing_connects_are_multiplied_last() {
        let edges = [edge(0, 3, 1e-4), edge(1, 2, 1e-4)];
        let tree = search(&[10_000.0, 10_000.0, 10_000.0, 10_000.0], &edges, as_written(4));
        let Tree::Join(l, r) = &tree else { panic!("{tree:?}") };
        let mut sides = [inputs(l), inputs(r)];
        sides.iter_mut().for_each(|side| side.sort_unstable());
        sides.sort();
        assert_eq!(sides, [vec![0, 3], vec![1, 2]]);
    }

    #[test]
    fn no_tree_is_better_than_the_exhaustive_search_says() {
        // Every tree over a set, by brute force, on small random graphs.
        fn all(parts: &[Part], set: u64, edges: &[Edge]) -> Vec<Part> {
            if set & (set - 1) == 0 {
                return vec![parts[set.trailing_zeros() as usize].clone()];
            }
            let mut out = Vec::new();
            let mut left = (set - 1) & set;
            while left > 0 {
                if connected(left, set & !left, edges) {
                    for l in all(parts, left, edges) {
                        out.extend(all(parts, set & !left, edges).iter().map(|r| l.join(r, edges)));
                    }
                }
                left = (left - 1) & set;
            }
            out
        }
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..40 {
            let n = 5;
            let rows: Vec<f64> = (0..n).map(|_| 10_f64.powi(next(5) as i32)).collect();
            let mut edges: Vec<Edge> =
                (1..n).map(|at| edge(next(at as u64) as usize, at, 0.1_f64.powi(next(4) as i32))).collect();
            edges.push(edge(0, n - 1, 0.5));
            let parts: Vec<Part> =
                (0..n).map(|at| Part { set: 1 << at, rows: rows[at], cost: 0.0, tree: Tree::Input(at) }).collect();
            let least = all(&parts, (1 << n) - 1, &edges).iter().map(|p| p.cost).fold(f64::INFINITY, f64::min);
            let tree = search(&rows, &edges, as_written(n));
            let found = cost(&tree, &parts, &edges).cost;
            assert!(found <= least * (1.0 + 1e-9), "{found} > {least}: {rows:?} {edges:?}");
        }
    }
}
