//! `EXPLAIN FOR CONNECTION`: how the statement that another session runs would be run now, as its text is planned in its
//! current database.
//!
//! What only that session knows is not asked for: a statement with parameters, and one whose text is longer than what the
//! process list keeps of it, are refused. Variables and settings are those of the session that asks.

use sql_base::SqlError;
use sql_base::outcome::Outcome;
use sql_parser::{Explain, Statement};

use super::{Session, TEXT_BYTES_MAX};

impl Session {
    /// Runs it; a session that runs nothing has nothing to be explained.
    pub(super) async fn explain_connection(&mut self, id: u64, format: Option<&str>) -> Result<Outcome, SqlError> {
        let target = self.server.connections().get(id).ok_or(SqlError::NoSuchThread(id))?;
        let activity = target.activity();
        let Some(text) = activity.statement else { return Ok(Outcome::ok()) };
        if text.len() + 4 > TEXT_BYTES_MAX {
            return Err(SqlError::NotSupported("EXPLAIN FOR CONNECTION of a statement that is so long".into()));
        }
        let parsed = sql_parser::parse_one(text.as_bytes(), self.state.vars.lex_mode())?;
        let explained = matches!(
            parsed.statement,
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
        );
        if !explained {
            return Err(SqlError::NotExplainable);
        }
        if parsed.params > 0 {
            return Err(SqlError::NotSupported("EXPLAIN FOR CONNECTION of a statement with parameters".into()));
        }
        let explain =
            Explain { analyze: false, format: format.map(str::to_owned), statement: Box::new(parsed.statement) };
        let own = std::mem::replace(&mut self.state.database, activity.database);
        let result = self.run(&Statement::Explain(explain), &[]).await;
        self.state.database = own;
        result
    }
}
