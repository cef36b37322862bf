//! Which keys of a table a scan reads: points, ranges of the handle, entries of an index, or everything.
//!
//! Which is cheapest is told by how many rows each reads ([`crate::selectivity`]), and what a row costs: one that is fetched by
//! its key as much as [`LOOKUP`] that are read one after the other. Without statistics an index is used wherever it may help.

use std::collections::HashSet;

use codec::datum::Datum;
use codec::table;
use query::context::TimeZone;
use query::expr::Expr;
use sql_catalog::IndexInfo;

use crate::plan::{Access, ColId, IndexHint, Scan};
use crate::ranges::{self, Interval, Restriction};
use crate::selectivity;

/// What it costs to fetch a row by its key, in rows that are scanned.
const LOOKUP: f64 = 8.0;
/// The same where nothing is known of a table: a scan may be longer than is thought.
const LOOKUP_UNKNOWN: f64 = 2.0;
/// Most combinations of IN lists over several index columns.
const COMBINATIONS_MAX: usize = 1_024;

/// How EXPLAIN words the range of all entries of an index.
pub const EVERYTHING: &str = "[NULL,+inf]";

/// A way to read a table.
pub struct Choice {
    /// The keys.
    pub access: Access,
    /// Positions of filters that the keys make true.
    pub consumed: HashSet<usize>,
    /// Rough number of rows that the keys yield.
    pub estimate: f64,
    /// Of rows that satisfy all conditions, where something is known of the table.
    pub result: Option<f64>,
    /// The wanted order comes for free: `Some(descending)`.
    pub ordered: Option<bool>,
    cost: f64,
}

/// Intersection of what all filters say about a column: intervals, and which filters that were.
fn column_intervals(
    filters: &[Expr],
    id: ColId,
    zone: &TimeZone,
    ty: &codec::types::FieldType,
) -> (Option<Vec<Interval>>, Vec<usize>) {
    let mut intervals: Option<Vec<Interval>> = None;
    let mut used = Vec::new();
    for (i, f) in filters.iter().enumerate() {
        match ranges::restriction(f, id, zone) {
            None => {}
            Some(Restriction::Never) => {
                used.push(i);
                intervals = Some(Vec::new());
            }
            Some(Restriction::Exact(list)) => {
                used.push(i);
                intervals = Some(match intervals {
                    None => list,
                    Some(old) => ranges::intersect(&old, &list, ty),
                });
            }
        }
    }
    (intervals, used)
}

