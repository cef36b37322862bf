//! A small HTTP/1.1 client for the APIs that our own processes serve: PD's `/pd/api/v1`, health and status pages.
//!
//! One connection per request: these calls are rare (a schema change, a readiness probe), and a pool would have to be
//! told when a server restarts. Not here: TLS, redirects, proxies, streaming bodies.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
pub use hyper::Method;
use hyper::{Request, StatusCode, Uri, header};
use tower::ServiceExt;

use crate::dial;

/// Largest response body that is read, in bytes: region listings of a large cluster fit, a runaway server does not.
const BODY_BYTES_MAX: usize = 64 << 20;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is not `http://host:port/path`.
    #[error("invalid URL '{url}': {reason}")]
    Url {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection: the server is down or unreachable.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// host:port.
        address: String,
        /// The system's reason.
        reason: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("request to {address} failed: {reason}")]
    Exchange {
        /// host:port.
        address: String,
        /// What happened.
        reason: String,
    },
    /// No answer within the time allowed.
    #[error("no answer from {address} within {timeout:?}")]
    Timeout {
        /// host:port.
        address: String,
        /// The time allowed.
        timeout: Duration,
    },
}

/// Sends requests. It holds no connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    source: Option<IpAddr>,
}

impl Client {
    /// A client that connects from this local address; from the system's choice without one.
    pub fn new(source: Option<IpAddr>) -> Self {
        Client { source }
    }

    /// Sends `GET url`.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Response, HttpError> {
        self.request(Method::GET, url, Bytes::new(), timeout).await
    }

    /// Sends a request with a JSON body (empty for none) and reads the whole answer within `timeout`, which also bounds
    /// the time to connect.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, HttpError> {
        send(self.source, method, url, body, timeout).await
    }
}

/// [`Client::get`], from any local address.
pub async fn get(url: &str, timeout: Duration) -> Result<Response, HttpError> {
    Client::default().get(url, timeout).await
}

/// [`Client::request`], from any local address.
pub async fn request(method: Method, url: &str, body: Bytes, timeout: Duration) -> Result<Response, HttpError> {
    Client::default().request(method, url, body, timeout).await
}

async fn send(
    source: Option<IpAddr>,
    method: Method,
    url: &str,
    body: Bytes,
    timeout: Duration,
) -> Result<Response, HttpError> {
    let invalid = |reason: &str| HttpError::Url { url: url.to_owned(), reason: reason.to_owned() };
    let uri: Uri = url.parse().map_err(|e| invalid(&format!("{e}")))?;
    if uri.scheme_str() != Some("http") {
        return Err(invalid("expected http://"));
    }
    let authority = uri.authority().ok_or_else(|| invalid("no host"))?.clone();
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();

    let exchange = async {
        let stream = dial::tcp(source, None)
            .oneshot(uri.clone())
            .await
            .map_err(|e| HttpError::Connect { address: address.clone(), reason: crate::error_line(&e) })?;
        let failed =
            |e: &dyn std::fmt::Display| HttpError::Exchange { address: address.clone(), reason: e.to_string() };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|e| failed(&e))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|e| failed(&e))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map_err(|e| failed(&e))?;
            Ok(Response { status, body: body.to_bytes() })
        };
        // The connection is driven here, not by a task of its own: it ends with the request.
        tokio::pin!(answer);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Ok(()) => answer.await,
                Err(e) => Err(failed(&e)),
            },
        }
    };
    tokio::time::timeout(timeout, exchange)
        .await
        .unwrap_or_else(|_| Err(HttpError::Timeout { address: address.clone(), timeout }))
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_request_reaches_the_handler_and_its_answer_comes_back_with_the_status() {
        let app = Router::new()
            .route("/echo", routing::post(|body: String| async move { (StatusCode::ACCEPTED, format!("<{body}>")) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let url = format!("http://{address}/echo");
        let response = request(Method::POST, &url, Bytes::from("{}"), TIMEOUT).await.unwrap();
        assert_eq!((response.status, response.text().as_str()), (StatusCode::ACCEPTED, "<{}>"));
        let missing = get(&format!("http://{address}/none"), TIMEOUT).await.unwrap();
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        server.abort();
    }

    #[tokio::test]
    async fn a_request_comes_from_the_address_that_it_is_to_come_from() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source: IpAddr = "127.0.7.1".parse().unwrap();
        let app = Router::new().route(
            "/who",
            routing::get(|peer: axum::extract::ConnectInfo<std::net::SocketAddr>| async move { peer.ip().to_string() }),
        );
        let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let answer = Client::new(Some(source)).get(&format!("http://{address}/who"), TIMEOUT).await.unwrap();
        assert_eq!(answer.text(), source.to_string());
        // "localhost" may have an address of the other family, from which our source cannot be used.
        let by_name = format!("http://localhost:{}/who", address.port());
        assert_eq!(Client::new(Some(source)).get(&by_name, TIMEOUT).await.unwrap().text(), source.to_string());
        server.abort();
    }

    #[tokio::test]
    async fn a_peer_that_accepts_and_says_nothing_costs_the_time_allowed() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        assert!(matches!(get(&url, Duration::from_millis(100)).await, Err(HttpError::Timeout { .. })));
    }

    #[tokio::test]
    async fn a_closed_port_and_a_bad_url_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(get(&format!("http://{address}/"), TIMEOUT).await, Err(HttpError::Connect { .. })));
        assert!(matches!(get("ftp://x/", TIMEOUT).await, Err(HttpError::Url { .. })));
    }
}
