//! Golden scripts for SQL: statements and what a client sees of their results.
//!
//! ```text
//! # A claim, in a comment.
//! > SELECT 1 + 1 AS two;
//! ----
//! two
//! 2
//! ```
//!
//! A block is comments, statements (`>` begins one, it may go on over several lines and ends with `;`), a line of
//! dashes and the results up to a blank line. `a> SELECT …` runs on the connection called `a`; a bare `>` on the first
//! one. Results of one block follow each other in the order of its statements. Timestamps in TiDB's errors are written as `N`.
//! The files of `LOAD DATA LOCAL` contain their names, so that a script shows both.
//! `UPDATE=1` writes what was seen into the script; the change is then reviewed as a diff.
//!
//! The same scripts run against another MySQL server as a witness. A block whose result differs there by design says
//! so with `# witness: reason`, and is then executed on the witness without a comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use mysql_async::prelude::{GlobalHandler, Queryable};
use mysql_async::{Conn, InfileData, LocalInfileError, Opts, OptsBuilder, Row, Value};

/// Errors from here on are TiDB's own; some name timestamps.
const TIDB_ERRORS: u16 = 8000;

/// One block of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// Comment lines, as written.
    comments: Vec<String>,
    /// Connection name and statement text.
    statements: Vec<(String, String)>,
    /// What is expected.
    expected: String,
}

fn parse(text: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for (index, paragraph) in text.split("\n\n").enumerate() {
        let paragraph = paragraph.trim_matches('\n');
        if paragraph.is_empty() {
            continue;
        }
        let (head, expected) = match paragraph.split_once("\n----") {
            Some((head, expected)) => (head, expected.trim_start_matches('\n').to_owned()),
            None => (paragraph, String::new()),
        };
        let mut block = Block { comments: Vec::new(), statements: Vec::new(), expected };
        for line in head.lines() {
            if line.starts_with('#') {
                block.comments.push(line.to_owned());
            } else if let Some((name, statement)) =
                line.split_once("> ").filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric()))
            {
                block.statements.push((name.to_owned(), statement.to_owned()));
            } else if let Some((_, statement)) = block.statements.last_mut() {
                statement.push('\n');
                statement.push_str(line);
            } else {
                bail!("block {index}: '{line}' is neither a comment nor a statement");
            }
        }
        blocks.push(block);
    }
    Ok(blocks)
}

fn print(blocks: &[Block]) -> String {
    let mut text = String::new();
    for (index, block) in blocks.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for comment in &block.comments {
            let _ = writeln!(text, "{comment}");
        }
        for (name, statement) in &block.statements {
            let _ = writeln!(text, "{name}> {statement}");
        }
        if !block.statements.is_empty() {
            let _ = writeln!(text, "----");
            if !block.expected.is_empty() {
                let _ = writeln!(text, "{}", block.expected);
            }
        }
    }
    text
}

/// Files that contain their names.
struct Named;

impl GlobalHandler for Named {
    fn handle(&self, name: &[u8]) -> BoxFuture<'static, Result<InfileData, LocalInfileError>> {
        let content = Bytes::copy_from_slice(name);
        Box::pin(async move { Ok(futures::stream::iter([Ok(content)]).boxed()) })
    }
}

