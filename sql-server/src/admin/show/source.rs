//! The rows of the table that a SHOW or ADMIN statement reads: what it names decides which.
//!
//! All other tables that its condition may name have the rows that they have for every statement.

use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use query::expr::function::Body;
use query::functions;
use sql_base::SqlError;
use sql_catalog::{AutoIdKind, Schema, TableInfo, TableKind, ViewInfo};
use sql_context::{Level, SessionState, VirtualRead, VirtualRows, eval_context, time_zone};
use sql_parser::{Admin, ShowKind, TableName};
use sql_planner::view::{Definitions, as_shown, reads_other_databases};

use super::{OWN, create, placement, regions, statistics, users};
use crate::admin::infoschema::{self, Rows, s};
use crate::admin::names::{Found, Names, wrong_object};
use crate::cluster::Server;

/// Finished jobs that ADMIN SHOW DDL JOBS lists when it is not told how many.
const JOBS_SHOWN: u64 = 10;

/// Finished jobs among which a query is looked up by job.
const JOBS_SEARCHED: usize = 10_000;

/// Whose rows are given.
pub(super) enum Of<'a> {
    /// SHOW.
    Show(&'a ShowKind),
    /// ADMIN.
    Admin(&'a Admin),
    /// A statement that has done what it shows.
    Rows(Rows),
}

/// Gives the rows.
pub(super) struct Source<'a> {
    pub(super) server: &'a Server,
    pub(super) of: Of<'a>,
}

#[async_trait]
impl VirtualRows for Source<'_> {
    async fn virtual_rows(&self, table: &TableInfo, read: VirtualRead<'_>) -> Result<Rows, SqlError> {
        if table.name.as_str() == OWN {
            return match &self.of {
                Of::Show(kind) => self.show(kind, read).await,
                Of::Admin(admin) => self.admin(admin, read).await,
                Of::Rows(rows) => Ok(rows.clone()),
            };
        }
        // The schema that the query is bound with has the table of its own, which is not to be told of.
        let schema = self.server.schema().unwrap_or_else(|_| Arc::clone(read.schema));
        self.server.virtual_rows(table, VirtualRead { schema: &schema, ..read }).await
    }
}

/// The table of a name: the session's temporary one, or that of the schema of now.
pub(super) fn table_named(server: &Server, session: &SessionState, name: &TableName) -> Result<Found, SqlError> {
    let schema = server.schema()?;
    let current = session.database.as_deref();
    let hidden = name.database.as_deref().or(current).and_then(|database| {
        let table = session.temporary.find(database, &name.name)?;
        Some((Arc::clone(schema.database(database)?), Arc::clone(table)))
    });
    hidden.map_or_else(|| Names { schema: &schema, current }.table(name), Ok)
}

