//! Aggregation by groups, in part: what a storage node computes of its region, and a SQL server merges.
//!
//! | function | columns of the partial result | merged by |
//! |---|---|---|
//! | COUNT | count | sum |
//! | SUM, MIN, MAX, BIT_AND, BIT_OR, BIT_XOR | itself | itself |
//! | AVG | count, sum | both sums, then the quotient |
//! | FIRST | any value of the group | any |
//!
//! [`HashAggregator`] gives each distinct group a number and keeps, for each function, a vector of states by that number;
//! a batch is one evaluation of the arguments and one loop over (group number, value). The output has the states' columns
//! first and the group's values after them, as tipb orders them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef};
use codec::datum::{self, Datum};
use codec::decimal::Decimal;
use codec::types::{Collation, FieldType};

use crate::batch::{BATCH_ROWS_MAX, Batch, ColumnBuilder, datum_at};
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::eval;
use crate::expr::Expr;
use crate::types::{EvalType, Physical};
use crate::value as cast;

/// Which aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AggFunc {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    First,
    BitAnd,
    BitOr,
    BitXor,
}

/// A call of an aggregate function.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which.
    pub func: AggFunc,
    /// One argument; COUNT may have none (all rows) or several (rows where none is NULL).
    pub args: Vec<Expr>,
    /// Type of the complete result.
    pub ty: FieldType,
    /// Over distinct values: not computed in part.
    pub distinct: bool,
}

impl Aggregate {
    /// Types of the partial result's columns.
    pub fn partial_types(&self) -> Vec<FieldType> {
        match self.func {
            AggFunc::Count => vec![FieldType::bigint()],
            AggFunc::Avg => vec![FieldType::bigint(), self.sum_type()],
            AggFunc::Sum => vec![self.sum_type()],
            AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor => vec![FieldType::bigint_unsigned()],
            AggFunc::Min | AggFunc::Max | AggFunc::First => vec![self.args[0].ty().clone()],
        }
    }

    /// A sum keeps the argument's digits after the point and takes all the digits before it that there are.
    fn sum_type(&self) -> FieldType {
        match EvalType::of(self.args[0].ty()) {
            EvalType::Int | EvalType::Decimal => {
                let (precision, scale) = crate::types::decimal_shape(self.args[0].ty());
                FieldType::decimal((precision + 22).min(65), scale)
            }
            _ => FieldType::double(),
        }
    }
}

/// States of one function, by group.
#[derive(Debug)]
enum States {
    Count(Vec<i64>),
    /// Unscaled sums at the argument's scale while they fit, then exact ones.
    SumDecimal {
        scale: u8,
        counts: Vec<i64>,
        small: Vec<i128>,
        large: HashMap<u32, Decimal>,
    },
    SumReal {
        counts: Vec<i64>,
        sums: Vec<f64>,
    },
    Extreme {
        largest: bool,
        collation: Collation,
        best: Vec<Datum>,
    },
    First(Vec<Option<Datum>>),
    Bits {
        func: AggFunc,
        bits: Vec<u64>,
    },
}

impl States {
    fn new(agg: &Aggregate) -> States {
        let arg = agg.args.first().map(Expr::ty);
        match agg.func {
            AggFunc::Count => States::Count(Vec::new()),
            AggFunc::Sum | AggFunc::Avg => match Physical::of(&agg.sum_type()) {
                Physical::Decimal128(scale) | Physical::Decimal256(scale) => {
                    States::SumDecimal { scale, counts: Vec::new(), small: Vec::new(), large: HashMap::new() }
                }
                _ => States::SumReal { counts: Vec::new(), sums: Vec::new() },
            },
            AggFunc::Min | AggFunc::Max => States::Extreme {
                largest: agg.func == AggFunc::Max,
                collation: arg.map_or(Collation::BINARY, |t| t.collation),
                best: Vec::new(),
            },
            AggFunc::First => States::First(Vec::new()),
            AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor => States::Bits { func: agg.func, bits: Vec::new() },
        }
    }

