//! Views in FROM: the query that the catalogue keeps is bound where the view is named, by itself: it sees no column,
//! no name of WITH and no parameter of the statement around it.
//!
//! ```text
//! SELECT b FROM v WHERE a = 1        v: SELECT a, b + 1 AS b FROM t WHERE c > 0
//!
//! Filter(a = 1) ── Project(a, b + 1) ── Filter(c > 0) ── Scan(t)
//! ```
//!
//! The rules move conditions through it. A projection that only chooses columns is left out, so that what stands below is
//! joined and looked up like a table that was named itself.
//!
//! What a change needs to know of a view is kept in a [`BoundView`]: whether its rows are rows of tables, and which
//! conditions a row that is written through it has to meet.
//!
//! [`Recorder`] keeps what the names of a query meant while it was bound, for the text of a view that is being made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use query::error::EvalError;
use query::expr::Expr;
use sql_base::SqlError;
use sql_catalog::{CheckOption, TableInfo, ViewAlgorithm, ViewInfo};
use sql_parser::ast::{self, Place};
use sql_parser::canonical::Names;

use super::super::change::{Check, CheckOf};
use super::super::plan::{ColId, Plan, Subquery, bind_values};
use super::{Binder, Bound, Visible, each_scan, unsupported};

/// Views that one statement may name, those inside of views counted each time. Two views that name another twice make
/// four of it, so that twenty could fill a server's memory.
const VIEWS_MAX: usize = 1024;

/// Whether a view can be written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Writable {
    /// UPDATE and DELETE may.
    pub change: bool,
    /// INSERT may, into one of its tables.
    pub insert: bool,
}

/// A view that the statement named in its FROM, and not inside of another.
#[derive(Debug, Clone)]
pub struct BoundView {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its name in the statement.
    pub alias: String,
    /// Its columns, each with the number of the table's column that it is.
    pub columns: Vec<(Visible, Option<ColId>)>,
    /// Whether it can be written through.
    pub writable: Writable,
    /// What has to be true of a row that is written, over columns of the tables.
    pub checks: Vec<Expr>,
    /// A condition among those depends on a subquery for each row, and cannot be checked.
    pub unchecked: bool,
}

impl BoundView {
    /// `db.view`.
    pub fn whole_name(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    /// What rows written through it have to be; `None` where anything may be written.
    pub fn check(&self) -> Result<Option<Check>, SqlError> {
        if self.unchecked {
            return Err(SqlError::NotSupported(format!(
                "a change through view '{}', whose CHECK OPTION has a subquery that depends on the row",
                self.whole_name()
            )));
        }
        let check = Check { of: CheckOf::View(self.whole_name()), conditions: self.checks.clone() };
        Ok((!check.conditions.is_empty()).then_some(check))
    }
}

/// The binder's knowledge of views.
#[derive(Default)]
pub(super) struct Views {
    /// Those that are being bound, from the outside in: (database, name) in lower case.
    pub(super) open: Vec<(String, String)>,
    /// How many were named so far.
    count: usize,
    /// Those that the statement itself named.
    pub(super) bound: Vec<BoundView>,
    /// A view around this one has CASCADED CHECK OPTION.
    cascaded: bool,
    /// Conditions of the views inside of the one that is being bound.
    checks: Vec<Expr>,
    unchecked: bool,
}

/// What names meant, by where they stood.
#[derive(Default)]
pub struct Recorder {
    columns: HashMap<usize, Vec<String>>,
    stars: HashMap<usize, Vec<(Vec<String>, String)>>,
    databases: HashMap<usize, String>,
    /// The column that was found last.
    last: Option<Vec<String>>,
}

impl Names for Recorder {
    fn column(&self, at: Place) -> Option<Vec<String>> {
        self.columns.get(&at.0).cloned()
    }

    fn star(&self, at: Place) -> Option<Vec<(Vec<String>, String)>> {
        self.stars.get(&at.0).cloned()
    }

    fn database(&self, at: Place) -> Option<String> {
        self.databases.get(&at.0).cloned()
    }
}

/// The whole name of a column: with the database where the table goes by its own name.
fn whole_name(v: &Visible) -> Vec<String> {
    let mut parts = Vec::new();
    if !v.table.is_empty() {
        if !v.database.is_empty() && v.table.eq_ignore_ascii_case(&v.org_table) {
            parts.push(v.database.clone());
        }
        parts.push(v.table.clone());
    }
    parts.push(v.name.clone());
    parts
}

impl Binder<'_> {
    /// Keeps what names mean from now on.
    pub fn record_names(&mut self) {
        self.recorder = Some(Box::default());
    }

