//! The type of a MySQL column or expression, and collations.
//!
//! [`FieldType`] is what travels: catalog → planner → row decoding, index keys and result metadata. The numbers of
//! [`TypeCode`], [`flags`] and [`Collation`] are MySQL's protocol numbers, so no table translates them anywhere.

use std::borrow::Cow;
use std::fmt;

/// MySQL's type numbers, as in column definitions of the protocol and in `tipb.FieldType.tp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum TypeCode {
    Unspecified = 0,
    Tiny = 1,
    Short = 2,
    Long = 3,
    Float = 4,
    Double = 5,
    Null = 6,
    Timestamp = 7,
    LongLong = 8,
    Int24 = 9,
    Date = 10,
    Duration = 11,
    DateTime = 12,
    Year = 13,
    NewDate = 14,
    Varchar = 15,
    Bit = 16,
    Json = 0xf5,
    NewDecimal = 0xf6,
    Enum = 0xf7,
    Set = 0xf8,
    TinyBlob = 0xf9,
    MediumBlob = 0xfa,
    LongBlob = 0xfb,
    Blob = 0xfc,
    VarString = 0xfd,
    String = 0xfe,
    Geometry = 0xff,
}

impl TypeCode {
    /// The type with this protocol number.
    pub fn from_u8(n: u8) -> Option<TypeCode> {
        use TypeCode::*;
        Some(match n {
            0 => Unspecified,
            1 => Tiny,
            2 => Short,
            3 => Long,
            4 => Float,
            5 => Double,
            6 => Null,
            7 => Timestamp,
            8 => LongLong,
            9 => Int24,
            10 => Date,
            11 => Duration,
            12 => DateTime,
            13 => Year,
            14 => NewDate,
            15 => Varchar,
            16 => Bit,
            0xf5 => Json,
            0xf6 => NewDecimal,
            0xf7 => Enum,
            0xf8 => Set,
            0xf9 => TinyBlob,
            0xfa => MediumBlob,
            0xfb => LongBlob,
            0xfc => Blob,
            0xfd => VarString,
            0xfe => String,
            0xff => Geometry,
            _ => return None,
        })
    }

    /// TINYINT … BIGINT and YEAR.
    pub fn is_integer(self) -> bool {
        use TypeCode::*;
        matches!(self, Tiny | Short | Int24 | Long | LongLong | Year)
    }

    /// FLOAT and DOUBLE.
    pub fn is_float(self) -> bool {
        matches!(self, TypeCode::Float | TypeCode::Double)
    }

    /// CHAR, VARCHAR, BINARY, VARBINARY, TEXT and BLOB of every size (not ENUM, SET, BIT, JSON).
    pub fn is_string(self) -> bool {
        use TypeCode::*;
        matches!(self, Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob)
    }

    /// TEXT and BLOB of every size.
    pub fn is_blob(self) -> bool {
        use TypeCode::*;
        matches!(self, TinyBlob | MediumBlob | LongBlob | Blob)
    }

    /// DATE, DATETIME, TIMESTAMP (not TIME).
    pub fn is_time(self) -> bool {
        use TypeCode::*;
        matches!(self, Date | NewDate | DateTime | Timestamp)
    }

    /// Numbers: integers, YEAR, floats, DECIMAL and BIT.
    pub fn is_numeric(self) -> bool {
        self.is_integer() || self.is_float() || matches!(self, TypeCode::NewDecimal | TypeCode::Bit)
    }
}

