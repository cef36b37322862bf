//! JSON Schema, draft 4: whether a document is as a schema says, and where it is not.
//!
//! References lead into the schema itself (`#/definitions/…`); others are refused. `format` and other notes are not checked,
//! as in MySQL.

use codec::json::Json;
use regex::Regex;

use crate::error::{EvalError, Result};

/// Schemas may refer to themselves; a document is never this deep.
const DEPTH_MAX: usize = 200;

/// The first thing that is not as it should be.
#[derive(Debug)]
pub(super) struct Failure {
    keyword: &'static str,
    /// `#/properties/a`: where the schema says so.
    schema: String,
    /// `#/a`: of what.
    document: String,
}

impl Failure {
    /// As JSON_SCHEMA_VALIDATION_REPORT tells it.
    pub(super) fn report(&self) -> Json {
        let text = |s: &str| Json::String(s.into());
        Json::object([
            ("valid".into(), Json::Bool(false)),
            (
                "reason".into(),
                Json::String(format!(
                    "The JSON document location '{}' failed requirement '{}' at JSON Schema location '{}'",
                    self.document, self.keyword, self.schema
                )),
            ),
            ("schema-location".into(), text(&self.schema)),
            ("document-location".into(), text(&self.document)),
            ("schema-failed-keyword".into(), text(self.keyword)),
        ])
    }
}

/// Where in the schema and in the document.
#[derive(Clone)]
struct At {
    schema: String,
    document: String,
    depth: usize,
}

impl At {
    fn schema(&self, part: &str) -> At {
        At { schema: format!("{}/{part}", self.schema), depth: self.depth + 1, ..self.clone() }
    }

    fn document(&self, part: &str) -> At {
        At { document: format!("{}/{part}", self.document), ..self.clone() }
    }
}

/// What is wrong with a document; `None` when nothing is.
pub(super) fn check(schema: &Json, document: &Json) -> Result<Option<Failure>> {
    let at = At { schema: "#".into(), document: "#".into(), depth: 0 };
    Checker { root: schema }.value(schema, document, &at)
}

struct Checker<'a> {
    root: &'a Json,
}

fn number(j: &Json) -> Option<f64> {
    match j {
        Json::Int(n) => Some(*n as f64),
        Json::UInt(n) => Some(*n as f64),
        Json::Float(n) => Some(*n),
        _ => None,
    }
}

fn is_type(j: &Json, name: &str) -> bool {
    match name {
        "null" => *j == Json::Null,
        "boolean" => matches!(j, Json::Bool(_)),
        "string" => matches!(j, Json::String(_)),
        "array" => j.is_array(),
        "object" => matches!(j, Json::Object(_)),
        "number" => number(j).is_some(),
        "integer" => number(j).is_some_and(|n| n.fract() == 0.0),
        _ => false,
    }
}

fn pattern(text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|_| EvalError::Regexp("bad pattern".into()))
}