/// Runs a script against a server. `witness` is set when that server is not ours.
pub async fn run(script: &Path, server: &Opts, witness: bool) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(script).with_context(|| format!("read {}", script.display()))?;
    let blocks = parse(&text).with_context(|| format!("parse {}", script.display()))?;
    let server: Opts = OptsBuilder::from_opts(server.clone()).local_infile_handler(Some(Named)).into();
    let mut connections: BTreeMap<String, Conn> = BTreeMap::new();
    let mut seen = Vec::new();
    for block in &blocks {
        let mut results = Vec::new();
        for (name, statement) in &block.statements {
            if !connections.contains_key(name) {
                connections.insert(name.clone(), Conn::new(server.clone()).await.context("connect")?);
            }
            let connection = connections.get_mut(name).context("connection")?;
            results.push(execute(connection, statement).await?);
        }
        results.retain(|r| !r.is_empty());
        seen.push(Block { expected: results.join("\n"), ..block.clone() });
    }
    for (_, connection) in connections {
        connection.disconnect().await?;
    }
    if std::env::var_os("UPDATE").is_some() && !witness {
        std::fs::write(script, print(&seen))?;
        return Ok(());
    }
    let mut differences = String::new();
    for (block, seen) in blocks.iter().zip(&seen) {
        if witness && block.comments.iter().any(|c| c.starts_with("# witness:")) {
            continue;
        }
        if block.expected.trim_end() != seen.expected.trim_end() {
            let statements: Vec<&str> = block.statements.iter().map(|(_, s)| s.as_str()).collect();
            let _ = writeln!(
                differences,
                "{}\n--- expected\n{}\n--- seen\n{}\n",
                statements.join("\n"),
                block.expected,
                seen.expected
            );
        }
    }
    if !differences.is_empty() {
        bail!("{}:\n{differences}", script.display());
    }
    Ok(())
}

/// Runs one statement over the text protocol and writes down what a client sees.
async fn execute(connection: &mut Conn, statement: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut result = match connection.query_iter(statement.trim_end_matches(';')).await {
        Ok(result) => result,
        Err(error) => return error_line(error),
    };
    let columns: Vec<String> = result.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
    if columns.is_empty() {
        if result.affected_rows() > 0 {
            let _ = write!(text, "{} rows affected", result.affected_rows());
        }
        if result.warnings() > 0 {
            let _ = write!(text, "{}{} warnings", if text.is_empty() { "" } else { ", " }, result.warnings());
        }
        if statement.starts_with("LOAD DATA") {
            let _ = write!(text, "{}{}", if text.is_empty() { "" } else { ": " }, result.info());
        }
    } else {
        let rows: Vec<Row> = match result.collect().await {
            Ok(rows) => rows,
            Err(error) => return error_line(error),
        };
        text.push_str(&columns.join("\t"));
        for row in rows {
            let cells: Vec<String> = row.unwrap().into_iter().map(cell).collect();
            text.push('\n');
            text.push_str(&cells.join("\t"));
        }
        return Ok(text);
    }
    result.drop_result().await?;
    Ok(text)
}

fn error_line(error: mysql_async::Error) -> anyhow::Result<String> {
    match error {
        mysql_async::Error::Server(e) => {
            let message = if e.code < TIDB_ERRORS { e.message } else { without_timestamps(&e.message) };
            Ok(format!("ERROR {} ({}): {message}", e.code, e.state))
        }
        other => Err(other.into()),
    }
}

/// The text with `N` for numbers as long as timestamps, which differ from run to run.
fn without_timestamps(text: &str) -> String {
    let is_timestamp = |word: &str| word.len() >= 15 && word.bytes().all(|b| b.is_ascii_digit());
    let masked = |piece: &str| {
        let (word, end) = piece.split_at(piece.trim_end_matches(|c: char| !c.is_alphanumeric()).len());
        format!("{}{end}", if is_timestamp(word) { "N" } else { word })
    };
    text.split_inclusive(|c: char| !c.is_alphanumeric()).map(masked).collect()
}

fn cell(value: Value) -> String {
    match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8(bytes)
            .map(|s| s.replace('\n', "\\n").replace('\t', "\\t"))
            .unwrap_or_else(|e| format!("0x{}", e.as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>())),
        other => other.as_sql(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_in_errors_do_not_count() {
        let text = "txn 462345678901234567, key 748000000000000001e2 (12345), 462345678901234568";
        assert_eq!(without_timestamps(text), "txn N, key 748000000000000001e2 (12345), N");
    }

    #[test]
    fn a_script_survives_parsing_and_printing() {
        let script = "# Claim.\n> SELECT 1;\na> SELECT\n  2;\n----\n1\n1\n\n> SET x = 1;\n----\n";
        let blocks = parse(script).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].statements[1], ("a".to_owned(), "SELECT\n  2;".to_owned()));
        assert_eq!(print(&blocks), script);
    }
}
