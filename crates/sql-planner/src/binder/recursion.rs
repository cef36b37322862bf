//! WITH: common table expressions by name, and those that read themselves.
//!
//! ```text
//! WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3)
//!                      └─── seed ──┘           └────── recursive block ──────┘
//!
//! Plan::Recursive ─┬─ Project(1)
//!                  └─ Project(n + 1) ── Filter(n < 3) ── WorkTable r, the rows of the last round
//! ```
//!
//! What a name means is bound where it first stands, and shared with other places ([`crate::shared`]); anew wherever it
//! stands if it reads columns around it, or asks for that (`MERGE()`). Whether a query block of a CTE reads the CTE is seen when it is bound: it is
//! tried with a name that gives up when it is met ([`Cte::Unknown`]). Blocks before the first that meets it are the seed;
//! their columns are the CTE's, and the others are bound with the work table under the name.
//!
//! What MySQL refuses is refused with its words: groups, DISTINCT, an order or a limit in a recursive block, the work
//! table where an outer join has NULLs, in a subquery, or twice.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use codec::types::{Collation, FieldType, TypeCode, flags};
use sql_base::SqlError;
use sql_parser::ast;

use super::super::plan::{self, ColId, JoinKind, Plan, Recursive, Shared};
use super::{Binder, Bound, MAX_DEPTH, Visible, unsupported};

/// What a name of WITH means.
#[derive(Clone)]
pub(super) enum Cte {
    /// A query.
    Query(Arc<CteQuery>),
    /// Itself, in a block of which it is not known whether it is recursive.
    Unknown,
    /// Itself, in a recursive block.
    WorkTable(Arc<WorkTable>),
    /// The same, once it is named: what it is called.
    Used(String),
}

/// A common table expression.
pub(super) struct CteQuery {
    name: String,
    query: ast::Query,
    /// Names of its columns, unless they are the query's.
    columns: Vec<String>,
    /// It sees the names of so many levels.
    level: usize,
    /// It may see itself.
    recursive: bool,
    /// It was found that it does not.
    plain: OnceLock<()>,
}

/// The rows that the last round of a recursive CTE added.
pub(super) struct WorkTable {
    name: String,
    number: usize,
    columns: Vec<(String, FieldType)>,
    /// The binder's depth in the FROM of the recursive block: deeper is a subquery.
    depth: usize,
}

/// A CTE that is bound, and may be named again: its number, and its columns.
pub(super) struct Source {
    cte: Arc<CteQuery>,
    columns: Vec<Visible>,
}

/// A query block of a CTE.
struct Part<'a> {
    body: &'a ast::SetExpr,
    /// UNION ALL is before it; UNION DISTINCT otherwise.
    all: bool,
}

