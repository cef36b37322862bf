//! Who listens on a port: tried by binding it, named through `/proc` where there is one.

use std::net::TcpListener;

/// Who has the port, or `None` when it is free. "another process" when the owner cannot be seen.
pub(crate) fn owner_of(host: &str, port: u16) -> Option<String> {
    match TcpListener::bind((host, port)) {
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Some(find_owner(port).unwrap_or_else(|| "another process".to_owned()))
        }
        Err(error) => Some(format!("nobody, but it cannot be bound: {error}")),
    }
}

/// The process behind a listening port, as `name (pid N)`: the socket's inode is in `/proc/net/tcp`, and the process
/// that holds the inode has it among its file descriptors (proc(5)).
fn find_owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link.to_string_lossy() == wanted));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode of the socket that listens on `port`, from a table in the format of `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local_port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        (local_port == port && *fields.get(3)? == LISTEN).then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_named_with_this_process_and_is_free_again_afterwards() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let owner = owner_of("127.0.0.1", port).expect("the port is taken");
        if cfg!(target_os = "linux") {
            assert!(owner.contains(&format!("(pid {})", std::process::id())), "{owner}");
        }
        drop(listener);
        assert_eq!(owner_of("127.0.0.1", port), None);
    }
}
