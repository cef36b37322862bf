//! Where clusters are kept: a directory each, below one for all of them, and who may use it.
//!
//! A cluster's directory is used by one process at a time, which holds the lock in it; the system unlocks what a killed
//! process held. A cluster with a tag stays; one without is removed by its playground or, if that was killed, by the
//! next one that starts.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::spec::{Cluster, Wanted};
use crate::{Which, control, note, ports, process, spec};

/// The layout of a cluster, in its directory.
pub(crate) const CLUSTER_FILE: &str = "cluster.json";
/// What a tag's directory holds, as its file of the format says.
const FORMAT_KIND: &str = "playground";
/// Locked by whoever uses a cluster's directory; the system unlocks it when that process ends, however it ends.
const LOCK_FILE: &str = "lock";
/// Locked, in the directory of all clusters, by a playground that starts one.
const TURN_FILE: &str = ".starting";
/// Pause between two looks at it.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// Directories of clusters without a tag begin with this, which no tag may.
const UNTAGGED: &str = ".run-";

/// The right to lay out and start a cluster: two that do it at once would give out the same ports.
pub(crate) struct Turn {
    _lock: File,
}

impl Turn {
    pub(crate) async fn wait(base: &Path) -> anyhow::Result<Turn> {
        std::fs::create_dir_all(base).with_context(|| format!("create {}", base.display()))?;
        let path = base.join(TURN_FILE);
        let lock = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        let mut said = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Turn { _lock: lock }),
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut said, true) {
                        note("Another playground is starting; waiting for it");
                    }
                    tokio::time::sleep(TURN_PAUSE).await;
                }
                Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("lock {}", path.display())),
            }
        }
    }
}

/// Stops and removes clusters without a tag whose playground is gone: no command could name them.
async fn remove_orphans(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(UNTAGGED) {
            continue;
        }
        // One that is in use cannot be taken.
        let Ok(home) = Home::take(entry.path(), None) else { continue };
        home.stop_leftovers().await;
        if let Err(e) = home.remove() {
            note(&format!("note: {e:#}"));
        }
    }
}

/// The directory of one cluster, in use by this process alone.
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) tag: Option<String>,
    saved: Option<Cluster>,
    _lock: File,
}

impl Home {
    /// Makes the directory if there is none, and takes it.
    pub(crate) fn open(base: &Path, tag: Option<&str>) -> anyhow::Result<Home> {
        let dir = match tag {
            Some(tag) => base.join(valid_tag(tag)?),
            None => base.join(format!("{UNTAGGED}{}", std::process::id())),
        };
        Home::take(dir, tag)
    }

    /// The same for a cluster that is about to be started: first stops what would hold the ports of its plan.
    pub(crate) async fn open_to_start(base: &Path, tag: Option<&str>) -> anyhow::Result<Home> {
        let home = Home::open(base, tag)?;
        remove_orphans(base).await;
        home.stop_leftovers().await;
        Ok(home)
    }

