//! A value as JSON, and the other way.

use codec::datum::Datum;
use codec::json::Json;
use codec::types::FieldType;

use super::print::to_text;

/// A JSON scalar as the SQL value it stands for; other JSON stays.
pub fn json_to_datum(j: &Json) -> Datum {
    match j {
        Json::Bool(b) => Datum::Int((*b).into()),
        Json::Int(v) => Datum::Int(*v),
        Json::UInt(v) => Datum::UInt(*v),
        Json::Float(v) => Datum::Float(*v),
        Json::String(s) => Datum::string(s.clone()),
        other => Datum::Json(other.clone()),
    }
}

/// A value as a JSON scalar (text stays text, it is not parsed).
pub fn to_json(value: &Datum, ty: &FieldType) -> Json {
    match value {
        Datum::Null => Json::Null,
        Datum::Int(v) if ty.has(codec::types::flags::IS_BOOLEAN) => Json::Bool(*v != 0),
        Datum::Int(v) => Json::Int(*v),
        Datum::UInt(v) | Datum::Bit(v) => Json::UInt(*v),
        Datum::Float(v) => Json::Float(*v),
        Datum::Decimal(d) => Json::Float(d.to_f64()),
        Datum::Json(j) => j.clone(),
        v => Json::String(String::from_utf8_lossy(&to_text(v, ty).unwrap_or_default()).into_owned()),
    }
}
