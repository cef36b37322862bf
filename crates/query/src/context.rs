//! What a statement knows that its expressions may ask: time zone, SQL mode, the clock's reading, who asks.
//!
//! Nothing in this crate reads a clock, a random source or a session: the caller fills an [`EvalContext`] once a statement,
//! and collects the warnings from it afterwards.

use std::sync::Arc;
use std::time::Duration;

use codec::datum::Datum;
use codec::time::{Time, TimeKind};
use codec::types::Collation;

use crate::error::{EvalError, Result, Warning};

/// Bits of `sql_mode`, MySQL's numbers.
#[allow(missing_docs)]
pub mod sql_mode {
    pub const PIPES_AS_CONCAT: u64 = 1 << 1;
    pub const ANSI_QUOTES: u64 = 1 << 2;
    pub const NO_UNSIGNED_SUBTRACTION: u64 = 1 << 6;
    pub const ONLY_FULL_GROUP_BY: u64 = 1 << 5;
    pub const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    pub const STRICT_TRANS_TABLES: u64 = 1 << 21;
    pub const STRICT_ALL_TABLES: u64 = 1 << 22;
    pub const NO_ZERO_IN_DATE: u64 = 1 << 23;
    pub const NO_ZERO_DATE: u64 = 1 << 24;
    pub const ALLOW_INVALID_DATES: u64 = 1 << 25;
    pub const ERROR_FOR_DIVISION_BY_ZERO: u64 = 1 << 26;
    pub const PAD_CHAR_TO_FULL_LENGTH: u64 = 1 << 31;
    /// What MySQL 8 starts with.
    pub const DEFAULT: u64 =
        ONLY_FULL_GROUP_BY | STRICT_TRANS_TABLES | NO_ZERO_IN_DATE | NO_ZERO_DATE | ERROR_FOR_DIVISION_BY_ZERO;
}

/// Bits of `DAGRequest.flags`, as TiDB sends them.
#[allow(missing_docs)]
pub mod dag_flags {
    pub const IGNORE_TRUNCATE: u64 = 1;
    pub const TRUNCATE_AS_WARNING: u64 = 1 << 1;
    pub const PAD_CHAR_TO_FULL_LENGTH: u64 = 1 << 2;
    pub const IN_INSERT: u64 = 1 << 3;
    pub const IN_UPDATE_OR_DELETE: u64 = 1 << 4;
    pub const IN_SELECT: u64 = 1 << 5;
    pub const OVERFLOW_AS_WARNING: u64 = 1 << 6;
    pub const IGNORE_ZERO_IN_DATE: u64 = 1 << 7;
    pub const DIVIDED_BY_ZERO_AS_WARNING: u64 = 1 << 8;
    pub const IN_LOAD_DATA: u64 = 1 << 10;
}

/// Offset from UTC in seconds at an instant (seconds since 1970), for zones whose offset changes.
pub trait ZoneRules: Send + Sync + std::fmt::Debug {
    /// Seconds east of UTC at this UTC instant.
    fn offset_at(&self, utc_secs: i64) -> i32;
    /// The zone's name.
    fn name(&self) -> &str;
    /// `false` for a zone that is only a name here.
    fn is_known(&self) -> bool {
        true
    }
}

/// The session's time zone.
#[derive(Clone, Debug)]
pub enum TimeZone {
    /// Seconds east of UTC.
    Fixed(i32),
    /// A zone with rules.
    Rules(Arc<dyn ZoneRules>),
}

/// Zones with rules are the same when they have one name.
impl PartialEq for TimeZone {
    fn eq(&self, other: &TimeZone) -> bool {
        match (self, other) {
            (TimeZone::Fixed(a), TimeZone::Fixed(b)) => a == b,
            (TimeZone::Rules(a), TimeZone::Rules(b)) => a.name() == b.name(),
            _ => false,
        }
    }
}

/// How often a reading of a zone's clocks occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurs {
    /// Once.
    Once,
    /// Never: clocks were put forward past it.
    Never,
    /// Twice: clocks were put back over it.
    Twice,
}

