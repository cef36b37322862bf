//! What a message costs. Not checked, as it says as much about the machine; to see it:
//! `cargo test -p wan --release --test relay cost -- --ignored --nocapture`

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::harness::*;

fn report(what: &str, world: &mut World, work: impl FnOnce(&mut World)) {
    let (before, start) = (world.usage(), Instant::now());
    work(world);
    let (after, took) = (world.usage(), start.elapsed());
    let (cpu_us, messages) = (after.cpu_us - before.cpu_us, after.messages - before.messages);
    let each = cpu_us as f64 / messages as f64;
    let rate = messages as f64 / took.as_secs_f64();
    println!("{what}: {each:.1} µs of CPU a message, {messages} messages, {rate:.0} a second");
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_message() {
    let mut world = World::of_echoes();
    world.set_rtt(EAST, WEST, "2ms");
    let mut lone = world.connection(EAST, WEST);
    report("alone, one at a time", &mut world, |_| {
        for _ in 0..2_000 {
            round_trip(&mut lone);
        }
    });
    for connections in [8, 64] {
        let streams: Vec<_> = (0..connections).map(|_| world.connection(EAST, WEST)).collect();
        report(&format!("{connections} connections, one at a time each"), &mut world, |_| {
            std::thread::scope(|scope| {
                for mut stream in streams {
                    scope.spawn(move || {
                        let start = Instant::now();
                        while start.elapsed() < Duration::from_secs(2) {
                            round_trip(&mut stream);
                        }
                    });
                }
            });
        });
    }
    // As gRPC does it: many requests on one connection, small writes.
    let mut stream = world.connection(EAST, WEST);
    let mut sender = stream.try_clone().expect("a second handle");
    report("one connection, many in flight", &mut world, |_| {
        let total: usize = 100 * 100_000;
        let sending = std::thread::spawn(move || {
            for _ in 0..100_000 {
                sender.write_all(&[7; 100]).expect("sent");
            }
        });
        let mut got = 0;
        let mut buffer = vec![0; 64 * 1024];
        while got < total {
            got += stream.read(&mut buffer).expect("answered");
        }
        sending.join().expect("all were sent");
    });
}
