//! Accounts whose money moves and never becomes more or less.
//!
//! A transfer locks two accounts, moves money and logs itself, in one transaction. The log has a key of the server's
//! (AUTO_INCREMENT), so that a statement that is carried out twice shows as two rows.

use mysql_async::Conn;
use rand::Rng;
use rand::rngs::StdRng;

use super::Shared;
use crate::history::{Call, Kind, LogRow, Rows};
use crate::mysql::{Trouble, column, committing, patiently, statement};

/// Accounts: so many that transfers, which last several round trips, seldom meet.
pub const ACCOUNTS: u32 = 400;
/// What each has in the beginning.
pub const BALANCE: i64 = 1000;
/// What all have at any time.
pub const TOTAL: i64 = ACCOUNTS as i64 * BALANCE;

pub(super) fn setup() -> Vec<String> {
    let values: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id},{BALANCE})")).collect();
    vec![
        "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)".to_owned(),
        "CREATE TABLE log (seq BIGINT AUTO_INCREMENT PRIMARY KEY, transfer BIGINT NOT NULL, src INT NOT NULL, \
         dst INT NOT NULL, amount BIGINT NOT NULL, KEY by_transfer (transfer))"
            .to_owned(),
        format!("INSERT INTO accounts VALUES {}", values.join(",")),
    ]
}

pub(super) fn next(kind: Kind, shared: &Shared, rng: &mut StdRng) -> Call {
    match kind {
        Kind::Write => {
            let from = rng.random_range(0..ACCOUNTS);
            let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
            Call::Transfer { id: shared.recorder.unique(), from, to, amount: rng.random_range(1..=20) }
        }
        Kind::Read => match shared.recent(rng).filter(|_| rng.random_bool(0.75)) {
            Some(id) => Call::Lookup { id, rows: None },
            None => Call::Sum { answer: None },
        },
    }
}

pub(super) async fn perform(conn: &mut Conn, call: &mut Call) -> Result<(), Trouble> {
    match call {
        Call::Transfer { id, from, to, amount } => {
            // In the order of ids: transfers wait for each other in a line, not in a circle.
            let (first, second) =
                if from < to { ((*from, -*amount), (*to, *amount)) } else { ((*to, *amount), (*from, -*amount)) };
            statement(conn, "BEGIN PESSIMISTIC").await?;
            for (account, change) in [first, second] {
                statement(conn, &format!("UPDATE accounts SET balance = balance + ({change}) WHERE id = {account}"))
                    .await?;
            }
            let log = format!("INSERT INTO log (transfer, src, dst, amount) VALUES ({id},{from},{to},{amount})");
            statement(conn, &log).await?;
            committing(conn, "COMMIT").await?;
        }
        Call::Sum { answer } => {
            let rows = statement(conn, "SELECT COUNT(*), SUM(balance) FROM accounts").await?;
            let row = rows.first().ok_or_else(|| Trouble::failed("unexpected answer"))?;
            *answer = Some((column(row, 0)?, column(row, 1)?));
        }
        Call::Lookup { id, rows } => {
            let found = statement(conn, &format!("SELECT transfer FROM log WHERE transfer = {id}")).await?;
            *rows = Some(found.len() as u64);
        }
        other => unreachable!("not a call of the bank: {other:?}"),
    }
    Ok(())
}

pub(super) async fn rows(conn: &mut Conn) -> Result<Rows, Trouble> {
    let patience = super::super::run::READ_PATIENCE;
    patiently(conn, "BEGIN", patience).await?;
    let accounts = patiently(conn, "SELECT id, balance FROM accounts", patience).await?;
    let log = patiently(conn, "SELECT transfer, src, dst, amount FROM log", patience).await?;
    patiently(conn, "COMMIT", patience).await?;
    let balances = accounts.iter().map(|r| Ok((column(r, 0)?, column(r, 1)?))).collect::<Result<_, Trouble>>()?;
    let log = log
        .iter()
        .map(|r| Ok(LogRow { id: column(r, 0)?, from: column(r, 1)?, to: column(r, 2)?, amount: column(r, 3)? }));
    Ok(Rows::Bank { balances, log: log.collect::<Result<_, Trouble>>()? })
}
