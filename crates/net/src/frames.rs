//! Protobuf messages between two servers on one machine, without HTTP/2 around them.
//!
//! ```text
//!   ┌────────┬─────────┬────────┬─────────┬──
//!   │ length │ message │ length │ message │ …      lengths of four bytes, little endian, over a unix socket
//!   └────────┴─────────┴────────┴─────────┴──
//! ```
//!
//! A stream of small messages costs more in HTTP/2 than the messages do: frames, windows, and tasks that wake each other for
//! each of them. Here the task that has something to say writes it, and the one that waits for it reads it. What the
//! socket does not take at once is kept and goes out before the next message comes in: neither side stops reading because the
//! other does.
//!
//! A server that offers this beside its port does so under a name of its own ([`listen`]), by the rules of [`crate::local`]; who
//! does not find it uses gRPC. No handshake: both ends know what the name stands for. After any error the connection is of no
//! use.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, BytesMut};
use prost::Message;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use crate::local;

/// What the name of the socket says that these messages are spoken on.
const KIND: &str = "frames";
/// Bytes of a length.
const LENGTH_BYTES: usize = 4;
/// Room for what comes in at once.
const READ_BYTES: usize = 64 << 10;

/// One end of a connection.
pub struct Frames {
    stream: UnixStream,
    incoming: BytesMut,
    outgoing: BytesMut,
    message_max: usize,
}

/// Listens beside a TCP port. `None` where that is not possible.
pub fn listen(address: SocketAddr) -> Option<UnixListener> {
    local::listen_as(address, KIND)
}

/// Connects to the server of that address if it is on this machine and offers it.
pub(crate) async fn connect(address: &str, message_max: usize) -> Option<Frames> {
    let stream = local::connect_as(address.parse().ok()?, KIND).await?;
    Some(Frames::new(stream, message_max))
}

impl Frames {
    /// Over an accepted connection, with messages of at most so many bytes.
    pub fn new(stream: UnixStream, message_max: usize) -> Frames {
        Frames { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), message_max }
    }

    /// Adds a message to what goes out with the next [`flush`](Self::flush).
    pub fn push(&mut self, message: &impl Message) -> io::Result<()> {
        let length = message.encoded_len();
        if length > self.message_max {
            return Err(too_long(length));
        }
        self.outgoing.reserve(LENGTH_BYTES + length);
        self.outgoing.put_u32_le(length as u32);
        message.encode(&mut self.outgoing).map_err(io::Error::other)
    }

    /// Sends what the socket takes without waiting; [`next`](Self::next) sends the rest.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.try_write(&self.outgoing) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.outgoing.advance(sent),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Bytes that the other end has not taken yet.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    /// Waits until no more than so many bytes are unsent.
    pub async fn drain(&mut self, unsent: usize) -> io::Result<()> {
        while self.outgoing.len() > unsent {
            self.stream.writable().await?;
            self.flush()?;
        }
        Ok(())
    }

    /// The next message; `None` when the other end has closed the connection between two. May be dropped at any moment
    /// without losing anything.
    pub async fn next<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let interest = match self.outgoing.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            let ready = self.stream.ready(interest).await?;
            if ready.is_writable() {
                self.flush()?;
            }
            if ready.is_readable() {
                self.incoming.reserve(READ_BYTES);
                match self.stream.try_read_buf(&mut self.incoming) {
                    Ok(0) if self.incoming.is_empty() => return Ok(None),
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
        }
    }

    /// A message that is there as a whole.
    fn take<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        let Some(length) = self.incoming.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.message_max {
            return Err(too_long(length));
        }
        if self.incoming.len() < LENGTH_BYTES + length {
            self.incoming.reserve(LENGTH_BYTES + length - self.incoming.len());
            return Ok(None);
        }
        self.incoming.advance(LENGTH_BYTES);
        M::decode(self.incoming.split_to(length)).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn pair() -> (Frames, Frames) {
        let (a, b) = UnixStream::pair().unwrap();
        (Frames::new(a, MAX), Frames::new(b, MAX))
    }

    #[tokio::test]
    async fn messages_come_out_as_they_went_in_however_large() {
        let (mut a, mut b) = pair();
        let sent: Vec<Vec<u8>> = [0, 1, 70_000, 3, MAX - 8].map(|n| vec![n as u8; n]).into();
        for message in &sent {
            a.push(message).unwrap();
        }
        a.flush().unwrap();
        assert!(a.unsent() > 0, "the socket holds less than that");
        let writer = tokio::spawn(async move {
            // Sends the rest while it waits for something itself.
            assert_eq!(a.next::<Vec<u8>>().await.unwrap().unwrap(), b"done");
            a
        });
        for message in &sent {
            assert_eq!(&b.next::<Vec<u8>>().await.unwrap().unwrap(), message);
        }
        b.push(&b"done".to_vec()).unwrap();
        b.flush().unwrap();
        drop(writer.await.unwrap());
        assert!(b.next::<Vec<u8>>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        for bytes in [&[255, 255, 255, 255][..], &[2, 0, 0, 0, 255, 255], &[5, 0, 0, 0, 1], &[1]] {
            let (a, b) = UnixStream::pair().unwrap();
            assert_eq!(a.try_write(bytes).unwrap(), bytes.len());
            drop(a);
            assert!(Frames::new(b, MAX).next::<Vec<u8>>().await.is_err(), "{bytes:?}");
        }
        let (mut a, _b) = pair();
        assert!(a.push(&vec![1; MAX]).is_err());
    }
}
