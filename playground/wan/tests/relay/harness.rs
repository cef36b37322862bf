//! A relay in a thread, with servers behind it and callers in front.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wan::config::{Config, ListenerConfig, Tier, address_in_region};
use wan::control::{ControlClient, Request, Response, Usage};
use wan::relay::{Relay, StopHandle};
use wan::shape::ShapeChange;

/// By then anything has happened that ever will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing arrives in this time that should not. A change takes hold within it too.
pub(crate) const SOON: Duration = Duration::from_millis(100);

pub(crate) const EAST: &str = "us-east-1";
pub(crate) const WEST: &str = "us-west-2";
pub(crate) const EUROPE: &str = "eu-west-1";
pub(crate) const REGIONS: [&str; 3] = [EAST, WEST, EUROPE];

/// The number of a region, from zero.
pub(crate) fn index(region: &str) -> usize {
    REGIONS.iter().position(|name| *name == region).expect("one of ours")
}

/// A relay, its configuration's servers, and a client of its control socket.
pub(crate) struct World {
    control: ControlClient,
    pub(crate) control_path: PathBuf,
    listening: Vec<SocketAddrV4>,
    stop: StopHandle,
    relay: Option<JoinHandle<std::io::Result<()>>>,
    _directory: tempfile::TempDir,
}

/// A server's port, and the region that it is in.
pub(crate) fn listener(region: &str, target: SocketAddrV4) -> ListenerConfig {
    ListenerConfig {
        listen: SocketAddrV4::new(address_in_region(index(region), 3), 0),
        target,
        region: region.to_owned(),
        tier: Tier::Sql,
        node: "sql-1".to_owned(),
        caller: None,
    }
}

impl World {
    /// With the links of the table of well-known regions, and these listeners.
    pub(crate) fn start(listeners: Vec<ListenerConfig>) -> World {
        let regions = REGIONS.map(str::to_owned).to_vec();
        let links = wan::profile::well_known(&regions).expect("well known");
        let directory = tempfile::tempdir().expect("a directory");
        let control_path = directory.path().join("wan.sock");
        let config = Config { regions, listeners, links };
        let relay = Relay::start(&config, Some(&control_path)).expect("the relay starts");
        let (listening, stop) = (relay.listening(), relay.stop_handle());
        let relay = std::thread::Builder::new().name("wan-relay".to_owned()).spawn(|| relay.run()).expect("a thread");
        let control = ControlClient::connect(&control_path).expect("the relay takes requests");
        World { control, control_path, listening, stop, relay: Some(relay), _directory: directory }
    }

    /// With an echo in each region, listener `i` in front of that of region `i`.
    pub(crate) fn of_echoes() -> World {
        World::start(REGIONS.iter().map(|region| listener(region, echo(region))).collect())
    }

    pub(crate) fn ask(&mut self, request: Request) -> Response {
        self.control.call(&request).expect("the relay answers")
    }

    pub(crate) fn set(&mut self, from: &str, to: &str, change: ShapeChange) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.ask(Request::SetLink { from, to, one_way: false, change });
    }

    pub(crate) fn set_rtt(&mut self, from: &str, to: &str, rtt: &str) {
        let rtt = Some(rtt.parse().expect("a delay"));
        self.set(from, to, ShapeChange { rtt, ..ShapeChange::default() });
    }

    pub(crate) fn set_bandwidth(&mut self, from: &str, to: &str, bandwidth: &str) {
        let bandwidth = Some(bandwidth.parse().expect("a bandwidth"));
        self.set(from, to, ShapeChange { bandwidth, ..ShapeChange::default() });
    }

    pub(crate) fn cut(&mut self, from: &str, to: &str, one_way: bool) {
        self.ask(Request::Cut { from: from.to_owned(), to: to.to_owned(), one_way });
    }

    pub(crate) fn heal(&mut self, from: &str, to: &str) {
        self.ask(Request::Heal { from: from.to_owned(), to: to.to_owned(), one_way: false });
    }

    pub(crate) fn usage(&mut self) -> Usage {
        match self.ask(Request::Usage) {
            Response::Usage(usage) => usage,
            other => panic!("{other:?}"),
        }
    }

    /// A connection to listener `at` of the configuration.
    pub(crate) fn call(&self, from: &str, at: usize) -> TcpStream {
        self.call_from(address_in_region(index(from), 9), at)
    }

    pub(crate) fn call_from(&self, source: Ipv4Addr, at: usize) -> TcpStream {
        let stream = wan::sockets::connect_from(source, self.listening[at]).expect("the relay accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// A connection to the echo in region `to` that is made: something went there and back.
    pub(crate) fn connection(&self, from: &str, to: &str) -> TcpStream {
        let mut stream = self.call(from, index(to));
        round_trip(&mut stream);
        stream
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.relay.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("it was started").expect("the relay does not panic").expect("its loop does not fail");
        }
    }
}

/// A server that does `serve` with every connection, each in a thread of its own.
pub(crate) fn server(region: &str, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddrV4 {
    let socket = TcpListener::bind((address_in_region(index(region), 1), 0)).expect("a port");
    let std::net::SocketAddr::V4(address) = socket.local_addr().expect("its address") else { panic!("not IPv4") };
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let Ok(stream) = stream else { break };
            let _ = stream.set_nodelay(true);
            let serve = serve.clone();
            std::thread::Builder::new().stack_size(64 * 1024).spawn(move || serve(stream)).expect("a thread");
        }
    });
    address
}

/// A server that sends back what it gets, and ends when the caller does.
pub(crate) fn echo(region: &str) -> SocketAddrV4 {
    server(region, |mut stream| {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    })
}

/// An address where nobody listens.
pub(crate) fn nobody(region: &str) -> SocketAddrV4 {
    let socket = TcpListener::bind((address_in_region(index(region), 1), 0)).expect("a port");
    let std::net::SocketAddr::V4(address) = socket.local_addr().expect("its address") else { panic!("not IPv4") };
    address
}

/// How long a small message takes to an echo and back.
pub(crate) fn round_trip(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(b"ping").expect("sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"ping");
    start.elapsed()
}

/// The least of some round trips: without the machine's noise.
pub(crate) fn least_round_trip(stream: &mut TcpStream) -> Duration {
    (0..7).map(|_| round_trip(stream)).min().expect("some")
}

/// Within 5 % or a millisecond of what was asked, and never less.
#[track_caller]
pub(crate) fn assert_close(got: Duration, asked: Duration) {
    let most = asked + (asked / 20).max(Duration::from_millis(1));
    assert!(got >= asked && got <= most, "{got:?} instead of {asked:?}");
}

/// Nothing comes within [`SOON`].
#[track_caller]
pub(crate) fn assert_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let got = stream.read(&mut [0; 16]);
    let kind = got.as_ref().map_err(std::io::Error::kind);
    assert!(matches!(kind, Err(std::io::ErrorKind::WouldBlock)), "not silent: {got:?}");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
}

/// Waits until `probe` gives what is `wanted`, and fails with the last that it gave.
#[track_caller]
pub(crate) fn eventually<T: std::fmt::Debug>(mut probe: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let got = probe();
        if wanted(&got) {
            return got;
        }
        assert!(start.elapsed() < PATIENCE, "still {got:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