impl Binder<'_> {
    /// Makes the names of a WITH known.
    pub fn open_with(&mut self, with: &ast::With) -> Result<(), SqlError> {
        let first = self.ctes.len();
        for cte in &with.ctes {
            let name = cte.alias.name.value.clone();
            let key = name.to_lowercase();
            if self.ctes[first..].iter().any(|level| level.contains_key(&key)) {
                return Err(SqlError::DuplicateAlias(name));
            }
            let cte = CteQuery {
                name,
                query: (*cte.query).clone(),
                columns: cte.alias.columns.iter().map(|c| c.value.clone()).collect(),
                level: self.ctes.len(),
                recursive: with.recursive,
                plain: OnceLock::new(),
            };
            self.ctes.push(HashMap::from([(key, Cte::Query(Arc::new(cte)))]));
        }
        Ok(())
    }

    pub(super) fn find_cte(&self, name: &str) -> Option<Cte> {
        self.ctes.iter().rev().find_map(|level| level.get(&name.to_lowercase())).cloned()
    }

    /// A CTE in FROM.
    pub(super) fn bind_cte(&mut self, cte: Cte, alias: &str) -> Result<(Plan, Vec<Visible>), SqlError> {
        match cte {
            Cte::Query(cte) => {
                if let Some(number) = self.sources.iter().position(|source| Arc::ptr_eq(&source.cte, &cte)) {
                    return Ok(self.name_again(number, alias));
                }
                let first = self.columns.len();
                let hidden = self.ctes.split_off(cte.level);
                let bound = self.bind_cte_query(&cte, alias);
                self.ctes.truncate(cte.level);
                self.ctes.extend(hidden);
                Ok(self.share(cte, bound?, first, alias))
            }
            Cte::Unknown => {
                self.named_itself = true;
                Err(SqlError::internal("binder", "a recursive name without columns"))
            }
            Cte::WorkTable(table) if table.depth == self.depth => {
                for level in self.ctes.iter_mut().rev() {
                    if let Some(entry) =
                        level.values_mut().find(|e| matches!(e, Cte::WorkTable(t) if Arc::ptr_eq(t, &table)))
                    {
                        *entry = Cte::Used(table.name.clone());
                    }
                }
                let mut ids = Vec::new();
                let mut visible = Vec::new();
                for (name, ty) in &table.columns {
                    let id = self.columns.add(format!("{alias}.{name}"), ty.clone());
                    self.columns.call_in_messages(id, format!("`{alias}`.`{name}`"));
                    ids.push(id);
                    visible.push(Visible { table: alias.to_owned(), ..self.computed(id, name.clone()) });
                }
                Ok((Plan::WorkTable { number: table.number, alias: alias.to_owned(), ids }, visible))
            }
            Cte::WorkTable(table) => Err(SqlError::RecursionManyReferences(table.name.clone())),
            Cte::Used(name) => Err(SqlError::RecursionManyReferences(name)),
        }
    }

    /// Has others share a CTE that was bound, unless it depends on where it stands. Its columns are those from `first` on.
    fn share(
        &mut self,
        source: Arc<CteQuery>,
        (mut plan, columns): (Plan, Vec<Visible>),
        first: ColId,
        alias: &str,
    ) -> (Plan, Vec<Visible>) {
        let mut outside = false;
        plan.each_expr(&mut |e| outside |= e.columns().iter().any(|id| *id < first));
        if outside || reads_outer_round(&plan, &mut Vec::new()) || asks_to_merge(&source.query) {
            return (plan, columns);
        }
        let number = self.shared.len();
        let name = source.name.clone();
        let ids: Vec<ColId> = columns.iter().map(|c| c.id).collect();
        self.sources.push(Source { cte: source, columns: columns.clone() });
        // Only what is seen of it has a number elsewhere.
        let exprs = ids.iter().map(|id| (self.columns.expr(*id), *id)).collect();
        let plan = if plan.outputs() == ids { plan } else { Plan::Project { input: Box::new(plan), exprs } };
        self.shared.push(Shared { number, name: name.clone(), ids: ids.clone(), plan });
        let rows = statistics::PSEUDO_ROWS;
        (Plan::Cte(Box::new(plan::Cte { number, name, alias: alias.to_owned(), ids, rows })), columns)
    }

    /// A CTE that was bound, under new numbers.
    fn name_again(&mut self, number: usize, alias: &str) -> (Plan, Vec<Visible>) {
        let mut columns = self.sources[number].columns.clone();
        for c in &mut columns {
            let name = format!("{alias}.{}", c.name);
            c.id = self.columns.add(name, self.columns.ty(c.id).clone());
            c.table = alias.to_owned();
            self.columns.call_in_messages(c.id, format!("`{alias}`.`{}`", c.name));
        }
        let ids = columns.iter().map(|c| c.id).collect();
        let (name, rows) = (self.shared[number].name.clone(), statistics::PSEUDO_ROWS);
        (Plan::Cte(Box::new(plan::Cte { number, name, alias: alias.to_owned(), ids, rows })), columns)
    }

    /// Forgets what was shared since there were so many.
    fn forget_shared(&mut self, count: usize) {
        self.shared.truncate(count);
        self.sources.truncate(count);
    }

    fn bind_cte_query(&mut self, cte: &CteQuery, alias: &str) -> Result<(Plan, Vec<Visible>), SqlError> {
        if cte.recursive && cte.plain.get().is_none() {
            if self.depth >= MAX_DEPTH {
                return Err(SqlError::StackOverrun);
            }
            // Like any derived table, it does not see the columns of the block that it stands in.
            let own = self.blocks.pop();
            let (subqueries, locked, levels) = (self.subqueries.len(), self.locked.len(), self.ctes.len());
            let shared = self.shared.len();
            self.depth += 1;
            let bound = self.bind_recursive(cte);
            self.depth -= 1;
            self.ctes.truncate(levels);
            self.blocks.extend(own);
            if let Some(bound) = bound? {
                return self.as_table(bound, alias, &cte.columns);
            }
            // It is bound as any other; what the attempt left is not run.
            let _ = cte.plain.set(());
            self.subqueries.truncate(subqueries);
            self.locked.truncate(locked);
            self.forget_shared(shared);
        }
        self.derived(&cte.query, alias, &cte.columns)
    }

    /// A CTE that reads itself; `None` if it does not.
    fn bind_recursive(&mut self, cte: &CteQuery) -> Result<Option<Bound>, SqlError> {
        let mut query = &cte.query;
        while let Some(inner) = in_parentheses(query) {
            query = inner;
        }
        let itself = self.ctes.len();
        let key = cte.name.to_lowercase();
        self.ctes.push(HashMap::from([(key.clone(), Cte::Unknown)]));
        if let Some(with) = &query.with {
            self.open_with(with)?;
        }
        let mut parts = Vec::new();
        take_apart(&query.body, true, &mut parts);

        let mut seeds = Vec::new();
        for part in &parts {
            match self.try_seed(part.body)? {
                Some(bound) => seeds.push(bound),
                None => break,
            }
        }
        let first = seeds.len();
        if first == parts.len() {
            return Ok(None);
        }
        match (first, &parts[..]) {
            (0, [part]) => {
                return Err(match part.body {
                    ast::SetExpr::SetOperation { .. } => SqlError::RecursionNotUnion,
                    _ => SqlError::RecursionNeedsUnion(cte.name.clone()),
                });
            }
            (0, _) => return Err(SqlError::RecursionNeedsSeed(cte.name.clone())),
            _ => {}
        }
        if !query.order_by.is_empty() {
            return unsupported("ORDER BY over UNION in recursive Common Table Expression");
        }
        // A UNION DISTINCT counts for everything to its left.
        let last_distinct = parts.iter().rposition(|part| !part.all);
        let distinct = last_distinct.is_some_and(|at| at >= first);

        let mut seeds = seeds.into_iter().zip(&parts);
        let Some((mut seed, _)) = seeds.next() else { return Ok(None) };
        for (bound, part) in seeds {
            seed = self.union(seed, bound, part.all || distinct)?;
        }
        if !cte.columns.is_empty() && cte.columns.len() != seed.columns.len() {
            return Err(SqlError::ViewColumnCount);
        }
        let name = |at: usize| cte.columns.get(at).unwrap_or(&seed.columns[at].name).clone();
        let columns: Vec<(String, FieldType)> =
            seed.columns.iter().enumerate().map(|(at, c)| (name(at), kept_type(self.columns.ty(c.id)))).collect();

        let number = self.next_work_table;
        self.next_work_table += 1;
        let mut inputs = vec![seed.plan];
        for (at, part) in parts.iter().enumerate().skip(first) {
            if at > first {
                self.ctes[itself] = HashMap::from([(key.clone(), Cte::Unknown)]);
                if self.try_seed(part.body)?.is_some() {
                    return Err(SqlError::RecursionNeedsSeed(cte.name.clone()));
                }
            }
            if Some(at) == last_distinct && at + 1 < parts.len() {
                return unsupported(
                    "recursive query blocks with UNION DISTINCT then UNION ALL, in recursive Common Table Expression",
                );
            }
            let levels = self.ctes.len();
            let mut work = WorkTable { name: cte.name.clone(), number, columns: columns.clone(), depth: 0 };
            let block = self.recursive_block(part.body)?;
            work.depth = self.depth;
            self.ctes[itself] = HashMap::from([(key.clone(), Cte::WorkTable(Arc::new(work)))]);
            let bound = self.bind_select(block, &[], None)?;
            self.ctes.truncate(levels);
            if bound.columns.len() != columns.len() {
                return Err(SqlError::UnionColumnCount);
            }
            if let Some(Err(error)) = way_to(&bound.plan, number) {
                return Err(error);
            }
            inputs.push(bound.plan);
        }

        let limit = self.bind_limit(query.limit.as_ref())?;
        let ids: Vec<_> = columns.iter().map(|(name, ty)| self.columns.add(name.clone(), ty.clone())).collect();
        let visible = columns.iter().zip(&ids).map(|((name, _), id)| self.computed(*id, name.clone())).collect();
        let mut plan = Plan::Recursive(Box::new(Recursive {
            name: cte.name.clone(),
            number,
            ids,
            inputs,
            distinct,
            limit: limit.map(|(count, offset)| count.saturating_add(offset)),
        }));
        if let Some((count, offset)) = limit {
            plan = Plan::Limit { input: Box::new(plan), offset, count };
        }
        self.lock_query(&query.locks, &mut plan)?;
        Ok(Some(Bound { plan, columns: visible }))
    }

    /// A query block of a CTE, unless it reads the CTE.
    fn try_seed(&mut self, body: &ast::SetExpr) -> Result<Option<Bound>, SqlError> {
        let (subqueries, locked, levels) = (self.subqueries.len(), self.locked.len(), self.ctes.len());
        let shared = self.shared.len();
        let outside = std::mem::take(&mut self.named_itself);
        let bound = self.bind_set(body);
        let named = std::mem::replace(&mut self.named_itself, outside);
        match bound {
            Err(_) if named => {
                self.subqueries.truncate(subqueries);
                self.locked.truncate(locked);
                self.ctes.truncate(levels);
                self.forget_shared(shared);
                Ok(None)
            }
            bound => bound.map(Some),
        }
    }

    /// The SELECT that a recursive block has to be; names of its own WITH are opened.
    fn recursive_block<'a>(&mut self, mut body: &'a ast::SetExpr) -> Result<&'a ast::Select, SqlError> {
        const ROWS: &str = "ORDER BY / LIMIT / SELECT DISTINCT in recursive query block of Common Table Expression";
        loop {
            match body {
                ast::SetExpr::Query(query) if !query.order_by.is_empty() || query.limit.is_some() => {
                    return unsupported(ROWS);
                }
                ast::SetExpr::Query(query) if !query.locks.is_empty() => return unsupported(body.to_string()),
                ast::SetExpr::Query(query) => {
                    if let Some(with) = &query.with {
                        self.open_with(with)?;
                    }
                    body = &query.body;
                }
                ast::SetExpr::Select(select) if !select.distinct => {
                    return Ok(select);
                }
                ast::SetExpr::Select(_) => return unsupported(ROWS),
                ast::SetExpr::SetOperation { op: ast::SetOperator::Union, .. } => {
                    return unsupported("right nested recursive query blocks, in Common Table Expression");
                }
                ast::SetExpr::SetOperation { .. } => return Err(SqlError::RecursionNotUnion),
                other @ ast::SetExpr::Values(_) => return unsupported(other.to_string()),
            }
        }
    }
}

