//! One server process: its command line, its start, its end.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::watch;

use crate::spec::{Cluster, Node, Role};

/// How long a server may take to stop before it is killed: longer than what the slowest allows itself, which is a SQL
/// server with its `graceful-wait` of 15 s for running statements and a few seconds to leave the cluster.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// The arguments of a node's server. Data and logs go below `dir`.
pub(crate) fn arguments(cluster: &Cluster, node: &Node, dir: &Path) -> Vec<String> {
    let data_dir = data_dir(dir).display().to_string();
    let log_file = log_file(dir).display().to_string();
    let (host, port, second_port) = (node.bound_host(), node.port, node.second_port);
    let mut pairs: Vec<(&str, String)> = match node.role {
        Role::Pd => {
            let initial_cluster = cluster
                .of(Role::Pd)
                .map(|n| format!("{}=http://{}", n.name, n.second_address()))
                .collect::<Vec<_>>()
                .join(",");
            vec![
                ("--name", node.name.clone()),
                ("--data-dir", data_dir),
                ("--client-urls", format!("http://{host}:{port}")),
                ("--peer-urls", format!("http://{host}:{second_port}")),
                ("--initial-cluster", initial_cluster),
                ("--config", pd_config_file(dir).display().to_string()),
            ]
        }
        Role::Kv => vec![
            ("--addr", format!("{host}:{port}")),
            ("--status-addr", format!("{host}:{second_port}")),
            ("--pd-endpoints", cluster.pd_endpoints()),
            ("--data-dir", data_dir),
        ],
        Role::Sql => vec![
            ("--host", host),
            ("--port", port.to_string()),
            ("--status", second_port.to_string()),
            ("--path", cluster.pd_endpoints()),
        ],
    };
    pairs.push(("--labels", node.labels()));
    pairs.push(("--log-file", log_file));
    if let Some(own) = node.own_host {
        pairs.push(("--source-address", own.to_string()));
        pairs.extend(match node.role {
            Role::Pd => vec![
                ("--advertise-client-urls", format!("http://{}", node.address())),
                ("--advertise-peer-urls", format!("http://{}", node.second_address())),
                // Where timestamps come from decides how far away everything is: the first region's member, while it is
                // there, and the next one otherwise.
                ("--leader-priority", leader_priority(cluster, node).to_string()),
            ],
            Role::Kv => vec![("--advertise-addr", node.address()), ("--advertise-status-addr", node.second_address())],
            Role::Sql => vec![("--advertise-address", node.host.clone())],
        });
    }
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

/// The higher, the sooner a PD member leads: in the order of their names.
fn leader_priority(cluster: &Cluster, node: &Node) -> usize {
    cluster.of(Role::Pd).skip_while(|n| n.name != node.name).count()
}

/// What a PD member is told that has no flag: replicas are spread over the places that the nodes' labels name.
fn pd_config(cluster: &Cluster) -> String {
    format!("replication:\n  location-labels: [{}]\n", cluster.location_labels().join(", "))
}

fn pd_config_file(dir: &Path) -> PathBuf {
    dir.join("config.yaml")
}

/// Where a node's server keeps its data.
pub(crate) fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// Where a node's server writes its log.
pub(crate) fn log_file(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// Where what the server prints outside of its log goes: usage errors and panics.
pub(crate) fn output_file(dir: &Path) -> PathBuf {
    dir.join("output.log")
}

/// A server that was started. The process is reaped by a task of its own. Copies are of the same process.
#[derive(Clone)]
pub(crate) struct Running {
    /// The process id.
    pub(crate) pid: u32,
    /// When it was started.
    pub(crate) since: Instant,
    exited: watch::Receiver<Option<ExitStatus>>,
}

impl Running {
    /// Starts the server of `node` with its files below `dir`. Its pid is written to `dir/pid`, so that a later
    /// playground finds what an earlier one left behind.
    pub(crate) fn start(
        cluster: &Cluster,
        node: &Node,
        dir: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Running> {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        if node.role == Role::Pd {
            std::fs::write(pd_config_file(dir), pd_config(cluster))?;
        }
        let binary = binary(node.role.binary())?;
        let output = OpenOptions::new().create(true).append(true).open(output_file(dir))?;
        let mut child = Command::new(&binary)
            .args(arguments(cluster, node, dir))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A Ctrl-C in the terminal goes to the whole foreground group; the servers stop in order, when told.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let pid = child.id().context("the server ended at once")?;
        std::fs::write(dir.join("pid"), pid.to_string())?;
        let (sender, exited) = watch::channel(None);
        let pid_file = dir.join("pid");
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                let _ = std::fs::remove_file(pid_file);
                sender.send_replace(Some(status));
            }
        });
        Ok(Running { pid, since: Instant::now(), exited })
    }

    /// How it ended, if it did.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exited.borrow()
    }

    /// A handle that waits for the end without borrowing this one.
    pub(crate) fn watch_exit(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exited.clone()
    }

    /// Asks it to stop, waits, and kills it when it does not. Returns whether it stopped by itself.
    pub(crate) async fn stop(&self) -> bool {
        signal(self.pid, Signal::TERM);
        let stopped = self.wait(STOP_TIMEOUT).await;
        if !stopped {
            self.kill().await;
        }
        stopped
    }

    /// Kills it with SIGKILL, as a crash would, and waits until it is gone.
    pub(crate) async fn kill(&self) {
        signal(self.pid, Signal::KILL);
        self.wait(STOP_TIMEOUT).await;
    }

    /// Takes its cores away (SIGSTOP): it answers nothing and loses nothing, as a machine that hangs.
    pub(crate) fn pause(&self) {
        signal(self.pid, Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn resume(&self) {
        signal(self.pid, Signal::CONT);
    }

    async fn wait(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.watch_exit().wait_for(Option::is_some)).await.is_ok()
    }
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Makes this process, and with it those that it starts, batch processes as far as Linux's scheduler goes: who is sent a
/// message waits for a core instead of taking the sender's. Where it cannot be had, nothing is lost but that.
pub(crate) fn share_the_cores() {
    chrt("--batch", std::process::id());
}

/// Undoes that for one of them.
pub(crate) fn wake_at_once(pid: u32) {
    chrt("--other", pid);
}

fn chrt(policy: &str, pid: u32) {
    let mut chrt = std::process::Command::new("chrt");
    let _ = chrt.args([policy, "--pid", "0", &pid.to_string()]).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Sends a signal; a process that is gone already is fine.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A program that stands beside this one.
pub(crate) fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the playground's own binary")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("{} is missing; build it with ./playground/start or `cargo build --bins`", path.display());
    }
    Ok(path)
}

