//! Expressions whose types are settled.
//!
//! ```text
//!   balance * 1.1 > 10        becomes        Compare(Gt, Decimal)
//!                                            ├─ Arith(Mul, Decimal)  DECIMAL(14,3)
//!                                            │  ├─ column 2          DECIMAL(12,2)
//!                                            │  └─ 1.1               DECIMAL(2,1)
//!                                            └─ Cast                 DECIMAL(2,0)
//!                                               └─ 10                BIGINT
//! ```
//!
//! [`crate::infer`] builds such trees from names and arguments: it chooses the [`EvalType`] in which an operator works, adds
//! casts, and settles the result type. [`crate::eval`] then has nothing to decide, and [`crate::pb`] has one signature for
//! each (function, domain).

pub mod function;
mod operator;
mod param;
mod print;

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode};

use crate::types::{bool_type, literal_type};

pub use function::{Function, ScalarFn};
pub use operator::{ArithOp, BitOp, CmpOp, Func};
pub use param::{Param, Sample, begins_with_text};
pub use print::{Named, Sql};

/// An expression over the columns of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A value.
    Const {
        /// The value, of the kind that `ty` says, or NULL.
        value: Datum,
        /// Its type.
        ty: FieldType,
    },
    /// A column of the input.
    Column {
        /// Position in the input batch.
        index: usize,
        /// Its type.
        ty: FieldType,
        /// What messages call it.
        name: ColumnName,
    },
    /// A value that is known when the expression is run.
    Param(Box<Param>),
    /// A function of other expressions.
    Call(Box<Call>),
}

/// What messages call a column: `` `db`.`table`.`column` ``. It is no part of what the expression computes: expressions that
/// differ in it alone are equal.
#[derive(Clone, Debug, Default)]
pub struct ColumnName(pub Option<Arc<str>>);

impl PartialEq for ColumnName {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is computed.
    pub func: Func,
    /// From what.
    pub args: Vec<Expr>,
    /// Type of the result.
    pub ty: FieldType,
}

impl Call {
    /// Whether it asks for the moment or the session, arguments aside: NOW(), DATABASE(), a time of day that becomes a
    /// time of today.
    fn asks_statement(&self) -> bool {
        match self.func {
            Func::Scalar(f) => f.of_statement || f.takes_times() && self.args.iter().any(is_time_of_day),
            Func::Cast => self.ty.tp.is_time() && self.args.iter().any(is_time_of_day),
            _ => false,
        }
    }
}

fn is_time_of_day(e: &Expr) -> bool {
    matches!(e.ty().tp, TypeCode::Duration | TypeCode::Json)
}

impl Expr {
    /// A value with the type that a literal of it has.
    pub fn constant(value: impl Into<Datum>) -> Expr {
        let value = value.into();
        let ty = literal_type(&value);
        Expr::Const { value, ty }
    }

    /// NULL.
    pub fn null() -> Expr {
        Expr::Const { value: Datum::Null, ty: FieldType::new(TypeCode::Null) }
    }

    /// TRUE or FALSE.
    pub fn bool(value: bool) -> Expr {
        Expr::Const { value: Datum::Int(value.into()), ty: bool_type() }
    }

    /// A column of the input.
    pub fn column(index: usize, ty: FieldType) -> Expr {
        Expr::Column { index, ty, name: ColumnName::default() }
    }

    /// The same column with a name.
    pub fn with_name(self, name: Option<Arc<str>>) -> Expr {
        match self {
            Expr::Column { index, ty, .. } => Expr::Column { index, ty, name: ColumnName(name) },
            other => other,
        }
    }

    /// A call whose arguments and type are settled already.
    pub fn call(func: Func, args: Vec<Expr>, ty: FieldType) -> Expr {
        Expr::Call(Box::new(Call { func, args, ty }))
    }

    /// The type of its values.
    pub fn ty(&self) -> &FieldType {
        match self {
            Expr::Const { ty, .. } | Expr::Column { ty, .. } => ty,
            Expr::Param(param) => &param.ty,
            Expr::Call(call) => &call.ty,
        }
    }

    /// The value of a constant, or of a parameter that has one while planning ([`Param::look`]): what is made of it holds
    /// for this value only. What need not know the value asks for [`Expr::is_constant`] or the type.
    pub fn as_const(&self) -> Option<&Datum> {
        match self {
            Expr::Const { value, .. } => Some(value),
            Expr::Param(param) => param.look(),
            _ => None,
        }
    }

    /// Whether it is the constant NULL.
    pub fn is_null_const(&self) -> bool {
        matches!(self, Expr::Const { value: Datum::Null, .. })
    }

