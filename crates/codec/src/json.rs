//! JSON values: text, and the binary form that rows hold.
//!
//! Binary form (little endian, as TiDB): a type byte, then the value. Numbers are eight bytes, strings have a LEB128
//! length, literals are one byte. An array is `count u32, size u32, entries (type u8, offset-or-literal u32)`, values;
//! an object has `key entries (offset u32, length u16)` before the value entries, and its keys sorted before the values.
//! Offsets count from the count field.

use std::cmp::Ordering;
use std::fmt;

use crate::{Error, Result, bytes, number};

/// One JSON value. Objects keep their keys distinct and in the order of [`key_order`], in which MySQL shows them.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// The order of an object's members in MySQL: the shorter name first, then by bytes.
pub fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

const OBJECT: u8 = 0x01;
const ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT: u8 = 0x09;
const UINT: u8 = 0x0a;
const FLOAT: u8 = 0x0b;
const STRING: u8 = 0x0c;
const MAX_DEPTH: usize = 100;
const BAD: Error = Error::Invalid("JSON");

impl Json {
    /// An object; the last of equal keys wins.
    pub fn object(members: impl IntoIterator<Item = (String, Json)>) -> Json {
        let mut sorted: Vec<(String, Json)> = Vec::new();
        for (k, v) in members {
            match sorted.binary_search_by(|(o, _)| key_order(o, &k)) {
                Ok(i) => sorted[i].1 = v,
                Err(i) => sorted.insert(i, (k, v)),
            }
        }
        Json::Object(sorted)
    }

    /// Reads JSON text.
    pub fn parse(text: &str) -> Result<Json> {
        let mut p = Parser { b: text.as_bytes(), text, i: 0 };
        let v = p.value(0)?;
        p.space();
        if p.i == p.b.len() { Ok(v) } else { Err(BAD) }
    }

