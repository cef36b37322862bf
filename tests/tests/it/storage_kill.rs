//! A storage node that is killed while it writes, as a real process over its real disk: what it acknowledged is there when
//! it runs again, and what it left on disk agrees, the Raft log with the engine.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::Engine;
use engine::disk::{FjallEngine, FjallOptions};
use kv_client::{Client, Timestamp, TxnOptions};
use proto::meridian_raft::region_state::Phase;
use storage_node::raftstore::log::{DiskLog, RaftLog};
use storage_node::raftstore::{keys, storage::INIT_INDEX};
use tests::cluster::{Cluster, PATIENCE};
use tests::playground::built;

const WRITERS: u64 = 4;
const KILLS_MIN: usize = 5;
/// Commits between two kills, over all writers.
const COMMITS: u64 = 400;

/// Small regions, and an engine that is flushed and synced often, so that kills meet splits, flushes and truncated logs.
const CONFIG: &str = "
status-addr: ''
log:
  level: warn
raft:
  tick-interval: 20ms
  engine-sync-interval: 100ms
  region-max-size: 256KiB
  region-split-size: 128KiB
  split-check-diff: 32KiB
engine:
  memtable: 256KiB
";

/// The process of a storage node.
struct StorageNode {
    dir: PathBuf,
    addr: String,
    pd: String,
    process: Child,
}

impl StorageNode {
    fn start(dir: PathBuf, addr: String, pd: String) -> StorageNode {
        let config = dir.join("config.yaml");
        std::fs::write(&config, CONFIG).expect("a configuration");
        let process = Command::new(built("storage-node"))
            .args(["--addr", &addr, "--pd", &pd, "--config"])
            .arg(config)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stdout(Stdio::null())
            .spawn()
            .expect("a storage node");
        StorageNode { dir, addr, pd, process }
    }

    fn kill(&mut self) {
        self.process.kill().expect("it runs"); // SIGKILL
        self.process.wait().expect("it ends");
    }

    fn start_again(self) -> StorageNode {
        StorageNode::start(self.dir.clone(), self.addr.clone(), self.pd.clone())
    }
}

impl Drop for StorageNode {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of a killed node: regions, and entries that were dropped from their logs.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    regions: usize,
    truncated: u64,
}