impl Source<'_> {
    async fn show(&self, kind: &ShowKind, read: VirtualRead<'_>) -> Result<Rows, SqlError> {
        let (server, session) = (self.server, read.session);
        Ok(match kind {
            // Of nothing that is in the schema: these are answered before there is a cluster.
            ShowKind::Variables { global: true } => infoschema::global_variables(server),
            ShowKind::Variables { global: false } => infoschema::session_variables(server, session),
            ShowKind::Status { .. } => infoschema::status(server),
            ShowKind::Warnings => diagnostics(session, false),
            ShowKind::Errors => diagnostics(session, true),
            ShowKind::ProcessList { .. } => infoschema::processlist(server),
            ShowKind::Charset => infoschema::character_sets(),
            ShowKind::Collation => infoschema::collations(),
            ShowKind::Engines => infoschema::engines(),
            ShowKind::Grants(user) => users::grants(session, user.as_deref())?,
            ShowKind::CreateUser(user) => users::create(server, session, user)?,
            ShowKind::Builtins => builtins(),
            // There are none of these, and the clients that list them expect so. Counts come from variables.
            ShowKind::Plugins
            | ShowKind::Privileges
            | ShowKind::Profiles
            | ShowKind::Routines(_)
            | ShowKind::OpenTables
            | ShowKind::CountWarnings
            | ShowKind::CountErrors
            | ShowKind::Tidb(_) => Vec::new(),
            ShowKind::MasterStatus => binary_log_status(server).await?,
            ShowKind::PlacementLabels => placement::labels(server).await?,
            ShowKind::Statistics(what) => statistics::rows(server, session, &*server.schema()?, *what).await?,
            named => self.named(named, server.schema()?, read).await?,
        })
    }

    /// What names something of the schema, or lists it.
    async fn named(&self, kind: &ShowKind, schema: Arc<Schema>, read: VirtualRead<'_>) -> Result<Rows, SqlError> {
        let (server, session) = (self.server, read.session);
        let names = Names { schema: &schema, current: session.database.as_deref() };
        Ok(match kind {
            ShowKind::Tables { database, .. } | ShowKind::TableStatus { database } => {
                let database = names.database(database.as_deref())?;
                let listed: Vec<_> =
                    database.tables().map(|table| (Arc::clone(&database), Arc::clone(table))).collect();
                infoschema::tables(server, &listed, read.columns).await?
            }
            ShowKind::Columns { table, .. } => {
                let (database, mut table) = table_named(server, session, table)?;
                if table.view.is_some() {
                    let eval = eval_context(session, false);
                    let env = Definitions { schema: &schema, database: None, eval: &eval };
                    table = Arc::new(as_shown(&env, database.info.name.as_str(), &table)?.0);
                }
                infoschema::columns([(database.info.name.as_str(), &*table)], &time_zone(session))
            }
            ShowKind::Indexes { table } => {
                let table = table_named(server, session, table)?.1;
                let known = server.domain()?.statistics().current();
                infoschema::key_parts(&table, known.table(table.id)).into_iter().map(|part| part.shown()).collect()
            }
            ShowKind::CreateDatabase { if_not_exists, name } => {
                let database = names.database(Some(name))?;
                let text = create::create_database(&database.info, *if_not_exists);
                vec![vec![s(database.info.name.as_str()), s(text)]]
            }
            ShowKind::CreateTable(name) => {
                let (database, table) = table_named(server, session, name)?;
                match &table.view {
                    Some(view) => create_view(session, &schema, database.info.name.as_str(), (&table, view))?,
                    None => vec![self.create_table(session, &table).await?],
                }
            }
            ShowKind::CreateView(name) => {
                let (database, table) = names.table(name)?;
                match &table.view {
                    Some(view) => create_view(session, &schema, database.info.name.as_str(), (&table, view))?,
                    None => return Err(wrong_object(&database, &table, "VIEW")),
                }
            }
            ShowKind::CreatePlacementPolicy(name) => {
                let policy = schema.policy(name).ok_or_else(|| SqlError::UnknownPlacementPolicy(name.clone()))?;
                vec![vec![s(policy.name.as_str()), s(create::create_policy(policy))]]
            }
            ShowKind::Placement => placement::all(server, &schema).await?,
            ShowKind::PlacementForDatabase(name) => {
                placement::for_database(server, &schema, &*names.database(Some(name))?).await?
            }
            ShowKind::PlacementForTable { table, partition } => {
                let found = names.base_table(table)?;
                match partition {
                    Some(partition) => placement::for_partition(server, &schema, &found, partition).await?,
                    None => placement::for_table(server, &schema, &found).await?,
                }
            }
            ShowKind::TableRegions { table, index } => {
                regions::table_regions(server, &schema, &names.base_table(table)?.1, index.as_deref()).await?
            }
            ShowKind::TableNextRowId(name) => next_row_id(server, names, name).await?,
            _ => infoschema::schemata(&schema),
        })
    }

    async fn admin(&self, admin: &Admin, read: VirtualRead<'_>) -> Result<Rows, SqlError> {
        let server = self.server;
        match admin {
            Admin::ShowDdl => ddl(server).await,
            Admin::ShowDdlJobs { limit, .. } => {
                let limit = usize::try_from(limit.unwrap_or(JOBS_SHOWN)).unwrap_or(usize::MAX);
                let comments = |job: &sql_ddl::job::Job| {
                    s(job.error.as_ref().map_or(String::new(), |error| error.message.clone()))
                };
                infoschema::jobs(server, limit, comments).await
            }
            Admin::ShowDdlJobQueries(ids) => {
                let (queued, finished) = server.domain()?.jobs(JOBS_SEARCHED).await?;
                let wanted = |id: i64| u64::try_from(id).is_ok_and(|id| ids.contains(&id));
                let jobs = queued.into_iter().chain(finished).filter(|job| wanted(job.id));
                Ok(jobs.map(|job| vec![s(job.query)]).collect())
            }
            Admin::ShowNextRowId(name) => {
                let schema = server.schema()?;
                let names = Names { schema: &schema, current: read.session.database.as_deref() };
                next_row_id(server, names, name).await
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn create_table(&self, session: &SessionState, table: &TableInfo) -> Result<Vec<Datum>, SqlError> {
        let ids = match table.kind {
            TableKind::Temporary => Some(Arc::clone(session.temporary.ids())),
            TableKind::Memory => None,
            _ => Some(Arc::clone(self.server.domain()?.auto_ids())),
        };
        let next = match ids.filter(|_| table.auto_increment_column().is_some()) {
            Some(ids) => Some(ids.next(table, AutoIdKind::AutoIncrement).await?),
            None => None,
        };
        Ok(vec![s(table.name.as_str()), s(create::create_table(table, next, &time_zone(session)))])
    }
}

fn create_view(
    session: &SessionState,
    schema: &Arc<Schema>,
    database: &str,
    (table, view): (&TableInfo, &ViewInfo),
) -> Result<Rows, SqlError> {
    let eval = eval_context(session, false);
    let env = Definitions { schema, database: None, eval: &eval };
    // Of one that no longer fits its tables nothing is known of theirs.
    let whole = reads_other_databases(&env, database, table).unwrap_or(false);
    let name = table.name.as_str();
    let text = create::create_view(database, name, view, session.database.as_deref(), whole)?;
    Ok(vec![vec![s(name), s(text), s(view.charset.as_str()), s(view.collation.as_str())]])
}

fn diagnostics(session: &SessionState, errors_only: bool) -> Rows {
    let kept = session.warnings.iter().filter(|w| !errors_only || w.level == Level::Error);
    kept.map(|w| vec![s(w.level.name()), Datum::Int(w.code.into()), s(w.message.as_str())]).collect()
}

/// The names by which functions are called.
fn builtins() -> Rows {
    let called = functions::all().filter(|f| !matches!(f.body, Body::Refused(_)));
    let mut names: Vec<&str> = called.flat_map(|f| [f.name].into_iter().chain(f.aliases.iter().copied())).collect();
    names.sort_unstable();
    names.into_iter().map(|name| vec![s(name)]).collect()
}

/// There is no binary log. As in TiDB the position is the timestamp of now, so that tools which note where a dump was taken
/// note something that says it.
async fn binary_log_status(server: &Server) -> Result<Rows, SqlError> {
    let now = server.kv()?.timestamp().await?;
    Ok(vec![vec![s("tidb-binlog"), Datum::UInt(now.0), s(""), s(""), s("")]])
}

/// SHOW TABLE t NEXT_ROW_ID and ADMIN SHOW t NEXT_ROW_ID.
async fn next_row_id(server: &Server, names: Names<'_>, name: &TableName) -> Result<Rows, SqlError> {
    let (database, table) = names.base_table(name)?;
    let ids = Arc::clone(server.domain()?.auto_ids());
    let mut rows = Vec::new();
    let mut row = |column: &str, next: i64, kind: &str| {
        let names = [database.info.name.as_str(), table.name.as_str(), column].map(s);
        rows.push(names.into_iter().chain([Datum::Int(next), s(kind)]).collect());
    };
    if !table.is_clustered() {
        row("_tidb_rowid", ids.next(&table, AutoIdKind::RowId).await?, "_TIDB_ROWID");
    }
    if let Some(column) = table.auto_increment_column() {
        row(column.name.as_str(), ids.next(&table, AutoIdKind::AutoIncrement).await?, "AUTO_INCREMENT");
    }
    Ok(rows)
}

async fn ddl(server: &Server) -> Result<Rows, SqlError> {
    let domain = server.domain()?;
    let owner = domain.owner().await?.unwrap_or_default();
    let servers = domain.servers().await?;
    let address = servers.iter().find(|server| server.id == owner);
    let address = address.map_or(String::new(), |server| format!("{}:{}", server.ip, server.port));
    let (queued, _) = domain.jobs(0).await?;
    let running: Vec<_> = queued
        .iter()
        .rev()
        .map(|job| format!("ID:{}, Type:{}, State:{}", job.id, job.action.name(), job.state.as_str()))
        .collect();
    let queries: Vec<_> = queued.iter().rev().map(|job| job.query.clone()).collect();
    Ok(vec![vec![
        Datum::Int(domain.schemas().current().version()),
        s(owner),
        s(address),
        s(running.join("\n")),
        s(domain.server().id.as_str()),
        s(queries.join("\n")),
    ]])
}
