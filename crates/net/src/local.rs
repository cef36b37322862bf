//! Connections within one machine: a server's port, offered as a unix socket too.
//!
//! Two servers on one machine that talk over TCP pay for packets, acknowledgements and interrupts of a network that is not
//! there. So a server that tells others the very address that it listens on also listens on a unix socket that is named after
//! the address, in Linux's abstract name space, and who connects to such an address tries that name first. The name space belongs
//! to the network name space, as loopback does: whoever finds the name means the same port, and it is gone with the server.
//!
//! Never through something in between: a relay, a proxy or a forwarded port has another address than the server behind it,
//! and who has to connect from an address of its own ([`super::grpc::ChannelOptions::source`]) uses TCP. Elsewhere than on Linux
//! there is no such name space, and everything is TCP.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// The socket's name after its leading zero byte, as status pages and `/proc/net/unix` show it.
pub fn name(address: SocketAddr) -> String {
    format!("meridian/{address}")
}

/// Listens beside a TCP port. `None` where that is not possible: TCP serves everybody.
pub(crate) fn listen(address: SocketAddr) -> Option<UnixListener> {
    bind(address, name(address))
}

/// Listens beside a TCP port for something else than what is spoken on the port.
pub(crate) fn listen_as(address: SocketAddr, kind: &str) -> Option<UnixListener> {
    bind(address, name_as(address, kind))
}

/// Connects to the server of that address if it is on this machine and offers it.
pub(crate) async fn connect(uri: &Uri) -> Option<UnixStream> {
    let address: SocketAddr = uri.authority()?.as_str().parse().ok()?;
    open(name(address)).await
}

/// The same for something else than what is spoken on the port.
pub(crate) async fn connect_as(address: SocketAddr, kind: &str) -> Option<UnixStream> {
    open(name_as(address, kind)).await
}

fn name_as(address: SocketAddr, kind: &str) -> String {
    format!("{}/{kind}", name(address))
}

fn bind(address: SocketAddr, name: String) -> Option<UnixListener> {
    if !cfg!(target_os = "linux") || address.ip().is_unspecified() {
        return None;
    }
    UnixListener::bind(path(&name))
        .inspect_err(|error| tracing::info!(name, %error, "no unix socket beside the port"))
        .ok()
}

async fn open(name: String) -> Option<UnixStream> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    UnixStream::connect(path(&name)).await.ok()
}

/// A name in the abstract name space, as `tokio` takes it: behind a zero byte.
fn path(name: &str) -> PathBuf {
    OsString::from(format!("\0{name}")).into()
}

/// A connection of either kind.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($stream:expr, $inner:ident => $does:expr) => {
        match $stream {
            Stream::Tcp($inner) => $does,
            Stream::Unix($inner) => $does,
        }
    };
}
pub(crate) use either;

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
