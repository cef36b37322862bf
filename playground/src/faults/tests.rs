//! The library in programs that run, and what it is told by.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::control_file::SIZE;
use super::disk::SLOW_MAX;
use super::library::compile;
use super::*;

/// Says what clocks show, through libc and in truth, and whether one ever went back.
const PROBE: &str = r#"
    #define _GNU_SOURCE
    #include <linux/futex.h>
    #include <poll.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    static long long ns(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }
    static long long shown(clockid_t c) { struct timespec t; clock_gettime(c, &t); return ns(t); }
    static long long truly(clockid_t c) { struct timespec t; syscall(SYS_clock_gettime, c, &t); return ns(t); }
    int main(int argc, char **argv) {
        if (argc > 1) {  /* waits until the shown clock is so many milliseconds later: how long that was in truth */
            long long until = shown(CLOCK_MONOTONIC) + atoll(argv[1]) * 1000000, begin = truly(CLOCK_MONOTONIC);
            struct timespec t = {until / 1000000000, until % 1000000000};
            int word = 0;
            syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY);
            printf("%lld\n", truly(CLOCK_MONOTONIC) - begin);
            return 0;
        }
        /* A line per line of input; in between it watches the clock. */
        long long last = 0, back = 0;
        struct pollfd in = {0, POLLIN, 0};
        char line[16];
        for (int n = 0;; n++) {
            long long now = shown(CLOCK_MONOTONIC);
            if (now < last) back++;
            last = now;
            if (n % 64 || poll(&in, 1, 0) == 0) continue;
            if (read(0, line, sizeof line) <= 0) return 0;
            long long wall = shown(CLOCK_REALTIME) - truly(CLOCK_REALTIME);
            long long monotonic = shown(CLOCK_MONOTONIC) - truly(CLOCK_MONOTONIC);
            printf("%lld %lld %lld\n", wall, monotonic, back);
            fflush(stdout);
        }
    }"#;

/// What the programs of a node have called since its control file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    /// Questions for the time.
    clock_calls: u64,
    /// Writes to files of the data directory.
    writes: u64,
    /// Syncs of files and directories of the data directory.
    syncs: u64,
    /// Faults done to such a write or sync.
    injected: u64,
    /// Processes that have loaded the library.
    loads: u64,
}

impl NodeFaults {
    fn counters(&self) -> io::Result<Counters> {
        Ok(Counters {
            clock_calls: self.number(256)?,
            writes: self.number(320)?,
            syncs: self.number(328)?,
            injected: self.number(336)?,
            loads: self.number(344)?,
        })
    }
}

const HOUR_NS: i64 = 3_600_000_000_000;
/// Between two clocks that are read one after the other on a busy machine.
const NEAR_NS: i64 = 50_000_000;

/// A node's directory with its data below it, the library, and programs to load it into.
struct Fixture {
    dir: TempDir,
    library: FaultLibrary,
    node: NodeFaults,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let library = FaultLibrary::build(dir.path()).unwrap();
        library.environment(&dir.path().join("n"), &dir.path().join("n/data")).unwrap();
        std::fs::create_dir(dir.path().join("n/data")).unwrap();
        let node = FaultLibrary::control(&dir.path().join("n")).unwrap();
        Fixture { dir, library, node }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let node_dir = self.dir.path().join("n");
        let mut command = Command::new(program);
        command.envs(self.library.environment(&node_dir, &node_dir.join("data")).unwrap()).env("LC_ALL", "C");
        command
    }

    /// Writes and syncs a file, by its path from the node's directory.
    fn dd(&self, file: &str) -> Output {
        let of = format!("of={}", self.dir.path().join("n").join(file).display());
        self.command("dd").args(["if=/dev/zero", &of, "bs=4k", "count=2", "conv=fsync"]).output().unwrap()
    }

    fn probe(&self) -> Probe {
        let binary = self.dir.path().join("probe");
        if !binary.exists() {
            compile(PROBE, &[], &binary).unwrap();
        }
        let child = self.command(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Probe { child }
    }
}

struct Probe {
    child: Child,
}

