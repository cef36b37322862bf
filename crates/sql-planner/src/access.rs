//! Which keys of a table a scan reads: points, ranges of the handle, entries of an index, or everything.
//!
//! Conditions on constants give the keys themselves. Conditions on what only the run knows (parameters, NOW(), what a row
//! around a subquery holds) give a [`Path`] and an outline of what will be on it; [`settle`] makes the keys when the values
//! are there, by the same rules, and chooses nothing any more. A condition whose value may turn out to say nothing about
//! keys (text that is no number, beside a number) is checked on the rows as well.
//!
//! Several indexes together are [`merge`]'s matter.
//!
//! Which is cheapest is told by how many rows each reads ([`crate::selectivity`]), and what a row costs: one that is fetched by
//! its key as much as [`LOOKUP`] that are read one after the other. Without statistics an index is used wherever it may help.

use std::collections::HashSet;

use codec::datum::Datum;
use codec::table;
use codec::types::FieldType;
use query::context::TimeZone;
use query::expr::Expr;
use sql_catalog::{IndexInfo, row};

use crate::plan::{Access, ColId, IndexHint, LateKeys, Path, Scan};
use crate::ranges::{self, Interval, Outline, Restriction};
use crate::selectivity;

mod merge;

pub use merge::settle_merge;

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

/// Intersection of what all filters say about a column: intervals, and which filters they make true.
pub(crate) fn column_intervals(
    filters: &[Expr],
    id: ColId,
    zone: &TimeZone,
    ty: &FieldType,
) -> (Option<Vec<Interval>>, Vec<usize>) {
    let mut intervals: Option<Vec<Interval>> = None;
    let mut used = Vec::new();
    for (i, f) in filters.iter().enumerate() {
        let (list, exact) = match ranges::restriction(f, id, zone) {
            None => continue,
            Some(Restriction::Never) => (Vec::new(), true),
            Some(Restriction::Exact(list)) => (list, true),
            Some(Restriction::Within(list)) => (list, false),
        };
        if exact {
            used.push(i);
        }
        intervals = Some(match intervals {
            None => list,
            Some(old) => ranges::intersect(&old, &list, ty),
        });
    }
    (intervals, used)
}

/// What filters that only the run can weigh will say about a column, with which of them are all that is needed of what they
/// say, and which are used. `None` where all is known already, or nothing will be.
fn column_outline(filters: &[Expr], id: ColId) -> Option<(Outline, Vec<usize>, Vec<usize>)> {
    let mut all: Option<Outline> = None;
    let (mut consumed, mut used, mut late) = (Vec::new(), Vec::new(), false);
    for (i, f) in filters.iter().enumerate() {
        let Some(outline) = ranges::outline(f, id) else { continue };
        late |= f.is_of_run();
        used.push(i);
        if outline.sure {
            consumed.push(i);
        }
        all = Some(all.map_or(outline, |all| all.and(outline)));
    }
    all.filter(|_| late).map(|outline| (outline, consumed, used))
}

