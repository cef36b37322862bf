//! The relay's end of the control socket: lines in, lines out, never blocking.

use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::slab::{Slab, Token};
use super::{Source, StartError, event_data};
use crate::control::Response;

/// No request is as long as this.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    ended: bool,
}

/// The socket and those who are connected to it.
#[derive(Debug)]
pub(super) struct ControlSocket {
    pub(super) listener: OwnedFd,
    clients: Slab<Client>,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, in place of a relay that is gone.
    pub(super) fn bind(path: &Path) -> Result<ControlSocket, StartError> {
        let failed = |source| StartError::Control { path: path.to_owned(), source };
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    return Err(failed(error));
                }
                std::fs::remove_file(path).map_err(failed)?;
                UnixListener::bind(path).map_err(failed)?
            }
            bound => bound.map_err(failed)?,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(ControlSocket { listener: listener.into(), clients: Slab::new(), path: path.to_owned() })
    }

    /// Accepts a client, if one is there.
    pub(super) fn accept(&mut self, epoll: &OwnedFd) -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut added = Ok(());
        self.clients.insert(|token| {
            let data = event_data(Source::ControlClient, token.to_bits());
            added = epoll::add(epoll, &socket, data, EventFlags::IN | EventFlags::OUT | EventFlags::ET);
            added.ok().map(|()| Client { socket, input: Vec::new(), output: Vec::new(), ended: false })
        });
        added
    }

    /// Reads what a client asks, as long as it takes its responses.
    pub(super) fn on_event(&mut self, token: Token, mut answer: impl FnMut(&[u8]) -> Response) {
        let Some(client) = self.clients.get_mut(token) else { return };
        if client.serve(&mut answer).is_none() {
            self.clients.remove(token);
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    /// `None` if the client is done, or not worth listening to any more.
    fn serve(&mut self, answer: &mut impl FnMut(&[u8]) -> Response) -> Option<()> {
        loop {
            if !self.flush()? {
                return Some(());
            }
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                self.respond(&answer(&line[..end]));
                continue;
            }
            if self.ended {
                return None;
            }
            if self.input.len() > LINE_BYTES_MAX {
                self.respond(&Response::Error(format!("a request is one line of at most {LINE_BYTES_MAX} bytes")));
                self.flush();
                return None;
            }
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.socket, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(()),
                Err(_) => return None,
            }
        }
    }

    fn respond(&mut self, response: &Response) {
        let text = serde_json::to_string(response).expect("names and numbers are JSON");
        self.output.extend_from_slice(text.as_bytes());
        self.output.push(b'\n');
    }

    /// Whether all responses are with the client.
    fn flush(&mut self) -> Option<bool> {
        while !self.output.is_empty() {
            match rustix::io::write(&self.socket, &self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(false),
                Err(_) => return None,
            }
        }
        Some(true)
    }
}