    fn grow(&mut self, groups: usize) {
        match self {
            States::Count(counts) => counts.resize(groups, 0),
            States::SumDecimal { counts, small, .. } => {
                counts.resize(groups, 0);
                small.resize(groups, 0);
            }
            States::SumReal { counts, sums } => {
                counts.resize(groups, 0);
                sums.resize(groups, 0.0);
            }
            States::Extreme { best, .. } => best.resize(groups, Datum::Null),
            States::First(first) => first.resize(groups, None),
            States::Bits { func, bits } => bits.resize(groups, if *func == AggFunc::BitAnd { u64::MAX } else { 0 }),
        }
    }

    fn update(&mut self, agg: &Aggregate, groups: &[u32], batch: &Batch, ctx: &mut EvalContext) -> Result<()> {
        let columns = agg.args.iter().filter(|a| a.as_const().is_none_or(Datum::is_null));
        let columns = columns.map(|a| eval::eval(a, batch, ctx)).collect::<Result<Vec<ArrayRef>>>()?;
        if let States::Count(counts) = self {
            let no_nulls = columns.iter().all(|c| c.null_count() == 0);
            for (row, group) in groups.iter().enumerate() {
                if no_nulls || columns.iter().all(|c| c.is_valid(row)) {
                    counts[*group as usize] += 1;
                }
            }
            return Ok(());
        }
        let ty = agg.args[0].ty();
        let column = match columns.into_iter().next() {
            Some(column) => column,
            None => eval::eval(&agg.args[0], batch, ctx)?,
        };
        let physical = Physical::of(ty);
        let rows = groups.iter().map(|g| *g as usize).enumerate().filter(|(row, _)| column.is_valid(*row));
        match self {
            States::Count(_) => {}
            States::SumDecimal { scale, counts, small, large } => {
                let value = |row: usize| match physical {
                    Physical::Decimal128(_) => Some(column.as_primitive::<Decimal128Type>().value(row)),
                    Physical::Int => Some(column.as_primitive::<Int64Type>().value(row).into()),
                    Physical::UInt => Some(column.as_primitive::<UInt64Type>().value(row).into()),
                    _ => None,
                };
                for (row, group) in rows {
                    counts[group] += 1;
                    if let Some(sum) = value(row).and_then(|v| small[group].checked_add(v)) {
                        small[group] = sum;
                        continue;
                    }
                    let v = match datum_at(&column, row, ty) {
                        Datum::Decimal(d) => d,
                        Datum::Int(v) => Decimal::from(v),
                        Datum::UInt(v) => Decimal::from(v),
                        v => return Err(EvalError::mismatch(ty, v)),
                    };
                    let sum = large.entry(group as u32).or_insert_with(|| Decimal::from_i128(0, *scale));
                    *sum = sum.add(&v).map_err(|_| out_of_range(agg))?;
                }
            }
            States::SumReal { counts, sums } => {
                for (row, group) in rows {
                    let v = match physical {
                        Physical::Real => column.as_primitive::<Float64Type>().value(row),
                        _ => cast::to_f64(&datum_at(&column, row, ty), ctx)?,
                    };
                    counts[group] += 1;
                    sums[group] += v;
                }
            }
            States::Extreme { largest, collation, best } => {
                for (row, group) in rows {
                    // Integers need no Datum to lose.
                    if let (Physical::Int, Datum::Int(b)) = (physical, &best[group]) {
                        let v = column.as_primitive::<Int64Type>().value(row);
                        if if *largest { v <= *b } else { v >= *b } {
                            continue;
                        }
                    }
                    let v = datum_at(&column, row, ty);
                    let wins = best[group].is_null() || {
                        let order = v.compare(&best[group], *collation);
                        if *largest { order.is_gt() } else { order.is_lt() }
                    };
                    if wins {
                        best[group] = v;
                    }
                }
            }
            States::First(first) => {
                // NULL is a first value, too.
                for (row, group) in groups.iter().enumerate() {
                    let slot = &mut first[*group as usize];
                    if slot.is_none() {
                        *slot = Some(datum_at(&column, row, ty));
                    }
                }
            }
            States::Bits { func, bits } => {
                for (row, group) in rows {
                    let v = match datum_at(&column, row, ty) {
                        Datum::Int(v) => v as u64,
                        Datum::UInt(v) | Datum::Bit(v) => v,
                        v => match cast::cast(v, ty, &FieldType::bigint(), ctx)? {
                            Datum::Int(v) => v as u64,
                            _ => continue,
                        },
                    };
                    match func {
                        AggFunc::BitAnd => bits[group] &= v,
                        AggFunc::BitOr => bits[group] |= v,
                        _ => bits[group] ^= v,
                    }
                }
            }
        }
        Ok(())
    }

