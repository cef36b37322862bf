//! A column's type as JSON, with the field names of TiDB's catalogue.

use codec::types::{Collation, FieldType, TypeCode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "Tp")]
    tp: u8,
    #[serde(rename = "Flag")]
    flag: u32,
    #[serde(rename = "Flen")]
    flen: i32,
    #[serde(rename = "Decimal")]
    decimal: i32,
    #[serde(rename = "Charset")]
    charset: String,
    #[serde(rename = "Collate")]
    collate: String,
    #[serde(rename = "Elems", default)]
    elems: Option<Vec<String>>,
}

pub(super) fn serialize<S: Serializer>(ty: &FieldType, serializer: S) -> Result<S::Ok, S::Error> {
    Stored {
        tp: ty.tp as u8,
        flag: ty.flags,
        flen: ty.flen,
        decimal: ty.decimal,
        charset: ty.collation.charset().to_owned(),
        collate: ty.collation.name().to_owned(),
        elems: (!ty.elems.is_empty()).then(|| ty.elems.clone()),
    }
    .serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FieldType, D::Error> {
    let stored = Stored::deserialize(deserializer)?;
    let tp = TypeCode::from_u8(stored.tp).ok_or_else(|| D::Error::custom(format!("unknown type {}", stored.tp)))?;
    let collation = Collation::from_name(&stored.collate)
        .ok_or_else(|| D::Error::custom(format!("unknown collation {}", stored.collate)))?;
    Ok(FieldType {
        tp,
        flags: stored.flag,
        flen: stored.flen,
        decimal: stored.decimal,
        collation,
        elems: stored.elems.unwrap_or_default(),
    })
}