impl Checker<'_> {
    fn value(&self, schema: &Json, j: &Json, at: &At) -> Result<Option<Failure>> {
        if at.depth > DEPTH_MAX {
            return Err(EvalError::Unsupported(format!("schemas deeper than {DEPTH_MAX}")));
        }
        if let Some(Json::String(to)) = schema.get("$ref") {
            let Some(inside) = to.strip_prefix('#') else {
                return Err(EvalError::Unsupported("references to remote JSON schema".into()));
            };
            let mut target = Some(self.root);
            for part in inside.split('/').skip(1) {
                target = target.and_then(|t| t.get(&part.replace("~1", "/").replace("~0", "~")));
            }
            let at = At { schema: to.clone(), depth: at.depth + 1, ..at.clone() };
            return match target {
                Some(target) => self.value(target, j, &at),
                None => Ok(None),
            };
        }
        let failed = |keyword: &'static str| {
            Ok(Some(Failure { keyword, schema: at.schema.clone(), document: at.document.clone() }))
        };
        match schema.get("type") {
            Some(Json::String(name)) if !is_type(j, name) => return failed("type"),
            Some(Json::Array(names)) if !names.iter().any(|n| matches!(n, Json::String(n) if is_type(j, n))) => {
                return failed("type");
            }
            _ => {}
        }
        if let Some(Json::Array(values)) = schema.get("enum")
            && !values.iter().any(|v| v.cmp(j).is_eq())
        {
            return failed("enum");
        }
        let limit = |name: &str| schema.get(name).and_then(number);
        let inside = match j {
            Json::String(s) => {
                let chars = s.chars().count() as f64;
                if limit("maxLength").is_some_and(|max| chars > max) {
                    return failed("maxLength");
                }
                if limit("minLength").is_some_and(|min| chars < min) {
                    return failed("minLength");
                }
                match schema.get("pattern") {
                    Some(Json::String(p)) if !pattern(p)?.is_match(s) => return failed("pattern"),
                    _ => None,
                }
            }
            Json::Array(items) => self.array(schema, items, at)?,
            Json::Object(members) => self.object(schema, members, at)?,
            j => match number(j) {
                Some(n) => {
                    let exclusive = |name: &str| schema.get(name) == Some(&Json::Bool(true));
                    let above = |max: f64| n > max || n == max && exclusive("exclusiveMaximum");
                    let below = |min: f64| n < min || n == min && exclusive("exclusiveMinimum");
                    if limit("multipleOf").is_some_and(|unit| unit > 0.0 && (n / unit).fract() != 0.0) {
                        return failed("multipleOf");
                    }
                    if limit("maximum").is_some_and(above) {
                        return failed("maximum");
                    }
                    if limit("minimum").is_some_and(below) {
                        return failed("minimum");
                    }
                    None
                }
                None => None,
            },
        };
        if inside.is_some() {
            return Ok(inside);
        }
        let each = |name: &str| match schema.get(name) {
            Some(Json::Array(schemas)) => schemas.as_slice(),
            _ => &[],
        };
        for (i, part) in each("allOf").iter().enumerate() {
            if let Some(failure) = self.value(part, j, &at.schema(&format!("allOf/{i}")))? {
                return Ok(Some(failure));
            }
        }
        let matching = |name: &str| {
            let fits = each(name).iter().map(|part| Ok(self.value(part, j, &at.schema(name))?.is_none()));
            Ok::<usize, EvalError>(fits.collect::<Result<Vec<bool>>>()?.into_iter().filter(|f| *f).count())
        };
        if !each("anyOf").is_empty() && matching("anyOf")? == 0 {
            return failed("anyOf");
        }
        if !each("oneOf").is_empty() && matching("oneOf")? != 1 {
            return failed("oneOf");
        }
        match schema.get("not") {
            Some(not) if self.value(not, j, &at.schema("not"))?.is_none() => failed("not"),
            _ => Ok(None),
        }
    }

    fn array(&self, schema: &Json, items: &[Json], at: &At) -> Result<Option<Failure>> {
        let failed = |keyword: &'static str| {
            Ok(Some(Failure { keyword, schema: at.schema.clone(), document: at.document.clone() }))
        };
        let limit = |name: &str| schema.get(name).and_then(number);
        if limit("maxItems").is_some_and(|max| items.len() as f64 > max) {
            return failed("maxItems");
        }
        if limit("minItems").is_some_and(|min| (items.len() as f64) < min) {
            return failed("minItems");
        }
        if schema.get("uniqueItems") == Some(&Json::Bool(true)) {
            let mut sorted: Vec<&Json> = items.iter().collect();
            sorted.sort_by(|a, b| a.cmp(b));
            if sorted.windows(2).any(|w| w[0].cmp(w[1]).is_eq()) {
                return failed("uniqueItems");
            }
        }
        for (i, item) in items.iter().enumerate() {
            let (part, name) = match schema.get("items") {
                Some(Json::Array(parts)) => match (parts.get(i), schema.get("additionalItems")) {
                    (Some(part), _) => (part, format!("items/{i}")),
                    (None, Some(Json::Bool(false))) => return failed("additionalItems"),
                    (None, Some(part)) => (part, "additionalItems".into()),
                    (None, None) => continue,
                },
                Some(part) => (part, "items".into()),
                None => continue,
            };
            if let Some(failure) = self.value(part, item, &at.schema(&name).document(&i.to_string()))? {
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    fn object(&self, schema: &Json, members: &[(String, Json)], at: &At) -> Result<Option<Failure>> {
        let failed = |keyword: &'static str| {
            Ok(Some(Failure { keyword, schema: at.schema.clone(), document: at.document.clone() }))
        };
        let limit = |name: &str| schema.get(name).and_then(number);
        let has = |name: &str| members.iter().any(|(k, _)| k == name);
        let all_there = |names: &[Json]| names.iter().all(|n| !matches!(n, Json::String(n) if !has(n)));
        if limit("maxProperties").is_some_and(|max| members.len() as f64 > max) {
            return failed("maxProperties");
        }
        if limit("minProperties").is_some_and(|min| (members.len() as f64) < min) {
            return failed("minProperties");
        }
        if let Some(Json::Array(names)) = schema.get("required")
            && !all_there(names)
        {
            return failed("required");
        }
        let patterns = match schema.get("patternProperties") {
            Some(Json::Object(parts)) => {
                parts.iter().map(|(p, part)| Ok((pattern(p)?, p, part))).collect::<Result<Vec<_>>>()?
            }
            _ => Vec::new(),
        };
        for (name, value) in members {
            let mut parts: Vec<(String, &Json)> = Vec::new();
            if let Some(part) = schema.get("properties").and_then(|p| p.get(name)) {
                parts.push((format!("properties/{name}"), part));
            }
            let matching = patterns.iter().filter(|(regex, ..)| regex.is_match(name));
            parts.extend(matching.map(|(_, p, part)| (format!("patternProperties/{p}"), *part)));
            if parts.is_empty() {
                match schema.get("additionalProperties") {
                    Some(Json::Bool(false)) => return failed("additionalProperties"),
                    Some(part) => parts.push(("additionalProperties".into(), part)),
                    None => {}
                }
            }
            for (path, part) in parts {
                if let Some(failure) = self.value(part, value, &at.schema(&path).document(name))? {
                    return Ok(Some(failure));
                }
            }
        }
        if let Some(Json::Object(dependencies)) = schema.get("dependencies") {
            for (name, wanted) in dependencies.iter().filter(|(name, _)| has(name)) {
                let failure = match wanted {
                    Json::Array(names) if !all_there(names) => return failed("dependencies"),
                    Json::Array(_) => None,
                    part => {
                        let whole = Json::Object(members.to_vec());
                        self.value(part, &whole, &at.schema(&format!("dependencies/{name}")))?
                    }
                };
                if failure.is_some() {
                    return Ok(failure);
                }
            }
        }
        Ok(None)
    }
}
