//! Which partitions of a table have rows that satisfy conditions.
//!
//! A condition leaves a partition out only if no row of it can satisfy it: what is not understood leaves all of them. Conditions
//! that all have to be true leave those that each of them leaves; of alternatives each adds its own. What a condition says of a
//! column are intervals of its values ([`crate::ranges`]). Single values of all columns that partitions depend on tell theirs;
//! intervals tell them where partitions are ranges or lists, and where the expression that divides them grows or falls with the
//! column. NULL is a value here: it has a partition, and an interval has it or not.
//!
//! The same is done when a plan is made, from what is constant in it, and when it is run, with all values.

use std::collections::BTreeSet;

use codec::datum::Datum;
use codec::types::TypeCode;
use query::context::TimeZone;
use query::expr::{Expr, Func};
use sql_base::SqlError;
use sql_catalog::partition::{Edge, Growth, Method, Routing, Term};
use sql_catalog::{PartitionInfo, TableInfo};

use crate::access::column_intervals;
use crate::plan::{ColId, Partitions, Scan};
use crate::ranges::{Bound, Interval};

/// Most combinations of single values that are looked at one by one.
const VALUES_MAX: usize = 1_024;

impl Scan {
    /// Keeps what conditions say of partitions.
    pub(crate) fn note_partitions(&mut self, filters: &[Expr], zone: &TimeZone) {
        let Some(mut partitions) = self.partitions.take() else { return };
        let table = self.table.clone();
        let Some(info) = &table.partition else { return };
        let offset = |id: i64| table.columns.iter().find(|c| c.id == id).map(|c| c.offset);
        let offsets = info.depends_on().into_iter().filter_map(offset);
        for (offset, id) in offsets.filter_map(|offset| Some((offset, self.id_of(offset)?))) {
            if !partitions.ids.contains(&(offset, id)) {
                partitions.ids.push((offset, id));
            }
        }
        for filter in filters {
            let reads = filter.columns().iter().any(|id| partitions.ids.iter().any(|(_, own)| own == id));
            if reads && !partitions.conditions.contains(filter) {
                partitions.conditions.push(filter.clone());
            }
        }
        partitions.known = left(&table, info, &partitions, &partitions.conditions, zone);
        self.partitions = Some(partitions);
    }

    /// Whether its rows may come from several partitions, and then in no order.
    pub(crate) fn is_spread(&self) -> bool {
        self.partitions.as_ref().is_some_and(|partitions| partitions.known.len() > 1)
    }

    /// The partitions to be read, given the conditions of [`Partitions::conditions`] as they are in this run; `None` of a table
    /// without.
    pub fn partitions_left(&self, conditions: &[Expr], zone: &TimeZone) -> Option<Vec<usize>> {
        let partitions = self.partitions.as_ref()?;
        let info = self.table.partition.as_ref()?;
        let mut found = left(&self.table, info, partitions, conditions, zone);
        found.retain(|at| partitions.known.contains(at));
        Some(found)
    }
}

/// Positions of the partitions that may have rows which satisfy all conditions.
fn left(
    table: &TableInfo,
    info: &PartitionInfo,
    partitions: &Partitions,
    conditions: &[Expr],
    zone: &TimeZone,
) -> Vec<usize> {
    let all = 0..info.definitions.len();
    let named = |at: &usize| partitions.named.as_ref().is_none_or(|named| named.contains(at));
    let found = match info.routing(table) {
        Ok(routing) => Pruning { table, info, routing, ids: &partitions.ids, zone }.of_all(conditions),
        Err(_) => None,
    };
    all.filter(named).filter(|at| found.as_ref().is_none_or(|found| found.contains(at))).collect()
}

struct Pruning<'a> {
    table: &'a TableInfo,
    info: &'a PartitionInfo,
    routing: &'a Routing,
    ids: &'a [(usize, ColId)],
    zone: &'a TimeZone,
}

/// Partitions; `None`: all.
type Found = Option<BTreeSet<usize>>;

fn both(a: Found, b: Found) -> Found {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.intersection(&b).copied().collect()),
        (a, b) => a.or(b),
    }
}

