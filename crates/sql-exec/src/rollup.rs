//! The rows from which the groups of WITH ROLLUP are made: each once with all keys, once without the last, …, and once
//! without any.

use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use codec::types::FieldType;
use query::batch::{Batch, repeat};
use query::expr::Expr;
use sql_base::SqlError;

use crate::runtime::Runtime;
use crate::stream::Operator;

/// The operator; its columns are those of the input, the keys, and how many of them the row has.
pub(crate) struct Expand {
    input: Box<dyn Operator>,
    keys: Vec<Expr>,
    types: Arc<[FieldType]>,
    /// Rows with all of their keys, and how many keys they are given with next.
    current: Option<(Batch, usize)>,
}

impl Expand {
    pub(crate) fn new(input: Box<dyn Operator>, keys: Vec<Expr>, types: Arc<[FieldType]>) -> Expand {
        Expand { input, keys, types, current: None }
    }
}

#[async_trait]
impl Operator for Expand {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let (batch, level) = match self.current.take() {
            Some(current) => current,
            None => {
                let Some(batch) = self.input.next(rt).await? else { return Ok(None) };
                let mut columns = batch.columns().to_vec();
                for key in &self.keys {
                    columns.push(rt.column(key, &batch)?);
                }
                let types = &self.types[..columns.len()];
                (Batch::new(types.into(), columns, batch.num_rows()), self.keys.len())
            }
        };
        rt.check_interrupted()?;
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        let first = columns.len() - self.keys.len();
        for (column, ty) in columns.iter_mut().zip(self.types.iter()).skip(first + level) {
            *column = repeat(&Datum::Null, ty, rows)?;
        }
        columns.push(repeat(&Datum::Int(level as i64), &self.types[columns.len()], rows)?);
        let out = Batch::new(self.types.clone(), columns, rows);
        self.current = level.checked_sub(1).map(|level| (batch, level));
        Ok(Some(out))
    }
}
