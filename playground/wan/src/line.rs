//! The delay line of one direction of one connection: what was read and is not handed over yet, in order.
//!
//! ```text
//!   push ──► [data 900] [data 120] [finish] ──► due, take
//!            one ring of bytes: 1020
//! ```
//!
//! Nothing arrives before what went in earlier: only the head is ever asked for its time, so a piece that was lost or
//! had bad luck holds up all behind it, as TCP does.

use std::collections::VecDeque;

use crate::link::{Link, Nanos, Rescale, Ticket, Trip};

/// What a piece costs beside its bytes, so that many small ones are bounded too.
const PIECE_COST: usize = 32;
/// An empty ring larger than this gives its memory back.
const RING_BYTES_KEPT: usize = 256 * 1024;
/// As much is handed over at once.
const READY_BYTES_MAX: usize = 1024 * 1024;

/// What travels in order with the bytes, and is not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The connection is being made.
    Open,
    /// No more bytes follow (FIN).
    Finish,
    /// The connection is gone (RST).
    Reset,
}

#[derive(Debug)]
enum Piece {
    Data { left: usize },
    Mark(Mark),
}

/// A delay line. All its tickets are of one link.
#[derive(Debug, Default)]
pub struct Line {
    pieces: VecDeque<(Ticket, Piece)>,
    bytes: VecDeque<u8>,
}

impl Line {
    /// An empty line.
    pub fn new() -> Line {
        Line::default()
    }

    /// Appends bytes that entered the link with this ticket.
    pub fn push_data(&mut self, ticket: Ticket, data: &[u8]) {
        assert!(!data.is_empty(), "a piece without bytes would never be handed over");
        self.bytes.extend(data);
        self.pieces.push_back((ticket, Piece::Data { left: data.len() }));
    }

    /// Appends a mark.
    pub fn push_mark(&mut self, ticket: Ticket, mark: Mark) {
        self.pieces.push_back((ticket, Piece::Mark(mark)));
    }

    /// How many bytes are on the line.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is on the line, not even a mark.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How much of a window is used up.
    pub fn held(&self) -> usize {
        self.bytes.len() + self.pieces.len() * PIECE_COST
    }

    /// When the head arrives; `None` if nothing is on the line, or its link is cut.
    pub fn due(&self, link: &Link) -> Option<Nanos> {
        self.pieces.front().and_then(|(ticket, piece)| arrival(link, ticket, piece))
    }

    /// How many bytes have arrived at the head of the line.
    pub fn ready(&self, link: &Link, now: Nanos) -> usize {
        let mut ready = 0;
        for (ticket, piece) in &self.pieces {
            match piece {
                Piece::Data { left } if ready < READY_BYTES_MAX && is_due(link, ticket, piece, now) => ready += left,
                _ => break,
            }
        }
        ready
    }

    /// The first `count` bytes.
    pub fn front(&self, count: usize) -> (&[u8], &[u8]) {
        let (first, second) = self.bytes.as_slices();
        match count.checked_sub(first.len()) {
            Some(rest) => (first, &second[..rest]),
            None => (&first[..count], &[]),
        }
    }

    /// Removes the first `count` bytes; says how many pieces they complete.
    pub fn take(&mut self, count: usize) -> u64 {
        self.bytes.drain(..count);
        if self.bytes.is_empty() && self.bytes.capacity() > RING_BYTES_KEPT {
            self.bytes = VecDeque::new();
        }
        let mut remaining = count;
        let mut complete = 0;
        while remaining > 0 {
            let (_, piece) = self.pieces.front_mut().expect("every byte is in a piece");
            let Piece::Data { left } = piece else { panic!("a mark came before {remaining} taken bytes") };
            if *left > remaining {
                *left -= remaining;
                break;
            }
            remaining -= *left;
            self.pieces.pop_front();
            complete += 1;
        }
        complete
    }

    /// Removes the mark at the head if it has arrived.
    pub fn take_mark(&mut self, link: &Link, now: Nanos) -> Option<Mark> {
        let (ticket, piece) = self.pieces.front()?;
        let Piece::Mark(mark) = *piece else { return None };
        if !is_due(link, ticket, piece, now) {
            return None;
        }
        self.pieces.pop_front();
        Some(mark)
    }

