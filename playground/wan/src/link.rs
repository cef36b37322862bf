//! One direction between two regions, as arithmetic: when do bytes that enter now arrive?
//!
//! ```text
//!   enter(now, bytes)          waits for the wire        on the wire           on its way
//!   ──────────────────►  until those before have left │ bytes/bandwidth │ rtt/2 + jitter (+ retransmission) ► arrival
//!                                                                       ▲
//!                                                                  Ticket::left
//! ```
//!
//! A [`Ticket`] keeps when its bytes leave the wire, and its luck; what follows from the shape is reckoned whenever
//! somebody asks. So a change of the round trip holds at once for all that is on its way. A change of the bandwidth
//! moves what has not left the wire yet ([`Rescale`]).
//!
//! A cut stops the link's own clock: nothing arrives, and when the link is healed everything goes on where it was, as
//! late as the cut was long. Times of the link are therefore not times of the world; [`Link::arrival`] converts.
//!
//! Invariants: bytes leave in the order in which they entered, at no more than the bandwidth; none arrives earlier than
//! half a round trip after it entered. Not here: the order of arrival, which is kept within each connection
//! ([`crate::line`]) and not between connections, and the waiting of readers while the wire is busy ([`crate::relay`]).

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::shape::Shape;
use crate::units::Bandwidth;

/// Nanoseconds since the relay's start. More than 500 years fit.
pub type Nanos = u64;

/// TCP waits this long before it takes a segment for lost (Linux' minimum).
const RETRANSMISSION_NANOS_MIN: Nanos = 200_000_000;
/// Each retransmission of the same segment waits twice as long as the one before; after so many it gets through.
const RETRANSMISSIONS_MAX: u32 = 7;
/// What one packet carries on an Ethernet.
const SEGMENT_BYTES: u64 = 1448;

/// The wire's queue is fed until it is this long, as a router's buffer would be.
const BACKLOG_NANOS_MAX: Nanos = 20_000_000;
/// One read puts no more than this much time on a wire, so that connections take turns...
const QUANTUM_NANOS: Nanos = 2_000_000;
/// ...and bytes trickle; but not less than a segment, and not more than one read takes.
const QUANTUM_BYTES_MAX: u64 = 256 * 1024;

/// What a connection's direction may hold, at least and at most.
pub const WINDOW_BYTES_MIN: usize = 64 * 1024;
/// See [`WINDOW_BYTES_MIN`].
pub const WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a link without a limit is taken for when windows are reckoned.
const WINDOW_BITS_UNLIMITED: u64 = 10_000_000_000;

/// What became of bytes that entered a link.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// When the last of them leaves the wire, in the link's time.
    left: Nanos,
    /// How much of the jitter it gets, of 2³².
    jitter_luck: u32,
    /// Whether it gets lost, and how often.
    loss_luck: u32,
    segments: u32,
}

/// What a ticket stands for: how far it has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// Once across.
    Across,
    /// Across, back and across again: the three segments of TCP's handshake.
    Handshake,
}

/// How tickets that have not left the wire move when the bandwidth changes; see [`Ticket::rescale`].
#[derive(Clone, Copy, Debug)]
pub struct Rescale {
    at: Nanos,
    old_bits: u64,
    /// `None`: all leave at once.
    new_bits: Option<u64>,
}

impl Rescale {
    fn moved(&self, left: Nanos) -> Nanos {
        let Some(remaining) = left.checked_sub(self.at) else { return left };
        let Some(new_bits) = self.new_bits else { return self.at };
        self.at.saturating_add(scale(remaining, self.old_bits, new_bits))
    }
}

impl Ticket {
    /// Moves the ticket with the rest of the wire's queue. To be called on every ticket of the link.
    pub fn rescale(&mut self, rescale: &Rescale) {
        self.left = rescale.moved(self.left);
    }
}

/// One direction between two regions.
#[derive(Debug)]
pub struct Link {
    shape: Shape,
    original: Shape,
    /// Since when it is cut, in the world's time.
    cut_since: Option<Nanos>,
    /// How long all cuts that are over took together.
    stopped: Nanos,
    /// When the wire has nothing left to send, in the link's time.
    busy_until: Nanos,
    rng: StdRng,
}

