//! When a server counts as started: it answers as its users will ask.

use std::time::Duration;

use serde_json::Value;

use crate::spec::{Cluster, Node, Role};

/// One probe may take this long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks a node once. `Err` says what is missing.
pub(crate) async fn probe(cluster: &Cluster, node: &Node) -> Result<(), String> {
    match node.role {
        // A PD serves once the group has a leader that knows itself.
        Role::Pd => get(node, "/pd/api/v1/leader").await.map(drop),
        Role::Kv => storage_node_is_up(cluster, node).await,
        Role::Sql => reads_schema(node).await,
    }
}

async fn get(node: &Node, path: &str) -> Result<Value, String> {
    let url = format!("http://{}{path}", node.address());
    let response = net::http::get(&url, PROBE_TIMEOUT).await.map_err(|e| e.to_string())?;
    if !response.status.is_success() {
        return Err(format!("{url} answers {}: {}", response.status, response.text().trim()));
    }
    serde_json::from_slice(&response.body).map_err(|e| format!("{url}: {e}"))
}

/// A storage node is up when PD lists its address as such.
async fn storage_node_is_up(cluster: &Cluster, node: &Node) -> Result<(), String> {
    let mut reason = "no PD answers".to_owned();
    for pd in cluster.of(Role::Pd) {
        match get(pd, "/pd/api/v1/stores").await {
            Ok(listing) => {
                let stores = listing["stores"].as_array().cloned().unwrap_or_default();
                let found = stores.iter().find(|s| s["store"]["address"] == node.address().as_str());
                return match found.map(|s| s["store"]["state_name"].as_str().unwrap_or("?").to_owned()) {
                    Some(state) if state == "Up" => Ok(()),
                    Some(state) => Err(format!("PD has its store as {state}")),
                    None => Err("PD does not list its store yet".to_owned()),
                };
            }
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

async fn reads_schema(node: &Node) -> Result<(), String> {
    use mysql_async::prelude::Queryable;
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(node.host.clone())
        .tcp_port(node.port)
        .user(Some("root"))
        .prefer_socket(false);
    let ask = async {
        let mut connection = mysql_async::Conn::new(options).await?;
        // A constant would be answered without the cluster; the schema is read from it.
        let databases: Vec<String> = connection.query("SHOW DATABASES").await?;
        connection.disconnect().await?;
        Ok::<_, mysql_async::Error>(databases)
    };
    match tokio::time::timeout(PROBE_TIMEOUT, ask).await {
        Ok(Ok(databases)) if databases.iter().any(|d| d == "mysql") => Ok(()),
        Ok(Ok(databases)) => Err(format!("SHOW DATABASES answers {databases:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {PROBE_TIMEOUT:?}")),
    }
}
