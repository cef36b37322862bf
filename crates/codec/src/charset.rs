//! Character sets. Text is UTF-8 in memory and in storage, whatever set its column or a client's connection names: a set says
//! which characters there may be, and what their bytes are where bytes are seen (the wire, HEX, LENGTH, casts to binary).
//!
//! latin1 is what MySQL takes for it: Windows-1252, with the five bytes that this leaves free as control characters.

use std::borrow::Cow;

use encoding_rs::{EncoderResult, Encoding, GBK, WINDOWS_1252};

/// A character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Charset {
    /// All of Unicode, in up to four bytes.
    Utf8mb4,
    /// The basic plane of Unicode, in up to three bytes.
    Utf8mb3,
    /// Seven bits.
    Ascii,
    /// Western European, one byte.
    Latin1,
    /// Chinese, one or two bytes.
    Gbk,
    /// No characters: bytes.
    Binary,
}

/// Bytes that are no characters of a set, from this one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid(pub usize);

impl Charset {
    /// All of them, by name.
    pub const ALL: [Charset; 6] =
        [Charset::Ascii, Charset::Binary, Charset::Gbk, Charset::Latin1, Charset::Utf8mb3, Charset::Utf8mb4];

    /// By name, in any case.
    pub fn from_name(name: &str) -> Option<Charset> {
        let name = name.to_ascii_lowercase();
        let name = if name == "utf8mb3" { "utf8" } else { name.as_str() };
        Charset::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Charset::Utf8mb4 => "utf8mb4",
            Charset::Utf8mb3 => "utf8",
            Charset::Ascii => "ascii",
            Charset::Latin1 => "latin1",
            Charset::Gbk => "gbk",
            Charset::Binary => "binary",
        }
    }

    /// What SHOW CHARACTER SET says of it.
    pub fn description(self) -> &'static str {
        match self {
            Charset::Utf8mb4 | Charset::Utf8mb3 => "UTF-8 Unicode",
            Charset::Ascii => "US ASCII",
            Charset::Latin1 => "Latin1",
            Charset::Gbk => "Chinese Internal Code Specification",
            Charset::Binary => "binary",
        }
    }

    /// Most bytes of a character.
    pub fn bytes_max(self) -> u32 {
        match self {
            Charset::Utf8mb4 => 4,
            Charset::Utf8mb3 => 3,
            Charset::Gbk => 2,
            Charset::Ascii | Charset::Latin1 | Charset::Binary => 1,
        }
    }

    /// Whether the bytes of its text are those of UTF-8, or no text at all.
    pub fn is_utf8(self) -> bool {
        !matches!(self, Charset::Latin1 | Charset::Gbk)
    }

    fn encoding(self) -> Option<&'static Encoding> {
        match self {
            Charset::Latin1 => Some(WINDOWS_1252),
            Charset::Gbk => Some(GBK),
            _ => None,
        }
    }

    /// Whether it has a character.
    pub fn has(self, c: char) -> bool {
        match self {
            Charset::Utf8mb4 | Charset::Binary => true,
            Charset::Utf8mb3 => c <= '\u{ffff}',
            Charset::Ascii => c.is_ascii(),
            Charset::Latin1 | Charset::Gbk => c.is_ascii() || self.bytes_of(c).is_some(),
        }
    }

    /// Where text has the first character that the set has not.
    pub fn unfit(self, text: &str) -> Option<usize> {
        match self {
            Charset::Utf8mb4 | Charset::Binary => None,
            _ if text.is_ascii() => None,
            _ => text.char_indices().find(|(_, c)| !self.has(*c)).map(|(at, _)| at),
        }
    }

    fn bytes_of(self, c: char) -> Option<Vec<u8>> {
        // The euro sign is no character of MySQL's GBK; the web's has a byte for it.
        if self == Charset::Gbk && c == '\u{20ac}' {
            return None;
        }
        let mut text = [0; 4];
        let text: &str = c.encode_utf8(&mut text);
        let mut bytes = [0; 4];
        let mut encoder = self.encoding()?.new_encoder();
        match encoder.encode_from_utf8_without_replacement(text, &mut bytes, true) {
            (EncoderResult::InputEmpty, _, written) => Some(bytes[..written].to_vec()),
            _ => None,
        }
    }

    /// The bytes of UTF-8 text in this set; a character that it has not is a question mark. Bytes that are no UTF-8 stay.
    pub fn encode(self, text: &[u8]) -> Cow<'_, [u8]> {
        let Ok(valid) = std::str::from_utf8(text) else { return Cow::Borrowed(text) };
        if valid.is_ascii() || (self.is_utf8() && self.unfit(valid).is_none()) {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut utf8 = [0; 4];
        for c in valid.chars() {
            match self.is_utf8() {
                _ if c.is_ascii() => out.push(c as u8),
                true if self.has(c) => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                true => out.push(b'?'),
                false => out.extend(self.bytes_of(c).unwrap_or_else(|| vec![b'?'])),
            }
        }
        Cow::Owned(out)
    }

    /// UTF-8 text of bytes in this set.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
        if bytes.is_ascii() || self == Charset::Binary {
            return Ok(Cow::Borrowed(bytes));
        }
        let Some(encoding) = self.encoding() else {
            let valid = std::str::from_utf8(bytes).map_err(|e| Invalid(e.valid_up_to()))?;
            return match self.unfit(valid) {
                Some(at) => Err(Invalid(at)),
                None => Ok(Cow::Borrowed(bytes)),
            };
        };
        let first = Invalid(bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(0));
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or(first)?;
        // What the web takes for GBK is more than GBK.
        if self.unfit(&text).is_some() {
            return Err(first);
        }
        Ok(Cow::Owned(text.into_owned().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: Charset, text: &str, bytes: &[u8]) {
        assert_eq!(&*set.encode(text.as_bytes()), bytes, "{text} in {set:?}");
        assert_eq!(set.decode(bytes).as_deref(), Ok(text.as_bytes()), "{text} from {set:?}");
        assert_eq!(set.unfit(text), None, "{text} in {set:?}");
    }

    #[test]
    fn text_has_its_bytes_in_each_set_and_comes_back() {
        check(Charset::Latin1, "Zürich €", b"Z\xfcrich \x80");
        check(Charset::Latin1, "\u{81}", b"\x81");
        check(Charset::Gbk, "中文 abc", b"\xd6\xd0\xce\xc4 abc");
        // The second byte of this one is a backslash.
        check(Charset::Gbk, "誠", b"\xd5\x5c");
        check(Charset::Utf8mb3, "é中", "é中".as_bytes());
        check(Charset::Utf8mb4, "😀", "😀".as_bytes());
        check(Charset::Ascii, "plain", b"plain");
    }

    #[test]
    fn what_a_set_has_not_is_a_question_mark_or_no_text() {
        assert_eq!(&*Charset::Latin1.encode("é中".as_bytes()), b"\xe9?");
        assert_eq!(&*Charset::Gbk.encode("€😀".as_bytes()), b"??");
        assert_eq!(&*Charset::Utf8mb3.encode("a😀é".as_bytes()), "a?é".as_bytes());
        assert_eq!(&*Charset::Ascii.encode("aé".as_bytes()), b"a?");
        assert_eq!(Charset::Latin1.unfit("é中"), Some(2));
        assert_eq!(Charset::Gbk.decode(b"a\x80"), Err(Invalid(1)));
        assert_eq!(Charset::Gbk.decode(b"\xd6"), Err(Invalid(0)));
        assert_eq!(Charset::Gbk.decode(b"\x81\x30\x81\x30"), Err(Invalid(0)), "GB18030 is more than GBK");
        assert_eq!(Charset::Utf8mb3.decode("a😀".as_bytes()), Err(Invalid(1)));
        assert_eq!(Charset::Utf8mb4.decode(b"a\xff"), Err(Invalid(1)));
        assert_eq!(Charset::Ascii.decode(b"a\xe9"), Err(Invalid(1)));
    }

    #[test]
    fn every_byte_is_a_character_of_latin1() {
        let all: Vec<u8> = (0..=255).collect();
        let text = Charset::Latin1.decode(&all).unwrap().into_owned();
        assert_eq!(std::str::from_utf8(&text).unwrap().chars().count(), 256);
        assert_eq!(&*Charset::Latin1.encode(&text), &all[..]);
    }
}
