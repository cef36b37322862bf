//! Orders with one to five lines, inserted in a transaction; readers look at an order and its lines in one snapshot.
//!
//! The id is the client's; the order's key is the server's (AUTO_INCREMENT), so that an insert that is carried out twice
//! shows as two rows.

use mysql_async::Conn;
use rand::Rng;
use rand::rngs::StdRng;

use super::Shared;
use crate::history::{Call, Kind, OrderSeen, Rows};
use crate::mysql::{Trouble, column, committing, patiently, statement};

pub(super) fn setup() -> Vec<String> {
    vec![
        "CREATE TABLE orders (seq BIGINT AUTO_INCREMENT PRIMARY KEY, id BIGINT NOT NULL, line_count INT NOT NULL, \
         KEY by_id (id))"
            .to_owned(),
        "CREATE TABLE order_lines (order_id BIGINT NOT NULL, line INT NOT NULL, item INT NOT NULL, quantity INT NOT NULL, \
         PRIMARY KEY (order_id, line), KEY by_item (item))"
            .to_owned(),
    ]
}

pub(super) fn next(kind: Kind, shared: &Shared, rng: &mut StdRng) -> Call {
    match (kind, shared.recent(rng)) {
        (Kind::Read, Some(id)) => Call::Look { id, answer: None },
        // Nothing was placed yet: an order that nobody will place.
        (Kind::Read, None) => Call::Look { id: 0, answer: None },
        (Kind::Write, _) => Call::Place { id: shared.recorder.unique(), lines: rng.random_range(1..=5) },
    }
}

pub(super) async fn perform(conn: &mut Conn, call: &mut Call) -> Result<(), Trouble> {
    match call {
        Call::Place { id, lines } => {
            statement(conn, "BEGIN").await?;
            statement(conn, &format!("INSERT INTO orders (id, line_count) VALUES ({id},{lines})")).await?;
            let values: Vec<String> =
                (1..=*lines).map(|line| format!("({id},{line},{},{line})", (*id + u64::from(line)) % 100)).collect();
            statement(conn, &format!("INSERT INTO order_lines VALUES {}", values.join(","))).await?;
            committing(conn, "COMMIT").await?;
        }
        Call::Look { id, answer } => {
            statement(conn, "BEGIN").await?;
            let headers = statement(conn, &format!("SELECT line_count FROM orders WHERE id = {id}")).await?;
            let lines = statement(conn, &format!("SELECT line FROM order_lines WHERE order_id = {id}")).await?;
            statement(conn, "COMMIT").await?;
            let promised = headers.first().map(|r| column(r, 0)).transpose()?.unwrap_or(0);
            *answer = Some(OrderSeen { headers: headers.len() as u64, promised, lines: lines.len() as u64 });
        }
        other => unreachable!("not a call of orders: {other:?}"),
    }
    Ok(())
}

pub(super) async fn rows(conn: &mut Conn) -> Result<Rows, Trouble> {
    let patience = super::super::run::READ_PATIENCE;
    patiently(conn, "BEGIN", patience).await?;
    let headers = patiently(conn, "SELECT id, line_count FROM orders", patience).await?;
    let lines = patiently(conn, "SELECT order_id, line FROM order_lines", patience).await?;
    patiently(conn, "COMMIT", patience).await?;
    let headers = headers.iter().map(|r| Ok((column(r, 0)?, column(r, 1)?))).collect::<Result<_, Trouble>>()?;
    let lines = lines.iter().map(|r| Ok((column(r, 0)?, column(r, 1)?))).collect::<Result<_, Trouble>>()?;
    Ok(Rows::Orders { headers, lines })
}