/// The cheapest way to read the rows that satisfy the filters, preferably in the wanted order.
pub fn choose_access(
    scan: &Scan,
    filters: &[Expr],
    wanted: &[(ColId, bool)],
    limit: Option<u64>,
    zone: &TimeZone,
) -> Choice {
    let table = &scan.table;
    let table_rows = scan.known.rows();
    // Rows that satisfy the conditions, where something is known of them.
    let result = (!scan.known.is_pseudo()).then(|| table_rows * selectivity::of_conditions(scan, filters, zone));
    let same_direction = wanted.windows(2).all(|w| w[0].1 == w[1].1);
    let desc = wanted.first().is_some_and(|w| w.1);
    let wanted_offsets: Option<Vec<usize>> = if wanted.is_empty() || !same_direction {
        None
    } else {
        wanted.iter().map(|(id, _)| scan.offset_of(*id)).collect()
    };
    // A sort costs as much as reading what it sorts.
    let finish = |mut c: Choice, remaining_filters: bool| {
        if c.ordered.is_some() {
            // Of the rows that are read, so many are of the result: that many more have to be read.
            let read = match (remaining_filters, result) {
                (false, _) => Some(1.0),
                (true, Some(result)) => Some((c.estimate / result.max(1.0)).max(1.0)),
                (true, None) => None,
            };
            if let (Some(n), Some(read)) = (limit, read) {
                c.cost = c.cost.min(c.cost / c.estimate.max(1.0) * n as f64 * read + 1.0);
            }
        } else if !wanted.is_empty() {
            c.cost += result.unwrap_or(c.estimate).min(c.estimate);
        }
        c
    };
    let mut choices: Vec<Choice> = Vec::new();
    let allowed = |name: &str| {
        scan.hints.iter().all(|(kind, names)| {
            let named = names.iter().any(|n| n.eq_ignore_ascii_case(name));
            match kind {
                IndexHint::Use => named || names.is_empty() && name.eq_ignore_ascii_case("primary"),
                IndexHint::Ignore => !named,
            }
        })
    };

    // Everything, in handle order.
    let handle_column = table.handle_column();
    let handle_ordered = || {
        let offsets = wanted_offsets.as_ref()?;
        let column = handle_column?;
        // A handle of an unsigned column is not in its order.
        (!column.field_type.is_unsigned() && offsets.first() == Some(&column.offset)).then_some(desc)
    };
    let full = Choice {
        access: Access::Full,
        consumed: HashSet::new(),
        estimate: table_rows,
        result,
        ordered: handle_ordered(),
        cost: table_rows,
    };
    choices.push(finish(full, !filters.is_empty()));

    // The handle.
    if let Some(column) = handle_column
        && let Some(id) = scan.id_of(column.offset)
        && allowed("primary")
    {
        let (intervals, used) = column_intervals(filters, id, zone, &column.field_type);
        if let Some(intervals) = intervals {
            let consumed: HashSet<usize> = used.into_iter().collect();
            let rest = consumed.len() < filters.len();
            if intervals.is_empty() {
                return Choice {
                    access: Access::Empty,
                    consumed,
                    estimate: 0.0,
                    result: None,
                    ordered: Some(desc),
                    cost: 0.0,
                };
            }
            let points: Option<Vec<i64>> = intervals
                .iter()
                .map(|i| {
                    i.as_point()
                        .and_then(|d| d.as_i64().or(if let Datum::UInt(u) = d { Some(*u as i64) } else { None }))
                })
                .collect();
            match points {
                Some(mut points) => {
                    points.sort_unstable();
                    points.dedup();
                    // However long the list is, the table has no more rows.
                    let n = (points.len() as f64).min(table_rows);
                    // Points are fetched together, so they come in their own order at no cost.
                    let ordered = if points.len() == 1 { Some(desc) } else { handle_ordered() };
                    if ordered == Some(true) {
                        points.reverse();
                    }
                    let access = Access::PointHandles(points);
                    choices
                        .push(finish(Choice { access, consumed, estimate: n, result, ordered, cost: n * 0.5 }, rest));
                }
                None => {
                    if let Some(ranges) = handle_ranges(&intervals, column.field_type.is_unsigned()) {
                        let rows = (table_rows * selectivity::of_column(scan, column.offset, &intervals)).max(1.0);
                        let ordered = handle_ordered();
                        choices.push(finish(
                            Choice {
                                access: Access::Handles(ranges),
                                consumed,
                                estimate: rows,
                                result,
                                ordered,
                                cost: rows,
                            },
                            rest,
                        ));
                    }
                }
            }
        }
    }

    for index in table.public_indexes().filter(|i| !i.invisible && allowed(i.name.as_str())) {
        if let Some(mut choice) = index_access(scan, index, filters, wanted_offsets.as_deref(), desc, zone) {
            choice.result = result;
            if matches!(choice.access, Access::Empty) {
                return choice;
            }
            let rest = choice.consumed.len() < filters.len();
            choices.push(finish(choice, rest));
        }
    }
    let forced = scan.hints.iter().any(|(kind, names)| *kind == IndexHint::Use && !names.is_empty());
    if forced && choices.len() > 1 {
        choices.remove(0);
    }
    let mut best = choices.into_iter().reduce(|a, b| if b.cost < a.cost { b } else { a });
    if let Some(c) = &mut best
        && wanted.is_empty()
    {
        c.ordered = None;
    }
    best.unwrap_or(Choice {
        access: Access::Full,
        consumed: HashSet::new(),
        estimate: table_rows,
        result,
        ordered: None,
        cost: table_rows,
    })
}

fn handle_ranges(intervals: &[Interval], unsigned: bool) -> Option<Vec<(i64, i64)>> {
    use crate::ranges::Bound;
    if unsigned {
        return None;
    }
    let mut out = Vec::new();
    for i in intervals {
        let low = match &i.low {
            Bound::Open | Bound::Excluded(Datum::Null) => i64::MIN,
            Bound::Included(d) => d.as_i64()?,
            Bound::Excluded(d) => match d.as_i64()?.checked_add(1) {
                Some(v) => v,
                None => continue,
            },
        };
        let high = match &i.high {
            Bound::Open => i64::MAX,
            Bound::Included(d) => d.as_i64()?,
            Bound::Excluded(d) => match d.as_i64()?.checked_sub(1) {
                Some(v) => v,
                None => continue,
            },
        };
        if low <= high {
            out.push((low, high));
        }
    }
    Some(out)
}