    /// Member of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(m) => m.binary_search_by(|(k, _)| key_order(k, key)).ok().map(|i| &m[i].1),
            _ => None,
        }
    }

    /// JSON_TYPE's name.
    pub fn type_name(&self) -> &'static str {
        match self {
            Json::Null => "NULL",
            Json::Bool(_) => "BOOLEAN",
            Json::Int(_) => "INTEGER",
            Json::UInt(_) => "UNSIGNED INTEGER",
            Json::Float(_) => "DOUBLE",
            Json::String(_) => "STRING",
            Json::Array(_) => "ARRAY",
            Json::Object(_) => "OBJECT",
        }
    }

    fn type_byte(&self) -> u8 {
        match self {
            Json::Null | Json::Bool(_) => LITERAL,
            Json::Int(_) => INT,
            Json::UInt(_) => UINT,
            Json::Float(_) => FLOAT,
            Json::String(_) => STRING,
            Json::Array(_) => ARRAY,
            Json::Object(_) => OBJECT,
        }
    }

    fn literal(&self) -> u8 {
        match self {
            Json::Bool(true) => 1,
            Json::Bool(false) => 2,
            _ => 0,
        }
    }

    /// Appends type byte and value.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        buf.push(self.type_byte());
        self.encode_body(buf);
    }

    fn encode_body(&self, buf: &mut Vec<u8>) {
        match self {
            Json::Null | Json::Bool(_) => buf.push(self.literal()),
            Json::Int(v) => buf.extend_from_slice(&v.to_le_bytes()),
            Json::UInt(v) => buf.extend_from_slice(&v.to_le_bytes()),
            Json::Float(v) => buf.extend_from_slice(&v.to_le_bytes()),
            Json::String(s) => {
                number::encode_uvarint(buf, s.len() as u64);
                buf.extend_from_slice(s.as_bytes());
            }
            Json::Array(items) => {
                let start = buf.len();
                put_u32(buf, items.len());
                put_u32(buf, 0);
                let entries = buf.len();
                buf.resize(entries + items.len() * 5, 0);
                for (i, v) in items.iter().enumerate() {
                    v.encode_entry(buf, start, entries + i * 5);
                }
                let size = buf.len() - start;
                set_u32(buf, start + 4, size);
            }
            Json::Object(members) => {
                // The stored form has its keys in the order of their bytes.
                let mut members: Vec<&(String, Json)> = members.iter().collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                let start = buf.len();
                put_u32(buf, members.len());
                put_u32(buf, 0);
                let keys = buf.len();
                let values = keys + members.len() * 6;
                buf.resize(values + members.len() * 5, 0);
                for (i, (k, _)) in members.iter().enumerate() {
                    let at = buf.len() - start;
                    set_u32(buf, keys + i * 6, at);
                    buf[keys + i * 6 + 4..keys + i * 6 + 6].copy_from_slice(&(k.len() as u16).to_le_bytes());
                    buf.extend_from_slice(&k.as_bytes()[..k.len().min(usize::from(u16::MAX))]);
                }
                for (i, (_, v)) in members.iter().enumerate() {
                    v.encode_entry(buf, start, values + i * 5);
                }
                let size = buf.len() - start;
                set_u32(buf, start + 4, size);
            }
        }
    }

    fn encode_entry(&self, buf: &mut Vec<u8>, start: usize, entry: usize) {
        buf[entry] = self.type_byte();
        if self.type_byte() == LITERAL {
            buf[entry + 1] = self.literal();
        } else {
            let at = buf.len() - start;
            set_u32(buf, entry + 1, at);
            self.encode_body(buf);
        }
    }

    /// Takes one value from the front.
    pub fn decode(data: &mut &[u8]) -> Result<Json> {
        let (&tp, body) = data.split_first().ok_or(Error::Eof("JSON"))?;
        let len = body_len(tp, body)?;
        let (value, rest) = body.split_at_checked(len).ok_or(Error::Eof("JSON"))?;
        let v = decode_body(tp, value, 0)?;
        *data = rest;
        Ok(v)
    }

    fn rank(&self) -> u8 {
        match self {
            Json::Null => 0,
            Json::Int(_) | Json::UInt(_) | Json::Float(_) => 1,
            Json::String(_) => 2,
            Json::Object(_) => 3,
            Json::Array(_) => 4,
            Json::Bool(_) => 5,
        }
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        matches!(self, Json::Array(_))
    }

    /// A number as the nearest double and what is missing to the number itself; a double stands for its shortest digits, so
    /// that 9.223372036854776e18 is above every BIGINT. In this form all numbers have one order.
    fn number(&self) -> (f64, i64) {
        let exact = |n: i128| {
            let nearest = n as f64;
            // Both are whole and at most 2^64 apart from zero, and so near to each other that the rest is small.
            (nearest, (n - nearest as i128) as i64)
        };
        match self {
            Json::Int(v) => exact((*v).into()),
            Json::UInt(v) => exact((*v).into()),
            Json::Float(v) if (WHOLE_FLOATS..=1.9e19).contains(&v.abs()) => {
                let digits = format!("{v:e}");
                let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
                let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
                let shift = exponent.parse::<usize>().unwrap_or(0).saturating_sub(fraction.len());
                let n = format!("{whole}{fraction}{}", "0".repeat(shift)).parse::<i128>().unwrap_or(*v as i128);
                (*v, (n - *v as i128) as i64)
            }
            // No negative zero.
            Json::Float(v) => (*v + 0.0, 0),
            _ => (0.0, 0),
        }
    }

    /// MySQL's order of JSON values.
    #[allow(clippy::should_implement_trait)]
    pub fn cmp(&self, other: &Json) -> Ordering {
        match (self, other) {
            (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
            (Json::Int(a), Json::Int(b)) => a.cmp(b),
            (Json::UInt(a), Json::UInt(b)) => a.cmp(b),
            (Json::Int(a), Json::UInt(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Json::UInt(a), Json::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Json::String(a), Json::String(b)) => a.cmp(b),
            (Json::Array(a), Json::Array(b)) => {
                a.iter().zip(b).map(|(x, y)| x.cmp(y)).find(|o| o.is_ne()).unwrap_or(a.len().cmp(&b.len()))
            }
            (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
                a.iter()
                    .zip(b)
                    .map(|(x, y)| x.0.cmp(&y.0).then_with(|| x.1.cmp(&y.1)))
                    .find(|o| o.is_ne())
                    .unwrap_or(Ordering::Equal)
            }),
            (a, b) if a.rank() == 1 && b.rank() == 1 => a.number().partial_cmp(&b.number()).unwrap_or(Ordering::Equal),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// From here on all doubles are whole.
const WHOLE_FLOATS: f64 = 9_007_199_254_740_992.0;

impl Json {
    /// Appends bytes whose order is that of the values. They cannot be read back, and none are the beginning of others.
    pub fn sort_key(&self, buf: &mut Vec<u8>) {
        buf.push(self.rank());
        match self {
            Json::Null => {}
            Json::Bool(b) => buf.push((*b).into()),
            Json::Int(_) | Json::UInt(_) | Json::Float(_) => {
                let (nearest, rest) = self.number();
                number::encode_f64(buf, nearest);
                number::encode_i64(buf, rest);
            }
            Json::String(s) => bytes::encode_bytes(buf, s.as_bytes()),
            Json::Array(items) => {
                for item in items {
                    buf.push(1);
                    item.sort_key(buf);
                }
                buf.push(0);
            }
            Json::Object(members) => {
                number::encode_u64(buf, members.len() as u64);
                for (name, value) in members {
                    bytes::encode_bytes(buf, name.as_bytes());
                    value.sort_key(buf);
                }
            }
        }
    }
}

fn put_u32(buf: &mut Vec<u8>, v: usize) {
    buf.extend_from_slice(&(v as u32).to_le_bytes());
}

fn set_u32(buf: &mut [u8], at: usize, v: usize) {
    buf[at..at + 4].copy_from_slice(&(v as u32).to_le_bytes());
}

fn get_u32(b: &[u8], at: usize) -> Result<usize> {
    let four = b.get(at..at + 4).and_then(|s| s.first_chunk::<4>()).ok_or(Error::Eof("JSON"))?;
    Ok(u32::from_le_bytes(*four) as usize)
}

fn body_len(tp: u8, b: &[u8]) -> Result<usize> {
    Ok(match tp {
        LITERAL => 1,
        INT | UINT | FLOAT => 8,
        STRING => {
            let mut rest = b;
            let n = number::decode_uvarint(&mut rest)?;
            usize::try_from(n).ok().and_then(|n| n.checked_add(b.len() - rest.len())).ok_or(BAD)?
        }
        ARRAY | OBJECT => get_u32(b, 4)?.max(8),
        _ => return Err(BAD),
    })
}

fn decode_body(tp: u8, b: &[u8], depth: usize) -> Result<Json> {
    if depth > MAX_DEPTH {
        return Err(BAD);
    }
    let eight = || b.first_chunk::<8>().copied().ok_or(Error::Eof("JSON"));
    let entry = |at: usize| -> Result<Json> {
        let tp = *b.get(at).ok_or(Error::Eof("JSON"))?;
        if tp == LITERAL {
            return decode_body(tp, &b[at + 1..], depth + 1);
        }
        let value = b.get(get_u32(b, at + 1)?..).ok_or(Error::Eof("JSON"))?;
        decode_body(tp, value, depth + 1)
    };
    Ok(match tp {
        LITERAL => match b.first() {
            Some(0) => Json::Null,
            Some(1) => Json::Bool(true),
            Some(2) => Json::Bool(false),
            _ => return Err(BAD),
        },
        INT => Json::Int(i64::from_le_bytes(eight()?)),
        UINT => Json::UInt(u64::from_le_bytes(eight()?)),
        FLOAT => Json::Float(f64::from_le_bytes(eight()?)),
        STRING => {
            let len = body_len(tp, b)?;
            let mut rest = b.get(..len).ok_or(Error::Eof("JSON"))?;
            number::decode_uvarint(&mut rest)?;
            Json::String(String::from_utf8(rest.to_vec()).map_err(|_| BAD)?)
        }
        ARRAY => {
            let n = get_u32(b, 0)?;
            if n > b.len() / 5 {
                return Err(BAD);
            }
            Json::Array((0..n).map(|i| entry(8 + i * 5)).collect::<Result<_>>()?)
        }
        OBJECT => {
            let n = get_u32(b, 0)?;
            if n > b.len() / 11 {
                return Err(BAD);
            }
            let mut members = Vec::with_capacity(n);
            for i in 0..n {
                let at = get_u32(b, 8 + i * 6)?;
                let len = b.get(8 + i * 6 + 4..8 + i * 6 + 6).ok_or(Error::Eof("JSON"))?;
                let len = usize::from(u16::from_le_bytes([len[0], len[1]]));
                let key = b.get(at..at + len).ok_or(Error::Eof("JSON"))?;
                let key = String::from_utf8(key.to_vec()).map_err(|_| BAD)?;
                members.push((key, entry(8 + n * 6 + i * 5)?));
            }
            Json::object(members)
        }
        _ => return Err(BAD),
    })
}

struct Parser<'a> {
    b: &'a [u8],
    text: &'a str,
    i: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        while matches!(self.b.get(self.i), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.i += 1;
        }
    }

    fn eat(&mut self, c: u8) -> bool {
        self.space();
        let hit = self.b.get(self.i) == Some(&c);
        self.i += usize::from(hit);
        hit
    }

    fn value(&mut self, depth: usize) -> Result<Json> {
        if depth > MAX_DEPTH {
            return Err(BAD);
        }
        self.space();
        match self.b.get(self.i) {
            Some(b'{') => {
                self.i += 1;
                let mut members = Vec::new();
                if self.eat(b'}') {
                    return Ok(Json::Object(members));
                }
                loop {
                    self.space();
                    let key = self.string()?;
                    if !self.eat(b':') {
                        return Err(BAD);
                    }
                    members.push((key, self.value(depth + 1)?));
                    if self.eat(b'}') {
                        return Ok(Json::object(members));
                    }
                    if !self.eat(b',') {
                        return Err(BAD);
                    }
                }
            }
            Some(b'[') => {
                self.i += 1;
                let mut items = Vec::new();
                if self.eat(b']') {
                    return Ok(Json::Array(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.eat(b']') {
                        return Ok(Json::Array(items));
                    }
                    if !self.eat(b',') {
                        return Err(BAD);
                    }
                }
            }
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, v) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)] {
                    if self.b[self.i..].starts_with(word.as_bytes()) {
                        self.i += word.len();
                        return Ok(v);
                    }
                }
                Err(BAD)
            }
        }
    }

    fn number(&mut self) -> Result<Json> {
        let start = self.i;
        let mut float = false;
        while let Some(c) = self.b.get(self.i) {
            match c {
                b'0'..=b'9' | b'-' | b'+' => {}
                b'.' | b'e' | b'E' => float = true,
                _ => break,
            }
            self.i += 1;
        }
        let s = &self.text[start..self.i];
        let digits = s.strip_prefix('-').unwrap_or(s).as_bytes();
        if !digits.first().is_some_and(u8::is_ascii_digit)
            || (digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit())
        {
            return Err(BAD);
        }
        if !float {
            if let Ok(v) = s.parse() {
                return Ok(Json::Int(v));
            }
            if let Ok(v) = s.parse() {
                return Ok(Json::UInt(v));
            }
        }
        s.parse().ok().filter(|f: &f64| f.is_finite()).map(Json::Float).ok_or(BAD)
    }

    fn hex4(&mut self) -> Result<u32> {
        let h = self.b.get(self.i..self.i + 4).ok_or(BAD)?;
        if !h.iter().all(u8::is_ascii_hexdigit) {
            return Err(BAD);
        }
        self.i += 4;
        Ok(h.iter().fold(0, |v, c| v * 16 + (*c as char).to_digit(16).unwrap_or(0)))
    }

    fn string(&mut self) -> Result<String> {
        if self.b.get(self.i) != Some(&b'"') {
            return Err(BAD);
        }
        self.i += 1;
        let mut out = String::new();
        loop {
            let start = self.i;
            while !matches!(self.b.get(self.i), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.i += 1;
            }
            out.push_str(&self.text[start..self.i]);
            match self.b.get(self.i) {
                Some(b'"') => {
                    self.i += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    let c = *self.b.get(self.i + 1).ok_or(BAD)?;
                    self.i += 2;
                    out.push(match c {
                        b'"' | b'\\' | b'/' => c as char,
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => {
                            let mut u = self.hex4()?;
                            if (0xd800..0xdc00).contains(&u) && self.b[self.i..].starts_with(b"\\u") {
                                self.i += 2;
                                let low = self.hex4()?;
                                u = 0x10000 + ((u - 0xd800) << 10) + low.wrapping_sub(0xdc00);
                            }
                            char::from_u32(u).unwrap_or(char::REPLACEMENT_CHARACTER)
                        }
                        _ => return Err(BAD),
                    });
                }
                _ => return Err(BAD),
            }
        }
    }
}

