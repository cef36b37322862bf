//! LOAD DATA LOCAL: the client sends a file, whose lines become rows.
//!
//! ```text
//!   client ─▶ [LocalFiles] ─▶ [lines] ─▶ some rows: INSERT IGNORE INTO t (a, b) VALUES (?, CONCAT(?, '!')), …  ─▶ sql-exec
//! ```
//!
//! Rows are inserted by planned INSERTs of some hundred rows each, with what the file says as their parameters: so defaults,
//! conversions, checks and duplicates are those of INSERT. Only what messages say of a file differs
//! (`SessionState::loaded`). All of it is one statement and, without an open transaction, one transaction: a failure
//! takes all of it back, whatever was sent. It locks as it goes, because a file cannot be read again for another try.
//!
//! A file of the server's own is not read: there is no folder for such files (`secure_file_priv`). With LOCAL duplicates are
//! skipped and values that do not fit are warnings, as with IGNORE, unless REPLACE is said, as in MySQL.
//!
//! Not here: packets (`wire`), the format of lines ([`lines`]).

mod lines;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use codec::charset::Charset;
use codec::datum::Datum;
use codec::types::Collation;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_context::{ExecContext, Level, Loaded, NextTransaction, eval_context};
use sql_parser::canonical::quoted;
use sql_parser::{Explain, LoadConflict, LoadData, LoadTarget, Statement};

use super::Session;
use crate::admin::names::Names;
use lines::{Field, Line, Lines, Next};

/// Rows of one INSERT.
const BATCH_ROWS_MAX: usize = 256;

/// Parameters of one INSERT.
const BATCH_PARAMS_MAX: usize = 8192;

/// Bytes of the values of one INSERT beyond which it takes no more rows.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// How often the rows of one INSERT are tried again because of what others wrote.
const RETRIES_MAX: u32 = 64;

/// The client's files.
#[async_trait]
pub trait LocalFiles: Send {
    /// Whether the client sends any.
    fn may_send(&self) -> bool;

    /// Asks for a file.
    async fn open(&mut self, name: &[u8]) -> Result<(), SqlError>;

    /// The next piece of it; none at its end. What is asked for must be read to its end.
    async fn read(&mut self) -> Result<Option<Vec<u8>>, SqlError>;
}

/// How fields become values of an INSERT.
struct Shape<'a> {
    load: &'a LoadData,
    /// Where fields go.
    targets: Vec<LoadTarget>,
    /// The column of a field holds bytes, not text.
    binary: Vec<bool>,
    /// The field's column is set by SET: nothing else goes there.
    replaced: Vec<bool>,
    charset: Charset,
}

impl Shape<'_> {
    fn width(&self) -> usize {
        self.targets.len()
    }

    /// Columns that fields go to, with the fields' numbers.
    fn columns(&self) -> impl Iterator<Item = (usize, &str)> {
        self.targets.iter().enumerate().filter_map(|(n, target)| match target {
            LoadTarget::Column(name) if !self.replaced[n] => Some((n, name.as_str())),
            _ => None,
        })
    }

    /// The columns of an INSERT that rows of so many fields say nothing of.
    fn missing(&self, fields: usize) -> Range<usize> {
        self.columns().filter(|(n, _)| *n < fields).count()..self.columns().count()
    }

    /// An INSERT of so many rows of so many fields each.
    fn text(&self, rows: usize, fields: usize) -> String {
        let table = &self.load.table;
        let verb = match self.load.conflict {
            Some(LoadConflict::Replace) => "REPLACE",
            _ => "INSERT IGNORE",
        };
        let database = table.database.as_ref().map_or(String::new(), |database| format!("{}.", quoted(database)));
        let set = &self.load.set;
        let names: Vec<_> =
            self.columns().map(|(_, name)| name).chain(set.iter().map(|s| s.column.as_str())).map(quoted).collect();
        let given = self.columns().map(|(n, _)| if n < fields { "?" } else { "DEFAULT" });
        // A comment may end an expression, up to the end of its line.
        let values: Vec<_> = given.map(str::to_owned).chain(set.iter().map(|s| format!("{}\n", s.text))).collect();
        let row = format!("({})", values.join(", "));
        let rows = vec![row; rows].join(", ");
        format!("{verb} INTO {database}{} ({}) VALUES {rows}", quoted(&table.name), names.join(", "))
    }

    /// The values of a row's parameters.
    fn values(&self, fields: &[Field], out: &mut Vec<Datum>) -> Result<(), SqlError> {
        for (n, _) in self.columns().filter(|(n, _)| *n < fields.len()) {
            out.push(self.value(n, fields)?);
        }
        for n in self.load.set.iter().flat_map(|set| &set.fields) {
            out.push(self.value(*n, fields)?);
        }
        Ok(())
    }

    /// The value of a field: NULL where the line has none.
    fn value(&self, n: usize, fields: &[Field]) -> Result<Datum, SqlError> {
        let Some(Some(bytes)) = fields.get(n) else { return Ok(Datum::Null) };
        // Columns judge what is no UTF-8.
        if self.binary[n] || self.charset.is_utf8() {
            return Ok(Datum::Bytes(bytes.clone()));
        }
        let text = self.charset.decode(bytes).map_err(|_| SqlError::InvalidCharacterString {
            charset: self.charset.name(),
            text: sql_base::hex(&bytes[..bytes.len().min(6)]),
        })?;
        Ok(Datum::Bytes(text.into_owned()))
    }
}

