//! From a DDL statement to jobs.
//!
//! Everything that can be refused is refused here, against the schema that the statement sees; the jobs check again what
//! others may have changed meanwhile. The changes of one ALTER TABLE (`alter`) are one job: all are done, or none.

use std::collections::HashMap;
use std::sync::Arc;

use codec::types::Collation;
use query::context::EvalContext;
use sql_base::SqlError;
use sql_catalog::{
    Database, DatabaseInfo, Name, PartitionInfo, PolicyRef, Schema, SchemaState, TableInfo, TableKind,
    is_system_database,
};
use sql_context::vars::ClusteredIndex;
use sql_parser::{Algorithm, AlterAction, CreateTable, DatabaseOptions, Ddl, PartitionBy, PlacementOption, TableName};

use super::build;
use super::domain::Domain;
use super::job::{Action, Job, PolicyChange, Rename};
use super::partitions;
use crate::placement::{rules, settings};

/// A DDL statement under way.
pub(super) struct Statement<'a> {
    pub(super) domain: &'a Domain,
    pub(super) schema: Arc<Schema>,
    /// The same under the session's temporary tables: what names mean in queries.
    pub(super) names: Arc<Schema>,
    /// The current database.
    pub(super) database: Option<&'a str>,
    pub(super) sql: &'a str,
    /// The statement's time, zone and sql_mode.
    pub(super) eval: EvalContext,
    /// Of a database that is made without one.
    pub(super) collation: Collation,
    /// `sql_require_primary_key`.
    pub(super) require_primary_key: bool,
    /// `tidb_enable_clustered_index`.
    pub(super) clustered_index: ClusteredIndex,
    /// Who runs it: user and host.
    pub(super) user: (String, String),
    /// `character_set_client` and `collation_connection`.
    pub(super) client: (String, String),
    /// What SHOW WARNINGS is to list.
    pub(super) notes: Vec<SqlError>,
    /// The same, as warnings.
    pub(super) warnings: Vec<SqlError>,
    /// "Rows" that it affected: MySQL counts a database that is made, and the tables of one that is dropped.
    pub(super) affected: u64,
}

