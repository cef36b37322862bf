//! Window functions: `OVER`, `WINDOW`, and what of them a query block collects for its [`Plan::Window`] nodes.
//!
//! Windows are computed after grouping and HAVING, over what these leave, and before DISTINCT, ORDER BY and LIMIT. So their
//! functions may stand in the select list and in ORDER BY only; their arguments and keys may hold aggregates, and never
//! another window function. Calls over the same partition and order share a node, whatever their frames.
//!
//! A key that is not a column becomes one: all of a block's are computed by a projection below its windows. So a node's keys
//! are columns, which an index may have in order, and `ORDER BY RAND()` is one order and not two.

use std::collections::HashMap;

use codec::datum::Datum;
use codec::types::FieldType;
use query::expr::{Expr, Sql};
use query::interval::Unit;
use query::types::EvalType;
use sql_base::SqlError;
use sql_parser::ast;

use super::super::plan::{AggCall, ColId, Edge, Frame, Plan, SortKey, Units, WindowCall, WindowFunc};
use super::super::window::{WINDOW_FUNCTIONS, number_type, part_type, value_type};
use super::super::{aggregate, expr as build};
use super::{AGGREGATES, Binder, position, unsupported};

/// What messages call a window without a name.
const UNNAMED: &str = "<unnamed window>";

/// Windows of a block, as they are bound.
#[derive(Default)]
pub(super) struct Windows {
    /// Their functions may stand here.
    pub(super) allowed: bool,
    /// Inside a call's arguments.
    inside: bool,
    /// Inside the keys of the window of this name.
    keys_of: Option<String>,
    /// By name in lower case.
    named: HashMap<String, Named>,
    /// Keys that are no columns, and the columns that stand for them.
    keys: Vec<(Expr, ColId)>,
    nodes: Vec<Node>,
}

/// A window of the WINDOW clause.
#[derive(Clone)]
enum Named {
    Unbound(ast::NamedWindow),
    /// Being bound: whoever asks for it goes round in a circle.
    Binding,
    Bound(Window),
}

/// A window.
#[derive(Clone)]
struct Window {
    name: String,
    partition: Vec<Expr>,
    order: Vec<SortKey>,
    /// What is said of it.
    frame: Option<ast::Frame>,
}

/// A plan's node to be.
struct Node {
    partition: Vec<Expr>,
    order: Vec<SortKey>,
    calls: Vec<(WindowCall, ColId)>,
}

impl Windows {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether their results may be read here.
    pub(super) fn may_be_read(&self) -> bool {
        self.allowed && !self.inside && self.keys_of.is_none()
    }

    /// Whether an expression reads a window function's result.
    pub(super) fn are_read_by(&self, e: &Expr) -> bool {
        !self.is_empty() && e.columns().iter().any(|id| self.ids().any(|own| own == *id))
    }

    /// Columns of the results.
    fn ids(&self) -> impl Iterator<Item = ColId> {
        self.nodes.iter().flat_map(|n| n.calls.iter().map(|c| c.1))
    }

    /// Calls `f` on every expression, with the columns of the results for which it counts.
    pub(super) fn try_each_expr<E>(
        &mut self,
        mut f: impl FnMut(&mut Expr, &[ColId]) -> Result<(), E>,
    ) -> Result<(), E> {
        let all: Vec<ColId> = self.ids().collect();
        self.keys.iter_mut().try_for_each(|k| f(&mut k.0, &all))?;
        for node in &mut self.nodes {
            let ids: Vec<ColId> = node.calls.iter().map(|c| c.1).collect();
            node.partition.iter_mut().try_for_each(|e| f(e, &ids))?;
            node.order.iter_mut().try_for_each(|k| f(&mut k.expr, &ids))?;
            for (call, id) in &mut node.calls {
                call.try_each_expr(|e| f(e, &[*id]))?;
            }
        }
        Ok(())
    }
}

