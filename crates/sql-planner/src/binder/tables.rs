//! FROM: tables, derived tables, common table expressions, and their joins.

use std::collections::HashSet;
use std::sync::Arc;

use query::expr::Expr;
use sql_base::{PartitionError, SqlError};
use sql_catalog::{TableInfo, TableKind};
use sql_parser::ast;

use super::super::expr as build;
use super::super::optimize::filter;
use super::super::partitions;
use super::super::plan::{ColId, IndexHint, JoinHint, JoinKind, Plan, Pushed, Scan};
use super::recursion::alias_of;
use super::{Binder, Block, Bound, Visible, each_scan, table_name, unsupported};

impl Binder<'_> {
    /// A table by name.
    pub fn find_table(&self, name: &ast::Name) -> Result<(String, Arc<TableInfo>), SqlError> {
        let (db, table) = table_name(name)?;
        let db = match db {
            Some(db) => db,
            None => self.env.database().ok_or(SqlError::NoDatabaseSelected)?.to_owned(),
        };
        match self.env.schema().table(&db, &table) {
            Some(t) => Ok((db, t.clone())),
            None if self.env.schema().database(&db).is_none() => Err(SqlError::UnknownDatabase(db)),
            None => Err(SqlError::NoSuchTable { database: db, table }),
        }
    }

    /// A scan of all public columns of a table. With `all`, every column in any state and the row handle.
    pub fn scan(
        &mut self,
        database: &str,
        table: &Arc<TableInfo>,
        alias: &str,
        all: bool,
    ) -> (Plan, Vec<Visible>, Option<ColId>) {
        let mut columns = Vec::new();
        let mut visible = Vec::new();
        for c in table.columns.iter().filter(|c| all || c.is_public()) {
            let id = self.columns.add(format!("{database}.{alias}.{}", c.name), c.field_type.clone());
            // A row that is only a set of values has no alias.
            self.columns.call_in_messages(
                id,
                match alias {
                    "" => format!("values(`{}`)", c.name),
                    alias => format!("`{database}`.`{alias}`.`{}`", c.name),
                },
            );
            columns.push((c.offset, id));
            if c.is_public() {
                visible.push(Visible {
                    id,
                    name: c.name.original.clone(),
                    table: alias.to_owned(),
                    database: database.to_owned(),
                    org_table: table.name.original.clone(),
                    org_name: c.name.original.clone(),
                    merged: false,
                });
            }
        }
        if table.kind == TableKind::Memory {
            let plan = Plan::Memory { table: table.clone(), database: database.to_owned(), columns };
            return (plan, visible, None);
        }
        self.tables.push((table.clone(), columns.clone()));
        let handle = all.then(|| self.columns.add(format!("{database}.{alias}._tidb_rowid"), table.handle_type()));
        let plan = Plan::Scan(Box::new(Scan {
            table: table.clone(),
            physical: table.physical_id(),
            partitions: table.partition.as_ref().map(|_| Default::default()),
            database: database.to_owned(),
            alias: alias.to_owned(),
            columns,
            handle,
            filters: Vec::new(),
            access: Default::default(),
            order: None,
            pushed: Pushed::default(),
            residual: Vec::new(),
            hints: Vec::new(),
            join_hint: JoinHint::default(),
            lock: None,
            inside: false,
            derived: false,
            view: None,
            estimate: statistics::PSEUDO_ROWS,
            known: Arc::default(),
        }));
        (plan, visible, handle)
    }

    /// A table or view by its own name.
    pub fn bind_table(&mut self, name: &ast::Name) -> Result<(Plan, Vec<Visible>), SqlError> {
        self.bind_factor(&ast::TableFactor::Table {
            name: name.clone(),
            partitions: Vec::new(),
            alias: None,
            index_hints: Vec::new(),
        })
    }

    fn bind_factor(&mut self, factor: &ast::TableFactor) -> Result<(Plan, Vec<Visible>), SqlError> {
        match factor {
            ast::TableFactor::Table { name, partitions, alias, index_hints } => {
                let single = name.single().map(|single| single.value.as_str());
                if let Some(single) = single
                    && let Some(cte) = self.find_cte(single)
                {
                    let alias_name = alias.as_ref().map_or(single, |a| &a.value);
                    return self.bind_cte(cte, alias_name);
                }
                if single.is_some_and(|n| n.eq_ignore_ascii_case("dual")) && self.find_table(name).is_err() {
                    return Ok((Plan::One, Vec::new()));
                }
                let (db, table) = self.find_table(name)?;
                if table.kind == TableKind::Temporary && self.recorder.is_some() {
                    return Err(SqlError::ViewSelectTemporary(table.name.original.clone()));
                }
                self.record_database(name, &db);
                let alias_name = alias.as_ref().map_or(&table.name.original, |a| &a.value).clone();
                if let Some(view) = &table.view {
                    if !partitions.is_empty() {
                        return Err(PartitionError::ClauseOnNonPartitioned.into());
                    }
                    if let Some(key) = index_hints.iter().find_map(|hint| hint.indexes.first()) {
                        return Err(SqlError::NoSuchKey { key: key.value.clone(), table: table.name.original.clone() });
                    }
                    return self.bind_view(&db, &table, view, &alias_name);
                }
                let (mut plan, visible, _) = self.scan(&db, &table, &alias_name, false);
                let named = partitions::named(&table, partitions)?;
                if let Plan::Scan(scan) = &mut plan {
                    if let Some(partitions) = &mut scan.partitions {
                        partitions.named = named;
                    }
                    for hint in index_hints {
                        let kind = match hint.kind {
                            ast::IndexHintKind::Ignore => IndexHint::Ignore,
                            ast::IndexHintKind::Use | ast::IndexHintKind::Force => IndexHint::Use,
                        };
                        let names: Vec<String> = hint.indexes.iter().map(|i| i.value.clone()).collect();
                        for name in &names {
                            if !table.has_key(name) {
                                return Err(SqlError::NoSuchKey {
                                    key: name.clone(),
                                    table: table.name.original.clone(),
                                });
                            }
                        }
                        scan.hints.push((kind, names));
                    }
                }
                Ok((plan, visible))
            }
            ast::TableFactor::Derived { lateral, subquery, alias } => {
                let columns: Vec<String> = alias.columns.iter().map(|c| c.value.clone()).collect();
                match lateral {
                    true => self.lateral(subquery, &alias.name.value, &columns),
                    false => self.derived(subquery, &alias.name.value, &columns),
                }
            }
            ast::TableFactor::Nested(tables) => self.bind_joins(tables),
        }
    }

    /// A subquery in FROM. It does not see the block's own columns.
    pub(super) fn derived(
        &mut self,
        query: &ast::Query,
        alias: &str,
        names: &[String],
    ) -> Result<(Plan, Vec<Visible>), SqlError> {
        let own = self.blocks.pop();
        let bound = self.bind_query(query);
        self.blocks.extend(own);
        self.as_table(bound?, alias, names)
    }

    /// A subquery in FROM that sees the tables before it. What it reads of them is added to what the FROM depends on.
    fn lateral(&mut self, query: &ast::Query, alias: &str, names: &[String]) -> Result<(Plan, Vec<Visible>), SqlError> {
        let own = self.blocks.pop();
        let before = self.before.clone();
        self.blocks.push(Block { visible: before.clone(), ..Block::default() });
        self.blocks.push(Block::default());
        let bound = self.bind_query(query);
        let frame = self.blocks.pop().unwrap_or_default();
        self.blocks.pop();
        let (read, outside): (HashSet<ColId>, HashSet<ColId>) =
            frame.outer.into_iter().partition(|id| before.iter().any(|v| v.id == *id));
        self.depends.extend(read);
        if let Some(around) = self.blocks.last_mut() {
            around.outer.extend(outside.into_iter().filter(|id| !around.visible.iter().any(|v| v.id == *id)));
        }
        self.blocks.extend(own);
        self.as_table(bound?, alias, names)
    }

    /// Whether what was bound last reads these columns.
    fn depends_on(&mut self, columns: &[Visible]) -> bool {
        let before = self.depends.len();
        self.depends.retain(|id| !columns.iter().any(|v| v.id == *id));
        self.depends.len() < before
    }

    /// A query's columns under the name of a table.
    pub(super) fn as_table(
        &mut self,
        mut bound: Bound,
        alias: &str,
        names: &[String],
    ) -> Result<(Plan, Vec<Visible>), SqlError> {
        each_scan(&mut bound.plan, &mut |scan| {
            scan.inside = true;
            scan.derived = true;
            Ok(())
        })?;
        if !names.is_empty() && names.len() != bound.columns.len() {
            return Err(SqlError::ViewColumnCount);
        }
        for (i, c) in bound.columns.iter_mut().enumerate() {
            c.table = alias.to_owned();
            c.database = String::new();
            c.merged = false;
            if let Some(n) = names.get(i) {
                c.name = n.clone();
            }
            if self.columns.in_messages(c.id).is_none() {
                self.columns.call_in_messages(c.id, format!("`{alias}`.`{}`", c.name));
            }
        }
        let mut seen = HashSet::new();
        for c in &bound.columns {
            if !seen.insert(c.name.to_lowercase()) {
                return Err(SqlError::DuplicateColumn(c.name.clone()));
            }
        }
        Ok((bound.plan, bound.columns))
    }

    /// A table with its joins.
    pub fn bind_joins(&mut self, from: &ast::TableWithJoins) -> Result<(Plan, Vec<Visible>), SqlError> {
        let (mut plan, mut visible) = self.bind_factor(&from.relation)?;
        for join in &from.joins {
            let outside = self.before.len();
            self.before.extend(visible.iter().cloned());
            let bound = self.bind_factor(&join.relation);
            self.before.truncate(outside);
            let (mut right, right_visible) = bound?;
            let depends = self.depends_on(&visible);
            if let (ast::JoinKind::Straight, Some(alias)) = (join.kind, alias_of(&right)) {
                return Err(SqlError::RecursionJoinOrder(alias.to_owned()));
            }
            let (left_outer, right_outer) = (join.kind == ast::JoinKind::Left, join.kind == ast::JoinKind::Right);
            check_aliases(&visible, &right_visible)?;
            let left_visible = visible.clone();
            visible.extend(right_visible.clone());
            let using: Option<Vec<String>> = match &join.constraint {
                ast::JoinConstraint::Using(names) => Some(names.iter().map(|n| n.value.clone()).collect()),
                ast::JoinConstraint::Natural => Some(
                    left_visible
                        .iter()
                        .filter(|l| !l.merged && right_visible.iter().any(|r| r.name.eq_ignore_ascii_case(&l.name)))
                        .map(|l| l.name.clone())
                        .collect(),
                ),
                ast::JoinConstraint::On(_) | ast::JoinConstraint::None => None,
            };
            let mut conditions = Vec::new();
            let mut above = Vec::new();
            if let Some(names) = using {
                let mut shown = HashSet::new();
                for name in names {
                    let find = |side: &[Visible]| {
                        side.iter().find(|v| !v.merged && v.name.eq_ignore_ascii_case(&name)).map(|v| v.id)
                    };
                    let (Some(l), Some(r)) = (find(&left_visible), find(&right_visible)) else {
                        return Err(SqlError::UnknownColumn { column: name, clause: "from clause".into() });
                    };
                    conditions.push(build::call(
                        "=",
                        vec![self.columns.expr(l), self.columns.expr(r)],
                        self.env.eval(),
                    )?);
                    // One of the two stands for both: the side whose rows are all there.
                    let (show, hide) = if right_outer { (r, l) } else { (l, r) };
                    shown.insert(show);
                    for v in &mut visible {
                        v.merged |= v.id == hide;
                    }
                }
                // These come before all others; a RIGHT JOIN shows its columns as the equivalent LEFT JOIN does.
                if right_outer {
                    visible.rotate_left(left_visible.len());
                }
                visible.sort_by_key(|v| !shown.contains(&v.id));
            } else if let ast::JoinConstraint::On(on) = &join.constraint {
                let saved = std::mem::replace(&mut self.block().visible, visible.clone());
                let bound = self.in_clause("on clause", |b| b.bind_condition(on));
                self.block().visible = saved;
                bound?.split_and(&mut conditions);
                // A subquery runs for the rows of the side that it reads; one that reads both, for what is joined.
                for mut subquery in std::mem::take(&mut self.block().applies) {
                    let mut read = HashSet::new();
                    subquery.each_expr(&mut |e| read.extend(e.columns()));
                    let reads = |side: &[Visible]| side.iter().any(|v| read.contains(&v.id));
                    let input = match (reads(&left_visible), reads(&right_visible)) {
                        (false, _) => &mut right,
                        (true, false) => &mut plan,
                        (true, true) if left_outer || right_outer => {
                            return unsupported("a subquery that reads both sides of an outer join in its condition");
                        }
                        (true, true) => {
                            above.push(subquery);
                            continue;
                        }
                    };
                    *input = Plan::Apply { input: Box::new(std::mem::take(input)), subquery: Box::new(subquery) };
                }
            }
            if depends {
                if right_outer || !above.is_empty() {
                    return unsupported("this join with LATERAL");
                }
                let right = Box::new(filter(right, conditions));
                plan = Plan::Lateral { left: Box::new(plan), right, outer: left_outer };
                continue;
            }
            let (left, right) = if right_outer { (right, plan) } else { (plan, right) };
            let kind = if left_outer || right_outer { JoinKind::Left } else { JoinKind::Inner };
            let (over_all, other) = conditions
                .into_iter()
                .partition(|c: &Expr| c.columns().iter().any(|id| above.iter().any(|s| s.slot == *id)));
            plan = Plan::Join {
                kind,
                left: Box::new(left),
                right: Box::new(right),
                equal: Vec::new(),
                other,
                way: Default::default(),
            };
            for subquery in above {
                plan = Plan::Apply { input: Box::new(plan), subquery: Box::new(subquery) };
            }
            plan = filter(plan, over_all);
        }
        Ok((plan, visible))
    }

    /// A FROM list.
    pub fn bind_from(&mut self, from: &[ast::TableWithJoins]) -> Result<(Plan, Vec<Visible>), SqlError> {
        let before = std::mem::take(&mut self.before);
        let bound = self.bind_from_items(from);
        self.before = before;
        bound
    }

    fn bind_from_items(&mut self, from: &[ast::TableWithJoins]) -> Result<(Plan, Vec<Visible>), SqlError> {
        let mut result: Option<(Plan, Vec<Visible>)> = None;
        for item in from {
            let (plan, visible) = self.bind_joins(item)?;
            self.before.extend(visible.iter().cloned());
            result = Some(match result {
                None => (plan, visible),
                Some((left, mut all)) => {
                    check_aliases(&all, &visible)?;
                    if self.depends_on(&all) {
                        all.extend(visible);
                        let (left, right) = (Box::new(left), Box::new(plan));
                        result = Some((Plan::Lateral { left, right, outer: false }, all));
                        continue;
                    }
                    all.extend(visible);
                    let join = Plan::Join {
                        kind: JoinKind::Inner,
                        left: Box::new(left),
                        right: Box::new(plan),
                        equal: Vec::new(),
                        other: Vec::new(),
                        way: Default::default(),
                    };
                    (join, all)
                }
            });
        }
        Ok(result.unwrap_or((Plan::One, Vec::new())))
    }
}

fn check_aliases(left: &[Visible], right: &[Visible]) -> Result<(), SqlError> {
    for r in right {
        let same =
            |l: &&Visible| l.table.eq_ignore_ascii_case(&r.table) && l.database.eq_ignore_ascii_case(&r.database);
        if !r.table.is_empty() && left.iter().any(|l| same(&l)) {
            return Err(SqlError::DuplicateAlias(r.table.clone()));
        }
    }
    Ok(())
}