impl Link {
    /// A link that is not cut. The same seed and the same calls: the same luck.
    pub fn new(shape: Shape, seed: u64) -> Link {
        let rng = StdRng::seed_from_u64(seed);
        Link { shape, original: shape, cut_since: None, stopped: 0, busy_until: 0, rng }
    }

    /// What the link is like now.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What it was like at first.
    pub fn original(&self) -> Shape {
        self.original
    }

    /// Whether nothing passes.
    pub fn is_cut(&self) -> bool {
        self.cut_since.is_some()
    }

    /// Lets `bytes` enter at `now`: they queue for the wire behind all that entered before.
    pub fn enter(&mut self, now: Nanos, bytes: usize) -> Ticket {
        let bytes = bytes as u64;
        let start = self.clock(now).max(self.busy_until);
        let left = start.saturating_add(self.wire_time(bytes));
        self.busy_until = left;
        let segments = u32::try_from(bytes.div_ceil(SEGMENT_BYTES)).unwrap_or(u32::MAX).max(1);
        Ticket { left, jitter_luck: self.rng.random(), loss_luck: self.rng.random(), segments }
    }

    /// When the bytes of `ticket` arrive, in the world's time; `None` as long as the link is cut.
    pub fn arrival(&self, ticket: &Ticket, trip: Trip) -> Option<Nanos> {
        if self.is_cut() {
            return None;
        }
        let rtt = self.shape.rtt.nanos();
        let way = match trip {
            Trip::Across => rtt.div_ceil(2),
            Trip::Handshake => rtt + rtt.div_ceil(2),
        };
        let jitter = (u128::from(self.shape.jitter.nanos()) * u128::from(ticket.jitter_luck)) >> 32;
        let late = way + jitter as u64 + self.retransmission(ticket);
        Some(ticket.left.saturating_add(late).saturating_add(self.stopped))
    }

    /// How long the wire's queue is.
    pub fn backlog(&self, now: Nanos) -> Nanos {
        self.busy_until.saturating_sub(self.clock(now))
    }

    /// Whether the wire has enough to do, so that readers had better wait.
    pub fn is_busy(&self, now: Nanos) -> bool {
        self.backlog(now) > BACKLOG_NANOS_MAX
    }

    /// When those who wait for the wire are to try again, in the world's time: while it still has something to do.
    pub fn next_turn(&self, now: Nanos) -> Nanos {
        now + self.backlog(now).saturating_sub(BACKLOG_NANOS_MAX / 2)
    }

    /// How many bytes to read at once.
    pub fn quantum(&self) -> usize {
        let bytes = match self.shape.bandwidth {
            Bandwidth::Unlimited => QUANTUM_BYTES_MAX,
            Bandwidth::Bits(bits) => scale(QUANTUM_NANOS, bits, 8_000_000_000).clamp(SEGMENT_BYTES, QUANTUM_BYTES_MAX),
        };
        bytes as usize
    }

    /// How many bytes one connection may have under way, waiting for the wire or not taken by its receiver: what fills
    /// the link and a little more, as TCP's window would. Its sender is not read from beyond that.
    pub fn window(&self) -> usize {
        let way = (self.shape.rtt.nanos() / 2).saturating_add(self.shape.jitter.nanos());
        let filled = match self.shape.bandwidth {
            Bandwidth::Unlimited => scale(way, WINDOW_BITS_UNLIMITED, 8_000_000_000),
            // What waits for the wire, and as much again for a receiver that is woken late.
            Bandwidth::Bits(bits) => scale(way + 2 * BACKLOG_NANOS_MAX, bits, 8_000_000_000),
        };
        usize::try_from(filled).unwrap_or(usize::MAX).saturating_add(WINDOW_BYTES_MIN).min(WINDOW_BYTES_MAX)
    }

