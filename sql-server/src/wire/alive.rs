//! Whether a client is still there, while nothing is read from it: its statement runs.
//!
//! The system is asked now and then whether the other side has closed the connection. What the client has sent before, and
//! TLS, are no hindrance: not a byte is read for it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a statement may run unwatched, and how often it is looked after then.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(250);

/// A connection's socket, to be asked.
#[derive(Debug)]
pub struct Line(Option<OwnedFd>);

impl Line {
    /// Of a socket. Out of file descriptors, nobody watches.
    pub fn of(socket: &impl AsFd) -> Line {
        Line(socket.as_fd().try_clone_to_owned().ok())
    }

    /// Of something that cannot be lost: a stream within the process.
    pub fn unwatched() -> Line {
        Line(None)
    }

    fn is_lost(&self) -> bool {
        let Some(socket) = &self.0 else { return false };
        #[cfg(target_os = "linux")]
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        #[cfg(not(target_os = "linux"))]
        let ends = PollFlags::HUP | PollFlags::ERR;
        let mut asked = [PollFd::new(socket, ends)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|n| n > 0) && asked[0].revents().intersects(ends)
    }

    /// Returns once the client has closed the connection.
    pub async fn lost(&self) {
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            if self.is_lost() {
                return;
            }
            pause = PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_client_that_closes_is_noticed_whatever_it_sent_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let line = Line::of(&server);
        client.write_all(b"more").await.unwrap();
        assert!(!line.is_lost());
        drop(client);
        tokio::time::timeout(Duration::from_secs(10), line.lost()).await.unwrap();
        assert!(!Line::unwatched().is_lost());
    }
}
