//! Pruning leaves out no partition that has a row which satisfies the conditions, and does leave out others.

use std::sync::Arc;

use codec::datum::Datum;
use codec::time::{Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode};
use proptest::prelude::*;
use query::context::EvalContext;
use query::expr::Expr;
use sql_catalog::partition::{Method, Term, Value};
use sql_catalog::{ColumnInfo, Name, Partition, PartitionInfo, TableInfo};

use super::*;
use crate::expr::call;

/// `a INT, b INT UNSIGNED, d DATE, s VARCHAR(10)` without case; ids are offsets and one.
fn table(info: PartitionInfo) -> TableInfo {
    let types = [
        FieldType::bigint(),
        FieldType { flags: codec::types::flags::UNSIGNED, ..FieldType::bigint() },
        FieldType::new(TypeCode::Date),
        FieldType::varchar(10).with_collation(Collation::from_name("utf8mb4_general_ci").unwrap()),
    ];
    let columns = types.into_iter().enumerate();
    let columns = columns.map(|(at, ty)| ColumnInfo::new(at, ["a", "b", "d", "s"][at], ty)).collect();
    TableInfo { partition: Some(Box::new(info)), ..TableInfo::new(100, "t", columns) }
}

fn partition(at: usize, less_than: Vec<Value>, in_values: Vec<Vec<Value>>) -> Partition {
    Partition {
        id: 101 + at as i64,
        name: Name::new(format!("p{at}")),
        less_than,
        in_values,
        comment: String::new(),
        policy: None,
        closed: false,
    }
}

fn ranges(expr: Option<Term>, columns: Vec<i64>, ends: Vec<Vec<Value>>) -> PartitionInfo {
    let all = ends.into_iter().enumerate().map(|(at, end)| partition(at, end, Vec::new())).collect();
    PartitionInfo::new(Method::Range, expr, columns, all)
}

fn lists(expr: Option<Term>, columns: Vec<i64>, lists: Vec<Vec<Vec<Value>>>) -> PartitionInfo {
    let all = lists.into_iter().enumerate().map(|(at, list)| partition(at, Vec::new(), list)).collect();
    PartitionInfo::new(Method::List, expr, columns, all)
}

fn hashed(method: Method, expr: Option<Term>, columns: Vec<i64>, count: usize) -> PartitionInfo {
    let all = (0..count).map(|at| partition(at, Vec::new(), Vec::new())).collect();
    PartitionInfo::new(method, expr, columns, all)
}

fn number(n: i64) -> Value {
    Value::Number(n.to_string())
}

fn of(name: &str, args: Vec<Term>) -> Term {
    Term::Call(name.into(), args)
}

const A: Term = Term::Column(1);
const B: Term = Term::Column(2);
const D: Term = Term::Column(3);

fn terms_of_a() -> impl Strategy<Value = Term> {
    prop_oneof![
        Just(A),
        (-4..5_i64).prop_map(|n| of("+", vec![A, Term::Number(n)])),
        (-4..5_i64).prop_map(|n| of("-", vec![Term::Number(n), A])),
        (-3..4_i64).prop_map(|n| of("*", vec![A, Term::Number(n)])),
        (-3..4_i64).prop_map(|n| of("div", vec![A, Term::Number(n)])),
        (1..4_i64).prop_map(|n| of("%", vec![A, Term::Number(n)])),
        Just(of("abs", vec![A])),
        Just(of("unaryminus", vec![A])),
    ]
}

/// Ends that rise, the last perhaps without end.
fn ends() -> impl Strategy<Value = Vec<Vec<Value>>> {
    (prop::collection::btree_set(-15..15_i64, 1..6), any::<bool>()).prop_map(|(ends, whole)| {
        let last = whole.then_some(vec![Value::Max]);
        ends.into_iter().map(|n| vec![number(n)]).chain(last).collect()
    })
}

