//! `SHOW PLACEMENT`: what is attached where, and how far PD is with it.
//!
//! The state of a range is PD's answer for it; of a table the worst of its partitions', of a database of its tables'.

use codec::datum::Datum;
use codec::table::PhysicalTableId;
use sql_base::SqlError;
use sql_catalog::{Database, Partition, PolicyRef, Schema, TableInfo, transact};
use sql_ddl::placement::pd::{PdHttp, SchedulingState};
use sql_ddl::placement::{rules, settings};

use crate::admin::infoschema::{self, Rows, s};
use crate::admin::names::Found;
use crate::cluster::Server;

/// Ranges whose state is asked for at a time: each is a small request to PD.
const ASKED_AT_A_TIME: usize = 16;

/// The settings of a policy that something is attached to.
fn settings_of(schema: &Schema, policy: &PolicyRef) -> String {
    schema.policy_by_id(policy.id).map_or(String::new(), |policy| settings::render(&policy.settings))
}

async fn state_of(pd: &PdHttp, at: PhysicalTableId) -> Result<SchedulingState, SqlError> {
    let (start, end) = codec::table::table_range(at);
    pd.replicated(&rules::hex_key(&start), &rules::hex_key(&end)).await
}

/// The states of tables and partitions, in their order.
async fn states_of(pd: &PdHttp, ids: &[PhysicalTableId]) -> Result<Vec<SchedulingState>, SqlError> {
    let mut states = Vec::with_capacity(ids.len());
    for some in ids.chunks(ASKED_AT_A_TIME) {
        states.extend(futures::future::try_join_all(some.iter().map(|id| state_of(pd, *id))).await?);
    }
    Ok(states)
}

/// The state of a table: the worst of its partitions'.
async fn state_of_table(pd: &PdHttp, table: &TableInfo) -> Result<SchedulingState, SqlError> {
    Ok(worst(&states_of(pd, &table.physical_ids()).await?))
}

/// A partition by its name.
fn partition_of<'t>(table: &'t TableInfo, name: &str) -> Result<&'t Partition, SqlError> {
    let missing = || SqlError::UnknownPartition { partition: name.to_owned(), table: table.name.original.clone() };
    let info = table.partition.as_ref().ok_or_else(missing)?;
    info.position(name).map(|at| &info.definitions[at]).ok_or_else(missing)
}

/// The row of a partition, which may follow its table's policy; none without a policy.
async fn partition_row(
    server: &Server,
    schema: &Schema,
    (database, table): &Found,
    partition: &Partition,
) -> Result<Option<Vec<Datum>>, SqlError> {
    let Some(policy) = table.policy_of(partition.physical_id()) else { return Ok(None) };
    let state = state_of(server.domain()?.pd(), partition.physical_id()).await?;
    let target = format!("TABLE {}.{} PARTITION {}", database.info.name, table.name, partition.name);
    Ok(Some(row(target, settings_of(schema, policy), state.as_str())))
}

pub(super) async fn for_partition(
    server: &Server,
    schema: &Schema,
    found: &Found,
    name: &str,
) -> Result<Rows, SqlError> {
    let partition = partition_of(&found.1, name)?;
    Ok(partition_row(server, schema, found, partition).await?.into_iter().collect())
}

fn worst(states: &[SchedulingState]) -> SchedulingState {
    states.iter().copied().max().unwrap_or(SchedulingState::Scheduled)
}

fn row(target: String, placement: String, state: &str) -> Vec<Datum> {
    vec![s(target), s(placement), s(state)]
}

pub(super) async fn all(server: &Server, schema: &Schema) -> Result<Rows, SqlError> {
    let domain = server.domain()?;
    let mut rows = Vec::new();
    for policy in schema.policies() {
        rows.push(row(format!("POLICY {}", policy.name), settings::render(&policy.settings), "NULL"));
    }
    for database in schema.databases() {
        let Some(policy) = &database.info.policy else { continue };
        let ids: Vec<_> = database.tables().flat_map(|table| table.physical_ids()).collect();
        let state = worst(&states_of(domain.pd(), &ids).await?);
        rows.push(row(format!("DATABASE {}", database.info.name), settings_of(schema, policy), state.as_str()));
    }
    for database in schema.databases() {
        for table in database.tables() {
            if let Some(policy) = &table.policy {
                let state = state_of_table(domain.pd(), table).await?;
                let target = format!("TABLE {}.{}", database.info.name, table.name);
                rows.push(row(target, settings_of(schema, policy), state.as_str()));
            }
            let Some(info) = &table.partition else { continue };
            let found = (database.clone(), table.clone());
            for partition in &info.definitions {
                rows.extend(partition_row(server, schema, &found, partition).await?);
            }
        }
    }
    let ranges = transact!(domain.kv(), |meta| meta.range_policies().await)?;
    for (range, policy) in ranges {
        let (Some((group, _)), Some(policy)) = (rules::range_group(&range), schema.policy_by_id(policy)) else {
            continue;
        };
        let (start, end) = rules::range_keys(&range);
        let state = domain.pd().replicated(&start, &end).await?;
        let name = if group == "TiDB_META" { "TiDB_META" } else { "TiDB_GLOBAL" };
        rows.push(row(format!("RANGE {name}"), settings::render(&policy.settings), state.as_str()));
    }
    Ok(rows)
}

pub(super) async fn for_database(server: &Server, schema: &Schema, database: &Database) -> Result<Rows, SqlError> {
    let Some(policy) = &database.info.policy else { return Ok(Vec::new()) };
    let ids: Vec<_> = database.tables().flat_map(|table| table.physical_ids()).collect();
    let state = worst(&states_of(server.domain()?.pd(), &ids).await?);
    Ok(vec![row(format!("DATABASE {}", database.info.name), settings_of(schema, policy), state.as_str())])
}

pub(super) async fn for_table(server: &Server, schema: &Schema, (database, table): &Found) -> Result<Rows, SqlError> {
    let Some(policy) = &table.policy else { return Ok(Vec::new()) };
    let state = state_of_table(server.domain()?.pd(), table).await?;
    let target = format!("TABLE {}.{}", database.info.name, table.name);
    Ok(vec![row(target, settings_of(schema, policy), state.as_str())])
}

pub(super) async fn labels(server: &Server) -> Result<Rows, SqlError> {
    let labels = infoschema::store_labels(server).await?;
    let row = |(key, values): (String, std::collections::BTreeSet<String>)| {
        let values: Vec<_> = values.into_iter().collect();
        vec![s(key), s(serde_json::to_string(&values).unwrap_or_default())]
    };
    Ok(labels.into_iter().map(row).collect())
}
