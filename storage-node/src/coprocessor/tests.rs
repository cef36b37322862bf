//! Requests against rows in a map, through the protobuf messages as a client sends them.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use codec::datum::{self, Datum};
use codec::row::encode_row_v2;
use codec::table::{self, Handle, IndexId, IndexPart, PhysicalTableId, RowRef};
use codec::types::{FieldType, TypeCode};
use engine::{Direction, KeyRange};
use prost::Message;
use proto::coprocessor::{KeyRange as PbRange, Request, Response};
use proto::tipb::{self, ExecType, Executor};
use query::expr::{ArithOp, CmpOp, Expr};
use query::ops::{AggFunc, Aggregate};
use query::{infer, pb};

use super::*;
use crate::mvcc::ScanOptions;
use crate::mvcc::view::RowIter;

#[derive(Default)]
struct MapView(BTreeMap<Vec<u8>, Bytes>);

impl ReadView for MapView {
    fn get(&self, user_key: &[u8]) -> crate::mvcc::Result<Option<Bytes>> {
        Ok(self.0.get(user_key).cloned())
    }

    fn scan(&self, range: &KeyRange, options: ScanOptions) -> crate::mvcc::Result<RowIter<'_>> {
        let range = range.clone();
        let rows = self.0.range(range.start.clone()..).take_while(move |(k, _)| range.contains(k));
        let rows: Vec<_> = rows.map(|(k, v)| Ok((k.clone(), v.clone()))).collect();
        Ok(match options.direction {
            Direction::Forward => Box::new(rows.into_iter()),
            Direction::Backward => Box::new(rows.into_iter().rev()),
        })
    }
}

const TABLE: PhysicalTableId = PhysicalTableId(45);
const INDEX: IndexId = IndexId(2);

/// id BIGINT PRIMARY KEY, name VARCHAR(20), balance DECIMAL(12,2), seen TIMESTAMP, n BIGINT added later DEFAULT 7
fn types() -> Vec<FieldType> {
    vec![
        FieldType::bigint(),
        FieldType::varchar(20),
        FieldType::decimal(12, 2),
        FieldType::new(TypeCode::Timestamp),
        FieldType::bigint(),
    ]
}

fn row(i: i64) -> Vec<Datum> {
    let seen = codec::time::Time::from_epoch_micros(i * 3_600_000_000, codec::time::TimeKind::Timestamp, 0).unwrap();
    let name = if i % 5 == 0 { Datum::Null } else { Datum::string(format!("name{}", i % 3)) };
    vec![Datum::Int(i), name, Datum::Decimal(format!("{i}.50").parse().unwrap()), Datum::Time(seen), Datum::Int(7)]
}

fn view(rows: i64) -> MapView {
    let mut map = MapView::default();
    let types = types();
    for i in 0..rows {
        let values = row(i);
        let bytes = encode_row_v2((1..4).map(|c| (c as i64 + 1, &values[c], &types[c]))).unwrap();
        let handle = Handle::Int(i);
        map.0.insert(table::record_key(TABLE, &handle), bytes.into());
        let part = [IndexPart { column_id: 2, ty: &types[1], prefix: None }];
        let entry =
            table::encode_index_entry(TABLE, INDEX, false, &part, &values[1..2], RowRef::numbered(&handle)).unwrap();
        map.0.insert(entry.key, entry.value.into());
    }
    map
}

fn table_scan(desc: bool) -> Executor {
    let columns = (types().iter().enumerate())
        .map(|(i, ty)| pb::column_to_pb(i as i64 + 1, ty, i == 0, (i == 4).then_some(&Datum::Int(7))).unwrap())
        .collect();
    Executor {
        tp: ExecType::TypeTableScan.into(),
        tbl_scan: Some(tipb::TableScan { table_id: TABLE.0, columns, desc, ..Default::default() }),
        ..Default::default()
    }
}

fn selection(conditions: &[Expr]) -> Executor {
    let conditions = conditions.iter().map(|c| pb::to_pb(c).unwrap()).collect();
    Executor {
        tp: ExecType::TypeSelection.into(),
        selection: Some(tipb::Selection { conditions }),
        ..Default::default()
    }
}

