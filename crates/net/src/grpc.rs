//! gRPC both ways: [`Channels`] towards other servers, [`serve`] for our own.
//!
//! One port serves gRPC (HTTP/2) and plain HTTP together: tonic services and axum handlers share one router.
//!
//! ```text
//!   let routes = tonic::service::Routes::new(TikvServer::new(service))
//!   let router = grpc::router(routes).merge(net::metrics::router());
//!   grpc::serve(listener, router, ServeOptions::default(), token).await
//! ```
//!
//! When the token is cancelled the listener closes at once, connections get `grace` to finish, and what is still open
//! then is shut down: long-lived streams would otherwise hold a server for ever.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, RwLock};
use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tower::util::BoxCloneSyncService;

use crate::dial::Dialer;
pub use crate::failover::AnyChannel;
use crate::failover::Failover;
use crate::frames::Frames;
use crate::local::{Stream, either};

/// The largest message we send or take: a Raft snapshot chunk or a 100 MiB transaction's batch is far below.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// HTTP/2 window of one stream: hot streams carry megabytes and must not wait for window updates over a WAN.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 window of a connection, shared by its streams.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// How often a connection is probed on which nothing comes, so that a dead peer or link is noticed: with the time below,
/// well within the 15 s in which the rest of a cluster takes over.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a probe may stay unanswered before the connection counts as dead.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Files for TLS on a port or towards peers (PEM). All three together mean mutual authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct TlsConfig {
    /// Certificates of the authorities trusted; a server with one demands client certificates.
    pub ca_path: Option<PathBuf>,
    /// Our certificate chain.
    pub cert_path: Option<PathBuf>,
    /// Our private key.
    pub key_path: Option<PathBuf>,
}

impl TlsConfig {
    /// Whether any file is named.
    pub fn is_set(&self) -> bool {
        self.ca_path.is_some() || self.cert_path.is_some() || self.key_path.is_some()
    }

    fn identity(&self) -> Result<Option<Identity>, GrpcError> {
        match (&self.cert_path, &self.key_path) {
            (Some(cert), Some(key)) => Ok(Some(Identity::from_pem(read(cert)?, read(key)?))),
            (None, None) => Ok(None),
            _ => Err(GrpcError::Tls("cert-path and key-path go together".into())),
        }
    }

    fn ca(&self) -> Result<Option<Certificate>, GrpcError> {
        self.ca_path.as_ref().map(|path| Ok(Certificate::from_pem(read(path)?))).transpose()
    }

    fn client(&self) -> Result<ClientTlsConfig, GrpcError> {
        let mut config = ClientTlsConfig::new();
        if let Some(ca) = self.ca()? {
            config = config.ca_certificate(ca);
        }
        if let Some(identity) = self.identity()? {
            config = config.identity(identity);
        }
        Ok(config)
    }

    fn server(&self) -> Result<ServerTlsConfig, GrpcError> {
        let identity =
            self.identity()?.ok_or_else(|| GrpcError::Tls("a server needs cert-path and key-path".into()))?;
        let mut config = ServerTlsConfig::new().identity(identity);
        if let Some(ca) = self.ca()? {
            config = config.client_ca_root(ca);
        }
        Ok(config)
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, GrpcError> {
    std::fs::read(path).map_err(|e| GrpcError::Tls(format!("{}: {e}", path.display())))
}

/// Why a channel or server cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The address is not `host:port`, `http://host:port` or `https://host:port`.
    #[error("{0:?} is not an address")]
    Address(String),
    /// One of several servers is to be used, but none is named.
    #[error("no address is given")]
    NoAddress,
    /// A certificate or key is missing or unreadable.
    #[error("TLS: {0}")]
    Tls(String),
    /// The transport refused its settings or failed.
    #[error("gRPC transport: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// How channels connect.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// How long a connection attempt may take, TLS included, and how long the peer may then say nothing.
    pub connect_timeout: Duration,
    /// The local address connections are made from; the system chooses when absent.
    pub source: Option<IpAddr>,
    /// TLS towards every peer; plain text when absent.
    pub tls: Option<TlsConfig>,
    /// Nothing came for this long: the peer is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// A connection is given up when none came for this long.
    pub keepalive_timeout: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            source: None,
            tls: None,
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
        }
    }
}

