//! A transaction of its own over the catalogue, run again when it met another.

use std::ops::ControlFlow;
use std::time::Duration;

use sql_base::SqlError;

/// Attempts of [`transact!`] before a conflict is reported: others that change the catalogue finish within a few.
const TRANSACT_ATTEMPTS: u32 = 50;

/// `transact!(client, |meta| body)`: runs the body in a transaction of its own over the catalogue and commits it. Runs
/// it again when another transaction was faster; not when the outcome of the commit is unknown.
///
/// A macro and not a function with an async closure, whose future the compiler cannot yet prove to be `Send`.
#[macro_export]
macro_rules! transact {
    ($client:expr, |$meta:ident| $body:expr) => {{
        let mut attempt = 0_u32;
        loop {
            attempt += 1;
            let mut txn = match $client.begin(::kv_client::TxnOptions::optimistic()).await {
                Ok(txn) => txn,
                Err(error) => break Err(::sql_base::SqlError::from(error)),
            };
            let result: Result<_, ::sql_base::SqlError> = {
                let mut meta = $crate::Meta::new(&mut txn);
                let $meta = &mut meta;
                async { $body }.await
            };
            match $crate::end_attempt(txn, result, attempt).await {
                std::ops::ControlFlow::Break(result) => break result,
                std::ops::ControlFlow::Continue(()) => {}
            }
        }
    }};
}

/// The end of an attempt of [`transact!`]: commits or rolls back, and says whether there is to be another.
pub async fn end_attempt<T>(
    mut txn: kv_client::Transaction,
    result: Result<T, SqlError>,
    attempt: u32,
) -> ControlFlow<Result<T, SqlError>> {
    let result = match result {
        Ok(value) => txn.commit().await.map(|_| value).map_err(SqlError::from),
        Err(error) => {
            let _ = txn.rollback().await;
            Err(error)
        }
    };
    match result {
        Err(SqlError::WriteConflict(_)) if attempt < TRANSACT_ATTEMPTS => {
            let pause = rand::random_range(1..=10 * u64::from(attempt.min(10)));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            ControlFlow::Continue(())
        }
        result => ControlFlow::Break(result),
    }
}
