//! One connection through the relay: two sockets, and a delay line each way.
//!
//! ```text
//!            way 0: caller ► server
//!   end 0 ──read──► line ──write──► end 1
//!   caller ◄──write── line ◄──read── server
//!            way 1: server ► caller
//! ```
//!
//! End 1 does not exist at first. The caller's `connect` is answered by the kernel at once, so the handshake is made up
//! for: a mark at the head of way 0 takes one and a half round trips to arrive, and only then is the server called. Its
//! greeting is with the caller two round trips after the call, and the answer to what a caller says without waiting
//! one round trip later than on a connection that is there already. A server that refuses shows as a reset, by way 1.
//!
//! A FIN and an RST are marks too, in order with the bytes. Nothing of a cut way is read, and nothing of it arrives. When
//! both peers have ended meanwhile, the connection stays for what they had sent before, and is freed if that is nothing.
//!
//! Invariants: way `i` reads from end `i` and writes to end `1 - i`; a way holds at most its window and one read more.
//! `pump` reads until the socket is empty, the window is full or the wire is busy; each of these ends with an event, a
//! delivery or a turn that calls it again.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};

use super::slab::Token;
use super::wires::{Alarm, Wires};
use super::{Source, event_data};
use crate::config::{Tier, address_in_region};
use crate::line::{Line, Mark};
use crate::link::{Nanos, Rescale};
use crate::sockets;

/// The hosts in the caller's network that the relay calls servers from. Each has some 28,000 ports.
const RELAY_HOSTS: [u8; 4] = [250, 249, 248, 247];
/// A socket with much to read lets others have their turn after this much.
const PUMP_BYTES_MAX: usize = 1024 * 1024;

/// The machine is never thought to be later than this.
const LATE_NANOS_MAX: Nanos = 100_000_000;

const CALLER: usize = 0;
const SERVER: usize = 1;

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does.
    Lives,
    /// Both peers have ended, and a cut holds up what they sent before: it goes on after the cut, if there is room for
    /// so many of these.
    HeldUp,
    /// Nothing of it can arrive any more, or nobody is left whom it could arrive at.
    Over,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// The server's address.
    pub(super) target: SocketAddrV4,
    /// The caller's address.
    pub(super) caller: Ipv4Addr,
    /// The caller's region, by number from zero.
    pub(super) caller_region: usize,
    /// The server's.
    pub(super) server_region: usize,
    /// The server's.
    pub(super) tier: Tier,
}

#[derive(Debug)]
struct End {
    socket: Option<OwnedFd>,
    /// The server's, while it is called.
    connecting: bool,
    /// There may be something to read.
    readable: bool,
    /// There may be room to write.
    writable: bool,
    /// All was read, up to a FIN or an error.
    read_done: bool,
    /// The peer sent a FIN, whether or not we have read up to it.
    ended: bool,
    /// The peer is gone, or we have dropped it.
    reset: bool,
}

impl End {
    fn new(socket: Option<OwnedFd>) -> End {
        let open = socket.is_some();
        End { socket, connecting: false, readable: false, writable: open, read_done: false, ended: false, reset: false }
    }

    fn is_gone(&self) -> bool {
        self.reset || self.socket.is_none()
    }
}

#[derive(Debug)]
struct Way {
    /// The link between the ends' regions, or [`Wires::nowhere`] while they are isolated from each other.
    link: usize,
    counter: usize,
    line: Line,
    /// What of `line` is in the relay's total.
    counted: usize,
    /// The alarm that was set last and has not rung.
    alarm: Option<Nanos>,
    waits_for_turn: bool,
    /// Nothing can be handed over any more: the FIN was, or the receiver is gone.
    shut: bool,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Connection {
    token: Token,
    route: Route,
    ends: [End; 2],
    ways: [Way; 2],
    /// It is among the relay's that were held up last.
    pub(super) held_up: bool,
}

impl Connection {
    /// A connection whose caller was just accepted.
    pub(super) fn accepted(
        token: Token,
        caller: OwnedFd,
        route: Route,
        wires: &mut Wires,
    ) -> Result<Connection, Errno> {
        sockopt::set_tcp_nodelay(&caller, true)?;
        watch(&wires.epoll, &caller, event_data(Source::Caller, token.to_bits()))?;
        let way = |from, to| {
            let link = wires.link_between(from, to);
            let counter = wires.counter(link, route.tier);
            Way { link, counter, line: Line::new(), counted: 0, alarm: None, waits_for_turn: false, shut: false }
        };
        let (caller_region, server_region) = (route.caller_region, route.server_region);
        let ways = [way(caller_region, server_region), way(server_region, caller_region)];
        let ends = [End::new(Some(caller)), End::new(None)];
        let mut connection = Connection { token, route, ends, ways, held_up: false };
        connection.push_mark(CALLER, Mark::Open, wires);
        connection.schedule(CALLER, wires);
        Ok(connection)
    }

