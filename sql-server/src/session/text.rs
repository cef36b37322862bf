//! Statements that come as text: one that comes again, with the same literals or with others, is neither parsed nor planned
//! again.
//!
//! ```text
//!   SELECT b FROM t WHERE id = 7    1st: remembered by its text with `?` for its literals
//!   SELECT b FROM t WHERE id = 8    2nd: parsed with parameters, which is kept; its plan is kept as a prepared one's is
//!   SELECT b FROM t WHERE id = 9    3rd: tree and plan are found
//! ```
//!
//! A text that never comes again costs a look-up. Which literals become parameters `sql_parser` says; what a plan is good
//! for, and how many a session keeps, `sql_exec::plan_cache`.

use std::num::NonZeroUsize;
use std::sync::Arc;

use codec::datum::Datum;
use lru::LruCache;
use sql_base::SqlError;
use sql_base::outcome::Outcome;
use sql_parser::{LexMode, Literal, ParsedStatement, Piece};

use super::{LocalFiles, Session};

/// The texts that a session remembers, by what [`Piece::generalise`] leaves of them and how they were read.
#[derive(Default)]
pub(super) struct Texts(Option<LruCache<Arc<str>, Option<Arc<ParsedStatement>>>>);

/// A statement as it is run.
struct Read {
    parsed: Arc<ParsedStatement>,
    /// Values of its parameters.
    values: Vec<Datum>,
    /// Under what its plan is kept.
    key: Option<Arc<str>>,
}

impl Session {
    /// Runs one statement of a text. `files` are the client's.
    ///
    /// # Errors
    ///
    /// Those of its grammar, which are noted for `SHOW WARNINGS`, and those of the statement.
    pub async fn execute_text(
        &mut self,
        piece: Piece,
        sql: &[u8],
        files: &mut dyn LocalFiles,
    ) -> Result<Outcome, SqlError> {
        let text = String::from_utf8_lossy(&sql[piece.start..piece.end]).into_owned();
        let Read { parsed, values, key } = match self.read(piece, sql) {
            Ok(read) => read,
            Err(e) => {
                self.note_error(&e);
                return Err(e);
            }
        };
        self.plan_key = key;
        let result = self.execute_with(&parsed, &text, &values, Some(files)).await;
        self.count_plan(&parsed.statement);
        self.plan_key = None;
        result
    }

    fn read(&mut self, piece: Piece, sql: &[u8]) -> Result<Read, SqlError> {
        let settings = self.state.vars.settings();
        let mode = self.state.vars.lex_mode();
        let general = match settings.text_plan_cache {
            true => piece.generalise(sql),
            false => None,
        };
        let Some(general) = general else { return parse(piece, sql) };
        let size = NonZeroUsize::new(settings.plan_cache_size).unwrap_or(NonZeroUsize::MIN);
        let texts = self.texts.0.get_or_insert_with(|| LruCache::new(size));
        if texts.cap() != size {
            texts.resize(size);
        }
        let name: Arc<str> = match mode == LexMode::default() {
            true => general.key.as_str().into(),
            false => format!("{mode:?} {}", general.key).into(),
        };
        let known = match texts.get(&name) {
            Some(Some(parsed)) => parsed.clone(),
            Some(None) => match piece.with_parameters(&general).parse(sql) {
                Ok(parsed) => {
                    let parsed = Arc::new(parsed);
                    texts.put(name.clone(), Some(parsed.clone()));
                    parsed
                }
                Err(_) => return parse(piece, sql),
            },
            None => {
                texts.put(name, None);
                return parse(piece, sql);
            }
        };
        let values: Result<Vec<_>, _> = general.values.iter().map(value).collect();
        match values {
            Ok(values) => Ok(Read { parsed: known, values, key: Some(name) }),
            // The statement words the error, where it asks for the value at all.
            Err(_) => parse(piece, sql),
        }
    }
}

fn parse(piece: Piece, sql: &[u8]) -> Result<Read, SqlError> {
    let parsed = piece.parse(sql)?;
    // Only a statement that is prepared has parameters.
    if parsed.params > 0 {
        return Err(SqlError::Syntax { near: "?".to_owned(), line: 1 });
    }
    Ok(Read { parsed: Arc::new(parsed), values: Vec::new(), key: None })
}

/// The value of a literal, as the planner would have read it.
fn value(literal: &Literal) -> Result<Datum, SqlError> {
    match literal {
        Literal::Text(text) => Ok(Datum::string(text.as_str())),
        Literal::Number(text) => sql_planner::expr::number_value(text),
    }
}
