//! What statements hold in memory: counted for each and for the server, with a quota for each and a limit for all.
//!
//! ```text
//!   operator ─ Held ─┐
//!   operator ─ Held ─┼─▶ StatementMemory ─┐   over its quota: operators that can write to disk, the others fail (8175)
//!   …                │    quota           ├─▶ ServerMemory     over the limit: the statement that holds most ends (8176)
//!                         StatementMemory ─┘
//! ```
//!
//! What is counted is given back when its [`Held`] is dropped, however the operator ends. Counted are the rows and tables
//! that operators collect, not what passes through them, nor the allocator's share: limits need some room above.
//!
//! Operators that can write to disk do so before the quota is reached, so that those that cannot, and those that have only
//! just begun, have room to work.
//!
//! Not here: files (`sql-exec`'s `spill`), the variables that set the limits.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use crate::error::SqlError;
use crate::interrupt::Interrupt;

/// From so many bytes on a statement may be chosen to end when the server is short.
const LISTED_BYTES: usize = 1 << 20;

/// What the statements of a server hold.
#[derive(Debug, Default)]
pub struct ServerMemory {
    used: AtomicUsize,
    /// Statements that hold much. Held for a push or a walk, never across an await.
    statements: Mutex<Vec<Weak<StatementMemory>>>,
}

/// What a statement may hold, in bytes; `usize::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the statement: `tidb_mem_quota_query`.
    pub quota: usize,
    /// Of all statements together: `tidb_server_memory_limit`.
    pub server: usize,
    /// Statements that hold less are not ended for the server's sake: `tidb_server_memory_limit_sess_min_size`.
    pub server_spares: usize,
    /// Whether operators may write to disk what they have no room for: `tidb_enable_tmp_storage_on_oom`.
    pub spill: bool,
}

impl Limits {
    /// No limit, and nothing written to disk.
    pub const NONE: Limits = Limits { quota: usize::MAX, server: usize::MAX, server_spares: 0, spill: false };

    /// What a spilling operator may hold whatever the others do.
    fn floor(&self) -> usize {
        self.quota.min(self.server) / 64
    }
}

impl ServerMemory {
    /// Bytes that all statements hold now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Ends the statement that holds most, unless one is ending already.
    fn make_room(&self, spares: usize) {
        let mut biggest: Option<Arc<StatementMemory>> = None;
        let mut statements = self.statements.lock();
        statements.retain(|statement| statement.strong_count() > 0);
        for statement in statements.iter().filter_map(Weak::upgrade) {
            if statement.ending.load(Ordering::Relaxed) {
                return;
            }
            if statement.used() >= spares && biggest.as_ref().is_none_or(|b| statement.used() > b.used()) {
                biggest = Some(statement);
            }
        }
        if let Some(statement) = biggest {
            statement.ending.store(true, Ordering::Relaxed);
            statement.interrupt.kill_for_memory();
        }
    }
}

/// What a statement holds.
#[derive(Debug)]
pub struct StatementMemory {
    server: Arc<ServerMemory>,
    limits: Limits,
    /// Its session's.
    interrupt: Arc<Interrupt>,
    /// For messages.
    connection: u64,
    used: AtomicUsize,
    peak: AtomicUsize,
    /// Bytes written to disk.
    spilled: AtomicU64,
    /// Whether the server knows it.
    listed: AtomicBool,
    /// It was told to end for the server's sake.
    ending: AtomicBool,
}

impl StatementMemory {
    /// Of a statement that begins.
    pub fn new(server: Arc<ServerMemory>, limits: Limits, interrupt: Arc<Interrupt>, connection: u64) -> Arc<Self> {
        Arc::new(StatementMemory {
            server,
            limits,
            interrupt,
            connection,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            spilled: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        })
    }

    /// Bytes that it holds now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that it held at most.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Bytes that it wrote to disk.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    /// Counts bytes written to disk.
    pub fn count_spilled(&self, bytes: u64) {
        self.spilled.fetch_add(bytes, Ordering::Relaxed);
    }

    fn add(self: &Arc<Self>, bytes: usize) -> usize {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(used, Ordering::Relaxed);
        let all = self.server.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used >= LISTED_BYTES && !self.listed.swap(true, Ordering::Relaxed) {
            self.server.statements.lock().push(Arc::downgrade(self));
        }
        if all > self.limits.server {
            self.server.make_room(self.limits.server_spares);
        }
        used
    }

    fn sub(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.server.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn check(&self, used: usize) -> Result<(), SqlError> {
        if self.ending.load(Ordering::Relaxed) {
            return Err(SqlError::ServerMemoryLimit(self.connection));
        }
        if used > self.limits.quota { Err(SqlError::MemoryQuota(self.connection)) } else { Ok(()) }
    }
}

/// What one operator holds. Given back when dropped.
#[derive(Debug)]
pub struct Held {
    statement: Arc<StatementMemory>,
    bytes: usize,
    /// The most that was held, for who asked.
    peak: Option<Arc<AtomicUsize>>,
}

impl Held {
    /// Nothing yet. `peak` is told of the most that is held.
    pub fn new(statement: Arc<StatementMemory>, peak: Option<Arc<AtomicUsize>>) -> Held {
        Held { statement, bytes: 0, peak }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        if let Some(peak) = &self.peak {
            peak.fetch_max(self.bytes, Ordering::Relaxed);
        }
        self.statement.add(bytes)
    }

