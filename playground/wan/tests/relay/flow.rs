//! How much passes, and how much is held.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::*;

const MB: usize = 1_000_000;

/// A server that takes what it is sent, and says so with one byte at the end.
fn sink(region: &str) -> std::net::SocketAddrV4 {
    server(region, |mut stream| {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(1..) = stream.read(&mut buffer) {}
        let _ = stream.write_all(b"!");
    })
}

/// Waits until the server's end is reached too.
fn upload(stream: &mut TcpStream, bytes: usize) {
    let chunk = vec![7; MB];
    for _ in 0..bytes / MB {
        stream.write_all(&chunk).expect("sent");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    stream.read_exact(&mut [0]).expect("all has arrived");
}

/// Several uploads at once end never sooner than asked, and where the machine lets it, no more than a tenth later and
/// with the first not far before the last: the best of some tries. `transfer` tells when each ended.
#[track_caller]
fn assert_within_a_tenth(asked: Duration, mut transfer: impl FnMut() -> Vec<Duration>) {
    let mut tries = Vec::new();
    for _ in 0..6 {
        let ends = transfer();
        let (first, last) = (*ends.iter().min().expect("some"), *ends.iter().max().expect("some"));
        assert!(last > asked.mul_f64(0.9), "{ends:?} instead of {asked:?}");
        if last < asked.mul_f64(1.1) && first > last.mul_f64(0.8) {
            return;
        }
        tries.push(ends);
    }
    panic!("{tries:?} instead of {asked:?}");
}

#[test]
fn a_transfer_holds_its_bandwidth() {
    let mut world = World::start(vec![listener(EUROPE, sink(EUROPE))]);
    world.set_bandwidth(EAST, EUROPE, "800mbit");
    world.set_rtt(EAST, EUROPE, "20ms");
    assert_within_a_tenth(Duration::from_millis(1_000 + 2 * 20), || {
        let mut stream = world.call(EAST, 0);
        let start = Instant::now();
        upload(&mut stream, 100 * MB);
        vec![start.elapsed()]
    });
}

#[test]
fn connections_share_the_bandwidth_evenly() {
    let mut world = World::start(vec![listener(EUROPE, sink(EUROPE))]);
    world.set_bandwidth(EAST, EUROPE, "320mbit");
    world.set_rtt(EAST, EUROPE, "20ms");
    assert_within_a_tenth(Duration::from_millis(1_000 + 2 * 20), || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let upload = |mut stream: TcpStream| {
                upload(&mut stream, 10 * MB);
                start.elapsed()
            };
            let uploads: Vec<_> = (0..4).map(|_| world.call(EAST, 0)).map(|s| scope.spawn(move || upload(s))).collect();
            uploads.into_iter().map(|upload| upload.join().expect("no panic")).collect()
        })
    });
}

#[test]
fn a_small_message_passes_beside_a_transfer() {
    let mut world = World::start(vec![listener(EUROPE, sink(EUROPE)), listener(EUROPE, echo(EUROPE))]);
    world.set_bandwidth(EAST, EUROPE, "100mbit");
    world.set_rtt(EAST, EUROPE, "10ms");
    let mut small = world.call(EAST, 1);
    round_trip(&mut small);
    let mut big = world.call(EAST, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| upload(&mut big, 10 * MB));
        eventually(|| world.usage().buffered_bytes, |bytes| *bytes > 200_000);
        // It waits for the wire, as behind a router's buffer, but not for the whole transfer.
        let got = (0..5).map(|_| round_trip(&mut small)).min().expect("some");
        assert!(got < Duration::from_millis(60), "{got:?}");
    });
}

#[test]
fn a_change_of_the_bandwidth_takes_hold_at_once() {
    let mut world = World::start(vec![listener(EUROPE, sink(EUROPE))]);
    world.set_bandwidth(EAST, EUROPE, "10kbit");
    world.set_rtt(EAST, EUROPE, "1ms");
    let mut stream = world.call(EAST, 0);
    std::thread::scope(|scope| {
        let uploading = scope.spawn(|| upload(&mut stream, MB));
        eventually(|| world.usage().buffered_bytes, |bytes| *bytes > 1_000);
        let start = Instant::now();
        world.set_bandwidth(EAST, EUROPE, "1gbit");
        uploading.join().expect("it ends");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    });
}

#[test]
fn without_a_limit_the_machine_is_the_limit() {
    let world = World::start(vec![listener(EAST, sink(EAST))]);
    let start = Instant::now();
    upload(&mut world.call(EAST, 0), 200 * MB);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn what_is_not_read_is_not_held_without_bound() {
    let (accepted, accepts) = std::sync::mpsc::channel();
    let lazy = server(EUROPE, move |stream| drop(accepted.send(stream)));
    let mut world = World::start(vec![listener(EUROPE, lazy)]);
    world.set_bandwidth(EAST, EUROPE, "80mbit");
    world.set_rtt(EAST, EUROPE, "20ms");
    let mut stream = world.call(EAST, 0);
    let mut server = accepts.recv_timeout(PATIENCE).expect("it is called");
    stream.set_nonblocking(true).expect("nonblocking");
    // Until neither the kernel nor the relay takes any more for a while.
    let chunk = vec![7; 64 * 1024];
    let (mut sent, mut progress) = (0, Instant::now());
    while progress.elapsed() < 3 * SOON {
        match stream.write(&chunk) {
            Ok(count) => (sent, progress) = (sent + count, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    // Ten megabytes a second for 50 ms, 64 KiB, and one read.
    let held = world.usage().buffered_bytes;
    assert!((300_000..600_000).contains(&held), "{held} bytes are held");
    // And all of it arrives when the receiver wakes.
    drop(stream);
    let mut got = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match server.read(&mut buffer).expect("it goes on") {
            0 => break,
            count => got += count,
        }
    }
    assert_eq!(got, sent);
    drop(server);
    eventually(|| world.usage(), |usage| usage.connections == 0 && usage.buffered_bytes == 0);
}