fn limit(limit: u64) -> Executor {
    Executor {
        tp: ExecType::TypeLimit.into(),
        limit: Some(tipb::Limit { limit, partition_by: Vec::new() }),
        ..Default::default()
    }
}

fn col(i: usize) -> Expr {
    Expr::column(i, types()[i].clone())
}

fn request(executors: Vec<Executor>, offsets: &[u32]) -> Request {
    let dag = tipb::DagRequest { executors, output_offsets: offsets.to_vec(), flags: 2, ..Default::default() };
    let (start, end) = table::record_range(TABLE);
    Request { tp: REQ_TYPE_DAG, data: dag.encode_to_vec(), ranges: vec![PbRange { start, end }], ..Default::default() }
}

fn rows_of(response: &Response, width: usize) -> Vec<Vec<Datum>> {
    assert_eq!(response.other_error, "");
    let select = tipb::SelectResponse::decode(&response.data[..]).unwrap();
    assert_eq!(select.error, None);
    let mut rows = Vec::new();
    for chunk in &select.chunks {
        let all = datum::decode_all(&chunk.rows_data).unwrap();
        rows.extend(all.chunks(width).map(<[Datum]>::to_vec));
    }
    rows
}

fn ids(response: &Response) -> Vec<i64> {
    rows_of(response, 1).iter().map(|r| r[0].as_i64().unwrap()).collect()
}

#[test]
fn a_table_scan_gives_columns_handles_nulls_and_defaults() {
    let response = handle(&request(vec![table_scan(false)], &[]), &view(3));
    let rows = rows_of(&response, 5);
    assert_eq!(rows.len(), 3);
    for (i, got) in rows.into_iter().enumerate() {
        let types = types();
        let got: Vec<_> = got.into_iter().zip(&types).map(|(d, t)| d.unflatten(t).unwrap()).collect();
        assert_eq!(got, row(i as i64));
    }
}

#[test]
fn a_selection_filters_with_mysql_rules() {
    let is = |op, a: Expr, b: Expr| infer::compare(op, a, b).unwrap();
    let fold = |e: Expr| query::eval::fold(e, &EvalContext::default());
    let v = view(100);
    let run = |conditions: &[Expr]| ids(&handle(&request(vec![table_scan(false), selection(conditions)], &[0]), &v));
    assert_eq!(run(&[fold(is(CmpOp::Gt, col(2), Expr::constant("96.50")))]), [97, 98, 99]);
    assert_eq!(
        run(&[is(CmpOp::Eq, col(1), Expr::constant("name2 ")), fold(is(CmpOp::Lt, col(0), Expr::constant(12_i64)))]),
        [2, 8, 11]
    );
    let twice = infer::arith(ArithOp::Mul, col(0), Expr::constant(2_i64)).unwrap();
    assert_eq!(run(&[is(CmpOp::Eq, twice, Expr::constant(84_i64))]), [42]);
    assert_eq!(run(&[infer::is_null(col(1)), is(CmpOp::Le, col(0), Expr::constant(10_i64))]), [0, 5, 10]);
    let list = vec![Expr::constant(3_i64), Expr::constant(200_i64), Expr::null()];
    assert_eq!(run(&[infer::in_list(col(0), list).unwrap()]), [3]);
    let like = infer::like(col(1), Expr::constant("%me1"), Some('\\')).unwrap();
    assert_eq!(run(&[infer::and(like, is(CmpOp::Lt, col(0), Expr::constant(8_i64)))]), [1, 4, 7]);
}

#[test]
fn limits_stop_early_and_descending_scans_start_at_the_end() {
    let v = view(5000);
    assert_eq!(ids(&handle(&request(vec![table_scan(false), limit(3)], &[0]), &v)), [0, 1, 2]);
    assert_eq!(ids(&handle(&request(vec![table_scan(true), limit(3)], &[0]), &v)), [4999, 4998, 4997]);
    assert!(ids(&handle(&request(vec![table_scan(true), limit(0)], &[0]), &v)).is_empty());
}

