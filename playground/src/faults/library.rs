//! The library of faults: compiled from C in the cluster's directory, loaded into a server by its environment.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use parking_lot::Mutex;

use super::control_file::{self, NodeFaults};

const SOURCE: &str = include_str!("../../faults/faults.c");

/// The compiled library.
pub(crate) struct FaultLibrary {
    pub(super) path: PathBuf,
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
            ("MERIDIAN_FAULTS", control_file::path(&node_dir).display().to_string()),
            ("MERIDIAN_FAULTS_DIR", data_dir.display().to_string()),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Whether there is an [`environment`](Self::environment) for that node's server.
    pub(crate) fn knows(node_dir: &Path) -> bool {
        control_file::path(node_dir).exists()
    }

    /// The faults of a node for whose server there is an [`environment`](Self::environment).
    pub(crate) fn control(node_dir: &Path) -> anyhow::Result<NodeFaults> {
        NodeFaults::open(node_dir)
    }
}

pub(super) fn compile(source: &str, flags: &[&str], output: &Path) -> anyhow::Result<()> {
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
