//! Golden scripts: each statement of `testdata/*.sql` with what it parses to, in the `.golden` file beside it.
//! `UPDATE=1` rewrites the golden files.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A query or INSERT as it was read, as SQL; or the error.
pub(crate) fn written_out(sql: &str) -> String {
    match parse_one(sql.as_bytes(), LexMode::default()) {
        Ok(parsed) => match parsed.statement {
            Statement::Query(query) => query.to_string(),
            Statement::Insert(insert) => insert.to_string(),
            other => format!("{other:?}"),
        },
        Err(e) => e.to_string(),
    }
}

/// What tells a statement apart from others, in one line: trees of queries as SQL, ours as they are. Warnings follow.
fn describe(sql: &str) -> String {
    let parsed = parse_one(sql.as_bytes(), LexMode::default());
    let warnings = parsed.iter().flat_map(|parsed| &parsed.warnings);
    let warnings: String = warnings.map(|w| format!("\n  WARNING {}: {w}", w.code().0)).collect();
    let statement = match parsed {
        Ok(parsed) => match parsed.statement {
            Statement::Query(q) => format!("Query {q}"),
            Statement::Insert(i) => format!("Insert {i}"),
            Statement::Update(u) => format!("Update {u}"),
            Statement::Delete(d) => format!("Delete {d}"),
            other => strip_places(&format!("{other:?}")),
        },
        Err(e) => format!("ERROR {} ({}): {e}", e.code().0, e.code().1),
    };
    statement + &warnings
}

