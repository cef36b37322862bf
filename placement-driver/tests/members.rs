//! Whole members in one process, over real sockets and files: election, failover, restart, and what clients see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_client::pd::{GrpcPd, PdClient as _};
use net::grpc::Channels;
use placement_driver::leader::{Clock, system_clock};
use placement_driver::{Config, Listeners, Pd};
use proto::metapb;
use proto::pdpb::pd_client::PdClient;
use proto::pdpb::*;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
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
        Members::start_with(count, clock, |_, _| {}).await
    }

    /// Member `i` listens on and connects from `127.0.(i + 1).1`; `change` has a last word on its configuration.
    async fn start_with(count: usize, clock: Clock, change: impl Fn(usize, &mut Config)) -> Members {
        let dir = tempfile::tempdir().unwrap();
        let mut listeners = Vec::new();
        for i in 0..count {
            let client = TcpListener::bind((address(i), 0)).await.unwrap();
            let peer = TcpListener::bind((address(i), 0)).await.unwrap();
            listeners.push(Listeners { client, peer });
        }
        let peer_of = |l: &Listeners| l.peer.local_addr().unwrap().to_string();
        let initial: Vec<String> =
            listeners.iter().enumerate().map(|(i, l)| format!("pd-{i}=http://{}", peer_of(l))).collect();
        let mut members = Vec::new();
        for (i, listeners) in listeners.into_iter().enumerate() {
            let (client, peer) = (listeners.client.local_addr().unwrap().to_string(), peer_of(&listeners));
            let mut config = Config {
                name: format!("pd-{i}"),
                data_dir: dir.path().join(format!("pd-{i}")),
                client_urls: format!("http://{client}"),
                peer_urls: format!("http://{peer}"),
                initial_cluster: initial.join(","),
                lease: net::config::Span::secs(2),
                source_address: Some(address(i)),
                labels: [("region".to_string(), format!("r{i}"))].into(),
                ..Config::default()
            };
            change(i, &mut config);
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

/// Where member `i` is.
fn address(i: usize) -> IpAddr {
    IpAddr::from([127, 0, i as u8 + 1, 1])
}

/// Passes connections on, until it is cut: from then on they stand, and new ones are accepted, but nothing moves.
struct Relay {
    listener: Option<TcpListener>,
    address: String,
    cut: CancellationToken,
}

impl Relay {
    async fn bind() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Relay { listener: Some(listener), address, cut: CancellationToken::new() }
    }

    fn run(&mut self, to: String) {
        let (listener, cut) = (self.listener.take().unwrap(), self.cut.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, cut) = (to.clone(), cut.clone());
                tokio::spawn(async move {
                    let passing = async {
                        let mut far = tokio::net::TcpStream::connect(to).await?;
                        tokio::io::copy_bidirectional(&mut near, &mut far).await
                    };
                    if cut.run_until_cancelled(passing).await.is_none() {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
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
async fn a_member_does_not_lead_by_other_rules_than_those_that_are_stored() {
    let mut members = Members::start(1, system_clock()).await;
    members.wait_leader().await;
    let (_, header) = members.client(0).await;
    let address = members.members[0].client.clone();
    let client = etcd_client::Client::connect([&address], None).await.unwrap();
    let key = format!("/pd/{}/rules/61-62", header.cluster_id);
    // A rule alone that places learners: no region would have a voter.
    let rule = r#"{"group_id":"a","id":"b","start_key":"","end_key":"","role":"learner","count":1}"#;
    client.kv_client().put(key.as_str(), rule, None).await.unwrap();
    members.crash(0).await;
    members.restart(0).await;
    let started = tokio::time::Instant::now();
    while started.elapsed() < Duration::from_secs(8) {
        assert_eq!(members.leader(), None, "it leads, by the default rule");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The metadata store itself is there to be mended.
    let client = etcd_client::Client::connect([&address], None).await.unwrap();
    client.kv_client().delete(key.as_str(), None).await.unwrap();
    members.wait_leader().await;
    members.stop().await;
}

/// Ends a member, takes its disk away and starts it again under its name.
async fn wipe(members: &mut Members, index: usize) {
    members.crash(index).await;
    std::fs::remove_dir_all(&members.members[index].config.data_dir).unwrap();
    members.restart(index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_disk_was_replaced_helps_nobody_to_forget_what_it_acknowledged() {
    let mut members = Members::start(3, system_clock()).await;
    let leader = members.wait_leader().await;
    let (helper, away) = ((leader + 1) % 3, (leader + 2) % 3);
    // What the leader and the helper acknowledge, and the third does not know.
    members.crash(away).await;
    let put = |endpoint: String, key: &'static str| async move {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let client = etcd_client::Client::connect([endpoint], None).await.unwrap();
        // The member that led the group may be the one that is away.
        while let Err(e) = client.kv_client().put(key, "1", None).await {
            assert!(tokio::time::Instant::now() < deadline, "{key} cannot be written: {e}");
        }
    };
    put(members.members[leader].client.clone(), "t/acknowledged").await;
    // The leader ends, the helper's disk is replaced: only the leader knows it now.
    members.crash(leader).await;
    wipe(&mut members, helper).await;
    members.restart(away).await;
    let started = tokio::time::Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        assert_eq!(members.leader(), None, "two members lead that have forgotten");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    members.restart(leader).await;
    let next = members.wait_leader().await;
    let client = etcd_client::Client::connect([members.members[next].client.clone()], None).await.unwrap();
    assert_eq!(client.kv_client().get("t/acknowledged", None).await.unwrap().count(), 1);
    // It is a full member again once it has caught up, also under a leader that knew it before.
    let mut next = next;
    for round in 0..2 {
        let other = (next + 1) % 3;
        wipe(&mut members, other).await;
        let third = (next + 2) % 3;
        wait_for("the wiped member to catch up", || {
            (!members.members[other].config.data_dir.join("meta/joining").exists()).then_some(())
        })
        .await;
        members.crash(third).await;
        put(members.members[next].client.clone(), "t/with-it").await;
        members.crash(next).await;
        members.restart(third).await;
        let elected = members.wait_leader().await;
        let client = etcd_client::Client::connect([members.members[elected].client.clone()], None).await.unwrap();
        assert_eq!(client.kv_client().get("t/with-it", None).await.unwrap().count(), 1, "round {round}");
        members.restart(next).await;
        next = elected;
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_its_clients_and_goes_on_giving_timestamps() {
    let small = |_: usize, config: &mut Config| config.quota_backend_bytes = net::config::ByteSize::mib(1);
    let mut members = Members::start_with(3, system_clock(), small).await;
    let leader = members.wait_leader().await;
    let client = etcd_client::Client::connect([members.members[(leader + 1) % 3].client.clone()], None).await.unwrap();
    let mut kv = client.kv_client();
    let mut written = 0;
    let refused = loop {
        match kv.put(format!("key-{written}"), vec![b'v'; 64 << 10], None).await {
            Ok(_) => written += 1,
            Err(etcd_client::Error::GRpcStatus(status)) => break status,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!((14..=17).contains(&written), "{written} values of 64 KiB");
    let mut maintenance = client.maintenance_client();
    let status = maintenance.status().await.unwrap();
    assert!(status.errors().iter().any(|e| e == "alarm:NOSPACE"), "{:?}", status.errors());

    // PD leads on, also after a change of its leader, whose successor has keys to write.
    timestamps(&members, leader, &mut (0, 0), 5).await;
    members.crash(leader).await;
    let next = members.wait_leader().await;
    timestamps(&members, next, &mut (0, 0), 5).await;
    members.restart(leader).await;

    // Room is made, and the alarm disarmed as etcdctl does it.
    kv.delete("key-", Some(etcd_client::DeleteOptions::new().with_prefix())).await.unwrap();
    let revision = kv.get("key-0", None).await.unwrap().header().unwrap().revision();
    kv.compact(revision, None).await.unwrap();
    let (get, off) = (etcd_client::AlarmAction::Get, etcd_client::AlarmAction::Deactivate);
    let raised = maintenance.alarm(get, etcd_client::AlarmType::None, None).await.unwrap();
    assert_eq!(raised.alarms().len(), 1, "{raised:?}");
    for alarm in raised.alarms() {
        let mut whose = etcd_client::AlarmOptions::new();
        whose.with_member(alarm.member_id());
        maintenance.alarm(off, etcd_client::AlarmType::Nospace, Some(whose)).await.unwrap();
    }
    kv.put("key-0", "v", None).await.unwrap();
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

#[test]
fn a_member_whose_disk_is_full_ends_with_a_failure_and_does_not_live_on_without_its_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (client, peer) = (port(), port());
    // A limit on the size of files, whose signal is ignored, is a disk that takes the first entries and no more.
    let mut member = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_placement-driver")])
        .args(["--data-dir", &dir.path().display().to_string()])
        .args(["--client-urls", &format!("http://127.0.0.1:{client}")])
        .args(["--peer-urls", &format!("http://127.0.0.1:{peer}")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    while member.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            member.kill().unwrap();
            panic!("it lives on: {:?}", member.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = member.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("disk failed") && said.contains("metadata store failed, this process ends"), "{said}");
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

type End = (IpAddr, u16);

/// Both ends of all connections of this machine that are open or have just been closed.
fn connections() -> BTreeSet<(End, End)> {
    const LISTENING: &str = "0A";
    let end = |text: &str| {
        let (ip, port) = text.split_once(':').unwrap();
        let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).unwrap().swap_bytes());
        (IpAddr::from(ip), u16::from_str_radix(port, 16).unwrap())
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] != LISTENING).map(|row| (end(row[1]), end(row[2]))).collect()
}

/// The other ends of connections of which one end has one of these ports. A port may have been somebody's before: what was
/// closed `earlier` does not count.
fn callers_of(ports: &BTreeSet<u16>, earlier: &BTreeSet<(End, End)>) -> Vec<End> {
    let called = |(local, remote): &(End, End)| match (&local.1, &remote.1) {
        (local_port, _) if ports.contains(local_port) => Some((remote.0, *local_port)),
        (_, remote_port) if ports.contains(remote_port) => Some((local.0, *remote_port)),
        _ => None,
    };
    connections().difference(earlier).filter_map(called).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_connect_from_their_own_address_and_tell_where_they_are() {
    let earlier = connections();
    let members = Members::start(3, system_clock()).await;
    let leader = members.wait_leader().await;
    let outside: IpAddr = "127.0.99.1".parse().unwrap();
    let http = net::http::Client::new(Some(outside));
    let get = |page: &str| {
        let url = format!("http://{}{page}", members.members[(leader + 1) % 3].client);
        async move { serde_json::from_str::<serde_json::Value>(&http.get(&url, PATIENCE).await.unwrap().text()).unwrap() }
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let known = loop {
        let known = get("/pd/api/v1/members").await;
        if known["members"].as_array().is_some_and(|m| m.len() == 3) && known["leader"].is_object() {
            break known;
        }
        assert!(tokio::time::Instant::now() < deadline, "{known}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let health = get("/pd/api/v1/health").await;
    let members_and_health = known["members"].as_array().unwrap().iter().chain(health.as_array().unwrap());
    for member in members_and_health.chain([&known["leader"], &known["etcd_leader"]]) {
        let region = member["name"].as_str().unwrap().replace("pd-", "r");
        assert_eq!(member["labels"], serde_json::json!({ "region": region }), "{member}");
    }
    assert!(health.as_array().unwrap().iter().all(|m| m["health"] == true), "{health}");
    // This is passed on to the leader, over a connection of the follower's own.
    assert_eq!(get("/pd/api/v1/stores").await["count"], 0);

    let ports: BTreeSet<u16> = members
        .members
        .iter()
        .flat_map(|m| [&m.client, &m.peer])
        .map(|address| address.rsplit_once(':').unwrap().1.parse().unwrap())
        .collect();
    let callers = callers_of(&ports, &earlier);
    assert!(callers.len() > 6, "{callers:?}");
    for (caller, port) in callers {
        let known = (0..3).map(address).chain([outside]).any(|known| known == caller);
        assert!(known, "{caller} calls port {port}");
    }
    members.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_to_the_next_leader_when_the_first_is_silent_behind_a_connection_that_stands() {
    let mut relays = Vec::new();
    for _ in 0..3 {
        relays.push(Relay::bind().await);
    }
    let addresses: Vec<String> = relays.iter().map(|relay| relay.address.clone()).collect();
    let mut members = Members::start_with(3, system_clock(), |i, config| {
        config.advertise_client_urls = format!("http://{}", addresses[i]);
    })
    .await;
    for (relay, member) in relays.iter_mut().zip(&members.members) {
        relay.run(member.client.clone());
    }
    let leader = members.wait_leader().await;
    let pd = GrpcPd::connect(&addresses, Channels::default()).await.unwrap();
    let before = pd.timestamp().await.unwrap();
    assert_eq!(pd.leader_address().as_ref(), Some(&addresses[leader]));

    relays[leader].cut.cancel();
    members.crash(leader).await;
    let started = std::time::Instant::now();
    let after = pd.timestamp().await.unwrap();
    let took = started.elapsed();
    assert!(after > before);
    assert_ne!(pd.leader_address().as_ref(), Some(&addresses[leader]));
    assert!(took < Duration::from_secs(12), "{took:?}");

    // Whoever comes now meets the silent one first, and does not wait for it.
    let mut order = addresses.clone();
    order.rotate_left(leader);
    let started = std::time::Instant::now();
    let newcomer = GrpcPd::connect(&order, Channels::default()).await.unwrap();
    newcomer.timestamp().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    members.stop().await;
}
