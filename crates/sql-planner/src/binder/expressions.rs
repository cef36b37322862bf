//! Expressions: operators, functions, aggregates and subqueries.

use codec::types::{Collation, FieldType, flags};
use query::error::EvalError;
use query::expr::{CmpOp, Expr, Sql};
use sql_base::SqlError;
use sql_parser::ast;

use super::super::inputs::Source;
use super::super::plan::{AggCall, Plan, SortKey, Subquery, SubqueryKind, TestRows};
use super::super::{aggregate, expr as build};
use super::{AGGREGATES, Binder, Block, MAX_DEPTH, Visible, unsupported};

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
            E::Literal(value) => self.bind_literal(value),
            E::Param(at) => self.bind_param(*at),
            E::Variable(name) => {
                let (value, ty) = self.env.variable(name)?;
                Ok(self.input(Source::Variable(name.clone()), value, ty))
            }
            E::Column(name) => {
                let e = self.resolve(&name.parts())?;
                self.record_column(name.at());
                Ok(e)
            }
            // Where it says something, whoever takes it has looked for it: elsewhere it is a name that there is not.
            E::Default => self.resolve(&["DEFAULT".to_owned()]),
            E::Inserted(column) => match self.inserted.get(&column.last().to_lowercase()) {
                Some(id) => Ok(self.columns.expr(*id)),
                None => Ok(Expr::null()),
            },
            E::Is { expr, test, negated } => {
                let name = match test {
                    ast::IsTest::Null | ast::IsTest::Unknown => "isnull",
                    ast::IsTest::True => "istrue",
                    ast::IsTest::False => "isfalse",
                };
                self.unary(name, expr, *negated)
            }
            E::Binary { left, op, right } => self.bind_binary(left, *op, right),
            E::Unary { op, expr } => match op {
                ast::UnaryOp::Plus => self.bind_expr(expr),
                ast::UnaryOp::Minus => match &**expr {
                    E::Literal(ast::Literal::Number(n)) => build::number(&format!("-{n}")),
                    expr => self.unary("unaryminus", expr, false),
                },
                ast::UnaryOp::Not | ast::UnaryOp::Bang => self.unary("not", expr, false),
                ast::UnaryOp::BitNot => self.unary("bitneg", expr, false),
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
            E::Like { negated, expr, pattern, escape } => {
                let mut args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                if let Some(escape) = escape {
                    args.push(self.bind_expr(escape)?);
                }
                let like = self.call("like", args)?;
                self.not(like, *negated)
            }
            E::Regexp { negated, expr, pattern } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                let like = self.call("regexp", args)?;
                self.not(like, *negated)
            }
            E::Case { operand, whens, otherwise } => {
                let operand = operand.as_ref().map(|o| self.bind_expr(o)).transpose()?;
                let mut args = Vec::new();
                for when in whens {
                    let condition = self.bind_expr(&when.condition)?;
                    args.push(match &operand {
                        Some(o) => self.call("=", vec![o.clone(), condition])?,
                        None => condition,
                    });
                    args.push(self.bind_expr(&when.result)?);
                }
                if let Some(e) = otherwise {
                    args.push(self.bind_expr(e)?);
                }
                self.call("case", args)
            }
            E::Cast { expr, ty } => {
                let a = self.bind_expr(expr)?;
                build::cast(a, *ty, self.env.eval())
            }
            E::ConvertUsing { expr, charset } => {
                let a = self.bind_expr(expr)?;
                let collation = Collation::default_of_charset(charset);
                let collation = collation.ok_or_else(|| SqlError::UnknownCharacterSet(charset.clone()))?;
                Ok(build::convert_using(a, collation, self.env.eval()))
            }
            E::Collate { expr, collation } => {
                let known = Collation::from_name(collation);
                let collation = known.ok_or_else(|| SqlError::UnknownCollation(collation.clone()))?;
                let a = self.bind_expr(expr)?;
                // A constant would no longer insist on its collation, so this is folded only by what uses it.
                Ok(query::infer::collate(a, collation))
            }
            E::Temporal { kind, text } => build::typed_literal(*kind, text),
            E::Extract { unit, expr } => {
                let a = self.bind_expr(expr)?;
                build::extract(unit, a, self.env.eval())
            }
            E::Trim { side, what, expr } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(what)?];
                match side {
                    ast::TrimSide::Both => self.call("trim", args),
                    ast::TrimSide::Leading => self.call("trim_leading", args),
                    ast::TrimSide::Trailing => self.call("trim_trailing", args),
                }
            }
            E::AddInterval { date, subtract, interval } => {
                let date = self.bind_expr(date)?;
                let amount = self.bind_expr(&interval.value)?;
                build::date_add(date, amount, &interval.unit, *subtract, self.env.eval())
            }
            E::Function(f) => self.bind_function(f),
            E::MemberOf { value, array } => {
                let args = vec![self.bind_expr(value)?, self.bind_expr(array)?];
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
            E::Quantified { left, op, all, subquery } => match compare_op_of(*op) {
                Some(op) => self.quantified(left, op, subquery, *all),
                None => Err(SqlError::internal("binder", "a quantified operator that compares nothing")),
            },
            E::Row { .. } => Err(SqlError::OperandColumns(1)),
        }
    }

    fn bind_all<'e>(&mut self, list: impl IntoIterator<Item = &'e ast::Expr>) -> Result<Vec<Expr>, SqlError> {
        list.into_iter().map(|e| self.bind_expr(e)).collect()
    }

    /// `left op ANY (subquery)` and, with `all`, `left op ALL (subquery)`. `IN` is `= ANY`.
    fn quantified(&mut self, left: &ast::Expr, op: CmpOp, subquery: &ast::Query, all: bool) -> Result<Expr, SqlError> {
        if let Some(items) = row_items(left) {
            // Rows have no order here, as in MySQL.
            if !matches!((op, all), (CmpOp::Eq, false) | (CmpOp::Ne, true)) {
                return Err(SqlError::OperandColumns(1));
            }
            let probe = self.bind_all(items)?;
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
        let (l, r) = (self.bind_all(l)?, self.bind_all(r)?);
        Ok(query::infer::compare_rows(op, l, r)?)
    }

    /// Compares the columns of a subquery with a row.
    fn compare_with_columns(&mut self, op: CmpOp, columns: &[Visible], row: &ast::Expr) -> Result<Expr, SqlError> {
        let row = match row_items(row) {
            Some(row) if row.len() == columns.len() => self.bind_all(row)?,
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

    fn bind_binary(&mut self, left: &ast::Expr, op: ast::BinaryOp, right: &ast::Expr) -> Result<Expr, SqlError> {
        use ast::BinaryOp as B;
        if let Some(op) = compare_op_of(op) {
            match (row_items(left), row_items(right)) {
                (Some(row), None) => {
                    let probe = self.bind_all(row)?;
                    return match subquery(right) {
                        Some(q) => self.test_rows(op, probe, q, TestRows::One),
                        None => Err(SqlError::OperandColumns(row.len())),
                    };
                }
                (None, Some(row)) => {
                    let probe = self.bind_all(row)?;
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
            while let ast::Expr::Binary { left, op: same, right } = rest
                && *same == op
            {
                operands.push(right);
                rest = left;
            }
            operands.push(rest);
            operands.reverse();
            let operands = self.bind_all(operands)?;
            let join = if op == B::And { query::infer::every } else { query::infer::any };
            return Ok(build::fold(join(operands), self.env.eval()));
        }
        let name = match op {
            B::Add => "+",
            B::Subtract => "-",
            B::Multiply => "*",
            B::Divide => "/",
            B::Modulo => "%",
            B::IntDivide => "div",
            B::Xor => "xor",
            B::BitOr => "|",
            B::BitAnd => "&",
            B::BitXor => "^",
            B::ShiftLeft => "<<",
            B::ShiftRight => ">>",
            B::Concat => "concat",
            B::JsonExtract => "json_extract",
            B::JsonUnquote => {
                let (l, r) = (self.bind_expr(left)?, self.bind_expr(right)?);
                let inner = self.call("json_extract", vec![l, r])?;
                return self.call("json_unquote", vec![inner]);
            }
            // They were bound above.
            B::And | B::Or | B::Eq | B::NullEq | B::Ne | B::Lt | B::Le | B::Gt | B::Ge => {
                return Err(SqlError::internal("binder", "an operator that is bound elsewhere"));
            }
        };
        let (l, r) = (self.bind_expr(left)?, self.bind_expr(right)?);
        self.call(name, vec![l, r])
    }

    /// A literal's value and type.
    pub fn bind_literal(&mut self, value: &ast::Literal) -> Result<Expr, SqlError> {
        use ast::Literal as L;
        Ok(match value {
            L::Number(text) => build::number(text)?,
            L::Text(text) => build::string(text, self.env.eval()),
            L::Boolean(truth) => Expr::bool(*truth),
            L::Null => Expr::null(),
            L::Binary(bytes) => build::bytes(bytes.clone()),
            L::Hex(digits) => query::infer::bit_literal(hex_bytes(digits)?),
            L::Bits(digits) => query::infer::bit_literal(bit_bytes(digits)?),
        })
    }

    /// The parameter of a number from 0.
    fn bind_param(&mut self, at: usize) -> Result<Expr, SqlError> {
        match self.env.params().get(at) {
            Some(d) => {
                let ty = build::parameter_type(d, self.env.eval().collation);
                Ok(self.input(Source::Placeholder(at), d.clone(), ty))
            }
            None => Err(SqlError::WrongParameters("EXECUTE")),
        }
    }

    fn bind_function(&mut self, f: &ast::Function) -> Result<Expr, SqlError> {
        let (written, name) = (f.name.value.clone(), f.name.value.to_lowercase());
        if let Some(over) = &f.over {
            return self.bind_window_function(f, &name, over);
        }
        if AGGREGATES.contains(&name.as_str()) {
            return self.bind_aggregate(&name, f);
        }
        if let Some(result) = self.bind_special(&name, f) {
            return result;
        }
        let bound = self.bind_all(&f.args)?;
        self.call(&name, bound).map_err(|e| match e {
            SqlError::Eval(EvalError::NoSuchFunction(_)) => {
                let database = self.env.database().map(|d| format!("{d}.")).unwrap_or_default();
                EvalError::NoSuchFunction(format!("{database}{written}")).into()
            }
            SqlError::Eval(EvalError::WrongParamCount(_)) => EvalError::WrongParamCount(written).into(),
            e => e,
        })
    }

    /// Functions that are more than a call with their arguments.
    fn bind_special(&mut self, name: &str, f: &ast::Function) -> Option<Result<Expr, SqlError>> {
        Some(match (name, f.word.as_deref(), &f.args[..]) {
            ("adddate" | "subdate", None, [date, days]) => self.bind_expr(date).and_then(|d| {
                let n = self.bind_expr(days)?;
                build::date_add(d, n, "DAY", name == "subdate", self.env.eval())
            }),
            ("timestampadd", Some(unit), [n, date]) => self.bind_expr(n).and_then(|n| {
                let d = self.bind_expr(date)?;
                build::date_add(d, n, unit.trim_start_matches("SQL_TSI_"), false, self.env.eval())
            }),
            // The unit of a difference; DATE, TIME, DATETIME and TIMESTAMP.
            ("timestampdiff" | "get_format", Some(word), args) => self.bind_all(args).and_then(|args| {
                let args = std::iter::once(Expr::constant(word)).chain(args).collect();
                self.call(name, args)
            }),
            // The name is that of the column.
            ("name_const", None, [_, value]) => self.bind_expr(value),
            ("grouping", None, args) => self.bind_grouping(args),
            _ => return None,
        })
    }

    fn bind_aggregate(&mut self, name: &str, f: &ast::Function) -> Result<Expr, SqlError> {
        if self.block().in_aggregate || self.block().aggregates.is_none() {
            return Err(SqlError::InvalidGroupFunction);
        }
        let pending = std::mem::take(&mut self.block().applies);
        self.block().in_aggregate = true;
        let bound = self.bind_aggregate_call(name, f);
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

    pub(super) fn bind_aggregate_call(&mut self, name: &str, f: &ast::Function) -> Result<AggCall, SqlError> {
        let (mut bound, distinct) = (self.bind_all(&f.args)?, f.distinct);
        if bound.is_empty() && name != "count" {
            return Err(SqlError::WrongParameterCount(name.into()));
        }
        if name == "count" && bound.len() > 1 && !distinct {
            return Err(SqlError::WrongParameterCount(name.into()));
        }
        let order_by = f.order_by.iter().map(|k| Ok(SortKey { expr: self.bind_expr(&k.expr)?, desc: k.desc }));
        let order_by = order_by.collect::<Result<Vec<_>, SqlError>>()?;
        let separator = f.separator.as_ref().map(|separator| separator.clone().into_bytes());
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

fn compare_op_of(op: ast::BinaryOp) -> Option<CmpOp> {
    use ast::BinaryOp as B;
    Some(match op {
        B::Eq => CmpOp::Eq,
        B::Ne => CmpOp::Ne,
        B::Lt => CmpOp::Lt,
        B::Le => CmpOp::Le,
        B::Gt => CmpOp::Gt,
        B::Ge => CmpOp::Ge,
        B::NullEq => CmpOp::NullEq,
        _ => return None,
    })
}

/// The items of `(a, b)` and `ROW(a, b)`.
fn row_items(e: &ast::Expr) -> Option<&[ast::Expr]> {
    match e.without_parentheses() {
        ast::Expr::Row { items, .. } => Some(items),
        _ => None,
    }
}

/// The query of `(SELECT …)`.
fn subquery(e: &ast::Expr) -> Option<&ast::Query> {
    match e.without_parentheses() {
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
        (Some(a), Some(b)) if a.len() == b.len() => a.iter().zip(b).try_for_each(|(a, b)| flatten(a, b, l, r)),
        (Some(a), _) => Err(SqlError::OperandColumns(a.len())),
        (None, Some(_)) => Err(SqlError::OperandColumns(1)),
        (None, None) => {
            l.push(left);
            r.push(right);
            Ok(())
        }
    }
}

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
pub(super) fn window_has_aggregate(window: &ast::Window) -> bool {
    window.partition_by.iter().any(has_aggregate) || window.order_by.iter().any(|key| has_aggregate(&key.expr))
}

/// Whether an expression calls an aggregate function of this block (not in a subquery).
pub fn has_aggregate(e: &ast::Expr) -> bool {
    use ast::Expr as E;
    match e {
        E::Function(f) => {
            let called = || AGGREGATES.contains(&f.name.value.to_lowercase().as_str());
            f.over.is_none() && called()
                || matches!(&f.over, Some(ast::Over::Window(window)) if window_has_aggregate(window))
                || f.args.iter().any(has_aggregate)
        }
        E::Nested(expr)
        | E::Is { expr, .. }
        | E::Unary { expr, .. }
        | E::Cast { expr, .. }
        | E::ConvertUsing { expr, .. }
        | E::Collate { expr, .. }
        | E::Extract { expr, .. }
        | E::InSubquery { expr, .. }
        | E::Quantified { left: expr, .. } => has_aggregate(expr),
        E::Binary { left, right, .. } => has_aggregate(left) || has_aggregate(right),
        E::Between { expr, low, high, .. } => has_aggregate(expr) || has_aggregate(low) || has_aggregate(high),
        E::InList { expr, list, .. } => has_aggregate(expr) || list.iter().any(has_aggregate),
        E::Like { expr, pattern, .. } | E::Regexp { expr, pattern, .. } => {
            has_aggregate(expr) || has_aggregate(pattern)
        }
        E::Trim { expr, what, .. } => has_aggregate(expr) || has_aggregate(what),
        E::Case { operand, whens, otherwise } => {
            operand.as_deref().is_some_and(has_aggregate)
                || whens.iter().any(|when| has_aggregate(&when.condition) || has_aggregate(&when.result))
                || otherwise.as_deref().is_some_and(has_aggregate)
        }
        E::AddInterval { date, interval, .. } => has_aggregate(date) || has_aggregate(&interval.value),
        E::MemberOf { value, array } => has_aggregate(value) || has_aggregate(array),
        E::Row { items, .. } => items.iter().any(has_aggregate),
        E::Literal(_)
        | E::Param(_)
        | E::Column(_)
        | E::Variable(_)
        | E::Default
        | E::Inserted(_)
        | E::Temporal { .. }
        | E::Exists { .. }
        | E::Subquery(_) => false,
    }
}