fn definitions() -> impl Strategy<Value = PartitionInfo> {
    let of_lists = (prop::collection::vec(0..4_usize, 25), any::<bool>()).prop_map(|(places, others)| {
        let mut lists = vec![Vec::new(); 4];
        for (value, place) in (-12..13).zip(places) {
            lists[place].push(vec![if value == 12 { Value::Null } else { number(value) }]);
        }
        if others {
            lists.push(vec![vec![Value::Default]]);
        }
        lists.retain(|list| !list.is_empty());
        lists
    });
    let years = prop::collection::btree_set(2010..2022_i64, 1..5);
    let dates = prop::collection::btree_set(0..4000_i64, 1..5);
    let texts = prop::collection::btree_set("[a-e]{1,2}", 1..5);
    let pairs = prop::collection::btree_set((-5..6_i64, 0..6_i64), 1..6);
    prop_oneof![
        (terms_of_a(), ends()).prop_map(|(term, ends)| ranges(Some(term), vec![], ends)),
        (terms_of_a(), of_lists).prop_map(|(term, values)| lists(Some(term), vec![], values)),
        (terms_of_a(), 1..6_usize).prop_map(|(term, n)| hashed(Method::Hash, Some(term), vec![], n)),
        (1..6_usize).prop_map(|n| hashed(Method::Hash, Some(of("+", vec![A, B])), vec![], n)),
        (1..6_usize, any::<bool>())
            .prop_map(|(n, both)| { hashed(Method::Key, None, if both { vec![1, 4] } else { vec![4] }, n) }),
        years.prop_map(|years| {
            let ends = years.into_iter().map(|year| vec![number(year)]).chain([vec![Value::Max]]).collect();
            ranges(Some(of("year", vec![D])), vec![], ends)
        }),
        dates.clone().prop_map(|days| {
            let ends = days.into_iter().map(|day| vec![number(733_000 + day)]).collect();
            ranges(Some(of("to_days", vec![D])), vec![], ends)
        }),
        dates.prop_map(|days| {
            let end = |day: i64| vec![Value::Text(date(day).to_string())];
            ranges(None, vec![3], days.into_iter().map(end).chain([vec![Value::Max]]).collect())
        }),
        texts.prop_map(|texts| ranges(None, vec![4], texts.into_iter().map(|text| vec![Value::Text(text)]).collect())),
        pairs.clone().prop_map(|pairs| {
            ranges(None, vec![1, 2], pairs.into_iter().map(|(a, b)| vec![number(a), number(b)]).collect())
        }),
        pairs.prop_map(|pairs| {
            let one = |(a, b): (i64, i64)| vec![if a == 5 { Value::Null } else { number(a) }, number(b)];
            let mut values: Vec<Vec<Value>> = pairs.into_iter().map(one).collect();
            values.dedup();
            let half = values.split_off(values.len() / 2);
            lists(None, vec![1, 2], [values, half].into_iter().filter(|list| !list.is_empty()).collect())
        }),
    ]
}

fn date(day: i64) -> Time {
    let (year, rest) = (2007 + day / 372, day % 372);
    let text = format!("{year:04}-{:02}-{:02}", rest / 31 + 1, (rest % 31 + 1).min(28));
    Time::parse(&text, TimeKind::Date, 0).unwrap().value
}

fn rows() -> impl Strategy<Value = Vec<Datum>> {
    let null = |d: Option<Datum>| d.unwrap_or(Datum::Null);
    let a = prop::option::weighted(0.9, (-14..15_i64).prop_map(Datum::Int)).prop_map(null);
    let b = prop::option::weighted(0.9, (0..8_u64).prop_map(Datum::UInt)).prop_map(null);
    let d = prop::option::weighted(0.9, (0..4500_i64).prop_map(|day| Datum::Time(date(day)))).prop_map(null);
    let s = prop::option::weighted(0.9, "[a-eA-E]{0,3}".prop_map(Datum::string)).prop_map(null);
    (a, b, d, s).prop_map(|(a, b, d, s)| vec![a, b, d, s])
}

