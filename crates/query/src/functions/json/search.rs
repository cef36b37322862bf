//! What is in a document, and where.

use codec::datum::Datum;
use codec::json::Json;
use codec::types::Collation;

use super::path::{Path, member_text};
use super::{document, json};
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::functions::args::*;
use crate::value::Pattern;

/// The argument `'one'` or `'all'`.
pub(super) fn wants_all(call: &Call, v: &Datum) -> Result<bool> {
    match lossy(v) {
        s if s.eq_ignore_ascii_case("all") => Ok(true),
        s if s.eq_ignore_ascii_case("one") => Ok(false),
        _ => Err(EvalError::JsonOneOrAll(call.func.name().into())),
    }
}

fn same(a: &Json, b: &Json) -> bool {
    a.cmp(b).is_eq()
}

pub(super) fn contains(target: &Json, candidate: &Json) -> bool {
    match (target, candidate) {
        (Json::Array(_), Json::Array(candidates)) => {
            candidates.iter().all(|c| items(target).iter().any(|t| contains(t, c) && t.is_array() == c.is_array()))
        }
        (Json::Array(targets), candidate) => targets.iter().any(|t| !t.is_array() && contains(t, candidate)),
        (Json::Object(_), Json::Object(members)) => {
            members.iter().all(|(name, c)| target.get(name).is_some_and(|t| contains(t, c)))
        }
        (target, candidate) => same(target, candidate),
    }
}

/// The elements of an array; anything else is an array of one.
fn items(j: &Json) -> &[Json] {
    match j {
        Json::Array(items) => items,
        other => std::slice::from_ref(other),
    }
}

pub(super) fn overlap(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(members), Json::Object(_)) => {
            members.iter().any(|(name, x)| b.get(name).is_some_and(|y| same(x, y)))
        }
        _ => items(a).iter().any(|x| items(b).iter().any(|y| same(x, y))),
    }
}

/// JSON_SEARCH(doc, one_or_all, pattern[, escape[, path, …]]): the paths of strings that match.
pub(super) fn search(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    // Only the escape character may be NULL: then it is the usual one.
    if v.iter().enumerate().any(|(i, v)| v.is_null() && i != 3) {
        return NULL;
    }
    let (doc, all) = (document(call, v, 0)?, wants_all(call, &v[1])?);
    let escape = match v.get(3) {
        None | Some(Datum::Null) => Some('\\'),
        Some(e) => {
            let text = lossy(e);
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (None, _) => Some('\\'),
                (one, None) => one,
                _ => return Err(EvalError::WrongArguments("ESCAPE".into())),
            }
        }
    };
    let pattern = Pattern::new(text(&v[2]), escape, Collation::UTF8MB4_BIN);
    let paths: Vec<Path> = v.iter().skip(4).map(|p| Path::parse(&lossy(p))).collect::<Result<_>>()?;
    let starts: Vec<&Json> =
        if paths.is_empty() { vec![&doc] } else { paths.iter().flat_map(|p| p.find(&doc)).collect() };
    let mut found: Vec<String> = Vec::new();
    walk(&doc, "$", false, &mut |j, path, below| {
        let below = below || starts.iter().any(|s| std::ptr::eq(*s, j));
        if let Json::String(s) = j
            && below
            && (all || found.is_empty())
            && pattern.matches(s.as_bytes())
        {
            found.push(path.to_owned());
        }
        below
    });
    let mut found: Vec<Json> = found.into_iter().map(Json::String).collect();
    match found.len() {
        0 => NULL,
        1 => json(found.remove(0)),
        _ => json(Json::Array(found)),
    }
}

/// Visits every value with its path; `f` says whether those below are below a place that is searched.
fn walk<'a>(j: &'a Json, path: &str, below: bool, f: &mut impl FnMut(&'a Json, &str, bool) -> bool) {
    let below = f(j, path, below);
    match j {
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(i, j)| walk(j, &format!("{path}[{i}]"), below, f));
        }
        Json::Object(members) => {
            members.iter().for_each(|(name, j)| walk(j, &format!("{path}{}", member_text(name)), below, f));
        }
        _ => {}
    }
}