    /// Whether both compute the same, though one may keep more digits of a quotient (see [`crate::infer::exact`]).
    pub fn computes_same(&self, other: &Expr) -> bool {
        match (self, other) {
            (Expr::Call(a), Expr::Call(b)) => {
                a.func == b.func
                    && a.ty.tp == b.ty.tp
                    && (a.ty == b.ty || a.ty.tp == TypeCode::NewDecimal && a.func != Func::Cast)
                    && a.args.len() == b.args.len()
                    && a.args.iter().zip(&b.args).all(|(a, b)| a.computes_same(b))
            }
            (a, b) => a == b,
        }
    }

    /// Direct arguments.
    pub fn args(&self) -> &[Expr] {
        match self {
            Expr::Call(call) => &call.args,
            _ => &[],
        }
    }

    /// Calls `f` on this and everything below.
    pub fn walk(&self, f: &mut impl FnMut(&Expr)) {
        f(self);
        self.args().iter().for_each(|a| a.walk(f));
    }

    /// Positions of all columns in it, in order of appearance, repeated as they repeat.
    pub fn columns(&self) -> Vec<usize> {
        let mut out = Vec::new();
        self.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                out.push(*index);
            }
        });
        out
    }

    /// The same with each column position replaced; `None` when `f` refuses one.
    pub fn map_columns(&self, f: &impl Fn(usize) -> Option<usize>) -> Option<Expr> {
        Some(match self {
            Expr::Const { .. } | Expr::Param(_) => self.clone(),
            Expr::Column { index, ty, name } => Expr::Column { index: f(*index)?, ty: ty.clone(), name: name.clone() },
            Expr::Call(call) => Expr::Call(Box::new(Call {
                func: call.func,
                args: call.args.iter().map(|a| a.map_columns(f)).collect::<Option<_>>()?,
                ty: call.ty.clone(),
            })),
        })
    }

    /// The same with each column replaced by an expression (for projections that are merged).
    pub fn substitute(&self, f: &impl Fn(usize) -> Expr) -> Expr {
        match self {
            Expr::Const { .. } | Expr::Param(_) => self.clone(),
            Expr::Column { index, .. } => f(*index),
            Expr::Call(call) => Expr::Call(Box::new(Call {
                func: call.func,
                args: call.args.iter().map(|a| a.substitute(f)).collect(),
                ty: call.ty.clone(),
            })),
        }
    }

    /// Whether its value can differ between two evaluations on the same row (RAND, UUID, SLEEP, …).
    pub fn is_volatile(&self) -> bool {
        let mut volatile = false;
        self.walk(&mut |e| {
            if let Expr::Call(call) = e
                && let Func::Scalar(f) = call.func
            {
                volatile |= f.volatile;
            }
        });
        volatile
    }

    /// Whether its value is the statement's: it has parameters, or asks for the moment or the session. It must not be
    /// computed before the statement runs.
    pub fn is_of_run(&self) -> bool {
        let mut found = false;
        self.walk(&mut |e| match e {
            Expr::Param(_) => found = true,
            Expr::Call(call) => found |= call.asks_statement(),
            _ => {}
        });
        found
    }

    /// The same with parameters replaced by what `f` gives for them.
    pub fn with_params<E>(&self, f: &mut impl FnMut(&Param) -> Result<Expr, E>) -> Result<Expr, E> {
        Ok(match self {
            Expr::Const { .. } | Expr::Column { .. } => self.clone(),
            Expr::Param(param) => f(param)?,
            Expr::Call(call) => Expr::Call(Box::new(Call {
                func: call.func,
                args: call.args.iter().map(|a| a.with_params(f)).collect::<Result<_, E>>()?,
                ty: call.ty.clone(),
            })),
        })
    }

    /// Whether it needs no row: no columns, not volatile. Its value may still be the statement's ([`Expr::is_of_run`]).
    pub fn is_constant(&self) -> bool {
        self.columns().is_empty() && !self.is_volatile()
    }

    /// The parts of a conjunction.
    pub fn split_and(self, out: &mut Vec<Expr>) {
        match self {
            Expr::Call(call) if call.func == Func::And => call.args.into_iter().for_each(|a| a.split_and(out)),
            e => out.push(e),
        }
    }

    /// The conjunction of these; TRUE when there are none.
    pub fn conjunction(parts: impl IntoIterator<Item = Expr>) -> Expr {
        parts
            .into_iter()
            .reduce(|a, b| Expr::call(Func::And, vec![a, b], bool_type()))
            .unwrap_or_else(|| Expr::bool(true))
    }
}
