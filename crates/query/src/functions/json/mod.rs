//! Functions of JSON.
//!
//! A document is a JSON value or text, which is parsed. Other arguments become JSON as they are: text is a string, however
//! much it looks like a document, and NULL is `null`.

mod change;
mod path;
mod schema;
mod search;
mod shape;

use codec::datum::Datum;
use codec::json::Json;

use super::args::*;
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::expr::function::{Arg, Function, Group, MANY, Ret, RowKernel};
use crate::value;
use path::Path;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Json, name, count, args, ret, kernel)
}

/// A function of a document, which sees NULL values.
const fn change(name: &'static str, count: (usize, usize), kernel: RowKernel) -> Function {
    of(name, count, &[Arg::Any], Ret::Json, kernel).nulls()
}

pub(super) static ROWS: &[Function] = &[
    of("json_extract", (2, MANY), &[Arg::Any, Arg::Str], Ret::Json, extract),
    of("json_value", (2, 2), &[Arg::Any, Arg::Str], Ret::Ascii(512), |c, v, _| {
        match Path::parse_one(&lossy(&v[1]))?.find(&document(c, v, 0)?)[..] {
            [] | [Json::Null] => NULL,
            [Json::String(s), ..] => string(s.as_str()),
            [j, ..] => string(j.to_string()),
        }
    }),
    of("json_unquote", (1, 1), &[Arg::Any], Ret::Ascii(-1), unquote),
    of("json_quote", (1, 1), &[Arg::Str], Ret::Ascii(-1), |_, v, _| {
        string(Json::String(lossy(&v[0]).into()).to_string())
    }),
    of("json_type", (1, 1), &[Arg::Any], Ret::Ascii(-1), |c, v, _| string(document(c, v, 0)?.type_name())),
    of("json_valid", (1, 1), &[Arg::Any], Ret::Int, |_, v, _| {
        integer(match &v[0] {
            Datum::Json(_) => 1,
            Datum::Bytes(b) => std::str::from_utf8(b).is_ok_and(|s| Json::parse(s).is_ok()).into(),
            _ => 0,
        })
    }),
    of("json_array", (0, MANY), &[Arg::Any], Ret::Json, |c, v, _| {
        json(Json::Array((0..v.len()).map(|i| atom(c, v, i)).collect()))
    })
    .nulls(),
    of("json_object", (0, MANY), &[Arg::Any], Ret::Json, object).by(2).nulls(),
    of("json_length", (1, 2), &[Arg::Any, Arg::Str], Ret::Int, |c, v, _| {
        let doc = document(c, v, 0)?;
        integer(match part(&doc, v.get(1))? {
            None => return NULL,
            Some(Json::Array(a)) => a.len() as i64,
            Some(Json::Object(o)) => o.len() as i64,
            Some(_) => 1,
        })
    }),
    of("json_keys", (1, 2), &[Arg::Any, Arg::Str], Ret::Json, |c, v, _| {
        let doc = document(c, v, 0)?;
        match part(&doc, v.get(1))? {
            Some(Json::Object(members)) => {
                json(Json::Array(members.iter().map(|(name, _)| Json::String(name.clone())).collect()))
            }
            _ => NULL,
        }
    }),
    of("json_depth", (1, 1), &[Arg::Any], Ret::Int, |c, v, _| integer(shape::depth(&document(c, v, 0)?))),
    of("json_pretty", (1, 1), &[Arg::Any], Ret::Ascii(-1), |c, v, _| string(shape::pretty(&document(c, v, 0)?))),
    of("json_storage_size", (1, 1), &[Arg::Any], Ret::Int, |c, v, _| {
        integer(shape::storage_size(&document(c, v, 0)?) as i64)
    }),
    // Nothing is changed in place here, so that nothing is ever left free.
    of("json_storage_free", (1, 1), &[Arg::Any], Ret::Int, |c, v, _| document(c, v, 0).map(|_| Datum::Int(0))),
    change("json_set", (3, MANY), |c, v, _| change::assign(c, v, true, true)).by(2),
    change("json_insert", (3, MANY), |c, v, _| change::assign(c, v, false, true)).by(2),
    change("json_replace", (3, MANY), |c, v, _| change::assign(c, v, true, false)).by(2),
    change("json_array_append", (3, MANY), change::array_append).by(2),
    change("json_array_insert", (3, MANY), change::array_insert).by(2),
    of("json_remove", (2, MANY), &[Arg::Any, Arg::Str], Ret::Json, change::remove),
    of("json_merge_patch", (2, MANY), &[Arg::Any], Ret::Json, |c, v, _| change::merge(c, v, change::patch)),
    of("json_merge_preserve", (2, MANY), &[Arg::Any], Ret::Json, |c, v, _| change::merge(c, v, change::preserve))
        .alias(&["json_merge"]),
    of("json_contains", (2, 3), &[Arg::Any, Arg::Any, Arg::Str], Ret::Int, |c, v, _| {
        let (doc, candidate) = (document(c, v, 0)?, document(c, v, 1)?);
        or_null(part(&doc, v.get(2))?.map(|target| Datum::Int(search::contains(target, &candidate).into())))
    }),
    of("json_contains_path", (3, MANY), &[Arg::Any, Arg::Str], Ret::Int, |c, v, _| {
        let (doc, all) = (document(c, v, 0)?, search::wants_all(c, &v[1])?);
        let found = v[2..].iter().map(|p| Ok(!Path::parse(&lossy(p))?.find(&doc).is_empty()));
        let found = found.collect::<Result<Vec<bool>>>()?;
        integer(if all { found.iter().all(|f| *f) } else { found.contains(&true) }.into())
    }),
    of("json_overlaps", (2, 2), &[Arg::Any], Ret::Int, |c, v, _| {
        integer(search::overlap(&document(c, v, 0)?, &document(c, v, 1)?).into())
    }),
    of("json_schema_valid", (2, 2), &[Arg::Any], Ret::Int, |c, v, _| {
        integer(schema::check(&schema_argument(c, v)?, &document(c, v, 1)?)?.is_none().into())
    }),
    of("json_schema_validation_report", (2, 2), &[Arg::Any], Ret::Json, |c, v, _| {
        json(match schema::check(&schema_argument(c, v)?, &document(c, v, 1)?)? {
            Some(failure) => failure.report(),
            None => Json::object([("valid".into(), Json::Bool(true))]),
        })
    }),
    of("json_search", (3, MANY), &[Arg::Any, Arg::Str], Ret::Json, search::search).nulls(),
    // The binder calls it for `value MEMBER OF (array)`.
    of("member of", (2, 2), &[Arg::Any], Ret::Int, |c, v, _| {
        let value = atom(c, v, 0);
        integer(
            match document(c, v, 1)? {
                Json::Array(items) => items.iter().any(|j| j.cmp(&value).is_eq()),
                other => other.cmp(&value).is_eq(),
            }
            .into(),
        )
    }),
];

