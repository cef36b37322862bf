//! `SHOW PLACEMENT`: what is attached where, and how far PD is with it.
//!
//! The state of a range is PD's answer for it; of a database the worst of its tables'.

use codec::datum::Datum;
use codec::table::PhysicalTableId;
use sql_base::SqlError;
use sql_catalog::{Database, PolicyRef, Schema, transact};
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

async fn state_of_table(pd: &PdHttp, id: i64) -> Result<SchedulingState, SqlError> {
    let (start, end) = codec::table::table_range(PhysicalTableId(id));
    pd.replicated(&rules::hex_key(&start), &rules::hex_key(&end)).await
}

/// The states of tables, in their order.
async fn states_of_tables(pd: &PdHttp, ids: &[i64]) -> Result<Vec<SchedulingState>, SqlError> {
    let mut states = Vec::with_capacity(ids.len());
    for some in ids.chunks(ASKED_AT_A_TIME) {
        states.extend(futures::future::try_join_all(some.iter().map(|id| state_of_table(pd, *id))).await?);
    }
    Ok(states)
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
        let ids: Vec<_> = database.tables().map(|table| table.id).collect();
        let state = worst(&states_of_tables(domain.pd(), &ids).await?);
        rows.push(row(format!("DATABASE {}", database.info.name), settings_of(schema, policy), state.as_str()));
    }
    for database in schema.databases() {
        let placed: Vec<_> =
            database.tables().filter_map(|table| table.policy.as_ref().map(|policy| (table, policy))).collect();
        let ids: Vec<_> = placed.iter().map(|(table, _)| table.id).collect();
        let states = states_of_tables(domain.pd(), &ids).await?;
        for ((table, policy), state) in placed.into_iter().zip(states) {
            let target = format!("TABLE {}.{}", database.info.name, table.name);
            rows.push(row(target, settings_of(schema, policy), state.as_str()));
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
    let ids: Vec<_> = database.tables().map(|table| table.id).collect();
    let state = worst(&states_of_tables(server.domain()?.pd(), &ids).await?);
    Ok(vec![row(format!("DATABASE {}", database.info.name), settings_of(schema, policy), state.as_str())])
}

pub(super) async fn for_table(server: &Server, schema: &Schema, (database, table): &Found) -> Result<Rows, SqlError> {
    let Some(policy) = &table.policy else { return Ok(Vec::new()) };
    let state = state_of_table(server.domain()?.pd(), table.id).await?;
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
