//! The relay: sockets and a clock around the pure core, in one thread.
//!
//! ```text
//!   epoll ─► events ─► connections: read, enter the link, set the alarm
//!     ▲                                                       │
//!     └──────── timer: the next alarm ◄── alarms, by time ◄───┘
//!                        │
//!                        └─► connections: write what has arrived, read on
//! ```
//!
//! One thread does all: links are shared by all connections, and a message costs little more than the system calls that
//! move it. The timer is one of the kernel's with nanoseconds (timerfd), since a way inside a region takes a quarter of
//! a millisecond. Everything is nonblocking and edge-triggered, save for listeners.
//!
//! [`connection`] is where bytes move. [`wires`] is what connections share. Not here: what a link does to bytes
//! ([`crate::link`], [`crate::line`]).

mod connection;
mod control_socket;
mod held_up;
mod slab;
mod wires;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

use self::connection::{Connection, Fate, Route};
use self::control_socket::ControlSocket;
use self::held_up::HeldUp;
use self::slab::{Slab, Token};
use self::wires::{Alarm, Wires};
use crate::config::{Config, ConfigError, Regions, UnknownRegion};
use crate::control::{LinkState, Request, Response, TrafficRow, Usage};
use crate::link::{Link, Nanos, Rescale};
use crate::sockets;