    /// The partial result of one group, in its columns.
    fn push_partial(&mut self, agg: &Aggregate, group: usize, out: &mut [ColumnBuilder]) -> Result<()> {
        let average = agg.func == AggFunc::Avg;
        match self {
            States::Count(counts) => out[0].push(&Datum::Int(counts[group])),
            States::SumDecimal { scale, counts, small, large } => {
                if average {
                    out[0].push(&Datum::Int(counts[group]))?;
                }
                let out = &mut out[usize::from(average)];
                if counts[group] == 0 {
                    out.push_null();
                    return Ok(());
                }
                let sum = Decimal::from_i128(small[group], *scale);
                let sum = match large.get(&(group as u32)) {
                    Some(l) => sum.add(l).map_err(|_| out_of_range(agg))?,
                    None => sum,
                };
                out.push(&Datum::Decimal(sum))
            }
            States::SumReal { counts, sums } => {
                if average {
                    out[0].push(&Datum::Int(counts[group]))?;
                }
                let out = &mut out[usize::from(average)];
                match counts[group] {
                    0 => out.push_null(),
                    _ if !sums[group].is_finite() => return Err(out_of_range(agg)),
                    _ => out.push(&Datum::Float(sums[group]))?,
                }
                Ok(())
            }
            States::Extreme { best, .. } => out[0].push(&std::mem::take(&mut best[group])),
            States::First(first) => out[0].push(&first[group].take().unwrap_or_default()),
            States::Bits { bits, .. } => out[0].push(&Datum::UInt(bits[group])),
        }
    }
}

fn out_of_range(agg: &Aggregate) -> EvalError {
    let ty = if EvalType::of(&agg.ty) == EvalType::Real { "DOUBLE" } else { "DECIMAL" };
    EvalError::OutOfRange { ty: ty.into(), expr: format!("{:?}", agg.func).to_lowercase() }
}

/// Groups rows and computes partial results. Without group expressions there is one group, also of no rows.
#[derive(Debug)]
pub struct HashAggregator {
    group_by: Vec<Expr>,
    aggs: Vec<Aggregate>,
    states: Vec<States>,
    by_int: HashMap<Option<i64>, u32>,
    by_key: HashMap<Vec<u8>, u32>,
    /// The group's values, as its first row had them.
    keys: Vec<ColumnBuilder>,
    groups: u32,
}

impl HashAggregator {
    /// No rows yet.
    pub fn new(group_by: Vec<Expr>, aggs: Vec<Aggregate>) -> HashAggregator {
        let states = aggs.iter().map(States::new).collect();
        let keys = group_by.iter().map(|g| ColumnBuilder::new(g.ty(), 16)).collect();
        let mut new =
            HashAggregator { group_by, aggs, states, by_int: HashMap::new(), by_key: HashMap::new(), keys, groups: 0 };
        if new.group_by.is_empty() {
            new.groups = 1;
            new.states.iter_mut().for_each(|s| s.grow(1));
        }
        new
    }

    /// Types of the output: partial results, then the group's values.
    pub fn types(&self) -> Arc<[FieldType]> {
        let states = self.aggs.iter().flat_map(Aggregate::partial_types);
        states.chain(self.group_by.iter().map(|g| g.ty().clone())).collect()
    }

    /// Groups so far.
    pub fn len(&self) -> usize {
        self.groups as usize
    }

    /// Whether there is no group yet.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }

    /// Takes in rows.
    pub fn push(&mut self, batch: &Batch, ctx: &mut EvalContext) -> Result<()> {
        let groups = self.group_numbers(batch, ctx)?;
        for (agg, states) in self.aggs.iter().zip(&mut self.states) {
            states.grow(self.groups as usize);
            states.update(agg, &groups, batch, ctx)?;
        }
        Ok(())
    }

    fn group_numbers(&mut self, batch: &Batch, ctx: &mut EvalContext) -> Result<Vec<u32>> {
        if self.group_by.is_empty() {
            return Ok(vec![0; batch.num_rows()]);
        }
        let columns = self.group_by.iter().map(|g| eval::eval(g, batch, ctx)).collect::<Result<Vec<ArrayRef>>>()?;
        let mut numbers = Vec::with_capacity(batch.num_rows());
        let one_int = columns.len() == 1 && Physical::of(self.group_by[0].ty()) == Physical::Int;
        let mut key = Vec::new();
        for row in 0..batch.num_rows() {
            let known = if one_int {
                let ints = columns[0].as_primitive::<Int64Type>();
                let v = ints.is_valid(row).then(|| ints.value(row));
                let next = self.groups;
                let n = *self.by_int.entry(v).or_insert(next);
                (n < next).then_some(n)
            } else {
                key.clear();
                for (column, g) in columns.iter().zip(&self.group_by) {
                    datum::encode_key(&mut key, &datum_at(column, row, g.ty()), Some(g.ty()))?;
                }
                let known = self.by_key.get(&key).copied();
                if known.is_none() {
                    self.by_key.insert(key.clone(), self.groups);
                }
                known
            };
            numbers.push(match known {
                Some(n) => n,
                None => {
                    for ((column, g), out) in columns.iter().zip(&self.group_by).zip(&mut self.keys) {
                        out.push(&datum_at(column, row, g.ty()))?;
                    }
                    self.groups += 1;
                    self.groups - 1
                }
            });
        }
        Ok(numbers)
    }