/// A condition over the columns by their offsets.
fn conditions() -> impl Strategy<Value = Expr> {
    let column =
        |at: usize| Expr::column(at, table(hashed(Method::Key, None, vec![1], 1)).columns[at].field_type.clone());
    let constant = |at: usize| -> BoxedStrategy<Expr> {
        match at {
            0 => prop_oneof![
                8 => (-14..15_i64).prop_map(Expr::constant),
                1 => (-14..15_i64).prop_map(|n| crate::expr::number(&format!("{n}.5")).unwrap()),
                1 => Just(Expr::null()),
            ]
            .boxed(),
            1 => prop_oneof![8 => (-2..8_i64).prop_map(Expr::constant), 1 => Just(Expr::null())].boxed(),
            2 => (0..4500_i64).prop_map(|day| Expr::constant(Datum::string(date(day).to_string()))).boxed(),
            _ => "[a-eA-E]{0,2}".prop_map(|text| Expr::constant(Datum::string(text))).boxed(),
        }
    };
    let cx = EvalContext::default;
    let operator = prop::sample::select(vec!["=", "<", "<=", ">", ">=", "<>", "<=>"]);
    let compared = (0..4_usize, operator).prop_flat_map(move |(at, op)| {
        constant(at).prop_map(move |value| call(op, vec![column(at), value], &cx()).unwrap())
    });
    let listed = (0..4_usize).prop_flat_map(move |at| {
        prop::collection::vec(constant(at), 1..4)
            .prop_map(move |values| call("in", std::iter::once(column(at)).chain(values).collect(), &cx()).unwrap())
    });
    let null = (0..4_usize).prop_map(move |at| call("isnull", vec![column(at)], &cx()).unwrap());
    let like = "[a-e]{1,2}%"
        .prop_map(move |p| call("like", vec![column(3), Expr::constant(Datum::string(p))], &cx()).unwrap());
    let leaf = prop_oneof![6 => compared, 2 => listed, 1 => null, 1 => like];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(move |all| {
                all.into_iter().reduce(|a, b| call("and", vec![a, b], &cx()).unwrap()).unwrap()
            }),
            several.prop_map(move |all| {
                all.into_iter().reduce(|a, b| call("or", vec![a, b], &cx()).unwrap()).unwrap()
            }),
            inner.prop_map(move |e| call("not", vec![e], &cx()).unwrap()),
        ]
    })
}

fn found(table: &TableInfo, conditions: &[Expr]) -> Vec<usize> {
    let info = table.partition.as_deref().unwrap();
    let ids = (0..table.columns.len()).map(|offset| (offset, offset)).collect();
    let partitions = Partitions { ids, ..Partitions::default() };
    left(table, info, &partitions, conditions, &TimeZone::UTC)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_row_is_lost(
        info in definitions(),
        rows in prop::collection::vec(rows(), 1..30),
        conditions in prop::collection::vec(conditions(), 1..3),
    ) {
        let table = table(info);
        let found = found(&table, &conditions);
        for row in rows {
            // A row that belongs nowhere is in no partition.
            let Ok(id) = table.partition_of(&row) else { continue };
            let mut cx = EvalContext::default();
            let holds = conditions.iter().all(|c| {
                let value = query::eval::eval_row(c, &row[..], &mut cx).unwrap();
                query::value::truth(&value, &mut cx).unwrap() == Some(true)
            });
            let at = (id.0 - 101) as usize;
            prop_assert!(!holds || found.contains(&at), "{row:?} is in p{at}, but only {found:?} are read");
        }
    }
}

fn compare(op: &str, at: usize, value: impl Into<Datum>) -> Expr {
    let ty = table(hashed(Method::Key, None, vec![1], 1)).columns[at].field_type.clone();
    call(op, vec![Expr::column(at, ty), Expr::constant(value)], &EvalContext::default()).unwrap()
}

