//! What part of a table's rows satisfies conditions: from its statistics, or as TiDB guesses without them.
//!
//! | a condition on a column | with statistics | without |
//! |---|---|---|
//! | `=`, `IN`, `<=>`, `IS NULL` | frequent values, buckets | one in a thousand for each value |
//! | `<`, `>=`, `BETWEEN`, … | the range of the histogram | a third; a fortieth between two bounds |
//! | `LIKE 'abc%'` | the range of what begins so | a fortieth |
//! | `<>`, `NOT`, `OR` | from their parts | |
//! | anything else | four in five | four in five |
//!
//! All conditions on one column are one range. Ranges of several columns are not thought to be independent altogether: the
//! most selective counts in full, the next by its root, the one after by its fourth root (exponential back-off), because
//! what people store together belongs together.
//!
//! Not here: which keys are read ([`super::access`]), joins ([`super::estimate`]).

use std::collections::BTreeMap;

use codec::datum::Datum;
use codec::types::FieldType;
use query::context::TimeZone;
use query::expr::{CmpOp, Expr, Func};
use sql_catalog::IndexInfo;
use statistics::Distribution;

use crate::expr as shape;
use crate::plan::{ColId, Scan};
use crate::ranges::{self, Bound, Interval, Outline, Restriction};

/// Of conditions of which nothing is known.
const OTHER: f64 = 0.8;
/// Of one value of a column without statistics.
const VALUE: f64 = 0.001;

/// Of intervals of a column without statistics.
pub fn guessed(intervals: &[Interval]) -> f64 {
    let one = |i: &Interval| match (&i.low, &i.high) {
        _ if i.as_point().is_some() => VALUE,
        (Bound::Open, Bound::Open) => 1.0,
        (Bound::Excluded(Datum::Null), Bound::Open) => 1.0,
        (Bound::Open | Bound::Excluded(Datum::Null), _) | (_, Bound::Open) => 1.0 / 3.0,
        _ => 1.0 / 40.0,
    };
    intervals.iter().map(one).sum::<f64>().min(1.0)
}

/// The distribution of a column, if it is known and of the column's present type.
fn distribution(scan: &Scan, offset: usize) -> Option<&Distribution> {
    scan.known.column(scan.table.columns.get(offset)?.id)
}

/// The part of the rows whose value of a column, by its offset in the table, is in the intervals.
pub fn of_column(scan: &Scan, offset: usize, intervals: &[Interval]) -> f64 {
    let known = distribution(scan, offset).zip(scan.table.columns.get(offset));
    let Some((d, column)) = known else { return guessed(intervals) };
    let Some(keys) = key_ranges(intervals, &column.field_type) else { return guessed(intervals) };
    let rows: f64 = keys.iter().map(|(low, high)| scan.known.range_rows(d, low, high.as_deref())).sum();
    (rows / scan.known.rows()).clamp(0.0, 1.0)
}

/// Half-open ranges of keys of a column's distribution.
fn key_ranges(intervals: &[Interval], ty: &FieldType) -> Option<Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    // A byte before all keys, so that a range without an end has one.
    const BEFORE: u8 = 1;
    let found = ranges::key_ranges(&[BEFORE], intervals, ty).ok()?;
    let cut = |(low, high): (Vec<u8>, Vec<u8>)| {
        let high = (high != [BEFORE + 1]).then(|| high[1..].to_vec());
        (low[1..].to_vec(), high)
    };
    Some(found.into_iter().map(cut).collect())
}

/// The part of the rows whose value of a column, by its offset in the table, will be what an outline tells of it.
pub fn of_outline(scan: &Scan, offset: usize, outline: &Outline) -> f64 {
    let value = match distribution(scan, offset) {
        Some(d) => scan.known.rows_of_a_value(d) / scan.known.rows(),
        None => VALUE,
    };
    match (outline.points, outline.low, outline.high) {
        (Some(n), ..) => value * n as f64,
        (None, false, false) => 1.0,
        (None, true, true) => 1.0 / 40.0,
        (None, ..) => 1.0 / 3.0,
    }
    .min(1.0)
}