/// What is looked at around a reading to find a change of offset. No zone changes its offset twice in this time by rules
/// that are in use.
const AROUND_SECS: i64 = 86_400;

impl TimeZone {
    /// UTC.
    pub const UTC: TimeZone = TimeZone::Fixed(0);

    /// `+08:00`, `-5:30`, `UTC`, or a name of the IANA database, in any case.
    pub fn parse(text: &str) -> Option<TimeZone> {
        TimeZone::parse_offset(text).or_else(|| crate::zone::named(text))
    }

    /// `+08:00`, `-5:30`, `UTC`.
    pub fn parse_offset(text: &str) -> Option<TimeZone> {
        if text.eq_ignore_ascii_case("utc") {
            return Some(TimeZone::UTC);
        }
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, &text[1..]),
            b'-' => (-1, &text[1..]),
            _ => return None,
        };
        let (h, m) = rest.split_once(':')?;
        if h.is_empty() || h.len() > 2 || m.len() != 2 {
            return None;
        }
        let (h, m) = (h.parse::<i32>().ok()?, m.parse::<i32>().ok()?);
        let secs = sign * (h * 3600 + m * 60);
        (m < 60 && (-50_340..=50_400).contains(&secs)).then_some(TimeZone::Fixed(secs))
    }

    /// Seconds east of UTC at this UTC instant.
    pub fn offset_at(&self, utc_secs: i64) -> i32 {
        match self {
            TimeZone::Fixed(secs) => *secs,
            TimeZone::Rules(rules) => rules.offset_at(utc_secs),
        }
    }

    /// Whether values can be shifted into it here.
    pub fn is_known(&self) -> bool {
        match self {
            TimeZone::Fixed(_) => true,
            TimeZone::Rules(rules) => rules.is_known(),
        }
    }

    /// UTC microseconds of a local time, as MySQL reads it: of two the earlier, and the moment of the change for one that
    /// never was.
    pub fn to_utc_micros(&self, local_micros: i64) -> i64 {
        self.find_utc(local_micros).0
    }

    /// How often there is a local time.
    pub fn occurs(&self, local: &Time) -> Occurs {
        if local.has_zero_date() { Occurs::Once } else { self.find_utc(local.to_epoch_micros()).1 }
    }

    fn find_utc(&self, local_micros: i64) -> (i64, Occurs) {
        let local = local_micros.div_euclid(1_000_000);
        let before = i64::from(self.offset_at(local - AROUND_SECS));
        let after = i64::from(self.offset_at(local + AROUND_SECS));
        let is = |offset: i64| i64::from(self.offset_at(local - offset)) == offset;
        let (offset, occurs) = match (is(before), is(after)) {
            (true, true) if before != after => (before, Occurs::Twice),
            (true, _) => (before, Occurs::Once),
            (false, true) => (after, Occurs::Once),
            (false, false) => {
                // The first second of the new offset lies between what the two make of the reading.
                let (mut old, mut new) = (local - before.max(after), local - before.min(after));
                while old + 1 < new {
                    let middle = old + (new - old) / 2;
                    if i64::from(self.offset_at(middle)) == after { new = middle } else { old = middle }
                }
                return (new * 1_000_000, Occurs::Never);
            }
        };
        (local_micros - offset * 1_000_000, occurs)
    }

    /// Local microseconds of a UTC instant.
    pub fn to_local_micros(&self, utc_micros: i64) -> i64 {
        utc_micros + i64::from(self.offset_at(utc_micros.div_euclid(1_000_000))) * 1_000_000
    }

    /// `+08:00`, or the zone's name.
    pub fn name(&self) -> String {
        match self {
            TimeZone::Fixed(0) => "UTC".into(),
            TimeZone::Fixed(secs) => {
                let sign = if *secs < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", secs.abs() / 3600, secs.abs() / 60 % 60)
            }
            TimeZone::Rules(rules) => rules.name().into(),
        }
    }

    /// A stored TIMESTAMP (UTC fields) as the session sees it.
    pub fn timestamp_to_local(&self, utc: &Time) -> Time {
        if utc.has_zero_date() || matches!(self, TimeZone::Fixed(0)) {
            return *utc;
        }
        Time::from_epoch_micros(self.to_local_micros(utc.to_epoch_micros()), utc.kind, utc.fsp).unwrap_or(*utc)
    }

    /// A TIMESTAMP as the session writes it, in UTC fields for storage.
    pub fn timestamp_to_utc(&self, local: &Time) -> Time {
        if local.has_zero_date() || matches!(self, TimeZone::Fixed(0)) {
            return *local;
        }
        Time::from_epoch_micros(self.to_utc_micros(local.to_epoch_micros()), local.kind, local.fsp).unwrap_or(*local)
    }
}

