//! Responses: OK, error, end of rows, result sets.

use codec::datum::Datum;
use codec::types::FieldType;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, Done};

use super::charset::Sent;
use super::handshake::capability;
use super::packet::{PacketWriter, put_bytes, put_lenenc};
use super::value::{put_binary_row, put_column, put_text};

/// Status flags.
pub mod status {
    /// A transaction is open.
    pub const IN_TRANSACTION: u16 = 1;
    /// Statements commit themselves.
    pub const AUTOCOMMIT: u16 = 1 << 1;
    /// Another result follows.
    pub const MORE_RESULTS: u16 = 1 << 3;
    /// The statement changed the current database.
    pub const DATABASE_CHANGED: u16 = 1 << 8;
    /// `\` is an ordinary character in strings.
    pub const NO_BACKSLASH_ESCAPES: u16 = 1 << 9;
    /// The transaction is read-only.
    pub const IN_READ_ONLY_TRANSACTION: u16 = 1 << 13;
}

/// What every final packet of a response carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// See [`status`].
    pub status: u16,
    /// Number of warnings.
    pub warnings: u16,
}

/// Writes an OK packet.
pub fn put_ok(writer: &mut PacketWriter, done: &Done, tail: Tail, capabilities: u32) {
    let affected = match done.matched_rows {
        Some(matched) if capabilities & capability::FOUND_ROWS != 0 => matched,
        _ => done.affected_rows,
    };
    let out = writer.begin();
    out.push(0);
    put_lenenc(out, affected);
    put_lenenc(out, done.last_insert_id);
    out.extend_from_slice(&tail.status.to_le_bytes());
    out.extend_from_slice(&tail.warnings.to_le_bytes());
    // The manual says "to the end of the packet" here; servers send the length all the same, and clients rely on it.
    if !done.info.is_empty() {
        put_bytes(out, done.info.as_bytes());
    }
    writer.end();
}

/// Writes an error packet. Before the client's character set is known, its text is in UTF-8.
pub fn put_error(writer: &mut PacketWriter, error: &SqlError, sent: Option<&Sent>) {
    let (errno, state) = error.code();
    writer.abandon();
    let out = writer.begin();
    out.push(0xFF);
    out.extend_from_slice(&errno.to_le_bytes());
    out.push(b'#');
    out.extend_from_slice(state.as_bytes());
    let text = error.to_string();
    match sent {
        Some(sent) => out.extend_from_slice(&sent.text(&text)),
        None => out.extend_from_slice(text.as_bytes()),
    }
    writer.end();
}

/// Writes what ends rows (or columns, for old clients): an EOF packet, or an OK packet that looks like one.
pub fn put_end(writer: &mut PacketWriter, tail: Tail, capabilities: u32) {
    let out = writer.begin();
    out.push(0xFE);
    if capabilities & capability::DEPRECATE_EOF != 0 {
        put_lenenc(out, 0);
        put_lenenc(out, 0);
        out.extend_from_slice(&tail.status.to_le_bytes());
        out.extend_from_slice(&tail.warnings.to_le_bytes());
    } else {
        out.extend_from_slice(&tail.warnings.to_le_bytes());
        out.extend_from_slice(&tail.status.to_le_bytes());
    }
    writer.end();
}

/// Writes the head of a result set: number of columns, columns, and for old clients what ends them.
pub fn put_columns(writer: &mut PacketWriter, columns: &[ColumnMeta], sent: &Sent, tail: Tail, capabilities: u32) {
    put_lenenc(writer.begin(), columns.len() as u64);
    writer.end();
    put_definitions(writer, columns, sent, tail, capabilities);
}

/// Writes column definitions without their number, as after `COM_STMT_PREPARE` and `COM_FIELD_LIST`.
pub fn put_definitions(writer: &mut PacketWriter, columns: &[ColumnMeta], sent: &Sent, tail: Tail, capabilities: u32) {
    for column in columns {
        put_column(writer.begin(), column, sent);
        writer.end();
    }
    if capabilities & capability::DEPRECATE_EOF == 0 {
        put_end(writer, tail, capabilities);
    }
}

/// Writes a row in the text protocol.
pub fn put_text_row(writer: &mut PacketWriter, row: &[Datum], columns: &[ColumnMeta]) {
    let out = writer.begin();
    for (value, column) in row.iter().zip(columns) {
        put_text(out, value, &column.ty);
    }
    writer.end();
}

/// Writes a row in the binary protocol.
pub fn put_row_binary(writer: &mut PacketWriter, row: &[Datum], columns: &[ColumnMeta]) -> Result<(), SqlError> {
    let out = writer.begin();
    let result = put_binary_row(out, row, columns);
    match result {
        Ok(()) => writer.end(),
        Err(_) => writer.abandon(),
    }
    result
}

/// Writes the answer to `COM_STMT_PREPARE`.
pub fn put_prepared(
    writer: &mut PacketWriter,
    id: u32,
    params: usize,
    columns: &[ColumnMeta],
    sent: &Sent,
    tail: Tail,
    capabilities: u32,
) {
    let out = writer.begin();
    out.push(0);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    out.extend_from_slice(&(params as u16).to_le_bytes());
    out.push(0);
    out.extend_from_slice(&tail.warnings.to_le_bytes());
    writer.end();
    if params > 0 {
        let param = ColumnMeta::computed("?", FieldType::varchar(0));
        let all = vec![param; params];
        put_definitions(writer, &all, sent, tail, capabilities);
    }
    if !columns.is_empty() {
        put_definitions(writer, columns, sent, tail, capabilities);
    }
}

/// Writes a plain string, as `COM_STATISTICS` answers.
pub fn put_string(writer: &mut PacketWriter, text: &str) {
    writer.begin().extend_from_slice(text.as_bytes());
    writer.end();
}

/// Writes an auth-more-data packet.
pub fn put_auth_more(writer: &mut PacketWriter, data: &[u8]) {
    let out = writer.begin();
    out.push(1);
    out.extend_from_slice(data);
    writer.end();
}

/// Length-encoded text, for tests of the row format.
#[cfg(test)]
pub(crate) fn lenenc_text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_rows_are_told_to_those_who_asked() {
        let done =
            Done { affected_rows: 1, matched_rows: Some(3), last_insert_id: 7, generated_id: 0, info: "x".into() };
        let mut writer = PacketWriter::default();
        put_ok(&mut writer, &done, Tail { status: 2, warnings: 1 }, 0);
        assert_eq!(writer.bytes(), [9, 0, 0, 0, 0, 1, 7, 2, 0, 1, 0, 1, b'x']);
        writer.clear();
        put_ok(&mut writer, &done, Tail::default(), capability::FOUND_ROWS);
        assert_eq!(writer.bytes()[5], 3);
    }

    #[test]
    fn an_error_replaces_the_row_that_was_begun() {
        let mut writer = PacketWriter::default();
        writer.begin().extend_from_slice(b"half a row");
        put_error(&mut writer, &SqlError::NoDatabaseSelected, None);
        assert_eq!(&writer.bytes()[4..], b"\xFF\x16\x04#3D000No database selected");
    }

    #[test]
    fn a_text_row() {
        let columns =
            [ColumnMeta::computed("a", FieldType::bigint()), ColumnMeta::computed("b", FieldType::varchar(5))];
        let mut writer = PacketWriter::default();
        put_text_row(&mut writer, &[Datum::Int(-5), Datum::string("xy")], &columns);
        let expected = [lenenc_text("-5"), lenenc_text("xy")].concat();
        assert_eq!(&writer.bytes()[4..], expected);
    }
}
