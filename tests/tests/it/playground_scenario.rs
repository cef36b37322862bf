//! The README's scenario, through the real playground, real processes and the real `mysql` client: create, place, kill
//! each kind of process, stop and start again. One test, because a cluster of eight processes is not cheap.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::playground::Playground;

const TAG: &str = "multi-region";
const SIZE: [&str; 6] = ["--pd", "3", "--tikv", "3", "--tidb", "2"];
const REGION: &str = "eu-west-1";

/// Runs SQL through the `mysql` client, as tab-separated lines without headers.
fn mysql(port: u16, sql: &str) -> Result<String, String> {
    let output = Command::new("mysql")
        .args(["-h", "127.0.0.1", "-P", &port.to_string(), "-u", "root", "--connect-timeout=5", "-N", "-B", "-e", sql])
        .output()
        .expect("the mysql client");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
    }
}

fn must(port: u16, sql: &str) -> String {
    mysql(port, sql).unwrap_or_else(|e| panic!("{sql}\n{e}"))
}

/// Waits for `sql` to give `expect`; panics with what was last seen after `within`. Returns the time it took.
fn eventually(port: u16, sql: &str, within: Duration, expect: impl Fn(&str) -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let seen = mysql(port, sql);
        if seen.as_ref().is_ok_and(|s| expect(s)) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < within, "{sql}\nafter {within:?}: {seen:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Inserts rows one after the other on a connection per row, and remembers which were acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Vec<u64>, Duration)>,
}

impl Writer {
    fn start(port: u16, first: u64) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut acknowledged, mut longest, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
            for id in first.. {
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                if mysql(port, &format!("INSERT INTO shop.log VALUES ({id})")).is_ok() {
                    acknowledged.push(id);
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
            }
            (acknowledged, longest.max(last.elapsed()))
        });
        Writer { stop, thread }
    }

    fn finish(self) -> (Vec<u64>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

const SHOP: &str = "
CREATE DATABASE shop; USE shop;
CREATE TABLE eu_users (id BIGINT PRIMARY KEY AUTO_INCREMENT, email VARCHAR(255) NOT NULL, balance DECIMAL(12,2) DEFAULT 0, created TIMESTAMP DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY uk (email));
INSERT INTO eu_users (email, balance) VALUES ('a@x.eu', 10.50), ('b@x.eu', 20);
BEGIN; UPDATE eu_users SET balance = balance - 5 WHERE email = 'a@x.eu'; UPDATE eu_users SET balance = balance + 5 WHERE email = 'b@x.eu'; COMMIT;
SELECT email, balance FROM eu_users WHERE balance > 5 ORDER BY email LIMIT 10;
";
const POLICY: &str = "
USE shop;
-- Place data for EU users in EU region
CREATE PLACEMENT POLICY eu_policy
  PRIMARY_REGION=\"eu-west-1\"
  REGIONS=\"eu-west-1,us-east-1,us-west-2\";
ALTER TABLE eu_users PLACEMENT POLICY eu_policy;
";
const BALANCES: &str = "SELECT email, balance FROM shop.eu_users ORDER BY email";

#[test]
fn the_readme_scenario_holds_through_kills_and_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let playground = Playground::start(data.path(), TAG, &SIZE);
    let (sql1, sql2) = (playground.port("sql-1"), playground.port("sql-2"));

    assert_eq!(must(sql1, SHOP), "a@x.eu\t5.50\nb@x.eu\t25.00");
    eventually(sql2, BALANCES, Duration::from_secs(2), |s| s == "a@x.eu\t5.50\nb@x.eu\t25.00");

    // The policy is met within ten seconds, and says so.
    must(sql1, POLICY);
    let scheduled = |s: &str| {
        s.contains("TABLE shop.eu_users") && s.lines().all(|l| l.ends_with("SCHEDULED") || l.ends_with("NULL"))
    };
    eventually(sql1, "SHOW PLACEMENT", Duration::from_secs(10), scheduled);
    assert!(must(sql1, "SHOW PLACEMENT FOR TABLE shop.eu_users").ends_with("SCHEDULED"));
    let eu_store = format!(
        "SELECT STORE_ID FROM information_schema.TIKV_STORE_STATUS WHERE LABEL LIKE '%{REGION}%' ORDER BY STORE_ID"
    );
    let store = must(sql1, &eu_store);
    let regions = must(sql1, "SHOW TABLE shop.eu_users REGIONS");
    assert!(!regions.is_empty());
    for region in regions.lines() {
        // REGION_ID, START_KEY, END_KEY, LEADER_ID, LEADER_STORE_ID, …
        assert_eq!(region.split('\t').nth(4), Some(store.as_str()), "{regions}");
    }

    // Each kind of process is killed in turn while rows are written through the other SQL server.
    must(sql1, "CREATE TABLE shop.log (id BIGINT PRIMARY KEY)");
    let mut acknowledged = Vec::new();
    for (round, victim) in ["kv-3", "pd-1", "pd-2", "kv-1", "sql-1"].into_iter().enumerate() {
        let writer = Writer::start(sql2, (round as u64 + 1) * 1_000_000);
        eventually(sql2, "SELECT COUNT(*) FROM shop.log", Duration::from_secs(15), |s| s != "0");
        playground.ctl(&["kill", victim]);
        let next = (round as u64 + 1) * 1_000_000 + 900_000;
        let served = eventually(
            sql2,
            &format!("INSERT IGNORE INTO shop.log VALUES ({next}); {BALANCES}"),
            Duration::from_secs(15),
            |s| s == "a@x.eu\t5.50\nb@x.eu\t25.00",
        );
        acknowledged.push(next);
        let (rows, longest) = writer.finish();
        println!(
            "{victim} killed: served again after {served:?}, {} rows written, longest pause {longest:?}",
            rows.len()
        );
        assert!(longest < Duration::from_secs(15), "{victim}: writes paused for {longest:?}");
        acknowledged.extend(rows);
        playground.ctl(&["start", victim]);
        let stored = must(sql2, "SELECT id FROM shop.log");
        let stored: std::collections::BTreeSet<u64> = stored.lines().map(|l| l.parse().unwrap()).collect();
        let lost: Vec<&u64> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
        assert!(lost.is_empty(), "{victim}: acknowledged rows are lost: {lost:?}");
    }
    eventually(sql1, BALANCES, Duration::from_secs(5), |s| s == "a@x.eu\t5.50\nb@x.eu\t25.00");

    // Everything stops and starts again with the same tag: the data is there.
    let count = must(sql2, "SELECT COUNT(*) FROM shop.log");
    playground.stop();
    let playground = Playground::start(data.path(), TAG, &SIZE);
    let sql2 = playground.port("sql-2");
    assert_eq!(must(sql2, BALANCES), "a@x.eu\t5.50\nb@x.eu\t25.00");
    assert_eq!(must(sql2, "SELECT COUNT(*) FROM shop.log"), count);
    eventually(sql2, "SHOW PLACEMENT", Duration::from_secs(20), scheduled);
    playground.stop();
}