    /// What names meant.
    pub fn take_names(&mut self) -> Recorder {
        self.recorder.take().map(|r| *r).unwrap_or_default()
    }

    /// Binds as inside of this view: naming it again is an error.
    pub fn inside_of_view(&mut self, database: &str, name: &str) {
        self.views.open.push((database.to_lowercase(), name.to_lowercase()));
    }

    /// The views that the statement has named so far, outside of other views.
    pub fn bound_views(&self) -> &[BoundView] {
        &self.views.bound
    }

    /// A name was found to be this column, or something that has no name of its own.
    pub(super) fn found(&mut self, v: Option<&Visible>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.last = v.map(whole_name);
        }
    }

    /// A name was found to be that of a select item: it is called as the column that the item is, if it is one.
    pub(super) fn found_alias(&mut self, level: usize, e: &Expr) {
        if let (Some(recorder), Expr::Column { index, .. }) = (&mut self.recorder, e) {
            recorder.last = self.blocks[level].visible.iter().find(|v| v.id == *index).map(whole_name);
        }
    }

    /// The name at this place is what was found last.
    pub(super) fn record_column(&mut self, at: Place) {
        if let Some(recorder) = &mut self.recorder {
            match recorder.last.take() {
                Some(name) => recorder.columns.insert(at.0, name),
                None => recorder.columns.remove(&at.0),
            };
        }
    }

    pub(super) fn record_star(&mut self, at: Place, columns: &[Visible]) {
        if let Some(recorder) = &mut self.recorder {
            let columns = columns.iter().map(|v| (whole_name(v), v.name.clone())).collect();
            recorder.stars.insert(at.0, columns);
        }
    }

    pub(super) fn record_database(&mut self, name: &ast::Name, database: &str) {
        if let Some(recorder) = &mut self.recorder {
            recorder.databases.insert(name.at().0, database.to_owned());
        }
    }

    /// A view in FROM.
    pub(super) fn bind_view(
        &mut self,
        database: &str,
        table: &TableInfo,
        info: &ViewInfo,
        alias: &str,
    ) -> Result<(Plan, Vec<Visible>), SqlError> {
        let key = (database.to_lowercase(), table.name.lower.clone());
        if self.views.open.contains(&key) {
            return Err(SqlError::ViewRecursion { database: database.to_owned(), view: table.name.original.clone() });
        }
        if self.views.count >= VIEWS_MAX {
            return unsupported(format!("more than {VIEWS_MAX} views in one statement"));
        }
        self.views.count += 1;
        let invalid = || SqlError::ViewInvalid(format!("{database}.{}", table.name));
        let query = sql_parser::parse_query(&info.select)?;

        // By itself.
        let blocks = std::mem::take(&mut self.blocks);
        let ctes = std::mem::take(&mut self.ctes);
        let recorder = self.recorder.take();
        let clause = std::mem::replace(&mut self.clause, "field list");
        let outer_checks = std::mem::take(&mut self.views.checks);
        let outer_unchecked = std::mem::take(&mut self.views.unchecked);
        let cascades = self.views.cascaded || info.check_option == Some(CheckOption::Cascaded);
        let outer_cascaded = std::mem::replace(&mut self.views.cascaded, cascades);
        let subqueries_before = self.subqueries.len();
        self.views.open.push(key);
        let bound = self.bind_query(&query);
        self.views.open.pop();
        self.views.cascaded = outer_cascaded;
        let inner_unchecked = std::mem::replace(&mut self.views.unchecked, outer_unchecked);
        let mut checks = std::mem::replace(&mut self.views.checks, outer_checks);
        self.clause = clause;
        self.recorder = recorder;
        self.ctes = ctes;
        self.blocks = blocks;

        let Bound { mut plan, mut columns } = bound.map_err(|e| if is_of_names(&e) { invalid() } else { e })?;
        if columns.len() != info.columns.len() {
            return Err(invalid());
        }
        let writable = match simple_block(&query, info.algorithm) {
            Some(select) => self.writable(&plan, &columns, select, subqueries_before),
            None => Writable::default(),
        };
        let mut unchecked = inner_unchecked;
        if cascades || info.check_option.is_some() {
            let own = conditions_of(&query, &plan);
            let slots = apply_slots(&plan);
            unchecked |= own.iter().any(|c| c.columns().iter().any(|id| slots.contains(id)));
            checks.extend(own);
        }
        let computed = computed(&plan);
        let bases: Vec<Option<ColId>> = columns.iter().map(|c| base_of(c.id, &computed)).collect();
        if writable.change {
            checks.iter_mut().for_each(|check| while_changes(check, &computed));
        } else {
            checks.clear();
        }
        if let Plan::Project { exprs, .. } = &plan
            && let Some(ids) = columns
                .iter()
                .map(|c| match exprs.iter().find(|e| e.1 == c.id) {
                    Some((Expr::Column { index, .. }, _)) => Some(*index),
                    _ => None,
                })
                .collect::<Option<Vec<ColId>>>()
            && let Plan::Project { input, .. } = plan
        {
            plan = *input;
            columns.iter_mut().zip(ids).for_each(|(c, id)| c.id = id);
        }
        for (c, name) in columns.iter_mut().zip(&info.columns) {
            *c = Visible {
                id: c.id,
                name: name.original.clone(),
                table: alias.to_owned(),
                database: database.to_owned(),
                org_table: table.name.original.clone(),
                org_name: name.original.clone(),
                merged: false,
            };
        }
        let called = (database.to_owned(), alias.to_owned());
        each_scan(&mut plan, &mut |scan| {
            scan.view = Some(called.clone());
            scan.inside |= !writable.change;
            Ok(())
        })?;
        match self.views.open.is_empty() {
            true => self.views.bound.push(BoundView {
                database: database.to_owned(),
                name: table.name.original.clone(),
                alias: alias.to_owned(),
                columns: columns.iter().cloned().zip(bases).collect(),
                writable,
                checks,
                unchecked,
            }),
            false => {
                self.views.checks.extend(checks);
                self.views.unchecked |= unchecked;
            }
        }
        Ok((plan, columns))
    }

    /// Whether the view that is being defined could be written through, and whether its rows are rows of tables.
    pub fn definition_writable(&self, bound: &Bound, query: &ast::Query, algorithm: ViewAlgorithm) -> (Writable, bool) {
        match simple_block(query, algorithm) {
            Some(select) => {
                let mut tables = Vec::new();
                rows_of(&bound.plan, &mut tables);
                (self.writable(&bound.plan, &bound.columns, select, 0), !tables.is_empty())
            }
            None => (Writable::default(), false),
        }
    }

    /// Whether rows of a view that is one simple block are rows of tables (manual, "Updatable and Insertable Views").
    fn writable(&self, plan: &Plan, columns: &[Visible], select: &ast::Select, subqueries_before: usize) -> Writable {
        let mut tables = Vec::new();
        rows_of(plan, &mut tables);
        let mut applies = Vec::new();
        each_apply(plan, &mut applies);
        // What its subqueries read must not change under them.
        let mut read: Vec<Arc<TableInfo>> = Vec::new();
        self.subqueries[subqueries_before..].iter().for_each(|s| s.plan.tables(&mut read));
        applies.iter().for_each(|s| s.plan.tables(&mut read));
        let reads_itself = read.iter().any(|r| tables.iter().any(|t| t.0 == r.id));
        let computed = computed(plan);
        let slots: HashSet<ColId> = applies.iter().map(|s| s.slot).collect();
        let depends =
            columns.iter().any(|c| whole(c.id, &computed, self).columns().iter().any(|id| slots.contains(id)));
        let change = !tables.is_empty() && !reads_itself && !depends;
        let outer = |join: &ast::Join| matches!(join.kind, ast::JoinKind::Left | ast::JoinKind::Right);
        // Each column is another column of a table.
        let mut seen = HashSet::new();
        let insert = change
            && !select.from.iter().any(|from| from.joins.iter().any(outer))
            && columns.iter().all(|c| {
                base_of(c.id, &computed).is_some_and(|id| tables.iter().any(|t| t.1.contains(&id)) && seen.insert(id))
            });
        Writable { change, insert }
    }
}

