//! What the connections of a relay share: the links, the alarms, the counters, one buffer to read into.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rustix::fd::OwnedFd;
use rustix::time::{ClockId, clock_gettime};

use super::slab::Token;
use crate::config::{Regions, Tier};
use crate::link::{Link, Nanos, WINDOW_BYTES_MIN};
use crate::shape::Shape;

/// The largest read.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Beyond this many bytes in all connections together each gets its smallest window.
const HELD_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What an alarm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The head of a connection's direction arrives.
    Arrival(Token, usize),
    /// Those who wait for a link's wire may read on.
    Turn(usize),
    /// Listeners that could not accept try again.
    Accept,
}

/// A link with those who wait until its wire is less busy, first come first served.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: Link,
    /// Invariant: while somebody waits, `turn` is set.
    pub(super) waiting: VecDeque<(Token, usize)>,
    turn: Option<Nanos>,
}

/// What has passed one way for one tier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    pub(super) bytes: u64,
    pub(super) messages: u64,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) epoll: OwnedFd,
    started: u128,
    regions: usize,
    /// From region `a` to `b` at `a * regions + b`; behind them one that is cut for ever.
    pub(super) wires: Vec<Wire>,
    /// Earliest first. An alarm that its owner has forgotten, or set anew, stays in and does nothing.
    alarms: BinaryHeap<Reverse<(Nanos, Alarm)>>,
    /// Whoever has read enough for now, though there is more.
    pub(super) again: Vec<(Token, usize)>,
    /// Like `wires`, for each tier.
    passed: Vec<Passed>,
    pub(super) messages: u64,
    /// Bytes on all lines, with what pieces cost.
    pub(super) held: usize,
    pub(super) connects_refused: u64,
    /// Grows with each connection to a server, to use source addresses in turn.
    pub(super) connects: usize,
    pub(super) buffer: Vec<u8>,
}

impl Wires {
    pub(super) fn new(epoll: OwnedFd, regions: usize, shapes: &[Shape]) -> Wires {
        let wire = |(at, shape): (usize, &Shape)| Wire {
            link: Link::new(*shape, at as u64),
            waiting: VecDeque::new(),
            turn: None,
        };
        let mut wires: Vec<Wire> = shapes.iter().enumerate().map(wire).collect();
        let mut nowhere = wire((shapes.len(), &Shape::default()));
        nowhere.link.cut(0);
        wires.push(nowhere);
        Wires {
            epoll,
            started: monotonic(),
            regions,
            wires,
            alarms: BinaryHeap::new(),
            again: Vec::new(),
            passed: vec![Passed::default(); shapes.len() * Tier::ALL.len()],
            messages: 0,
            held: 0,
            connects_refused: 0,
            connects: 0,
            buffer: vec![0; READ_BYTES_MAX],
        }
    }

    /// The time now.
    pub(super) fn now(&self) -> Nanos {
        (monotonic() - self.started) as Nanos
    }

    /// A time of ours as one of the kernel's monotonic clock.
    pub(super) fn to_kernel(&self, at: Nanos) -> u128 {
        self.started + u128::from(at)
    }

    /// The number of the link between two regions.
    pub(super) fn link_between(&self, from: usize, to: usize) -> usize {
        from * self.regions + to
    }

    /// The number of the link that is cut for ever: where ways lead whose ends are isolated from each other.
    pub(super) fn nowhere(&self) -> usize {
        self.regions * self.regions
    }

    /// Both regions of a link.
    pub(super) fn ends_of(&self, link: usize) -> (usize, usize) {
        (link / self.regions, link % self.regions)
    }

    pub(super) fn set_alarm(&mut self, at: Nanos, alarm: Alarm) {
        self.alarms.push(Reverse((at, alarm)));
    }

    /// When the first alarm is.
    pub(super) fn next_alarm(&self) -> Option<Nanos> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// The first alarm, if it is not after `now`.
    pub(super) fn take_alarm(&mut self, now: Nanos) -> Option<(Nanos, Alarm)> {
        self.next_alarm().filter(|at| *at <= now)?;
        self.alarms.pop().map(|Reverse(alarm)| alarm)
    }

    /// Makes a connection's direction wait for the wire.
    pub(super) fn wait_for_turn(&mut self, link: usize, who: (Token, usize), now: Nanos) {
        self.wires[link].waiting.push_back(who);
        if self.wires[link].turn.is_none() {
            self.set_turn(link, now);
        }
    }

    /// Sets the alarm for those who wait, if any.
    pub(super) fn set_turn(&mut self, link: usize, now: Nanos) {
        let wire = &mut self.wires[link];
        wire.turn = (!wire.waiting.is_empty()).then(|| wire.link.next_turn(now));
        if let Some(at) = wire.turn {
            self.set_alarm(at, Alarm::Turn(link));
        }
    }

    /// Whether an alarm for those who wait is the one that was set last.
    pub(super) fn is_turn(&self, link: usize, at: Nanos) -> bool {
        self.wires[link].turn == Some(at)
    }

    /// What one direction of one connection may hold.
    pub(super) fn window(&self, link: usize) -> usize {
        if self.held > HELD_BYTES_MAX { WINDOW_BYTES_MIN } else { self.wires[link].link.window() }
    }

    /// Where traffic of this link and tier is counted.
    pub(super) fn counter(&self, link: usize, tier: Tier) -> usize {
        link * Tier::ALL.len() + tier as usize
    }

    pub(super) fn count(&mut self, counter: usize, bytes: usize, messages: u64) {
        self.passed[counter].bytes += bytes as u64;
        self.passed[counter].messages += messages;
        self.messages += messages;
    }

    /// What has passed, by link and tier, where anything has.
    pub(super) fn passed(&self, regions: &Regions) -> Vec<(String, String, Tier, Passed)> {
        let passed = self.passed.iter().enumerate().filter(|(_, passed)| passed.bytes > 0);
        let row = |(counter, passed): (usize, &Passed)| {
            let (from, to) = self.ends_of(counter / Tier::ALL.len());
            let tier = Tier::ALL[counter % Tier::ALL.len()];
            (regions.name(from).to_owned(), regions.name(to).to_owned(), tier, *passed)
        };
        passed.map(row).collect()
    }
}

fn monotonic() -> u128 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u128 * 1_000_000_000 + now.tv_nsec as u128
}