/// What to do about a value that had to be cut, or a division by zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Say nothing.
    Ignore,
    /// Go on, and tell with SHOW WARNINGS.
    Warn,
    /// Fail the statement.
    Error,
}

impl Severity {
    /// What `IGNORE` makes of it.
    pub fn at_most_warn(self) -> Severity {
        if self == Severity::Error { Severity::Warn } else { self }
    }
}

/// Session facts that information functions return.
#[derive(Clone, Debug, Default)]
pub struct SessionInfo {
    /// `DATABASE()`.
    pub database: Option<String>,
    /// `USER()`: name@host.
    pub user: String,
    /// `CURRENT_USER()`: the account that matched.
    pub current_user: String,
    /// `VERSION()`.
    pub version: String,
    /// `CONNECTION_ID()`.
    pub connection_id: u64,
    /// `LAST_INSERT_ID()`.
    pub last_insert_id: u64,
    /// `FOUND_ROWS()`.
    pub found_rows: u64,
    /// `ROW_COUNT()`.
    pub row_count: i64,
}

/// The locks that sessions take by name. Calls may wait; one that fails says so by a number of MySQL's.
pub trait UserLocks: std::fmt::Debug + Send + Sync {
    /// Takes a lock, once more if the session has it already, and waits so long for whoever has it; without a limit
    /// until it is free. Whether it was got.
    fn acquire(&self, name: &str, patience: Option<Duration>) -> Result<bool>;

    /// Gives a lock back that was taken once less often than before. `None` if nobody has it, `false` if another has.
    fn release(&self, name: &str) -> Result<Option<bool>>;

    /// Gives all locks of the session back: how many there were, each as often as it was taken.
    fn release_all(&self) -> Result<u64>;

    /// The connection that has a lock.
    fn holder(&self, name: &str) -> Result<Option<u64>>;
}

/// Everything outside the row that an expression may depend on.
#[derive(Clone, Debug)]
pub struct EvalContext {
    /// The session's zone.
    pub time_zone: TimeZone,
    /// The server's zone, `SYSTEM`.
    pub system_zone: TimeZone,
    /// See [`sql_mode`].
    pub sql_mode: u64,
    /// `NOW()` in microseconds since 1970, UTC.
    pub now_utc_micros: i64,
    /// A value that does not convert in full.
    pub on_truncate: Severity,
    /// Division by zero.
    pub on_division_by_zero: Severity,
    /// Digits that `/` adds to the scale.
    pub div_precision_increment: u8,
    /// Longest string that a function may build, in bytes.
    pub max_allowed_packet: u64,
    /// Most characters of GROUP_CONCAT, in bytes.
    pub group_concat_max_len: u64,
    /// Collation of string constants, conversions and `CAST … AS CHAR`.
    pub collation: Collation,
    /// Session facts.
    pub session: SessionInfo,
    /// State of RAND() and UUID(); the caller seeds it.
    pub random: u64,
    /// What SHOW WARNINGS will tell; at most [`EvalContext::max_warnings`].
    pub warnings: Vec<Warning>,
    /// All warnings, also those beyond the limit.
    pub warning_count: u64,
    /// Limit of `warnings`.
    pub max_warnings: usize,
    /// `LAST_INSERT_ID(expr)` was evaluated to this.
    pub set_last_insert_id: Option<u64>,
    /// Microseconds that calls of SLEEP() asked for. Evaluation never waits; the caller does, before it gives the rows.
    pub sleep_micros: u64,
    /// The locks of `GET_LOCK()`; none outside of a session.
    pub user_locks: Option<Arc<dyn UserLocks>>,
}

