//! Single rows that are read, overwritten, and overwritten if they have a certain value; each statement commits itself.

use mysql_async::Conn;
use rand::Rng;
use rand::rngs::StdRng;

use super::{CAS_MISS, Shared};
use crate::check::ROW_IS_GONE;
use crate::history::{Call, Kind, Rows};
use crate::mysql::{Trouble, column, committing, patiently, statement};

/// Rows.
pub const REGISTERS: u32 = 160;
/// The value of a row that nobody has written.
pub const INITIAL: u64 = 0;

pub(super) fn setup() -> Vec<String> {
    let values: Vec<String> = (0..REGISTERS).map(|k| format!("({k},{INITIAL})")).collect();
    vec![
        "CREATE TABLE registers (k INT PRIMARY KEY, v BIGINT NOT NULL)".to_owned(),
        format!("INSERT INTO registers VALUES {}", values.join(",")),
    ]
}

pub(super) fn next(kind: Kind, shared: &Shared, rng: &mut StdRng) -> Call {
    let key = rng.random_range(0..REGISTERS);
    if kind == Kind::Read {
        return Call::Get { key, value: None };
    }
    let value = shared.recorder.unique();
    match shared.seen.lock().get(&key).copied() {
        Some(expect) if rng.random_bool(0.3) => Call::Cas { key, expect, value },
        _ => Call::Put { key, value },
    }
}

pub(super) async fn perform(conn: &mut Conn, call: &mut Call) -> Result<(), Trouble> {
    match call {
        Call::Get { key, value } => {
            let rows = statement(conn, &format!("SELECT v FROM registers WHERE k = {key}")).await?;
            let row = rows.first().ok_or_else(|| Trouble::failed(ROW_IS_GONE))?;
            *value = Some(column(row, 0)?);
        }
        Call::Put { key, value } => {
            let changed = committing(conn, &format!("UPDATE registers SET v = {value} WHERE k = {key}")).await?;
            if changed == 0 {
                return Err(Trouble::failed(ROW_IS_GONE));
            }
        }
        Call::Cas { key, expect, value } => {
            let update = format!("UPDATE registers SET v = {value} WHERE k = {key} AND v = {expect}");
            if committing(conn, &update).await? == 0 {
                return Err(Trouble::failed(CAS_MISS));
            }
        }
        other => unreachable!("not a call of register: {other:?}"),
    }
    Ok(())
}

pub(super) async fn rows(conn: &mut Conn) -> Result<Rows, Trouble> {
    let found = patiently(conn, "SELECT k, v FROM registers", super::super::run::READ_PATIENCE).await?;
    let values = found.iter().map(|r| Ok((column(r, 0)?, column(r, 1)?))).collect::<Result<_, Trouble>>()?;
    Ok(Rows::Register { values })
}
