//! Functions of JSON.

use codec::datum::Datum;
use codec::json::Json;

use super::args::*;
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::expr::function::{Arg, Function, Group, MANY, Ret, RowKernel};
use crate::value;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Json, name, count, args, ret, kernel)
}

pub(super) static ROWS: &[Function] = &[
    of("json_extract", (2, MANY), &[Arg::Any, Arg::Str], Ret::Json, extract),
    of("json_unquote", (1, 1), &[Arg::Any], Ret::Ascii(-1), unquote),
    of("json_type", (1, 1), &[Arg::Any], Ret::Ascii(-1), |_, v, _| string(document(&v[0])?.type_name())),
    of("json_valid", (1, 1), &[Arg::Any], Ret::Int, |_, v, _| {
        integer(match &v[0] {
            Datum::Json(_) => 1,
            Datum::Bytes(b) => std::str::from_utf8(b).is_ok_and(|s| Json::parse(s).is_ok()).into(),
            _ => 0,
        })
    }),
    of("json_array", (0, MANY), &[Arg::Any], Ret::Json, |c, v, _| {
        json(Json::Array(v.iter().zip(&c.args).map(|(v, a)| value::to_json(v, a.ty())).collect()))
    })
    .nulls(),
    of("json_object", (0, MANY), &[Arg::Any], Ret::Json, object).by(2).nulls(),
    of("json_length", (1, 1), &[Arg::Any], Ret::Int, |_, v, _| {
        integer(match document(&v[0])? {
            Json::Array(a) => a.len() as i64,
            Json::Object(o) => o.len() as i64,
            _ => 1,
        })
    }),
    of("json_keys", (1, 2), &[Arg::Any, Arg::Str], Ret::Json, keys),
];

fn json(j: Json) -> Result<Datum> {
    Ok(Datum::Json(j))
}

fn document(v: &Datum) -> Result<Json> {
    match v {
        Datum::Json(j) => Ok(j.clone()),
        v => {
            let text = value::display(v);
            Json::parse(&text).map_err(|_| EvalError::InvalidJson(text))
        }
    }
}

fn extract(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let doc = document(&v[0])?;
    let mut found = Vec::new();
    let mut many = v.len() > 2;
    for path in &v[1..] {
        let (steps, wild) = json_path(&lossy(path))?;
        many |= wild;
        json_find(&doc, &steps, &mut found);
    }
    match found.len() {
        0 => NULL,
        1 if !many => json(found[0].clone()),
        _ => json(Json::Array(found.into_iter().cloned().collect())),
    }
}

fn unquote(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    match &v[0] {
        Datum::Json(Json::String(s)) => string(s.clone()),
        Datum::Json(j) => string(j.to_string()),
        Datum::Bytes(b) if b.len() >= 2 && b.starts_with(b"\"") && b.ends_with(b"\"") => match document(&v[0])? {
            Json::String(s) => string(s),
            _ => Ok(v[0].clone()),
        },
        s => bytes(value::to_text(s, call.args[0].ty()).unwrap_or_default()),
    }
}

fn object(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let mut members = Vec::new();
    for (pair, args) in v.chunks(2).zip(call.args.chunks(2)) {
        let key = value::to_text(&pair[0], args[0].ty()).ok_or(EvalError::JsonNullName)?;
        members.push((String::from_utf8_lossy(&key).into_owned(), value::to_json(&pair[1], args[1].ty())));
    }
    json(Json::object(members))
}

fn keys(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let doc = document(&v[0])?;
    let mut found = Vec::new();
    match v.get(1) {
        None => found.push(&doc),
        Some(path) => {
            let (steps, wild) = json_path(&lossy(path))?;
            if wild {
                return Err(EvalError::JsonPathWildcard);
            }
            json_find(&doc, &steps, &mut found);
        }
    }
    match found[..] {
        [Json::Object(members)] => {
            json(Json::Array(members.iter().map(|(name, _)| Json::String(name.clone())).collect()))
        }
        _ => NULL,
    }
}

enum Step {
    Member(String),
    Index(usize),
    AllMembers,
    AllItems,
}

/// `$.a."b c"[0].*`; and whether it has a wildcard.
fn json_path(path: &str) -> Result<(Vec<Step>, bool)> {
    let unsupported = |what: &str| Err(EvalError::Unsupported(format!("{what} in JSON path {path}")));
    let mut steps = Vec::new();
    let mut rest = path.trim().strip_prefix('$').ok_or(EvalError::InvalidJsonPath(1))?;
    while !rest.is_empty() {
        let bad = || EvalError::InvalidJsonPath(path.trim_end().len() - rest.len() + 1);
        if let Some(r) = rest.strip_prefix(".*") {
            steps.push(Step::AllMembers);
            rest = r;
        } else if let Some(r) = rest.strip_prefix("[*]") {
            steps.push(Step::AllItems);
            rest = r;
        } else if let Some(r) = rest.strip_prefix(".\"") {
            let end = r.find('"').ok_or_else(bad)?;
            steps.push(Step::Member(r[..end].into()));
            rest = &r[end + 1..];
        } else if let Some(r) = rest.strip_prefix('.') {
            let end = r.find(['.', '[']).unwrap_or(r.len());
            if end == 0 {
                return Err(bad());
            }
            steps.push(Step::Member(r[..end].trim().into()));
            rest = &r[end..];
        } else if let Some(r) = rest.strip_prefix('[') {
            let end = r.find(']').ok_or_else(bad)?;
            let index = r[..end].trim();
            if index.starts_with("last") || index.contains(" to ") {
                return unsupported(index);
            }
            steps.push(Step::Index(index.parse().map_err(|_| bad())?));
            rest = &r[end + 1..];
        } else if rest.starts_with("**") {
            return unsupported("**");
        } else {
            return Err(bad());
        }
    }
    let wild = steps.iter().any(|s| matches!(s, Step::AllMembers | Step::AllItems));
    Ok((steps, wild))
}

fn json_find<'a>(doc: &'a Json, steps: &[Step], out: &mut Vec<&'a Json>) {
    let Some((step, rest)) = steps.split_first() else {
        out.push(doc);
        return;
    };
    match (step, doc) {
        (Step::Member(name), Json::Object(_)) => {
            if let Some(j) = doc.get(name) {
                json_find(j, rest, out);
            }
        }
        (Step::Index(i), Json::Array(items)) => {
            if let Some(j) = items.get(*i) {
                json_find(j, rest, out);
            }
        }
        // A scalar is an array of one.
        (Step::Index(0), j) => json_find(j, rest, out),
        (Step::AllMembers, Json::Object(members)) => members.iter().for_each(|(_, j)| json_find(j, rest, out)),
        (Step::AllItems, Json::Array(items)) => items.iter().for_each(|j| json_find(j, rest, out)),
        _ => {}
    }
}