/// What a column is computed from, over columns of tables.
fn whole(id: ColId, computed: &HashMap<ColId, Expr>, binder: &Binder<'_>) -> Expr {
    let mut e = binder.columns.expr(id);
    while_changes(&mut e, computed);
    e
}

/// The column of a table that a column is.
fn base_of(id: ColId, computed: &HashMap<ColId, Expr>) -> Option<ColId> {
    let mut id = id;
    loop {
        match computed.get(&id) {
            None => return Some(id),
            Some(Expr::Column { index, .. }) => id = *index,
            Some(_) => return None,
        }
    }
}

/// The tables whose rows these are, with the numbers of their columns.
fn rows_of(plan: &Plan, out: &mut Vec<(i64, Vec<ColId>)>) {
    match plan {
        Plan::Scan(scan) if !scan.inside => {
            out.push((scan.table.id, scan.columns.iter().map(|c| c.1).collect()));
        }
        Plan::Project { input, .. }
        | Plan::Filter { input, .. }
        | Plan::Apply { input, .. }
        | Plan::Sort { input, .. } => rows_of(input, out),
        Plan::Join { left, right, .. } => {
            rows_of(left, out);
            rows_of(right, out);
        }
        _ => {}
    }
}

/// The subqueries that run for each of these rows.
fn each_apply<'p>(plan: &'p Plan, out: &mut Vec<&'p Subquery>) {
    if let Plan::Apply { subquery, .. } = plan {
        out.push(subquery);
    }
    plan.inputs().into_iter().for_each(|input| each_apply(input, out));
}

