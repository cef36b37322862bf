//! Operators with little memory give what they give with much, end when they are told to, and leave nothing behind.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use query::expr::{CmpOp, Func};
use query::types::EvalType;
use sql_base::memory::Limits;
use sql_planner::plan::{AggCall, Columns, Cte, Frame, JoinKind, Physical, Recursive, Shared, WindowCall, WindowFunc};

use super::*;
use crate::testing::statement;

/// Rows of an integer and a text.
type Rows = Vec<(Option<i64>, Option<String>)>;

/// Column numbers: of two tables, and of an aggregate's results.
const LEFT: [ColId; 2] = [0, 1];
const RIGHT: [ColId; 2] = [2, 3];
const RESULTS: [ColId; 3] = [4, 5, 6];

fn columns() -> Columns {
    let mut columns = Columns::default();
    let types = [FieldType::bigint(), FieldType::varchar(300)];
    for name in ["a", "b"] {
        columns.add(format!("{name}.n"), types[0].clone());
        columns.add(format!("{name}.s"), types[1].clone());
    }
    columns.add("key", types[0].clone());
    columns.add("count", FieldType::bigint());
    columns.add("max", types[1].clone());
    columns
}

fn table(number: usize) -> Plan {
    let ids = [LEFT, RIGHT][number].to_vec();
    Plan::WorkTable { number, alias: "t".into(), ids }
}

fn column(id: ColId) -> Expr {
    columns().expr(id)
}

fn run(plan: &Plan, tables: &[&Rows], limits: Limits) -> Result<(Vec<Vec<Datum>>, u64), SqlError> {
    let mut rt = statement(columns(), limits);
    let cte = Shared { number: 0, name: "c".into(), ids: LEFT.to_vec(), plan: table(0) };
    rt.share(&Physical { shared: vec![cte], ..Physical::default() });
    for (number, rows) in tables.iter().enumerate() {
        let types = rt.columns.types(&LEFT);
        let values: Vec<Vec<Datum>> = rows
            .iter()
            .map(|(n, s)| vec![n.map_or(Datum::Null, Datum::Int), s.clone().map_or(Datum::Null, Datum::string)])
            .collect();
        let batches = values.chunks(100).map(|rows| Batch::from_rows(types.clone(), rows).unwrap()).collect();
        rt.put_work_table(number, batches);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let mut operator = build(plan, NodeId::default(), &mut rt)?;
        let mut out = Vec::new();
        while let Some(batch) = operator.next(&mut rt).await? {
            out.extend(batch.rows());
        }
        Ok::<_, SqlError>(out)
    });
    let budget = rt.budget.clone();
    if format!("{plan:?}").contains("Cte(") {
        // Its rows are the statement's, not an operator's.
        drop(rt);
    }
    assert_eq!(budget.used(), 0, "what operators held is given back with them");
    result.map(|out| (out, budget.spilled()))
}

/// So little that hardly anything fits.
const LITTLE: Limits = Limits { quota: 64 << 10, spill: true, ..Limits::NONE };

/// Gives the same with much and with little memory; whether it wrote to disk.
fn check(plan: &Plan, tables: &[&Rows], ordered: bool) -> bool {
    let (mut much, none) = run(plan, tables, Limits::NONE).unwrap();
    assert_eq!(none, 0);
    let (mut little, spilled) = run(plan, tables, LITTLE).unwrap();
    if !ordered {
        much.sort_by_cached_key(|row| format!("{row:?}"));
        little.sort_by_cached_key(|row| format!("{row:?}"));
    }
    assert_eq!(much.len(), little.len());
    assert!(much == little, "other rows with little memory");
    spilled > 0
}

fn sort(limit: Option<u64>) -> Plan {
    let keys = vec![SortKey { expr: column(LEFT[0]), desc: true }];
    Plan::Sort { input: Box::new(table(0)), keys, limit }
}

fn join(kind: JoinKind, equal: bool, other: bool) -> Plan {
    let less = Expr::call(
        Func::Compare(CmpOp::Lt, EvalType::Int, codec::types::Collation::BINARY),
        vec![column(LEFT[0]), column(RIGHT[0])],
        FieldType::bigint(),
    );
    Plan::Join {
        kind,
        left: Box::new(table(0)),
        right: Box::new(table(1)),
        equal: if equal { vec![(column(LEFT[1]), column(RIGHT[1]))] } else { Vec::new() },
        other: if other { vec![less] } else { Vec::new() },
        way: JoinWay::Hash,
    }
}