/// Whether rows of a round are read whose rounds are not in the plan; `own` are those around it.
fn reads_outer_round(plan: &Plan, own: &mut Vec<usize>) -> bool {
    match plan {
        Plan::WorkTable { number, .. } => !own.contains(number),
        plan => {
            if let Plan::Recursive(recursive) = plan {
                own.push(recursive.number);
            }
            plan.below().into_iter().any(|p| reads_outer_round(p, own))
        }
    }
}

/// Whether a CTE is to take the place of its name everywhere (`MERGE()`).
fn asks_to_merge(query: &ast::Query) -> bool {
    let ast::SetExpr::Select(select) = &query.body else { return false };
    select.hints.iter().any(|hint| hint.name.eq_ignore_ascii_case("MERGE"))
}

/// What a query is that is only parentheses around another.
fn in_parentheses(query: &ast::Query) -> Option<&ast::Query> {
    match &query.body {
        ast::SetExpr::Query(inner)
            if query.with.is_none() && query.order_by.is_empty() && query.limit.is_none() && query.locks.is_empty() =>
        {
            Some(inner)
        }
        _ => None,
    }
}

/// The query blocks of a chain of UNIONs from left to right; `all` is what is before the first. Parentheses on the right
/// are opened where that changes no row.
fn take_apart<'a>(body: &'a ast::SetExpr, all: bool, out: &mut Vec<Part<'a>>) {
    // A long UNION is deep on its left.
    let mut rights = Vec::new();
    let mut body = body;
    loop {
        match body {
            ast::SetExpr::SetOperation { left, op: ast::SetOperator::Union, all, right } => {
                rights.push((*all, &**right));
                body = left;
            }
            ast::SetExpr::Query(query) if query.with.is_none() && is_union(query) => body = &query.body,
            _ => break,
        }
    }
    out.push(Part { body, all });
    for (all, right) in rights.into_iter().rev() {
        match right {
            ast::SetExpr::Query(query) if query.with.is_none() && is_union(query) => {
                let before = out.len();
                take_apart(&query.body, all, out);
                if all && out[before..].iter().any(|part| !part.all) {
                    out.truncate(before);
                    out.push(Part { body: right, all });
                }
                // What is under a UNION DISTINCT is so as a whole.
                out[before..].iter_mut().for_each(|part| part.all &= all);
            }
            _ => out.push(Part { body: right, all }),
        }
    }
}