#[test]
fn index_scans_give_values_and_handles() {
    let mut columns = vec![pb::column_to_pb(2, &types()[1], false, None).unwrap()];
    columns.push(pb::column_to_pb(1, &types()[0], true, None).unwrap());
    let scan = tipb::IndexScan { table_id: TABLE.0, index_id: INDEX.0, columns, ..Default::default() };
    let executor = Executor { tp: ExecType::TypeIndexScan.into(), idx_scan: Some(scan), ..Default::default() };
    let mut r = request(vec![executor], &[]);
    let (start, end) = table::index_range(TABLE, INDEX);
    r.ranges = vec![PbRange { start, end }];
    let rows = rows_of(&handle(&r, &view(7)), 2);
    let want: Vec<Vec<Datum>> = [
        (None, 0),
        (None, 5),
        (Some("name0"), 3),
        (Some("name0"), 6),
        (Some("name1"), 1),
        (Some("name1"), 4),
        (Some("name2"), 2),
    ]
    .into_iter()
    .map(|(s, i)| vec![s.map_or(Datum::Null, Datum::from), Datum::Int(i)])
    .collect();
    assert_eq!(rows, want);
}

#[test]
fn aggregates_and_topn_absorb_everything() {
    let agg = |func, e: Expr, ty: FieldType| {
        pb::aggregate_to_pb(&Aggregate { func, args: vec![e], ty, distinct: false }).unwrap()
    };
    let aggregation = Executor {
        tp: ExecType::TypeAggregation.into(),
        aggregation: Some(tipb::Aggregation {
            group_by: vec![pb::to_pb(&col(1)).unwrap()],
            agg_func: vec![
                agg(AggFunc::Count, Expr::constant(1_i64), FieldType::bigint()),
                agg(AggFunc::Sum, col(2), FieldType::decimal(34, 2)),
                agg(AggFunc::Max, col(0), FieldType::bigint()),
            ],
            streamed: false,
        }),
        ..Default::default()
    };
    let mut rows = rows_of(&handle(&request(vec![table_scan(false), aggregation], &[]), &view(10)), 4);
    rows.sort_by_key(|r| format!("{:?}", r[3]));
    let d = |s: &str| Datum::Decimal(s.parse().unwrap());
    assert_eq!(rows[0], [Datum::Int(3), d("19.50"), Datum::Int(9), Datum::from("name0")]);
    assert_eq!(rows[1], [Datum::Int(3), d("13.50"), Datum::Int(7), Datum::from("name1")]);
    assert_eq!(rows[3], [Datum::Int(2), d("6.00"), Datum::Int(5), Datum::Null]);
    let topn = Executor {
        tp: ExecType::TypeTopN.into(),
        top_n: Some(tipb::TopN {
            order_by: vec![
                tipb::ByItem { expr: pb::to_pb(&col(1)), desc: true },
                tipb::ByItem { expr: pb::to_pb(&col(0)), desc: false },
            ],
            limit: 4,
            partition_by: Vec::new(),
        }),
        ..Default::default()
    };
    assert_eq!(ids(&handle(&request(vec![table_scan(false), topn], &[0]), &view(10))), [2, 8, 1, 4]);
}

