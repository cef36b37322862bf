//! `LIKE 'pattern'` and `WHERE condition` of `SHOW`.
//!
//! The condition runs over the rows that the statement gives, all of which are in memory; columns compare as text
//! without regard to case, or as numbers against a number. It is the small language that tools use, not the whole
//! expression grammar: anything else is refused by name.

use codec::datum::Datum;
use query::value::to_text;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_parser::ShowFilter;
use sql_parser::ast::{BinaryOp, Expr, IsTest, Literal, UnaryOp};

/// Keeps the rows that pass.
pub async fn apply(result: ResultSet, filter: Option<&ShowFilter>, like_column: usize) -> Result<ResultSet, SqlError> {
    let Some(filter) = filter else { return Ok(result) };
    let columns = result.columns;
    let rows = match result.rows {
        Rows::Datums(rows) => rows,
        Rows::Batches(stream) => sql_base::outcome::collect(stream).await?,
    };
    let mut kept = Vec::new();
    for row in rows {
        let keep = match filter {
            ShowFilter::Like(pattern) => {
                let text = row
                    .get(like_column)
                    .zip(columns.get(like_column))
                    .map(|(v, c)| to_text(v, &c.ty).unwrap_or_default());
                text.is_some_and(|t| like(&String::from_utf8_lossy(&t), pattern))
            }
            ShowFilter::Where(expr) => truth(&value(expr, &columns, &row)?),
        };
        if keep {
            kept.push(row);
        }
    }
    Ok(ResultSet { columns, rows: Rows::Datums(kept) })
}

/// `LIKE` without regard to case, with `\` as the escape.
pub fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    // Positions to go back to: after the last `%`, and where it began to match.
    let (mut t, mut p, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some('_') => {
                (t, p) = (t + 1, p + 1);
                continue;
            }
            Some('\\') if pattern.get(p + 1) == text.get(t) => {
                (t, p) = (t + 1, p + 2);
                continue;
            }
            Some(c) if *c == text[t] => {
                (t, p) = (t + 1, p + 1);
                continue;
            }
            _ => {}
        }
        match star {
            Some((after, from)) => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == '%')
}

/// A value of the small language.
#[derive(Debug, Clone, PartialEq)]
enum V {
    Null,
    Text(String),
    Number(f64),
    Bool(bool),
}

fn truth(v: &V) -> bool {
    match v {
        V::Null => false,
        V::Bool(b) => *b,
        V::Number(n) => *n != 0.0,
        V::Text(t) => t.parse::<f64>().is_ok_and(|n| n != 0.0),
    }
}

fn value(expr: &Expr, columns: &[ColumnMeta], row: &[Datum]) -> Result<V, SqlError> {
    let eval = |e: &Expr| value(e, columns, row);
    let boolean = |b: Option<bool>, negated: bool| b.map_or(V::Null, |b| V::Bool(b != negated));
    Ok(match expr {
        Expr::Nested(inner) => eval(inner)?,
        Expr::Column(name) => column(name.last(), columns, row)?,
        Expr::Literal(literal) => match literal {
            Literal::Text(s) => V::Text(s.clone()),
            Literal::Number(n) => V::Number(n.parse().unwrap_or(0.0)),
            Literal::Boolean(b) => V::Bool(*b),
            Literal::Null => V::Null,
            other => return refuse(&other.to_string()),
        },
        Expr::Unary { op: UnaryOp::Not | UnaryOp::Bang, expr } => match eval(expr)? {
            V::Null => V::Null,
            v => V::Bool(!truth(&v)),
        },
        Expr::Unary { op: UnaryOp::Minus, expr } => match eval(expr)? {
            V::Number(n) => V::Number(-n),
            _ => return refuse("-"),
        },
        Expr::Is { expr, test: IsTest::Null, negated } => V::Bool((eval(expr)? == V::Null) != *negated),
        Expr::Like { negated, expr, pattern, .. } => match (eval(expr)?, eval(pattern)?) {
            (V::Null, _) | (_, V::Null) => V::Null,
            (a, b) => V::Bool(like(&text(&a), &text(&b)) != *negated),
        },
        Expr::InList { expr, list, negated } => {
            let v = eval(expr)?;
            let mut found = Some(false);
            for item in list {
                match compare(&v, &eval(item)?) {
                    Some(std::cmp::Ordering::Equal) => found = Some(true),
                    None if found != Some(true) => found = None,
                    _ => {}
                }
            }
            boolean(found, *negated)
        }
        Expr::Between { expr, negated, low, high } => {
            let v = eval(expr)?;
            let inside = compare(&v, &eval(low)?).zip(compare(&v, &eval(high)?)).map(|(l, h)| l.is_ge() && h.is_le());
            boolean(inside, *negated)
        }
        Expr::Binary { left, op, right } => {
            let (a, b) = (eval(left)?, eval(right)?);
            let order = compare(&a, &b);
            let by = |f: fn(std::cmp::Ordering) -> bool| boolean(order.map(f), false);
            match op {
                BinaryOp::And => V::Bool(truth(&a) && truth(&b)),
                BinaryOp::Or => V::Bool(truth(&a) || truth(&b)),
                BinaryOp::Eq => by(std::cmp::Ordering::is_eq),
                BinaryOp::Ne => by(std::cmp::Ordering::is_ne),
                BinaryOp::Lt => by(std::cmp::Ordering::is_lt),
                BinaryOp::Le => by(std::cmp::Ordering::is_le),
                BinaryOp::Gt => by(std::cmp::Ordering::is_gt),
                BinaryOp::Ge => by(std::cmp::Ordering::is_ge),
                BinaryOp::NullEq => V::Bool(match order {
                    Some(o) => o.is_eq(),
                    None => a == b,
                }),
                other => return refuse(&other.to_string()),
            }
        }
        other => return refuse(&other.to_string()),
    })
}