/// A UNION with nothing around it.
fn is_union(query: &ast::Query) -> bool {
    let union = matches!(&query.body, ast::SetExpr::SetOperation { op: ast::SetOperator::Union, .. });
    union && query.order_by.is_empty() && query.limit.is_none() && query.locks.is_empty()
}

/// The type in which rows are kept between rounds: the seed's, which may be NULL. NULL alone is the empty string's.
fn kept_type(ty: &FieldType) -> FieldType {
    let mut ty = match ty.tp {
        TypeCode::Null => {
            FieldType { flen: 0, ..FieldType::new(TypeCode::VarString) }.with_collation(Collation::BINARY)
        }
        _ => ty.clone(),
    };
    ty.flags &= !flags::NOT_NULL;
    ty
}

/// Whether a recursive block may have its work table where it has it; `None` where it is not.
fn way_to(plan: &Plan, number: usize) -> Option<Result<(), SqlError>> {
    match plan {
        Plan::WorkTable { number: found, .. } => (*found == number).then_some(Ok(())),
        Plan::Join { kind, left, right, .. } => way_to(left, number).or_else(|| {
            let way = way_to(right, number)?;
            Some(way.and_then(|()| match kind {
                JoinKind::Inner => Ok(()),
                // The other kinds come of subqueries, after names are bound.
                JoinKind::Left | JoinKind::Semi | JoinKind::Anti => {
                    Err(SqlError::RecursionJoinOrder(alias_of(right).unwrap_or_default().to_owned()))
                }
            }))
        }),
        Plan::Filter { input, .. } | Plan::Project { input, .. } | Plan::Apply { input, .. } => way_to(input, number),
        // Whatever else is above it puts its rows together.
        other => {
            let found = other.inputs().into_iter().find(|input| way_to(input, number).is_some())?;
            Some(Err(SqlError::RecursionAggregates(alias_of(found).unwrap_or_default().to_owned())))
        }
    }
}

