//! The lines of a file as LOAD DATA reads them: fields, with their ends, quotes and escapes.
//!
//! The file comes in pieces; a line whose end is not there yet is read again once more has come. What MySQL does with bytes
//! that fit no format is done here, too (manual, LOAD DATA, "Field and Line Handling"): quotes end a field only where an
//! end of a field or line follows, `\N` and, where fields may be in quotes, a bare `NULL` are NULL, and where a field and a
//! line end alike, a line ends when all fields are read.
//!
//! Bytes stay as they are in the file. Not here: what fields mean to columns.

use codec::charset::Charset;
use sql_parser::FileFormat;

/// A field: none for NULL.
pub(super) type Field = Option<Vec<u8>>;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its fields, at most as many as were asked for.
    pub(super) fields: Vec<Field>,
    /// There were more.
    pub(super) cut: bool,
}

/// What there is to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line.
    Line(Line),
    /// More of the file is needed.
    More,
    /// Nothing.
    End,
}

/// The file does not go on yet.
struct NotYet;

type Read<T> = Result<T, NotYet>;

#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    /// A field ended with its line.
    line_ended: bool,
    /// The end of the file was met.
    eof: bool,
    /// What lines begin with is still to be found.
    line_begins: bool,
}

/// Reads lines.
pub(super) struct Lines {
    format: FileFormat,
    gbk: bool,
    buffer: Vec<u8>,
    place: Place,
    /// No more will come.
    complete: bool,
    /// Bytes that there must be before it is tried again, so that a long line is not read over and over.
    wanted: usize,
    skip: u64,
}

impl Lines {
    /// Of a file in this format and character set, without its first lines.
    pub(super) fn new(mut format: FileFormat, charset: Charset, skip: u64) -> Lines {
        if format.line_terminated.is_empty() {
            format.line_terminated.clone_from(&format.terminated);
        }
        let skip = if format.line_terminated.is_empty() { 0 } else { skip };
        let line_begins = !format.starting.is_empty();
        Lines {
            format,
            gbk: charset == Charset::Gbk,
            buffer: Vec::new(),
            place: Place { at: 0, line_ended: false, eof: false, line_begins },
            complete: false,
            wanted: 0,
            skip,
        }
    }