    /// Whether the line ends in a reset that has arrived: then what is before it does not matter any more.
    pub fn ends_in_reset(&self, link: &Link, now: Nanos) -> bool {
        let reset = |(ticket, piece): &(Ticket, Piece)| {
            matches!(piece, Piece::Mark(Mark::Reset)) && is_due(link, ticket, piece, now)
        };
        self.pieces.back().is_some_and(reset)
    }

    /// Moves what has not left the wire, after a change of the bandwidth.
    pub fn rescale(&mut self, rescale: &Rescale) {
        self.pieces.iter_mut().for_each(|(ticket, _)| ticket.rescale(rescale));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Line::new();
    }
}

fn is_due(link: &Link, ticket: &Ticket, piece: &Piece, now: Nanos) -> bool {
    arrival(link, ticket, piece).is_some_and(|due| due <= now)
}

fn arrival(link: &Link, ticket: &Ticket, piece: &Piece) -> Option<Nanos> {
    let trip = match piece {
        Piece::Mark(Mark::Open) => Trip::Handshake,
        Piece::Data { .. } | Piece::Mark(Mark::Finish | Mark::Reset) => Trip::Across,
    };
    link.arrival(ticket, trip)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shape::Shape;
    use crate::units::{Bandwidth, Delay};

    const MS: Nanos = 1_000_000;

    #[test]
    fn what_is_due_is_taken_in_order() {
        let mut link = Link::new(Shape::of_rtt(Delay::from_millis(20)), 0);
        let mut line = Line::new();
        line.push_mark(link.enter(0, 0), Mark::Open);
        line.push_data(link.enter(MS, 3), b"abc");
        line.push_data(link.enter(2 * MS, 2), b"de");
        line.push_mark(link.enter(100 * MS, 0), Mark::Finish);
        assert_eq!(line.due(&link), Some(30 * MS));
        assert_eq!((line.ready(&link, 30 * MS), line.take_mark(&link, 29 * MS)), (0, None));
        assert_eq!(line.take_mark(&link, 30 * MS), Some(Mark::Open));
        assert_eq!(line.ready(&link, 30 * MS), 5);
        assert_eq!(line.front(4).0, b"abcd");
        assert_eq!((line.take(4), line.take(1)), (1, 1));
        assert_eq!((line.take_mark(&link, 109 * MS), line.due(&link)), (None, Some(110 * MS)));
        link.cut(105 * MS);
        assert_eq!((line.take_mark(&link, 110 * MS), line.due(&link)), (None, None));
        link.heal(205 * MS);
        assert_eq!(line.take_mark(&link, 210 * MS), Some(Mark::Finish));
        assert_eq!((line.held(), line.due(&link)), (0, None));
    }

    #[test]
    fn a_reset_overtakes_what_the_receiver_does_not_take() {
        let mut link = Link::new(Shape::of_rtt(Delay::from_millis(20)), 0);
        let mut line = Line::new();
        line.push_data(link.enter(0, 3), b"abc");
        line.push_mark(link.enter(5 * MS, 0), Mark::Reset);
        assert!(!line.ends_in_reset(&link, 14 * MS) && line.ends_in_reset(&link, 15 * MS));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Send { connection: usize, bytes: usize },
        Shape(Shape),
        Cut,
        Heal,
    }

    fn a_shape() -> impl Strategy<Value = Shape> {
        let bandwidth = prop_oneof![Just(Bandwidth::Unlimited), (10_000..10_000_000_000u64).prop_map(Bandwidth::Bits)];
        (0..500_000u64, 0..20_000u64, bandwidth, 0..50u32).prop_map(|(rtt, jitter, bandwidth, loss)| Shape {
            rtt: Delay::from_micros(rtt),
            jitter: Delay::from_micros(jitter),
            bandwidth,
            loss: format!("{loss}%").parse().expect("a loss"),
        })
    }

    fn an_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..3usize, 1..100_000usize).prop_map(|(connection, bytes)| Op::Send { connection, bytes }),
            1 => a_shape().prop_map(Op::Shape),
            1 => Just(Op::Cut),
            1 => Just(Op::Heal),
        ]
    }

    /// What the shell does, with a clock that jumps to whatever comes next.
    struct World {
        now: Nanos,
        link: Link,
        lines: [Line; 3],
        /// By connection: when each piece entered and how long it is.
        sent: [Vec<(Nanos, usize)>; 3],
        /// When, on which connection, how many.
        arrived: Vec<(Nanos, usize, usize)>,
    }

    impl World {
        fn new(shape: Shape, seed: u64) -> World {
            let (lines, sent) = (Default::default(), Default::default());
            World { now: 0, link: Link::new(shape, seed), lines, sent, arrived: Vec::new() }
        }

        fn apply(&mut self, op: Op) {
            match op {
                Op::Send { connection, bytes } => {
                    let ticket = self.link.enter(self.now, bytes);
                    // Bytes tell where they are in their connection.
                    let before: usize = self.sent[connection].iter().map(|(_, bytes)| bytes).sum();
                    let data: Vec<u8> = (before..before + bytes).map(|at| (at % 251) as u8).collect();
                    self.lines[connection].push_data(ticket, &data);
                    self.sent[connection].push((self.now, bytes));
                }
                Op::Shape(shape) => {
                    if let Some(rescale) = self.link.set_shape(self.now, shape) {
                        self.lines.iter_mut().for_each(|line| line.rescale(&rescale));
                    }
                }
                Op::Cut => self.link.cut(self.now),
                Op::Heal => self.link.heal(self.now),
            }
        }

        fn run_until(&mut self, end: Nanos) {
            loop {
                let due = (0..3).filter_map(|line| Some((self.lines[line].due(&self.link)?, line))).min();
                let Some((due, line)) = due.filter(|(due, _)| *due <= end) else { break };
                self.now = self.now.max(due);
                let ready = self.lines[line].ready(&self.link, self.now);
                assert!(ready > 0, "something was due");
                let before: usize = self.arrived.iter().filter(|(_, l, _)| *l == line).map(|(_, _, bytes)| bytes).sum();
                let (first, second) = self.lines[line].front(ready);
                for (at, byte) in first.iter().chain(second).enumerate() {
                    assert_eq!(usize::from(*byte), (before + at) % 251, "bytes are in order");
                }
                self.lines[line].take(ready);
                self.arrived.push((self.now, line, ready));
            }
            self.now = self.now.max(end);
        }
    }

    proptest! {
        /// Whatever happens to the link, every connection's bytes arrive complete and in order, nothing arrives during
        /// a cut, and all arrives once the link is healed.
        #[test]
        fn every_byte_arrives_in_order(
            shape in a_shape(),
            seed: u64,
            ops in prop::collection::vec((an_op(), 0..50 * MS), 1..60),
        ) {
            let mut world = World::new(shape, seed);
            for (op, pause) in ops {
                world.apply(op);
                let before = world.arrived.len();
                world.run_until(world.now + pause);
                prop_assert!(!world.link.is_cut() || world.arrived.len() == before, "arrived during a cut");
            }
            world.apply(Op::Heal);
            world.run_until(Nanos::MAX / 2);
            for (connection, sent) in world.sent.iter().enumerate() {
                let sent: usize = sent.iter().map(|(_, bytes)| bytes).sum();
                let arrived: usize =
                    world.arrived.iter().filter(|(_, c, _)| *c == connection).map(|(_, _, bytes)| bytes).sum();
                prop_assert_eq!(arrived, sent);
            }
        }

        /// No piece arrives earlier than half a round trip after it was sent, nor do all together faster than the wire.
        #[test]
        fn no_byte_is_too_early(
            shape in a_shape(),
            seed: u64,
            sends in prop::collection::vec((0..3usize, 1..100_000usize, 0..20 * MS), 1..60),
        ) {
            let mut world = World::new(shape, seed);
            for (connection, bytes, pause) in sends {
                world.apply(Op::Send { connection, bytes });
                world.run_until(world.now + pause);
            }
            world.run_until(Nanos::MAX / 2);
            let way = shape.rtt.nanos() / 2;
            for (connection, sent) in world.sent.iter().enumerate() {
                // At each arrival, the last byte that has arrived was sent at least half a round trip before.
                let mut total = 0;
                for (at, _, bytes) in world.arrived.iter().filter(|(_, c, _)| *c == connection) {
                    total += bytes;
                    let mut position = 0;
                    let last = sent.iter().find(|(_, bytes)| { position += bytes; position >= total });
                    prop_assert!(last.expect("it was sent").0 + way <= *at);
                }
            }
            if let Bandwidth::Bits(bits) = shape.bandwidth {
                let mut total = 0u128;
                for (at, _, bytes) in &world.arrived {
                    total += *bytes as u128;
                    let nanos = u128::from(at - way);
                    prop_assert!(total * 8_000_000_000 <= nanos * u128::from(bits), "{total} bytes by {at}");
                }
            }
        }
    }
}
