//! Expressions as EXPLAIN and messages show them.

use codec::datum::Datum;
use codec::types::TypeCode;

use super::{ColumnName, Expr, Func};

impl std::fmt::Display for Expr {
    /// For EXPLAIN and error messages: `gt(column#2, 10)` as TiDB writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write(f, &|i| format!("column#{i}"))
    }
}

impl Expr {
    fn write(&self, f: &mut std::fmt::Formatter<'_>, names: &dyn Fn(usize) -> String) -> std::fmt::Result {
        match self {
            Expr::Const { value, .. } => match value {
                Datum::Null => f.write_str("NULL"),
                Datum::Bytes(b) => write!(f, "\"{}\"", String::from_utf8_lossy(b)),
                v => f.write_str(&crate::value::display(v)),
            },
            Expr::Column { index, .. } => f.write_str(&names(*index)),
            Expr::Param(param) => f.write_str(&names(param.id)),
            Expr::Call(call) => {
                write!(f, "{}(", call.func.name())?;
                for (i, a) in call.args.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    a.write(f, names)?;
                }
                if call.func == Func::Cast {
                    write!(f, ", {}", call.ty.declaration())?;
                }
                f.write_str(")")
            }
        }
    }
}

/// An expression with column names, for EXPLAIN.
pub struct Named<'a, F: Fn(usize) -> String>(pub &'a Expr, pub F);

impl<F: Fn(usize) -> String> std::fmt::Display for Named<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.write(f, &self.1)
    }
}

/// An expression as MySQL's messages print it: `(a + 1)`. The casts that type rules have put in are not in it.
pub struct Sql<'a>(pub &'a Expr);

impl std::fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let call = match self.0 {
            Expr::Const { value: Datum::Bytes(b), .. } => return write!(f, "'{}'", String::from_utf8_lossy(b)),
            Expr::Column { name: ColumnName(Some(name)), .. } => return f.write_str(name),
            Expr::Call(call) => call,
            other => return write!(f, "{other}"),
        };
        let infix = |f: &mut std::fmt::Formatter<'_>, symbol: &str| {
            write!(f, "({} {symbol} {})", Sql(&call.args[0]), Sql(&call.args[1]))
        };
        match call.func {
            Func::Arith(op, _) => infix(f, op.symbol()),
            Func::Compare(op, ..) => infix(f, op.symbol()),
            Func::Bit(op) => infix(f, op.symbol()),
            Func::And | Func::Or | Func::Xor => infix(f, call.func.name()),
            Func::Neg(_) => write!(f, "-({})", Sql(&call.args[0])),
            Func::BitNot => write!(f, "~({})", Sql(&call.args[0])),
            // No rule casts to this type but for ENUM and SET: the user did.
            Func::Cast if call.ty.tp == TypeCode::LongLong && call.ty.is_unsigned() => {
                write!(f, "cast({} as unsigned)", Sql(&call.args[0]))
            }
            Func::Cast | Func::JsonAtom => Sql(&call.args[0]).fmt(f),
            _ => {
                write!(f, "{}(", call.func.name())?;
                for (i, a) in call.args.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "," } else { "" }, Sql(a))?;
                }
                f.write_str(")")
            }
        }
    }
}
