//! Clock and disk faults for single servers: one small library that `--faults` loads into each of them.
//!
//! ```text
//!   ctl clock kv-1 --jump 1h ──> NodeFaults ── pwrite ──> kv-1/faults <── mmap ── libfaults.so in kv-1's server
//! ```
//!
//! [`FaultLibrary`] is `faults/faults.c`, compiled in the cluster's directory. [`NodeFaults`] is the file through which
//! one node's servers are told what to do; they count in it what they did, which only tests read. Its layout, and what a
//! fault does and does not do, are at the top of the C file. A node keeps its faults while its server is stopped and
//! started, and loses them with the playground.
//!
//! Invariants: settings go into the slot that is not in force before the generation names it, so a server acts on whole
//! ones; a change of the drift is written before the instant from which it holds, so no monotonic clock steps.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use net::config::Span;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

const SOURCE: &str = include_str!("../faults/faults.c");

const MAGIC: &[u8; 8] = b"MDNFAULT";
const VERSION: u32 = 1;
const SIZE: usize = 512;
const GENERATION_AT: u64 = 16;
const SLOTS_AT: [u64; 2] = [64, 128];

/// How far ahead a change of the drift is written. Were the playground held up for longer between its look at the clock
/// and the write, a monotonic clock would step by what it drifts in the rest.
const DRIFT_AHEAD: Duration = Duration::from_millis(100);

const JUMP_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
const DRIFT_PPM_MAX: i32 = 100_000;
const SLOW_MAX: Duration = Duration::from_secs(60);

/// The compiled library.
pub(crate) struct FaultLibrary {
    path: PathBuf,
    /// The nodes that have a control file of this playground's. Held while one is made.
    prepared: Mutex<HashSet<PathBuf>>,
}

impl FaultLibrary {
    /// Compiles the library in `dir`, which takes a moment, unless that was done before from the same source.
    pub(crate) fn build(dir: &Path) -> anyhow::Result<FaultLibrary> {
        let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
        let (path, source) = (dir.join("libfaults.so"), dir.join("libfaults.c"));
        if path.to_str().is_none_or(|path| path.contains([' ', ':', '\t', '\n'])) {
            bail!("LD_PRELOAD takes no path with a space or a colon: {}; choose another with --data", path.display());
        }
        if path.exists() && std::fs::read_to_string(&source).is_ok_and(|text| text == SOURCE) {
            return Ok(FaultLibrary { path, prepared: Mutex::default() });
        }
        // Under another name until it is whole.
        let unfinished = dir.join("libfaults.so.new");
        compile(SOURCE, &["-shared", "-fPIC"], &unfinished).context("compile the library of faults")?;
        std::fs::rename(&unfinished, &path).with_context(|| format!("write {}", path.display()))?;
        std::fs::write(&source, SOURCE).with_context(|| format!("write {}", source.display()))?;
        Ok(FaultLibrary { path, prepared: Mutex::default() })
    }