/// Rows of key ranges of an index, whose first columns have parts of the rows each. `whole`: the ranges are of values of
/// all its columns.
pub fn of_index(scan: &Scan, index: &IndexInfo, parts: &[f64], whole: bool, ranges: &[(Vec<u8>, Vec<u8>)]) -> f64 {
    let rows = scan.known.rows();
    // What belongs together is known of whole keys.
    if whole && let Some(d) = scan.known.index(index.id) {
        let head = sql_catalog::row::entries_prefix(&scan.table, scan.physical, index).len();
        let one = |(low, high): &(Vec<u8>, Vec<u8>)| match (low.get(head..), high.get(head..)) {
            (Some(low), high) => scan.known.range_rows(d, low, high.filter(|h| !h.is_empty())),
            (None, _) => 0.0,
        };
        return ranges.iter().map(one).sum::<f64>().min(rows);
    }
    match scan.known.is_pseudo() {
        true => parts.iter().product::<f64>() * rows,
        false => backed_off(parts.to_vec()) * rows,
    }
}

/// The part of the rows that satisfies several conditions.
pub fn of_conditions<'e>(scan: &Scan, filters: impl IntoIterator<Item = &'e Expr>, zone: &TimeZone) -> f64 {
    // Conditions that are ranges of one column, and all others.
    let mut columns: BTreeMap<usize, Vec<Interval>> = BTreeMap::new();
    let mut parts = Vec::new();
    for filter in filters {
        match single_column(scan, filter, zone) {
            Some((_, None)) => return 0.0,
            Some((offset, Some((intervals, exact)))) => {
                if !exact {
                    parts.push(OTHER);
                }
                let Some(column) = scan.table.columns.get(offset) else { continue };
                let both = match columns.remove(&offset) {
                    Some(held) => ranges::intersect(&held, &intervals, &column.field_type),
                    None => intervals,
                };
                columns.insert(offset, both);
            }
            None => parts.push(of_condition(scan, filter, zone)),
        }
    }
    parts.extend(columns.iter().map(|(offset, intervals)| of_column(scan, *offset, intervals)));
    if scan.known.is_pseudo() { parts.iter().product() } else { backed_off(parts) }
}

/// The intervals of a column that a condition is, or (`false`) that have more than satisfies it; none of them: it is never
/// true.
#[allow(clippy::type_complexity)]
fn single_column(scan: &Scan, filter: &Expr, zone: &TimeZone) -> Option<(usize, Option<(Vec<Interval>, bool)>)> {
    let columns = filter.columns();
    let id = *columns.first()?;
    if columns.iter().any(|c| *c != id) {
        return None;
    }
    let offset = scan.offset_of(id)?;
    Some(match ranges::restriction(filter, id, zone)? {
        Restriction::Never => (offset, None),
        Restriction::Exact(intervals) => (offset, Some((intervals, true))),
        Restriction::Within(intervals) => (offset, Some((intervals, false))),
    })
}

/// The part of the rows that satisfies a condition.
fn of_condition(scan: &Scan, filter: &Expr, zone: &TimeZone) -> f64 {
    match single_column(scan, filter, zone) {
        Some((_, None)) => return 0.0,
        Some((offset, Some((intervals, exact)))) => {
            return of_column(scan, offset, &intervals) * if exact { 1.0 } else { OTHER };
        }
        None => {}
    }
    if let [id] = filter.columns()[..]
        && let Some((offset, outline)) = scan.offset_of(id).zip(ranges::outline(filter, id))
    {
        return of_outline(scan, offset, &outline);
    }
    let Expr::Call(call) = filter else { return OTHER };
    let part = |e: &Expr| of_condition(scan, e, zone);
    match call.func {
        Func::And => backed_off(call.args.iter().map(part).collect()),
        Func::Or => 1.0 - call.args.iter().map(|e| 1.0 - part(e)).product::<f64>(),
        Func::Not => call.args.first().map_or(OTHER, |e| not(scan, e, part(e))),
        Func::Compare(CmpOp::Ne, ..) => match shape::column_compare(filter) {
            Some((_, id, ty, value, from)) if !value.is_null() => {
                let found = ranges::in_column_type(value, from, ty, zone).zip(scan.offset_of(id));
                found.map_or(OTHER, |((value, order), offset)| {
                    let equal = if order.is_eq() { of_column(scan, offset, &[Interval::point(value)]) } else { 0.0 };
                    (1.0 - equal - nulls(scan, id)).max(0.0)
                })
            }
            _ => OTHER,
        },
        Func::Compare(CmpOp::Eq | CmpOp::NullEq, ..) => match &call.args[..] {
            // Two columns of one table, or one and what the run will tell.
            [a, b] => match most(distinct_of(scan, a), distinct_of(scan, b)) {
                Some(values) => 1.0 / values.max(1.0),
                None => OTHER,
            },
            _ => OTHER,
        },
        _ => OTHER,
    }
}

