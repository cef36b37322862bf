//! CREATE, ALTER and DROP VIEW: what a view shows is found out and written down whole, then stored by a job of one step.
//!
//! A view is an object among the tables, so that a name means one thing; its query is bound again whenever it is used.
//! Dropping what it shows is therefore nobody's business here.

use codec::types::FieldType;
use sql_base::SqlError;
use sql_catalog::{CheckOption, ColumnInfo, Definer, Name, TableInfo, ViewAlgorithm, ViewInfo};
use sql_parser::{CreateView, TableName, ViewMode};
use sql_planner::view::{Definition, Definitions, define};

use super::build;
use super::exec::Statement;
use super::job::Action;

impl Statement<'_> {
    pub(super) async fn create_view(&mut self, create: &CreateView) -> Result<(), SqlError> {
        let database = self.database_of(&create.view)?;
        let database_name = database.info.name.original.clone();
        let name = &create.view.name;
        build::check_table_name(name)?;
        create.columns.iter().try_for_each(|column| build::check_column_name(column))?;
        let held = database.table(name).cloned();
        let object = || format!("{database_name}.{name}");
        match (create.mode, &held) {
            (ViewMode::Create, Some(_)) => {
                return self.note_if(create.if_not_exists, SqlError::TableExists(name.clone()));
            }
            (ViewMode::Replace | ViewMode::Alter, Some(held)) if held.view.is_none() => {
                return Err(SqlError::WrongObject { object: object(), expected: "VIEW" });
            }
            (ViewMode::Alter, None) => {
                return Err(SqlError::NoSuchTable { database: database_name, table: name.clone() });
            }
            _ => {}
        }
        let mut algorithm = match create.algorithm {
            sql_parser::ViewAlgorithm::Undefined => ViewAlgorithm::Undefined,
            sql_parser::ViewAlgorithm::Merge => ViewAlgorithm::Merge,
            sql_parser::ViewAlgorithm::TempTable => ViewAlgorithm::TempTable,
        };
        let env = Definitions { schema: &self.names, database: self.database, eval: &self.eval };
        let definition = define(&env, &create.query, (&database_name, name), &create.columns, algorithm)?;
        let check_option = create.check_option.map(|cascaded| match cascaded {
            true => CheckOption::Cascaded,
            false => CheckOption::Local,
        });
        if check_option.is_some() && !definition.updatable {
            return Err(SqlError::ViewCheckUseless(object()));
        }
        if algorithm == ViewAlgorithm::Merge && !definition.merges {
            self.warnings.push(SqlError::ViewNotMerged);
            algorithm = ViewAlgorithm::Undefined;
        }
        let (user, host) = create.definer.clone().unwrap_or_else(|| self.user.clone());
        let info = ViewInfo {
            algorithm,
            definer: Definer { user, host },
            invoker: create.invoker,
            select: definition.select.clone(),
            check_option,
            columns: definition.columns.iter().map(|(name, _)| Name::new(name.clone())).collect(),
            columns_given: !create.columns.is_empty(),
            charset: self.client.0.clone(),
            collation: self.client.1.clone(),
        };
        let view = table_of(name, &database.info.charset, &database.info.collate, &definition, info);
        match (create.mode, held) {
            (ViewMode::Alter, Some(held)) => {
                self.run_on_table(&database, &held, Action::AlterView(Box::new(view))).await
            }
            (mode, _) => {
                let or_replace = mode == ViewMode::Replace;
                let action = Action::CreateView { view: Box::new(view.clone()), or_replace };
                match self.run(Some(&database.info), Some(&view), action).await {
                    // Another session was faster.
                    Err(SqlError::Remote { code: 1050, .. }) if create.if_not_exists => {
                        self.note_if(true, SqlError::TableExists(name.clone()))
                    }
                    result => result,
                }
            }
        }
    }

    /// All of them, or none if one is missing.
    pub(super) async fn drop_views(&mut self, if_exists: bool, names: &[TableName]) -> Result<(), SqlError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            let database = self.database_name(name)?;
            build::check_writable(&database)?;
            match self.table(name) {
                Ok((database, table)) if table.view.is_none() => {
                    let object = format!("{}.{}", database.info.name, table.name);
                    return Err(SqlError::WrongObject { object, expected: "VIEW" });
                }
                Ok(view) => found.push(view),
                Err(_) => missing.push(format!("{database}.{}", name.name)),
            }
        }
        if !missing.is_empty() {
            self.note_if(if_exists, SqlError::UnknownTable(missing.join(",")))?;
        }
        for (database, view) in found {
            match self.run_on_table(&database, &view, Action::DropView).await {
                Err(SqlError::Remote { code: 1146, .. }) => {
                    self.note_if(if_exists, SqlError::UnknownTable(format!("{}.{}", database.info.name, view.name)))?;
                }
                result => result?,
            }
        }
        Ok(())
    }
}

/// The table that a view is in the catalogue.
fn table_of(name: &str, charset: &str, collate: &str, definition: &Definition, info: ViewInfo) -> TableInfo {
    let column =
        |(offset, (name, ty)): (usize, &(String, FieldType))| ColumnInfo::new(offset, name.as_str(), ty.clone());
    let columns = definition.columns.iter().enumerate().map(column).collect();
    TableInfo {
        charset: charset.to_owned(),
        collate: collate.to_owned(),
        view: Some(Box::new(info)),
        ..TableInfo::new(0, name, columns)
    }
}