fn apply_slots(plan: &Plan) -> HashSet<ColId> {
    let mut applies = Vec::new();
    each_apply(plan, &mut applies);
    applies.iter().map(|s| s.slot).collect()
}

/// The block of a query whose rows are not put together from others.
fn simple_block(query: &ast::Query, algorithm: ViewAlgorithm) -> Option<&ast::Select> {
    let ast::SetExpr::Select(select) = &query.body else { return None };
    let simple = algorithm != ViewAlgorithm::TempTable
        && query.limit.is_none()
        && !select.distinct
        && select.group_by.is_empty()
        && select.having.is_none()
        && !select.from.is_empty();
    simple.then_some(select)
}

/// WHERE of a bound block, over columns of its tables.
fn conditions_of(query: &ast::Query, plan: &Plan) -> Vec<Expr> {
    let ast::SetExpr::Select(select) = &query.body else { return Vec::new() };
    if select.selection.is_none() {
        return Vec::new();
    }
    let mut plan = plan;
    loop {
        match plan {
            Plan::Filter { conditions, .. } => return conditions.clone(),
            Plan::Project { input, .. } | Plan::Apply { input, .. } | Plan::Sort { input, .. } => plan = input,
            _ => return Vec::new(),
        }
    }
}

/// What is computed on the way from tables to these rows.
fn computed(plan: &Plan) -> HashMap<ColId, Expr> {
    let mut out = HashMap::new();
    fn visit(plan: &Plan, out: &mut HashMap<ColId, Expr>) {
        match plan {
            Plan::Project { input, exprs } => {
                out.extend(exprs.iter().map(|(e, id)| (*id, e.clone())));
                visit(input, out);
            }
            Plan::Filter { input, .. } | Plan::Apply { input, .. } | Plan::Sort { input, .. } => visit(input, out),
            Plan::Join { left, right, .. } => {
                visit(left, out);
                visit(right, out);
            }
            _ => {}
        }
    }
    visit(plan, &mut out);
    out
}

/// Writes out what is computed, until nothing is left: each is over what is further down.
fn while_changes(e: &mut Expr, computed: &HashMap<ColId, Expr>) {
    while e.columns().iter().any(|id| computed.contains_key(id)) {
        bind_values(e, computed);
    }
}

/// Whether a view's query no longer fits its tables.
fn is_of_names(e: &SqlError) -> bool {
    matches!(
        e,
        SqlError::NoSuchTable { .. }
            | SqlError::ViewInvalid(_)
            | SqlError::UnknownDatabase(_)
            | SqlError::UnknownColumn { .. }
            | SqlError::UnknownTable(_)
            | SqlError::AmbiguousColumn { .. }
            | SqlError::NoSuchKey { .. }
            | SqlError::ViewColumnCount
            | SqlError::Eval(EvalError::NoSuchFunction(_))
    )
}
