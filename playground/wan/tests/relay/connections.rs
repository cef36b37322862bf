//! How connections begin and end, and how many there may be.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::*;

#[test]
fn a_thousand_connections() {
    wan::relay::raise_open_files().expect("more files");
    let mut world = World::of_echoes();
    let mut streams: Vec<TcpStream> = (0..1_000).map(|_| world.call(WEST, index(EAST))).collect();
    for round in 0..3 {
        let start = Instant::now();
        for stream in &mut streams {
            stream.write_all(b"ping").expect("sent");
        }
        for stream in &mut streams {
            stream.read_exact(&mut [0; 4]).expect("answered");
        }
        assert!(start.elapsed() < Duration::from_secs(3), "round {round} took {:?}", start.elapsed());
    }
    assert_eq!(world.usage().connections, 1_000);
    drop(streams);
    eventually(|| world.usage(), |usage| usage.connections == 0 && usage.buffered_bytes == 0);
}

#[test]
fn a_server_that_is_not_there_is_a_reset() {
    let mut world = World::start(vec![listener(EUROPE, nobody(EUROPE))]);
    let start = Instant::now();
    let mut stream = world.call(EAST, 0);
    let error = stream.read(&mut [0]).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() >= Duration::from_millis(85), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_millis(2 * 85) + SOON, "{:?}", start.elapsed());
    let usage = eventually(|| world.usage(), |usage| usage.connections == 0);
    assert_eq!(usage.connects_refused, 1);
}

#[test]
fn half_a_close_leaves_the_other_half_open() {
    let whole = server(EUROPE, |mut stream| {
        let mut question = Vec::new();
        if stream.read_to_end(&mut question).is_ok() {
            question.reverse();
            let _ = stream.write_all(&question);
        }
    });
    let mut world = World::start(vec![listener(EUROPE, whole)]);
    let mut stream = world.call(EAST, 0);
    stream.write_all(b"question").expect("sent");
    // Before the connection is even made.
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    assert_eq!(answer, b"noitseuq");
    eventually(|| world.usage().connections, |open| *open == 0);
}

#[test]
fn a_reset_arrives_as_one_behind_what_was_sent() {
    let (accepted, accepts) = mpsc::channel();
    let keeper = server(EUROPE, move |stream| drop(accepted.send(stream)));
    let mut world = World::start(vec![listener(EUROPE, keeper)]);
    for caller_resets in [true, false] {
        let caller = world.call(EAST, 0);
        let server = accepts.recv_timeout(PATIENCE).expect("it is called");
        let (mut resets, mut hears) = if caller_resets { (caller, server) } else { (server, caller) };
        hears.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A socket that is closed with something unread sends a reset.
        hears.write_all(b"unread").expect("sent");
        resets.peek(&mut [0]).expect("it has come");
        resets.write_all(b"farewell").expect("sent");
        hears.read_exact(&mut [0; 8]).expect("it has come");
        let start = Instant::now();
        drop(resets);
        let error = hears.read(&mut [0]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(start.elapsed() >= Duration::from_millis(42), "{:?}", start.elapsed());
        eventually(|| world.usage().connections, |open| *open == 0);
    }
}

#[test]
fn who_talks_to_a_caller_that_has_closed_hears_of_it() {
    let (accepted, accepts) = mpsc::channel();
    let keeper = server(EUROPE, move |stream| drop(accepted.send(stream)));
    let mut world = World::start(vec![listener(EUROPE, keeper)]);
    let caller = world.call(EAST, 0);
    let mut server = accepts.recv_timeout(PATIENCE).expect("it is called");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    drop(caller);
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
    let _ = eventually(|| server.write(b"is anybody there?").map_err(|error| error.kind()), Result::is_err);
    drop(server);
    eventually(|| world.usage().connections, |open| *open == 0);
}

#[test]
fn a_server_that_closes_at_once_is_an_end_for_its_caller() {
    let curt = server(EUROPE, drop);
    let mut world = World::start(vec![listener(EUROPE, curt)]);
    let mut stream = world.call(EAST, 0);
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
    drop(stream);
    eventually(|| world.usage().connections, |open| *open == 0);
}