    /// Counts bytes more; fails over the statement's quota (8175), or when the server is short (8176).
    pub fn grow(&mut self, bytes: usize) -> Result<(), SqlError> {
        let used = self.add(bytes);
        self.statement.check(used)
    }

    /// The same for an operator that can write what it holds to disk: true when it should, and it need not fail then.
    pub fn grow_or_spill(&mut self, bytes: usize) -> Result<bool, SqlError> {
        let used = self.add(bytes);
        let limits = &self.statement.limits;
        if !limits.spill {
            return self.statement.check(used).map(|()| false);
        }
        self.statement.check(0)?;
        // A quarter is left to the others.
        let most = |limit: usize| limit / 4 * 3;
        let short = used > most(limits.quota) || self.statement.server.used() > most(limits.server);
        Ok(short && self.bytes > limits.floor())
    }

    /// Gives bytes back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.statement.sub(bytes);
    }

    /// Gives back what is over so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.shrink(self.bytes.saturating_sub(bytes));
    }

    /// Takes over what another one of the same statement holds.
    pub fn take_over(&mut self, other: &mut Held) {
        self.bytes += std::mem::take(&mut other.bytes);
        if let Some(peak) = &self.peak {
            peak.fetch_max(self.bytes, Ordering::Relaxed);
        }
    }

    /// Gives all back.
    pub fn clear(&mut self) {
        self.shrink(self.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bytes of memory that this machine has, or the control group that the process is in, if that is less.
pub static MACHINE_BYTES: LazyLock<Option<usize>> = LazyLock::new(|| {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()?.checked_mul(1024)
    });
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok());
    match (total, group) {
        (Some(total), Some(group)) => Some(total.min(group)),
        (total, group) => total.or(group),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(
        server: &Arc<ServerMemory>,
        limits: Limits,
        connection: u64,
    ) -> (Arc<StatementMemory>, Arc<Interrupt>) {
        let interrupt = Arc::new(Interrupt::new(connection));
        (StatementMemory::new(server.clone(), limits, interrupt.clone(), connection), interrupt)
    }

    #[test]
    fn what_is_dropped_is_given_back_and_a_quota_holds() {
        let server = Arc::new(ServerMemory::default());
        let (memory, _) = statement(&server, Limits { quota: 100, ..Limits::NONE }, 3);
        let (mut a, mut b) = (Held::new(memory.clone(), None), Held::new(memory.clone(), None));
        a.grow(60).unwrap();
        assert!(matches!(b.grow(50), Err(SqlError::MemoryQuota(3))));
        drop(b);
        assert_eq!((memory.used(), server.used(), memory.peak()), (60, 60, 110));
        a.shrink(20);
        a.grow(60).unwrap();
        drop(a);
        assert_eq!((memory.used(), server.used()), (0, 0));
    }

    #[test]
    fn what_can_spill_is_told_before_the_quota_and_keeps_a_floor() {
        let server = Arc::new(ServerMemory::default());
        let (memory, _) = statement(&server, Limits { quota: 6400, spill: true, ..Limits::NONE }, 3);
        let (mut a, mut b) = (Held::new(memory.clone(), None), Held::new(memory.clone(), None));
        assert!(!a.grow_or_spill(4800).unwrap());
        assert!(!b.grow_or_spill(100).unwrap(), "it has hardly begun");
        assert!(b.grow_or_spill(1).unwrap());
        assert!(a.grow_or_spill(5000).unwrap(), "over the quota it is no error");
        a.clear();
        assert!(!b.grow_or_spill(1000).unwrap());
    }

    #[test]
    fn the_statement_that_holds_most_ends_when_the_server_is_short() {
        let server = Arc::new(ServerMemory::default());
        let limits = Limits { server: 8 << 20, server_spares: 2 << 20, ..Limits::NONE };
        let [(small, calm), (big, told), (tiny, _)] = [1, 2, 3].map(|id| statement(&server, limits, id));
        let [mut small, mut big, mut tiny] = [small, big, tiny].map(|memory| Held::new(memory, None));
        small.grow(3 << 20).unwrap();
        big.grow(4 << 20).unwrap();
        tiny.grow((1 << 20) + 1).unwrap();
        assert!(told.is_killed() && !calm.is_killed());
        assert!(matches!(big.grow(1), Err(SqlError::ServerMemoryLimit(2))));
        small.grow(1 << 20).unwrap();
        assert!(!calm.is_killed(), "one is enough, until it has ended");
        drop(big);
        small.grow(4 << 20).unwrap_err();
        assert!(calm.is_killed(), "the next one");
    }
}