/// The same by text, of sides that are sorted for it.
fn merge_join(kind: JoinKind, other: bool) -> Plan {
    let sorted = |number, id| {
        let keys = vec![SortKey { expr: column(id), desc: false }];
        Box::new(Plan::Sort { input: Box::new(table(number)), keys, limit: None })
    };
    match join(kind, true, other) {
        Plan::Join { equal, other, .. } => {
            let (left, right) = (sorted(0, LEFT[1]), sorted(1, RIGHT[1]));
            Plan::Join { kind, left, right, equal, other, way: JoinWay::Merge }
        }
        plan => plan,
    }
}

/// A CTE twice, one behind the other.
fn shared_twice() -> Plan {
    let cte = || {
        let cte = Cte { number: 0, name: "c".into(), alias: "c".into(), ids: LEFT.to_vec(), rows: 1.0 };
        Plan::Cte(Box::new(cte))
    };
    Plan::Union { inputs: vec![cte(), cte()], ids: LEFT.to_vec() }
}

/// Both give the same rows.
fn same(a: &Plan, b: &Plan, tables: &[&Rows], limits: Limits) {
    let rows = |plan| {
        let mut rows: Vec<String> = run(plan, tables, limits).unwrap().0.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    };
    assert_eq!(rows(a), rows(b), "{a:?}");
}

fn aggregate() -> Plan {
    let call = |name: &str, args: Vec<Expr>, ty: FieldType| AggCall {
        name: name.into(),
        args,
        distinct: false,
        order_by: Vec::new(),
        separator: None,
        ty,
    };
    let aggs = vec![
        (call("count", Vec::new(), FieldType::bigint()), RESULTS[1]),
        (call("max", vec![column(LEFT[1])], FieldType::varchar(300)), RESULTS[2]),
    ];
    Plan::Aggregate { input: Box::new(table(0)), group: vec![(column(LEFT[0]), RESULTS[0])], aggs, merge: false }
}

const KINDS: [JoinKind; 4] = [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti];

/// Many rows: integers below `keys`, texts of those and some more; NULLs now and then.
fn many(rows: usize, keys: i64, seed: i64) -> Rows {
    (0..rows as i64)
        .map(|i| {
            let n = (i * 7919 + seed) % keys;
            let s = format!("{:0>60}", (i * 104_729 + seed) % (keys + keys / 4 + 1));
            ((i % 53 != 0).then_some(n), (i % 41 != 0).then_some(s))
        })
        .collect()
}

#[test]
fn with_little_memory_every_operator_writes_to_disk_and_gives_the_same() {
    let (a, b) = (many(4000, 3000, 1), many(3000, 3000, 5));
    assert!(check(&sort(None), &[&a], true));
    assert!(check(&sort(Some(3500)), &[&a], true));
    assert!(!check(&sort(Some(20)), &[&a], true), "the first rows find room");
    assert!(check(&aggregate(), &[&a], false));
    assert!(check(&Plan::Distinct(Box::new(table(0))), &[&a], false));
    for kind in KINDS {
        assert!(check(&join(kind, true, false), &[&a, &b], false), "{kind:?}");
        assert!(check(&join(kind, true, true), &[&a, &b], false), "{kind:?}");
    }
}

#[test]
fn a_cte_that_is_read_twice_gives_its_rows_twice_from_memory_and_from_disk() {
    let rows = many(4000, 3000, 1);
    assert!(check(&shared_twice(), &[&rows], true));
    assert_eq!(run(&shared_twice(), &[&rows], LITTLE).unwrap().0.len(), 8000);
    assert_eq!(run(&shared_twice(), &[&Vec::new()], LITTLE).unwrap().0.len(), 0);
}

#[test]
fn a_merge_join_gives_what_a_hash_join_gives_with_the_rows_of_few_keys_in_memory() {
    let (a, b) = (many(4000, 3000, 1), many(3000, 3000, 5));
    let (few_keys, more) = (many(3000, 40, 3), many(2500, 60, 4));
    for kind in KINDS {
        for other in [false, true] {
            same(&merge_join(kind, other), &join(kind, true, other), &[&a, &b], Limits::NONE);
            same(&merge_join(kind, other), &join(kind, true, other), &[&a, &b], LITTLE);
            same(&merge_join(kind, other), &join(kind, true, other), &[&few_keys, &more], Limits::NONE);
            same(&merge_join(kind, other), &join(kind, true, other), &[&few_keys, &more], LITTLE);
            same(&merge_join(kind, other), &join(kind, true, other), &[&few_keys, &Vec::new()], LITTLE);
        }
    }
}

