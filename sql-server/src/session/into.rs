//! `SELECT … INTO @a, @b`: the one row of a query becomes values of variables.

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use futures::StreamExt;
use sql_base::SqlError;
use sql_base::outcome::{Outcome, Rows};
use sql_context::Level;
use sql_parser::Statement;

use super::Session;

impl Session {
    /// Runs it. Variables keep their values where there is no row.
    pub(super) async fn select_into(
        &mut self,
        query: &Statement,
        variables: &[String],
        params: &[Datum],
    ) -> Result<Outcome, SqlError> {
        let Outcome::Rows(result) = self.run(query, params).await? else {
            return Err(SqlError::internal("SELECT INTO", "a query without rows"));
        };
        if result.columns.len() != variables.len() {
            return Err(SqlError::UnionColumnCount);
        }
        let rows = match result.rows {
            Rows::Datums(rows) => rows,
            Rows::Batches(mut batches) => {
                let mut rows = Vec::new();
                while let Some(batch) = batches.next().await
                    && rows.len() < 2
                {
                    rows.extend(batch?.rows().take(2));
                }
                rows
            }
        };
        if rows.len() > 1 {
            return Err(SqlError::TooManyRows);
        }
        let Some(row) = rows.into_iter().next() else {
            self.state.found_rows = 0;
            self.state.push_warning(Level::Warning, &SqlError::NoData);
            return Ok(Outcome::ok());
        };
        self.state.found_rows = 1;
        let own = Arc::make_mut(&mut self.state.user_vars);
        for ((name, value), column) in variables.iter().zip(row).zip(result.columns.iter()) {
            own.insert(name.clone(), kept(value, &column.ty));
        }
        Ok(Outcome::affected(1))
    }
}

/// A value without its column: members of ENUM and SET are text.
fn kept(value: Datum, ty: &FieldType) -> Datum {
    match value {
        Datum::Enum(_) | Datum::Set(_) => query::value::to_text(&value, ty).map_or(Datum::Null, Datum::Bytes),
        value => value,
    }
}
