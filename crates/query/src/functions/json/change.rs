//! A document with something changed in it.

use codec::datum::Datum;
use codec::json::{Json, key_order};

use super::path::{Leg, Path};
use super::{atom, document, json};
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::functions::args::*;

/// (path, place of its value) of `doc, path, value, path, value, …`; `None` when the document or a path is NULL.
fn pairs(v: &[Datum]) -> Result<Option<Vec<(Path, usize)>>> {
    let mut out = Vec::new();
    let mut null = v[0].is_null();
    for i in (1..v.len()).step_by(2) {
        if v[i].is_null() {
            null = true;
            continue;
        }
        out.push((Path::parse_one(&path_text(&v[i]))?, i + 1));
    }
    Ok((!null).then_some(out))
}

fn path_text(v: &Datum) -> String {
    crate::value::display(v)
}

/// JSON_SET, JSON_INSERT, JSON_REPLACE: what is there is replaced, what is not there is added, as far as wanted.
pub(super) fn assign(call: &Call, v: &[Datum], replaces: bool, adds: bool) -> Result<Datum> {
    let Some(pairs) = pairs(v)? else { return NULL };
    let mut doc = document(call, v, 0)?;
    for (path, i) in pairs {
        let value = atom(call, v, i);
        if let Some(there) = Path::find_mut(&path.legs, &mut doc) {
            if replaces {
                *there = value;
            }
            continue;
        }
        let Some((last, parent)) = path.legs.split_last().filter(|_| adds) else { continue };
        match (last, Path::find_mut(parent, &mut doc)) {
            (Leg::Member(name), Some(Json::Object(members))) => {
                let at = members.partition_point(|(k, _)| key_order(k, name).is_lt());
                members.insert(at, (name.clone(), value));
            }
            (Leg::Cell(place), Some(Json::Array(items))) => {
                let at = usize::try_from(place.index(items.len())).unwrap_or(0).min(items.len());
                items.insert(at, value);
            }
            // Not an array: an array of itself and the new value, on the side of it where the path points.
            (Leg::Cell(place), Some(other)) => {
                let one = std::mem::take(other);
                *other = Json::Array(if place.index(1) < 0 { vec![value, one] } else { vec![one, value] });
            }
            _ => {}
        }
    }
    json(doc)
}

pub(super) fn array_append(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let Some(pairs) = pairs(v)? else { return NULL };
    let mut doc = document(call, v, 0)?;
    for (path, i) in pairs {
        match Path::find_mut(&path.legs, &mut doc) {
            Some(Json::Array(items)) => items.push(atom(call, v, i)),
            Some(other) => *other = Json::Array(vec![std::mem::take(other), atom(call, v, i)]),
            None => {}
        }
    }
    json(doc)
}

pub(super) fn array_insert(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let Some(pairs) = pairs(v)? else { return NULL };
    let mut doc = document(call, v, 0)?;
    for (path, i) in pairs {
        let Some((Leg::Cell(place), parent)) = path.legs.split_last() else { return Err(EvalError::JsonPathNoCell) };
        if let Some(Json::Array(items)) = Path::find_mut(parent, &mut doc) {
            let at = usize::try_from(place.index(items.len())).unwrap_or(0).min(items.len());
            items.insert(at, atom(call, v, i));
        }
    }
    json(doc)
}

pub(super) fn remove(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let mut doc = document(call, v, 0)?;
    for path in &v[1..] {
        let path = Path::parse_one(&lossy(path))?;
        let Some((last, parent)) = path.legs.split_last() else { return Err(EvalError::JsonPathRoot) };
        match (last, Path::find_mut(parent, &mut doc)) {
            (Leg::Member(name), Some(Json::Object(members))) => members.retain(|(k, _)| k != name),
            (Leg::Cell(place), Some(Json::Array(items))) => {
                if let Some(at) = place.within(items.len()) {
                    items.remove(at);
                }
            }
            _ => {}
        }
    }
    json(doc)
}

pub(super) fn merge(call: &Call, v: &[Datum], join: fn(Json, Json) -> Json) -> Result<Datum> {
    let docs = (0..v.len()).map(|i| document(call, v, i)).collect::<Result<Vec<_>>>()?;
    json(docs.into_iter().reduce(join).unwrap_or_default())
}

/// RFC 7396: members of the second replace those of the first, `null` removes them.
pub(super) fn patch(target: Json, patch: Json) -> Json {
    let Json::Object(changes) = patch else { return patch };
    let mut members = match target {
        Json::Object(members) => members,
        _ => Vec::new(),
    };
    for (name, value) in changes {
        let at = members.binary_search_by(|(k, _)| key_order(k, &name));
        match (at, value) {
            (Ok(at), Json::Null) => drop(members.remove(at)),
            (Err(_), Json::Null) => {}
            (Ok(at), value) => members[at].1 = self::patch(std::mem::take(&mut members[at].1), value),
            (Err(at), value) => members.insert(at, (name, self::patch(Json::Null, value))),
        }
    }
    Json::Object(members)
}

/// Arrays one after the other, objects with the members of both; anything else counts as an array of one.
pub(super) fn preserve(a: Json, b: Json) -> Json {
    match (a, b) {
        (Json::Object(mut members), Json::Object(more)) => {
            for (name, value) in more {
                match members.binary_search_by(|(k, _)| key_order(k, &name)) {
                    Ok(at) => members[at].1 = preserve(std::mem::take(&mut members[at].1), value),
                    Err(at) => members.insert(at, (name, value)),
                }
            }
            Json::Object(members)
        }
        (a, b) => {
            let items = |j: Json| match j {
                Json::Array(items) => items,
                other => vec![other],
            };
            Json::Array([items(a), items(b)].concat())
        }
    }
}