/// One channel per address, made on first use and kept: a channel is one HTTP/2 connection that reconnects itself.
/// Clones share the cache.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    inner: Arc<ChannelsInner>,
}

#[derive(Debug, Default)]
struct ChannelsInner {
    options: ChannelOptions,
    /// Protects the cache only; never held while connecting.
    channels: RwLock<HashMap<String, Channel>>,
}

impl Channels {
    /// An empty cache that connects with these options.
    pub fn new(options: ChannelOptions) -> Self {
        Self { inner: Arc::new(ChannelsInner { options, channels: RwLock::default() }) }
    }

    /// How it connects.
    pub fn options(&self) -> &ChannelOptions {
        &self.inner.options
    }

    /// The channel to an address (`host:port`, or a URL). It connects when first used; a failure to connect is the
    /// failure of the calls made on it.
    pub fn get(&self, address: &str) -> Result<Channel, GrpcError> {
        if let Some(channel) = self.inner.channels.read().get(address) {
            return Ok(channel.clone());
        }
        let channel = self.dedicated(address)?;
        Ok(self.inner.channels.write().entry(address.to_string()).or_insert(channel).clone())
    }

    /// A channel of its own to an address, outside the cache: for streams that deserve a connection for themselves.
    pub fn dedicated(&self, address: &str) -> Result<Channel, GrpcError> {
        let options = &self.inner.options;
        let dialer = Dialer::new(options.source, options.connect_timeout);
        Ok(self.endpoint(address)?.connect_with_connector_lazy(dialer))
    }

    /// One channel to several servers of which any will do: the first that answers, until it no longer does.
    pub fn any(&self, addresses: &[String]) -> Result<AnyChannel, GrpcError> {
        let channels = addresses.iter().map(|address| self.get(address)).collect::<Result<Vec<_>, _>>()?;
        if channels.is_empty() {
            return Err(GrpcError::NoAddress);
        }
        Ok(BoxCloneSyncService::new(Failover::new(channels)))
    }

    /// A connection for [`frames`](crate::frames) of at most so many bytes to the server of an address, if that is on this
    /// machine and offers it, and nothing else is asked of connections.
    pub async fn frames(&self, address: &str, message_max: usize) -> Option<Frames> {
        let ChannelOptions { source: None, tls: None, .. } = self.inner.options else { return None };
        crate::frames::connect(address, message_max).await
    }

    /// A client for plain HTTP that connects from the same address.
    pub fn http(&self) -> crate::http::Client {
        crate::http::Client::new(self.inner.options.source)
    }

    /// Forgets the channel to an address, so that the next use connects anew.
    pub fn forget(&self, address: &str) {
        self.inner.channels.write().remove(address);
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, GrpcError> {
        let options = &self.inner.options;
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
        if bare.is_empty() || bare.contains('/') || !bare.contains(':') {
            return Err(GrpcError::Address(address.to_string()));
        }
        let scheme = if options.tls.is_some() || address.starts_with("https://") { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{bare}"))
            .map_err(|_| GrpcError::Address(address.to_string()))?
            .connect_timeout(options.connect_timeout)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .keep_alive_while_idle(true);
        if scheme == "https" {
            endpoint = endpoint.tls_config(options.tls.clone().unwrap_or_default().client()?)?;
        }
        Ok(endpoint)
    }
}

/// How a port is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// TLS on the port; plain text when absent.
    pub tls: Option<TlsConfig>,
    /// How long open connections may go on after the token is cancelled. Zero cuts them at once.
    pub grace: Duration,
    /// Others are told the address that is listened on, so that those on the same machine may come without a network
    /// ([`crate::local`]).
    pub local: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { tls: None, grace: Duration::from_millis(500), local: false }
    }
}