/// The cheapest way to read the rows that satisfy the filters, preferably in the wanted order.
pub fn choose_access(
    scan: &Scan,
    filters: &[Expr],
    wanted: &[(ColId, bool)],
    limit: Option<u64>,
    zone: &TimeZone,
) -> Choice {
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
    let finish = |mut c: Choice| {
        let remaining_filters = c.consumed.len() < filters.len();
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
    let allowed = |name: &str| is_allowed(scan, name);
    let mut choices: Vec<Choice> = Vec::new();
    // Everything, in the order of the rows' keys.
    let full = Choice {
        access: Access::Full,
        consumed: HashSet::new(),
        estimate: table_rows,
        result,
        ordered: handle_ordered(scan, wanted_offsets.as_deref(), desc),
        cost: table_rows,
    };
    choices.push(finish(full));
    for mut choice in by_keys(scan, filters, wanted_offsets.as_deref(), desc, zone, &allowed) {
        choice.result = result;
        if matches!(choice.access, Access::Empty) {
            return choice;
        }
        choices.push(finish(choice));
    }
    let merges = merge::choices(scan, filters, zone);
    let hinted = |kind| scan.hints.iter().any(|(k, _)| *k == kind);
    if hinted(IndexHint::Merge) && !merges.is_empty() {
        choices.clear();
    }
    choices.extend(merges.into_iter().map(|choice| finish(Choice { result, ..choice })));
    let forced = scan.hints.iter().any(|(kind, names)| *kind == IndexHint::Use && !names.is_empty());
    if forced && choices.len() > 1 {
        choices.retain(|choice| choice.access != Access::Full);
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

/// Whether hints leave an index to be used.
fn is_allowed(scan: &Scan, name: &str) -> bool {
    scan.hints.iter().all(|(kind, names)| {
        let named = names.iter().any(|n| n.eq_ignore_ascii_case(name));
        match kind {
            IndexHint::Use => named || names.is_empty() && name.eq_ignore_ascii_case("primary"),
            IndexHint::Ignore => !named,
            IndexHint::Merge | IndexHint::Apart => true,
        }
    })
}

/// Whether rows in the order of their keys are in the wanted order.
fn handle_ordered(scan: &Scan, wanted: Option<&[usize]>, desc: bool) -> Option<bool> {
    let offsets = wanted?;
    if let Some(key) = scan.table.clustered_index() {
        return index_ordered(scan, key, 0, Some(offsets)).then_some(desc);
    }
    let column = scan.table.handle_column()?;
    // A handle of an unsigned column is not in its order.
    (!column.field_type.is_unsigned() && offsets.first() == Some(&column.offset)).then_some(desc)
}

/// The ways to the rows that satisfy the filters by keys that the filters choose, or that come in the wanted order; one that
/// reads nothing, alone, if nothing satisfies them.
fn by_keys(
    scan: &Scan,
    filters: &[Expr],
    wanted: Option<&[usize]>,
    desc: bool,
    zone: &TimeZone,
    allowed: &dyn Fn(&str) -> bool,
) -> Vec<Choice> {
    let (table, table_rows) = (&scan.table, scan.known.rows());
    let mut choices = Vec::new();
    let mut add = |access, consumed, estimate: f64, ordered, cost| {
        choices.push(Choice { access, consumed, estimate, result: None, ordered, cost });
    };
    if let Some(column) = table.handle_column()
        && let Some(id) = scan.id_of(column.offset)
        && allowed("primary")
    {
        let in_order = || handle_ordered(scan, wanted, desc);
        let outline = column_outline(filters, id);
        if let Some((outline, consumed, used)) = &outline {
            let consumed: HashSet<usize> = consumed.iter().copied().collect();
            let late = |points| Access::Late(Box::new(late_keys(Path::Handle { points }, filters, used, &consumed)));
            match outline.points {
                Some(n) => {
                    let rows = (n as f64).min(table_rows);
                    let ordered = if n == 1 && outline.sure { Some(desc) } else { in_order() };
                    add(late(true), consumed, rows, ordered, rows * 0.5);
                }
                None if !column.field_type.is_unsigned() => {
                    let rows = (table_rows * selectivity::of_outline(scan, column.offset, outline)).max(1.0);
                    add(late(false), consumed, rows, in_order(), rows);
                }
                None => {}
            }
        }
        let (intervals, used) = column_intervals(filters, id, zone, &column.field_type);
        if let (Some(intervals), None) = (intervals, outline) {
            let consumed: HashSet<usize> = used.into_iter().collect();
            if intervals.is_empty() {
                return vec![empty(consumed, desc)];
            }
            match handle_points(&intervals) {
                Some(mut points) => {
                    // However long the list is, the table has no more rows.
                    let n = (points.len() as f64).min(table_rows);
                    // Points are fetched together, so they come in their own order at no cost.
                    let ordered = if points.len() == 1 { Some(desc) } else { in_order() };
                    if ordered == Some(true) {
                        points.reverse();
                    }
                    add(Access::PointHandles(points), consumed, n, ordered, n * 0.5);
                }
                None => {
                    if let Some(ranges) = handle_ranges(&intervals, column.field_type.is_unsigned()) {
                        let rows = (table_rows * selectivity::of_column(scan, column.offset, &intervals)).max(1.0);
                        add(Access::Handles(ranges), consumed, rows, in_order(), rows);
                    }
                }
            }
        }
    }
    for index in table.public_indexes().filter(|i| !i.invisible && allowed(i.name.as_str())) {
        if let Some(choice) = index_access(scan, index, filters, wanted, desc, zone) {
            if matches!(choice.access, Access::Empty) {
                return vec![choice];
            }
            choices.push(choice);
        }
    }
    choices
}

/// What conditions that nothing satisfies need to read.
fn empty(consumed: HashSet<usize>, desc: bool) -> Choice {
    Choice { access: Access::Empty, consumed, estimate: 0.0, result: None, ordered: Some(desc), cost: 0.0 }
}

/// The handles, if single ones are all there are: in order, each once.
fn handle_points(intervals: &[Interval]) -> Option<Vec<i64>> {
    let handle = |d: &Datum| d.as_i64().or(if let Datum::UInt(u) = d { Some(*u as i64) } else { None });
    let mut points: Vec<i64> = intervals.iter().map(|i| i.as_point().and_then(handle)).collect::<Option<_>>()?;
    points.sort_unstable();
    points.dedup();
    Some(points)
}

fn handle_ranges(intervals: &[Interval], unsigned: bool) -> Option<Vec<(i64, i64)>> {
    use crate::ranges::Bound;
    if unsigned {
        return None;
    }
    let mut out = Vec::new();
    for i in intervals {
        let low = match &i.low {
            Bound::After(_) => return None,
            Bound::Open | Bound::Excluded(Datum::Null) => i64::MIN,
            Bound::Included(d) => d.as_i64()?,
            Bound::Excluded(d) => match d.as_i64()?.checked_add(1) {
                Some(v) => v,
                None => continue,
            },
        };
        let high = match &i.high {
            Bound::After(_) => return None,
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

/// What conditions say about the columns of an index.
struct IndexKeys<'t> {
    /// Values of the first columns, in all combinations.
    combos: Vec<Vec<Datum>>,
    /// Intervals of the column after them.
    tail: Option<(Vec<Interval>, &'t FieldType)>,
    /// Positions of the conditions that the keys make true.
    consumed: HashSet<usize>,
    /// Of how many columns something is said.
    depth: usize,
    /// Of all of them single values.
    whole: bool,
    /// No value satisfies the conditions.
    empty: bool,
    /// The part of the rows that what is said of each column leaves.
    parts: Vec<f64>,
}

fn index_keys<'t>(scan: &'t Scan, index: &IndexInfo, filters: &[Expr], zone: &TimeZone) -> Option<IndexKeys<'t>> {
    let mut keys = IndexKeys {
        combos: vec![Vec::new()],
        tail: None,
        consumed: HashSet::new(),
        depth: 0,
        whole: true,
        empty: false,
        parts: Vec::new(),
    };
    for part in &index.columns {
        let column = scan.table.columns.get(part.offset)?;
        let restricted = scan
            .id_of(part.offset)
            .map_or((None, Vec::new()), |id| column_intervals(filters, id, zone, &column.field_type));
        let (Some(mut intervals), used) = restricted else {
            keys.whole = false;
            break;
        };
        if intervals.is_empty() {
            keys.consumed = used.into_iter().collect();
            keys.empty = true;
            return Some(keys);
        }
        let cut = match part.length {
            Some(n) => {
                // The index holds a prefix, so the rows have to be looked at as well.
                if intervals.iter().all(|i| i.as_point().is_some()) {
                    for i in &mut intervals {
                        if let Some(Datum::Bytes(b)) = i.as_point() {
                            *i = Interval::point(Datum::Bytes(
                                table::index_prefix_of(b, &column.field_type, n as usize).to_vec(),
                            ));
                        }
                    }
                    // Different values may have one prefix.
                    intervals = ranges::union(intervals, &column.field_type);
                } else {
                    intervals = ranges::of_prefixes(&intervals, &column.field_type, n as usize);
                }
                true
            }
            None => {
                keys.consumed.extend(used);
                false
            }
        };
        keys.depth += 1;
        let points: Option<Vec<Datum>> = intervals.iter().map(|i| i.as_point().cloned()).collect();
        match points {
            Some(points) if keys.combos.len() == 1 || keys.combos.len() * points.len() <= COMBINATIONS_MAX => {
                keys.parts.push(selectivity::of_column(scan, part.offset, &intervals));
                keys.combos = keys
                    .combos
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
                    keys.whole = false;
                    break;
                }
            }
            _ => {
                keys.parts.push(selectivity::of_column(scan, part.offset, &intervals));
                keys.tail = Some((intervals, &column.field_type));
                keys.whole = false;
                break;
            }
        }
    }
    Some(keys)
}

impl IndexKeys<'_> {
    /// Whether each is one entry of a unique index.
    fn are_entries(&self, index: &IndexInfo) -> bool {
        self.whole && index.unique && self.combos.iter().flatten().all(|d| !d.is_null())
    }

    /// The ranges of keys, and how EXPLAIN words them.
    fn ranges(&self, scan: &Scan, index: &IndexInfo) -> Option<(Vec<(Vec<u8>, Vec<u8>)>, String)> {
        let mut key_ranges = Vec::new();
        let mut words = Vec::new();
        for combo in &self.combos {
            let prefix = row::values_key(&scan.table, scan.physical, index, combo).ok()?;
            match &self.tail {
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
        let words = if words.len() > 8 {
            format!("{}, …({} ranges)", words[..8].join(", "), words.len())
        } else {
            words.join(", ")
        };
        Some((key_ranges, words))
    }
}

/// Whether the order of an index's entries, after the first columns that are fixed, begins with the wanted one.
fn index_ordered(scan: &Scan, index: &IndexInfo, fixed: usize, wanted: Option<&[usize]>) -> bool {
    let Some(wanted) = wanted else { return false };
    if scan.table.handle_column().is_some_and(|c| c.field_type.is_unsigned()) {
        return false;
    }
    let mut keys = index.columns.iter().enumerate();
    for offset in wanted {
        loop {
            match keys.next() {
                Some((_, c)) if c.offset == *offset && c.length.is_none() => break,
                Some((i, _)) if i < fixed => {}
                _ => return false,
            }
        }
    }
    true
}

/// Whether the entries have all wanted columns.
fn covers(scan: &Scan, index: &IndexInfo) -> bool {
    let held = |offset| index.columns.iter().any(|c| c.offset == offset && c.length.is_none());
    scan.table.is_clustered_by(index)
        || scan.columns.iter().all(|(offset, _)| scan.table.is_in_row_key(*offset) || held(*offset))
}

fn range_cost(scan: &Scan, index: &IndexInfo, rows: f64, covering: bool) -> f64 {
    if scan.table.is_clustered_by(index) {
        return rows;
    }
    let lookup = if scan.known.is_pseudo() { LOOKUP_UNKNOWN } else { LOOKUP };
    if covering { rows * 0.9 } else { rows * (1.0 + lookup) + 5.0 }
}

/// What one row by a whole key costs: half of what it does where an entry of the index has to be read first.
fn point_cost(scan: &Scan, index: &IndexInfo) -> f64 {
    if scan.table.is_clustered_by(index) { 0.5 } else { 1.5 }
}

/// `count` entries of a unique index, read by their keys.
fn entries(
    scan: &Scan,
    index: &IndexInfo,
    count: usize,
    access: Access,
    consumed: HashSet<usize>,
    ordered: Option<bool>,
) -> Choice {
    let estimate = (count as f64).min((scan.known.rows() / 2.0).max(1.0));
    Choice { access, consumed, estimate, result: None, ordered, cost: estimate * point_cost(scan, index) }
}

fn index_access(
    scan: &Scan,
    index: &IndexInfo,
    filters: &[Expr],
    wanted: Option<&[usize]>,
    desc: bool,
    zone: &TimeZone,
) -> Option<Choice> {
    if let Some(choice) = late_index_access(scan, index, filters, wanted, desc) {
        return Some(choice);
    }
    let keys = index_keys(scan, index, filters, zone)?;
    if keys.empty {
        return Some(empty(keys.consumed, desc));
    }
    if keys.are_entries(index) {
        let (count, ordered) = (keys.combos.len(), (keys.combos.len() == 1).then_some(desc));
        let access = Access::PointIndex { index: index.id, keys: keys.combos };
        return Some(entries(scan, index, count, access, keys.consumed, ordered));
    }
    let ordered = keys.combos.len() == 1 && index_ordered(scan, index, keys.combos[0].len(), wanted);
    let covering = covers(scan, index);
    // A clustered key of which nothing is said gives all rows, as any scan of them does.
    if keys.depth == 0 && (scan.table.is_clustered_by(index) || (!ordered && !covering)) {
        return None;
    }
    let (ranges, words) = keys.ranges(scan, index)?;
    let rows = selectivity::of_index(scan, index, &keys.parts, keys.whole, &ranges).max(1.0);
    let (consumed, cost) = (keys.consumed, range_cost(scan, index, rows, covering));
    let access = Access::Index { index: index.id, ranges, words, covering };
    Some(Choice { access, consumed, estimate: rows, result: None, ordered: ordered.then_some(desc), cost })
}

/// A way through an index whose keys the run will tell, if it has to.
fn late_index_access(
    scan: &Scan,
    index: &IndexInfo,
    filters: &[Expr],
    wanted: Option<&[usize]>,
    desc: bool,
) -> Option<Choice> {
    let (mut consumed, mut used, mut late) = (HashSet::new(), Vec::new(), false);
    // Whether the columns so far will have single values, and no more than are combined.
    let mut reliable = true;
    // How many combinations of values, of how many columns, and whether there is one for certain.
    let (mut combos, mut fixed, mut one) = (1, 0, true);
    let (mut parts, mut whole) = (Vec::new(), true);
    for part in &index.columns {
        let id = scan.id_of(part.offset);
        let of_column = |i: &usize| ranges::outline(&filters[*i], id?);
        let positions: Vec<usize> = (0..filters.len()).filter(|i| of_column(i).is_some()).collect();
        let Some(outline) = positions.iter().filter_map(of_column).reduce(Outline::and) else {
            whole = false;
            break;
        };
        late |= positions.iter().any(|i| filters[*i].is_of_run());
        let sure = |i: &&usize| of_column(i).is_some_and(|o| o.sure);
        if part.length.is_none() && reliable {
            consumed.extend(positions.iter().filter(sure));
        }
        reliable &= positions
            .iter()
            .filter(sure)
            .any(|i| of_column(i).is_some_and(|o| o.points.is_some_and(|n| combos * n <= COMBINATIONS_MAX) && !o.many));
        used.extend(positions);
        match outline.points {
            Some(n) if combos == 1 || combos * n <= COMBINATIONS_MAX => {
                parts.push(selectivity::of_outline(scan, part.offset, &outline));
                combos *= n;
                fixed += 1;
                one &= n == 1 && outline.sure;
                if part.length.is_some() {
                    whole = false;
                    break;
                }
            }
            _ => {
                parts.push(selectivity::of_outline(scan, part.offset, &outline));
                whole = false;
                break;
            }
        }
    }
    if !late {
        return None;
    }
    used.sort_unstable();
    used.dedup();
    let rows = selectivity::of_index(scan, index, &parts, false, &[]).max(1.0);
    let of = |points, covering| {
        let path = Path::Index { index: index.id, points, covering };
        Access::Late(Box::new(late_keys(path, filters, &used, &consumed)))
    };
    if whole && index.unique {
        let (access, ordered) = (of(true, false), (one && combos == 1).then_some(desc));
        return Some(entries(scan, index, combos, access, consumed, ordered));
    }
    let ordered = one && index_ordered(scan, index, fixed, wanted);
    let covering = covers(scan, index);
    let (access, cost) = (of(false, covering), range_cost(scan, index, rows, covering));
    Some(Choice { access, consumed, estimate: rows, result: None, ordered: ordered.then_some(desc), cost })
}

fn late_keys(path: Path, filters: &[Expr], used: &[usize], consumed: &HashSet<usize>) -> LateKeys {
    LateKeys {
        path,
        conditions: used.iter().map(|i| filters[*i].clone()).collect(),
        only_here: (0..used.len()).filter(|at| consumed.contains(&used[*at])).collect(),
    }
}

/// The keys of a run, from the conditions of [`LateKeys`] with what was open in them filled in. What turns out to say nothing
/// about keys leaves more of them to be read, in the same order. `None` if one says nothing that is checked nowhere else,
/// which cannot be.
pub fn settle(scan: &Scan, late: &LateKeys, conditions: Vec<Expr>, zone: &TimeZone) -> Option<Access> {
    // A list without values decides by itself.
    if conditions.iter().any(|c| matches!(c, Expr::Const { value: Datum::Null | Datum::Int(0), .. })) {
        return Some(Access::Empty);
    }
    let (access, used) = keys_of(scan, late.path, &conditions, zone);
    let chosen = |at: &usize| used.contains(at) || matches!(conditions.get(*at), Some(Expr::Const { .. }));
    (access == Access::Empty || late.only_here.iter().all(chosen)).then_some(access)
}

/// The keys, and positions of the conditions that they make true.
fn keys_of(scan: &Scan, path: Path, conditions: &[Expr], zone: &TimeZone) -> (Access, HashSet<usize>) {
    let everything = || (Access::Full, HashSet::new());
    match path {
        Path::Handle { points } => {
            let Some(column) = scan.table.handle_column() else { return everything() };
            let Some(id) = scan.id_of(column.offset) else { return everything() };
            let (Some(intervals), used) = column_intervals(conditions, id, zone, &column.field_type) else {
                return everything();
            };
            let used = used.into_iter().collect();
            if intervals.is_empty() {
                return (Access::Empty, used);
            }
            if points && let Some(mut handles) = handle_points(&intervals) {
                if scan.order == Some(true) {
                    handles.reverse();
                }
                return (Access::PointHandles(handles), used);
            }
            match handle_ranges(&intervals, column.field_type.is_unsigned()) {
                Some(ranges) => (Access::Handles(ranges), used),
                None => everything(),
            }
        }
        Path::Index { index: id, points, covering } => {
            let Some(index) = scan.table.indexes.iter().find(|i| i.id == id) else { return everything() };
            let Some(mut keys) = index_keys(scan, index, conditions, zone) else { return everything() };
            let used = std::mem::take(&mut keys.consumed);
            if keys.empty {
                return (Access::Empty, used);
            }
            if points && keys.are_entries(index) {
                return (Access::PointIndex { index: id, keys: keys.combos }, used);
            }
            match keys.ranges(scan, index) {
                Some((ranges, words)) => (Access::Index { index: id, ranges, words, covering }, used),
                None => everything(),
            }
        }
    }
}
