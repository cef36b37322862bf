//! The tables and transactions of sysbench's OLTP loads (`oltp_common.lua` describes them), through prepared
//! statements.

use std::collections::BTreeMap;

use anyhow::Context;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Statement};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Rows of one multi-row INSERT while the tables are filled.
const FILL_ROWS: u32 = 500;
/// Rows that a range read covers.
const RANGE_ROWS: u32 = 100;
/// Errors after which sysbench repeats the transaction: lock wait timeout, deadlock, and TiDB's write conflicts and
/// schema change.
const REPEATABLE_ERRORS: [u16; 5] = [1205, 1213, 8002, 8028, 9007];

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PointSelect,
    ReadWrite,
    Insert,
}

impl Kind {
    /// The name that is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::PointSelect => "point-select",
            Kind::ReadWrite => "read-write",
            Kind::Insert => "insert",
        }
    }

    /// Statements in one transaction, BEGIN and COMMIT included, as sysbench counts them.
    pub(super) fn queries(self) -> u64 {
        match self {
            Kind::PointSelect | Kind::Insert => 1,
            Kind::ReadWrite => 20,
        }
    }
}

/// Creates `sbtest1`… anew and fills them.
pub(super) async fn prepare(
    connection: &mut Conn,
    tables: u32,
    rows: u32,
    progress: &mut (dyn FnMut(String) + Send),
) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(0x5b7e57);
    for table in 1..=tables {
        connection.query_drop(format!("DROP TABLE IF EXISTS sbtest{table}")).await?;
        connection
            .query_drop(format!(
                "CREATE TABLE sbtest{table} (id INTEGER NOT NULL AUTO_INCREMENT, k INTEGER DEFAULT 0 NOT NULL, \
                 c CHAR(120) DEFAULT '' NOT NULL, pad CHAR(60) DEFAULT '' NOT NULL, PRIMARY KEY (id), KEY k_{table} (k))"
            ))
            .await
            .context("create the table")?;
        let begin = std::time::Instant::now();
        let mut done = 0;
        while done < rows {
            let count = FILL_ROWS.min(rows - done);
            let values: Vec<String> = (1..=count)
                .map(|i| {
                    let k = rng.random_range(1..=rows);
                    format!("({},{k},'{}','{}')", done + i, digits(&mut rng, 10), digits(&mut rng, 5))
                })
                .collect();
            let statement = format!("INSERT INTO sbtest{table} (id,k,c,pad) VALUES {}", values.join(","));
            connection.query_drop(statement).await.context("fill the table")?;
            done += count;
        }
        progress(format!("sbtest{table}: {rows} rows in {:.1} s", begin.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// Groups of eleven digits joined by dashes, as sysbench fills its strings.
fn digits(rng: &mut StdRng, groups: usize) -> String {
    let group = |_| format!("{:011}", rng.random_range(0..100_000_000_000u64));
    (0..groups).map(group).collect::<Vec<_>>().join("-")
}

/// One connection and what it has prepared.
pub(super) struct Worker {
    connection: Conn,
    kind: Kind,
    tables: u32,
    rows: u32,
    rng: StdRng,
    prepared: BTreeMap<(u32, &'static str), Statement>,
}

const POINT: &str = "SELECT c FROM sbtest{} WHERE id=?";
const RANGE: &str = "SELECT c FROM sbtest{} WHERE id BETWEEN ? AND ?";
const SUM: &str = "SELECT SUM(k) FROM sbtest{} WHERE id BETWEEN ? AND ?";
const ORDER: &str = "SELECT c FROM sbtest{} WHERE id BETWEEN ? AND ? ORDER BY c";
const DISTINCT: &str = "SELECT DISTINCT c FROM sbtest{} WHERE id BETWEEN ? AND ? ORDER BY c";
const UPDATE_INDEX: &str = "UPDATE sbtest{} SET k=k+1 WHERE id=?";
const UPDATE_TEXT: &str = "UPDATE sbtest{} SET c=? WHERE id=?";
const DELETE: &str = "DELETE FROM sbtest{} WHERE id=?";
const INSERT: &str = "INSERT INTO sbtest{} (id, k, c, pad) VALUES (?, ?, ?, ?)";

impl Worker {
    /// A worker on its connection, with the statements of its load prepared.
    pub(super) async fn new(connection: Conn, kind: Kind, tables: u32, rows: u32, seed: u64) -> anyhow::Result<Self> {
        let texts: &[&'static str] = match kind {
            Kind::PointSelect => &[POINT],
            Kind::ReadWrite => &[POINT, RANGE, SUM, ORDER, DISTINCT, UPDATE_INDEX, UPDATE_TEXT, DELETE, INSERT],
            Kind::Insert => &[INSERT],
        };
        let mut worker =
            Worker { connection, kind, tables, rows, rng: StdRng::seed_from_u64(seed), prepared: BTreeMap::new() };
        for table in 1..=tables {
            for text in texts {
                let sql = text.replace("{}", &table.to_string());
                let statement = worker.connection.prep(&sql).await.with_context(|| format!("prepare {sql}"))?;
                worker.prepared.insert((table, text), statement);
            }
        }
        Ok(worker)
    }

    /// Runs one transaction until it commits; returns how often it had to be repeated.
    pub(super) async fn transaction(&mut self) -> anyhow::Result<u64> {
        let mut repeated = 0;
        loop {
            let result = match self.kind {
                Kind::PointSelect => self.point_select().await,
                Kind::ReadWrite => self.read_write().await,
                Kind::Insert => self.insert().await,
            };
            match result {
                Ok(()) => return Ok(repeated),
                Err(mysql_async::Error::Server(e)) if REPEATABLE_ERRORS.contains(&e.code) => {
                    self.connection.query_drop("ROLLBACK").await?;
                    repeated += 1;
                }
                Err(error) => return Err(error).with_context(|| format!("the {} load", self.kind.name())),
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        Ok(self.connection.disconnect().await?)
    }

    fn table(&mut self) -> u32 {
        self.rng.random_range(1..=self.tables)
    }

    fn id(&mut self) -> u32 {
        self.rng.random_range(1..=self.rows)
    }

    async fn read(
        &mut self,
        table: u32,
        text: &'static str,
        params: impl Into<Params> + Send,
    ) -> mysql_async::Result<()> {
        let statement = &self.prepared[&(table, text)];
        let _rows: Vec<mysql_async::Row> = self.connection.exec(statement, params).await?;
        Ok(())
    }

    async fn write(
        &mut self,
        table: u32,
        text: &'static str,
        params: impl Into<Params> + Send,
    ) -> mysql_async::Result<()> {
        let statement = &self.prepared[&(table, text)];
        self.connection.exec_drop(statement, params).await
    }

    async fn point_select(&mut self) -> mysql_async::Result<()> {
        let (table, id) = (self.table(), self.id());
        self.read(table, POINT, (id,)).await
    }

    async fn insert(&mut self) -> mysql_async::Result<()> {
        let (table, k) = (self.table(), self.id());
        let (c, pad) = (digits(&mut self.rng, 10), digits(&mut self.rng, 5));
        // Zero asks for the next AUTO_INCREMENT value.
        self.write(table, INSERT, (0, k, c, pad)).await
    }

    async fn read_write(&mut self) -> mysql_async::Result<()> {
        self.connection.query_drop("BEGIN").await?;
        let table = self.table();
        for _ in 0..10 {
            let id = self.id();
            self.read(table, POINT, (id,)).await?;
        }
        for text in [RANGE, SUM, ORDER, DISTINCT] {
            let first = self.id();
            self.read(table, text, (first, first + RANGE_ROWS - 1)).await?;
        }
        let id = self.id();
        self.write(table, UPDATE_INDEX, (id,)).await?;
        let (id, c) = (self.id(), digits(&mut self.rng, 10));
        self.write(table, UPDATE_TEXT, (c, id)).await?;
        let (id, k) = (self.id(), self.id());
        let (c, pad) = (digits(&mut self.rng, 10), digits(&mut self.rng, 5));
        self.write(table, DELETE, (id,)).await?;
        self.write(table, INSERT, (id, k, c, pad)).await?;
        self.connection.query_drop("COMMIT").await
    }
}
