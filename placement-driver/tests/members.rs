//! Whole members in one process, over real sockets and files: election, failover, restart, and what clients see.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use placement_driver::leader::{Clock, system_clock};
use placement_driver::{Config, Listeners, Pd};
use proto::metapb;
use proto::pdpb::pd_client::PdClient;
use proto::pdpb::*;
use tokio::net::TcpListener;
use tonic::transport::Channel;

/// No step of these tests takes this long on a machine that is only slow.
const PATIENCE: Duration = Duration::from_secs(40);

struct Member {
    config: Config,
    client: String,
    peer: String,
    running: Option<Pd>,
}

struct Members {
    _dir: tempfile::TempDir,
    members: Vec<Member>,
    clock: Clock,
}

impl Members {
    async fn start(count: usize, clock: Clock) -> Members {
        let dir = tempfile::tempdir().unwrap();
        let mut listeners = Vec::new();
        for _ in 0..count {
            let client = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listeners.push(Listeners { client, peer });
        }
        let peer_of = |l: &Listeners| l.peer.local_addr().unwrap().to_string();
        let initial: Vec<String> =
            listeners.iter().enumerate().map(|(i, l)| format!("pd-{i}=http://{}", peer_of(l))).collect();
        let mut members = Vec::new();
        for (i, listeners) in listeners.into_iter().enumerate() {
            let (client, peer) = (listeners.client.local_addr().unwrap().to_string(), peer_of(&listeners));
            let config = Config {
                name: format!("pd-{i}"),
                data_dir: dir.path().join(format!("pd-{i}")),
                client_urls: format!("http://{client}"),
                peer_urls: format!("http://{peer}"),
                initial_cluster: initial.join(","),
                lease: net::config::Span::secs(2),
                ..Config::default()
            };
            let running = Pd::start_with_clock(config.clone(), listeners, clock.clone()).unwrap();
            members.push(Member { config, client, peer, running: Some(running) });
        }
        Members { _dir: dir, members, clock }
    }

    fn leader(&self) -> Option<usize> {
        self.members.iter().position(|m| m.running.as_ref().is_some_and(Pd::is_leader))
    }

    async fn wait_leader(&self) -> usize {
        wait_for("a leader", || self.leader()).await
    }

    async fn crash(&mut self, index: usize) {
        self.members[index].running.take().unwrap().crash().await;
    }