/// Text of a JSON string, quoted.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(b) => write!(f, "{b}"),
            Json::Int(v) => write!(f, "{v}"),
            Json::UInt(v) => write!(f, "{v}"),
            Json::Float(v) if v.fract() == 0.0 && v.abs() < 1e15 => write!(f, "{v:.1}"),
            Json::Float(v) if v.abs() >= 1e15 || v.abs() < 1e-15 => write!(f, "{v:e}"),
            Json::Float(v) => write!(f, "{v}"),
            Json::String(s) => f.write_str(&quote(s)),
            Json::Array(items) => {
                f.write_str("[")?;
                for (i, v) in items.iter().enumerate() {
                    write!(f, "{}{v}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                for (i, (k, v)) in members.iter().enumerate() {
                    write!(f, "{}{}: {v}", if i > 0 { ", " } else { "" }, quote(k))?;
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_show_in_mysqls_order_and_are_stored_in_that_of_bytes() {
        let j = Json::parse(r#"{"bb": 1, "c": 2, "aaa": 3}"#).unwrap();
        assert_eq!(j.to_string(), r#"{"c": 2, "bb": 1, "aaa": 3}"#);
        assert_eq!(j.get("bb"), Some(&Json::Int(1)));
        let mut stored = Vec::new();
        j.encode(&mut stored);
        let at = |name: &str| stored.windows(name.len()).position(|w| w == name.as_bytes());
        assert!(at("aaa") < at("bb") && at("bb") < at("c"));
        assert_eq!(Json::decode(&mut &stored[..]), Ok(j));
    }

    /// Sort keys have the order of the values.
    #[test]
    fn sort_keys_are_ordered_as_the_values() {
        let values: Vec<Json> = [
            "null",
            "-1e300",
            "-2",
            "-1.5",
            "-1",
            "0",
            "-0.0",
            "0.1",
            "1",
            "1.0",
            "9",
            "10",
            "9007199254740992",
            "9007199254740993",
            "9007199254740992.0",
            "9223372036854775807",
            "9.223372036854776e18",
            "18446744073709551615",
            "1e300",
            r#""""#,
            r#""10""#,
            r#""9""#,
            r#""9a""#,
            "{}",
            r#"{"a": 1}"#,
            r#"{"a": 2}"#,
            r#"{"b": 1}"#,
            r#"{"a": 1, "b": 1}"#,
            "[]",
            "[1]",
            "[1, 2]",
            "[2]",
            "[[]]",
            "false",
            "true",
        ]
        .iter()
        .map(|t| Json::parse(t).unwrap())
        .collect();
        let key = |j: &Json| {
            let mut buf = Vec::new();
            j.sort_key(&mut buf);
            buf
        };
        for a in &values {
            for b in &values {
                assert_eq!(a.cmp(b), key(a).cmp(&key(b)), "{a} {b}");
                assert!(a.cmp(b).is_eq() || !key(b).starts_with(&key(a)), "{a} begins {b}");
            }
        }
    }

    #[test]
    fn text_round_trips() {
        for t in
            ["null", "[1, -2, 1.5, true]", r#"{"a": "x\"y", "b": {"c": []}}"#, "18446744073709551615", "\"é\"", "{}"]
        {
            assert_eq!(Json::parse(t).unwrap().to_string(), t);
        }
        for t in ["", "{", "[1,]", "01", "nul", "\"a", "{\"a\"}", "1 2"] {
            assert!(Json::parse(t).is_err(), "{t}");
        }
        assert_eq!(Json::parse(r#""\ud83d\ude00""#).unwrap(), Json::String("😀".into()));
    }

    #[test]
    fn golden_bytes() {
        let mut b = Vec::new();
        Json::parse(r#"{"a":1,"b":true}"#).unwrap().encode(&mut b);
        let want: &[u8] = &[
            1, 2, 0, 0, 0, 40, 0, 0, 0, // two members, 40 bytes
            30, 0, 0, 0, 1, 0, 31, 0, 0, 0, 1, 0, // keys
            9, 32, 0, 0, 0, 4, 1, 0, 0, 0, // an integer at 32, a literal inline
            b'a', b'b', 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(b, want);
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::Int),
            (1_u64 << 63..).prop_map(Json::UInt),
            (-1e9..1e9).prop_map(Json::Float),
            ".{0,12}".prop_map(Json::String),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                prop::collection::vec((".{0,6}", inner), 0..5).prop_map(Json::object),
            ]
        })
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(v in any_json()) {
            let mut b = Vec::new();
            v.encode(&mut b);
            b.push(7);
            let mut d = &b[..];
            prop_assert_eq!(Json::decode(&mut d), Ok(v.clone()));
            prop_assert_eq!(d, &[7]);
            prop_assert_eq!(Json::parse(&v.to_string()).unwrap().to_string(), v.to_string());
        }

        #[test]
        fn any_bytes_decode_or_fail(b: Vec<u8>, s: String) {
            for tp in [OBJECT, ARRAY, STRING] {
                let mut x = vec![tp];
                x.extend_from_slice(&b);
                let _ = Json::decode(&mut &x[..]);
            }
            let _ = Json::parse(&s);
        }
    }
}
