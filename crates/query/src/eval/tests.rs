//! What MySQL answers. Each case is built by name through `infer`, evaluated for a row, for a batch, folded, and (where it
//! can be pushed down) sent through tipb and back: all four must agree.

use std::sync::Arc;

use codec::datum::Datum;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode};
use proptest::prelude::*;

use super::*;
use crate::context::{SessionInfo, TimeZone};
use crate::expr::{ArithOp, CmpOp};
use crate::functions::call;
use crate::infer;
use crate::interval::Unit;

fn ctx() -> EvalContext {
    let mut ctx =
        EvalContext::for_select(crate::context::sql_mode::DEFAULT, TimeZone::Fixed(3600), 1_700_000_000_123_456);
    ctx.session = SessionInfo {
        database: Some("shop".into()),
        user: "root@localhost".into(),
        connection_id: 7,
        ..SessionInfo::default()
    };
    ctx
}

fn i(v: i64) -> Expr {
    Expr::constant(v)
}

fn u(v: u64) -> Expr {
    Expr::constant(v)
}

fn f(v: f64) -> Expr {
    Expr::constant(v)
}

fn s(v: &str) -> Expr {
    Expr::constant(v)
}

fn d(v: &str) -> Expr {
    Expr::constant(Datum::Decimal(v.parse().unwrap()))
}

fn dt(v: &str) -> Expr {
    let fsp = Time::fsp_of(v);
    Expr::constant(Datum::Time(Time::parse(v, TimeKind::DateTime, fsp).unwrap().value))
}

fn date(v: &str) -> Expr {
    Expr::constant(Datum::Time(Time::parse(v, TimeKind::Date, 0).unwrap().value))
}

fn span(v: &str) -> Expr {
    Expr::constant(Datum::Duration(Duration::parse(v, Time::fsp_of(v)).unwrap().value))
}

fn null() -> Expr {
    Expr::null()
}

fn bin(v: &[u8]) -> Expr {
    Expr::Const { value: Datum::Bytes(v.to_vec()), ty: FieldType::varbinary(v.len() as i32) }
}

fn ci(v: &str) -> Expr {
    infer::collate(s(v), Collation::UTF8MB4_GENERAL_CI)
}

