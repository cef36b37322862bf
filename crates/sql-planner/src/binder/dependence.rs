//! Functional dependence: which columns have one value in each group, so that `ONLY_FULL_GROUP_BY` lets them be selected
//! (manual, Detection of Functional Dependence).
//!
//! Known are group keys and columns that a condition makes constant. From there on equalities of WHERE and of inner joins
//! lead both ways, those of an outer join's ON to its inner table, and a whole primary or unique key to its table, until
//! nothing is added. Expressions are not followed: only columns as they are.

use std::collections::HashSet;

use query::expr::{CmpOp, Expr, Func};
use sql_catalog::{ColumnInfo, TableInfo};

use super::super::plan::{ColId, JoinKind, Plan};
use super::{Binder, Visible};

impl Binder<'_> {
    /// Columns that have one value in each group of the rows of `from`.
    pub(super) fn determined(&mut self, group: &[(Expr, ColId)], from: &Plan) -> HashSet<ColId> {
        let mut known: HashSet<ColId> = group.iter().filter_map(|(e, _)| column(e)).collect();
        let mut arrows = Vec::new();
        arrows_of(from, &mut known, &mut arrows);
        let visible = self.block().visible.clone();
        loop {
            let before = known.len();
            for (a, b) in &arrows {
                if known.contains(a) {
                    known.insert(*b);
                }
            }
            self.add_keyed(&visible, &mut known);
            if known.len() == before {
                return known;
            }
        }
    }

    /// Adds the columns of tables of which a whole key is known.
    fn add_keyed(&self, visible: &[Visible], known: &mut HashSet<ColId>) {
        let mut tables: Vec<(&str, &str, &str)> =
            visible.iter().map(|v| (v.database.as_str(), v.org_table.as_str(), v.table.as_str())).collect();
        tables.dedup();
        for (db, org, alias) in tables {
            let Some(table) = self.env.schema().table(db, org) else { continue };
            if table.view.is_some() {
                let of_view = self.keyed_in_view(visible, (db, alias), known);
                known.extend(of_view);
                continue;
            }
            let of = |name: &str| {
                visible
                    .iter()
                    .find(|v| v.table == alias && v.database == db && v.org_name.eq_ignore_ascii_case(name))
                    .map(|v| v.id)
            };
            if has_key(table, |c| of(c.name.as_str()), known) {
                known.extend(visible.iter().filter(|v| v.table == alias && v.database == db).map(|v| v.id));
            }
        }
    }

    /// Those that the keys of the tables of a view determine.
    fn keyed_in_view(
        &self,
        visible: &[Visible],
        (database, alias): (&str, &str),
        known: &HashSet<ColId>,
    ) -> HashSet<ColId> {
        let shown = |id: &ColId| visible.iter().any(|v| v.id == *id && v.table == alias && v.database == database);
        let mut out = HashSet::new();
        for (table, columns) in &self.tables {
            let of = |c: &ColumnInfo| columns.iter().find(|(offset, _)| *offset == c.offset).map(|(_, id)| *id);
            if columns.iter().any(|(_, id)| shown(id)) && has_key(table, of, known) {
                out.extend(columns.iter().map(|(_, id)| *id).filter(shown));
            }
        }
        out
    }
}

/// Whether a whole primary or unique key of a table, whose columns have these numbers, is known.
fn has_key(table: &TableInfo, of: impl Fn(&ColumnInfo) -> Option<ColId>, known: &HashSet<ColId>) -> bool {
    let covered = |columns: Vec<&ColumnInfo>| {
        !columns.is_empty() && columns.iter().all(|c| of(c).is_some_and(|id| known.contains(&id)))
    };
    covered(table.primary_key())
        || table.public_indexes().filter(|i| i.unique).any(|i| {
            let columns: Vec<_> = i.columns.iter().filter_map(|c| table.columns.get(c.offset)).collect();
            columns.iter().all(|c| c.field_type.is_not_null()) && covered(columns)
        })
}

/// What the conditions of a FROM and its WHERE say: columns that are constant, and pairs of which the first determines the
/// second.
fn arrows_of(plan: &Plan, constant: &mut HashSet<ColId>, arrows: &mut Vec<(ColId, ColId)>) {
    match plan {
        Plan::Filter { input, conditions } => {
            conditions.iter().for_each(|c| arrows_of_condition(c, constant, arrows));
            arrows_of(input, constant, arrows);
        }
        Plan::Apply { input, .. } => arrows_of(input, constant, arrows),
        Plan::Join { kind: JoinKind::Inner, left, right, equal, other, .. } => {
            for (a, b) in equal {
                both_ways(a, b, arrows);
            }
            other.iter().for_each(|c| arrows_of_condition(c, constant, arrows));
            arrows_of(left, constant, arrows);
            arrows_of(right, constant, arrows);
        }
        // What is equal to a known value where it matches is NULL where it does not: one value for each of the left side.
        Plan::Join { kind: JoinKind::Left, left, right, equal, other, .. } => {
            let inner: HashSet<ColId> = right.outputs().into_iter().collect();
            let mut on = Vec::new();
            for (a, b) in equal {
                both_ways(a, b, &mut on);
            }
            other.iter().for_each(|c| arrows_of_condition(c, &mut HashSet::new(), &mut on));
            arrows.extend(on.into_iter().filter(|(a, b)| !inner.contains(a) && inner.contains(b)));
            arrows_of(left, constant, arrows);
        }
        Plan::Join { left, .. } => arrows_of(left, constant, arrows),
        _ => {}
    }
}

fn arrows_of_condition(condition: &Expr, constant: &mut HashSet<ColId>, arrows: &mut Vec<(ColId, ColId)>) {
    let mut parts = Vec::new();
    condition.clone().split_and(&mut parts);
    for part in &parts {
        let Expr::Call(call) = part else { continue };
        let (Func::Compare(CmpOp::Eq, ..), [a, b]) = (&call.func, &call.args[..]) else { continue };
        match (column(a), column(b)) {
            (Some(id), None) if b.is_constant() => drop(constant.insert(id)),
            (None, Some(id)) if a.is_constant() => drop(constant.insert(id)),
            _ => both_ways(a, b, arrows),
        }
    }
}

fn both_ways(a: &Expr, b: &Expr, arrows: &mut Vec<(ColId, ColId)>) {
    if let (Some(a), Some(b)) = (column(a), column(b)) {
        arrows.extend([(a, b), (b, a)]);
    }
}

fn column(e: &Expr) -> Option<ColId> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        _ => None,
    }
}
