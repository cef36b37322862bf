//! `playground bench`: the loads of sysbench's `oltp_point_select`, `oltp_read_write` and `oltp_insert`, against a
//! cluster of its own or any MySQL address, with throughput and latency percentiles.
//!
//! The loads are closed: each connection sends its next transaction when the last one is answered. Keys are uniform
//! (sysbench's default is skewed), statements are prepared, and what sysbench ignores (deadlocks, lock wait timeouts,
//! write conflicts) is counted and repeated; any other error ends the run.

mod workload;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use crate::home::{Home, Turn, base_dir};
use crate::interrupts::Interrupts;
use crate::spec::Role;
use crate::supervisor::{Conditions, Supervisor};
use crate::{SizeArgs, note, process, say};
use workload::{Kind, Worker};

/// What to run and against what.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Loads to run, in this order
    #[arg(value_enum, default_values_t = [Load::Idle, Load::PointSelect, Load::ReadWrite, Load::Insert])]
    loads: Vec<Load>,
    /// Measure the MySQL server at this host instead of a cluster of its own
    #[arg(long, value_name = "HOST")]
    mysql_host: Option<String>,
    /// Port of that server
    #[arg(long, default_value_t = 4000, requires = "mysql_host")]
    mysql_port: u16,
    /// User at that server
    #[arg(long, default_value = "root")]
    user: String,
    /// Password at that server
    #[arg(long)]
    password: Option<String>,
    /// Database to use; its `sbtest` tables are created anew
    #[arg(long, default_value = "sbtest")]
    database: String,
    /// Tables
    #[arg(long, default_value_t = 1)]
    tables: u32,
    /// Rows in each table
    #[arg(long, default_value_t = 10_000)]
    rows: u32,
    /// Connections
    #[arg(long, short, default_value_t = 8)]
    connections: usize,
    /// Seconds to measure each load
    #[arg(long, short, default_value_t = 20)]
    seconds: u64,
    /// Seconds to run each load before measuring
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Print the result as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    size: SizeArgs,
}

impl BenchArgs {
    /// Whether it starts a cluster to measure.
    pub(crate) fn own_cluster(&self) -> bool {
        self.mysql_host.is_none()
    }
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Load {
    /// Memory and CPU of the servers while nobody asks anything (own cluster only)
    Idle,
    /// One row by primary key, autocommit
    PointSelect,
    /// sysbench's transaction of 14 reads and 4 writes
    ReadWrite,
    /// One row, autocommit
    Insert,
}

/// The figures of one load.
#[derive(Debug, Serialize)]
struct Report {
    load: &'static str,
    connections: usize,
    seconds: f64,
    transactions: u64,
    transactions_per_second: f64,
    queries_per_second: f64,
    repeated: u64,
    latency_ms: Latency,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// Runs the benchmark.
pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    if let Some(host) = args.mysql_host.clone() {
        if args.loads.contains(&Load::Idle) && args.loads.len() == 1 {
            bail!("the idle figures need a cluster of its own: leave --mysql-host out");
        }
        return measure(&args, &host, args.mysql_port, None).await;
    }
    let base = base_dir(args.size.data.as_deref())?;
    let mut interrupts = Interrupts::listen()?;
    let turn = tokio::select! {
        turn = Turn::wait(&base) => turn?,
        () = interrupts.next() => bail!("interrupted"),
    };
    let home = Home::open_to_start(&base, None).await?;
    let mut wanted = args.size.wanted();
    wanted.pd.get_or_insert(3);
    let cluster = home.plan(wanted)?;
    home.save(&cluster)?;
    let sql = cluster.of(Role::Sql).next().context("a benchmark needs a SQL server")?.clone();
    let supervisor = Supervisor::new(cluster, home.dir.clone(), Conditions::default());
    let progress = |line: &str| note(&format!("  {line}"));
    let (mut of_start, mut of_end) = (progress, progress);
    note(&format!("Starting a cluster of its own in {}", home.dir.display()));
    let work = async {
        supervisor.start_all(&mut of_start).await?;
        drop(turn);
        measure(&args, &sql.host, sql.port, Some(&supervisor)).await
    };
    let result = tokio::select! {
        result = work => result,
        () = interrupts.next() => Err(anyhow::anyhow!("interrupted")),
    };
    supervisor.end(&mut interrupts, &mut of_end).await;
    match &result {
        Ok(()) => home.remove()?,
        Err(_) => note(&format!("the servers' logs are in {} until the next start", home.dir.display())),
    }
    result
}

async fn measure(args: &BenchArgs, host: &str, port: u16, own: Option<&Supervisor>) -> anyhow::Result<()> {
    let options = |database: Option<&str>| {
        mysql_async::OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(args.user.clone()))
            .pass(args.password.clone())
            .db_name(database)
            .prefer_socket(false)
    };
    for load in &args.loads {
        let kind = match load {
            Load::Idle => {
                if let Some(supervisor) = own {
                    idle(args, supervisor).await?;
                }
                continue;
            }
            Load::PointSelect => Kind::PointSelect,
            Load::ReadWrite => Kind::ReadWrite,
            Load::Insert => Kind::Insert,
        };
        let mut setup = mysql_async::Conn::new(options(None)).await.context("connect")?;
        setup.query_drop(format!("CREATE DATABASE IF NOT EXISTS `{}`", args.database)).await?;
        setup.query_drop(format!("USE `{}`", args.database)).await?;
        workload::prepare(&mut setup, args.tables, args.rows, &mut |line| note(&line)).await?;
        setup.disconnect().await?;
        let mut workers = Vec::new();
        for index in 0..args.connections {
            let connection = mysql_async::Conn::new(options(Some(&args.database))).await.context("connect")?;
            workers.push(Worker::new(connection, kind, args.tables, args.rows, index as u64).await?);
        }
        let report = drive(args, kind, workers).await?;
        print_report(args, &report)?;
    }
    Ok(())
}

