//! A function of SQL as a row: everything there is to know about it in one place.
//!
//! ```text
//!   of("left", (2, 2), &[Arg::Str, Arg::Int], PART, |call, values, ctx| …).pb(&[(Sig::LeftUtf8, When::Text), …])
//!      │       │        │                     │     │                           └ tipb's name for it, and when
//!      │       │        │                     │     └ the kernel: the value for one row
//!      │       │        │                     └ the type of the result: text no longer than the first argument
//!      │       │        └ what the arguments are cast to; the last one repeats
//!      │       └ fewest and most arguments
//!      └ the name that messages and EXPLAIN show
//! ```
//!
//! Instead of a kernel a row can have an expression of others, syntax of its own, the rows of a group, or a reason why it is
//! refused ([`Body`]).
//!
//! The rows are in `crate::functions`; [`super::Func::Scalar`] points at one, so that nothing below has to look it up.

use arrow_array::ArrayRef;
use codec::datum::Datum;
use codec::types::FieldType;
use proto::tipb::ScalarFuncSig as Sig;

use super::{Call, Expr};
use crate::context::EvalContext;
use crate::error::Result;
use crate::types::EvalType;

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
    /// The same, and a quotient keeps all digits that are computed of it.
    ExactNum,
    /// A DATETIME (a DATE stays one).
    Time,
    /// A TIME.
    Span,
}

/// What a function returns.
#[derive(Clone, Copy, Debug)]
pub enum Ret {
    /// BIGINT.
    Int,
    /// BIGINT UNSIGNED.
    UInt,
    /// DOUBLE.
    Real,
    /// Text in the collation of its string arguments, at most as long as this says.
    Text(Length),
    /// Text of digits, names and such, in the connection's collation; at most so many characters, -1 for no bound.
    Ascii(i32),
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
    /// What this computes from the arguments.
    Rule(fn(&[Expr]) -> Result<FieldType>),
}

/// How long the text that a function returns can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// No bound is known.
    Open,
    /// As its first argument.
    First,
    /// As all arguments together.
    Sum,
}

/// The value of a function for one row; arguments have been cast as the row says.
pub type RowKernel = fn(&Call, &[Datum], &mut EvalContext) -> Result<Datum>;

/// The column of a function for the columns of its arguments; `None` means: not here, go row by row.
pub type VectorKernel = fn(&Call, &[ArrayRef], usize) -> Option<ArrayRef>;

/// How a function is computed.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// By a kernel.
    Kernel(Ret, RowKernel, Option<VectorKernel>),
    /// As an expression of others.
    Built(fn(Vec<Expr>) -> Result<Expr>),
    /// It has syntax of its own, for which the binder calls [`crate::infer`].
    Syntax,
    /// Over the rows of a group or of a window.
    Aggregate,
    /// Not at all, and why.
    Refused(&'static str),
}

/// When a signature is the one of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// The first argument is text (or no string at all).
    Text,
    /// The first argument is a binary string.
    Binary,
    /// So many arguments.
    Count(usize),
    /// So many arguments, the first of them text.
    TextCount(usize),
    /// So many arguments, the first of them a binary string.
    BinaryCount(usize),
    /// The first argument is unsigned.
    Unsigned,
    /// The first argument is of this type.
    Of(EvalType),
    /// Both the number of arguments and the type of the first.
    OfCount(EvalType, usize),
    /// It is understood and never sent.
    Received,
}

/// Where a function belongs, in the documentation and in its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Operator,
    Control,
    Math,
    String,
    Time,
    Json,
    Regexp,
    Crypto,
    Info,
    Lock,
    Misc,
    Aggregate,
    Window,
    Spatial,
    Gtid,
    Replication,
    Internal,
}

/// A row.
#[derive(Debug)]
pub struct Function {
    /// The name that messages show, in lower case.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Where it belongs.
    pub group: Group,
    /// Fewest arguments.
    pub min: usize,
    /// Most arguments.
    pub max: usize,
    /// The number of arguments beyond the fewest is a multiple of this.
    pub step: usize,
    /// What the arguments are cast to; the last one repeats.
    pub args: &'static [Arg],
    /// How it is computed.
    pub body: Body,
    /// Whether two evaluations on the same row can differ.
    pub volatile: bool,
    /// Whether its value is the statement's: the moment, the session, what statements before it left.
    pub of_statement: bool,
    /// Whether NULL arguments reach the kernel; of all others a NULL argument makes the result NULL.
    pub sees_nulls: bool,
    /// How strongly its text insists on its collation, where that does not follow from the arguments.
    pub coercibility: Option<u8>,
    /// Whether the digits that were computed of a quotient pass through it.
    pub passes_digits: bool,
    /// Whether storage nodes compute it in some way that `pb` does not tell (operators).
    pub pushed: bool,
    /// Its signatures; the first whose condition holds is sent.
    pub pb: &'static [(Sig, When)],
}

