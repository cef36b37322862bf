//! The order of two values.

use std::cmp::Ordering;

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::types::{Collation, FieldType, TypeCode};

use super::json::to_json;
use crate::types::EvalType;

/// Order of two values of one domain, neither NULL.
pub fn compare(domain: EvalType, collation: Collation, a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Float(a), Datum::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Datum::Decimal(x), Datum::Int(y)) => x.cmp(&Decimal::from(*y)),
        (Datum::Int(x), Datum::Decimal(y)) => Decimal::from(*x).cmp(y),
        (Datum::Decimal(x), Datum::UInt(y)) => x.cmp(&Decimal::from(*y)),
        (Datum::UInt(x), Datum::Decimal(y)) => Decimal::from(*x).cmp(y),
        (Datum::Int(x), Datum::Bit(y) | Datum::Enum(y) | Datum::Set(y)) => i128::from(*x).cmp(&i128::from(*y)),
        (Datum::Bit(x) | Datum::Enum(x) | Datum::Set(x), Datum::Int(y)) => i128::from(*x).cmp(&i128::from(*y)),
        // Both were made JSON when the comparison was built; what another system sends may be of other types.
        (Datum::Json(a), Datum::Json(b)) => a.cmp(b),
        _ if domain == EvalType::Json => {
            let any = FieldType::new(TypeCode::Null);
            to_json(a, &any).cmp(&to_json(b, &any))
        }
        _ => a.compare(b, collation),
    }
}
