//! Sockets as the standard library does not make them: bound to an address before they connect.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// How many connections wait to be accepted. The kernel lowers it to its own bound.
const BACKLOG: i32 = 4096;

/// A connection from `source`, whose network tells the relay the caller's region. Waits until it is made.
pub fn connect_from(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = bound(source, SocketFlags::CLOEXEC)?;
    rustix::net::connect(&socket, &target)?;
    Ok(TcpStream::from(socket))
}

/// Begins a connection from one of `sources`. It becomes writable when it is made.
pub(crate) fn connect_nonblocking(
    sources: impl IntoIterator<Item = Ipv4Addr>,
    target: SocketAddrV4,
) -> Result<OwnedFd, Errno> {
    let mut failed = Errno::ADDRNOTAVAIL;
    for source in sources {
        let socket = match bound(source, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            // All of this address' ports are in use: the next has as many.
            Err(Errno::ADDRINUSE) => {
                failed = Errno::ADDRINUSE;
                continue;
            }
            Err(error) => return Err(error),
        };
        return match rustix::net::connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        };
    }
    Err(failed)
}

/// A socket that listens, and whose accepting does not block.
pub(crate) fn listen_nonblocking(address: SocketAddrV4) -> Result<(OwnedFd, SocketAddrV4), Errno> {
    let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let bound = SocketAddrV4::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, bound))
}

fn bound(source: Ipv4Addr, flags: SocketFlags) -> Result<OwnedFd, Errno> {
    let socket = socket(flags)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    Ok(socket)
}

/// Ports of connections that were closed lately can be taken again.
fn socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Algorithms that pace (BBR) would add their own delays and timers on the loopback. Reno is in every kernel; if not,
    // the machine's own will do. What a listener accepts inherits it.
    let _ = sockopt::set_tcp_congestion(&socket, "reno");
    Ok(socket)
}
