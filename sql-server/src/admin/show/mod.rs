//! SHOW, DESCRIBE and what ADMIN shows: each is a query over a table that the server computes.
//!
//! ```text
//!   SHOW FULL TABLES FROM d LIKE 'a%'
//!     SELECT * FROM (SELECT TABLE_NAME AS `Tables_in_d (a%)`, TABLE_TYPE AS `Table_type`
//!                    FROM information_schema.`SHOW`) AS `SHOW` WHERE `Tables_in_d (a%)` LIKE ?
//! ```
//!
//! The query is bound, planned and run as any other, so that a condition may be whatever a condition is. It reads one table,
//! which nobody else sees and which is called `SHOW` in it: one of `information_schema` or `performance_schema` as far as it
//! concerns what the statement names (here the tables of `d`), or one that only this statement has
//! (`sql_catalog::virtual_tables::internal`). [`lists`] says which, and how columns are called; [`source`] gives its rows,
//! in the order in which they are shown.
//!
//! Not here: running the query (`session`), what statements do before they show (`statements`, `analyze`).

mod create;
mod lists;
mod placement;
mod regions;
mod source;
mod statistics;
mod users;

use std::sync::Arc;

use codec::datum::Datum;
use sql_base::SqlError;
use sql_catalog::{TableInfo, virtual_tables};
use sql_context::{SessionState, VirtualRows};
use sql_parser::canonical::quoted;
use sql_parser::{Admin, Show, ShowFilter};

use crate::cluster::Server;
use source::{Of, Source};

/// What the table that the statement reads is called in its query, and where it is.
const OWN: &str = "SHOW";
const OWN_DATABASE: &str = "information_schema";

/// A statement that shows something, as a query.
pub struct Query<'a> {
    /// The query. Parameters of the statement come behind those of [`Query::values`].
    pub text: String,
    /// Values of its first parameters.
    pub values: Vec<Datum>,
    /// It may name stored tables: in a subquery of its condition.
    pub names_tables: bool,
    /// The table that it reads.
    table: Option<Arc<TableInfo>>,
    source: Source<'a>,
}

impl Query<'_> {
    /// The schema that the query is bound with: `base`, and the table of its own.
    pub fn schema(&self, base: Arc<sql_catalog::Schema>) -> Arc<sql_catalog::Schema> {
        match &self.table {
            Some(table) => Arc::new(base.with_table(OWN_DATABASE, Arc::clone(table))),
            None => base,
        }
    }

    /// Where the rows of computed tables come from while it runs.
    pub fn rows(&self) -> &dyn VirtualRows {
        &self.source
    }
}

/// What is selected from where.
struct List {
    table: Option<Arc<TableInfo>>,
    /// Expressions and their names; none: all columns of the table.
    items: Vec<(&'static str, String)>,
    /// On the table's rows.
    condition: Option<&'static str>,
    /// The column that LIKE is for.
    like: usize,
}

type Items = &'static [(&'static str, &'static str)];

impl List {
    /// Of a table that some database has.
    fn public(database: &str, table: &str, items: Items) -> List {
        List { table: virtual_tables::schema().table(database, table).cloned(), ..List::of_no_table(items) }
    }

    /// Of a table of `information_schema`.
    fn info(table: &str, items: Items) -> List {
        List::public(OWN_DATABASE, table, items)
    }

    /// Of no table.
    fn of_no_table(items: Items) -> List {
        let items = items.iter().map(|(what, name)| (*what, (*name).to_owned())).collect();
        List { table: None, items, condition: None, like: 0 }
    }

    /// All of a table that only such statements have.
    fn internal(table: &str) -> List {
        List { table: virtual_tables::internal(table), ..List::of_no_table(&[]) }
    }

    /// Its first column, `what`, under a name that only the statement knows.
    fn headed(mut self, what: &'static str, name: String) -> List {
        match self.items.first_mut() {
            Some(item) => item.1 = name,
            None => self.items.push((what, name)),
        }
        self
    }

    /// The query, with the statement's filter around it.
    fn query<'a>(
        self,
        server: &'a Server,
        of: Of<'a>,
        filter: Option<&ShowFilter>,
        limit: Option<(u64, u64)>,
    ) -> Query<'a> {
        let items: Vec<_> = self.items.iter().map(|(what, name)| format!("{what} AS {}", quoted(name))).collect();
        let mut text = format!("SELECT {}", if items.is_empty() { "*".to_owned() } else { items.join(", ") });
        if self.table.is_some() {
            text.push_str(&format!(" FROM {OWN_DATABASE}.{}", quoted(OWN)));
        }
        if let Some(condition) = self.condition {
            text.push_str(&format!(" WHERE {condition}"));
        }
        let (mut values, mut names_tables) = (Vec::new(), false);
        if let Some(filter) = filter {
            let condition = match filter {
                ShowFilter::Like(pattern) => {
                    values.push(Datum::string(pattern.as_str()));
                    let columns = self.table.iter().flat_map(|table| &table.columns).map(|c| c.name.as_str());
                    let named = self.items.get(self.like).map(|(_, name)| name.as_str());
                    format!("{} LIKE ?", quoted(named.or(columns.into_iter().nth(self.like)).unwrap_or_default()))
                }
                ShowFilter::Where(condition) => {
                    let words = condition.to_ascii_uppercase();
                    names_tables = ["SELECT", "TABLE"].iter().any(|word| words.contains(word));
                    // A comment may end it, up to the end of its line.
                    format!("({condition}\n)")
                }
            };
            text = format!("SELECT * FROM ({text}) AS {} WHERE {condition}", quoted(OWN));
        }
        // `sql_select_limit` is not for it.
        let (offset, count) = limit.unwrap_or((0, u64::MAX));
        text.push_str(&format!(" LIMIT {offset}, {count}"));
        let own = |table: Arc<TableInfo>| Arc::new(TableInfo { name: OWN.into(), ..(*table).clone() });
        Query { text, values, names_tables, table: self.table.map(own), source: Source { server, of } }
    }
}

/// SHOW as a query.
///
/// # Errors
///
/// Those of names that columns are called after; kinds that are not answered, by name.
pub fn show<'a>(server: &'a Server, session: &SessionState, show: &'a Show) -> Result<Query<'a>, SqlError> {
    let list = lists::of(server, session, show)?;
    Ok(list.query(server, Of::Show(&show.kind), show.filter.as_ref(), show.limit))
}

/// What ADMIN shows, as a query; `None` where it shows nothing.
pub fn admin<'a>(server: &'a Server, admin: &'a Admin) -> Option<Query<'a>> {
    let (table, filter) = match admin {
        Admin::ShowDdl => ("ddl", None),
        Admin::ShowDdlJobs { filter, .. } => ("ddl_jobs", filter.as_ref()),
        Admin::ShowDdlJobQueries(_) => ("ddl_job_queries", None),
        Admin::ShowNextRowId(_) => ("next_row_id", None),
        _ => return None,
    };
    Some(List::internal(table).query(server, Of::Admin(admin), filter, None))
}

/// What a statement has to tell of what it did: rows of an internal table.
pub fn told<'a>(server: &'a Server, table: &str, rows: Vec<Vec<Datum>>) -> Query<'a> {
    List::internal(table).query(server, Of::Rows(rows), None, None)
}
