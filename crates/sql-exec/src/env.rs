//! What the binder may ask about a statement: the schema, parameters, variables.

use std::collections::HashMap;
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use query::context::EvalContext;
use sql_base::SqlError;
use sql_catalog::Schema;
use sql_context::{ExecContext, Services, Variables, eval_context};
use sql_planner::binder::Environment;

/// Names and variables of a statement, for the binder.
pub struct Env<'a> {
    schema: Arc<Schema>,
    database: Option<String>,
    params: Vec<Datum>,
    server: &'a dyn Services,
    user: Arc<HashMap<String, Datum>>,
    system: Variables,
    keeps: bool,
    pub(crate) eval: EvalContext,
}

impl<'a> Env<'a> {
    /// Of a statement.
    pub fn new(ctx: &mut ExecContext<'a>, write: bool) -> Env<'a> {
        let eval = eval_context(ctx.session, write);
        // The session cannot be borrowed while the statement runs, so what can be asked is copied.
        Env {
            schema: ctx.schema.clone(),
            database: ctx.session.database.clone(),
            params: ctx.params.to_vec(),
            server: ctx.server,
            user: ctx.session.user_vars.clone(),
            system: ctx.session.variables(),
            keeps: false,
            eval,
        }
    }

    /// Of a statement whose plan is to be kept.
    pub fn kept(ctx: &mut ExecContext<'a>, write: bool) -> Env<'a> {
        Env { keeps: true, ..Env::new(ctx, write) }
    }
}

impl Environment for Env<'_> {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    fn params(&self) -> &[Datum] {
        &self.params
    }

    fn variable(&self, name: &str) -> Result<(Datum, FieldType), SqlError> {
        match name.strip_prefix("@@") {
            Some(system) => self.system.get(self.server, &system.to_lowercase()),
            None => {
                let value = self.user.get(&name[1..].to_lowercase()).cloned().unwrap_or_default();
                let ty = sql_context::type_of_datum(&value);
                Ok((value, ty))
            }
        }
    }

    fn keeps_inputs(&self) -> bool {
        self.keeps
    }

    fn eval(&self) -> &EvalContext {
        &self.eval
    }
}
