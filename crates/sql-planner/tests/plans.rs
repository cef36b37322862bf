//! Plan goldens: EXPLAIN of the statements in `tests/plans/*.plan` over one small schema ([`schema`]).
//!
//! ```text
//! # A claim, in a comment.
//! > SELECT a FROM t WHERE id = 1
//! Projection_1 | 1.00 | root | | t.a
//! └─Point_Get_2 | 1.00 | root | table:t | handle:1
//! ```
//!
//! No server is linked and no key is read. `UPDATE=1 cargo test -p sql-planner --test plans` writes what was seen; read the
//! difference.

mod schema;
mod surroundings;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use query::context::TimeZone;
use sql_base::SqlError;
use sql_parser::{LexMode, Statement};
use sql_planner::binder::{Binder, Tree};
use sql_planner::explain;
use sql_planner::optimize::{Settings, optimize};
use sql_planner::plan::Logical;

/// The lines of a statement's plan.
fn plan(sql: &str) -> Result<String, SqlError> {
    let env = surroundings::surroundings();
    let parsed = sql_parser::parse_one(sql.as_bytes(), LexMode::default())?;
    let mut binder = Binder::new(&env);
    let tree = match &parsed.statement {
        Statement::Insert(insert) => Some(Tree::Insert(insert)),
        Statement::Update(update) => Some(Tree::Update(update)),
        Statement::Delete(delete) => Some(Tree::Delete(delete)),
        _ => None,
    };
    let (logical, action) = match (&parsed.statement, tree) {
        (_, Some(tree)) => {
            let bound = binder.bind_change(tree)?;
            (bound.rows, Some(bound.action))
        }
        (Statement::Query(query), None) => {
            let bound = binder.bind_query(query)?;
            let (subqueries, shared) = (binder.subqueries, binder.shared);
            (Logical { plan: bound.plan, subqueries, shared, columns: binder.columns }, None)
        }
        _ => panic!("{sql} is neither a query nor a change"),
    };
    let physical = optimize(logical, &Settings { zone: TimeZone::UTC, statistics: Default::default() });
    let mut text = String::new();
    for line in explain::lines(&physical, &|_| false, action.as_ref()) {
        let _ = writeln!(text, "{}", line.columns(false).join(" | ").replace("|  |", "| |").trim_end());
    }
    Ok(text)
}

/// The statements of a file, each followed by its plan as it is now.
fn as_it_is(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(sql) = line.strip_prefix("> ") else {
            let _ = writeln!(out, "{line}");
            continue;
        };
        let _ = writeln!(out, "{line}");
        while lines.next_if(|line| !line.is_empty() && !line.starts_with(['>', '#'])).is_some() {}
        match plan(sql) {
            Ok(plan) => out.push_str(&plan),
            Err(e) => {
                let (code, state) = e.code();
                let _ = writeln!(out, "ERROR {code} ({state}): {e}");
            }
        }
    }
    out
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the goldens").map(|entry| entry.expect("a golden").path()).collect();
    files.sort();
    files
}

#[test]
fn plans_are_as_written() {
    let (mut differences, mut statements) = (String::new(), 0);
    for file in files() {
        let expected = std::fs::read_to_string(&file).expect("a golden");
        let seen = as_it_is(&expected);
        statements += seen.lines().filter(|line| line.starts_with("> ")).count();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, seen).expect("the golden is written");
            continue;
        }
        let mut sql = "";
        for (at, (old, new)) in expected.lines().zip(seen.lines()).enumerate() {
            sql = if new.starts_with('>') { new } else { sql };
            if old != new {
                let _ = writeln!(differences, "{}:{}: {sql}\n  - {old}\n  + {new}", file.display(), at + 1);
                break;
            }
        }
        if differences.is_empty() && expected != seen {
            let _ = writeln!(differences, "{}: it ends otherwise", file.display());
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert!(statements >= 100, "{statements} statements are left of the goldens");
}

/// A chain of CTEs each of which names the former twice: 2^25 names, were each bound anew.
#[test]
fn ctes_that_name_each_other_twice_are_planned_once_each() {
    let mut sql = "WITH c0 AS (SELECT id FROM t)".to_owned();
    for n in 1..=25 {
        let _ = write!(sql, ", c{n} AS (SELECT x.id FROM c{0} AS x JOIN c{0} AS y ON x.id = y.id)", n - 1);
    }
    sql.push_str(" SELECT * FROM c25");
    let began = std::time::Instant::now();
    let plan = plan(&sql).expect("a plan");
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(plan.lines().count() < 200, "{plan}");
}