impl Default for EvalContext {
    fn default() -> Self {
        EvalContext {
            time_zone: TimeZone::UTC,
            system_zone: TimeZone::UTC,
            sql_mode: sql_mode::DEFAULT,
            now_utc_micros: 0,
            on_truncate: Severity::Warn,
            on_division_by_zero: Severity::Warn,
            div_precision_increment: 4,
            max_allowed_packet: 64 << 20,
            group_concat_max_len: 1024,
            collation: Collation::DEFAULT,
            session: SessionInfo::default(),
            random: 0x9e37_79b9_7f4a_7c15,
            warnings: Vec::new(),
            warning_count: 0,
            max_warnings: 64,
            set_last_insert_id: None,
            sleep_micros: 0,
            user_locks: None,
        }
    }
}

impl EvalContext {
    /// The context of a SELECT: cut values and divisions by zero are warnings.
    pub fn for_select(sql_mode: u64, time_zone: TimeZone, now_utc_micros: i64) -> EvalContext {
        EvalContext { sql_mode, time_zone, now_utc_micros, ..EvalContext::default() }
    }

    /// The context of INSERT, UPDATE, DELETE: in strict mode cut values and divisions by zero are errors.
    pub fn for_write(sql_mode: u64, time_zone: TimeZone, now_utc_micros: i64) -> EvalContext {
        let mut ctx = EvalContext::for_select(sql_mode, time_zone, now_utc_micros);
        let strict = ctx.is_strict();
        ctx.on_truncate = if strict { Severity::Error } else { Severity::Warn };
        ctx.on_division_by_zero = match (sql_mode & sql_mode::ERROR_FOR_DIVISION_BY_ZERO != 0, strict) {
            (false, _) => Severity::Ignore,
            (true, false) => Severity::Warn,
            (true, true) => Severity::Error,
        };
        ctx
    }

    /// Whether the SQL mode is strict.
    pub fn is_strict(&self) -> bool {
        self.sql_mode & (sql_mode::STRICT_TRANS_TABLES | sql_mode::STRICT_ALL_TABLES) != 0
    }

    /// Whether a bit of the SQL mode is set.
    pub fn has_mode(&self, bit: u64) -> bool {
        self.sql_mode & bit != 0
    }

    /// Records a warning.
    pub fn warn(&mut self, warning: Warning) {
        self.warning_count += 1;
        if self.warnings.len() < self.max_warnings {
            self.warnings.push(warning);
        }
    }

    /// A value had to be cut: warn, fail or be silent, as the statement wants.
    pub fn truncated(&mut self, e: EvalError) -> Result<()> {
        self.judge(self.on_truncate, e)
    }

    /// A division by zero: warn, fail or be silent; the result is NULL.
    pub fn division_by_zero(&mut self) -> Result<Datum> {
        self.judge(self.on_division_by_zero, EvalError::DivisionByZero)?;
        Ok(Datum::Null)
    }

    fn judge(&mut self, severity: Severity, e: EvalError) -> Result<()> {
        match severity {
            Severity::Ignore => Ok(()),
            Severity::Warn => {
                self.warn(Warning::from(&e));
                Ok(())
            }
            Severity::Error => Err(e),
        }
    }

    /// `NOW(fsp)` in the session's zone.
    pub fn now(&self, fsp: u8) -> Time {
        let unit = 10_i64.pow(6 - u32::from(fsp.min(6)));
        let micros = self.time_zone.to_local_micros(self.now_utc_micros).div_euclid(unit) * unit;
        Time::from_epoch_micros(micros, TimeKind::DateTime, fsp).unwrap_or(Time::zero(TimeKind::DateTime, fsp))
    }

    /// The next random number (splitmix64).
    pub fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