/// tonic services as an axum router, to be merged with HTTP routes. What nobody serves is answered by its name and in
/// the caller's language: a method with UNIMPLEMENTED, a page with 404 and a JSON string.
pub fn router(routes: tonic::service::Routes) -> axum::Router {
    routes.prepare().into_axum_router().fallback(nobody_serves).layer(axum::middleware::from_fn(name_the_method))
}

async fn nobody_serves(request: Request) -> Response {
    let path = request.uri().path();
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return unimplemented(path);
    }
    (StatusCode::NOT_FOUND, axum::Json(format!("there is no page {path}"))).into_response()
}

/// A service that lacks the method answers UNIMPLEMENTED without a word.
async fn name_the_method(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let response = next.run(request).await;
    let unnamed = tonic::Status::from_header_map(response.headers())
        .is_some_and(|status| status.code() == tonic::Code::Unimplemented && status.message().is_empty());
    if unnamed { unimplemented(uri.path()) } else { response }
}

fn unimplemented(path: &str) -> Response {
    tonic::Status::unimplemented(format!("the method {path} is not served here")).into_http()
}

/// Serves gRPC and HTTP on a bound listener until the token is cancelled and connections have ended (see the header).
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> Result<(), GrpcError> {
    let mut server = Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    if let Some(tls) = options.tls.as_ref().filter(|tls| tls.is_set()) {
        server = server.tls_config(tls.server()?)?;
    }
    let open = OpenSockets::default();
    let local = match listener.local_addr() {
        Ok(address) if options.local => crate::local::listen(address),
        _ => None,
    };
    let incoming =
        futures::stream::unfold(Incoming { tcp: listener, local, open: open.clone() }, |incoming| async move {
            Some((Ok::<_, io::Error>(incoming.accept().await), incoming))
        });
    let serving = server
        .add_routes(tonic::service::Routes::from(router))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return Ok(result?),
        () = shutdown.cancelled() => {}
    }
    match tokio::time::timeout(options.grace, &mut serving).await {
        Ok(result) => Ok(result?),
        Err(_) => {
            open.shut_down();
            // What is left are tasks that notice their socket's end; nothing more can arrive or leave.
            let _ = tokio::time::timeout(Duration::from_secs(1), &mut serving).await;
            Ok(())
        }
    }
}

/// Where connections come from.
struct Incoming {
    tcp: TcpListener,
    local: Option<UnixListener>,
    open: OpenSockets,
}

