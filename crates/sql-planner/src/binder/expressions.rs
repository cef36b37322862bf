//! Expressions: operators, functions, aggregates and subqueries.

use codec::types::{Collation, FieldType, flags};
use query::error::EvalError;
use query::expr::{CmpOp, Expr, Sql};
use sql_base::SqlError;
use sqlparser::ast;

use super::super::inputs::Source;
use super::super::plan::{AggCall, Plan, SortKey, Subquery, SubqueryKind, TestRows};
use super::super::{aggregate, expr as build};
use super::{AGGREGATES, Binder, Block, MAX_DEPTH, Visible, is_desc, name_parts, unsupported};

impl Binder<'_> {
    /// An expression used as a condition.
    pub fn bind_condition(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        self.bind_expr(e)
    }

    pub(super) fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr, SqlError> {
        build::call(name, args, self.env.eval())
    }

    fn not(&self, e: Expr, negated: bool) -> Result<Expr, SqlError> {
        if negated { self.call("not", vec![e]) } else { Ok(e) }
    }

    /// Any scalar expression.
    pub fn bind_expr(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        if self.depth >= MAX_DEPTH * 4 {
            return Err(SqlError::StackOverrun);
        }
        self.depth += 1;
        let result = self.bind_expr_inner(e);
        self.depth -= 1;
        result
    }

    fn bind_expr_inner(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        use ast::Expr as E;
        match e {
            E::Nested(inner) => self.bind_expr(inner),
            E::Value(v) => self.bind_literal(&v.value),
            E::Identifier(ident) => {
                if ident.quote_style.is_none() && ident.value.starts_with('@') {
                    let (value, ty) = self.env.variable(&ident.value)?;
                    return Ok(self.input(Source::Variable(ident.value.clone()), value, ty));
                }
                let e = self.resolve(std::slice::from_ref(&ident.value))?;
                self.record_column(ident.span);
                Ok(e)
            }
            E::CompoundIdentifier(idents) => {
                let parts: Vec<String> = idents.iter().map(|p| p.value.clone()).collect();
                let e = self.resolve(&parts)?;
                if let Some(first) = idents.first() {
                    self.record_column(first.span);
                }
                Ok(e)
            }
            E::IsNull(a) => self.unary("isnull", a, false),
            E::IsNotNull(a) => self.unary("isnull", a, true),
            E::IsTrue(a) => self.unary("istrue", a, false),
            E::IsNotTrue(a) => self.unary("istrue", a, true),
            E::IsFalse(a) => self.unary("isfalse", a, false),
            E::IsNotFalse(a) => self.unary("isfalse", a, true),
            E::IsUnknown(a) => self.unary("isnull", a, false),
            E::IsNotUnknown(a) => self.unary("isnull", a, true),
            E::BinaryOp { left, op, right } => self.bind_binary(left, op, right),
            E::UnaryOp { op, expr } => match op {
                ast::UnaryOperator::Plus => self.bind_expr(expr),
                ast::UnaryOperator::Minus => {
                    if let E::Value(v) = &**expr
                        && let ast::Value::Number(n, _) = &v.value
                    {
                        return build::number(&format!("-{n}"));
                    }
                    self.unary("unaryminus", expr, false)
                }
                ast::UnaryOperator::Not | ast::UnaryOperator::BangNot => self.unary("not", expr, false),
                ast::UnaryOperator::BitwiseNot => self.unary("bitneg", expr, false),
                other => unsupported(other.to_string()),
            },
            E::Between { expr, negated, low, high } => {
                let (a, low, high) = (self.bind_expr(expr)?, self.bind_expr(low)?, self.bind_expr(high)?);
                let ge = self.call(">=", vec![a.clone(), low])?;
                let le = self.call("<=", vec![a, high])?;
                let both = self.call("and", vec![ge, le])?;
                self.not(both, *negated)
            }
            E::InList { expr, list, negated } => {
                if row_items(expr).is_some() {
                    let rows = list.iter().map(|row| self.compare_operands(CmpOp::Eq, expr, row));
                    let found = query::infer::any(rows.collect::<Result<_, _>>()?);
                    return self.not(found, *negated);
                }
                if let Some(query) = subquery(expr) {
                    let (plan, columns, correlated) = self.bind_subquery(query)?;
                    if columns.len() > 1 {
                        let rows = list.iter().map(|row| self.compare_with_columns(CmpOp::Eq, &columns, row));
                        let condition = query::infer::any(rows.collect::<Result<_, _>>()?);
                        let found = self.add_test(condition, TestRows::One, plan, correlated);
                        return self.not(found, *negated);
                    }
                    let mut args = vec![self.scalar(plan, &columns, correlated)?];
                    for item in list {
                        args.push(self.bind_expr(item)?);
                    }
                    let found = self.call("in", args)?;
                    return self.not(found, *negated);
                }
                let mut args = vec![self.bind_expr(expr)?];
                for item in list {
                    args.push(self.bind_expr(item)?);
                }
                let found = self.call("in", args)?;
                self.not(found, *negated)
            }
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                let mut args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(self.bind_expr(escape)?);
                }
                let like = self.call("like", args)?;
                self.not(like, *negated)
            }
            E::RLike { negated, expr, pattern, .. } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                let like = self.call("regexp", args)?;
                self.not(like, *negated)
            }
            E::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|o| self.bind_expr(o)).transpose()?;
                let mut args = Vec::new();
                for when in conditions {
                    let condition = self.bind_expr(&when.condition)?;
                    args.push(match &operand {
                        Some(o) => self.call("=", vec![o.clone(), condition])?,
                        None => condition,
                    });
                    args.push(self.bind_expr(&when.result)?);
                }
                if let Some(e) = else_result {
                    args.push(self.bind_expr(e)?);
                }
                self.call("case", args)
            }
            E::Cast { kind: ast::CastKind::Cast, expr, data_type, format: None } => {
                let a = self.bind_expr(expr)?;
                build::cast(a, data_type, self.env.eval())
            }
            E::Convert { is_try: false, expr, data_type: Some(ty), charset: None, styles, .. } if styles.is_empty() => {
                let a = self.bind_expr(expr)?;
                build::cast(a, ty, self.env.eval())
            }
            E::Convert { is_try: false, expr, data_type: None, charset: Some(charset), styles, .. }
                if styles.is_empty() =>
            {
                let a = self.bind_expr(expr)?;
                let name = name_parts(charset)?.pop().unwrap_or_default();
                let collation = Collation::default_of_charset(&name).ok_or(SqlError::UnknownCharacterSet(name))?;
                Ok(build::convert_using(a, collation, self.env.eval()))
            }
            E::Collate { expr, collation } => {
                let name = name_parts(collation)?.pop().unwrap_or_default();
                let collation = Collation::from_name(&name).ok_or(SqlError::UnknownCollation(name))?;
                let a = self.bind_expr(expr)?;
                // A constant would no longer insist on its collation, so this is folded only by what uses it.
                Ok(query::infer::collate(a, collation))
            }
            // The lexer takes the introducers that it knows.
            E::Prefixed { prefix, .. } => {
                Err(SqlError::UnknownCharacterSet(prefix.value.trim_start_matches('_').to_owned()))
            }
            E::TypedString(t) => {
                let text = match &t.value.value {
                    ast::Value::SingleQuotedString(s) | ast::Value::DoubleQuotedString(s) => s.clone(),
                    other => return unsupported(other.to_string()),
                };
                build::typed_literal(&t.data_type, &text)
            }
            E::Extract { field, expr, .. } => {
                let a = self.bind_expr(expr)?;
                build::extract(&field.to_string(), a, self.env.eval())
            }
            E::Position { expr, r#in } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(r#in)?];
                self.call("locate", args)
            }
            E::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![self.bind_expr(expr)?];
                args.push(match substring_from {
                    Some(from) => self.bind_expr(from)?,
                    None => Expr::constant(1_i64),
                });
                if let Some(n) = substring_for {
                    args.push(self.bind_expr(n)?);
                }
                self.call("substring", args)
            }
            E::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let mut args = vec![self.bind_expr(expr)?];
                if let Some(what) = trim_what {
                    args.push(self.bind_expr(what)?);
                }
                match (trim_where, args.len()) {
                    (None | Some(ast::TrimWhereField::Both), _) => self.call("trim", args),
                    (Some(ast::TrimWhereField::Leading), 1) => self.call("ltrim", args),
                    (Some(ast::TrimWhereField::Trailing), 1) => self.call("rtrim", args),
                    (Some(ast::TrimWhereField::Leading), _) => self.call("trim_leading", args),
                    (Some(ast::TrimWhereField::Trailing), _) => self.call("trim_trailing", args),
                }
            }
            E::Ceil { expr, field: WHOLE } => self.unary("ceil", expr, false),
            E::Floor { expr, field: WHOLE } => self.unary("floor", expr, false),
            E::Interval(_) => Err(SqlError::WrongArguments("INTERVAL".into())),
            E::Function(f) => self.bind_function(f),
            E::MemberOf(m) => {
                let args = vec![self.bind_expr(&m.value)?, self.bind_expr(&m.array)?];
                self.call("member of", args)
            }
            E::Subquery(query) => {
                let (plan, columns, correlated) = self.bind_subquery(query)?;
                self.scalar(plan, &columns, correlated)
            }
            E::Exists { subquery, negated } => {
                let (plan, _, correlated) = self.bind_subquery(subquery)?;
                let plan = Plan::Limit { input: Box::new(plan), offset: 0, count: 1 };
                let e = self.add_subquery(SubqueryKind::Exists, plan, query::types::bool_type(), correlated);
                self.not(e, *negated)
            }
            E::InSubquery { expr, subquery, negated } => {
                let found = self.quantified(expr, CmpOp::Eq, subquery, false)?;
                self.not(found, *negated)
            }
            E::AnyOp { left, compare_op, right, .. } => match (compare_op_of(compare_op), &**right) {
                (Some(op), E::Subquery(q)) if op != CmpOp::NullEq => self.quantified(left, op, q, false),
                (_, other) => unsupported(format!("{compare_op} ANY {other}")),
            },
            E::AllOp { left, compare_op, right } => match (compare_op_of(compare_op), &**right) {
                (Some(op), E::Subquery(q)) if op != CmpOp::NullEq => self.quantified(left, op, q, true),
                (_, other) => unsupported(format!("{compare_op} ALL {other}")),
            },
            E::Tuple(items) if items.len() == 1 => self.bind_expr(&items[0]),
            E::Tuple(_) => Err(SqlError::OperandColumns(1)),
            other => unsupported(other.to_string()),
        }
    }

    fn bind_all(&mut self, list: &[&ast::Expr]) -> Result<Vec<Expr>, SqlError> {
        list.iter().map(|e| self.bind_expr(e)).collect()
    }

    /// `left op ANY (subquery)` and, with `all`, `left op ALL (subquery)`. `IN` is `= ANY`.
    fn quantified(&mut self, left: &ast::Expr, op: CmpOp, subquery: &ast::Query, all: bool) -> Result<Expr, SqlError> {
        if let Some(items) = row_items(left) {
            // Rows have no order here, as in MySQL.
            if !matches!((op, all), (CmpOp::Eq, false) | (CmpOp::Ne, true)) {
                return Err(SqlError::OperandColumns(1));
            }
            let probe = self.bind_all(&items)?;
            return self.test_rows(op, probe, subquery, if all { TestRows::All } else { TestRows::Any });
        }
        let probe = match self::subquery(left) {
            Some(query) => {
                let (plan, columns, correlated) = self.bind_subquery(query)?;
                if columns.len() > 1 {
                    if !matches!((op, all), (CmpOp::Eq, false) | (CmpOp::Ne, true)) {
                        return Err(SqlError::OperandColumns(1));
                    }
                    let rows = if all { TestRows::All } else { TestRows::Any };
                    return self.test_rows_of_both(op, (plan, columns, correlated), subquery, rows);
                }
                self.scalar(plan, &columns, correlated)?
            }
            None => self.bind_expr(left)?,
        };
        let (plan, columns, correlated) = self.bind_subquery(subquery)?;
        let [column] = &columns[..] else { return Err(SqlError::OperandColumns(1)) };
        if correlated {
            let condition = build::call(op.symbol(), vec![probe, self.columns.expr(column.id)], self.env.eval())?;
            let rows = if all { TestRows::All } else { TestRows::Any };
            let kind = SubqueryKind::Test { condition, rows };
            return Ok(self.add_subquery(kind, plan, query::types::bool_type(), true));
        }
        // The slot stands for the list until the values are known: the executor puts them in.
        let ty = self.columns.ty(column.id).clone();
        let slot = self.add_subquery(SubqueryKind::List { all }, plan, ty, false);
        match (op, all) {
            (CmpOp::Eq, false) => self.call("in", vec![probe, slot]),
            _ => Ok(query::infer::compare(op, probe, slot)?),
        }
    }

    /// Compares a row with the rows of a subquery.
    fn test_rows(
        &mut self,
        op: CmpOp,
        probe: Vec<Expr>,
        subquery: &ast::Query,
        rows: TestRows,
    ) -> Result<Expr, SqlError> {
        let (plan, columns, correlated) = self.bind_subquery(subquery)?;
        if columns.len() != probe.len() {
            return Err(SqlError::OperandColumns(probe.len()));
        }
        // Once for all rows, if it depends on none.
        let depends = correlated || probe.iter().any(|e| !e.is_constant());
        let columns = columns.iter().map(|c| self.columns.expr(c.id)).collect();
        let condition = query::infer::compare_rows(op, probe, columns)?;
        Ok(self.add_subquery(SubqueryKind::Test { condition, rows }, plan, query::types::bool_type(), depends))
    }

    /// A subquery's plan, columns, and whether it reads columns of the blocks around it.
    fn bind_subquery(&mut self, query: &ast::Query) -> Result<(Plan, Vec<Visible>, bool), SqlError> {
        // A block that collects what the subquery reads from outside, whatever it is made of.
        self.block();
        self.blocks.push(Block::default());
        let clause = self.clause;
        let bound = self.bind_query(query);
        self.clause = clause;
        let frame = self.blocks.pop().unwrap_or_default();
        let bound = bound?;
        Ok((bound.plan, bound.columns, !frame.outer.is_empty()))
    }

    fn add_subquery(&mut self, kind: SubqueryKind, plan: Plan, ty: FieldType, correlated: bool) -> Expr {
        let slot = self.columns.add("", ty);
        let subquery = Subquery { slot, kind, plan };
        if correlated {
            self.block().applies.push(subquery);
        } else {
            self.subqueries.push(subquery);
        }
        self.columns.expr(slot)
    }

    fn unary(&mut self, name: &str, a: &ast::Expr, negated: bool) -> Result<Expr, SqlError> {
        let a = self.bind_expr(a)?;
        let e = self.call(name, vec![a])?;
        self.not(e, negated)
    }

    /// The one value of a subquery.
    fn scalar(&mut self, plan: Plan, columns: &[Visible], correlated: bool) -> Result<Expr, SqlError> {
        let [column] = columns else { return Err(SqlError::OperandColumns(1)) };
        let mut ty = self.columns.ty(column.id).clone();
        ty.flags &= !flags::NOT_NULL;
        Ok(self.add_subquery(SubqueryKind::Scalar, plan, ty, correlated))
    }

    fn add_test(&mut self, condition: Expr, rows: TestRows, plan: Plan, depends: bool) -> Expr {
        self.add_subquery(SubqueryKind::Test { condition, rows }, plan, query::types::bool_type(), depends)
    }

    /// Compares two operands that may be rows, and rows of rows.
    fn compare_operands(&mut self, op: CmpOp, left: &ast::Expr, right: &ast::Expr) -> Result<Expr, SqlError> {
        let (mut l, mut r) = (Vec::new(), Vec::new());
        flatten(left, right, &mut l, &mut r)?;
        let (l, r) = (self.bind_all(&l)?, self.bind_all(&r)?);
        Ok(query::infer::compare_rows(op, l, r)?)
    }

    /// Compares the columns of a subquery with a row.
    fn compare_with_columns(&mut self, op: CmpOp, columns: &[Visible], row: &ast::Expr) -> Result<Expr, SqlError> {
        let row = match row_items(row) {
            Some(row) if row.len() == columns.len() => self.bind_all(&row)?,
            _ => return Err(SqlError::OperandColumns(columns.len())),
        };
        let columns = columns.iter().map(|c| self.columns.expr(c.id)).collect();
        Ok(query::infer::compare_rows(op, columns, row)?)
    }

    /// Compares the one row of a subquery with the rows of another: for each row of the left (there is one), the right is
    /// tested.
    fn test_rows_of_both(
        &mut self,
        op: CmpOp,
        (plan, columns, correlated): (Plan, Vec<Visible>, bool),
        right: &ast::Query,
        rows: TestRows,
    ) -> Result<Expr, SqlError> {
        let (right, right_columns, right_correlated) = self.bind_subquery(right)?;
        if right_columns.len() != columns.len() {
            return Err(SqlError::OperandColumns(columns.len()));
        }
        let exprs = |b: &Self, list: &[Visible]| list.iter().map(|c| b.columns.expr(c.id)).collect();
        let condition = query::infer::compare_rows(op, exprs(self, &columns), exprs(self, &right_columns))?;
        let slot = self.columns.add("", query::types::bool_type());
        let subquery = Subquery { slot, kind: SubqueryKind::Test { condition, rows }, plan: right };
        let plan = Plan::Apply { input: Box::new(plan), subquery: Box::new(subquery) };
        let answer = self.columns.expr(slot);
        Ok(self.add_test(answer, TestRows::One, plan, correlated || right_correlated))
    }

    fn bind_binary(&mut self, left: &ast::Expr, op: &ast::BinaryOperator, right: &ast::Expr) -> Result<Expr, SqlError> {
        use ast::BinaryOperator as B;
        if let Some(op) = compare_op_of(op) {
            match (row_items(left), row_items(right)) {
                (Some(row), None) => {
                    let probe = self.bind_all(&row)?;
                    return match subquery(right) {
                        Some(q) => self.test_rows(op, probe, q, TestRows::One),
                        None => Err(SqlError::OperandColumns(row.len())),
                    };
                }
                (None, Some(row)) => {
                    let probe = self.bind_all(&row)?;
                    return match subquery(left) {
                        Some(q) => self.test_rows(op.swap(), probe, q, TestRows::One),
                        None => Err(SqlError::OperandColumns(1)),
                    };
                }
                (Some(_), Some(_)) => return self.compare_operands(op, left, right),
                (None, None) => {
                    let (l, r) = match (subquery(left), subquery(right)) {
                        (Some(a), Some(b)) => {
                            let (plan, columns, correlated) = self.bind_subquery(a)?;
                            if columns.len() > 1 {
                                return self.test_rows_of_both(op, (plan, columns, correlated), b, TestRows::One);
                            }
                            (self.scalar(plan, &columns, correlated)?, self.bind_expr(right)?)
                        }
                        _ => (self.bind_expr(left)?, self.bind_expr(right)?),
                    };
                    return self.call(op.symbol(), vec![l, r]);
                }
            }
        }
        // Conditions by the hundreds are one long chain: it is bound, and becomes a tree, without as deep a recursion.
        if matches!(op, B::And | B::Or) {
            let mut operands = vec![right];
            let mut rest = left;
            while let ast::Expr::BinaryOp { left, op: same, right } = rest
                && same == op
            {
                operands.push(right);
                rest = left;
            }
            operands.push(rest);
            operands.reverse();
            let operands = self.bind_all(&operands)?;
            let join = if *op == B::And { query::infer::every } else { query::infer::any };
            return Ok(build::fold(join(operands), self.env.eval()));
        }
        if let (B::Plus | B::Minus, ast::Expr::Interval(i)) = (op, right) {
            let date = self.bind_expr(left)?;
            return self.bind_interval(date, i, *op == B::Minus);
        }
        if let (B::Plus, ast::Expr::Interval(i)) = (op, left) {
            let date = self.bind_expr(right)?;
            return self.bind_interval(date, i, false);
        }
        let name = match op {
            B::Plus => "+",
            B::Minus => "-",
            B::Multiply => "*",
            B::Divide => "/",
            B::Modulo => "%",
            B::MyIntegerDivide | B::DuckIntegerDivide => "div",
            B::Xor => "xor",
            B::BitwiseOr => "|",
            B::BitwiseAnd => "&",
            B::BitwiseXor | B::PGBitwiseXor => "^",
            B::PGBitwiseShiftLeft => "<<",
            B::PGBitwiseShiftRight => ">>",
            B::Regexp => "regexp",
            B::StringConcat => {
                if self.env.eval().has_mode(query::context::sql_mode::PIPES_AS_CONCAT) {
                    "concat"
                } else {
                    "or"
                }
            }
            B::Arrow => "json_extract",
            B::LongArrow => {
                let (l, r) = (self.bind_expr(left)?, self.bind_expr(right)?);
                let inner = self.call("json_extract", vec![l, r])?;
                return self.call("json_unquote", vec![inner]);
            }
            other => return unsupported(other.to_string()),
        };
        let (l, r) = (self.bind_expr(left)?, self.bind_expr(right)?);
        self.call(name, vec![l, r])
    }

    fn bind_interval(&mut self, date: Expr, interval: &ast::Interval, subtract: bool) -> Result<Expr, SqlError> {
        let amount = self.bind_expr(&interval.value)?;
        build::date_add(date, amount, &unit_of(interval)?, subtract, self.env.eval())
    }

    /// A literal's value and type.
    pub fn bind_literal(&mut self, v: &ast::Value) -> Result<Expr, SqlError> {
        use ast::Value as V;
        Ok(match v {
            V::Number(text, _) => build::number(text)?,
            V::SingleQuotedString(s)
            | V::DoubleQuotedString(s)
            | V::NationalStringLiteral(s)
            | V::EscapedStringLiteral(s) => build::string(s, self.env.eval()),
            V::Boolean(b) => Expr::bool(*b),
            V::Null => Expr::null(),
            V::TripleSingleQuotedByteStringLiteral(hex) => build::bytes(hex_bytes(hex)?),
            V::HexStringLiteral(hex) => query::infer::bit_literal(hex_bytes(hex)?),
            V::SingleQuotedByteStringLiteral(bits) => query::infer::bit_literal(bit_bytes(bits)?),
            V::Placeholder(name) => {
                let at = match name.trim_start_matches(['?', ':', '$']).parse::<usize>() {
                    Ok(n) => n.saturating_sub(1),
                    Err(_) => {
                        self.next_param += 1;
                        self.next_param - 1
                    }
                };
                match self.env.params().get(at) {
                    Some(d) => {
                        let ty = build::parameter_type(d, self.env.eval().collation);
                        self.input(Source::Placeholder(at), d.clone(), ty)
                    }
                    None => return Err(SqlError::WrongParameters("EXECUTE")),
                }
            }
            other => return unsupported(other.to_string()),
        })
    }

    fn bind_function(&mut self, f: &ast::Function) -> Result<Expr, SqlError> {
        let (written, name) = match &name_parts(&f.name)?[..] {
            [name] => (name.clone(), name.to_lowercase()),
            // There are no stored functions, and the built-in ones belong to no database.
            parts => return Err(EvalError::NoSuchFunction(parts.join(".")).into()),
        };
        if let Some(over) = &f.over {
            return self.bind_window_function(f, &name, over);
        }
        if f.filter.is_some() || f.null_treatment.is_some() || !f.within_group.is_empty() {
            return unsupported(format!("this form of {name}"));
        }
        let (args, distinct, clauses): (&[ast::FunctionArg], bool, &[ast::FunctionArgumentClause]) = match &f.args {
            ast::FunctionArguments::None => (&[], false, &[]),
            ast::FunctionArguments::List(list) => {
                (&list.args, list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct), &list.clauses)
            }
            ast::FunctionArguments::Subquery(q) => {
                return self.bind_expr(&ast::Expr::Subquery(q.clone()));
            }
        };
        if AGGREGATES.contains(&name.as_str()) {
            return self.bind_aggregate(&name, args, distinct, clauses);
        }
        let plain = |a: &ast::FunctionArg| match a {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Ok(e.clone()),
            other => unsupported(other.to_string()),
        };
        let args: Vec<ast::Expr> = args.iter().map(plain).collect::<Result<_, _>>()?;
        if let Some(result) = self.bind_special(&name, &args) {
            return result;
        }
        let bound = args.iter().map(|a| self.bind_expr(a)).collect::<Result<Vec<_>, _>>()?;
        self.call(&name, bound).map_err(|e| match e {
            SqlError::Eval(EvalError::NoSuchFunction(_)) => {
                let database = self.env.database().map(|d| format!("{d}.")).unwrap_or_default();
                EvalError::NoSuchFunction(format!("{database}{written}")).into()
            }
            SqlError::Eval(EvalError::WrongParamCount(_)) => EvalError::WrongParamCount(written).into(),
            e => e,
        })
    }

    /// Functions whose arguments are not plain expressions.
    fn bind_special(&mut self, name: &str, args: &[ast::Expr]) -> Option<Result<Expr, SqlError>> {
        Some(match (name, args) {
            ("date_add" | "adddate", [date, ast::Expr::Interval(i)]) => {
                self.bind_expr(date).and_then(|d| self.bind_interval(d, i, false))
            }
            ("date_sub" | "subdate", [date, ast::Expr::Interval(i)]) => {
                self.bind_expr(date).and_then(|d| self.bind_interval(d, i, true))
            }
            ("adddate" | "subdate", [date, days]) => self.bind_expr(date).and_then(|d| {
                let n = self.bind_expr(days)?;
                build::date_add(d, n, "DAY", name == "subdate", self.env.eval())
            }),
            ("timestampadd", [ast::Expr::Identifier(unit), n, date]) => {
                let unit = unit.value.trim_start_matches("SQL_TSI_").to_owned();
                self.bind_expr(n).and_then(|n| {
                    let d = self.bind_expr(date)?;
                    build::date_add(d, n, &unit, false, self.env.eval())
                })
            }
            ("timestampdiff", [ast::Expr::Identifier(unit), a, b]) => {
                let unit = unit.value.clone();
                self.bind_expr(a).and_then(|a| {
                    let b = self.bind_expr(b)?;
                    self.call("timestampdiff", vec![Expr::constant(unit.as_str()), a, b])
                })
            }
            // The name is that of the column.
            ("name_const", [_, value]) => self.bind_expr(value),
            // DATE, TIME, DATETIME and TIMESTAMP are words here.
            ("get_format", [ast::Expr::Identifier(kind), place]) => {
                let kind = Expr::constant(kind.value.as_str());
                self.bind_expr(place).and_then(|place| self.call("get_format", vec![kind, place]))
            }
            ("values", [ast::Expr::Identifier(column)]) => match self.inserted.get(&column.value.to_lowercase()) {
                Some(id) => Ok(self.columns.expr(*id)),
                None => Ok(Expr::null()),
            },
            ("values", [ast::Expr::CompoundIdentifier(parts)]) => {
                let column = parts.last().map(|p| p.value.to_lowercase()).unwrap_or_default();
                match self.inserted.get(&column) {
                    Some(id) => Ok(self.columns.expr(*id)),
                    None => Ok(Expr::null()),
                }
            }
            ("row", _) => Err(SqlError::OperandColumns(1)),
            ("grouping", args) => self.bind_grouping(args),
            _ => return None,
        })
    }

    fn bind_aggregate(
        &mut self,
        name: &str,
        args: &[ast::FunctionArg],
        distinct: bool,
        clauses: &[ast::FunctionArgumentClause],
    ) -> Result<Expr, SqlError> {
        if self.block().in_aggregate || self.block().aggregates.is_none() {
            return Err(SqlError::InvalidGroupFunction);
        }
        let pending = std::mem::take(&mut self.block().applies);
        self.block().in_aggregate = true;
        let bound = self.bind_aggregate_call(name, args, distinct, clauses);
        self.block().in_aggregate = false;
        // Subqueries of its arguments run for each row, those around it for each group.
        let inner = std::mem::replace(&mut self.block().applies, pending);
        self.block().applies_of_rows.extend(inner);
        let call = bound?;
        let mut read = call.args.iter().flat_map(Expr::columns).peekable();
        if read.peek().is_some() && read.all(|id| self.is_outer(id)) {
            // MySQL computes it over the rows of the block whose columns these are.
            return unsupported(format!("{name} over columns of an outer query"));
        }
        if name == "avg" {
            let count = AggCall { name: "count".into(), ty: FieldType::bigint(), ..call.clone() };
            let sum = AggCall { ty: aggregate::sum_type(call.args[0].ty()), ..call.clone() };
            let (sum, count) = (self.aggregate(sum), self.aggregate(count));
            return aggregate::average(sum, count, &call.ty, self.env.eval());
        }
        Ok(self.aggregate(call))
    }

    /// The column of an aggregate call, which is computed once however often it is written.
    fn aggregate(&mut self, call: AggCall) -> Expr {
        let ty = call.ty.clone();
        if let Some(id) = self.block().aggregates.iter().flatten().find(|(a, _)| *a == call).map(|(_, id)| *id) {
            return self.columns.expr(id);
        }
        let name = &call.name;
        let text = format!("{name}({})", call.args.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(", "));
        let id = self.columns.add(text, ty);
        let args = call.args.iter().map(|a| Sql(a).to_string()).collect::<Vec<_>>().join(",");
        self.columns.call_in_messages(id, format!("{name}({})", if args.is_empty() { "0" } else { &args }));
        self.block().aggregates.get_or_insert_default().push((call, id));
        self.columns.expr(id)
    }

    pub(super) fn bind_aggregate_call(
        &mut self,
        name: &str,
        args: &[ast::FunctionArg],
        distinct: bool,
        clauses: &[ast::FunctionArgumentClause],
    ) -> Result<AggCall, SqlError> {
        let mut bound = Vec::new();
        for a in args {
            match a {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => bound.push(self.bind_expr(e)?),
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) if name == "count" => {}
                other => return unsupported(other.to_string()),
            }
        }
        if bound.is_empty() && name != "count" {
            return Err(SqlError::WrongParameterCount(name.into()));
        }
        if name == "count" && bound.len() > 1 && !distinct {
            return Err(SqlError::WrongParameterCount(name.into()));
        }
        let mut order_by = Vec::new();
        let mut separator = None;
        for clause in clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => {
                    for k in keys {
                        let expr = self.bind_expr(&k.expr)?;
                        order_by.push(SortKey { expr, desc: is_desc(k)? });
                    }
                }
                ast::FunctionArgumentClause::Separator(s) => match &s.value {
                    ast::Value::SingleQuotedString(s) | ast::Value::DoubleQuotedString(s) => {
                        separator = Some(s.clone().into_bytes());
                    }
                    other => return unsupported(other.to_string()),
                },
                other => return unsupported(other.to_string()),
            }
        }
        let name = match name {
            "any_value" => "firstrow",
            "avg" => "sum",
            "std" | "stddev" => "stddev_pop",
            "variance" => "var_pop",
            n => n,
        };
        // COUNT of a constant counts rows, as COUNT(*).
        if name == "count" && !distinct && bound.len() == 1 && bound[0].as_const().is_some_and(|value| !value.is_null())
        {
            bound.clear();
        }
        // DISTINCT changes nothing for these.
        let distinct = distinct && !matches!(name, "min" | "max" | "firstrow" | "bit_and" | "bit_or");
        let (args, ty) = aggregate::infer(name, bound)?;
        Ok(AggCall { name: name.to_owned(), args, distinct, order_by, separator, ty })
    }
}