    /// Adds what came of the file.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // What was read goes first.
        self.buffer.drain(..self.place.at);
        self.place.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Nothing more will come.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Bytes that wait for more.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len() - self.place.at
    }

    /// The next line, of so many fields.
    pub(super) fn next(&mut self, width: usize) -> Next {
        if self.waiting() < self.wanted && !self.complete {
            return Next::More;
        }
        loop {
            let before = self.place;
            let skips = self.skip > 0;
            let read = if skips { self.next_line().map(|_| None) } else { self.line(width) };
            match read {
                Ok(line) => {
                    self.wanted = 0;
                    match (skips, line) {
                        (true, _) if self.place.eof => return Next::End,
                        (true, _) => self.skip -= 1,
                        (false, Some(line)) => return Next::Line(line),
                        (false, None) => return Next::End,
                    }
                }
                Err(NotYet) => {
                    self.place = before;
                    self.wanted = self.waiting().saturating_mul(2).max(1);
                    return Next::More;
                }
            }
        }
    }

    fn line(&mut self, width: usize) -> Read<Option<Line>> {
        let mut fields = Vec::with_capacity(width);
        while fields.len() < width {
            match self.field()? {
                Some(field) => fields.push(field),
                None => break,
            }
        }
        if fields.is_empty() {
            return Ok(None);
        }
        let cut = self.next_line()?;
        Ok(Some(Line { fields, cut }))
    }

    /// The next byte; none at the end of the file.
    fn get(&mut self) -> Read<Option<u8>> {
        match self.buffer.get(self.place.at) {
            Some(byte) => {
                self.place.at += 1;
                Ok(Some(*byte))
            }
            None if self.complete => Ok(None),
            None => Err(NotYet),
        }
    }

    fn push_back(&mut self) {
        self.place.at -= 1;
    }

    /// Whether a separator whose first byte was read goes on; if so, the rest of it is read.
    fn goes_on(&mut self, line: bool) -> Read<bool> {
        let separator = if line { &self.format.line_terminated } else { &self.format.terminated };
        let rest = separator.get(1..).unwrap_or_default();
        let there = &self.buffer[self.place.at..];
        let known = there.len().min(rest.len());
        if there[..known] != rest[..known] {
            return Ok(false);
        }
        if known < rest.len() {
            return if self.complete { Ok(false) } else { Err(NotYet) };
        }
        self.place.at += known;
        Ok(true)
    }

    /// Whether lines have an end of their own.
    fn line_end(&self) -> Option<u8> {
        let apart = self.format.line_terminated != self.format.terminated;
        self.format.line_terminated.first().copied().filter(|_| apart)
    }

    /// Reads up to what lines begin with; false at the end of the file.
    fn find_begin(&mut self) -> Read<bool> {
        loop {
            let begin = &self.format.starting;
            let there = &self.buffer[self.place.at..];
            if there.starts_with(begin) {
                self.place.at += begin.len();
                return Ok(true);
            }
            if there.len() < begin.len() && !self.complete {
                return Err(NotYet);
            }
            if self.get()?.is_none() {
                return Ok(false);
            }
        }
    }

    /// The next field of the line; none if there is none.
    fn field(&mut self) -> Read<Option<Field>> {
        if self.place.line_ended {
            return Ok(None);
        }
        if std::mem::take(&mut self.place.line_begins) && !self.find_begin()? {
            (self.place.line_ended, self.place.eof) = (true, true);
            return Ok(None);
        }
        let Some(first) = self.get()? else {
            (self.place.line_ended, self.place.eof) = (true, true);
            return Ok(None);
        };
        let (enclosed, escaped) = (self.format.enclosed, self.format.escaped);
        let mut quote = enclosed.filter(|quote| *quote == first);
        if quote.is_none() {
            self.push_back();
        }
        let (mut text, mut null) = (Vec::new(), false);
        loop {
            let Some(mut byte) = self.get()? else {
                // Quotes without an end are text.
                if let Some(quote) = quote.take() {
                    text.insert(0, quote);
                }
                (self.place.line_ended, self.place.eof) = (true, true);
                break;
            };
            if escaped == Some(byte) {
                match self.get()? {
                    None => {
                        text.push(byte);
                        continue;
                    }
                    // Doubled quotes where they are the escape, too; all else is no escape then.
                    Some(next) if escaped != enclosed || next == byte => {
                        if self.gbk && is_gbk_lead(next) {
                            self.push_back();
                            byte = next;
                            self.get()?;
                            self.push_character(byte, &mut text)?;
                            continue;
                        }
                        null |= next == b'N';
                        text.push(unescape(next));
                        continue;
                    }
                    Some(_) => self.push_back(),
                }
            }
            if quote.is_none() && self.line_end() == Some(byte) && self.goes_on(true)? {
                self.place.line_ended = true;
                break;
            }
            if quote == Some(byte) {
                match self.get()? {
                    Some(next) if next == byte => {
                        text.push(byte);
                        continue;
                    }
                    None => {
                        (self.place.line_ended, self.place.eof) = (true, true);
                        break;
                    }
                    Some(next) if self.line_end() == Some(next) && self.goes_on(true)? => {
                        self.place.line_ended = true;
                        break;
                    }
                    Some(next) if self.format.terminated.first() == Some(&next) && self.goes_on(false)? => break,
                    // A quote within the field.
                    Some(_) => self.push_back(),
                }
            } else if quote.is_none() && self.format.terminated.first() == Some(&byte) && self.goes_on(false)? {
                break;
            }
            self.push_character(byte, &mut text)?;
        }
        let word = quote.is_none() && enclosed.is_some() && text == b"NULL";
        let is_null = word || (null && text.len() == 1);
        Ok(Some((!is_null).then_some(text)))
    }

    /// A character that begins with this byte: its other bytes are no separators.
    fn push_character(&mut self, byte: u8, text: &mut Vec<u8>) -> Read<()> {
        text.push(byte);
        if self.gbk && is_gbk_lead(byte) {
            text.extend(self.get()?);
        }
        Ok(())
    }

    /// Goes to the next line, and says whether something was left out.
    fn next_line(&mut self) -> Read<bool> {
        self.place.line_begins = !self.format.starting.is_empty();
        if self.place.line_ended || self.place.eof {
            self.place.line_ended = self.place.eof;
            return Ok(false);
        }
        let Some(end) = self.line_end() else { return Ok(false) };
        let mut cut = false;
        loop {
            let Some(byte) = self.get()? else {
                (self.place.line_ended, self.place.eof) = (true, true);
                return Ok(cut);
            };
            if self.format.escaped == Some(byte) {
                self.get()?;
            } else if byte == end && self.goes_on(true)? {
                return Ok(cut);
            } else if self.gbk && is_gbk_lead(byte) {
                self.get()?;
            }
            cut = true;
        }
    }
}