/// What the work table in a plan is called, those of other CTEs aside.
pub(super) fn alias_of(plan: &Plan) -> Option<&str> {
    match plan {
        Plan::WorkTable { alias, .. } => Some(alias),
        Plan::Recursive(_) => None,
        other => other.inputs().into_iter().find_map(alias_of),
    }
}

#[cfg(test)]
mod tests {
    use query::expr::{CmpOp, Expr};

    use super::super::super::optimize::{filter, push_down};
    use super::*;

    fn parts(sql: &str) -> Vec<(String, bool)> {
        // Names of columns, which have no other.
        let named = sql.replace('1', "a").replace('2', "b").replace('3', "c").replace("LIMIT a", "LIMIT 1");
        let query = sql_parser::parse_query(&named).unwrap();
        let mut parts = Vec::new();
        take_apart(&query.body, true, &mut parts);
        let numbered = |text: String| text.replace('a', "1").replace('b', "2").replace('c', "3");
        parts.iter().map(|part| (numbered(part.body.to_string().replace("SELECT ", "")), part.all)).collect()
    }

    fn named(list: &[(&str, bool)]) -> Vec<(String, bool)> {
        list.iter().map(|(name, all)| ((*name).to_owned(), *all)).collect()
    }

    #[test]
    fn a_chain_of_unions_is_its_blocks() {
        let all = named(&[("1", true), ("2", true), ("3", false)]);
        assert_eq!(parts("SELECT 1 UNION ALL SELECT 2 UNION SELECT 3"), all);
        assert_eq!(parts("(SELECT 1 UNION ALL SELECT 2) UNION DISTINCT SELECT 3"), all);
        assert_eq!(parts("SELECT 1"), named(&[("1", true)]));
        assert_eq!(parts("SELECT 1 EXCEPT SELECT 2"), named(&[("1 EXCEPT 2", true)]));
    }