/// Column flags, MySQL's numbers.
#[allow(missing_docs)]
pub mod flags {
    pub const NOT_NULL: u32 = 1;
    pub const PRI_KEY: u32 = 1 << 1;
    pub const UNIQUE_KEY: u32 = 1 << 2;
    pub const MULTIPLE_KEY: u32 = 1 << 3;
    pub const BLOB: u32 = 1 << 4;
    pub const UNSIGNED: u32 = 1 << 5;
    pub const ZEROFILL: u32 = 1 << 6;
    pub const BINARY: u32 = 1 << 7;
    pub const ENUM: u32 = 1 << 8;
    pub const AUTO_INCREMENT: u32 = 1 << 9;
    pub const TIMESTAMP: u32 = 1 << 10;
    pub const SET: u32 = 1 << 11;
    pub const NO_DEFAULT_VALUE: u32 = 1 << 12;
    pub const ON_UPDATE_NOW: u32 = 1 << 13;
    pub const PART_KEY: u32 = 1 << 14;
    pub const NUM: u32 = 1 << 15;
    /// Not MySQL's: the expression is a boolean (TiDB's `IsBooleanFlag`), printed as 0/1, stored as JSON true/false.
    pub const IS_BOOLEAN: u32 = 1 << 19;
    /// Not MySQL's: the expression is written `0x…`, `x'…'` or `b'…'`: a binary string that is a number where numbers are.
    pub const BIT_LITERAL: u32 = 1 << 25;
}

/// Length or scale that the declaration leaves open.
pub const UNSPECIFIED_LENGTH: i32 = -1;
/// Most digits of a DECIMAL.
pub const MAX_DECIMAL_PRECISION: i32 = 65;
/// Most digits after the point of a DECIMAL.
pub const MAX_DECIMAL_SCALE: i32 = 30;
/// Most digits of fractional seconds.
pub const MAX_FSP: i32 = 6;
/// Not-fixed number of decimals in result metadata of floats.
pub const NOT_FIXED_DEC: i32 = 31;

/// The type of a column or of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldType {
    /// Which MySQL type.
    pub tp: TypeCode,
    /// See [`flags`].
    pub flags: u32,
    /// Display length: characters of strings, digits of numbers, bits of BIT. [`UNSPECIFIED_LENGTH`] when open.
    pub flen: i32,
    /// Digits after the point of DECIMAL (and FLOAT(m,d)), or of the seconds (fsp). [`UNSPECIFIED_LENGTH`] when open.
    pub decimal: i32,
    /// Character set and comparison rules of strings; [`Collation::BINARY`] for everything else.
    pub collation: Collation,
    /// Members of ENUM and SET, in order.
    pub elems: Vec<String>,
}

impl FieldType {
    /// A type with its default length, signed, nullable. Strings get the default collation.
    pub fn new(tp: TypeCode) -> FieldType {
        let (flen, decimal) = default_length(tp, false);
        let text = matches!(tp, TypeCode::Enum | TypeCode::Set) || (tp.is_string());
        FieldType {
            tp,
            flags: 0,
            flen,
            decimal,
            collation: if text { Collation::DEFAULT } else { Collation::BINARY },
            elems: Vec::new(),
        }
    }

    /// BIGINT.
    pub fn bigint() -> FieldType {
        FieldType::new(TypeCode::LongLong)
    }

    /// BIGINT UNSIGNED.
    pub fn bigint_unsigned() -> FieldType {
        FieldType::new(TypeCode::LongLong).with_flags(flags::UNSIGNED)
    }

    /// DOUBLE.
    pub fn double() -> FieldType {
        FieldType::new(TypeCode::Double)
    }

    /// VARCHAR(n) of the default collation.
    pub fn varchar(n: i32) -> FieldType {
        FieldType { flen: n, ..FieldType::new(TypeCode::Varchar) }
    }

    /// VARBINARY(n).
    pub fn varbinary(n: i32) -> FieldType {
        FieldType { flen: n, ..FieldType::new(TypeCode::Varchar) }
            .with_collation(Collation::BINARY)
            .with_flags(flags::BINARY)
    }

    /// DECIMAL(precision, scale).
    pub fn decimal(precision: i32, scale: i32) -> FieldType {
        FieldType { flen: precision, decimal: scale, ..FieldType::new(TypeCode::NewDecimal) }
    }

    /// DATETIME(fsp).
    pub fn datetime(fsp: i32) -> FieldType {
        FieldType { decimal: fsp, ..FieldType::new(TypeCode::DateTime) }
    }

    /// The same type with these flags added.
    pub fn with_flags(mut self, flags: u32) -> FieldType {
        self.flags |= flags;
        self
    }

    /// The same type with this collation.
    pub fn with_collation(mut self, collation: Collation) -> FieldType {
        self.collation = collation;
        self
    }

