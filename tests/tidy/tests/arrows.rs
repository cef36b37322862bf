//! Arrows point down: from a crate to crates of lower floors, and within a crate from a room to rooms below it.
//!
//! The lists of exceptions may only become shorter: an entry that is no longer needed fails the test, too.

use std::collections::{BTreeMap, BTreeSet};

use tidy::{Crate, arrows, crates, files_that_say, rooms, workspace};

/// The crates, floor by floor from the lowest. A crate depends only on crates of lower floors.
const FLOORS: &[&[&str]] = &[
    &["proto", "codec", "engine", "net", "wan", "drill", "tidy"],
    &["query", "kv-client", "statistics"],
    &["sql-base"],
    &["sql-parser", "sql-catalog"],
    &["sql-planner", "sql-context"],
    &["sql-exec", "sql-ddl"],
    &["placement-driver", "storage-node", "sql-server", "playground"],
    &["tests"],
];

/// The crate and the room that see `sqlparser`: its trees are that room's own matter.
const SQLPARSER: (&str, &str) = ("sql-parser", "src/grammar/");

/// Rooms of crates from the top down: a room names only rooms that are further down.
const ROOMS: &[(&str, &[&str])] = &[
    ("sql-base", &["errno", "outcome", "memory", "interrupt", "error", "partition", "hex"]),
    (
        "sql-parser",
        &[
            "statement",
            "alter",
            "analyze",
            "ddl",
            "dml",
            "headers",
            "into",
            "lists",
            "load",
            "partitions",
            "shorthand",
            "views",
            "canonical",
            "set",
            "show",
            "windows",
            "literals",
            "digest",
            "lexer",
            "grammar",
            "ast",
        ],
    ),
    (
        "sql-catalog",
        &[
            "load",
            "statistics",
            "autoid",
            "transact",
            "meta",
            "cache",
            "row",
            "conversion",
            "convert",
            "virtual_tables",
            "schema",
            "model",
            "view",
            "name",
            "field_type",
        ],
    ),
    (
        "sql-planner",
        &[
            "row_expr",
            "view",
            "binder",
            "explain",
            "hints",
            "optimize",
            "shared",
            "decorrelate",
            "unnest",
            "join_order",
            "partitions",
            "estimate",
            "access",
            "selectivity",
            "common_conditions",
            "aggregate",
            "window",
            "change",
            "inputs",
            "ranges",
            "expr",
            "plan",
        ],
    ),
    (
        "sql-context",
        &[
            "context",
            "virtual_rows",
            "transaction",
            "evaluation",
            "state",
            "temporary",
            "txn",
            "duplicates",
            "user_locks",
            "services",
            "vars",
        ],
    ),
    (
        "sql-exec",
        &[
            "explain",
            "select",
            "dml",
            "plan_cache",
            "point",
            "planned",
            "subqueries",
            "point_lock",
            "operator",
            "window",
            "scan",
            "locking",
            "cte",
            "shared",
            "lateral",
            "rollup",
            "join",
            "sort",
            "distinct",
            "aggregate",
            "frames",
            "pushdown",
            "statement",
            "env",
            "keys",
            "testing",
            "stream",
            "runtime",
            "spill",
            "measure",
            "reader",
            "writer",
        ],
    ),
    (
        "sql-ddl",
        &[
            "owner",
            "auto_analyze",
            "reconcile",
            "recover",
            "analyze",
            "worker",
            "backfill",
            "views",
            "temporary",
            "alter",
            "constraints",
            "exec",
            "queue",
            "gc",
            "check",
            "domain",
            "coordinator",
            "step",
            "partitions",
            "build",
            "default",
            "job",
            "placement",
        ],
    ),
    ("sql-server", &["listen", "status", "wire", "session", "admin", "cluster", "accounts", "config", "metrics"]),
];

/// Arrows that point up, and are still there.
const ALLOWED: &[(&str, &str, &str)] = &[];

fn ours() -> BTreeMap<String, Crate> {
    crates(&workspace())
}

#[test]
fn crates_depend_only_on_lower_floors() {
    let ours = ours();
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let mut wrong = Vec::new();
    for krate in ours.values() {
        let Some(own) = floor(&krate.name) else {
            wrong.push(format!(
                "{} has no floor: put it into FLOORS, with a reason that a reader would agree with",
                krate.name
            ));
            continue;
        };
        let ups = krate.dependencies.iter().filter(|name| ours.contains_key(*name));
        let sql = |name: &str| name.starts_with("sql-");
        if !sql(&krate.name) && krate.name != "tests" {
            let strange = krate.dependencies.iter().filter(|name| sql(name));
            wrong.extend(strange.map(|name| format!("{} -> {name}, which is for the SQL tier", krate.name)));
        }
        wrong.extend(
            ups.filter(|name| floor(name).is_none_or(|theirs| theirs >= own))
                .map(|up| format!("{} -> {up}", krate.name)),
        );
    }
    let gone = FLOORS.iter().copied().flatten().filter(|name| !ours.contains_key(**name));
    wrong.extend(gone.map(|name| format!("{name} has a floor and is no crate")));
    assert!(wrong.is_empty(), "crates that depend on their own floor or a higher one:\n{}", wrong.join("\n"));
}

#[test]
fn rooms_name_only_rooms_below_them() {
    let ours = ours();
    let mut found = BTreeMap::new();
    for (name, order) in ROOMS {
        let krate = &ours[*name];
        let listed: BTreeSet<String> = order.iter().map(|room| (*room).to_owned()).collect();
        assert_eq!(rooms(krate), listed, "the rooms of {name}, and those in ROOMS");
        let place = |room: &str| order.iter().position(|r| *r == room);
        for ((from, to), files) in arrows(krate) {
            if place(&to) < place(&from) {
                found.insert((*name, from, to), files);
            }
        }
    }
    let mut wrong = Vec::new();
    for ((name, from, to), files) in &found {
        if !ALLOWED.contains(&(*name, from.as_str(), to.as_str())) {
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            wrong.push(format!("{name}: {from} -> {to} ({})", files.join(", ")));
        }
    }
    for (name, from, to) in ALLOWED {
        if !found.contains_key(&(*name, (*from).to_owned(), (*to).to_owned())) {
            wrong.push(format!("{name}: {from} -> {to} is gone: take it out of ALLOWED"));
        }
    }
    assert!(wrong.is_empty(), "rooms that name a room above them:\n{}", wrong.join("\n"));
}

#[test]
fn sqlparser_is_seen_by_one_room() {
    let (seer, room) = SQLPARSER;
    for krate in ours().into_values() {
        assert_eq!(krate.dependencies.contains("sqlparser"), krate.name == seer, "{}: its dependencies", krate.name);
        let files = files_that_say(&krate, "sqlparser");
        let strange: Vec<_> = files.iter().filter(|file| krate.name != seer || !file.starts_with(room)).collect();
        assert!(strange.is_empty(), "{} names sqlparser in {strange:?}", krate.name);
        assert_eq!(files.is_empty(), krate.name != seer, "{}: who sees sqlparser names it", krate.name);
    }
}
