//! What a call computes: comparisons, arithmetic, logic, control flow, functions.

use codec::types::Collation;

use crate::types::EvalType;

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<=>`: NULL equals NULL.
    NullEq,
}

impl CmpOp {
    /// The operator that holds for swapped operands.
    pub fn swap(self) -> CmpOp {
        match self {
            CmpOp::Lt => CmpOp::Gt,
            CmpOp::Le => CmpOp::Ge,
            CmpOp::Gt => CmpOp::Lt,
            CmpOp::Ge => CmpOp::Le,
            op => op,
        }
    }

    /// Whether operands in this order satisfy it.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            CmpOp::Eq | CmpOp::NullEq => order.is_eq(),
            CmpOp::Ne => order.is_ne(),
            CmpOp::Lt => order.is_lt(),
            CmpOp::Le => order.is_le(),
            CmpOp::Gt => order.is_gt(),
            CmpOp::Ge => order.is_ge(),
        }
    }

    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            CmpOp::Eq => "=",
            CmpOp::Ne => "<>",
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
            CmpOp::NullEq => "<=>",
        }
    }
}

/// Arithmetic operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `DIV`
    IntDiv,
    /// `%`
    Mod,
}

impl ArithOp {
    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            ArithOp::Add => "+",
            ArithOp::Sub => "-",
            ArithOp::Mul => "*",
            ArithOp::Div => "/",
            ArithOp::IntDiv => "DIV",
            ArithOp::Mod => "%",
        }
    }
}

/// Bit operators, on 64 unsigned bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BitOp {
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

impl BitOp {
    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            BitOp::And => "&",
            BitOp::Or => "|",
            BitOp::Xor => "^",
            BitOp::ShiftLeft => "<<",
            BitOp::ShiftRight => ">>",
        }
    }
}

/// What a call computes. Operators and control flow carry what evaluation needs; all else is a [`super::ScalarFn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Func {
    /// Two arguments of one domain; strings by this collation.
    Compare(CmpOp, EvalType, Collation),
    /// First argument equals one of the others.
    In(EvalType, Collation),
    /// `a AND b`
    And,
    /// `a OR b`
    Or,
    /// `a XOR b`
    Xor,
    /// `NOT a`
    Not,
    /// `a IS NULL`
    IsNull,
    /// `a IS TRUE`
    IsTrue,
    /// `a IS FALSE`
    IsFalse,
    /// Two numbers.
    Arith(ArithOp, EvalType),
    /// `-a`
    Neg(EvalType),
    /// Two integers.
    Bit(BitOp),
    /// `~a`
    BitNot,
    /// To the type of the call.
    Cast,
    /// To JSON as it is, with text as a JSON string: what JSON is compared with.
    JsonAtom,
    /// `IF(condition, a, b)`
    If,
    /// The first that is not NULL (also IFNULL).
    Coalesce,
    /// Condition, result, condition, result, …, [else].
    Case,
    /// The largest, in this domain.
    Greatest(EvalType, Collation),
    /// The smallest, in this domain.
    Least(EvalType, Collation),
    /// Text, pattern, escape character.
    Like(Collation),
    /// Text, regular expression.
    Regexp(Collation),
    /// A date, a number of units; adds (or subtracts when the flag is set).
    DateAdd(crate::interval::Unit, bool),
    /// `EXTRACT(unit FROM t)`
    Extract(crate::interval::Unit),
    /// `TIMESTAMPDIFF(unit, a, b)`
    TimestampDiff(crate::interval::Unit),
    /// Everything else: a row of the table of functions.
    Scalar(super::ScalarFn),
}

impl Func {
    /// The name in EXPLAIN, as TiDB writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Func::Compare(op, ..) => match op {
                CmpOp::Eq => "eq",
                CmpOp::Ne => "ne",
                CmpOp::Lt => "lt",
                CmpOp::Le => "le",
                CmpOp::Gt => "gt",
                CmpOp::Ge => "ge",
                CmpOp::NullEq => "nulleq",
            },
            Func::In(..) => "in",
            Func::And => "and",
            Func::Or => "or",
            Func::Xor => "xor",
            Func::Not => "not",
            Func::IsNull => "isnull",
            Func::IsTrue => "istrue",
            Func::IsFalse => "isfalse",
            Func::Arith(op, _) => match op {
                ArithOp::Add => "plus",
                ArithOp::Sub => "minus",
                ArithOp::Mul => "mul",
                ArithOp::Div => "div",
                ArithOp::IntDiv => "intdiv",
                ArithOp::Mod => "mod",
            },
            Func::Neg(_) => "unaryminus",
            Func::Bit(op) => match op {
                BitOp::And => "bitand",
                BitOp::Or => "bitor",
                BitOp::Xor => "bitxor",
                BitOp::ShiftLeft => "leftshift",
                BitOp::ShiftRight => "rightshift",
            },
            Func::BitNot => "bitneg",
            Func::Cast => "cast",
            Func::JsonAtom => "json_atom",
            Func::If => "if",
            Func::Coalesce => "coalesce",
            Func::Case => "case",
            Func::Greatest(..) => "greatest",
            Func::Least(..) => "least",
            Func::Like(_) => "like",
            Func::Regexp(_) => "regexp",
            Func::DateAdd(_, false) => "date_add",
            Func::DateAdd(_, true) => "date_sub",
            Func::Extract(_) => "extract",
            Func::TimestampDiff(_) => "timestampdiff",
            Func::Scalar(f) => f.0.name,
        }
    }
}