/// How many events one look at epoll takes.
const EVENTS_MAX: usize = 256;
/// How many connections one listener accepts before others have their turn.
const ACCEPTS_MAX: usize = 64;
/// When the kernel has no more file descriptors for us, accepting rests this long.
const ACCEPT_REST_NANOS: Nanos = 100_000_000;
/// Connections whose peers both have ended while a cut holds up what they sent. Who calls across a cut that lets
/// questions through and no answers leaves one with each attempt: at twenty a second these are those of the last three
/// minutes, which is about as long as TCP would try. If there are more, the oldest is given up, as TCP would.
const HELD_UP_MAX: usize = 4096;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("the relay's configuration: {0}")]
    Config(#[from] ConfigError),
    /// A listener's address cannot be had.
    #[error("listen on {address} for {node}: {source}")]
    Listen {
        /// The address.
        address: SocketAddrV4,
        /// The server that it stands for.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// The control socket cannot be had.
    #[error("control socket {}: {source}", .path.display())]
    Control {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refuses what the loop needs.
    #[error("the relay's event loop: {0}")]
    Kernel(io::Error),
}

/// A relay that listens. [`Relay::run`] makes it work.
#[derive(Debug)]
pub struct Relay {
    regions: Regions,
    wires: Wires,
    connections: Slab<Connection>,
    held_up: HeldUp,
    listeners: Vec<Listener>,
    control: Option<ControlSocket>,
    /// The addresses of each group that is cut off, by the group's name.
    isolated: Vec<(String, Vec<Ipv4Addr>)>,
    accepts_failed: u64,
    timer: OwnedFd,
    /// When the timer fires.
    timer_at: Option<Nanos>,
    stop: Arc<OwnedFd>,
}

#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    address: SocketAddrV4,
    target: SocketAddrV4,
    region: usize,
    caller: Option<usize>,
    tier: crate::config::Tier,
}

/// Ends a relay from another thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<OwnedFd>);

impl StopHandle {
    /// Lets [`Relay::run`] return; all its connections and listeners are closed.
    pub fn stop(&self) {
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// Lets this process have as many files open as it may ask for: each connection takes two.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

impl Relay {
    /// Listens on every address of `config`, and at `control` for requests. Callers wait until [`Relay::run`].
    pub fn start(config: &Config, control: Option<&Path>) -> Result<Relay, StartError> {
        let (regions, shapes) = config.check()?;
        let kernel = |error: Errno| StartError::Kernel(error.into());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(kernel)?;
        let timer_flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, timer_flags).map_err(kernel)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(kernel)?;
        let watch = |socket: &OwnedFd, data, flags| epoll::add(&epoll, socket, data, flags).map_err(kernel);
        watch(&timer, event_data(Source::Timer, 0), EventFlags::IN | EventFlags::ET)?;
        watch(&stop, event_data(Source::Stop, 0), EventFlags::IN)?;

        let mut listeners = Vec::with_capacity(config.listeners.len());
        for (at, spec) in config.listeners.iter().enumerate() {
            let (socket, address) = sockets::listen_nonblocking(spec.listen).map_err(|error| StartError::Listen {
                address: spec.listen,
                node: spec.node.clone(),
                source: error.into(),
            })?;
            watch(&socket, event_data(Source::Listener, at as u64), EventFlags::IN)?;
            let find = |name: &String| regions.find(name).expect("the configuration was checked");
            let (region, caller) = (find(&spec.region), spec.caller.as_ref().map(find));
            listeners.push(Listener { socket, address, target: spec.target, region, caller, tier: spec.tier });
        }
        let control = control.map(ControlSocket::bind).transpose()?;
        if let Some(control) = &control {
            watch(&control.listener, event_data(Source::ControlListener, 0), EventFlags::IN)?;
        }
        Ok(Relay {
            wires: Wires::new(epoll, regions.count(), &shapes),
            regions,
            connections: Slab::new(),
            held_up: HeldUp::new(HELD_UP_MAX),
            listeners,
            control,
            isolated: Vec::new(),
            accepts_failed: 0,
            timer,
            timer_at: None,
            stop: Arc::new(stop),
        })
    }

    /// Where each listener of the configuration listens, in its order.
    pub fn listening(&self) -> Vec<SocketAddrV4> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// What ends the relay.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.stop))
    }

    /// Works until the relay is stopped. An error is the event loop's own, never a connection's.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.run_due_alarms();
            let again = std::mem::take(&mut self.wires.again);
            for (token, way) in again {
                self.with_connection(token, |connection, wires| connection.on_again(way, wires));
            }
            let busy = !self.set_timer()? || !self.wires.again.is_empty();
            let found = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.wires.epoll, found, busy.then_some(&NO_WAIT)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let (data, flags) = (event.data.u64(), event.flags);
                let Some((source, bits)) = of_event_data(data) else { continue };
                let token = Token::from_bits(bits);
                match source {
                    Source::Stop => return Ok(()),
                    Source::Timer => self.timer_at = None,
                    Source::Listener => self.accept(bits as usize),
                    Source::ControlListener => self.accept_control(),
                    Source::ControlClient => self.serve_control(token),
                    Source::Caller => {
                        self.with_connection(token, |connection, wires| connection.on_caller_event(flags, wires));
                    }
                    Source::Server => {
                        self.with_connection(token, |connection, wires| connection.on_server_event(flags, wires));
                    }
                }
            }
        }
    }

    /// Alarms that are due now. Those that come up meanwhile have to wait for a look at the sockets.
    fn run_due_alarms(&mut self) {
        let now = self.wires.now();
        while let Some((at, alarm)) = self.wires.take_alarm(now) {
            match alarm {
                Alarm::Arrival(token, way) => {
                    self.with_connection(token, |connection, wires| connection.on_alarm(way, at, wires));
                }
                Alarm::Turn(link) if self.wires.is_turn(link, at) => self.give_turns(link, at),
                Alarm::Turn(_) => {}
                Alarm::Accept => self.listen_again(),
            }
        }
    }

    /// Sets the timer to the next alarm; `false` if that is due already.
    fn set_timer(&mut self) -> io::Result<bool> {
        let Some(at) = self.wires.next_alarm() else { return Ok(true) };
        if at <= self.wires.now() {
            return Ok(false);
        }
        if self.timer_at.is_none_or(|timer_at| at < timer_at) {
            let kernel = self.wires.to_kernel(at);
            let it_value = Timespec { tv_sec: (kernel / 1_000_000_000) as i64, tv_nsec: (kernel % 1_000_000_000) as _ };
            let spec = Itimerspec { it_interval: NO_WAIT, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
            self.timer_at = Some(at);
        }
        Ok(true)
    }

    fn with_connection(&mut self, token: Token, f: impl FnOnce(&mut Connection, &mut Wires) -> Fate) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        match f(connection, &mut self.wires) {
            Fate::Lives => {}
            Fate::HeldUp if std::mem::replace(&mut connection.held_up, true) => {}
            Fate::HeldUp => {
                let exists = |token| self.connections.get_mut(token).is_some();
                let Some(oldest) = self.held_up.push(token, exists) else { return };
                let Some(connection) = self.connections.get_mut(oldest) else { return };
                connection.held_up = false;
                // It may have gone on.
                if connection.fate(&self.wires) == Fate::HeldUp {
                    self.end(oldest);
                }
            }
            Fate::Over => self.end(token),
        }
    }

    fn end(&mut self, token: Token) {
        if let Some(mut connection) = self.connections.remove(token) {
            connection.forget(&mut self.wires);
        }
    }

    /// Lets those who wait for a link's wire read, one quantum each, until it is busy again. That was due at `since`.
    fn give_turns(&mut self, link: usize, since: Nanos) {
        while !self.wires.wires[link].link.is_busy(self.wires.now()) {
            let Some((token, way)) = self.wires.wires[link].waiting.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(token) {
                connection.on_turn(way, since, &mut self.wires);
            }
        }
        let now = self.wires.now();
        self.wires.set_turn(link, now);
    }

    fn accept(&mut self, at: usize) {
        let listener = &self.listeners[at];
        for _ in 0..ACCEPTS_MAX {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let (socket, peer) = match rustix::net::acceptfrom_with(&listener.socket, flags) {
                Ok(accepted) => accepted,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(_) => return self.rest(),
            };
            let peer = peer.and_then(|peer| SocketAddrV4::try_from(peer).ok());
            let by_address = || peer.and_then(|peer| self.regions.of_address(*peer.ip()));
            let route = Route {
                target: listener.target,
                caller: peer.map_or(Ipv4Addr::UNSPECIFIED, |peer| *peer.ip()),
                caller_region: listener.caller.or_else(by_address).unwrap_or(listener.region),
                server_region: listener.region,
                tier: listener.tier,
            };
            // It fails if the kernel has no memory to watch the socket: the caller sees a connection that is closed.
            let wires = &mut self.wires;
            let apart = is_apart(&self.isolated, &route);
            self.connections.insert(|token| {
                let mut connection = Connection::accepted(token, socket, route, wires).ok()?;
                if apart {
                    connection.isolate(true, wires);
                }
                Some(connection)
            });
        }
    }

    /// There are no more file descriptors, or no memory: accepting goes on in a while, for all listeners.
    fn rest(&mut self) {
        self.accepts_failed += 1;
        self.watch_listeners(EventFlags::empty());
        let at = self.wires.now() + ACCEPT_REST_NANOS;
        self.wires.set_alarm(at, Alarm::Accept);
    }

    fn listen_again(&mut self) {
        self.watch_listeners(EventFlags::IN);
    }

    fn watch_listeners(&self, flags: EventFlags) {
        for (at, listener) in self.listeners.iter().enumerate() {
            let _ = epoll::modify(&self.wires.epoll, &listener.socket, event_data(Source::Listener, at as u64), flags);
        }
        if let Some(control) = &self.control {
            let _ = epoll::modify(&self.wires.epoll, &control.listener, event_data(Source::ControlListener, 0), flags);
        }
    }

    fn accept_control(&mut self) {
        let Some(control) = &mut self.control else { return };
        if control.accept(&self.wires.epoll).is_err() {
            self.rest();
        }
    }

    fn serve_control(&mut self, token: Token) {
        let Some(mut control) = self.control.take() else { return };
        control.on_event(token, |line| match serde_json::from_slice(line) {
            Ok(request) => self.answer(&request).unwrap_or_else(|error| Response::Error(error.to_string())),
            Err(error) => Response::Error(format!("the request cannot be read: {error}")),
        });
        self.control = Some(control);
    }

    fn answer(&mut self, request: &Request) -> Result<Response, UnknownRegion> {
        match request {
            Request::SetLink { from, to, one_way, change } => {
                for at in self.links_between(from, to, *one_way)? {
                    self.change(at, |link, now| link.set_shape(now, link.shape().with(*change)));
                }
            }
            Request::Cut { from, to, one_way } => {
                for at in self.links_between(from, to, *one_way)? {
                    self.change(at, |link, now| {
                        link.cut(now);
                        None
                    });
                }
            }
            Request::Heal { from, to, one_way } => {
                for at in self.links_between(from, to, *one_way)? {
                    self.change(at, |link, now| {
                        link.heal(now);
                        None
                    });
                }
            }
            Request::Isolate { name, hosts } => {
                self.isolated.retain(|(isolated, _)| isolated != name);
                self.isolated.push((name.clone(), hosts.clone()));
                self.see_to_isolation();
            }
            Request::Rejoin { name } => {
                self.isolated.retain(|(isolated, _)| isolated != name);
                self.see_to_isolation();
            }
            Request::HealAll => {
                self.isolated.clear();
                self.see_to_isolation();
                for at in 0..self.wires.nowhere() {
                    self.change(at, |link, now| {
                        link.heal(now);
                        link.set_shape(now, link.original())
                    });
                }
            }
            Request::Links => return Ok(Response::Links(self.links())),
            Request::Traffic => {
                let row = |(from, to, tier, passed): (_, _, _, wires::Passed)| TrafficRow {
                    from,
                    to,
                    tier,
                    bytes: passed.bytes,
                    messages: passed.messages,
                };
                return Ok(Response::Traffic(self.wires.passed(&self.regions).into_iter().map(row).collect()));
            }
            Request::Usage => return Ok(Response::Usage(self.usage())),
        }
        Ok(Response::Done(()))
    }

    /// The numbers of the links that a request names.
    fn links_between(&self, from: &str, to: &str, one_way: bool) -> Result<Vec<usize>, UnknownRegion> {
        let (from, to) = (self.regions.find(from)?, self.regions.find(to)?);
        let mut links = vec![self.wires.link_between(from, to)];
        if !one_way && from != to {
            links.push(self.wires.link_between(to, from));
        }
        Ok(links)
    }

    /// Changes a link, and lets every connection that uses it see to its alarms.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Link, Nanos) -> Option<Rescale>) {
        let now = self.wires.now();
        let wire = &mut self.wires.wires[at];
        wire.waiting.clear();
        let rescale = change(&mut wire.link, now);
        for token in self.connections.tokens() {
            self.with_connection(token, |connection, wires| connection.on_link_changed(at, rescale.as_ref(), wires));
        }
        self.wires.set_turn(at, now);
    }

    /// Lets every connection follow what is isolated now.
    fn see_to_isolation(&mut self) {
        for token in self.connections.tokens() {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            let apart = is_apart(&self.isolated, connection.route());
            self.with_connection(token, |connection, wires| connection.isolate(apart, wires));
        }
    }

    fn links(&self) -> Vec<LinkState> {
        let state = |(at, wire): (usize, &wires::Wire)| {
            let (from, to) = self.wires.ends_of(at);
            LinkState {
                from: self.regions.name(from).to_owned(),
                to: self.regions.name(to).to_owned(),
                shape: wire.link.shape(),
                original: wire.link.original(),
                cut: wire.link.is_cut(),
            }
        };
        self.wires.wires.iter().take(self.wires.nowhere()).enumerate().map(state).collect()
    }

    fn usage(&mut self) -> Usage {
        // The relay is one thread: its time is the relay's, also where it runs in a test's process.
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_us = cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1_000;
        let messages = self.wires.messages;
        let tokens = self.connections.tokens();
        let buffered = tokens.into_iter().filter_map(|token| Some(self.connections.get_mut(token)?.bytes() as u64));
        Usage {
            cpu_us,
            messages,
            cpu_us_per_message: if messages == 0 { 0.0 } else { cpu_us as f64 / messages as f64 },
            buffered_bytes: buffered.sum(),
            connections: self.connections.len() as u64,
            accepts_failed: self.accepts_failed,
            connects_refused: self.wires.connects_refused,
        }
    }
}

/// Whether one of the two ends is in a group that is cut off, and the other is not.
fn is_apart(isolated: &[(String, Vec<Ipv4Addr>)], route: &Route) -> bool {
    isolated.iter().any(|(_, hosts)| hosts.contains(&route.caller) != hosts.contains(route.target.ip()))
}

/// What an event is about. It is the upper eight bits of what epoll keeps for us; below is a token or a number.
#[derive(Clone, Copy, Debug)]
enum Source {
    Stop,
    Timer,
    Listener,
    ControlListener,
    ControlClient,
    Caller,
    Server,
}

const SOURCES: [Source; 7] = [
    Source::Stop,
    Source::Timer,
    Source::Listener,
    Source::ControlListener,
    Source::ControlClient,
    Source::Caller,
    Source::Server,
];

fn event_data(source: Source, bits: u64) -> EventData {
    EventData::new_u64((source as u64) << 56 | bits)
}

fn of_event_data(data: u64) -> Option<(Source, u64)> {
    let source = SOURCES.get((data >> 56) as usize)?;
    Some((*source, data & ((1 << 56) - 1)))
}
