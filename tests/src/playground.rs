//! A playground as a user has it in a terminal: the real binary, its processes and its commands.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No start or stop of a small cluster takes this long on a machine that is only slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running playground. Dropping it stops everything, as Ctrl-C would.
pub struct Playground {
    supervisor: Child,
    data: PathBuf,
    tag: Option<String>,
}

impl Playground {
    /// Starts a cluster with a tag and waits until all of it serves.
    pub fn start(data: &Path, tag: &str, size: &[&str]) -> Playground {
        Playground::start_as(data, Some(tag), size)
    }

    /// The same without a tag.
    pub fn start_untagged(data: &Path, size: &[&str]) -> Playground {
        Playground::start_as(data, None, size)
    }

    fn start_as(data: &Path, tag: Option<&str>, size: &[&str]) -> Playground {
        let mut supervisor = Command::new(binary())
            .arg("--data")
            .arg(data)
            .args(tag.map(|tag| format!("--tag={tag}")))
            .args(size)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the playground; `cargo build --bins` builds it");
        let mut lines = BufReader::new(supervisor.stdout.take().expect("its output")).lines();
        let playground = Playground { supervisor, data: data.to_owned(), tag: tag.map(str::to_owned) };
        let mut seen = String::new();
        loop {
            match lines.next() {
                Some(Ok(line)) => {
                    seen.push_str(&line);
                    seen.push('\n');
                    if line.contains("Ctrl-C stops everything") {
                        break;
                    }
                }
                _ => panic!("the playground did not come up:\n{seen}"),
            }
        }
        std::thread::spawn(move || lines.for_each(drop)); // it goes on reporting
        playground
    }

    /// A command about this cluster, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).args(self.tag.as_ref().map(|tag| format!("--tag={tag}"))).arg("--data").arg(&self.data);
        command
    }

    /// Runs a command about this cluster, which must succeed. Returns what it printed.
    pub fn ctl(&self, args: &[&str]) -> String {
        succeeded(&mut self.command(args)).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// What `display` says of each node.
    pub fn nodes(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.ctl(&["display", "--json"])).expect("a list of nodes")
    }

    /// The client port of a node.
    pub fn port(&self, name: &str) -> u16 {
        let nodes = self.nodes();
        let node = nodes.iter().find(|n| n["name"] == name).unwrap_or_else(|| panic!("no node {name}"));
        node["address"].as_str().and_then(|a| a.rsplit(':').next()?.parse().ok()).expect("an address")
    }

    /// The processes of the servers that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes().iter().filter_map(|n| n["pid"].as_u64()?.try_into().ok()).collect()
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> u32 {
        self.supervisor.id()
    }

    /// Waits for the supervisor's end.
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.supervisor.try_wait().expect("wait for the playground") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "the playground does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ctrl-C, and the end.
    pub fn stop(mut self) {
        signal(self.supervisor(), "INT");
        let status = self.wait();
        assert!(status.success(), "the playground ended with {status}");
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        if self.supervisor.try_wait().is_ok_and(|s| s.is_none()) {
            signal(self.supervisor(), "INT");
            let _ = self.supervisor.wait();
        }
    }
}

/// Runs a command: what it printed, or what it complained about.
pub fn succeeded(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("run a command");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Sends a signal, by its name, to a process.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
}

/// Whether a process runs; one that ended and that nobody waited for does not.
pub fn runs(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().expect("run ps").stdout;
    state.first().is_some_and(|&state| state != b'Z')
}

/// The playground's binary.
pub fn binary() -> PathBuf {
    built("playground")
}

/// One of the workspace's binaries, built beside the test's.
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this test's path");
    let found = own.ancestors().map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built; `cargo build --bins` builds it"))
}