/// Opens what a killed node left, as a copy, and checks it region by region.
fn check_disk(data: &Path) -> Left {
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_dir(data, copy.path());
    let engine = FjallEngine::open(copy.path().join("db"), FjallOptions::default()).expect("the engine opens");
    let log = DiskLog::open(&copy.path().join("raft")).expect("the log opens");
    let view = engine.snapshot();
    let mut left = Left::default();
    for (region, state) in keys::all_region_states(&view).expect("region states") {
        assert_eq!(state.phase(), Phase::Normal, "region {region}: nobody removes replicas or sends snapshots");
        left.regions += 1;
        let applied = keys::read_apply_state(&view, region).expect("an apply state").expect("an applied region");
        let Some(state) = log.state(region).expect("a log state") else {
            // Just made by a split: the log begins with the first entry.
            assert_eq!(applied.index, INIT_INDEX, "region {region} was applied without a log");
            continue;
        };
        let shown = format!("region {region}: applied {applied:?}, log {state:?}");
        assert!(state.truncated_index <= applied.index, "entries are gone that the engine lacks: {shown}");
        assert!(applied.index <= state.last_index, "applied what is not in the log: {shown}");
        assert!(state.commit <= state.last_index, "{shown}");
        left.truncated += state.truncated_index - INIT_INDEX;
        let mut terms = BTreeMap::from([(state.truncated_index, state.truncated_term)]);
        let mut next = state.truncated_index + 1;
        while next <= state.last_index {
            let entries = log.entries(region, next, state.last_index + 1, 1 << 20).expect("the log's entries");
            for entry in entries {
                assert_eq!(entry.index, next, "the log has a hole: {shown}");
                assert!(entry.term >= terms[&(next - 1)], "terms go back at {next}: {shown}");
                terms.insert(next, entry.term);
                next += 1;
            }
        }
        assert_eq!(terms[&applied.index], applied.term, "another entry was applied: {shown}");
        assert_eq!(terms[&state.last_index], state.last_term, "{shown}");
    }
    left
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

fn row(writer: u64, n: u64) -> (Vec<u8>, Vec<u8>) {
    // Some values are long: they live in a column family of their own.
    let length = if n.is_multiple_of(3) { 900 } else { 60 };
    (format!("w{writer}/{n:08}").into_bytes(), format!("{writer}/{n}/").repeat(length / 6).into_bytes())
}

/// The writer's counter, in another region than its rows: the commit is one for both.
fn counter(writer: u64) -> Vec<u8> {
    format!("c{writer}").into_bytes()
}

/// Writes rows one after the other, each with the counter, and counts what was acknowledged. It knows no kills: they are
/// the client's to get over.
async fn write(client: Client, writer: u64, stop: Arc<AtomicBool>, commits: Arc<AtomicU64>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Ok(mut txn) = client.begin(TxnOptions::optimistic()).await else { continue };
        let (key, value) = row(writer, n);
        txn.put(key, value).expect("a small row");
        txn.put(counter(writer), n.to_string().into_bytes()).expect("a small row");
        if txn.commit().await.is_ok() {
            acknowledged.push(n);
            commits.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_storage_node_comes_back_with_every_acknowledged_row() {
    let cluster = Cluster::start(1, 0).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Taken and given back: the node binds it next, and after each kill again.
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").to_string();
    let mut node = StorageNode::start(dir.path().to_owned(), addr, cluster.endpoints()[0].clone());
    let client = cluster.client().await;
    let begin = Instant::now();
    while let Err(e) = client.split_region(vec![b"w".to_vec()]).await {
        assert!(begin.elapsed() < PATIENCE, "the node does not serve: {e}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(client.clone(), n, stop.clone(), commits.clone()))).collect();
    let begin = Instant::now();
    let mut left = Left::default();
    let mut kills = 0;
    while kills < KILLS_MIN || left.regions < 3 || left.truncated == 0 {
        assert!(begin.elapsed() < 3 * PATIENCE, "{kills} kills, and no split or no truncated log: {left:?}");
        let enough = commits.load(Ordering::Relaxed) + COMMITS;
        let since = Instant::now();
        while commits.load(Ordering::Relaxed) < enough {
            assert!(since.elapsed() < PATIENCE, "writes do not go on after {kills} kills");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.kill();
        kills += 1;
        left = check_disk(&dir.path().join("data"));
        node = node.start_again();
    }
    stop.store(true, Ordering::Relaxed);
    let mut rows = 0;
    for (writer, task) in (0..WRITERS).zip(writers) {
        let acknowledged = task.await.expect("a writer ends");
        let now = client.snapshot(Timestamp::MAX);
        let keys: Vec<Vec<u8>> = acknowledged.iter().map(|n| row(writer, *n).0).collect();
        let values = now.batch_get(&keys).await.expect("the rows can be read");
        for (n, value) in acknowledged.iter().zip(values) {
            assert!(value == Some(row(writer, *n).1), "writer {writer}: acknowledged row {n} is {value:?}");
        }
        // A commit is whole: the counter is that of the newest row, acknowledged or not.
        let newest = client.snapshot(client.timestamp().await.expect("a timestamp"));
        let prefix = format!("w{writer}/").into_bytes();
        let end = format!("w{writer}0").into_bytes();
        let last = newest.scan(&prefix, &end, 1, true, true).await.expect("the newest row").pop().expect("a row").0;
        let counted: u64 = String::from_utf8(newest.get(&counter(writer)).await.expect("a read").expect("a counter"))
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        assert_eq!(last, row(writer, counted).0, "writer {writer}: half of a commit");
        rows += acknowledged.len();
    }
    println!("{kills} kills, {rows} rows acknowledged, {left:?} in {:?}", begin.elapsed());
    drop(node);
    cluster.stop().await;
}