#[test]
fn a_merge_join_without_room_for_the_rows_of_one_key_is_an_error() {
    let one_key: Rows = many(4000, 3000, 1).iter().map(|(n, _)| (*n, Some("k".repeat(60)))).collect();
    match run(&merge_join(JoinKind::Inner, false), &[&many(10, 5, 1), &one_key], LITTLE) {
        // Nobody has that key.
        Ok((rows, _)) => assert!(rows.is_empty()),
        Err(e) => panic!("{e}"),
    }
    let error = run(&merge_join(JoinKind::Inner, false), &[&one_key, &one_key], LITTLE).err();
    assert!(matches!(error, Some(SqlError::MemoryQuota(1))), "{error:?}");
}

#[test]
fn a_merge_join_refuses_rows_that_are_not_in_order() {
    let plan = match merge_join(JoinKind::Inner, false) {
        Plan::Join { kind, right, equal, other, way, .. } => {
            Plan::Join { kind, left: Box::new(table(0)), right, equal, other, way }
        }
        plan => plan,
    };
    let rows = |texts: &[&str]| -> Rows { texts.iter().map(|s| (Some(1), Some((*s).to_owned()))).collect() };
    assert!(run(&plan, &[&rows(&["b", "a"]), &rows(&["a", "b"])], Limits::NONE).is_err());
    assert_eq!(run(&plan, &[&rows(&["a", "b"]), &rows(&["a", "b"])], Limits::NONE).unwrap().0.len(), 2);
}

#[test]
fn joins_without_a_key_and_of_one_key_are_made_part_by_part() {
    let (a, b) = (many(40, 30, 1), many(1000, 700, 5));
    let same = |rows: &Rows| -> Rows { rows.iter().map(|(n, _)| (*n, Some("same".repeat(20)))).collect() };
    let (one, other) = (same(&a), same(&b));
    for kind in KINDS {
        for with_other in [false, true] {
            assert!(check(&join(kind, false, with_other), &[&a, &b], false), "{kind:?}");
            assert!(check(&join(kind, true, with_other), &[&one, &other], false), "{kind:?}");
        }
    }
}

#[test]
fn without_leave_to_write_the_quota_is_an_error_that_names_it() {
    let (a, b) = (many(4000, 3000, 1), many(3000, 3000, 5));
    let limits = Limits { spill: false, ..LITTLE };
    for plan in [sort(None), aggregate(), Plan::Distinct(Box::new(table(0))), join(JoinKind::Inner, true, false)] {
        match run(&plan, &[&a, &b], limits) {
            Err(error @ SqlError::MemoryQuota(1)) => assert!(error.to_string().contains("tidb_mem_quota_query")),
            other => panic!("{:?}", other.map(|(rows, _)| rows.len())),
        }
    }
}

#[test]
fn what_cannot_be_written_to_disk_ends_with_the_quota_by_name() {
    let rows = many(4000, 3000, 1);
    let call = WindowCall {
        func: WindowFunc::RowNumber,
        args: Vec::new(),
        frame: Frame::whole(),
        ty: sql_planner::window::number_type(),
    };
    let window = Plan::Window {
        input: Box::new(table(0)),
        partition: Vec::new(),
        order: Vec::new(),
        calls: vec![(call, RESULTS[1])],
    };
    let recursive = Plan::Recursive(Box::new(Recursive {
        name: "r".into(),
        number: 7,
        ids: LEFT.to_vec(),
        inputs: vec![table(0), Plan::WorkTable { number: 7, alias: "r".into(), ids: LEFT.to_vec() }],
        distinct: false,
        limit: None,
    }));
    let one_group = match aggregate() {
        Plan::Aggregate { input, mut aggs, merge, .. } => {
            aggs.truncate(1);
            aggs[0].0 = AggCall { args: vec![column(LEFT[1])], distinct: true, ..aggs[0].0.clone() };
            Plan::Aggregate { input, group: Vec::new(), aggs, merge }
        }
        plan => plan,
    };
    for plan in [window, recursive, one_group] {
        match run(&plan, &[&rows], LITTLE) {
            Err(error @ SqlError::MemoryQuota(1)) => assert_eq!(error.code().0, 8175),
            other => panic!("{:?} of {plan:?}", other.map(|(rows, _)| rows.len())),
        }
    }
}