/// The unit of `INTERVAL n unit`.
pub(super) fn unit_of(interval: &ast::Interval) -> Result<String, SqlError> {
    match (&interval.leading_field, &interval.last_field) {
        (Some(unit), None) => Ok(unit.to_string()),
        (Some(a), Some(b)) => Ok(format!("{a}_{b}")),
        _ => Err(SqlError::WrongArguments("INTERVAL".into())),
    }
}

fn compare_op_of(op: &ast::BinaryOperator) -> Option<CmpOp> {
    use ast::BinaryOperator as B;
    Some(match op {
        B::Eq => CmpOp::Eq,
        B::NotEq => CmpOp::Ne,
        B::Lt => CmpOp::Lt,
        B::LtEq => CmpOp::Le,
        B::Gt => CmpOp::Gt,
        B::GtEq => CmpOp::Ge,
        B::Spaceship => CmpOp::NullEq,
        _ => return None,
    })
}

/// The items of `(a, b)` and `ROW(a, b)`.
fn row_items(e: &ast::Expr) -> Option<Vec<&ast::Expr>> {
    match e {
        ast::Expr::Nested(inner) => row_items(inner),
        ast::Expr::Tuple(items) if items.len() > 1 => Some(items.iter().collect()),
        ast::Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("row") => match &f.args {
            ast::FunctionArguments::List(list) if list.args.len() > 1 => list
                .args
                .iter()
                .map(|a| match a {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Some(e),
                    _ => None,
                })
                .collect(),
            _ => None,
        },
        _ => None,
    }
}

