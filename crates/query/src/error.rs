//! What goes wrong when an expression is built or evaluated, and MySQL's numbers for it.

use codec::types::FieldType;

/// Result of building or evaluating.
pub type Result<T> = std::result::Result<T, EvalError>;

/// Why an expression has no value. Texts are MySQL's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// An arithmetic result outside its type.
    #[error("{ty} value is out of range in '{expr}'")]
    OutOfRange {
        /// BIGINT, BIGINT UNSIGNED, DOUBLE, DECIMAL.
        ty: String,
        /// The expression, as far as known.
        expr: String,
    },
    /// A value outside its column's type.
    #[error("Out of range value for column '{column}' at row {row}")]
    ColumnOutOfRange {
        /// The column.
        column: String,
        /// From one; 0 when not known.
        row: u64,
    },
    /// A string longer than its column.
    #[error("Data too long for column '{column}' at row {row}")]
    DataTooLong {
        /// The column.
        column: String,
        /// From one; 0 when not known.
        row: u64,
    },
    /// An enum or set value that is no member, a number that does not parse in full.
    #[error("Data truncated for column '{column}' at row {row}")]
    DataTruncated {
        /// The column.
        column: String,
        /// From one; 0 when not known.
        row: u64,
    },
    /// A TIMESTAMP that the zone's clocks skipped.
    #[error("Invalid TIMESTAMP value in column '{column}' at row {row}")]
    InvalidTimestamp {
        /// The column.
        column: String,
        /// From one; 0 when not known.
        row: u64,
    },
    /// NULL for a NOT NULL column.
    #[error("Column '{column}' cannot be null")]
    ColumnNull {
        /// The column.
        column: String,
    },
    /// A value that cannot be read as its column's type.
    #[error("Incorrect {ty} value: '{value}' for column '{column}' at row {row}")]
    IncorrectColumnValue {
        /// integer, decimal, datetime, …
        ty: String,
        /// The value.
        value: String,
        /// The column.
        column: String,
        /// From one; 0 when not known.
        row: u64,
    },
    /// A value that cannot be read in full.
    #[error("Truncated incorrect {ty} value: '{value}'")]
    TruncatedWrongValue {
        /// INTEGER, DOUBLE, DECIMAL, …
        ty: String,
        /// The value.
        value: String,
    },
    /// A date or time that does not exist.
    #[error("Incorrect {ty} value: '{value}'")]
    WrongValue {
        /// DATE, datetime, time.
        ty: String,
        /// The value.
        value: String,
    },
    /// Division by zero where the SQL mode makes it an error.
    #[error("Division by 0")]
    DivisionByZero,
    /// Two strings of different collations with equal claims.
    #[error("Illegal mix of collations ({a},IMPLICIT) and ({b},IMPLICIT) for operation '{operation}'")]
    CollationMix {
        /// One side.
        a: String,
        /// The other.
        b: String,
        /// The operator or function.
        operation: String,
    },
    /// No such function.
    #[error("FUNCTION {0} does not exist")]
    NoSuchFunction(String),
    /// A function with another number of arguments.
    #[error("Incorrect parameter count in the call to native function '{0}'")]
    WrongParamCount(String),
    /// An argument that the function cannot take.
    #[error("Incorrect arguments to {0}")]
    WrongArguments(String),
    /// A value that the function cannot take.
    #[error("Incorrect {ty} value: '{value}' for function {function}")]
    WrongValueForFunction {
        /// string, count.
        ty: String,
        /// The value.
        value: String,
        /// The function.
        function: String,
    },
    /// A row where a value is expected, or rows of other sizes.
    #[error("Operand should contain {0} column(s)")]
    Operand(usize),
    /// A pattern that is not a regular expression.
    #[error("Got error '{0}' from regexp")]
    Regexp(String),
    /// A result over `max_allowed_packet`.
    #[error("Result of {0}() was larger than max_allowed_packet ({1}) - truncated")]
    TooLarge(String, u64),
    /// MySQL has it, we do not.
    #[error("This version of Meridian doesn't yet support '{0}'")]
    Unsupported(String),
    /// A JSON text that is none.
    #[error("Invalid JSON text: {0}")]
    InvalidJson(String),
    /// An object's member without a name.
    #[error("JSON documents may not contain NULL member names.")]
    JsonNullName,
    /// A JSON path that is none, and where.
    #[error("Invalid JSON path expression. The error is around character position {0}.")]
    InvalidJsonPath(usize),
    /// A path with `*` where it must lead to one place.
    #[error("In this situation, path expressions may not contain the * and ** tokens or an array range.")]
    JsonPathWildcard,
    /// A document that is neither JSON nor text.
    #[error(
        "Invalid data type for JSON data in argument {argument} to function {function}; a JSON string or JSON type is required."
    )]
    JsonDataType {
        /// Which argument, from one.
        argument: usize,
        /// Of which function.
        function: String,
    },
    /// A document that is no object.
    #[error("Invalid JSON type in argument {argument} to function {function}; an object is required.")]
    JsonNoObject {
        /// Which argument, from one.
        argument: usize,
        /// Of which function.
        function: String,
    },
    /// A position or an occurrence that a text has not.
    #[error("Index out of bounds in regular expression search.")]
    RegexpIndex,
    /// Neither `'one'` nor `'all'`.
    #[error("The oneOrAll argument to {0} may take these values: 'one' or 'all'.")]
    JsonOneOrAll(String),
    /// The whole document where a part of it is wanted.
    #[error("The path expression '$' is not allowed in this context.")]
    JsonPathRoot,
    /// A path that does not end at a place in an array.
    #[error("A path expression is not a path to a cell in an array.")]
    JsonPathNoCell,
    /// A value of another kind than the column or function holds: our bug, or another system's bytes.
    #[error("expected a value of {expected}, found {found}")]
    Mismatch {
        /// What was needed.
        expected: String,
        /// What was there.
        found: String,
    },
    /// Bytes that do not decode, values that do not encode.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// A kernel refused its input: our bug.
    #[error("arrow: {0}")]
    Arrow(String),
    /// The values of one column of a batch are too many bytes.
    #[error("Memory capacity of {0} bytes for 'a column of one batch' exceeded.")]
    MemoryCapacity(usize),
    /// A name that no user-level lock can have.
    #[error("Incorrect user-level lock name '{0}'.")]
    UserLockName(String),
    /// Sessions wait for each other's user-level locks.
    #[error(
        "Deadlock found when trying to get user-level lock; try rolling back transaction/releasing locks and restarting lock acquisition."
    )]
    UserLockDeadlock,
    /// Something failed that a function asked for outside of evaluation.
    #[error("{message}")]
    Outside {
        /// MySQL's number.
        code: u16,
        /// The text.
        message: String,
    },
    /// A parameter that was given no value: a plan was run as if it had none.
    #[error("parameter {0} has no value")]
    NoValue(usize),
    /// Memory or time budget used up, or the statement was killed.
    #[error("Query execution was interrupted")]
    Interrupted,
}

