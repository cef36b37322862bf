//! When two inputs that come in the order of their equal columns are merged.
//!
//! A scan comes in the order of its keys: the handle's, or an index's. What is merged comes in the order of what it was merged
//! by. Merging needs no table of one whole side in memory, and nothing is written where memory is short; a hash table costs
//! about half as much again for each row that it holds, comparing keys in order a fifth for each row of either side. So sides
//! of about one size are merged where their order costs nothing, and with a hint even what has to be sorted for it.

use codec::types::TypeCode;
use query::expr::{CmpOp, Expr};
use query::infer;
use query::types::Physical;

use super::Rules;
use crate::estimate::{LOOKUP_ROW, estimate};
use crate::plan::{ColId, JoinKind, JoinWay, Plan, Scan, SortKey};

/// What a row of a hash table costs, and the comparison of one that is merged, in rows that are read.
const BUILD_ROW: f64 = 0.5;
const MERGE_ROW: f64 = 0.2;

/// The columns of a pair whose keys are equal and in order where the values are.
fn columns((a, b): &(Expr, Expr)) -> Option<(ColId, ColId)> {
    let (Expr::Column { index: left, ty: a, .. }, Expr::Column { index: right, ty: b, .. }) = (a, b) else {
        return None;
    };
    use TypeCode::*;
    // Moments are in order, and what clocks showed then is not always.
    let ordered = !matches!(a.tp, Timestamp | Enum | Set | Bit | Json) && a.tp.is_string() == b.tp.is_string();
    let same = Physical::of(a) == Physical::of(b) && (!a.tp.is_string() || a.collation == b.collation);
    (ordered && same && b.tp != Timestamp && !matches!(b.tp, Enum | Set | Bit | Json)).then_some((*left, *right))
}

/// A side in order, and what the order costs in rows that are read.
struct InOrder {
    plan: Plan,
    cost: f64,
}

impl Rules<'_> {
    /// The join of two placed inputs by merging, and whether a hint asks for it; `None` where it cannot or should not be.
    pub(super) fn place_merge(
        &self,
        kind: JoinKind,
        (left, right): (&Plan, &Plan),
        unplaced: &[Option<Scan>; 2],
        (equal, other): (&[(Expr, Expr)], &[Expr]),
    ) -> Option<(Plan, bool)> {
        let wishes = || unplaced.iter().flatten().map(|scan| scan.join_hint);
        let wanted = wishes().any(|hint| hint.merge == Some(true));
        if !wanted && wishes().any(|hint| hint.merge == Some(false) || hint.lookup.is_some()) {
            return None;
        }
        let pairs: Vec<(ColId, ColId)> = equal.iter().map_while(columns).collect();
        // By all pairs, or by one of them: then the others are conditions.
        let whole = (pairs.len() == equal.len() && !pairs.is_empty()).then(|| (0..pairs.len()).collect::<Vec<_>>());
        let single = (0..equal.len()).filter(|at| equal.len() > 1 && columns(&equal[*at]).is_some()).map(|at| vec![at]);
        for by in whole.into_iter().chain(single) {
            let pairs: Vec<(ColId, ColId)> = by.iter().filter_map(|at| columns(&equal[*at])).collect();
            let ids = |left: bool| pairs.iter().map(|(l, r)| if left { *l } else { *r }).collect::<Vec<_>>();
            let l = self.in_order(left, unplaced[0].as_ref(), &ids(true), wanted);
            let r = self.in_order(right, unplaced[1].as_ref(), &ids(false), wanted);
            let (Some(l), Some(r)) = (l, r) else { continue };
            let (rows_left, rows_right) = (estimate(left), estimate(right));
            let hash = rows_left.min(rows_right) * BUILD_ROW;
            let merge = (rows_left + rows_right) * MERGE_ROW + l.cost + r.cost;
            if !wanted && merge >= hash {
                continue;
            }
            let mut conditions = other.to_vec();
            for (at, (a, b)) in equal.iter().enumerate() {
                if !by.contains(&at) {
                    conditions.push(infer::compare(CmpOp::Eq, a.clone(), b.clone()).ok()?);
                }
            }
            let equal = by.iter().map(|at| equal[*at].clone()).collect();
            let (left, right) = (Box::new(l.plan), Box::new(r.plan));
            return Some((Plan::Join { kind, left, right, equal, other: conditions, way: JoinWay::Merge }, wanted));
        }
        None
    }

    /// A side in the order of these columns; sorted for it only if that is wanted.
    fn in_order(&self, placed: &Plan, unplaced: Option<&Scan>, ids: &[ColId], wanted: bool) -> Option<InOrder> {
        if merged_by(placed).is_some_and(|order| order.starts_with(ids)) {
            return Some(InOrder { plan: placed.clone(), cost: 0.0 });
        }
        let keys: Vec<(ColId, bool)> = ids.iter().map(|id| (*id, false)).collect();
        if let Some(scan) = unplaced {
            let (scan, ordered) = self.place_scan(scan.clone(), &keys, None);
            if ordered && !scan.access.is_points() {
                let cost = if scan.access.is_lookup() { scan.estimate * LOOKUP_ROW } else { 0.0 };
                return Some(InOrder { plan: Plan::Scan(Box::new(scan)), cost });
            }
        }
        let sorted = |placed: &Plan| {
            let keys = ids.iter().map(|id| SortKey { expr: self.columns.expr(*id), desc: false }).collect();
            let plan = Plan::Sort { input: Box::new(placed.clone()), keys, limit: None };
            InOrder { plan, cost: estimate(placed) }
        };
        wanted.then(|| sorted(placed))
    }
}

/// The columns by which a plan's rows were merged, and are in order.
fn merged_by(plan: &Plan) -> Option<Vec<ColId>> {
    match plan {
        Plan::Join { equal, way: JoinWay::Merge, .. } => {
            let left = |(e, _): &(Expr, Expr)| if let Expr::Column { index, .. } = e { Some(*index) } else { None };
            equal.iter().map(left).collect()
        }
        _ => None,
    }
}
