//! `SHOW PLACEMENT`: what is attached where, and how far PD is with it.
//!
//! The state of a range is PD's answer for it; of a database the worst of its tables'.

use std::sync::Arc;

use codec::datum::Datum;
use codec::table::PhysicalTableId;
use sql_base::SqlError;
use sql_base::outcome::ResultSet;
use sql_catalog::{PolicyRef, Schema, transact};
use sql_context::ExecContext;
use sql_ddl::placement::pd::{PdHttp, SchedulingState};
use sql_ddl::placement::{rules, settings};
use sql_parser::TableName;

use super::{base_table, database, result, s, text};
use crate::admin::infoschema;
use crate::cluster::Server;

/// Ranges whose state is asked for at a time: each is a small request to PD.
const ASKED_AT_A_TIME: usize = 16;

fn columns() -> Vec<sql_base::outcome::ColumnMeta> {
    vec![text("Target", 64), text("Placement", 1024), text("Scheduling_State", 64)]
}

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

pub(super) async fn all(server: &Server, ctx: &mut ExecContext<'_>) -> Result<ResultSet, SqlError> {
    let schema = Arc::clone(&ctx.schema);
    let domain = server.domain()?;
    let mut rows = Vec::new();
    for policy in schema.policies() {
        rows.push(row(format!("POLICY {}", policy.name), settings::render(&policy.settings), "NULL"));
    }
    for database in schema.databases() {
        let Some(policy) = &database.info.policy else { continue };
        let ids: Vec<_> = database.tables().map(|table| table.id).collect();
        let state = worst(&states_of_tables(domain.pd(), &ids).await?);
        rows.push(row(format!("DATABASE {}", database.info.name), settings_of(&schema, policy), state.as_str()));
    }
    for database in schema.databases() {
        let placed: Vec<_> =
            database.tables().filter_map(|table| table.policy.as_ref().map(|policy| (table, policy))).collect();
        let ids: Vec<_> = placed.iter().map(|(table, _)| table.id).collect();
        let states = states_of_tables(domain.pd(), &ids).await?;
        for ((table, policy), state) in placed.into_iter().zip(states) {
            let target = format!("TABLE {}.{}", database.info.name, table.name);
            rows.push(row(target, settings_of(&schema, policy), state.as_str()));
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
    Ok(result(columns(), rows))
}

pub(super) async fn for_database(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    name: &str,
) -> Result<ResultSet, SqlError> {
    let database = database(ctx, Some(name))?;
    let mut rows = Vec::new();
    if let Some(policy) = &database.info.policy {
        let ids: Vec<_> = database.tables().map(|table| table.id).collect();
        let state = worst(&states_of_tables(server.domain()?.pd(), &ids).await?);
        let placement = settings_of(&ctx.schema, policy);
        rows.push(row(format!("DATABASE {}", database.info.name), placement, state.as_str()));
    }
    Ok(result(columns(), rows))
}

pub(super) async fn for_table(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    name: &TableName,
    partition: Option<&str>,
) -> Result<ResultSet, SqlError> {
    let (database, table) = base_table(ctx, name)?;
    if let Some(partition) = partition {
        return Err(SqlError::UnknownPartition { partition: partition.to_owned(), table: table.name.original.clone() });
    }
    let mut rows = Vec::new();
    if let Some(policy) = &table.policy {
        let state = state_of_table(server.domain()?.pd(), table.id).await?;
        let target = format!("TABLE {}.{}", database.info.name, table.name);
        rows.push(row(target, settings_of(&ctx.schema, policy), state.as_str()));
    }
    Ok(result(columns(), rows))
}

pub(super) async fn labels(server: &Server) -> Result<ResultSet, SqlError> {
    let labels = infoschema::store_labels(server).await?;
    let row = |(key, values): (String, std::collections::BTreeSet<String>)| {
        let values: Vec<_> = values.into_iter().collect();
        vec![s(key), s(serde_json::to_string(&values).unwrap_or_default())]
    };
    Ok(result(vec![text("Key", 64), text("Values", 1024)], labels.into_iter().map(row).collect()))
}
