//! What a client's character sets make of text that comes and goes. Inside, text is UTF-8.

use std::borrow::Cow;

use codec::charset::Charset;
use codec::datum::Datum;
use codec::types::{Collation, FieldType, TypeCode};
use sql_base::SqlError;
use sql_base::outcome::ColumnMeta;
use sql_context::vars::Settings;

/// Bytes of invalid text that an error shows.
const SHOWN_BYTES_MAX: usize = 64;

/// Text as the client sent it, in UTF-8.
pub fn received(client: Charset, bytes: &[u8]) -> Result<Cow<'_, [u8]>, SqlError> {
    if client.is_utf8() {
        // What is no UTF-8 is told of where it is read: in a binary literal it may be.
        return Ok(Cow::Borrowed(bytes));
    }
    client.decode(bytes).map_err(|invalid| {
        let rest = &bytes[invalid.0.min(bytes.len())..];
        let shown: String = rest.iter().take(SHOWN_BYTES_MAX).map(|byte| format!("\\x{byte:02X}")).collect();
        SqlError::InvalidCharacterString { charset: client.name(), text: shown }
    })
}

/// What results are sent in.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// `character_set_results`; `None` is each column's own.
    set: Option<Charset>,
    /// What text columns are told in, where they are not told in their own.
    collation: Collation,
}

impl Sent {
    /// As the session says.
    pub fn of(settings: &Settings) -> Sent {
        let connection = settings.collation;
        let collation = match settings.results {
            Some(set) if set != connection.set() => Collation::default_of_charset(set.name()).unwrap_or(connection),
            _ => connection,
        };
        Sent { set: settings.results, collation }
    }

    fn of_column(&self, ty: &FieldType) -> Charset {
        match self.set {
            Some(Charset::Binary) | None => ty.collation.set(),
            Some(set) => set,
        }
    }

    /// The id of the collation that a column is told in, and the most bytes of its characters.
    pub fn collation(&self, ty: &FieldType) -> (u16, u32) {
        match self.set {
            _ if !ty.is_text() => (Collation::BINARY.id(), 1),
            None => (ty.collation.id(), ty.collation.set().bytes_max()),
            Some(set) => (self.collation.id(), set.bytes_max()),
        }
    }

    /// A name or a message.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, [u8]> {
        match self.set {
            Some(set) => set.encode(text.as_bytes()),
            None => Cow::Borrowed(text.as_bytes()),
        }
    }

    fn is_foreign(&self, column: &ColumnMeta) -> bool {
        let ty = &column.ty;
        (ty.is_text() || ty.tp == TypeCode::Json) && self.of_value(ty) != Charset::Utf8mb4
    }

    /// Whether some of these columns are not sent as they are.
    pub fn translates(&self, columns: &[ColumnMeta]) -> bool {
        columns.iter().any(|column| self.is_foreign(column))
    }

    /// A row's values as they are sent. `translates` is what [`Sent::translates`] says of the columns.
    pub fn row<'r>(&self, row: &'r [Datum], columns: &[ColumnMeta], translates: bool) -> Cow<'r, [Datum]> {
        if !translates {
            return Cow::Borrowed(row);
        }
        let values = row.iter().zip(columns).map(|(value, column)| match value {
            Datum::Null | Datum::Max => value.clone(),
            _ if self.is_foreign(column) => {
                let text = query::value::to_text(value, &column.ty).unwrap_or_default();
                Datum::Bytes(self.of_value(&column.ty).encode(&text).into_owned())
            }
            _ => value.clone(),
        });
        Cow::Owned(values.collect())
    }

    fn of_value(&self, ty: &FieldType) -> Charset {
        match ty.tp {
            // JSON is text to a client, in UTF-8 if it does not say otherwise.
            TypeCode::Json => self.set.filter(|set| *set != Charset::Binary).unwrap_or(Charset::Utf8mb4),
            _ => self.of_column(ty),
        }
    }
}

/// The character set of a collation that a client names at login, also of those that are not here.
pub fn of_collation_id(id: u16) -> Option<Charset> {
    if let Some(collation) = Collation::from_id(i32::from(id)) {
        return Some(collation.set());
    }
    Some(match id {
        28 => Charset::Gbk,
        5 | 15 | 31 | 48 | 49 | 94 => Charset::Latin1,
        76 | 192..=215 | 223 => Charset::Utf8mb3,
        224..=247 | 255..=323 => Charset::Utf8mb4,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(client: Charset, results: Option<Charset>, collation: &str) -> Settings {
        let collation = Collation::from_name(collation).unwrap();
        Settings { client, results, collation, ..Settings::default() }
    }

    #[test]
    fn text_comes_in_the_clients_set_and_goes_in_that_of_results() {
        assert_eq!(&*received(Charset::Latin1, b"caf\xe9").unwrap(), "café".as_bytes());
        let invalid = received(Charset::Gbk, b"a\x80").unwrap_err();
        assert_eq!((invalid.code().0, invalid.to_string().as_str()), (1300, "Invalid gbk character string: '\\x80'"));
        let columns =
            [ColumnMeta::computed("a", FieldType::varchar(5)), ColumnMeta::computed("b", FieldType::bigint())];
        let row = [Datum::string("é中"), Datum::Int(1)];
        let sent = Sent::of(&settings(Charset::Latin1, Some(Charset::Latin1), "latin1_bin"));
        assert_eq!(*sent.row(&row, &columns, true), [Datum::Bytes(b"\xe9?".to_vec()), Datum::Int(1)]);
        assert!(sent.translates(&columns));
        assert_eq!(sent.collation(&columns[0].ty), (47, 1));
        assert_eq!(sent.collation(&columns[1].ty), (63, 1));
        let sent = Sent::of(&settings(Charset::Utf8mb4, Some(Charset::Gbk), "utf8mb4_bin"));
        assert_eq!(*sent.row(&row, &columns, true), [Datum::Bytes(b"\xa8\xa6\xd6\xd0".to_vec()), Datum::Int(1)]);
        assert_eq!(sent.collation(&columns[0].ty), (87, 2));
    }

    #[test]
    fn without_a_set_of_results_each_column_is_sent_in_its_own() {
        let latin = FieldType::varchar(5).with_collation(Collation::from_name("latin1_bin").unwrap());
        let columns = [ColumnMeta::computed("a", latin), ColumnMeta::computed("b", FieldType::varchar(5))];
        let sent = Sent::of(&settings(Charset::Utf8mb4, None, "utf8mb4_bin"));
        let row = [Datum::string("é"), Datum::string("é")];
        assert_eq!(*sent.row(&row, &columns, true), [Datum::Bytes(b"\xe9".to_vec()), Datum::string("é")]);
        assert_eq!(sent.collation(&columns[0].ty), (47, 1));
        assert_eq!(sent.collation(&columns[1].ty), (46, 4));
    }
}
