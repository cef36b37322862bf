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
        Role::Pd => get(&node.address(), "/pd/api/v1/leader").await.map(drop),
        Role::Kv => storage_node_is_up(cluster, node).await,
        Role::Sql => reads_schema(node).await,
    }
}

/// A page of a server, as JSON.
pub(crate) async fn get(address: &str, path: &str) -> Result<Value, String> {
    let url = format!("http://{address}{path}");
    let response = net::http::get(&url, PROBE_TIMEOUT).await.map_err(|e| e.to_string())?;
    if !response.status.is_success() {
        return Err(format!("{url} answers {}: {}", response.status, response.text().trim()));
    }
    serde_json::from_slice(&response.body).map_err(|e| format!("{url}: {e}"))
}

/// A storage node is up when it says itself which store it is, and PD lists that store as up. PD alone would go on for a
/// while about a node that was there before.
async fn storage_node_is_up(cluster: &Cluster, node: &Node) -> Result<(), String> {
    let own = get(&node.second_address(), "/status").await?;
    if own["address"] != node.address().as_str() {
        return Err(format!("on its status port answers {}", own["address"]));
    }
    let mut reason = "no PD answers".to_owned();
    for pd in cluster.of(Role::Pd) {
        match get(&pd.address(), "/pd/api/v1/stores").await {
            Ok(listing) => return is_up_in(&listing, &own["store"]),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Whether PD's listing has the store as up.
fn is_up_in(listing: &Value, id: &Value) -> Result<(), String> {
    let stores = listing["stores"].as_array().map_or(&[][..], Vec::as_slice);
    match stores.iter().find(|s| s["store"]["id"] == *id).map(|s| s["store"]["state_name"].as_str().unwrap_or("?")) {
        Some("Up") => Ok(()),
        Some(state) => Err(format!("PD has its store {id} as {state}")),
        None => Err(format!("PD does not list its store {id} yet")),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_node_that_failed_is_not_ready_because_pd_still_has_it_as_up() {
        // Nobody listens on the node's ports, and PD (the one that answers here) has its address as up.
        let closed = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let node = |role, name: &str, port| Node {
            name: name.into(),
            role,
            region: "r1".into(),
            zone: None,
            own_host: None,
            host: "127.0.0.1".into(),
            port,
            second_port: closed(),
        };
        let kv = node(Role::Kv, "kv-1", closed());
        let stale = json!({ "stores": [{ "store": { "id": 1, "address": kv.address(), "state_name": "Up" } }] });
        assert_eq!(is_up_in(&stale, &json!(1)), Ok(()));
        assert!(is_up_in(&stale, &json!(2)).is_err());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pd = node(Role::Pd, "pd-1", listener.local_addr().unwrap().port());
        let pages = axum::Router::new().route("/pd/api/v1/stores", axum::routing::get(async move || axum::Json(stale)));
        let serving = tokio::spawn(async move { axum::serve(listener, pages).await });
        let cluster = Cluster { nodes: vec![pd.clone(), kv.clone()], ..Cluster::default() };
        assert!(get(&pd.address(), "/pd/api/v1/stores").await.is_ok());
        let reason = probe(&cluster, &kv).await.unwrap_err();
        assert!(reason.contains(&kv.second_address()), "{reason}");
        serving.abort();
    }
}
