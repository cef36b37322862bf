//! What the control socket tells and takes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use wan::config::{Config, Tier};
use wan::control::{ControlClient, ControlError, Request, Response};
use wan::relay::{Relay, StartError};

use crate::harness::*;

#[test]
fn links_tell_what_is_asked_of_them() {
    let mut world = World::of_echoes();
    world.set_rtt(EAST, EUROPE, "300ms");
    world.cut(WEST, EUROPE, true);
    let Response::Links(links) = world.ask(Request::Links) else { panic!("not links") };
    assert_eq!(links.len(), 9);
    let changed: Vec<_> = links.iter().filter(|link| link.shape != link.original).collect();
    assert_eq!(changed.len(), 2, "both ways: {changed:?}");
    assert!(
        changed.iter().all(|link| link.shape.rtt.to_string() == "300ms" && link.original.rtt.to_string() == "85ms")
    );
    let cut: Vec<_> = links.iter().filter(|link| link.cut).collect();
    assert!(matches!(cut[..], [link] if link.from == WEST && link.to == EUROPE), "{cut:?}");
    world.ask(Request::HealAll);
    let Response::Links(links) = world.ask(Request::Links) else { panic!("not links") };
    assert!(links.iter().all(|link| !link.cut && link.shape == link.original));
}

#[test]
fn traffic_is_counted_by_direction_and_tier() {
    let mut probe = listener(WEST, echo(WEST));
    probe.tier = Tier::Probe;
    let mut world = World::start(vec![listener(EUROPE, echo(EUROPE)), probe]);
    for (from, at, times) in [(EAST, 0, 3), (EUROPE, 0, 2), (EAST, 1, 1)] {
        let mut stream = world.call(from, at);
        for _ in 0..times {
            round_trip(&mut stream);
        }
    }
    let Response::Traffic(mut rows) = world.ask(Request::Traffic) else { panic!("not traffic") };
    rows.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    let rows: Vec<_> =
        rows.iter().map(|row| (row.from.as_str(), row.to.as_str(), row.tier, row.bytes, row.messages)).collect();
    // Inside a region both ways are one direction.
    let expect = [
        (EUROPE, EUROPE, Tier::Sql, 16, 4),
        (EUROPE, EAST, Tier::Sql, 12, 3),
        (EAST, EUROPE, Tier::Sql, 12, 3),
        (EAST, WEST, Tier::Probe, 4, 1),
        (WEST, EAST, Tier::Probe, 4, 1),
    ];
    assert_eq!(rows, expect);
    let usage = world.usage();
    assert_eq!(usage.messages, 12);
    assert!(usage.cpu_us > 0 && usage.cpu_us_per_message > 0.0, "{usage:?}");
}

#[test]
fn bad_requests_are_answered_and_change_nothing() {
    let mut world = World::of_echoes();
    let mut control = ControlClient::connect(&world.control_path).expect("a second client");
    let unknown = Request::Cut { from: EAST.to_owned(), to: "mars".to_owned(), one_way: false };
    let error = control.call(&unknown).expect_err("refused");
    assert!(matches!(&error, ControlError::Refused(_)), "{error:?}");
    assert_eq!(error.to_string(), "there is no region `mars`; this cluster has us-east-1, us-west-2, eu-west-1");

    // Two requests at once, then a line that never ends.
    let mut raw = UnixStream::connect(&world.control_path).expect("a third client");
    raw.write_all(b"what?\n{\"do\":\"heal_all\"}\n").expect("sent");
    let mut lines = BufReader::new(raw.try_clone().expect("a second handle")).lines();
    let mut line = || lines.next().expect("a line").expect("no error");
    assert!(line().starts_with("{\"error\":\"the request cannot be read"));
    assert_eq!(line(), "{\"done\":null}");
    raw.write_all(&vec![b' '; 70_000]).expect("sent");
    assert!(line().contains("at most 65536 bytes"));
    assert!(lines.next().is_none_or(|line| line.is_err()));

    let Response::Links(links) = world.ask(Request::Links) else { panic!("not links") };
    assert!(links.iter().all(|link| !link.cut));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let std::net::SocketAddr::V4(address) = taken.local_addr().expect("its address") else { panic!("not IPv4") };
    let mut door = listener(EAST, nobody(EAST));
    door.listen = address;
    let regions = REGIONS.map(str::to_owned).to_vec();
    let links = wan::profile::well_known(&regions).expect("well known");
    let config = Config { regions, listeners: vec![door], links };
    let error = Relay::start(&config, None).expect_err("in use");
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(
        error.to_string().starts_with(&format!("listen on {address} for sql-1: Address already in use")),
        "{error}"
    );
}

#[test]
fn a_control_socket_is_taken_over_only_from_the_dead() {
    let world = World::of_echoes();
    let config = Config {
        regions: vec![EAST.to_owned()],
        listeners: Vec::new(),
        links: wan::profile::well_known(&[EAST.to_owned()]).expect("one region"),
    };
    let error = Relay::start(&config, Some(&world.control_path)).expect_err("a relay lives there").to_string();
    assert!(error.contains("wan.sock"), "{error}");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    Relay::start(&config, Some(&path)).expect("nobody listens there");
    assert!(!path.exists(), "it is removed with the relay");
}