/// The query of `(SELECT …)`.
fn subquery(e: &ast::Expr) -> Option<&ast::Query> {
    match e {
        ast::Expr::Nested(inner) => subquery(inner),
        ast::Expr::Subquery(query) => Some(query),
        _ => None,
    }
}

/// The scalars of two operands of one shape, in order. Rows in rows compare as what they are made of does, one after the
/// other.
fn flatten<'a>(
    left: &'a ast::Expr,
    right: &'a ast::Expr,
    l: &mut Vec<&'a ast::Expr>,
    r: &mut Vec<&'a ast::Expr>,
) -> Result<(), SqlError> {
    match (row_items(left), row_items(right)) {
        (Some(a), Some(b)) if a.len() == b.len() => a.into_iter().zip(b).try_for_each(|(a, b)| flatten(a, b, l, r)),
        (Some(a), _) => Err(SqlError::OperandColumns(a.len())),
        (None, Some(_)) => Err(SqlError::OperandColumns(1)),
        (None, None) => {
            l.push(left);
            r.push(right);
            Ok(())
        }
    }
}

/// `CEIL(x)`, and not to some digit or unit of time.
const WHOLE: ast::CeilFloorKind = ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime);

/// Bytes of hexadecimal digits; an odd number of them begins with half a byte.
fn hex_bytes(hex: &str) -> Result<Vec<u8>, SqlError> {
    let padded = if hex.len().is_multiple_of(2) { hex.to_owned() } else { format!("0{hex}") };
    sql_base::unhex(&padded).ok_or_else(|| SqlError::Syntax { near: hex.to_owned(), line: 1 })
}