    #[test]
    fn parentheses_on_the_right_open_where_no_row_changes() {
        assert_eq!(
            parts("SELECT 1 UNION ALL (SELECT 2 UNION ALL SELECT 3)"),
            named(&[("1", true), ("2", true), ("3", true)])
        );
        // Under UNION DISTINCT it is the same whether its own rows are kept.
        assert_eq!(
            parts("SELECT 1 UNION (SELECT 2 UNION ALL SELECT 3)"),
            named(&[("1", true), ("2", false), ("3", false)])
        );
        assert_eq!(parts("SELECT 1 UNION ALL (SELECT 2 UNION SELECT 3)"), named(&[("1", true), ("(2 UNION 3)", true)]));
        assert_eq!(
            parts("SELECT 1 UNION ALL (SELECT 2 UNION ALL SELECT 3 LIMIT 1)"),
            named(&[("1", true), ("(2 UNION ALL 3 LIMIT 1)", true)])
        );
    }

    #[test]
    fn a_work_table_is_joined_but_not_grouped_and_not_optional() {
        let table = || Box::new(Plan::WorkTable { number: 7, alias: "w".into(), ids: vec![1] });
        let join =
            |kind, left, right| Plan::Join { kind, left, right, equal: vec![], other: vec![], way: Default::default() };
        let one = || Box::new(Plan::One);
        assert!(matches!(way_to(&join(JoinKind::Left, table(), one()), 7), Some(Ok(()))));
        assert!(matches!(way_to(&join(JoinKind::Inner, one(), table()), 7), Some(Ok(()))));
        let optional = way_to(&join(JoinKind::Left, one(), table()), 7);
        assert!(matches!(optional, Some(Err(SqlError::RecursionJoinOrder(alias))) if alias == "w"));
        let grouped = way_to(&Plan::Distinct(table()), 7);
        assert!(matches!(grouped, Some(Err(SqlError::RecursionAggregates(alias))) if alias == "w"));
        assert!(way_to(&Plan::Distinct(table()), 8).is_none(), "another's");
    }
    #[test]
    fn conditions_stay_above_the_rounds() {
        let seed = Plan::Values { ids: vec![1], rows: vec![vec![Expr::constant(1_i64)]] };
        let table = Plan::WorkTable { number: 0, alias: "r".into(), ids: vec![4] };
        let (ids, inputs) = (vec![5], vec![seed, table]);
        let recursive = Recursive { name: "r".into(), number: 0, ids, inputs, distinct: false, limit: None };
        let column = Expr::column(5, FieldType::bigint());
        let condition = query::infer::compare(CmpOp::Gt, column, Expr::constant(0_i64)).unwrap();
        let plan = push_down(filter(Plan::Recursive(Box::new(recursive)), vec![condition]), Vec::new());
        let stays = matches!(plan, Plan::Filter { input, .. } if matches!(*input, Plan::Recursive(_)));
        assert!(stays, "others may come of the row");
    }
}