    /// Whether the flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// UNSIGNED (or ZEROFILL, which implies it), YEAR, BIT.
    pub fn is_unsigned(&self) -> bool {
        self.has(flags::UNSIGNED)
    }

    /// NOT NULL.
    pub fn is_not_null(&self) -> bool {
        self.has(flags::NOT_NULL)
    }

    /// A string type with a character set: CHAR, VARCHAR, TEXT, ENUM, SET, not BINARY, VARBINARY or BLOB.
    pub fn is_text(&self) -> bool {
        (self.tp.is_string() || matches!(self.tp, TypeCode::Enum | TypeCode::Set))
            && self.collation != Collation::BINARY
    }

    /// BINARY, VARBINARY, BLOB.
    pub fn is_binary_string(&self) -> bool {
        self.tp.is_string() && self.collation == Collation::BINARY
    }

    /// Fractional digits of seconds, 0 when open.
    pub fn fsp(&self) -> u8 {
        self.decimal.clamp(0, MAX_FSP) as u8
    }

    /// Smallest and largest value of a signed integer type.
    pub fn signed_range(&self) -> (i64, i64) {
        match self.tp {
            TypeCode::Tiny => (i8::MIN.into(), i8::MAX.into()),
            TypeCode::Short => (i16::MIN.into(), i16::MAX.into()),
            TypeCode::Int24 => (-(1 << 23), (1 << 23) - 1),
            TypeCode::Long => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        }
    }

    /// Largest value of an unsigned integer type.
    pub fn unsigned_max(&self) -> u64 {
        match self.tp {
            TypeCode::Tiny => u8::MAX.into(),
            TypeCode::Short => u16::MAX.into(),
            TypeCode::Int24 => (1 << 24) - 1,
            TypeCode::Long => u32::MAX.into(),
            TypeCode::Bit => match self.flen {
                n @ 1..=63 => (1 << n) - 1,
                _ => u64::MAX,
            },
            _ => u64::MAX,
        }
    }

    /// Whether the index entry of such a column must keep the original string beside its sort key.
    pub fn needs_restored_data(&self, value: &[u8]) -> bool {
        self.tp.is_string()
            && match self.collation.kind() {
                CollationKind::Binary => false,
                CollationKind::BinPad => value.last() == Some(&b' '),
                _ => true,
            }
    }

    /// Whether the sort key of some value of the type does not tell the value, so that a row whose key holds the column must
    /// hold it too.
    pub fn loses_in_keys(&self) -> bool {
        self.tp.is_string() && self.collation.kind() != CollationKind::Binary
    }

    /// The declaration as `SHOW CREATE TABLE` prints it: `bigint unsigned`, `varchar(20)`, `decimal(10,2)`.
    pub fn declaration(&self) -> String {
        use TypeCode::*;
        let binary = self.collation == Collation::BINARY;
        let mut s = match self.tp {
            Tiny if self.flen == 1 => "tinyint(1)".to_string(),
            Tiny => "tinyint".to_string(),
            Short => "smallint".into(),
            Int24 => "mediumint".into(),
            Long => "int".into(),
            LongLong => "bigint".into(),
            Float if self.decimal >= 0 && self.flen >= 0 => format!("float({},{})", self.flen, self.decimal),
            Float => "float".into(),
            Double if self.decimal >= 0 && self.flen >= 0 => format!("double({},{})", self.flen, self.decimal),
            Double => "double".into(),
            NewDecimal | Unspecified => format!("decimal({},{})", self.flen, self.decimal.max(0)),
            Bit => format!("bit({})", self.flen.max(1)),
            Year => "year".into(),
            Date | NewDate => "date".into(),
            Duration | DateTime | Timestamp => {
                let name = match self.tp {
                    Duration => "time",
                    DateTime => "datetime",
                    _ => "timestamp",
                };
                if self.decimal > 0 { format!("{name}({})", self.decimal) } else { name.into() }
            }
            Varchar | VarString if binary => format!("varbinary({})", self.flen),
            Varchar | VarString => format!("varchar({})", self.flen),
            String if binary => format!("binary({})", self.flen.max(1)),
            String => format!("char({})", self.flen.max(1)),
            TinyBlob => if binary { "tinyblob" } else { "tinytext" }.into(),
            Blob => if binary { "blob" } else { "text" }.into(),
            MediumBlob => if binary { "mediumblob" } else { "mediumtext" }.into(),
            LongBlob => if binary { "longblob" } else { "longtext" }.into(),
            Enum | Set => {
                let elems: Vec<_> = self.elems.iter().map(|e| format!("'{}'", e.replace('\'', "''"))).collect();
                format!("{}({})", if self.tp == Enum { "enum" } else { "set" }, elems.join(","))
            }
            Json => "json".into(),
            Null => "null".into(),
            Geometry => "geometry".into(),
        };
        if self.is_unsigned()
            && (self.tp.is_integer() && self.tp != Year || self.tp.is_float() || self.tp == NewDecimal)
        {
            s.push_str(" unsigned");
        }
        if self.has(flags::ZEROFILL) {
            s.push_str(" zerofill");
        }
        s
    }
}

