//! The service over a bare engine, through a real connection.

use std::collections::HashMap;
use std::net::SocketAddr;

use engine::memory::MemoryEngine;
use proto::metapb::RegionEpoch;
use proto::tikvpb::batch_commands_request::Request as BatchRequest;
use proto::tikvpb::batch_commands_request::request::Cmd;
use proto::tikvpb::batch_commands_response::response::Cmd as Answer;
use proto::tikvpb::tikv_client::TikvClient;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Channel;

use super::*;
use crate::bare::BareReplication;
use crate::txn::StorageOptions;

/// Counts the rows of its ranges; panics when told to.
struct Counter;

impl Coprocessor for Counter {
    fn handle(&self, request: &CopRequest, view: &dyn ReadView) -> CopResponse {
        assert_ne!(request.data, b"panic");
        let mut count = 0u64;
        for range in &request.ranges {
            let range = engine::KeyRange::new(range.start.clone(), range.end.clone());
            count += view.scan(&range, crate::mvcc::ScanOptions::default()).unwrap().count() as u64;
        }
        CopResponse { data: count.to_be_bytes().to_vec(), ..CopResponse::default() }
    }
}

fn service() -> TikvService<BareReplication<MemoryEngine>, BareReplication<MemoryEngine>> {
    let bare = BareReplication::new(MemoryEngine::new());
    let storage = Storage::new(bare.clone(), None, StorageOptions::default());
    TikvService::new(storage, bare, Arc::new(Counter))
}

async fn start() -> (TikvClient<Channel>, SocketAddr) {
    let service = service();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(service.into_server());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (TikvClient::new(channel), address)
}

fn context() -> Option<Context> {
    let region_epoch = Some(RegionEpoch { conf_ver: 1, version: 1 });
    Some(Context { region_id: 1, region_epoch, ..Context::default() })
}

fn put(key: &str, value: &str) -> Mutation {
    Mutation { op: Op::Put as i32, key: key.into(), value: value.into(), ..Mutation::default() }
}

fn prewrite(mutations: Vec<Mutation>, start_version: u64) -> PrewriteRequest {
    let primary_lock = mutations[0].key.clone();
    PrewriteRequest { context: context(), mutations, primary_lock, start_version, lock_ttl: 3000, ..Default::default() }
}

#[tokio::test]
async fn a_transaction_through_unary_calls() {
    let (mut client, _) = start().await;
    let response = client.kv_prewrite(prewrite(vec![put("a", "1"), put("b", "2")], 5)).await.unwrap().into_inner();
    assert_eq!(response, PrewriteResponse::default());

    let get = |version| GetRequest { context: context(), key: b"a".to_vec(), version };
    let locked = client.kv_get(get(6)).await.unwrap().into_inner().error.unwrap().locked.unwrap();
    assert_eq!((locked.primary_lock.as_slice(), locked.lock_version, locked.lock_ttl), (b"a".as_slice(), 5, 3000));

    let commit = CommitRequest {
        context: context(),
        start_version: 5,
        keys: vec![b"a".to_vec(), b"b".to_vec()],
        commit_version: 8,
        ..Default::default()
    };
    assert!(client.kv_commit(commit.clone()).await.unwrap().into_inner().error.is_none());
    assert_eq!(client.kv_get(get(8)).await.unwrap().into_inner().value, b"1");
    assert!(client.kv_get(get(7)).await.unwrap().into_inner().not_found);

    let conflict = client.kv_prewrite(prewrite(vec![put("a", "3")], 6)).await.unwrap().into_inner();
    assert_eq!(conflict.errors[0].conflict.as_ref().unwrap().conflict_commit_ts, 8);
    let lost = CommitRequest { start_version: 6, commit_version: 9, ..commit };
    let error = client.kv_commit(lost).await.unwrap().into_inner().error.unwrap();
    assert!(error.retryable.starts_with("TxnLockNotFound"), "{error:?}");

    let scan = |reverse| ScanRequest {
        context: context(),
        start_key: if reverse { b"z".to_vec() } else { b"a".to_vec() },
        end_key: if reverse { b"a".to_vec() } else { Vec::new() },
        limit: 10,
        version: 10,
        reverse,
        ..Default::default()
    };
    for reverse in [false, true] {
        let pairs = client.kv_scan(scan(reverse)).await.unwrap().into_inner().pairs;
        let keys: Vec<_> = pairs.iter().map(|pair| pair.key.clone()).collect();
        let mut expected = vec![b"a".to_vec(), b"b".to_vec()];
        if reverse {
            expected.reverse();
        }
        assert_eq!(keys, expected);
    }

    let count = CopRequest {
        context: context(),
        start_ts: 10,
        ranges: vec![proto::coprocessor::KeyRange { start: b"a".to_vec(), end: b"z".to_vec() }],
        ..Default::default()
    };
    assert_eq!(client.coprocessor(count).await.unwrap().into_inner().data, 2u64.to_be_bytes());

    let by_key = MvccGetByKeyRequest { context: context(), key: b"a".to_vec() };
    let info = client.mvcc_get_by_key(by_key).await.unwrap().into_inner().info.unwrap();
    assert_eq!((info.writes.len(), info.writes[0].commit_ts), (1, 8));
}

