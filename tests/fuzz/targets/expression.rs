//! Bytes of a SQL server, as a storage node reads them: an expression, and its value for one row.

#![no_main]

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use query::batch::Batch;
use query::context::{EvalContext, TimeZone, sql_mode};

fuzz_target!(|data: &[u8]| {
    let Ok(message) = proto::tipb::Expr::decode(data) else { return };
    let types = [FieldType::bigint(), FieldType::varchar(20)];
    if let Ok(expression) = query::pb::from_pb(&message, &types)
        && let Ok(batch) = Batch::from_rows(Arc::from(types), &[[Datum::Int(7), Datum::string("seven")]])
    {
        let mut cx = EvalContext::for_select(sql_mode::DEFAULT, TimeZone::UTC, 1_700_000_000_000_000);
        let _ = query::eval::eval(&expression, &batch, &mut cx);
    }
    let _ = query::pb::aggregate_from_pb(&message, &[FieldType::bigint(), FieldType::varchar(20)]);
});