impl Pruning<'_> {
    /// What conditions leave that all have to be true.
    fn of_all(&self, conditions: &[Expr]) -> Found {
        let mut parts = Vec::new();
        conditions.iter().for_each(|c| c.clone().split_and(&mut parts));
        let alternatives = parts.iter().map(|part| self.of_alternatives(part));
        alternatives.fold(self.of_columns(&parts), both)
    }

    /// What a condition leaves that is a choice of others, or decided.
    fn of_alternatives(&self, e: &Expr) -> Found {
        match e {
            Expr::Const { value: Datum::Null | Datum::Int(0), .. } => Some(BTreeSet::new()),
            Expr::Call(call) if call.func == Func::Or => {
                let each = call.args.iter().map(|arg| self.of_all(std::slice::from_ref(arg)));
                each.reduce(|a, b| {
                    a.zip(b).map(|(mut a, b)| {
                        a.extend(b);
                        a
                    })
                })?
            }
            _ => None,
        }
    }

    /// What the intervals leave that conditions allow each column.
    fn of_columns(&self, conditions: &[Expr]) -> Found {
        let mut allowed: Vec<(usize, Vec<Interval>)> = Vec::new();
        for (offset, id) in self.ids {
            let Some(column) = self.table.columns.get(*offset) else { continue };
            if let (Some(intervals), _) = column_intervals(conditions, *id, self.zone, &column.field_type) {
                if intervals.is_empty() {
                    return Some(BTreeSet::new());
                }
                allowed.push((*offset, intervals));
            }
        }
        if allowed.is_empty() {
            return None;
        }
        both(self.of_points(&allowed), self.of_intervals(&allowed))
    }

    /// Where single values of all columns lead.
    fn of_points(&self, allowed: &[(usize, Vec<Interval>)]) -> Found {
        let mut rows: Vec<Vec<(usize, Datum)>> = vec![Vec::new()];
        for id in self.info.depends_on() {
            let offset = self.offset(id)?;
            let (_, intervals) = allowed.iter().find(|(at, _)| *at == offset)?;
            let values = self.values(offset, intervals)?;
            if rows.len().checked_mul(values.len()).is_none_or(|n| n > VALUES_MAX) {
                return None;
            }
            let with = |row: &Vec<(usize, Datum)>| {
                let mut all = Vec::with_capacity(values.len());
                for value in &values {
                    let mut row = row.clone();
                    row.push((offset, value.clone()));
                    all.push(row);
                }
                all
            };
            rows = rows.iter().flat_map(with).collect();
        }
        let mut found = BTreeSet::new();
        for row in rows {
            match self.table.partition_of_key(row.iter().map(|(offset, value)| (*offset, value))) {
                Ok(Some(id)) => found.extend(self.info.definitions.iter().position(|p| p.physical_id() == id)),
                Ok(None) => {}
                // Of what cannot be computed nothing is known.
                Err(_) => return None,
            }
        }
        Some(found)
    }

    fn offset(&self, id: i64) -> Option<usize> {
        self.table.columns.iter().find(|c| c.id == id).map(|c| c.offset)
    }

    /// All values of intervals, if they are few: single ones, or integers of a short range.
    fn values(&self, offset: usize, intervals: &[Interval]) -> Option<Vec<Datum>> {
        let hashed = matches!(self.info.method, Method::Hash | Method::Key);
        let integer = self.table.columns.get(offset)?.field_type.tp.is_integer();
        let mut values = Vec::new();
        for interval in intervals {
            if let Some(value) = interval.as_point() {
                values.push(value.clone());
                continue;
            }
            if !hashed || !integer {
                return None;
            }
            let end = |bound: &Bound, step: i128| match bound {
                Bound::Included(Datum::Int(v)) => Some(i128::from(*v)),
                Bound::Included(Datum::UInt(v)) => Some(i128::from(*v)),
                Bound::Excluded(Datum::Int(v)) => Some(i128::from(*v) + step),
                Bound::Excluded(Datum::UInt(v)) => Some(i128::from(*v) + step),
                _ => None,
            };
            let (low, high) = (end(&interval.low, 1)?, end(&interval.high, -1)?);
            // More of them than partitions would leave none out.
            if high - low >= self.info.definitions.len() as i128 {
                return None;
            }
            let unsigned = self.table.columns[offset].field_type.is_unsigned();
            for value in low..=high {
                values.push(match unsigned {
                    true => Datum::UInt(u64::try_from(value).ok()?),
                    false => Datum::Int(i64::try_from(value).ok()?),
                });
            }
        }
        (values.len() <= VALUES_MAX).then_some(values)
    }

    /// Where intervals of the only column lead, or of the first.
    fn of_intervals(&self, allowed: &[(usize, Vec<Interval>)]) -> Found {
        let (offset, growth) = match &self.info.expr {
            Some(term) => match term.columns()[..] {
                [id] => (self.offset(id)?, Some((term, term.growth()?))),
                _ => return None,
            },
            None => (self.offset(*self.info.columns.first()?)?, None),
        };
        let (_, intervals) = allowed.iter().find(|(at, _)| *at == offset)?;
        let mut found = BTreeSet::new();
        for interval in intervals {
            let (low, high) = match growth {
                None => (self.column_edge(&interval.low), self.column_edge(&interval.high)),
                Some((term, growth)) => {
                    let (low, high) = (self.edge(term, offset, &interval.low), self.edge(term, offset, &interval.high));
                    let has_null = matches!(interval.low, Bound::Open | Bound::Included(Datum::Null));
                    if has_null || term.makes_nulls() {
                        let null = Datum::Null;
                        if let Some(id) = self.table.partition_of_key([(offset, &null)]).ok()? {
                            found.extend(self.info.definitions.iter().position(|p| p.physical_id() == id));
                        }
                    }
                    match growth {
                        Growth::Up => (after(low), high),
                        Growth::Down => (after(high), low),
                    }
                }
            };
            found.extend(self.routing.between(&low, &high)?);
        }
        Some(found)
    }

    fn column_edge(&self, bound: &Bound) -> Edge {
        match bound {
            Bound::Open | Bound::After(_) => Edge::Open,
            Bound::Included(value) => Edge::At(vec![value.clone()]),
            Bound::Excluded(value) => Edge::Beside(vec![value.clone()]),
        }
    }

    /// What the expression makes of an end of an interval.
    fn edge(&self, term: &Term, offset: usize, bound: &Bound) -> Edge {
        let (value, inside) = match bound {
            Bound::Open | Bound::After(_) => return Edge::Open,
            Bound::Included(value) => (value, true),
            Bound::Excluded(value) => (value, false),
        };
        let mut row = vec![Datum::Null; self.table.columns.len()];
        if let Some(held) = row.get_mut(offset) {
            *held = value.clone();
        }
        match self.routing.first_value(&row) {
            Ok(Datum::Null) | Err(_) => Edge::Open,
            Ok(made) if inside || !self.is_strict(term) => Edge::At(vec![made]),
            Ok(made) => Edge::Beside(vec![made]),
        }
    }

    /// Whether no two values of the column give the same.
    fn is_strict(&self, term: &Term) -> bool {
        let tp_of = |arg: &Term| match arg {
            Term::Column(id) => self.table.columns.iter().find(|c| c.id == *id).map(|c| c.field_type.tp),
            _ => None,
        };
        match term {
            Term::Column(_) => true,
            Term::Call(name, args) => match (name.as_str(), &args[..]) {
                ("+" | "-" | "*", [a, Term::Number(_)] | [Term::Number(_), a]) | ("unaryminus", [a]) => {
                    self.is_strict(a)
                }
                ("to_days", [a]) => tp_of(a) == Some(TypeCode::Date),
                _ => false,
            },
            Term::Number(_) | Term::Extract(..) => false,
        }
    }
}

/// The lower edge of integers: what comes right after one is the next.
fn after(edge: Edge) -> Edge {
    match edge {
        Edge::Beside(values) => match values[..] {
            [Datum::Int(v)] => v.checked_add(1).map_or(Edge::Beside(values), |v| Edge::At(vec![Datum::Int(v)])),
            [Datum::UInt(v)] => v.checked_add(1).map_or(Edge::Beside(values), |v| Edge::At(vec![Datum::UInt(v)])),
            _ => Edge::Beside(values),
        },
        edge => edge,
    }
}

/// Positions of the partitions that a statement names.
///
/// # Errors
/// 1747 of a table without partitions, 1735 of a name that is none.
pub fn named(table: &TableInfo, names: &[sql_parser::ast::Ident]) -> Result<Option<Vec<usize>>, SqlError> {
    if names.is_empty() {
        return Ok(None);
    }
    let Some(info) = &table.partition else {
        return Err(sql_base::PartitionError::ClauseOnNonPartitioned.into());
    };
    let position = |name: &sql_parser::ast::Ident| {
        info.position(&name.value).ok_or_else(|| SqlError::UnknownPartition {
            partition: name.value.clone(),
            table: table.name.original.clone(),
        })
    };
    names.iter().map(position).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests;