fn is_gbk_lead(byte: u8) -> bool {
    (0x81..=0xFE).contains(&byte)
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a text that comes in pieces of so many bytes: fields by `|`, NULL as `~`, lines with more fields end
    /// with `…`.
    fn read(format: &FileFormat, width: usize, skip: u64, text: &[u8], piece: usize) -> Vec<String> {
        let mut lines = Lines::new(format.clone(), Charset::Utf8mb4, skip);
        let mut pieces = text.chunks(piece.max(1));
        let mut out = Vec::new();
        loop {
            match lines.next(width) {
                Next::Line(line) => {
                    let fields = line.fields.iter().map(|field| match field {
                        None => "~".to_owned(),
                        Some(text) => String::from_utf8_lossy(text).into_owned(),
                    });
                    let rest = if line.cut { "…" } else { "" };
                    out.push(fields.collect::<Vec<_>>().join("|") + rest);
                }
                Next::More => match pieces.next() {
                    Some(piece) => lines.feed(piece),
                    None => lines.complete(),
                },
                Next::End => return out,
            }
        }
    }

    fn check(format: &FileFormat, width: usize, text: &str, expected: &[&str]) {
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(read(format, width, 0, text.as_bytes(), piece), expected, "{text:?} in pieces of {piece}");
        }
    }

    fn comma() -> FileFormat {
        FileFormat { terminated: b",".to_vec(), enclosed: Some(b'"'), ..FileFormat::default() }
    }

    #[test]
    fn fields_end_with_tabs_and_lines_with_newlines() {
        let format = FileFormat::default();
        check(&format, 2, "1\ta\n2\tb\n", &["1|a", "2|b"]);
        check(&format, 2, "1\ta\n2\tb", &["1|a", "2|b"]);
        check(&format, 2, "1\n\n3\tc\td\n", &["1", "", "3|c…"]);
        check(&format, 2, "\\N\ta\\tb\n\\\\\tN\n\\NN\t\\0", &["~|a\tb", "\\|N", "NN|\0"]);
        check(&format, 1, "a\\\nb\nc\\", &["a\nb", "c\\"]);
        check(&format, 2, "", &[]);
    }

    #[test]
    fn a_line_may_end_with_the_end_of_a_field() {
        let format =
            FileFormat { terminated: b"|".to_vec(), line_terminated: b"|\n".to_vec(), ..FileFormat::default() };
        check(&format, 1, "1|\n2|\n", &["1", "2"]);
        check(&format, 2, "1|x|\n2|\n", &["1|x", "2"]);
        // Alike, or none at all: as many fields as there are make a line.
        let format = FileFormat { terminated: b",".to_vec(), line_terminated: Vec::new(), ..FileFormat::default() };
        check(&format, 2, "1,2,3,4,5", &["1|2", "3|4", "5"]);
    }

    #[test]
    fn quotes_end_where_a_field_ends() {
        check(&comma(), 2, "\"x,y\",\"say \"\"hi\"\"\"\n", &["x,y|say \"hi\""]);
        check(&comma(), 2, "\"a\"b\",c\n", &["a\"b|c"]);
        check(&comma(), 2, "a\"b\",\"c\nd\"\n", &["a\"b\"|c\nd"]);
        check(&comma(), 2, "NULL,\"NULL\"\n\\N,\"\\N\"\n", &["~|NULL", "~|~"]);
        check(&comma(), 1, "\"never\n", &["\"never\n"]);
        let doubled = FileFormat { escaped: Some(b'"'), ..comma() };
        check(&doubled, 2, "\"p\"\"q\",\"\\n\"\n", &["p\"q|\\n"]);
        let plain = FileFormat { escaped: None, ..comma() };
        check(&plain, 2, "\\N,\"a\\\"\n", &["\\N|a\\"]);
    }

    #[test]
    fn lines_have_beginnings_and_some_are_left_out() {
        let format = FileFormat { starting: b"xxx".to_vec(), ..comma() };
        check(&format, 2, "xxx\"abc\",1\nsomething xxx\"def\",2\n\"ghi\",3\n", &["abc|1", "def|2"]);
        check(&format, 1, "xxxxa\n", &["xa"]);
        for piece in [1, 5, 100] {
            assert_eq!(read(&comma(), 2, 1, b"a,b\n1,2\n3,4\n", piece), ["1|2", "3|4"]);
            assert_eq!(read(&comma(), 2, 3, b"a,b\n1,2\n", piece), [""; 0]);
        }
    }

    #[test]
    fn a_byte_of_a_character_is_no_separator() {
        let format = FileFormat { terminated: b"|".to_vec(), ..FileFormat::default() };
        let mut lines = Lines::new(format, Charset::Gbk, 0);
        lines.feed(b"\xd5\x5c|\x81\x7c\n");
        lines.complete();
        let fields = vec![Some(b"\xd5\x5c".to_vec()), Some(b"\x81\x7c".to_vec())];
        assert_eq!(lines.next(2), Next::Line(Line { fields, cut: false }));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            text in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\\'), Just(b'N'), Just(b'x')], 0..40),
            width in 1usize..4, piece in 1usize..6, skip in 0u64..3, escape in any::<bool>(), begins in any::<bool>(),
        ) {
            let format = FileFormat {
                escaped: escape.then_some(b'\\'),
                starting: if begins { b"x".to_vec() } else { Vec::new() },
                ..comma()
            };
            prop_assert_eq!(read(&format, width, skip, &text, piece), read(&format, width, skip, &text, 1000));
        }
    }
}
