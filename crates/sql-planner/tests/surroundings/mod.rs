//! What a statement is bound in: the schema of the goldens, parameters that are all 5, two variables, and a clock that
//! stands at noon.

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use query::context::{EvalContext, TimeZone, sql_mode};
use sql_base::SqlError;
use sql_catalog::Schema;
use sql_planner::binder::Environment;

use super::schema;

/// A session without a server.
pub(crate) struct Surroundings {
    schema: Arc<Schema>,
    params: Vec<Datum>,
    eval: EvalContext,
}

impl Environment for Surroundings {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn database(&self) -> Option<&str> {
        Some("d")
    }

    fn params(&self) -> &[Datum] {
        &self.params
    }

    fn variable(&self, name: &str) -> Result<(Datum, FieldType), SqlError> {
        match name {
            "@n" => Ok((Datum::Int(7), FieldType::bigint())),
            "@s" => Ok((Datum::string("x"), FieldType::varchar(1))),
            _ => Ok((Datum::Null, FieldType::new(codec::types::TypeCode::Null))),
        }
    }

    fn eval(&self) -> &EvalContext {
        &self.eval
    }
}

/// The surroundings of every golden and benchmark.
pub(crate) fn surroundings() -> Surroundings {
    let noon = 1_700_000_000_000_000;
    let eval = EvalContext::for_select(sql_mode::DEFAULT, TimeZone::UTC, noon);
    Surroundings { schema: schema::schema(), params: vec![Datum::Int(5); 8], eval }
}