/// Of NOT: what is true of neither a condition nor its opposite is NULL.
fn not(scan: &Scan, condition: &Expr, part: f64) -> f64 {
    let is_null = shape::column_is_null(condition).is_some();
    let unknown = match condition.columns()[..] {
        [id] if !is_null => nulls(scan, id),
        _ => 0.0,
    };
    (1.0 - part - unknown).clamp(0.0, 1.0)
}

/// The part of the rows that have NULL in a column.
fn nulls(scan: &Scan, id: ColId) -> f64 {
    let d = scan.offset_of(id).and_then(|offset| distribution(scan, offset));
    d.map_or(0.0, |d| d.nulls as f64 / d.rows.max(1) as f64)
}

fn most(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    }
}

fn distinct_of(scan: &Scan, e: &Expr) -> Option<f64> {
    match e {
        Expr::Column { index, .. } => distinct(scan, *index),
        _ => None,
    }
}

/// How many different values a column has in the whole table, if it is known.
pub fn distinct(scan: &Scan, id: ColId) -> Option<f64> {
    let d = distribution(scan, scan.offset_of(id)?)?;
    Some(scan.known.distinct(d))
}

/// Parts of several columns together.
fn backed_off(mut parts: Vec<f64>) -> f64 {
    parts.sort_by(f64::total_cmp);
    let mut power = 1.0;
    parts.iter().take(4).fold(1.0, |product, part| {
        let counted = product * part.powf(power);
        power /= 2.0;
        counted
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use codec::datum::encode_key;
    use query::infer;
    use sql_catalog::{ColumnInfo, TableInfo};
    use statistics::{BuildOptions, TableMeta, TableStatistics, Totals};

    use super::*;
    use crate::plan::{Access, JoinHint, Pushed};

    #[test]
    fn the_most_selective_part_counts_most() {
        assert_eq!(backed_off(vec![]), 1.0);
        assert_eq!(backed_off(vec![0.25]), 0.25);
        assert_eq!(backed_off(vec![1.0, 0.25]), 0.25);
        assert_eq!(backed_off(vec![0.25, 0.01]), 0.005);
    }

    const ROWS: i64 = 10_000;

    /// A scan of `t (n BIGINT, s VARCHAR(20))`: `n` is 0 in half of the rows, NULL in a tenth and otherwise the number of
    /// the row; `s` is `k0000` to `k9999`.
    fn scan() -> Scan {
        let types = [FieldType::bigint(), FieldType::varchar(20)];
        let column = |offset: usize, name: &str| ColumnInfo::new(offset, name, types[offset].clone());
        let table = TableInfo::new(7, "t", vec![column(0, "n"), column(1, "s")]);
        let n = |i: i64| match i % 10 {
            0 => Datum::Null,
            1..=5 => Datum::Int(0),
            _ => Datum::Int(i),
        };
        let s = |i: i64| Datum::string(format!("k{i:04}"));
        let distribution = |value: &dyn Fn(i64) -> Datum, ty: &FieldType| {
            let values: Vec<Datum> = (0..ROWS).map(value).filter(|d| !d.is_null()).collect();
            let nulls = ROWS as u64 - values.len() as u64;
            let key = |d: &Datum| {
                let mut key = Vec::new();
                encode_key(&mut key, d, Some(ty)).unwrap();
                key
            };
            let totals = Totals { rows: ROWS as u64, nulls, ..Totals::default() };
            let options = BuildOptions { buckets: 100, top_n: 10 };
            Arc::new(statistics::build(values.iter().map(key).collect(), totals, options))
        };
        let columns = HashMap::from([(1, distribution(&n, &types[0])), (2, distribution(&s, &types[1]))]);
        let meta = TableMeta { rows: ROWS as u64, modified: 0, snapshot_ts: 1, version: 1 };
        Scan {
            physical: table.physical_id(),
            partitions: None,
            table: Arc::new(table),
            database: "d".into(),
            alias: "t".into(),
            columns: vec![(0, 0), (1, 1)],
            handle: None,
            filters: Vec::new(),
            access: Access::Full,
            order: None,
            pushed: Pushed::default(),
            residual: Vec::new(),
            hints: Vec::new(),
            join_hint: JoinHint::default(),
            lock: None,
            inside: false,
            derived: false,
            estimate: ROWS as f64,
            view: None,
            known: Arc::new(TableStatistics::new(meta, columns, HashMap::new())),
        }
    }

    fn n(op: CmpOp, value: i64) -> Expr {
        infer::compare(op, Expr::column(0, FieldType::bigint()), Expr::constant(value)).unwrap()
    }

    fn like(pattern: &str) -> Expr {
        infer::like(Expr::column(1, FieldType::varchar(20)), Expr::constant(pattern), Some('\\')).unwrap()
    }

    /// Rows that are thought to satisfy conditions, against those that do.
    fn near(filters: &[Expr], exact: f64) {
        let found = of_conditions(&scan(), filters, &TimeZone::UTC) * ROWS as f64;
        let room = (exact * 0.1).max(60.0);
        assert!((found - exact).abs() <= room, "{filters:?}: {found} rows and not {exact}");
    }

    #[test]
    fn conditions_on_one_column_are_near_what_is_there() {
        near(&[n(CmpOp::Eq, 0)], 5_000.0);
        near(&[n(CmpOp::Eq, 777)], 1.0);
        near(&[n(CmpOp::Eq, 770)], 0.0);
        near(&[n(CmpOp::Ne, 0)], 4_000.0);
        near(&[n(CmpOp::NullEq, 0)], 5_000.0);
        near(&[infer::is_null(Expr::column(0, FieldType::bigint()))], 1_000.0);
        near(&[infer::not(infer::is_null(Expr::column(0, FieldType::bigint())))], 9_000.0);
        near(&[infer::not(n(CmpOp::Eq, 0))], 4_000.0);
        near(&[n(CmpOp::Gt, 0)], 4_000.0);
        near(&[n(CmpOp::Ge, 0)], 9_000.0);
        near(&[n(CmpOp::Ge, 5_000)], 2_000.0);
        near(&[n(CmpOp::Ge, 5_000), n(CmpOp::Lt, 6_000)], 400.0);
        near(&[n(CmpOp::Ge, 5_000), n(CmpOp::Lt, 5_000)], 0.0);
        near(&[infer::or(n(CmpOp::Lt, 1_000), n(CmpOp::Ge, 9_000))], 5_800.0);
        let list = [0_i64, 7, 8].map(Expr::constant).to_vec();
        near(&[infer::in_list(Expr::column(0, FieldType::bigint()), list).unwrap()], 5_002.0);
    }

    #[test]
    fn a_pattern_that_begins_with_text_is_a_range() {
        near(&[like("k12%")], 100.0);
        near(&[like("k1234")], 1.0);
        near(&[like("x%")], 0.0);
        near(&[like("k\\%1%")], 0.0);
        // Nothing is known of what contains something.
        near(&[like("%12%")], 8_000.0);
    }

    #[test]
    fn columns_belong_together_more_than_by_chance() {
        // A hundredth and a half: between their product and the smaller of them.
        let both = of_conditions(&scan(), &[like("k12%"), n(CmpOp::Eq, 0)], &TimeZone::UTC) * ROWS as f64;
        assert!((50.0..100.0).contains(&both), "{both}");
    }

    #[test]
    fn without_statistics_parts_are_those_of_tidb() {
        let unknown = Scan { known: Arc::default(), ..scan() };
        let part = |filters: &[Expr]| of_conditions(&unknown, filters, &TimeZone::UTC);
        assert_eq!(part(&[n(CmpOp::Eq, 0)]), 0.001);
        assert_eq!(part(&[n(CmpOp::Gt, 0)]), 1.0 / 3.0);
        assert_eq!(part(&[n(CmpOp::Gt, 0), n(CmpOp::Lt, 9)]), 1.0 / 40.0);
        assert_eq!(part(&[like("k12%")]), 1.0 / 40.0);
        assert_eq!(part(&[like("%12%")]), 0.8);
    }

    #[test]
    fn a_column_has_its_values() {
        assert!((4_000.0..4_002.0).contains(&distinct(&scan(), 0).unwrap()));
        assert_eq!(distinct(&Scan { known: Arc::default(), ..scan() }, 0), None);
    }

    #[test]
    fn ranges_of_a_column_have_an_end_only_where_there_is_one() {
        let ty = FieldType::bigint();
        let interval = |low, high| Interval { low, high };
        let keys = key_ranges(
            &[
                interval(Bound::Open, Bound::Excluded(Datum::Int(5))),
                interval(Bound::Included(Datum::Int(7)), Bound::Open),
            ],
            &ty,
        )
        .unwrap();
        assert_eq!(keys[0].0, Vec::<u8>::new());
        assert!(keys[0].1.is_some());
        assert_eq!(keys[1].1, None);
    }
}