/// The statement is killed while the operator works: how long it takes to notice.
fn killed_after(plan: &Plan, tables: &[&Rows], limits: Limits, time: bool) -> Duration {
    let mut rt = statement(columns(), limits);
    for (number, rows) in tables.iter().enumerate() {
        let values: Vec<Vec<Datum>> = rows
            .iter()
            .map(|(n, s)| vec![n.map_or(Datum::Null, Datum::Int), s.clone().map_or(Datum::Null, Datum::string)])
            .collect();
        // Again and again the same rows: more than could be done in a second.
        let types = rt.columns.types(&LEFT);
        let batches: Vec<Batch> = values.chunks(1024).map(|r| Batch::from_rows(types.clone(), r).unwrap()).collect();
        rt.put_work_table(number, batches);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut operator = build(plan, NodeId::default(), &mut rt).unwrap();
        let interrupt = rt.interrupt.clone();
        let told = Arc::new(parking_lot::Mutex::new(None));
        let began = Instant::now();
        let delay = Duration::from_millis(30);
        if time {
            interrupt.limit(Some(delay));
            *told.lock() = Some(began + delay);
        } else {
            let told = told.clone();
            // Not a task: the operator may leave none of them a turn.
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                *told.lock() = Some(Instant::now());
                interrupt.kill_query();
            });
        }
        loop {
            match operator.next(&mut rt).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it was done in {:?}", began.elapsed()),
                Err(SqlError::Interrupted | SqlError::ExecutionTimeout) => break,
                Err(e) => panic!("{e}"),
            }
        }
        let told = told.lock().expect("told before it ended");
        told.elapsed()
    })
}

#[test]
fn every_operator_that_works_long_ends_soon_when_it_is_to() {
    let rows = many(60_000, 50_000, 1);
    let one_key: Rows = rows.iter().map(|(n, _)| (*n, Some("k".into()))).collect();
    let repeat = |input: Plan| Plan::Repeat {
        input: Box::new(input),
        times: Expr::Const { value: Datum::Int(1_000_000), ty: FieldType::bigint() },
    };
    let endless = || repeat(table(0));
    let merged = match join(JoinKind::Semi, true, true) {
        Plan::Join { kind, left, right, equal, other, .. } => {
            Plan::Join { kind, left, right, equal, other, way: JoinWay::Merge }
        }
        plan => plan,
    };
    for time in [false, true] {
        let took = killed_after(&merged, &[&one_key, &one_key], Limits::NONE, time);
        assert!(took < Duration::from_secs(1), "{took:?} after the end of {merged:?}");
    }
    let plans = [
        Plan::Sort {
            input: Box::new(endless()),
            keys: vec![SortKey { expr: column(LEFT[1]), desc: false }],
            limit: None,
        },
        Plan::Sort {
            input: Box::new(endless()),
            keys: vec![SortKey { expr: column(LEFT[1]), desc: false }],
            limit: Some(5),
        },
        Plan::Distinct(Box::new(endless())),
        match aggregate() {
            Plan::Aggregate { group, aggs, .. } => {
                Plan::Aggregate { input: Box::new(endless()), group, aggs, merge: false }
            }
            other => other,
        },
        // Pairs of which none is kept.
        join(JoinKind::Semi, true, true),
        join(JoinKind::Inner, false, true),
        Plan::Filter {
            input: Box::new(endless()),
            conditions: vec![Expr::call(
                Func::Compare(CmpOp::Lt, EvalType::Int, codec::types::Collation::BINARY),
                vec![column(LEFT[0]), Expr::Const { value: Datum::Int(-1), ty: FieldType::bigint() }],
                FieldType::bigint(),
            )],
        },
        Plan::Limit { input: Box::new(endless()), offset: u64::MAX - 1, count: 1 },
    ];
    for plan in &plans {
        for time in [false, true] {
            for limits in [Limits::NONE, LITTLE] {
                let took = killed_after(plan, &[&one_key, &one_key], limits, time);
                assert!(took < Duration::from_secs(1), "{took:?} after the end of {plan:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn little_memory_changes_no_result(
        a in prop::collection::vec((prop::option::of(-40_i64..40), prop::option::of("[a-d]{0,3}")), 0..1200),
        b in prop::collection::vec((prop::option::of(-40_i64..40), prop::option::of("[a-d]{0,3}")), 0..300),
        pad in 0_usize..150,
        limit in prop::option::of(0_u64..1500),
    ) {
        let padded = |rows: Rows| -> Rows {
            rows.into_iter().map(|(n, s)| (n, s.map(|s| format!("{s}{:x>pad$}", "")))).collect()
        };
        let (a, b) = (padded(a), padded(b));
        check(&sort(limit), &[&a], true);
        check(&aggregate(), &[&a], false);
        check(&Plan::Distinct(Box::new(table(0))), &[&a], false);
        for kind in KINDS {
            for (equal, other) in [(true, false), (true, true), (false, true)] {
                let few: Rows = a.iter().take(if equal { 1200 } else { 60 }).cloned().collect();
                check(&join(kind, equal, other), &[&few, &b], false);
            }
            for other in [false, true] {
                same(&merge_join(kind, other), &join(kind, true, other), &[&a, &b], Limits::NONE);
            }
        }
    }
}