#[test]
fn what_cannot_have_rows_is_left_out() {
    let ends = || vec![vec![number(0)], vec![number(10)], vec![Value::Max]];
    let by_a = table(ranges(Some(A), vec![], ends()));
    assert_eq!(found(&by_a, &[compare("=", 0, 4_i64)]), [1]);
    assert_eq!(found(&by_a, &[compare(">", 0, 9_i64)]), [2]);
    assert_eq!(found(&by_a, &[compare("<", 0, 0_i64)]), [0]);
    assert_eq!(found(&by_a, &[compare(">=", 0, 0_i64), compare("<", 0, 10_i64)]), [1]);
    assert_eq!(found(&by_a, &[compare("<=>", 0, Datum::Null)]), [0]);
    assert_eq!(found(&by_a, &[compare("=", 0, Datum::Null)]), [0_usize; 0]);
    let either = call("or", vec![compare("<", 0, -5_i64), compare(">", 0, 50_i64)], &EvalContext::default()).unwrap();
    assert_eq!(found(&by_a, &[either]), [0, 2]);
    assert_eq!(found(&by_a, &[compare("=", 1, 4_i64)]), [0, 1, 2]);
    let turned = table(ranges(Some(of("-", vec![Term::Number(5), A])), vec![], ends()));
    assert_eq!(found(&turned, &[compare(">", 0, 5_i64)]), [0]);
    let years = vec![vec![number(2019)], vec![number(2020)], vec![Value::Max]];
    let by_year = table(ranges(Some(of("year", vec![D])), vec![], years));
    assert_eq!(found(&by_year, &[compare("<=", 2, Datum::string("2019-03-01"))]), [0, 1]);
    assert_eq!(found(&by_year, &[compare(">", 2, Datum::string("2020-03-01"))]), [2]);
    let by_hash = table(hashed(Method::Hash, Some(A), vec![], 4));
    assert_eq!(found(&by_hash, &[compare("=", 0, 5_i64)]), [1]);
    assert_eq!(found(&by_hash, &[compare(">=", 0, 4_i64), compare("<=", 0, 5_i64)]), [0, 1]);
    let by_list = table(lists(Some(A), vec![], vec![vec![vec![number(1)], vec![number(9)]], vec![vec![number(5)]]]));
    assert_eq!(found(&by_list, &[compare("<", 0, 5_i64)]), [0]);
    assert_eq!(found(&by_list, &[compare("=", 0, 7_i64)]), [0_usize; 0]);
    let by_text = table(ranges(None, vec![4], vec![vec![Value::Text("f".into())], vec![Value::Max]]));
    assert_eq!(found(&by_text, &[compare("=", 3, Datum::string("A"))]), [0]);
    assert_eq!(found(&by_text, &[compare(">=", 3, Datum::string("F"))]), [1]);
}

#[test]
fn names_choose_partitions_and_conditions_among_them() {
    let table = Arc::new(table(hashed(Method::Hash, Some(A), vec![], 4)));
    let ident =
        |name: &str| sql_parser::ast::Ident { value: name.into(), quoted: false, at: sql_parser::ast::Place(0) };
    let named = named(&table, &[ident("P1"), ident("p2")]).unwrap();
    assert_eq!(named, Some(vec![1, 2]));
    let ids = vec![(0, 0)];
    let partitions = Partitions { named, ids, ..Partitions::default() };
    let info = table.partition.as_deref().unwrap();
    assert_eq!(left(&table, info, &partitions, &[], &TimeZone::UTC), [1, 2]);
    assert_eq!(left(&table, info, &partitions, &[compare("=", 0, 5_i64)], &TimeZone::UTC), [1]);
    assert_eq!(super::named(&table, &[ident("p9")]).unwrap_err().code().0, 1735);
}