    /// What to add to the environment of a node's server; files below `data_dir` are its disk. Makes the node's control
    /// file at the first time: one from before may tell of faults that nobody remembers.
    pub(crate) fn environment(&self, node_dir: &Path, data_dir: &Path) -> anyhow::Result<Vec<(String, String)>> {
        std::fs::create_dir_all(node_dir).with_context(|| format!("create {}", node_dir.display()))?;
        let node_dir = node_dir.canonicalize().with_context(|| format!("find {}", node_dir.display()))?;
        let mut prepared = self.prepared.lock();
        if !prepared.contains(&node_dir) {
            NodeFaults::create(&node_dir)?;
            prepared.insert(node_dir.clone());
        }
        // The library compares with what the system calls an open file.
        let data_dir = canonical(data_dir).with_context(|| format!("find {}", data_dir.display()))?;
        let mut preload = self.path.display().to_string();
        if let Ok(others) = std::env::var("LD_PRELOAD") {
            preload = format!("{preload}:{others}");
        }
        let variables = [
            ("LD_PRELOAD", preload),
            ("MERIDIAN_FAULTS", control_file(&node_dir).display().to_string()),
            ("MERIDIAN_FAULTS_DIR", data_dir.display().to_string()),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Whether there is an [`environment`](Self::environment) for that node's server.
    pub(crate) fn knows(node_dir: &Path) -> bool {
        control_file(node_dir).exists()
    }

    /// The faults of a node for whose server there is an [`environment`](Self::environment).
    pub(crate) fn control(node_dir: &Path) -> anyhow::Result<NodeFaults> {
        NodeFaults::open(node_dir)
    }
}

fn compile(source: &str, flags: &[&str], output: &Path) -> anyhow::Result<()> {
    let mut cc = Command::new("cc")
        .args(["-O2", "-x", "c", "-", "-o"])
        .arg(output)
        .args(flags)
        .args(["-ldl", "-lpthread"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the C compiler, cc")?;
    // One that ends early says why on stderr.
    let _ = cc.stdin.take().map(|mut stdin| stdin.write_all(source.as_bytes()));
    let output = cc.wait_with_output()?;
    if !output.status.success() {
        bail!("cc: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The path without symbolic links, whose end need not exist yet.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find(|dir| dir.exists()).unwrap_or(&path);
    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
    Ok(there.canonicalize()?.join(rest).components().collect())
}

fn control_file(node_dir: &Path) -> PathBuf {
    node_dir.join("faults")
}

/// What happens to a node's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClockChange {
    /// The wall clock steps by so many nanoseconds from where it is; back, if negative. Monotonic clocks don't notice.
    Jump(i64),
    /// All clocks gain so many microseconds in each second, instead of what they gained before.
    Drift(i32),
    /// The wall clock is right again and nothing drifts. The monotonic clocks go on from where they are.
    Reset,
}

impl ClockChange {
    /// Reads `1h` or `-30s`.
    pub(crate) fn jump(text: &str) -> anyhow::Result<ClockChange> {
        let (sign, length) = match text.split_at_checked(1) {
            Some(("-", length)) => (-1, length),
            Some(("+", length)) => (1, length),
            _ => (1, text),
        };
        match length.parse::<Span>() {
            Ok(Span(length)) if length <= JUMP_MAX => Ok(ClockChange::Jump(sign * length.as_nanos() as i64)),
            _ => {
                bail!("a clock jumps by a length of time such as 1h or, back, -30s, and by at most 10 years: '{text}'")
            }
        }
    }

    /// Reads `200ppm` or `-50ppm`.
    pub(crate) fn drift(text: &str) -> anyhow::Result<ClockChange> {
        match text.strip_suffix("ppm").and_then(|number| number.trim_end().parse().ok()) {
            Some(ppm) if (-DRIFT_PPM_MAX..=DRIFT_PPM_MAX).contains(&ppm) => Ok(ClockChange::Drift(ppm)),
            _ => bail!(
                "a clock drifts by parts in a million, such as 200ppm or, too slow, -200ppm, \
                 and by at most {DRIFT_PPM_MAX}ppm: '{text}'"
            ),
        }
    }
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClockChange::Jump(ns) => {
                let direction = if *ns < 0 { "back" } else { "forward" };
                write!(f, "jumps {} {direction}", Span(Duration::from_nanos(ns.unsigned_abs())))
            }
            ClockChange::Drift(ppm) => write!(f, "drifts by {ppm}ppm"),
            ClockChange::Reset => f.write_str("is right again"),
        }
    }
}

/// What a node's disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskFault {
    /// Works.
    None,
    /// Takes that much longer for each sync.
    Slow(Duration),
    /// Fails writes and syncs.
    Fail,
    /// Fails writes for want of space.
    Full,
}

impl DiskFault {
    /// Reads `1s`.
    pub(crate) fn slow(text: &str) -> anyhow::Result<DiskFault> {
        match text.parse::<Span>() {
            Ok(Span(length)) if !length.is_zero() && length <= SLOW_MAX => Ok(DiskFault::Slow(length)),
            _ => bail!(
                "a disk is slow by a length of time such as 500ms or 1s, which each sync takes longer, \
                 and by at most 60s: '{text}'"
            ),
        }
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskFault::None => f.write_str("works"),
            DiskFault::Slow(by) => write!(f, "takes {} longer for each sync", Span(*by)),
            DiskFault::Fail => f.write_str("fails"),
            DiskFault::Full => f.write_str("is full"),
        }
    }
}

/// The faults of one node: its control file.
pub(crate) struct NodeFaults {
    file: File,
}

impl NodeFaults {
    /// Makes a control file without faults in the node's directory. A server that runs keeps the file that it has.
    pub(crate) fn create(node_dir: &Path) -> anyhow::Result<NodeFaults> {
        let path = control_file(node_dir);
        let unfinished = path.with_extension("new");
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[12..16].copy_from_slice(&(SIZE as u32).to_ne_bytes());
        std::fs::write(&unfinished, bytes)
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .with_context(|| format!("write {}", path.display()))?;
        NodeFaults::open(node_dir)
    }