#[test]
fn pages_cover_everything_once() {
    let v = view(3000);
    for desc in [false, true] {
        let mut r = request(vec![table_scan(desc)], &[0]);
        r.paging_size = 100;
        let mut seen = Vec::new();
        let mut pages = 0;
        loop {
            let response = handle(&r, &v);
            seen.extend(ids(&response));
            pages += 1;
            let Some(done) = response.range else { break };
            if desc {
                r.ranges[0].end = done.start;
            } else {
                r.ranges[0].start = done.end;
            }
        }
        let mut want: Vec<i64> = (0..3000).collect();
        if desc {
            want.reverse();
        }
        assert_eq!(seen, want);
        assert!(pages > 5, "{pages} pages");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let v = view(1);
    let error = |r: &Request| handle(r, &v).other_error;
    let mut r = request(vec![table_scan(false)], &[9]);
    assert!(error(&r).contains("output column 9"));
    r.tp = 105;
    assert!(error(&r).contains("type 105"));
    let join = Executor { tp: ExecType::TypeJoin.into(), ..Default::default() };
    assert!(error(&request(vec![table_scan(false), join.clone()], &[])).contains("TypeJoin"));
    assert!(error(&request(vec![join], &[])).contains("first executor"));
    assert!(error(&request(vec![], &[])).contains("without executors"));
    let mut e = pb::to_pb(&infer::is_null(col(0))).unwrap();
    e.sig = 9999;
    let unknown = Executor {
        tp: ExecType::TypeSelection.into(),
        selection: Some(tipb::Selection { conditions: vec![e] }),
        ..Default::default()
    };
    assert!(error(&request(vec![table_scan(false), unknown], &[])).contains("9999"));
    r.tp = REQ_TYPE_DAG;
    r.data = vec![0xff; 9];
    assert!(error(&r).contains("DAG request"));
}

#[test]
fn an_expression_that_fails_is_told_with_its_number() {
    let overflow = infer::arith(ArithOp::Add, col(0), Expr::constant(i64::MAX)).unwrap();
    let condition = infer::compare(CmpOp::Gt, overflow, Expr::constant(0_i64)).unwrap();
    let response = handle(&request(vec![table_scan(false), selection(&[condition])], &[]), &view(2));
    let select = tipb::SelectResponse::decode(&response.data[..]).unwrap();
    assert_eq!(select.error.unwrap().code, 1690);
}

#[test]
fn timestamps_are_compared_in_the_sessions_zone_and_sent_in_utc() {
    let noon = codec::time::Time::parse("1970-01-01 08:00:00", codec::time::TimeKind::Timestamp, 0).unwrap().value;
    let condition = infer::compare(CmpOp::Eq, col(3), Expr::constant(Datum::Time(noon))).unwrap();
    let mut r = request(vec![table_scan(false), selection(&[condition])], &[0, 3]);
    let mut dag = tipb::DagRequest::decode(&r.data[..]).unwrap();
    dag.time_zone_offset = 5 * 3600;
    r.data = dag.encode_to_vec();
    let rows = rows_of(&handle(&r, &view(10)), 2);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][0], Datum::Int(3));
    assert_eq!(rows[0][1].clone().unflatten(&types()[3]).unwrap(), row(3)[3]);
    dag.time_zone_name = "Europe/Nowhere".into();
    r.data = dag.encode_to_vec();
    assert!(handle(&r, &view(1)).other_error.contains("time zone"));
}

/// All columns of the table and the group (name, n).
fn analyze_request(asked: tipb::AnalyzeColumnsReq) -> Request {
    let columns_info = table_scan(false).tbl_scan.unwrap().columns;
    let group = tipb::AnalyzeColumnGroup { column_offsets: vec![1, 4], prefix_lengths: Vec::new() };
    let col_req = tipb::AnalyzeColumnsReq { columns_info, column_groups: vec![group], ..asked };
    let tp = tipb::AnalyzeType::TypeFullSampling.into();
    let analyze = tipb::AnalyzeReq { tp, col_req: Some(col_req), ..Default::default() };
    Request { tp: REQ_TYPE_ANALYZE, data: analyze.encode_to_vec(), ..request(vec![], &[]) }
}

fn collected(request: &Request, view: &MapView) -> tipb::RowSampleCollector {
    let response = handle(request, view);
    assert_eq!(response.other_error, "");
    tipb::AnalyzeColumnsResp::decode(&response.data[..]).unwrap().row_collector.unwrap()
}

#[test]
fn an_analysis_counts_all_rows_and_samples_some() {
    let asked = tipb::AnalyzeColumnsReq { sample_size: 20, ..Default::default() };
    let found = collected(&analyze_request(asked), &view(1000));
    assert_eq!((found.count, found.samples.len()), (1000, 20));
    // A name in five is NULL; the added column has its default in every row.
    assert_eq!(found.null_counts, [0, 200, 0, 0, 0, 0]);
    let distinct: Vec<usize> = found.fm_sketch.iter().map(|s| s.hashset.len() << s.mask.count_ones()).collect();
    assert_eq!(distinct, [1000, 3, 1000, 1000, 1, 4]);
    let types = types();
    for sample in &found.samples {
        let decoded: Vec<Datum> = (sample.row.iter().zip(&types))
            .map(|(bytes, ty)| datum::decode_one(&mut &bytes[..]).unwrap().unflatten(ty).unwrap())
            .collect();
        assert_eq!(decoded, row(decoded[0].as_i64().unwrap()));
    }
}