/// Rows that wait to be inserted, all of so many fields.
#[derive(Default)]
struct Batch {
    fields: usize,
    rows: usize,
    values: Vec<Datum>,
    bytes: usize,
}

/// What was done so far.
#[derive(Default)]
struct Counts {
    records: u64,
    affected: u64,
    generated_id: u64,
    last_id: u64,
    /// The INSERT that was run last, by its rows and their fields.
    statement: Option<(usize, usize, Statement)>,
}

impl Session {
    /// Runs LOAD DATA.
    pub(super) async fn load(
        &mut self,
        load: &LoadData,
        files: Option<&mut dyn LocalFiles>,
    ) -> Result<Outcome, SqlError> {
        if !load.local {
            return Err(SqlError::ReadOnlyServer("--secure-file-priv"));
        }
        let enabled = self.server.globals().server().local_infile;
        let files = files.filter(|files| enabled && files.may_send()).ok_or(SqlError::LocalInfileDisabled)?;
        let autocommit = self.state.is_autocommit();
        let read_only = if autocommit { self.state.begins_read_only() } else { self.state.txn.read_only };
        self.check_writable(read_only)?;
        let stage = match autocommit {
            true => {
                self.state.txn.pessimistic = Some(true);
                None
            }
            false => {
                self.state.open();
                self.state.begin_statement_stage()
            }
        };
        let loaded = self.load_file(load, files).await;
        self.state.loaded = None;
        if !autocommit {
            self.state.end_statement_stage(stage, loaded.is_err()).await;
            if matches!(loaded, Err(SqlError::Deadlock)) {
                self.state.rollback().await;
            }
            return loaded;
        }
        let result = match loaded {
            Ok(outcome) => self.state.commit(&*self.server).await.map(|()| outcome),
            Err(e) => {
                self.state.rollback().await;
                Err(e)
            }
        };
        self.state.txn.pessimistic = None;
        self.state.txn.next = NextTransaction::default();
        result
    }

    async fn load_file(&mut self, load: &LoadData, files: &mut dyn LocalFiles) -> Result<Outcome, SqlError> {
        let shape = self.shape(load)?;
        self.check_load(&shape).await?;
        let name = self.state.vars.settings().client.encode(load.file.as_bytes()).into_owned();
        files.open(&name).await?;
        let mut ended = false;
        let loaded = self.load_lines(&shape, files, &mut ended).await;
        // The client listens only once it has sent all of it.
        while !ended && !self.state.interrupt.connection_killed() {
            ended = files.read().await?.is_none();
        }
        loaded
    }