fn index_access(
    scan: &Scan,
    index: &IndexInfo,
    filters: &[Expr],
    wanted: Option<&[usize]>,
    desc: bool,
    zone: &TimeZone,
) -> Option<Choice> {
    let table = &scan.table;
    let mut combos: Vec<Vec<Datum>> = vec![Vec::new()];
    let mut consumed = HashSet::new();
    let mut tail: Option<(Vec<Interval>, &codec::types::FieldType)> = None;
    let mut parts = Vec::new();
    let mut depth = 0;
    let mut whole = true;
    for part in &index.columns {
        let column = table.columns.get(part.offset)?;
        let Some(id) = scan.id_of(part.offset) else {
            whole = false;
            break;
        };
        let (intervals, used) = column_intervals(filters, id, zone, &column.field_type);
        let Some(mut intervals) = intervals else {
            whole = false;
            break;
        };
        if intervals.is_empty() {
            let consumed = used.into_iter().collect();
            return Some(Choice {
                access: Access::Empty,
                consumed,
                estimate: 0.0,
                result: None,
                ordered: Some(desc),
                cost: 0.0,
            });
        }
        let cut = match part.length {
            Some(n) => {
                // The index holds a prefix: equal values have equal prefixes, and nothing more is known.
                if intervals.iter().any(|i| i.as_point().is_none()) {
                    whole = false;
                    break;
                }
                for i in &mut intervals {
                    if let Some(Datum::Bytes(b)) = i.as_point() {
                        *i = Interval::point(Datum::Bytes(
                            table::index_prefix_of(b, &column.field_type, n as usize).to_vec(),
                        ));
                    }
                }
                // Different values may have one prefix.
                intervals = ranges::union(intervals, &column.field_type);
                true
            }
            None => {
                consumed.extend(used);
                false
            }
        };
        depth += 1;
        let points: Option<Vec<Datum>> = intervals.iter().map(|i| i.as_point().cloned()).collect();
        match points {
            Some(points) if combos.len() == 1 || combos.len() * points.len() <= COMBINATIONS_MAX => {
                parts.push(selectivity::of_column(scan, part.offset, &intervals));
                combos = combos
                    .iter()
                    .flat_map(|c| {
                        points.iter().map(move |p| {
                            let mut c = c.clone();
                            c.push(p.clone());
                            c
                        })
                    })
                    .collect();
                if cut {
                    whole = false;
                    break;
                }
            }
            _ => {
                parts.push(selectivity::of_column(scan, part.offset, &intervals));
                tail = Some((intervals, &column.field_type));
                whole = false;
                break;
            }
        }
    }
    if whole && index.unique && combos.iter().flatten().all(|d| !d.is_null()) {
        let n = (combos.len() as f64).min((scan.known.rows() / 2.0).max(1.0));
        let ordered = (combos.len() == 1).then_some(desc);
        let access = Access::PointIndex { index: index.id, keys: combos };
        return Some(Choice { access, consumed, estimate: n, result: None, ordered, cost: n * 1.5 });
    }

    // Does the order of the entries, after the columns that are fixed, begin with the wanted one?
    let ordered = wanted.and_then(|wanted| {
        if combos.len() > 1 || table.handle_column().is_some_and(|c| c.field_type.is_unsigned()) {
            return None;
        }
        let fixed = combos[0].len();
        let mut keys = index.columns.iter().enumerate();
        for offset in wanted {
            loop {
                match keys.next() {
                    Some((_, c)) if c.offset == *offset && c.length.is_none() => break,
                    Some((i, _)) if i < fixed => {}
                    _ => return None,
                }
            }
        }
        Some(desc)
    });
    let covering = scan.columns.iter().all(|(offset, _)| {
        table.handle_column().is_some_and(|c| c.offset == *offset)
            || index.columns.iter().any(|c| c.offset == *offset && c.length.is_none())
    });
    if depth == 0 && ordered.is_none() && !covering {
        return None;
    }
    let mut key_ranges = Vec::new();
    let mut words = Vec::new();
    let columns = sql_catalog::row::index_parts(table, index);
    for combo in &combos {
        let prefix = table::index_values_key(table.id, index.id, &columns[..combo.len()], combo).ok()?;
        match &tail {
            Some((intervals, ty)) => {
                key_ranges.extend(ranges::key_ranges(&prefix, intervals, ty).ok()?);
                words.push(ranges::words(combo, intervals));
            }
            None => {
                let end = codec::key::prefix_next(&prefix);
                key_ranges.push((prefix, end));
                words.push(match combo.is_empty() {
                    true => EVERYTHING.to_owned(),
                    false => {
                        ranges::words(&combo[..combo.len() - 1], &[Interval::point(combo[combo.len() - 1].clone())])
                    }
                });
            }
        }
    }
    key_ranges.sort();
    let rows = selectivity::of_index(scan, index, &parts, whole, &key_ranges).max(1.0);
    let lookup = if scan.known.is_pseudo() { LOOKUP_UNKNOWN } else { LOOKUP };
    let cost = if covering { rows * 0.9 } else { rows * (1.0 + lookup) + 5.0 };
    let words = if words.len() > 8 {
        format!("{}, …({} ranges)", words[..8].join(", "), words.len())
    } else {
        words.join(", ")
    };
    let access = Access::Index { index: index.id, ranges: key_ranges, words, covering };
    Some(Choice { access, consumed, estimate: rows, result: None, ordered, cost })
}
