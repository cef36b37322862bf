//! How long messages take.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::harness::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn round_trips_are_as_the_regions_are_apart() {
    let world = World::of_echoes();
    let asked = [[500, 65_000, 85_000], [65_000, 500, 140_000], [85_000, 140_000, 500]]
        .map(|row| row.map(Duration::from_micros));
    std::thread::scope(|scope| {
        for from in REGIONS {
            let (world, asked) = (&world, &asked);
            scope.spawn(move || {
                for to in REGIONS {
                    let got = least_round_trip(&mut world.connection(from, to));
                    assert_close(got, asked[index(from)][index(to)]);
                }
            });
        }
    });
}

#[test]
fn whoever_comes_from_no_region_is_where_the_server_is() {
    let world = World::of_echoes();
    for source in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 77, 1)] {
        let got = least_round_trip(&mut world.call_from(source, index(EUROPE)));
        assert_close(got, Duration::from_micros(500));
    }
}

#[test]
fn through_a_door_all_come_from_its_region() {
    let mut door = listener(EAST, echo(EAST));
    door.listen.set_ip(Ipv4Addr::LOCALHOST);
    door.caller = Some(WEST.to_owned());
    let world = World::start(vec![door]);
    assert_close(least_round_trip(&mut world.call_from(Ipv4Addr::LOCALHOST, 0)), MS(65));
    assert_close(least_round_trip(&mut world.call(EUROPE, 0)), MS(65));
}

#[test]
fn a_first_answer_takes_one_round_trip_more() {
    let world = World::of_echoes();
    let first = |_| {
        let start = Instant::now();
        let mut stream = world.call(EAST, index(EUROPE));
        round_trip(&mut stream);
        start.elapsed()
    };
    assert_close((0..5).map(first).min().expect("some"), MS(2 * 85));
}

#[test]
fn a_greeting_comes_two_round_trips_after_the_call() {
    let greeter = server(EUROPE, |mut stream| {
        let _ = stream.write_all(b"5.7.25");
        let _ = stream.read(&mut [0]);
    });
    let world = World::start(vec![listener(EUROPE, greeter)]);
    let greeted = |_| {
        let start = Instant::now();
        let mut stream = world.call(EAST, 0);
        stream.read_exact(&mut [0; 6]).expect("a greeting");
        start.elapsed()
    };
    assert_close((0..5).map(greeted).min().expect("some"), MS(2 * 85));
}

#[test]
fn a_change_takes_hold_at_once_and_nowhere_else() {
    let mut world = World::of_echoes();
    let mut changed = world.connection(EAST, EUROPE);
    let mut other = world.connection(EAST, WEST);
    world.set_rtt(EAST, EUROPE, "20ms");
    assert_close(least_round_trip(&mut changed), MS(20));
    assert_close(least_round_trip(&mut other), MS(65));
    world.set_rtt(EUROPE, EAST, "200ms");
    assert_close(least_round_trip(&mut changed), MS(200));
    world.ask(wan::control::Request::HealAll);
    assert_close(least_round_trip(&mut changed), MS(85));
}

#[test]
fn a_change_holds_for_what_is_under_way() {
    let mut world = World::of_echoes();
    let mut stream = world.connection(EAST, EUROPE);
    world.set_rtt(EAST, EUROPE, "10s");
    stream.write_all(b"on its way").expect("sent");
    assert_silent(&mut stream);
    let start = Instant::now();
    world.set_rtt(EAST, EUROPE, "1ms");
    stream.read_exact(&mut [0; 10]).expect("it arrives");
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
}

#[test]
fn many_messages_in_flight_keep_their_order() {
    let mut world = World::of_echoes();
    world.set(
        EAST,
        WEST,
        wan::shape::ShapeChange {
            rtt: Some("20ms".parse().expect("a delay")),
            jitter: Some("10ms".parse().expect("a delay")),
            ..Default::default()
        },
    );
    let mut stream = world.connection(EAST, WEST);
    let mut sender = stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        for number in 0..20_000u32 {
            sender.write_all(&number.to_be_bytes()).expect("sent");
        }
    });
    for number in 0..20_000u32 {
        let mut got = [0; 4];
        stream.read_exact(&mut got).expect("answered");
        assert_eq!(u32::from_be_bytes(got), number);
    }
    sending.join().expect("all were sent");
}
