//! What a running relay can be asked, over a unix socket: one line of JSON for the request, one for the response.
//!
//! ```text
//! → {"do":"cut","from":"us-east-1","to":"eu-west-1"}
//! ← {"done":null}
//! → {"do":"set_link","from":"us-east-1","to":"us-west-2","change":{"rtt":"300ms","loss":"1%"}}
//! ← {"done":null}
//! → {"do":"heal","from":"us-east-1","to":"mars"}
//! ← {"error":"there is no region `mars`; this cluster has us-east-1, us-west-2, eu-west-1"}
//! ```
//!
//! A connection takes any number of requests, one after the other. A change holds from its response on.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Tier;
use crate::shape::{Shape, ShapeChange};

/// A request. Where two regions are named they may be the same: what is inside that region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Change what a link is like.
    SetLink {
        /// One end.
        from: String,
        /// The other end.
        to: String,
        /// Only the direction from `from` to `to`.
        #[serde(default)]
        one_way: bool,
        /// What changes.
        change: ShapeChange,
    },
    /// Let nothing pass any more, without telling anybody.
    Cut {
        /// One end.
        from: String,
        /// The other end.
        to: String,
        /// Only the direction from `from` to `to`.
        #[serde(default)]
        one_way: bool,
    },
    /// End a cut; the shape stays what it was set to.
    Heal {
        /// One end.
        from: String,
        /// The other end.
        to: String,
        /// Only the direction from `from` to `to`.
        #[serde(default)]
        one_way: bool,
    },
    /// Let nothing pass any more between servers at these addresses and everything else; among them all goes on.
    Isolate {
        /// What [`Request::Rejoin`] calls them.
        name: String,
        /// Their addresses, which they listen at and call from.
        hosts: Vec<Ipv4Addr>,
    },
    /// End an isolation.
    Rejoin {
        /// As it was called.
        name: String,
    },
    /// End all cuts and isolations, and make all links what they were at the start.
    HealAll,
    /// What every link is like now.
    Links,
    /// What has passed since the start.
    Traffic,
    /// What the relay itself takes.
    Usage,
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The change is made.
    Done(()),
    /// To [`Request::Links`]: every direction between two regions, and inside each.
    Links(Vec<LinkState>),
    /// To [`Request::Traffic`]: one row for each direction and tier that anything passed in.
    Traffic(Vec<TrafficRow>),
    /// To [`Request::Usage`].
    Usage(Usage),
    /// What was wrong with the request.
    Error(String),
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// Where bytes come from.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// What is asked of the link now.
    pub shape: Shape,
    /// What it was at the start.
    pub original: Shape,
    /// Whether nothing passes.
    pub cut: bool,
}

/// What was handed over in one direction for one tier, since the start. The tier is the called server's, both for what
/// it is sent and for what it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// Where bytes come from.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// Whose traffic it is.
    pub tier: Tier,
    /// How many bytes.
    pub bytes: u64,
    /// In how many pieces: what one read of the relay finds is one message, so that small ones that are sent without a
    /// pause may count as one.
    pub messages: u64,
}

/// What the relay takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time since the start, in microseconds.
    pub cpu_us: u64,
    /// Messages handed over since the start, of all links.
    pub messages: u64,
    /// CPU time for each of them, in microseconds; 0 before the first.
    pub cpu_us_per_message: f64,
    /// Connections open now.
    pub connections: u64,
    /// Bytes on their way now.
    pub buffered_bytes: u64,
    /// Connections that the kernel could not give us, as there were no more file descriptors. They are tried again.
    pub accepts_failed: u64,
    /// Connections that the server behind a listener did not take.
    pub connects_refused: u64,
}

/// Why a request got no response of its kind.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The relay is not there, or went away.
    #[error("the WAN relay cannot be reached")]
    Io(#[from] io::Error),
    /// What it sent is not a response.
    #[error("the WAN relay sent no response that is understood")]
    Malformed(#[from] serde_json::Error),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

impl Request {
    /// The request as it goes over the socket, with its line end.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("names and numbers are JSON");
        line.push('\n');
        line
    }
}

impl Response {
    /// A response as it comes over the socket; a refusal is an error.
    pub fn from_line(line: &str) -> Result<Response, ControlError> {
        match serde_json::from_str(line)? {
            Response::Error(message) => Err(ControlError::Refused(message)),
            response => Ok(response),
        }
    }
}

/// A blocking client.
#[derive(Debug)]
pub struct ControlClient {
    socket: BufReader<UnixStream>,
}

impl ControlClient {
    /// Connects to the control socket of a relay.
    pub fn connect(path: &Path) -> Result<ControlClient, ControlError> {
        Ok(ControlClient { socket: BufReader::new(UnixStream::connect(path)?) })
    }

    /// Asks, and waits for the response.
    pub fn call(&mut self, request: &Request) -> Result<Response, ControlError> {
        self.socket.get_mut().write_all(request.to_line().as_bytes())?;
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Response::from_line(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_documented() {
        let cut = r#"{"do":"cut","from":"a","to":"b"}"#;
        let expect = Request::Cut { from: "a".to_owned(), to: "b".to_owned(), one_way: false };
        assert_eq!(serde_json::from_str::<Request>(cut).expect("a request"), expect);
        let set = r#"{"do":"set_link","from":"a","to":"b","change":{"rtt":"300ms","loss":"1%"}}"#;
        let request: Request = serde_json::from_str(set).expect("a request");
        let Request::SetLink { change, .. } = &request else { panic!("{request:?}") };
        assert_eq!((change.rtt, change.jitter), (Some(crate::units::Delay::from_millis(300)), None));
        assert_eq!(serde_json::from_str::<Request>(&request.to_line()).expect("reads back"), request);
        for bad in [r#"{"do":"cut","from":"a"}"#, r#"{"do":"dance"}"#, r#"{"do":"cut","from":"a","to":"b","x":1}"#] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
        let absurd = r#"{"do":"set_link","from":"a","to":"b","change":{"rtt":"11s"}}"#;
        let error = serde_json::from_str::<Request>(absurd).expect_err("refused").to_string();
        assert!(error.contains("between 0ms and 10s"), "{error}");
    }

    #[test]
    fn responses_read_back() {
        assert_eq!(serde_json::to_string(&Response::Done(())).expect("JSON"), r#"{"done":null}"#);
        assert_eq!(Response::from_line(r#"{"done":null}"#).expect("a response"), Response::Done(()));
        assert!(matches!(Response::from_line(r#"{"error":"no"}"#), Err(ControlError::Refused(text)) if text == "no"));
        assert!(matches!(Response::from_line("{"), Err(ControlError::Malformed(_))));
    }
}
