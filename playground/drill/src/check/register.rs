//! The judge of registers: every row is linearizable. Polynomial, because every write has a value of its own
//! (Gibbons and Korach, "Testing shared memories", 1997), extended by compare-and-set.
//!
//! A value's *cluster* is its write and the reads that saw it. In a linearization clusters follow each other as blocks,
//! so all that has to be found is their order. Let `first_end` be the earliest completion in a cluster and `last_begin`
//! the latest invocation:
//!
//! ```text
//!   A must come before B   if   A.first_end < B.last_begin     (something of A ended before something of B began)
//! ```
//!
//! An order exists if and only if no two clusters must come before each other: of a longer cycle, the member with the
//! greatest `last_begin` already is in one of two. A compare-and-set that found `a` and wrote `b` ties b's cluster
//! directly behind a's; tied clusters are one block with an order inside.
//!
//! Writes of unknown outcome whose value nobody saw are left out (they may never have happened, and nobody depends on
//! it); seen ones happened, and have no end. A failed compare-and-set is left out: it tells only that the value was
//! another.

use std::collections::BTreeMap;

use super::Findings;
use crate::history::{Call, Final, Op, Outcome, Rows};
use crate::workload::register::INITIAL;

/// One operation on one row.
#[derive(Clone, Debug)]
struct Event {
    begin: u64,
    end: u64,
    /// The value that it saw: reads and compare-and-sets.
    saw: Option<u64>,
    /// The value that it wrote.
    wrote: Option<u64>,
    acknowledged: bool,
    who: String,
}

/// A value's write and reads, or several tied ones.
#[derive(Clone, Debug)]
struct Block {
    values: Vec<u64>,
    first_end: u64,
    last_begin: u64,
    first_end_who: String,
    last_begin_who: String,
}

impl Block {
    fn must_precede(&self, other: &Block) -> bool {
        self.first_end < other.last_begin
    }

    fn join(&mut self, other: Block) {
        self.values.extend(other.values);
        if other.first_end < self.first_end {
            (self.first_end, self.first_end_who) = (other.first_end, other.first_end_who);
        }
        if other.last_begin > self.last_begin {
            (self.last_begin, self.last_begin_who) = (other.last_begin, other.last_begin_who);
        }
    }
}

/// Judges a history of registers.
pub fn check(ops: &[Op], finals: &[Final]) -> Findings {
    let mut rows: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
    for op in ops {
        let (key, saw, wrote) = match op.call {
            Call::Get { key, value } if op.is_ok() => (key, value, None),
            Call::Put { key, value } => (key, None, Some(value)),
            Call::Cas { key, expect, value } => (key, Some(expect), Some(value)),
            _ => continue,
        };
        // Failed writes stay, marked by an end before their begin, so that whoever saw one is found out.
        let end = match op.outcome {
            Outcome::Ok => op.complete_us,
            Outcome::Unknown(_) => u64::MAX,
            Outcome::Fail(_) => 0,
        };
        let event = Event { begin: op.invoke_us, end, saw, wrote, acknowledged: op.is_ok(), who: op.whence() };
        rows.entry(key).or_default().push(event);
    }
    let mut twice = Vec::new();
    for last in finals {
        let Rows::Register { values } = &last.rows else { continue };
        let mut seen = std::collections::BTreeSet::new();
        for (key, value) in values {
            if !seen.insert(*key) {
                twice.push(format!("{}: row {key} is there more than once", last.server));
            }
            rows.entry(*key).or_default().push(Event {
                begin: last.invoke_us,
                end: last.complete_us,
                saw: Some(*value),
                wrote: None,
                acknowledged: true,
                who: format!("the last read through {}", last.server),
            });
        }
        for key in rows.keys().filter(|key| !seen.contains(key)) {
            twice.push(format!("{}: row {key} is gone", last.server));
        }
    }
    let mut findings = Findings::default();
    let (mut wrong, mut operations) = (Vec::new(), 0);
    for (key, events) in &rows {
        operations += events.len();
        let last_read = events.iter().filter(|e| e.who.starts_with("the last read")).filter_map(|e| e.saw).next_back();
        wrong.extend(row(*key, events, last_read, &mut findings.lost));
    }
    findings.claim("every row is linearizable", format!("{operations} operations on {} rows", rows.len()), wrong);
    findings.claim("every row is there, once", format!("{} rows", rows.len()), twice);
    findings
}

