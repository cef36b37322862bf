//! The scalar functions by name: how many arguments they take, of which kind, and what they return.
//!
//! [`crate::infer::call`] reads this table to cast arguments and settle the type; [`crate::eval`] computes. A function that
//! is not here does not exist (1305); control flow, comparisons and arithmetic have their own [`crate::expr::Func`]s.

use crate::interval::Unit;

/// What an argument is cast to before the function sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// As it is.
    Any,
    /// A string.
    Str,
    /// An integer.
    Int,
    /// A float.
    Real,
    /// Stays an integer, decimal or float; all else becomes a float.
    Num,
    /// A DATETIME (a DATE stays one).
    Time,
    /// A TIME.
    Span,
}

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// BIGINT.
    Int,
    /// BIGINT UNSIGNED.
    UInt,
    /// DOUBLE.
    Real,
    /// Text in the collation of its string arguments.
    Text,
    /// Text of digits, names and such, in the connection's collation.
    Ascii,
    /// A binary string.
    Binary,
    /// DATE.
    Date,
    /// DATETIME with the fractional digits of its first argument.
    DateTime,
    /// TIME with the fractional digits of its first argument.
    Span,
    /// As the first argument.
    First,
    /// JSON.
    Json,
    /// Decided by [`crate::infer`].
    Special,
}

macro_rules! functions {
    ($($variant:ident $name:literal $min:literal $max:literal [$($arg:ident)*] $ret:ident;)*) => {
        /// A scalar function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum ScalarFn {
            $($variant,)*
            /// `TIMESTAMPDIFF(unit, a, b)`
            TimestampDiff(Unit),
            /// `EXTRACT(unit FROM t)`
            Extract(Unit),
        }

        impl ScalarFn {
            /// By its SQL name in lower case.
            pub fn by_name(name: &str) -> Option<ScalarFn> {
                Some(match name {
                    $($name => ScalarFn::$variant,)*
                    _ => return None,
                })
            }

            /// The SQL name in lower case.
            pub fn name(self) -> &'static str {
                match self {
                    $(ScalarFn::$variant => $name,)*
                    ScalarFn::TimestampDiff(_) => "timestampdiff",
                    ScalarFn::Extract(_) => "extract",
                }
            }

            /// Fewest and most arguments.
            pub fn arity(self) -> (usize, usize) {
                match self {
                    $(ScalarFn::$variant => ($min, $max),)*
                    ScalarFn::TimestampDiff(_) => (2, 2),
                    ScalarFn::Extract(_) => (1, 1),
                }
            }

            /// Kinds of the arguments; the last one repeats.
            pub fn args(self) -> &'static [Arg] {
                match self {
                    $(ScalarFn::$variant => &[$(Arg::$arg),*],)*
                    ScalarFn::TimestampDiff(_) => &[Arg::Time, Arg::Time],
                    ScalarFn::Extract(_) => &[Arg::Any],
                }
            }

            /// What it returns.
            pub fn ret(self) -> Ret {
                match self {
                    $(ScalarFn::$variant => Ret::$ret,)*
                    ScalarFn::TimestampDiff(_) | ScalarFn::Extract(_) => Ret::Int,
                }
            }

            /// Every function that has a name.
            pub fn all() -> &'static [ScalarFn] {
                &[$(ScalarFn::$variant),*]
            }
        }
    };
}

/// No bound on the number of arguments.
pub const MANY: usize = usize::MAX;

