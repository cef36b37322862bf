//! The catalogue at one version: immutable, shared by pointer, replaced as a whole.
//!
//! A statement takes one [`Schema`] and uses it to its end, so names mean one thing throughout. Names compare without
//! case. The virtual databases are here like any other, their tables marked [`super::TableKind::Memory`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use codec::table::PhysicalTableId;

use super::model::{DatabaseInfo, PolicyInfo, SchemaState, TableInfo};

/// A database and its tables by lower-case name.
#[derive(Debug, Clone)]
pub struct Database {
    /// The database.
    pub info: Arc<DatabaseInfo>,
    tables: BTreeMap<String, Arc<TableInfo>>,
}

impl Database {
    /// A database with these tables.
    pub fn new(info: DatabaseInfo, tables: impl IntoIterator<Item = Arc<TableInfo>>) -> Self {
        let tables = tables.into_iter().map(|table| (table.name.lower.clone(), table)).collect();
        Database { info: Arc::new(info), tables }
    }

    /// The tables that statements see, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableInfo>> {
        self.tables.values().filter(|table| table.state == SchemaState::Public)
    }

    /// A table that statements see.
    pub fn table(&self, name: &str) -> Option<&Arc<TableInfo>> {
        self.tables.get(&name.to_lowercase()).filter(|table| table.state == SchemaState::Public)
    }
}

/// The catalogue at one version.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    version: i64,
    databases: BTreeMap<String, Arc<Database>>,
    /// Table id to (lower-case database name, table).
    tables_by_id: HashMap<i64, (String, Arc<TableInfo>)>,
    policies: BTreeMap<String, Arc<PolicyInfo>>,
}

impl Schema {
    /// A catalogue at `version`.
    pub fn new(
        version: i64,
        databases: impl IntoIterator<Item = Arc<Database>>,
        policies: impl IntoIterator<Item = Arc<PolicyInfo>>,
    ) -> Self {
        let mut schema = Schema { version, ..Schema::default() };
        for database in databases {
            schema.put_database(database);
        }
        for policy in policies {
            schema.put_policy(policy);
        }
        schema
    }

    /// The schema version that this is a snapshot of.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The databases that statements see, by name.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<Database>> {
        self.databases.values().filter(|database| database.info.state == SchemaState::Public)
    }

    /// A database that statements see.
    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.get(&name.to_lowercase()).filter(|database| database.info.state == SchemaState::Public)
    }

    /// A database by id.
    pub fn database_by_id(&self, id: i64) -> Option<&Arc<Database>> {
        self.databases.values().find(|database| database.info.id == id)
    }

    /// A table that statements see. `None` also when there is no such database.
    pub fn table(&self, database: &str, table: &str) -> Option<&Arc<TableInfo>> {
        self.database(database)?.table(table)
    }

    /// A table by id, in whatever state.
    pub fn table_by_id(&self, id: i64) -> Option<&Arc<TableInfo>> {
        self.tables_by_id.get(&id).map(|(_, table)| table)
    }

    /// The table that keys with this prefix are of, in whatever state.
    pub fn table_by_physical(&self, id: PhysicalTableId) -> Option<&Arc<TableInfo>> {
        self.table_by_id(id.0).or_else(|| {
            let mut partitioned = self.tables_by_id.values().filter(|(_, table)| table.partition.is_some());
            partitioned.find(|(_, table)| table.has_physical(id)).map(|(_, table)| table)
        })
    }

    /// The database that holds a table.
    pub fn database_of_table(&self, table_id: i64) -> Option<&Arc<Database>> {
        self.tables_by_id.get(&table_id).and_then(|(database, _)| self.databases.get(database))
    }

    /// All placement policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<PolicyInfo>> {
        self.policies.values()
    }

    /// A placement policy.
    pub fn policy(&self, name: &str) -> Option<&Arc<PolicyInfo>> {
        self.policies.get(&name.to_lowercase())
    }

    /// A placement policy by id.
    pub fn policy_by_id(&self, id: i64) -> Option<&Arc<PolicyInfo>> {
        self.policies.values().find(|policy| policy.id == id)
    }

    /// The same with another table in a database, which hides the one that has the name. A database that is not there has
    /// none.
    pub fn with_table(&self, database: &str, table: Arc<TableInfo>) -> Schema {
        let mut schema = self.clone();
        let name = database.to_lowercase();
        if let Some(held) = schema.databases.get_mut(&name) {
            Arc::make_mut(held).tables.insert(table.name.lower.clone(), Arc::clone(&table));
            schema.tables_by_id.insert(table.id, (name, table));
        }
        schema
    }

    pub(crate) fn set_version(&mut self, version: i64) {
        self.version = version;
    }

    pub(crate) fn put_database(&mut self, database: Arc<Database>) {
        let name = database.info.name.lower.clone();
        self.remove_database(database.info.id);
        for table in database.tables.values() {
            self.tables_by_id.insert(table.id, (name.clone(), Arc::clone(table)));
        }
        self.databases.insert(name, database);
    }

    pub(crate) fn remove_database(&mut self, id: i64) {
        let Some(name) = self.database_by_id(id).map(|database| database.info.name.lower.clone()) else { return };
        self.databases.remove(&name);
        self.tables_by_id.retain(|_, (database, _)| *database != name);
    }

    /// Puts or replaces (by id) a table of the database `database_id`.
    pub(crate) fn put_table(&mut self, database_id: i64, table: Arc<TableInfo>) {
        self.remove_table(table.id);
        let Some(name) = self.database_by_id(database_id).map(|database| database.info.name.lower.clone()) else {
            return;
        };
        if let Some(database) = self.databases.get_mut(&name) {
            Arc::make_mut(database).tables.insert(table.name.lower.clone(), Arc::clone(&table));
            self.tables_by_id.insert(table.id, (name, table));
        }
    }

    pub(crate) fn remove_table(&mut self, id: i64) {
        let Some((database, table)) = self.tables_by_id.remove(&id) else { return };
        if let Some(database) = self.databases.get_mut(&database) {
            let database = Arc::make_mut(database);
            if database.tables.get(&table.name.lower).is_some_and(|held| held.id == id) {
                database.tables.remove(&table.name.lower);
            }
        }
    }

    pub(crate) fn put_policy(&mut self, policy: Arc<PolicyInfo>) {
        self.remove_policy(policy.id);
        self.policies.insert(policy.name.lower.clone(), policy);
    }

    pub(crate) fn remove_policy(&mut self, id: i64) {
        self.policies.retain(|_, policy| policy.id != id);
    }
}