/// No bound on the number of arguments.
pub const MANY: usize = 1_000_000;

impl Function {
    /// A row without arguments and kernel.
    pub(crate) const fn new(group: Group, name: &'static str, body: Body) -> Function {
        Function {
            name,
            aliases: &[],
            group,
            min: 0,
            max: MANY,
            step: 1,
            args: &[],
            body,
            volatile: false,
            of_statement: false,
            sees_nulls: false,
            coercibility: None,
            passes_digits: false,
            pushed: false,
            pb: &[],
        }
    }

    /// A function with a kernel.
    pub(crate) const fn kernel(
        group: Group,
        name: &'static str,
        count: (usize, usize),
        args: &'static [Arg],
        ret: Ret,
        kernel: RowKernel,
    ) -> Function {
        let new = Function::new(group, name, Body::Kernel(ret, kernel, None));
        Function { min: count.0, max: count.1, args, ..new }
    }

    /// A function that becomes an expression of others.
    pub(crate) const fn built(
        group: Group,
        name: &'static str,
        count: (usize, usize),
        build: fn(Vec<Expr>) -> Result<Expr>,
    ) -> Function {
        Function { min: count.0, max: count.1, ..Function::new(group, name, Body::Built(build)) }
    }

    /// A function that does not exist here, and why.
    pub(crate) const fn refused(group: Group, name: &'static str, reason: &'static str) -> Function {
        Function::new(group, name, Body::Refused(reason))
    }

    pub(crate) const fn alias(self, aliases: &'static [&'static str]) -> Function {
        Function { aliases, ..self }
    }

    pub(crate) const fn by(self, step: usize) -> Function {
        Function { step, ..self }
    }

    pub(crate) const fn nulls(self) -> Function {
        Function { sees_nulls: true, ..self }
    }

    pub(crate) const fn volatile(self) -> Function {
        Function { volatile: true, ..self }
    }

    /// See [`Function::of_statement`].
    pub(crate) const fn of_statement(self) -> Function {
        Function { of_statement: true, ..self }
    }

    pub(crate) const fn coercibility(self, strength: u8) -> Function {
        Function { coercibility: Some(strength), ..self }
    }

    pub(crate) const fn digits(self) -> Function {
        Function { passes_digits: true, ..self }
    }

    pub(crate) const fn pushed(self) -> Function {
        Function { pushed: true, ..self }
    }

    pub(crate) const fn pb(self, pb: &'static [(Sig, When)]) -> Function {
        Function { pb, ..self }
    }

    pub(crate) const fn vector(self, vector: VectorKernel) -> Function {
        let body = match self.body {
            Body::Kernel(ret, row, _) => Body::Kernel(ret, row, Some(vector)),
            body => body,
        };
        Function { body, ..self }
    }

    /// Whether it can be called with so many arguments.
    pub fn takes(&self, count: usize) -> bool {
        (self.min..=self.max).contains(&count) && (count - self.min).is_multiple_of(self.step)
    }

    /// Whether it takes dates and times, or what it takes for one.
    pub(crate) fn takes_times(&self) -> bool {
        self.group == Group::Time
    }

    /// Whether calls of it have a value here.
    pub fn is_done(&self) -> bool {
        !matches!(self.body, Body::Refused(_))
    }

    /// The signature of a call with these arguments.
    pub fn signature(&self, args: &[Expr]) -> Option<Sig> {
        let first = args.first().map(Expr::ty);
        let binary = first.is_some_and(FieldType::is_binary_string);
        let holds = |when: When| match when {
            When::Always => true,
            When::Text => !binary,
            When::Binary => binary,
            When::Count(n) => args.len() == n,
            When::TextCount(n) => args.len() == n && !binary,
            When::BinaryCount(n) => args.len() == n && binary,
            When::Unsigned => first.is_some_and(FieldType::is_unsigned),
            When::Of(ty) => first.is_some_and(|t| EvalType::of(t) == ty),
            When::OfCount(ty, n) => args.len() == n && first.is_some_and(|t| EvalType::of(t) == ty),
            When::Received => false,
        };
        self.pb.iter().find(|(_, when)| holds(*when)).map(|(sig, _)| *sig)
    }
}

/// A function that [`super::Func::Scalar`] calls: a row, known by its name.
#[derive(Clone, Copy)]
pub struct ScalarFn(pub &'static Function);

impl std::ops::Deref for ScalarFn {
    type Target = Function;

    fn deref(&self) -> &Function {
        self.0
    }
}

impl PartialEq for ScalarFn {
    fn eq(&self, other: &ScalarFn) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ScalarFn {}

impl std::hash::Hash for ScalarFn {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl std::fmt::Debug for ScalarFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}