    /// Opens the control file that is there.
    pub(crate) fn open(node_dir: &Path) -> anyhow::Result<NodeFaults> {
        let path = control_file(node_dir);
        let file = File::options().read(true).write(true).open(&path);
        let file = file.with_context(|| format!("open {}; was the cluster started with --faults?", path.display()))?;
        let mut head = [0; 16];
        file.read_exact_at(&mut head, 0).with_context(|| format!("read {}", path.display()))?;
        if !head.starts_with(MAGIC) || head[8..12] != VERSION.to_ne_bytes() {
            bail!("{} is no control file of version {VERSION}", path.display());
        }
        Ok(NodeFaults { file })
    }

    /// Changes the clocks. A drift changes a tenth of a second later.
    pub(crate) fn set_clock(&self, change: &ClockChange) -> anyhow::Result<()> {
        self.update(|settings, now_ns| {
            let soon_ns = now_ns + DRIFT_AHEAD.as_nanos() as i64;
            match *change {
                ClockChange::Jump(ns) => {
                    let offset_ns = settings.wall_offset_ns.saturating_add(ns);
                    if offset_ns.unsigned_abs() > JUMP_MAX.as_nanos() as u64 {
                        bail!("that would take the clock more than 10 years away");
                    }
                    settings.wall_offset_ns = offset_ns;
                }
                ClockChange::Drift(ppm) => settings.bend(soon_ns, ppm),
                ClockChange::Reset => {
                    settings.bend(soon_ns, 0);
                    settings.wall_offset_ns = 0;
                }
            }
            Ok(())
        })
    }

    /// Breaks the disk or heals it.
    pub(crate) fn set_disk(&self, fault: &DiskFault) -> anyhow::Result<()> {
        self.update(|settings, _| {
            settings.disk = *fault;
            Ok(())
        })
    }

    /// Heals the disk and resets the clock. Returns whether either was needed.
    pub(crate) fn heal(&self) -> anyhow::Result<bool> {
        let needed = !self.describe()?.is_empty();
        if needed {
            self.set_disk(&DiskFault::None)?;
            self.set_clock(&ClockChange::Reset)?;
        }
        Ok(needed)
    }

    /// What is wrong at the moment, for a person; empty when nothing is.
    pub(crate) fn describe(&self) -> io::Result<String> {
        let settings = self.settings(self.number(GENERATION_AT)?)?;
        let mut parts = Vec::new();
        if settings.wall_offset_ns != 0 {
            // What the present drift has added comes on top.
            let ahead = Span(Duration::from_nanos(settings.wall_offset_ns.unsigned_abs()));
            let sign = if settings.wall_offset_ns < 0 { '-' } else { '+' };
            parts.push(format!("clock {sign}{ahead}"));
        }
        if settings.drift_ppm != 0 {
            parts.push(format!("drift {}ppm", settings.drift_ppm));
        }
        match settings.disk {
            DiskFault::None => {}
            DiskFault::Slow(by) => parts.push(format!("disk slow {}", Span(by))),
            DiskFault::Fail => parts.push("disk fails".into()),
            DiskFault::Full => parts.push("disk full".into()),
        }
        Ok(parts.join(", "))
    }

    /// Replaces the settings by what `change` makes of them, given the time of `CLOCK_MONOTONIC`.
    fn update(&self, change: impl FnOnce(&mut Settings, i64) -> anyhow::Result<()>) -> anyhow::Result<()> {
        // Others may have opened it to do the same.
        self.file.lock().context("lock the control file")?;
        let result = self.update_locked(change);
        self.file.unlock()?;
        result
    }