functions! {
    // numbers
    Abs "abs" 1 1 [Num] Special;
    Ceil "ceil" 1 1 [Num] Special;
    Floor "floor" 1 1 [Num] Special;
    Round "round" 1 2 [Num Int] Special;
    Truncate "truncate" 2 2 [Num Int] Special;
    Sign "sign" 1 1 [Real] Int;
    Sqrt "sqrt" 1 1 [Real] Real;
    Pow "pow" 2 2 [Real] Real;
    Exp "exp" 1 1 [Real] Real;
    Ln "ln" 1 1 [Real] Real;
    Log "log" 1 2 [Real] Real;
    Log2 "log2" 1 1 [Real] Real;
    Log10 "log10" 1 1 [Real] Real;
    Pi "pi" 0 0 [] Real;
    Sin "sin" 1 1 [Real] Real;
    Cos "cos" 1 1 [Real] Real;
    Tan "tan" 1 1 [Real] Real;
    Cot "cot" 1 1 [Real] Real;
    Asin "asin" 1 1 [Real] Real;
    Acos "acos" 1 1 [Real] Real;
    Atan "atan" 1 2 [Real] Real;
    Atan2 "atan2" 2 2 [Real] Real;
    Radians "radians" 1 1 [Real] Real;
    Degrees "degrees" 1 1 [Real] Real;
    Rand "rand" 0 1 [Int] Real;
    Crc32 "crc32" 1 1 [Str] UInt;
    Conv "conv" 3 3 [Str Int Int] Ascii;
    Bin "bin" 1 1 [Int] Ascii;
    Oct "oct" 1 1 [Int] Ascii;
    BitCount "bit_count" 1 1 [Int] Int;
    // strings
    Concat "concat" 1 1000000 [Str] Text;
    ConcatWs "concat_ws" 2 1000000 [Str] Text;
    Substring "substring" 2 3 [Str Int Int] Text;
    SubstringIndex "substring_index" 3 3 [Str Str Int] Text;
    Left "left" 2 2 [Str Int] Text;
    Right "right" 2 2 [Str Int] Text;
    Length "length" 1 1 [Str] Int;
    CharLength "char_length" 1 1 [Str] Int;
    BitLength "bit_length" 1 1 [Str] Int;
    Upper "upper" 1 1 [Str] Text;
    Lower "lower" 1 1 [Str] Text;
    Ltrim "ltrim" 1 1 [Str] Text;
    Rtrim "rtrim" 1 1 [Str] Text;
    Trim "trim" 1 2 [Str] Text;
    TrimLeading "trim_leading" 2 2 [Str] Text;
    TrimTrailing "trim_trailing" 2 2 [Str] Text;
    Replace "replace" 3 3 [Str] Text;
    Instr "instr" 2 2 [Str] Int;
    Locate "locate" 2 3 [Str Str Int] Int;
    Lpad "lpad" 3 3 [Str Int Str] Text;
    Rpad "rpad" 3 3 [Str Int Str] Text;
    Repeat "repeat" 2 2 [Str Int] Text;
    Reverse "reverse" 1 1 [Str] Text;
    Space "space" 1 1 [Int] Ascii;
    Hex "hex" 1 1 [Any] Ascii;
    Unhex "unhex" 1 1 [Str] Binary;
    Md5 "md5" 1 1 [Str] Ascii;
    Sha1 "sha1" 1 1 [Str] Ascii;
    Sha2 "sha2" 2 2 [Str Int] Ascii;
    Ascii "ascii" 1 1 [Str] Int;
    Ord "ord" 1 1 [Str] Int;
    Char "char" 1 1000000 [Int] Binary;
    Format "format" 2 3 [Num Int Str] Ascii;
    Strcmp "strcmp" 2 2 [Str] Int;
    Elt "elt" 2 1000000 [Int Str] Text;
    Field "field" 2 1000000 [Str] Int;
    FindInSet "find_in_set" 2 2 [Str] Int;
    Insert "insert" 4 4 [Str Int Int Str] Text;
    Quote "quote" 1 1 [Str] Text;
    ToBase64 "to_base64" 1 1 [Str] Ascii;
    FromBase64 "from_base64" 1 1 [Str] Binary;
    Soundex "soundex" 1 1 [Str] Text;
    RegexpLike "regexp_like" 3 3 [Str] Int;
    RegexpReplace "regexp_replace" 3 3 [Str] Text;
    RegexpSubstr "regexp_substr" 2 2 [Str] Text;
    RegexpInstr "regexp_instr" 2 2 [Str] Int;
    Uuid "uuid" 0 0 [] Ascii;
    RandomBytes "random_bytes" 1 1 [Int] Binary;
    InetAton "inet_aton" 1 1 [Str] UInt;
    InetNtoa "inet_ntoa" 1 1 [Int] Ascii;
    // dates
    Year "year" 1 1 [Time] Int;
    Quarter "quarter" 1 1 [Time] Int;
    Month "month" 1 1 [Time] Int;
    Day "dayofmonth" 1 1 [Time] Int;
    DayOfWeek "dayofweek" 1 1 [Time] Int;
    DayOfYear "dayofyear" 1 1 [Time] Int;
    WeekDay "weekday" 1 1 [Time] Int;
    Week "week" 1 2 [Time Int] Int;
    YearWeek "yearweek" 1 2 [Time Int] Int;
    WeekOfYear "weekofyear" 1 1 [Time] Int;
    Hour "hour" 1 1 [Span] Int;
    Minute "minute" 1 1 [Span] Int;
    Second "second" 1 1 [Span] Int;
    MicroSecond "microsecond" 1 1 [Span] Int;
    DayName "dayname" 1 1 [Time] Ascii;
    MonthName "monthname" 1 1 [Time] Ascii;
    LastDay "last_day" 1 1 [Time] Date;
    Date "date" 1 1 [Time] Date;
    Time "time" 1 1 [Span] Span;
    Timestamp "timestamp" 1 2 [Time Span] DateTime;
    DateDiff "datediff" 2 2 [Time] Int;
    DateFormat "date_format" 2 2 [Time Str] Ascii;
    TimeFormat "time_format" 2 2 [Span Str] Ascii;
    StrToDate "str_to_date" 2 2 [Str Str] Special;
    UnixTimestamp "unix_timestamp" 0 1 [Time] Special;
    FromUnixTime "from_unixtime" 1 2 [Num Str] Special;
    Now "now" 0 1 [Int] Special;
    SysDate "sysdate" 0 1 [Int] Special;
    CurDate "curdate" 0 0 [] Date;
    CurTime "curtime" 0 1 [Int] Special;
    UtcTimestamp "utc_timestamp" 0 1 [Int] Special;
    UtcDate "utc_date" 0 0 [] Date;
    UtcTime "utc_time" 0 1 [Int] Special;
    ToDays "to_days" 1 1 [Time] Int;
    ToSeconds "to_seconds" 1 1 [Time] Int;
    FromDays "from_days" 1 1 [Int] Date;
    MakeDate "makedate" 2 2 [Int] Date;
    MakeTime "maketime" 3 3 [Int Int Num] Special;
    SecToTime "sec_to_time" 1 1 [Num] Special;
    TimeToSec "time_to_sec" 1 1 [Span] Int;
    AddTime "addtime" 2 2 [Any Span] Special;
    SubTime "subtime" 2 2 [Any Span] Special;
    TimeDiff "timediff" 2 2 [Any] Special;
    PeriodAdd "period_add" 2 2 [Int] Int;
    PeriodDiff "period_diff" 2 2 [Int] Int;
    ConvertTz "convert_tz" 3 3 [Time Str] DateTime;
    // session
    Database "database" 0 0 [] Ascii;
    User "user" 0 0 [] Ascii;
    CurrentUser "current_user" 0 0 [] Ascii;
    Version "version" 0 0 [] Ascii;
    ConnectionId "connection_id" 0 0 [] UInt;
    LastInsertId "last_insert_id" 0 1 [Int] UInt;
    FoundRows "found_rows" 0 0 [] UInt;
    RowCount "row_count" 0 0 [] Int;
    Charset "charset" 1 1 [Any] Ascii;
    Collation "collation" 1 1 [Any] Ascii;
    // others
    AnyValue "any_value" 1 1 [Any] First;
    Sleep "sleep" 1 1 [Real] Int;
    Interval "interval" 2 1000000 [Real] Int;
    JsonExtract "json_extract" 2 1000000 [Any Str] Json;
    JsonUnquote "json_unquote" 1 1 [Any] Ascii;
    JsonType "json_type" 1 1 [Any] Ascii;
    JsonValid "json_valid" 1 1 [Any] Int;
    JsonArray "json_array" 0 1000000 [Any] Json;
    JsonObject "json_object" 0 1000000 [Any] Json;
    JsonLength "json_length" 1 1 [Any] Int;
    JsonKeys "json_keys" 1 2 [Any Str] Json;
}