impl Binder<'_> {
    /// Lets window functions stand in the block from here on, and binds the windows of its WINDOW clause.
    pub(super) fn open_windows(&mut self, named: &[ast::NamedWindow]) -> Result<(), SqlError> {
        self.block().windows.allowed = true;
        for definition in named {
            let name = definition.name.value.to_lowercase();
            if self.block().windows.named.insert(name, Named::Unbound(definition.clone())).is_some() {
                return Err(SqlError::DuplicateWindow(definition.name.value.clone()));
            }
        }
        named.iter().try_for_each(|definition| self.named_window(&definition.name.value).map(drop))
    }

    /// Puts the block's windows above its rows.
    pub(super) fn place_windows(&mut self, mut plan: Plan) -> Plan {
        let Windows { keys, nodes, .. } = std::mem::take(&mut self.block().windows);
        if !keys.is_empty() {
            let all = plan.outputs().into_iter().map(|id| (self.columns.expr(id), id));
            let exprs = all.chain(keys).collect();
            plan = Plan::Project { input: Box::new(plan), exprs };
        }
        for Node { partition, order, calls } in nodes {
            plan = Plan::Window { input: Box::new(plan), partition, order, calls };
        }
        plan
    }

    /// A function with OVER. `name` is in lower case.
    pub(super) fn bind_window_function(
        &mut self,
        f: &ast::Function,
        name: &str,
        over: &ast::Over,
    ) -> Result<Expr, SqlError> {
        let aggregate = AGGREGATES.contains(&name) && name != "any_value";
        if !aggregate && !WINDOW_FUNCTIONS.contains(&name) {
            return syntax(format!("OVER {over}"));
        }
        let shown = shown_name(name);
        let in_aggregate = self.block().in_aggregate;
        let windows = &self.block().windows;
        if let Some(window) = &windows.keys_of {
            return Err(SqlError::WindowNested(window.clone()));
        }
        if !windows.allowed || windows.inside || in_aggregate {
            return Err(SqlError::WindowFunctionUse(shown.into()));
        }
        if name == "group_concat" {
            return unsupported("group_concat as window function");
        }
        if f.distinct && !matches!(name, "min" | "max") {
            return unsupported("<window function>(DISTINCT ..)");
        }
        match f.nulls {
            None => {}
            Some(nulls) if !matches!(name, "lag" | "lead" | "first_value" | "last_value" | "nth_value") => {
                return syntax(format!("{nulls} OVER {over}"));
            }
            Some(ast::Nulls::Ignore) => return unsupported("IGNORE NULLS"),
            Some(ast::Nulls::Respect) => {}
        }
        if !aggregate && (!f.order_by.is_empty() || f.separator.is_some()) {
            return unsupported(format!("this form of {name}"));
        }

        self.block().windows.inside = true;
        let calls = match aggregate {
            true => self.window_aggregate(name, f),
            false => self.window_call(name, &f.args, over).map(|call| (call.ty.clone(), vec![call])),
        };
        self.block().windows.inside = false;
        let (shown_type, calls) = calls?;
        let window = match over {
            ast::Over::Named(name) => self.named_window(&name.value)?,
            ast::Over::Window(window) => self.window(window, UNNAMED.into())?,
        };
        let frame = self.frame(&window)?;
        let mut columns = Vec::new();
        for mut call in calls {
            if call.func.has_frame() {
                call.frame = frame.clone();
            } else if window.frame.is_some() {
                let (function, window) = (shown.to_owned(), window.name.clone());
                self.notes.push(SqlError::WindowFrameIgnored { function, window });
            }
            columns.push(self.window_column(call, &window, f));
        }
        let mut columns = columns.into_iter();
        match (columns.next(), columns.next()) {
            (Some(sum), Some(count)) => aggregate::average(sum, count, &shown_type, self.env.eval()),
            (Some(column), None) => Ok(column),
            (None, _) => Err(SqlError::internal("window function", "no call")),
        }
    }

    /// The type of an aggregate and the calls that make it: two for AVG, the sum, whose type it is, and the count.
    fn window_aggregate(&mut self, name: &str, f: &ast::Function) -> Result<(FieldType, Vec<WindowCall>), SqlError> {
        // DISTINCT changes nothing for those that may have it.
        let mut call = self.bind_aggregate_call(name, f)?;
        if matches!(name, "min" | "max") {
            call.ty = value_type(&call.ty);
        }
        let shown = call.ty.clone();
        let of = |call: AggCall| {
            let ty = call.ty.clone();
            WindowCall { func: WindowFunc::Aggregate(call), args: Vec::new(), frame: Frame::whole(), ty }
        };
        if name == "avg" {
            call.ty = aggregate::sum_type(call.args[0].ty());
            let count = AggCall { name: "count".into(), ty: FieldType::bigint(), ..call.clone() };
            return Ok((shown, vec![of(call), of(count)]));
        }
        Ok((shown, vec![of(call)]))
    }

    fn window_call(&mut self, name: &str, args: &[ast::Expr], over: &ast::Over) -> Result<WindowCall, SqlError> {
        let (least, most) = match name {
            "lag" | "lead" => (1, 3),
            "nth_value" => (2, 2),
            "ntile" | "first_value" | "last_value" => (1, 1),
            _ => (0, 0),
        };
        // The grammar of MySQL counts them.
        if args.len() < least || args.len() > most {
            let extra = args.iter().skip(most).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return syntax(format!("{extra}) OVER {over}"));
        }
        let mut values = Vec::new();
        let wrong = || SqlError::WrongArguments(name.into());
        let (func, ty) = match name {
            "row_number" => (WindowFunc::RowNumber, number_type()),
            "rank" => (WindowFunc::Rank, number_type()),
            "dense_rank" => (WindowFunc::DenseRank, number_type()),
            "percent_rank" => (WindowFunc::PercentRank, part_type()),
            "cume_dist" => (WindowFunc::CumeDist, part_type()),
            "ntile" => {
                let parts = self.stable_integer(&args[0])?.filter(|n| *n > 0).ok_or_else(wrong)?;
                (WindowFunc::Ntile(parts), number_type())
            }
            "lag" | "lead" => {
                let value = self.bind_expr(&args[0])?;
                let rows = match args.get(1) {
                    Some(e) => self.stable_integer(e)?.ok_or_else(wrong)?,
                    None => 1,
                };
                let ty = match args.get(2) {
                    Some(e) => {
                        let default = self.bind_expr(e)?;
                        let ty = value_type(&query::infer::unify(&[&value, &default])?);
                        values.push(build::cast_to(value, &ty, self.env.eval())?);
                        values.push(build::cast_to(default, &ty, self.env.eval())?);
                        ty
                    }
                    None => {
                        let ty = value_type(value.ty());
                        values.push(value);
                        ty
                    }
                };
                (if name == "lag" { WindowFunc::Lag(rows) } else { WindowFunc::Lead(rows) }, ty)
            }
            _ => {
                let value = self.bind_expr(&args[0])?;
                let ty = value_type(value.ty());
                values.push(value);
                let func = match name {
                    "first_value" => WindowFunc::FirstValue,
                    "last_value" => WindowFunc::LastValue,
                    _ => {
                        let n = self.bind_expr(&args[1])?;
                        let n = count_of(&n, self.describing).filter(|n| *n > 0).ok_or_else(wrong)?;
                        WindowFunc::NthValue(n)
                    }
                };
                (func, ty)
            }
        };
        Ok(WindowCall { func, args: values, frame: Frame::whole(), ty })
    }

    /// A number of rows, which MySQL's grammar wants to be a literal, a parameter or a variable.
    fn stable_integer(&mut self, e: &ast::Expr) -> Result<Option<u64>, SqlError> {
        if !matches!(e, ast::Expr::Literal(ast::Literal::Number(_)) | ast::Expr::Param(_) | ast::Expr::Variable(_)) {
            return syntax(e.to_string());
        }
        let n = self.bind_expr(e)?;
        Ok(count_of(&n, self.describing))
    }

    /// The column of a call, which is computed once however often it is written.
    fn window_column(&mut self, call: WindowCall, window: &Window, f: &ast::Function) -> Expr {
        let nodes = &self.block().windows.nodes;
        let at = nodes.iter().position(|n| n.partition == window.partition && n.order == window.order);
        if let Some(id) = at.and_then(|at| nodes[at].calls.iter().find(|(c, _)| *c == call)).map(|c| c.1) {
            return self.columns.expr(id);
        }
        let id = self.columns.add("", call.ty.clone());
        self.columns.call_in_messages(id, f.to_string());
        let nodes = &mut self.block().windows.nodes;
        match at {
            Some(at) => nodes[at].calls.push((call, id)),
            None => {
                let (partition, order) = (window.partition.clone(), window.order.clone());
                nodes.push(Node { partition, order, calls: vec![(call, id)] });
            }
        }
        self.columns.expr(id)
    }

    // ---- Windows ----

    fn named_window(&mut self, name: &str) -> Result<Window, SqlError> {
        let key = name.to_lowercase();
        let definition = match self.block().windows.named.get_mut(&key) {
            None => return Err(SqlError::NoSuchWindow(name.into())),
            Some(named) => match std::mem::replace(named, Named::Binding) {
                Named::Unbound(definition) => definition,
                Named::Binding => return Err(SqlError::WindowCircularity),
                Named::Bound(window) => {
                    *named = Named::Bound(window.clone());
                    return Ok(window);
                }
            },
        };
        let window = self.window(&definition.window, definition.name.value)?;
        self.frame(&window)?;
        self.block().windows.named.insert(key, Named::Bound(window.clone()));
        Ok(window)
    }

    fn window(&mut self, said: &ast::Window, name: String) -> Result<Window, SqlError> {
        let parent = said.base.as_ref().map(|n| self.named_window(&n.value)).transpose()?;
        if let Some(parent) = &parent {
            if !said.partition_by.is_empty() {
                return Err(SqlError::WindowPartitionsChild);
            }
            if parent.frame.is_some() {
                return Err(SqlError::WindowFrameInherited(parent.name.clone()));
            }
            if !parent.order.is_empty() && !said.order_by.is_empty() {
                return Err(SqlError::WindowOrderRedefined { window: name, parent: parent.name.clone() });
            }
        }
        let (mut partition, mut order) = parent.map(|p| (p.partition, p.order)).unwrap_or_default();
        for e in &said.partition_by {
            partition.push(self.window_key(e, &name, "window partition by")?);
        }
        for key in &said.order_by {
            order.push(SortKey { expr: self.window_key(&key.expr, &name, "window order by")?, desc: key.desc });
        }
        Ok(Window { name, partition, order, frame: said.frame.clone() })
    }

    /// A key of a window, as a column or a constant. Names of select items mean nothing here.
    fn window_key(&mut self, e: &ast::Expr, window: &str, clause: &'static str) -> Result<Expr, SqlError> {
        if position(e).is_some() {
            return Err(SqlError::WindowPosition(window.into()));
        }
        let aliases = std::mem::take(&mut self.block().use_aliases);
        self.block().windows.keys_of = Some(window.to_owned());
        let key = self.in_clause(clause, |b| b.bind_expr(e));
        self.block().windows.keys_of = None;
        self.block().use_aliases = aliases;
        let key = key?;
        if matches!(key, Expr::Column { .. }) || key.is_constant() {
            return Ok(key);
        }
        let known = self.block().windows.keys.iter().find(|(k, _)| *k == key && !key.is_volatile()).map(|k| k.1);
        let id = match known {
            Some(id) => id,
            None => {
                let id = self.columns.add(Sql(&key).to_string(), key.ty().clone());
                self.columns.call_in_messages(id, Sql(&key).to_string());
                self.block().windows.keys.push((key, id));
                id
            }
        };
        Ok(self.columns.expr(id))
    }

    // ---- Frames ----

    fn frame(&mut self, window: &Window) -> Result<Frame, SqlError> {
        use ast::FrameBound as B;
        let Some(said) = &window.frame else { return Ok(Frame::unsaid(!window.order.is_empty())) };
        let name = || window.name.clone();
        let units = match said.units {
            ast::FrameUnits::Rows => Units::Rows,
            ast::FrameUnits::Range => Units::Range,
        };
        let end = said.end.as_ref().unwrap_or(&B::CurrentRow);
        match (&said.start, end) {
            (B::Following(None), _) => return Err(SqlError::WindowFrameStart(name())),
            (_, B::Preceding(None)) => return Err(SqlError::WindowFrameEnd(name())),
            // It would end before it begins.
            (B::CurrentRow, B::Preceding(_)) | (B::Following(_), B::CurrentRow | B::Preceding(_)) => {
                return Err(SqlError::WindowFrameIllegal(name()));
            }
            _ => {}
        }
        let mut key = None;
        let mut edge = |b: &mut Self, bound: &B| {
            let (offset, preceding) = match bound {
                B::CurrentRow => return Ok(Edge::Current),
                B::Preceding(None) | B::Following(None) => return Ok(Edge::Unbounded),
                B::Preceding(Some(offset)) => (offset, true),
                B::Following(Some(offset)) => (offset, false),
            };
            match units {
                Units::Rows => b.edge_of_rows(offset, preceding, &window.name),
                Units::Range => {
                    let (compared, edge) = b.edge_of_values(offset, preceding, window)?;
                    key = Some(compared);
                    Ok(edge)
                }
            }
        };
        let (start, end) = (edge(self, &said.start)?, edge(self, end)?);
        // One key for both edges: where one counts in floats, so does the other.
        if let (Edge::Value { value: a, .. }, Edge::Value { value: b, .. }) = (&start, &end)
            && EvalType::of(a.ty()) != EvalType::of(b.ty())
        {
            return unsupported("a frame from an exact to an approximate number");
        }
        Ok(Frame { units, start, end, key })
    }

    fn edge_of_rows(&mut self, offset: &ast::FrameOffset, preceding: bool, window: &str) -> Result<Edge, SqlError> {
        let ast::FrameOffset::Value(offset) = offset else { return Err(SqlError::WindowRowsInterval(window.into())) };
        let rows = self.literal_offset(offset)?;
        let rows = count_of(&rows, self.describing).ok_or_else(|| SqlError::WindowFrameIllegal(window.into()))?;
        Ok(if preceding { Edge::Preceding(rows) } else { Edge::Following(rows) })
    }

    /// What MySQL's grammar takes before PRECEDING, beside an interval.
    fn literal_offset(&mut self, e: &ast::Expr) -> Result<Expr, SqlError> {
        match e {
            ast::Expr::Literal(ast::Literal::Number(_)) | ast::Expr::Param(_) => self.bind_expr(e),
            e => syntax(e.to_string()),
        }
    }

    /// The key that is compared, and the value at an edge.
    fn edge_of_values(
        &mut self,
        offset: &ast::FrameOffset,
        preceding: bool,
        window: &Window,
    ) -> Result<(Expr, Edge), SqlError> {
        let name = || window.name.clone();
        let [key] = &window.order[..] else { return Err(SqlError::WindowRangeOrder(name())) };
        // Before a row are the smaller values, or the larger ones.
        let subtract = preceding != key.desc;
        let key = &key.expr;
        let (key, value) = match (EvalType::of(key.ty()), offset) {
            (EvalType::String | EvalType::Json, _) => return Err(SqlError::WindowRangeOrder(name())),
            (EvalType::Time | EvalType::Duration, ast::FrameOffset::Interval(interval)) => {
                let unit = &interval.unit;
                let amount = self.in_clause("window frame", |b| b.bind_expr(&interval.value));
                let amount = match amount {
                    Ok(amount) if amount.is_constant() => amount,
                    Ok(_) => return Err(SqlError::WindowBoundNotConstant(name())),
                    Err(e) => return Err(e),
                };
                if amount.as_const().is_some_and(is_null_or_negative) && !self.describing {
                    return Err(SqlError::WindowFrameIllegal(name()));
                }
                // Where the zone's clocks go back, timestamps are in the order of what they show.
                let key = match EvalType::of(key.ty()) {
                    EvalType::Time => {
                        let ty = FieldType::datetime(i32::from(key.ty().fsp()));
                        build::cast_to(key.clone(), &ty, self.env.eval())?
                    }
                    _ => key.clone(),
                };
                let whole_units =
                    Unit::parse(unit).is_some_and(|u| u.has_clock() || matches!(u, Unit::Day | Unit::Week));
                if EvalType::of(key.ty()) == EvalType::Duration && !whole_units {
                    return unsupported(format!("a frame of {unit} over TIME"));
                }
                let value = build::date_add(key.clone(), amount, unit, subtract, self.env.eval())?;
                (key, value)
            }
            (EvalType::Time | EvalType::Duration, _) => return Err(SqlError::WindowRangeTemporal(name())),
            (_, ast::FrameOffset::Interval(_)) => return Err(SqlError::WindowRangeNumeric(name())),
            (_, ast::FrameOffset::Value(offset)) => {
                let mut offset = self.literal_offset(offset)?;
                match offset.as_const() {
                    Some(Datum::Null) if self.describing => offset = Expr::constant(0_i64),
                    Some(d @ (Datum::Int(_) | Datum::UInt(_) | Datum::Decimal(_) | Datum::Float(_)))
                        if !is_null_or_negative(d) => {}
                    _ => return Err(SqlError::WindowFrameIllegal(name())),
                }
                // Integers go as decimals: what is 1 before the least unsigned number is a number too.
                let domain = match (EvalType::of(key.ty()), EvalType::of(offset.ty())) {
                    (EvalType::Real, _) | (_, EvalType::Real) => EvalType::Real,
                    _ => EvalType::Decimal,
                };
                let key = query::infer::to_eval_type(key.clone(), domain);
                let offset = build::fold(query::infer::to_eval_type(offset, domain), self.env.eval());
                let value = self.call(if subtract { "-" } else { "+" }, vec![key.clone(), offset])?;
                (key, value)
            }
        };
        Ok((key, Edge::Value { value, preceding, words: offset.to_string().to_lowercase() }))
    }
}

fn syntax<T>(near: String) -> Result<T, SqlError> {
    Err(SqlError::Syntax { near, line: 1 })
}

/// What MySQL calls an aggregate in messages.
fn shown_name(name: &str) -> &str {
    match name {
        "stddev" | "stddev_pop" => "std",
        "var_pop" => "variance",
        name => name,
    }
}

/// A constant as a number of rows.
fn count_of(e: &Expr, describing: bool) -> Option<u64> {
    match e.as_const()? {
        Datum::Int(n) => u64::try_from(*n).ok(),
        Datum::UInt(n) => Some(*n),
        Datum::Null if describing => Some(1),
        _ => None,
    }
}

fn is_null_or_negative(d: &Datum) -> bool {
    match d {
        Datum::Null => true,
        Datum::Int(n) => *n < 0,
        Datum::Float(v) => *v < 0.0,
        Datum::Decimal(d) => d.is_negative(),
        // `INTERVAL '-1:30' MINUTE_SECOND`
        Datum::Bytes(text) => text.trim_ascii_start().starts_with(b"-"),
        _ => false,
    }
}