/// Removes places from a debug text: they make goldens unreadable.
fn strip_places(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("at: Place(") {
        out.push_str(rest[..at].trim_end_matches([' ', ',']));
        let after = &rest[at..];
        let end = after.find(')').map_or(after.len(), |end| end + 1);
        rest = &after[end..];
        // One that comes first takes its comma with it.
        if out.ends_with('{') {
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
    }
    out + rest
}

fn check_golden(name: &str) {
    let script = std::fs::read_to_string(testdata().join(format!("{name}.sql"))).unwrap();
    let mut actual = String::new();
    let mut statements = 0;
    for line in script.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("-- ")) {
        statements += 1;
        actual.push_str(&format!("{line}\n  {}\n", describe(line)));
    }
    assert!(statements > 0);
    let path = testdata().join(format!("{name}.golden"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (e, a) in expected.lines().zip(actual.lines()) {
        assert_eq!(e, a, "{name}.golden (UPDATE=1 rewrites it)");
    }
    assert_eq!(expected.lines().count(), actual.lines().count());
}

#[test]
fn statements_that_applications_send() {
    check_golden("common");
}

#[test]
fn statements_of_tidb() {
    check_golden("tidb");
}

#[test]
fn statements_that_are_refused() {
    check_golden("refused");
}

#[test]
fn options_that_are_not_heeded_are_refused_or_leave_a_warning() {
    check_golden("options");
}

#[test]
fn the_text_of_a_tree_makes_the_same_tree() {
    let parsed = |text: &str| parse_one(text.as_bytes(), LexMode::default());
    let mut trees = 0;
    for file in ["common", "options"] {
        let script = std::fs::read_to_string(testdata().join(format!("{file}.sql"))).unwrap();
        for line in script.lines() {
            let Ok(ParsedStatement { statement, params, .. }) = parsed(line) else { continue };
            let text = match &statement {
                Statement::Query(query) => query.to_string(),
                Statement::Insert(insert) => insert.to_string(),
                Statement::Update(update) => update.to_string(),
                Statement::Delete(delete) => delete.to_string(),
                _ => continue,
            };
            // Parameters have numbers in a tree, and none in a text; escapes are not written.
            let text = (1..=params).rev().fold(text, |text, n| text.replace(&format!("?{n}"), "?"));
            if !text.contains('\\') {
                assert_eq!(parsed(&text).map(|again| again.statement).ok(), Some(statement), "{line}\n{text}");
                trees += 1;
            }
        }
    }
    assert!(trees > 80, "{trees}");
}

#[test]
fn what_is_no_part_of_a_tree_is_refused_by_name() {
    let refused = |sql: &str| match parse_one(sql.as_bytes(), LexMode::default()) {
        Err(SqlError::NotSupported(what)) => what,
        other => format!("{other:?}"),
    };
    for (sql, what) in [
        ("select a from t full outer join s on 1", "FULLOUTER"),
        ("select a from t group by a with cube", "WITH CUBE"),
        ("select a from t order by a nulls first", "NULLS FIRST and NULLS LAST"),
        ("select cast(a as interval) from t", "CAST AS INTERVAL"),
        ("select match (a) against ('x') from t", "MATCH (a) AGAINST ('x')"),
        ("select @a := 1", ":="),
        ("select sum(a) over (order by a groups 1 preceding) from t", "GROUPS"),
        ("update t set (a, b) = (1, 2)", "row assignment"),
    ] {
        assert_eq!(refused(sql), what, "{sql}");
    }
    for (sql, code) in [
        ("select interval 1 day", 1210),
        ("select extract(nothing from a)", 1210),
        ("select _koi8r'x'", 1115),
        ("select d.f(1)", 1305),
        ("select row(1)", 1241),
        ("select * from (select 1)", 1248),
        ("select sum(a) over w from t window w as v", 1064),
    ] {
        let error = parse_one(sql.as_bytes(), LexMode::default()).unwrap_err();
        assert_eq!(error.code().0, code, "{sql}: {error}");
    }
}

#[test]
fn a_tree_says_what_is_meant() {
    let same = |a: &str, b: &str| assert_eq!(parse_expr(a).unwrap(), parse_expr(b).unwrap(), "{a}");
    same("date_sub(d, interval 1 day)", "d - interval 1 DAY");
    same("interval a + 1 hour + d", "d + interval a + 1 hour");
    same("subdate(d, interval 1 year_month) + interval 2 week", "d - interval 1 year_month + interval 2 week");
    same("convert(a, unsigned integer)", "cast(a as unsigned)");
    same("a rlike b", "a regexp b");
    same("ceil(a)", "CEIL(a)");
    same("substring(a from 2 for 3)", "SUBSTRING(a, 2, 3)");
    assert!(matches!(parse_expr("@@global.x").unwrap(), ast::Expr::Variable(name) if name == "@@global.x"));
    assert!(matches!(parse_expr("`@@x`").unwrap(), ast::Expr::Column(_)));
    assert!(matches!(parse_expr("? + ?").unwrap(), ast::Expr::Binary { left, right, .. }
        if *left == ast::Expr::Param(0) && *right == ast::Expr::Param(1)));
    assert!(matches!(parse_expr("timestampdiff(day, a, b)").unwrap(), ast::Expr::Function(f)
        if f.word.as_deref() == Some("day") && f.args.len() == 2));
}

#[test]
fn many_statements_are_split_and_placed() {
    let sql = b"select 1; ; select ';' /* ; */;\n-- x;\nupdate t set a = ? where b = ?;";
    let all = parse(sql, LexMode::default()).unwrap();
    let texts: Vec<_> = all.iter().map(|s| std::str::from_utf8(&sql[s.start..s.end]).unwrap()).collect();
    assert_eq!(texts, ["select 1", "select ';'", "update t set a = ? where b = ?"]);
    assert_eq!(all[2].params, 2);
}

#[test]
fn errors_tell_the_text_from_the_token_on() {
    let near = |sql: &str| match parse_one(sql.as_bytes(), LexMode::default()) {
        Err(SqlError::Syntax { near, line }) => format!("{line}: {near}"),
        other => format!("{other:?}"),
    };
    assert_eq!(near("selct 1"), "1: selct 1");
    assert_eq!(near("select *\nfrom t wher a = 1"), "2: a = 1");
    assert_eq!(near("create table t (a int"), "1: ");
    assert_eq!(near("insert into t values (1"), "1: ");
    assert_eq!(near("select 'abc"), "1: 'abc");
    assert_eq!(near("select 1; select 2"), "1: select 2");
    assert_eq!(near("drop table select"), "1: select");
}

#[test]
fn items_without_alias_are_named_by_their_text() {
    let names = |sql: &str| {
        let parsed = parse_one(sql.as_bytes(), LexMode::default()).unwrap();
        let Statement::Query(query) = parsed.statement else { panic!("{sql}") };
        let SetExpr::Select(select) = query.body else { panic!("{sql}") };
        let name = |item: SelectItem| match item {
            SelectItem::Expr { alias: Some(alias), .. } => alias.value,
            other => format!("({other})"),
        };
        select.projection.into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("select 1+1,  count( * ) , (a), 'x', t.a, 2 b from t"),
        ["1+1", "count( * )", "((a))", "('x')", "(t.a)", "b"]
    );
    assert_eq!(names("select distinct SQL_NO_CACHE 0x41 , @A, @@Version, ?"), ["0x41", "@A", "@@Version", "?"]);
    assert_eq!(
        names("select (select 1, (2) from t), extract(year from d) limit 1"),
        ["(select 1, (2) from t)", "extract(year from d)"]
    );
    assert_eq!(names("select case when a then b else c end where 1"), ["case when a then b else c end"]);
    assert_eq!(names("select name_const('n', 1+1), null"), ["n", "(NULL)"]);
    assert_eq!(names(&format!("select {}1", "1+".repeat(200)))[0].len(), 256);
    assert_eq!(names("select `1+1`, t.* from (select 1+1) t"), ["(`1+1`)", "(t.*)"]);
}

#[test]
fn nothing_is_its_own_error() {
    for sql in ["", "  ", ";", "-- nothing", "/* nothing */"] {
        let result = parse_one(sql.as_bytes(), LexMode::default());
        assert!(matches!(result, Err(SqlError::EmptyQuery)), "{sql:?}: {result:?}");
    }
}

#[test]
fn deep_and_long_expressions_are_refused_not_overflown() {
    let parens = format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let chain = format!("select 1{}", "+1".repeat(1_000_000));
    let nots = format!("select {} 1", "not ".repeat(100_000));
    let minus = format!("select {}1", "- ".repeat(100_000));
    let explains = "explain ".repeat(100_000) + "select 1";
    let unions = "select 1 union ".repeat(100_000) + "select 1";
    let conditions = format!("select {}1{}", "case when ".repeat(2_000), " then 1 end".repeat(2_000));
    let results = format!("select {}1{}", "case when 1 then ".repeat(2_000), " end".repeat(2_000));
    let casts = format!("select {}1{}", "cast(".repeat(2_000), " as char)".repeat(2_000));
    let postfixes = format!("select 1{}", " is null".repeat(2_000));
    for sql in [parens, chain, nots, minus, unions, conditions, results, casts, postfixes] {
        let result = parse_one(sql.as_bytes(), LexMode::default());
        assert!(matches!(result, Err(SqlError::StackOverrun)), "{}: {:?}", &sql[..40], result.err());
    }
    assert!(parse_one(explains.as_bytes(), LexMode::default()).is_err());
    // Wide is not deep.
    let wide = format!("insert into t values (1,-1,'a'){}", ",(2,-2,'b')".repeat(50_000));
    assert!(parse_one(wide.as_bytes(), LexMode::default()).is_ok());
    let list = format!("select * from t where a in (1{})", ",-1".repeat(50_000));
    assert!(parse_one(list.as_bytes(), LexMode::default()).is_ok());
    let update = format!("update t set a = 1 where a in (1{})", ",-1".repeat(50_000));
    assert!(parse_one(update.as_bytes(), LexMode::default()).is_ok());
}

#[test]
fn reserved_words_are_sorted() {
    assert!(RESERVED.is_sorted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_parse_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, LexMode::default());
    }

    #[test]
    fn any_words_parse_or_fail(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "select", "from", "where", "t", "a", "1", "'x'", "(", ")", ",", "*", "=", "create", "table", "int", "primary", "key",
            "alter", "add", "column", "index", "on", "insert", "into", "values", "set", "@a", "@@x", "placement", "policy",
            "default", "show", "like", "join", "using", "order", "by", "group", "limit", "offset", "and", "or", "not", "null",
            "between", "in", "exists", "case", "when", "then", "else", "end", "update", "delete", "begin", "/*!", "*/", "`", ";",
            "explain", "with", "as", "union", "all", "for", "lock", "interval", "day", "cast", "convert", "char", "?", "-", ".",
        ]), 0..24)) {
        let _ = parse(words.join(" ").as_bytes(), LexMode::default());
    }
}