    /// Changes the shape. What comes back has to be applied to every ticket of this link.
    #[must_use]
    pub fn set_shape(&mut self, now: Nanos, shape: Shape) -> Option<Rescale> {
        let old = std::mem::replace(&mut self.shape, shape);
        // Nothing waits for a wire without a limit.
        let Bandwidth::Bits(old_bits) = old.bandwidth else { return None };
        let new_bits = match shape.bandwidth {
            Bandwidth::Bits(bits) if bits == old_bits => return None,
            Bandwidth::Bits(bits) => Some(bits),
            Bandwidth::Unlimited => None,
        };
        let rescale = Rescale { at: self.clock(now), old_bits, new_bits };
        self.busy_until = rescale.moved(self.busy_until);
        Some(rescale)
    }

    /// Lets nothing pass any more.
    pub fn cut(&mut self, now: Nanos) {
        self.cut_since.get_or_insert(now);
    }

    /// Ends a cut.
    pub fn heal(&mut self, now: Nanos) {
        if let Some(since) = self.cut_since.take() {
            self.stopped += now.saturating_sub(since);
        }
    }

    /// The link's time: it stands still during a cut.
    fn clock(&self, now: Nanos) -> Nanos {
        self.cut_since.unwrap_or(now).saturating_sub(self.stopped)
    }

    fn wire_time(&self, bytes: u64) -> Nanos {
        match self.shape.bandwidth {
            Bandwidth::Unlimited => 0,
            Bandwidth::Bits(bits) => scale(bytes, 8_000_000_000, bits),
        }
    }

    /// How long the ticket's connection waits as one of its segments got lost.
    ///
    /// Segments that are lost together are sent again together. What is sent again can get lost again.
    fn retransmission(&self, ticket: &Ticket) -> Nanos {
        let loss = self.shape.loss.probability();
        if loss == 0.0 {
            return 0;
        }
        let luck = f64::from(ticket.loss_luck) / 2f64.powi(32);
        let mut lost = 1.0 - (1.0 - loss).powf(f64::from(ticket.segments));
        let mut times = 0;
        while luck < lost && times < RETRANSMISSIONS_MAX {
            times += 1;
            lost *= loss;
        }
        RETRANSMISSION_NANOS_MIN.max(self.shape.rtt.nanos()) * ((1 << times) - 1)
    }
}