fn refuse<T>(what: &str) -> Result<T, SqlError> {
    Err(SqlError::NotSupported(format!("{what} in SHOW … WHERE")))
}

fn column(name: &str, columns: &[ColumnMeta], row: &[Datum]) -> Result<V, SqlError> {
    let at = columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
    let unknown = || SqlError::UnknownColumn { column: name.into(), clause: "where clause".into() };
    let at = at.ok_or_else(unknown)?;
    Ok(match &row[at] {
        Datum::Null => V::Null,
        Datum::Int(n) => V::Number(*n as f64),
        Datum::UInt(n) => V::Number(*n as f64),
        Datum::Float(n) => V::Number(*n),
        other => V::Text(String::from_utf8_lossy(&to_text(other, &columns[at].ty).unwrap_or_default()).into_owned()),
    })
}

fn text(v: &V) -> String {
    match v {
        V::Null => String::new(),
        V::Text(t) => t.clone(),
        V::Number(n) => n.to_string(),
        V::Bool(b) => u8::from(*b).to_string(),
    }
}

fn compare(a: &V, b: &V) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (V::Null, _) | (_, V::Null) => None,
        (V::Text(a), V::Text(b)) => Some(a.to_lowercase().cmp(&b.to_lowercase())),
        (a, b) => number(a).partial_cmp(&number(b)),
    }
}

fn number(v: &V) -> f64 {
    match v {
        V::Number(n) => *n,
        V::Bool(b) => f64::from(u8::from(*b)),
        V::Text(t) => t.trim().parse().unwrap_or(0.0),
        V::Null => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use codec::types::FieldType;

    use super::*;

    #[test]
    fn patterns() {
        for (text, pattern, expected) in [
            ("max_connections", "max%", true),
            ("max_connections", "MAX\\_conn%", true),
            ("maxxconnections", "max\\_conn%", false),
            ("abc", "a_c", true),
            ("abc", "%b%", true),
            ("abc", "b%", false),
            ("", "%", true),
            ("", "_", false),
            ("aXbXc", "%X%X_", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn conditions() {
        let columns =
            vec![ColumnMeta::computed("Name", FieldType::varchar(10)), ColumnMeta::computed("N", FieldType::bigint())];
        let row = vec![Datum::string("Alpha"), Datum::Int(5)];
        for (condition, expected) in [
            ("name = 'ALPHA'", true),
            ("`Name` LIKE 'a%' AND n > 4", true),
            ("n IN (1, 5)", true),
            ("n NOT IN (1, 5) OR name <> 'alpha'", false),
            ("NOT (n BETWEEN 1 AND 3)", true),
            ("name IS NULL", false),
            ("name = NULL", false),
        ] {
            let expr = sql_parser::parse_expr(condition).unwrap();
            assert_eq!(truth(&value(&expr, &columns, &row).unwrap()), expected, "{condition}");
        }
        let expr = sql_parser::parse_expr("nope = 1").unwrap();
        assert_eq!(value(&expr, &columns, &row).unwrap_err().code().0, 1054);
    }
}