/// Runs the workers for the warm-up and the measured time, and adds up what they saw.
async fn drive(args: &BenchArgs, kind: Kind, workers: Vec<Worker>) -> anyhow::Result<Report> {
    let begin = Instant::now() + Duration::from_secs(args.warmup);
    let end = begin + Duration::from_secs(args.seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for mut worker in workers {
        tasks.spawn(async move {
            // Microseconds, up to ten minutes, three digits.
            let mut latency_us = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3)?;
            let mut repeated = 0;
            while Instant::now() < end {
                let start = Instant::now();
                let conflicts = worker.transaction().await?;
                if start >= begin {
                    latency_us.saturating_record(start.elapsed().as_micros() as u64);
                    repeated += conflicts;
                }
            }
            worker.close().await?;
            anyhow::Ok((latency_us, repeated))
        });
    }
    let mut latency_us = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3)?;
    let mut repeated = 0;
    while let Some(done) = tasks.join_next().await {
        let (latencies, conflicts) = done??;
        latency_us.add(latencies)?;
        repeated += conflicts;
    }
    let seconds = args.seconds as f64;
    let ms = |us: u64| us as f64 / 1000.0;
    Ok(Report {
        load: kind.name(),
        connections: args.connections,
        seconds,
        transactions: latency_us.len(),
        transactions_per_second: latency_us.len() as f64 / seconds,
        queries_per_second: (latency_us.len() * kind.queries()) as f64 / seconds,
        repeated,
        latency_ms: Latency {
            mean: latency_us.mean() / 1000.0,
            p50: ms(latency_us.value_at_quantile(0.50)),
            p95: ms(latency_us.value_at_quantile(0.95)),
            p99: ms(latency_us.value_at_quantile(0.99)),
            max: ms(latency_us.max()),
        },
    })
}

fn print_report(args: &BenchArgs, report: &Report) -> anyhow::Result<()> {
    if args.json {
        say(&serde_json::to_string(report)?);
        return Ok(());
    }
    let Report { load, connections, transactions_per_second, queries_per_second, repeated, latency_ms: l, .. } = report;
    say(&format!(
        "{load:<13} {connections} connections  {transactions_per_second:>9.1} txn/s  {queries_per_second:>9.1} queries/s  \
         latency ms: mean {:.2}  p50 {:.2}  p95 {:.2}  p99 {:.2}  max {:.2}  repeated {repeated}",
        l.mean, l.p50, l.p95, l.p99, l.max
    ));
    Ok(())
}

/// Resident memory and CPU of all servers over the measured time, without any load.
async fn idle(args: &BenchArgs, supervisor: &Supervisor) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(args.warmup)).await;
    let sample = || -> anyhow::Result<Vec<(String, u64, Duration)>> {
        let usage = |(name, pid): (String, u32)| {
            let (resident, cpu) = process::usage(pid).with_context(|| format!("read the usage of {name}"))?;
            Ok((name, resident, cpu))
        };
        supervisor.pids().into_iter().map(usage).collect()
    };
    let (before, begin) = (sample()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (after, elapsed) = (sample()?, begin.elapsed());
    let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64();
    let (mut resident_total, mut cpu_total) = (0, Duration::ZERO);
    for ((name, resident, cpu), (_, _, cpu_before)) in after.into_iter().zip(before) {
        let used = cpu.saturating_sub(cpu_before);
        note(&format!("  {name:<6} {:>4} MiB  {:>4.1} % of a core", resident >> 20, share(used)));
        resident_total += resident;
        cpu_total += used;
    }
    if args.json {
        let line = serde_json::json!({
            "load": "idle", "resident_bytes": resident_total, "cpu_percent_of_a_core": share(cpu_total),
        });
        say(&line.to_string());
    } else {
        say(&format!("idle          {} MiB resident, {:.1} % of a core", resident_total >> 20, share(cpu_total)));
    }
    Ok(())
}