impl EvalError {
    /// MySQL's error number.
    pub fn code(&self) -> u16 {
        use EvalError::*;
        match self {
            OutOfRange { .. } => 1690,
            ColumnOutOfRange { .. } => 1264,
            DataTooLong { .. } => 1406,
            DataTruncated { .. } => 1265,
            InvalidTimestamp { .. } => 1299,
            ColumnNull { .. } => 1048,
            IncorrectColumnValue { ty, .. } => match ty.as_str() {
                "date" | "datetime" | "time" | "timestamp" => 1292,
                _ => 1366,
            },
            TruncatedWrongValue { .. } | WrongValue { .. } => 1292,
            DivisionByZero => 1365,
            CollationMix { .. } => 1267,
            NoSuchFunction(_) => 1305,
            WrongParamCount(_) => 1582,
            WrongArguments(_) => 1210,
            WrongValueForFunction { .. } => 1411,
            Operand(_) => 1241,
            Regexp(_) => 1139,
            TooLarge(..) => 1301,
            Unsupported(_) => 1235,
            InvalidJson(_) => 3140,
            InvalidJsonPath(_) => 3143,
            JsonDataType { .. } => 3146,
            JsonPathWildcard => 3149,
            JsonPathRoot => 3153,
            JsonOneOrAll(_) => 3154,
            JsonPathNoCell => 3165,
            RegexpIndex => 3686,
            JsonNoObject { .. } => 3853,
            JsonNullName => 3158,
            MemoryCapacity(_) => 3170,
            UserLockName(_) => 3057,
            UserLockDeadlock => 3058,
            Outside { code, .. } => *code,
            Interrupted => 1317,
            Mismatch { .. } | Codec(_) | Arrow(_) | NoValue(_) => 1105,
        }
    }

    /// The SQLSTATE that goes with [`EvalError::code`].
    pub fn sqlstate(&self) -> &'static str {
        sqlstate_of(self.code())
    }

    pub(crate) fn mismatch(expected: &FieldType, found: impl std::fmt::Debug) -> EvalError {
        EvalError::Mismatch { expected: expected.declaration(), found: format!("{found:?}") }
    }
}

/// The SQLSTATE that goes with the number of an [`EvalError`].
pub fn sqlstate_of(code: u16) -> &'static str {
    match code {
        1690 | 1264 => "22003",
        1406 => "22001",
        1265 => "01000",
        1048 => "23000",
        1292 => "22007",
        1365 => "22012",
        1305 | 1582 | 3057 | 3143 | 3149 | 3153 | 3154 | 3165 => "42000",
        1241 => "21000",
        1139 | 1235 => "42000",
        1317 => "70100",
        3140 | 3146 | 3158 | 3853 => "22032",
        _ => "HY000",
    }
}

impl From<arrow_schema::ArrowError> for EvalError {
    fn from(e: arrow_schema::ArrowError) -> Self {
        EvalError::Arrow(e.to_string())
    }
}

/// Something that MySQL tells with SHOW WARNINGS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// MySQL's error number.
    pub code: u16,
    /// MySQL's text.
    pub message: String,
}

impl From<&EvalError> for Warning {
    fn from(e: &EvalError) -> Self {
        Warning { code: e.code(), message: e.to_string() }
    }
}
