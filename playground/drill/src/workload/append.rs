//! Transactions of one to four steps, each of which reads a list or appends to one.
//!
//! A list is a text of values, `,17,23`. Half of the writing transactions are optimistic: a conflict aborts them at
//! COMMIT. The others are pessimistic and lock what they read. (A pessimistic transaction that reads without locking and
//! then writes may lose updates, as in MySQL; that is allowed, and would hide what is not.) Steps are in the order of
//! keys, so that locks are waited for in a line.
//!
//! The lists of an epoch are left alone after [`EPOCH_US`], so that they do not grow without end.

use std::collections::BTreeMap;

use mysql_async::Conn;
use rand::Rng;
use rand::rngs::StdRng;

use super::Shared;
use crate::check::ROW_IS_GONE;
use crate::history::{Call, Kind, Rows, Step};
use crate::mysql::{Trouble, column, committing, patiently, statement};

/// Lists in use at a time: so many that optimistic transactions over a long distance do not abort all the time.
const LISTS: u32 = 1024;
/// How long they are in use, microseconds.
const EPOCH_US: u64 = 45_000_000;
/// Epochs that have lists; the last one goes on.
const EPOCHS: u32 = 5;

pub(super) fn setup() -> Vec<String> {
    let mut statements = vec!["CREATE TABLE lists (k INT PRIMARY KEY, v TEXT NOT NULL)".to_owned()];
    for epoch in 0..EPOCHS {
        let values: Vec<String> = (0..LISTS).map(|k| format!("({},'')", epoch * LISTS + k)).collect();
        statements.push(format!("INSERT INTO lists VALUES {}", values.join(",")));
    }
    statements
}

pub(super) fn next(kind: Kind, shared: &Shared, rng: &mut StdRng) -> Call {
    let epoch = (shared.recorder.now_us() / EPOCH_US).min(u64::from(EPOCHS) - 1) as u32;
    // Some of the steps meet on a few lists, where many transactions depend on each other.
    let mut key =
        || epoch * LISTS + if rng.random_bool(0.05) { rng.random_range(0..32) } else { rng.random_range(0..LISTS) };
    let mut keys: Vec<u32> = (0..4).map(|_| key()).collect();
    keys.truncate(rng.random_range(1..=4));
    keys.sort_unstable();
    let write = kind == Kind::Write;
    let mut steps: Vec<Step> = Vec::new();
    for key in keys {
        if write && rng.random_bool(0.5) {
            steps.push(Step::Append { key, value: shared.recorder.unique() });
        } else {
            steps.push(Step::Read { key, values: None });
        }
    }
    if write && !steps.iter().any(|s| matches!(s, Step::Append { .. })) {
        let Some(Step::Read { key, .. }) = steps.pop() else { unreachable!("at least one step") };
        steps.push(Step::Append { key, value: shared.recorder.unique() });
    }
    Call::Txn { steps }
}

pub(super) async fn perform(conn: &mut Conn, call: &mut Call, lock: bool) -> Result<(), Trouble> {
    let Call::Txn { steps } = call else { unreachable!("not a call of append: {call:?}") };
    let writes = steps.iter().any(|s| matches!(s, Step::Append { .. }));
    let (begin, suffix) = match (writes, lock) {
        (false, _) => ("BEGIN", ""),
        (true, false) => ("BEGIN OPTIMISTIC", ""),
        (true, true) => ("BEGIN PESSIMISTIC", " FOR UPDATE"),
    };
    statement(conn, begin).await?;
    for step in steps {
        match step {
            Step::Append { key, value } => {
                let update = format!("UPDATE lists SET v = CONCAT(v, ',{value}') WHERE k = {key}");
                statement(conn, &update).await?;
            }
            Step::Read { key, values } => {
                let rows = statement(conn, &format!("SELECT v FROM lists WHERE k = {key}{suffix}")).await?;
                let row = rows.first().ok_or_else(|| Trouble::failed(ROW_IS_GONE))?;
                *values = Some(parse(&column::<String>(row, 0)?)?);
            }
        }
    }
    if writes {
        committing(conn, "COMMIT").await?;
    } else {
        statement(conn, "COMMIT").await?;
    }
    Ok(())
}

pub(super) async fn rows(conn: &mut Conn) -> Result<Rows, Trouble> {
    let found = patiently(conn, "SELECT k, v FROM lists", super::super::run::READ_PATIENCE).await?;
    let mut lists = BTreeMap::new();
    for row in &found {
        let values = parse(&column::<String>(row, 1)?)?;
        // A row that is there twice tells its values twice.
        lists.entry(column(row, 0)?).or_insert_with(Vec::new).extend(values);
    }
    Ok(Rows::Append { lists })
}

fn parse(text: &str) -> Result<Vec<u64>, Trouble> {
    let values = text.split(',').skip(1).map(str::parse).collect::<Result<_, _>>();
    values.map_err(|_| Trouble::failed("unexpected answer"))
}