/// Default (flen, decimal) of a type, as MySQL reports them.
pub fn default_length(tp: TypeCode, unsigned: bool) -> (i32, i32) {
    use TypeCode::*;
    match tp {
        Tiny => (if unsigned { 3 } else { 4 }, 0),
        Short => (if unsigned { 5 } else { 6 }, 0),
        Int24 => (if unsigned { 8 } else { 9 }, 0),
        Long => (if unsigned { 10 } else { 11 }, 0),
        LongLong => (20, 0),
        Year => (4, 0),
        Float => (12, UNSPECIFIED_LENGTH),
        Double => (22, UNSPECIFIED_LENGTH),
        NewDecimal => (10, 0),
        Bit => (1, 0),
        Date | NewDate => (10, 0),
        Duration => (10, 0),
        DateTime | Timestamp => (19, 0),
        String => (1, 0),
        TinyBlob => (255, 0),
        Blob => (65_535, 0),
        MediumBlob => (16_777_215, 0),
        LongBlob => (i32::MAX, 0),
        Null => (0, 0),
        _ => (UNSPECIFIED_LENGTH, UNSPECIFIED_LENGTH),
    }
}

/// A collation, by MySQL's collation id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Collation(u16);

/// How a collation turns a string into a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollationKind {
    /// Bytes as they are.
    Binary,
    /// Bytes without trailing spaces (PAD SPACE).
    BinPad,
    /// One weight a character, case and accents folded, PAD SPACE.
    GeneralCi,
    /// Letters after digits after punctuation, case and accents folded, PAD SPACE.
    UnicodeCi,
    /// As [`CollationKind::UnicodeCi`] without padding.
    UnicodeCiNoPad,
}

const COLLATIONS: &[(u16, &str, &str, CollationKind)] = &[
    (46, "utf8mb4_bin", "utf8mb4", CollationKind::BinPad),
    (63, "binary", "binary", CollationKind::Binary),
    (45, "utf8mb4_general_ci", "utf8mb4", CollationKind::GeneralCi),
    (224, "utf8mb4_unicode_ci", "utf8mb4", CollationKind::UnicodeCi),
    (255, "utf8mb4_0900_ai_ci", "utf8mb4", CollationKind::UnicodeCiNoPad),
    (309, "utf8mb4_0900_bin", "utf8mb4", CollationKind::Binary),
    (83, "utf8_bin", "utf8", CollationKind::BinPad),
    (33, "utf8_general_ci", "utf8", CollationKind::GeneralCi),
    (192, "utf8_unicode_ci", "utf8", CollationKind::UnicodeCi),
    (65, "ascii_bin", "ascii", CollationKind::BinPad),
    (47, "latin1_bin", "latin1", CollationKind::BinPad),
];

impl Collation {
    /// `utf8mb4_bin`, the default as in TiDB.
    pub const UTF8MB4_BIN: Collation = Collation(46);
    /// `binary`.
    pub const BINARY: Collation = Collation(63);
    /// `utf8mb4_general_ci`.
    pub const UTF8MB4_GENERAL_CI: Collation = Collation(45);
    /// `utf8mb4_unicode_ci`.
    pub const UTF8MB4_UNICODE_CI: Collation = Collation(224);
    /// `utf8mb4_0900_ai_ci`.
    pub const UTF8MB4_0900_AI_CI: Collation = Collation(255);
    /// The collation of strings that name none.
    pub const DEFAULT: Collation = Collation::UTF8MB4_BIN;