    /// What the statement says of the table and the file.
    fn shape<'a>(&mut self, load: &'a LoadData) -> Result<Shape<'a>, SqlError> {
        let format = &load.format;
        if format.terminated.is_empty() && format.enclosed.is_none() {
            return Err(SqlError::NotSupported("LOAD DATA with fields of a fixed size".into()));
        }
        let charset = match &load.charset {
            Some(name) => Charset::from_name(name).ok_or_else(|| SqlError::UnknownCharacterSet(name.clone()))?,
            None => self.state.variables().database_collation(&*self.server).set(),
        };
        let schema = self.state.schema(&*self.server)?;
        let names = Names { schema: &schema, current: self.state.database.as_deref() };
        let (_, table) = names.table(&load.table)?;
        let targets = match load.targets.is_empty() {
            true => table.public_columns().map(|c| LoadTarget::Column(c.name.original.clone())).collect(),
            false => load.targets.clone(),
        };
        let column = |target: &LoadTarget, has: &dyn Fn(&str) -> bool| match target {
            LoadTarget::Column(name) => has(name),
            LoadTarget::Variable(_) => false,
        };
        let holds_bytes = |name: &str| {
            let ty = table.column(name).map(|c| &c.field_type);
            ty.is_some_and(|ty| ty.tp.is_string() && ty.collation == Collation::BINARY)
        };
        let is_set = |name: &str| load.set.iter().any(|set| set.column.eq_ignore_ascii_case(name));
        let binary = targets.iter().map(|target| column(target, &holds_bytes)).collect();
        let replaced = targets.iter().map(|target| column(target, &is_set)).collect();
        Ok(Shape { load, binary, replaced, targets, charset })
    }

    /// Whether the INSERT can be planned, so that no file is asked for in vain.
    async fn check_load(&mut self, shape: &Shape<'_>) -> Result<(), SqlError> {
        let statement = self.insert_of(shape, 1, shape.width())?;
        let explain = Explain { analyze: false, format: None, statement: Box::new(statement) };
        let mut values = Vec::new();
        shape.values(&vec![None; shape.width()], &mut values)?;
        self.run_insert(&Statement::Explain(explain), &values).await.map(drop)
    }

    fn insert_of(&self, shape: &Shape<'_>, rows: usize, fields: usize) -> Result<Statement, SqlError> {
        let text = shape.text(rows, fields);
        Ok(sql_parser::parse_one(text.as_bytes(), self.state.vars.lex_mode())?.statement)
    }

    async fn load_lines(
        &mut self,
        shape: &Shape<'_>,
        files: &mut dyn LocalFiles,
        ended: &mut bool,
    ) -> Result<Outcome, SqlError> {
        let mut lines = Lines::new(shape.load.format.clone(), shape.charset, shape.load.skip);
        let waiting_max = self.state.vars.settings().max_allowed_packet as usize;
        let interrupt = Arc::clone(&self.state.interrupt);
        let (mut counts, mut batch, mut last) = (Counts::default(), Batch::default(), Vec::new());
        loop {
            match lines.next(shape.width()) {
                Next::Line(line) => {
                    self.take_line(shape, &line, &mut batch, &mut counts).await?;
                    last = line.fields;
                }
                Next::More if lines.waiting() > waiting_max => return Err(SqlError::PacketTooLarge),
                Next::More => {
                    let piece = tokio::select! {
                        biased;
                        () = interrupt.killed() => return Err(interrupt.reason()),
                        piece = files.read() => piece,
                    };
                    match piece {
                        Ok(Some(piece)) => lines.feed(&piece),
                        Ok(None) => {
                            *ended = true;
                            lines.complete();
                        }
                        Err(e) => {
                            *ended = true;
                            return Err(e);
                        }
                    }
                }
                Next::End => break,
            }
        }
        self.insert_batch(shape, &mut batch, &mut counts).await?;
        // Variables keep what the last line said.
        for (n, target) in shape.targets.iter().enumerate().filter(|_| counts.records > 0) {
            if let LoadTarget::Variable(name) = target {
                let value = shape.value(n, &last)?;
                Arc::make_mut(&mut self.state.user_vars).insert(name.clone(), value);
            }
        }
        let Counts { records, affected, generated_id, last_id, .. } = counts;
        let (deleted, skipped) = match shape.load.conflict {
            Some(LoadConflict::Replace) => (affected.saturating_sub(records), 0),
            _ => (0, records.saturating_sub(affected)),
        };
        let warnings = self.state.warning_count;
        let info = format!("Records: {records}  Deleted: {deleted}  Skipped: {skipped}  Warnings: {warnings}");
        let last_insert_id = if generated_id == 0 { last_id } else { generated_id };
        Ok(Outcome::Ok(Done { affected_rows: affected, matched_rows: None, last_insert_id, generated_id, info }))
    }

    /// Takes a line: inserted with others of as many fields.
    async fn take_line(
        &mut self,
        shape: &Shape<'_>,
        line: &Line,
        batch: &mut Batch,
        counts: &mut Counts,
    ) -> Result<(), SqlError> {
        let missing = shape.width() - line.fields.len();
        // What is said of a line comes between what is said of the rows around it, as long as it is kept at all.
        let said = missing > 0 || line.cut;
        let apart = said && self.state.warnings.len() < self.state.vars.settings().max_error_count;
        if apart || batch.fields != line.fields.len() {
            self.insert_batch(shape, batch, counts).await?;
        }
        let before = batch.values.len();
        shape.values(&line.fields, &mut batch.values)?;
        batch.fields = line.fields.len();
        batch.rows += 1;
        batch.bytes += line.fields.iter().flatten().map(Vec::len).sum::<usize>();
        let row = counts.records + batch.rows as u64;
        let per_row = batch.values.len() - before;
        if apart
            || batch.rows >= BATCH_ROWS_MAX
            || batch.values.len() + per_row > BATCH_PARAMS_MAX
            || batch.bytes >= BATCH_BYTES_MAX
        {
            self.insert_batch(shape, batch, counts).await?;
        }
        for _ in 0..missing {
            self.tell(shape, SqlError::TooFewFields(row))?;
        }
        if line.cut {
            self.tell(shape, SqlError::TooManyFields(row))?;
        }
        Ok(())
    }

    /// Tells of a line that does not fit: REPLACE fails by it where the SQL mode is strict.
    fn tell(&mut self, shape: &Shape<'_>, error: SqlError) -> Result<(), SqlError> {
        let replaces = shape.load.conflict == Some(LoadConflict::Replace);
        if replaces && eval_context(&self.state, true).is_strict() {
            return Err(error);
        }
        self.state.push_warning(Level::Warning, &error);
        Ok(())
    }

    /// Inserts the rows that wait.
    async fn insert_batch(
        &mut self,
        shape: &Shape<'_>,
        batch: &mut Batch,
        counts: &mut Counts,
    ) -> Result<(), SqlError> {
        let Batch { fields, rows, values, .. } = std::mem::take(batch);
        if rows == 0 {
            return Ok(());
        }
        let statement = match counts.statement.take() {
            Some((r, f, statement)) if (r, f) == (rows, fields) => statement,
            _ => self.insert_of(shape, rows, fields)?,
        };
        let mut attempt = 0;
        let done = loop {
            let warned = (self.state.warnings.len(), self.state.warning_count);
            let stage = self.state.begin_statement_stage();
            self.state.loaded = Some(Loaded { rows: counts.records, missing: shape.missing(fields) });
            let result = self.run_insert(&statement, &values).await;
            let again = matches!(result, Err(SqlError::WriteConflict(_))) && attempt < RETRIES_MAX;
            match stage {
                // What a failed statement wrote goes with all of LOAD DATA.
                stage if again || result.is_ok() => self.state.end_statement_stage(stage, again).await,
                _ => {}
            }
            match result {
                Err(_) if again => {
                    attempt += 1;
                    self.state.warnings.truncate(warned.0);
                    self.state.warning_count = warned.1;
                }
                Err(e) => return Err(e),
                Ok(Outcome::Ok(done)) => break done,
                Ok(Outcome::Rows(_)) => return Err(SqlError::internal("LOAD DATA", "an INSERT with a result")),
            }
        };
        counts.statement = Some((rows, fields, statement));
        counts.records += rows as u64;
        counts.affected += done.affected_rows;
        counts.last_id = done.last_insert_id;
        if counts.generated_id == 0 {
            counts.generated_id = done.generated_id;
        }
        Ok(())
    }

    async fn run_insert(&mut self, statement: &Statement, values: &[Datum]) -> Result<Outcome, SqlError> {
        let interrupt = Arc::clone(&self.state.interrupt);
        interrupt.limit(None);
        let schema = self.state.schema(&*self.server)?;
        let mut ctx = ExecContext {
            server: &*self.server,
            virtual_rows: &*self.server,
            session: &mut self.state,
            schema,
            params: values,
        };
        tokio::select! {
            biased;
            result = super::execute(&mut ctx, statement, None) => result,
            () = interrupt.killed() => Err(interrupt.reason()),
        }
    }
}
