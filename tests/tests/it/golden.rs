//! Every script of `tests/scripts`, each against a new cluster of one PD member, one storage node in region `r1` and a SQL
//! server: ids that a script shows do not depend on the scripts before it.
//!
//! `UPDATE=1 ./tests/run scripts_give` records what was seen. With `WITNESS=host:port` the scripts run
//! against that MySQL server (user `root`, no password) instead, as a witness. `SCRIPTS=joins,types` picks scripts by
//! parts of their names.

use std::path::{Path, PathBuf};

use mysql_async::{Opts, OptsBuilder};
use tests::cluster::{self, Cluster};
use tests::golden;

/// The file's name, for messages and for picking.
fn name(script: &Path) -> String {
    script.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let picked = std::env::var("SCRIPTS").unwrap_or_default();
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the scripts")
        .map(|entry| entry.expect("a script").path())
        .filter(|path| path.extension().is_some_and(|e| e == "test"))
        .filter(|path| picked.split(',').any(|part| name(path).contains(part)))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script is called like '{picked}'");
    scripts
}

fn witness() -> Option<Opts> {
    let address = std::env::var("WITNESS").ok()?;
    let (host, port) = address.rsplit_once(':').expect("WITNESS is host:port");
    let port = port.parse().expect("WITNESS has a port number");
    let options = OptsBuilder::default().ip_or_hostname(host).tcp_port(port).user(Some("root"));
    Some(options.prefer_socket(Some(false)).into())
}

async fn run_on_new_cluster(script: &Path) -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(1, 1, |config| {
        config.labels.insert("region".into(), "r1".into());
    })
    .await;
    cluster.add_sql().await;
    let result = golden::run(script, &cluster.mysql(0), false).await;
    cluster.stop().await;
    result
}

#[test]
fn scripts_give_what_they_say() {
    let runtime = cluster::runtime();
    let witness = witness();
    let mut failures = Vec::new();
    for script in scripts() {
        let result = runtime.block_on(async {
            match &witness {
                Some(server) => golden::run(&script, server, true).await,
                None => run_on_new_cluster(&script).await,
            }
        });
        if let Err(e) = result {
            failures.push(format!("== {}\n{e:#}", name(&script)));
        }
    }
    assert!(failures.is_empty(), "{} scripts differ:\n{}", failures.len(), failures.join("\n"));
}