impl Probe {
    /// How far the wall clock and the monotonic clock are ahead, and how often the latter has gone back.
    fn ask(&mut self) -> [i64; 3] {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let numbers: Vec<i64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn a_jump_moves_the_wall_clock_of_a_program_that_runs_and_leaves_the_monotonic_one() {
    let fixture = Fixture::new();
    let mut probe = fixture.probe();
    assert!(probe.ask()[..2].iter().all(|ahead| ahead.abs() < NEAR_NS));
    for (change, ahead) in [("1h", HOUR_NS), ("1h", 2 * HOUR_NS), ("-150m", -HOUR_NS / 2)] {
        fixture.node.set_clock(&ClockChange::jump(change).unwrap()).unwrap();
        let [wall, monotonic, back] = probe.ask();
        assert!((wall - ahead).abs() < NEAR_NS && monotonic.abs() < NEAR_NS && back == 0, "{wall} {monotonic}");
    }
    assert_eq!(fixture.node.describe().unwrap(), "clock -30m");
    // One that starts meanwhile, and asks otherwise.
    let date = fixture.command("date").arg("+%s").output().unwrap().stdout;
    let date: u64 = String::from_utf8(date).unwrap().trim().parse().unwrap();
    let truth = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((1795..=1805).contains(&(truth - date)), "{date} {truth}");
    assert!(fixture.node.heal().unwrap());
    assert!(!fixture.node.heal().unwrap());
    assert!(probe.ask()[0].abs() < NEAR_NS);
    let counters = fixture.node.counters().unwrap();
    assert!(counters.clock_calls > 1000 && counters.loads == 2 && counters.injected == 0, "{counters:?}");
}

#[test]
fn a_drift_bends_all_clocks_and_never_makes_the_monotonic_one_step_or_go_back() {
    let fixture = Fixture::new();
    let mut probe = fixture.probe();
    probe.ask();
    fixture.node.set_clock(&ClockChange::Drift(100_000)).unwrap();
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let [wall, monotonic, _] = probe.ask();
    // From a tenth of a second later on, a tenth too fast.
    let gained = (begin.elapsed().as_nanos() as i64 - 100_000_000) / 10;
    assert!((monotonic - gained).abs() < NEAR_NS / 5 && (wall - monotonic).abs() < NEAR_NS, "{wall} {monotonic}");
    // At once again and again: each waits until the one before holds.
    for ppm in [-100_000, 50_000, -100_000, 0, 100_000, -100_000] {
        fixture.node.set_clock(&ClockChange::Drift(ppm)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    fixture.node.set_clock(&ClockChange::Reset).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let [wall, kept, back] = probe.ask();
    assert!(wall.abs() < NEAR_NS && back == 0, "{wall}, went back {back} times");
    std::thread::sleep(Duration::from_millis(200));
    let [_, still, _] = probe.ask();
    assert!(kept != 0 && (still - kept).abs() < 1_000_000, "{kept} {still}");
}

#[test]
fn a_deadline_of_a_drifting_clock_is_met_in_the_kernels_time() {
    let fixture = Fixture::new();
    drop(fixture.probe());
    let wait = || -> i64 {
        let output = fixture.command(fixture.dir.path().join("probe")).arg("200").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    assert!((200_000_000..300_000_000).contains(&wait()));
    fixture.node.set_clock(&ClockChange::Drift(100_000)).unwrap();
    // Until the clock is 100 ms ahead, which would be waited for in addition, or, the other way, not at all.
    std::thread::sleep(Duration::from_millis(1100));
    let waited = wait();
    assert!((181_000_000..260_000_000).contains(&waited), "{waited}");
    fixture.node.set_clock(&ClockChange::Drift(-100_000)).unwrap();
    std::thread::sleep(Duration::from_millis(2600));
    let waited = wait();
    assert!((221_000_000..320_000_000).contains(&waited), "{waited}");
}

#[test]
fn a_disk_is_slow_broken_or_full_below_the_data_directory_and_nowhere_else() {
    let fixture = Fixture::new();
    let error = |output: Output| String::from_utf8(output.stderr).unwrap();
    assert!(fixture.dd("data/a").status.success());
    assert!(fixture.dd("b").status.success());
    let counters = fixture.node.counters().unwrap();
    assert_eq!((counters.writes, counters.syncs), (2, 1), "of the file below it");

    fixture.node.set_disk(&DiskFault::Fail).unwrap();
    let output = error(fixture.dd("data/a"));
    assert!(output.contains("Input/output error"), "{output}");
    assert!(fixture.dd("b").status.success());
    assert!(fixture.dd("data2").status.success(), "its name only begins alike");

    fixture.node.set_disk(&DiskFault::Full).unwrap();
    let output = error(fixture.dd("data/a"));
    assert!(output.contains("No space left on device"), "{output}");
    let injected = fixture.node.counters().unwrap().injected;
    assert!(injected >= 2, "{injected}");

    fixture.node.set_disk(&DiskFault::slow("400ms").unwrap()).unwrap();
    let begin = Instant::now();
    assert!(fixture.dd("data/a").status.success());
    assert!(begin.elapsed() >= Duration::from_millis(400));
    assert_eq!(fixture.node.counters().unwrap().injected, injected + 1, "the writes were not slowed");

    // A sync that waits does not wait for a disk that has healed.
    fixture.node.set_disk(&DiskFault::Slow(SLOW_MAX)).unwrap();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let dd = scope.spawn(|| fixture.dd("data/a"));
        while fixture.node.counters().unwrap().injected < injected + 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(fixture.node.describe().unwrap(), "disk slow 1m");
        assert!(fixture.node.heal().unwrap());
        assert!(dd.join().unwrap().status.success());
    });
    assert!(begin.elapsed() < SLOW_MAX / 2);
}

#[test]
fn without_a_control_file_that_it_knows_the_library_says_so_and_lets_everything_through() {
    let fixture = Fixture::new();
    fixture.node.set_disk(&DiskFault::Fail).unwrap();
    let other = fixture.dir.path().join("other");
    for content in ["", "short", &"x".repeat(SIZE)] {
        std::fs::write(&other, content).unwrap();
        let of = format!("of={}", fixture.dir.path().join("n/data/a").display());
        let mut dd = fixture.command("dd");
        let output = dd.env("MERIDIAN_FAULTS", &other).args(["if=/dev/zero", &of, "count=1"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success());
        assert_eq!(said.matches("libfaults: ").count(), 1, "{said}");
        assert!(said.contains("no faults can be made in this process"), "{said}");
    }
    assert!(NodeFaults::open(&other).is_err());
}

#[test]
fn a_playground_that_starts_anew_knows_nothing_of_faults_before_it_and_a_server_that_does_keeps_them() {
    let fixture = Fixture::new();
    let environment = |library: &FaultLibrary| {
        library.environment(&fixture.dir.path().join("n"), &fixture.dir.path().join("n/data")).unwrap();
        FaultLibrary::control(&fixture.dir.path().join("n")).unwrap().describe().unwrap()
    };
    fixture.node.set_disk(&DiskFault::Full).unwrap();
    fixture.node.set_clock(&ClockChange::Drift(-7)).unwrap();
    assert_eq!(environment(&fixture.library), "drift -7ppm, disk full");
    assert_eq!(environment(&FaultLibrary::build(fixture.dir.path()).unwrap()), "");
}

#[test]
fn the_library_is_compiled_once_and_in_no_place_from_where_it_would_not_be_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let library = FaultLibrary::build(dir.path()).unwrap();
    let compiled = std::fs::metadata(&library.path).unwrap().modified().unwrap();
    FaultLibrary::build(dir.path()).unwrap();
    assert_eq!(std::fs::metadata(&library.path).unwrap().modified().unwrap(), compiled);
    std::fs::create_dir(dir.path().join("my clusters")).unwrap();
    assert!(FaultLibrary::build(&dir.path().join("my clusters")).is_err());
    let error = compile("int f(", &["-shared"], &dir.path().join("x")).unwrap_err().to_string();
    assert!(error.contains("error: "), "{error}");
}

#[test]
fn changes_are_read_as_they_are_written_and_absurd_ones_refused() {
    let jump = |text: &str| ClockChange::jump(text).map_err(|e| e.to_string());
    assert_eq!(jump("1h"), Ok(ClockChange::Jump(HOUR_NS)));
    assert_eq!(jump("+1h30m"), Ok(ClockChange::Jump(HOUR_NS * 3 / 2)));
    assert_eq!(jump("-30s"), Ok(ClockChange::Jump(-30_000_000_000)));
    assert_eq!(jump("-30s").unwrap().to_string(), "jumps 30s back");
    for absurd in ["", "-", "--1s", "5", "4000d", "tomorrow", "é"] {
        assert!(jump(absurd).unwrap_err().contains("at most 10 years"), "{absurd}");
    }
    assert_eq!(ClockChange::drift("200ppm").unwrap(), ClockChange::Drift(200));
    assert_eq!(ClockChange::drift("-50ppm").unwrap().to_string(), "drifts by -50ppm");
    for absurd in ["200", "ppm", "1.5ppm", "100001ppm", "9999999999ppm"] {
        assert!(ClockChange::drift(absurd).unwrap_err().to_string().contains("at most 100000ppm"), "{absurd}");
    }
    assert_eq!(DiskFault::slow("1s").unwrap().to_string(), "takes 1s longer for each sync");
    for absurd in ["0s", "61s", "-1s", "1"] {
        assert!(DiskFault::slow(absurd).unwrap_err().to_string().contains("at most 60s"), "{absurd}");
    }
    let fixture = Fixture::new();
    fixture.node.set_clock(&jump("3600d").unwrap()).unwrap();
    assert!(fixture.node.set_clock(&jump("3600d").unwrap()).is_err());
}