impl Incoming {
    /// Accepts one connection; failures (descriptors exhausted, peer gone already) are waited out, not fatal.
    async fn accept(&self) -> Socket {
        loop {
            let accepted = tokio::select! {
                tcp = self.tcp.accept() => tcp.map(|(stream, _)| {
                    if let Err(e) = stream.set_nodelay(true) {
                        tracing::debug!("set_nodelay: {e}");
                    }
                    Stream::Tcp(stream)
                }),
                unix = async {
                    match &self.local {
                        Some(local) => local.accept().await,
                        None => std::future::pending().await,
                    }
                } => unix.map(|(stream, _)| Stream::Unix(stream)),
            };
            match accepted {
                Ok(stream) => return self.open.add(stream),
                Err(e) => {
                    tracing::warn!("accept: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// The accepted sockets that are still open, so that they can be shut down from outside their tasks.
#[derive(Clone, Default)]
struct OpenSockets(Arc<Mutex<Vec<Weak<Stream>>>>);

impl OpenSockets {
    fn add(&self, stream: Stream) -> Socket {
        let stream = Arc::new(stream);
        let mut open = self.0.lock();
        if open.len() == open.capacity() {
            open.retain(|socket| socket.strong_count() > 0);
        }
        open.push(Arc::downgrade(&stream));
        Socket(stream)
    }

    fn shut_down(&self) {
        for socket in self.0.lock().drain(..).filter_map(|socket| socket.upgrade()) {
            let _ = end(&socket, Shutdown::Both);
        }
    }
}

/// Ends one or both directions of a connection, without its stream for oneself.
fn end(stream: &Stream, directions: Shutdown) -> io::Result<()> {
    Ok(either!(stream, stream => rustix::net::shutdown(stream, directions))?)
}

/// An accepted connection whose socket is shared with [`OpenSockets`].
struct Socket(Arc<Stream>);

impl Connected for Socket {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match &*self.0 {
            Stream::Tcp(stream) => stream.connect_info(),
            Stream::Unix(_) => TcpConnectInfo { local_addr: None, remote_addr: None },
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(either!(&*self.0, stream => stream.poll_read_ready(cx)))?;
            match either!(&*self.0, stream => stream.try_read(buf.initialize_unfilled())) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl Socket {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(&*self.0, stream => stream.poll_write_ready(cx)))?;
            match write(&self.0) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| either!(stream, stream => stream.try_write(buf)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| either!(stream, stream => stream.try_write_vectored(bufs)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match end(&self.0, Shutdown::Write) {
            Err(e) if e.kind() != io::ErrorKind::NotConnected => Err(e),
            _ => Ok(()),
        })
    }
}

/// Binds a listener, naming the address when it fails: "address already in use" alone helps nobody.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| io::Error::new(e.kind(), format!("listen on {address}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn start(
        router: axum::Router,
        grace: Duration,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = CancellationToken::new();
        let options = ServeOptions { grace, ..ServeOptions::default() };
        let task = tokio::spawn({
            let token = token.clone();
            async move { serve(listener, router, options, token).await.unwrap() }
        });
        (address, token, task)
    }

    #[tokio::test]
    async fn one_port_answers_http_and_grpc_and_closes_on_the_token() {
        let grpc = router(tonic::service::Routes::default());
        let http = axum::Router::new().route("/health", get(|| async { "ok" }));
        let (address, token, task) = start(grpc.merge(http), Duration::ZERO).await;

        let url = format!("http://{address}/health");
        let second = Duration::from_secs(5);
        let answer = crate::http::get(&url, second).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));

        let unknown = crate::http::get(&format!("http://{address}/helth"), second).await.unwrap();
        assert_eq!((unknown.status.as_u16(), unknown.text().as_str()), (404, "\"there is no page /helth\""));

        let channels = Channels::default();
        let mut client = tonic::client::Grpc::new(channels.get(&address.to_string()).unwrap());
        client.ready().await.unwrap();

        // An idle connection must not outlive the server.
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /hea").await.unwrap();
        token.cancel();
        task.await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(second, idle.read_to_end(&mut rest)).await.expect("closed with the server");
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_server_on_this_machine_is_reached_without_a_network_at_its_own_address_only() {
        let serve_on = |local: bool| async move {
            let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let options = ServeOptions { local, grace: Duration::ZERO, ..ServeOptions::default() };
            let token = CancellationToken::new();
            tokio::spawn(serve(listener, router(tonic::service::Routes::default()), options, token.clone()));
            (address, token)
        };
        let open = |address: SocketAddr| {
            let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
            sockets.lines().filter(|line| line.ends_with(&format!("@{}", crate::local::name(address)))).count()
        };
        let (offered, token) = serve_on(true).await;
        let (refused, _token) = serve_on(false).await;
        let from_here = ChannelOptions { source: Some("127.0.0.1".parse().unwrap()), ..ChannelOptions::default() };
        for (address, options, sockets) in [
            // The socket that listens, and our connection.
            (offered, ChannelOptions::default(), 2),
            (offered, from_here, 1),
            (refused, ChannelOptions::default(), 0),
        ] {
            let channel = Channels::new(options).get(&address.to_string()).unwrap();
            assert_eq!(call(channel.clone()).await.unwrap(), tonic::Code::Unimplemented);
            assert_eq!(open(address), sockets, "{address}");
            drop(channel);
            while open(address) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        token.cancel();
        while open(offered) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A call that nobody serves.
    async fn call(channel: Channel) -> Result<tonic::Code, tonic::transport::Error> {
        use tower::ServiceExt;
        let request = Request::builder().method("POST").uri("/a.B/c").header(header::CONTENT_TYPE, "application/grpc");
        let response = channel.oneshot(request.body(tonic::body::Body::empty()).unwrap()).await?;
        Ok(tonic::Status::from_header_map(response.headers()).map_or(tonic::Code::Ok, |status| status.code()))
    }

    #[tokio::test]
    async fn a_channel_connects_from_the_address_that_it_is_to_connect_from() {
        let source: IpAddr = "127.0.7.1".parse().unwrap();
        let options = ChannelOptions { source: Some(source), ..ChannelOptions::default() };
        for name in ["127.0.0.1", "localhost"] {
            let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = format!("{name}:{}", listener.local_addr().unwrap().port());
            let channels = Channels::new(options.clone());
            let channel = channels.any(&[address]).unwrap();
            tokio::spawn(async move {
                use tower::ServiceExt;
                channel.oneshot(Request::builder().body(tonic::body::Body::empty()).unwrap()).await
            });
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip(), source, "{name}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_accepts_and_says_nothing_fails_the_call_when_the_time_to_connect_is_over() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let dir = tempfile::tempdir().unwrap();
        let ca_path = dir.path().join("ca.pem");
        std::fs::write(&ca_path, "").unwrap();
        let tls = TlsConfig { ca_path: Some(ca_path), ..TlsConfig::default() };
        for tls in [None, Some(tls)] {
            let options =
                ChannelOptions { connect_timeout: Duration::from_millis(300), tls, ..ChannelOptions::default() };
            let channel = Channels::new(options).get(&address).unwrap();
            // The second call finds the connection dead and makes another.
            for _ in 0..2 {
                let failed = tokio::time::timeout(Duration::from_secs(3), call(channel.clone())).await;
                let error = crate::error_line(&failed.expect("it hangs").expect_err("nobody answers"));
                assert!(error.contains("300ms") || error.contains("deadline"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_falls_silent_fails_the_calls_that_wait() {
        let (address, _token, _task) = start(router(tonic::service::Routes::default()), Duration::ZERO).await;
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = relay.local_addr().unwrap().to_string();
        let cut = CancellationToken::new();
        tokio::spawn({
            let cut = cut.clone();
            async move {
                let (mut near, _) = relay.accept().await.unwrap();
                let mut far = TcpStream::connect(address).await.unwrap();
                let _ = cut.run_until_cancelled(tokio::io::copy_bidirectional(&mut near, &mut far)).await;
                // Both ends stay open: neither learns anything.
                std::future::pending::<()>().await;
            }
        });
        let options = ChannelOptions {
            keepalive_interval: Duration::from_millis(200),
            keepalive_timeout: Duration::from_millis(200),
            ..ChannelOptions::default()
        };
        let channel = Channels::new(options).get(&at).unwrap();
        assert_eq!(call(channel.clone()).await.unwrap(), tonic::Code::Unimplemented);
        cut.cancel();
        let failed = tokio::time::timeout(Duration::from_secs(3), call(channel)).await;
        failed.expect("it hangs").expect_err("nobody answers");
    }

    #[tokio::test]
    async fn addresses_that_are_none_are_refused_by_name() {
        let channels = Channels::default();
        for bad in ["", "localhost", "http://", "a:1/path", "ho st:1"] {
            assert!(matches!(channels.get(bad), Err(GrpcError::Address(a)) if a == bad), "{bad:?}");
        }
        for good in ["127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1/", "[::1]:7", "pd-0.pd:2379"] {
            assert!(channels.get(good).is_ok(), "{good:?}");
        }
    }
}