    /// Every collation we implement: (id, name, charset).
    pub fn all() -> impl Iterator<Item = Collation> {
        COLLATIONS.iter().map(|c| Collation(c.0))
    }

    /// By MySQL id. A negative id (tipb's marker of the new collation framework) is accepted.
    pub fn from_id(id: i32) -> Option<Collation> {
        let id = id.unsigned_abs();
        COLLATIONS.iter().find(|c| u32::from(c.0) == id).map(|c| Collation(c.0))
    }

    /// By name, case-insensitively. `utf8mb3_…` is `utf8_…`.
    pub fn from_name(name: &str) -> Option<Collation> {
        let name = name.to_ascii_lowercase().replace("utf8mb3_", "utf8_");
        COLLATIONS.iter().find(|c| c.1 == name).map(|c| Collation(c.0))
    }

    /// The collation of a character set that names none.
    pub fn default_of_charset(charset: &str) -> Option<Collation> {
        Some(match charset.to_ascii_lowercase().as_str() {
            "utf8mb4" => Collation(46),
            "utf8" | "utf8mb3" => Collation(83),
            "binary" => Collation(63),
            "ascii" => Collation(65),
            "latin1" => Collation(47),
            _ => return None,
        })
    }

    fn entry(self) -> &'static (u16, &'static str, &'static str, CollationKind) {
        COLLATIONS.iter().find(|c| c.0 == self.0).unwrap_or(&COLLATIONS[0])
    }

    /// MySQL's number.
    pub fn id(self) -> u16 {
        self.0
    }

    /// MySQL's name.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The character set.
    pub fn charset(self) -> &'static str {
        self.entry().2
    }

    /// How strings become sort keys.
    pub fn kind(self) -> CollationKind {
        if self.0 == 46 {
            return CollationKind::BinPad;
        }
        self.entry().3
    }

    /// Whether strings compare as their bytes (apart from trailing spaces).
    pub fn is_bin(self) -> bool {
        matches!(self.kind(), CollationKind::Binary | CollationKind::BinPad)
    }

    /// The bytes whose order is the order of the collation, and whose equality is its equality.
    pub fn sort_key<'a>(self, s: &'a [u8]) -> Cow<'a, [u8]> {
        match self.kind() {
            CollationKind::Binary => Cow::Borrowed(s),
            CollationKind::BinPad => Cow::Borrowed(trim_spaces(s)),
            CollationKind::GeneralCi => Cow::Owned(weights(trim_spaces(s), general_weight)),
            CollationKind::UnicodeCi => Cow::Owned(weights(trim_spaces(s), unicode_weight)),
            CollationKind::UnicodeCiNoPad => Cow::Owned(weights(s, unicode_weight)),
        }
    }

    /// Order of two strings.
    pub fn compare(self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        match self.kind() {
            CollationKind::Binary => a.cmp(b),
            CollationKind::BinPad => trim_spaces(a).cmp(trim_spaces(b)),
            _ => self.sort_key(a).cmp(&self.sort_key(b)),
        }
    }
}

impl Default for Collation {
    fn default() -> Self {
        Collation::DEFAULT
    }
}

impl fmt::Debug for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// PAD SPACE: trailing spaces do not count.
pub fn trim_spaces(mut s: &[u8]) -> &[u8] {
    while let [head @ .., b' '] = s {
        s = head;
    }
    s
}

/// Two bytes a character, in order. Bytes that are not UTF-8 weigh as the replacement character.
fn weights(s: &[u8], weight: fn(char) -> u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len() * 2);
    for chunk in s.utf8_chunks() {
        for c in chunk.valid().chars() {
            out.extend_from_slice(&weight(c).to_be_bytes());
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(&0xfffd_u16.to_be_bytes());
        }
    }
    out
}