impl ScalarFn {
    /// Whether two evaluations on the same row can differ.
    pub fn is_volatile(self) -> bool {
        use ScalarFn::*;
        matches!(self, Rand | Uuid | RandomBytes | LastInsertId | SysDate | Sleep)
    }

    /// Whether NULL arguments reach the function; for all others a NULL argument makes the result NULL.
    pub fn sees_nulls(self) -> bool {
        use ScalarFn::*;
        matches!(
            self,
            ConcatWs
                | Char
                | Elt
                | Field
                | Quote
                | Interval
                | LastInsertId
                | Charset
                | Collation
                | AnyValue
                | JsonArray
                | JsonObject
                | Rand
                | Sleep
                | Format
        )
    }
}

/// The name by which the function table knows a synonym.
pub fn canonical(name: &str) -> &str {
    match name {
        "ceiling" => "ceil",
        "power" => "pow",
        "mid" | "substr" => "substring",
        "octet_length" => "length",
        "character_length" => "char_length",
        "ucase" => "upper",
        "lcase" => "lower",
        "position" => "locate",
        "sha" => "sha1",
        "day" => "dayofmonth",
        "current_timestamp" | "localtime" | "localtimestamp" => "now",
        "current_date" => "curdate",
        "current_time" => "curtime",
        "schema" => "database",
        "session_user" | "system_user" => "user",
        name => name,
    }
}