/// `value * by / over`, rounded up.
fn scale(value: u64, by: u64, over: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(by)).div_ceil(u128::from(over));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::ShapeChange;
    use crate::units::Delay;

    const MS: Nanos = 1_000_000;

    fn shape(rtt_ms: u64, bandwidth: &str) -> Shape {
        let bandwidth = bandwidth.parse().expect("a bandwidth");
        Shape { rtt: Delay::from_millis(rtt_ms), bandwidth, ..Shape::default() }
    }

    /// When bytes arrive that enter at once.
    fn arrives(link: &mut Link, bytes: usize) -> Nanos {
        let ticket = link.enter(0, bytes);
        link.arrival(&ticket, Trip::Across).expect("not cut")
    }

    #[test]
    fn bytes_take_their_time_on_the_wire_and_half_a_round_trip() {
        let mut link = Link::new(shape(80, "8mbit"), 0);
        let first = link.enter(5 * MS, 1_000);
        let second = link.enter(5 * MS, 2_000);
        assert_eq!(link.arrival(&first, Trip::Across), Some(5 * MS + MS + 40 * MS));
        assert_eq!(link.arrival(&second, Trip::Across), Some(5 * MS + 3 * MS + 40 * MS));
        assert_eq!(link.backlog(6 * MS), 2 * MS);
        let handshake = link.enter(100 * MS, 0);
        assert_eq!(link.arrival(&handshake, Trip::Handshake), Some(100 * MS + 120 * MS));
    }

    #[test]
    fn a_change_holds_for_what_is_on_its_way() {
        let mut link = Link::new(shape(10_000, "unlimited"), 0);
        let ticket = link.enter(0, 1_000);
        assert_eq!(link.arrival(&ticket, Trip::Across), Some(5_000 * MS));
        assert!(link.set_shape(10 * MS, shape(2, "unlimited")).is_none());
        assert_eq!(link.arrival(&ticket, Trip::Across), Some(MS));
    }

    #[test]
    fn a_change_of_the_bandwidth_moves_what_waits_for_the_wire() {
        let mut link = Link::new(shape(0, "8kbit"), 0);
        let mut left = link.enter(0, 1);
        let mut waits = link.enter(0, 999);
        assert_eq!(link.arrival(&waits, Trip::Across), Some(1_000 * MS));
        let rescale = link.set_shape(200 * MS, shape(0, "80kbit")).expect("tickets move");
        for ticket in [&mut left, &mut waits] {
            ticket.rescale(&rescale);
        }
        assert_eq!(link.arrival(&left, Trip::Across), Some(MS));
        assert_eq!(link.arrival(&waits, Trip::Across), Some(280 * MS));
        assert_eq!(link.backlog(200 * MS), 80 * MS);
        let rescale = link.set_shape(210 * MS, shape(0, "unlimited")).expect("tickets move");
        waits.rescale(&rescale);
        assert_eq!(link.arrival(&waits, Trip::Across), Some(210 * MS));
        assert_eq!(link.backlog(210 * MS), 0);
    }

    #[test]
    fn a_cut_stops_the_clock() {
        let mut link = Link::new(shape(80, "8mbit"), 0);
        let early = link.enter(0, 1_000);
        link.cut(10 * MS);
        link.cut(50 * MS); // cut already
        assert!(link.is_cut());
        assert_eq!(link.arrival(&early, Trip::Across), None);
        let during = link.enter(500 * MS, 1_000);
        link.heal(1_010 * MS);
        link.heal(2_000 * MS); // healed already
        assert_eq!(link.arrival(&early, Trip::Across), Some(1_041 * MS));
        assert_eq!(link.arrival(&during, Trip::Across), Some(1_010 * MS + 41 * MS));
    }

    #[test]
    fn what_is_lost_comes_by_a_retransmission() {
        let change = ShapeChange { loss: Some("10%".parse().expect("a loss")), ..ShapeChange::default() };
        let mut link = Link::new(shape(80, "unlimited").with(change), 7);
        let late: Vec<Nanos> = (0..10_000).map(|_| arrives(&mut link, 100) - 40 * MS).collect();
        let count = |expect| late.iter().filter(|late| **late == expect).count();
        let (once, twice) = (count(200 * MS), count(600 * MS));
        assert!((800..1_000).contains(&once), "{once} of 10,000 were lost once");
        assert!((60..130).contains(&twice), "{twice} of 10,000 were lost twice");
        // Of ten segments one in three pieces loses some.
        let some = (0..1_000).filter(|_| arrives(&mut link, 14_480) > 40 * MS).count();
        assert!((590..710).contains(&some), "{some} of 1,000 were lost");
    }

    #[test]
    fn jitter_adds_up_to_itself() {
        let change = ShapeChange { jitter: Some(Delay::from_millis(10)), ..ShapeChange::default() };
        let mut link = Link::new(shape(80, "unlimited").with(change), 7);
        let arrivals: Vec<Nanos> = (0..1_000).map(|_| arrives(&mut link, 1)).collect();
        let (min, max) = (arrivals.iter().min().expect("some"), arrivals.iter().max().expect("some"));
        assert!((40 * MS..41 * MS).contains(min) && (49 * MS..50 * MS).contains(max), "{min}..{max}");
    }

    #[test]
    fn windows_fill_the_link_within_bounds() {
        let window = |rtt_ms, bandwidth| Link::new(shape(rtt_ms, bandwidth), 0).window();
        assert_eq!(window(0, "unlimited"), WINDOW_BYTES_MIN);
        assert_eq!(window(100, "800mbit"), 9_000_000 + WINDOW_BYTES_MIN);
        assert_eq!(window(10_000, "1000gbit"), WINDOW_BYTES_MAX);
        assert_eq!(window(10_000, "unlimited"), WINDOW_BYTES_MAX);
        let quantum = |bandwidth| Link::new(shape(1, bandwidth), 0).quantum();
        assert_eq!((quantum("1kbit"), quantum("80mbit"), quantum("unlimited")), (1448, 20_000, 256 * 1024));
    }
}
