//! From the key space to a [`Schema`]: everything at once, or what changed since a version.

use std::collections::BTreeSet;
use std::sync::Arc;

use sql_base::SqlError;

use super::meta::{Changed, Meta};
use super::model::{DatabaseInfo, TableInfo};
use super::schema::{Database, Schema};

/// More versions behind than this, and everything is loaded anew.
const DIFFS_MAX: i64 = 64;

/// The schema as the transaction sees it, made from `held` where that is cheaper. `None`: `held` is it.
pub async fn load(meta: &mut Meta<'_>, held: &Schema) -> Result<Option<Schema>, SqlError> {
    let version = meta.schema_version().await?;
    if version == held.version() {
        return Ok(None);
    }
    if held.version() > 0
        && version > held.version()
        && version - held.version() <= DIFFS_MAX
        && let Some(schema) = apply_diffs(meta, held, version).await?
    {
        return Ok(Some(schema));
    }
    Ok(Some(load_all(meta, version).await?))
}

async fn load_all(meta: &mut Meta<'_>, version: i64) -> Result<Schema, SqlError> {
    let mut databases = Vec::new();
    for info in meta.databases().await? {
        let tables = meta.tables(info.id).await?;
        databases.push(database(info, tables));
    }
    databases.extend(crate::virtual_tables::databases());
    let policies = meta.policies().await?;
    Ok(Schema::new(version, databases, policies.into_iter().map(Arc::new)))
}

/// A stored database, with the tables in it that are computed.
fn database(info: DatabaseInfo, tables: Vec<TableInfo>) -> Arc<Database> {
    let computed = crate::virtual_tables::tables_in(&info.name.lower);
    Arc::new(Database::new(info, tables.into_iter().map(Arc::new).chain(computed)))
}

/// `None` when a diff is missing.
async fn apply_diffs(meta: &mut Meta<'_>, held: &Schema, version: i64) -> Result<Option<Schema>, SqlError> {
    let (mut databases, mut tables, mut policies) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for version in held.version() + 1..=version {
        let Some(diff) = meta.diff(version).await? else { return Ok(None) };
        for changed in diff.changed {
            match changed {
                Changed::Database(id) => drop(databases.insert(id)),
                Changed::Table(database, id) => drop(tables.insert((id, database))),
                Changed::Policy(id) => drop(policies.insert(id)),
            }
        }
    }
    let mut schema = held.clone();
    schema.set_version(version);
    for id in databases.iter().copied() {
        schema.remove_database(id);
        if let Some(info) = meta.database(id).await? {
            let tables = meta.tables(id).await?;
            schema.put_database(database(info, tables));
        }
    }
    // First all that leave, then all that come: a name may go from one to the other.
    for (id, _) in &tables {
        schema.remove_table(*id);
    }
    for (id, database) in tables {
        if !databases.contains(&database)
            && let Some(table) = meta.table(database, id).await?
        {
            schema.put_table(database, Arc::new(table));
        }
    }
    for id in policies {
        schema.remove_policy(id);
        if let Some(policy) = meta.policy(id).await? {
            schema.put_policy(Arc::new(policy));
        }
    }
    Ok(Some(schema))
}

/// What every cluster starts with. `false` when it is there already.
pub async fn bootstrap(meta: &mut Meta<'_>) -> Result<bool, SqlError> {
    if meta.bootstrap_version().await? > 0 {
        return Ok(false);
    }
    let first = meta.take_ids(2).await?;
    let version = meta.next_schema_version().await?;
    for (id, name) in (first..).zip(["mysql", "test"]) {
        let info = DatabaseInfo {
            id,
            name: name.into(),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            state: super::SchemaState::Public,
            policy: None,
        };
        meta.put_database(&info).await?;
    }
    meta.put_diff(&super::meta::SchemaDiff {
        version,
        changed: vec![Changed::Database(first), Changed::Database(first + 1)],
    })
    .await?;
    meta.put_bootstrap_version(1).await?;
    Ok(true)
}