    /// What the kernel reports of the caller's socket.
    pub(super) fn on_caller_event(&mut self, flags: EventFlags, wires: &mut Wires) -> Fate {
        self.on_event(CALLER, flags, wires)
    }

    /// What the kernel reports of the server's socket.
    pub(super) fn on_server_event(&mut self, flags: EventFlags, wires: &mut Wires) -> Fate {
        if self.ends[SERVER].connecting {
            let Some(socket) = &self.ends[SERVER].socket else { return self.fate(wires) };
            match sockopt::socket_error(socket) {
                Ok(Ok(())) if flags.contains(EventFlags::OUT) => {
                    self.ends[SERVER].connecting = false;
                    self.ends[SERVER].writable = true;
                    self.deliver(CALLER, wires);
                }
                Ok(Ok(())) => return self.fate(wires),
                Ok(Err(_)) | Err(_) => {
                    self.refuse(wires);
                    return self.fate(wires);
                }
            }
        }
        self.on_event(SERVER, flags, wires)
    }

    fn on_event(&mut self, end: usize, flags: EventFlags, wires: &mut Wires) -> Fate {
        let state = &mut self.ends[end];
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            state.readable = true;
        }
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP) {
            state.ended = true;
        }
        let new_room = !state.writable && flags.contains(EventFlags::OUT);
        state.writable |= new_room;
        if flags.contains(EventFlags::ERR) {
            self.reset(end, wires);
        }
        self.pump(end, wires, None);
        if new_room {
            self.deliver(1 - end, wires);
        }
        self.fate(wires)
    }

    /// What the alarm of a way is for.
    pub(super) fn on_alarm(&mut self, way: usize, at: Nanos, wires: &mut Wires) -> Fate {
        if self.ways[way].alarm == Some(at) {
            self.ways[way].alarm = None;
            self.deliver(way, wires);
        }
        self.fate(wires)
    }

    /// It is this way's turn to put something on the wire, and was since `since`.
    pub(super) fn on_turn(&mut self, way: usize, since: Nanos, wires: &mut Wires) {
        self.ways[way].waits_for_turn = false;
        self.pump(way, wires, Some(since));
    }

    /// Reads on, after [`Wires::again`].
    pub(super) fn on_again(&mut self, way: usize, wires: &mut Wires) -> Fate {
        self.pump(way, wires, None);
        self.fate(wires)
    }

    /// A link has changed, or was cut or healed. Whoever calls has emptied its queue of those who wait.
    pub(super) fn on_link_changed(&mut self, link: usize, rescale: Option<&Rescale>, wires: &mut Wires) -> Fate {
        for way in [CALLER, SERVER] {
            if self.ways[way].link != link {
                continue;
            }
            self.ways[way].waits_for_turn = false;
            if let Some(rescale) = rescale {
                self.ways[way].line.rescale(rescale);
            }
            self.deliver(way, wires);
            self.pump(way, wires, None);
        }
        self.fate(wires)
    }

    /// Who calls whom.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// Lets nothing pass between the two ends, or again as their regions' links say. What is under way stays.
    pub(super) fn isolate(&mut self, isolated: bool, wires: &mut Wires) -> Fate {
        let (caller, server) = (self.route.caller_region, self.route.server_region);
        for (way, from, to) in [(CALLER, caller, server), (SERVER, server, caller)] {
            let link = if isolated { wires.nowhere() } else { wires.link_between(from, to) };
            if std::mem::replace(&mut self.ways[way].link, link) != link {
                self.ways[way].waits_for_turn = false;
                self.deliver(way, wires);
                self.pump(way, wires, None);
            }
        }
        self.fate(wires)
    }

    /// How many bytes are under way.
    pub(super) fn bytes(&self) -> usize {
        self.ways.iter().map(|way| way.line.bytes()).sum()
    }

    /// Takes what is under way out of the relay's total. To be called when the connection is over.
    pub(super) fn forget(&mut self, wires: &mut Wires) {
        for way in [CALLER, SERVER] {
            self.clear(way, wires);
        }
    }

    /// Reads what the peer at the way's beginning sends, as far as the way takes it.
    ///
    /// What is read in a turn has waited for the wire since the turn was due: it enters the link then, so that a wire
    /// with enough to do does not idle where the machine lets us run late.
    fn pump(&mut self, way: usize, wires: &mut Wires, turn: Option<Nanos>) {
        let mut has_turn = turn.is_some();
        let mut budget = PUMP_BYTES_MAX;
        let link = self.ways[way].link;
        let mut read_any = false;
        loop {
            let end = &self.ends[way];
            let Some(socket) = end.socket.as_ref().filter(|_| end.readable && !end.read_done && !end.connecting) else {
                break;
            };
            let cut = wires.wires[link].link.is_cut();
            if cut || self.ways[way].shut || self.ways[way].line.held() >= wires.window(link) {
                break;
            }
            let now = wires.now();
            let wire = &wires.wires[link];
            if wire.link.is_busy(now) || (!wire.waiting.is_empty() && !has_turn) {
                if !std::mem::replace(&mut self.ways[way].waits_for_turn, true) {
                    wires.wait_for_turn(link, (self.token, way), now);
                }
                break;
            }
            has_turn = false;
            let most = wire.link.quantum().min(wires.buffer.len());
            if budget < most {
                wires.again.push((self.token, way));
                break;
            }
            match rustix::io::read(socket, &mut wires.buffer[..most]) {
                Ok(0) => {
                    self.ends[way].read_done = true;
                    self.push_mark(way, Mark::Finish, wires);
                }
                Ok(count) => {
                    let since = turn.map_or(now, |since| since.max(now.saturating_sub(LATE_NANOS_MAX)).min(now));
                    let ticket = wires.wires[link].link.enter(since, count);
                    self.ways[way].line.push_data(ticket, &wires.buffer[..count]);
                    self.count_held(way, wires);
                    budget = budget.saturating_sub(count);
                    // A short read has emptied the socket, so that whatever comes is a new event; but a FIN that has
                    // been reported already is not reported again.
                    if count < most && !self.ends[way].ended {
                        self.ends[way].readable = false;
                    }
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => self.ends[way].readable = false,
                Err(_) => self.reset(way, wires),
            }
            read_any = true;
        }
        if read_any {
            self.schedule(way, wires);
        }
    }

    /// Hands over what has arrived, and sets the alarm for what has not.
    fn deliver(&mut self, way: usize, wires: &mut Wires) {
        let receiver = 1 - way;
        let link = self.ways[way].link;
        let now = wires.now();
        let mut handed_any = false;
        while !self.ends[receiver].connecting {
            if let Some(mark) = self.ways[way].line.take_mark(&wires.wires[link].link, now) {
                handed_any = true;
                self.count_held(way, wires);
                match mark {
                    Mark::Open => self.call_server(wires),
                    Mark::Finish => self.finish(way),
                    Mark::Reset => return self.drop_end(receiver),
                }
                continue;
            }
            let line = &self.ways[way].line;
            let ready = line.ready(&wires.wires[link].link, now);
            if ready == 0 {
                break;
            }
            let end = &self.ends[receiver];
            let Some(socket) = end.socket.as_ref().filter(|_| end.writable) else {
                if line.ends_in_reset(&wires.wires[link].link, now) {
                    return self.drop_end(receiver);
                }
                break;
            };
            let written = match line.front(ready) {
                (first, []) => rustix::io::write(socket, first),
                (first, second) => rustix::io::writev(socket, &[IoSlice::new(first), IoSlice::new(second)]),
            };
            match written {
                Ok(count) => {
                    handed_any = true;
                    self.ends[receiver].writable = count == ready;
                    let messages = self.ways[way].line.take(count);
                    wires.count(self.ways[way].counter, count, messages);
                    self.count_held(way, wires);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ends[receiver].writable = false,
                Err(_) => return self.reset(receiver, wires),
            }
        }
        self.schedule(way, wires);
        if handed_any {
            self.pump(way, wires, None);
        }
    }

    /// Sets the alarm for the head of a way's line, unless it is set, or waits for the receiver and not for time.
    fn schedule(&mut self, way: usize, wires: &mut Wires) {
        let receiver = &self.ends[1 - way];
        let blocked = receiver.connecting || (receiver.socket.is_some() && !receiver.writable);
        let due = self.ways[way].line.due(&wires.wires[self.ways[way].link].link);
        let Some(due) = due.filter(|due| !blocked || *due > wires.now()) else { return };
        if self.ways[way].alarm != Some(due) {
            self.ways[way].alarm = Some(due);
            wires.set_alarm(due, Alarm::Arrival(self.token, way));
        }
    }

    /// The handshake is over on the caller's side.
    fn call_server(&mut self, wires: &mut Wires) {
        wires.connects += 1;
        let sources = relay_addresses(self.route.caller_region, wires.connects);
        let socket = sockets::connect_nonblocking(sources, self.route.target);
        let watched = socket.and_then(|socket| {
            watch(&wires.epoll, &socket, event_data(Source::Server, self.token.to_bits()))?;
            Ok(socket)
        });
        match watched {
            Ok(socket) => {
                self.ends[SERVER] = End { connecting: true, writable: false, ..End::new(Some(socket)) };
            }
            Err(_) => self.refuse(wires),
        }
    }

    /// The server does not take the call: the caller will hear of it.
    fn refuse(&mut self, wires: &mut Wires) {
        wires.connects_refused += 1;
        self.ends[SERVER] = End::new(None);
        self.ways[CALLER].shut = true;
        self.clear(CALLER, wires);
        self.push_mark(SERVER, Mark::Reset, wires);
        self.schedule(SERVER, wires);
    }

    /// The peer at `end` is gone: nothing can be handed to it any more, and the other end will hear of it.
    fn reset(&mut self, end: usize, wires: &mut Wires) {
        if std::mem::replace(&mut self.ends[end].reset, true) {
            return;
        }
        self.ends[end].read_done = true;
        self.ways[1 - end].shut = true;
        self.clear(1 - end, wires);
        self.push_mark(end, Mark::Reset, wires);
        self.schedule(end, wires);
    }

    /// The way's receiver is told that no more follows.
    fn finish(&mut self, way: usize) {
        if let Some(socket) = &self.ends[1 - way].socket {
            // It fails only if the peer is gone, which is an event of its own.
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
        self.ways[way].shut = true;
    }

    /// Resets the peer at `end`. The one that it talked to is gone already.
    fn drop_end(&mut self, end: usize) {
        if let Some(socket) = self.ends[end].socket.take() {
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        self.ends[end].reset = true;
    }

    /// Whether the connection goes on.
    pub(super) fn fate(&self, wires: &Wires) -> Fate {
        let [caller, server] = &self.ends;
        let cut = |way: &Way| wires.wires[way.link].link.is_cut();
        let orderly = self.ways.iter().all(|way| way.shut && way.line.is_empty());
        let deserted = caller.is_gone() && server.is_gone();
        // TCP would not have made this one: its caller has given up before the handshake was over.
        let never_made = cut(&self.ways[CALLER]) && caller.ended && server.socket.is_none();
        if orderly || deserted || never_made {
            return Fate::Over;
        }
        // A peer that has closed its socket and one that only has no more to say look the same: the latter waits for
        // what the other one sent. Where that was nothing both are taken for gone, or a cluster that keeps trying for
        // an hour would run us out of sockets.
        let quiet = |end: &End| end.ended || end.is_gone();
        let stuck = self.ways.iter().any(cut)
            && self.ways.iter().all(|way| way.shut || cut(way))
            && quiet(caller)
            && quiet(server);
        match stuck {
            false => Fate::Lives,
            true if [CALLER, SERVER].into_iter().any(|way| self.owes(way)) => Fate::HeldUp,
            true => Fate::Over,
        }
    }

    /// Whether there are bytes for the receiver of a way, on the line or not even read.
    fn owes(&self, way: usize) -> bool {
        let end = &self.ends[way];
        let unread = || end.socket.as_ref().filter(|_| !end.read_done).map(rustix::io::ioctl_fionread);
        !self.ways[way].shut && (self.ways[way].line.bytes() > 0 || matches!(unread(), Some(Ok(1..))))
    }

    fn push_mark(&mut self, way: usize, mark: Mark, wires: &mut Wires) {
        let now = wires.now();
        let ticket = wires.wires[self.ways[way].link].link.enter(now, 0);
        self.ways[way].line.push_mark(ticket, mark);
        self.count_held(way, wires);
    }

    fn clear(&mut self, way: usize, wires: &mut Wires) {
        self.ways[way].line.clear();
        self.count_held(way, wires);
    }

    fn count_held(&mut self, way: usize, wires: &mut Wires) {
        let way = &mut self.ways[way];
        let held = way.line.held();
        wires.held = wires.held + held - way.counted;
        way.counted = held;
    }
}

/// Edge-triggered: `readable` and `writable` remember what was reported.
fn watch(epoll: &OwnedFd, socket: &OwnedFd, data: EventData) -> Result<(), Errno> {
    epoll::add(epoll, socket, data, EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET)
}

/// The addresses that servers are called from in a caller's region, beginning with another for each call.
fn relay_addresses(region: usize, call: usize) -> impl Iterator<Item = Ipv4Addr> {
    let count = RELAY_HOSTS.len();
    (0..count).map(move |at| address_in_region(region, RELAY_HOSTS[(call + at) % count]))
}
