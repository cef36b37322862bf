//! Versions side by side: stores that know a later format among stores that do not, and back.

use kv_client::{Client, TxnOptions};
use net::format::NEWEST;
use tests::cluster::{Cluster, PATIENCE};

async fn put(client: &Client, key: &str, value: &str) {
    let mut txn = client.begin(TxnOptions::optimistic()).await.unwrap();
    txn.put(key.into(), value.into()).unwrap();
    txn.commit().await.unwrap();
}

async fn read(client: &Client) -> Vec<String> {
    let now = client.snapshot(client.timestamp().await.unwrap());
    let pairs = now.scan(b"", b"", 100, false, false).await.unwrap();
    pairs
        .iter()
        .map(|(key, value)| format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
        .collect()
}

/// What the directory of a storage node says that it may hold.
fn format_of(cluster: &Cluster, node: usize) -> String {
    std::fs::read_to_string(cluster.dir().join(format!("kv-{node}/FORMAT"))).unwrap().trim().to_owned()
}

/// The formats that stores of the cluster write.
fn written(cluster: &Cluster) -> Vec<u32> {
    cluster.nodes().iter().map(|node| node.raft_store().shared().format()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_is_written_when_the_last_store_reads_it_and_an_older_version_is_refused_from_then_on() {
    let next = |config: &mut storage_node::config::Config| config.format = NEWEST + 1;
    let this = |config: &mut storage_node::config::Config| config.format = NEWEST;
    let mut cluster = Cluster::start_with(1, 3, |config| {
        config.raft.store_heartbeat_interval = net::config::Span::millis(200);
    })
    .await;
    let client = cluster.client().await;
    put(&client, "a", "1").await;

    // Two of three know the next format: nobody writes it, and any of them could go back.
    for node in [0, 1] {
        cluster.restart_node(node, next).await.unwrap();
        put(&client, &format!("upgraded-{node}"), "1").await;
    }
    cluster.restart_node(0, this).await.unwrap();
    put(&client, "a", "2").await;
    cluster.restart_node(0, next).await.unwrap();
    assert_eq!(written(&cluster), [NEWEST; 3]);
    assert_eq!(format_of(&cluster, 1), format!("meridian storage node format {NEWEST}"));

    // The last one does: entries hold what this version does not know, and all read them.
    cluster.restart_node(2, next).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while written(&cluster) != [NEWEST + 1; 3] {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", written(&cluster));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    put(&client, "a", "3").await;
    client.split_region(vec![b"b".to_vec()]).await.unwrap();
    put(&client, "c", "4").await;
    for node in 0..3 {
        cluster.restart_node(node, next).await.unwrap();
        assert_eq!(format_of(&cluster, node), format!("meridian storage node format {}", NEWEST + 1));
    }
    assert_eq!(read(&client).await, ["a=3", "c=4", "upgraded-0=1", "upgraded-1=1"]);

    // Neither a new node nor one with its directory can come back to this version.
    let refused = format!("{:#}", cluster.try_add_node(this).await.unwrap_err());
    assert!(refused.contains("reads up to format 1, and the cluster writes format 2"), "{refused}");
    let refused = cluster.restart_node(2, this).await.unwrap_err().to_string();
    assert!(refused.contains("is of format 2, and this version reads up to 1"), "{refused}");
    cluster.stop().await;
}
