//! `sql_mode`: names and MySQL's bits.

use sql_base::SqlError;

pub(crate) const REAL_AS_FLOAT: u64 = 1;
pub(crate) const PIPES_AS_CONCAT: u64 = 1 << 1;
pub(crate) const ANSI_QUOTES: u64 = 1 << 2;
pub(crate) const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
pub(crate) const STRICT_TRANS_TABLES: u64 = 1 << 21;
pub(crate) const STRICT_ALL_TABLES: u64 = 1 << 22;

/// Names in the order in which MySQL prints them.
const MODES: &[(&str, u32)] = &[
    ("REAL_AS_FLOAT", 0),
    ("PIPES_AS_CONCAT", 1),
    ("ANSI_QUOTES", 2),
    ("IGNORE_SPACE", 3),
    ("ONLY_FULL_GROUP_BY", 5),
    ("NO_UNSIGNED_SUBTRACTION", 6),
    ("NO_DIR_IN_CREATE", 7),
    ("ANSI", 18),
    ("NO_AUTO_VALUE_ON_ZERO", 19),
    ("NO_BACKSLASH_ESCAPES", 20),
    ("STRICT_TRANS_TABLES", 21),
    ("STRICT_ALL_TABLES", 22),
    ("NO_ZERO_IN_DATE", 23),
    ("NO_ZERO_DATE", 24),
    ("ALLOW_INVALID_DATES", 25),
    ("ERROR_FOR_DIVISION_BY_ZERO", 26),
    ("TRADITIONAL", 27),
    ("NO_AUTO_CREATE_USER", 28),
    ("HIGH_NOT_PRECEDENCE", 29),
    ("NO_ENGINE_SUBSTITUTION", 30),
    ("PAD_CHAR_TO_FULL_LENGTH", 31),
    ("TIME_TRUNCATE_FRACTIONAL", 32),
];

/// Modes that would change what statements do, and don't.
const NOT_DONE: &[&str] =
    &["ALLOW_INVALID_DATES", "HIGH_NOT_PRECEDENCE", "PAD_CHAR_TO_FULL_LENGTH", "TIME_TRUNCATE_FRACTIONAL"];

/// Refuses a list of modes (in the form that [`sql_mode_text`] gives) that has one which is not done.
pub(super) fn check_done(modes: &str) -> Result<(), SqlError> {
    match modes.split(',').find(|mode| NOT_DONE.contains(mode)) {
        Some(mode) => Err(SqlError::NotSupported(format!("SET sql_mode = '{mode}'"))),
        None => Ok(()),
    }
}

/// Bits of a list of names, or of a number.
pub fn parse_sql_mode(text: &str) -> Result<u64, SqlError> {
    let wrong = |value: &str| SqlError::WrongValueForVariable { name: "sql_mode".into(), value: value.into() };
    if let Ok(bits) = text.parse::<u64>() {
        let known = MODES.iter().fold(0, |all, (_, bit)| all | 1 << bit);
        return if bits & !known == 0 { Ok(expand(bits)) } else { Err(wrong(text)) };
    }
    let mut bits = 0;
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let (_, bit) = MODES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).ok_or_else(|| wrong(name))?;
        bits |= 1 << bit;
    }
    Ok(expand(bits))
}

/// Adds what the combined modes stand for.
fn expand(mut bits: u64) -> u64 {
    if bits & 1 << 18 != 0 {
        bits |= REAL_AS_FLOAT | PIPES_AS_CONCAT | ANSI_QUOTES | 1 << 3 | 1 << 5;
    }
    if bits & 1 << 27 != 0 {
        bits |= STRICT_TRANS_TABLES | STRICT_ALL_TABLES | 1 << 23 | 1 << 24 | 1 << 26 | 1 << 30;
    }
    bits
}

/// Names of bits.
pub fn sql_mode_text(bits: u64) -> String {
    let names = MODES.iter().filter(|(_, bit)| bits & 1 << bit != 0);
    names.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}
