//! Optimizer hints of a query block: `SELECT /*+ USE_INDEX(t, i) LEADING(a, b) */ …`.
//!
//! | hint | what it does |
//! |---|---|
//! | `USE_INDEX(t, i, …)`, `FORCE_INDEX`, `INDEX` | only these indexes, or the table itself where none is named |
//! | `IGNORE_INDEX(t, i, …)`, `NO_INDEX` | all but these |
//! | `USE_INDEX_MERGE(t, i, …)`, `INDEX_MERGE` | several of these indexes together, or any, where that is possible |
//! | `NO_INDEX_MERGE(t, i, …)` | none of these together with others; none of the table, or of any |
//! | `HASH_JOIN(t, …)`, `NO_INDEX_JOIN` | these tables are not looked up |
//! | `INL_JOIN(t, …)`, `INL_HASH_JOIN`, `NO_HASH_JOIN` | these tables are looked up by the rows joined to them, if a key allows |
//! | `MERGE_JOIN(t, …)` | these tables are read in the order of the columns that join them, or sorted, and merged |
//! | `NO_MERGE_JOIN(t, …)` | they are not |
//! | `LEADING(t, …)`, `JOIN_ORDER`, `JOIN_PREFIX` | these tables are joined first, in this order |
//! | `STRAIGHT_JOIN()`, `JOIN_FIXED_ORDER()` | tables are joined in the order of FROM |
//!
//! Hints are wishes: one that names what there is not, or that cannot be followed, is a warning and changes nothing. They
//! are written into the scans of their block; rules read them there.
//!
//! Not here: hints that are settings of the statement (the parser), and those that nobody knows (8061, the parser).

use sql_base::SqlError;
use sql_parser::ast::Hint;

use crate::plan::{IndexHint, Plan, Scan};

/// What a hint asks for.
enum Wish {
    Index(IndexHint),
    Lookup(bool),
    Order,
    AsWritten,
    Merge(bool),
}

fn wish(name: &str) -> Option<Wish> {
    Some(match name.to_ascii_uppercase().as_str() {
        "USE_INDEX" | "FORCE_INDEX" | "INDEX" => Wish::Index(IndexHint::Use),
        "IGNORE_INDEX" | "NO_INDEX" => Wish::Index(IndexHint::Ignore),
        "USE_INDEX_MERGE" | "INDEX_MERGE" => Wish::Index(IndexHint::Merge),
        "NO_INDEX_MERGE" => Wish::Index(IndexHint::Apart),
        "HASH_JOIN" | "NO_INDEX_JOIN" => Wish::Lookup(false),
        "INL_JOIN" | "INL_HASH_JOIN" | "NO_HASH_JOIN" => Wish::Lookup(true),
        "LEADING" | "JOIN_ORDER" | "JOIN_PREFIX" => Wish::Order,
        "STRAIGHT_JOIN" | "JOIN_FIXED_ORDER" => Wish::AsWritten,
        "MERGE_JOIN" | "TIDB_SMJ" => Wish::Merge(true),
        "NO_MERGE_JOIN" => Wish::Merge(false),
        _ => return None,
    })
}