impl Statement<'_> {
    /// Does what the statement says.
    pub(super) async fn execute(&mut self, ddl: &Ddl) -> Result<(), SqlError> {
        match ddl {
            Ddl::CreateDatabase { if_not_exists, name, options } => {
                self.create_database(*if_not_exists, name, options).await
            }
            Ddl::AlterDatabase { name, options } => {
                let name = match name {
                    Some(name) => name.clone(),
                    None => self.database.ok_or(SqlError::NoDatabaseSelected)?.to_owned(),
                };
                self.alter_database(&name, options).await
            }
            Ddl::DropDatabase { if_exists, name } => self.drop_database(*if_exists, name).await,
            Ddl::CreateTable(create) => self.create_table(create).await,
            Ddl::CreateTableLike { if_not_exists, table, like, .. } => {
                self.create_table_like(*if_not_exists, table, like).await
            }
            Ddl::DropTable { if_exists, tables, .. } => self.drop_tables(*if_exists, tables).await,
            Ddl::CreateView(create) => self.create_view(create).await,
            Ddl::DropView { if_exists, views } => self.drop_views(*if_exists, views).await,
            Ddl::TruncateTable(name) => {
                let (database, table) = self.writable_table(name)?;
                self.run_on_table(&database, &table, Action::TruncateTable { new_id: 0 }).await
            }
            Ddl::RecoverTable { dropped, name } => self.recover_table(dropped, name.as_deref()).await,
            Ddl::RenameTable(renames) => self.rename_tables(renames).await,
            Ddl::AlterTable { table, actions, algorithm } => self.alter_table(table, actions, *algorithm).await,
            Ddl::CreateIndex { if_not_exists, table, index } => {
                let mut index = index.clone();
                index.if_not_exists |= *if_not_exists;
                self.alter_table(table, &[AlterAction::AddIndex(index)], Algorithm::Default).await
            }
            Ddl::DropIndex { if_exists, table, name } => {
                let action = AlterAction::DropIndex { if_exists: *if_exists, name: name.clone() };
                self.alter_table(table, &[action], Algorithm::Default).await
            }
            Ddl::CreatePlacementPolicy { or_replace, if_not_exists, name, options } => {
                self.create_policy(*or_replace, *if_not_exists, name, options).await
            }
            Ddl::AlterPlacementPolicy { if_exists, name, options } => {
                let settings = settings::parse_options(options)?;
                if self.schema.policy(name).is_none() {
                    return self.note_if(*if_exists, SqlError::UnknownPlacementPolicy(name.clone()));
                }
                let name = self.policy(name)?.name.original;
                self.run(None, None, Action::AlterPolicy { name, settings }).await
            }
            Ddl::DropPlacementPolicy { if_exists, name } => {
                if self.schema.policy(name).is_none() {
                    return self.note_if(*if_exists, SqlError::UnknownPlacementPolicy(name.clone()));
                }
                self.run(None, None, Action::DropPolicy { name: name.clone() }).await
            }
            Ddl::AlterRange { range, policy } => {
                if rules::range_group(range).is_none() {
                    return Err(SqlError::Other("range name is not supported".into()));
                }
                let policy = self.policy_ref(policy)?;
                self.run(None, None, Action::RangePolicy { range: range.to_lowercase(), policy }).await
            }
        }
    }

    pub(super) async fn run(
        &mut self,
        database: Option<&DatabaseInfo>,
        table: Option<&TableInfo>,
        action: Action,
    ) -> Result<(), SqlError> {
        let database = database.map(|info| (info.id, &info.name));
        let table = table.map(|info| (info.id, &info.name));
        self.run_job(Job::new(action, database, table, self.sql)).await.map(drop)
    }

    /// Runs a job to its end, and gives it as it ended.
    pub(super) async fn run_job(&mut self, job: Job) -> Result<Job, SqlError> {
        let done = self.domain.run(job).await?;
        self.schema = self.domain.schemas().current();
        Ok(done)
    }

    pub(super) async fn run_on_table(
        &mut self,
        database: &Database,
        table: &TableInfo,
        action: Action,
    ) -> Result<(), SqlError> {
        self.run(Some(&database.info), Some(table), action).await
    }

    /// `IF [NOT] EXISTS` turns an error into a note.
    pub(super) fn note_if(&mut self, forgiven: bool, error: SqlError) -> Result<(), SqlError> {
        if !forgiven {
            return Err(error);
        }
        self.notes.push(error);
        Ok(())
    }

    // ---- Names ----

    pub(super) fn database_name(&self, name: &TableName) -> Result<String, SqlError> {
        match &name.database {
            Some(database) => Ok(database.clone()),
            None => Ok(self.database.ok_or(SqlError::NoDatabaseSelected)?.to_owned()),
        }
    }

    /// The database of a table that is to be created.
    pub(super) fn database_of(&self, name: &TableName) -> Result<Arc<Database>, SqlError> {
        let database = self.database_name(name)?;
        build::check_writable(&database)?;
        self.schema.database(&database).cloned().ok_or(SqlError::UnknownDatabase(database))
    }

    pub(super) fn check_primary_key(&self, table: &TableInfo) -> Result<(), SqlError> {
        match self.require_primary_key && !table.pk_is_handle && table.primary_index().is_none() {
            true => Err(SqlError::TableWithoutPrimaryKey),
            false => Ok(()),
        }
    }

    /// A table that can be altered; a view is none.
    pub(super) fn writable_table(&self, name: &TableName) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
        let (database, table) = self.table(name)?;
        build::check_writable(database.info.name.as_str())?;
        check_is_table(&database, &table)?;
        Ok((database, table))
    }

    pub(super) fn table(&self, name: &TableName) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
        self.table_in(&self.schema, name)
    }

    /// A table that is only looked at: it may be a temporary one.
    pub(super) fn model(&self, name: &TableName) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
        self.table_in(&self.names, name)
    }

    fn table_in(&self, schema: &Schema, name: &TableName) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
        let database = self.database_name(name)?;
        let missing = || SqlError::NoSuchTable { database: database.clone(), table: name.name.clone() };
        let held = schema.database(&database).ok_or_else(missing)?;
        let table = held.table(&name.name).ok_or_else(missing)?;
        Ok((Arc::clone(held), Arc::clone(table)))
    }

    pub(super) fn policy(&self, name: &str) -> Result<PolicyRef, SqlError> {
        let policy = self.schema.policy(name).ok_or_else(|| SqlError::UnknownPlacementPolicy(name.to_owned()))?;
        Ok(PolicyRef { id: policy.id, name: policy.name.clone() })
    }

    pub(super) fn policy_ref(&self, policy: &sql_parser::PolicyRef) -> Result<Option<PolicyRef>, SqlError> {
        match policy {
            sql_parser::PolicyRef::Named(name) => self.policy(name).map(Some),
            sql_parser::PolicyRef::Default => Ok(None),
        }
    }

    // ---- Databases ----

    async fn create_database(
        &mut self,
        if_not_exists: bool,
        name: &str,
        options: &DatabaseOptions,
    ) -> Result<(), SqlError> {
        build::check_database_name(name)?;
        let exists = || SqlError::DatabaseExists(name.to_owned());
        if self.schema.database(name).is_some() {
            self.note_if(if_not_exists, exists())?;
            // MySQL says so of one that is there already, too.
            self.affected = 1;
            return Ok(());
        }
        build::check_writable(name)?;
        let collation =
            build::resolve_collation(options.charset.as_deref(), options.collate.as_deref(), self.collation)?;
        let policy = match &options.placement {
            Some(policy) => self.policy_ref(policy)?,
            None => None,
        };
        let info = DatabaseInfo {
            id: 0,
            name: Name::new(name),
            charset: collation.charset().to_owned(),
            collate: collation.name().to_owned(),
            state: SchemaState::Public,
            policy,
        };
        match self.run(None, None, Action::CreateDatabase(info)).await {
            // Another session was faster.
            Err(SqlError::Remote { code: 1007, .. }) if if_not_exists => self.note_if(true, exists())?,
            result => result?,
        }
        self.affected = 1;
        Ok(())
    }

    async fn alter_database(&mut self, name: &str, options: &DatabaseOptions) -> Result<(), SqlError> {
        build::check_writable(name)?;
        let database = self.schema.database(name).cloned().ok_or_else(|| SqlError::UnknownDatabase(name.to_owned()))?;
        let policy = match &options.placement {
            Some(policy) => Some(self.policy_ref(policy)?.map_or(PolicyChange::Detach, PolicyChange::Attach)),
            None => None,
        };
        let charset = if options.charset.is_some() || options.collate.is_some() {
            let held = collation(&database.info.collate);
            let collation = build::resolve_collation(options.charset.as_deref(), options.collate.as_deref(), held)?;
            Some((collation.charset().to_owned(), collation.name().to_owned()))
        } else {
            None
        };
        if charset.is_none() && policy.is_none() {
            return Ok(());
        }
        self.run(Some(&database.info), None, Action::AlterDatabase { charset, policy }).await
    }

    async fn drop_database(&mut self, if_exists: bool, name: &str) -> Result<(), SqlError> {
        if is_system_database(name) {
            return Err(SqlError::UnsupportedDdl(format!("Unsupported DROP of the system database '{name}'")));
        }
        match self.schema.database(name).cloned() {
            Some(database) => {
                self.run(Some(&database.info), None, Action::DropDatabase).await?;
                self.affected = database.tables().count() as u64;
                Ok(())
            }
            None => self.note_if(if_exists, SqlError::DatabaseDropMissing(name.to_owned())),
        }
    }

    // ---- Tables ----

    async fn create_table(&mut self, create: &CreateTable) -> Result<(), SqlError> {
        let database = self.database_of(&create.table)?;
        let exists = || SqlError::TableExists(format!("{}.{}", database.info.name, create.table.name));
        if database.table(&create.table.name).is_some() {
            return self.note_if(create.if_not_exists, exists());
        }
        let zone = &self.eval.time_zone;
        let mut table = build::table(create, collation(&database.info.collate), zone, self.clustered_index)?;
        self.check_primary_key(&table)?;
        self.define_over_columns(&database, &mut table, create)?;
        table.policy = match &create.options.placement {
            Some(policy) => self.policy_ref(policy)?,
            None => database.info.policy.clone(),
        };
        if let Some(by) = &create.partition {
            table.partition = Some(Box::new(self.partitions(&table, by)?));
        }
        match self.run(Some(&database.info), Some(&table.clone()), Action::CreateTable(Box::new(table))).await {
            Err(SqlError::Remote { code: 1050, .. }) if create.if_not_exists => self.note_if(true, exists()),
            result => result,
        }
    }

    /// The partitions that a clause defines.
    pub(super) fn partitions(&mut self, table: &TableInfo, by: &PartitionBy) -> Result<PartitionInfo, SqlError> {
        let mut warnings = Vec::new();
        let policy = |policy: &sql_parser::PolicyRef| self.policy_ref(policy);
        let cx = partitions::Context { eval: &self.eval, policy: &policy };
        let made = partitions::partition_by(table, by, &cx, &mut |warning| warnings.push(warning))?;
        self.warnings.append(&mut warnings);
        Ok(made)
    }

    async fn create_table_like(
        &mut self,
        if_not_exists: bool,
        name: &TableName,
        like: &TableName,
    ) -> Result<(), SqlError> {
        let database = self.database_of(name)?;
        build::check_table_name(&name.name)?;
        let (model_database, model) = self.model(like)?;
        check_is_table(&model_database, &model)?;
        if model.kind == TableKind::Memory {
            return Err(SqlError::NotSupported("CREATE TABLE LIKE a table that the server computes".into()));
        }
        if database.table(&name.name).is_some() {
            let exists = SqlError::TableExists(format!("{}.{}", database.info.name, name.name));
            return self.note_if(if_not_exists, exists);
        }
        self.check_primary_key(&model)?;
        let table = build::like(&model, &name.name);
        self.run(Some(&database.info), Some(&table.clone()), Action::CreateTable(Box::new(table))).await
    }

    async fn drop_tables(&mut self, if_exists: bool, names: &[TableName]) -> Result<(), SqlError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            let database = self.database_name(name)?;
            build::check_writable(&database)?;
            match self.table(name) {
                Ok(table) if table.1.view.is_none() => found.push(table),
                _ => missing.push(format!("{database}.{}", name.name)),
            }
        }
        if !missing.is_empty() {
            self.note_if(if_exists, SqlError::UnknownTable(missing.join(",")))?;
        }
        for (database, table) in found {
            match self.run_on_table(&database, &table, Action::DropTable).await {
                Err(SqlError::Remote { code: 1146, .. }) => {
                    let gone = SqlError::UnknownTable(format!("{}.{}", database.info.name, table.name));
                    self.note_if(if_exists, gone)?;
                }
                result => result?,
            }
        }
        Ok(())
    }

    async fn rename_tables(&mut self, renames: &[(TableName, TableName)]) -> Result<(), SqlError> {
        // What each name means after the renames before: a table and the database it is in, or nothing any more.
        let mut moved: HashMap<(String, String), Option<(i64, i64)>> = HashMap::new();
        let mut list = Vec::new();
        let mut first = None;
        for (from, to) in renames {
            let (from_database, to_database) = (self.database_name(from)?, self.database_name(to)?);
            build::check_writable(&from_database)?;
            build::check_writable(&to_database)?;
            build::check_table_name(&to.name)?;
            let key = |database: &str, table: &str| (database.to_lowercase(), table.to_lowercase());
            let from_key = key(&from_database, &from.name);
            let missing = || SqlError::NoSuchTable { database: from_database.clone(), table: from.name.clone() };
            let (table, held_in) = match moved.get(&from_key) {
                Some(moved) => moved.ok_or_else(missing)?,
                None => {
                    let (database, table) = self.table(from).map_err(|_| missing())?;
                    first.get_or_insert((Arc::clone(&database), Arc::clone(&table)));
                    // The names in a view's text are whole; what it is called by others is not.
                    if table.view.is_some() && !database.info.name.matches(&to_database) {
                        return Err(SqlError::SchemaChangeForbidden(from_database, to_database));
                    }
                    (table.id, database.info.id)
                }
            };
            let target =
                self.schema.database(&to_database).ok_or_else(|| SqlError::UnknownDatabase(to_database.clone()))?;
            let to_key = key(&to_database, &to.name);
            let taken = match moved.get(&to_key) {
                Some(moved) => moved.is_some(),
                None => target.table(&to.name).is_some(),
            };
            if taken && from_key != to_key {
                return Err(SqlError::TableExists(format!("{to_database}.{}", to.name)));
            }
            list.push(Rename { from_database: held_in, table, to_database: target.info.id, name: to.name.clone() });
            moved.insert(from_key, None);
            moved.insert(to_key, Some((table, target.info.id)));
        }
        match first {
            Some((database, table)) => self.run_on_table(&database, &table, Action::RenameTables(list)).await,
            None => Ok(()),
        }
    }

    // ---- Policies ----

    async fn create_policy(
        &mut self,
        or_replace: bool,
        if_not_exists: bool,
        name: &str,
        options: &[PlacementOption],
    ) -> Result<(), SqlError> {
        if or_replace && if_not_exists {
            return Err(SqlError::WrongUsage("OR REPLACE".into(), "IF NOT EXISTS".into()));
        }
        if name.eq_ignore_ascii_case("default") {
            return Err(SqlError::ReservedSyntax(name.to_owned()));
        }
        build::check_length(name)?;
        let settings = settings::parse_options(options)?;
        if self.schema.policy(name).is_some() && !or_replace {
            return self.note_if(if_not_exists, SqlError::PlacementPolicyExists(name.to_owned()));
        }
        self.run(None, None, Action::CreatePolicy { name: name.to_owned(), settings, or_replace }).await
    }
}

pub(super) fn check_is_table(database: &Database, table: &TableInfo) -> Result<(), SqlError> {
    match table.view {
        None => Ok(()),
        Some(_) => Err(SqlError::WrongObject {
            object: format!("{}.{}", database.info.name, table.name),
            expected: "BASE TABLE",
        }),
    }
}

pub(super) fn collation(name: &str) -> Collation {
    Collation::from_name(name).unwrap_or(Collation::DEFAULT)
}
