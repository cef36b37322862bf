//! The HTTP status service: `/status`, `/health`, `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sql_base::SqlError;
use sql_context::vars::SERVER_VERSION;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::Server;

/// How long the health page waits for PD, so that whoever asks gets the reason rather than a timeout of their own.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until it is told to stop.
pub async fn serve_status(server: Arc<Server>, listener: TcpListener, stop: CancellationToken) {
    let router = axum::Router::new()
        .route("/status", get(status_page))
        .route("/health", get(health_page))
        .with_state(server)
        .merge(net::metrics::router());
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(e) = served.await {
        tracing::error!("the status service ended: {e}");
    }
}

async fn status_page(State(server): State<Arc<Server>>) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "connections": server.connections().count(),
        "version": SERVER_VERSION,
        "cluster": server.kv().map_or_else(|e| e.to_string(), |_| "connected".to_owned()),
        "labels": server.config().label_pairs().into_iter().collect::<BTreeMap<_, _>>(),
    }))
}

async fn health_page(State(server): State<Arc<Server>>) -> (StatusCode, axum::Json<serde_json::Value>) {
    match health(&server).await {
        Ok(()) => (StatusCode::OK, axum::Json(serde_json::json!({ "health": true }))),
        Err(reason) => {
            let body = serde_json::json!({ "health": false, "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body))
        }
    }
}

/// Whether statements can be served: the schema is known, and PD gives timestamps, without which none can read.
async fn health(server: &Server) -> Result<(), String> {
    if server.shutting_down.load(Ordering::Acquire) {
        return Err(SqlError::ShuttingDown.to_string());
    }
    server.schema().map_err(|e| e.to_string())?;
    let kv = server.kv().map_err(|e| e.to_string())?;
    match tokio::time::timeout(HEALTH_TIMEOUT, kv.timestamp()).await {
        Ok(timestamp) => timestamp.map(drop).map_err(|e| e.to_string()),
        Err(_) => Err(format!("PD at {} gives no timestamp within {HEALTH_TIMEOUT:?}", server.config().path)),
    }
}
