//! The file through which one node's servers are told of their faults, and by which they tell what they did.
//!
//! ```text
//!   0 magic, version, size │ 16 generation │ 64 settings, even │ 128 settings, odd │ 256 … counters │ 512
//!                              which of the two are in force ──┘
//! ```
//!
//! Invariants: settings go into the slot that is not in force before the generation names it, so a server acts on whole
//! ones; a change of the drift is written before the instant from which it holds, so no monotonic clock steps.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use net::config::Span;
use rustix::time::{ClockId, clock_gettime};

use super::clock::{ClockChange, JUMP_MAX};
use super::disk::DiskFault;
use super::settings::Settings;

const MAGIC: &[u8; 8] = b"MDNFAULT";
const VERSION: u32 = 1;
/// Bytes of the file.
pub(super) const SIZE: usize = 512;
const GENERATION_AT: u64 = 16;
const SLOTS_AT: [u64; 2] = [64, 128];

/// How far ahead a change of the drift is written. Were the playground held up for longer between its look at the clock
/// and the write, a monotonic clock would step by what it drifts in the rest.
const DRIFT_AHEAD: Duration = Duration::from_millis(100);

/// Where the file of a node is.
pub(super) fn path(node_dir: &Path) -> PathBuf {
    node_dir.join("faults")
}

/// The faults of one node: its control file.
pub(crate) struct NodeFaults {
    file: File,
}

impl NodeFaults {
    /// Makes a control file without faults in the node's directory. A server that runs keeps the file that it has.
    pub(crate) fn create(node_dir: &Path) -> anyhow::Result<NodeFaults> {
        let path = path(node_dir);
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
        let path = path(node_dir);
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

    /// Whether calls of the disk fail, and so may have ended a server's thread.
    pub(crate) fn disk_fails(&self) -> io::Result<bool> {
        let settings = self.settings(self.number(GENERATION_AT)?)?;
        Ok(matches!(settings.disk, DiskFault::Fail | DiskFault::Full))
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

    pub(super) fn number(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