    fn take(dir: PathBuf, tag: Option<&str>) -> anyhow::Result<Home> {
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        // Servers are recognised by the path on their command lines, so it is the same whichever way it was written.
        let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
        let lock =
            File::create(dir.join(LOCK_FILE)).with_context(|| format!("create {LOCK_FILE} in {}", dir.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let tag = tag.unwrap_or_default();
                bail!("cluster '{tag}' is running: see ./playground/ctl display, and stop it with Ctrl-C in its shell")
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("lock {}", dir.display())),
        }
        let file = dir.join(CLUSTER_FILE);
        let saved = match std::fs::read(&file) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).with_context(|| format!("read {}", file.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        Ok(Home { dir, tag: tag.map(str::to_owned), saved, _lock: lock })
    }

    /// The cluster's servers that run although no playground owns them, the last started first.
    pub(crate) fn left_running(&self) -> impl Iterator<Item = (&spec::Node, u32)> {
        self.saved.iter().flat_map(|cluster| running_of(&self.dir, cluster))
    }

    /// Stops them, in reverse order of starting.
    pub(crate) async fn stop_leftovers(&self) {
        for (node, _) in self.left_running() {
            if let Some(pid) = process::stop_leftover(&self.dir.join(&node.name)).await {
                note(&format!("{}: stopped pid {pid}, left behind by an earlier playground", node.name));
            }
        }
    }

    /// Lays out the cluster. Nothing is written: it may still turn out that it cannot be started as asked.
    pub(crate) fn plan(&self, mut wanted: Wanted) -> anyhow::Result<Cluster> {
        if self.saved.is_none() {
            // Three storage nodes, so that the first cluster anybody starts already survives one of them.
            wanted.kv.get_or_insert(3);
        } else if let Err(error) = net::format::of_directory(&self.dir, FORMAT_KIND, net::format::NEWEST, true) {
            let tag = self.tag.as_deref().unwrap_or_default();
            bail!("{error}; or remove the cluster with ./playground/ctl clean {tag}");
        }
        let cluster = match spec::plan(self.saved.clone(), &wanted, &mut ports::owner_of) {
            Ok(cluster) => cluster,
            Err(error) => {
                // A cluster that never was leaves nothing behind.
                self.forget_unstarted()?;
                return Err(error.into());
            }
        };
        Ok(cluster)
    }

    /// Writes down the cluster that is about to be started.
    pub(crate) fn save(&self, cluster: &Cluster) -> anyhow::Result<()> {
        if self.saved.is_none() {
            net::format::write(&self.dir, FORMAT_KIND, net::format::NEWEST)?;
        }
        Ok(std::fs::write(self.dir.join(CLUSTER_FILE), serde_json::to_vec_pretty(cluster)?)?)
    }

    /// Removes the directory of a cluster that was laid out just now and will not be started.
    pub(crate) fn forget_unstarted(&self) -> anyhow::Result<()> {
        if self.saved.is_none() { self.remove() } else { Ok(()) }
    }

    /// The port that a saved node had before, when it had to move.
    pub(crate) fn moved_from(&self, node: &spec::Node) -> Option<u16> {
        let before = self.saved.as_ref()?.nodes.iter().find(|n| n.name == node.name)?.port;
        (before != node.port).then_some(before)
    }

    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

pub(crate) fn valid_tag(tag: &str) -> anyhow::Result<&str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if tag.is_empty() || tag.starts_with('.') || !tag.chars().all(fine) {
        bail!("a tag consists of letters, digits, '-', '_' and '.', and does not begin with '.': '{tag}'");
    }
    Ok(tag)
}

pub(crate) fn base_dir(data: Option<&Path>) -> anyhow::Result<PathBuf> {
    match data {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => {
            let home = std::env::home_dir().context("no home directory is known; name a directory with --data")?;
            Ok(home.join(".meridian"))
        }
    }
}

/// The directory of the cluster that is meant, which runs or ran: the tag's, or that of the only one that runs.
pub(crate) async fn find(which: &Which) -> anyhow::Result<PathBuf> {
    match &which.tag {
        Some(tag) => with_tag(&base_dir(which.data.as_deref())?, tag),
        None => find_running(which).await,
    }
}

fn with_tag(base: &Path, tag: &str) -> anyhow::Result<PathBuf> {
    // One without a tag goes by the name of its directory, without the dot.
    let dirs = [base.join(valid_tag(tag)?), base.join(format!(".{tag}"))];
    let found = dirs.into_iter().find(|dir| dir.join(CLUSTER_FILE).exists());
    found.with_context(|| no_such_cluster(tag, base))
}

/// The directory of the cluster that is meant: the tag's, or the only one that runs.
pub(crate) async fn find_running(which: &Which) -> anyhow::Result<PathBuf> {
    let base = base_dir(which.data.as_deref())?;
    if let Some(tag) = &which.tag {
        let dir = with_tag(&base, tag)?;
        if !control::is_running(&dir).await {
            match left_behind(&dir) {
                Some(servers) => bail!("{servers}"),
                None => bail!("cluster '{tag}' is not running; start it with ./playground/start --tag {tag}"),
            }
        }
        return Ok(dir);
    }
    let dirs: Vec<PathBuf> = std::fs::read_dir(&base).into_iter().flatten().flatten().map(|e| e.path()).collect();
    let mut running = Vec::new();
    for dir in &dirs {
        if control::is_running(dir).await {
            running.push(dir.clone());
        }
    }
    match running.as_slice() {
        [one] => Ok(one.clone()),
        [] => match dirs.iter().filter_map(|dir| left_behind(dir)).collect::<Vec<_>>()[..] {
            [] => bail!("no playground is running; start one with ./playground/start"),
            ref servers => bail!("no playground is running, but {}", servers.join("; ")),
        },
        several => {
            let names: Vec<String> = several
                .iter()
                .filter_map(|dir| Some(dir.file_name()?.to_string_lossy().trim_start_matches('.').to_owned()))
                .collect();
            bail!("several clusters are running; name one with --tag: {}", names.join(", "))
        }
    }
}

/// The servers of a cluster that run, the last started first.
fn running_of<'a>(dir: &Path, cluster: &'a Cluster) -> impl Iterator<Item = (&'a spec::Node, u32)> {
    cluster.nodes.iter().rev().filter_map(move |node| Some((node, process::running_in(&dir.join(&node.name))?)))
}

