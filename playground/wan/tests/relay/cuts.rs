//! Cuts: silence, and everything late when they end.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wan::control::Request;

use crate::harness::*;

#[test]
fn a_cut_is_silence_and_after_it_all_arrives() {
    let mut world = World::of_echoes();
    let mut cut = world.connection(EAST, EUROPE);
    let mut other = world.connection(EAST, WEST);
    cut.write_all(b"under way when it is cut").expect("sent");
    world.cut(EAST, EUROPE, false);
    cut.write_all(b", during the cut").expect("sent");
    assert_silent(&mut cut);
    assert_close(least_round_trip(&mut other), Duration::from_millis(65));
    assert_silent(&mut cut);
    let start = Instant::now();
    world.heal(EUROPE, EAST);
    let mut got = vec![0; 40];
    cut.read_exact(&mut got).expect("it arrives late");
    assert!(start.elapsed() < Duration::from_millis(85) + SOON, "{:?}", start.elapsed());
    assert_eq!(got, b"under way when it is cut, during the cut");
    assert_close(least_round_trip(&mut cut), Duration::from_millis(85));
}

#[test]
fn a_one_way_cut_lets_the_other_way_through() {
    let (heard, hears) = mpsc::channel();
    let talker = server(EUROPE, move |mut stream| {
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let _ = heard.send(buffer[..count].to_vec());
        }
    });
    let mut world = World::start(vec![listener(EUROPE, talker), listener(EAST, echo(EAST))]);
    let mut stream = world.call(EAST, 0);
    stream.write_all(b"one").expect("sent");
    assert_eq!(hears.recv_timeout(PATIENCE).as_deref(), Ok(&b"one"[..]));
    // Answers of the server cannot come; what it is sent still does.
    world.cut(EUROPE, EAST, true);
    stream.write_all(b"two").expect("sent");
    assert_eq!(hears.recv_timeout(PATIENCE).as_deref(), Ok(&b"two"[..]));
    let mut back = world.call(EUROPE, 1);
    back.write_all(b"unheard").expect("sent");
    assert_silent(&mut back);
    world.heal(EUROPE, EAST);
    back.read_exact(&mut [0; 7]).expect("it arrives late");
    // The other way round.
    world.cut(EAST, EUROPE, true);
    stream.write_all(b"three").expect("sent");
    assert_eq!(hears.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Timeout));
    world.ask(Request::HealAll);
    assert_eq!(hears.recv_timeout(PATIENCE).as_deref(), Ok(&b"three"[..]));
}

#[test]
fn a_call_during_a_cut_is_made_when_it_ends() {
    let mut world = World::of_echoes();
    world.cut(WEST, EUROPE, false);
    let mut stream = world.call(WEST, index(EUROPE));
    stream.write_all(b"hello").expect("sent");
    assert_silent(&mut stream);
    world.heal(WEST, EUROPE);
    let mut got = [0; 5];
    stream.read_exact(&mut got).expect("answered late");
    assert_eq!(&got, b"hello");
}

#[test]
fn an_end_during_a_cut_arrives_after_it() {
    let mut world = World::of_echoes();
    let mut stream = world.connection(EAST, EUROPE);
    world.cut(EAST, EUROPE, false);
    stream.write_all(b"last words").expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    assert_silent(&mut stream);
    world.heal(EAST, EUROPE);
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("the echo ends too");
    assert_eq!(got, b"last words");
    eventually(|| world.usage().connections, |open| *open == 0);
}

#[test]
fn what_both_ends_sent_before_they_ended_during_a_cut_arrives_after_it() {
    let (accepted, accepts) = mpsc::channel();
    let keeper = server(EUROPE, move |stream| drop(accepted.send(stream)));
    let mut world = World::start(vec![listener(EUROPE, keeper)]);
    let meet = |world: &World| {
        let mut caller = world.call(EAST, 0);
        caller.write_all(b"hello").expect("sent");
        let mut served = accepts.recv_timeout(PATIENCE).expect("it is called");
        served.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        served.read_exact(&mut [0; 5]).expect("heard");
        (caller, served)
    };
    // Both have said all and listen; one listens to who has closed; one is answered on the way that is cut.
    let (mut caller, mut served) = meet(&world);
    let (mut listens, mut closes) = meet(&world);
    let (mut asks, mut answers) = meet(&world);
    world.cut(EUROPE, EAST, true);
    asks.write_all(b"a question").expect("sent");
    asks.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut question = Vec::new();
    answers.read_to_end(&mut question).expect("heard");
    answers.write_all(b"an answer").expect("sent");
    drop(answers);
    world.cut(EAST, EUROPE, false);
    for (stream, words) in [(&mut caller, "the caller's last words"), (&mut served, "the server's last words")] {
        stream.write_all(words.as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    }
    listens.shutdown(std::net::Shutdown::Write).expect("half closed");
    closes.write_all(b"a farewell").expect("sent");
    drop(closes);
    for stream in [&mut caller, &mut served, &mut listens, &mut asks] {
        assert_silent(stream);
    }
    world.heal(EAST, EUROPE);
    for (stream, words) in [
        (&mut caller, "the server's last words"),
        (&mut served, "the caller's last words"),
        (&mut listens, "a farewell"),
        (&mut asks, "an answer"),
    ] {
        let mut got = String::new();
        stream.read_to_string(&mut got).expect("it arrives late, and its end too");
        assert_eq!(got, words);
    }
    eventually(|| world.usage(), |usage| usage.connections == 0 && usage.buffered_bytes == 0);
}

#[test]
fn whose_ends_are_gone_is_freed_during_a_cut() {
    let (accepted, accepts) = mpsc::channel();
    let keeper = server(EUROPE, move |stream| drop(accepted.send(stream)));
    let mut world = World::start(vec![listener(EUROPE, keeper)]);
    let callers: Vec<_> = (0..20).map(|_| world.call(EAST, 0)).collect();
    let servers: Vec<_> = (0..20).map(|_| accepts.recv_timeout(PATIENCE).expect("it is called")).collect();
    world.cut(EAST, EUROPE, false);
    let waits = world.call(EAST, 0);
    eventually(|| world.usage().connections, |open| *open == 21);
    drop(callers);
    drop(waits);
    eventually(|| world.usage().connections, |open| *open == 20);
    drop(servers);
    eventually(|| world.usage().connections, |open| *open == 0);
    assert_eq!(world.usage().buffered_bytes, 0);
}

#[test]
fn an_isolated_server_hears_nobody_until_it_is_back() {
    let mut world = World::of_echoes();
    let mut inside = world.connection(EAST, EAST);
    let mut across = world.connection(WEST, EAST);
    let mut other = world.connection(EAST, EUROPE);
    let std::net::SocketAddr::V4(_) = inside.peer_addr().expect("its address") else { panic!("not IPv4") };
    // All echoes of a region listen at host 1 of its network.
    let hosts = vec![wan::config::address_in_region(index(EAST), 1)];
    world.ask(Request::Isolate { name: "sql-1".to_owned(), hosts });
    for stream in [&mut inside, &mut across] {
        stream.write_all(b"late").expect("sent");
        assert_silent(stream);
    }
    round_trip(&mut other);
    let mut new = world.call(EAST, index(EAST));
    new.write_all(b"late").expect("sent");
    assert_silent(&mut new);
    world.ask(Request::Rejoin { name: "sql-1".to_owned() });
    for stream in [&mut inside, &mut across, &mut new] {
        stream.read_exact(&mut [0; 4]).expect("it arrives late");
    }
    assert_close(least_round_trip(&mut across), Duration::from_millis(65));
}