fn json(j: Json) -> Result<Datum> {
    Ok(Datum::Json(j))
}

/// An argument that is a document.
fn document(call: &Call, v: &[Datum], i: usize) -> Result<Json> {
    match &v[i] {
        Datum::Json(j) => Ok(j.clone()),
        Datum::Bytes(b) => {
            let text = String::from_utf8_lossy(b);
            Json::parse(&text).map_err(|_| EvalError::InvalidJson(text.into_owned()))
        }
        _ => Err(EvalError::JsonDataType { argument: i + 1, function: call.func.name().into() }),
    }
}

/// The first argument as a schema, which is an object.
fn schema_argument(call: &Call, v: &[Datum]) -> Result<Json> {
    match document(call, v, 0)? {
        schema @ Json::Object(_) => Ok(schema),
        _ => Err(EvalError::JsonNoObject { argument: 1, function: call.func.name().into() }),
    }
}

/// An argument that is a value.
fn atom(call: &Call, v: &[Datum], i: usize) -> Json {
    value::to_json(&v[i], call.args[i].ty())
}

/// The document, or what a path to one place leads to in it.
fn part<'a>(doc: &'a Json, path: Option<&Datum>) -> Result<Option<&'a Json>> {
    match path {
        None => Ok(Some(doc)),
        Some(path) => Ok(Path::parse_one(&lossy(path))?.find(doc).first().copied()),
    }
}

fn extract(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let doc = document(call, v, 0)?;
    let mut found = Vec::new();
    let mut many = v.len() > 2;
    for path in &v[1..] {
        let path = Path::parse(&lossy(path))?;
        many |= path.is_wild();
        found.extend(path.find(&doc));
    }
    match found[..] {
        [] => NULL,
        [one] if !many => json(one.clone()),
        _ => json(Json::Array(found.into_iter().cloned().collect())),
    }
}

fn unquote(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    match &v[0] {
        Datum::Json(Json::String(s)) => string(s.clone()),
        Datum::Json(j) => string(j.to_string()),
        Datum::Bytes(b) if b.len() >= 2 && b.starts_with(b"\"") && b.ends_with(b"\"") => match document(call, v, 0)? {
            Json::String(s) => string(s),
            _ => Ok(v[0].clone()),
        },
        s => bytes(value::to_text(s, call.args[0].ty()).unwrap_or_default()),
    }
}

fn object(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let mut members = Vec::new();
    for i in (0..v.len()).step_by(2) {
        let key = value::to_text(&v[i], call.args[i].ty()).ok_or(EvalError::JsonNullName)?;
        members.push((String::from_utf8_lossy(&key).into_owned(), atom(call, v, i + 1)));
    }
    json(Json::object(members))
}