/// The server that runs on the files of `dir`, whoever started it: the pid file names the process, and its command line
/// names the directory, which that of a stranger with the same pid would not.
pub(crate) fn running_in(dir: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()?;
    command_line(pid)?.contains(&log_file(dir).display().to_string()).then_some(pid)
}

/// The arguments of a process, from `/proc` (proc(5)) or, where there is none, from `ps`.
fn command_line(pid: u32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        return Some(String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?).into_owned());
    }
    let output = std::process::Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Stops a server that an earlier playground left behind in `dir`, if there is one. Returns its pid.
pub(crate) async fn stop_leftover(dir: &Path) -> Option<u32> {
    let pid = running_in(dir)?;
    signal(pid, Signal::TERM);
    // Its playground may have halted it.
    signal(pid, Signal::CONT);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while running_in(dir) == Some(pid) {
        if Instant::now() > deadline {
            signal(pid, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _ = std::fs::remove_file(dir.join("pid"));
    Some(pid)
}

/// Resident memory in bytes and CPU time used so far, from `/proc` (proc(5)); `None` where there is none.
pub(crate) fn usage(pid: u32) -> Option<(u64, Duration)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: u64 = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields are counted after the command's closing parenthesis: state is the first, utime and stime the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some((kib * 1024, Duration::from_secs_f64(ticks as f64 / per_second as f64)))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::spec::{Wanted, plan};

    #[test]
    fn every_server_is_told_its_region_its_addresses_and_where_pd_is() {
        let wanted = Wanted {
            pd: Some(2),
            kv: Some(1),
            sql: Some(1),
            regions: vec!["r1".into(), "r2".into()],
            host: "127.0.0.1".into(),
            ..Wanted::default()
        };
        let cluster = plan(None, &wanted, &mut |_, _| None).unwrap();
        let line = |name: &str| {
            let node = cluster.select(name).unwrap()[0];
            arguments(&cluster, node, Path::new("/d")).join(" ")
        };
        assert_eq!(
            line("pd-2"),
            "--name pd-2 --data-dir /d/data --client-urls http://127.0.0.1:2381 --peer-urls http://127.0.0.1:2382 \
             --initial-cluster pd-1=http://127.0.0.1:2380,pd-2=http://127.0.0.1:2382 \
             --config /d/config.yaml --labels region=r2 --log-file /d/server.log"
        );
        assert!(line("kv-1").contains("--pd-endpoints 127.0.0.1:2379,127.0.0.1:2381"));
        assert!(line("sql-1").contains("--port 4000 --status 10080"));

        let mut far = cluster.clone();
        far.spread_over_networks().unwrap();
        let node = far.select("kv-1").unwrap()[0];
        let line = arguments(&far, node, Path::new("/d")).join(" ");
        for part in [
            "--addr 127.0.1.2:20160 --status-addr 127.0.1.2:20180",
            "--source-address 127.0.1.2",
            "--advertise-addr 127.0.0.1:20160 --advertise-status-addr 127.0.0.1:20180",
        ] {
            assert!(line.contains(part), "{line} lacks {part}");
        }
        for (pd, priority) in [("pd-1", "--leader-priority 2"), ("pd-2", "--leader-priority 1")] {
            let node = far.select(pd).unwrap()[0];
            let line = arguments(&far, node, Path::new("/d")).join(" ");
            assert!(line.contains(priority), "{line}");
        }
    }

    #[test]
    fn a_pid_file_that_names_a_stranger_is_no_server_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(running_in(dir.path()), None);
        std::fs::write(dir.path().join("pid"), std::process::id().to_string()).unwrap();
        assert_eq!(running_in(dir.path()), None, "this process runs, but not on that directory");
        let mut ours = std::process::Command::new("sh")
            .args(["-c", "echo; read line", "sh", "--log-file", &log_file(dir.path()).display().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it speaks, the system may not show its command line yet.
        ours.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        std::fs::write(dir.path().join("pid"), ours.id().to_string()).unwrap();
        assert_eq!(running_in(dir.path()), Some(ours.id()));
        drop(ours.stdin.take());
        ours.wait().unwrap();
        assert_eq!(running_in(dir.path()), None, "it has ended");
    }

    #[test]
    fn usage_of_this_process_is_plausible() {
        if cfg!(target_os = "linux") {
            let (resident_bytes, _) = usage(std::process::id()).unwrap();
            assert!(resident_bytes > 1 << 20, "{resident_bytes}");
        }
    }
}
