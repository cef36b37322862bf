//! The table of functions is complete, without contradictions, and what the documentation says.

use std::collections::HashSet;
use std::fmt::Write;

use super::*;
use crate::context::EvalContext;
use crate::eval::eval_const;
use crate::expr::function::Group;

/// Names of MySQL 8.0's manual, chapter "Built-In Function and Operator Reference", and of the chapters on each kind.
const MANUAL: &str = include_str!("manual.txt");

fn manual() -> impl Iterator<Item = &'static str> {
    MANUAL.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'))
}

#[test]
fn a_name_is_in_one_row() {
    let mut seen = HashSet::new();
    for f in all() {
        for name in [f.name].iter().chain(f.aliases) {
            assert!(seen.insert(*name), "{name} is twice in the table");
            assert_eq!(*name, name.to_ascii_lowercase(), "names are in lower case");
        }
    }
    let mut seen = HashSet::new();
    for f in all() {
        for (sig, _) in f.pb {
            assert!(seen.insert(*sig), "{sig:?} is twice in the table");
            assert!(matches!(f.body, Body::Kernel(..)), "{} has a signature and no kernel", f.name);
        }
    }
}

#[test]
fn every_name_of_the_manual_is_a_row() {
    let missing: Vec<_> = manual().filter(|name| find(name).is_none()).collect();
    assert_eq!(missing, [""; 0], "not in the table");
    let listed: HashSet<_> = manual().collect();
    let extra: Vec<_> = all()
        .filter(|f| f.group != Group::Internal)
        .flat_map(|f| [f.name].iter().chain(f.aliases).copied().collect::<Vec<_>>())
        .filter(|n| !listed.contains(n))
        .collect();
    assert_eq!(extra, [""; 0], "not in the manual");
}

/// Each row that has a kernel or a builder gives an expression with every number of arguments up to three beyond the
/// fewest, and the expression has a value or one of MySQL's errors.
#[test]
fn every_row_builds_and_evaluates() {
    let samples = || [Expr::constant("1"), Expr::constant(1_i64), Expr::constant("utf8"), Expr::constant("$")];
    for f in all() {
        match f.body {
            Body::Kernel(..) | Body::Built(_) => {
                for count in (f.min..=f.max.min(f.min + 3)).filter(|n| f.takes(*n)) {
                    for sample in samples() {
                        let mut ctx = EvalContext::default();
                        let built = call(f.name, vec![sample; count]);
                        let outcome = built.and_then(|e| eval_const(&e, &mut ctx));
                        if let Err(e) = outcome {
                            assert!(e.code() != 1105 && e.code() != 1305, "{}: {e}", f.name);
                        }
                        let nulls = call(f.name, vec![Expr::null(); count]).and_then(|e| eval_const(&e, &mut ctx));
                        match nulls {
                            Ok(v) if !f.sees_nulls && count > 0 && matches!(f.body, Body::Kernel(..)) => {
                                assert!(v.is_null(), "{} of NULL is {v:?}", f.name);
                            }
                            Ok(_) => {}
                            Err(e) => assert_ne!(e.code(), 1105, "{}: {e}", f.name),
                        }
                    }
                }
                if f.min > 0 {
                    assert_eq!(call(f.name, vec![Expr::null(); f.min - 1]).unwrap_err().code(), 1582, "{}", f.name);
                }
            }
            Body::Refused(reason) => {
                assert_eq!(call(f.name, Vec::new()).unwrap_err().code(), 1235, "{}", f.name);
                assert!(!reason.is_empty());
            }
            Body::Syntax | Body::Aggregate => {}
        }
    }
}

fn chapter(group: Group) -> &'static str {
    match group {
        Group::Operator => "Operators and comparison",
        Group::Control => "Control flow",
        Group::Math => "Numbers",
        Group::String => "Strings",
        Group::Regexp => "Regular expressions",
        Group::Time => "Dates and times",
        Group::Json => "JSON",
        Group::Crypto => "Digests, encryption, compression",
        Group::Info => "Information",
        Group::Lock => "User locks",
        Group::Misc => "Miscellaneous",
        Group::Aggregate => "Aggregates",
        Group::Window => "Window functions",
        Group::Spatial => "Spatial",
        Group::Gtid => "Global transaction identifiers",
        Group::Replication => "Group replication",
        Group::Internal => "Internal",
    }
}

const CHAPTERS: [Group; 17] = [
    Group::Operator,
    Group::Control,
    Group::Math,
    Group::String,
    Group::Regexp,
    Group::Time,
    Group::Json,
    Group::Crypto,
    Group::Info,
    Group::Lock,
    Group::Misc,
    Group::Aggregate,
    Group::Window,
    Group::Spatial,
    Group::Gtid,
    Group::Replication,
    Group::Internal,
];

/// Kinds that belong to parts of MySQL which have no counterpart here; they are counted apart.
fn apart(group: Group) -> bool {
    matches!(group, Group::Spatial | Group::Gtid | Group::Replication | Group::Internal)
}

fn document() -> String {
    let rows: Vec<_> = all().filter(|f| f.group != Group::Internal || !f.is_done()).collect();
    let names =
        |of: &dyn Fn(&Function) -> bool| -> usize { rows.iter().filter(|f| of(f)).map(|f| 1 + f.aliases.len()).sum() };
    let total = names(&|f| !apart(f.group));
    let done = names(&|f| !apart(f.group) && f.is_done());
    let pushed = names(&|f| !apart(f.group) && (f.pushed || !f.pb.is_empty()));
    let mut out = String::from("# Functions and operators of MySQL 8\n\n");
    out.push_str(
        "Printed from the table in `crates/query/src/functions` by `UPDATE=1 cargo test -p query documentation`.\n\n",
    );
    let per_mille = done * 1000 / total;
    writeln!(
        out,
        "Of {total} names that are not spatial and not of GTIDs, group replication or MySQL's own use, **{done} are done \
         ({}.{} %)**; {pushed} of them are pushed down to the storage nodes. {} names of those kinds are refused.\n",
        per_mille / 10,
        per_mille % 10,
        names(&|f| apart(f.group)),
    )
    .unwrap();
    out.push_str(
        "*pushed down*: storage nodes compute it where its arguments allow. *refused*: error 1235 with this reason.\n",
    );
    for group in CHAPTERS {
        writeln!(out, "\n## {}\n\n| name | also | status |\n|---|---|---|", chapter(group)).unwrap();
        let mut of_group: Vec<_> = rows.iter().filter(|f| f.group == group).collect();
        of_group.sort_by_key(|f| f.name);
        for f in of_group {
            let code = |name: &str| format!("`{}`", name.to_ascii_uppercase().replace('|', "\\|"));
            let aliases: Vec<_> = f.aliases.iter().map(|a| code(a)).collect();
            let status = match f.body {
                Body::Refused(reason) => format!("refused: {reason}"),
                _ if f.pushed || !f.pb.is_empty() => "done, pushed down".into(),
                _ => "done".into(),
            };
            writeln!(out, "| {} | {} | {status} |", code(f.name), aliases.join(", ")).unwrap();
        }
    }
    out
}

#[test]
fn documentation_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/functions.md");
    let want = document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &want).unwrap();
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(have == want, "docs/functions.md is out of date: UPDATE=1 cargo test -p query documentation");
}