/// name VARCHAR(20) COLLATE utf8mb4_general_ci, id BIGINT, n BIGINT, PRIMARY KEY (name, id) CLUSTERED, KEY (n)
#[test]
fn rows_that_are_clustered_by_a_key_are_read() {
    let (text, int) =
        (FieldType::varchar(20).with_collation(codec::types::Collation::UTF8MB4_GENERAL_CI), FieldType::bigint());
    let key = [(1, &text), (2, &int)].map(|(column_id, ty)| IndexPart { column_id, ty, prefix: None });
    let mut map = MapView::default();
    for (name, id) in [("b", 1), ("A", 2), ("a", 1)] {
        let key_values = [Datum::from(name), Datum::Int(id)];
        let handle = Handle::of_values(&key, &key_values).unwrap();
        // The number is in the key alone.
        let n = Datum::Int(id + 10);
        let bytes = encode_row_v2([(1, &key_values[0], &text), (3, &n, &int)]).unwrap();
        map.0.insert(table::record_key(TABLE, &handle), bytes.into());
        let part = [IndexPart { column_id: 3, ty: &int, prefix: None }];
        let row = RowRef { handle: &handle, key: &key, key_values: &key_values };
        let entry = table::encode_index_entry(TABLE, INDEX, false, &part, &[n], row).unwrap();
        map.0.insert(entry.key, entry.value.into());
    }
    let column = |(id, ty)| pb::column_to_pb(id, ty, false, None).unwrap();
    let rows = |executor: Executor, types: &[&FieldType], range: table::Range| {
        let mut r = request(vec![executor], &[0, 1, 2]);
        r.ranges = vec![PbRange { start: range.0, end: range.1 }];
        let rows = rows_of(&handle(&r, &map), 3);
        let typed = |row: Vec<Datum>| {
            let cells = row.into_iter().zip(types).map(|(d, ty)| d.unflatten(ty).unwrap());
            cells.map(|d| query::value::display(&d)).collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(typed).collect::<Vec<_>>()
    };
    let scan = tipb::TableScan {
        table_id: TABLE.0,
        columns: [(3, &int), (2, &int), (1, &text)].map(column).to_vec(),
        primary_column_ids: vec![1, 2],
        ..Default::default()
    };
    let scan = Executor { tp: ExecType::TypeTableScan.into(), tbl_scan: Some(scan), ..Default::default() };
    let found = rows(scan, &[&int, &int, &text], table::record_range(TABLE));
    assert_eq!(found, ["11 1 a", "12 2 A", "11 1 b"]);
    let scan = tipb::IndexScan {
        table_id: TABLE.0,
        index_id: INDEX.0,
        columns: [(3, &int), (1, &text), (2, &int)].map(column).to_vec(),
        primary_column_ids: vec![1, 2],
        ..Default::default()
    };
    let executor = |scan| Executor { tp: ExecType::TypeIndexScan.into(), idx_scan: Some(scan), ..Default::default() };
    let found = rows(executor(scan.clone()), &[&int, &text, &int], table::index_range(TABLE, INDEX));
    assert_eq!(found, ["11 a 1", "11 b 1", "12 A 2"]);
    let wrong = tipb::IndexScan { primary_column_ids: vec![2, 1], ..scan };
    assert!(handle(&request(vec![executor(wrong)], &[0]), &map).other_error.contains("last ones"));
}

#[test]
fn strings_that_compare_equal_are_one_value_of_an_analysis() {
    let ty = FieldType::varchar(20).with_collation(codec::types::Collation::UTF8MB4_GENERAL_CI);
    let mut map = MapView::default();
    for (i, name) in ["a", "A", "a ", "b"].into_iter().enumerate() {
        let bytes = encode_row_v2([(2, &Datum::from(name), &ty)]).unwrap();
        map.0.insert(table::record_key(TABLE, &Handle::Int(i as i64)), bytes.into());
    }
    let columns_info = vec![pb::column_to_pb(2, &ty, false, None).unwrap()];
    let col_req = tipb::AnalyzeColumnsReq { columns_info, sample_rate: 1.0, ..Default::default() };
    let tp = tipb::AnalyzeType::TypeFullSampling.into();
    let analyze = tipb::AnalyzeReq { tp, col_req: Some(col_req), ..Default::default() };
    let request = Request { tp: REQ_TYPE_ANALYZE, data: analyze.encode_to_vec(), ..request(vec![], &[]) };
    let found = collected(&request, &map);
    assert_eq!((found.samples.len(), found.fm_sketch[0].hashset.len()), (4, 2));
}

#[test]
fn an_analysis_that_is_not_served_is_refused_by_name() {
    let error = |r: &Request| handle(r, &view(1)).other_error;
    let refused = |asked| error(&analyze_request(asked));
    assert!(refused(tipb::AnalyzeColumnsReq::default()).contains("sample of 0 rows"));
    let mut r = analyze_request(tipb::AnalyzeColumnsReq { sample_rate: 1.0, ..Default::default() });
    r.ranges.clear();
    assert!(error(&r).contains("no table"));
    let tp = tipb::AnalyzeType::TypeIndex.into();
    r.data = tipb::AnalyzeReq { tp, ..Default::default() }.encode_to_vec();
    assert!(error(&r).contains("TypeIndex"));
    r.data = vec![0xff; 9];
    assert!(error(&r).contains("analyze request"));
}

/// Run with `--run-ignored only --no-capture` for the figures.
#[test]
#[ignore = "prints nanoseconds a row"]
fn speed_of_an_analysis() {
    let v = view(200_000);
    let request = analyze_request(tipb::AnalyzeColumnsReq { sample_rate: 0.1, ..Default::default() });
    let started = Instant::now();
    let found = collected(&request, &v);
    println!("analysis: {} ns/row, {} samples", started.elapsed().as_nanos() / 200_000, found.samples.len());
}

/// Run with `--run-ignored only --no-capture` for the figures.
#[test]
#[ignore = "prints nanoseconds a row"]
fn speed_of_scans() {
    let v = view(200_000);
    let condition = infer::compare(CmpOp::Lt, col(0), Expr::constant(1000_i64)).unwrap();
    let dec = query::eval::fold(
        infer::compare(CmpOp::Gt, col(2), Expr::constant(Datum::Decimal("199000.00".parse().unwrap()))).unwrap(),
        &EvalContext::default(),
    );
    let count = Executor {
        tp: ExecType::TypeAggregation.into(),
        aggregation: Some(tipb::Aggregation {
            group_by: vec![],
            agg_func: vec![
                pb::aggregate_to_pb(&Aggregate {
                    func: AggFunc::Sum,
                    args: vec![col(2)],
                    ty: FieldType::decimal(34, 2),
                    distinct: false,
                })
                .unwrap(),
            ],
            streamed: false,
        }),
        ..Default::default()
    };
    for (name, executors) in [
        ("scan, all columns out", vec![table_scan(false)]),
        ("scan + bigint selection", vec![table_scan(false), selection(&[condition])]),
        ("scan + decimal selection", vec![table_scan(false), selection(&[dec])]),
        ("scan + sum(decimal)", vec![table_scan(false), count]),
    ] {
        let r = request(executors, &[0]);
        let started = Instant::now();
        let response = handle(&r, &v);
        assert_eq!(response.other_error, "");
        println!("{name}: {} ns/row", started.elapsed().as_nanos() / 200_000);
    }
    let started = Instant::now();
    let rows = v.scan(&KeyRange::default(), ScanOptions::default()).unwrap().count();
    println!("reading pairs alone: {} ns/pair", started.elapsed().as_nanos() / rows as u128);
}