    /// The groups with their partial results, in batches.
    pub fn finish(mut self) -> Result<Vec<Batch>> {
        let types = self.types();
        let groups = self.groups as usize;
        let mut columns = Vec::with_capacity(types.len());
        for (agg, states) in self.aggs.iter().zip(&mut self.states) {
            let mut out: Vec<_> = agg.partial_types().iter().map(|t| ColumnBuilder::new(t, groups)).collect();
            for group in 0..groups {
                states.push_partial(agg, group, &mut out)?;
            }
            columns.extend(out.iter_mut().map(ColumnBuilder::finish));
        }
        columns.extend(self.keys.iter_mut().map(ColumnBuilder::finish));
        let all = Batch::new(types, columns, groups);
        Ok((0..groups).step_by(BATCH_ROWS_MAX).map(|from| all.slice(from, BATCH_ROWS_MAX.min(groups - from))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Batch {
        let types: Arc<[FieldType]> =
            Arc::from([FieldType::varchar(10), FieldType::bigint(), FieldType::decimal(10, 2)]);
        let row = |s: &str, n: Option<i64>, d: &str| {
            let n = n.map_or(Datum::Null, Datum::Int);
            vec![Datum::from(s), n, Datum::Decimal(d.parse().unwrap())]
        };
        Batch::from_rows(types, &[row("a", Some(1), "1.50"), row("b", Some(5), "2.00"), row("a ", None, "0.25")])
            .unwrap()
    }

    fn agg(func: AggFunc, arg: Expr, ty: FieldType) -> Aggregate {
        Aggregate { func, args: vec![arg], ty, distinct: false }
    }

    #[test]
    fn groups_follow_the_collation_and_nulls_do_not_count() {
        let batch = input();
        let col = |i: usize| Expr::column(i, batch.types()[i].clone());
        let aggs = vec![
            agg(AggFunc::Count, Expr::constant(1_i64), FieldType::bigint()),
            agg(AggFunc::Count, col(1), FieldType::bigint()),
            agg(AggFunc::Avg, col(2), FieldType::decimal(14, 6)),
            agg(AggFunc::Max, col(1), FieldType::bigint()),
            agg(AggFunc::BitOr, col(1), FieldType::bigint_unsigned()),
        ];
        let mut h = HashAggregator::new(vec![col(0)], aggs);
        h.push(&batch, &mut EvalContext::default()).unwrap();
        h.push(&batch.slice(1, 1), &mut EvalContext::default()).unwrap();
        let rows: Vec<_> = h.finish().unwrap().iter().flat_map(|b| b.rows().collect::<Vec<_>>()).collect();
        let d = |s: &str| Datum::Decimal(s.parse().unwrap());
        let i = Datum::Int;
        assert_eq!(rows[0], [i(2), i(1), i(2), d("1.75"), i(1), Datum::UInt(1), Datum::from("a")]);
        assert_eq!(rows[1], [i(2), i(2), i(2), d("4.00"), i(5), Datum::UInt(5), Datum::from("b")]);
    }

    #[test]
    fn json_groups_and_compares_by_value() {
        let ty = FieldType::new(codec::types::TypeCode::Json);
        let types: Arc<[FieldType]> = Arc::from([ty.clone()]);
        let json = |text: &str| vec![Datum::Json(codec::json::Json::parse(text).unwrap())];
        let rows = [json("10"), json("9"), json("9.0"), json(r#""10""#), json("[1]"), json("null"), json("10")];
        let batch = Batch::from_rows(types.clone(), &rows).unwrap();
        let doc = || Expr::column(0, ty.clone());
        let aggs = vec![agg(AggFunc::Min, doc(), ty.clone()), agg(AggFunc::Max, doc(), ty.clone())];
        let mut all = HashAggregator::new(Vec::new(), aggs);
        all.push(&batch, &mut EvalContext::default()).unwrap();
        assert_eq!(all.finish().unwrap()[0].row(0), [json("null"), json("[1]")].concat());
        let mut groups = HashAggregator::new(vec![doc()], Vec::new());
        groups.push(&batch, &mut EvalContext::default()).unwrap();
        assert_eq!(groups.len(), 5);
        let key = super::super::SortKey { expr: doc(), desc: true };
        let mut top = super::super::TopN::new(vec![key], 4, types);
        top.push(&batch, &mut EvalContext::default()).unwrap();
        let sorted: Vec<_> = top.finish().unwrap().rows().collect();
        assert_eq!(sorted, [json("[1]"), json(r#""10""#), json("10"), json("10")]);
    }

    #[test]
    fn no_rows_are_one_group_when_there_is_no_group_by() {
        let none = HashAggregator::new(
            Vec::new(),
            vec![
                Aggregate { func: AggFunc::Count, args: vec![], ty: FieldType::bigint(), distinct: false },
                agg(AggFunc::Sum, Expr::column(0, FieldType::bigint()), FieldType::decimal(42, 0)),
            ],
        );
        let out = none.finish().unwrap();
        assert_eq!(out[0].row(0), [Datum::Int(0), Datum::Null]);
        let grouped = HashAggregator::new(vec![Expr::column(0, FieldType::bigint())], Vec::new());
        assert!(grouped.finish().unwrap().is_empty());
    }

    #[test]
    fn sums_beyond_38_digits_stay_exact() {
        let types: Arc<[FieldType]> = Arc::from([FieldType::decimal(38, 0)]);
        let nines: Decimal = "99999999999999999999999999999999999999".parse().unwrap();
        let batch = Batch::from_rows(types.clone(), &vec![[Datum::Decimal(nines.clone())]; 3]).unwrap();
        let sum = agg(AggFunc::Sum, Expr::column(0, types[0].clone()), FieldType::decimal(60, 0));
        let mut h = HashAggregator::new(Vec::new(), vec![sum]);
        h.push(&batch, &mut EvalContext::default()).unwrap();
        let three = nines.mul(&Decimal::from(3_i64)).unwrap();
        assert_eq!(h.finish().unwrap()[0].row(0), [Datum::Decimal(three)]);
    }
}