    async fn restart(&mut self, index: usize) {
        let member = &mut self.members[index];
        let bind = |address: String| async move {
            loop {
                match TcpListener::bind(&address).await {
                    Ok(listener) => return listener,
                    // The port of the crashed member is released a moment later.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let listeners = Listeners { client: bind(member.client.clone()).await, peer: bind(member.peer.clone()).await };
        let config = member.config.clone();
        member.running = Some(Pd::start_with_clock(config, listeners, self.clock.clone()).unwrap());
    }

    async fn client(&self, index: usize) -> (PdClient<Channel>, RequestHeader) {
        let url = format!("http://{}", self.members[index].client);
        let mut client = PdClient::connect(url).await.unwrap();
        let members = client.get_members(GetMembersRequest::default()).await.unwrap().into_inner();
        let header = RequestHeader { cluster_id: members.header.unwrap().cluster_id, sender_id: 0 };
        (client, header)
    }

    fn etcd_endpoints(&self) -> Vec<String> {
        self.members.iter().filter(|m| m.running.is_some()).map(|m| m.client.clone()).collect()
    }

    async fn stop(self) {
        for member in self.members {
            if let Some(pd) = member.running {
                pd.shutdown().await;
            }
        }
    }
}

async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A few batches of timestamps, checked against the last one seen.
async fn timestamps(members: &Members, leader: usize, last: &mut (i64, i64), batches: usize) {
    let (mut client, header) = members.client(leader).await;
    let requests: Vec<TsoRequest> = (0..batches)
        .map(|i| TsoRequest { header: Some(header), count: 1 + i as u32 * 7, ..Default::default() })
        .collect();
    let mut stream = client.tso(futures::stream::iter(requests)).await.unwrap().into_inner();
    let mut answers = 0;
    while let Some(answer) = stream.message().await.unwrap() {
        let end = answer.timestamp.unwrap();
        let first = (end.physical, end.logical - i64::from(answer.count) + 1);
        assert!(first > *last, "{first:?} after {last:?}");
        *last = (end.physical, end.logical);
        answers += 1;
    }
    assert_eq!(answers, batches);
}

fn store(id: u64) -> metapb::Store {
    metapb::Store { id, address: format!("127.0.0.1:{}", 20_000 + id), ..Default::default() }
}

fn first_region(id: u64, store_id: u64) -> metapb::Region {
    metapb::Region {
        id,
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: 1 }),
        peers: vec![metapb::Peer { id: id + 1, store_id, ..Default::default() }],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_leader_is_replaced_and_nothing_goes_back() {
    // Every life of a leader sees another clock: far ahead, then far behind.
    let offset = Arc::new(AtomicU64::new(100_000));
    let clock: Clock = {
        let (system, offset) = (system_clock(), offset.clone());
        Arc::new(move || system() + offset.load(Ordering::Relaxed))
    };
    let mut members = Members::start(3, clock).await;
    let mut last = (0, 0);
    let mut leader = members.wait_leader().await;
    let (mut client, header) = members.client(leader).await;
    let header = Some(header);
    let bootstrap = BootstrapRequest { header, store: Some(store(1)), region: Some(first_region(2, 1)) };
    let answer = client.bootstrap(bootstrap.clone()).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().error, None);
    let again = client.bootstrap(bootstrap).await.unwrap().into_inner().header.unwrap().error.unwrap();
    assert_eq!(again.r#type(), ErrorType::AlreadyBootstrapped);
    let mut ids = std::collections::BTreeSet::new();
    let mut safe_point = 0;
    for round in 0..3u64 {
        timestamps(&members, leader, &mut last, 50).await;
        let (mut client, header) = members.client(leader).await;
        let header = Some(header);
        for _ in 0..20 {
            let id = client.alloc_id(AllocIdRequest { header }).await.unwrap().into_inner().id;
            assert!(ids.insert(id), "id {id} was given twice");
        }
        safe_point += 10;
        let moved = client.update_gc_safe_point(UpdateGcSafePointRequest { header, safe_point }).await.unwrap();
        assert_eq!(moved.into_inner().new_safe_point, safe_point);
        let put = PutStoreRequest { header, store: Some(store(10 + round)) };
        assert_eq!(client.put_store(put).await.unwrap().into_inner().header.unwrap().error, None);

        members.crash(leader).await;
        offset.store(100_000u64.saturating_sub((round + 1) * 40_000), Ordering::Relaxed);
        let crashed = leader;
        leader = members.wait_leader().await;
        assert_ne!(leader, crashed);
        timestamps(&members, leader, &mut last, 50).await;
        let (mut client, header) = members.client(leader).await;
        let header = Some(header);
        let stores = client.get_all_stores(GetAllStoresRequest { header, ..Default::default() }).await.unwrap();
        assert_eq!(stores.into_inner().stores.len() as u64, 2 + round);
        let region = client.get_region(GetRegionRequest { header, ..Default::default() }).await.unwrap().into_inner();
        assert_eq!(region.region.unwrap().id, 2);
        let kept = client.get_gc_safe_point(GetGcSafePointRequest { header }).await.unwrap().into_inner();
        assert_eq!(kept.safe_point, safe_point);
        members.restart(crashed).await;
    }
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_name_the_leader_and_refuse() {
    let members = Members::start(3, system_clock()).await;
    let leader = members.wait_leader().await;
    let follower = (leader + 1) % 3;
    let url = format!("http://{}", members.members[follower].client);
    let mut client = PdClient::connect(url.clone()).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let answer = loop {
        if let Ok(answer) = client.get_members(GetMembersRequest::default()).await
            && answer.get_ref().leader.is_some()
            && answer.get_ref().members.len() == 3
        {
            break answer.into_inner();
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(answer.leader.unwrap().name, format!("pd-{leader}"));
    let header = Some(RequestHeader { cluster_id: answer.header.unwrap().cluster_id, sender_id: 0 });
    let refused = client.is_bootstrapped(IsBootstrappedRequest { header }).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (tonic::Code::Unavailable, "not leader"));
    let stranger = Some(RequestHeader { cluster_id: 77, sender_id: 0 });
    let refused = client.is_bootstrapped(IsBootstrappedRequest { header: stranger }).await.unwrap_err();
    assert!(refused.message().contains("mismatch cluster id"), "{refused}");
    // HTTP is passed on to the leader.
    let stores = net::http::get(&format!("{url}/pd/api/v1/stores"), PATIENCE).await.unwrap();
    assert_eq!((stores.status.as_u16(), stores.text().as_str()), (200, r#"{"count":0,"stores":[]}"#));
    let body = r#"[{"group_id":"TiDB_DDL_7","group_index":40,"group_override":true,"rules":[{"group_id":"TiDB_DDL_7",
        "id":"table_rule_7_0","start_key":"","end_key":"","role":"voter","count":3,
        "label_constraints":[{"key":"region","op":"in","values":["nowhere"]}]}]}]"#;
    let target = format!("{url}/pd/api/v1/config/placement-rule?partial=true");
    let refused = net::http::request("POST".parse().unwrap(), &target, body.into(), PATIENCE).await.unwrap();
    assert_eq!(refused.status.as_u16(), 400);
    assert!(refused.text().contains("can not match any store"), "{}", refused.text());
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_store_is_an_etcd_for_its_clients() {
    use etcd_client::{Client, Compare, CompareOp, EventType, GetOptions, PutOptions, Txn, TxnOp, WatchOptions};
    let mut members = Members::start(3, system_clock()).await;
    let leader = members.wait_leader().await;
    // The last endpoint is a follower, so every request below is forwarded or confirmed by the leader.
    let follower = members.members[(leader + 1) % 3].client.clone();
    let client = Client::connect([follower], None).await.unwrap();
    let (mut kv, mut lease) = (client.kv_client(), client.lease_client());
    let from = kv.put("t/a", "1", None).await.unwrap().header().unwrap().revision();
    let granted = lease.grant(2, None).await.unwrap().id();
    kv.put("t/leased", "x", Some(PutOptions::new().with_lease(granted))).await.unwrap();
    let options = WatchOptions::new().with_prefix().with_start_revision(from).with_prev_key();
    let mut watch = client.watch_client().watch("t/", Some(options)).await.unwrap();
    let txn = Txn::new()
        .when([Compare::value("t/a", CompareOp::Equal, "1")])
        .and_then([TxnOp::put("t/a", "2", None), TxnOp::put("t/b", "3", None)]);
    assert!(kv.txn(txn.clone()).await.unwrap().succeeded());
    assert!(!kv.txn(txn).await.unwrap().succeeded());
    let (mut keeper, mut answers) = lease.keep_alive(granted).await.unwrap();
    keeper.keep_alive().await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 2);
    // Not renewed any more: the key goes with the lease, and the watch tells all of it in order.
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let response = tokio::time::timeout(PATIENCE, watch.message()).await.expect("an event").unwrap().unwrap();
        for event in response.events() {
            let kv = event.kv().unwrap();
            let kind = if event.event_type() == EventType::Delete { "del" } else { "put" };
            seen.push(format!("{kind} {}={}", kv.key_str().unwrap(), kv.value_str().unwrap()));
        }
    }
    assert_eq!(seen, ["put t/a=1", "put t/leased=x", "put t/a=2", "put t/b=3", "del t/leased="]);
    keeper.keep_alive().await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 0, "a lease that is over says so");

    // Writes of before a crash are there after it, through any member.
    members.crash(leader).await;
    members.wait_leader().await;
    for endpoint in members.etcd_endpoints() {
        let client = Client::connect([endpoint], None).await.unwrap();
        let all = client.kv_client().get("t/", Some(GetOptions::new().with_prefix())).await.unwrap();
        let all: BTreeMap<&str, &str> =
            all.kvs().iter().map(|kv| (kv.key_str().unwrap(), kv.value_str().unwrap())).collect();
        assert_eq!(all, BTreeMap::from([("t/a", "2"), ("t/b", "3")]));
    }
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_priority_takes_the_leadership() {
    let members = Members::start(3, system_clock()).await;
    let leader = members.wait_leader().await;
    let preferred = (leader + 2) % 3;
    let url = format!("http://{}/pd/api/v1/members/name/pd-{preferred}", members.members[leader].client);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let body = r#"{"leader-priority": 7}"#;
        let answer = net::http::request("POST".parse().unwrap(), &url, body.into(), PATIENCE).await.unwrap();
        if answer.status.is_success() {
            break;
        }
        // The member may not have registered yet.
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait_for("the preferred leader", || (members.leader() == Some(preferred)).then_some(())).await;
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_bring_operators_and_splits_bring_ids() {
    let members = Members::start(1, system_clock()).await;
    let leader = members.wait_leader().await;
    let (mut client, header) = members.client(leader).await;
    let header = Some(header);
    let bootstrap = BootstrapRequest { header, store: Some(store(1)), region: Some(first_region(2_000, 1)) };
    client.bootstrap(bootstrap).await.unwrap();
    for id in [4, 5] {
        client.put_store(PutStoreRequest { header, store: Some(store(id)) }).await.unwrap();
    }
    let (heartbeats, receiver) = tokio::sync::mpsc::channel(8);
    let heartbeat = RegionHeartbeatRequest {
        header,
        region: Some(first_region(2_000, 1)),
        leader: Some(metapb::Peer { id: 2_001, store_id: 1, ..Default::default() }),
        term: 6,
        ..Default::default()
    };
    heartbeats.send(heartbeat).await.unwrap();
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut instructions = client.region_heartbeat(receiver).await.unwrap().into_inner();
    let first = tokio::time::timeout(PATIENCE, instructions.message()).await.unwrap().unwrap().unwrap();
    let change = first.change_peer.expect("one of three replicas is there");
    assert_eq!(change.change_type(), proto::eraftpb::ConfChangeType::AddLearnerNode);
    assert_eq!((first.region_id, first.target_peer.unwrap().id), (2_000, 2_001));

    let ask = AskBatchSplitRequest { header, region: Some(first_region(2_000, 1)), split_count: 2 };
    let ids = client.ask_batch_split(ask).await.unwrap().into_inner().ids;
    assert_eq!(ids.iter().map(|id| id.new_peer_ids.len()).collect::<Vec<_>>(), [1, 1]);
    let epoch = Some(metapb::RegionEpoch { conf_ver: 1, version: 2 });
    let left = metapb::Region { end_key: b"m".to_vec(), region_epoch: epoch, ..first_region(2_000, 1) };
    let right = metapb::Region {
        id: ids[0].new_region_id,
        start_key: b"m".to_vec(),
        region_epoch: epoch,
        peers: vec![metapb::Peer { id: ids[0].new_peer_ids[0], store_id: 1, ..Default::default() }],
        ..Default::default()
    };
    let report = ReportBatchSplitRequest { header, regions: vec![left, right] };
    client.report_batch_split(report).await.unwrap();
    let scan = ScanRegionsRequest { header, limit: 10, ..Default::default() };
    let scanned = client.scan_regions(scan).await.unwrap().into_inner();
    assert_eq!(scanned.region_metas.iter().map(|r| r.id).collect::<Vec<_>>(), [2_000, ids[0].new_region_id]);
    assert!(scanned.leaders.iter().all(|leader| leader.store_id == 1), "the parent's store leads the new region");
    let stale = AskBatchSplitRequest { header, region: Some(first_region(2_000, 1)), split_count: 1 };
    assert!(client.ask_batch_split(stale).await.unwrap().into_inner().header.unwrap().error.is_some());
    let prev = GetRegionRequest { header, region_key: b"x".to_vec(), ..Default::default() };
    assert_eq!(client.get_prev_region(prev).await.unwrap().into_inner().region.unwrap().id, 2_000);
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_member_restarts_with_its_data() {
    let mut members = Members::start(1, system_clock()).await;
    let mut last = (0, 0);
    for round in 0..3 {
        let leader = members.wait_leader().await;
        timestamps(&members, leader, &mut last, 5).await;
        let (mut client, header) = members.client(leader).await;
        let header = Some(header);
        let is = client.is_bootstrapped(IsBootstrappedRequest { header }).await.unwrap().into_inner();
        assert_eq!(is.bootstrapped, round > 0);
        let bootstrap = BootstrapRequest { header, store: Some(store(1)), region: Some(first_region(2, 1)) };
        client.bootstrap(bootstrap).await.unwrap();
        members.crash(leader).await;
        members.restart(leader).await;
    }
    members.stop().await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let config = Config { data_dir: file, ..Config::default() };
    let client = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Pd::start(config, Listeners { client, peer }).err().unwrap().to_string();
    assert!(error.contains("file"), "{error}");
}

#[tokio::test]
async fn what_a_member_does_not_serve_is_refused_by_its_name() {
    let members = Members::start(1, system_clock()).await;
    members.wait_leader().await;
    let url = format!("http://{}", members.members[0].client);
    for path in ["/nothing", "/pd/api/v1/nothing", "/pd/api/v2/members"] {
        let answer = net::http::get(&format!("{url}{path}"), PATIENCE).await.unwrap();
        let body: String = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status.as_u16(), body), (404, format!("there is no page {path}")));
    }
    // A method that a service of ours lacks, and a service that we lack.
    let client = etcd_client::Client::connect([&url], None).await.unwrap();
    let refused = |e: etcd_client::Error| match e {
        etcd_client::Error::GRpcStatus(status) => (status.code() as i32, status.message().to_owned()),
        other => panic!("{other}"),
    };
    let (code, text) = refused(client.maintenance_client().defragment().await.unwrap_err());
    assert_eq!((code, text.as_str()), (12, "the method /etcdserverpb.Maintenance/Defragment is not served here"));
    let (code, text) = refused(client.auth_client().role_list().await.unwrap_err());
    assert_eq!((code, text.as_str()), (12, "the method /etcdserverpb.Auth/RoleList is not served here"));
}