    fn update_locked(&self, change: impl FnOnce(&mut Settings, i64) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let generation = self.number(GENERATION_AT)?;
        let mut settings = self.settings(generation)?;
        // Settings hold one bend of the clocks: one that still lies ahead is waited for.
        while settings.drifts() && monotonic_ns() < settings.drift_base_ns {
            std::thread::sleep(Duration::from_millis(5));
        }
        change(&mut settings, monotonic_ns())?;
        let next = generation + 1;
        self.file.write_all_at(&settings.to_bytes(), SLOTS_AT[(next % 2) as usize])?;
        self.file.write_all_at(&next.to_ne_bytes(), GENERATION_AT)?;
        Ok(())
    }

    fn settings(&self, generation: u64) -> io::Result<Settings> {
        let mut bytes = [0; Settings::SIZE];
        self.file.read_exact_at(&mut bytes, SLOTS_AT[(generation % 2) as usize])?;
        Ok(Settings::from_bytes(&bytes))
    }

    fn number(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// `struct settings` of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    wall_offset_ns: i64,
    monotonic_skew_ns: i64,
    drift_base_ns: i64,
    drift_before_ppm: i32,
    drift_ppm: i32,
    disk: DiskFault,
}

impl Settings {
    const SIZE: usize = 48;

    fn drifts(&self) -> bool {
        self.drift_before_ppm != 0 || self.drift_ppm != 0
    }

    /// Goes on with another drift from `base_ns` on, and until then with the present one, which begins before.
    fn bend(&mut self, base_ns: i64, ppm: i32) {
        let gained = i128::from(base_ns - self.drift_base_ns) * i128::from(self.drift_ppm) / 1_000_000;
        let gained_ns = i64::try_from(gained).unwrap_or(0); // no machine runs for 2,900 years
        self.wall_offset_ns += gained_ns;
        self.monotonic_skew_ns += gained_ns;
        self.drift_base_ns = base_ns;
        self.drift_before_ppm = self.drift_ppm;
        self.drift_ppm = ppm;
    }

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let (disk, slow_ns) = match self.disk {
            DiskFault::None => (0u32, 0),
            DiskFault::Slow(by) => (1, by.as_nanos() as i64),
            DiskFault::Fail => (2, 0),
            DiskFault::Full => (3, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.wall_offset_ns.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.monotonic_skew_ns.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.drift_base_ns.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.drift_before_ppm.to_ne_bytes());
        bytes[28..32].copy_from_slice(&self.drift_ppm.to_ne_bytes());
        bytes[32..36].copy_from_slice(&disk.to_ne_bytes());
        bytes[40..48].copy_from_slice(&slow_ns.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Settings {
        fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
            let mut part = [0; N];
            part.copy_from_slice(&bytes[at..at + N]);
            part
        }
        let slow = Duration::from_nanos(i64::from_ne_bytes(part(bytes, 40)).unsigned_abs());
        Settings {
            wall_offset_ns: i64::from_ne_bytes(part(bytes, 0)),
            monotonic_skew_ns: i64::from_ne_bytes(part(bytes, 8)),
            drift_base_ns: i64::from_ne_bytes(part(bytes, 16)),
            drift_before_ppm: i32::from_ne_bytes(part(bytes, 24)),
            drift_ppm: i32::from_ne_bytes(part(bytes, 28)),
            disk: match u32::from_ne_bytes(part(bytes, 32)) {
                1 => DiskFault::Slow(slow),
                2 => DiskFault::Fail,
                3 => DiskFault::Full,
                _ => DiskFault::None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Output};
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use tempfile::TempDir;

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

    #[test]
    fn settings_read_back_as_written() {
        for disk in [DiskFault::None, DiskFault::Slow(Duration::from_millis(3)), DiskFault::Fail, DiskFault::Full] {
            let settings = Settings {
                wall_offset_ns: -1,
                monotonic_skew_ns: 2,
                drift_base_ns: 3,
                drift_before_ppm: -4,
                drift_ppm: 5,
                disk,
            };
            assert_eq!(Settings::from_bytes(&settings.to_bytes()), settings);
        }
    }
}