/// Writes hints into the scans of a block's FROM; what cannot be followed is returned as warnings.
pub fn apply(hints: &[Hint], plan: &mut Plan) -> Vec<SqlError> {
    let mut warnings = Vec::new();
    let mut ordered = false;
    for Hint { name, argument } in hints {
        let Some(wish) = wish(name) else { continue };
        let args: Vec<String> = arguments(argument);
        let written = format!("/*+ {}({}) */", name.to_ascii_uppercase(), args.join(", "));
        let inapplicable = |why: &str| SqlError::HintInapplicable {
            hint: written.clone(),
            why: if why.is_empty() { String::new() } else { format!(" because {why}") },
        };
        let absent = |missing: &[&String]| SqlError::HintWithoutTable {
            tables: missing.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", "),
            hint: written.clone(),
        };
        match wish {
            Wish::Index(IndexHint::Apart) if args.is_empty() => {
                each_scan(plan, &mut |scan| scan.hints.push((IndexHint::Apart, Vec::new())));
            }
            Wish::Index(kind) => {
                let Some((table, indexes)) = args.split_first() else {
                    warnings.push(inapplicable("it names no table"));
                    continue;
                };
                let mut found = false;
                for_scan(plan, table, &mut |scan| {
                    found = true;
                    let known = |index: &&String| scan.table.has_key(index);
                    let (there, gone): (Vec<_>, Vec<_>) = indexes.iter().partition(known);
                    let table = || scan.table.name.original.clone();
                    warnings
                        .extend(gone.into_iter().map(|key| SqlError::NoSuchKey { key: key.clone(), table: table() }));
                    let wanted = !there.is_empty() || (indexes.is_empty() && kind != IndexHint::Ignore);
                    if wanted {
                        scan.hints.push((kind, there.into_iter().cloned().collect()));
                    }
                });
                if !found {
                    warnings.push(absent(&[table]));
                }
            }
            Wish::Lookup(lookup) => {
                let missing = each_named(plan, &args, |scan, _| scan.join_hint.lookup = Some(lookup));
                if !missing.is_empty() {
                    warnings.push(absent(&missing));
                }
            }
            Wish::Merge(merge) => {
                let missing = each_named(plan, &args, |scan, _| scan.join_hint.merge = Some(merge));
                if !missing.is_empty() {
                    warnings.push(absent(&missing));
                }
            }
            Wish::Order | Wish::AsWritten if ordered => warnings.push(inapplicable("another hint orders the tables")),
            Wish::Order => {
                let missing = each_named(plan, &args, |scan, at| scan.join_hint.place = Some(at));
                // A place without its neighbours says nothing.
                if missing.is_empty() {
                    ordered = true;
                } else {
                    warnings.push(absent(&missing));
                    each_scan(plan, &mut |scan| scan.join_hint.place = None);
                }
            }
            Wish::AsWritten => {
                ordered = true;
                let mut at = 0;
                each_scan(plan, &mut |scan| {
                    scan.join_hint.place = Some(at);
                    at += 1;
                });
            }
        }
    }
    warnings
}

/// `t, i, j` and MySQL's `t i, j`: names without quotes, databases and query blocks.
fn arguments(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).map(str::trim).filter(|w| !w.is_empty());
    words
        .map(|word| {
            let word = word.split('@').next().unwrap_or(word);
            let name = word.rsplit('.').next().unwrap_or(word);
            name.trim_matches('`').to_owned()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Calls `f` for each scan of the block itself.
fn each_scan(plan: &mut Plan, f: &mut dyn FnMut(&mut Scan)) {
    match plan {
        Plan::Scan(scan) if !scan.inside => f(scan),
        Plan::Scan(_) => {}
        plan => plan.inputs_mut().into_iter().for_each(|input| each_scan(input, f)),
    }
}

fn for_scan(plan: &mut Plan, table: &str, f: &mut dyn FnMut(&mut Scan)) {
    each_scan(plan, &mut |scan| {
        if scan.alias.eq_ignore_ascii_case(table) {
            f(scan);
        }
    });
}

/// Calls `f` for the named tables with their place in the list, and returns those that there are not.
fn each_named<'n>(plan: &mut Plan, names: &'n [String], f: impl Fn(&mut Scan, usize)) -> Vec<&'n String> {
    let mut missing = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let mut found = false;
        for_scan(plan, name, &mut |scan| {
            found = true;
            f(scan, at);
        });
        if !found {
            missing.push(name);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hints_are_read_in_both_dialects() {
        assert_eq!(arguments("t, i, `J`"), ["t", "i", "J"]);
        assert_eq!(arguments("t@sel_1 i , db.k"), ["t", "i", "k"]);
        assert!(arguments(" @qb ").is_empty());
    }
}