/// Bytes of binary digits, right-aligned.
fn bit_bytes(bits: &str) -> Result<Vec<u8>, SqlError> {
    let padded = format!("{}{bits}", "0".repeat((8 - bits.len() % 8) % 8));
    padded
        .as_bytes()
        .chunks(8)
        .map(|c| c.iter().try_fold(0_u8, |v, d| matches!(d, b'0' | b'1').then(|| v << 1 | (d - b'0'))))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| SqlError::Syntax { near: bits.to_owned(), line: 1 })
}

/// Whether a window's keys do.
pub(super) fn window_has_aggregate(spec: &ast::WindowSpec) -> bool {
    spec.partition_by.iter().any(has_aggregate) || spec.order_by.iter().any(|key| has_aggregate(&key.expr))
}

/// Whether an expression calls an aggregate function of this block (not in a subquery).
pub fn has_aggregate(e: &ast::Expr) -> bool {
    use ast::Expr as E;
    match e {
        E::Function(f) => {
            let name = f.name.0.last().map(|p| p.to_string().to_lowercase()).unwrap_or_default();
            if f.over.is_none() && AGGREGATES.contains(&name.trim_matches('`')) {
                return true;
            }
            if let Some(ast::WindowType::WindowSpec(spec)) = &f.over
                && window_has_aggregate(spec)
            {
                return true;
            }
            match &f.args {
                ast::FunctionArguments::List(list) => list.args.iter().any(|a| match a {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => has_aggregate(e),
                    _ => false,
                }),
                _ => false,
            }
        }
        E::Nested(a)
        | E::IsNull(a)
        | E::IsNotNull(a)
        | E::IsTrue(a)
        | E::IsNotTrue(a)
        | E::IsFalse(a)
        | E::IsNotFalse(a)
        | E::IsUnknown(a)
        | E::IsNotUnknown(a) => has_aggregate(a),
        E::UnaryOp { expr, .. }
        | E::Cast { expr, .. }
        | E::Convert { expr, .. }
        | E::Collate { expr, .. }
        | E::Extract { expr, .. }
        | E::Ceil { expr, .. }
        | E::Floor { expr, .. }
        | E::InSubquery { expr, .. } => has_aggregate(expr),
        E::Prefixed { value, .. } => has_aggregate(value),
        E::BinaryOp { left, right, .. } => has_aggregate(left) || has_aggregate(right),
        E::AnyOp { left, .. } | E::AllOp { left, .. } => has_aggregate(left),
        E::Between { expr, low, high, .. } => has_aggregate(expr) || has_aggregate(low) || has_aggregate(high),
        E::InList { expr, list, .. } => has_aggregate(expr) || list.iter().any(has_aggregate),
        E::Like { expr, pattern, .. } | E::RLike { expr, pattern, .. } => has_aggregate(expr) || has_aggregate(pattern),
        E::Case { operand, conditions, else_result, .. } => {
            operand.as_deref().is_some_and(has_aggregate)
                || conditions.iter().any(|c| has_aggregate(&c.condition) || has_aggregate(&c.result))
                || else_result.as_deref().is_some_and(has_aggregate)
        }
        E::Substring { expr, substring_from, substring_for, .. } => {
            has_aggregate(expr)
                || substring_from.as_deref().is_some_and(has_aggregate)
                || substring_for.as_deref().is_some_and(has_aggregate)
        }
        E::Trim { expr, .. } => has_aggregate(expr),
        E::Position { expr, r#in } => has_aggregate(expr) || has_aggregate(r#in),
        E::Tuple(items) => items.iter().any(has_aggregate),
        E::Interval(i) => has_aggregate(&i.value),
        _ => false,
    }
}
