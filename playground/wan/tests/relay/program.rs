//! The program `wan-relay`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wan::config::Config;
use wan::control::{ControlClient, Request, Response, Usage};

use crate::harness::*;

struct Program {
    child: Child,
    listen: SocketAddrV4,
    control: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Program {
    /// With one echo in front, and `ulimit` before it starts.
    fn start(ulimit: &str, flags: &[&str]) -> Program {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, control) = (directory.path().join("wan.json"), directory.path().join("wan.sock"));
        let mut echo = listener(EAST, echo(EAST));
        echo.listen = nobody(EAST);
        let listen = echo.listen;
        let regions = vec![EAST.to_owned()];
        let links = wan::profile::well_known(&regions).expect("one region");
        let config = Config { regions, listeners: vec![echo], links };
        std::fs::write(&path, serde_json::to_vec(&config).expect("JSON")).expect("written");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{ulimit} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_wan-relay")])
            .args(["--config".as_ref(), path.as_os_str(), "--control".as_ref(), control.as_os_str()])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Program { child, listen, control, _directory: directory }
    }

    fn usage(&self) -> Usage {
        let mut control = ControlClient::connect(&self.control).expect("it takes requests");
        match control.call(&Request::Usage).expect("it answers") {
            Response::Usage(usage) => usage,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_ends_with_its_standard_input_or_at_sigterm() {
    let mut program = Program::start("", &["--end-with-stdin"]);
    assert_eq!(program.usage().connections, 0);
    program.child.stdin.as_mut().expect("piped").write_all(b"ignored\n").expect("written");
    assert!(program.child.try_wait().expect("its state").is_none());
    drop(program.child.stdin.take());
    let status = eventually(|| program.child.try_wait().expect("its state"), Option::is_some);
    assert!(status.is_some_and(|status| status.success()));
    assert!(!program.control.exists());

    let mut program = Program::start("", &[]);
    drop(program.child.stdin.take());
    assert_eq!(program.usage().connections, 0, "it does not end with its standard input");
    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let status = eventually(|| program.child.try_wait().expect("its state"), Option::is_some);
    assert_eq!(status.and_then(|status| status.signal()), Some(15));
}

#[test]
fn it_survives_having_no_more_files() {
    let program = Program::start("ulimit -n 40;", &["--end-with-stdin"]);
    let connect = || std::net::TcpStream::connect(program.listen).expect("the kernel accepts");
    let mut streams: Vec<_> = (0..60).map(|_| connect()).collect();
    // Requests wait too: nothing can be asked before some connections are gone.
    let mut first = streams.remove(0);
    first.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    round_trip_or_reset(&mut first);
    std::thread::sleep(Duration::from_millis(50));
    drop((first, streams));
    let usage = eventually(|| program.usage(), |usage| usage.connections == 0);
    assert!(usage.accepts_failed > 0, "{usage:?}");
    let mut stream = connect();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    round_trip(&mut stream);
}

/// Whoever was accepted with the last file descriptor gets no connection to the server.
fn round_trip_or_reset(stream: &mut std::net::TcpStream) {
    let _ = stream.write_all(b"ping");
    let _ = stream.read(&mut [0; 4]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wan.json");
    std::fs::write(&path, "{\"regions\": 3}").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_wan-relay"))
        .args(["--config".as_ref(), path.as_os_str(), "--control".as_ref(), directory.path().as_os_str()])
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("wan.json") && error.contains("regions") | error.contains("invalid type"), "{error}");
}