/// The base letter of an accented Latin letter (upper case), as both case-insensitive collations fold it.
const LATIN_FOLD: &[(&str, char)] = &[
    ("ÀÁÂÃÄÅĀĂĄǍ", 'A'),
    ("ÇĆĈĊČ", 'C'),
    ("Ď", 'D'),
    ("ÈÉÊËĒĔĖĘĚ", 'E'),
    ("ĜĞĠĢ", 'G'),
    ("Ĥ", 'H'),
    ("ÌÍÎÏĨĪĬĮİǏ", 'I'),
    ("Ĵ", 'J'),
    ("Ķ", 'K'),
    ("ĹĻĽ", 'L'),
    ("ÑŃŅŇ", 'N'),
    ("ÒÓÔÕÖŌŎŐǑ", 'O'),
    ("ŔŖŘ", 'R'),
    ("ŚŜŞŠß", 'S'),
    ("ŢŤ", 'T'),
    ("ÙÚÛÜŨŪŬŮŰŲǓ", 'U'),
    ("Ŵ", 'W'),
    ("ÝŶŸ", 'Y'),
    ("ŹŻŽ", 'Z'),
];

fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    let mut upper = c.to_uppercase();
    let u = match (upper.next(), upper.next()) {
        (Some(u), None) => u,
        _ => c,
    };
    if (u as u32) < 0x200 {
        for (from, to) in LATIN_FOLD {
            if from.contains(u) {
                return *to;
            }
        }
    }
    u
}

/// `utf8mb4_general_ci`: the folded code point; everything beyond the basic plane weighs the same.
fn general_weight(c: char) -> u16 {
    u16::try_from(fold(c) as u32).unwrap_or(0xfffd)
}

/// ASCII punctuation in the order of the Unicode collation algorithm.
const PUNCTUATION: &[u8] = b"\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";

/// Punctuation, then digits, then letters; letters without their accents and case.
fn unicode_weight(c: char) -> u16 {
    let f = fold(c);
    match f {
        '0'..='9' => 0x1000 + (f as u16 - b'0' as u16),
        'A'..='Z' => 0x1100 + (f as u16 - b'A' as u16),
        _ if f.is_ascii() => match PUNCTUATION.iter().position(|p| *p == f as u8) {
            Some(i) => 0x200 + i as u16,
            None => f as u16,
        },
        _ => match f as u32 {
            n @ 0..=0xd7ff => 0x1200_u16.saturating_add(n as u16),
            n => u16::try_from(n).unwrap_or(0xfffd),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_compare_as_their_names_say() {
        use std::cmp::Ordering::*;
        assert_eq!(Collation::UTF8MB4_BIN.compare(b"a", b"a  "), Equal);
        assert_eq!(Collation::UTF8MB4_BIN.compare(b"a", b"A"), Greater);
        assert_eq!(Collation::BINARY.compare(b"a", b"a "), Less);
        assert_eq!(Collation::UTF8MB4_GENERAL_CI.compare("Été".as_bytes(), b"ETE "), Equal);
        assert_eq!(Collation::UTF8MB4_GENERAL_CI.compare(b"a_", b"ab"), Greater);
        assert_eq!(Collation::UTF8MB4_0900_AI_CI.compare(b"a_", b"ab"), Less);
        assert_eq!(Collation::UTF8MB4_0900_AI_CI.compare(b"a", b"a "), Less);
        assert_eq!(Collation::from_name("UTF8MB4_GENERAL_CI"), Some(Collation::UTF8MB4_GENERAL_CI));
        assert_eq!(Collation::from_id(-46), Some(Collation::UTF8MB4_BIN));
    }

    #[test]
    fn declarations_read_as_in_show_create_table() {
        assert_eq!(FieldType::bigint_unsigned().declaration(), "bigint unsigned");
        assert_eq!(FieldType::varchar(255).declaration(), "varchar(255)");
        assert_eq!(FieldType::decimal(12, 2).declaration(), "decimal(12,2)");
        assert_eq!(FieldType::datetime(3).declaration(), "datetime(3)");
        assert_eq!(FieldType::varbinary(16).declaration(), "varbinary(16)");
    }
}