fn fun(name: &str, args: impl IntoIterator<Item = Expr>) -> Expr {
    call(name, args.into_iter().collect()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn show(value: &Datum, ty: &FieldType) -> String {
    cast::to_text(value, ty).map_or("NULL".into(), |t| String::from_utf8_lossy(&t).into_owned())
}

/// Constants become columns of a batch of two equal rows.
fn as_columns(e: &Expr, types: &mut Vec<FieldType>, row: &mut Vec<Datum>) -> Expr {
    match e {
        Expr::Const { value, ty } => {
            types.push(ty.clone());
            row.push(value.clone());
            Expr::column(types.len() - 1, ty.clone())
        }
        Expr::Column { .. } | Expr::Param(_) => e.clone(),
        Expr::Call(c) => Expr::call(c.func, c.args.iter().map(|a| as_columns(a, types, row)).collect(), c.ty.clone()),
    }
}

fn outcome(result: Result<Datum>, ty: &FieldType) -> String {
    match result {
        Ok(v) => show(&v, ty),
        Err(e) => format!("error {}", e.code()),
    }
}

/// Evaluates in every way there is.
#[track_caller]
fn check(e: Expr, want: &str) {
    let ty = e.ty().clone();
    let got = outcome(eval_const(&e, &mut ctx()), &ty);
    assert_eq!(got, want, "{e}");
    let folded = fold(e.clone(), &ctx());
    assert_eq!(outcome(eval_const(&folded, &mut ctx()), folded.ty()), want, "folded {e}");
    let (mut types, mut row) = (Vec::new(), Vec::new());
    let over_columns = as_columns(&e, &mut types, &mut row);
    let batch = Batch::from_rows(types.clone().into(), &[row.clone(), row]).unwrap();
    let mut forms = vec![over_columns.clone()];
    if let Some(pb) = crate::pb::to_pb(&over_columns) {
        forms.push(crate::pb::from_pb(&pb, &types).unwrap_or_else(|err| panic!("{e}: {err}")));
    }
    for form in forms {
        for way in [eval, eval_by_row] {
            let got = way(&form, &batch, &mut ctx()).map(|column| crate::batch::datum_at(&column, 1, form.ty()));
            assert_eq!(outcome(got, form.ty()), want, "in a batch: {form}");
        }
    }
}

fn cmp(op: CmpOp, a: Expr, b: Expr) -> Expr {
    infer::compare(op, a, b).unwrap()
}

fn arith(op: ArithOp, a: Expr, b: Expr) -> Expr {
    infer::arith(op, a, b).unwrap()
}

#[test]
fn comparisons_choose_mysqls_domain() {
    use CmpOp::*;
    check(cmp(Eq, i(1), s("1")), "1");
    check(cmp(Eq, i(1), s("1abc")), "1");
    check(cmp(Eq, i(0), s("abc")), "1");
    check(cmp(Lt, s("10"), s("9")), "1");
    check(cmp(Lt, i(10), s("9")), "0");
    check(cmp(Gt, d("1.10"), d("1.1")), "0");
    check(cmp(Eq, d("1.10"), i(1)), "0");
    check(cmp(Ge, f(0.1), d("0.1")), "1");
    check(cmp(Gt, u(u64::MAX), i(-1)), "1");
    check(cmp(Eq, dt("2024-01-02 00:00:00"), s("2024-01-02")), "1");
    check(cmp(Lt, date("2024-01-02"), s("2024-1-3")), "1");
    check(cmp(Eq, date("2024-01-02"), i(20_240_102)), "1");
    check(cmp(Lt, span("-00:00:01"), s("00:00:00")), "1");
    check(cmp(Eq, s("a"), s("a ")), "1");
    check(cmp(Eq, s("a"), s("A")), "0");
    check(cmp(Eq, ci("a"), s("A")), "1");
    check(cmp(Eq, bin(b"a"), s("a ")), "0");
    check(cmp(Eq, null(), i(1)), "NULL");
    check(cmp(NullEq, null(), i(1)), "0");
    check(cmp(NullEq, null(), null()), "1");
    check(infer::in_list(i(2), vec![i(1), s("2")]).unwrap(), "1");
    check(infer::in_list(i(3), vec![i(1), null()]).unwrap(), "NULL");
    check(infer::in_list(s("b"), vec![s("a"), s("b ")]).unwrap(), "1");
    check(infer::between(i(5), i(1), s("9")).unwrap(), "1");
    check(infer::not(infer::between(null(), i(1), i(2)).unwrap()), "NULL");
    check(infer::compare_rows(Lt, vec![i(1), i(2)], vec![i(1), i(3)]).unwrap(), "1");
    check(infer::compare_rows(Ge, vec![i(1), i(2)], vec![i(1), i(3)]).unwrap(), "0");
    check(infer::compare_rows(Ne, vec![i(1), i(2)], vec![i(1), i(2)]).unwrap(), "0");
}

#[test]
fn logic_has_three_values() {
    let b = |v: Option<bool>| v.map_or_else(null, |b| i(b.into()));
    for (a, b_, and, or, xor) in [
        (Some(true), None, "NULL", "1", "NULL"),
        (Some(false), None, "0", "NULL", "NULL"),
        (None, None, "NULL", "NULL", "NULL"),
        (Some(true), Some(false), "0", "1", "1"),
        (Some(true), Some(true), "1", "1", "0"),
    ] {
        check(infer::and(b(a), b(b_)), and);
        check(infer::and(b(b_), b(a)), and);
        check(infer::or(b(a), b(b_)), or);
        check(infer::or(b(b_), b(a)), or);
        check(infer::xor(b(a), b(b_)), xor);
    }
    check(infer::not(s("abc")), "1");
    check(infer::and(f(0.5), d("0.1")), "1");
    check(infer::is_true(null()), "0");
    check(infer::is_false(i(0)), "1");
    check(infer::is_null(null()), "1");
    check(infer::not(infer::is_null(s(""))), "1");
    check(fun("if", [i(0), s("a"), i(2)]), "2");
    check(fun("ifnull", [null(), d("1.50")]), "1.50");
    check(fun("nullif", [i(1), s("1")]), "NULL");
    check(fun("nullif", [s("a"), s("b")]), "a");
    check(fun("coalesce", [null(), null(), i(3)]), "3");
    check(fun("if", [i(1), d("1.5"), d("2.25")]), "1.50");
    check(infer::case(Some(i(2)), vec![(i(1), s("one")), (i(2), s("two"))], None).unwrap(), "two");
    check(infer::case(Some(i(9)), vec![(i(1), s("one"))], None).unwrap(), "NULL");
    check(infer::case(None, vec![(null(), i(1))], Some(u(2))).unwrap(), "2");
    check(fun("greatest", [i(1), d("2.5"), i(2)]), "2.5");
    check(fun("least", [s("b"), s("a")]), "a");
    check(fun("greatest", [i(1), null()]), "NULL");
    check(fun("timediff", [s("10:00:00"), s("08:30:00")]), "01:30:00");
    check(infer::extract(Unit::Microsecond, s("10:00:00.25")).unwrap(), "250000");
    check(fun("interval", [i(23), i(1), i(15), i(17), i(30)]), "3");
}

#[test]
fn arithmetic_has_mysqls_types_and_limits() {
    use ArithOp::*;
    check(arith(Add, i(1), i(2)), "3");
    check(arith(Add, i(i64::MAX), i(1)), "error 1690");
    check(arith(Sub, u(0), i(1)), "error 1690");
    check(arith(Add, u(u64::MAX), i(-1)), "18446744073709551614");
    check(arith(Mul, d("1.10"), d("2.205")), "2.42550");
    check(arith(Add, d("0.1"), d("0.2")), "0.3");
    check(arith(Add, f(0.1), f(0.2)), "0.30000000000000004");
    check(arith(Add, s("1.5x"), i(1)), "2.5");
    check(arith(Div, i(1), i(3)), "0.3333");
    check(arith(Div, i(10), i(2)), "5.0000");
    check(arith(Div, d("1.00"), d("3")), "0.333333");
    check(arith(Div, i(1), i(0)), "NULL");
    check(arith(Div, f(1.0), i(4)), "0.25");
    check(arith(IntDiv, i(7), i(-2)), "-3");
    check(arith(IntDiv, d("7.5"), i(2)), "3");
    check(arith(Mod, i(-7), i(3)), "-1");
    check(arith(Mod, d("5.5"), i(2)), "1.5");
    check(arith(Mod, i(5), i(0)), "NULL");
    check(arith(Add, null(), i(1)), "NULL");
    check(arith(Add, dt("2024-01-02 03:04:05"), i(0)), "20240102030405");
    check(arith(Mul, f(1e308), f(10.0)), "error 1690");
    check(infer::neg(i(i64::MIN)).unwrap(), "error 1690");
    check(infer::neg(d("1.50")).unwrap(), "-1.50");
    check(infer::neg(u(1 << 63)).unwrap(), "-9223372036854775808");
    check(infer::bit(crate::expr::BitOp::And, i(12), i(10)), "8");
    check(infer::bit(crate::expr::BitOp::ShiftLeft, i(1), i(64)), "0");
    check(infer::bit_not(i(0)), "18446744073709551615");
}

#[test]
fn functions_of_numbers() {
    for (e, want) in [
        (fun("abs", [i(-5)]), "5"),
        (fun("abs", [i(i64::MIN)]), "error 1690"),
        (fun("ceil", [d("1.2")]), "2"),
        (fun("floor", [d("-1.2")]), "-2"),
        (fun("ceiling", [f(1.2)]), "2"),
        (fun("round", [d("2.5")]), "3"),
        (fun("round", [d("-2.5")]), "-3"),
        (fun("round", [f(2.5)]), "2"),
        (fun("round", [d("1.298"), i(1)]), "1.3"),
        (fun("round", [d("23.298"), i(-1)]), "20"),
        (fun("round", [i(155), i(-1)]), "160"),
        (fun("truncate", [d("1.999"), i(1)]), "1.9"),
        (fun("truncate", [i(122), i(-2)]), "100"),
        (fun("mod", [i(29), i(9)]), "2"),
        (fun("sign", [d("-0.5")]), "-1"),
        (fun("sqrt", [i(-1)]), "NULL"),
        (fun("pow", [i(2), i(10)]), "1024"),
        (fun("ln", [i(0)]), "NULL"),
        (fun("log", [i(2), i(65_536)]), "16"),
        (fun("conv", [s("a"), i(16), i(2)]), "1010"),
        (fun("conv", [s("-17"), i(10), i(-18)]), "-H"),
        (fun("bin", [i(12)]), "1100"),
        (fun("bit_count", [i(-1)]), "64"),
        (fun("crc32", [s("MySQL")]), "3259397556"),
        (fun("format", [d("12332.123456"), i(4)]), "12,332.1235"),
        (fun("format", [i(-1234567), i(0)]), "-1,234,567"),
    ] {
        check(e, want);
    }
}

#[test]
fn functions_of_strings() {
    for (e, want) in [
        (fun("concat", [s("a"), i(1), d("2.50")]), "a12.50"),
        (fun("concat", [s("a"), null()]), "NULL"),
        (fun("concat_ws", [s(","), s("a"), null(), s("b")]), "a,b"),
        (fun("substring", [s("Quadratically"), i(5)]), "ratically"),
        (fun("substr", [s("Sakila"), i(-5), i(3)]), "aki"),
        (fun("substring", [s("äöü"), i(2), i(1)]), "ö"),
        (fun("substring", [s("abc"), i(0)]), ""),
        (fun("substring_index", [s("www.mysql.com"), s("."), i(2)]), "www.mysql"),
        (fun("substring_index", [s("www.mysql.com"), s("."), i(-2)]), "mysql.com"),
        (fun("left", [s("foobarbar"), i(5)]), "fooba"),
        (fun("right", [s("foobarbar"), i(4)]), "rbar"),
        (fun("length", [s("äö")]), "4"),
        (fun("char_length", [s("äö")]), "2"),
        (fun("upper", [s("straße")]), "STRAßE"),
        (fun("lower", [s("ÄB")]), "äb"),
        (fun("trim", [s("  bar ")]), "bar"),
        (fun("trim", [s("xxbarxx"), s("x")]), "bar"),
        (fun("ltrim", [s("  bar ")]), "bar "),
        (fun("replace", [s("www.mysql.com"), s("w"), s("Ww")]), "WwWwWw.mysql.com"),
        (fun("instr", [s("foobarbar"), s("bar")]), "4"),
        (fun("locate", [s("bar"), s("foobarbar"), i(5)]), "7"),
        (fun("locate", [s("x"), s("foobar")]), "0"),
        (fun("lpad", [s("hi"), i(4), s("??")]), "??hi"),
        (fun("rpad", [s("hi"), i(1), s("?")]), "h"),
        (fun("repeat", [s("MySQL"), i(3)]), "MySQLMySQLMySQL"),
        (fun("reverse", [s("aäb")]), "bäa"),
        (fun("hex", [s("abc")]), "616263"),
        (fun("hex", [i(255)]), "FF"),
        (fun("unhex", [s("4D7953514C")]), "MySQL"),
        (fun("unhex", [s("GG")]), "NULL"),
        (fun("md5", [s("testing")]), "ae2b1fca515949e5d54fb22b8ed95575"),
        (fun("sha1", [s("abc")]), "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (fun("sha2", [s("abc"), i(224)]), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (fun("ascii", [s("2")]), "50"),
        (fun("ord", [s("é")]), "50089"),
        (fun("char", [i(77), i(121), null(), d("83.3")]), "MyS"),
        (fun("strcmp", [s("text"), s("text2")]), "-1"),
        (fun("elt", [i(2), s("a"), s("b")]), "b"),
        (fun("field", [s("Bb"), s("Aa"), s("Bb")]), "2"),
        (fun("find_in_set", [s("b"), s("a,b,c")]), "2"),
        (fun("insert", [s("Quadratic"), i(3), i(4), s("What")]), "QuWhattic"),
        (fun("quote", [s("Don't!")]), "'Don\\'t!'"),
        (fun("to_base64", [s("abc")]), "YWJj"),
        (fun("from_base64", [s("YWJj")]), "abc"),
        (fun("regexp_replace", [s("a b c"), s("b"), s("X")]), "a X c"),
        (fun("inet_aton", [s("10.0.5.9")]), "167773449"),
        (infer::like(s("David!"), s("David_"), Some('\\')).unwrap(), "1"),
        (infer::like(s("David_"), s("David|_"), Some('|')).unwrap(), "1"),
        (infer::like(ci("abc"), s("ABC"), Some('\\')).unwrap(), "1"),
        (infer::regexp(s("fofo"), s("^fo")).unwrap(), "1"),
        (infer::regexp(s("fo"), s("(")).unwrap(), "error 1139"),
        (fun("database", []), "shop"),
        (fun("connection_id", []), "7"),
        (fun("charset", [s("a")]), "utf8mb4"),
    ] {
        check(e, want);
    }
}

#[test]
fn functions_of_dates() {
    let add = |e: Expr, n: Expr, unit: &str| infer::date_add(e, n, Unit::parse(unit).unwrap(), false).unwrap();
    for (e, want) in [
        (fun("year", [s("1987-01-01")]), "1987"),
        (fun("month", [date("2008-02-03")]), "2"),
        (fun("day", [dt("2007-02-03 10:00:00")]), "3"),
        (fun("dayofweek", [s("2007-02-03")]), "7"),
        (fun("weekday", [s("2008-02-03 22:23:00")]), "6"),
        (fun("dayofyear", [s("2007-02-03")]), "34"),
        (fun("quarter", [s("2008-04-01")]), "2"),
        (fun("week", [s("2008-02-20")]), "7"),
        (fun("week", [s("2008-02-20"), i(1)]), "8"),
        (fun("yearweek", [s("1987-01-01")]), "198652"),
        (fun("hour", [s("10:05:03")]), "10"),
        (fun("hour", [dt("2024-01-01 23:05:03")]), "23"),
        (fun("microsecond", [s("12:00:00.123456")]), "123456"),
        (fun("dayname", [s("2007-02-03")]), "Saturday"),
        (fun("monthname", [s("2008-02-03")]), "February"),
        (fun("last_day", [s("2004-02-05")]), "2004-02-29"),
        (fun("date", [s("2003-12-31 01:02:03")]), "2003-12-31"),
        (fun("datediff", [s("2007-12-31 23:59:59"), s("2007-12-30")]), "1"),
        (fun("date_format", [s("2009-10-04 22:23:00"), s("%W %M %Y")]), "Sunday October 2009"),
        (fun("str_to_date", [s("01,5,2013"), s("%d,%m,%Y")]), "2013-05-01"),
        (fun("str_to_date", [s("a09:30:17"), s("a%h:%i:%s")]), "09:30:17"),
        (fun("unix_timestamp", []), "1700000000"),
        (fun("unix_timestamp", [s("1970-01-01 01:00:10")]), "10"),
        (fun("unix_timestamp", [dt("1970-01-01 01:00:10")]), "10"),
        (fun("from_unixtime", [i(0)]), "1970-01-01 01:00:00"),
        (fun("from_unixtime", [i(0), s("%Y %H")]), "1970 01"),
        (fun("now", []), "2023-11-14 23:13:20"),
        (fun("now", [i(3)]), "2023-11-14 23:13:20.123"),
        (fun("curdate", []), "2023-11-14"),
        (fun("utc_time", []), "22:13:20"),
        (fun("to_days", [i(950_501)]), "728779"),
        (fun("from_days", [i(730_669)]), "2000-07-03"),
        (fun("makedate", [i(2011), i(32)]), "2011-02-01"),
        (fun("maketime", [i(12), i(15), i(30)]), "12:15:30"),
        (fun("sec_to_time", [i(2378)]), "00:39:38"),
        (fun("time_to_sec", [s("22:23:00")]), "80580"),
        (fun("addtime", [s("2007-12-31 23:59:59"), s("1:1:1")]), "2008-01-01 01:01:00"),
        (fun("timediff", [dt("2000-01-01 00:00:00"), dt("2000-01-01 00:00:01")]), "-00:00:01"),
        (infer::timestamp_diff(Unit::Month, s("2003-02-01"), s("2003-05-01")).unwrap(), "3"),
        (infer::extract(Unit::YearMonth, s("2019-07-02 01:02:03")).unwrap(), "201907"),
        (infer::extract(Unit::DayMinute, s("2019-07-02 01:02:03")).unwrap(), "20102"),
        (add(date("2018-05-01"), i(1), "day"), "2018-05-02"),
        (add(s("2018-05-01"), i(1), "day"), "2018-05-02"),
        (add(dt("2100-12-31 23:59:59"), s("1:1"), "minute_second"), "2101-01-01 00:01:00"),
        (add(date("2024-01-31"), i(1), "month"), "2024-02-29"),
        (add(date("2024-01-31"), i(1), "hour"), "2024-01-31 01:00:00"),
        (add(s("2024-01-31"), d("1.5"), "second"), "2024-01-31 00:00:01.500000"),
        (add(s("nonsense"), i(1), "day"), "NULL"),
        (fun("adddate", [date("2008-01-02"), i(31)]), "2008-02-02"),
        (fun("year", [s("nonsense")]), "NULL"),
    ] {
        check(e, want);
    }
}

#[test]
fn casts() {
    let unsigned = FieldType::bigint_unsigned();
    let char_ = |n| FieldType { flen: n, ..FieldType::new(TypeCode::VarString) };
    for (e, ty, want) in [
        (s("12abc"), FieldType::bigint(), "12"),
        (s("1.9"), FieldType::bigint(), "1"),
        (d("1.5"), FieldType::bigint(), "2"),
        (f(2.5), FieldType::bigint(), "2"),
        (i(-1), unsigned.clone(), "18446744073709551615"),
        (u(u64::MAX), FieldType::bigint(), "-1"),
        (s("18446744073709551615"), unsigned, "18446744073709551615"),
        (i(123), char_(2), "12"),
        (f(1.5), char_(-1), "1.5"),
        (s("2024-01-02 03:04:05.678"), FieldType::datetime(0), "2024-01-02 03:04:06"),
        (s("2024-01-02 03:04:05"), FieldType::new(TypeCode::Date), "2024-01-02"),
        (s("2024-13-02"), FieldType::new(TypeCode::Date), "NULL"),
        (dt("2024-01-02 03:04:05"), FieldType::bigint(), "20240102030405"),
        (dt("2024-01-02 03:04:05.5"), FieldType::decimal(20, 1), "20240102030405.5"),
        (s("1.555"), FieldType::decimal(5, 2), "1.56"),
        (i(12_345), FieldType::decimal(4, 2), "99.99"),
        (s("10:11:12"), FieldType::new(TypeCode::Duration), "10:11:12"),
        (i(101_112), FieldType::new(TypeCode::Duration), "10:11:12"),
        (d("1.25"), FieldType::double(), "1.25"),
        (s("[1, \"a\"]"), FieldType::new(TypeCode::Json), "[1, \"a\"]"),
        (null(), FieldType::bigint(), "NULL"),
    ] {
        check(infer::cast(e, ty), want);
    }
    check(
        fun(
            "hex",
            [infer::cast(
                s("a"),
                FieldType { flen: 3, ..FieldType::new(TypeCode::String) }.with_collation(Collation::BINARY),
            )],
        ),
        "610000",
    );
}

/// CAST(text AS JSON).
fn json(text: &str) -> Expr {
    infer::cast(s(text), FieldType::new(TypeCode::Json))
}

#[test]
fn json_functions() {
    let doc = || s("{\"a\": {\"b\": [1, 2, \"x\"]}}");
    check(fun("json_extract", [doc(), s("$.a.b[2]")]), "\"x\"");
    check(fun("json_unquote", [fun("json_extract", [doc(), s("$.a.b[2]")])]), "x");
    check(fun("json_extract", [doc(), s("$.a.b[*]")]), "[1, 2, \"x\"]");
    check(fun("json_extract", [doc(), s("$.z")]), "NULL");
    check(fun("json_object", [s("k"), i(1)]), "{\"k\": 1}");
    check(fun("json_valid", [s("{")]), "0");
    check(fun("json_extract", [s("{"), s("$")]), "error 3140");
    check(fun("json_extract", [doc(), s("$.a.b[last]")]), "\"x\"");
    check(fun("json_extract", [doc(), s("$.a.b[last-2 to 1]")]), "[1, 2]");
    check(fun("json_extract", [doc(), s("$**.b")]), "[[1, 2, \"x\"]]");
    check(fun("json_extract", [doc(), s("$.a**")]), "error 3143");
    check(fun("json_type", [i(1)]), "error 3146");
    check(fun("json_length", [doc(), s("$.a.b")]), "3");
    check(fun("json_length", [doc(), s("$.a.c")]), "NULL");
    check(fun("json_value", [doc(), s("$.a.b[2]")]), "x");
    check(fun("json_quote", [s("a\"b")]), "\"a\\\"b\"");
    check(fun("json_depth", [s("[10, {\"a\": 20}]")]), "3");
    check(fun("json_depth", [s("[]")]), "1");
}

/// The examples of the manual, chapter "Functions That Modify JSON Values".
#[test]
fn json_documents_change() {
    let array = r#"["a", ["b", "c"], "d"]"#;
    let object = r#"{"a": 1, "b": [2, 3], "c": 4}"#;
    let nested = r#"["a", {"b": [1, 2]}]"#;
    let with = |name: &str, args: &[&str], value: Expr| {
        let mut args: Vec<Expr> = args.iter().map(|a| s(a)).collect();
        args.push(value);
        fun(name, args)
    };
    for (name, args, value, want) in [
        ("json_array_append", &[array, "$[1]"][..], i(1), r#"["a", ["b", "c", 1], "d"]"#),
        ("json_array_append", &[array, "$[0]"], i(2), r#"[["a", 2], ["b", "c"], "d"]"#),
        ("json_array_append", &[array, "$[1][0]"], i(3), r#"["a", [["b", 3], "c"], "d"]"#),
        ("json_array_append", &[object, "$.b"], s("x"), r#"{"a": 1, "b": [2, 3, "x"], "c": 4}"#),
        ("json_array_append", &[r#"{"a": 1}"#, "$"], s("z"), r#"[{"a": 1}, "z"]"#),
        ("json_array_insert", &[nested, "$[1]"], s("x"), r#"["a", "x", {"b": [1, 2]}]"#),
        ("json_array_insert", &[nested, "$[100]"], s("x"), r#"["a", {"b": [1, 2]}, "x"]"#),
        ("json_array_insert", &[nested, "$[1].b[0]"], s("x"), r#"["a", {"b": ["x", 1, 2]}]"#),
        ("json_array_insert", &[array, "$"], s("x"), "error 3165"),
        ("json_insert", &[object, "$.a"], i(10), object),
        ("json_insert", &[r#"{"a": 1}"#, "$.c"], s("[true]"), r#"{"a": 1, "c": "[true]"}"#),
        ("json_replace", &[r#"{ "a": 1, "b": [2, 3]}"#, "$.a"], i(10), r#"{"a": 10, "b": [2, 3]}"#),
        ("json_replace", &[r#"{ "a": 1}"#, "$.c"], i(10), r#"{"a": 1}"#),
        ("json_set", &[r#"{ "a": 1, "b": [2, 3]}"#, "$.a"], null(), r#"{"a": null, "b": [2, 3]}"#),
        ("json_set", &["1", "$[1]"], i(2), "[1, 2]"),
        ("json_set", &["1", "$[last]"], i(2), "2"),
        ("json_set", &["[1]", "$[5]"], json("[2]"), "[1, [2]]"),
        ("json_set", &["[1]", "$[*]"], i(1), "error 3149"),
        ("json_remove", &[array], s("$[1]"), r#"["a", "d"]"#),
        ("json_remove", &[object], s("$.b[last]"), r#"{"a": 1, "b": [2], "c": 4}"#),
        ("json_remove", &[object], s("$"), "error 3153"),
        ("json_merge_patch", &["[1, 2]"], s("[true, false]"), "[true, false]"),
        ("json_merge_patch", &[r#"{"name": "x"}"#], s(r#"{"id": 47}"#), r#"{"id": 47, "name": "x"}"#),
        ("json_merge_patch", &[r#"{"a":1, "b":2}"#], s(r#"{"b":null}"#), r#"{"a": 1}"#),
        ("json_merge_patch", &[r#"{"a":{"x":1}}"#], s(r#"{"a":{"y":2}}"#), r#"{"a": {"x": 1, "y": 2}}"#),
        ("json_merge_preserve", &["[1, 2]"], s("[true, false]"), "[1, 2, true, false]"),
        ("json_merge_preserve", &["1"], s("true"), "[1, true]"),
        ("json_merge_preserve", &["[1, 2]"], s(r#"{"id": 47}"#), r#"[1, 2, {"id": 47}]"#),
        ("json_merge", &[r#"{ "a": 1, "b": 2 }"#], s(r#"{ "a": 3, "c": 4 }"#), r#"{"a": [1, 3], "b": 2, "c": 4}"#),
    ] {
        check(with(name, args, value), want);
    }
}

/// The examples of the manual, chapter "Functions That Search JSON Values".
#[test]
fn json_documents_are_searched() {
    let doc = r#"{"a": 1, "b": 2, "c": {"d": 4}}"#;
    let search = r#"["abc", [{"k": "10"}, "def"], {"x":"abc"}, {"y":"bcd"}]"#;
    let of = |name: &str, args: &[&str]| fun(name, args.iter().map(|a| s(a)));
    for (e, want) in [
        (of("json_contains", &[doc, "1", "$.a"]), "1"),
        (of("json_contains", &[doc, "1", "$.b"]), "0"),
        (of("json_contains", &[doc, r#"{"d": 4}"#, "$.a"]), "0"),
        (of("json_contains", &[doc, r#"{"d": 4}"#, "$.c"]), "1"),
        (of("json_contains", &[doc, "1", "$.x"]), "NULL"),
        (of("json_contains", &[r#"[1, [2, 3], {"a": 1, "b": 2}]"#, r#"[{"a": 1}, 1]"#]), "1"),
        (of("json_contains", &["[1, [2, 3]]", "2"]), "0"),
        (of("json_contains", &["[1, [2, 3]]", "[[3]]"]), "1"),
        (of("json_contains_path", &[doc, "one", "$.a", "$.e"]), "1"),
        (of("json_contains_path", &[doc, "all", "$.a", "$.e"]), "0"),
        (of("json_contains_path", &[doc, "one", "$.c.d"]), "1"),
        (of("json_contains_path", &[doc, "some", "$.c.d"]), "error 3154"),
        (of("json_overlaps", &["[1,3,5,7]", "[2,5,7]"]), "1"),
        (of("json_overlaps", &["[1,3,5,7]", "[2,6,8]"]), "0"),
        (of("json_overlaps", &["[[1,2],[3,4],5]", "[1,[2,3],[4,5]]"]), "0"),
        (of("json_overlaps", &[r#"{"a":1,"b":10,"d":10}"#, r#"{"c":1,"e":10,"f":1,"d":10}"#]), "1"),
        (of("json_overlaps", &["[4,5,6,7]", "6"]), "1"),
        (of("json_overlaps", &[r#"[4,5,"6",7]"#, "6"]), "0"),
        (of("json_search", &[search, "one", "abc"]), r#""$[0]""#),
        (of("json_search", &[search, "all", "abc"]), r#"["$[0]", "$[2].x"]"#),
        (of("json_search", &[search, "all", "ghi"]), "NULL"),
        (of("json_search", &[search, "all", "10"]), r#""$[1][0].k""#),
        (fun("json_search", [s(search), s("all"), s("10"), null(), s("$[*][0].k")]), r#""$[1][0].k""#),
        (fun("json_search", [s(search), s("all"), s("10"), null(), s("$**.k")]), r#""$[1][0].k""#),
        (fun("json_search", [s(search), s("all"), s("%b%"), s(""), s("$[3]")]), r#""$[3].y""#),
        (of("json_pretty", &[r#"{"a":[1,{"b":[]}]}"#]), "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ]\n}"),
        (of("json_storage_size", &[r#"{"a": 1000, "b": "wxyz", "c": "[1, 3, 5, 7]"}"#]), "47"),
        (of("json_storage_size", &[r#"[100, "sakila", [1, 3, 5], 425.05]"#]), "45"),
        (of("json_storage_size", &[r#"{"a": 1000, "b": "a", "c": "[1, 3, 5, 7]"}"#]), "44"),
        (of("json_storage_size", &["100"]), "3"),
        (fun("member of", [i(17), s(r#"[23, "abc", 17, "ab", 10]"#)]), "1"),
        (fun("member of", [s("17"), s(r#"[23, "abc", 17, "ab", 10]"#)]), "0"),
        (fun("member of", [json("[4,5]"), s("[[3,4],[4,5]]")]), "1"),
    ] {
        check(e, want);
    }
}

/// The manual's chapter "Comparison and Ordering of JSON Values".
#[test]
fn json_compares_by_kind_and_value() {
    use CmpOp::*;
    check(cmp(Eq, json(r#""abc""#), s("abc")), "1");
    check(cmp(Eq, s("abc"), json(r#""abc""#)), "1");
    check(cmp(Eq, json(r#""abc""#), s(r#""abc""#)), "0");
    check(cmp(Eq, json("1"), i(1)), "1");
    check(cmp(Eq, json("1.0"), i(1)), "1");
    check(cmp(Eq, json(r#""1""#), i(1)), "0");
    check(cmp(Eq, json("10"), f(10.0)), "1");
    check(cmp(Gt, json("10"), json("9")), "1");
    check(cmp(Lt, json(r#""10""#), json(r#""9""#)), "1");
    check(cmp(Eq, json("true"), infer::is_null(null())), "1");
    check(cmp(Eq, json("null"), null()), "NULL");
    check(cmp(Eq, fun("json_extract", [s(r#"{"a": "x"}"#), s("$.a")]), s("x")), "1");
    check(infer::in_list(json(r#""b""#), vec![s("a"), s("b")]).unwrap(), "1");
    check(infer::in_list(json("2"), (0..20).map(i).collect()).unwrap(), "1");
    check(infer::in_list(json(r#""2""#), (0..20).map(i).collect()).unwrap(), "0");
    check(infer::between(json("5"), i(1), i(9)).unwrap(), "1");
    // BOOLEAN > ARRAY > OBJECT > STRING > INTEGER, DOUBLE > NULL
    let order = ["null", "-1.5", "1", "9", "10", r#""10""#, r#""9""#, "{}", "[]", "[1]", "false", "true"];
    for pair in order.windows(2) {
        check(cmp(Lt, json(pair[0]), json(pair[1])), "1");
    }
    let numbers = [
        "9223372036854775805",
        "9223372036854775806",
        "9223372036854775807",
        "9.223372036854776e18",
        "9223372036854776001",
    ];
    for pair in numbers.windows(2) {
        check(cmp(Lt, json(pair[0]), json(pair[1])), "1");
    }
    check(cmp(Eq, json("9223372036854776000"), json("9.223372036854776e18")), "1");
}

#[test]
fn bit_literals_are_text_until_a_number_is_wanted() {
    let x = |b: &[u8]| infer::bit_literal(b.to_vec());
    let value = |e: Expr| outcome(eval_const(&e, &mut ctx()), e.ty());
    assert_eq!(value(x(b"A")), "A");
    assert_eq!(value(arith(ArithOp::Add, x(b"A"), i(0))), "65");
    assert_eq!(value(arith(ArithOp::Add, x(b"A"), d("0.5"))), "65.5");
    assert_eq!(value(arith(ArithOp::Add, x(&[0xff; 9]), f(0.0))), "1.8446744073709552e19");
    assert_eq!(value(cmp(CmpOp::Eq, x(b"A"), i(65))), "1");
    assert_eq!(value(cmp(CmpOp::Eq, x(b"A"), s("A"))), "1");
    assert_eq!(value(infer::cast(x(b"A"), FieldType::bigint_unsigned())), "65");
    assert_eq!(value(fun("concat", [x(b"A"), s("b")])), "Ab");
    assert_eq!(value(infer::bit(crate::expr::BitOp::Or, x(&[1, 0]), i(1))), "257");
}

#[test]
fn times_beyond_a_day_are_formatted_with_all_hours() {
    check(fun("time_format", [span("25:10:05"), s("%H %k %h %l %T")]), "25 25 01 1 25:10:05");
    check(fun("time_format", [span("-100:00:00"), s("%H %k %h %I %l")]), "-100 100 04 04 4");
}

#[test]
fn pi_has_six_digits_and_all_its_precision() {
    check(fun("pi", []), "3.141593");
    check(arith(ArithOp::Mul, fun("pi", []), i(2)), "6.283185");
    check(arith(ArithOp::Add, fun("pi", []), d("0.000000000000000")), "3.141592653589793");
    check(fun("round", [fun("pi", []), i(2)]), "3.14");
}

#[test]
fn errors_print_what_the_user_wrote() {
    let text = |e: Expr| eval_const(&e, &mut ctx()).unwrap_err().to_string();
    assert_eq!(
        text(arith(ArithOp::Add, i(i64::MAX), i(1))),
        "BIGINT value is out of range in '(9223372036854775807 + 1)'"
    );
    assert_eq!(text(arith(ArithOp::Mul, f(1.5e308), i(10))), "DOUBLE value is out of range in '(1.5e308 * 10)'");
    assert_eq!(text(fun("pow", [i(10), i(400)])), "DOUBLE value is out of range in 'pow(10,400)'");
    let unsigned = infer::cast(i(1), FieldType::bigint_unsigned());
    assert_eq!(
        text(arith(ArithOp::Sub, unsigned, i(2))),
        "BIGINT UNSIGNED value is out of range in '(cast(1 as unsigned) - 2)'"
    );
    assert_eq!(text(fun("random_bytes", [i(1025)])), "length value is out of range in 'random_bytes'");
}

#[test]
fn long_lists_of_any_type_find_their_values() {
    let list = |items: Vec<Expr>, probe: Expr| infer::in_list(probe, items).unwrap();
    let decimals = || (0..100).map(|n| d(&format!("{n}.50"))).collect::<Vec<_>>();
    check(list(decimals(), d("42.5")), "1");
    check(list(decimals(), d("42.51")), "0");
    check(list([decimals(), vec![null()]].concat(), d("7.1")), "NULL");
    let times = || (1..29).map(|n| dt(&format!("2024-02-{n:02} 10:00:00"))).collect::<Vec<_>>();
    check(list(times(), dt("2024-02-17 10:00:00")), "1");
    check(list(times(), dt("2024-02-17 10:00:01")), "0");
    // Over constants and over columns.
    let ids = FieldType::bigint_unsigned();
    let batch = Batch::from_rows(vec![ids.clone()].into(), &[vec![Datum::UInt(5)], vec![Datum::UInt(500)]]).unwrap();
    let e = list((0..100).map(u).collect(), Expr::column(0, ids));
    let found = eval_truth(&e, &batch, &mut ctx()).unwrap();
    assert_eq!(found, arrow_array::BooleanArray::from(vec![true, false]));
}

#[test]
fn lists_of_mixed_types_stay_flat() {
    // One list for the integers and one for the decimals, not a comparison for each value.
    let items = (0..10_000).map(|n| if n % 2 == 0 { i(n) } else { d(&format!("{n}.5")) }).collect();
    let e = infer::in_list(Expr::column(0, FieldType::bigint()), items).unwrap();
    let mut calls = 0;
    e.walk(&mut |e| calls += u32::from(matches!(e, Expr::Call(c) if matches!(c.func, Func::In(..) | Func::Or))));
    assert_eq!(calls, 3);
    check(infer::in_list(i(5), vec![i(1), s("5.0"), d("7.5")]).unwrap(), "1");
    check(infer::in_list(i(6), vec![i(1), s("5.0"), null()]).unwrap(), "NULL");
}

#[test]
fn more_functions() {
    for (word, code) in
        [("Hello", "H400"), ("Quadratically", "Q36324"), ("Tymczak", "T520"), ("12ab", "A100"), ("", "")]
    {
        check(fun("soundex", [s(word)]), code);
    }
    check(fun("regexp_like", [s("a\nB"), s("^b$"), s("im")]), "1");
    check(fun("regexp_like", [s("a\nb"), s("a.b"), s("c")]), "0");
    check(fun("regexp_like", [s("a\nb"), s("a.b"), s("n")]), "1");
    check(fun("regexp_like", [s("a"), s("A"), s("ci")]), "1");
    check(fun("regexp_like", [s("a"), s("A"), s("x")]), "error 1210");
    check(fun("json_keys", [s(r#"{"b": 1, "a": {"c": 2}}"#)]), r#"["a", "b"]"#);
    check(fun("json_keys", [s(r#"{"b": 1, "a": {"c": 2}}"#), s("$.a")]), r#"["c"]"#);
    check(fun("json_keys", [s("[1]")]), "NULL");
    check(fun("json_keys", [s(r#"{"b": 1}"#), s("$.*")]), "error 3149");
    check(fun("period_add", [i(200_801), i(2)]), "200803");
    check(fun("period_add", [i(801), i(-5)]), "200708");
    check(fun("period_add", [i(200_813), i(1)]), "error 1210");
    check(fun("period_diff", [i(200_802), i(200_703)]), "11");
    let convert = |t, from, to| fun("convert_tz", [dt(t), s(from), s(to)]);
    check(convert("2004-01-01 12:00:00", "+00:00", "+10:00"), "2004-01-01 22:00:00");
    check(convert("2004-01-01 12:00:00.5", "+01:00", "-10:30"), "2004-01-01 00:30:00.5");
    check(convert("1969-01-01 12:00:00", "+00:00", "+10:00"), "1969-01-01 12:00:00");
    check(convert("2004-01-01 12:00:00", "+00:00", "Moon/Crater"), "NULL");
    check(fun("interval", [i(23), i(1), i(15), i(17), i(30)]), "3");
    for (e, want) in [(s("a"), 4), (ci("a"), 0), (i(1), 5), (null(), 6), (fun("user", []), 3)] {
        check(fun("coercibility", [e]), &want.to_string());
    }
}

#[test]
fn sleep_asks_its_caller_to_wait() {
    let mut cx = ctx();
    assert_eq!(eval_const(&fun("sleep", [f(0.25)]), &mut cx), Ok(Datum::Int(0)));
    assert_eq!(eval_const(&fun("sleep", [i(2)]), &mut cx), Ok(Datum::Int(0)));
    assert_eq!(cx.sleep_micros, 2_250_000);
    check(fun("sleep", [null()]), "error 1210");
    check(fun("sleep", [i(-1)]), "error 1210");
}

#[test]
fn random_bytes_are_as_many_as_asked_for() {
    for n in [1, 8, 9, 1024] {
        let bytes = eval_const(&fun("random_bytes", [i(n)]), &mut ctx()).unwrap();
        assert!(matches!(&bytes, Datum::Bytes(b) if b.len() == n as usize), "{bytes:?}");
    }
}

#[test]
fn builders_refuse_what_does_not_exist() {
    assert_eq!(call("nosuch", vec![]).unwrap_err().code(), 1305);
    assert_eq!(call("abs", vec![]).unwrap_err().code(), 1582);
    assert_eq!(call("ifnull", vec![i(1)]).unwrap_err().code(), 1582);
    let column = |c| Expr::column(0, FieldType::varchar(5).with_collation(c));
    let mix = infer::compare(CmpOp::Eq, column(Collation::UTF8MB4_GENERAL_CI), column(Collation::UTF8MB4_0900_AI_CI));
    assert_eq!(mix.unwrap_err().code(), 1267);
    assert!(infer::compare(CmpOp::Eq, column(Collation::UTF8MB4_GENERAL_CI), column(Collation::UTF8MB4_BIN)).is_ok());
}

#[test]
fn warnings_are_told_once_a_value() {
    let mut c = ctx();
    let e = cmp(CmpOp::Eq, i(1), s("1abc"));
    eval_const(&e, &mut c).unwrap();
    assert_eq!(c.warnings[0].code, 1292);
    assert_eq!(c.warnings[0].message, "Truncated incorrect DOUBLE value: '1abc'");
    let mut c = ctx();
    eval_const(&arith(ArithOp::Div, i(1), i(0)), &mut c).unwrap();
    assert_eq!(c.warnings[0].code, 1365);
    // What a condition excludes is not evaluated.
    let mut c = ctx();
    let guarded = infer::and(cmp(CmpOp::Ne, i(0), i(0)), cmp(CmpOp::Eq, arith(ArithOp::Div, i(1), i(0)), i(1)));
    let batch = Batch::one_empty_row();
    assert!(!eval_truth(&guarded, &batch, &mut c).unwrap().value(0));
    assert_eq!(c.warning_count, 0);
}

/// Expressions of columns: 0 BIGINT, 1 DECIMAL(10,2), 2 DOUBLE, 3 VARCHAR, 4 BIGINT UNSIGNED.
fn column_types() -> Arc<[FieldType]> {
    Arc::from([
        FieldType::bigint(),
        FieldType::decimal(10, 2),
        FieldType::double(),
        FieldType::varchar(4),
        FieldType::bigint_unsigned(),
    ])
}

fn any_expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (0_usize..5).prop_map(|c| Expr::column(c, column_types()[c].clone())),
        (-3_i64..4).prop_map(Expr::constant),
        (-300_i64..400).prop_map(|n| Expr::constant(Datum::Decimal(codec::decimal::Decimal::from_i128(n.into(), 2)))),
        "[ab1 ]{0,2}".prop_map(|t| Expr::constant(Datum::string(t))),
        Just(Expr::null()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop_oneof![Just(CmpOp::Eq), Just(CmpOp::Lt), Just(CmpOp::Ge), Just(CmpOp::Ne), Just(CmpOp::NullEq)];
        let ar = prop_oneof![
            Just(ArithOp::Add),
            Just(ArithOp::Sub),
            Just(ArithOp::Mul),
            Just(ArithOp::Div),
            Just(ArithOp::Mod)
        ];
        prop_oneof![
            (op, inner.clone(), inner.clone()).prop_map(|(op, a, b)| infer::compare(op, a, b).unwrap()),
            (ar, inner.clone(), inner.clone()).prop_map(|(op, a, b)| infer::arith(op, a, b).unwrap()),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| infer::and(a, b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| infer::or(a, b)),
            inner.clone().prop_map(infer::not),
            inner.clone().prop_map(infer::is_null),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| infer::if_then(a, b, c).unwrap()),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| infer::coalesce(vec![a, b]).unwrap()),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| infer::in_list(a, vec![b, c]).unwrap()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Kernels, the row evaluator, and the way through tipb agree: on values, or on failing.
    #[test]
    fn every_way_of_evaluating_agrees(
        e in any_expr(),
        ints in proptest::collection::vec(proptest::option::of(-3_i64..4), 6),
        texts in proptest::collection::vec(proptest::option::of("[ab1 ]{0,2}"), 6),
    ) {
        let rows: Vec<Vec<Datum>> = ints.iter().zip(&texts).map(|(n, t)| vec![
            n.map_or(Datum::Null, Datum::Int),
            n.map_or(Datum::Null, |n| Datum::Decimal(codec::decimal::Decimal::from_i128(i128::from(n) * 50, 2))),
            n.map_or(Datum::Null, |n| Datum::Float(n as f64 / 4.0)),
            t.clone().map_or(Datum::Null, Datum::string),
            n.map_or(Datum::Null, |n| Datum::UInt(n.unsigned_abs())),
        ]).collect();
        let batch = Batch::from_rows(column_types(), &rows).unwrap();
        let values = |r: Result<ArrayRef>, ty: &FieldType| r.ok().map(|c| {
            (0..c.len()).map(|i| show(&crate::batch::datum_at(&c, i, ty), ty)).collect::<Vec<_>>()
        });
        let by_row = values(eval_by_row(&e, &batch, &mut ctx()), e.ty());
        let vectorised = values(eval(&e, &batch, &mut ctx()), e.ty());
        prop_assert_eq!(&by_row, &vectorised, "{}", e);
        let folded = fold(e.clone(), &ctx());
        prop_assert_eq!(&by_row, &values(eval(&folded, &batch, &mut ctx()), folded.ty()), "folded {}", e);
        if let Some(pb) = crate::pb::to_pb(&e) {
            let back = crate::pb::from_pb(&pb, &column_types()).map_err(|err| TestCaseError::fail(format!("{e}: {err}")))?;
            prop_assert_eq!(&by_row, &values(eval(&back, &batch, &mut ctx()), back.ty()), "through tipb {}", e);
        }
        let kept = eval_truth(&e, &batch, &mut ctx()).ok().map(|t| t.iter().collect::<Vec<_>>());
        if let (Some(kept), Some(_)) = (kept, &by_row) {
            for (i, t) in kept.iter().enumerate() {
                let v = eval_row(&e, &BatchRow(&batch, i), &mut ctx()).unwrap();
                prop_assert_eq!(*t, cast::truth(&v, &mut ctx()).unwrap(), "truth of {} in row {}", e, i);
            }
        }
    }
}

/// Values from MariaDB 10.11, or from the manual where MariaDB has no such function.
#[test]
fn functions_of_bytes_and_sets() {
    let hex = |e: Expr| fun("hex", [e]);
    let aes = |text: &str, key: &str| fun("aes_encrypt", [s(text), s(key)]);
    for (e, want) in [
        (hex(aes("text", "password")), "F6BD0FA8DCB7F8CD4A2FAABC54668044"),
        (
            hex(aes("0123456789abcdef", "a key that is longer than sixteen")),
            "5005C9005FDF9616EFCE77FDCE4F73B352B9FA783CAC7959F8708934773F267A",
        ),
        (fun("aes_decrypt", [aes("text", "password"), s("password")]), "text"),
        (fun("aes_decrypt", [aes("text", "password"), s("wrong")]), "NULL"),
        (fun("aes_decrypt", [s("abc"), s("k")]), "NULL"),
        (fun("uncompress", [fun("compress", [s("hello")])]), "hello"),
        (fun("length", [fun("compress", [s("")])]), "0"),
        (fun("uncompress", [s("abc")]), "NULL"),
        (fun("uncompressed_length", [fun("compress", [fun("repeat", [s("a"), i(30)])])]), "30"),
        (fun("validate_password_strength", [s("weak")]), "25"),
        (fun("validate_password_strength", [s("lessweak$_@123")]), "50"),
        (fun("validate_password_strength", [s("N0Tweak$_@123!")]), "100"),
        (fun("make_set", [i(1), s("a"), s("b"), s("c")]), "a"),
        (fun("make_set", [i(5), s("hello"), s("nice"), s("world")]), "hello,world"),
        (fun("make_set", [i(5), s("hello"), s("nice"), null(), s("world")]), "hello"),
        (fun("make_set", [i(0), s("a")]), ""),
        (fun("make_set", [null(), s("a")]), "NULL"),
        (fun("export_set", [i(5), s("Y"), s("N"), s(","), i(4)]), "Y,N,Y,N"),
        (fun("export_set", [i(6), s("1"), s("0"), s(","), i(10)]), "0,1,1,0,0,0,0,0,0,0"),
        (fun("length", [fun("export_set", [i(1), s("a"), s("b")])]), "127"),
        (fun("load_file", [s("/etc/passwd")]), "NULL"),
        (fun("get_format", [s("DATE"), s("USA")]), "%m.%d.%Y"),
        (fun("get_format", [s("DATETIME"), s("EUR")]), "%Y-%m-%d %H.%i.%s"),
        (fun("get_format", [s("TIME"), s("INTERNAL")]), "%H%i%s"),
        (fun("get_format", [s("DATE"), s("x")]), "NULL"),
        (fun("format_bytes", [i(512)]), " 512 bytes"),
        (fun("format_bytes", [u(18_446_644_073_709_551_615)]), "16.00 EiB"),
        (fun("format_pico_time", [i(3501)]), "3.50 ns"),
        (fun("format_pico_time", [i(188_732_396_662_000)]), "3.15 min"),
        (fun("current_role", []), "NONE"),
        (fun("name_const", [s("x"), i(14)]), "14"),
        (fun("benchmark", [i(10), i(1)]), "0"),
        (fun("benchmark", [null(), i(1)]), "NULL"),
        (fun("benchmark", [i(-1), i(1)]), "NULL"),
        (fun("ps_current_thread_id", []), "7"),
    ] {
        check(e, want);
    }
}

#[test]
fn identifiers_and_addresses() {
    let hex = |e: Expr| fun("hex", [e]);
    let aton = |a: &str| fun("inet6_aton", [s(a)]);
    let uuid = "6ccd780c-baba-1026-9564-5b8c656024db";
    for (e, want) in [
        (fun("is_uuid", [s(uuid)]), "1"),
        (fun("is_uuid", [s("6CCD780CBABA102695645B8C656024DB")]), "1"),
        (fun("is_uuid", [s("{6ccd780c-baba-1026-9564-5b8c656024db}")]), "1"),
        (fun("is_uuid", [s("6ccd780c-baba-1026-9564-5b8c6560")]), "0"),
        (fun("is_uuid", [s("6ccd780-cbaba-1026-9564-5b8c656024db")]), "0"),
        (hex(fun("uuid_to_bin", [s(uuid)])), "6CCD780CBABA102695645B8C656024DB"),
        (hex(fun("uuid_to_bin", [s(uuid), i(1)])), "1026BABA6CCD780C95645B8C656024DB"),
        (fun("uuid_to_bin", [s("nonsense")]), "error 1411"),
        (fun("bin_to_uuid", [fun("uuid_to_bin", [s(uuid)])]), uuid),
        (fun("bin_to_uuid", [fun("uuid_to_bin", [s(uuid), i(1)]), i(1)]), uuid),
        (fun("bin_to_uuid", [s("short")]), "error 1411"),
        (hex(aton("fdfe::5a55:caff:fefa:9089")), "FDFE0000000000005A55CAFFFEFA9089"),
        (hex(aton("10.0.5.9")), "0A000509"),
        (aton("nonsense"), "NULL"),
        (fun("inet6_ntoa", [aton("::1.2.3.4")]), "::1.2.3.4"),
        (fun("inet6_ntoa", [aton("::ffff:1.2.3.4")]), "::ffff:1.2.3.4"),
        (fun("inet6_ntoa", [aton("::1:2")]), "::0.1.0.2"),
        (fun("inet6_ntoa", [aton("::1")]), "::1"),
        (fun("inet6_ntoa", [aton("10.0.5.9")]), "10.0.5.9"),
        (fun("inet6_ntoa", [s("abc")]), "NULL"),
        (fun("is_ipv4", [s("10.0.5.9")]), "1"),
        (fun("is_ipv4", [s("10.0.5.256")]), "0"),
        (fun("is_ipv6", [s("::1")]), "1"),
        (fun("is_ipv6", [s("1.2.3.4")]), "0"),
        (fun("is_ipv4_compat", [aton("::10.0.5.9")]), "1"),
        (fun("is_ipv4_compat", [aton("::ffff:10.0.5.9")]), "0"),
        (fun("is_ipv4_compat", [aton("::1")]), "0"),
        (fun("is_ipv4_mapped", [aton("::ffff:10.0.5.9")]), "1"),
    ] {
        check(e, want);
    }
}

/// The examples of the manual, chapter "Regular Expressions".
#[test]
fn regular_expressions_have_positions_and_occurrences() {
    for (e, want) in [
        (fun("regexp_instr", [s("dog cat dog"), s("dog")]), "1"),
        (fun("regexp_instr", [s("dog cat dog"), s("dog"), i(2)]), "9"),
        (fun("regexp_instr", [s("aa aaa aaaa"), s("a{3}")]), "4"),
        (fun("regexp_instr", [s("dog cat dog"), s("dog"), i(1), i(2)]), "9"),
        (fun("regexp_instr", [s("dog cat dog"), s("dog"), i(1), i(1), i(1)]), "4"),
        (fun("regexp_instr", [s("dog cat DOG"), s("DOG"), i(1), i(1), i(0), s("i")]), "1"),
        (fun("regexp_instr", [s("dog"), s("x")]), "0"),
        (fun("regexp_instr", [s("dog"), s("o"), i(4)]), "0"),
        (fun("regexp_instr", [s("dog"), s("o"), i(5)]), "error 3686"),
        (fun("regexp_instr", [s("dog"), s("o"), i(0)]), "error 3686"),
        (fun("regexp_substr", [s("abc def ghi"), s("[a-z]+")]), "abc"),
        (fun("regexp_substr", [s("abc def ghi"), s("[a-z]+"), i(1), i(3)]), "ghi"),
        (fun("regexp_substr", [s("abc def ghi"), s("[a-z]+"), i(1), i(4)]), "NULL"),
        (fun("regexp_replace", [s("a b c"), s("b"), s("X")]), "a X c"),
        (fun("regexp_replace", [s("abc def ghi"), s("[a-z]+"), s("X"), i(1), i(3)]), "abc def X"),
        (fun("regexp_replace", [s("abc def ghi"), s("[a-z]+"), s("X"), i(5)]), "abc X X"),
        (fun("regexp_replace", [s("abc"), s("(a)(b)"), s("$2$1")]), "bac"),
        (fun("regexp_replace", [s("abc"), s("b"), s("\\$1")]), "a$1c"),
        (fun("regexp_replace", [s("ABC"), s("b"), s("x"), i(1), i(0), s("i")]), "AxC"),
        (fun("regexp_replace", [s(""), s("b"), s("x")]), ""),
    ] {
        check(e, want);
    }
}

/// The example of the manual, chapter "JSON Schema Validation Functions".
#[test]
fn documents_are_held_against_schemas() {
    let schema = r##"{
        "id": "http://json-schema.org/geo",
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {
            "latitude": {"type": "number", "minimum": -90, "maximum": 90},
            "longitude": {"type": "number", "minimum": -180, "maximum": 180},
            "tags": {"type": "array", "items": {"$ref": "#/definitions/tag"}, "uniqueItems": true}
        },
        "required": ["latitude", "longitude"],
        "definitions": {"tag": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5}}
    }"##;
    let valid = |doc: &str| fun("json_schema_valid", [s(schema), s(doc)]);
    let report = |doc: &str| fun("json_schema_validation_report", [s(schema), s(doc)]);
    for (e, want) in [
        (valid(r#"{"latitude": 63.444697, "longitude": 10.445118}"#), "1"),
        (valid("{}"), "0"),
        (valid(r#"{"latitude": 0, "longitude": 0, "tags": ["a", "b"]}"#), "1"),
        (valid(r#"{"latitude": 0, "longitude": 0, "tags": ["a", "a"]}"#), "0"),
        (valid(r#"{"latitude": 0, "longitude": 0, "tags": ["A"]}"#), "0"),
        (fun("json_schema_valid", [s("[1]"), s("{}")]), "error 3853"),
        (fun("json_schema_valid", [s(r#"{"$ref": "http://x"}"#), s("{}")]), "error 1235"),
        (fun("json_schema_valid", [s(r##"{"$ref": "#"}"##), s("{}")]), "error 1235"),
        (fun("json_schema_valid", [s(r#"{"oneOf": [{"type": "string"}, {"maximum": 5}]}"#), s("4")]), "1"),
        (fun("json_schema_valid", [s(r#"{"not": {"type": "null"}}"#), s("null")]), "0"),
        (report(r#"{"latitude": 63.444697, "longitude": 10.445118}"#), r#"{"valid": true}"#),
        (
            report(r#"{"latitude": 63.444697, "longitude": 310.445118}"#),
            "{\"valid\": false, \"reason\": \"The JSON document location '#/longitude' failed requirement 'maximum' at JSON \
             Schema location '#/properties/longitude'\", \"schema-location\": \"#/properties/longitude\", \
             \"document-location\": \"#/longitude\", \"schema-failed-keyword\": \"maximum\"}",
        ),
    ] {
        check(e, want);
    }
}