/// True for the databases whose tables the server computes.
pub fn is_virtual_database(name: &str) -> bool {
    matches!(name.to_lowercase().as_str(), "information_schema" | "performance_schema" | "metrics_schema")
}

/// True for the databases that users do not drop or create tables in.
pub fn is_system_database(name: &str) -> bool {
    is_virtual_database(name) || name.eq_ignore_ascii_case("mysql") || name.eq_ignore_ascii_case("sys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Name;

    fn database(id: i64, name: &str) -> DatabaseInfo {
        DatabaseInfo {
            id,
            name: Name::new(name),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            state: SchemaState::Public,
            policy: None,
        }
    }

    fn table(id: i64, name: &str) -> Arc<TableInfo> {
        Arc::new(TableInfo::new(id, name, Vec::new()))
    }

    #[test]
    fn names_are_found_without_case() {
        let schema = Schema::new(1, [Arc::new(Database::new(database(1, "Shop"), [table(2, "Users")]))], []);
        assert_eq!(schema.table("sHOP", "USERS").map(|table| table.id), Some(2));
        assert_eq!(schema.database_of_table(2).map(|database| database.info.id), Some(1));
        assert!(schema.table("shop", "orders").is_none());
    }

    #[test]
    fn a_renamed_table_leaves_its_old_name_and_a_snapshot_does_not_change() {
        let old = Schema::new(1, [Arc::new(Database::new(database(1, "shop"), [table(2, "a")]))], []);
        let mut new = old.clone();
        new.put_table(1, table(2, "b"));
        assert!(new.table("shop", "a").is_none());
        assert!(new.table("shop", "b").is_some());
        assert!(old.table("shop", "a").is_some());
    }

    #[test]
    fn a_table_renamed_onto_the_name_of_one_just_dropped_stays() {
        let mut schema =
            Schema::new(1, [Arc::new(Database::new(database(1, "shop"), [table(2, "a"), table(3, "b")]))], []);
        schema.put_table(1, table(3, "a"));
        schema.remove_table(2);
        assert_eq!(schema.table("shop", "a").map(|table| table.id), Some(3));
    }
}