/// What to say of the servers of a cluster that run on without their playground, and what to do; `None` if none do.
fn left_behind(dir: &Path) -> Option<String> {
    // Servers are recognised by the path on their command lines.
    let dir = dir.canonicalize().ok()?;
    let cluster: Cluster = serde_json::from_slice(&std::fs::read(dir.join(CLUSTER_FILE)).ok()?).ok()?;
    let names: Vec<&str> = running_of(&dir, &cluster).map(|(node, _)| node.name.as_str()).collect();
    let tag = dir.file_name()?.to_string_lossy();
    let what_to_do = match tag.starts_with(UNTAGGED) {
        true => "the next ./playground/start stops them".to_owned(),
        false => format!(
            "./playground/start --tag {tag} stops them and starts it again, ./playground/ctl clean {tag} --stop stops \
             them and removes the data"
        ),
    };
    (!names.is_empty()).then(|| {
        format!(
            "servers of cluster '{tag}' run on although their playground is gone: {}; {what_to_do}",
            names.join(", ")
        )
    })
}

pub(crate) fn no_such_cluster(tag: &str, base: &Path) -> String {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let mut tags: Vec<String> = entries
        .filter(|entry| entry.path().join(CLUSTER_FILE).exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with(UNTAGGED))
        .collect();
    tags.sort();
    let known = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
    format!("there is no cluster '{tag}' in {}; known: {known}", base.display())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Stdio;

    use super::*;

    #[tokio::test]
    async fn servers_that_a_killed_playground_left_behind_are_named_with_what_to_do() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().canonicalize().unwrap().join("shop");
        let kv = dir.join("kv-1");
        std::fs::create_dir_all(&kv).unwrap();
        let wanted = Wanted { kv: Some(1), regions: vec!["eu".into()], host: "127.0.0.1".into(), ..Wanted::default() };
        let cluster = spec::plan(None, &wanted, &mut |_, _| None).unwrap();
        std::fs::write(dir.join(CLUSTER_FILE), serde_json::to_vec(&cluster).unwrap()).unwrap();
        let which = |tag: Option<&str>| Which { tag: tag.map(str::to_owned), data: Some(base.path().to_owned()) };
        let refused = async |tag| find_running(&which(tag)).await.unwrap_err().to_string();
        assert_eq!(refused(None).await, "no playground is running; start one with ./playground/start");
        assert!(refused(Some("shop")).await.contains("is not running; start it with"));
        let mut server = std::process::Command::new("sh")
            .args(["-c", "echo; read line", "sh", "--log-file", &process::log_file(&kv).display().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it speaks, the system may not show its command line yet.
        server.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        std::fs::write(kv.join("pid"), server.id().to_string()).unwrap();
        for refused in [refused(None).await, refused(Some("shop")).await] {
            assert!(refused.contains("run on although their playground is gone: kv-1; "), "{refused}");
            assert!(refused.contains("clean shop --stop") && refused.contains("start --tag shop"), "{refused}");
        }
        drop(server.stdin.take());
        server.wait().unwrap();
    }
}
