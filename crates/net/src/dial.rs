//! Outgoing connections, over TCP or within the machine ([`crate::local`]): the one place that decides from which address they are made, and for how long a peer may
//! say nothing on a new one.
//!
//! ```text
//!   connect ── a middlebox may accept for a peer that is out of reach ──► first byte ──► TLS, HTTP/2 …
//!      └──────────────────── at most `timeout` each ─────────────────────────┘
//! ```
//!
//! A connection that stands proves nothing where something is in between: a load balancer, a NAT, a relay. Both sides of
//! TLS and of HTTP/2 speak as soon as they are spoken to, so silence after our first bytes means that nobody is there.
//! Later silence is the business of HTTP/2's pings.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Uri;
use futures::future::BoxFuture;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;
use tower::Service;

use crate::local::{self, Stream};

/// Connects over TCP to the host and port of a URI, from `source` if one is given. A host with addresses of the other
/// family only is then out of reach.
pub(crate) fn tcp(source: Option<IpAddr>, timeout: Option<Duration>) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_local_address(source);
    connector.set_connect_timeout(timeout);
    connector
}

/// [`tcp`], for protocols in which a peer that is there answers at once.
#[derive(Clone)]
pub(crate) struct Dialer {
    tcp: HttpConnector,
    /// Servers of this machine are reached without a network.
    local: bool,
    timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(source: Option<IpAddr>, timeout: Duration) -> Self {
        Dialer { tcp: tcp(source, Some(timeout)), local: source.is_none(), timeout }
    }
}

impl Service<Uri> for Dialer {
    type Response = Dialed;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = BoxFuture<'static, Result<Dialed, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (mut tcp, local, timeout) = (self.tcp.clone(), self.local, self.timeout);
        Box::pin(async move {
            let stream = match if local { local::connect(&uri).await } else { None } {
                Some(stream) => Stream::Unix(stream),
                None => Stream::Tcp(tcp.call(uri).await?.into_inner()),
            };
            Ok(Dialed {
                stream: TokioIo::new(stream),
                timeout,
                silent_until: Some(Box::pin(tokio::time::sleep(timeout))),
            })
        })
    }
}

/// A connection that breaks unless the peer says something soon.
pub(crate) struct Dialed {
    stream: TokioIo<Stream>,
    timeout: Duration,
    /// None once the peer has spoken.
    silent_until: Option<Pin<Box<Sleep>>>,
}

impl Read for Dialed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(until) = &mut self.silent_until {
            if read.is_pending() {
                ready!(until.as_mut().poll(cx));
                let reason = format!("the connection stands, but nothing came within {:?}", self.timeout);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
            self.silent_until = None;
        }
        read
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
