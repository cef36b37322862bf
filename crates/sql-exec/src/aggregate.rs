//! Groups: a hash table from the group's key to the states of its aggregate functions.
//!
//! Where there is no memory for more groups, rows of groups that are not there go to disk, split by a hash of their keys.
//! Once the input has ended and the groups that are there have been given, each file is an input of its own, and so on. What a
//! group itself collects (`GROUP_CONCAT`, `DISTINCT`, JSON) stays in memory: the quota's error ends what has no room.
//!
//! With `merge` the input rows are partial results of storage nodes: for each function its state columns in order (AVG
//! has two, count and sum), then the group's keys.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::types::FieldType;
use hashbrown::HashSet;
use query::batch::{BATCH_ROWS_MAX, Batch, BatchBuilder};
use query::expr::Expr;
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::plan::{AggCall, ColId, NodeId};

use crate::keys::{key_bytes, sort_keys};
use crate::runtime::Runtime;
use crate::spill::{DEPTH_MAX, Parts, Spill, Spilled};
use crate::stream::{Operator, Source};

/// Builds the operator.
pub fn build(
    input: Box<dyn Operator>,
    at: &HashMap<ColId, usize>,
    group: &[(Expr, ColId)],
    aggs: &[(AggCall, ColId)],
    merge: bool,
    node: NodeId,
    rt: &mut Runtime,
) -> Result<Box<dyn Operator>, SqlError> {
    let out: Vec<ColId> = group.iter().map(|g| g.1).chain(aggs.iter().map(|a| a.1)).collect();
    let calls = aggs
        .iter()
        .map(|(a, _)| {
            let mut call = a.clone();
            if !merge {
                for e in call.args.iter_mut().chain(call.order_by.iter_mut().map(|k| &mut k.expr)) {
                    *e = rt.resolve(e, at)?;
                }
            }
            Ok(call)
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    let keys =
        if merge { Vec::new() } else { group.iter().map(|g| rt.resolve(&g.0, at)).collect::<Result<Vec<_>, _>>()? };
    Ok(Box::new(Aggregate {
        source: Source::Operator(input),
        depth: 0,
        later: Vec::new(),
        keys,
        key_types: group.iter().map(|g| g.0.ty().clone()).collect(),
        calls,
        merge,
        types: rt.columns.types(&out),
        groups: None,
        held: rt.held_by(node),
        spill: rt.spill_of(node),
    }))
}

/// What a collected value takes beside its bytes.
pub(crate) const VALUE_BYTES: usize = 64;

pub(crate) fn bytes_of(d: &Datum) -> usize {
    match d {
        Datum::Bytes(b) => b.len(),
        Datum::Json(json) => json.to_string().len(),
        _ => 0,
    }
}

/// State of one function in one group.
#[derive(Clone)]
pub(crate) enum State {
    Count(i64),
    SumDecimal(Option<Decimal>),
    SumReal(Option<f64>),
    /// Smallest (largest when true) so far, with its rank.
    Extreme(bool, Option<(Rank, Datum)>),
    First(Option<Datum>),
    Bits(char, u64),
    /// Count, mean, sum of squared differences (Welford).
    Variance(i64, f64, f64),
    /// (order key, text) of GROUP_CONCAT.
    Concat(Vec<(Vec<u8>, Vec<u8>)>),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// DISTINCT: arguments seen, and the state of the rest.
    Distinct(HashSet<Vec<u8>>, Box<State>),
}

impl State {
    pub(crate) fn new(call: &AggCall) -> State {
        let real = call.ty.tp.is_float();
        let state = match call.name.as_str() {
            "count" => State::Count(0),
            "sum" if real => State::SumReal(None),
            "sum" => State::SumDecimal(None),
            "min" => State::Extreme(false, None),
            "max" => State::Extreme(true, None),
            "bit_and" => State::Bits('&', u64::MAX),
            "bit_or" => State::Bits('|', 0),
            "bit_xor" => State::Bits('^', 0),
            "stddev_pop" | "stddev_samp" | "var_pop" | "var_samp" => State::Variance(0, 0.0, 0.0),
            "group_concat" => State::Concat(Vec::new()),
            "json_arrayagg" => State::Array(Vec::new()),
            "json_objectagg" => State::Object(Vec::new()),
            _ => State::First(None),
        };
        if call.distinct { State::Distinct(HashSet::new(), Box::new(state)) } else { state }
    }

    /// Takes in the arguments of a row; `held` counts what it keeps.
    pub(crate) fn add(
        &mut self,
        call: &AggCall,
        args: &[Datum],
        order: &[u8],
        held: &mut Held,
    ) -> Result<(), SqlError> {
        let overflow = |_| SqlError::OutOfRange { kind: "DECIMAL".into(), expr: call.name.clone() };
        let null = args.iter().any(Datum::is_null);
        match self {
            State::Distinct(seen, inner) => {
                if null {
                    return Ok(());
                }
                let mut key = Vec::new();
                for (d, e) in args.iter().zip(&call.args) {
                    key_bytes(&mut key, d, e.ty())?;
                }
                if !seen.contains(&key) {
                    held.grow(key.len() + 48)?;
                    seen.insert(key);
                    inner.add(call, args, order, held)?;
                }
            }
            State::First(v) => {
                if v.is_none() {
                    *v = Some(args[0].clone());
                }
            }
            State::Array(items) => {
                held.grow(VALUE_BYTES + bytes_of(&args[0]))?;
                items.push(query::value::to_json(&args[0], call.args[0].ty()));
            }
            State::Object(_) if args[0].is_null() => return Err(query::error::EvalError::JsonNullName.into()),
            State::Object(items) => {
                held.grow(VALUE_BYTES + bytes_of(&args[0]) + bytes_of(&args[1]))?;
                let key = sql_catalog::convert::text_of(&args[0], Some(call.args[0].ty()));
                items.push((
                    String::from_utf8_lossy(&key).into_owned(),
                    query::value::to_json(&args[1], call.args[1].ty()),
                ));
            }
            _ if null => {}
            State::Count(n) => *n += 1,
            State::SumDecimal(sum) => {
                if let Datum::Decimal(d) = &args[0] {
                    *sum = Some(match sum {
                        None => d.clone(),
                        Some(s) => s.add(d).map_err(overflow)?,
                    });
                }
            }
            State::SumReal(sum) => {
                if let Datum::Float(v) = &args[0] {
                    *sum = Some(sum.unwrap_or(0.0) + v);
                }
            }
            State::Extreme(largest, best) => {
                let rank = Rank::of(&args[0], call)?;
                if best.as_ref().is_none_or(|(old, _)| rank.beats(old, *largest)) {
                    *best = Some((rank, args[0].clone()));
                }
            }
            State::Bits(op, bits) => {
                let v = match &args[0] {
                    Datum::Int(v) => *v as u64,
                    Datum::UInt(v) | Datum::Bit(v) => *v,
                    _ => return Ok(()),
                };
                match op {
                    '&' => *bits &= v,
                    '|' => *bits |= v,
                    _ => *bits ^= v,
                }
            }
            State::Variance(n, mean, squares) => {
                if let Datum::Float(v) = &args[0] {
                    *n += 1;
                    let delta = v - *mean;
                    *mean += delta / *n as f64;
                    *squares += delta * (v - *mean);
                }
            }
            State::Concat(parts) => {
                let text: Vec<u8> = args
                    .iter()
                    .zip(&call.args)
                    .flat_map(|(d, e)| sql_catalog::convert::text_of(d, Some(e.ty())))
                    .collect();
                held.grow(text.len() + order.len() + 48)?;
                parts.push((order.to_vec(), text));
            }
        }
        Ok(())
    }

    /// Takes in a partial result of a storage node.
    fn merge(&mut self, call: &AggCall, partial: Datum, held: &mut Held) -> Result<(), SqlError> {
        match &mut *self {
            State::Count(n) => *n += partial.as_i64().unwrap_or(0),
            _ => self.add(call, &[partial], &[], held)?,
        }
        Ok(())
    }

    pub(crate) fn finish(self, call: &AggCall, rt: &mut Runtime) -> Result<Datum, SqlError> {
        Ok(match self {
            State::Distinct(_, inner) => return inner.finish(call, rt),
            State::Count(n) => Datum::Int(n),
            State::SumDecimal(sum) => sum.map_or(Datum::Null, |s| Datum::Decimal(s.round(call.ty.decimal))),
            State::SumReal(sum) => sum.map_or(Datum::Null, Datum::Float),
            State::Extreme(_, best) => best.map_or(Datum::Null, |b| b.1),
            State::First(v) => v.unwrap_or_default(),
            State::Bits(_, bits) => Datum::UInt(bits),
            State::Variance(n, _, squares) => {
                let sample = call.name.ends_with("samp");
                let over = if sample { n - 1 } else { n };
                if over <= 0 {
                    return Ok(Datum::Null);
                }
                let variance = squares / over as f64;
                Datum::Float(if call.name.starts_with("std") { variance.sqrt() } else { variance })
            }
            State::Concat(mut parts) => {
                if parts.is_empty() {
                    return Ok(Datum::Null);
                }
                if !call.order_by.is_empty() {
                    parts.sort_by(|a, b| a.0.cmp(&b.0));
                }
                let separator = call.separator.as_deref().unwrap_or(b",");
                let texts: Vec<&[u8]> = parts.iter().map(|p| p.1.as_slice()).collect();
                let mut text = texts.join(separator);
                let limit = rt.eval(|cx| Ok(cx.group_concat_max_len))? as usize;
                if text.len() > limit {
                    let mut at = limit;
                    while at > 0 && text.get(at).is_some_and(|b| b & 0xc0 == 0x80) {
                        at -= 1;
                    }
                    text.truncate(at);
                    rt.eval(|cx| {
                        cx.warn(query::error::Warning {
                            code: 1260,
                            message: "Some rows were cut by GROUPCONCAT(...)".into(),
                        });
                        Ok(())
                    })?;
                }
                Datum::Bytes(text)
            }
            State::Array(items) if items.is_empty() => Datum::Null,
            State::Object(items) if items.is_empty() => Datum::Null,
            State::Array(items) => Datum::Json(Json::Array(items)),
            State::Object(items) => Datum::Json(Json::object(items)),
        })
    }
}

/// What MIN and MAX compare of a value.
#[derive(Clone)]
pub(crate) enum Rank {
    Bytes(Vec<u8>),
    /// JSON has no sortable form.
    Json(Json),
}

impl Rank {
    pub(crate) fn of(d: &Datum, call: &AggCall) -> Result<Rank, SqlError> {
        let mut key = Vec::new();
        match d {
            Datum::Json(json) => return Ok(Rank::Json(json.clone())),
            // Members compare by name, numbers of BIT by value.
            d @ (Datum::Enum(_) | Datum::Set(_)) => {
                let ty = call.args.first().map_or(&call.ty, Expr::ty);
                let text = sql_catalog::convert::text_of(d, Some(ty));
                key_bytes(&mut key, &Datum::Bytes(text), ty)?;
            }
            d => key_bytes(&mut key, d, &call.ty)?,
        }
        Ok(Rank::Bytes(key))
    }

    /// Whether it is larger or, for MIN, smaller.
    pub(crate) fn beats(&self, other: &Rank, largest: bool) -> bool {
        let order = match (self, other) {
            (Rank::Bytes(a), Rank::Bytes(b)) => a.cmp(b),
            (Rank::Json(a), Rank::Json(b)) => a.cmp(b),
            // Values of one column are of one kind.
            _ => Ordering::Equal,
        };
        order == if largest { Ordering::Greater } else { Ordering::Less }
    }
}

/// A group: its key's values and its states.
type Group = (Vec<Datum>, Vec<State>);

struct Aggregate {
    source: Source,
    /// How often its rows have been split.
    depth: u32,
    /// Files that wait, with how often their rows have been split.
    later: Vec<(u32, Spilled)>,
    keys: Vec<Expr>,
    key_types: Vec<FieldType>,
    calls: Vec<AggCall>,
    merge: bool,
    types: Arc<[FieldType]>,
    /// Groups of the source, which has ended, that are still to be given.
    groups: Option<std::vec::IntoIter<Group>>,
    held: Held,
    spill: Spill,
}

/// Groups while they are made.
#[derive(Default)]
struct Groups {
    index: hashbrown::HashMap<Vec<u8>, usize>,
    groups: Vec<Group>,
    /// Where rows of other groups go, once there is no memory for those.
    others: Option<Parts>,
}

impl Aggregate {
    /// The groups of the source's rows; and files with the rows of others.
    async fn run(&mut self, rt: &mut Runtime) -> Result<Vec<Group>, SqlError> {
        let mut groups = Groups::default();
        while let Some(batch) = self.source.next(rt).await? {
            rt.pause().await?;
            self.take_in(&batch, &mut groups, rt).await?;
        }
        if let Some(parts) = groups.others {
            let files = parts.finish().await?.into_iter().flatten();
            self.later.extend(files.map(|file| (self.depth + 1, file)));
        }
        let mut groups = groups.groups;
        // Without GROUP BY there is one group, even of no rows.
        if groups.is_empty() && self.key_types.is_empty() {
            groups.push((Vec::new(), self.calls.iter().map(State::new).collect()));
        }
        Ok(groups)
    }

    async fn take_in(&mut self, batch: &Batch, into: &mut Groups, rt: &mut Runtime) -> Result<(), SqlError> {
        let key_columns = if self.merge {
            (0..self.key_types.len()).map(|i| batch.column(self.calls.len() + i).clone()).collect()
        } else {
            self.keys.iter().map(|e| rt.column(e, batch)).collect::<Result<Vec<_>, _>>()?
        };
        let mut arg_columns = Vec::new();
        let mut orders = Vec::new();
        if !self.merge {
            for call in &self.calls {
                arg_columns.push(call.args.iter().map(|e| rt.column(e, batch)).collect::<Result<Vec<_>, _>>()?);
                orders.push(match call.order_by.is_empty() {
                    true => Vec::new(),
                    false => sort_keys(&call.order_by, batch, rt)?,
                });
            }
        }
        let mut other = Vec::new();
        for row in 0..batch.num_rows() {
            let mut key = Vec::new();
            let mut values = Vec::with_capacity(self.key_types.len());
            for (column, ty) in key_columns.iter().zip(&self.key_types) {
                let d = query::batch::datum_at(column, row, ty);
                key_bytes(&mut key, &d, ty)?;
                values.push(d);
            }
            let at = match (into.index.get(&key), &into.others) {
                (Some(at), _) => *at,
                (None, Some(parts)) => {
                    other.push((row as u32, parts.of(&key)));
                    continue;
                }
                (None, None) => {
                    let bytes = key.len() * 2 + 64 + 64 * self.calls.len();
                    let full = match self.depth < DEPTH_MAX && !self.key_types.is_empty() {
                        true => self.held.grow_or_spill(bytes)?,
                        false => self.held.grow(bytes).map(|()| false)?,
                    };
                    if full {
                        into.others = Some(self.spill.parts(batch.types(), self.depth));
                    }
                    into.groups.push((values, self.calls.iter().map(State::new).collect()));
                    into.index.insert(key, into.groups.len() - 1);
                    into.groups.len() - 1
                }
            };
            for (i, (call, state)) in self.calls.iter().zip(&mut into.groups[at].1).enumerate() {
                if self.merge {
                    state.merge(call, batch.datum(row, i), &mut self.held)?;
                } else {
                    let args: Vec<Datum> = arg_columns[i]
                        .iter()
                        .zip(&call.args)
                        .map(|(c, e)| query::batch::datum_at(c, row, e.ty()))
                        .collect();
                    let order = orders[i].get(row).map_or(&[][..], Vec::as_slice);
                    state.add(call, &args, order, &mut self.held)?;
                }
            }
        }
        if let Some(parts) = &mut into.others {
            parts.add(batch, &other).await?;
        }
        Ok(())
    }

    /// The next groups that are done, as rows; `None` when there are no more of this source.
    fn finished(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let Some(groups) = &mut self.groups else { return Ok(None) };
        let mut builder = BatchBuilder::new(self.types.clone(), groups.len().min(BATCH_ROWS_MAX));
        for (mut row, states) in groups.take(BATCH_ROWS_MAX) {
            for (call, state) in self.calls.iter().zip(states) {
                row.push(state.finish(call, rt)?);
            }
            builder.push(&row)?;
        }
        Ok((!builder.is_empty()).then(|| builder.finish()))
    }
}

#[async_trait]
impl Operator for Aggregate {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            rt.pause().await?;
            if let Some(batch) = self.finished(rt)? {
                return Ok(Some(batch));
            }
            if self.groups.take().is_some() {
                self.held.clear();
                let Some((depth, file)) = self.later.pop() else {
                    self.source = Source::Nothing;
                    return Ok(None);
                };
                (self.source, self.depth) = (Source::File(file.read().await?), depth);
            } else if matches!(self.source, Source::Nothing) {
                return Ok(None);
            }
            self.groups = Some(self.run(rt).await?.into_iter());
        }
    }
}