fn row(key: u32, events: &[Event], last_read: Option<u64>, lost: &mut u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let writers: BTreeMap<u64, &Event> = events.iter().filter_map(|e| Some((e.wrote?, e))).collect();
    // Who saw a value: a read, or a compare-and-set that was acknowledged or whose own value was seen.
    let mut seen: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for e in events.iter().filter(|e| e.wrote.is_none()) {
        seen.entry(e.saw.expect("a read without an answer is left out")).or_default().push(e);
    }
    // Unknown compare-and-sets that happened make their expectation seen, which may make another one have happened.
    let mut pending: Vec<&Event> = events.iter().filter(|e| e.saw.is_some() && e.wrote.is_some()).collect();
    loop {
        let (happened, rest): (Vec<&Event>, Vec<&Event>) = pending
            .into_iter()
            .partition(|e| e.acknowledged || (e.end != 0 && e.wrote.is_some_and(|v| seen.contains_key(&v))));
        pending = rest;
        if happened.is_empty() {
            break;
        }
        for e in happened {
            seen.entry(e.saw.expect("a compare-and-set")).or_default().push(e);
        }
    }

    let mut blocks: BTreeMap<u64, Block> = BTreeMap::new();
    let initial = Event {
        begin: 0,
        end: 0,
        saw: None,
        wrote: Some(INITIAL),
        acknowledged: true,
        who: "the table's creation".to_owned(),
    };
    let mut tied: BTreeMap<u64, u64> = BTreeMap::new();
    for (value, writer) in writers.iter().map(|(v, w)| (*v, *w)).chain([(INITIAL, &initial)]) {
        let readers = seen.get(&value).map_or(&[][..], Vec::as_slice);
        let is_initial = value == INITIAL;
        if writer.end == 0 && !is_initial {
            for reader in readers {
                wrong.push(format!("row {key}: {} saw {value}, whose write by {} failed", reader.who, writer.who));
            }
            continue;
        }
        if !writer.acknowledged && readers.is_empty() {
            continue;
        }
        let mut block = Block {
            values: vec![value],
            first_end: writer.end,
            last_begin: writer.begin,
            first_end_who: writer.who.clone(),
            last_begin_who: writer.who.clone(),
        };
        for reader in readers {
            if reader.end < writer.begin {
                wrong.push(format!("row {key}: {} saw {value} before {} wrote it", reader.who, writer.who));
            }
            if let Some(next) = reader.wrote {
                if let Some(other) = tied.insert(value, next) {
                    wrong.push(format!("row {key}: {other} and {next} were both set in the place of {value}"));
                }
                // It belongs to the cluster of its own value.
                continue;
            }
            block.join(Block {
                values: vec![],
                first_end: reader.end,
                last_begin: reader.begin,
                first_end_who: reader.who.clone(),
                last_begin_who: reader.who.clone(),
            });
        }
        blocks.insert(value, block);
    }
    for (value, readers) in &seen {
        if *value != INITIAL && !writers.contains_key(value) {
            wrong.push(format!("row {key}: {} saw {value}, which nobody wrote", readers[0].who));
        }
    }

    // Tie the chains together, checking the order inside as it grows.
    let second: std::collections::BTreeSet<u64> = tied.values().copied().collect();
    let mut chains: Vec<Block> = Vec::new();
    let heads: Vec<u64> = blocks.keys().copied().filter(|v| !second.contains(v)).collect();
    for head in heads {
        let Some(mut chain) = blocks.remove(&head) else { continue };
        let mut last = head;
        while let Some(next) = tied.get(&last).copied() {
            let Some(block) = blocks.remove(&next) else { break };
            if block.must_precede(&chain) {
                wrong.push(contradiction(key, &block, &chain));
            }
            chain.join(block);
            last = next;
        }
        chains.push(chain);
    }
    if let Some(value) = blocks.keys().next() {
        wrong.push(format!("row {key}: a circle of compare-and-sets through {value}"));
    }

    let ends_with = last_read.and_then(|value| chains.iter().find(|c| c.values.last() == Some(&value)));
    for (i, a) in chains.iter().enumerate() {
        for b in &chains[i + 1..] {
            if a.must_precede(b) && b.must_precede(a) {
                wrong.push(contradiction(key, a, b));
            }
        }
        // The last read saw `ends_with`, so whatever was written after it and acknowledged is lost.
        if let Some(end) = ends_with
            && !std::ptr::eq(a, end)
        {
            let begins_after =
                |v: &u64| writers.get(v).is_some_and(|w| w.acknowledged && writer_end(&writers, end) < w.begin);
            *lost += a.values.iter().filter(|v| begins_after(v)).count() as u64;
        }
    }
    wrong
}

/// When the write of a block's last value was over.
fn writer_end(writers: &BTreeMap<u64, &Event>, block: &Block) -> u64 {
    let last = block.values.last().expect("a block has a value");
    writers.get(last).map_or(0, |w| w.end)
}

fn contradiction(key: u32, a: &Block, b: &Block) -> String {
    format!(
        "row {key}: {:?} and {:?} have no order: {} ({:?}) ended before {} ({:?}) began, and {} ended before {} began",
        a.values.first().expect("a block has a value"),
        b.values.first().expect("a block has a value"),
        a.first_end_who,
        a.values.first().expect("a block has a value"),
        b.last_begin_who,
        b.values.first().expect("a block has a value"),
        b.first_end_who,
        a.last_begin_who,
    )
}