#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let (mut client, _) = start().await;
    let stale = Some(Context { stale_read: true, ..context().unwrap() });
    let refused = client.kv_get(GetRequest { context: stale, key: b"a".to_vec(), version: 5 }).await.unwrap();
    let error = refused.into_inner().region_error.unwrap();
    assert!(error.data_is_not_ready.is_some() && error.message.contains("stale reads"));
    let v2 = Some(Context { api_version: ApiVersion::V2 as i32, ..context().unwrap() });
    let refused = client.raw_get(RawGetRequest { context: v2, key: b"a".to_vec(), cf: String::new() }).await.unwrap();
    assert!(refused.into_inner().region_error.unwrap().message.contains("API version"));
    let put = RawPutRequest { context: context(), key: b"a".to_vec(), ttl: 5, ..Default::default() };
    assert!(client.raw_put(put).await.unwrap().into_inner().error.contains("time to live"));
    let get = RawGetRequest { context: context(), key: b"a".to_vec(), cf: "raft".into() };
    assert!(client.raw_get(get).await.unwrap().into_inner().error.contains("column family"));
    let wrong = Some(Context { region_id: 7, ..context().unwrap() });
    let refused = client.kv_get(GetRequest { context: wrong, key: b"a".to_vec(), version: 5 }).await.unwrap();
    assert_eq!(refused.into_inner().region_error.unwrap().region_not_found.unwrap().region_id, 7);
    let destroyed = client.unsafe_destroy_range(UnsafeDestroyRangeRequest::default()).await;
    assert_eq!(destroyed.unwrap_err().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn requests_on_a_stream_are_answered_by_id() {
    let (mut client, _) = start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let mut replies = client.batch_commands(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let request = |cmd| BatchRequest { cmd: Some(cmd) };
    let one_phase = PrewriteRequest { try_one_pc: true, ..prewrite(vec![put("a", "1")], 5) };
    let mut message = BatchCommandsRequest::default();
    message.requests.push(request(Cmd::Prewrite(one_phase)));
    message.requests.push(request(Cmd::Empty(Default::default())));
    message.request_ids.extend([7, 8]);
    sender.send(message).await.unwrap();
    let mut answers = HashMap::new();
    while answers.len() < 2 {
        let reply = replies.message().await.unwrap().unwrap();
        answers.extend(reply.request_ids.into_iter().zip(reply.responses));
    }
    let Some(Answer::Prewrite(done)) = &answers[&7].cmd else { panic!("{answers:?}") };
    assert!(done.one_pc_commit_ts > 5);
    assert!(matches!(answers[&8].cmd, Some(Answer::Empty(_))));

    // Point reads of one message come back in one message.
    let get = |n: u64| {
        let key = if n.is_multiple_of(2) { b"a".to_vec() } else { b"b".to_vec() };
        request(Cmd::Get(GetRequest { context: context(), key, version: 100 }))
    };
    let message = BatchCommandsRequest { requests: (0..50).map(get).collect(), request_ids: (0..50).collect() };
    sender.send(message).await.unwrap();
    let mut answers = HashMap::new();
    while answers.len() < 50 {
        let reply = replies.message().await.unwrap().unwrap();
        answers.extend(reply.request_ids.into_iter().zip(reply.responses));
    }
    for (id, answer) in answers {
        let Some(Answer::Get(got)) = answer.cmd else { panic!("{id}") };
        assert_eq!(
            (got.value.as_slice(), got.not_found),
            if id.is_multiple_of(2) { (b"1".as_slice(), false) } else { (b"".as_slice(), true) }
        );
    }
    drop(sender);
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_on_this_machine_gets_its_answers_and_those_under_way_when_the_server_stops() {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let shutdown = CancellationToken::new();
    let grace = Duration::from_secs(60);
    let serving = tokio::spawn(batch::serve_frames(service(), theirs, grace, shutdown.clone()));
    let mut frames = net::frames::Frames::new(ours, MESSAGE_BYTES_MAX);
    let send = |frames: &mut net::frames::Frames, requests: Vec<(u64, Cmd)>| {
        let (request_ids, requests) =
            requests.into_iter().map(|(id, cmd)| (id, BatchRequest { cmd: Some(cmd) })).unzip();
        frames.push(&BatchCommandsRequest { requests, request_ids }).unwrap();
        frames.flush().unwrap();
    };
    let get = || Cmd::Get(GetRequest { context: context(), key: b"a".to_vec(), version: 100 });
    let large = "x".repeat(1 << 20);
    let write = PrewriteRequest { try_one_pc: true, ..prewrite(vec![put("a", &large)], 5) };
    send(&mut frames, vec![(7, Cmd::Prewrite(write)), (8, Cmd::Empty(Default::default()))]);
    let mut answers = HashMap::new();
    while answers.len() < 2 {
        let reply: proto::tikvpb::BatchCommandsResponse = frames.next().await.unwrap().unwrap();
        answers.extend(reply.request_ids.into_iter().zip(reply.responses));
    }
    assert!(matches!(answers[&8].cmd, Some(Answer::Empty(_))));
    // More answers than the socket holds, taken late.
    send(&mut frames, (0..20).map(|id| (id, get())).collect());
    let count = CopRequest { ranges: vec![Default::default()], ..scan(&[(b"a", b"z")]) };
    send(&mut frames, vec![(30, Cmd::Coprocessor(count)), (31, Cmd::Empty(Default::default()))]);
    let mut answers = HashMap::new();
    while answers.len() < 20 {
        let reply: proto::tikvpb::BatchCommandsResponse = frames.next().await.unwrap().unwrap();
        answers.extend(reply.request_ids.into_iter().zip(reply.responses).filter(|(id, _)| *id < 20));
    }
    for answer in answers.into_values() {
        let Some(Answer::Get(got)) = answer.cmd else { panic!("{answer:?}") };
        assert_eq!(got.value.len(), large.len());
    }
    shutdown.cancel();
    while frames.next::<proto::tikvpb::BatchCommandsResponse>().await.unwrap().is_some() {}
    serving.await.unwrap().unwrap();
}

fn scan(ranges: &[(&[u8], &[u8])]) -> CopRequest {
    let ranges =
        ranges.iter().map(|&(start, end)| proto::coprocessor::KeyRange { start: start.into(), end: end.into() });
    CopRequest { context: context(), start_ts: 100, ranges: ranges.collect(), ..CopRequest::default() }
}

#[test]
fn a_scan_is_short_if_its_ranges_hold_few_handles() {
    use codec::table::{Handle, IndexId, PhysicalTableId, index_range, record_range, record_range_between};
    let is_short = |ranges: &[codec::table::Range]| {
        handlers::is_short_scan(&scan(&ranges.iter().map(|(a, b)| (a.as_slice(), b.as_slice())).collect::<Vec<_>>()))
    };
    const TABLE: PhysicalTableId = PhysicalTableId(7);
    let rows = |low, high| record_range_between(TABLE, low, high);
    let record_key = |table, handle| codec::table::record_key(PhysicalTableId(table), &handle);
    assert!(is_short(&[]));
    assert!(is_short(&[rows(1, 256)]));
    assert!(!is_short(&[rows(1, 257)]));
    assert!(is_short(&[rows(-128, 127)]));
    assert!(!is_short(&[rows(i64::MIN, i64::MAX - 1)]));
    assert!(!is_short(&[rows(1, 200), rows(1000, 1200)]), "together they are many");
    // One key is written as the key and the key behind it.
    let one = |handle: Handle| (record_key(7, handle.clone()), [&record_key(7, handle)[..], &[0]].concat());
    let key = |n: i64| Handle::Key([b"\x01ab\0\0\0\0\0\0\xf9", &n.to_be_bytes()[..]].concat().into());
    for of in [&Handle::Int as &dyn Fn(i64) -> Handle, &key] {
        assert!(is_short(&(0..256).map(|n| one(of(n))).collect::<Vec<_>>()));
        assert!(!is_short(&(0..257).map(|n| one(of(n))).collect::<Vec<_>>()));
    }
    // Nobody can tell without reading, or the range makes no sense.
    assert!(!is_short(&[record_range(TABLE)]));
    assert!(!is_short(&[index_range(TABLE, IndexId(1))]));
    let int = |table, handle| record_key(table, Handle::Int(handle));
    assert!(!is_short(&[(int(7, 1), int(8, 1))]));
    assert!(!is_short(&[(int(7, 2), int(7, 1))]));
    assert!(!is_short(&[(record_key(7, key(1)), record_key(7, key(2)))]));
    assert!(!is_short(&[(Vec::new(), Vec::new())]));
}

#[tokio::test]
async fn a_scan_that_panics_fails_alone_wherever_it_runs() {
    let (mut client, _) = start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let mut replies = client.batch_commands(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let (start, end) = codec::table::record_range_between(codec::table::PhysicalTableId(7), 1, 10);
    let (short, long): (&[(&[u8], &[u8])], &[(&[u8], &[u8])]) = (&[(&start, &end)], &[(b"a", b"z")]);
    for (id, ranges, data) in [(0, short, "panic"), (1, long, "panic"), (2, short, ""), (3, long, "")] {
        let cmd = Some(Cmd::Coprocessor(CopRequest { data: data.into(), ..scan(ranges) }));
        let message = BatchCommandsRequest { requests: vec![BatchRequest { cmd }], request_ids: vec![id] };
        sender.send(message).await.unwrap();
        let mut reply = replies.message().await.unwrap().unwrap();
        assert_eq!(reply.request_ids, [id]);
        let Some(Answer::Coprocessor(answer)) = reply.responses.remove(0).cmd else { panic!("{id}") };
        let failed = "the coprocessor failed on this request";
        assert_eq!(answer.other_error, if data.is_empty() { "" } else { failed }, "{id}");
        assert_eq!(answer.data, if data.is_empty() { 0u64.to_be_bytes().to_vec() } else { Vec::new() });
    }
}

/// Prints what a point read through the stream costs; run it by name with `--run-ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_point_reads() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine::disk::FjallEngine::open(dir.path(), Default::default()).unwrap();
    let bare = BareReplication::new(engine);
    let storage = Storage::new(bare.clone(), None, StorageOptions::default());
    let service = TikvService::new(storage, bare, Arc::new(NoCoprocessor));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service.into_server())
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let mut client = TikvClient::connect(format!("http://{address}")).await.unwrap();
    for n in 0..100u64 {
        let rows = (0..100).map(|i| put(&format!("key{:06}", n * 100 + i), &"v".repeat(120))).collect();
        let load = PrewriteRequest { try_one_pc: true, ..prewrite(rows, n + 1) };
        let done = client.kv_prewrite(load).await.unwrap().into_inner();
        assert!(done.errors.is_empty());
    }
    for in_flight in [1u64, 8, 64] {
        let (sender, receiver) = tokio::sync::mpsc::channel(256);
        let mut replies = client.batch_commands(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let get = |id: u64| {
            let key = format!("key{:06}", id * 7919 % 10_000).into_bytes();
            let cmd = Some(Cmd::Get(GetRequest { context: context(), key, version: u64::MAX - 1 }));
            (BatchRequest { cmd }, id)
        };
        let total = 20_000u64;
        let begin = std::time::Instant::now();
        let (requests, request_ids) = (0..in_flight).map(get).unzip();
        sender.send(BatchCommandsRequest { requests, request_ids }).await.unwrap();
        let (mut sent, mut received) = (in_flight, 0);
        while received < total {
            let reply = replies.message().await.unwrap().unwrap();
            received += reply.request_ids.len() as u64;
            let more = (reply.request_ids.len() as u64).min(total - sent);
            let (requests, request_ids) = (sent..sent + more).map(get).unzip();
            sent += more;
            if more > 0 {
                sender.send(BatchCommandsRequest { requests, request_ids }).await.unwrap();
            }
        }
        let elapsed = begin.elapsed();
        println!(
            "{in_flight} in flight: {:.0} reads/s, {:.1} µs each",
            total as f64 / elapsed.as_secs_f64(),
            elapsed.as_micros() as f64 / total as f64
        );
    }
}

/// Finds the detector at a fixed place.
struct At(Channel);

#[async_trait::async_trait]
impl crate::txn::detector::DetectorLocator for At {
    async fn locate(&self) -> Option<Channel> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn a_deadlock_over_two_nodes_is_found() {
    use crate::mvcc::Key;
    use crate::txn::commands::pessimistic_lock::PessimisticLock;
    use crate::txn::storage::LockWait;
    use crate::txn::{CommandError, TxnError};
    use codec::timestamp::Timestamp;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(DeadlockService::default().into_server());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();

    let stop = tokio_util::sync::CancellationToken::new();
    let node = || {
        let bare = BareReplication::new(MemoryEngine::new());
        let ctx = bare.context();
        let options = StorageOptions { lock_wait_max: std::time::Duration::from_secs(20), ..Default::default() };
        let storage = Storage::new(bare, None, options);
        crate::txn::detector::start(storage.clone(), Arc::new(At(channel.clone())), stop.clone());
        (storage, ctx)
    };
    let (one, two) = (node(), node());
    let lock = |(storage, ctx): &(Storage<_>, _), k: &str, start: u64| {
        let cmd = PessimisticLock {
            keys: vec![(Key::from_user(k.as_bytes()), false)],
            primary: k.as_bytes().to_vec(),
            start_ts: Timestamp(start),
            ttl_ms: 3000,
            for_update_ts: Timestamp(start),
            min_commit_ts: Timestamp::ZERO,
            return_values: false,
            check_existence: false,
            lock_only_if_exists: false,
            allow_conflict: false,
        };
        let (storage, ctx): (Storage<BareReplication<MemoryEngine>>, crate::replication::RegionContext) =
            (storage.clone(), Clone::clone(ctx));
        tokio::spawn(async move { storage.pessimistic_lock(&ctx, cmd, LockWait::Default).await })
    };
    lock(&one, "a", 5).await.unwrap().unwrap();
    lock(&two, "b", 6).await.unwrap().unwrap();
    let begin = std::time::Instant::now();
    let mut waits = [lock(&two, "b", 5), lock(&one, "a", 6)];
    let (ended, index) = {
        let [first, second] = &mut waits;
        tokio::select! { ended = first => (ended, 0), ended = second => (ended, 1) }
    };
    let error = ended.unwrap().unwrap_err();
    assert!(begin.elapsed() < std::time::Duration::from_secs(15), "by the timeout, not by the detector");
    let CommandError::Txn(TxnError::Deadlock { wait_chain, .. }) = error else { panic!("{error}") };
    assert_eq!(wait_chain.len(), 2);
    // The victim gives its lock back, the other one goes on.
    let ((storage, ctx), k, start) = if index == 0 { (&one, b"a", 5) } else { (&two, b"b", 6) };
    let keys = vec![Key::from_user(k)];
    storage.pessimistic_rollback(ctx, keys, Timestamp(start), Timestamp(start)).await.unwrap();
    let [first, second] = waits;
    let survivor = if index == 0 { second } else { first };
    survivor.await.unwrap().unwrap();
    stop.cancel();
}
