//! What the clients did: every operation with its times, its outcome and what was read or written.
//!
//! Times are microseconds since the drill's clock was started, taken by one process, so that "before" means something
//! across regions: an operation that completed before another was invoked came before it.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Whether an operation can change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It cannot.
    Read,
    /// It can.
    Write,
}

/// What a client knows about the fate of its operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Acknowledged.
    Ok,
    /// It definitely did not happen. The text is MySQL's error number, or a word of ours.
    Fail(String),
    /// It may have happened, may happen later, or never.
    Unknown(String),
}

impl Outcome {
    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        *self == Outcome::Ok
    }

    /// Whether it definitely did not happen.
    pub fn is_fail(&self) -> bool {
        matches!(self, Outcome::Fail(_))
    }

    /// The error, if it is one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Outcome::Ok => None,
            Outcome::Fail(code) | Outcome::Unknown(code) => Some(code),
        }
    }
}

/// One step of a list-append transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Append a value that nobody else appends.
    Append {
        /// The list.
        key: u32,
        /// The value.
        value: u64,
    },
    /// Read a list; `None` when the transaction ended before the answer.
    Read {
        /// The list.
        key: u32,
        /// What was read.
        values: Option<Vec<u64>>,
    },
}

/// What was asked and what was answered. Answers are `None` when there was none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// bank: move money, and log it, in a transaction.
    Transfer {
        /// Unique.
        id: u64,
        /// From this account.
        from: u32,
        /// To this one.
        to: u32,
        /// How much.
        amount: i64,
    },
    /// bank: the sum of all accounts in one snapshot.
    Sum {
        /// Number of accounts and their sum.
        answer: Option<(u64, i64)>,
    },
    /// bank: how often a transfer is in the log.
    Lookup {
        /// The transfer.
        id: u64,
        /// Rows found.
        rows: Option<u64>,
    },
    /// append: a transaction of appends and reads.
    Txn {
        /// Its steps.
        steps: Vec<Step>,
    },
    /// register: read a row.
    Get {
        /// The row.
        key: u32,
        /// Its value.
        value: Option<u64>,
    },
    /// register: overwrite a row.
    Put {
        /// The row.
        key: u32,
        /// A value that nobody else writes.
        value: u64,
    },
    /// register: overwrite a row if it has a certain value. One that found another value is a [`Outcome::Fail`].
    Cas {
        /// The row.
        key: u32,
        /// The value it must have.
        expect: u64,
        /// A value that nobody else writes.
        value: u64,
    },
    /// orders: insert an order with its lines in a transaction.
    Place {
        /// Unique.
        id: u64,
        /// Number of lines.
        lines: u32,
    },
    /// orders: read an order and its lines in one snapshot.
    Look {
        /// The order.
        id: u64,
        /// What was found.
        answer: Option<OrderSeen>,
    },
}

/// An order as one snapshot shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSeen {
    /// Rows with the order's id.
    pub headers: u64,
    /// The number of lines that the header tells; 0 without one.
    pub promised: u64,
    /// Lines found.
    pub lines: u64,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The client.
    pub process: u32,
    /// The region in which the client stands.
    pub region: String,
    /// The SQL server that was asked; empty if none could be reached.
    pub server: String,
    /// Read or write.
    pub kind: Kind,
    /// When it was invoked.
    pub invoke_us: u64,
    /// When the client knew its outcome, or gave up.
    pub complete_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it was.
    #[serde(flatten)]
    pub call: Call,
}

impl Op {
    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        self.outcome.is_ok()
    }

    /// From invocation to completion.
    pub fn latency_us(&self) -> u64 {
        self.complete_us - self.invoke_us
    }

    /// For messages: `client 7 in eu via sql-2 at 12.345 s`.
    pub fn whence(&self) -> String {
        let at = self.invoke_us as f64 / 1e6;
        format!("client {} in {} via {} at {at:.3} s", self.process, self.region, self.server)
    }
}

/// One row of the bank's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogRow {
    /// The transfer.
    pub id: u64,
    /// From this account.
    pub from: u32,
    /// To this one.
    pub to: u32,
    /// How much.
    pub amount: i64,
}

/// All that is in the drill's tables at the end, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "workload", rename_all = "kebab-case")]
pub enum Rows {
    /// bank.
    Bank {
        /// Account and balance.
        balances: Vec<(u32, i64)>,
        /// The log, as it was scanned.
        log: Vec<LogRow>,
    },
    /// append.
    Append {
        /// The lists.
        lists: BTreeMap<u32, Vec<u64>>,
    },
    /// register.
    Register {
        /// The rows, as they were scanned.
        values: Vec<(u32, u64)>,
    },
    /// orders.
    Orders {
        /// Order and number of lines that it tells, as they were scanned.
        headers: Vec<(u64, u64)>,
        /// Order and line number, as they were scanned.
        lines: Vec<(u64, u32)>,
    },
}

/// What was read at the end through one SQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// The server.
    pub server: String,
    /// When the read was begun.
    pub invoke_us: u64,
    /// When it was done.
    pub complete_us: u64,
    /// What it told.
    pub rows: Rows,
}

/// Where clients write down what they did. Shared by all clients.
#[derive(Debug)]
pub struct Recorder {
    begin: Instant,
    ops: Mutex<Vec<Op>>,
    next: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder { begin: Instant::now(), ops: Mutex::default(), next: AtomicU64::new(1) }
    }
}

impl Recorder {
    /// The drill's clock.
    pub fn now_us(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    /// The moment of a time, for sleeping until it.
    pub fn instant(&self, at_us: u64) -> Instant {
        self.begin + Duration::from_micros(at_us)
    }

    /// A number that was never given out before.
    pub fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes an operation down.
    pub fn record(&self, op: Op) {
        self.ops.lock().push(op);
    }

    /// What completed at or after a time. The ops stand in the order of their completion, so only a tail is copied.
    pub fn since(&self, at_us: u64) -> Vec<Op> {
        let ops = self.ops.lock();
        // Two clients may be recorded a little out of order; a second of slack is far more than that.
        let from = ops.partition_point(|op| op.complete_us + 1_000_000 < at_us);
        ops[from..].iter().filter(|op| op.complete_us >= at_us).cloned().collect()
    }

    /// Everything, once the clients have stopped.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut *self.ops.lock())
    }
}

/// Writes a history, a line of JSON per operation.
pub fn write_jsonl(path: &Path, ops: &[Op]) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for op in ops {
        serde_json::to_writer(&mut out, op)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads a history back.
pub fn read_jsonl(path: &Path) -> std::io::Result<Vec<Op>> {
    let lines = std::io::BufReader::new(std::fs::File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_as_it_was_written() {
        let op = |outcome, call| Op {
            process: 1,
            region: "eu".into(),
            server: "sql-1".into(),
            kind: Kind::Write,
            invoke_us: 5,
            complete_us: 9,
            outcome,
            call,
        };
        let steps = vec![Step::Append { key: 1, value: 2 }, Step::Read { key: 1, values: Some(vec![2]) }];
        let ops = vec![
            op(Outcome::Ok, Call::Txn { steps }),
            op(Outcome::Unknown("timeout".into()), Call::Put { key: 1, value: 7 }),
            op(Outcome::Fail("9007".into()), Call::Look { id: 3, answer: None }),
        ];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        write_jsonl(&path, &ops).unwrap();
        assert_eq!(read_jsonl(&path).unwrap(), ops);
    }
}
